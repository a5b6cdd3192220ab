//! The memory that a child starts on: a stack with a guard page below it, and above it the list of
//! its descriptors.
//!
//! # Safety
//!
//! This file is trusted with one mapping. A [`Stack`] is the only owner of its addresses. Its upper
//! part, from [`top`](Stack::top) on, is a list of integers that it lends as a slice; the part below is
//! never lent, so that it may be a child's stack while a `Stack` is borrowed; the lowest page is
//! nobody's: touching it ends the process.
#![allow(unsafe_code, reason = "mapped memory as a stack and as a slice")]

use super::child::Move;
use crate::call::memory as call;
use crate::{Errno, Result, page};
use core::ptr::NonNull;
use core::slice;

/// Enough for a path and the frames of the child's code in a build without optimisation. Only pages
/// that are touched cost anything.
const SIZE: usize = 64 << 10;

pub(super) struct Stack {
    base: NonNull<u8>,
    len: usize,
    moves: usize,
}

impl Stack {
    /// A stack, and room for this many moves, all zeros.
    pub(super) fn new(moves: usize) -> Result<Self> {
        let page = page::size();
        let room = moves.checked_mul(size_of::<Move>()).ok_or(Errno::ENOMEM)?;
        let len = room.checked_add(page + SIZE + ALIGN).ok_or(Errno::ENOMEM)?;
        let len = len.checked_next_multiple_of(page).ok_or(Errno::ENOMEM)?;
        let stack = Self { base: call::mmap(len, None)?, len, moves };
        // SAFETY: the mapping's lowest page, which is never lent.
        unsafe { call::mprotect_none(stack.base, page) }?;
        Ok(stack)
    }

    /// Where the stack begins, growing down, and the moves begin, growing up.
    pub(super) fn top(&self) -> *mut u8 {
        let room = (self.moves * size_of::<Move>()).next_multiple_of(ALIGN);
        // SAFETY: `new` has added the room to the length.
        unsafe { self.base.add(self.len - room) }.as_ptr()
    }

    pub(super) fn moves(&mut self) -> &mut [Move] {
        #[expect(clippy::cast_ptr_alignment, reason = "`top` is aligned for anything")]
        let first = self.top().cast::<Move>();
        // SAFETY: so many are mapped from there on (`new`), `top` is aligned, they were zeros, which
        // are integers, and nobody else has borrowed them: `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(first, self.moves) }
    }
}

/// What every architecture wants of a stack.
const ALIGN: usize = 16;

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's own, nobody can borrow it any more, and the child has
        // ended or has left it for a program of its own.
        let _ = unsafe { call::munmap(self.base, self.len) };
    }
}
