//! `struct rusage`: what a process has used.

use super::SPARC;
use core::time::Duration;

/// What a process has used in its life, together with those of its own children that it has waited for.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child only counts.
/// let mut child = unsafe { process::fork_with(|| (0..1_000_000).fold(0, u8::wrapping_add)) }?;
/// assert!(child.rusage().is_none()); // not before a wait has returned
/// child.wait()?;
/// let used = child.rusage().unwrap();
/// assert!(used.max_rss() > 0 && used.minor_faults() > 0);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [getrusage(2)](https://man7.org/linux/man-pages/man2/getrusage.2.html)
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rusage([isize; 18]);

impl Rusage {
    /// Returns the processor time outside the kernel.
    #[must_use]
    pub fn user_time(&self) -> Duration {
        self.time(0)
    }

    /// Returns the processor time in the kernel.
    #[must_use]
    pub fn system_time(&self) -> Duration {
        self.time(2)
    }

    /// Returns the most memory that was resident at any time, in bytes: of the process, or of the largest
    /// of its children, not of all together.
    ///
    /// The kernel counts what the process had before it began its program: for a child that shared its
    /// parent's memory until then, which is how programs are started here, all of its parent's.
    #[must_use]
    pub fn max_rss(&self) -> u64 {
        self.count(4) * 1024
    }

    /// Returns how often a page had to be mapped that was in memory already.
    #[must_use]
    pub fn minor_faults(&self) -> u64 {
        self.count(8)
    }

    /// Returns how often a page had to be read from a file or from swap.
    #[must_use]
    pub fn major_faults(&self) -> u64 {
        self.count(9)
    }

    /// A `struct timeval`. On SPARC its microseconds are an `int`: of 64 bits, the upper half.
    fn time(&self, at: usize) -> Duration {
        let micros = self.count(at + 1) >> if SPARC { usize::BITS - 32 } else { 0 };
        Duration::from_secs(self.count(at)) + Duration::from_micros(micros)
    }

    fn count(&self, at: usize) -> u64 {
        u64::try_from(self.0[at]).unwrap_or(0)
    }
}
