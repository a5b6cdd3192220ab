//! Repeats calls until all bytes are moved, and writes bytes in one piece or not at all. Also defines the
//! error that counts the bytes moved before a failure.

use crate::errno::Errno;
use crate::fd::AsFd;
use crate::sys::abi::iovec::IoSlice;
use crate::sys::{abi, call};
use core::fmt;

/// Reads exactly `buf.len()` bytes. Continues after a short count, and retries on `EINTR`.
///
/// # Errors
///
/// The [`Incomplete`] holds the number of bytes in `buf` and the reason: end of file, or any error of
/// [`read`](super::read) other than [`EINTR`](Errno::EINTR).
///
/// # Examples
///
/// ```
/// use rawpipe::io;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"123456")?;
/// drop(writer);
///
/// let mut buf = [0; 4];
/// io::read_exact(&reader, &mut buf)?;
/// assert_eq!(&buf, b"1234");
///
/// let short = io::read_exact(&reader, &mut buf).unwrap_err();
/// assert_eq!((short.bytes(), short.errno()), (2, None));
/// assert_eq!(&buf[..2], b"56");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_exact(fd: impl AsFd, buf: &mut [u8]) -> Result<(), Incomplete> {
    let fd = fd.as_fd();
    complete(buf.len(), |done| call::read(fd, &mut buf[done..]))
}

/// Repeats `call`, which moves some bytes, until all `len` bytes are moved. The argument of `call` is the
/// number of bytes moved so far.
#[inline]
pub(crate) fn complete(
    len: usize,
    mut call: impl FnMut(usize) -> crate::Result<usize>,
) -> Result<(), Incomplete> {
    let mut bytes = 0;
    while bytes < len {
        count(call(bytes), &mut bytes)?;
    }
    Ok(())
}

/// Increases `bytes` by the number of bytes that a call has moved, and returns that number. If a signal
/// interrupted the call, the number is 0. Fails if the call failed for any other reason or moved no byte.
#[inline]
fn count(answer: crate::Result<usize>, bytes: &mut usize) -> Result<usize, Incomplete> {
    let count = match answer {
        Ok(0) => return Err(Incomplete { bytes: *bytes, errno: None }),
        Ok(count) => count,
        Err(Errno::EINTR) => 0,
        Err(errno) => return Err(Incomplete { bytes: *bytes, errno: Some(errno) }),
    };
    *bytes += count;
    Ok(count)
}

/// Writes all of `buf`. Continues after a short count, and retries on `EINTR`.
///
/// # Errors
///
/// The [`Incomplete`] holds the number of bytes written and the error that stopped the call: any error of
/// [`write`](super::write) other than [`EINTR`](Errno::EINTR).
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, io, pipe};
///
/// // A nonblocking pipe accepts as many bytes as fit; the caller can send the remaining bytes later.
/// let (reader, writer) = pipe::Builder::new().nonblocking().build()?;
/// let data = vec![b'x'; writer.capacity()? + 1000];
/// let stopped = io::write_all(&writer, &data).unwrap_err();
/// assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
/// assert_eq!(stopped.bytes(), reader.available()?);
/// # Ok::<(), Errno>(())
/// ```
pub fn write_all(fd: impl AsFd, buf: &[u8]) -> Result<(), Incomplete> {
    let fd = fd.as_fd();
    complete(buf.len(), |done| call::write(fd, &buf[done..]))
}

/// Writes all bytes of any number of buffers. Continues after a short count, in the middle of a buffer if
/// necessary, and retries on `EINTR`.
///
/// After the call, the contents of `bufs` are unspecified.
///
/// # Errors
///
/// The [`Incomplete`] holds the number of bytes written and the error that stopped the call: any error of
/// [`writev`](super::writev) other than [`EINTR`](Errno::EINTR).
///
/// # Examples
///
/// ```
/// use rawpipe::io::{self, IoSlice};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut bufs = vec![IoSlice::new(b"ab"); 3000];
/// io::write_all_vectored(&writer, &mut bufs)?;
/// assert_eq!(reader.available()?, 6000);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_all_vectored(fd: impl AsFd, bufs: &mut [IoSlice<'_>]) -> Result<(), Incomplete> {
    let fd = fd.as_fd();
    write_all_vectored_by(bufs, |rest| call::writev(fd, rest))
}

/// Runs the loop of [`write_all_vectored`]. The closure `write` receives the remaining buffers and returns
/// the number of bytes written.
#[inline]
pub(crate) fn write_all_vectored_by(
    mut bufs: &mut [IoSlice<'_>],
    mut write: impl FnMut(&[IoSlice<'_>]) -> crate::Result<usize>,
) -> Result<(), Incomplete> {
    let mut bytes = 0;
    // Skips leading empty buffers, which would cause a call that writes no bytes.
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        let answer = write(&bufs[..bufs.len().min(abi::IOV_MAX)]);
        IoSlice::advance_slices(&mut bufs, count(answer, &mut bytes)?);
    }
    Ok(())
}

/// Writes all of `buf`, which may have at most [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes, in one piece or not
/// at all. A pipe does not mix these bytes with the bytes of other writers. Waits until the pipe has room for
/// all of `buf`, unless `fd` is nonblocking. Retries on `EINTR`.
///
/// Like [`write()`](super::write), this call raises `SIGPIPE` if the pipe has no reader. Rust programs ignore
/// that signal by default.
///
/// # Errors
///
/// Fails as [`write()`](super::write) does, but never with [`EINTR`](Errno::EINTR). Also fails with
///
/// - [`EIO`](Errno::EIO) if only a part was written, because `fd` is not a pipe.
/// - [`EMSGSIZE`](Errno::EMSGSIZE) if `buf` has more than `PIPE_BUF` bytes. Nothing was written.
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, io};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// io::write_atomic(&writer, b"a line of a log\n")?;
/// assert_eq!(io::write_atomic(&writer, &[0; 4097]), Err(Errno::EMSGSIZE));
/// assert_eq!(reader.available()?, 16);
/// # Ok::<(), Errno>(())
/// ```
///
/// [PIPE_BUF in pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
pub fn write_atomic(fd: impl AsFd, buf: &[u8]) -> crate::Result<()> {
    let fd = fd.as_fd();
    write_atomic_by(buf, |buf| call::write(fd, buf))
}

/// Runs the loop of [`write_atomic`]. The closure `write` receives all of `buf` and returns the number of
/// bytes written.
#[inline]
pub(crate) fn write_atomic_by(
    buf: &[u8],
    write: impl Fn(&[u8]) -> crate::Result<usize>,
) -> crate::Result<()> {
    if buf.len() > abi::PIPE_BUF {
        return Err(Errno::EMSGSIZE);
    }
    loop {
        match write(buf) {
            Ok(count) if count < buf.len() => return Err(Errno::EIO),
            Err(Errno::EINTR) => {}
            answer => return answer.map(drop),
        }
    }
}

/// The error of calls such as [`read_exact`] and [`write_all`], which move a given number of bytes. The error
/// holds the reason for the failure and the number of bytes that were moved before the failure.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// drop(reader);
/// let stopped = writer.write_all(b"no one reads this").unwrap_err();
/// assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EPIPE)));
/// assert_eq!(stopped.to_string(), "broken pipe: no reader is left (EPIPE) after 0 bytes");
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    pub(crate) bytes: usize,
    pub(crate) errno: Option<Errno>,
}

impl Incomplete {
    /// Returns the number of bytes that were read or written before the call stopped.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the kernel's error. `None` means end of file, or a write that wrote no byte.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.errno
    }

    const fn cause(&self) -> Option<&Errno> {
        self.errno.as_ref()
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes;
        match self.errno {
            Some(errno) => write!(f, "{errno} after {bytes} bytes"),
            None => write!(f, "end of file after {bytes} bytes"),
        }
    }
}

crate::errno::like_std!(Incomplete, _this => std::io::ErrorKind::UnexpectedEof);

impl From<Incomplete> for Errno {
    /// Converts this error to the kernel's error, without the count. End of file, and a write that wrote no
    /// byte, become [`ENODATA`](Errno::ENODATA), which no call on a pipe returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    ///
    /// fn header() -> rawpipe::Result<[u8; 8]> {
    ///     let (reader, writer) = rawpipe::pipe()?;
    ///     writer.write_all(b"1234")?;
    ///     drop(writer);
    ///     let mut header = [0; 8];
    ///     reader.read_exact(&mut header)?;
    ///     Ok(header)
    /// }
    /// assert_eq!(header(), Err(Errno::ENODATA));
    /// ```
    fn from(incomplete: Incomplete) -> Self {
        incomplete.errno.unwrap_or(Self::ENODATA)
    }
}
