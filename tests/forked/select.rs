//! Tests `select` with low and high descriptor numbers. Each test runs in its own process, because the tests
//! need control over all descriptor numbers of their process.
#![allow(unsafe_code, reason = "descriptors by number")]

use crate::common::nr;
use crate::common::{self, Storm, child, skip};
use rawpipe::Deadline;
use rawpipe::event::{FdSet, select, select_deadline};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rawpipe::process::Resource;
use rawpipe::{Errno, PipeReader, raw};
use std::time::{Duration, Instant};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn set<'fd>(fds: &[BorrowedFd<'fd>]) -> FdSet<'fd> {
    let mut set = FdSet::new();
    fds.iter().for_each(|fd| set.insert_borrowed_fd(*fd));
    set
}

/// Closes descriptors that this process may have inherited. For instance, bash can pass on descriptor 63.
fn close_inherited(numbers: &[usize]) {
    for number in numbers {
        // SAFETY: the test calls this function first, and no value in this process owns the number.
        unsafe { raw::syscall1(nr::CLOSE, *number) };
    }
}

/// Duplicates a descriptor to a number of at least `minimum`, and raises the soft limit on descriptors if
/// necessary. Returns `None` if the hard limit does not permit this number.
fn dup_at(fd: impl AsFd, minimum: usize) -> Option<OwnedFd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    let [soft, hard] = common::limits(Resource::NOFILE.as_raw());
    common::set_soft_limit(Resource::NOFILE.as_raw(), soft.max(hard.min(minimum as u64 + 100)));
    let from = usize::try_from(fd.as_fd().as_raw_fd()).unwrap();
    // SAFETY: the call has only integer arguments.
    let fd = unsafe { raw::syscall3(nr::FCNTL, from, F_DUPFD_CLOEXEC, minimum) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the call above has just created this descriptor.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn select_pipes_in_each_situation() {
    let (empty, _empty_writer) = rawpipe::pipe().unwrap();
    let (filled, filled_writer) = rawpipe::pipe().unwrap();
    filled_writer.write(b"x").unwrap();
    let (ended, writer) = rawpipe::pipe().unwrap();
    drop(writer);
    let (_full_reader, full) = rawpipe::pipe().unwrap();
    full.write_all(&vec![0; full.capacity().unwrap()]).unwrap();
    let (reader, broken) = rawpipe::pipe().unwrap();
    drop(reader);

    let mut read = set(&[empty.as_fd(), filled.as_fd(), ended.as_fd()]);
    let mut write = set(&[filled_writer.as_fd(), full.as_fd(), broken.as_fd()]);
    let mut except = set(&[empty.as_fd(), filled.as_fd(), ended.as_fd()]);
    assert_eq!(select(Some(&mut read), Some(&mut write), Some(&mut except), NOW), Ok(4));
    assert_eq!(read.iter().count(), 2);
    assert!(read.contains(&filled) && read.contains(&ended) && !read.contains(&empty));
    assert!(write.contains(&filled_writer) && write.contains(&broken) && !write.contains(&full));
    assert!(except.is_empty());
}

fn select_nothing_ready_clears_the_set() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut read = set(&[reader.as_fd()]);
    assert_eq!(select(Some(&mut read), None, None, NOW), Ok(0));
    assert!(read.is_empty() && !read.contains(&reader));
    assert_eq!(select(Some(&mut read), None, None, NOW), Ok(0), "an empty set");
    assert_eq!(select(None, None, None, NOW), Ok(0), "no set");
}

fn select_waits_and_wakes() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (gate, _open) = rawpipe::pipe().unwrap();
    let copy = &reader;
    let mut other = child(move || {
        common::close_copy(copy);
        let _ =
            select(Some(&mut set(&[gate.as_fd()])), None, None, Some(Duration::from_millis(20)));
        u8::from(writer.write(b"x") != Ok(1))
    });
    for timeout in [None, Some(Duration::MAX), Some(Duration::from_secs(1 << 33))] {
        let mut read = set(&[reader.as_fd()]);
        assert_eq!(select(Some(&mut read), None, None, timeout), Ok(1), "{timeout:?}");
        assert!(read.contains(&reader));
    }
    assert!(other.wait().unwrap().success());
}

fn select_timeout_is_not_shorter_than_asked() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    for timeout in [1, 1_000_000, 30_000_000].map(Duration::from_nanos) {
        let begin = Instant::now();
        assert_eq!(select(Some(&mut set(&[reader.as_fd()])), None, None, Some(timeout)), Ok(0));
        assert!(begin.elapsed() >= timeout);
    }
    let begin = Instant::now();
    assert_eq!(select(None, None, None, Some(Duration::from_millis(5))), Ok(0));
    assert!(begin.elapsed() >= Duration::from_millis(5));
}

fn select_interrupted_eintr_keeps_the_set() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let _storm = Storm::begin(Duration::from_millis(1));
    let mut read = set(&[reader.as_fd()]);
    assert_eq!(select(Some(&mut read), None, None, None), Err(Errno::EINTR));
    assert!(read.contains(&reader));
    let begin = Instant::now();
    let timeout = Duration::from_millis(20);
    assert_eq!(select_deadline(Some(&mut read), None, None, Deadline::after(timeout)), Ok(0));
    assert!(begin.elapsed() >= timeout);
    assert!(read.is_empty());
}

fn select_descriptors_beyond_1024() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (idle, _idle_writer) = rawpipe::pipe().unwrap();
    if common::emulated() {
        return skip("select_descriptors_beyond_1024", "the emulator's sets end there");
    }
    let Some(high) = dup_at(&reader, 5000) else {
        return skip("select_descriptors_beyond_1024", "so many descriptors are not allowed");
    };
    let low = set(&[idle.as_fd(), high.as_fd()]);
    assert_eq!(select(Some(&mut low.clone()), None, None, NOW), Ok(0));
    writer.write(b"x").unwrap();
    // The two sets have different lengths.
    let mut read = low;
    let mut write = set(&[writer.as_fd()]);
    assert_eq!(select(Some(&mut read), Some(&mut write), None, NOW), Ok(2));
    assert!(read.contains(&high) && !read.contains(&idle) && write.contains(&writer));
    let found: Vec<_> = read.iter().map(|fd| fd.as_raw_fd()).collect();
    assert_eq!(found, [high.as_raw_fd()]);
    let mut byte = [0];
    assert_eq!(rawpipe::read(read.iter().next().unwrap(), &mut byte), Ok(1));
}

/// `select` fails with `EBADF` for any closed descriptor number. The kernel itself checks only numbers within
/// the process's table.
fn select_closed_descriptor_ebadf() {
    if common::emulated() {
        return skip("select_closed_descriptor_ebadf", "the emulator's sets end at 1024");
    }
    let numbers = [40, 63, 64, 65, 300, 100_000];
    close_inherited(&numbers.map(|number| usize::try_from(number).unwrap()));
    let (reader, _writer) = rawpipe::pipe().unwrap();
    for number in numbers {
        // SAFETY: only the calls below use this number, and the calls must fail because the number is closed.
        let closed = unsafe { BorrowedFd::borrow_raw(number) };
        for role in 0..3 {
            let mut sets: [FdSet<'_>; 3] = Default::default();
            sets[0].insert(&reader);
            sets[role].insert_borrowed_fd(closed);
            let [read, write, except] = &mut sets;
            let answer = select(Some(read), Some(write), Some(except), NOW);
            assert_eq!(answer, Err(Errno::EBADF), "{number}");
        }
    }
}

fn select_set_at_the_borders_of_words() {
    let numbers = [30, 31, 32, 33, 62, 63, 64, 65, 127, 128, 300];
    close_inherited(&numbers);
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let fds: Vec<OwnedFd> =
        numbers.iter().map(|number| dup_at(&reader, *number).expect("a few hundred")).collect();
    let mut set = FdSet::new();
    for (index, fd) in fds.iter().enumerate() {
        assert!(!set.contains(fd));
        set.insert(fd);
        set.insert(fd);
        assert!(set.contains(fd));
        assert_eq!(set.len(), index + 1);
    }
    let found: Vec<usize> = set.iter().map(|fd| usize::try_from(fd.as_raw_fd()).unwrap()).collect();
    assert_eq!(found, numbers);
    assert_eq!(format!("{set:?}"), format!("{numbers:?}").replace('[', "{").replace(']', "}"));
    for fd in &fds {
        set.remove(fd);
        set.remove(fd);
        assert!(!set.contains(fd));
    }
    assert!(set.is_empty() && set.iter().next().is_none());
    set.insert(&fds[3]);
    set.clear();
    assert!(set.is_empty());
}

/// `select` reports every line of a child until end of file. The timeouts grow from call to call, but the
/// last calls have no timeout.
fn select_sees_every_line_of_a_child() {
    let (reader, writer): (PipeReader, _) = rawpipe::pipe().unwrap();
    let (never, _held) = rawpipe::pipe().unwrap();
    let mut talking = child(move || {
        for number in 0..10 {
            let pause = Some(Duration::from_millis(number));
            let _ = select(Some(&mut set(&[never.as_fd()])), None, None, pause);
            writer.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        0
    });
    let mut text = Vec::new();
    let mut timeouts = [0, 1, 2, 4, 8].map(Duration::from_millis).into_iter();
    loop {
        let mut read = set(&[reader.as_fd()]);
        if select(Some(&mut read), None, None, timeouts.next()).unwrap() == 0 {
            continue;
        }
        let mut buf = [0; 16];
        match reader.read(&mut buf).unwrap() {
            0 => break,
            count => text.extend_from_slice(&buf[..count]),
        }
    }
    assert_eq!(text, (0..10).map(|n| format!("line {n}\n")).collect::<String>().as_bytes());
    assert!(talking.wait().unwrap().success());
}

pub(crate) const TESTS: common::Tests = common::tests![
    select_pipes_in_each_situation,
    select_nothing_ready_clears_the_set,
    select_waits_and_wakes,
    select_timeout_is_not_shorter_than_asked,
    select_interrupted_eintr_keeps_the_set,
    select_descriptors_beyond_1024,
    select_closed_descriptor_ebadf,
    select_set_at_the_borders_of_words,
    select_sees_every_line_of_a_child,
];
