//! Pipes: their creation, their two ends, and their capacity.
//!
//! # Behaviour
//!
//! - A **read** waits until at least one byte is available. The read returns 0 (end of file) if the pipe is
//!   empty and no write end is open in any process. A forked child, or a program that this process has
//!   started, may have inherited a write end.
//! - A **write** waits until all bytes are in the pipe. If no read end is open, the write fails with
//!   [`EPIPE`](crate::Errno::EPIPE), and `SIGPIPE` is raised (Rust's `main` ignores it).
//! - A write of up to [`PIPE_BUF`] bytes is never mixed with the bytes of other writers. A longer write may
//!   be mixed with them.
//! - A pipe holds [`capacity`] bytes in slots of one page. If a write does not fill its last page, the
//!   remaining room in that page may stay unused. A pipe can therefore be full with fewer bytes than its
//!   capacity.
//!
//! # Deadlocks
//!
//! - *A reader waits forever*: a write end is still open. Before reading to the end, drop that write end in
//!   every process that has a copy.
//! - *Two processes wait for each other*: before reading, each process writes more than fits into the pipe.
//!   Make one process read first, or [`poll`](mod@crate::event) both pipes.
//! - *A writer waits forever*: a process holds a read end but does not read.
//!
//! By default, the ends that [`pipe`] and [`Builder`] create are close-on-exec, so a program that you start
//! does not accidentally keep these ends open. A child created by [`fork`](crate::fork) inherits all ends.

#[cfg(feature = "event")]
pub(crate) mod adaptive;
mod end;
mod reader;
#[cfg(feature = "event")]
mod timed;
mod writer;

#[cfg(feature = "event")]
pub use adaptive::AdaptiveEnd;
pub use reader::PipeReader;
pub use writer::PipeWriter;

use crate::fd::AsFd;
use crate::sys::abi::flags::PipeFlags;
use crate::sys::{call, page};
use crate::{Errno, Result};

/// The size in bytes of the largest write that is never mixed with the bytes of other writers: 4096.
pub const PIPE_BUF: usize = crate::sys::abi::PIPE_BUF;

/// Creates a pipe and returns `(reader, writer)`. Both ends are close-on-exec. Neither descriptor has [a
/// number from 0 to 2](crate::fd#the-numbers-0-1-and-2).
///
/// # Errors
///
/// - [`EMFILE`](Errno::EMFILE) if the process has reached its limit of descriptors.
/// - [`ENFILE`](Errno::ENFILE) if the system has reached its limit of open files, or this user's pipes have
///   reached `/proc/sys/fs/pipe-user-pages-hard`.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(b"through the pipe")?;
/// drop(writer);
///
/// let mut text = Vec::new();
/// reader.read_to_end(&mut text)?;
/// assert_eq!(text, b"through the pipe");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html)
#[inline]
pub fn pipe() -> Result<(PipeReader, PipeWriter)> {
    pipe2(PipeFlags::CLOEXEC)
}

/// Creates a pipe with exactly these flags and returns `(reader, writer)`. Without
/// [`CLOEXEC`](PipeFlags::CLOEXEC), programs started later inherit both ends. Neither descriptor has [a
/// number from 0 to 2](crate::fd#the-numbers-0-1-and-2).
///
/// # Errors
///
/// Fails as [`pipe`] does, and with
///
/// - [`EINVAL`](Errno::EINVAL) if `flags` has bits that the kernel does not support.
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, PipeFlags, pipe2};
///
/// let (reader, _writer) = pipe2(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
/// assert_eq!(reader.read(&mut [0; 1]), Err(Errno::EAGAIN));
/// # Ok::<(), Errno>(())
/// ```
///
/// [pipe2(2)](https://man7.org/linux/man-pages/man2/pipe.2.html)
#[inline]
pub fn pipe2(flags: PipeFlags) -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = call::pipe2(flags.bits())?;
    Ok((reader.into(), writer.into()))
}

/// Creates a close-on-exec pipe for the crate's internal use.
#[cfg(any(feature = "event", feature = "transfer"))]
pub(crate) fn internal(flags: PipeFlags) -> Result<(PipeReader, PipeWriter)> {
    pipe2(flags | PipeFlags::CLOEXEC)
}

/// The capacity that a pipe should have.
///
/// # Examples
///
/// ```
/// use rawpipe::pipe::{self, Capacity};
///
/// let (_reader, writer) = rawpipe::pipe()?;
/// let before = writer.capacity()?;
/// assert!(writer.set_capacity(Capacity::Max)? >= before);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capacity {
    /// The largest useful size that the kernel grants: 1 MiB, or else 512 KiB, 256 KiB, and so on. The
    /// capacity is never reduced. If permission or memory is lacking, or the kernel does not allow a change,
    /// no error occurs.
    Max,
    /// At least this many bytes. The kernel rounds the number of pages up to a power of two.
    Bytes(usize),
}

impl Capacity {
    /// The first size that `Max` requests. By default, every user may request this size
    /// (`/proc/sys/fs/pipe-max-size`). Larger pipes exceed the second-level cache of many processors and
    /// therefore do not move data faster.
    const MAX: u32 = 1 << 20;
}

/// A builder for pipes. Both ends are close-on-exec unless [`inheritable`](Self::inheritable) is called.
///
/// # Examples
///
/// ```
/// use rawpipe::pipe::{Builder, Capacity};
///
/// let (reader, writer) = Builder::new().nonblocking().capacity(Capacity::Max).build()?;
/// assert!(reader.is_nonblocking()?);
/// // The capacity is what the kernel granted.
/// assert!(writer.capacity()? >= 4096);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder creates no pipe until `build` is called"]
pub struct Builder {
    flags: PipeFlags,
    capacity: Option<Capacity>,
}

impl Builder {
    /// Creates a builder for a blocking, close-on-exec pipe with the kernel's default capacity.
    pub const fn new() -> Self {
        Self { flags: PipeFlags::CLOEXEC, capacity: None }
    }

    /// Makes both ends nonblocking: reads and writes fail with [`EAGAIN`](Errno::EAGAIN) rather than wait.
    pub const fn nonblocking(self) -> Self {
        Self { flags: self.flags.union(PipeFlags::NONBLOCK), ..self }
    }

    /// Sets packet mode: each write of up to [`PIPE_BUF`] bytes is read as one packet. Longer writes are
    /// split. If the buffer of a read is shorter than the packet, the read discards the packet's remaining
    /// bytes. A write of no bytes creates no packet.
    #[doc(alias = "O_DIRECT")]
    pub const fn packet(self) -> Self {
        Self { flags: self.flags.union(PipeFlags::DIRECT), ..self }
    }

    /// Clears close-on-exec, so that programs started with `exec` inherit both ends.
    pub const fn inheritable(self) -> Self {
        Self { flags: self.flags.difference(PipeFlags::CLOEXEC), ..self }
    }

    /// Sets the pipe's capacity, as [`set_capacity`] does.
    pub const fn capacity(self, capacity: Capacity) -> Self {
        Self { capacity: Some(capacity), ..self }
    }

    /// Creates the pipe and returns `(reader, writer)`.
    ///
    /// # Errors
    ///
    /// Fails as [`pipe`] does. If a [`capacity`](Self::capacity) is set, also fails as [`set_capacity`] does.
    /// On error no pipe remains open.
    pub fn build(self) -> Result<(PipeReader, PipeWriter)> {
        let (reader, writer) = pipe2(self.flags)?;
        if let Some(capacity) = self.capacity {
            set_capacity(&writer, capacity)?;
        }
        Ok((reader, writer))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the capacity in bytes of the pipe to which a descriptor belongs. If each write fills whole pages,
/// the pipe accepts this number of bytes before any process reads.
///
/// # Errors
///
/// - [`EBADF`](Errno::EBADF) if `fd` is not a pipe.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// assert_eq!(rawpipe::pipe::capacity(&reader)?, writer.capacity()?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_GETPIPE_SZ in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_GETPIPE_SZ")]
pub fn capacity(fd: impl AsFd) -> Result<usize> {
    call::fcntl_getpipe_sz(fd.as_fd())
}

/// Sets the capacity of the pipe to which a descriptor belongs, and returns the granted capacity in bytes.
///
/// For example, standard input or output belongs to a pipe if the program runs in a pipeline.
///
/// # Errors
///
/// - [`EBADF`](Errno::EBADF) if `fd` is not a pipe.
///
/// [`Capacity::Bytes`] can also fail with the following errors. The capacity then stays unchanged.
///
/// - [`EBUSY`](Errno::EBUSY) if the unread data occupies more slots than the new capacity provides.
/// - [`EINVAL`](Errno::EINVAL) if the size is more than 2³¹ bytes.
/// - [`ENOMEM`](Errno::ENOMEM) if the kernel lacks memory.
/// - [`EPERM`](Errno::EPERM) if the pipe would grow beyond `/proc/sys/fs/pipe-max-size` and the process lacks
///   `CAP_SYS_RESOURCE`. This error also occurs if the pipe would grow, and this user's pipes would then
///   exceed either `/proc/sys/fs/pipe-user-pages-soft` or `pipe-user-pages-hard`. Processes with
///   `CAP_SYS_RESOURCE` or `CAP_SYS_ADMIN` are exempt from the latter two limits.
///
/// # Examples
///
/// ```
/// use rawpipe::pipe::{self, Capacity};
///
/// let (_reader, writer) = rawpipe::pipe()?;
/// let granted = pipe::set_capacity(&writer, Capacity::Bytes(100_000))?;
/// assert_eq!(granted, 131_072);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_SETPIPE_SZ in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias = "F_SETPIPE_SZ")]
pub fn set_capacity(fd: impl AsFd, capacity: Capacity) -> Result<usize> {
    let fd = fd.as_fd();
    let mut bytes = match capacity {
        // The kernel uses only 32 bits of the size, so a larger size would be truncated.
        Capacity::Bytes(bytes) => {
            let bytes = u32::try_from(bytes).map_err(|_| Errno::EINVAL)?;
            return call::fcntl_setpipe_sz(fd, bytes);
        }
        Capacity::Max => Capacity::MAX,
    };
    let current = call::fcntl_getpipe_sz(fd)?;
    while bytes as usize > current {
        match call::fcntl_setpipe_sz(fd, bytes) {
            Ok(granted) => return Ok(granted),
            Err(errno) if call::is_missing(errno) || errno == Errno::ENOMEM => bytes /= 2,
            Err(Errno::EBUSY) => break,
            Err(errno) => return Err(errno),
        }
    }
    call::fcntl_getpipe_sz(fd)
}

/// Returns the number of unread bytes in the pipe to which a descriptor belongs.
///
/// # Errors
///
/// - [`ENOTTY`](Errno::ENOTTY) if the descriptor does not report a number of unread bytes.
/// - [`EOVERFLOW`](Errno::EOVERFLOW) if `fd` is not a pipe and the kernel's count is negative. A regular file
///   causes this error if more than 2 GiB follow the file position, or if that position is past the end of
///   the file.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"12345")?;
/// assert_eq!(rawpipe::pipe::available(&reader)?, 5);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [FIONREAD in ioctl(2)](https://man7.org/linux/man-pages/man2/ioctl.2.html)
#[doc(alias = "FIONREAD")]
pub fn available(fd: impl AsFd) -> Result<usize> {
    call::ioctl_fionread(fd.as_fd())
}

/// Returns whether the pipe has only one or two pages. The kernel creates pipes this small if this user's
/// pipes hold more than `/proc/sys/fs/pipe-user-pages-soft` pages.
///
/// Programs such as job servers, which rely on room in a pipe, can hang if the pipe is this small. The result
/// is also `true` for a pipe that was deliberately made this small.
///
/// # Errors
///
/// - [`EBADF`](Errno::EBADF) if `fd` is not a pipe.
///
/// # Examples
///
/// ```
/// use rawpipe::pipe::{self, Capacity};
///
/// let (reader, _writer) = pipe::Builder::new().capacity(Capacity::Bytes(1)).build()?;
/// assert!(pipe::is_degraded(&reader)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
pub fn is_degraded(fd: impl AsFd) -> Result<bool> {
    Ok(capacity(fd)? <= 2 * page::size())
}
