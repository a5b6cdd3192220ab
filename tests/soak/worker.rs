//! A worker with its state and its random sequence of operations.

use crate::children::Cat;
use crate::limits::{self, Role};
use crate::pipes::Slot;
use crate::stream::{Held, Random, Run, fill};
use crate::{Beat, pthread_self};
use rawpipe::Errno;
use rawpipe::process::Resource;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state that the workers share.
pub(crate) struct Shared {
    pub(crate) role: Role,
    pub(crate) seed: u64,
    started: Mutex<(Instant, Duration)>,
    beats: Vec<Beat>,
    threads: Mutex<Vec<usize>>,
    violations: Mutex<Vec<String>>,
    /// The number of bytes that entered the tracked streams of all workers, counted as for [`Counts::taken`].
    /// `accounted` counts the bytes that arrived or were reported.
    taken: AtomicU64,
    accounted: AtomicU64,
    /// Set if a worker has reached a limit in this run.
    refused: AtomicBool,
    /// The number of children that currently exist.
    children: AtomicU64,
    most_children: AtomicU64,
}

impl Shared {
    pub(crate) fn new(role: Role, workers: usize, seed: u64) -> Self {
        Self {
            role,
            seed,
            started: Mutex::new((Instant::now(), Duration::ZERO)),
            beats: (0..workers).map(|_| Beat::default()).collect(),
            threads: Mutex::new(Vec::with_capacity(workers)),
            violations: Mutex::new(Vec::new()),
            taken: AtomicU64::new(0),
            accounted: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            children: AtomicU64::new(0),
            most_children: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self, time: Duration) {
        *self.started.lock().expect("the time") = (Instant::now(), time);
        self.most_children.store(0, Ordering::Relaxed);
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Returns whether the run's time has passed. A run that must reach a limit continues until a worker has
    /// reached the limit, or until a minute has passed.
    fn is_over(&self) -> bool {
        const AT_MOST: Duration = Duration::from_secs(60);
        let (begin, time) = *self.started.lock().expect("the time");
        let wanting = self.role.refusal().is_some() && !self.refused.load(Ordering::Relaxed);
        begin.elapsed() >= if wanting { time.max(AT_MOST) } else { time }
    }

    pub(crate) fn beats(&self) -> &[Beat] {
        &self.beats
    }

    pub(crate) fn threads(&self) -> MutexGuard<'_, Vec<usize>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a violation if `holds` is false, unless the list already holds 50 violations.
    pub(crate) fn require(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            let mut violations = self.violations();
            if violations.len() < 50 {
                let text = otherwise();
                crate::common::say(&format!("VIOLATION: {text}"));
                violations.push(text);
            }
        }
    }

    pub(crate) fn violations(&self) -> MutexGuard<'_, Vec<String>> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the bytes that arrived or were reported add up to `taken`, and that no child exists.
    pub(crate) fn check_totals(&self, when: &str) {
        let (taken, accounted) =
            (self.taken.load(Ordering::Relaxed), self.accounted.load(Ordering::Relaxed));
        self.require(taken == accounted, || {
            format!("{when}: {taken} taken, {accounted} accounted")
        });
        let children = self.children.load(Ordering::Relaxed);
        self.require(children == 0, || format!("{when}: {children} children"));
    }

    pub(crate) fn child_begins(&self) {
        let now = self.children.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_children.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn child_ends(&self) {
        self.children.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counts of operations, resources, bytes and failures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) pipes: u64,
    pub(crate) children: u64,
    pub(crate) most_children: u64,
    pub(crate) transfers: u64,
    pub(crate) messages: u64,
    /// The number of bytes that calls reported as written or duplicated, or that a fan-out moved to a second
    /// sink. The output of programs is also counted.
    pub(crate) taken: u64,
    /// The number of bytes that arrived at the right destination and were compared.
    pub(crate) delivered: u64,
    /// The number of bytes that did not arrive but are accounted for. These are bytes that an error holds,
    /// discarded bytes, and unread bytes of closed pipes, sockets and files.
    pub(crate) reported: u64,
    pub(crate) refusals: u64,
    pub(crate) timeouts: u64,
    pub(crate) kills: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.pipes += other.pipes;
        self.children += other.children;
        self.most_children = self.most_children.max(other.most_children);
        self.transfers += other.transfers;
        self.messages += other.messages;
        self.taken += other.taken;
        self.delivered += other.delivered;
        self.reported += other.reported;
        self.refusals += other.refusals;
        self.timeouts += other.timeouts;
        self.kills += other.kills;
    }
}

/// The maximum length of the data of one operation.
pub(crate) const LONGEST: usize = 200_000;

/// The maximum number of bytes that a worker leaves in its pipes.
const MOST_HELD: usize = 64 << 20;

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    index: usize,
    pub(crate) random: Random,
    pub(crate) counts: Counts,
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) cats: Vec<Cat>,
    pub(crate) most_cats: usize,
    pub(crate) buf: Vec<u8>,
    streams: u64,
    /// Set if this process can start programs as its current user.
    pub(crate) programs: bool,
}

type Operation = fn(&mut Worker);

/// The weight, name and function of each operation.
const OPERATIONS: &[(usize, &str, Operation)] = &[
    (30, "write", Worker::write),
    (30, "read", Worker::read),
    (6, "capacity", Worker::capacity),
    (12, "transfer", Worker::transfer),
    (8, "splice", Worker::splice),
    (4, "tee", Worker::tee),
    (3, "fanout", Worker::fanout),
    (3, "discard", Worker::discard),
    (8, "ready", Worker::ready),
    (4, "duplicate", Worker::duplicate),
    (6, "close", Worker::close),
    (4, "messages", Worker::messages),
    (3, "packets", Worker::packets),
    (3, "chunks", Worker::chunks),
    (3, "sockets", Worker::sockets),
    (2, "files", Worker::files),
    (3, "fork", Worker::fork),
    (4, "cat: start", Worker::cat_start),
    (16, "cat: feed", Worker::cat_feed),
    (16, "cat: read", Worker::cat_read),
    (5, "cat: signal", Worker::cat_signal),
    (3, "cat: end", Worker::cat_end),
    (1, "output", Worker::output),
    (2, "communicate", Worker::communicate),
    (1, "pipeline", Worker::pipeline),
    (2, "spawn", Worker::spawn),
    (2, "failures", Worker::failures),
];

/// The names of the operations, which the watchdog prints.
pub(crate) const NAMES: [&str; OPERATIONS.len()] = {
    let mut names = [""; OPERATIONS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = OPERATIONS[i].1;
        i += 1;
    }
    names
};

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, index: usize, pipes: usize, children: usize) -> Self {
        let seed = shared.seed.wrapping_add((index as u64) << 32);
        Self {
            index,
            random: Random::new(seed),
            counts: Counts::default(),
            slots: (0..pipes).map(|_| None).collect(),
            cats: Vec::with_capacity(children),
            most_cats: children,
            buf: vec![0; 2 << 20],
            streams: (index as u64) << 48,
            programs: true,
            shared,
        }
    }

    /// Runs operations until the time has passed. Then closes every pipe and ends every child.
    pub(crate) fn work(mut self) -> Counts {
        self.shared.threads().push(pthread_self());
        self.programs = self.can_start_programs();
        if !self.programs {
            crate::common::say("soak: this user cannot start programs; forks only");
        }
        for index in 0..self.slots.len() {
            self.open(index);
        }
        let weights: usize = OPERATIONS.iter().map(|(weight, ..)| weight).sum();
        while !self.shared.is_over() {
            let mut ticket = self.random.below(weights);
            let next =
                OPERATIONS.iter().position(|(weight, ..)| match ticket.checked_sub(*weight) {
                    Some(rest) => {
                        ticket = rest;
                        false
                    }
                    None => true,
                });
            let next = next.expect("below the sum of the weights");
            let beat = &self.shared.beats()[self.index];
            beat.operation.store(next, Ordering::Relaxed);
            beat.count.fetch_add(1, Ordering::Relaxed);
            if self.random.one_in(8) {
                self.move_the_limit();
            }
            OPERATIONS[next].2(&mut self);
            self.counts.operations += 1;
            if self.slots.iter().flatten().map(|slot| slot.held.len()).sum::<usize>() > MOST_HELD {
                for index in 0..self.slots.len() {
                    self.drain(index);
                }
            }
        }
        self.lift_the_limit();
        self.end_cats();
        for index in 0..self.slots.len() {
            self.drain(index);
            self.slots[index] = None;
        }
        let own = pthread_self();
        self.shared.threads().retain(|thread| *thread != own);
        self.counts.most_children = self.shared.most_children.load(Ordering::Relaxed);
        self.shared.taken.fetch_add(self.counts.taken, Ordering::Relaxed);
        let accounted = self.counts.delivered + self.counts.reported;
        self.shared.accounted.fetch_add(accounted, Ordering::Relaxed);
        self.counts
    }

    /// Sets the limit close to the current use or far above it.
    fn move_the_limit(&mut self) {
        match self.shared.role {
            Role::Descriptors => {
                // The limit applies to descriptor numbers, so it is chosen such that exactly `room` numbers
                // below it are free.
                let room = self.random.below(12);
                limits::set_limit(Resource::NOFILE, u64::MAX);
                // The other workers also change the limit. If the list of descriptors cannot be read, another
                // worker has just lowered the limit.
                let Some(open) = limits::descriptors() else { return };
                let soft = (0..).filter(|number| !open.contains(number)).nth(room).unwrap_or(0);
                limits::set_limit(Resource::NOFILE, soft);
            }
            Role::Memory => {
                let room = [0, 4096, 100_000, 1 << 20, 5 << 20, 1 << 30][self.random.below(6)];
                limits::set_limit(Resource::AS, limits::address_space() + room);
            }
            Role::Plain | Role::Pages | Role::Processes => {}
        }
    }

    /// Sets the soft limit to the hard limit.
    fn lift_the_limit(&self) {
        match self.shared.role {
            Role::Descriptors => limits::set_limit(Resource::NOFILE, u64::MAX),
            Role::Memory => limits::set_limit(Resource::AS, u64::MAX),
            Role::Plain | Role::Pages | Role::Processes => {}
        }
    }

    /// Returns whether a call that creates a resource may fail with this error in this test. If so, counts
    /// the failure.
    pub(crate) fn refused(&mut self, errno: Errno) -> bool {
        let refused = match self.shared.role {
            Role::Descriptors => errno == Errno::EMFILE,
            Role::Memory => errno == Errno::ENOMEM,
            Role::Processes => errno == Errno::EAGAIN,
            Role::Plain | Role::Pages => false,
        };
        self.count_refusal(refused);
        refused
    }

    pub(crate) fn count_refusal(&mut self, refused: bool) {
        if refused {
            self.counts.refusals += 1;
            self.shared.refused.store(true, Ordering::Relaxed);
        }
    }

    /// Records a violation unless the limit explains the error.
    pub(crate) fn only_refused(&mut self, what: &str, errno: Errno) {
        let refused = self.refused(errno);
        self.require(refused, || format!("{what}: {errno:?}"));
    }

    /// Applies the check of `only_refused` to an error of std.
    pub(crate) fn only_refused_io(&mut self, what: &str, error: &std::io::Error) {
        match Errno::from_io_error(error) {
            Some(errno) => self.only_refused(what, errno),
            None => self.require(false, || format!("{what}: {error}")),
        }
    }

    pub(crate) fn require(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.shared.require(holds, || format!("worker {}: {}", self.index, otherwise()));
    }

    /// Fills `buf` with the first `len` bytes of a new stream.
    pub(crate) fn new_bytes(&mut self, len: usize) -> Run {
        self.streams += 1;
        let run = Run { stream: self.streams, at: 0, len };
        fill(run.stream, 0, &mut self.buf[..len]);
        run
    }

    /// Compares the first `count` bytes of `buf` with the expected bytes. The caller has just read these
    /// bytes.
    pub(crate) fn arrived(&mut self, what: &str, held: &mut Held, count: usize) {
        let matches = held.matches(&self.buf[..count]);
        self.require(matches, || format!("{what}: {count} bytes are not what was written"));
        self.counts.delivered += count as u64;
    }

    /// Returns a random duration below 3 ms.
    pub(crate) fn moment(&mut self) -> Duration {
        Duration::from_micros(self.random.below(3000) as u64)
    }
}
