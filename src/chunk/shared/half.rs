//! Implements the common part of the writer and the reader: one side of the ring, and the policy for waiting.

use super::link::Ends;
use super::ring::Side;
use crate::wait::Spin;
use crate::{Deadline, Result, Wait};
use core::hint;

/// The number of times that a half with [`Wait::Adaptive`] checks the memory before it sleeps. The checks
/// take about 50 microseconds. After a wake-up, the peer needs about the same time to start running.
const CHECKS: u32 = 2048;

/// One half of a pair, in one process.
#[derive(Debug)]
pub(super) struct Half<const WRITER: bool> {
    pub(super) side: Side<Ends, WRITER>,
    spin: Spin,
}

impl<const WRITER: bool> Half<WRITER> {
    pub(super) fn new(ends: Ends, chunk: usize, wait: Wait) -> Self {
        let ring = ends.memory.ring.len();
        Self { side: Side::new(ends, ring, chunk), spin: Spin::new(wait) }
    }

    /// Waits until the peer has reached position `needed`. Returns `false` if the peer can no longer reach
    /// that position. If `until` is `None`, the call does not wait and can fail with `EAGAIN`.
    #[inline]
    pub(super) fn wait(&mut self, needed: usize, until: Option<Deadline<'_>>) -> Result<bool> {
        let Self { side, spin } = self;
        let mut there = side.is_there(needed)?;
        if !there && until.is_some() && spin.begins() {
            there = (0..CHECKS).any(|_| {
                hint::spin_loop();
                // If the memory is corrupt, `side.wait` below reports the error.
                side.is_there(needed) == Ok(true)
            });
            if there { spin.paid() } else { spin.failed() }
        }
        if there {
            side.disarm();
            return Ok(true);
        }
        side.wait(needed, until)
    }
}

impl<const WRITER: bool> Drop for Half<WRITER> {
    fn drop(&mut self) {
        self.side.leave(true);
    }
}
