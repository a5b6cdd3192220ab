//! Making a producer: the choice of mechanism, the size of a chunk, and the capacity of the pipe.

use super::super::probe::{Finding, find};
use super::{ChunkMechanism, ChunkWriter, Memory, Pool, Reuse, SMALL};
use crate::fd::AsFd;
use crate::pipe::{self, Capacity};
use crate::sys::map::{HUGE, round_up};
use crate::sys::{abi, call, page};
use crate::wait::{Spin, Wait};
use crate::{Errno, Result};

/// However small the chunks that are sent of it, a writer's memory has at most this many bytes of
/// addresses, or what the pipe holds and two chunks more.
const MOST: usize = 32 << 20;

/// How large a pipe is made that only gets plain writes: what is copied into a larger one has left the
/// cache when it is copied out again.
const SMALL_PIPE: usize = 128 << 10;

/// Makes a [`ChunkWriter`] step by step.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::{ChunkWriter, Reuse};
/// use rawpipe::Wait;
///
/// let (_reader, writer) = rawpipe::pipe()?;
/// let before = writer.capacity()?;
/// let writer = ChunkWriter::builder()
///     .chunk(256 << 10)
///     .reuse(Reuse::AfterRead)
///     .wait(Wait::Adaptive)
///     .keep_capacity()
///     .build(writer)?;
/// assert_eq!((writer.reuse(), writer.get_ref().capacity()?), (Reuse::AfterRead, before));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder makes no writer until `build` is called"]
pub struct WriterBuilder {
    pub(super) chunk: usize,
    pub(super) reuse: Reuse,
    pub(super) mechanism: Option<ChunkMechanism>,
    pub(super) wait: Wait,
    pub(super) keep_capacity: bool,
}

impl WriterBuilder {
    /// Chunks of this many bytes; 0 counts as 1. Memory is used in whole pages.
    ///
    /// When they have less than 16 KiB, so that each is written, the pipe is made no larger than 128 KiB.
    pub const fn chunk(self, bytes: usize) -> Self {
        Self { chunk: if bytes == 0 { 1 } else { bytes }, ..self }
    }

    /// When memory that was handed over may be written again.
    pub const fn reuse(self, reuse: Reuse) -> Self {
        Self { reuse, ..self }
    }

    /// This mechanism and no other, even where it is slower, or only makes copies.
    pub const fn mechanism(self, mechanism: ChunkMechanism) -> Self {
        Self { mechanism: Some(mechanism), ..self }
    }

    /// How to wait for room in a pipe that is not nonblocking. Plain writes always wait asleep.
    pub const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Leaves the pipe as large as it is.
    pub const fn keep_capacity(self) -> Self {
        Self { keep_capacity: true, ..self }
    }

    /// Makes the writer.
    ///
    /// # Errors
    ///
    /// - [`EBADF`](Errno::EBADF): `to` is not open for writing.
    /// - [`ENOMEM`](Errno::ENOMEM), [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE): not enough
    ///   memory, or, for [`ChunkMechanism::Memfd`], descriptors.
    /// - [`EFBIG`](Errno::EFBIG): for [`ChunkMechanism::Memfd`], more memory than `RLIMIT_FSIZE`.
    /// - [`EOPNOTSUPP`](Errno::EOPNOTSUPP): the mechanism that was asked for does not work here, or
    ///   `to` is not a pipe, or is a packet pipe (`O_DIRECT`).
    ///
    /// # Examples
    ///
    /// Chunks to the standard output, whatever that is:
    ///
    /// ```
    /// use rawpipe::chunk::ChunkWriter;
    ///
    /// let stdout = std::io::stdout();
    /// let mut writer = ChunkWriter::builder().chunk(10).build(&stdout)?;
    /// writer.chunk()?.copy_from_slice(b"ten bytes\n");
    /// writer.send(10)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build<W: AsFd>(self, to: W) -> Result<ChunkWriter<W>> {
        let flags = call::fcntl_getfl(to.as_fd())?;
        if flags & abi::O_ACCMODE == abi::O_RDONLY {
            return Err(Errno::EBADF);
        }
        let found = pipe::capacity(to.as_fd()).ok();
        // Pages among packets would leave a reader no size of a buffer that loses nothing.
        let by_reference = found.is_some() && flags & abi::O_DIRECT as usize == 0;
        let capacity = found.unwrap_or(0);
        let page = page::size();
        let wanted = match self.chunk < SMALL.max(page) {
            true => Capacity::Bytes(SMALL_PIPE.max(capacity)),
            false => Capacity::Max,
        };
        let capacity = match self.keep_capacity || found.is_none() {
            true => capacity,
            false => pipe::set_capacity(to.as_fd(), wanted).unwrap_or(capacity),
        };
        let mechanism = match self.mechanism {
            Some(ChunkMechanism::Write) => ChunkMechanism::Write,
            Some(wanted) if !by_reference || find(wanted) == Finding::Unusable => {
                return Err(Errno::EOPNOTSUPP);
            }
            Some(wanted) => wanted,
            // A page takes a slot: with one or two of them each page would be a call and a wait.
            None if !by_reference || capacity <= 2 * page => ChunkMechanism::Write,
            None if find(ChunkMechanism::Vmsplice) == Finding::References => {
                ChunkMechanism::Vmsplice
            }
            // Without reuse each memory is a new file, which costs more than a copy.
            None if self.reuse == Reuse::AfterRead
                && find(ChunkMechanism::Memfd) == Finding::References =>
            {
                ChunkMechanism::Memfd
            }
            None => ChunkMechanism::Write,
        };
        let stride = round_up(self.chunk, page)?;
        let memory = Memory::new(mechanism, self.memory_len(mechanism, stride, capacity));
        let (mechanism, memory) = match memory {
            Err(Errno::EFBIG) if self.mechanism.is_none() => {
                (ChunkMechanism::Write, Memory::new(ChunkMechanism::Write, stride)?)
            }
            memory => (mechanism, memory?),
        };
        Ok(ChunkWriter {
            pool: Pool::new(self.reuse, page, stride, memory.len())?,
            pipe: to,
            reuse: self.reuse,
            mechanism,
            replaceable: self.mechanism.is_none(),
            chunk: self.chunk,
            memory,
            lent: None,
            sent: 0,
            spin: Spin::new(self.wait),
        })
    }

    /// How much memory is worth having: what is never lent is never touched and costs addresses only.
    fn memory_len(&self, mechanism: ChunkMechanism, stride: usize, capacity: usize) -> usize {
        match (mechanism, self.reuse) {
            (ChunkMechanism::Write, _) => stride,
            (_, Reuse::Never) => stride.max(HUGE),
            (_, Reuse::AfterRead) => {
                // As many chunks as the pipe can hold, and then one to fill, and one half sent.
                let enough = (capacity / SMALL + 2).saturating_mul(stride).min(MOST);
                enough.max(capacity.saturating_add(stride.saturating_mul(2)))
            }
        }
    }
}
