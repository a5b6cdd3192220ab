//! How a process ended, or what else has become of it.

use super::Signal;
use crate::sys::abi::{self, SigInfo};
use core::fmt;

/// How a process ended: by itself with an exit code, or killed by a signal. From
/// [`wait_change`](super::Child::wait_change) also that it was stopped, or goes on.
///
/// With feature `std` it converts from and to [`std::process::ExitStatus`], and nothing is lost.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child does nothing but end.
/// let status = unsafe { process::fork_with(|| process::exit(3)) }?.wait()?;
/// assert_eq!((status.code(), status.signal()), (Some(3), None));
/// assert_eq!(status.to_string(), "exit code 3");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [wait(2)](https://man7.org/linux/man-pages/man2/wait.2.html)
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitStatus {
    /// In the encoding of wait(2), which is std's, too.
    raw: i32,
}

/// In that encoding: the process goes on after a stop.
const CONTINUED: i32 = 0xffff;

impl ExitStatus {
    pub(super) const fn from_raw(raw: i32) -> Self {
        Self { raw }
    }

    pub(crate) const fn new(info: &SigInfo) -> Self {
        Self::from_raw(match info.si_code() {
            abi::CLD_EXITED => (info.si_status & 0xff) << 8,
            abi::CLD_KILLED => info.si_status,
            abi::CLD_DUMPED => info.si_status | 0x80,
            abi::CLD_CONTINUED => CONTINUED,
            // Stopped, or trapped by a tracer.
            _ => (info.si_status & 0xff) << 8 | 0x7f,
        })
    }

    /// Whether it exited with code 0.
    #[must_use]
    pub const fn success(&self) -> bool {
        self.raw == 0
    }

    /// The exit code, 0 to 255, or `None` if a signal killed it.
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        if self.raw & 0x7f == 0 { Some(self.raw >> 8 & 0xff) } else { None }
    }

    /// The signal that killed it, or `None` if it exited.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        match self.raw & 0x7f {
            0x7f => None,
            number => Signal::from_raw(number),
        }
    }

    /// Whether a signal killed it and the kernel wrote a core dump.
    #[must_use]
    pub const fn core_dumped(&self) -> bool {
        self.raw & 0x80 != 0 && self.signal().is_some()
    }

    /// The signal that stopped it, or `None` if it is not stopped.
    #[must_use]
    pub const fn stopped_signal(&self) -> Option<Signal> {
        if self.raw & 0xff == 0x7f { Signal::from_raw(self.raw >> 8 & 0xff) } else { None }
    }

    /// Whether it goes on after it was stopped.
    #[must_use]
    pub const fn continued(&self) -> bool {
        self.raw == CONTINUED
    }
}

impl fmt::Debug for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExitStatus({self})")
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core_dumped = if self.core_dumped() { ", core dumped" } else { "" };
        match (self.code(), self.signal(), self.stopped_signal()) {
            (Some(code), _, _) => write!(f, "exit code {code}"),
            (_, Some(signal), _) => write!(f, "killed by {signal}{core_dumped}"),
            (_, _, Some(signal)) => write!(f, "stopped by {signal}"),
            _ if self.continued() => f.write_str("goes on after a stop"),
            _ => write!(f, "unknown status {:#x}", self.raw),
        }
    }
}

#[cfg(feature = "std")]
impl From<ExitStatus> for std::process::ExitStatus {
    fn from(status: ExitStatus) -> Self {
        std::os::unix::process::ExitStatusExt::from_raw(status.raw)
    }
}

#[cfg(feature = "std")]
impl From<std::process::ExitStatus> for ExitStatus {
    fn from(status: std::process::ExitStatus) -> Self {
        Self::from_raw(std::os::unix::process::ExitStatusExt::into_raw(status))
    }
}
