//! Tests messages that are read ahead, several messages that are sent with one call, and long messages that
//! are sent with two calls.
#![cfg(all(feature = "std", feature = "message"))]

use crate::common;
use crate::common::bytes::{Random, data, waiting_in};
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::message::{Channel, MessageError, Receiver, Sender};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::{Cancel, Deadline, Errno, PipeReader, PipeWriter, Wait};
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;
use std::time::Duration;

/// The size of the receiver's read-ahead buffer and of the sender's buffer.
const BATCH: usize = 16 << 10;
const TIMED_OUT: MessageError = MessageError::Io(Errno::ETIMEDOUT);

fn link() -> (Receiver<PipeReader>, Sender<PipeWriter>) {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(256 << 10)).build().unwrap();
    (Receiver::new(reader).with_read_ahead(), Sender::new(writer))
}

fn soon() -> Deadline<'static> {
    Deadline::after(Duration::from_secs(60))
}

/// Returns the two ends of the smallest possible pipe, and its capacity in bytes.
fn narrow() -> (PipeReader, PipeWriter, usize) {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    let capacity = writer.capacity().unwrap();
    (reader, writer, capacity)
}

fn wire(messages: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages.iter().map(AsRef::as_ref) {
        bytes.extend((message.len() as u64).to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

/// Returns messages of these lengths. Every message has different contents.
fn of_lens(lens: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let all = data(1 << 18);
    let each = lens.into_iter().enumerate();
    each.map(|(number, len)| all[number % 1000..][..len].to_vec()).collect()
}

fn is_ready(receiver: &Receiver<PipeReader>) -> bool {
    let mut fds = [PollFd::new(receiver, PollEvents::IN)];
    poll(&mut fds, Some(Duration::ZERO)).unwrap() == 1
}

/// The ways to receive a message, all of which must return the same result.
#[derive(Clone, Copy, Debug)]
enum Way {
    Recv,
    Into,
}

type Received = Result<Option<Vec<u8>>, MessageError>;

impl Way {
    const ALL: [Self; 2] = [Self::Recv, Self::Into];

    fn now(self, receiver: &mut Receiver<PipeReader>) -> Received {
        self.until(receiver, Some(Deadline::now()))
    }

    fn until(
        self,
        receiver: &mut Receiver<PipeReader>,
        deadline: Option<Deadline<'_>>,
    ) -> Received {
        let mut buf = vec![0; 1 << 18];
        let len = match (self, deadline) {
            (Self::Recv, None) => return receiver.recv(),
            (Self::Recv, Some(deadline)) => return receiver.recv_deadline(deadline),
            (Self::Into, None) => receiver.recv_into(&mut buf)?,
            (Self::Into, Some(deadline)) => receiver.recv_into_deadline(&mut buf, deadline)?,
        };
        Ok(len.map(|len| buf[..len].to_vec()))
    }
}

// ---------------------------------------------------------------- read-ahead

#[test]
fn recv_read_ahead_one_read_takes_many() {
    for wait in [Wait::Block, Wait::Adaptive] {
        for way in Way::ALL {
            let (receiver, mut sender) = link();
            let mut receiver = receiver.with_wait(wait);
            let messages = of_lens((0..100).map(|n| n * 3 % 50));
            messages.iter().for_each(|message| sender.send(&[message]).unwrap());
            assert!(!receiver.has_message(), "nothing was read yet");
            for (number, message) in messages.iter().enumerate() {
                assert_eq!(way.until(&mut receiver, None).unwrap().unwrap(), *message);
                assert_eq!(rawpipe::pipe::available(&receiver), Ok(0), "{number}");
                assert_eq!(receiver.has_message(), number < 99, "{number}");
            }
            drop(sender);
            assert_eq!(way.until(&mut receiver, None), Ok(None));
            assert!(receiver.into_inner().is_ok());
        }
    }
}

/// Each message occupies 24 bytes of the pipe, and each read moves 16 KiB.
#[test]
fn recv_read_ahead_reads_16_kib_at_a_time() {
    let (mut receiver, mut sender) = link();
    let messages = vec![[7; 16]; 5000];
    sender.send_many(&messages).unwrap();
    for number in 1..=messages.len() {
        assert_eq!(receiver.recv().unwrap().unwrap(), [7; 16]);
        let read = (24 * number).div_ceil(BATCH) * BATCH;
        let left = (24 * messages.len()).saturating_sub(read);
        assert_eq!(rawpipe::pipe::available(&receiver), Ok(left), "{number}");
    }
}

/// A long body is read directly and only up to its end, so the following bytes stay in the pipe.
#[test]
fn recv_read_ahead_long_bodies_are_read_directly() {
    for way in Way::ALL {
        for len in [BATCH / 2 - 1, BATCH / 2, BATCH - 9, BATCH - 8, BATCH, 3 * BATCH, 100_000] {
            let (mut receiver, mut sender) = link();
            let messages = of_lens([10, len, 20, len]);
            messages.iter().for_each(|message| sender.send(&[message]).unwrap());
            for message in &messages {
                assert!(way.until(&mut receiver, None).unwrap().unwrap() == *message, "{len}");
            }
            assert!(receiver.into_inner().is_ok());

            // The buffer holds only the length of this message, and as many bytes of its body as fit.
            let (mut receiver, mut sender) = link();
            sender.send(&[&messages[1]]).unwrap();
            sender.send(&[b"next"]).unwrap();
            assert!(way.until(&mut receiver, None).unwrap().unwrap() == messages[1], "{len}");
            let directly = len >= BATCH - 8 + BATCH / 2;
            let left = rawpipe::pipe::available(&receiver).unwrap();
            assert_eq!(left == 12, directly || len == BATCH - 8, "{len}: {left} in the pipe");
            assert_eq!(way.until(&mut receiver, None).unwrap().unwrap(), b"next");
        }
    }
}

#[test]
fn recv_read_ahead_messages_split_at_each_byte() {
    let messages = of_lens([0, 1, 5, 0, 9, 2]);
    let wire = wire(&messages);
    for way in Way::ALL {
        for first in 0..=wire.len() {
            for second in [first, (first + 3).min(wire.len()), wire.len()] {
                let (reader, writer) = rawpipe::pipe().unwrap();
                let mut receiver = Receiver::new(reader).with_read_ahead();
                let mut received = Vec::new();
                for piece in [&wire[..first], &wire[first..second], &wire[second..]] {
                    writer.write_all(piece).unwrap();
                    let end = loop {
                        match way.now(&mut receiver) {
                            Ok(Some(message)) => received.push(message),
                            end => break end,
                        }
                    };
                    assert_eq!(end, Err(TIMED_OUT), "{way:?} {first} {second}");
                    assert!(!receiver.has_message());
                }
                assert_eq!(received, messages, "{way:?} {first} {second}");
                drop(writer);
                assert_eq!(way.now(&mut receiver), Ok(None));
            }
        }
    }
}

/// Whatever the messages are, and in whatever pieces they arrive, the results equal those of a receiver
/// without read-ahead.
#[test]
fn recv_read_ahead_model_is_a_plain_receiver() {
    const LIMIT: usize = 60_000;
    let mut random = Random::new();
    for round in 0..if common::slow() { 10 } else { 100 } {
        let mut lens = Vec::new();
        while lens.iter().sum::<usize>() < 150_000 {
            let most = [4, 30, 300, 3000, 10_000, 30_000, LIMIT][random.below(7)];
            lens.push(random.below(most + 1));
        }
        let mut wire = wire(&of_lens(lens));
        if round % 3 == 0 {
            wire.truncate(random.below(wire.len()));
        } else if round % 3 == 1 {
            wire.extend((LIMIT as u64 + 1 + random.below(1000) as u64).to_le_bytes());
        }
        let pipes = [(); 2].map(|()| Builder::new().capacity(Capacity::Bytes(1 << 18)).build());
        let [(plain, to_plain), (ahead, to_ahead)] = pipes.map(Result::unwrap);
        let mut plain = Receiver::new(plain).with_limit(LIMIT);
        let mut ahead = Receiver::new(ahead).with_limit(LIMIT).with_read_ahead();
        let mut ends = Some((to_plain, to_ahead));
        let mut rest = &wire[..];
        loop {
            let most = [1, 10, 1000, 50_000][random.below(4)];
            let (piece, later) = rest.split_at(random.below(most + 1).min(rest.len()));
            rest = later;
            if let Some((to_plain, to_ahead)) = &ends {
                to_plain.write_all(piece).unwrap();
                to_ahead.write_all(piece).unwrap();
            }
            if rest.is_empty() {
                ends = None;
            }
            for _ in 0..random.below(20) {
                let (expects, now) = (ahead.has_message(), Deadline::now());
                let (expected, got) = match random.below(3) {
                    0 => (plain.recv_deadline(now), ahead.recv_deadline(now)),
                    _ => {
                        let len = [0, 10, 1000, LIMIT][random.below(4)];
                        let (mut one, mut other) = (vec![0; len], vec![0; len]);
                        let cut =
                            |len: Option<usize>, buf: &[u8]| len.map(|len| buf[..len].to_vec());
                        let expected = plain.recv_into_deadline(&mut one, now);
                        let got = ahead.recv_into_deadline(&mut other, now);
                        (expected.map(|len| cut(len, &one)), got.map(|len| cut(len, &other)))
                    }
                };
                assert!(got == expected, "{:?} and {:?}", got.err(), expected.err());
                let waits = matches!(got, Err(TIMED_OUT | MessageError::Truncated) | Ok(None));
                assert!(!(expects && waits), "{got:?}");
            }
            let end = plain.recv_deadline(Deadline::now());
            assert!(end == ahead.recv_deadline(Deadline::now()));
            match end {
                Ok(Some(_)) | Err(TIMED_OUT) => {}
                _ => break,
            }
        }
        assert_eq!(plain.into_inner().is_ok(), ahead.into_inner().is_ok());
    }
}

#[test]
fn recv_read_ahead_end_at_each_byte() {
    let messages = of_lens([3, 0, 7]);
    let whole = wire(&messages);
    for way in Way::ALL {
        for len in 0..=whole.len() {
            let (reader, writer) = rawpipe::pipe().unwrap();
            writer.write_all(&whole[..len]).unwrap();
            drop(writer);
            let mut receiver = Receiver::new(reader).with_read_ahead();
            let arrived = [11, 19, 34].iter().filter(|end| **end <= len).count();
            for message in &messages[..arrived] {
                assert_eq!(way.until(&mut receiver, None), Ok(Some(message.clone())));
            }
            let clean = [0, 11, 19, 34].contains(&len);
            for _ in 0..2 {
                let expected = if clean { Ok(None) } else { Err(MessageError::Truncated) };
                assert_eq!(way.until(&mut receiver, None), expected, "{len}");
                assert_eq!(way.now(&mut receiver), expected, "{len}");
            }
            assert_eq!(receiver.into_inner().is_ok(), clean, "{len}");
        }
    }
}

/// A receive returns a buffered message, even if its deadline has passed.
#[test]
fn recv_deadline_read_ahead_buffered_messages_need_no_time() {
    for way in Way::ALL {
        let (mut receiver, mut sender) = link();
        sender.send_many(&["a", "b", "c", "d"]).unwrap();
        assert_eq!(way.until(&mut receiver, None), Ok(Some(b"a".to_vec())));
        let cancel = Cancel::new().unwrap();
        cancel.cancel();
        let cancelled = Deadline::NEVER.or_cancelled(&cancel);
        for (message, deadline) in [("b", Deadline::now()), ("c", cancelled), ("d", cancelled)] {
            let received = way.until(&mut receiver, Some(deadline));
            assert_eq!(received, Ok(Some(message.into())));
        }
        let end = way.until(&mut receiver, Some(cancelled));
        assert_eq!(end, Err(MessageError::Io(Errno::ECANCELED)));
        assert_eq!(way.now(&mut receiver), Err(TIMED_OUT));
    }
}

#[test]
fn into_inner_read_ahead_returns_the_receiver() {
    let (mut receiver, mut sender) = link();
    sender.send_many(&["one", "two"]).unwrap();
    receiver.recv().unwrap();
    let mut receiver = receiver.into_inner().unwrap_err();
    assert_eq!(receiver.recv(), Ok(Some(b"two".to_vec())));
    let reader = receiver.into_inner().unwrap();

    // Either the buffer holds a part of a message, or the receiver has already removed that part from the
    // buffer.
    let mut receiver = Receiver::new(reader).with_read_ahead();
    let writer = sender.into_inner().unwrap();
    for part in [&wire(&["x"])[..], &[5], &[0; 7], b"ab", b"cde"].windows(2) {
        writer.write_all(part[0]).unwrap();
        receiver = match receiver.recv_deadline(Deadline::now()) {
            Ok(_) => receiver,
            Err(_) => receiver.into_inner().unwrap_err(),
        };
    }
    writer.write_all(b"cde").unwrap();
    assert_eq!(receiver.recv(), Ok(Some(b"abcde".to_vec())));
    assert!(receiver.into_inner().is_ok());
}

/// `poll` does not report messages in the buffer, so a loop must call `has_message` before it polls the
/// descriptor.
#[test]
fn poll_read_ahead_looks_at_the_buffer_first() {
    let (mut receiver, mut sender) = link();
    assert!(!receiver.has_message() && !is_ready(&receiver));
    sender.send_many(&["one", "two", ""]).unwrap();
    assert!(!receiver.has_message() && is_ready(&receiver));
    for message in ["one", "two"] {
        assert_eq!(receiver.recv(), Ok(Some(message.into())));
        assert!(receiver.has_message() && !is_ready(&receiver));
    }
    assert_eq!(receiver.recv(), Ok(Some(Vec::new())));
    assert!(!receiver.has_message() && !is_ready(&receiver));

    // `has_message` ignores a partial message in the buffer. The descriptor becomes ready when the remaining
    // bytes arrive.
    let writer = sender.into_inner().unwrap();
    writer.write_all(&wire(&["first", "second"])[..16]).unwrap();
    assert_eq!(receiver.recv(), Ok(Some(b"first".to_vec())));
    assert!(!receiver.has_message() && !is_ready(&receiver));
    writer.write_all(&wire(&["first", "second"])[16..]).unwrap();
    assert!(!receiver.has_message() && is_ready(&receiver));
    assert_eq!(receiver.recv(), Ok(Some(b"second".to_vec())));
}

#[test]
fn recv_read_ahead_nonblocking_ends_wait_all_the_same() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let mut receiver = Receiver::new(reader).with_read_ahead();
    let messages = of_lens((0..500).map(|n| n * n % 30_011));
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let mut received = Vec::new();
            while let Some(message) = receiver.recv().unwrap() {
                received.push(message);
            }
            received
        });
        thread::sleep(Duration::from_millis(20));
        let mut sender = Sender::new(writer);
        sender.send_many(&messages).unwrap();
        drop(sender);
        assert!(receiving.join().unwrap() == messages);
    });
}

#[test]
fn recv_read_ahead_hostile_lengths_too_long() {
    for len in [u64::MAX, 1 << 63, 1 << 32, 101] {
        for way in Way::ALL {
            let (reader, writer) = rawpipe::pipe().unwrap();
            let mut receiver = Receiver::new(reader).with_limit(100).with_read_ahead();
            writer.write_all(&wire(&["fine"])).unwrap();
            writer.write_all(&len.to_le_bytes()).unwrap();
            writer.write_all(&[0; 200]).unwrap();
            assert_eq!(way.until(&mut receiver, None), Ok(Some(b"fine".to_vec())));
            for _ in 0..2 {
                assert!(receiver.has_message(), "the error needs no wait");
                assert_eq!(way.until(&mut receiver, None), Err(MessageError::TooLong(len)));
            }
            assert!(receiver.into_inner().is_err());
        }
    }
}

#[test]
fn recv_into_read_ahead_short_buffer_keeps_the_message() {
    let (mut receiver, mut sender) = link();
    sender.send_many(&["first", "ten bytes!", "last"]).unwrap();
    assert_eq!(receiver.recv_into(&mut [0; 5]), Ok(Some(5)));
    let mut buf = [0; 16];
    for len in [0, 9] {
        let answer = receiver.recv_into(&mut buf[..len]);
        assert_eq!(answer, Err(MessageError::BufferTooShort(10)));
        assert!(receiver.has_message());
    }
    assert_eq!(receiver.recv_into(&mut buf[..10]), Ok(Some(10)));
    assert_eq!(&buf[..10], b"ten bytes!");
    assert_eq!(receiver.recv(), Ok(Some(b"last".to_vec())));
}

/// Neither a second call of `with_read_ahead` nor another setting drops the buffered bytes.
#[test]
fn with_read_ahead_again_keeps_the_buffer() {
    let (mut receiver, mut sender) = link();
    sender.send_many(&["one", "two"]).unwrap();
    receiver.recv().unwrap();
    let receiver = receiver.with_read_ahead().with_wait(Wait::Adaptive).with_limit(2);
    let mut receiver = receiver.with_read_ahead();
    assert!(receiver.has_message());
    assert_eq!(receiver.recv(), Err(MessageError::TooLong(3)));
    assert_eq!(receiver.with_limit(3).recv(), Ok(Some(b"two".to_vec())));
}

#[test]
fn has_message_without_read_ahead_is_false() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut receiver = Receiver::new(reader);
    Sender::new(writer).send_many(&["", "four"]).unwrap();
    assert!(!receiver.has_message());
    receiver.recv().unwrap();
    assert!(!receiver.has_message());
    assert_eq!(receiver.recv_into(&mut [0]), Err(MessageError::BufferTooShort(4)));
    assert!(!receiver.has_message());
    assert!(receiver.recv().unwrap().is_some());
}

#[test]
fn channel_with_read_ahead_over_several_kinds() {
    let (left, right) = Channel::pair().unwrap();
    let (mut left, mut right) = (left.with_read_ahead(), right.with_read_ahead());
    left.send_many(&["one", "two"]).unwrap();
    left.sender().send_many_deadline(&["three"], Deadline::NEVER).unwrap();
    let mut buf = [0; 5];
    for message in ["one", "two", "three"] {
        let len = right.recv_into_deadline(&mut buf, Deadline::now()).unwrap().unwrap();
        assert_eq!(&buf[..len], message.as_bytes());
    }
    assert_eq!(right.recv_into_deadline(&mut buf, Deadline::now()), Err(TIMED_OUT));
    right.send(&[b"back"]).unwrap();
    assert_eq!(left.recv(), Ok(Some(b"back".to_vec())));

    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut left = Channel::new(&ours, &ours).with_read_ahead();
    let mut right = Channel::new(&theirs, &theirs);
    let messages = of_lens([0, 5, 20_000, 7]);
    right.send_many(&messages).unwrap();
    drop(theirs);
    messages.iter().for_each(|message| assert_eq!(left.recv(), Ok(Some(message.clone()))));
    assert_eq!(left.recv(), Ok(None));

    let mut file = common::file(b"");
    Sender::new(&file).send_many(&messages).unwrap();
    file.rewind().unwrap();
    let mut receiver = Receiver::new(&file).with_read_ahead();
    messages.iter().for_each(|message| assert_eq!(receiver.recv(), Ok(Some(message.clone()))));
    assert_eq!(receiver.recv(), Ok(None));
}

#[test]
fn receiver_debug_is_short() {
    let (mut receiver, mut sender) = link();
    sender.send_many(&["one", "two"]).unwrap();
    receiver.recv().unwrap();
    let text = format!("{receiver:?}");
    assert!(text.contains("unread: 75..86") && text.len() < 1000, "{text}");
}

// ---------------------------------------------------------------- bodies at the start of a page

/// If the descriptor is a pipe, a long body that starts less than 8 bytes before or after a page boundary is
/// written with a separate call.
#[test]
fn send_of_a_body_at_any_offset_in_a_page_arrives_whole() {
    const PAGE: usize = 4096;
    const LONG: usize = 32 << 10;
    let memory = data(3 * LONG);
    let aligned = memory.as_ptr().align_offset(PAGE) + PAGE;
    let starts = || (aligned - 9..aligned + 10).chain([aligned + 16, aligned + PAGE / 2]);
    let lens = [LONG - 1, LONG, LONG + 5];
    let bodies = || starts().flat_map(|start| lens.map(|len| &memory[start..start + len]));
    let exchange = |mut sender: Sender<OwnedFd>, mut receiver: Receiver<OwnedFd>| {
        thread::scope(|scope| {
            scope.spawn(move || {
                for body in bodies() {
                    sender.send(&[body]).unwrap();
                    sender.send(&[b"a part", body]).unwrap();
                    // Before Linux 6.5, and in emulators, no flag prevents a call on a blocking socket from
                    // waiting.
                    match sender.send_deadline(&[body], soon()) {
                        Err(MessageError::Io(Errno::EOPNOTSUPP)) => sender.send(&[body]).unwrap(),
                        answer => answer.unwrap(),
                    }
                }
            });
            for body in bodies() {
                assert!(receiver.recv().unwrap().as_deref() == Some(body), "{}", body.len());
                assert!(receiver.recv().unwrap() == Some([b"a part", body].concat()));
                assert!(receiver.recv().unwrap().as_deref() == Some(body));
            }
            assert_eq!(receiver.recv(), Ok(None));
        });
    };
    for is_ahead in [false, true] {
        let receiving = |fd| {
            let receiver = Receiver::new(fd);
            if is_ahead { receiver.with_read_ahead() } else { receiver }
        };
        let (reader, writer) = rawpipe::pipe().unwrap();
        exchange(Sender::new(writer.into()), receiving(reader.into()));
        let (near, far) = UnixStream::pair().unwrap();
        exchange(Sender::new(near.into()), receiving(far.into()));
    }
}

/// A packet pipe keeps the boundaries of writes, so its packets show how many calls sent the message.
#[test]
fn send_of_a_body_at_the_start_of_a_page_is_two_writes_to_a_pipe() {
    let memory = data(64 << 10);
    let aligned = memory.as_ptr().align_offset(4096);
    for (offset, len, is_separate) in [
        (0, 32 << 10, true),
        (7, 32 << 10, true),
        (4089, 32 << 10, true),
        (8, 32 << 10, false),
        (0, 32_767, false),
    ] {
        let builder = Builder::new().packet().capacity(Capacity::Bytes(256 << 10));
        let (reader, writer) = builder.build().unwrap();
        Sender::new(writer).send(&[&memory[aligned + offset..][..len]]).unwrap();
        let first = reader.read(&mut [0; 100]).unwrap();
        assert_eq!(first == 8, is_separate, "{offset} {len}: {first}");
    }
}

/// If only the length fits in the pipe, the message is sent in part, and no further message can be sent.
#[test]
fn send_deadline_of_a_body_at_the_start_of_a_page_without_room_is_torn() {
    let (reader, writer, capacity) = narrow();
    writer.write(&vec![0; capacity - 8]).unwrap();
    let mut sender = Sender::new(writer);
    let memory = data(40 << 10);
    let body = &memory[memory.as_ptr().align_offset(4096)..][..32 << 10];
    assert_eq!(sender.send_deadline(&[body], Deadline::now()), Err(TIMED_OUT));
    // If `pwritev2` cannot avoid waiting, the length goes through a private pipe and needs a free slot in the
    // sender's pipe.
    let arrived = waiting_in(&reader).len() - (capacity - 8);
    let flagless = common::emulated() || !common::linux(6, 4);
    assert!(arrived == 8 || arrived == 0 && flagless, "{arrived} bytes");
    let expected = if arrived == 8 { Err(MessageError::Torn) } else { Ok(()) };
    assert_eq!(sender.send(&[]), expected);
}

// ---------------------------------------------------------------- send_many

#[test]
fn send_many_is_send_of_each() {
    let full = BATCH - 8;
    let lists = [
        of_lens([]),
        of_lens([0]),
        of_lens([0; 5000]),
        of_lens((0..3000).map(|n| n % 41)),
        of_lens([full - 1, full, full + 1, 0, full - 8, full - 7, full - 9, 1, 1]),
        of_lens([100_000, 0, 3, 70_000, 70_000]),
        of_lens((0..60).map(|n| n * n * n)),
    ];
    for messages in lists {
        let wire = wire(&messages);
        for (deadline, wait) in [(None, 0), (Some(Deadline::NEVER), 0), (None, 1)] {
            let (reader, writer) = rawpipe::pipe().unwrap();
            writer.set_nonblocking(wait == 1).unwrap();
            let mut sender = Sender::new(writer);
            thread::scope(|scope| {
                let reading = scope.spawn(move || {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).unwrap();
                    all
                });
                match deadline {
                    None => sender.send_many(&messages),
                    Some(deadline) => sender.send_many_deadline(&messages, deadline),
                }
                .unwrap();
                drop(sender.into_inner().unwrap());
                assert!(reading.join().unwrap() == wire);
            });
        }
    }
}

/// On a datagram socket, each system call sends one datagram, so the test can count the calls.
#[test]
fn send_many_one_call_for_many() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut buf = vec![0; 1 << 18];
    // Before Linux 6.5, and in emulators, no flag prevents a call on a blocking socket from waiting.
    let probe = Sender::new(&ours).send_deadline(&[b"probe"], Deadline::NEVER);
    let possible = probe != Err(MessageError::Io(Errno::EOPNOTSUPP));
    assert_eq!(theirs.recv(&mut buf).is_ok(), possible);
    let mut calls = |messages: &[Vec<u8>], deadline: Option<Deadline<'_>>| {
        let mut sender = Sender::new(&ours);
        match deadline {
            None => sender.send_many(messages),
            Some(deadline) => sender.send_many_deadline(messages, deadline),
        }
        .unwrap();
        let (mut lens, mut all) = (Vec::new(), Vec::new());
        while let Ok(len) = theirs.recv(&mut buf) {
            lens.push(len);
            all.extend_from_slice(&buf[..len]);
        }
        assert!(all == wire(messages));
        lens
    };
    for deadline in [None, Some(Deadline::NEVER)].into_iter().take(1 + usize::from(possible)) {
        assert_eq!(calls(&of_lens([]), deadline), [0; 0]);
        assert_eq!(calls(&of_lens([0]), deadline), [8]);
        assert_eq!(calls(&of_lens([16; 600]), deadline), [600 * 24]);
        // The sender's buffer holds 682 messages and the length of the next message. One call writes both
        // this buffer and the body of that next message.
        assert_eq!(calls(&of_lens([16; 1000]), deadline), [683 * 24, 317 * 24]);
        assert_eq!(calls(&of_lens([50_000, 3, 50_000, 3]), deadline), [50_008, 11 + 50_008, 11]);
        assert_eq!(calls(&of_lens([BATCH - 8, 0, 0]), deadline), [BATCH, 16]);
        assert_eq!(calls(&of_lens([BATCH - 15, 0, 0]), deadline), [BATCH - 7, 16]);
    }
}

#[test]
fn send_many_longer_than_the_limit_nothing_is_sent() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut sender = Sender::new(writer).with_limit(10);
    let messages = of_lens([1, 10, 11, 12]);
    let too_long = Err(MessageError::TooLong(12));
    assert_eq!(sender.send_many(&messages), too_long);
    assert_eq!(sender.send_many_deadline(&messages, Deadline::NEVER), too_long);
    assert_eq!(reader.available(), Ok(0));
    sender.send_many(&messages[..2]).unwrap();
    assert_eq!(waiting_in(&reader), wire(&messages[..2]));
}

/// In each repetition, the pipe becomes full at a different byte of a header or a body. The result counts
/// only messages that were sent completely. A message that was sent only in part makes the sender unusable.
#[test]
fn send_many_deadline_full_at_each_byte() {
    let capacity = narrow().2;
    let (mut whole, mut torn) = (0, 0);
    for first in capacity - 60..capacity + 3 {
        let messages = of_lens([first, 0, 3, 1, 0, 5, 2 * capacity]);
        let wire = wire(&messages);
        let (reader, writer, _) = narrow();
        let mut sender = Sender::new(writer);
        let answer = sender.send_many_deadline(&messages, Deadline::now());
        assert_eq!(waiting_in(&reader), wire[..capacity], "{first}");

        let (mut end, mut expected) = (0, 0);
        while end + 8 + messages[expected].len() <= capacity {
            end += 8 + messages[expected].len();
            expected += 1;
        }
        assert_eq!(answer, Err(MessageError::Stopped(Errno::ETIMEDOUT, expected)), "{first}");
        if end == capacity {
            whole += 1;
            // Another call can send the remaining messages.
            let rest = &messages[expected..messages.len() - 1];
            sender.send_many_deadline(rest, Deadline::now()).unwrap();
            assert_eq!(waiting_in(&reader), wire[end..wire.len() - 8 - 2 * capacity]);
            assert!(sender.into_inner().is_ok());
        } else {
            torn += 1;
            assert_eq!(sender.send_many(&["x"]), Err(MessageError::Torn));
            assert_eq!(sender.send_many(&[""; 0]), Err(MessageError::Torn));
            assert_eq!(sender.send(&[b"x"]), Err(MessageError::Torn));
            assert_eq!(sender.into_inner().unwrap_err(), MessageError::Torn);
            assert_eq!(reader.available(), Ok(0));
        }
    }
    assert!(whole >= 6 && torn >= 40, "{whole} {torn}");
}

/// Short writes to a nonblocking pipe of one page lose no byte. Each repetition reads pieces of a different
/// length.
#[test]
fn send_many_short_writes_lose_nothing() {
    let messages = of_lens((0..200).map(|n| n * 7 % 61).chain([5000, 0, 9000]));
    let wire = wire(&messages);
    for piece in (1..40).chain([4095, 4097, 5000]) {
        let (reader, writer, _) = narrow();
        writer.set_nonblocking(true).unwrap();
        let mut sender = Sender::new(writer);
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let (mut all, mut buf) = (Vec::new(), vec![0; piece]);
                // The reader uses short pieces only for the first 9,000 bytes, because thousands of calls
                // would be slow.
                while let Ok(count @ 1..) = reader.read(&mut buf) {
                    all.extend_from_slice(&buf[..count]);
                    if all.len() > 9000 {
                        buf.resize(4096, 0);
                    }
                }
                all
            });
            sender.send_many(&messages).unwrap();
            drop(sender.into_inner().unwrap());
            assert!(reading.join().unwrap() == wire, "{piece}");
        });
    }
}

/// The pipe is full and the sender waits for space. The reader then closes its end.
#[test]
fn send_many_reader_goes_in_the_middle_epipe() {
    for deadline in [None, Some(Deadline::NEVER)] {
        for len in [8, 13, 4088, 100_000] {
            let (reader, writer, capacity) = narrow();
            let mut sender = Sender::new(writer);
            // The body must not begin at the start of a page. The length of such a message is written
            // separately, and the pipe is then full with fewer bytes.
            let room = vec![1; len + 4096 + 64];
            let body = &room[room.as_ptr().align_offset(4096) + 64..][..len];
            let messages = vec![body; 40 * capacity / len + 3];
            thread::scope(|scope| {
                scope.spawn(move || {
                    while reader.available() != Ok(capacity) {
                        thread::yield_now();
                    }
                    drop(reader);
                });
                let answer = match deadline {
                    None => sender.send_many(&messages),
                    Some(deadline) => sender.send_many_deadline(&messages, deadline),
                };
                let whole = capacity / (8 + len);
                assert_eq!(answer, Err(MessageError::Stopped(Errno::EPIPE, whole)), "{len}");
            });
            let torn = capacity % (8 + len) > 0;
            let next =
                if torn { MessageError::Torn } else { MessageError::Stopped(Errno::EPIPE, 0) };
            assert_eq!(sender.send_many(&["x"]), Err(next));
            assert_eq!(sender.into_inner().is_err(), torn);
        }
    }
}
