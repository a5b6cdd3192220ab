//! The errors of running a program, with the reason for the failure and the output that was read before the
//! failure.

use super::super::{PipelineError, SpawnError};
use crate::Errno;
use crate::io::StdStream;
use CommunicateErrorKind as Kind;
use alloc::vec::Vec;
use core::fmt;

/// The reason why communicating with a child has stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommunicateErrorKind {
    /// The deadline has passed.
    Deadline,
    /// The deadline was [cancelled](crate::Cancel).
    Cancelled,
    /// The child has written more bytes to this stream than the limit allows.
    Limit(StdStream),
    /// The child has ended, and the grace period has passed, but another process still has the child's
    /// streams open.
    Grace,
    /// Reading from the reader of [`Communicate::input_from`](crate::process::Communicate::input_from)
    /// failed. This value keeps only the kind of the reader's error, and the errno if that error has one.
    Input(std::io::ErrorKind, Option<Errno>),
    /// A read, a write, or the call that prepares the stream has failed. This kind also reports
    /// [`ENOMEM`](Errno::ENOMEM) if memory for more output could not be allocated.
    Io(StdStream, Errno),
    /// Waiting for the streams failed.
    Poll(Errno),
    /// The child's exit status could not be collected: see [`Child::wait`](crate::process::Child::wait).
    Wait(Errno),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("the deadline has passed"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Limit(stream) => write!(f, "more than the limit on {stream}"),
            Self::Grace => f.write_str("the child has ended, but its output is still open"),
            Self::Input(kind, _) => write!(f, "reading the input: {kind}"),
            Self::Io(stream, errno) => write!(f, "{stream} of the child: {errno}"),
            Self::Poll(errno) => write!(f, "waiting for the child's streams: {errno}"),
            Self::Wait(errno) => write!(f, "waiting for the child: {errno}"),
        }
    }
}

/// The error of a communication that stopped early, with the reason and the output that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommunicateError {
    pub(super) reason: Kind,
    pub(super) fed: usize,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl CommunicateError {
    /// Returns the reason for stopping. [`kind`](Self::kind) returns the nearest error kind of std.
    #[must_use]
    pub const fn reason(&self) -> CommunicateErrorKind {
        self.reason
    }

    /// Returns the errno of the failure. The errno is [`ETIMEDOUT`](Errno::ETIMEDOUT) if the deadline or the
    /// grace period has passed, and [`ECANCELED`](Errno::ECANCELED) if the deadline was cancelled. Returns
    /// `None` if the limit was exceeded, or if the reader failed with an error that has no errno.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.cause().copied()
    }

    const fn cause(&self) -> Option<&Errno> {
        match &self.reason {
            Kind::Io(_, errno) | Kind::Poll(errno) | Kind::Wait(errno) => Some(errno),
            Kind::Deadline | Kind::Grace => Some(&Errno::ETIMEDOUT),
            Kind::Cancelled => Some(&Errno::ECANCELED),
            Kind::Input(_, errno) => errno.as_ref(),
            Kind::Limit(_) => None,
        }
    }

    /// Returns how many bytes of the input were written.
    #[must_use]
    pub const fn fed(&self) -> usize {
        self.fed
    }

    /// Returns the bytes that were read from standard output.
    #[must_use]
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// Returns the bytes that were read from standard error.
    #[must_use]
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// Returns the bytes that were read from standard output and from standard error.
    #[must_use]
    pub fn into_outputs(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout, self.stderr)
    }
}

impl fmt::Display for CommunicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, err) = (self.stdout.len(), self.stderr.len());
        write!(f, "{} after {out} bytes of output and {err} of errors", self.reason)
    }
}

crate::errno::like_std!(CommunicateError, this => match this.reason {
    Kind::Input(kind, _) => kind,
    _ => std::io::ErrorKind::Other,
});

/// The error of running a program: the program could not be started, or communicating with it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The program could not be started.
    Spawn(SpawnError),
    /// A program of a pipeline could not be started.
    Pipeline(PipelineError),
    /// The program was started, but communicating with it has failed.
    Communicate(CommunicateError),
}

impl RunError {
    /// Returns the errno of the contained error: see [`SpawnError::errno`], [`PipelineError::errno`] and
    /// [`CommunicateError::errno`].
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.cause().copied()
    }

    const fn cause(&self) -> Option<&Errno> {
        match self {
            Self::Spawn(error) => error.cause(),
            Self::Pipeline(error) => error.cause(),
            Self::Communicate(error) => error.cause(),
        }
    }

    /// Returns the reason why communicating stopped early, or `None` if the program could not be started. The
    /// [`CommunicateError`] holds the output that was read.
    #[must_use]
    pub const fn reason(&self) -> Option<CommunicateErrorKind> {
        match self {
            Self::Communicate(error) => Some(error.reason),
            _ => None,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(error) => error.fmt(f),
            Self::Pipeline(error) => error.fmt(f),
            Self::Communicate(error) => error.fmt(f),
        }
    }
}

crate::errno::like_std!(RunError, this => match this {
    Self::Communicate(error) => error.kind(),
    _ => std::io::ErrorKind::Other,
});

impl From<SpawnError> for RunError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl From<PipelineError> for RunError {
    fn from(error: PipelineError) -> Self {
        Self::Pipeline(error)
    }
}

impl From<CommunicateError> for RunError {
    fn from(error: CommunicateError) -> Self {
        Self::Communicate(error)
    }
}
