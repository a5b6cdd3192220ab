//! The ring: two positions in memory that both sides have, and the order in which they are read and
//! written. It makes no system call and touches no byte of a record, so that a model checker sees all of it.
//!
//! Positions are counted in bytes and wrap around; the ring's size is a power of two, so that the lower
//! bits of a position are a place in it. A record begins at a multiple of [`UNIT`], and its length stands
//! in the last word before it. A chunk that does not fit before the end of the ring begins at its start, and
//! then [`SKIP`] stands where its length would have been.
//!
//! Both sides do the same with the two positions: each stores its own, loads the other's, and says in a
//! word of its own for which position it waits. So there is one [`Side`].

use super::atomic::{AtomicUsize, Ordering, fence};
use crate::{Deadline, Errno, Result};
use core::mem;

/// Records begin at multiples of this many bytes.
pub(super) const UNIT: usize = 64;

/// The bytes before a record that hold its length.
const HEADER: usize = 8;

/// Instead of a length: the record begins at the start of the ring.
const SKIP: usize = usize::MAX;

/// A half that no process uses, that one uses, or that was dropped by the one that used it.
const FREE: usize = 0;
const OWNED: usize = 1;
const CLOSED: usize = 2;

/// On two cache lines of its own, since processors fetch them in pairs.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(super) struct Position(pub(super) AtomicUsize);

/// What a half stores for the other to look at.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) position: Position,
    /// The other's position that it waits for, with 1 added; 0 while it does not wait. This and the state
    /// share a line: both change rarely, and a `send` looks at both of the reader's.
    wants: AtomicUsize,
    state: AtomicUsize,
}

/// The words of the reader and of the writer. All zeros are a ring that nobody has used.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Control(pub(super) [Words; 2]);

/// The memory of a ring.
pub(super) trait Memory {
    fn control(&self) -> &Control;
    /// The word at a place in the ring, counted in bytes: a multiple of [`HEADER`] and less than its size.
    fn header(&self, place: usize) -> &AtomicUsize;
}

/// How one side wakes the other, and sleeps until it is woken.
pub(super) trait Bell {
    /// Wakes the other side. `EPIPE` if it is gone.
    fn ring(&self) -> Result<()>;
    /// Sleeps until the other side rings, at most until the deadline (`ETIMEDOUT`). Without a deadline
    /// it does not sleep (`EAGAIN`). A ring that is heard is over.
    fn hear(&self, until: Option<Deadline>) -> Result<Heard>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Rung,
    /// No process has the other side's bell any more.
    Gone,
}

/// A record that the reader may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it begins in the ring.
    pub(super) place: usize,
    pub(super) len: usize,
    /// The position after it.
    end: usize,
}

/// One side of a ring, in the process that uses it.
#[derive(Debug)]
pub(super) struct Side<const WRITER: bool> {
    ring: usize,
    /// This side's position.
    at: usize,
    /// The other's, as last seen.
    seen: usize,
    /// What `wants` was set to, unless that is over.
    armed: usize,
    /// What the other side has stored is impossible.
    broken: bool,
}

impl<const WRITER: bool> Side<WRITER> {
    pub(super) const fn new(ring: usize) -> Self {
        Self { ring, at: 0, seen: 0, armed: 0, broken: false }
    }

    fn own(memory: &impl Memory) -> &Words {
        &memory.control().0[usize::from(WRITER)]
    }

    fn other(memory: &impl Memory) -> &Words {
        &memory.control().0[usize::from(!WRITER)]
    }

    /// Where a position is in the ring.
    pub(super) const fn place(&self, position: usize) -> usize {
        position & (self.ring - 1)
    }

    /// The word before the record at `position`.
    #[inline]
    fn header<'a>(&self, memory: &'a impl Memory, position: usize) -> &'a AtomicUsize {
        memory.header(self.place(position.wrapping_sub(HEADER)))
    }

    /// The first position of the lap after the one of `position`.
    const fn next_lap(&self, position: usize) -> usize {
        (position | (self.ring - 1)).wrapping_add(1)
    }

    /// Whether this process may use the half. It may if `mark` says that it does so already, which the
    /// kernel wipes in a forked child, or if no process does. `Ok(true)` is the first use.
    #[inline]
    pub(super) fn claim(&mut self, memory: &impl Memory, mark: &AtomicUsize) -> Result<bool> {
        if mark.load(Ordering::Relaxed) == OWNED {
            return if self.broken { Err(Errno::EPROTO) } else { Ok(false) };
        }
        let Words { position, state, .. } = Self::own(memory);
        // Acquire: what the process did that had it before and released it.
        if state.compare_exchange(FREE, OWNED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(Errno::EBUSY);
        }
        mark.store(OWNED, Ordering::Relaxed);
        *self = Self::new(self.ring);
        self.at = position.0.load(Ordering::Relaxed);
        self.broken = self.at % UNIT != 0;
        self.seen = self.at;
        self.look(memory)?;
        Ok(true)
    }

    /// Gives the half up, so that another process may use it, or for good. Does nothing in a process that
    /// does not use it.
    pub(super) fn leave(
        &mut self,
        memory: &impl Memory,
        mark: &AtomicUsize,
        bell: &impl Bell,
        closed: bool,
    ) {
        if mark.swap(FREE, Ordering::Relaxed) != OWNED {
            return;
        }
        self.disarm(memory, bell);
        Self::own(memory).state.store(if closed { CLOSED } else { FREE }, Ordering::Release);
        if closed {
            fence(Ordering::SeqCst);
            let wants = &Self::other(memory).wants;
            let wanted = wants.load(Ordering::Relaxed);
            if wanted != 0 && take(wants, wanted) {
                // If the other side is gone there is nobody to wake.
                let _ = bell.ring();
            }
        }
    }

    /// Whether the other side was dropped by the process that used it.
    pub(super) fn other_is_closed(memory: &impl Memory) -> bool {
        Self::other(memory).state.load(Ordering::Acquire) == CLOSED
    }

    /// Looks at the other side's position.
    #[inline]
    fn look(&mut self, memory: &impl Memory) -> Result<()> {
        // Acquire: what the other side did to the bytes that it gives away by this.
        let seen = Self::other(memory).position.0.load(Ordering::Acquire);
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

    /// Whether the other side has come to position `needed`. Looks again if it had not.
    #[inline]
    pub(super) fn is_there(&mut self, memory: &impl Memory, needed: usize) -> Result<bool> {
        if !reached(self.seen, needed) {
            self.look(memory)?;
        }
        Ok(reached(self.seen, needed))
    }

    /// Waits until the other side has come to position `needed`; `false` if it never will.
    ///
    /// Without a deadline it does not wait; but then, and when the deadline has passed, the other side
    /// will ring when it comes there.
    pub(super) fn wait(
        &mut self,
        memory: &impl Memory,
        bell: &impl Bell,
        needed: usize,
        until: Option<Deadline>,
    ) -> Result<bool> {
        // What an earlier call has set may have been taken: that ring is over.
        self.disarm(memory, bell);
        let wants = &Self::own(memory).wants;
        let mut gone = false;
        loop {
            self.armed = needed | 1;
            wants.store(self.armed, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            gone |= Self::other_is_closed(memory);
            self.look(memory)?;
            if reached(self.seen, needed) {
                self.disarm(memory, bell);
                return Ok(true);
            }
            if gone {
                return Ok(false);
            }
            gone = bell.hear(until)? == Heard::Gone;
        }
    }

    /// Takes back what `wants` was set to, since that has come meanwhile.
    #[inline]
    pub(super) fn disarm(&mut self, memory: &impl Memory, bell: &impl Bell) {
        let armed = mem::take(&mut self.armed);
        if armed != 0 && !take(&Self::own(memory).wants, armed) {
            // The other side has rung, or is about to: then this ring is left unheard.
            let _ = bell.hear(None);
        }
    }

    /// Moves this side's position on, which gives the bytes before it to the other side.
    #[inline]
    fn advance(&mut self, memory: &impl Memory, bell: &impl Bell, to: usize) -> Result<()> {
        self.at = to;
        // Release: whatever was done to the bytes that are given away.
        Self::own(memory).position.0.store(to, Ordering::Release);
        // Of two sides of which one stores its position and looks whether the other waits, and the other
        // stores that it waits and looks at the position, at least one sees what the other has stored.
        fence(Ordering::SeqCst);
        let wants = &Self::other(memory).wants;
        let wanted = wants.load(Ordering::Relaxed);
        if wanted != 0 && reached(to, wanted - 1) && take(wants, wanted) {
            bell.ring()?;
        }
        Ok(())
    }
}

impl Side<true> {
    /// The position of the next chunk, and how far the reader must have come before it may be filled.
    #[inline]
    pub(super) const fn next(&self, chunk: usize) -> (usize, usize) {
        let fits = self.place(self.at) + chunk + HEADER <= self.ring;
        let start = if fits { self.at } else { self.next_lap(self.at) };
        (start, start.wrapping_add(size(chunk)).wrapping_sub(self.ring))
    }

    /// Gives the first `len` bytes of the chunk at position `start` to the reader.
    #[inline]
    pub(super) fn send(
        &mut self,
        memory: &impl Memory,
        bell: &impl Bell,
        start: usize,
        len: usize,
    ) -> Result<()> {
        if start != self.at {
            self.header(memory, self.at).store(SKIP, Ordering::Relaxed);
        }
        self.header(memory, start).store(len, Ordering::Relaxed);
        self.advance(memory, bell, start.wrapping_add(size(len)))
    }
}

impl Side<false> {
    /// How far the writer must have come before there is a record.
    pub(super) const fn next(&self) -> usize {
        self.at.wrapping_add(UNIT)
    }

    /// The next record, when the writer has come to [`next`](Self::next).
    #[inline]
    pub(super) fn record(&mut self, memory: &impl Memory) -> Result<Record> {
        let mut start = self.at;
        let mut len = self.header(memory, start).load(Ordering::Relaxed);
        if len == SKIP {
            start = self.next_lap(start);
            len = self.header(memory, start).load(Ordering::Relaxed);
        }
        let place = self.place(start);
        let skipped = start.wrapping_sub(self.at);
        let sent = self.seen.wrapping_sub(self.at);
        let fits = len <= self.ring && place + len + HEADER <= self.ring;
        if len == 0 || !fits || skipped + size(len) > sent {
            return Err(self.fail());
        }
        Ok(Record { place, len, end: start.wrapping_add(size(len)) })
    }

    /// Gives the room of a record back.
    #[inline]
    pub(super) fn give_back(&mut self, memory: &impl Memory, bell: &impl Bell, record: Record) {
        // If the writer is gone there is nobody to wake.
        let _ = self.advance(memory, bell, record.end);
    }
}

/// Takes what is wanted, unless that has changed: who changes it looks at the position afterwards.
fn take(wants: &AtomicUsize, wanted: usize) -> bool {
    wants.compare_exchange(wanted, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// How many bytes of the ring a record takes, with the header of the next one.
pub(super) const fn size(len: usize) -> usize {
    (len + HEADER).next_multiple_of(UNIT)
}

/// Whether `position` is `needed` or beyond. They are at most two rings apart.
const fn reached(position: usize, needed: usize) -> bool {
    position.wrapping_sub(needed) <= isize::MAX as usize
}
