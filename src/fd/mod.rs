//! Owned and borrowed file descriptors.
//!
//! With feature `std`, the types of this module are std's own types. Therefore, every file, socket and pipe
//! can be passed between std and this crate. Without `std`, this module itself defines the types. These types
//! provide a subset of std's items, under the same names and with the same signatures. Code that compiles
//! without `std` therefore also compiles with `std`.
//!
//! # The numbers 0, 1 and 2
//!
//! No function of this crate returns a new descriptor with the number of a standard stream. If a standard
//! stream is closed, the kernel may assign its number to a new descriptor. In this case, the function
//! duplicates the new descriptor to a number of 3 or above, and closes the low number. This rule prevents
//! `println!` and panic messages from being written to a new pipe or file. The rule holds for every
//! descriptor that the crate creates: pipes, duplicates, `eventfd`, `epoll`, `signalfd`, pidfds, and internal
//! ones.
//!
//! The new descriptor has the low number for a short time, until it is duplicated. Therefore, in a program
//! with threads, open the standard streams before the first thread is started. If no number above 2 is free,
//! a call that creates a descriptor fails with `EMFILE`. If a child is created in this situation, its handle
//! has no pidfd.
//!
//! To assign a file to one of these numbers deliberately, use [`io::redirect`](crate::io::redirect).
//! [`io::take_inherited`](crate::io::take_inherited) keeps the number that the caller passes, and
//! [`io::dup3`](crate::io::dup3) keeps the number of the descriptor that it replaces.

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

/// Implements the conversions that lend or release the descriptor of `struct $Owner(T)`, where `T` owns a
/// descriptor.
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
