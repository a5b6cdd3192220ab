//! What the writer and the reader have in common: a side of the ring, a hold on its memory, and the two
//! pipes by which sleepers are woken.

use super::memory::Pair;
use super::ring::{Bell, Heard, Side};
use crate::event::{PollEvents, PollFd, poll_until};
use crate::fd::{AsFd, BorrowedFd};
use crate::io::write_nosignal;
use crate::pipe::{self, Capacity};
use crate::sys::call;
use crate::wait::Spin;
use crate::{Deadline, Errno, PipeFlags, PipeReader, PipeWriter, Result};
use core::sync::atomic::Ordering;

/// One half of a pair, in one process.
#[derive(Debug)]
pub(super) struct Half<const WRITER: bool> {
    pub(super) side: Side<WRITER>,
    pub(super) pair: Pair,
    pub(super) bell: Pipes,
    pub(super) spin: Spin,
}

impl<const WRITER: bool> Half<WRITER> {
    /// `Ok(true)` if this is the first use by this process.
    #[inline]
    pub(super) fn claim(&mut self) -> Result<bool> {
        self.side.claim(&self.pair, self.pair.mark(WRITER))
    }

    /// Whether this process uses the half, and not one from which it was forked.
    #[inline]
    pub(super) fn is_used_here(&self) -> bool {
        self.pair.mark(WRITER).load(Ordering::Relaxed) != 0
    }

    /// Waits until the other side has come to this position; `false` if it never will.
    #[inline]
    pub(super) fn wait(&mut self, needed: usize, until: Option<Deadline>) -> Result<bool> {
        let Self { side, pair, bell, spin } = self;
        let mut there = || if side.is_there(pair, needed)? { Ok(()) } else { Err(Errno::EAGAIN) };
        // What is wrong with the memory is found by the next look as well.
        if there().is_ok() || (until.is_some() && spin.ask(there).is_ok()) {
            side.disarm(pair, bell);
            return Ok(true);
        }
        side.wait(pair, bell, needed, until)
    }

    /// Gives the half up: for good, or for another process to use.
    pub(super) fn leave(&mut self, closed: bool) {
        self.side.leave(&self.pair, self.pair.mark(WRITER), &self.bell, closed);
    }
}

impl<const WRITER: bool> Drop for Half<WRITER> {
    fn drop(&mut self) {
        self.leave(true);
    }
}

/// The ends that a half has of the two pipes. All are nonblocking, and nobody else's: so neither wakes a
/// half anybody who does not listen, nor does a bell wait.
#[derive(Debug)]
pub(super) struct Pipes {
    ring: PipeWriter,
    hear: PipeReader,
}

impl Pipes {
    /// One for each half.
    pub(super) fn new() -> Result<[Self; 2]> {
        let (reader, writer) = pipe::internal(PipeFlags::NONBLOCK)?;
        let (other_reader, other_writer) = pipe::internal(PipeFlags::NONBLOCK)?;
        for pipe in [&writer, &other_writer] {
            // One byte is enough, and a user's pipes may have so many pages and no more.
            let _ = pipe.set_capacity(Capacity::Bytes(pipe::PIPE_BUF));
        }
        Ok([Self { ring: writer, hear: other_reader }, Self { ring: other_writer, hear: reader }])
    }
}

impl Bell for Pipes {
    fn ring(&self) -> Result<()> {
        loop {
            match write_nosignal(&self.ring, &[0]) {
                Err(Errno::EINTR) => {}
                // A full pipe rings already.
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn hear(&self, until: Option<Deadline>) -> Result<Heard> {
        if let Some(deadline) = until {
            let deadline = (deadline != Deadline::NEVER).then_some(deadline);
            if poll_until(&mut [PollFd::new(&self.hear, PollEvents::IN)], deadline)? == 0 {
                return Err(Errno::ETIMEDOUT);
            }
        }
        loop {
            match call::read(self.hear.as_fd(), &mut [0; 64]) {
                Ok(0) => return Ok(Heard::Gone),
                Ok(_) => return Ok(Heard::Rung),
                Err(Errno::EINTR) => {}
                // Another process that has this end was quicker.
                Err(Errno::EAGAIN) if until.is_some() => return Ok(Heard::Rung),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Pipes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hear.as_fd()
    }
}
