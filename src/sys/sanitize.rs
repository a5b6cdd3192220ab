//! Tells a sanitizer which memory the calls of this crate read and write.
//!
//! AddressSanitizer, MemorySanitizer and ThreadSanitizer learn of that from the C library's functions,
//! which they replace. They see neither the trap instruction nor what libc's `syscall()` does. So `call`
//! states at each call what the kernel reads and writes, by `tell!`, which expands to nothing but in a build
//! for one of them. Calls by number ([`raw`](crate::raw)) are not told. Nothing here allocates or locks.
//!
//! | `RUSTFLAGS`, with `-Zsanitizer=` the same | before a call | after a call |
//! |---|---|---|
//! | `--cfg rawpipe_sanitize="address"` | what the kernel may read or write must not be freed, beside an object, or left by a frame | new mappings are memory |
//! | `--cfg rawpipe_sanitize="memory"` | what the kernel may read must be initialised | exactly what the kernel has written is initialised: the `n` bytes of a `read`, and not the rest of its buffer |
//! | `--cfg rawpipe_sanitize="thread"` | what the kernel may read is read by this thread, and what came before is visible to later readers of the same pipe or file | what the kernel has written is written by this thread, which sees what came before in the writers |
//!
//! Two threads that pass bytes through a pipe are in order. Each file has one of [`PLACES`], by its inode
//! number: a write or a close releases there, and a read acquires. Files that share one can only hide a
//! race. A wait for any of many acquires what all have released. Unmapping and mapping have a place of
//! their own, because the kernel gives addresses to one thread that another one had.
//!
//! # Safety
//!
//! This file is trusted to declare the sanitizers' functions as their headers do.
#![allow(unsafe_code, dead_code, reason = "functions of the sanitizers, each of one tool")]

use super::{abi::arg::Arg, call};
use crate::fd::{AsFd, BorrowedFd};
use core::ops::Deref;
use core::ptr::{null_mut, with_exposed_provenance};
use core::sync::atomic::AtomicUsize;

const ADDRESS: bool = cfg!(rawpipe_sanitize = "address");
const MEMORY: bool = cfg!(rawpipe_sanitize = "memory");
const THREAD: bool = cfg!(rawpipe_sanitize = "thread");

// SAFETY: for any address the safe ones look at, and write to, the sanitizer's own memory only, or print a
// report and end the process.
unsafe extern "C" {
    safe fn __asan_region_is_poisoned(begin: *const u8, size: usize) -> *const u8;
    safe fn __asan_report_load_n(address: *const u8, size: usize);
    safe fn __asan_report_store_n(address: *const u8, size: usize);
    safe fn __asan_unpoison_memory_region(begin: *const u8, size: usize);
    safe fn __msan_check_mem_is_initialized(begin: *const u8, size: usize);
    safe fn __msan_unpoison(begin: *const u8, size: usize);
    safe fn __tsan_acquire(place: *const AtomicUsize);
    safe fn __tsan_release(place: *const AtomicUsize);
    safe fn __tsan_read_range(begin: *const u8, size: usize);
    safe fn __tsan_write_range(begin: *const u8, size: usize);
    safe fn __tsan_create_fiber(flags: u32) -> *mut u8;
    safe fn __tsan_get_current_fiber() -> *mut u8;
    fn __tsan_destroy_fiber(fiber: *mut u8);
    fn __tsan_switch_to_fiber(fiber: *mut u8, flags: u32);
}

/// Addresses for ThreadSanitizer to know an order by, at which nothing is ever stored: one for the files of
/// each number, one for waits for any, and one for mappings.
static PLACES: [AtomicUsize; FILES + 2] = [const { AtomicUsize::new(0) }; FILES + 2];
const FILES: usize = 1021;
const ANY: usize = FILES;
const MAPPINGS: usize = FILES + 1;

/// To ThreadSanitizer each byte costs four. This much of each range is enough to meet another thread in.
const LOOK: usize = 1 << 20;

/// Before a call that may read all of `lent`.
pub(super) fn reads<T: ?Sized>(lent: &T) {
    let (begin, len) = ((&raw const *lent).cast(), size_of_val(lent));
    if ADDRESS {
        check(begin, len, __asan_report_load_n);
    } else if MEMORY {
        __msan_check_mem_is_initialized(begin, len);
    } else {
        __tsan_read_range(begin, len.min(LOOK));
    }
}

/// Before a call that may read all of several buffers.
pub(super) fn reads_each(bufs: &[impl Deref<Target = [u8]>]) {
    bufs.iter().for_each(|buf| reads(&**buf));
}

/// Before a call that reads strings.
pub(super) fn reads_strings(strings: &[Arg<'_>]) {
    strings.iter().filter_map(|string| string.as_c_str()).for_each(reads);
}

/// Before a call that may write to all of `lent`.
pub(super) fn writes<T: ?Sized>(lent: &T) {
    if ADDRESS {
        check((&raw const *lent).cast(), size_of_val(lent), __asan_report_store_n);
    }
}

/// Before a call that may write to all of several buffers.
pub(super) fn writes_each(bufs: &[impl Deref<Target = [u8]>]) {
    bufs.iter().for_each(|buf| writes(&**buf));
}

/// After a call that has written so many bytes.
pub(super) fn written(address: usize, len: usize) {
    if MEMORY {
        __msan_unpoison(with_exposed_provenance(address), len);
    } else if THREAD {
        __tsan_write_range(with_exposed_provenance(address), len.min(LOOK));
    }
}

/// After a call that has read so many bytes from `fd`, into these buffers from the first one on.
pub(super) fn received(fd: impl AsFd, bufs: &[impl Deref<Target = [u8]>], count: usize) {
    acquired(fd);
    bufs.iter().fold(count, |left, buf| {
        written(buf.as_ptr().expose_provenance(), buf.len().min(left));
        left.saturating_sub(buf.len())
    });
}

fn check(begin: *const u8, len: usize, report: extern "C" fn(*const u8, usize)) {
    let bad = __asan_region_is_poisoned(begin, len);
    if !bad.is_null() {
        report(bad, begin.addr() + len - bad.addr());
    }
}

/// After a call that has mapped memory: what was there before is no more.
pub(super) fn mapped(address: usize, len: usize) {
    if ADDRESS {
        __asan_unpoison_memory_region(with_exposed_provenance(address), len);
    } else if MEMORY {
        written(address, len);
    }
    order(|place| __tsan_acquire(place), || MAPPINGS);
}

/// Before a call that unmaps memory.
pub(super) fn unmaps() {
    order(|place| __tsan_release(place), || MAPPINGS);
}

/// Before a call that a reader of `fd` can learn of, and a wait for any.
pub(super) fn releases(fd: impl AsFd) {
    order(|place| __tsan_release(place), || of_file(fd.as_fd()));
    releases_any();
}

/// Before a call that a wait for any can learn of.
pub(super) fn releases_any() {
    order(|place| __tsan_release(place), || ANY);
}

/// After a call that has learnt of what was done to `fd`.
pub(super) fn acquired(fd: impl AsFd) {
    order(|place| __tsan_acquire(place), || of_file(fd.as_fd()));
}

/// After a call that has waited for any descriptor, or for a child.
pub(super) fn acquired_any() {
    order(|place| __tsan_acquire(place), || ANY);
}

fn order(tell: impl FnOnce(*const AtomicUsize), place: impl FnOnce() -> usize) {
    if THREAD {
        tell(&raw const PLACES[place()]);
    }
}

/// The place of an open file. The two ends of a pipe have the same number.
fn of_file(fd: BorrowedFd<'_>) -> usize {
    call::statx(fd).map_or(0, |file| file.stx_ino as usize % FILES)
}

/// What a child runs on while its parent is stopped, until this is dropped in the parent. The functions that
/// begin there do not end: so ThreadSanitizer gets a thread for it, and AddressSanitizer forgets its frames.
pub(super) struct OtherStack {
    stack: (*mut u8, usize),
    fibers: [*mut u8; 2],
}

impl OtherStack {
    pub(super) fn of(stack: (*mut u8, usize)) -> Self {
        let mut fibers = [null_mut(); 2];
        if THREAD {
            fibers = [__tsan_get_current_fiber(), __tsan_create_fiber(0)];
            // SAFETY: made just now, and not switched to elsewhere.
            unsafe { __tsan_switch_to_fiber(fibers[1], 0) };
        }
        Self { stack, fibers }
    }
}

impl Drop for OtherStack {
    fn drop(&mut self) {
        if ADDRESS {
            __asan_unpoison_memory_region(self.stack.0, self.stack.1);
        } else if THREAD {
            // SAFETY: this thread's own, which `of` has left.
            unsafe { __tsan_switch_to_fiber(self.fibers[0], 0) };
            // SAFETY: its child has ended or has a program of its own.
            unsafe { __tsan_destroy_fiber(self.fibers[1]) };
        }
    }
}
