//! Messages over pipes: each is received as it was sent, whole and by itself.
//!
//! A pipe is a stream of bytes: one read may return the bytes of two writes, and two reads those of one.
//! There are three ways to keep messages apart:
//!
//! | type | a message is | for |
//! |---|---|---|
//! | [`Channel`], [`Sender`], [`Receiver`] | any bytes up to a limit, after its length | any two descriptors |
//! | [`PacketWriter`], [`PacketReader`] | 1 to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes, kept apart by the kernel | several writers or readers of one pipe |
//! | none: [`write_atomic`](crate::io::write_atomic) | up to `PIPE_BUF` bytes, not mixed with those of other writers | several writers, and a reader that finds the boundaries |
//!
//! [`Duplex`] is the link under a channel: two pipes, one for each direction.
//!
//! All of these are pipes: the peer may be any program, and messages may be longer than the pipe. If the peer
//! is a process forked from this one, and messages have a maximum length, a dialogue in shared memory is
//! faster: see [`SharedBuilder::fork_duplex`](crate::chunk::shared::SharedBuilder::fork_duplex), which needs
//! feature `transfer`.
//!
//! A message costs one write and two reads, if there is room for all of it. If many short ones are sent at a time,
//! [`send_many`](Sender::send_many) writes them together, and a receiver
//! [`with_read_ahead`](Receiver::with_read_ahead) reads them together.
//!
//! Nothing here raises `SIGPIPE`: if no reader is left, sending fails with
//! [`EPIPE`](crate::Errno::EPIPE).
//!
//! # Deadlocks
//!
//! A link has room for what its pipes hold. If both sides send more than that before they receive, they
//! wait for each other forever. The methods with a deadline time out.

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

/// How long a call waits: without a deadline, indefinitely.
type Until<'c> = Option<crate::Deadline<'c>>;
