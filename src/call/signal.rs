//! The calls on the signals of this thread: what is pending, and what is blocked.
//!
//! # Safety
//!
//! This file is trusted to give the kernel signal sets of its own size, and places for them.
#![allow(unsafe_code, reason = "system calls")]

use crate::abi::{SigSet, Timespec};
use crate::errno::{Result, decode};
use crate::sys::{nr, syscall2, syscall4};

/// The signals that are pending for this thread or process.
#[inline]
pub(crate) fn rt_sigpending() -> Result<SigSet> {
    let mut pending = SigSet::default();
    let place = (&raw mut pending).expose_provenance();
    // SAFETY: writes one signal set, to the place given.
    decode(unsafe { syscall2(nr::RT_SIGPENDING, place, size_of::<SigSet>()) })?;
    Ok(pending)
}

/// Changes the signal mask of this thread and returns what it was.
#[inline]
pub(crate) fn rt_sigprocmask(how: usize, set: &SigSet) -> Result<SigSet> {
    let mut old = SigSet::default();
    let place = (&raw mut old).expose_provenance();
    let set = (&raw const *set).expose_provenance();
    // SAFETY: reads one signal set and writes another one, at the places given.
    decode(unsafe { syscall4(nr::RT_SIGPROCMASK, how, set, place, size_of::<SigSet>()) })?;
    Ok(old)
}

/// Takes one pending signal of `set`, without waiting.
#[inline]
pub(crate) fn rt_sigtimedwait_now(set: &SigSet) -> Result<usize> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let timeout = (&raw const now).expose_provenance();
    let set = (&raw const *set).expose_provenance();
    // SAFETY: reads one signal set and one `timespec`, at the places given.
    decode(unsafe { syscall4(nr::RT_SIGTIMEDWAIT, set, 0, timeout, size_of::<SigSet>()) })
}
