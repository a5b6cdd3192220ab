//! A child process: waiting for it, signalling it, and what is done when its handle goes.

mod kill;

use super::ExitStatus;
use crate::Deadline;
use crate::errno::retry;
use crate::event::{Backoff, PollEvents, PollFd, poll_until};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::abi::{self, SigInfo};
use crate::sys::call;
use crate::{Errno, PipeReader, PipeWriter, Result};

/// A child process, made by [`fork`](crate::fork) or [`fork_with`](crate::process::fork_with).
///
/// It is held by a *pidfd*, a descriptor of the process itself, where the kernel has them (Linux 5.3).
/// Then a signal reaches this child or nobody, whatever happens to its number. Where there is none
/// ([`pidfd`](Self::pidfd) tells) the number is used, as long as no `wait` of this handle has answered
/// and the kernel says that the number is that of a child of this process.
///
/// Dropping the handle does nothing, unless [`on_drop`](Self::on_drop) says otherwise: the child runs
/// on, and when it has ended it stays a zombie until this process ends. Call [`wait`](Self::wait).
///
/// # Lost status
///
/// How a child ended is told once, to one who waits. If that was somebody else (`waitpid(-1, …)` in a
/// library), or nobody is to be told (`SIGCHLD` is ignored or has `SA_NOCLDWAIT`), or this process is
/// not the child's parent, there is nothing to wait for, and the answer is
/// [`ECHILD`](Errno::ECHILD), which means: the child is gone, and its status is lost. From Linux 6.15
/// on the pidfd still knows it, and the answer is the status all the same.
#[must_use = "a child that is not waited for stays a zombie when it has ended"]
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: Option<OwnedFd>,
    /// The process that made it, and that may wait for it.
    owner: i32,
    /// The answer of a wait, after which the process id may be another's.
    end: Option<Result<ExitStatus>>,
    pub(super) on_drop: OnDrop,
    pub(super) method: SpawnMethod,
    /// Whether it was made the leader of a process group of its own.
    pub(super) leads_group: bool,
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

/// What dropping a [`Child`] does that was not waited for. See [`Child::on_drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// Nothing: the child runs on, and stays a zombie when it has ended. So does std's.
    #[default]
    Leave,
    /// Close the pipes to it and wait until it has ended, however long that takes.
    Reap,
    /// Close the pipes to it, kill it, and wait until it is gone, which it soon is.
    Kill,
    /// As `Kill`, with all processes of its process group. Once the child has been waited for, a drop does
    /// nothing, and what it has left in the group runs on.
    KillGroup,
}

/// How a child was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpawnMethod {
    /// Sharing memory with its parent until it had its program: nothing was copied.
    Vfork,
    /// As a copy of its parent: by a fork, or for another user or other groups, or because the kernel refuses
    /// the other way.
    Fork,
}

impl Child {
    /// A child of this process, just made, with the pidfd that came with it.
    pub(super) fn new(pid: i32, pidfd: Option<OwnedFd>) -> Self {
        Self {
            pid,
            pidfd: pidfd.or_else(|| call::pidfd_open_child(pid)),
            owner: call::getpid(),
            end: None,
            on_drop: OnDrop::Leave,
            method: SpawnMethod::Fork,
            leads_group: false,
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    /// The process id.
    ///
    /// It is this child's until a `wait` has answered. After that the kernel may give it to another
    /// process.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// How it was made.
    #[must_use]
    pub const fn method(&self) -> SpawnMethod {
        self.method
    }

    /// The descriptor of the process, for [`poll`](crate::event::poll) and the like: it is readable when
    /// the child has ended. `None` where the kernel has none, or refuses.
    ///
    /// It is close-on-exec.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::event::{PollEvents, PollFd, poll};
    /// use rawpipe::process;
    ///
    /// // SAFETY: the child does nothing but return a number.
    /// let mut child = unsafe { process::fork_with(|| 0) }?;
    /// if let Some(pidfd) = child.pidfd() {
    ///     poll(&mut [PollFd::from_borrowed_fd(pidfd, PollEvents::IN)], None)?;
    ///     assert!(child.try_wait()?.is_some());
    /// }
    /// # child.wait()?;
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), since Linux 5.3
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(OwnedFd::as_fd)
    }

    /// Borrows the write end of the pipe that is the child's standard input, if there is one.
    #[must_use]
    pub const fn stdin_ref(&self) -> Option<&PipeWriter> {
        self.stdin.as_ref()
    }

    /// Borrows the read end of the pipe that is the child's standard output, if there is one.
    #[must_use]
    pub const fn stdout_ref(&self) -> Option<&PipeReader> {
        self.stdout.as_ref()
    }

    /// Borrows the read end of the pipe that is the child's standard error, if there is one.
    #[must_use]
    pub const fn stderr_ref(&self) -> Option<&PipeReader> {
        self.stderr.as_ref()
    }

    /// Takes the write end of the pipe that is the child's standard input, as `child.stdin.take()` does
    /// with std. Dropping it ends the child's input.
    pub const fn take_stdin(&mut self) -> Option<PipeWriter> {
        self.stdin.take()
    }

    /// Takes the read end of the pipe that is the child's standard output.
    pub const fn take_stdout(&mut self) -> Option<PipeReader> {
        self.stdout.take()
    }

    /// Takes the read end of the pipe that is the child's standard error.
    pub const fn take_stderr(&mut self) -> Option<PipeReader> {
        self.stderr.take()
    }

    /// Waits until the child has ended and says how. Goes on after a signal. A stop of a child that this
    /// process traces is not an end, and stays pending for the tracer's own wait.
    ///
    /// Closes [`stdin`](Self::stdin_ref) first, as std does, so that the child and this process do not
    /// wait for each other. Asked again, it gives the same answer, without a system call.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](Errno::EAGAIN): somebody has made the [`pidfd`](Self::pidfd) nonblocking, and the
    ///   child still runs.
    /// - [`ECHILD`](Errno::ECHILD): the child is gone, or not this process's, and how it ended [is
    ///   lost](Self#lost-status).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process;
    ///
    /// // SAFETY: the child does nothing but return a number.
    /// let mut child = unsafe { process::fork_with(|| 7) }?;
    /// let status = child.wait()?;
    /// assert_eq!(status.code(), Some(7));
    /// assert!(!status.success());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    #[doc(alias = "waitpid")]
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        let mut backoff = Backoff::default();
        loop {
            if let Some(status) = self.ask(abi::WNOWAIT)? {
                return Ok(status);
            }
            // It has stopped, and this process traces it.
            self.pause(None, &mut backoff);
        }
    }

    /// Waits until the child has ended, or was stopped by a signal, or goes on after that, and says
    /// which. Goes on after a signal to this process.
    ///
    /// [`stdin`](Self::stdin_ref) stays open. Each stop and each going on is told once, and a later one
    /// replaces one that nobody has asked for.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{self, OnDrop, Signal};
    ///
    /// let (reader, _writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe { process::fork_with(|| reader.read(&mut [0]).is_err().into()) }?;
    /// child.send_signal(Signal::STOP)?;
    /// assert_eq!(child.wait_change()?.stopped_signal(), Some(Signal::STOP));
    /// child.send_signal(Signal::CONT)?;
    /// assert!(child.wait_change()?.continued());
    /// child.kill()?;
    /// assert_eq!(child.wait_change()?.signal(), Some(Signal::KILL));
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    #[doc(alias = "WUNTRACED")]
    #[doc(alias = "WCONTINUED")]
    pub fn wait_change(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ask(abi::WSTOPPED | abi::WCONTINUED)? {
                return Ok(status);
            }
        }
    }

    /// Says how the child has ended, or `None` if it still runs. Does not wait.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe {
    ///     process::fork_with(|| {
    ///         let _ = reader.read(&mut [0]);
    ///         0
    ///     })
    /// }?;
    /// assert_eq!(child.try_wait()?, None);
    /// writer.write(b"!")?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.ask(abi::WNOHANG | abi::WNOWAIT)
    }

    /// Waits until the child has ended, at most until `deadline`: `None` if it still runs then. Goes
    /// on after a signal.
    ///
    /// [`stdin`](Self::stdin_ref) stays open: a child that reads it to the end does not end before that is
    /// dropped. Without a [`pidfd`](Self::pidfd) this polls, with pauses that grow from 0.1 ms to 6.4 ms.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process;
    /// use rawpipe::Deadline;
    /// use std::time::Duration;
    ///
    /// let (reader, _writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe { process::fork_with(|| reader.read(&mut [0]).is_err().into()) }?;
    /// assert_eq!(child.wait_deadline(Deadline::after(Duration::from_millis(10)))?, None);
    /// child.kill()?;
    /// assert!(child.wait_deadline(Deadline::after(Duration::from_secs(60)))?.is_some());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    #[doc(alias = "wait_timeout")]
    pub fn wait_deadline(&mut self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        let mut backoff = Backoff::default();
        loop {
            let answer = self.try_wait()?;
            if answer.is_some() || deadline.has_passed() {
                return Ok(answer);
            }
            self.pause(Some(deadline), &mut backoff);
        }
    }

    /// Waits for the end by poll, which does not report stops. Without a pidfd it only pauses, and also
    /// where `poll` reports the end and `waitid` does not, since another process traces the child.
    fn pause(&self, deadline: Option<Deadline>, backoff: &mut Backoff) {
        backoff.pause(deadline);
        if let Some(fd) = self.pidfd() {
            // Whatever this returns, the child is asked again.
            let _ = poll_until(&mut [PollFd::from_borrowed_fd(fd, PollEvents::IN)], deadline);
        }
    }

    /// Asks the kernel, unless the answer is known: a second call could hit another child that has
    /// been given the same process id.
    ///
    /// With `WNOWAIT` it reports the end only. The kernel reports each stop of a traced child to its
    /// tracer, whatever the options: such a stop is `None` here, and stays for the tracer's own loop.
    fn ask(&mut self, options: usize) -> Result<Option<ExitStatus>> {
        if let Some(end) = self.end {
            return end.map(Some);
        }
        let end = match self.waitid(abi::WEXITED | options) {
            Ok(None) => return Ok(None),
            Ok(Some(info)) => Ok(ExitStatus::new(&info)),
            Err(Errno::ECHILD) => self.end_by_pidfd().ok_or(Errno::ECHILD),
            Err(errno) => return Err(errno),
        };
        let is_end = end.map_or(true, |end| end.code().is_some() || end.signal().is_some());
        if options & abi::WNOWAIT != 0 {
            if !is_end {
                return Ok(None);
            }
            // So far it was only looked at. If another waiter is quicker, the status is known by now.
            match self.waitid((abi::WEXITED | options) & !abi::WNOWAIT) {
                Ok(_) | Err(Errno::ECHILD) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.end = is_end.then_some(end);
        end.map(Some)
    }

    /// Whether this process may still wait for it. A forked copy of this handle may be in a process that has
    /// got the number of the first one, and a number of the child's may be another child's by now.
    pub(super) fn is_a_child(&self) -> bool {
        let look = abi::WEXITED | abi::WNOHANG | abi::WNOWAIT;
        !matches!(self.waitid(look), Err(Errno::ECHILD))
    }

    /// Retries on `EINTR`.
    pub(super) fn waitid(&self, options: usize) -> Result<Option<SigInfo>> {
        retry(|| match self.pidfd().map(|pidfd| call::waitid_pidfd(pidfd, options)) {
            // Linux 5.3 has pidfds, and does not wait for them; nor does a filter that does not
            // know it.
            None => call::waitid_pid(self.pid, options),
            Some(Err(errno)) if call::is_missing(errno) => call::waitid_pid(self.pid, options),
            Some(answer) => answer,
        })
    }

    /// How it ended, where `waitid` has nothing to say.
    fn end_by_pidfd(&self) -> Option<ExitStatus> {
        call::pidfd_get_info_exit(self.pidfd()?).ok().flatten().map(ExitStatus::from_raw)
    }

    /// Says what is to be done when this handle is dropped before a wait has answered. `Leave`, which
    /// is the default, is the only policy by which a drop never waits.
    ///
    /// Only in the process that made the child: the copy of the handle that a forked child has does
    /// nothing but close its descriptors.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL): `KillGroup` for a child that was not made the leader of a process
    ///   group of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{self, OnDrop};
    ///
    /// let (reader, _writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe { process::fork_with(|| reader.read(&mut [0]).is_err().into()) }?;
    /// child.on_drop(OnDrop::Kill)?;
    /// let place = format!("/proc/{}", child.id());
    /// drop(child);
    /// assert!(!std::path::Path::new(&place).exists());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    pub fn on_drop(&mut self, policy: OnDrop) -> Result<()> {
        if policy == OnDrop::KillGroup && !self.leads_group {
            return Err(Errno::EINVAL);
        }
        self.on_drop = policy;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // With the wait the policy ends: the group's other processes are not the child.
        let is_over = self.on_drop == OnDrop::Leave || self.end.is_some();
        if is_over || self.owner != call::getpid() || !self.is_a_child() {
            return;
        }
        // Neither is to wait for the other.
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
        if self.on_drop == OnDrop::KillGroup {
            let _ = self.kill_group();
        }
        // The leader too, in case it has gone to another group.
        if self.on_drop == OnDrop::Reap || self.kill().is_ok() {
            let _ = self.wait();
        }
    }
}
