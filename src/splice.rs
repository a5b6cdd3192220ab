//! Moving and duplicating the contents of pipes inside the kernel, one call at a time.
//!
//! `splice` and `tee` hand pages over by reference where they can: bytes of a file that were spliced
//! into a pipe and not yet read may change when the file is written.

pub use crate::flags::SpliceFlags;

use crate::fd::AsFd;
use crate::{Result, call};

/// Moves up to `len` bytes from one descriptor to another, one of which must be a pipe, without
/// copying them through this process, and returns how many; 0 is end of file.
///
/// An offset given for a file says where to begin there and is moved on; the file's own position
/// then stays. A pipe takes no offset. It may move fewer bytes than asked; at most 2,147,479,552
/// (0x7ffff000), whatever `len`.
///
/// Waits for data and for room like a read and a write, unless
/// [`NONBLOCK`](SpliceFlags::NONBLOCK) is given (for the pipe side) or the other end is nonblocking.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN): nothing to move, or no room, and told not to wait.
/// - [`EBADF`](crate::Errno::EBADF): an end is not open in the direction needed.
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran before anything moved.
/// - [`EINVAL`](crate::Errno::EINVAL): neither is a pipe; both are the same pipe; `to` is open for
///   appending; or the file system or device cannot do it.
/// - [`EPIPE`](crate::Errno::EPIPE): `to` is a pipe without a reader. The process also gets
///   `SIGPIPE`, which kills it unless it is ignored, as it is in Rust programs with a `main`.
/// - [`ESPIPE`](crate::Errno::ESPIPE): an offset was given for a pipe.
///
/// # Examples
///
/// ```
/// use rawpipe::splice::{SpliceFlags, splice};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (next_reader, next_writer) = rawpipe::pipe()?;
/// writer.write(b"pass it on")?;
///
/// let moved = splice(&reader, None, &next_writer, None, usize::MAX, SpliceFlags::empty())?;
/// assert_eq!(moved, 10);
/// assert_eq!((reader.available()?, next_reader.available()?), (0, 10));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html)
pub fn splice(
    from: impl AsFd,
    from_offset: Option<&mut u64>,
    to: impl AsFd,
    to_offset: Option<&mut u64>,
    len: usize,
    flags: SpliceFlags,
) -> Result<usize> {
    call::splice(from.as_fd(), from_offset, to.as_fd(), to_offset, len, flags.bits())
}

/// Duplicates up to `len` bytes from one pipe to another and returns how many; 0 is end of file.
/// `from` keeps its bytes.
///
/// Two calls in a row duplicate the same bytes twice: consume what was duplicated in between. It may
/// duplicate fewer bytes than asked.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN): nothing to duplicate, or no room, and told not to wait.
/// - [`EBADF`](crate::Errno::EBADF): an end is not open in the direction needed.
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran while it waited.
/// - [`EINVAL`](crate::Errno::EINVAL): one is not a pipe, or both are the same pipe.
/// - [`EPIPE`](crate::Errno::EPIPE): `to` has no reader. The process also gets `SIGPIPE`, which kills
///   it unless it is ignored, as it is in Rust programs with a `main`.
///
/// # Examples
///
/// ```
/// use rawpipe::splice::{SpliceFlags, tee};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (copy_reader, copy_writer) = rawpipe::pipe()?;
/// writer.write(b"both")?;
///
/// assert_eq!(tee(&reader, &copy_writer, usize::MAX, SpliceFlags::empty())?, 4);
/// assert_eq!((reader.available()?, copy_reader.available()?), (4, 4));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [tee(2)](https://man7.org/linux/man-pages/man2/tee.2.html)
pub fn tee(from: impl AsFd, to: impl AsFd, len: usize, flags: SpliceFlags) -> Result<usize> {
    call::tee(from.as_fd(), to.as_fd(), len, flags.bits())
}
