//! System calls by number, for what the crate does not wrap.
//!
//! The answer is the kernel's: a success, or −errno in −4095..=−1. Arguments are register-sized
//! integers; pass a pointer as `pointer.expose_provenance()`. With the C shim they go through
//! the C library, which changes nothing in the answer.
//!
//! # Examples
//!
//! ```
//! use rawpipe::raw;
//!
//! // SAFETY: `getpid` takes no arguments and touches no memory.
//! let pid = unsafe { raw::syscall0(raw::nr::GETPID) };
//! assert_eq!(pid, std::process::id().try_into().unwrap());
//! ```
//!
//! [syscall(2)](https://man7.org/linux/man-pages/man2/syscall.2.html)

pub use crate::sys::{syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};

/// Numbers of system calls on the target.
///
/// With the assembly backends they are constants, with the C shim statics. Where a 32-bit target has
/// two forms of a call, the number is that of the one with 64-bit times and offsets. The order of
/// `clone`'s arguments differs between architectures.
pub mod nr {
    pub use crate::sys::nr::*;
}
