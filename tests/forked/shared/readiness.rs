//! Tests the readiness of each half's descriptor with `poll`, `select` and `Epoll`.

use super::{fill, is_filled, send, succeeds, supported, times};
use crate::common::child;
use rawpipe::Errno;
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::event::{Epoll, Event, FdSet, PollEvents, PollFd, poll, select};
use rawpipe::fd::AsFd;
use rawpipe::pipe::available;
use std::thread;
use std::time::Duration;

const NOW: Option<Duration> = Some(Duration::ZERO);
/// The time after which a wake-up counts as lost.
const LOST: Option<Duration> = Some(Duration::from_secs(60));

fn ready(half: &impl AsFd) -> PollEvents {
    let mut fds = [PollFd::new(half, PollEvents::IN)];
    poll(&mut fds, NOW).unwrap();
    fds[0].revents()
}

/// After a call on a half fails with `EAGAIN`, the half's descriptor becomes readable when the call can
/// succeed, but not earlier.
pub(super) fn readiness_after_eagain_on_both_sides() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).ring(1).build().unwrap();
    for number in 0..1_000 {
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
        assert_eq!(ready(&reader), PollEvents::empty());
        send(&mut writer, 1000, number).unwrap();
        assert_eq!(ready(&reader), PollEvents::IN);
        let mut more = 0;
        while writer.try_chunk().is_ok() {
            more += 1;
            send(&mut writer, 1000, number + more).unwrap();
        }
        assert_eq!(ready(&writer), PollEvents::empty());
        for step in 0..=more {
            assert!(is_filled(&reader.try_recv().unwrap().unwrap(), number + step));
        }
        assert_eq!(ready(&writer), PollEvents::IN);
        assert!(writer.try_chunk().is_ok());
        // After the successful `try_recv` and `try_chunk`, neither pipe holds a wake-up byte.
        for half in [ready(&reader), ready(&writer)] {
            assert_eq!(half, PollEvents::empty());
        }
    }
    drop(writer);
    assert!(ready(&reader).contains(PollEvents::HUP));
    assert!(reader.try_recv().unwrap().is_none());
}

fn full(reader_chunk: usize) -> (SharedReader, SharedWriter) {
    let builder = SharedBuilder::new().chunk(reader_chunk).ring(1);
    let (reader, mut writer) = builder.build().unwrap();
    while writer.try_chunk().is_ok() {
        writer.send(reader_chunk).unwrap();
    }
    (reader, writer)
}

fn epoll(half: &impl AsFd, events: PollEvents) -> Epoll {
    let epoll = Epoll::new().unwrap();
    epoll.add(half, events, 7).unwrap();
    epoll
}

fn found(epoll: &Epoll) -> Option<PollEvents> {
    let mut events = [Event::default(); 4];
    let events = epoll.wait(&mut events, NOW).unwrap();
    assert!(events.len() <= 1);
    events.first().map(|event| event.events())
}

fn selected(half: &impl AsFd) -> bool {
    let mut set = FdSet::new();
    set.insert(half);
    select(Some(&mut set), None, None, NOW).unwrap() == 1
}

/// For each half, `select` and `Epoll` (level-triggered and edge-triggered) report the same readiness.
pub(super) fn readiness_is_the_same_by_select_and_epoll() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = shared().unwrap();
    let level = epoll(&reader, PollEvents::IN);
    let edge = epoll(&reader, PollEvents::IN | PollEvents::ET);
    for number in 0..times(1_000) {
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
        assert_eq!((selected(&reader), found(&level), found(&edge)), (false, None, None));
        send(&mut writer, 10, number).unwrap();
        send(&mut writer, 10, number).unwrap();
        let ready = Some(PollEvents::IN);
        assert_eq!((selected(&reader), found(&level), found(&edge)), (true, ready, ready));
        assert_eq!((selected(&reader), found(&level), found(&edge)), (true, ready, None));
        for _ in 0..2 {
            assert!(is_filled(&reader.try_recv().unwrap().unwrap(), number));
        }
    }
    let (mut reader, mut writer) = full(1000);
    let level = epoll(&writer, PollEvents::IN);
    let edge = epoll(&writer, PollEvents::IN | PollEvents::ET);
    for number in 0..times(1_000) {
        assert_eq!(writer.try_chunk().unwrap_err(), Errno::EAGAIN);
        assert_eq!((selected(&writer), found(&level), found(&edge)), (false, None, None));
        drop(reader.recv().unwrap().unwrap());
        let ready = Some(PollEvents::IN);
        assert_eq!((selected(&writer), found(&level), found(&edge)), (true, ready, ready));
        assert_eq!((selected(&writer), found(&level), found(&edge)), (true, ready, None));
        fill(writer.try_chunk().unwrap(), number);
        writer.send(1000).unwrap();
    }
}

/// Each half's descriptor reports `HUP` after the other half is dropped or the other half's process is
/// killed. The result does not depend on whether the pair was used before.
pub(super) fn readiness_hup_on_each_side() {
    if !supported() {
        return;
    }
    for used in [false, true] {
        let (mut reader, mut writer) = shared().unwrap();
        if used {
            send(&mut writer, 10, 0).unwrap();
            assert!(reader.recv().unwrap().is_some());
        }
        let edge = epoll(&reader, PollEvents::IN | PollEvents::ET);
        drop(writer);
        assert!(ready(&reader).contains(PollEvents::HUP) && selected(&reader));
        assert!(found(&edge).is_some_and(|events| events.contains(PollEvents::HUP)));
        assert!(reader.try_recv().unwrap().is_none());

        let (mut reader, mut writer) = full(100);
        if used {
            assert!(reader.recv().unwrap().is_some());
            assert!(writer.try_chunk().is_ok());
        }
        let edge = epoll(&writer, PollEvents::IN | PollEvents::ET);
        drop(reader);
        assert!(ready(&writer).contains(PollEvents::HUP) && selected(&writer));
        assert!(found(&edge).is_some_and(|events| events.contains(PollEvents::HUP)));
        let refused = writer.try_chunk().map(drop).and_then(|()| writer.send(1));
        assert_eq!(refused, Err(Errno::EPIPE));
    }
    // SAFETY: this process has no other thread, and the child only sleeps.
    let (mut sleeping, reader) = unsafe {
        SharedBuilder::new().fork_writer(|writer| {
            thread::sleep(Duration::from_secs(600));
            drop(writer);
            0
        })
    }
    .unwrap();
    sleeping.kill().unwrap();
    let mut fds = [PollFd::new(&reader, PollEvents::IN)];
    assert_eq!(poll(&mut fds, LOST), Ok(1));
    assert!(fds[0].revents().contains(PollEvents::HUP));
    sleeping.wait().unwrap();
}

/// The reader and the writer retry nonblocking calls concurrently. Regardless of the order in which they arm
/// and withdraw wake-ups, each pipe holds at most one byte.
pub(super) fn readiness_arms_and_withdrawals_leave_one_byte_at_most() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(8).ring(1).build().unwrap();
    let records = times(20_000);
    let sending = thread::spawn(move || {
        let mut tries = 0_usize;
        for number in 0..records {
            while let Err(errno) = writer.try_chunk() {
                assert_eq!(errno, Errno::EAGAIN);
                tries += 1;
            }
            assert!(available(&writer).unwrap() <= 1, "bytes are left over");
            send(&mut writer, 8, number).unwrap();
        }
        tries
    });
    let mut tries = 0_usize;
    for number in 0..records {
        loop {
            match reader.try_recv() {
                Ok(record) => break assert!(is_filled(&record.unwrap(), number)),
                Err(errno) => assert_eq!(errno, Errno::EAGAIN),
            }
            tries += 1;
        }
        assert!(available(&reader).unwrap() <= 1, "bytes are left over");
    }
    let other = sending.join().unwrap();
    crate::common::say(&format!("result: {tries} and {other} arms, {records} records"));
    assert!(tries + other >= 1_000 || crate::common::slow());
}

/// Runs an event loop that sends records to a child, receives the replies, and waits only with `wait`. If a
/// wake-up were lost, `wait` would time out and the test would fail.
fn echoed(mut wait: impl FnMut(&SharedReader, &SharedWriter) -> usize) {
    let builder = SharedBuilder::new().chunk(500).ring(1);
    let (their_reader, writer) = builder.build().unwrap();
    let (reader, their_writer) = builder.build().unwrap();
    let mut theirs = Some((their_reader, their_writer));
    let mut ours = Some((reader, writer));
    let echoing = child(|| {
        drop(ours.take());
        let (mut reader, mut writer) = theirs.take().unwrap();
        while let Some(record) = reader.recv().unwrap() {
            writer.chunk().unwrap()[..record.len()].copy_from_slice(&record);
            writer.send(record.len()).unwrap();
        }
        0
    });
    drop(theirs);
    let (mut reader, mut writer) = ours.take().unwrap();
    let records = times(3_000);
    let (mut sent, mut received) = (0, 0);
    while received < records {
        while sent < records && writer.try_chunk().map(|chunk| fill(chunk, sent)).is_ok() {
            writer.send(500).unwrap();
            sent += 1;
        }
        while received < records {
            let tried = reader.try_recv().map(|record| is_filled(&record.unwrap(), received));
            if tried == Err(Errno::EAGAIN) {
                assert_ne!(wait(&reader, &writer), 0, "a wake-up is lost: {received}, {sent}");
                break;
            }
            assert_eq!(tried, Ok(true));
            received += 1;
        }
    }
    drop(writer);
    assert!(reader.recv().unwrap().is_none());
    succeeds(echoing);
}

pub(super) fn readiness_drives_a_loop_of_events() {
    if !supported() {
        return;
    }
    echoed(|reader, writer| {
        let mut fds = [PollFd::new(reader, PollEvents::IN), PollFd::new(writer, PollEvents::IN)];
        poll(&mut fds, LOST).unwrap()
    });
    echoed(|reader, writer| {
        let mut set = FdSet::new();
        set.insert(reader);
        set.insert(writer);
        select(Some(&mut set), None, None, LOST).unwrap()
    });
    for events in [PollEvents::IN, PollEvents::IN | PollEvents::ET] {
        let epoll = Epoll::new().unwrap();
        let mut known = false;
        echoed(|reader, writer| {
            if !known {
                epoll.add(reader, events, 0).unwrap();
                epoll.add(writer, events, 1).unwrap();
                known = true;
            }
            let mut found = [Event::default(); 2];
            epoll.wait(&mut found, LOST).unwrap().len()
        });
    }
}
