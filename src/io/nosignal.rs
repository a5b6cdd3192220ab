//! Writing without `SIGPIPE`.

use crate::errno::{Errno, Result};
use crate::fd::AsFd;
use crate::io::sigpipe::Guard;
use crate::sys::abi::iovec::IoSlice;
use crate::sys::{abi, call};
use core::sync::atomic::{AtomicBool, Ordering};

/// As [`write()`](super::write), and when nobody is left to read the answer is
/// [`EPIPE`](Errno::EPIPE) and nothing else: no `SIGPIPE`, which would kill a program that does not
/// ignore it.
///
/// By a flag of the call where the kernel has it (Linux 6.18), else by blocking the signal for this
/// thread meanwhile ([`without_sigpipe`](crate::io::without_sigpipe)). Nothing that other threads can notice changes.
///
/// # Errors
///
/// As [`write()`](super::write), and
///
/// - [`ENOSYS`](Errno::ENOSYS), [`EPERM`](Errno::EPERM), or another error that a filter returns: it
///   rejects both ways, and nothing was written. See
///   [`without_sigpipe`](crate::io::without_sigpipe).
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, io};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// assert_eq!(io::write_nosignal(&writer, b"read by somebody")?, 16);
/// drop(reader);
/// assert_eq!(io::write_nosignal(&writer, b"by nobody"), Err(Errno::EPIPE));
/// # Ok::<(), Errno>(())
/// ```
///
/// [RWF_NOSIGNAL in pwritev2(2)](https://man7.org/linux/man-pages/man2/pwritev2.2.html)
#[doc(alias("RWF_NOSIGNAL", "MSG_NOSIGNAL"))]
pub fn write_nosignal(fd: impl AsFd, buf: &[u8]) -> Result<usize> {
    writev_nosignal(fd, &[IoSlice::new(buf)])
}

/// As [`writev`](super::writev), without `SIGPIPE`, as [`write_nosignal`].
///
/// # Errors
///
/// As [`writev`](super::writev) and [`write_nosignal`].
pub fn writev_nosignal(fd: impl AsFd, bufs: &[IoSlice<'_>]) -> Result<usize> {
    /// That the kernel does not have the flag. Files may refuse it that are not pipes.
    static MISSING: AtomicBool = AtomicBool::new(false);

    let fd = fd.as_fd();
    if !MISSING.load(Ordering::Relaxed) {
        match call::pwritev2(fd, bufs, abi::RWF_NOSIGNAL) {
            // Also too many buffers, of which the other call says the same.
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
