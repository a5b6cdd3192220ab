//! Buffers for `readv` and `writev`. With feature `std`, the types are std's `IoSlice` and `IoSliceMut`.
//! Without that feature, the crate defines both types itself, with some of std's methods and the layout of
//! `struct iovec`.
//!
//! # Safety
//!
//! This file is trusted to create slices only from the pointer and length of a slice that was given to `new`.
//! The tail of such a slice is also permitted.
#![allow(unsafe_code, reason = "slices stored in the kernel's layout")]

#[cfg(feature = "std")]
pub use std::io::{IoSlice, IoSliceMut};

#[cfg(not(feature = "std"))]
pub use without_std::{IoSlice, IoSliceMut};

#[cfg(not(feature = "std"))]
mod without_std {
    use core::marker::PhantomData;
    use core::ops::{Deref, DerefMut};

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct IoVec {
        base: *mut u8,
        len: usize,
    }

    /// A buffer to write from, with the layout of `struct iovec`.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub struct IoSlice<'a> {
        vec: IoVec,
        lent: PhantomData<&'a [u8]>,
    }

    // SAFETY: an `IoSlice` stands for a `&[u8]`, which is `Send`.
    unsafe impl Send for IoSlice<'_> {}
    // SAFETY: an `IoSlice` stands for a `&[u8]`, which is `Sync`.
    unsafe impl Sync for IoSlice<'_> {}

    impl<'a> IoSlice<'a> {
        /// Creates a buffer to write from.
        #[must_use]
        pub fn new(buf: &'a [u8]) -> Self {
            let vec = IoVec { base: buf.as_ptr().cast_mut(), len: buf.len() };
            Self { vec, lent: PhantomData }
        }

        /// Removes the first `n` bytes from the buffer.
        ///
        /// # Panics
        ///
        /// Panics if the buffer has fewer than `n` bytes.
        pub fn advance(&mut self, n: usize) {
            assert!(n <= self.vec.len, "advancing an IoSlice beyond its length");
            self.vec.base = self.vec.base.wrapping_add(n);
            self.vec.len -= n;
        }

        /// Removes the first `n` bytes of the list of buffers, and every buffer that lies entirely within
        /// those bytes.
        ///
        /// # Panics
        ///
        /// Panics if the buffers together have fewer than `n` bytes.
        pub fn advance_slices(bufs: &mut &mut [Self], n: usize) {
            let mut left = n;
            let mut done = 0;
            for buf in bufs.iter() {
                match left.checked_sub(buf.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
                done += 1;
            }
            *bufs = &mut core::mem::take(bufs)[done..];
            match bufs.first_mut() {
                Some(first) => first.advance(left),
                None => assert!(left == 0, "advancing IoSlices beyond their length"),
            }
        }
    }

    impl Deref for IoSlice<'_> {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            // SAFETY: the pointer and the length belong to the slice given to `new`, or to its tail. The
            // slice is lent for `'a`.
            unsafe { core::slice::from_raw_parts(self.vec.base, self.vec.len) }
        }
    }

    impl core::fmt::Debug for IoSlice<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            core::fmt::Debug::fmt(&**self, f)
        }
    }

    /// A buffer to read into, with the layout of `struct iovec`.
    #[repr(transparent)]
    pub struct IoSliceMut<'a> {
        vec: IoVec,
        lent: PhantomData<&'a mut [u8]>,
    }

    // SAFETY: an `IoSliceMut` stands for a `&mut [u8]`, which is `Send`.
    unsafe impl Send for IoSliceMut<'_> {}
    // SAFETY: an `IoSliceMut` stands for a `&mut [u8]`, which is `Sync`.
    unsafe impl Sync for IoSliceMut<'_> {}

    impl<'a> IoSliceMut<'a> {
        /// Creates a buffer to read into.
        #[must_use]
        pub fn new(buf: &'a mut [u8]) -> Self {
            let vec = IoVec { base: buf.as_mut_ptr(), len: buf.len() };
            Self { vec, lent: PhantomData }
        }
    }

    impl Deref for IoSliceMut<'_> {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            // SAFETY: the pointer and the length belong to the slice given to `new`. The slice is lent for
            // `'a`.
            unsafe { core::slice::from_raw_parts(self.vec.base, self.vec.len) }
        }
    }

    impl DerefMut for IoSliceMut<'_> {
        fn deref_mut(&mut self) -> &mut [u8] {
            // SAFETY: as in `deref`, and the slice was lent exclusively.
            unsafe { core::slice::from_raw_parts_mut(self.vec.base, self.vec.len) }
        }
    }

    impl core::fmt::Debug for IoSliceMut<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            core::fmt::Debug::fmt(&**self, f)
        }
    }
}
