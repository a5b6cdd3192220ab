//! Reading and writing with flags for this one call, and what does the same for pipes.
//!
//! # Safety
//!
//! As its parent: the kernel touches only memory that was lent for the call.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, fcntl_getfl, vmsplice};
use crate::abi;
use crate::errno::{Errno, Result, decode};
use crate::fd::BorrowedFd;
use crate::iovec::{IoSlice, IoSliceMut};
use crate::sys::{nr, syscall6};

/// Whether a call was refused as such, by a kernel that does not have it or its flags, by this kind of
/// file, or by a filter.
pub(crate) fn is_refusal(errno: Errno) -> bool {
    // Until Linux 4.13 it is EINVAL.
    matches!(errno, Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM)
}

/// At the file's position, if it has one.
#[inline]
pub(crate) fn preadv2(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    flags: usize,
) -> Result<usize> {
    let list = bufs.as_mut_ptr().expose_provenance();
    let (here, count) = (usize::MAX, bufs.len());
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`; the kernel writes into the buffers of
    // the list only, which are lent exclusively.
    decode(unsafe { syscall6(nr::PREADV2, arg(fd), list, count, here, here, flags) })
}

/// At the file's position, if it has one.
#[inline]
pub(crate) fn pwritev2(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>], flags: usize) -> Result<usize> {
    let list = bufs.as_ptr().expose_provenance();
    let (here, count) = (usize::MAX, bufs.len());
    // SAFETY: `IoSlice` has the layout of `struct iovec`; the kernel reads the buffers of the list.
    decode(unsafe { syscall6(nr::PWRITEV2, arg(fd), list, count, here, here, flags) })
}

/// Copies out of a pipe without waiting: `vmsplice` on a read end. `EBADF` for anything else, also for
/// an end that is open for writing as well.
#[inline]
pub(crate) fn vmsplice_from(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    if fcntl_getfl(fd)? & abi::O_ACCMODE as usize != abi::O_RDONLY {
        return Err(Errno::EBADF);
    }
    let place = [IoSliceMut::new(buf)];
    let list = (&raw const place).cast::<IoSlice<'_>>();
    // SAFETY: the two kinds of slice have the layout of `struct iovec`, and this one outlives the call.
    let bufs = unsafe { core::slice::from_raw_parts(list, 1) };
    // SAFETY: not open for writing, so that the kernel takes no reference to the buffer: it copies
    // into it, and it is lent exclusively.
    unsafe { vmsplice(fd, bufs, abi::SPLICE_F_NONBLOCK) }
}
