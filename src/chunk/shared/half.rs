//! The common part of the writer and the reader: one side of the ring, and its way of waiting.

use super::link::Ends;
use super::ring::Side;
use crate::wait::Spin;
use crate::{Deadline, Errno, Result, Wait};

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

    /// Waits until the peer has reached this position. Returns `false` if it never will.
    #[inline]
    pub(super) fn wait(&mut self, needed: usize, until: Option<Deadline>) -> Result<bool> {
        let Self { side, spin } = self;
        let mut there = || if side.is_there(needed)? { Ok(()) } else { Err(Errno::EAGAIN) };
        // If the memory is corrupt, `wait` below detects it again.
        if there().is_ok() || (until.is_some() && spin.ask(there).is_ok()) {
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
