//! Pipelines: sequences of programs in which each program reads the output of the previous one, as in
//! `a | b | c`.

mod children;

use super::command::{Source, Stdio};
use super::communicate::{Communicate, RunError};
use super::{Child, Command, ExitStatus, OnDrop, SpawnError, SpawnStage};
use crate::fd::AsFd;
use crate::{Errno, PipeReader, PipeWriter};
use alloc::borrow::Cow;
use alloc::vec::Vec;
pub use children::{PipelineChildren, PipelineOutput};
use core::borrow::Borrow;
use core::fmt;

/// A pipeline of programs. A pipe connects the output of each program to the input of the next one. This
/// process keeps no end of these pipes.
///
/// [`Command::pipe`] creates a pipeline, and so does `collect` on an iterator over commands. A pipeline owns
/// clones of the commands and shares the descriptors that the commands own. A pipeline without borrowed
/// descriptors can therefore be returned from a function or sent to another thread. A later change to a
/// command does not affect the pipeline.
///
/// - The standard input of the first command and the standard output of the last one can be set on the
///   pipeline. Otherwise the command's own setting applies. If neither setting exists, [`spawn`](Self::spawn)
///   and [`status`](Self::status) let the program inherit the stream of this process.
/// - For streams between two commands, the settings of [`Command::stdin`] and [`Command::stdout`] are
///   ignored, and mapping a descriptor to 0 or 1 with [`fd_map`](Command::fd_map) fails with `EINVAL`.
/// - Standard error can be set on the pipeline for all commands, or on individual commands. If one or more
///   commands set standard error to a pipe, [`output`](Self::output) and [`status`](Self::status) create and
///   read one shared pipe. [`spawn`](Self::spawn) creates a separate pipe for each of these commands, and the
///   caller must read from each pipe.
/// - [`Stdio::same_as_stdout`] refers to each program's own output. For all programs except the last one,
///   that output is the pipe to the next program, as with `a 2>&1 | b` in a shell.
///
/// # Examples
///
/// ```
/// use rawpipe::process::Command;
///
/// let output = Command::new("printf")
///     .arg("b\\na\\nc\\n")
///     .pipe(Command::new("sort"))
///     .pipe(Command::new("head").args(["-n", "2"]))
///     .output()?;
/// assert_eq!(output.stdout, b"a\nb\n");
/// assert!(output.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `spawn` or `output`"]
pub struct Pipeline<'fd> {
    commands: Vec<Command<'fd>>,
    stdin: Option<Stdio<'fd>>,
    stdout: Option<Stdio<'fd>>,
    stderr: Option<Stdio<'fd>>,
    group: bool,
    on_failure: Option<OnDrop>,
}

impl<'fd> Command<'fd> {
    /// Creates a pipeline of this program and `next`, which reads the output of this program. Clones both
    /// commands.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, Pipeline};
    ///
    /// fn first_line(of: &str) -> Pipeline<'static> {
    ///     Command::new("printf").arg(of).pipe(Command::new("head").args(["-n", "1"]))
    /// }
    /// assert_eq!(first_line("a\\nb\\n").output()?.stdout, b"a\n");
    /// # Ok::<(), rawpipe::process::RunError>(())
    /// ```
    pub fn pipe(&self, next: impl Borrow<Self>) -> Pipeline<'fd> {
        [self, next.borrow()].into_iter().collect()
    }
}

impl<'fd, C: Borrow<Command<'fd>>> FromIterator<C> for Pipeline<'fd> {
    fn from_iter<I: IntoIterator<Item = C>>(commands: I) -> Self {
        let commands = commands.into_iter().map(|command| command.borrow().clone());
        Self { commands: commands.collect(), ..Self::default() }
    }
}

impl<'fd> Pipeline<'fd> {
    /// Adds a program after the last one. Clones the command.
    pub fn pipe(mut self, next: impl Borrow<Command<'fd>>) -> Self {
        self.commands.push(next.borrow().clone());
        self
    }

    /// Sets the standard input of the first program.
    pub fn stdin(self, stdin: impl Into<Stdio<'fd>>) -> Self {
        Self { stdin: Some(stdin.into()), ..self }
    }

    /// Sets the standard output of the last program.
    pub fn stdout(self, stdout: impl Into<Stdio<'fd>>) -> Self {
        Self { stdout: Some(stdout.into()), ..self }
    }

    /// Sets the standard error of all programs. With [`Stdio::piped`], all programs share one pipe.
    pub fn stderr(self, stderr: impl Into<Stdio<'fd>>) -> Self {
        Self { stderr: Some(stderr.into()), ..self }
    }

    /// Puts all programs into one process group, which the first program leads.
    /// [`kill_group`](PipelineChildren::kill_group) can then kill this group.
    ///
    /// This setting replaces [`Command::process_group`]. A later program that begins a session cannot join
    /// the group: `spawn` then fails with `EPERM` at [`SpawnStage::Setpgid`]. `spawn` also fails in this way
    /// if the first program ends early and leaves no zombie. No zombie remains if `SIGCHLD` is ignored or
    /// another thread waits for all children.
    ///
    /// With [`OnDrop::KillGroup`] on the first command, a failed [`output`](Self::output) kills the whole
    /// group. On another command this policy makes `spawn` fail with `EINVAL`, because that command leads no
    /// group.
    pub fn in_one_group(self) -> Self {
        Self { group: true, ..self }
    }

    /// Sets what happens to the earlier programs of the pipeline if a later program cannot be started. By
    /// default these programs are killed and waited for, as with [`OnDrop::Kill`].
    ///
    /// This policy replaces [`Command::on_drop`] for these programs. Without a process group, `KillGroup`
    /// does the same as `Kill`. With `Leave`, these programs keep running, and the caller receives no handle
    /// to them. When such a program ends, it stays a zombie until [`wait_any`](crate::process::wait_any) or
    /// other code collects its status, or until this process ends.
    pub fn on_failure(self, policy: OnDrop) -> Self {
        Self { on_failure: Some(policy), ..self }
    }

    /// Starts the programs, beginning with the first. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] with the index of the program that could not be started, and the reason. All
    /// programs before that program have been killed and waited for, unless [`on_failure`](Self::on_failure)
    /// sets another policy. For a pipeline without a program, the error has index 0, the stage
    /// [`SpawnStage::Arguments`] and the errno [`EINVAL`](Errno::EINVAL).
    pub fn spawn(&self) -> Result<PipelineChildren, PipelineError> {
        self.start([Source::Inherit; 3], self.stderr.is_some())
    }

    /// Starts the programs, waits for all of them, and returns how each program ended, in order. The command
    /// settings that are listed for [`output`](Self::output) also apply to this call.
    ///
    /// # Errors
    ///
    /// Any error of [`output`](Self::output).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::Command;
    ///
    /// let statuses = Command::new("false").pipe(Command::new("true")).status()?;
    /// assert!(statuses.iter().map(|status| status.success()).eq([false, true]));
    /// # Ok::<(), rawpipe::process::RunError>(())
    /// ```
    pub fn status(&self) -> Result<Vec<ExitStatus>, RunError> {
        Ok(self.run([Source::Inherit; 3])?.statuses)
    }

    /// Starts the programs, waits for all of them, and returns their exit statuses and the collected output.
    ///
    /// By default, this call collects standard output of the last program and standard error of all programs.
    /// Standard input of the first program is `/dev/null`.
    ///
    /// These settings of the commands apply to the whole pipeline:
    ///
    /// - the [`input`](Command::input) of the first command;
    /// - the [`limit`](Command::limit) of the last command;
    /// - the earliest [`timeout`](Command::timeout) or [`deadline`](Command::deadline) of all commands;
    /// - the [`Cancel`](crate::Cancel) of the first command that has one.
    ///
    /// If the run fails, this call kills the programs and waits for them, as [`Command::output`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn), which are returned as [`RunError::Pipeline`], and the errors of
    /// [`PipelineChildren::communicate`].
    pub fn output(&self) -> Result<PipelineOutput, RunError> {
        self.run([Source::Null, Source::Piped, Source::Piped])
    }

    fn run(&self, defaults: [Source<'_>; 3]) -> Result<PipelineOutput, RunError> {
        let mut talk = Communicate::with_all(&self.commands);
        let mut pipeline = self.start(defaults, true)?;
        let output = talk.run_pipeline(&mut pipeline);
        Ok(output.inspect_err(|_| pipeline.children.iter_mut().for_each(Child::do_not_leave))?)
    }

    /// Starts the programs. `defaults` apply to the standard streams that are not set. With `one_pipe`, all
    /// programs whose standard error is set to a pipe share one pipe.
    fn start(
        &self,
        defaults: [Source<'_>; 3],
        one_pipe: bool,
    ) -> Result<PipelineChildren, PipelineError> {
        let children = Vec::with_capacity(self.commands.len());
        let mut started = PipelineChildren { children, stderr: None };
        let result = self.start_each(defaults, one_pipe, &mut started);
        for child in started.children.iter_mut().filter(|_| result.is_err()) {
            // Setting `KillGroup` fails for a child that leads no group. The policy of that child stays
            // `Kill`.
            let _ = child.on_drop(OnDrop::Kill);
            let _ = child.on_drop(self.on_failure.unwrap_or(OnDrop::Kill));
        }
        result.map(|()| started)
    }

    fn start_each(
        &self,
        defaults: [Source<'_>; 3],
        one_pipe: bool,
        started: &mut PipelineChildren,
    ) -> Result<(), PipelineError> {
        let last = self.commands.len().checked_sub(1).ok_or(PipelineError {
            index: 0,
            error: SpawnError::at(SpawnStage::Arguments)(Errno::EINVAL),
        })?;
        let set = [&self.stdin, &self.stdout, &self.stderr];
        let [stdin, stdout, stderr] = set.map(|stdio| stdio.as_ref().map(Stdio::source));
        let is_piped = |command: &Command<'_>| {
            matches!(stderr.unwrap_or(command.sources(defaults)[2]), Source::Piped)
        };
        let (errors, for_errors) = pipe_if(0, one_pipe && self.commands.iter().any(is_piped))?;
        let mut before: Option<PipeReader> = None;
        for (index, command) in self.commands.iter().enumerate() {
            let (after, writer) = pipe_if(index, index < last)?;
            let mut command = Cow::Borrowed(command);
            if self.group {
                let leader = started.children.first().map_or(0, |first| first.id());
                command.to_mut().process_group(i32::try_from(leader).unwrap_or(0));
            }
            let own = command.sources(defaults);
            let sources = [
                before.as_ref().map(lent).or(stdin).unwrap_or(own[0]),
                writer.as_ref().map(lent).or(stdout).unwrap_or(own[1]),
                match (stderr.unwrap_or(own[2]), &for_errors) {
                    (Source::Piped, Some(writer)) => lent(writer),
                    (source, _) => source,
                },
            ];
            let child = command.start(sources).map_err(|error| PipelineError { index, error })?;
            started.children.push(child);
            // The child has a copy of the previous read end, so this assignment closes the original. The end
            // of the loop body drops `writer` as well.
            before = after;
        }
        started.stderr = errors;
        Ok(())
    }
}

fn lent(end: &impl AsFd) -> Source<'_> {
    Source::Fd(end.as_fd())
}

/// Creates a pipe if `needed` is set.
fn pipe_if(index: usize, needed: bool) -> Result<MaybePipe, PipelineError> {
    if !needed {
        return Ok((None, None));
    }
    let failed = |errno| PipelineError { index, error: SpawnError::at(SpawnStage::Stdio)(errno) };
    crate::pipe().map(|(reader, writer)| (Some(reader), Some(writer))).map_err(failed)
}

type MaybePipe = (Option<PipeReader>, Option<PipeWriter>);

/// The failure to start a pipeline: the index of the program that could not be started, and the reason.
/// [`Pipeline::on_failure`] sets the policy for the programs that had already started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineError {
    index: usize,
    error: SpawnError,
}

impl PipelineError {
    /// Returns the index of the program that could not be started, counted from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Returns the reason why the program could not be started.
    #[must_use]
    pub const fn error(&self) -> SpawnError {
        self.error
    }

    /// Returns the errno of [`error`](Self::error).
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.error.errno()
    }

    pub(super) const fn cause(&self) -> Option<&Errno> {
        self.error.cause()
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {} of a pipeline: {}", self.index, self.error)
    }
}

crate::errno::like_std!(PipelineError, this => this.errno().kind());
