//! Checks whole streams. One thread writes at one end and another reads at the other end. A transfer between
//! these ends waits for both threads without a deadline.

use super::ends::{Pattern, capacity};
use arbitrary::Arbitrary;
use rawpipe::Wait;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::OwnedFd;
use rawpipe::pipe::Builder;
use rawpipe::transfer::{Side, Transfer};
use rawpipe::{Errno, io};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::thread;

#[derive(Arbitrary, Debug)]
pub(crate) struct Streams {
    from: End,
    to: End,
    len: u32,
    feeds: Vec<u16>,
    drains: Vec<u16>,
    exact: Option<u32>,
    chunk: Option<u16>,
    copy_semantics: bool,
    adaptive: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct End {
    socket: bool,
    nonblocking: bool,
    packet: bool,
    doubled: u8,
}

impl End {
    pub(crate) fn has_packets(self) -> bool {
        self.packet && !self.socket
    }

    /// Returns the reading and the writing end of the stream.
    pub(crate) fn open(self) -> (OwnedFd, OwnedFd) {
        if self.socket {
            let (one, other) = UnixStream::pair().unwrap();
            return (one.into(), other.into());
        }
        let builder = if self.packet { Builder::new().packet() } else { Builder::new() };
        let (reader, writer) = builder.build().unwrap();
        writer.set_capacity(capacity(self.doubled)).unwrap();
        (reader.into(), writer.into())
    }
}

/// Writes all bytes in pieces of these lengths, unless the reader is closed first.
pub(crate) fn feed(fd: &OwnedFd, mut bytes: &[u8], pieces: &[u16]) {
    let mut lens = pieces.iter().map(|&len| usize::from(len).max(1)).cycle();
    while !bytes.is_empty() {
        let len = lens.next().unwrap_or(1 << 16).min(bytes.len());
        match io::write_nosignal(fd, &bytes[..len]) {
            Ok(count) => bytes = &bytes[count..],
            // A write fails with `ECONNRESET` if the peer closed a socket that held unread data.
            Err(errno) => return assert!(matches!(errno, Errno::EPIPE | Errno::ECONNRESET)),
        }
    }
}

/// Reads until end of file in pieces of these lengths.
pub(crate) fn drain(fd: &OwnedFd, pieces: &[u16], packets: bool) -> Vec<u8> {
    let mut lens = pieces.iter().map(|&len| usize::from(len).max(1)).cycle();
    let mut all = Vec::new();
    loop {
        // A read discards the bytes of a packet that do not fit in the buffer.
        let len = if packets { 4096 } else { lens.next().unwrap_or(1 << 16) };
        let start = all.len();
        all.resize(start + len, 0);
        let count = loop {
            match io::read(fd, &mut all[start..]) {
                Err(Errno::EINTR) => {}
                result => break result.unwrap(),
            }
        };
        all.truncate(start + count);
        if count == 0 {
            return all;
        }
    }
}

pub(crate) fn run(streams: &Streams) {
    let mut len = streams.len as usize % 300_000;
    // Limit the number of short pieces, because each piece needs a call on both ends.
    let pieces = streams.feeds.iter().chain(&streams.drains).chain(&streams.chunk);
    if let Some(least) = pieces.min() {
        len = len.min(usize::from(*least).max(1) * 300);
    }
    let content = Pattern::new().bytes(len);
    let (source, feeder) = streams.from.open();
    let (drained, sink) = streams.to.open();
    io::set_nonblocking(&source, streams.from.nonblocking).unwrap();
    io::set_nonblocking(&sink, streams.to.nonblocking).unwrap();
    let mut watch = |_| ControlFlow::Continue(());
    let mut transfer = Transfer::new();
    if let Some(exact) = streams.exact {
        transfer = transfer.exact((exact % 400_000).into());
    }
    if let Some(chunk) = streams.chunk {
        // A read of a part of a packet discards the remaining bytes.
        let least = if streams.from.has_packets() { 4096 } else { 0 };
        transfer = transfer.chunk(usize::from(chunk).max(least)).progress(&mut watch);
    }
    if streams.copy_semantics {
        transfer = transfer.copy_semantics();
    }
    if streams.adaptive {
        transfer = transfer.wait(Wait::Adaptive);
    }
    let expected = streams.exact.map_or(content.len(), |exact| exact as usize % 400_000);
    let arrived = thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            let feeder = feeder;
            feed(&feeder, &content, &streams.feeds);
        });
        // Packets that are spliced between pipes stay packets.
        let packets = streams.to.has_packets() || streams.from.has_packets();
        let drained = &drained;
        let draining = scope.spawn(move || drain(drained, &streams.drains, packets));
        match transfer.run(&source, &sink) {
            Ok(done) => assert_eq!(done.bytes(), expected as u64),
            Err(error) => {
                assert!(content.len() < expected, "{error}");
                assert_eq!((error.side(), error.errno()), (Side::Source, None));
                assert_eq!((error.bytes(), error.undelivered()), (content.len() as u64, 0));
                let mut fds = [PollFd::new(&source, PollEvents::IN)];
                assert!(poll(&mut fds, None) == Ok(1), "not at its end");
            }
        }
        // Close these ends, so that the threads that feed or drain can end.
        drop(source);
        drop(sink);
        // Join the threads, because a scope waits only until their closures return. A thread may still hold
        // memory at that time.
        feeding.join().unwrap();
        draining.join().unwrap()
    });
    assert!(arrived == content[..expected.min(content.len())]);
}
