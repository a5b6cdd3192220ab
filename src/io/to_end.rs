//! Reads until end of file into a growing `Vec`.

use crate::Errno;
use crate::errno::retry;
use crate::fd::{AsFd, BorrowedFd};
use crate::sys::abi::PIPE_BUF;
use crate::sys::call;
use alloc::vec::Vec;

/// Reads until end of file, appends the bytes to `buf`, and returns the number of bytes appended. Retries on
/// `EINTR`.
///
/// A pipe reaches end of file when every write end is closed. Drop this process's own write ends first.
/// Otherwise, the call waits indefinitely.
///
/// If `buf` has room for less than 4 KiB, the first read makes room for at least 8 KiB. Later reads grow such
/// a `buf` to more than twice its length. If `buf` grows to 2 MiB or more, this function requests huge pages
/// for it (`MADV_HUGEPAGE`).
///
/// # Errors
///
/// Fails as [`read`](super::read) does, but never with [`EINTR`](Errno::EINTR). Also fails with
/// [`ENOMEM`](Errno::ENOMEM) if `buf` cannot grow. The bytes read before the error are in `buf`.
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

/// The default capacity of a pipe in bytes.
const PIPE: usize = 64 << 10;

/// The smallest capacity in bytes for which huge pages are requested. The kernel needs longer to allocate 512
/// small pages than to copy 2 MiB into them.
const LARGE: usize = 2 << 20;

/// Reads at most `most` bytes with one call, appends them to `buf`, and sets `last` to the number of bytes
/// read. The caller sets `last` to 0 before the first call and passes its value unchanged to later calls. If
/// `buf` lacks room, the first call makes room for `first` bytes, and later calls grow `buf` to more than
/// twice its length. Each call requests room for at most `most` bytes.
pub(crate) fn read_more(
    fd: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
    first: usize,
    most: usize,
    last: &mut usize,
) -> crate::Result<usize> {
    // With room for fewer bytes, the end of a packet could be lost.
    if buf.capacity() - buf.len() < PIPE_BUF.min(most) {
        // The new capacity is at least the sum of twice the length, the capacity of a pipe, and `PIPE_BUF`.
        // With this capacity, an output whose length is a power of two does not fill `buf`. A full `buf`
        // would have to grow again only to detect end of file.
        let more = if *last == 0 { first } else { buf.len() + PIPE + PIPE_BUF };
        buf.try_reserve(more.min(most)).map_err(|_| Errno::ENOMEM)?;
        if buf.capacity() >= LARGE {
            call::madvise_hugepage(buf);
        }
    }
    // This code touches unused pages of `buf`, as many as the last read has filled. The kernel would
    // otherwise allocate these pages while it holds the pipe's lock, and the writer would wait. The number of
    // pages is limited, because the next read may find only end of file.
    let next = most.min(*last).min(buf.len() / 32);
    let next = buf.spare_capacity_mut().iter_mut().take(next);
    next.step_by(4096).for_each(|byte| _ = byte.write(0));
    *last = call::read_spare(fd, buf, most)?;
    Ok(*last)
}
