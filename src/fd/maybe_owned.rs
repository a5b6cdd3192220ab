//! A descriptor that is owned or borrowed, for values that keep one of either kind.

use super::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use alloc::sync::Arc;
use core::fmt;

/// A descriptor that is owned, or borrowed for `'fd`.
///
/// It is made by `From`: from an owner of a descriptor, which it takes over, or from a reference to anything that
/// implements [`AsFd`]. Other owners convert by way of [`OwnedFd`].
///
/// A clone of an owned one shares it, without a system call. The last of them closes it.
///
/// Needs feature `alloc`, which `std` and `transfer` imply.
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
#[derive(Clone)]
pub struct MaybeOwnedFd<'fd>(Kind<'fd>);

#[derive(Clone)]
enum Kind<'fd> {
    Owned(Arc<OwnedFd>),
    Borrowed(BorrowedFd<'fd>),
    #[cfg(feature = "std")]
    Stdout(Arc<std::io::Stdout>),
    #[cfg(feature = "std")]
    Stderr(Arc<std::io::Stderr>),
}

impl AsFd for MaybeOwnedFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Owned(fd) => fd.as_ref().as_fd(),
            Kind::Borrowed(fd) => *fd,
            #[cfg(feature = "std")]
            Kind::Stdout(stdout) => stdout.as_ref().as_fd(),
            #[cfg(feature = "std")]
            Kind::Stderr(stderr) => stderr.as_ref().as_fd(),
        }
    }
}

/// The number, and whether it is owned.
impl fmt::Debug for MaybeOwnedFd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owned = matches!(self.0, Kind::Owned(_));
        let fd = self.as_fd().as_raw_fd();
        f.debug_struct("MaybeOwnedFd").field("fd", &fd).field("owned", &owned).finish()
    }
}

impl<'fd, F: AsFd + ?Sized> From<&'fd F> for MaybeOwnedFd<'fd> {
    fn from(fd: &'fd F) -> Self {
        Self(Kind::Borrowed(fd.as_fd()))
    }
}

impl<'fd> From<BorrowedFd<'fd>> for MaybeOwnedFd<'fd> {
    fn from(fd: BorrowedFd<'fd>) -> Self {
        Self(Kind::Borrowed(fd))
    }
}

impl From<OwnedFd> for MaybeOwnedFd<'_> {
    fn from(fd: OwnedFd) -> Self {
        Self(Kind::Owned(Arc::new(fd)))
    }
}

#[cfg(feature = "std")]
mod with_std {
    use super::{Arc, Kind, MaybeOwnedFd, OwnedFd};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::process::{ChildStderr, ChildStdin, ChildStdout};
    use std::{fs::File, io, net};

    macro_rules! owners {
        ($($Owner:ty)*) => {$(
            impl From<$Owner> for MaybeOwnedFd<'_> {
                fn from(owner: $Owner) -> Self {
                    OwnedFd::from(owner).into()
                }
            }
        )*};
    }
    owners! { File ChildStdin ChildStdout ChildStderr UnixStream UnixDatagram UnixListener }
    owners! { net::TcpStream net::TcpListener net::UdpSocket }

    /// That of this process. Nothing is closed.
    impl From<io::Stdout> for MaybeOwnedFd<'_> {
        fn from(stdout: io::Stdout) -> Self {
            Self(Kind::Stdout(Arc::new(stdout)))
        }
    }

    /// That of this process. Nothing is closed.
    impl From<io::Stderr> for MaybeOwnedFd<'_> {
        fn from(stderr: io::Stderr) -> Self {
            Self(Kind::Stderr(Arc::new(stderr)))
        }
    }
}
