//! Reads and writes without waiting, or with a wait that ends at a deadline. The parent module documents the
//! system calls that these functions use.

use crate::fd::{AsFd, BorrowedFd};
use crate::io::{self, Incomplete, nowait};
use crate::sys::abi::flags::PollEvents;
use crate::sys::abi::iovec::IoSlice;
use crate::wait::attempt_until;
use crate::{Deadline, Result};

/// Reads up to `buf.len()` available bytes and returns the number of bytes read. A result of 0 means end of
/// file. Does not wait.
///
/// # Errors
///
/// Fails as [`io::read`] does, and with
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if no data is available now.
/// - [`EMFILE`](crate::Errno::EMFILE) or [`ENFILE`](crate::Errno::ENFILE) if the read needs a private pipe
///   and the pipe cannot be created. Only a FIFO that is open for reading and writing needs this pipe.
/// - [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if this descriptor cannot be read without the risk of waiting.
///   Examples are terminals and some other devices.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut buf = [0; 100];
/// assert_eq!(rawpipe::io::try_read(&reader, &mut buf), Err(Errno::EAGAIN));
/// writer.write(b"now")?;
/// assert_eq!(rawpipe::io::try_read(&reader, &mut buf)?, 3);
/// assert!(!reader.is_nonblocking()?);
/// # Ok::<(), Errno>(())
/// ```
///
/// [RWF_NOWAIT in preadv2(2)](https://man7.org/linux/man-pages/man2/preadv2.2.html)
#[doc(alias = "RWF_NOWAIT")]
pub fn try_read(fd: impl AsFd, buf: &mut [u8]) -> Result<usize> {
    nowait::try_read(fd.as_fd(), buf)
}

/// Writes as many bytes as fit, up to `buf.len()`, and returns the number of bytes written. Does not wait.
///
/// Up to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes are written in one piece or not at all.
///
/// # Errors
///
/// Fails as [`io::write()`] does, and with
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if the descriptor has no room now.
/// - [`EMFILE`](crate::Errno::EMFILE) or [`ENFILE`](crate::Errno::ENFILE) if the write needs a private pipe
///   and the pipe cannot be created.
/// - [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if this descriptor cannot be written without the risk
///   of waiting.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let data = vec![b'x'; writer.capacity()? + 1];
/// assert_eq!(rawpipe::io::try_write(&writer, &data)?, writer.capacity()?);
/// assert_eq!(rawpipe::io::try_write(&writer, &data), Err(Errno::EAGAIN));
/// # drop(reader);
/// # Ok::<(), Errno>(())
/// ```
///
/// [RWF_NOWAIT in pwritev2(2)](https://man7.org/linux/man-pages/man2/pwritev2.2.html)
#[doc(alias = "RWF_NOWAIT")]
pub fn try_write(fd: impl AsFd, buf: &[u8]) -> Result<usize> {
    nowait::try_writev(fd.as_fd(), &[IoSlice::new(buf)])
}

/// Reads up to `buf.len()` bytes and returns the number of bytes read. A result of 0 means end of file. Waits
/// for the first byte, but only until `deadline`.
///
/// # Errors
///
/// - [`ETIMEDOUT`](crate::Errno::ETIMEDOUT) if the deadline has passed, and no byte was read.
/// - [`ECANCELED`](crate::Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel), and no byte was
///   read.
/// - [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) if the descriptor cannot be read without the risk of waiting.
///   Terminals are an example. If no other process reads from the descriptor, call
///   [`poll_deadline`](crate::event::poll_deadline) and then [`io::read`].
/// - The errors of [`try_read`] except `EAGAIN`.
///
/// # Examples
///
/// ```
/// use rawpipe::{Deadline, Errno, io};
/// use std::time::Duration;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut buf = [0; 100];
/// let soon = Deadline::after(Duration::from_millis(10));
/// assert_eq!(io::read_deadline(&reader, &mut buf, soon), Err(Errno::ETIMEDOUT));
/// writer.write_all(b"in time")?;
/// assert_eq!(io::read_deadline(&reader, &mut buf, soon)?, 7); // bytes that are available need no wait
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_deadline(fd: impl AsFd, buf: &mut [u8], deadline: Deadline<'_>) -> Result<usize> {
    let fd = fd.as_fd();
    attempt_until(fd, PollEvents::IN, Some(deadline), || try_read(fd, buf))
}

/// Writes up to `buf.len()` bytes and returns the number of bytes written. Waits until at least one byte is
/// written, but only until `deadline`.
///
/// # Errors
///
/// Fails as [`try_write`] does, but never with `EAGAIN`. Also fails with
///
/// - [`ETIMEDOUT`](crate::Errno::ETIMEDOUT) if the deadline has passed, and no byte was written.
/// - [`ECANCELED`](crate::Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel), and no byte was
///   written.
pub fn write_deadline(fd: impl AsFd, buf: &[u8], deadline: Deadline<'_>) -> Result<usize> {
    writev_deadline(fd.as_fd(), &[IoSlice::new(buf)], deadline)
}

pub(crate) fn writev_deadline(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    deadline: Deadline<'_>,
) -> Result<usize> {
    attempt_until(fd, PollEvents::OUT, Some(deadline), || nowait::try_writev(fd, bufs))
}

/// Reads exactly `buf.len()` bytes, waiting only until `deadline`.
///
/// # Errors
///
/// The [`Incomplete`] holds the number of bytes in `buf` and the reason: end of file,
/// [`ETIMEDOUT`](crate::Errno::ETIMEDOUT), [`ECANCELED`](crate::Errno::ECANCELED), or another error of
/// [`read_deadline`].
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::Deadline;
/// use std::time::Duration;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write(b"half")?;
/// let mut buf = [0; 8];
/// let deadline = Deadline::after(Duration::from_millis(5));
/// let stopped = rawpipe::io::read_exact_deadline(&reader, &mut buf, deadline).unwrap_err();
/// assert_eq!((stopped.bytes(), stopped.errno()), (4, Some(Errno::ETIMEDOUT)));
/// # Ok::<(), Errno>(())
/// ```
pub fn read_exact_deadline(
    fd: impl AsFd,
    buf: &mut [u8],
    deadline: Deadline<'_>,
) -> core::result::Result<(), Incomplete> {
    let fd = fd.as_fd();
    io::complete(buf.len(), |done| read_deadline(fd, &mut buf[done..], deadline))
}

/// Writes all of `buf`, waiting only until `deadline`.
///
/// # Errors
///
/// The [`Incomplete`] holds the number of bytes written and the reason:
/// [`ETIMEDOUT`](crate::Errno::ETIMEDOUT), [`ECANCELED`](crate::Errno::ECANCELED), or another error of
/// [`write_deadline`].
pub fn write_all_deadline(
    fd: impl AsFd,
    buf: &[u8],
    deadline: Deadline<'_>,
) -> core::result::Result<(), Incomplete> {
    let fd = fd.as_fd();
    let bufs = &mut [IoSlice::new(buf)];
    io::write_all_vectored_by(bufs, |rest| writev_deadline(fd, rest, deadline))
}
