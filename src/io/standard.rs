//! Lends the three standard streams and redirects them to other files.
//!
//! # Safety
//!
//! This file is trusted to lend only the numbers 0, 1 and 2. By a convention that std follows too, no value
//! owns these numbers.
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

/// Lends the descriptor, as std's `Stdout` does. If the stream is closed, calls on the descriptor fail with
/// `EBADF`.
impl AsFd for StdStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: by convention, no value owns the numbers 0 to 2, so a borrow never outlives an owner.
        unsafe { BorrowedFd::borrow_raw(*self as i32) }
    }
}

/// Turns a standard stream of this process into a duplicate of `fd`, as `dup2` does. A program started with
/// `exec` inherits the stream.
///
/// The kernel closes the stream's old descriptor and replaces it in one atomic step. Other duplicates of the
/// old descriptor stay open. To be able to restore the stream, first duplicate it with
/// [`dup_cloexec`](super::dup_cloexec). Later, pass that duplicate to `redirect`. If `fd` already has the
/// number of the stream, this function clears close-on-exec.
///
/// The function allocates nothing, so a forked child can call it before it starts a program. Buffered text in
/// [`std::io::stdin`][stdin], `stdout` or C's stdio stays in its buffer. Flush buffered output first.
/// Otherwise, that output goes to the new file.
///
/// The call is safe because, by convention, no value owns the descriptors 0, 1 and 2. Any code may borrow
/// them at any time, as `println!` does, and no code may close them. After this call, all code uses the new
/// file, as if the program had been started with that file. An [`OwnedFd`](crate::fd::OwnedFd) that was
/// created from the number of the stream also uses the new file.
///
/// [stdin]: https://doc.rust-lang.org/std/io/fn.stdin.html
///
/// # Errors
///
/// - [`EBADF`](crate::Errno::EBADF) if `RLIMIT_NOFILE` does not allow the number of the stream.
/// - [`EBUSY`](crate::Errno::EBUSY) if the stream is closed, and another thread is opening a file at its
///   number.
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
