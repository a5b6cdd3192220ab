//! The parts of the processes, with std and with this crate.

use super::{Input, KIB, MIB, Move, Moved, Place, Show, Sink, Stream, finish, require, start};
use rawpipe::Wait;
use rawpipe::chunk::{
    ChunkMechanism, ChunkReader, ChunkWriter, ReaderBuilder, Reuse, WriterBuilder,
};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{FanoutSink, Transfer, Transferred, discard, fanout, transfer};
use rawpipe::{PipeReader, PipeWriter};
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

// ---------------------------------------------------------------- the two engines

/// std's pipe by default, `write_all` and `read` of 64 KiB.
pub(crate) const STD: Move = Move {
    link: std_pipe,
    source: write_memory::<io::PipeWriter>,
    period: 64 * KIB,
    middle: None,
    sink: Sink::Read(read::<io::PipeReader>),
    chunk: 64 * KIB,
    place: Place::Free,
};

/// As large a pipe as is useful, and few, long calls: a quarter of the pipe, so that one side fills
/// while the other drains; larger buffers are slower, because they leave the caches.
pub(crate) const RAW: Move = Move {
    link: large_pipe,
    source: write_memory::<PipeWriter>,
    period: 256 * KIB,
    middle: None,
    sink: Sink::Read(read::<PipeReader>),
    chunk: 256 * KIB,
    place: Place::Free,
};

/// A pipe by default, from a `ChunkWriter` of this builder to a `ChunkReader`, with the writer's chunk.
macro_rules! chunks {
    ($send:ident, $builder:expr) => {
        Move {
            link: raw_pipe,
            source: |to, from, stream, buffer| $send(to, from, stream, buffer, $builder),
            sink: Sink::Read(read_chunks),
            period: MIB,
            chunk: MIB,
            ..RAW
        }
    };
}
/// The same bytes are sent repeatedly: by std and by [`RAW`] from one buffer, and by these two, a
/// `ChunkWriter` and a `ChunkReader`, from the writer's chunks. A chunk that holds the bytes of an
/// earlier round is sent unchanged, and a new one is filled. With `Reuse::Never` each is new.
pub(crate) const CHUNKS: Move = chunks!(send_ready, DEFAULT);
pub(crate) const CHUNKS_AFTER_READ: Move = chunks!(send_ready, AFTER_READ);
pub(crate) const CHUNKS_MEMFD_AFTER_READ: Move = chunks!(send_ready, MEMFD_AFTER_READ);
/// Both sides poll briefly before they sleep.
pub(crate) const CHUNKS_AFTER_READ_ADAPTIVE: Move = Move {
    sink: Sink::Read(read_chunks_adaptively),
    ..chunks!(send_ready, AFTER_READ.wait(Wait::Adaptive))
};

/// Every byte is made, in a buffer or in a chunk, just before it is sent.
pub(crate) const STD_FILLED: Move = Move { source: fill_and_write::<io::PipeWriter>, ..STD };
pub(crate) const RAW_FILLED: Move = Move { source: fill_and_write::<PipeWriter>, ..RAW };
pub(crate) const CHUNKS_FILLED: Move = chunks!(fill_and_send, DEFAULT);
pub(crate) const CHUNKS_FILLED_AFTER_READ: Move = chunks!(fill_and_send, AFTER_READ);
pub(crate) const CHUNKS_FILLED_VMSPLICE: Move = chunks!(fill_and_send, VMSPLICE);
pub(crate) const CHUNKS_FILLED_MEMFD: Move = chunks!(fill_and_send, MEMFD);
pub(crate) const CHUNKS_FILLED_MEMFD_AFTER_READ: Move = chunks!(fill_and_send, MEMFD_AFTER_READ);

/// Both sides wait with `Wait::Block`, or with `Wait::Adaptive`.
pub(crate) const CHUNKS_BLOCK: Move = chunks!(fill_and_send, AFTER_READ);
pub(crate) const CHUNKS_ADAPTIVE: Move = Move {
    sink: Sink::Read(read_chunks_adaptively),
    ..chunks!(fill_and_send, AFTER_READ.wait(Wait::Adaptive))
};

const DEFAULT: WriterBuilder = ChunkWriter::builder();
const VMSPLICE: WriterBuilder = DEFAULT.mechanism(ChunkMechanism::Vmsplice);
const AFTER_READ: WriterBuilder = VMSPLICE.reuse(Reuse::AfterRead);
const MEMFD: WriterBuilder = DEFAULT.mechanism(ChunkMechanism::Memfd);
const MEMFD_AFTER_READ: WriterBuilder = MEMFD.reuse(Reuse::AfterRead);

/// The length of the file that is sent.
pub(crate) const FILE: usize = 16 * MIB;

pub(crate) const STD_FILE: Move = Move { source: io_copy_file, period: FILE, ..STD };
pub(crate) const RAW_FILE: Move =
    Move { source: transfer_file, period: FILE, sink: Sink::Read(read_chunks), ..RAW };

/// Only the process in the middle differs from engine to engine.
pub(crate) const SOCKETS: Move = Move {
    link: socket_pair,
    source: write_memory::<UnixStream>,
    sink: Sink::Read(read::<UnixStream>),
    middle: Some((io_copy_sockets, 0)),
    ..STD
};

/// Only the process in the middle and the pipes differ. The kernel supplies the bytes from a file and
/// discards them, so neither end is the bottleneck.
pub(crate) const STD_PIPES: Move = Move {
    link: std_pipe,
    source: feed,
    period: FILE,
    sink: Sink::Null(drain),
    middle: Some((io_copy_pipes, 0)),
    chunk: 0,
    place: Place::Free,
};
pub(crate) const RAW_PIPES: Move =
    Move { link: large_pipe, middle: Some((transfer_all, 0)), ..STD_PIPES };

// ---------------------------------------------------------------- the same code for both

pub(crate) fn write_memory<W: Write + From<OwnedFd>>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    let mut to = W::from(to);
    stream.send(|length| to.write_all(black_box(&from.memory[..length])))?;
    Ok("")
}

pub(crate) fn fill_and_write<W: Write + From<OwnedFd>>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<&'static str> {
    let mut to = W::from(to);
    stream.send(|length| {
        buffer[..length].copy_from_slice(black_box(&from.memory[..length]));
        to.write_all(&buffer[..length])
    })?;
    Ok("")
}

pub(crate) fn read<R: Read + From<OwnedFd>>(
    from: OwnedFd,
    buffer: &mut [u8],
    show: Show<'_>,
) -> io::Result<u64> {
    let mut from = R::from(from);
    let mut bytes = 0;
    loop {
        let count = from.read(buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes += count as u64;
        show(&buffer[..count])?;
    }
}

/// Plain calls, without a mechanism of the library.
fn by_hand(bytes: u64) -> Moved {
    Moved { bytes, by: "" }
}

// ---------------------------------------------------------------- std

pub(crate) fn std_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair()?;
    Ok((one.into(), other.into()))
}

pub(crate) fn io_copy_file(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    let mut to = io::PipeWriter::from(to);
    stream.send(|length| {
        let mut file = &from.file;
        file.rewind()?;
        let copied = io::copy(&mut file.take(length as u64), &mut to)?;
        require(copied == length as u64, || format!("copied {copied} of {length} bytes"))
    })?;
    Ok("")
}

/// Copies by chunks, which `io::copy` does not support, with the same loop as std's.
pub(crate) fn read_and_write(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<&'static str> {
    let mut to = io::PipeWriter::from(to);
    stream.send(|length| {
        let mut file = &from.file;
        file.rewind()?;
        let mut left = length;
        while left > 0 {
            let most = left.min(buffer.len());
            let count = file.read(&mut buffer[..most])?;
            require(count > 0, || "the file is shorter than it was".to_owned())?;
            to.write_all(&buffer[..count])?;
            left -= count;
        }
        Ok(())
    })?;
    Ok("")
}

pub(crate) fn io_copy_to_file(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    io::copy(&mut io::PipeReader::from(from), &mut File::from(to)).map(by_hand)
}

pub(crate) fn io_copy_pipes(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    io::copy(&mut io::PipeReader::from(from), &mut io::PipeWriter::from(to)).map(by_hand)
}

pub(crate) fn io_copy_sockets(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    io::copy(&mut UnixStream::from(from), &mut UnixStream::from(to)).map(by_hand)
}

pub(crate) fn io_copy_files(from: &File, to: &File, _: &mut [u8]) -> io::Result<Moved> {
    let (mut from, mut to) = (from, to);
    io::copy(&mut from, &mut to).map(by_hand)
}

/// To the next process, and to one of its own.
pub(crate) fn std_fanout(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<Moved> {
    let (own, to_own) = io::pipe()?;
    let mut to_own = Some(to_own);
    let child = start(|| {
        to_own = None; // here, in the child
        let mut null = File::options().write(true).open("/dev/null")?;
        io::copy(&mut &own, &mut null).map(drop)
    })?;
    let (mut from, mut to) = (io::PipeReader::from(from), io::PipeWriter::from(to));
    let mut bytes = 0;
    loop {
        let count = from.read(buffer)?;
        if count == 0 {
            break;
        }
        to.write_all(&buffer[..count])?;
        to_own.as_mut().expect("only the child's copy was closed").write_all(&buffer[..count])?;
        bytes += count as u64;
    }
    drop((to, to_own));
    finish(child)?;
    Ok(by_hand(bytes))
}

// ---------------------------------------------------------------- rawpipe

pub(crate) fn raw_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rawpipe::pipe()?;
    Ok((reader.into(), writer.into()))
}

pub(crate) fn large_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = Builder::new().capacity(Capacity::Max).build()?;
    Ok((reader.into(), writer.into()))
}

/// Fills only chunks that do not hold the bytes of an earlier round. All rounds send the same bytes, and
/// new memory is zeros, which the input is not, so the first bytes distinguish the two.
pub(crate) fn send_ready(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
    builder: WriterBuilder,
) -> io::Result<&'static str> {
    send_chunks(to, from, stream, builder.chunk(buffer.len()), |chunk, bytes| {
        let first = bytes.len().min(8);
        chunk[..first] != bytes[..first]
    })
}

pub(crate) fn fill_and_send(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
    builder: WriterBuilder,
) -> io::Result<&'static str> {
    send_chunks(to, from, stream, builder.chunk(buffer.len()), |_, _| true)
}

fn send_chunks(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    builder: WriterBuilder,
    must_fill: impl Fn(&[u8], &[u8]) -> bool,
) -> io::Result<&'static str> {
    let mut to = builder.build(PipeWriter::from(to))?;
    stream.send(|length| {
        let bytes = black_box(&from.memory[..length]);
        let chunk = &mut to.chunk()?[..length];
        if must_fill(chunk, bytes) {
            chunk.copy_from_slice(bytes);
        }
        Ok(to.send(length)?)
    })?;
    Ok(match to.mechanism() {
        ChunkMechanism::Vmsplice => "vmsplice",
        ChunkMechanism::Memfd => "memfd",
        _ => "copy",
    })
}

/// Reads by chunks, but none longer than the default of a `ChunkReader`.
pub(crate) fn read_chunks(from: OwnedFd, buffer: &mut [u8], show: Show<'_>) -> io::Result<u64> {
    read_chunks_by(ChunkReader::builder().chunk(buffer.len().min(256 * KIB)), from, show)
}

pub(crate) fn read_chunks_adaptively(
    from: OwnedFd,
    buffer: &mut [u8],
    show: Show<'_>,
) -> io::Result<u64> {
    let builder = ChunkReader::builder().chunk(buffer.len().min(256 * KIB));
    read_chunks_by(builder.wait(Wait::Adaptive), from, show)
}

fn read_chunks_by(builder: ReaderBuilder, from: OwnedFd, show: Show<'_>) -> io::Result<u64> {
    let mut from = builder.build(PipeReader::from(from))?;
    let mut bytes = 0;
    loop {
        let piece = from.read_chunk()?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes += piece.len() as u64;
        show(piece)?;
    }
}

/// Transfers with calls that move as much as they can.
pub(crate) fn transfer_file(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    transfer_parts(to, from, stream, Transfer::new)
}

/// A transfer that reports each chunk. A closure that captures nothing takes no memory.
fn by_chunks(len: usize) -> Transfer<'static> {
    Transfer::new().chunk(len).progress(Box::leak(Box::new(|_| ControlFlow::Continue(()))))
}

/// Transfers with calls that move one chunk, and a report after each.
pub(crate) fn transfer_file_by_chunks(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<&'static str> {
    transfer_parts(to, from, stream, || by_chunks(buffer.len()))
}

fn transfer_parts<'p>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    options: impl Fn() -> Transfer<'p>,
) -> io::Result<&'static str> {
    let mut by = "";
    stream.send(|length| {
        (&from.file).rewind()?;
        by = options().exact(length as u64).run(&from.file, &to)?.mechanism().name();
        Ok(())
    })?;
    Ok(by)
}

fn by_transfer(moved: Transferred) -> Moved {
    Moved { bytes: moved.bytes(), by: moved.mechanism().name() }
}

pub(crate) fn transfer_all(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    Ok(transfer(&from, &to).map(by_transfer)?)
}

pub(crate) fn transfer_adaptively(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    Ok(Transfer::new().wait(Wait::Adaptive).run(&from, &to).map(by_transfer)?)
}

pub(crate) fn transfer_by_chunks(
    from: OwnedFd,
    to: OwnedFd,
    buffer: &mut [u8],
) -> io::Result<Moved> {
    Ok(by_chunks(buffer.len()).run(&from, &to).map(by_transfer)?)
}

/// As `transfer_file`, for processes that are not the measured one.
pub(crate) fn feed(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<&'static str> {
    transfer_file(to, from, stream, buffer).map(|_| "")
}

/// As `transfer_all`, for processes that are not the measured one.
pub(crate) fn drain(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<Moved> {
    transfer_all(from, to, buffer).map(|moved| Moved { by: "", ..moved })
}

pub(crate) fn transfer_files(from: &File, to: &File, _: &mut [u8]) -> io::Result<Moved> {
    Ok(transfer(from, to).map(by_transfer)?)
}

pub(crate) fn transfer_files_by_chunks(
    from: &File,
    to: &File,
    buffer: &mut [u8],
) -> io::Result<Moved> {
    Ok(by_chunks(buffer.len()).run(from, to).map(by_transfer)?)
}

pub(crate) fn copy_files(from: &File, to: &File, buffer: &mut [u8]) -> io::Result<Moved> {
    copy_all(from.try_clone()?.into(), to.try_clone()?.into(), buffer)
}

pub(crate) fn copy_file(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<&'static str> {
    stream.send(|length| {
        (&from.file).rewind()?;
        let mut left = length;
        while left > 0 {
            let most = left.min(buffer.len());
            let count = rawpipe::read(&from.file, &mut buffer[..most])?;
            require(count > 0, || "the file is shorter than it was".to_owned())?;
            rawpipe::io::write_all(&to, &buffer[..count])?;
            left -= count;
        }
        Ok(())
    })?;
    Ok("copy")
}

pub(crate) fn copy_all(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<Moved> {
    let mut bytes = 0;
    loop {
        let count = rawpipe::read(&from, buffer)?;
        if count == 0 {
            return Ok(Moved { bytes, by: "copy" });
        }
        rawpipe::io::write_all(&to, &buffer[..count])?;
        bytes += count as u64;
    }
}

/// To the next process, and to one of its own.
pub(crate) fn raw_fanout(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    let (own, to_own) = large_pipe()?;
    let mut to_own = Some(to_own);
    let child = start(|| {
        to_own = None; // here, in the child
        Ok(discard(&own, None).map(drop)?)
    })?;
    let bytes = {
        let to_own = to_own.as_ref().expect("only the child's copy was closed");
        let mut sinks = [FanoutSink::new(&to), FanoutSink::new(to_own)];
        let bytes = fanout(&from, &mut sinks)?.bytes();
        require(sinks.iter().all(|sink| sink.bytes() == bytes), || "a sink failed".to_owned())?;
        bytes
    };
    drop((to, to_own));
    finish(child)?;
    Ok(Moved { bytes, by: "tee" })
}
