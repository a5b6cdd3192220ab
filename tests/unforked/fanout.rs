//! One source to several sinks: every sink gets every byte, and one that fails harms no other.
//!
//! No test here makes a process: see `pipe`.
#![cfg(all(feature = "std", feature = "transfer"))]

use crate::common::bytes::{all_of, data};
use crate::common::{self, append_file, closed_fd, file};
use rawpipe::Errno;
use rawpipe::fd::AsFd;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{FanoutSink, Side, fanout};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

/// From a pipe that another thread feeds, to a file, a pipe and a socket that others read.
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
    // Each write is a slot of its own, of another length.
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
        let mut sinks = targets.each_ref().map(|target| FanoutSink::new(target));
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
            // The round that failed is still there for the caller.
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

/// A sink that fails late: its error counts what has arrived in all rounds.
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
    writer.write_all(b"for nobody").unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut sinks = [FanoutSink::new(&full), FanoutSink::new(&full)];
    // The writer is still there, so this would wait for ever if it did not end.
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
