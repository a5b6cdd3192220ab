//! Manages the memory on which a child runs until its program begins. This memory consists of a guard, a
//! stack above the guard, and the list of the child's descriptors above the stack.
//!
//! # Safety
//!
//! This file is trusted to manage one mapping for each [`Stack`]. A `Stack` is the only owner of the
//! addresses of its mapping. The upper part of the mapping, after the [`stack`](Stack::stack), is a list of
//! integers that a `Stack` lends as a slice. The part below that list is never lent, so this part can serve
//! as a child's stack while a `Stack` is borrowed. The lowest pages are the guard: touching them ends the
//! process.
//!
//! Mapping and touching a new stack accounts for one seventh of the cost of starting a small program. For
//! that reason, one stack is kept in [`SPARE`] for the next spawn. The spawn that takes a stack from
//! [`SPARE`] is the only owner of that stack. A forked process has its own copy of the spare stack.
#![allow(unsafe_code, reason = "mapped memory as a stack and as a slice")]

use super::child::Move;
use crate::sys::{abi, call, page};
use crate::{Errno, Result};
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The size in bytes of an ordinary stack, including its moves. This size has room for a path, the moves of
/// an ordinary spawn, and the frames of the child's code in a build without optimisation. Pages that are
/// never touched use no memory.
const SIZE: usize = 64 << 10;

/// Returns the size of the inaccessible memory below the stack, in bytes. The size is 64 KiB, or one page if
/// pages are larger. The size is a multiple of the page size even if the page size cannot be determined.
fn guard() -> usize {
    page::size().max(64 << 10)
}

/// The number of moves for which an ordinary stack has room.
const FEW: usize = 512;

/// A stack alignment that every architecture accepts.
const ALIGN: usize = 16;

/// An ordinary stack that is not in use, or null.
static SPARE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

pub(super) struct Stack {
    base: NonNull<u8>,
    len: usize,
    moves: usize,
}

impl Stack {
    /// Creates a stack with room for this number of moves, or reuses the spare stack if the number is at most
    /// [`FEW`]. The contents of the moves are unspecified.
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
        // Until the guard is set, `usize::MAX` makes `drop` unmap this stack instead of keeping it.
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

    /// Returns the stack's lowest address and its size, without the guard. The moves begin at the end of the
    /// stack.
    ///
    /// An ordinary stack always has the same size, so that no move is stored where an earlier child had a
    /// frame. A sanitizer would report that store, because the sanitizer keeps the marks of a frame whose
    /// function never returned.
    pub(super) fn stack(&self) -> (*mut u8, usize) {
        let room = (self.moves.max(FEW) * size_of::<Move>()).next_multiple_of(ALIGN);
        // SAFETY: the guard and at least `SIZE` bytes are mapped.
        let lowest = unsafe { self.base.add(guard()) };
        (lowest.as_ptr(), self.len - guard() - room)
    }

    pub(super) fn moves(&mut self) -> &mut [Move] {
        let (lowest, size) = self.stack();
        // SAFETY: the end of the stack is within the mapping, or at the end of the mapping.
        let end = unsafe { lowest.add(size) };
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "the end of the stack is aligned for anything"
        )]
        let first = end.cast::<Move>();
        // SAFETY: `new` mapped this many moves at this aligned address, and any bytes are valid integers. No
        // other borrow exists, because `self` is borrowed exclusively.
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
        // SAFETY: this value owns the range, and no borrow exists. The child has ended or begun its program,
        // so it no longer uses the memory.
        let _ = unsafe { call::munmap(self.base, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If the end of the stack moved, a sanitizer would report the parent's writes to memory that the
    /// sanitizer has marked as a child's frames.
    #[test]
    fn stack_ends_at_the_same_place_for_few_moves_and_for_none() {
        let size = |moves| Stack::new(moves).unwrap().stack().1;
        assert_eq!([size(1), size(FEW)], [size(0); 2]);
        assert!(size(FEW + 1) >= SIZE);
    }
}
