//! Defines the public movers, a simple loop of `read` and `write` for comparison, and their outcomes.

use super::kinds::{SinkKind, SourceKind};
use super::sys;
use crate::common::example;
use rawpipe::Deadline;
use rawpipe::PipeReader;
use rawpipe::chunk::ChunkReader;
use rawpipe::transfer::{Fanout, FanoutSink, Side, Transfer, TransferError, discard, transfer};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Mover {
    Model,
    Transfer,
    Deadline,
    Chunk,
    SmallChunk,
    Exact,
    Progress,
    CopySemantics,
    Fanout,
    FanoutTwo,
    SpliceTo,
    Discard,
    Pump,
}

use Mover::{
    Chunk, CopySemantics, Deadline as WithDeadline, Discard, Exact, FanoutTwo, Model, Progress,
    Pump, SmallChunk, SpliceTo,
};

/// All movers except `pump`. `pump` is a program that uses other movers of this list, so only a few pairs use
/// it.
pub(crate) const MOVERS: &[Mover] = &[
    Model,
    Mover::Transfer,
    WithDeadline,
    Chunk,
    SmallChunk,
    Exact,
    Progress,
    CopySemantics,
    Mover::Fanout,
    FanoutTwo,
    SpliceTo,
    Discard,
];

/// The movers that run in the cases with a deadline.
pub(crate) const WITH_DEADLINE: &[Mover] =
    &[WithDeadline, Chunk, SmallChunk, Progress, CopySemantics];

/// The chunk size of the mover `SmallChunk`, in bytes. A chunk has room for at least one event, but is smaller
/// than a page.
pub(crate) const SMALL: usize = 16;
const CHUNK: usize = 8192;

impl Mover {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Model => "model",
            Self::Transfer => "transfer",
            WithDeadline => "deadline",
            Chunk => "chunk",
            SmallChunk => "small_chunk",
            Exact => "exact",
            Progress => "progress",
            CopySemantics => "copy_semantics",
            Self::Fanout => "fanout",
            FanoutTwo => "fanout_two",
            SpliceTo => "splice_to",
            Discard => "discard",
            Pump => "pump",
        }
    }

    /// Returns whether this mover can move an exact number of bytes.
    pub(crate) fn takes_exact(self) -> bool {
        !matches!(self, Self::Fanout | FanoutTwo | SpliceTo | Pump)
    }

    /// Returns the reason why this mover cannot be used with this pair, or `None` if it can be used.
    pub(crate) fn nonsense(self, from: &SourceKind, to: &SinkKind) -> Option<&'static str> {
        match self {
            SpliceTo if !from.pipe => Some("a ChunkReader reads a pipe"),
            SpliceTo if !from.waits() || !to.waits() => {
                Some("splice_to makes one call, which does not wait")
            }
            SpliceTo if !to.splices => Some("the kernel does not splice to this sink"),
            // The mover `discard` opens its own sink.
            Discard if to.name != "dev_null" => Some("discard has no sink"),
            SmallChunk if from.unit > SMALL => {
                Some("a chunk below what one read of this source takes")
            }
            SmallChunk if to.unit > SMALL => Some("a chunk below what this sink takes"),
            SmallChunk if from.packets => Some("a chunk that cuts packets"),
            _ => None,
        }
    }
}

/// The number of bytes and the time limit of a mover.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    /// The exact number of bytes to move, for movers that support this setting.
    pub(crate) exact: Option<usize>,
    pub(crate) deadline: Option<Duration>,
}

/// The outcome of a mover.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) bytes: usize,
    /// The errno and, if the mover names one, the side. An errno of 0 means that the source ended early.
    pub(crate) error: Option<(Option<Side>, i32)>,
    pub(crate) undelivered: usize,
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    /// The bytes that remain in the source, if the case reads them.
    pub(crate) left: Vec<u8>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            None => write!(f, "Ok({})", self.bytes)?,
            Some((side, errno)) => {
                let side = side.map_or("?".into(), |side| format!("{side:?}"));
                write!(f, "{side} errno {errno} after {}", self.bytes)?;
            }
        }
        if self.undelivered > 0 {
            write!(f, " with {} undelivered", self.undelivered)?;
        }
        let (took, cpu) = (self.took.as_millis(), self.cpu.as_millis());
        if took > 50 {
            write!(f, " in {took} ms ({cpu} ms of CPU)")?;
        }
        Ok(())
    }
}

impl Outcome {
    fn ok(bytes: u64) -> Self {
        Self { bytes: usize::try_from(bytes).unwrap_or(usize::MAX), ..Self::default() }
    }

    fn failed(side: Option<Side>, errno: i32, bytes: u64) -> Self {
        Self { error: Some((side, errno)), ..Self::ok(bytes) }
    }

    fn of(error: &TransferError) -> Self {
        let errno = error.errno().map_or(0, |errno| errno.raw_os_error());
        let undelivered = error.undelivered();
        Self { undelivered, ..Self::failed(Some(error.side()), errno, error.bytes()) }
    }

    /// Formats the outcome as a line to send through a pipe.
    pub(crate) fn to_line(&self) -> String {
        let (side, errno) = match self.error {
            None => (0, -1),
            Some((None, errno)) => (1, errno),
            Some((Some(Side::Source), errno)) => (2, errno),
            Some((Some(Side::Sink), errno)) => (3, errno),
        };
        let (took, cpu) = (self.took.as_micros(), self.cpu.as_micros());
        let left: String = self.left.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {side} {errno} {} {took} {cpu} .{left}\n", self.bytes, self.undelivered)
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [bytes, side, errno, undelivered, took, cpu, left] = words.try_into().ok()?;
        let errno = errno.parse().ok()?;
        let error = match side {
            "0" => None,
            "1" => Some((None, errno)),
            "2" => Some((Some(Side::Source), errno)),
            _ => Some((Some(Side::Sink), errno)),
        };
        let left = &left[1..];
        let byte = |at: usize| u8::from_str_radix(left.get(at..at + 2)?, 16).ok();
        Some(Self {
            bytes: bytes.parse().ok()?,
            error,
            undelivered: undelivered.parse().ok()?,
            took: Duration::from_micros(took.parse().ok()?),
            cpu: Duration::from_micros(cpu.parse().ok()?),
            left: (0..left.len()).step_by(2).map(byte).collect::<Option<_>>()?,
        })
    }
}

/// Runs the mover, and measures the elapsed time and the processor time. A fan-out to two sinks uses `second`
/// as its other sink.
pub(crate) fn run(
    mover: Mover,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    second: &File,
    limits: Limits,
) -> Outcome {
    let (begin, cpu) = (Instant::now(), sys::cpu_time());
    let outcome = run_untimed(mover, from, to, second, limits);
    Outcome { took: begin.elapsed(), cpu: sys::cpu_time() - cpu, ..outcome }
}

fn run_untimed(
    mover: Mover,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    second: &File,
    limits: Limits,
) -> Outcome {
    let mut watch = |_| ControlFlow::Continue(());
    let mut options = Transfer::new();
    if let Some(exact) = limits.exact {
        options = options.exact(exact as u64);
    }
    let later = (mover == WithDeadline).then_some(Duration::from_secs(600));
    if let Some(deadline) = limits.deadline.or(later) {
        options = options.deadline(Deadline::after(deadline));
    }
    let moved = match mover {
        Model => return model(from, to, limits.exact.unwrap_or(usize::MAX)),
        Mover::Fanout => return fan_out(from, &[to]),
        FanoutTwo => return fan_out(from, &[to, second.as_fd()]),
        SpliceTo => return splice_to(from, to),
        Discard => {
            return match discard(from, limits.exact.map(|exact| exact as u64)) {
                Ok(bytes) => Outcome::ok(bytes),
                Err(error) => Outcome::of(&error),
            };
        }
        Pump => return pump(from, to),
        Mover::Transfer if limits.exact.is_none() && limits.deadline.is_none() => {
            transfer(from, to)
        }
        Mover::Transfer | WithDeadline | Exact => options.run(from, to),
        Chunk => options.chunk(CHUNK).progress(&mut watch).run(from, to),
        SmallChunk => options.chunk(SMALL).progress(&mut watch).run(from, to),
        Progress => options.progress(&mut watch).run(from, to),
        CopySemantics => options.copy_semantics().run(from, to),
    };
    match moved {
        Ok(moved) => Outcome::ok(moved.bytes()),
        Err(error) => Outcome::of(&error),
    }
}

/// Moves bytes with a simple loop of `read` and `write`. Polls a nonblocking descriptor that is not ready.
fn model(from: BorrowedFd<'_>, to: BorrowedFd<'_>, exact: usize) -> Outcome {
    /// A buffer with the alignment that some descriptors require.
    #[repr(align(4096))]
    struct Buffer([u8; 1 << 16]);

    let mut buffer = Box::new(Buffer([0; 1 << 16]));
    let mut bytes = 0;
    let failed = |side, error: &io::Error, bytes: usize| {
        Outcome::failed(Some(side), error.raw_os_error().unwrap_or(0), bytes as u64)
    };
    while bytes < exact {
        let wanted = buffer.0.len().min(exact - bytes);
        let count = match on(from, |mut file| file.read(&mut buffer.0[..wanted])) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sys::poll([(from.as_raw_fd(), sys::POLLIN)], Duration::from_secs(3600));
                continue;
            }
            Err(error) => return failed(Side::Source, &error, bytes),
        };
        let mut rest = &buffer.0[..count];
        while !rest.is_empty() {
            match on(to, |mut file| file.write(rest)) {
                Ok(count) => {
                    rest = &rest[count..];
                    bytes += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::poll([(to.as_raw_fd(), sys::POLLOUT)], Duration::from_secs(3600));
                }
                Err(error) => return failed(Side::Sink, &error, bytes),
            }
        }
    }
    Outcome::ok(bytes as u64)
}

/// Calls `call` with the descriptor as a `File`. The descriptor stays open and keeps its blocking mode.
fn on<T>(fd: BorrowedFd<'_>, call: impl FnOnce(&File) -> T) -> T {
    use std::os::fd::FromRawFd;
    // SAFETY: the file is never dropped, so the descriptor stays open for its owner.
    let file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) });
    call(&file)
}

fn fan_out(from: BorrowedFd<'_>, to: &[BorrowedFd<'_>]) -> Outcome {
    let mut sinks: Vec<_> = to.iter().map(FanoutSink::new).collect();
    let answer = Fanout::new().run(from, &mut sinks);
    // A case checks only the outcome of the first sink.
    let of_first = sinks[0].error().map(Outcome::of);
    match (of_first, answer) {
        (Some(failed), _) => failed,
        (None, Ok(_)) => Outcome::ok(sinks[0].bytes()),
        (None, Err(error)) => {
            let bytes = usize::try_from(sinks[0].bytes()).unwrap_or(usize::MAX);
            Outcome { bytes, ..Outcome::of(&error) }
        }
    }
}

fn splice_to(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome {
    let pipe = PipeReader::from(from.try_clone_to_owned().expect("a descriptor"));
    let mut reader = ChunkReader::new(pipe).expect("memory for a chunk");
    let mut bytes = 0;
    loop {
        match reader.splice_to(to, 1 << 20) {
            Ok(0) => return Outcome::ok(bytes),
            Ok(count) => bytes += count as u64,
            Err(errno) => return Outcome::failed(None, errno.raw_os_error(), bytes),
        }
    }
}

/// Runs the example `pump` with these descriptors as its standard input and output. The program prints the
/// number of bytes moved. If it fails, it names the side.
fn pump(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome {
    let owned = |fd: BorrowedFd<'_>| -> OwnedFd { fd.try_clone_to_owned().expect("a descriptor") };
    let mut command = Command::new(example("pump"));
    command.arg("--stats").stdin(Stdio::from(owned(from))).stdout(Stdio::from(owned(to)));
    let child = command.stderr(Stdio::piped()).spawn().expect("pump");
    drop(command); // closes this process's copies of the descriptors
    let output = child.wait_with_output().expect("pump");
    let said = String::from_utf8_lossy(&output.stderr);
    let known = [
        ("(EIO)", sys::EIO),
        ("(EISDIR)", sys::EISDIR),
        ("(EINVAL)", sys::EINVAL),
        ("(ENOSPC)", sys::ENOSPC),
        ("(ECONNRESET)", sys::ECONNRESET),
    ];
    let errno = known.iter().find(|(name, _)| said.contains(name)).map_or(-1, |(_, errno)| *errno);
    match output.status.code() {
        Some(0) => {
            Outcome::ok(said.split_once(" bytes").map_or(0, |(n, _)| n.parse().unwrap_or(0)))
        }
        Some(141) => Outcome::failed(Some(Side::Sink), sys::EPIPE, 0),
        _ => {
            let side = if said.contains("input") { Side::Source } else { Side::Sink };
            Outcome::failed(Some(side), errno, 0)
        }
    }
}
