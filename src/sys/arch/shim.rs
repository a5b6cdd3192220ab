//! The backend for any Linux target except x32. It uses `csrc/shim.c` and the C library.
//!
//! `syscall0` to `syscall6` all call one C function with six arguments. Unused arguments are zeros, which the
//! kernel ignores.
//!
//! # Safety
//!
//! This file is trusted to declare the functions of `csrc/shim.c` correctly.
#![allow(unsafe_code, reason = "the functions of csrc/shim.c")]

/// Declares the number of a system call. `csrc/shim.c` defines the number as a constant of type `size_t`.
macro_rules! number {
    ($name:ident $call:literal $x86_64:literal $generic:literal) => {
        #[allow(unsafe_code, reason = "the numbers of csrc/shim.c")]
        unsafe extern "C" {
            #[doc = concat!("The number of `", $call, "`.")]
            #[link_name = concat!(env!("RAWPIPE_PREFIX"), "nr_", $call)]
            pub(crate) safe static $name: usize;
        }
    };
}

// The prototypes of `csrc/shim.c`. `long` and pointers have the size of `usize` on every Linux target. The C
// file rejects x32, where an argument of a system call is wider than a pointer.
unsafe extern "C" {
    #[link_name = concat!(env!("RAWPIPE_PREFIX"), "syscall")]
    fn shim_syscall(nr: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize)
    -> isize;

    #[cfg(feature = "process")]
    #[link_name = concat!(env!("RAWPIPE_PREFIX"), "clone_on_stack")]
    fn shim_clone_on_stack(
        flags: usize,
        stack_top: *mut u8,
        child: extern "C" fn(*const ()) -> !,
        arg: *const (),
        pidfd: *mut i32,
    ) -> isize;

    #[link_name = concat!(env!("RAWPIPE_PREFIX"), "fork")]
    fn shim_fork() -> isize;
}

macro_rules! trap {
    ($nr:expr $(, $_:tt = $argument:expr)*) => {{
        let mut all = [0; 6];
        let given: &[usize] = &[$($argument),*];
        all[..given.len()].copy_from_slice(given);
        let [a, b, c, d, e, f] = all;
        // SAFETY: the caller upholds the same contract.
        unsafe { shim_syscall($nr, a, b, c, d, e, f) }
    }};
}

syscalls!(_ _ _ _ _ _);

/// Calls libc's `clone` and leaves the thread's `errno` unchanged. Fails with `EINVAL` if the flags need more
/// than 32 bits.
///
/// # Safety
///
/// The requirements of `clone_on_stack` in `clone.rs` apply.
#[cfg(feature = "process")]
pub(crate) unsafe fn clone_on_stack(
    flags: u64,
    stack: (*mut u8, usize),
    child: extern "C" fn(*const ()) -> !,
    arg: *const (),
    pidfd: *mut i32,
) -> isize {
    let Ok(flags) = u32::try_from(flags) else { return -EINVAL };
    let top = stack.0.wrapping_add(stack.1);
    // SAFETY: the caller upholds the same contract.
    unsafe { shim_clone_on_stack(flags as usize, top, child, arg, pidfd) }
}

#[cfg(feature = "process")]
const EINVAL: isize = 22;

/// Calls libc's `fork`. That function runs the registered atfork handlers and, in the child, corrects the
/// library's copy of the thread id. Returns no pidfd.
///
/// # Safety
///
/// The requirements of [`process::fork`](crate::process::fork) apply.
pub(crate) unsafe fn fork(_pidfd: &mut i32) -> isize {
    // SAFETY: the caller upholds the same contract.
    unsafe { shim_fork() }
}

#[cfg(test)]
mod tests {
    use crate::sys::arch::nr;
    use core::ffi::{CStr, c_char};
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[repr(C)]
    struct Fact {
        name: *const c_char,
        value: usize,
    }

    // The table of `csrc/shim.c`, whose last entry has a null name.
    unsafe extern "C" {
        #[link_name = concat!(env!("RAWPIPE_PREFIX"), "facts")]
        static FACTS: Fact;
    }

    /// Returns the name and value of every fact that `csrc/shim.c` obtains from the C headers of this target.
    fn c_facts() -> Vec<(&'static str, usize)> {
        let mut facts = Vec::new();
        let mut place = &raw const FACTS;
        loop {
            // SAFETY: `place` is within the table, because the null name has not been passed yet.
            let fact = unsafe { place.read() };
            if fact.name.is_null() {
                return facts;
            }
            // SAFETY: the names are string literals.
            let name = unsafe { CStr::from_ptr(fact.name) };
            facts.push((name.to_str().unwrap(), fact.value));
            // SAFETY: an entry with a name is followed by another entry.
            place = unsafe { place.add(1) };
        }
    }

    #[test]
    fn abi_equals_the_c_headers() {
        let c = c_facts();
        let rust = crate::sys::abi::facts();
        assert!(rust.len() > 150, "{} facts", rust.len());
        let by_name: BTreeMap<_, _> = c.iter().copied().collect();
        for (name, value) in &rust {
            assert_eq!(by_name.get(name), Some(value), "{name}");
        }
        assert_eq!(c.len(), rust.len(), "facts in C that Rust does not have");
    }

    #[test]
    fn numbers_equal_the_c_headers() {
        let mut count = 0;
        for (call, x86_64, generic, c) in nr::table() {
            assert!(c < 10_000, "{call}: {c}");
            if cfg!(target_arch = "x86_64") {
                assert_eq!(c, x86_64, "{call}");
            } else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
                assert_eq!(c, generic, "{call}");
            }
            count += 1;
        }
        assert!(count > 40, "{count} numbers");
    }
}
