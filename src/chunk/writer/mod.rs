//! The producer: lends memory to be filled, and hands it to a pipe.

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

/// Sends chunks through a pipe without copying them: it lends memory of its own to be filled, and
/// hands the pages to the pipe.
///
/// Each round is a [`chunk`](Self::chunk) and a [`send`](Self::send). Why this is safe, and for which
/// consumers which [`Reuse`] is right, is said in the [module](crate::chunk). Dropping it closes the
/// write end; what was sent and not yet read stays in the pipe.
///
/// `W` owns or borrows the descriptor: a [`PipeWriter`], a `&Stdout`, a `BorrowedFd`. What is not a pipe
/// (a file, a socket, a terminal) gets each chunk by `write`.
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
/// drop(writer); // or the reader would wait for ever
/// let all = reading.join().unwrap()?;
/// assert!(all.iter().zip(0..10 * 65536).all(|(&byte, at)| usize::from(byte) == at / 65536));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ChunkWriter<W = PipeWriter> {
    pipe: W,
    reuse: Reuse,
    mechanism: ChunkMechanism,
    /// The mechanism was not the caller's choice, so another may take its place.
    replaceable: bool,
    chunk: usize,
    memory: Memory,
    pool: Pool,
    lent: Option<Lent>,
    /// Bytes that this writer has put into the pipe.
    sent: u64,
    spin: Spin,
}

impl ChunkWriter {
    /// Makes a writer step by step, to a pipe or to any other descriptor.
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

/// The current chunk: lent, sent in part, or sent and kept to be sent again.
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// Where it begins in the memory.
    start: usize,
    /// How many of its bytes may be sent: all, and after a send those that were.
    len: usize,
    /// How many of them the current send has sent.
    done: usize,
    /// A send has succeeded, so the chunk may only be sent again.
    is_sent: bool,
    /// The end of the bytes that were handed over by reference, and `sent` after the last of them.
    referenced: Option<(usize, u64)>,
}

impl<W: AsFd> ChunkWriter<W> {
    /// A writer with chunks of 1 MiB, right for every consumer ([`Reuse::Never`]), by the best
    /// mechanism. The capacity of the pipe is raised to [`Max`](crate::pipe::Capacity::Max), as far as
    /// that is granted.
    ///
    /// # Errors
    ///
    /// As [`WriterBuilder::build`].
    pub fn new(pipe: W) -> Result<Self> {
        ChunkWriter::builder().build(pipe)
    }

    /// Lends the next chunk to be filled: as many bytes as the builder was told. Does not wait.
    ///
    /// What is in it is unspecified: zeros, or something of an earlier chunk. With
    /// [`Reuse::AfterRead`] it is one or the other as a whole: all zeros, or, byte for byte, what an
    /// earlier chunk was when it was given back. A chunk that was lent before and not sent is given up,
    /// and so is the rest of one that was sent in part. (For the same bytes over and over, see
    /// [`resend`](Self::resend).)
    ///
    /// In a forked child the first call makes new memory. The parent's is not touched.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`](Errno::ENOMEM), [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE): new memory
    ///   was needed, and there is none to be had. What was sent is in the pipe. Try again later.
    /// - [`EPERM`](Errno::EPERM), or what else a filter answers: new memory was needed, `madvise` or
    ///   `memfd_create` has worked before and is refused now, and the caller has asked for this
    ///   mechanism.
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
        self.leave_the_parent_alone()?;
        self.give_up();
        let (sent, pipe) = (self.sent, self.pipe.as_fd());
        // If the pipe does not tell, nothing is known to have left it.
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

    /// Sends the first `len` bytes of the chunk that is lent. Goes on until the pipe has all of them:
    /// after a short count, and after a signal.
    ///
    /// Less than 16 KiB, or less than a page where pages are larger, are copied, which is faster for so
    /// few. 0 bytes are sent without looking at the pipe, and the chunk stays lent.
    /// After a success the chunk is lent no more, also where `len` was less than all of it.
    ///
    /// # Errors
    ///
    /// An [`Incomplete`] says how many bytes the pipe has got, exactly, and why not more. The rest
    /// stays lent as it is: another `send` of as many bytes or less goes on behind them.
    ///
    /// - [`EAGAIN`](Errno::EAGAIN): the pipe is nonblocking and full.
    /// - [`EINVAL`](Errno::EINVAL): `len` is more than the (rest of the) chunk, or no chunk is lent,
    ///   or it was lent before a fork and this is the child (but with [`ChunkMechanism::Write`] the child
    ///   may send its copy). Nothing was sent.
    /// - [`EPIPE`](Errno::EPIPE): nobody is left to read. The process also gets `SIGPIPE`, which
    ///   kills it unless it is ignored, as it is in Rust programs with a `main`.
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
    /// writer.send(100_000)?; // of the rest
    /// assert_eq!(reader.available()?, 100_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [vmsplice(2)](https://man7.org/linux/man-pages/man2/vmsplice.2.html)
    #[doc(alias = "vmsplice")]
    pub fn send(&mut self, len: usize) -> core::result::Result<(), Incomplete> {
        self.hand_over(len, false)
    }

    /// Sends the first `len` bytes of the chunk that was sent last once more. Repeats until the pipe has
    /// all of them: after a short count, and after a signal.
    ///
    /// The chunk can be sent any number of times until the next call of [`chunk`](Self::chunk). For the
    /// same bytes over and over this is several times faster than to fill a chunk each time. Best are
    /// chunks of 64 to 256 KiB: of these a pipe of 1 MiB holds several, and they stay in the processor's
    /// caches.
    ///
    /// This is correct with both policies of [`Reuse`]. With [`Reuse::Never`] no later chunk has these
    /// pages. With [`Reuse::AfterRead`] they become free when the chunk was read as often as it was sent.
    ///
    /// Small sends and 0 bytes are as in [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// An [`Incomplete`] holds the exact number of bytes that were sent, and the reason. Another `resend`
    /// of as many bytes as remain, or fewer, continues after them. After a success the next one begins
    /// with the first byte again.
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if the pipe is nonblocking and full.
    /// - [`EINVAL`](Errno::EINVAL) if `len` is more than was sent of the chunk, or more than remains. Also
    ///   if no chunk was sent, if the chunk that is lent now was not sent, or only in part, or if the chunk
    ///   was sent before a fork and this is the child (but with [`ChunkMechanism::Write`] the child may
    ///   send its copy). Nothing was sent.
    /// - [`EPIPE`](Errno::EPIPE) if the pipe has no reader. The process also gets `SIGPIPE`, as with
    ///   [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// What `yes` does, until the reader has enough:
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

    /// Sends `len` bytes behind those that are done. An error without a number is a call that moved
    /// nothing.
    fn push(&mut self, lent: &mut Lent, len: usize) -> core::result::Result<(), Option<Errno>> {
        let end = lent.done + len;
        let mut by_reference =
            self.mechanism != ChunkMechanism::Write && len >= SMALL.max(page::size());
        let mut wait = false;
        while lent.done < end {
            let range = lent.start + lent.done..lent.start + end;
            let answer = if by_reference {
                self.memory.hand_over(range, self.pipe.as_fd(), wait)
            } else {
                call::write(self.pipe.as_fd(), self.memory.bytes(range))
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
                    if io::is_nonblocking(&self.pipe)? {
                        return Err(Some(Errno::EAGAIN));
                    }
                    self.spin.wait(self.pipe.as_fd(), PollEvents::OUT);
                    wait = true;
                }
                Err(errno) if by_reference && self.replaceable && call::is_unsupported(errno) => {
                    // What was handed over so far is in the pipe, and the rest is still here.
                    self.mechanism = ChunkMechanism::Write;
                    by_reference = false;
                }
                Err(errno) => return Err(Some(errno)),
            }
        }
        Ok(())
    }

    /// Gives the current chunk back to the pool.
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

    /// In a forked child: takes memory of its own in the place of the parent's.
    fn leave_the_parent_alone(&mut self) -> Result<()> {
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

    /// How chunks get into the pipe. It becomes [`ChunkMechanism::Write`] when the kernel refuses another
    /// one that the caller has not asked for.
    #[must_use]
    pub const fn mechanism(&self) -> ChunkMechanism {
        self.mechanism
    }

    /// When memory that was handed over is written again.
    #[must_use]
    pub const fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// The write end. What is written to it directly comes between the chunks.
    #[must_use]
    pub const fn get_ref(&self) -> &W {
        &self.pipe
    }

    /// Gives the write end back. What was sent stays in the pipe.
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
