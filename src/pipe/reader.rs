//! The read end and its methods.

use super::Capacity;
use super::end::common_to_both_ends;
use crate::Result;
use crate::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd, lends_its_descriptor};
use crate::io::{self, Incomplete, IoSliceMut};
use crate::sys::call;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::mem::MaybeUninit;

/// The read end of a pipe. Dropping this value closes the end.
///
/// The methods borrow the end as `&self`, and report an error as [`Errno`](crate::Errno) or [`Incomplete`].
/// With feature `std`, the type and references to it also implement [`std::io::Read`].
///
/// # Buffered reading (Python's `os.fdopen`)
///
/// [`BufReader::new(reader)`](std::io::BufReader) can read lines. `File::from(OwnedFd::from(reader))`
/// converts the read end to a file.
///
/// ```
/// use rawpipe::fd::OwnedFd;
/// use std::fs::File;
/// use std::io::{BufRead, BufReader, Read};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(b"first\nsecond\n")?;
/// drop(writer);
///
/// let mut lines = BufReader::new(reader);
/// let mut line = String::new();
/// lines.read_line(&mut line)?;
/// assert_eq!(line, "first\n");
///
/// let mut file = File::from(OwnedFd::from(lines.into_inner()));
/// assert_eq!(file.read(&mut [0; 8])?, 0); // `BufReader` has already read every byte
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
#[doc(alias = "fdopen")]
#[derive(Debug)]
pub struct PipeReader(OwnedFd);

common_to_both_ends!(PipeReader);

impl PipeReader {
    /// Reads up to `buf.len()` bytes into `buf` and returns the number of bytes read. A result of 0 means end
    /// of file: the pipe is empty and no write end is open.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read`] does, for example with [`EAGAIN`](crate::Errno::EAGAIN) or
    /// [`EINTR`](crate::Errno::EINTR).
    ///
    /// # Examples
    ///
    /// ```
    /// let (reader, writer) = rawpipe::pipe()?;
    /// writer.write(b"abc")?;
    /// drop(writer);
    ///
    /// let mut buf = [0; 8];
    /// assert_eq!(reader.read(&mut buf)?, 3);
    /// assert_eq!(reader.read(&mut buf)?, 0);
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    #[inline]
    pub fn read(&self, buf: &mut [u8]) -> Result<usize> {
        call::read(self.as_fd(), buf)
    }

    /// Reads up to `buf.len()` bytes into memory that need not be initialised, and returns the part that was
    /// filled. An empty part means end of file.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read`] does.
    #[inline]
    pub fn read_uninit<'a>(&self, buf: &'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8]> {
        call::read_uninit(self.as_fd(), buf)
    }

    /// Reads into several buffers, one after another, and returns the number of bytes read.
    ///
    /// # Errors
    ///
    /// Fails as [`io::readv`] does.
    #[inline]
    pub fn readv(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        call::readv(self.as_fd(), bufs)
    }

    /// Reads exactly `buf.len()` bytes. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read_exact`] does.
    pub fn read_exact(&self, buf: &mut [u8]) -> core::result::Result<(), Incomplete> {
        io::read_exact(self, buf)
    }

    /// Reads until the pipe is empty and no write end is open, appends the bytes to `buf`, and returns the
    /// number of bytes read. Drop this process's own write end first.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read_to_end`] does.
    #[cfg(feature = "alloc")]
    pub fn read_to_end(&self, buf: &mut Vec<u8>) -> Result<usize> {
        io::read_to_end(self, buf)
    }
}

#[cfg(feature = "std")]
impl std::io::Read for &PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        Ok(PipeReader::read(self, buf)?)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> std::io::Result<usize> {
        // The trait allows a short count, but not an error for too many buffers.
        let count = bufs.len().min(crate::sys::abi::IOV_MAX);
        Ok(self.readv(&mut bufs[..count])?)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> std::io::Result<usize> {
        Ok(PipeReader::read_to_end(self, buf)?)
    }
}

#[cfg(feature = "std")]
impl std::io::Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut &*self, buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> std::io::Result<usize> {
        std::io::Read::read_vectored(&mut &*self, bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> std::io::Result<usize> {
        std::io::Read::read_to_end(&mut &*self, buf)
    }
}
