//! Cancels a wait from another thread.

use crate::event::poll_beside;
use crate::fd::{AsFd, OwnedFd, lends_its_descriptor};
use crate::sys::{abi, call};
use crate::{Deadline, Errno, Result};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// Cancels waits from another thread or a signal handler. The cancellation affects every wait whose
/// [`Deadline`] was [combined](Deadline::or_cancelled) with this value. A cancelled value stays cancelled.
///
/// A cancelled call behaves as if its deadline had passed, but fails with
/// [`ECANCELED`](crate::Errno::ECANCELED) rather than `ETIMEDOUT`. The error reports the same byte counts as
/// an error after a timeout. Functions such as [`poll_deadline`](crate::event::poll_deadline) and
/// [`Child::wait_deadline`](crate::process::Child::wait_deadline) report a passed deadline with an empty
/// result. If the deadline is cancelled, these functions fail with `ECANCELED` unless they have a result to
/// return. As with a passed deadline, a call still returns data that is ready, so no data is lost. A cancel
/// ends only calls that wait, with two exceptions. A [`Transfer`](crate::transfer::Transfer) and a
/// [`Fanout`](crate::transfer::Fanout) end even if they never wait.
///
/// A `Cancel` is an `eventfd` and a flag. Each wait polls the `eventfd` together with the descriptors that
/// the call waits for, so no wakeup is lost. If `RLIMIT_NOFILE` is lower than the number of these
/// descriptors, `poll` fails with [`EINVAL`](crate::Errno::EINVAL), and so does the call. `Cancel` implements
/// [`AsFd`], so that event loops of other crates can wait for a cancel. The descriptor is readable once the
/// value is cancelled. Do not read from it.
///
/// # After a fork
///
/// A forked child's copy of a `Cancel` shares the `eventfd` but has a separate flag. A cancel in either
/// process therefore ends the waits in both processes. In the other process,
/// [`is_cancelled`](Self::is_cancelled) becomes true once a wait has detected the cancel or has reached its
/// deadline. In that process, a `Transfer` or `Fanout` that never waits does not detect the cancel. A child
/// that must not be affected must create a separate value.
///
/// # Examples
///
/// ```
/// use rawpipe::event::{PollEvents, PollFd, poll_deadline};
/// use rawpipe::{Cancel, Deadline, Errno};
/// use std::thread;
///
/// let (cancel, (reader, _writer)) = (Cancel::new()?, rawpipe::pipe()?);
/// thread::scope(|scope| {
///     let waiting = scope.spawn(|| {
///         let fds = &mut [PollFd::new(&reader, PollEvents::IN)];
///         poll_deadline(fds, Deadline::NEVER.or_cancelled(&cancel))
///     });
///     cancel.cancel();
///     assert_eq!(waiting.join().unwrap(), Err(Errno::ECANCELED));
/// });
/// # Ok::<(), Errno>(())
/// ```
///
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
#[derive(Debug)]
pub struct Cancel(OwnedFd, AtomicBool);

impl Cancel {
    /// Creates a value that is not cancelled. Its descriptor is close-on-exec.
    ///
    /// # Errors
    ///
    /// - [`EMFILE`](crate::Errno::EMFILE) if the process has reached its limit of descriptors.
    /// - [`ENFILE`](crate::Errno::ENFILE) if the system has reached its limit of open files.
    /// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel does not have enough memory.
    #[doc(alias = "eventfd2")]
    pub fn new() -> Result<Self> {
        let eventfd = call::eventfd2(0, abi::O_CLOEXEC | abi::O_NONBLOCK)?;
        Ok(Self(eventfd, AtomicBool::new(false)))
    }

    /// Cancels this value. Waits in progress end immediately, except that a read of data that is ready still
    /// returns the data, and a `Transfer` first moves at most one chunk. Later waits end without sleeping.
    /// Repeated calls have no effect.
    ///
    /// This function makes one `write` and one atomic store, so a signal handler may call it.
    pub fn cancel(&self) {
        self.1.store(true, Ordering::Release);
        // The `eventfd` is nonblocking. If the counter is full (after 2⁶⁴ − 2 calls), the `eventfd` is
        // already readable.
        let _ = call::write(self.as_fd(), &1_u64.to_ne_bytes());
    }

    /// Returns whether this value is cancelled, as far as this process has detected. Makes no system call.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    /// Returns the number of the caller's ready descriptors: `count`, less one if `found` is set. `count` is
    /// the number of descriptors that a wait has found ready, and `found` is set if this value's `eventfd` is
    /// one of them. Fails with `ECANCELED` if the result would be 0 and this value is cancelled.
    pub(crate) fn caller_count(&self, count: usize, found: bool) -> Result<usize> {
        // Another process may have cancelled this value, without setting this process's flag.
        self.1.fetch_or(found, Ordering::AcqRel);
        match count - usize::from(found) {
            0 if self.is_cancelled() => Err(Errno::ECANCELED),
            count => Ok(count),
        }
    }
}

lends_its_descriptor!(Cancel);

/// The cancellation of a deadline: see [`Cancel`].
impl<'c> Deadline<'c> {
    /// Returns this deadline, changed so that it also passes when `cancel` is cancelled. `cancel` replaces an
    /// earlier [`Cancel`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::{Cancel, Deadline};
    /// use std::time::Duration;
    ///
    /// let cancel = Cancel::new()?;
    /// let deadline = Deadline::after(Duration::from_secs(60)).or_cancelled(&cancel);
    /// assert!(!deadline.has_passed());
    /// cancel.cancel();
    /// assert!(deadline.has_passed() && deadline.is_cancelled());
    /// assert_eq!(deadline.remaining(), Duration::ZERO);
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    pub const fn or_cancelled<'d>(self, cancel: &'d Cancel) -> Deadline<'d> {
        Deadline { at: self.at, cancel: Some(cancel) }
    }

    /// Returns whether this deadline has a [`Cancel`] that is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }

    /// Returns the error of a call whose wait this deadline has ended: `ECANCELED` or `ETIMEDOUT`. Polls the
    /// [`Cancel`], because another process may have cancelled it since the last wait.
    pub(crate) fn errno(&self) -> Errno {
        let polled = self.cancel.map(|_| poll_beside(self.cancel, &mut [], Some(Duration::ZERO)));
        let cancelled = self.is_cancelled() || polled == Some(Err(Errno::ECANCELED));
        if cancelled { Errno::ECANCELED } else { Errno::ETIMEDOUT }
    }
}
