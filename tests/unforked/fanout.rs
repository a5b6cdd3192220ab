//! Tests the fan-out from one source to several sinks: every sink receives every byte, and a failing sink
//! does not affect the others. Also tests limits, deadlines and the closure that receives the errors of
//! sinks.
//!
//! No test in this file creates a process. `pipe.rs` gives the reason.
#![cfg(all(feature = "std", feature = "transfer"))]

use crate::common::bytes::{all_of, data};
use crate::common::{self, append_file, closed_fd, file};
use rawpipe::fd::{AsFd, BorrowedFd, OwnedFd};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{Fanout, FanoutSink, Side, TransferError, TransferMechanism, fanout};
use rawpipe::{Deadline, Errno};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// Sends the bytes from a source to a file, a pipe and a socket. Other threads write to the source and read
/// from the sinks.
fn everywhere(bytes: &[u8], source: &str, capacity: Capacity) {
    let (reader, writer) = Builder::new().capacity(capacity).build().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let from_file = file(bytes);
    let target = file(b"");
    let (pipe_reader, pipe_writer) = rawpipe::pipe().unwrap();
    pipe_writer.set_nonblocking(true).unwrap();
    let (socket, mut far_socket) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let from = match source {
            "pipe" => {
                scope.spawn(move || writer.write_all(bytes).unwrap());
                reader.as_fd()
            }
            "socket" => {
                scope.spawn(move || far.write_all(bytes).unwrap());
                near.as_fd()
            }
            _ => from_file.as_fd(),
        };
        let by_pipe = scope.spawn(move || {
            let mut arrived = Vec::new();
            pipe_reader.read_to_end(&mut arrived).unwrap();
            arrived
        });
        let by_socket = scope.spawn(move || {
            let mut arrived = Vec::new();
            far_socket.read_to_end(&mut arrived).unwrap();
            arrived
        });
        let mut sinks =
            [FanoutSink::new(&target), FanoutSink::new(&pipe_writer), FanoutSink::new(&socket)];
        assert_eq!(fanout(from, &mut sinks).unwrap().bytes(), bytes.len() as u64, "{source}");
        for sink in &sinks {
            assert_eq!(sink.bytes(), bytes.len() as u64);
            assert!(sink.error().is_none());
        }
        drop((pipe_writer, socket));
        assert!(all_of(&target) == bytes, "{source} → file");
        assert!(by_pipe.join().unwrap() == bytes, "{source} → pipe");
        assert!(by_socket.join().unwrap() == bytes, "{source} → socket");
    });
}

#[test]
fn fanout_every_sink_gets_every_byte() {
    let bytes = data(if common::slow() { 200_001 } else { 5_000_001 });
    for source in ["pipe", "socket", "file"] {
        for capacity in [Capacity::Bytes(1), Capacity::Bytes(65_536), Capacity::Max] {
            everywhere(&bytes, source, capacity);
        }
    }
    everywhere(b"", "pipe", Capacity::Max);
    everywhere(b"x", "file", Capacity::Max);
}

#[test]
fn fanout_of_odd_little_pieces() {
    // Each write occupies one slot and has a different length.
    let bytes = data(100_000);
    let (reader, writer) = Builder::new().packet().build().unwrap();
    let targets = [file(b""), file(b""), file(b"")];
    thread::scope(|scope| {
        let bytes = &bytes;
        scope.spawn(move || {
            let mut rest = &bytes[..];
            let mut len = 1;
            while !rest.is_empty() {
                len = (len * 5 + 1) % 1009;
                let (piece, tail) = rest.split_at(len.min(rest.len()));
                writer.write_all(piece).unwrap();
                rest = tail;
            }
        });
        let mut sinks = targets.each_ref().map(FanoutSink::new);
        assert_eq!(fanout(&reader, &mut sinks).unwrap().bytes(), 100_000);
    });
    for target in &targets {
        assert!(all_of(target) == bytes);
    }
}

#[test]
fn fanout_to_one_is_a_transfer() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"alone").unwrap();
    drop(writer);
    let target = append_file();
    let mut sinks = [FanoutSink::new(&target)];
    assert_eq!(fanout(&reader, &mut sinks).unwrap().bytes(), 5);
    assert_eq!(target.metadata().unwrap().len(), 5, "append mode, which splice does not do");
}

#[test]
fn fanout_broken_sink_is_dropped_with_its_error() {
    let bytes = data(300_000);
    let target = file(b"");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (gone, broken) = rawpipe::pipe().unwrap();
    drop(gone);
    let (reader, writer) = rawpipe::pipe().unwrap();
    thread::scope(|scope| {
        let bytes = &bytes;
        scope.spawn(move || writer.write_all(bytes).unwrap());
        let mut sinks =
            [FanoutSink::new(&full), FanoutSink::new(&target), FanoutSink::new(&broken)];
        assert_eq!(fanout(&reader, &mut sinks).unwrap().bytes(), 300_000);
        assert_eq!((sinks[1].bytes(), sinks[1].error().is_none()), (300_000, true));
        for (index, errno) in [(0, Errno::ENOSPC), (2, Errno::EPIPE)] {
            assert_eq!(sinks[index].bytes(), 0);
            let mut error = sinks[index].take_error().unwrap();
            assert_eq!((error.side(), error.errno()), (Side::Sink, Some(errno)));
            // The error holds the bytes that this sink failed to receive.
            let mut rescued = vec![0; error.undelivered()];
            let mut count = 0;
            while let Ok(more @ 1..) = error.read_undelivered(&mut rescued[count..]) {
                count += more;
            }
            assert!(count > 0 && rescued[..count] == bytes[..count], "{count}");
        }
    });
    assert!(all_of(&target) == bytes);
}

/// If a sink fails late, its error counts all bytes that arrived at the sink before the failure.
#[test]
fn fanout_error_of_a_sink_counts_all_that_arrived() {
    let bytes = data(1_000_000);
    let (far, late) = rawpipe::pipe().unwrap();
    let source = file(&bytes);
    let target = file(b"");
    let reading = thread::spawn(move || {
        far.read_exact(&mut vec![0; 300_000]).unwrap();
    });
    let mut sinks = [FanoutSink::new(&late), FanoutSink::new(&target)];
    assert_eq!(fanout(&source, &mut sinks).unwrap().bytes(), 1_000_000);
    reading.join().unwrap();
    let arrived = sinks[0].bytes();
    assert!(arrived >= 300_000);
    assert_eq!(sinks[0].error().map(|error| error.bytes()), Some(arrived));
    assert!(all_of(&target) == bytes);
}

#[test]
fn fanout_ends_when_no_sink_is_left() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"no reader.").unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut sinks = [FanoutSink::new(&full), FanoutSink::new(&full)];
    // The writer is still open, so a fan-out that continued without sinks would wait indefinitely.
    let error = fanout(&reader, &mut sinks).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::ENOSPC)));
    assert_eq!(error.bytes(), 0);
}

#[test]
fn fanout_bad_source_names_it() {
    let target = file(b"");
    let (_reader, writer) = rawpipe::pipe().unwrap();
    for from in [closed_fd(), writer.as_fd()] {
        let mut sinks = [FanoutSink::new(&target), FanoutSink::new(&target)];
        let error = fanout(from, &mut sinks).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Source, Some(Errno::EBADF)));
    }
}

// ---- limits, deadlines, and sinks that fail ----

/// Returns all bytes that an error holds.
fn undelivered(error: &mut TransferError) -> Vec<u8> {
    let mut all = vec![0; error.undelivered()];
    let mut count = 0;
    while let Ok(more @ 1..) = error.read_undelivered(&mut all[count..]) {
        count += more;
    }
    assert_eq!(count, all.len());
    all
}

/// Returns a source that delivers these bytes and then end of file. If necessary, another thread writes to
/// the source.
fn source<'scope>(
    kind: &str,
    bytes: &'scope [u8],
    scope: &'scope thread::Scope<'scope, '_>,
) -> OwnedFd {
    match kind {
        "pipe" => {
            let (reader, writer) = rawpipe::pipe().unwrap();
            scope.spawn(move || _ = writer.write_all(bytes));
            reader.into()
        }
        "socket" => {
            let (near, mut far) = UnixStream::pair().unwrap();
            scope.spawn(move || _ = far.write_all(bytes));
            near.into()
        }
        _ => file(bytes).into(),
    }
}

#[test]
fn fanout_limit_and_exact_leave_the_rest_in_the_source() {
    let bytes = data(400_000);
    for kind in ["pipe", "socket", "file"] {
        for most in [0, 1, 4095, 4096, 65_537, 399_999, 400_000] {
            for exact in [false, true] {
                thread::scope(|scope| {
                    let from = source(kind, &bytes, scope);
                    let targets = [file(b""), file(b""), file(b"")];
                    let mut sinks = targets.each_ref().map(FanoutSink::new);
                    let fan = Fanout::new();
                    let fan = if exact { fan.exact(most) } else { fan.limit(most) };
                    let done = fan.run(&from, &mut sinks).unwrap();
                    assert_eq!(done.bytes(), most, "{kind}, {exact}");
                    let count = usize::try_from(most).unwrap();
                    assert!(targets.iter().all(|target| all_of(target) == bytes[..count]));
                    let mut rest = Vec::new();
                    rawpipe::io::read_to_end(&from, &mut rest).unwrap();
                    assert!(rest == bytes[count..], "{kind}, {exact}, {most}");
                });
            }
        }
        thread::scope(|scope| {
            let from = source(kind, &bytes, scope);
            let target = file(b"");
            let mut sinks = [FanoutSink::new(&target)];
            let error = Fanout::new().exact(400_001).run(&from, &mut sinks).unwrap_err();
            let told = (error.side(), error.errno(), error.bytes(), error.undelivered());
            assert_eq!(told, (Side::Source, None, 400_000, 0), "{kind}");
            let done = Fanout::new().limit(5).run(&from, &mut sinks).unwrap();
            assert_eq!((done.bytes(), sinks[0].bytes()), (0, 400_000));
        });
    }
}

/// In a fan-out to a hundred sinks, every sink that does not fail receives all bytes.
#[test]
fn fanout_to_a_hundred_sinks() {
    let bytes = data(200_003);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for kind in ["pipe", "socket", "file"] {
        thread::scope(|scope| {
            let from = source(kind, &bytes, scope);
            let targets: Vec<_> = (0..90).map(|_| file(b"")).collect();
            let mut sinks: Vec<_> = targets.iter().map(FanoutSink::new).collect();
            (0..10).for_each(|at| sinks.insert(9 * at, FanoutSink::new(&full)));
            let done = fanout(&from, &mut sinks).unwrap();
            assert_eq!((done.bytes(), done.fell_back()), (200_003, false));
            assert!(targets.iter().all(|target| all_of(target) == bytes), "{kind}");
            for (index, sink) in sinks.iter_mut().enumerate() {
                match sink.take_error() {
                    Some(mut error) => {
                        assert_eq!((error.errno(), sink.bytes()), (Some(Errno::ENOSPC), 0));
                        assert!(bytes.starts_with(&undelivered(&mut error)));
                        assert_eq!((index % 9, index < 90), (0, true));
                    }
                    None => assert_eq!(sink.bytes(), 200_003),
                }
            }
        });
    }
}

/// The fan-out stops at the first failure, as `tee --output-error=exit` does, and the count for each sink is
/// exact.
#[test]
fn fanout_on_error_break_ends_it_with_exact_accounts() {
    let bytes = data(2_000_000);
    for kind in ["pipe", "socket", "file"] {
        for place in 0..3 {
            thread::scope(|scope| {
                let from = source(kind, &bytes, scope);
                // The reader of this sink is closed after 300,000 bytes, so the sink fails after several
                // successful writes.
                let (far, late) = rawpipe::pipe().unwrap();
                scope.spawn(move || far.read_exact(&mut vec![0; 300_000]).unwrap());
                let targets = [file(b""), file(b"")];
                let mut sinks: Vec<_> = targets.iter().map(FanoutSink::new).collect();
                sinks.insert(place, FanoutSink::new(&late));
                let mut told = Vec::new();
                let mut tell = |index: usize, error: &TransferError| {
                    told.push((index, error.errno(), error.bytes()));
                    ControlFlow::Break(())
                };
                let fan = Fanout::new().on_error(&mut tell);
                let mut error = fan.run(&from, &mut sinks).unwrap_err();
                assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EPIPE)));
                assert_eq!(told, [(place, Some(Errno::EPIPE), sinks[place].bytes())]);
                assert!(sinks[place].bytes() >= 300_000);
                let all = error.bytes();
                let held = undelivered(&mut error);
                let mut rest = Vec::new();
                rawpipe::io::read_to_end(&from, &mut rest).unwrap();
                let others = [0, 1, 2].into_iter().filter(|index| *index != place);
                for (index, target) in others.zip(&targets) {
                    let arrived = all_of(target);
                    let ahead = arrived.len() - usize::try_from(all).unwrap();
                    // Sinks that precede the failed sink in the list have received the last bytes that were
                    // read, but later sinks have not.
                    assert_eq!(ahead, if index < place { held.len() } else { 0 }, "{kind} {place}");
                    assert!([&arrived, &held[ahead..], &rest].concat() == bytes, "{kind} {place}");
                }
            });
        }
    }
}

#[test]
fn fanout_on_error_continue_is_told_of_each() {
    let bytes = data(100_000);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let target = file(b"");
    let mut sinks = [&full, &target, &full].map(FanoutSink::new);
    let mut told = Vec::new();
    let mut tell = |index: usize, error: &TransferError| {
        told.push((index, error.errno()));
        ControlFlow::Continue(())
    };
    let done = Fanout::new().on_error(&mut tell).run(file(&bytes), &mut sinks).unwrap();
    assert_eq!(done.bytes(), 100_000);
    assert!(all_of(&target) == bytes);
    assert_eq!(told, [(0, Some(Errno::ENOSPC)), (2, Some(Errno::ENOSPC))]);
    // A sink with an error is skipped until the caller removes the error.
    let again = Fanout::new().run(file(b"more"), &mut sinks).unwrap();
    assert_eq!((again.bytes(), sinks[1].bytes(), sinks[0].bytes()), (4, 100_004, 0));
    assert!(sinks[0].take_error().is_some());
    Fanout::new().run(file(b"more"), &mut sinks).unwrap();
    assert_eq!(sinks[0].error().unwrap().undelivered(), 4);
}

/// A sink whose pipe is full delays the other sinks until the deadline. The fan-out then drops this sink and
/// moves the remaining bytes to the other sinks.
#[test]
fn fanout_deadline_drops_the_silent_sink_and_serves_the_others() {
    let bytes = data(300_000);
    for place in 0..3 {
        for nonblocking in [false, true] {
            let targets = [file(b""), file(b"")];
            let (kept, silent) = rawpipe::pipe().unwrap();
            silent.set_nonblocking(nonblocking).unwrap();
            let room = silent.capacity().unwrap() as u64;
            let mut sinks: Vec<_> = targets.iter().map(FanoutSink::new).collect();
            sinks.insert(place, FanoutSink::new(&silent));
            let begun = Instant::now();
            let deadline = Deadline::after(Duration::from_millis(100));
            let done = Fanout::new().deadline(deadline).run(file(&bytes), &mut sinks).unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(100));
            assert_eq!(done.bytes(), 300_000, "what the source has is moved");
            assert!(targets.iter().all(|target| all_of(target) == bytes));
            let mut error = sinks[place].take_error().unwrap();
            let told = (error.side(), error.errno(), error.bytes());
            assert_eq!(told, (Side::Sink, Some(Errno::ETIMEDOUT), room));
            let mut arrived = vec![0; usize::try_from(room).unwrap()];
            kept.read_exact(&mut arrived).unwrap();
            arrived.extend(undelivered(&mut error));
            assert!(arrived.len() > 65_536 && bytes.starts_with(&arrived));
        }
    }
}

#[test]
fn fanout_deadline_silent_source_etimedout() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"so far").unwrap();
    let (socket, far) = UnixStream::pair().unwrap();
    rawpipe::io::write_all(&far, b"so far").unwrap();
    for from in [reader.as_fd(), socket.as_fd()] {
        let targets = [file(b""), file(b"")];
        let mut sinks = targets.each_ref().map(FanoutSink::new);
        let error = Fanout::new().deadline(Deadline::now()).run(from, &mut sinks).unwrap_err();
        let told = (error.side(), error.errno(), error.bytes(), error.undelivered());
        assert_eq!(told, (Side::Source, Some(Errno::ETIMEDOUT), 6, 0));
        assert!(targets.iter().all(|target| all_of(target) == b"so far"));
        assert!(sinks.iter().all(|sink| sink.error().is_none()));
    }
}

/// If a sink is the source file, the other sinks receive the bytes that were read, not the bytes that
/// replaced them in the file.
#[test]
fn fanout_into_its_own_file_serves_the_others() {
    for distance in [100, 4096, 10_000] {
        let both = file(&data(300_000));
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&both));
        let mut source = File::open(path).unwrap();
        source.seek(SeekFrom::Start(distance)).unwrap();
        let other = file(b"");
        let mut sinks = [FanoutSink::new(&both), FanoutSink::new(&other)];
        assert_eq!(fanout(&source, &mut sinks).unwrap().bytes(), 300_000 - distance);
        let mut expected = data(300_000);
        let distance = usize::try_from(distance).unwrap();
        assert!(all_of(&other) == expected[distance..], "{distance}");
        expected.copy_within(distance.., 0);
        assert!(all_of(&both) == expected, "{distance}");
    }
}

#[test]
fn fanout_mechanism_is_told() {
    use TransferMechanism::{Broker, Copy, Splice};
    let run = |from: BorrowedFd<'_>| {
        let (target, appended) = (file(b""), append_file());
        let (kept, pipe) = rawpipe::pipe().unwrap();
        let mut sinks =
            [FanoutSink::new(&target), FanoutSink::new(&appended), FanoutSink::new(&pipe)];
        let done = Fanout::new().run(from, &mut sinks).unwrap();
        assert_eq!(kept.available().unwrap() as u64, done.bytes());
        let of_sinks = sinks.each_ref().map(|sink| sink.transferred());
        assert_eq!(of_sinks.map(|sink| sink.mechanism()), [Splice, Copy, Splice]);
        let first = of_sinks[1].fallback().unwrap();
        assert_eq!((first.mechanism(), first.errno()), (Splice, Some(Errno::EINVAL)));
        assert!(!of_sinks[0].fell_back() && !of_sinks[2].fell_back());
        assert_ne!(done.mechanism(), Broker);
        (done.bytes(), done.mechanism(), done.fell_back())
    };
    assert_eq!(run(file(&data(9000)).as_fd()), (9000, Splice, false));
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&data(9000)).unwrap();
    drop(writer);
    assert_eq!(run(reader.as_fd()), (9000, Splice, false));
    // The fan-out reads one datagram at a time.
    let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
    far.send(&data(900)).unwrap();
    far.shutdown(std::net::Shutdown::Both).unwrap();
    near.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(run(near.as_fd()), (900, Copy, false));
}
