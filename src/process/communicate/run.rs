//! The whole of a program's run in one call: `output` and `status`, and what they are told beforehand.

use super::super::command::Source;
use super::super::{Command, ExitStatus, Stdio};
use super::{Communicate, Output, RunError};
use crate::Deadline;
use alloc::vec::Vec;
use core::time::Duration;

/// What a [`Command`] is given for its runs.
#[derive(Default)]
pub(in super::super) struct Terms {
    input: Vec<u8>,
    limit: Option<usize>,
    timeout: Option<Duration>,
    deadline: Option<Deadline>,
}

impl Command {
    /// Sets what [`output`](Self::output) and [`status`](Self::status) write to the child's standard input,
    /// which becomes a pipe and is closed afterwards.
    ///
    /// Bytes that are given by reference are copied; [`Communicate::input`] borrows them. For input from a
    /// descriptor use [`stdin`](Self::stdin), for input from a reader [`Communicate::input_from`]. A later
    /// `stdin` takes the place of the pipe. [`spawn`](Self::spawn) makes the pipe and writes nothing.
    ///
    /// A child that closes its input early, or ends, is fed no further, which is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::Command;
    /// use std::time::Duration;
    ///
    /// let o = Command::new("sort").input(b"b\na\n").timeout(Duration::from_secs(5)).output()?;
    /// assert_eq!(o.stdout, b"a\nb\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn input(&mut self, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.terms.input = bytes.into();
        self.stdin(Stdio::piped())
    }

    /// Sets how long each [`output`](Self::output) or [`status`](Self::status) may take, from its call on,
    /// the end of the child included. See [`output`](Self::output) for what happens then.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, CommunicateErrorKind, OnDrop};
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo begun; sleep 1000"]).timeout(Duration::from_millis(200));
    /// command.process_group(0).on_drop(OnDrop::KillGroup); // the `sleep`, too
    /// let error = command.output().unwrap_err();
    /// assert_eq!(error.reason(), Some(CommunicateErrorKind::Deadline));
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// ```
    #[doc(alias = "time_limit")]
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// Sets the time by which an [`output`](Self::output) or [`status`](Self::status) must be done. If there
    /// is a [`timeout`](Self::timeout), too, the earlier of the two counts.
    pub fn deadline(&mut self, deadline: Deadline) -> &mut Self {
        self.terms.deadline = Some(deadline);
        self
    }

    /// Sets how many bytes of standard output, and how many of standard error, [`output`](Self::output)
    /// reads at most. A byte more is an error, and the child is killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, CommunicateErrorKind, RunError, StdStream};
    ///
    /// let RunError::Communicate(error) = Command::new("yes").limit(5).output().unwrap_err() else {
    ///     panic!("it was started");
    /// };
    /// assert_eq!(error.reason(), CommunicateErrorKind::Limit(StdStream::Stdout));
    /// assert_eq!(error.stdout(), b"y\ny\ny");
    /// ```
    pub fn limit(&mut self, bytes: usize) -> &mut Self {
        self.terms.limit = Some(bytes);
        self
    }

    /// Starts the program, feeds it its [`input`](Self::input), waits for its end, and returns that and what
    /// it has written.
    ///
    /// Standard output and error are collected, and standard input is `/dev/null`, unless something
    /// else is set.
    ///
    /// # When it fails
    ///
    /// When the [`timeout`](Self::timeout), the [`deadline`](Self::deadline) or the [`limit`](Self::limit) is
    /// passed, or anything else fails, the child is killed (`SIGKILL`) and waited for, and the error holds
    /// what was read: [`CommunicateError::stdout`](super::CommunicateError::stdout). What the child has started
    /// itself lives on, unless [`on_drop(KillGroup)`](Self::on_drop) is set, with
    /// [`process_group(0)`](Self::process_group) or [`setsid`](Self::setsid). The wait does not include such
    /// processes, even if they have the pipes open.
    ///
    /// So this returns soon after the deadline, with these exceptions. A child in an uninterruptible sleep (state
    /// `D`, a call on a file system or device that does not respond) dies when that sleep ends, and is waited for
    /// until then. A child that runs as another user by now may not be killed: it is left, neither killed nor
    /// waited for. The deadline does not bound the start of the program, such as reading its file.
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
        self.run([Source::Null, Source::Piped, Source::Piped])
    }

    /// Starts the program, feeds it its [`input`](Self::input), waits for its end, and returns how it ended.
    ///
    /// Standard streams that are not set are those of this process. An output that is set to
    /// [`Stdio::piped`] is read up to its end, within the [`limit`](Self::limit), and discarded. If this fails,
    /// the child is killed and waited for, as with [`output`](Self::output).
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
    /// assert_eq!(Command::new("sh").args(["-c", "exit 4"]).status()?.code(), Some(4));
    /// # Ok::<(), rawpipe::process::RunError>(())
    /// ```
    pub fn status(&self) -> Result<ExitStatus, RunError> {
        Ok(self.run([Source::Inherit; 3])?.status)
    }

    fn run(&self, defaults: [Source<'_>; 3]) -> Result<Output, RunError> {
        let mut talk = Communicate::with_all(&[self]);
        let mut child = self.start(self.sources(defaults))?;
        Ok(talk.run(&mut child).inspect_err(|_| child.do_not_leave())?)
    }
}

impl<'a> Communicate<'a> {
    /// What these commands are given, to be run together, from now on.
    pub(in super::super) fn with_all(commands: &[&'a Command]) -> Self {
        let terms = commands.iter().map(|command| &command.terms);
        let times =
            terms.clone().flat_map(|terms| [terms.timeout.map(Deadline::after), terms.deadline]);
        Self {
            input: commands.first().map_or(&[], |first| &first.terms.input),
            limit: commands.last().and_then(|last| last.terms.limit).unwrap_or(usize::MAX),
            deadline: times.flatten().min(),
            ..Self::new()
        }
    }
}
