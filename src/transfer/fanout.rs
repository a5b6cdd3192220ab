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
use super::error::{Held, Side, TransferError};
use super::{Transfer, TransferMechanism, Transferred, discard};
use crate::event::{Backoff, PollFd, poll_until};
use crate::fd::{AsFd, BorrowedFd};
use crate::io::sigpipe;
use crate::pipe::{self, Capacity};
use crate::sys::abi::MAX_RW_COUNT;
use crate::sys::abi::flags::PollEvents;
use crate::sys::call;
use crate::sys::map::Map;
use crate::sys::page;
use crate::{Errno, PipeFlags, PipeReader, PipeWriter, Result};
use core::fmt;
use core::iter::once;
use core::ops::{ControlFlow, Range};

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

    /// Moves the `len` bytes in its pipe to the sink, if it is still one.
    fn deliver(&mut self, len: usize) {
        let Some((reader, _)) = &self.pipe else { return };
        match Transfer::new().exact(len as u64).run_own(Side::Source, reader.as_fd(), self.fd) {
            Ok(transferred) => self.bytes += transferred.bytes(),
            Err(mut error) => {
                self.bytes += error.bytes();
                // What the failed transfer has not even taken is in the pipe still.
                let arrived = usize::try_from(error.bytes()).unwrap_or(len);
                let left = len - arrived - error.undelivered();
                error.transferred.bytes = self.bytes;
                error.held.pipe = self.pipe.take().map(|(reader, _)| (reader, left));
                self.error = Some(error);
            }
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

    fn capacity(&self) -> usize {
        self.pipe.as_ref().map_or(0, |(_, writer)| writer.capacity().unwrap_or(0))
    }

    fn set_capacity(&self, bytes: usize) {
        if let Some((_, writer)) = &self.pipe {
            let _ = writer.set_capacity(Capacity::Bytes(bytes));
        }
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
        let source = End::new(from, Side::Source, false);
        let returns =
            |sink: &FanoutSink<'_>| source.is_fed_by(&End::new(sink.fd, Side::Sink, false), false);
        if sinks.iter().any(returns) {
            return Err(failed(0, Side::Sink, Errno::EINVAL));
        }
        // `tee` reads from pipes only: another source is moved into one first, a pipe's fill at a time.
        let own = if pipe::capacity(from).is_ok() {
            None
        } else {
            let (reader, writer) = pipe::internal(PipeFlags::empty())
                .map_err(|errno| failed(0, Side::Source, errno))?;
            let _ = writer.set_capacity(Capacity::Max);
            Some((reader, writer))
        };
        let source = own.as_ref().map_or(from, |(reader, _)| reader.as_fd());
        let room = pipe::capacity(source).map_err(|errno| failed(0, Side::Source, errno))?;
        let room = make_alike(sinks, room);
        let mut bytes = 0;
        // How much there is in our own pipe, and why there will be no more.
        let (mut in_own, mut last) = (0, None);
        loop {
            if let Some((_, writer)) = own.as_ref().filter(|_| in_own == 0) {
                if let Some(error) = last {
                    return Err(TransferError { transferred: through_pipes(bytes), ..error });
                }
                match fill(from, writer, room) {
                    Ok(0) => return Ok(bytes),
                    Ok(count) => in_own = count,
                    Err(error) => {
                        in_own = usize::try_from(error.bytes()).unwrap_or(0);
                        last = Some(error);
                        continue;
                    }
                }
            }
            let Round { most, len, stopped, pages } = round(source, sinks);
            if len == 0 && stopped.is_none() {
                return Ok(bytes);
            }
            let in_hand = pages.as_ref().map_or(0, |(_, range)| range.len());
            in_own = in_own.saturating_sub(len + in_hand);
            for sink in sinks.iter_mut() {
                sink.deliver(len);
                if most > len {
                    sink.empty();
                }
            }
            let of_sinks = last_error(sinks);
            if of_sinks.is_none() {
                bytes += len as u64;
            }
            if let Some((side, errno)) = of_sinks.or(stopped.map(|errno| (Side::Source, errno))) {
                let mut error = failed(bytes, side, errno);
                error.held = Held { pages, pipe: own.map(|(reader, _)| (reader, in_own)) };
                return Err(error);
            }
            if let Some(progress) = self.progress.as_mut().filter(|_| in_own == 0) {
                if progress(bytes).is_break() {
                    return Ok(bytes);
                }
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
    let held = Held::default();
    TransferError { transferred: through_pipes(bytes), side, errno: Some(errno), held }
}

/// Gives the pipes of all sinks the same number of slots: that of the source, or if one of them is not
/// granted as many, as many as that one has. (An empty pipe can always be made smaller.) Returns for
/// how many bytes that is room.
fn make_alike(sinks: &[FanoutSink<'_>], room: usize) -> usize {
    for sink in sinks {
        sink.set_capacity(room);
    }
    // One that was dropped in an earlier run has none, and is no measure for the others.
    let left = sinks.iter().filter(|sink| sink.pipe.is_some());
    let least = left.map(FanoutSink::capacity).min().unwrap_or(room);
    for sink in sinks {
        sink.set_capacity(least);
    }
    least.min(room)
}

/// Moves up to `room` bytes of a source that is no pipe into one that is empty; 0 is its end. What is
/// in the pipe when it fails is what the error says has arrived.
fn fill(
    from: BorrowedFd<'_>,
    writer: &PipeWriter,
    room: usize,
) -> core::result::Result<usize, TransferError> {
    // One call that moves something: what is more than the pipe holds would wait for ever.
    let stop = &mut |done| match done {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let transfer = Transfer::new().chunk(room.max(page::size())).progress(stop);
    let transferred = transfer.run_own(Side::Sink, from, writer.as_fd())?;
    Ok(usize::try_from(transferred.bytes()).unwrap_or(room))
}

/// What a round has put into the pipes of the sinks.
#[derive(Default)]
struct Round {
    /// The most that one of them was given.
    most: usize,
    /// What all of them have, and what was consumed. 0: the source has ended, or has failed.
    len: usize,
    /// Why it is less than `most`, if an error is the reason.
    stopped: Option<Errno>,
    /// What was consumed, and not all of them have.
    pages: Option<(Map, Range<usize>)>,
}

/// Puts the same bytes into the pipes of all sinks that are left, and consumes them from the source.
fn round(source: BorrowedFd<'_>, sinks: &[FanoutSink<'_>]) -> Round {
    let mut pipes = sinks.iter().filter_map(|sink| sink.pipe.as_ref()).map(|(_, writer)| writer);
    let mut round = Round::default();
    let Some(last) = pipes.next_back() else { return round };
    let mut wanted = MAX_RW_COUNT;
    for writer in pipes {
        // The first says how much it is. The others have as much room, and what was there still is.
        match wait_and(source, || call::tee(source, writer.as_fd(), wanted, 0)) {
            Ok(0) => return round,
            Ok(count) => wanted = count,
            Err(errno) if call::cannot_move(errno) && round.most == 0 => {
                let pipes = sinks.iter().filter_map(|sink| sink.pipe.as_ref());
                return copy(source, MAX_RW_COUNT, pipes.map(|(_, writer)| writer));
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
fn wait_and(source: BorrowedFd<'_>, mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    let mut backoff = Backoff::default();
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                backoff.pause(None);
                poll_until(&mut [PollFd::from_borrowed_fd(source, PollEvents::IN)], None)?;
            }
            answer => return answer,
        }
    }
}

/// When no sink is left: why one of them is not.
fn last_error(sinks: &[FanoutSink<'_>]) -> Option<(Side, Errno)> {
    if sinks.iter().any(|sink| sink.pipe.is_some()) {
        return None;
    }
    let error = sinks.iter().rev().find_map(|sink| sink.error.as_ref())?;
    Some((error.side(), error.errno().unwrap_or(Errno::EIO)))
}
