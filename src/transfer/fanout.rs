//! One source to several sinks, by `tee`.
//!
//! # The bookkeeping
//!
//! `tee` duplicates and does not consume, so that a second call duplicates the same bytes again. Each
//! sink therefore has a pipe of its own, which is empty when a round begins, and all of them have the
//! same number of slots. A round then is:
//!
//! 1. `tee` what is there, or what fits, into the pipe of the first sink: that is the length of this
//!    round. It fits into every other sink's pipe, because that has as many slots and is empty.
//! 2. `tee` exactly that much into the pipes of the others, but for the last, into which it is
//!    `splice`d: now it is consumed, once.
//! 3. Move each pipe to its sink to the last byte. What goes wrong here is that sink's matter alone.

use super::end::End;
use super::error::{Failure, Held, Side, TransferError};
use super::round::{Round, Source};
use super::{Transfer, TransferMechanism, Transferred, discard};
use crate::fd::{AsFd, BorrowedFd};
use crate::io::sigpipe;
use crate::pipe::{self, Capacity};
use crate::{Errno, PipeFlags, PipeReader, PipeWriter, Result};
use core::fmt;
use core::ops::ControlFlow;

/// One of the sinks of a [`fanout`]: a descriptor to write to, what has arrived there, and why it is
/// no longer written to, if so.
pub struct FanoutSink<'fd> {
    fd: BorrowedFd<'fd>,
    /// Its pipe; none when it was dropped from the fan-out.
    pipe: Option<(PipeReader, PipeWriter)>,
    bytes: u64,
    error: Option<TransferError>,
}

impl<'fd> FanoutSink<'fd> {
    /// A sink, with a pipe of its own.
    ///
    /// # Errors
    ///
    /// - [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE): there is no descriptor or no memory for
    ///   the pipe.
    pub fn new(fd: &'fd impl AsFd) -> Result<Self> {
        let pipe = Some(pipe::internal(PipeFlags::empty())?);
        Ok(Self { fd: fd.as_fd(), pipe, bytes: 0, error: None })
    }

    /// How many bytes have arrived at it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why it was dropped from the fan-out. The error holds those bytes of its last round that did not
    /// arrive.
    #[must_use]
    pub const fn error(&self) -> Option<&TransferError> {
        self.error.as_ref()
    }

    /// As [`error`](Self::error), and takes it out.
    pub fn take_error(&mut self) -> Option<TransferError> {
        self.error.take()
    }

    /// Moves what all sinks have of a round from its pipe to the sink, if it is still one.
    fn deliver(&mut self, &Round { len, most, .. }: &Round) {
        let Some((reader, _)) = &self.pipe else { return };
        match Transfer::new().exact(len as u64).run_own(Side::Source, reader.as_fd(), self.fd) {
            Ok(transferred) => self.bytes += transferred.bytes(),
            Err(mut error) => {
                self.bytes += error.bytes();
                // What the failed transfer has not even taken is in the pipe still.
                let arrived = usize::try_from(error.bytes()).unwrap_or(len);
                let left = len - arrived - error.undelivered();
                error.transferred.bytes = self.bytes;
                error.failure.held.pipe = self.pipe.take().map(|(reader, _)| (reader, left));
                self.error = Some(error);
            }
        }
        if most > len {
            self.empty();
        }
    }

    /// Takes what it was given too much of out of its pipe, or drops it from the fan-out.
    fn empty(&mut self) {
        let Some((reader, _)) = &self.pipe else { return };
        let left = reader.available().map_err(|errno| failed(0, Side::Source, errno));
        if let Err(error) = left.and_then(|left| discard(reader.as_fd(), Some(left as u64))) {
            (self.pipe, self.error) = (None, Some(error));
        }
    }

    fn writer(&self) -> Option<&PipeWriter> {
        self.pipe.as_ref().map(|(_, writer)| writer)
    }
}

impl fmt::Debug for FanoutSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanoutSink")
            .field("fd", &self.fd)
            .field("bytes", &self.bytes)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// Moves bytes from a source to all of `sinks` until end of file, as [`Fanout`] does without any
/// option, and returns how many the source gave.
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
/// let mut sinks = [FanoutSink::new(&to_one)?, FanoutSink::new(&to_two)?];
/// assert_eq!(fanout(&reader, &mut sinks)?, 13);
/// assert_eq!((one.available()?, two.available()?), (13, 13));
/// assert!(sinks.iter().all(|sink| sink.bytes() == 13 && sink.error().is_none()));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [tee(2)](https://man7.org/linux/man-pages/man2/tee.2.html)
#[doc(alias = "tee")]
pub fn fanout(
    from: impl AsFd,
    sinks: &mut [FanoutSink<'_>],
) -> core::result::Result<u64, TransferError> {
    Fanout::new().run(from, sinks)
}

/// A fan-out with options.
#[must_use = "a fan-out moves nothing until `run` is called"]
#[derive(Default)]
pub struct Fanout<'p> {
    progress: Option<&'p mut dyn FnMut(u64) -> ControlFlow<()>>,
}

impl<'p> Fanout<'p> {
    /// A fan-out until end of file.
    pub const fn new() -> Self {
        Self { progress: None }
    }

    /// Calls `progress` with the number of bytes that have arrived at all sinks that are left, after
    /// each round. When it answers `Break` the fan-out ends there, with success.
    pub fn progress(mut self, progress: &'p mut dyn FnMut(u64) -> ControlFlow<()>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Moves the bytes and returns how many the source gave.
    ///
    /// The kernel duplicates them with `tee`; where it rejects that they are copied. A slow sink makes the
    /// others wait. One that fails is dropped, with its [`error`](FanoutSink::error), and the others
    /// continue. No other process may read from the source meanwhile. Retries on `EINTR`, and raises no
    /// `SIGPIPE`.
    ///
    /// A datagram or record of the source is cut at the capacity of the smallest pipe: 64 KiB, unless the
    /// user has too many pages in pipes.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] with the number of bytes that all the sinks that are left have got. When none is
    /// left, each sink has its own [count](FanoutSink::bytes) and [undelivered](FanoutSink::error) bytes.
    ///
    /// - an error of reading the source;
    /// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM) or another error of a filter, on the sink and
    ///   before the first byte: `SIGPIPE` cannot be blocked;
    /// - [`EINVAL`](Errno::EINVAL) on the sink, before the first byte: what a sink is given comes back from
    ///   the source, as for [`Transfer::run`];
    /// - the error of a sink when none is left. The source then keeps what it has not given yet;
    /// - [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE): the source is no pipe, and there is
    ///   none to be had.
    ///
    /// # Panics
    ///
    /// If there is no sink.
    pub fn run(
        mut self,
        from: impl AsFd,
        sinks: &mut [FanoutSink<'_>],
    ) -> core::result::Result<u64, TransferError> {
        assert!(!sinks.is_empty(), "a fan-out to nowhere");
        let _no_sigpipe = sigpipe::Guard::new().map_err(|errno| failed(0, Side::Sink, errno))?;
        let from = from.as_fd();
        let end = End::new(from, Side::Source, false);
        if sinks.iter().any(|sink| end.is_fed_by(&End::new(sink.fd, Side::Sink, false), false)) {
            return Err(failed(0, Side::Sink, Errno::EINVAL));
        }
        let mut source = Source::new(from).map_err(|errno| failed(0, Side::Source, errno))?;
        let room = pipe::capacity(source.pipe()).map_err(|errno| failed(0, Side::Source, errno))?;
        let room = make_alike(sinks, room);
        let mut bytes = 0;
        loop {
            let so_far = |error| TransferError { transferred: through_pipes(bytes), ..error };
            if !source.fill(room).map_err(so_far)? {
                return Ok(bytes);
            }
            let round = source.give(sinks.iter().filter_map(FanoutSink::writer));
            if round.len == 0 && round.stopped.is_none() {
                return Ok(bytes);
            }
            sinks.iter_mut().for_each(|sink| sink.deliver(&round));
            let of_sinks = last_error(sinks);
            if of_sinks.is_none() {
                bytes += round.len as u64;
            }
            let of_source = round.stopped.map(|errno| (Side::Source, errno));
            if let Some((side, errno)) = of_sinks.or(of_source) {
                let mut error = failed(bytes, side, errno);
                error.failure.held = Held { pages: round.pages, pipe: source.into_held() };
                return Err(error);
            }
            let progress = self.progress.as_mut().filter(|_| source.in_own == 0);
            if progress.is_some_and(|progress| progress(bytes).is_break()) {
                return Ok(bytes);
            }
        }
    }
}

impl fmt::Debug for Fanout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fanout").finish_non_exhaustive()
    }
}

fn through_pipes(bytes: u64) -> Transferred {
    Transferred { bytes, mechanism: TransferMechanism::Splice, fell_back: false }
}

fn failed(bytes: u64, side: Side, errno: Errno) -> TransferError {
    TransferError { transferred: through_pipes(bytes), failure: Failure::new(side, errno) }
}

/// Gives the pipes of all sinks the same number of slots: that of the source, or if one of them is not
/// granted as many, as many as that one has. (An empty pipe can always be made smaller.) Returns for
/// how many bytes that is room.
fn make_alike(sinks: &[FanoutSink<'_>], room: usize) -> usize {
    // One that was dropped in an earlier run has none, and is no measure for the others.
    let writers = || sinks.iter().filter_map(FanoutSink::writer);
    writers().for_each(|writer| _ = writer.set_capacity(Capacity::Bytes(room)));
    let least = writers().map(|writer| writer.capacity().unwrap_or(0)).min().unwrap_or(room);
    writers().for_each(|writer| _ = writer.set_capacity(Capacity::Bytes(least)));
    least.min(room)
}

/// When no sink is left: why one of them is not.
fn last_error(sinks: &[FanoutSink<'_>]) -> Option<(Side, Errno)> {
    if sinks.iter().any(|sink| sink.pipe.is_some()) {
        return None;
    }
    let error = sinks.iter().rev().find_map(|sink| sink.error.as_ref())?;
    Some((error.side(), error.errno().unwrap_or(Errno::EIO)))
}
