//! Deadlines: points in time on a clock that does not jump and cannot be set.

pub(crate) use crate::sys::abi::Timespec;

use crate::sys::call;
use crate::{Cancel, Errno, Result};
use core::time::Duration;

/// A point in time at which a call stops waiting. Unlike a timeout, a deadline does not move when a call is
/// interrupted and repeated.
///
/// The clock is `CLOCK_MONOTONIC`, which [`std::time::Instant`] also uses. A deadline can be created from an
/// `Instant`. Another thread can end the wait before the deadline: see [`or_cancelled`](Self::or_cancelled).
///
/// # A peer that holds the pipe
///
/// The kernel locks a pipe while it copies to or from the pipe. A peer may hold that lock for any length of
/// time:
///
/// - An ordinary peer holds the lock during a blocking [`splice`](crate::splice::splice()) between the pipe
///   and a silent or full descriptor, such as a socket or terminal. A [`transfer`](crate::transfer) does not
///   hold the lock while it waits for such a descriptor.
/// - A hostile peer reads into memory whose page faults are slow, or writes from such memory. Examples are
///   mapped files of a FUSE file system, and memory whose page faults userfaultfd handles.
///
/// While the peer holds the lock, no read or write of that pipe returns, even on a nonblocking end. `SIGKILL`
/// may have to wait as well. A deadline therefore limits the wait for bytes or for room, but not the wait for
/// the lock.
///
/// # Examples
///
/// ```
/// use rawpipe::Deadline;
/// use std::time::{Duration, Instant};
///
/// let deadline = Deadline::after(Duration::from_secs(3));
/// assert!(!deadline.has_passed());
/// assert!(deadline.remaining() <= Duration::from_secs(3));
/// assert!(Deadline::now().has_passed() && Deadline::from(Instant::now()).has_passed());
/// ```
///
/// [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html)
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Deadline<'c> {
    /// The time on `CLOCK_MONOTONIC`, or `Duration::MAX` for a deadline that never passes.
    pub(crate) at: Duration,
    pub(crate) cancel: Option<&'c Cancel>,
}

impl Deadline<'static> {
    /// The deadline that never passes.
    pub const NEVER: Self = Self { at: Duration::MAX, cancel: None };

    /// Returns a deadline that is `timeout` from now. If `timeout` is too large, the deadline never passes.
    pub fn after(timeout: Duration) -> Self {
        Self { at: now().saturating_add(timeout), cancel: None }
    }

    /// Returns a deadline that has already passed. A call with this deadline does not wait, except [for the
    /// lock of a pipe](Deadline#a-peer-that-holds-the-pipe).
    pub fn now() -> Self {
        Self::after(Duration::ZERO)
    }
}

impl Deadline<'_> {
    /// Returns the time until the deadline, or zero if it has passed or is cancelled.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.is_cancelled() { Duration::ZERO } else { self.at.saturating_sub(now()) }
    }

    /// Returns whether the deadline has passed. Fails with `ECANCELED` if the deadline is cancelled.
    ///
    /// A caller that asked [`has_passed`](Self::has_passed) and [`is_cancelled`](Self::is_cancelled) one after
    /// the other could take a cancel that arrives in between for a timeout.
    pub(crate) fn is_reached(&self) -> Result<bool> {
        let over = self.at <= now();
        let cancelled = self.is_cancelled() || over && self.errno() == Errno::ECANCELED;
        if cancelled { Err(Errno::ECANCELED) } else { Ok(over) }
    }

    /// Returns whether the clock has reached the deadline.
    #[cfg(feature = "event")]
    pub(crate) fn is_over(&self) -> bool {
        self.at <= now()
    }

    /// Returns the timeout for a system call, or `None` if the call may wait without limit.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.at != Duration::MAX || self.is_cancelled()).then(|| self.remaining())
    }

    /// Returns the earlier of the two deadlines. The result has the [`Cancel`](crate::Cancel) of `self` or,
    /// if `self` has none, the `Cancel` of `other`.
    #[cfg(all(feature = "process", feature = "std"))]
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        Self { at: self.at.min(other.at), cancel: self.cancel.or(other.cancel) }
    }

    /// Returns whether the deadline has passed or is cancelled.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// Returns the time on the clock, or 0 if a filter rejects the call. Every Linux kernel has this clock.
fn now() -> Duration {
    call::clock_gettime().map_or(Duration::ZERO, Duration::from)
}

impl From<Duration> for Timespec {
    /// Converts a duration. A number of seconds that does not fit in `tv_sec` becomes `i64::MAX`, a time that
    /// the clock never reaches.
    fn from(time: Duration) -> Self {
        let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self { tv_sec, tv_nsec: i64::from(time.subsec_nanos()) }
    }
}

impl From<Timespec> for Duration {
    fn from(time: Timespec) -> Self {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Self::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

#[cfg(feature = "std")]
impl From<std::time::Instant> for Deadline<'static> {
    fn from(instant: std::time::Instant) -> Self {
        Self::after(instant.saturating_duration_since(std::time::Instant::now()))
    }
}
