//! Implements the chunk writer, which lends memory to fill and hands that memory to a pipe.

mod builder;

use super::memory::Memory;
use super::pool::Pool;
use super::{ChunkMechanism, Reuse, SMALL, WRITE_CHUNK};
use crate::event::PollEvents;
use crate::fd::{AsFd, BorrowedFd};
use crate::io::{self, Incomplete};
use crate::sys::{call, page};
use crate::wait::{Spin, Wait};
use crate::{Errno, PipeWriter, Result};
pub use builder::WriterBuilder;

/// Sends chunks through a pipe and, if possible, avoids copying the bytes. A writer lends its own memory for
/// the caller to fill, and hands the pages to the pipe.
///
/// To send data, fill a [`chunk`](Self::chunk) and call [`send`](Self::send), as often as needed. The
/// documentation of the [module](crate::chunk) explains why this is safe and which [`Reuse`] suits which
/// consumer. Dropping the writer closes the write end if `W` owns it. Unread data stays in the pipe.
///
/// `W` is a type that owns or borrows the descriptor, such as [`PipeWriter`], `&Stdout` or `BorrowedFd`. If
/// the descriptor is not a pipe but a file, a socket or a terminal, each chunk is written with `write`.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::{ChunkWriter, Reuse};
/// use std::thread;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let reading = thread::spawn(move || {
///     let mut all = Vec::new();
///     reader.read_to_end(&mut all).map(|_| all)
/// });
/// let mut writer = ChunkWriter::builder().reuse(Reuse::AfterRead).chunk(65536).build(writer)?;
/// for number in 0..10 {
///     writer.chunk()?.fill(number);
///     writer.send(65536)?;
/// }
/// drop(writer); // otherwise the reader would wait forever
/// let all = reading.join().unwrap()?;
/// assert!(all.iter().zip(0..10 * 65536).all(|(&byte, at)| usize::from(byte) == at / 65536));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ChunkWriter<W = PipeWriter> {
    pipe: W,
    reuse: Reuse,
    mechanism: ChunkMechanism,
    /// Set if the caller has not chosen the mechanism. The writer may then fall back to `write`.
    replaceable: bool,
    chunk: usize,
    memory: Memory,
    pool: Pool,
    lent: Option<Lent>,
    /// The number of bytes that this writer has sent since its memory was mapped in this process.
    sent: u64,
    spin: Spin,
}

impl ChunkWriter {
    /// Returns a builder for a writer to a pipe or to any other descriptor.
    pub const fn builder() -> WriterBuilder {
        WriterBuilder {
            chunk: WRITE_CHUNK,
            reuse: Reuse::Never,
            mechanism: None,
            wait: Wait::Block,
            keep_capacity: false,
        }
    }
}

/// The current chunk: lent, sent in part, or sent and kept for another send.
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// The chunk's offset in the memory.
    start: usize,
    /// The number of bytes that may be sent: the whole chunk or, after a send, the bytes that were sent.
    len: usize,
    /// The number of bytes that an incomplete send has already sent, or 0.
    done: usize,
    /// Set if a send has succeeded. The chunk may then only be resent.
    is_sent: bool,
    /// Two numbers: the offset in the chunk at which the bytes handed over by reference end, and the value of
    /// `sent` after the last of these bytes.
    referenced: Option<(usize, u64)>,
}

impl<W: AsFd> ChunkWriter<W> {
    /// Creates a writer with chunks of 1 MiB and the best mechanism that works. The writer is correct for
    /// every consumer ([`Reuse::Never`]). Raises the capacity of the pipe to
    /// [`Max`](crate::pipe::Capacity::Max), as far as the kernel allows it.
    ///
    /// # Errors
    ///
    /// Fails as [`WriterBuilder::build`] does.
    pub fn new(pipe: W) -> Result<Self> {
        ChunkWriter::builder().build(pipe)
    }

    /// Lends the next chunk, of the size that was set with the builder, for the caller to fill. Never waits.
    ///
    /// The contents of the chunk are unspecified: zeros, or bytes of an earlier chunk. With
    /// [`Reuse::AfterRead`], the chunk contains either only zeros or exactly the bytes that an earlier chunk
    /// contained when its borrow ended. If an earlier chunk was not sent, or was sent only in part, this call
    /// discards its unsent bytes. (To send the same bytes repeatedly, see [`resend`](Self::resend).)
    ///
    /// In a forked child, the first call maps new memory, except with [`ChunkMechanism::Write`]. The child
    /// never changes the parent's memory.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`](Errno::ENOMEM), [`EMFILE`](Errno::EMFILE) or [`ENFILE`](Errno::ENFILE) if the call needs
    ///   new memory, or a descriptor for that memory, and cannot obtain it. Bytes that were sent stay in the
    ///   pipe. The caller can try again later.
    /// - [`EPERM`](Errno::EPERM), or another error that a filter returns, if the call needs new memory and a
    ///   filter that was installed after the writer was built rejects `madvise` or `memfd_create`. The error
    ///   occurs only if the caller has set the mechanism.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::ChunkWriter;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let mut writer = ChunkWriter::builder().chunk(50_000).build(writer)?;
    /// let chunk = writer.chunk()?;
    /// assert_eq!(chunk.len(), 50_000);
    /// chunk[..5].copy_from_slice(b"hello");
    /// writer.send(5)?;
    /// assert_eq!(reader.available()?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn chunk(&mut self) -> Result<&mut [u8]> {
        self.replace_inherited_memory()?;
        self.give_up();
        let (sent, pipe) = (self.sent, self.pipe.as_fd());
        // If the unread bytes cannot be counted, this code assumes that no byte has left the pipe.
        let read = || match call::ioctl_fionread(pipe) {
            Ok(unread) => sent.saturating_sub(u64::try_from(unread).unwrap_or(u64::MAX)),
            Err(_) => 0,
        };
        let start = match self.pool.take(read) {
            Some(start) => start,
            None => {
                let renewed = self.memory.renew();
                self.or_for_writes(renewed)?;
                self.pool.reset();
                self.pool.take(|| 0).ok_or(Errno::ENOMEM)?
            }
        };
        let len = self.chunk;
        self.lent = Some(Lent { start, len, done: 0, is_sent: false, referenced: None });
        Ok(self.memory.bytes_mut(start..start + self.chunk))
    }

    /// Sends the first `len` bytes of the lent chunk. Continues after a short count, and retries on `EINTR`,
    /// until the pipe has accepted all of these bytes.
    ///
    /// A send of less than 16 KiB is copied, because a copy is faster for small sends. If pages are larger
    /// than 16 KiB, this limit is one page. Sending 0 bytes makes no system call, and the chunk stays lent.
    /// After a successful send of at least one byte, the chunk is no longer lent, even if `len` is less than
    /// the chunk's size.
    ///
    /// # Errors
    ///
    /// The [`Incomplete`] holds the exact number of bytes that were sent, and the reason. The remaining bytes
    /// stay lent. Another `send` of at most this number of bytes continues after those that were sent.
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if the pipe is nonblocking and full.
    /// - [`EINVAL`](Errno::EINVAL) if no chunk is lent or `len` is more than the remaining size of the chunk.
    ///   The error also occurs if this process is a forked child and the chunk was lent before the fork.
    ///   (With [`ChunkMechanism::Write`], the child may send its copy.) A call that fails with this error
    ///   sends nothing.
    /// - [`EPIPE`](Errno::EPIPE) if the pipe has no reader. The process also receives `SIGPIPE`, which kills
    ///   it unless the signal is ignored, blocked or handled. Rust's `main` ignores the signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::ChunkWriter;
    /// use rawpipe::{Errno, pipe};
    ///
    /// let (reader, writer) = pipe::Builder::new().nonblocking().build()?;
    /// let mut writer = ChunkWriter::builder().chunk(4 << 20).build(writer)?;
    /// writer.chunk()?.fill(b'x');
    /// let stopped = writer.send(4 << 20).unwrap_err();
    /// assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
    /// assert_eq!(stopped.bytes(), reader.available()?);
    ///
    /// reader.read_exact(&mut vec![0; stopped.bytes()])?;
    /// writer.send(100_000)?; // of the remaining bytes
    /// assert_eq!(reader.available()?, 100_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [vmsplice(2)](https://man7.org/linux/man-pages/man2/vmsplice.2.html)
    #[doc(alias = "vmsplice")]
    pub fn send(&mut self, len: usize) -> core::result::Result<(), Incomplete> {
        self.hand_over(len, false)
    }

    /// Sends the first `len` bytes of the last sent chunk again. Continues after a short count, and retries
    /// on `EINTR`, until the pipe has accepted all of these bytes.
    ///
    /// The chunk can be sent any number of times until the next call to [`chunk`](Self::chunk). For repeated
    /// bytes, this call is faster than filling a chunk each time. Chunks of 64–256 KiB are fastest, because a
    /// pipe of 1 MiB holds several of them, and they stay in the processor's caches.
    ///
    /// Sending a chunk again is correct with both policies of [`Reuse`]. With [`Reuse::Never`], no later
    /// chunk uses the same pages. With [`Reuse::AfterRead`], the pages become free once the chunk has been
    /// read as many times as it was sent.
    ///
    /// Small sends and sends of 0 bytes behave as in [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// The [`Incomplete`] holds the exact number of bytes that were sent, and the reason. Another `resend` of
    /// at most the remaining number of bytes continues after the bytes that were sent. After a successful
    /// `resend`, the next one starts again at the first byte.
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if the pipe is nonblocking and full.
    /// - [`EINVAL`](Errno::EINVAL) if `len` is more than the number of bytes that were sent from the chunk,
    ///   or more than the number that an incomplete `resend` has left. The error also occurs if no chunk was
    ///   sent, or if no `send` of the current chunk has succeeded. In a forked child, the error also occurs
    ///   if the chunk was sent before the fork. (With [`ChunkMechanism::Write`], the child may send its
    ///   copy.) A call that fails with this error sends nothing.
    /// - [`EPIPE`](Errno::EPIPE) if the pipe has no reader. The process also receives `SIGPIPE`, as with
    ///   [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// This program does what `yes` does, until the reader closes its end:
    ///
    /// ```
    /// use rawpipe::{Errno, chunk::ChunkWriter};
    /// use std::thread;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let reading = thread::spawn(move || {
    ///     let mut lines = vec![0; 1_000_000];
    ///     reader.read_exact(&mut lines).map(|()| lines)
    /// });
    /// let mut writer = ChunkWriter::builder().chunk(65536).build(writer)?;
    /// writer.chunk()?.chunks_exact_mut(2).for_each(|line| line.copy_from_slice(b"y\n"));
    /// let mut sent = writer.send(65536);
    /// while sent.is_ok() {
    ///     sent = writer.resend(65536); // the same pages, and no copy
    /// }
    /// assert_eq!(sent.unwrap_err().errno(), Some(Errno::EPIPE));
    /// assert!(reading.join().unwrap()?.chunks(2).all(|line| line == b"y\n"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [vmsplice(2)](https://man7.org/linux/man-pages/man2/vmsplice.2.html)
    #[doc(alias = "yes")]
    pub fn resend(&mut self, len: usize) -> core::result::Result<(), Incomplete> {
        self.hand_over(len, true)
    }

    fn hand_over(&mut self, len: usize, again: bool) -> core::result::Result<(), Incomplete> {
        if len == 0 {
            return Ok(());
        }
        if self.memory.is_forked() {
            self.lent = None;
        }
        let possible = |lent: &Lent| lent.is_sent == again && len <= lent.len - lent.done;
        let Some(mut lent) = self.lent.filter(possible) else {
            return Err(Incomplete { bytes: 0, errno: Some(Errno::EINVAL) });
        };
        let before = lent.done;
        let stopped = self.push(&mut lent, len);
        let bytes = lent.done - before;
        if stopped.is_ok() {
            if !again {
                (lent.len, lent.is_sent) = (lent.done, true);
            }
            lent.done = 0;
        }
        self.lent = Some(lent);
        stopped.map_err(|errno| Incomplete { bytes, errno })
    }

    /// Sends the next `len` bytes of the chunk. An error without an errno means that a call moved no bytes.
    fn push(&mut self, lent: &mut Lent, len: usize) -> core::result::Result<(), Option<Errno>> {
        // In this function, only `as_fd` runs the caller's code, which may panic. After `as_fd` has returned,
        // every page that is handed over is recorded in `lent`.
        let pipe = self.pipe.as_fd();
        let end = lent.done + len;
        let mut by_reference =
            self.mechanism != ChunkMechanism::Write && len >= SMALL.max(page::size());
        let mut wait = false;
        while lent.done < end {
            let range = lent.start + lent.done..lent.start + end;
            let answer = if by_reference {
                self.memory.hand_over(range, pipe, wait)
            } else {
                call::write(pipe, self.memory.bytes(range))
            };
            match answer {
                Ok(0) => return Err(None),
                Ok(count) => {
                    lent.done += count;
                    self.sent += count as u64;
                    if by_reference {
                        let end = lent.referenced.map_or(0, |(end, _)| end).max(lent.done);
                        lent.referenced = Some((end, self.sent));
                    }
                    wait = false;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if by_reference && !wait => {
                    if io::is_nonblocking(pipe)? {
                        return Err(Some(Errno::EAGAIN));
                    }
                    self.spin.wait(pipe, PollEvents::OUT);
                    wait = true;
                }
                Err(errno) if by_reference && self.replaceable && call::is_unsupported(errno) => {
                    // The bytes that were already handed over are in the pipe, and the remaining bytes are
                    // still in the memory.
                    self.mechanism = ChunkMechanism::Write;
                    by_reference = false;
                }
                Err(errno) => return Err(Some(errno)),
            }
        }
        Ok(())
    }

    /// Puts the current chunk back into the pool.
    fn give_up(&mut self) {
        if let Some(lent) = self.lent.take() {
            let used = lent.referenced.map_or(0, |(end, _)| end);
            self.pool.put(lent.start, used, lent.referenced.map(|(_, sent)| sent));
        }
    }

    fn or_for_writes(&mut self, renewed: Result<()>) -> Result<()> {
        match renewed {
            Err(errno)
                if self.replaceable && (call::is_unsupported(errno) || errno == Errno::EFBIG) =>
            {
                self.memory = Memory::new(ChunkMechanism::Write, self.memory.len())?;
                self.mechanism = ChunkMechanism::Write;
                Ok(())
            }
            answer => answer,
        }
    }

    /// In a forked child, replaces the memory inherited from the parent with new memory.
    fn replace_inherited_memory(&mut self) -> Result<()> {
        if self.memory.is_forked() {
            self.lent = None;
            let made = Memory::new(self.mechanism, self.memory.len());
            let made = made.map(|memory| self.memory = memory);
            self.or_for_writes(made)?;
            self.pool.reset();
            self.sent = 0;
        }
        Ok(())
    }

    /// Returns the mechanism that moves chunks into the pipe. If the caller has not set the mechanism, and it
    /// fails later because of a filter or `RLIMIT_FSIZE`, the writer changes to [`ChunkMechanism::Write`].
    #[must_use]
    pub const fn mechanism(&self) -> ChunkMechanism {
        self.mechanism
    }

    /// Returns the condition under which the writer reuses memory that was handed over.
    #[must_use]
    pub const fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// Returns a reference to the write end. Bytes that are written directly to the write end appear between
    /// the chunks.
    #[must_use]
    pub const fn get_ref(&self) -> &W {
        &self.pipe
    }

    /// Returns the write end. Bytes that were sent stay in the pipe.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.pipe
    }
}

impl<W: AsFd> AsFd for ChunkWriter<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
