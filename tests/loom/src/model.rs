// This file is included once for each version of the ring.

use crate::Errno;
use crate::Deadline;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use ring::{Control, Link, Side, UNIT};

const FOREVER: Option<Deadline<'static>> = Some(Deadline::NEVER);

/// A shared pair, which has two pipes, and a data cell and a header for each unit of the ring.
struct Pair {
    chunk: usize,
    control: Control,
    headers: Vec<atomic::AtomicUsize>,
    cells: Vec<UnsafeCell<usize>>,
    /// One entry for the reader and one for the writer. Each entry holds the number of bytes in the wake-up
    /// pipe and the condition variable of a waiting thread.
    pipes: [(Mutex<usize>, Condvar); 2],
}

impl Pair {
    fn new(ring: usize, chunk: usize) -> Arc<Self> {
        let units = ring / UNIT;
        Arc::new(Self {
            chunk,
            control: Control::default(),
            headers: (0..units).map(|_| atomic::AtomicUsize::new(0)).collect(),
            cells: (0..units).map(|_| UnsafeCell::new(0)).collect(),
            pipes: [(Mutex::new(0), Condvar::new()), (Mutex::new(0), Condvar::new())],
        })
    }

    fn fill(&self, place: usize, value: usize) {
        self.cells[place / UNIT].with_mut(|cell| {
            // SAFETY: the ring's protocol permits this access. If the protocol is wrong, the model checker
            // reports the access.
            unsafe { *cell = value }
        });
    }

    fn look(&self, place: usize) -> usize {
        self.cells[place / UNIT].with(|cell| {
            // SAFETY: as in `fill`.
            unsafe { *cell }
        })
    }
}

/// The resources of one half. The wake-up pipes stay open when a half is dropped, as if a third process held
/// copies of their ends.
struct Ends {
    pair: Arc<Pair>,
    /// The index of the half: 0 for the reader, 1 for the writer.
    number: usize,
    mark: atomic::AtomicUsize,
}

impl Link for Ends {
    fn control(&self) -> &Control {
        &self.pair.control
    }

    fn word(&self, place: usize) -> &atomic::AtomicUsize {
        assert_eq!(place % UNIT, UNIT - 8);
        &self.pair.headers[place / UNIT]
    }

    fn mark(&self) -> &atomic::AtomicUsize {
        &self.mark
    }

    fn ring(&self) -> crate::Result<()> {
        let (bytes, ready) = &self.pair.pipes[1 - self.number];
        *bytes.lock().unwrap() += 1;
        ready.notify_one();
        Ok(())
    }

    fn hear(&self, until: Option<Deadline<'_>>) -> crate::Result<bool> {
        let (bytes, ready) = &self.pair.pipes[self.number];
        let mut bytes = bytes.lock().unwrap();
        while *bytes == 0 {
            if until.is_none() {
                return Err(Errno::EAGAIN);
            }
            bytes = ready.wait(bytes).unwrap();
        }
        *bytes = 0;
        Ok(true)
    }
}

/// A half that belongs to a separate process. A thread models that process.
struct Half<const WRITER: bool>(Side<Ends, WRITER>);

impl<const WRITER: bool> Half<WRITER> {
    fn new(pair: &Arc<Pair>) -> Self {
        let mark = atomic::AtomicUsize::new(0);
        let ends = Ends { pair: pair.clone(), number: usize::from(WRITER), mark };
        Self(Side::new(ends, pair.headers.len() * UNIT, pair.chunk))
    }

    /// Waits until the peer has reached position `needed`. Returns `Ok(false)` if the peer will never reach
    /// the position.
    fn wait(&mut self, needed: usize, until: Option<Deadline<'_>>) -> crate::Result<bool> {
        if self.0.is_there(needed)? {
            self.0.disarm();
            return Ok(true);
        }
        self.0.wait(needed, until)
    }

    fn leave(&mut self, closed: bool) {
        self.0.leave(closed);
    }
}

impl Half<true> {
    /// Sends a record whose cell holds `value`. If the reader was dropped, returns `Ok(false)` or fails with
    /// `EPIPE`.
    fn send(&mut self, value: usize, until: Option<Deadline<'_>>) -> crate::Result<bool> {
        self.0.claim()?;
        let (start, needed) = self.0.next();
        if !self.wait(needed, until)? {
            return Ok(false);
        }
        self.0.lend(start);
        self.0.link.pair.fill(self.0.lent_at(), value);
        self.0.send(value)?;
        Ok(true)
    }
}

impl Half<false> {
    /// Receives a record and checks that the length of the record equals the value of its cell. Returns
    /// `None` at end of file.
    fn recv(&mut self, until: Option<Deadline<'_>>) -> crate::Result<Option<usize>> {
        self.0.claim()?;
        if !self.wait(self.0.next(), until)? {
            return Ok(None);
        }
        self.0.lend()?;
        let (place, len) = (self.0.lent_at(), self.0.lent.len);
        assert!(place + len <= self.0.link.pair.headers.len() * UNIT, "outside the ring");
        let value = self.0.link.pair.look(place);
        assert_eq!(value, len);
        self.0.give_back();
        Ok(Some(value))
    }
}

/// Runs a model in every order of the threads' steps. If `preemptions` is `Some`, leaves out the orders with
/// more preemptions than this number. If `LOOM_MAX_PREEMPTIONS` is set, its value replaces `preemptions`.
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.check(model);
}

/// Sends one record more than the ring can hold, so the writer must wait for space.
fn records_arrive(in_ring: usize, preemptions: Option<usize>) {
    check(preemptions, move || {
        let pair = Pair::new(in_ring * UNIT, 8);
        let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
        let writing = thread::spawn(move || {
            for value in 1..=in_ring + 1 {
                assert!(writer.send(value, FOREVER).unwrap());
            }
        });
        for value in 1..=in_ring + 1 {
            assert_eq!(reader.recv(FOREVER).unwrap(), Some(value));
        }
        writing.join().unwrap();
    });
}

pub(crate) fn both_sides_sleep_in_a_ring_of_one() {
    records_arrive(1, Some(5));
}

pub(crate) fn both_sides_sleep_in_a_ring_of_two() {
    records_arrive(2, Some(4));
}

/// The reader reaches end of file after the last record, although the wake-up pipes stay open.
pub(crate) fn writer_is_dropped() {
    loom::model(|| {
        let pair = Pair::new(2 * UNIT, 8);
        let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
        let writing = thread::spawn(move || {
            assert!(writer.send(1, FOREVER).unwrap());
            writer.leave(true);
        });
        assert_eq!(reader.recv(FOREVER).unwrap(), Some(1));
        assert_eq!(reader.recv(FOREVER).unwrap(), None);
        writing.join().unwrap();
    });
}

/// A writer that waits for space detects that the reader was dropped, although the wake-up pipes stay open.
pub(crate) fn reader_is_dropped() {
    loom::model(|| {
        let pair = Pair::new(2 * UNIT, 8);
        let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
        for value in 1..=2 {
            assert!(writer.send(value, None).unwrap());
        }
        let reading = thread::spawn(move || {
            assert_eq!(reader.recv(FOREVER).unwrap(), Some(1));
            reader.leave(true);
        });
        // The space of the received record becomes free, so one more record fits. The writer may instead
        // detect that the reader was dropped.
        let more = (3..=4).take_while(|value| match writer.send(*value, FOREVER) {
            Err(Errno::EPIPE) => false,
            sent => sent.unwrap(),
        });
        let more = more.count();
        assert!(more <= 1, "{more}");
        reading.join().unwrap();
    });
}

/// If the ring has four units and each chunk has two, the third chunk does not fit before the end of the
/// ring. All three records arrive.
pub(crate) fn skipped_ends_of_laps() {
    check(Some(3), || {
        let pair = Pair::new(4 * UNIT, 21);
        let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
        let writing = thread::spawn(move || {
            // The second record occupies only one unit of its chunk, so the last unit of the ring is skipped.
            for value in [20, 1, 21] {
                assert!(writer.send(value, FOREVER).unwrap());
            }
        });
        for value in [20, 1, 21] {
            assert_eq!(reader.recv(FOREVER).unwrap(), Some(value));
        }
        writing.join().unwrap();
    });
}

/// A reader whose call returned `EAGAIN` is woken in the same way as a sleeping reader.
pub(crate) fn what_is_tried_is_armed() {
    check(Some(5), || {
        let pair = Pair::new(2 * UNIT, 8);
        let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
        let writing = thread::spawn(move || {
            assert!(writer.send(1, FOREVER).unwrap());
            assert!(writer.send(2, FOREVER).unwrap());
        });
        for value in 1..=2 {
            let received = loop {
                match reader.recv(None) {
                    // This loop waits as `poll` does.
                    Err(Errno::EAGAIN) => {
                        let (bytes, ready) = &pair.pipes[0];
                        let mut bytes = bytes.lock().unwrap();
                        while *bytes == 0 {
                            bytes = ready.wait(bytes).unwrap();
                        }
                    }
                    answer => break answer.unwrap(),
                }
            };
            assert_eq!(received, Some(value));
        }
        writing.join().unwrap();
        // At most one wake-up byte remains in the reader's pipe.
        assert!(*pair.pipes[0].0.lock().unwrap() <= 1, "rings are left over");
    });
}

/// Two processes hold copies of the writer, but only one process can use the writer. The other process's call
/// fails with `EBUSY`.
pub(crate) fn one_process_of_two_writes() {
    loom::model(|| {
        let pair = Pair::new(2 * UNIT, 8);
        let [mut one, mut other] = [Half::<true>::new(&pair), Half::<true>::new(&pair)];
        let writing = thread::spawn(move || one.send(1, None));
        let answers = [other.send(2, None), writing.join().unwrap()];
        match answers {
            [Ok(true), Err(Errno::EBUSY)] => assert_eq!(pair.look(0), 2),
            [Err(Errno::EBUSY), Ok(true)] => assert_eq!(pair.look(0), 1),
            answers => panic!("{answers:?}"),
        }
    });
}

/// A process that claims a released half sees every change that the previous owner made.
pub(crate) fn half_goes_from_one_process_to_another() {
    loom::model(|| {
        let pair = Pair::new(2 * UNIT, 8);
        let [mut one, mut other] = [Half::<true>::new(&pair), Half::<true>::new(&pair)];
        let writing = thread::spawn(move || {
            let sent = one.send(1, None);
            one.leave(false);
            sent
        });
        let second = other.send(2, None);
        let first = writing.join().unwrap();
        let mut reader = Half::<false>::new(&pair);
        match (first, second) {
            (Ok(true), Ok(true)) => {
                // The first owner released the half before the second owner claimed it, so the records arrive
                // in this order.
                assert_eq!(reader.recv(None).unwrap(), Some(1));
                assert_eq!(reader.recv(None).unwrap(), Some(2));
            }
            (Ok(true), Err(Errno::EBUSY)) => assert_eq!(reader.recv(None).unwrap(), Some(1)),
            (Err(Errno::EBUSY), Ok(true)) => assert_eq!(reader.recv(None).unwrap(), Some(2)),
            answers => panic!("{answers:?}"),
        }
        assert_eq!(reader.recv(None), Err(Errno::EAGAIN));
    });
}

const RUBBISH: [usize; 12] = [
    0,
    UNIT - 7,
    UNIT,
    4 * UNIT - 8,
    4 * UNIT - 7,
    4 * UNIT,
    usize::MAX / 2,
    usize::MAX - 128,
    usize::MAX - 71,
    usize::MAX - 8,
    usize::MAX - 1,
    usize::MAX,
];

/// If a writer stores an invalid header, the reader permanently fails with `EPROTO`.
pub(crate) fn rubbish_in_headers() {
    for (rubbish, sent) in RUBBISH.into_iter().flat_map(|rubbish| [1, 2, 3].map(|sent| (rubbish, sent))) {
        if (1..=UNIT * sent - 8).contains(&rubbish) {
            continue; // this length is valid
        }
        loom::model(move || {
            let pair = Pair::new(4 * UNIT, 8);
            let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
            for _ in 0..sent {
                assert!(writer.send(8, None).unwrap());
            }
            pair.headers[3].store(rubbish, atomic::Ordering::Relaxed);
            for _ in 0..2 {
                assert_eq!(reader.recv(None), Err(Errno::EPROTO), "{rubbish} of {sent}");
                pair.headers[3].store(8, atomic::Ordering::Relaxed);
            }
        });
    }
}

/// If a peer stores an invalid position, the other half permanently fails with `EPROTO`.
pub(crate) fn rubbish_in_positions() {
    for rubbish in RUBBISH {
        loom::model(move || {
            let pair = Pair::new(4 * UNIT, 8);
            let (mut writer, mut reader) = (Half::<true>::new(&pair), Half::<false>::new(&pair));
            let [tail, head] = [0, 1].map(|half| &pair.control.halves[half].position.0);
            if rubbish % UNIT != 0 || rubbish > 4 * UNIT {
                head.store(rubbish, atomic::Ordering::Relaxed);
                for _ in 0..2 {
                    assert_eq!(reader.recv(None), Err(Errno::EPROTO), "{rubbish}");
                    head.store(0, atomic::Ordering::Relaxed);
                }
            }
            if rubbish != 0 {
                tail.store(rubbish, atomic::Ordering::Relaxed);
                for _ in 0..2 {
                    assert_eq!(writer.send(1, None), Err(Errno::EPROTO), "{rubbish}");
                    tail.store(0, atomic::Ordering::Relaxed);
                }
            }
        });
    }
}
