//! Transfers in which both processes work: one generates the bytes, and the other sums them.
//!
//! A [`Way`] creates the two [`Ends`]. [`Summed::run`] forks a process for each end and measures from the
//! start signal until both processes have finished. Every run compares the sum with the expected sum.

use super::stages::{SOURCE, clocked, stage};
use super::{KIB, MIB, Moved, Place, Taken, require};
use rawpipe::Wait;
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::chunk::{ChunkReader, ChunkWriter, ReaderBuilder, Reuse, WriterBuilder};
use std::io::{self, Read, Write};

/// The size of a reader's buffer, in bytes.
const READ: usize = 64 * KIB;
const WORD: usize = 8;

/// A counter that starts at 0 and fills chunks with consecutive 8-byte words, or with single bytes if a chunk
/// is shorter than 8 bytes.
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

/// Sums the words of `piece` and the bytes after the last full word.
#[inline]
pub(crate) fn of(piece: &[u8]) -> u64 {
    let words = piece.chunks_exact(WORD);
    let rest = words.remainder().iter().copied().map(u64::from).sum();
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
    words.map(word).fold(rest, u64::wrapping_add)
}

/// The running sum of the bytes that [`Numbers`] generated, the number of bytes still missing, and the
/// expected sum.
pub(crate) struct Sum {
    by_words: bool,
    left: u64,
    sum: u64,
    expected: u64,
}

impl Sum {
    /// Creates a sum that expects `count` chunks of `chunk` bytes each.
    pub(crate) fn new(count: u64, chunk: usize) -> Self {
        let (bytes, by_words) = (count * chunk as u64, chunk >= WORD);
        // The expected sum wraps modulo 2^64, as the running sum does.
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

    /// Returns the number of bytes that have not yet been added. A receiver needs this number if its stream
    /// has no end of file.
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

/// Both ends of a transfer. Each end receives page-aligned memory as a buffer, and every page of this memory
/// has been touched. An end that uses another buffer ignores this memory.
pub(crate) struct Ends {
    /// Generates and sends the given number of chunks. The memory is as long as one chunk.
    pub(crate) make: Box<Make>,
    /// Receives and sums all bytes. The memory is as long as one chunk, but at least 64 KiB.
    pub(crate) sum: Box<Receive>,
}

type Make = dyn FnOnce(u64, &mut [u8]) -> io::Result<()>;
type Receive = dyn FnOnce(&mut Sum, &mut [u8]) -> io::Result<()>;

/// A function that creates the ends for chunks of the given length.
pub(crate) type Way = fn(usize) -> io::Result<Ends>;

#[derive(Clone, Copy)]
pub(crate) struct Summed {
    pub(crate) way: Way,
    pub(crate) chunk: usize,
    pub(crate) place: Place,
}

impl Summed {
    /// Moves `count` chunks, checks their sum, and returns the time.
    pub(crate) fn run(&self, count: u64) -> io::Result<Taken> {
        let (reports, reporter) = rawpipe::pipe()?;
        let Ends { make, sum } = (self.way)(self.chunk)?;
        let bytes = count * self.chunk as u64;
        let mut make = Some(make);
        let sink = stage(self.place, &reporter, 0, READ.max(self.chunk), |memory| {
            make = None; // closes the child's copy
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
        drop(reporter); // if both children exit early, reading the reports then ends with an error
        let go = go.expect("only the child's copy was closed");
        Ok(clocked(&reports, vec![sink, source], go)?.0)
    }
}

/// Creates one end that writes whole chunks, and one that reads the available bytes until end of file.
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
            let buffer = &mut buffer[..READ];
            loop {
                match read(buffer)? {
                    0 => return Ok(()),
                    count => sum.add(&buffer[..count]),
                }
            }
        }),
    }
}

/// The chunk lengths that are compared.
pub(crate) const SIZES: [usize; 8] = [1, 64, 512, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB];

/// The engines. `std` uses page-aligned buffers, and `std-vec` uses plain `Vec`s. With glibc, a `Vec` of at
/// least 128 KiB usually begins 16 bytes after the start of a page. Some processors copy slowly from such an
/// address.
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

/// Creates ends like those of `by_chunks_after_read`, but with `Wait::Adaptive`, so the ends poll briefly
/// before they sleep.
pub(crate) fn by_chunks_adaptive(chunk: usize) -> io::Result<Ends> {
    let builder = ChunkWriter::builder().reuse(Reuse::AfterRead).wait(Wait::Adaptive);
    by_ends(builder, ChunkReader::builder().wait(Wait::Adaptive), chunk)
}

fn by_ends(builder: WriterBuilder, reading: ReaderBuilder, chunk: usize) -> io::Result<Ends> {
    let (reader, writer) = rawpipe::pipe()?;
    // An end with `Wait::Adaptive` does not poll if the process that creates the end is pinned to one CPU.
    // Therefore create both ends before pinning.
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
