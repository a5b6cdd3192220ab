//! Compiles the same code in two configurations: with feature `std`, against std's descriptor and slice
//! types, and without it, against this crate's types. These tests ensure that the crate's types stay a subset
//! of std's types.
//!
//! # Safety
//!
//! This file upholds no invariant. The numbers used here belong to descriptors that the tests have just
//! created.
#![allow(unsafe_code, reason = "constructors from a number")]

use super::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use crate::io::{IoSlice, IoSliceMut};
use crate::{Errno, io};

/// Returns the number of a descriptor. Accepts a value that lends the descriptor, or a reference to such a
/// value.
fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

#[test]
fn fd_types_lend_give_up_and_take_over() {
    let (reader, writer) = crate::pipe().unwrap();
    let mut reader = OwnedFd::from(reader);
    let fd: RawFd = reader.as_raw_fd();
    assert_eq!(number(&reader), fd);
    assert_eq!(number(&mut reader), fd);
    assert_eq!(number(reader.as_fd()), fd);
    assert_eq!(fd.as_raw_fd(), fd);
    {
        let lent: BorrowedFd<'_> = reader.as_fd();
        let again = lent;
        assert_eq!((lent.as_raw_fd(), again.as_fd().as_raw_fd()), (fd, fd));
        assert_eq!(std::format!("{lent:?}"), std::format!("BorrowedFd {{ fd: {fd} }}"));
    }
    assert_eq!(std::format!("{reader:?}"), std::format!("OwnedFd {{ fd: {fd} }}"));

    let released = reader.into_raw_fd();
    assert_eq!(released, fd);
    writer.write(b"still open").unwrap();
    // SAFETY: the number was just released, and no value owns it.
    let back = unsafe { OwnedFd::from_raw_fd(released) };
    // SAFETY: `back` keeps the descriptor open.
    let lent = unsafe { BorrowedFd::borrow_raw(released) };
    let mut text = [0; 10];
    assert_eq!(io::read(lent, &mut text), Ok(10));
    assert_eq!(number(back), fd);
}

#[test]
fn fd_drop_closes() {
    let (reader, writer) = crate::pipe().unwrap();
    let owned = OwnedFd::from(reader);
    // No other test of this binary creates a process, so no other process has a copy of the descriptor.
    drop(owned);
    assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
}

#[test]
fn fd_types_have_the_layout_of_a_c_int() {
    assert_eq!(size_of::<OwnedFd>(), size_of::<core::ffi::c_int>());
    assert_eq!(size_of::<BorrowedFd<'_>>(), size_of::<core::ffi::c_int>());
}

#[test]
fn io_slices_advance_over_buffers() {
    let mut bufs =
        [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"de"), IoSlice::new(b"f")];
    let mut rest = &mut bufs[..];
    IoSlice::advance_slices(&mut rest, 0);
    assert_eq!(rest.len(), 4);
    IoSlice::advance_slices(&mut rest, 1);
    assert_eq!((rest.len(), &*rest[0]), (4, &b"bc"[..]));
    IoSlice::advance_slices(&mut rest, 3);
    assert_eq!((rest.len(), &*rest[0]), (2, &b"e"[..]));
    rest[0].advance(1);
    assert!(rest[0].is_empty());
    IoSlice::advance_slices(&mut rest, 1);
    assert!(rest.is_empty());

    let mut bytes = *b"xyz";
    let mut buf = IoSliceMut::new(&mut bytes);
    buf[1] = b'Y';
    assert_eq!(std::format!("{buf:?} {:?}", IoSlice::new(b"a")), "[120, 89, 122] [97]");
    assert_eq!(size_of::<IoSlice<'_>>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<IoSliceMut<'_>>(), 2 * size_of::<usize>());
}

#[test]
#[should_panic(expected = "advanc")]
fn io_slices_advance_beyond_the_end_panics() {
    IoSlice::advance_slices(&mut &mut [IoSlice::new(b"abc")][..], 4);
}
