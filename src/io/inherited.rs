//! Descriptors that this process was started with.
//!
//! # Safety
//!
//! This file is trusted with [`take_inherited`], whose caller vouches for the number.
#![allow(unsafe_code, reason = "take_inherited makes an owner of a number")]

use crate::errno::{Errno, Result};
use crate::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::sys::{abi, call};

/// Takes over a descriptor that this process was started with, by its number.
///
/// A program that was given descriptor 3 (by [fd-map][m] of whatever started it) claims it with this
/// function, once, near the start of `main`. The descriptor is set close-on-exec, so that it is not
/// passed on by accident.
///
/// [m]: https://www.gnu.org/software/bash/manual/html_node/Redirections.html
///
/// # Errors
///
/// - [`EBADF`](Errno::EBADF): no descriptor with this number is open.
///
/// # Safety
///
/// Nothing else in this process owns the descriptor or will close it: it was open when the process
/// started, it is not one that the C library or std regards as theirs (0, 1 and 2 are std's), and
/// this function is called at most once for it.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::{AsFd, IntoRawFd, OwnedFd};
/// use rawpipe::{PipeFlags, io};
///
/// // Stands in for a descriptor that the parent left open at a number it told us.
/// let (reader, _writer) = rawpipe::pipe2(PipeFlags::empty())?;
/// let number = OwnedFd::from(reader).into_raw_fd();
///
/// // SAFETY: `number` was released the line above and is claimed once.
/// let inherited = unsafe { io::take_inherited(number) }?;
/// assert!(io::is_close_on_exec(inherited.as_fd())?);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
pub unsafe fn take_inherited(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: only used for the one call below, which fails with `EBADF` if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = call::fcntl_getfd(borrowed)?;
    call::fcntl_setfd(borrowed, flags | abi::FD_CLOEXEC)?;
    // SAFETY: it is open (the calls above succeeded), and the caller vouches that nobody owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
