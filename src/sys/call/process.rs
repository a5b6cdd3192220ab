//! The calls that create, end, signal and wait for processes, and two checks of this process's memory.
//!
//! # Safety
//!
//! This file is trusted to pass addresses that have enough room for the kernel's results. The file is also
//! trusted to take ownership of exactly the descriptors that the kernel has just created.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, lent_mut, number, owned};
use crate::errno::{Errno, Result, decode};
use crate::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use crate::sys::abi::{self, PidfdInfo, SigInfo};
use crate::sys::arch::{self, nr, syscall0, syscall1, syscall2, syscall3, syscall4, syscall5};

/// Ends the process.
pub(crate) fn exit_group(status: u8) -> ! {
    loop {
        // SAFETY: `exit_group` touches no memory of this process that could be read later. The call returns
        // only if a seccomp filter intercepts it. The loop then retries the call.
        unsafe { syscall1(nr::EXIT_GROUP, status.into()) };
    }
}

/// Forks this process. Returns `None` in the child. In the parent, returns the child's process id, and its
/// pidfd if the kernel provided one.
///
/// # Safety
///
/// The requirements of [`process::fork`](crate::process::fork) apply.
pub(crate) unsafe fn fork() -> Result<Option<(i32, Option<OwnedFd>)>> {
    let mut pidfd = -1;
    // SAFETY: the caller upholds the same contract.
    let answer = decode(unsafe { arch::fork(&mut pidfd) })?;
    #[expect(clippy::cast_possible_truncation, reason = "process ids are C ints")]
    #[expect(clippy::cast_possible_wrap, reason = "process ids are not negative")]
    let pid = answer as i32;
    // SAFETY: the kernel has stored a new descriptor in `pidfd`, or `pidfd` is still −1.
    Ok((pid != 0).then(|| (pid, unsafe { own_pidfd(pidfd) })))
}

/// Takes ownership of the pidfd that the kernel provided with a child, or returns `None` if the kernel
/// provided none. Also returns `None` if the pidfd must be moved to a number of 3 or above and no such number
/// is free.
///
/// # Safety
///
/// If `pidfd` is not negative, the kernel has just created that descriptor.
pub(super) unsafe fn own_pidfd(pidfd: RawFd) -> Option<OwnedFd> {
    // SAFETY: the caller upholds the same contract.
    unsafe { owned(usize::try_from(pidfd).ok()?) }.ok()
}

pub(crate) fn getpid() -> i32 {
    // SAFETY: `getpid` has no arguments and no effects.
    let answer = unsafe { syscall0(nr::GETPID) };
    i32::try_from(answer).unwrap_or(0)
}

/// Sends a signal to the process `pid`, or to the process group `-pid` if `pid` is negative.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    tell!(releases_any());
    // SAFETY: `kill` touches no memory. A signal handler is responsible for its own effects.
    decode(unsafe { syscall2(nr::KILL, number(pid), number(signal)) }).map(drop)
}

/// Calls `madvise` on zero bytes at `address`. Changes nothing, but fails with `EINVAL` if `address` is not
/// the start of a page.
pub(crate) fn madvise_nothing(address: usize) -> Result<()> {
    // SAFETY: the range is empty.
    decode(unsafe { syscall3(nr::MADVISE, address, 0, abi::MADV_NORMAL) }).map(drop)
}

/// Returns the exit status, in the encoding of wait(2), of a process whose status was collected elsewhere or
/// was discarded. While the status is still pending, returns the id of the process's parent as an error.
/// Fails with `ESRCH` if the process ceases to exist during the call, and usually with `ENOTTY` before Linux
/// 6.13.
pub(crate) fn pidfd_get_info_exit(pidfd: BorrowedFd<'_>) -> Result<core::result::Result<i32, i32>> {
    let mut info = PidfdInfo { mask: abi::PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel reads and writes as many bytes at the given address as the request's number encodes.
    decode(unsafe { syscall3(nr::IOCTL, arg(pidfd), abi::PIDFD_GET_INFO, lent_mut(&mut info)) })?;
    let has_status = info.mask & abi::PIDFD_INFO_EXIT != 0;
    Ok(if has_status { Ok(info.exit_code) } else { Err(info.parent) })
}

/// Opens a pidfd, which is always close-on-exec.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: all arguments are integers.
    let answer = decode(unsafe { syscall2(nr::PIDFD_OPEN, number(pid), 0) })?;
    // SAFETY: `pidfd_open` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Returns a pidfd of a child that was created without one. Fails with `ESRCH` or `ECHILD` if the child no
/// longer exists. This check is needed because the child's id may already belong to another process, if the
/// child has ended and its status was discarded.
pub(crate) fn pidfd_open_child(pid: i32) -> Result<OwnedFd> {
    let pidfd = pidfd_open(pid)?;
    match waitid_pidfd(pidfd.as_fd(), abi::PEEK) {
        Err(Errno::ECHILD) => Err(Errno::ECHILD),
        _ => Ok(pidfd),
    }
}

pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32, flags: usize) -> Result<()> {
    tell!(releases_any());
    // SAFETY: without a `siginfo_t`, the call touches no memory.
    decode(unsafe { syscall4(nr::PIDFD_SEND_SIGNAL, arg(pidfd), number(signal), 0, flags) })
        .map(drop)
}

/// Moves a child, or this process if `pid` is 0, into a process group. If `group` is 0, the process becomes
/// the leader of its own group.
pub(crate) fn setpgid(pid: i32, group: i32) -> Result<()> {
    // SAFETY: all arguments are integers.
    decode(unsafe { syscall2(nr::SETPGID, number(pid), number(group)) }).map(drop)
}

/// Checks that no other thread or process shares this process's memory, and fails with `EINVAL` if one does.
/// The call changes nothing.
pub(crate) fn unshare_memory() -> Result<()> {
    // SAFETY: the argument is an integer, and the call changes no memory.
    decode(unsafe { syscall1(nr::UNSHARE, abi::CLONE_VM) }).map(drop)
}

/// A change of a child's state, such as its end, and the resources that the child has used.
pub(crate) type Waited = (SigInfo, [usize; abi::RUSAGE_KEPT.len()]);

/// Waits for a child to change its state. Returns `None` if `options` exclude waiting and the state has not
/// changed yet.
pub(super) fn waitid(kind: usize, id: usize, options: usize) -> Result<Option<Waited>> {
    let (mut info, mut used) = (SigInfo::empty(), [0; 18]);
    let places = (lent_mut(&mut info), lent_mut(&mut used));
    // SAFETY: `waitid` writes one `siginfo_t` and one `struct rusage` to the given addresses.
    decode(unsafe { syscall5(nr::WAITID, kind, id, places.0, options, places.1) })?;
    tell!(acquired_any());
    let used = abi::RUSAGE_KEPT.map(|word| used[word]);
    Ok((info.si_pid != 0).then_some((info, used)))
}

pub(crate) fn waitid_pid(pid: i32, options: usize) -> Result<Option<Waited>> {
    waitid(abi::P_PID, number(pid), options)
}

/// Waits for a child. Fails with `EINVAL` before Linux 5.4.
pub(crate) fn waitid_pidfd(pidfd: BorrowedFd<'_>, options: usize) -> Result<Option<Waited>> {
    waitid(abi::P_PIDFD, arg(pidfd), options)
}
