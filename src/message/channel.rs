//! Sends and receives messages in both directions.

use super::{Duplex, MessageError, Receiver, Sender};
use crate::fd::AsFd;
use crate::pipe::{Builder, Capacity};
use crate::{Deadline, PipeReader, PipeWriter, Wait};
use alloc::vec::Vec;

/// A [`Sender`] and a [`Receiver`] that exchange messages in both directions, as Python's
/// `multiprocessing.Connection` does.
///
/// A channel works over any two descriptors that carry streams of bytes, or over a single two-way descriptor,
/// such as a socket: `Channel::new(&stream, &stream)`.
///
/// # Examples
///
/// ```
/// use rawpipe::message::{Channel, Duplex};
///
/// // SAFETY: the program has no other thread, so the child may allocate, as `recv` does.
/// // (In a program with threads it would use `recv_into`, and exit after the first error.)
/// let (mut child, link) = unsafe {
///     Duplex::fork(|link| {
///         let mut channel = Channel::from(link);
///         while let Ok(Some(message)) = channel.recv() {
///             let _ = channel.send(&[b"you said: ", &message]);
///         }
///         0
///     })
/// }?;
/// let mut channel = Channel::from(link);
/// channel.send(&[b"hello"])?;
/// assert_eq!(channel.recv()?.as_deref(), Some(&b"you said: hello"[..]));
/// drop(channel);
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "Connection")]
#[derive(Debug)]
pub struct Channel<R, W> {
    receiver: Receiver<R>,
    sender: Sender<W>,
}

impl Channel<PipeReader, PipeWriter> {
    /// Creates a link of two pipes and returns its two sides. All descriptors are close-on-exec. Each pipe
    /// has a capacity of 256 KiB if the kernel grants it. If, before receiving, both sides send more bytes
    /// than a pipe holds, they wait for each other forever.
    ///
    /// # Errors
    ///
    /// Fails as [`pipe`](crate::pipe()) does.
    pub fn pair() -> crate::Result<(Self, Self)> {
        let (left, right) = Duplex::pair()?;
        for writer in [left.writer(), right.writer()] {
            // Long messages would move faster through larger pipes, but all pipes of a user share one limit.
            // Once that limit is exceeded, the other programs of that user receive pipes with only one or two
            // pages.
            let _ = writer.set_capacity(Capacity::Bytes(256 << 10));
        }
        Ok((left.into(), right.into()))
    }

    /// Creates a link of two pipes with the settings of `builder`, and returns its two sides.
    ///
    /// # Errors
    ///
    /// Fails as [`Builder::build`] does.
    pub fn pair_of(builder: Builder) -> crate::Result<(Self, Self)> {
        let (left, right) = Duplex::pair_of(builder)?;
        Ok((left.into(), right.into()))
    }
}

/// Keeps the capacity of the link's pipes, which is 64 KiB by default. [`Channel::pair`] creates larger
/// pipes.
impl From<Duplex> for Channel<PipeReader, PipeWriter> {
    fn from(link: Duplex) -> Self {
        let (reader, writer) = link.into_ends();
        Self::new(reader, writer)
    }
}

impl<R: AsFd, W: AsFd> Channel<R, W> {
    /// Creates a channel that receives over `reader` and sends over `writer`.
    pub fn new(reader: R, writer: W) -> Self {
        Self { receiver: Receiver::new(reader), sender: Sender::new(writer) }
    }

    /// Limits messages to `limit` bytes in both directions. The default limit is 64 MiB.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        let Self { receiver, sender } = self;
        Self { receiver: receiver.with_limit(limit), sender: sender.with_limit(limit) }
    }

    /// Sets the policy for waiting for a message.
    #[must_use]
    pub fn with_wait(self, wait: Wait) -> Self {
        Self { receiver: self.receiver.with_wait(wait), ..self }
    }

    /// Makes the receiver read ahead: see [`Receiver::with_read_ahead`].
    #[must_use]
    pub fn with_read_ahead(self) -> Self {
        Self { receiver: self.receiver.with_read_ahead(), ..self }
    }

    /// Returns the receiver and the sender for separate use, for instance in two threads.
    pub fn split(self) -> (Receiver<R>, Sender<W>) {
        (self.receiver, self.sender)
    }

    /// Returns the receiving side.
    pub const fn receiver(&mut self) -> &mut Receiver<R> {
        &mut self.receiver
    }

    /// Returns the sending side.
    pub const fn sender(&mut self) -> &mut Sender<W> {
        &mut self.sender
    }

    /// Sends a message that consists of these parts.
    ///
    /// # Errors
    ///
    /// Fails as [`Sender::send`] does.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<(), MessageError> {
        self.sender.send(parts)
    }

    /// Sends a message that consists of these parts, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`Sender::send_deadline`] does.
    pub fn send_deadline(
        &mut self,
        parts: &[&[u8]],
        deadline: Deadline<'_>,
    ) -> Result<(), MessageError> {
        self.sender.send_deadline(parts, deadline)
    }

    /// Sends several messages, and combines many short messages into one write.
    ///
    /// # Errors
    ///
    /// Fails as [`Sender::send_many`] does.
    pub fn send_many(&mut self, messages: &[impl AsRef<[u8]>]) -> Result<(), MessageError> {
        self.sender.send_many(messages)
    }

    /// Receives a message, or returns `None` if the stream ends after the last message.
    ///
    /// # Errors
    ///
    /// Fails as [`Receiver::recv`] does.
    pub fn recv(&mut self) -> Result<Option<Vec<u8>>, MessageError> {
        self.receiver.recv()
    }

    /// Receives a message, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`Receiver::recv_deadline`] does.
    pub fn recv_deadline(
        &mut self,
        deadline: Deadline<'_>,
    ) -> Result<Option<Vec<u8>>, MessageError> {
        self.receiver.recv_deadline(deadline)
    }

    /// Receives a message into `buf` and returns its length in bytes, or `None` if the stream ends after the
    /// last message.
    ///
    /// # Errors
    ///
    /// Fails as [`Receiver::recv_into`] does.
    pub fn recv_into(&mut self, buf: &mut [u8]) -> Result<Option<usize>, MessageError> {
        self.receiver.recv_into(buf)
    }

    /// Receives a message into `buf`, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`Receiver::recv_into_deadline`] does.
    pub fn recv_into_deadline(
        &mut self,
        buf: &mut [u8],
        deadline: Deadline<'_>,
    ) -> Result<Option<usize>, MessageError> {
        self.receiver.recv_into_deadline(buf, deadline)
    }
}
