#![doc = include_str!("../README.md")]
// By names that exist when all features do.
#![cfg_attr(feature = "full", doc = include_str!("../docs/map.md"))]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

// Private, and below the topics.
#[macro_use]
mod sys;

// The vocabulary.
mod cancel;
mod errno;
#[cfg_attr(docsrs, doc(auto_cfg = false))]
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

pub use cancel::Cancel;
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
