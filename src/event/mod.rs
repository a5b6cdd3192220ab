//! Waits until descriptors are ready.
//!
//! [`poll`](poll()) waits for a list of descriptors. Feature `event` adds further ways to wait. `select`,
//! which needs `alloc`, waits for sets of descriptors. `Epoll` keeps its list of descriptors in the kernel.
//! `EventFd` is a counter that wakes waiters. `wait_signal` waits for a signal. `SignalFd` is a descriptor
//! for signals. With it, a process can wait for signals together with other descriptors.
//!
//! # Events of a pipe
//!
//! | end | situation | events |
//! |---|---|---|
//! | read | the pipe contains unread data | `IN` |
//! | read | no writer left, unread data | `IN`, `HUP`: continue reading until a read returns 0 |
//! | read | no writer left, no unread data | `HUP` |
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
pub(crate) use poll::{Backoff, poll_beside, poll_until};
pub use poll::{PollEvents, PollFd, poll, poll_deadline};
#[cfg(all(feature = "alloc", feature = "event"))]
pub use select::{FdSet, select, select_deadline};
#[cfg(feature = "event")]
pub use signals::{SignalFd, SignalGuard, SignalInfo, wait_signal};
