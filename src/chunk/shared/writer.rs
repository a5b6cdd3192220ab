//! The half that fills chunks.
//!
//! # Safety
//!
//! This file is trusted to lend only bytes of the ring that are the writer's: see
//! [`shared`](crate::chunk::shared#why-this-is-sound).
#![allow(unsafe_code, reason = "slices of shared memory")]

use super::half::Half;
use crate::fd::{AsFd, BorrowedFd};
use crate::{Deadline, Errno, Result};

/// Fills chunks of memory that its [`SharedReader`](super::SharedReader) looks at.
///
/// Each round is a [`chunk`](Self::chunk) and a [`send`](Self::send). Dropping the writer ends the stream:
/// the reader receives what was sent, and then end of file.
///
/// As [`std::io::Write`] it copies each buffer into a chunk and sends it as one record, and never waits
/// with a part of one: there is nothing to flush.
///
/// # Readiness
///
/// Its [`AsFd`] is the read end of a pipe, which is readable (`IN`) once there is room again and reports
/// `HUP` once the reader is gone. Poll it after [`try_chunk`](Self::try_chunk) has returned
/// [`EAGAIN`](Errno::EAGAIN), or [`chunk_deadline`](Self::chunk_deadline)
/// [`ETIMEDOUT`](Errno::ETIMEDOUT), and call that again when it is ready. There may be one wake-up too many.
/// Level-triggered and edge-triggered waiting both work. Do not read from it.
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
/// drop(writer); // or the reader would wait forever
/// assert_eq!(reading.join().unwrap()?, 1000 * (0..100).sum::<u64>());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Debug)]
pub struct SharedWriter {
    pub(super) half: Half<true>,
    pub(super) chunk: usize,
}

impl SharedWriter {
    /// Lends the next chunk to be filled, as many bytes as [`chunk`](super::SharedBuilder::chunk) says, and
    /// waits for the reader to make room for it. Retries on `EINTR`.
    ///
    /// The contents are unspecified: zeros, or bytes of earlier chunks of this pair. A chunk that was lent
    /// before and not sent is lent again, as it is.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`](Errno::EBUSY) if another process uses this half.
    /// - [`EPIPE`](Errno::EPIPE) if there is no room and the reader is gone.
    /// - [`EPROTO`](Errno::EPROTO) if the memory holds what no reader stores there. No later call succeeds.
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

    /// Lends the next chunk as [`chunk`](Self::chunk) does, without waiting.
    ///
    /// # Errors
    ///
    /// Those of [`chunk`](Self::chunk), and
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if there is no room. The descriptor will be readable when there is: see
    ///   [readiness](Self#readiness).
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

    /// Lends the next chunk as [`chunk`](Self::chunk) does, and waits at most until `deadline`. A deadline
    /// that has passed does not keep it from lending a chunk for which there is room.
    ///
    /// # Errors
    ///
    /// Those of [`chunk`](Self::chunk), and
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) if there was no room until then.
    pub fn chunk_deadline(&mut self, deadline: Deadline) -> Result<&mut [u8]> {
        self.lend(Some(deadline))
    }

    #[inline]
    fn lend(&mut self, until: Option<Deadline>) -> Result<&mut [u8]> {
        self.half.side.claim()?;
        let (start, needed) = self.half.side.next(self.chunk);
        if !self.half.wait(needed, until)? {
            return Err(Errno::EPIPE);
        }
        let side = &mut self.half.side;
        side.lend(start, self.chunk);
        let mut bytes = side.link.bytes(side.lent_at(), self.chunk);
        // SAFETY: these bytes are the writer's (2), which this process is alone (4), since the reader has
        // given them back, and this value is borrowed exclusively (6). They are initialised (11).
        Ok(unsafe { bytes.as_mut() })
    }

    /// Sends the first `len` bytes of the chunk that is lent, as one record. Never waits. With 0 bytes it
    /// sends nothing, and the chunk stays lent.
    ///
    /// A reader that was killed is noticed when it would have to be woken, or when there is no more room:
    /// what was sent before then is lost, as in a pipe.
    ///
    /// # Errors
    ///
    /// The chunk is no longer lent after the last two.
    ///
    /// - [`EINVAL`](Errno::EINVAL) if no chunk is lent, or `len` is more than it has.
    /// - [`EBUSY`](Errno::EBUSY) and [`EPROTO`](Errno::EPROTO) as for [`chunk`](Self::chunk).
    /// - [`EPIPE`](Errno::EPIPE) if the reader is gone. The process gets no `SIGPIPE`.
    /// - An error of [`write_nosignal`](crate::io::write_nosignal) if a filter rejects the call. The record
    ///   is sent, and a reader that sleeps is not woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    ///
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// assert_eq!(writer.send(1), Err(Errno::EINVAL)); // none is lent
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
        if len == 0 {
            return Ok(());
        }
        let side = &mut self.half.side;
        side.claim()?;
        if len > side.lent.len {
            return Err(Errno::EINVAL);
        }
        if side.other_is_closed() {
            return Err(Errno::EPIPE);
        }
        side.send(len)
    }

    /// Gives the half up without ending the stream, so that another process that has a copy of it, by a
    /// fork, can use it. A chunk that is lent is not sent.
    ///
    /// It goes on where this process has stopped. Without a copy in another process the stream ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::{Errno, process};
    ///
    /// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
    /// writer.chunk()?[0] = 1;
    /// writer.send(1)?;
    /// let (gate, open) = rawpipe::pipe()?;
    /// let mut copy = Some(writer);
    /// // SAFETY: the child reads, sends, and exits.
    /// let mut child = unsafe {
    ///     process::fork_with(|| {
    ///         let mut writer = copy.take().unwrap();
    ///         let busy = writer.chunk().err() == Some(Errno::EBUSY);
    ///         let released = gate.read(&mut [0]) == Ok(1);
    ///         let sent = writer.chunk().map(|chunk| chunk[0] = 2).and_then(|()| writer.send(1));
    ///         u8::from(!(busy && released && sent.is_ok()))
    ///     })
    /// }?;
    /// std::thread::sleep(std::time::Duration::from_millis(10));
    /// copy.take().unwrap().release();
    /// open.write(b"!")?;
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
    /// Sends up to a chunk of bytes as one record.
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let len = buf.len().min(self.chunk);
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
