//! Describes the exit status of a process, or another change in the state of a process.

use super::Signal;
use crate::sys::abi::{self, SigInfo};
use core::fmt;

/// The exit status of a process: an exit code, or the signal that killed the process. A status from
/// [`wait_change`](super::Child::wait_change) may also report that the process was stopped or continued.
///
/// With feature `std`, this type converts to and from [`std::process::ExitStatus`] without loss. The display
/// format matches that of std, and shows the signal names of [`Signal`]. The default is exit code 0.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child does nothing but end.
/// let status = unsafe { process::fork_with(|| process::exit(3)) }?.wait()?;
/// assert_eq!((status.code(), status.signal()), (Some(3), None));
/// assert_eq!(status.to_string(), "exit status: 3");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [wait(2)](https://man7.org/linux/man-pages/man2/wait.2.html)
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExitStatus {
    /// The status in the encoding of wait(2), which std also uses.
    raw: i32,
}

/// The `wait(2)` encoding of a process that has continued after a stop.
const CONTINUED: i32 = 0xffff;

impl ExitStatus {
    /// Creates a status from the number that [wait(2)](https://man7.org/linux/man-pages/man2/wait.2.html)
    /// stores. This number is not the exit code.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{ExitStatus, Signal};
    ///
    /// assert_eq!(ExitStatus::from_raw(3 << 8).code(), Some(3));
    /// assert_eq!(ExitStatus::from_raw(9).signal(), Some(Signal::KILL));
    /// assert_eq!(ExitStatus::from_raw(9).to_string(), "signal: 9 (SIGKILL)");
    /// assert_eq!(ExitStatus::default().into_raw(), 0);
    /// ```
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self { raw }
    }

    /// Returns the number that `wait(2)` stores for this status.
    #[must_use]
    pub const fn into_raw(self) -> i32 {
        self.raw
    }

    pub(crate) const fn new(info: &SigInfo) -> Self {
        Self::from_raw(match info.si_code() {
            abi::CLD_EXITED => (info.si_status & 0xff) << 8,
            abi::CLD_KILLED => info.si_status,
            abi::CLD_DUMPED => info.si_status | 0x80,
            abi::CLD_CONTINUED => CONTINUED,
            // The process has stopped, or a tracer has trapped it.
            _ => (info.si_status & 0xff) << 8 | 0x7f,
        })
    }

    /// Returns whether the process exited with code 0.
    #[must_use]
    pub const fn success(&self) -> bool {
        self.raw == 0
    }

    /// Returns the exit code, 0 to 255, or `None` if the process was killed, stopped or continued
    /// by a signal.
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        if self.raw & 0x7f == 0 { Some(self.raw >> 8 & 0xff) } else { None }
    }

    /// Returns the signal that killed the process, or `None` if no signal killed the process.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        match self.raw & 0x7f {
            0x7f => None,
            number => Signal::from_raw(number),
        }
    }

    /// Returns whether a signal killed the process and the kernel wrote a core dump.
    #[must_use]
    pub const fn core_dumped(&self) -> bool {
        self.raw & 0x80 != 0 && self.signal().is_some()
    }

    /// Returns the signal that stopped the process, or `None` if the process is not stopped.
    #[must_use]
    pub const fn stopped_signal(&self) -> Option<Signal> {
        if self.raw & 0xff == 0x7f { Signal::from_raw(self.raw >> 8 & 0xff) } else { None }
    }

    /// Returns whether the process has continued after a stop.
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
        // This code formats the number, because `Signal` does not accept every number that a status can hold.
        let (low, high) = (self.raw & 0xff, self.raw >> 8 & 0xff);
        let (words, number) = match low & 0x7f {
            0 => return write!(f, "exit status: {high}"),
            0x7f if low == 0x7f => ("stopped (not terminated) by signal", high),
            0x7f if self.continued() => return f.write_str("continued (WIFCONTINUED)"),
            0x7f => return write!(f, "unrecognised wait status: {0} {0:#x}", self.raw),
            signal => ("signal", signal),
        };
        write!(f, "{words}: {number}")?;
        if let Some(name) = Signal::from_raw(number).and_then(Signal::name) {
            write!(f, " ({name})")?;
        }
        f.write_str(if low & 0x80 != 0 { " (core dumped)" } else { "" })
    }
}

#[cfg(feature = "std")]
impl From<ExitStatus> for std::process::ExitStatus {
    fn from(status: ExitStatus) -> Self {
        std::os::unix::process::ExitStatusExt::from_raw(status.into_raw())
    }
}

#[cfg(feature = "std")]
impl From<std::process::ExitStatus> for ExitStatus {
    fn from(status: std::process::ExitStatus) -> Self {
        Self::from_raw(std::os::unix::process::ExitStatusExt::into_raw(status))
    }
}
