//! The calls that map memory, unmap it and give advice about it, the calls for files in memory, and
//! `vmsplice` with an exclusive borrow.
//!
//! # Safety
//!
//! This file is trusted to let the kernel choose the address of each mapping, so that no existing mapping is
//! replaced. The file relies on its callers to unmap, protect and discard only memory that they have mapped.
#![allow(unsafe_code, reason = "system calls")]
#![cfg_attr(not(feature = "transfer"), allow(dead_code, reason = "some serve that feature only"))]

use super::io::fcntl;
use super::{arg, is_missing, lent, owned, sink};
use crate::errno::{Errno, Result, decode};
use crate::fd::{BorrowedFd, OwnedFd};
use crate::sys::abi;
use crate::sys::abi::iovec::IoSliceMut;
use crate::sys::arch::{nr, syscall2, syscall3, syscall4, syscall6};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::{self, NonNull};

/// Adds seals to a file, using `F_ADD_SEALS`.
#[inline]
pub(crate) fn fcntl_add_seals(fd: BorrowedFd<'_>, seals: usize) -> Result<()> {
    fcntl(fd, abi::F_ADD_SEALS, seals).map(drop)
}

/// Returns the seals of a file, using `F_GET_SEALS`. Fails with `EINVAL` for a file that cannot have seals.
#[inline]
pub(crate) fn fcntl_get_seals(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GET_SEALS, 0)
}

/// Sets the length of a file that is empty before the call. No mapping contains a page of an empty file, so
/// the call changes no memory.
#[inline]
pub(crate) fn ftruncate(fd: BorrowedFd<'_>, len: usize) -> Result<()> {
    // SAFETY: this call touches no memory of this process.
    decode(unsafe { syscall2(nr::FTRUNCATE, arg(fd), len) }).map(drop)
}

/// # Safety
///
/// The caller has mapped the range, and no code relies on contents that this advice may change.
#[inline]
pub(crate) unsafe fn madvise(base: NonNull<u8>, len: usize, advice: usize) -> Result<()> {
    let address = base.as_ptr().expose_provenance();
    // SAFETY: the caller upholds the same contract.
    decode(unsafe { syscall3(nr::MADVISE, address, len, advice) }).map(drop)
}

/// Advises huge pages for the whole allocation of `buf`, including its first and last page. A mapping that
/// the allocator has made for `buf` is therefore not split, so the allocator can still enlarge it by moving
/// it.
#[cfg(feature = "alloc")]
pub(crate) fn madvise_hugepage(buf: &Vec<u8>) {
    let page = crate::sys::page::size();
    let start = buf.as_ptr().expose_provenance();
    let end = (start + buf.capacity()).next_multiple_of(page);
    let start = start / page * page;
    // SAFETY: this advice does not change the contents of memory, so other data on those two pages is safe.
    let _ = unsafe { syscall3(nr::MADVISE, start, end - start, abi::MADV_HUGEPAGE) };
}

/// Creates an empty, sealable file in memory. The descriptor is close-on-exec.
#[inline]
pub(crate) fn memfd_create(name: &CStr) -> Result<OwnedFd> {
    let name = lent(name);
    let make = |flags| {
        // SAFETY: the kernel reads the name up to its NUL.
        decode(unsafe { syscall2(nr::MEMFD_CREATE, name, flags) })
    };
    // Some systems allow only files that can never be executed (`MFD_NOEXEC_SEAL`). Linux before 6.3 lacks
    // this flag. The flag also makes the file sealable.
    let flags = abi::MFD_CLOEXEC | abi::MFD_ALLOW_SEALING;
    let answer = match make(flags | abi::MFD_NOEXEC_SEAL) {
        Err(errno) if is_missing(errno) => make(flags)?,
        answer => answer?,
    };
    // SAFETY: `memfd_create` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Maps `len` bytes at an address that the kernel chooses. The mapping contains the start of `file`, or zeros
/// if no file is passed.
#[inline]
pub(crate) fn mmap(
    len: usize,
    protection: usize,
    flags: usize,
    file: Option<BorrowedFd<'_>>,
) -> Result<NonNull<u8>> {
    let fd = file.map_or(usize::MAX, arg);
    // SAFETY: without `MAP_FIXED` the kernel chooses addresses where nothing is mapped, so no memory in use
    // changes.
    let address = decode(unsafe { syscall6(nr::MMAP, 0, len, protection, flags, fd, 0) });
    // The kernel returns EAGAIN if the process locks all its memory and has reached its limit of locked
    // memory. Callers would misread EAGAIN as the error of a call that would have to wait.
    let address =
        address.map_err(|errno| if errno == Errno::EAGAIN { Errno::ENOMEM } else { errno })?;
    tell!(mapped(address, len));
    NonNull::new(ptr::with_exposed_provenance_mut(address)).ok_or(Errno::ENOMEM)
}

/// Removes all access to a range: touching the range then raises `SIGSEGV`.
///
/// # Safety
///
/// The caller has mapped the range, and nothing borrows the range now or later.
#[cfg(feature = "process")]
#[inline]
pub(crate) unsafe fn mprotect_none(base: NonNull<u8>, len: usize) -> Result<()> {
    let address = base.as_ptr().expose_provenance();
    // SAFETY: the caller upholds the same contract.
    decode(unsafe { syscall3(nr::MPROTECT, address, len, abi::PROT_NONE) }).map(drop)
}

/// # Safety
///
/// The caller has mapped the range, and no code uses it again.
#[inline]
pub(crate) unsafe fn munmap(base: NonNull<u8>, len: usize) -> Result<()> {
    tell!(unmaps());
    // SAFETY: the caller upholds the same contract.
    decode(unsafe { syscall2(nr::MUNMAP, base.as_ptr().expose_provenance(), len) }).map(drop)
}

/// Calls `vmsplice` with a buffer that is lent exclusively. The borrow is exclusive because the kernel writes
/// to the buffer if `to` is a read end.
///
/// # Safety
///
/// The requirements of [`splice::vmsplice`](crate::splice::vmsplice) apply.
#[inline]
pub(crate) unsafe fn vmsplice_mut(to: BorrowedFd<'_>, buf: &mut [u8], flags: u32) -> Result<usize> {
    let bufs = [IoSliceMut::new(buf)];
    tell!(reads_each(&bufs));
    let list = lent(&bufs);
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`. The kernel reads the list and takes references
    // to the pages of the buffer. The caller is responsible for these pages.
    decode(unsafe { syscall4(nr::VMSPLICE, sink(to), list, 1, flags as usize) })
}
