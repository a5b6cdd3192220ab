//! The page size of the running kernel. This size is not known at compile time, because some architectures
//! have kernels with pages of 4, 16 or 64 KiB.

use crate::Errno;
use crate::sys::call;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Returns the page size in bytes.
///
/// This function probes with `madvise` on zero bytes. That call changes nothing, and only checks that an
/// address is the start of a page. The probe needs no C library, no auxiliary vector and no file system. The
/// result is cached.
pub(crate) fn size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            let mut size = 4096;
            while size < 1 << 20 && call::madvise_nothing(size) == Err(Errno::EINVAL) {
                size *= 2;
            }
            // If the probes of all sizes up to 512 KiB have failed, a filter rejects the call itself, because
            // no page is larger.
            let size = if size == 1 << 20 { 4096 } else { size };
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page_size_is_that_of_the_auxiliary_vector() {
        const AT_PAGESZ: usize = 6;
        let Ok(bytes) = std::fs::read("/proc/self/auxv") else { return };
        let words: std::vec::Vec<usize> = bytes
            .chunks_exact(size_of::<usize>())
            .map(|word| usize::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        let entry = words.chunks_exact(2).find(|entry| entry[0] == AT_PAGESZ);
        assert_eq!(entry.map(|entry| entry[1]), Some(super::size()));
    }
}
