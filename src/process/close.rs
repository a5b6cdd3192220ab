//! Closing the descriptors that a child must not have.
//!
//! # Safety
//!
//! This file is trusted to close only descriptors for which its caller takes responsibility.
#![allow(unsafe_code, reason = "closes descriptors by number")]

use super::Resource;
use crate::Result;
use crate::fd::{AsRawFd, BorrowedFd, RawFd};
use crate::sys::call;

/// Closes all descriptors except 0, 1, 2 and those to `keep`: for a forked child, before it continues or starts a
/// program.
///
/// Since Linux 5.9 this takes a few calls. Without `close_range` it makes one call for each number up to
/// `RLIMIT_NOFILE`, open or not, which may be a million.
///
/// # Errors
///
/// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel does not have enough memory. Some may be closed then.
///
/// # Safety
///
/// This process does not use or close any of the closed descriptors later: no thread drops or uses a value
/// that owns one. In a child of [`fork_with`](super::fork_with) that holds if the body uses only what it
/// keeps.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::AsFd;
/// use rawpipe::{Errno, process};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let body = || {
///     // SAFETY: the child uses one descriptor after that, which it keeps, and drops none.
///     let closed = unsafe { process::close_other_fds(&[writer.as_fd()]) };
///     u8::from(!(closed.is_ok() && rawpipe::write(&writer, b"kept") == Ok(4)))
/// };
/// // SAFETY: the child only makes system calls.
/// let mut child = unsafe { process::fork_with(body) }?;
/// assert!(child.wait()?.success());
/// assert_eq!(reader.available()?, 4);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [close_range(2)](https://man7.org/linux/man-pages/man2/close_range.2.html), since Linux 5.9
#[doc(alias("closefrom", "close_range"))]
pub unsafe fn close_other_fds(keep: &[BorrowedFd<'_>]) -> Result<()> {
    // SAFETY: passed on to the caller.
    unsafe { close_all_but(|| keep.iter().map(AsRawFd::as_raw_fd)) }
}

/// Closes as [`close_other_fds`], but takes numbers, in any order.
///
/// # Safety
///
/// As [`close_other_fds`].
pub(super) unsafe fn close_all_but<I: Iterator<Item = RawFd>>(kept: impl Fn() -> I) -> Result<()> {
    let mut next = 3;
    loop {
        let end = kept().filter(|fd| *fd >= next).min().unwrap_or(RawFd::MAX);
        if next < end {
            // SAFETY: passed on to the caller.
            unsafe { close_range(next, end - 1) }?;
        }
        if end == RawFd::MAX {
            return Ok(());
        }
        next = end + 1;
    }
}

/// Closes all descriptors from `first` to `last`.
///
/// # Safety
///
/// As [`close_other_fds`].
unsafe fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: passed on to the caller.
    match unsafe { call::close_range(first, last) } {
        // Before Linux 5.9, or rejected by a filter that does not have it in its list: one by one.
        Err(errno) if call::is_missing(errno) => {
            let limit = call::prlimit64_get_soft(Resource::NOFILE.as_raw())?;
            let end = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
            for fd in first..=last.min(end) {
                // SAFETY: passed on to the caller. It need not be open.
                let _ = unsafe { call::close_raw(fd) };
            }
            Ok(())
        }
        result => result,
    }
}
