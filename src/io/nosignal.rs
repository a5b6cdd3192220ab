//! Writes without raising `SIGPIPE`.

use crate::errno::{Errno, Result};
use crate::fd::AsFd;
use crate::io::sigpipe::Guard;
use crate::sys::abi::iovec::IoSlice;
use crate::sys::{abi, call};
use core::sync::atomic::{AtomicBool, Ordering};

/// Writes as [`write()`](super::write) does, but raises no `SIGPIPE`. If the pipe has no reader, the only
/// effect is that the call fails with [`EPIPE`](Errno::EPIPE). `SIGPIPE` would kill a program that does not
/// ignore, block or handle the signal.
///
/// If the kernel supports the flag `RWF_NOSIGNAL` (since Linux 6.18), this function sets it. Otherwise the
/// function blocks the signal for this thread during the call (see
/// [`without_sigpipe`](crate::io::without_sigpipe)). Other threads are not affected.
///
/// # Errors
///
/// Fails as [`write()`](super::write) does, and with
///
/// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM), or another error that a filter returns, if the
///   filter rejects both methods. Nothing was written. See [`without_sigpipe`](crate::io::without_sigpipe).
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, io};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// assert_eq!(io::write_nosignal(&writer, b"there is a reader")?, 17);
/// drop(reader);
/// assert_eq!(io::write_nosignal(&writer, b"there is none"), Err(Errno::EPIPE));
/// # Ok::<(), Errno>(())
/// ```
///
/// [RWF_NOSIGNAL in pwritev2(2)](https://man7.org/linux/man-pages/man2/pwritev2.2.html)
#[doc(alias("RWF_NOSIGNAL", "MSG_NOSIGNAL"))]
pub fn write_nosignal(fd: impl AsFd, buf: &[u8]) -> Result<usize> {
    writev_nosignal(fd, &[IoSlice::new(buf)])
}

/// Writes as [`writev`](super::writev) does, but raises no `SIGPIPE`: see [`write_nosignal`].
///
/// # Errors
///
/// Fails as [`writev`](super::writev) and [`write_nosignal`] do.
pub fn writev_nosignal(fd: impl AsFd, bufs: &[IoSlice<'_>]) -> Result<usize> {
    /// Set after a write to a pipe has shown that the flag cannot be used. Files other than pipes may reject
    /// the flag even if the kernel supports it.
    static MISSING: AtomicBool = AtomicBool::new(false);

    let fd = fd.as_fd();
    if !MISSING.load(Ordering::Relaxed) {
        match call::pwritev2(fd, bufs, abi::RWF_NOSIGNAL) {
            // `EINVAL` may mean that there are too many buffers. In that case, `writev` below fails with the
            // same error.
            Err(Errno::EINVAL) => {}
            Err(errno) if call::is_unsupported(errno) => {
                MISSING.store(call::fcntl_getpipe_sz(fd).is_ok(), Ordering::Relaxed);
            }
            answer => return answer,
        }
    }
    let _guard = Guard::new()?;
    super::writev(fd, bufs)
}
