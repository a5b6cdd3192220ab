//! Runs the ring of `chunk::shared` between two threads. In the ring's source, this module replaces the
//! atomics of `core`, so that a test can weaken the `Release` stores.

use atomic::{AtomicUsize, Ordering, RELAXED};
use rawpipe::{Deadline, Errno};
use ring::{Control, Link, Side, UNIT};
use std::cell::UnsafeCell;
use std::thread;

#[allow(dead_code, reason = "two threads need a part of it")]
#[path = "../../../src/chunk/shared/ring.rs"]
mod ring;

/// The replacement for `core::sync::atomic` in the ring's source.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};

    /// The flag that turns `Release` stores into `Relaxed` stores.
    pub(super) static RELAXED: AtomicBool = AtomicBool::new(false);

    #[derive(Debug, Default)]
    pub(super) struct AtomicUsize(std::sync::atomic::AtomicUsize);

    impl AtomicUsize {
        pub(super) fn load(&self, order: Ordering) -> usize {
            self.0.load(order)
        }

        pub(super) fn store(&self, value: usize, order: Ordering) {
            match order {
                Ordering::Release if RELAXED.load(Ordering::Relaxed) => {
                    self.0.store(value, Ordering::Relaxed);
                }
                _ => self.0.store(value, order),
            }
        }

        pub(super) fn swap(&self, value: usize, order: Ordering) -> usize {
            self.0.swap(value, order)
        }

        pub(super) fn compare_exchange(
            &self,
            old: usize,
            new: usize,
            done: Ordering,
            not: Ordering,
        ) -> Result<usize, usize> {
            self.0.compare_exchange(old, new, done, not)
        }
    }
}

/// A ring of two records, each of which is a separate cell.
#[derive(Default)]
struct Pair {
    control: Control,
    headers: [AtomicUsize; 2],
    records: [UnsafeCell<u64>; 2],
}

// SAFETY: a correct ring determines which thread may access which record.
unsafe impl Sync for Pair {}

struct Ends<'pair>(&'pair Pair, AtomicUsize);

impl Link for Ends<'_> {
    fn control(&self) -> &Control {
        &self.0.control
    }

    fn word(&self, place: usize) -> &AtomicUsize {
        &self.0.headers[place / UNIT]
    }

    fn mark(&self) -> &AtomicUsize {
        &self.1
    }

    fn ring(&self) -> rawpipe::Result<()> {
        Ok(())
    }

    /// Fails with `EAGAIN`, because neither side sleeps.
    fn hear(&self, _: Option<Deadline<'_>>) -> rawpipe::Result<bool> {
        Err(Errno::EAGAIN)
    }
}

/// Sends records from one thread to another. Neither thread sleeps. If `relaxed` is set, the `Release` stores
/// are `Relaxed`.
pub(super) fn records_between_threads(relaxed: bool) {
    const RECORDS: u64 = 2_000;
    RELAXED.store(relaxed, Ordering::SeqCst);
    let pair = &Pair::default();
    let ends = || Ends(pair, AtomicUsize::default());
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut writer = Side::<_, true>::new(ends(), 2 * UNIT, 8);
            for number in 0..RECORDS {
                writer.claim().unwrap();
                let (start, needed) = writer.next();
                while !writer.is_there(needed).unwrap() {
                    thread::yield_now();
                }
                writer.lend(start);
                let record = pair.records[writer.lent_at() / UNIT].get();
                // SAFETY: in a correct ring the record belongs to the writer.
                unsafe { record.write(number) };
                writer.send(8).unwrap();
            }
        });
        scope.spawn(move || {
            let mut reader = Side::<_, false>::new(ends(), 2 * UNIT, 8);
            for number in 0..RECORDS {
                reader.claim().unwrap();
                while !reader.is_there(reader.next()).unwrap() {
                    thread::yield_now();
                }
                reader.lend().unwrap();
                let record = pair.records[reader.lent_at() / UNIT].get();
                // SAFETY: in a correct ring the record belongs to the reader.
                assert_eq!(unsafe { record.read() }, number);
                reader.give_back();
            }
        });
    });
}
