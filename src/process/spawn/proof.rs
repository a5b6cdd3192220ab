//! Finding out whether a child has begun its program, or was killed before.
//!
//! Neither the return of a vfork nor the end of a close-on-exec pipe proves it: both also happen when the
//! child dies. The kernel keeps a flag in the process, which `execve` clears, and exposes it in two places:
//!
//! - `setpgid` on a child that has begun its program fails with `EACCES`, by POSIX. The group that is passed
//!   here does not exist, so nothing changes otherwise. It is one cheap call, and enough for almost every
//!   child. But if the child is in its own session, even one that its program has created, it fails with
//!   `EPERM` before it looks at the flag.
//! - `/proc/PID/stat` for all others, including ended ones. If that cannot be read, a child in the session of
//!   this process can still be checked.
//!
//! `waitid` alone is not enough: a vfork returns before a killed child can be waited for.

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

/// The flag of a process that was forked and has begun no program. No header for programs defines it.
const PF_FORKNOEXEC: u32 = 0x40;

/// Larger than any possible process id.
const NONE: i32 = i32::MAX;

/// Waits until the child has begun its program or has ended. Fails if the child is known to have ended before
/// its program began.
pub(super) fn wait(child: &Child) -> Result<(), SpawnError> {
    while let (Some(false), end) = check(child) {
        match end {
            // After it has released this memory and before its program, or before its end.
            Ok(None) => _ = poll(&mut [], Some(Duration::from_micros(50))),
            Ok(Some((end, _))) => {
                // An exit code means that it had an error to report, and could not.
                let stage =
                    ExitStatus::new(&end).signal().map_or(SpawnStage::Channel, SpawnStage::Killed);
                return Err(SpawnError::at(stage)(Errno::ECHILD));
            }
            Err(_) => break,
        }
    }
    Ok(())
}

/// Returns whether the child has begun its program, if that can be known, and whether it has ended.
fn check(child: &Child) -> (Option<bool>, Result<Option<Waited>, Errno>) {
    let pid = i32::try_from(child.id()).unwrap_or(NONE);
    if call::setpgid(pid, NONE) == Err(Errno::EACCES) {
        return (Some(true), Ok(None));
    }
    // First, so that what follows is final for a child that has ended.
    let end = child.waitid(PEEK);
    (by_proc(pid).or_else(|| by_session(pid)), end)
}

/// In this process's own session, `setpgid` fails with `EACCES` exactly if the child has begun its program.
/// (A filter does not look at the group, and fails with the same error for a negative one. The kernel fails
/// with `EINVAL`.)
fn by_session(pid: i32) -> Option<bool> {
    let same = call::getsid(pid).ok()? == call::getsid(0).ok()?;
    let usable = same && call::setpgid(pid, -1) == Err(Errno::EINVAL);
    usable.then(|| call::setpgid(pid, NONE) == Err(Errno::EACCES))
}

/// Returns `None` if there is no `/proc`, or if it belongs to another pid namespace.
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

/// Returns the process id, that of the parent, and the flags.
fn stat(path: &CStr) -> Option<[u32; 3]> {
    let mut bytes = [0; 256];
    let file = call::openat_for_reading(path).ok()?;
    let count = call::read(file.as_fd(), &mut bytes).ok()?;
    let text = bytes.get(..count)?;
    let number = |field: &[u8]| core::str::from_utf8(field).ok()?.parse().ok();
    let pid = number(text.split(|byte| *byte == b' ').next()?)?;
    // After the name, which may contain anything.
    let rest = text.get(text.iter().rposition(|byte| *byte == b')')? + 2..)?;
    let mut fields = rest.split(|byte| *byte == b' ');
    Some([pid, number(fields.nth(1)?)?, number(fields.nth(4)?)?])
}

/// Returns what the child reports through the pipe, or `None` if the pipe ends.
///
/// Another process that was forked meanwhile and has no program yet may have the write end open. So this does not
/// wait for the end of the pipe once it is known what happened to the child.
pub(super) fn read_report(channel: &OwnedFd, child: &Child) -> Option<SpawnError> {
    let ready = |timeout| poll(&mut [PollFd::new(channel, PollEvents::IN)], Some(timeout));
    let mut timeout = Duration::from_millis(1);
    // One failed `waitid` proves nothing: even then a report of the child must still be read.
    let mut failed = false;
    while matches!(ready(timeout), Ok(0) | Err(Errno::EINTR)) {
        let known = match check(child) {
            (Some(true), _) | (_, Ok(Some(_))) => true,
            (_, end) => {
                let failed_before = mem::replace(&mut failed, end.is_err());
                failed_before && failed
            }
        };
        // An interrupted poll has not looked into the pipe.
        if known && ready(Duration::ZERO) == Ok(0) {
            return None;
        }
        timeout = (timeout * 2).min(Duration::from_millis(100));
    }
    let mut bytes = [[0; 4]; 4];
    crate::io::read_exact(channel, bytes.as_flattened_mut()).ok()?;
    SpawnError::decode(bytes.map(i32::from_ne_bytes))
}
