//! Records which children have a live handle, so that [`wait_any`](super::wait_any) does not collect them.
//!
//! The kernel has no such record. (A wait for any child skips children with an exit signal other than
//! `SIGCHLD`, but `execve` resets the exit signal.) Each handle therefore claims its process id in this
//! module.
//!
//! - The call that creates a child enters the claim before it returns. The claim is removed after the child
//!   has been waited for, or when its handle is dropped. After the wait, the id may belong to a new child,
//!   which then has a separate claim. A child without a claim therefore never had a handle, or its handle was
//!   dropped.
//! - The exception is a child that is still being created, because a claim needs the id. This module
//!   therefore counts creations. When a child without a claim is found, the child is not collected until all
//!   creations that have already begun have finished. Creations are counted in two epochs. During the wait
//!   for the creations of one epoch, new creations are counted in the other epoch. The wait therefore ends
//!   even if other threads keep creating children.
//! - A forked child starts without claims, because its parent's children are not its children.
//!
//! Only [`settle`] waits for other threads. Signal handlers and forked children can therefore use all other
//! operations.

use crate::Deadline;
use crate::event::Backoff;
use crate::sys::call;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

const SLOTS: usize = 1 << 16;
static CLAIMED: [AtomicI32; SLOTS] = [const { AtomicI32::new(0) }; SLOTS];
/// The number of slots up to the highest one ever used. If this number includes all slots, some handles may
/// have no slot.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The first slot number of this process. The slot numbers of a forked child differ from those of its parent,
/// so a claim that the child has inherited matches no slot.
static FIRST: AtomicUsize = AtomicUsize::new(0);
/// For each epoch, the id of the counting process plus [`ONE`] for each creation that this process has in
/// progress. In a child that other code has forked, the value still contains the id of the parent, so the
/// count is ignored.
static CREATIONS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// The value that represents one creation: a number above the highest process id of Linux.
const ONE: usize = 1 << 22;
/// The epoch that a new creation joins.
static EPOCH: AtomicUsize = AtomicUsize::new(0);

/// A record that a child has a handle.
#[derive(Debug)]
pub(super) struct Claim {
    number: usize,
}

impl Claim {
    pub(super) fn new(pid: i32) -> Self {
        let free = |slot: &AtomicI32| {
            slot.load(SeqCst) == 0 && slot.compare_exchange(0, pid, SeqCst, SeqCst).is_ok()
        };
        let slot = CLAIMED.iter().position(free).unwrap_or(SLOTS);
        USED.fetch_max(SLOTS.min(slot + 1), SeqCst);
        Self { number: FIRST.load(SeqCst).wrapping_add(slot) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let slot = CLAIMED.get(self.number.wrapping_sub(FIRST.load(SeqCst)));
        let _ = slot.map(|slot| slot.store(0, SeqCst));
    }
}

/// Returns whether a handle to this child exists or may exist.
pub(super) fn is_claimed(pid: i32) -> bool {
    let used = USED.load(SeqCst);
    used == SLOTS || CLAIMED.iter().take(used).any(|slot| slot.load(SeqCst) == pid)
}

/// A record that this thread is creating a child, held until the child has its claim.
pub(super) struct Creation {
    epoch: &'static AtomicUsize,
    owner: usize,
}

impl Creation {
    pub(super) fn begin() -> Self {
        let (epoch, owner) = (&CREATIONS[EPOCH.load(SeqCst) & 1], owner());
        let joined = |epoch| Some(owner + (begun(epoch, owner) + 1) * ONE);
        let _ = epoch.fetch_update(SeqCst, SeqCst, joined);
        Self { epoch, owner }
    }

    /// Clears all claims and counts in a forked child, because they belong to its parent.
    pub(super) fn forget_all(self) {
        core::mem::forget(self);
        FIRST.fetch_add(2 * SLOTS, SeqCst);
        CLAIMED.iter().take(USED.swap(0, SeqCst)).for_each(|slot| slot.store(0, SeqCst));
        CREATIONS.iter().for_each(|count| count.store(0, SeqCst));
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let left = |epoch| (begun(epoch, self.owner) > 0).then(|| epoch - ONE);
        let _ = self.epoch.fetch_update(SeqCst, SeqCst, left);
    }
}

fn owner() -> usize {
    call::getpid().unsigned_abs() as usize % ONE
}

fn begun(epoch: usize, owner: usize) -> usize {
    if epoch % ONE == owner { epoch / ONE } else { 0 }
}

/// Waits until all creations that began before the call have finished. Returns `false` if the deadline passes
/// first.
pub(super) fn settle(deadline: Deadline<'_>) -> bool {
    let owner = owner();
    (1..).zip(&CREATIONS).all(|(other, epoch)| {
        EPOCH.store(other, SeqCst);
        let mut backoff = Backoff::default();
        while begun(epoch.load(SeqCst), owner) > 0 && !deadline.has_passed() {
            backoff.pause(Some(deadline));
        }
        begun(epoch.load(SeqCst), owner) == 0
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
    fn settle_waits_for_creations_that_have_begun() {
        let soon = || Deadline::after(core::time::Duration::from_millis(5));
        let creation = Creation::begin();
        assert!(!settle(soon()));
        drop(creation);
        // This wait ends immediately, because no other test of this binary creates a child.
        assert!(settle(Deadline::NEVER));
    }
}
