//! What a process changes about itself, or asks.
//!
//! One system call each, which allocates nothing and locks nothing: a forked child may make them, and a signal handler.
//!
//! # Safety
//!
//! This file is trusted to close only descriptors that its caller has answered for.
#![allow(unsafe_code, reason = "closes descriptors by number")]

use crate::fd::{AsRawFd, BorrowedFd, RawFd};
use crate::sys::{abi, call};
use crate::{Errno, Result};
use core::ffi::CStr;

/// Returns the process id of this process. It is not remembered: in a forked child it is the child's.
///
/// [getpid(2)](https://man7.org/linux/man-pages/man2/getpid.2.html)
#[must_use]
pub fn getpid() -> u32 {
    call::getpid().unsigned_abs()
}

/// Returns the process id of this process's parent; 0 if that is in another pid name space.
///
/// After the parent has ended it is the process that has adopted this one.
///
/// [getppid(2)](https://man7.org/linux/man-pages/man2/getppid.2.html)
#[must_use]
pub fn getppid() -> u32 {
    call::getppid().unsigned_abs()
}

/// Makes this process the leader of a new session, without a terminal, and of a process group in it.
///
/// # Errors
///
/// - [`EPERM`](Errno::EPERM) if this process leads a process group.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child only makes system calls.
/// let mut child = unsafe { process::fork_with(|| process::setsid().is_err().into()) }?;
/// assert!(child.wait()?.success());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [setsid(2)](https://man7.org/linux/man-pages/man2/setsid.2.html)
pub fn setsid() -> Result<()> {
    call::setsid()
}

/// Puts a process, this one for 0 or a child, into a process group of its session: its own, which it leads, for 0.
///
/// [`Child::lead_group`](super::Child::lead_group) does it for a handle, which then signals the group.
///
/// # Errors
///
/// - [`EACCES`](Errno::EACCES) if the child has started another program already.
/// - [`EPERM`](Errno::EPERM) if there is no such group in its session, or the process leads a session.
/// - [`ESRCH`](Errno::ESRCH) if it is neither this process nor a child.
/// - [`EINVAL`](Errno::EINVAL) if a number is above `i32::MAX`.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child only makes system calls.
/// let mut child = unsafe { process::fork_with(|| process::setpgid(0, 0).is_err().into()) }?;
/// assert!(child.wait()?.success());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [setpgid(2)](https://man7.org/linux/man-pages/man2/setpgid.2.html)
pub fn setpgid(pid: u32, group: u32) -> Result<()> {
    let number = |id| i32::try_from(id).map_err(|_| Errno::EINVAL);
    call::setpgid(number(pid)?, number(group)?)
}

/// Sets which permissions the files that this process makes do not have, and returns those of before.
///
/// All threads have it in common.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// let before = process::umask(0o077);
/// assert_eq!(process::umask(before), 0o077);
/// ```
///
/// [umask(2)](https://man7.org/linux/man-pages/man2/umask.2.html)
#[allow(clippy::must_use_candidate, reason = "it is called for what it changes")]
pub fn umask(mask: u32) -> u32 {
    call::umask(mask)
}

/// Changes the folder in which this process looks for relative paths. All threads have it in common.
///
/// # Errors
///
/// - [`ENOENT`](Errno::ENOENT) if there is no such folder.
/// - [`ENOTDIR`](Errno::ENOTDIR) if it, or a part of its path, is no folder.
/// - [`EACCES`](Errno::EACCES) if this process may not enter it, or a part of its path.
/// - [`ELOOP`](Errno::ELOOP) or [`ENAMETOOLONG`](Errno::ENAMETOOLONG) if the path is not one.
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, process};
///
/// assert_eq!(process::chdir(c"/no/such/folder"), Err(Errno::ENOENT));
/// ```
///
/// [chdir(2)](https://man7.org/linux/man-pages/man2/chdir.2.html)
pub fn chdir(path: &CStr) -> Result<()> {
    call::chdir(path)
}

/// Makes this process adopt its descendants whose parents end, in place of the init process; or not.
///
/// They become children without a handle: `wait_any` collects them. A forked child does not inherit the setting; a
/// program that replaces this one keeps it.
///
/// # Errors
///
/// - [`EINVAL`](Errno::EINVAL) before Linux 3.4.
///
/// # Examples
///
/// ```
/// rawpipe::process::set_child_subreaper(true)?;
/// rawpipe::process::set_child_subreaper(false)?;
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [PR_SET_CHILD_SUBREAPER(2const)](https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html),
/// since Linux 3.4
#[doc(alias("prctl", "PR_SET_CHILD_SUBREAPER"))]
pub fn set_child_subreaper(on: bool) -> Result<()> {
    call::prctl_set_child_subreaper(on)
}

/// Closes all descriptors but for 0, 1, 2 and those to `keep`: for a forked child, before it goes on or starts a
/// program.
///
/// Since Linux 5.9 in a few calls. Without `close_range` it makes one call for each number up to
/// `RLIMIT_NOFILE`, open or not, which may be a million.
///
/// # Errors
///
/// - [`ENOMEM`](Errno::ENOMEM) if the kernel has not enough memory: some may be closed.
///
/// # Safety
///
/// Nothing in this process uses, or closes, one of the closed descriptors later: no value that owns one is dropped
/// or used, by any thread. In a child of [`fork_with`](super::fork_with) that holds if the body uses only what it
/// keeps.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::AsFd;
/// use rawpipe::{Errno, process};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let body = || {
///     // SAFETY: the child uses one descriptor after that, which it keeps, and drops none.
///     let closed = unsafe { process::close_other_fds(&[writer.as_fd()]) };
///     u8::from(!(closed.is_ok() && rawpipe::write(&writer, b"kept") == Ok(4)))
/// };
/// // SAFETY: the child only makes system calls.
/// let mut child = unsafe { process::fork_with(body) }?;
/// assert!(child.wait()?.success());
/// assert_eq!(reader.available()?, 4);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [close_range(2)](https://man7.org/linux/man-pages/man2/close_range.2.html), since Linux 5.9
#[doc(alias("closefrom", "close_range"))]
pub unsafe fn close_other_fds(keep: &[BorrowedFd<'_>]) -> Result<()> {
    // SAFETY: passed on to the caller.
    unsafe { close_all_but(|| keep.iter().map(AsRawFd::as_raw_fd)) }
}

/// As [`close_other_fds`], by numbers in any order.
///
/// # Safety
///
/// As there.
pub(super) unsafe fn close_all_but<I: Iterator<Item = RawFd>>(kept: impl Fn() -> I) -> Result<()> {
    let mut next = 3;
    loop {
        let end = kept().filter(|fd| *fd >= next).min().unwrap_or(RawFd::MAX);
        if next < end {
            // SAFETY: passed on to the caller.
            unsafe { close_range(next, end - 1) }?;
        }
        if end == RawFd::MAX {
            return Ok(());
        }
        next = end + 1;
    }
}

/// Closes these, and those between.
///
/// # Safety
///
/// As [`close_other_fds`].
unsafe fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: passed on to the caller.
    match unsafe { call::close_range(first, last) } {
        // Before Linux 5.9, or by a filter that does not know it: one by one.
        Err(errno) if call::is_missing(errno) => {
            let limit = call::prlimit64_get_soft(abi::RLIMIT_NOFILE)?;
            let end = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
            for fd in first..=last.min(end) {
                // SAFETY: passed on to the caller. It need not be open.
                let _ = unsafe { call::close_raw(fd) };
            }
            Ok(())
        }
        answer => answer,
    }
}
