//! The calls that replace the program.
//!
//! These calls allocate no memory, take no lock and touch no thread-local storage. A forked child may
//! therefore make these calls, even if the child shares its parent's memory.
//!
//! # Safety
//!
//! This file is trusted to pass to the kernel only lists that end with a null pointer.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, lent};
use crate::errno::{Errno, Result, decode};
use crate::fd::BorrowedFd;
use crate::sys::abi::AT_EMPTY_PATH;
use crate::sys::abi::arg::Arg;
use crate::sys::arch::{nr, syscall3, syscall5};
use core::convert::Infallible;
use core::ffi::CStr;

/// Replaces the program. Returns only on failure. The error is `EINVAL` if a list does not end with
/// [`Arg::END`].
pub(crate) fn execve(path: &CStr, argv: &[Arg<'_>], envp: &[Arg<'_>]) -> Result<Infallible> {
    let (path, argv, envp) = (lent(path), list(argv)?, list(envp)?);
    // SAFETY: the kernel reads the path and the strings of the two lists. Each list ends with a null pointer.
    Err(failure(unsafe { syscall3(nr::EXECVE, path, argv, envp) }))
}

/// Replaces the program, as [`execve`] does. The path of the new program is relative to a directory.
pub(crate) fn execveat(
    folder: BorrowedFd<'_>,
    path: &CStr,
    argv: &[Arg<'_>],
    envp: &[Arg<'_>],
    flags: u32,
) -> Result<Infallible> {
    let (path, argv, envp) = (lent(path), list(argv)?, list(envp)?);
    // SAFETY: as in `execve`.
    let answer = unsafe { syscall5(nr::EXECVEAT, arg(folder), path, argv, envp, flags as usize) };
    Err(failure(answer))
}

/// Returns whether the kernel rejects any empty path with `ENOENT` before it checks the descriptor. The
/// descriptor used here is never open.
pub(crate) fn refuses_empty_path() -> bool {
    let nothing = [Arg::END];
    let (path, list) = (lent(c""), lent(&nothing));
    let flags = AT_EMPTY_PATH as usize;
    // SAFETY: the kernel reads the path, and a list that consists only of its end marker.
    failure(unsafe { syscall5(nr::EXECVEAT, usize::MAX, path, list, list, flags) }) == Errno::ENOENT
}

/// Returns the address of a list. Fails with `EINVAL` if the list does not end with [`Arg::END`].
fn list(strings: &[Arg<'_>]) -> Result<usize> {
    tell!(reads_strings(strings));
    match strings.last() {
        Some(last) if last.as_c_str().is_none() => Ok(lent(strings)),
        _ => Err(Errno::EINVAL),
    }
}

/// Returns the error of an exec call that has returned. A successful call does not return. A filter or an
/// emulator may return success without starting the program, and this function then returns `ENOSYS`.
fn failure(answer: isize) -> Errno {
    decode(answer).err().unwrap_or(Errno::ENOSYS)
}
