//! Lists, by name, the kernel's values and layouts on which the crate relies. A test compares these facts
//! with the C headers.

#[cfg(feature = "event")]
use super::flags::EventFdFlags;
use super::flags::{ExecFlags, PollEvents, SpliceFlags};
use super::iovec::IoSlice;
use super::poll_fd::PollFd;
#[cfg(feature = "event")]
use super::signal_info::{SI_QUEUE, SI_TKILL, SI_USER, SignalFdInfo};
use super::*;
#[cfg(feature = "process")]
use crate::process::Resource;

/// Returns the name and the value of each fact. Most of the values are defined in [`abi`](super).
pub(crate) fn facts() -> std::vec::Vec<(&'static str, usize)> {
    use core::mem::offset_of;
    let mut facts = std::vec![
        ("O_NONBLOCK", O_NONBLOCK as usize),
        ("O_DIRECT", O_DIRECT as usize),
        ("O_APPEND", O_APPEND as usize),
        ("O_PATH", O_PATH as usize),
        ("O_CLOEXEC", O_CLOEXEC as usize),
        ("FD_CLOEXEC", FD_CLOEXEC),
        ("F_DUPFD", F_DUPFD),
        ("F_GETFD", F_GETFD),
        ("F_SETFD", F_SETFD),
        ("F_GETFL", F_GETFL),
        ("F_SETFL", F_SETFL),
        ("F_DUPFD_CLOEXEC", F_DUPFD_CLOEXEC),
        ("F_SETPIPE_SZ", F_SETPIPE_SZ),
        ("F_GETPIPE_SZ", F_GETPIPE_SZ),
        ("O_ACCMODE", O_ACCMODE),
        ("O_RDONLY", O_RDONLY),
        ("F_ADD_SEALS", F_ADD_SEALS),
        ("F_GET_SEALS", F_GET_SEALS),
        ("F_SEAL_SEAL", F_SEAL_SEAL),
        ("F_SEAL_SHRINK", F_SEAL_SHRINK),
        ("F_SEAL_GROW", F_SEAL_GROW),
        ("MFD_CLOEXEC", MFD_CLOEXEC),
        ("MFD_ALLOW_SEALING", MFD_ALLOW_SEALING),
        ("PROT_READ", PROT_READ),
        ("PROT_WRITE", PROT_WRITE),
        ("MAP_SHARED", MAP_SHARED),
        ("MAP_PRIVATE", MAP_PRIVATE),
        ("MAP_ANONYMOUS", MAP_ANONYMOUS),
        ("MAP_POPULATE", MAP_POPULATE),
        ("MADV_DONTNEED", MADV_DONTNEED),
        ("MADV_HUGEPAGE", MADV_HUGEPAGE),
        ("MADV_WIPEONFORK", MADV_WIPEONFORK),
        ("SPLICE_F_MOVE", SpliceFlags::MOVE.bits() as usize),
        ("SPLICE_F_NONBLOCK", SPLICE_F_NONBLOCK as usize),
        ("SPLICE_F_MORE", SpliceFlags::MORE.bits() as usize),
        ("O_WRONLY", O_WRONLY as usize),
        ("AT_FDCWD", AT_FDCWD),
        ("AT_EMPTY_PATH", AT_EMPTY_PATH as usize),
        ("S_IFMT", S_IFMT.into()),
        ("S_IFREG", S_IFREG.into()),
        ("S_IFIFO", S_IFIFO.into()),
        ("S_IFCHR", S_IFCHR.into()),
        ("S_IFBLK", S_IFBLK.into()),
        ("S_IFSOCK", S_IFSOCK.into()),
        ("CLOCK_MONOTONIC", CLOCK_MONOTONIC),
        ("STATX_TYPE", STATX_TYPE),
        ("STATX_NLINK", STATX_NLINK),
        ("STATX_INO", STATX_INO),
        ("STATX_SIZE", STATX_SIZE),
        ("SEEK_CUR", SEEK_CUR),
        ("SOL_SOCKET", SOL_SOCKET),
        ("SO_TYPE", SO_TYPE),
        ("SOCK_STREAM", SOCK_STREAM as usize),
        ("sizeof statx", size_of::<Statx>()),
        ("offsetof statx.stx_nlink", offset_of!(Statx, stx_nlink)),
        ("offsetof statx.stx_mode", offset_of!(Statx, stx_mode)),
        ("offsetof statx.stx_ino", offset_of!(Statx, stx_ino)),
        ("offsetof statx.stx_size", offset_of!(Statx, stx_size)),
        ("offsetof statx.stx_rdev_major", offset_of!(Statx, stx_rdev)),
        ("offsetof statx.stx_dev_major", offset_of!(Statx, stx_dev)),
        ("SIG_BLOCK", SIG_BLOCK),
        ("SIG_SETMASK", SIG_SETMASK),
        ("sizeof kernel sigset_t", size_of::<SigSet>()),
        ("PIPE_BUF", PIPE_BUF),
        ("UIO_MAXIOV", IOV_MAX),
        ("RWF_NOWAIT", RWF_NOWAIT),
        ("FIONREAD", FIONREAD),
        ("CLONE_CHILD_CLEARTID", CLONE_CHILD_CLEARTID),
        ("CLONE_CHILD_SETTID", CLONE_CHILD_SETTID),
        ("PR_GET_TID_ADDRESS", PR_GET_TID_ADDRESS),
        ("CLONE_PIDFD", CLONE_PIDFD),
        ("CLONE_VM", CLONE_VM),
        ("PROT_NONE", PROT_NONE),
        ("AT_SYMLINK_NOFOLLOW", ExecFlags::SYMLINK_NOFOLLOW.bits() as usize),
        ("WNOHANG", WNOHANG),
        ("WSTOPPED", WSTOPPED),
        ("WEXITED", WEXITED),
        ("WCONTINUED", WCONTINUED),
        ("WNOWAIT", WNOWAIT),
        ("P_PID", P_PID),
        ("P_PIDFD", P_PIDFD),
        ("CLD_EXITED", CLD_EXITED as usize),
        ("CLD_KILLED", CLD_KILLED as usize),
        ("CLD_DUMPED", CLD_DUMPED as usize),
        ("CLD_CONTINUED", CLD_CONTINUED as usize),
        ("MADV_NORMAL", MADV_NORMAL),
        ("POLLIN", PollEvents::IN.bits() as usize),
        ("POLLPRI", PollEvents::PRI.bits() as usize),
        ("POLLOUT", PollEvents::OUT.bits() as usize),
        ("POLLERR", PollEvents::ERR.bits() as usize),
        ("POLLHUP", PollEvents::HUP.bits() as usize),
        ("POLLNVAL", PollEvents::NVAL.bits() as usize),
        ("POLLRDHUP", POLLRDHUP as usize),
        ("EPOLL_CTL_ADD", EPOLL_CTL_ADD),
        ("EPOLL_CTL_DEL", EPOLL_CTL_DEL),
        ("EPOLL_CTL_MOD", EPOLL_CTL_MOD),
        ("EPOLL_CLOEXEC", O_CLOEXEC as usize),
        ("EPOLLIN", PollEvents::IN.bits() as usize),
        ("EPOLLPRI", PollEvents::PRI.bits() as usize),
        ("EPOLLOUT", PollEvents::OUT.bits() as usize),
        ("EPOLLERR", PollEvents::ERR.bits() as usize),
        ("EPOLLHUP", PollEvents::HUP.bits() as usize),
        ("EPOLLRDHUP", EPOLLRDHUP as usize),
        ("EPOLLEXCLUSIVE", PollEvents::EXCLUSIVE.bits() as usize),
        ("EPOLLONESHOT", PollEvents::ONESHOT.bits() as usize),
        ("EPOLLET", PollEvents::ET.bits() as usize),
        #[cfg(feature = "event")]
        ("sizeof epoll_event", size_of::<Event>()),
        #[cfg(feature = "event")]
        ("offsetof epoll_event.data", offset_of!(Event, data)),
        ("EFD_CLOEXEC", O_CLOEXEC as usize),
        ("EFD_NONBLOCK", O_NONBLOCK as usize),
        #[cfg(feature = "event")]
        ("EFD_SEMAPHORE", EventFdFlags::SEMAPHORE.bits() as usize),
        ("sizeof pollfd", size_of::<PollFd<'_>>()),
        ("offsetof pollfd.revents", offset_of!(PollFd<'_>, revents)),
        ("sizeof __kernel_timespec", size_of::<Timespec>()),
        ("sizeof siginfo_t", size_of::<SigInfo>()),
        ("offsetof siginfo_t.si_code", 4 * if MIPS { 1 } else { 2 }),
        ("offsetof siginfo_t.si_pid", offset_of!(SigInfo, si_pid)),
        ("offsetof siginfo_t.si_uid", offset_of!(SigInfo, si_uid)),
        ("offsetof siginfo_t.si_status", offset_of!(SigInfo, si_status)),
        ("SFD_CLOEXEC", O_CLOEXEC as usize),
        ("SFD_NONBLOCK", O_NONBLOCK as usize),
        ("sizeof iovec", size_of::<IoSlice<'_>>()),
        ("sizeof int", size_of::<i32>()),
        ("sizeof long", size_of::<isize>()),
        ("sizeof void *", size_of::<usize>()),
    ];
    #[cfg(feature = "event")]
    facts.extend([
        ("SI_USER", SI_USER as usize),
        ("SI_TKILL", 0_usize.wrapping_add_signed(SI_TKILL as isize)),
        ("SI_QUEUE", 0_usize.wrapping_add_signed(SI_QUEUE as isize)),
        ("sizeof signalfd_siginfo", size_of::<SignalFdInfo>()),
        ("offsetof signalfd_siginfo.ssi_code", offset_of!(SignalFdInfo, ssi_code)),
        ("offsetof signalfd_siginfo.ssi_pid", offset_of!(SignalFdInfo, ssi_pid)),
        ("offsetof signalfd_siginfo.ssi_uid", offset_of!(SignalFdInfo, ssi_uid)),
        ("offsetof signalfd_siginfo.ssi_status", offset_of!(SignalFdInfo, ssi_status)),
    ]);
    #[cfg(feature = "process")]
    facts.extend([
        ("TIOCSCTTY", TIOCSCTTY),
        ("TIOCSPGRP", TIOCSPGRP),
        ("CLONE_SIGHAND", CLONE_SIGHAND),
        ("CLONE_THREAD", CLONE_THREAD),
        ("CLONE_VFORK", CLONE_VFORK),
        ("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG),
        ("PR_SET_DUMPABLE", PR_SET_DUMPABLE),
        ("PR_SET_CHILD_SUBREAPER", PR_SET_CHILD_SUBREAPER),
        ("P_ALL", P_ALL),
        ("PR_GET_PDEATHSIG", PR_GET_PDEATHSIG),
    ]);
    #[cfg(feature = "process")]
    for (name, resource) in [
        ("RLIMIT_CPU", Resource::CPU),
        ("RLIMIT_FSIZE", Resource::FSIZE),
        ("RLIMIT_DATA", Resource::DATA),
        ("RLIMIT_STACK", Resource::STACK),
        ("RLIMIT_CORE", Resource::CORE),
        ("RLIMIT_RSS", Resource::RSS),
        ("RLIMIT_NPROC", Resource::NPROC),
        ("RLIMIT_NOFILE", Resource::NOFILE),
        ("RLIMIT_MEMLOCK", Resource::MEMLOCK),
        ("RLIMIT_AS", Resource::AS),
        ("RLIMIT_LOCKS", Resource::LOCKS),
        ("RLIMIT_SIGPENDING", Resource::SIGPENDING),
        ("RLIMIT_MSGQUEUE", Resource::MSGQUEUE),
        ("RLIMIT_NICE", Resource::NICE),
        ("RLIMIT_RTPRIO", Resource::RTPRIO),
        ("RLIMIT_RTTIME", Resource::RTTIME),
    ] {
        facts.push((name, resource.as_raw() as usize));
    }
    for &(name, signal) in crate::signal::ALL {
        facts.push((name, signal.as_raw().unsigned_abs() as usize));
    }
    for &errno in crate::Errno::CODES {
        facts.push((errno.name().unwrap(), usize::try_from(errno.raw_os_error()).unwrap()));
    }
    facts
}
