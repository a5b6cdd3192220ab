//! The environment of this process, which the C library keeps.
//!
//! # Safety
//!
//! This file is trusted to read the C library's list as it is: pointers up to a null, or no list.
#![allow(unsafe_code, reason = "a variable of the C library")]

use core::ffi::{CStr, c_char};

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

/// Hands on each entry as it is: `NAME=value`, or whatever else is there.
///
/// Nothing is locked. [`std::env::set_var`] has its caller see to it that nobody else reads the environment
/// meanwhile by other means than std's, as C libraries do, too.
pub(crate) fn for_each_variable(mut hand_on: impl FnMut(&[u8])) {
    let place = &raw const environ;
    // SAFETY: nobody writes it meanwhile, see above.
    let mut next = unsafe { place.read() };
    while !next.is_null() {
        // SAFETY: the list goes on up to a null.
        let entry = unsafe { next.read() };
        if entry.is_null() {
            break;
        }
        // SAFETY: each entry is a string, and stays while nobody writes the environment.
        hand_on(unsafe { CStr::from_ptr(entry) }.to_bytes());
        // SAFETY: this was not the null at its end.
        next = unsafe { next.add(1) };
    }
}
