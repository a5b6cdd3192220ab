//! Reading to the end of file into a `Vec`, which grows.

use crate::Errno;
use crate::errno::retry;
use crate::fd::{AsFd, BorrowedFd};
use crate::sys::abi::PIPE_BUF;
use crate::sys::call;
use alloc::vec::Vec;

/// Reads until end of file, appends to `buf`, and returns the number of bytes appended. Retries on `EINTR`.
///
/// A pipe reaches end of file when every write end is closed. The caller's own copies must be dropped
/// first, or the call waits forever.
///
/// `buf` grows in steps, to somewhat more than twice its length. If it grows to 2 MiB or more, huge pages are advised
/// for it (`MADV_HUGEPAGE`).
///
/// # Errors
///
/// As [`read`](super::read) but for [`EINTR`](Errno::EINTR), and [`ENOMEM`](Errno::ENOMEM) if `buf` cannot
/// grow. The bytes read before the error are in `buf`.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// rawpipe::write(&writer, b"all of it")?;
/// drop(writer); // or the next line would wait forever
///
/// let mut buf = Vec::new();
/// assert_eq!(rawpipe::io::read_to_end(&reader, &mut buf)?, 9);
/// assert_eq!(buf, b"all of it");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
pub fn read_to_end(fd: impl AsFd, buf: &mut Vec<u8>) -> crate::Result<usize> {
    let (fd, before, mut last) = (fd.as_fd(), buf.len(), 0);
    while retry(|| read_more(fd, buf, 8192, usize::MAX, &mut last))? > 0 {}
    Ok(buf.len() - before)
}

/// What a pipe holds by default, in bytes.
const PIPE: usize = 64 << 10;

/// The capacity in bytes from which on a buffer is worth huge pages: the kernel takes longer to allocate 512
/// small ones than to copy the bytes that go there.
const LARGE: usize = 2 << 20;

/// Reads at most `most` bytes with one call, appends them to `buf`, and sets `last` to their number, which is
/// passed to the next call and is 0 at first. Grows `buf` by `first` bytes at first, and then to more than twice
/// its length, if it lacks room.
pub(crate) fn read_more(
    fd: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
    first: usize,
    most: usize,
    last: &mut usize,
) -> crate::Result<usize> {
    // With less room the end of a packet would be lost.
    if buf.capacity() - buf.len() < PIPE_BUF.min(most) {
        // A pipe more than twice the length: an output of a common length, such as a power of two, does not fill
        // its buffer, which would grow once more only to find the end.
        let more = if *last == 0 { first } else { buf.len() + PIPE + PIPE_BUF };
        buf.try_reserve(more.min(most)).map_err(|_| Errno::ENOMEM)?;
        if buf.capacity() >= LARGE {
            call::madvise_hugepage(buf);
        }
    }
    // The kernel would allocate the pages of `buf` while it has the pipe locked, and the writer would wait. So
    // they are touched here, for as much as came last time, but few: it may be the end that comes.
    let next = most.min(*last).min(buf.len() / 32);
    let next = buf.spare_capacity_mut().iter_mut().take(next);
    next.step_by(4096).for_each(|byte| _ = byte.write(0));
    *last = call::read_spare(fd, buf, most)?;
    Ok(*last)
}
