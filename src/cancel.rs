//! Ending a wait from another thread.

use crate::fd::{AsFd, OwnedFd, lends_its_descriptor};
use crate::sys::{abi, call};
use crate::{Deadline, Errno, Result};
use core::sync::atomic::{AtomicBool, Ordering};

/// Ends waits from another thread or a signal handler: all whose [`Deadline`] was
/// [combined](Deadline::or_cancelled) with this value. Once cancelled it stays so.
///
/// A cancelled call does what it does when its deadline passes, and accounts for the same bytes, but fails
/// with [`ECANCELED`](crate::Errno::ECANCELED) instead of `ETIMEDOUT`. A function that reports the deadline
/// by an empty result, such as [`poll_deadline`](crate::event::poll_deadline) or
/// [`Child::wait_deadline`](crate::process::Child::wait_deadline), also fails with `ECANCELED` if it has
/// found nothing. As with a deadline that has passed, what is ready is still taken, so the next call on the
/// same descriptor loses nothing. Only a [`Transfer`](crate::transfer::Transfer) also ends if it never waits.
///
/// It is an `eventfd` and a flag. The wait polls the `eventfd` together with the descriptor itself, so that
/// no wakeup is lost and nothing is polled periodically. It is [`AsFd`], readable once cancelled, for event
/// loops of other crates; do not read from it.
///
/// # After a fork
///
/// The copy in the child shares the `eventfd`, and has its own flag. So a cancel in either process ends the
/// waits in both. In the other process [`is_cancelled`](Self::is_cancelled) becomes true when a wait has seen
/// it. A `Transfer` that never waits does not see it. A child that must not be affected creates its own
/// value.
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
    /// - [`ENFILE`](crate::Errno::ENFILE) if the system has.
    /// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel does not have enough memory.
    #[doc(alias = "eventfd2")]
    pub fn new() -> Result<Self> {
        let eventfd = call::eventfd2(0, abi::O_CLOEXEC | abi::O_NONBLOCK)?;
        Ok(Self(eventfd, AtomicBool::new(false)))
    }

    /// Cancels: waits that have begun end now, later ones do not begin. Repeating it has no effect.
    ///
    /// Makes one `write` and stores an atomic, so that a signal handler may call it.
    pub fn cancel(&self) {
        self.1.store(true, Ordering::Release);
        // It is nonblocking. If the counter is full, which takes 2⁶⁴ − 2 calls, it is readable.
        let _ = call::write(self.as_fd(), &1_u64.to_ne_bytes());
    }

    /// Returns whether it is cancelled. Makes no system call.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    /// Returns how many of the `count` descriptors that a wait found ready are the caller's. `found` is
    /// whether the one of this value is among them. Fails with `ECANCELED` if none is the caller's, and this
    /// value is cancelled.
    pub(crate) fn caller_count(&self, count: usize, found: bool) -> Result<usize> {
        // Also if another process has cancelled it.
        self.1.fetch_or(found, Ordering::AcqRel);
        match count - usize::from(found) {
            0 if self.is_cancelled() => Err(Errno::ECANCELED),
            count => Ok(count),
        }
    }
}

lends_its_descriptor!(Cancel);

/// Cancelling a deadline: see [`Cancel`].
impl<'c> Deadline<'c> {
    /// Returns this deadline, which then also passes when `cancel` is cancelled. `cancel` replaces an earlier one.
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

    /// Returns whether it has a [`Cancel`] that is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }

    /// Returns the error of a call that has timed out.
    #[cfg(any(feature = "event", feature = "transfer"))]
    pub(crate) fn errno(&self) -> Errno {
        if self.is_cancelled() { Errno::ECANCELED } else { Errno::ETIMEDOUT }
    }
}
