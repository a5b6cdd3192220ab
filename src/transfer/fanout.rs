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

use super::engine::is_refusal;
use super::error::{Held, Side, TransferError};
use super::{Mechanism, Transfer, Transferred};
use crate::abi::MAX_RW_COUNT;
use crate::fd::{AsFd, BorrowedFd};
use crate::flags::PollEvents;
use crate::io::Incomplete;
use crate::map::Map;
use crate::pipe::{self, Builder, Capacity};
use crate::poll::{PollFd, poll};
use crate::{Errno, PipeReader, PipeWriter, Result, call, page, sigpipe};
use core::fmt;
use core::iter::once;
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
        let pipe = Some(pipe::pipe()?);
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
        match Transfer::new().exact(len as u64).run_guarded(reader.as_fd(), self.fd) {
            Ok(transferred) => self.bytes += transferred.bytes(),
            Err(mut error) => {
                self.bytes += error.bytes();
                // What the failed transfer has not even taken is in the pipe still.
                error.held.pipe = self.pipe.take().map(|(reader, _)| {
                    let left = reader.available().unwrap_or(0);
                    (reader, left)
                });
                self.error = Some(error);
            }
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
    /// They are duplicated inside the kernel by `tee`, or copied where that is refused. A sink that is slow makes the others wait. One
    /// that fails is dropped, with its [`error`](FanoutSink::error), and the others go on. Nobody else
    /// may read from the source meanwhile. Goes on after signals, and raises no `SIGPIPE`.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] with the number of bytes that all the sinks that are left have got:
    ///
    /// - an error of reading the source;
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
        let _no_sigpipe = sigpipe::Guard::new();
        let from = from.as_fd();
        // `tee` reads from pipes only: another source is moved into one first, a pipe's fill at a time.
        let own = if pipe::capacity(from).is_ok() {
            None
        } else {
            let made = Builder::new().capacity(Capacity::Max).build();
            Some(made.map_err(|errno| failed(0, Side::Source, errno))?)
        };
        let source = own.as_ref().map_or(from, |(reader, _)| reader.as_fd());
        let room = pipe::capacity(source).map_err(|errno| failed(0, Side::Source, errno))?;
        let room = make_alike(sinks, room);
        if let Some((_, writer)) = &own {
            // A round leaves nothing in it, so that nothing is lost with it.
            let answer = writer.set_capacity(Capacity::Bytes(room));
            answer.map_err(|errno| failed(0, Side::Source, errno))?;
        }
        let mut bytes = 0;
        loop {
            let len = match next_round(from, own.as_ref(), room, sinks) {
                Ok(0) => return Ok(bytes),
                Ok(len) => len,
                Err(errno) => return Err(failed(bytes, Side::Source, errno)),
            };
            for sink in sinks.iter_mut() {
                sink.deliver(len);
            }
            match last_error(sinks) {
                Some((side, errno)) => return Err(failed(bytes, side, errno)),
                None => bytes += len as u64,
            }
            if let Some(progress) = &mut self.progress {
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

fn failed(bytes: u64, side: Side, errno: Errno) -> TransferError {
    let transferred = Transferred { bytes, mechanism: Mechanism::Splice, fell_back: false };
    TransferError { transferred, side, errno: Some(errno), held: Held::default() }
}

/// Puts what comes next into the pipes of all sinks, by way of a pipe of our own where the source is
/// none, and returns how many bytes; 0 is the source's end.
fn next_round(
    from: BorrowedFd<'_>,
    own: Option<&(PipeReader, PipeWriter)>,
    room: usize,
    sinks: &[FanoutSink<'_>],
) -> Result<usize> {
    let Some((reader, writer)) = own else { return round(from, sinks) };
    if reader.available()? == 0 && fill(from, writer, room)? == 0 {
        return Ok(0);
    }
    round(reader.as_fd(), sinks)
}

/// Gives the pipes of all sinks the same number of slots: that of the source, or if one of them is not
/// granted as many, as many as that one has; and returns it, in bytes. (An empty pipe can always be made
/// smaller.)
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
    least
}

/// Moves up to `room` bytes of a source that is no pipe into one that is empty; 0 is its end.
fn fill(from: BorrowedFd<'_>, writer: &PipeWriter, room: usize) -> Result<usize> {
    // One call that moves something: what is more than the pipe holds would wait for ever.
    let stop = &mut |done| match done {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    match Transfer::new()
        .chunk(room.max(page::size()))
        .progress(stop)
        .run_guarded(from, writer.as_fd())
    {
        Ok(transferred) => Ok(usize::try_from(transferred.bytes()).unwrap_or(room)),
        Err(error) => Err(error.errno().unwrap_or(Errno::EIO)),
    }
}

/// Puts the same bytes into the pipes of all sinks that are left, consumes them from the source, and
/// returns how many; 0 is its end.
fn round(source: BorrowedFd<'_>, sinks: &[FanoutSink<'_>]) -> Result<usize> {
    let mut pipes = sinks.iter().filter_map(|sink| sink.pipe.as_ref()).map(|(_, writer)| writer);
    let Some(last) = pipes.next_back() else { return Ok(0) };
    let mut len = MAX_RW_COUNT;
    for writer in pipes {
        // The first says how much it is. The others have as much room, and what was there still is.
        len = match wait_and(source, || call::tee(source, writer.as_fd(), len, 0)) {
            Ok(0) => return Ok(0),
            Err(errno) if is_refusal(errno) && len == MAX_RW_COUNT => {
                let pipes = sinks.iter().filter_map(|sink| sink.pipe.as_ref());
                return copy(source, MAX_RW_COUNT, pipes.map(|(_, writer)| writer));
            }
            answer => answer?,
        };
    }
    let mut consumed = 0;
    while consumed < len {
        let to = last.as_fd();
        let left = len - consumed;
        let count = match wait_and(source, || call::splice(source, None, to, None, left, 0)) {
            Err(errno) if is_refusal(errno) => copy(source, left, once(last))?,
            answer => answer?,
        };
        consumed += count;
        // With one sink there is no tee that said how much: it is what the first call moved.
        if count == 0 || len == MAX_RW_COUNT {
            break;
        }
    }
    Ok(consumed)
}

/// Where the kernel does not move the bytes by itself: reads up to `most` of them, writes them to all of
/// these pipes, which are empty and have the same capacity, and returns how many.
fn copy<'a>(
    source: BorrowedFd<'_>,
    most: usize,
    mut pipes: impl Iterator<Item = &'a PipeWriter> + Clone,
) -> Result<usize> {
    let room = pipes.clone().next().map_or(Ok(0), PipeWriter::capacity)?;
    let mut pages = Map::anonymous(most.min(room))?;
    let buf = &mut pages.bytes_mut()[..most.min(room)];
    let count = wait_and(source, || call::read(source, buf))?;
    let failed = |stopped: Incomplete| stopped.errno().unwrap_or(Errno::EIO);
    pipes.try_for_each(|pipe| pipe.write_all(&pages.bytes()[..count]).map_err(failed))?;
    Ok(count)
}

/// Makes a call on the source until it answers something: goes on after signals, and waits where the
/// source is nonblocking and has nothing. The other end is a pipe of our own with room in it.
fn wait_and(source: BorrowedFd<'_>, mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(source, PollEvents::IN)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
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
