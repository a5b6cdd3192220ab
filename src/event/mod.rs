//! Waits until descriptors are ready.
//!
//! [`poll`](poll()) waits for a list of descriptors. With feature `event`, `select` waits for sets of
//! descriptors (and needs `alloc`), and `Epoll` keeps the list in the kernel. `SignalFd` is a descriptor for
//! signals, so that a process can wait for signals and other descriptors together.
//!
//! # Events of a pipe
//!
//! | end | situation | events |
//! |---|---|---|
//! | read | bytes in it | `IN` |
//! | read | no writer left, bytes in it | `IN`, `HUP`: continue reading until 0 |
//! | read | no writer left, empty | `HUP` |
//! | write | a slot (one page) is free | `OUT` |
//! | write | no reader left | `ERR`; also `OUT` if a slot is free |
//!
//! `ERR`, `HUP` and `NVAL` are reported even if they were not requested, so a loop that ignores these events
//! spins. After `OUT` a blocking write of more than [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes may still wait.

#[cfg(feature = "event")]
mod epoll;
mod poll;
#[cfg(all(feature = "alloc", feature = "event"))]
mod select;
#[cfg(feature = "event")]
mod signals;

#[cfg(feature = "event")]
pub use epoll::{Epoll, Event, EventFd, EventFdFlags};
#[cfg(any(all(feature = "process", feature = "std"), feature = "transfer"))]
pub(crate) use poll::poll_beside;
pub(crate) use poll::{Backoff, poll_until};
pub use poll::{PollEvents, PollFd, poll, poll_deadline};
#[cfg(all(feature = "alloc", feature = "event"))]
pub use select::{FdSet, select, select_deadline};
#[cfg(feature = "event")]
pub use signals::{SignalFd, SignalGuard, SignalInfo, wait_signal};
