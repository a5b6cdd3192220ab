//! Checks operations on one source and one sink in one thread.

use super::ends::{From, Pattern, Sink, Source, To, capacity};
use arbitrary::Arbitrary;
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::pipe::set_capacity;
use rawpipe::transfer::{Side, Transfer, TransferMechanism, discard};
use rawpipe::{Errno, io, pipe};
use std::ops::ControlFlow;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
pub(crate) struct Moves {
    from: From,
    to: To,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Feed(u16),
    FeedMuch(u8),
    CloseFeeder,
    Drain(u16),
    DrainAll,
    CloseDrain,
    Transfer(Options),
    Discard(u16),
    SetNonblocking(bool, bool),
    SetCapacity(bool, u8),
    Rewrite,
    ToItself,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Options {
    exact: Option<u32>,
    chunk: Option<Chunk>,
    copy_semantics: bool,
    adaptive: bool,
    /// The number of progress reports after which the transfer is stopped.
    break_after: Option<u8>,
    watched: bool,
    without_deadline: bool,
    in_a_moment: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Chunk {
    Short(u8),
    Long(u32),
}

struct State {
    source: Source,
    sink: Sink,
    pattern: Pattern,
    /// If set, the sink may refer to pages of the source's file.
    by_reference: bool,
}

pub(crate) fn run(moves: &Moves) {
    let mut pattern = Pattern::new();
    let source = Source::new(moves.from, &mut pattern);
    let mut sink = Sink::new(moves.to, &mut pattern);
    // Packets that are spliced between pipes stay packets.
    sink.packets |= matches!(moves.from, From::Pipe { packet: true, .. });
    let mut state = State { source, sink, pattern, by_reference: false };
    for operation in moves.operations.iter().take(40) {
        state.apply(operation);
        state.source.check();
        state.sink.check();
        state.by_reference &= !state.sink.queue.is_empty();
    }
    state.source.finish();
    state.sink.finish();
}

impl State {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Feed(len) => {
                let bytes = self.pattern.bytes((*len).into());
                self.source.feed(&bytes);
            }
            Operation::FeedMuch(len) => {
                let bytes = self.pattern.bytes(usize::from(*len) * 1009);
                self.source.feed(&bytes);
            }
            Operation::CloseFeeder => self.source.close_feeder(),
            Operation::Drain(most) => self.sink.drain((*most).into()),
            Operation::DrainAll => self.sink.drain_all(),
            Operation::CloseDrain => self.sink.close_drain(),
            Operation::Transfer(options) => self.transfer(*options),
            Operation::Discard(len) => self.discard((*len).into()),
            Operation::SetNonblocking(source, on) => {
                // Deadlines apply only to nonblocking sockets, so never make sockets blocking.
                if *source && matches!(self.source.kind, From::Pipe { .. }) {
                    io::set_nonblocking(&self.source.fd, *on).unwrap();
                }
                if !source && matches!(self.sink.kind, To::Pipe { .. }) {
                    io::set_nonblocking(&self.sink.fd, *on).unwrap();
                }
            }
            Operation::SetCapacity(source, doubled) => {
                let fd = if *source { &self.source.fd } else { &self.sink.fd };
                match set_capacity(fd, capacity(*doubled)) {
                    Ok(_) | Err(Errno::EBUSY | Errno::EBADF) => {}
                    Err(errno) => panic!("{errno}"),
                }
            }
            Operation::Rewrite => {
                if self.source.is_file() && !self.by_reference {
                    self.source.rewrite();
                }
            }
            Operation::ToItself => self.to_itself(),
        }
    }

    /// Transfers from the read end of a pipe to the write end of the same pipe.
    fn to_itself(&mut self) {
        let (reader, writer) = pipe().unwrap();
        writer.write_all(b"round and round").unwrap();
        let error = Transfer::new().run(&reader, &writer).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EINVAL)));
        assert_eq!((error.bytes(), error.undelivered()), (0, 0));
        assert_eq!(reader.available(), Ok(15));
    }

    fn discard(&mut self, wanted: usize) {
        let fed = matches!(
            self.source.kind,
            From::Pipe { packet: false, .. }
                | From::Stream
                | From::Memory { .. }
                | From::Disk { .. }
                | From::Null
                | From::Proc
        );
        if !fed {
            return;
        }
        let there = self.source.content.len();
        let ended = there <= wanted && {
            let rest = std::mem::take(&mut self.source.content);
            let ended = self.source.has_ended();
            self.source.content = rest;
            ended
        };
        if wanted > there && !ended {
            return; // the call would wait
        }
        let count = discard(&self.source.fd, Some(wanted as u64)).unwrap();
        assert_eq!(count, wanted.min(there) as u64);
        self.source.take(wanted.min(there));
    }

    /// Returns the options, adjusted so that the transfer ends.
    fn bounded(&self, mut options: Options) -> Options {
        if matches!(self.source.kind, From::Datagram) {
            // A read discards the bytes of a datagram that do not fit in the buffer.
            options.exact = None;
            options.chunk = None;
        }
        if matches!(self.source.kind, From::Pipe { packet: true, .. }) {
            // A read of a part of a packet discards the remaining bytes, so the packet must be spliced.
            let least = |chunk| matches!(chunk, Chunk::Long(4096..));
            options.chunk = options.chunk.filter(|chunk| least(*chunk));
            let splices = matches!(
                self.sink.kind,
                To::Pipe { .. } | To::Memory { .. } | To::Disk { .. } | To::Stream | To::Null
            );
            options.exact = options.exact.filter(|_| splices);
        }
        if self.source.is_endless() && options.exact.is_none() {
            options.exact = Some(70_000);
        }
        options.exact = options.exact.map(|exact| exact % 400_000);
        // Limit the number of short chunks, because each chunk needs a call.
        if let Some(Chunk::Short(bytes)) = options.chunk {
            let most = u32::from(bytes.max(1)) * 200;
            options.exact = Some(options.exact.unwrap_or(most).min(most));
        }
        let wanted = options.exact.map_or(usize::MAX, |exact| exact as usize);
        let ends = self.source.is_endless()
            || wanted <= self.source.content.len()
            || match self.source.kind {
                From::Pipe { .. } | From::Stream | From::Datagram | From::Event(_) => false,
                _ => options.exact.is_none() || !self.source.is_endless(),
            };
        options.without_deadline &= ends && self.sink.never_waits();
        options
    }

    fn transfer(&mut self, options: Options) {
        let options = self.bounded(options);
        let mut reports = Vec::new();
        let mut watch = |done| {
            reports.push(done);
            match options.break_after {
                Some(count) if reports.len() > count.into() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        let mut transfer = Transfer::new();
        if let Some(exact) = options.exact {
            transfer = transfer.exact(exact.into());
        }
        match options.chunk {
            Some(Chunk::Short(bytes)) => transfer = transfer.chunk(bytes.into()),
            Some(Chunk::Long(bytes)) => transfer = transfer.chunk(bytes.max(200) as usize),
            None => {}
        }
        if options.copy_semantics {
            transfer = transfer.copy_semantics();
        }
        if options.adaptive {
            transfer = transfer.wait(Wait::Adaptive);
        }
        if !options.without_deadline {
            let moment = Duration::from_micros(u64::from(options.in_a_moment) * 300);
            transfer = transfer.deadline(Deadline::after(moment));
        }
        let watched = options.watched || options.break_after.is_some();
        if watched {
            transfer = transfer.progress(&mut watch);
        }
        let result = transfer.run(&self.source.fd, &self.sink.fd);
        let (done, stop) = match result {
            Ok(done) => (done, None),
            Err(mut error) => {
                let mut rescued = vec![0; error.undelivered()];
                let mut got = 0;
                while got < rescued.len() {
                    let count = error.read_undelivered(&mut rescued[got..]).unwrap();
                    assert!(count > 0, "fewer than it says");
                    got += count;
                }
                assert_eq!(error.undelivered(), 0);
                let stop = (error.side(), error.errno(), rescued);
                (error.transferred(), Some(stop))
            }
        };
        let bytes = usize::try_from(done.bytes()).unwrap();
        let rescued = stop.as_ref().map_or(&[][..], |(_, _, rescued)| rescued);
        let given = self.source.take(bytes + rescued.len());
        assert!(given[bytes..] == *rescued, "other bytes than were taken");
        self.sink.deliver(&given[..bytes]);
        self.by_reference |= !options.copy_semantics && self.source.is_file();

        let must_copy = options.copy_semantics
            && !matches!(self.source.kind, From::Pipe { .. } | From::Stream | From::Datagram);
        if must_copy || watched && matches!(options.chunk, Some(Chunk::Short(_))) {
            assert_eq!(done.mechanism(), TransferMechanism::Copy);
        }
        assert!(reports.windows(2).all(|pair| pair[0] <= pair[1]));
        let last = reports.last().copied();
        assert!(last.unwrap_or(0) <= done.bytes());
        let broken = options.break_after.is_some_and(|count| reports.len() > count.into());
        match stop {
            None => {
                if watched && bytes > 0 {
                    assert_eq!(last, Some(done.bytes()), "no report of the last bytes");
                }
                let all = options.exact.map_or(false, |exact| done.bytes() == exact.into());
                let end = options.exact.is_none() && self.source.has_ended();
                assert!(broken || all || end, "ended for no reason");
            }
            Some((side, errno, rescued)) => {
                assert!(!broken, "an error after it was stopped");
                self.check_stop(options, done.bytes(), side, errno, rescued.len());
            }
        }
    }

    /// Checks that a transfer between this source and this sink may stop in this way.
    fn check_stop(
        &self,
        options: Options,
        bytes: u64,
        side: Side,
        errno: Option<Errno>,
        rescued: usize,
    ) {
        let (from, to) = (self.source.kind, self.sink.kind);
        let allowed = match (side, errno) {
            (Side::Source, None) => {
                let short = options.exact.is_some_and(|exact| bytes < exact.into());
                short && self.source.has_ended() && rescued == 0
            }
            (Side::Source, Some(Errno::ETIMEDOUT)) => {
                let empty = self.source.content.is_empty() && !self.source.has_ended();
                empty && rescued == 0 && !options.without_deadline
            }
            (Side::Sink, Some(Errno::ETIMEDOUT)) => {
                let holds = match to {
                    To::Pipe { .. } | To::Stream | To::Datagram => !self.sink.queue.is_empty(),
                    To::Event => true,
                    _ => false,
                };
                holds && !options.without_deadline
            }
            (Side::Sink, Some(Errno::EPIPE)) => self.sink.gone,
            (Side::Sink, Some(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET)) => {
                self.sink.gone && matches!(to, To::Datagram)
            }
            (Side::Sink, Some(Errno::ENOSPC)) => matches!(to, To::Full),
            (Side::Sink, Some(Errno::EBADF)) => matches!(to, To::ReadOnly),
            (Side::Source, Some(Errno::EBADF)) => matches!(from, From::WriteOnly),
            (Side::Source, Some(Errno::EISDIR)) => matches!(from, From::Folder),
            (Side::Sink, Some(Errno::EPERM)) => matches!(to, To::Sealed),
            (Side::Sink, Some(Errno::EMSGSIZE)) => matches!(to, To::Datagram),
            (Side::Source, Some(Errno::EINVAL)) => matches!(from, From::Event(_)),
            (Side::Sink, Some(Errno::EINVAL)) => matches!(to, To::Event),
            _ => false,
        };
        assert!(allowed, "{side:?} {errno:?} after {bytes}, with {rescued} in hand");
    }
}
