//! Starts programs, forks, waits for processes, and sends signals. Also replaces the program of this process,
//! changes attributes of this process, and ends this process.
//!
//! # Which one
//!
//! - To start a program, use `Command` (features `process` and `std`). `Communicate` writes the program's
//!   input and collects the output, and `Pipeline` starts several programs. Without an allocator, use `Spawn`
//!   (feature `process` alone). The cost of starting a program does not depend on the size of this process,
//!   with two exceptions. A child that changes its user or groups is created by an ordinary fork. If the
//!   kernel or a filter rejects shared memory, every child is created by an ordinary fork.
//! - To continue in a copy of this process, use [`fork_with`] or [`fork()`], and follow the rules below.
//! - To replace the program of this process, use [`execve`] and its variants, or `exec` of `Command` and
//!   `Spawn`. `exec` first applies the same settings that a child would receive.
//!
//! # What a child is
//!
//! A forked child is a copy of this process with one thread: the thread that forked. The child has a copy of
//! this process's private memory and of all descriptors, including close-on-exec ones. The other threads do not
//! exist in the child, so a lock that one of them held during the fork stays locked forever.
//!
//! # What a child may do
//!
//! These rules apply until the child ends or starts another program:
//!
//! | | other threads in the parent | none ([`fork_single_threaded`]) |
//! |---|---|---|
//! | functions of this crate that need neither `alloc` nor `std`, also with these features enabled: system calls that allocate nothing | yes | yes |
//! | reading and writing its own memory | yes | yes |
//! | [`exit`], [`execve`] and the like | yes | yes |
//! | dropping this crate's handles: they close descriptors, and anything beyond that ([`OnDrop`], pages of a `ChunkWriter`) happens only in the process that created the handle | yes | yes |
//! | allocating and freeing: `Box`, `Vec`, `String`, `format!` | no: the allocator's lock | yes |
//! | `println!`, `eprintln!`, logging | no: locks | yes; buffered stdio is printed twice unless it is flushed before the fork, or the child ends with [`exit`] |
//! | panicking | no: the message is formatted and printed under a lock | yes; in [`fork_with`], a panic ends the child; elsewhere, a panic unwinds into the parent's code |
//! | `std::sync`, thread-locals with a destructor, `std::thread` | no | yes, see below for C libraries other than glibc |
//! | `std::process::exit`, or returning from `main` | no | yes, but `atexit` handlers run, and stdio is flushed, in both processes |
//! | returning into code with which the parent also continues | no | only if both processes may run that code |
//! | using random number generators with in-memory state, connections, file locks, or temporary files that are removed on drop | no | not in both processes |
//! | accessing memory mapped `MADV_DONTFORK`, `MADV_WIPEONFORK`, or shared | no | no, except shared memory that is meant to be used by two processes |
//!
//! If the process has other threads, a child may do only what a signal handler may do.
//!
//! # The C library in the child
//!
//! With the assembly backends, the C library is not informed of the fork:
//!
//! - With glibc, the crate corrects the C library's record of the thread's id. With musl the crate cannot
//!   find that record, so error-checking and recursive mutexes, `raise` and `pthread_kill` misbehave in the
//!   child.
//! - Handlers registered with `pthread_atfork` do not run, so if another thread held a lock of the allocator
//!   or of stdio, that lock stays locked.
//! - The thread's list of robust mutexes is not registered again in the child.
//!
//! The C shim (feature `c-shim`) forks with the C library instead. In that case, the C library corrects its
//! records, runs the handlers and registers the list.

mod child;
#[cfg(feature = "process")]
mod claim;
#[cfg(feature = "process")]
mod close;
#[cfg(all(feature = "process", feature = "std"))]
mod command;
#[cfg(all(feature = "process", feature = "std"))]
mod communicate;
mod exec;
mod fork;
#[cfg(feature = "process")]
mod limit;
#[cfg(feature = "process")]
mod myself;
#[cfg(feature = "process")]
mod pidfd;
#[cfg(all(feature = "process", feature = "std"))]
mod pipeline;
#[cfg(feature = "process")]
mod spawn;
mod status;
#[cfg(feature = "process")]
mod wait_any;

#[cfg(all(feature = "process", feature = "std"))]
pub use crate::io::StdStream;
pub use crate::signal::{Signal, SignalSet};
pub use crate::sys::abi::arg::Arg;
pub use crate::sys::abi::flags::ExecFlags;
#[cfg(feature = "process")]
pub use crate::sys::abi::flags::WaitFlags;
#[cfg(feature = "process")]
pub use crate::sys::abi::process::Rusage;
pub use child::{Child, OnDrop, SpawnMethod};
#[cfg(feature = "process")]
pub use close::close_other_fds;
#[cfg(all(feature = "process", feature = "std"))]
pub use command::{Command, Stdio};
#[cfg(all(feature = "process", feature = "std"))]
pub use communicate::{Communicate, CommunicateError, CommunicateErrorKind, Output, RunError};
pub use exec::{DEFAULT_PATH, execve, execveat, execvpe, fexecve};
pub use fork::{Fork, exit, fork, fork_single_threaded, fork_with};
#[cfg(feature = "process")]
pub use limit::{Resource, Rlimit};
#[cfg(feature = "process")]
pub use myself::{chdir, getpid, getppid, set_child_subreaper, setpgid, setsid, umask};
#[cfg(feature = "process")]
pub use pidfd::Pidfd;
#[cfg(all(feature = "process", feature = "std"))]
pub use pipeline::{Pipeline, PipelineChildren, PipelineError, PipelineOutput};
#[cfg(feature = "process")]
pub use spawn::{Spawn, SpawnError, SpawnStage};
pub use status::ExitStatus;
#[cfg(feature = "process")]
pub use wait_any::{Change, wait_any, wait_any_deadline};
