//! Owned and borrowed file descriptors.
//!
//! With feature `std` these are std's own types, so that every file, socket and pipe of std can be
//! passed to this crate and back. Without it they are the types of this module, which have a part of
//! the items of std's, under the same names and with the same signatures: code that compiles without
//! `std` compiles with it.

#[cfg(not(feature = "std"))]
mod owned;
#[cfg(test)]
mod tests;

#[cfg(not(feature = "std"))]
pub use owned::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
#[cfg(feature = "std")]
pub use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
