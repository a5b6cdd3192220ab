//! Waits for the peer of a pipe, either immediately in the kernel, or after polling for a short time.
//!
//! Waking a sleeping process costs a few microseconds, or tens of microseconds if its processor has gone
//! idle. A pipe can move 100 KiB in that time. If the peer runs on another processor, polling for a short
//! time before sleeping is therefore often faster than sleeping immediately. If the peer runs on the same
//! processor, polling is slower than sleeping, because the peer cannot become ready while this process polls.

#[cfg(feature = "event")]
use crate::event::{Backoff, poll_until};
use crate::event::{PollEvents, PollFd, poll};
use crate::fd::BorrowedFd;
#[cfg(feature = "event")]
use crate::{Deadline, Errno, Result};
use core::time::Duration;

/// A policy for waiting for the peer of a pipe. The policy can be set for a pipe end
/// ([`PipeReader::with_wait`](crate::PipeReader::with_wait),
/// [`PipeWriter::with_wait`](crate::PipeWriter::with_wait)), for a message
/// [`Receiver`](crate::message::Receiver), for a [`Transfer`](crate::transfer::Transfer), and for the chunks
/// of [`chunk`](mod@crate::chunk). A nonblocking end never waits, except in a `Receiver` or a `Transfer`.
///
/// `Adaptive` helps most if both peers do little work for each byte. The throughput can then be more than
/// twice that of `Block`. `Adaptive` is not the default, because it uses processor time. With `Block`, the
/// scheduler also places the two processes on one processor more often than with `Adaptive`. When all
/// processors are busy with other work, the two processes are faster on one processor than on two. On busy
/// processors, and with each process pinned to one processor, `Adaptive` reached 0.98 to 1.06 times the
/// throughput of `Block`. Without pinning, the differences between repeated runs of one policy were larger
/// than the difference between the two policies.
///
/// # Examples
///
/// ```
/// use rawpipe::Wait;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write(b"soon")?;
/// let mut reader = reader.with_wait(Wait::Adaptive);
/// assert_eq!(reader.read(&mut [0; 8])?, 4);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// Sleeps in the kernel immediately, without using processor time while waiting.
    #[default]
    Block,
    /// Polls for a bounded time, between about 10 and 130 microseconds, and then sleeps.
    ///
    /// If one wait polls without success, a number of later waits sleep without polling. That number doubles
    /// with each failure, up to 1024, and halves with each success. Polling uses processor time that another
    /// process could have used.
    ///
    /// If this thread may run on only one processor, transfers and chunks always sleep. Pipe ends and message
    /// receivers poll even then, because the peer may be pinned to another processor.
    Adaptive,
}

/// The number of polls after which a wait sleeps. One poll takes between 0.1 and 1 microsecond.
const POLLS: u32 = 128;

/// The maximum number of waits that sleep without polling after a failure.
const MAX_PENALTY: u32 = 1 << 10;

/// The adaptive policy for one end of one pipe.
#[derive(Debug)]
pub(crate) struct Spin {
    on: bool,
    /// The number of upcoming waits that sleep without polling.
    skip: u32,
    /// The value of `skip` after the last failure, halved by each success since then.
    penalty: u32,
}

impl Spin {
    #[cfg(feature = "transfer")]
    pub(crate) fn new(wait: Wait) -> Self {
        // If `sched_getaffinity` fails with `EINVAL`, the mask is too small, so the machine has many
        // processors.
        let single = || crate::sys::call::sched_getaffinity() == Ok(1);
        Self { on: wait == Wait::Adaptive && !single(), skip: 0, penalty: 0 }
    }

    /// Creates the policy for a peer that may run on another processor even if this thread may run on only
    /// one.
    #[cfg(feature = "event")]
    pub(crate) const fn with_peer_anywhere(wait: Wait) -> Self {
        Self { on: matches!(wait, Wait::Adaptive), skip: 0, penalty: 0 }
    }

    #[cfg(feature = "transfer")]
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Polls `fd` for a short time. Does not poll if the policy is `Block` or `skip` is not 0. The caller
    /// still makes its blocking call next, because another process may have taken the data.
    pub(crate) fn wait(&mut self, fd: BorrowedFd<'_>, events: PollEvents) {
        if !self.begins() {
            return;
        }
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        for _ in 0..POLLS {
            if matches!(poll(&mut fds, Some(Duration::ZERO)), Ok(1..)) {
                return self.paid();
            }
            core::hint::spin_loop();
        }
        self.failed();
    }

    /// Repeats `attempt` for a short time while it fails with `EAGAIN`. Makes no attempt if the policy
    /// is `Block` or `skip` is not 0. If this function returns `EAGAIN`, the caller makes its blocking
    /// call.
    #[cfg(feature = "event")]
    #[inline]
    pub(crate) fn attempt<T>(&mut self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        if !self.begins() {
            return Err(Errno::EAGAIN);
        }
        for turn in 0..POLLS {
            match attempt() {
                Err(Errno::EAGAIN) => core::hint::spin_loop(),
                result => {
                    if turn > 0 {
                        self.paid();
                    }
                    return result;
                }
            }
        }
        self.failed();
        Err(Errno::EAGAIN)
    }

    /// Returns whether to poll before this wait, and counts the wait in `skip`. If this function returns
    /// `true`, the caller must poll and then call [`paid`](Self::paid) or [`failed`](Self::failed).
    pub(crate) fn begins(&mut self) -> bool {
        let skipped = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        self.on && !skipped
    }

    pub(crate) fn paid(&mut self) {
        self.penalty /= 2;
    }

    pub(crate) fn failed(&mut self) {
        self.penalty = (2 * self.penalty).clamp(1, MAX_PENALTY);
        self.skip = self.penalty;
    }
}

/// Repeats `attempt` while it fails with `EAGAIN` or `EINTR`, and waits between attempts until `fd` is ready.
/// Fails with `ETIMEDOUT` if the deadline passes, and with `ECANCELED` if the deadline is cancelled.
#[cfg(feature = "event")]
pub(crate) fn attempt_until<T>(
    fd: BorrowedFd<'_>,
    events: PollEvents,
    deadline: Option<Deadline<'_>>,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    let mut backoff = Backoff::default();
    // A wait that has timed out shows that the deadline has passed, even if a filter rejects the call that
    // reads the clock.
    let mut timed_out = false;
    let mut passed = None;
    loop {
        match attempt() {
            Err(Errno::EINTR) if deadline.is_none() => continue,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
        if let Some(deadline) = passed {
            return Err(Deadline::errno(deadline));
        }
        passed = deadline.as_ref().filter(|deadline| timed_out || deadline.has_passed());
        if passed.is_some() {
            continue; // the last attempt may have been before the deadline, or interrupted
        }
        // `poll` reports a file as ready even if its pages must still be read from the disk. The pause
        // prevents a busy loop.
        backoff.pause(deadline);
        timed_out = poll_until(&mut fds, deadline)? == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::AsFd;

    #[test]
    fn spin_backs_off_and_comes_back() {
        let (reader, writer) = crate::pipe().unwrap();
        let mut spin = Spin { on: true, skip: 0, penalty: 0 };
        let mut failures = 0;
        for _ in 0..100 {
            let before = spin.penalty;
            spin.wait(reader.as_fd(), PollEvents::IN);
            failures += u32::from(spin.penalty != before);
        }
        // Only the waits 1, 3, 6, 11, 20, 37 and 70 poll. The next wait that polls would be wait 135.
        assert_eq!((failures, spin.penalty), (7, 64));
        spin.skip = 0;
        writer.write(b"x").unwrap();
        for _ in 0..7 {
            spin.wait(reader.as_fd(), PollEvents::IN);
        }
        assert_eq!((spin.skip, spin.penalty), (0, 0));
    }

    #[cfg(feature = "transfer")]
    #[test]
    fn spin_is_off_for_block() {
        assert!(!Spin::new(Wait::Block).on);
    }

    #[cfg(feature = "event")]
    #[test]
    fn spin_attempts_back_off_and_come_back() {
        let mut spin = Spin { on: true, skip: 0, penalty: 0 };
        let mut attempts = 0;
        for _ in 0..100 {
            let result: Result<()> = spin.attempt(|| {
                attempts += 1;
                Err(Errno::EAGAIN)
            });
            assert_eq!(result, Err(Errno::EAGAIN));
        }
        assert_eq!((attempts, spin.penalty), (7 * POLLS, 64));
        // A result of the first attempt does not count as successful polling, but a later result does.
        spin.skip = 0;
        assert_eq!((spin.attempt(|| Ok(1)), spin.penalty), (Ok(1), 64));
        let mut turns = [Err(Errno::EAGAIN), Err(Errno::EPIPE)].into_iter();
        let result: Result<()> = spin.attempt(|| turns.next().unwrap());
        assert_eq!((result, spin.penalty), (Err(Errno::EPIPE), 32));
    }

    /// An attempt may be interrupted, or come before the deadline, although the call could succeed.
    #[cfg(feature = "event")]
    #[test]
    fn attempt_until_tries_once_more_after_the_deadline() {
        let (reader, _writer) = crate::pipe().unwrap();
        let deadline = Some(Deadline::now());
        for failure in [Errno::EINTR, Errno::EAGAIN] {
            for (second, wanted) in [(Ok(7), Ok(7)), (Err(failure), Err(Errno::ETIMEDOUT))] {
                let mut answers = [Err(failure), second].into_iter();
                let attempt = || answers.next().unwrap();
                let result = attempt_until(reader.as_fd(), PollEvents::IN, deadline, attempt);
                assert_eq!((result, answers.len()), (wanted, 0));
            }
        }
    }
}
