//! Deadlines: points in time on the clock that neither jumps nor can be set.

pub(crate) use crate::sys::abi::Timespec;

use crate::Cancel;
use crate::sys::call;
use core::time::Duration;

/// A point in time, after which a call gives up. Unlike a timeout it stays what it is however often a
/// call is interrupted and begun anew.
///
/// On `CLOCK_MONOTONIC`, as [`std::time::Instant`], from which it can be made. Another thread can end it earlier:
/// [`or_cancelled`](Self::or_cancelled).
///
/// # A peer that holds the pipe
///
/// The kernel locks a pipe while it copies to or from it. A peer that writes from memory which faults
/// slowly (userfaultfd, a file of a FUSE file system) holds that lock for as long as it likes. Until then
/// no call on that pipe returns, nonblocking or not, and `SIGKILL` may have to wait as well. So a deadline
/// bounds the wait for bytes or for room. It does not bound a call on a pipe whose peer is hostile.
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
    /// On the clock; `Duration::MAX` is never.
    pub(crate) at: Duration,
    pub(crate) cancel: Option<&'c Cancel>,
}

impl Deadline<'static> {
    /// The deadline that does not come.
    pub const NEVER: Self = Self { at: Duration::MAX, cancel: None };

    /// The deadline that is `timeout` away from now. One that is too far away is never.
    pub fn after(timeout: Duration) -> Self {
        Self { at: now().saturating_add(timeout), cancel: None }
    }

    /// The deadline that is here: what does not wait is done, and no more.
    pub fn now() -> Self {
        Self::after(Duration::ZERO)
    }
}

impl Deadline<'_> {
    /// The time until then, or zero: also if it is cancelled.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.is_cancelled() { Duration::ZERO } else { self.at.saturating_sub(now()) }
    }

    /// Whether it has passed by the clock.
    #[cfg(feature = "event")]
    pub(crate) fn is_over(&self) -> bool {
        self.at <= now()
    }

    /// For a call of the kernel, which takes `None` for no end.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.at != Duration::MAX || self.is_cancelled()).then(|| self.remaining())
    }

    /// The earlier time of both, with this cancel, or else the other one's.
    #[cfg(all(feature = "process", feature = "std"))]
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        Self { at: self.at.min(other.at), cancel: self.cancel.or(other.cancel) }
    }

    /// Whether it has passed, or is cancelled.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// The time on the clock. It exists on every Linux and asking for it does not fail.
fn now() -> Duration {
    call::clock_gettime().map_or(Duration::ZERO, Duration::from)
}

impl From<Duration> for Timespec {
    /// More seconds than it holds are for ever.
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
