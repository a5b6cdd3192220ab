//! The sending side: a length, and that many bytes.

use super::{LIMIT, MessageError};
use crate::fd::{AsFd, BorrowedFd};
use crate::io::sigpipe::Guard;
use crate::io::{self, IoSlice};
use crate::sys::abi::flags::PollEvents;
use crate::wait::attempt_until;
use crate::{Deadline, Errno};
use alloc::vec::Vec;

/// Sends messages to a [`Receiver`](super::Receiver), over any descriptor that accepts a stream of bytes.
///
/// On the wire a message is its length, 8 bytes in little-endian order, followed by its bytes.
///
/// # Examples
///
/// ```
/// use rawpipe::message::{Receiver, Sender};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (mut sender, mut receiver) = (Sender::new(writer), Receiver::new(reader));
/// sender.send(&[b"one message ", b"of two parts"])?;
/// sender.send(&[])?; // an empty message is a message, too
/// drop(sender);
/// assert_eq!(receiver.recv()?.as_deref(), Some(&b"one message of two parts"[..]));
/// assert_eq!(receiver.recv()?.as_deref(), Some(&b""[..]));
/// assert_eq!(receiver.recv()?, None);
/// # Ok::<(), rawpipe::message::MessageError>(())
/// ```
#[derive(Debug)]
pub struct Sender<W> {
    writer: W,
    limit: usize,
    /// Whether a message was sent in part.
    torn: bool,
}

impl<W: AsFd> Sender<W> {
    /// Creates a sender over `writer`.
    pub const fn new(writer: W) -> Self {
        Self { writer, limit: LIMIT, torn: false }
    }

    /// Limits messages to `limit` bytes; without this, the limit is 64 MiB.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Returns the descriptor, unless a message was sent over it in part.
    ///
    /// # Errors
    ///
    /// - [`Torn`](MessageError::Torn) if a message was sent in part.
    pub fn into_inner(self) -> Result<W, MessageError> {
        if self.torn { Err(MessageError::Torn) } else { Ok(self.writer) }
    }

    /// Sends a message that consists of these parts, with one system call if there is room for all of it.
    /// Waits for room, whether the descriptor is nonblocking or not, and continues after a signal.
    ///
    /// # Errors
    ///
    /// - [`Io`](MessageError::Io) with an error of [`io::writev_nosignal`], such as
    ///   [`EPIPE`](Errno::EPIPE) if no reader is left.
    /// - [`TooLong`](MessageError::TooLong) if it has more bytes than the limit. Nothing was sent.
    /// - [`Torn`](MessageError::Torn) if an earlier message was sent in part.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<(), MessageError> {
        self.send_by(parts, |fd, bufs| {
            attempt_until(fd, PollEvents::OUT, None, || io::writev_nosignal(fd, bufs))
        })
    }

    /// Sends a message as [`send`](Self::send) does, but waits at most until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and
    ///
    /// - [`Io`](MessageError::Io) with [`ETIMEDOUT`](Errno::ETIMEDOUT): the deadline has passed. If a
    ///   part was sent, no message can follow: [`Torn`](MessageError::Torn).
    /// - [`Io`](MessageError::Io) with [`ECANCELED`](Errno::ECANCELED) if it is [cancelled](crate::Cancel); the same holds.
    /// - [`Io`](MessageError::Io) with [`EOPNOTSUPP`](Errno::EOPNOTSUPP): see
    ///   [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
    /// - [`Io`](MessageError::Io) with an error of
    ///   [`without_sigpipe`](crate::io::without_sigpipe), before the first byte.
    pub fn send_deadline(
        &mut self,
        parts: &[&[u8]],
        deadline: Deadline<'_>,
    ) -> Result<(), MessageError> {
        let _no_sigpipe = Guard::new()?;
        self.send_by(parts, |fd, bufs| io::writev_deadline(fd, bufs, deadline))
    }

    fn send_by(
        &mut self,
        parts: &[&[u8]],
        mut write: impl FnMut(BorrowedFd<'_>, &[IoSlice<'_>]) -> crate::Result<usize>,
    ) -> Result<(), MessageError> {
        if self.torn {
            return Err(MessageError::Torn);
        }
        let len = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.len() as u64));
        if len > self.limit as u64 {
            return Err(MessageError::TooLong(len));
        }
        let header = len.to_le_bytes();
        let first = IoSlice::new(&header);
        let (mut few, mut many) = ([first; 8], Vec::new());
        let bufs = match few.get_mut(..=parts.len()) {
            Some(bufs) => bufs,
            None => {
                many.resize(parts.len() + 1, first);
                &mut many[..]
            }
        };
        bufs[1..].iter_mut().zip(parts).for_each(|(buf, part)| *buf = IoSlice::new(part));
        let fd = self.writer.as_fd();
        io::write_all_vectored_by(bufs, |rest| write(fd, rest)).map_err(|stopped| {
            self.torn = stopped.bytes() > 0;
            // A descriptor that accepts nothing and returns no error is not a stream.
            MessageError::Io(stopped.errno().unwrap_or(Errno::EIO))
        })
    }
}

impl<W: AsFd> AsFd for Sender<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}
