//! Waits for sets of descriptors with `select`, without a limit on the descriptors' numbers.

pub use crate::sys::abi::fd_set::FdSet;

use crate::errno::retry;
use crate::sys::abi::Timespec;
use crate::sys::call;
use crate::{Deadline, Errno, Result};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

/// Waits at most `timeout` (`None`: indefinitely) for a descriptor to be ready. Reduces each set to its ready
/// descriptors, and returns the total number of ready descriptors. A result of 0 means a timeout.
///
/// [`poll`](crate::event::poll()) waits for a list of descriptors instead of sets. For many descriptors, an
/// [`Epoll`](crate::event::Epoll) is faster than `select`, because the kernel keeps the list. Use `select` in
/// code that already has sets, such as a port of a C program, or of a Python program that calls
/// `select.select`.
///
/// A pipe's read end is ready to read when a read would not wait, including at end of file. A write end is
/// ready to write when a slot (one page) is free, or when no read end is open. Pipes have no exceptional
/// conditions. For a socket, urgent data is an exceptional condition.
///
/// A `timeout` of zero checks without waiting. A signal handler ends the wait. After an error other than
/// `EBADF`, the sets are unchanged.
///
/// # Errors
///
/// - [`EBADF`](Errno::EBADF) if a descriptor in a set is not open.
/// - [`EINTR`](Errno::EINTR) if a signal handler ran. [`select_deadline`] retries.
/// - [`ENOMEM`](Errno::ENOMEM) if the kernel does not have enough memory.
///
/// # Examples
///
/// ```
/// use rawpipe::event::{FdSet, select};
/// use std::time::Duration;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (mut read, mut write) = (FdSet::new(), FdSet::new());
/// read.insert(&reader);
/// write.insert(&writer);
/// assert_eq!(select(Some(&mut read), Some(&mut write), None, Some(Duration::ZERO))?, 1);
/// assert_eq!((read.len(), write.len()), (0, 1));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [select(2)](https://man7.org/linux/man-pages/man2/select.2.html)
#[doc(alias = "pselect")]
pub fn select(
    read: Option<&mut FdSet<'_>>,
    write: Option<&mut FdSet<'_>>,
    except: Option<&mut FdSet<'_>>,
    timeout: Option<Duration>,
) -> Result<usize> {
    select_words(
        &mut [words(read), words(write), words(except)],
        timeout.map(Timespec::from).as_mut(),
    )
}

/// Waits as [`select`] does, but only until `deadline`. Retries on `EINTR`.
///
/// # Errors
///
/// Fails as [`select`] does, but never with [`EINTR`](Errno::EINTR). Also fails with
///
/// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and no descriptor is
///   ready. The sets are then empty, as they are when the deadline has passed.
pub fn select_deadline(
    read: Option<&mut FdSet<'_>>,
    write: Option<&mut FdSet<'_>>,
    except: Option<&mut FdSet<'_>>,
    deadline: Deadline<'_>,
) -> Result<usize> {
    let wait = |read, write, except| {
        let mut sets = [read, words(write), words(except)];
        retry(|| select_words(&mut sets, Some(&mut deadline.remaining().into())))
    };
    let Some(cancel) = deadline.cancel else { return wait(words(read), write, except) };
    let (mut none, mut both) = (FdSet::new(), FdSet::new());
    let read = read.unwrap_or(&mut none);
    mem::swap(&mut both.words, &mut read.words);
    both.insert(cancel);
    let result = wait(Some(&mut both.words), write, except);
    let cancelled = result.is_ok() && both.contains(cancel);
    both.remove(cancel);
    mem::swap(&mut both.words, &mut read.words);
    cancel.caller_count(result?, cancelled)
}

fn words<'s>(set: Option<&'s mut FdSet<'_>>) -> Option<&'s mut Vec<usize>> {
    set.map(|set| &mut set.words)
}

fn select_words(
    sets: &mut [Option<&mut Vec<usize>>; 3],
    timeout: Option<&mut Timespec>,
) -> Result<usize> {
    // The kernel expects one length for all sets.
    let longest = sets.iter().flatten().map(|set| set.len()).max().unwrap_or(0);
    sets.iter_mut().flatten().for_each(|set| set.resize(longest, 0));
    let slices = sets.each_mut().map(|set| set.as_mut().map(|set| &mut set[..]));
    let count = call::pselect6(slices, timeout)?;
    // The kernel ignores numbers beyond the size of this process's descriptor table and leaves their bits
    // unchanged. The number of set bits then exceeds `count`.
    let bits = sets.iter().flatten().flat_map(|set| set.iter()).map(|word| word.count_ones());
    if bits.sum::<u32>() as usize == count { Ok(count) } else { Err(Errno::EBADF) }
}
