//! The calls by which a child becomes what it is to be before it starts a program, and the clone that
//! makes it.
//!
//! None allocates, locks or touches thread-local storage: they are made by a child that shares its
//! parent's memory. What they change is the child's own: its table of descriptors, its handlers and
//! mask, its ids, its folder.
//!
//! # Safety
//!
//! This file is trusted to give each call places and lists of the kernel's own layout.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, lent, lent_mut, number};
use crate::errno::{Result, decode};
use crate::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::sys::abi;
use crate::sys::arch::{self, nr, syscall1, syscall2, syscall3, syscall4, syscall5};

/// Makes a child that begins with `child(arg)` on `stack`, its lowest address and its size, and gives its
/// process id and, where `flags` ask for one, its pidfd.
///
/// # Safety
///
/// As for `arch::clone_on_stack`, but for the pidfd.
pub(crate) unsafe fn clone_on_stack(
    flags: u64,
    stack: (*mut u8, usize),
    child: extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> Result<(i32, Option<OwnedFd>)> {
    let mut pidfd: RawFd = -1;
    #[cfg(any(rawpipe_sanitize = "address", rawpipe_sanitize = "thread"))]
    let _stack = crate::sys::sanitize::OtherStack::of(stack);
    // SAFETY: passed on to the caller; `pidfd` has room for an `int`.
    let answer = unsafe { arch::clone_on_stack(flags, stack, child, arg, &raw mut pidfd) };
    #[expect(clippy::cast_possible_truncation, reason = "process ids are C ints")]
    #[expect(clippy::cast_possible_wrap, reason = "process ids are not negative")]
    let pid = decode(answer)? as i32;
    // SAFETY: the kernel has written the number of a descriptor that it has just made: nobody owns it.
    let own = |pidfd| unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid, (pidfd >= 0).then(|| own(pidfd))))
}

/// Closes all descriptors from `first` to `last`.
///
/// # Safety
///
/// None of them is used again in this process: it is a child on its way to its program.
pub(crate) unsafe fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    let (first, last) = (number(first), number(last));
    // SAFETY: touches no memory; the caller answers for the descriptors.
    decode(unsafe { syscall3(nr::CLOSE_RANGE, first, last, 0) }).map(drop)
}

/// Makes `to` a copy of `from`, to be kept open by an exec. What `to` was before is closed.
///
/// # Safety
///
/// What `to` was before is not used again in this process: it is a child on its way to its program.
pub(crate) unsafe fn dup_onto(from: BorrowedFd<'_>, to: RawFd) -> Result<()> {
    // SAFETY: touches no memory; the caller answers for `to`.
    decode(unsafe { syscall3(nr::DUP3, arg(from), number(to), 0) }).map(drop)
}

/// The supplementary groups, or `EINVAL` if there are more than `groups` has room for.
pub(crate) fn getgroups(groups: &mut [u32]) -> Result<usize> {
    // SAFETY: writes at most as many group ids as the list has room for.
    decode(unsafe { syscall2(nr::GETGROUPS, groups.len(), lent_mut(groups)) })
}

/// The real, the effective and the saved user id.
pub(crate) fn getresuid() -> Result<[u32; 3]> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = ids.each_mut().map(lent_mut);
    // SAFETY: writes three ids, to the places given.
    decode(unsafe { syscall3(nr::GETRESUID, real, effective, saved) })?;
    Ok(ids)
}

/// The session of a process; 0 is this one.
pub(crate) fn getsid(pid: i32) -> Result<usize> {
    // SAFETY: `getsid` takes an integer.
    decode(unsafe { syscall1(nr::GETSID, number(pid)) })
}

/// Returns 20 minus the niceness of this process, so that no value is an error.
pub(crate) fn getpriority() -> Result<usize> {
    // SAFETY: `getpriority` takes integers.
    decode(unsafe { syscall2(nr::GETPRIORITY, abi::PRIO_PROCESS, 0) })
}

/// Makes a terminal the controlling one of the session that this process leads and that has none.
pub(crate) fn ioctl_tiocsctty(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes an integer: 0 takes no terminal away from another session.
    decode(unsafe { syscall3(nr::IOCTL, arg(terminal), abi::TIOCSCTTY, 0) }).map(drop)
}

/// Makes a process group the foreground one of a terminal.
pub(crate) fn ioctl_tiocspgrp(terminal: BorrowedFd<'_>, group: i32) -> Result<()> {
    // SAFETY: reads one `int`, at the place given.
    decode(unsafe { syscall3(nr::IOCTL, arg(terminal), abi::TIOCSPGRP, lent(&group)) }).map(drop)
}

pub(crate) fn prctl_set_pdeathsig(signal: usize) -> Result<()> {
    // SAFETY: takes integers.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(drop)
}

/// Closes the memory of this process to others without privileges, until it begins a program.
pub(crate) fn prctl_not_dumpable() -> Result<()> {
    // SAFETY: `PR_SET_DUMPABLE` takes an integer.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

pub(crate) fn prlimit64(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard]; // `struct rlimit64`
    // SAFETY: reads one `struct rlimit64`, at the place given.
    decode(unsafe { syscall4(nr::PRLIMIT64, 0, resource as usize, lent(&limit), 0) }).map(drop)
}

pub(crate) fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: reads as many group ids as the list has.
    decode(unsafe { syscall2(nr::SETGROUPS, groups.len(), lent(groups)) }).map(drop)
}

/// The real, effective and saved group id, all to the same.
pub(crate) fn setresgid(gid: u32) -> Result<()> {
    let gid = gid as usize;
    // SAFETY: takes integers.
    decode(unsafe { syscall3(nr::SETRESGID, gid, gid, gid) }).map(drop)
}

/// The real, effective and saved user id, all to the same.
pub(crate) fn setresuid(uid: u32) -> Result<()> {
    let uid = uid as usize;
    // SAFETY: takes integers.
    decode(unsafe { syscall3(nr::SETRESUID, uid, uid, uid) }).map(drop)
}

/// Sets the niceness of this process.
pub(crate) fn setpriority(nice: i32) -> Result<()> {
    // SAFETY: `setpriority` takes integers.
    decode(unsafe { syscall3(nr::SETPRIORITY, abi::PRIO_PROCESS, 0, number(nice)) }).map(drop)
}
