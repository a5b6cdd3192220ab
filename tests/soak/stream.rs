//! Tracks all bytes in transit. Each byte belongs to a stream and has a position. The test therefore detects
//! lost, duplicated, exchanged and changed bytes on every path.

use std::collections::VecDeque;

/// A generator of random numbers that uses splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    /// Returns `true` once in `times` calls on average.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns a length from 1 to `most`. All orders of magnitude are about equally likely.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        let bits = self.below(most.ilog2() as usize + 1);
        (self.below(2 << bits) + 1).min(most)
    }
}

const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Fills `buf` with the bytes of a stream, starting at position `at`.
pub(crate) fn fill(stream: u64, at: u64, buf: &mut [u8]) {
    let (mut at, mut rest) = (at, buf);
    while !rest.is_empty() {
        let word = mixed(mixed(stream).wrapping_add(at / 8)).to_le_bytes();
        let skip = usize::try_from(at % 8).expect("below 8");
        let count = (8 - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        now.copy_from_slice(&word[skip..skip + count]);
        (at, rest) = (at + count as u64, later);
    }
}

/// Consecutive bytes of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) stream: u64,
    pub(crate) at: u64,
    pub(crate) len: usize,
}

/// The expected contents of a pipe, socket, file or program, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    runs: VecDeque<Run>,
    len: usize,
}

impl Held {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, run: Run) {
        if run.len > 0 {
            self.len += run.len;
            self.runs.push_back(run);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        other.runs.into_iter().for_each(|run| self.push(run));
    }

    /// Removes and returns the first `count` bytes, or all bytes if the queue holds fewer than `count`.
    pub(crate) fn take(&mut self, count: usize) -> Self {
        let mut taken = Self::default();
        while taken.len < count {
            let Some(run) = self.runs.pop_front() else { break };
            let now = run.len.min(count - taken.len);
            self.len -= now;
            taken.push(Run { len: now, ..run });
            if now < run.len {
                let rest = Run { at: run.at + now as u64, len: run.len - now, ..run };
                self.runs.push_front(rest);
            }
        }
        taken
    }

    /// Returns a copy of the first `count` bytes.
    pub(crate) fn first(&self, count: usize) -> Self {
        self.clone().take(count)
    }

    /// Removes as many bytes as `found` contains, and returns whether they equal `found`. If fewer bytes are
    /// expected, removes nothing and returns false.
    pub(crate) fn matches(&mut self, found: &[u8]) -> bool {
        if found.len() > self.len {
            return false;
        }
        let mut rest = found;
        let mut piece = [0; 4096];
        for run in self.take(found.len()).runs {
            let (now, later) = rest.split_at(run.len);
            let mut at = run.at;
            for part in now.chunks(piece.len()) {
                fill(run.stream, at, &mut piece[..part.len()]);
                if piece[..part.len()] != *part {
                    return false;
                }
                at += part.len() as u64;
            }
            rest = later;
        }
        true
    }
}
