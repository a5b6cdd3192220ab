//! Waits for any child. Also returns the resources that a child has used.

use super::child::wait::{is_end, waitid};
use super::claim::{is_claimed, settle};
use super::{Child, ExitStatus, Rusage, WaitFlags};
use crate::errno::retry;
use crate::event::Backoff;
use crate::fd::AsFd;
use crate::sys::abi::{PEEK, SigInfo, WEXITED, WNOHANG, WNOWAIT};
use crate::sys::call;
use crate::{Deadline, Errno, Result};
use core::borrow::BorrowMut;
use core::ffi::CStr;

/// A change of a child's state, returned by [`wait_any`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Change {
    /// The child's process id. Once the child has ended, the kernel may reuse this id for a new process.
    pub pid: u32,
    /// The index of the child's handle in the list passed to the call, or `None` if the list has no handle
    /// for this child.
    pub index: Option<usize>,
    /// The change: the child's end, stop or continuation.
    pub status: ExitStatus,
    /// The resources that the child has used, or zeros if the child's status [was lost](Child#lost-status).
    pub rusage: Rusage,
}

/// Waits until any child of this process has ended, and collects its status. Retries on `EINTR`.
///
/// This call waits for the children whose handles are passed, and for all children without a handle. The
/// children without a handle are:
///
/// - adopted children, if this process called [`set_child_subreaper`](super::set_child_subreaper) or is the
///   init process of a pid namespace;
/// - children whose [`Child`] was dropped or became a [`Pidfd`](super::Pidfd);
/// - children that other code has created.
///
/// If an init process passes the handles of its services, every child that is reported without an index is an
/// orphan.
///
/// The `flags` argument selects the changes that are reported in addition to the ends of children. A handle
/// that was passed keeps its child's exit status, so [`wait`](Child::wait) returns that status again. Handles
/// that already hold their child's status are skipped. If the status of a passed child [is
/// lost](Child#lost-status), this call has the result of a wait through the handle: the status since Linux
/// 6.15, and otherwise `ECHILD`. This call detects a loss when it begins, when it finds that the state of any
/// child has changed, and at the deadline. The kernel does not wake a waiting call if another waiter collects
/// the status, or if `SIGCHLD` is ignored.
///
/// # Other handles
///
/// This call never collects the status of a [`Child`] that was not passed, even if another thread owns that
/// handle or is still creating it. Every handle claims the process id of its child until the child has been
/// waited for or the handle is dropped. A child without a claim may belong to a handle that another thread is
/// still creating. If this call finds such a child, it waits until all creations that are in progress at that
/// time have finished. Then the call checks for a claim again. A forgotten handle
/// ([`mem::forget`](core::mem::forget)) keeps its claim.
///
/// Handles from outside this crate make no claim. Like any `waitpid(-1, …)`, this call also collects the
/// statuses of children that belong to `std::process::Child`, `system` and similar code. That code can then
/// no longer obtain these statuses, and std's `kill` may reach another process that has received the same id.
///
/// # Reused process ids
///
/// A child is found by its process id, and collected through a pidfd that was opened before the child's claim
/// was last checked. If another waiter collects the child first and a new child receives the same id, the new
/// child is therefore not collected. If no pidfd can be used (before Linux 5.4, or without a free
/// descriptor), the id is used instead. In that case, no other code may collect children without a handle
/// during the call.
///
/// # Limits
///
/// - An ended child whose handle was not passed hides the children after it in the kernel's list until the
///   ended child is waited for. This call then repeatedly checks the passed handles and all processes in
///   `/proc`. The pauses between these checks grow from 0.1 ms to 6.4 ms. Without a `/proc` of this pid
///   namespace, or without a free descriptor, hidden children without a passed handle are collected only
///   after the ended child has been waited for.
/// - This call waits as long as this process has children, even if none of them can be reported because all
///   have handles that were not passed.
/// - If another thread is delayed while it starts a program, this call is delayed as well.
/// - If this process was forked without this crate's [`fork`](super::fork()), this process keeps the claims
///   of its parent. A child whose process id matches one of these claims is not reported.
/// - Once 65,536 handles have existed at the same time, this call reports only children whose handles are
///   passed.
/// - Signal handlers must not call this function.
///
/// # Errors
///
/// - [`ECHILD`](Errno::ECHILD) if this process has no children. If `SIGCHLD` is ignored or has
///   `SA_NOCLDWAIT`, this is the case when the last child has ended, and since Linux 6.15 when the statuses
///   of the passed children have been returned.
/// - [`ECHILD`](Errno::ECHILD) if the status of a child whose handle was passed [is
///   lost](Child#lost-status). [`try_wait`](Child::try_wait) finds the handle, and the next call skips it.
///
/// # Examples
///
/// ```
/// use rawpipe::process::{self, Child, WaitFlags};
///
/// # // The tests of a page may share a process: this one has children of its own.
/// # let whole = || -> u8 { (|| -> rawpipe::Result<()> {
/// // SAFETY: the children do nothing but return a number.
/// let mut service = unsafe { process::fork_with(|| 1) }?;
/// // SAFETY: as above.
/// let orphan = unsafe { process::fork_with(|| 2) }?.id(); // without a handle
///
/// for _ in 0..2 {
///     let change = process::wait_any(&mut [&mut service], WaitFlags::empty())?;
///     match change.index {
///         Some(_) => assert_eq!(change.status.code(), Some(1)),
///         None => assert_eq!((change.pid, change.status.code()), (orphan, Some(2))),
///     }
/// }
/// assert_eq!(service.wait()?.code(), Some(1)); // known already
/// let none: &mut [Child] = &mut [];
/// assert!(process::wait_any(none, WaitFlags::empty()).is_err());
/// # Ok(()) })().is_err().into() };
/// # // SAFETY: it only forks, waits and compares.
/// # assert!(unsafe { process::fork_with(whole) }?.wait()?.success());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), `P_ALL`
#[doc(alias("waitpid", "wait4", "reap"))]
pub fn wait_any<C: BorrowMut<Child>>(children: &mut [C], flags: WaitFlags) -> Result<Change> {
    loop {
        if let Some(change) = wait_any_deadline(children, flags, Deadline::NEVER)? {
            return Ok(change);
        }
    }
}

/// Waits as [`wait_any`] does, but only until `deadline`. Returns `None` if no change was found by the
/// deadline.
///
/// To collect all children that have ended, for instance after `SIGCHLD`, call this function with
/// [`Deadline::now`]. Repeat the call until it returns `None`, or fails with `ECHILD` because no child
/// remains.
///
/// Linux has no call that waits for any child until a deadline. This function polls instead, with pauses that
/// grow from 0.1 ms to 6.4 ms. With [`Deadline::now`] the function does not wait. In that case, it also
/// returns `None` if it finds a child that another thread may still be creating. If other threads start
/// children, use a deadline of a few milliseconds.
///
/// # Errors
///
/// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before a change is found,
///   and this process has children.
/// - Any error of [`wait_any`].
///
/// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), `P_ALL`
pub fn wait_any_deadline<C: BorrowMut<Child>>(
    children: &mut [C],
    flags: WaitFlags,
    deadline: Deadline<'_>,
) -> Result<Option<Change>> {
    let options = WEXITED | flags.bits() as usize;
    let mut backoff = Backoff::default();
    let is_bounded = deadline.at != Deadline::NEVER.at || deadline.cancel.is_some();
    let (mut nohang, mut is_first) = (WNOHANG, true);
    loop {
        // The clock is read first, so that an end before the deadline is reported.
        let reached = deadline.is_reached();
        let found = match retry(|| call::waitid_all(options | WNOWAIT | nohang)) {
            Err(Errno::ECHILD) => {
                return take_passed(children, options)?.map(Some).ok_or(Errno::ECHILD);
            }
            found => found?,
        };
        let mut change = match &found {
            Some((first, _)) => take(children, options, deadline, first)?,
            None => None,
        };
        // The found child may have a handle that was not passed. The kernel then reports this child first
        // until the child is waited for. Without a free descriptor, only the passed handles can be checked.
        if change.is_none() && (found.is_some() || is_first || reached != Ok(false)) {
            change = take_passed(children, options)?;
        }
        if change.is_none() && found.is_some() {
            change = each_process(|pid| look(children, pid, options, deadline))?;
        }
        if change.is_some() {
            return Ok(change);
        }
        is_first = false;
        if found.is_none() && !is_bounded {
            nohang = 0;
            continue;
        }
        nohang = WNOHANG;
        if reached? {
            return Ok(None);
        }
        backoff.pause(Some(deadline));
    }
}

impl Child {
    /// Returns the resources that the child had used when a wait through this handle last returned a status.
    /// Returns `None` if no wait has returned a status yet, or if another waiter collected the status: see
    /// [Lost status](Self#lost-status).
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    #[must_use]
    #[doc(alias("wait4", "getrusage"))]
    pub fn rusage(&self) -> Option<Rusage> {
        self.used.map(Rusage::new)
    }
}

/// Collects the status of the child with this id, if its state has changed.
fn look<C: BorrowMut<Child>>(
    children: &mut [C],
    pid: i32,
    options: usize,
    deadline: Deadline<'_>,
) -> Result<Option<Change>> {
    match call::waitid_pid(pid, options | PEEK) {
        Ok(Some((info, _))) => take(children, options, deadline, &info),
        _ => Ok(None),
    }
}

/// Collects a change through the first passed handle that has one. Unlike a wait for any child, a wait
/// through a handle also finds a status that is lost.
fn take_passed<C: BorrowMut<Child>>(children: &mut [C], options: usize) -> Result<Option<Change>> {
    for (index, child) in children.iter_mut().enumerate() {
        let change = take_own(child.borrow_mut(), index, options)?;
        if change.is_some() {
            return Ok(change);
        }
    }
    Ok(None)
}

/// Collects a change through a passed handle, unless the handle already holds its child's status.
fn take_own(child: &mut Child, index: usize, options: usize) -> Result<Option<Change>> {
    if child.end.is_some() {
        return Ok(None);
    }
    let status = child.wait_once(WNOHANG | if options == WEXITED { WNOWAIT } else { options })?;
    Ok(status.map(|status| Change {
        pid: child.id(),
        index: Some(index),
        status,
        rusage: child.rusage().unwrap_or_default(),
    }))
}

/// Collects the change of state that a wait has found. Returns `None` if the change was not requested, or if
/// another waiter collected it. Also returns `None` if the child has a handle that was not passed, or may
/// have such a handle.
fn take<C: BorrowMut<Child>>(
    children: &mut [C],
    options: usize,
    deadline: Deadline<'_>,
    found: &SigInfo,
) -> Result<Option<Change>> {
    let pid = found.si_pid;
    let own = children.iter_mut().map(BorrowMut::borrow_mut).enumerate();
    let mut own = own.filter(|(_, child)| child.pid == pid && child.end.is_none());
    if let Some((index, child)) = own.next() {
        return take_own(child, index, options);
    }
    // A stop that was not requested is reported only to a tracer, whose own wait handles that stop.
    if options == WEXITED && !is_end(ExitStatus::new(found)) || is_claimed(pid) {
        return Ok(None);
    }
    let pidfd = match call::pidfd_open_child(pid) {
        Err(Errno::ECHILD | Errno::ESRCH) => return Ok(None),
        pidfd => pidfd.ok(),
    };
    // If a child was still being created when the pidfd was opened, that child has its claim after `settle`.
    // A child without a claim therefore either has no handle or was waited for. If it was waited for, waiting
    // with the pidfd fails with `ECHILD`.
    if !settle(deadline) || is_claimed(pid) {
        return Ok(None);
    }
    match waitid(pid, pidfd.as_ref().map(AsFd::as_fd), options | WNOHANG) {
        Err(Errno::ECHILD) => Ok(None),
        waited => Ok(waited?.map(|(info, used)| Change {
            pid: pid.unsigned_abs(),
            index: None,
            status: ExitStatus::new(&info),
            rusage: Rusage::new(used),
        })),
    }
}

/// Calls `visit` with the id of each process in `/proc`, until `visit` returns a change or an
/// error.
fn each_process(mut visit: impl FnMut(i32) -> Result<Option<Change>>) -> Result<Option<Change>> {
    let mut entries = [0; 4096];
    let Ok(folder) = call::openat_for_reading(c"/proc") else { return Ok(None) };
    while let Some(mut rest) = call::getdents64(folder.as_fd(), &mut entries) {
        // Bytes 16 and 17 of an entry hold the length of the entry, and the name begins at byte 19.
        while let Some(&[low, high]) = rest.get(16..18) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let Some((entry, others)) = rest.split_at_checked(length.max(19)) else { break };
            rest = others;
            let name = CStr::from_bytes_until_nul(&entry[19..]).ok();
            if let Some(pid) = name.and_then(|name| name.to_str().ok()?.parse().ok()) {
                let change = visit(pid)?;
                if change.is_some() {
                    return Ok(change);
                }
            }
        }
    }
    Ok(None)
}
