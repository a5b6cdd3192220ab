//! Reads the rounds of a fan-out from the source and delivers them to the sinks. A round consists of the
//! bytes that one call has read from the source.

use super::end::End;
use super::error::{Held, Side, TransferError};
use super::fanout::FanoutSink;
use super::{Fallback, Transfer, TransferMechanism, Transferred};
use crate::errno::retry;
use crate::fd::AsFd;
use crate::pipe::{self, Capacity};
use crate::sys::map::Map;
use crate::sys::{call, page};
use crate::{Deadline, PipeFlags, PipeReader, PipeWriter, Result};

/// A round, and the fan-out's two pipes, which carry the round.
pub(super) struct Round<'fd> {
    from: End<'fd>,
    /// The pipe that contains the round, unless `pages` contains it.
    own: (PipeReader, PipeWriter),
    /// The pipe that contains the copy for one sink. The pipe is empty between two sinks.
    copy: (PipeReader, PipeWriter),
    /// The smaller of the capacities of the two pipes, in bytes.
    room: usize,
    /// The number of bytes of the round that are in `own`.
    held: usize,
    /// The number of bytes of the round that were read into `pages`.
    read: usize,
    pages: Option<Map>,
    /// The reason for not using `tee`, or `None` if `tee` is used.
    tee: Option<Fallback>,
    /// Memory for the bytes that a sink does not receive. The memory is allocated before the sink receives
    /// any bytes.
    spare: Option<Map>,
    /// The error that ended the reading from the source. The fan-out reports this error after the round.
    last: Option<TransferError>,
    /// The number of bytes that all remaining sinks have received, and the mechanism.
    pub(super) done: Transferred,
}

impl<'fd> Round<'fd> {
    pub(super) fn new(from: End<'fd>) -> Result<Self> {
        let (own, copy) =
            (pipe::internal(PipeFlags::empty())?, pipe::internal(PipeFlags::empty())?);
        // If the source is a pipe, both private pipes have the capacity of the source. Otherwise both have
        // the maximum capacity. If the kernel grants fewer slots to one pipe, both pipes have that smaller
        // number of slots.
        let wanted = pipe::capacity(from.fd).map_or(Capacity::Max, Capacity::Bytes);
        let _ = own.1.set_capacity(wanted);
        let _ = copy.1.set_capacity(Capacity::Bytes(own.1.capacity()?));
        let _ = own.1.set_capacity(Capacity::Bytes(copy.1.capacity()?));
        Ok(Self {
            from,
            room: own.1.capacity()?.min(copy.1.capacity()?),
            own,
            copy,
            held: 0,
            read: 0,
            pages: None,
            tee: None,
            spare: None,
            last: None,
            done: Transferred::NOTHING,
        })
    }

    /// Returns the number of bytes in the round, or 0 after the last sink has received the round or has
    /// failed.
    pub(super) const fn len(&self) -> usize {
        self.held + self.read
    }

    /// Reads a round from the source. Returns `false` if the source has ended, the requested bytes have been
    /// read, or `progress` has ended the fan-out.
    pub(super) fn fill(
        &mut self,
        options: Transfer<'_>,
    ) -> core::result::Result<bool, TransferError> {
        if self.last.is_none() {
            let to = End::own(self.own.1.as_fd(), Side::Sink);
            let options = options.chunk(self.room.max(page::size()));
            let moved = options.run_own(Side::Sink, self.from, to);
            let done = moved.as_ref().map_or_else(TransferError::transferred, |done| *done);
            self.held = usize::try_from(done.bytes).unwrap_or(self.room);
            if self.held > 0 {
                self.done = Transferred { bytes: self.done.bytes, ..done };
            }
            self.last = moved.err();
        }
        match self.last.take_if(|_| self.held == 0) {
            Some(error) => Err(error),
            None => Ok(self.held > 0),
        }
    }

    /// Writes the round to a sink. The last sink receives the round itself, and every other sink receives a
    /// copy. A failure of the sink is stored in the sink and does not affect other sinks. An error that this
    /// function returns affects the whole round.
    pub(super) fn give(
        &mut self,
        sink: &mut FanoutSink<'_>,
        is_last: bool,
        deadline: Option<Deadline<'_>>,
    ) -> Result<()> {
        let Some(end) = sink.end else { return Ok(()) };
        let len = self.len();
        if self.spare.is_none() {
            self.spare = Some(Map::anonymous(self.room)?);
        }
        let itself = is_last && self.read == 0 && self.tee.is_none();
        if !itself {
            self.duplicate()?;
        }
        let pipe = if itself { &self.own.0 } else { &self.copy.0 };
        let options = Transfer { deadline, ..Transfer::new().exact(len as u64) };
        let moved = options.run_own(Side::Source, End::own(pipe.as_fd(), Side::Source), end);
        if is_last {
            (self.held, self.read) = (0, 0);
        }
        let Err(mut error) = moved else {
            sink.arrived(moved);
            return Ok(());
        };
        // The bytes are kept in memory, because a pipe for each failed sink would need additional
        // descriptors.
        let mut left = len - usize::try_from(error.bytes()).unwrap_or(len) - error.undelivered();
        let drained = self.spare.take().map_or(Ok(()), |mut spare| {
            let mut kept = error.read_undelivered(spare.bytes_mut())?;
            let drained = drain(pipe, &mut left, &mut spare, &mut kept);
            error.failure.held.pages = Some((spare, 0..kept));
            drained
        });
        sink.arrived(Err(error));
        drained
    }

    /// Copies the round to the second pipe, using `tee`. If `tee` does not work, copies the round through
    /// memory.
    fn duplicate(&mut self) -> Result<()> {
        if self.tee.is_none() {
            let (from, to) = (self.own.0.as_fd(), self.copy.1.as_fd());
            let answer = retry(|| call::tee(from, to, self.held, 0));
            if answer == Ok(self.held) {
                return Ok(());
            }
            let mechanism = TransferMechanism::Splice;
            self.tee = Some(Fallback { mechanism, errno: answer.err() });
            let mut pages = Map::anonymous(self.room)?;
            drain(&self.copy.0, &mut answer.unwrap_or(0), &mut pages, &mut 0)?;
            self.pages = Some(pages);
        }
        let Some(pages) = &mut self.pages else { return Err(crate::Errno::ENOMEM) };
        drain(&self.own.0, &mut self.held, pages, &mut self.read)?;
        (self.done.mechanism, self.done.fallback) = (TransferMechanism::Copy, self.tee);
        let written = self.copy.1.write_all(&pages.bytes()[..self.read]);
        written.map_err(|incomplete| incomplete.errno().unwrap_or(crate::Errno::EIO))
    }

    /// Returns the bytes of the round. At least one sink has not received them.
    pub(super) fn into_held(self) -> Held {
        let read = self.read;
        Held {
            pages: self.pages.map(|pages| (pages, 0..read)),
            pipe: Some((self.own.0, self.held)),
        }
    }
}

/// Appends the `left` bytes in a private pipe to the `kept` bytes of `pages`.
fn drain(pipe: &PipeReader, left: &mut usize, pages: &mut Map, kept: &mut usize) -> Result<()> {
    while *left > 0 {
        let count = retry(|| pipe.read(&mut pages.bytes_mut()[*kept..*kept + *left]))?;
        (*left, *kept) = (*left - count, *kept + count);
    }
    Ok(())
}
