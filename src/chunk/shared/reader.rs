//! Implements the half that receives records.
//!
//! # Safety
//!
//! This file is trusted to lend only those bytes of the ring that belong to the reader: see
//! [`shared`](crate::chunk::shared#why-this-is-sound).
#![allow(unsafe_code, reason = "slices of shared memory")]

use super::half::Half;
use crate::fd::{AsFd, BorrowedFd};
use crate::{Deadline, Result};
use core::ops::Deref;
use core::{fmt, mem};

/// Receives the records of its [`SharedWriter`](super::SharedWriter) in place.
///
/// Each call of [`recv`](Self::recv) lends the next record. Dropping the reader makes the writer fail with
/// [`EPIPE`](crate::Errno::EPIPE).
///
/// The [`std::io::BufRead`] implementation lends the record itself as its buffer, without a copy. After
/// [`consume`](std::io::BufRead::consume), `recv` lends the remaining bytes of the record.
///
/// # Readiness
///
/// The reader's [`AsFd`] lends the read end of a pipe. Before each wait for this descriptor, whether
/// level-triggered or edge-triggered, one of two calls must have failed. [`try_recv`](Self::try_recv) must
/// have failed with [`EAGAIN`](crate::Errno::EAGAIN), or [`recv_deadline`](Self::recv_deadline) must have
/// failed with [`ETIMEDOUT`](crate::Errno::ETIMEDOUT) or [`ECANCELED`](crate::Errno::ECANCELED). Otherwise,
/// the descriptor might never become readable. The descriptor becomes readable (`IN`) when a record is
/// available, and reports `HUP` after the writer has ended. A wake-up can be spurious. Do not read from the
/// descriptor.
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::event::{PollEvents, PollFd, poll};
///
/// # let (mut reader, mut writer) = rawpipe::chunk::shared()?;
/// # std::thread::spawn(move || (0..3).try_for_each(|_| writer.chunk().map(drop).and_then(|()| writer.send(1))));
/// # let mut received = 0;
/// loop {
///     let error = match reader.try_recv() {
///         Ok(Some(record)) => {
///             received += record.len();
///             continue;
///         }
///         Ok(None) => break,
///         Err(error) => error,
///     };
///     match error {
///         Errno::EAGAIN => poll(&mut [PollFd::new(&reader, PollEvents::IN)], None)?,
///         error => return Err(error),
///     };
/// }
/// assert_eq!(received, 3);
/// # Ok::<(), Errno>(())
/// ```
///
/// # Examples
///
/// ```
/// use std::io::BufRead;
///
/// let (reader, mut writer) = rawpipe::chunk::shared()?;
/// std::io::Write::write_all(&mut writer, b"one line\nand another\n")?;
/// drop(writer);
/// let lines: Result<Vec<_>, _> = reader.lines().collect();
/// assert_eq!(lines?, ["one line", "and another"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedReader {
    pub(super) half: Half<false>,
    /// The number of bytes of the current record that were already lent or consumed.
    pub(super) taken: usize,
}

impl SharedReader {
    /// Waits for a record and lends it. `None` means end of file. Retries on `EINTR`.
    ///
    /// End of file means that all records were received, and that either the writer was dropped or its
    /// process has ended.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`](crate::Errno::EBUSY) if another process uses this half.
    /// - [`EPROTO`](crate::Errno::EPROTO) if the memory holds values that no writer stores. All later calls
    ///   fail with the same error.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// for word in ["two", "records"] {
    ///     writer.chunk()?[..word.len()].copy_from_slice(word.as_bytes());
    ///     writer.send(word.len())?;
    /// }
    /// drop(writer);
    /// assert_eq!(&*reader.recv()?.unwrap(), b"two");
    /// assert_eq!(&*reader.recv()?.unwrap(), b"records");
    /// assert!(reader.recv()?.is_none());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    #[inline]
    pub fn recv(&mut self) -> Result<Option<SharedChunk<'_>>> {
        self.take(Some(Deadline::NEVER))
    }

    /// Lends the next record as [`recv`](Self::recv) does, but does not wait.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`EAGAIN`](crate::Errno::EAGAIN) if no record is available. The descriptor becomes readable when a
    ///   record is available: see [readiness](Self#readiness).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::event::{PollEvents, PollFd, poll};
    ///
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
    /// writer.chunk()?[0] = 1;
    /// writer.send(1)?;
    /// assert_eq!(poll(&mut [PollFd::new(&reader, PollEvents::IN)], None)?, 1);
    /// assert_eq!(*reader.try_recv()?.unwrap(), [1]);
    /// # Ok::<(), Errno>(())
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<SharedChunk<'_>>> {
        self.take(None)
    }

    /// Lends the next record as [`recv`](Self::recv) does, but waits only until `deadline`. An available
    /// record is lent even after the deadline.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`ETIMEDOUT`](crate::Errno::ETIMEDOUT) if no record was sent before the deadline.
    /// - [`ECANCELED`](crate::Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before a record
    ///   is sent.
    pub fn recv_deadline(&mut self, deadline: Deadline<'_>) -> Result<Option<SharedChunk<'_>>> {
        self.take(Some(deadline))
    }

    #[inline]
    fn take(&mut self, until: Option<Deadline<'_>>) -> Result<Option<SharedChunk<'_>>> {
        if !self.fill(until)? {
            return Ok(None);
        }
        let start = mem::replace(&mut self.taken, self.half.side.lent.len);
        Ok(Some(SharedChunk { reader: self, start }))
    }

    /// Receives the next record unless bytes of the current record remain. Returns `false` at end of file.
    #[inline]
    pub(super) fn fill(&mut self, until: Option<Deadline<'_>>) -> Result<bool> {
        self.half.side.claim()?;
        if self.taken < self.half.side.lent.len {
            return Ok(true);
        }
        self.half.side.give_back();
        if !self.half.wait(self.half.side.next(), until)? {
            return Ok(false);
        }
        self.half.side.lend()?;
        self.taken = 0;
        Ok(true)
    }

    /// Returns the bytes of the current record that begin at `start`.
    #[inline]
    fn bytes(&self, start: usize) -> &[u8] {
        let side = &self.half.side;
        let bytes = side.link.bytes(side.lent_at() + start, side.lent.len - start);
        // SAFETY: until these bytes are returned to the writer, they belong to the reader's half (point 2 of
        // the module's argument). Only this process owns that half (point 4). Returning the bytes borrows
        // this value exclusively (point 6). The bytes are initialised (point 11).
        unsafe { bytes.as_ref() }
    }

    /// Releases the half without ending the stream, so that another process that has a copy of the half can
    /// use its copy.
    ///
    /// The other process first receives the record that follows the last record lent in this process. Bytes
    /// of the lent record that were not [consumed](std::io::BufRead::consume) are lost. If no other process
    /// has a copy, the writer fails with [`EPIPE`](crate::Errno::EPIPE).
    pub fn release(mut self) {
        self.half.side.give_back();
        self.half.side.leave(false);
    }
}

impl AsFd for SharedReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.half.side.link.bells.0.as_fd()
    }
}

#[cfg(feature = "std")]
impl std::io::BufRead for SharedReader {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(if self.fill(Some(Deadline::NEVER))? { self.bytes(self.taken) } else { &[] })
    }

    fn consume(&mut self, amount: usize) {
        let len = self.half.side.lent.len;
        self.taken = self.taken.saturating_add(amount).min(len);
        if self.taken == len {
            self.half.side.give_back();
        }
    }
}

#[cfg(feature = "std")]
impl std::io::Read for SharedReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let bytes = std::io::BufRead::fill_buf(self)?;
        let len = buf.len().min(bytes.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        std::io::BufRead::consume(self, len);
        Ok(len)
    }
}

/// Holds a record that [`recv`](SharedReader::recv) lends. Dropping the value returns the record's room to
/// the writer.
///
/// If the value is leaked, the next method call on the reader gives the record's room back to the writer.
pub struct SharedChunk<'reader> {
    reader: &'reader mut SharedReader,
    start: usize,
}

impl Deref for SharedChunk<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.reader.bytes(self.start)
    }
}

impl AsRef<[u8]> for SharedChunk<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for SharedChunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedChunk").field(&&**self).finish()
    }
}

impl Drop for SharedChunk<'_> {
    #[inline]
    fn drop(&mut self) {
        self.reader.half.side.give_back();
    }
}
