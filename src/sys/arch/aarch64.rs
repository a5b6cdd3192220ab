//! aarch64, 64-bit ABI.
//!
//! - number: x8
//! - arguments: x0, x1, x2, x3, x4, x5
//! - trap: `svc 0`
//! - return: x0
//! - clobbered: without SVE, no other register. With SVE, the kernel zeroes p0-p15, ffr, and the bits of
//!   z0-z31 above bit 127 in every call. A build with `+sve` therefore names the z registers (as v) and the p
//!   registers as clobbered. The compiler does not allocate ffr, so ffr is never live across a call
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

#[cfg(not(target_feature = "sve"))]
macro_rules! trap {
    ($nr:expr $(, $register:tt = $argument:expr)*) => {{
        let answer: isize;
        // SAFETY: the registers match the list above, and the caller is responsible for the call itself.
        unsafe {
            asm!(
                "svc 0",
                in("x8") $nr,
                $(in($register) $argument,)*
                lateout("x0") answer,
                options(nostack, preserves_flags),
            );
        }
        answer
    }};
}

#[cfg(target_feature = "sve")]
#[rustfmt::skip]
macro_rules! trap {
    ($nr:expr $(, $register:tt = $argument:expr)*) => {{
        let answer: isize;
        // SAFETY: the registers match the list above, and the caller is responsible for the call itself.
        unsafe {
            asm!(
                "svc 0",
                in("x8") $nr,
                $(in($register) $argument,)*
                lateout("x0") answer,
                lateout("v0") _, lateout("v1") _, lateout("v2") _, lateout("v3") _,
                lateout("v4") _, lateout("v5") _, lateout("v6") _, lateout("v7") _,
                lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
                lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
                lateout("v16") _, lateout("v17") _, lateout("v18") _, lateout("v19") _,
                lateout("v20") _, lateout("v21") _, lateout("v22") _, lateout("v23") _,
                lateout("v24") _, lateout("v25") _, lateout("v26") _, lateout("v27") _,
                lateout("v28") _, lateout("v29") _, lateout("v30") _, lateout("v31") _,
                lateout("p0") _, lateout("p1") _, lateout("p2") _, lateout("p3") _,
                lateout("p4") _, lateout("p5") _, lateout("p6") _, lateout("p7") _,
                lateout("p8") _, lateout("p9") _, lateout("p10") _, lateout("p11") _,
                lateout("p12") _, lateout("p13") _, lateout("p14") _, lateout("p15") _,
                options(nostack, preserves_flags),
            );
        }
        answer
    }};
}

syscalls!("x0" "x1" "x2" "x3" "x4" "x5");

/// True because the last two arguments of `clone` are **tls, ctid**.
pub(super) const CTID_IS_LAST: bool = true;

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
    // SAFETY: the registers match the list above. The kernel ignores x3 and x4 (tls and ctid of `clone`),
    // because the flags that use them are not set. Registers x5 and x6 carry `child` and `arg` across the
    // trap. In the parent, the block behaves like any other system call. The kernel zeroes only vector state,
    // and only state that a C function may change as well.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr", // the outermost frame
            "mov x30, xzr",
            "mov x0, x6",
            "blr x5",
            "brk #1",
            "2:",
            in("x8") nr,
            inlateout("x0") a => answer,
            in("x1") b,
            in("x2") c,
            in("x3") 0_usize,
            in("x4") 0_usize,
            in("x5") child,
            in("x6") arg,
            clobber_abi("C"),
        );
    }
    answer
}
