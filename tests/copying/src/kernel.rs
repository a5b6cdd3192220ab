//! Wraps the system calls that the supervisor makes. New descriptors are returned as `OwnedFd`. Functions
//! that move bytes return a count or the errno. Only [`wait`] and [`room`] wait for another process.

use crate::checked;
use libc::{c_int, c_uint, c_void, iovec, off64_t};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

/// The result of a call that moves bytes: a count, or the errno.
pub(crate) type Moved = Result<usize, i32>;

pub(crate) const NONBLOCK: c_uint = 2;
/// `SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT`.
pub(crate) const KNOWN_FLAGS: c_uint = 15;

fn moved(answer: isize) -> Moved {
    usize::try_from(answer)
        .map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// Waits for the child to end, and returns the exit code that a shell would report.
pub(crate) fn wait(child: i32) -> u8 {
    let mut status = 0;
    // SAFETY: the kernel writes the status.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {}
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

pub(crate) fn pidfd(id: i32, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call reads only integers.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, id, flags) })?;
    // SAFETY: the call has just created this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) })
}

/// Duplicates a descriptor of another process. The duplicate refers to the same open file.
pub(crate) fn descriptor_of(process: &OwnedFd, number: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call reads only integers.
    let fd =
        checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })?;
    // SAFETY: the call has just created this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) })
}

/// Returns the type bits of the file's mode.
pub(crate) fn kind(fd: &OwnedFd) -> libc::mode_t {
    // SAFETY: zeros are a valid value of this struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the struct.
    unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) };
    stat.st_mode & libc::S_IFMT
}

/// Returns the access mode and the status flags of the open file.
pub(crate) fn flags(fd: &OwnedFd) -> c_int {
    // SAFETY: the call reads only integers.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
}

/// The state of a pipe's write end.
pub(crate) enum Room {
    Some,
    Full,
    NoReader,
}

/// Waits until a pipe has room or no longer has a reader, but not longer than this time. Returns the state of
/// the pipe.
pub(crate) fn room(pipe: &OwnedFd, milliseconds: c_int) -> Room {
    let mut poll = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the kernel reads and writes the one entry.
    unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    match poll.revents {
        events if events & libc::POLLERR != 0 => Room::NoReader,
        0 => Room::Full,
        _ => Room::Some,
    }
}

/// Returns the position of a file, or `None` if the file has no position.
pub(crate) fn position(file: &OwnedFd) -> Option<off64_t> {
    // SAFETY: the call reads only integers.
    let position = unsafe { libc::lseek64(file.as_raw_fd(), 0, libc::SEEK_CUR) };
    (position >= 0).then_some(position)
}

pub(crate) fn set_position(file: &OwnedFd, position: off64_t) {
    // SAFETY: the call reads only integers.
    unsafe { libc::lseek64(file.as_raw_fd(), position, libc::SEEK_SET) };
}

fn list_of(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Writes to a pipe with `RWF_NOWAIT`.
pub(crate) fn write_now(pipe: &OwnedFd, bytes: &[u8]) -> Moved {
    let list = list_of(bytes);
    // SAFETY: the kernel reads the bytes of the list.
    moved(unsafe { libc::pwritev2(pipe.as_raw_fd(), &raw const list, 1, -1, libc::RWF_NOWAIT) })
}

/// Reads from a pipe with `RWF_NOWAIT`.
pub(crate) fn read_now(pipe: &OwnedFd, bytes: &mut [u8]) -> Moved {
    let list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: the kernel writes to the bytes that the list describes. These bytes are borrowed exclusively.
    moved(unsafe { libc::preadv2(pipe.as_raw_fd(), &raw const list, 1, -1, libc::RWF_NOWAIT) })
}

/// A private pipe that carries copies of bytes. It is empty between two calls.
pub(crate) struct Carrier {
    reader: OwnedFd,
    writer: OwnedFd,
    /// The capacity in bytes.
    pub(crate) room: usize,
}

impl Carrier {
    pub(crate) fn new() -> Result<Self, i32> {
        let mut ends = [0; 2];
        // SAFETY: the kernel writes the two descriptors.
        moved(
            unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } as isize
        )?;
        // SAFETY: the call has just created these descriptors.
        let [reader, writer] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        // SAFETY: the call reads only integers.
        let room = moved(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) } as isize)?;
        Ok(Self { reader, writer, room })
    }

    /// Copies as many bytes to a pipe as fit. Each page of the copy occupies a slot.
    pub(crate) fn pass(&self, bytes: &[u8], to: &OwnedFd) -> Moved {
        // SAFETY: the kernel reads the bytes.
        moved(unsafe { libc::write(self.writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })?;
        let (from, to) = (self.reader.as_raw_fd(), to.as_raw_fd());
        // SAFETY: without offsets, the call accesses no memory.
        let passed =
            moved(unsafe { libc::splice(from, null_mut(), to, null_mut(), bytes.len(), NONBLOCK) });
        let left = bytes.len() - passed.unwrap_or(0);
        if left > 0 {
            self.take(left)?;
        }
        passed
    }

    /// Returns a copy of at most `len` bytes of a file, starting at `position`. The bytes are read with
    /// `splice`, so this function fails with the errors of `splice`.
    pub(crate) fn bytes_of(
        &self,
        file: &OwnedFd,
        mut position: off64_t,
        len: usize,
    ) -> Result<Vec<u8>, i32> {
        let (from, to) = (file.as_raw_fd(), self.writer.as_raw_fd());
        // SAFETY: the kernel reads and writes the position.
        match moved(unsafe { libc::splice(from, &raw mut position, to, null_mut(), len, 0) })? {
            0 => Ok(Vec::new()),
            count => self.take(count),
        }
    }

    fn take(&self, len: usize) -> Result<Vec<u8>, i32> {
        let mut bytes = vec![0; len];
        let place = bytes.as_mut_ptr().cast::<c_void>();
        // SAFETY: the kernel writes at most `len` bytes.
        let count = moved(unsafe { libc::read(self.reader.as_raw_fd(), place, len) })?;
        assert_eq!(count, len, "the bytes of this program's own pipe");
        Ok(bytes)
    }
}
