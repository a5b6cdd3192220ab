//! Owned and borrowed file descriptors.
//!
//! With feature `std` these are std's own types, so that every file, socket and pipe of std can be
//! passed to this crate and back. Without it they are the types of this module. These have a part of the
//! items of std's, with the same names and signatures, so code that compiles without `std` also compiles
//! with it.
//!
//! # The numbers 0, 1 and 2
//!
//! No function of this crate returns a new descriptor with the number of a standard stream, even if that stream is closed
//! and the kernel gives its number out. It duplicates the descriptor to 3 or above and closes the low one, so that no
//! `println!` or panic message is written into a pipe. This holds for all that makes a descriptor: pipes, duplicates,
//! `eventfd`, `epoll`, `signalfd`, pidfds, and those that the crate uses itself. Between the two calls the descriptor has
//! the low number for a moment; in a program with threads, open the standard streams before the first is started. If no
//! number above 2 is left, the call fails with `EMFILE`, and a child has no pidfd.
//!
//! To put a file there on purpose, use [`io::redirect`](crate::io::redirect).
//! [`io::take_inherited`](crate::io::take_inherited) returns the number that it was given, and
//! [`io::dup3`](crate::io::dup3) keeps the one that it replaces.

#[cfg(feature = "alloc")]
mod maybe_owned;
#[cfg(not(feature = "std"))]
mod owned;
#[cfg(test)]
mod tests;

#[cfg(feature = "alloc")]
pub use maybe_owned::MaybeOwnedFd;
#[cfg(not(feature = "std"))]
pub use owned::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
#[cfg(feature = "std")]
pub use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Gives an owner of a descriptor (`struct $Owner(T)`, where `T` is one, too) the conversions that lend the
/// descriptor and give it up.
macro_rules! lends_its_descriptor {
    ($Owner:ident) => {
        impl crate::fd::AsFd for $Owner {
            #[inline]
            fn as_fd(&self) -> crate::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl From<$Owner> for crate::fd::OwnedFd {
            fn from(owner: $Owner) -> Self {
                owner.0.into()
            }
        }

        #[cfg(feature = "alloc")]
        impl From<$Owner> for crate::fd::MaybeOwnedFd<'_> {
            fn from(owner: $Owner) -> Self {
                crate::fd::OwnedFd::from(owner).into()
            }
        }
    };
}
pub(crate) use lends_its_descriptor;
