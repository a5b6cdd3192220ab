//! The pair, the peer that disturbs it, and the address ranges that must contain lent bytes.
//!
//! # Safety
//!
//! This file must uphold only one invariant: no other process writes to the ring of an adopted writer.
#![allow(unsafe_code, reason = "a writer of another program")]

use crate::outside::Outside;
use arbitrary::Arbitrary;
use rawpipe::chunk::shared::{SharedBuilder, SharedCopier, SharedReader, SharedWriter};
use rawpipe::fd::OwnedFd;
use rawpipe::io::write_nosignal;
use rawpipe::{Deadline, Errno, Result, Wait};
use std::fs::File;
use std::hint::black_box;
use std::io::BufRead;
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Kind {
    Built,
    /// A pair whose reader is passed to another program. The peer acts as the other program.
    PassedReader,
    PassedWriter,
    /// A reader that is adopted from another program. The peer acts as the other program.
    AdoptedReader,
    AdoptedWriter,
}

enum Reader {
    Lends(SharedReader),
    Copies(SharedCopier),
}

/// The files or mappings through which the peer stores words and rings bells.
enum Peer {
    Mapped(Outside),
    /// The control words, the ring if it is writable, and the two pipes of the bell.
    Files(File, Option<File>, [OwnedFd; 2]),
}

pub(crate) struct World {
    reader: Option<Reader>,
    writer: Option<SharedWriter>,
    peer: Option<Peer>,
    /// The half that was passed to the other program, if the tested half is the adopted one.
    _other: Option<SharedCopier>,
    rings: Vec<Range<usize>>,
    chunk: usize,
}

/// Returns the mapped ranges of the rings.
fn ranges() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rings = maps.lines().filter(|line| line.contains("/memfd:rawpipe-ring"));
    let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let range = |line: &str| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        address(start)..address(end)
    };
    rings.map(range).collect()
}

fn copies(parts: &[OwnedFd; 4]) -> [OwnedFd; 4] {
    parts.each_ref().map(|part| part.try_clone().unwrap())
}

fn files(parts: [OwnedFd; 4], writable: bool) -> Peer {
    let [control, ring, heard, bell] = parts;
    Peer::Files(control.into(), writable.then(|| ring.into()), [heard, bell])
}

impl World {
    /// Creates the pair and its peer. Returns `None` if the half was not adopted.
    pub(crate) fn new(
        kind: Kind,
        chunk: usize,
        ring: usize,
        before: impl FnOnce(&Self),
    ) -> Option<Self> {
        let builder = SharedBuilder::new().chunk(chunk).ring(ring);
        let mut world =
            Self { reader: None, writer: None, peer: None, _other: None, rings: Vec::new(), chunk };
        match kind {
            Kind::Built => {
                let (outside, (reader, writer)) = Outside::of(ring, || builder.build().unwrap());
                world.reader = Some(Reader::Lends(reader));
                world.writer = Some(writer);
                world.peer = Some(Peer::Mapped(outside));
            }
            Kind::PassedReader => {
                let (parts, writer) = builder.pass_reader().unwrap();
                world.writer = Some(writer);
                world.peer = Some(files(parts, false));
            }
            Kind::PassedWriter => {
                let (parts, reader) = builder.pass_writer().unwrap();
                world.reader = Some(Reader::Copies(reader));
                world.peer = Some(files(parts, true));
            }
            Kind::AdoptedReader | Kind::AdoptedWriter => {
                let writes = matches!(kind, Kind::AdoptedWriter);
                let (parts, other) = builder.pass_writer().unwrap();
                let kept = copies(&parts);
                world._other = Some(other);
                world.peer = Some(files(kept, !writes));
                // The reader of the pair exists, so the peer may set the reader's state.
                world.store(crate::outside::CONTROL[2], 0);
                before(&world);
                world.adopt(parts, writes)?;
            }
        }
        world.rings = ranges();
        Some(world)
    }

    fn adopt(&mut self, parts: [OwnedFd; 4], writes: bool) -> Option<()> {
        let made = if writes {
            // SAFETY: the peer stores no word in the ring, and the other half only reads.
            unsafe { SharedWriter::from_parts(parts, Wait::Block) }.map(|half| {
                self.writer = Some(half);
            })
        } else {
            SharedCopier::from_parts(parts, Wait::Block).map(|half| {
                self.reader = Some(Reader::Copies(half));
            })
        };
        match made {
            Ok(()) => Some(()),
            Err(errno) => {
                assert!(matches!(errno, Errno::EPROTO | Errno::EBUSY), "{errno}");
                None
            }
        }
    }

    pub(crate) fn store(&self, at: usize, value: usize) {
        match &self.peer {
            Some(Peer::Mapped(outside)) if at < 512 => outside.store(at, value),
            Some(Peer::Files(control, ..)) => {
                control.write_all_at(&value.to_ne_bytes(), at as u64).unwrap();
            }
            _ => {}
        }
    }

    pub(crate) fn store_in_ring(&self, at: usize, value: usize) {
        match &self.peer {
            Some(Peer::Mapped(outside)) => outside.store_in_ring(at, value),
            Some(Peer::Files(_, Some(ring), _)) => {
                ring.write_all_at(&value.to_ne_bytes(), at as u64).unwrap();
            }
            _ => {}
        }
    }

    pub(crate) fn ring_bells(&self, bytes: usize) {
        match &self.peer {
            Some(Peer::Mapped(outside)) => outside.ring_bells(bytes),
            Some(Peer::Files(_, _, [_, bell])) => {
                let _ = write_nosignal(bell, &[0; 255][..bytes]);
            }
            None => {}
        }
    }

    fn is_within(&self, bytes: &[u8]) -> bool {
        let lent = bytes.as_ptr_range();
        let within =
            |ring: &Range<usize>| ring.start <= lent.start.addr() && lent.end.addr() <= ring.end;
        match &self.peer {
            Some(Peer::Mapped(outside)) => outside.has(bytes),
            _ => self.rings.iter().any(within),
        }
    }

    /// Requests a chunk. Without a deadline, the call returns immediately.
    pub(crate) fn chunk(&mut self, until: Option<Deadline<'_>>) -> Option<Result<()>> {
        let mut writer = self.writer.take()?;
        let lent = match until {
            Some(deadline) => writer.chunk_deadline(deadline),
            None => writer.try_chunk(),
        };
        let result = lent.map(|lent| {
            assert!(lent.len() == self.chunk || self._other.is_some());
            assert!(self.is_within(lent), "outside the ring");
            lent.fill(7);
        });
        self.writer = Some(writer);
        Some(result)
    }

    pub(crate) fn send(&mut self, len: usize) -> Option<Result<()>> {
        Some(self.writer.as_mut()?.send(len))
    }

    /// Receives a record, and returns whether one was available. Without a deadline, the call returns
    /// immediately.
    pub(crate) fn receive(&mut self, until: Option<Deadline<'_>>, short: bool) -> Option<Result<bool>> {
        let mut reader = self.reader.take()?;
        let result = match &mut reader {
            Reader::Lends(reader) => {
                let record = match until {
                    Some(deadline) => reader.recv_deadline(deadline),
                    None => reader.try_recv(),
                };
                record.map(|record| {
                    record.is_some_and(|record| {
                        assert!(self.is_within(&record), "outside the ring");
                        black_box(record.iter().fold(0, |sum: u8, byte| sum ^ byte));
                        true
                    })
                })
            }
            Reader::Copies(reader) => {
                let mut buf = vec![0; if short { 1 } else { 8192 }];
                let len = match until {
                    Some(deadline) => reader.recv_deadline(&mut buf, deadline),
                    None => reader.try_recv(&mut buf),
                };
                len.map(|len| len.is_some_and(|len| 0 < len && len <= buf.len()))
            }
        };
        self.reader = Some(reader);
        Some(result)
    }

    /// Receives a record and leaks it.
    pub(crate) fn forget(&mut self) {
        if let Some(Reader::Lends(reader)) = &mut self.reader {
            mem::forget(reader.try_recv());
        }
    }

    /// Consumes bytes of a record if a record is available without waiting.
    pub(crate) fn consume(&mut self, amount: usize) {
        let Some(Reader::Lends(mut reader)) = self.reader.take() else { return };
        if matches!(reader.try_recv().map(mem::forget), Ok(())) {
            reader.consume(amount);
        }
        self.reader = Some(Reader::Lends(reader));
    }

    /// Drops the peer and checks that calls without a deadline return. A half checks a position stored by the
    /// peer only when the half reaches the previous position. The stored position may therefore be one ring
    /// ahead.
    pub(crate) fn end(mut self, ring: usize) {
        let most = 2 * ring / 16 + 2;
        if let Some(Peer::Files(..)) = self.peer {
            self.peer = None;
            self._other = None;
        }
        if self.peer.is_some() && self.chunk.is_multiple_of(2) {
            self.reader = None;
        }
        if let Some(mut writer) = self.writer.take().filter(|_| self.reader.is_none()) {
            let sent = (0..).take_while(|_| writer.chunk().is_ok() && writer.send(1).is_ok());
            assert!(sent.take(most + 1).count() <= most, "room without end");
        }
        match self.reader.take() {
            Some(Reader::Lends(mut reader)) => {
                let received = (0..).take_while(|_| matches!(reader.recv(), Ok(Some(_))));
                assert!(received.take(most + 1).count() <= most, "records without end");
            }
            Some(Reader::Copies(mut reader)) => {
                let mut buf = [0; 8192];
                let received = (0..).take_while(|_| matches!(reader.recv(&mut buf), Ok(Some(_))));
                assert!(received.take(most + 1).count() <= most, "records without end");
            }
            None => {}
        }
    }
}
