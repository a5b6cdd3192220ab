//! Adds a policy for waiting to the ends of a pipe.

use crate::event::PollEvents;
use crate::fd::{AsFd, BorrowedFd};
use crate::io::Incomplete;
use crate::pipe::PIPE_BUF;
use crate::sys::abi::iovec::{IoSlice, IoSliceMut};
use crate::sys::{abi, call};
use crate::wait::{Spin, Wait};
use crate::{Errno, PipeReader, PipeWriter, Result, io};

/// An end of a pipe whose reads or writes follow a [`Wait`] policy. Use this type for short messages between
/// two processes that run on separate processors.
///
/// With [`Wait::Adaptive`], this type first tries `RWF_NOWAIT`, for all reads, and for writes of more than
/// [`PIPE_BUF`] bytes. If the kernel does not support this flag for the end, `poll` precedes the blocking
/// call.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
/// use rawpipe::Wait;
///
/// let (questions, ask) = rawpipe::pipe()?;
/// let (answers, answer) = rawpipe::pipe()?;
/// // SAFETY: the child only reads and writes.
/// let mut child = unsafe {
///     process::fork_with(|| {
///         let mut questions = questions.with_wait(Wait::Adaptive);
///         let mut byte = [0];
///         while questions.read_exact(&mut byte).is_ok() && byte[0] != 0 {
///             let _ = answer.write(&[byte[0] + 1]);
///         }
///         0
///     })
/// }?;
/// let mut answers = answers.with_wait(Wait::Adaptive);
/// let mut byte = [0];
/// for number in 1..100 {
///     ask.write_all(&[number])?;
///     answers.read_exact(&mut byte)?;
///     assert_eq!(byte[0], number + 1);
/// }
/// ask.write_all(&[0])?;
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AdaptiveEnd<End> {
    end: End,
    spin: Spin,
}

impl<End: AsFd> AdaptiveEnd<End> {
    fn new(end: End, wait: Wait) -> Self {
        let wait = if io::is_nonblocking(&end) == Ok(true) { Wait::Block } else { wait };
        Self { end, spin: Spin::with_peer_anywhere(wait) }
    }

    /// Returns a reference to the end.
    pub const fn get_ref(&self) -> &End {
        &self.end
    }

    /// Returns the end.
    pub fn into_inner(self) -> End {
        self.end
    }
}

impl<End: AsFd> AsFd for AdaptiveEnd<End> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl PipeReader {
    /// Makes the reads of this end follow the policy `wait`. An end that is already nonblocking never waits.
    #[must_use]
    pub fn with_wait(self, wait: Wait) -> AdaptiveEnd<Self> {
        AdaptiveEnd::new(self, wait)
    }
}

impl PipeWriter {
    /// Makes the writes of this end follow the policy `wait`. An end that is already nonblocking never waits.
    #[must_use]
    pub fn with_wait(self, wait: Wait) -> AdaptiveEnd<Self> {
        AdaptiveEnd::new(self, wait)
    }
}

/// Reads into `buf`, and waits for the first byte according to the policy of `spin`.
#[inline]
pub(crate) fn read(spin: &mut Spin, fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    let flags = abi::RWF_NOWAIT;
    match spin.attempt(|| call::preadv2(fd, &mut [IoSliceMut::new(buf)], flags)) {
        Err(Errno::EAGAIN) => {}
        Err(errno) if call::is_unsupported(errno) => spin.wait(fd, PollEvents::IN),
        answer => return answer,
    }
    call::read(fd, buf)
}

impl AdaptiveEnd<PipeReader> {
    /// Reads up to `buf.len()` bytes into `buf` and returns the number of bytes read. A result of 0 means end
    /// of file.
    ///
    /// # Errors
    ///
    /// Fails as [`PipeReader::read`] does.
    #[inline]
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        read(&mut self.spin, self.end.as_fd(), buf)
    }

    /// Reads exactly `buf.len()` bytes. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read_exact`] does.
    pub fn read_exact(&mut self, buf: &mut [u8]) -> core::result::Result<(), Incomplete> {
        io::complete(buf.len(), |done| self.read(&mut buf[done..]))
    }
}

impl AdaptiveEnd<PipeWriter> {
    /// Writes up to `buf.len()` bytes and returns the number of bytes written. With [`Wait::Adaptive`], a
    /// write of more than [`PIPE_BUF`] bytes may write only as many bytes as fit, even if the end is
    /// blocking.
    ///
    /// A pipe nearly always has room for [`PIPE_BUF`] bytes. Polling before each write of at most this size
    /// would cost more than it saves, so such a write sleeps if the pipe has no room.
    ///
    /// # Errors
    ///
    /// Fails as [`PipeWriter::write`] does.
    #[inline]
    pub fn write(&mut self, buf: &[u8]) -> Result<usize> {
        let (fd, flags) = (self.end.as_fd(), abi::RWF_NOWAIT);
        if buf.len() <= PIPE_BUF {
            return call::write(fd, buf);
        }
        match self.spin.attempt(|| call::pwritev2(fd, &[IoSlice::new(buf)], flags)) {
            Err(Errno::EAGAIN) => {}
            Err(errno) if call::is_unsupported(errno) => self.spin.wait(fd, PollEvents::OUT),
            answer => return answer,
        }
        call::write(fd, buf)
    }

    /// Writes all of `buf`. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_all`] does.
    pub fn write_all(&mut self, buf: &[u8]) -> core::result::Result<(), Incomplete> {
        io::complete(buf.len(), |done| self.write(&buf[done..]))
    }
}

#[cfg(feature = "std")]
impl std::io::Read for AdaptiveEnd<PipeReader> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        Ok(AdaptiveEnd::<PipeReader>::read(self, buf)?)
    }
}

#[cfg(feature = "std")]
impl std::io::Write for AdaptiveEnd<PipeWriter> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(AdaptiveEnd::<PipeWriter>::write(self, buf)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
