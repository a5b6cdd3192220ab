//! Zero-copy writes from memory. A [`ChunkWriter`] lends memory to be filled, and hands the pages
//! themselves to a pipe. A [`ChunkReader`] reads into memory of its own, or moves the bytes to another
//! descriptor without reading them.
//!
//! If a copy does not matter, a plain pipe is enough. A [`ChunkWriter`] works with any reader of a pipe.
//! If the reader is a thread, a forked process, or a program with the other half, use [shared
//! chunks](mod@shared): no byte is copied on either side, and no system call is made while both are
//! busy.
//!
//! ```
//! use rawpipe::chunk::{ChunkReader, ChunkWriter};
//!
//! let (reader, writer) = rawpipe::pipe()?;
//! let mut writer = ChunkWriter::new(writer)?;
//! let mut reader = ChunkReader::new(reader)?;
//! for round in 1..=3 {
//!     let chunk = writer.chunk()?; // 1 MiB, to be filled in whole or in part
//!     chunk[..40_000].fill(round);
//!     writer.send(40_000)?; // the pipe has the pages now, not a copy
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
//! `vmsplice` hands over pages of ordinary memory. `splice` does the same with pages of a file in memory
//! (a memfd) that the writer has mapped. Both are checked once per process, by sending a page through a
//! pipe of the crate: does the pipe hold the page or a copy, and does it keep the bytes when the writer
//! releases the page? A mechanism that fails the check is not used. With [`Reuse::Never`] a memfd is
//! used only if the caller requests it, because a new file each time costs more than a copy.
//!
//! The last resort is a plain `write`. It is also used for sends of less than 16 KiB, where it is
//! faster: a page in a pipe takes a whole slot, however few of its bytes were sent. And it is used for a
//! [packet pipe](crate::message::packets), because pages are no packets: its reader needs buffers of at least
//! [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes, and whoever sets `O_DIRECT` after the writer was built loses bytes.
//! [`mechanism`](ChunkWriter::mechanism) returns the mechanism in use.
//!
//! # Why this is sound
//!
//! `vmsplice` is unsafe because the kernel never reports when it has finished with a page. An empty pipe
//! proves nothing: the reader may have moved the page to another pipe or a socket, with `splice` or
//! `tee`. These two types are safe all the same, for the following reasons.
//!
//! 1. *The pages are the writer's own.* The writer maps them, and they are never part of an allocator's
//!    memory or of a stack. Only the contents of its chunks are written there. So a reader that has kept
//!    a page for too long sees bytes of a chunk of the *same* writer, never another part of the
//!    program's memory. Those bytes may have been written to a chunk and not sent, though: put no secret
//!    into a chunk that is not for the reader.
//! 2. *Unmapping takes no page away from the pipe.* The kernel counts references to each page, and the
//!    pipe has its own. `munmap` and `MADV_DONTNEED` drop the mapping's reference. The page and its
//!    contents live until the last reference is dropped. So dropping the writer neither waits nor
//!    changes a byte that was sent, and the *kernel* never reuses a page while a pipe holds it.
//! 3. *[`Reuse::Never`] writes to no page that was ever handed over.* Each chunk begins on a page after
//!    those that were sent, even if they were sent [several times](ChunkWriter::resend). At the end of its
//!    memory the writer releases all pages together (2), and writes to new ones, which are zeros. Or it has
//!    two memories in turns, and releases the pages of each before its next turn. (The self-check includes
//!    this.) A memfd's pages belong to the
//!    file: unmapping does not release them, and truncating the file or punching a hole would turn the
//!    bytes that were sent into zeros. So with a memfd the writer creates a new file and a new mapping
//!    each time. The old file is closed unchanged, and its size is sealed. This holds for any consumer,
//!    including one that moves the pages elsewhere and reads them an hour later.
//! 4. *[`Reuse::AfterRead`] writes to a page again once the pipe's own count proves that the page has
//!    left the pipe.* The bytes that this writer has sent, minus the unread bytes in the pipe
//!    (`FIONREAD`), have left it. A pipe is first in, first out, so a chunk whose last byte was sent at
//!    or before that count has left it. If a chunk is sent again, its last byte is that of the last time.
//!    Bytes of other writers in the same pipe make `FIONREAD` larger,
//!    so the proof comes later, never earlier. (The kernel counts up to 4 GiB. A pipe can hold more only
//!    in buffers of many pages each, and only another writer could put them there.) For a consumer that
//!    *reads*, bytes that have left the pipe were copied: the kernel copies and removes them under the
//!    lock under which it counts. **For a consumer that splices or tees onward this is not so**: it
//!    would see later bytes of the same stream in the place of earlier ones (1 holds, so nothing worse).
//!    That is why it is not the default. Without a proof the writer does not wait: it releases all its
//!    memory as in 3.
//! 5. *A forked child does not write to the memory.* Private memory is `MADV_WIPEONFORK`: the child
//!    finds zeros, the parent takes no copy-on-write faults, and only the parent refers to the pages in
//!    the pipe. A memfd's mapping stays shared with the parent. So each writer has one more page, which
//!    the kernel wipes in a child. [`chunk`](ChunkWriter::chunk) and [`send`](ChunkWriter::send) check
//!    it, and if it was wiped the writer maps new memory first. (If pages are not wiped, because the
//!    kernel is older than 4.14 or an emulator, only plain writes are used.) The child cannot send a
//!    chunk that was lent before the fork: `send` fails. (To continue *writing* to it in the child is
//!    against the contract of [`fork`](crate::fork()).) Dropping the writer unmaps its addresses in each
//!    process: they hold this mapping, and never held another. `MADV_DONTFORK` would not do: it leaves a
//!    hole in the child, and the drop would unmap whatever the child has mapped there.
//! 6. *Rust's references are never contradicted.* `chunk` borrows the writer exclusively, so the slice
//!    is dead when `send` is called. No other code in this process has a path to the memory. The kernel
//!    reads it through mappings of its own, for any process, and never writes to it.
//! 7. *The descriptor is the write end of a pipe.* This is checked when the writer is built. The `as_fd` of
//!    a caller's type may return another descriptor later. Then the bytes are sent there; if it is a
//!    read end, `vmsplice` writes to the memory, which is lent to that call exclusively. If the chunk is
//!    sent again, its reader may see the bytes of that pipe. With
//!    [`Reuse::AfterRead`] the count of point 4 is then another pipe's, so that a reader may see later bytes of
//!    this stream in the place of earlier ones (1 holds): `as_fd` must return the same pipe.
//!
//! Not covered: another process that opens this one's memory or descriptors through `/proc`, code
//! that breaks the rules of `unsafe`, and a seccomp filter that makes `madvise` report success without a call, if it
//! is installed after the first writer was built. No library can prevent these.
//!
//! # A hostile peer
//!
//! A reader cannot change a byte of this process's memory, but it can make the writer wait. It can stop
//! reading, or it can hold the pipe's lock, and no deadline and no nonblocking flag bounds that wait.
//! See [`Deadline`](crate::Deadline#a-peer-that-holds-the-pipe). It can also keep memory in use: a byte that it
//! splices into another pipe keeps the whole huge page, 2 MiB, from which it came. Its own limits count 4 KiB of that.

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

/// Sends of less than this many bytes are plain writes, whatever the mechanism: 16 KiB. (Less than a
/// page, where pages are larger.)
///
/// Measured: below this size copying costs less than handing over pages, each of which takes a slot.
const SMALL: usize = 16 << 10;

/// The default size of a writer's chunk: the size of a pipe of
/// [`Capacity::Max`](crate::pipe::Capacity::Max). One chunk is filled while the other is read.
const WRITE_CHUNK: usize = 1 << 20;

/// The default size of a reader's chunk, which stays in the second-level cache until the caller
/// processes it.
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
    /// `vmsplice` of the pages, which are huge pages if the kernel supports them.
    Vmsplice,
    /// `splice` of the pages of a file in memory, which the writer has mapped.
    Memfd,
    /// `write`: the pipe gets a copy.
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
    /// Never: each chunk has fresh pages. Correct for every consumer.
    #[default]
    Never,
    /// As soon as the pipe's count shows that the bytes have left it. Several times faster, and correct
    /// **only if every consumer of the pipe reads the bytes** (`read`, `readv`, or `splice` to a sink
    /// that does not look at them, such as `/dev/null`). A consumer that moves them to another pipe or a
    /// socket, with `splice` or `tee`, would find later bytes of this stream in the place of earlier
    /// ones. So would one that has a FIFO open for reading *and* writing and reads it with a deadline or a `try_`
    /// function: these splice it first (see [`io`](crate::io#without-waiting-or-until-a-deadline)).
    AfterRead,
}
