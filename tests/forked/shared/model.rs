//! Performs random operations on a pair and compares their results with a queue of the expected records.

use super::{asked_for, fill, is_filled, supported, times};
use crate::common;
use crate::common::bytes::Random;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::{Deadline, Errno};
use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::mem;
use std::time::Duration;

/// A pair and its expected contents.
struct Model {
    chunk: usize,
    ring: usize,
    reader: SharedReader,
    writer: Option<SharedWriter>,
    /// The unread records, each with its number, its length, and the number of bytes already consumed.
    queue: VecDeque<(usize, usize, usize)>,
    /// The number of a chunk that was filled but not sent.
    lent: Option<usize>,
    /// An upper bound for the size of a record whose guard was leaked, or 0. The reader's next call frees
    /// this record's space.
    leaked: usize,
}

/// Returns an upper bound for the number of bytes that a record occupies in the ring.
fn size(len: usize) -> usize {
    (len + 8).next_multiple_of(64)
}

fn passed() -> Deadline<'static> {
    Deadline::after(Duration::ZERO)
}

impl Model {
    fn new(random: &mut Random) -> Self {
        let chunk = 1 + random.below(200);
        let ring = 1 << random.below(12);
        let (reader, writer) = SharedBuilder::new().chunk(chunk).ring(ring).build().unwrap();
        let ring = ring.max(2 * size(chunk)).next_power_of_two();
        let writer = Some(writer);
        Self { chunk, ring, reader, writer, queue: VecDeque::new(), lent: None, leaked: 0 }
    }

    /// Requests a chunk without waiting, and fills the chunk if the writer lends one.
    fn lend(&mut self, random: &mut Random, number: usize) {
        let Some(writer) = &mut self.writer else { return };
        let lent = match random.below(2) {
            0 => writer.try_chunk(),
            _ => writer.chunk_deadline(passed()),
        };
        let used: usize = self.queue.iter().map(|(_, len, _)| size(*len)).sum();
        match lent {
            Ok(lent) => {
                assert_eq!(lent.len(), self.chunk);
                assert!(self.lent.is_none_or(|number| is_filled(lent, number)), "lent as it was");
                fill(lent, number);
                self.lent = Some(number);
            }
            Err(errno) => {
                assert!(matches!(errno, Errno::EAGAIN | Errno::ETIMEDOUT), "{errno}");
                // The writer skips the end of the ring at most once, and skips fewer bytes than a chunk
                // needs.
                let kept = used + self.leaked + 2 * size(self.chunk);
                assert!(kept > self.ring, "{used} bytes of {} are used", self.ring);
            }
        }
    }

    fn send(&mut self, random: &mut Random) {
        let Some(writer) = &mut self.writer else { return };
        assert_eq!(writer.send(self.chunk + 1), Err(Errno::EINVAL), "more than a chunk");
        assert_eq!(writer.send(0), Ok(()));
        let len = 1 + random.below(self.chunk);
        let Some(number) = self.lent.take() else {
            return assert_eq!(writer.send(len), Err(Errno::EINVAL), "nothing is lent");
        };
        // `chunk` returns the chunk that is already lent, and does not wait.
        assert!(is_filled(writer.chunk().unwrap(), number));
        assert_eq!(writer.send(len), Ok(()));
        self.queue.push_back((number, len, 0));
    }

    /// Sends a record with `Write::write` if the call would not block.
    fn write(&mut self, random: &mut Random, number: usize) {
        let Some(writer) = &mut self.writer else { return };
        let mut bytes = vec![0; 1 + random.below(2 * self.chunk)];
        fill(&mut bytes, number);
        if writer.try_chunk().is_ok() {
            let len = bytes.len().min(self.chunk);
            assert_eq!(writer.write(&bytes).unwrap(), len);
            self.queue.push_back((number, len, 0));
            self.lent = None;
        }
    }

    fn receive(&mut self, random: &mut Random) {
        let there = !self.queue.is_empty() || self.writer.is_none();
        let received = match random.below(3) {
            0 => self.reader.try_recv(),
            1 => self.reader.recv_deadline(passed()),
            _ if !there => return,
            _ => self.reader.recv(),
        };
        self.leaked = 0;
        match (received, self.queue.pop_front()) {
            (Ok(Some(record)), Some((number, len, taken))) => {
                assert_eq!(record.len(), len - taken);
                let mut expected = vec![0; len];
                fill(&mut expected, number);
                assert!(*record == expected[taken..], "{number}");
                if random.below(4) == 0 {
                    self.leaked = size(len);
                    mem::forget(record);
                }
            }
            (Ok(None), None) => assert!(self.writer.is_none(), "an end of a stream that continues"),
            (Err(Errno::EAGAIN | Errno::ETIMEDOUT), None) => assert!(self.writer.is_some()),
            other => panic!("{other:?}"),
        }
    }

    /// Consumes a random part of a record with `BufRead`.
    fn consume(&mut self, random: &mut Random) {
        let Some((number, len, taken)) = self.queue.front_mut() else { return };
        let mut expected = vec![0; *len];
        fill(&mut expected, *number);
        assert!(self.reader.fill_buf().unwrap() == &expected[*taken..], "{number}");
        self.leaked = 0;
        let amount = random.below(*len - *taken + 1);
        self.reader.consume(amount);
        *taken += amount;
        if taken == len {
            self.queue.pop_front();
        }
    }
}

pub(super) fn model_beside_a_queue() {
    if !supported() {
        return;
    }
    let operations = asked_for("RAWPIPE_MODEL_OPERATIONS").unwrap_or_else(|| times(100_000));
    let seed = asked_for("RAWPIPE_MODEL_SEED").map(|seed| Random(seed as u64));
    let mut random = seed.unwrap_or_else(Random::new);
    let (mut model, mut pairs) = (Model::new(&mut random), 1);
    for number in 0..operations {
        match random.below(1_000) {
            0 => {
                model.writer = None;
                model.lent = None;
            }
            // Dropping the reader discards the unread records, and the writer's calls then fail.
            1 => {
                drop(model.reader);
                if let Some(mut writer) = model.writer {
                    // If the reader was never used, the writer may fill the ring before the writer's calls
                    // fail.
                    let send = |_| writer.try_chunk().map(drop).and_then(|()| writer.send(1)).err();
                    let refused = (0..=model.ring / 16).find_map(send);
                    assert_eq!(refused, Some(Errno::EPIPE));
                }
                (model, pairs) = (Model::new(&mut random), pairs + 1);
            }
            2 if model.writer.is_none() && model.queue.is_empty() => {
                assert!(model.reader.recv().unwrap().is_none(), "the end stays");
                (model, pairs) = (Model::new(&mut random), pairs + 1);
            }
            3..300 => model.lend(&mut random, number),
            300..550 => model.send(&mut random),
            550..600 => model.write(&mut random, number),
            600..900 => model.receive(&mut random),
            _ => model.consume(&mut random),
        }
    }
    common::say(&format!(
        "result: model of shared chunks | {operations} operations, {pairs} pairs"
    ));
}
