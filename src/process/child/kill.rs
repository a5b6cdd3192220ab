//! Sends signals to a child, and to the process group that the child leads.

use super::Child;
use crate::process::Signal;
use crate::sys::{abi, call};
use crate::{Errno, Result};

impl Child {
    /// Kills the child with `SIGKILL`. The child ends some time later: call [`wait`](Self::wait) to collect
    /// its status.
    ///
    /// If a wait has already returned the child's exit status, this call does nothing and returns `Ok`, as in
    /// std. [`send_signal`](Self::send_signal) fails with [`ESRCH`](Errno::ESRCH) instead.
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the child no longer exists and its status [is lost](Self#lost-status).
    /// - [`EPERM`](Errno::EPERM) if the child now runs as another user.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{self, Signal};
    /// use rawpipe::Errno;
    ///
    /// let (reader, _writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe { process::fork_with(|| reader.read(&mut [0]).is_err().into()) }?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(Signal::KILL));
    /// assert_eq!(child.kill(), Ok(()));
    /// assert_eq!(child.send_signal(Signal::KILL), Err(Errno::ESRCH));
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    pub fn kill(&self) -> Result<()> {
        if let Some(Ok(_)) = self.end {
            return Ok(());
        }
        self.send_signal(Signal::KILL)
    }

    /// Sends the child a signal. If the child has a [`pidfd`](Self::pidfd), the signal never reaches another
    /// process with the same id: see [`Child`](Self#reused-process-ids).
    ///
    /// If the child has ended but has not been waited for, the call succeeds and has no effect.
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the child has ended, and either it has been waited for or its status was
    ///   discarded.
    /// - [`EPERM`](Errno::EPERM) if the child now runs as another user.
    ///
    /// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    pub fn send_signal(&self, signal: Signal) -> Result<()> {
        self.signal(signal, false)
    }

    /// Makes the child the leader of a new process group, which the child's later descendants join by
    /// default.
    ///
    /// This call is intended for a forked child. The child may also make itself the leader. Of these two
    /// calls, the earlier one takes effect.
    ///
    /// # Errors
    ///
    /// - [`EACCES`](Errno::EACCES) if the child has already executed another program.
    /// - [`EPERM`](Errno::EPERM) if the child leads a session.
    /// - [`ESRCH`](Errno::ESRCH) if the child was waited for, or is not a child of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{self, OnDrop};
    ///
    /// let (reader, _writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe { process::fork_with(|| reader.read(&mut [0]).is_err().into()) }?;
    /// child.lead_group()?;
    /// child.on_drop(OnDrop::KillGroup)?;
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [setpgid(2)](https://man7.org/linux/man-pages/man2/setpgid.2.html)
    #[doc(alias = "setpgid")]
    pub fn lead_group(&mut self) -> Result<()> {
        if self.end.is_some() || !self.is_a_child() {
            return Err(Errno::ESRCH);
        }
        call::setpgid(self.pid, self.pid)?;
        self.leads_group = true;
        Ok(())
    }

    /// Sends `SIGKILL` to all processes of the group that the child leads.
    ///
    /// # Errors
    ///
    /// Fails as [`send_signal_group`](Self::send_signal_group) does.
    ///
    /// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
    #[doc(alias = "killpg")]
    pub fn kill_group(&self) -> Result<()> {
        self.send_signal_group(Signal::KILL)
    }

    /// Sends a signal to all processes of the group that the child leads. The group consists of the child and
    /// of its later descendants, except for those that have moved to another group.
    ///
    /// Once the child has been waited for and its group is empty, the kernel may reuse the id for another
    /// group. Since Linux 6.9, the [`pidfd`](Self::pidfd) identifies the group. Before Linux 6.9, or without
    /// a pidfd, this call fails with `ESRCH` once the child has been waited for.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if the child was not made the leader of its own group.
    /// - [`ESRCH`](Errno::ESRCH) if the group has no process left. Before Linux 6.9, or without a pidfd, this
    ///   error also occurs if the child was waited for.
    /// - [`EPERM`](Errno::EPERM) if all processes of the group now run as another user.
    ///
    /// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
    pub fn send_signal_group(&self, signal: Signal) -> Result<()> {
        if !self.leads_group {
            return Err(Errno::EINVAL);
        }
        self.signal(signal, true)
    }

    fn signal(&self, signal: Signal, group: bool) -> Result<()> {
        // If the status of a child is discarded, a wait returns shortly before Linux removes the child. Until
        // that removal, the kernel accepts signals for the child. In a process other than the parent,
        // `ECHILD` does not prove that the child has ended.
        if !group && self.end.is_some_and(|end| end.is_ok() || self.owner == call::getpid()) {
            return Err(Errno::ESRCH);
        }
        let (id, flags) =
            if group { (-self.pid, abi::PIDFD_SIGNAL_PROCESS_GROUP) } else { (self.pid, 0) };
        match self.pidfd().map(|fd| call::pidfd_send_signal(fd, signal.as_raw(), flags)) {
            // The child has no pidfd, a filter rejected the call, or the kernel cannot signal a group with a
            // pidfd.
            None => {}
            Some(Err(errno)) if call::is_missing(errno) => {}
            Some(result) => return result,
        }
        // The process id is safe to use only until the child has been waited for.
        if self.end.is_some() || self.waitid(abi::PEEK).is_err() {
            return Err(Errno::ESRCH);
        }
        call::kill(id, signal.as_raw())
    }
}
