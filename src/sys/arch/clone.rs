//! Calls `clone` or `clone3` with a separate stack for the child. All assembly backends use this code.
//!
//! # Safety
//!
//! This file is trusted to encode the same request for `clone3` as for `clone`.
#![allow(unsafe_code, reason = "clone")]

use super::{backend, nr};

/// The first version of `struct clone_args` (Linux 5.3).
#[repr(C, align(8))]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Creates a child that calls `child` with `arg` on `stack`. The stack is specified by its lowest address and
/// its size, and grows down from its end. Returns only in the parent: the child's process id, or −errno on
/// failure. If `flags` contain `CLONE_PIDFD`, the child's pidfd is stored at `pidfd`.
///
/// This function calls `clone3` only if the flags need more than 32 bits.
///
/// # Safety
///
/// The end of `stack` is aligned to 16 bytes. Only the child uses `stack`, and the stack is large enough for
/// the code of `child`. If `flags` request shared memory, they also contain `CLONE_VFORK`. In that case,
/// `child` is code that may use the calling thread's thread-local storage while that thread is stopped.
/// `pidfd` has room for an `int`. `flags` contain neither `CLONE_SETTLS` nor a flag that sets or clears a
/// tid.
pub(crate) unsafe fn clone_on_stack(
    flags: u64,
    (stack, size): (*mut u8, usize),
    child: extern "C" fn(*const ()) -> !,
    arg: *const (),
    pidfd: *mut i32,
) -> isize {
    let top = stack.wrapping_add(size).expose_provenance();
    let pidfd = pidfd.expose_provenance();
    if let Ok(flags) = u32::try_from(flags) {
        // SAFETY: the caller upholds the same contract.
        return unsafe { backend::enter(nr::CLONE, [flags as usize, top, pidfd], child, arg) };
    }
    let args = CloneArgs {
        flags: flags & !EXIT_SIGNAL,
        pidfd: pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: flags & EXIT_SIGNAL,
        stack: stack.expose_provenance() as u64,
        stack_size: size as u64,
        tls: 0,
    };
    let place = (&raw const args).expose_provenance();
    // SAFETY: the kernel reads the arguments at `place`. In all other respects, the caller upholds the same
    // contract.
    unsafe { backend::enter(nr::CLONE3, [place, size_of::<CloneArgs>(), 0], child, arg) }
}

/// The bits in the `clone` flags for the number of a signal. The parent receives that signal when the child
/// ends.
const EXIT_SIGNAL: u64 = 0xff;
