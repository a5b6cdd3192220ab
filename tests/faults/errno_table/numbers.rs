//! Checks system calls that are made by number. `raw` passes these calls to the kernel unchanged. The rows
//! cover errors of calls that the crate uses internally, offers in another form, or does not offer at all.
//! For most rows, the reference is the C library's `syscall`, which accepts the same arguments.

use super::{Answer, Ends, answer, in_child, libc, row};
use crate::common::nr;
use crate::common::{self, closed_fd, skip};
use rawpipe::Errno;
use rawpipe::fd::AsRawFd;
use rawpipe::raw::syscall6;
use std::collections::BTreeMap;

/// Makes a call with `raw` and returns the decoded result.
fn ours(number: usize, a: [usize; 6]) -> Answer {
    // SAFETY: with the arguments in the table below, the call either fails before it accesses memory, or
    // accesses only memory of this test.
    let answer = unsafe { syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    usize::try_from(answer)
        .map_err(|_| Errno::from_raw_os_error(i32::try_from(-answer).unwrap()).expect("an errno"))
}

fn theirs(number: usize, a: [usize; 6]) -> Answer {
    let signed = |word: usize| isize::from_ne_bytes(word.to_ne_bytes());
    let [a, b, c, d, e, f] = a.map(signed);
    // SAFETY: as above.
    answer(unsafe { libc::syscall(signed(number), a, b, c, d, e, f) })
}

/// Returns `-number` as the value of a register.
fn minus(number: usize) -> usize {
    number.wrapping_neg()
}

pub(crate) fn calls_by_number() {
    if let Some(who) = common::in_front() {
        return skip("calls_by_number", &format!("{who} has answers of its own"));
    }
    /// An address at which no memory is mapped.
    const BAD_ADDRESS: usize = 8;
    /// An id that no process has, because the largest process id is 2²².
    const NO_PROCESS: usize = (1 << 22) + 1;
    const P_PID: usize = 1;
    const P_PIDFD: usize = 3;
    const WEXITED: usize = 4;
    const RWF_UNKNOWN: usize = 1 << 30;

    let ends = Ends::new();
    let fd = |fd: &dyn AsRawFd| usize::try_from(fd.as_raw_fd()).unwrap();
    let closed = fd(&closed_fd());
    let (null, reader, writer) = (fd(&ends.null), fd(&ends.filled), fd(&ends.writer));
    let own = std::process::id() as usize;
    let mut room = [0_usize; 64];
    let place = room.as_mut_ptr().expose_provenance();
    let name = c"name".as_ptr().expose_provenance();
    let vector = [std::io::IoSlice::new(b"x")];
    let vector = vector.as_ptr().expose_provenance();
    let no_time = [0_u64, 1_000_000_000]; // a `timespec` with too many nanoseconds
    let no_time = no_time.as_ptr().expose_provenance();
    let at_here = minus(100);

    // Some kernels check the address of the event list only if an event is pending.
    let epoll = rawpipe::event::Epoll::new().unwrap();
    epoll.add(&ends.filled, rawpipe::event::PollEvents::IN, 0).unwrap();
    let epoll = usize::try_from(rawpipe::fd::AsFd::as_fd(&epoll).as_raw_fd()).unwrap();
    use Errno as E;
    type Line = (&'static str, usize, &'static str, [usize; 6], Errno);
    let line = |call, number, what, arguments: &[usize], errno| -> Line {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        (call, number, what, all, errno)
    };
    let table = [
        line("CHDIR", nr::CHDIR, "no such folder", &[name], E::ENOENT),
        line("CHDIR", nr::CHDIR, "bad address", &[BAD_ADDRESS], E::EFAULT),
        line("CLOCK_GETTIME", nr::CLOCK_GETTIME, "no such clock", &[12_345, place], E::EINVAL),
        line("CLONE3", nr::CLONE3, "too small", &[place, 8], E::EINVAL),
        line("CLONE3", nr::CLONE3, "larger than a page", &[place, 1 << 20], E::E2BIG),
        line("CLONE3", nr::CLONE3, "bad address", &[BAD_ADDRESS, 64], E::EFAULT),
        line("CLOSE", nr::CLOSE, "closed", &[closed], E::EBADF),
        line("CLOSE", nr::CLOSE, "negative", &[minus(1)], E::EBADF),
        line("CLOSE_RANGE", nr::CLOSE_RANGE, "first above last", &[9000, 8000], E::EINVAL),
        line("CLOSE_RANGE", nr::CLOSE_RANGE, "unknown flag", &[9000, 9001, 1 << 9], E::EINVAL),
        line("COPY_FILE_RANGE", nr::COPY_FILE_RANGE, "flags", &[null, 0, null, 0, 1, 1], E::EINVAL),
        line("DUP", nr::DUP, "negative", &[minus(1)], E::EBADF),
        line("DUP3", nr::DUP3, "onto itself", &[null, null], E::EINVAL),
        line("DUP3", nr::DUP3, "unknown flag", &[null, writer, 1], E::EINVAL),
        line("DUP3", nr::DUP3, "onto more than there may be", &[null, closed], E::EBADF),
        line("DUP3", nr::DUP3, "onto a negative one", &[null, minus(1)], E::EBADF),
        line("EPOLL_CREATE1", nr::EPOLL_CREATE1, "unknown flag", &[1], E::EINVAL),
        line(
            "EPOLL_CTL",
            nr::EPOLL_CTL,
            "unknown operation",
            &[epoll, 9, reader, place],
            E::EINVAL,
        ),
        line(
            "EPOLL_CTL",
            nr::EPOLL_CTL,
            "bad address",
            &[epoll, 1, reader, BAD_ADDRESS],
            E::EFAULT,
        ),
        line("EPOLL_CTL", nr::EPOLL_CTL, "of no epoll", &[reader, 1, writer, place], E::EINVAL),
        line("EPOLL_PWAIT", nr::EPOLL_PWAIT, "closed", &[closed, place, 1], E::EBADF),
        line("EPOLL_PWAIT", nr::EPOLL_PWAIT, "of no epoll", &[reader, place, 1], E::EINVAL),
        line("EPOLL_PWAIT", nr::EPOLL_PWAIT, "negative room", &[epoll, place, minus(1)], E::EINVAL),
        line("EPOLL_PWAIT", nr::EPOLL_PWAIT, "bad address", &[epoll, minus(4096), 1], E::EFAULT),
        line("EPOLL_PWAIT2", nr::EPOLL_PWAIT2, "no time", &[epoll, place, 1, no_time], E::EINVAL),
        line("EPOLL_PWAIT2", nr::EPOLL_PWAIT2, "no room", &[epoll, place, 0, 0], E::EINVAL),
        line("EVENTFD2", nr::EVENTFD2, "unknown flag", &[0, 1 << 20], E::EINVAL),
        line("EXECVE", nr::EXECVE, "bad address", &[BAD_ADDRESS, 0, 0], E::EFAULT),
        line("EXECVEAT", nr::EXECVEAT, "unknown flag", &[at_here, name, 0, 0, 1 << 20], E::EINVAL),
        line("FCNTL", nr::FCNTL, "unknown operation", &[null, 9999], E::EINVAL),
        line("FCNTL", nr::FCNTL, "number too large", &[null, 1030, 1 << 30], E::EINVAL),
        line("FCNTL", nr::FCNTL, "number negative", &[null, 0, minus(1)], E::EINVAL),
        line("FCNTL", nr::FCNTL, "seals of a device", &[null, 1033, 1], E::EINVAL),
        line("FTRUNCATE", nr::FTRUNCATE, "a pipe", &[reader, 0], E::EINVAL),
        line("FTRUNCATE", nr::FTRUNCATE, "closed", &[closed, 0], E::EBADF),
        line("GETPRIORITY", nr::GETPRIORITY, "of no kind", &[9, 0], E::EINVAL),
        line("GETPRIORITY", nr::GETPRIORITY, "no process", &[0, NO_PROCESS], E::ESRCH),
        line("GETSOCKOPT", nr::GETSOCKOPT, "closed", &[closed, 1, 3, place, place], E::EBADF),
        line("GETSOCKOPT", nr::GETSOCKOPT, "a pipe", &[reader, 1, 3, place, place], E::ENOTSOCK),
        line("IOCTL", nr::IOCTL, "unknown", &[reader, 0x1234], E::ENOTTY),
        line("KILL", nr::KILL, "no signal", &[own, 65], E::EINVAL),
        line("KILL", nr::KILL, "negative signal", &[own, minus(1)], E::EINVAL),
        line("KILL", nr::KILL, "no process", &[NO_PROCESS, 0], E::ESRCH),
        line("KILL", nr::KILL, "no group", &[minus(NO_PROCESS), 0], E::ESRCH),
        line("KILL", nr::KILL, "least number", &[1 << 31, 0], E::ESRCH),
        line("LSEEK", nr::LSEEK, "a pipe", &[reader, 0, 1], E::ESPIPE),
        line("LSEEK", nr::LSEEK, "no such origin", &[null, 0, 99], E::EINVAL),
        line("MADVISE", nr::MADVISE, "amid a page", &[BAD_ADDRESS, 1, 4], E::EINVAL),
        line("MADVISE", nr::MADVISE, "no advice", &[0, 4096, 0x7fff_fff0], E::EINVAL),
        line("MADVISE", nr::MADVISE, "not mapped", &[0, 4096, 4], E::ENOMEM),
        line("MEMFD_CREATE", nr::MEMFD_CREATE, "unknown flag", &[name, 1 << 20], E::EINVAL),
        line("MEMFD_CREATE", nr::MEMFD_CREATE, "bad address", &[BAD_ADDRESS, 0], E::EFAULT),
        line("MMAP", nr::MMAP, "no length", &[0, 0, 3, 0x22, minus(1), 0], E::EINVAL),
        line("MMAP", nr::MMAP, "closed", &[0, 4096, 1, 2, closed, 0], E::EBADF),
        line("MPROTECT", nr::MPROTECT, "amid a page", &[BAD_ADDRESS, 1, 0], E::EINVAL),
        line("MPROTECT", nr::MPROTECT, "not mapped", &[0, 4096, 0], E::ENOMEM),
        line("MUNMAP", nr::MUNMAP, "amid a page", &[BAD_ADDRESS, 4096], E::EINVAL),
        line("OPENAT", nr::OPENAT, "no such file", &[at_here, name, 0], E::ENOENT),
        line("OPENAT", nr::OPENAT, "closed folder", &[closed, name, 0], E::EBADF),
        line("PIDFD_OPEN", nr::PIDFD_OPEN, "no process", &[NO_PROCESS, 0], E::ESRCH),
        line("PIDFD_OPEN", nr::PIDFD_OPEN, "negative", &[minus(1), 0], E::EINVAL),
        line("PIDFD_OPEN", nr::PIDFD_OPEN, "unknown flag", &[own, 1 << 20], E::EINVAL),
        line("PIDFD_SEND_SIGNAL", nr::PIDFD_SEND_SIGNAL, "no pidfd", &[reader, 0], E::EBADF),
        line("PIDFD_SEND_SIGNAL", nr::PIDFD_SEND_SIGNAL, "closed", &[closed, 0], E::EBADF),
        line(
            "PIDFD_SEND_SIGNAL",
            nr::PIDFD_SEND_SIGNAL,
            "flag",
            &[reader, 0, 0, 1 << 20],
            E::EINVAL,
        ),
        line("PIPE2", nr::PIPE2, "bad address", &[BAD_ADDRESS, 0], E::EFAULT),
        line("PIPE2", nr::PIPE2, "unknown flag", &[place, 1], E::EINVAL),
        line("PPOLL", nr::PPOLL, "no time", &[0, 0, no_time, 0, 8], E::EINVAL),
        line("PPOLL", nr::PPOLL, "bad address", &[BAD_ADDRESS, 1, 0, 0, 8], E::EFAULT),
        line("PRCTL", nr::PRCTL, "unknown", &[0x1234_5678, 0], E::EINVAL),
        line("PRCTL", nr::PRCTL, "no such signal", &[1, 1000], E::EINVAL),
        line("PREADV2", nr::PREADV2, "place in a pipe", &[reader, vector, 1, 0, 0, 0], E::ESPIPE),
        line(
            "PREADV2",
            nr::PREADV2,
            "unknown flag",
            &[reader, vector, 1, minus(1), minus(1), RWF_UNKNOWN],
            E::EOPNOTSUPP,
        ),
        line("PRLIMIT64", nr::PRLIMIT64, "no such limit", &[0, 999, 0, place], E::EINVAL),
        line("PRLIMIT64", nr::PRLIMIT64, "no process", &[NO_PROCESS, 0, 0, place], E::ESRCH),
        line("PSELECT6", nr::PSELECT6, "negative", &[minus(1), 0, 0, 0, 0, 0], E::EINVAL),
        line("PSELECT6", nr::PSELECT6, "no time", &[0, 0, 0, 0, no_time, 0], E::EINVAL),
        line("PSELECT6", nr::PSELECT6, "bad address", &[1, BAD_ADDRESS, 0, 0, 0, 0], E::EFAULT),
        line("PWRITEV2", nr::PWRITEV2, "place in a pipe", &[writer, vector, 1, 0, 0, 0], E::ESPIPE),
        line(
            "PWRITEV2",
            nr::PWRITEV2,
            "unknown flag",
            &[writer, vector, 1, minus(1), minus(1), RWF_UNKNOWN],
            E::EOPNOTSUPP,
        ),
        line("READ", nr::READ, "bad address", &[reader, BAD_ADDRESS, 1], E::EFAULT),
        line("READV", nr::READV, "bad list", &[reader, BAD_ADDRESS, 1], E::EFAULT),
        line("READV", nr::READV, "too many", &[reader, vector, 1025], E::EINVAL),
        line("RT_SIGACTION", nr::RT_SIGACTION, "no signal", &[65, 0, place, 8, 8], E::EINVAL),
        line("RT_SIGPENDING", nr::RT_SIGPENDING, "set too long", &[place, 64], E::EINVAL),
        line("RT_SIGPROCMASK", nr::RT_SIGPROCMASK, "not how", &[99, place, 0, 8], E::EINVAL),
        line("RT_SIGTIMEDWAIT", nr::RT_SIGTIMEDWAIT, "no time", &[place, 0, no_time, 8], E::EINVAL),
        line("RT_TGSIGQUEUEINFO", nr::RT_TGSIGQUEUEINFO, "no thread", &[0, 0, 0, place], E::EINVAL),
        line("SCHED_GETAFFINITY", nr::SCHED_GETAFFINITY, "no room", &[0, 0, place], E::EINVAL),
        line("SETPGID", nr::SETPGID, "negative", &[0, minus(1)], E::EINVAL),
        line("SETPGID", nr::SETPGID, "no child", &[NO_PROCESS, 0], E::ESRCH),
        line("SETPGID", nr::SETPGID, "no such group", &[0, NO_PROCESS], E::EPERM),
        line("SETPRIORITY", nr::SETPRIORITY, "of no kind", &[9, 0, 0], E::EINVAL),
        line("STATX", nr::STATX, "closed", &[closed, place, 0x1000, 1, place], E::EBADF),
        line("STATX", nr::STATX, "no such file", &[at_here, name, 0, 1, place], E::ENOENT),
        line("TGKILL", nr::TGKILL, "no thread", &[NO_PROCESS, NO_PROCESS, 0], E::ESRCH),
        line("UNSHARE", nr::UNSHARE, "unknown flag", &[1], E::EINVAL),
        line("VMSPLICE", nr::VMSPLICE, "bad list", &[writer, BAD_ADDRESS, 1], E::EFAULT),
        line("WAITID", nr::WAITID, "no child", &[P_PID, NO_PROCESS, place, WEXITED], E::ECHILD),
        line("WAITID", nr::WAITID, "not a child", &[P_PID, own, place, WEXITED], E::ECHILD),
        line("WAITID", nr::WAITID, "none at all", &[0, 0, place, WEXITED], E::ECHILD),
        line("WAITID", nr::WAITID, "for nothing", &[0, 0, place, 0], E::EINVAL),
        line("WAITID", nr::WAITID, "unknown option", &[0, 0, place, 1 << 20], E::EINVAL),
        line("WAITID", nr::WAITID, "of no kind", &[99, 0, place, WEXITED], E::EINVAL),
        line("WAITID", nr::WAITID, "no pidfd", &[P_PIDFD, reader, place, WEXITED], E::EBADF),
        line("WRITE", nr::WRITE, "bad address", &[writer, BAD_ADDRESS, 1], E::EFAULT),
        line("WRITEV", nr::WRITEV, "bad list", &[writer, BAD_ADDRESS, 1], E::EFAULT),
    ];
    let mut absent = BTreeMap::new();
    for (call, number, what, arguments, wanted) in table {
        // The shim makes these calls by name, because their arguments differ between architectures.
        let by_name = matches!(call, "MMAP" | "FTRUNCATE");
        if by_name && cfg!(any(target_pointer_width = "32", target_arch = "s390x")) {
            continue;
        }
        let (ours, theirs) = (ours(number, arguments), theirs(number, arguments));
        // The kernel lacks the call, or a filter rejects it.
        if theirs == Err(Errno::ENOSYS) {
            assert_eq!(ours, theirs, "{call}, {what}");
            absent.insert(call, theirs);
            continue;
        }
        row(&format!("raw::{call}"), what, Err(wanted), ours, theirs);
    }
    for call in absent.keys() {
        skip("calls_by_number", &format!("no {call} here"));
    }
    let [a, b] = in_child(|| {
        libc::setpgid(0, 0);
        [ours(nr::SETSID, [0; 6]), answer(libc::setsid() as isize)]
    });
    row("raw::SETSID", "leader of a group", Err(Errno::EPERM), a, b);
    let [a, b] = in_child(|| {
        if !super::become_ordinary_user() {
            return [Ok(0); 2];
        }
        let init = [1, 0, 0, 0, 0, 0];
        [ours(nr::KILL, init), answer(libc::kill(1, 0) as isize)]
    });
    if a == Ok(0) {
        skip("calls_by_number", "process 1 takes signals of anybody");
    } else {
        row("raw::KILL", "another user's process", Err(Errno::EPERM), a, b);
    }
}
