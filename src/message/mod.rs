//! Messages over pipes: what is sent as one arrives as one.
//!
//! A pipe is a stream of bytes: two writes may arrive as one read, and one as two. Three ways out:
//!
//! | type | a message is | for |
//! |---|---|---|
//! | [`Channel`], [`Sender`], [`Receiver`] | any bytes up to a limit, behind its length | any two descriptors |
//! | [`PacketWriter`], [`PacketReader`] | 1 to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes, kept apart by the kernel | several writers or readers of one pipe |
//! | none: [`write_atomic`](crate::io::write_atomic) | up to `PIPE_BUF` bytes, not mixed with what others write | several writers, and a reader that finds the borders |
//!
//! [`Duplex`] is the link under a channel: two pipes, one for each direction.
//!
//! All of these are pipes: the other side may be any program, and messages may be longer than the pipe. If it is
//! a process forked from this one, and messages have a greatest length, a dialogue in shared memory is faster:
//! see [`SharedBuilder::fork_duplex`](crate::chunk::shared::SharedBuilder::fork_duplex), of the feature
//! `transfer`.
//!
//! Nothing here raises `SIGPIPE`: when nobody is left to read, sending answers
//! [`EPIPE`](crate::Errno::EPIPE).
//!
//! # Deadlocks
//!
//! A link has room for what its pipes hold. Two sides that both send more than that before they receive
//! wait for each other for ever; the deadline forms give up.

mod channel;
mod duplex;
mod error;
mod packet;
mod receiver;
mod sender;

pub use channel::Channel;
pub use duplex::Duplex;
pub use error::MessageError;
pub use packet::{PacketReader, PacketWriter, packets};
pub use receiver::Receiver;
pub use sender::Sender;

/// How long a message may be unless another limit is set: 64 MiB.
const LIMIT: usize = 64 << 20;
