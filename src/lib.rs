#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(not(target_os = "linux"))]
compile_error!("rawpipe is for Linux: it speaks to its kernel directly");

// L0, the machine.
mod sys;

// L1, the vocabulary.
mod abi;
mod arg;
mod errno;
pub mod fd;
mod flags;
mod iovec;

// L2, the calls.
mod call;
#[cfg(feature = "transfer")]
mod map;
mod page;
#[cfg(any(all(feature = "process", feature = "std"), feature = "transfer"))]
mod sigpipe;

// L3, the topics.
pub mod io;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod raw;
pub mod splice;
pub mod time;

// L4, compositions.
#[cfg(feature = "transfer")]
pub mod transfer;

// L4, compositions.
#[cfg(feature = "transfer")]
pub mod chunk;
#[cfg(feature = "transfer")]
pub mod spin;

pub use errno::{Errno, Result};
pub use flags::PipeFlags;
pub use io::{close, dup, dup3, read, write};
pub use pipe::{PipeReader, PipeWriter, pipe, pipe2};
pub use process::{Fork, fork};
