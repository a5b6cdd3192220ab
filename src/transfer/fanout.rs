//! One source to several sinks, with `tee`.
//!
//! # The bookkeeping
//!
//! `tee` duplicates and does not consume: a second call duplicates the same bytes again, from the first byte
//! on. A fan-out therefore has two private pipes with the same number of slots, whatever the number of sinks.
//! A round is:
//!
//! 1. Move what one call gives from the source to the first pipe. The source is not needed after this, and
//!    the contents of the pipe do not change.
//! 2. For each sink except the last: `tee` everything into the second pipe. It fits, because that pipe is
//!    empty and has as many slots. Then move the second pipe to the sink, to the last byte. A failure here
//!    concerns only this sink: the bytes that it did not get are read into memory, and the second pipe is
//!    empty again.
//! 3. Move the first pipe itself to the last sink.

use super::end::End;
use super::error::{Failure, Side, TransferError};
use super::round::Round;
use super::{Transfer, Transferred};
use crate::fd::{AsFd, BorrowedFd};
use crate::{Deadline, Errno};
use core::fmt;
use core::ops::ControlFlow;

/// One sink of a [`fanout`]: a descriptor to write to, the number of bytes that have arrived, and the error of
/// a sink that has failed.
pub struct FanoutSink<'fd> {
    fd: BorrowedFd<'fd>,
    /// `None` if it is not, or no longer, written to.
    pub(super) end: Option<End<'fd>>,
    transferred: Transferred,
    error: Option<TransferError>,
}

impl<'fd> FanoutSink<'fd> {
    /// Creates a sink that has received nothing.
    pub fn new(fd: &'fd impl AsFd) -> Self {
        Self { fd: fd.as_fd(), end: None, transferred: Transferred::NOTHING, error: None }
    }

    /// Returns how many bytes have arrived, in all fan-outs together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.transferred.bytes()
    }

    /// Returns the number of bytes that have arrived, as [`bytes`](Self::bytes), and the mechanism that moved the last
    /// of them.
    #[must_use]
    pub const fn transferred(&self) -> Transferred {
        self.transferred
    }

    /// Returns the error for which it was dropped from the fan-out. The error holds the bytes of the last round
    /// that did not arrive.
    #[must_use]
    pub const fn error(&self) -> Option<&TransferError> {
        self.error.as_ref()
    }

    /// Takes the [`error`](Self::error) out. Another fan-out then writes to the sink again; deliver
    /// [the bytes that did not arrive](TransferError::read_undelivered) first.
    pub fn take_error(&mut self) -> Option<TransferError> {
        self.error.take()
    }

    /// Counts the bytes that have arrived. A sink that has failed is left out afterwards.
    pub(super) fn arrived(&mut self, moved: Result<Transferred, TransferError>) {
        let before = self.transferred.bytes;
        let so_far = |moved: Transferred| Transferred { bytes: before + moved.bytes, ..moved };
        match moved {
            Ok(moved) => self.transferred = so_far(moved),
            Err(mut error) => {
                error.transferred = so_far(error.transferred);
                self.transferred = error.transferred;
                (self.end, self.error) = (None, Some(error));
            }
        }
    }
}

impl fmt::Debug for FanoutSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanoutSink")
            .field("fd", &self.fd)
            .field("transferred", &self.transferred)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// Moves bytes from a source to all of `sinks` until end of file: a [`Fanout`] without options.
///
/// # Errors
///
/// As [`Fanout::run`].
///
/// # Panics
///
/// If there is no sink.
///
/// # Examples
///
/// ```
/// use rawpipe::transfer::{FanoutSink, fanout};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (one, to_one) = rawpipe::pipe()?;
/// let (two, to_two) = rawpipe::pipe()?;
/// writer.write_all(b"for everybody")?;
/// drop(writer);
///
/// let mut sinks = [FanoutSink::new(&to_one), FanoutSink::new(&to_two)];
/// assert_eq!(fanout(&reader, &mut sinks)?.bytes(), 13);
/// assert_eq!((one.available()?, two.available()?), (13, 13));
/// assert!(sinks.iter().all(|sink| sink.bytes() == 13 && sink.error().is_none()));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [tee(2)](https://man7.org/linux/man-pages/man2/tee.2.html)
#[doc(alias = "tee")]
pub fn fanout(from: impl AsFd, sinks: &mut [FanoutSink<'_>]) -> Result<Transferred, TransferError> {
    Fanout::new().run(from, sinks)
}

/// A fan-out with options.
///
/// # Examples
///
/// Like `tee --output-error=warn`, this reports a sink that fails and continues:
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::transfer::{Fanout, FanoutSink};
/// use std::ops::ControlFlow;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(b"for both")?;
/// drop(writer);
/// let (kept, to_pipe) = rawpipe::pipe()?;
/// let full = std::fs::File::options().write(true).open("/dev/full")?;
///
/// let names = ["/dev/full", "a pipe"];
/// let mut warnings = Vec::new();
/// let mut warn = |index: usize, error: &rawpipe::transfer::TransferError| {
///     warnings.push(format!("{}: {error}", names[index]));
///     ControlFlow::Continue(()) // `Break` is `--output-error=exit`
/// };
/// let mut sinks = [FanoutSink::new(&full), FanoutSink::new(&to_pipe)];
/// let moved = Fanout::new().on_error(&mut warn).run(&reader, &mut sinks)?;
/// assert_eq!((moved.bytes(), kept.available()?), (8, 8));
/// let warning = "/dev/full: sink: no space left on device (ENOSPC) after 0 bytes, 8 undelivered";
/// assert_eq!(warnings, [warning]);
/// assert_eq!(sinks[0].error().unwrap().errno(), Some(Errno::ENOSPC));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a fan-out moves nothing until `run` is called"]
#[derive(Default)]
pub struct Fanout<'p> {
    options: Transfer<'p>,
    on_error: Option<&'p mut OnError<'p>>,
}

type OnError<'p> = dyn FnMut(usize, &TransferError) -> ControlFlow<()> + 'p;

impl<'p> Fanout<'p> {
    /// Creates a fan-out that ends at end of file.
    pub const fn new() -> Self {
        Self { options: Transfer::new(), on_error: None }
    }

    /// Moves exactly `bytes`, as [`Transfer::exact`].
    pub const fn exact(self, bytes: u64) -> Self {
        Self { options: self.options.exact(bytes), ..self }
    }

    /// Moves at most `bytes`, as [`Transfer::limit`].
    pub const fn limit(self, bytes: u64) -> Self {
        Self { options: self.options.limit(bytes), ..self }
    }

    /// Gives up waiting at `deadline`, as [`Transfer::deadline`].
    ///
    /// A sink that is not ready by then fails with [`ETIMEDOUT`](Errno::ETIMEDOUT) and is dropped. The other
    /// sinks get the remaining bytes of the round, and what the source has ready. Then the fan-out fails with
    /// `ETIMEDOUT` on the source, unless the source has ended.
    ///
    /// A [cancel](crate::Cancel) ends it after the current round. A sink that is ready gets the remaining bytes of
    /// the round. One that is not ready fails with [`ECANCELED`](Errno::ECANCELED) and is dropped. Nothing more
    /// is read from the source, and the fan-out fails with `ECANCELED` on the source, or on the sink if no sink
    /// is left. If it is cancelled before the start, it moves nothing and drops no sink.
    pub const fn deadline(self, deadline: Deadline<'p>) -> Self {
        Self { options: self.options.deadline(deadline), ..self }
    }

    /// Lets the kernel raise `SIGPIPE` if a sink has no reader, as [`Transfer::raise_sigpipe`].
    pub const fn raise_sigpipe(self) -> Self {
        Self { options: self.options.raise_sigpipe(), ..self }
    }

    /// Calls `progress` with the number of bytes that have arrived at all sinks that are left, after
    /// each round, and after each signal while the source is silent. If it returns `Break`, the fan-out
    /// ends there, with success.
    pub fn progress(self, progress: &'p mut dyn FnMut(u64) -> ControlFlow<()>) -> Self {
        Self { options: self.options.progress(progress), ..self }
    }

    /// Calls `on_error` with the index and error of each sink that fails, before the next sink is written to. If it
    /// returns `Break`, the fan-out fails there with the same side and errno.
    ///
    /// The current round then ends in the middle. `sink.bytes()` is the count of each sink. The fan-out's error
    /// holds, as [undelivered](TransferError::undelivered), the bytes of the round that not all sinks have,
    /// unless the failed sink was the last of the round.
    pub fn on_error(
        self,
        on_error: &'p mut dyn FnMut(usize, &TransferError) -> ControlFlow<()>,
    ) -> Self {
        Self { on_error: Some(on_error), ..self }
    }

    /// Moves the bytes. The result has the number of bytes that the source gave, and how they were duplicated:
    /// [`Splice`](super::TransferMechanism::Splice) stands for `tee` and `splice`, and
    /// [`Copy`](super::TransferMechanism::Copy) for a buffer of this process, because the source needs one or the
    /// kernel rejects `tee`. [`FanoutSink::transferred`] has the mechanism for each sink.
    ///
    /// It opens four descriptors, whatever the number of sinks. Each round is given to one sink after the other,
    /// so a slow sink makes the others wait, and a silent one stops all of them until the
    /// [deadline](Self::deadline). A sink that fails is dropped, with its [`error`](FanoutSink::error), and the
    /// others continue. A sink that already has an error is left out. Retries on `EINTR`, and raises no
    /// `SIGPIPE`.
    ///
    /// A datagram or record of the source is cut at 256 KiB, or at what a pipe holds if the user has too
    /// many pages in pipes.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] with the number of bytes that all remaining sinks have received. If no sink is
    /// left, each sink has its own [count](FanoutSink::bytes) and [undelivered](FanoutSink::error) bytes.
    ///
    /// - an error of reading the source;
    /// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM) or another error of a filter, on the sink and
    ///   before the first byte: `SIGPIPE` cannot be blocked;
    /// - [`EINVAL`](Errno::EINVAL) on the sink, before the first byte: what is written to a sink comes back from
    ///   the source, as for [`Transfer::run`];
    /// - the error of a sink if none is left, or if [`on_error`](Self::on_error) has returned `Break`. The
    ///   source then keeps what it has not given yet;
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) of the source: the deadline has passed, or
    ///   [`ECANCELED`](Errno::ECANCELED): it was cancelled;
    /// - [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE), on the source and before the first byte: no
    ///   descriptor or no memory is left for the pipes;
    /// - [`ENOMEM`](Errno::ENOMEM) on the source: no memory is left for what a sink does not get;
    /// - none: the source ended before the [exact](Self::exact) number of bytes.
    ///
    /// # Panics
    ///
    /// If there is no sink.
    pub fn run(
        self,
        from: impl AsFd,
        sinks: &mut [FanoutSink<'_>],
    ) -> Result<Transferred, TransferError> {
        assert!(!sinks.is_empty(), "a fan-out to nowhere");
        let _no_sigpipe = self.options.no_sigpipe()?;
        let deadline = self.options.deadline.is_some();
        let from = End::new(from.as_fd(), Side::Source, deadline);
        for sink in &mut *sinks {
            let is_used = sink.error.is_none();
            sink.end = is_used.then(|| End::new(sink.fd, Side::Sink, deadline));
        }
        if sinks
            .iter()
            .filter_map(|sink| sink.end)
            .any(|end| from.is_fed_by(&end, self.options.most))
        {
            return Err(TransferError::before(Side::Sink, Errno::EINVAL));
        }
        let mut round =
            Round::new(from).map_err(|errno| TransferError::before(Side::Source, errno))?;
        match self.rounds(&mut round, sinks) {
            Ok(()) => Ok(round.done),
            Err(mut failure) => {
                let transferred = round.done;
                if round.len() > 0 {
                    failure.held = round.into_held();
                }
                Err(TransferError { transferred, failure })
            }
        }
    }

    fn rounds(self, round: &mut Round<'_>, sinks: &mut [FanoutSink<'_>]) -> Result<(), Failure> {
        let Self { options: Transfer { most, exact, deadline, mut progress, .. }, mut on_error } =
            self;
        let mut ends = |done| progress.as_mut().is_some_and(|tell| tell(done).is_break());
        loop {
            let done = round.done.bytes;
            let Some(last) = sinks.iter().rposition(|sink| sink.end.is_some()) else {
                let error = sinks.iter().rev().find_map(FanoutSink::error);
                return error.map_or(Ok(()), |error| Err(Failure::again(error)));
            };
            let most = most.map(|most| most - done);
            let mut ended = false;
            // One call that moves something: more than the pipe holds would wait indefinitely.
            let mut one_call = |moved| {
                ended = moved == 0 && ends(done);
                if moved > 0 || ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let options = Transfer { most, deadline, ..Transfer::new() };
            if !round.fill(options.progress(&mut one_call)).map_err(|error| error.failure)? {
                let early = exact && most != Some(0) && !ended;
                return if early { Err(Failure::new(Side::Source, None)) } else { Ok(()) };
            }
            let len = round.len() as u64;
            let given = give(round, sinks, last, deadline, &mut on_error);
            let all = round.len() == 0 && sinks.iter().any(|sink| sink.end.is_some());
            if all {
                round.done.bytes += len;
            }
            given?;
            if all && ends(round.done.bytes) {
                return Ok(());
            }
        }
    }
}

/// Writes a round to all remaining sinks. Stops if a sink fails and `on_error` ends the fan-out.
fn give(
    round: &mut Round<'_>,
    sinks: &mut [FanoutSink<'_>],
    last: usize,
    deadline: Option<Deadline<'_>>,
    on_error: &mut Option<&mut OnError<'_>>,
) -> Result<(), Failure> {
    for (index, sink) in sinks.iter_mut().enumerate().filter(|(_, sink)| sink.end.is_some()) {
        let given = round.give(sink, index == last, deadline);
        if let Some((error, tell)) = sink.error.as_ref().zip(on_error.as_mut()) {
            if tell(index, error).is_break() {
                return Err(Failure::again(error));
            }
        }
        given.map_err(|errno| Failure::new(Side::Source, errno))?;
    }
    Ok(())
}

impl fmt::Debug for Fanout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fanout").field("options", &self.options).finish_non_exhaustive()
    }
}
