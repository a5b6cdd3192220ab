//! Limits on what a process may use.

use crate::sys::abi;

/// What an [`Rlimit`] is about.
///
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource(u32);

impl Resource {
    /// Address space, in bytes.
    pub const AS: Self = Self(abi::RLIMIT_AS);
    /// Core dumps, in bytes.
    pub const CORE: Self = Self(abi::RLIMIT_CORE);
    /// Processor time, in seconds.
    pub const CPU: Self = Self(abi::RLIMIT_CPU);
    /// Data of the program, in bytes.
    pub const DATA: Self = Self(abi::RLIMIT_DATA);
    /// Files that it writes, in bytes each.
    pub const FSIZE: Self = Self(abi::RLIMIT_FSIZE);
    /// Locks on files, in number.
    pub const LOCKS: Self = Self(abi::RLIMIT_LOCKS);
    /// Memory locked into RAM, in bytes.
    pub const MEMLOCK: Self = Self(abi::RLIMIT_MEMLOCK);
    /// Message queues of the user, in bytes.
    pub const MSGQUEUE: Self = Self(abi::RLIMIT_MSGQUEUE);
    /// 20 minus the lowest niceness.
    pub const NICE: Self = Self(abi::RLIMIT_NICE);
    /// Descriptors: one above the highest number.
    pub const NOFILE: Self = Self(abi::RLIMIT_NOFILE);
    /// Processes and threads of the user, in number.
    pub const NPROC: Self = Self(abi::RLIMIT_NPROC);
    /// Resident memory, in bytes. Linux does not look at it.
    pub const RSS: Self = Self(abi::RLIMIT_RSS);
    /// The highest real-time priority.
    pub const RTPRIO: Self = Self(abi::RLIMIT_RTPRIO);
    /// Processor time of a real-time process without a blocking call, in microseconds.
    pub const RTTIME: Self = Self(abi::RLIMIT_RTTIME);
    /// Signals queued by the user, in number.
    pub const SIGPENDING: Self = Self(abi::RLIMIT_SIGPENDING);
    /// The stack, in bytes.
    pub const STACK: Self = Self(abi::RLIMIT_STACK);

    /// The resource with this number, which a newer kernel may know.
    #[must_use]
    pub const fn from_raw(number: u32) -> Self {
        Self(number)
    }

    /// The kernel's number.
    #[must_use]
    pub const fn as_raw(self) -> u32 {
        self.0
    }
}

/// How much of a [`Resource`] a process may use, for [`Spawn::rlimits`](crate::process::Spawn::rlimits).
///
/// # Examples
///
/// ```
/// use rawpipe::process::Rlimit;
///
/// assert_eq!(Rlimit::new(64, 128), Rlimit { soft: 64, hard: 128 });
/// assert_eq!(Rlimit::both(0).hard, 0);
/// assert_eq!(Rlimit::INFINITE.soft, u64::MAX);
/// ```
///
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rlimit {
    /// What holds now.
    pub soft: u64,
    /// Up to where the process may raise it.
    pub hard: u64,
}

impl Rlimit {
    /// No limit.
    pub const INFINITE: Self = Self::both(u64::MAX);

    /// What holds, and up to where the process may raise it.
    #[must_use]
    pub const fn new(soft: u64, hard: u64) -> Self {
        Self { soft, hard }
    }

    /// The same for both.
    #[must_use]
    pub const fn both(limit: u64) -> Self {
        Self { soft: limit, hard: limit }
    }
}
