//! Defines a descriptor that is either owned or borrowed.

use super::{AsFd, BorrowedFd, OwnedFd};
use alloc::sync::Arc;
use core::fmt::Debug;
use core::panic::{RefUnwindSafe, UnwindSafe};
#[cfg(feature = "std")]
use std::{fs::File, io, net, os::unix::net as unix, process};

/// A descriptor that is owned, or borrowed for `'fd`.
///
/// `From` either consumes the owner of a descriptor, or borrows a descriptor from a reference to any type
/// that implements [`AsFd`]. If an owner has no conversion to `MaybeOwnedFd`, convert it to [`OwnedFd`]
/// first. Dropping a `MaybeOwnedFd` for [`Stdout`](std::io::Stdout) or [`Stderr`](std::io::Stderr) does not
/// close the stream.
///
/// A clone of an owned descriptor shares that descriptor, and cloning makes no system call. Dropping the last
/// clone closes the descriptor.
///
/// This type needs feature `alloc`, which `std` and `transfer` imply.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::{AsFd, AsRawFd, MaybeOwnedFd};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let borrowed = MaybeOwnedFd::from(&writer);
/// assert_eq!(borrowed.as_fd().as_raw_fd(), writer.as_fd().as_raw_fd());
///
/// let owned = MaybeOwnedFd::from(writer);
/// let shared = owned.clone();
/// drop(owned);
/// rawpipe::write(&shared, b"still open")?;
/// drop(shared);
/// let mut text = Vec::new();
/// assert_eq!(reader.read_to_end(&mut text)?, 10);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaybeOwnedFd<'fd>(Kind<'fd>);

#[derive(Clone, Debug)]
enum Kind<'fd> {
    Owned(Arc<dyn Owner>),
    Borrowed(BorrowedFd<'fd>),
}

/// A type that owns a descriptor, and whose values a `MaybeOwnedFd` can store. Each implementing type keeps
/// the same descriptor for its whole lifetime.
trait Owner: AsFd + Debug + Send + Sync + UnwindSafe + RefUnwindSafe {}

impl AsFd for MaybeOwnedFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Owned(owner) => owner.as_fd(),
            Kind::Borrowed(fd) => *fd,
        }
    }
}

impl<'fd, F: AsFd + ?Sized> From<&'fd F> for MaybeOwnedFd<'fd> {
    fn from(fd: &'fd F) -> Self {
        fd.as_fd().into()
    }
}

impl<'fd> From<BorrowedFd<'fd>> for MaybeOwnedFd<'fd> {
    fn from(fd: BorrowedFd<'fd>) -> Self {
        Self(Kind::Borrowed(fd))
    }
}

macro_rules! owners {
    ($($Owner:ty)*) => {$(
        impl Owner for $Owner {}
        impl From<$Owner> for MaybeOwnedFd<'_> {
            fn from(owner: $Owner) -> Self {
                Self(Kind::Owned(Arc::new(owner)))
            }
        }
    )*};
}
owners! { OwnedFd }
#[cfg(feature = "std")]
owners! { File io::Stdout io::Stderr process::ChildStdin process::ChildStdout process::ChildStderr }
#[cfg(feature = "std")]
owners! { unix::UnixStream unix::UnixDatagram unix::UnixListener }
#[cfg(feature = "std")]
owners! { net::TcpStream net::TcpListener net::UdpSocket }
