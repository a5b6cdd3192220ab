//! Implements [`ChunkReader`], which either reads from a pipe into its own memory, or moves the bytes
//! elsewhere.

use super::READ_CHUNK;
use crate::errno::retry;
use crate::event::PollEvents;
use crate::fd::{AsFd, BorrowedFd};
use crate::sys::{call, map::Map};
use crate::wait::{Spin, Wait};
use crate::{PipeReader, Result, io};

/// Reads large chunks from a pipe into its own memory, or moves the bytes to another descriptor without
/// reading them.
///
/// [`read_chunk`](Self::read_chunk) copies the bytes, so it is correct with a
/// [`ChunkWriter`](super::ChunkWriter) that uses [`Reuse::AfterRead`](super::Reuse::AfterRead).
/// [`splice_to`](Self::splice_to) passes pages on by reference, so its use with that writer is correct
/// only if the sink ignores the bytes.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::ChunkReader;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(b"some bytes")?;
/// drop(writer);
///
/// let mut reader = ChunkReader::new(reader)?;
/// let mut total = 0;
/// loop {
///     let chunk = reader.read_chunk()?;
///     if chunk.is_empty() {
///         break;
///     }
///     total += chunk.len();
/// }
/// assert_eq!(total, 10);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ChunkReader {
    pipe: PipeReader,
    chunk: usize,
    map: Map,
    spin: Spin,
    /// Set before the first call, and after a call that moved fewer bytes than requested. The pipe may then
    /// be empty.
    drained: bool,
}

impl ChunkReader {
    /// Creates a reader with a chunk size of 256 KiB.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`](crate::Errno::ENOMEM) if not enough memory is available.
    pub fn new(pipe: PipeReader) -> Result<Self> {
        Self::builder().build(pipe)
    }

    /// Returns a builder that sets the size of a chunk and the policy for waiting.
    pub const fn builder() -> ReaderBuilder {
        ReaderBuilder { chunk: READ_CHUNK, wait: Wait::Block }
    }

    /// Reads up to one chunk of bytes and lends them. An empty slice means end of file. Retries on `EINTR`.
    ///
    /// Waits until at least one byte is available or no write end is open, unless the pipe is nonblocking.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read`] does, including with [`EAGAIN`](crate::Errno::EAGAIN), but never with
    /// [`EINTR`](crate::Errno::EINTR).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::ChunkReader;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// writer.write_all(&[7; 5000])?;
    /// let mut reader = ChunkReader::builder().chunk(4096).build(reader)?;
    /// assert_eq!(reader.read_chunk()?, [7; 4096]);
    /// assert_eq!(reader.read_chunk()?, [7; 904]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [read(2)](https://man7.org/linux/man-pages/man2/read.2.html)
    pub fn read_chunk(&mut self) -> Result<&[u8]> {
        self.poll_if_empty();
        let buf = &mut self.map.bytes_mut()[..self.chunk];
        let count = retry(|| call::read(self.pipe.as_fd(), buf))?;
        self.drained = count < self.chunk;
        Ok(&self.map.bytes()[..count])
    }

    /// Moves up to `len` bytes to another descriptor without reading them, and returns the number of moved
    /// bytes. A result of 0 means end of file. The function may move fewer bytes than `len`, because it does
    /// not repeat a successful call. Retries on `EINTR`.
    ///
    /// If `to` is a blocking socket or terminal without room, the kernel holds this pipe's lock while it
    /// waits for room. A process that writes to the pipe during this wait sleeps uninterruptibly: see
    /// [`splice`](crate::splice::splice). If the process that reads from `to` may stop reading, use
    /// [`transfer`](crate::transfer::transfer).
    ///
    /// # Errors
    ///
    /// Fails as [`splice`](crate::splice::splice) does, but never with [`EINTR`](crate::Errno::EINTR). Bytes
    /// that were not moved stay in the pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::ChunkReader;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let (next_reader, next_writer) = rawpipe::pipe()?;
    /// writer.write_all(b"pass it on")?;
    /// let mut reader = ChunkReader::new(reader)?;
    /// assert_eq!(reader.splice_to(&next_writer, usize::MAX)?, 10);
    /// assert_eq!(next_reader.available()?, 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html)
    #[doc(alias = "splice")]
    pub fn splice_to(&mut self, to: impl AsFd, len: usize) -> Result<usize> {
        self.poll_if_empty();
        let (from, to) = (self.pipe.as_fd(), to.as_fd());
        let count = retry(|| call::splice(from, None, to, None, len, 0))?;
        self.drained = count < len;
        Ok(count)
    }

    /// With [`Wait::Adaptive`], polls briefly for bytes if the pipe is blocking and may be empty.
    fn poll_if_empty(&mut self) {
        if self.drained && self.spin.is_on() && io::is_nonblocking(&self.pipe) == Ok(false) {
            self.spin.wait(self.pipe.as_fd(), PollEvents::IN);
        }
    }

    /// Returns a reference to the read end. Bytes that are read directly from the read end are missing from
    /// the chunks.
    #[must_use]
    pub const fn get_ref(&self) -> &PipeReader {
        &self.pipe
    }

    /// Returns the read end. The reader buffers no bytes, so no bytes are lost.
    #[must_use]
    pub fn into_inner(self) -> PipeReader {
        self.pipe
    }
}

impl AsFd for ChunkReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Configures and builds a [`ChunkReader`].
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::ChunkReader;
/// use rawpipe::Wait;
///
/// let (reader, _writer) = rawpipe::pipe()?;
/// let reader = ChunkReader::builder().chunk(1 << 20).wait(Wait::Adaptive).build(reader)?;
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder creates no reader until `build` is called"]
pub struct ReaderBuilder {
    chunk: usize,
    wait: Wait,
}

impl ReaderBuilder {
    /// Sets the maximum number of bytes that one call of [`read_chunk`](ChunkReader::read_chunk) reads. 0
    /// counts as 1.
    pub const fn chunk(self, bytes: usize) -> Self {
        Self { chunk: if bytes == 0 { 1 } else { bytes }, ..self }
    }

    /// Sets the policy for waiting for bytes in a blocking pipe.
    pub const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Builds the reader.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`](crate::Errno::ENOMEM) if not enough memory is available.
    pub fn build(self, pipe: PipeReader) -> Result<ChunkReader> {
        Ok(ChunkReader {
            pipe,
            chunk: self.chunk,
            map: Map::anonymous(self.chunk)?,
            spin: Spin::new(self.wait),
            drained: true,
        })
    }
}
