//! Tests of waiting until ends are ready.
#![cfg(feature = "std")]

use crate::common::{self, closed_fd};
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll, poll_deadline};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::{PipeReader, PipeWriter};
use std::thread;
use std::time::{Duration, Instant};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn events(end: &impl rawpipe::fd::AsFd, wanted: PollEvents) -> PollEvents {
    let mut fds = [PollFd::new(end, wanted)];
    let count = poll(&mut fds, NOW).unwrap();
    assert_eq!(count, usize::from(!fds[0].revents().is_empty()));
    fds[0].revents()
}

fn read_events(reader: &PipeReader) -> PollEvents {
    events(reader, PollEvents::IN)
}

fn write_events(writer: &PipeWriter) -> PollEvents {
    events(writer, PollEvents::OUT)
}

#[test]
fn poll_read_end_in_each_situation() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(read_events(&reader), PollEvents::empty());
    writer.write_all(b"x").unwrap();
    assert_eq!(read_events(&reader), PollEvents::IN);
    drop(writer);
    assert_eq!(read_events(&reader), PollEvents::IN | PollEvents::HUP);
    assert_eq!(reader.read(&mut [0; 4]), Ok(1));
    assert_eq!(read_events(&reader), PollEvents::HUP);
    assert_eq!(events(&reader, PollEvents::empty()), PollEvents::HUP, "asked for or not");
}

#[test]
fn poll_write_end_in_each_situation() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(write_events(&writer), PollEvents::OUT);
    writer.write_all(&vec![0; writer.capacity().unwrap()]).unwrap();
    assert_eq!(write_events(&writer), PollEvents::empty());
    drop(reader);
    assert!(write_events(&writer).contains(PollEvents::ERR));
    assert_eq!(events(&writer, PollEvents::empty()), PollEvents::ERR, "asked for or not");
}

#[test]
fn poll_events_say_what_they_mean_for_a_pipe() {
    let words = |found: PollEvents| {
        [found.is_readable(), found.is_writable(), found.is_read_closed(), found.is_write_closed()]
    };
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(words(read_events(&reader)), [false; 4]);
    assert_eq!(words(write_events(&writer)), [false, true, false, false]);
    writer.write_all(b"x").unwrap();
    assert_eq!(words(read_events(&reader)), [true, false, false, false]);
    drop(writer);
    assert_eq!(words(read_events(&reader)), [true, false, true, false]);
    reader.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(words(read_events(&reader)), [true, false, true, false], "the end of file");

    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&vec![0; writer.capacity().unwrap()]).unwrap();
    assert_eq!(words(write_events(&writer)), [false; 4]);
    drop(reader);
    assert_eq!(words(write_events(&writer))[1..], [true, false, true], "the error");
    assert!(events(&closed_fd(), PollEvents::IN).is_invalid());
}

#[test]
fn poll_deadline_already_past_still_looks() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let past = Deadline::now();
    let mut fds = [PollFd::new(&reader, PollEvents::IN)];
    assert_eq!(poll_deadline(&mut fds, past), Ok(0));
    writer.write_all(b"x").unwrap();
    assert_eq!(poll_deadline(&mut fds, past), Ok(1));
    assert_eq!(poll_deadline(&mut fds, Deadline::NEVER), Ok(1));
    assert!(!Deadline::NEVER.has_passed());
}

#[test]
fn poll_write_end_is_ready_when_a_slot_is_free() {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    writer.write_all(&[0; 100]).unwrap();
    assert_eq!(write_events(&writer), PollEvents::empty(), "its one slot is taken");
    writer.set_nonblocking(true).unwrap();
    assert_eq!(writer.write(&[0; 100]), Ok(100), "though the page has room");
    assert_eq!(reader.read(&mut [0; 200]), Ok(200));
    assert_eq!(write_events(&writer), PollEvents::OUT);
}

#[test]
fn poll_closed_descriptor_nval() {
    let closed = closed_fd();
    let mut fds = [PollFd::from_borrowed_fd(closed, PollEvents::IN)];
    assert_eq!(poll(&mut fds, None), Ok(1));
    assert_eq!(fds[0].revents(), PollEvents::NVAL);
}

#[test]
fn poll_timeout_is_not_shorter_than_asked() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut fds = [PollFd::new(&reader, PollEvents::IN)];
    for timeout in [1, 1_000_000, 30_000_000].map(Duration::from_nanos) {
        let begin = Instant::now();
        assert_eq!(poll(&mut fds, Some(timeout)), Ok(0));
        assert!(begin.elapsed() >= timeout);
    }
    assert_eq!(fds[0].revents(), PollEvents::empty());
    let begin = Instant::now();
    assert_eq!(poll(&mut [], Some(Duration::from_millis(5))), Ok(0));
    assert!(begin.elapsed() >= Duration::from_millis(5));
}

#[test]
fn poll_timeout_of_any_size_is_not_wrapped() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    for timeout in [
        None,
        Some(Duration::MAX),
        Some(Duration::from_secs(1 << 32)),
        Some(Duration::from_millis(1 << 33)),
    ] {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(10));
                writer.write_all(b"x").unwrap();
            });
            let mut fds = [PollFd::new(&reader, PollEvents::IN)];
            assert_eq!(poll(&mut fds, timeout), Ok(1), "{timeout:?}");
            assert_eq!(reader.read(&mut [0; 1]), Ok(1));
        });
    }
}

#[test]
fn poll_wakes_when_the_writer_goes() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut fds = [PollFd::new(&reader, PollEvents::IN)];
            assert_eq!(poll(&mut fds, None), Ok(1));
            fds[0].revents()
        });
        thread::sleep(Duration::from_millis(10));
        drop(writer);
        assert_eq!(waiting.join().unwrap(), PollEvents::HUP);
    });
}

#[test]
fn poll_many_finds_the_ready_ones() {
    let pipes: Vec<_> = (0..64).map(|_| rawpipe::pipe().unwrap()).collect();
    for (index, (_, writer)) in pipes.iter().enumerate() {
        if index % 3 == 0 {
            writer.write_all(b"x").unwrap();
        }
    }
    let mut fds: Vec<_> =
        pipes.iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect();
    assert_eq!(poll(&mut fds, NOW), Ok(22));
    for (index, fd) in fds.iter().enumerate() {
        assert_eq!(fd.revents() == PollEvents::IN, index % 3 == 0);
    }
}

#[test]
fn poll_entry_can_be_changed() {
    let (first, _writer) = rawpipe::pipe().unwrap();
    let (second, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let mut fds = [PollFd::new(&first, PollEvents::IN)];
    assert_eq!(poll(&mut fds, NOW), Ok(0));
    fds[0].set_fd(&second);
    assert_eq!(poll(&mut fds, NOW), Ok(1));
    assert_eq!(fds[0].events(), PollEvents::IN);
    fds[0].set_events(PollEvents::empty());
    assert_eq!(poll(&mut fds, NOW), Ok(0));
    assert_eq!(fds[0].revents(), PollEvents::empty());
}

#[test]
fn poll_more_entries_than_descriptors_einval() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    // With a larger limit, the list of entries would need too much memory. The usual soft limit is below the
    // bound in the condition below.
    let limit = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limit.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    if soft > 2_000_000 {
        return common::skip("poll_more_entries_than_descriptors_einval", "a limit too large");
    }
    let mut fds = vec![PollFd::new(&reader, PollEvents::IN); soft + 1];
    assert_eq!(poll(&mut fds, NOW), Err(rawpipe::Errno::EINVAL));
}
