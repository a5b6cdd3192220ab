//! L1: what the kernel's headers say, as far as the crate uses it.
//!
//! Sizes are asserted at compile time. Where architectures differ the value is chosen here, and a
//! build with `c-shim` compares every line with the C headers of its target in a test.

use crate::fd::BorrowedFd;
use crate::flags::PollEvents;

const ARM: bool = cfg!(any(target_arch = "arm", target_arch = "aarch64", target_arch = "m68k"));
const MIPS: bool = cfg!(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "mips32r6",
    target_arch = "mips64r6"
));
const POWERPC: bool = cfg!(any(target_arch = "powerpc", target_arch = "powerpc64"));
const SPARC: bool = cfg!(any(target_arch = "sparc", target_arch = "sparc64"));

/// Picks the value of this architecture: MIPS, SPARC, PowerPC, ARM (with m68k), or all others.
const fn per_arch(mips: u32, sparc: u32, powerpc: u32, arm: u32, other: u32) -> u32 {
    match (MIPS, SPARC, POWERPC, ARM) {
        (true, _, _, _) => mips,
        (_, true, _, _) => sparc,
        (_, _, true, _) => powerpc,
        (_, _, _, true) => arm,
        _ => other,
    }
}

// fcntl.h
pub(crate) const O_NONBLOCK: u32 = per_arch(0x80, 0x4000, 0o4000, 0o4000, 0o4000);
pub(crate) const O_DIRECT: u32 = per_arch(0x8000, 0x10_0000, 0o400_000, 0o200_000, 0o40_000);
pub(crate) const O_CLOEXEC: u32 =
    per_arch(0o2_000_000, 0x40_0000, 0o2_000_000, 0o2_000_000, 0o2_000_000);
pub(crate) const FD_CLOEXEC: usize = 1;
pub(crate) const F_GETFD: usize = 1;
pub(crate) const F_SETFD: usize = 2;
pub(crate) const F_GETFL: usize = 3;
pub(crate) const F_SETFL: usize = 4;
pub(crate) const F_DUPFD_CLOEXEC: usize = 1030;
pub(crate) const F_SETPIPE_SZ: usize = 1031;
pub(crate) const F_GETPIPE_SZ: usize = 1032;
pub(crate) const SPLICE_F_MOVE: u32 = 1;
pub(crate) const SPLICE_F_NONBLOCK: u32 = 2;
pub(crate) const SPLICE_F_MORE: u32 = 4;

// limits.h, uio.h, and MAX_RW_COUNT of fs.h for a page of 4096 bytes: no call moves more at once.
pub(crate) const PIPE_BUF: usize = 4096;
pub(crate) const IOV_MAX: usize = 1024;
pub(crate) const MAX_RW_COUNT: usize = 0x7fff_f000;

// ioctls.h
pub(crate) const FIONREAD: usize =
    per_arch(0x467f, 0x4004_667f, 0x4004_667f, 0x541b, 0x541b) as usize;

// signal.h, wait.h, mman.h
pub(crate) const SIGABRT: usize = 6;
pub(crate) const WNOHANG: usize = 1;
pub(crate) const WEXITED: usize = 4;
pub(crate) const P_PID: usize = 1;
pub(crate) const CLD_EXITED: i32 = 1;
pub(crate) const CLD_DUMPED: i32 = 3;
pub(crate) const MADV_NORMAL: usize = 0;

/// For making `fork` of `clone`, which the assembly backends do: sched.h, signal.h, prctl.h.
#[cfg(any(not(feature = "c-shim"), test))]
pub(crate) mod clone {
    pub(crate) const CLONE_CHILD_CLEARTID: usize = 0x0020_0000;
    pub(crate) const CLONE_CHILD_SETTID: usize = 0x0100_0000;
    pub(crate) const PR_GET_TID_ADDRESS: usize = 40;
    pub(crate) const SIGCHLD: usize = super::per_arch(18, 20, 17, 17, 17) as usize;
}

// poll.h
pub(crate) const POLLIN: u16 = 0x001;
pub(crate) const POLLPRI: u16 = 0x002;
pub(crate) const POLLOUT: u16 = 0x004;
pub(crate) const POLLERR: u16 = 0x008;
pub(crate) const POLLHUP: u16 = 0x010;
pub(crate) const POLLNVAL: u16 = 0x020;
pub(crate) const POLLRDHUP: u16 = if SPARC { 0x800 } else { 0x2000 };

/// `struct pollfd`; its methods are in [`poll`](crate::poll).
///
/// One entry of the list given to [`poll`](crate::poll::poll): a descriptor, what to wait for, and
/// what was found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PollFd<'fd> {
    pub(crate) fd: BorrowedFd<'fd>,
    pub(crate) events: PollEvents,
    pub(crate) revents: PollEvents,
}
const _: () = assert!(size_of::<PollFd<'_>>() == 8);

/// `struct __kernel_timespec`, which has 64-bit members on every architecture.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i64,
}
const _: () = assert!(size_of::<Timespec>() == 16);

/// `siginfo_t`, as far as `waitid` fills it.
#[repr(C)]
pub(crate) struct SigInfo {
    pub(crate) si_signo: i32,
    /// `si_errno` and `si_code`; MIPS has them the other way round.
    errno_and_code: [i32; 2],
    /// The union behind starts where a pointer may start.
    #[cfg(target_pointer_width = "64")]
    _pad: i32,
    pub(crate) si_pid: i32,
    _si_uid: u32,
    pub(crate) si_status: i32,
    _rest: [i32; if cfg!(target_pointer_width = "64") { 25 } else { 26 }],
}
const _: () = assert!(size_of::<SigInfo>() == 128);

impl SigInfo {
    pub(crate) const fn empty() -> Self {
        Self {
            si_signo: 0,
            errno_and_code: [0; 2],
            #[cfg(target_pointer_width = "64")]
            _pad: 0,
            si_pid: 0,
            _si_uid: 0,
            si_status: 0,
            _rest: [0; if cfg!(target_pointer_width = "64") { 25 } else { 26 }],
        }
    }

    pub(crate) const fn si_code(&self) -> i32 {
        self.errno_and_code[if MIPS { 0 } else { 1 }]
    }
}

/// Name and value of every fact above, to be compared with the C headers.
#[cfg(all(test, feature = "c-shim"))]
pub(crate) fn facts() -> std::vec::Vec<(&'static str, usize)> {
    use core::mem::offset_of;
    let mut facts = std::vec![
        ("O_NONBLOCK", O_NONBLOCK as usize),
        ("O_DIRECT", O_DIRECT as usize),
        ("O_CLOEXEC", O_CLOEXEC as usize),
        ("FD_CLOEXEC", FD_CLOEXEC),
        ("F_GETFD", F_GETFD),
        ("F_SETFD", F_SETFD),
        ("F_GETFL", F_GETFL),
        ("F_SETFL", F_SETFL),
        ("F_DUPFD_CLOEXEC", F_DUPFD_CLOEXEC),
        ("F_SETPIPE_SZ", F_SETPIPE_SZ),
        ("F_GETPIPE_SZ", F_GETPIPE_SZ),
        ("SPLICE_F_MOVE", SPLICE_F_MOVE as usize),
        ("SPLICE_F_NONBLOCK", SPLICE_F_NONBLOCK as usize),
        ("SPLICE_F_MORE", SPLICE_F_MORE as usize),
        ("PIPE_BUF", PIPE_BUF),
        ("UIO_MAXIOV", IOV_MAX),
        ("FIONREAD", FIONREAD),
        ("SIGABRT", SIGABRT),
        ("SIGCHLD", clone::SIGCHLD),
        ("CLONE_CHILD_CLEARTID", clone::CLONE_CHILD_CLEARTID),
        ("CLONE_CHILD_SETTID", clone::CLONE_CHILD_SETTID),
        ("PR_GET_TID_ADDRESS", clone::PR_GET_TID_ADDRESS),
        ("WNOHANG", WNOHANG),
        ("WEXITED", WEXITED),
        ("P_PID", P_PID),
        ("CLD_EXITED", CLD_EXITED as usize),
        ("CLD_DUMPED", CLD_DUMPED as usize),
        ("MADV_NORMAL", MADV_NORMAL),
        ("POLLIN", POLLIN.into()),
        ("POLLPRI", POLLPRI.into()),
        ("POLLOUT", POLLOUT.into()),
        ("POLLERR", POLLERR.into()),
        ("POLLHUP", POLLHUP.into()),
        ("POLLNVAL", POLLNVAL.into()),
        ("POLLRDHUP", POLLRDHUP.into()),
        ("sizeof pollfd", size_of::<PollFd<'_>>()),
        ("offsetof pollfd.revents", offset_of!(PollFd<'_>, revents)),
        ("sizeof __kernel_timespec", size_of::<Timespec>()),
        ("sizeof siginfo_t", size_of::<SigInfo>()),
        ("offsetof siginfo_t.si_code", 4 * if MIPS { 1 } else { 2 }),
        ("offsetof siginfo_t.si_pid", offset_of!(SigInfo, si_pid)),
        ("offsetof siginfo_t.si_status", offset_of!(SigInfo, si_status)),
        ("sizeof iovec", size_of::<crate::iovec::IoSlice<'_>>()),
        ("sizeof int", size_of::<i32>()),
        ("sizeof long", size_of::<isize>()),
        ("sizeof void *", size_of::<usize>()),
    ];
    for &(name, errno) in crate::Errno::ALL {
        facts.push((name, usize::try_from(errno.raw_os_error()).unwrap()));
    }
    facts
}
