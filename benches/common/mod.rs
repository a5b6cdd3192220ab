//! Moving bytes from process to process, by std and by this crate: what the benchmarks and the
//! example `speed` have in common.
//!
//! A [`Move`] describes the processes and how each does its part. [`Move::run`] forks them, gets
//! them all ready, and measures from the word to go until all have said that they are done: forking,
//! files and buffers are not in it. The processes of both engines are made in the same way.
#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(unsafe_code, reason = "fork")]
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::{self, Child};
use rawpipe::splice::{SpliceFlags, splice};
use rawpipe::{PipeReader, PipeWriter};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, process as this_process};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Source → (middle →) sink, each a process, and a link from each to the next.
pub(crate) struct Move {
    pub(crate) link: Link,
    pub(crate) source: Source,
    /// How many bytes the source takes from the front of its input before it begins again.
    pub(crate) period: usize,
    /// With a buffer of so many bytes.
    pub(crate) middle: Option<(Mover, usize)>,
    pub(crate) sink: Sink,
    /// The length of the buffer of source and sink.
    pub(crate) chunk: usize,
}

/// Makes the read end and the write end.
pub(crate) type Link = fn() -> io::Result<(OwnedFd, OwnedFd)>;

/// Sends the stream. The buffer's length is the most that one `splice` is asked for.
pub(crate) type Source = fn(OwnedFd, &Input, &Stream, &mut [u8]) -> io::Result<()>;

/// Moves from one descriptor to the other until the end, and counts. The buffer's length is the
/// most that one `splice` is asked for.
pub(crate) type Mover = fn(OwnedFd, OwnedFd, &mut [u8]) -> io::Result<u64>;

pub(crate) enum Sink {
    /// Reads, and shows each piece.
    Read(fn(OwnedFd, &mut [u8], Show<'_>) -> io::Result<u64>),
    /// Moves into `/dev/null`; into a file when the bytes are to be checked.
    Null(Mover),
    /// Moves into a new file.
    File(Mover),
}

type Show<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// The first `period` bytes of the input, over and over, until there are `bytes`.
pub(crate) struct Stream {
    bytes: u64,
    period: usize,
}

impl Stream {
    /// Calls `send` with the length of each period, the last of which may be shorter.
    pub(crate) fn send(&self, mut send: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
        let mut left = self.bytes;
        while left > 0 {
            let length = least(left, self.period);
            send(length)?;
            left -= length as u64;
        }
        Ok(())
    }
}

/// As much of `left` as goes into `most`.
fn least(left: u64, most: usize) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}

pub(crate) fn require(holds: bool, message: impl FnOnce() -> String) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(message())) }
}

// ---------------------------------------------------------------- the two engines

/// std's pipe as it comes, `write_all` and `read` by 64 KiB.
pub(crate) const STD: Move = Move {
    link: std_pipe,
    source: write_memory::<io::PipeWriter>,
    period: 64 * KIB,
    middle: None,
    sink: Sink::Read(read::<io::PipeReader>),
    chunk: 64 * KIB,
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
};

/// The length of the file that is sent.
pub(crate) const FILE: usize = 16 * MIB;

pub(crate) const STD_FILE: Move = Move { source: io_copy_file, period: FILE, ..STD };
pub(crate) const RAW_FILE: Move = Move { source: splice_file, period: FILE, ..RAW };

/// Only the process in the middle is to differ from engine to engine.
pub(crate) const SOCKETS: Move = Move {
    link: socket_pair,
    source: write_memory::<UnixStream>,
    sink: Sink::Read(read::<UnixStream>),
    middle: Some((io_copy_sockets, 0)),
    ..STD
};

// ---------------------------------------------------------------- the same code for both

pub(crate) fn write_memory<W: Write + From<OwnedFd>>(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    _: &mut [u8],
) -> io::Result<()> {
    let mut to = W::from(to);
    stream.send(|length| to.write_all(black_box(&from.memory[..length])))
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
) -> io::Result<()> {
    let mut to = io::PipeWriter::from(to);
    stream.send(|length| {
        let mut file = &from.file;
        file.rewind()?;
        let copied = io::copy(&mut file.take(length as u64), &mut to)?;
        require(copied == length as u64, || format!("copied {copied} of {length} bytes"))
    })
}

pub(crate) fn io_copy_to_file(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<u64> {
    io::copy(&mut io::PipeReader::from(from), &mut File::from(to))
}

pub(crate) fn io_copy_sockets(from: OwnedFd, to: OwnedFd, _: &mut [u8]) -> io::Result<u64> {
    io::copy(&mut UnixStream::from(from), &mut UnixStream::from(to))
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

pub(crate) fn splice_file(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<()> {
    stream.send(|length| {
        let (mut at, end) = (0, length as u64);
        while at < end {
            let most = least(end - at, buffer.len());
            let moved = splice(&from.file, Some(&mut at), &to, None, most, SpliceFlags::empty())?;
            require(moved > 0, || "the file is shorter than it was".to_owned())?;
        }
        Ok(())
    })
}

pub(crate) fn splice_all(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match splice(&from, None, &to, None, buffer.len(), SpliceFlags::empty())? {
            0 => return Ok(bytes),
            moved => bytes += moved as u64,
        }
    }
}

pub(crate) fn copy_all(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let count = rawpipe::read(&from, buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        rawpipe::io::write_all(&to, &buffer[..count])?;
        bytes += count as u64;
    }
}

/// From socket to socket, through a pipe that is drained each time before it is filled.
pub(crate) fn broker(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> io::Result<u64> {
    let (reader, writer) = large_pipe()?;
    let mut bytes = 0;
    loop {
        let mut held = splice(&from, None, &writer, None, buffer.len(), SpliceFlags::empty())?;
        if held == 0 {
            return Ok(bytes);
        }
        bytes += held as u64;
        while held > 0 {
            let moved = splice(&reader, None, &to, None, held, SpliceFlags::empty())?;
            require(moved > 0, || "the socket takes nothing".to_owned())?;
            held -= moved;
        }
    }
}

// ---------------------------------------------------------------- running them

/// What the sources send and the sinks fill.
pub(crate) struct Input {
    /// Random bytes.
    pub(crate) memory: &'static [u8],
    /// The same, over and over, up to [`FILE`].
    pub(crate) file: File,
    null: File,
    output: File,
    /// Where the files are.
    pub(crate) folders: String,
}

impl Input {
    pub(crate) fn new() -> io::Result<Self> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        require(threads == 1, || format!("{threads} threads, and it is to fork"))?;
        let memory = touched(MIB);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in memory.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let (disk, in_memory) = (env::temp_dir(), Path::new("/dev/shm"));
        let (mut file, from) = scratch_file(&[&disk, in_memory])?;
        for _ in 0..FILE / memory.len() {
            file.write_all(memory)?;
        }
        file.sync_all()?; // so that nobody writes it to the disk while the clock runs
        let null = File::options().write(true).open("/dev/null")?;
        let (output, to) = scratch_file(&[in_memory, &disk])?;
        let folders = format!("{} to {}", from.display(), to.display());
        Ok(Self { memory, file, null, output, folders })
    }
}

/// A file without a name, in the first folder that takes it.
fn scratch_file<'a>(folders: &[&'a Path]) -> io::Result<(File, &'a Path)> {
    let mut result = Err(io::ErrorKind::NotFound.into());
    for folder in folders {
        let path = folder.join(format!("rawpipe-speed-{}", this_process::id()));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return fs::remove_file(&path).map(|()| (file, *folder)),
            Err(error) => result = Err(error),
        }
    }
    result
}

/// Memory whose pages are there, from the start of a page to the end of the program.
fn touched(bytes: usize) -> &'static mut [u8] {
    const PAGE: usize = 4096;
    let memory = vec![1; bytes + PAGE].leak();
    let start = memory.as_ptr().align_offset(PAGE);
    &mut memory[start..][..bytes]
}

impl Move {
    /// Moves so many bytes, checks that as many have arrived, and says how long it took.
    pub(crate) fn run(&self, input: &Input, bytes: u64) -> io::Result<Duration> {
        self.run_stream(input, &Stream { bytes, period: self.period }, false)
    }

    /// Moves more than a pipe holds, not a round number, and checks each byte.
    pub(crate) fn check(&self, input: &Input) -> io::Result<()> {
        // The file is the memory over and over, so that it can begin again in the middle, too.
        let period = self.period.min(input.memory.len());
        let stream = Stream { bytes: (5 << 18) + 4321, period };
        self.run_stream(input, &stream, true)?;

        let mut got = vec![0; least(stream.bytes, usize::MAX)];
        input.output.read_exact_at(&mut got, 0)?;
        let right = got.chunks(period).all(|part| *part == input.memory[..part.len()]);
        require(right, || "other bytes than were sent".to_owned())
    }

    fn run_stream(&self, input: &Input, stream: &Stream, checked: bool) -> io::Result<Duration> {
        input.output.set_len(0)?;
        (&input.output).rewind()?;
        let (counts, counter) = rawpipe::pipe()?;
        let (stages, go) = self.start_stages(input, stream, checked, &counter)?;
        drop(counter); // from here on it breaks when all stages have ended

        let count = || {
            let mut count = [0; 8];
            counts.read_exact(&mut count).map(|()| u64::from_le_bytes(count))
        };
        for _ in &stages {
            count()?; // ready
        }
        let clock = Instant::now();
        drop(go);
        let moved: Result<Vec<_>, _> = stages.iter().map(|_| count()).collect();
        let elapsed = clock.elapsed();

        stages.into_iter().try_for_each(finish)?;
        for moved in moved? {
            require(moved == stream.bytes, || format!("{moved} of {} bytes", stream.bytes))?;
        }
        if checked || matches!(self.sink, Sink::File(_)) {
            let length = input.output.metadata()?.len();
            require(length == stream.bytes, || format!("{length} bytes in the file"))?;
        }
        Ok(elapsed)
    }

    /// Starts them from the last to the first, so that none has a copy of another's write end. The
    /// source begins when the returned writer is dropped.
    fn start_stages(
        &self,
        input: &Input,
        stream: &Stream,
        checked: bool,
        counter: &PipeWriter,
    ) -> io::Result<(Vec<Child>, PipeWriter)> {
        let (from, to) = (self.link)()?;
        let mut to = Some(to);
        let mut stages = vec![start_stage(counter, self.chunk, |buffer| {
            to = None; // here, in the child
            self.sink.run(from, input, buffer, checked)
        })?];
        if let Some((middle, chunk)) = self.middle {
            let (from, next) = (self.link)()?;
            let onward = to.replace(next).expect("only the child's copy was closed");
            stages.push(start_stage(counter, chunk, |buffer| {
                to = None;
                middle(from, onward, buffer)
            })?);
        }
        let (gate, go) = rawpipe::pipe()?;
        let mut go = Some(go);
        let to = to.expect("only the child's copy was closed");
        stages.push(start_stage(counter, self.chunk, |buffer| {
            go = None;
            gate.read(&mut [0])?; // end of file: go
            (self.source)(to, input, stream, buffer).map(|()| stream.bytes)
        })?);
        Ok((stages, go.expect("only the child's copy was closed")))
    }
}

/// Starts a process that gets its buffer ready, says so, does its part, and says how many bytes.
fn start_stage(
    counter: &PipeWriter,
    chunk: usize,
    part: impl FnOnce(&mut [u8]) -> io::Result<u64>,
) -> io::Result<Child> {
    start(|| {
        let buffer = touched(chunk);
        counter.write_all(&0_u64.to_le_bytes())?;
        let bytes = part(buffer)?;
        Ok(counter.write_all(&bytes.to_le_bytes())?)
    })
}

impl Sink {
    fn run(&self, from: OwnedFd, to: &Input, buffer: &mut [u8], checked: bool) -> io::Result<u64> {
        let file = if checked || matches!(self, Self::File(_)) { &to.output } else { &to.null };
        let mut file = file.try_clone()?;
        match self {
            Self::Read(read) if checked => read(from, buffer, &mut |piece| file.write_all(piece)),
            Self::Read(read) => read(from, buffer, &mut |piece| {
                black_box(piece);
                Ok(())
            }),
            Self::Null(mover) | Self::File(mover) => mover(from, file.into(), buffer),
        }
    }
}

/// Forks a process that does this and ends.
pub(crate) fn start(body: impl FnOnce() -> io::Result<()>) -> io::Result<Child> {
    // SAFETY: the programs that use this have one thread, as `Input::new` has checked, and nothing
    // but descriptors and memory of their own.
    let child = unsafe {
        process::fork_with(|| match body() {
            Ok(()) => 0,
            Err(error) => {
                let _ = io::stderr().write_all(format!("a process: {error}\n").as_bytes());
                1
            }
        })
    };
    Ok(child?)
}

pub(crate) fn finish(mut child: Child) -> io::Result<()> {
    let status = child.wait()?;
    require(status.success(), || format!("a process ended with {status}"))
}
