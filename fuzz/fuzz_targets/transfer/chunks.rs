//! Checks the pages of a `ChunkWriter` in its pipe and in a second pipe.

use super::ends::{Pattern, capacity};
use arbitrary::Arbitrary;
use rawpipe::Wait;
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter, Reuse};
use rawpipe::pipe::Builder;
use rawpipe::splice::{SpliceFlags, tee};
use rawpipe::{Errno, PipeReader, PipeWriter, io};
use std::collections::VecDeque;
use std::fs::File;

#[derive(Arbitrary, Debug)]
pub(crate) struct Chunks {
    doubled: u8,
    chunk: Option<u32>,
    after_read: bool,
    mechanism: Option<Means>,
    keep_capacity: bool,
    adaptive: bool,
    read_chunk: Option<u32>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Means {
    Vmsplice,
    Memfd,
    Write,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    /// Requests a new chunk and fills the given part of it.
    Chunk {
        from: u32,
        len: u32,
    },
    Send(u32),
    SendAll,
    Resend(u32),
    /// Writes this many bytes, which are not part of a chunk.
    Write(u16),
    ReadChunk,
    Read(u16),
    /// Moves pages to the second pipe.
    Splice(u32),
    Tee(u32),
    /// Moves pages to `/dev/null`.
    SpliceAway(u32),
    ReadSecond(u32),
    SetCapacity(u8),
}

struct State {
    writer: ChunkWriter,
    reader: ChunkReader,
    second: (PipeReader, PipeWriter),
    null: File,
    chunk: usize,
    read_chunk: usize,
    queue: VecDeque<u8>,
    second_queue: VecDeque<u8>,
    /// The contents of the lent chunk, and the number of its bytes that were sent.
    lent: Option<(Vec<u8>, usize)>,
    /// The bytes of the last chunk that were sent, and the number of these bytes that were sent again.
    sent: (Vec<u8>, usize),
    /// The contents of each chunk when it was returned to the writer.
    before: Vec<Vec<u8>>,
    pattern: Pattern,
}

pub(crate) fn run(chunks: &Chunks) {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    writer.set_capacity(capacity(chunks.doubled)).unwrap();
    let chunk = chunks.chunk.map_or(100_000, |chunk| chunk as usize % 200_000).max(1);
    let read_chunk = chunks.read_chunk.map_or(256 << 10, |chunk| chunk as usize % 400_000).max(1);
    let wait = if chunks.adaptive { Wait::Adaptive } else { Wait::Block };
    let mut builder = ChunkWriter::builder().chunk(chunk).wait(wait);
    if chunks.after_read {
        builder = builder.reuse(Reuse::AfterRead);
    }
    if chunks.keep_capacity {
        builder = builder.keep_capacity();
    }
    builder = match chunks.mechanism {
        Some(Means::Vmsplice) => builder.mechanism(ChunkMechanism::Vmsplice),
        Some(Means::Memfd) => builder.mechanism(ChunkMechanism::Memfd),
        Some(Means::Write) => builder.mechanism(ChunkMechanism::Write),
        None => builder,
    };
    let writer = match builder.build(writer) {
        Ok(writer) => writer,
        // An error is correct only if the case requested a mechanism that this kernel lacks.
        Err(errno) => return assert!(chunks.mechanism.is_some(), "{errno}"),
    };
    let reader = ChunkReader::builder().chunk(read_chunk).wait(wait).build(reader).unwrap();
    let mut state = State {
        writer,
        reader,
        second: Builder::new().nonblocking().build().unwrap(),
        null: File::options().write(true).open("/dev/null").unwrap(),
        chunk,
        read_chunk,
        queue: VecDeque::new(),
        second_queue: VecDeque::new(),
        lent: None,
        sent: (Vec::new(), 0),
        before: Vec::new(),
        pattern: Pattern::new(),
    };
    for operation in chunks.operations.iter().take(60) {
        state.apply(operation);
        assert_eq!(state.reader.get_ref().available(), Ok(state.queue.len()));
        assert_eq!(state.second.0.available(), Ok(state.second_queue.len()));
    }
    state.finish();
}

/// Returns the count, or 0 if the call failed with `EAGAIN`, which is the only possible error.
fn count(result: rawpipe::Result<usize>) -> usize {
    result.unwrap_or_else(|errno| {
        assert_eq!(errno, Errno::EAGAIN);
        0
    })
}

impl State {
    fn apply(&mut self, operation: &Operation) {
        // With `Reuse::AfterRead`, pages may be moved only to a sink that discards them.
        let passes_on = self.writer.reuse() == Reuse::Never;
        match operation {
            Operation::Chunk { from, len } => self.lend(*from as usize, *len as usize),
            Operation::Send(len) => self.send(*len as usize % (self.chunk + 2)),
            Operation::SendAll => {
                let left = self.lent.as_ref().map_or(1, |(chunk, done)| chunk.len() - done);
                self.send(left);
            }
            Operation::Resend(len) => self.resend(*len as usize % (self.chunk + 2)),
            Operation::Write(len) => {
                let bytes = self.pattern.bytes((*len).into());
                let written = count(self.writer.get_ref().write(&bytes));
                self.queue.extend(&bytes[..written]);
            }
            Operation::ReadChunk => {
                let expected = self.queue.len().min(self.read_chunk);
                match self.reader.read_chunk() {
                    Ok(bytes) => {
                        assert!(
                            bytes.len() == expected
                                && self.queue.drain(..expected).eq(bytes.iter().copied())
                        );
                    }
                    Err(errno) => assert_eq!((errno, expected), (Errno::EAGAIN, 0)),
                }
            }
            Operation::Read(len) => {
                let mut buf = vec![0; (*len).into()];
                let read = count(self.reader.get_ref().read(&mut buf));
                assert_eq!(read, buf.len().min(self.queue.len()));
                assert!(self.queue.drain(..read).eq(buf[..read].iter().copied()));
            }
            Operation::Splice(len) => {
                let len = *len as usize;
                if passes_on {
                    let moved = count(self.reader.splice_to(&self.second.1, len));
                    assert!(moved <= len.min(self.queue.len()));
                    self.second_queue.extend(self.queue.drain(..moved));
                }
            }
            Operation::Tee(len) => {
                let len = *len as usize;
                if passes_on {
                    let flags = SpliceFlags::NONBLOCK;
                    let copied = count(tee(&self.reader, &self.second.1, len, flags));
                    assert!(copied <= len.min(self.queue.len()));
                    self.second_queue.extend(self.queue.range(..copied));
                }
            }
            Operation::SpliceAway(len) => {
                let len = *len as usize;
                let moved = count(self.reader.splice_to(&self.null, len));
                assert!(moved <= len.min(self.queue.len()));
                self.queue.drain(..moved);
            }
            Operation::ReadSecond(len) => {
                let mut buf = vec![0; *len as usize % 300_000];
                let read = count(self.second.0.read(&mut buf));
                assert_eq!(read, buf.len().min(self.second_queue.len()));
                assert!(self.second_queue.drain(..read).eq(buf[..read].iter().copied()));
            }
            Operation::SetCapacity(doubled) => {
                match self.writer.get_ref().set_capacity(capacity(*doubled)) {
                    Ok(_) | Err(Errno::EBUSY) => {}
                    Err(errno) => panic!("{errno}"),
                }
            }
        }
    }

    fn give_back(&mut self) {
        if let Some((chunk, _)) = self.lent.take() {
            if self.before.len() < 20 || !self.before.contains(&chunk) {
                self.before.push(chunk);
            }
        }
    }

    fn lend(&mut self, from: usize, len: usize) {
        self.give_back();
        self.sent = (Vec::new(), 0);
        let chunk = self.writer.chunk().unwrap();
        assert_eq!(chunk.len(), self.chunk);
        let zeros = chunk.iter().all(|&byte| byte == 0);
        let known = zeros || self.before.iter().any(|before| before == chunk);
        let from = from % self.chunk;
        let end = self.chunk.min(from + len % 100_000);
        chunk[from..end].copy_from_slice(&self.pattern.bytes(end - from));
        self.lent = Some((chunk.to_vec(), 0));
        assert!(known || self.writer.reuse() == Reuse::Never, "neither zeros nor an earlier chunk");
    }

    fn send(&mut self, len: usize) {
        let result = self.writer.send(len);
        let Some((chunk, done)) = &mut self.lent else {
            if len > 0 {
                let stopped = result.unwrap_err();
                assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EINVAL)));
            }
            return;
        };
        match result {
            Ok(()) => {
                assert!(len <= chunk.len() - *done);
                self.queue.extend(&chunk[*done..*done + len]);
                if len > 0 {
                    self.sent = (chunk[..*done + len].to_vec(), 0);
                    self.give_back();
                }
            }
            Err(stopped) if stopped.errno() == Some(Errno::EINVAL) => {
                assert!(len > chunk.len() - *done);
                assert_eq!(stopped.bytes(), 0);
            }
            Err(stopped) => {
                assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                assert!(stopped.bytes() < len && len <= chunk.len() - *done);
                self.queue.extend(&chunk[*done..*done + stopped.bytes()]);
                *done += stopped.bytes();
            }
        }
    }

    fn resend(&mut self, len: usize) {
        let result = self.writer.resend(len);
        let (bytes, done) = &mut self.sent;
        let left = bytes.len() - *done;
        let count = match result {
            Ok(()) => len,
            Err(stopped) if stopped.errno() == Some(Errno::EINVAL) => {
                assert_eq!((stopped.bytes(), len > left), (0, true));
                return;
            }
            Err(stopped) => {
                assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                assert!(stopped.bytes() < len);
                stopped.bytes()
            }
        };
        assert!(len <= left);
        self.queue.extend(&bytes[*done..*done + count]);
        *done = if count < len {
            *done + count
        } else if len > 0 {
            0
        } else {
            *done
        };
    }

    fn finish(mut self) {
        // Bytes that were sent must stay unchanged after the writer is dropped.
        drop(self.writer);
        loop {
            let bytes = self.reader.read_chunk().unwrap();
            if bytes.is_empty() {
                break;
            }
            assert!(bytes.len() <= self.queue.len());
            assert!(self.queue.drain(..bytes.len()).eq(bytes.iter().copied()));
        }
        assert!(self.queue.is_empty());
        let (reader, writer) = self.second;
        drop(writer);
        let mut rest = Vec::new();
        io::read_to_end(&reader, &mut rest).unwrap();
        assert!(self.second_queue == rest);
    }
}
