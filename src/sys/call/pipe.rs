//! The calls for pipes, and the calls that move bytes without copying them through this process.
//!
//! # Safety
//!
//! This file is trusted to let the kernel touch only memory that was lent for a call. The file is also
//! trusted to give each end of a new pipe exactly one owner. The caller of `vmsplice` is responsible for the
//! pages that the call passes.
#![allow(unsafe_code, reason = "system calls")]

use super::io::fcntl;
use super::{arg, lent, lent_mut, off_stdio, sink};
use crate::errno::{Result, decode};
use crate::fd::{AsRawFd, BorrowedFd, OwnedFd};
use crate::sys::abi::{self, iovec::IoSlice};
use crate::sys::arch::{nr, syscall2, syscall4, syscall6};
use core::mem::MaybeUninit;

/// Copies between files. The kernel reads and updates the given offsets.
#[inline]
pub(crate) fn copy_file_range(
    from: BorrowedFd<'_>,
    from_offset: Option<&mut u64>,
    to: BorrowedFd<'_>,
    to_offset: Option<&mut u64>,
    len: usize,
) -> Result<usize> {
    let (from_offset, to_offset) = (from_offset.map_or(0, lent_mut), to_offset.map_or(0, lent_mut));
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: of this process's memory, the kernel reads and writes only the two offsets, which are lent
    // exclusively.
    decode(unsafe {
        syscall6(nr::COPY_FILE_RANGE, arg(from), from_offset, sink(to), to_offset, len, 0)
    })
    .inspect(|_| tell!(acquired(from)))
}

#[inline]
pub(crate) fn fcntl_getpipe_sz(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GETPIPE_SZ, 0)
}

#[inline]
pub(crate) fn fcntl_setpipe_sz(fd: BorrowedFd<'_>, bytes: u32) -> Result<usize> {
    fcntl(fd, abi::F_SETPIPE_SZ, bytes as usize)
}

/// Creates a pipe and returns its read end and its write end.
#[inline]
pub(crate) fn pipe2(flags: u32) -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = MaybeUninit::<[OwnedFd; 2]>::uninit();
    let place = lent_mut(&mut ends);
    // SAFETY: `pipe2` writes two descriptors to the given address, which has room for two.
    decode(unsafe { syscall2(nr::PIPE2, place, flags as usize) })?;
    tell!(written(place, size_of_val(&ends)));
    // SAFETY: `pipe2` has succeeded, so both descriptors were written and are open, and nothing owns them
    // yet. `OwnedFd` has the layout of a C int.
    let [reader, writer] = unsafe { ends.assume_init() };
    let is_low = reader.as_raw_fd() < 3 || writer.as_raw_fd() < 3;
    if is_low { both_off_stdio(reader, writer) } else { Ok((reader, writer)) }
}

#[cold]
#[inline(never)]
fn both_off_stdio(reader: OwnedFd, writer: OwnedFd) -> Result<(OwnedFd, OwnedFd)> {
    Ok((off_stdio(reader)?, off_stdio(writer)?))
}

/// Sends bytes from a file, beginning at `offset`, which the kernel reads and updates. Without an offset, the
/// call begins at the file's position.
#[inline]
pub(crate) fn sendfile(
    to: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    offset: Option<&mut u64>,
    len: usize,
) -> Result<usize> {
    let (offset, len) = (offset.map_or(0, lent_mut), len.min(abi::MAX_RW_COUNT));
    // SAFETY: of this process's memory, the kernel reads and writes only the offset, which is lent
    // exclusively.
    decode(unsafe { syscall4(nr::SENDFILE, sink(to), arg(from), offset, len) })
        .inspect(|_| tell!(acquired(from)))
}

/// Moves bytes from or to a pipe. The kernel reads and updates the given offsets.
#[inline]
pub(crate) fn splice(
    from: BorrowedFd<'_>,
    from_offset: Option<&mut u64>,
    to: BorrowedFd<'_>,
    to_offset: Option<&mut u64>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    let (from_offset, to_offset) = (from_offset.map_or(0, lent_mut), to_offset.map_or(0, lent_mut));
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: of this process's memory, the kernel reads and writes only the two offsets, which are lent
    // exclusively.
    decode(unsafe {
        syscall6(nr::SPLICE, arg(from), from_offset, sink(to), to_offset, len, flags as usize)
    })
    .inspect(|_| tell!(acquired(from)))
}

#[inline]
pub(crate) fn tee(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: `tee` touches no memory of this process.
    decode(unsafe { syscall4(nr::TEE, arg(from), sink(to), len, flags as usize) })
        .inspect(|_| tell!(acquired(from)))
}

/// Passes pages to a pipe by reference.
///
/// # Safety
///
/// The requirements of [`splice::vmsplice`](crate::splice::vmsplice) apply.
#[inline]
pub(crate) unsafe fn vmsplice(
    to: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    flags: u32,
) -> Result<usize> {
    tell!(reads_each(bufs));
    let list = lent(bufs);
    // SAFETY: `IoSlice` has the layout of `struct iovec`. The kernel reads the list and takes references to
    // the pages of the listed buffers. The caller guarantees what `splice::vmsplice` requires of these pages.
    decode(unsafe { syscall4(nr::VMSPLICE, sink(to), list, bufs.len(), flags as usize) })
}
