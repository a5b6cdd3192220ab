//! Talking with a child: feeding its input and collecting its output at the same time, in one thread.
//!
//! Who writes all of the input first, or reads one of the two outputs first, waits for a child that
//! waits for him: a pipe holds so much and no more. So all pipes are polled, and each is read or
//! written as it is ready. Only this process's ends are made nonblocking; the child's are other open
//! files and stay as they are.

mod error;
mod talk;

use super::command::Source;
use super::{Child, Command, ExitStatus, OnDrop};
use crate::Deadline;
use CommunicateErrorKind as Kind;
use alloc::vec::Vec;
use core::slice;
use core::time::Duration;
pub use error::{CommunicateError, CommunicateErrorKind, RunError, StdStream};
pub(super) use talk::Talk;

/// How a child ended, and what it has written to those of its standard streams that were pipes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; empty if that was no pipe.
    pub stdout: Vec<u8>,
    /// Its standard error; empty if that was no pipe.
    pub stderr: Vec<u8>,
}

impl From<Output> for std::process::Output {
    fn from(output: Output) -> Self {
        let Output { status, stdout, stderr } = output;
        Self { status: status.into(), stdout, stderr }
    }
}

/// How to talk with a child: what it is fed, and for how long and up to how much is listened to it.
///
/// [`Child::communicate`] and [`Command::output`] are what this does by default.
///
/// # Examples
///
/// ```
/// use rawpipe::process::{Command, Communicate, CommunicateErrorKind, Stdio};
/// use rawpipe::Deadline;
/// use std::time::Duration;
///
/// let mut sort = Command::new("sort");
/// sort.stdin(Stdio::piped()).stdout(Stdio::piped());
/// let minute = Deadline::after(Duration::from_secs(60));
/// let talk = Communicate::new().input(b"b\na\n").limit(1 << 20).deadline(minute);
/// assert_eq!(talk.run(&mut sort.spawn()?)?.stdout, b"a\nb\n");
///
/// let mut child = Command::new("sh")
///     .args(["-c", "echo begun; exec sleep 1000"])
///     .stdout(Stdio::piped())
///     .spawn()?;
/// let soon = Deadline::after(Duration::from_millis(200));
/// let error = Communicate::new().deadline(soon).run(&mut child).unwrap_err();
/// assert_eq!(error.kind(), CommunicateErrorKind::Deadline);
/// assert!(b"begun\n".starts_with(error.stdout())); // as far as it has come by then
/// child.kill()?;
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is done before `run`"]
pub struct Communicate<'a> {
    input: &'a [u8],
    limit: usize,
    deadline: Option<Deadline>,
    grace: Option<Duration>,
}

impl<'a> Communicate<'a> {
    /// No input, no limit, and no end but the child's.
    pub const fn new() -> Self {
        Self { input: &[], limit: usize::MAX, deadline: None, grace: None }
    }

    /// What is written to the child's standard input, which is closed behind it.
    pub const fn input(self, input: &'a [u8]) -> Self {
        Self { input, ..self }
    }

    /// How many bytes of its standard output, and how many of its standard error, are read at most.
    pub const fn limit(self, bytes: usize) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Until when all must be done, the end of the child included.
    pub const fn deadline(self, deadline: Deadline) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// How long to wait for the end of the outputs when the child has ended. If this is not called, as
    /// long as it takes.
    ///
    /// A process that the child has started and left behind, such as a daemon, may have them still
    /// open.
    #[doc(alias = "WaitDelay")]
    pub const fn grace(self, after_exit: Duration) -> Self {
        Self { grace: Some(after_exit), ..self }
    }

    /// Feeds the child, collects its output, and waits for its end. Goes on after signals.
    ///
    /// Uses the pipes that the child's handle has: without one for the input nothing is fed. A child
    /// that closes its input early, or ends, is fed no further, which is no error, and raises no
    /// `SIGPIPE`. Pipes that turn out to be narrow are grown.
    ///
    /// # Errors
    ///
    /// [`CommunicateError`] with a [`CommunicateErrorKind`] and all that was read. The child is left to
    /// itself, and the pipes that have not ended are in its handle again: call this once more to go on,
    /// with the remaining input, or [`kill`](Child::kill) it.
    ///
    /// If `SIGPIPE` cannot be blocked, because a filter rejects that, the kind is
    /// [`Io`](CommunicateErrorKind::Io) of [`Stdin`](StdStream::Stdin) with the filter's error, such as
    /// [`ENOSYS`](crate::Errno::ENOSYS) or [`EPERM`](crate::Errno::EPERM), and no byte was fed.
    pub fn run(&self, child: &mut Child) -> Result<Output, CommunicateError> {
        let ends = (child.take_stdin(), child.take_stdout(), child.take_stderr());
        let mut talk = Talk::new(self, ends);
        let end = talk.run(slice::from_mut(child)).and_then(|()| self.end_of(child));
        let give_back = |ends| (child.stdin, child.stdout, child.stderr) = ends;
        let (status, stdout, stderr) = talk.finish(end, give_back)?;
        Ok(Output { status, stdout, stderr })
    }

    /// How the child has ended.
    pub(super) fn end_of(&self, child: &mut Child) -> Result<ExitStatus, Kind> {
        let end = match self.deadline {
            None => child.wait().map(Some),
            Some(deadline) => child.wait_deadline(deadline),
        };
        end.map_err(Kind::Wait)?.ok_or(Kind::Deadline)
    }
}

impl Default for Communicate<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl Child {
    /// Feeds the child with `input`, collects its output, and waits for its end: see
    /// [`Communicate::run`].
    ///
    /// # Errors
    ///
    /// As [`Communicate::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, Stdio};
    ///
    /// let mut cat = Command::new("cat");
    /// let input = vec![b'x'; 1 << 20]; // more than fits into two pipes
    /// let output = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?.communicate(&input)?;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, input);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn communicate(&mut self, input: &[u8]) -> Result<Output, CommunicateError> {
        Communicate::new().input(input).run(self)
    }

    /// For one that is dropped where its maker has no handle of it: somebody has to wait for it.
    pub(super) fn do_not_leave(&mut self) {
        if self.on_drop == OnDrop::Leave {
            self.on_drop = OnDrop::Kill;
        }
    }
}

impl Command<'_> {
    /// Starts the program, waits for its end, and returns that and what it has written.
    ///
    /// Standard output and error are collected, and standard input is `/dev/null`, unless something
    /// else is set.
    ///
    /// When the conversation fails nobody has a handle of the child any more: it is killed and waited
    /// for, unless [`on_drop`](Self::on_drop) is set to something else than `Leave`.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and of [`Communicate::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::Command;
    ///
    /// let output = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).output()?;
    /// assert_eq!(output.status.code(), Some(3));
    /// assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    /// # Ok::<(), rawpipe::process::RunError>(())
    /// ```
    pub fn output(&self) -> Result<Output, RunError> {
        let sources = self.sources([Source::Null, Source::Piped, Source::Piped]);
        let mut child = self.start(sources)?;
        Ok(child.communicate(&[]).inspect_err(|_| child.do_not_leave())?)
    }

    /// Starts the program, waits for its end, and says how it ended.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and of [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::Command;
    ///
    /// assert_eq!(Command::new("sh").args(["-c", "exit 4"]).status()?.code(), Some(4));
    /// # Ok::<(), rawpipe::process::RunError>(())
    /// ```
    pub fn status(&self) -> Result<ExitStatus, RunError> {
        self.spawn()?.wait().map_err(|errno| CommunicateError::lost(Kind::Wait(errno)).into())
    }
}
