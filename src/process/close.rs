//! Closes the descriptors that a child must not keep.
//!
//! # Safety
//!
//! This file is trusted to close only descriptors for which its caller takes responsibility.
#![allow(unsafe_code, reason = "closes descriptors by number")]

use super::Resource;
use crate::Result;
use crate::fd::{AsRawFd, BorrowedFd, RawFd};
use crate::sys::call;

/// Closes all descriptors except 0, 1, 2 and the descriptors in `keep`. This function is meant to be called
/// by a forked child before that child does other work or starts a program.
///
/// On Linux 5.9 and later, this function calls `close_range` once for each range of descriptor numbers that
/// contains no kept descriptor. Without `close_range`, this function makes one call for each number up to
/// `RLIMIT_NOFILE`, whether or not a descriptor with that number is open. The limit may be a million. Without
/// `close_range`, a descriptor stays open if its number is above a limit that was lowered after the
/// descriptor was opened.
///
/// # Errors
///
/// Only a filter of system calls can make this call fail. The filter either rejects `close_range` with an
/// error other than `ENOSYS`, `EPERM` or `EINVAL`, or rejects `prlimit64` while `close_range` is not
/// available. After such a failure, some descriptors may already be closed.
///
/// # Safety
///
/// This process must not use or close any of the closed descriptors later: no thread may drop or use a value
/// that owns a closed descriptor. A child of [`fork_with`](super::fork_with) meets this condition if `body`
/// uses only kept descriptors.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::AsFd;
/// use rawpipe::{Errno, process};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let body = || {
///     // SAFETY: afterwards, the child uses only a descriptor that it keeps, and drops none.
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
    // SAFETY: the caller upholds the same contract.
    unsafe { close_all_but(|| keep.iter().map(AsRawFd::as_raw_fd)) }
}

/// Closes descriptors as [`close_other_fds`] does, but keeps those descriptors whose numbers are returned by
/// the `kept` closure. These numbers may be in any order.
///
/// # Safety
///
/// The requirements of [`close_other_fds`] apply.
pub(super) unsafe fn close_all_but<I: Iterator<Item = RawFd>>(kept: impl Fn() -> I) -> Result<()> {
    let mut next = 3;
    loop {
        let end = kept().filter(|fd| *fd >= next).min().unwrap_or(RawFd::MAX);
        if next < end {
            // SAFETY: the caller upholds the same contract.
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
/// The requirements of [`close_other_fds`] apply.
unsafe fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: the caller upholds the same contract.
    match unsafe { call::close_range(first, last) } {
        // Linux before 5.9 lacks `close_range`, and a filter may reject it. In both cases, the loop closes
        // one descriptor at a time.
        Err(errno) if call::is_missing(errno) => {
            let limit = call::prlimit64_get_soft(Resource::NOFILE.as_raw())?;
            let end = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
            for fd in first..=last.min(end) {
                // SAFETY: the caller upholds the same contract. The descriptor need not be open.
                let _ = unsafe { call::close_raw(fd) };
            }
            Ok(())
        }
        result => result,
    }
}
