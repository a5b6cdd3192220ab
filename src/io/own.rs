//! Descriptors of this crate's own, which stand at no number of a standard stream. Where those are closed,
//! the kernel hands their numbers out, and another thread that prints would write into what is there.

use crate::Result;
use crate::fd::{AsFd, AsRawFd, OwnedFd};
use crate::sys::abi::flags::PipeFlags;
use crate::sys::call;

/// Moves a descriptor away from 0, 1 and 2.
pub(crate) fn off_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() < 3 { call::fcntl_dupfd_cloexec(fd.as_fd(), 3) } else { Ok(fd) }
}

/// Creates a pipe, close-on-exec: its read end and its write end.
pub(crate) fn own_pipe(flags: PipeFlags) -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = call::pipe2((flags | PipeFlags::CLOEXEC).bits())?;
    Ok((off_stdio(reader)?, off_stdio(writer)?))
}
