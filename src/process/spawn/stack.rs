//! The memory that a child starts on: a stack with a guard below it and the list of the child's descriptors
//! above it.
//!
//! # Safety
//!
//! This file is trusted with one mapping. A [`Stack`] is the only owner of its addresses. Its upper part, after
//! the [`stack`](Stack::stack), is a list of integers that it lends as a slice. The part below is never lent, so
//! that it may be a child's stack while a `Stack` is borrowed. The lowest pages are the guard: touching them ends
//! the process.
//!
//! Mapping and touching a stack is a seventh of the cost of starting a small program. So one is kept for the next
//! spawn, in [`SPARE`]: the spawn that takes it from there is its only owner. In a forked process it is a copy, as
//! all memory is.
#![allow(unsafe_code, reason = "mapped memory as a stack and as a slice")]

use super::child::Move;
use crate::sys::{abi, call, page};
use crate::{Errno, Result};
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Enough for a path, the moves of an ordinary spawn, and the frames of the child's code in a build without
/// optimisation. Untouched pages cost nothing.
const SIZE: usize = 64 << 10;

/// Returns the size of the inaccessible memory below the stack, in bytes: a page, or several if pages are small.
/// So it is whole pages even if the kernel does not report their size.
fn guard() -> usize {
    page::size().max(64 << 10)
}

/// An ordinary stack has room for this many moves.
const FEW: usize = 512;

/// The alignment of a stack that every architecture accepts.
const ALIGN: usize = 16;

/// An ordinary stack that is not in use, or null.
static SPARE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

pub(super) struct Stack {
    base: NonNull<u8>,
    len: usize,
    moves: usize,
}

impl Stack {
    /// Creates a stack, and room for this many moves, with arbitrary numbers in them.
    pub(super) fn new(moves: usize) -> Result<Self> {
        let mut len = guard() + SIZE;
        if moves <= FEW {
            if let Some(base) = NonNull::new(SPARE.swap(ptr::null_mut(), Ordering::Acquire)) {
                return Ok(Self { base, len, moves });
            }
        } else {
            let room = moves.checked_mul(size_of::<Move>()).ok_or(Errno::ENOMEM)?;
            len = room.checked_add(len).ok_or(Errno::ENOMEM)?;
            len = len.checked_next_multiple_of(guard()).ok_or(Errno::ENOMEM)?;
        }
        // Without a guard it is not one that `drop` keeps.
        let mut stack = Self {
            base: call::mmap(len, abi::PROT_RW, abi::MAP_OWN, None)?,
            len,
            moves: usize::MAX,
        };
        // SAFETY: these are the mapping's lowest pages, which are never lent.
        unsafe { call::mprotect_none(stack.base, guard()) }?;
        stack.moves = moves;
        Ok(stack)
    }

    /// Returns the stack's lowest address and its size, without the guard. The moves begin at its end.
    ///
    /// An ordinary stack always has the same size, so that a child's frame never becomes a move of the next
    /// child: a sanitizer keeps a frame marked if its function never returned.
    pub(super) fn stack(&self) -> (*mut u8, usize) {
        let room = (self.moves.max(FEW) * size_of::<Move>()).next_multiple_of(ALIGN);
        // SAFETY: the guard and at least `SIZE` bytes are mapped.
        let lowest = unsafe { self.base.add(guard()) };
        (lowest.as_ptr(), self.len - guard() - room)
    }

    pub(super) fn moves(&mut self) -> &mut [Move] {
        let (lowest, size) = self.stack();
        // SAFETY: the end of the stack is within the mapping, or at its end.
        let end = unsafe { lowest.add(size) };
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "the end of the stack is aligned for anything"
        )]
        let first = end.cast::<Move>();
        // SAFETY: that many are mapped from there on (`new`), they are aligned, all bytes are integers, and
        // there is no other borrow: `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(first, self.moves) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let (none, ours) = (ptr::null_mut(), self.base.as_ptr());
        let place = || SPARE.compare_exchange(none, ours, Ordering::Release, Ordering::Relaxed);
        if self.moves <= FEW && place().is_ok() {
            return;
        }
        // SAFETY: the range is this mapping's own, no borrow is left, and the child has ended or has left it
        // for a program of its own.
        let _ = unsafe { call::munmap(self.base, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a sanitizer, which has seen a child's frames there, reports the parent's writes to them.
    #[test]
    fn stack_ends_at_the_same_place_for_few_moves_and_for_none() {
        let size = |moves| Stack::new(moves).unwrap().stack().1;
        assert_eq!([size(1), size(FEW)], [size(0); 2]);
        assert!(size(FEW + 1) >= SIZE);
    }
}
