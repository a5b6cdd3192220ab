//! Tests a `ChunkWriter` that was created before a fork. Each test runs in its own process.
#![allow(unsafe_code, reason = "fork, and a mapping by number")]

use crate::common::nr;
use crate::common::{self, child, close_copy, skip};
use rawpipe::chunk::{ChunkMechanism, ChunkWriter, Reuse};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::Child;
use rawpipe::{Errno, PipeReader, PipeWriter, raw};

const WAYS: [(ChunkMechanism, Reuse); 6] = [
    (ChunkMechanism::Vmsplice, Reuse::Never),
    (ChunkMechanism::Vmsplice, Reuse::AfterRead),
    (ChunkMechanism::Memfd, Reuse::Never),
    (ChunkMechanism::Memfd, Reuse::AfterRead),
    (ChunkMechanism::Write, Reuse::Never),
    (ChunkMechanism::Write, Reuse::AfterRead),
];

const CHUNK: usize = 40_000;

/// Fills a chunk with 4-byte words that depend on the writer, the chunk's number and the word's index.
fn fill(chunk: &mut [u8], whose: u8, number: usize) {
    for (word, place) in chunk.chunks_exact_mut(4).enumerate() {
        let [low, high, ..] = (number * 77 + word).to_le_bytes();
        place.copy_from_slice(&[whose, low, high, number.to_le_bytes()[0]]);
    }
}

/// Creates a child that reads the pipe to its end. The child exits with 0 if all chunks of each writer
/// arrived in order and unchanged.
///
/// The child determines the writer of each word separately, because pages of other writers may lie between
/// the pages of a chunk. The pages of one chunk stay in order.
fn checker(reader: PipeReader, writer: &PipeWriter, whose: &'static [u8]) -> Child {
    child(move || {
        close_copy(writer);
        let mut next: Vec<Vec<u8>> = whose.iter().map(|_| Vec::new()).collect();
        let mut all = Vec::new();
        if reader.read_to_end(&mut all).is_err() {
            return 2;
        }
        for word in all.chunks_exact(4) {
            match whose.iter().position(|&name| name == word[0]) {
                Some(index) => next[index].extend_from_slice(word),
                None => return 3,
            }
        }
        for (stream, &name) in next.iter().zip(whose) {
            let mut expected = vec![0; CHUNK];
            if stream.len() != CHUNK * chunks() {
                return 4;
            }
            for (number, chunk) in stream.chunks(CHUNK).enumerate() {
                fill(&mut expected, name, number);
                if chunk != expected {
                    return 5;
                }
            }
        }
        0
    })
}

/// Returns the number of chunks to send. Except on slow machines, these chunks together are several times the
/// size of a writer's memory.
fn chunks() -> usize {
    if common::slow() { 40 } else { 300 }
}

fn send(writer: &mut ChunkWriter, whose: u8, numbers: std::ops::Range<usize>) {
    for number in numbers {
        fill(writer.chunk().unwrap(), whose, number);
        writer.send(CHUNK).unwrap();
    }
}

fn writer_of(
    way: (ChunkMechanism, Reuse),
    test: &str,
) -> Option<(ChunkWriter, &'static [u8], PipeReader)> {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(256 << 10)).build().unwrap();
    let builder = ChunkWriter::builder().mechanism(way.0).reuse(way.1).chunk(CHUNK);
    match builder.keep_capacity().build(writer) {
        Ok(writer) => Some((writer, b"PC", reader)),
        Err(errno) => {
            assert_eq!(errno, Errno::EOPNOTSUPP);
            skip(test, &format!("{:?} does not work here", way.0));
            None
        }
    }
}

/// The parent and the child can both use and drop a writer that was created before the fork. The two
/// processes write to the same pipe at the same time.
fn fork_writer_used_and_dropped_in_both() {
    for way in WAYS {
        let Some((mut writer, whose, reader)) = writer_of(way, "fork") else { continue };
        let mut checking = checker(reader, writer.get_ref(), whose);
        send(&mut writer, b'P', 0..5);
        let mut other = child(|| {
            // The child must own its copy of the writer. Otherwise, the child would not drop the copy.
            let mut writer = writer_in_child(&mut writer);
            send(&mut writer, b'C', 0..chunks());
            let mapped = map_page();
            drop(writer);
            u8::from(!still_there(mapped))
        });
        send(&mut writer, b'P', 5..chunks());
        assert_eq!(other.wait().unwrap().code(), Some(0), "{way:?}");
        drop(writer);
        assert_eq!(checking.wait().unwrap().code(), Some(0), "{way:?}");
    }
}

/// Returns the child's copy of the parent's writer. The child owns the copy and drops it.
fn writer_in_child(writer: &mut ChunkWriter) -> ChunkWriter {
    // SAFETY: this code runs in the child, which never returns to the code that would drop the original.
    unsafe { std::ptr::read(writer) }
}

/// Unless the mechanism is `Write`, only the parent can send a chunk that was lent before the fork.
fn fork_lent_chunk_stays_with_the_parent() {
    for way in WAYS {
        let Some((mut writer, _, reader)) = writer_of(way, "fork") else { continue };
        writer.chunk().unwrap().fill(7);
        let mut other = child(|| {
            if way.0 == ChunkMechanism::Write {
                return 0; // the child's copy of the chunk is ordinary memory, so the child can send it
            }
            let stopped = writer.send(CHUNK).unwrap_err();
            if (stopped.bytes(), stopped.errno()) != (0, Some(Errno::EINVAL)) {
                return 1;
            }
            // The child's writes do not change the parent's chunk.
            writer.chunk().unwrap().fill(9);
            0
        });
        assert_eq!(other.wait().unwrap().code(), Some(0), "{way:?}");
        writer.send(CHUNK).unwrap();
        let mut got = vec![0; CHUNK];
        reader.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|&byte| byte == 7), "{way:?}");
    }
}

/// Unless the mechanism is `Write`, only the parent can resend a chunk that was sent before the fork.
fn fork_sent_chunk_is_sent_again_by_the_parent_only() {
    for way in WAYS {
        let Some((mut writer, _, reader)) = writer_of(way, "fork") else { continue };
        writer.chunk().unwrap().fill(7);
        writer.send(CHUNK).unwrap();
        let copies = way.0 == ChunkMechanism::Write;
        let mut other = child(|| {
            match writer.resend(CHUNK) {
                Ok(()) if copies => {}
                Err(stopped)
                    if !copies
                        && (stopped.bytes(), stopped.errno()) == (0, Some(Errno::EINVAL)) => {}
                _ => return 1,
            }
            writer.chunk().unwrap().fill(9);
            0
        });
        assert_eq!(other.wait().unwrap().code(), Some(0), "{way:?}");
        writer.resend(CHUNK).unwrap();
        let mut got = vec![0; CHUNK * if copies { 3 } else { 2 }];
        reader.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|&byte| byte == 7), "{way:?}");
        assert_eq!(reader.available(), Ok(0));
    }
}

/// Unread pages that the parent sent before the fork do not change when the child uses or drops its
/// copy of the writer.
fn fork_child_leaves_unread_pages_alone() {
    for way in WAYS {
        let Some((mut writer, _, reader)) = writer_of(way, "fork") else { continue };
        for number in 0..4 {
            fill(writer.chunk().unwrap(), b'P', number);
            writer.send(CHUNK).unwrap();
        }
        let mut other = child(|| {
            let mut writer = writer_in_child(&mut writer);
            for _ in 0..100 {
                writer.chunk().unwrap().fill(0xee);
            }
            drop(writer);
            0
        });
        assert_eq!(other.wait().unwrap().code(), Some(0));
        let (mut got, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
        for number in 0..4 {
            reader.read_exact(&mut got).unwrap();
            fill(&mut expected, b'P', number);
            assert!(got == expected, "{way:?} {number}");
        }
    }
}

/// If a child drops an unused copy of the writer, the drop unmaps nothing except the writer's memory.
fn fork_drop_in_the_child_unmaps_nothing_else() {
    for way in WAYS {
        let Some((mut writer, _, _reader)) = writer_of(way, "fork") else { continue };
        send(&mut writer, b'P', 0..2);
        let mut other = child(|| {
            let mapped: Vec<_> = (0..50).map(|_| map_page()).collect();
            drop(writer_in_child(&mut writer));
            u8::from(!mapped.into_iter().all(still_there))
        });
        assert_eq!(other.wait().unwrap().code(), Some(0), "{way:?}");
    }
}

/// Maps a page at an address that the kernel chooses, and fills the page.
fn map_page() -> *mut u8 {
    // The page is readable, writable, private and anonymous. On MIPS, the flag for anonymous memory has a
    // different value.
    let (protection, flags) = (3, if cfg!(target_arch = "mips") { 0x802 } else { 0x22 });
    // SAFETY: the call maps new memory at an address where nothing is mapped.
    let answer = unsafe { raw::syscall6(nr::MMAP, 0, 4096, protection, flags, usize::MAX, 0) };
    assert!(!(-4095..0).contains(&answer), "{answer}");
    let page =
        std::ptr::with_exposed_provenance_mut::<u8>(usize::from_ne_bytes(answer.to_ne_bytes()));
    // SAFETY: the page was mapped just above and is writable.
    unsafe { page.write_bytes(0x5a, 4096) };
    page
}

fn still_there(page: *mut u8) -> bool {
    // SAFETY: `map_page` mapped the page, and the page is never unmapped. If the crate unmapped the page,
    // `SIGSEGV` would kill the process, and the test would fail.
    unsafe { std::slice::from_raw_parts(page, 4096) }.iter().all(|&byte| byte == 0x5a)
}

pub(crate) const TESTS: common::Tests = common::tests![
    fork_writer_used_and_dropped_in_both,
    fork_lent_chunk_stays_with_the_parent,
    fork_sent_chunk_is_sent_again_by_the_parent_only,
    fork_child_leaves_unread_pages_alone,
    fork_drop_in_the_child_unmaps_nothing_else,
];
