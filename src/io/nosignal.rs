//! Writing without `SIGPIPE`.

use crate::errno::{Errno, Result};
use crate::fd::AsFd;
use crate::io::sigpipe::Guard;
use crate::sys::abi::iovec::IoSlice;
use crate::sys::{abi, call};
use core::sync::atomic::{AtomicBool, Ordering};

/// Writes as [`write()`](super::write) does, without `SIGPIPE`. If no reader is left, it only fails with
/// [`EPIPE`](Errno::EPIPE); the signal would kill a program that does not ignore it.
///
/// It sets a flag of the call if the kernel has it (Linux 6.18), and otherwise blocks the signal for this
/// thread meanwhile ([`without_sigpipe`](crate::io::without_sigpipe)). Other threads are not affected.
///
/// # Errors
///
/// As [`write()`](super::write), and
///
/// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM), or another error of a filter
///   that rejects both ways; nothing was written. See
///   [`without_sigpipe`](crate::io::without_sigpipe).
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

/// Writes as [`writev`](super::writev) does, without `SIGPIPE`, as [`write_nosignal`].
///
/// # Errors
///
/// As [`writev`](super::writev) and [`write_nosignal`].
pub fn writev_nosignal(fd: impl AsFd, bufs: &[IoSlice<'_>]) -> Result<usize> {
    /// Whether the kernel lacks the flag. Files other than pipes may reject it although the kernel has it.
    static MISSING: AtomicBool = AtomicBool::new(false);

    let fd = fd.as_fd();
    if !MISSING.load(Ordering::Relaxed) {
        match call::pwritev2(fd, bufs, abi::RWF_NOSIGNAL) {
            // Also for too many buffers: the other call fails with the same error.
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
