//! Implements the mechanisms that move bytes inside the kernel: `splice`, `copy_file_range`, `sendfile`, and
//! `splice` through a private pipe.

use super::TransferMechanism;
use super::end::Kind;
use super::engine::{Engine, Outcome};
use super::error::{Failure, Side};
use crate::fd::AsFd;
use crate::pipe::{self, Capacity};
use crate::sys::abi::flags::{PollEvents, SpliceFlags};
use crate::sys::call;
use crate::wait::Spin;
use crate::{Errno, PipeFlags, PipeReader};

impl Engine<'_, '_> {
    /// Waits until the source of a `splice` to a pipe is ready. A file is always ready. Returns the number of
    /// available bytes (0 if unknown), or `None` at the end of the source.
    ///
    /// `splice` itself waits for room in a full pipe before it checks the source, even if the source is at
    /// its end.
    fn ahead(&mut self) -> Result<Option<u64>, Failure> {
        if self.from.kind == Kind::File {
            return Ok(self.from.ahead().map_or(Some(0), |bytes| (bytes > 0).then_some(bytes)));
        }
        match self.poll(self.from) {
            Ok(found) if found.is_empty() => {
                let errno = self.options.deadline.map_or(Errno::ETIMEDOUT, |at| at.errno());
                Err(Failure::new(Side::Source, errno))
            }
            Ok(PollEvents::HUP) => Ok(None),
            Ok(_) => Ok(Some(0)),
            Err(errno) => Err(Failure::new(Side::Source, errno)),
        }
    }

    /// Returns the side that has caused an error of `splice`.
    pub(super) fn side_of(&self, errno: Errno) -> Side {
        match self.options.own {
            Some(Side::Source) => Side::Sink,
            None if errno == Errno::EPIPE => Side::Sink,
            _ => Side::Source,
        }
    }

    /// Uses `splice` to move bytes directly from or to a pipe. No bytes are ever in flight.
    pub(super) fn splice(&mut self) -> Result<Outcome, Failure> {
        let mut spin = Spin::new(self.options.wait);
        // Set if a full sink could conceal that the source is at its end.
        let may_be_full = self.options.own.is_none() && self.to.kind != Kind::Null;
        // The number of remaining bytes in a file (0 if unknown), and whether the next call uses
        // `self.flags()` without an additional `NONBLOCK`.
        let (mut ahead, mut patient) = (0_u64, false);
        loop {
            let Some(wanted) = self.wanted()? else { return Ok(Outcome::Finished) };
            let first = !patient && ahead == 0 && (may_be_full || spin.is_on());
            let flags = if first { SpliceFlags::NONBLOCK.bits() } else { self.flags() };
            match call::splice(self.from.fd, None, self.to.fd, None, wanted, flags) {
                Ok(0) => return Ok(self.end()),
                Ok(count) => {
                    self.arrived(count);
                    ahead = ahead.saturating_sub(count as u64);
                    patient = false;
                    self.report();
                }
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) if first => {
                    spin.wait(self.from.fd, PollEvents::IN);
                    if may_be_full {
                        match self.ahead()? {
                            Some(bytes) => ahead = bytes,
                            None => return Ok(self.end()),
                        }
                    }
                    patient = true;
                }
                Err(Errno::EAGAIN) => {
                    self.wait_for_the_one_not_ready()?;
                    patient = false;
                }
                // `EBADF` means that one descriptor is open in the wrong direction. A separate read or write
                // then shows which side has caused the error.
                Err(errno) if call::cannot_move(errno) || errno == Errno::EBADF => {
                    return Ok(Outcome::GivenUp(Some(errno)));
                }
                Err(errno) => return Err(Failure::new(self.side_of(errno), errno)),
            }
        }
    }

    /// Interprets a `splice` that moved no bytes. This result proves that the source has ended only if the
    /// source is a pipe. `splice` also returns 0 at the urgent mark of a TCP connection and for some procfs
    /// files.
    fn end(&self) -> Outcome {
        if self.from.kind == Kind::Pipe { Outcome::Finished } else { Outcome::GivenUp(None) }
    }

    /// Uses `sendfile` or `copy_file_range` to move bytes from a file. No bytes are ever in flight, because
    /// the position of the source advances only by the number of bytes that have arrived.
    pub(super) fn between_files(&mut self) -> Result<Outcome, Failure> {
        loop {
            let Some(wanted) = self.wanted()? else { return Ok(Outcome::Finished) };
            let answer = match self.mechanism {
                TransferMechanism::Sendfile => {
                    call::sendfile(self.to.fd, self.from.fd, None, wanted)
                }
                _ => call::copy_file_range(self.from.fd, None, self.to.fd, None, wanted),
            };
            match answer {
                Ok(0) => return Ok(Outcome::GivenUp(None)),
                Ok(count) => {
                    self.arrived(count);
                    self.report();
                }
                Err(Errno::EINTR) => self.report(),
                Err(Errno::EAGAIN) => self.wait_for_the_one_not_ready()?,
                Err(errno) if self.is_of_the_sink(errno) => {
                    return Err(Failure::new(Side::Sink, errno));
                }
                // The error is a rejection (`copy_file_range` returns `EBADF` for a sink in append mode), or
                // an error that either side may have caused. The last mechanism makes a separate call for
                // each side and finds the cause.
                Err(errno) => return Ok(Outcome::GivenUp(Some(errno))),
            }
        }
    }

    /// Moves bytes through a private pipe, so that this process never waits while it holds the lock of a pipe
    /// that other processes use. The private pipe is drained completely between two calls that fill it. A
    /// call that fills the private pipe therefore never waits for room, and an `EAGAIN` concerns the source.
    pub(super) fn broker(&mut self) -> Result<Outcome, Failure> {
        /// The number of bytes that `sendfile` moves at a time. This number is also the usual capacity of a
        /// pipe.
        const LEAST: usize = 64 << 10;

        let (reader, writer) = match pipe::internal(PipeFlags::empty()) {
            Ok(ends) => ends,
            Err(errno) => return Ok(Outcome::GivenUp(Some(errno))),
        };
        let mut pipe = (reader, 0);
        // If the private pipe has the capacity of a source pipe, one call moves all contents of the source
        // pipe. For a transfer from a socket to a pipe, a private pipe with four times the sink's capacity
        // keeps both sides busy. With TCP, both an equal capacity and much larger capacities were slower.
        let capacity = match (self.from.kind, self.to.kind) {
            (Kind::Pipe, _) => pipe::capacity(self.from.fd).map_or(Capacity::Max, Capacity::Bytes),
            (_, Kind::Pipe) => pipe::capacity(self.to.fd)
                .map_or(Capacity::Max, |bytes| Capacity::Bytes(bytes.saturating_mul(4))),
            _ => Capacity::Max,
        };
        let granted = writer.set_capacity(capacity).or_else(|_| writer.set_capacity(Capacity::Max));
        // If a user already has many pipes, the kernel creates only tiny pipes for that user. For the same
        // number of bytes, `Copy` needs fewer calls than a tiny pipe.
        let least = if let Capacity::Bytes(bytes) = capacity { bytes.min(LEAST) } else { LEAST };
        let tiny = granted.is_ok_and(|bytes| bytes < least);
        if tiny && self.options.allows(TransferMechanism::Copy) {
            return Ok(Outcome::GivenUp(Some(Errno::EPERM)));
        }
        loop {
            let Some(wanted) = self.wanted()? else { return Ok(Outcome::Finished) };
            match call::splice(self.from.fd, None, writer.as_fd(), None, wanted, self.flags()) {
                Ok(0) => return Ok(self.end()),
                Ok(count) => {
                    pipe.1 = count;
                    match self.drain(&mut pipe) {
                        Ok(None) => self.report(),
                        Ok(Some(given_up)) => return Ok(given_up),
                        Err(mut failure) => {
                            failure.held.pipe = Some(pipe);
                            return Err(failure);
                        }
                    }
                }
                Err(errno) if call::cannot_move(errno) => {
                    return Ok(Outcome::GivenUp(Some(errno)));
                }
                Err(errno) => self.nothing_moved(self.from, errno)?,
            }
        }
    }

    /// Moves the contents of the private pipe to the sink. If the sink rejects `splice`, the contents are
    /// written with `write` instead, so that the next mechanism begins with no bytes in flight. If `Copy` is
    /// excluded, this function fails with `EOPNOTSUPP` on the sink.
    fn drain(&mut self, pipe: &mut (PipeReader, usize)) -> Result<Option<Outcome>, Failure> {
        let (reader, held) = &mut *pipe;
        while *held > 0 {
            match call::splice(reader.as_fd(), None, self.to.fd, None, *held, self.flags()) {
                Ok(count @ 1..) => {
                    *held -= count;
                    self.arrived(count);
                }
                Err(errno) if !call::cannot_move(errno) => self.nothing_moved(self.to, errno)?,
                _ if !self.options.allows(TransferMechanism::Copy) => {
                    return Err(Failure::new(Side::Sink, Errno::EOPNOTSUPP));
                }
                answer => {
                    self.drain_by_copy(pipe)?;
                    return Ok(Some(Outcome::GivenUp(answer.err())));
                }
            }
        }
        Ok(None)
    }

    /// For a call that reads a file and writes to the sink, returns whether the sink has caused the error. A
    /// connection reports the reason for its end only once, so a second call would not return the same error.
    fn is_of_the_sink(&self, errno: Errno) -> bool {
        let full = matches!(errno, Errno::EPIPE | Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG);
        let lost = matches!(
            errno,
            Errno::ECONNRESET
                | Errno::ECONNREFUSED
                | Errno::ENOTCONN
                | Errno::ETIMEDOUT
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::ENETDOWN
        );
        full || lost && self.to.kind == Kind::Stream
    }
}
