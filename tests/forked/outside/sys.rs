//! Provides functions of the C library that std lacks. They handle processes, all kinds of descriptors, and
//! the settings of sockets and terminals.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const SIGKILL: c_int = 9;
pub(crate) const POLLIN: i16 = 1;
pub(crate) const POLLOUT: i16 = 4;
pub(crate) const POLLERR: i16 = 8;
pub(crate) const POLLHUP: i16 = 16;

pub(crate) const EIO: i32 = 5;
pub(crate) const EISDIR: i32 = 21;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EPIPE: i32 = 32;
pub(crate) const ECONNRESET: i32 = 104; // generic; MIPS and SPARC differ
pub(crate) const ETIMEDOUT: i32 = 110; // generic; MIPS and SPARC differ

/// `struct pollfd`.
#[repr(C)]
pub(crate) struct PollFd {
    pub(crate) fd: RawFd,
    pub(crate) events: i16,
    pub(crate) revents: i16,
}

mod c {
    use super::{PollFd, c_char, c_int, c_long, c_ulong, c_void};

    unsafe extern "C" {
        pub(super) safe fn fork() -> c_int;
        pub(super) safe fn _exit(code: c_int) -> !;
        pub(super) safe fn kill(pid: c_int, signal: c_int) -> c_int;
        pub(super) safe fn setpgid(pid: c_int, group: c_int) -> c_int;
        pub(super) safe fn signal(signal: c_int, handler: usize) -> usize;
        pub(super) safe fn close(fd: c_int) -> c_int;
        pub(super) safe fn shutdown(fd: c_int, how: c_int) -> c_int;
        pub(super) safe fn eventfd(value: u32, flags: c_int) -> c_int;
        pub(super) safe fn timerfd_create(clock: c_int, flags: c_int) -> c_int;
        pub(super) safe fn inotify_init1(flags: c_int) -> c_int;
        pub(super) safe fn epoll_create1(flags: c_int) -> c_int;
        pub(super) safe fn posix_openpt(flags: c_int) -> c_int;
        pub(super) safe fn grantpt(fd: c_int) -> c_int;
        pub(super) safe fn unlockpt(fd: c_int) -> c_int;
        pub(super) fn prctl(operation: c_int, ...) -> c_int;
        pub(super) fn fcntl(fd: c_int, operation: c_int, ...) -> c_int;
        pub(super) fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
        pub(super) fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
        pub(super) fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
        pub(super) fn socketpair(domain: c_int, kind: c_int, of: c_int, fds: *mut c_int) -> c_int;
        pub(super) fn send(fd: c_int, bytes: *const c_void, len: usize, flags: c_int) -> isize;
        pub(super) fn setsockopt(
            fd: c_int,
            level: c_int,
            name: c_int,
            value: *const c_void,
            len: u32,
        ) -> c_int;
        pub(super) fn timerfd_settime(
            fd: c_int,
            flags: c_int,
            new: *const [c_long; 4],
            old: *mut c_void,
        ) -> c_int;
        pub(super) fn inotify_add_watch(fd: c_int, path: *const c_char, mask: u32) -> c_int;
        pub(super) fn memfd_create(name: *const c_char, flags: u32) -> c_int;
        pub(super) fn mkfifo(path: *const c_char, mode: u32) -> c_int;
        pub(super) fn ptsname_r(fd: c_int, name: *mut c_char, len: usize) -> c_int;
        pub(super) fn tcgetattr(fd: c_int, settings: *mut u32) -> c_int;
        pub(super) fn tcsetattr(fd: c_int, when: c_int, settings: *const u32) -> c_int;
        pub(super) fn cfmakeraw(settings: *mut u32);
        pub(super) fn setrlimit(resource: c_int, limit: *const [c_ulong; 2]) -> c_int;
        pub(super) fn clock_gettime(clock: c_int, time: *mut [c_long; 2]) -> c_int;
    }
}

/// Converts the return value of a call to a `Result`. The value is -1 if the call fails.
fn check(answer: c_int) -> io::Result<c_int> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn owned(answer: c_int) -> io::Result<OwnedFd> {
    let fd = check(answer)?;
    // SAFETY: a call has just created the descriptor `fd`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// ---- processes ----

/// Forks a child that keeps only the standard descriptors and the descriptors in `keep`. The child ends after
/// `body`, or when its parent dies. Returns the child's process id.
pub(crate) fn spawn(keep: &[RawFd], body: impl FnOnce()) -> io::Result<c_int> {
    const PR_SET_PDEATHSIG: c_int = 1;
    const BUSY: Duration = Duration::from_secs(20);
    let begin = Instant::now();
    let pid = loop {
        match check(c::fork()) {
            // This user may temporarily have reached the limit on processes.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && begin.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => break answer?,
        }
    };
    if pid > 0 {
        return Ok(pid);
    }
    // SAFETY: all arguments are integers.
    unsafe { c::prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong, 0_usize, 0_usize, 0_usize) };
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<RawFd> =
        open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && !keep.contains(fd)) {
        c::close(fd);
    }
    let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
    c::_exit(code)
}

/// Makes this process the leader of a group, so that one signal can kill this process and all its children.
pub(crate) fn lead_a_group() {
    c::setpgid(0, 0);
}

/// Kills a process, or a process group if `pid` is negative. The process may have ended already.
pub(crate) fn kill(pid: c_int) {
    c::kill(pid, SIGKILL);
}

/// Waits for the end of a child, for at most `patience`. Returns true if the child has ended or does not
/// exist.
pub(crate) fn reap(pid: c_int, patience: Duration) -> bool {
    const WNOHANG: c_int = 1;
    let begin = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: the call writes one integer to `status`.
        if unsafe { c::waitpid(pid, &raw mut status, WNOHANG) } != 0 {
            return true;
        }
        if begin.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Limits the size of the files that this process writes, because a file that feeds itself would fill the
/// disk. Ignores `SIGXFSZ`, so that a write beyond the limit fails.
pub(crate) fn limit_files(bytes: usize) {
    const RLIMIT_FSIZE: c_int = 1;
    const SIGXFSZ: c_int = 25; // generic; MIPS differs
    c::signal(SIGXFSZ, 1);
    let limit = [bytes as c_ulong; 2];
    // SAFETY: the call reads one `struct rlimit` from `limit`.
    unsafe { c::setrlimit(RLIMIT_FSIZE, &raw const limit) };
}

/// Returns the processor time of this process.
pub(crate) fn cpu_time() -> Duration {
    const CLOCK_PROCESS_CPUTIME_ID: c_int = 2;
    let mut time = [0; 2];
    // SAFETY: the call writes one `struct timespec` to `time`.
    unsafe { c::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let part = |index: usize| u64::try_from(time[index]).unwrap_or(0);
    Duration::from_secs(part(0)) + Duration::from_nanos(part(1))
}

// ---- descriptors ----

/// Closes a descriptor by its number.
pub(crate) fn close(fd: RawFd) {
    c::close(fd);
}

/// Waits until one of these descriptors is ready or the timeout expires. Returns the events of each
/// descriptor.
pub(crate) fn poll<const N: usize>(fds: [(RawFd, i16); N], timeout: Duration) -> [i16; N] {
    let mut fds = fds.map(|(fd, events)| PollFd { fd, events, revents: 0 });
    let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the pointer and the count describe the array `fds`.
    unsafe { c::poll(fds.as_mut_ptr(), N as c_ulong, timeout) };
    fds.map(|fd| fd.revents)
}

/// Sets or clears `O_NONBLOCK`. Returns the previous state.
pub(crate) fn set_nonblocking(fd: &impl AsRawFd, on: bool) -> bool {
    const F_GETFL: c_int = 3;
    const F_SETFL: c_int = 4;
    const O_NONBLOCK: c_int = 0o4000; // generic; MIPS and SPARC differ
    // SAFETY: all arguments are integers.
    let before = unsafe { c::fcntl(fd.as_raw_fd(), F_GETFL) };
    let flags = if on { before | O_NONBLOCK } else { before & !O_NONBLOCK };
    // SAFETY: all arguments are integers.
    unsafe { c::fcntl(fd.as_raw_fd(), F_SETFL, flags) };
    before & O_NONBLOCK != 0
}

fn two(fds: [c_int; 2]) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((owned(fds[0])?, owned(fds[1])?))
}

/// Creates a pipe, and returns its read end and its write end. Both ends are close-on-exec.
pub(crate) fn pipe(flags: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    const O_CLOEXEC: c_int = 0o200_0000; // generic; SPARC differs
    let mut fds = [-1; 2];
    // SAFETY: the call writes two integers to `fds`.
    check(unsafe { c::pipe2(fds.as_mut_ptr(), flags | O_CLOEXEC) })?;
    two(fds)
}

/// The flag that makes each `write` to a pipe a packet, and that opens a file for direct I/O.
pub(crate) const O_DIRECT: c_int = if cfg!(any(target_arch = "arm", target_arch = "aarch64")) {
    0o20_0000
} else if cfg!(target_arch = "powerpc64") {
    0o40_0000
} else {
    0o4_0000
};
pub(crate) const O_PATH: c_int = 0o1000_0000;
pub(crate) const O_NOCTTY: c_int = 0o400;

pub(crate) fn set_pipe_size(pipe: &OwnedFd, bytes: c_int) -> io::Result<()> {
    const F_SETPIPE_SZ: c_int = 1031;
    // SAFETY: all arguments are integers.
    check(unsafe { c::fcntl(pipe.as_raw_fd(), F_SETPIPE_SZ, bytes) }).map(drop)
}

pub(crate) const SOCK_DGRAM: c_int = 2; // generic; MIPS differs
pub(crate) const SOCK_SEQPACKET: c_int = 5;

pub(crate) fn unix_pair(kind: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    const AF_UNIX: c_int = 1;
    const SOCK_CLOEXEC: c_int = 0o200_0000; // generic; SPARC differs
    let mut fds = [-1; 2];
    // SAFETY: the call writes two integers to `fds`.
    check(unsafe { c::socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, fds.as_mut_ptr()) })?;
    let pair = two(fds)?;
    // On 32-bit kernels, the default buffer is smaller than the longest packet of the cases.
    if cfg!(target_pointer_width = "32") {
        const SO_SNDBUF: c_int = 7; // generic; MIPS, PA-RISC and SPARC differ
        set_option(&pair.0, SO_SNDBUF, &[160 << 10])?; // the kernel doubles this value
        set_option(&pair.1, SO_SNDBUF, &[160 << 10])?;
    }
    Ok(pair)
}

const SOL_SOCKET: c_int = 1; // generic; MIPS, PA-RISC and SPARC differ

fn set_option(socket: &impl AsRawFd, name: c_int, value: &[c_int]) -> io::Result<()> {
    let len = u32::try_from(size_of_val(value)).expect("a small option");
    let fd = socket.as_raw_fd();
    // SAFETY: the call reads `len` bytes, which is the size of `value`.
    check(unsafe { c::setsockopt(fd, SOL_SOCKET, name, value.as_ptr().cast(), len) }).map(drop)
}

/// Sets `SO_LINGER` with a time of 0, so that closing the socket resets the connection.
pub(crate) fn reset_on_close(socket: &impl AsRawFd) -> io::Result<()> {
    const SO_LINGER: c_int = 13;
    set_option(socket, SO_LINGER, &[1, 0])
}

/// Makes each transmission add reports to the socket's error queue.
pub(crate) fn report_times(socket: &impl AsRawFd) -> io::Result<()> {
    const SO_TIMESTAMPING: c_int = 37;
    const TX_SOFTWARE: c_int = 1 << 1;
    const SOFTWARE: c_int = 1 << 4;
    const TX_SCHED: c_int = 1 << 8;
    const OPT_TSONLY: c_int = 1 << 11;
    set_option(socket, SO_TIMESTAMPING, &[TX_SOFTWARE | SOFTWARE | TX_SCHED | OPT_TSONLY])
}

pub(crate) fn send_urgent(socket: &impl AsRawFd, byte: u8) -> io::Result<()> {
    const MSG_OOB: c_int = 1;
    // SAFETY: the call reads one byte from `byte`.
    match unsafe { c::send(socket.as_raw_fd(), (&raw const byte).cast(), 1, MSG_OOB) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends an empty datagram. An empty `write` sends nothing on some kinds of sockets.
pub(crate) fn send_empty(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the call reads no bytes.
    match unsafe { c::send(socket.as_raw_fd(), c"".as_ptr().cast(), 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Shuts down reading or writing.
pub(crate) fn shut(socket: &impl AsRawFd, reading: bool) {
    c::shutdown(socket.as_raw_fd(), i32::from(!reading));
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    owned(c::eventfd(0, 0))
}

pub(crate) fn timerfd() -> io::Result<OwnedFd> {
    const CLOCK_MONOTONIC: c_int = 1;
    owned(c::timerfd_create(CLOCK_MONOTONIC, 0))
}

/// Makes the timer expire once, immediately.
pub(crate) fn expire(timer: &impl AsRawFd) -> io::Result<()> {
    let now = [0, 0, 0, 1];
    let none = std::ptr::null_mut();
    // SAFETY: the call reads one `struct itimerspec` from `now`, and writes nothing because `none` is
    // null.
    check(unsafe { c::timerfd_settime(timer.as_raw_fd(), 0, &raw const now, none) }).map(drop)
}

pub(crate) const IN_MODIFY: u32 = 2;

/// Returns an inotify descriptor that reports each change to the contents of this file.
pub(crate) fn inotify(path: &Path) -> io::Result<OwnedFd> {
    let inotify = owned(c::inotify_init1(0))?;
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the call reads `path`, which ends with a NUL.
    check(unsafe { c::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), IN_MODIFY) })?;
    Ok(inotify)
}

pub(crate) fn epoll() -> io::Result<OwnedFd> {
    owned(c::epoll_create1(0))
}

pub(crate) fn memfd() -> io::Result<File> {
    const MFD_ALLOW_SEALING: u32 = 2;
    // SAFETY: the call reads a string that ends with a NUL.
    owned(unsafe { c::memfd_create(c"rawpipe-test".as_ptr(), MFD_ALLOW_SEALING) }).map(File::from)
}

/// Seals the file, so that it can no longer grow, shrink, or be written.
pub(crate) fn seal(memfd: &File) -> io::Result<()> {
    const F_ADD_SEALS: c_int = 1033;
    const SHRINK_GROW_WRITE: c_int = 2 | 4 | 8;
    // SAFETY: all arguments are integers.
    check(unsafe { c::fcntl(memfd.as_raw_fd(), F_ADD_SEALS, SHRINK_GROW_WRITE) }).map(drop)
}

pub(crate) fn fifo(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the call reads `path`, which ends with a NUL.
    check(unsafe { c::mkfifo(path.as_ptr(), 0o600) }).map(drop)
}

/// Creates a pseudo-terminal that neither changes nor echoes bytes. Returns its master and its slave. A
/// canonical terminal passes on only whole lines, and handles the end-of-file character.
pub(crate) fn terminal(canonical: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    use std::os::unix::fs::OpenOptionsExt;
    const O_RDWR: c_int = 2;
    const ICANON: u32 = if cfg!(target_arch = "powerpc64") { 0x100 } else { 2 };
    let master = owned(c::posix_openpt(O_RDWR | O_NOCTTY))?;
    let fd = master.as_raw_fd();
    check(c::grantpt(fd))?;
    check(c::unlockpt(fd))?;
    let mut name = [0_u8; 128];
    // SAFETY: the call writes at most `name.len()` bytes to `name`.
    if unsafe { c::ptsname_r(fd, name.as_mut_ptr().cast(), name.len()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let name: Vec<u8> = name.into_iter().take_while(|byte| *byte != 0).collect();
    let name = String::from_utf8(name).map_err(io::Error::other)?;
    let slave = File::options().read(true).write(true).custom_flags(O_NOCTTY).open(name)?;
    // A `struct termios` is smaller than this array, and its first four words are the flags.
    let mut settings = [0_u32; 64];
    // SAFETY: the call writes one `struct termios`, which fits into `settings`.
    check(unsafe { c::tcgetattr(slave.as_raw_fd(), settings.as_mut_ptr()) })?;
    // SAFETY: the call changes one `struct termios`, which was filled above.
    unsafe { c::cfmakeraw(settings.as_mut_ptr()) };
    if canonical {
        settings[3] |= ICANON;
    }
    // SAFETY: the call reads one `struct termios`, which was filled above.
    check(unsafe { c::tcsetattr(slave.as_raw_fd(), 0, settings.as_ptr()) })?;
    Ok((master, slave.into()))
}
