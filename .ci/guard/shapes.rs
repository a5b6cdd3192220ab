//! Functions whose calls into the crate must compile to a trap and one comparison. `.ci/guard/run.sh` finds
//! these functions by name in the assembly.

use rawpipe::Result;
use rawpipe::fd::BorrowedFd;

#[unsafe(no_mangle)]
pub fn shape_read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    rawpipe::read(fd, buf)
}

#[unsafe(no_mangle)]
pub fn shape_write(fd: BorrowedFd<'_>, buf: &[u8]) -> Result<usize> {
    rawpipe::write(fd, buf)
}
