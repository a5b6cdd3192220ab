//! Blocks signals, waits for a signal until a deadline, and provides a descriptor from which signals can be
//! read.

use super::PollEvents;
use crate::errno::retry;
use crate::fd::{AsFd, OwnedFd, lends_its_descriptor};
use crate::process::ExitStatus;
use crate::signal::{Signal, SignalSet};
use crate::sys::abi::signal_info::{SI_QUEUE, SI_TKILL, SI_USER};
use crate::sys::abi::{self, SigInfo, Timespec};
use crate::sys::call;
use crate::wait::attempt_until;
use crate::{Deadline, Errno, Result};
use core::marker::PhantomData;

/// Blocks signals, so that a program can wait for them.
impl SignalSet {
    /// Blocks these signals for the calling thread until the guard is dropped. Other blocked signals stay
    /// blocked.
    ///
    /// A blocked signal stays pending until [`wait_signal`] or [`SignalFd`] consumes it, or until a thread
    /// unblocks it. **A signal for the process can be delivered to any thread that does not block it**, so
    /// block the signal in all threads. Call this function in `main` before the first thread is started. New
    /// threads inherit the mask, and so do children of [`fork`](crate::process::fork()) and programs that a
    /// forked child starts with `exec`. A child of `Spawn` or `Command` has an empty mask, unless the caller
    /// sets another mask for the child.
    ///
    /// `SIGKILL` and `SIGSTOP` cannot be blocked. Signals 32 and 33, which the C library uses between its
    /// threads, are left unchanged.
    ///
    /// # Errors
    ///
    /// On Linux, this call fails only if a system-call filter returns an error, such as
    /// [`EPERM`](Errno::EPERM).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Deadline;
    /// use rawpipe::event::wait_signal;
    /// use rawpipe::process::{self, Signal, SignalSet};
    ///
    /// let ends = SignalSet::empty().with(Signal::TERM);
    /// let (reader, writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only makes system calls.
    /// let mut child = unsafe {
    ///     process::fork_with(|| {
    ///         let _guard = ends.block();
    ///         let _ = writer.write(b"ready");
    ///         match wait_signal(ends, Deadline::NEVER) {
    ///             Ok(Some(info)) if info.signal == Signal::TERM => 0,
    ///             _ => 1,
    ///         }
    ///     })
    /// }?;
    /// reader.read(&mut [0; 5])?;
    /// child.send_signal(Signal::TERM)?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [sigprocmask(2)](https://man7.org/linux/man-pages/man2/sigprocmask.2.html)
    #[doc(alias("pthread_sigmask", "SIG_BLOCK"))]
    pub fn block(self) -> Result<SignalGuard> {
        let set = without_c_library_signals(self);
        let old = call::rt_sigprocmask(abi::SIG_BLOCK, &set.0)?;
        Ok(SignalGuard { old: SignalSet(old), of_this_thread: PhantomData })
    }
}

/// Keeps signals blocked for the thread that called [`SignalSet::block`]. Dropping the guard restores the
/// mask that was in effect before that call. Drop several guards in the reverse order of their creation, as
/// happens at the end of a scope.
///
/// When the guard is dropped, each pending signal that the restored mask does not block is delivered
/// immediately. The process then ends if the signal's effect is to end the process.
#[must_use = "dropping it restores the mask"]
#[derive(Debug)]
pub struct SignalGuard {
    old: SignalSet,
    /// A mask belongs to one thread, so a guard must not move to another thread.
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        let _ = call::rt_sigprocmask(abi::SIG_SETMASK, &self.old.0);
    }
}

/// Describes a signal that was consumed: its number, its sender, and for `SIGCHLD` the child's change of
/// state.
///
/// Standard signals are merged: while one signal is pending, a second signal with the same number is lost.
/// The information then describes the first signal. Therefore, after `SIGCHLD`, wait for *all* children that
/// have ended, not only for the child in this value. Real-time signals are queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalInfo {
    /// The signal.
    pub signal: Signal,
    /// The kernel's `si_code`: 0 for `kill`, −1 for `sigqueue`, −6 for a signal to one thread. A positive
    /// code means that the kernel itself has sent the signal. A sender that calls `rt_sigqueueinfo(2)`
    /// directly can choose `pid`, `uid`, and any negative code except −6.
    pub code: i32,
    /// The process id of the sender or, for `SIGCHLD`, of the child. The field is `None` if the kernel has
    /// sent a signal other than `SIGCHLD`, for example because of a terminal key or a timer. The field is
    /// also `None` if the sender has no id in this process's pid namespace.
    pub pid: Option<u32>,
    /// The real user id of the process that `pid` identifies.
    pub uid: Option<u32>,
    /// The child's change of state (ended, stopped or continued) if the signal is a `SIGCHLD` that the kernel
    /// has sent. The caller must still wait for the child.
    pub child_status: Option<ExitStatus>,
}

impl SignalInfo {
    fn new(info: &SigInfo) -> Self {
        // The kernel sends only valid signal numbers.
        let signal = Signal::from_raw(info.si_signo).unwrap_or(Signal::SYS);
        let code = info.si_code();
        let of_child =
            signal == Signal::CHLD && (abi::CLD_EXITED..=abi::CLD_CONTINUED).contains(&code);
        let sent = of_child || matches!(code, SI_USER | SI_QUEUE | SI_TKILL);
        let pid = u32::try_from(info.si_pid).ok().filter(|pid| sent && *pid != 0);
        let child_status = of_child.then(|| ExitStatus::new(info));
        Self { signal, code, pid, uid: pid.map(|_| info.si_uid), child_status }
    }
}

/// Waits for a signal in `set` and consumes it, or returns `None` if no such signal has arrived by
/// `deadline`. The threads of this process must [block](SignalSet::block) the signals in `set`. Retries on
/// `EINTR`.
///
/// A pending signal is consumed without waiting. If several signals are pending, signals for this thread
/// precede signals for the process. Within each of these groups, signals for faults, such as `SIGSEGV`,
/// precede all others. Apart from that, lower numbers precede higher numbers. A signal in `set` that is not
/// blocked may either be consumed or have its usual effect.
///
/// While `SIGCHLD` is ignored (`SIG_IGN`), the kernel does not send this signal, and the exit status of a
/// child cannot be collected.
///
/// Signals 32 and 33, which the C library uses between its threads, are not consumed.
///
/// # Errors
///
/// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and no signal is pending.
/// - The errors of [`SignalFd::new`] if the deadline has a [`Cancel`](crate::Cancel), because the wait then
///   needs a descriptor.
///
/// # Examples
///
/// ```
/// use rawpipe::Deadline;
/// use rawpipe::event::wait_signal;
/// use rawpipe::process::{Signal, SignalSet};
/// use std::time::Duration;
///
/// let window = SignalSet::empty().with(Signal::WINCH);
/// let _guard = window.block()?;
/// assert!(wait_signal(window, Deadline::after(Duration::from_millis(5)))?.is_none());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [sigtimedwait(2)](https://man7.org/linux/man-pages/man2/sigtimedwait.2.html)
#[doc(alias("sigwaitinfo", "sigtimedwait", "sigwait"))]
pub fn wait_signal(set: SignalSet, deadline: Deadline<'_>) -> Result<Option<SignalInfo>> {
    let set = without_c_library_signals(set);
    // `rt_sigtimedwait` cannot wait for the descriptor of a `Cancel`.
    if deadline.cancel.is_some() {
        return match SignalFd::new(set)?.read_deadline(deadline) {
            Err(Errno::ETIMEDOUT) => Ok(None),
            result => result.map(Some),
        };
    }
    let timeout = || deadline.timeout().map(Timespec::from);
    match retry(|| call::rt_sigtimedwait(&set.0, timeout().as_ref())) {
        Err(Errno::EAGAIN) => Ok(None),
        result => Ok(Some(SignalInfo::new(&result?))),
    }
}

/// Returns the set without signals 32 and 33, which the C library uses between its threads. If one of these
/// signals is consumed or blocked, a call such as `setuid` hangs.
fn without_c_library_signals(set: SignalSet) -> SignalSet {
    [32, 33].into_iter().filter_map(Signal::from_raw).fold(set, SignalSet::without)
}

/// A nonblocking, close-on-exec descriptor from which signals can be read. With [`poll`](super::poll()),
/// [`Epoll`](super::Epoll) or an event loop, a process can wait for signals and for its pipes at the same
/// time. Dropping a `SignalFd` closes its descriptor.
///
/// [Block](SignalSet::block) the signals in all threads, because a signal that has been delivered to a thread
/// can no longer be read from the descriptor. A signal that this descriptor returns is no longer pending.
/// [`SignalInfo`] describes which signals are merged. While `SIGCHLD` is ignored (`SIG_IGN`), the kernel does
/// not send this signal.
///
/// A read returns signals **of the reading process and thread**, not those of the process and thread that
/// created the descriptor. After a `fork`, the child reads its own signals. An `epoll` reports the signals of
/// the process that added the descriptor.
///
/// # Examples
///
/// A supervisor waits for the output and the end of its child, and for a request to stop:
///
/// ```
/// use rawpipe::event::{PollEvents, PollFd, SignalFd, poll};
/// use rawpipe::process::{self, Signal, SignalSet};
///
/// # // In a process of its own: a test has other threads, which do not block these signals.
/// # let mut alone = unsafe { process::fork_with(|| supervise().map_or(1, |()| 0)) }?;
/// # assert!(alone.wait()?.success());
/// # fn supervise() -> rawpipe::Result<()> {
/// let watched: SignalSet = [Signal::CHLD, Signal::TERM].into_iter().collect();
/// let _guard = watched.block()?;
/// let signals = SignalFd::new(watched)?;
/// let (output, writer) = rawpipe::pipe()?;
/// // SAFETY: the child only writes to a pipe.
/// let mut child = unsafe { process::fork_with(move || writer.write(b"bye").is_err().into()) }?;
///
/// let mut fds = [PollFd::new(&output, PollEvents::IN), PollFd::new(&signals, PollEvents::IN)];
/// while !fds[1].revents().is_readable() {
///     poll(&mut fds, None)?;
/// }
/// let info = signals.try_read()?;
/// assert_eq!((info.signal, info.pid), (Signal::CHLD, Some(child.id())));
/// assert_eq!(info.child_status, Some(child.wait()?));
/// # Ok(())
/// # }
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html)
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Creates a descriptor for the signals of `set`.
    ///
    /// The descriptor never receives signals 32 and 33, which the C library uses between its threads.
    ///
    /// # Errors
    ///
    /// - [`EMFILE`](Errno::EMFILE) if the process has reached its limit of descriptors.
    /// - [`ENFILE`](Errno::ENFILE) if the system has reached its limit of open files.
    /// - [`ENOMEM`](Errno::ENOMEM) if the kernel does not have enough memory.
    ///
    /// [signalfd4(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html)
    #[doc(alias = "signalfd4")]
    pub fn new(set: SignalSet) -> Result<Self> {
        call::signalfd4(&without_c_library_signals(set).0).map(Self)
    }

    /// Waits for a signal and consumes it. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// A caller cannot cause an error, because the descriptor is open and the call waits instead of failing
    /// with `EAGAIN`.
    pub fn read(&self) -> Result<SignalInfo> {
        attempt_until(self.as_fd(), PollEvents::IN, None, || self.try_read())
    }

    /// Consumes a pending signal, without waiting.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if no signal is pending.
    pub fn try_read(&self) -> Result<SignalInfo> {
        call::read_signalfd(self.as_fd()).map(|info| SignalInfo::new(&info))
    }

    /// Waits for a signal until `deadline`, and consumes the signal if one arrives. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) if the deadline has passed and no signal is pending.
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and no signal is
    ///   pending.
    pub fn read_deadline(&self, deadline: Deadline<'_>) -> Result<SignalInfo> {
        attempt_until(self.as_fd(), PollEvents::IN, Some(deadline), || self.try_read())
    }
}

lends_its_descriptor!(SignalFd);
