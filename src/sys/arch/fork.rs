//! Forks through a raw `clone`. If possible, this code also repairs the thread id that the program's C
//! library keeps.
//!
//! A libc keeps each thread's id in its thread control block. After a raw `clone`, the child's copy of that
//! block still holds the id of the parent's thread. Without a repair, functions that use this id, such as
//! `pthread_kill` and the locking of error-checking mutexes, misbehave in the child. The glibc library
//! registers the address of this id with the kernel (`set_tid_address`, and `CLONE_CHILD_CLEARTID` for later
//! threads). The call `prctl(PR_GET_TID_ADDRESS)` returns the address. With `CLONE_CHILD_SETTID` the kernel
//! writes the child's id to that address in the child.
//!
//! The musl library registers the address of a *lock* instead. The word at the registered address is
//! therefore checked first: it is used as a thread id only if it equals this thread's id. If the two values
//! differ, or the kernel does not return the address (for example without `CONFIG_CHECKPOINT_RESTORE`),
//! nothing is repaired.
//!
//! # Safety
//!
//! This file is trusted to read one word at an address that the kernel holds for this thread.
#![allow(unsafe_code, reason = "clone, and the word that clone repairs")]

use super::backend::CTID_IS_LAST;
use super::{nr, syscall0, syscall5};
use crate::sys::abi::CLONE_PIDFD;
use crate::sys::abi::{CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, PR_GET_TID_ADDRESS, SIGCHLD};

/// Creates a child process that shares no memory with this process, and stores the child's pidfd at `pidfd`.
/// `pidfd` stays unchanged if the kernel provides no pidfd. Examples are Linux before 5.2, an emulator, and a
/// process that has reached the limit of descriptors.
///
/// # Safety
///
/// The requirements of [`process::fork`](crate::process::fork) apply.
pub(crate) unsafe fn fork(pidfd: &mut i32) -> isize {
    let tid_address = own_tid_address();
    let repair = if tid_address == 0 { 0 } else { CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID };
    let flags = SIGCHLD | repair;
    let place = (&raw mut *pidfd).expose_provenance();
    let [fourth, fifth] = if CTID_IS_LAST { [0, tid_address] } else { [tid_address, 0] };
    let clone = |flags| {
        // SAFETY: no flag shares memory, so the child has a copy of all memory. The address is null or is the
        // address of the thread id in this thread's control block. The child has a copy of that block. The
        // kernel writes an `int` to `pidfd`.
        unsafe { syscall5(nr::CLONE, flags, 0, place, fourth, fifth) }
    };
    match clone(flags | CLONE_PIDFD) {
        ..0 => clone(flags),
        pid => pid,
    }
}

/// Returns the address at which the C library keeps this thread's id, or 0 if that address cannot be found.
fn own_tid_address() -> usize {
    let mut address: usize = 0;
    let place = (&raw mut address).expose_provenance();
    // SAFETY: `PR_GET_TID_ADDRESS` writes one word to the given address.
    let answer = unsafe { syscall5(nr::PRCTL, PR_GET_TID_ADDRESS, place, 0, 0, 0) };
    if answer != 0 || address % align_of::<u32>() != 0 || address == 0 {
        return 0;
    }
    let word = core::ptr::with_exposed_provenance::<u32>(address);
    // SAFETY: the kernel will clear this word when the thread ends. The code that registered the word
    // therefore keeps it mapped while the thread runs. The address is aligned (checked above), and only this
    // thread's libc and the kernel write to the word.
    let held = unsafe { word.read_volatile() };
    // SAFETY: `gettid` has no arguments and no effects.
    let own = unsafe { syscall0(nr::GETTID) };
    if isize::try_from(held) == Ok(own) { address } else { 0 }
}
