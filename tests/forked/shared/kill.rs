//! Kills one side at a random moment, while it sleeps, or while it holds lent memory. A reader then receives
//! only whole records and the end of the stream. A writer fails with `EPIPE`.

use super::{
    SIZES, asked_for, fill, len_of, receive_all, send, send_all, succeeds, supported, times,
};
use crate::common;
use crate::common::bytes::Random;
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::process::{Child, Signal};
use rawpipe::{Deadline, Errno, Wait};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time within which the peer must detect a kill.
const SOON: Duration = Duration::from_secs(5);

fn kills() -> usize {
    asked_for("RAWPIPE_TEST_KILLS").unwrap_or_else(|| times(30))
}

/// Waits for a random time of less than 2 ms.
fn moment(random: &mut Random) {
    let start = Instant::now();
    let time = Duration::from_nanos(random.below(2_000_000) as u64);
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn builder(random: &mut Random) -> (usize, SharedBuilder) {
    let (chunk, ring) = SIZES[random.below(SIZES.len())];
    let wait = if random.below(2) == 0 { Wait::Block } else { Wait::Adaptive };
    (chunk, SharedBuilder::new().chunk(chunk).ring(ring).wait(wait))
}

/// Starts a thread that kills and reaps a child after a random time. The thread then returns the current
/// time.
fn kill_at_a_moment(random: &mut Random, mut child: Child) -> JoinHandle<Instant> {
    let mut random = Random(random.below(1 << 30) as u64 + 1);
    thread::spawn(move || {
        moment(&mut random);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
        Instant::now()
    })
}

fn noticed_soon(killer: JoinHandle<Instant>) {
    let late = killer.join().unwrap().elapsed();
    assert!(late < SOON || common::slow(), "noticed after {late:?}");
}

/// All records that a killed writer has sent arrive whole and in order, followed by the end of the stream.
pub(super) fn writer_killed_leaves_whole_records_and_an_end() {
    if !supported() {
        return;
    }
    let mut random = Random::new();
    let mut total = 0;
    for _ in 0..kills() {
        let (chunk, builder) = builder(&mut random);
        // SAFETY: this process has no other thread, and the child uses only its own half.
        let (sending, mut reader) = unsafe {
            builder.fork_writer(|writer| u8::from(send_all(writer, chunk, usize::MAX).is_err()))
        }
        .unwrap();
        let killer = kill_at_a_moment(&mut random, sending);
        total += receive_all(&mut reader, chunk).unwrap();
        noticed_soon(killer);
        assert!(reader.recv().unwrap().is_none(), "the end stays");
    }
    common::say(&format!("result: {total} records of {} killed writers", kills()));
}

/// The writer fails with `EPIPE` within `SOON` after its reader is killed.
pub(super) fn reader_killed_epipe() {
    if !supported() {
        return;
    }
    let mut random = Random::new();
    for _ in 0..kills() {
        let (chunk, builder) = builder(&mut random);
        // SAFETY: this process has no other thread, and the child uses only its own half.
        let (receiving, writer) = unsafe {
            builder.fork_reader(|mut reader| u8::from(receive_all(&mut reader, chunk).is_err()))
        }
        .unwrap();
        let killer = kill_at_a_moment(&mut random, receiving);
        assert_eq!(send_all(writer, chunk, usize::MAX), Err(Errno::EPIPE));
        noticed_soon(killer);
    }
    common::say(&format!("result: {} killed readers", kills()));
}

/// Waits until a child sleeps.
fn asleep(child: &Child) {
    let path = format!("/proc/{}/stat", child.id());
    let end = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string(&path).unwrap().contains(") S ") {
        assert!(Instant::now() < end, "the child does not sleep");
        thread::sleep(Duration::from_millis(1));
    }
}

/// If a writer is killed while it waits for space, the records that it has sent still arrive. If a reader is
/// killed while it waits for a record, the writer then sends at most as many records as the ring holds.
pub(super) fn killed_asleep_each_side() {
    if !supported() {
        return;
    }
    let builder = SharedBuilder::new().chunk(100).ring(1024);
    // SAFETY: this process has no other thread, and the child uses only its own half.
    let (mut sending, mut reader) = unsafe {
        builder.fork_writer(|writer| u8::from(send_all(writer, 100, usize::MAX).is_err()))
    }
    .unwrap();
    asleep(&sending);
    sending.kill().unwrap();
    sending.wait().unwrap();
    let records = receive_all(&mut reader, 100).unwrap();
    assert!((4..=16).contains(&records), "{records} records in 1024 bytes");

    // SAFETY: this process has no other thread, and the child uses only its own half.
    let (mut receiving, mut writer) = unsafe {
        builder.fork_reader(|mut reader| u8::from(receive_all(&mut reader, 100).is_err()))
    }
    .unwrap();
    asleep(&receiving);
    receiving.kill().unwrap();
    receiving.wait().unwrap();
    let sent = (0..).take_while(|number| send(&mut writer, 100, *number).is_ok()).count();
    assert_eq!(sent, 0, "the first would wake the reader");
    let until = Deadline::after(Duration::from_secs(60));
    let filled = (0..).take_while(|_| {
        let lent = writer.chunk_deadline(until).map(|chunk| fill(chunk, 0));
        lent.and_then(|()| writer.send(100)) != Err(Errno::EPIPE)
    });
    assert!(filled.count() <= 9, "more than the ring holds");
}

/// If a process is killed while it holds a lent record or chunk, the memory of that record or chunk is not
/// reused. The peer can still fill the remaining part of the ring, or receive all records that were sent.
pub(super) fn killed_with_something_lent() {
    if !supported() {
        return;
    }
    let builder = SharedBuilder::new().chunk(100).ring(1024);
    let (gate, open) = rawpipe::pipe().unwrap();
    // SAFETY: this process has no other thread, and the child uses only its own half.
    let (mut receiving, mut writer) = unsafe {
        builder.fork_reader(|mut reader| {
            let record = reader.recv();
            open.write(b"!").unwrap();
            thread::sleep(Duration::from_secs(600));
            u8::from(record.is_err())
        })
    }
    .unwrap();
    send(&mut writer, 100, 0).unwrap();
    gate.read_exact(&mut [0]).unwrap();
    receiving.kill().unwrap();
    receiving.wait().unwrap();
    let more = (1..).take_while(|number| send(&mut writer, 100, *number).is_ok()).count();
    // The ring holds nine records, and the lent record is one of them.
    assert_eq!(more, 8);

    // SAFETY: this process has no other thread, and the child uses only its own half.
    let (mut sending, mut reader) = unsafe {
        builder.fork_writer(|mut writer| {
            (0..3).for_each(|number| send(&mut writer, len_of(number, 100), number).unwrap());
            fill(writer.chunk().unwrap(), 3);
            open.write(b"!").unwrap();
            thread::sleep(Duration::from_secs(600));
            0
        })
    }
    .unwrap();
    gate.read_exact(&mut [0]).unwrap();
    sending.kill().unwrap();
    sending.wait().unwrap();
    assert_eq!(receive_all(&mut reader, 100), Ok(3));
    succeeds(common::child(|| u8::from(reader.recv().err() != Some(Errno::EBUSY))));
}
