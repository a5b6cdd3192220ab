//! Signals to a child, and to the process group that it leads.

use super::Child;
use crate::process::Signal;
use crate::sys::{abi, call};
use crate::{Errno, Result};

impl Child {
    /// Kills the child with `SIGKILL`. It ends some time later: [`wait`](Self::wait) for it.
    ///
    /// If a wait has returned how the child ended, this does nothing and returns `Ok`, as with std, whereas
    /// [`send_signal`](Self::send_signal) fails with [`ESRCH`](Errno::ESRCH).
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the child is gone and how it ended [is lost](Self#lost-status).
    /// - [`EPERM`](Errno::EPERM) if the child runs as another user by now.
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

    /// Sends the child a signal. It never reaches another process that has been given the same id.
    ///
    /// For a child that has ended and was not waited for this succeeds, and has no effect.
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the child has ended and was waited for.
    /// - [`EPERM`](Errno::EPERM) if the child runs as another user by now.
    ///
    /// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    pub fn send_signal(&self, signal: Signal) -> Result<()> {
        self.signal(signal, false)
    }

    /// Makes the child the leader of a new process group, which will include the processes that it starts.
    ///
    /// This is for a child of a fork. The child may also do it itself: whichever call comes first takes effect.
    ///
    /// # Errors
    ///
    /// - [`EACCES`](Errno::EACCES) if the child has started another program already.
    /// - [`EPERM`](Errno::EPERM) if it leads a session.
    /// - [`ESRCH`](Errno::ESRCH) if it was waited for, or is not a child of this process.
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
    /// As [`send_signal_group`](Self::send_signal_group).
    ///
    /// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
    #[doc(alias = "killpg")]
    pub fn kill_group(&self) -> Result<()> {
        self.send_signal_group(Signal::KILL)
    }

    /// Sends a signal to all processes of the group that the child leads: the child itself, and those that it
    /// has started, unless they have moved to their own group.
    ///
    /// After the child was waited for, its id may be given to another group once this one is empty. Since Linux
    /// 6.9 the pidfd identifies the group. Before that, this fails with `ESRCH` once the child was waited for.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if the child was not made the leader of its own group.
    /// - [`ESRCH`](Errno::ESRCH) if no process is left in the group, or see above.
    /// - [`EPERM`](Errno::EPERM) if all of them run as another user by now.
    ///
    /// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
    pub fn send_signal_group(&self, signal: Signal) -> Result<()> {
        if !self.leads_group {
            return Err(Errno::EINVAL);
        }
        self.signal(signal, true)
    }

    fn signal(&self, signal: Signal, group: bool) -> Result<()> {
        // If the status of a child is discarded, Linux returns from the wait a moment before it removes the
        // child, and accepts signals for it until then. In a process other than the parent, ECHILD means less.
        if !group && self.end.is_some_and(|end| end.is_ok() || self.owner == call::getpid()) {
            return Err(Errno::ESRCH);
        }
        let (id, flags) =
            if group { (-self.pid, abi::PIDFD_SIGNAL_PROCESS_GROUP) } else { (self.pid, 0) };
        match self.pidfd().map(|fd| call::pidfd_send_signal(fd, signal.as_raw(), flags)) {
            // No pidfd, rejected by a filter, or a kernel too old for groups.
            None => {}
            Some(Err(errno)) if call::is_missing(errno) => {}
            Some(result) => return result,
        }
        // By id, but only while it is that of a child that was not waited for.
        if self.end.is_some() || self.waitid(abi::PEEK).is_err() {
            return Err(Errno::ESRCH);
        }
        call::kill(id, signal.as_raw())
    }
}
