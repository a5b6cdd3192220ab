//! Moves, copies and duplicates bytes inside the kernel, one call at a time. [`transfer`](crate::transfer)
//! moves whole streams by repeating such calls.
//!
//! `splice`, `tee` and `vmsplice` pass pages by reference where possible. Unread bytes in a pipe may
//! therefore change if the file or memory from which they were taken is modified.
//!
//! # Safety
//!
//! This file upholds no invariant. [`vmsplice`] is unsafe to call, and its documentation states the contract.
#![allow(unsafe_code, reason = "vmsplice is unsafe to call, and this is the function")]

pub use crate::sys::abi::flags::SpliceFlags;

use crate::fd::AsFd;
use crate::io::IoSlice;
use crate::sys::call;
use crate::{PipeWriter, Result};

/// Moves up to `len` bytes from one descriptor to another and returns the number of bytes moved. A result of
/// 0 means end of file. At least one of the two descriptors must be a pipe. The bytes do not pass through the
/// memory of this process.
///
/// If an offset is given, the call begins at that position in the file and advances the offset, but does not
/// change the file's own position. A pipe accepts no offset. The call may move fewer bytes than `len`, and
/// moves at most 2,147,479,552 bytes (0x7ffff000).
///
/// The call waits for data as a read does, and for room as a write does. If
/// [`NONBLOCK`](SpliceFlags::NONBLOCK) is given, the call does not wait for the pipe. If the other end is
/// nonblocking, the call does not wait for that end.
///
/// If the other end is a blocking socket, terminal or device, the kernel waits for that end while holding the
/// pipe's lock, even with `NONBLOCK`. Until the other end is ready, every process that reads or writes the
/// pipe sleeps uninterruptibly: no signal wakes that process, not even `SIGKILL`.
/// [`transfer`](crate::transfer) avoids this effect by using a private pipe for such a wait.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if no data or no room is available, and the call must not wait.
/// - [`EBADF`](crate::Errno::EBADF) if a descriptor is not open in the required direction.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran before any byte was moved.
/// - [`EINVAL`](crate::Errno::EINVAL) if neither end is a pipe, if both ends belong to the same pipe, or if
///   `to` is open for appending. This error also occurs if a file system or device does not support the call.
/// - [`EPIPE`](crate::Errno::EPIPE) if `to` is a pipe without a reader. The process also receives `SIGPIPE`,
///   unless [`without_sigpipe`](crate::io::without_sigpipe) is used.
/// - [`ESPIPE`](crate::Errno::ESPIPE) if an offset was given for a pipe.
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

/// Copies up to `len` bytes inside the kernel, from a file to any descriptor, and returns the number of bytes
/// copied. A result of 0 means end of file.
///
/// If an offset is given, the call begins at that position in the file and advances the offset, but does not
/// change the file's own position. The call may copy fewer bytes than `len`, and copies at most 2,147,479,552
/// bytes (0x7ffff000). Unlike the system call, this function expects the source first.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if `to` is nonblocking and has no room.
/// - [`EBADF`](crate::Errno::EBADF) if a descriptor is not open in the required direction.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran before any byte was copied.
/// - [`EINVAL`](crate::Errno::EINVAL) if `from` cannot be mapped (for example, a pipe or a socket), or if
///   `to` is open for appending.
/// - [`EPIPE`](crate::Errno::EPIPE) if `to` is a pipe or socket without a reader. The process also receives
///   `SIGPIPE`, unless [`without_sigpipe`](crate::io::without_sigpipe) is used.
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

/// Copies up to `len` bytes inside the kernel, from one file to another, and returns the number of bytes
/// copied. A result of 0 means end of file. The copy may share blocks with the source if the file system
/// supports shared blocks.
///
/// If an offset is given, the call begins at that position in the file and advances the offset, but does not
/// change the file's own position. The call may copy fewer bytes than `len`, and copies at most 2,147,479,552
/// bytes (0x7ffff000). For files of procfs and similar file systems, the call may return 0 even if the file
/// has contents.
///
/// # Errors
///
/// - [`EBADF`](crate::Errno::EBADF) if a descriptor is not open in the required direction, or `to` is open
///   for appending.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran before any byte was copied.
/// - [`EINVAL`](crate::Errno::EINVAL) if either descriptor is not a regular file, or the two ranges overlap
///   in the same file.
/// - [`EISDIR`](crate::Errno::EISDIR) if either descriptor is a directory.
/// - [`ENOSPC`](crate::Errno::ENOSPC) if the file system is full.
/// - [`EXDEV`](crate::Errno::EXDEV) if the kernel does not support a copy between the two file systems.
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
/// This call has existed since Linux 4.5, and has worked between file systems since Linux 5.3. Since Linux
/// 5.19, both file systems must be of the same type and must support such a copy.
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

/// Duplicates up to `len` bytes from one pipe to another and returns the number of bytes duplicated. A result
/// of 0 means end of file. `from` keeps its bytes.
///
/// Two calls in a row begin with the same byte, unless bytes are read from the source pipe between the calls.
/// The call may duplicate fewer bytes than `len`.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if no data or no room is available, and the call must not wait.
/// - [`EBADF`](crate::Errno::EBADF) if a descriptor is not open in the required direction.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran during the wait.
/// - [`EINVAL`](crate::Errno::EINVAL) if either descriptor is not a pipe, or both refer to the same pipe.
/// - [`EPIPE`](crate::Errno::EPIPE) if `to` has no reader. The process also receives `SIGPIPE`, unless
///   [`without_sigpipe`](crate::io::without_sigpipe) is used.
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

/// Writes the pages of `bufs` to a pipe **by reference**, without copying them, and returns the number of
/// bytes written. The call writes as many bytes as fit into the pipe. Each page occupies a slot of the pipe,
/// even if only a part of the page is sent.
///
/// The call waits until the pipe has room for the first page, unless [`NONBLOCK`](SpliceFlags::NONBLOCK) is
/// given. **`O_NONBLOCK` on the pipe has no effect.**
///
/// The kernel does not report when it has finished with a page. Even if the pipe is empty, the kernel may
/// still use a page, because the reader may have spliced that page to another descriptor.
/// [`ChunkWriter`](crate::chunk::ChunkWriter) sends pages by reference safely, and also works on kernels that
/// copy the pages instead.
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if the pipe has no room, and the call must not wait.
/// - [`EBADF`](crate::Errno::EBADF) if `writer` was created from a descriptor that is not a pipe.
/// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran during the wait.
/// - [`EINVAL`](crate::Errno::EINVAL) if more than 1024 buffers are passed.
/// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel lacks memory.
/// - [`EPIPE`](crate::Errno::EPIPE) if the pipe has no reader. The process also receives `SIGPIPE`, unless
///   [`without_sigpipe`](crate::io::without_sigpipe) is used.
///
/// # Safety
///
/// - After the call begins, the contents of `bufs` must not change, and the memory must not be reused, as
///   long as a reference to the pages can exist. For memory from an allocator or a stack, this requirement
///   never ends. Memory that was mapped for this purpose may be unmapped at any time, because the pipe keeps
///   its references to the pages. If the bytes change, the reader sees the new contents, which may belong to
///   another stream or be secret.
/// - If `writer` was created from a descriptor, that descriptor must not be the *read* end of a pipe.
///   Otherwise, the system call copies bytes from the pipe into `bufs`, although `bufs` is borrowed only for
///   reading.
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
    // SAFETY: the caller upholds the same contract.
    unsafe { call::vmsplice(writer.as_fd(), bufs, flags.bits()) }
}
