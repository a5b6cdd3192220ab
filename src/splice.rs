//! Moving and duplicating bytes inside the kernel, one call at a time. [`transfer`](crate::transfer)
//! has the loops.
//!
//! `splice`, `tee` and `vmsplice` hand pages over by reference where they can: bytes of a file that
//! were spliced into a pipe and not yet read may change when the file is written, and so may memory.
//!
//! # Safety
//!
//! This file is trusted with nothing of its own: [`vmsplice`] is unsafe to call, and says why.
#![allow(unsafe_code, reason = "vmsplice is unsafe to call, and this is the function")]

pub use crate::sys::abi::flags::SpliceFlags;

use crate::fd::AsFd;
use crate::io::IoSlice;
use crate::sys::call;
use crate::{PipeWriter, Result};

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
/// Between a pipe and a blocking socket, terminal or device the kernel holds the pipe's lock while it
/// waits for that other end, even with `NONBLOCK`. Meanwhile every process that reads or writes the pipe
/// sleeps where no signal reaches it, `SIGKILL` included: a silent peer decides for how long.
/// [`transfer`](crate::transfer) waits with a pipe of its own instead.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN): nothing to move, or no room, and told not to wait.
/// - [`EBADF`](crate::Errno::EBADF): an end is not open in the direction needed.
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran before anything moved.
/// - [`EINVAL`](crate::Errno::EINVAL): neither is a pipe; both are the same pipe; `to` is open for
///   appending; or the file system or device cannot do it.
/// - [`EPIPE`](crate::Errno::EPIPE): `to` is a pipe without a reader. The process also gets
///   `SIGPIPE`, unless [`without_sigpipe`](crate::io::without_sigpipe).
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

/// Moves up to `len` bytes from a file to any descriptor inside the kernel and returns how many; 0 is
/// end of file.
///
/// An offset says where to begin in the file and is moved on; the file's own position then stays. It
/// may move fewer bytes than asked; at most 2,147,479,552 (0x7ffff000), whatever `len`. (The system
/// call itself takes the target first.)
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN): `to` is nonblocking and there is no room.
/// - [`EBADF`](crate::Errno::EBADF): an end is not open in the direction needed.
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran before anything moved.
/// - [`EINVAL`](crate::Errno::EINVAL): `from` cannot be mapped, as a pipe or socket; or `to` is open
///   for appending.
/// - [`EPIPE`](crate::Errno::EPIPE): nobody is left to read `to`. The process also gets `SIGPIPE`,
///   unless [`without_sigpipe`](crate::io::without_sigpipe).
///
/// # Examples
///
/// ```
/// use rawpipe::splice::sendfile;
/// use std::fs::File;
///
/// let file = File::open("/proc/self/exe")?;
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut offset = 1;
/// assert_eq!(sendfile(&file, Some(&mut offset), &writer, 3)?, 3);
/// let mut magic = [0; 3];
/// reader.read_exact(&mut magic)?;
/// assert_eq!((&magic, offset), (b"ELF", 4));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [sendfile(2)](https://man7.org/linux/man-pages/man2/sendfile.2.html)
pub fn sendfile(
    from: impl AsFd,
    offset: Option<&mut u64>,
    to: impl AsFd,
    len: usize,
) -> Result<usize> {
    call::sendfile(to.as_fd(), from.as_fd(), offset, len)
}

/// Copies up to `len` bytes from one file to another inside the kernel, where the file system can by
/// sharing blocks, and returns how many; 0 is end of file.
///
/// An offset says where to begin and is moved on; that file's own position then stays. It may copy
/// fewer bytes than asked; at most 2,147,479,552 (0x7ffff000), whatever `len`. Files of procfs and the
/// like answer 0 though there is something to read.
///
/// # Errors
///
/// - [`EBADF`](crate::Errno::EBADF): an end is not open in the direction needed, or `to` is open for
///   appending.
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran before anything was copied.
/// - [`EINVAL`](crate::Errno::EINVAL): one is not a regular file, or the ranges are of one file and
///   overlap.
/// - [`EISDIR`](crate::Errno::EISDIR): one is a directory.
/// - [`ENOSPC`](crate::Errno::ENOSPC): the file system is full.
/// - [`EXDEV`](crate::Errno::EXDEV): the two file systems cannot do it together.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::splice::copy_file_range;
/// use std::fs::File;
///
/// let source = File::open("/proc/self/exe")?;
/// let (_reader, writer) = rawpipe::pipe()?;
/// // Only between files.
/// assert_eq!(copy_file_range(&source, None, &writer, None, 100), Err(Errno::EINVAL));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Since Linux 4.5, between file systems 5.3.
/// [copy_file_range(2)](https://man7.org/linux/man-pages/man2/copy_file_range.2.html)
pub fn copy_file_range(
    from: impl AsFd,
    from_offset: Option<&mut u64>,
    to: impl AsFd,
    to_offset: Option<&mut u64>,
    len: usize,
) -> Result<usize> {
    call::copy_file_range(from.as_fd(), from_offset, to.as_fd(), to_offset, len)
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
/// - [`EPIPE`](crate::Errno::EPIPE): `to` has no reader. The process also gets `SIGPIPE`,
///   unless [`without_sigpipe`](crate::io::without_sigpipe).
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

/// Puts the pages of `bufs` into a pipe **by reference**, without copying them, and returns how many
/// bytes the pipe took: as many as it had room for. Each page takes a slot of the pipe, however few
/// of its bytes are sent.
///
/// Waits until there is room for the first page, unless [`NONBLOCK`](SpliceFlags::NONBLOCK) is given.
/// **A nonblocking pipe waits, too**: only the flag counts. More than 1024 buffers are refused.
///
/// The kernel says nowhere when it has finished with a page: not when the pipe is empty, because the
/// reader may have spliced the page on. [`ChunkWriter`](crate::chunk::ChunkWriter) is the safe way to
/// do this, and copes with kernels that copy instead.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN): no room, and told not to wait.
/// - [`EBADF`](crate::Errno::EBADF): `writer` was made of a descriptor that is no pipe.
/// - [`EINTR`](crate::Errno::EINTR): a signal handler ran while it waited.
/// - [`EINVAL`](crate::Errno::EINVAL): more than 1024 buffers.
/// - [`ENOMEM`](crate::Errno::ENOMEM): the kernel has not enough memory.
/// - [`EPIPE`](crate::Errno::EPIPE): nobody is left to read. The process also gets `SIGPIPE`,
///   unless [`without_sigpipe`](crate::io::without_sigpipe).
///
/// # Safety
///
/// - From the call on the bytes of `bufs` do not change and their memory is not put to another use,
///   until nobody can have a reference to the page: for memory of an allocator or a stack that is
///   never. Memory that was mapped for the purpose may be unmapped at any time: the pipe keeps its
///   references. Else the reader finds what is written there later, be it of another stream or a
///   secret.
/// - If `writer` was made of another descriptor, that is not the *read* end of a pipe. On a read end
///   the same call copies from the pipe into `bufs`, which are only borrowed.
///
/// # Examples
///
/// ```
/// use rawpipe::io::IoSlice;
/// use rawpipe::splice::{SpliceFlags, vmsplice};
///
/// // A static that is not `mut` never changes.
/// static PAGE: [u8; 4096] = [b'y'; 4096];
///
/// let (reader, writer) = rawpipe::pipe()?;
/// // SAFETY: `PAGE` never changes and is never freed, and `writer` is a write end.
/// let sent = unsafe { vmsplice(&writer, &[IoSlice::new(&PAGE)], SpliceFlags::empty()) }?;
/// assert_eq!((sent, reader.available()?), (4096, 4096));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [vmsplice(2)](https://man7.org/linux/man-pages/man2/vmsplice.2.html)
pub unsafe fn vmsplice(
    writer: &PipeWriter,
    bufs: &[IoSlice<'_>],
    flags: SpliceFlags,
) -> Result<usize> {
    // SAFETY: passed on to the caller.
    unsafe { call::vmsplice(writer.as_fd(), bufs, flags.bits()) }
}
