//! Processes: making one by [`fork()`], ending this one, waiting for a child.
//!
//! # What a child is
//!
//! A copy of this process with one thread: the one that forked. It has a copy of all memory and of
//! all descriptors, close-on-exec ones included, and no other thread, so a lock that another thread
//! held at that moment stays locked for ever.
//!
//! # What a child may do
//!
//! If the process has other threads, only what a signal handler may do, until it calls [`exit`] or
//! starts another program: system calls through this crate, yes; allocating, printing by `println!`,
//! panicking, `std::thread`, no. If it is the only thread the child may do anything, but for what is
//! listed under `# Safety` of [`fork()`].
//!
//! # What the C library does not know
//!
//! With the assembly backends the C library does not see the fork. Its record of the thread's id is
//! repaired where it can be found (glibc: yes; musl: not, so there mutexes of the error-checking and
//! recursive kinds, `raise` and `pthread_kill` misbehave in the child). Handlers registered by
//! `pthread_atfork` do not run, so the locks of the allocator and of stdio are not taken care of, and
//! the thread's list of robust mutexes is not registered anew.
//! Feature `c-shim` forks by the C library instead, where all of this is done.

mod child;
#[cfg(all(feature = "process", feature = "std"))]
mod command;
mod exec;
mod fork;
#[cfg(feature = "process")]
mod limit;
mod signal;
#[cfg(feature = "process")]
mod spawn;
mod status;

pub use crate::arg::Arg;
pub use crate::flags::ExecFlags;
pub use child::{Child, Method, OnDrop};
#[cfg(all(feature = "process", feature = "std"))]
pub use command::{Command, Stdio};
pub use exec::{DEFAULT_PATH, execve, execveat, execvpe, fexecve};
pub use fork::{Fork, exit, fork, fork_with};
#[cfg(feature = "process")]
pub use limit::{Limit, Resource};
#[cfg(all(test, feature = "c-shim"))]
pub(crate) use signal::ALL as SIGNALS;
pub use signal::{Signal, SignalSet};
#[cfg(feature = "process")]
pub use spawn::{Spawn, SpawnError, Stage};
pub use status::ExitStatus;
