//! A child process: waiting for it, signalling it, and the effect of dropping its handle.

mod kill;
pub(super) mod wait;

#[cfg(feature = "process")]
use super::claim::Claim;
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::process::ExitStatus;
use crate::sys::abi::RUSAGE_KEPT;
use crate::sys::call;
use crate::{Errno, PipeReader, PipeWriter, Result};

/// A child process, created by [`fork`](crate::fork) and its relatives, or by starting a program.
///
/// The handle holds a *pidfd*, a descriptor of the process itself, if the kernel has them (Linux 5.3).
/// Then a signal reaches this child or no process, whatever happens to its id.
///
/// Without one ([`pidfd`](Self::pidfd) returns `None`) the id is used, but only until a wait by this handle has
/// returned how the child ended, or that this [is lost](#lost-status). The kernel must also report that the id is
/// that of a child of this process.
///
/// Dropping the handle does nothing, unless [`on_drop`](Self::on_drop) is set: the child continues, and
/// after its end it stays a zombie until this process ends. Call [`wait`](Self::wait).
///
/// # Reused process ids
///
/// The kernel keeps a child's id until it was waited for. Once a wait by this handle has returned the end or its
/// loss, no call uses the id. A wait by other code, or an ignored `SIGCHLD`, frees the id while the handle still
/// refers to the child. With a pidfd the handle then still stands for the child that is gone, and for no other.
/// Without one, a new child of this process with the same id would be mistaken for it. `wait_any` leaves children
/// with a living handle alone.
///
/// For a second handle in another thread see [`try_clone_pidfd`](Self::try_clone_pidfd).
///
/// # Lost status
///
/// The kernel reports how a child ended once, to one waiter. Nothing is left to wait for in three cases:
///
/// - Other code has waited for the child, such as `waitpid(-1, …)` in a library.
/// - The status is discarded: `SIGCHLD` is ignored or has `SA_NOCLDWAIT`.
/// - This process is not the child's parent.
///
/// A wait then fails with [`ECHILD`](Errno::ECHILD): the status is lost to this process. In the first two cases the
/// child is also gone. Since Linux 6.15 the pidfd still has the status of a child that is gone, and the wait returns
/// it.
#[must_use = "a child that is not waited for stays a zombie when it has ended"]
#[derive(Debug)]
pub struct Child {
    pub(super) pid: i32,
    pub(super) pidfd: Option<OwnedFd>,
    /// `Some` until a wait has returned its end.
    #[cfg(feature = "process")]
    claim: Option<Claim>,
    /// The process that created the child, and that may wait for it.
    owner: i32,
    /// The result of a wait, after which the process id may be another process's.
    pub(super) end: Option<Result<ExitStatus>>,
    pub(super) used: Option<[usize; RUSAGE_KEPT.len()]>,
    pub(super) on_drop: OnDrop,
    pub(super) method: SpawnMethod,
    /// Whether it was made the leader of its own process group.
    pub(super) leads_group: bool,
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

/// What dropping a [`Child`] that was not waited for does: see [`Child::on_drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// Nothing: the child continues, and stays a zombie after its end, as with std.
    #[default]
    Leave,
    /// Close the pipes to it and wait until it has ended, however long that takes.
    Reap,
    /// Close the pipes to it, kill it, and wait for its end, which follows soon.
    Kill,
    /// Do the same as `Kill`, with all processes of its process group. A supervisor that collects children
    /// itself kills the group first, when the pidfd is readable, and then waits: before Linux 6.9 a group
    /// cannot be signalled once its leader was waited for. Once the child has been waited for, a drop does
    /// nothing, and the processes that are left in the group continue.
    KillGroup,
}

/// How a child was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpawnMethod {
    /// Sharing memory with its parent until it had its program. Nothing was copied.
    Vfork,
    /// As a copy of its parent: by a fork, or for another user or other groups, or because the kernel rejects
    /// shared memory.
    Fork,
}

impl Child {
    /// Creates the handle of a child that this process has just created, with the pidfd from the kernel.
    pub(super) fn new(pid: i32, pidfd: Option<OwnedFd>) -> Self {
        Self {
            pid,
            #[cfg(feature = "process")]
            claim: Some(Claim::new(pid)),
            pidfd: pidfd.or_else(|| call::pidfd_open_child(pid).ok()),
            owner: call::getpid(),
            end: None,
            used: None,
            on_drop: OnDrop::Leave,
            method: SpawnMethod::Fork,
            leads_group: false,
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    /// Returns the process id.
    ///
    /// It is this child's until the child was waited for. After that the kernel may give it to another process.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Returns how it was created.
    #[must_use]
    pub const fn method(&self) -> SpawnMethod {
        self.method
    }

    /// Returns the descriptor of the process, for [`poll`](crate::event::poll) and the like: it is readable when
    /// the child has ended. Returns `None` if the kernel has no pidfds, or rejects opening one.
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

    /// Sets what dropping this handle does if the child has not been waited for. `Leave`, the default, is the
    /// only policy with which a drop never waits.
    ///
    /// The policy applies only in the process that created the child. In a forked child, dropping the copy of the
    /// handle only closes its descriptors.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if the policy is `KillGroup` and the child was not made the leader of its own
    ///   process group.
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
        // The policy ends with the wait: the group's other processes are not the child.
        let is_over = self.on_drop == OnDrop::Leave || self.end.is_some();
        if is_over || self.owner != call::getpid() || !self.is_a_child() {
            return;
        }
        // So that neither process waits for the other.
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
        if self.on_drop == OnDrop::KillGroup {
            let _ = self.kill_group();
        }
        // The leader as well, in case it has moved to another group.
        if self.on_drop == OnDrop::Reap || self.kill().is_ok() {
            let _ = self.wait();
        }
    }
}
