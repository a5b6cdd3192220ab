//! Defines limits on the resources that a process may use.

use crate::sys::abi::{self, per_arch};

/// A resource whose use can be limited with an [`Rlimit`].
///
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource(u32);

impl Resource {
    /// The size of the address space, in bytes.
    pub const AS: Self = Self(per_arch(6, 9, 9, 9, 9));
    /// The size of a core dump, in bytes.
    pub const CORE: Self = Self(4);
    /// The amount of processor time, in seconds.
    pub const CPU: Self = Self(0);
    /// The size of the program's data segment, in bytes.
    pub const DATA: Self = Self(2);
    /// The size of each file that the process writes, in bytes.
    pub const FSIZE: Self = Self(abi::RLIMIT_FSIZE);
    /// The number of file locks.
    pub const LOCKS: Self = Self(10);
    /// The amount of memory locked into RAM, in bytes.
    pub const MEMLOCK: Self = Self(per_arch(9, 8, 8, 8, 8));
    /// The size of the user's message queues, in bytes.
    pub const MSGQUEUE: Self = Self(12);
    /// The value 20 minus the lowest niceness that the process may set.
    pub const NICE: Self = Self(13);
    /// The highest number that a descriptor may have, plus one.
    pub const NOFILE: Self = Self(per_arch(5, 6, 7, 7, 7));
    /// The number of the user's processes and threads.
    pub const NPROC: Self = Self(per_arch(8, 7, 6, 6, 6));
    /// The amount of resident memory, in bytes. Linux ignores this limit.
    pub const RSS: Self = Self(per_arch(7, 5, 5, 5, 5));
    /// The highest real-time priority.
    pub const RTPRIO: Self = Self(14);
    /// The processor time, in microseconds, that a real-time process may use before it makes a blocking call.
    pub const RTTIME: Self = Self(15);
    /// The number of signals queued for the user's processes.
    pub const SIGPENDING: Self = Self(11);
    /// The size of the stack, in bytes.
    pub const STACK: Self = Self(3);

    /// Returns the resource with this number. The kernel does not necessarily support this resource.
    #[must_use]
    pub const fn from_raw(number: u32) -> Self {
        Self(number)
    }

    /// Returns the kernel's number for this resource.
    #[must_use]
    pub const fn as_raw(self) -> u32 {
        self.0
    }
}

/// A limit on the amount of a [`Resource`] that a process may use.
/// [`Spawn::rlimits`](crate::process::Spawn::rlimits) accepts such limits.
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
    /// The limit that the kernel enforces.
    pub soft: u64,
    /// The highest value to which the process may raise the soft limit.
    pub hard: u64,
}

impl Rlimit {
    /// No limit.
    pub const INFINITE: Self = Self::both(u64::MAX);

    /// Creates a limit from a soft and a hard value.
    #[must_use]
    pub const fn new(soft: u64, hard: u64) -> Self {
        Self { soft, hard }
    }

    /// Creates a limit whose soft and hard values are equal.
    #[must_use]
    pub const fn both(limit: u64) -> Self {
        Self { soft: limit, hard: limit }
    }
}
