//! Tests that all records sent between two processes or threads arrive whole and in order, followed by the
//! end of the stream.

use super::{
    SIZES, asked_for, is_filled, len_of, receive_all, send, send_all, succeeds, supported, times,
};
use crate::common::{self, HANDLED, Storm, open_fds};
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::io::is_close_on_exec;
use rawpipe::{Errno, Wait};
use std::io::{BufRead, Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{mem, thread};

pub(super) fn records_arrive_in_a_child_and_from_one() {
    if !supported() {
        return;
    }
    for ((chunk, ring), wait) in
        SIZES.into_iter().flat_map(|size| [(size, Wait::Block), (size, Wait::Adaptive)])
    {
        let builder = SharedBuilder::new().chunk(chunk).ring(ring).wait(wait);
        let records = times(if ring > 1 << 20 { 300 } else { 3_000 });
        // SAFETY: this process has no other thread, and the child uses only its own half.
        let (receiving, writer) = unsafe {
            builder
                .fork_reader(|mut reader| u8::from(receive_all(&mut reader, chunk) != Ok(records)))
        }
        .unwrap();
        send_all(writer, chunk, records).unwrap();
        succeeds(receiving);
        // SAFETY: this process has no other thread, and the child uses only its own half.
        let (sending, mut reader) = unsafe {
            builder.fork_writer(|writer| u8::from(send_all(writer, chunk, records).is_err()))
        }
        .unwrap();
        assert_eq!(receive_all(&mut reader, chunk), Ok(records));
        succeeds(sending);
    }
}

pub(super) fn records_arrive_in_a_thread() {
    if !supported() {
        return;
    }
    for (chunk, ring) in SIZES {
        let (mut reader, writer) = SharedBuilder::new().chunk(chunk).ring(ring).build().unwrap();
        let records = times(if ring > 1 << 20 { 300 } else { 3_000 });
        let sending = thread::spawn(move || send_all(writer, chunk, records));
        assert_eq!(receive_all(&mut reader, chunk), Ok(records));
        sending.join().unwrap().unwrap();
    }
}

/// A leaked guard only delays the reuse of its record's space, because the reader's next call frees that
/// space.
pub(super) fn guard_leaked_gives_its_room_back_later() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).ring(1).build().unwrap();
    for number in 0..100 {
        send(&mut writer, 1000, number).unwrap();
        let record = reader.recv().unwrap().unwrap();
        assert!(is_filled(&record, number));
        mem::forget(record);
    }
}

pub(super) fn std_traits_copy_nothing_twice_and_lose_nothing() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).build().unwrap();
    let bytes = common::bytes::data(100_000);
    writer.write_all(&bytes).unwrap();
    assert_eq!(writer.write(&[]).unwrap(), 0);
    drop(writer);
    assert_eq!(reader.fill_buf().unwrap(), &bytes[..1000]);
    reader.consume(999);
    assert_eq!(*reader.recv().unwrap().unwrap(), bytes[999..1000], "what is left of the record");
    let mut got = vec![0; 500];
    reader.read_exact(&mut got).unwrap();
    reader.read_to_end(&mut got).unwrap();
    assert!(got == bytes[1000..]);
    assert!(reader.fill_buf().unwrap().is_empty());
}

/// If one half of an unused pair is dropped, the other half detects this. A reader then reaches the end of
/// the stream, and a writer fails with `EPIPE`.
pub(super) fn unused_half_dropped_is_the_end() {
    if !supported() {
        return;
    }
    let (mut reader, writer) = shared().unwrap();
    drop(writer);
    assert!(reader.try_recv().unwrap().is_none());
    assert!(reader.recv().unwrap().is_none());
    let (reader, mut writer) = SharedBuilder::new().chunk(100).ring(1).build().unwrap();
    drop(reader);
    let sent = (0..1_000).try_for_each(|number| send(&mut writer, 100, number));
    assert_eq!(sent, Err(Errno::EPIPE));
}

/// No record is lost if signals interrupt the parent's calls while the parent sends or receives.
pub(super) fn signals_interrupt_nothing() {
    if !supported() {
        return;
    }
    const CHUNK: usize = 4096;
    let bytes = asked_for("RAWPIPE_TRANSFER_BYTES").unwrap_or_else(|| times(64 << 20));
    let storm = Storm::begin(Duration::from_micros(50));
    // A record fills half a chunk on average, and each direction transfers half of the bytes.
    let records = (bytes / CHUNK).max(1);
    let builder = SharedBuilder::new().chunk(CHUNK).ring(1);
    // SAFETY: this process has no other thread, and the child uses only its own half.
    let (receiving, writer) = unsafe {
        builder.fork_reader(|mut reader| u8::from(receive_all(&mut reader, CHUNK) != Ok(records)))
    }
    .unwrap();
    send_all(writer, CHUNK, records).unwrap();
    succeeds(receiving);
    // SAFETY: this process has no other thread, and the child uses only its own half.
    let (sending, mut reader) = unsafe {
        builder.fork_writer(|writer| u8::from(send_all(writer, CHUNK, records).is_err()))
    }
    .unwrap();
    assert_eq!(receive_all(&mut reader, CHUNK), Ok(records));
    succeeds(sending);
    drop(storm);
    let signals = HANDLED.load(Ordering::SeqCst);
    assert!(signals > 0);
    let sent: usize = (0..records).map(|number| 2 * len_of(number, CHUNK)).sum();
    common::say(&format!("result: {sent} bytes of shared chunks, {signals} signals"));
}

/// The shared memory has neither a name nor a descriptor. A lent chunk contains only zeros or bytes of
/// earlier records of the same pair.
pub(super) fn memory_is_the_pairs_own() {
    if !supported() {
        return;
    }
    // The chunks must not contain memory that this process has used and freed.
    let before = open_fds();
    drop(vec![0xa5_u8; 4 << 20]);
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).ring(8192).build().unwrap();
    let new: Vec<_> = open_fds().difference(&before).copied().collect();
    assert_eq!(new.len(), 4);
    for fd in new {
        let link = common::link_of(fd);
        assert!(link.starts_with("pipe:"), "{link}");
        // SAFETY: the descriptor stays open as long as the pair exists.
        let fd = unsafe { rawpipe::fd::BorrowedFd::borrow_raw(fd) };
        assert_eq!((is_close_on_exec(fd), rawpipe::io::is_nonblocking(fd)), (Ok(true), Ok(true)));
    }
    for lap in 1..=5_u8 {
        for _ in 0..7 {
            let chunk = writer.chunk().unwrap();
            assert!(chunk.iter().all(|byte| *byte < lap), "neither a zero nor of an earlier lap");
            chunk[..100].fill(lap);
            writer.send(100).unwrap();
            assert_eq!(*reader.recv().unwrap().unwrap(), [lap; 100]);
        }
    }
}

/// Both processes of the example compute the same sum and print their rates.
pub(super) fn example_sums_on_both_sides() {
    if !supported() {
        return;
    }
    for (arguments, sum) in [(&["3"][..], 77_309_214_720_u64), (&["1", "10"], 8_589_869_056)] {
        let mut command = common::program(&common::example("shared_chunks"));
        let output = common::finish(command.args(arguments));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], format!("Both have the sum {sum}"));
        assert!(lines[1].starts_with("filled ") && lines[2].starts_with("summed "), "{text}");
    }
    let mut command = common::program(&common::example("shared_chunks"));
    assert_eq!(common::finish(command.arg("none")).status.code(), Some(1));
}
