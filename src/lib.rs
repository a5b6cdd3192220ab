//! Pipes and inter-process communication over them for Linux, by direct system calls, without dependencies.
//!
//! It creates pipes, forks, starts programs, moves bytes between descriptors, frames messages, and waits with a
//! deadline. A function that *is* a system call has its name. The other functions complete a job: `write_all`,
//! `Command::output`, `transfer`.
//!
//! The crate is for Linux only, and it is not an async runtime. For general-purpose system calls use rustix or nix.
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
//! reader.read_to_end(&mut text)?; // until no process has the write end any more
//! assert_eq!(text, b"Hello from the child");
//! assert!(child.wait()?.success());
//! # Ok::<(), rawpipe::Errno>(())
//! ```
//!
// By names that exist when all features do.
#![cfg_attr(feature = "full", doc = include_str!("../docs/map.md"))]
//!
//! # Three rules
//!
//! 1. **Close the ends that you do not use.** A reader reaches end of file when *no* process has the write
//!    end any more, so a forgotten copy in the parent, or in another child, makes it wait indefinitely. Move
//!    the end that the child uses into the closure of [`fork_with`](crate::process::fork_with), or drop it
//!    after the fork. A program that is started inherits no pipe end that you do not pass: [`pipe()`] sets
//!    close-on-exec on both.
//! 2. **A forked child of a process with threads may only make system calls** until it executes a program.
//!    Other threads may have held the allocator's lock, or any other, at the moment of the fork; in the child
//!    no thread releases it. [`process`](mod@crate::process) lists what is allowed. Starting a program with
//!    `Command` or `Spawn` is safe in any process.
//! 3. **A function that is one system call fails with [`EINTR`](Errno::EINTR)** if a signal handler interrupts it. A
//!    function that completes a job (`write_all`, `read_exact`, `wait`, `transfer`, and everything with a
//!    deadline) retries by itself.
//!
//! # What it costs
//!
//! One crate without dependencies, for Rust 1.85 and later. A release build of it takes 1.3 times as long as one of
//! `libc` with default features, 2.6 times as long with all, and 0.6 times without any. x86_64, aarch64 and riscv64 with
//! 64-bit pointers need no C compiler. `cc` is a build dependency only with feature `c-shim`.
//!
//! # What is unsafe
//!
//! | function | because |
//! |---|---|
//! | [`fork()`](crate::fork()), [`fork_with`](crate::process::fork_with), [`fork_single_threaded`](crate::process::fork_single_threaded), and functions that fork for `Duplex` and shared chunks | of rule 2, and because both processes have the parent's values |
//! | [`vmsplice`](crate::splice::vmsplice) | the kernel does not report when it has finished with a page |
//! | [`take_inherited`](crate::io::take_inherited), `close_other_fds` | other code may own the descriptors |
//! | [`raw`]`::syscall0` to `syscall6` | they make any system call |
//! | `SharedWriter::from_parts`, `SharedCopier::trust` | another program may write to the memory |
//!
//! Everything else is safe to call, also starting programs and sending memory without a copy. In the repository,
//! `docs/UNSAFE.md` lists every file with unsafe code and the tests that attack it.
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
//! | `full` | no | all of these |
//! | `c-shim` | no | system calls through the C library, on every target; adds the build dependency `cc` |
//!
//! Without features the crate needs neither an allocator nor a C library: pipes, `fork`, `execve`, waiting for
//! a child, reads and writes, `dup`, `poll`, `splice`, `tee`, [`Deadline`], [`Cancel`] and [`raw`].
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

/// The programs of the README are tested with the others.
#[cfg(doctest)]
#[cfg(feature = "full")]
#[doc = include_str!("../README.md")]
mod readme {}
