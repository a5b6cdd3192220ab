//! The three standard streams: lending them, and putting other files in their places.
//!
//! # Safety
//!
//! This file is trusted to lend three numbers that no value owns, as std does.
#![allow(unsafe_code, reason = "descriptors by number")]

pub use crate::sys::abi::StdStream;

use super::set_close_on_exec;
use crate::errno::Result;
use crate::fd::{AsFd, AsRawFd, BorrowedFd};
use crate::sys::call;
use core::fmt;

impl fmt::Display for StdStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdin => "standard input",
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        })
    }
}

/// Lends the descriptor, as std's `Stdout` does. If the stream is closed, calls with it fail with `EBADF`.
impl AsFd for StdStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: no value owns the numbers 0 to 2, so borrowing one never outlives its owner.
        unsafe { BorrowedFd::borrow_raw(*self as i32) }
    }
}

/// Makes a standard stream of this process a duplicate of `fd`: the most common use of `dup2`. A program started
/// with `exec` inherits it.
///
/// The same call closes the old file at that number, atomically. Its other duplicates stay open:
/// [`dup_cloexec`](super::dup_cloexec) before and a second `redirect` afterwards restore the stream. If `fd` has the
/// number of the stream already, this clears close-on-exec.
///
/// Allocates nothing, so that a forked child can use it before it starts a program. Text in a buffer of
/// [`std::io::stdin`][stdin], `stdout` or C's stdio stays there: flush first, or it goes to the new file.
///
/// It is safe because no value owns the descriptors 0, 1 and 2: any code may borrow them at any time, as `println!` does,
/// and none may close them. From then on they all use the new file, as if the program had been started with it.
/// So does an [`OwnedFd`](crate::fd::OwnedFd) that was created from such a number.
///
/// [stdin]: https://doc.rust-lang.org/std/io/fn.stdin.html
///
/// # Errors
///
/// - [`EBADF`](crate::Errno::EBADF) if `RLIMIT_NOFILE` does not allow that number.
/// - [`EBUSY`](crate::Errno::EBUSY) if the stream is closed, and another thread is opening a file at its number.
///
/// # Examples
///
/// ```
/// use rawpipe::io::{self, StdStream};
/// use rawpipe::process::{self, Arg};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// // SAFETY: the child only makes system calls.
/// let child = unsafe {
///     process::fork_with(|| {
///         if io::redirect(&writer, StdStream::Stdout).is_err() {
///             return 1;
///         }
///         let argv = [Arg::new(c"echo"), Arg::new(c"redirected"), Arg::END];
///         let _ = process::execve(c"/bin/echo", &argv, &[Arg::END]);
///         2
///     })
/// };
/// drop(writer);
/// let mut output = Vec::new();
/// io::read_to_end(&reader, &mut output)?;
/// assert_eq!(output, b"redirected\n");
/// # assert!(child?.wait()?.success());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [dup3(2)](https://man7.org/linux/man-pages/man2/dup.2.html)
#[doc(alias("dup2", "freopen"))]
pub fn redirect(fd: impl AsFd, stream: StdStream) -> Result<()> {
    let fd = fd.as_fd();
    if fd.as_raw_fd() == stream as i32 {
        set_close_on_exec(fd, false)
    } else {
        call::dup_onto_standard(fd, stream)
    }
}
