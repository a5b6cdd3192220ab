//! Tests pipes and channels between processes. Some tests check which processes wake up or die, and that no
//! byte is lost. Other tests check descriptor numbers and flags. Each test runs in its own process.
#![allow(unsafe_code, reason = "limits, signals and descriptors by number")]

use crate::common::nr;
use crate::common::{self, child, close_copy, skip};
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd};
use rawpipe::message::{Channel, Duplex, Receiver, Sender};
use rawpipe::pipe::{Builder, Capacity, PIPE_BUF};
use rawpipe::process::{Child, OnDrop, Resource, Signal};
use rawpipe::{Errno, PipeFlags, PipeWriter, io, pipe2, raw};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{iter, thread};

/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(120);
/// The flag for a descriptor that serves only as a reference to a path.
const O_PATH: i32 = 0x20_0000;
const SIG_DFL: usize = 0;

unsafe extern "C" {
    safe fn signal(signal: i32, handler: usize) -> usize;
}

/// Waits until the process with this id has slept for several milliseconds. Such a sleep suggests that the
/// process is blocked on its pipe.
fn wait_until_asleep(pid: u32) {
    let end = Instant::now() + LONG;
    let mut asleep = 0;
    while asleep < 3 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        asleep = if stat.contains(") S ") { asleep + 1 } else { 0 };
        assert!(Instant::now() < end, "{stat}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a child that is killed when its handle is dropped, even if the test fails.
fn waiting_child(body: impl FnOnce() -> u8) -> Child {
    let mut child = child(body);
    child.on_drop(OnDrop::Kill).unwrap();
    child
}

fn full_pipe() -> (rawpipe::PipeReader, PipeWriter) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&vec![0; writer.capacity().unwrap()]).unwrap();
    (reader, writer)
}

// ---- blocked ----

/// A signal kills a process that waits for space in a pipe. Other waiting processes continue after their
/// pipes are drained.
fn write_blocked_processes_are_killed_or_go_on() {
    let (reader, writer) = full_pipe();
    let capacity = writer.capacity().unwrap();
    let blocked = |writer: &PipeWriter| {
        let child = waiting_child(|| u8::from(writer.write(b"more") != Ok(4)));
        wait_until_asleep(child.id());
        child
    };
    // A shell may start this process with `SIGINT` ignored. The children of this process would then also
    // ignore the signal.
    signal(Signal::INT.as_raw(), SIG_DFL);
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let mut writing: Vec<Child> = (0..3).map(|_| blocked(&writer)).collect();
        for child in &mut writing {
            assert_eq!(child.try_wait(), Ok(None));
            child.send_signal(signal).unwrap();
            let status = child
                .wait_deadline(Deadline::after(LONG))
                .unwrap()
                .expect("it waits for room still");
            assert_eq!(status.signal(), Some(signal));
        }
    }
    assert_eq!(reader.available(), Ok(capacity), "none of them has written");
    let mut goes_on = blocked(&writer);
    reader.read_exact(&mut vec![0; capacity]).unwrap();
    assert!(goes_on.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().success());
    assert_eq!(reader.available(), Ok(4));
}

fn read_blocked_processes_all_see_the_end() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (end, copy) = (&reader, &writer);
    let mut reading: Vec<Child> = iter::repeat_with(|| {
        waiting_child(move || {
            close_copy(copy);
            u8::from(end.read(&mut [0; 8]) != Ok(0))
        })
    })
    .take(8)
    .collect();
    reading.iter().for_each(|child| wait_until_asleep(child.id()));
    drop(writer);
    for child in &mut reading {
        assert!(
            child
                .wait_deadline(Deadline::after(LONG))
                .unwrap()
                .expect("it was not woken")
                .success()
        );
    }
}

/// Each blocked reader receives its own share of one write.
fn read_blocked_processes_each_get_their_share() {
    const SHARE: usize = PIPE_BUF / 8;
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (end, copy) = (&reader, &writer);
    let mut reading: Vec<Child> = iter::repeat_with(|| {
        waiting_child(move || {
            close_copy(copy);
            let mut share = [0; SHARE];
            u8::from(end.read(&mut share) != Ok(SHARE) || share != [7; SHARE])
        })
    })
    .take(8)
    .collect();
    reading.iter().for_each(|child| wait_until_asleep(child.id()));
    writer.write_all(&[7; PIPE_BUF]).unwrap();
    for child in &mut reading {
        assert!(
            child
                .wait_deadline(Deadline::after(LONG))
                .unwrap()
                .expect("it was not woken")
                .success()
        );
    }
    assert_eq!(reader.available(), Ok(0));
}

// ---- several writers ----

/// Concurrent writes longer than `PIPE_BUF` may be interleaved, but no byte is lost.
fn writes_longer_than_pipe_buf_lose_nothing() {
    const LEN: usize = 3 * PIPE_BUF + 17;
    const COUNT: usize = 100;
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut writing: Vec<Child> = Vec::new();
    for name in 0..4_u8 {
        let writer = &writer;
        writing.push(waiting_child(move || {
            let data = vec![name; LEN];
            u8::from((0..COUNT).any(|_| writer.write_all(&data).is_err()))
        }));
    }
    drop(writer);
    let mut counts = [0_usize; 4];
    let mut buf = vec![0; 10_000];
    loop {
        match reader.read(&mut buf).unwrap() {
            0 => break,
            count => buf[..count].iter().for_each(|name| counts[usize::from(*name)] += 1),
        }
    }
    assert_eq!(counts, [COUNT * LEN; 4]);
    assert!(writing.iter_mut().all(|child| child.wait().unwrap().success()));
}

/// A write of `PIPE_BUF` bytes is not interleaved with other writes, even if several processes wait for space
/// in a small pipe.
fn writes_up_to_pipe_buf_of_processes_are_whole() {
    const COUNT: usize = 300;
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    let mut writing: Vec<Child> = Vec::new();
    for name in 0..4_u8 {
        let writer = &writer;
        writing.push(waiting_child(move || {
            let data = [name; PIPE_BUF];
            u8::from((0..COUNT).any(|_| writer.write(&data) != Ok(PIPE_BUF)))
        }));
    }
    drop(writer);
    let mut counts = [0; 4];
    let mut record = [0; PIPE_BUF];
    while reader.read_exact(&mut record).is_ok() {
        assert!(record.iter().all(|byte| *byte == record[0]), "mixed");
        counts[usize::from(record[0])] += 1;
    }
    assert_eq!(counts, [COUNT; 4]);
    assert!(writing.iter_mut().all(|child| child.wait().unwrap().success()));
}

// ---- SIGPIPE ----

/// If `SIGPIPE` has a handler, the handler runs and the write fails with `EPIPE`. If `SIGPIPE` is ignored,
/// the write fails with `EPIPE`, and no handler runs.
fn write_without_reader_sigpipe_handled_or_ignored() {
    extern "C" fn handler(_signal: i32) {
        common::HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    signal(Signal::PIPE.as_raw(), handler as extern "C" fn(i32) as usize);
    for count in 1..=3 {
        assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
        assert_eq!(common::HANDLED.load(Ordering::SeqCst), count);
    }
    signal(Signal::PIPE.as_raw(), 1);
    assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
    assert_eq!(common::HANDLED.load(Ordering::SeqCst), 3);
}

// ---- descriptor numbers ----

/// Pipes can be created until the limit on descriptors is reached. The call that fails then leaks no
/// descriptor.
fn pipe_takes_every_descriptor_that_is_allowed() {
    const LIMIT: u64 = 64;
    let test = "pipe_takes_every_descriptor_that_is_allowed";
    if common::emulated() {
        return skip(test, "the limit of descriptors is another's");
    }
    if common::descriptors_without_limit(test) {
        return;
    }
    common::set_limits(Resource::NOFILE.as_raw(), [LIMIT; 2]);
    let before = common::open_fds();
    let taken = before.iter().filter(|fd| u64::try_from(**fd).unwrap() < LIMIT).count();
    let free = usize::try_from(LIMIT).unwrap() - taken;
    let mut pipes = Vec::new();
    let errno = loop {
        match rawpipe::pipe() {
            Ok(pipe) => pipes.push(pipe),
            Err(errno) => break errno,
        }
    };
    assert_eq!((errno, pipes.len()), (Errno::EMFILE, free / 2));
    common::bytes::assert_no_two_are_one(&pipes);
    drop(pipes);
    assert_eq!(common::open_fds(), before);
}

fn dup_takes_the_lowest_free_number() {
    let files: Vec<File> = (0..4).map(|_| common::file(b"")).collect();
    let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let mut files: Vec<Option<File>> = files.into_iter().map(Some).collect();
    let (_reader, writer) = rawpipe::pipe().unwrap();
    files[2] = None;
    files[1] = None;
    let first = io::dup(&writer).unwrap();
    let second = io::dup_cloexec(&writer).unwrap();
    let third = io::dup(&writer).unwrap();
    assert_eq!((first.as_raw_fd(), second.as_raw_fd()), (numbers[1], numbers[2]));
    assert!(third.as_raw_fd() > writer.as_raw_fd());
    // A duplicate has a number above 2, even if a standard stream is closed.
    // SAFETY: the argument is an integer, and this test does not read its standard input.
    assert_eq!(unsafe { raw::syscall1(nr::CLOSE, 0) }, 0);
    assert!(io::dup_cloexec(&writer).unwrap().as_raw_fd() > 2);
    assert!(io::dup(&writer).unwrap().as_raw_fd() > 2);
}

/// `set_close_on_exec` works even on an `O_PATH` descriptor, which supports few other calls.
fn set_close_on_exec_of_a_path_only_descriptor() {
    let path = File::options().read(true).custom_flags(O_PATH).open("/").unwrap();
    for on in [false, true] {
        assert_eq!(io::set_close_on_exec(&path, on), Ok(()));
        assert_eq!(io::is_close_on_exec(&path), Ok(on));
    }
    assert_eq!(io::set_nonblocking(&path, true), Err(Errno::EBADF));
    assert_eq!(io::dup(&path).map(drop), Ok(()));
    assert_eq!(rawpipe::read(&path, &mut [0]), Err(Errno::EBADF));
}

/// `O_NOTIFICATION_PIPE` creates a pipe for key notifications if the kernel is configured for it.
fn pipe2_notification_pipe() {
    const O_NOTIFICATION_PIPE: u32 = 0o200; // O_EXCL
    let test = "pipe2_notification_pipe";
    if common::emulated() || cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        return skip(test, "the flag is another one, or not looked at");
    }
    let before = common::open_fds();
    match pipe2(PipeFlags::CLOEXEC | PipeFlags::from_bits_retain(O_NOTIFICATION_PIPE)) {
        // The kernel supports the flag, and the pipe has no message yet.
        Ok((reader, _writer)) => assert_eq!(reader.available(), Ok(0)),
        // The kernel was built without the option, or is older than Linux 5.8.
        Err(errno) => assert!(matches!(errno, Errno::ENOPKG | Errno::EINVAL), "{errno}"),
    }
    assert_eq!(common::open_fds(), before);
}

/// `O_NONBLOCK` on one end applies in every process that shares this end, but does not apply to the other
/// end.
fn set_nonblocking_is_seen_by_a_child_that_has_the_end() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (gate, opener) = rawpipe::pipe().unwrap();
    let (r, w, copy) = (&reader, &writer, &opener);
    let mut other = child(move || {
        close_copy(copy);
        let _ = gate.read(&mut [0]);
        // The child's descriptor refers to the same open file.
        let right = r.is_nonblocking() == Ok(true) && w.is_nonblocking() == Ok(false);
        let answer = r.read(&mut [0]);
        r.set_nonblocking(false).unwrap();
        u8::from(!(right && answer == Err(Errno::EAGAIN)))
    });
    reader.set_nonblocking(true).unwrap();
    drop(opener);
    assert_eq!(other.wait().unwrap().code(), Some(0));
    assert_eq!(reader.is_nonblocking(), Ok(false), "what the child has set");
}

// ---- messages ----

fn channel_16_mib_there_and_back() {
    const LEN: usize = 16 << 20;
    // SAFETY: this process has one thread, and the child only reads and writes.
    let (mut echo, link) = unsafe {
        Duplex::fork(|link| {
            let mut channel = Channel::from(link);
            while let Some(message) = channel.recv().unwrap() {
                channel.send(&[&message]).unwrap();
            }
            0
        })
    }
    .unwrap();
    let mut channel = Channel::from(link);
    let message: Vec<u8> = (0..LEN).map(|n| (n * 31 + n / 253).to_le_bytes()[0]).collect();
    channel.send(&[&message[..LEN / 3], &message[LEN / 3..]]).unwrap();
    assert!(channel.recv().unwrap().unwrap() == message);
    channel.send(&[]).unwrap();
    assert_eq!(channel.recv().unwrap().unwrap(), b"");
    drop(channel);
    assert!(echo.wait().unwrap().success());
}

/// One process polls for a message, and another process receives the whole message.
fn channel_looked_at_by_one_process_and_received_by_another() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut sender = Sender::new(writer);
    let ready = |fd: BorrowedFd<'_>| {
        poll(&mut [PollFd::from_borrowed_fd(fd, PollEvents::IN)], Some(LONG)) == Ok(1)
    };
    for text in ["", "first", "second"] {
        sender.send(&[text.as_bytes()]).unwrap();
        let shared = reader.as_fd();
        let mut looking = child(move || u8::from(!(ready(shared) && ready(shared))));
        assert_eq!(looking.wait().unwrap().code(), Some(0));
        let mut receiving = child(|| {
            let message = Receiver::new(&reader).recv().unwrap();
            u8::from(message.as_deref() != Some(text.as_bytes()))
        });
        assert_eq!(receiving.wait().unwrap().code(), Some(0), "{text:?}");
        assert_eq!(reader.available(), Ok(0));
    }
}

/// If threads share a sender through a lock, their messages stay whole, and the messages of each thread stay
/// in order.
fn channel_senders_behind_a_lock() {
    const COUNT: u32 = 200;
    let (reader, writer) = rawpipe::pipe().unwrap();
    let sender = Mutex::new(Sender::new(writer));
    let mut receiver = Receiver::new(reader);
    let mut next = [0_u32; 4];
    thread::scope(|scope| {
        let sender = &sender;
        for name in 0..4_u8 {
            scope.spawn(move || {
                for number in 0..COUNT {
                    let filling = vec![name; usize::try_from(number).unwrap() * 50];
                    let parts = [&[name][..], &number.to_le_bytes(), &filling];
                    sender.lock().unwrap().send(&parts).unwrap();
                }
            });
        }
        for _ in 0..4 * COUNT {
            let message = receiver.recv().unwrap().unwrap();
            let (name, rest) = message.split_first().unwrap();
            let (number, filling) = rest.split_first_chunk().unwrap();
            let number = u32::from_le_bytes(*number);
            assert_eq!(next[usize::from(*name)], number, "each one's in order");
            next[usize::from(*name)] += 1;
            assert_eq!(filling.len(), usize::try_from(number).unwrap() * 50);
            assert!(filling.iter().all(|byte| byte == name));
        }
    });
    assert_eq!(next, [COUNT; 4]);
}

/// If the peer closes its link before it sends a message, `recv` returns `None` and `send` fails.
fn channel_closed_right_after_the_fork() {
    // SAFETY: the child only drops the link.
    let (mut silent, link) = unsafe { Duplex::fork(|link| (drop(link), 0).1) }.unwrap();
    let mut channel = Channel::from(link);
    assert_eq!(channel.recv(), Ok(None));
    assert!(silent.wait().unwrap().success());
    assert!(channel.send(&[b"anybody?"]).is_err());
}

pub(crate) const TESTS: common::Tests = common::tests![
    write_blocked_processes_are_killed_or_go_on,
    read_blocked_processes_all_see_the_end,
    read_blocked_processes_each_get_their_share,
    writes_longer_than_pipe_buf_lose_nothing,
    writes_up_to_pipe_buf_of_processes_are_whole,
    write_without_reader_sigpipe_handled_or_ignored,
    pipe_takes_every_descriptor_that_is_allowed,
    dup_takes_the_lowest_free_number,
    set_close_on_exec_of_a_path_only_descriptor,
    pipe2_notification_pipe,
    set_nonblocking_is_seen_by_a_child_that_has_the_end,
    channel_16_mib_there_and_back,
    channel_looked_at_by_one_process_and_received_by_another,
    channel_senders_behind_a_lock,
    channel_closed_right_after_the_fork,
];
