//! Waits for a list of descriptors with `poll`.

pub use crate::sys::abi::flags::PollEvents;
pub use crate::sys::abi::poll_fd::PollFd;

use crate::errno::retry;
use crate::fd::{AsFd, BorrowedFd};
use crate::sys::abi::Timespec;
use crate::sys::call;
use crate::{Cancel, Deadline, Errno, Result};
use core::time::Duration;

/// Interprets the events that were found.
impl PollEvents {
    /// Returns whether a read would return immediately, with bytes, end of file or an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::event::{PollEvents, PollFd, poll};
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// writer.write(b"last words")?;
    /// drop(writer);
    /// let mut fds = [PollFd::new(&reader, PollEvents::IN)];
    /// poll(&mut fds, None)?;
    /// let found = fds[0].revents();
    /// assert!(found.is_readable() && found.is_read_closed());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.intersects(Self::IN.union(Self::HUP).union(Self::ERR))
    }

    /// Returns whether a write of up to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes would return immediately,
    /// because the pipe has room or the write fails.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.intersects(Self::OUT.union(Self::ERR))
    }

    /// Returns whether the pipe of a read end has no open write end. The bytes in the pipe can still be read.
    /// After the last of these bytes, the reader reaches end of file.
    #[must_use]
    pub const fn is_read_closed(self) -> bool {
        self.contains(Self::HUP)
    }

    /// Returns whether the pipe of a write end has no open read end. A write then fails with
    /// [`EPIPE`](crate::Errno::EPIPE).
    #[must_use]
    pub const fn is_write_closed(self) -> bool {
        self.contains(Self::ERR)
    }

    /// Returns whether the descriptor is not open.
    #[must_use]
    pub const fn is_invalid(self) -> bool {
        self.contains(Self::NVAL)
    }
}

impl<'fd> PollFd<'fd> {
    /// Creates an entry that waits for `events` on a descriptor.
    pub fn new(fd: &'fd impl AsFd, events: PollEvents) -> Self {
        Self::from_borrowed_fd(fd.as_fd(), events)
    }

    /// Creates an entry as [`new`](Self::new) does, for a descriptor that is already borrowed.
    #[must_use]
    pub const fn from_borrowed_fd(fd: BorrowedFd<'fd>, events: PollEvents) -> Self {
        Self { fd, events: events.to_poll(), revents: 0 }
    }

    /// Replaces the descriptor for later calls and keeps the requested events.
    pub fn set_fd(&mut self, fd: &'fd impl AsFd) {
        self.fd = fd.as_fd();
    }

    /// Replaces the requested events for later calls.
    pub const fn set_events(&mut self, events: PollEvents) {
        self.events = events.to_poll();
    }

    /// Returns the requested events.
    pub const fn events(&self) -> PollEvents {
        PollEvents::from_poll(self.events)
    }

    /// Returns the events that the last wait found.
    pub const fn revents(&self) -> PollEvents {
        PollEvents::from_poll(self.revents)
    }
}

impl AsFd for PollFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// Waits at most `timeout` (`None`: indefinitely) for one of the descriptors to be ready. Returns the number
/// of ready descriptors. A result of 0 means a timeout.
///
/// A `timeout` of zero checks without waiting. A signal handler ends the wait.
///
/// # Errors
///
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran and no descriptor was ready. [`poll_deadline`]
///   retries.
/// - [`EINVAL`](crate::Errno::EINVAL) if the list has more descriptors than `RLIMIT_NOFILE` allows.
/// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel does not have enough memory.
///
/// # Examples
///
/// ```
/// use rawpipe::event::{PollEvents, PollFd, poll};
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
    // The kernel writes the remaining time into this copy of the timeout.
    call::ppoll(fds, timeout.map(Timespec::from).as_mut())
}

/// Waits as [`poll`] does, but only until `deadline`. Retries on `EINTR`.
///
/// # Errors
///
/// Fails as [`poll`] does, but never with [`EINTR`](crate::Errno::EINTR). Also fails with
///
/// - [`ECANCELED`](crate::Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and no descriptor
///   is ready.
/// - [`ENOMEM`](crate::Errno::ENOMEM) if the deadline has a [`Cancel`] and the list has more than 7
///   descriptors, but no memory is available to copy the list. Without feature `alloc`, a call with a
///   `Cancel` and more than 7 descriptors always fails.
///
/// # Examples
///
/// ```
/// use rawpipe::event::{PollEvents, PollFd, poll_deadline};
/// use rawpipe::Deadline;
/// use std::time::Duration;
///
/// let (reader, _writer) = rawpipe::pipe()?;
/// let deadline = Deadline::after(Duration::from_millis(5));
/// assert_eq!(poll_deadline(&mut [PollFd::new(&reader, PollEvents::IN)], deadline)?, 0);
/// assert!(deadline.has_passed());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
pub fn poll_deadline(fds: &mut [PollFd<'_>], deadline: Deadline<'_>) -> Result<usize> {
    poll_until(fds, Some(deadline))
}

/// Waits until one of `fds` is ready or the deadline passes. Waits indefinitely if `deadline` is `None`.
/// Fails with `ECANCELED` if the deadline is cancelled and none of `fds` is ready.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Deadline<'_>>) -> Result<usize> {
    let cancel = deadline.and_then(|deadline| deadline.cancel);
    retry(|| poll_beside(cancel, fds, deadline.and_then(|deadline| deadline.timeout())))
}

/// Waits as [`poll`] does, and fails with `ECANCELED` as [`poll_until`] does.
pub(crate) fn poll_beside(
    cancel: Option<&Cancel>,
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> Result<usize> {
    let Some(cancel) = cancel else { return poll(fds, timeout) };
    let own = PollFd::new(cancel, PollEvents::IN);
    let mut few = [own; 8];
    #[cfg(feature = "alloc")]
    let mut many = alloc::vec::Vec::new();
    let all = match few.get_mut(..=fds.len()) {
        Some(all) => all,
        #[cfg(feature = "alloc")]
        None => {
            many.try_reserve_exact(fds.len() + 1).map_err(|_| Errno::ENOMEM)?;
            many.resize(fds.len() + 1, own);
            &mut many[..]
        }
        #[cfg(not(feature = "alloc"))]
        None => return Err(Errno::ENOMEM),
    };
    all[..fds.len()].copy_from_slice(fds);
    let count = poll(all, timeout)?;
    fds.iter_mut().zip(&*all).for_each(|(fd, found)| fd.revents = found.revents);
    cancel.caller_count(count, !all[fds.len()].revents().is_empty())
}

/// Prevents a busy loop in code that tries a call and then polls, if `poll` reports a descriptor as ready but
/// the call still returns `EAGAIN`. Another process may have taken the data first. A socket with an entry in
/// its error queue also stays ready (`ERR`) until a process reads the queue.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    turns: u32,
}

impl Backoff {
    /// Sleeps before a poll, from the fourth poll on. The caller must call this function before each poll.
    /// The first sleep lasts 0.1 ms, and each later sleep lasts twice as long as the previous one, up to 6.4
    /// ms. A sleep ends early when the deadline passes or is cancelled. Returns whether this function has
    /// slept.
    pub(crate) fn pause(&mut self, deadline: Option<Deadline<'_>>) -> bool {
        let Some(time) = self.next() else { return false };
        let time = Some(deadline.map_or(time, |deadline| time.min(deadline.remaining())));
        // If `RLIMIT_NOFILE` is 0, `poll` rejects every list that is not empty. If the deadline has a
        // `Cancel`, the list contains the descriptor of that `Cancel`.
        if poll_beside(deadline.and_then(|by| by.cancel), &mut [], time) == Err(Errno::EINVAL) {
            let _ = poll(&mut [], time);
        }
        true
    }

    /// Counts a poll, and returns the time that the caller must sleep before that poll, or `None`
    /// for the first three polls.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        let turn = self.turns.checked_sub(3);
        self.turns = self.turns.saturating_add(1);
        turn.map(|turn| Duration::from_micros(100 << turn.min(6)))
    }
}
