//! The calls `ppoll`, `pselect6` and `eventfd2`, and the clock for deadlines.
//!
//! # Safety
//!
//! This file is trusted to let the kernel touch only memory that was lent for a call. The file is also
//! trusted to create exactly one owner for each new descriptor.
#![allow(unsafe_code, reason = "system calls")]

use super::{lent_mut, owned};
use crate::errno::{Result, decode};
use crate::fd::OwnedFd;
use crate::sys::abi::{self, Timespec, poll_fd::PollFd};
use crate::sys::arch::{nr, syscall2, syscall5, syscall6};

/// Returns the time of `CLOCK_MONOTONIC`.
#[inline]
pub(crate) fn clock_gettime() -> Result<Timespec> {
    let mut time = Timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `clock_gettime` writes one `timespec` to the given address.
    decode(unsafe { syscall2(nr::CLOCK_GETTIME, abi::CLOCK_MONOTONIC, lent_mut(&mut time)) })?;
    Ok(time)
}

#[inline]
pub(crate) fn eventfd2(count: u32, flags: u32) -> Result<OwnedFd> {
    // SAFETY: this call touches no memory.
    let answer = decode(unsafe { syscall2(nr::EVENTFD2, count as usize, flags as usize) })?;
    // SAFETY: `eventfd2` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Waits for the descriptors of `fds`, without a signal mask, and returns the number of ready descriptors.
/// The kernel writes the remaining time to `timeout`.
#[inline]
pub(crate) fn ppoll(fds: &mut [PollFd<'_>], timeout: Option<&mut Timespec>) -> Result<usize> {
    let (count, list, timeout) = (fds.len(), lent_mut(fds), timeout.map_or(0, lent_mut));
    // SAFETY: the kernel reads the entries of the list, and writes their `revents` and the timeout. All are
    // lent exclusively.
    decode(unsafe { syscall5(nr::PPOLL, list, count, timeout, 0, 0) })
        .inspect(|_| tell!(acquired_any()))
}

/// Waits for the descriptors of the read, write and exception sets, without a signal mask. The kernel writes
/// the remaining time to `timeout`. On success, the kernel writes the ready descriptors to the sets.
#[inline]
pub(crate) fn pselect6(
    sets: [Option<&mut [usize]>; 3],
    timeout: Option<&mut Timespec>,
) -> Result<usize> {
    // The call passes the length of the shortest set. The kernel does not read beyond the highest descriptor
    // number that is possible in this process.
    let words = sets.iter().flatten().map(|set| set.len()).min().unwrap_or(0);
    let [read, write, except] = sets.map(|set| set.map_or(0, lent_mut));
    let count = words * usize::BITS as usize;
    let timeout = timeout.map_or(0, lent_mut);
    // SAFETY: the kernel reads and writes the timeout and, in each set, as many words as the shortest set
    // has. All are lent exclusively.
    decode(unsafe { syscall6(nr::PSELECT6, count, read, write, except, timeout, 0) })
        .inspect(|_| tell!(acquired_any()))
}
