//! The measured code around the calls to the crates. This code is the same for every crate.
//!
//! The functions that make the calls are generic over the crate. The compiler may inline the crate's
//! functions into these generic functions. `#[inline(never)]` keeps the generic functions separate from their
//! callers.

use crate::Here;
use crate::common::{Cpus, FILE, Input, Move, Moved, Place, Sink, Stream, finish, require, start};
use crate::engines::{Forks, Pipes, Runs, Spawns, Splices};
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A function that runs the given number of repetitions and returns the elapsed time.
pub(crate) type Repeated = fn(&Here, u64) -> io::Result<Duration>;

/// A function that runs a program with input and returns its output.
pub(crate) type Program = fn(&Here, &'static [u8]) -> io::Result<Vec<u8>>;

const SMALL: usize = 64 << 10;
/// The largest pipe capacity, in bytes, that unprivileged users may set by default.
pub(crate) const LARGE: u32 = 1 << 20;
/// A quarter of the capacity of a large pipe, so that one process can fill the pipe while the other drains
/// it.
const QUARTER: usize = LARGE as usize / 4;

// ---------------------------------------------------------------- moving

/// Returns a move through a default pipe. Each `write` and each `read` uses a buffer of 64 KiB, which is the
/// usual capacity of a default pipe.
pub(crate) const fn plain<P: Pipes>() -> Move {
    Move {
        link: link::<P>,
        source: write_memory::<P>,
        period: SMALL,
        middle: None,
        sink: Sink::Read(read::<P>),
        chunk: SMALL,
        vec: false,
        place: Place::Free,
    }
}

/// Returns a move through a large pipe. The buffer of each call is a quarter of the pipe's capacity.
pub(crate) const fn large<P: Splices>() -> Move {
    Move { link: large_link::<P>, period: QUARTER, chunk: QUARTER, ..plain::<P>() }
}

/// Returns a move that lends the memory itself to a large pipe.
pub(crate) const fn lend<P: Splices>() -> Move {
    Move { source: lend_memory::<P>, period: LARGE as usize, ..large::<P>() }
}

/// Returns a move that splices a file through a large pipe to `/dev/null`.
pub(crate) const fn spliced<P: Splices>() -> Move {
    let sink = Sink::Null(splice_to_file::<P>);
    Move { source: splice_file::<P>, period: FILE, sink, ..large::<P>() }
}

/// Returns a move that uses `io::copy` to move a file through a default pipe to `/dev/null`.
pub(crate) const fn copied<P: Pipes<Reader: Read, Writer: Write>>() -> Move {
    let sink = Sink::Null(copy_to_file::<P>);
    Move { source: copy_file::<P>, period: FILE, sink, ..plain::<P>() }
}

fn link<P: Pipes>() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = P::pipe()?;
    Ok((reader.into(), writer.into()))
}

pub(crate) fn large_link<P: Splices>() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer): (OwnedFd, OwnedFd) = link::<P>()?;
    P::grow(writer.as_fd(), LARGE)?;
    Ok((reader, writer))
}

fn write_all<P: Pipes>(to: &mut P::Writer, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[P::write(to, bytes)?..];
    }
    Ok(())
}

#[inline(never)]
fn write_memory<P: Pipes>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    let mut to = P::Writer::from(to);
    stream.send(|length| write_all::<P>(&mut to, black_box(&from.memory[..length])))?;
    Ok("")
}

#[inline(never)]
fn lend_memory<P: Splices>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    let to = P::Writer::from(to);
    let memory: &'static [u8] = from.memory;
    stream.send(|length| {
        let mut bytes = black_box(&memory[..length]);
        while !bytes.is_empty() {
            // SAFETY: only shared references to this memory exist, so no process writes to the pages.
            bytes = &bytes[unsafe { P::vmsplice(&to, bytes) }?..];
        }
        Ok(())
    })?;
    Ok("")
}

#[inline(never)]
fn read<P: Pipes>(
    from: OwnedFd,
    buffer: &mut [u8],
    show: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut from = P::Reader::from(from);
    let mut bytes = 0;
    loop {
        let count = P::read(&mut from, buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes += count as u64;
        show(&buffer[..count])?;
    }
}

#[inline(never)]
fn splice_file<P: Splices>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    stream.send(|length| {
        (&from.file).rewind()?;
        let mut left = length;
        while left > 0 {
            let count = P::splice(from.file.as_fd(), to.as_fd(), left)?;
            require(count > 0, || "the file is shorter than it was".to_owned())?;
            left -= count;
        }
        Ok(())
    })?;
    Ok("")
}

#[inline(never)]
fn splice_to_file<P: Splices>(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    let mut bytes = 0;
    loop {
        let count = P::splice(from.as_fd(), to.as_fd(), LARGE as usize)?;
        if count == 0 {
            return Ok(Moved { bytes, by: "" });
        }
        bytes += count as u64;
    }
}

#[inline(never)]
fn copy_file<P: Pipes<Writer: Write>>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    let mut to = P::Writer::from(to);
    stream.send(|length| {
        let mut file = &from.file;
        file.rewind()?;
        let copied = io::copy(&mut file.take(length as u64), &mut to)?;
        require(copied == length as u64, || format!("copied {copied} of {length} bytes"))
    })?;
    Ok("")
}

#[inline(never)]
fn copy_to_file<P: Pipes<Reader: Read>>(
    from: OwnedFd,
    to: OwnedFd,
    _: &mut [u8],
) -> io::Result<Moved> {
    let bytes = io::copy(&mut P::Reader::from(from), &mut File::from(to))?;
    Ok(Moved { bytes, by: "" })
}

// ---------------------------------------------------------------- calls and exchanges

/// Measures round trips on one CPU. The child adds one to each received byte and returns the result, until it
/// reaches end of file.
#[inline(never)]
pub(crate) fn pingpong<P: Pipes>(_: &Here, turns: u64) -> io::Result<Duration> {
    on_one_cpu(|| exchange_bytes::<P>(turns))
}

fn exchange_bytes<P: Pipes>(turns: u64) -> io::Result<Duration> {
    let (mut there, to) = P::pipe()?;
    let (mut from, mut back) = P::pipe()?;
    let mut to = Some(to);
    let child = start(|| {
        to = None; // an open copy would prevent end of file in the child
        let mut byte = [0];
        while P::read(&mut there, &mut byte)? == 1 {
            byte[0] = byte[0].wrapping_add(1);
            require(P::write(&mut back, &byte)? == 1, || "no byte went".to_owned())?;
        }
        Ok(())
    })?;
    let mut to = to.expect("only the child's copy was closed");
    let mut exchange = |ping: u8| {
        let mut pong = [0];
        let sent = P::write(&mut to, &[ping])?;
        let came = P::read(&mut from, &mut pong)?;
        let right = (sent, came, pong[0]) == (1, 1, ping.wrapping_add(1));
        require(right, || format!("{} came back for {ping}", pong[0]))
    };
    exchange(0)?; // waits until the child runs
    let clock = Instant::now();
    for turn in 0..turns {
        exchange(turn.to_le_bytes()[0])?;
    }
    let elapsed = clock.elapsed();
    drop(to);
    finish(child)?;
    Ok(elapsed)
}

/// Creates and drops `turns` pipes, and checks that no descriptor stays open.
#[inline(never)]
pub(crate) fn pipe_close<P: Pipes>(_: &Here, turns: u64) -> io::Result<Duration> {
    let works = || {
        let (mut reader, mut writer) = P::pipe()?;
        let mut byte = [0];
        let right = P::write(&mut writer, b"!")? == 1 && P::read(&mut reader, &mut byte)? == 1;
        require(right && byte == *b"!", || "it is not a pipe".to_owned())?;
        let reader: OwnedFd = reader.into();
        io::Result::Ok(reader.as_raw_fd())
    };
    let before = works()?;
    let elapsed = repeat(turns, P::pipe)?;
    require(works()? == before, || "not all were closed".to_owned())?;
    Ok(elapsed)
}

/// Pins this process and its children to one CPU during the measurement. The time depends less on the crate
/// than on whether a child runs on its parent's CPU.
fn on_one_cpu<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let all = Cpus::allowed()?;
    all.each().next().expect("this process runs on one").stay()?;
    let result = work();
    all.stay()?;
    result
}

/// Creates and drops `turns` values.
pub(crate) fn repeat<T>(turns: u64, make: impl Fn() -> io::Result<T>) -> io::Result<Duration> {
    let clock = Instant::now();
    for _ in 0..turns {
        drop(black_box(make()?));
    }
    Ok(clock.elapsed())
}

// ---------------------------------------------------------------- children

#[inline(never)]
pub(crate) fn fork_wait<F: Forks>(_: &Here, turns: u64) -> io::Result<Duration> {
    let once = || {
        let status = F::fork_wait(CODE)?;
        require(status == Some(CODE.into()), || format!("exited with {status:?}"))
    };
    on_one_cpu(|| repeat(turns, once))
}

/// The exit code of a forked child, which proves that the child reached its last statement.
const CODE: u8 = 7;

#[inline(never)]
pub(crate) fn spawn_wait<S: Spawns>(here: &Here, turns: u64) -> io::Result<Duration> {
    let once = || {
        let status = S::spawn_wait(here.tiny())?;
        require(status == Some(0), || format!("the program ended with {status:?}"))
    };
    on_one_cpu(|| repeat(turns, once))
}

#[inline(never)]
pub(crate) fn communicate<R: Runs>(_: &Here, fed: &'static [u8]) -> io::Result<Vec<u8>> {
    R::communicate("cat", fed)
}

/// The number of bytes that a program writes if its argument is [`WRITER`].
pub(crate) const WRITTEN: usize = 16 << 20;

/// The argument that makes this program write its output.
pub(crate) const WRITER: &str = "write-16-mib";

#[inline(never)]
pub(crate) fn output<R: Runs>(here: &Here, _: &'static [u8]) -> io::Result<Vec<u8>> {
    R::output(&here.program, WRITER)
}
