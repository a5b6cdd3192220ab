//! Processes: starting a program, making one by [`fork()`], replacing or ending this one, waiting for a
//! child and signalling it.
//!
//! # Which one
//!
//! - A program, in whatever state: `Command` (features `process` and `std`), with `Communicate` to feed it
//!   and listen to it, and `Pipeline` for several; or `Spawn` (feature `process` alone), which allocates
//!   nothing. The price does not grow with this process.
//! - A copy of this process that goes on: [`fork_with`], or [`fork()`], whose rules are below.
//! - This process, as another program: [`execve`] and its relatives; or `exec` of `Command` and `Spawn`, which first
//!   sets all that a child would have.
//!
//! # What a child is
//!
//! A copy of this process with one thread: the one that forked. It has a copy of all memory and of
//! all descriptors, close-on-exec ones included, and no other thread, so a lock that another thread
//! held at that moment stays locked for ever.
//!
//! # What a child may do
//!
//! Until it ends, or starts another program:
//!
//! | | other threads in the parent | none ([`fork_single_threaded`]) |
//! |---|---|---|
//! | functions of this crate without `alloc` and `std`: they are system calls | yes | yes |
//! | reading and writing memory of its own | yes | yes |
//! | [`exit`], [`execve`] and the like | yes | yes |
//! | dropping this crate's handles: they close descriptors, and what acts beyond that ([`OnDrop`], pages of a `ChunkWriter`) does so in the process that made it only | yes | yes |
//! | allocating and freeing: `Box`, `Vec`, `String`, `format!` | no: the allocator's lock | yes |
//! | `println!`, `eprintln!`, logging | no: locks | yes; what stdio holds is printed twice unless it is flushed before the fork, or the child ends by [`exit`] |
//! | panicking | no: the message is formatted and locked for | yes; caught at the end of [`fork_with`], elsewhere it goes on into the parent's code |
//! | `std::sync`, thread-locals with a destructor, `std::thread` | no | yes, see below for C libraries other than glibc |
//! | `std::process::exit`, or returning from `main` | no | it may: `atexit` handlers run, and stdio is flushed, in both processes |
//! | returning into code that the parent goes on with, too | no | only if both may do what comes |
//! | random numbers from memory, connections, locks on files, removal of temporary files at a drop | no | not on both sides |
//! | memory mapped `MADV_DONTFORK`, `MADV_WIPEONFORK`, or shared | no | no, but for shared memory made to be used by two processes |
//!
//! With other threads, that is what a signal handler may do.
//!
//! # What the C library does not know
//!
//! With the assembly backends the C library does not see the fork. Its record of the thread's id is
//! repaired where it can be found (glibc: yes; musl: not, so there mutexes of the error-checking and
//! recursive kinds, `raise` and `pthread_kill` misbehave in the child). Handlers registered by
//! `pthread_atfork` do not run, so the locks of the allocator and of stdio are not taken care of, and
//! the thread's list of robust mutexes is not registered anew.
//! The C shim (feature `c-shim`) forks with the C library instead, where all of this is done.

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
