//! Transfers in which both sides work: one process makes the bytes and another one sums them up.
//!
//! A [`Way`] creates the two [`Ends`]. [`Summed::run`] forks a process for each and measures from the start signal
//! until the last byte is summed. Every run compares the sum with the expected one.

use super::stages::{SOURCE, clocked, finish, stage, start};
use super::{KIB, MIB, Moved, PAGE, Place, require};
use rawpipe::Wait;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::chunk::{ChunkReader, ChunkWriter, Reuse, WriterBuilder};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

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
        let sum = if self.by_words {
            let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
            piece.chunks_exact(WORD).map(word).fold(0, u64::wrapping_add)
        } else {
            piece.iter().copied().map(u64::from).sum()
        };
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
    pub(crate) fn run(&self, count: u64) -> io::Result<Duration> {
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
    by_writer(ChunkWriter::builder(), chunk)
}

pub(crate) fn by_chunks_after_read(chunk: usize) -> io::Result<Ends> {
    by_writer(ChunkWriter::builder().reuse(Reuse::AfterRead), chunk)
}

fn by_writer(builder: WriterBuilder, chunk: usize) -> io::Result<Ends> {
    let (reader, writer) = rawpipe::pipe()?;
    Ok(Ends {
        make: Box::new(move |count, _| {
            let (mut writer, mut numbers) =
                (builder.chunk(chunk).build(writer)?, Numbers::default());
            for _ in 0..count {
                numbers.fill(&mut writer.chunk()?[..chunk]);
                writer.send(chunk)?;
            }
            Ok(())
        }),
        sum: Box::new(move |sum, _| {
            let mut reader = ChunkReader::new(reader)?;
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

// ---------------------------------------------------------------- there and back

/// One side of an exchange of messages that are made and summed.
pub(crate) trait Side {
    fn send(&mut self, numbers: &mut Numbers) -> io::Result<()>;
    fn receive(&mut self, sum: &mut Sum) -> io::Result<()>;
}

/// Creates both sides, for messages of this length.
pub(crate) type Sides = fn(usize) -> io::Result<[Box<dyn Side>; 2]>;

pub(crate) const TRIPS: [(&str, Sides); 3] = [
    ("std", std_sides),
    ("rawpipe-shared", |len| shared_sides(len, Wait::Block)),
    ("rawpipe-shared-adaptive", |len| shared_sides(len, Wait::Adaptive)),
];

/// Makes so many round trips between this process and a child. Both make and sum every message.
pub(crate) fn round_trips(sides: Sides, len: usize, count: u64) -> io::Result<Duration> {
    let all = count + 1;
    let [near, mut far] = sides(len)?;
    let mut near = Some(near);
    let child = start(|| {
        near = None; // here, in the child
        let (mut numbers, mut sum) = (Numbers::default(), Sum::new(all, len));
        for _ in 0..all {
            far.receive(&mut sum)?;
            far.send(&mut numbers)?;
        }
        sum.check()
    })?;
    let mut near = near.expect("only the child's copy was dropped");
    let (mut numbers, mut sum) = (Numbers::default(), Sum::new(all, len));
    let mut exchange = || {
        near.send(&mut numbers)?;
        near.receive(&mut sum)
    };
    exchange()?; // the child runs
    let clock = Instant::now();
    (0..count).try_for_each(|_| exchange())?;
    let elapsed = clock.elapsed();
    sum.check()?;
    finish(child)?;
    Ok(elapsed)
}

struct StdSide {
    to: io::PipeWriter,
    from: io::PipeReader,
    memory: Vec<u8>,
    len: usize,
}

impl StdSide {
    fn boxed(from: io::PipeReader, to: io::PipeWriter, len: usize) -> Box<dyn Side> {
        Box::new(Self { to, from, memory: vec![1; len + PAGE], len })
    }
}

/// Returns so many bytes of the memory, from the start of a page.
fn from_page(memory: &mut [u8], len: usize) -> &mut [u8] {
    let start = memory.as_ptr().align_offset(PAGE);
    &mut memory[start..][..len]
}

impl Side for StdSide {
    fn send(&mut self, numbers: &mut Numbers) -> io::Result<()> {
        let buffer = from_page(&mut self.memory, self.len);
        numbers.fill(buffer);
        self.to.write_all(buffer)
    }

    fn receive(&mut self, sum: &mut Sum) -> io::Result<()> {
        let buffer = from_page(&mut self.memory, self.len);
        self.from.read_exact(buffer)?;
        sum.add(buffer);
        Ok(())
    }
}

fn std_sides(len: usize) -> io::Result<[Box<dyn Side>; 2]> {
    let ((there, to), (from, back)) = (io::pipe()?, io::pipe()?);
    Ok([StdSide::boxed(from, to, len), StdSide::boxed(there, back, len)])
}

struct SharedSide {
    to: SharedWriter,
    from: SharedReader,
    len: usize,
}

impl Side for SharedSide {
    fn send(&mut self, numbers: &mut Numbers) -> io::Result<()> {
        numbers.fill(self.to.chunk()?);
        Ok(self.to.send(self.len)?)
    }

    fn receive(&mut self, sum: &mut Sum) -> io::Result<()> {
        sum.add(&self.from.recv()?.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn shared_sides(len: usize, wait: Wait) -> io::Result<[Box<dyn Side>; 2]> {
    let builder = SharedBuilder::new().chunk(len).wait(wait);
    let ((there, to), (from, back)) = (builder.build()?, builder.build()?);
    let far = SharedSide { to: back, from: there, len };
    Ok([Box::new(SharedSide { to, from, len }), Box::new(far)])
}
