//! Memory that the crate maps for itself: page-aligned, on huge pages where it is large, never of an
//! allocator.
//!
//! # Safety
//!
//! This file is trusted with mapped memory. A [`Map`] is the only owner of its range of addresses: it
//! was mapped where nothing was, nobody else knows the address but those who borrow through it, and
//! it is unmapped once, on drop. So `&self` lends bytes as `&[u8]`, and `&mut self` as `&mut [u8]`.
//!
//! *The kernel* may hold references to the pages after that (a pipe that they were spliced into). It
//! counts them per page: unmapping takes the mapping's own reference away and no other, so that the
//! page lives on, with its contents, until the last reader is done, and is only then freed for other
//! uses. The same holds for [`discard`](Map::discard), which unmaps the pages and keeps the addresses.
//!
//! *A forked child* has a copy of the mapping at the same addresses, and a copy of the `Map`. Its drop
//! there unmaps the child's own mapping: the address space is the child's, and since the mapping has
//! been there all the time, nothing else can have come to lie at its addresses. What the child finds
//! there is a copy of the bytes, or zeros after [`wipe_on_fork`](Map::wipe_on_fork), or, if the
//! mapping is of a file, the very bytes that the parent works on: whoever maps a file must find out
//! that it has been forked and leave them alone.
#![allow(unsafe_code, reason = "slices of mapped memory")]

use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::{abi, call, page};
use crate::{Errno, Result};
use core::{ffi::CStr, ptr::NonNull, slice};

/// The huge page of most machines. Where theirs is larger, nothing is lost but the gain.
pub(crate) const HUGE: usize = 2 << 20;

/// From this length on a mapping has huge pages.
const LARGE: usize = 64 << 10;

/// A mapping of this process's own: readable, writable, and zeros at first.
#[derive(Debug)]
pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its memory as a `Box<[u8]>` does, and any thread may unmap it.
unsafe impl Send for Map {}
// SAFETY: through `&Map` there is only `&[u8]`.
unsafe impl Sync for Map {}

impl Map {
    /// At least `len` bytes, rounded up to pages; large ones to huge pages.
    #[inline]
    pub(crate) fn anonymous(len: usize) -> Result<Self> {
        if len < LARGE {
            return Self::new(round_up(len.max(1), page::size())?);
        }
        // The kernel chooses an address for whole pages; huge ones need one that is aligned to them.
        let len = round_up(len, HUGE)?;
        let mut map = Self::new(len.checked_add(HUGE).ok_or(Errno::ENOMEM)?)?;
        let address = map.base.as_ptr().addr();
        map.cut_to(address.next_multiple_of(HUGE) - address, len)?;
        // A hint: it fails where the kernel has no huge pages, and then small ones it is.
        let _ = map.advise(abi::MADV_HUGEPAGE);
        Ok(map)
    }

    /// A page for this process and none that it forks: they find zeros instead.
    #[inline]
    pub(crate) fn page() -> Result<Self> {
        Self::new(page::size())
    }

    /// The file's first `len` bytes, which it must have.
    #[inline]
    pub(crate) fn of_file(file: BorrowedFd<'_>, len: usize) -> Result<Self> {
        Ok(Self { base: call::mmap(len, abi::PROT_RW, abi::MAP_SHARED, Some(file))?, len })
    }

    fn new(len: usize) -> Result<Self> {
        Ok(Self { base: call::mmap(len, abi::PROT_RW, abi::MAP_OWN, None)?, len })
    }

    /// Unmaps all but `len` bytes from `start` on.
    fn cut_to(&mut self, start: usize, len: usize) -> Result<()> {
        let end = start + len;
        assert!(end <= self.len, "beyond the end of a mapping");
        if end < self.len {
            // SAFETY: `end` is within the mapping (just compared).
            let behind = unsafe { self.base.add(end) };
            // SAFETY: from `behind` to the end is this mapping's, and nobody has borrowed it: it is
            // borrowed exclusively here.
            unsafe { call::munmap(behind, self.len - end) }?;
            self.len = end;
        }
        if start > 0 {
            // SAFETY: the beginning is this mapping's, and nobody has borrowed it, as above.
            unsafe { call::munmap(self.base, start) }?;
            // SAFETY: `start` is within the mapping.
            self.base = unsafe { self.base.add(start) };
            self.len = len;
        }
        Ok(())
    }

    fn advise(&mut self, advice: usize) -> Result<()> {
        // SAFETY: the range is this mapping's, and nobody has borrowed it: it is borrowed exclusively
        // here. Those who borrow it later find zeros where the advice was to drop the pages.
        unsafe { call::madvise(self.base, self.len, advice) }
    }

    /// In a child forked from here on the bytes are zeros. Not for files (`EINVAL`).
    ///
    /// `EOPNOTSUPP` where whoever plays the kernel takes advice that does not exist: emulators of user
    /// programs answer all advice with success, and need not follow it.
    #[inline]
    pub(crate) fn wipe_on_fork(&mut self) -> Result<()> {
        if self.advise(abi::NO_ADVICE).is_ok() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.advise(abi::MADV_WIPEONFORK)
    }

    /// Parts with the pages: the bytes are zeros again, on new pages. Whoever has a reference to the
    /// old ones keeps them as they are. Not for files, whose pages would come back.
    #[inline]
    pub(crate) fn discard(&mut self) -> Result<()> {
        self.advise(abi::MADV_DONTNEED)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        // SAFETY: mapped readable for as long as `self` lives, always initialised (zeros at first),
        // and whoever writes needs `&mut self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    pub(crate) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // It cannot fail but for want of memory to split a larger mapping in two, and then the
        // memory stays mapped, which harms nobody.
        // SAFETY: the range is this mapping's own, and nobody can borrow it any more.
        let _ = unsafe { call::munmap(self.base, self.len) };
    }
}

/// A mapping whose bytes others may change at any time: another process, or another owner of the same
/// mapping in this one. There are no references to its bytes, only addresses of them.
///
/// In a forked child it is what [`Map`] says: the same pages if it is shared, else a copy.
#[cfg(feature = "transfer")]
#[derive(Debug)]
pub(crate) struct Cells(Map);

#[cfg(feature = "transfer")]
impl Cells {
    /// `len` bytes of the file, which must have them, or zeros that processes forked from this one share.
    /// With `populate` the pages are there at once, as far as there is memory.
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

    /// A page of zeros for this process.
    pub(crate) fn page() -> Result<Self> {
        Map::page().map(Self)
    }

    /// A page of zeros for this process and none that it forks: they find zeros again. `EOPNOTSUPP` where
    /// the kernel does not do that, or a filter rejects it.
    pub(crate) fn marks() -> Result<Self> {
        let mut page = Map::page()?;
        let refused = |errno| if call::is_missing(errno) { Errno::EOPNOTSUPP } else { errno };
        page.wipe_on_fork().map_err(refused)?;
        Ok(Self(page))
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len
    }

    /// The address of `len` bytes, which are within the mapping.
    #[inline]
    pub(crate) const fn at(&self, start: usize, len: usize) -> NonNull<u8> {
        assert!(start <= self.0.len && len <= self.0.len - start, "beyond the end of a mapping");
        // SAFETY: `start` is within the mapping (just compared).
        unsafe { self.0.base.add(start) }
    }
}

/// Creates a file of `len` zeros in memory. Its size is sealed, so that touching a mapping of it never fails
/// because the file is shorter. Whoever may write to it can punch holes, which read as zeros.
pub(crate) fn file(name: &CStr, len: usize) -> Result<OwnedFd> {
    let file = call::memfd_create(name)?;
    // Beyond this limit the kernel sends `SIGXFSZ`.
    if call::prlimit64_get_soft(abi::RLIMIT_FSIZE).is_ok_and(|limit| limit < len as u64) {
        return Err(Errno::EFBIG);
    }
    call::ftruncate(file.as_fd(), len)?;
    call::fcntl_add_seals(file.as_fd(), abi::F_SEAL_SHRINK | abi::F_SEAL_GROW)?;
    Ok(file)
}

/// `ENOMEM` for what no address space has room for.
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
