//! Reads and writes that accept flags, and a nonblocking read from a pipe.
//!
//! # Safety
//!
//! This file is trusted to let the kernel touch only the buffers that were lent for a call.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, fcntl_getfl, lent, lent_mut, sink};
use crate::errno::{Errno, Result, decode};
use crate::fd::BorrowedFd;
use crate::sys::abi;
use crate::sys::abi::iovec::{IoSlice, IoSliceMut};
use crate::sys::arch::{nr, syscall4, syscall6};

/// Reads at the file's position, if the file has one.
#[inline]
pub(crate) fn preadv2(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    flags: usize,
) -> Result<usize> {
    tell!(writes_each(bufs));
    let (here, len) = (usize::MAX, bufs.len());
    let list = lent_mut(bufs);
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`. The kernel writes only into the buffers of the
    // list, which are lent exclusively.
    let count = decode(unsafe { syscall6(nr::PREADV2, arg(fd), list, len, here, here, flags) })?;
    tell!(received(fd, bufs, count));
    Ok(count)
}

/// Writes at the file's position, if the file has one.
#[inline]
pub(crate) fn pwritev2(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>], flags: usize) -> Result<usize> {
    tell!(reads_each(bufs));
    let (list, here, count) = (lent(bufs), usize::MAX, bufs.len());
    // SAFETY: `IoSlice` has the layout of `struct iovec`, and the kernel reads the buffers of the list.
    decode(unsafe { syscall6(nr::PWRITEV2, sink(fd), list, count, here, here, flags) })
}

/// Reads from a pipe without waiting, using `vmsplice` on a read end. Fails with `EBADF` for any other file,
/// and for an end that is also open for writing.
#[inline]
pub(crate) fn vmsplice_from(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    if fcntl_getfl(fd)? & abi::O_ACCMODE != abi::O_RDONLY {
        return Err(Errno::EBADF);
    }
    let bufs = [IoSliceMut::new(buf)];
    tell!(writes_each(&bufs));
    let (list, flags) = (lent(&bufs), abi::SPLICE_F_NONBLOCK as usize);
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`. The end is not open for writing (checked above),
    // so the kernel takes no reference to the buffer. The kernel copies into the buffer, which is lent
    // exclusively.
    let count = decode(unsafe { syscall4(nr::VMSPLICE, arg(fd), list, 1, flags) })?;
    tell!(received(fd, &bufs, count));
    Ok(count)
}
