//! Tests `poll`, `select` and `epoll`. The tests cover children at the other end of a pipe, various kinds of
//! descriptors, chains, cycles, and wake-ups. Each test runs in its own process.
#![allow(unsafe_code, reason = "a call by its number, to see who sleeps in it")]

use crate::common::nr;
use crate::common::{self, child, close_copy, skip};
use rawpipe::event::{Epoll, Event, EventFd, FdSet, PollEvents, PollFd, poll, select};
use rawpipe::fd::{AsFd, AsRawFd, OwnedFd};
use rawpipe::process::{Child, OnDrop};
use rawpipe::{Errno, PipeReader};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

const NOW: Option<Duration> = Some(Duration::ZERO);
/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(120);
/// The flag for a descriptor that serves only as a reference to a path.
const O_PATH: i32 = 0x20_0000;

fn found(epoll: &Epoll) -> Vec<(u64, PollEvents)> {
    let mut buf = [Event::default(); 16];
    let events = epoll.wait(&mut buf, NOW).unwrap();
    events.iter().map(|event| (event.token(), event.events())).collect()
}

// ---- poll ----

fn poll_both_ends_in_one_call() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let mut fds = [PollFd::new(&reader, PollEvents::IN), PollFd::new(&writer, PollEvents::OUT)];
    assert_eq!(poll(&mut fds, NOW), Ok(2));
    assert_eq!(fds.each_ref().map(PollFd::revents), [PollEvents::IN, PollEvents::OUT]);
    // The list may contain the same descriptor twice with different events.
    let mut fds = [PollFd::new(&reader, PollEvents::IN), PollFd::new(&reader, PollEvents::PRI)];
    assert_eq!(poll(&mut fds, NOW), Ok(1));
    assert_eq!(fds.each_ref().map(PollFd::revents), [PollEvents::IN, PollEvents::empty()]);
}

/// `poll` reports `HUP` without `IN` only after every byte has been read.
fn poll_output_of_a_child_until_the_hang_up() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut talking = child(move || {
        for number in 0..10_u8 {
            let _ = poll(&mut [], Some(Duration::from_millis(number.into())));
            writer.write_all(&[number; 100]).unwrap();
        }
        0
    });
    let mut all = Vec::new();
    loop {
        let mut fds = [PollFd::new(&reader, PollEvents::IN)];
        assert_eq!(poll(&mut fds, Some(LONG)), Ok(1));
        let revents = fds[0].revents();
        if !revents.contains(PollEvents::IN) {
            assert_eq!(revents, PollEvents::HUP);
            break;
        }
        let mut buf = [0; 64];
        let count = reader.read(&mut buf).unwrap();
        assert!(count > 0, "data was promised");
        all.extend_from_slice(&buf[..count]);
    }
    assert_eq!(all, (0..10).flat_map(|number| [number; 100]).collect::<Vec<u8>>());
    assert!(talking.wait().unwrap().success());
}

/// The test writes a message to each of twelve pipes in random order. After each write, `poll` reports only
/// the written pipe as readable.
fn poll_twelve_pipes_each_in_its_time() {
    const MESSAGE: &[u8] = b" This is a test.";
    let mut pipes: BTreeMap<usize, _> =
        (0..12).map(|index| (index, Some(rawpipe::pipe().unwrap()))).collect();
    let mut random = 12345_usize;
    let mut choose = |count: usize| {
        random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (random >> 16) % count
    };
    while pipes.values().any(Option::is_some) {
        let open: Vec<_> =
            pipes.iter().filter_map(|(index, pipe)| Some((*index, pipe.as_ref()?))).collect();
        let mut fds: Vec<_> =
            open.iter().map(|(_, (_, writer))| PollFd::new(writer, PollEvents::OUT)).collect();
        assert_eq!(poll(&mut fds, NOW), Ok(open.len()), "all are empty");
        let (index, (_, writer)) = open[choose(open.len())];
        writer.write_all(MESSAGE).unwrap();
        let mut fds: Vec<_> =
            open.iter().map(|(_, (reader, _))| PollFd::new(reader, PollEvents::IN)).collect();
        assert_eq!(poll(&mut fds, NOW), Ok(1));
        let ready = fds.iter().position(|fd| fd.revents() == PollEvents::IN).unwrap();
        assert_eq!(open[ready].0, index);
        let mut buf = [0; 64];
        assert_eq!(open[ready].1.0.read(&mut buf), Ok(MESSAGE.len()));
        assert_eq!(&buf[..MESSAGE.len()], MESSAGE);
        pipes.insert(index, None);
    }
}

// ---- select ----

/// Regular files never block, so `select` reports them as ready regardless of the timeout.
fn select_regular_file_is_always_ready() {
    let file = common::file(b"");
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let begin = Instant::now();
    let (mut read, mut write) = (FdSet::new(), FdSet::new());
    read.insert(&file);
    read.insert(&reader);
    write.insert(&file);
    assert_eq!(select(Some(&mut read), Some(&mut write), None, Some(LONG)), Ok(2));
    assert!(begin.elapsed() < LONG);
    assert!(read.contains(&file) && write.contains(&file) && !read.contains(&reader));
}

fn select_and_poll_agree_about_every_kind() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (full_reader, full) = rawpipe::pipe().unwrap();
    full.write_all(&vec![0; full.capacity().unwrap()]).unwrap();
    let (ended, gone) = rawpipe::pipe().unwrap();
    drop(gone);
    let (left, right) = UnixStream::pair().unwrap();
    let event = EventFd::new(1).unwrap();
    let epoll = Epoll::new().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    rawpipe::write(&left, b"x").unwrap();
    let kinds = [
        ("reader", reader.as_fd()),
        ("writer", writer.as_fd()),
        ("reader of a full pipe", full_reader.as_fd()),
        ("writer of a full pipe", full.as_fd()),
        ("ended", ended.as_fd()),
        ("socket", left.as_fd()),
        ("socket with data", right.as_fd()),
        ("eventfd", event.as_fd()),
        ("epoll", epoll.as_fd()),
        ("device", null.as_fd()),
    ];
    for (what, fd) in kinds {
        let (mut read, mut write) = (FdSet::new(), FdSet::new());
        read.insert_borrowed_fd(fd);
        write.insert_borrowed_fd(fd);
        let selected = select(Some(&mut read), Some(&mut write), None, NOW).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollEvents::IN | PollEvents::OUT)];
        poll(&mut fds, NOW).unwrap();
        let revents = fds[0].revents();
        let (can_read, can_write) = (read.contains(fd), write.contains(fd));
        assert_eq!(selected, usize::from(can_read) + usize::from(can_write), "{what}");
        assert_eq!(can_read, revents.is_readable(), "{what}: {revents:?}");
        assert_eq!(can_write, revents.is_writable(), "{what}: {revents:?}");
    }
}

// ---- epoll ----

fn epoll_takes_what_can_be_waited_for() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (left, _right) = UnixStream::pair().unwrap();
    let (event, inner) = (EventFd::new(0).unwrap(), Epoll::new().unwrap());
    let path = common::tmp_path();
    let listener = UnixListener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let can_wait = [
        ("reader", reader.as_fd()),
        ("writer", writer.as_fd()),
        ("socket", left.as_fd()),
        ("listener", listener.as_fd()),
        ("eventfd", event.as_fd()),
        ("epoll", inner.as_fd()),
    ];
    for (what, fd) in can_wait {
        assert_eq!(epoll.add(fd, PollEvents::IN, 0), Ok(()), "{what}");
    }
    let by_path = File::options().read(true).custom_flags(O_PATH).open("/").unwrap();
    let cannot = [
        ("file", common::file(b""), Errno::EPERM),
        ("folder", File::open("/").unwrap(), Errno::EPERM),
        ("null device", File::open("/dev/null").unwrap(), Errno::EPERM),
        ("O_PATH", by_path, Errno::EBADF),
    ];
    for (what, fd, errno) in cannot {
        assert_eq!(epoll.add(&fd, PollEvents::IN, 0), Err(errno), "{what}");
    }
}

/// The kernel limits the length of a chain of epoll instances and rejects a cycle.
fn epoll_chains_and_rings() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let chain: Vec<Epoll> = (0..4).map(|_| Epoll::new().unwrap()).collect();
    for pair in chain.windows(2) {
        pair[0].add(&pair[1], PollEvents::IN, 1).unwrap();
    }
    chain[3].add(&reader, PollEvents::IN, 2).unwrap();
    assert_eq!(found(&chain[0]), []);
    writer.write_all(b"x").unwrap();
    assert_eq!(found(&chain[0]), [(1, PollEvents::IN)], "through all of them");
    for (from, to) in [(3, 0), (2, 0), (3, 1)] {
        let answer = chain[from].add(&chain[to], PollEvents::IN, 0);
        assert_eq!(answer, Err(Errno::ELOOP), "{from} to {to}");
    }
    // The chain grows at its outer end until the kernel rejects another level.
    let mut outer = chain;
    let refused = loop {
        let next = Epoll::new().unwrap();
        if let Err(errno) = next.add(&outer[0], PollEvents::IN, 1) {
            break errno;
        }
        outer.insert(0, next);
        assert!(outer.len() < 100, "an endless chain");
    };
    assert!(matches!(refused, Errno::ELOOP | Errno::EINVAL), "{refused}");
    assert!(outer.len() >= 4);
}

/// If a descriptor is closed and its number is reused, the epoll instance reports no events of the new
/// descriptor.
fn epoll_number_used_again_is_not_watched() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN, 1).unwrap();
    let number = reader.as_raw_fd();
    drop((reader, writer));
    let (again, writer) = rawpipe::pipe().unwrap();
    assert_eq!(again.as_raw_fd(), number, "the lowest free number");
    writer.write_all(b"x").unwrap();
    assert_eq!(found(&epoll), []);
    assert_eq!(epoll.modify(&again, PollEvents::IN, 2), Err(Errno::ENOENT));
    epoll.add(&again, PollEvents::IN, 3).unwrap();
    assert_eq!(found(&epoll), [(3, PollEvents::IN)]);
}

/// A level-triggered registration reports unread data again, but an edge-triggered registration does not.
fn epoll_level_is_told_again_and_an_edge_is_not() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (level, edge) = (Epoll::new().unwrap(), Epoll::new().unwrap());
    level.add(&reader, PollEvents::IN, 1).unwrap();
    edge.add(&reader, PollEvents::IN | PollEvents::ET, 2).unwrap();
    writer.write_all(b"xx").unwrap();
    for _ in 0..3 {
        assert_eq!(found(&level), [(1, PollEvents::IN)]);
    }
    assert_eq!(found(&edge), [(2, PollEvents::IN)]);
    assert_eq!(found(&edge), []);
    reader.read_exact(&mut [0]).unwrap();
    assert_eq!((found(&level).len(), found(&edge).len()), (1, 0), "half of it was read");
    writer.write_all(b"x").unwrap();
    assert_eq!(found(&edge), [(2, PollEvents::IN)], "there is more");
    // End of file also triggers an edge.
    drop(writer);
    assert_eq!(found(&edge), [(2, PollEvents::IN | PollEvents::HUP)]);
    assert_eq!(found(&edge), []);
}

/// A forked child shares the epoll instance of its parent, because `fork` copies only the descriptor.
fn epoll_is_shared_with_a_forked_child() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let shared = (&epoll, &reader);
    let mut other = child(move || u8::from(shared.0.add(shared.1, PollEvents::IN, 77) != Ok(())));
    assert_eq!(other.wait().unwrap().code(), Some(0));
    writer.write_all(b"x").unwrap();
    assert_eq!(found(&epoll), [(77, PollEvents::IN)], "what the child has added");
    assert_eq!(epoll.delete(&reader), Ok(()));
}

/// Starts children that wait for one pipe, each with its own epoll instance. Returns the children, and the
/// pipe to which they report that they have woken up.
fn waiters(count: u8, events: PollEvents, reader: &PipeReader) -> (Vec<Child>, PipeReader) {
    let (woken, tell) = rawpipe::pipe().unwrap();
    let children = (0..count).map(|number| {
        let (tell, woken) = (&tell, &woken);
        let mut waiting = child(move || {
            close_copy(woken);
            let epoll = Epoll::new().unwrap();
            epoll.add(reader, events, 0).unwrap();
            let mut buf = [Event::default(); 1];
            let answer = epoll.wait(&mut buf, Some(LONG));
            if answer.map(<[Event]>::len) == Ok(1) {
                tell.write_all(&[number]).unwrap();
            }
            let _ = poll(&mut [], None); // until a signal kills the child
            0
        });
        // The child must die even if the test fails. Otherwise the test harness would wait until the child
        // closes its output.
        waiting.on_drop(OnDrop::Kill).unwrap();
        waiting
    });
    (children.collect(), woken)
}

/// Waits until all children sleep in `epoll_wait`. Returns `None` if the wait times out, or if the kernel
/// does not report the children's system calls.
fn asleep(children: &[Child]) -> Option<()> {
    let calls = [nr::EPOLL_PWAIT, nr::EPOLL_PWAIT2].map(|number| number.to_string());
    let end = Instant::now() + LONG;
    for child in children {
        loop {
            let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).ok()?;
            let number = call.split(' ').next().unwrap_or_default();
            if calls.iter().any(|wait| wait == number) {
                break;
            }
            if Instant::now() > end || number == "-1" {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    Some(())
}

/// Returns the numbers of the children that report a wake-up. After `expected` reports, waits at most 200 ms
/// for each further report.
fn count_woken(woken: &PipeReader, expected: usize) -> BTreeSet<u8> {
    let mut told = BTreeSet::new();
    loop {
        let wait = if told.len() < expected { LONG } else { Duration::from_millis(200) };
        let mut fds = [PollFd::new(woken, PollEvents::IN)];
        if poll(&mut fds, Some(wait)).unwrap() == 0 {
            return told;
        }
        let mut byte = [0];
        woken.read_exact(&mut byte).unwrap();
        told.insert(byte[0]);
    }
}

fn epoll_wakes_everybody_or_exclusively_one() {
    let test = "epoll_wakes_everybody_or_exclusively_one";
    if common::emulated() {
        return skip(test, "who sleeps where cannot be seen in an emulator");
    }
    for (events, expected) in [(PollEvents::IN, 5), (PollEvents::IN | PollEvents::EXCLUSIVE, 1)] {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let (mut children, woken) = waiters(5, events, &reader);
        let seen = asleep(&children);
        if seen.is_none() {
            skip(test, "/proc does not tell in which call a process is");
        } else {
            writer.write_all(b"x").unwrap();
            assert_eq!(count_woken(&woken, expected).len(), expected, "{events:?}");
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// One epoll instance covers the pipes of many children, and each pipe's event has its own token.
fn epoll_waits_for_many_children() {
    let epoll = Epoll::new().unwrap();
    let mut children = Vec::new();
    let mut readers = BTreeMap::new();
    for number in 0..10_u8 {
        let (reader, writer) = rawpipe::pipe().unwrap();
        epoll.add(&reader, PollEvents::IN, number.into()).unwrap();
        readers.insert(u64::from(number), reader);
        children.push(child(move || {
            let _ = poll(&mut [], Some(Duration::from_millis(u64::from(number % 3))));
            writer.write_all(&[number; 3]).unwrap();
            number
        }));
    }
    let mut received: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    while !readers.is_empty() {
        let mut buf = [Event::default(); 3];
        let events: Vec<_> = epoll.wait(&mut buf, Some(LONG)).unwrap().to_vec();
        assert!(!events.is_empty());
        for event in events {
            let mut buf = [0; 8];
            match readers[&event.token()].read(&mut buf).unwrap() {
                0 => {
                    epoll.delete(&readers[&event.token()]).unwrap();
                    readers.remove(&event.token());
                }
                count => received.entry(event.token()).or_default().extend(&buf[..count]),
            }
        }
    }
    let expected = (0..10_u8).map(|number| (u64::from(number), vec![number; 3])).collect();
    assert_eq!(received, expected);
    for (number, mut child) in (0..).zip(children) {
        assert_eq!(child.wait().unwrap().code(), Some(number));
    }
}

/// A duplicate of the epoll descriptor still works after the original is dropped.
fn epoll_of_a_duplicate_is_the_same() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN, 9).unwrap();
    let copy: OwnedFd = rawpipe::io::dup_cloexec(&epoll).unwrap();
    let mut fds = [PollFd::new(&copy, PollEvents::IN)];
    assert_eq!(poll(&mut fds, NOW), Ok(0));
    writer.write_all(b"x").unwrap();
    assert_eq!(poll(&mut fds, NOW), Ok(1), "an epoll can itself be waited for");
    drop(epoll);
    assert_eq!(poll(&mut [PollFd::new(&copy, PollEvents::IN)], NOW), Ok(1));
}

pub(crate) const TESTS: common::Tests = common::tests![
    poll_both_ends_in_one_call,
    poll_output_of_a_child_until_the_hang_up,
    poll_twelve_pipes_each_in_its_time,
    select_regular_file_is_always_ready,
    select_and_poll_agree_about_every_kind,
    epoll_takes_what_can_be_waited_for,
    epoll_chains_and_rings,
    epoll_number_used_again_is_not_watched,
    epoll_level_is_told_again_and_an_edge_is_not,
    epoll_is_shared_with_a_forked_child,
    epoll_wakes_everybody_or_exclusively_one,
    epoll_waits_for_many_children,
    epoll_of_a_duplicate_is_the_same,
];
