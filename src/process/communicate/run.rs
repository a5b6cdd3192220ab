//! Runs a program to its end in one call, with `output` or `status`, and holds the settings for these calls.

use super::super::command::Source;
use super::super::{Command, ExitStatus, Stdio};
use super::{Communicate, Output, RunError};
use crate::Deadline;
use alloc::vec::Vec;
use core::slice;
use core::time::Duration;

/// The settings of a [`Command`] for `output` and `status`.
#[derive(Clone, Default)]
pub(in super::super) struct Terms<'fd> {
    pub(in super::super) input: Vec<u8>,
    limit: Option<usize>,
    timeout: Option<Duration>,
    deadline: Option<Deadline<'fd>>,
}

impl<'fd> Command<'fd> {
    /// Sets the bytes that [`output`](Self::output) and [`status`](Self::status) write to the child's
    /// standard input. That stream becomes a pipe, whose write end is closed afterwards.
    ///
    /// The bytes are copied, whereas [`Communicate::input`] borrows them. For input from a descriptor, such
    /// as a file, use [`stdin`](Self::stdin). For input from a reader, use [`Communicate::input_from`]. If
    /// both `input` and `stdin` are called, the later of the two calls takes effect. [`spawn`](Self::spawn)
    /// creates the pipe and writes nothing to it.
    ///
    /// If the child closes its input early or ends, the remaining bytes are not written. That is not an
    /// error.
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
    pub fn input(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stdin(Stdio::piped());
        self.terms.input = bytes.as_ref().to_vec();
        self
    }

    /// Sets the time limit for each call to [`output`](Self::output) or [`status`](Self::status), measured
    /// from the start of the call to the end of the child. After that time, the call kills the child and
    /// fails: see [`output`](Self::output).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, CommunicateErrorKind, OnDrop, RunError};
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo begun; sleep 1000"]).timeout(Duration::from_millis(200));
    /// command.process_group(0).on_drop(OnDrop::KillGroup); // the `sleep`, too
    /// let error = command.output().unwrap_err();
    /// assert_eq!(error.reason(), Some(CommunicateErrorKind::Deadline));
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// let RunError::Communicate(error) = error else { panic!("it was started") };
    /// assert_eq!(error.stdout(), b"begun\n");
    /// ```
    #[doc(alias = "time_limit")]
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// Sets the time by which each call to [`output`](Self::output) or [`status`](Self::status) must have
    /// finished. If a [`timeout`](Self::timeout) is also set, the earlier limit applies. If the deadline has
    /// already passed, the program is still started, and then killed unless it has already ended.
    pub fn deadline(&mut self, deadline: Deadline<'fd>) -> &mut Self {
        self.terms.deadline = Some(deadline);
        self
    }

    /// Sets the maximum number of bytes that [`output`](Self::output) accepts from each of standard output
    /// and standard error. If the child writes more to either stream, the call kills the child and fails: see
    /// [`output`](Self::output).
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

    /// Starts the program, writes its [`input`](Self::input), and waits for its end. Returns its exit status
    /// and its output.
    ///
    /// By default, standard output and error are collected, and standard input is `/dev/null`.
    ///
    /// # When it fails
    ///
    /// This call fails if the [`timeout`](Self::timeout), [`deadline`](Self::deadline) or
    /// [`limit`](Self::limit) is exceeded. After this or any other failure, the call kills the child
    /// (`SIGKILL`) and waits for it. The error holds the output that was read: see
    /// [`CommunicateError::stdout`](super::CommunicateError::stdout).
    ///
    /// Processes that the child has started continue to run. To kill them as well, make the child lead a
    /// process group with [`process_group(0)`](Self::process_group) or [`setsid`](Self::setsid), and set
    /// [`on_drop(KillGroup)`](Self::on_drop). With or without these settings, this call does not wait for
    /// these processes, even if they have the pipes open.
    ///
    /// This call therefore returns soon after the deadline, with three exceptions:
    ///
    /// - A child in an uninterruptible sleep ends only after that sleep, and this call waits for the child.
    ///   `ps` shows this sleep as state `D`. Such a sleep occurs, for example, in a call on a device or file
    ///   system that does not respond.
    /// - A killed child that another process traces stays a zombie until its tracer has waited for it or has
    ///   ended. This call waits until then, so a hostile tracer can delay this call.
    /// - The deadline has no effect while the program is being started. Starting a program includes reading
    ///   the program's file.
    ///
    /// A child that now runs as another user cannot be killed. That child continues to run, and this call
    /// does not wait for it.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and of [`Communicate::run`].
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

    /// Starts the program, writes its [`input`](Self::input), waits for its end, and returns how it ended.
    ///
    /// Standard streams that are not set are inherited from this process. If an output is set to
    /// [`Stdio::piped`], this call reads the output to its end, up to the [`limit`](Self::limit), and
    /// discards it. On failure the child is killed and waited for: see [`output`](Self::output).
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and of [`Communicate::run`].
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
        let mut talk = Communicate::with_all(slice::from_ref(self));
        let mut child = self.start(self.sources(defaults))?;
        Ok(talk.run(&mut child).inspect_err(|_| child.do_not_leave())?)
    }
}

impl<'a> Communicate<'a> {
    /// Combines the settings of commands that run together: the input of the first command, the limit of the
    /// last command, and the earliest deadline. Timeouts are measured from this call.
    pub(in super::super) fn with_all(commands: &'a [Command<'a>]) -> Self {
        let terms = commands.iter().map(|command| &command.terms);
        let times =
            terms.clone().flat_map(|terms| [terms.timeout.map(Deadline::after), terms.deadline]);
        Self {
            input: commands.first().map_or(&[], |first| &first.terms.input),
            limit: commands.last().and_then(|last| last.terms.limit).unwrap_or(usize::MAX),
            deadline: times.flatten().reduce(Deadline::or_earlier),
            ..Self::new()
        }
    }
}
