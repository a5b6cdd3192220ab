//! Reading, writing, duplicating and closing any file descriptor.
//!
//! # What a signal does
//!
//! The functions named after a system call make it once: interrupted by a signal handler before
//! anything moved, they answer [`EINTR`](Errno::EINTR). [`read_exact`], [`write_all`],
//! [`write_all_vectored`] and [`read_to_end`] go on after a signal. [`close`] is never repeated.
//!
//! # Short counts
//!
//! A read or write may move fewer bytes than asked: the count is the answer. The kernel moves at
//! most 2,147,479,552 bytes (0x7ffff000) in one call, whatever the length.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use core::mem::MaybeUninit;

pub use crate::flags::DupFlags;
pub use crate::iovec::{IoSlice, IoSliceMut};

use crate::abi;
use crate::call;
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, OwnedFd};

/// Reads up to `buf.len()` bytes into `buf` and returns how many; 0 is end of file.
///
/// On a pipe it waits until there is at least one byte or no write end is left open anywhere; a
/// nonblocking pipe does not wait. An empty `buf` answers 0 at once.
///
/// # Errors
///
/// - [`EAGAIN`](Errno::EAGAIN): the descriptor is nonblocking and there is nothing to read.
/// - [`EBADF`](Errno::EBADF): it is not open for reading, for instance a write end.
/// - [`EINTR`](Errno::EINTR): a signal handler ran before anything was read.
/// - [`EISDIR`](Errno::EISDIR): it is a directory.
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

/// Reads up to `buf.len()` bytes into memory that need not be initialised, and returns the part that
/// now is; an empty part is end of file.
///
/// # Errors
///
/// As [`read`].
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

/// Reads into several buffers, one after the other, and returns the number of bytes; 0 is end of
/// file.
///
/// # Errors
///
/// As [`read`], and
///
/// - [`EINVAL`](Errno::EINVAL): there are more than 1024 buffers.
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

/// Writes up to `buf.len()` bytes of `buf` and returns how many.
///
/// On a pipe it waits until all of them are written; a nonblocking pipe takes what it has room for.
/// Up to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes are written in one piece; more may be mixed with
/// what other writers write. An empty `buf` answers 0 at once.
///
/// # Errors
///
/// - [`EAGAIN`](Errno::EAGAIN): the descriptor is nonblocking and there is no room.
/// - [`EBADF`](Errno::EBADF): it is not open for writing, for instance a read end.
/// - [`EINTR`](Errno::EINTR): a signal handler ran before anything was written.
/// - [`EPIPE`](Errno::EPIPE): no read end is left open. The process also gets `SIGPIPE`, which kills
///   it unless it is ignored, as it is in Rust programs with a `main`.
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

/// Writes several buffers, one after the other, and returns the number of bytes.
///
/// # Errors
///
/// As [`write()`], and
///
/// - [`EINVAL`](Errno::EINVAL): there are more than 1024 buffers, or their lengths together are more
///   than an `isize` holds.
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

/// Reads exactly `buf.len()` bytes. Goes on after a short count and after a signal.
///
/// # Errors
///
/// An [`Incomplete`] says how many bytes are in `buf` and why there are no more: end of file, or an
/// error of [`read`] other than [`EINTR`](Errno::EINTR).
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
pub fn read_exact(fd: impl AsFd, buf: &mut [u8]) -> core::result::Result<(), Incomplete> {
    let fd = fd.as_fd();
    let mut bytes = 0;
    while bytes < buf.len() {
        match call::read(fd, &mut buf[bytes..]) {
            Ok(0) => return Err(Incomplete { bytes, errno: None }),
            Ok(count) => bytes += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Incomplete { bytes, errno: Some(errno) }),
        }
    }
    Ok(())
}

/// Writes all of `buf`. Goes on after a short count and after a signal.
///
/// # Errors
///
/// An [`Incomplete`] says how many bytes were written and what stopped it: an error of [`write()`]
/// other than [`EINTR`](Errno::EINTR).
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, io, pipe};
///
/// // A nonblocking pipe takes what it has room for; the rest is the caller's to send later.
/// let (reader, writer) = pipe::Builder::new().nonblocking().build()?;
/// let data = vec![b'x'; writer.capacity()? + 1000];
/// let stopped = io::write_all(&writer, &data).unwrap_err();
/// assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
/// assert_eq!(stopped.bytes(), reader.available()?);
/// # Ok::<(), Errno>(())
/// ```
pub fn write_all(fd: impl AsFd, buf: &[u8]) -> core::result::Result<(), Incomplete> {
    let fd = fd.as_fd();
    let mut bytes = 0;
    while bytes < buf.len() {
        match call::write(fd, &buf[bytes..]) {
            Ok(0) => return Err(Incomplete { bytes, errno: None }),
            Ok(count) => bytes += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Incomplete { bytes, errno: Some(errno) }),
        }
    }
    Ok(())
}

/// Writes all of several buffers, any number of them. Goes on after a short count, in the middle of
/// a buffer if need be, and after a signal.
///
/// What is left in `bufs` afterwards is unspecified.
///
/// # Errors
///
/// An [`Incomplete`] says how many bytes were written and what stopped it: an error of [`writev`]
/// other than [`EINTR`](Errno::EINTR).
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
pub fn write_all_vectored(
    fd: impl AsFd,
    mut bufs: &mut [IoSlice<'_>],
) -> core::result::Result<(), Incomplete> {
    let fd = fd.as_fd();
    let mut bytes = 0;
    // Buffers that are empty from the start would make a call that has nothing to write.
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match call::writev(fd, &bufs[..bufs.len().min(abi::IOV_MAX)]) {
            Ok(0) => return Err(Incomplete { bytes, errno: None }),
            Ok(count) => {
                bytes += count;
                IoSlice::advance_slices(&mut bufs, count);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Incomplete { bytes, errno: Some(errno) }),
        }
    }
    Ok(())
}

/// Reads until end of file, appends to `buf`, and returns the number of bytes appended. Goes on
/// after a signal.
///
/// On a pipe the end comes when every write end is closed: the caller's own copies must be dropped
/// first, or it waits for ever.
///
/// # Errors
///
/// As [`read`] but for [`EINTR`](Errno::EINTR), and [`ENOMEM`](Errno::ENOMEM) when `buf` cannot
/// grow. What was read until then is in `buf`.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"all of it")?;
/// drop(writer); // or the next line would wait for ever
///
/// let mut buf = Vec::new();
/// assert_eq!(rawpipe::io::read_to_end(&reader, &mut buf)?, 9);
/// assert_eq!(buf, b"all of it");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[cfg(feature = "alloc")]
pub fn read_to_end(fd: impl AsFd, buf: &mut Vec<u8>) -> Result<usize> {
    /// The least room worth a call. The room doubles as `buf` grows.
    const ROOM: usize = 8192;

    let fd = fd.as_fd();
    let before = buf.len();
    loop {
        if buf.capacity() - buf.len() < ROOM {
            buf.try_reserve(ROOM).map_err(|_| Errno::ENOMEM)?;
        }
        match call::read_spare(fd, buf) {
            Ok(0) => return Ok(buf.len() - before),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Closes a descriptor and reports what the kernel says of it, which dropping it does not.
///
/// The descriptor is gone whatever the answer is, also after [`EINTR`](Errno::EINTR): there is
/// nothing to repeat, and the number may already be somebody else's.
///
/// # Errors
///
/// - [`EINTR`](Errno::EINTR), [`EIO`](Errno::EIO), [`ENOSPC`](Errno::ENOSPC),
///   [`EDQUOT`](Errno::EDQUOT): an earlier write could not be completed. File systems over a network
///   report them; a pipe never does.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::close(writer)?;
/// assert_eq!(rawpipe::read(&reader, &mut [0; 1])?, 0); // end of file
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [close(2)](https://man7.org/linux/man-pages/man2/close.2.html)
pub fn close(fd: impl Into<OwnedFd>) -> Result<()> {
    call::close(fd.into())
}

/// Duplicates a descriptor: the copy has the lowest free number and **is inherited by programs
/// started with `exec`**, as the system call has it. [`dup_cloexec`] makes one that is not.
///
/// Both share one open file: its offset and its nonblocking flag.
///
/// # Errors
///
/// - [`EMFILE`](Errno::EMFILE): the process has as many descriptors as it may.
///
/// # Examples
///
/// ```
/// use rawpipe::io;
///
/// let (_reader, writer) = rawpipe::pipe()?;
/// let copy = io::dup(&writer)?;
/// assert!(!io::is_close_on_exec(&copy)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [dup(2)](https://man7.org/linux/man-pages/man2/dup.2.html)
pub fn dup(fd: impl AsFd) -> Result<OwnedFd> {
    call::dup(fd.as_fd())
}

/// Duplicates a descriptor: the copy is close-on-exec and its number is 3 or above, so that it never
/// takes the place of standard input, output or error.
///
/// # Errors
///
/// - [`EMFILE`](Errno::EMFILE): the process has as many descriptors as it may.
///
/// # Examples
///
/// ```
/// use rawpipe::io;
///
/// let copy = io::dup_cloexec(std::io::stdout())?;
/// assert!(io::is_close_on_exec(&copy)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_DUPFD_CLOEXEC in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_DUPFD_CLOEXEC")]
pub fn dup_cloexec(fd: impl AsFd) -> Result<OwnedFd> {
    call::fcntl_dupfd_cloexec(fd.as_fd(), 3)
}

/// Makes `new` a duplicate of `fd`: what `new` was is closed and it keeps its number.
///
/// Close-on-exec only if `flags` say so.
///
/// # Errors
///
/// - [`EINVAL`](Errno::EINVAL): `flags` has unknown bits, or both have the same number.
/// - [`EBUSY`](Errno::EBUSY): another thread is about to open a descriptor with that number.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::OwnedFd;
/// use rawpipe::io::{self, DupFlags};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (_other_reader, other_writer) = rawpipe::pipe()?;
/// let mut replaced = OwnedFd::from(other_writer);
/// io::dup3(&writer, &mut replaced, DupFlags::CLOEXEC)?;
///
/// rawpipe::write(&replaced, b"into the first pipe")?;
/// assert_eq!(reader.available()?, 19);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [dup3(2)](https://man7.org/linux/man-pages/man2/dup.2.html)
#[doc(alias = "dup2")]
pub fn dup3(fd: impl AsFd, new: &mut OwnedFd, flags: DupFlags) -> Result<()> {
    call::dup3(fd.as_fd(), new, flags.bits())
}

/// Whether the descriptor is closed in a program started by `exec`.
///
/// # Errors
///
/// None that a caller can bring about: a borrowed descriptor is open.
///
/// # Examples
///
/// ```
/// use rawpipe::{PipeFlags, io};
///
/// let (reader, _writer) = rawpipe::pipe()?;
/// assert!(io::is_close_on_exec(&reader)?);
/// let (reader, _writer) = rawpipe::pipe2(PipeFlags::empty())?;
/// assert!(!io::is_close_on_exec(&reader)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_GETFD in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_GETFD")]
pub fn is_close_on_exec(fd: impl AsFd) -> Result<bool> {
    Ok(call::fcntl_getfd(fd.as_fd())? & abi::FD_CLOEXEC != 0)
}

/// Says whether the descriptor is to be closed in a program started by `exec`.
///
/// Belongs to this one descriptor; duplicates have a flag of their own.
///
/// # Errors
///
/// None that a caller can bring about: a borrowed descriptor is open.
///
/// # Examples
///
/// ```
/// use rawpipe::io;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// io::set_close_on_exec(&writer, false)?; // a program started from here on inherits it
/// assert!(!io::is_close_on_exec(&writer)?);
/// assert!(io::is_close_on_exec(&reader)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_SETFD in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_SETFD")]
#[doc(alias = "set_inheritable")]
pub fn set_close_on_exec(fd: impl AsFd, on: bool) -> Result<()> {
    let fd = fd.as_fd();
    let old = call::fcntl_getfd(fd)?;
    let new = if on { old | abi::FD_CLOEXEC } else { old & !abi::FD_CLOEXEC };
    if new == old { Ok(()) } else { call::fcntl_setfd(fd, new) }
}

/// Whether calls on the descriptor answer [`EAGAIN`](Errno::EAGAIN) rather than wait.
///
/// # Errors
///
/// None that a caller can bring about: a borrowed descriptor is open.
///
/// # Examples
///
/// ```
/// use rawpipe::{PipeFlags, io};
///
/// let (reader, _writer) = rawpipe::pipe2(PipeFlags::NONBLOCK)?;
/// assert!(io::is_nonblocking(&reader)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_GETFL in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_GETFL")]
pub fn is_nonblocking(fd: impl AsFd) -> Result<bool> {
    Ok(call::fcntl_getfl(fd.as_fd())? & abi::O_NONBLOCK as usize != 0)
}

/// Says whether calls on the descriptor answer [`EAGAIN`](Errno::EAGAIN) rather than wait.
///
/// The flag belongs to the open file: all duplicates of the descriptor share it, also those in other
/// processes. The other end of a pipe has one of its own. Other flags are left as they are.
///
/// # Errors
///
/// - [`EPERM`](Errno::EPERM): the file is append-only and may not change.
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, io};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// io::set_nonblocking(&reader, true)?;
/// assert_eq!(rawpipe::read(&reader, &mut [0; 8]), Err(Errno::EAGAIN));
/// assert!(!io::is_nonblocking(&writer)?);
/// # Ok::<(), Errno>(())
/// ```
///
/// [F_SETFL in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_SETFL")]
#[doc(alias = "set_blocking")]
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> Result<()> {
    let fd = fd.as_fd();
    let old = call::fcntl_getfl(fd)?;
    let flag = abi::O_NONBLOCK as usize;
    let new = if on { old | flag } else { old & !flag };
    if new == old { Ok(()) } else { call::fcntl_setfl(fd, new) }
}

/// Why a call that moves a given number of bytes, such as [`read_exact`] and [`write_all`], stopped
/// before the end, and after how many bytes.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// drop(reader);
/// let stopped = writer.write_all(b"nobody reads this").unwrap_err();
/// assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EPIPE)));
/// assert_eq!(stopped.to_string(), "broken pipe: nobody is left to read (EPIPE) after 0 bytes");
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    pub(crate) bytes: usize,
    pub(crate) errno: Option<Errno>,
}

impl Incomplete {
    /// How many bytes were read or written before it stopped.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The kernel's error, or `None` for end of file, and for a write that took no byte.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.errno
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

impl core::error::Error for Incomplete {}

#[cfg(feature = "std")]
impl From<Incomplete> for std::io::Error {
    /// The system's error, or one of kind `UnexpectedEof`. The count is not in it.
    fn from(incomplete: Incomplete) -> Self {
        match incomplete.errno {
            Some(errno) => errno.into(),
            None => Self::new(std::io::ErrorKind::UnexpectedEof, incomplete),
        }
    }
}
