//! Determines whether a child has begun its program or was killed first.
//!
//! The return of a vfork and the end of a close-on-exec pipe prove nothing, because they also occur when the
//! child dies. The kernel keeps a flag for each process and clears the flag in `execve`. The flag is visible
//! in two ways:
//!
//! - `setpgid` on a child that has begun its program fails with `EACCES`, as POSIX requires. The group passed
//!   here does not exist, so the call changes nothing. This single inexpensive call is sufficient for almost
//!   every child. If the child is in a separate session, the call fails with `EPERM` before the kernel checks
//!   the flag. The child's program may have created that session.
//! - `/proc/PID/stat` shows the flag of any child, including a child that has ended. If this file cannot be
//!   read, `setpgid` still determines the state of a child in the session of this process.
//!
//! `waitid` alone is not enough: a vfork may return before a killed child can be waited for.

use super::super::{Child, ExitStatus, exec::decimal};
use super::{SpawnError, SpawnStage};
use crate::Errno;
use crate::event::{PollEvents, PollFd, poll};
use crate::fd::{AsFd, OwnedFd};
use crate::sys::abi::PEEK;
use crate::sys::call::{self, Waited};
use core::ffi::CStr;
use core::mem;
use core::time::Duration;

/// The flag that the kernel sets for a process that was forked and has not yet begun a program. No userspace
/// header defines this flag.
const PF_FORKNOEXEC: u32 = 0x40;

/// A number larger than any possible process id.
const NONE: i32 = i32::MAX;

/// Waits until the child has begun its program or has ended. Fails if the child is known to have ended before
/// its program began.
pub(super) fn wait(child: &Child) -> Result<(), SpawnError> {
    while let (Some(false), end) = check(child) {
        match end {
            // The child has neither begun its program nor ended, but may already have released the shared
            // memory or closed the pipe.
            Ok(None) => _ = poll(&mut [], Some(Duration::from_micros(50))),
            Ok(Some((end, _))) => {
                // An exit code means that the child could not report its error.
                let stage =
                    ExitStatus::new(&end).signal().map_or(SpawnStage::Channel, SpawnStage::Killed);
                return Err(SpawnError::at(stage)(Errno::ECHILD));
            }
            Err(_) => break,
        }
    }
    Ok(())
}

/// Returns two results: whether the child has begun its program (`None` if unknown), and how the child ended,
/// if it has ended. The end is not checked if `setpgid` shows that the program has begun.
fn check(child: &Child) -> (Option<bool>, Result<Option<Waited>, Errno>) {
    let pid = i32::try_from(child.id()).unwrap_or(NONE);
    if call::setpgid(pid, NONE) == Err(Errno::EACCES) {
        return (Some(true), Ok(None));
    }
    // The wait precedes the other checks, so that the flag of a child that has ended can no longer change.
    let end = child.waitid(PEEK);
    (by_proc(pid).or_else(|| by_session(pid)), end)
}

/// Returns whether the child has begun its program, or `None` if `setpgid` cannot determine that. For a child
/// in this process's session, `setpgid` fails with `EACCES` if and only if the child has begun its program. A
/// filter may also return `EACCES`. A call with a negative group detects such a filter. The kernel returns
/// `EINVAL` for that group, but a filter returns `EACCES` again.
fn by_session(pid: i32) -> Option<bool> {
    let same = call::getsid(pid).ok()? == call::getsid(0).ok()?;
    let usable = same && call::setpgid(pid, -1) == Err(Errno::EINVAL);
    usable.then(|| call::setpgid(pid, NONE) == Err(Errno::EACCES))
}

/// Returns whether the child has begun its program, or `None` if `/proc` cannot be read or belongs
/// to another pid namespace.
fn by_proc(pid: i32) -> Option<bool> {
    let mut path = *b"/proc/\0\0\0\0\0\0\0\0\0\0/stat\0";
    let digits = decimal(path.get_mut(6..16)?, pid.unsigned_abs());
    path.get_mut(6 + digits..)?.get_mut(..6)?.copy_from_slice(b"/stat\0");
    let [_, parent, flags] = stat(CStr::from_bytes_until_nul(&path).ok()?)?;
    let own = call::getpid().unsigned_abs();
    if parent != own {
        return None;
    }
    let begun = flags & PF_FORKNOEXEC == 0;
    (begun || stat(c"/proc/self/stat")?[0] == own).then_some(begun)
}

/// Returns the process id, the parent's process id, and the flags from this `stat` file.
fn stat(path: &CStr) -> Option<[u32; 3]> {
    let mut bytes = [0; 256];
    let file = call::openat_for_reading(path).ok()?;
    let count = call::read(file.as_fd(), &mut bytes).ok()?;
    let text = bytes.get(..count)?;
    let number = |field: &[u8]| core::str::from_utf8(field).ok()?.parse().ok();
    let pid = number(text.split(|byte| *byte == b' ').next()?)?;
    // The other fields follow the name, which may contain any bytes.
    let rest = text.get(text.iter().rposition(|byte| *byte == b')')? + 2..)?;
    let mut fields = rest.split(|byte| *byte == b' ');
    Some([pid, number(fields.nth(1)?)?, number(fields.nth(4)?)?])
}

/// Returns the child's report from the pipe, or `None` if the child has written no report.
///
/// Another process that was forked at the same time may hold a copy of the write end until that process
/// begins a program. This function therefore stops waiting for the end of the pipe once the state of the
/// child is known.
pub(super) fn read_report(channel: &OwnedFd, child: &Child) -> Option<SpawnError> {
    let ready = |timeout| poll(&mut [PollFd::new(channel, PollEvents::IN)], Some(timeout));
    let mut timeout = Duration::from_millis(1);
    // One failed `waitid` proves nothing, because the child's report may still be unread.
    let mut failed = false;
    while matches!(ready(timeout), Ok(0) | Err(Errno::EINTR)) {
        let known = match check(child) {
            (Some(true), _) | (_, Ok(Some(_))) => true,
            (_, end) => {
                let failed_before = mem::replace(&mut failed, end.is_err());
                failed_before && failed
            }
        };
        // If a signal interrupted the poll, the pipe has not been checked.
        if known && ready(Duration::ZERO) == Ok(0) {
            return None;
        }
        timeout = (timeout * 2).min(Duration::from_millis(100));
    }
    let mut bytes = [[0; 4]; 4];
    crate::io::read_exact(channel, bytes.as_flattened_mut()).ok()?;
    SpawnError::decode(bytes.map(i32::from_ne_bytes))
}
