//! Makes system calls by number. Use this module for system calls that the crate does not wrap.
//!
//! Each function returns the kernel's result: a success value, or a negated errno in the range −4095 to −1.
//! Arguments are register-sized integers. Pass a pointer as `pointer.expose_provenance()`. With the C shim,
//! the calls go through the C library, but the result is the same.
//!
//! To convert a failure to an error, pass the absolute value of the result to `Errno::from_raw_os_error`.
//!
//! The caller supplies the call numbers. The numbers are listed in `<asm/unistd.h>` of the target's kernel
//! headers and, for many targets, in the crates `libc` (`SYS_…`) and `linux-raw-sys` (`__NR_…`). The
//! architecture x86_64 has its own numbers, whereas aarch64, riscv64 and other newer architectures use the
//! kernel's generic table.
//!
//! # Examples
//!
//! ```
//! use rawpipe::raw;
//!
//! const GETPID: usize = if cfg!(target_arch = "x86_64") {
//!     39
//! } else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
//!     172
//! } else {
//!     20 // x86, Arm, PowerPC, s390x
//! };
//! // SAFETY: `getpid` takes no arguments and touches no memory.
//! let pid = unsafe { raw::syscall0(GETPID) };
//! assert_eq!(pid, std::process::id().try_into().unwrap());
//! ```
//!
//! [syscall(2)](https://man7.org/linux/man-pages/man2/syscall.2.html)

pub use crate::sys::{syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};
