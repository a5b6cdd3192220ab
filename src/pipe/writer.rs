//! The write end and its methods.

use super::Capacity;
use super::end::common_to_both_ends;
use crate::Result;
use crate::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd, lends_its_descriptor};
use crate::io::{self, Incomplete, IoSlice};
use crate::sys::call;

/// The write end of a pipe. Dropping this value closes the end. After the last write end is closed, the
/// reader receives the bytes that are still in the pipe and then reaches end of file.
///
/// The methods borrow the end as `&self`, and report an error as [`Errno`](crate::Errno) or [`Incomplete`].
/// With feature `std`, the type and references to it also implement [`std::io::Write`].
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writeln!(&writer, "line {}", 1)?; // std's trait, by reference
/// writer.write_all(b"line 2\n")?; // the end's own method
/// drop(writer);
///
/// let mut text = Vec::new();
/// reader.read_to_end(&mut text)?;
/// assert_eq!(text, b"line 1\nline 2\n");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
#[doc(alias = "fdopen")]
#[derive(Debug)]
pub struct PipeWriter(OwnedFd);

common_to_both_ends!(PipeWriter);

impl PipeWriter {
    /// Writes up to `buf.len()` bytes of `buf` and returns the number of bytes written. The number can be
    /// smaller than `buf.len()` in these cases:
    ///
    /// - This end is nonblocking. The call then writes as many bytes as fit.
    /// - A signal handler runs, or the last read end is closed, during the write.
    /// - `buf` is longer than the kernel's limit for one call, about 2 GiB.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write`] does. Examples are [`EAGAIN`](crate::Errno::EAGAIN),
    /// [`EINTR`](crate::Errno::EINTR) and, if no read end is open, [`EPIPE`](crate::Errno::EPIPE).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// assert_eq!(writer.write(b"abc")?, 3);
    /// drop(reader);
    /// assert_eq!(writer.write(b"abc"), Err(Errno::EPIPE));
    /// # Ok::<(), Errno>(())
    /// ```
    #[inline]
    pub fn write(&self, buf: &[u8]) -> Result<usize> {
        call::write(self.as_fd(), buf)
    }

    /// Writes several buffers, one after another, and returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// Fails as [`io::writev`] does.
    #[inline]
    pub fn writev(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        call::writev(self.as_fd(), bufs)
    }

    /// Writes all of `buf`. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_all`] does.
    pub fn write_all(&self, buf: &[u8]) -> core::result::Result<(), Incomplete> {
        io::write_all(self, buf)
    }

    /// Writes all bytes of any number of buffers. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_all_vectored`] does.
    pub fn write_all_vectored(
        &self,
        bufs: &mut [IoSlice<'_>],
    ) -> core::result::Result<(), Incomplete> {
        io::write_all_vectored(self, bufs)
    }

    /// Writes all of `buf`, which may have at most [`PIPE_BUF`](super::PIPE_BUF) bytes, in one piece or not
    /// at all. The bytes are not mixed with the bytes of other writers.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_atomic`] does.
    pub fn write_atomic(&self, buf: &[u8]) -> Result<()> {
        io::write_atomic(self, buf)
    }
}

#[cfg(feature = "std")]
impl std::io::Write for &PipeWriter {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(PipeWriter::write(self, buf)?)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> std::io::Result<usize> {
        // The trait allows a short count, but not an error for too many buffers.
        let count = bufs.len().min(crate::sys::abi::IOV_MAX);
        Ok(self.writev(&bufs[..count])?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "std")]
impl std::io::Write for PipeWriter {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut &*self, buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> std::io::Result<usize> {
        std::io::Write::write_vectored(&mut &*self, bufs)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
