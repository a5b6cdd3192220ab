//! Tests `ChunkWriter`, `ChunkReader` and `vmsplice` within one process. The tests that fork are in
//! `chunk_fork`, those with signals are in `signals`, and those with missing system calls are in
//! `chunk_faults`.
//!
//! No test in this file creates a process. `pipe.rs` gives the reason.
#![cfg(all(feature = "std", feature = "transfer"))]
#![allow(unsafe_code, reason = "vmsplice")]

use crate::common::bytes::{Random, all_of};

use crate::common::{self, closed_fd, file, say, skip, terminal, terminals};
use rawpipe::Wait;
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter, Reuse, WriterBuilder};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rawpipe::io::IoSlice;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, splice, tee, vmsplice};
use rawpipe::{Errno, PipeReader, PipeWriter, io};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::iter;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

const MECHANISMS: [ChunkMechanism; 3] =
    [ChunkMechanism::Vmsplice, ChunkMechanism::Memfd, ChunkMechanism::Write];
/// The length below which a writer copies chunks.
const SMALL: usize = 16 << 10;
const REUSES: [Reuse; 2] = [Reuse::Never, Reuse::AfterRead];

/// Returns each combination of mechanism and reuse policy that works on this machine.
fn ways() -> Vec<(ChunkMechanism, Reuse)> {
    let mut ways = Vec::new();
    for mechanism in MECHANISMS {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        match ChunkWriter::builder().mechanism(mechanism).build(writer) {
            Ok(_) => ways.extend(REUSES.map(|reuse| (mechanism, reuse))),
            Err(errno) => {
                assert_eq!(errno, Errno::EOPNOTSUPP);
                skip("chunk", &format!("{mechanism:?} does not work here"));
            }
        }
    }
    ways
}

fn builder((mechanism, reuse): (ChunkMechanism, Reuse)) -> WriterBuilder {
    ChunkWriter::builder().mechanism(mechanism).reuse(reuse).keep_capacity()
}

fn pipe_of(capacity: usize) -> (PipeReader, PipeWriter) {
    Builder::new().capacity(Capacity::Bytes(capacity)).build().unwrap()
}

/// The period of the streams in these tests. Any two pages within one period differ.
const PERIOD: usize = 999_983;
static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PERIOD).map(|at| (at * 31 + at / 253).to_le_bytes()[0]).collect());

fn byte(at: usize) -> u8 {
    PATTERN[at % PERIOD]
}

/// Returns the pieces of the stream, starting at position `from`.
fn stream(from: usize) -> impl Iterator<Item = &'static [u8]> {
    iter::once(&PATTERN[from % PERIOD..]).chain(iter::repeat(&PATTERN[..]))
}

fn fill(mut chunk: &mut [u8], from: usize) {
    for piece in stream(from) {
        let len = piece.len().min(chunk.len());
        let (now, later) = chunk.split_at_mut(len);
        now.copy_from_slice(&piece[..len]);
        chunk = later;
        if chunk.is_empty() {
            return;
        }
    }
}

fn assert_stream(mut bytes: &[u8], mut from: usize) {
    for piece in stream(from) {
        let len = piece.len().min(bytes.len());
        let (now, later) = bytes.split_at(len);
        if now != &piece[..len] {
            let at = now.iter().zip(piece).position(|(got, sent)| got != sent).unwrap();
            panic!("at {}: {} for {}", from + at, now[at], piece[at]);
        }
        bytes = later;
        from += len;
        if bytes.is_empty() {
            return;
        }
    }
}

/// Reads until end of file in pieces of `piece` bytes, compares all bytes, and returns the number of bytes.
fn read_stream(reader: &PipeReader, piece: usize) -> usize {
    let mut buf = vec![0; piece];
    let mut total = 0;
    loop {
        match reader.read(&mut buf).unwrap() {
            0 => return total,
            count => {
                assert_stream(&buf[..count], total);
                total += count;
            }
        }
    }
}

#[test]
fn send_every_way_chunk_size_and_capacity() {
    for way in ways() {
        for chunk in [1, 1000, 4096, 5000, 65536, 262_144, (1 << 20) + 1] {
            for capacity in [4096, 65536, 1 << 20] {
                let (reader, writer) = pipe_of(capacity);
                let bytes = if common::slow() { 300 << 10 } else { 3 << 20 };
                let rounds = if chunk < 4096 { 50 } else { bytes / chunk + 1 };
                let reading = thread::spawn(move || read_stream(&reader, 10_000));
                let mut writer = builder(way).chunk(chunk).build(writer).unwrap();
                let mut total = 0;
                for round in 0..rounds {
                    // Every fourth round sends only a part of the chunk.
                    let len = if round % 4 == 3 { chunk / 2 + 1 } else { chunk };
                    let place = writer.chunk().unwrap();
                    assert_eq!(place.len(), chunk);
                    fill(&mut place[..len], total);
                    writer.send(len).unwrap();
                    total += len;
                }
                assert_eq!(writer.mechanism(), way.0);
                drop(writer);
                assert_eq!(reading.join().unwrap(), total, "{way:?} {chunk} {capacity}");
            }
        }
    }
}

#[test]
fn send_by_default_is_right_for_every_consumer() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let before = writer.capacity().unwrap();
    let mut writer = ChunkWriter::new(writer).unwrap();
    assert_eq!(writer.reuse(), Reuse::Never);
    assert!(writer.get_ref().capacity().unwrap() >= before);
    say(&format!("by default: {:?}", writer.mechanism()));
    let reading = thread::spawn(move || read_stream(&reader, 65536));
    let mut total = 0;
    for _ in 0..50 {
        let chunk = writer.chunk().unwrap();
        fill(chunk, total);
        let len = chunk.len();
        writer.send(len).unwrap();
        total += len;
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), total);
}

/// Repeats the steps from a report that a safe `vmsplice` is unsound. The memory is written and freed while
/// the pipe still references it.
#[test]
fn never_modified_after_send_and_dropped_reads_as_sent() {
    for way in ways() {
        let (reader, writer) = pipe_of(1 << 20);
        let mut writer = builder(way).chunk(100_000).build(writer).unwrap();
        fill(writer.chunk().unwrap(), 0);
        writer.send(100_000).unwrap();
        // No byte has been read yet, so the writer must not write to the sent memory under either policy.
        writer.chunk().unwrap().fill(0xee);
        writer.send(50_000).unwrap();
        writer.chunk().unwrap().fill(0xdd);
        drop(writer);
        // A new mapping may reuse these addresses, but it must not share these pages.
        let other = vec![0xcc_u8; 8 << 20];
        let mut all = Vec::new();
        assert_eq!(reader.read_to_end(&mut all), Ok(150_000));
        assert_stream(&all[..100_000], 0);
        assert!(all[100_000..].iter().all(|&byte| byte == 0xee), "{way:?}");
        assert!(other.iter().all(|&byte| byte == 0xcc));
    }
}

/// Repeats the steps from a second such report. A consumer splices the pages to another pipe, so the writer's
/// pipe is empty although the pages are still unread.
#[test]
fn never_reader_splices_onward_and_reads_later() {
    for mechanism in ways().into_iter().map(|(mechanism, _)| mechanism) {
        for chunk in [SMALL, 50_000, 262_144] {
            let (reader, writer) = pipe_of(1 << 20);
            let (kept, keeper) = pipe_of(1 << 20);
            let way = (mechanism, Reuse::Never);
            let mut writer = builder(way).chunk(chunk).build(writer).unwrap();
            let mut total = 0;
            // Each page occupies one slot of the pipe.
            let slots = chunk.div_ceil(page());
            for _ in 0..(1 << 20) / page() / slots {
                fill(writer.chunk().unwrap(), total);
                writer.send(chunk).unwrap();
                total += chunk;
                let mut left = chunk;
                while left > 0 {
                    left -=
                        splice(&reader, None, &keeper, None, left, SpliceFlags::empty()).unwrap();
                }
                assert_eq!(reader.available(), Ok(0), "the pipe is empty, and proves nothing");
            }
            // This loop sends more bytes than fit in the writer's memory, and discards all of them unread.
            let null = File::options().write(true).open("/dev/null").unwrap();
            for _ in 0..(5 << 20) / chunk {
                writer.chunk().unwrap().fill(0xee);
                writer.send(chunk).unwrap();
                let mut left = chunk;
                while left > 0 {
                    left -= splice(&reader, None, &null, None, left, SpliceFlags::empty()).unwrap();
                }
            }
            drop((keeper, writer));
            assert_eq!(read_stream(&kept, 3000), total, "{mechanism:?} {chunk}");
        }
    }
}

#[test]
fn send_partial_chunks_of_random_lengths() {
    for way in ways() {
        let (reader, writer) = pipe_of(256 << 10);
        let reading = thread::spawn(move || read_stream(&reader, 7777));
        let mut random = Random::new();
        let mut writer = builder(way).chunk(200_000).wait(Wait::Adaptive).build(writer).unwrap();
        let mut total = 0;
        for _ in 0..150 {
            let len = random.below(200_001);
            fill(&mut writer.chunk().unwrap()[..len], total);
            writer.send(len).unwrap();
            total += len;
        }
        drop(writer);
        assert_eq!(reading.join().unwrap(), total);
    }
}

#[test]
fn send_one_byte_at_a_time_takes_no_slot_each() {
    for way in ways() {
        let (reader, writer) = pipe_of(4096);
        let mut writer = builder(way).build(writer).unwrap();
        for at in 0..4096 {
            writer.chunk().unwrap()[0] = byte(at);
            writer.send(1).unwrap();
        }
        drop(writer);
        assert_eq!(read_stream(&reader, 4096), 4096);
    }
}

#[test]
fn send_nothing_keeps_the_chunk() {
    for way in ways() {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut writer = builder(way).chunk(3).build(writer).unwrap();
        writer.send(0).unwrap();
        writer.chunk().unwrap().copy_from_slice(b"abc");
        writer.send(0).unwrap();
        assert_eq!(reader.available(), Ok(0));
        writer.send(3).unwrap();
        assert_eq!(reader.available(), Ok(3));
        writer.send(0).unwrap();
        drop(reader);
        writer.send(0).unwrap(); // an empty send does not check the pipe
    }
}

fn refuses(sent: Result<(), io::Incomplete>) {
    let stopped = sent.unwrap_err();
    assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EINVAL)));
}

#[test]
fn send_too_much_or_not_lent_einval() {
    fn refused(writer: &mut ChunkWriter, len: usize) {
        refuses(writer.send(len));
    }
    for way in ways() {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut writer = builder(way).chunk(20_000).build(writer).unwrap();
        refused(&mut writer, 1);
        writer.chunk().unwrap();
        refused(&mut writer, 20_001);
        refused(&mut writer, usize::MAX);
        writer.send(20_000).unwrap();
        refused(&mut writer, 1);
        writer.chunk().unwrap();
        writer.send(1).unwrap();
        refused(&mut writer, 1);
        assert_eq!(reader.available(), Ok(20_001));
    }
}

#[test]
fn chunk_given_up_is_not_sent() {
    for way in ways() {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut writer = builder(way).chunk(20_000).build(writer).unwrap();
        for _ in 0..1000 {
            writer.chunk().unwrap().fill(b'-');
        }
        fill(writer.chunk().unwrap(), 0);
        writer.send(20_000).unwrap();
        drop(writer);
        assert_eq!(read_stream(&reader, 4096), 20_000);
    }
}

#[test]
fn send_nonblocking_eagain_with_the_exact_count_and_goes_on() {
    const CHUNK: usize = 1_000_000;
    for way in ways() {
        let (reader, writer) =
            Builder::new().nonblocking().capacity(Capacity::Bytes(65536)).build().unwrap();
        let mut writer = builder(way).chunk(CHUNK).wait(Wait::Adaptive).build(writer).unwrap();
        let mut read = 0;
        for round in 0..3 {
            fill(writer.chunk().unwrap(), round * CHUNK);
            let mut left = CHUNK;
            while let Err(stopped) = writer.send(left) {
                assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                left -= stopped.bytes();
                // The pipe holds exactly the bytes that were sent but not read.
                assert_eq!(round * CHUNK + CHUNK - left - read, reader.available().unwrap());
                let mut buf = vec![0; 50_001];
                let count = reader.read(&mut buf).unwrap();
                assert_stream(&buf[..count], read);
                read += count;
            }
        }
        drop(writer);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_stream(&rest, read);
        assert_eq!(read + rest.len(), 3 * CHUNK, "{way:?}");
    }
}

/// If the pipe has no reader, a send fails with `EPIPE`, and the error holds an exact count. `SIGPIPE` is
/// ignored, as it is by default in Rust programs.
#[test]
fn send_reader_gone_epipe_with_the_exact_count() {
    for way in ways() {
        // The pipe has no reader from the start.
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut writer = builder(way).build(writer).unwrap();
        drop(reader);
        for len in [1, 100_000] {
            writer.chunk().unwrap();
            let stopped = writer.send(len).unwrap_err();
            assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EPIPE)), "{way:?}");
        }
        // The reader is closed during the send, while the pipe is full.
        let (reader, writer) = pipe_of(65536);
        let mut writer = builder(way).chunk(1 << 20).build(writer).unwrap();
        let sending = thread::spawn(move || {
            writer.chunk().unwrap();
            writer.send(1 << 20).unwrap_err()
        });
        while reader.available().unwrap() < 65536 {
            thread::sleep(Duration::from_millis(1));
        }
        drop(reader);
        let stopped = sending.join().unwrap();
        assert_eq!((stopped.bytes(), stopped.errno()), (65536, Some(Errno::EPIPE)), "{way:?}");
    }
}

#[test]
fn drop_with_unread_data_leaves_it_in_the_pipe() {
    for way in ways() {
        let (reader, writer) = pipe_of(1 << 20);
        let mut writer = builder(way).chunk(300_000).build(writer).unwrap();
        fill(writer.chunk().unwrap(), 0);
        writer.send(300_000).unwrap();
        let writer = writer.into_inner();
        writer.write_all(&[byte(300_000)]).unwrap();
        drop(writer);
        assert_eq!(read_stream(&reader, 65536), 300_001);
    }
}

/// Another writer on the same pipe only increases the number of unread bytes, so every chunk arrives
/// unchanged.
#[test]
fn after_read_with_another_writer_on_the_pipe() {
    const OTHER: u8 = 0xff;
    for (mechanism, reuse) in ways() {
        let (reader, writer) = pipe_of(128 << 10);
        let other = writer.try_clone().unwrap();
        let mut writer = builder((mechanism, reuse)).chunk(40_000).build(writer).unwrap();
        let others = thread::spawn(move || {
            for _ in 0..500 {
                other.write_all(&[OTHER; 3000]).unwrap();
            }
        });
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        for round in 0..100 {
            writer.chunk().unwrap().fill(round);
            writer.send(40_000).unwrap();
        }
        drop(writer);
        others.join().unwrap();
        let all = reading.join().unwrap().unwrap();
        let ours: Vec<u8> = all.iter().copied().filter(|&byte| byte != OTHER).collect();
        assert_eq!((all.len(), ours.len()), (4_000_000 + 1_500_000, 4_000_000));
        assert!(ours.iter().zip(0..).all(|(&byte, at)| usize::from(byte) == at / 40_000));
    }
}

#[test]
fn resend_too_much_or_not_sent_einval() {
    for way in ways() {
        let (reader, writer) =
            Builder::new().nonblocking().capacity(Capacity::Bytes(65536)).build().unwrap();
        let mut writer = builder(way).chunk(100_000).build(writer).unwrap();
        writer.resend(0).unwrap();
        refuses(writer.resend(1));
        writer.chunk().unwrap();
        refuses(writer.resend(1));
        // After a partial send, the chunk's remaining bytes are still lent.
        let stopped = writer.send(100_000).unwrap_err();
        assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
        refuses(writer.resend(1));
        reader.read_exact(&mut vec![0; stopped.bytes()]).unwrap();
        writer.send(20_000).unwrap();
        let sent = stopped.bytes() + 20_000;
        for len in [sent + 1, usize::MAX] {
            refuses(writer.resend(len));
        }
        refuses(writer.send(1));
        reader.read_exact(&mut vec![0; 20_000]).unwrap();
        // After a partial resend, only the remaining bytes can be resent.
        let stopped = writer.resend(sent).unwrap_err();
        assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
        refuses(writer.resend(sent - stopped.bytes() + 1));
        writer.chunk().unwrap();
        refuses(writer.resend(1));
        assert_eq!(reader.available(), Ok(stopped.bytes()));
    }
}

#[test]
fn resend_nonblocking_eagain_with_the_exact_count_and_goes_on() {
    const CHUNK: usize = 150_001;
    for way in ways() {
        let (reader, writer) =
            Builder::new().nonblocking().capacity(Capacity::Bytes(65536)).build().unwrap();
        let mut writer = builder(way).chunk(CHUNK).wait(Wait::Adaptive).build(writer).unwrap();
        let (mut all, mut buf, mut total) = (Vec::new(), vec![0; 50_001], 0);
        fill(writer.chunk().unwrap(), 0);
        for round in 0..4 {
            let mut left = CHUNK;
            loop {
                let next = if round == 0 { writer.send(left) } else { writer.resend(left) };
                let Err(stopped) = next else { break };
                assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                // The pipe holds exactly the bytes that were sent but not read.
                total += stopped.bytes();
                left -= stopped.bytes();
                assert_eq!(total - all.len(), reader.available().unwrap());
                let count = reader.read(&mut buf).unwrap();
                all.extend_from_slice(&buf[..count]);
            }
            total += left;
        }
        drop(writer);
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 4 * CHUNK, "{way:?}");
        all.chunks(CHUNK).for_each(|chunk| assert_stream(chunk, 0));
    }
}

#[test]
fn resend_reader_gone_epipe_and_to_what_is_no_pipe() {
    for way in ways() {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut writer = builder(way).chunk(20_000).build(writer).unwrap();
        writer.chunk().unwrap();
        writer.send(20_000).unwrap();
        drop(reader);
        for len in [1, 20_000 - 1] {
            let stopped = writer.resend(len).unwrap_err();
            assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EPIPE)), "{way:?}");
        }
    }
    for reuse in REUSES {
        let target = file(b"");
        let mut writer =
            ChunkWriter::builder().reuse(reuse).chunk(20_000).build(target.as_fd()).unwrap();
        fill(writer.chunk().unwrap(), 0);
        writer.send(20_000).unwrap();
        writer.resend(20_000).unwrap();
        writer.resend(5).unwrap();
        let all = all_of(&target);
        assert_eq!(all.len(), 40_005);
        all.chunks(20_000).for_each(|chunk| assert_stream(chunk, 0));
    }
}

/// Chunks of random lengths, each of which is resent in parts, arrive unchanged at a reader that is slower
/// than the writer.
#[test]
fn resend_between_chunks_to_a_slow_reader() {
    const CHUNK: usize = 100_000;
    for way in ways() {
        for capacity in [4096, 65536, 1 << 20] {
            let (reader, writer) = pipe_of(capacity);
            let mut random = Random::new();
            let reading = thread::spawn(move || {
                let (mut all, mut buf) = (Vec::new(), vec![0; 30_011]);
                loop {
                    match reader.read(&mut buf).unwrap() {
                        0 => return all,
                        count => all.extend_from_slice(&buf[..count]),
                    }
                    if all.len() % 7 == 0 {
                        thread::sleep(Duration::from_micros(200));
                    }
                }
            });
            let mut writer = builder(way).chunk(CHUNK).build(writer).unwrap();
            let (mut expected, rounds) = (Vec::new(), if common::slow() { 15 } else { 80 });
            for round in 0..rounds {
                let place = writer.chunk().unwrap();
                fill(place, round * 1013);
                let copy = place.to_vec();
                let sent = 1 + random.below(CHUNK);
                writer.send(sent).unwrap();
                expected.extend_from_slice(&copy[..sent]);
                for _ in 0..random.below(6) {
                    let len = if random.below(2) == 0 { sent } else { random.below(sent + 1) };
                    writer.resend(len).unwrap();
                    expected.extend_from_slice(&copy[..len]);
                }
            }
            drop(writer);
            let all = reading.join().unwrap();
            let wrong = all.iter().zip(&expected).position(|(got, sent)| got != sent);
            assert_eq!((wrong, all.len()), (None, expected.len()), "{way:?} {capacity}");
        }
    }
}

/// With `Never`, the writer does not write to resent pages, even after the pipe is empty.
#[test]
fn never_resent_chunks_spliced_onward_and_read_later() {
    const CHUNK: usize = 40_000;
    for (mechanism, reuse) in ways() {
        if reuse != Reuse::Never {
            continue;
        }
        let (reader, writer) = pipe_of(1 << 20);
        let mut writer = builder((mechanism, reuse)).chunk(CHUNK).build(writer).unwrap();
        let kept: Vec<_> = (0..80).map(|_| pipe_of(64 << 10)).collect();
        let none = SpliceFlags::empty();
        for (number, (_, keeper)) in kept.iter().enumerate() {
            fill(writer.chunk().unwrap(), number);
            // Each chunk is sent twice, sometimes with different lengths. One copy is read, and the other
            // copy is kept unread.
            let lens = if number % 4 < 2 { [CHUNK, SMALL] } else { [CHUNK, CHUNK] };
            for (again, len) in lens.into_iter().enumerate() {
                if again == 0 { writer.send(len) } else { writer.resend(len) }.unwrap();
                if again == number % 2 {
                    reader.read_exact(&mut vec![0; len]).unwrap();
                    continue;
                }
                let mut left = len;
                while left > 0 {
                    left -= splice(&reader, None, keeper, None, left, none).unwrap();
                }
            }
        }
        for (number, (reader, keeper)) in kept.into_iter().enumerate() {
            drop(keeper);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), if number % 4 == 0 { SMALL } else { CHUNK });
            assert_stream(&all, number);
        }
    }
}

/// With `AfterRead`, a chunk becomes free exactly when its last copy has been read.
#[test]
fn after_read_resent_chunk_is_free_after_its_last_copy() {
    const CHUNK: usize = 40_000;
    for (mechanism, reuse) in ways() {
        if reuse != Reuse::AfterRead || mechanism == ChunkMechanism::Write {
            continue;
        }
        let (reader, writer) = pipe_of(256 << 10);
        let mut writer = builder((mechanism, reuse)).chunk(CHUNK).build(writer).unwrap();
        let mut got = vec![0; CHUNK];
        writer.chunk().unwrap().fill(1);
        writer.send(CHUNK).unwrap();
        writer.resend(CHUNK).unwrap();
        writer.resend(CHUNK / 2).unwrap();
        reader.read_exact(&mut got).unwrap();
        reader.read_exact(&mut got).unwrap();
        reader.read_exact(&mut got[..CHUNK / 2 - 1]).unwrap();
        // One byte of the last copy is unread.
        let chunk = writer.chunk().unwrap();
        assert!(chunk.iter().all(|&byte| byte == 0), "{mechanism:?}: the chunk is in use");
        chunk.fill(2);
        reader.read_exact(&mut got[..1]).unwrap();
        assert_eq!(got[0], 1);
        writer.send(CHUNK).unwrap();
        let chunk = writer.chunk().unwrap();
        assert!(chunk.iter().all(|&byte| byte == 1), "{mechanism:?}: the chunk is free");
    }
}

/// With `AfterRead`, a chunk either is new, and therefore zeroed, or has the contents that the caller last
/// wrote.
#[test]
fn after_read_chunk_is_new_or_as_it_was_given_back() {
    const CHUNK: usize = 5 * 4096 + 7;
    for (mechanism, reuse) in ways() {
        if reuse == Reuse::Never {
            continue;
        }
        let (reader, writer) = pipe_of(256 << 10);
        let mut writer = builder((mechanism, reuse)).chunk(CHUNK).build(writer).unwrap();
        let (mut new, mut old, mut unread) = (0, 0, 0);
        let mut random = 1_u32;
        for round in 0..500 {
            let chunk = writer.chunk().unwrap();
            if chunk[0] == 0 {
                assert!(chunk.iter().all(|&byte| byte == 0), "{mechanism:?} {round}");
                chunk.fill(7);
                chunk[CHUNK - 1] = 9;
                new += 1;
            } else {
                let (last, others) = chunk.split_last().unwrap();
                assert!(
                    *last == 9 && others.iter().all(|&byte| byte == 7),
                    "{mechanism:?} {round}"
                );
                old += 1;
            }
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = [1, 4096, SMALL, CHUNK][random as usize >> 30];
            writer.send(len).unwrap();
            unread += len;
            // At most 80,000 bytes stay unread, which is less than the pipe can hold.
            let leave = [0, 5_000, 40_000, 80_000][random as usize >> 28 & 3];
            if unread > leave {
                reader.read_exact(&mut vec![0; unread - leave]).unwrap();
                unread = leave;
            }
        }
        assert!(new >= 1 && old > 200, "{mechanism:?} {new} {old}");
    }
}

/// Other code enlarges the pipe, so the pipe can hold more bytes than fit in the writer's memory. Every chunk
/// still arrives unchanged.
#[test]
fn after_read_nobody_reads_and_the_pipe_grows() {
    for (mechanism, reuse) in ways() {
        let (reader, writer) = pipe_of(4096);
        let mut writer = builder((mechanism, reuse)).chunk(65536).build(writer).unwrap();
        reader.set_capacity(Capacity::Bytes(1 << 20)).unwrap();
        let mut total = 0;
        for _ in 0..15 {
            fill(writer.chunk().unwrap(), total);
            writer.send(65536).unwrap();
            total += 65536;
        }
        drop(writer);
        assert_eq!(read_stream(&reader, 65536), total, "{mechanism:?} {reuse:?}");
    }
}

/// The kernel returns the number of unread bytes as an `int`, so 2 GiB appear as a negative number. Even
/// then, the writer must not reuse unread pages.
#[test]
fn after_read_two_gib_unread_keeps_what_was_sent() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: u8 = 40;
    const FULL: usize = 1 << 31;
    let test = "after_read_two_gib_unread_keeps_what_was_sent";
    let none = SpliceFlags::empty();
    // `tee` shares the pages, so the large pipe needs memory only for its slots.
    let (filled, filler) = pipe_of(1 << 20);
    filler.write_all(&vec![0; filled.capacity().unwrap()]).unwrap();
    for (mechanism, reuse) in ways() {
        if reuse == Reuse::Never {
            continue;
        }
        let (reader, writer) = pipe_of(256 << 10);
        let other = writer.try_clone().unwrap();
        let mut writer = builder((mechanism, reuse)).chunk(CHUNK).build(writer).unwrap();
        if reader.set_capacity(Capacity::Bytes(FULL)) != Ok(FULL) {
            return skip(test, "no pipe may have 2 GiB here");
        }
        let mut sent = 0..;
        let mut send_next = || {
            writer.chunk().unwrap().fill(sent.next().unwrap());
            writer.send(CHUNK).unwrap();
        };
        for _ in 0..CHUNKS {
            send_next();
        }
        let mut chunk = vec![0; CHUNK];
        for number in 0..CHUNKS {
            while reader.available().unwrap() < FULL {
                tee(&filled, &other, FULL - reader.available().unwrap(), none).unwrap();
            }
            // The next chunk is requested while the pipe is full, and is sent when the pipe has space again.
            thread::scope(|scope| {
                scope.spawn(&mut send_next);
                thread::sleep(Duration::from_millis(5));
                reader.read_exact(&mut chunk).unwrap();
            });
            let wrong = chunk.iter().filter(|&&byte| byte != number).count();
            assert_eq!(wrong, 0, "{mechanism:?}: chunk {number}");
        }
    }
}

fn page() -> usize {
    pipe_of(1).1.capacity().unwrap()
}

/// The same random operations on a nonblocking pipe and on a queue of bytes produce the same bytes and
/// counts.
#[test]
fn model_of_a_writer_and_a_queue_of_bytes() {
    const CAPACITY: usize = 16 * 4096;
    const CHUNK: usize = 5 * 4096 + 7;
    let mut random = Random::new();
    for way in ways() {
        let (reader, writer) =
            Builder::new().nonblocking().capacity(Capacity::Bytes(CAPACITY)).build().unwrap();
        let mut writer = builder(way).chunk(CHUNK).build(writer).unwrap();
        let mut queue = VecDeque::new();
        let (mut sent, mut lent) = (0, 0);
        // These variables describe the sent part of the last chunk: its start, its length, and the number
        // of resent bytes.
        let (mut start, mut len_sent, mut again) = (0, 0, 0);
        let mut buf = vec![0; 2 * CAPACITY];
        for _ in 0..if common::slow() { 2_000 } else { 20_000 } {
            match random.below(5) {
                0 => {
                    // Requesting a chunk drops the unsent bytes of the previous chunk.
                    let chunk = writer.chunk().unwrap();
                    fill(chunk, sent);
                    lent = chunk.len();
                    (start, len_sent, again) = (sent, 0, 0);
                }
                1 | 2 if lent == 0 => {
                    let len = random.below(len_sent - again + 1);
                    let (count, next) = match writer.resend(len) {
                        Ok(()) => (len, if len == 0 { again } else { 0 }),
                        Err(stopped) => {
                            assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                            (stopped.bytes(), again + stopped.bytes())
                        }
                    };
                    queue.extend((start + again..start + again + count).map(byte));
                    again = next;
                }
                1 if lent > 0 => {
                    let len = random.below(lent + 1);
                    let count = match writer.send(len) {
                        Ok(()) => {
                            lent = if len == 0 { lent } else { 0 };
                            len
                        }
                        Err(stopped) => {
                            assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                            lent -= stopped.bytes();
                            stopped.bytes()
                        }
                    };
                    queue.extend((sent..sent + count).map(byte));
                    sent += count;
                    len_sent = sent - start;
                }
                _ => {
                    let len = random.below(buf.len());
                    match reader.read(&mut buf[..len]) {
                        Ok(count) => {
                            assert_eq!(count, len.min(queue.len()));
                            let model: Vec<u8> = queue.drain(..count).collect();
                            assert!(buf[..count] == model, "{way:?}");
                        }
                        Err(errno) => assert_eq!((errno, queue.len()), (Errno::EAGAIN, 0)),
                    }
                }
            }
            assert_eq!(reader.available(), Ok(queue.len()));
        }
    }
}

#[test]
fn build_not_open_for_writing_ebadf() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let ends: [OwnedFd; 2] = [reader.into(), File::open("/dev/null").unwrap().into()];
    for end in ends {
        assert_eq!(ChunkWriter::new(end).unwrap_err(), Errno::EBADF);
    }
    assert_eq!(ChunkWriter::new(closed_fd()).unwrap_err(), Errno::EBADF);
}

/// If pages were mixed with packets, a reader of a packet pipe could lose bytes. The writer therefore uses
/// `write`.
#[test]
fn build_on_a_packet_pipe_writes_and_every_byte_arrives() {
    for reuse in REUSES {
        let (reader, writer) = Builder::new().packet().build().unwrap();
        let mut writer = ChunkWriter::builder().reuse(reuse).chunk(24_000).build(writer).unwrap();
        assert_eq!(writer.mechanism(), ChunkMechanism::Write);
        let mut at = 0;
        for len in [24_000, 4_000, 17_001, 1, 20_000] {
            let chunk = writer.chunk().unwrap();
            chunk[..len].iter_mut().zip(at..).for_each(|(place, at)| *place = byte(at));
            writer.send(len).unwrap();
            at += len;
        }
        drop(writer);
        let (mut all, mut buf) = (Vec::new(), [0; rawpipe::pipe::PIPE_BUF]);
        loop {
            match reader.read(&mut buf).unwrap() {
                0 => break,
                count => all.extend_from_slice(&buf[..count]),
            }
        }
        assert!(all == (0..at).map(byte).collect::<Vec<u8>>(), "{} of {at} bytes", all.len());
    }
    let (_reader, writer) = Builder::new().packet().build().unwrap();
    for mechanism in [ChunkMechanism::Vmsplice, ChunkMechanism::Memfd] {
        let refused = ChunkWriter::builder().mechanism(mechanism).build(&writer);
        assert_eq!(refused.unwrap_err(), Errno::EOPNOTSUPP);
    }
}

/// If the descriptor is not a pipe, the writer sends its chunks with `write`. The standard output of a filter
/// is an example of such a descriptor.
#[test]
fn build_on_what_is_no_pipe_writes() {
    const CHUNK: usize = 40_000;
    let sent = |to: BorrowedFd<'_>, chunks: usize| {
        for reuse in REUSES {
            let mut writer = ChunkWriter::builder().chunk(CHUNK).reuse(reuse).build(to).unwrap();
            assert_eq!(writer.mechanism(), ChunkMechanism::Write);
            for number in 0..chunks {
                let chunk = writer.chunk().unwrap();
                chunk.iter_mut().zip(number * CHUNK..).for_each(|(place, at)| *place = byte(at));
                writer.send(CHUNK).unwrap();
            }
            assert_eq!(writer.into_inner().as_raw_fd(), to.as_raw_fd());
        }
    };
    let wanted: Vec<u8> = (0..3 * CHUNK).map(byte).collect();
    let target = file(b"");
    sent(target.as_fd(), 3);
    assert!(all_of(&target) == [&wanted[..], &wanted[..]].concat());

    let null = File::options().write(true).open("/dev/null").unwrap();
    sent(null.as_fd(), 3);

    let (near, mut far) = UnixStream::pair().unwrap();
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        far.read_to_end(&mut all).map(|_| all)
    });
    sent(near.as_fd(), 3);
    drop(near);
    assert!(reading.join().unwrap().unwrap() == [&wanted[..], &wanted[..]].concat());

    if terminals() {
        let (tty, mut master) = terminal();
        let mut writer = ChunkWriter::builder().chunk(9).build(&tty).unwrap();
        writer.chunk().unwrap().copy_from_slice(b"to a tty.");
        writer.send(9).unwrap();
        let mut seen = [0; 9];
        master.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"to a tty.");
    }
    for mechanism in [ChunkMechanism::Vmsplice, ChunkMechanism::Memfd] {
        let refused = ChunkWriter::builder().mechanism(mechanism).build(&null);
        assert_eq!(refused.unwrap_err(), Errno::EOPNOTSUPP);
    }
}

/// After the writer is built, its descriptor becomes a read end. `write` then fails with `EBADF`, and
/// `vmsplice` reads into the writer's own memory. The writer stays usable.
#[test]
fn send_to_a_descriptor_that_has_become_a_read_end() {
    struct Turning(PipeWriter, PipeReader, Cell<bool>);
    impl AsFd for Turning {
        fn as_fd(&self) -> BorrowedFd<'_> {
            if self.2.get() { self.1.as_fd() } else { self.0.as_fd() }
        }
    }
    let (_kept, to) = rawpipe::pipe().unwrap();
    let (from, feed) = rawpipe::pipe().unwrap();
    feed.write_all(&[7; SMALL]).unwrap();
    let mut writer =
        ChunkWriter::builder().chunk(SMALL).build(Turning(to, from, Cell::new(false))).unwrap();
    writer.chunk().unwrap().fill(1);
    writer.get_ref().2.set(true);
    let answer = writer.send(SMALL);
    match writer.mechanism() {
        ChunkMechanism::Write => assert_eq!(answer.unwrap_err().errno(), Some(Errno::EBADF)),
        _ => {
            assert!(answer.is_ok_and(|()| writer.get_ref().1.available() == Ok(0)), "read instead")
        }
    }
    writer.get_ref().2.set(false);
    writer.chunk().unwrap().fill(2);
    writer.send(SMALL).unwrap();
}

/// After a panic in the caller's `as_fd`, the writer still accounts for the pages that it has already sent.
#[test]
fn send_with_a_descriptor_that_panics_changes_no_byte() {
    struct Failing(PipeWriter, Cell<usize>);
    impl AsFd for Failing {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.1.set(self.1.get().wrapping_sub(1));
            assert!(self.1.get() != 0, "a descriptor that cannot be lent");
            self.0.as_fd()
        }
    }
    const LEN: usize = 8 * SMALL;
    for way in ways() {
        for calls in 1..5 {
            let small = Builder::new().nonblocking().capacity(Capacity::Bytes(2 * SMALL));
            let (reader, writer) = small.build().unwrap();
            let writer = Failing(writer, Cell::new(0));
            let mut writer = builder(way).chunk(LEN).build(writer).unwrap();
            writer.chunk().unwrap().fill(1);
            writer.get_ref().1.set(calls);
            let sent = catch_unwind(AssertUnwindSafe(|| writer.send(LEN)));
            writer.get_ref().1.set(0);
            writer.chunk().unwrap().fill(2);
            let mut seen = vec![0; reader.available().unwrap()];
            reader.read_exact(&mut seen).unwrap();
            assert!(seen.iter().all(|&byte| byte == 1), "{way:?} {calls} {sent:?}");
        }
    }
}

#[test]
fn build_larger_than_memory_enomem() {
    for mechanism in MECHANISMS {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        let huge = ChunkWriter::builder().mechanism(mechanism).chunk(usize::MAX).build(writer);
        assert!(matches!(huge.unwrap_err(), Errno::ENOMEM | Errno::EOPNOTSUPP));
    }
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let huge = ChunkReader::builder().chunk(usize::MAX).build(reader);
    assert_eq!(huge.unwrap_err(), Errno::ENOMEM);
}

#[test]
fn build_small_chunk_makes_the_pipe_no_larger_than_it_pays() {
    for (before, after) in [(4096, 128 << 10), (64 << 10, 128 << 10), (256 << 10, 256 << 10)] {
        let (_reader, writer) = pipe_of(before);
        let writer = ChunkWriter::builder().chunk(100).build(writer).unwrap();
        assert_eq!(writer.get_ref().capacity(), Ok(after));
    }
}

#[test]
fn build_one_page_pipe_writes() {
    let (_reader, writer) = pipe_of(4096);
    let writer = ChunkWriter::builder().keep_capacity().build(writer).unwrap();
    assert_eq!(writer.mechanism(), ChunkMechanism::Write);
}

#[test]
fn read_chunk_whole_stream_and_end_of_file() {
    for wait in [Wait::Block, Wait::Adaptive] {
        for chunk in [1, 4096, 100_000, 1 << 20] {
            let (reader, writer) = rawpipe::pipe().unwrap();
            let len = if chunk == 1 { 2000 } else { 1 << 20 };
            let writing = thread::spawn(move || {
                let mut data = vec![0; len];
                fill(&mut data, 0);
                writer.write_all(&data).unwrap();
            });
            let mut reader = ChunkReader::builder().chunk(chunk).wait(wait).build(reader).unwrap();
            let mut total = 0;
            loop {
                let got = reader.read_chunk().unwrap();
                if got.is_empty() {
                    break;
                }
                assert!(got.len() <= chunk);
                assert_stream(got, total);
                total += got.len();
            }
            assert_eq!(total, len);
            assert!(reader.read_chunk().unwrap().is_empty());
            writing.join().unwrap();
        }
    }
}

#[test]
fn read_chunk_nonblocking_eagain() {
    let (reader, _writer) = Builder::new().nonblocking().build().unwrap();
    for wait in [Wait::Block, Wait::Adaptive] {
        let reader = reader.try_clone().unwrap();
        let mut reader = ChunkReader::builder().wait(wait).build(reader).unwrap();
        assert_eq!(reader.read_chunk().unwrap_err(), Errno::EAGAIN);
        assert_eq!(reader.splice_to(file(b""), 100), Err(Errno::EAGAIN));
    }
}

#[test]
fn splice_to_a_file_counts_and_ends() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"0123456789").unwrap();
    drop(writer);
    let target = file(b"");
    let mut reader = ChunkReader::new(reader).unwrap();
    assert_eq!(reader.splice_to(&target, 4), Ok(4));
    assert_eq!(reader.read_chunk().unwrap(), b"456789");
    assert_eq!(reader.splice_to(&target, 4), Ok(0));
    assert_eq!(std::os::unix::fs::MetadataExt::size(&target.metadata().unwrap()), 4);
}

#[test]
fn vmsplice_full_gone_wrong_and_too_many() {
    static PAGE: [u8; 4096] = [b'x'; 4096];
    let now = SpliceFlags::NONBLOCK;
    let send = |writer: &PipeWriter, count: usize| {
        let bufs = vec![IoSlice::new(&PAGE); count];
        // SAFETY: a static that is not `mut` never changes, and none of these descriptors is a read end.
        unsafe { vmsplice(writer, &bufs, now) }
    };
    let (reader, writer) = pipe_of(65536);
    assert!(!io::is_nonblocking(&writer).unwrap());
    assert_eq!(send(&writer, 1025), Err(Errno::EINVAL));
    assert_eq!(send(&writer, 0), Ok(0));
    // The pipe is full when all its slots are in use. A full pipe may hold fewer bytes than its capacity,
    // because the static need not start on a page boundary.
    let sent = send(&writer, 1024).unwrap();
    assert!(sent > 0 && sent <= writer.capacity().unwrap(), "{sent}");
    assert_eq!(send(&writer, 1), Err(Errno::EAGAIN));
    let mut all = vec![0; sent];
    reader.read_exact(&mut all).unwrap();
    assert!(all.iter().all(|&byte| byte == b'x'));
    drop(reader);
    assert_eq!(send(&writer, 1), Err(Errno::EPIPE));
    assert_eq!(send(&OwnedFd::from(file(b"")).into(), 1), Err(Errno::EBADF));
}

#[test]
fn writer_and_reader_can_be_sent_and_shared() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<ChunkWriter>();
    check::<ChunkReader>();
}
