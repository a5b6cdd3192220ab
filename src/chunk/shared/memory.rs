//! The memory of a pair: the ring that its processes share, and what each process keeps for itself.
//!
//! # Safety
//!
//! This file is trusted to touch words as atomics only, in places where no record is, and to unmap the
//! memory of a process when the last half in that process is dropped. See
//! [`shared`](crate::chunk::shared#why-this-is-sound).
#![allow(unsafe_code, reason = "atomics in mapped memory")]

use super::ring::{Control, Memory};
use crate::Result;
use crate::sys::map::Cells;
use crate::sys::page;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The hold of one half on the memory, in one process.
#[derive(Debug)]
pub(super) struct Pair(ManuallyDrop<Mapped>);

#[derive(Debug)]
struct Mapped {
    /// The page of [`Control`], and the ring after it.
    shared: Cells,
    /// Where the ring begins: on a page of its own.
    start: usize,
    /// Which halves this process uses. A forked child finds it wiped.
    marks: Cells,
    /// How many halves there are in this process. A forked child has a copy. Counted in a page and not in
    /// an `Arc`, since a child forked from a program with threads must not free what was allocated.
    holds: Cells,
}

impl Pair {
    /// One for each half.
    pub(super) fn new(ring: usize, populate: bool) -> Result<[Self; 2]> {
        let start = page::size();
        let pair = Self(ManuallyDrop::new(Mapped {
            marks: Cells::page(true)?,
            holds: Cells::page(false)?,
            shared: Cells::shared(start + ring, populate)?,
            start,
        }));
        word(&pair.0.holds, 0).store(2, Ordering::Relaxed);
        // SAFETY: the copy shares the mappings, which are unmapped when the count stored above is 0.
        let copy = unsafe { ptr::read(&raw const pair) };
        Ok([pair, copy])
    }

    /// Not 0 if this process uses the writer, or the reader.
    #[inline]
    pub(super) fn mark(&self, writer: bool) -> &AtomicUsize {
        word(&self.0.marks, if writer { size_of::<usize>() } else { 0 })
    }

    /// Bytes of the ring.
    #[inline]
    pub(super) fn bytes(&self, place: usize, len: usize) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.0.shared.at(self.0.start + place, len), len)
    }
}

impl Memory for Pair {
    #[inline]
    fn control(&self) -> &Control {
        let place = self.0.shared.at(0, size_of::<Control>()).cast::<Control>();
        // SAFETY: the first page is mapped for this, for as long as `self` lives, and is touched in no
        // other way. Any bytes are a `Control`, which consists of atomics, and a page is aligned for it.
        unsafe { place.as_ref() }
    }

    #[inline]
    fn header(&self, place: usize) -> &AtomicUsize {
        word(&self.0.shared, self.0.start + place)
    }
}

#[inline]
fn word(cells: &Cells, at: usize) -> &AtomicUsize {
    assert!(at % size_of::<usize>() == 0, "an atomic where none can be");
    let place = cells.at(at, size_of::<usize>()).cast::<AtomicUsize>();
    // SAFETY: mapped for as long as `cells` lives, and aligned (just looked at). Any bytes are an atomic.
    // There is no other reference to them than as such: a record that is lent ends before the next header.
    unsafe { place.as_ref() }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Release and Acquire: the other half may have been dropped by another thread.
        if word(&self.0.holds, 0).fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: the other half is dropped, so this is the last copy, and nobody uses it again.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
