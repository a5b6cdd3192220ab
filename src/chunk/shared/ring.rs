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

/// How the memory of a pair is laid out, and by which machine: "rp", this version, and the size of a word.
pub(super) const FORMAT: usize = 0x7270_0100 | size_of::<usize>();

/// What both halves have in front of the ring. All zeros are a ring that no process has used.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Those of the reader and of the writer.
    pub(super) halves: [Words; 2],
    /// For a half that comes from another program.
    pub(super) format: AtomicUsize,
    pub(super) chunk: AtomicUsize,
}

/// What a half has of the memory and the pipes of its pair.
pub(super) trait Link {
    fn control(&self) -> &Control;
    /// The word at a place in the ring, counted in bytes: a multiple of its size, and less than the ring's.
    fn word(&self, place: usize) -> &AtomicUsize;
    /// Not 0 if this process uses the half. The kernel wipes it in a forked child.
    fn mark(&self) -> &AtomicUsize;
    /// Wakes the other side. `EPIPE` if it is gone.
    fn ring(&self) -> Result<()>;
    /// Sleeps until the other side rings, at most until the deadline (`ETIMEDOUT`); without a deadline it
    /// does not sleep (`EAGAIN`). Returns `false` if no process has the other side's bell any more.
    fn hear(&self, until: Option<Deadline>) -> Result<bool>;
}

/// Bytes of the ring that are lent: a record that has been received, or a chunk to be filled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    start: usize,
    /// 0 if nothing is lent.
    pub(super) len: usize,
}

/// One side of a ring, in the process that uses it.
#[derive(Debug)]
pub(super) struct Side<L, const WRITER: bool> {
    pub(super) link: L,
    ring: usize,
    /// This side's position.
    at: usize,
    /// The other's, as last seen.
    seen: usize,
    /// What `wants` was set to, unless that is over.
    armed: usize,
    /// What the other side has stored is impossible.
    broken: bool,
    /// No forked child may use the half.
    bound: bool,
    pub(super) lent: Record,
}

impl<L: Link, const WRITER: bool> Side<L, WRITER> {
    pub(super) fn new(link: L, ring: usize) -> Self {
        let lent = Record::default();
        Self { link, ring, at: 0, seen: 0, armed: 0, broken: false, bound: false, lent }
    }

    #[inline]
    fn words(&self, writer: bool) -> &Words {
        &self.link.control().halves[usize::from(writer)]
    }

    const fn place(&self, position: usize) -> usize {
        position & (self.ring - 1)
    }

    /// Where in the ring the bytes that are lent begin.
    #[inline]
    pub(super) const fn lent_at(&self) -> usize {
        self.place(self.lent.start)
    }

    /// The word before the record at `position`.
    #[inline]
    fn header(&self, position: usize) -> &AtomicUsize {
        self.link.word(self.place(position.wrapping_sub(HEADER)))
    }

    /// The first position of the lap after the one of `position`.
    const fn next_lap(&self, position: usize) -> usize {
        (position | (self.ring - 1)).wrapping_add(1)
    }

    /// Whether this process uses the half, and not one from which it was forked.
    #[inline]
    fn is_used_here(&self) -> bool {
        self.link.mark().load(Ordering::Relaxed) != FREE
    }

    /// Makes this process the one that uses the half, unless another does (`EBUSY`).
    #[inline]
    pub(super) fn claim(&mut self) -> Result<()> {
        if self.is_used_here() {
            return if self.broken { Err(Errno::EPROTO) } else { Ok(()) };
        }
        if self.bound {
            return Err(Errno::EBUSY);
        }
        let Words { position, state, .. } = self.words(WRITER);
        // Acquire: what the process did that had it before and released it.
        let taken = state.compare_exchange(FREE, OWNED, Ordering::Acquire, Ordering::Relaxed);
        taken.map_err(|_| Errno::EBUSY)?;
        self.link.mark().store(OWNED, Ordering::Relaxed);
        self.at = position.0.load(Ordering::Relaxed);
        (self.armed, self.lent, self.broken) = (0, Record::default(), self.at % UNIT != 0);
        self.look()
    }

    /// Makes this process the only one that ever uses the half, whatever the other side stores.
    pub(super) fn bind(&mut self) -> Result<()> {
        self.claim()?;
        self.bound = true;
        Ok(())
    }

    /// Gives the half up, so that another process may use it, or for good. Does nothing in a process that
    /// does not use it.
    pub(super) fn leave(&mut self, closed: bool) {
        if self.link.mark().swap(FREE, Ordering::Relaxed) == FREE {
            return;
        }
        self.disarm();
        self.words(WRITER).state.store(if closed { CLOSED } else { FREE }, Ordering::Release);
        if closed {
            // If the other side is gone there is nothing to wake.
            let _ = self.wake(|_| true);
        }
    }

    /// Whether the other side was dropped by the process that used it.
    #[inline]
    pub(super) fn other_is_closed(&self) -> bool {
        self.words(!WRITER).state.load(Ordering::Acquire) == CLOSED
    }

    /// Looks at the other side's position.
    #[inline]
    fn look(&mut self) -> Result<()> {
        // Acquire: what the other side did to the bytes that it gives away by this.
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

    /// Whether the other side has come to position `needed`. Looks again if it had not.
    #[inline]
    pub(super) fn is_there(&mut self, needed: usize) -> Result<bool> {
        if !reached(self.seen, needed) {
            self.look()?;
        }
        Ok(reached(self.seen, needed))
    }

    /// Waits until the other side has come to position `needed`; `false` if it never will.
    ///
    /// Without a deadline it does not wait; but then, and when the deadline has passed, the other side
    /// will ring when it comes there.
    pub(super) fn wait(&mut self, needed: usize, until: Option<Deadline>) -> Result<bool> {
        // What an earlier call has set may have been taken: that ring is over.
        self.disarm();
        let mut gone = false;
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
            gone = !self.link.hear(until)?;
        }
    }

    /// Takes back what `wants` was set to, since that has come meanwhile.
    #[inline]
    pub(super) fn disarm(&mut self) {
        let armed = mem::take(&mut self.armed);
        if armed != 0 && !take(&self.words(WRITER).wants, armed) {
            // The other side has rung, or is about to: then this ring is left unheard.
            let _ = self.link.hear(None);
        }
    }

    /// Rings if the other side waits for a position that `has_come`.
    #[inline]
    fn wake(&self, has_come: impl Fn(usize) -> bool) -> Result<()> {
        // Of two sides of which one stores its position and looks whether the other waits, and the other
        // stores that it waits and looks at the position, at least one sees what the other has stored.
        fence(Ordering::SeqCst);
        let wants = &self.words(!WRITER).wants;
        let wanted = wants.load(Ordering::Relaxed);
        if wanted != 0 && has_come(wanted - 1) && take(wants, wanted) {
            self.link.ring()?;
        }
        Ok(())
    }

    /// Moves this side's position on, which gives the bytes before it to the other side.
    #[inline]
    fn advance(&mut self, to: usize) -> Result<()> {
        self.at = to;
        // Release: whatever was done to the bytes that are given away.
        self.words(WRITER).position.0.store(to, Ordering::Release);
        self.wake(|wanted| reached(to, wanted))
    }
}

impl<L: Link> Side<L, true> {
    /// The position of the next chunk, and how far the reader must have come before it may be filled.
    #[inline]
    pub(super) const fn next(&self, chunk: usize) -> (usize, usize) {
        let fits = self.place(self.at) + chunk + HEADER <= self.ring;
        let start = if fits { self.at } else { self.next_lap(self.at) };
        (start, start.wrapping_add(size(chunk)).wrapping_sub(self.ring))
    }

    /// Lends the chunk at position `start`, when the reader has come as far as it must.
    #[inline]
    pub(super) const fn lend(&mut self, start: usize, chunk: usize) {
        self.lent = Record { start, len: chunk };
    }

    /// Gives the first `len` bytes of the chunk that is lent to the reader.
    #[inline]
    pub(super) fn send(&mut self, len: usize) -> Result<()> {
        let start = mem::take(&mut self.lent).start;
        if start != self.at {
            self.header(self.at).store(SKIP, Ordering::Relaxed);
        }
        self.header(start).store(len, Ordering::Relaxed);
        self.advance(start.wrapping_add(size(len)))
    }
}

impl<L: Link> Side<L, false> {
    /// How far the writer must have come before there is a record.
    pub(super) const fn next(&self) -> usize {
        self.at.wrapping_add(UNIT)
    }

    /// Lends the next record, when the writer has come to [`next`](Self::next).
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
        let fits = len <= self.ring && self.place(start) + len + HEADER <= self.ring;
        if len == 0 || !fits || skipped + size(len) > sent {
            return Err(self.fail());
        }
        self.lent = Record { start, len };
        Ok(())
    }

    /// Copies the record that is lent, which may change meanwhile.
    pub(super) fn copy_to(&self, buf: &mut [u8]) {
        let words = (self.lent_at()..).step_by(size_of::<usize>());
        for (place, bytes) in words.zip(buf.chunks_mut(size_of::<usize>())) {
            let word = self.link.word(place).load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
    }

    /// Gives the room of the record that is lent back, in the process that received it.
    #[inline]
    pub(super) fn give_back(&mut self) {
        let Record { start, len } = mem::take(&mut self.lent);
        if len > 0 && self.is_used_here() {
            // If the writer is gone there is nothing to wake.
            let _ = self.advance(start.wrapping_add(size(len)));
        }
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
