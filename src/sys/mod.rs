//! The private layers below the public modules.
//!
//! # The layers
//!
//! A public module, such as [`pipe`](mod@crate::pipe), makes system calls through two layers, of which the
//! first calls the second:
//!
//! 1. `call` has typed functions for the system calls. These functions accept and return owned and borrowed
//!    descriptors, slices, and [`Errno`](crate::Errno).
//! 2. `arch` is the machine-dependent layer. It contains all assembly code, the declarations of the C shim,
//!    and the system call numbers.
//!
//! Both layers use `abi`, which defines types and constants with the kernel's layout or values. `call` also
//! uses the basic types of the crate ([`errno`](crate::Errno), [`fd`](crate::fd)). `map` owns the memory that
//! the crate maps for itself, and `page` determines the page size. `sanitize` reports to sanitizers the
//! memory that the kernel reads and writes.
//!
//! # The contract of `arch`
//!
//! Each backend provides these names, and code outside `arch` uses nothing else from a backend:
//!
//! | name | what it must do |
//! |---|---|
//! | `syscall0` … `syscall6` | trap into the kernel with the number and the arguments as given, and return the kernel's result: −errno in −4095..=−1 on failure, any other value on success |
//! | `fork` | create a child that shares no memory with its parent; return 0 in the child, its process id in the parent, −errno on failure; may also return the child's pidfd |
//! | `clone_on_stack` | create a child that starts in a given function, on a given stack, with exactly the given flags, and never returns through its parent's frames; if it cannot pass a flag, return −`EINVAL` and create no child |
//! | `nr::*` | the system call numbers of this target |
//!
//! A backend MUST NOT change `errno` or any other thread-local state of the calling thread, and MUST NOT
//! retry on `EINTR`. The backend MUST let the compiler assume that the call has read and written all memory
//! (no `nomem`, no `readonly`). Otherwise the compiler would ignore the kernel's accesses, because it sees
//! the pointers as integers.
//!
//! A missing name is a compile error. Outside `arch`, only [`errno::decode`](crate::errno::decode) splits a
//! returned value into success and error.
//!
//! # Choice of the backend
//!
//! `build.rs` lists the architectures with assembly. For each of these architectures, `arch` contains a file
//! of the same name. For any other target, and for all targets with feature `c-shim`, `build.rs` compiles
//! `csrc/shim.c` and sets `rawpipe_shim`.

#![allow(clippy::must_use_candidate, reason = "a call by number may be made for its effect")]

/// Reports the effects of a system call to a sanitizer, by calling a function of `sanitize`. In builds
/// without a sanitizer, the macro expands to nothing.
macro_rules! tell {
    ($function:ident($($argument:expr),*)) => {{
        #[cfg(any(
            rawpipe_sanitize = "address",
            rawpipe_sanitize = "memory",
            rawpipe_sanitize = "thread"
        ))]
        crate::sys::sanitize::$function($($argument),*);
    }};
}

pub(crate) mod abi;
pub(crate) mod call;
#[cfg(feature = "transfer")]
pub(crate) mod map;
pub(crate) mod page;
#[cfg(any(rawpipe_sanitize = "address", rawpipe_sanitize = "memory", rawpipe_sanitize = "thread"))]
mod sanitize;

pub(crate) mod arch {
    #[macro_use]
    mod syscalls;

    #[cfg_attr(rawpipe_shim, path = "shim.rs")]
    #[cfg_attr(all(not(rawpipe_shim), target_arch = "x86_64"), path = "x86_64.rs")]
    #[cfg_attr(all(not(rawpipe_shim), target_arch = "aarch64"), path = "aarch64.rs")]
    #[cfg_attr(all(not(rawpipe_shim), target_arch = "riscv64"), path = "riscv64.rs")]
    #[macro_use]
    pub(super) mod backend;
    pub(crate) mod nr;

    /// The part of `clone_on_stack` that the assembly backends share.
    #[cfg(all(feature = "process", not(rawpipe_shim)))]
    mod clone;
    /// The part of `fork` that the assembly backends share.
    #[cfg(not(rawpipe_shim))]
    mod fork;

    pub use backend::*;
}

#[cfg(not(feature = "std"))]
pub(crate) use arch::nr;
pub use arch::{syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};
