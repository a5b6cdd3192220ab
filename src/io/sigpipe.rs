//! Calls that raise `SIGPIPE` if there is no reader, without the signal.
//!
//! `write` has a flag against it ([`write_nosignal`](crate::io::write_nosignal)); `splice`, `tee` and
//! `sendfile` have none. So the signal is blocked for this thread during the call, and if the call has
//! raised it, it is removed again before the mask is restored. The kernel sends it to the thread that
//! made the call, so no other thread can get it meanwhile.
//!
//! A `SIGPIPE` that another process sends to this one meanwhile is delivered afterwards, and one that
//! was pending for this thread before stays pending. A `SIGPIPE` that `pthread_kill` sends to this
//! thread meanwhile is lost: the kernel merges it with the call's own. Where a filter rejects
//! `rt_tgsigqueueinfo`, one for the process is lost if it arrives while no call raises any.
//!
//! `SIGXFSZ`, which a write beyond `RLIMIT_FSIZE` raises, is not blocked: it kills a process that neither
//! ignores nor handles it.
//!
//! Rust's `main` ignores `SIGPIPE` for the whole process, and children inherit that. Programs without
//! Rust's `main`, and libraries, should use this instead of ignoring the signal.

use crate::Result;
use crate::errno::retry;
use crate::signal::{Signal, SignalSet};
use crate::sys::abi::{SIG_BLOCK, SIG_SETMASK, SigInfo, SigSet, Timespec};
use crate::sys::call;

const ONLY_SIGPIPE: SigSet = SignalSet::empty().with(Signal::PIPE).0;

/// Runs `body`, in which no call of this thread raises `SIGPIPE`, and returns its result.
///
/// Other threads are not affected. The signal mask is restored afterwards.
/// [`transfer`](crate::transfer), `fanout`, `communicate` and message senders do this by themselves,
/// and fail with the same errors before the first byte.
///
/// # Errors
///
/// - [`ENOSYS`](crate::Errno::ENOSYS), [`EPERM`](crate::Errno::EPERM), or another error that a filter returns for
///   `rt_sigpending` or `rt_sigprocmask`; `body` did not run.
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

/// Blocks `SIGPIPE` for this thread, for as long as it lives.
pub(crate) struct Guard {
    old: SigSet,
    /// For this thread, not for the process.
    pending_before: bool,
}

impl Guard {
    /// Fails if a filter rejects changing the mask; nothing is changed then.
    pub(crate) fn new() -> Result<Self> {
        let is_pending = is_pending()?;
        let old = call::rt_sigprocmask(SIG_BLOCK, &ONLY_SIGPIPE)?;
        // Pending, and so it was blocked before.
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
        // Whatever the call has returned: a reader that leaves in the middle makes a short count, and
        // the signal is there all the same.
        if !self.pending_before && is_pending() == Ok(true) {
            let _ = call::rt_tgsigqueueinfo_self(&MARK);
            let _ = take();
        }
        let _ = call::rt_sigprocmask(SIG_SETMASK, &self.old);
    }
}

/// For the process or for this thread: the kernel returns both as one.
fn is_pending() -> Result<bool> {
    call::rt_sigpending().map(|pending| SignalSet(pending).contains(Signal::PIPE))
}

/// Queued for this thread before one is taken. The kernel drops it if the thread already has one pending.
/// Otherwise it is the one that is taken, since those of the thread come before those of the process. Those of the
/// process are left alone in either case.
const MARK: SigInfo = SigInfo::queued(Signal::PIPE.as_raw(), 0x5049_5045);

/// Takes what is pending, unless it is the mark.
fn take() -> Option<SigInfo> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let info = retry(|| call::rt_sigtimedwait(&ONLY_SIGPIPE, Some(&now))).ok()?;
    let [taken, mark] = [&info, &MARK].map(|info| (info.si_code(), info.si_status));
    (taken != mark).then_some(info)
}
