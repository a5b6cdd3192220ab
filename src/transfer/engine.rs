//! The engine: which mechanisms fit the two ends, and the loops of those that move bytes inside the
//! kernel.
//!
//! # The invariant
//!
//! Between two calls of a loop, and whenever a mechanism is given up, every byte that was taken from
//! the source has arrived at the sink and is counted in `done`. Only a loop that has something in hand
//! (`broker`, and `copy` in `fallback`) may fail with more taken than arrived, and it hands that over
//! in its failure.

use super::end::{End, Kind};
use super::error::{Held, Side, TransferError};
use super::{Transfer, TransferMechanism, Transferred};
use crate::event::{Backoff, PollFd, poll};
use crate::fd::{AsFd, BorrowedFd};
use crate::pipe::{self, Capacity, off_stdio};
use crate::sys::abi::MAX_RW_COUNT;
use crate::sys::abi::flags::{PollEvents, SpliceFlags};
use crate::sys::call;
use crate::sys::page;
use crate::wait::Spin;
use crate::{Errno, PipeFlags, PipeReader};
use core::ops::ControlFlow;
use core::time::Duration;

/// How a mechanism ends, when it does not fail.
pub(super) enum Outcome {
    /// Everything is moved: end of file, all that was asked for, or `progress` said so.
    Finished,
    /// The kernel does not do this with these two.
    Refused,
    /// The source reports its end, which may not be true.
    PerhapsEnd,
}

/// How it ends when it fails.
pub(super) struct Failure {
    pub(super) side: Side,
    pub(super) errno: Option<Errno>,
    pub(super) held: Held,
}

impl Failure {
    pub(super) fn new(side: Side, errno: Errno) -> Self {
        Self { side, errno: Some(errno), held: Held::default() }
    }

    pub(super) fn holding(self, held: Held) -> Self {
        Self { held, ..self }
    }
}

pub(super) struct Engine<'a, 'p> {
    options: Transfer<'p>,
    pub(super) from: End<'a>,
    pub(super) to: End<'a>,
    /// How many bytes have arrived.
    done: u64,
    /// By what the bytes are being moved.
    pub(super) mechanism: TransferMechanism,
    /// By what the last of those that have arrived were.
    moved_by: Option<TransferMechanism>,
    /// Whether `progress` has ended the transfer.
    pub(super) ended: bool,
    /// Whether this is a [`discard`], for which `exact` is a bound and not a promise.
    discards: bool,
    /// Whether what is read is written nowhere.
    pub(super) nowhere: bool,
    /// Of the waits since the last byte arrived.
    backoff: Backoff,
}

impl<'a, 'p> Engine<'a, 'p> {
    pub(super) fn new(options: Transfer<'p>, from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Self {
        let deadline = options.deadline.is_some();
        let from = End::new(from, Side::Source, deadline);
        let to = End::new(to, Side::Sink, deadline);
        Self {
            options,
            from,
            to,
            done: 0,
            mechanism: TransferMechanism::Copy,
            moved_by: None,
            ended: false,
            discards: false,
            nowhere: false,
            backoff: Backoff::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Transferred, TransferError> {
        let plan = self.plan();
        for end in [self.from, self.to] {
            if end.is_the_wrong_way_round() && !(self.nowhere && end.side == Side::Sink) {
                return Err(self.error(plan[0], Failure::new(end.side, Errno::EBADF)));
            }
        }
        if !self.nowhere && self.from.is_fed_by(&self.to, self.options.exact.is_some()) {
            return Err(self.error(plan[0], Failure::new(Side::Sink, Errno::EINVAL)));
        }
        for &mechanism in plan {
            self.mechanism = mechanism;
            let outcome = match mechanism {
                TransferMechanism::Splice => self.splice(),
                TransferMechanism::Broker => self.broker(),
                TransferMechanism::CopyFileRange | TransferMechanism::Sendfile => {
                    self.between_files(mechanism)
                }
                TransferMechanism::Copy => self.copy(),
            };
            match outcome {
                Ok(Outcome::Finished) => break,
                Ok(Outcome::Refused | Outcome::PerhapsEnd) => {}
                Err(failure) => return Err(self.error(plan[0], failure)),
            }
        }
        match self.options.exact {
            Some(exact) if self.done < exact && !self.ended && !self.discards => {
                let failure = Failure { side: Side::Source, errno: None, held: Held::default() };
                Err(self.error(plan[0], failure))
            }
            _ => Ok(self.transferred(plan[0])),
        }
    }

    fn transferred(&self, first_choice: TransferMechanism) -> Transferred {
        let mechanism = self.moved_by.unwrap_or(first_choice);
        Transferred { bytes: self.done, mechanism, fell_back: mechanism != first_choice }
    }

    fn error(&self, first_choice: TransferMechanism, failure: Failure) -> TransferError {
        let Failure { side, errno, held } = failure;
        TransferError { transferred: self.transferred(first_choice), side, errno, held }
    }

    /// The mechanisms to try, the best first. The last never refuses.
    ///
    /// `splice` between a pipe and something else holds the pipe's lock while it waits for that, and a
    /// process that reads or writes the pipe then sleeps where no signal reaches it. So it is only used
    /// directly where it cannot wait, or where the pipe is our own.
    fn plan(&self) -> &'static [TransferMechanism] {
        use TransferMechanism::{Broker, Copy, CopyFileRange, Sendfile, Splice};
        let small = self.options.chunk.is_some_and(|chunk| chunk < page::size());
        let must_copy = self.options.copy_semantics && self.from.gives_pages_away();
        // Splicing from or to a blocking socket cannot be told not to wait.
        let late = [self.from, self.to].iter().any(|end| end.may_wait && end.kind != Kind::Pipe);
        match (self.from.kind, self.to.kind) {
            _ if small || late || must_copy || self.nowhere => &[Copy],
            (Kind::File, Kind::File) => &[CopyFileRange, Sendfile, Copy],
            // Boundaries are kept. A terminal's end is told only once, to the call that comes first.
            (Kind::Records | Kind::Null | Kind::Other, _) | (_, Kind::Records) => &[Copy],
            _ if self.options.own.is_some() => &[Splice, Copy],
            (Kind::Pipe, Kind::Pipe | Kind::Null) => &[Splice, Copy],
            (Kind::File, Kind::Pipe) if self.from.size > 0 => &[Splice, Copy],
            (Kind::File, Kind::Stream | Kind::Null | Kind::Other) => &[Sendfile, Broker, Copy],
            _ => &[Broker, Copy],
        }
    }

    // ---- what every loop needs ----

    /// How many bytes the next call is to move: `Finished` when there are none left to move.
    pub(super) fn wanted(&self) -> Result<usize, Outcome> {
        /// For those who watch, or watch the clock.
        const WATCHED: usize = 1 << 20;

        let watched = self.options.progress.is_some() || self.options.deadline.is_some();
        let unwatched = if watched { WATCHED } else { MAX_RW_COUNT };
        let chunk = self.options.chunk.unwrap_or(unwatched).min(MAX_RW_COUNT);
        let wanted = match self.options.exact {
            Some(exact) => usize::try_from(exact - self.done).map_or(chunk, |left| left.min(chunk)),
            None => chunk,
        };
        if wanted == 0 || self.ended { Err(Outcome::Finished) } else { Ok(wanted) }
    }

    /// Counts bytes that have arrived.
    pub(super) fn arrived(&mut self, count: usize) {
        self.done += count as u64;
        self.moved_by = Some(self.mechanism);
        self.backoff = Backoff::default();
    }

    /// Tells `progress`. To be called with nothing in hand.
    pub(super) fn report(&mut self) {
        if let Some(progress) = self.options.progress.as_mut().filter(|_| !self.ended) {
            self.ended = progress(self.done) == ControlFlow::Break(());
        }
    }

    /// For a `splice` that must not wait beyond the deadline: it keeps it from waiting for a pipe.
    fn flags(&self) -> u32 {
        if self.options.deadline.is_some() { SpliceFlags::NONBLOCK.bits() } else { 0 }
    }

    /// Waits until one end is ready.
    ///
    /// `poll` may report an end as ready on which each call fails with `EAGAIN`: a socket with an error
    /// queue, a pipe that another process is quicker to empty. So the more calls have moved nothing, the
    /// longer it pauses, and then it looks at the deadline as well.
    pub(super) fn wait_for(&mut self, end: End<'_>) -> Result<(), Failure> {
        let events = if end.side == Side::Source { PollEvents::IN } else { PollEvents::OUT };
        let deadline = self.options.deadline;
        let paused = self.backoff.pause(deadline);
        let in_hand = end.side == Side::Sink
            && matches!(self.mechanism, TransferMechanism::Broker | TransferMechanism::Copy);
        match self.poll(end.fd, events, in_hand) {
            Ok(_) if self.ended => Ok(()),
            Ok(found) => {
                let late = paused && deadline.is_some_and(|deadline| deadline.has_passed());
                if late || found.is_empty() {
                    return Err(Failure::new(end.side, Errno::ETIMEDOUT));
                }
                Ok(())
            }
            Err(errno) => Err(Failure::new(end.side, errno)),
        }
    }

    /// Polls until the deadline. After a signal it tells `progress`, and returns if that ends the transfer,
    /// unless something is in hand.
    fn poll(
        &mut self,
        fd: BorrowedFd<'_>,
        events: PollEvents,
        in_hand: bool,
    ) -> crate::Result<PollEvents> {
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        loop {
            let left = self.options.deadline.map(|deadline| deadline.remaining());
            match poll(&mut fds, left) {
                Err(Errno::EINTR) if !in_hand => {
                    self.report();
                    if self.ended {
                        return Ok(events);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
                Ok(0) => return Ok(PollEvents::empty()),
                Ok(_) => return Ok(fds[0].revents()),
            }
        }
    }

    /// After `EAGAIN` of a call on both ends, which does not say whose it is: finds out, and waits for
    /// that one.
    fn wait_for_the_one_not_ready(&mut self) -> Result<(), Failure> {
        let mut from = [PollFd::from_borrowed_fd(self.from.fd, PollEvents::IN)];
        match poll(&mut from, Some(Duration::ZERO)) {
            Ok(0) => self.wait_for(self.from),
            _ => self.wait_for(self.to),
        }
    }

    /// Waits until the source of a `splice` to a pipe has something: returns how many bytes are known
    /// to be there, or `None` at its end.
    ///
    /// The call itself waits for room in a full pipe before it looks at the source, also where the
    /// source is at its end and there is nothing to wait for.
    fn ahead(&mut self) -> Result<Option<u64>, Failure> {
        if self.from.kind == Kind::File {
            return Ok(self.from.ahead().map_or(Some(0), |bytes| (bytes > 0).then_some(bytes)));
        }
        match self.poll(self.from.fd, PollEvents::IN, false) {
            Ok(found) if found.is_empty() => Err(Failure::new(Side::Source, Errno::ETIMEDOUT)),
            Ok(PollEvents::HUP) => Ok(None),
            Ok(_) => Ok(Some(0)),
            Err(errno) => Err(Failure::new(Side::Source, errno)),
        }
    }

    /// Whose error it is when `splice` between a pipe and something else fails.
    fn side_of(&self, errno: Errno) -> Side {
        match self.options.own {
            Some(Side::Source) => Side::Sink,
            None if errno == Errno::EPIPE => Side::Sink,
            _ => Side::Source,
        }
    }

    // ---- the loops ----

    /// The kernel moves from or to a pipe. Nothing is ever in hand.
    fn splice(&mut self) -> Result<Outcome, Failure> {
        let mut spin = Spin::new(self.options.wait);
        // Whether a full sink could hide that the source is at its end.
        let may_be_full = self.options.own.is_none() && self.to.kind != Kind::Null;
        // Bytes that a file is known to have, and whether the next call may wait.
        let (mut ahead, mut patient) = (0_u64, false);
        loop {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(outcome) => return Ok(outcome),
            };
            let first = !patient && ahead == 0 && (may_be_full || spin.is_on());
            let flags = if first { SpliceFlags::NONBLOCK.bits() } else { self.flags() };
            match call::splice(self.from.fd, None, self.to.fd, None, wanted, flags) {
                Ok(0) => return Ok(self.end()),
                Ok(count) => {
                    self.arrived(count);
                    ahead = ahead.saturating_sub(count as u64);
                    patient = false;
                    self.report();
                }
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) if first => {
                    spin.wait(self.from.fd, PollEvents::IN);
                    if may_be_full {
                        match self.ahead()? {
                            Some(bytes) => ahead = bytes,
                            None => return Ok(self.end()),
                        }
                    }
                    patient = true;
                }
                Err(Errno::EAGAIN) => {
                    self.wait_for_the_one_not_ready()?;
                    patient = false;
                }
                // For a wrong direction, a read or a write says whose it is.
                Err(errno) if call::cannot_move(errno) || errno == Errno::EBADF => {
                    return Ok(Outcome::Refused);
                }
                Err(errno) => return Err(Failure::new(self.side_of(errno), errno)),
            }
        }
    }

    /// What it means that `splice` has moved nothing. Only of a pipe is it surely the end: a socket
    /// stops at an urgent mark, and files of procfs have nothing for `splice`.
    fn end(&self) -> Outcome {
        if self.from.kind == Kind::Pipe { Outcome::Finished } else { Outcome::PerhapsEnd }
    }

    /// The source is a file, and the kernel does all of it. Nothing is ever in hand: the position of
    /// the source moves on by what has arrived.
    fn between_files(&mut self, mechanism: TransferMechanism) -> Result<Outcome, Failure> {
        loop {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(outcome) => return Ok(outcome),
            };
            let answer = match mechanism {
                TransferMechanism::Sendfile => {
                    call::sendfile(self.to.fd, self.from.fd, None, wanted)
                }
                _ => call::copy_file_range(self.from.fd, None, self.to.fd, None, wanted),
            };
            match answer {
                Ok(0) => return Ok(Outcome::PerhapsEnd),
                Ok(count) => {
                    self.arrived(count);
                    self.report();
                }
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) => self.wait_for_the_one_not_ready()?,
                Err(errno) if self.is_of_the_sink(errno) => {
                    return Err(Failure::new(Side::Sink, errno));
                }
                // A refusal (`copy_file_range` has EBADF for a sink in append mode), or an error that
                // may be of either side: the last mechanism, which calls on one at a time, finds out.
                Err(_) => return Ok(Outcome::Refused),
            }
        }
    }

    /// Through a pipe of our own, so that no other process waits for its lock. It is filled once and
    /// then drained to the last byte before it is filled again, so that a call that fills never waits
    /// for room, and its `EAGAIN` is the source's.
    fn broker(&mut self) -> Result<Outcome, Failure> {
        let Ok((reader, writer)) = pipe::internal(PipeFlags::empty()) else {
            return Ok(Outcome::Refused);
        };
        // What is in a source pipe then moves in one call. From a socket into a pipe, four times that pipe
        // keeps both sides busy: as little as the pipe, or much more, was slower with TCP.
        let capacity = match (self.from.kind, self.to.kind) {
            (Kind::Pipe, _) => pipe::capacity(self.from.fd).map_or(Capacity::Max, Capacity::Bytes),
            (_, Kind::Pipe) => pipe::capacity(self.to.fd)
                .map_or(Capacity::Max, |bytes| Capacity::Bytes(bytes.saturating_mul(4))),
            _ => Capacity::Max,
        };
        if writer.set_capacity(capacity).is_err() {
            let _ = writer.set_capacity(Capacity::Max);
        }
        loop {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(outcome) => return Ok(outcome),
            };
            match call::splice(self.from.fd, None, writer.as_fd(), None, wanted, self.flags()) {
                Ok(0) => return Ok(self.end()),
                Ok(mut held) => match self.drain(&reader, &mut held) {
                    Ok(true) => self.report(),
                    Ok(false) => return self.drain_by_copy(reader, held),
                    Err(failure) => return Err(failure.holding(in_pipe(reader, held))),
                },
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) => self.wait_for(self.from)?,
                Err(errno) if call::cannot_move(errno) => return Ok(Outcome::Refused),
                Err(errno) => return Err(Failure::new(Side::Source, errno)),
            }
        }
    }

    /// Moves what the broker pipe holds to the sink. Returns whether the sink takes it by `splice`; what
    /// is left is in `held`.
    fn drain(&mut self, reader: &PipeReader, held: &mut usize) -> Result<bool, Failure> {
        while *held > 0 {
            match call::splice(reader.as_fd(), None, self.to.fd, None, *held, self.flags()) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    *held -= count;
                    self.arrived(count);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_for(self.to)?,
                Err(errno) if call::cannot_move(errno) => return Ok(false),
                Err(errno) => return Err(Failure::new(Side::Sink, errno)),
            }
        }
        Ok(true)
    }

    /// Whether an error of a call that reads a file and writes the sink is the sink's. A connection
    /// reports the reason for its end only once, so these are not left to a second call to find out.
    fn is_of_the_sink(&self, errno: Errno) -> bool {
        let full = matches!(errno, Errno::EPIPE | Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG);
        let lost = matches!(
            errno,
            Errno::ECONNRESET
                | Errno::ECONNREFUSED
                | Errno::ENOTCONN
                | Errno::ETIMEDOUT
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::ENETDOWN
        );
        full || lost && self.to.kind == Kind::Stream
    }
}

/// What is still in the broker pipe.
fn in_pipe(reader: PipeReader, len: usize) -> Held {
    Held { pages: None, pipe: Some((reader, len)) }
}

pub(super) fn discard(from: BorrowedFd<'_>, bytes: Option<u64>) -> Result<u64, TransferError> {
    let mut options = Transfer::new();
    options.exact = bytes;
    // Without one, as in an empty root or where no descriptor is left, it reads.
    let null = call::openat_for_writing(c"/dev/null").and_then(off_stdio);
    let to = null.as_ref().map_or(from, |null| null.as_fd());
    let mut engine = Engine::new(options, from, to);
    (engine.discards, engine.nowhere) = (true, null.is_err());
    engine.run().map(|transferred| transferred.bytes())
}
