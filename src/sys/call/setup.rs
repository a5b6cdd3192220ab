//! The calls that only feature `process` needs. Most of them create a child, or set up the child before it
//! starts a program.
//!
//! A child that shares its parent's memory may make these calls. For this reason, none of them allocates
//! memory, takes a lock or touches thread-local storage. None of these calls changes the descriptor table,
//! the handlers, the mask, the ids or the working directory of another process.
//!
//! # Safety
//!
//! This file is trusted to pass addresses and lists in the kernel's layout to each call.
#![allow(unsafe_code, reason = "system calls")]

use super::process::{Waited, waitid};
use super::{arg, lent, lent_mut, number, own_pidfd, owned};
use crate::errno::{Result, decode};
use crate::fd::{BorrowedFd, OwnedFd, RawFd};
use crate::sys::abi;
use crate::sys::arch::{self, nr, syscall0, syscall1, syscall2, syscall3, syscall4, syscall5};
use core::ffi::CStr;

pub(crate) fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the kernel reads the path up to its NUL.
    decode(unsafe { syscall1(nr::CHDIR, lent(path)) }).map(drop)
}

/// Creates a child that calls `child(arg)` on `stack`, which is specified by its lowest address and its size.
/// Returns the child's process id. Also returns the child's pidfd, if `flags` request a pidfd and the kernel
/// provides it.
///
/// # Safety
///
/// The requirements of `arch::clone_on_stack` apply, except the requirement for `pidfd`.
pub(crate) unsafe fn clone_on_stack(
    flags: u64,
    stack: (*mut u8, usize),
    child: extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> Result<(i32, Option<OwnedFd>)> {
    let mut pidfd: RawFd = -1;
    #[cfg(any(rawpipe_sanitize = "address", rawpipe_sanitize = "thread"))]
    let other = crate::sys::sanitize::OtherStack::of(stack);
    // SAFETY: the caller upholds the same contract, and `pidfd` has room for an `int`.
    let answer = unsafe { arch::clone_on_stack(flags, stack, child, arg, &raw mut pidfd) };
    #[cfg(any(rawpipe_sanitize = "address", rawpipe_sanitize = "thread"))]
    other.leave();
    #[expect(clippy::cast_possible_truncation, reason = "process ids are C ints")]
    #[expect(clippy::cast_possible_wrap, reason = "process ids are not negative")]
    let pid = decode(answer)? as i32;
    // SAFETY: the kernel has stored a new descriptor in `pidfd`, or `pidfd` is still −1.
    Ok((pid, unsafe { own_pidfd(pidfd) }))
}

/// Closes all descriptors from `first` to `last`, including `last`.
///
/// # Safety
///
/// No code in this process uses any of the descriptors again. The process is a child that is about to start
/// its program.
pub(crate) unsafe fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    let (first, last) = (number(first), number(last));
    // SAFETY: this call touches no memory, and the caller is responsible for the descriptors.
    decode(unsafe { syscall3(nr::CLOSE_RANGE, first, last, 0) }).map(drop)
}

/// Makes `to` a copy of `from` that stays open across an exec. Closes the previous `to`.
///
/// # Safety
///
/// No code in this process uses the previous `to` again. The process is a child that is about to start its
/// program.
pub(crate) unsafe fn dup_onto(from: BorrowedFd<'_>, to: RawFd) -> Result<()> {
    // SAFETY: this call touches no memory, and the caller is responsible for `to`.
    decode(unsafe { syscall3(nr::DUP3, arg(from), number(to), 0) }).map(drop)
}

/// Ends only the calling thread.
pub(crate) fn exit() -> ! {
    loop {
        // SAFETY: as in `exit_group`.
        unsafe { syscall1(nr::EXIT, 0) };
    }
}

/// Returns the next entries of a directory, as `struct linux_dirent64`. Returns `None` at the end of the
/// directory, or on an error.
pub(crate) fn getdents64<'a>(folder: BorrowedFd<'_>, entries: &'a mut [u8]) -> Option<&'a [u8]> {
    let (place, size) = (lent_mut(entries), entries.len());
    // SAFETY: the kernel writes at most as many bytes to the given address as `entries` has.
    let count = decode(unsafe { syscall3(nr::GETDENTS64, arg(folder), place, size) }).ok()?;
    if count == 0 { None } else { entries.get(..count) }
}

/// Stores the supplementary groups in `groups` and returns the number of groups. Fails with `EINVAL` if
/// `groups` is too short, unless `groups` is empty.
pub(crate) fn getgroups(groups: &mut [u32]) -> Result<usize> {
    // SAFETY: the kernel writes at most as many group ids as the list has room for.
    decode(unsafe { syscall2(nr::GETGROUPS, groups.len(), lent_mut(groups)) })
}

pub(crate) fn getppid() -> i32 {
    // SAFETY: `getppid` has no arguments and no effects.
    let answer = unsafe { syscall0(nr::GETPPID) };
    i32::try_from(answer).unwrap_or(0)
}

/// Returns 20 minus the niceness of this process. The kernel returns this positive number so that no niceness
/// can be mistaken for an error.
pub(crate) fn getpriority() -> Result<usize> {
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall2(nr::GETPRIORITY, abi::PRIO_PROCESS, 0) })
}

/// Returns the real, the effective and the saved user id.
pub(crate) fn getresuid() -> Result<[u32; 3]> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = ids.each_mut().map(lent_mut);
    // SAFETY: the kernel writes three ids to the given addresses.
    decode(unsafe { syscall3(nr::GETRESUID, real, effective, saved) })?;
    Ok(ids)
}

/// Returns the session id of a process, or of this process if `pid` is 0.
pub(crate) fn getsid(pid: i32) -> Result<usize> {
    // SAFETY: the argument is an integer.
    decode(unsafe { syscall1(nr::GETSID, number(pid)) })
}

/// Makes a terminal the controlling terminal of the session that this process leads. The session must not
/// already have a controlling terminal.
pub(crate) fn ioctl_tiocsctty(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the argument is an integer. With an argument of 0, the call does not take a terminal away from
    // another session.
    decode(unsafe { syscall3(nr::IOCTL, arg(terminal), abi::TIOCSCTTY, 0) }).map(drop)
}

/// Makes a process group the foreground group of a terminal.
pub(crate) fn ioctl_tiocspgrp(terminal: BorrowedFd<'_>, group: i32) -> Result<()> {
    // SAFETY: the kernel reads one `int` at the given address.
    decode(unsafe { syscall3(nr::IOCTL, arg(terminal), abi::TIOCSPGRP, lent(&group)) }).map(drop)
}

/// Returns a close-on-exec copy of a descriptor of the process to which `pidfd` refers.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, theirs: RawFd) -> Result<OwnedFd> {
    // SAFETY: all arguments are integers.
    let answer = decode(unsafe { syscall3(nr::PIDFD_GETFD, arg(pidfd), number(theirs), 0) })?;
    // SAFETY: `pidfd_getfd` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Makes the memory of this process inaccessible to unprivileged processes until this process starts
/// a program.
pub(crate) fn prctl_not_dumpable() -> Result<()> {
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

pub(crate) fn prctl_set_child_subreaper(on: bool) -> Result<()> {
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_SET_CHILD_SUBREAPER, on.into(), 0, 0, 0) })
        .map(drop)
}

/// Returns the signal that this thread receives when its parent ends, or 0.
pub(crate) fn prctl_get_pdeathsig() -> Result<usize> {
    let mut signal = 0_u32;
    let place = lent_mut(&mut signal);
    // SAFETY: the kernel writes one integer to the given address.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_GET_PDEATHSIG, place, 0, 0, 0) })?;
    Ok(signal as usize)
}

pub(crate) fn prctl_set_pdeathsig(signal: usize) -> Result<()> {
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(drop)
}

pub(crate) fn prlimit64(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard]; // `struct rlimit64`
    // SAFETY: the kernel reads one `struct rlimit64` at the given address.
    decode(unsafe { syscall4(nr::PRLIMIT64, 0, resource as usize, lent(&limit), 0) }).map(drop)
}

pub(crate) fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads as many group ids as the list has.
    decode(unsafe { syscall2(nr::SETGROUPS, groups.len(), lent(groups)) }).map(drop)
}

/// Sets the niceness of this process.
pub(crate) fn setpriority(nice: i32) -> Result<()> {
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall3(nr::SETPRIORITY, abi::PRIO_PROCESS, 0, number(nice)) }).map(drop)
}

/// Sets the real, effective and saved group id to `gid`.
pub(crate) fn setresgid(gid: u32) -> Result<()> {
    let gid = gid as usize;
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall3(nr::SETRESGID, gid, gid, gid) }).map(drop)
}

/// Sets the real, effective and saved user id to `uid`.
pub(crate) fn setresuid(uid: u32) -> Result<()> {
    let uid = uid as usize;
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall3(nr::SETRESUID, uid, uid, uid) }).map(drop)
}

pub(crate) fn setsid() -> Result<()> {
    // SAFETY: this call has no arguments.
    decode(unsafe { syscall0(nr::SETSID) }).map(drop)
}

/// Sets the file mode creation mask and returns the previous mask.
pub(crate) fn umask(mask: u32) -> u32 {
    // SAFETY: the argument is an integer.
    let before = unsafe { syscall1(nr::UMASK, mask as usize) };
    u32::try_from(before).unwrap_or(0)
}

/// Waits for any child.
pub(crate) fn waitid_all(options: usize) -> Result<Option<Waited>> {
    waitid(abi::P_ALL, 0, options)
}
