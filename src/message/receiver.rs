//! The receiving side: a length, and that many bytes, however they arrive.

use super::{LIMIT, MessageError};
use crate::event::PollEvents;
use crate::fd::{AsFd, BorrowedFd};
use crate::pipe::adaptive;
use crate::sys::call;
use crate::wait::{Spin, Wait, attempt_until};
use crate::{Deadline, Errno, io};
use alloc::vec::Vec;

/// Receives the messages of a [`Sender`](super::Sender), over any descriptor that provides a stream of
/// bytes.
///
/// It never reads beyond the end of a message. So between two messages [`poll`](mod@crate::event) can wait
/// for the descriptor, and [`into_inner`](Self::into_inner) can return it.
///
/// # Examples
///
/// ```
/// use rawpipe::message::{Receiver, Sender};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut receiver = Receiver::new(reader).with_limit(1000);
/// Sender::new(writer).send(&[b"into a buffer"])?;
/// let mut buf = [0; 1000];
/// assert_eq!(receiver.recv_into(&mut buf)?, Some(13));
/// assert_eq!(&buf[..13], b"into a buffer");
/// assert_eq!(receiver.recv_into(&mut buf)?, None);
/// # Ok::<(), rawpipe::message::MessageError>(())
/// ```
#[derive(Debug)]
pub struct Receiver<R> {
    reader: R,
    limit: usize,
    spin: Spin,
    header: [u8; 8],
    /// How many bytes of the next message's header have been read.
    have: usize,
    /// The beginning of its body, if an earlier call stopped in the middle of it.
    body: Vec<u8>,
}

impl<R: AsFd> Receiver<R> {
    /// Creates a receiver over `reader`.
    pub fn new(reader: R) -> Self {
        let (spin, header) = (Spin::with_peer_anywhere(Wait::Block), [0; 8]);
        Self { reader, limit: LIMIT, spin, header, have: 0, body: Vec::new() }
    }

    /// Limits messages to `limit` bytes; without this, the limit is 64 MiB. Nothing is allocated for a
    /// message beyond the limit.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Sets how to wait for a message.
    #[must_use]
    pub fn with_wait(self, wait: Wait) -> Self {
        Self { spin: Spin::with_peer_anywhere(wait), ..self }
    }

    /// Returns the descriptor, unless a message was received in part.
    ///
    /// # Errors
    ///
    /// - [`Torn`](MessageError::Torn) if a message was received in part.
    pub fn into_inner(self) -> Result<R, MessageError> {
        if self.have > 0 { Err(MessageError::Torn) } else { Ok(self.reader) }
    }

    /// Receives a message, or returns `None` if the stream ends after the last one. Waits for it, whether the
    /// descriptor is nonblocking or not, and continues after a signal.
    ///
    /// # Errors
    ///
    /// - [`Io`](MessageError::Io) with an error of [`io::read`](crate::io::read), or with
    ///   [`ENOMEM`](Errno::ENOMEM) if there is no memory for it.
    /// - [`TooLong`](MessageError::TooLong) if it has more bytes than the limit.
    /// - [`Truncated`](MessageError::Truncated) if the stream ended in the middle of it.
    pub fn recv(&mut self) -> Result<Option<Vec<u8>>, MessageError> {
        self.recv_until(None)
    }

    /// Receives a message as [`recv`](Self::recv) does, but waits at most until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Io`](MessageError::Io) with
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT): the deadline has passed. The part of a message that has
    ///   arrived is kept, and the next call continues with it.
    /// - [`ECANCELED`](Errno::ECANCELED) if it is [cancelled](crate::Cancel); the same holds.
    /// - [`EOPNOTSUPP`](Errno::EOPNOTSUPP): see [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
    pub fn recv_deadline(
        &mut self,
        deadline: Deadline<'_>,
    ) -> Result<Option<Vec<u8>>, MessageError> {
        self.recv_until(Some(deadline))
    }

    /// Receives a message into `buf` and returns its length in bytes, or `None` if the stream ends after the
    /// last one. Waits as [`recv`](Self::recv) does.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and
    ///
    /// - [`BufferTooShort`](MessageError::BufferTooShort) if it has more bytes than `buf`. The next call,
    ///   with a larger buffer, receives it.
    pub fn recv_into(&mut self, buf: &mut [u8]) -> Result<Option<usize>, MessageError> {
        self.recv_into_until(buf, None)
    }

    /// Receives a message as [`recv_into`](Self::recv_into) does, but waits at most until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`recv_into`](Self::recv_into) and [`recv_deadline`](Self::recv_deadline).
    pub fn recv_into_deadline(
        &mut self,
        buf: &mut [u8],
        deadline: Deadline<'_>,
    ) -> Result<Option<usize>, MessageError> {
        self.recv_into_until(buf, Some(deadline))
    }

    fn recv_until(&mut self, until: Option<Deadline<'_>>) -> Result<Option<Vec<u8>>, MessageError> {
        let Some(len) = self.recv_header(until)? else { return Ok(None) };
        self.body.try_reserve_exact(len - self.body.len()).map_err(|_| Errno::ENOMEM)?;
        while self.body.len() < len {
            if self.recv_body(len - self.body.len(), until)? == 0 {
                return Err(MessageError::Truncated);
            }
        }
        self.have = 0;
        Ok(Some(core::mem::take(&mut self.body)))
    }

    fn recv_into_until(
        &mut self,
        buf: &mut [u8],
        deadline: Option<Deadline<'_>>,
    ) -> Result<Option<usize>, MessageError> {
        let Some(len) = self.recv_header(deadline)? else { return Ok(None) };
        let buf = buf.get_mut(..len).ok_or(MessageError::BufferTooShort(len))?;
        let mut done = self.body.len();
        buf[..done].copy_from_slice(&self.body);
        while done < len {
            let fd = self.reader.as_fd();
            match read(&mut self.spin, fd, &mut buf[done..], deadline) {
                Ok(count @ 1..) => done += count,
                answer => {
                    // For the next call.
                    self.body.clear();
                    self.body.extend_from_slice(&buf[..done]);
                    return Err(answer.map_or_else(MessageError::Io, |_| MessageError::Truncated));
                }
            }
        }
        self.body.clear();
        self.have = 0;
        Ok(Some(len))
    }

    /// Reads the length of the next message, or `None` at the end. Keeps the header until its body was read.
    fn recv_header(&mut self, until: Option<Deadline<'_>>) -> Result<Option<usize>, MessageError> {
        while self.have < self.header.len() {
            let (fd, rest) = (self.reader.as_fd(), &mut self.header[self.have..]);
            match read(&mut self.spin, fd, rest, until)? {
                0 if self.have == 0 => return Ok(None),
                0 => return Err(MessageError::Truncated),
                count => self.have += count,
            }
        }
        let len = u64::from_le_bytes(self.header);
        match usize::try_from(len) {
            Ok(short) if short <= self.limit => Ok(Some(short)),
            _ => Err(MessageError::TooLong(len)),
        }
    }

    /// Reads at most `most` bytes of the body and appends them to the part that was read. 0 is end of file.
    fn recv_body(&mut self, most: usize, deadline: Option<Deadline<'_>>) -> crate::Result<usize> {
        /// A read with a deadline zeroes its memory first, so a long message is read in pieces of this size.
        const PIECE: usize = 1 << 16;

        let fd = self.reader.as_fd();
        let Some(deadline) = deadline else {
            let read = || call::read_spare(fd, &mut self.body, most);
            return attempt_until(fd, PollEvents::IN, None, read);
        };
        let have = self.body.len();
        self.body.resize(have + most.min(PIECE), 0);
        let answer = io::read_deadline(fd, &mut self.body[have..], deadline);
        self.body.truncate(have + answer.unwrap_or(0));
        answer
    }
}

fn read(
    spin: &mut Spin,
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    deadline: Option<Deadline<'_>>,
) -> crate::Result<usize> {
    match deadline {
        Some(deadline) => io::read_deadline(fd, buf, deadline),
        None => attempt_until(fd, PollEvents::IN, None, || adaptive::read(spin, fd, buf)),
    }
}

impl<R: AsFd> AsFd for Receiver<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
