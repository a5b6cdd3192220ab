//! A child process: the calls that wait for it and signal it, and the effect of dropping its handle.

mod kill;
pub(super) mod wait;

#[cfg(feature = "process")]
use super::claim::Claim;
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::process::ExitStatus;
use crate::sys::abi::RUSAGE_KEPT;
use crate::sys::call;
use crate::{Errno, PipeReader, PipeWriter, Result};

/// A handle to a child process that was created by [`fork`](crate::fork) or its variants, or by starting a
/// program.
///
/// If the kernel supports pidfds (since Linux 5.3), the handle usually holds a *pidfd*, a descriptor of the
/// process itself. A signal then reaches either this child or no process, even if the child's id is reused.
///
/// Without a pidfd ([`pidfd`](Self::pidfd) returns `None`), calls use the id instead, but only if the kernel
/// reports that this id belongs to a child of this process. No call uses the id once a wait by this handle
/// has returned the exit status, or has reported that the status [is lost](#lost-status).
///
/// By default, dropping the handle only closes its descriptors. The child continues to run. After its end,
/// the child stays a zombie until `wait_any` or other code collects its status, or this process ends. To
/// avoid zombies, call [`wait`](Self::wait) or set [`on_drop`](Self::on_drop).
///
/// # Reused process ids
///
/// The kernel keeps a child's id until the child has been waited for. Once a wait by this handle has returned
/// the exit status or reported its loss, no call uses the id. A wait by other code, or an ignored `SIGCHLD`,
/// frees the id while the handle still refers to the child. With a pidfd, the handle then refers to the ended
/// child and never to another process. Without a pidfd, if this process created a new child with the same id,
/// that child would be mistaken for the old one. `wait_any` ignores children with a live handle.
///
/// For a second handle in another thread, see [`try_clone_pidfd`](Self::try_clone_pidfd).
///
/// # Lost status
///
/// The kernel reports the exit status of a child only once, to one waiter. In three cases, no status remains
/// for this handle to collect:
///
/// - Other code, such as `waitpid(-1, …)` in a library, has waited for the child.
/// - The status is discarded: `SIGCHLD` is ignored or has `SA_NOCLDWAIT`.
/// - This process is not the child's parent.
///
/// A wait then fails with [`ECHILD`](Errno::ECHILD): the status is lost to this process. In the first two
/// cases the child no longer exists. Since Linux 6.15, however, the pidfd keeps the status of an ended child,
/// and the wait returns that status instead.
#[must_use = "a child that is not waited for stays a zombie when it has ended"]
#[derive(Debug)]
pub struct Child {
    pub(super) pid: i32,
    pub(super) pidfd: Option<OwnedFd>,
    /// The claim to the child's id, held until a wait has returned the child's exit status or reported its
    /// loss.
    #[cfg(feature = "process")]
    claim: Option<Claim>,
    /// The id of the process that created the child and may wait for it.
    owner: i32,
    /// The result of a wait. Once this field is set, the process id may belong to another process.
    pub(super) end: Option<Result<ExitStatus>>,
    pub(super) used: Option<[usize; RUSAGE_KEPT.len()]>,
    pub(super) on_drop: OnDrop,
    pub(super) method: SpawnMethod,
    /// Set if the child was made the leader of its own process group.
    pub(super) leads_group: bool,
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

/// The effect of dropping a [`Child`] that was not waited for: see [`Child::on_drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// Only closes the handle's descriptors, as with std. The child continues to run, and may become a
    /// zombie: see [`Child`].
    #[default]
    Leave,
    /// Closes the pipes to the child and waits, without a time limit, until the child has ended.
    Reap,
    /// Closes the pipes to the child, kills it, and waits until it has ended. A child that cannot be killed
    /// is not waited for.
    Kill,
    /// Does the same as `Kill`, but kills all processes of the child's process group.
    ///
    /// A supervisor that collects children itself must first kill the group, as soon as the pidfd is
    /// readable, and only then wait. Before Linux 6.9, a group cannot be signalled once its leader has been
    /// waited for. If the child has already been waited for, dropping the handle does nothing, and the
    /// remaining processes of the group continue.
    KillGroup,
}

/// The method that created a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpawnMethod {
    /// The child used its parent's memory until the child started its program. Nothing was copied, except
    /// under a user-mode emulator that turns the call into an ordinary fork.
    Vfork,
    /// The child was a copy of its parent. The reason is an explicit fork, a change of ids (user, group or
    /// groups), or a kernel or filter that rejects shared memory.
    Fork,
}

impl Child {
    /// Creates the handle of a child that this process has just created. If `pidfd` is `None`, tries to open
    /// a pidfd.
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
    /// The id belongs to this child until the child has been waited for. After that, the kernel may reuse the
    /// id for another process.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Returns the method that created the child.
    #[must_use]
    pub const fn method(&self) -> SpawnMethod {
        self.method
    }

    /// Returns the descriptor of the process, for [`poll`](crate::event::poll) and similar calls. The
    /// descriptor is readable when the child has ended. Returns `None` if the kernel does not support
    /// pidfds, a filter rejects opening one, or no descriptor is free.
    ///
    /// The descriptor is close-on-exec.
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

    /// Borrows the write end of the pipe that is the child's standard input, if this handle holds that end.
    #[must_use]
    pub const fn stdin_ref(&self) -> Option<&PipeWriter> {
        self.stdin.as_ref()
    }

    /// Borrows the read end of the pipe that is the child's standard output, if this handle holds that end.
    #[must_use]
    pub const fn stdout_ref(&self) -> Option<&PipeReader> {
        self.stdout.as_ref()
    }

    /// Borrows the read end of the pipe that is the child's standard error, if this handle holds that end.
    #[must_use]
    pub const fn stderr_ref(&self) -> Option<&PipeReader> {
        self.stderr.as_ref()
    }

    /// Takes the write end of the pipe that is the child's standard input, like `child.stdin.take()` in std.
    /// Dropping the write end ends the child's input.
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

    /// Sets the effect of dropping this handle if the child has not been waited for. `Leave`, the default, is
    /// the only policy under which a drop never waits.
    ///
    /// The policy applies only in the process that created the child. In a forked child, dropping the copied
    /// handle only closes the descriptors of the copy.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if the policy is `KillGroup` and the child was not made the leader of its
    ///   own process group.
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
        // After the wait, the policy does not apply: this handle must not kill a group whose leader has been
        // collected.
        let is_over = self.on_drop == OnDrop::Leave || self.end.is_some();
        if is_over || self.owner != call::getpid() || !self.is_a_child() {
            return;
        }
        // Closing the pipes prevents the two processes from waiting for each other.
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
        if self.on_drop == OnDrop::KillGroup {
            let _ = self.kill_group();
        }
        // The leader is killed separately, in case it has moved to another group. A child that cannot be
        // killed may have ended already.
        let ends = self.on_drop == OnDrop::Reap || self.kill().is_ok();
        let _ = if ends { self.wait().map(Some) } else { self.try_wait() };
    }
}
