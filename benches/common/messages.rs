//! Messages that one process generates and another sums. They are sent in one direction or as round trips.

use super::summed::{Ends, Numbers, Sum, Way};
use super::{KIB, PAGE, Place, Taken, finish, spent, spent_by, start};
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::message::Channel;
use rawpipe::pipe::AdaptiveEnd;
use rawpipe::{PipeReader, PipeWriter, Wait};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::time::Instant;

// ---------------------------------------------------------------- one way

/// The engines that send messages in one direction. The sender sends each message before it generates the
/// next one. The std engines send the length of each message as 8 bytes before the message.
pub(crate) const MESSAGES: [(&str, Way); 5] = [
    ("std", by_std),
    ("std-vec", by_std_vec),
    ("rawpipe", |_| channel(Each, false)),
    ("rawpipe-read-ahead", |_| channel(Each, true)),
    ("rawpipe-shared", super::summed::by_shared),
];

/// The engines that may send several short messages with one call.
pub(crate) const MANY: [(&str, Way); 2] =
    [("std", by_buffered), ("rawpipe", |_| channel(Together, true))];

fn by_std(_: usize) -> io::Result<Ends> {
    let (reader, writer) = io::pipe()?;
    Ok(lengths_and_bytes(reader, writer))
}

fn by_std_vec(chunk: usize) -> io::Result<Ends> {
    let Ends { make, sum } = by_std(chunk)?;
    Ok(Ends {
        make: Box::new(move |count, _| make(count, &mut vec![0; chunk])),
        sum: Box::new(move |total, _| sum(total, &mut vec![0; chunk])),
    })
}

fn by_buffered(_: usize) -> io::Result<Ends> {
    let (reader, writer) = io::pipe()?;
    Ok(lengths_and_bytes(BufReader::new(reader), BufWriter::new(writer)))
}

fn lengths_and_bytes(mut reader: impl Read + 'static, mut writer: impl Write + 'static) -> Ends {
    Ends {
        make: Box::new(move |count, chunk| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(chunk);
                writer.write_all(&(chunk.len() as u64).to_ne_bytes())?;
                writer.write_all(chunk)?;
            }
            writer.flush()
        }),
        sum: Box::new(move |sum, buffer| {
            let mut len = [0; 8];
            while sum.left() > 0 {
                reader.read_exact(&mut len)?;
                let len = usize::try_from(u64::from_ne_bytes(len)).map_err(io::Error::other)?;
                let message = buffer.get_mut(..len).ok_or(io::ErrorKind::InvalidData)?;
                reader.read_exact(message)?;
                sum.add(message);
            }
            Ok(())
        }),
    }
}

enum Sending {
    Each,
    /// Generates messages that, together with their lengths, occupy at most 8 KiB, and sends these messages
    /// with one call. A `BufWriter` has a buffer of the same size.
    Together,
}
use Sending::{Each, Together};

/// Creates the ends of one direction of a channel, with read-ahead if `is_ahead` is set.
fn channel(sending: Sending, is_ahead: bool) -> io::Result<Ends> {
    let (near, far) = Channel::pair()?;
    let ((receiver, _), (_, mut sender)) = (near.split(), far.split());
    let mut receiver = if is_ahead { receiver.with_read_ahead() } else { receiver };
    Ok(Ends {
        make: Box::new(move |count, chunk| {
            let mut numbers = Numbers::default();
            if let Each = sending {
                for _ in 0..count {
                    numbers.fill(chunk);
                    sender.send(&[chunk])?;
                }
                return Ok(());
            }
            let most = 8 * KIB / (8 + chunk.len());
            let mut memory = vec![0; most * chunk.len()];
            let mut left = count;
            while left > 0 {
                let bytes = super::least(left, most) * chunk.len();
                memory[..bytes].chunks_exact_mut(chunk.len()).for_each(|one| numbers.fill(one));
                let messages: Vec<_> = memory[..bytes].chunks_exact(chunk.len()).collect();
                sender.send_many(&messages)?;
                left -= messages.len() as u64;
            }
            Ok(())
        }),
        sum: Box::new(move |sum, buffer| {
            while let Some(len) = receiver.recv_into(buffer)? {
                sum.add(&buffer[..len]);
            }
            Ok(())
        }),
    })
}

// ---------------------------------------------------------------- there and back

/// One side of an exchange. It generates the outgoing messages and sums the incoming messages.
pub(crate) trait Side {
    fn send(&mut self, numbers: &mut Numbers) -> io::Result<()>;
    fn receive(&mut self, sum: &mut Sum) -> io::Result<()>;
}

/// A function that creates both sides of an exchange. Its argument is the length of a message in bytes.
pub(crate) type Sides = fn(usize) -> io::Result<[Box<dyn Side>; 2]>;

pub(crate) const TRIPS: [(&str, Sides); 6] = [
    ("std", |len| pipe_sides(io::pipe, len, false)),
    ("std-vec", |len| pipe_sides(io::pipe, len, true)),
    ("rawpipe", |len| pipe_sides(|| Ok(rawpipe::pipe()?), len, false)),
    ("rawpipe-adaptive", |len| pipe_sides(adaptive_pipe, len, false)),
    ("rawpipe-shared", |len| shared_sides(len, Wait::Block)),
    ("rawpipe-shared-adaptive", |len| shared_sides(len, Wait::Adaptive)),
];

/// Measures `count` round trips between this process and a child. One unmeasured round trip precedes them.
/// Each process generates every message that it sends and sums every message that it receives.
pub(crate) fn round_trips(sides: Sides, len: usize, place: Place, count: u64) -> io::Result<Taken> {
    // A side with `Wait::Adaptive` does not poll if the process that creates the side is pinned to one CPU.
    // Therefore create both sides before pinning.
    let sides = sides(len)?;
    place.during(|| round_trips_by(sides, len, place, count))
}

fn round_trips_by(
    [near, mut far]: [Box<dyn Side>; 2],
    len: usize,
    place: Place,
    count: u64,
) -> io::Result<Taken> {
    let all = count + 1;
    let mut near = Some(near);
    let child = start(|| {
        near = None; // closes the child's copy
        place.take(false)?;
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
    exchange()?; // waits until the child runs
    let cpu = || spent() + spent_by(child.id());
    let (before, clock) = (cpu(), Instant::now());
    (0..count).try_for_each(|_| exchange())?;
    let clock = clock.elapsed();
    let cpu = cpu().saturating_sub(before);
    sum.check()?;
    finish(child)?;
    Ok(Taken { clock, cpu })
}

struct PipeSide<R, W> {
    to: W,
    from: R,
    memory: Vec<u8>,
    /// The offset of the buffer in `memory`.
    start: usize,
}

impl<R: Read, W: Write> Side for PipeSide<R, W> {
    fn send(&mut self, numbers: &mut Numbers) -> io::Result<()> {
        let buffer = &mut self.memory[self.start..];
        numbers.fill(buffer);
        self.to.write_all(buffer)
    }

    fn receive(&mut self, sum: &mut Sum) -> io::Result<()> {
        let buffer = &mut self.memory[self.start..];
        self.from.read_exact(buffer)?;
        sum.add(buffer);
        Ok(())
    }
}

/// Creates both sides over two pipes. The buffers are page-aligned, or plain `Vec`s if `vec` is set.
fn pipe_sides<R: Read + 'static, W: Write + 'static>(
    pipe: fn() -> io::Result<(R, W)>,
    len: usize,
    vec: bool,
) -> io::Result<[Box<dyn Side>; 2]> {
    let side = |from, to| -> Box<dyn Side> {
        let mut memory = vec![1; if vec { len } else { len + PAGE }];
        let start = if vec { 0 } else { memory.as_ptr().align_offset(PAGE) };
        memory.truncate(start + len);
        Box::new(PipeSide { to, from, memory, start })
    };
    let ((there, to), (from, back)) = (pipe()?, pipe()?);
    Ok([side(from, to), side(there, back)])
}

fn adaptive_pipe() -> io::Result<(AdaptiveEnd<PipeReader>, AdaptiveEnd<PipeWriter>)> {
    let (reader, writer) = rawpipe::pipe()?;
    Ok((reader.with_wait(Wait::Adaptive), writer.with_wait(Wait::Adaptive)))
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
