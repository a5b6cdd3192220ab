//! The memory that a child starts on: a stack with a guard below it, and above it the list of
//! its descriptors.
//!
//! # Safety
//!
//! This file is trusted with one mapping. A [`Stack`] is the only owner of its addresses. Its upper
//! part, behind the [`stack`](Stack::stack), is a list of integers that it lends as a slice; the part below is
//! never lent, so that it may be a child's stack while a `Stack` is borrowed; the lowest pages are
//! nobody's: touching it ends the process.
//!
//! Mapping and touching a stack is a seventh of what it costs to start a small program. So one is kept
//! for the next spawn, in [`SPARE`]: whoever takes it out of there is its only owner, and in a forked
//! process it is a copy, as all memory is.
#![allow(unsafe_code, reason = "mapped memory as a stack and as a slice")]

use super::child::Move;
use crate::sys::{abi, call, page};
use crate::{Errno, Result};
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Enough for a path, the moves of an ordinary spawn, and the frames of the child's code in a build without
/// optimisation. Only pages that are touched cost anything.
const SIZE: usize = 64 << 10;

/// Bytes below the stack that nobody may touch: a page; more of them where pages are small, so that it
/// is whole pages also where the kernel does not say how large they are.
fn guard() -> usize {
    page::size().max(64 << 10)
}

/// For as many moves there is room in an ordinary stack.
const FEW: usize = 512;

/// What every architecture wants of a stack.
const ALIGN: usize = 16;

/// An ordinary stack that nobody uses, or null.
static SPARE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

pub(super) struct Stack {
    base: NonNull<u8>,
    len: usize,
    moves: usize,
}

impl Stack {
    /// A stack, and room for this many moves, with any numbers in them.
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
        // As long as it has no guard it is not one that is kept.
        let mut stack = Self {
            base: call::mmap(len, abi::PROT_RW, abi::MAP_OWN, None)?,
            len,
            moves: usize::MAX,
        };
        // SAFETY: the mapping's lowest pages, which are never lent.
        unsafe { call::mprotect_none(stack.base, guard()) }?;
        stack.moves = moves;
        Ok(stack)
    }

    /// The stack's lowest address and its size, without the guard. The moves begin at its end.
    ///
    /// An ordinary stack has always the same size: what was a child's frame does not become a move of
    /// the next. A frame that its function never returned from stays marked as one by a sanitizer.
    pub(super) fn stack(&self) -> (*mut u8, usize) {
        let room = (self.moves.max(FEW) * size_of::<Move>()).next_multiple_of(ALIGN);
        // SAFETY: the guard and `SIZE` bytes at least are mapped.
        let lowest = unsafe { self.base.add(guard()) };
        (lowest.as_ptr(), self.len - guard() - room)
    }

    pub(super) fn moves(&mut self) -> &mut [Move] {
        let (lowest, size) = self.stack();
        // SAFETY: the end of the stack is within the mapping, or its end.
        let end = unsafe { lowest.add(size) };
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "the end of the stack is aligned for anything"
        )]
        let first = end.cast::<Move>();
        // SAFETY: so many are mapped from there on (`new`), they are aligned, all bytes are
        // integers, and nobody else has borrowed them: `self` is borrowed exclusively.
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
        // SAFETY: the range is this mapping's own, nobody can borrow it any more, and the child has
        // ended or has left it for a program of its own.
        let _ = unsafe { call::munmap(self.base, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or a sanitizer, which has seen a child's frames there, finds the parent writing into them.
    #[test]
    fn stack_ends_at_the_same_place_for_few_moves_and_for_none() {
        let size = |moves| Stack::new(moves).unwrap().stack().1;
        assert_eq!([size(1), size(FEW)], [size(0); 2]);
        assert!(size(FEW + 1) >= SIZE);
    }
}
