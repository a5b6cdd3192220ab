//! riscv64, 64-bit ABI.
//!
//! - number: a7
//! - arguments: a0, a1, a2, a3, a4, a5
//! - trap: `ecall`
//! - return: a0
//! - clobbered: the vector state (v0-v31, vl, vtype and vstart), which Linux 6.5 and later discard in every
//!   call. All other registers are kept
//!
//! The vector registers are listed as clobbered in every build. Even in a build without the feature `v`, a
//! function with `target_feature(enable = "v")` may use them. Listing them costs nothing in other code.
//! Without `preserves_flags`, vl and vtype count as clobbered. Compiled code always keeps vstart at 0.
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
    ($name:ident $call:literal $x86_64:literal $number:literal) => {
        #[doc = concat!("The number of `", $call, "`.")]
        pub(crate) const $name: usize = $number;
    };
}

#[rustfmt::skip]
macro_rules! trap {
    ($nr:expr $(, $register:tt = $argument:expr)*) => {{
        let answer: isize;
        // SAFETY: the registers match the list above, and the caller is responsible for the call itself.
        unsafe {
            asm!(
                "ecall",
                in("a7") $nr,
                $(in($register) $argument,)*
                lateout("a0") answer,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
                out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
                out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") _,
                out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
                out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _,
                out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nostack),
            );
        }
        answer
    }};
}

syscalls!("a0" "a1" "a2" "a3" "a4" "a5");

/// True because the last two arguments of `clone` are **tls, ctid**.
pub(super) const CTID_IS_LAST: bool = true;

/// Makes the call `nr`, which is `clone` or `clone3`, with these three arguments. The child never leaves the
/// assembly block. The child jumps to `child` with `arg`, on the stack that the system call has set. Returns
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
    // SAFETY: the registers match the list above. The kernel ignores a3 and a4 (tls and ctid of `clone`),
    // because the flags that use them are not set. Registers a5 and a6 carry `child` and `arg` across the
    // trap, and gp and tp do not change. In the parent, the block behaves like any other system call. The
    // kernel discards only vector registers, which a C function may also change.
    unsafe {
        asm!(
            "ecall",
            "bnez a0, 2f",
            "mv s0, zero", // the outermost frame, which has no return address
            "mv ra, zero",
            "mv a0, a6",
            "jr a5",
            "2:",
            in("a7") nr,
            inlateout("a0") a => answer,
            in("a1") b,
            in("a2") c,
            in("a3") 0_usize,
            in("a4") 0_usize,
            in("a5") child,
            in("a6") arg,
            clobber_abi("C"),
        );
    }
    answer
}
