//! Receives messages. A message is a length followed by that number of bytes, and may arrive in several
//! pieces.

use super::input::Input;
use super::{LIMIT, MessageError, Until};
use crate::event::PollEvents;
use crate::fd::{AsFd, BorrowedFd};
use crate::sys::call;
use crate::wait::{Spin, Wait, attempt_until};
use crate::{Deadline, Errno};
use alloc::vec::Vec;

/// Receives the messages of a [`Sender`](super::Sender), over any descriptor that provides a stream of
/// bytes.
///
/// By default a receiver never reads beyond the end of a message. Between two messages,
/// [`poll`](mod@crate::event) can therefore wait for the descriptor, and [`into_inner`](Self::into_inner) can
/// return the descriptor.
///
/// # Reading ahead
///
/// With [`with_read_ahead`](Self::with_read_ahead), one read can fetch many short messages. All but the first
/// of these messages are then in the receiver's buffer and no longer in the descriptor:
///
/// - Before waiting for the descriptor with `poll`, `select`, `Epoll` or an async runtime, keep receiving
///   messages until [`has_message`](Self::has_message) returns `false`. The receiving methods check the
///   buffer themselves. These methods return a buffered message even if the deadline has passed.
/// - While bytes are buffered, [`into_inner`](Self::into_inner) returns the receiver instead of the
///   descriptor.
/// - No other reader of the descriptor receives the buffered messages. After a `fork`, each of the two
///   processes has a copy of the buffered messages. Therefore, fork before you receive the first message.
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
    input: Input<R>,
    limit: usize,
    header: [u8; 8],
    /// The number of bytes already read from the next message's header.
    have: usize,
    /// The beginning of the next message's body, if an earlier call stopped in the middle of it.
    body: Vec<u8>,
    /// Set if the beginning of a body was not kept: no memory was available, or `as_fd` panicked.
    lost: bool,
}

impl<R: AsFd> Receiver<R> {
    /// Creates a receiver over `reader`.
    pub fn new(reader: R) -> Self {
        let input = Input::new(reader, Spin::with_peer_anywhere(Wait::Block));
        Self { input, limit: LIMIT, header: [0; 8], have: 0, body: Vec::new(), lost: false }
    }

    /// Limits messages to `limit` bytes. The default limit is 64 MiB. The receiver allocates no memory for a
    /// message that exceeds the limit.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Sets the policy for waiting for a message.
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.input.spin = Spin::with_peer_anywhere(wait);
        self
    }

    /// Makes the receiver read ahead into a buffer of 16 KiB. One read then receives all short messages that
    /// have arrived and fit into the buffer. If the buffer is empty and at least 8 KiB of a body are missing,
    /// the missing bytes are still read directly into their destination.
    ///
    /// Before you wait for the descriptor, check [`has_message`](Self::has_message): see
    /// [above](Self#reading-ahead).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::message::{Receiver, Sender};
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let (mut sender, mut receiver) = (Sender::new(writer), Receiver::new(reader).with_read_ahead());
    /// sender.send_many(&["one", "two", "three"])?;
    /// assert_eq!(receiver.recv()?.as_deref(), Some(&b"one"[..]));
    ///
    /// // The same read has fetched the other messages, so `poll` does not report the descriptor as ready.
    /// assert_eq!(rawpipe::pipe::available(&receiver)?, 0);
    /// assert!(receiver.has_message());
    /// let mut receiver = receiver.into_inner().unwrap_err();
    /// assert_eq!(receiver.recv()?.as_deref(), Some(&b"two"[..]));
    /// assert_eq!(receiver.recv()?.as_deref(), Some(&b"three"[..]));
    /// assert!(!receiver.has_message() && receiver.into_inner().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn with_read_ahead(mut self) -> Self {
        self.input.read_ahead();
        self
    }

    /// Returns whether the receiver holds the whole next message. If it does, receiving that message neither
    /// reads from the descriptor nor waits. The result is also `true` if receiving the message will fail
    /// because the message is longer than the limit.
    ///
    /// Without [`with_read_ahead`](Self::with_read_ahead), messages stay in the descriptor until they are
    /// received.
    #[must_use]
    pub fn has_message(&self) -> bool {
        let (mut header, ahead) = (self.header, self.input.unread());
        let missing = &mut header[self.have..];
        let Some((first, body)) = ahead.split_at_checked(missing.len()) else { return false };
        missing.copy_from_slice(first);
        let (len, have) = (u64::from_le_bytes(header), self.body.len() + body.len());
        len > self.limit as u64 || len <= have as u64
    }

    /// Returns the descriptor.
    ///
    /// # Errors
    ///
    /// Returns the receiver if it holds unreceived bytes: a part of a message, or bytes that were [read
    /// ahead](Self::with_read_ahead).
    pub fn into_inner(self) -> Result<R, Self> {
        let whole = self.have == 0 && self.input.unread().is_empty();
        if whole { Ok(self.input.reader) } else { Err(self) }
    }

    /// Receives a message, or returns `None` if the stream ends after the last message. Waits for the
    /// message even if the descriptor is nonblocking. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// - [`Io`](MessageError::Io) if a read fails or no memory is available for the message. The `Io` holds
    ///   the error of [`io::read`](crate::io::read) or, in the second case, [`ENOMEM`](Errno::ENOMEM).
    /// - [`TooLong`](MessageError::TooLong) if the message has more bytes than the limit.
    /// - [`Truncated`](MessageError::Truncated) if the stream ended in the middle of the message, or if an
    ///   earlier call in the middle of a message ended with a panic in `as_fd` of the descriptor.
    pub fn recv(&mut self) -> Result<Option<Vec<u8>>, MessageError> {
        self.recv_until(None)
    }

    /// Receives a message as [`recv`](Self::recv) does, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with an [`Io`](MessageError::Io) that holds
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) if the deadline has passed. The receiver keeps the part of a message
    ///   that has arrived, and the next call continues with it.
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel). In this case too, the
    ///   receiver keeps the part of a message that has arrived.
    /// - [`EOPNOTSUPP`](Errno::EOPNOTSUPP) if the descriptor cannot be read without the risk of waiting: see
    ///   [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
    pub fn recv_deadline(
        &mut self,
        deadline: Deadline<'_>,
    ) -> Result<Option<Vec<u8>>, MessageError> {
        self.recv_until(Some(deadline))
    }

    /// Receives a message into `buf` and returns its length in bytes, or `None` if the stream ends after the
    /// last message. Waits as [`recv`](Self::recv) does.
    ///
    /// This call allocates only if it fails in the middle of a body. The receiver then keeps the part that
    /// has arrived, and the next call allocates memory for the whole message.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`BufferTooShort`](MessageError::BufferTooShort) if the message is longer than `buf`. A further call
    ///   with a larger buffer receives the message.
    /// - [`Truncated`](MessageError::Truncated) if an earlier call failed with [`ENOMEM`](Errno::ENOMEM)
    ///   because no memory was available to keep the part of the message that had arrived.
    #[inline]
    pub fn recv_into(&mut self, buf: &mut [u8]) -> Result<Option<usize>, MessageError> {
        // This fast path handles a message that is complete in the read-ahead buffer.
        let most = self.limit.min(buf.len());
        let whole = (self.have == 0).then(|| self.input.take_message(most)).flatten();
        let Some(message) = whole else { return self.read_to(buf, None) };
        buf[..message.len()].copy_from_slice(message);
        Ok(Some(message.len()))
    }

    /// Receives a message as [`recv_into`](Self::recv_into) does, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`recv_into`](Self::recv_into) and [`recv_deadline`](Self::recv_deadline) do.
    pub fn recv_into_deadline(
        &mut self,
        buf: &mut [u8],
        deadline: Deadline<'_>,
    ) -> Result<Option<usize>, MessageError> {
        self.read_to(buf, Some(deadline))
    }

    fn recv_until(&mut self, until: Until<'_>) -> Result<Option<Vec<u8>>, MessageError> {
        let Some(len) = self.recv_header(until)? else { return Ok(None) };
        self.recv_whole(len, until)?;
        self.have = 0;
        Ok(Some(core::mem::take(&mut self.body)))
    }

    /// Receives the missing bytes of a body of `len` bytes.
    fn recv_whole(&mut self, len: usize, until: Until<'_>) -> Result<(), MessageError> {
        self.body.try_reserve_exact(len - self.body.len()).map_err(|_| Errno::ENOMEM)?;
        let mut have = self.body.len();
        while have < len {
            match self.recv_body(have, len, until) {
                Ok(count @ 1..) => have += count,
                answer => {
                    self.body.truncate(have);
                    return Err(answer.map_or_else(MessageError::Io, |_| MessageError::Truncated));
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn read_to(&mut self, buf: &mut [u8], until: Until<'_>) -> Result<Option<usize>, MessageError> {
        let Some(len) = self.recv_header(until)? else { return Ok(None) };
        let buf = buf.get_mut(..len).ok_or(MessageError::BufferTooShort(len))?;
        let mut done = 0;
        while self.body.is_empty() && done < len {
            self.lost = true; // until `as_fd` has returned, because it could panic
            let answer = self.input.read(&mut buf[done..], until);
            self.lost = false;
            match answer {
                Ok(count @ 1..) => done += count,
                answer => {
                    // Keeps these bytes for the next call. That call appends to them, because copying all
                    // kept bytes in every call would be slow.
                    if self.body.try_reserve_exact(done).is_err() {
                        self.lost = true;
                        return Err(Errno::ENOMEM.into());
                    }
                    self.body.extend_from_slice(&buf[..done]);
                    return Err(answer.map_or_else(MessageError::Io, |_| MessageError::Truncated));
                }
            }
        }
        if done < len {
            self.recv_whole(len, until)?;
            buf.copy_from_slice(&self.body);
            self.body.clear();
        }
        self.have = 0;
        Ok(Some(len))
    }

    /// Returns the length of the next message, or `None` at end of file. Keeps the header until the body is
    /// read.
    fn recv_header(&mut self, until: Until<'_>) -> Result<Option<usize>, MessageError> {
        if self.lost {
            return Err(MessageError::Truncated);
        }
        while self.have < self.header.len() {
            match self.input.read(&mut self.header[self.have..], until)? {
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

    /// Reads further bytes of a body of `len` bytes, of which `have` bytes were read earlier. Returns the
    /// number of bytes read, or 0 at end of file. Zeros may follow these bytes in `body`.
    fn recv_body(&mut self, have: usize, len: usize, until: Until<'_>) -> crate::Result<usize> {
        /// If memory must be zeroed before it is read into, at most this number of bytes is zeroed in
        /// advance.
        const PIECE: usize = 1 << 16;

        let most = len - have;
        if until.is_none() && self.input.is_direct(most) {
            self.body.truncate(have); // first, because `as_fd` could panic
            let fd = self.input.reader.as_fd();
            let read = || call::read_spare(fd, &mut self.body, most);
            return attempt_until(fd, PollEvents::IN, None, read);
        }
        // The zeros stay between two reads. If a peer sends single bytes, zeroing the whole piece for each of
        // them would take longer than the next byte, and the deadline would not be noticed.
        self.body.resize(have + most.min(PIECE), 0);
        self.lost = true; // as in `read_to`
        let answer = self.input.read(&mut self.body[have..], until);
        self.lost = false;
        answer
    }
}

/// Lends the descriptor, for instance to wait for it. With [read-ahead](Receiver::with_read_ahead), check
/// [`has_message`](Receiver::has_message) first: a message in the buffer does not make the descriptor ready.
impl<R: AsFd> AsFd for Receiver<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.reader.as_fd()
    }
}
