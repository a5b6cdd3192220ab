//! Calls that raise `SIGPIPE` when nobody reads, without the signal.
//!
//! `write` has a flag against it ([`write_nosignal`](crate::io::write_nosignal)); `splice`, `tee` and
//! `sendfile` have none. So the signal is blocked for this thread during the call, and if the call has
//! raised it, it is taken away again before the mask is restored. One that was pending before is left
//! alone: it is somebody else's. The kernel sends it to the thread that made the call, so no other
//! thread can get it meanwhile.
//!
//! Rust's `main` ignores `SIGPIPE` for the whole process, and the children inherit that; programs
//! without it, and libraries, do better to leave it alone and to use this.

use crate::abi::{SIG_BLOCK, SIG_SETMASK, SigSet};
use crate::call::signal as call;
use crate::process::{Signal, SignalSet};
use crate::{Errno, Result};

const ONLY_SIGPIPE: SigSet = SignalSet::empty().with(Signal::PIPE).0;

/// Runs `body`, in which no call of this thread raises `SIGPIPE`, and returns what it returns.
///
/// Other threads are not concerned. The signal mask is afterwards what it was before.
/// [`transfer`](crate::transfer) does this by itself.
///
/// # Errors
///
/// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM): a filter refuses the calls that this needs;
///   `body` did not run.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::sigpipe::without_sigpipe;
/// use rawpipe::splice::{SpliceFlags, splice};
///
/// let (source, writer) = rawpipe::pipe()?;
/// let (reader, sink) = rawpipe::pipe()?;
/// writer.write(b"nobody reads this")?;
/// drop(reader);
/// let answer = without_sigpipe(|| splice(&source, None, &sink, None, 17, SpliceFlags::empty()))?;
/// assert_eq!(answer, Err(Errno::EPIPE));
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
    pending_before: bool,
}

impl Guard {
    /// Fails where the kernel (a filter in front of it) does not let the mask be changed; then
    /// nothing is done.
    pub(crate) fn new() -> Result<Self> {
        let pending_before = is_pending()?;
        let old = call::rt_sigprocmask(SIG_BLOCK, &ONLY_SIGPIPE)?;
        Ok(Self { old, pending_before })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Whatever the call has answered: a reader that leaves in the middle makes a short count,
        // and the signal is there all the same.
        if !self.pending_before && is_pending() == Ok(true) {
            while call::rt_sigtimedwait_now(&ONLY_SIGPIPE) == Err(Errno::EINTR) {}
        }
        let _ = call::rt_sigprocmask(SIG_SETMASK, &self.old);
    }
}

fn is_pending() -> Result<bool> {
    call::rt_sigpending().map(|pending| SignalSet(pending).contains(Signal::PIPE))
}
