//! Stores the strings of a program's arguments and environment in the format that the kernel reads.
//!
//! # Safety
//!
//! This file is trusted to create each [`Arg`] either as a null pointer, or from a `CStr` that lives as long
//! as the `Arg`.
#![allow(unsafe_code, reason = "strings by address, as the kernel reads them")]

use core::ffi::{CStr, c_char};
use core::marker::PhantomData;
use core::{fmt, ptr};

/// One entry of a list of arguments (`argv`) or of environment variables (`envp`, `NAME=value`).
///
/// A list is a slice that ends with [`Arg::END`]. In memory, the slice is the array that the kernel reads. A
/// child therefore needs no allocation in order to use a list that was created before the fork.
///
/// # Examples
///
/// ```
/// use rawpipe::process::Arg;
///
/// let argv = [Arg::new(c"echo"), Arg::new(c"hello"), Arg::END];
/// assert_eq!(argv[1].as_c_str(), Some(c"hello"));
/// assert_eq!(argv[2].as_c_str(), None);
/// ```
///
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Arg<'a> {
    string: *const c_char,
    lent: PhantomData<&'a CStr>,
}

// SAFETY: an `Arg` stands for an `Option<&CStr>`, which is Send.
unsafe impl Send for Arg<'_> {}
// SAFETY: an `Arg` stands for an `Option<&CStr>`, which is Sync.
unsafe impl Sync for Arg<'_> {}

impl<'a> Arg<'a> {
    /// The end of a list.
    pub const END: Self = Self { string: ptr::null(), lent: PhantomData };

    /// Creates a list entry from a string.
    #[must_use]
    pub const fn new(string: &'a CStr) -> Self {
        Self { string: string.as_ptr(), lent: PhantomData }
    }

    /// Returns the string, or `None` for [`END`](Self::END).
    #[must_use]
    pub const fn as_c_str(self) -> Option<&'a CStr> {
        if self.string.is_null() {
            return None;
        }
        // SAFETY: the pointer is not null, so it was made from a `&'a CStr`.
        Some(unsafe { CStr::from_ptr(self.string) })
    }
}

impl fmt::Debug for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_c_str() {
            Some(string) => string.fmt(f),
            None => f.write_str("END"),
        }
    }
}
