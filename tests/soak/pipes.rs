//! The operations that a worker performs on pipes, and on other descriptors that are connected to pipes.

use crate::common;
use crate::limits::Role;
use crate::stream::{Held, Run, fill};
use crate::worker::{LONGEST, Worker};
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter, Reuse};
use rawpipe::event::{Epoll, Event, EventFd, FdSet, PollEvents, PollFd, poll, select};
use rawpipe::fd::AsFd;
use rawpipe::io::{IoSlice, IoSliceMut};
use rawpipe::message::{Channel, MessageError, packets};
use rawpipe::pipe::{Builder, Capacity, PIPE_BUF};
use rawpipe::splice::{SpliceFlags, splice, tee};
use rawpipe::transfer::{Fanout, FanoutSink, Side, Transfer, TransferError, discard};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::Duration;

/// Set if a signal may interrupt a call that does not wait. Under `tests/copying`, a signal can interrupt a
/// call before the supervisor receives the call. If the deadline has already passed, the interrupted call is
/// not retried. The call then fails with `ETIMEDOUT` even if the pipe is ready.
pub(crate) static INTERRUPTIBLE: LazyLock<bool> = LazyLock::new(common::vmsplice_copies);

/// A pipe and its expected contents.
pub(crate) struct Slot {
    reader: PipeReader,
    writer: PipeWriter,
    pub(crate) held: Held,
    /// The stream whose bytes are written to the pipe.
    stream: u64,
    at: u64,
}

impl Worker {
    /// Returns the index of a random slot, and creates the slot's pipe if necessary. Returns `None` if the
    /// pipe cannot be created.
    fn some(&mut self) -> Option<usize> {
        let index = self.random.below(self.slots.len());
        self.open(index);
        self.slots[index].is_some().then_some(index)
    }

    /// Returns the indices of two slots. Also removes and returns the contents of the second slot. The caller
    /// must put the contents back.
    fn pair(&mut self) -> Option<(usize, usize, Slot)> {
        let (from, to) = (self.some()?, self.some()?);
        if from == to {
            return None;
        }
        let slot = self.slots[to].take()?;
        Some((from, to, slot))
    }

    /// Tries to create a pipe, and counts either the new pipe or the failure.
    pub(crate) fn made(&mut self, builder: Builder) -> Option<(PipeReader, PipeWriter)> {
        match builder.build() {
            Ok(ends) => {
                self.counts.pipes += 1;
                if self.shared.role == Role::Pages {
                    let degraded = ends.0.is_degraded();
                    self.count_refusal(degraded == Ok(true));
                }
                Some(ends)
            }
            Err(errno) => {
                self.only_refused("a pipe", errno);
                None
            }
        }
    }

    pub(crate) fn open(&mut self, index: usize) {
        if self.slots[index].is_some() {
            return;
        }
        // If pages are the scarce resource, the maximum capacity is requested for every pipe.
        let large = self.random.one_in(3) || self.shared.role == Role::Pages;
        let builder = if large { Builder::new().capacity(Capacity::Max) } else { Builder::new() };
        let Some((reader, writer)) = self.made(builder) else { return };
        let stream = self.new_bytes(0).stream;
        self.slots[index] = Some(Slot { reader, writer, held: Held::default(), stream, at: 0 });
    }

    /// Compares the number of bytes in the pipe with the expected number.
    fn check(&self, what: &str, slot: &Slot) {
        let available = slot.reader.available();
        self.require(available == Ok(slot.held.len()), || {
            format!("{what}: {available:?} in the pipe, {} expected", slot.held.len())
        });
    }

    pub(crate) fn write(&mut self) {
        let Some(index) = self.some() else { return };
        let Some(mut slot) = self.slots[index].take() else { return };
        let len = self.random.length(LONGEST);
        fill(slot.stream, slot.at, &mut self.buf[..len]);
        let (way, moment) = (self.random.below(6), self.moment());
        let (writer, data) = (&slot.writer, &self.buf[..len]);
        let answer = match way {
            0 => writer.try_write(data),
            1 => writer.write_deadline(data, Deadline::after(moment)),
            2 => nonblocking(writer, |writer| writer.write(data)),
            3 => nonblocking(writer, |writer| writer.write_nosignal(data)),
            4 => nonblocking(writer, |writer| {
                let (one, two) = data.split_at(len / 3);
                writer.writev(&[IoSlice::new(one), IoSlice::new(two)])
            }),
            _ => match writer.write_all_deadline(data, Deadline::after(moment)) {
                Ok(()) => Ok(len),
                Err(stopped) if stopped.bytes() > 0 => Ok(stopped.bytes()),
                Err(stopped) => Err(stopped.errno().unwrap_or(Errno::EIO)),
            },
        };
        match answer {
            Ok(count) => {
                self.require(count <= len && count > 0, || format!("write: {count} of {len}"));
                slot.held.push(Run { stream: slot.stream, at: slot.at, len: count });
                slot.at += count as u64;
                self.counts.taken += count as u64;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::ETIMEDOUT) => self.counts.timeouts += 1,
            Err(errno) => self.only_refused("write", errno),
        }
        self.check("write", &slot);
        self.slots[index] = Some(slot);
    }

    pub(crate) fn read(&mut self) {
        let Some(index) = self.some() else { return };
        let Some(mut slot) = self.slots[index].take() else { return };
        let (len, moment) = (self.random.length(LONGEST), self.moment());
        let some = slot.held.len() > 0;
        let way = self.random.below(if some { 7 } else { 2 });
        let buf = &mut self.buf[..len];
        let reader = &slot.reader;
        let answer = match way {
            0 => reader.try_read(buf),
            1 => reader.read_deadline(buf, Deadline::after(moment)),
            2 => reader.read(buf),
            3 => {
                let (one, two) = buf.split_at_mut(len / 2);
                reader.readv(&mut [IoSliceMut::new(one), IoSliceMut::new(two)])
            }
            4 => {
                let mut place = [MaybeUninit::uninit(); 4096];
                let place = &mut place[..len.min(4096)];
                reader.read_uninit(place).map(|bytes| {
                    buf[..bytes.len()].copy_from_slice(bytes);
                    bytes.len()
                })
            }
            5 => {
                let exact = slot.held.len().min(len);
                reader
                    .read_exact(&mut buf[..exact])
                    .map(|()| exact)
                    .map_err(|stopped| stopped.errno().unwrap_or(Errno::EIO))
            }
            _ => match reader.read_exact_deadline(buf, Deadline::after(moment)) {
                Ok(()) => Ok(len),
                Err(stopped) if stopped.bytes() > 0 => Ok(stopped.bytes()),
                Err(stopped) => Err(stopped.errno().unwrap_or(Errno::EIO)),
            },
        };
        match answer {
            Ok(count) => {
                self.require(count > 0 && count <= len, || format!("read: {count} of {len}"));
                self.arrived("read", &mut slot.held, count);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => self.require(!some, || "read: EAGAIN of a full pipe".into()),
            Err(Errno::ETIMEDOUT) => {
                self.counts.timeouts += 1;
                let fine = !some || *INTERRUPTIBLE;
                self.require(fine, || "read: ETIMEDOUT of a full pipe".into());
            }
            Err(errno) => self.only_refused("read", errno),
        }
        self.check("read", &slot);
        self.slots[index] = Some(slot);
    }

    /// Reads all bytes in the pipe.
    pub(crate) fn drain(&mut self, index: usize) {
        let Some(mut slot) = self.slots[index].take() else { return };
        self.drain_slot(&mut slot);
        self.slots[index] = Some(slot);
    }

    fn drain_slot(&mut self, slot: &mut Slot) {
        while slot.held.len() > 0 {
            let len = slot.held.len().min(self.buf.len());
            match slot.reader.read_exact(&mut self.buf[..len]) {
                Ok(()) => self.arrived("drain", &mut slot.held, len),
                Err(stopped) => {
                    self.require(false, || format!("drain: {stopped:?}"));
                    return;
                }
            }
        }
        self.check("drain", slot);
    }

    pub(crate) fn capacity(&mut self) {
        let Some(index) = self.some() else { return };
        let bytes = 4096 << self.random.below(9);
        let wanted = if self.random.one_in(4) { Capacity::Max } else { Capacity::Bytes(bytes) };
        let Some(slot) = &self.slots[index] else { return };
        let before = slot.reader.capacity();
        let answer = slot.writer.set_capacity(wanted);
        let after = slot.reader.capacity();
        match answer {
            Ok(granted) => {
                self.require(after == Ok(granted), || format!("capacity: {answer:?}, {after:?}"));
                let enough = wanted == Capacity::Max || granted >= bytes;
                self.require(enough, || format!("capacity: {bytes}, {granted}"));
            }
            Err(errno) => {
                let known = match errno {
                    Errno::EBUSY => slot.held.len() > 0,
                    // The kernel returns this error if the user's pipes already have too many pages.
                    Errno::EPERM => before.is_ok_and(|before| bytes > before),
                    _ => false,
                };
                self.require(known && before == after, || {
                    format!("capacity: {errno:?}, {before:?}, {after:?}")
                });
                let refused = self.shared.role == Role::Pages && errno == Errno::EPERM;
                self.count_refusal(refused);
            }
        }
    }

    /// Transfers bytes from one pipe to another with random options, and reads the bytes that an error holds.
    pub(crate) fn transfer(&mut self) {
        let Some((from, to, mut sink)) = self.pair() else { return };
        let Some(mut source) = self.slots[from].take() else { return };
        let exact = self.random.one_in(2).then(|| self.random.length(LONGEST) as u64);
        let rounds = self.random.one_in(3).then(|| self.random.below(3));
        let mut left = rounds.unwrap_or(usize::MAX);
        let mut broke = false;
        let mut progress = |_| match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                ControlFlow::Continue(())
            }
            None => {
                broke = true;
                ControlFlow::Break(())
            }
        };
        let mut transfer = Transfer::new().deadline(Deadline::after(self.moment()));
        if let Some(exact) = exact {
            transfer = transfer.exact(exact);
        }
        if rounds.is_some() {
            transfer = transfer.progress(&mut progress);
        }
        if self.random.one_in(2) {
            transfer = transfer.chunk(self.random.length(LONGEST));
        }
        if self.random.one_in(4) {
            transfer = transfer.copy_semantics();
        }
        if self.random.one_in(4) {
            transfer = transfer.wait(Wait::Adaptive);
        }
        self.counts.transfers += 1;
        match transfer.run(&source.reader, &sink.writer) {
            Ok(done) => {
                let all = broke || exact == Some(done.bytes());
                self.require(all, || format!("transfer: {done:?} of {exact:?}, {broke}"));
                moved(&mut source.held, &mut sink.held, done.bytes());
            }
            Err(error) => {
                moved(&mut source.held, &mut sink.held, error.bytes());
                self.rescue(&mut source.held, error);
            }
        }
        self.check("transfer's source", &source);
        self.check("transfer's sink", &sink);
        (self.slots[from], self.slots[to]) = (Some(source), Some(sink));
    }

    /// Checks why a transfer stopped, and reads the bytes that the error holds. These bytes must be the next
    /// bytes of the source.
    fn rescue(&mut self, source: &mut Held, mut error: TransferError) {
        match error.errno() {
            Some(Errno::ETIMEDOUT) => self.counts.timeouts += 1,
            Some(errno) => self.only_refused("transfer", errno),
            None => self.require(false, || format!("transfer: {error:?}")),
        }
        self.read_undelivered(source, &mut error);
    }

    fn read_undelivered(&mut self, source: &mut Held, error: &mut TransferError) {
        let announced = error.undelivered();
        let mut rescued = 0;
        loop {
            match error.read_undelivered(&mut self.buf) {
                Ok(0) => break,
                Ok(count) => {
                    rescued += count;
                    let matches = source.matches(&self.buf[..count]);
                    self.require(matches, || format!("{count} undelivered bytes are others"));
                    self.counts.reported += count as u64;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.require(false, || format!("undelivered: {errno:?}"));
                    break;
                }
            }
        }
        self.require(rescued == announced, || format!("undelivered: {rescued} of {announced}"));
    }

    pub(crate) fn splice(&mut self) {
        let Some((from, to, mut sink)) = self.pair() else { return };
        let Some(mut source) = self.slots[from].take() else { return };
        let len = self.random.length(LONGEST);
        match splice(&source.reader, None, &sink.writer, None, len, SpliceFlags::NONBLOCK) {
            Ok(count) => moved(&mut source.held, &mut sink.held, count as u64),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => self.only_refused("splice", errno),
        }
        self.check("splice's source", &source);
        self.check("splice's sink", &sink);
        (self.slots[from], self.slots[to]) = (Some(source), Some(sink));
    }

    pub(crate) fn tee(&mut self) {
        let Some((from, to, mut sink)) = self.pair() else { return };
        let Some(source) = self.slots[from].take() else { return };
        let len = self.random.length(LONGEST);
        match tee(&source.reader, &sink.writer, len, SpliceFlags::NONBLOCK) {
            Ok(count) => {
                sink.held.append(source.held.first(count));
                self.counts.taken += count as u64;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => self.only_refused("tee", errno),
        }
        self.check("tee's source", &source);
        self.check("tee's sink", &sink);
        (self.slots[from], self.slots[to]) = (Some(source), Some(sink));
    }

    /// Runs a fan-out to two pipes, one of which has no reader.
    pub(crate) fn fanout(&mut self) {
        let Some((from, to, mut sink)) = self.pair() else { return };
        let Some(mut source) = self.slots[from].take() else { return };
        self.drain_slot(&mut sink);
        let room = match (source.writer.capacity(), sink.writer.capacity()) {
            (Ok(need), Ok(room)) => room >= need,
            _ => false,
        };
        if room && source.held.len() > 0 {
            if let Some((reader, writer)) = self.made(Builder::new()) {
                drop(reader);
                self.fan(&mut source, &mut sink, &writer);
            }
        }
        self.check("fanout's source", &source);
        self.check("fanout's sink", &sink);
        (self.slots[from], self.slots[to]) = (Some(source), Some(sink));
    }

    fn fan(&mut self, source: &mut Slot, sink: &mut Slot, nowhere: &PipeWriter) {
        let mut sinks = [FanoutSink::new(nowhere), FanoutSink::new(&sink.writer)];
        self.counts.pipes += 2;
        self.counts.transfers += 1;
        let mut once = |_| ControlFlow::Break(());
        match Fanout::new().progress(&mut once).run(&source.reader, &mut sinks) {
            Ok(done) => {
                let bytes = done.bytes();
                let count = usize::try_from(bytes).expect("a pipe's fill");
                let mut broken = source.held.first(count);
                let [mut one, two] = sinks;
                self.require(two.bytes() == bytes && two.error().is_none(), || format!("{two:?}"));
                moved(&mut source.held, &mut sink.held, bytes);
                // A new child may still hold a copy of the reader, so the pipe may accept some bytes.
                self.counts.taken += bytes;
                self.counts.reported += one.bytes();
                let _ = broken.take(usize::try_from(one.bytes()).expect("a pipe's fill"));
                match one.take_error() {
                    Some(mut error) => self.read_undelivered(&mut broken, &mut error),
                    None => self.require(one.bytes() == bytes, || format!("{one:?}")),
                }
                self.require(broken.len() == 0, || format!("fanout: {} are lost", broken.len()));
            }
            Err(mut error) => {
                let refused = error.errno().is_some_and(|errno| self.refused(errno));
                self.require(refused, || format!("fanout: {error:?}"));
                let [mut one, two] = sinks;
                let (got, broken) = ([one.bytes(), two.bytes()], one.take_error());
                self.fan_failed(source, sink, got, broken, &mut error);
            }
        }
    }

    /// Accounts for the bytes of a failed fan-out. The error holds the bytes that were read from the source
    /// but did not reach all sinks. Each sink counts its own bytes.
    fn fan_failed(
        &mut self,
        source: &mut Slot,
        sink: &mut Slot,
        [one, two]: [u64; 2],
        failed: Option<TransferError>,
        error: &mut TransferError,
    ) {
        let count = |bytes| usize::try_from(bytes).expect("a pipe's fill");
        let mut broken = source.held.first(count(error.bytes()) + error.undelivered());
        let ahead = two.saturating_sub(error.bytes());
        moved(&mut source.held, &mut sink.held, error.bytes());
        sink.held.append(source.held.first(count(ahead)));
        self.counts.taken += ahead + one;
        self.counts.reported += one;
        let _ = broken.take(count(one));
        if let Some(mut error) = failed {
            self.counts.taken += error.undelivered() as u64;
            self.read_undelivered(&mut broken, &mut error);
        }
        self.read_undelivered(&mut source.held, error);
    }

    pub(crate) fn discard(&mut self) {
        let Some(index) = self.some() else { return };
        let Some(mut slot) = self.slots[index].take() else { return };
        let count = self.random.length(LONGEST).min(slot.held.len());
        if count > 0 {
            let gone = match discard(&slot.reader, Some(count as u64)) {
                Ok(gone) => {
                    self.require(gone == count as u64, || format!("discard: {gone} of {count}"));
                    gone
                }
                Err(error) => {
                    self.require(error.side() == Side::Sink, || format!("{error:?}"));
                    self.only_refused("discard", error.errno().unwrap_or(Errno::EIO));
                    error.bytes()
                }
            };
            self.counts.reported += gone;
            let _ = slot.held.take(usize::try_from(gone).expect("a pipe's fill"));
        }
        self.check("discard", &slot);
        self.slots[index] = Some(slot);
    }

    /// Checks that `poll`, `epoll` or `select` finds exactly the pipes that hold data. Also checks the count
    /// of a new eventfd.
    pub(crate) fn ready(&mut self) {
        const MANY: usize = 32;
        let first = self.random.below(self.slots.len());
        let way = self.random.below(3);
        let slots: Vec<&Slot> = self.slots.iter().flatten().skip(first).take(MANY).collect();
        let expected: Vec<bool> = slots.iter().map(|slot| slot.held.len() > 0).collect();
        let answer = match way {
            0 => {
                let mut fds: Vec<PollFd<'_>> = slots
                    .iter()
                    .map(|slot| PollFd::from_borrowed_fd(slot.reader.as_fd(), PollEvents::IN))
                    .collect();
                poll(&mut fds, Some(Duration::ZERO))
                    .map(|_| fds.iter().map(|fd| fd.revents().is_readable()).collect())
            }
            1 => by_epoll(&slots),
            _ => {
                let mut set = FdSet::new();
                slots.iter().for_each(|slot| set.insert_borrowed_fd(slot.reader.as_fd()));
                select(Some(&mut set), None, None, Some(Duration::ZERO))
                    .map(|_| slots.iter().map(|slot| set.contains(&slot.reader)).collect())
            }
        };
        match answer {
            Ok(found) => self.require(found == expected, || format!("ready: {found:?}")),
            Err(Errno::EINTR) => {}
            Err(errno) => self.only_refused("ready", errno),
        }
        match EventFd::new(3) {
            Ok(count) => self.require(count.read() == Ok(3), || "eventfd".into()),
            Err(errno) => self.only_refused("eventfd", errno),
        }
    }

    /// Writes to a duplicate of the write end, and reads from a duplicate of the read end.
    pub(crate) fn duplicate(&mut self) {
        let Some(index) = self.some() else { return };
        let Some(mut slot) = self.slots[index].take() else { return };
        let len = self.random.length(2000);
        match slot.writer.try_clone() {
            Ok(writer) => {
                fill(slot.stream, slot.at, &mut self.buf[..len]);
                match writer.try_write(&self.buf[..len]) {
                    Ok(count) => {
                        slot.held.push(Run { stream: slot.stream, at: slot.at, len: count });
                        slot.at += count as u64;
                        self.counts.taken += count as u64;
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(errno) => self.only_refused("write to a duplicate", errno),
                }
            }
            Err(errno) => self.only_refused("a duplicate", errno),
        }
        match slot.reader.try_clone() {
            Ok(reader) => match reader.try_read(&mut self.buf[..len]) {
                Ok(count) => self.arrived("duplicate", &mut slot.held, count),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => self.only_refused("read of a duplicate", errno),
            },
            Err(errno) => self.only_refused("a duplicate", errno),
        }
        self.check("duplicate", &slot);
        self.slots[index] = Some(slot);
    }

    /// Closes both ends of a pipe: the reader first, the writer first, or both after the pipe is drained.
    /// Then creates another pipe in the same slot.
    pub(crate) fn close(&mut self) {
        let Some(index) = self.some() else { return };
        let Some(mut slot) = self.slots[index].take() else { return };
        match self.random.below(3) {
            0 => {
                let Slot { reader, writer, mut held, .. } = slot;
                drop(writer);
                self.read_to_the_end("close", &reader, &mut held);
            }
            1 => {
                let Slot { reader, writer, held, .. } = slot;
                self.counts.reported += held.len() as u64;
                drop(reader);
                let answer = nonblocking(&writer, |writer| writer.write_nosignal(b"anybody?"));
                // A new child may still hold a copy of the reader.
                let known = matches!(answer, Ok(8) | Err(Errno::EPIPE | Errno::EAGAIN));
                self.require(known, || format!("write without a reader: {answer:?}"));
            }
            _ => {
                self.drain_slot(&mut slot);
                drop(slot);
            }
        }
        self.open(index);
    }

    /// Reads until end of file and checks that exactly the expected bytes arrive.
    pub(crate) fn read_to_the_end(&mut self, what: &str, reader: &PipeReader, held: &mut Held) {
        loop {
            match reader.read(&mut self.buf) {
                Ok(0) => break,
                Ok(count) => self.arrived(what, held, count),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.require(false, || format!("{what}: {errno:?}"));
                    break;
                }
            }
        }
        self.require(held.len() == 0, || format!("{what}: {} bytes are lost", held.len()));
    }

    pub(crate) fn messages(&mut self) {
        let (mut one, mut two) = match Channel::pair() {
            Ok(pair) => pair,
            Err(errno) => return self.only_refused("a channel", errno),
        };
        self.counts.pipes += 2;
        let room = rawpipe::pipe::capacity(one.sender().as_fd()).unwrap_or(4096);
        let mut sent = Vec::new();
        for _ in 0..self.random.below(6) {
            let run = {
                let len = self.random.length(room / 8);
                self.new_bytes(len)
            };
            let (head, tail) = self.buf[..run.len].split_at(run.len / 2);
            let answer = one.send(&[head, tail]);
            self.require(answer.is_ok(), || format!("send: {answer:?}"));
            self.counts.taken += run.len as u64;
            sent.push(run);
        }
        for run in sent {
            let mut held = Held::default();
            held.push(run);
            match two.recv() {
                Ok(Some(message)) => {
                    self.buf[..message.len()].copy_from_slice(&message);
                    self.require(message.len() == run.len, || format!("{} {run:?}", message.len()));
                    self.arrived("message", &mut held, message.len());
                    self.counts.messages += 1;
                }
                answer => self.require(false, || format!("recv: {answer:?}")),
            }
        }
        let late = Deadline::after(self.moment());
        match two.recv_deadline(late) {
            Err(MessageError::Io(Errno::ETIMEDOUT)) => self.counts.timeouts += 1,
            Err(MessageError::Io(errno)) => self.only_refused("recv_deadline", errno),
            answer => self.require(false, || format!("recv_deadline: {answer:?}")),
        }
        // This message does not fit in the pipe, so the receiver receives only a part of it.
        let _ = self.new_bytes(2 * room);
        let late = Deadline::after(self.moment());
        match one.send_deadline(&[&self.buf[..2 * room]], late) {
            Err(MessageError::Io(Errno::ETIMEDOUT)) => {
                self.counts.timeouts += 1;
                let torn = one.send(&[b"more"]);
                self.require(torn == Err(MessageError::Torn), || format!("{torn:?}"));
                drop(one);
                match two.recv() {
                    Err(MessageError::Truncated) => {}
                    Err(MessageError::Io(errno)) => self.only_refused("recv", errno),
                    answer => self.require(false, || format!("a torn one: {answer:?}")),
                }
            }
            Err(MessageError::Io(errno)) => self.only_refused("send_deadline", errno),
            answer => self.require(false, || format!("send_deadline: {answer:?}")),
        }
    }

    pub(crate) fn packets(&mut self) {
        let (reader, writer) = match packets() {
            Ok(ends) => ends,
            Err(errno) => return self.only_refused("packets", errno),
        };
        self.counts.pipes += 1;
        let first = {
            let len = 1 + self.random.below(PIPE_BUF);
            self.new_bytes(len)
        };
        let answer = writer.send(&self.buf[..first.len]);
        self.require(answer == Ok(()), || format!("packet: {answer:?}"));
        self.counts.taken += first.len as u64;
        drop(writer);
        let mut place = [0; PIPE_BUF];
        let mut held = Held::default();
        held.push(first);
        loop {
            match reader.recv(&mut place) {
                Ok(Some(packet)) => {
                    let count = packet.len();
                    self.buf[..count].copy_from_slice(packet);
                    self.require(count == first.len, || format!("packet: {count} {first:?}"));
                    self.arrived("packet", &mut held, count);
                    self.counts.messages += 1;
                }
                Ok(None) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return self.only_refused("packet", errno),
            }
        }
        self.require(held.len() == 0, || "a packet is lost".into());
    }

    /// Sends chunks through a nonblocking pipe. Empties the pipe whenever a chunk does not fit, after random
    /// chunks, and at the end.
    pub(crate) fn chunks(&mut self) {
        let Some((reader, writer)) = self.made(Builder::new().nonblocking()) else { return };
        // Half of the runs use the longest chunks, because short chunks are copied.
        let long = self.random.one_in(2);
        let len = if long { LONGEST } else { self.random.length(LONGEST) };
        let mut builder = ChunkWriter::builder().chunk(len);
        builder = match self.random.below(4) {
            0 => builder.mechanism(ChunkMechanism::Vmsplice),
            1 => builder.mechanism(ChunkMechanism::Memfd),
            2 => builder.mechanism(ChunkMechanism::Write),
            _ => builder,
        };
        if self.random.one_in(2) {
            builder = builder.reuse(Reuse::AfterRead);
        }
        if self.random.one_in(2) {
            builder = builder.keep_capacity();
        }
        let mut writer = match builder.build(writer) {
            Ok(writer) => writer,
            Err(Errno::EOPNOTSUPP) => return,
            Err(errno) => return self.only_refused("a chunk writer", errno),
        };
        // On an emulated processor, reading one byte at a time would take minutes per megabyte.
        let piece = self.random.length(LONGEST).max(LONGEST / 500);
        let mut reader = match ChunkReader::builder().chunk(piece).build(reader) {
            Ok(reader) => reader,
            Err(errno) => return self.only_refused("a chunk reader", errno),
        };
        self.counts.transfers += 1;
        let mut held = Held::default();
        for _ in 0..1 + self.random.below(8) {
            let run = {
                let less = self.random.below(if long { len / 4 } else { len });
                self.new_bytes(len - less)
            };
            match writer.chunk() {
                Ok(chunk) => chunk[..run.len].copy_from_slice(&self.buf[..run.len]),
                Err(errno) => {
                    self.only_refused("a chunk", errno);
                    break;
                }
            }
            let mut done = 0;
            while done < run.len {
                let now = match writer.send(run.len - done) {
                    Ok(()) => run.len - done,
                    Err(stopped) => {
                        let full = stopped.errno() == Some(Errno::EAGAIN);
                        let moves = stopped.bytes() + held.len() > 0;
                        self.require(full && moves, || format!("{writer:?}: {stopped:?}"));
                        if !(full && moves) {
                            return;
                        }
                        stopped.bytes()
                    }
                };
                held.push(Run { at: done as u64, len: now, ..run });
                self.counts.taken += now as u64;
                done += now;
                if done < run.len || self.random.one_in(4) {
                    self.read_chunks(&mut reader, &mut held);
                }
            }
            // The writer resends a random number of bytes of the chunk, or fewer if the pipe becomes full.
            let len = self.random.below(run.len + 1);
            let again = writer.resend(len).map_or_else(|stopped| stopped.bytes(), |()| len);
            held.push(Run { at: 0, len: again, ..run });
            self.counts.taken += again as u64;
        }
        drop(writer);
        self.read_chunks(&mut reader, &mut held);
        self.require(held.len() == 0, || format!("chunks: {} bytes are lost", held.len()));
    }

    fn read_chunks(&mut self, reader: &mut ChunkReader, held: &mut Held) {
        while held.len() > 0 {
            match reader.read_chunk() {
                Ok([]) => break,
                Ok(chunk) => {
                    let matches = held.matches(chunk);
                    self.counts.delivered += chunk.len() as u64;
                    self.require(matches, || format!("chunk: {} bytes differ", chunk.len()));
                }
                Err(errno) => return self.require(false, || format!("read_chunk: {errno:?}")),
            }
        }
    }

    /// Transfers bytes between two socket pairs, and reads from the second pair only after the transfers.
    pub(crate) fn sockets(&mut self) {
        let made = UnixStream::pair().and_then(|one| Ok((one, UnixStream::pair()?)));
        let ((feed, from), (to, end)) = match made {
            Ok(made) => made,
            Err(error) => return self.only_refused_io("sockets", &error),
        };
        for socket in [&feed, &from, &to, &end] {
            let answer = socket.set_nonblocking(true);
            self.require(answer.is_ok(), || format!("{answer:?}"));
        }
        let (mut source, mut sink) = (Held::default(), Held::default());
        for _ in 0..3 {
            let run = self.new_bytes(LONGEST);
            match rawpipe::write(&feed, &self.buf[..run.len]) {
                Ok(count) => {
                    source.push(Run { len: count, ..run });
                    self.counts.taken += count as u64;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => self.only_refused("write to a socket", errno),
            }
            self.counts.transfers += 1;
            let late = Deadline::after(self.moment());
            match Transfer::new().deadline(late).run(&from, &to) {
                Ok(done) => self.require(false, || format!("a socket has no end: {done:?}")),
                Err(error) => {
                    moved(&mut source, &mut sink, error.bytes());
                    self.rescue(&mut source, error);
                }
            }
        }
        self.counts.reported += source.len() as u64;
        drop((feed, from, to));
        loop {
            match rawpipe::read(&end, &mut self.buf) {
                Ok(0) => break,
                Ok(count) => self.arrived("socket", &mut sink, count),
                // A new child may still hold a copy of the peer.
                Err(Errno::EINTR | Errno::EAGAIN) => std::thread::yield_now(),
                Err(errno) => return self.only_refused("read of a socket", errno),
            }
        }
        self.require(sink.len() == 0, || format!("sockets: {} bytes are lost", sink.len()));
    }

    /// Moves the contents of a pipe to a file, then to another file, and then to memory.
    pub(crate) fn files(&mut self) {
        let Some(index) = self.some() else { return };
        let Some(mut slot) = self.slots[index].take() else { return };
        match nameless().and_then(|one| Ok((one, nameless()?))) {
            Ok((one, two)) => self.through_files(&mut slot, one, two),
            Err(error) => self.only_refused_io("a file", &error),
        }
        self.check("files", &slot);
        self.slots[index] = Some(slot);
    }

    fn through_files(&mut self, slot: &mut Slot, mut one: File, mut two: File) {
        let count = slot.held.len() as u64;
        let mut file = Held::default();
        self.counts.transfers += 2;
        match Transfer::new().exact(count).run(&slot.reader, &one) {
            Ok(_) => moved(&mut slot.held, &mut file, count),
            Err(error) => {
                moved(&mut slot.held, &mut file, error.bytes());
                self.rescue(&mut slot.held, error);
            }
        }
        let rewound = one.rewind();
        self.require(rewound.is_ok(), || format!("{rewound:?}"));
        let mut end = Held::default();
        match Transfer::new().run(&one, &two) {
            Ok(done) => moved(&mut file, &mut end, done.bytes()),
            Err(error) => {
                moved(&mut file, &mut end, error.bytes());
                self.rescue(&mut file, error);
            }
        }
        // If an error occurred, bytes may remain in the first file.
        self.counts.reported += file.len() as u64;
        let rewound = two.rewind();
        self.require(rewound.is_ok(), || format!("{rewound:?}"));
        loop {
            match two.read(&mut self.buf) {
                Ok(0) => break,
                Ok(count) => self.arrived("file", &mut end, count),
                Err(error) => {
                    self.require(error.kind() == io::ErrorKind::Interrupted, || format!("{error}"))
                }
            }
        }
        self.require(end.len() == 0, || format!("files: {} bytes are lost", end.len()));
    }
}

fn nameless() -> io::Result<File> {
    let path = common::tmp_path();
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Calls `call` with `O_NONBLOCK` set on the write end.
fn nonblocking<T>(
    writer: &PipeWriter,
    call: impl FnOnce(&PipeWriter) -> Result<T, Errno>,
) -> Result<T, Errno> {
    writer.set_nonblocking(true)?;
    let answer = call(writer);
    writer.set_nonblocking(false)?;
    answer
}

fn by_epoll(slots: &[&Slot]) -> Result<Vec<bool>, Errno> {
    let epoll = Epoll::new()?;
    for (slot, token) in slots.iter().zip(0..) {
        epoll.add(&slot.reader, PollEvents::IN, token)?;
    }
    let mut found = vec![false; slots.len()];
    let mut events = [Event::default(); 64];
    for event in epoll.wait(&mut events, Some(Duration::ZERO))? {
        found[usize::try_from(event.token()).expect("a small number")] = true;
    }
    Ok(found)
}

/// Moves the records of the first `bytes` bytes from one queue to another.
fn moved(from: &mut Held, to: &mut Held, bytes: u64) {
    let count = usize::try_from(bytes).expect("a number of bytes that were there");
    to.append(from.take(count));
}
