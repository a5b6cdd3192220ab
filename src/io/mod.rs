//! Reads from, writes to, duplicates and closes file descriptors, and redirects the standard streams.
//!
//! # What a signal does
//!
//! Each function that is named after a system call makes that call once. If a signal handler interrupts that
//! call before any byte has moved, the function fails with [`EINTR`](crate::Errno::EINTR). [`read_exact`],
//! [`write_all`], [`write_all_vectored`], [`write_atomic`], [`read_to_end`] and the functions with a deadline
//! retry on `EINTR`. [`close`] never retries.
//!
//! # Short counts
//!
//! A read or write may move fewer bytes than requested, and returns the number of bytes moved. With pages of
//! 4 KiB, the kernel moves at most 2,147,479,552 bytes (0x7ffff000) in one call.
//!
//! # Without waiting, or until a deadline
//!
//! Feature `event` adds `try_read`, `try_write`, and functions that take a deadline, such as `read_deadline`.
//! These functions also work on blocking descriptors.
//!
//! `O_NONBLOCK` belongs to the open file. Other processes may share that file, for example a child, or the
//! parent that provided standard input. Setting the flag can break those processes, so none of these
//! functions changes it. Instead, these functions use system calls that do not wait. Functions with a
//! deadline wait only in `poll`.
//!
//! The preferred method is the flag `RWF_NOWAIT`. Pipes have supported this flag since Linux 6.4, and sockets
//! since Linux 6.5. A FIFO never supports the flag, and neither does a pipe end that has ever been used in a
//! [`splice`](crate::splice).
//!
//! The fallbacks for pipes are `vmsplice` and `splice`, which have their own nonblocking flag. A read copies
//! bytes out of the pipe with `vmsplice`. A write goes to a private pipe, and its bytes are then spliced to
//! the target. Each of these writes occupies at least one page of the target pipe. Small writes therefore
//! fill the pipe after fewer bytes than large writes do. A read of a FIFO that is open for reading and
//! writing also splices through a private pipe.
//!
//! If neither method is supported, as on a terminal, the functions fail with
//! [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP). The functions never follow `poll` with a blocking call, because
//! another process could read the data or fill the pipe in between.
//!
//! Some files support `RWF_NOWAIT` although every write that needs new blocks has to wait. An example is a
//! growing file that was opened with `O_DIRECT`. A write that would have to wait fails with
//! [`EAGAIN`](crate::Errno::EAGAIN) every time, and a function with a deadline retries it until the deadline
//! passes. Write to files with [`write`](write()).
//!
//! # Deadlines that have passed
//!
//! If the deadline has already passed, a function does not wait, but it still moves the bytes that it can
//! read or write without waiting. All functions with a deadline retry on `EINTR` until the deadline passes.
//! Another thread can cancel a deadline: see [`Cancel`](crate::Cancel).
//!
//! A peer that holds the pipe's lock makes every read and write of that pipe wait, including those that these
//! functions make: see [`Deadline`](crate::Deadline#a-peer-that-holds-the-pipe).
//!
//! # Socket timeouts
//!
//! `SO_RCVTIMEO` and `SO_SNDTIMEO` have no effect on the `try_` functions and the functions with a deadline.
//! None of these functions waits in a read or write. The options do affect [`read`](read()) and
//! [`write`](write()), which fail with `EAGAIN` when the timeout expires.
//!
//! # Nonblocking ends
//!
//! The functions with a deadline and the `try_` functions behave the same on nonblocking and on blocking
//! descriptors. A table in the guide's page `choosing` lists the behaviour of the other functions.
//!
//! # `SIGPIPE`
//!
//! Except for [`write_nosignal`] and [`writev_nosignal`], every writing function of this module raises
//! `SIGPIPE` if the pipe has no reader. In a program that does not ignore the signal, use `without_sigpipe`.
//!
//! # Packet pipes
//!
//! If `RWF_NOWAIT` is not supported, a `try_` function or a function with a deadline may read several packets
//! as one. The module `message` has types for packets.

mod descriptor;
mod inherited;
#[cfg(any(feature = "event", feature = "transfer"))]
mod nosignal;
#[cfg(any(feature = "event", feature = "transfer"))]
pub(crate) mod nowait;
#[cfg(any(feature = "event", feature = "transfer"))]
pub(crate) mod sigpipe;
mod standard;
#[cfg(feature = "event")]
mod timed;
#[cfg(feature = "alloc")]
mod to_end;
mod whole;

use core::mem::MaybeUninit;

pub use crate::sys::abi::flags::DupFlags;
pub use crate::sys::abi::iovec::{IoSlice, IoSliceMut};
pub use descriptor::{
    close, dup, dup_cloexec, dup3, is_close_on_exec, is_nonblocking, set_close_on_exec,
    set_nonblocking,
};
pub use inherited::take_inherited;
#[cfg(any(feature = "event", feature = "transfer"))]
pub use nosignal::{write_nosignal, writev_nosignal};
#[cfg(any(feature = "event", feature = "transfer"))]
pub use sigpipe::without_sigpipe;
pub use standard::{StdStream, redirect};
#[cfg(feature = "message")]
pub(crate) use timed::writev_deadline;
#[cfg(feature = "event")]
pub use timed::{
    read_deadline, read_exact_deadline, try_read, try_write, write_all_deadline, write_deadline,
};
#[cfg(all(feature = "process", feature = "std"))]
pub(crate) use to_end::read_more;
#[cfg(feature = "alloc")]
pub use to_end::read_to_end;
#[cfg(feature = "message")]
pub(crate) use whole::write_atomic_by;
pub use whole::{Incomplete, read_exact, write_all, write_all_vectored, write_atomic};
#[cfg(feature = "event")]
pub(crate) use whole::{complete, write_all_vectored_by};

use crate::errno::Result;
use crate::fd::AsFd;
use crate::sys::call;

/// Reads up to `buf.len()` bytes into `buf` and returns the number of bytes read. A result of 0 means end of
/// file.
///
/// A read of a blocking pipe waits until at least one byte is available or no process has a write end open. A
/// read of a nonblocking pipe does not wait. With an empty `buf` the call returns 0 immediately.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if the descriptor is nonblocking and has no data to read, or if its
///   `SO_RCVTIMEO` has expired.
/// - [`EBADF`](crate::Errno::EBADF) if the descriptor is not open for reading, for instance a write end.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran before any byte was read.
/// - [`EIO`](crate::Errno::EIO) if the peer of a pseudoterminal is closed. A read from the master of a
///   pseudoterminal fails with this error instead of reporting end of file.
/// - [`EISDIR`](crate::Errno::EISDIR) if the descriptor is a directory.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"Hello from pipe!")?;
///
/// let mut buf = [0; 100];
/// let count = rawpipe::read(&reader, &mut buf)?;
/// assert_eq!(&buf[..count], b"Hello from pipe!");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [read(2)](https://man7.org/linux/man-pages/man2/read.2.html)
#[inline]
pub fn read(fd: impl AsFd, buf: &mut [u8]) -> Result<usize> {
    call::read(fd.as_fd(), buf)
}

/// Reads up to `buf.len()` bytes into memory that need not be initialised, and returns the part that was
/// filled. An empty part means end of file.
///
/// # Errors
///
/// Fails as [`read`] does.
///
/// # Examples
///
/// ```
/// use std::mem::MaybeUninit;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"abc")?;
///
/// let mut buf = [MaybeUninit::uninit(); 4096];
/// assert_eq!(rawpipe::io::read_uninit(&reader, &mut buf)?, b"abc");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [read(2)](https://man7.org/linux/man-pages/man2/read.2.html)
#[doc(alias = "read")]
#[inline]
pub fn read_uninit(fd: impl AsFd, buf: &mut [MaybeUninit<u8>]) -> Result<&mut [u8]> {
    call::read_uninit(fd.as_fd(), buf)
}

/// Reads into several buffers, one after another, and returns the number of bytes read. A result of 0 means
/// end of file.
///
/// # Errors
///
/// Fails as [`read`] does, and with
///
/// - [`EINVAL`](crate::Errno::EINVAL) if more than 1024 buffers are passed.
///
/// # Examples
///
/// ```
/// use rawpipe::io::{self, IoSliceMut};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"headbody")?;
///
/// let (mut head, mut body) = ([0; 4], [0; 100]);
/// let mut bufs = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)];
/// assert_eq!(io::readv(&reader, &mut bufs)?, 8);
/// assert_eq!((&head, &body[..4]), (b"head", &b"body"[..]));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [readv(2)](https://man7.org/linux/man-pages/man2/readv.2.html)
#[inline]
pub fn readv(fd: impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
    call::readv(fd.as_fd(), bufs)
}

/// Writes up to `buf.len()` bytes of `buf` and returns the number of bytes written.
///
/// A write to a blocking pipe waits until all bytes are written. The count is short if only some of the bytes
/// have been written when a signal handler runs or the last read end is closed. A write to a nonblocking pipe
/// writes as many bytes as fit. Up to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes are written in one piece. A
/// longer write may be mixed with the bytes of other writers. With an empty `buf` the call returns 0
/// immediately.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if the descriptor is nonblocking and has no room, or if its
///   `SO_SNDTIMEO` has expired.
/// - [`EBADF`](crate::Errno::EBADF) if the descriptor is not open for writing, for instance a read end.
/// - [`EFBIG`](crate::Errno::EFBIG) if the file would become larger than `RLIMIT_FSIZE` allows. The process
///   also receives `SIGXFSZ`, which kills it unless the signal is ignored, blocked or handled. A write that
///   crosses the limit writes only the bytes below the limit and returns a short count.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran before any byte was written.
/// - [`EINVAL`](crate::Errno::EINVAL) if the file was opened with `O_DIRECT`, and the length, position or
///   address is not a multiple of the block size. To write the unaligned end of a file, clear `O_DIRECT` with
///   `fcntl` first.
/// - [`EPIPE`](crate::Errno::EPIPE) if no read end is open. The process also receives `SIGPIPE`, which kills
///   it unless the signal is ignored, blocked or handled. Rust's `main` ignores the signal, and
///   [`write_nosignal`] does not raise it.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// assert_eq!(rawpipe::write(&writer, b"twelve bytes")?, 12);
/// # drop(reader);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [write(2)](https://man7.org/linux/man-pages/man2/write.2.html)
#[inline]
pub fn write(fd: impl AsFd, buf: &[u8]) -> Result<usize> {
    call::write(fd.as_fd(), buf)
}

/// Writes several buffers, one after another, and returns the number of bytes written.
///
/// # Errors
///
/// Fails as [`write()`] does, and with
///
/// - [`EINVAL`](crate::Errno::EINVAL) if more than 1024 buffers are passed, or the sum of their lengths
///   exceeds `isize::MAX`.
///
/// # Examples
///
/// ```
/// use rawpipe::io::{self, IoSlice};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let bufs = [IoSlice::new(b"head"), IoSlice::new(b"body")];
/// assert_eq!(io::writev(&writer, &bufs)?, 8);
/// # drop(reader);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [writev(2)](https://man7.org/linux/man-pages/man2/writev.2.html)
#[inline]
pub fn writev(fd: impl AsFd, bufs: &[IoSlice<'_>]) -> Result<usize> {
    call::writev(fd.as_fd(), bufs)
}
