//! Tests two-way links between processes. Each test runs in its own process.

#![allow(unsafe_code, reason = "fork, and a signal's action by the C library")]

use crate::common::{self, Storm, child};
use rawpipe::Deadline;
use rawpipe::Errno;
use rawpipe::Wait;
use rawpipe::message::{Channel, Duplex, MessageError};
use rawpipe::pipe::{Builder, Capacity};
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

fn duplex_child_answers() {
    // SAFETY: this process has one thread, and the child only reads and writes.
    let (mut child, link) = unsafe {
        Duplex::fork(|link| {
            let mut number = [0; 4];
            while link.read_exact(&mut number).is_ok() {
                let next = u32::from_ne_bytes(number) + 1;
                link.write_all(&next.to_ne_bytes()).unwrap();
            }
            7 // the parent's side is closed
        })
    }
    .unwrap();
    for number in 0..100_u32 {
        link.write_all(&number.to_ne_bytes()).unwrap();
        let mut next = [0; 4];
        link.read_exact(&mut next).unwrap();
        assert_eq!(u32::from_ne_bytes(next), number + 1);
    }
    drop(link);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

/// If one process dies, its peer reads the remaining bytes and then reaches end of file. The peer's writes
/// fail with `EPIPE` and send no signal.
fn duplex_one_side_dies() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    assert_ne!(signal(13, 0), usize::MAX); // SIGPIPE kills from here on
    // SAFETY: this process has one thread, and the child only uses pipes.
    let (mut child, link) =
        unsafe { Duplex::fork(|link| u8::from(link.write(b"last words") != Ok(10))) }.unwrap();
    assert!(child.wait().unwrap().success());
    let mut buf = [0; 64];
    assert_eq!(link.read(&mut buf), Ok(10));
    assert_eq!(link.read(&mut buf), Ok(0));
    assert_eq!(link.write(b"x"), Err(Errno::EPIPE));
    assert_eq!(link.write_all(b"x").unwrap_err().errno(), Some(Errno::EPIPE));
    let mut channel = Channel::from(link);
    assert_eq!(channel.recv(), Ok(None));
    assert_eq!(channel.send(&[b"x"]), Err(MessageError::Io(Errno::EPIPE)));
    let deadline = Deadline::after(Duration::from_secs(10));
    let answer = channel.send_deadline(&[b"x"], deadline);
    assert_eq!(answer, Err(MessageError::Io(Errno::EPIPE)));
}

/// If the peer dies in the middle of a message, receiving fails with `Truncated`.
fn channel_other_side_dies_truncated() {
    // SAFETY: this process has one thread, and the child only uses pipes.
    let (mut child, link) = unsafe {
        Duplex::fork(|link| {
            link.write_all(&100_u64.to_le_bytes()).unwrap();
            link.write_all(&[1; 99]).unwrap();
            0
        })
    }
    .unwrap();
    let mut channel = Channel::from(link);
    assert_eq!(channel.recv(), Err(MessageError::Truncated));
    assert!(child.wait().unwrap().success());
}

/// Each of two children ends when the parent drops the link to that child. The second child holds no copy of
/// the first child's link.
fn duplex_children_do_not_hold_each_others_sides() {
    let wait_for_the_end = |link: Duplex| {
        let mut buf = [0; 8];
        u8::from(link.read(&mut buf) != Ok(0))
    };
    // SAFETY: this process has one thread, and the child only uses pipes.
    let (mut first, to_first) = unsafe { Duplex::fork(wait_for_the_end) }.unwrap();
    let (held, hold) = rawpipe::pipe().unwrap();
    // SAFETY: this process has one thread. The child first closes its copies of the parent's other
    // descriptors.
    let (mut second, to_second) = unsafe {
        Duplex::fork(|link| {
            common::close_copy(to_first.reader());
            common::close_copy(to_first.writer());
            common::close_copy(&hold);
            let _ = held.read(&mut [0; 1]);
            wait_for_the_end(link)
        })
    }
    .unwrap();
    drop(to_first);
    assert!(first.wait().unwrap().success(), "while the second lives");
    drop((to_second, hold));
    assert!(second.wait().unwrap().success());
}

/// A worker of a pool ends when the parent drops the link to that worker. This requires that all later
/// workers have closed their copies of the link.
fn duplex_pool_of_workers_each_ends_with_its_link() {
    const WORKERS: usize = 5;
    for closed in [true, false] {
        let (mut workers, mut links) = (Vec::new(), Vec::new());
        for number in 0..WORKERS {
            // SAFETY: this process has one thread, and the child only uses pipes.
            let (worker, link) = unsafe {
                Duplex::fork(|link| {
                    if closed {
                        links.clear();
                    }
                    // The worker sends back the parent's message, and then reads until the parent drops the
                    // link.
                    let mut word = [0; 4];
                    let answered = link.read_exact(&mut word).and_then(|()| link.write_all(&word));
                    let ended = link.read(&mut word) == Ok(0);
                    if answered.is_ok() && ended { u8::try_from(number).unwrap() } else { 99 }
                })
            }
            .unwrap();
            workers.push(worker);
            links.push(Some(link));
        }
        for link in links.iter().flatten() {
            let mut word = [0; 4];
            link.write_all(b"here").unwrap();
            link.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"here");
        }
        for number in [0, 3, 1, 4, 2] {
            links[number] = None;
            let soon = Deadline::after(Duration::from_millis(if closed { 20_000 } else { 100 }));
            let ended = workers[number].wait_deadline(soon).unwrap();
            if closed {
                assert_eq!(ended.and_then(|status| status.code()), i32::try_from(number).ok());
            } else {
                // The later workers still hold copies of this worker's link.
                assert!(ended.is_none());
                break;
            }
        }
        links.clear();
        for worker in &mut workers {
            worker.wait().unwrap();
        }
    }
}

fn duplex_half_closed() {
    // SAFETY: this process has one thread, and the child only uses pipes.
    let (mut child, link) = unsafe {
        Duplex::fork(|link| {
            let (reader, writer) = link.into_ends();
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all.reverse();
            u8::from(writer.write_all(&all).is_err())
        })
    }
    .unwrap();
    let (reader, writer) = link.into_ends();
    writer.write_all(b"stressed").unwrap();
    drop(writer); // closes only this direction
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"desserts");
    assert!(child.wait().unwrap().success());
}

fn duplex_with_std_traits_and_a_larger_pipe() {
    let builder = Builder::new().capacity(Capacity::Bytes(1 << 17));
    let (mut left, right) = Duplex::pair_of(builder).unwrap();
    assert_eq!(left.reader().capacity(), Ok(1 << 17));
    assert_eq!(left.writer().capacity(), Ok(1 << 17));
    writeln!(left, "line {}", 1).unwrap();
    let mut line = String::new();
    BufReader::new(right).read_line(&mut line).unwrap();
    assert_eq!(line, "line 1\n");
    assert_eq!(left.write_all(b"x").unwrap_err().errno(), Some(Errno::EPIPE), "right is gone");
}

fn channel_goes_on_after_signals() {
    const LEN: usize = 1 << 20;
    let data: Vec<u8> = (0..LEN).map(|n| n.to_le_bytes()[1]).collect();
    let (left, right) = Channel::pair().unwrap();
    let mut left = Some(left);
    let mut echo = child(|| {
        left = None; // drops only the child's copy
        let mut right = right;
        let storm = Storm::begin(Duration::from_micros(100));
        while let Some(message) = right.recv().unwrap() {
            assert!(message == data);
            right.send(&[&message[..1000], &message[1000..]]).unwrap();
        }
        drop(storm);
        0
    });
    let storm = Storm::begin(Duration::from_micros(100));
    let mut left = left.expect("only the child's copy was dropped");
    let deadline = Deadline::after(Duration::from_secs(200));
    for round in 0..4 {
        if round % 2 == 0 {
            left.send(&[&data]).unwrap();
            assert!(left.recv().unwrap().unwrap() == data);
        } else {
            left.send_deadline(&[&data], deadline).unwrap();
            assert!(left.recv_deadline(deadline).unwrap().unwrap() == data);
        }
    }
    drop(storm);
    drop(left);
    assert!(echo.wait().unwrap().success());
}

/// Signals interrupt two kinds of calls: reads that fill the buffer, and writes of several messages. No
/// message is lost.
fn channel_read_ahead_and_send_many_go_on_after_signals() {
    let messages: Vec<Vec<u8>> = (0..20_000_usize).map(|n| vec![1; n * n % 97]).collect();
    let (left, right) = Channel::pair_of(Builder::new().capacity(Capacity::Bytes(1))).unwrap();
    let mut left = Some(left);
    let mut echo = child(|| {
        left = None; // drops only the child's copy
        let mut right = right.with_read_ahead();
        let storm = Storm::begin(Duration::from_micros(100));
        let mut received = Vec::new();
        while received.len() < messages.len() {
            received.push(right.recv().unwrap().unwrap());
        }
        right.send_many(&received).unwrap();
        drop(storm);
        0
    });
    let storm = Storm::begin(Duration::from_micros(100));
    let mut left = left.expect("only the child's copy was dropped").with_read_ahead();
    let deadline = Deadline::after(Duration::from_secs(200));
    let (first, second) = messages.split_at(messages.len() / 2);
    left.send_many(first).unwrap();
    left.sender().send_many_deadline(second, deadline).unwrap();
    let mut buf = [0; 100];
    for message in first {
        assert_eq!(left.recv_into(&mut buf), Ok(Some(message.len())));
    }
    for message in second {
        assert_eq!(left.recv_into_deadline(&mut buf, deadline), Ok(Some(message.len())));
    }
    drop(storm);
    assert_eq!(left.recv(), Ok(None));
    assert!(echo.wait().unwrap().success());
}

/// As documented, the child has its own copy of the buffer after a fork, but both processes share the pipe.
fn channel_read_ahead_fork_copies_the_buffer() {
    let (mut left, right) = Channel::pair().unwrap();
    let mut right = right.with_read_ahead();
    left.send_many(&["one", "two", "three"]).unwrap();
    assert_eq!(right.recv(), Ok(Some(b"one".to_vec())));
    let mut child = child(|| {
        assert!(right.receiver().has_message());
        assert_eq!(right.recv(), Ok(Some(b"two".to_vec())));
        assert_eq!(right.recv(), Ok(Some(b"three".to_vec())));
        assert!(!right.receiver().has_message());
        assert_eq!(right.recv(), Ok(Some(b"for one of the two".to_vec())));
        0
    });
    left.send(&[b"for one of the two"]).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(right.recv(), Ok(Some(b"two".to_vec())));
    assert_eq!(right.recv(), Ok(Some(b"three".to_vec())));
    let late = right.recv_deadline(Deadline::now());
    assert_eq!(late, Err(MessageError::Io(Errno::ETIMEDOUT)));
}

fn channel_adaptive_between_processes() {
    // SAFETY: this process has one thread, and the child only uses pipes.
    let (mut child, link) = unsafe {
        Duplex::fork(|link| {
            let mut channel = Channel::from(link).with_wait(Wait::Adaptive);
            while let Some(message) = channel.recv().unwrap() {
                channel.send(&[&message]).unwrap();
            }
            0
        })
    }
    .unwrap();
    let mut channel = Channel::from(link).with_wait(Wait::Adaptive);
    for number in 0..1000_u32 {
        channel.send(&[&number.to_le_bytes()]).unwrap();
        assert_eq!(channel.recv().unwrap().unwrap(), number.to_le_bytes());
    }
    drop(channel);
    assert!(child.wait().unwrap().success());
}

pub(crate) const TESTS: common::Tests = common::tests![
    duplex_child_answers,
    duplex_one_side_dies,
    channel_other_side_dies_truncated,
    duplex_children_do_not_hold_each_others_sides,
    duplex_pool_of_workers_each_ends_with_its_link,
    duplex_half_closed,
    duplex_with_std_traits_and_a_larger_pipe,
    channel_goes_on_after_signals,
    channel_read_ahead_and_send_many_go_on_after_signals,
    channel_read_ahead_fork_copies_the_buffer,
    channel_adaptive_between_processes,
];
