//! Reads and changes attributes of this process, and moves children to process groups.
//!
//! Each function makes one system call. The functions allocate nothing and lock nothing, so a forked child or
//! a signal handler may call them.

use crate::sys::call;
use crate::{Errno, Result};
use core::ffi::CStr;

/// Returns the process id of this process. The id is not cached: in a forked child, the call returns the
/// child's id.
///
/// [getpid(2)](https://man7.org/linux/man-pages/man2/getpid.2.html)
#[must_use]
pub fn getpid() -> u32 {
    call::getpid().unsigned_abs()
}

/// Returns the process id of the parent of this process, or 0 if the parent is in another pid namespace.
///
/// After the parent has ended, this function returns the id of the process that adopted this process.
///
/// [getppid(2)](https://man7.org/linux/man-pages/man2/getppid.2.html)
#[must_use]
pub fn getppid() -> u32 {
    call::getppid().unsigned_abs()
}

/// Makes this process the leader of a new session, which has no terminal, and of a new process group in that
/// session.
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

/// Moves a child into a process group of the child's session. If `pid` is 0, moves this process instead. If
/// `group` is 0, the process leads its own group.
///
/// [`Child::lead_group`](super::Child::lead_group) makes a child lead its own group, so that the handle can
/// signal that group.
///
/// # Errors
///
/// - [`EACCES`](Errno::EACCES) if the child has already started another program.
/// - [`EPERM`](Errno::EPERM) if the session of the process has no group with this id, or the
///   process leads a session.
/// - [`ESRCH`](Errno::ESRCH) if `pid` is neither this process nor a child.
/// - [`EINVAL`](Errno::EINVAL) if `pid` or `group` is above `i32::MAX`.
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

/// Sets the file mode creation mask: the permissions that are removed from files created by this process.
/// Returns the previous mask.
///
/// All threads share the mask.
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

/// Changes the directory in which this process resolves relative paths. All threads share the directory.
///
/// # Errors
///
/// - [`ENOENT`](Errno::ENOENT) if the directory does not exist.
/// - [`ENOTDIR`](Errno::ENOTDIR) if the path, or a component of the path, is not a directory.
/// - [`EACCES`](Errno::EACCES) if this process may not enter the directory, or may not enter a component of
///   the path.
/// - [`ELOOP`](Errno::ELOOP) or [`ENAMETOOLONG`](Errno::ENAMETOOLONG) if the path has too many symbolic
///   links, or is too long.
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

/// Sets whether this process, instead of the init process, adopts each descendant whose parent ends.
///
/// Adopted processes become children that have no handle, and `wait_any` collects these children. A forked
/// child does not inherit the setting. If this process executes another program, the setting is kept.
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
