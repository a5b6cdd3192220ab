//! Waits for a child.

use super::Child;
use crate::errno::retry;
use crate::event::{Backoff, PollEvents, PollFd, poll, poll_until};
use crate::fd::BorrowedFd;
use crate::process::ExitStatus;
use crate::sys::abi;
use crate::sys::call::{self, Waited};
use crate::{Deadline, Errno, Result};
use core::time::Duration;

impl Child {
    /// Waits until the child has ended, and returns how it ended. Retries on `EINTR`. If this process traces
    /// the child, a stop of the child does not end this wait. The stop stays pending for the tracer's own
    /// wait.
    ///
    /// This call first closes [`stdin`](Self::stdin_ref), as std does, so that the child and this process do
    /// not wait for each other. Once a call has returned the exit status or reported its loss, later calls
    /// return the same result without a system call.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if the [`pidfd`](Self::pidfd) was made nonblocking, and the child is still
    ///   running.
    /// - [`ECHILD`](Errno::ECHILD) if the child's status [is lost](Self#lost-status), because the child no
    ///   longer exists or belongs to another process.
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
            if let Some(status) = self.wait_once(abi::WNOWAIT)? {
                return Ok(status);
            }
            // Here the child has stopped, and this process traces the child. `pause` would sleep for the same
            // time, but it would add the code for deadlines to programs that use no deadlines.
            let _ = backoff.next().map(|time| poll(&mut [], Some(time)));
            let child = self.pidfd().map(|fd| PollFd::from_borrowed_fd(fd, PollEvents::IN));
            let _ = child.map(|child| poll(&mut [child], None));
        }
    }

    /// Waits until the child ends, is stopped by a signal, or continues after a stop. Returns that change.
    /// Retries on `EINTR`.
    ///
    /// [`stdin`](Self::stdin_ref) stays open. Each stop and each continuation is reported at most once. A
    /// later change replaces an earlier one that was not collected.
    ///
    /// # Errors
    ///
    /// Fails as [`wait`](Self::wait) does.
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
    #[doc(alias("WUNTRACED", "WCONTINUED"))]
    pub fn wait_change(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_once(abi::WSTOPPED | abi::WCONTINUED)? {
                return Ok(status);
            }
        }
    }

    /// Returns how the child ended, or `None` if it is still running. Does not wait.
    ///
    /// # Errors
    ///
    /// Fails as [`wait`](Self::wait) does.
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
        self.wait_once(abi::WNOHANG | abi::WNOWAIT)
    }

    /// Waits until the child has ended, or until `deadline` passes. Returns `None` if the child is still
    /// running at the deadline. Retries on `EINTR`.
    ///
    /// [`stdin`](Self::stdin_ref) stays open. A child that reads its input to end of file does not end until
    /// the caller closes the pipe to that input. Without a [`pidfd`](Self::pidfd), this call checks the child
    /// repeatedly, with pauses that grow from 0.1 ms to 6.4 ms.
    ///
    /// # Errors
    ///
    /// Fails as [`wait`](Self::wait) does, and with
    ///
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and the child is still
    ///   running.
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
    pub fn wait_deadline(&mut self, deadline: Deadline<'_>) -> Result<Option<ExitStatus>> {
        let mut backoff = Backoff::default();
        loop {
            // The clock is read first, so that an end before the deadline is reported.
            let reached = deadline.is_reached();
            match self.try_wait()? {
                None if !reached? => self.pause(deadline, &mut backoff),
                result => return Ok(result),
            }
        }
    }

    /// Uses `poll`, which does not report stops, to wait for the child's end. Without a pidfd, the function
    /// only pauses. If another process traces the child, `poll` may report the end before `waitid` does. The
    /// growing pauses then prevent a busy loop.
    fn pause(&self, deadline: Deadline<'_>, backoff: &mut Backoff) {
        backoff.pause(Some(deadline));
        if let Some(fd) = self.pidfd() {
            // The caller checks the child again after any result.
            let _ = poll_until(&mut [PollFd::from_borrowed_fd(fd, PollEvents::IN)], Some(deadline));
        }
    }

    /// Waits with `waitid`, unless an earlier wait has returned the exit status or reported its loss. After
    /// that wait, a call could reach another child with the same process id.
    ///
    /// With `WNOWAIT`, this function reports only the end. The kernel reports each stop of a traced child to
    /// its tracer, regardless of the options. For such a stop the function returns `None`, and the stop stays
    /// pending for the tracer's own loop.
    pub(in crate::process) fn wait_once(&mut self, options: usize) -> Result<Option<ExitStatus>> {
        if let Some(end) = self.end {
            return end.map(Some);
        }
        let mut end = match self.waitid(abi::WEXITED | options) {
            Ok(None) => return Ok(None),
            Ok(Some((info, used))) => {
                self.used = Some(used);
                Ok(ExitStatus::new(&info))
            }
            Err(Errno::ECHILD) => self.pidfd().and_then(end_by_pidfd).ok_or(Errno::ECHILD),
            Err(errno) => return Err(errno),
        };
        let is_end = end.map_or(true, is_end);
        if options & abi::WNOWAIT != 0 {
            if !is_end {
                return Ok(None);
            }
            // This call collects the exit status. If another waiter collects the status first, the call fails
            // with `ECHILD`, but `end` already holds the status. Before Linux 5.17, the call with `WNOWAIT`
            // reports the first thread's own exit code, which can differ from that of the process.
            match self.waitid((abi::WEXITED | options) & !abi::WNOWAIT) {
                Ok(Some((info, _))) => end = Ok(ExitStatus::new(&info)),
                Ok(None) | Err(Errno::ECHILD) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.end = is_end.then_some(end);
        #[cfg(feature = "process")]
        if is_end {
            // This handle no longer needs its claim. A new child with this id has a separate claim.
            self.claim = None;
        }
        end.map(Some)
    }

    /// Returns whether this process may still wait for the child. Comparing `owner` with the process id is
    /// not enough: a forked copy of this handle may be in a process that reuses the creator's id. Without a
    /// pidfd, the result may concern another child that now has the same id.
    pub(in crate::process) fn is_a_child(&self) -> bool {
        !matches!(self.waitid(abi::PEEK), Err(Errno::ECHILD))
    }

    pub(in crate::process) fn waitid(&self, options: usize) -> Result<Option<Waited>> {
        waitid(self.pid, self.pidfd(), options)
    }
}

/// Waits with the pidfd, or with the process id if the pidfd cannot be used. Retries on `EINTR`.
pub(in crate::process) fn waitid(
    pid: i32,
    pidfd: Option<BorrowedFd<'_>>,
    options: usize,
) -> Result<Option<Waited>> {
    retry(|| match pidfd.map(|pidfd| call::waitid_pidfd(pidfd, options)) {
        // Linux 5.3 supports pidfds but cannot wait with them, and a filter may reject such a wait.
        None => call::waitid_pid(pid, options),
        Some(Err(errno)) if call::is_missing(errno) => call::waitid_pid(pid, options),
        Some(result) => result,
    })
}

/// Returns whether `status` reports an end, rather than a stop or a continuation.
pub(in crate::process) fn is_end(status: ExitStatus) -> bool {
    status.code().is_some() || status.signal().is_some()
}

/// Returns how the process of a pidfd ended, for use when `waitid` has no status.
///
/// `waitid` no longer finds a child shortly before the pidfd receives the status and reports `HUP`. This
/// function waits for that moment. A process that is not a child may stay a zombie for any time, so this
/// function does not wait for its parent.
pub(in crate::process) fn end_by_pidfd(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    match call::pidfd_get_info_exit(pidfd) {
        Ok(Ok(status)) => return Some(ExitStatus::from_raw(status)),
        Ok(Err(parent)) if parent == call::getpid() => {
            let mut fds = [PollFd::from_borrowed_fd(pidfd, PollEvents::IN)];
            let _ = poll(&mut fds, Some(Duration::ZERO));
            if fds[0].revents().contains(PollEvents::IN) {
                fds = [PollFd::from_borrowed_fd(pidfd, PollEvents::empty())];
                let _ = poll(&mut fds, Some(Duration::from_secs(1)));
            }
        }
        // The process ceased to exist during the call, or is outside this pid namespace.
        Err(Errno::ESRCH) => {}
        _ => return None,
    }
    call::pidfd_get_info_exit(pidfd).ok()?.ok().map(ExitStatus::from_raw)
}
