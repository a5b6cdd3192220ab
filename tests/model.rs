//! Random operations on two real pipes, one behind the other, and on two queues of bytes: after each
//! the counts are the same, and every byte that is read is the one that the queue has.
//!
//! `RAWPIPE_SEED` repeats a run; `RAWPIPE_STEPS` makes it longer or shorter (100,000 when
//! optimised).
#![cfg(feature = "transfer")]

mod common;

use rawpipe::io::{IoSlice, IoSliceMut};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, splice, tee};
use rawpipe::time::Deadline;
use rawpipe::transfer::{Side, Transfer, discard};
use rawpipe::{Errno, PipeReader, PipeWriter, Result};
use std::collections::VecDeque;
use std::time::Duration;

/// A small generator, so that a run can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// Short ones, pages, and longer ones than a pipe may hold.
    fn len(&mut self) -> usize {
        let bound = [2, 100, 5_000, 30_000, 300_000][self.below(5)];
        self.below(bound)
    }
}

/// A pipe and what is in it.
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    queue: VecDeque<u8>,
}

impl Pipe {
    fn new() -> Self {
        let (reader, writer) = Builder::new().nonblocking().build().unwrap();
        Self { reader, writer, queue: VecDeque::new() }
    }

    fn check(&self, what: &str) {
        assert_eq!(self.reader.available(), Ok(self.queue.len()), "{what}");
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.queue.drain(..count).collect()
    }
}

struct Model {
    random: Random,
    next: u8,
    first: Pipe,
    second: Pipe,
    buf: Vec<u8>,
    moved: u64,
}

/// A count, or 0 for `EAGAIN`, which is the only error here.
fn count(answer: Result<usize>) -> usize {
    match answer {
        Ok(count) => count,
        Err(errno) => {
            assert_eq!(errno, Errno::EAGAIN);
            0
        }
    }
}

impl Model {
    fn write(&mut self) {
        let len = self.random.len();
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                self.next = self.next.wrapping_mul(13).wrapping_add(7);
                self.next
            })
            .collect();
        let writer = &self.first.writer;
        let written = count(match self.random.below(3) {
            0 => writer.write(&bytes),
            1 => {
                let (head, tail) = bytes.split_at(len / 3);
                writer.writev(&[IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)])
            }
            _ => match writer.write_all(&bytes) {
                Ok(()) => Ok(len),
                Err(stopped) => {
                    assert_eq!(stopped.errno(), Some(Errno::EAGAIN));
                    Ok(stopped.bytes())
                }
            },
        });
        self.first.queue.extend(&bytes[..written]);
    }

    fn read(&mut self) {
        let len = self.random.len();
        let by_vectors = self.random.below(2) == 0;
        let second = self.random.below(3) > 0;
        let pipe = if second { &mut self.second } else { &mut self.first };
        let (head, tail) = self.buf[..len].split_at_mut(len / 3);
        let answer = if by_vectors {
            pipe.reader.readv(&mut [IoSliceMut::new(head), IoSliceMut::new(tail)])
        } else {
            pipe.reader.read(&mut self.buf[..len])
        };
        if len > 0 {
            assert_eq!(answer.is_err(), pipe.queue.is_empty());
        }
        let read = count(answer);
        assert_eq!(read, len.min(pipe.queue.len()));
        assert!(pipe.take(read) == self.buf[..read]);
    }

    fn splice_or_tee(&mut self) {
        let len = self.random.len();
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

    /// As far as it goes at once: the deadline has passed.
    fn transfer(&mut self) {
        let mut wanted = self.random.len();
        let mut options = Transfer::new().deadline(Deadline::after(Duration::ZERO));
        if self.random.below(2) == 0 {
            let chunk = self.random.len().max(1);
            wanted = wanted.min(50 * chunk);
            options = options.chunk(chunk);
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

    fn others(&mut self) {
        let pages = 1 << self.random.below(8);
        let pipe = if self.random.below(2) == 0 { &self.first } else { &self.second };
        match self.random.below(3) {
            0 => {
                let wanted = self.random.len().min(self.first.queue.len());
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
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Without optimisation the model is the slow part.
fn usual_steps() -> u64 {
    match (common::emulated(), cfg!(debug_assertions)) {
        (true, _) => 3_000,
        (_, true) => 20_000,
        _ => 100_000,
    }
}

#[test]
fn model_of_two_pipes_and_two_queues() {
    let seed = setting("RAWPIPE_SEED", 0x5eed);
    let steps = setting("RAWPIPE_STEPS", usual_steps());
    println!("RAWPIPE_SEED={seed} RAWPIPE_STEPS={steps}");
    let mut model = Model {
        random: Random(seed),
        next: 1,
        first: Pipe::new(),
        second: Pipe::new(),
        buf: vec![0; 300_000],
        moved: 0,
    };
    for step in 0..steps {
        match model.random.below(10) {
            0..3 => model.write(),
            3..6 => model.read(),
            6 | 7 => model.splice_or_tee(),
            8 => model.transfer(),
            _ => model.others(),
        }
        model.first.check(&format!("first pipe, step {step}"));
        model.second.check(&format!("second pipe, step {step}"));
    }
    assert!(model.moved > 0);
    let Pipe { reader, writer, queue } = model.second;
    drop(writer);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(queue == rest);
}
