//! The calls on processes: making one, ending one, signalling one, waiting for one.
//!
//! # Safety
//!
//! This file is trusted to give the kernel places of the right size to write to, and to make an owner
//! of exactly the descriptors that the kernel has just made.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, lent, lent_mut, number, owned};
use crate::errno::{Errno, Result, decode};
use crate::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::sys::abi::rusage::Rusage;
use crate::sys::abi::{self, PidfdInfo, SigInfo};
use crate::sys::arch::{self, nr, syscall0, syscall1, syscall2, syscall3, syscall4, syscall5};
use core::ffi::CStr;

pub(crate) fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the kernel reads the path up to its NUL.
    decode(unsafe { syscall1(nr::CHDIR, lent(path)) }).map(drop)
}

/// Ends the process. The kernel takes the lower 8 bits of `status`.
pub(crate) fn exit_group(status: u8) -> ! {
    loop {
        // SAFETY: `exit_group` touches no memory of this process that anyone could look at later.
        // It does not come back, unless a seccomp filter makes it, and then it is tried again.
        unsafe { syscall1(nr::EXIT_GROUP, status.into()) };
    }
}

/// `None` in the child; in the parent the child's process id, and its pidfd if it came with one.
///
/// # Safety
///
/// As for [`process::fork`](crate::process::fork).
pub(crate) unsafe fn fork() -> Result<Option<(i32, Option<OwnedFd>)>> {
    let mut pidfd = -1;
    // SAFETY: passed on to the caller.
    let answer = decode(unsafe { arch::fork(&mut pidfd) })?;
    #[expect(clippy::cast_possible_truncation, reason = "process ids are C ints")]
    #[expect(clippy::cast_possible_wrap, reason = "process ids are not negative")]
    let pid = answer as i32;
    // SAFETY: a descriptor that the kernel has just made: nobody owns it.
    let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((pid != 0).then(|| (pid, (pidfd >= 0).then(|| own(pidfd)))))
}

/// Some more of the entries of a folder, as `struct linux_dirent64`. `None` at the end, or on an error.
#[cfg(feature = "process")]
pub(crate) fn getdents64<'a>(folder: BorrowedFd<'_>, entries: &'a mut [u8]) -> Option<&'a [u8]> {
    let (place, size) = (lent_mut(entries), entries.len());
    // SAFETY: the kernel writes at most as many bytes as the list has, to the place given.
    let count = decode(unsafe { syscall3(nr::GETDENTS64, arg(folder), place, size) }).ok()?;
    if count == 0 { None } else { entries.get(..count) }
}

pub(crate) fn getpid() -> i32 {
    // SAFETY: `getpid` has no arguments and no effects.
    let answer = unsafe { syscall0(nr::GETPID) };
    i32::try_from(answer).unwrap_or(0)
}

pub(crate) fn getppid() -> i32 {
    // SAFETY: `getppid` has no arguments and no effects.
    let answer = unsafe { syscall0(nr::GETPPID) };
    i32::try_from(answer).unwrap_or(0)
}

/// To one process, or to the group of this number where `pid` is negative.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    tell!(releases_any());
    // SAFETY: `kill` touches no memory. What a handler does is its own matter.
    decode(unsafe { syscall2(nr::KILL, number(pid), number(signal)) }).map(drop)
}

/// `madvise` on no bytes at all at `address`: does nothing, but answers `EINVAL` where `address` is
/// not the beginning of a page.
pub(crate) fn madvise_nothing(address: usize) -> Result<()> {
    // SAFETY: the range is empty.
    decode(unsafe { syscall3(nr::MADVISE, address, 0, abi::MADV_NORMAL) }).map(drop)
}

/// How a process ended that somebody else has waited for, or nobody was to wait for, in the encoding
/// of wait(2); `None` while that is not so. `ENOTTY` before Linux 6.13.
pub(crate) fn pidfd_get_info_exit(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = PidfdInfo { mask: abi::PIDFD_INFO_EXIT, _between: [0; 13], exit_code: 0 };
    // SAFETY: the kernel reads and writes as many bytes as the number of the request says, at the
    // place given.
    decode(unsafe { syscall3(nr::IOCTL, arg(pidfd), abi::PIDFD_GET_INFO, lent_mut(&mut info)) })?;
    Ok((info.mask & abi::PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// A copy of a descriptor of that process, close-on-exec.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, theirs: RawFd) -> Result<OwnedFd> {
    // SAFETY: takes integers only.
    let answer = decode(unsafe { syscall3(nr::PIDFD_GETFD, arg(pidfd), number(theirs), 0) })?;
    // SAFETY: `pidfd_getfd` returns a new descriptor.
    Ok(unsafe { owned(answer) })
}

/// Close-on-exec, as each pidfd is.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: takes integers only.
    let answer = decode(unsafe { syscall2(nr::PIDFD_OPEN, number(pid), 0) })?;
    // SAFETY: `pidfd_open` answers a new descriptor.
    Ok(unsafe { owned(answer) })
}

/// The pidfd of a child that was made without. `ECHILD` for one that is gone: where its status is discarded,
/// its number may be another process's already.
pub(crate) fn pidfd_open_child(pid: i32) -> Result<OwnedFd> {
    let pidfd = pidfd_open(pid)?;
    match waitid_pidfd(pidfd.as_fd(), abi::PEEK) {
        Err(Errno::ECHILD) => Err(Errno::ECHILD),
        _ => Ok(pidfd),
    }
}

pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32, flags: usize) -> Result<()> {
    tell!(releases_any());
    // SAFETY: without a `siginfo_t` it touches no memory.
    decode(unsafe { syscall4(nr::PIDFD_SEND_SIGNAL, arg(pidfd), number(signal), 0, flags) })
        .map(drop)
}

/// What a limit is now.
#[inline]
pub(crate) fn prlimit64_get_soft(resource: u32) -> Result<u64> {
    let mut limit = [0_u64; 2]; // `struct rlimit64`
    // SAFETY: writes one `struct rlimit64`, to the place given.
    decode(unsafe { syscall4(nr::PRLIMIT64, 0, resource as usize, 0, lent_mut(&mut limit)) })?;
    Ok(limit[0])
}

pub(crate) fn prctl_set_child_subreaper(on: bool) -> Result<()> {
    // SAFETY: takes integers.
    decode(unsafe { syscall5(nr::PRCTL, abi::PR_SET_CHILD_SUBREAPER, on.into(), 0, 0, 0) })
        .map(drop)
}

/// On how many processors the calling thread may run. `EINVAL` where the machine may have more than
/// 1024 of them.
pub(crate) fn sched_getaffinity() -> Result<u32> {
    let mut mask = [0_usize; 1024 / usize::BITS as usize];
    // SAFETY: the kernel writes at most as many bytes as the mask has, to the place given.
    decode(unsafe { syscall3(nr::SCHED_GETAFFINITY, 0, size_of_val(&mask), lent_mut(&mut mask)) })?;
    Ok(mask.iter().map(|word| word.count_ones()).sum())
}

/// Puts a child, or for 0 this process, into a process group: its own for 0.
pub(crate) fn setpgid(pid: i32, group: i32) -> Result<()> {
    // SAFETY: takes integers only.
    decode(unsafe { syscall2(nr::SETPGID, number(pid), number(group)) }).map(drop)
}

pub(crate) fn setsid() -> Result<()> {
    // SAFETY: has no arguments.
    decode(unsafe { syscall0(nr::SETSID) }).map(drop)
}

/// Returns what it was before.
pub(crate) fn umask(mask: u32) -> u32 {
    // SAFETY: takes an integer.
    let before = unsafe { syscall1(nr::UMASK, mask as usize) };
    u32::try_from(before).unwrap_or(0)
}

/// Does nothing, but answers `EINVAL` where another thread or process has the memory of this one.
pub(crate) fn unshare_memory() -> Result<()> {
    // SAFETY: takes integers only. Memory that is not shared stays as it is, and other memory, too.
    decode(unsafe { syscall1(nr::UNSHARE, abi::CLONE_VM) }).map(drop)
}

/// What became of a child, and what it has used.
pub(crate) type Waited = (SigInfo, Rusage);

/// `None` if `options` say not to wait and there is nothing yet.
fn waitid(kind: usize, id: usize, options: usize) -> Result<Option<Waited>> {
    let (mut info, mut used) = (SigInfo::empty(), [0; 18]);
    let places = (lent_mut(&mut info), lent_mut(&mut used));
    // SAFETY: `waitid` writes one `siginfo_t` and one `struct rusage`, to the places given.
    decode(unsafe { syscall5(nr::WAITID, kind, id, places.0, options, places.1) })?;
    tell!(acquired_any());
    Ok((info.si_pid != 0).then(|| (info, Rusage::new(used))))
}

/// Of any child.
#[cfg(feature = "process")]
pub(crate) fn waitid_all(options: usize) -> Result<Option<Waited>> {
    waitid(abi::P_ALL, 0, options)
}

pub(crate) fn waitid_pid(pid: i32, options: usize) -> Result<Option<Waited>> {
    waitid(abi::P_PID, number(pid), options)
}

/// Since Linux 5.4; `EINVAL` before.
pub(crate) fn waitid_pidfd(pidfd: BorrowedFd<'_>, options: usize) -> Result<Option<Waited>> {
    waitid(abi::P_PIDFD, arg(pidfd), options)
}
