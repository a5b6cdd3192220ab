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
use super::{Mechanism, Transfer, Transferred};
use crate::abi::{self, MAX_RW_COUNT};
use crate::fd::{AsFd, BorrowedFd};
use crate::flags::{PollEvents, SpliceFlags};
use crate::pipe::{Builder, Capacity};
use crate::poll::{PollFd, poll};
use crate::spin::Spin;
use crate::time::Deadline;
use crate::{Errno, PipeReader, call, page};
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
    pub(super) mechanism: Mechanism,
    /// By what the last of those that have arrived were.
    moved_by: Option<Mechanism>,
    /// Whether the last call that moved any has ended the transfer.
    ended: bool,
    /// Whether `exact` is a bound and not a promise.
    short_is_fine: bool,
}

impl<'a, 'p> Engine<'a, 'p> {
    pub(super) fn new(options: Transfer<'p>, from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Self {
        let deadline = options.deadline.is_some();
        let from = End::new(from, Side::Source, deadline);
        let to = End::new(to, Side::Sink, deadline);
        let mechanism = Mechanism::Copy;
        let (done, moved_by, ended, short_is_fine) = (0, None, false, false);
        Self { options, from, to, done, mechanism, moved_by, ended, short_is_fine }
    }

    pub(super) fn run(mut self) -> Result<Transferred, TransferError> {
        let plan = self.plan();
        if self.is_one_pipe() {
            return Err(self.error(plan[0], Failure::new(Side::Sink, Errno::EINVAL)));
        }
        for &mechanism in plan {
            self.mechanism = mechanism;
            let outcome = match mechanism {
                Mechanism::Splice => self.splice(),
                Mechanism::Broker => self.broker(),
                Mechanism::CopyFileRange | Mechanism::Sendfile => self.between_files(mechanism),
                Mechanism::Copy => self.copy(),
            };
            match outcome {
                Ok(Outcome::Finished) => break,
                Ok(Outcome::Refused | Outcome::PerhapsEnd) => {}
                Err(failure) => return Err(self.error(plan[0], failure)),
            }
        }
        match self.options.exact {
            Some(exact) if self.done < exact && !self.ended && !self.short_is_fine => {
                let failure = Failure { side: Side::Source, errno: None, held: Held::default() };
                Err(self.error(plan[0], failure))
            }
            _ => Ok(self.transferred(plan[0])),
        }
    }

    fn transferred(&self, first_choice: Mechanism) -> Transferred {
        let mechanism = self.moved_by.unwrap_or(first_choice);
        Transferred { bytes: self.done, mechanism, fell_back: mechanism != first_choice }
    }

    fn error(&self, first_choice: Mechanism, failure: Failure) -> TransferError {
        let Failure { side, errno, held } = failure;
        TransferError { transferred: self.transferred(first_choice), side, errno, held }
    }

    /// The mechanisms to try, the best first. The last never refuses.
    fn plan(&self) -> &'static [Mechanism] {
        use Mechanism::{Broker, Copy, CopyFileRange, Sendfile, Splice};
        let small = self.options.chunk.is_some_and(|chunk| chunk < page::size());
        let must_copy = self.options.copy_semantics && self.from.gives_pages_away();
        match (self.from.kind, self.to.kind) {
            _ if small => &[Copy],
            // What arrives in a file is a copy.
            (Kind::File, Kind::File) => &[CopyFileRange, Sendfile, Copy],
            _ if must_copy => &[Copy],
            (Kind::Pipe, _) | (_, Kind::Pipe) => &[Splice, Copy],
            (Kind::File, _) => &[Sendfile, Broker, Copy],
            _ => &[Broker, Copy],
        }
    }

    fn is_one_pipe(&self) -> bool {
        self.from.kind == Kind::Pipe
            && self.from.identity.is_some()
            && self.from.identity == self.to.identity
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
    }

    /// Tells `progress`. To be called with nothing in hand.
    pub(super) fn report(&mut self) {
        if let Some(progress) = &mut self.options.progress {
            self.ended |= progress(self.done) == ControlFlow::Break(());
        }
    }

    /// For a `splice` that must not wait beyond the deadline: it keeps it from waiting for a pipe.
    fn flags(&self) -> u32 {
        if self.options.deadline.is_some() { SpliceFlags::NONBLOCK.bits() } else { 0 }
    }

    /// With a deadline: waits for the ends for which a call with these [`flags`](Self::flags) could
    /// wait beyond it. For the others the call is tried first, and waited for when it says `EAGAIN`.
    /// Without a deadline the call itself waits.
    fn before_call(&self) -> Result<(), Failure> {
        for end in [self.from, self.to] {
            if end.may_wait && end.kind != Kind::Pipe {
                self.wait_for(end)?;
            }
        }
        Ok(())
    }

    /// Waits until one end is ready.
    pub(super) fn wait_for(&self, end: End<'_>) -> Result<(), Failure> {
        let events = if end.side == Side::Source { PollEvents::IN } else { PollEvents::OUT };
        let mut fds = [PollFd::from_borrowed_fd(end.fd, events)];
        loop {
            let left = self.options.deadline.as_ref().map(Deadline::remaining);
            match poll(&mut fds, left) {
                Ok(0) => return Err(Failure::new(end.side, Errno::ETIMEDOUT)),
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::new(end.side, errno)),
            }
        }
    }

    /// After `EAGAIN` of a call on both ends, which does not say whose it is: finds out, and waits for
    /// that one.
    fn wait_for_the_one_not_ready(&self) -> Result<(), Failure> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.from.fd, PollEvents::IN),
            PollFd::from_borrowed_fd(self.to.fd, PollEvents::OUT),
        ];
        match poll(&mut fds, Some(Duration::ZERO)) {
            Ok(_) if fds[0].revents().is_empty() => self.wait_for(self.from),
            Ok(_) if fds[1].revents().is_empty() => self.wait_for(self.to),
            // Both have become ready just now; or the kernel sees it otherwise than `poll` does, and
            // asking it again at once would be a busy loop.
            _ => {
                let _ = poll(&mut [], Some(Duration::from_millis(1)));
                match &self.options.deadline {
                    Some(deadline) if deadline.has_passed() => {
                        Err(Failure::new(Side::Sink, Errno::ETIMEDOUT))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Whose error it is when `splice` between a pipe and something else fails.
    fn side_of(&self, errno: Errno) -> Side {
        let access = call::fcntl_getfl(self.from.fd).map(|flags| flags & abi::O_ACCMODE as usize);
        match errno {
            _ if is_of_a_sink(errno) => Side::Sink,
            Errno::EBADF if matches!(access, Ok(mode) if mode != abi::O_WRONLY as usize) => {
                Side::Sink
            }
            Errno::EBADF => Side::Source,
            // A pipe can always be read and written, so it is the other one.
            _ if self.from.kind == Kind::Pipe => Side::Sink,
            _ => Side::Source,
        }
    }

    // ---- the loops ----

    /// One end is a pipe, and the kernel moves from one to the other. Nothing is ever in hand.
    fn splice(&mut self) -> Result<Outcome, Failure> {
        let mut spin = Spin::new(self.options.wait);
        let mut asleep = false;
        loop {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(outcome) => return Ok(outcome),
            };
            self.before_call()?;
            let awake = spin.is_on() && !asleep;
            let flags = if awake { SpliceFlags::NONBLOCK.bits() } else { self.flags() };
            match call::splice(self.from.fd, None, self.to.fd, None, wanted, flags) {
                Ok(0) if self.from.end_is_sure() => return Ok(Outcome::Finished),
                Ok(0) => return Ok(Outcome::PerhapsEnd),
                Ok(count) => {
                    self.arrived(count);
                    self.report();
                    asleep = false;
                }
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) if awake => {
                    // For a moment; then the call waits, in the kernel.
                    spin.wait(self.from.fd, PollEvents::IN);
                    asleep = true;
                }
                Err(Errno::EAGAIN) => self.wait_for_the_one_not_ready()?,
                Err(errno) if is_refusal(errno) => return Ok(Outcome::Refused),
                Err(errno) => return Err(Failure::new(self.side_of(errno), errno)),
            }
        }
    }

    /// The source is a file, and the kernel does all of it. Nothing is ever in hand: the position of
    /// the source moves on by what has arrived.
    fn between_files(&mut self, mechanism: Mechanism) -> Result<Outcome, Failure> {
        loop {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(outcome) => return Ok(outcome),
            };
            self.before_call()?;
            let answer = match mechanism {
                Mechanism::Sendfile => call::sendfile(self.to.fd, self.from.fd, None, wanted),
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
                Err(errno) if is_of_a_sink(errno) => return Err(Failure::new(Side::Sink, errno)),
                // A refusal (`copy_file_range` has EBADF for a sink in append mode), or an error that
                // may be of either side: the last mechanism, which calls on one at a time, finds out.
                Err(_) => return Ok(Outcome::Refused),
            }
        }
    }

    /// Neither is a pipe: through one of our own. It is filled once and then drained to the last byte
    /// before it is filled again, so that a call that fills never waits for room, and its `EAGAIN` is
    /// the source's.
    fn broker(&mut self) -> Result<Outcome, Failure> {
        let Ok((reader, writer)) = Builder::new().capacity(Capacity::Max).build() else {
            return Ok(Outcome::Refused);
        };
        loop {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(outcome) => return Ok(outcome),
            };
            if self.from.may_wait {
                self.wait_for(self.from)?;
            }
            match call::splice(self.from.fd, None, writer.as_fd(), None, wanted, self.flags()) {
                Ok(0) if self.from.end_is_sure() => return Ok(Outcome::Finished),
                Ok(0) => return Ok(Outcome::PerhapsEnd),
                Ok(mut held) => match self.drain(&reader, &mut held) {
                    Ok(true) => self.report(),
                    Ok(false) => return self.drain_by_copy(reader, held),
                    Err(failure) => return Err(failure.holding(in_pipe(reader, held))),
                },
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) => self.wait_for(self.from)?,
                Err(errno) if is_refusal(errno) => return Ok(Outcome::Refused),
                Err(errno) => return Err(Failure::new(Side::Source, errno)),
            }
        }
    }

    /// Moves what the broker pipe holds to the sink. Whether the sink takes it by `splice`; what is
    /// left is in `held`.
    fn drain(&mut self, reader: &PipeReader, held: &mut usize) -> Result<bool, Failure> {
        while *held > 0 {
            if self.to.may_wait {
                self.wait_for(self.to)?;
            }
            match call::splice(reader.as_fd(), None, self.to.fd, None, *held, self.flags()) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    *held -= count;
                    self.arrived(count);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_for(self.to)?,
                Err(errno) if is_refusal(errno) => return Ok(false),
                Err(errno) => return Err(Failure::new(Side::Sink, errno)),
            }
        }
        Ok(true)
    }
}

/// Whether only writing can fail like this.
fn is_of_a_sink(errno: Errno) -> bool {
    matches!(errno, Errno::EPIPE | Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::ECONNRESET)
}

/// What is still in the broker pipe.
fn in_pipe(reader: PipeReader, len: usize) -> Held {
    Held { pages: None, pipe: Some((reader, len)) }
}

/// Whether an error says that the kernel, the file system, or a filter in front of them does not do
/// this, rather than that it went wrong.
pub(super) fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EXDEV | Errno::EPERM)
}

pub(super) fn discard(from: BorrowedFd<'_>, bytes: Option<u64>) -> Result<u64, TransferError> {
    let mut options = Transfer::new();
    options.exact = bytes;
    let null = match call::openat_for_writing(c"/dev/null") {
        Ok(null) => null,
        Err(errno) => {
            let transferred =
                Transferred { bytes: 0, mechanism: Mechanism::Copy, fell_back: false };
            let held = Held::default();
            return Err(TransferError { transferred, side: Side::Sink, errno: Some(errno), held });
        }
    };
    let mut engine = Engine::new(options, from, null.as_fd());
    engine.short_is_fine = true;
    engine.run().map(|transferred| transferred.bytes())
}
