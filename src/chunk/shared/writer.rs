//! Implements the half that fills chunks.
//!
//! # Safety
//!
//! This file is trusted to lend only those bytes of the ring that belong to the writer: see
//! [`shared`](crate::chunk::shared#why-this-is-sound).
#![allow(unsafe_code, reason = "slices of shared memory")]

use super::half::Half;
use crate::fd::{AsFd, BorrowedFd};
use crate::{Deadline, Errno, Result};

/// Sends records to its [`SharedReader`](super::SharedReader) through shared memory.
///
/// To send a record, fill a [`chunk`](Self::chunk) and call [`send`](Self::send). Dropping the writer ends
/// the stream: the reader receives all records and then reaches end of file.
///
/// The [`std::io::Write`] implementation copies each buffer into a chunk and immediately sends this copy as
/// one record, so no flush is needed. A write overwrites the contents of a lent chunk. `write!` sends a
/// separate record for each part of its text. To send the whole text as one record, use a
/// [`BufWriter`](std::io::BufWriter) or a `String`.
///
/// # Readiness
///
/// The writer's [`AsFd`] lends the read end of a pipe. Before each wait for this descriptor, whether
/// level-triggered or edge-triggered, one of two calls must have failed. [`try_chunk`](Self::try_chunk) must
/// have failed with [`EAGAIN`](Errno::EAGAIN), or [`chunk_deadline`](Self::chunk_deadline) must have failed
/// with [`ETIMEDOUT`](Errno::ETIMEDOUT) or [`ECANCELED`](Errno::ECANCELED). Otherwise, the descriptor might
/// never become readable. The descriptor becomes readable (`IN`) when the ring has room, and reports `HUP`
/// after the reader has ended. A wake-up can be spurious. Do not read from the descriptor. See [the
/// reader](super::SharedReader#readiness) for an example of a loop.
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
/// let reading = thread::spawn(move || {
///     let mut sum = 0;
///     while let Some(chunk) = reader.recv()? {
///         sum += chunk.iter().map(|&byte| u64::from(byte)).sum::<u64>();
///     }
///     Ok::<u64, rawpipe::Errno>(sum)
/// });
/// for number in 0..100 {
///     writer.chunk()?[..1000].fill(number);
///     writer.send(1000)?;
/// }
/// drop(writer); // otherwise the reader would wait forever
/// assert_eq!(reading.join().unwrap()?, 1000 * (0..100).sum::<u64>());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Debug)]
pub struct SharedWriter {
    pub(super) half: Half<true>,
}

impl SharedWriter {
    /// Waits until the ring has room, and lends the next chunk for the caller to fill. Retries on `EINTR`.
    ///
    /// The chunk has the size that [`SharedBuilder::chunk`](super::SharedBuilder::chunk) has set. The chunk's
    /// contents are unspecified: zeros, or bytes of earlier chunks of this pair. A chunk that was lent but
    /// not sent is lent again unchanged.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`](Errno::EBUSY) if another process uses this half.
    /// - [`EPIPE`](Errno::EPIPE) if the ring has no room and the reader has ended.
    /// - [`EPROTO`](Errno::EPROTO) if the memory holds values that no reader stores. All later calls fail
    ///   with the same error.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// let chunk = writer.chunk()?;
    /// assert_eq!(chunk.len(), 65536);
    /// chunk[..5].copy_from_slice(b"hello");
    /// writer.send(5)?;
    /// assert_eq!(&*reader.recv()?.unwrap(), b"hello");
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    #[inline]
    pub fn chunk(&mut self) -> Result<&mut [u8]> {
        self.lend(Some(Deadline::NEVER))
    }

    /// Lends the next chunk as [`chunk`](Self::chunk) does, but does not wait.
    ///
    /// # Errors
    ///
    /// Fails as [`chunk`](Self::chunk) does, and with
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if the ring has no room. The descriptor becomes readable when the ring has
    ///   room: see [readiness](Self#readiness).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::chunk::shared::SharedBuilder;
    ///
    /// let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).ring(4096).build()?;
    /// let mut sent = 0;
    /// while let Ok(chunk) = writer.try_chunk() {
    ///     chunk.fill(1);
    ///     writer.send(1000)?;
    ///     sent += 1;
    /// }
    /// assert_eq!(sent, 4);
    /// assert_eq!(writer.try_chunk(), Err(Errno::EAGAIN));
    /// drop(reader.recv()?);
    /// assert!(writer.try_chunk().is_ok());
    /// # Ok::<(), Errno>(())
    /// ```
    #[inline]
    pub fn try_chunk(&mut self) -> Result<&mut [u8]> {
        self.lend(None)
    }

    /// Lends the next chunk as [`chunk`](Self::chunk) does, but waits only until `deadline`. If the ring has
    /// room, the chunk is lent even after the deadline.
    ///
    /// # Errors
    ///
    /// Fails as [`chunk`](Self::chunk) does, and with
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) if the ring had no room before the deadline.
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before the ring has
    ///   room.
    pub fn chunk_deadline(&mut self, deadline: Deadline<'_>) -> Result<&mut [u8]> {
        self.lend(Some(deadline))
    }

    #[inline]
    fn lend(&mut self, until: Option<Deadline<'_>>) -> Result<&mut [u8]> {
        self.half.side.claim()?;
        let (start, needed) = self.half.side.next();
        if !self.half.wait(needed, until)? {
            return Err(Errno::EPIPE);
        }
        let side = &mut self.half.side;
        side.lend(start);
        let mut bytes = side.link.bytes(side.lent_at(), side.chunk);
        // SAFETY: the reader has returned these bytes, so they belong to the writer's half (point 2 of the
        // module's argument). Only this process owns that half (point 4). This value is borrowed exclusively
        // (point 6), and the bytes are initialised (point 11).
        Ok(unsafe { bytes.as_mut() })
    }

    /// Sends the first `len` bytes of the lent chunk as one record. Never waits. If `len` is 0, the call
    /// sends nothing, and the chunk stays lent.
    ///
    /// If the reader was killed, or was dropped before its first use, the writer may detect this late: when
    /// it must wake the reader, or when the ring has no room. Records that were sent earlier are lost, as in
    /// a pipe.
    ///
    /// # Errors
    ///
    /// After `EPIPE` and after a filter's error, the chunk is no longer lent.
    ///
    /// - [`EINVAL`](Errno::EINVAL) if no chunk is lent, or if `len` exceeds the chunk's size.
    /// - [`EBUSY`](Errno::EBUSY) and [`EPROTO`](Errno::EPROTO) as for [`chunk`](Self::chunk).
    /// - [`EPIPE`](Errno::EPIPE) if the reader has ended. The process receives no `SIGPIPE`.
    /// - The filter's error if a filter rejects the call of [`write_nosignal`](crate::io::write_nosignal).
    ///   The record is sent, but a sleeping reader is not woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    ///
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// assert_eq!(writer.send(1), Err(Errno::EINVAL)); // no chunk is lent
    /// writer.chunk()?[0] = 7;
    /// writer.send(1)?;
    /// assert_eq!(reader.recv()?.unwrap()[0], 7);
    /// drop(reader);
    /// writer.chunk()?;
    /// assert_eq!(writer.send(1), Err(Errno::EPIPE));
    /// # Ok::<(), Errno>(())
    /// ```
    #[inline]
    pub fn send(&mut self, len: usize) -> Result<()> {
        let side = &mut self.half.side;
        side.claim()?;
        if len == 0 {
            return Ok(());
        }
        if len > side.lent.len {
            return Err(Errno::EINVAL);
        }
        side.send(len)
    }

    /// Releases the half without ending the stream, so that another process that has a copy of the half can
    /// use its copy. A lent chunk is not sent.
    ///
    /// The other process continues after the last record that this process has sent. If no other process has
    /// a copy, the stream ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::{Errno, process};
    ///
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// writer.chunk()?[0] = 1;
    /// writer.send(1)?;
    /// let (busy, told) = rawpipe::pipe()?;
    /// let (released, release) = rawpipe::pipe()?;
    /// let mut copy = Some(writer);
    /// // SAFETY: the child reads, sends, and exits.
    /// let mut child = unsafe {
    ///     process::fork_with(|| {
    ///         let mut writer = copy.take().unwrap();
    ///         let mut ok = writer.chunk().err() == Some(Errno::EBUSY);
    ///         ok &= told.write(b"!") == Ok(1) && released.read(&mut [0]) == Ok(1);
    ///         ok &= writer.chunk().map(|chunk| chunk[0] = 2).and_then(|()| writer.send(1)).is_ok();
    ///         u8::from(!ok)
    ///     })
    /// }?;
    /// busy.read_exact(&mut [0])?;
    /// copy.take().unwrap().release();
    /// release.write(b"!")?;
    /// assert_eq!(reader.recv()?.unwrap()[0], 1);
    /// assert_eq!(reader.recv()?.unwrap()[0], 2);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn release(mut self) {
        self.half.side.leave(false);
    }
}

impl AsFd for SharedWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.half.side.link.bells.0.as_fd()
    }
}

#[cfg(feature = "std")]
impl std::io::Write for SharedWriter {
    /// Sends the buffer as one record. If the buffer is longer than a chunk, sends only the buffer's
    /// beginning.
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let len = buf.len().min(self.half.side.chunk);
        if len > 0 {
            self.chunk()?[..len].copy_from_slice(&buf[..len]);
            self.send(len)?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
