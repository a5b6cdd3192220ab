//! Creates the child of a spawn and, if needed, a pipe through which the child reports a failure. Also
//! executes a new program in this process, from a new thread if needed.
//!
//! # Safety
//!
//! This file is trusted to give the child a stack and a plan that stay unchanged until the child has stopped
//! using them.
#![allow(unsafe_code, reason = "a child in shared memory")]

use super::super::{Child, Signal, SpawnMethod, claim::Creation};
use super::child::{self, Move, Plan, number};
use super::{SpawnError, SpawnStage};
use crate::event::poll;
use crate::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use crate::sys::{abi, call};
use crate::{Errno, PipeFlags};
use core::convert::Infallible;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;

/// The ways to create a child, in the order in which they are tried. Linux 5.5 and later can clear handlers
/// during the clone, and Linux 5.2 and later can create a pidfd. An emulator or a filter may reject shared
/// memory.
const ATTEMPTS: [(u64, SpawnMethod); 5] = [
    (VFORK | PIDFD | abi::CLONE_CLEAR_SIGHAND, SpawnMethod::Vfork),
    (VFORK | PIDFD, SpawnMethod::Vfork),
    (VFORK, SpawnMethod::Vfork),
    (PIDFD | abi::SIGCHLD as u64, SpawnMethod::Fork),
    (abi::SIGCHLD as u64, SpawnMethod::Fork),
];
const VFORK: u64 = (abi::CLONE_VM | abi::CLONE_VFORK | abi::SIGCHLD) as u64;
const PIDFD: u64 = abi::CLONE_PIDFD as u64;
const THREAD: u64 =
    (abi::CLONE_VM | abi::CLONE_VFORK | abi::CLONE_SIGHAND | abi::CLONE_THREAD) as u64;

/// The result of checking whether a clone that requests shared memory really shares it: `UNKNOWN`, `SHARES`
/// or `COPIES`.
static SHARED: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const SHARES: u8 = 1;
const COPIES: u8 = 2;

/// A child, and the read end of the pipe through which the child reports a failure, if that pipe exists.
type Made = (Child, Option<OwnedFd>);

/// Creates the child. A child that changes its credentials never shares this process's memory.
pub(super) fn make(mut plan: Plan<'_>, stack: (*mut u8, usize)) -> Result<Made, SpawnError> {
    let (report, changes_ids) = (plan.report, plan.spawn.changes_ids());
    let mut channel = None;
    let mut last_error = Errno::ENOSYS;
    for (flags, method) in ATTEMPTS {
        let vfork = method == SpawnMethod::Vfork;
        if changes_ids && vfork {
            continue;
        }
        let shared = SHARED.load(Ordering::Relaxed);
        if channel.is_none() && !(vfork && shared == SHARES) {
            channel = match open_channel(plan.moves) {
                Ok(ends) => Some(ends),
                // The memory is most likely shared. If it is, the child needs no pipe.
                Err(_) if vfork && shared == UNKNOWN => None,
                Err(errno) => return Err(SpawnError::at(SpawnStage::Channel)(errno)),
            };
            plan.channel = channel.as_ref().map(|(_, writer)| writer.as_raw_fd());
        }
        plan.handlers_cleared = flags & abi::CLONE_CLEAR_SIGHAND != 0;
        let arg = (&raw mut plan).cast::<()>().cast_const();
        let _creation = Creation::begin();
        // SAFETY: `launch` owns the stack, the end of the stack is aligned, and only the child uses the
        // stack. A clone that shares memory also has CLONE_VFORK, and `child::begin` may run in shared
        // memory: see the documentation of `child`. The plan and everything that it refers to outlive this
        // call. While the child runs, this code accesses none of this data except the report, which is
        // atomic.
        match unsafe { call::clone_on_stack(flags, stack, child::begin, arg) } {
            Ok((pid, pidfd)) => {
                if vfork && SHARED.load(Ordering::Relaxed) == UNKNOWN {
                    let shares = report.started.load(Ordering::SeqCst);
                    SHARED.store(if shares { SHARES } else { COPIES }, Ordering::Relaxed);
                }
                let mut child = Child::new(pid, pidfd);
                child.method = method;
                // The write end is dropped here, so that only the child's copy remains.
                return Ok((child, channel.map(|(reader, _)| reader)));
            }
            // The kernel or a filter rejected the call, or no descriptor is free for a pidfd.
            Err(errno) if call::is_missing(errno) => last_error = errno,
            Err(errno @ (Errno::EMFILE | Errno::ENFILE)) => last_error = errno,
            Err(errno) => return Err(SpawnError::at(SpawnStage::Clone)(errno)),
        }
    }
    Err(SpawnError::at(SpawnStage::Clone)(last_error))
}

/// Replaces the program of this process. Returns only on failure.
///
/// If the settings change per-thread attributes, such as descriptors, directory, umask, niceness or ids, a
/// new thread changes its own copies of them. After a failure, the attributes of all other threads are
/// therefore unchanged. Signal handlers belong to the process, and `execve` resets them.
pub(super) fn replace(
    mut plan: Plan<'_>,
    stack: (*mut u8, usize),
) -> Result<Infallible, SpawnError> {
    plan.is_exec = true;
    plan.is_thread = plan.spawn.changes_thread();
    let failure = if plan.is_thread {
        plan.death_signal = call::prctl_get_pdeathsig().unwrap_or(0);
        let arg = (&raw mut plan).cast::<()>().cast_const();
        // SAFETY: the reasons given in `make` apply. Without CLONE_SETTLS, the new thread uses the
        // thread-local storage of the calling thread, which is stopped.
        let made = unsafe { call::clone_on_stack(THREAD, stack, child::begin, arg) };
        let (thread, _) = made.map_err(SpawnError::at(SpawnStage::Clone))?;
        // The new thread releases the memory before it closes its copies of the descriptors, so this loop
        // waits until the thread has ended. The wait is limited to 20,000 pauses (at least one second), in
        // case another process has received the thread's id.
        for _ in (0..20_000).take_while(|_| call::getsid(thread).is_ok()) {
            let _ = poll(&mut [], Some(Duration::from_micros(50)));
        }
        plan.report.failure()
    } else {
        child::carry_out(&mut plan).err()
    };
    // If another thread has since set a handler for the signal, that handler is kept.
    let changed = |signal: &Signal| plan.no_longer_ignored.contains(*signal);
    for number in (1..).map_while(Signal::from_raw).filter(changed).map(number) {
        if call::rt_sigaction_get(number).is_ok_and(|action| action.is_default()) {
            let _ = call::rt_sigaction_ignore(number);
        }
    }
    Err(failure.unwrap_or(SpawnError::at(SpawnStage::Channel)(Errno::ECHILD)))
}

/// Creates a close-on-exec pipe whose write end has a number that is not a target of `moves`.
fn open_channel(moves: &[Move]) -> crate::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = call::pipe2(PipeFlags::CLOEXEC.bits())?;
    Ok((reader, move_elsewhere(writer, moves)?))
}

/// Returns the descriptor itself if its number is not a target of `moves`. Otherwise returns a copy whose
/// number is not a target.
pub(super) fn move_elsewhere(fd: OwnedFd, moves: &[Move]) -> crate::Result<OwnedFd> {
    if is_target(fd.as_raw_fd(), moves) { copy_elsewhere(fd.as_fd(), moves, drop) } else { Ok(fd) }
}

/// Returns a close-on-exec copy whose number is 3 or above and is not a target of `moves`. If the number of a
/// copy is a target, passes that copy to `reject`.
pub(super) fn copy_elsewhere(
    fd: BorrowedFd<'_>,
    moves: &[Move],
    reject: impl Fn(OwnedFd),
) -> crate::Result<OwnedFd> {
    let mut lowest = 3;
    loop {
        let copy = call::fcntl_dupfd_cloexec(fd, lowest)?;
        let number = copy.as_raw_fd();
        if !is_target(number, moves) {
            return Ok(copy);
        }
        reject(copy);
        lowest = usize::try_from(number).unwrap_or(0) + 1;
    }
}

fn is_target(number: RawFd, moves: &[Move]) -> bool {
    moves.binary_search_by_key(&number, |step| step.to).is_ok()
}
