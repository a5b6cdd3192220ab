//! x86_64, 64-bit ABI.
//!
//! - number: rax
//! - arguments: rdi, rsi, rdx, r10, r8, r9
//! - trap: `syscall`
//! - return: rax
//! - clobbered: rcx (return address) and r11 (flags) by the instruction itself. The flags are restored from
//!   r11, and all other registers are kept
//!
//! # Safety
//!
//! This file is trusted to name these registers correctly. The caller is responsible for what a call does to
//! memory.
#![allow(unsafe_code, reason = "the trap instruction")]

#[cfg(feature = "process")]
pub(crate) use super::clone::clone_on_stack;
pub(crate) use super::fork::fork;
use core::arch::asm;

/// Declares the number of a system call as a constant. The value comes from this architecture's column in
/// `nr.rs`.
macro_rules! number {
    ($name:ident $call:literal $number:literal $generic:literal) => {
        #[doc = concat!("The number of `", $call, "`.")]
        pub(crate) const $name: usize = $number;
    };
}

macro_rules! trap {
    ($nr:expr $(, $register:tt = $argument:expr)*) => {{
        let answer: isize;
        // SAFETY: the registers match the list above, and the caller is responsible for the call itself.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") $nr => answer,
                $(in($register) $argument,)*
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack, preserves_flags),
            );
        }
        answer
    }};
}

syscalls!("rdi" "rsi" "rdx" "r10" "r8" "r9");

/// False because the last two arguments of `clone` are **ctid, tls**.
pub(super) const CTID_IS_LAST: bool = false;

/// Makes the call `nr`, which is `clone` or `clone3`, with these three arguments. The child never leaves the
/// assembly block. The child calls `child` with `arg`, on the stack that the system call has set. Returns
/// only in the parent.
///
/// # Safety
///
/// The three arguments encode a request that meets the requirements of `clone_on_stack`. These requirements
/// also apply to `child` and `arg`.
#[cfg(feature = "process")]
pub(super) unsafe fn enter(
    nr: usize,
    [a, b, c]: [usize; 3],
    child: extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> isize {
    let answer: isize;
    // SAFETY: the registers match the list above. The kernel ignores r10 and r8 (ctid and tls of `clone`),
    // because the flags that use them are not set. Registers r8 and r9 carry `arg` and `child` across the
    // trap. The child's stack is empty and aligned for a call. In the parent, the block behaves like any
    // other system call. The block does not claim to preserve the flags or the red zone.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp", // the outermost frame
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") nr => answer,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") 0_usize,
            in("r8") arg,
            in("r9") child,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}
