//! Whether a child has begun its program, or was killed before.
//!
//! That a vfork comes back, or that a close-on-exec pipe ends, proves neither: both also happen when the
//! child dies. The kernel keeps the fact itself, as a flag of the process that `execve` clears, and shows
//! it in two places:
//!
//! - `setpgid` on a child that has begun its program fails with `EACCES`, by POSIX. The group that is
//!   asked for here does not exist, so that nothing changes otherwise. It is one cheap call, and enough
//!   for almost every child. But it fails with `EPERM`, without looking at the flag, where the child is
//!   in a session of its own, be it that its program has begun that.
//! - `/proc/PID/stat` for all others, ended ones too. Where that cannot be read, a child in the session of
//!   this process is still known.
//!
//! `waitid` alone would not do: a vfork comes back before a killed child can be waited for.

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

/// The flag of a process that was forked and has begun no program. In no header for programs.
const PF_FORKNOEXEC: u32 = 0x40;

/// Larger than any process id can be.
const NONE: i32 = i32::MAX;

/// Waits until the child has begun its program or has ended. The error says that it has ended before, if
/// that can be known.
pub(super) fn wait(child: &Child) -> Result<(), SpawnError> {
    while let (Some(false), end) = look(child) {
        match end {
            // Between the end of its use of this memory and its program, or its end.
            Ok(None) => _ = poll(&mut [], Some(Duration::from_micros(50))),
            Ok(Some((end, _))) => {
                // With an exit code it had an error to report, and could not.
                let stage =
                    ExitStatus::new(&end).signal().map_or(SpawnStage::Channel, SpawnStage::Killed);
                return Err(SpawnError::at(stage)(Errno::ECHILD));
            }
            Err(_) => break,
        }
    }
    Ok(())
}

/// Whether the child has begun its program, if that can be known, and whether it has ended.
fn look(child: &Child) -> (Option<bool>, Result<Option<Waited>, Errno>) {
    let pid = i32::try_from(child.id()).unwrap_or(NONE);
    if call::setpgid(pid, NONE) == Err(Errno::EACCES) {
        return (Some(true), Ok(None));
    }
    // First, so that what is seen of an ended child after that is final.
    let end = child.waitid(PEEK);
    (by_proc(pid).or_else(|| by_session(pid)), end)
}

/// In this process's own session, `setpgid` fails with `EACCES` or the child has not begun. (A filter does
/// not look at the group, and fails with the same error for one that is negative.)
fn by_session(pid: i32) -> Option<bool> {
    let same = call::getsid(pid).ok()? == call::getsid(0).ok()?;
    let asked = same && call::setpgid(pid, -1) == Err(Errno::EINVAL);
    asked.then(|| call::setpgid(pid, NONE) == Err(Errno::EACCES))
}

/// `None` where there is no `/proc`, or where it is that of another pid name space.
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

/// Process id, that of the parent, and flags.
fn stat(path: &CStr) -> Option<[u32; 3]> {
    let mut bytes = [0; 256];
    let file = call::openat_for_reading(path).ok()?;
    let count = call::read(file.as_fd(), &mut bytes).ok()?;
    let text = bytes.get(..count)?;
    let number = |field: &[u8]| core::str::from_utf8(field).ok()?.parse().ok();
    let pid = number(text.split(|byte| *byte == b' ').next()?)?;
    // Behind the name, in which anything may be.
    let rest = text.get(text.iter().rposition(|byte| *byte == b')')? + 2..)?;
    let mut fields = rest.split(|byte| *byte == b' ');
    Some([pid, number(fields.nth(1)?)?, number(fields.nth(4)?)?])
}

/// What the child says through the pipe, or `None` if that ends.
///
/// Another process that was forked meanwhile and has no program yet may hold the write end open: so the
/// end of the pipe is not waited for once the child's fate is known.
pub(super) fn listen(channel: &OwnedFd, child: &Child) -> Option<SpawnError> {
    let ready = |patience| poll(&mut [PollFd::new(channel, PollEvents::IN)], Some(patience));
    let mut patience = Duration::from_millis(1);
    // One denial is not believed: the child would have to be heard out all the same.
    let mut denied = false;
    while matches!(ready(patience), Ok(0) | Err(Errno::EINTR)) {
        let known = match look(child) {
            (Some(true), _) | (_, Ok(Some(_))) => true,
            (_, answer) => {
                let before = mem::replace(&mut denied, answer.is_err());
                before && denied
            }
        };
        // An interrupted poll has not looked.
        if known && ready(Duration::ZERO) == Ok(0) {
            return None;
        }
        patience = (patience * 2).min(Duration::from_millis(100));
    }
    let mut bytes = [[0; 4]; 4];
    crate::io::read_exact(channel, bytes.as_flattened_mut()).ok()?;
    SpawnError::decode(bytes.map(i32::from_ne_bytes))
}
