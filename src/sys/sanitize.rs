//! Reports to a sanitizer the memory that the calls of this crate read and write.
//!
//! AddressSanitizer, MemorySanitizer and ThreadSanitizer detect the memory accesses of C library functions by
//! replacing these functions. The sanitizers see neither the trap instruction nor the effects of libc's
//! `syscall()`. The functions of `call` therefore use `tell!` to report the memory that the kernel reads and
//! writes. In builds without a sanitizer, `tell!` expands to nothing. Calls that are made by number
//! ([`raw`](crate::raw)) are not reported. Except for functions of a sanitizer, no code here allocates memory
//! or takes a lock.
//!
//! | `RUSTFLAGS`, with `-Zsanitizer=` the same | before a call | after a call |
//! |---|---|---|
//! | `--cfg rawpipe_sanitize="address"` | memory that the kernel may read or write must not be freed, outside an object, or in a frame that has returned | new mappings are valid memory |
//! | `--cfg rawpipe_sanitize="memory"` | memory that the kernel may read must be initialised | exactly what the kernel has written is initialised: the `n` bytes of a `read`, and not the remaining bytes of its buffer |
//! | `--cfg rawpipe_sanitize="thread"` | memory that the kernel may read counts as read by this thread, and everything before the call is visible to later readers of the same pipe or file | memory that the kernel has written counts as written by this thread, which sees everything before the writers' calls |
//!
//! If one thread reads bytes that another thread has written to a pipe, the write happens before the read.
//! Each file uses one of [`PLACES`], chosen by its inode number: a write or a close releases that address,
//! and a read acquires it. If two files use the same address, the only effect is that a race may be missed. A
//! wait for any of several descriptors acquires one separate address, which every write and every close also
//! releases. Unmapping and mapping use another separate address, because one thread may receive addresses
//! that another thread has unmapped.
//!
//! # Safety
//!
//! This file is trusted to declare the sanitizers' functions as the sanitizers' headers do.
#![allow(unsafe_code, dead_code, reason = "functions of the sanitizers, each of one tool")]

use super::{abi::arg::Arg, call};
use crate::fd::{AsFd, BorrowedFd};
use core::ops::Deref;
use core::ptr::{null_mut, with_exposed_provenance};
use core::sync::atomic::AtomicUsize;

const ADDRESS: bool = cfg!(rawpipe_sanitize = "address");
const MEMORY: bool = cfg!(rawpipe_sanitize = "memory");
const THREAD: bool = cfg!(rawpipe_sanitize = "thread");

// SAFETY: for any address, each function marked `safe` accesses only the sanitizer's own memory, or prints a
// report and ends the process.
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

/// Addresses by which ThreadSanitizer orders threads. No code stores a value in them. Each inode number maps
/// to one address. All waits for any of several descriptors share one separate address, and all mappings
/// share a second separate address.
static PLACES: [AtomicUsize; FILES + 2] = [const { AtomicUsize::new(0) }; FILES + 2];
const FILES: usize = 1021;
const ANY: usize = FILES;
const MAPPINGS: usize = FILES + 1;

/// In each range, the maximum number of bytes that are reported to ThreadSanitizer. ThreadSanitizer uses four
/// bytes of memory for each reported byte. A race that concerns only later bytes is not detected.
const CHECKED: usize = 1 << 20;

/// Reports, before a call, that the call may read all of `lent`.
pub(super) fn reads<T: ?Sized>(lent: &T) {
    let (begin, len) = ((&raw const *lent).cast(), size_of_val(lent));
    if ADDRESS {
        check(begin, len, __asan_report_load_n);
    } else if MEMORY {
        __msan_check_mem_is_initialized(begin, len);
    } else {
        __tsan_read_range(begin, len.min(CHECKED));
    }
}

/// Reports, before a call, that the call may read all bytes of these buffers.
pub(super) fn reads_each(bufs: &[impl Deref<Target = [u8]>]) {
    bufs.iter().for_each(|buf| reads(&**buf));
}

/// Reports, before a call, that the call reads these strings.
pub(super) fn reads_strings(strings: &[Arg<'_>]) {
    strings.iter().filter_map(|string| string.as_c_str()).for_each(reads);
}

/// Reports, before a call, that the call may write to all of `lent`.
pub(super) fn writes<T: ?Sized>(lent: &T) {
    if ADDRESS {
        check((&raw const *lent).cast(), size_of_val(lent), __asan_report_store_n);
    }
}

/// Reports, before a call, that the call may write to all bytes of these buffers.
pub(super) fn writes_each(bufs: &[impl Deref<Target = [u8]>]) {
    bufs.iter().for_each(|buf| writes(&**buf));
}

/// Reports, after a call, that the call has written `len` bytes at `address`.
pub(super) fn written(address: usize, len: usize) {
    if MEMORY {
        __msan_unpoison(with_exposed_provenance(address), len);
    } else if THREAD {
        __tsan_write_range(with_exposed_provenance(address), len.min(CHECKED));
    }
}

/// Reports, after a call, that the call has read `count` bytes from `fd` into these buffers, in order.
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

/// Reports, after a call, that the call has mapped memory. The mapping replaces any earlier contents.
pub(super) fn mapped(address: usize, len: usize) {
    if ADDRESS {
        __asan_unpoison_memory_region(with_exposed_provenance(address), len);
    } else if MEMORY {
        written(address, len);
    }
    order(|place| __tsan_acquire(place), || MAPPINGS);
}

/// Reports, before a call, that the call unmaps memory.
pub(super) fn unmaps() {
    order(|place| __tsan_release(place), || MAPPINGS);
}

/// Reports, before a call, that a reader of `fd`, or a wait for any descriptor, can observe the call's
/// effect.
pub(super) fn releases(fd: impl AsFd) {
    order(|place| __tsan_release(place), || of_file(fd.as_fd()));
    releases_any();
}

/// Reports, before a call, that a wait for any descriptor can observe the call's effect.
pub(super) fn releases_any() {
    order(|place| __tsan_release(place), || ANY);
}

/// Reports, after a call, that the call has observed the effects of earlier calls on `fd`.
pub(super) fn acquired(fd: impl AsFd) {
    order(|place| __tsan_acquire(place), || of_file(fd.as_fd()));
}

/// Reports, after a call, that the call has waited for any descriptor, or for a child.
pub(super) fn acquired_any() {
    order(|place| __tsan_acquire(place), || ANY);
}

fn order(tell: impl FnOnce(*const AtomicUsize), place: impl FnOnce() -> usize) {
    if THREAD {
        tell(&raw const PLACES[place()]);
    }
}

/// Returns the index of an open file in [`PLACES`]. Both ends of a pipe have the same inode number.
fn of_file(fd: BorrowedFd<'_>) -> usize {
    call::statx(fd).map_or(0, |file| file.stx_ino as usize % FILES)
}

/// The stack that a child runs on while its parent is stopped. The parent calls [`leave`](Self::leave)
/// afterwards. Some functions that run on this stack never return. ThreadSanitizer therefore receives a fiber
/// for the stack, and a report to AddressSanitizer clears the marks of the stack's frames.
///
/// ThreadSanitizer counts the calls and returns of each fiber. A function that returns on another fiber than
/// the one on which it was called would disturb both counts, so both methods must be inlined.
pub(super) struct OtherStack {
    stack: (*mut u8, usize),
    fibers: [*mut u8; 2],
}

impl OtherStack {
    #[inline(always)]
    pub(super) fn of(stack: (*mut u8, usize)) -> Self {
        let mut fibers = [null_mut(); 2];
        if THREAD {
            fibers = [__tsan_get_current_fiber(), __tsan_create_fiber(0)];
            // SAFETY: the fiber was created above, and no other code switches to it.
            unsafe { __tsan_switch_to_fiber(fibers[1], 0) };
        }
        Self { stack, fibers }
    }

    #[inline(always)]
    pub(super) fn leave(self) {
        if ADDRESS {
            __asan_unpoison_memory_region(self.stack.0, self.stack.1);
        } else if THREAD {
            // SAFETY: this is the thread's own fiber, which `of` switched away from.
            unsafe { __tsan_switch_to_fiber(self.fibers[0], 0) };
            // SAFETY: the child that ran on the fiber has ended or has started a program.
            unsafe { __tsan_destroy_fiber(self.fibers[1]) };
        }
    }
}
