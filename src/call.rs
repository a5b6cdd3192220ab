//! L2, the calls: one typed function per system call, in alphabetical order.
//!
//! A descriptor comes in as `BorrowedFd` and goes out as `OwnedFd`; integers and pointers stop here.
//! Each function makes its call once: what to do about `EINTR` is for the caller to say.
//!
//! # Safety
//!
//! This file is trusted to give each call arguments that let the kernel touch only memory that was
//! lent for it, and to make an owner of exactly the descriptors that the kernel has just made.
//!
//! A borrowed descriptor is open, so no call here acts on a number that may be somebody else's.
//! References become integers by `expose_provenance`, and the trap is opaque to the compiler, which
//! must therefore assume that the kernel reads and writes through them during the call.
#![allow(unsafe_code, reason = "system calls")]
#![cfg_attr(
    not(all(feature = "message", feature = "process", feature = "transfer")),
    allow(dead_code, reason = "some serve these features only")
)]

use crate::abi::{self, PollFd, Statx, Timespec};
use crate::errno::{Result, decode};
use crate::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use crate::iovec::{IoSlice, IoSliceMut};
use crate::sys::{nr, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// Replacing the program.
pub(crate) mod exec;
/// Reading and writing with flags.
#[cfg(any(feature = "message", feature = "transfer"))]
pub(crate) mod flagged;
/// Memory of the crate's own: mapping it, and files for it.
#[cfg(any(feature = "process", feature = "transfer"))]
pub(crate) mod memory;
/// Processes.
pub(crate) mod process;
/// Waiting for many descriptors at once.
#[cfg(feature = "message")]
pub(crate) mod ready;
/// What a child does to itself before it starts a program, and the clone that makes it.
#[cfg(feature = "process")]
pub(crate) mod setup;
/// The signals of this thread.
#[cfg(any(feature = "message", feature = "process", feature = "transfer"))]
pub(crate) mod signal;

/// The register for a descriptor: the kernel looks at its lower 32 bits.
#[expect(clippy::cast_sign_loss, reason = "the bits matter, not the sign")]
fn arg(fd: BorrowedFd<'_>) -> usize {
    fd.as_raw_fd() as usize
}

/// Owns the descriptor that a call has just made.
///
/// # Safety
///
/// `answer` is the success of a call whose answer is a new descriptor.
unsafe fn owned(answer: usize) -> OwnedFd {
    #[expect(clippy::cast_possible_truncation, reason = "descriptors are C ints")]
    #[expect(clippy::cast_possible_wrap, reason = "descriptors are not negative")]
    let fd = answer as RawFd;
    // SAFETY: by this function's own condition the descriptor is open and nobody owns it yet.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The time of `CLOCK_MONOTONIC`.
#[inline]
pub(crate) fn clock_gettime() -> Result<Timespec> {
    let mut time = Timespec { tv_sec: 0, tv_nsec: 0 };
    let place = (&raw mut time).expose_provenance();
    // SAFETY: `clock_gettime` writes one `timespec`, to the place given.
    decode(unsafe { syscall2(nr::CLOCK_GETTIME, abi::CLOCK_MONOTONIC, place) })?;
    Ok(time)
}

#[inline]
pub(crate) fn close(fd: OwnedFd) -> Result<()> {
    // SAFETY: it was owned until the line below and is nobody's now.
    unsafe { close_raw(fd.into_raw_fd()) }
}

/// Closes the descriptor with this number.
///
/// # Safety
///
/// The caller owns it, and does not use it again, whatever the answer.
#[inline]
pub(crate) unsafe fn close_raw(fd: RawFd) -> Result<()> {
    #[expect(clippy::cast_sign_loss, reason = "descriptors are not negative")]
    let fd = fd as usize;
    // SAFETY: `close` touches no memory; the caller owns the descriptor.
    decode(unsafe { syscall1(nr::CLOSE, fd) }).map(drop)
}

/// Offsets are read and written where they are given.
#[inline]
pub(crate) fn copy_file_range(
    from: BorrowedFd<'_>,
    from_offset: Option<&mut u64>,
    to: BorrowedFd<'_>,
    to_offset: Option<&mut u64>,
    len: usize,
) -> Result<usize> {
    let from_offset = from_offset.map_or(0, |offset| (&raw mut *offset).expose_provenance());
    let to_offset = to_offset.map_or(0, |offset| (&raw mut *offset).expose_provenance());
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: the kernel reads and writes the two offsets, which are lent exclusively, and no other
    // memory of this process.
    decode(unsafe {
        syscall6(nr::COPY_FILE_RANGE, arg(from), from_offset, arg(to), to_offset, len, 0)
    })
}

#[inline]
pub(crate) fn dup(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: `dup` touches no memory.
    let answer = decode(unsafe { syscall1(nr::DUP, arg(fd)) })?;
    // SAFETY: `dup` answers a new descriptor.
    Ok(unsafe { owned(answer) })
}

/// `dup3`: `new` keeps its number and owns the copy from now on.
#[inline]
pub(crate) fn dup3(fd: BorrowedFd<'_>, new: &mut OwnedFd, flags: u32) -> Result<()> {
    #[expect(clippy::cast_sign_loss, reason = "descriptors are not negative")]
    let number = new.as_raw_fd() as usize;
    // SAFETY: `dup3` touches no memory; what it closes is owned by `new`, which nobody else can be
    // using while it is borrowed exclusively.
    decode(unsafe { syscall3(nr::DUP3, arg(fd), number, flags as usize) }).map(drop)
}

/// `fcntl` for the operations that take an integer.
fn fcntl(fd: BorrowedFd<'_>, operation: usize, argument: usize) -> Result<usize> {
    // SAFETY: each operation used below takes an integer, none a pointer.
    decode(unsafe { syscall3(nr::FCNTL, arg(fd), operation, argument) })
}

#[inline]
pub(crate) fn fcntl_dupfd_cloexec(fd: BorrowedFd<'_>, minimum: usize) -> Result<OwnedFd> {
    let answer = fcntl(fd, abi::F_DUPFD_CLOEXEC, minimum)?;
    // SAFETY: `F_DUPFD_CLOEXEC` answers a new descriptor.
    Ok(unsafe { owned(answer) })
}

#[inline]
pub(crate) fn fcntl_getfd(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GETFD, 0)
}

#[inline]
pub(crate) fn fcntl_getfl(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GETFL, 0)
}

#[inline]
pub(crate) fn fcntl_getpipe_sz(fd: BorrowedFd<'_>) -> Result<usize> {
    fcntl(fd, abi::F_GETPIPE_SZ, 0)
}

#[inline]
pub(crate) fn fcntl_setfd(fd: BorrowedFd<'_>, flags: usize) -> Result<()> {
    fcntl(fd, abi::F_SETFD, flags).map(drop)
}

#[inline]
pub(crate) fn fcntl_setfl(fd: BorrowedFd<'_>, flags: usize) -> Result<()> {
    fcntl(fd, abi::F_SETFL, flags).map(drop)
}

#[inline]
pub(crate) fn fcntl_setpipe_sz(fd: BorrowedFd<'_>, bytes: u32) -> Result<usize> {
    fcntl(fd, abi::F_SETPIPE_SZ, bytes as usize)
}

/// Returns the type of a socket, such as `SOCK_STREAM`.
#[inline]
pub(crate) fn getsockopt_type(fd: BorrowedFd<'_>) -> Result<i32> {
    let (mut kind, mut len): (i32, u32) = (0, 4);
    let place = (&raw mut kind).expose_provenance();
    let size = (&raw mut len).expose_provenance();
    // SAFETY: the kernel reads the length, and writes an `int` and its length to the places given.
    decode(unsafe {
        syscall5(nr::GETSOCKOPT, arg(fd), abi::SOL_SOCKET, abi::SO_TYPE, place, size)
    })?;
    Ok(kind)
}

#[inline]
pub(crate) fn ioctl_fionread(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: i32 = 0;
    let place = (&raw mut bytes).expose_provenance();
    // SAFETY: `FIONREAD` writes one `int`, to the place given.
    decode(unsafe { syscall3(nr::IOCTL, arg(fd), abi::FIONREAD, place) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Returns the position of a file in bytes. `EOVERFLOW` where it does not fit into a register.
#[inline]
pub(crate) fn lseek_current(fd: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: touches no memory of this process.
    let position = decode(unsafe { syscall3(nr::LSEEK, arg(fd), 0, abi::SEEK_CUR) })?;
    Ok(position as u64)
}

/// `madvise` on no bytes at all at `address`: does nothing, but answers `EINVAL` where `address` is
/// not the beginning of a page.
#[inline]
pub(crate) fn madvise_nothing(address: usize) -> Result<()> {
    // SAFETY: the range is empty.
    decode(unsafe { syscall3(nr::MADVISE, address, 0, abi::MADV_NORMAL) }).map(drop)
}

/// Opens an existing file for writing, close-on-exec.
#[inline]
pub(crate) fn openat_for_writing(path: &CStr) -> Result<OwnedFd> {
    let flags = abi::O_WRONLY | abi::O_CLOEXEC;
    let path = path.as_ptr().expose_provenance();
    // SAFETY: the kernel reads the path up to its NUL.
    let answer = decode(unsafe { syscall4(nr::OPENAT, abi::AT_FDCWD, path, flags as usize, 0) })?;
    // SAFETY: `openat` answers a new descriptor.
    Ok(unsafe { owned(answer) })
}

/// Read end and write end.
#[inline]
pub(crate) fn pipe2(flags: u32) -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = MaybeUninit::<[OwnedFd; 2]>::uninit();
    let place = (&raw mut ends).expose_provenance();
    // SAFETY: `pipe2` writes two descriptors, to the place given, which has room for two.
    decode(unsafe { syscall2(nr::PIPE2, place, flags as usize) })?;
    // SAFETY: `pipe2` has succeeded, so both were written, are open, and nobody owns them yet;
    // `OwnedFd` has the layout of a C int.
    let [reader, writer] = unsafe { ends.assume_init() };
    Ok((reader, writer))
}

/// Without a signal mask. The kernel writes the time left into `timeout`.
#[inline]
pub(crate) fn ppoll(fds: &mut [PollFd<'_>], timeout: Option<&mut Timespec>) -> Result<usize> {
    let list = fds.as_mut_ptr().expose_provenance();
    let timeout = timeout.map_or(0, |timeout| (&raw mut *timeout).expose_provenance());
    // SAFETY: the kernel reads the entries of the list and writes their `revents`, and the timeout;
    // both are lent exclusively.
    decode(unsafe { syscall5(nr::PPOLL, list, fds.len(), timeout, 0, 0) })
}

#[inline]
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    let place = buf.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes at most `buf.len()` bytes, into `buf`, which is lent exclusively.
    decode(unsafe { syscall3(nr::READ, arg(fd), place, buf.len()) })
}

/// Reads into what `buf` has allocated and does not use, and appends it: at most so many bytes, and
/// `buf` does not grow.
#[cfg(feature = "alloc")]
#[inline]
pub(crate) fn read_spare(fd: BorrowedFd<'_>, buf: &mut Vec<u8>, most: usize) -> Result<usize> {
    let spare = buf.spare_capacity_mut();
    let most = most.min(spare.len());
    let count = read_uninit(fd, &mut spare[..most])?.len();
    let len = buf.len() + count;
    // SAFETY: the kernel has written the `count` bytes behind the old end, within the capacity.
    unsafe { buf.set_len(len) };
    Ok(count)
}

#[inline]
pub(crate) fn read_uninit<'a>(
    fd: BorrowedFd<'_>,
    buf: &'a mut [MaybeUninit<u8>],
) -> Result<&'a mut [u8]> {
    let place = buf.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes at most `buf.len()` bytes, into `buf`, which is lent exclusively.
    let count = decode(unsafe { syscall3(nr::READ, arg(fd), place, buf.len()) })?;
    let (filled, _) = buf.split_at_mut(count.min(buf.len()));
    // SAFETY: the kernel has written these `count` bytes, and `u8` has the layout of its
    // `MaybeUninit`.
    Ok(unsafe { &mut *(&raw mut *filled as *mut [u8]) })
}

#[inline]
pub(crate) fn readv(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
    let list = bufs.as_mut_ptr().expose_provenance();
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`; the kernel writes into the buffers of
    // the list only, which are lent exclusively.
    decode(unsafe { syscall3(nr::READV, arg(fd), list, bufs.len()) })
}

/// By `offset`, which is read and written, or by the file's position.
#[inline]
pub(crate) fn sendfile(
    to: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    offset: Option<&mut u64>,
    len: usize,
) -> Result<usize> {
    let offset = offset.map_or(0, |offset| (&raw mut *offset).expose_provenance());
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: the kernel reads and writes the offset, which is lent exclusively, and no other memory
    // of this process.
    decode(unsafe { syscall4(nr::SENDFILE, arg(to), arg(from), offset, len) })
}

/// Offsets are read and written where they are given.
#[inline]
pub(crate) fn splice(
    from: BorrowedFd<'_>,
    from_offset: Option<&mut u64>,
    to: BorrowedFd<'_>,
    to_offset: Option<&mut u64>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    let from_offset = from_offset.map_or(0, |offset| (&raw mut *offset).expose_provenance());
    let to_offset = to_offset.map_or(0, |offset| (&raw mut *offset).expose_provenance());
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: the kernel reads and writes the two offsets, which are lent exclusively, and no other
    // memory of this process.
    decode(unsafe {
        syscall6(nr::SPLICE, arg(from), from_offset, arg(to), to_offset, len, flags as usize)
    })
}

/// Returns what kind of file a descriptor is, which one, and its size in bytes.
#[inline]
pub(crate) fn statx(fd: BorrowedFd<'_>) -> Result<Statx> {
    let mask = abi::STATX_TYPE | abi::STATX_INO | abi::STATX_SIZE;
    statx_at(arg(fd), c"", abi::AT_EMPTY_PATH as usize, mask)
}

fn statx_at(folder: usize, path: &CStr, flags: usize, mask: usize) -> Result<Statx> {
    let mut answer = MaybeUninit::<Statx>::zeroed();
    let place = (&raw mut answer).expose_provenance();
    let path = path.as_ptr().expose_provenance();
    // SAFETY: reads the path up to its NUL and writes one `struct statx`, to the place given.
    decode(unsafe { syscall5(nr::STATX, folder, path, flags, mask, place) })?;
    // SAFETY: it consists of integers, which were zeros and which the kernel has overwritten.
    Ok(unsafe { answer.assume_init() })
}

/// How many links the file at `path` has.
#[inline]
pub(crate) fn statx_nlink(path: &CStr) -> Result<u32> {
    Ok(statx_at(abi::AT_FDCWD, path, 0, abi::STATX_NLINK)?.stx_nlink)
}

#[inline]
pub(crate) fn tee(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    let len = len.min(abi::MAX_RW_COUNT);
    // SAFETY: `tee` touches no memory of this process.
    decode(unsafe { syscall4(nr::TEE, arg(from), arg(to), len, flags as usize) })
}

/// Hands pages to a pipe by reference.
///
/// # Safety
///
/// As for [`splice::vmsplice`](crate::splice::vmsplice).
#[inline]
pub(crate) unsafe fn vmsplice(
    to: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    flags: u32,
) -> Result<usize> {
    let list = bufs.as_ptr().expose_provenance();
    // SAFETY: `IoSlice` has the layout of `struct iovec`; the kernel reads the list, and takes
    // references to the pages of its buffers, for which the caller answers.
    decode(unsafe { syscall4(nr::VMSPLICE, arg(to), list, bufs.len(), flags as usize) })
}

#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> Result<usize> {
    let place = buf.as_ptr().expose_provenance();
    // SAFETY: the kernel reads `buf.len()` bytes at most, of `buf`.
    decode(unsafe { syscall3(nr::WRITE, arg(fd), place, buf.len()) })
}

#[inline]
pub(crate) fn writev(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize> {
    let list = bufs.as_ptr().expose_provenance();
    // SAFETY: `IoSlice` has the layout of `struct iovec`; the kernel reads the buffers of the list.
    decode(unsafe { syscall3(nr::WRITEV, arg(fd), list, bufs.len()) })
}
