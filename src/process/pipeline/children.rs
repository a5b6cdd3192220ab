//! Manages the programs that a pipeline has started: waits for them, signals them and communicates with them.

use super::super::communicate::{Communicate, CommunicateError, Talk};
use super::super::{Child, ExitStatus, Signal};
use crate::{Deadline, Errno, PipeReader};
use alloc::vec::Vec;

/// The programs that a [`Pipeline`](super::Pipeline) has started.
///
/// Dropping this value closes the pipes from the programs' outputs and drops the handles of all programs.
/// Each handle follows the policy that was set on its command with
/// [`Command::on_drop`](crate::process::Command::on_drop).
///
/// # Examples
///
/// ```
/// use rawpipe::process::{Command, Stdio};
///
/// let (one, other) = (Command::new("cat"), Command::new("cat"));
/// let mut children = one.pipe(&other).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let output = children.communicate(b"through both")?;
/// assert_eq!(output.stdout, b"through both");
/// assert_eq!(output.statuses.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a child that is not waited for stays a zombie when it has ended"]
#[derive(Debug)]
pub struct PipelineChildren {
    pub(super) children: Vec<Child>,
    pub(super) stderr: Option<PipeReader>,
}

impl Drop for PipelineChildren {
    fn drop(&mut self) {
        self.stderr = None;
        // If the pipes were still open, dropping a handle could wait indefinitely: its program may be writing
        // to a full pipe whose read end is in another handle.
        self.children.iter_mut().for_each(|child| (child.stdout, child.stderr) = (None, None));
    }
}

impl PipelineChildren {
    /// Returns the programs, in order. If standard input of the first program is a pipe, that program's
    /// handle holds the write end. If standard output of the last program is a pipe, that program's handle
    /// holds the read end.
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// Returns the programs, in order, so that the caller can take their pipe ends or wait for one program.
    pub fn children_mut(&mut self) -> &mut [Child] {
        &mut self.children
    }

    /// Takes the read end of the pipe that all programs use as standard error. Returns `None` if no such pipe
    /// was created, or if the read end was already taken.
    pub const fn take_stderr(&mut self) -> Option<PipeReader> {
        self.stderr.take()
    }

    /// Kills all programs that have not been waited for.
    ///
    /// # Errors
    ///
    /// - [`EPERM`](Errno::EPERM) if a program now runs as another user. The other programs are killed even in
    ///   that case.
    pub fn kill(&self) -> crate::Result<()> {
        let kills = self.children.iter().map(Child::kill).filter(|kill| *kill != Err(Errno::ESRCH));
        kills.fold(Ok(()), crate::Result::and)
    }

    /// Sends `SIGKILL` to all processes of the group that the first program leads: see
    /// [`Pipeline::in_one_group`](super::Pipeline::in_one_group).
    ///
    /// # Errors
    ///
    /// Any error of [`send_signal_group`](Self::send_signal_group).
    pub fn kill_group(&self) -> crate::Result<()> {
        self.send_signal_group(Signal::KILL)
    }

    /// Sends a signal to all processes of the group that the first program leads. With
    /// [`Pipeline::in_one_group`](super::Pipeline::in_one_group), the group consists of all programs and of
    /// all processes that the programs have started, except processes that have moved to another group.
    ///
    /// # Errors
    ///
    /// The errors of [`Child::send_signal_group`] for the first program:
    ///
    /// - [`ESRCH`](Errno::ESRCH) if no process of the group remains. Before Linux 6.9 this error also occurs
    ///   if the first program was waited for, even if other programs still run.
    /// - [`EINVAL`](Errno::EINVAL) if the first program does not lead a group.
    /// - [`EPERM`](Errno::EPERM) if all processes of the group now run as another user.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, Signal, Stdio};
    ///
    /// let row = Command::new("cat").pipe(Command::new("cat")).stdin(Stdio::piped());
    /// let mut children = row.in_one_group().spawn()?;
    /// assert_eq!(children.try_wait()?, None);
    /// children.send_signal_group(Signal::TERM)?;
    /// assert_eq!(children.wait()?[1].signal(), Some(Signal::TERM));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_signal_group(&self, signal: Signal) -> crate::Result<()> {
        self.children.first().map_or(Err(Errno::EINVAL), |first| first.send_signal_group(signal))
    }

    /// Returns how each program ended, in order, or `None` if any of the programs is still running. Does not
    /// wait.
    ///
    /// # Errors
    ///
    /// Any error of [`Child::try_wait`].
    pub fn try_wait(&mut self) -> crate::Result<Option<Vec<ExitStatus>>> {
        self.each(Child::try_wait)
    }

    /// Waits until all programs have ended, or until `deadline` passes. Returns `None` if any program is
    /// still running at the deadline. Retries on `EINTR`.
    ///
    /// The pipe to the first program's standard input stays open.
    ///
    /// # Errors
    ///
    /// Any error of [`Child::wait_deadline`].
    pub fn wait_deadline(
        &mut self,
        deadline: Deadline<'_>,
    ) -> crate::Result<Option<Vec<ExitStatus>>> {
        self.each(|child| child.wait_deadline(deadline))
    }

    /// Calls `wait` for every program, even if one of the calls fails. Returns `None` if a program
    /// is still running.
    fn each(
        &mut self,
        wait: impl FnMut(&mut Child) -> crate::Result<Option<ExitStatus>>,
    ) -> crate::Result<Option<Vec<ExitStatus>>> {
        let ends: Vec<_> = self.children.iter_mut().map(wait).collect();
        ends.into_iter().collect::<crate::Result<Vec<_>>>().map(|ends| ends.into_iter().collect())
    }

    /// Waits until all programs have ended, and returns how each program ended, in order. Retries on `EINTR`.
    ///
    /// This call first closes the pipe to the first program's standard input.
    ///
    /// # Errors
    ///
    /// Any error of [`Child::wait`]. If one wait fails, this call still waits for the remaining programs. To
    /// obtain the result for each program, call [`Child::wait`] on each child of
    /// [`children_mut`](Self::children_mut).
    pub fn wait(&mut self) -> crate::Result<Vec<ExitStatus>> {
        self.each(|child| child.wait().map(Some)).map(Option::unwrap_or_default)
    }

    /// Writes `input` to the first program. Collects the output of the last program and the standard error of
    /// all programs, and waits for all programs. Streams that are not pipes are skipped. See
    /// [`Communicate::run`].
    ///
    /// # Errors
    ///
    /// Any error of [`Communicate::run`].
    pub fn communicate(&mut self, input: &[u8]) -> Result<PipelineOutput, CommunicateError> {
        Communicate::new().input(input).run_pipeline(self)
    }
}

impl Communicate<'_> {
    /// Communicates with a pipeline, as [`run`](Self::run) communicates with one child. This call writes to
    /// the first program, and reads the output of the last program and the standard error of all programs.
    /// The grace period begins when all programs have ended.
    ///
    /// # Errors
    ///
    /// Any error of [`run`](Self::run).
    pub fn run_pipeline(
        &mut self,
        pipeline: &mut PipelineChildren,
    ) -> Result<PipelineOutput, CommunicateError> {
        let PipelineChildren { children, stderr } = pipeline;
        let stdin = children.first_mut().and_then(Child::take_stdin);
        let stdout = children.last_mut().and_then(Child::take_stdout);
        let mut talk = Talk::new(self, (stdin, stdout, stderr.take()));
        let done = talk.run(children);
        let ends =
            done.and_then(|()| children.iter_mut().map(|child| talk.end_of(child)).collect());
        let (statuses, stdout, stderr) = talk.finish(ends, |(stdin, stdout, errors)| {
            *stderr = errors;
            if let Some(first) = children.first_mut() {
                first.stdin = stdin;
            }
            if let Some(last) = children.last_mut() {
                last.stdout = stdout;
            }
        })?;
        Ok(PipelineOutput { statuses, stdout, stderr })
    }
}

/// The exit status of each program of a pipeline, and the collected output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineOutput {
    /// The exit status of each program, in order.
    pub statuses: Vec<ExitStatus>,
    /// The standard output of the last program. The vector is empty if that stream was not a pipe.
    pub stdout: Vec<u8>,
    /// The data that the programs have written to their shared pipe for standard error. The vector is empty
    /// if no such pipe was created.
    pub stderr: Vec<u8>,
}

impl PipelineOutput {
    /// Returns whether all programs exited with code 0.
    ///
    /// The result may be `false` if a program writes more than the next one reads, because `SIGPIPE` may then
    /// kill the writer.
    #[must_use]
    pub fn success(&self) -> bool {
        self.statuses.iter().all(ExitStatus::success)
    }
}
