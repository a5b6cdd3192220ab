//! Sends messages. A message is a length followed by that number of bytes.

use super::{LIMIT, MessageError, Until};
use crate::fd::{AsFd, BorrowedFd};
use crate::io::sigpipe::Guard;
use crate::io::{self, Incomplete, IoSlice};
use crate::sys::abi::flags::PollEvents;
use crate::sys::call;
use crate::wait::attempt_until;
use crate::{Deadline, Errno};
use alloc::vec::Vec;

/// The size in bytes of the length that precedes each message.
const HEADER: usize = 8;

/// The sizes in bytes of the buffer for messages that are sent together. Messages with a small total length
/// use a smaller buffer, because clearing the largest buffer would take longer than copying the messages.
const STAGE: usize = 16 << 10;
const MIDDLE_STAGE: usize = 8 << 10;
const SMALL_STAGE: usize = 1 << 10;

/// Sends messages to a [`Receiver`](super::Receiver), over any descriptor that accepts a stream of bytes.
///
/// A message is encoded as its length (8 bytes in little-endian order), followed by its bytes.
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
    /// Set if a message was sent in part.
    torn: bool,
}

impl<W: AsFd> Sender<W> {
    /// Creates a sender over `writer`.
    pub const fn new(writer: W) -> Self {
        Self { writer, limit: LIMIT, torn: false }
    }

    /// Limits messages to `limit` bytes. The default limit is 64 MiB.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Returns the descriptor, unless a message was sent only in part.
    ///
    /// # Errors
    ///
    /// - [`Torn`](MessageError::Torn) if a message was sent in part.
    pub fn into_inner(self) -> Result<W, MessageError> {
        if self.torn { Err(MessageError::Torn) } else { Ok(self.writer) }
    }

    /// Sends a message that consists of these parts. Uses one write if the descriptor has room for the whole
    /// message and there are at most 1023 parts. On a pipe, a first part of at least 32 KiB needs a second
    /// write if the part's address is within 7 bytes of a multiple of 4 KiB. Waits for room even if the
    /// descriptor is nonblocking. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// - [`Io`](MessageError::Io) if a write fails. The `Io` holds the error of [`io::writev_nosignal`], such
    ///   as [`EPIPE`](Errno::EPIPE) if the pipe has no reader.
    /// - [`TooLong`](MessageError::TooLong) if the message has more bytes than the limit. Nothing was sent.
    /// - [`Torn`](MessageError::Torn) if an earlier message was sent in part.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<(), MessageError> {
        self.send_until(parts, None)
    }

    /// Sends a message as [`send`](Self::send) does, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`send`](Self::send) does, and with
    ///
    /// - [`Io`](MessageError::Io) with [`ETIMEDOUT`](Errno::ETIMEDOUT) if the deadline has passed. If a part
    ///   of the message was sent, later sends fail with [`Torn`](MessageError::Torn).
    /// - [`Io`](MessageError::Io) with [`ECANCELED`](Errno::ECANCELED) if the deadline is
    ///   [cancelled](crate::Cancel). If a part of the message was sent, later sends fail with
    ///   [`Torn`](MessageError::Torn).
    /// - [`Io`](MessageError::Io) with [`EOPNOTSUPP`](Errno::EOPNOTSUPP) if the descriptor cannot be written
    ///   without the risk of waiting: see [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
    /// - [`Io`](MessageError::Io) if a filter prevents blocking `SIGPIPE`. The `Io` holds the error of
    ///   [`without_sigpipe`](crate::io::without_sigpipe). No byte was sent.
    pub fn send_deadline(
        &mut self,
        parts: &[&[u8]],
        deadline: Deadline<'_>,
    ) -> Result<(), MessageError> {
        self.send_until(parts, Some(deadline))
    }

    /// Sends several messages, and combines many short messages into one write. Waits as [`send`](Self::send)
    /// does.
    ///
    /// The messages are copied into a buffer of at most 16 KiB on the stack. The buffer is written when it is
    /// full or holds the last message. A message that does not fit in the remaining space is written without
    /// being copied, usually in the same write as the buffer. As with [`send`](Self::send), a long message
    /// may need a second write. On a TCP socket, each further write may wait for an acknowledgement. Set
    /// `TCP_NODELAY` to avoid this wait. If `as_fd` of the descriptor panics, some of the messages may have
    /// been sent.
    ///
    /// # Errors
    ///
    /// - [`Stopped`](MessageError::Stopped) if a write fails. This variant holds the error of
    ///   [`io::writev_nosignal`] and the number of whole messages that were sent. If the next message was
    ///   sent in part, later sends fail with [`Torn`](MessageError::Torn).
    /// - [`TooLong`](MessageError::TooLong) if any message has more bytes than the limit. No message was
    ///   sent.
    /// - [`Torn`](MessageError::Torn) if an earlier message was sent in part.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::message::{Receiver, Sender};
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let (mut sender, mut receiver) = (Sender::new(writer), Receiver::new(reader));
    /// let points: Vec<[u8; 2]> = (0..100).map(|x| [x, 2 * x]).collect();
    /// sender.send_many(&points)?;
    /// for point in points {
    ///     assert_eq!(receiver.recv()?.as_deref(), Some(&point[..]));
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_many(&mut self, messages: &[impl AsRef<[u8]>]) -> Result<(), MessageError> {
        self.send_many_until(messages, None)
    }

    /// Sends these messages as [`send_many`](Self::send_many) does, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`send_many`](Self::send_many) does. Also fails as [`send_deadline`](Self::send_deadline)
    /// does, but with [`Stopped`](MessageError::Stopped) instead of [`Io`](MessageError::Io). Only the error
    /// that [`without_sigpipe`](crate::io::without_sigpipe) returns is still reported as `Io`.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::message::{MessageError, Sender};
    /// use rawpipe::pipe::{Builder, Capacity};
    /// use rawpipe::{Deadline, Errno};
    ///
    /// let (reader, writer) = Builder::new().capacity(Capacity::Bytes(4096)).build()?;
    /// let (mut sender, half) = (Sender::new(writer), reader.capacity()? / 2);
    /// let messages = vec![vec![0; half - 8]; 3];
    /// let full = sender.send_many_deadline(&messages, Deadline::now());
    /// assert_eq!(full, Err(MessageError::Stopped(Errno::ETIMEDOUT, 2)));
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn send_many_deadline(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        deadline: Deadline<'_>,
    ) -> Result<(), MessageError> {
        self.send_many_until(messages, Some(deadline))
    }

    /// Checks that a message of this length can be sent.
    const fn check(&self, len: u64) -> Result<(), MessageError> {
        match len {
            _ if self.torn => Err(MessageError::Torn),
            _ if len > self.limit as u64 => Err(MessageError::TooLong(len)),
            _ => Ok(()),
        }
    }

    fn send_until(&mut self, parts: &[&[u8]], until: Until<'_>) -> Result<(), MessageError> {
        let _no_sigpipe = until.map(|_| Guard::new()).transpose()?;
        let len = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.len() as u64));
        self.check(len)?;
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
        write(self.writer.as_fd(), bufs, until).map_err(|stopped| {
            self.torn = stopped.bytes() > 0;
            // A descriptor that accepts no bytes but returns no error is not a stream.
            MessageError::Io(stopped.errno().unwrap_or(Errno::EIO))
        })
    }

    fn send_many_until(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        until: Until<'_>,
    ) -> Result<(), MessageError> {
        let lens = messages.iter().map(|message| message.as_ref().len());
        self.check(lens.clone().max().unwrap_or(0) as u64)?;
        let _no_sigpipe = until.map(|_| Guard::new()).transpose()?;
        match lens.fold(0_usize, |sum, len| sum.saturating_add(HEADER + len)) {
            all if all <= SMALL_STAGE => self.send_staged(messages, &mut [0; SMALL_STAGE], until),
            all if all <= MIDDLE_STAGE => self.send_staged(messages, &mut [0; MIDDLE_STAGE], until),
            _ => self.send_staged(messages, &mut [0; STAGE], until),
        }
    }

    fn send_staged(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        stage: &mut [u8],
        until: Until<'_>,
    ) -> Result<(), MessageError> {
        let mut sent = 0;
        while sent < messages.len() {
            let (count, len, body) = fill(stage, &messages[sent..]);
            let bufs = &mut [IoSlice::new(&stage[..len]), IoSlice::new(body)];
            if let Err(stopped) = write(self.writer.as_fd(), bufs, until) {
                let mut part = stopped.bytes();
                for message in &messages[sent..] {
                    let len = HEADER + message.as_ref().len();
                    let Some(rest) = part.checked_sub(len) else { break };
                    (part, sent) = (rest, sent + 1);
                }
                self.torn = part > 0;
                return Err(MessageError::Stopped(stopped.errno().unwrap_or(Errno::EIO), sent));
            }
            sent += count;
        }
        Ok(())
    }
}

/// Copies messages to `stage` until `stage` is full or contains all messages. Returns the number of messages,
/// the number of bytes in `stage`, and the body of the last message if that body did not fit into `stage`.
fn fill<'m>(stage: &mut [u8], messages: &'m [impl AsRef<[u8]>]) -> (usize, usize, &'m [u8]) {
    let mut end = 0;
    for (count, message) in messages.iter().map(AsRef::as_ref).enumerate() {
        let Some(header) = stage.get_mut(end..end + HEADER) else { return (count, end, &[]) };
        header.copy_from_slice(&(message.len() as u64).to_le_bytes());
        end += HEADER;
        let Some(body) = stage[end..].get_mut(..message.len()) else {
            return (count + 1, end, message);
        };
        body.copy_from_slice(message);
        end += message.len();
    }
    (messages.len(), end, &[])
}

fn write(fd: BorrowedFd<'_>, bufs: &mut [IoSlice<'_>], until: Until<'_>) -> Result<(), Incomplete> {
    io::write_all_vectored_by(bufs, |rest| {
        let rest = if is_slow(fd, rest) { &rest[..1] } else { rest };
        match until {
            Some(deadline) => io::writev_deadline(fd, rest, deadline),
            None => attempt_until(fd, PollEvents::OUT, None, || io::writev_nosignal(fd, rest)),
        }
    })
}

/// Returns whether the length of a message should be written to a pipe with a separate call. If the body is
/// long and begins near the start of a page, a separate call for the length is faster than one call for both.
/// With one call, the kernel would copy the body to page offsets that are a few bytes greater than the
/// source's offsets. Some processors perform that copy at a third of their usual speed.
fn is_slow(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> bool {
    let [length, body, ..] = bufs else { return false };
    let is_aligned = body.as_ptr().addr().wrapping_add(HEADER - 1) % 4096 < 2 * HEADER - 1;
    let is_long = length.len() == HEADER && body.len() >= 32 << 10;
    is_aligned && is_long && call::fcntl_getpipe_sz(fd).is_ok()
}

impl<W: AsFd> AsFd for Sender<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}
