//! Tests of `Epoll` and `EventFd`.
#![cfg(all(feature = "std", feature = "event"))]

use crate::common;
use rawpipe::Deadline;
use rawpipe::Errno;
use rawpipe::event::{Epoll, Event, EventFd, EventFdFlags, PollEvents};
use rawpipe::fd::{AsFd, OwnedFd};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Returns the token and the readiness of each pending event.
fn found(epoll: &Epoll) -> Vec<(u64, PollEvents)> {
    let mut buf = [Event::default(); 16];
    let events = epoll.wait(&mut buf, NOW).unwrap();
    events.iter().map(|event| (event.token(), event.events())).collect()
}

fn full_pipe() -> (rawpipe::PipeReader, rawpipe::PipeWriter) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&vec![0; writer.capacity().unwrap()]).unwrap();
    (reader, writer)
}

#[test]
fn epoll_add_modify_delete() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN, u64::MAX).unwrap();
    epoll.add(&writer, PollEvents::OUT, 0).unwrap();
    assert_eq!(found(&epoll), [(0, PollEvents::OUT)]);
    writer.write(b"x").unwrap();
    let both: BTreeSet<u64> = found(&epoll).iter().map(|(token, _)| *token).collect();
    assert_eq!(both, BTreeSet::from([0, u64::MAX]), "the tokens come back whole");
    epoll.modify(&writer, PollEvents::empty(), 1).unwrap();
    assert_eq!(found(&epoll), [(u64::MAX, PollEvents::IN)]);
    epoll.modify(&reader, PollEvents::IN, 0x0123_4567_89ab_cdef).unwrap();
    assert_eq!(found(&epoll), [(0x0123_4567_89ab_cdef, PollEvents::IN)]);
    epoll.delete(&reader).unwrap();
    assert_eq!(found(&epoll), []);
}

#[test]
fn epoll_is_close_on_exec_and_owned() {
    let epoll = Epoll::new().unwrap();
    assert!(rawpipe::io::is_close_on_exec(&epoll).unwrap());
    let fd = OwnedFd::from(epoll);
    assert!(rawpipe::io::is_close_on_exec(&fd).unwrap());
    assert!(rawpipe::io::is_close_on_exec(EventFd::new(0).unwrap()).unwrap());
}

#[test]
fn epoll_ctl_errors() {
    let epoll = Epoll::new().unwrap();
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let read = PollEvents::IN;
    assert_eq!(epoll.modify(&reader, read, 0), Err(Errno::ENOENT));
    assert_eq!(epoll.delete(&reader), Err(Errno::ENOENT));
    epoll.add(&reader, read, 0).unwrap();
    assert_eq!(epoll.add(&reader, read, 0), Err(Errno::EEXIST));
    assert_eq!(epoll.add(common::closed_fd(), read, 0), Err(Errno::EBADF));
    assert_eq!(epoll.modify(common::closed_fd(), read, 0), Err(Errno::EBADF));
    assert_eq!(epoll.delete(common::closed_fd()), Err(Errno::EBADF));
    assert_eq!(epoll.add(common::file(b""), read, 0), Err(Errno::EPERM));
    assert_eq!(epoll.add(File::open("/").unwrap(), read, 0), Err(Errno::EPERM));
    assert_eq!(epoll.add(&epoll, read, 0), Err(Errno::EINVAL));
    assert_eq!(epoll.wait(&mut [], NOW).unwrap_err(), Errno::EINVAL);
}

#[test]
fn epoll_watching_each_other_eloop() {
    let (first, second) = (Epoll::new().unwrap(), Epoll::new().unwrap());
    first.add(&second, PollEvents::IN, 0).unwrap();
    assert_eq!(second.add(&first, PollEvents::IN, 0), Err(Errno::ELOOP));
}

#[test]
fn epoll_hang_up_with_data_inside() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN, 0).unwrap();
    writer.write(b"x").unwrap();
    drop(writer);
    assert_eq!(found(&epoll), [(0, PollEvents::IN | PollEvents::HUP)]);
    assert_eq!(reader.read(&mut [0; 4]), Ok(1));
    assert_eq!(found(&epoll), [(0, PollEvents::HUP)]);
    assert_eq!(reader.read(&mut [0; 4]), Ok(0));
}

#[test]
fn epoll_wakes_when_the_other_end_goes() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (full_reader, full) = full_pipe();
    epoll.add(&reader, PollEvents::IN, 1).unwrap();
    epoll.add(&full, PollEvents::OUT, 2).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| epoll.wait(&mut [Event::default(); 1], None).unwrap()[0]);
        thread::sleep(Duration::from_millis(10));
        drop(writer);
        let event = waiting.join().unwrap();
        assert!(event.token() == 1 && event.events().is_read_closed());
        assert!(event.events().is_readable() && !event.events().is_write_closed());
        epoll.delete(&reader).unwrap();

        let waiting = scope.spawn(|| epoll.wait(&mut [Event::default(); 1], None).unwrap()[0]);
        thread::sleep(Duration::from_millis(10));
        drop(full_reader);
        let event = waiting.join().unwrap();
        assert!(event.token() == 2 && event.events().is_write_closed());
        assert!(event.events().is_writable() && !event.events().is_read_closed());
    });
}

#[test]
fn epoll_edge_triggered_reports_what_is_new() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN | PollEvents::ET, 0).unwrap();
    assert_eq!(found(&epoll), []);
    writer.write(&[0; 100]).unwrap();
    assert_eq!(found(&epoll), [(0, PollEvents::IN)]);
    assert_eq!(reader.read(&mut [0; 50]), Ok(50));
    assert_eq!(found(&epoll), [], "half of it is still there");
    writer.write(&[0; 100]).unwrap();
    assert_eq!(found(&epoll), [(0, PollEvents::IN)]);

    let (reader, full) = full_pipe();
    epoll.add(&full, PollEvents::OUT | PollEvents::ET, 1).unwrap();
    assert_eq!(found(&epoll), []);
    reader.read_exact(&mut vec![0; full.capacity().unwrap()]).unwrap();
    assert_eq!(found(&epoll), [(1, PollEvents::OUT)]);
    assert_eq!(found(&epoll), []);
}

#[test]
fn epoll_oneshot_reports_once_until_armed_again() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN | PollEvents::ONESHOT, 3).unwrap();
    writer.write(b"x").unwrap();
    assert_eq!(found(&epoll), [(3, PollEvents::IN)]);
    writer.write(b"x").unwrap();
    assert_eq!(found(&epoll), []);
    epoll.modify(&reader, PollEvents::IN | PollEvents::ONESHOT, 3).unwrap();
    assert_eq!(found(&epoll), [(3, PollEvents::IN)]);
}

#[test]
fn epoll_exclusive_wakes_a_waiter() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let epolls = [Epoll::new().unwrap(), Epoll::new().unwrap()];
    let exclusive = PollEvents::IN | PollEvents::EXCLUSIVE;
    for epoll in &epolls {
        match epoll.add(&reader, exclusive | PollEvents::ET, 0) {
            Err(Errno::EINVAL) => {
                return common::skip("epoll_exclusive_wakes_a_waiter", "EINVAL");
            }
            answer => answer.unwrap(),
        }
    }
    assert_eq!(epolls[0].modify(&reader, exclusive, 0), Err(Errno::EINVAL));
    let deadline = Deadline::after(Duration::from_secs(100));
    let (sender, woken) = mpsc::channel();
    thread::scope(|scope| {
        for epoll in &epolls {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut buf = [Event::default(); 1];
                sender.send(epoll.wait_deadline(&mut buf, deadline).unwrap().len()).unwrap();
            });
        }
        thread::sleep(Duration::from_millis(50));
        writer.write(b"x").unwrap();
        assert_eq!(woken.recv(), Ok(1));
        // Closing the write end wakes the second thread, unless that thread started late and received the
        // event for the byte.
        drop(writer);
        assert_eq!(woken.recv(), Ok(1));
    });
}

#[test]
fn epoll_more_ready_than_room_all_come_in_time() {
    let epoll = Epoll::new().unwrap();
    let pipes: Vec<_> = (0..50).map(|_| rawpipe::pipe().unwrap()).collect();
    for (token, (reader, writer)) in (0..).zip(&pipes) {
        epoll.add(reader, PollEvents::IN, token).unwrap();
        if token % 2 == 0 {
            writer.write(b"x").unwrap();
        }
    }
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        let mut buf = [Event::default(); 7];
        let events = epoll.wait(&mut buf, NOW).unwrap();
        assert_eq!(events.len(), 7);
        seen.extend(events.iter().map(Event::token));
    }
    assert_eq!(seen, (0..50).filter(|token| token % 2 == 0).collect());
}

#[test]
fn epoll_rdhup_of_a_socket() {
    let epoll = Epoll::new().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    epoll.add(&theirs, PollEvents::RDHUP | PollEvents::OUT, 0).unwrap();
    ours.write_all(b"x").unwrap();
    assert_eq!(found(&epoll), [(0, PollEvents::OUT)]);
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(found(&epoll), [(0, PollEvents::OUT | PollEvents::RDHUP)]);
}

#[test]
fn epoll_nested_and_with_duplicates() {
    let (outer, inner) = (Epoll::new().unwrap(), Epoll::new().unwrap());
    let (reader, writer) = rawpipe::pipe().unwrap();
    let copy = reader.try_clone().unwrap();
    outer.add(&inner, PollEvents::IN, 5).unwrap();
    inner.add(&reader, PollEvents::IN, 6).unwrap();
    inner.add(&copy, PollEvents::IN, 7).unwrap();
    assert_eq!(found(&outer), []);
    writer.write(b"x").unwrap();
    assert_eq!(found(&outer), [(5, PollEvents::IN)]);
    // Closing one of two duplicates does not end the registration, because the open file still exists.
    drop(reader);
    assert_eq!(found(&inner).len(), 2);
    drop(copy);
    assert_eq!(found(&inner), []);
}

#[test]
fn epoll_timeout_is_not_shorter_than_asked() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN, 0).unwrap();
    let mut buf = [Event::default(); 4];
    for timeout in [1, 300_000, 1_000_000, 30_000_000].map(Duration::from_nanos) {
        let begin = Instant::now();
        assert!(epoll.wait(&mut buf, Some(timeout)).unwrap().is_empty());
        assert!(begin.elapsed() >= timeout);
        let deadline = Deadline::after(timeout);
        assert!(epoll.wait_deadline(&mut buf, deadline).unwrap().is_empty());
        assert!(deadline.has_passed());
    }
    writer.write(b"x").unwrap();
    for timeout in [Duration::from_secs(1000), Duration::from_secs(1 << 40), Duration::MAX] {
        assert_eq!(epoll.wait(&mut buf, Some(timeout)).unwrap().len(), 1);
    }
}

#[test]
fn eventfd_counts() {
    let event = EventFd::new(5).unwrap();
    assert_eq!(event.write(7), Ok(()));
    assert_eq!(event.read(), Ok(12));
    assert_eq!(event.write(u64::MAX), Err(Errno::EINVAL));
    assert_eq!(event.write(u64::MAX - 1), Ok(()));
    assert_eq!(event.read(), Ok(u64::MAX - 1));
}

#[test]
fn eventfd_flags() {
    let nonblocking = EventFdFlags::NONBLOCK | EventFdFlags::CLOEXEC;
    let event = EventFd::with_flags(0, nonblocking).unwrap();
    assert_eq!(event.read(), Err(Errno::EAGAIN));
    event.write(u64::MAX - 1).unwrap();
    assert_eq!(event.write(1), Err(Errno::EAGAIN));
    let semaphore = EventFd::with_flags(2, nonblocking | EventFdFlags::SEMAPHORE).unwrap();
    assert_eq!((semaphore.read(), semaphore.read()), (Ok(1), Ok(1)));
    assert_eq!(semaphore.read(), Err(Errno::EAGAIN));
    let unknown = EventFdFlags::from_bits_retain(1 << 27);
    if common::emulated() {
        return common::skip("eventfd_flags", "the emulator drops unknown flags");
    }
    assert_eq!(EventFd::with_flags(0, unknown).unwrap_err(), Errno::EINVAL);
}

#[test]
fn eventfd_wakes_a_waiter() {
    let event = EventFd::new(0).unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.add(event.as_fd(), PollEvents::IN, 9).unwrap();
    assert_eq!(found(&epoll), []);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| event.read().unwrap());
        thread::sleep(Duration::from_millis(5));
        event.write(3).unwrap();
        assert_eq!(waiting.join().unwrap(), 3);
    });
    event.write(1).unwrap();
    assert_eq!(found(&epoll), [(9, PollEvents::IN)]);
}
