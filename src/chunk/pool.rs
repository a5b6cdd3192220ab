//! Chooses the part of a writer's memory to lend next. This module implements the rules of [`Reuse`] as pure
//! arithmetic.

use super::Reuse;
use crate::{Errno, Result};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A chunk whose pages were handed to the pipe by reference.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    start: usize,
    /// The length of the stream in bytes, up to and including the last byte of this chunk that was handed
    /// over by reference.
    end_in_stream: u64,
}

/// The chunks of a writer's memory.
#[derive(Debug)]
pub(super) struct Pool {
    reuse: Reuse,
    page: usize,
    /// The distance in bytes between the starts of two chunks: the size of a chunk, rounded up to whole
    /// pages.
    stride: usize,
    len: usize,
    /// Since the last reset, no byte at this offset or after it has been handed over by reference.
    next: usize,
    /// The chunks that were handed over by reference and may still be in the pipe, in the order of their last
    /// sends. The list is empty with `Reuse::Never`.
    in_flight: VecDeque<InFlight>,
    /// Set if a chunk was added to `in_flight` since the unread bytes were last counted.
    recount: bool,
    /// The offsets of the free chunks. The pool lends the most recently freed chunk first, because it is
    /// probably still in the processor's caches.
    free: Vec<usize>,
}

impl Pool {
    /// Creates a pool. `stride` is a multiple of `page` and at most `len`.
    pub(super) fn new(reuse: Reuse, page: usize, stride: usize, len: usize) -> Result<Self> {
        let mut pool = Self {
            reuse,
            page,
            stride,
            len,
            next: 0,
            in_flight: VecDeque::new(),
            recount: false,
            free: Vec::new(),
        };
        if reuse == Reuse::AfterRead {
            pool.in_flight.try_reserve_exact(len / stride).map_err(|_| Errno::ENOMEM)?;
            pool.free.try_reserve_exact(len / stride).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(pool)
    }

    /// Returns the offset of a chunk that may be written, or `None` if the memory must be renewed. `read`
    /// returns the number of bytes of the stream that have certainly left the pipe.
    pub(super) fn take(&mut self, read: impl FnOnce() -> u64) -> Option<usize> {
        // A chunk that was copied by a small send is free immediately. `read` makes a system call, which is
        // not needed in that case.
        if !self.in_flight.is_empty() && (self.recount || self.free.is_empty()) {
            let read = read();
            self.recount = false;
            while let Some(chunk) = self.in_flight.front() {
                if chunk.end_in_stream > read {
                    break;
                }
                self.free.push(chunk.start);
                self.in_flight.pop_front();
            }
        }
        if let Some(start) = self.free.pop() {
            return Some(start);
        }
        let start = self.next;
        if self.len - start < self.stride {
            return None;
        }
        if self.reuse == Reuse::AfterRead {
            self.next += self.stride;
        }
        Some(start)
    }

    /// Puts a chunk that is no longer lent back into the pool. All bytes that were handed over by reference
    /// are among the first `used` bytes of the chunk. `end_in_stream` is the length of the stream up to and
    /// including the last of these bytes, or `None` if no byte was handed over by reference.
    pub(super) fn put(&mut self, start: usize, used: usize, end_in_stream: Option<u64>) {
        match (self.reuse, end_in_stream) {
            (Reuse::Never, None) => {}
            (Reuse::Never, Some(_)) => self.next = start + used.next_multiple_of(self.page),
            (Reuse::AfterRead, None) => self.free.push(start),
            (Reuse::AfterRead, Some(end_in_stream)) => {
                self.in_flight.push_back(InFlight { start, end_in_stream });
                self.recount = true;
            }
        }
    }

    /// Returns the pool to its initial state. The caller must have renewed the memory.
    pub(super) fn reset(&mut self) {
        self.next = 0;
        self.in_flight.clear();
        self.free.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    #[test]
    fn never_lends_a_page_twice() {
        let mut pool = Pool::new(Reuse::Never, PAGE, 4 * PAGE, 8 * PAGE).unwrap();
        let read = || -> u64 { panic!("the count is not needed") };
        assert_eq!(pool.take(read), Some(0));
        pool.put(0, 0, None);
        assert_eq!(pool.take(read), Some(0), "none of it was sent");
        pool.put(0, PAGE + 1, Some(4097));
        assert_eq!(pool.take(read), Some(2 * PAGE));
        pool.put(2 * PAGE, 4 * PAGE, Some(20_481));
        assert_eq!(pool.take(read), None, "two pages are left");
        pool.reset();
        assert_eq!(pool.take(read), Some(0));
    }

    #[test]
    fn after_read_lends_again_what_was_read_and_the_latest_first() {
        let mut pool = Pool::new(Reuse::AfterRead, PAGE, PAGE, 3 * PAGE).unwrap();
        for chunk in 0..3 {
            let start = pool.take(|| 0).unwrap();
            assert_eq!(start, chunk * PAGE);
            pool.put(start, 100, Some(100 * (chunk as u64 + 1)));
        }
        assert_eq!(pool.take(|| 99), None);
        assert_eq!(pool.take(|| 200), Some(PAGE));
        assert_eq!(pool.take(|| 299), Some(0));
        pool.put(0, 0, None);
        assert_eq!(pool.take(|| 299), Some(0), "it was not sent");
        pool.put(0, 0, None);
        assert_eq!(pool.take(|| panic!("one is free")), Some(0));
        assert_eq!(pool.take(|| 299), None);
        assert_eq!(pool.take(|| 300), Some(2 * PAGE));
        pool.reset();
        assert_eq!(pool.take(|| 0), Some(0));
    }
}
