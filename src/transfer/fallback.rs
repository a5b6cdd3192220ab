//! The last mechanism, which never refuses: `read` and `write` through a buffer.

use super::TransferMechanism;
use super::end::Kind;
use super::engine::{Engine, Failure, Outcome};
use super::error::{Held, Side};
use crate::errno::retry;
use crate::io::nowait;
use crate::pipe::PIPE_BUF;
use crate::sys::abi::iovec::IoSlice;
use crate::sys::call;
use crate::sys::map::Map;
use crate::{Errno, PipeReader};
use core::ops::Range;

/// Bytes of the buffer: larger ones leave the second-level cache.
const BUFFER: usize = 256 << 10;

impl Engine<'_, '_> {
    pub(super) fn copy(&mut self) -> Result<Outcome, Failure> {
        // The end of a file, after a mechanism that has seen it, is found without a large buffer.
        let Some(wanted) = self.wanted() else { return Ok(Outcome::Finished) };
        let wanted = wanted.min(BUFFER);
        let mut pages =
            Map::anonymous(wanted).map_err(|errno| Failure::new(Side::Source, errno))?;
        loop {
            let Some(wanted) = self.wanted() else { return Ok(Outcome::Finished) };
            let wanted = wanted.min(pages.len());
            match self.read(&mut pages.bytes_mut()[..wanted])? {
                Ok(0) if self.from.has_ended() => return Ok(Outcome::Finished),
                // An empty record moves no bytes, and only a sink that keeps boundaries can have it.
                Ok(0) if self.to.kind != Kind::Records => {}
                Ok(count) => {
                    let mut range = 0..count;
                    if let Err(failure) = self.deliver(&pages, &mut range) {
                        let held = Held { pages: Some((pages, range)), pipe: None };
                        return Err(failure.holding(held));
                    }
                    self.report();
                }
                // A datagram socket that was shut down reports its end only to calls that may wait.
                Err(Errno::EAGAIN) if self.from.kind == Kind::Records && self.from.has_ended() => {
                    return Ok(Outcome::Finished);
                }
                Err(errno) => self.nothing_moved(self.from, errno)?,
            }
        }
    }

    /// Reads from the source, not beyond the deadline.
    fn read(&mut self, buf: &mut [u8]) -> Result<crate::Result<usize>, Failure> {
        if self.from.may_wait {
            match nowait::try_read(self.from.fd, buf) {
                Err(Errno::EOPNOTSUPP) => self.wait_for(self.from)?,
                answer => return Ok(answer),
            }
            if self.ended {
                return Ok(Err(Errno::EINTR));
            }
        }
        Ok(call::read(self.from.fd, buf))
    }

    /// Writes to the sink, not beyond the deadline.
    fn write(&mut self, buf: &[u8]) -> Result<crate::Result<usize>, Failure> {
        let mut most = buf.len();
        if self.nowhere {
            return Ok(Ok(most));
        }
        if self.to.may_wait {
            match nowait::try_writev(self.to.fd, &[IoSlice::new(buf)]) {
                Err(Errno::EOPNOTSUPP) => self.wait_for(self.to)?,
                answer => return Ok(answer),
            }
            if self.to.kind != Kind::Records {
                // As much as a pipe or a terminal that is ready takes without waiting.
                most = most.min(PIPE_BUF);
            }
        }
        Ok(call::write(self.to.fd, &buf[..most]))
    }

    /// Writes `pages[range]` to the sink, in one call also if that is empty. What did not arrive is left in
    /// `range`.
    fn deliver(&mut self, pages: &Map, range: &mut Range<usize>) -> Result<(), Failure> {
        loop {
            match self.write(&pages.bytes()[range.clone()])? {
                Ok(count) => {
                    range.start += count;
                    self.arrived(count);
                    if range.start == range.end {
                        return Ok(());
                    }
                    if count == 0 {
                        let held = Held::default();
                        return Err(Failure { side: Side::Sink, errno: None, held });
                    }
                }
                Err(errno) => self.nothing_moved(self.to, errno)?,
            }
        }
    }

    /// The sink does not take what is in the broker pipe by `splice`: delivers it by `write`, so that
    /// the next mechanism begins with nothing in hand.
    pub(super) fn drain_by_copy(
        &mut self,
        reader: PipeReader,
        mut held: usize,
    ) -> Result<Outcome, Failure> {
        let pipe = |reader, held| Some((reader, held));
        self.mechanism = TransferMechanism::Copy;
        let mut pages = match Map::anonymous(BUFFER.min(held)) {
            Ok(pages) => pages,
            Err(errno) => {
                let held = Held { pages: None, pipe: pipe(reader, held) };
                return Err(Failure::new(Side::Sink, errno).holding(held));
            }
        };
        while held > 0 {
            let wanted = held.min(pages.len());
            match retry(|| reader.read(&mut pages.bytes_mut()[..wanted])) {
                // No other process reads this pipe, so what was written to it is there.
                Ok(count) => {
                    held -= count;
                    let mut range = 0..count;
                    if let Err(failure) = self.deliver(&pages, &mut range) {
                        let held = Held { pages: Some((pages, range)), pipe: pipe(reader, held) };
                        return Err(failure.holding(held));
                    }
                }
                Err(errno) => {
                    let held = Held { pages: None, pipe: pipe(reader, held) };
                    return Err(Failure::new(Side::Sink, errno).holding(held));
                }
            }
        }
        self.report();
        Ok(Outcome::Refused)
    }
}
