//! Transfers in which both sides work: one process makes the bytes and another one sums them up.
//!
//! A [`Way`] creates the two [`Ends`]. [`Summed::run`] forks a process for each and measures from the start signal
//! until the last byte is summed. Every run compares the sum with the expected one.

use super::stages::{SOURCE, clocked, stage};
use super::{KIB, MIB, Moved, Place, Taken, require};
use rawpipe::Wait;
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::chunk::{ChunkReader, ChunkWriter, ReaderBuilder, Reuse, WriterBuilder};
use std::io::{self, Read, Write};

/// The size of a reader's buffer.
const READ: usize = 64 * KIB;
const WORD: usize = 8;

/// The numbers from 0 on, as words of 8 bytes, or as bytes if a chunk has fewer than 8.
#[derive(Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    #[inline]
    pub(crate) fn fill(&mut self, chunk: &mut [u8]) {
        if chunk.len() < WORD {
            for byte in chunk {
                *byte = self.0.to_le_bytes()[0];
                self.0 += 1;
            }
        } else {
            for word in chunk.chunks_exact_mut(WORD) {
                word.copy_from_slice(&self.0.to_ne_bytes());
                self.0 += 1;
            }
        }
    }
}

/// Adds up the words of any bytes, and the bytes after the last word.
#[inline]
pub(crate) fn of(piece: &[u8]) -> u64 {
    let words = piece.chunks_exact(WORD);
    let rest = words.remainder().iter().copied().map(u64::from).sum();
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
    words.map(word).fold(rest, u64::wrapping_add)
}

/// Sums the [`Numbers`] in so many bytes, as they arrive.
pub(crate) struct Sum {
    by_words: bool,
    left: u64,
    sum: u64,
    expected: u64,
}

impl Sum {
    /// Creates the sum of so many chunks of this length.
    pub(crate) fn new(count: u64, chunk: usize) -> Self {
        let (bytes, by_words) = (count * chunk as u64, chunk >= WORD);
        // Modulo 2^64, as the sum itself.
        let triangle = |count: u64| match count % 2 {
            0 => (count / 2).wrapping_mul(count.wrapping_sub(1)),
            _ => count.wrapping_mul(count / 2),
        };
        let expected = if by_words {
            triangle(bytes / WORD as u64)
        } else {
            bytes / 256 * triangle(256) + triangle(bytes % 256)
        };
        Self { by_words, left: bytes, sum: 0, expected }
    }

    #[inline]
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.left = self.left.wrapping_sub(piece.len() as u64);
        let sum =
            if self.by_words { of(piece) } else { piece.iter().copied().map(u64::from).sum() };
        self.sum = self.sum.wrapping_add(sum);
    }

    /// Returns how many bytes are missing, for ways without an end of file.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        let Self { left, sum, expected, .. } = self;
        require(*left == 0, || format!("{left} bytes are missing"))?;
        require(sum == expected, || format!("a sum of {sum}, not of {expected}"))
    }
}

// ---------------------------------------------------------------- from process to process

/// The two sides of a transfer. Both get page-aligned, touched memory, for ways that have none of their own.
pub(crate) struct Ends {
    /// Makes and sends so many chunks. The memory has the length of one.
    pub(crate) make: Box<Make>,
    /// Receives all bytes. The memory has 64 KiB.
    pub(crate) sum: Box<Receive>,
}

type Make = dyn FnOnce(u64, &mut [u8]) -> io::Result<()>;
type Receive = dyn FnOnce(&mut Sum, &mut [u8]) -> io::Result<()>;

/// Creates the ends for chunks of this length.
pub(crate) type Way = fn(usize) -> io::Result<Ends>;

#[derive(Clone, Copy)]
pub(crate) struct Summed {
    pub(crate) way: Way,
    pub(crate) chunk: usize,
    pub(crate) place: Place,
}

impl Summed {
    /// Moves so many chunks, compares their sum, and returns the time.
    pub(crate) fn run(&self, count: u64) -> io::Result<Taken> {
        let (reports, reporter) = rawpipe::pipe()?;
        let Ends { make, sum } = (self.way)(self.chunk)?;
        let bytes = count * self.chunk as u64;
        let mut make = Some(make);
        let sink = stage(self.place, &reporter, 0, READ, |memory| {
            make = None; // here, in the child
            let mut total = Sum::new(count, self.chunk);
            sum(&mut total, memory)?;
            total.check()?;
            Ok(Moved { bytes, by: "" })
        })?;
        let make = make.expect("only the child's copy was dropped");
        let (gate, go) = rawpipe::pipe()?;
        let mut go = Some(go);
        let source = stage(self.place, &reporter, SOURCE, self.chunk, |memory| {
            go = None;
            gate.read(&mut [0])?; // end of file is the start signal
            make(count, memory)?;
            Ok(Moved { bytes, by: "" })
        })?;
        drop(reporter); // from here on the pipe reaches end of file when both have ended
        let go = go.expect("only the child's copy was closed");
        Ok(clocked(&reports, vec![sink, source], go)?.0)
    }
}

/// Uses calls that write all and read some, until end of file.
pub(crate) fn by_calls(
    mut write: impl FnMut(&[u8]) -> io::Result<()> + 'static,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize> + 'static,
) -> Ends {
    Ends {
        make: Box::new(move |count, chunk| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(chunk);
                write(chunk)?;
            }
            Ok(())
        }),
        sum: Box::new(move |sum, buffer| {
            loop {
                match read(buffer)? {
                    0 => return Ok(()),
                    count => sum.add(&buffer[..count]),
                }
            }
        }),
    }
}

/// The lengths of chunks that are compared.
pub(crate) const SIZES: [usize; 8] = [1, 64, 512, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB];

/// The engines. `std` has page-aligned buffers, and `std-vec` has plain ones: a `Vec` of 128 KiB and more begins 16
/// bytes after the start of a page, where some processors copy slowly.
pub(crate) const WAYS: [(&str, Way); 6] = [
    ("std", by_std),
    ("std-vec", by_std_vec),
    ("rawpipe", by_chunks),
    ("rawpipe-afterread", by_chunks_after_read),
    ("rawpipe-shared", by_shared),
    ("rawpipe-shared-adaptive", by_shared_adaptive),
];

pub(crate) fn by_std(_: usize) -> io::Result<Ends> {
    let (mut reader, mut writer) = io::pipe()?;
    Ok(by_calls(move |chunk| writer.write_all(chunk), move |buffer| reader.read(buffer)))
}

pub(crate) fn by_std_vec(chunk: usize) -> io::Result<Ends> {
    let Ends { make, sum } = by_std(chunk)?;
    Ok(Ends {
        make: Box::new(move |count, _| make(count, &mut vec![0; chunk])),
        sum: Box::new(move |total, _| sum(total, &mut vec![0; READ])),
    })
}

pub(crate) fn by_chunks(chunk: usize) -> io::Result<Ends> {
    by_ends(ChunkWriter::builder(), ChunkReader::builder(), chunk)
}

pub(crate) fn by_chunks_after_read(chunk: usize) -> io::Result<Ends> {
    by_ends(ChunkWriter::builder().reuse(Reuse::AfterRead), ChunkReader::builder(), chunk)
}

/// As `by_chunks_after_read`, and both sides poll briefly before they sleep.
pub(crate) fn by_chunks_adaptive(chunk: usize) -> io::Result<Ends> {
    let builder = ChunkWriter::builder().reuse(Reuse::AfterRead).wait(Wait::Adaptive);
    by_ends(builder, ChunkReader::builder().wait(Wait::Adaptive), chunk)
}

fn by_ends(builder: WriterBuilder, reading: ReaderBuilder, chunk: usize) -> io::Result<Ends> {
    let (reader, writer) = rawpipe::pipe()?;
    // Before the processes are pinned: one that may run on one CPU only does not poll.
    let mut writer = builder.chunk(chunk).build(writer)?;
    let mut reader = reading.build(reader)?;
    Ok(Ends {
        make: Box::new(move |count, _| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(&mut writer.chunk()?[..chunk]);
                writer.send(chunk)?;
            }
            Ok(())
        }),
        sum: Box::new(move |sum, _| {
            loop {
                match reader.read_chunk()? {
                    [] => return Ok(()),
                    piece => sum.add(piece),
                }
            }
        }),
    })
}

pub(crate) fn by_shared(chunk: usize) -> io::Result<Ends> {
    by_halves(chunk, Wait::Block)
}

pub(crate) fn by_shared_adaptive(chunk: usize) -> io::Result<Ends> {
    by_halves(chunk, Wait::Adaptive)
}

fn by_halves(chunk: usize, wait: Wait) -> io::Result<Ends> {
    let (mut reader, mut writer) = SharedBuilder::new().chunk(chunk).wait(wait).build()?;
    Ok(Ends {
        make: Box::new(move |count, _| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(writer.chunk()?);
                writer.send(chunk)?;
            }
            Ok(())
        }),
        sum: Box::new(move |sum, _| {
            while let Some(piece) = reader.recv()? {
                sum.add(&piece);
            }
            Ok(())
        }),
    })
}
