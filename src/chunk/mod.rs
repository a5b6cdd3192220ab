//! Sends bytes without copying them, if the kernel supports this. A [`ChunkWriter`] lends memory for the
//! caller to fill, and hands the pages themselves to a pipe. A [`ChunkReader`] either reads bytes into its
//! own memory, or moves the bytes to another descriptor without reading them.
//!
//! If the cost of a copy does not matter, a plain pipe is enough. A [`ChunkWriter`] works with any reader of
//! a pipe. If the reader is a thread, a forked process, or a program that can use the other half of a shared
//! pair, use [shared chunks](mod@shared). Shared chunks are not copied, unless the program that writes them
//! is not trusted. While neither half has to wait, a shared pair makes no system calls.
//!
//! ```
//! use rawpipe::chunk::{ChunkReader, ChunkWriter};
//!
//! let (reader, writer) = rawpipe::pipe()?;
//! let mut writer = ChunkWriter::new(writer)?;
//! let mut reader = ChunkReader::new(reader)?;
//! for round in 1..=3 {
//!     let chunk = writer.chunk()?; // 1 MiB, to be filled completely or in part
//!     chunk[..40_000].fill(round);
//!     writer.send(40_000)?; // the pipe now has the pages, not a copy
//!
//!     let received = reader.read_chunk()?;
//!     assert!(received.len() == 40_000 && received.iter().all(|&byte| byte == round));
//! }
//! drop(writer);
//! assert!(reader.read_chunk()?.is_empty()); // end of file
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Which mechanism
//!
//! `vmsplice` hands over pages of ordinary memory. `splice` does the same with pages of a file in memory (a
//! memfd) that the writer has mapped. Before the first use of either mechanism in a process, the crate checks
//! that mechanism by sending pages through a private pipe. The check shows whether the pipe holds the pages
//! or copies of them, and whether the sent bytes stay unchanged when the writer releases the pages. A
//! mechanism that does not work is never used, and a mechanism that only copies the bytes is used only if the
//! caller requests it. With [`Reuse::Never`], a memfd is used only if the caller requests it. A memfd would
//! need a new file each time the memory is used up, and creating a file costs more than copying the bytes.
//!
//! If no other mechanism works, a plain `write` is used. Sends of less than 16 KiB (or less than a page, if
//! pages are larger) also use `write`, because `write` is faster for small sends. A page occupies a whole
//! slot of the pipe, even if only a part of the page was sent.
//!
//! A plain `write` is also used for descriptors that are not pipes. Unless the caller sets another mechanism,
//! the same applies to pipes of at most two pages. A [packet pipe](crate::message::packets) also needs a
//! plain `write`, because a reader could lose bytes if pages were mixed with packets. The reader of a packet
//! pipe needs buffers of at least [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes. If `O_DIRECT` is set on the pipe
//! after the writer was built, bytes may be lost. [`mechanism`](ChunkWriter::mechanism) returns the mechanism
//! in use.
//!
//! # Why this is sound
//!
//! `vmsplice` is unsafe because the kernel never reports when it has finished with a page. An empty pipe does
//! not prove that the kernel has finished: the reader may have moved the page elsewhere with `splice` or
//! `tee`. [`ChunkWriter`] and [`ChunkReader`] are safe for the following reasons.
//!
//! 1. *The pages belong to the writer.* The writer maps them, and they are never part of an allocator's
//!    memory or of a stack. The pages hold only the contents of the writer's chunks. A reader that keeps a
//!    page for too long therefore sees only bytes of the *same* writer's chunks, never another part of the
//!    program's memory. However, the reader may see bytes that were written to a chunk but never sent. Do not
//!    write a secret to a chunk unless it is meant for the reader.
//! 2. *Unmapping removes no page from the pipe.* The kernel counts references to each page, and the pipe
//!    holds its own reference. `munmap` and `MADV_DONTNEED` drop the mapping's reference. The page and its
//!    contents live until the last reference is dropped. Dropping the writer therefore neither waits nor
//!    changes a byte that was sent, and the *kernel* never reuses a page while a pipe holds it.
//! 3. *[`Reuse::Never`] never writes to a page that was handed over.* Each chunk begins on a page that
//!    follows the sent pages, even if these were sent [several times](ChunkWriter::resend). When its memory
//!    is used up, the writer releases all pages together (see point 2) and writes to new pages, which contain
//!    zeros. If its memory is a single huge page, the writer instead alternates between two mappings, and
//!    releases the pages of a mapping before reusing that mapping. (The self-check also releases pages and
//!    checks the sent bytes afterwards.) A memfd's pages belong to the file. Unmapping does not release them,
//!    and truncating the file or punching a hole would turn the sent bytes into zeros. With a memfd, the
//!    writer therefore creates a new file and a new mapping each time. The old file is closed unchanged, and
//!    its size is sealed. [`Reuse::Never`] is correct for any consumer, even for a consumer that moves the
//!    pages elsewhere and reads them an hour later.
//! 4. *[`Reuse::AfterRead`] writes to a page again only after the pipe's own count proves that the page has
//!    left the pipe.* The number of bytes that this writer has sent, minus the number of unread bytes in the
//!    pipe (`FIONREAD`), is a position in the stream. A pipe is first in, first out, so all bytes before this
//!    position have left the pipe. A chunk has therefore left the pipe if it ends at or before this position.
//!    If a chunk was sent several times, the end of its last send counts. Bytes of other writers in the same
//!    pipe make `FIONREAD` larger, so these bytes can only delay the proof. (The kernel counts up to 4 GiB. A
//!    pipe can hold more only in buffers of many pages each, and only another writer could add such buffers.)
//!    If a consumer *reads*, the bytes that have left the pipe have been copied. The kernel copies, removes
//!    and counts them under the same lock. **This guarantee does not hold for a consumer that splices or tees
//!    the bytes onward.** A consumer that splices or tees the bytes may see later bytes of the same stream in
//!    place of earlier bytes. Because of point 1, that consumer sees no bytes of other memory.
//!    [`Reuse::AfterRead`] is therefore not the default. If no unused memory remains and the count does not
//!    prove for any chunk that it has left the pipe, the writer does not wait. Instead, the writer releases
//!    all its memory as described in point 3.
//! 5. *A forked child does not write to the memory.* Private memory whose pages are handed over is marked
//!    `MADV_WIPEONFORK`. The child finds zeros, the parent incurs no copy-on-write faults, and the child's
//!    memory never refers to the pages in the pipe. A memfd's mapping stays shared with the parent. Each
//!    writer that hands over pages therefore maps an additional page, which the kernel wipes in a child.
//!    [`chunk`](ChunkWriter::chunk), [`send`](ChunkWriter::send) and [`resend`](ChunkWriter::resend) check
//!    this page. If the page was wiped, `chunk` maps new memory, and the other two functions fail. The child
//!    therefore cannot send a chunk that was lent before the fork. (Linux before 4.14 does not support wiping
//!    pages, and a user-mode emulator may accept the advice without effect. In these environments, only plain
//!    writes work.) Code that continues *writing* to that chunk in the child violates the contract of
//!    [`fork`](crate::fork()). In each process, dropping the writer unmaps the writer's addresses. These
//!    addresses have held no other mapping since the writer mapped them. `MADV_DONTFORK` is not sufficient,
//!    because it leaves a gap in the child's address space. Dropping the writer would unmap any other mapping
//!    that the child has created in that gap.
//! 6. *Rust's aliasing rules are respected.* `chunk` borrows the writer exclusively, so the slice is no
//!    longer alive when `send` is called. No other code in this process can reach the memory. The kernel
//!    reads the memory through its own mappings, for any process that reads the pipe. The kernel writes to
//!    the memory only in the case of point 7.
//! 7. *The descriptor is the write end of a pipe.* If pages will be handed over, the builder checks that the
//!    descriptor is a pipe that is open for writing. The `as_fd` of a caller's type may later return another
//!    descriptor. The bytes are then sent to that other descriptor. If that descriptor is a read end,
//!    `vmsplice` writes to the memory, which is lent to that call exclusively. If the chunk is then sent
//!    again, the reader of the chunk may see bytes from the other descriptor's pipe. With
//!    [`Reuse::AfterRead`], the count of point 4 then belongs to another pipe. A reader may therefore see
//!    later bytes of this stream in place of earlier bytes, although point 1 still holds. Therefore `as_fd`
//!    must always return the same pipe.
//!
//! The argument covers neither another process that opens this process's memory or descriptors through
//! `/proc`, nor code that breaks the rules of `unsafe`. It also does not cover a seccomp filter that makes
//! `madvise` report success without executing the call, if the filter is installed after the first writer was
//! built. No library can prevent these cases.
//!
//! # A hostile peer
//!
//! A reader cannot change any byte of this process's memory, but it can make the writer wait. The reader can
//! stop reading, or it can hold the pipe's lock. Neither a deadline nor the nonblocking flag bounds the wait
//! for that lock: see [`Deadline`](crate::Deadline#a-peer-that-holds-the-pipe). The reader can also keep
//! memory in use. If the reader splices a single byte into another pipe, this byte keeps its whole huge page
//! (2 MiB) allocated. The reader's own limits count only 4 KiB of that page.

mod memory;
mod pool;
mod probe;
mod reader;
pub mod shared;
mod writer;

use core::fmt;

pub use reader::{ChunkReader, ReaderBuilder};
pub use shared::shared;
pub use writer::{ChunkWriter, WriterBuilder};

/// The size in bytes below which a send is a plain write with every mechanism. If the size of a page is
/// larger than this value, the size of a page is used instead.
///
/// Measurements show that below this size, copying costs less than handing over pages. The reason is that
/// each page occupies a slot.
const SMALL: usize = 16 << 10;

/// The default size of a writer's chunk in bytes. This size equals the largest capacity of a pipe with
/// [`Capacity::Max`](crate::pipe::Capacity::Max), so that the writer can fill one chunk while the pipe holds
/// another chunk.
const WRITE_CHUNK: usize = 1 << 20;

/// The default size of a reader's chunk in bytes. A chunk of this size is small enough to stay in the
/// second-level cache until the caller processes it.
const READ_CHUNK: usize = 256 << 10;

/// The way in which a [`ChunkWriter`] writes bytes to the pipe.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::{ChunkMechanism, ChunkWriter};
///
/// let (_reader, writer) = rawpipe::pipe()?;
/// let writer = ChunkWriter::builder().mechanism(ChunkMechanism::Write).build(writer)?;
/// assert_eq!(writer.mechanism(), ChunkMechanism::Write);
/// assert_eq!(writer.mechanism().to_string(), "write");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChunkMechanism {
    /// `vmsplice` of private pages, which are huge pages if the kernel provides huge pages.
    Vmsplice,
    /// `splice` of the pages of a file in memory, which the writer has mapped.
    Memfd,
    /// `write`, which copies the bytes into the pipe.
    Write,
}

impl ChunkMechanism {
    /// Returns a short name: `vmsplice`, `memfd` or `write`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vmsplice => "vmsplice",
            Self::Memfd => "memfd",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for ChunkMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The condition under which a [`ChunkWriter`] reuses memory that it has handed to the pipe.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::{ChunkWriter, Reuse};
///
/// // The consumer reads, so the pages may be reused.
/// let (_reader, writer) = rawpipe::pipe()?;
/// let writer = ChunkWriter::builder().reuse(Reuse::AfterRead).build(writer)?;
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reuse {
    /// Never writes to memory that was handed over: the next chunk uses other pages. This policy is correct
    /// for every consumer.
    #[default]
    Never,
    /// Reuses memory once the pipe's count of unread bytes shows that the sent bytes have left the pipe. This
    /// policy can be more than twice as fast as `Never`, but is correct **only if every consumer of the pipe
    /// reads the bytes**. A consumer may use `read`, `readv`, or `splice` to a sink that ignores the bytes,
    /// such as `/dev/null`. A consumer that moves the bytes onward with `splice` or `tee` may see later bytes
    /// of this stream in place of earlier bytes.
    ///
    /// `AfterRead` is also not correct if a consumer opens a FIFO for reading *and* writing, and reads from
    /// it with a deadline or with a `try_` function. Such reads use `splice` first (see
    /// [`io`](crate::io#without-waiting-or-until-a-deadline)).
    AfterRead,
}
