//! Tests of transfers whose peer is silent, is slow, competes for data, or has closed one direction. Such a
//! transfer passes on the available bytes, meets its deadline, and detects end of file. Its error names the
//! side that failed. Other tests use datagrams, records, terminals, error queues, and files that are copied
//! to themselves.
//!
//! No test in this file creates a process. `pipe.rs` gives the reason. A transfer that may hang runs in a
//! separate thread, and the test fails if the transfer does not return in time.
#![cfg(all(feature = "std", feature = "message", feature = "transfer"))]
#![allow(unsafe_code, reason = "the C library's calls for terminals and sockets")]

use crate::common::bytes::data;
use crate::common::{self, file, terminal, terminals, tmp_path};
use rawpipe::Deadline;
use rawpipe::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{
    Fanout, FanoutSink, Side, Transfer, TransferError, TransferMechanism, Transferred, fanout,
    transfer,
};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::ops::ControlFlow;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A transfer that takes longer than this time is assumed to hang. The time is also sufficient in an
/// emulator.
const HUNG: Duration = Duration::from_secs(20);

/// Runs `body` in a separate thread, and panics if `body` does not return in time.
fn in_time<T: Send + 'static>(what: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(body()));
    told.recv_timeout(HUNG).unwrap_or_else(|_| panic!("{what}: it hangs, or has panicked"))
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

unsafe extern "C" {
    fn setsockopt(fd: i32, level: i32, name: i32, value: *const i32, len: u32) -> i32;
    fn send(fd: i32, bytes: *const u8, len: usize, flags: i32) -> isize;
    fn socketpair(domain: i32, kind: i32, protocol: i32, fds: *mut i32) -> i32;
}

/// A peer that sends bytes to a source.
type Peer = Box<dyn Write + Send>;

fn sources() -> Vec<(&'static str, OwnedFd, Peer)> {
    let mut all: Vec<(&'static str, OwnedFd, Peer)> = Vec::new();
    let (near, far) = tcp();
    all.push(("tcp", near.into(), Box::new(far)));
    let (near, far) = UnixStream::pair().unwrap();
    all.push(("unix", near.into(), Box::new(far)));
    let (reader, writer) = rawpipe::pipe().unwrap();
    all.push(("pipe", reader.into(), Box::new(writer)));
    if terminals() {
        let (terminal, keyboard) = terminal();
        all.push(("terminal", terminal.into(), Box::new(keyboard)));
    }
    all
}

/// Waits for one line of a dialogue. Panics if other bytes arrive or if no bytes arrive in time.
fn expect_line(what: &str, from: &mpsc::Receiver<Vec<u8>>, line: &[u8]) {
    let mut heard = Vec::new();
    while heard.len() < line.len() {
        let more = from.recv_timeout(HUNG);
        heard.extend(more.unwrap_or_else(|_| panic!("{what}: heard {heard:?} and then nothing")));
    }
    assert_eq!(heard, line, "{what}");
}

/// Checks that each request is passed on even though the peer then waits and sends no more bytes.
fn dialogue(options: fn() -> Transfer<'static>) {
    for (name, source, mut peer) in sources() {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let moving = thread::spawn(move || options().run(&source, &writer).map_err(|e| e.errno()));
        let reading = thread::spawn(move || {
            let mut buf = [0; 100];
            while let Ok(count @ 1..) = reader.read(&mut buf) {
                let _ = tell.send(buf[..count].to_vec());
            }
        });
        for request in ["one\n", "two\n", "three\n"] {
            peer.write_all(request.as_bytes()).unwrap();
            expect_line(name, &told, request.as_bytes());
        }
        if name == "terminal" {
            peer.write_all(b"\x04").unwrap();
            assert_eq!(moving.join().unwrap().unwrap().bytes(), 14);
        } else {
            drop(peer);
            assert_eq!(moving.join().unwrap().unwrap().bytes(), 14);
        }
        reading.join().unwrap();
    }
}

#[test]
fn transfer_dialogue() {
    dialogue(Transfer::new);
}

#[test]
fn transfer_dialogue_with_deadline() {
    dialogue(|| Transfer::new().deadline(Deadline::after(Duration::from_secs(600))));
}

#[test]
fn transfer_dialogue_in_chunks() {
    // A closure without captures occupies no memory, so leaking its box leaks no memory.
    fn watched(chunk: usize) -> Transfer<'static> {
        Transfer::new().chunk(chunk).progress(Box::leak(Box::new(|_| ControlFlow::Continue(()))))
    }
    dialogue(|| watched(1));
    dialogue(|| watched(100_000));
}

#[test]
fn transfer_dialogue_of_an_exact_length() {
    dialogue(|| Transfer::new().exact(14));
}

/// A transfer that waits for a full sink does not delay a write to the source pipe.
#[test]
fn transfer_to_a_silent_reader_leaves_the_source_pipe_unlocked() {
    let (near, far) = UnixStream::pair().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let moving = thread::spawn(move || transfer(&reader, &near).map(|done| done.bytes()));
    // The loop ends when the socket is full and the transfer waits for space.
    let mut sent = 0_u64;
    let full = Instant::now() + HUNG;
    let mut idle = 0;
    while idle < 50 {
        assert!(Instant::now() < full, "a socket without end");
        match writer.available() {
            Ok(0) => {
                writer.write_all(&[7; 4096]).unwrap();
                (sent, idle) = (sent + 4096, 0);
            }
            _ => idle += 1,
        }
        thread::sleep(Duration::from_millis(1));
    }
    // The pipe is not full. If the transfer held the kernel's lock on the pipe, this write would hang.
    let writer = in_time("a write beside a transfer that waits", move || {
        writer.write_all(b"!").unwrap();
        writer
    });
    drop(writer);
    let got = thread::spawn(move || {
        let mut bytes = Vec::new();
        (&far).read_to_end(&mut bytes).unwrap();
        bytes.len() as u64
    });
    assert_eq!(moving.join().unwrap().unwrap(), sent + 1);
    assert_eq!(got.join().unwrap(), sent + 1);
}

fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let room = writer.capacity().unwrap();
    (reader, writer, room)
}

#[test]
fn transfer_of_exactly_the_room_ends_without_a_reader() {
    let (reader, writer, room) = full_pipe();
    let source = file(&data(room));
    let moved = in_time("a file", move || {
        let done = transfer(&source, &writer).unwrap().bytes();
        (done, reader.available().unwrap())
    });
    assert_eq!(moved, (room as u64, room));

    let (reader, writer, room) = full_pipe();
    let (source, feed, _) = full_pipe();
    feed.write_all(&data(room)).unwrap();
    drop(feed);
    let moved = in_time("a pipe", move || {
        let done = transfer(&source, &writer).unwrap().bytes();
        (done, reader.available().unwrap())
    });
    assert_eq!(moved, (room as u64, room));
}

/// Returns whether a flag prevents calls on a blocking socket from waiting. Linux 6.5 added this support.
fn sockets_need_not_wait() -> bool {
    let (near, _far) = UnixStream::pair().unwrap();
    let can = rawpipe::io::try_read(&near, &mut [0]) == Err(Errno::EAGAIN);
    if !can {
        println!(
            "SKIPPED: blocking sockets, on a kernel that has no call for them that does not wait"
        );
    }
    can
}

/// Makes this socket nonblocking, fills it in pieces of `piece` bytes, and returns the number of bytes that
/// fit.
fn room_of(socket: &UnixStream, piece: usize) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut room = 0;
    while let Ok(count @ 1..) = rawpipe::write(socket, &vec![1; piece]) {
        room += count;
    }
    room
}

#[test]
fn transfer_deadline_all_has_arrived_in_a_full_socket() {
    let room = room_of(&UnixStream::pair().unwrap().0, 100_000);
    for blocking in [false, true] {
        if blocking && !sockets_need_not_wait() {
            break;
        }
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(!blocking).unwrap();
        let first = room_of(&UnixStream::pair().unwrap().0, room.min(100_000));
        let source = file(&data(first.min(100_000)));
        let deadline = Deadline::after(Duration::from_millis(300));
        let done = Transfer::new().deadline(deadline).run(&source, &near).unwrap();
        assert_eq!(done.bytes(), first.min(100_000) as u64);
        drop(far);
    }
}

#[test]
fn transfer_deadline_all_has_arrived_in_a_full_pipe() {
    let (reader, writer, room) = full_pipe();
    let source = file(&data(room));
    let deadline = Deadline::after(Duration::from_millis(300));
    assert_eq!(
        Transfer::new().deadline(deadline).run(&source, &writer).unwrap().bytes(),
        room as u64
    );
    assert_eq!(reader.available().unwrap(), room);
}

/// Runs the transfer with a short deadline, and returns the result and the elapsed time.
fn until_deadline(
    options: Transfer<'_>,
    source: impl AsFd,
    sink: impl AsFd,
) -> (Result<Transferred, TransferError>, Duration) {
    let begun = Instant::now();
    let deadline = Deadline::after(Duration::from_millis(100));
    let answer = options.deadline(deadline).run(source, sink);
    (answer, begun.elapsed())
}

/// Returns a transfer that excludes `Splice`. If its sink is a pipe and its source is a file or a pipe, it
/// copies the bytes through a buffer.
fn by_copy<'p>() -> Transfer<'p> {
    Transfer::new().without(TransferMechanism::Splice)
}

/// `poll` reports the same byte to several transfers, but only one transfer receives the byte. Each transfer
/// meets its deadline.
#[test]
fn transfer_deadline_copy_beside_other_readers() {
    for turn in 0..20 {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let all: Vec<_> = (0..6)
            .map(|_| {
                let reader = reader.try_clone().unwrap();
                let (tell, told) = mpsc::channel();
                thread::spawn(move || {
                    // Without `RWF_NOWAIT` each byte occupies one slot, and a single reader may receive all
                    // bytes.
                    let room = Capacity::Bytes(1 << 20);
                    let (_kept, sink) = Builder::new().capacity(room).build().unwrap();
                    let (answer, took) = until_deadline(by_copy(), reader, &sink);
                    let error = answer.unwrap_err();
                    tell.send((
                        error.side(),
                        error.errno(),
                        error.undelivered(),
                        error.bytes(),
                        took,
                    ))
                });
                told
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(1));
            writer.write_all(b"x").unwrap();
        }
        let mut bytes = 0;
        for told in all {
            let told = told.recv_timeout(HUNG).unwrap_or_else(|_| panic!("{turn}: it hangs"));
            let (side, errno, undelivered, moved, took) = told;
            assert_eq!((side, errno, undelivered), (Side::Source, Some(Errno::ETIMEDOUT), 0));
            assert!(took < Duration::from_secs(5), "{took:?}");
            bytes += usize::try_from(moved).unwrap();
        }
        assert_eq!(bytes + reader.available().unwrap(), 20, "{turn}");
    }
}

/// `poll` reports one free page, but another writer fills the page first. The transfer meets its deadline.
#[test]
fn transfer_deadline_copy_beside_other_writers() {
    for turn in 0..10 {
        let (reader, writer) = Builder::new().capacity(Capacity::Bytes(4096)).build().unwrap();
        writer.write_all(&[0; 4096]).unwrap();
        let others: Vec<_> = (0..6)
            .map(|_| {
                let writer = writer.try_clone().unwrap();
                thread::spawn(move || writer.write_all(&[9; 4096]))
            })
            .collect();
        let making_room = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            reader.read_exact(&mut [0; 4096]).unwrap();
            reader
        });
        let (error, took) = in_time("beside writers", move || {
            let source = file(&data(100_000));
            let (answer, took) = until_deadline(by_copy(), &source, &writer);
            let error = answer.unwrap_err();
            ((error.side(), error.errno()), took)
        });
        assert_eq!(error, (Side::Sink, Some(Errno::ETIMEDOUT)), "{turn}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        drop(making_room.join().unwrap());
        for other in others {
            let _ = other.join().unwrap();
        }
    }
}

/// `O_NONBLOCK` belongs to the open file, so another process can clear this flag during the transfer. The
/// transfer still meets its deadline.
#[test]
fn transfer_deadline_holds_although_a_pipe_becomes_blocking() {
    for source_side in [true, false] {
        let (source, feed) = Builder::new().nonblocking().build().unwrap();
        let (drain, sink) = Builder::new().nonblocking().build().unwrap();
        feed.write_all(b"first").unwrap();
        if !source_side {
            let room = sink.capacity().unwrap();
            sink.write_all(&vec![0; room]).unwrap();
            feed.write_all(&[0; 20_000]).unwrap();
        }
        let flags = (source.try_clone().unwrap(), sink.try_clone().unwrap());
        let changing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            if source_side {
                flags.0.set_nonblocking(false).unwrap();
                feed.write_all(b"x").unwrap();
            } else {
                flags.1.set_nonblocking(false).unwrap();
                drain.read_exact(&mut [0; 4096]).unwrap();
            }
            (feed, drain)
        });
        let (error, took) = in_time("a pipe that becomes blocking", move || {
            let (answer, took) = until_deadline(by_copy(), &source, &sink);
            let error = answer.unwrap_err();
            ((error.side(), error.errno()), took)
        });
        let side = if source_side { Side::Source } else { Side::Sink };
        assert_eq!(error, (side, Some(Errno::ETIMEDOUT)));
        assert!(took < Duration::from_secs(5), "{took:?}");
        drop(changing.join().unwrap());
    }
}

/// Returns the processor time of this thread.
fn thread_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

/// Returns a time long enough to detect that a thread works instead of waiting. On a slow machine, the work
/// before and after the wait takes longer.
fn moment() -> Duration {
    Duration::from_millis(if common::slow() { 3000 } else { 500 })
}

/// Asserts that a thread that has waited for a [`moment`] has used little processor time.
fn assert_idle(what: &str, spent: Duration) {
    let measured = common::tool().is_none() && !common::emulated();
    assert!(!measured || spent < moment() * 3 / 10, "{what}: {spent:?} of work");
}

/// While no byte can move, a transfer uses almost no processor time, even if its ends are nonblocking.
#[test]
fn transfer_between_nonblocking_ends_sleeps_while_nothing_moves() {
    type Pair = (&'static str, OwnedFd, OwnedFd);
    let pipes = |silent: bool| -> (Pair, Box<dyn Write + Send>, Box<dyn Read + Send>) {
        let (input, to_input) = rawpipe::pipe().unwrap();
        let (from_output, output) = rawpipe::pipe().unwrap();
        input.set_nonblocking(true).unwrap();
        output.set_nonblocking(true).unwrap();
        let what = if silent { "an empty pipe" } else { "a full pipe" };
        ((what, input.into(), output.into()), Box::new(to_input), Box::new(from_output))
    };
    let sockets = || -> (Pair, Box<dyn Write + Send>, Box<dyn Read + Send>) {
        let (to_input, input) = UnixStream::pair().unwrap();
        let (from_output, output) = UnixStream::pair().unwrap();
        input.set_nonblocking(true).unwrap();
        output.set_nonblocking(true).unwrap();
        (("sockets", input.into(), output.into()), Box::new(to_input), Box::new(from_output))
    };
    let bytes = data(2 << 20);
    for (ends, silent) in [(pipes(true), true), (pipes(false), false), (sockets(), false)] {
        let ((what, input, output), to_input, mut from_output) = ends;
        thread::scope(|scope| {
            let moving = scope.spawn(move || {
                let done = transfer(&input, &output).unwrap();
                (done.bytes(), thread_time())
            });
            let bytes = &bytes;
            let feed = move || {
                let mut to = to_input;
                to.write_all(bytes).unwrap();
            };
            if silent {
                thread::sleep(moment());
                scope.spawn(feed);
            } else {
                scope.spawn(feed);
                thread::sleep(moment()); // the output becomes full during this time
            }
            let mut arrived = Vec::new();
            from_output.read_to_end(&mut arrived).unwrap();
            assert!(arrived == *bytes, "{what}");
            let (count, spent) = moving.join().unwrap();
            assert_eq!(count, bytes.len() as u64, "{what}");
            assert_idle(what, spent);
        });
    }
}

/// Returns the two ends of a connection, or `None` if the kernel provides no time stamps. `poll` always
/// reports an error on the first end, because its error queue holds the time stamp of a packet.
fn with_error_queue(nonblocking: bool) -> Option<(TcpStream, TcpStream)> {
    const SOL_SOCKET: i32 = 1;
    const SO_TIMESTAMPING: i32 = 37;
    const TX_SOFTWARE_AND_REPORT: i32 = 2 | 16;
    let (mut near, mut far) = tcp();
    let flags = TX_SOFTWARE_AND_REPORT;
    let fd = near.as_raw_fd();
    // SAFETY: the call reads an `int`.
    if unsafe { setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &raw const flags, 4) } != 0 {
        return None;
    }
    near.write_all(b"?").unwrap();
    far.read_exact(&mut [0; 1]).unwrap();
    near.set_nonblocking(nonblocking).unwrap();
    let mut fds = [rawpipe::event::PollFd::new(&near, rawpipe::event::PollEvents::IN)];
    let found = rawpipe::event::poll(&mut fds, Some(Duration::from_secs(1))).unwrap();
    (found == 1 && fds[0].revents() == rawpipe::event::PollEvents::ERR).then_some((near, far))
}

#[test]
fn transfer_deadline_with_an_error_queue() {
    for nonblocking in [true, false] {
        if !nonblocking && !sockets_need_not_wait() {
            break;
        }
        for to_file in [true, false] {
            let Some((near, _far)) = with_error_queue(nonblocking) else {
                println!("SKIPPED: no error queue to be had");
                return;
            };
            let (_reader, writer) = rawpipe::pipe().unwrap();
            let to = file(b"");
            let begun = Instant::now();
            let deadline = Deadline::after(moment());
            let error = in_time("a deadline", move || {
                let options = Transfer::new().deadline(deadline);
                let to = if to_file { to.as_fd() } else { writer.as_fd() };
                let error = options.run(&near, to).unwrap_err();
                (error.side(), error.errno(), thread_time())
            });
            assert_eq!((error.0, error.1), (Side::Source, Some(Errno::ETIMEDOUT)));
            assert!(begun.elapsed() < Duration::from_secs(10));
            assert_idle("with an error queue", error.2);
        }
    }
}

/// Reads all bytes with std, for comparisons with a transfer.
fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn transfer_urgent_data_is_not_the_end() {
    const MSG_OOB: i32 = 1;
    let speak = |mut far: TcpStream| {
        far.write_all(b"before").unwrap();
        // SAFETY: the call reads one byte.
        assert_eq!(unsafe { send(far.as_raw_fd(), b"!".as_ptr(), 1, MSG_OOB) }, 1);
        far.write_all(b"behind").unwrap();
    };
    let (near, far) = tcp();
    speak(far);
    let expected = read_all(near);
    assert_eq!(expected, b"beforebehind");

    for sink in ["pipe", "socket", "file", "fanout"] {
        let (near, far) = tcp();
        speak(far);
        let arrived = match sink {
            "pipe" => {
                let (reader, writer) = rawpipe::pipe().unwrap();
                let done = transfer(&near, &writer).unwrap();
                assert_eq!(done.bytes(), 12);
                // At the urgent mark `splice` moves nothing and returns no error.
                let why = done.fallback().map(|first| (first.mechanism(), first.errno()));
                assert_eq!(why, Some((TransferMechanism::Broker, None)));
                drop(writer);
                read_all(&reader)
            }
            "socket" => {
                let (to, there) = UnixStream::pair().unwrap();
                assert_eq!(transfer(&near, &to).unwrap().bytes(), 12);
                drop(to);
                read_all(there)
            }
            "file" => {
                let to = file(b"");
                assert_eq!(transfer(&near, &to).unwrap().bytes(), 12);
                common::bytes::all_of(&to)
            }
            _ => {
                let (reader, writer) = rawpipe::pipe().unwrap();
                assert_eq!(fanout(&near, &mut [FanoutSink::new(&writer)]).unwrap().bytes(), 12);
                drop(writer);
                read_all(&reader)
            }
        };
        assert_eq!(arrived, expected, "{sink}");
    }
}

/// Returns both ends of a link that preserves record boundaries and supports end of file.
fn seqpacket() -> (OwnedFd, OwnedFd) {
    const AF_UNIX: i32 = 1;
    const SOCK_SEQPACKET: i32 = 5;
    let mut fds = [0; 2];
    // SAFETY: the call writes two descriptors.
    assert_eq!(unsafe { socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds.as_mut_ptr()) }, 0);
    // SAFETY: the kernel just created this descriptor, and no other code owns it.
    let one = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: the kernel just created this second descriptor, and no other code owns it.
    (one, unsafe { OwnedFd::from_raw_fd(fds[1]) })
}

const WITH_EMPTY_ONES: [&str; 6] = ["one", "", "two", "", "", "three"];

#[test]
fn transfer_empty_datagram_is_not_the_end() {
    let (near, far) = UnixDatagram::pair().unwrap();
    for text in WITH_EMPTY_ONES {
        far.send(text.as_bytes()).unwrap();
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    let near = in_time("datagrams", move || {
        assert_eq!(Transfer::new().exact(11).run(&near, &writer).unwrap().bytes(), 11);
        near
    });
    assert_eq!(read_all(&reader), b"onetwothree");
    // A stream of datagrams reaches end of file only if the socket is shut down.
    near.shutdown(std::net::Shutdown::Read).unwrap();
    assert_eq!(in_time("no datagrams", move || transfer(&near, file(b"")).unwrap().bytes()), 0);
}

/// A `progress` closure can end a transfer even if the source delivers only empty datagrams.
#[test]
fn transfer_of_empty_datagrams_can_be_ended_by_progress() {
    let (near, far) = UnixDatagram::pair().unwrap();
    for _ in 0..5 {
        far.send(b"").unwrap();
    }
    let calls = in_time("empty datagrams", move || {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        let (mut calls, begun) = (0, Instant::now());
        let mut watch = |done| {
            calls += 1;
            assert_eq!(done, 0);
            if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let deadline = Deadline::after(HUNG / 2);
        let done = Transfer::new().deadline(deadline).progress(&mut watch).run(&near, &writer);
        assert!(done.is_ok_and(|done| done.bytes() == 0) && begun.elapsed() < HUNG / 2);
        near.set_nonblocking(true).unwrap();
        let left = (0..5).take_while(|_| near.recv(&mut [0]).is_ok()).count();
        (calls, left)
    });
    assert_eq!(calls, (3, 2));
}

/// A transfer between datagram sockets also passes on empty datagrams.
#[test]
fn transfer_empty_datagram_arrives_as_one() {
    let (near, far) = UnixDatagram::pair().unwrap();
    let (to, there) = UnixDatagram::pair().unwrap();
    for text in WITH_EMPTY_ONES {
        far.send(text.as_bytes()).unwrap();
    }
    assert_eq!(Transfer::new().exact(11).run(&near, &to).unwrap().bytes(), 11);
    let mut buf = [0; 10];
    let lengths: Vec<_> = WITH_EMPTY_ONES.iter().map(|_| there.recv(&mut buf).unwrap()).collect();
    assert_eq!(lengths, WITH_EMPTY_ONES.map(str::len));
}

#[test]
fn transfer_empty_record_is_not_the_end() {
    let (from, feed) = seqpacket();
    for text in WITH_EMPTY_ONES {
        rawpipe::write(&feed, text.as_bytes()).unwrap();
    }
    drop(feed);
    let to = file(b"");
    let read = to.try_clone().unwrap();
    assert_eq!(in_time("records", move || transfer(&from, &to).unwrap().bytes()), 11);
    assert_eq!(common::bytes::all_of(&read), b"onetwothree");
}

#[test]
fn transfer_records_keep_their_boundaries() {
    let (from, feed) = seqpacket();
    let (to, there) = seqpacket();
    for text in ["one", "second", "3"] {
        rawpipe::write(&feed, text.as_bytes()).unwrap();
    }
    rawpipe::write(&feed, &data(20_000)).unwrap();
    drop(feed);
    assert_eq!(in_time("records", move || transfer(&from, &to).unwrap().bytes()), 20_010);
    let mut buf = vec![0; 30_000];
    let lengths: Vec<_> = (0..5).map(|_| rawpipe::read(&there, &mut buf).unwrap()).collect();
    assert_eq!(lengths, [3, 6, 1, 20_000, 0]);
}

#[test]
fn transfer_end_of_a_terminal_is_asked_for_once() {
    if !terminals() {
        return;
    }
    for way in ["pipe", "file", "fanout", "discard"] {
        let (tty, mut keyboard) = terminal();
        keyboard.write_all(b"first\n\x04second\n").unwrap();
        let (reader, writer) = rawpipe::pipe().unwrap();
        let (tty, bytes) = in_time(way, move || {
            let bytes = match way {
                "pipe" => transfer(&tty, &writer).unwrap().bytes(),
                "file" => transfer(&tty, file(b"")).unwrap().bytes(),
                "fanout" => fanout(&tty, &mut [FanoutSink::new(&writer)]).unwrap().bytes(),
                _ => rawpipe::transfer::discard(&tty, None).unwrap(),
            };
            (tty, bytes)
        });
        assert_eq!(bytes, 6, "{way}");
        let mut rest = [0; 100];
        let count =
            in_time(way, move || (&tty).read(&mut rest).map(|count| rest[..count].to_vec()));
        assert_eq!(count.unwrap(), b"second\n", "{way}");
        drop(reader);
    }
}

/// `poll` reports a terminal as ready if one byte fits, but a blocking write of more bytes sleeps. The
/// transfer still fails with `ETIMEDOUT`.
#[test]
fn transfer_deadline_blocking_terminal_that_no_process_reads_etimedout() {
    if !terminals() {
        return;
    }
    // Different numbers of bytes are written before the transfer, so the amount of free space varies.
    for (before, expands) in [(0, false), (0, true), (333, true), (777, false), (1000, true)] {
        for master in [false, true] {
            let (screen, keyboard) = terminal();
            common::set_output(&screen, expands);
            let bytes = b"a line,\ta tab\n\n\t\t".repeat(20_000);
            let (mut seen, sink) = if master { (screen, keyboard) } else { (keyboard, screen) };
            assert_eq!(rawpipe::io::try_write(&sink, b"1"), Err(Errno::EOPNOTSUPP));
            (&sink).write_all(&bytes[..before]).unwrap();
            let what = format!("{before} before, {expands}, master {master}");
            let (mut error, sink, bytes) = in_time(&what, move || {
                let deadline = Deadline::after(Duration::from_millis(100));
                let error = Transfer::new().deadline(deadline).run(file(&bytes), &sink);
                (error.unwrap_err(), sink, bytes)
            });
            assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::ETIMEDOUT)));
            let arrived = usize::try_from(error.bytes()).unwrap();
            assert!(arrived > 1_000, "{what}: {arrived}");
            let mut rest = vec![0; error.undelivered()];
            assert_eq!(error.read_undelivered(&mut rest), Ok(rest.len()));
            assert!(bytes[arrived..].starts_with(&rest), "{what}");
            // If a terminal does not expand its output, its peer reads exactly these bytes.
            if !master && !expands {
                let mut shown = vec![0; before + arrived];
                seen.read_exact(&mut shown).unwrap();
                assert!(shown[..before] == bytes[..before] && shown[before..] == bytes[..arrived]);
            }
            drop(sink);
        }
    }
}

/// A fan-out to a terminal and a file works like `tee`. The fan-out's writes to the terminal also meet the
/// deadline.
#[test]
fn fanout_deadline_blocking_terminal_that_no_process_reads_etimedout() {
    if !terminals() {
        return;
    }
    let (screen, keyboard) = terminal();
    let arrived = in_time("a fan-out to a terminal", move || {
        let (log, bytes) = (file(b""), data(200_000));
        let mut sinks = [FanoutSink::new(&screen), FanoutSink::new(&log)];
        let deadline = Deadline::after(Duration::from_millis(100));
        let done = Fanout::new().deadline(deadline).run(file(&bytes), &mut sinks).unwrap();
        let error = sinks[0].error().unwrap();
        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::ETIMEDOUT)));
        (done.bytes(), sinks[1].bytes())
    });
    assert_eq!(arrived, (200_000, 200_000));
    drop(keyboard);
}

fn reset_by_its_peer() -> TcpStream {
    let (near, far) = tcp();
    // Closing a socket that holds unread bytes resets the connection.
    (&near).write_all(b"unread").unwrap();
    thread::sleep(Duration::from_millis(50));
    drop(far);
    thread::sleep(Duration::from_millis(50));
    near
}

#[test]
fn transfer_reset_econnreset_is_the_sources() {
    for sink in ["pipe", "file", "socket", "null"] {
        let near = reset_by_its_peer();
        let (_reader, writer) = rawpipe::pipe().unwrap();
        let (socket, _there) = UnixStream::pair().unwrap();
        let to: OwnedFd = match sink {
            "pipe" => writer.into(),
            "file" => file(b"").into(),
            "socket" => socket.into(),
            _ => File::options().write(true).open("/dev/null").unwrap().into(),
        };
        let error = transfer(&near, &to).unwrap_err();
        assert_eq!(
            (error.side(), error.errno()),
            (Side::Source, Some(Errno::ECONNRESET)),
            "{sink}"
        );
    }
}

#[test]
fn transfer_o_path_ebadf_names_the_side() {
    const O_PATH: i32 = 0o10_000_000;
    use std::os::unix::fs::OpenOptionsExt;
    let path = tmp_path();
    fs::write(&path, b"contents").unwrap();
    let unreadable = File::options().read(true).custom_flags(O_PATH).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (socket, _there) = UnixStream::pair().unwrap();
    for sink in [writer.as_fd(), socket.as_fd(), file(b"").as_fd()] {
        let error = transfer(&unreadable, sink).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Source, Some(Errno::EBADF)));
    }
    writer.write_all(b"kept").unwrap();
    let error = transfer(&reader, &unreadable).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EBADF)));
    assert_eq!((error.undelivered(), reader.available().unwrap()), (0, 4));
}

/// Returns a source and a sink that refer to the same file, so a transfer may read its own output.
fn fed_by_itself(position: u64, append: bool) -> (File, File) {
    let path = tmp_path();
    fs::write(&path, data(10_000)).unwrap();
    let source = File::open(&path).unwrap();
    let mut sink = File::options().write(!append).append(append).open(&path).unwrap();
    sink.seek(SeekFrom::Start(position)).unwrap();
    fs::remove_file(&path).unwrap();
    (source, sink)
}

#[test]
fn transfer_of_a_file_to_itself_without_end_einval() {
    for (position, append) in [(0, false), (1, false), (5_000, false), (10_000, false), (0, true)] {
        let (source, sink) = fed_by_itself(position, append);
        let mut brake = |done| {
            if done > 1_000_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = Transfer::new().progress(&mut brake).run(&source, &sink).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EINVAL)), "{position}");
        assert_eq!(source.metadata().unwrap().len(), 10_000);

        let (source, sink) = fed_by_itself(position, append);
        let mut sinks = [FanoutSink::new(&sink)];
        let error = Fanout::new().progress(&mut brake).run(&source, &mut sinks).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EINVAL)), "{position}");
        assert_eq!(source.metadata().unwrap().len(), 10_000);
    }
    // Although it reads its own output, a transfer with `exact` set ends.
    let (source, sink) = fed_by_itself(10_000, false);
    assert_eq!(Transfer::new().exact(25_000).run(&source, &sink).unwrap().bytes(), 25_000);
    assert_eq!(source.metadata().unwrap().len(), 35_000);
    // The sink's position precedes the source's position, so the transfer does not read its own output.
    let (mut source, sink) = fed_by_itself(0, false);
    source.seek(SeekFrom::Start(4_000)).unwrap();
    assert_eq!(transfer(&source, &sink).unwrap().bytes(), 6_000);
    assert_eq!(source.metadata().unwrap().len(), 10_000);
    // An empty file has no bytes to copy.
    let empty = file(b"");
    assert_eq!(transfer(&empty, &empty).unwrap().bytes(), 0);
}

#[test]
fn fanout_into_its_own_source_einval() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (_other, to_other) = rawpipe::pipe().unwrap();
    writer.write_all(b"round and round").unwrap();
    let mut sinks = [FanoutSink::new(&to_other), FanoutSink::new(&writer)];
    let mut brake = |_| ControlFlow::Break(());
    let fan = Fanout::new().progress(&mut brake);
    let error = fan.run(&reader, &mut sinks).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EINVAL)));
    assert_eq!(reader.available().unwrap(), 15);
}

/// The bytes in an error can be read with a buffer shorter than a packet, and no byte is lost.
#[test]
fn transfer_error_holds_packets_whole() {
    let (reader, writer) = Builder::new().packet().build().unwrap();
    for packet in [&b"first packet"[..], b"second", b"3"] {
        writer.write_all(packet).unwrap();
    }
    drop(writer);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (socket, there) = UnixStream::pair().unwrap();
    drop(there);
    for sink in [full.as_fd(), socket.as_fd()] {
        let (reader, writer) = Builder::new().packet().build().unwrap();
        writer.write_all(b"first packet").unwrap();
        writer.write_all(b"second").unwrap();
        drop(writer);
        let mut error = transfer(&reader, sink).unwrap_err();
        assert_eq!(error.side(), Side::Sink);
        let mut rescued = Vec::new();
        let mut buf = [0; 5];
        while let count @ 1.. = error.read_undelivered(&mut buf).unwrap() {
            rescued.extend_from_slice(&buf[..count]);
        }
        rescued.extend(read_all(&reader));
        assert_eq!(rescued, b"first packetsecond");
    }
    drop(reader);
}

/// A transfer from a datagram socket also meets its deadline when the socket's error queue holds an entry.
#[test]
fn transfer_deadline_of_a_datagram_socket_with_an_error_queue() {
    const SOL_IP: i32 = 0;
    const IP_RECVERR: i32 = 11;
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let gone = UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let on = 1;
    let fd = socket.as_raw_fd();
    // SAFETY: the call reads an `int`.
    if unsafe { setsockopt(fd, SOL_IP, IP_RECVERR, &raw const on, 4) } != 0 {
        println!("SKIPPED: no error queue to be had");
        return;
    }
    socket.set_nonblocking(!sockets_need_not_wait()).unwrap();
    socket.connect(gone).unwrap();
    socket.send(b"no reader").unwrap();
    thread::sleep(Duration::from_millis(50));
    // The socket reports the error only once, but the entry stays in the queue.
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let mut errors = Vec::new();
    let errors_of = in_time("a datagram socket", move || {
        for _ in 0..2 {
            let deadline = Deadline::after(Duration::from_millis(100));
            let error = Transfer::new().deadline(deadline).run(&socket, &writer).unwrap_err();
            errors.push((error.side(), error.errno()));
        }
        errors
    });
    assert_eq!(errors_of[1], (Side::Source, Some(Errno::ETIMEDOUT)));
    assert!(matches!(errors_of[0], (Side::Source, Some(Errno::ECONNREFUSED | Errno::ETIMEDOUT))));
}
