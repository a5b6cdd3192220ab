//! Implements the last mechanism, which works with every pair: `read` and `write` through a buffer.

use super::TransferMechanism;
use super::end::Kind;
use super::engine::{Engine, Outcome};
use super::error::{Failure, Side};
use crate::errno::retry;
use crate::io::nowait;
use crate::pipe::PIPE_BUF;
use crate::sys::abi::iovec::IoSlice;
use crate::sys::call;
use crate::sys::map::Map;
use crate::{Errno, PipeReader};
use core::ops::Range;

/// The size of the buffer in bytes. A larger buffer often does not stay in the second-level cache.
const BUFFER: usize = 256 << 10;

impl Engine<'_, '_> {
    pub(super) fn copy(&mut self) -> Result<Outcome, Failure> {
        // The buffer has pages of the usual size, not a huge page. A round of a fan-out needs less memory
        // than a huge page, and so does the read that confirms the end of a file.
        let Some(wanted) = self.wanted()? else { return Ok(Outcome::Finished) };
        let mut pages =
            Map::new(wanted.min(BUFFER)).map_err(|errno| Failure::new(Side::Source, errno))?;
        loop {
            let Some(wanted) = self.wanted()? else { return Ok(Outcome::Finished) };
            let wanted = wanted.min(pages.len());
            match self.read(&mut pages.bytes_mut()[..wanted]) {
                Ok(0) if self.has_ended()? => return Ok(Outcome::Finished),
                // An empty record moves no bytes, and only a sink that preserves boundaries can receive it.
                Ok(0) if self.to.kind != Kind::Records => self.report(),
                Ok(count) => {
                    let mut range = 0..count;
                    if let Err(mut failure) = self.deliver(&pages, &mut range) {
                        failure.held.pages = Some((pages, range));
                        return Err(failure);
                    }
                    self.report();
                }
                // After a shutdown, a datagram socket reports its end only to calls that may wait.
                Err(Errno::EAGAIN) if self.from.kind == Kind::Records && self.has_ended()? => {
                    return Ok(Outcome::Finished);
                }
                Err(errno) => self.nothing_moved(self.from, errno)?,
            }
        }
    }

    fn has_ended(&self) -> Result<bool, Failure> {
        self.from.has_ended().map_err(|errno| Failure::new(Side::Source, errno))
    }

    /// Reads from the source without waiting beyond the deadline, except in the cases that
    /// `Transfer::deadline` lists.
    fn read(&mut self, buf: &mut [u8]) -> crate::Result<usize> {
        if self.from.may_wait {
            match nowait::try_read(self.from.fd, buf) {
                Err(Errno::EOPNOTSUPP) => self.wait_for(self.from)?,
                answer => return answer,
            }
            if self.ended {
                return Err(Errno::EINTR);
            }
        }
        call::read(self.from.fd, buf)
    }

    /// Writes to the sink without waiting beyond the deadline, except in the cases that `Transfer::deadline`
    /// lists.
    fn write(&mut self, buf: &[u8]) -> crate::Result<usize> {
        let mut most = buf.len();
        if self.nowhere {
            return Ok(most);
        }
        if self.to.may_wait {
            let answer = match self.to.byte_by_byte {
                true => Err(Errno::EOPNOTSUPP),
                false => nowait::try_writev(self.to.fd, &[IoSlice::new(buf)]),
            };
            match answer {
                Err(Errno::EOPNOTSUPP) => self.wait_for(self.to)?,
                answer => return answer,
            }
            // The maximum number of bytes that a ready end accepts without waiting.
            most = match self.to.kind {
                Kind::Records => most,
                _ if self.to.byte_by_byte => most.min(1),
                _ => most.min(PIPE_BUF),
            };
        }
        call::write(self.to.fd, &buf[..most])
    }

    /// Writes `pages[range]` to the sink. Calls `write` at least once, even if the range is empty. On
    /// failure, `range` covers the bytes that did not arrive.
    fn deliver(&mut self, pages: &Map, range: &mut Range<usize>) -> Result<(), Failure> {
        loop {
            match self.write(&pages.bytes()[range.clone()]) {
                Ok(count) => {
                    range.start += count;
                    self.arrived(count);
                    if range.start == range.end {
                        return Ok(());
                    }
                    if count == 0 {
                        return Err(Failure::new(Side::Sink, None));
                    }
                }
                Err(errno) => self.nothing_moved(self.to, errno)?,
            }
        }
    }

    /// Uses `write` to deliver the bytes in the broker pipe, after the sink has rejected `splice`. On
    /// failure, the count in `pipe` is the number of bytes that are still in the pipe.
    pub(super) fn drain_by_copy(&mut self, pipe: &mut (PipeReader, usize)) -> Result<(), Failure> {
        let (reader, held) = pipe;
        let failed = |errno| Failure::new(Side::Sink, errno);
        self.mechanism = TransferMechanism::Copy;
        let mut pages = Map::new(BUFFER.min(*held)).map_err(failed)?;
        while *held > 0 {
            let wanted = pages.len().min(*held);
            // No other process reads this pipe, so all `held` bytes are available.
            let count = retry(|| reader.read(&mut pages.bytes_mut()[..wanted])).map_err(failed)?;
            *held -= count;
            let mut range = 0..count;
            if let Err(mut failure) = self.deliver(&pages, &mut range) {
                failure.held.pages = Some((pages, range));
                return Err(failure);
            }
        }
        self.report();
        Ok(())
    }
}
