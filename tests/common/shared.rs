//! The memory of a shared pair from outside: its words at addresses that this process's own list of mappings
//! has, and its pipes. What a peer could store and write that does not keep to the protocol.
#![allow(unsafe_code, reason = "words at addresses, and descriptors by number")]

use rawpipe::fd::BorrowedFd;
use std::collections::BTreeSet;
use std::fs;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const WORD: usize = size_of::<usize>();
/// Where the positions are in the first page: the reader's and the writer's.
pub(crate) const TAIL: usize = 0;
pub(crate) const HEAD: usize = 256;
/// All control words: of each half the position, for which one it waits, and its state.
pub(crate) const CONTROL: [usize; 6] = [TAIL, 128, 128 + WORD, HEAD, HEAD + 128, HEAD + 128 + WORD];

/// The memory and the pipes of one pair, for as long as that lives.
#[derive(Debug)]
pub(crate) struct Outside {
    start: usize,
    end: usize,
    ring: usize,
    fds: BTreeSet<i32>,
}

impl Outside {
    /// Makes a pair with a ring of so many bytes, and looks at what is new in this process.
    pub(crate) fn of<Halves>(ring: usize, make: impl FnOnce() -> Halves) -> (Self, Halves) {
        let before = (mappings(), open_fds());
        let halves = make();
        let after = (mappings(), open_fds());
        let mut new = after.0.difference(&before.0);
        let (Some(&(start, end)), None) = (new.next(), new.next()) else {
            panic!("not one mapping: {before:?}, {after:?}");
        };
        let fds = after.1.difference(&before.1).copied().collect();
        (Self { start, end, ring, fds }, halves)
    }

    /// Bytes of the control words and of the ring.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Where the word with the length of the record at this place of the ring is.
    pub(crate) fn header(&self, place: usize) -> usize {
        self.len() - self.ring + place.wrapping_sub(8) % self.ring
    }

    pub(crate) fn store(&self, at: usize, value: usize) {
        assert!(at % WORD == 0 && at < self.len());
        let place = ptr::with_exposed_provenance::<AtomicUsize>(self.start + at);
        // SAFETY: mapped for as long as the pair lives, aligned, and a word, whatever its bytes are.
        unsafe { &*place }.store(value, Ordering::Relaxed);
    }

    /// Whether these bytes are of the ring.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        let range = bytes.as_ptr_range();
        self.end - self.ring <= range.start.addr() && range.end.addr() <= self.end
    }

    /// Rings both bells: two of the four ends can be written to.
    pub(crate) fn ring_bells(&self, bytes: usize) {
        for fd in &self.fds {
            // SAFETY: open for as long as the pair lives.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            let _ = rawpipe::io::write_nosignal(fd, &[0; 64][..bytes.min(64)]);
        }
    }
}

/// The ranges that are shared with forked processes.
fn mappings() -> BTreeSet<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    let shared = maps.lines().filter(|line| line.contains(" rw-s ") && line.contains("/dev/zero"));
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some((address(start)?, address(end)?))
    };
    shared.filter_map(range).collect()
}

fn open_fds() -> BTreeSet<i32> {
    let listed = fs::read_dir("/proc/self/fd").expect("/proc");
    let numbers: Vec<i32> =
        listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The listing had one of its own, which is closed now.
    numbers.into_iter().filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}
