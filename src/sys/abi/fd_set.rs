//! Defines descriptor sets for `select`. The descriptor numbers are not limited.
//!
//! # Safety
//!
//! This file is trusted to lend only descriptors that a caller has lent to the set. A set has one bit for
//! each descriptor. Only `insert_borrowed_fd` sets bits, and `select` only clears them.
#![allow(unsafe_code, reason = "a descriptor is lent again by its number")]

use crate::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

const BITS: usize = usize::BITS as usize;

/// A set of descriptors. `FD_SETSIZE` does not limit the descriptor numbers.
#[derive(Clone, Default)]
pub struct FdSet<'fd> {
    /// The kernel's `fd_set`: descriptor `n` is bit `n % BITS` of word `n / BITS`.
    pub(crate) words: Vec<usize>,
    lent: PhantomData<BorrowedFd<'fd>>,
}

/// Returns the index of the word that holds a descriptor's bit, and the mask of that bit.
#[expect(clippy::cast_sign_loss, reason = "descriptors are not negative")]
fn place(fd: BorrowedFd<'_>) -> (usize, usize) {
    let number = fd.as_raw_fd() as usize;
    (number / BITS, 1 << (number % BITS))
}

impl<'fd> FdSet<'fd> {
    /// Creates an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new(), lent: PhantomData }
    }

    /// Adds a descriptor.
    pub fn insert(&mut self, fd: &'fd impl AsFd) {
        self.insert_borrowed_fd(fd.as_fd());
    }

    /// Adds a descriptor that is already borrowed.
    pub fn insert_borrowed_fd(&mut self, fd: BorrowedFd<'fd>) {
        let (word, bit) = place(fd);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    /// Removes a descriptor.
    pub fn remove(&mut self, fd: impl AsFd) {
        let (word, bit) = place(fd.as_fd());
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Returns whether the descriptor is in the set.
    #[must_use]
    pub fn contains(&self, fd: impl AsFd) -> bool {
        let (word, bit) = place(fd.as_fd());
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Removes all descriptors.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Returns the number of descriptors in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Returns the descriptors in the set, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = BorrowedFd<'fd>> {
        let bits = |word: usize| (0..BITS).filter(move |bit| word & (1 << bit) != 0);
        let words = self.words.iter().enumerate();
        words.flat_map(move |(index, word)| bits(*word).map(move |bit| lend(index * BITS + bit)))
    }
}

/// Lends the descriptor with this number. The descriptor's bit is set.
#[expect(clippy::cast_possible_truncation, reason = "descriptors are C ints")]
#[expect(clippy::cast_possible_wrap, reason = "descriptors are C ints")]
fn lend<'fd>(number: usize) -> BorrowedFd<'fd> {
    // SAFETY: the bit was set for a descriptor that was borrowed for `'fd`.
    unsafe { BorrowedFd::borrow_raw(number as RawFd) }
}

impl fmt::Debug for FdSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|fd| fd.as_raw_fd())).finish()
    }
}
