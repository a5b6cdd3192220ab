//! Moves bytes between processes with std and with this crate. The benchmarks and the example `speed` share
//! this code.
//!
//! A [`Move`] describes the processes and their roles. [`Move::run`] forks the processes, waits until all are
//! ready, and sends the start signal. The measurement lasts from this signal until every process has reported
//! that it is done. The measured time therefore excludes forking these processes, opening files and
//! allocating page-aligned buffers. It may include the creation of a `Vec`, a `ChunkWriter`, a `ChunkReader`
//! or a fanout's second reader. The processes are created in the same way whether they use std or this crate.
//! A [`Copy`] copies a file repeatedly in this process. In a [`Summed`], one process generates all bytes and
//! another sums them.
//!
//! The roles are in [`parts`], the engines are in [`engines`], and messages and round trips are in
//! [`messages`]. [`turns`] combines engines into the rows of a benchmark, and [`machine`] describes the
//! machine. [`Busy`] starts processes that compete for the CPUs, and [`Place`] chooses the CPUs of the
//! measured processes. Buffers are page-aligned, except in engines named `std-vec`.
#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(unused_imports, reason = "each program uses a part of it")]
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

mod busy;
mod copies;
mod cpus;
pub(crate) mod engines;
pub(crate) mod machine;
pub(crate) mod messages;
mod parts;
mod stages;
pub(crate) mod summed;
mod taken;
mod turns;

pub(crate) use busy::Busy;
pub(crate) use copies::Copy;
pub(crate) use cpus::{Cpus, Place};
pub(crate) use engines::*;
pub(crate) use parts::*;
pub(crate) use stages::{finish, start};
pub(crate) use summed::Summed;
pub(crate) use taken::{Taken, spent, spent_by};
pub(crate) use turns::*;

use rawpipe::chunk::{ChunkMechanism, ChunkWriter};
use rawpipe::process::Child;
use rawpipe::{PipeReader, PipeWriter};
use stages::{Report, SOURCE, clocked, stage};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, process as this_process};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// A source, an optional middle and a sink. Each role runs in a separate process, and pipes or sockets
/// connect the processes in this order.
#[derive(Clone, Copy)]
pub(crate) struct Move {
    pub(crate) link: Link,
    pub(crate) source: Source,
    /// The number of bytes that the source sends before it restarts at the front of its input.
    pub(crate) period: usize,
    /// The function that the process in the middle runs, and the length of that process's buffer.
    pub(crate) middle: Option<(Mover, usize)>,
    pub(crate) sink: Sink,
    /// The buffer length of the source and the sink.
    pub(crate) chunk: usize,
    /// If set, the buffers are plain `Vec`s. With glibc, a `Vec` of at least 128 KiB usually begins 16 bytes
    /// after the start of a page.
    pub(crate) vec: bool,
    pub(crate) place: Place,
}

/// A function that creates a pipe or a socket pair, and returns the read end and the write end.
pub(crate) type Link = fn() -> io::Result<(OwnedFd, OwnedFd)>;

/// A function that sends the stream and returns the mechanism's name, which is empty if no mechanism is
/// reported. The length of the buffer is the chunk size.
pub(crate) type Source = fn(OwnedFd, &Input, &Stream, &mut [u8]) -> io::Result<&'static str>;

/// A function that moves bytes between descriptors until end of file, and counts the bytes. The length of the
/// buffer is the chunk size.
pub(crate) type Mover = fn(OwnedFd, OwnedFd, &mut [u8]) -> io::Result<Moved>;

/// The number of bytes moved, and the mechanism's name, which is empty if no mechanism is reported.
pub(crate) struct Moved {
    pub(crate) bytes: u64,
    pub(crate) by: &'static str,
}

/// The elapsed time and the CPU time of a run, and the mechanisms, ordered from the source to the sink.
pub(crate) struct Run {
    pub(crate) taken: Taken,
    pub(crate) by: String,
}

/// The role of the last process. If the bytes are compared, every variant moves them to the output file.
#[derive(Clone, Copy)]
pub(crate) enum Sink {
    /// Reads and sums every word.
    Read(Reading),
    /// Reads without examining the bytes.
    Unread(Reading),
    /// Moves the bytes to `/dev/null`.
    Null(Mover),
    /// Moves the bytes to the output file.
    File(Mover),
}

/// A function that reads until end of file, passes each piece to the given closure, and returns the number of
/// bytes.
pub(crate) type Reading = fn(OwnedFd, &mut [u8], Show<'_>) -> io::Result<u64>;

pub(crate) type Show<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// The first `period` bytes of the input, repeated to a length of `bytes`.
pub(crate) struct Stream {
    bytes: u64,
    period: usize,
}

impl Stream {
    /// Calls `send` with the length of each period. The last period may be shorter.
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

/// Returns the smaller of the two numbers.
pub(crate) fn least(left: u64, most: usize) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}

pub(crate) fn require(holds: bool, message: impl FnOnce() -> String) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(message())) }
}

// ---------------------------------------------------------------- running the processes

/// The input of the sources and the output of the sinks.
pub(crate) struct Input {
    /// The pseudorandom bytes that sources send.
    pub(crate) memory: &'static [u8],
    /// A file of [`FILE`] bytes that repeats the bytes of `memory`.
    pub(crate) file: File,
    /// A file with the same content as `file`, in the directory of the output.
    near: File,
    null: File,
    output: File,
    /// The directories of the input and the output.
    pub(crate) folders: String,
    /// The `ChunkWriter` mechanisms that fail on this machine, and `shared` if shared chunks fail.
    missing: Vec<&'static str>,
}

impl Input {
    pub(crate) fn new() -> io::Result<Self> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        require(threads == 1, || format!("{threads} threads, and it is to fork"))?;
        let memory = touched(4 * MIB);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in memory.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let (disk, in_memory) = (env::temp_dir(), Path::new("/dev/shm"));
        let fill = |(mut file, folder): (File, _)| {
            for _ in 0..FILE / memory.len() {
                file.write_all(memory)?;
            }
            file.sync_all()?; // otherwise the kernel might write the file to the disk during the measurement
            Ok::<_, io::Error>((file, folder))
        };
        let (file, from) = fill(scratch_file(&[&disk, in_memory])?)?;
        let (near, _) = fill(scratch_file(&[in_memory, &disk])?)?;
        let null = File::options().write(true).open("/dev/null")?;
        let (output, to) = scratch_file(&[in_memory, &disk])?;
        let folders = format!("{} to {}", from.display(), to.display());
        // The first `ChunkWriter` of a process runs the crate's self-check, and forked processes inherit the
        // result.
        let works = |mechanism| {
            let builder = ChunkWriter::builder().mechanism(mechanism);
            rawpipe::pipe().and_then(|(_reader, writer)| builder.build(writer)).is_ok()
        };
        let mut missing: Vec<_> = [ChunkMechanism::Vmsplice, ChunkMechanism::Memfd]
            .into_iter()
            .filter(|mechanism| !works(*mechanism))
            .map(ChunkMechanism::name)
            .collect();
        if rawpipe::chunk::shared().is_err() {
            missing.push("shared");
        }
        Ok(Self { memory, file, near, null, output, folders, missing })
    }

    /// Returns whether the engine's name contains none of the missing mechanisms.
    pub(crate) fn allows(&self, engine: &str) -> bool {
        !self.missing.iter().any(|mechanism| engine.contains(mechanism))
    }

    /// Empties the output file of the sinks.
    fn clear_output(&self) -> io::Result<()> {
        self.output.set_len(0)?;
        (&self.output).rewind()
    }

    /// Checks that the first `bytes` bytes of the output are the first `period` bytes of `memory`, repeated.
    fn check_output(&self, bytes: u64, period: usize) -> io::Result<()> {
        let mut got = vec![0; least(bytes, usize::MAX)];
        self.output.read_exact_at(&mut got, 0)?;
        let right = got.chunks(period).all(|part| *part == self.memory[..part.len()]);
        require(right, || "other bytes than were sent".to_owned())
    }

    fn check_output_len(&self, bytes: u64) -> io::Result<()> {
        let length = self.output.metadata()?.len();
        require(length == bytes, || format!("{length} bytes in the file"))
    }
}

/// Creates a file in the first directory in which this is possible, unlinks the file, and returns the file
/// and the directory.
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

/// Allocates page-aligned memory and touches every page. The memory is never freed.
pub(crate) fn touched(bytes: usize) -> &'static mut [u8] {
    /// The addresses that keep the memory reachable for leak checkers.
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let memory = vec![1; bytes + PAGE].leak();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(memory.as_ptr().addr());
    from_page(memory, bytes)
}

/// Returns `len` bytes of the memory, which begin at the start of a page.
pub(crate) fn from_page(memory: &mut [u8], len: usize) -> &mut [u8] {
    let start = memory.as_ptr().align_offset(PAGE);
    &mut memory[start..][..len]
}

impl Move {
    /// Moves `bytes` bytes, checks the number of bytes that each process moved, and returns the times and the
    /// mechanisms.
    pub(crate) fn run(&self, input: &Input, bytes: u64) -> io::Result<Run> {
        self.run_stream(input, &Stream { bytes, period: self.period }, false)
    }

    /// Moves more bytes than fit in a pipe of 1 MiB, and compares each byte. The number of bytes is
    /// deliberately not a multiple of the page size.
    pub(crate) fn check(&self, input: &Input) -> io::Result<()> {
        // The file repeats the memory, so the source may restart before the end of the file.
        let period = self.period.min(input.memory.len());
        let stream = Stream { bytes: (5 << 18) + 4321, period };
        self.run_stream(input, &stream, true)?;
        input.check_output(stream.bytes, period)
    }

    fn run_stream(&self, input: &Input, stream: &Stream, checked: bool) -> io::Result<Run> {
        input.clear_output()?;
        let (reports, reporter) = rawpipe::pipe()?;
        let (stages, go) = self.start_stages(input, stream, checked, &reporter)?;
        drop(reporter); // if all stages exit early, reading the reports then ends with an error

        let (taken, mut done) = clocked(&reports, stages, go)?;
        for Report { bytes, .. } in &done {
            require(*bytes == stream.bytes, || format!("{bytes} of {} bytes", stream.bytes))?;
        }
        if checked || matches!(self.sink, Sink::File(_)) {
            input.check_output_len(stream.bytes)?;
        }
        // Stages report in the order in which they finish. The sort puts the source first, because the source
        // has the highest stage number.
        done.sort_by_key(|report| std::cmp::Reverse(report.stage));
        let mut by: Vec<_> = done.into_iter().map(|report| report.by).collect();
        by.retain(|name| !name.is_empty());
        by.dedup();
        Ok(Run { taken, by: by.join(" + ") })
    }

    /// Calls `part` with the page-aligned `memory`, or with a `Vec` of the same length if `vec` is set.
    fn with<T>(&self, memory: &mut [u8], part: impl FnOnce(&mut [u8]) -> T) -> T {
        if self.vec { part(&mut vec![0; memory.len()]) } else { part(memory) }
    }

    /// Starts the stages from the last to the first, so that a stage inherits only write ends that it uses or
    /// closes. The source starts to send when the caller drops the returned writer.
    fn start_stages(
        &self,
        input: &Input,
        stream: &Stream,
        checked: bool,
        reporter: &PipeWriter,
    ) -> io::Result<(Vec<Child>, PipeWriter)> {
        let (from, to) = (self.link)()?;
        let mut to = Some(to);
        let mut stages = vec![stage(self.place, reporter, 0, self.chunk, |buffer| {
            to = None; // closes the child's copy
            self.with(buffer, |buffer| self.sink.run(from, input, buffer, checked))
        })?];
        if let Some((middle, chunk)) = self.middle {
            let (from, next) = (self.link)()?;
            let onward = to.replace(next).expect("only the child's copy was closed");
            stages.push(stage(self.place, reporter, 1, chunk, |buffer| {
                to = None;
                self.with(buffer, |buffer| middle(from, onward, buffer))
            })?);
        }
        let (gate, go) = rawpipe::pipe()?;
        let mut go = Some(go);
        let to = to.expect("only the child's copy was closed");
        stages.push(stage(self.place, reporter, SOURCE, self.chunk, |buffer| {
            go = None;
            gate.read(&mut [0])?; // end of file is the start signal
            let by = self.with(buffer, |buffer| (self.source)(to, input, stream, buffer))?;
            Ok(Moved { bytes: stream.bytes, by })
        })?);
        Ok((stages, go.expect("only the child's copy was closed")))
    }
}

/// Returns the number of repetitions that together take about `target`, but at most `most`. The search starts
/// with `count` repetitions.
pub(crate) fn often(
    target: Duration,
    mut count: u64,
    most: u64,
    mut run: impl FnMut(u64) -> io::Result<Duration>,
) -> io::Result<u64> {
    loop {
        // Use the median of three runs, because a wait for a CPU may take longer than the work itself.
        let mut elapsed = [run(count)?, run(count)?, run(count)?];
        elapsed.sort();
        let elapsed = elapsed[1];
        if elapsed * 4 >= target || count >= most {
            let exact = u128::from(count) * target.as_nanos() / elapsed.as_nanos().max(1);
            return Ok(u64::try_from(exact).unwrap_or(u64::MAX).clamp(1, most));
        }
        count *= 4;
    }
}

impl Sink {
    fn run(
        &self,
        from: OwnedFd,
        to: &Input,
        buffer: &mut [u8],
        checked: bool,
    ) -> io::Result<Moved> {
        let file = if checked || matches!(self, Self::File(_)) { &to.output } else { &to.null };
        let mut file = file.try_clone()?;
        let mut sum = 0_u64;
        let bytes = match self {
            Self::Read(read) | Self::Unread(read) if checked => {
                read(from, buffer, &mut |piece| file.write_all(piece))
            }
            Self::Read(read) => read(from, buffer, &mut |piece| {
                sum = sum.wrapping_add(summed::of(piece));
                Ok(())
            }),
            Self::Unread(read) => read(from, buffer, &mut |piece| {
                black_box(piece);
                Ok(())
            }),
            Self::Null(mover) | Self::File(mover) => return mover(from, file.into(), buffer),
        };
        black_box(sum);
        bytes.map(|bytes| Moved { bytes, by: "" })
    }
}
