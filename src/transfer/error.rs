//! Defines the error of a transfer. The error holds the bytes that were read but not delivered.

use super::Transferred;
use crate::sys::map::Map;
use crate::sys::page;
use crate::{Errno, PipeReader, Result};
use core::fmt;
use core::ops::Range;

/// One end of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The descriptor that is read.
    Source,
    /// The descriptor that is written.
    Sink,
}

/// The error of a transfer that ended early: the reason, the side, and the number of bytes that arrived.
///
/// Bytes that were read from the source and did not arrive at the sink are not lost: see
/// [`undelivered`](Self::undelivered).
pub struct TransferError {
    pub(super) transferred: Transferred,
    pub(super) failure: Failure,
}

/// The failure of a mechanism. The errno is `None` if the source has ended or the sink accepts no more bytes.
pub(super) struct Failure {
    pub(super) side: Side,
    pub(super) errno: Option<Errno>,
    pub(super) held: Held,
}

impl Failure {
    pub(super) fn new(side: Side, errno: impl Into<Option<Errno>>) -> Self {
        Self { side, errno: errno.into(), held: Held::default() }
    }

    /// Returns a failure with the side and errno of `error`, but without undelivered bytes.
    pub(super) fn again(error: &TransferError) -> Self {
        Self::new(error.side(), error.errno())
    }
}

/// The bytes that were read from the source and have not arrived: first the bytes in `pages`, then the bytes
/// in `pipe`.
#[derive(Default)]
pub(super) struct Held {
    pub(super) pages: Option<(Map, Range<usize>)>,
    pub(super) pipe: Option<(PipeReader, usize)>,
}

impl TransferError {
    /// Creates an error for a failure before the first byte.
    pub(super) fn before(side: Side, errno: Errno) -> Self {
        Self { transferred: Transferred::NOTHING, failure: Failure::new(side, errno) }
    }

    /// Returns the number of bytes that arrived at the sink.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.transferred.bytes()
    }

    /// Returns the number of bytes that arrived before the error, and the mechanism that moved the last of
    /// these bytes.
    #[must_use]
    pub const fn transferred(&self) -> Transferred {
        self.transferred
    }

    /// Returns the side that failed.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.failure.side
    }

    /// Returns the errno of the failure. [`ETIMEDOUT`](Errno::ETIMEDOUT) means that the deadline has passed,
    /// and [`ECANCELED`](Errno::ECANCELED) means that the deadline was cancelled. In both cases `side` is the
    /// side that was not ready, or the source if a cancelled transfer was not waiting. `None` on the source
    /// means that the source ended before it had provided the requested number of bytes. `None` on the sink
    /// means that a write accepted no bytes.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.failure.errno
    }

    const fn cause(&self) -> Option<&Errno> {
        self.failure.errno.as_ref()
    }

    /// Returns the number of bytes that were read from the source and did not arrive at the sink. These bytes
    /// are in the transfer's buffer or in its private pipe. Each call of
    /// [`read_undelivered`](Self::read_undelivered) reduces the number. When a transfer fails, it has read
    /// `bytes() + undelivered()` bytes from the source.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        let pages = self.failure.held.pages.as_ref().map_or(0, |(_, range)| range.len());
        pages + self.failure.held.pipe.as_ref().map_or(0, |(_, len)| *len)
    }

    /// Reads up to `buf.len()` of the [undelivered](Self::undelivered) bytes, in order, and returns the
    /// number of bytes read. A result of 0 means that no undelivered bytes remain, or that `buf` is empty.
    ///
    /// # Errors
    ///
    /// - [`EINTR`](Errno::EINTR) if a signal handler ran before any byte was read.
    /// - [`ENOMEM`](Errno::ENOMEM) if no memory is available for a page. A page is needed only if `buf` is
    ///   shorter than a page.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::transfer::{Side, transfer};
    /// use std::fs::File;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (source, far) = UnixStream::pair()?;
    /// rawpipe::io::write_all(&far, b"nowhere to go")?;
    /// let full = File::options().write(true).open("/dev/full")?;
    ///
    /// let mut error = transfer(&source, &full).unwrap_err();
    /// assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::ENOSPC)));
    /// assert_eq!((error.bytes(), error.undelivered()), (0, 13));
    /// let mut rescued = [0; 64];
    /// let count = error.read_undelivered(&mut rescued)?;
    /// assert_eq!(&rescued[..count], b"nowhere to go");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_undelivered(&mut self, buf: &mut [u8]) -> Result<usize> {
        let Held { pages, pipe } = &mut self.failure.held;
        let none_in_pages = pages.as_ref().is_none_or(|(_, range)| range.is_empty());
        if let Some((pipe, left)) = pipe.as_mut().filter(|(_, left)| none_in_pages && *left > 0) {
            let most = (*left).min(buf.len().max(page::size()));
            if most <= buf.len() {
                let count = pipe.read(&mut buf[..most])?;
                *left -= count;
                return Ok(count);
            }
            // A read shorter than a packet would lose the packet's remaining bytes.
            let mut page = Map::anonymous(most)?;
            let count = pipe.read(&mut page.bytes_mut()[..most])?;
            *left -= count;
            *pages = Some((page, 0..count));
        }
        let Some((pages, range)) = pages else { return Ok(0) };
        let count = range.len().min(buf.len());
        buf[..count].copy_from_slice(&pages.bytes()[range.start..range.start + count]);
        range.start += count;
        Ok(count)
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.failure.side {
            Side::Source => "source: ",
            Side::Sink => "sink: ",
        })?;
        match self.failure.errno {
            Some(errno) => write!(f, "{errno}")?,
            None => f.write_str("end of file")?,
        }
        write!(f, " after {} bytes", self.bytes())?;
        match self.undelivered() {
            0 => Ok(()),
            held => write!(f, ", {held} undelivered"),
        }
    }
}

impl fmt::Debug for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferError")
            .field("transferred", &self.transferred)
            .field("side", &self.failure.side)
            .field("errno", &self.failure.errno)
            .field("undelivered", &self.undelivered())
            .finish()
    }
}

crate::errno::like_std!(TransferError, _this => std::io::ErrorKind::UnexpectedEof);
