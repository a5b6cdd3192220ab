//! Implements the ring: two positions in shared memory, and the order in which the positions are read and
//! written. This file makes system calls only through [`Link`], and accesses the bytes of a record only as
//! atomic words. A model checker can therefore cover the whole file.
//!
//! Positions are counted in bytes and wrap around. The ring's size is a power of two, so the lower bits of a
//! position are an offset in the ring. A record begins at a multiple of [`UNIT`], and the word that begins
//! `HEADER` bytes before the record holds the record's length. If a chunk does not fit before the end of the
//! ring, the chunk begins at the start of the ring. In the header at the position where the chunk would
//! otherwise begin, [`SKIP`] then replaces the length.
//!
//! The reader and the writer treat the two positions in the same way, so both use the type [`Side`]. Each
//! side stores its own position, loads the peer's position, and stores, in a separate word, the position for
//! which it waits.

use super::atomic::{AtomicUsize, Ordering, fence};
use crate::{Deadline, Errno, Result};
use core::mem;

/// The alignment of records in bytes. With an alignment of 64 bytes (a cache line), records of up to 64 bytes
/// would occupy more memory, and their transfer would be 20% slower.
pub(super) const UNIT: usize = 16;

/// The maximum size of a ring in bytes.
pub(super) const MOST: usize = isize::MAX as usize / 2;

/// The distance in bytes from the start of the word that holds a record's length to the start of the record.
const HEADER: usize = 8;

/// The value that replaces a length if the record begins at the start of the ring.
const SKIP: usize = usize::MAX;

/// The states of a half: used by no process, used by one process, or dropped by the process that used it.
const FREE: usize = 0;
const OWNED: usize = 1;
const CLOSED: usize = 2;

/// A position that has an aligned pair of cache lines to itself, because some processors prefetch cache
/// lines in pairs.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(super) struct Position(pub(super) AtomicUsize);

/// The words that a half stores for its peer.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) position: Position,
    /// The peer's position for which the half waits, plus 1. If the half does not wait, the value is 0. This
    /// word and `state` share a cache line, because both words change rarely, and because a `send` loads both
    /// words of the reader.
    wants: AtomicUsize,
    state: AtomicUsize,
}

/// The identifier of the memory's layout: "rp", a version, and the size of a word.
pub(super) const FORMAT: usize = 0x7270_0100 | size_of::<usize>();

/// The control words of a pair. If all words are zero, no process has used the ring.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Control {
    /// The words of the reader and of the writer.
    pub(super) halves: [Words; 2],
    /// The value [`FORMAT`] in a pair that two programs share, and otherwise 0.
    pub(super) format: AtomicUsize,
    pub(super) chunk: AtomicUsize,
}

/// The memory and the pipes of a half.
pub(super) trait Link {
    fn control(&self) -> &Control;
    /// Returns the word at a byte offset in the ring. The offset is a multiple of the word's size and less
    /// than the ring's size.
    fn word(&self, place: usize) -> &AtomicUsize;
    /// Returns the mark, which is not 0 if this process uses the half. The kernel clears the mark in a forked
    /// child.
    fn mark(&self) -> &AtomicUsize;
    /// Wakes the peer. Fails with `EPIPE` if the peer has ended.
    fn ring(&self) -> Result<()>;
    /// Sleeps until the peer writes to the pipe. Fails with `ETIMEDOUT` if the deadline passes first, and
    /// with `ECANCELED` if the deadline is cancelled first. If `until` is `None`, the call does not sleep,
    /// and fails with `EAGAIN` if the pipe is empty. Returns `false` if the pipe is empty and no process
    /// holds the peer's end of the pipe.
    fn hear(&self, until: Option<Deadline<'_>>) -> Result<bool>;
}

/// The lent bytes of the ring: a received record, or a chunk to be filled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    start: usize,
    /// The number of lent bytes, or 0 if nothing is lent.
    pub(super) len: usize,
}

/// One side of a ring, in the process that uses it.
#[derive(Debug)]
pub(super) struct Side<L, const WRITER: bool> {
    pub(super) link: L,
    ring: usize,
    /// The maximum size of a record in bytes.
    pub(super) chunk: usize,
    /// This side's position.
    at: usize,
    /// The peer's position when it was last loaded.
    seen: usize,
    /// The value to which `wants` was set, or 0.
    armed: usize,
    /// Set if the peer has stored an impossible value.
    broken: bool,
    /// Set if forked children must not use the half.
    bound: bool,
    pub(super) lent: Record,
}

impl<L: Link, const WRITER: bool> Side<L, WRITER> {
    pub(super) fn new(link: L, ring: usize, chunk: usize) -> Self {
        let lent = Record::default();
        Self { link, ring, chunk, at: 0, seen: 0, armed: 0, broken: false, bound: false, lent }
    }

    fn words(&self, writer: bool) -> &Words {
        &self.link.control().halves[usize::from(writer)]
    }

    const fn place(&self, position: usize) -> usize {
        position & (self.ring - 1)
    }

    /// Returns the offset of the lent bytes in the ring.
    pub(super) const fn lent_at(&self) -> usize {
        self.place(self.lent.start)
    }

    /// Returns the header word of the record at `position`.
    fn header(&self, position: usize) -> &AtomicUsize {
        self.link.word(self.place(position.wrapping_sub(HEADER)))
    }

    /// Returns the first position after `position` that is a multiple of the ring's size.
    const fn next_lap(&self, position: usize) -> usize {
        (position | (self.ring - 1)).wrapping_add(1)
    }

    /// Returns whether this process uses the half. In a forked child, returns `false` until the child itself
    /// claims the half.
    #[inline]
    fn is_used_here(&self) -> bool {
        self.link.mark().load(Ordering::Relaxed) != FREE
    }

    /// Makes this process the user of the half. Fails with `EBUSY` if another process uses the half or if the
    /// half was dropped. Fails with `EPROTO` if a position is impossible.
    #[inline]
    pub(super) fn claim(&mut self) -> Result<()> {
        if self.is_used_here() {
            return if self.broken { Err(Errno::EPROTO) } else { Ok(()) };
        }
        if self.bound {
            return Err(Errno::EBUSY);
        }
        let Words { position, state, .. } = self.words(WRITER);
        // Acquire orders this operation after the accesses of the process that has released the half.
        let taken = state.compare_exchange(FREE, OWNED, Ordering::Acquire, Ordering::Relaxed);
        taken.map_err(|_| Errno::EBUSY)?;
        self.link.mark().store(OWNED, Ordering::Relaxed);
        self.at = position.0.load(Ordering::Relaxed);
        (self.armed, self.lent, self.broken) = (0, Record::default(), self.at % UNIT != 0);
        self.look()
    }

    /// Claims the half, and excludes forked children from it, whatever values the peer stores.
    pub(super) fn bind(&mut self) -> Result<()> {
        self.claim()?;
        self.bound = true;
        Ok(())
    }

    /// Releases the half: permanently if `closed` is set, and otherwise for use by another process. Does
    /// nothing in a process that does not use the half.
    pub(super) fn leave(&mut self, closed: bool) {
        if self.link.mark().swap(FREE, Ordering::Relaxed) == FREE {
            return;
        }
        self.disarm();
        self.words(WRITER).state.store(if closed { CLOSED } else { FREE }, Ordering::Release);
        if closed {
            // Ignores an error. A peer that has ended does not need to be woken, and a drop cannot report
            // another error.
            let _ = self.wake(|_| true);
        }
    }

    /// Returns whether the process that used the other half has dropped that half.
    #[inline]
    fn other_is_closed(&self) -> bool {
        self.words(!WRITER).state.load(Ordering::Acquire) == CLOSED
    }

    /// Loads the peer's position. Fails with `EPROTO` if the position is impossible.
    #[inline]
    fn look(&mut self) -> Result<()> {
        // Acquire orders this load after the peer's accesses to the bytes that the peer has passed to this
        // side.
        let seen = self.words(!WRITER).position.0.load(Ordering::Acquire);
        let [head, tail] = if WRITER { [self.at, seen] } else { [seen, self.at] };
        if self.broken || head.wrapping_sub(tail) > self.ring || seen % UNIT != 0 {
            return Err(self.fail());
        }
        self.seen = seen;
        Ok(())
    }

    fn fail(&mut self) -> Errno {
        self.broken = true;
        Errno::EPROTO
    }

    /// Returns whether the peer has reached position `needed`. Loads the peer's position again if the last
    /// known position is too low.
    #[inline]
    pub(super) fn is_there(&mut self, needed: usize) -> Result<bool> {
        if !reached(self.seen, needed) {
            self.look()?;
        }
        Ok(reached(self.seen, needed))
    }

    /// Waits until the peer has reached position `needed`. Returns `false` if the peer can no longer reach
    /// that position.
    ///
    /// If `until` is `None`, this function does not wait. If the call fails with `EAGAIN`, `ETIMEDOUT` or
    /// `ECANCELED`, the peer still writes to the pipe when it reaches the position.
    pub(super) fn wait(&mut self, needed: usize, until: Option<Deadline<'_>>) -> Result<bool> {
        // Reads the byte that the peer may have written for an earlier call.
        self.disarm();
        // Retries a wake-up that a filter has rejected. The loop below detects a peer that has ended.
        match self.wake(|wanted| reached(self.at, wanted)) {
            Ok(()) | Err(Errno::EPIPE) => {}
            Err(errno) => return Err(errno),
        }
        let (mut gone, mut late) = (false, false);
        loop {
            self.armed = needed | 1;
            self.words(WRITER).wants.store(self.armed, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            gone |= self.other_is_closed();
            self.look()?;
            if reached(self.seen, needed) {
                self.disarm();
                return Ok(true);
            }
            if gone {
                return Ok(false);
            }
            // This check precedes `hear`, because a hostile peer can write to the pipe endlessly.
            if late {
                return Err(match until {
                    None => Errno::EAGAIN,
                    Some(deadline) if deadline.is_cancelled() => Errno::ECANCELED,
                    Some(_) => Errno::ETIMEDOUT,
                });
            }
            gone = !self.link.hear(until)?;
            late = until.is_none_or(|deadline| deadline.has_passed());
        }
    }

    /// Clears `wants`. If the peer has cleared `wants` first, reads the byte that the peer has
    /// written.
    #[inline]
    pub(super) fn disarm(&mut self) {
        let armed = mem::take(&mut self.armed);
        if armed != 0 && !take(&self.words(WRITER).wants, armed) {
            // The peer has written a byte, or is about to write one. A byte that is written after this call
            // stays in the pipe.
            let _ = self.link.hear(None);
        }
    }

    /// Wakes the peer if it waits for a position for which `is_reached` returns `true`.
    #[inline]
    fn wake(&self, is_reached: impl Fn(usize) -> bool) -> Result<()> {
        // One half stores its position and then loads `wants`. Its peer stores `wants` and then loads the
        // position. With a fence between the two accesses of each half, at least one half sees the store of
        // the other half.
        fence(Ordering::SeqCst);
        let wants = &self.words(!WRITER).wants;
        let wanted = wants.load(Ordering::Relaxed);
        if wanted != 0 && is_reached(wanted - 1) && take(wants, wanted) {
            return self.link.ring().inspect_err(|_| {
                // The peer still waits, so restore `wants`.
                let _ = wants.compare_exchange(0, wanted, Ordering::Relaxed, Ordering::Relaxed);
            });
        }
        Ok(())
    }

    /// Advances this side's position to `to`, which passes the bytes before that position to the peer.
    #[inline]
    fn advance(&mut self, to: usize) -> Result<()> {
        self.at = to;
        // Release orders this store after the accesses to the bytes that it passes to the peer.
        self.words(WRITER).position.0.store(to, Ordering::Release);
        self.wake(|wanted| reached(to, wanted))
    }
}

impl<L: Link> Side<L, true> {
    /// Returns the position of the next chunk, and the position that the reader must have reached before the
    /// chunk may be filled.
    #[inline]
    pub(super) const fn next(&self) -> (usize, usize) {
        let fits = self.place(self.at) + self.chunk + HEADER <= self.ring;
        let start = if fits { self.at } else { self.next_lap(self.at) };
        (start, start.wrapping_add(size(self.chunk)).wrapping_sub(self.ring))
    }

    /// Lends the chunk at position `start`.
    #[inline]
    pub(super) const fn lend(&mut self, start: usize) {
        self.lent = Record { start, len: self.chunk };
    }

    /// Passes the first `len` bytes of the lent chunk to the reader.
    #[inline]
    pub(super) fn send(&mut self, len: usize) -> Result<()> {
        let start = mem::take(&mut self.lent).start;
        if self.other_is_closed() {
            return Err(Errno::EPIPE);
        }
        if start != self.at {
            self.header(self.at).store(SKIP, Ordering::Relaxed);
        }
        self.header(start).store(len, Ordering::Relaxed);
        self.advance(start.wrapping_add(size(len)))
    }
}

impl<L: Link> Side<L, false> {
    /// Returns the position that the writer must have reached before a record is available.
    pub(super) const fn next(&self) -> usize {
        self.at.wrapping_add(UNIT)
    }

    /// Lends the next record. Before this call, the writer must have reached [`next`](Self::next).
    #[inline]
    pub(super) fn lend(&mut self) -> Result<()> {
        let mut start = self.at;
        let mut len = self.header(start).load(Ordering::Relaxed);
        if len == SKIP {
            start = self.next_lap(start);
            len = self.header(start).load(Ordering::Relaxed);
        }
        let skipped = start.wrapping_sub(self.at);
        let sent = self.seen.wrapping_sub(self.at);
        let fits = len <= self.chunk && self.place(start) + len + HEADER <= self.ring;
        if len == 0 || !fits || skipped + size(len) > sent {
            return Err(self.fail());
        }
        self.lent = Record { start, len };
        Ok(())
    }

    /// Copies the lent record, which another program may change during the copy.
    pub(super) fn copy_to(&self, buf: &mut [u8]) {
        let words = (self.lent_at()..).step_by(size_of::<usize>());
        for (place, bytes) in words.zip(buf.chunks_mut(size_of::<usize>())) {
            let word = self.link.word(place).load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
    }

    /// Releases the lent record, so that the writer can reuse its bytes. Does nothing if no record is lent,
    /// or if this process does not use the half.
    #[inline]
    pub(super) fn give_back(&mut self) {
        let Record { start, len } = mem::take(&mut self.lent);
        if len > 0 && self.is_used_here() {
            // Ignores an error. A writer that has ended does not need to be woken, and [`wait`](Self::wait)
            // retries a wake-up that a filter has rejected.
            let _ = self.advance(start.wrapping_add(size(len)));
        }
    }
}

/// Clears `wants` if it still holds `wanted`, and returns whether it was cleared. The ordering is relaxed,
/// because each half loads the peer's position with Acquire before it accesses the bytes.
fn take(wants: &AtomicUsize, wanted: usize) -> bool {
    wants.compare_exchange(wanted, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Returns the number of bytes that a record occupies in the ring, including the header of the next record.
pub(super) const fn size(len: usize) -> usize {
    (len + HEADER).next_multiple_of(UNIT)
}

/// Returns whether `position` is at or beyond `needed`. The two positions are at most two ring sizes apart.
const fn reached(position: usize, needed: usize) -> bool {
    position.wrapping_sub(needed) <= isize::MAX as usize
}
