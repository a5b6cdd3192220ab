//! The system calls of `epoll`.
//!
//! # Safety
//!
//! This file is trusted to let the kernel touch only memory that was lent for a call. The file is also
//! trusted to create exactly one owner for each new descriptor.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, is_missing, lent, lent_mut, owned};
use crate::errno::{Result, decode};
use crate::fd::{BorrowedFd, OwnedFd};
use crate::sys::abi::{self, Event, Timespec};
use crate::sys::arch::{nr, syscall1, syscall4, syscall6};

/// Creates a close-on-exec epoll descriptor.
#[inline]
pub(crate) fn epoll_create1() -> Result<OwnedFd> {
    // SAFETY: this call touches no memory.
    let answer = decode(unsafe { syscall1(nr::EPOLL_CREATE1, abi::O_CLOEXEC as usize) })?;
    // SAFETY: `epoll_create1` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Adds a descriptor to an epoll instance, changes the events to wait for, or removes the descriptor. A
/// removal needs no event.
#[inline]
pub(crate) fn epoll_ctl(
    epoll: BorrowedFd<'_>,
    operation: usize,
    fd: BorrowedFd<'_>,
    event: Option<&Event>,
) -> Result<()> {
    let event = event.map_or(0, lent);
    tell!(releases_any());
    // SAFETY: the kernel reads one `epoll_event` at the given address. The kernel treats the token in the
    // event as a number, not as an address.
    decode(unsafe { syscall4(nr::EPOLL_CTL, arg(epoll), operation, arg(fd), event) }).map(drop)
}

/// Waits for events, and returns the number of events stored at the start of `buf`.
#[inline]
pub(crate) fn epoll_pwait(
    epoll: BorrowedFd<'_>,
    buf: &mut [Event],
    timeout: Option<&Timespec>,
) -> Result<usize> {
    // The kernel reads the length as a C int, and rejects lengths above a limit.
    let len = buf.len().min(1 << 20);
    let place = lent_mut(buf);
    let ms = timeout.map_or(INFINITE, milliseconds);
    // For a timeout of whole milliseconds, this function calls `epoll_pwait`. The alternative,
    // `epoll_pwait2`, reads a `timespec` and takes 25 % longer.
    let finer = timeout.filter(|time| ms == INFINITE || time.tv_nsec % 1_000_000 != 0);
    if let Some(time) = finer.map(lent) {
        // SAFETY: the kernel writes at most `len` events into `buf`, which is lent exclusively. The kernel
        // also reads one `timespec` with 64-bit members.
        match decode(unsafe { syscall6(nr::EPOLL_PWAIT2, arg(epoll), place, len, time, 0, 0) }) {
            // Linux before 5.11 lacks the call, or a filter rejects it. An argument that is invalid for this
            // call is also invalid for `epoll_pwait`, which then returns the error.
            Err(errno) if is_missing(errno) => {}
            answer => return answer.inspect(|_| tell!(acquired_any())),
        }
    }
    // SAFETY: as above, and the timeout is a number.
    decode(unsafe { syscall6(nr::EPOLL_PWAIT, arg(epoll), place, len, ms, 0, 0) })
        .inspect(|_| tell!(acquired_any()))
}

/// The timeout value for a wait without a time limit.
const INFINITE: usize = usize::MAX;

/// Converts a timeout to milliseconds, rounded up so that no wait is too short. A timeout that does not fit
/// into a C int (more than 24.8 days) becomes [`INFINITE`].
fn milliseconds(time: &Timespec) -> usize {
    let seconds = time.tv_sec.checked_mul(1000);
    let all = seconds.and_then(|ms| ms.checked_add((time.tv_nsec + 999_999) / 1_000_000));
    all.and_then(|ms| i32::try_from(ms).ok())
        .and_then(|ms| usize::try_from(ms).ok())
        .unwrap_or(INFINITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_timeout_is_rounded_up_and_never_wrapped() {
        let ms = |tv_sec, tv_nsec| milliseconds(&Timespec { tv_sec, tv_nsec });
        assert_eq!((ms(0, 0), ms(0, 1), ms(0, 1_000_000)), (0, 1, 1));
        assert_eq!((ms(1, 1), ms(0, 999_999_999)), (1001, 1000));
        assert_eq!(ms(2_147_483, 647_000_000), 2_147_483_647);
        assert_eq!(ms(2_147_483, 648_000_000), INFINITE);
        assert_eq!((ms(1 << 40, 0), ms(i64::MAX, 999_999_999)), (INFINITE, INFINITE));
    }
}
