//! Which part of a writer's memory may be lent next: the rules of [`Reuse`], in numbers only.

use super::Reuse;
use crate::{Errno, Result};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A chunk that the pipe has, or had.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    start: usize,
    /// How many bytes of the stream there were up to the end of this chunk.
    end_in_stream: u64,
}

/// The chunks of a memory.
#[derive(Debug)]
pub(super) struct Pool {
    reuse: Reuse,
    page: usize,
    /// Bytes from one chunk to the next: a chunk, rounded up to pages.
    stride: usize,
    len: usize,
    /// From here on nothing was ever lent.
    next: usize,
    /// In the order in which they were sent. Empty with `Reuse::Never`.
    in_flight: VecDeque<InFlight>,
    /// One was sent since the pipe was asked what has left it.
    ask: bool,
    /// The last one to become free is the first to be lent: the caches know it.
    free: Vec<usize>,
}

impl Pool {
    /// `stride` is a multiple of `page` and not longer than `len`.
    pub(super) fn new(reuse: Reuse, page: usize, stride: usize, len: usize) -> Result<Self> {
        let mut pool = Self {
            reuse,
            page,
            stride,
            len,
            next: 0,
            in_flight: VecDeque::new(),
            ask: false,
            free: Vec::new(),
        };
        if reuse == Reuse::AfterRead {
            pool.in_flight.try_reserve_exact(len / stride).map_err(|_| Errno::ENOMEM)?;
            pool.free.try_reserve_exact(len / stride).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(pool)
    }

    /// Where a chunk may be written, or `None` if the memory must be renewed. `read` tells how many
    /// bytes of the stream have certainly left the pipe.
    pub(super) fn take(&mut self, read: impl FnOnce() -> u64) -> Option<usize> {
        // Small sends leave their chunk free: they need not pay for asking.
        if !self.in_flight.is_empty() && (self.ask || self.free.is_empty()) {
            let read = read();
            self.ask = false;
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

    /// The chunk is no longer lent. If the pipe got some of its first `used` bytes by reference, these
    /// were before `end_in_stream`.
    pub(super) fn put(&mut self, start: usize, used: usize, end_in_stream: Option<u64>) {
        match (self.reuse, end_in_stream) {
            (Reuse::Never, None) => {}
            (Reuse::Never, Some(_)) => self.next = start + used.next_multiple_of(self.page),
            (Reuse::AfterRead, None) => self.free.push(start),
            (Reuse::AfterRead, Some(end_in_stream)) => {
                self.in_flight.push_back(InFlight { start, end_in_stream });
                self.ask = true;
            }
        }
    }

    /// The memory has been renewed.
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
        let read = || -> u64 { panic!("nobody needs to know") };
        assert_eq!(pool.take(read), Some(0));
        pool.put(0, 0, None);
        assert_eq!(pool.take(read), Some(0), "nothing of it was sent");
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
