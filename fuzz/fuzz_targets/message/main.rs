//! Sends random bytes in random pieces to a [`Receiver`] through a pipe, mixed with messages from a
//! [`Sender`]. The model is a short decoder that was written from the documentation alone.
//!
//! After each operation the pipe must hold as many bytes as the model's pipe. This check proves that the
//! receiver reads exactly the bytes that it needs. Every result must equal the model's result. The receiver
//! may allocate memory only for a message whose announced length is within the limit.
#![no_main]

mod memory;
mod model;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use memory::requested_by;
use model::{Answer, Decoder};
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::AsFd;
use rawpipe::io::write_nosignal;
use rawpipe::message::{MessageError, Receiver, Sender};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
struct Case {
    reader_nonblocking: bool,
    writer_nonblocking: bool,
    /// The number of times that the pipe's capacity is doubled, starting from one page.
    doubled: u8,
    receiver_limit: Limit,
    sender_limit: Limit,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Limit {
    Default,
    Short(u8),
    Long(u16),
    Any(usize),
}

#[derive(Arbitrary, Debug)]
enum Operation {
    /// Appends these bytes to the wire.
    Raw(Vec<u8>),
    /// Appends a whole message to the wire.
    Message(u16),
    /// Appends only a header to the wire.
    Header(u64),
    /// Appends a header that announces a length near the limit.
    HeaderNearLimit(i8),
    /// Writes this many bytes of the wire to the pipe.
    Feed(u16),
    /// Writes as many bytes of the wire to the pipe as fit.
    FeedAll,
    Send(Vec<u16>),
    Recv,
    RecvInto(u16),
    SetCapacity(u8),
    CloseWriter,
    CloseReader,
}

struct Link {
    receiver: Option<Receiver<PipeReader>>,
    sender: Option<Sender<PipeWriter>>,
    sender_limit: usize,
    torn: bool,
    decoder: Decoder,
    /// The next bytes on the wire, which have not yet been written to the pipe.
    coming: VecDeque<u8>,
    next: u8,
}

const DEFAULT_LIMIT: usize = 64 << 20;

impl Limit {
    fn bytes(self) -> usize {
        match self {
            Self::Default => DEFAULT_LIMIT,
            Self::Short(bytes) => bytes.into(),
            Self::Long(bytes) => bytes.into(),
            Self::Any(bytes) => bytes,
        }
    }
}

fn capacity(doubled: u8) -> Capacity {
    Capacity::Bytes(4096 << (doubled % 6))
}

/// Returns a deadline that has already passed, so that calls do not wait.
fn now() -> Deadline<'static> {
    Deadline::after(Duration::ZERO)
}

impl Link {
    fn new(case: &Case) -> Self {
        let (reader, writer) = Builder::new().build().unwrap();
        writer.set_capacity(capacity(case.doubled)).unwrap();
        reader.set_nonblocking(case.reader_nonblocking).unwrap();
        writer.set_nonblocking(case.writer_nonblocking).unwrap();
        let (mut receiver, mut sender) = (Receiver::new(reader), Sender::new(writer));
        if !matches!(case.receiver_limit, Limit::Default) {
            receiver = receiver.with_limit(case.receiver_limit.bytes());
        }
        if !matches!(case.sender_limit, Limit::Default) {
            sender = sender.with_limit(case.sender_limit.bytes());
        }
        Self {
            receiver: Some(receiver),
            sender: Some(sender),
            sender_limit: case.sender_limit.bytes(),
            torn: false,
            decoder: Decoder::new(case.receiver_limit.bytes()),
            coming: VecDeque::new(),
            next: 0,
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let byte = || {
            self.next = self.next.wrapping_mul(13).wrapping_add(7);
            self.next
        };
        std::iter::repeat_with(byte).take(len).collect()
    }

    fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Raw(bytes) => self.coming.extend(bytes),
            Operation::Message(len) => {
                let bytes = self.bytes((*len).into());
                self.coming.extend(u64::from(*len).to_le_bytes());
                self.coming.extend(bytes);
            }
            Operation::Header(len) => self.coming.extend(len.to_le_bytes()),
            Operation::HeaderNearLimit(off) => {
                let len = (self.decoder.limit() as u64).wrapping_add_signed((*off).into());
                self.coming.extend(len.to_le_bytes());
            }
            Operation::Feed(count) => self.feed((*count).into()),
            Operation::FeedAll => self.feed(usize::MAX),
            Operation::Send(parts) => self.send(parts),
            Operation::Recv => self.recv(),
            Operation::RecvInto(len) => self.recv_into((*len).into()),
            Operation::SetCapacity(doubled) => {
                if let Some(receiver) = &self.receiver {
                    match rawpipe::pipe::set_capacity(receiver, capacity(*doubled)) {
                        Ok(_) | Err(Errno::EBUSY) => {}
                        Err(errno) => panic!("{errno}"),
                    }
                }
            }
            Operation::CloseWriter => {
                self.sender = None;
                self.decoder.close();
            }
            Operation::CloseReader => self.close_reader(),
        }
        if let Some(receiver) = &self.receiver {
            assert_eq!(rawpipe::pipe::available(receiver), Ok(self.decoder.unread()));
        }
    }

    /// Writes to the pipe as many bytes as fit without waiting, up to `most`.
    fn feed(&mut self, most: usize) {
        let (Some(sender), Some(_)) = (&self.sender, &self.receiver) else { return };
        let wanted = most.min(self.coming.len());
        if wanted == 0 {
            return;
        }
        let bytes = &self.coming.make_contiguous()[..wanted];
        match rawpipe::io::try_write(sender, bytes) {
            Ok(count) => {
                assert!(0 < count && count <= wanted);
                self.decoder.arrived(self.coming.drain(..count));
            }
            Err(errno) => assert_eq!(errno, Errno::EAGAIN),
        }
    }

    fn send(&mut self, lens: &[u16]) {
        let parts: Vec<Vec<u8>> = lens.iter().map(|len| self.bytes((*len).into())).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let Some(sender) = &mut self.sender else { return };
        let body = parts.concat();
        let wire: Vec<u8> = (body.len() as u64).to_le_bytes().into_iter().chain(body).collect();
        let expected = if self.torn {
            Some(Err(MessageError::Torn))
        } else if wire.len() - 8 > self.sender_limit {
            Some(Err(MessageError::TooLong(wire.len() as u64 - 8)))
        } else if self.receiver.is_none() {
            Some(Err(MessageError::Io(Errno::EPIPE)))
        } else {
            None
        };
        let before = self.decoder.unread();
        let fits = before == 0 && wire.len() <= rawpipe::pipe::capacity(&*sender).unwrap();
        // Call the function without a deadline only if it will not wait.
        let result = if fits || expected.is_some() && wire.len() % 2 == 0 {
            sender.send(&parts)
        } else {
            sender.send_deadline(&parts, now())
        };
        if let Some(expected) = expected {
            return assert_eq!(result, expected);
        }
        let there = rawpipe::pipe::available(&*sender).unwrap() - before;
        match result {
            Ok(()) => assert_eq!(there, wire.len()),
            Err(error) => {
                assert_eq!(error, MessageError::Io(Errno::ETIMEDOUT));
                assert!(!fits && there < wire.len());
                let mut fds = [PollFd::new(&*sender, PollEvents::OUT)];
                assert_eq!(poll(&mut fds, Some(Duration::ZERO)), Ok(0), "there was room");
                self.torn = there > 0;
            }
        }
        self.decoder.arrived(wire[..there].iter().copied());
    }

    fn recv(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        let refused = self.decoder.refuses();
        let expected = self.decoder.recv(memory::MOST);
        let (result, requested) = requested_by(|| match expected {
            Answer::NotYet => receiver.recv_deadline(now()),
            _ if self.next % 2 == 0 => receiver.recv_deadline(now()),
            _ => receiver.recv(),
        });
        match (&expected, &result) {
            (Answer::Message(bytes), Ok(Some(received))) => assert!(bytes == received),
            (Answer::End, Ok(None)) => {}
            (expected, Err(error)) => assert_eq!(expected.error(), Some(*error)),
            _ => panic!("{expected:?}, not {result:?}"),
        }
        if refused || self.decoder.refuses() {
            assert_eq!(requested, 0);
        } else {
            assert!(requested <= self.decoder.last_len(), "{requested} bytes of memory");
        }
        self.next = self.next.wrapping_add(1);
    }

    fn recv_into(&mut self, len: usize) {
        let Some(receiver) = &mut self.receiver else { return };
        let mut buf = vec![0; len];
        let had_part = self.decoder.has_part();
        let expected = self.decoder.recv_into(len);
        let (result, requested) = requested_by(|| match expected {
            Answer::NotYet => receiver.recv_into_deadline(&mut buf, now()),
            _ if self.next % 2 == 0 => receiver.recv_into_deadline(&mut buf, now()),
            _ => receiver.recv_into(&mut buf),
        });
        match (&expected, &result) {
            (Answer::Message(bytes), Ok(Some(received))) => assert!(bytes == &buf[..*received]),
            (Answer::End, Ok(None)) => {}
            (expected, Err(error)) => assert_eq!(expected.error(), Some(*error)),
            _ => panic!("{expected:?}, not {result:?}"),
        }
        // The receiver keeps a partial message in a vector, whose capacity doubles when it grows. The call may
        // also complete a message of which an earlier call has kept a part.
        let most = if had_part || self.decoder.has_part() { (2 * len).max(8) } else { 0 };
        assert!(requested <= most, "{requested} bytes of memory");
        self.next = self.next.wrapping_add(1);
    }

    fn close_reader(&mut self) {
        let Some(receiver) = self.receiver.take() else { return };
        match receiver.into_inner() {
            // Dropping the receiver between two messages loses no byte of the stream.
            Ok(reader) => {
                assert!(!self.decoder.is_within_message());
                let mut rest = vec![0; self.decoder.unread()];
                reader.read_exact(&mut rest).unwrap();
                assert!(self.decoder.rest() == rest);
            }
            Err(_) => assert!(self.decoder.is_within_message()),
        }
        if let Some(sender) = &self.sender {
            assert_eq!(write_nosignal(sender.as_fd(), b"?"), Err(Errno::EPIPE));
        }
    }
}

fuzz_target!(|case: Case| {
    let mut link = Link::new(&case);
    for operation in &case.operations {
        link.run(operation);
    }
    link.close_reader();
    if let Some(sender) = link.sender {
        let expected = if link.torn { Some(MessageError::Torn) } else { None };
        assert_eq!(sender.into_inner().err(), expected);
    }
});
