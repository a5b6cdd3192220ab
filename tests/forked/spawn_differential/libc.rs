//! Declares the functions, types and constants of the C library that this test and the test `worlds` use.

use std::ffi::{c_char, c_int};

unsafe extern "C" {
    pub(crate) static mut environ: *const *const c_char;
    pub(crate) safe fn _exit(code: c_int) -> !;
    pub(crate) fn fork() -> c_int;
    pub(crate) safe fn close(fd: c_int) -> c_int;
    pub(crate) safe fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
    pub(crate) safe fn dup2(from: c_int, to: c_int) -> c_int;
    pub(crate) safe fn fcntl(fd: c_int, operation: c_int, ...) -> c_int;
    pub(crate) safe fn lseek64(fd: c_int, offset: i64, whence: c_int) -> i64;
    pub(crate) safe fn getpgid(pid: c_int) -> c_int;
    pub(crate) safe fn getppid() -> c_int;
    pub(crate) safe fn getsid(pid: c_int) -> c_int;
    pub(crate) safe fn setsid() -> c_int;
    pub(crate) safe fn getpriority(which: c_int, who: u32) -> c_int;
    pub(crate) safe fn setpriority(which: c_int, who: u32, value: c_int) -> c_int;
    pub(crate) safe fn geteuid() -> u32;
    pub(crate) safe fn setuid(uid: u32) -> c_int;
    pub(crate) safe fn setgid(gid: u32) -> c_int;
    pub(crate) safe fn umask(mask: u32) -> u32;
    pub(crate) safe fn kill(pid: c_int, signal: c_int) -> c_int;
    pub(crate) fn setgroups(count: usize, list: *const u32) -> c_int;
    pub(crate) safe fn signal(signal: c_int, handler: usize) -> usize;
    pub(crate) fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    pub(crate) fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    pub(crate) fn prctl(operation: c_int, argument: usize, ...) -> c_int;
    pub(crate) fn prlimit64(
        pid: c_int,
        resource: c_int,
        new: *const [u64; 2],
        old: *mut [u64; 2],
    ) -> c_int;
    pub(crate) fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    pub(crate) fn posix_spawnp(
        pid: *mut c_int,
        file: *const c_char,
        actions: *const Opaque,
        attributes: *const Opaque,
        argv: *const *const c_char,
        envp: *const *const c_char,
    ) -> c_int;
    pub(crate) fn posix_spawn_file_actions_init(actions: *mut Opaque) -> c_int;
    pub(crate) fn posix_spawn_file_actions_destroy(actions: *mut Opaque) -> c_int;
    pub(crate) fn posix_spawn_file_actions_adddup2(
        actions: *mut Opaque,
        from: c_int,
        to: c_int,
    ) -> c_int;
    pub(crate) fn posix_spawn_file_actions_addclose(actions: *mut Opaque, fd: c_int) -> c_int;
    pub(crate) fn posix_spawn_file_actions_addchdir_np(
        actions: *mut Opaque,
        path: *const c_char,
    ) -> c_int;
    pub(crate) fn posix_spawnattr_init(attributes: *mut Opaque) -> c_int;
    pub(crate) fn posix_spawnattr_setflags(attributes: *mut Opaque, flags: i16) -> c_int;
    pub(crate) fn posix_spawnattr_setpgroup(attributes: *mut Opaque, group: c_int) -> c_int;
    pub(crate) fn posix_spawnattr_setsigmask(
        attributes: *mut Opaque,
        set: *const SignalSet,
    ) -> c_int;
    pub(crate) fn posix_spawnattr_setsigdefault(
        attributes: *mut Opaque,
        set: *const SignalSet,
    ) -> c_int;
    pub(crate) safe fn __libc_current_sigrtmin() -> c_int;
}

/// Memory that is more than large enough for a `posix_spawnattr_t` or a `posix_spawn_file_actions_t`.
#[repr(C, align(16))]
pub(crate) struct Opaque(pub(crate) [u8; 1024]);

/// The C library's `sigset_t`.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SignalSet(pub(crate) [u8; 128]);

impl SignalSet {
    pub(crate) fn new(signals: &[i32]) -> Self {
        let mut set = Self([0; 128]);
        for signal in signals {
            // SAFETY: the call sets at most one bit within the set.
            unsafe { sigaddset(&raw mut set, *signal) };
        }
        set
    }
}

pub(crate) const SIG_DFL: usize = 0;
pub(crate) const SIG_IGN: usize = 1;
pub(crate) const SIG_SETMASK: c_int = 2;
pub(crate) const SIGPIPE: c_int = 13;
pub(crate) const F_GETFD: c_int = 1;
pub(crate) const F_SETFD: c_int = 2;
pub(crate) const F_GETFL: c_int = 3;
pub(crate) const F_DUPFD_CLOEXEC: c_int = 1030;
pub(crate) const FD_CLOEXEC: c_int = 1;
pub(crate) const O_CLOEXEC: c_int = 0o2_000_000;
pub(crate) const O_PATH: c_int = 0o10_000_000;
pub(crate) const RLIMIT_NOFILE: c_int = 7;
pub(crate) const PR_SET_PDEATHSIG: c_int = 1;
pub(crate) const PR_GET_PDEATHSIG: c_int = 2;

pub(crate) fn is_open(fd: c_int) -> bool {
    fcntl(fd, F_GETFD) >= 0
}

/// Returns the soft and the hard descriptor limit.
pub(crate) fn descriptor_limit() -> [u64; 2] {
    let mut limit = [0; 2];
    // SAFETY: the call writes one `struct rlimit64`.
    unsafe { prlimit64(0, RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    limit
}

pub(crate) fn set_limit(resource: c_int, limit: [u64; 2]) -> c_int {
    // SAFETY: the call reads one `struct rlimit64`.
    unsafe { prlimit64(0, resource, &raw const limit, std::ptr::null_mut()) }
}

/// Returns the signal mask of this thread. Then replaces the mask if `new` is `Some`.
pub(crate) fn mask(new: Option<&SignalSet>) -> SignalSet {
    let mut old = SignalSet([0; 128]);
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the call reads at most one set and writes one set.
    unsafe { sigprocmask(SIG_SETMASK, new, &raw mut old) };
    old
}
