//! Measures the largest memory request of a call, and makes requests above a limit fail.
//!
//! # Safety
//!
//! This file must pass requests to the system's allocator unchanged.
#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The limit in bytes. A larger request fails while a call is watched.
pub(crate) const MOST: usize = 4 << 20;

static WATCHED: AtomicBool = AtomicBool::new(false);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Runs a call, and returns the size of its largest successful memory request.
pub(crate) fn requested_by<T>(call: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.store(0, Ordering::Relaxed);
    WATCHED.store(true, Ordering::Relaxed);
    let result = call();
    WATCHED.store(false, Ordering::Relaxed);
    (result, LARGEST.load(Ordering::Relaxed))
}

struct Watch;

#[global_allocator]
static ALLOCATOR: Watch = Watch;

/// Returns whether a request of this size may succeed.
fn granted(size: usize) -> bool {
    if !WATCHED.load(Ordering::Relaxed) {
        return true;
    }
    let granted = size <= MOST;
    if granted {
        LARGEST.fetch_max(size, Ordering::Relaxed);
    }
    granted
}

// SAFETY: each function returns memory of the system's allocator, or null if none is available.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if granted(layout.size()) {
            // SAFETY: the caller upholds the contract.
            unsafe { System.alloc(layout) }
        } else {
            std::ptr::null_mut()
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if granted(layout.size()) {
            // SAFETY: the caller upholds the contract.
            unsafe { System.alloc_zeroed(layout) }
        } else {
            std::ptr::null_mut()
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if granted(size) {
            // SAFETY: the caller upholds the contract.
            unsafe { System.realloc(memory, layout, size) }
        } else {
            std::ptr::null_mut()
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}
