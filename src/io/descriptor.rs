//! Closes and duplicates descriptors, and reads and sets their flags.

use super::DupFlags;
use crate::errno::Result;
use crate::fd::{AsFd, OwnedFd};
use crate::sys::{abi, call};

/// Closes a descriptor and returns the kernel's error, if any. Dropping a descriptor ignores such an error.
///
/// The descriptor is closed even on error, including [`EINTR`](crate::Errno::EINTR). Do not retry: another
/// thread may already have opened a new descriptor with that number.
///
/// # Errors
///
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler interrupted the call.
/// - [`EIO`](crate::Errno::EIO), [`ENOSPC`](crate::Errno::ENOSPC) or [`EDQUOT`](crate::Errno::EDQUOT) if an
///   earlier write could not be completed. Network file systems report these errors. Pipes never report them.
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

/// Duplicates a descriptor. The copy has the lowest free number [from 3 on](crate::fd#the-numbers-0-1-and-2).
/// As with the system call, **programs started with `exec` inherit the copy**, whereas [`dup_cloexec`] sets
/// close-on-exec.
///
/// Both descriptors share one open file, including its offset and its nonblocking flag.
///
/// # Errors
///
/// - [`EMFILE`](crate::Errno::EMFILE) if the process has reached its limit of descriptors.
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

/// Duplicates a descriptor. The copy is close-on-exec and has the lowest free number [from 3
/// on](crate::fd#the-numbers-0-1-and-2).
///
/// # Errors
///
/// - [`EMFILE`](crate::Errno::EMFILE) if the process has reached its limit of descriptors.
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

/// Makes `new` a duplicate of `fd`. The kernel closes the descriptor that `new` held before, and `new` keeps
/// its number. For standard streams use [`redirect`](super::redirect).
///
/// The duplicate is close-on-exec only if `flags` has [`CLOEXEC`](super::DupFlags::CLOEXEC).
///
/// # Errors
///
/// - [`EBADF`](crate::Errno::EBADF) if `RLIMIT_NOFILE` does not allow the number of `new`.
/// - [`EINVAL`](crate::Errno::EINVAL) if `flags` has unknown bits, or both descriptors have the same number.
/// - [`EBUSY`](crate::Errno::EBUSY) if another thread is about to open a descriptor with the number of `new`.
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

/// Returns whether the kernel closes the descriptor when `exec` starts a program (close-on-exec).
///
/// # Errors
///
/// A caller cannot cause an error, because a borrowed descriptor is open.
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

/// Sets or clears close-on-exec. If the flag is set, the kernel closes the descriptor when `exec` starts a
/// program.
///
/// The flag belongs to this descriptor only. Each duplicate has its own flag.
///
/// # Errors
///
/// A caller cannot cause an error, because a borrowed descriptor is open.
///
/// # Examples
///
/// ```
/// use rawpipe::io;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// io::set_close_on_exec(&writer, false)?; // a program started after this inherits it
/// assert!(!io::is_close_on_exec(&writer)?);
/// assert!(io::is_close_on_exec(&reader)?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [F_SETFD in fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
#[doc(alias("F_SETFD", "set_inheritable"))]
pub fn set_close_on_exec(fd: impl AsFd, on: bool) -> Result<()> {
    let fd = fd.as_fd();
    let old = call::fcntl_getfd(fd)?;
    let new = if on { old | abi::FD_CLOEXEC } else { old & !abi::FD_CLOEXEC };
    if new == old { Ok(()) } else { call::fcntl_setfd(fd, new) }
}

/// Returns whether `O_NONBLOCK` is set. While the flag is set, reads and writes of a pipe fail with
/// [`EAGAIN`](crate::Errno::EAGAIN) rather than wait.
///
/// # Errors
///
/// A caller cannot cause an error, because a borrowed descriptor is open.
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

/// Sets or clears `O_NONBLOCK`. While the flag is set, reads and writes of a pipe fail with
/// [`EAGAIN`](crate::Errno::EAGAIN) rather than wait.
///
/// The flag belongs to the open file. All duplicates of the descriptor share the flag, including duplicates
/// in other processes. The other end of a pipe has its own flag. Other flags stay unchanged.
///
/// # Errors
///
/// - [`EBADF`](crate::Errno::EBADF) if the descriptor was opened with `O_PATH`.
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
#[doc(alias("F_SETFL", "set_blocking"))]
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> Result<()> {
    let fd = fd.as_fd();
    let old = call::fcntl_getfl(fd)?;
    let flag = abi::O_NONBLOCK as usize;
    let new = if on { old | flag } else { old & !flag };
    if new == old { Ok(()) } else { call::fcntl_setfl(fd, new) }
}
