//! Runs the child's part of a spawn, from the creation of the child until its program begins.
//!
//! The child usually runs in its parent's memory, and shares the thread-local storage of a thread that is
//! stopped while the child runs. The code in this file therefore never allocates, locks, panics, touches
//! thread-local storage, or drops a value that owns a resource. The child only makes system calls, whose
//! arguments the parent has prepared.
//!
//! # Safety
//!
//! This file is trusted to use descriptors by number. All of these descriptors are the child's own copies,
//! and no other code that could use them runs in the child. The same applies to the thread that replaces this
//! process's program, because that thread has a separate table of descriptors. If no such thread is created
//! (see [`make::replace`](super::make)), an exec replaces no descriptor, and closes only a descriptor that
//! this file has opened.
#![allow(unsafe_code, reason = "descriptors by number, in a process that is this code only")]

use super::super::{Signal, SignalSet, close::close_all_but, execvpe};
use super::{Spawn, SpawnError, SpawnStage, make::copy_elsewhere};
use crate::errno::{Errno, Result, retry};
use crate::event::{PollEvents, PollFd, poll};
use crate::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use crate::sys::{abi, call};
use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use core::time::Duration;

/// A descriptor of the parent, and its number in the child.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub(super) from: RawFd,
    pub(super) to: RawFd,
    /// The number of the descriptor that is duplicated: `from`, or the number of a temporary copy.
    pub(super) source: RawFd,
}

/// The report that the child makes to its parent through shared memory.
#[derive(Default)]
pub(super) struct Report {
    /// A mark that the child sets when it starts. The parent sees the mark only if the memory is shared.
    pub(super) started: AtomicBool,
    pub(super) words: [AtomicI32; 4],
}

impl Report {
    /// Returns the failure that the child has reported, or `None` if the child reported no failure.
    pub(super) fn failure(&self) -> Option<SpawnError> {
        SpawnError::decode(self.words.each_ref().map(|word| word.load(Ordering::SeqCst)))
    }
}

/// The data that the child needs.
pub(super) struct Plan<'a> {
    pub(super) spawn: &'a Spawn<'a>,
    /// The mapping of descriptors, sorted by the number in the child.
    pub(super) moves: &'a mut [Move],
    pub(super) path: &'a [u8],
    /// The parent's process id, and a pidfd for the parent if one was opened for the parent-death signal.
    pub(super) parent: (i32, Option<RawFd>),
    pub(super) report: &'a Report,
    /// The write end of the pipe through which the child reports a failure. Neither the number of this write
    /// end nor the number of the parent's pidfd is a target of `moves`.
    pub(super) channel: Option<RawFd>,
    /// `true` if the kernel has already reset all signal handlers.
    pub(super) handlers_cleared: bool,
    /// `true` if the new program replaces the program of this process.
    pub(super) is_exec: bool,
    /// `true` if a new thread replaces the program.
    pub(super) is_thread: bool,
    /// The parent-death signal of the calling thread, or 0. The new thread sets the same signal.
    pub(super) death_signal: usize,
    /// The ignored signals that an exec has set to their default effect.
    pub(super) no_longer_ignored: SignalSet,
    /// The signals that are blocked when the program begins.
    pub(super) mask: SignalSet,
}

/// The entry point of the child, or of the thread that replaces the program of its process.
pub(super) extern "C" fn begin(plan: *const ()) -> ! {
    // SAFETY: the parent has passed the address of a `Plan`. Either the child has its own copy of the plan,
    // or `CLONE_VFORK` stops the calling thread until the child has ended or begun its program.
    let plan = unsafe { &mut *plan.cast_mut().cast::<Plan<'_>>() };
    plan.report.started.store(true, Ordering::SeqCst);
    let Err(failure) = carry_out(plan);
    let encoded = failure.encode();
    for (place, word) in plan.report.words.iter().zip(encoded) {
        place.store(word, Ordering::SeqCst);
    }
    if plan.is_thread {
        call::exit();
    }
    if let Some(channel) = plan.channel {
        let bytes = encoded.map(i32::to_ne_bytes);
        // SAFETY: the parent keeps the descriptor open during the clone, so this process has a copy, and no
        // code closes it.
        let channel = unsafe { BorrowedFd::borrow_raw(channel) };
        // The report is shorter than `PIPE_BUF`, so one call writes all of it. If the pipe has no reader, the
        // failure cannot be reported.
        let _ = retry(|| call::write(channel, bytes.as_flattened()));
    }
    call::exit_group(127)
}

pub(super) fn carry_out(plan: &mut Plan<'_>) -> core::result::Result<Infallible, SpawnError> {
    use SpawnError as E;
    let spawn = plan.spawn;
    if plan.death_signal > 0 {
        call::prctl_set_pdeathsig(plan.death_signal).map_err(E::at(SpawnStage::DeathSignal))?;
    }
    change_session(spawn)?;
    if let Some(processes) = spawn.cgroup {
        call::write(processes, b"0").map_err(E::at(SpawnStage::Cgroup))?;
    }
    map_descriptors(plan.moves)?;
    if spawn.close_others {
        let own = [plan.channel, plan.parent.1];
        let targets = || plan.moves.iter().map(|step| step.to);
        // SAFETY: no other code uses this table of descriptors, and this code no longer uses the descriptors
        // that are closed.
        unsafe { close_all_but(|| targets().chain(own.into_iter().flatten())) }
            .map_err(E::at(SpawnStage::CloseOthers))?;
    }
    if let Some(increment) = spawn.nice {
        nice(increment).map_err(E::at(SpawnStage::Nice))?;
    }
    for (resource, limit) in spawn.limits {
        call::prlimit64(resource.as_raw(), limit.soft, limit.hard)
            .map_err(E::at(SpawnStage::Setrlimit(*resource)))?;
    }
    change_ids(spawn)?;
    if let Some(folder) = spawn.folder {
        call::chdir(folder).map_err(E::at(SpawnStage::Chdir))?;
    }
    if let Some(mask) = spawn.umask {
        call::umask(mask);
    }
    // The signal is set after the ids, because a change of ids clears the signal.
    if let Some(signal) = spawn.death_signal {
        let signal = number(signal);
        call::prctl_set_pdeathsig(signal).map_err(E::at(SpawnStage::DeathSignal))?;
        // If the parent has already ended, the kernel sends no signal, and no process would read a report of
        // the failure.
        if !parent_lives(plan.parent) {
            call::exit_group(u8::try_from(signal | 128).unwrap_or(u8::MAX));
        }
    }
    reset_handlers(plan).map_err(E::at(SpawnStage::Signals))?;
    // The mask is set last, because signals may arrive once it is set. If the child shares its parent's
    // memory, no handler remains that could run in that memory.
    call::rt_sigprocmask(abi::SIG_SETMASK, &plan.mask.0).map_err(E::at(SpawnStage::Signals))?;
    execvpe(spawn.program, plan.path, spawn.argv, spawn.envp).map_err(E::at(SpawnStage::Exec))
}

/// Applies the settings for session, process group and terminal.
fn change_session(spawn: &Spawn<'_>) -> core::result::Result<(), SpawnError> {
    use SpawnError as E;
    if spawn.session {
        call::setsid().map_err(E::at(SpawnStage::Setsid))?;
    }
    let group = spawn.group.or(spawn.foreground.then_some(0));
    // A session leader already leads its own group, and cannot leave it.
    if let Some(group) = group.filter(|group| !(spawn.session && *group == 0)) {
        call::setpgid(0, group).map_err(E::at(SpawnStage::Setpgid))?;
    }
    // This step precedes the mapping of descriptors, because that mapping may replace the descriptor of the
    // terminal.
    if let Some(terminal) = spawn.terminal {
        call::ioctl_tiocsctty(terminal).map_err(E::at(SpawnStage::ControllingTerminal))?;
    }
    if spawn.foreground {
        let group = group.filter(|group| *group > 0).unwrap_or_else(call::getpid);
        foreground(spawn.terminal, group).map_err(E::at(SpawnStage::Foreground))?;
    }
    Ok(())
}

/// Makes `group` the foreground group. The kernel allows a background process to make this change only if
/// `SIGTTOU` is blocked or ignored. Here all signals are blocked.
fn foreground(terminal: Option<BorrowedFd<'_>>, group: i32) -> Result<()> {
    if let Some(terminal) = terminal {
        return call::ioctl_tiocspgrp(terminal, group);
    }
    let own = call::openat_for_reading(c"/dev/tty")?;
    let done = call::ioctl_tiocspgrp(own.as_fd(), group);
    // The descriptor is closed explicitly, because this process continues if an exec fails.
    let _ = call::close(own);
    done
}

fn parent_lives((pid, pidfd): (i32, Option<RawFd>)) -> bool {
    match call::getppid() {
        // The parent is in another pid namespace, so it has no id in the child's namespace.
        0 => pidfd.is_none_or(|pidfd| {
            // SAFETY: the parent keeps the descriptor open during the clone, so this process has a copy, and
            // no code closes it.
            let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
            let mut fds = [PollFd::from_borrowed_fd(pidfd, PollEvents::IN)];
            poll(&mut fds, Some(Duration::ZERO)) != Ok(1)
        }),
        parent => parent == pid,
    }
}

/// Duplicates each descriptor to its target number. A descriptor whose own number is the target of another
/// descriptor is first copied to a free number.
fn map_descriptors(moves: &mut [Move]) -> core::result::Result<(), SpawnError> {
    let failed = |step: Move| SpawnError::at(SpawnStage::Dup { from: step.from, to: step.to });
    // SAFETY: each borrow is used only for calls that fail if the descriptor is not open.
    let borrow = |fd| unsafe { BorrowedFd::borrow_raw(fd) };
    for index in 0..moves.len() {
        let Some(step) = moves.get(index).copied() else { break };
        let is_target = moves.binary_search_by_key(&step.from, |other| other.to).is_ok();
        if is_target && step.from != step.to {
            // No value owns the copies. Each rejected copy is later replaced by a mapped descriptor. The copy
            // that is used is closed by the exec.
            let copy = copy_elsewhere(borrow(step.from), moves, |copy| _ = copy.into_raw_fd());
            let copy = copy.map_err(failed(step))?.into_raw_fd();
            moves.iter_mut().skip(index).take(1).for_each(|step| step.source = copy);
        }
    }
    for step in moves {
        let done = if step.source == step.to {
            call::fcntl_setfd(borrow(step.source), 0)
        } else {
            // SAFETY: no other code uses this table of descriptors, and this code does not use the replaced
            // descriptor. Sources that must still be mapped were copied to other numbers above.
            unsafe { call::dup_onto(borrow(step.source), step.to) }
        };
        done.map_err(failed(*step))?;
    }
    Ok(())
}

/// Adds `increment` to the niceness, and limits the sum to the valid range.
fn nice(increment: i32) -> Result<()> {
    let nice = 20_i32.saturating_sub(i32::try_from(call::getpriority()?).unwrap_or(20));
    call::setpriority(nice.saturating_add(increment).clamp(-20, 19))
}

/// Sets groups, group and user. This order matters, because a change of user may remove the privilege to
/// change the groups.
fn change_ids(spawn: &Spawn<'_>) -> core::result::Result<(), SpawnError> {
    // The kernel clears the `dumpable` flag only if the effective ids change, or the process gains
    // capabilities. A parent that already has the new effective ids may have set the flag again. In a spawned
    // child, the flag cleared here belongs to the child's own copy of the memory.
    if spawn.changes_ids() {
        call::prctl_not_dumpable().map_err(SpawnError::at(SpawnStage::Setuid))?;
    }
    // A child that changes its user must not keep the groups of the current user.
    if let Some(groups) = spawn.groups.or(spawn.uid.map(|_| &[][..])) {
        match call::setgroups(groups) {
            // The kernel denies this call to a process that lacks the privilege. The error is ignored if the
            // process already has these groups. The error is also ignored if no groups were set and `uid` is
            // the process's own id, unless that id is 0.
            Err(Errno::EPERM) if spawn.groups.is_none() && is_own(spawn.uid) || are_own(groups) => {
            }
            result => result.map_err(SpawnError::at(SpawnStage::Setgroups))?,
        }
    }
    if let Some(gid) = spawn.gid {
        call::setresgid(gid).map_err(SpawnError::at(SpawnStage::Setgid))?;
    }
    if let Some(uid) = spawn.uid {
        call::setresuid(uid).map_err(SpawnError::at(SpawnStage::Setuid))?;
    }
    Ok(())
}

fn is_own(uid: Option<u32>) -> bool {
    uid.is_some_and(|uid| uid != 0 && call::getresuid() == Ok([uid; 3]))
}

/// Returns whether `groups` are exactly the supplementary groups of this process, in any order. Returns
/// `false` if the process has more than 1,024 groups, or a group without a mapping in this user namespace.
fn are_own(groups: &[u32]) -> bool {
    /// The number that the kernel reports for a group without a mapping in this user namespace.
    const OVERFLOW: u32 = 65534;

    let mut own = [0; 1024];
    let count = call::getgroups(&mut own);
    let own = count.ok().and_then(|count| own.get(..count));
    own.is_some_and(|own| {
        own.iter().all(|group| *group != OVERFLOW && groups.contains(group))
            && groups.iter().all(|group| own.contains(group))
    })
}

/// Resets signal handlers, which would otherwise run in the parent's memory. Ignored signals stay ignored,
/// except the signals of `default_signals`.
///
/// For an exec, `execve` resets the handlers instead, because this function could not restore them safely
/// after a failed exec. By the time of the failure, the owner of a handler may have removed the handler's
/// code.
fn reset_handlers(plan: &mut Plan<'_>) -> Result<()> {
    for signal in (1..).map_while(Signal::from_raw) {
        let to_default = plan.spawn.default_signals.contains(signal);
        if to_default && !plan.is_exec {
            // The result is ignored, because the call fails with `EINVAL` for some signals, and emulators
            // reserve other signals for internal use.
            let _ = call::rt_sigaction_default(number(signal));
        } else if to_default || !plan.is_exec && !plan.handlers_cleared {
            let Ok(action) = call::rt_sigaction_get(number(signal)) else { continue };
            if to_default && action.is_ignored() {
                call::rt_sigaction_default(number(signal))?;
                plan.no_longer_ignored = plan.no_longer_ignored.with(signal);
            } else if !to_default && action.is_handled() {
                call::rt_sigaction_default(number(signal))?;
            }
        }
    }
    Ok(())
}

pub(super) fn number(signal: Signal) -> usize {
    signal.as_raw().unsigned_abs() as usize
}
