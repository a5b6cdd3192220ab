//! Accesses the memory and the pipes of a shared pair from outside. [`Outside::of`] finds the memory in the
//! list of this process's mappings. Other functions store values that a peer could produce by violating the
//! protocol.
#![allow(unsafe_code, reason = "words at addresses, and descriptors by number")]

use rawpipe::fd::BorrowedFd;
use std::collections::BTreeSet;
use std::fs;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const WORD: usize = size_of::<usize>();
/// The offset of the reader's position in the control words. `HEAD` is the offset of the writer's position.
pub(crate) const TAIL: usize = 0;
pub(crate) const HEAD: usize = 256;
/// The offsets of the control words of the two halves. Each half has three words: its position, the position
/// that it waits for, and its state.
pub(crate) const CONTROL: [usize; 6] = [TAIL, 128, 128 + WORD, HEAD, HEAD + 128, HEAD + 128 + WORD];

/// The memory and the pipes of one pair. Both are valid until the pair is dropped.
#[derive(Debug)]
pub(crate) struct Outside {
    control: usize,
    ring: usize,
    len: usize,
    fds: BTreeSet<i32>,
}

impl Outside {
    /// Calls `make`, which creates a pair with a ring of `len` bytes. Finds the mappings and descriptors that
    /// the call has added to this process.
    pub(crate) fn of<Halves>(len: usize, make: impl FnOnce() -> Halves) -> (Self, Halves) {
        let before = (mappings(), open_fds());
        let halves = make();
        let after = (mappings(), open_fds());
        let new: Vec<_> = after.0.difference(&before.0).collect();
        let [(_, _, control), (_, _, ring)] = new[..] else { panic!("not two mappings: {new:?}") };
        let fds = after.1.difference(&before.1).copied().collect();
        (Self { control: *control, ring: *ring, len, fds }, halves)
    }

    /// Stores a value in the control word at this offset.
    pub(crate) fn store(&self, at: usize, value: usize) {
        assert!(at < 4096);
        store(self.control + at, value);
    }

    /// Stores a word at this offset of the ring.
    pub(crate) fn store_in_ring(&self, at: usize, value: usize) {
        assert!(at < self.len);
        store(self.ring + at, value);
    }

    /// Stores the length of the record whose bytes begin at this offset of the ring. The word that holds the
    /// length begins 8 bytes before the record.
    pub(crate) fn store_length(&self, place: usize, value: usize) {
        self.store_in_ring(place.wrapping_sub(8) % self.len, value);
    }

    /// Returns whether these bytes lie in the ring.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        let range = bytes.as_ptr_range();
        self.ring <= range.start.addr() && range.end.addr() <= self.ring + self.len
    }

    /// Writes `bytes` bytes, but at most 64, to both wake-up pipes. Two of the four descriptors are
    /// read ends, so writes to these two fail.
    pub(crate) fn ring_bells(&self, bytes: usize) {
        for fd in &self.fds {
            // SAFETY: the descriptor is open until the pair is dropped.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            let _ = rawpipe::io::write_nosignal(fd, &[0; 64][..bytes.min(64)]);
        }
    }
}

fn store(address: usize, value: usize) {
    assert_eq!(address % WORD, 0);
    let place = ptr::with_exposed_provenance::<AtomicUsize>(address);
    // SAFETY: the address is aligned, and its memory stays mapped until the pair is dropped. Every bit
    // pattern is a valid value.
    unsafe { &*place }.store(value, Ordering::Relaxed);
}

/// Returns the length, the inode number and the address of each shared anonymous mapping. Of a pair's two
/// mappings, that of the control words comes first, because it is shorter than the mapping of the ring. Inode
/// numbers do not show the order of creation, because each processor has a separate range of numbers.
fn mappings() -> BTreeSet<(usize, u64, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    let shared = maps.lines().filter(|line| line.contains(" rw-s ") && line.contains("/dev/zero"));
    let number = |line: &str| {
        let inode = line.split_whitespace().nth(4)?.parse().ok()?;
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16));
        let (start, end) = (start.ok()?, end.ok()?);
        Some((end - start, inode, start))
    };
    shared.filter_map(number).collect()
}

fn open_fds() -> BTreeSet<i32> {
    let listed = fs::read_dir("/proc/self/fd").expect("/proc");
    let numbers: Vec<i32> =
        listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The list contains the directory's own descriptor. That descriptor is now closed.
    numbers.into_iter().filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}
