//! Compares `Command` with std's `Command`, and `Spawn` with `posix_spawn`, for random requests. Each round
//! derives the state of the spawning process and the request from one seed. The started program reports its
//! descriptors, signals, ids, limits and other state. The two forms of a pair must produce equal reports or
//! equal errors, except for the intended differences in `compare.rs`.
//!
//! By default the test takes several seconds. `RAWPIPE_DIFFERENTIAL=60000` sets the number of rounds to
//! 60,000. The test prints each kind of unexplained difference, together with the seed of a round in which it
//! occurred. `RAWPIPE_DIFFERENTIAL_SEED` sets the seed of the first round. If only
//! `RAWPIPE_DIFFERENTIAL_SEED` is set, only the round with that seed runs.
#![allow(unsafe_code, reason = "the C library's posix_spawn, and descriptors by number")]

mod case;
mod compare;
pub(crate) mod dump;
mod forms;
pub(crate) mod libc;
pub(crate) mod place;
mod worker;

use crate::common::{self, emulated, skip, tool};
use place::Place;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{env, thread};
use worker::{Findings, Worker};

/// The running time if neither the number of rounds nor the seed is set.
const TIME: Duration = Duration::from_secs(7);
/// A worker prints a full report for at most this many kinds of unexplained differences.
const STORIES: usize = 12;

/// The variable that makes this program a worker. Its value lists the worker's directory, the first seed, the
/// step between seeds, the number of rounds, and the time limit in milliseconds.
const WORKER: &str = "RAWPIPE_DIFFERENTIAL_WORKER";

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

pub(crate) const TESTS: common::Tests = common::tests![spawn_is_what_std_and_posix_spawn_do];

fn spawn_is_what_std_and_posix_spawn_do() {
    match impossible() {
        Some(reason) => skip("spawn_is_what_std_and_posix_spawn_do", reason),
        None => assert!(compare_all(), "see above"),
    }
}

/// Runs a worker's rounds and exits if this process was started as a worker.
pub(crate) fn become_worker() {
    if let Ok(words) = env::var(WORKER) {
        work(&words);
        std::process::exit(0);
    }
}

fn impossible() -> Option<&'static str> {
    if emulated() {
        Some("an emulator of user programs has a process of its own around each program")
    } else if tool().is_some() {
        Some("a tool has descriptors, signals and an environment of its own")
    } else if !Path::new("/proc/self/exe").exists() {
        Some("there is no /proc")
    } else {
        None
    }
}

/// The totals of all workers.
#[derive(Default)]
struct Total {
    rounds: u64,
    started: u64,
    intended: BTreeMap<String, u64>,
    unexplained: BTreeMap<String, (u64, String)>,
}

impl Total {
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, '\t').collect();
            match words[..] {
                ["rounds", rounds, started] => {
                    self.rounds += rounds.parse::<u64>().unwrap_or(0);
                    self.started += started.parse::<u64>().unwrap_or(0);
                }
                ["intended", count, name] => {
                    *self.intended.entry(name.to_owned()).or_default() +=
                        count.parse::<u64>().unwrap_or(0);
                }
                ["unexplained", count, seed, kind] => {
                    let entry = self.unexplained.entry(kind.to_owned());
                    let (sum, _) = entry.or_insert_with(|| (0, seed.to_owned()));
                    *sum += count.parse::<u64>().unwrap_or(0);
                }
                _ => println!("{line}"),
            }
        }
    }
}

fn compare_all() -> bool {
    let seed = number("RAWPIPE_DIFFERENTIAL_SEED");
    let rounds = number("RAWPIPE_DIFFERENTIAL").or(seed.map(|_| 1));
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs() ^ u64::from(now.subsec_nanos()) << 20)
    });
    let place = Place::new().expect("a folder whose programs can be executed");
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let workers = u64::try_from(processors).expect("a small number").min(rounds.unwrap_or(64));
    let begin = Instant::now();
    let children: Vec<Child> = (0..workers)
        .map(|index| {
            let base = place.folder().join(index.to_string());
            worker::furnish(&base, &place.program());
            let share = rounds.map_or(u64::MAX, |all| (all - index).div_ceil(workers));
            let time = rounds.map_or(TIME, |_| Duration::from_secs(1 << 20)).as_millis();
            let base = base.to_str().expect("a folder's name that is text");
            let first = seed.wrapping_add(index);
            let mut command = Command::new(env::current_exe().expect("this test"));
            command.env(WORKER, format!("{base}\t{first}\t{workers}\t{share}\t{time}"));
            command.env_remove(common::ALONE);
            command.stdout(Stdio::piped()).spawn().expect("a worker")
        })
        .collect();
    // The outputs are read concurrently, because a worker blocks when its pipe is full.
    let listeners: Vec<_> = children
        .into_iter()
        .map(|child| thread::spawn(|| child.wait_with_output().expect("a worker's output")))
        .collect();
    let mut total = Total::default();
    let mut passed = true;
    for listener in listeners {
        let output = listener.join().expect("a listener");
        total.add(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            println!("a worker: {}", output.status);
            passed = false;
        }
    }
    drop(place);
    let Total { rounds: done, started, intended, unexplained } = total;
    for (name, count) in &intended {
        println!("intended: {count} times {name}");
    }
    for (kind, (count, seed)) in &unexplained {
        println!("unexplained: {count} times {kind}, first in RAWPIPE_DIFFERENTIAL_SEED={seed}");
    }
    // If no program can be started, all forms fail in the same way and show no difference.
    if done > 100 && started < done {
        println!("only {started} programs were started in {done} rounds");
        passed = false;
    }
    let differing: u64 = unexplained.values().map(|(count, _)| count).sum();
    let meant: u64 = intended.values().sum();
    let backend = if cfg!(rawpipe_shim) { "shim" } else { "asm" };
    let figures = format!(
        "{done} rounds, {meant} intended differences, {differing} unexplained, seed {seed}"
    );
    common::say(&format!(
        "result: spawn beside std and posix_spawn, on {backend} | {started} programs in {:.0} s, {figures}",
        begin.elapsed().as_secs_f64()
    ));
    passed && differing == 0 && rounds.is_none_or(|rounds| rounds == done) && done > 0
}

/// Runs a worker's rounds and prints the results.
fn work(words: &str) {
    let words: Vec<&str> = words.split('\t').collect();
    let [base, first, step, rounds, time] = words[..] else { panic!("{words:?}") };
    let word = |text: &str| text.parse::<u64>().expect("a number");
    let (mut seed, step, rounds) = (word(first), word(step), word(rounds));
    let time = Duration::from_millis(word(time));
    // SAFETY: this process has one thread.
    unsafe { env::remove_var(WORKER) };
    let worker = Worker::new(Path::new(base));
    let begin = Instant::now();
    let (mut done, mut started, mut stories) = (0_u64, 0_usize, 0);
    let mut intended: BTreeMap<String, u64> = BTreeMap::new();
    let mut unexplained: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    while done < rounds && begin.elapsed() < time {
        let findings = worker.run(seed);
        let Findings { intended: meant, unexplained: found, started: programs } = findings;
        for name in meant {
            *intended.entry(name).or_default() += 1;
        }
        for (kind, story) in found {
            if unexplained.len() < STORIES && !unexplained.contains_key(&kind) || stories < 3 {
                stories += 1;
                println!("UNEXPLAINED {kind}, RAWPIPE_DIFFERENTIAL_SEED={seed}\n{story}\n");
            }
            unexplained.entry(kind).or_insert((0, seed)).0 += 1;
        }
        started += programs;
        done += 1;
        seed = seed.wrapping_add(step);
    }
    let mut text = String::new();
    for (name, count) in intended {
        let _ = writeln!(text, "intended\t{count}\t{name}");
    }
    for (kind, (count, seed)) in unexplained {
        let _ = writeln!(text, "unexplained\t{count}\t{seed}\t{kind}");
    }
    println!("{text}rounds\t{done}\t{started}");
}
