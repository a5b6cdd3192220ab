//! Making the child of a spawn, in whatever way the kernel lets it be made, and the pipe for its failure
//! where it needs one.
//!
//! # Safety
//!
//! This file is trusted to give the child a stack and a plan that stay as they are until it has left
//! them.
#![allow(unsafe_code, reason = "a child in shared memory")]

use super::super::Method;
use super::child::{self, Move, Plan, Report};
use super::{SpawnError, Stage};
use crate::abi::{SIGCHLD, child as abi};
use crate::call::{self, setup};
use crate::fd::{AsFd, AsRawFd, OwnedFd};
use crate::{Errno, PipeFlags};
use core::sync::atomic::{AtomicU8, Ordering};

/// A child that has been made, and what its parent needs to hear of it.
pub(super) struct Made {
    pub(super) pid: i32,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) channel: Option<OwnedFd>,
    pub(super) method: Method,
}

/// What is tried, each if the kernel refuses the one before. Linux 5.5 clears handlers itself, and 5.2 has
/// pidfds; an emulator, or a filter, may refuse shared memory.
const ATTEMPTS: [(u64, Method); 5] = [
    (VFORK | PIDFD | abi::CLONE_CLEAR_SIGHAND, Method::Vfork),
    (VFORK | PIDFD, Method::Vfork),
    (VFORK, Method::Vfork),
    (PIDFD | SIGCHLD as u64, Method::Fork),
    (SIGCHLD as u64, Method::Fork),
];
const VFORK: u64 = (abi::CLONE_VM | abi::CLONE_VFORK | SIGCHLD) as u64;
const PIDFD: u64 = abi::CLONE_PIDFD as u64;

/// Whether a child in shared memory has been seen to share it.
static SHARED: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const SHARES: u8 = 1;
const COPIES: u8 = 2;

pub(super) fn make(
    mut plan: Plan<'_>,
    stack: (*mut u8, usize),
    report: &Report,
) -> Result<Made, SpawnError> {
    let last = plan.moves.last().map_or(Move { from: -1, to: -1 }, |last| *last);
    let mut channel = None;
    let mut refusal = Errno::ENOSYS;
    for (flags, method) in ATTEMPTS {
        if channel.is_none() && (method == Method::Fork || SHARED.load(Ordering::Relaxed) != SHARES)
        {
            let (reader, writer) = open_channel(last)?;
            plan.channel = Some(writer.as_raw_fd());
            channel = Some((reader, writer));
        }
        plan.handlers_cleared = flags & abi::CLONE_CLEAR_SIGHAND != 0;
        let arg = (&raw mut plan).cast::<()>().cast_const();
        // SAFETY: the stack lives in `spawn`; its end is aligned, and it is the child's alone. Shared
        // memory comes with CLONE_VFORK, and `child::begin` may run in it: see the top of its file. The
        // plan and all that it refers to live until behind this call, and are not touched here while it
        // runs, except the report, which is atomic.
        match unsafe { setup::clone_on_stack(flags, stack, child::begin, arg) } {
            Ok((pid, pidfd)) => {
                if method == Method::Vfork && SHARED.load(Ordering::Relaxed) == UNKNOWN {
                    let shares = report.started.load(Ordering::SeqCst);
                    SHARED.store(if shares { SHARES } else { COPIES }, Ordering::Relaxed);
                }
                // Dropped here: the write end, so that the child's is the last.
                let channel = channel.map(|(reader, _)| reader);
                return Ok(Made { pid, pidfd, channel, method });
            }
            // Refused, or no number is left for a pidfd.
            Err(
                errno @ (Errno::EINVAL
                | Errno::ENOSYS
                | Errno::EPERM
                | Errno::EMFILE
                | Errno::ENFILE),
            ) => refusal = errno,
            Err(errno) => return Err(SpawnError::at(Stage::Clone)(errno)),
        }
    }
    Err(SpawnError::at(Stage::Clone)(refusal))
}

/// A pipe, close-on-exec, with its write end above the highest number that the child maps.
fn open_channel(last: Move) -> Result<(OwnedFd, OwnedFd), SpawnError> {
    let failed = SpawnError::at(Stage::Channel);
    let (reader, writer) = call::pipe2(PipeFlags::CLOEXEC.bits()).map_err(&failed)?;
    let above = usize::try_from(last.to.saturating_add(1)).unwrap_or(0).max(3);
    match call::fcntl_dupfd_cloexec(writer.as_fd(), above) {
        Ok(writer) => Ok((reader, writer)),
        // There is no number above that one, and the child would find that there is not even that one.
        Err(Errno::EINVAL) => {
            Err(SpawnError::at(Stage::Dup { from: last.from, to: last.to })(Errno::EBADF))
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// What the child says, or `None` if the pipe ends because its program has begun.
pub(super) fn listen(channel: &OwnedFd) -> Option<SpawnError> {
    let mut bytes = [0; 16];
    crate::io::read_exact(channel, &mut bytes).ok()?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = i32::from_ne_bytes(bytes.try_into().ok()?);
    }
    SpawnError::decode(words)
}
