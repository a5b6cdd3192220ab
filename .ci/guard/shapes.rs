//! Callers of the functions that must compile to the trap and one comparison, under names that can be found
//! in the assembly. `.ci/guard/run.sh` reads it.

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
