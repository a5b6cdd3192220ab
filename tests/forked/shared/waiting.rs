//! Tests waits in several situations: with a deadline, with a silent or stopped peer, in a dialogue, and
//! while neither side sleeps.

use super::{fill, is_filled, receive_all, send, send_all, succeeds, supported, times};
use crate::common::{self, Filter, NO_FILTER, child, filtered, nr, skip};
use rawpipe::chunk::shared::{SharedBuilder, SharedWriter};
use rawpipe::process::Signal;
use rawpipe::{Deadline, Errno, Wait};
use std::mem;
use std::time::{Duration, Instant};

pub(super) fn deadline_passes_with_a_silent_peer() {
    if !supported() {
        return;
    }
    for wait in [Wait::Block, Wait::Adaptive] {
        let (mut reader, mut writer) =
            SharedBuilder::new().chunk(100).ring(1).wait(wait).build().unwrap();
        let time = Duration::from_millis(20);
        let start = Instant::now();
        let late = reader.recv_deadline(Deadline::after(time)).unwrap_err();
        assert_eq!(late, Errno::ETIMEDOUT);
        while writer.try_chunk().is_ok() {
            writer.send(100).unwrap();
        }
        let late = writer.chunk_deadline(Deadline::after(time)).unwrap_err();
        assert_eq!(late, Errno::ETIMEDOUT);
        assert!(start.elapsed() >= 2 * time);
        assert!(reader.recv_deadline(Deadline::after(Duration::ZERO)).unwrap().is_some());
    }
}

/// While neither side sleeps, the halves make none of the system calls in `calls`. A filter kills the child
/// if the child makes one of these calls.
pub(super) fn awake_sides_make_no_system_call() {
    if !supported() {
        return;
    }
    let test = "awake_sides_make_no_system_call";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    let calls =
        [nr::READ, nr::WRITE, nr::WRITEV, nr::PWRITEV2, nr::PPOLL, nr::CLOCK_GETTIME, nr::MADVISE];
    filtered(test, &"any call", || {
        let (mut reader, mut writer) =
            SharedBuilder::new().chunk(4096).ring(1 << 16).build().unwrap();
        if !Filter::new(&calls, Errno::EPERM).that_kills().install() {
            return NO_FILTER;
        }
        for _ in 0..1_000 {
            writer.chunk().unwrap()[0] = 1;
            writer.send(4096).unwrap();
            drop(reader.recv().unwrap());
        }
        mem::forget((reader, writer));
        0
    });
}

/// If the peer is stopped, a wait lasts until its deadline. No record is lost when the peer continues.
pub(super) fn deadline_passes_with_a_stopped_peer() {
    if !supported() {
        return;
    }
    let builder = SharedBuilder::new().chunk(100).ring(4096);
    let records = 20_000;
    let late = || Deadline::after(Duration::from_millis(100));
    for _ in 0..times(5) {
        // SAFETY: this process has no other thread, and the child uses only its own half.
        let (sending, mut reader) = unsafe {
            builder.fork_writer(|writer| u8::from(send_all(writer, 100, records).is_err()))
        }
        .unwrap();
        assert!(reader.recv().unwrap().is_some());
        sending.send_signal(Signal::STOP).unwrap();
        let mut received = 1;
        let stopped = loop {
            match reader.recv_deadline(late()) {
                Ok(record) => assert!(record.is_some()),
                Err(errno) => break errno,
            }
            received += 1;
        };
        assert_eq!(stopped, Errno::ETIMEDOUT);
        sending.send_signal(Signal::CONT).unwrap();
        received += std::iter::from_fn(|| reader.recv().unwrap().map(drop)).count();
        assert_eq!(received, records);
        succeeds(sending);

        // SAFETY: this process has no other thread, and the child uses only its own half.
        let (receiving, mut writer) = unsafe {
            builder.fork_reader(|mut reader| u8::from(receive_all(&mut reader, 100) != Ok(records)))
        }
        .unwrap();
        let mut sent = 0;
        let mut send = |writer: &mut SharedWriter, until| {
            let len = super::len_of(sent, 100);
            fill(&mut writer.chunk_deadline(until)?[..len], sent);
            sent += 1;
            writer.send(len)
        };
        send(&mut writer, Deadline::NEVER).unwrap();
        receiving.send_signal(Signal::STOP).unwrap();
        let stopped = (1..records).find_map(|_| send(&mut writer, late()).err());
        assert_eq!(stopped, Some(Errno::ETIMEDOUT));
        receiving.send_signal(Signal::CONT).unwrap();
        while sent < records {
            let len = super::len_of(sent, 100);
            super::send(&mut writer, len, sent).unwrap();
            sent += 1;
        }
        drop(writer);
        succeeds(receiving);
    }
}

/// The parent sends requests through one pair and the child replies through another pair, so the processes
/// wait for each other alternately.
pub(super) fn dialogue_over_two_pairs() {
    if !supported() {
        return;
    }
    for wait in [Wait::Block, Wait::Adaptive] {
        let builder = SharedBuilder::new().chunk(300).ring(1).wait(wait);
        let (their_reader, writer) = builder.build().unwrap();
        let (reader, their_writer) = builder.build().unwrap();
        let mut theirs = Some((their_reader, their_writer));
        let mut ours = Some((reader, writer));
        let answering = child(|| {
            drop(ours.take());
            let (mut reader, mut writer) = theirs.take().unwrap();
            while let Some(record) = reader.recv().unwrap() {
                let answer = writer.chunk().unwrap();
                answer.iter_mut().zip(&*record).for_each(|(to, from)| *to = !from);
                writer.send(record.len()).unwrap();
            }
            0
        });
        drop(theirs);
        let (mut reader, mut writer) = ours.take().unwrap();
        for number in 0..times(5_000) {
            let len = super::len_of(number, 300);
            send(&mut writer, len, number).unwrap();
            let answer = reader.recv().unwrap().unwrap();
            let back: Vec<u8> = answer.iter().map(|byte| !byte).collect();
            assert!(answer.len() == len && is_filled(&back, number), "{number}");
        }
        drop(writer);
        assert!(reader.recv().unwrap().is_none());
        succeeds(answering);
    }
}
