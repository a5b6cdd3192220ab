//! Copies one source to several sinks with `tee`.
//!
//! # The bookkeeping
//!
//! `tee` duplicates bytes without consuming them: a second call duplicates the same bytes again, beginning
//! with the first byte. A fan-out therefore uses two private pipes with the same number of slots, regardless
//! of the number of sinks. A round has these steps:
//!
//! 1. One call moves bytes from the source to the first pipe. After this call, the round does not use the
//!    source, and the contents of the first pipe do not change until step 3.
//! 2. For each sink except the last, `tee` duplicates all bytes into the second pipe. The bytes fit, because
//!    the second pipe is empty and has the same number of slots. The contents of the second pipe are then
//!    moved to the sink completely. A failure affects only that sink. The bytes that the sink did not receive
//!    are read into memory, so that the second pipe is empty again. If `tee` does not work, the round is read
//!    into memory. For each sink, the round is then written to the second pipe.
//! 3. For the last sink, the contents of the first pipe itself are moved.

use super::end::End;
use super::error::{Failure, Side, TransferError};
use super::round::Round;
use super::{Transfer, Transferred};
use crate::fd::{AsFd, BorrowedFd};
use crate::{Deadline, Errno};
use core::fmt;
use core::ops::ControlFlow;

/// One sink of a [`fanout`]: a descriptor to write to, the number of bytes that have arrived, and the error
/// if the sink has failed.
pub struct FanoutSink<'fd> {
    fd: BorrowedFd<'fd>,
    /// The sink's end in the current fan-out, or `None` if that fan-out skips this sink or has dropped it.
    pub(super) end: Option<End<'fd>>,
    transferred: Transferred,
    error: Option<TransferError>,
}

impl<'fd> FanoutSink<'fd> {
    /// Creates a sink that has received no bytes.
    pub fn new(fd: &'fd impl AsFd) -> Self {
        Self { fd: fd.as_fd(), end: None, transferred: Transferred::NOTHING, error: None }
    }

    /// Returns the number of bytes that have arrived at this sink, summed over all its fan-outs.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.transferred.bytes()
    }

    /// Returns the same number of bytes as [`bytes`](Self::bytes), and the mechanism that moved the last of
    /// these bytes.
    #[must_use]
    pub const fn transferred(&self) -> Transferred {
        self.transferred
    }

    /// Returns the error that made the fan-out drop this sink, if any. The error holds the undelivered bytes
    /// of this sink's last round.
    #[must_use]
    pub const fn error(&self) -> Option<&TransferError> {
        self.error.as_ref()
    }

    /// Removes the [`error`](Self::error) and returns it. A later fan-out then writes to this sink again.
    /// Deliver [the bytes that did not arrive](TransferError::read_undelivered) first.
    pub fn take_error(&mut self) -> Option<TransferError> {
        self.error.take()
    }

    /// Counts the bytes that have arrived. A failure removes the sink from later rounds.
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

/// Moves bytes from a source to all of `sinks` until end of file. This function is a [`Fanout`] without
/// options.
///
/// # Errors
///
/// Fails as [`Fanout::run`] does.
///
/// # Panics
///
/// Panics if `sinks` is empty.
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
/// Like `tee --output-error=warn`, this program reports a sink that fails and continues with the other sinks:
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

    /// Moves exactly `bytes`, as [`Transfer::exact`] does.
    pub const fn exact(self, bytes: u64) -> Self {
        Self { options: self.options.exact(bytes), ..self }
    }

    /// Moves at most `bytes`, as [`Transfer::limit`] does.
    pub const fn limit(self, bytes: u64) -> Self {
        Self { options: self.options.limit(bytes), ..self }
    }

    /// Stops waiting at `deadline`, as [`Transfer::deadline`] does.
    ///
    /// A sink that is not ready at the deadline fails with [`ETIMEDOUT`](Errno::ETIMEDOUT) and is dropped.
    /// The other sinks receive the remaining bytes of the round and the bytes that the source can provide
    /// without waiting. Then the fan-out fails with `ETIMEDOUT` on the source, unless the source has ended,
    /// the requested bytes have arrived, or no sink remains.
    ///
    /// A [cancel](crate::Cancel) ends the fan-out after the current round. A sink that is ready receives the
    /// remaining bytes of the round. A sink that is not ready fails with [`ECANCELED`](Errno::ECANCELED) and
    /// is dropped. The source is not read again. The fan-out then fails with `ECANCELED` on the source or, if
    /// no sink remains, with the error of the last sink in the list. A fan-out that is cancelled before the
    /// start moves no bytes and drops no sink.
    pub const fn deadline(self, deadline: Deadline<'p>) -> Self {
        Self { options: self.options.deadline(deadline), ..self }
    }

    /// Allows the kernel to raise `SIGPIPE` if a sink has no reader, as [`Transfer::raise_sigpipe`] does.
    pub const fn raise_sigpipe(self) -> Self {
        Self { options: self.options.raise_sigpipe(), ..self }
    }

    /// Calls `progress` with the number of bytes that have arrived at all remaining sinks. The calls occur
    /// after each round, and after each signal while the source is silent. If `progress` returns `Break`, the
    /// fan-out ends immediately with success.
    pub fn progress(self, progress: &'p mut dyn FnMut(u64) -> ControlFlow<()>) -> Self {
        Self { options: self.options.progress(progress), ..self }
    }

    /// Calls `on_error` with the index and error of each sink that fails, before the fan-out writes to the
    /// next sink. If `on_error` returns `Break`, the fan-out fails immediately with the side and errno of
    /// that error.
    ///
    /// The current round then remains incomplete, and `sink.bytes()` returns the number of bytes that have
    /// arrived at each sink. The fan-out's error holds the [undelivered](TransferError::undelivered) bytes of
    /// the round. If the failed sink was the last sink of the round, the fan-out's error holds no bytes.
    pub fn on_error(
        self,
        on_error: &'p mut dyn FnMut(usize, &TransferError) -> ControlFlow<()>,
    ) -> Self {
        Self { on_error: Some(on_error), ..self }
    }

    /// Moves the bytes. The result holds the number of bytes that the source provided, and the mechanism that
    /// moved or duplicated those bytes. [`Splice`](super::TransferMechanism::Splice) stands for `tee` and
    /// `splice`. [`Copy`](super::TransferMechanism::Copy) stands for a buffer of this process. That buffer is
    /// used if the source needs a buffer, or if the kernel rejects `tee`. [`FanoutSink::transferred`] returns
    /// the mechanism for each sink.
    ///
    /// A fan-out opens four descriptors, regardless of the number of sinks. Each round is written to one sink
    /// after another. A slow sink therefore delays the other sinks, and a silent sink stops all sinks until
    /// the [deadline](Self::deadline). A sink that fails holds its [`error`](FanoutSink::error) and receives
    /// no further bytes. The other sinks continue. A sink that already has an error is skipped. The fan-out
    /// retries on `EINTR` and, by default, raises no `SIGPIPE`.
    ///
    /// A datagram or record of the source is truncated if it exceeds 256 KiB or the capacity of the private
    /// pipes.
    ///
    /// # Errors
    ///
    /// The [`TransferError`] holds the number of bytes that all remaining sinks have received. If no sink
    /// remains, each sink has its own [count](FanoutSink::bytes) and [undelivered](FanoutSink::error) bytes.
    /// The errors are:
    ///
    /// - An error that a read from the source has returned.
    /// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM) or another error that a filter returns, on the
    ///   sink and before the first byte, if `SIGPIPE` cannot be blocked.
    /// - [`EINVAL`](Errno::EINVAL) on the sink, before the first byte, if the source would return bytes that
    ///   were written to a sink. [`Transfer::run`] describes these cases.
    /// - The error of the last sink in the list if no sink remains. Bytes that were not yet read stay in the
    ///   source.
    /// - The error of a sink if [`on_error`](Self::on_error) has returned `Break` for that sink. Bytes that
    ///   were not yet read stay in the source.
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) on the source if the deadline has passed, or
    ///   [`ECANCELED`](Errno::ECANCELED) if the deadline was cancelled.
    /// - [`EMFILE`](Errno::EMFILE) or [`ENFILE`](Errno::ENFILE) on the source, before the first byte, if no
    ///   descriptor or memory is available for the pipes.
    /// - [`ENOMEM`](Errno::ENOMEM) on the source if no memory is available for a buffer or for the bytes that
    ///   a sink does not receive.
    /// - The errno is `None` if the source ended before it had provided the [exact](Self::exact) number of
    ///   bytes.
    ///
    /// # Panics
    ///
    /// Panics if `sinks` is empty.
    pub fn run(
        mut self,
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
        let ends = || sinks.iter().filter_map(|sink| sink.end);
        if ends().any(|end| from.is_fed_by(&end, self.options.most)) {
            return Err(TransferError::before(Side::Sink, Errno::EINVAL));
        }
        // If a sink is the source's own file, a write to the sink could change pages that later sinks have
        // not yet received.
        self.options.copy_semantics = ends().any(|end| from.is_same_as(&end));
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
        let Self { options, mut on_error } = self;
        let Transfer { most, exact, deadline, copy_semantics, mut progress, .. } = options;
        let mut ends = |done| progress.as_mut().is_some_and(|tell| tell(done).is_break());
        loop {
            let done = round.done.bytes;
            let Some(last) = sinks.iter().rposition(|sink| sink.end.is_some()) else {
                let error = sinks.iter().rev().find_map(FanoutSink::error);
                return error.map_or(Ok(()), |error| Err(Failure::again(error)));
            };
            let most = most.map(|most| most - done);
            let mut ended = false;
            // One call must move all bytes of a round. A second call would wait indefinitely if the pipe is
            // full.
            let mut one_call = |moved| {
                ended = moved == 0 && ends(done);
                if moved > 0 || ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let options = Transfer { most, deadline, copy_semantics, ..Transfer::new() };
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

/// Writes a round to all remaining sinks. Stops if a sink fails and `on_error` returns `Break`.
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
