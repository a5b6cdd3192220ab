//! Checks the kind, number, errno and source of [`Errno`] and of the errors that exact reads, exact writes,
//! messages and transfers return. Also checks which of these values a [`std::io::Error`] keeps.
#![cfg(all(feature = "std", feature = "message", feature = "transfer"))]

use rawpipe::io::Incomplete;
use rawpipe::message::MessageError;
use rawpipe::transfer::{TransferError, transfer};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind};

/// Returns the errno, the number and the kind of `$error`.
macro_rules! words {
    ($error:expr) => {
        ($error.errno(), $error.raw_os_error(), $error.kind())
    };
}

/// Checks a [`std::io::Error`] that wraps an error of this crate, and returns the wrapped error.
fn holds<E: Error + 'static>(io: &io::Error, errno: Option<Errno>) -> &E {
    assert_eq!((io.raw_os_error(), Errno::from_io_error(io)), (None, errno));
    let inner = io.get_ref().and_then(|inner| inner.downcast_ref::<E>()).expect("the whole error");
    assert_eq!(inner.source().and_then(|source| source.downcast_ref()), errno.as_ref());
    assert_eq!(io.to_string(), inner.to_string());
    inner
}

fn broken() -> (PipeReader, PipeWriter) {
    let (_, writer) = rawpipe::pipe().unwrap();
    let (reader, _) = rawpipe::pipe().unwrap();
    (reader, writer)
}

#[test]
fn errno_kinds_are_those_of_std() {
    for code in 1..134 {
        let errno = Errno::from_raw_os_error(code).unwrap();
        let io = io::Error::from(errno);
        assert_eq!((io.kind(), io.raw_os_error()), (errno.kind(), Some(code)));
        assert_eq!(io::Error::from_raw_os_error(code).kind(), errno.kind());
        assert!(io.get_ref().is_none());
    }
}

#[test]
fn incomplete_is_kept_in_an_io_error() {
    let (reader, writer) = broken();
    let error = writer.write_all(b"x").unwrap_err();
    let number = Errno::EPIPE.raw_os_error();
    assert_eq!(words!(error), (Some(Errno::EPIPE), Some(number), ErrorKind::BrokenPipe));
    let io = io::Error::from(error);
    assert_eq!(io.kind(), ErrorKind::BrokenPipe);
    assert_eq!(holds::<Incomplete>(&io, Some(Errno::EPIPE)), &error);
    let error = reader.read_exact(&mut [0]).unwrap_err();
    assert_eq!(words!(error), (None, None, ErrorKind::UnexpectedEof));
    let io = io::Error::from(error);
    assert_eq!(io.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(holds::<Incomplete>(&io, None).bytes(), 0);
}

#[test]
fn message_error_is_kept_or_is_the_system_s() {
    for (error, kind) in [
        (MessageError::TooLong(5), ErrorKind::InvalidData),
        (MessageError::BufferTooShort(5), ErrorKind::InvalidInput),
        (MessageError::Truncated, ErrorKind::UnexpectedEof),
        (MessageError::Torn, ErrorKind::BrokenPipe),
    ] {
        assert_eq!(words!(error), (None, None, kind));
        let io = io::Error::from(error);
        assert_eq!(io.kind(), kind);
        assert_eq!(holds::<MessageError>(&io, None), &error);
    }
    let error = MessageError::Io(Errno::EPIPE);
    let number = Some(Errno::EPIPE.raw_os_error());
    assert_eq!(words!(error), (Some(Errno::EPIPE), number, ErrorKind::BrokenPipe));
    let io = io::Error::from(error);
    assert_eq!((io.raw_os_error(), io.kind()), (number, ErrorKind::BrokenPipe));
    let error = MessageError::Stopped(Errno::EPIPE, 3);
    assert_eq!(words!(error), (Some(Errno::EPIPE), number, ErrorKind::BrokenPipe));
    assert_eq!(error.to_string(), format!("{} after 3 messages", Errno::EPIPE));
    let io = io::Error::from(error);
    assert_eq!((io.raw_os_error(), io.kind()), (None, ErrorKind::BrokenPipe));
    assert_eq!(holds::<MessageError>(&io, Some(Errno::EPIPE)), &error);
}

#[test]
fn transfer_error_is_kept_with_its_bytes() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"undelivered").unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = transfer(&reader, &full).unwrap_err();
    let number = Some(Errno::ENOSPC.raw_os_error());
    assert_eq!(words!(error), (Some(Errno::ENOSPC), number, ErrorKind::StorageFull));
    let held = error.undelivered();
    let io = io::Error::from(error);
    assert_eq!(io.kind(), ErrorKind::StorageFull);
    assert_eq!(holds::<TransferError>(&io, Some(Errno::ENOSPC)).undelivered(), held);
    let error = io.downcast::<TransferError>().unwrap();
    assert_eq!(error.bytes() + held as u64 + reader.available().unwrap() as u64, 11);
}

/// A custom error has no errno, and neither has a std error that consists only of a kind. If another error
/// wraps an error of this crate, the errno of the wrapped error is still found.
#[test]
fn errno_from_io_error_looks_into_what_it_holds() {
    assert_eq!(Errno::from_io_error(&io::Error::other("mine")), None);
    assert_eq!(Errno::from_io_error(&ErrorKind::BrokenPipe.into()), None);
    assert_eq!(Errno::from_io_error(&io::Error::other(Errno::EIO)), Some(Errno::EIO));
    let below = broken().1.write_all(b"x").unwrap_err();
    assert_eq!(Errno::from_io_error(&io::Error::other(below)), Some(Errno::EPIPE));
}
