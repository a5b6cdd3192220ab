//! Sends and receives messages over pipes. Each message is received whole and separate from other messages,
//! exactly as it was sent.
//!
//! A pipe is a stream of bytes: one read may return the bytes of two writes, and one write may need two
//! reads. This module offers three ways to keep messages apart:
//!
//! | type | a message is | for |
//! |---|---|---|
//! | [`Channel`], [`Sender`], [`Receiver`] | any bytes up to a limit, after its length | any two descriptors |
//! | [`PacketWriter`], [`PacketReader`] | 1 to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes, kept apart by the kernel | several writers or readers of one pipe |
//! | none: [`write_atomic`](crate::io::write_atomic) | up to `PIPE_BUF` bytes, not mixed with those of other writers | several writers, and a reader that finds the boundaries |
//!
//! [`Duplex`] is a link with one pipe for each direction. A channel can be built on a link.
//!
//! Because the types of this module work over pipes, the peer may be any program. A channel's messages may
//! also be longer than the pipe's capacity. If this process forks the peer, and messages have a maximum
//! length, a dialogue in shared memory is faster than one over pipes. See
//! [`SharedBuilder::fork_duplex`](crate::chunk::shared::SharedBuilder::fork_duplex), which needs feature
//! `transfer`.
//!
//! A message that fits into the pipe usually costs one write and two reads. If a program sends many short
//! messages at a time, [`send_many`](Sender::send_many) writes these messages together. A receiver
//! [`with_read_ahead`](Receiver::with_read_ahead) also reads them together.
//!
//! No function of this module raises `SIGPIPE`. If the pipe has no reader, sending fails with
//! [`EPIPE`](crate::Errno::EPIPE).
//!
//! # Deadlocks
//!
//! Each direction of a link holds only as many bytes as its pipe. If, before receiving, both sides send more
//! than that, they wait for each other forever. The methods with a deadline time out instead.

mod channel;
mod duplex;
mod error;
mod input;
mod packet;
mod receiver;
mod sender;

pub use channel::Channel;
pub use duplex::Duplex;
pub use error::MessageError;
pub use packet::{PacketReader, PacketWriter, packets};
pub use receiver::Receiver;
pub use sender::Sender;

/// The maximum length of a message in bytes, unless another limit is set: 64 MiB.
const LIMIT: usize = 64 << 20;

/// The deadline of a call, if any. A call without a deadline waits indefinitely.
type Until<'c> = Option<crate::Deadline<'c>>;
