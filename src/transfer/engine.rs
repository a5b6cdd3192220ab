//! Chooses the mechanisms that fit the two ends, and provides the parts that the loops of these mechanisms
//! share. The loops themselves are in `kernel` and `fallback`.
//!
//! # The invariant
//!
//! Between two iterations of a loop, every byte read from the source has arrived at the sink and is counted
//! in `done`. The same holds whenever a mechanism is abandoned. Only a loop that holds bytes (`broker` in
//! `kernel`, and `copy` in `fallback`) may fail after it has read more bytes than have arrived. The failure
//! then holds the bytes that have not arrived.

use super::end::{End, Kind};
use super::error::{Failure, Side, TransferError};
use super::{Fallback, Transfer, TransferMechanism, Transferred};
use crate::Errno;
use crate::event::{Backoff, PollFd, poll, poll_beside};
use crate::sys::abi::MAX_RW_COUNT;
use crate::sys::abi::flags::{PollEvents, SpliceFlags};
use crate::sys::page;
use core::ops::ControlFlow;
use core::time::Duration;

/// The way in which a mechanism ends if it does not fail.
pub(super) enum Outcome {
    /// The transfer is complete: the source has ended, the requested number of bytes has arrived, or
    /// `progress` has returned `Break`.
    Finished,
    /// The mechanism was abandoned for the reason that the errno gives. `None` means that the last call moved
    /// no bytes: the source seems to be at its end, but may hold more bytes.
    GivenUp(Option<Errno>),
}

pub(super) struct Engine<'a, 'p> {
    pub(super) options: Transfer<'p>,
    pub(super) from: End<'a>,
    pub(super) to: End<'a>,
    /// The number of bytes that have arrived.
    done: u64,
    /// The mechanism in use.
    pub(super) mechanism: TransferMechanism,
    /// The mechanism that moved the last byte that has arrived.
    moved_by: Option<TransferMechanism>,
    /// The first mechanism that was abandoned, and the reason.
    given_up: Option<Fallback>,
    /// Set if `progress` has ended the transfer.
    pub(super) ended: bool,
    /// Set if the transfer has no sink and discards the bytes that it reads.
    pub(super) nowhere: bool,
    /// Counts the waits since the last byte arrived.
    backoff: Backoff,
}

impl<'a, 'p> Engine<'a, 'p> {
    pub(super) fn new(options: Transfer<'p>, from: End<'a>, to: End<'a>) -> Self {
        Self {
            options,
            from,
            to,
            done: 0,
            mechanism: TransferMechanism::Copy,
            moved_by: None,
            given_up: None,
            ended: false,
            nowhere: false,
            backoff: Backoff::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Transferred, TransferError> {
        let plan = self.plan();
        let outcome = self.carry_out(plan);
        let first = plan.iter().copied().find(|&mechanism| self.options.allows(mechanism));
        let mechanism = self.moved_by.or(first).unwrap_or(plan[0]);
        let fallback = self.given_up.filter(|first| first.mechanism != mechanism);
        let transferred = Transferred { bytes: self.done, mechanism, fallback };
        match outcome {
            Ok(()) => Ok(transferred),
            Err(failure) => Err(TransferError { transferred, failure }),
        }
    }

    fn carry_out(&mut self, plan: &[TransferMechanism]) -> Result<(), Failure> {
        use TransferMechanism::{Broker, Copy, CopyFileRange, Sendfile, Splice};
        for end in [self.from, self.to] {
            if end.is_the_wrong_way_round() && !(self.nowhere && end.side == Side::Sink) {
                return Err(Failure::new(end.side, Errno::EBADF));
            }
        }
        if !self.nowhere && self.from.is_fed_by(&self.to, self.options.most) {
            return Err(Failure::new(Side::Sink, Errno::EINVAL));
        }
        if self.options.grow_pipes {
            [self.from, self.to].iter().for_each(End::grow);
        }
        // Set if the transfer is complete or a mechanism has found the end of the source. If `Copy` is
        // excluded, no `read` confirms this end.
        let mut finished = false;
        for &mechanism in plan {
            // After one mechanism has found the end, only a `read` can show whether more bytes remain.
            let needless = finished && mechanism != Copy && self.options.allows(Copy);
            if needless || !self.options.allows(mechanism) {
                continue;
            }
            self.mechanism = mechanism;
            let outcome = match mechanism {
                Splice => self.splice(),
                Broker => self.broker(),
                CopyFileRange | Sendfile => self.between_files(),
                Copy => self.copy(),
            };
            let Outcome::GivenUp(errno) = outcome? else {
                finished = true;
                break;
            };
            finished |= errno.is_none();
            self.given_up = self.given_up.or(Some(Fallback { mechanism, errno }));
        }
        let early = self.options.most.is_some_and(|most| self.options.exact && self.done < most);
        match (finished, early && !self.ended) {
            (false, _) => Err(Failure::new(Side::Sink, Errno::EOPNOTSUPP)),
            (true, true) => Err(Failure::new(Side::Source, None)),
            (true, false) => Ok(()),
        }
    }

    /// Returns the mechanisms to try, best first. `Copy` works with every pair.
    ///
    /// `splice` between a pipe and another kind of descriptor holds the pipe's lock while it waits for that
    /// descriptor. During that time, a process that reads or writes the pipe sleeps, and no signal reaches
    /// that process. Therefore `splice` is used directly only if it cannot wait while it holds the lock, or
    /// if the pipe is private.
    fn plan(&self) -> &'static [TransferMechanism] {
        use TransferMechanism::{Broker, Copy, CopyFileRange, Sendfile, Splice};
        /// The largest size in bytes of a small file.
        const SMALL: u64 = 64 << 10;

        let small = self.step() < page::size();
        // `splice` from a file hands over pages that can change afterwards.
        let of_file = matches!(self.from.kind, Kind::File | Kind::Unsized);
        let must_copy = self.options.copy_semantics && of_file;
        let is_small = (1..=SMALL).contains(&self.from.size);
        // `splice` may wait for a blocking socket or device, and no flag of `splice` prevents the wait.
        let late = [self.from, self.to].iter().any(|end| end.may_wait && end.kind != Kind::Pipe);
        match (self.from.kind, self.to.kind) {
            _ if small || late || must_copy || self.nowhere => &[Copy],
            // For a small file, creating a pipe takes longer than copying the bytes. `splice` cannot append
            // to a file, and would fail only after bytes are in the private pipe. If both ends are the same
            // file, `splice` would hold pages that the transfer then overwrites.
            (Kind::File, Kind::File)
                if is_small || self.to.appends() || self.from.is_same_as(&self.to) =>
            {
                &[CopyFileRange, Copy]
            }
            // From one file system to another, a private pipe moves up to 1 MiB at a time, but `sendfile`
            // moves only 64 KiB.
            (Kind::File, Kind::File) => &[CopyFileRange, Broker, Sendfile, Copy],
            // `Copy` preserves boundaries. A terminal reports its end only once, to the first call.
            (Kind::Records | Kind::Null | Kind::Other, _) | (_, Kind::Records) => &[Copy],
            // `splice` from a stream of procfs or tracefs may lose bytes. For an empty file, `Copy` is
            // sufficient.
            (Kind::Unsized, _) => &[Copy, Sendfile, Broker],
            _ if self.options.own.is_some() => &[Splice, Copy],
            (Kind::Pipe, Kind::Pipe | Kind::Null) => &[Splice, Copy],
            // A block device reports no size, so the number of bytes after its position is unknown.
            (Kind::File, Kind::Pipe) if self.from.size > 0 => &[Splice, Copy],
            (Kind::File, Kind::Stream | Kind::Null | Kind::Other) => &[Sendfile, Broker, Copy],
            _ => &[Broker, Copy],
        }
    }

    /// Returns the maximum number of bytes that one call moves. At most this number of bytes is moved between
    /// two reports, or between two checks of the clock.
    fn step(&self) -> usize {
        const WATCHED: usize = 1 << 20;
        /// The smallest step with a deadline and without `progress`. Smaller steps would be slower than steps
        /// of this size, and would not make the deadline more exact.
        const LEAST: usize = 64 << 10;

        let chunk = self.options.chunk.unwrap_or(WATCHED).min(MAX_RW_COUNT);
        match (&self.options.progress, &self.options.deadline) {
            (Some(_), _) => chunk,
            (None, Some(_)) => chunk.max(LEAST),
            (None, None) => MAX_RW_COUNT,
        }
    }

    /// Returns the number of bytes for the next call, or `None` if the transfer is complete. Fails with
    /// `ECANCELED` on the source if the transfer is cancelled. After a cancel, as after a deadline, a fan-out
    /// sink that is ready still receives the current round.
    pub(super) fn wanted(&self) -> Result<Option<usize>, Failure> {
        let chunk = self.step();
        // On some kernels a FUSE server can make `copy_file_range` return a count that is larger than
        // requested.
        let left = self.options.most.map_or(u64::MAX, |most| most.saturating_sub(self.done));
        let wanted = usize::try_from(left).map_or(chunk, |left| left.min(chunk));
        let wanted = (wanted > 0 && !self.ended).then_some(wanted);
        let ends_it = wanted.is_some() && self.options.own != Some(Side::Source);
        if ends_it && self.options.deadline.is_some_and(|deadline| deadline.is_cancelled()) {
            return Err(Failure::new(Side::Source, Errno::ECANCELED));
        }
        Ok(wanted)
    }

    /// Counts bytes that have arrived.
    pub(super) fn arrived(&mut self, count: usize) {
        self.done += count as u64;
        self.moved_by = Some(self.mechanism);
        self.backoff = Backoff::default();
    }

    /// Calls `progress`, unless `progress` has already ended the transfer. The caller must use this function
    /// only while no bytes are in flight.
    pub(super) fn report(&mut self) {
        if let Some(progress) = self.options.progress.as_mut().filter(|_| !self.ended) {
            self.ended = progress(self.done) == ControlFlow::Break(());
        }
    }

    /// Returns the flags for a `splice` call. With a deadline, the flags keep the call from waiting for a
    /// pipe.
    pub(super) fn flags(&self) -> u32 {
        if self.options.deadline.is_some() { SpliceFlags::NONBLOCK.bits() } else { 0 }
    }

    /// Handles the error of a call that was made on one end and has moved no bytes. After a signal, this
    /// function calls `progress`, unless bytes are in flight. After `EAGAIN`, this function waits until the
    /// end is ready. Any other error is returned as the failure of that end.
    pub(super) fn nothing_moved(&mut self, end: End<'_>, errno: Errno) -> Result<(), Failure> {
        let failed = |errno| Failure::new(end.side, errno);
        match (errno, end.side) {
            (Errno::EINTR, Side::Source) => self.report(),
            (Errno::EINTR, Side::Sink) => {}
            (Errno::EAGAIN, _) => self.wait_for(end).map_err(failed)?,
            (errno, _) => return Err(failed(errno)),
        }
        Ok(())
    }

    /// Waits until `end` is ready. Fails with the error of the deadline if the deadline passes.
    ///
    /// `poll` may report an end as ready although each call on it fails with `EAGAIN`. Examples are a pipe
    /// that another process empties first, and a socket with an entry in its error queue. Each call that
    /// moves no bytes therefore lengthens the pause before the next `poll`, and the deadline is also checked
    /// after each pause.
    pub(super) fn wait_for(&mut self, end: End<'_>) -> crate::Result<()> {
        let deadline = self.options.deadline;
        let paused = self.backoff.pause(deadline);
        let found = self.poll(end)?;
        match deadline {
            Some(at) if !self.ended && (found.is_empty() || paused && at.has_passed()) => {
                Err(at.errno())
            }
            _ => Ok(()),
        }
    }

    /// Polls `end` until it is ready, and returns its events. Returns no events if the deadline passes. After
    /// a signal, this function calls `progress` if no bytes are in flight, and returns if `progress` ends the
    /// transfer.
    pub(super) fn poll(&mut self, end: End<'_>) -> crate::Result<PollEvents> {
        let events = if end.side == Side::Source { PollEvents::IN } else { PollEvents::OUT };
        let in_hand = end.side == Side::Sink
            && matches!(self.mechanism, TransferMechanism::Broker | TransferMechanism::Copy);
        let (deadline, mut fds) =
            (self.options.deadline, [PollFd::from_borrowed_fd(end.fd, events)]);
        loop {
            let timeout = deadline.and_then(|deadline| deadline.timeout());
            match poll_beside(deadline.and_then(|deadline| deadline.cancel), &mut fds, timeout) {
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

    /// Handles `EAGAIN` from a call on both ends: determines which end is not ready and waits for it.
    pub(super) fn wait_for_the_one_not_ready(&mut self) -> Result<(), Failure> {
        let mut from = [PollFd::from_borrowed_fd(self.from.fd, PollEvents::IN)];
        let source_is_ready = poll(&mut from, Some(Duration::ZERO)) != Ok(0);
        self.nothing_moved(if source_is_ready { self.to } else { self.from }, Errno::EAGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::AsFd;

    #[test]
    fn wanted_after_too_large_a_count_is_nothing() {
        let (reader, writer) = crate::pipe().unwrap();
        let from = End::new(reader.as_fd(), Side::Source, false);
        let to = End::new(writer.as_fd(), Side::Sink, false);
        let mut engine = Engine::new(Transfer::new().limit(10), from, to);
        for (count, left) in [(4, Some(6)), (6, None), (1, None)] {
            engine.arrived(count);
            assert!(engine.wanted().is_ok_and(|wanted| wanted == left), "{count}");
        }
    }
}
