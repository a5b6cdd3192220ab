//! The calls that read and write, and the calls that open, close, copy and inspect descriptors.
//!
//! # Safety
//!
//! This file is trusted to let the kernel touch only the buffers that were lent for a call. The file is also
//! trusted to create exactly one owner for each new descriptor.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, fcntl_getpipe_sz, lent, lent_mut, owned, sink};
use crate::errno::{Errno, Result, decode};
use crate::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use crate::sys::abi::iovec::{IoSlice, IoSliceMut};
use crate::sys::abi::{self, Statx, StdStream};
use crate::sys::arch::{nr, syscall1, syscall3, syscall4, syscall5};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;

#[inline]
pub(crate) fn close(fd: OwnedFd) -> Result<()> {
    tell!(releases(&fd));
    // SAFETY: `fd` owned the descriptor until `into_raw_fd`, and nothing owns it now.
    unsafe { close_raw(fd.into_raw_fd()) }
}

/// Closes the descriptor with this number.
///
/// # Safety
///
/// The caller owns the descriptor and does not use it again, whether this call succeeds or fails.
#[inline]
pub(crate) unsafe fn close_raw(fd: RawFd) -> Result<()> {
    #[expect(clippy::cast_sign_loss, reason = "descriptors are not negative")]
    let fd = fd as usize;
    // SAFETY: `close` touches no memory, and the caller owns the descriptor.
    decode(unsafe { syscall1(nr::CLOSE, fd) }).map(drop)
}

#[inline]
pub(crate) fn dup(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: `dup` touches no memory.
    let answer = decode(unsafe { syscall1(nr::DUP, arg(fd)) })?;
    // SAFETY: `dup` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Calls `dup3`: `new` keeps its number and owns the copy after the call.
#[inline]
pub(crate) fn dup3(fd: BorrowedFd<'_>, new: &mut OwnedFd, flags: u32) -> Result<()> {
    // SAFETY: `dup3` touches no memory. `new` owns the descriptor that `dup3` closes, and `new` is borrowed
    // exclusively, so no other code uses that descriptor.
    decode(unsafe { syscall3(nr::DUP3, arg(fd), sink(new), flags as usize) }).map(drop)
}

/// Calls `dup3` with a standard stream as the target. The copy stays open across an exec.
#[inline]
pub(crate) fn dup_onto_standard(fd: BorrowedFd<'_>, stream: StdStream) -> Result<()> {
    // SAFETY: `dup3` touches no memory. No value owns the descriptors 0 to 2, and a borrowed standard stream
    // stays open.
    decode(unsafe { syscall3(nr::DUP3, arg(fd), stream as usize, 0) }).map(drop)
}

/// Calls `fcntl` for an operation with an integer argument.
pub(super) fn fcntl(fd: BorrowedFd<'_>, operation: usize, argument: usize) -> Result<usize> {
    // SAFETY: the argument of each operation that the crate uses is an integer, and never a pointer.
    decode(unsafe { syscall3(nr::FCNTL, arg(fd), operation, argument) })
}

#[inline]
pub(crate) fn fcntl_dupfd_cloexec(fd: BorrowedFd<'_>, minimum: usize) -> Result<OwnedFd> {
    fcntl_dupfd(fd, abi::F_DUPFD_CLOEXEC, minimum)
}

/// Calls `fcntl` with `F_DUPFD` or `F_DUPFD_CLOEXEC`. The number of the copy is at least `minimum`, and at
/// least 3.
pub(super) fn fcntl_dupfd(fd: BorrowedFd<'_>, operation: usize, minimum: usize) -> Result<OwnedFd> {
    // If the limit of descriptors is `minimum` or less, no number is free. The kernel then returns EINVAL
    // instead of EMFILE.
    let full = |errno| if errno == Errno::EINVAL { Errno::EMFILE } else { errno };
    let answer = fcntl(fd, operation, minimum).map_err(full)?;
    // SAFETY: both operations return a new descriptor.
    unsafe { owned(answer) }
}

#[inline]
pub(crate) fn fcntl_getfd(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GETFD, 0)
}

#[inline]
pub(crate) fn fcntl_getfl(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GETFL, 0)
}

#[inline]
pub(crate) fn fcntl_setfd(fd: BorrowedFd<'_>, flags: usize) -> Result<()> {
    fcntl(fd, abi::F_SETFD, flags).map(drop)
}

#[inline]
pub(crate) fn fcntl_setfl(fd: BorrowedFd<'_>, flags: usize) -> Result<()> {
    fcntl(fd, abi::F_SETFL, flags).map(drop)
}

/// Returns the type of a socket, such as `SOCK_STREAM`.
#[inline]
pub(crate) fn getsockopt_type(fd: BorrowedFd<'_>) -> Result<i32> {
    let (mut kind, mut len): (i32, u32) = (0, 4);
    let (place, size) = (lent_mut(&mut kind), lent_mut(&mut len));
    // SAFETY: the kernel reads the length, and writes an `int` and its length to the given addresses.
    decode(unsafe {
        syscall5(nr::GETSOCKOPT, arg(fd), abi::SOL_SOCKET, abi::SO_TYPE, place, size)
    })?;
    Ok(kind)
}

#[inline]
pub(crate) fn ioctl_fionread(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: u32 = 0;
    // SAFETY: `FIONREAD` writes one `int` to the given address.
    decode(unsafe { syscall3(nr::IOCTL, arg(fd), abi::FIONREAD, lent_mut(&mut bytes)) })?;
    tell!(acquired(fd));
    unread(bytes, || fcntl_getpipe_sz(fd).is_ok())
}

/// Converts the `int` of `FIONREAD`. For a pipe, this `int` is an unsigned count. For any other file, a
/// negative value is not a count, so the function fails with `EOVERFLOW`. The value can be negative if 2 GiB
/// or more follow the position of a regular file, or if the position is past the end.
fn unread(bytes: u32, is_pipe: impl FnOnce() -> bool) -> Result<usize> {
    let count = usize::try_from(bytes).map_err(|_| Errno::EOVERFLOW)?;
    if i32::try_from(bytes).is_ok() || is_pipe() { Ok(count) } else { Err(Errno::EOVERFLOW) }
}

/// Returns the position of a file in bytes. Fails with `EOVERFLOW` if the position does not fit into a
/// register.
#[inline]
pub(crate) fn lseek_current(fd: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: this call touches no memory of this process.
    let position = decode(unsafe { syscall3(nr::LSEEK, arg(fd), 0, abi::SEEK_CUR) })?;
    Ok(position as u64)
}

/// Opens an existing file for reading. The descriptor is close-on-exec.
#[inline]
pub(crate) fn openat_for_reading(path: &CStr) -> Result<OwnedFd> {
    openat(path, abi::O_CLOEXEC)
}

/// Opens an existing file for writing. The descriptor is close-on-exec.
#[inline]
pub(crate) fn openat_for_writing(path: &CStr) -> Result<OwnedFd> {
    openat(path, abi::O_WRONLY | abi::O_CLOEXEC)
}

fn openat(path: &CStr, flags: u32) -> Result<OwnedFd> {
    let flags = flags as usize;
    // SAFETY: the kernel reads the path up to its NUL.
    let answer = decode(unsafe { syscall4(nr::OPENAT, abi::AT_FDCWD, lent(path), flags, 0) })?;
    // SAFETY: `openat` returns a new descriptor.
    unsafe { owned(answer) }
}

#[inline]
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, which is lent exclusively.
    let count = decode(unsafe { syscall3(nr::READ, arg(fd), lent_mut(buf), buf.len()) })?;
    tell!(received(fd, &[&*buf], count));
    Ok(count)
}

/// Reads at most `most` bytes into the spare capacity of `buf`, and appends them. The capacity of `buf` does
/// not grow.
#[cfg(feature = "alloc")]
#[inline]
pub(crate) fn read_spare(fd: BorrowedFd<'_>, buf: &mut Vec<u8>, most: usize) -> Result<usize> {
    let spare = buf.spare_capacity_mut();
    let most = most.min(spare.len());
    let count = read_uninit(fd, &mut spare[..most])?.len();
    let len = buf.len() + count;
    // SAFETY: the kernel has written the `count` bytes after the old end, within the capacity.
    unsafe { buf.set_len(len) };
    Ok(count)
}

#[inline]
pub(crate) fn read_uninit<'a>(
    fd: BorrowedFd<'_>,
    buf: &'a mut [MaybeUninit<u8>],
) -> Result<&'a mut [u8]> {
    let place = lent_mut(buf);
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, which is lent exclusively.
    let count = decode(unsafe { syscall3(nr::READ, arg(fd), place, buf.len()) })?;
    tell!(acquired(fd));
    tell!(written(place, count));
    let (filled, _) = buf.split_at_mut(count.min(buf.len()));
    // SAFETY: the kernel has written these `count` bytes, and `MaybeUninit<u8>` has the layout of `u8`.
    Ok(unsafe { &mut *(&raw mut *filled as *mut [u8]) })
}

#[inline]
pub(crate) fn readv(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
    tell!(writes_each(bufs));
    let list = lent_mut(bufs);
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`. The kernel writes only into the buffers of the
    // list, which are lent exclusively.
    let count = decode(unsafe { syscall3(nr::READV, arg(fd), list, bufs.len()) })?;
    tell!(received(fd, bufs, count));
    Ok(count)
}

/// Returns the type, the identity and the size in bytes of the file that a descriptor refers to.
#[inline]
pub(crate) fn statx(fd: BorrowedFd<'_>) -> Result<Statx> {
    let mask = abi::STATX_TYPE | abi::STATX_INO | abi::STATX_SIZE;
    statx_at(arg(fd), c"", abi::AT_EMPTY_PATH as usize, mask)
}

fn statx_at(folder: usize, path: &CStr, flags: usize, mask: usize) -> Result<Statx> {
    let mut answer = MaybeUninit::<Statx>::zeroed();
    let (path, place) = (lent(path), lent_mut(&mut answer));
    // SAFETY: the kernel reads the path up to its NUL and writes one `struct statx` to the given address.
    decode(unsafe { syscall5(nr::STATX, folder, path, flags, mask, place) })?;
    // SAFETY: the value consists of integers. Each integer either is still zero or was written by the kernel.
    Ok(unsafe { answer.assume_init() })
}

/// Returns the number of hard links to the file at `path`.
#[inline]
pub(crate) fn statx_nlink(path: &CStr) -> Result<u32> {
    Ok(statx_at(abi::AT_FDCWD, path, 0, abi::STATX_NLINK)?.stx_nlink)
}

#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads at most `buf.len()` bytes of `buf`.
    decode(unsafe { syscall3(nr::WRITE, sink(fd), lent(buf), buf.len()) })
}

#[inline]
pub(crate) fn writev(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize> {
    tell!(reads_each(bufs));
    // SAFETY: `IoSlice` has the layout of `struct iovec`, and the kernel reads the buffers of the list.
    decode(unsafe { syscall3(nr::WRITEV, sink(fd), lent(bufs), bufs.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_is_an_unsigned_sum_of_a_pipe_and_nothing_negative_elsewhere() {
        for bytes in [0, 1, 0x7fff_ffff] {
            let count = Ok(usize::try_from(bytes).unwrap());
            assert_eq!(unread(bytes, || unreachable!("a count of anything")), count);
        }
        for bytes in [0x8000_0000, u32::MAX] {
            assert_eq!(unread(bytes, || true), Ok(usize::try_from(bytes).unwrap()));
            assert_eq!(unread(bytes, || false), Err(Errno::EOVERFLOW));
        }
    }
}
