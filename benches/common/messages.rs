//! Messages that are made on one side and summed on the other: one way, and there and back.

use super::summed::{Ends, Numbers, Sum, Way};
use super::{PAGE, Place, Taken, finish, start};
use rawpipe::Wait;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::message::Channel;
use std::io::{self, Read, Write};

// ---------------------------------------------------------------- one way

/// For std a message is 8 bytes of length, and the bytes.
pub(crate) const MESSAGES: [(&str, Way); 3] =
    [("std", by_std), ("rawpipe", by_channel), ("rawpipe-shared", super::summed::by_shared)];

fn by_std(_: usize) -> io::Result<Ends> {
    let (mut reader, mut writer) = io::pipe()?;
    Ok(Ends {
        make: Box::new(move |count, chunk| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(chunk);
                writer.write_all(&(chunk.len() as u64).to_ne_bytes())?;
                writer.write_all(chunk)?;
            }
            Ok(())
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
    })
}

fn by_channel(_: usize) -> io::Result<Ends> {
    let (near, far) = Channel::pair()?;
    let ((mut receiver, _), (_, mut sender)) = (near.split(), far.split());
    Ok(Ends {
        make: Box::new(move |count, chunk| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(chunk);
                sender.send(&[chunk])?;
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

/// One side of an exchange of messages that are made and summed.
pub(crate) trait Side {
    fn send(&mut self, numbers: &mut Numbers) -> io::Result<()>;
    fn receive(&mut self, sum: &mut Sum) -> io::Result<()>;
}

/// Creates both sides, for messages of this length.
pub(crate) type Sides = fn(usize) -> io::Result<[Box<dyn Side>; 2]>;

pub(crate) const TRIPS: [(&str, Sides); 4] = [
    ("std", |len| std_sides(len, false)),
    ("std-vec", |len| std_sides(len, true)),
    ("rawpipe-shared", |len| shared_sides(len, Wait::Block)),
    ("rawpipe-shared-adaptive", |len| shared_sides(len, Wait::Adaptive)),
];

/// Makes so many round trips between this process and a child. Both make and sum every message.
pub(crate) fn round_trips(sides: Sides, len: usize, place: Place, count: u64) -> io::Result<Taken> {
    place.during(|| round_trips_here(sides, len, place, count))
}

fn round_trips_here(sides: Sides, len: usize, place: Place, count: u64) -> io::Result<Taken> {
    let all = count + 1;
    let [near, mut far] = sides(len)?;
    let mut near = Some(near);
    let mut child = Some(start(|| {
        near = None; // here, in the child
        place.take(false)?;
        let (mut numbers, mut sum) = (Numbers::default(), Sum::new(all, len));
        for _ in 0..all {
            far.receive(&mut sum)?;
            far.send(&mut numbers)?;
        }
        sum.check()
    })?);
    let mut near = near.expect("only the child's copy was dropped");
    let (mut numbers, mut sum) = (Numbers::default(), Sum::new(all, len));
    let mut exchange = || {
        near.send(&mut numbers)?;
        near.receive(&mut sum)
    };
    exchange()?; // the child runs
    let taken = Taken::by(|| {
        (0..count).try_for_each(|_| exchange())?;
        child.take().map_or(Ok(()), finish) // which adds its CPU time
    })?;
    sum.check()?;
    Ok(taken)
}

struct StdSide {
    to: io::PipeWriter,
    from: io::PipeReader,
    memory: Vec<u8>,
    /// The offset of the buffer in the memory.
    start: usize,
}

impl StdSide {
    fn boxed(from: io::PipeReader, to: io::PipeWriter, len: usize, vec: bool) -> Box<dyn Side> {
        let mut memory = vec![1; if vec { len } else { len + PAGE }];
        let start = if vec { 0 } else { memory.as_ptr().align_offset(PAGE) };
        memory.truncate(start + len);
        Box::new(Self { to, from, memory, start })
    }
}

impl Side for StdSide {
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

fn std_sides(len: usize, vec: bool) -> io::Result<[Box<dyn Side>; 2]> {
    let ((there, to), (from, back)) = (io::pipe()?, io::pipe()?);
    Ok([StdSide::boxed(from, to, len, vec), StdSide::boxed(there, back, len, vec)])
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
