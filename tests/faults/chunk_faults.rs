//! Tests `ChunkWriter` with locked memory, with a file size limit, and with filters that reject `madvise`,
//! `vmsplice` or `mmap`. Each test runs in a separate process.
#![allow(unsafe_code, reason = "a system call by number")]

use crate::common::nr;
use crate::common::{self, Filter, NO_FILTER, filtered, skip};
use rawpipe::chunk::{ChunkMechanism, ChunkWriter, Reuse, WriterBuilder};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::Resource;
use rawpipe::splice::{SpliceFlags, splice};
use rawpipe::{Errno, PipeReader, raw};
use std::sync::LazyLock;

const CHUNK: usize = 32 << 10;
const CHUNKS: usize = 200;
/// The number of chunks that fit in a writer's memory.
const MEMORY: usize = (2 << 20) / CHUNK;

/// Fills a chunk with consecutive numbers. The first number depends on the chunk, so two chunks differ at
/// every offset. The numbers are copied from a table, because computing them for each chunk would take
/// minutes under Valgrind or an emulator.
fn fill(chunk: &mut [u8], number: usize) {
    static NUMBERS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let last = 77 * u32::try_from(CHUNKS).unwrap() + u32::try_from(CHUNK / 4).unwrap();
        (1..=last).flat_map(u32::to_le_bytes).collect()
    });
    chunk.copy_from_slice(&NUMBERS[number * 77 * 4..][..chunk.len()]);
}

/// The number of chunks that stay unread in other pipes. The test detects pages that are rewritten too early,
/// because a writer's memory holds fewer chunks than this number.
const HELD: usize = 100;

/// The result of sending [`CHUNKS`] chunks.
#[derive(Debug, PartialEq)]
struct Sent {
    chunks: usize,
    error: Option<Errno>,
    /// Set if all sent chunks arrived unchanged.
    right: bool,
}

const ALL: Sent = Sent { chunks: CHUNKS, error: None, right: true };

/// Sends chunks, moves each chunk to another pipe by reference, and reads each chunk [`HELD`] chunks later.
fn send_all(writer: &mut ChunkWriter, reader: &PipeReader) -> Sent {
    let pipes: Vec<_> = (0..HELD).map(|_| rawpipe::pipe().unwrap()).collect();
    let mut sent = Sent { right: true, chunks: 0, error: None };
    let (mut got, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut arrives = |number: usize| {
        fill(&mut expected, number);
        pipes[number % HELD].0.read_exact(&mut got).is_ok() && got == expected
    };
    for number in 0..CHUNKS {
        if number >= HELD {
            sent.right &= arrives(number - HELD);
        }
        match writer.chunk() {
            Ok(chunk) => fill(chunk, number),
            Err(errno) => {
                sent.error = Some(errno);
                break;
            }
        }
        writer.send(CHUNK).unwrap();
        let onward = &pipes[number % HELD].1;
        let mut moved = 0;
        while moved < CHUNK {
            let left = CHUNK - moved;
            moved += splice(reader, None, onward, None, left, SpliceFlags::empty()).unwrap();
        }
        sent.chunks += 1;
    }
    for number in sent.chunks.saturating_sub(HELD)..sent.chunks {
        sent.right &= arrives(number);
    }
    sent
}

fn made(builder: WriterBuilder) -> Result<(ChunkWriter, PipeReader), Errno> {
    let (reader, writer) = Builder::new().capacity(Capacity::Max).build()?;
    if writer.capacity()? < 2 * CHUNK {
        return Err(Errno::EMFILE); // this user has too many pipes, so a large one cannot be created
    }
    Ok((builder.chunk(CHUNK).build(writer)?, reader))
}

fn vmsplice() -> WriterBuilder {
    ChunkWriter::builder().mechanism(ChunkMechanism::Vmsplice)
}

/// Returns the reason why `vmsplice` cannot pass on pages here, if any.
fn no_pages() -> Option<&'static str> {
    match made(vmsplice()) {
        Err(_) => Some("no vmsplice, or no pipe that is large enough"),
        Ok(_) => common::vmsplice_copies().then_some("the kernel copies the pages of a vmsplice"),
    }
}

/// Returns the kernel's result for `MADV_DONTNEED` on a new page.
fn discard_a_page() -> isize {
    const MADV_DONTNEED: usize = 4; // generic; Alpha differs
    // The protection permits reading and writing. The flags request a private, anonymous mapping, and have
    // other values on MIPS.
    let (protection, flags) = (3, if cfg!(target_arch = "mips") { 0x802 } else { 0x22 });
    // SAFETY: the call maps new memory at an address that the kernel chooses.
    let page = unsafe { raw::syscall6(nr::MMAP, 0, 4096, protection, flags, usize::MAX, 0) };
    assert!(!(-4095..0).contains(&page), "{page}");
    let page = usize::from_ne_bytes(page.to_ne_bytes());
    // SAFETY: the page was mapped above, and no other code uses it.
    unsafe { raw::syscall3(nr::MADVISE, page, 4096, MADV_DONTNEED) }
}

/// If the pages are locked, discarding them fails with `EINVAL`, and the writer maps new pages.
fn never_with_locked_memory_sends_what_was_written() {
    let test = "never_with_locked_memory_sends_what_was_written";
    const MCL_FUTURE: i32 = 2; // generic; Alpha, PowerPC and SPARC differ
    unsafe extern "C" {
        safe fn mlockall(flags: i32) -> i32;
    }
    if let Some(reason) = no_pages() {
        return skip(test, reason);
    }
    if mlockall(MCL_FUTURE) != 0 {
        return skip(test, "memory cannot be locked here");
    }
    if discard_a_page() == 0 {
        return skip(test, "locked memory is discarded here");
    }
    for builder in [vmsplice(), ChunkWriter::builder()] {
        match made(builder) {
            Ok((mut writer, reader)) => {
                assert_eq!(writer.mechanism(), ChunkMechanism::Vmsplice);
                assert_eq!(send_all(&mut writer, &reader), ALL);
                assert_eq!(writer.mechanism(), ChunkMechanism::Vmsplice);
            }
            Err(errno) => return skip(test, &format!("not enough memory may be locked: {errno}")),
        }
    }
}

/// Calls `body` once for each errno that the filter in `body` must return: `EPERM`, `ENOSYS` and `EINVAL`. If
/// the test cannot run here, `body` returns `false`, and is not called again.
fn for_each_errno(test: &str, body: impl Fn(Errno) -> bool) {
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    if let Some(reason) = no_pages() {
        return skip(test, reason);
    }
    let _ = [Errno::EPERM, Errno::ENOSYS, Errno::EINVAL].into_iter().all(body);
}

/// Returns two writers, each with its reader, or `None` if either writer cannot be built. The first writer
/// chooses its mechanism. The mechanism of the second writer is fixed to `vmsplice`.
fn two_writers() -> Option<[(ChunkWriter, PipeReader); 2]> {
    Some([made(ChunkWriter::builder()).ok()?, made(vmsplice()).ok()?])
}

/// A program installs a filter while its writers are in use. From then on, the kernel rejects `madvise`, so
/// pages cannot be discarded or marked as wiped on fork. The writer falls back to `write`, or fails if its
/// mechanism is fixed.
fn never_with_advice_refused_writes_or_says_so() {
    let test = "never_with_advice_refused_writes_or_says_so";
    for_each_errno(test, |errno| {
        filtered(test, &errno, || {
            let Some([(mut by_choice, own), (mut fixed, other)]) = two_writers() else { return 3 };
            if !Filter::new(&[nr::MADVISE], errno).install() {
                return NO_FILTER;
            }
            let right = by_choice.mechanism() == ChunkMechanism::Vmsplice
                && send_all(&mut by_choice, &own) == ALL
                && by_choice.mechanism() == ChunkMechanism::Write
                // A writer with a fixed mechanism fails instead of writing to a page that the pipe still
                // references.
                && send_all(&mut fixed, &other)
                    == Sent { chunks: MEMORY, error: Some(errno), right: true }
                && fixed.mechanism() == ChunkMechanism::Vmsplice;
            u8::from(!right)
        })
    });
}

/// A forked child installs a filter before it uses the writer. The filter rejects `madvise`, so
/// the child cannot mark new memory as wiped on fork. The child must still not modify the parent's memory.
fn forked_child_with_advice_refused_writes_or_says_so() {
    let test = "forked_child_with_advice_refused_writes_or_says_so";
    for_each_errno(test, |errno| {
        let Some([(mut by_choice, own), (mut fixed, _other)]) = two_writers() else {
            skip(test, "no memory, or no descriptors");
            return false;
        };
        assert_eq!(by_choice.mechanism(), ChunkMechanism::Vmsplice);
        fill(by_choice.chunk().unwrap(), 77);
        by_choice.send(CHUNK).unwrap();
        let ran = filtered(test, &errno, || {
            if !Filter::new(&[nr::MADVISE], errno).install() {
                return NO_FILTER;
            }
            let Ok(chunk) = by_choice.chunk() else { return 3 };
            fill(chunk, 78);
            if by_choice.send(CHUNK).is_err() || by_choice.mechanism() != ChunkMechanism::Write {
                return 4;
            }
            u8::from(fixed.chunk().err() != Some(errno))
        });
        if !ran {
            return false;
        }
        let (mut got, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
        for number in [77, 78] {
            own.read_exact(&mut got).unwrap();
            fill(&mut expected, number);
            assert!(got == expected, "chunk {number}");
        }
        true
    });
}

/// A filter that rejects `vmsplice` is installed between a send and a resend of the same chunk. The bytes of
/// the first send are still unread. The writer resends with `write`, or fails if its mechanism is fixed.
fn resend_with_vmsplice_refused_writes_or_says_so() {
    let test = "resend_with_vmsplice_refused_writes_or_says_so";
    for_each_errno(test, |errno| {
        filtered(test, &errno, || {
            let Some([(mut by_choice, own), (mut fixed, _other)]) = two_writers() else { return 3 };
            for writer in [&mut by_choice, &mut fixed] {
                fill(writer.chunk().unwrap(), 77);
                writer.send(CHUNK).unwrap();
            }
            if !Filter::new(&[nr::VMSPLICE], errno).install() {
                return NO_FILTER;
            }
            if by_choice.resend(CHUNK).is_err() || by_choice.mechanism() != ChunkMechanism::Write {
                return 4;
            }
            // The writer must still not modify the unread pages of the first send.
            by_choice.chunk().unwrap().fill(0xee);
            let (mut got, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
            fill(&mut expected, 77);
            for _ in 0..2 {
                own.read_exact(&mut got).unwrap();
                if got != expected {
                    return 5;
                }
            }
            let stopped = fixed.resend(CHUNK).unwrap_err();
            u8::from((stopped.bytes(), stopped.errno()) != (0, Some(errno)))
        })
    });
}

/// In a process that has locked as much memory as its limit permits, `mmap` fails with `EAGAIN`. A filter
/// imitates this failure. The builder reports `ENOMEM` instead, because other calls return `EAGAIN` for a
/// full pipe.
fn build_without_memory_to_lock_enomem() {
    let test = "build_without_memory_to_lock_enomem";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    filtered(test, &test, || {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        if !Filter::new(&[nr::MMAP], Errno::EAGAIN).install() {
            return NO_FILTER;
        }
        u8::from(ChunkWriter::new(writer).err() != Some(Errno::ENOMEM))
    });
}

/// Without `vmsplice` the writer uses a memfd, or `write` if the memfd would exceed the file size limit.
fn memfd_beyond_the_limit_of_files_writes() {
    let test = "memfd_beyond_the_limit_of_files_writes";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    if common::splice_copies() {
        return skip(test, "the kernel copies the pages of a memfd");
    }
    for limited in [false, true] {
        filtered(test, &limited, || {
            if limited {
                common::set_soft_limit(Resource::FSIZE.as_raw(), 64 << 10);
            }
            if !Filter::new(&[nr::VMSPLICE], Errno::EPERM).install() {
                return NO_FILTER;
            }
            let (reader, writer) = rawpipe::pipe().unwrap();
            let builder = ChunkWriter::builder().chunk(CHUNK).reuse(Reuse::AfterRead);
            let Ok(mut writer) = builder.build(writer) else { return 1 };
            if limited && writer.mechanism() != ChunkMechanism::Write {
                return 2;
            }
            if !limited && writer.mechanism() != ChunkMechanism::Memfd {
                return 3;
            }
            writer.chunk().unwrap().fill(7);
            writer.send(CHUNK).unwrap();
            let mut all = vec![0; CHUNK];
            reader.read_exact(&mut all).unwrap();
            u8::from(all != [7; CHUNK]) * 4
        });
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    resend_with_vmsplice_refused_writes_or_says_so,
    memfd_beyond_the_limit_of_files_writes,
    build_without_memory_to_lock_enomem,
    never_with_locked_memory_sends_what_was_written,
    never_with_advice_refused_writes_or_says_so,
    forked_child_with_advice_refused_writes_or_says_so,
];
