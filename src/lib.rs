#![doc = include_str!("../README.md")]
//!
//! # Where to go on
//!
//! - The [`guide`]: [from Python](guide::from_python), [deadlocks](guide::deadlocks),
//!   [which part for which task](guide::choosing), [when it is no pipe](guide::alternatives),
//!   [which descriptors a child gets](guide::access), [a static tool](guide::no_std),
//!   [sanitizers, `LD_PRELOAD`, seccomp, and the list of system calls](guide::tools).
//! - Pipes: [`pipe()`], [`PipeReader`], [`PipeWriter`], [`pipe::Builder`]; [`io`] for any descriptor.
//! - Processes: [`process::Command`], [`process::Communicate`], [`process::Pipeline`],
//!   [`process::Spawn`], [`process::fork_with`].
//! - Moving bytes: [`transfer`](mod@transfer), [`chunk`](mod@chunk), [`splice`](mod@splice).
//! - Messages: [`message::Channel`], [`message::Duplex`], [`message::packets`].
//! - Waiting: [`event`], [`Deadline`], [`Wait`].
//! - Errors: [`Errno`]. Anything else by number: [`raw`].

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(not(target_os = "linux"))]
compile_error!("rawpipe is for Linux: it speaks to its kernel directly");

// Private, and below the topics.
mod sys;

// The vocabulary.
mod errno;
pub mod fd;
mod signal;
mod time;
#[cfg(any(feature = "event", feature = "transfer"))]
mod wait;

// The topics.
#[cfg(feature = "transfer")]
pub mod chunk;
pub mod event;
pub mod io;
#[cfg(feature = "message")]
pub mod message;
pub mod pipe;
pub mod process;
pub mod raw;
pub mod splice;
#[cfg(feature = "transfer")]
pub mod transfer;

pub use errno::{Errno, Result};
pub use io::{close, dup, dup3, read, write};
pub use pipe::{PipeReader, PipeWriter, pipe, pipe2};
pub use process::{Fork, fork};
pub use sys::abi::flags::PipeFlags;
pub use time::Deadline;
#[cfg(any(feature = "event", feature = "transfer"))]
pub use wait::Wait;

// Pages only. It names all modules, so that it is there when they are.
#[cfg(any(doc, doctest))]
#[cfg(feature = "full")]
pub mod guide;
