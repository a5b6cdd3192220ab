//! Tests transfers, deadlines, messages and signals with many pipes and children at the same time. At the
//! end, no byte may be lost, and no descriptor or child may remain. Further runs perform the same operations
//! at the limits of the system, where calls fail at random.
//!
//! By default each test runs briefly, with at most 100 pipes and 6 children. If `RAWPIPE_SOAK_SECONDS` is
//! set, the test that the first argument names runs for the given number of seconds. Such a run uses at most
//! 1,000 pipes and 50 children. `RAWPIPE_SOAK_SEED` sets the seed of all random choices. Each test prints its
//! seed. The results also depend on the scheduler.
#![allow(unsafe_code, reason = "limits, users and signals, by the C library")]

#[path = "../common/mod.rs"]
mod common;

mod children;
mod limits;
mod pipes;
mod stream;
mod worker;

use common::{HANDLED, emulated, open_fds, skip, tests, tool};
use limits::Role;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};
use worker::{Counts, Shared, Worker};

/// The time limit for one operation of a worker. Operations set deadlines of less than 3 ms, but the machine
/// may be busy.
const PATIENCE: Duration = Duration::from_secs(200);

unsafe extern "C" {
    safe fn pthread_self() -> usize;
    safe fn signal(signal: i32, handler: usize) -> usize;
    safe fn siginterrupt(signal: i32, interrupt: i32) -> i32;
    fn pthread_kill(thread: usize, signal: i32) -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
}

/// The size of a run.
struct Size {
    time: Duration,
    workers: usize,
    pipes: usize,
    children: usize,
}

/// Returns the requested duration of a long run in seconds, or `None` for a short run.
fn seconds() -> Option<u64> {
    env::var("RAWPIPE_SOAK_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"))
}

fn soak_everything_at_once() {
    soak(Role::Plain);
}

fn soak_at_the_limit_of_descriptors_emfile() {
    soak(Role::Descriptors);
}

fn soak_at_the_limit_of_memory_enomem() {
    soak(Role::Memory);
}

fn soak_at_the_limit_of_pipe_pages_eperm() {
    soak(Role::Pages);
}

fn soak_at_the_limit_of_processes_eagain() {
    soak(Role::Processes);
}

fn soak(role: Role) {
    let seed = env::var("RAWPIPE_SOAK_SEED").ok().map_or_else(
        || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.map_or(0, |now| now.as_secs() ^ u64::from(now.subsec_nanos()))
        },
        |text| text.parse().expect("a number"),
    );
    let (long, most) = (seconds(), limits::most_pipes());
    let alone = role == Role::Memory || emulated();
    let size = Size {
        time: Duration::from_secs(long.unwrap_or(1)),
        workers: if alone { 1 } else { long.map_or(2, |_| 4) },
        pipes: long.map_or(100, |_| 1000).min(most),
        children: long.map_or(6, |_| 50),
    };
    LazyLock::force(&pipes::INTERRUPTIBLE); // needs descriptors
    if let Err(reason) = limits::enter(role, size.workers + 2, size.children) {
        return skip(role.test(), reason);
    }
    println!("soak: {}, seed {seed}", role.name());
    handle_signals();
    let shared = Arc::new(Shared::new(role, size.workers, seed));
    let no_threads = alone && emulated();
    // The first run creates everything that a process creates only once, such as the stacks of threads.
    let warm_up = Size { time: Duration::from_millis(200), ..size };
    let _ = run(&shared, &warm_up, no_threads);
    shared.check_totals("after warming up");
    let before = (open_fds(), limits::maps(), limits::resident());
    let space_before = limits::address_space();
    let begin = Instant::now();
    let counts = run(&shared, &size, no_threads);
    let took = begin.elapsed();
    let after = (open_fds(), limits::maps(), limits::resident());

    shared.require(before.0 == after.0, || format!("descriptors: {:?}, {:?}", before.0, after.0));
    let maps = (before.1.len(), after.1.len());
    // Heap pages that carry the advice to use huge pages form separate mappings. The number of these mappings
    // grows slowly until all pages of the heap have the advice. If a tool is in use, the test ignores the
    // mappings, because the tool also creates mappings.
    let own = tool().is_none();
    let maps_left = maps.1 <= maps.0 + if long.is_some() { 64 } else { 16 };
    shared.require(!own || maps_left, || {
        let new: Vec<_> = after.1.iter().filter(|line| !before.1.contains(line)).collect();
        format!("mappings: {maps:?}, now {new:#?}")
    });
    // The allocator can reserve 64 MiB of addresses for the heap of each thread.
    let (space, room) = (limits::address_space(), 1 << 30);
    shared.require(!own || space <= space_before + room, || {
        format!("addresses: {space_before}, {space}")
    });
    let growth = after.2.saturating_sub(before.2);
    shared.require(!own || growth < 64 << 20, || {
        format!("resident memory: {}, {}", before.2, after.2)
    });
    let mut status = 0;
    // SAFETY: the call writes one integer to the local variable above.
    let child = unsafe { waitpid(-1, &raw mut status, 1) };
    shared.require(child == -1, || format!("a child is left: {child}"));
    shared.check_totals("at the end");
    shared.require(counts.taken == counts.delivered + counts.reported, || format!("{counts:?}"));
    if let Some(what) = role.refusal() {
        shared.require(counts.refusals > 0, || format!("{what} was never met"));
    }
    let violations = shared.violations();
    println!(
        "result: {} | {} s, {} pipes ({} at a time), {} children ({} at a time), {} transfers, {} bytes, \
         {} signals, {}{} operations, {} violations, seed {seed}",
        role.name(),
        took.as_secs(),
        counts.pipes,
        size.pipes,
        counts.children,
        counts.most_children,
        counts.transfers,
        counts.taken,
        HANDLED.load(Ordering::Relaxed),
        role.refusal().map_or(String::new(), |what| format!("{} times {what}, ", counts.refusals)),
        counts.operations,
        violations.len(),
    );
    println!(
        "  {counts:?}; resident KiB {} -> {}, mappings {} -> {}, descriptors {} -> {}",
        before.2 >> 10,
        after.2 >> 10,
        maps.0,
        maps.1,
        before.0.len(),
        after.0.len(),
    );
    assert!(violations.is_empty(), "seed {seed}: {}", violations.join("\n"));
    if role == Role::Processes {
        common::end_without_a_look_at_leaks();
    }
}

/// Installs a handler for `SIGUSR1`, so that this signal interrupts calls but has no other effect.
fn handle_signals() {
    extern "C" fn handler(_signal: i32) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    let usr1 = rawpipe::process::Signal::USR1.as_raw();
    signal(usr1, handler as extern "C" fn(i32) as usize);
    assert_eq!(siginterrupt(usr1, 1), 0);
}

/// Starts the workers, waits until they finish, and sums their counts.
fn run(shared: &Arc<Shared>, size: &Size, no_threads: bool) -> Counts {
    shared.begin(size.time);
    let worker = |index: usize| {
        let (pipes, children) = (size.pipes / size.workers, size.children.div_ceil(size.workers));
        Worker::new(shared.clone(), index, pipes, children)
    };
    if no_threads {
        return worker(0).work();
    }
    let over = Arc::new(AtomicBool::new(false));
    // A worker makes mappings fail, but the allocator maps a thread's heap when the thread first allocates
    // memory. The workers therefore wait until the other threads have allocated memory.
    let ready = Arc::new(Barrier::new(3));
    let with_a_heap = |ready: &Barrier| {
        drop(std::hint::black_box(vec![0_u8; 100]));
        ready.wait();
    };
    let helpers = [
        thread::spawn({
            let (shared, over, ready) = (shared.clone(), over.clone(), ready.clone());
            move || {
                with_a_heap(&ready);
                watch(&shared, &over);
            }
        }),
        thread::spawn({
            let (shared, over, ready) = (shared.clone(), over.clone(), ready.clone());
            move || {
                with_a_heap(&ready);
                storm(&shared, &over);
            }
        }),
    ];
    ready.wait();
    let mut counts = Counts::default();
    // One worker runs in this thread and uses the heap that `limits` has prepared.
    let others: Vec<_> = (1..size.workers)
        .map(|index| {
            let worker = worker(index);
            thread::spawn(move || worker.work())
        })
        .collect();
    counts.add(&worker(0).work());
    for other in others {
        match other.join() {
            Ok(more) => counts.add(&more),
            Err(_) => shared.require(false, || String::from("a worker has panicked")),
        }
    }
    over.store(true, Ordering::SeqCst);
    helpers.into_iter().for_each(|helper| helper.join().expect("watching cannot fail"));
    counts
}

/// If a worker hangs, prints the worker's current operation and ends the process.
fn watch(shared: &Shared, over: &AtomicBool) {
    let mut seen = vec![(usize::MAX, Instant::now()); shared.beats().len()];
    while !over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(50));
        for (index, (beat, (last, since))) in shared.beats().iter().zip(&mut seen).enumerate() {
            let now = beat.count.load(Ordering::Relaxed);
            if now != *last || now == 0 {
                (*last, *since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                common::say(&format!(
                    "HUNG: worker {index} in operation {} ({now}), seed {}",
                    worker::NAMES[beat.operation.load(Ordering::Relaxed)],
                    shared.seed,
                ));
                for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                    let look =
                        |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
                    common::say(&format!(
                        "{:?}: {} {}",
                        task.path(),
                        look("wchan"),
                        look("syscall")
                    ));
                }
                limits::kill_children();
                std::process::abort();
            }
        }
    }
}

/// Sends signals to the workers at random intervals.
fn storm(shared: &Shared, over: &AtomicBool) {
    let mut random = stream::Random::new(shared.seed);
    while !over.load(Ordering::SeqCst) {
        let micros = random.length(4000) as u64;
        thread::sleep(Duration::from_micros(micros));
        let workers = shared.threads();
        if workers.is_empty() {
            continue;
        }
        let thread = workers[random.below(workers.len())];
        // SAFETY: the thread is alive. Each thread removes itself from the list before it ends, and the list
        // is locked here.
        let answer = unsafe { pthread_kill(thread, rawpipe::process::Signal::USR1.as_raw()) };
        assert_eq!(answer, 0);
    }
}

/// The current operation of a worker, which the watchdog reads.
#[derive(Default)]
pub(crate) struct Beat {
    pub(crate) count: AtomicUsize,
    pub(crate) operation: AtomicUsize,
}

fn main() {
    common::programs::become_program();
    let all: common::Tests = tests![
        soak_at_the_limit_of_descriptors_emfile,
        soak_at_the_limit_of_memory_enomem,
        soak_at_the_limit_of_pipe_pages_eperm,
        soak_at_the_limit_of_processes_eagain,
        soak_everything_at_once,
    ];
    // A script starts a process for each long run, and passes the name of the test.
    if seconds().is_some() {
        let name = env::args().nth(1).unwrap_or_default();
        let chosen = all.iter().find(|(known, _)| *known == name);
        return chosen.expect("the name of a soak, for a long one").1();
    }
    common::run_each_alone(&[("", all)], &["soak"]);
}
