//! Calls that raise `SIGPIPE` when nobody reads, without the signal.
//!
//! `splice`, `tee` and `sendfile` have no flag against it, and `write` has none. So it is blocked for this thread during
//! the call, and if the call has raised it, it is taken away again before the mask is restored. One
//! that was pending before is left alone: it is somebody else's. The kernel sends it to the thread
//! that made the call, so no other thread can get it meanwhile.

use crate::Errno;
use crate::abi::{SIG_BLOCK, SIG_SETMASK, SigSet};
use crate::call::signal as call;
use crate::process::{Signal, SignalSet};

const ONLY_SIGPIPE: SigSet = SignalSet::empty().with(Signal::PIPE).0;

/// Blocks `SIGPIPE` for this thread, for as long as it lives.
pub(crate) struct Guard {
    old: SigSet,
    pending_before: bool,
}

impl Guard {
    /// `None` where the kernel (a filter in front of it) does not let the mask be changed; then
    /// nothing is done.
    pub(crate) fn new() -> Option<Self> {
        let pending_before = is_pending()?;
        let old = call::rt_sigprocmask(SIG_BLOCK, &ONLY_SIGPIPE).ok()?;
        Some(Self { old, pending_before })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Whatever the call has answered: a reader that leaves in the middle makes a short count,
        // and the signal is there all the same.
        if !self.pending_before && is_pending() == Some(true) {
            while call::rt_sigtimedwait_now(&ONLY_SIGPIPE) == Err(Errno::EINTR) {}
        }
        let _ = call::rt_sigprocmask(SIG_SETMASK, &self.old);
    }
}

fn is_pending() -> Option<bool> {
    let pending = call::rt_sigpending().ok()?;
    Some(SignalSet(pending).contains(Signal::PIPE))
}
