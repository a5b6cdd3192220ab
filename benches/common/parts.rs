//! The links between processes, and the roles of these processes. Each is implemented with std and with this
//! crate.

use super::{Input, KIB, Moved, Show, Stream, finish, require, start, summed, touched};
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ReaderBuilder, WriterBuilder};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{FanoutSink, Transfer, Transferred, fanout, transfer};
use rawpipe::{PipeReader, PipeWriter};
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

// ---------------------------------------------------------------- std or rawpipe

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

/// Reads until end of file and sums every word.
fn add_up<R: Read + From<OwnedFd>>(from: OwnedFd) -> io::Result<()> {
    let mut sum = 0_u64;
    read::<R>(from, touched(64 * KIB), &mut |piece| {
        sum = sum.wrapping_add(summed::of(piece));
        Ok(())
    })?;
    black_box(sum);
    Ok(())
}

/// Returns a result without a mechanism, because std reports none.
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

/// Copies the file through `buffer` with `read` and `write_all`. The caller of `io::copy` cannot choose the
/// length of a buffer.
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

/// Copies with `read` and `write_all` of `File`, which make the same system calls on every kind of
/// descriptor.
pub(crate) fn std_read_and_write(
    from: OwnedFd,
    to: OwnedFd,
    buffer: &mut [u8],
) -> io::Result<Moved> {
    read_and_write_files(&from.into(), &to.into(), buffer)
}

pub(crate) fn read_and_write_files(
    mut from: &File,
    mut to: &File,
    buffer: &mut [u8],
) -> io::Result<Moved> {
    let mut bytes = 0;
    loop {
        let count = from.read(buffer)?;
        if count == 0 {
            return Ok(by_hand(bytes));
        }
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
    }
}

/// Sends every byte to the next process and to a child of this process.
pub(crate) fn std_fanout(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<Moved> {
    let (own, to_own) = io::pipe()?;
    let mut to_own = Some(to_own);
    let child = start(|| {
        to_own = None; // closes the child's copy
        add_up::<io::PipeReader>(own.into())
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

/// Fills only chunks that do not yet hold the input's bytes. The first 8 bytes show whether a chunk is new.
/// Every use sends the same bytes, and only a new chunk begins with zeros.
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

/// Reads in chunks of at most 256 KiB, the default chunk size of a `ChunkReader`.
pub(crate) fn read_chunks(from: OwnedFd, buffer: &mut [u8], show: Show<'_>) -> io::Result<u64> {
    read_chunks_by(ChunkReader::builder().chunk(buffer.len().min(256 * KIB)), from, show)
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

/// Transfers the file, and does not limit how many bytes a call may move.
pub(crate) fn transfer_file(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<&'static str> {
    transfer_parts(to, from, stream, Transfer::new)
}

/// Returns a transfer that calls a closure for each chunk. Boxing a closure that captures nothing does not
/// allocate, so no memory is leaked.
fn by_chunks(len: usize) -> Transfer<'static> {
    Transfer::new().chunk(len).progress(Box::leak(Box::new(|_| ControlFlow::Continue(()))))
}

/// Transfers the file with calls that each move at most one chunk, and calls a closure for each chunk.
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

pub(crate) fn transfer_by_chunks(
    from: OwnedFd,
    to: OwnedFd,
    buffer: &mut [u8],
) -> io::Result<Moved> {
    Ok(by_chunks(buffer.len()).run(&from, &to).map(by_transfer)?)
}

/// Transfers the file. Returns no mechanism, because the source is not the measured process.
pub(crate) fn feed(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<&'static str> {
    transfer_file(to, from, stream, buffer).map(|_| "")
}

/// Transfers until end of file. Returns no mechanism, because the sink is not the measured process.
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

/// Sends every byte to the next process and to a child of this process.
pub(crate) fn raw_fanout(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<Moved> {
    let (own, to_own) = large_pipe()?;
    let mut to_own = Some(to_own);
    let child = start(|| {
        to_own = None; // closes the child's copy
        add_up::<PipeReader>(own)
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
