//! Defines the error of sending and receiving messages.

use crate::Errno;
use core::fmt;

/// The reason why a message was not sent or received.
///
/// # Examples
///
/// ```
/// use rawpipe::message::{MessageError, Receiver};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(&u64::MAX.to_le_bytes())?; // a length beyond every limit
/// let mut receiver = Receiver::new(reader);
/// let error = receiver.recv().unwrap_err();
/// assert_eq!((error, error.errno()), (MessageError::TooLong(u64::MAX), None));
/// assert_eq!(error.to_string(), "a message of 18446744073709551615 bytes is longer than the limit");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The call failed with this errno. After a receiving call has failed with
    /// [`ETIMEDOUT`](Errno::ETIMEDOUT) or [`ECANCELED`](Errno::ECANCELED), the next call continues at the
    /// same byte. A sending call that fails in the middle of a message cannot be continued: see
    /// [`Torn`](Self::Torn).
    Io(Errno),
    /// [`send_many`](super::Sender::send_many) failed with this errno. The second value is the number of
    /// whole messages that were sent before the failure. The caller can send the remaining messages later,
    /// unless one of them was sent in part. After a partial message, sending fails with [`Torn`](Self::Torn).
    Stopped(Errno, usize),
    /// The message is longer than the limit. This value is the message's length in bytes. If a sending call
    /// fails with this error, no byte was sent. If a receiving call fails with this error, every later
    /// receiving call also fails with it, unless [`with_limit`](super::Receiver::with_limit) raises the
    /// limit. The peer uses a higher limit, is broken, or is hostile.
    TooLong(u64),
    /// The message is longer than the buffer. This value is the message's length in bytes. The message can
    /// still be received into a larger buffer.
    BufferTooShort(usize),
    /// The stream ended in the middle of a message.
    Truncated,
    /// An earlier message was sent in part, so no message can follow it.
    Torn,
}

impl MessageError {
    /// Returns the errno of [`Io`](Self::Io) or [`Stopped`](Self::Stopped), or `None` for any other variant.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.cause().copied()
    }

    const fn cause(&self) -> Option<&Errno> {
        match self {
            Self::Io(errno) | Self::Stopped(errno, _) => Some(errno),
            _ => None,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(errno) => errno.fmt(f),
            Self::Stopped(errno, sent) => write!(f, "{errno} after {sent} messages"),
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
    Self::Io(errno) | Self::Stopped(errno, _) => errno.kind(),
});

impl From<Errno> for MessageError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

#[cfg(feature = "std")]
impl From<MessageError> for std::io::Error {
    /// Converts [`Io`](MessageError::Io) to the corresponding system error, with its `raw_os_error`. Converts
    /// every other variant to an error that holds the whole `MessageError`. `get_ref` and `downcast` return
    /// that value. The error's kind is `InvalidData` (too long), `InvalidInput` (buffer too short),
    /// `UnexpectedEof` (truncated), `BrokenPipe` (torn) or the kind of the errno (stopped).
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Io(errno) => errno.into(),
            _ => Self::new(error.kind(), error),
        }
    }
}
