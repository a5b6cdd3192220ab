//! `clone` onto a stack of the child's own: what the assembly backends share.
//!
//! # Safety
//!
//! This file is trusted to say the same by `clone3` as by `clone`.
#![allow(unsafe_code, reason = "clone")]

use super::{backend, nr};

/// `struct clone_args`, as of Linux 5.5.
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

/// Makes a child that calls `child` with `arg` on `stack`, which is given by its lowest address and its
/// size, and grows down from its end. Answers in the parent only: the child's process id; and where
/// `flags` have `CLONE_PIDFD` its descriptor at `pidfd`.
///
/// Flags that need more than 32 bits exist in `clone3` only.
///
/// # Safety
///
/// The end of `stack` is aligned to 16 bytes, and it is the child's alone and large enough for what
/// `child` does. If `flags` share memory with the child then also `CLONE_VFORK` is among them, and `child`
/// may run while the calling thread is stopped, on its thread-local storage. `pidfd` has room for an
/// `int`. `flags` have neither `CLONE_SETTLS` nor a tid that is set or cleared.
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
        // SAFETY: passed on to the caller.
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
    // SAFETY: reads the arguments, at the place given; else passed on to the caller.
    unsafe { backend::enter(nr::CLONE3, [place, size_of::<CloneArgs>(), 0], child, arg) }
}

/// In `clone` the signal that the parent gets is among the flags.
const EXIT_SIGNAL: u64 = 0xff;
