//! Memory that the crate maps for itself. The memory is page-aligned and never comes from an allocator.
//! [`Map::anonymous`] requests huge pages for lengths of 64 KiB or more.
//!
//! # Safety
//!
//! This file is trusted to manage mapped memory. A [`Map`] is the only owner of its range of addresses. The
//! range overlaps no other mapping, can be reached only by borrowing the `Map`, and is unmapped once, on
//! drop. `&self` therefore lends bytes as `&[u8]`, and `&mut self` lends them as `&mut [u8]`.
//!
//! *The kernel* may still hold references to the pages after the unmapping, for instance if the pages were
//! spliced into a pipe. The kernel counts references per page. Unmapping drops only the mapping's own
//! reference. A page keeps its contents until the last reference is dropped, and is freed for other uses only
//! then. The same applies to [`discard`](Map::discard), which unmaps the pages and keeps the addresses.
//!
//! *A forked child* has a copy of the mapping at the same addresses, and a copy of the `Map`. Dropping the
//! copy of the `Map` unmaps the child's own mapping. No other mapping can be at these addresses, because the
//! mapping has existed in the child's address space since the fork. The child sees a copy of the bytes, or
//! zeros after [`wipe_on_fork`](Map::wipe_on_fork). If a file is mapped, the child and its parent share the
//! bytes. Code that maps a file must detect whether it runs in a forked child and, if so, must not use those
//! bytes.
#![allow(unsafe_code, reason = "slices of mapped memory")]

use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::{abi, call, page};
use crate::{Errno, Result};
use core::{ffi::CStr, ptr::NonNull, slice};

/// The size of a huge page on most machines, in bytes. On machines with larger huge pages, only the speed
/// benefit is lost.
pub(crate) const HUGE: usize = 2 << 20;

/// The smallest requested length, in bytes, for which a mapping has huge pages.
const LARGE: usize = 64 << 10;

/// A mapping that this process owns. Except in read-only [`Cells`], the mapping is writable. Without a file,
/// it initially contains zeros.
#[derive(Debug)]
pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a `Map` owns its memory as a `Box<[u8]>` does, and any thread may unmap that memory.
unsafe impl Send for Map {}
// SAFETY: `&Map` gives access only to `&[u8]`.
unsafe impl Sync for Map {}

impl Map {
    /// Maps at least `len` bytes. The length is rounded up to whole pages or, from 64 KiB on, to whole huge
    /// pages.
    #[inline]
    pub(crate) fn anonymous(len: usize) -> Result<Self> {
        if len < LARGE {
            return Self::new(round_up(len.max(1), page::size())?);
        }
        // The kernel aligns the address to a page, but huge pages need an address that is aligned to their
        // size.
        let len = round_up(len, HUGE)?;
        let mut map = Self::new(len.checked_add(HUGE).ok_or(Errno::ENOMEM)?)?;
        let address = map.base.as_ptr().addr();
        map.cut_to(address.next_multiple_of(HUGE) - address, len)?;
        // This is only a hint. The call fails if the kernel has no huge pages, and the mapping then has small
        // pages.
        let _ = map.advise(abi::MADV_HUGEPAGE);
        Ok(map)
    }

    /// Maps one page. A forked child has its own copy of the page.
    #[inline]
    pub(crate) fn page() -> Result<Self> {
        Self::new(page::size())
    }

    /// Maps the file's first `len` bytes. The file must have at least `len` bytes.
    #[inline]
    pub(crate) fn of_file(file: BorrowedFd<'_>, len: usize) -> Result<Self> {
        Ok(Self { base: call::mmap(len, abi::PROT_RW, abi::MAP_SHARED, Some(file))?, len })
    }

    /// Maps `len` bytes, on pages of the usual size.
    pub(crate) fn new(len: usize) -> Result<Self> {
        match call::mmap(len, abi::PROT_RW, abi::MAP_OWN, None) {
            // The kernel returns EAGAIN if the process has reached its limit of locked memory. Callers would
            // take EAGAIN to mean that the call would block.
            Err(Errno::EAGAIN) => Err(Errno::ENOMEM),
            base => Ok(Self { base: base?, len }),
        }
    }

    /// Unmaps the whole mapping except the `len` bytes at `start`.
    fn cut_to(&mut self, start: usize, len: usize) -> Result<()> {
        let end = start + len;
        assert!(end <= self.len, "beyond the end of a mapping");
        if end < self.len {
            // SAFETY: `end` is within the mapping (just compared).
            let tail = unsafe { self.base.add(end) };
            // SAFETY: the bytes from `tail` to the end belong to this mapping, and nothing borrows them,
            // because `self` is borrowed exclusively.
            unsafe { call::munmap(tail, self.len - end) }?;
            self.len = end;
        }
        if start > 0 {
            // SAFETY: the bytes before `start` belong to this mapping, and nothing borrows them, as above.
            unsafe { call::munmap(self.base, start) }?;
            // SAFETY: `start` is within the mapping.
            self.base = unsafe { self.base.add(start) };
            self.len = len;
        }
        Ok(())
    }

    fn advise(&mut self, advice: usize) -> Result<()> {
        // SAFETY: the range belongs to this mapping, and nothing borrows it, because `self` is borrowed
        // exclusively. If the advice was to drop the pages, later borrows see zeros.
        unsafe { call::madvise(self.base, self.len, advice) }
    }

    /// Makes the bytes zero in every child forked from now on. Fails with `EINVAL` for files, and before
    /// Linux 4.14.
    ///
    /// Fails with `EOPNOTSUPP` if the kernel reports success even for undefined advice. A user-mode emulator
    /// may report success for any advice without applying it.
    #[inline]
    pub(crate) fn wipe_on_fork(&mut self) -> Result<()> {
        if self.advise(abi::NO_ADVICE).is_ok() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.advise(abi::MADV_WIPEONFORK)
    }

    /// Drops the pages, so that the range reads as zeros on new pages. The old pages stay unchanged while
    /// other references to them exist. Do not use this function for files, because new pages would hold the
    /// file's bytes again.
    #[inline]
    pub(crate) fn discard(&mut self) -> Result<()> {
        self.advise(abi::MADV_DONTNEED)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is mapped as readable while `self` lives. It is always initialised, at first
        // with zeros or with the bytes of the file. A write needs `&mut self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    pub(crate) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the memory is writable and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // The call can fail if the kernel must split a larger mapping in two. The range then stays mapped,
        // which is harmless.
        // SAFETY: the range belongs to this mapping, and nothing borrows it, because `self` is being dropped.
        let _ = unsafe { call::munmap(self.base, self.len) };
    }
}

/// A mapping whose bytes may change at any time. Another process, or another owner of the same mapping in
/// this process, may write to them. This type returns addresses of its bytes, never references.
///
/// If the mapping is shared, a forked child has the same pages. Otherwise the child has a copy, or zeros if
/// [`marks`](Self::marks) has mapped the page.
#[cfg(feature = "transfer")]
#[derive(Debug)]
pub(crate) struct Cells(Map);

#[cfg(feature = "transfer")]
impl Cells {
    /// Maps the first `len` bytes of the file, which must have at least that length. Without a file, maps
    /// zeros that this process shares with its forked children. With `populate` the kernel provides the pages
    /// immediately, if enough memory is available.
    pub(crate) fn new(
        len: usize,
        file: Option<BorrowedFd<'_>>,
        writable: bool,
        populate: bool,
    ) -> Result<Self> {
        let protection = if writable { abi::PROT_RW } else { abi::PROT_READ };
        let flags = abi::MAP_SHARED | if file.is_none() { abi::MAP_ANONYMOUS } else { 0 };
        let flags = flags | if populate { abi::MAP_POPULATE } else { 0 };
        Ok(Self(Map { base: call::mmap(len, protection, flags, file)?, len }))
    }

    /// Maps one private page of zeros.
    pub(crate) fn page() -> Result<Self> {
        Map::page().map(Self)
    }

    /// Maps one private page of zeros. In a forked child the page holds zeros again. Fails with `EOPNOTSUPP`
    /// if the kernel lacks `MADV_WIPEONFORK`, a filter rejects the call, or an emulator accepts any advice.
    pub(crate) fn marks() -> Result<Self> {
        let mut page = Map::page()?;
        let refused = |errno| if call::is_missing(errno) { Errno::EOPNOTSUPP } else { errno };
        page.wipe_on_fork().map_err(refused)?;
        Ok(Self(page))
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len
    }

    /// Returns the address of the `len` bytes at `start`. Panics if these bytes are not within the mapping.
    #[inline]
    pub(crate) const fn at(&self, start: usize, len: usize) -> NonNull<u8> {
        assert!(start <= self.0.len && len <= self.0.len - start, "beyond the end of a mapping");
        // SAFETY: `start` is within the mapping (just compared).
        unsafe { self.0.base.add(start) }
    }
}

/// Creates a file of `len` zeros in memory. The size of the file is sealed. No process can therefore shorten
/// the file and thereby make an access to a mapping fail. A process that may write to the file can punch
/// holes, which read as zeros.
pub(crate) fn file(name: &CStr, len: usize) -> Result<OwnedFd> {
    let file = call::memfd_create(name)?;
    // For a file larger than this limit, the kernel would send `SIGXFSZ`.
    if call::prlimit64_get_soft(abi::RLIMIT_FSIZE).is_ok_and(|limit| limit < len as u64) {
        return Err(Errno::EFBIG);
    }
    call::ftruncate(file.as_fd(), len)?;
    call::fcntl_add_seals(file.as_fd(), abi::F_SEAL_SHRINK | abi::F_SEAL_GROW)?;
    Ok(file)
}

/// Rounds up to a multiple of `unit`. Fails with `ENOMEM` if the result is longer than any mapping can be.
pub(crate) fn round_up(len: usize, unit: usize) -> Result<usize> {
    let rounded = len.checked_next_multiple_of(unit).ok_or(Errno::ENOMEM)?;
    if rounded > isize::MAX as usize - HUGE { Err(Errno::ENOMEM) } else { Ok(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_is_aligned_zeroed_and_as_long_as_asked() {
        for (asked, got) in
            [(0, page::size()), (1, page::size()), (LARGE, HUGE), (HUGE + 1, 2 * HUGE)]
        {
            let mut map = Map::anonymous(asked).unwrap();
            assert_eq!(map.len(), got);
            let unit = if got < HUGE { page::size() } else { HUGE };
            assert_eq!(map.base.as_ptr().addr() % unit, 0, "{asked}");
            assert!(map.bytes().iter().all(|&byte| byte == 0));
            map.bytes_mut().fill(7);
            map.discard().unwrap();
            assert!(map.bytes().iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn map_of_a_sealed_file_is_the_file() {
        let len = 3 * page::size();
        let file = file(c"test", len).unwrap();
        assert_eq!(call::ftruncate(file.as_fd(), 0), Err(Errno::EPERM));
        let mut map = Map::of_file(file.as_fd(), len).unwrap();
        map.bytes_mut()[len - 1] = 9;
        let (reader, writer) = crate::pipe().unwrap();
        let mut offset = u64::try_from(len - 2).unwrap();
        let (from, to) = (file.as_fd(), writer.as_fd());
        assert_eq!(call::splice(from, Some(&mut offset), to, None, 10, 0), Ok(2));
        let mut got = [1; 3];
        assert_eq!((reader.read(&mut got), got), (Ok(2), [0, 9, 1]));
    }

    #[test]
    fn map_too_long_enomem() {
        for len in [usize::MAX, isize::MAX as usize, isize::MAX as usize - HUGE] {
            assert_eq!(Map::anonymous(len).unwrap_err(), Errno::ENOMEM);
        }
    }
}
