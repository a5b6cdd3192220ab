//! Reads and writes without waiting, even on blocking descriptors.
//!
//! If the kernel and the file support `RWF_NOWAIT`, these functions use it. Otherwise, they use an equivalent
//! for pipes: see [`io`](mod@crate::io#without-waiting-or-until-a-deadline). The functions never follow
//! `poll` with a blocking call, because another process could read the data or fill the pipe in between.

use crate::fd::{AsFd, BorrowedFd};
use crate::pipe::{self, Capacity};
use crate::sys::abi::flags::PipeFlags;
use crate::sys::abi::iovec::{IoSlice, IoSliceMut};
use crate::sys::{abi, call};
use crate::{Errno, Result};

/// Reads up to `buf.len()` available bytes and returns the number of bytes read. See
/// [`io::try_read`](crate::io::try_read).
pub(crate) fn try_read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    match call::preadv2(fd, &mut [IoSliceMut::new(buf)], abi::RWF_NOWAIT) {
        Err(errno) if call::is_unsupported(errno) => {
            let wrong = abi::O_WRONLY as usize;
            match call::vmsplice_from(fd, buf) {
                // `EBADF` means that `fd` is open for reading and writing, or is not a pipe. `EOPNOTSUPP`
                // means that this kernel implements `vmsplice` with `RWF_NOWAIT`.
                Err(Errno::EBADF | Errno::EOPNOTSUPP) => read_through_a_pipe(fd, buf),
                answer => answer,
            }
            .map_err(|other| unsupported(fd, wrong, errno, other))
        }
        answer => answer,
    }
}

/// Moves the available bytes into an empty private pipe, and then reads them from that pipe.
fn read_through_a_pipe(from: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    // `SPLICE_F_NONBLOCK` prevents waiting only between two pipes.
    let capacity = call::fcntl_getpipe_sz(from).map_err(|_| Errno::EBADF)?;
    let (reader, writer) = pipe::internal(PipeFlags::NONBLOCK)?;
    // If the private pipe were smaller than `from`, one call could move only a part of the available bytes.
    let _ = writer.set_capacity(Capacity::Bytes(capacity));
    let flags = abi::SPLICE_F_NONBLOCK;
    let moved = call::splice(from, None, writer.as_fd(), None, buf.len(), flags)?;
    let mut read = 0;
    // From a packet pipe, each call reads one packet.
    while read < moved {
        match call::read(reader.as_fd(), &mut buf[read..moved])? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

/// Writes as many bytes as fit and returns the number of bytes written. See
/// [`io::try_write`](crate::io::try_write).
pub(crate) fn try_writev(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize> {
    match call::pwritev2(fd, bufs, abi::RWF_NOWAIT) {
        Err(errno) if call::is_unsupported(errno) => {
            let wrong = abi::O_RDONLY;
            write_through_a_pipe(fd, bufs).map_err(|other| unsupported(fd, wrong, errno, other))
        }
        answer => answer,
    }
}

/// Writes to an empty private pipe, and then moves as many of the bytes as fit from that pipe to `to`. Bytes
/// that do not fit into `to` are dropped with the private pipe and are not counted.
fn write_through_a_pipe(to: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize> {
    if call::fcntl_getpipe_sz(to).is_err() {
        return Err(Errno::EOPNOTSUPP); // `SPLICE_F_NONBLOCK` prevents waiting only between two pipes
    }
    // If `to` is a packet pipe, the private pipe must also be a packet pipe.
    let packets = call::fcntl_getfl(to)? & abi::O_DIRECT as usize != 0;
    let mode = if packets { PipeFlags::DIRECT } else { PipeFlags::empty() };
    let (reader, writer) = pipe::internal(PipeFlags::NONBLOCK | mode)?;
    let count = call::writev(writer.as_fd(), bufs)?;
    call::splice(reader.as_fd(), None, to, None, count, abi::SPLICE_F_NONBLOCK)
}

/// Chooses the error to report after both methods have failed. `wrong` is the access mode that does not allow
/// the attempted read or write.
fn unsupported(fd: BorrowedFd<'_>, wrong: usize, first: Errno, second: Errno) -> Errno {
    // A kernel without `preadv2` or `pwritev2` has not checked the descriptor.
    let mode = call::fcntl_getfl(fd).map(|flags| flags & abi::O_ACCMODE);
    match (mode, second) {
        (Err(closed), _) => closed,
        (Ok(mode), _) if mode == wrong => Errno::EBADF,
        // The descriptor is not a pipe, so `EINVAL` from the first call meant an invalid argument.
        (_, Errno::EBADF | Errno::EOPNOTSUPP) if first == Errno::EINVAL => first,
        (_, Errno::EBADF | Errno::ENOSYS | Errno::EPERM) => Errno::EOPNOTSUPP,
        // A filter rejects the second call with `EINVAL`.
        (_, Errno::EINVAL) if first == Errno::EOPNOTSUPP => first,
        (_, second) => second,
    }
}
