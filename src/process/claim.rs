//! Which children have a handle that lives, so that [`wait_any`](super::wait_any) leaves them to it.
//!
//! The kernel keeps no mark for that. (A child with another exit signal than `SIGCHLD` is not among those that a wait
//! for any child finds, but `execve` takes that back.) So each handle claims its process id here.
//!
//! - A claim is entered before the call that makes the child returns, and given up after the child was waited for: when
//!   its number may be a new child's, which then has a claim of its own. So a child without a claim never had a
//!   handle, or its handle was dropped.
//! - But for one that is being made: its claim cannot come before its number. So makings are counted, and a child without
//!   a claim is left alone until all that had begun when it was found are over. There are two lots of them, so that
//!   this comes to an end while other threads keep making children: new ones join the other lot.
//! - The child of a fork begins without claims: its parent's children are not its own.
//!
//! No operation waits for another one, so that a signal handler or a forked child finds all of it usable.

use crate::Deadline;
use crate::event::Backoff;
use crate::sys::call;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

const MOST: usize = 1 << 16;
static CLAIMED: [AtomicI32; MOST] = [const { AtomicI32::new(0) }; MOST];
/// One above the last place that was ever used. If that is all of them, there may be handles without a place.
static USED: AtomicUsize = AtomicUsize::new(0);
/// For each lot the id of the process that counts, and above it how many of its makings have begun. In a child that
/// other code has forked, the counts are its parent's and no longer hold.
static MAKINGS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Above the highest process id that Linux can have.
const ONE: usize = 1 << 22;
/// The lot that a new making joins.
static LOT: AtomicUsize = AtomicUsize::new(0);

/// That a child has a handle.
#[derive(Debug)]
pub(super) struct Claim {
    pid: i32,
    place: usize,
}

impl Claim {
    pub(super) fn new(pid: i32) -> Self {
        let free = |place: &AtomicI32| {
            place.load(SeqCst) == 0 && place.compare_exchange(0, pid, SeqCst, SeqCst).is_ok()
        };
        let place = CLAIMED.iter().position(free).unwrap_or(MOST);
        USED.fetch_max(MOST.min(place + 1), SeqCst);
        Self { pid, place }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // In a forked child the place may be another handle's.
        let place = CLAIMED.get(self.place);
        let _ = place.map(|place| place.compare_exchange(self.pid, 0, SeqCst, SeqCst));
    }
}

/// Whether a handle lives, or may live.
pub(super) fn is_claimed(pid: i32) -> bool {
    let used = USED.load(SeqCst);
    used == MOST || CLAIMED.iter().take(used).any(|place| place.load(SeqCst) == pid)
}

/// That this thread makes a child, until it has its claim.
pub(super) struct Making {
    lot: &'static AtomicUsize,
    owner: usize,
}

impl Making {
    pub(super) fn begin() -> Self {
        let (lot, owner) = (&MAKINGS[LOT.load(SeqCst) & 1], owner());
        let joined = |lot| Some(owner + (begun(lot, owner) + 1) * ONE);
        let _ = lot.fetch_update(SeqCst, SeqCst, joined);
        Self { lot, owner }
    }

    /// In the child of a fork: what the parent had is not this process's.
    pub(super) fn forget_all(self) {
        core::mem::forget(self);
        CLAIMED.iter().take(USED.swap(0, SeqCst)).for_each(|place| place.store(0, SeqCst));
        MAKINGS.iter().for_each(|count| count.store(0, SeqCst));
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let left = |lot| (begun(lot, self.owner) > 0).then(|| lot - ONE);
        let _ = self.lot.fetch_update(SeqCst, SeqCst, left);
    }
}

fn owner() -> usize {
    call::getpid().unsigned_abs() as usize % ONE
}

fn begun(lot: usize, owner: usize) -> usize {
    if lot % ONE == owner { lot / ONE } else { 0 }
}

/// Waits until all makings are over that have begun before. `false` if the deadline comes first.
pub(super) fn settle(deadline: Deadline<'_>) -> bool {
    let owner = owner();
    (1..).zip(&MAKINGS).all(|(other, lot)| {
        LOT.store(other, SeqCst);
        let mut backoff = Backoff::default();
        while begun(lot.load(SeqCst), owner) > 0 && !deadline.has_passed() {
            backoff.pause(Some(deadline));
        }
        begun(lot.load(SeqCst), owner) == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_is_counted_while_a_number_is_given_again() {
        let pid = i32::MAX - 3;
        let (before, after) = (Claim::new(pid), Claim::new(pid));
        drop(before);
        assert!(is_claimed(pid));
        drop(after);
        assert!(!is_claimed(pid));
    }

    #[test]
    fn settle_waits_for_makings_that_have_begun() {
        let soon = || Deadline::after(core::time::Duration::from_millis(5));
        let making = Making::begin();
        assert!(!settle(soon()));
        drop(making);
        // Others, of other tests' threads, end.
        assert!(settle(Deadline::NEVER));
    }
}
