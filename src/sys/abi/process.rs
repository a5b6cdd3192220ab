//! What only programs that start others need: constants of sched.h, prctl.h, wait.h and ioctls.h, and `struct rusage`.

use super::{RUSAGE_KEPT, SPARC, per_arch};
use core::time::Duration;

pub(crate) const TIOCSCTTY: usize = per_arch(0x5480, 0x2000_7484, 0x540e, 0x540e, 0x540e) as usize;
pub(crate) const TIOCSPGRP: usize =
    per_arch(0x8004_7476, 0x8004_7482, 0x8004_7476, 0x5410, 0x5410) as usize;
pub(crate) const P_ALL: usize = 0;
pub(crate) const CLONE_SIGHAND: usize = 0x800;
pub(crate) const CLONE_VFORK: usize = 0x4000;
pub(crate) const CLONE_THREAD: usize = 0x1_0000;
/// In `clone3` only, and beyond a `long` of 32 bits, so no test compares it.
pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub(crate) const PR_SET_PDEATHSIG: usize = 1;
pub(crate) const PR_GET_PDEATHSIG: usize = 2;
pub(crate) const PR_SET_DUMPABLE: usize = 4;
pub(crate) const PR_SET_CHILD_SUBREAPER: usize = 36;

/// What a process has used in its life, together with those of its own children that it has waited for.
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
    /// From `struct rusage`, which has words only, but for the microseconds on SPARC: they are an `int`, and of 64 bits
    /// the upper half.
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

    /// Returns the processor time outside the kernel.
    #[must_use]
    pub const fn user_time(&self) -> Duration {
        self.user_time
    }

    /// Returns the processor time in the kernel.
    #[must_use]
    pub const fn system_time(&self) -> Duration {
        self.system_time
    }

    /// Returns the most memory that was resident at any time, in bytes: of the process, or of the largest
    /// of its children, not of all together.
    ///
    /// The kernel counts what the process had before it began its program: for a child that shared its
    /// parent's memory until then, which is how programs are started here, all of its parent's.
    #[must_use]
    pub const fn max_rss(&self) -> u64 {
        self.max_rss
    }

    /// Returns how often a page had to be mapped that was in memory already.
    #[must_use]
    pub const fn minor_faults(&self) -> u64 {
        self.minor_faults
    }

    /// Returns how often a page had to be read from a file or from swap.
    #[must_use]
    pub const fn major_faults(&self) -> u64 {
        self.major_faults
    }
}
