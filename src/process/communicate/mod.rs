//! Communicates with a child: writes the child's input and collects its output at the same time, in one
//! thread.
//!
//! A process may deadlock with its child if the process first writes all of the input, or first reads one
//! output to its end. The deadlock can occur once the child has filled a pipe that the process does not yet
//! read. This module therefore polls all pipes, and reads or writes each one when it is ready. Only this
//! process's ends are made nonblocking. The child's ends are different open files and stay unchanged.

mod error;
mod run;
mod talk;

use super::{Child, ExitStatus, OnDrop};
use crate::Deadline;
use alloc::vec::Vec;
use core::time::Duration;
use core::{fmt, slice};
pub use error::{CommunicateError, CommunicateErrorKind, RunError};
pub(super) use run::Terms;
use std::io::{BufReader, Read};
pub(super) use talk::Talk;

/// The exit status of a child, and the output that the child has written to pipes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The exit status of the child.
    pub status: ExitStatus,
    /// The child's standard output. The vector is empty if that stream was not a pipe.
    pub stdout: Vec<u8>,
    /// The child's standard error. The vector is empty if that stream was not a pipe.
    pub stderr: Vec<u8>,
}

impl From<Output> for std::process::Output {
    fn from(output: Output) -> Self {
        let Output { status, stdout, stderr } = output;
        Self { status: status.into(), stdout, stderr }
    }
}

/// The settings for communicating with a child: its input, and the limits on time and output.
///
/// [`Child::communicate`] uses the default settings. [`Command::output`](super::Command::output) has separate
/// settings, such as `input`, `limit` and `deadline`. On failure, [`Command::output`](super::Command::output)
/// also kills the child, whereas [`run`](Self::run) does not.
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
/// let mut talk = Communicate::new().input(b"b\na\n").limit(1 << 20).deadline(minute);
/// assert_eq!(talk.run(&mut sort.spawn()?)?.stdout, b"a\nb\n");
///
/// let mut child = Command::new("sh")
///     .args(["-c", "echo begun; exec sleep 1000"])
///     .stdout(Stdio::piped())
///     .spawn()?;
/// let soon = Deadline::after(Duration::from_millis(200));
/// let error = Communicate::new().deadline(soon).run(&mut child).unwrap_err();
/// assert_eq!(error.reason(), CommunicateErrorKind::Deadline);
/// assert!(b"begun\n".starts_with(error.stdout())); // what was read by then
/// child.kill()?;
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
#[must_use = "nothing is done before `run`"]
pub struct Communicate<'a> {
    input: &'a [u8],
    /// The reader that replaces `input`. Bytes that one run has read but not written stay in the buffer for
    /// the next run.
    reader: Option<BufReader<&'a mut dyn Read>>,
    limit: usize,
    deadline: Option<Deadline<'a>>,
    grace: Option<Duration>,
}

impl<'a> Communicate<'a> {
    /// Creates settings without input, and without limits on output and time.
    pub const fn new() -> Self {
        Self { input: &[], reader: None, limit: usize::MAX, deadline: None, grace: None }
    }

    /// Sets the bytes that are written to the child's standard input, which is closed afterwards.
    pub const fn input(mut self, input: &'a [u8]) -> Self {
        self.input = input;
        self
    }

    /// Sets a reader that supplies the child's input, in place of [`input`](Self::input). A run reads from
    /// this reader until end of file.
    ///
    /// The reader is read in pieces of up to 64 KiB whenever the pipe to the child has room. While a read
    /// blocks, no output is collected, and the deadline takes effect only when the read returns. If the input
    /// is a file, a socket or a pipe, pass its descriptor to [`Command::stdin`](super::Command::stdin)
    /// instead. This process then copies no bytes and does not block in a read.
    ///
    /// An interrupted read is retried. Any other error, `WouldBlock` included, ends the [`run`](Self::run)
    /// with [`CommunicateErrorKind::Input`]. To continue after an error, run the same `Communicate` again.
    /// The `Communicate` keeps the bytes that were read but not yet written to the child.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, Communicate, Stdio};
    /// use std::io::Read;
    ///
    /// let mut child = Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let mut zeros = std::io::repeat(0).take(1_000_000);
    /// let output = Communicate::new().input_from(&mut zeros).run(&mut child)?;
    /// assert_eq!(output.stdout.trim_ascii(), b"1000000");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn input_from(mut self, reader: &'a mut dyn Read) -> Self {
        self.reader = Some(BufReader::with_capacity(1 << 16, reader));
        self
    }

    /// Sets the maximum number of bytes that the child may write to each of standard output and standard
    /// error. If the child writes more to either output, the [`run`](Self::run) fails with
    /// [`CommunicateErrorKind::Limit`], but does not kill the child.
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets the time by which the run must be finished and the child must have ended. The run also stops if
    /// the deadline is [cancelled](crate::Cancel).
    pub const fn deadline(mut self, deadline: Deadline<'a>) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how long a run continues after the child has ended, if another process still has the child's
    /// pipes open. An example of such a process is a daemon that the child has started. After that time, the
    /// [`run`](Self::run) fails with [`CommunicateErrorKind::Grace`]. By default, only the deadline limits
    /// this time.
    #[doc(alias = "WaitDelay")]
    pub const fn grace(mut self, after_exit: Duration) -> Self {
        self.grace = Some(after_exit);
        self
    }

    /// Writes the child's input, collects the child's output, and waits until the child has ended. Retries on
    /// `EINTR`.
    ///
    /// This call uses the pipes in the child's handle. If the child's input is not a pipe, no input is
    /// written. If the child closes its input early, or ends, the remaining input is not written. An early
    /// close is not an error, and raises no `SIGPIPE`. If a pipe is full, this call tries to enlarge it.
    ///
    /// # Errors
    ///
    /// [`CommunicateError`] with a [`CommunicateErrorKind`] and all output that was read. On failure this
    /// call does not kill the child, and the child's handle keeps the pipe ends that are still open. To
    /// continue, call this method again with the remaining input. Otherwise [`kill`](Child::kill) the child.
    ///
    /// A filter may reject the call that blocks `SIGPIPE`. In that case, the call fails before any byte is
    /// written. The kind of the error is [`Io`](CommunicateErrorKind::Io) of
    /// [`Stdin`](crate::io::StdStream::Stdin), with the filter's error, such as
    /// [`ENOSYS`](crate::Errno::ENOSYS) or [`EPERM`](crate::Errno::EPERM).
    pub fn run(&mut self, child: &mut Child) -> Result<Output, CommunicateError> {
        let ends = (child.take_stdin(), child.take_stdout(), child.take_stderr());
        let mut talk = Talk::new(self, ends);
        let end = talk.run(slice::from_mut(child)).and_then(|()| talk.end_of(child));
        let give_back = |ends| (child.stdin, child.stdout, child.stderr) = ends;
        let (status, stdout, stderr) = talk.finish(end, give_back)?;
        Ok(Output { status, stdout, stderr })
    }
}

impl Default for Communicate<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Communicate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, deadline, grace, .. } = self;
        write!(f, "Communicate {{ limit: {limit}, deadline: {deadline:?}, grace: {grace:?}, .. }}")
    }
}

impl Child {
    /// Writes `input` to the child, collects the child's output, and waits until the child has ended: see
    /// [`Communicate::run`].
    ///
    /// # Errors
    ///
    /// Any error of [`Communicate::run`].
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

    /// Closes the child's input, collects the child's output, and waits until the child has ended. std's
    /// method of the same name does the same.
    ///
    /// If this call fails, it kills the child and waits until the child has ended, because the call consumes
    /// the handle.
    ///
    /// # Errors
    ///
    /// Any error of [`Communicate::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, Stdio};
    ///
    /// let output = Command::new("echo").arg("hi").stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    /// assert_eq!(output.stdout, b"hi\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_with_output(mut self) -> Result<Output, CommunicateError> {
        self.communicate(&[]).inspect_err(|_| self.do_not_leave())
    }

    /// Sets the drop policy for a child whose handle is not accessible to the caller. Dropping the handle
    /// must neither leave the child running nor wait indefinitely for its end.
    pub(super) fn do_not_leave(&mut self) {
        if self.on_drop != OnDrop::KillGroup {
            self.on_drop = OnDrop::Kill;
        }
    }
}
