//! Calls that raise `SIGPIPE` when nobody reads, without the signal.
//!
//! `splice`, `tee` and `sendfile` have no flag against it. So it is blocked for this thread during
//! the call, and if the call has raised it, it is taken away again before the mask is restored. One
//! that was pending before is left alone: it is somebody else's. The kernel sends it to the thread
//! that made the call, so no other thread can get it meanwhile.

use crate::Errno;
use crate::abi::{SIG_BLOCK, SIG_SETMASK, SIGPIPE, SigSet};
use crate::call::signal as call;

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
        let old = call::rt_sigprocmask(SIG_BLOCK, &only_sigpipe()).ok()?;
        Some(Self { old, pending_before })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Whatever the call has answered: a reader that leaves in the middle makes a short count,
        // and the signal is there all the same.
        if !self.pending_before && is_pending() == Some(true) {
            while call::rt_sigtimedwait_now(&only_sigpipe()) == Err(Errno::EINTR) {}
        }
        let _ = call::rt_sigprocmask(SIG_SETMASK, &self.old);
    }
}

fn only_sigpipe() -> SigSet {
    let mut set = SigSet::default();
    // Signal n is bit n - 1 of words of the size of a pointer.
    let bit = SIGPIPE - 1;
    let high_word_first = cfg!(all(target_endian = "big", target_pointer_width = "64"));
    set[usize::from(high_word_first)] = 1 << bit;
    set
}

fn is_pending() -> Option<bool> {
    let pending = call::rt_sigpending().ok()?;
    Some(pending.iter().zip(only_sigpipe()).any(|(word, bit)| word & bit != 0))
}
