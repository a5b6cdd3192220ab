//! Tests of channels, packets and atomic writes.
#![cfg(all(feature = "std", feature = "message"))]
#![allow(unsafe_code, reason = "setsockopt and clock_gettime of the C library")]

use crate::common::{self, skip};
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, BorrowedFd, OwnedFd};
use rawpipe::message::{
    Channel, MessageError, PacketReader, PacketWriter, Receiver, Sender, packets,
};
use rawpipe::pipe::{Builder, Capacity, PIPE_BUF};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(20);

fn soon() -> Deadline<'static> {
    Deadline::after(MOMENT)
}

fn link() -> (Sender<PipeWriter>, Receiver<PipeReader>) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    (Sender::new(writer), Receiver::new(reader))
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| ((n + seed) * 31 + n / 253).to_le_bytes()[0]).collect()
}

const TIMED_OUT: MessageError = MessageError::Io(Errno::ETIMEDOUT);

// ---------------------------------------------------------------- channels

#[test]
fn channel_messages_of_any_size_arrive_whole() {
    let sizes =
        [0, 1, 7, 8, 9, 4088, 4095, 4096, 4097, 65_527, 65_528, 65_536, 65_537, 1 << 20, 3_000_001];
    for wait in [Wait::Block, Wait::Adaptive] {
        let (mut sender, receiver) = link();
        let mut receiver = receiver.with_wait(wait);
        thread::scope(|scope| {
            scope.spawn(move || {
                for (seed, size) in sizes.into_iter().enumerate() {
                    let message = pattern(size, seed);
                    let (front, back) = message.split_at(size / 3);
                    sender.send(&[front, &[], back]).unwrap();
                    sender.send(&[&message]).unwrap();
                    sender.send_deadline(&[&message], Deadline::NEVER).unwrap();
                }
            });
            let mut buf = vec![0; 3_000_001];
            for (seed, size) in sizes.into_iter().enumerate() {
                let message = pattern(size, seed);
                assert!(receiver.recv().unwrap() == Some(message.clone()), "{size}");
                assert_eq!(receiver.recv_into(&mut buf), Ok(Some(size)));
                assert!(buf[..size] == message, "{size}");
                let got = receiver.recv_deadline(Deadline::NEVER).unwrap();
                assert!(got == Some(message), "{size}");
            }
            assert_eq!(receiver.recv(), Ok(None));
            assert_eq!(receiver.recv_into(&mut []), Ok(None));
        });
    }
}

#[test]
fn channel_many_parts_are_one_message() {
    let (mut sender, mut receiver) = link();
    for count in [0, 1, 6, 7, 8, 9, 100, 1023, 1024, 1025, 3000] {
        let parts: Vec<[u8; 2]> = (0..count).map(|n: u16| n.to_le_bytes()).collect();
        let slices: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        sender.send(&slices).unwrap();
        assert_eq!(receiver.recv().unwrap().unwrap(), parts.concat(), "{count}");
    }
}

/// Other programs may depend on this format.
#[test]
fn channel_format_is_eight_bytes_of_length_and_the_message() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    Sender::new(&writer).send(&[b"ab", b"c"]).unwrap();
    let mut wire = [0; 11];
    reader.read_exact(&mut wire).unwrap();
    assert_eq!(&wire, b"\x03\0\0\0\0\0\0\0abc");
    assert_eq!(reader.available(), Ok(0));
}

#[test]
fn channel_end_between_messages_is_clean() {
    let (mut sender, mut receiver) = link();
    sender.send(&[b"last"]).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().unwrap().as_deref(), Some(&b"last"[..]));
    for _ in 0..3 {
        assert_eq!(receiver.recv(), Ok(None));
        assert_eq!(receiver.recv_deadline(soon()), Ok(None));
    }
    assert!(receiver.into_inner().is_ok());
}

#[test]
fn channel_end_within_a_message_is_truncated() {
    let whole = [&5_u64.to_le_bytes()[..], b"hello"].concat();
    for len in 1..whole.len() {
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&whole[..len]).unwrap();
        drop(writer);
        let mut receiver = Receiver::new(reader);
        for _ in 0..2 {
            assert_eq!(receiver.recv(), Err(MessageError::Truncated), "{len}");
            assert_eq!(receiver.recv_into(&mut [0; 9]), Err(MessageError::Truncated), "{len}");
            assert_eq!(receiver.recv_deadline(soon()), Err(MessageError::Truncated), "{len}");
        }
        assert!(receiver.into_inner().is_err(), "a part was read");
    }
    let error = std::io::Error::from(MessageError::Truncated);
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn channel_hostile_lengths_too_long() {
    for len in [u64::MAX, 1 << 63, 1 << 32, 101] {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut receiver = Receiver::new(reader).with_limit(100);
        writer.write_all(&len.to_le_bytes()).unwrap();
        writer.write_all(&[0; 200]).unwrap();
        for _ in 0..2 {
            assert_eq!(receiver.recv(), Err(MessageError::TooLong(len)));
            assert_eq!(receiver.recv_into(&mut [0; 200]), Err(MessageError::TooLong(len)));
        }
        if len == 101 {
            let body = receiver.with_limit(101).recv().unwrap().unwrap();
            assert_eq!(body, [0; 101], "a larger limit");
        }
    }
    let error = std::io::Error::from(MessageError::TooLong(5));
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn channel_limit_holds_for_sending_and_nothing_is_sent() {
    let (sender, mut receiver) = link();
    let mut sender = sender.with_limit(100);
    assert_eq!(sender.send(&[&[0; 60], &[0; 41]]), Err(MessageError::TooLong(101)));
    assert_eq!(sender.send_deadline(&[&[0; 101]], soon()), Err(MessageError::TooLong(101)));
    sender.send(&[&[1; 100]]).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap(), [1; 100]);
}

#[test]
fn channel_short_buffer_keeps_the_message() {
    let (mut sender, mut receiver) = link();
    sender.send(&[b"ten bytes!"]).unwrap();
    let mut buf = [0; 16];
    for len in [0, 9] {
        let answer = receiver.recv_into(&mut buf[..len]);
        assert_eq!(answer, Err(MessageError::BufferTooShort(10)));
    }
    assert_eq!(receiver.recv_into(&mut buf[..10]), Ok(Some(10)));
    assert_eq!(&buf[..10], b"ten bytes!");
}

/// The receiver copies each byte from a slow sender only once, regardless of the number of waits.
#[test]
fn channel_recv_into_deadline_of_many_pieces_is_not_quadratic() {
    const LARGE: usize = 16 << 20;
    const SINGLE: usize = 200;
    let time = |into: bool| {
        let (reader, writer) = Builder::new().capacity(Capacity::Max).build().unwrap();
        let len = LARGE + SINGLE;
        let (mut receiver, mut buf) = (Receiver::new(reader), vec![0; len]);
        let mut next = |wait: Deadline<'_>| match into {
            true => receiver.recv_into_deadline(&mut buf, wait).map(|len| len.is_some()),
            false => receiver.recv_deadline(wait).map(|message| message.is_some()),
        };
        writer.write_all(&(len as u64).to_le_bytes()).unwrap();
        for _ in 0..LARGE >> 16 {
            writer.write_all(&[7; 1 << 16]).unwrap();
            assert_eq!(next(Deadline::now()), Err(TIMED_OUT));
        }
        let before = busy();
        for _ in 1..SINGLE {
            writer.write_all(&[7]).unwrap();
            assert_eq!(next(Deadline::now()), Err(TIMED_OUT));
        }
        let time = busy() - before;
        writer.write_all(&[7]).unwrap();
        assert_eq!(next(soon()), Ok(true));
        time
    };
    let (allocated, into) = (time(false), time(true));
    // A receiver that copied all received bytes in each call would copy three gigabytes.
    assert!(into < allocated * 4 + Duration::from_millis(100), "{into:?}, {allocated:?}");
}

#[test]
fn channel_recv_deadline_goes_on_where_it_stopped() {
    let message = pattern(200_000, 3);
    let wire = [&200_000_u64.to_le_bytes()[..], &message].concat();
    for mixed in [false, true] {
        let (reader, writer) = Builder::new().capacity(Capacity::Max).build().unwrap();
        let mut receiver = Receiver::new(reader);
        let mut buf = vec![0; 200_000];
        assert_eq!(receiver.recv_deadline(soon()), Err(TIMED_OUT));
        for (begin, end) in [(0, 3), (3, 8), (8, 9), (9, 70_000), (70_000, 199_000)] {
            writer.write_all(&wire[begin..end]).unwrap();
            let past = Deadline::now();
            let answer = receiver.recv_into_deadline(&mut buf, past).map(|_| ());
            assert_eq!(answer, Err(TIMED_OUT), "{end}");
            if mixed {
                assert_eq!(receiver.recv_deadline(past), Err(TIMED_OUT), "{end}");
            }
        }
        writer.write_all(&wire[199_000..]).unwrap();
        if mixed {
            assert!(receiver.recv().unwrap() == Some(message.clone()));
        } else {
            assert_eq!(receiver.recv_into(&mut buf), Ok(Some(200_000)));
            assert!(buf == message);
        }
        Sender::new(writer).send(&[b"next"]).unwrap();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some(&b"next"[..]));
    }
}

/// After a panic in the caller's `as_fd`, the receiver never returns a message that was not sent.
#[test]
fn channel_recv_from_a_descriptor_that_panics_changes_no_message() {
    struct Failing<'c>(PipeReader, &'c Cell<usize>);
    impl AsFd for Failing<'_> {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.1.set(self.1.get().wrapping_sub(1));
            assert!(self.1.get() != 0, "a descriptor that cannot be lent");
            self.0.as_fd()
        }
    }
    let (message, calls, mut panics) = (pattern(200, 1), Cell::new(0), 0);
    for n in 0..20 {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut receiver = Receiver::new(Failing(reader, &calls));
        if n % 2 == 0 {
            receiver = receiver.with_read_ahead();
        }
        writer.write_all(&200_u64.to_le_bytes()).unwrap();
        writer.write_all(&message[..120]).unwrap();
        calls.set(1 + n / 4);
        let part = catch_unwind(AssertUnwindSafe(|| match n % 4 < 2 {
            true => receiver.recv_into_deadline(&mut [0; 200], soon()).unwrap_err(),
            false => receiver.recv_deadline(soon()).unwrap_err(),
        }));
        calls.set(0);
        panics += usize::from(part.is_err());
        writer.write_all(&message[120..]).unwrap();
        match receiver.recv() {
            Ok(received) => assert_eq!(received.as_ref(), Some(&message)),
            Err(error) => assert!(part.is_err() && error == MessageError::Truncated, "{n} {error}"),
        }
    }
    assert!((4..20).contains(&panics), "{panics}");

    // The first bytes come from the buffer, and the others are read directly.
    let message = pattern(40_000, 2);
    for n in 1..6 {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut receiver = Receiver::new(Failing(reader, &calls)).with_read_ahead();
        writer.write_all(&40_000_u64.to_le_bytes()).unwrap();
        writer.write_all(&message).unwrap();
        calls.set(n + 1);
        let whole = catch_unwind(AssertUnwindSafe(|| receiver.recv()));
        calls.set(0);
        match whole.unwrap_or_else(|_| receiver.recv()) {
            Ok(received) => assert!(received.as_ref() == Some(&message), "{n}"),
            Err(error) => assert_eq!(error, MessageError::Truncated, "{n}"),
        }
    }

    // A message that is wholly in the buffer needs no descriptor.
    for way in 0..4 {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut receiver = Receiver::new(Failing(reader, &calls)).with_read_ahead();
        Sender::new(writer).send_many(&[b"one".to_vec(), message[..5000].to_vec()]).unwrap();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(receiver.recv_into(&mut [0; 9]), Err(MessageError::BufferTooShort(5000)));
        assert!(receiver.has_message());
        calls.set(1);
        let mut buf = vec![0; 5000];
        match way {
            0 => buf = receiver.recv().unwrap().unwrap(),
            1 => buf = receiver.recv_deadline(soon()).unwrap().unwrap(),
            2 => assert_eq!(receiver.recv_into(&mut buf), Ok(Some(5000))),
            _ => assert_eq!(receiver.recv_into_deadline(&mut buf, soon()), Ok(Some(5000))),
        }
        calls.set(0);
        assert!(buf == message[..5000], "{way}");
    }
}

#[test]
fn channel_send_deadline_in_the_middle_is_torn() {
    let (mut sender, mut receiver) = link();
    let long = vec![0; 10 << 20];
    assert_eq!(sender.send_deadline(&[&long], soon()), Err(TIMED_OUT));
    assert_eq!(sender.send(&[b"next"]), Err(MessageError::Torn));
    assert_eq!(sender.send_deadline(&[b"next"], soon()), Err(MessageError::Torn));
    assert_eq!(sender.into_inner().unwrap_err(), MessageError::Torn);
    assert_eq!(receiver.recv(), Err(MessageError::Truncated));
}

#[test]
fn channel_send_deadline_before_the_first_byte_is_not_torn() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let filling = vec![0; writer.capacity().unwrap()];
    writer.write_all(&filling).unwrap();
    let mut sender = Sender::new(writer);
    assert_eq!(sender.send_deadline(&[b"message"], soon()), Err(TIMED_OUT));
    reader.read_exact(&mut filling.clone()).unwrap();
    sender.send_deadline(&[b"message"], soon()).unwrap();
    assert_eq!(Receiver::new(reader).recv().unwrap().as_deref(), Some(&b"message"[..]));
}

#[test]
fn channel_nobody_receives_epipe() {
    let (mut sender, receiver) = link();
    drop(receiver);
    assert_eq!(sender.send(&[b"x"]), Err(MessageError::Io(Errno::EPIPE)));
    assert_eq!(sender.send_deadline(&[b"x"], soon()), Err(MessageError::Io(Errno::EPIPE)));
    let error = std::io::Error::from(sender.send(&[b"x"]).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn channel_nonblocking_ends_wait_all_the_same() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let message = pattern(1 << 20, 1);
    let (mut sender, mut receiver) = (Sender::new(writer), Receiver::new(reader));
    thread::scope(|scope| {
        let receiving = scope.spawn(move || [receiver.recv().unwrap(), receiver.recv().unwrap()]);
        thread::sleep(MOMENT);
        sender.send(&[&message]).unwrap();
        sender.send(&[&message]).unwrap();
        assert!(receiving.join().unwrap() == [Some(message.clone()), Some(message.clone())]);
    });
}

/// The receiver reads no byte that follows the message, so `poll` detects the next message.
#[test]
fn channel_can_be_polled_and_given_back_between_messages() {
    let (mut sender, mut receiver) = link();
    let ready = |receiver: &Receiver<PipeReader>| {
        let mut fds = [PollFd::new(receiver, PollEvents::IN)];
        poll(&mut fds, Some(Duration::ZERO)).unwrap() == 1
    };
    assert!(!ready(&receiver));
    sender.send(&[b"one"]).unwrap();
    sender.send(&[b"two"]).unwrap();
    for _ in 0..2 {
        assert!(ready(&receiver));
        assert!(receiver.recv().unwrap().is_some());
    }
    assert!(!ready(&receiver));
    let writer = sender.into_inner().unwrap();
    let reader = receiver.into_inner().unwrap();
    writer.write(b"plain").unwrap();
    assert_eq!(reader.read(&mut [0; 8]), Ok(5));
}

#[test]
fn channel_over_other_descriptors() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut left = Channel::new(&ours, &ours);
    let mut right = Channel::new(&theirs, &theirs).with_limit(100).with_wait(Wait::Adaptive);
    left.send(&[b"over a socket"]).unwrap();
    assert_eq!(right.recv().unwrap().as_deref(), Some(&b"over a socket"[..]));
    right.send(&[b"and back"]).unwrap();
    let mut buf = [0; 20];
    assert_eq!(left.recv_into(&mut buf), Ok(Some(8)));
    drop(ours);
    assert_eq!(right.recv(), Ok(None));
    assert_eq!(right.send(&[b"x"]), Err(MessageError::Io(Errno::EPIPE)));

    let mut file = common::file(b"");
    let mut sender = Sender::new(&file);
    sender.send(&[b"in a file"]).unwrap();
    sender.send(&[b"and more"]).unwrap();
    file.rewind().unwrap();
    let mut receiver = Receiver::new(&file);
    assert_eq!(receiver.recv().unwrap().as_deref(), Some(&b"in a file"[..]));
    assert_eq!(receiver.recv().unwrap().as_deref(), Some(&b"and more"[..]));
    assert_eq!(receiver.recv(), Ok(None));
}

#[test]
fn channel_two_way_in_two_threads() {
    let (mut left, right) = Channel::pair().unwrap();
    let (mut receiver, mut sender) = right.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(message) = receiver.recv().unwrap() {
                sender.send(&[b"echo ", &message]).unwrap();
            }
        });
        for number in 0..100_u32 {
            left.send(&[number.to_string().as_bytes()]).unwrap();
            let echo = left.recv_deadline(Deadline::NEVER).unwrap().unwrap();
            assert_eq!(echo, format!("echo {number}").as_bytes());
        }
        drop(left);
    });
}

// ---------------------------------------------------------------- packets

#[test]
fn packet_each_arrives_as_one() {
    let (reader, writer) = packets().unwrap();
    let lens = [1, 2, 100, PIPE_BUF - 1, PIPE_BUF];
    for len in lens {
        writer.send(&pattern(len, len)).unwrap();
    }
    drop(writer);
    let mut buf = [0; PIPE_BUF];
    for len in lens {
        assert_eq!(reader.recv(&mut buf).unwrap(), Some(&pattern(len, len)[..]));
    }
    assert_eq!(reader.recv(&mut buf), Ok(None));
}

#[test]
fn packet_larger_than_the_buffer_emsgsize() {
    let (reader, writer) = packets().unwrap();
    for len in [11, 12, PIPE_BUF] {
        writer.send(&vec![1; len]).unwrap();
        writer.send(&[2; 10]).unwrap();
        let mut buf = [0; 10];
        assert_eq!(reader.recv_into(&mut buf), Err(Errno::EMSGSIZE), "{len}");
        assert_eq!(reader.recv_into(&mut buf), Ok(Some(10)), "the next is whole");
        assert_eq!(buf, [2; 10]);
    }
    writer.send(b"x").unwrap();
    assert_eq!(reader.recv_into(&mut []), Err(Errno::EMSGSIZE));
}

#[test]
fn packet_of_no_bytes_einval_and_of_too_many_emsgsize() {
    let (reader, writer) = packets().unwrap();
    assert_eq!(writer.send(b""), Err(Errno::EINVAL));
    assert_eq!(writer.send(&[0; PIPE_BUF + 1]), Err(Errno::EMSGSIZE));
    assert_eq!(PipeReader::from(reader).available(), Ok(0));
}

#[test]
fn packet_ends_nonblocking_broken_and_converted() {
    let (reader, writer) = Builder::new().packet().nonblocking().build().unwrap();
    let reader = PacketReader::from(reader);
    let writer = PacketWriter::new(writer).unwrap();
    assert_eq!(reader.recv_into(&mut [0; 8]), Err(Errno::EAGAIN));
    let mut sent = 0;
    while writer.send(b"x").is_ok() {
        sent += 1; // each packet occupies one slot
    }
    assert_eq!(writer.send(b"x"), Err(Errno::EAGAIN));
    for _ in 0..sent {
        assert_eq!(reader.recv_into(&mut [0; 8]), Ok(Some(1)));
    }
    // The ends are rebuilt from their descriptors, as they would be in a child.
    let reader = PacketReader::from(PipeReader::from(OwnedFd::from(reader)));
    let writer = PacketWriter::new(PipeWriter::from(OwnedFd::from(writer))).unwrap();
    writer.send(b"still packets").unwrap();
    writer.send(b"!").unwrap();
    assert_eq!(reader.recv_into(&mut [0; 20]), Ok(Some(13)));
    drop(reader);
    assert_eq!(writer.send(b"x"), Err(Errno::EPIPE));

    let (_reader, stream) = rawpipe::pipe().unwrap();
    assert_eq!(PacketWriter::new(stream).unwrap_err(), Errno::EINVAL);
}

#[test]
fn packet_from_a_writer_that_does_not_care_is_not_cut() {
    let (reader, writer) = Builder::new().packet().build().unwrap();
    let long = pattern(3 * PIPE_BUF, 0);
    writer.write_all(&long).unwrap();
    drop(writer);
    let reader = PacketReader::from(reader);
    let mut got = Vec::new();
    let mut buf = vec![0; long.len()];
    while let Some(len) = reader.recv_into(&mut buf).unwrap() {
        got.extend_from_slice(&buf[..len]);
    }
    assert!(got == long, "split into packets of a page, each of them whole");
}

// ---------------------------------------------------------------- error queues

/// Returns the two nonblocking ends of a connection. The error queue of the first end holds a time stamp that
/// is never read, so `poll` always reports this end as ready. Returns `None` if `poll` does not report a time
/// stamp within a second.
fn always_ready() -> Option<(TcpStream, TcpStream)> {
    const SOL_SOCKET: i32 = 1;
    const SO_TIMESTAMPING: i32 = 37;
    const TX_SCHED_AND_SOFTWARE: u32 = 1 << 8 | 1 << 1 | 1 << 4;
    unsafe extern "C" {
        fn setsockopt(fd: i32, level: i32, name: i32, value: *const u32, len: u32) -> i32;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    // SAFETY: the call reads one `int`.
    unsafe {
        setsockopt(ours.as_raw_fd(), SOL_SOCKET, SO_TIMESTAMPING, &TX_SCHED_AND_SOFTWARE, 4);
    }
    (&ours).write_all(b"x").unwrap();
    (&peer).read_exact(&mut [0]).unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut fds = [PollFd::new(&ours, PollEvents::empty())];
    let is_ready = poll(&mut fds, Some(Duration::from_secs(1))) == Ok(1);
    is_ready.then_some((ours, peer))
}

/// Returns the processor time of this thread.
fn busy() -> Duration {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [std::ffi::c_long; 2]) -> i32;
    }
    let mut time = [0; 2];
    // SAFETY: the call writes one `timespec`.
    assert_eq!(unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    let [seconds, nanos] = time.map(|part| u64::try_from(part).unwrap());
    Duration::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// Returns the processor time that a busy thread uses within `time`. The result is lower on a busy
/// machine.
fn spin(time: Duration) -> Duration {
    let (before, begin) = (busy(), Instant::now());
    while begin.elapsed() < time {
        let _ = poll(&mut [], Some(Duration::ZERO));
    }
    busy() - before
}

/// A call with a deadline zeroes memory once, not before each of the reads that return one byte each.
/// Otherwise a peer that sends single bytes keeps the call beyond its deadline.
#[test]
fn recv_deadline_single_bytes_cost_no_zeroing() {
    const BYTES: usize = 200;
    let test = "recv_deadline_single_bytes_cost_no_zeroing";
    let before = busy();
    for _ in 0..BYTES {
        std::hint::black_box(Vec::new()).resize(1 << 16, 0_u8);
    }
    let zeroing = busy() - before;
    if zeroing < Duration::from_millis(20) {
        return skip(test, "optimized zeroing is not slower than a read");
    }
    let builder = Builder::new().capacity(Capacity::Bytes(1 << 20));
    let Ok((reader, writer)) = builder.packet().nonblocking().build() else {
        return skip(test, "no pipe of this capacity");
    };
    for ahead in [false, true] {
        let mut receiver = Receiver::new(&reader);
        if ahead {
            receiver = receiver.with_read_ahead();
        }
        for byte in (1_u64 << 20).to_le_bytes().into_iter().chain([7; BYTES]) {
            if writer.try_write(&[byte]) != Ok(1) {
                return skip(test, "no pipe for so many packets");
            }
        }
        let before = busy();
        assert_eq!(receiver.recv_deadline(Deadline::now()), Err(TIMED_OUT));
        let used = busy() - before;
        assert_eq!(rawpipe::pipe::available(&reader), Ok(0), "all bytes were read");
        assert!(used < zeroing / 2, "{ahead}: {used:?}, and {zeroing:?} for zeroing");
    }
}

/// Returns whether no flag prevents a read of this blocking socket from waiting.
fn waits_in_spite_of_flags(socket: impl AsFd) -> bool {
    rawpipe::io::try_read(socket, &mut [0]) == Err(Errno::EOPNOTSUPP)
}

/// If `poll` reports readiness but a system call fails with `EAGAIN`, that call is retried only after a
/// pause. This holds with and without a deadline.
#[test]
fn send_and_recv_error_queue_do_not_spin() {
    const SILENT: Duration = Duration::from_millis(500);
    let test = "send_and_recv_error_queue_do_not_spin";
    if common::tool() == Some(common::Tool::Valgrind) {
        return skip(
            test,
            "Valgrind's own work for each attempt is too much to tell it from spinning",
        );
    }
    for deadline in [None, Some(Deadline::NEVER)] {
        let Some((ours, peer)) = always_ready() else {
            return skip(test, "this kernel stamps nothing that is sent");
        };
        if deadline.is_some() && waits_in_spite_of_flags(&ours) {
            return skip(test, "no RWF_NOWAIT on sockets (Linux 6.5)");
        }
        let mut sender = Sender::new(peer);
        let mut receiver = Receiver::new(ours);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let before = busy();
                let message = match deadline {
                    None => receiver.recv(),
                    Some(deadline) => receiver.recv_deadline(deadline),
                };
                (message.unwrap(), busy() - before)
            });
            let most = spin(SILENT);
            sender.send(&[b"late"]).unwrap();
            let (message, busy) = waiting.join().unwrap();
            assert_eq!(message, Some(b"late".to_vec()), "{deadline:?}");
            assert!(
                busy < most / 4,
                "recv {deadline:?}: {busy:?}, and {most:?} of a spinning thread"
            );
        });

        // In the other direction, the sender has started a message, but only a part of the message fits in
        // the socket. The second message shows the time that the copying takes.
        let (ours, peer) = (receiver.into_inner().unwrap(), sender.into_inner().unwrap());
        let (mut sender, mut receiver) = (Sender::new(ours), Receiver::new(peer));
        let long = pattern(10 << 20, 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                [(); 2].map(|()| {
                    let before = busy();
                    match deadline {
                        None => sender.send(&[&long]),
                        Some(deadline) => sender.send_deadline(&[&long], deadline),
                    }
                    .unwrap();
                    busy() - before
                })
            });
            let most = spin(SILENT);
            for _ in 0..2 {
                assert!(receiver.recv().unwrap() == Some(long.clone()), "{deadline:?}");
            }
            let [busy, copying] = waiting.join().unwrap();
            assert!(
                busy < copying + most / 2,
                "send {deadline:?}: {busy:?} with {copying:?} of copying, and {most:?} of a spinning thread"
            );
        });
    }
}

/// A receive with a deadline times out, even if `poll` always reports the socket as ready.
#[test]
fn recv_deadline_error_queue_etimedout() {
    let test = "recv_deadline_error_queue_etimedout";
    let Some((ours, _peer)) = always_ready() else {
        return skip(test, "this kernel stamps nothing that is sent");
    };
    if waits_in_spite_of_flags(&ours) {
        return skip(test, "no RWF_NOWAIT on sockets (Linux 6.5)");
    }
    let begin = Instant::now();
    let mut receiver = Receiver::new(ours);
    assert_eq!(receiver.recv_deadline(Deadline::after(10 * MOMENT)), Err(TIMED_OUT));
    let elapsed = begin.elapsed();
    assert!(elapsed >= 10 * MOMENT && elapsed < 100 * MOMENT, "{elapsed:?}");
}

// ---------------------------------------------------------------- atomic writes

#[test]
fn atomic_writes_are_not_mixed() {
    const WRITERS: u8 = 4;
    const EACH: usize = 200;
    let (reader, writer) = rawpipe::pipe().unwrap();
    thread::scope(|scope| {
        for id in 1..=WRITERS {
            let writer = writer.try_clone().unwrap();
            scope.spawn(move || {
                for _ in 0..EACH {
                    writer.write_atomic(&[id; PIPE_BUF]).unwrap();
                }
            });
        }
        drop(writer);
        let mut count = [0; WRITERS as usize + 1];
        let mut block = [0; PIPE_BUF];
        while reader.read_exact(&mut block).is_ok() {
            assert!(block.iter().all(|byte| *byte == block[0]), "mixed");
            count[usize::from(block[0])] += 1;
        }
        assert_eq!(count[1..], [EACH; WRITERS as usize]);
    });
}

#[test]
fn atomic_write_is_all_or_nothing() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    assert_eq!(writer.write_atomic(b""), Ok(()));
    let block = pattern(PIPE_BUF - 96, 0);
    let mut count = 0;
    let errno = loop {
        match writer.write_atomic(&block) {
            Ok(()) => count += 1,
            Err(errno) => break errno,
        }
    };
    assert_eq!(errno, Errno::EAGAIN);
    assert_eq!(reader.available(), Ok(count * block.len()));
    drop(reader);
    assert_eq!(writer.write_atomic(&block), Err(Errno::EPIPE));
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(writer.write_atomic(&[0; PIPE_BUF + 1]), Err(Errno::EMSGSIZE));
    assert_eq!(reader.available(), Ok(0));
    assert_eq!(rawpipe::io::write_atomic(&writer, &[0; PIPE_BUF]), Ok(()));
    assert_eq!(reader.available(), Ok(PIPE_BUF));
}
