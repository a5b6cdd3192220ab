//! Waiting for the other side of a pipe: in the kernel, or for a moment by asking again and again.
//!
//! A process that sleeps until its peer is ready pays for being woken: some microseconds, and tens
//! of them where the processor has gone to sleep as well. In that time a pipe could have moved a
//! hundred KiB. So where the peer runs on another processor it pays to ask for a moment before
//! sleeping. Where the two share one, it does not: the peer cannot get ready while this one asks.

use crate::event::{Backoff, PollEvents, PollFd, poll, poll_until};
use crate::fd::BorrowedFd;
use crate::{Deadline, Errno, Result};
use core::time::Duration;

/// How to wait for the other side of a pipe: for [`PipeReader::with_wait`](crate::PipeReader::with_wait)
/// and [`PipeWriter::with_wait`](crate::PipeWriter::with_wait), a message
/// [`Receiver`](crate::message::Receiver), a [`Transfer`](crate::transfer::Transfer), and the chunks of [`chunk`](mod@crate::chunk).
/// Nonblocking ends never wait.
///
/// `Adaptive` pays most where both sides have little to do for each byte: twice the speed and more. It
/// is not the default, because it takes processor time, and because two processes that sleep and wake
/// each other are more often put on one processor, which is the better place for them when all are
/// busy with other work. Held in place, it cost nothing there (0.98 to 1.06 of `Block`); left to the
/// scheduler, both ways differed from themselves by more than from each other.
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
    /// Sleep in the kernel at once: no processor time is spent on waiting.
    #[default]
    Block,
    /// Ask again and again for a bounded moment, some tens of microseconds, and then sleep.
    ///
    /// Each time that this was in vain the next waits are spent asleep, twice as many as after the
    /// last failure, and each success halves them. Costs processor time that another process could
    /// have used.
    ///
    /// Where this thread may run on one processor only, transfers and chunks always sleep. Reads and
    /// writes of ends and channels find out: the other side may be pinned to another one.
    Adaptive,
}

/// How often it asks before it gives up. One time takes between a tenth of a microsecond and one.
const ASKS: u32 = 128;

/// After many failures, this many waits are spent asleep before it tries again.
const MAX_PENALTY: u32 = 1 << 10;

/// The adaptive policy for one end of one pipe.
#[derive(Debug)]
pub(crate) struct Spin {
    on: bool,
    /// How many of the next waits are to be spent asleep.
    skip: u32,
    /// How many there were after the last failure.
    penalty: u32,
}

impl Spin {
    #[cfg(feature = "transfer")]
    pub(crate) fn new(wait: Wait) -> Self {
        // Where the kernel does not tell there are more processors than it was asked for.
        let alone = || crate::sys::call::sched_getaffinity() == Ok(1);
        Self { on: wait == Wait::Adaptive && !alone(), skip: 0, penalty: 0 }
    }

    /// Where it is not known that the other side runs on the processors of this one.
    #[cfg(feature = "event")]
    pub(crate) const fn with_peer_anywhere(wait: Wait) -> Self {
        Self { on: matches!(wait, Wait::Adaptive), skip: 0, penalty: 0 }
    }

    #[cfg(feature = "transfer")]
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Waits for a moment, actively, if that has paid lately. Whatever it finds, the caller makes its
    /// blocking call next: another process may have been quicker.
    pub(crate) fn wait(&mut self, fd: BorrowedFd<'_>, events: PollEvents) {
        if !self.begins() {
            return;
        }
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        for _ in 0..ASKS {
            if matches!(poll(&mut fds, Some(Duration::ZERO)), Ok(1..)) {
                return self.paid();
            }
            core::hint::spin_loop();
        }
        self.failed();
    }

    /// Asks until the answer is another than `EAGAIN`: again and again for a moment, if that has paid
    /// lately. After `EAGAIN` the caller makes its blocking call.
    #[cfg(feature = "event")]
    #[inline]
    pub(crate) fn ask<T>(&mut self, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        if !self.begins() {
            return Err(Errno::EAGAIN);
        }
        for turn in 0..ASKS {
            match ask() {
                Err(Errno::EAGAIN) => core::hint::spin_loop(),
                answer => {
                    if turn > 0 {
                        self.paid();
                    }
                    return answer;
                }
            }
        }
        self.failed();
        Err(Errno::EAGAIN)
    }

    /// Returns whether to poll before this wait. If so, the caller reports [`paid`](Self::paid) or
    /// [`failed`](Self::failed).
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

/// Attempts until the answer is another than `EAGAIN` or `EINTR`, and waits in between until `fd` is ready.
/// `ETIMEDOUT` if the deadline passes, `ECANCELED` if it is cancelled.
pub(crate) fn attempt_until<T>(
    fd: BorrowedFd<'_>,
    events: PollEvents,
    deadline: Option<Deadline<'_>>,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    let mut backoff = Backoff::default();
    loop {
        match attempt() {
            Err(Errno::EINTR) if deadline.is_none() => continue,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            answer => return answer,
        }
        if let Some(passed) = deadline.filter(|deadline| deadline.has_passed()) {
            return Err(passed.errno());
        }
        // `poll` also finds a file ready whose pages are still to be read from the disk.
        backoff.pause(deadline);
        poll_until(&mut fds, deadline)?;
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
        // The waits 1, 3, 6, 11, 20, 37 and 70; the next would be the 135th.
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
    fn spin_asks_back_off_and_come_back() {
        let mut spin = Spin { on: true, skip: 0, penalty: 0 };
        let mut asked = 0;
        for _ in 0..100 {
            let answer: Result<()> = spin.ask(|| {
                asked += 1;
                Err(Errno::EAGAIN)
            });
            assert_eq!(answer, Err(Errno::EAGAIN));
        }
        assert_eq!((asked, spin.penalty), (7 * ASKS, 64));
        // What is there at once says nothing about waiting; what comes after a moment does.
        spin.skip = 0;
        assert_eq!((spin.ask(|| Ok(1)), spin.penalty), (Ok(1), 64));
        let mut turns = [Err(Errno::EAGAIN), Err(Errno::EPIPE)].into_iter();
        let answer: Result<()> = spin.ask(|| turns.next().unwrap());
        assert_eq!((answer, spin.penalty), (Err(Errno::EPIPE), 32));
    }
}
