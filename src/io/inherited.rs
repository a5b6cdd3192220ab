//! Takes ownership of descriptors that this process has inherited.
//!
//! # Safety
//!
//! This file relies on the caller of [`take_inherited`] to pass a number that no other code owns.
#![allow(unsafe_code, reason = "take_inherited makes an owner of a number")]

use crate::errno::{Errno, Result};
use crate::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::sys::{abi, call};

/// Takes ownership of the inherited descriptor that has this number.
///
/// For example, a program may inherit descriptor 3 because its parent used `fd_map`, or because a shell used
/// [`3<file`][m]. Call this function once for each such descriptor, near the start of `main`. The function
/// sets close-on-exec, so the program does not accidentally pass the descriptor on.
///
/// [m]: https://www.gnu.org/software/bash/manual/html_node/Redirections.html
///
/// # Errors
///
/// - [`EBADF`](Errno::EBADF) if no descriptor with this number is open.
///
/// # Safety
///
/// No other code in this process owns the descriptor or will close it:
///
/// - The descriptor was open when the process started.
/// - The C library and std do not use the descriptor (std uses 0, 1 and 2).
/// - This function is called at most once for the descriptor.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::{AsFd, IntoRawFd, OwnedFd};
/// use rawpipe::{PipeFlags, io};
///
/// // Represents a descriptor that the parent left open at a known number.
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
    // SAFETY: the value is used only for `fcntl`, which fails with `EBADF` if the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = call::fcntl_getfd(borrowed)?;
    call::fcntl_setfd(borrowed, flags | abi::FD_CLOEXEC)?;
    // SAFETY: the descriptor is open, since both calls of `fcntl` succeeded. The caller guarantees that no
    // value owns the descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
