//! The descriptor types without std: a subset of `std::os::fd` with the same signatures.
//!
//! # Safety
//!
//! This file is trusted to close a descriptor exactly once, when its owner is dropped.
#![allow(unsafe_code, reason = "the constructors from a number, as in std")]

use crate::sys::{nr, syscall1};
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

/// The number of a file descriptor.
pub type RawFd = i32;

/// An owned file descriptor, which is closed when this value is dropped.
///
/// Dropping ignores an error of `close`. Use [`io::close`](crate::io::close) if the error matters.
#[derive(Debug)]
#[repr(transparent)]
pub struct OwnedFd {
    fd: RawFd,
}

/// A file descriptor that another value owns and keeps open for `'fd`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct BorrowedFd<'fd> {
    fd: RawFd,
    owner: PhantomData<&'fd OwnedFd>,
}

/// A type that can lend a file descriptor.
pub trait AsFd {
    /// Borrows the file descriptor.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// A type that can return the number of its file descriptor.
pub trait AsRawFd {
    /// Returns the number.
    fn as_raw_fd(&self) -> RawFd;
}

/// A type that can release its file descriptor to the caller.
pub trait IntoRawFd {
    /// Releases the descriptor: the caller must now close it.
    fn into_raw_fd(self) -> RawFd;
}

/// A type that can be created from the number of a file descriptor.
pub trait FromRawFd {
    /// Takes ownership of the descriptor with this number.
    ///
    /// # Safety
    ///
    /// `fd` is open, and no other value owns it.
    unsafe fn from_raw_fd(fd: RawFd) -> Self;
}

impl BorrowedFd<'_> {
    /// Borrows the descriptor with this number.
    ///
    /// # Safety
    ///
    /// `fd` is not −1, is open, and stays open for as long as the returned value is used.
    #[must_use]
    pub const unsafe fn borrow_raw(fd: RawFd) -> Self {
        Self { fd, owner: PhantomData }
    }
}

impl Drop for OwnedFd {
    fn drop(&mut self) {
        // `close` releases the descriptor even if it returns an error, so it must not be retried: the
        // number may already belong to another owner.
        tell!(releases(&*self));
        #[expect(clippy::cast_sign_loss, reason = "descriptors are not negative")]
        let fd = self.fd as usize;
        // SAFETY: `close` touches no memory. `self` is the owner of the descriptor, which is not used after
        // this call.
        let _ = unsafe { syscall1(nr::CLOSE, fd) };
    }
}

impl AsFd for OwnedFd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd { fd: self.fd, owner: PhantomData }
    }
}

impl AsFd for BorrowedFd<'_> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        *self
    }
}

impl<T: AsFd + ?Sized> AsFd for &T {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        T::as_fd(self)
    }
}

impl<T: AsFd + ?Sized> AsFd for &mut T {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        T::as_fd(self)
    }
}

impl AsRawFd for OwnedFd {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl AsRawFd for BorrowedFd<'_> {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl AsRawFd for RawFd {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        *self
    }
}

impl IntoRawFd for OwnedFd {
    #[inline]
    fn into_raw_fd(self) -> RawFd {
        ManuallyDrop::new(self).fd
    }
}

impl FromRawFd for OwnedFd {
    #[inline]
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        Self { fd }
    }
}

impl fmt::Debug for BorrowedFd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowedFd").field("fd", &self.fd).finish()
    }
}
