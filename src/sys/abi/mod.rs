//! Types and constants with the layout and the values of the kernel's headers. Only the types and constants
//! that the crate uses are defined.
//!
//! The sizes of most structures are asserted at compile time. If a value differs between architectures, this
//! module selects the value of the target. In builds with the shim, a test compares most values with the C
//! headers of the target.

#![cfg_attr(not(feature = "full"), allow(dead_code, reason = "some serve these features only"))]

pub(crate) mod arg;
#[cfg(all(test, rawpipe_shim))]
mod facts;
#[cfg(all(feature = "alloc", feature = "event"))]
pub(crate) mod fd_set;
pub(crate) mod flags;
pub(crate) mod iovec;
pub(crate) mod poll_fd;
#[cfg(feature = "process")]
pub(crate) mod process;
#[cfg(any(feature = "event", feature = "transfer"))]
pub(crate) mod signal_info;

#[cfg(all(test, rawpipe_shim))]
pub(crate) use facts::facts;
#[cfg(feature = "process")]
pub(crate) use process::*;

const ARM: bool = cfg!(any(target_arch = "arm", target_arch = "aarch64", target_arch = "m68k"));
pub(crate) const MIPS: bool = cfg!(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "mips32r6",
    target_arch = "mips64r6"
));
const POWERPC: bool = cfg!(any(target_arch = "powerpc", target_arch = "powerpc64"));
pub(crate) const SPARC: bool = cfg!(any(target_arch = "sparc", target_arch = "sparc64"));

/// Returns the argument for the target architecture. `arm` applies to arm, aarch64 and m68k, and `other` to
/// all architectures that the parameters do not name.
pub(crate) const fn per_arch(mips: u32, sparc: u32, powerpc: u32, arm: u32, other: u32) -> u32 {
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
pub(crate) const O_APPEND: u32 = per_arch(8, 8, 0o2000, 0o2000, 0o2000);
pub(crate) const O_CLOEXEC: u32 =
    per_arch(0o2_000_000, 0x40_0000, 0o2_000_000, 0o2_000_000, 0o2_000_000);
pub(crate) const O_PATH: u32 =
    per_arch(0o10_000_000, 0x100_0000, 0o10_000_000, 0o10_000_000, 0o10_000_000);
pub(crate) const O_WRONLY: u32 = 1;
pub(crate) const O_ACCMODE: usize = 3;
pub(crate) const O_RDONLY: usize = 0;
#[expect(clippy::cast_sign_loss, reason = "a register has bits")]
pub(crate) const AT_FDCWD: usize = -100_isize as usize;
pub(crate) const AT_EMPTY_PATH: u32 = 0x1000;
pub(crate) const FD_CLOEXEC: usize = 1;
pub(crate) const F_DUPFD: usize = 0;
pub(crate) const F_GETFD: usize = 1;
pub(crate) const F_SETFD: usize = 2;
pub(crate) const F_GETFL: usize = 3;
pub(crate) const F_SETFL: usize = 4;
pub(crate) const F_DUPFD_CLOEXEC: usize = 1030;
pub(crate) const F_SETPIPE_SZ: usize = 1031;
pub(crate) const F_GETPIPE_SZ: usize = 1032;
pub(crate) const SPLICE_F_NONBLOCK: u32 = 2;

// stat.h
pub(crate) const S_IFMT: u16 = 0o170_000;
pub(crate) const S_IFREG: u16 = 0o100_000;
pub(crate) const S_IFIFO: u16 = 0o010_000;
pub(crate) const S_IFCHR: u16 = 0o020_000;
pub(crate) const S_IFBLK: u16 = 0o060_000;
pub(crate) const S_IFSOCK: u16 = 0o140_000;
pub(crate) const STATX_TYPE: usize = 1;
pub(crate) const STATX_NLINK: usize = 4;
pub(crate) const STATX_INO: usize = 0x100;
pub(crate) const STATX_SIZE: usize = 0x200;

// unistd.h, socket.h
pub(crate) const SEEK_CUR: usize = 1;
pub(crate) const SOL_SOCKET: usize = per_arch(0xffff, 0xffff, 1, 1, 1) as usize;
pub(crate) const SO_TYPE: usize = per_arch(0x1008, 0x1008, 3, 3, 3) as usize;
pub(crate) const SOCK_STREAM: i32 = if MIPS { 2 } else { 1 };

// time.h
pub(crate) const CLOCK_MONOTONIC: usize = 1;

// limits.h, uio.h and fs.h. `MAX_RW_COUNT`, given here for pages of 4096 bytes, is the maximum number of
// bytes that one call moves.
pub(crate) const PIPE_BUF: usize = 4096;
pub(crate) const IOV_MAX: usize = 1024;
pub(crate) const MAX_RW_COUNT: usize = 0x7fff_f000;
pub(crate) const RWF_NOWAIT: usize = 8;
/// Available since Linux 6.18. Older headers lack this value, so no test compares it.
pub(crate) const RWF_NOSIGNAL: usize = 0x100;

// ioctls.h
pub(crate) const FIONREAD: usize =
    per_arch(0x467f, 0x4004_667f, 0x4004_667f, 0x541b, 0x541b) as usize;

// signal.h, wait.h, mman.h
pub(crate) const SIG_BLOCK: usize = per_arch(1, 1, 0, 0, 0) as usize;
pub(crate) const SIG_SETMASK: usize = per_arch(3, 4, 2, 2, 2) as usize;
pub(crate) const SIGCHLD: usize = per_arch(18, 20, 17, 17, 17) as usize;
pub(crate) const WNOHANG: usize = 1;
pub(crate) const WSTOPPED: usize = 2;
pub(crate) const WEXITED: usize = 4;
pub(crate) const WCONTINUED: usize = 8;
pub(crate) const WNOWAIT: usize = 0x0100_0000;
/// The options of a call that checks whether a child has ended. The call neither waits nor collects the
/// child's status.
pub(crate) const PEEK: usize = WEXITED | WNOHANG | WNOWAIT;
pub(crate) const P_PID: usize = 1;
pub(crate) const P_PIDFD: usize = 3;
pub(crate) const CLD_EXITED: i32 = 1;
pub(crate) const CLD_KILLED: i32 = 2;
pub(crate) const CLD_DUMPED: i32 = 3;
pub(crate) const CLD_CONTINUED: i32 = 6;
pub(crate) const MADV_NORMAL: usize = 0;

// Values for memory that the crate maps and for files that back that memory: mman.h, memfd.h, fcntl.h and
// resource.h.
pub(crate) const PROT_NONE: usize = 0;
pub(crate) const PROT_READ: usize = 1;
pub(crate) const PROT_WRITE: usize = 2;
pub(crate) const PROT_RW: usize = PROT_READ | PROT_WRITE;
pub(crate) const MAP_SHARED: usize = 1;
pub(crate) const MAP_PRIVATE: usize = 2;
pub(crate) const MAP_ANONYMOUS: usize = per_arch(0x800, 0x20, 0x20, 0x20, 0x20) as usize;
/// The flags of a private mapping of zeros.
pub(crate) const MAP_OWN: usize = MAP_PRIVATE | MAP_ANONYMOUS;
pub(crate) const MAP_POPULATE: usize = per_arch(0x10000, 0x8000, 0x8000, 0x8000, 0x8000) as usize;
pub(crate) const MADV_DONTNEED: usize = 4;
pub(crate) const MADV_HUGEPAGE: usize = 14;
pub(crate) const MADV_WIPEONFORK: usize = 18;
/// Advice that no kernel supports.
pub(crate) const NO_ADVICE: usize = 0x7fff_fff0;
pub(crate) const MFD_CLOEXEC: usize = 1;
pub(crate) const MFD_ALLOW_SEALING: usize = 2;
/// Available since Linux 6.3. Older headers lack this value, so no test compares it.
pub(crate) const MFD_NOEXEC_SEAL: usize = 8;
pub(crate) const F_ADD_SEALS: usize = 1033;
pub(crate) const F_GET_SEALS: usize = 1034;
pub(crate) const F_SEAL_SEAL: usize = 1;
pub(crate) const F_SEAL_SHRINK: usize = 2;
pub(crate) const F_SEAL_GROW: usize = 4;
/// Available since Linux 5.1.
pub(crate) const F_SEAL_FUTURE_WRITE: usize = 16;
pub(crate) const RLIMIT_FSIZE: u32 = 1;

// Values for the fork that the assembly backends make with `clone`: sched.h and prctl.h.
#[allow(dead_code, reason = "the shim leaves it to the C library")]
pub(crate) const CLONE_CHILD_CLEARTID: usize = 0x0020_0000;
#[allow(dead_code, reason = "the shim leaves it to the C library")]
pub(crate) const CLONE_CHILD_SETTID: usize = 0x0100_0000;
#[allow(dead_code, reason = "the shim leaves it to the C library")]
pub(crate) const PR_GET_TID_ADDRESS: usize = 40;

// Values for the creation of a child and for its setup: sched.h and resource.h.
pub(crate) const CLONE_VM: usize = 0x100;
pub(crate) const CLONE_PIDFD: usize = 0x1000;
pub(crate) const PRIO_PROCESS: usize = 0;

/// The kernel's `struct sigaction`, which differs between architectures. This array has enough words for
/// every architecture. On each architecture, all zeros mean `SIG_DFL`, no flags and an empty mask.
#[derive(Clone, Copy, Default)]
pub(crate) struct SigAction([usize; 8]);

impl SigAction {
    const HANDLER: usize = if MIPS { 1 } else { 0 };

    /// Returns whether the action is a handler, rather than `SIG_DFL` (0) or `SIG_IGN` (1).
    pub(crate) const fn is_handled(&self) -> bool {
        self.0[Self::HANDLER] > 1
    }
}

/// The crate keeps some of the 18 words of `struct rusage`. These are the indices of those words.
#[cfg(feature = "process")]
pub(crate) const RUSAGE_KEPT: [usize; 7] = [0, 1, 2, 3, 4, 8, 9];
/// Without feature `process`, no function returns the usage, so small programs contain no code that reads it.
#[cfg(not(feature = "process"))]
pub(crate) const RUSAGE_KEPT: [usize; 0] = [];

// Values from pidfd.h. Many headers lack these values, so no test compares them.
pub(crate) const PIDFD_SIGNAL_PROCESS_GROUP: usize = 4;
pub(crate) const PIDFD_GET_INFO: usize = 0xc040_ff0b;
pub(crate) const PIDFD_INFO_EXIT: u64 = 8;

/// The first version of `struct pidfd_info`, with names for the fields that the crate uses.
#[repr(C)]
#[derive(Default)]
pub(crate) struct PidfdInfo {
    pub(crate) mask: u64,
    pub(crate) _cgroup_and_ids: [u32; 4],
    pub(crate) parent: i32,
    pub(crate) _credentials: [u32; 8],
    pub(crate) exit_code: i32,
}
const _: () = assert!(size_of::<PidfdInfo>() == 64);

// poll.h. The other events are defined in `flags`.
pub(crate) const POLLRDHUP: u32 = if SPARC { 0x800 } else { 0x2000 };

// epoll.h. On every architecture, `EPOLLIN` to `EPOLLHUP` have the same values as `POLLIN` to `POLLHUP` in
// poll.h.
pub(crate) const EPOLL_CTL_ADD: usize = 1;
pub(crate) const EPOLL_CTL_DEL: usize = 2;
pub(crate) const EPOLL_CTL_MOD: usize = 3;
pub(crate) const EPOLLRDHUP: u32 = 0x2000;

/// A ready descriptor that [`Epoll::wait`](crate::event::Epoll::wait) has found: its events and its token.
#[cfg(feature = "event")]
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

/// One of the three standard streams of a process. The value of each variant is the number of the stream's
/// descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StdStream {
    /// Standard input, 0.
    Stdin = 0,
    /// Standard output, 1.
    Stdout = 1,
    /// Standard error, 2.
    Stderr = 2,
}

/// `struct __kernel_timespec`, which has 64-bit members on every architecture.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i64,
}
const _: () = assert!(size_of::<Timespec>() == 16);

/// The kernel's `sigset_t`, an array of pointer-sized words. On MIPS, the set holds twice as many signals as
/// on other architectures.
pub(crate) type SigSet = [usize; SIGSET_WORDS];
pub(crate) const SIGSET_WORDS: usize = (if MIPS { 128 } else { 64 }) / usize::BITS as usize;

/// The fields of `struct statx` that the crate reads.
#[repr(C)]
pub(crate) struct Statx {
    _before_nlink: [u32; 4],
    pub(crate) stx_nlink: u32,
    _ids: [u32; 2],
    pub(crate) stx_mode: u16,
    _pad: u16,
    pub(crate) stx_ino: u64,
    pub(crate) stx_size: u64,
    _before_rdev: [u64; 10],
    /// The major and minor numbers of the device that the file represents.
    pub(crate) stx_rdev: [u32; 2],
    /// The major and minor numbers of the device that contains the file.
    pub(crate) stx_dev: [u32; 2],
    _rest: [u64; 14],
}
const _: () = assert!(size_of::<Statx>() == 256);

/// The fields of `siginfo_t` that `waitid` fills. For a queued signal, `si_status` holds the value that was
/// queued with it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SigInfo {
    pub(crate) si_signo: i32,
    /// `si_errno` and `si_code`. On MIPS, the two fields are in reverse order.
    errno_and_code: [i32; 2],
    /// Padding: in the kernel's structure, the next member is a union with the alignment of a pointer.
    #[cfg(target_pointer_width = "64")]
    _pad: i32,
    pub(crate) si_pid: i32,
    pub(crate) si_uid: u32,
    pub(crate) si_status: i32,
    _rest: [i32; if cfg!(target_pointer_width = "64") { 25 } else { 26 }],
}
const _: () = assert!(size_of::<SigInfo>() == 128);

impl SigInfo {
    const CODE: usize = if MIPS { 0 } else { 1 };

    pub(crate) const fn empty() -> Self {
        Self {
            si_signo: 0,
            errno_and_code: [0; 2],
            #[cfg(target_pointer_width = "64")]
            _pad: 0,
            si_pid: 0,
            si_uid: 0,
            si_status: 0,
            _rest: [0; if cfg!(target_pointer_width = "64") { 25 } else { 26 }],
        }
    }

    pub(crate) const fn si_code(&self) -> i32 {
        self.errno_and_code[Self::CODE]
    }
}
