//! Owned and borrowed file descriptors.
//!
//! With feature `std` these are std's own types, so that every file, socket and pipe of std can be
//! passed to this crate and back. Without it they are the types of this module, which have a part of
//! the items of std's, under the same names and with the same signatures: code that compiles without
//! `std` compiles with it.

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

/// Gives an owner of a descriptor (`struct $Owner(T)`, where `T` is one, too) the conversions that lend it and
/// give it away.
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
