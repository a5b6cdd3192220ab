//! Joins two pipes into a two-way link.
//!
//! # Safety
//!
//! This file upholds no invariant. [`Duplex::fork`] is unsafe to call, and its documentation states the
//! contract.
#![allow(unsafe_code, reason = "Duplex::fork is unsafe to call, and this is the function")]

use crate::io::{self, Incomplete, IoSlice};
use crate::pipe::Builder;
use crate::process::{self, Child};
use crate::{PipeReader, PipeWriter, Result};

/// One side of a two-way link. Bytes that are written to one side are read from its peer.
///
/// After the peer is dropped, this side reads the bytes that are still in the link and then reaches end of
/// file. Writes through this side fail with [`EPIPE`](crate::Errno::EPIPE), without `SIGPIPE`. These
/// guarantees hold only if no process still has a copy of the peer. [`fork`](Self::fork) ensures this
/// condition for one child, and its documentation describes the steps for several children.
///
/// A link is a stream of bytes. To exchange messages, convert the link with
/// [`Channel::from(link)`](super::Channel). A forked child can do this as well.
///
/// # Examples
///
/// ```
/// use rawpipe::message::Duplex;
///
/// let (left, right) = Duplex::pair()?;
/// left.write_all(b"ping")?;
/// let mut word = [0; 4];
/// right.read_exact(&mut word)?;
/// right.write_all(b"pong")?;
/// left.read_exact(&mut word)?;
/// assert_eq!(&word, b"pong");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Duplex {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Duplex {
    /// Creates a link and returns its two sides. All descriptors are close-on-exec.
    ///
    /// # Errors
    ///
    /// Fails as [`pipe`](crate::pipe()) does.
    pub fn pair() -> Result<(Self, Self)> {
        Self::pair_of(Builder::new())
    }

    /// Creates a link of two pipes with the settings of `builder`.
    ///
    /// # Errors
    ///
    /// Fails as [`Builder::build`] does.
    pub fn pair_of(builder: Builder) -> Result<(Self, Self)> {
        let (left_reader, right_writer) = builder.build()?;
        let (right_reader, left_writer) = builder.build()?;
        let left = Self::new(left_reader, left_writer);
        Ok((left, Self::new(right_reader, right_writer)))
    }

    /// Creates a side that reads from one pipe and writes to another.
    #[must_use]
    pub const fn new(reader: PipeReader, writer: PipeWriter) -> Self {
        Self { reader, writer }
    }

    /// Creates a link and a child process that owns one side of it. The child runs `body` with its side and
    /// exits with the code that `body` returns. The parent receives the link's other side and a handle to the
    /// child. Neither process keeps a copy of the peer's side, so each process reaches end of file when the
    /// other process ends.
    ///
    /// # Several children
    ///
    /// A child inherits copies of all descriptors of the parent, including the parent's sides of *earlier*
    /// links. While the new child keeps these copies open, an earlier child does not reach end of file, even
    /// if the parent drops its own side of that child's link. Therefore, close the copies in the new child.
    /// In this example, `body` borrows the earlier links exclusively and drops them. The parent's own sides
    /// of these links stay open.
    ///
    /// ```
    /// use rawpipe::message::Duplex;
    ///
    /// let (mut workers, mut links) = (Vec::new(), Vec::new());
    /// for _ in 0..3 {
    ///     // SAFETY: the program has no other thread, and the child only reads and writes.
    ///     let (worker, link) = unsafe {
    ///         Duplex::fork(|link| {
    ///             links.clear(); // in the child
    ///             u8::from(link.reader().read_to_end(&mut Vec::new()).is_err())
    ///         })
    ///     }?;
    ///     workers.push(worker);
    ///     links.push(link);
    /// }
    /// assert_eq!(links.len(), 3);
    /// drop(links.remove(0));
    /// assert!(workers[0].wait()?.success()); // while the others still run
    /// # drop(links);
    /// # workers.iter_mut().try_for_each(|worker| worker.wait().map(drop))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`pair`](Self::pair) and [`fork`](crate::process::fork) do.
    ///
    /// # Safety
    ///
    /// The contract of [`process::fork_with`] applies to `body`.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::message::Duplex;
    ///
    /// // SAFETY: the program has no other thread, and the child only reads and writes.
    /// let (mut child, link) = unsafe {
    ///     Duplex::fork(|link| {
    ///         let mut word = [0; 5];
    ///         let answered = link.read_exact(&mut word).and_then(|()| link.write_all(&word));
    ///         if answered.is_ok() { 0 } else { 1 }
    ///     })
    /// }?;
    /// link.write_all(b"hello")?;
    /// let mut word = [0; 5];
    /// link.read_exact(&mut word)?;
    /// assert_eq!(&word, b"hello");
    /// assert!(child.wait()?.success());
    /// assert_eq!(link.read(&mut word)?, 0); // the peer has ended
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "it is there in the parent")]
    pub unsafe fn fork(body: impl FnOnce(Self) -> u8) -> Result<(Child, Self)> {
        let (ours, theirs) = Self::pair()?;
        let mut ours = Some(ours);
        // The closure owns `theirs`, so the parent's copy is dropped when `fork_with` returns. The closure
        // borrows `ours` and runs only in the child, so the parent keeps its own side.
        let run = || {
            ours = None;
            body(theirs)
        };
        // SAFETY: the caller upholds the same contract, and the child owns its copies of both sides.
        let child = unsafe { process::fork_with(run) }?;
        let ours = ours.expect("only the child's copy was dropped");
        Ok((child, ours))
    }

    /// Returns the end to read from.
    #[must_use]
    pub const fn reader(&self) -> &PipeReader {
        &self.reader
    }

    /// Returns the end to write to.
    #[must_use]
    pub const fn writer(&self) -> &PipeWriter {
        &self.writer
    }

    /// Splits this side into its two ends. If only the writer is dropped, the peer reaches end of file but
    /// can still write.
    #[must_use]
    pub fn into_ends(self) -> (PipeReader, PipeWriter) {
        (self.reader, self.writer)
    }

    /// Reads up to `buf.len()` bytes and returns the number of bytes read. A result of 0 means end of file.
    ///
    /// # Errors
    ///
    /// Fails as [`PipeReader::read`] does.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.reader.read(buf)
    }

    /// Reads exactly `buf.len()` bytes. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`PipeReader::read_exact`] does.
    pub fn read_exact(&self, buf: &mut [u8]) -> core::result::Result<(), Incomplete> {
        self.reader.read_exact(buf)
    }

    /// Writes up to `buf.len()` bytes and returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// Fails as [`PipeWriter::write_nosignal`] does.
    pub fn write(&self, buf: &[u8]) -> Result<usize> {
        self.writer.write_nosignal(buf)
    }

    /// Writes all of `buf`. Continues after a short count, and retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`PipeWriter::write_all`] does, but raises no `SIGPIPE`.
    pub fn write_all(&self, buf: &[u8]) -> core::result::Result<(), Incomplete> {
        let bufs = &mut [IoSlice::new(buf)];
        io::write_all_vectored_by(bufs, |rest| io::writev_nosignal(&self.writer, rest))
    }
}

#[cfg(feature = "std")]
impl std::io::Read for Duplex {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        Ok(Self::read(self, buf)?)
    }
}

#[cfg(feature = "std")]
impl std::io::Write for Duplex {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(Self::write(self, buf)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
