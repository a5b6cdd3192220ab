//! Waiting until descriptors are ready.

#[cfg(feature = "message")]
pub mod epoll;
pub mod poll;
#[cfg(all(feature = "alloc", feature = "message"))]
pub mod select;
