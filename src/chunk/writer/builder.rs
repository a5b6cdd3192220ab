//! Builds a chunk writer: chooses the mechanism, the size of a chunk, and the capacity of the pipe.

use super::super::probe::{Finding, find};
use super::{ChunkMechanism, ChunkWriter, Memory, Pool, Reuse, SMALL};
use crate::fd::AsFd;
use crate::pipe::{self, Capacity};
use crate::sys::map::{HUGE, round_up};
use crate::sys::{abi, call, page};
use crate::wait::{Spin, Wait};
use crate::{Errno, Result};

/// The maximum size in bytes of a writer's memory with [`Reuse::AfterRead`]. The memory may be larger only if
/// the pipe's capacity and two chunks together exceed this size.
const MOST: usize = 32 << 20;

/// The capacity in bytes to which the builder enlarges a pipe for small chunks, which are copied with
/// `write`. In a larger pipe, bytes could leave the cache before the reader copies them.
const SMALL_PIPE: usize = 128 << 10;

/// Configures and builds a [`ChunkWriter`].
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
    /// Sets the size of a chunk in bytes. 0 counts as 1. The writer uses memory in whole pages.
    ///
    /// Chunks of less than 16 KiB (or less than a page, if pages are larger) are copied with `write`. For
    /// these chunks, the builder enlarges the pipe to 128 KiB if the pipe is smaller, and otherwise keeps the
    /// pipe's capacity.
    pub const fn chunk(self, bytes: usize) -> Self {
        Self { chunk: if bytes == 0 { 1 } else { bytes }, ..self }
    }

    /// Sets the condition under which the writer reuses memory that was handed over.
    pub const fn reuse(self, reuse: Reuse) -> Self {
        Self { reuse, ..self }
    }

    /// Sets the mechanism. The writer then uses no other mechanism, even if this mechanism is slower than
    /// another mechanism, or only copies the bytes.
    pub const fn mechanism(self, mechanism: ChunkMechanism) -> Self {
        Self { mechanism: Some(mechanism), ..self }
    }

    /// Sets the policy for waiting for room in a blocking pipe. Plain writes ignore this policy and sleep.
    pub const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Keeps the capacity of the pipe unchanged.
    pub const fn keep_capacity(self) -> Self {
        Self { keep_capacity: true, ..self }
    }

    /// Creates the writer.
    ///
    /// # Errors
    ///
    /// - [`EBADF`](Errno::EBADF) if `to` is not open for writing.
    /// - [`ENOMEM`](Errno::ENOMEM), [`EMFILE`](Errno::EMFILE) or [`ENFILE`](Errno::ENFILE) if not enough
    ///   memory is available. With [`ChunkMechanism::Memfd`], these errors also occur if no free descriptor
    ///   is available.
    /// - [`EFBIG`](Errno::EFBIG) if the caller has set [`ChunkMechanism::Memfd`] and the memory exceeds
    ///   `RLIMIT_FSIZE`.
    /// - [`EOPNOTSUPP`](Errno::EOPNOTSUPP) if the mechanism that was set does not work on this kernel. The
    ///   error also occurs if the mechanism cannot be checked because a limit on memory, descriptors or
    ///   file sizes is reached. Finally, the error occurs if the mechanism needs a pipe, but `to` is a packet pipe
    ///   (`O_DIRECT`) or is not a pipe.
    ///
    /// # Examples
    ///
    /// This program sends chunks to standard output, which may be any kind of descriptor:
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
        // If pages were mixed with packets, a reader could lose bytes regardless of the size of its buffer.
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
            // A page occupies a slot. With one or two slots, each page would need a call and a wait.
            None if !by_reference || capacity <= 2 * page => ChunkMechanism::Write,
            None if find(ChunkMechanism::Vmsplice) == Finding::References => {
                ChunkMechanism::Vmsplice
            }
            // Without reuse, the writer needs a new file whenever its memory is used up, and a new file costs
            // more than a copy.
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

    /// Returns the size of the memory to map. Memory that is never lent is never touched and uses only
    /// address space.
    fn memory_len(&self, mechanism: ChunkMechanism, stride: usize, capacity: usize) -> usize {
        match (mechanism, self.reuse) {
            (ChunkMechanism::Write, _) => stride,
            (_, Reuse::Never) => stride.max(HUGE),
            (_, Reuse::AfterRead) => {
                // Up to `MOST` bytes, the memory has room for the chunks that the pipe can hold, one chunk to
                // fill, and one partly sent chunk.
                let enough = (capacity / SMALL + 2).saturating_mul(stride).min(MOST);
                enough.max(capacity.saturating_add(stride.saturating_mul(2)))
            }
        }
    }
}
