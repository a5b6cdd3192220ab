//! Provides functions that put this process into a world. The process has one thread.

use super::libc::{self, SignalSet};
use std::ffi::c_void;
use std::fs;
use std::io;
use std::process;
use std::ptr;

const CLONE_NEWNS: i32 = 0x0002_0000;
const CLONE_NEWUSER: i32 = 0x1000_0000;
const CLONE_NEWPID: i32 = 0x2000_0000;
const CLONE_NEWTIME: i32 = 0x80;
const PR_SET_PDEATHSIG: i32 = libc::PR_SET_PDEATHSIG;

unsafe extern "C" {
    safe fn unshare(flags: i32) -> i32;
    safe fn pause() -> i32;
    safe fn getpid() -> i32;
    safe fn getegid() -> u32;
    fn sigaction(signal: i32, new: *const c_void, old: *mut c_void) -> i32;
}

fn check(what: &str, answer: i32) -> Result<(), String> {
    if answer < 0 { Err(format!("{what}: {}", io::Error::last_os_error())) } else { Ok(()) }
}

fn is_root() -> bool {
    libc::geteuid() == 0
}

pub(crate) fn root() -> Result<(), String> {
    if is_root() { Ok(()) } else { Err(String::from("only root may change to another user")) }
}

pub(crate) fn other_user() -> Result<(), String> {
    root()?;
    // SAFETY: the call reads no groups.
    check("setgroups", unsafe { libc::setgroups(0, ptr::null()) })?;
    check("setgid", libc::setgid(61_237))?;
    check("setuid", libc::setuid(61_237))?;
    // Changing the user has cleared the dumpable flag, so the call below sets the flag again.
    const PR_SET_DUMPABLE: i32 = 4;
    // SAFETY: the call has only integer arguments.
    check("prctl", unsafe { libc::prctl(PR_SET_DUMPABLE, 1) })
}

/// Creates the namespaces that `flags` names, and also a user namespace if the current user is not root.
fn new(flags: i32) -> Result<(), String> {
    if is_root() { check("unshare", unshare(flags)) } else { own_user(flags) }
}

/// Creates a user namespace that maps root to the current user and maps no other user. The kernel requires
/// that `setgroups` be denied in that namespace.
fn own_user(flags: i32) -> Result<(), String> {
    let (uid, gid) = (libc::geteuid(), getegid());
    check("unshare", unshare(CLONE_NEWUSER | flags))?;
    let write = |file: &str, text: &str| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))
    };
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {uid} 1"))?;
    write("gid_map", &format!("0 {gid} 1"))
}

/// Creates a PID namespace for the children of this process. This process itself stays in its old namespace.
pub(crate) fn pid_namespace() -> Result<(), String> {
    empty_pid_namespace()?;
    let (ready, told) = rawpipe::pipe().map_err(|errno| errno.to_string())?;
    // If the init process of a namespace ends, the kernel creates no more processes in that namespace. This
    // init process therefore never ends by itself.
    fork(|| {
        die_with_parent();
        let _ = told.write(b"!");
        loop {
            pause();
        }
    })?;
    // The parent must not end before the init process has set its death signal.
    ready.read(&mut [0]).map_err(|errno| errno.to_string())?;
    Ok(())
}

pub(crate) fn empty_pid_namespace() -> Result<(), String> {
    new(CLONE_NEWPID)
}

fn die_with_parent() {
    // SAFETY: the call has only integer arguments.
    unsafe { libc::prctl(PR_SET_PDEATHSIG, 9) };
}

fn fork(child: impl FnOnce()) -> Result<i32, String> {
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    check("fork", pid)?;
    if pid == 0 {
        child();
        libc::_exit(0);
    }
    Ok(pid)
}

/// Forks, and returns only in the child, which is the init process of a new PID namespace.
pub(crate) fn init() -> Result<(), String> {
    new(CLONE_NEWPID)?;
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    check("fork", pid)?;
    if pid > 0 {
        let mut status = 0;
        // SAFETY: the call writes one integer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        libc::_exit(status >> 8);
    }
    die_with_parent();
    assert_eq!(getpid(), 1, "not the first");
    Ok(())
}

/// Creates a user namespace. If this process is root, the namespace maps the ids 0–65534 to themselves.
pub(crate) fn user_namespace() -> Result<(), String> {
    if is_root() { all_users(false) } else { own_user(0) }
}

fn all_users(deny: bool) -> Result<(), String> {
    let parent = process::id();
    let (gate, open) = rawpipe::pipe().map_err(|errno| errno.to_string())?;
    // The maps must be written from outside the namespace.
    let writer = fork(|| {
        let _ = gate.read(&mut [0]);
        for map in ["uid_map", "gid_map"] {
            let written = fs::write(format!("/proc/{parent}/{map}"), "0 0 65535");
            if written.is_err() {
                libc::_exit(1);
            }
        }
    })?;
    let mut unshared = check("unshare", unshare(CLONE_NEWUSER));
    if deny && unshared.is_ok() {
        let denied = fs::write("/proc/self/setgroups", "deny");
        unshared = denied.map_err(|error| format!("setgroups: {error}"));
    }
    open.write(b"!").map_err(|errno| errno.to_string())?;
    let mut status = 0;
    // SAFETY: the call writes one integer.
    unsafe { libc::waitpid(writer, &raw mut status, 0) };
    unshared?;
    if status == 0 { Ok(()) } else { Err(String::from("the map of users cannot be written")) }
}

pub(crate) fn mount_namespace() -> Result<(), String> {
    new(CLONE_NEWNS)
}

pub(crate) fn time_namespace() -> Result<(), String> {
    new(CLONE_NEWTIME)
}

pub(crate) fn setgroups_denied() -> Result<(), String> {
    own_user(0)
}

pub(crate) fn setgroups_denied_with_groups() -> Result<(), String> {
    root()?;
    set_groups(&[1, 2])?;
    all_users(true)
}

pub(crate) fn setgroups_denied_without_groups() -> Result<(), String> {
    root()?;
    set_groups(&[])?;
    all_users(true)
}

fn set_groups(groups: &[u32]) -> Result<(), String> {
    // SAFETY: the call only reads the groups.
    check("setgroups", unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })
}

/// Two elements of `struct __user_cap_data_struct`.
#[repr(C)]
struct Capabilities([[u32; 3]; 2]);

/// Sets the supplementary groups, and then drops `CAP_SETGID` but keeps `CAP_SETUID`.
pub(crate) fn no_cap_setgid(groups: &[u32]) -> Result<(), String> {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_SETGID: u32 = 6;
    root()?;
    set_groups(groups)?;
    let mut header = [VERSION_3, 0];
    let mut sets = Capabilities([[0; 3]; 2]);
    unsafe extern "C" {
        fn capget(header: *mut [u32; 2], sets: *mut Capabilities) -> i32;
        fn capset(header: *mut [u32; 2], sets: *const Capabilities) -> i32;
    }
    // SAFETY: both arguments have the sizes that the header's version specifies.
    check("capget", unsafe { capget(&raw mut header, &raw mut sets) })?;
    sets.0[0].iter_mut().for_each(|set| *set &= !(1 << CAP_SETGID));
    // SAFETY: both arguments have the sizes that the header's version specifies.
    check("capset", unsafe { capset(&raw mut header, &raw const sets) })
}

pub(crate) fn subreaper() -> Result<(), String> {
    const PR_SET_CHILD_SUBREAPER: i32 = 36;
    // SAFETY: the call has only integer arguments.
    check("prctl", unsafe { libc::prctl(PR_SET_CHILD_SUBREAPER, 1) })
}

pub(crate) fn sigchld_ignored() -> Result<(), String> {
    libc::signal(17, libc::SIG_IGN);
    Ok(())
}

pub(crate) fn no_child_wait() -> Result<(), String> {
    const SA_NOCLDWAIT: i32 = 2;
    if cfg!(any(target_arch = "s390x", target_arch = "mips", target_arch = "mips64")) {
        return Err(String::from("the C library's sigaction has another order here"));
    }
    extern "C" fn handler(_signal: i32) {}
    libc::signal(17, (handler as extern "C" fn(i32)) as usize);
    // In this structure, `sa_flags` comes after the handler and the mask. The code below adds one flag to the
    // action that `signal` has set.
    let at = size_of::<usize>() + size_of::<SignalSet>();
    let mut action = [0_u64; 32];
    let place: *mut c_void = (&raw mut action).cast();
    // SAFETY: `struct sigaction` is smaller than the array.
    check("sigaction", unsafe { sigaction(17, ptr::null(), place) })?;
    // SAFETY: the address is within the array and aligned for an integer.
    let flags = unsafe { place.byte_add(at) }.cast::<i32>();
    // SAFETY: the address is within the array and aligned for an integer.
    unsafe { *flags |= SA_NOCLDWAIT };
    // SAFETY: the call only reads the structure.
    check("sigaction", unsafe { sigaction(17, place, ptr::null_mut()) })
}

pub(crate) fn all_blocked() -> Result<(), String> {
    let all: Vec<i32> = (1..65).collect();
    libc::mask(Some(&SignalSet::new(&all)));
    Ok(())
}

pub(crate) fn few_descriptors() -> Result<(), String> {
    let hard = libc::descriptor_limit()[1];
    check("setrlimit", libc::set_limit(libc::RLIMIT_NOFILE, [16, hard]))
}

pub(crate) fn large() -> Result<(), String> {
    let size = if super::slow() { 32 << 20 } else { 512 << 20 };
    let memory = vec![1_u8; size];
    assert_eq!(
        memory.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>(),
        size / 4096
    );
    std::mem::forget(memory);
    Ok(())
}

pub(crate) fn closed(numbers: &[i32]) -> Result<(), String> {
    numbers.iter().for_each(|number| _ = libc::close(*number));
    Ok(())
}
