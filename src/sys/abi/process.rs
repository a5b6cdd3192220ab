//! `struct rusage`, and the constants of sched.h, prctl.h, wait.h and ioctls.h that only feature `process`
//! needs.

use super::{RUSAGE_KEPT, SPARC, per_arch};
use core::time::Duration;

pub(crate) const TIOCSCTTY: usize = per_arch(0x5480, 0x2000_7484, 0x540e, 0x540e, 0x540e) as usize;
pub(crate) const TIOCSPGRP: usize =
    per_arch(0x8004_7476, 0x8004_7482, 0x8004_7476, 0x5410, 0x5410) as usize;
pub(crate) const P_ALL: usize = 0;
pub(crate) const CLONE_SIGHAND: usize = 0x800;
pub(crate) const CLONE_VFORK: usize = 0x4000;
pub(crate) const CLONE_THREAD: usize = 0x1_0000;
/// A flag for `clone3` only. The flag does not fit into a 32-bit `long`, so no test compares it.
pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub(crate) const PR_SET_PDEATHSIG: usize = 1;
pub(crate) const PR_GET_PDEATHSIG: usize = 2;
pub(crate) const PR_SET_DUMPABLE: usize = 4;
pub(crate) const PR_SET_CHILD_SUBREAPER: usize = 36;

/// The resources that a process has used during its lifetime, including the resources used by the children
/// for which it has waited.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child does nothing but return a number.
/// let mut child = unsafe { process::fork_with(|| 0) }?;
/// assert!(child.rusage().is_none()); // not before a wait has returned
/// child.wait()?;
/// let used = child.rusage().unwrap();
/// assert!(used.max_rss() > 0 && used.minor_faults() > 0);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [getrusage(2)](https://man7.org/linux/man-pages/man2/getrusage.2.html)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rusage {
    user_time: Duration,
    system_time: Duration,
    max_rss: u64,
    minor_faults: u64,
    major_faults: u64,
}

impl Rusage {
    /// Converts a `struct rusage`. All fields are words, except the microseconds on SPARC. On SPARC, the
    /// microseconds are an `int`, which occupies the upper half of a 64-bit word.
    pub(crate) fn new(raw: [usize; RUSAGE_KEPT.len()]) -> Self {
        let raw = raw.map(|word| word as u64);
        let micros = |word: u64| word >> if SPARC { usize::BITS - 32 } else { 0 };
        let time = |seconds, word| {
            Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros(word)))
        };
        Self {
            user_time: time(raw[0], raw[1]),
            system_time: time(raw[2], raw[3]),
            max_rss: raw[4].saturating_mul(1024),
            minor_faults: raw[5],
            major_faults: raw[6],
        }
    }

    /// Returns the processor time used outside the kernel.
    #[must_use]
    pub const fn user_time(&self) -> Duration {
        self.user_time
    }

    /// Returns the processor time used in the kernel.
    #[must_use]
    pub const fn system_time(&self) -> Duration {
        self.system_time
    }

    /// Returns the maximum resident memory, in bytes. The value is not a sum. It is either the maximum of the
    /// process itself or that of the largest child for which the process has waited, whichever is larger.
    ///
    /// The kernel includes memory that the process used before its program began. This crate usually starts
    /// programs in a child that shares its parent's memory until the program begins. For these children, the
    /// value is at least the resident memory of the parent.
    #[must_use]
    pub const fn max_rss(&self) -> u64 {
        self.max_rss
    }

    /// Returns the number of page faults for pages that were already in memory.
    #[must_use]
    pub const fn minor_faults(&self) -> u64 {
        self.minor_faults
    }

    /// Returns the number of page faults for pages that were read from a file or from swap.
    #[must_use]
    pub const fn major_faults(&self) -> u64 {
        self.major_faults
    }
}
