//! Process descriptors (pidfds), each of which refers to one process.

use super::child::wait::end_by_pidfd;
use super::{Child, ExitStatus, OnDrop, Signal};
use crate::errno::retry;
use crate::event::{Backoff, PollEvents, PollFd, poll_until};
use crate::fd::{AsFd, OwnedFd, RawFd, lends_its_descriptor};
use crate::sys::{abi, call};
use crate::{Deadline, Errno, Result};

/// A descriptor that refers to one process and never to another.
///
/// The process need not be a child. For a child, [`Child::try_clone_pidfd`] returns a `Pidfd` as a second
/// handle. One thread can wait with the [`Child`] while another thread kills the child with the `Pidfd`.
/// Dropping a `Pidfd` does not affect the process.
///
/// # Reused process ids
///
/// After a process has been waited for, the kernel may reuse its id. A descriptor always refers to the
/// original process, so the methods of a `Pidfd` never reach another process. After the original process has
/// been waited for, [`kill`](Self::kill) has no effect. From then on, the wait methods fail or, on Linux 6.15
/// and later, return the status. [`send_signal`](Self::send_signal) and [`getfd`](Self::getfd) fail with
/// [`ESRCH`](Errno::ESRCH).
///
/// Only [`open`](Self::open) accepts an id. If the id belongs to a child of this process that was not waited
/// for, it is reliable, because the kernel does not reuse such an id. Any other id may belong to a new
/// process by the time of the call.
///
/// # Limits
///
/// - This type has no fallback. Creating a `Pidfd` fails if the kernel has no pidfds (before Linux 5.3), if a
///   filter rejects the call, or if no descriptor is free. A [`Child`] then falls back to the process id.
/// - Waiting needs Linux 5.4.
/// - A `Pidfd` does not protect a child from `wait_any`, which also collects a child that has a `Pidfd` but
///   no [`Child`].
///
/// # Examples
///
/// ```
/// use rawpipe::process::{self, Signal};
/// use std::thread;
///
/// let (reader, _writer) = rawpipe::pipe()?;
/// // SAFETY: the child only reads from a pipe.
/// let mut child = unsafe { process::fork_with(|| reader.read(&mut [0]).is_err().into()) }?;
/// let killer = child.try_clone_pidfd()?;
/// let other = thread::spawn(move || killer.kill());
/// assert_eq!(child.wait()?.signal(), Some(Signal::KILL));
/// assert_eq!(other.join().unwrap(), Ok(()));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), since Linux 5.3
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

lends_its_descriptor!(Pidfd);

impl Pidfd {
    /// Opens a descriptor for the process with this id. The descriptor is close-on-exec, and
    /// [`poll`](crate::event::poll()) reports the descriptor as readable when the process has ended.
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the process does not exist.
    /// - [`EINVAL`](Errno::EINVAL) if the id is 0.
    /// - [`EINVAL`](Errno::EINVAL) or, on newer kernels, [`ENOENT`](Errno::ENOENT) if the id belongs to a
    ///   thread other than the first thread of its process.
    /// - [`EMFILE`](Errno::EMFILE) or [`ENFILE`](Errno::ENFILE) if no descriptor is free.
    /// - [`ENOSYS`](Errno::ENOSYS) before Linux 5.3.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::process::{self, Pidfd};
    ///
    /// let this = Pidfd::open(process::getpid())?;
    /// assert_eq!(this.try_wait(), Err(Errno::ECHILD)); // this process is not its own child
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), since Linux 5.3
    #[doc(alias = "pidfd_open")]
    pub fn open(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
        call::pidfd_open(pid).map(Self)
    }

    /// Sends the process a signal. If the process has ended but has not been waited for, the call succeeds
    /// and has no effect.
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the process has ended and was waited for.
    /// - [`EPERM`](Errno::EPERM) if this process may not send signals to the other process.
    ///
    /// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html), since Linux 5.1
    #[doc(alias = "pidfd_send_signal")]
    pub fn send_signal(&self, signal: Signal) -> Result<()> {
        call::pidfd_send_signal(self.as_fd(), signal.as_raw(), 0)
    }

    /// Kills the process with `SIGKILL`. Also succeeds if the process has already ended, even if it was
    /// waited for.
    ///
    /// # Errors
    ///
    /// - [`EPERM`](Errno::EPERM) if this process may not send signals to the other process.
    ///
    /// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html), since Linux 5.1
    pub fn kill(&self) -> Result<()> {
        match self.send_signal(Signal::KILL) {
            Err(Errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Waits until the process has ended, and returns how it ended. The process must be a child of this
    /// process. Retries on `EINTR`.
    ///
    /// If this process traces the child, the wait also ends when the child stops, and returns a status that
    /// reports the stop.
    ///
    /// The first wait through any handle collects the status. Before Linux 6.15, a later wait fails with
    /// `ECHILD`. On Linux 6.15 and later, a later wait returns the same status, because the descriptor keeps
    /// it.
    ///
    /// # Errors
    ///
    /// - [`ECHILD`](Errno::ECHILD) if the process is not a child of this process, or if its status was
    ///   already collected or discarded. On Linux 6.15 and later, once the process no longer exists, the wait
    ///   returns the status instead.
    /// - [`EAGAIN`](Errno::EAGAIN) if the descriptor is nonblocking and the child is still running.
    /// - [`EINVAL`](Errno::EINVAL) before Linux 5.4.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process;
    ///
    /// // SAFETY: the child does nothing but return a number.
    /// let pidfd = unsafe { process::fork_with(|| 7) }?.into_pidfd()?;
    /// assert_eq!(pidfd.wait()?.code(), Some(7));
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), `P_PIDFD` since Linux 5.4
    pub fn wait(&self) -> Result<ExitStatus> {
        self.look(0)?.ok_or(Errno::ECHILD)
    }

    /// Returns how the process ended, or `None` if the process is still running. The process must be a
    /// child of this process. Does not wait.
    ///
    /// # Errors
    ///
    /// Any error of [`wait`](Self::wait).
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), `P_PIDFD` since Linux 5.4
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.look(abi::WNOHANG)
    }

    /// Waits until the process has ended, or until `deadline` passes. The process must be a child of this
    /// process. Returns `None` if the process is still running at the deadline. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before the process has
    ///   ended.
    /// - Any error of [`wait`](Self::wait).
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), `P_PIDFD` since Linux 5.4
    pub fn wait_deadline(&self, deadline: Deadline<'_>) -> Result<Option<ExitStatus>> {
        let mut backoff = Backoff::default();
        loop {
            // The clock is read first, so that an end before the deadline is reported.
            let reached = deadline.is_reached();
            match self.try_wait()? {
                None if !reached? => {}
                result => return Ok(result),
            }
            backoff.pause(Some(deadline));
            // The loop checks the process again after any result.
            let _ = poll_until(&mut [PollFd::new(self, PollEvents::IN)], Some(deadline));
        }
    }

    /// Duplicates the descriptor that has this number in the process, and returns the close-on-exec
    /// duplicate.
    ///
    /// # Errors
    ///
    /// - [`EBADF`](Errno::EBADF) if the process has no such descriptor.
    /// - [`EPERM`](Errno::EPERM) if this process may not trace the other process
    ///   ([ptrace(2)](https://man7.org/linux/man-pages/man2/ptrace.2.html), `PTRACE_MODE_ATTACH_REALCREDS`).
    /// - [`ESRCH`](Errno::ESRCH) if the process has ended.
    /// - [`EMFILE`](Errno::EMFILE) if this process has no free descriptor.
    /// - [`ENOSYS`](Errno::ENOSYS) before Linux 5.6.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::fd::AsRawFd;
    /// use rawpipe::process::{self, Pidfd};
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let copy = Pidfd::open(process::getpid())?.getfd(writer.as_raw_fd())?;
    /// drop(writer);
    /// rawpipe::write(&copy, b"still open")?;
    /// assert_eq!(reader.available()?, 10);
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [pidfd_getfd(2)](https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html), since Linux 5.6
    #[doc(alias = "pidfd_getfd")]
    pub fn getfd(&self, number: RawFd) -> Result<OwnedFd> {
        call::pidfd_getfd(self.as_fd(), number)
    }

    fn look(&self, options: usize) -> Result<Option<ExitStatus>> {
        let waited = retry(|| call::waitid_pidfd(self.as_fd(), abi::WEXITED | options));
        match waited {
            Err(Errno::ECHILD) => end_by_pidfd(self.as_fd()).map(Some).ok_or(Errno::ECHILD),
            waited => Ok(waited?.map(|(info, _)| ExitStatus::new(&info))),
        }
    }
}

impl Child {
    /// Returns a second handle to the child. With this handle, another thread can kill the child while this
    /// thread waits for it.
    ///
    /// # Errors
    ///
    /// - [`ESRCH`](Errno::ESRCH) if the child was waited for, and this handle has no [`pidfd`](Self::pidfd).
    /// - [`EMFILE`](Errno::EMFILE) or [`ENFILE`](Errno::ENFILE) if no descriptor is free.
    /// - [`ENOSYS`](Errno::ENOSYS) before Linux 5.3.
    ///
    /// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), since Linux 5.3
    pub fn try_clone_pidfd(&self) -> Result<Pidfd> {
        let gone = |errno| if errno == Errno::ECHILD { Errno::ESRCH } else { errno };
        match self.pidfd() {
            Some(pidfd) => call::fcntl_dupfd_cloexec(pidfd, 0),
            None if self.end.is_some() => Err(Errno::ESRCH),
            None => call::pidfd_open_child(self.pid).map_err(gone),
        }
        .map(Pidfd)
    }

    /// Converts the handle into its descriptor. The policy of [`on_drop`](Self::on_drop) no longer applies:
    /// dropping the `Pidfd` only closes the descriptor. All pipes to the child that are still in the handle
    /// are closed.
    ///
    /// # Errors
    ///
    /// Any error of [`try_clone_pidfd`](Self::try_clone_pidfd). If the handle has a [`pidfd`](Self::pidfd),
    /// this call never fails. After an error the handle is dropped, and the policy of `on_drop` applies.
    ///
    /// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), since Linux 5.3
    pub fn into_pidfd(mut self) -> Result<Pidfd> {
        let pidfd = match self.pidfd.take() {
            Some(pidfd) => Pidfd(pidfd),
            None => self.try_clone_pidfd()?,
        };
        self.on_drop = OnDrop::Leave;
        Ok(pidfd)
    }
}
