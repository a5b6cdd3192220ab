//! Waiting for a child.

use super::Child;
use crate::errno::retry;
use crate::event::{Backoff, PollEvents, PollFd, poll_until};
use crate::fd::BorrowedFd;
use crate::process::ExitStatus;
use crate::sys::abi;
use crate::sys::call::{self, Waited};
use crate::{Deadline, Errno, Result};

impl Child {
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
    #[doc(alias("WUNTRACED", "WCONTINUED"))]
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
    /// As [`wait`](Self::wait), and
    ///
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and the child still runs.
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
            match self.try_wait()? {
                None if !deadline.has_passed() => self.pause(Some(deadline), &mut backoff),
                None if deadline.is_cancelled() => return Err(Errno::ECANCELED),
                answer => return Ok(answer),
            }
        }
    }

    /// Waits for the end by poll, which does not report stops. Without a pidfd it only pauses, and also
    /// where `poll` reports the end and `waitid` does not, since another process traces the child.
    fn pause(&self, deadline: Option<Deadline<'_>>, backoff: &mut Backoff) {
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
    pub(in crate::process) fn ask(&mut self, options: usize) -> Result<Option<ExitStatus>> {
        if let Some(end) = self.end {
            return end.map(Some);
        }
        let end = match self.waitid(abi::WEXITED | options) {
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
            // So far it was only looked at. If another waiter is quicker, the status is known by now.
            match self.waitid((abi::WEXITED | options) & !abi::WNOWAIT) {
                Ok(_) | Err(Errno::ECHILD) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.end = is_end.then_some(end);
        #[cfg(feature = "process")]
        if is_end {
            // After the wait: a new child with this number has a claim of its own.
            self.claim = None;
        }
        end.map(Some)
    }

    /// Whether this process may still wait for it. A forked copy of this handle may be in a process that has
    /// got the number of the first one, and a number of the child's may be another child's by now.
    pub(in crate::process) fn is_a_child(&self) -> bool {
        !matches!(self.waitid(abi::PEEK), Err(Errno::ECHILD))
    }

    pub(in crate::process) fn waitid(&self, options: usize) -> Result<Option<Waited>> {
        waitid(self.pid, self.pidfd(), options)
    }
}

/// Retries on `EINTR`.
pub(in crate::process) fn waitid(
    pid: i32,
    pidfd: Option<BorrowedFd<'_>>,
    options: usize,
) -> Result<Option<Waited>> {
    retry(|| match pidfd.map(|pidfd| call::waitid_pidfd(pidfd, options)) {
        // Linux 5.3 has pidfds, and does not wait for them; nor does a filter that does not
        // know it.
        None => call::waitid_pid(pid, options),
        Some(Err(errno)) if call::is_missing(errno) => call::waitid_pid(pid, options),
        Some(answer) => answer,
    })
}

/// Whether this is an end, rather than a stop or a continuation.
pub(in crate::process) fn is_end(status: ExitStatus) -> bool {
    status.code().is_some() || status.signal().is_some()
}

/// How a process has ended, where `waitid` has nothing to say.
pub(in crate::process) fn end_by_pidfd(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    call::pidfd_get_info_exit(pidfd).ok().flatten().map(ExitStatus::from_raw)
}
