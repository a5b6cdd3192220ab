//! Performs random operations on two pipes in series and on two queues of bytes. After each operation the
//! counts and the readiness must match the queues, and every byte that was read must equal the corresponding
//! byte in the queue. A packet pipe and a message link are also compared with queues.
//!
//! The operations move bytes with single calls, vectors, whole buffers, calls that do not wait, `splice`,
//! `tee`, transfers and chunks. The ends are blocking or nonblocking.
//!
//! `RAWPIPE_MODEL_SEED` sets the seed, so that a run can be repeated. `RAWPIPE_MODEL_OPERATIONS` sets the
//! number of operations (100,000 by default in optimised builds). `.ci/matrix.sh model` runs ten million
//! operations.
#![cfg(all(feature = "std", feature = "transfer", feature = "message"))]

use crate::common;
use crate::common::bytes::Random;
use rawpipe::Deadline;
use rawpipe::chunk::{ChunkReader, ChunkWriter, Reuse};
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::io::{IoSlice, IoSliceMut};
use rawpipe::message::{Channel, Duplex, MessageError, PacketReader, PacketWriter};
use rawpipe::pipe::{Builder, Capacity, PIPE_BUF};
use rawpipe::splice::{SpliceFlags, splice, tee};
use rawpipe::transfer::{Side, Transfer, TransferMechanism, discard};
use rawpipe::{Errno, PipeReader, PipeWriter, Result};
use std::collections::VecDeque;
use std::time::Duration;

/// A pipe and its expected contents.
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    /// A second writer of the pipe, which sends chunks.
    chunks: ChunkWriter,
    /// A second reader of the pipe, which reads chunks or splices bytes to the other pipe.
    chunk_reader: ChunkReader,
    queue: VecDeque<u8>,
    reader_waits: bool,
    writer_waits: bool,
}

const CHUNK: usize = 40_000;

impl Pipe {
    fn new(reuse: Reuse) -> Self {
        let (reader, writer) = Builder::new().nonblocking().build().unwrap();
        let chunks = ChunkWriter::builder().chunk(CHUNK).reuse(reuse).keep_capacity();
        Self {
            chunks: chunks.build(writer.try_clone().unwrap()).unwrap(),
            chunk_reader: ChunkReader::builder()
                .chunk(CHUNK)
                .build(reader.try_clone().unwrap())
                .unwrap(),
            reader,
            writer,
            queue: VecDeque::new(),
            reader_waits: false,
            writer_waits: false,
        }
    }

    fn check(&self, what: &str) {
        assert_eq!(self.reader.available(), Ok(self.queue.len()), "{what}");
        let mut fds = [PollFd::new(&self.reader, PollEvents::IN)];
        let ready = poll(&mut fds, Some(Duration::ZERO));
        assert_eq!(ready, Ok(usize::from(!self.queue.is_empty())), "{what}");
        assert_eq!(self.reader.is_nonblocking(), Ok(!self.reader_waits), "{what}");
        assert_eq!(self.writer.is_nonblocking(), Ok(!self.writer_waits), "{what}");
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.queue.drain(..count).collect()
    }
}

/// A packet pipe and its expected packets.
struct Packets {
    reader: PacketReader,
    writer: PacketWriter,
    queue: VecDeque<Vec<u8>>,
}

/// A message link and the messages that it currently holds.
struct Messages {
    near: Channel<PipeReader, PipeWriter>,
    far: Channel<PipeReader, PipeWriter>,
    queue: VecDeque<Vec<u8>>,
}

struct Model {
    random: Random,
    next: u8,
    first: Pipe,
    second: Pipe,
    packets: Packets,
    messages: Messages,
    buf: Vec<u8>,
    moved: u64,
    /// The number of executed operations of each kind.
    operations: [u64; 9],
}

type Operation = fn(&mut Model);

/// Returns the count, or 0 if the operation would have to wait. Panics on any other error.
fn count(answer: Result<usize>) -> usize {
    match answer {
        Ok(count) => count,
        Err(errno) => {
            let fine = match errno {
                Errno::EAGAIN | Errno::ETIMEDOUT => true,
                // An emulator might not support calls that do not wait on a blocking end.
                Errno::EOPNOTSUPP => common::emulated(),
                _ => false,
            };
            assert!(fine, "{errno}");
            0
        }
    }
}

fn now() -> Deadline<'static> {
    Deadline::now()
}

impl Model {
    /// Returns a random length below 300,000. Short lengths are more likely than long lengths.
    fn len(&mut self) -> usize {
        let bound = [2, 100, 5_000, 30_000, 300_000][self.random.below(5)];
        self.random.below(bound)
    }

    fn new(seed: u64) -> Self {
        let (reader, writer) = Builder::new().packet().nonblocking().build().unwrap();
        let (near, far) = Duplex::pair().unwrap();
        Self {
            random: Random(seed),
            next: 1,
            first: Pipe::new(Reuse::Never),
            // The bytes of the second pipe are only read and never passed on, so the pipe's writer may reuse
            // a page after the page has been read.
            second: Pipe::new(Reuse::AfterRead),
            packets: Packets {
                reader: reader.into(),
                writer: PacketWriter::new(writer).unwrap(),
                queue: VecDeque::new(),
            },
            messages: Messages { near: near.into(), far: far.into(), queue: VecDeque::new() },
            buf: vec![0; 300_000],
            moved: 0,
            operations: [0; 9],
        }
    }

    /// Performs and counts one operation.
    fn operate(&mut self) {
        let kinds: [(usize, Operation); 9] = [
            (6, Self::write),
            (6, Self::read),
            (4, Self::splice_or_tee),
            (2, Self::transfer),
            (1, Self::discard_or_resize),
            (2, Self::chunk),
            (1, Self::set_nonblocking),
            (2, Self::packet),
            (2, Self::message),
        ];
        let all = kinds.iter().map(|(weight, _)| weight).sum();
        let mut at = self.random.below(all);
        for (kind, (weight, operation)) in kinds.into_iter().enumerate() {
            if at < weight {
                self.operations[kind] += 1;
                return operation(self);
            }
            at -= weight;
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let byte = || {
            self.next = self.next.wrapping_mul(13).wrapping_add(7);
            self.next
        };
        std::iter::repeat_with(byte).take(len).collect()
    }

    fn write(&mut self) {
        let len = self.len();
        let bytes = self.bytes(len);
        let kind = self.random.below(6);
        let pipe = if self.random.below(4) > 0 { &mut self.first } else { &mut self.second };
        let writer = &pipe.writer;
        let written = count(match kind {
            // The first three kinds of write might wait.
            0 if !pipe.writer_waits => writer.write(&bytes),
            1 if !pipe.writer_waits => {
                let (head, tail) = bytes.split_at(len / 3);
                writer.writev(&[IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)])
            }
            2 if !pipe.writer_waits => match writer.write_all(&bytes) {
                Ok(()) => Ok(len),
                Err(stopped) => {
                    assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                    Ok(stopped.bytes())
                }
            },
            3 => writer.write_deadline(&bytes, now()),
            4 => match writer.write_all_deadline(&bytes, now()) {
                Ok(()) => Ok(len),
                Err(stopped) => {
                    count(Err(stopped.errno().unwrap()));
                    Ok(stopped.bytes())
                }
            },
            _ => writer.try_write(&bytes),
        });
        assert!(written <= len);
        pipe.queue.extend(&bytes[..written]);
    }

    fn read(&mut self) {
        let len = self.len();
        let kind = self.random.below(5);
        let second = self.random.below(3) > 0;
        let pipe = if second { &mut self.second } else { &mut self.first };
        let could_wait = pipe.reader_waits && pipe.queue.is_empty();
        let (head, tail) = self.buf[..len].split_at_mut(len / 3);
        let answer = match kind {
            0 if !could_wait => {
                pipe.reader.readv(&mut [IoSliceMut::new(head), IoSliceMut::new(tail)])
            }
            1 if !could_wait => pipe.reader.read(&mut self.buf[..len]),
            2 if !could_wait => {
                return match pipe.chunk_reader.read_chunk() {
                    Ok(bytes) => {
                        let read = bytes.len();
                        assert_eq!(read, CHUNK.min(pipe.queue.len()));
                        assert!(pipe.queue.drain(..read).eq(bytes.iter().copied()));
                    }
                    Err(errno) => {
                        assert_eq!((errno, pipe.queue.len()), (Errno::EAGAIN, 0));
                    }
                };
            }
            3 => pipe.reader.read_deadline(&mut self.buf[..len], now()),
            _ => pipe.reader.try_read(&mut self.buf[..len]),
        };
        if answer == Err(Errno::EOPNOTSUPP) && common::emulated() {
            return;
        }
        if len > 0 {
            assert_eq!(answer.is_err(), pipe.queue.is_empty());
        }
        let read = count(answer);
        assert_eq!(read, len.min(pipe.queue.len()));
        assert!(pipe.take(read) == self.buf[..read]);
    }

    fn splice_or_tee(&mut self) {
        let len = self.len();
        let (from, to) = (&self.first.reader, &self.second.writer);
        let duplicate = self.random.below(2) == 0;
        let moved = count(if duplicate {
            tee(from, to, len, SpliceFlags::NONBLOCK)
        } else {
            splice(from, None, to, None, len, SpliceFlags::NONBLOCK)
        });
        assert!(moved <= len.min(self.first.queue.len()));
        if duplicate {
            self.second.queue.extend(self.first.queue.range(..moved));
        } else {
            let bytes = self.first.take(moved);
            self.second.queue.extend(bytes);
        }
    }

    /// Moves as many bytes as possible, up to a random number. The deadline has passed, so the transfer does
    /// not wait.
    fn transfer(&mut self) {
        let wanted = self.len();
        let mut options = Transfer::new().deadline(now());
        if self.random.below(2) == 0 {
            options = options.without(TransferMechanism::Splice);
        }
        options = options.exact(wanted as u64);
        let (bytes, rescued) = match options.run(&self.first.reader, &self.second.writer) {
            Ok(done) => {
                assert_eq!(done.bytes(), wanted as u64);
                (wanted, Vec::new())
            }
            Err(mut error) => {
                assert_eq!(error.errno(), Some(Errno::ETIMEDOUT));
                let mut rescued = vec![0; error.undelivered()];
                let mut got = 0;
                while got < rescued.len() {
                    got += error.read_undelivered(&mut rescued[got..]).unwrap();
                }
                let bytes = usize::try_from(error.bytes()).unwrap();
                if error.side() == Side::Source {
                    assert_eq!(bytes + got, self.first.queue.len());
                }
                (bytes, rescued)
            }
        };
        let arrived = self.first.take(bytes);
        self.second.queue.extend(arrived);
        assert!(self.first.take(rescued.len()) == rescued);
        self.moved += bytes as u64;
    }

    fn discard_or_resize(&mut self) {
        let pages = 1 << self.random.below(8);
        let pipe = if self.random.below(2) == 0 { &self.first } else { &self.second };
        match self.random.below(3) {
            0 => {
                let wanted = self.len().min(self.first.queue.len());
                assert_eq!(
                    discard(&self.first.reader, Some(wanted as u64)).unwrap(),
                    wanted as u64
                );
                self.first.take(wanted);
            }
            _ => match pipe.writer.set_capacity(Capacity::Bytes(pages * 4096)) {
                Ok(granted) => assert!(granted >= pages * 4096),
                Err(errno) => assert!(matches!(errno, Errno::EBUSY | Errno::EPERM), "{errno}"),
            },
        }
    }

    /// Fills a chunk and sends a part of it to one of the pipes, or splices bytes from the first pipe to the
    /// second.
    fn chunk(&mut self) {
        let kind = self.random.below(4);
        if kind == 3 {
            let len = self.len();
            // The call may wait for space in the sink or for bytes from the source.
            if self.first.reader_waits || self.second.writer_waits {
                return;
            }
            let moved = count(self.first.chunk_reader.splice_to(&self.second.writer, len));
            assert!(moved <= len.min(self.first.queue.len()));
            let bytes = self.first.take(moved);
            self.second.queue.extend(bytes);
            return;
        }
        let len = self.len() % (CHUNK + 1);
        let bytes = self.bytes(len);
        let pipe = if kind == 0 { &mut self.second } else { &mut self.first };
        let chunk = pipe.chunks.chunk().unwrap();
        assert_eq!(chunk.len(), CHUNK);
        chunk[..len].copy_from_slice(&bytes);
        if pipe.writer_waits {
            return; // the chunk is dropped unsent
        }
        let sent = match pipe.chunks.send(len) {
            Ok(()) => len,
            Err(stopped) => {
                assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                assert!(stopped.bytes() < len);
                stopped.bytes()
            }
        };
        pipe.queue.extend(&bytes[..sent]);
    }

    fn set_nonblocking(&mut self) {
        let waits = self.random.below(2) == 0;
        let pipe = if self.random.below(2) == 0 { &mut self.first } else { &mut self.second };
        if self.random.below(2) == 0 {
            pipe.reader.set_nonblocking(!waits).unwrap();
            pipe.reader_waits = waits;
        } else {
            pipe.writer.set_nonblocking(!waits).unwrap();
            pipe.writer_waits = waits;
        }
    }

    fn packet(&mut self) {
        let len = 1 + self.len() % PIPE_BUF;
        match self.random.below(4) {
            0 | 1 => {
                let packet = self.bytes(len);
                match self.packets.writer.send(&packet) {
                    Ok(()) => self.packets.queue.push_back(packet),
                    Err(errno) => {
                        assert_eq!(errno, Errno::EAGAIN);
                        // Each packet occupies one slot, and the pipe holds at least four packets.
                        assert!(self.packets.queue.len() * PIPE_BUF >= 4 * PIPE_BUF);
                    }
                }
            }
            2 => {
                let mut buf = [0; PIPE_BUF];
                match (self.packets.reader.recv(&mut buf), self.packets.queue.pop_front()) {
                    (Ok(Some(packet)), Some(expected)) => assert!(packet == expected),
                    (Err(Errno::EAGAIN), None) => {}
                    (answer, expected) => panic!("{answer:?}, not {expected:?}"),
                }
            }
            _ => {
                let answer = self.packets.reader.recv_into(&mut self.buf[..len]);
                match (answer, self.packets.queue.pop_front()) {
                    (Ok(Some(got)), Some(expected)) => assert!(self.buf[..got] == expected),
                    (Err(Errno::EMSGSIZE), Some(expected)) => assert!(len < expected.len()),
                    (Err(Errno::EAGAIN), None) => {}
                    (answer, expected) => panic!("{answer:?}, not {expected:?}"),
                }
            }
        }
        let there: usize = self.packets.queue.iter().map(Vec::len).sum();
        assert_eq!(rawpipe::pipe::available(&self.packets.reader), Ok(there));
    }

    fn message(&mut self) {
        /// The number of bytes that always fit in the smallest pipe of a link, regardless of the message
        /// lengths.
        const ROOM: usize = 4000;

        let len = self.len() % ROOM;
        let on_the_way: usize = self.messages.queue.iter().map(|message| message.len() + 8).sum();
        let far = &mut self.messages.far;
        let expected = self.messages.queue.front();
        match self.random.below(4) {
            0 | 1 => {
                let message = self.bytes(len);
                if on_the_way + len + 8 <= ROOM {
                    let (head, tail) = message.split_at(len / 3);
                    let near = &mut self.messages.near;
                    match self.random.below(2) {
                        0 => near.send(&[head, tail]).unwrap(),
                        _ => {
                            near.send_deadline(&[head, &[], tail], Deadline::after(LONG)).unwrap();
                        }
                    }
                    self.messages.queue.push_back(message);
                }
            }
            2 => match (far.recv_deadline(now()), expected) {
                (Ok(Some(message)), Some(expected)) => {
                    assert!(message == *expected);
                    self.messages.queue.pop_front();
                }
                (Err(MessageError::Io(Errno::ETIMEDOUT)), None) => {}
                (answer, expected) => panic!("{answer:?}, not {expected:?}"),
            },
            _ => {
                let Some(expected) = expected else { return };
                match far.recv_into(&mut self.buf[..len]) {
                    Ok(Some(got)) => {
                        assert!(self.buf[..got] == *expected);
                        self.messages.queue.pop_front();
                    }
                    answer => {
                        let short = MessageError::BufferTooShort(expected.len());
                        assert_eq!(answer, Err(short));
                        assert!(len < expected.len());
                    }
                }
            }
        }
    }
}

/// A timeout that does not expire during any operation of this test.
const LONG: Duration = Duration::from_secs(300);

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")),
        Err(_) => default,
    }
}

/// Returns the default number of operations. Without optimisation, most of the time would be spent in the
/// model itself.
fn usual_operations() -> u64 {
    match (common::slow(), cfg!(debug_assertions)) {
        (true, _) => 3_000,
        (_, true) => 20_000,
        _ => 100_000,
    }
}

#[test]
fn model_of_pipes_and_queues() {
    // With a seed of 0, this generator would return only 0.
    let seed = setting("RAWPIPE_MODEL_SEED", 0x5eed).max(1);
    let wanted = setting("RAWPIPE_MODEL_OPERATIONS", usual_operations());
    println!("RAWPIPE_MODEL_SEED={seed} RAWPIPE_MODEL_OPERATIONS={wanted}");
    let mut model = Model::new(seed);
    for operation in 0..wanted {
        model.operate();
        model.first.check(&format!("first pipe, operation {operation}"));
        model.second.check(&format!("second pipe, operation {operation}"));
    }
    let made: u64 = model.operations.iter().sum();
    assert_eq!(made, wanted);
    if wanted > 1_000 {
        assert!(model.moved > 0 && model.operations.iter().all(|&count| count > 0));
    }
    let Pipe { reader, writer, chunks, chunk_reader, queue, .. } = model.second;
    drop((writer, chunks, chunk_reader));
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(queue == rest);
    println!("model: {made} operations, seed {seed}");
}
