//! Suppresses `SIGPIPE` for calls that would otherwise raise it if the pipe has no reader.
//!
//! `pwritev2` has a flag that suppresses the signal ([`write_nosignal`](crate::io::write_nosignal)), but
//! `splice`, `tee` and `sendfile` have no such flag. Therefore the calling thread blocks the signal during
//! the call. If the call has raised the signal, this module consumes the signal before it restores the mask.
//! The kernel sends the signal to the calling thread, so no other thread can receive it.
//!
//! If another process sends `SIGPIPE` during the call, that signal is delivered either to another thread or,
//! after the call, to this thread. A signal that was already pending for this thread stays pending. If
//! `pthread_kill` sends `SIGPIPE` to this thread during the call, that signal is lost, because it cannot be
//! distinguished from the call's own signal. If a filter rejects `rt_tgsigqueueinfo`, a `SIGPIPE` that is
//! sent to the process during the call is lost, unless the call also raises `SIGPIPE`.
//!
//! This module does not block `SIGXFSZ`, which a write beyond `RLIMIT_FSIZE` raises. `SIGXFSZ` kills a
//! process that does not ignore, block or handle it.
//!
//! Rust's `main` ignores `SIGPIPE` for the whole process, and forked children inherit this setting.
//! Libraries, and programs that do not start in Rust's `main`, should use this module instead of ignoring the
//! signal.

use crate::Result;
use crate::errno::retry;
use crate::signal::{Signal, SignalSet};
use crate::sys::abi::{SIG_BLOCK, SIG_SETMASK, SigInfo, SigSet, Timespec};
use crate::sys::call;

const ONLY_SIGPIPE: SigSet = SignalSet::empty().with(Signal::PIPE).0;

/// Runs `body` and returns its result. Calls that this thread makes in `body` raise no `SIGPIPE`.
///
/// Other threads are not affected. The signal mask is restored afterwards. [`transfer`](crate::transfer),
/// `fanout`, `communicate` and message senders already suppress the signal. If the signal cannot be blocked,
/// these functions fail with the errors below before they move any byte.
///
/// # Errors
///
/// - [`ENOSYS`](crate::Errno::ENOSYS), [`EPERM`](crate::Errno::EPERM), or another error, if a filter rejects
///   `rt_sigpending` or `rt_sigprocmask` with that error. In this case, `body` did not run.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::io::without_sigpipe;
/// use rawpipe::splice::{SpliceFlags, splice};
///
/// let (source, writer) = rawpipe::pipe()?;
/// let (reader, sink) = rawpipe::pipe()?;
/// writer.write(b"without a reader.")?;
/// drop(reader);
/// let result = without_sigpipe(|| splice(&source, None, &sink, None, 17, SpliceFlags::empty()))?;
/// assert_eq!(result, Err(Errno::EPIPE));
/// # Ok::<(), Errno>(())
/// ```
///
/// [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
pub fn without_sigpipe<R>(body: impl FnOnce() -> R) -> Result<R> {
    let _guard = Guard::new()?;
    Ok(body())
}

/// Blocks `SIGPIPE` for this thread until the guard is dropped.
pub(crate) struct Guard {
    old: SigSet,
    /// Set if `SIGPIPE` was already pending for this thread, or if a filter prevents this check.
    pending_before: bool,
}

impl Guard {
    /// Blocks the signal. If a filter rejects `rt_sigpending` or `rt_sigprocmask`, this function fails and
    /// changes nothing.
    pub(crate) fn new() -> Result<Self> {
        let is_pending = is_pending()?;
        let old = call::rt_sigprocmask(SIG_BLOCK, &ONLY_SIGPIPE)?;
        // `SIGPIPE` can be pending only if this thread had already blocked it.
        let pending_before = is_pending
            && match call::rt_tgsigqueueinfo_self(&MARK) {
                Ok(()) => take().is_some_and(|info| call::rt_tgsigqueueinfo_self(&info).is_ok()),
                Err(_) => true,
            };
        Ok(Self { old, pending_before })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A signal may be pending even if the call succeeded. If the last reader closes its end in the middle
        // of a write, the write returns a short count and also raises the signal.
        if !self.pending_before && is_pending() == Ok(true) {
            let _ = call::rt_tgsigqueueinfo_self(&MARK);
            let _ = take();
        }
        let _ = call::rt_sigprocmask(SIG_SETMASK, &self.old);
    }
}

/// Returns whether `SIGPIPE` is pending for the process or for this thread. `rt_sigpending` does not
/// distinguish the two cases.
fn is_pending() -> Result<bool> {
    call::rt_sigpending().map(|pending| SignalSet(pending).contains(Signal::PIPE))
}

/// A marked signal. This module queues it for this thread before consuming one pending signal. If a signal is
/// already pending for this thread, the kernel drops the mark. Otherwise the mark itself is consumed, because
/// signals for the thread precede signals for the process. In either case, a signal for the process stays
/// pending.
const MARK: SigInfo = SigInfo::queued(Signal::PIPE.as_raw(), 0x5049_5045);

/// Consumes a pending `SIGPIPE` and returns it, unless that signal is the mark.
fn take() -> Option<SigInfo> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let info = retry(|| call::rt_sigtimedwait(&ONLY_SIGPIPE, Some(&now))).ok()?;
    let [taken, mark] = [&info, &MARK].map(|info| (info.si_code(), info.si_status));
    (taken != mark).then_some(info)
}
