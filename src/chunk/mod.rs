//! Zero-copy out of memory: [`ChunkWriter`] lends memory of its own to be filled and hands the pages
//! themselves to a pipe. [`ChunkReader`] reads into memory of its own, or hands bytes on unseen.
//!
//! A pipe is enough where a copy does not matter. A [`ChunkWriter`] is for any reader of a pipe. If the
//! reader is a thread, a forked process, or a program with the other half, take [shared chunks](mod@shared):
//! no byte is copied on either side, and no system call is made while both are busy.
//!
//! ```
//! use rawpipe::chunk::{ChunkReader, ChunkWriter};
//!
//! let (reader, writer) = rawpipe::pipe()?;
//! let mut writer = ChunkWriter::new(writer)?;
//! let mut reader = ChunkReader::new(reader)?;
//! for round in 1..=3 {
//!     let chunk = writer.chunk()?; // 1 MiB to fill, all or a part
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
//! `vmsplice` hands over pages of ordinary memory; `splice` does the same with pages of a file in
//! memory (a memfd) that the writer has mapped. Both are checked, once per process, by sending a page
//! to oneself: does the pipe have the page or a copy, and does it keep what was sent when the writer
//! parts with the page? What fails the check is not used. A memfd is also not used with
//! [`Reuse::Never`] unless the caller asks for it: a new file for each memory costs more than a copy.
//!
//! The last resort is a plain `write`, which is also used for sends of less than 16 KiB, where it is the
//! faster one, since a page in a pipe takes a whole slot, however few of its bytes were sent.
//! [`mechanism`](ChunkWriter::mechanism) tells.
//!
//! # Why this is sound
//!
//! `vmsplice` is unsafe since the kernel never says when it has finished with a page: an empty pipe
//! proves nothing, because the reader may have moved the page on, by `splice` or `tee`, into another
//! pipe or a socket. What follows is why these two types are safe all the same; each sentence is
//! one to attack.
//!
//! 1. *The pages are the writer's own.* They are mapped by it and for it, never part of an
//!    allocator's memory or of a stack. Nothing but its chunks is ever written there. So whatever a
//!    reader sees through a page that it has kept for too long was written into a chunk of the *same*
//!    writer: it is never another part of the program's memory. It may have been written into a chunk
//!    and not sent, though: put no secret into a chunk that is not for the reader.
//! 2. *Unmapping takes no page away from the pipe.* The kernel counts references per page, and the
//!    pipe has its own. `munmap`, or `MADV_DONTNEED`, takes the mapping's reference; the page, with
//!    its contents, lives until the last holder is done, and is then freed. So dropping the writer
//!    neither waits nor changes a byte that was sent, and a page is never reused by the *kernel* for
//!    something else while a pipe has it.
//! 3. *[`Reuse::Never`] writes to no page that was ever handed over.* Each chunk begins on a page
//!    behind those that were sent. At the end of the memory the writer parts with all of it at once
//!    (2), and writes to new pages, which are zeros. (The self-check includes this.) A memfd's pages
//!    belong to the file, so that there unmapping does not part with them, and truncating or punching
//!    would turn what was sent into zeros: there it is a new file and a new mapping each time. The
//!    old file is closed as it is, and its size is sealed. This holds for any consumer: also for one
//!    that moves the pages on and looks at them an hour later.
//! 4. *[`Reuse::AfterRead`] writes to a page again when the pipe's own count proves that it was
//!    taken out.* The bytes that this writer has sent, minus those in the pipe now (`FIONREAD`),
//!    have left it, and a pipe is first in, first out: so a chunk whose last byte was sent at or
//!    before that count has left it. Bytes of other writers in the same pipe make `FIONREAD` larger
//!    and the proof come later, never earlier. (The kernel counts up to 4 GiB. A pipe can hold more
//!    only in buffers of many pages each, and another writer would have to put them there.) For a
//!    consumer that *reads*, out of the pipe means copied: the kernel copies and takes out under the
//!    same lock under which it counts. **For one that splices or tees onward it does not**: it would
//!    see later bytes of the same stream in the place of earlier ones (1 holds, so nothing worse).
//!    That is why it is not the default. When there is no proof, nobody waits: the writer parts with
//!    all its memory as in 3.
//! 5. *A forked child leaves the memory alone.* Private memory is `MADV_WIPEONFORK`: the child finds
//!    zeros, the parent takes no copy-on-write faults, and the pages in the pipe are the parent's
//!    only. A memfd's mapping stays shared with the parent. So each writer has one more page that the
//!    kernel wipes in a child; [`chunk`](ChunkWriter::chunk) and [`send`](ChunkWriter::send) look at
//!    it, and a wiped one makes the writer map new memory before it does anything else. (Where no page
//!    is wiped, because the kernel is older than 4.14 or an emulator, only plain writes are used.) A chunk that
//!    was lent before the fork cannot be sent by the child: `send` refuses. (To go on *writing* to it
//!    in the child is against the contract of [`fork`](crate::fork()).) Dropping the writer unmaps, in
//!    each process, what lies at these addresses there: the very mapping, which was never anyone
//!    else's. It is not `MADV_DONTFORK`, which would leave a hole in the child, and the drop would
//!    then unmap whatever the child has mapped there.
//! 6. *Rust's references are never contradicted.* `chunk` borrows the writer exclusively, so the
//!    slice is dead when `send` is called; nobody in this process has another path to the memory. The
//!    kernel reads it, from any process, through mappings of its own, and never writes it.
//! 7. *The descriptor is the write end of a pipe*, which is checked when the writer is made. If a type of
//!    the caller's returns another one later from its `as_fd`, what is sent goes there. On a read end
//!    `vmsplice` then writes to the memory, which is lent to that call exclusively.
//!
//! Not covered, as nothing can cover it: another process that opens this one's memory or descriptors
//! through `/proc`, and code that breaks the rules of `unsafe`.
//!
//! # A hostile peer
//!
//! A reader cannot change a byte of this process's memory, but it can make the writer wait: not only by
//! not reading, but also by holding the pipe's lock, which no deadline and no nonblocking flag bounds. See
//! [`Deadline`](crate::Deadline#a-peer-that-holds-the-pipe).

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
/// Measured: below it copying costs less than handing over pages, each of which takes a slot.
const SMALL: usize = 16 << 10;

/// How many bytes a writer's chunk has unless the caller says otherwise: as many as go into a pipe of
/// [`Capacity::Max`](crate::pipe::Capacity::Max). One is filled while the other is read.
const WRITE_CHUNK: usize = 1 << 20;

/// As many as a reader takes at once: more would leave the second-level cache before it looks at them.
const READ_CHUNK: usize = 256 << 10;

/// How the bytes of a [`ChunkWriter`] get into the pipe.
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
    /// `vmsplice` of the pages, on huge pages where the kernel has them.
    Vmsplice,
    /// `splice` of the pages of a file in memory, which the writer has mapped.
    Memfd,
    /// `write`: the pipe gets a copy.
    Write,
}

impl ChunkMechanism {
    /// A short name: `vmsplice`, `memfd` or `write`.
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

/// When a [`ChunkWriter`] may write again to memory that it has handed to the pipe.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::{ChunkWriter, Reuse};
///
/// // The other side reads, so its pages may be used again.
/// let (_reader, writer) = rawpipe::pipe()?;
/// let writer = ChunkWriter::builder().reuse(Reuse::AfterRead).build(writer)?;
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reuse {
    /// Never: each chunk has fresh pages. Right for every consumer.
    #[default]
    Never,
    /// When the pipe's count shows that the bytes have left it. Several times faster, and right **only
    /// if everything that takes bytes out of the pipe reads them** (`read`, `readv`, or `splice` to
    /// where the bytes are not looked at, such as `/dev/null`). A consumer that moves them into
    /// another pipe or a socket, by `splice` or `tee`, would find later bytes of this stream in the
    /// place of earlier ones.
    AfterRead,
}
