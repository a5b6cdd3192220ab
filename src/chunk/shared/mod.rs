//! Passes chunks through shared memory. A [`SharedWriter`] fills memory in place. Its [`SharedReader`], in
//! another thread, a forked process, or another program, reads the same bytes in place. Neither the kernel
//! nor this crate copies a byte, with one exception: a [`SharedCopier`] copies the records of a program that
//! is not trusted.
//!
//! ```
//! use rawpipe::chunk::shared::SharedBuilder;
//!
//! // SAFETY: the child only receives.
//! let (mut child, mut writer) = unsafe {
//!     SharedBuilder::new().fork_reader(|mut reader| {
//!         let mut lines = 0;
//!         while let Ok(Some(chunk)) = reader.recv() {
//!             lines += chunk.iter().filter(|&&byte| byte == b'\n').count();
//!         }
//!         u8::from(lines != 3_000)
//!     })
//! }?;
//! for _ in 0..1_000 {
//!     writer.chunk()?[..12].copy_from_slice(b"one\ntwo\nsix\n");
//!     writer.send(12)?;
//! }
//! drop(writer); // otherwise the child would wait forever
//! assert!(child.wait()?.success());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # When to use it
//!
//! Use a pair if the other half is in this process, in a forked process, or in a program that inherits that
//! half's descriptors. For any other reader of a pipe, use [`ChunkWriter`](super::ChunkWriter). If the cost
//! of a copy does not matter, a plain pipe is enough. Building a pair takes longer than creating a pipe, and
//! by default the pair's ring has a size of at least 2 MiB.
//!
//! # How it works
//!
//! A pair consists of a ring of memory, a position for each half, and two pipes. The writer stores its
//! position when it sends, and the reader stores its position when it returns room. A half that must wait
//! stores the position for which it waits, and sleeps on a pipe. When the other half (the peer) reaches that
//! position, the peer writes a byte to the pipe. While neither half has to wait, neither makes a system call.
//!
//! Record boundaries are preserved: each [`recv`](SharedReader::recv) returns the bytes of one
//! [`send`](SharedWriter::send).
//!
//! # How it ends
//!
//! A pair ends in the same way as a pipe. After the writer has been dropped, or its process has exited or
//! been killed, the reader receives the remaining records and then reaches end of file. After the reader has
//! ended in the same way, the writer fails with [`EPIPE`](crate::Errno::EPIPE), without `SIGPIPE`.
//!
//! After a plain [`fork`](crate::fork()), other processes have copies of the halves. While these copies
//! exist, the peer detects that a half was dropped only if the dropping process has used that half. The peer
//! does not detect that a process was killed. [`fork_reader`](SharedBuilder::fork_reader) and the related
//! functions leave no copies, and count as the first use of each half.
//!
//! Dropping a half that no process has used only closes descriptors and unmaps memory, because another
//! process can still use a copy of that half. When the ring is full, the writer detects that all copies of an
//! unused reader were dropped.
//!
//! # After a fork
//!
//! After a fork, both processes hold both halves. A half belongs to the first process that uses it to send,
//! to receive or to borrow a chunk, whether before or after the fork. In every other process, these calls
//! fail with [`EBUSY`](crate::Errno::EBUSY), until the owner calls [`release`](SharedWriter::release). In
//! another process, dropping a half only closes and unmaps that process's copies.
//!
//! # Another program
//!
//! [`pass_reader`](SharedBuilder::pass_reader) and [`pass_writer`](SharedBuilder::pass_writer) build a pair
//! in which one half is for a program that this process starts. That program inherits four descriptors and
//! takes ownership of them with [`take_inherited`](crate::io::take_inherited).
//!
//! | this process has | the other program | must be trusted |
//! |---|---|---|
//! | [`SharedWriter`] of `pass_reader` | reads, and cannot write | no |
//! | [`SharedCopier`] | writes | no: each record is copied out |
//! | [`SharedReader`] of [`SharedCopier::trust`] | writes | not to write to a record that it has sent |
//!
//! An untrusted peer can still end the stream, or make calls fail with [`EPROTO`](crate::Errno::EPROTO). The
//! peer can also hold the lock of a pipe, so that calls in this process wait beyond their deadline, as with
//! [any pipe](crate::Deadline#a-peer-that-holds-the-pipe). The program that created the pair can do the same
//! to the program that adopts a half. If `vm.overcommit_memory` is 2 and the limit is reached, an access to
//! the memory of a pair for two programs can raise `SIGBUS`.
//!
//! A half can be implemented in any language that can call `mmap`. For example, `examples/shared_reader.py`
//! is a reader in Python. The first descriptor refers to a file of one page, which consists of words. A word
//! is as large as a pointer, uses the machine's byte order, and is always stored and loaded as a whole. The
//! page contains these words:
//!
//! | byte | word |
//! |---|---|
//! | 0, 256 | the position of the reader (0) or of the writer (256), in bytes since the beginning |
//! | 128, 384 | the peer's position for which the reader (128) or the writer (384) waits, plus 1, or 0 |
//! | 1 word after that | the state of the half, which the half sets: 0 unused, 1 used, 2 dropped |
//! | 512 | `0x7270_0100` plus the size of a word in bytes |
//! | 1 word after that | the size of a chunk in bytes, which is the maximum size of a record |
//!
//! The second descriptor refers to a file that holds the ring. The size of the ring is a power of two. A
//! record begins at a position that is a multiple of 16. The word that begins 8 bytes before the record holds
//! the record's length `n`. The next record begins `n + 8` bytes after the beginning of this record, rounded
//! up to a multiple of 16. If all bits of the word are set, the record instead begins at the next multiple of
//! the ring's size. The word 8 bytes before that position then holds the length.
//!
//! The third descriptor is the read end of the pipe that wakes the half. The fourth descriptor is the write
//! end of the pipe with which the half wakes its peer. Both pipes are nonblocking. A half stores its
//! position, executes a full memory fence, and loads the position for which the peer waits. If the peer waits
//! and the half has reached that position, the half sets the peer's word at byte 128 or 384 to 0. The half
//! then writes a byte to the fourth descriptor. A half that must wait stores the position, executes a fence,
//! and loads the peer's position and state again before it sleeps.
//!
//! # Why this is sound
//!
//! Most points end with the names of tests that try to violate the point. The tests are in `tests/forked`,
//! `tests/loom` and `fuzz`. In `tests/loom`, a model checker runs the ring. The checker also runs variants of
//! the ring that contain a deliberate mistake, and must find this mistake.
//!
//! 1. *The memory belongs to the pair.* The memory is mapped for this purpose, and is never part of an
//!    allocator's memory or a stack. Usually the memory has no name and no descriptor, so only the process
//!    that created it, and processes forked from that process, can reach the memory. The memory of a pair for
//!    two programs can also be reached by processes that have its descriptors. (`memory_is_the_pairs_own`,
//!    `fork_copies_dropped_in_each_order`)
//! 2. *Each byte belongs either to the writer or to the reader.* Bytes from the reader's position to the
//!    writer's position belong to the reader, and all other bytes of the ring belong to the writer. Each half
//!    moves only its own position, only forward, and only over bytes that belong to that half. (loom:
//!    `both_sides_sleep_in_a_ring_of_one`, `skipped_ends_of_laps`; `model_beside_a_queue`,
//!    `hostile_positions_eproto_for_good`)
//! 3. *Writes become visible in order.* A position is stored with Release after the last access to the bytes
//!    that are passed to the peer. The peer loads the position with Acquire before its first access to these
//!    bytes. These orderings apply to processes that share memory just as they apply to threads. (loom:
//!    `relaxed_store`, `relaxed_load`; ThreadSanitizer: `threads_in_the_order_of_a_relaxed_ring`)
//! 4. *A half has at most one owner.* The first use changes a word in the shared memory from 0 to 1 by
//!    compare-and-swap, and then marks a private page. The kernel wipes this page in a forked child. If a
//!    process without the mark finds the word set, the call fails with `EBUSY`. A child that is forked
//!    between the two steps fails in the same way. (`fork_half_belongs_to_who_uses_it_first`,
//!    `fork_two_children_one_owner`, `fork_parent_and_child_one_owner`, `fork_while_a_thread_takes_the_half`;
//!    loom: `no_mark`, `no_acquire_in_claim`)
//! 5. *Every call and every drop checks the mark* before writing a shared word.
//!    (`fork_lent_before_stays_with_the_parent`, `fork_owners_and_orders_of_drops`)
//! 6. *Two threads cannot own the same half.* Every call needs `&mut self`, and a lent chunk or record
//!    borrows its half. Therefore no reference to bytes is alive when `send`, a drop, or the next `recv`
//!    passes those bytes to the peer. (the compiler; `guard_leaked_gives_its_room_back_later`)
//! 7. *A reference that was alive at a fork* refers to shared memory in the child. Using the reference in
//!    the child violates the contract of [`fork`](crate::fork()).
//! 8. *References cover one record.* No reference to bytes extends beyond the lent chunk or record. Positions
//!    and lengths are accessed only as atomics. (loom: `skipped_ends_of_laps`;
//!    `hostile_words_lend_nothing_outside_the_ring`)
//! 9. *No value read from shared memory is trusted.* Each position or length is loaded once, and checked
//!    before it is used. If the value is impossible, the current call and all later calls of the half fail
//!    with `EPROTO`. (loom: `rubbish_in_headers`, `rubbish_in_positions`, and both without the checks;
//!    `hostile_words_lend_nothing_outside_the_ring`, and `shared_peer` in `fuzz`)
//! 10. *Unmapping affects only one process.* The pages live until the last process has unmapped them. No
//!     process can remove pages from another process, because the memory either has no file or has a file
//!     whose size is sealed. Within a process, dropping the last half unmaps the memory.
//!     (`fork_copies_dropped_in_each_order`, `fork_owners_and_orders_of_drops`)
//! 11. *The bytes are always initialised*: they are zeros, or bytes of earlier chunks of the same pair. A
//!     reader can borrow only bytes that were sent. Bytes that were written but not sent stay in the ring. Do
//!     not write a secret to a chunk unless it is meant for the reader. (`memory_is_the_pairs_own`)
//! 12. *No wake-up is lost.* Each half stores its own word, executes a full fence, and loads the peer's word.
//!     At least one of the two stores, "this half waits" or "this position has advanced", is therefore
//!     visible to the other half. (loom: `no_fence_before_looking_for_sleepers`, `no_fence_before_sleeping`,
//!     `no_second_look`, `no_look_whether_closed`, `no_ring`; `readiness_drives_a_loop_of_events`,
//!     `dialogue_over_two_pairs`)
//! 13. *Another program's reader cannot write to the ring.* The ring is sealed against further writable
//!     mappings before its descriptor leaves this process, and the seal is final. A program that can open
//!     `/dev/udmabuf` may bypass the seal on kernels in which that device checks only `F_SEAL_WRITE`.
//!     (`reader_cannot_write_eperm`)
//! 14. *No reference points to the records of another program's writer.* The records are copied word by word,
//!     with atomic loads. A reference to a record is created only after the unsafe
//!     [`trust`](SharedCopier::trust). (`record_changes_while_it_is_copied`, `hostile_peer`)
//! 15. *Another program cannot release a half of this program.* In a pair for two programs, a half belongs to
//!     the process that creates it, whatever values the shared words have.
//!     (`forked_child_of_a_writer_for_a_program_ebusy`)
//!
//! The argument covers neither another process that opens this process's memory through `/proc` or `ptrace`,
//! nor code that breaks the rules of `unsafe`.

mod builder;
mod half;
mod link;
mod passing;
mod reader;
mod ring;
mod writer;

pub use builder::SharedBuilder;
pub use passing::SharedCopier;
pub use reader::{SharedChunk, SharedReader};
pub use writer::SharedWriter;

use crate::Result;
use core::sync::atomic;

/// Creates a pair with the default settings and returns `(reader, writer)`. The pair has chunks of 64 KiB, a
/// ring of 2 MiB and [`Wait::Block`](crate::Wait::Block).
///
/// # Errors
///
/// Fails as [`SharedBuilder::build`] does.
///
/// # Examples
///
/// ```
/// let (mut reader, mut writer) = rawpipe::chunk::shared()?;
/// writer.chunk()?[..5].copy_from_slice(b"hello");
/// writer.send(5)?;
/// drop(writer);
/// assert_eq!(&*reader.recv()?.unwrap(), b"hello");
/// assert!(reader.recv()?.is_none()); // end of file
/// # Ok::<(), rawpipe::Errno>(())
/// ```
pub fn shared() -> Result<(SharedReader, SharedWriter)> {
    SharedBuilder::new().build()
}
