//! What a process changes about itself, or asks.
//!
//! One system call each, which allocates nothing and locks nothing: a forked child may make them, and a signal handler.

use crate::sys::call;
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
