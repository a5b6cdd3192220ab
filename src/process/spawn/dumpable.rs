//! The flag by which a process may be dumped and traced.
//!
//! It belongs to the memory: a child that shares it and changes its ids takes it from its parent, too,
//! and for good. Whoever makes such children remembers it before and sets it again behind.
//!
//! Several threads may be at it at once: then what the first of them found is what the last one sets.

use crate::call::setup as call;
use core::sync::atomic::{AtomicU32, Ordering};

/// How many are at it (upper bits), what the first of them found (1 bit each: known, set), and how often
/// the number of them has come back to nothing, so that a value found between two times is not taken for
/// that of the second: `count << 18 | known << 17 | set << 16 | times`.
static STATE: AtomicU32 = AtomicU32::new(0);
const ONE: u32 = 1 << 18;
const KNOWN: u32 = 1 << 17;
const SET: u32 = 1 << 16;
const TIMES: u32 = SET - 1;

/// Somebody who changes ids in shared memory.
pub(super) struct Dumpable(());

impl Dumpable {
    pub(super) fn remember() -> Self {
        let mut state = STATE.load(Ordering::SeqCst);
        loop {
            let found = if state >= ONE { state & (KNOWN | SET) } else { ask() };
            let new = (state & !(KNOWN | SET) | found).wrapping_add(ONE);
            match STATE.compare_exchange(state, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Self(()),
                Err(current) => state = current,
            }
        }
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let mut state = STATE.load(Ordering::SeqCst);
        loop {
            let mut new = state.wrapping_sub(ONE);
            if new < ONE {
                // The last one, if nobody has come when it is done.
                if state & KNOWN != 0 {
                    let _ = call::prctl_set_dumpable(usize::from(state & SET != 0));
                }
                new = state.wrapping_add(1) & TIMES;
            }
            match STATE.compare_exchange(state, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(current) => state = current,
            }
        }
    }
}

/// The flag as it is now. The value 2, root only, cannot be set, so it is not known.
fn ask() -> u32 {
    match call::prctl_get_dumpable() {
        Ok(0) => KNOWN,
        Ok(1) => KNOWN | SET,
        _ => 0,
    }
}
