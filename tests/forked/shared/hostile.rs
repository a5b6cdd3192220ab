//! Tests a peer that stores arbitrary values in the shared words and sends wake-ups at any time. The
//! directory `fuzz/` contains a similar fuzz target.

use super::{supported, times};
use crate::common::bytes::Random;
use crate::common::shared::{CONTROL, HEAD, Outside, TAIL, WORD};
use crate::common::{child, tool};
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::{Deadline, Errno};
use std::time::{Duration, Instant};

const RING: usize = 8192;
type Pair = (Outside, SharedReader, SharedWriter);

fn pair(builder: SharedBuilder) -> Pair {
    let (outside, (reader, writer)) = Outside::of(RING, || builder.ring(RING).build().unwrap());
    (outside, reader, writer)
}

fn passed() -> Deadline<'static> {
    Deadline::after(Duration::ZERO)
}

/// After a half has read a position that no correct peer stores, calls on that half fail with `EPROTO`, even
/// if the position is corrected.
pub(super) fn hostile_positions_eproto_for_good() {
    if !supported() {
        return;
    }
    let builder = SharedBuilder::new().chunk(100);
    for wrong in [
        1,
        8,
        15,
        17,
        RING + 16,
        2 * RING,
        usize::MAX / 2 + 1,
        usize::MAX,
        0_usize.wrapping_sub(128),
    ] {
        let (outside, mut reader, mut writer) = pair(builder);
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
        writer.try_chunk().unwrap();
        outside.store(HEAD, wrong);
        assert_eq!(reader.recv().unwrap_err(), Errno::EPROTO, "{wrong}");
        outside.store(HEAD, 0);
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EPROTO, "{wrong}");
        assert_eq!(reader.recv_deadline(passed()).unwrap_err(), Errno::EPROTO, "{wrong}");
        let refused = loop {
            outside.store(TAIL, wrong);
            match writer.chunk().map(drop).and_then(|()| writer.send(100)) {
                Ok(()) => {}
                Err(errno) => break errno,
            }
        };
        assert_eq!(refused, Errno::EPROTO, "{wrong}");
        outside.store(TAIL, 0);
        assert_eq!(writer.try_chunk().unwrap_err(), Errno::EPROTO, "{wrong}");
        assert_eq!(writer.send(1), Err(Errno::EPROTO), "{wrong}");
    }
}

/// If the peer stores a length that no correct writer stores, the reader fails permanently with `EPROTO`.
pub(super) fn hostile_lengths_eproto_for_good() {
    if !supported() {
        return;
    }
    let builder = SharedBuilder::new().chunk(100);
    for wrong in [0, 121, 4088, 4089, RING, 1 << 20, usize::MAX / 2, usize::MAX - 63, usize::MAX] {
        let (outside, mut reader, mut writer) = pair(builder);
        writer.chunk().unwrap().fill(1);
        writer.send(100).unwrap();
        outside.store_length(0, wrong);
        assert_eq!(reader.recv().unwrap_err(), Errno::EPROTO, "{wrong}");
        outside.store_length(0, 100);
        assert_eq!(reader.recv().unwrap_err(), Errno::EPROTO, "{wrong}");
    }
}

/// Between the calls of the two halves, the peer changes control words and the ring, and sends wake-ups.
/// Every chunk or record that a call lends lies within the ring, and every error is one that `is_known`
/// lists.
pub(super) fn hostile_words_lend_nothing_outside_the_ring() {
    if !supported() {
        return;
    }
    let mut random = Random::new();
    let (mut lent, mut refused) = (0_u32, 0_u32);
    for _ in 0..times(1_000) {
        let builder = SharedBuilder::new().chunk(1 + random.below(500));
        let (outside, mut reader, mut writer) = pair(builder);
        for _ in 0..50 {
            let near = [0, 16, 32, RING - 8, RING, RING + 16][random.below(6)];
            let value = match random.below(4) {
                0 => random.below(usize::MAX),
                1 => near.wrapping_sub(16 * random.below(4)),
                2 => usize::MAX - random.below(3),
                _ => 16 * random.below(2 * RING / 16),
            };
            match random.below(8) {
                0 => outside.store(CONTROL[random.below(6)], value),
                1 => outside.store_length(16 * random.below(RING / 16), value),
                2 => outside.store_in_ring(WORD * random.below(RING / WORD), value),
                3 => outside.ring_bells(64),
                4 => match writer.chunk_deadline(passed()) {
                    Ok(chunk) => {
                        assert!(outside.has(chunk), "outside the ring");
                        chunk.fill(value.to_le_bytes()[0]);
                        lent += 1;
                    }
                    Err(errno) => refused += u32::from(is_known(errno)),
                },
                5 => _ = writer.send(1 + random.below(500)).map_err(is_known),
                6 => match reader.recv_deadline(passed()) {
                    Ok(Some(record)) => {
                        assert!(outside.has(&record), "outside the ring");
                        std::hint::black_box(record.iter().fold(0, |sum: u8, byte| sum ^ byte));
                        lent += 1;
                    }
                    Ok(None) => {}
                    Err(errno) => refused += u32::from(is_known(errno)),
                },
                _ => match reader.try_recv() {
                    Ok(record) => drop(record),
                    Err(errno) => refused += u32::from(is_known(errno)),
                },
            }
        }
    }
    assert!(lent > 0 && refused > 0);
}

/// Asserts that this error is one of the documented errors. Returns `true`.
fn is_known(errno: Errno) -> bool {
    use Errno as E;
    let known = [E::EAGAIN, E::EBUSY, E::EINVAL, E::EPIPE, E::EPROTO, E::ETIMEDOUT];
    assert!(known.contains(&errno), "{errno}");
    true
}

/// A peer that only sends wake-ups cannot delay a wait past its deadline.
pub(super) fn hostile_bells_deadline_passes() {
    if !supported() {
        return;
    }
    let (outside, mut reader, mut writer) = pair(SharedBuilder::new().chunk(100));
    while writer.try_chunk().is_ok() {
        writer.send(100).unwrap();
    }
    let second = Duration::from_secs(if tool().is_some() { 10 } else { 2 });
    let mut ringing = child(|| {
        let start = Instant::now();
        while start.elapsed() < second {
            outside.ring_bells(64);
        }
        0
    });
    let start = Instant::now();
    let late = writer.chunk_deadline(Deadline::after(second / 20)).unwrap_err();
    assert_eq!(late, Errno::ETIMEDOUT);
    while reader.try_recv().is_ok() {}
    let late = reader.recv_deadline(Deadline::after(second / 20)).unwrap_err();
    assert_eq!(late, Errno::ETIMEDOUT);
    let taken = start.elapsed();
    assert_eq!(ringing.wait().unwrap().code(), Some(0));
    assert!(taken < second / 2, "{taken:?} for a deadline of {:?}", second / 20);
}
