//! Typed functions for the system calls, grouped by topic.
//!
//! Safe functions accept descriptors of this process as `BorrowedFd` or `OwnedFd`. They accept references to
//! the memory that the kernel accesses. New descriptors are returned as `OwnedFd`. No function retries on
//! `EINTR`: the caller decides whether to retry.
//!
//! # Safety
//!
//! In each call, these files are trusted to pass only arguments that limit the kernel to memory that was lent
//! for that call. The files are also trusted to take ownership of exactly the descriptors that the kernel has
//! just created.
//!
//! A borrowed descriptor is open, so no safe function here acts on a number that may belong to another owner.
//! References are converted to integers with `expose_provenance`, and the trap is opaque to the compiler. The
//! compiler must therefore assume that the kernel reads and writes through these references during the call.
//! `tell!` reports these accesses to a sanitizer, which otherwise could not see them.
#![allow(unsafe_code, reason = "an owner is made of the number that a call has returned")]
#![cfg_attr(
    not(feature = "full"),
    allow(dead_code, unused_imports, reason = "some serve these features only")
)]

#[cfg(feature = "event")]
mod epoll;
mod event;
mod exec;
mod io;
#[cfg(any(feature = "alloc", feature = "event"))]
mod memory;
#[cfg(any(feature = "event", feature = "transfer"))]
mod nowait;
mod pipe;
mod process;
mod refusal;
/// The calls that only feature `process` needs, mainly to create a child and to set it up.
#[cfg(feature = "process")]
mod setup;
#[cfg(any(feature = "event", feature = "transfer"))]
mod signal;

#[cfg(feature = "event")]
pub(crate) use epoll::*;
pub(crate) use event::*;
pub(crate) use exec::*;
pub(crate) use io::*;
#[cfg(any(feature = "alloc", feature = "event"))]
pub(crate) use memory::*;
#[cfg(any(feature = "event", feature = "transfer"))]
pub(crate) use nowait::*;
pub(crate) use pipe::*;
pub(crate) use process::*;
pub(crate) use refusal::*;
#[cfg(feature = "process")]
pub(crate) use setup::*;
#[cfg(any(feature = "event", feature = "transfer"))]
pub(crate) use signal::*;

use crate::errno::Result;
use crate::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::sys::abi;

/// Returns the argument for memory that the kernel reads.
#[inline]
fn lent<T: ?Sized>(place: &T) -> usize {
    tell!(reads(place));
    (&raw const *place).cast::<()>().expose_provenance()
}

/// Returns the argument for memory that the kernel writes.
#[inline]
fn lent_mut<T: ?Sized>(place: &mut T) -> usize {
    tell!(writes(place));
    (&raw mut *place).cast::<()>().expose_provenance()
}

/// Returns the argument for a C int. The kernel uses only the lower 32 bits of the argument.
#[expect(clippy::cast_sign_loss, reason = "the bits matter, not the sign")]
const fn number(value: i32) -> usize {
    value as usize
}

/// Returns the argument for a descriptor.
fn arg(fd: BorrowedFd<'_>) -> usize {
    number(fd.as_raw_fd())
}

/// Returns the argument for a descriptor that the call writes to, or closes.
fn sink(fd: impl AsFd) -> usize {
    tell!(releases(&fd));
    arg(fd.as_fd())
}

/// Takes ownership of the descriptor that a call has just created. If its number is below 3, moves it to a
/// number of 3 or above.
///
/// # Safety
///
/// `answer` is the result of a successful call that returns a new descriptor.
unsafe fn owned(answer: usize) -> Result<OwnedFd> {
    #[expect(clippy::cast_possible_truncation, reason = "descriptors are C ints")]
    #[expect(clippy::cast_possible_wrap, reason = "descriptors are not negative")]
    let fd = answer as RawFd;
    // SAFETY: by this function's own requirement, the descriptor is open and nothing owns it yet.
    let new = unsafe { OwnedFd::from_raw_fd(fd) };
    if fd < 3 { off_stdio(new) } else { Ok(new) }
}

/// Moves a new descriptor to a number of 3 or above. If a standard stream is closed, the kernel gives its
/// number to a new descriptor. Code that prints would then write to that descriptor.
#[cold]
fn off_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    let stays = fcntl_getfd(fd.as_fd())? & abi::FD_CLOEXEC == 0;
    fcntl_dupfd(fd.as_fd(), if stays { abi::F_DUPFD } else { abi::F_DUPFD_CLOEXEC }, 3)
}
