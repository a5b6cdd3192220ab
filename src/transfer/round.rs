//! One round of a fan-out: what is consumed from the source, and given to all sinks.

use super::error::TransferError;
use super::{Side, Transfer, Transferred};
use crate::fd::{AsFd, BorrowedFd};
use crate::pipe::{self, Capacity};
use crate::sys::abi::MAX_RW_COUNT;
use crate::sys::abi::flags::PollEvents;
use crate::sys::map::Map;
use crate::sys::{call, page};
use crate::wait::attempt_until;
use crate::{Errno, PipeFlags, PipeReader, PipeWriter, Result};
use core::iter::once;
use core::ops::{ControlFlow, Range};

/// A source that `tee` can read from: itself if it is a pipe, else a pipe that it is moved into first, one
/// fill at a time.
pub(super) struct Source<'fd> {
    from: BorrowedFd<'fd>,
    own: Option<(PipeReader, PipeWriter)>,
    /// How much there is in our own pipe.
    pub(super) in_own: usize,
    /// Why there will be no more.
    last: Option<TransferError>,
}

impl<'fd> Source<'fd> {
    pub(super) fn new(from: BorrowedFd<'fd>) -> Result<Self> {
        let mut source = Self { from, own: None, in_own: 0, last: None };
        if pipe::capacity(from).is_err() {
            let (reader, writer) = pipe::internal(PipeFlags::empty())?;
            let _ = writer.set_capacity(Capacity::Max);
            source.own = Some((reader, writer));
        }
        Ok(source)
    }

    /// What `tee` reads from.
    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.from, |(reader, _)| reader.as_fd())
    }

    /// Fills our own pipe, if there is one and it is empty. Returns whether there is something to give; of a
    /// source that is a pipe that is not known.
    pub(super) fn fill(&mut self, room: usize) -> core::result::Result<bool, TransferError> {
        let Some((_, writer)) = self.own.as_ref().filter(|_| self.in_own == 0) else {
            return Ok(true);
        };
        if self.last.is_none() {
            // One call that moves something: what is more than the pipe holds would wait for ever.
            let stop = &mut |done| match done {
                0 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            };
            let transfer = Transfer::new().chunk(room.max(page::size())).progress(stop);
            let moved = transfer.run_own(Side::Sink, self.from, writer.as_fd());
            let bytes = moved.as_ref().map_or_else(TransferError::bytes, Transferred::bytes);
            self.in_own = usize::try_from(bytes).unwrap_or(room);
            self.last = moved.err();
        }
        match self.last.take_if(|_| self.in_own == 0) {
            Some(error) => Err(error),
            None => Ok(self.in_own > 0),
        }
    }

    /// Gives the same bytes to all of these pipes, which are empty and have the same capacity.
    pub(super) fn give<'a>(
        &mut self,
        pipes: impl DoubleEndedIterator<Item = &'a PipeWriter> + Clone,
    ) -> Round {
        let round = round(self.pipe(), pipes);
        let in_hand = round.pages.as_ref().map_or(0, |(_, range)| range.len());
        self.in_own = self.in_own.saturating_sub(round.len + in_hand);
        round
    }

    /// What is still in our own pipe.
    pub(super) fn into_held(self) -> Option<(PipeReader, usize)> {
        self.own.map(|(reader, _)| (reader, self.in_own))
    }
}

/// What a round has put into the pipes of the sinks.
#[derive(Default)]
pub(super) struct Round {
    /// The most that one of them was given.
    pub(super) most: usize,
    /// What all of them have, and what was consumed. 0: the source has ended, or has failed.
    pub(super) len: usize,
    /// Why it is less than `most`, if an error is the reason.
    pub(super) stopped: Option<Errno>,
    /// What was consumed, and not all of them have.
    pub(super) pages: Option<(Map, Range<usize>)>,
}

/// Puts the same bytes into all of these pipes, and consumes them from the source.
fn round<'a>(
    source: BorrowedFd<'_>,
    all: impl DoubleEndedIterator<Item = &'a PipeWriter> + Clone,
) -> Round {
    let mut pipes = all.clone();
    let mut round = Round::default();
    let Some(last) = pipes.next_back() else { return round };
    let mut wanted = MAX_RW_COUNT;
    for writer in pipes {
        // The first says how much it is. The others have as much room, and what was there still is.
        match wait_and(source, || call::tee(source, writer.as_fd(), wanted, 0)) {
            Ok(0) => return round,
            Ok(count) => wanted = count,
            Err(errno) if call::cannot_move(errno) && round.most == 0 => {
                return copy(source, MAX_RW_COUNT, all);
            }
            Err(errno) => return Round { stopped: Some(errno), ..round },
        }
        round.most = round.most.max(wanted);
    }
    while round.len < wanted {
        let (to, rest) = (last.as_fd(), wanted - round.len);
        match wait_and(source, || call::splice(source, None, to, None, rest, 0)) {
            Ok(0) => break,
            Ok(count) => round.len += count,
            Err(errno) if call::cannot_move(errno) => {
                let copied = copy(source, rest, once(last));
                let (most, len) = (round.most.max(copied.most), round.len + copied.len);
                round = Round { most, len, ..copied };
                if copied.len == 0 || round.stopped.is_some() {
                    break;
                }
            }
            Err(errno) => return Round { stopped: Some(errno), ..round },
        }
        // With one sink there is no tee that said how much: it is what the first call moved.
        if wanted == MAX_RW_COUNT {
            break;
        }
    }
    round
}

/// A round where the kernel does not move the bytes by itself: reads up to `most` of them, and writes
/// them to all of these pipes, which are empty and have the same capacity.
fn copy<'a>(
    source: BorrowedFd<'_>,
    most: usize,
    mut pipes: impl Iterator<Item = &'a PipeWriter> + Clone,
) -> Round {
    let take = || {
        let room = pipes.clone().next().map_or(Ok(0), PipeWriter::capacity)?;
        let mut pages = Map::anonymous(most.min(room))?;
        let buf = &mut pages.bytes_mut()[..most.min(room)];
        let count = wait_and(source, || call::read(source, buf))?;
        Ok((pages, count))
    };
    match take() {
        Err(errno) => Round { stopped: Some(errno), ..Round::default() },
        Ok((pages, most)) => match pipes.try_for_each(|to| to.write_all(&pages.bytes()[..most])) {
            Ok(()) => Round { most, len: most, ..Round::default() },
            Err(incomplete) => {
                let stopped = incomplete.errno().or(Some(Errno::EIO));
                Round { most, len: 0, stopped, pages: Some((pages, 0..most)) }
            }
        },
    }
}

/// Repeats a call on the source until it returns something else than `EINTR`, or `EAGAIN` of a nonblocking
/// source that has nothing. The other end is a pipe of our own with room in it.
fn wait_and(source: BorrowedFd<'_>, call: impl FnMut() -> Result<usize>) -> Result<usize> {
    attempt_until(source, PollEvents::IN, None, call)
}
