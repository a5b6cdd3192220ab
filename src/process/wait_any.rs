//! Waiting for any child.

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

/// What has become of a child: from [`wait_any`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Change {
    /// The child's process id, which after an end may be a new process's.
    pub pid: u32,
    /// Which of the given handles is the child's, or `None` if it has no handle.
    pub index: Option<usize>,
    /// How the child has ended, or that it was stopped or continues.
    pub status: ExitStatus,
    /// What the child has used.
    pub rusage: Rusage,
}

/// Waits until any child of this process has ended, and collects its status. Retries on `EINTR`.
///
/// These are the children of the given handles, and all that have no handle: adopted ones
/// ([`set_child_subreaper`](super::set_child_subreaper), or as the init process of a pid name space), those whose
/// [`Child`] was dropped or became a [`Pidfd`](super::Pidfd), and those that other code has made. As an init process:
/// pass the handles of the services, and whatever else comes is an orphan.
///
/// `flags` say what is reported besides ends. A handle that was given keeps the status: its
/// [`wait`](Child::wait) returns it again. Handles that have ended are skipped.
///
/// # Other handles
///
/// It never collects the status of a [`Child`] that lives elsewhere, and was not given: that of another thread, or one
/// that is just being made. Every handle claims its process id until it was waited for or dropped, and a child without
/// a claim is collected only after all calls that were making children when it was found have returned. A
/// forgotten handle ([`mem::forget`](core::mem::forget)) keeps its claim.
///
/// It cannot see the handles of others: `std::process::Child`, `system` and the like lose their status to it, as to any
/// `waitpid(-1, …)`. After that, std's `kill` may reach another process that has got the number.
///
/// # Numbers that are given again
///
/// A child is found by its number, and collected by a pidfd that was opened before its claim was looked for. So if
/// another waiter is quicker, and the number is given to a new child, nothing is collected from that one. Without
/// pidfds (before Linux 5.4, or without a descriptor left) the number is used, and no other code may collect
/// children without a handle meanwhile.
///
/// # Limits
///
/// - An ended child of a handle that lives elsewhere stands before others in the kernel's list until it is waited for. The
///   processes in `/proc` are then tried one by one, at first every 0.1 ms and later every 6.4 ms; without a `/proc` of
///   this pid name space, those after it wait.
/// - A thread that is about to start a program, and is held up there, holds this up, too.
/// - In a process that was forked by other means than this crate's [`fork`](super::fork()), the claims of its parent
///   stay: a child whose number one of them has is not reported.
/// - Once 65,536 handles have lived at a time, only children of given handles are reported.
/// - Not for signal handlers.
///
/// # Errors
///
/// - [`ECHILD`](Errno::ECHILD) if this process has no children, or `SIGCHLD` is ignored or has `SA_NOCLDWAIT` and the
///   last one has ended.
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

/// As [`wait_any`], at most until `deadline`: `None` if nothing has happened then.
///
/// To collect all that have ended, for instance after `SIGCHLD`, call it with [`Deadline::now`] until it returns `None`,
/// or fails with `ECHILD` because no child is left.
///
/// The kernel has no such wait: until the deadline, this polls, with pauses that grow from 0.1 ms to 6.4 ms. With
/// [`Deadline::now`] it does not wait, and also returns `None` if a child was found that another thread may just be
/// making: where other threads start children, give it some milliseconds.
///
/// # Errors
///
/// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before.
/// - Those of [`wait_any`].
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
    let mut how = if is_bounded { WNOHANG } else { 0 };
    loop {
        if let Some((first, _)) = retry(|| call::waitid_all(options | WNOWAIT | how))? {
            let mut change = take(children, options, deadline, &first)?;
            if change.is_none() {
                // It is another's, and the kernel reports it first until it is waited for.
                change = each_process(|pid| match call::waitid_pid(pid, options | PEEK) {
                    Ok(Some((info, _))) => take(children, options, deadline, &info),
                    _ => Ok(None),
                })?;
            }
            if change.is_some() {
                return Ok(change);
            }
            how = WNOHANG;
        } else if !is_bounded {
            how = 0;
            continue;
        }
        if deadline.is_cancelled() {
            return Err(Errno::ECANCELED);
        }
        if deadline.has_passed() {
            return Ok(None);
        }
        backoff.pause(Some(deadline));
    }
}

impl Child {
    /// Returns what the child had used when a wait by this handle last returned a status. `None` before that, and if
    /// the status was another waiter's: see [Lost status](Self#lost-status).
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    #[must_use]
    #[doc(alias("wait4", "getrusage"))]
    pub fn rusage(&self) -> Option<Rusage> {
        self.used.map(Rusage::new)
    }
}

/// Collects what was found, unless another handle has the child, or another waiter was quicker.
fn take<C: BorrowMut<Child>>(
    children: &mut [C],
    options: usize,
    deadline: Deadline<'_>,
    found: &SigInfo,
) -> Result<Option<Change>> {
    let pid = found.si_pid;
    let ends_only = options == WEXITED;
    let own = children.iter_mut().map(BorrowMut::borrow_mut);
    let mut own = own.enumerate().filter(|(_, child)| child.pid == pid && child.end.is_none());
    let (index, waited) = if let Some((index, child)) = own.next() {
        let status = child.ask(WNOHANG | if ends_only { WNOWAIT } else { options });
        let used = child.rusage().unwrap_or_default();
        (Some(index), status.map(|status| status.map(|status| (status, used))))
    } else {
        // The stop of a child that this process traces is for another wait.
        if ends_only && !is_end(ExitStatus::new(found)) || is_claimed(pid) {
            return Ok(None);
        }
        let pidfd = match call::pidfd_open_child(pid) {
            Err(Errno::ECHILD | Errno::ESRCH) => return Ok(None),
            pidfd => pidfd.ok(),
        };
        // A child that was being made when the pidfd was opened has its claim after that. What has none now has no
        // handle, or was waited for, which the pidfd says.
        if !settle(deadline) || is_claimed(pid) {
            return Ok(None);
        }
        let waited = waitid(pid, pidfd.as_ref().map(AsFd::as_fd), options | WNOHANG);
        (
            None,
            waited.map(|waited| {
                waited.map(|(info, used)| (ExitStatus::new(&info), Rusage::new(used)))
            }),
        )
    };
    match waited {
        Err(Errno::ECHILD) => Ok(None),
        waited => Ok(waited?.map(|(status, rusage)| Change {
            pid: pid.unsigned_abs(),
            index,
            status,
            rusage,
        })),
    }
}

/// Visits all processes in `/proc` until there is an answer.
fn each_process(mut visit: impl FnMut(i32) -> Result<Option<Change>>) -> Result<Option<Change>> {
    let mut entries = [0; 4096];
    let Ok(folder) = call::openat_for_reading(c"/proc") else { return Ok(None) };
    while let Some(mut rest) = call::getdents64(folder.as_fd(), &mut entries) {
        // The length of an entry is its bytes 16 and 17; its name begins at byte 19.
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
