//! Pipes for Linux, and inter-process communication over them, using direct system calls and no dependencies.
//!
//! The crate creates pipes, forks, starts programs, moves bytes between descriptors, frames messages, and
//! waits with a deadline. A function that is named after a system call, such as `read` or `splice`, makes
//! that call once. Functions such as `write_all`, `Command::output` and `transfer` make as many calls as a
//! whole job needs.
//!
//! The crate is for Linux only, and it is not an async runtime. For general-purpose system calls use rustix
//! or nix.
//!
//! # Example
//!
//! A parent reads what a forked child writes:
//!
//! ```
//! use rawpipe::process;
//!
//! let (reader, writer) = rawpipe::pipe()?;
//! // SAFETY: the child only writes to the pipe and allocates nothing, so other threads do not matter.
//! let mut child = unsafe {
//!     process::fork_with(move || match writer.write_all(b"Hello from the child") {
//!         Ok(()) => 0,
//!         Err(_) => 1,
//!     })
//! }?;
//! let mut text = Vec::new();
//! reader.read_to_end(&mut text)?; // until no process holds the write end
//! assert_eq!(text, b"Hello from the child");
//! assert!(child.wait()?.success());
//! # Ok::<(), rawpipe::Errno>(())
//! ```
//!
// The map links to items of every feature, so it is included only with feature `full`.
#![cfg_attr(feature = "full", doc = include_str!("../docs/map.md"))]
//!
//! # Three rules
//!
//! 1. **Close the ends that you do not use.** A reader reaches end of file only after *every* process has
//!    closed the write end. A forgotten copy in the parent or in another child makes the reader wait
//!    indefinitely. Move the child's end into the closure of [`fork_with`](crate::process::fork_with), or
//!    drop it in the parent after the fork. A program that you start inherits only the pipe ends that you
//!    pass to it, because [`pipe()`] sets close-on-exec on both ends.
//! 2. **A forked child of a process with threads may only make system calls** until it executes a program.
//!    Another thread may hold the allocator's lock, or any other lock, at the moment of the fork. In the
//!    child, that lock is never released. [`process`](mod@crate::process) lists the permitted operations.
//!    Starting a program with `Command` or `Spawn` is safe in any process.
//! 3. **A function that makes one system call fails with [`EINTR`](Errno::EINTR)** if a signal handler
//!    interrupts the call. A function that completes a job (`write_all`, `read_exact`, `wait`,
//!    `transfer`, and everything with a deadline) retries automatically.
//!
//! # What it costs
//!
//! rawpipe is one crate without dependencies and needs Rust 1.85 or later. With default features, a release
//! build of rawpipe takes 2.3 times as long as a release build of the `libc` crate. The factor is 4.1 with
//! all features, and 0.7 without features. Builds for x86_64, aarch64 and riscv64 with 64-bit pointers need
//! no C compiler. `cc` is a build dependency only with feature `c-shim`.
//!
//! # What is unsafe
//!
//! | function | reason |
//! |---|---|
//! | [`fork()`](crate::fork()), [`fork_with`](crate::process::fork_with), [`fork_single_threaded`](crate::process::fork_single_threaded), and functions that fork for `Duplex` and shared chunks | rule 2 applies, and both processes have the parent's values |
//! | [`vmsplice`](crate::splice::vmsplice) | the kernel does not report when it has finished with a page |
//! | [`take_inherited`](crate::io::take_inherited), `close_other_fds` | other code may own the descriptors |
//! | [`raw`]`::syscall0` to `syscall6` | they make any system call |
//! | `SharedWriter::from_parts`, `SharedCopier::trust` | another program may write to the memory |
//!
//! Everything else is safe, including starting programs and sending memory without copying it. In the
//! repository, `docs/UNSAFE.md` lists every file with unsafe code and the tests of that code.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `std` | yes | `std::io::{Read, Write}`, conversions to std's descriptors, `Stdio` and `io::Error`; implies `alloc` |
//! | `transfer` | yes | the modules `transfer` and `chunk`; implies `alloc` |
//! | `alloc` | yes | functions that fill a `Vec` |
//! | `event` | no | `select`, `Epoll`, `EventFd`, `SignalFd`; reads and writes with a deadline or without waiting |
//! | `message` | no | the module `message`; implies `alloc` and `event` |
//! | `process` | no | starting programs: `Spawn`, with `std` also `Command`, `Communicate`, `Pipeline`; `Pidfd`, `wait_any`; implies `event` |
//! | `full` | no | all features above |
//! | `c-shim` | no | system calls through the C library, on every target; adds the build dependency `cc` |
//!
//! Without features the crate needs neither an allocator nor a C library. The crate then provides pipes,
//! `fork`, `execve`, waiting for a child, reads and writes, `dup`, `poll`, `splice`, `tee`, [`Deadline`],
//! [`Cancel`] and [`raw`].
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "full"),
    allow(rustdoc::broken_intra_doc_links, reason = "links lead to items of other features")
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

// The private layer on which all public modules build.
#[macro_use]
mod sys;

// Modules with types that the modules below share.
mod cancel;
mod errno;
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub mod fd;
mod signal;
mod time;
#[cfg(any(feature = "event", feature = "transfer"))]
mod wait;

// One module for each topic.
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

// The guide's pages link to every module, so they need every feature.
#[cfg(any(doc, doctest))]
#[cfg(feature = "full")]
pub mod guide;

/// Runs the README's programs as documentation tests.
#[cfg(doctest)]
#[cfg(feature = "full")]
#[doc = include_str!("../README.md")]
mod readme {}
