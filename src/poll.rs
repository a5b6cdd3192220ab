//! Waiting until descriptors are ready.
//!
//! # What a pipe answers
//!
//! | end | situation | events |
//! |---|---|---|
//! | read | bytes in it | `IN` |
//! | read | no writer left, bytes in it | `IN`, `HUP`: read on until 0 |
//! | read | no writer left, empty | `HUP` |
//! | write | a slot (one page) is free | `OUT` |
//! | write | no reader left | `OUT`, `ERR` |
//!
//! `ERR`, `HUP` and `NVAL` are found whether asked for or not, so a loop that ignores them spins.
//! After `OUT` a blocking write of more than [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes may still
//! wait.

pub use crate::abi::PollFd;
pub use crate::flags::PollEvents;

use crate::abi::Timespec;
use crate::fd::{AsFd, BorrowedFd};
use crate::{Result, call};
use core::time::Duration;

impl<'fd> PollFd<'fd> {
    /// An entry that waits for `events` on a descriptor.
    pub fn new(fd: &'fd impl AsFd, events: PollEvents) -> Self {
        Self::from_borrowed_fd(fd.as_fd(), events)
    }

    /// As [`new`](Self::new), for a descriptor that is borrowed already.
    #[must_use]
    pub const fn from_borrowed_fd(fd: BorrowedFd<'fd>, events: PollEvents) -> Self {
        Self { fd, events, revents: PollEvents::empty() }
    }

    /// Watches another descriptor from the next call on, and keeps the events.
    pub fn set_fd(&mut self, fd: &'fd impl AsFd) {
        self.fd = fd.as_fd();
    }

    /// Waits for other events from the next call on.
    pub const fn set_events(&mut self, events: PollEvents) {
        self.events = events;
    }

    /// What is waited for.
    #[must_use]
    pub const fn events(&self) -> PollEvents {
        self.events
    }

    /// What the last call found.
    #[must_use]
    pub const fn revents(&self) -> PollEvents {
        self.revents
    }
}

impl AsFd for PollFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// Waits until one of the descriptors is ready, at most for `timeout` (`None`: for ever), and returns
/// how many are; 0 is a timeout.
///
/// A `timeout` of zero asks without waiting. A signal handler ends the wait.
///
/// # Errors
///
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran. Nothing was found.
/// - [`EINVAL`](crate::Errno::EINVAL): more descriptors than `RLIMIT_NOFILE`.
/// - [`ENOMEM`](crate::Errno::ENOMEM): the kernel has not enough memory.
///
/// # Examples
///
/// ```
/// use rawpipe::poll::{PollEvents, PollFd, poll};
/// use std::time::Duration;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut fds = [PollFd::new(&reader, PollEvents::IN), PollFd::new(&writer, PollEvents::OUT)];
/// assert_eq!(poll(&mut fds, Some(Duration::ZERO))?, 1);
/// assert_eq!(fds[1].revents(), PollEvents::OUT);
///
/// writer.write(b"x")?;
/// assert_eq!(poll(&mut fds, None)?, 2);
/// assert_eq!(fds[0].revents(), PollEvents::IN);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
#[doc(alias = "ppoll")]
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize> {
    // The kernel writes the time left into its argument: this copy.
    let mut timeout = timeout.map(|timeout| Timespec {
        // More than this is for ever.
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    call::ppoll(fds, timeout.as_mut())
}
