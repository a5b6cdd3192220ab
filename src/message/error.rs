//! The error of sending and receiving messages.

use crate::Errno;
use core::fmt;

/// The reason why a message was not sent or not received.
///
/// # Examples
///
/// ```
/// use rawpipe::message::{MessageError, Receiver};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(&u64::MAX.to_le_bytes())?; // a message longer than any
/// let mut receiver = Receiver::new(reader);
/// let error = receiver.recv().unwrap_err();
/// assert_eq!((error, error.errno()), (MessageError::TooLong(u64::MAX), None));
/// assert_eq!(error.to_string(), "a message of 18446744073709551615 bytes is longer than the limit");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// An error of the kernel. If a receiving call fails with [`ETIMEDOUT`](Errno::ETIMEDOUT), the next one
    /// continues where it stopped.
    Io(Errno),
    /// The message has this many bytes, and the limit is lower. When sending, nothing was sent. When
    /// receiving, the peer is broken or hostile, and every further call fails in the same way.
    TooLong(u64),
    /// The message has this many bytes, and the buffer has fewer. The message can still be received into a
    /// larger one.
    BufferTooShort(usize),
    /// The stream ended in the middle of a message.
    Truncated,
    /// An earlier message was sent in part, so that nothing can follow it.
    Torn,
}

impl MessageError {
    /// Returns the kernel's error, if this is [`Io`](Self::Io).
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.cause().copied()
    }

    const fn cause(&self) -> Option<&Errno> {
        match self {
            Self::Io(errno) => Some(errno),
            _ => None,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(errno) => errno.fmt(f),
            Self::TooLong(len) => write!(f, "a message of {len} bytes is longer than the limit"),
            Self::BufferTooShort(len) => {
                write!(f, "a message of {len} bytes does not fit into the buffer")
            }
            Self::Truncated => f.write_str("the stream ended in the middle of a message"),
            Self::Torn => f.write_str("an earlier message was sent in part"),
        }
    }
}

crate::errno::like_std!(bare MessageError, this => match this {
    Self::TooLong(_) => std::io::ErrorKind::InvalidData,
    Self::BufferTooShort(_) => std::io::ErrorKind::InvalidInput,
    Self::Truncated => std::io::ErrorKind::UnexpectedEof,
    Self::Torn => std::io::ErrorKind::BrokenPipe,
    Self::Io(errno) => errno.kind(),
});

impl From<Errno> for MessageError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

#[cfg(feature = "std")]
impl From<MessageError> for std::io::Error {
    /// The system's error for [`Io`](MessageError::Io), with its `raw_os_error`. Any other holds the whole
    /// error, for `get_ref` and `downcast`, and is of kind `InvalidData` (too long), `InvalidInput` (buffer too
    /// short), `UnexpectedEof` (truncated) or `BrokenPipe` (torn).
    fn from(error: MessageError) -> Self {
        error.errno().map_or_else(|| Self::new(error.kind(), error), Self::from)
    }
}

/// The reason why [`send_many`](super::Sender::send_many) stopped before the end, and the number of messages sent
/// until then.
///
/// # Examples
///
/// ```
/// use rawpipe::message::{MessageError, Sender};
/// use rawpipe::{Deadline, pipe};
///
/// let (_reader, writer) = pipe::Builder::new().capacity(pipe::Capacity::Bytes(4096)).build()?;
/// let mut sender = Sender::new(writer);
/// let messages = [[0; 2040]; 3];
/// let stopped = sender.send_many_deadline(&messages, Deadline::now()).unwrap_err();
/// assert_eq!((stopped.messages(), stopped.error().errno()), (2, Some(rawpipe::Errno::ETIMEDOUT)));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendManyError {
    pub(super) sent: usize,
    pub(super) error: MessageError,
}

impl SendManyError {
    /// Returns the number of messages that were sent whole.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.sent
    }

    /// Returns the reason, as [`send`](super::Sender::send) has it.
    #[must_use]
    pub const fn error(&self) -> MessageError {
        self.error
    }

    /// Returns the kernel's error, if that is the reason.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.error.errno()
    }

    const fn cause(&self) -> Option<&Errno> {
        self.error.cause()
    }
}

impl fmt::Display for SendManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} messages", self.error, self.sent)
    }
}

crate::errno::like_std!(SendManyError, this => this.error.kind());

impl From<SendManyError> for MessageError {
    /// Converts to the reason, without the number of messages.
    fn from(stopped: SendManyError) -> Self {
        stopped.error
    }
}
