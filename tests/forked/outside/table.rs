//! Defines the table of cases, and runs the cases concurrently, each in its own process.

use super::kinds::{SinkKind, SourceKind};
use super::movers::Mover;
use super::sys::{self, POLLIN};
use crate::common::bytes::Random;
use crate::common::{emulated, say, skip, slow};
use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

/// The result of a case.
pub(crate) enum Verdict {
    Pass,
    /// The case cannot run here. The string states the reason.
    Skip(String),
    /// The case failed. The string states the expected and the observed result.
    Fail(String),
}

impl Verdict {
    /// Returns `Pass` if the list is empty, or `Fail` with all complaints.
    pub(crate) fn of(complaints: &[String]) -> Self {
        if complaints.is_empty() { Self::Pass } else { Self::Fail(complaints.join("; ")) }
    }
}

struct Case {
    name: String,
    family: &'static str,
    run: Box<dyn Fn() -> io::Result<Verdict>>,
}

/// The results of the cases of one family.
#[derive(Clone, Copy, Default)]
struct Counts {
    run: usize,
    skipped: usize,
    failed: usize,
}

#[derive(Default)]
pub(crate) struct Table {
    cases: Vec<Case>,
    /// The number of cases that make no sense, counted by family and reason.
    nonsense: BTreeMap<(&'static str, &'static str), usize>,
}

/// The number of cases that run at the same time. Most cases sleep most of the time.
const AT_ONCE: usize = 16;
/// The reciprocal of the fraction of cases that run by default.
const SHARE: usize = 12;
/// The time after which a default run starts no more cases.
const SHARE_TIME: Duration = Duration::from_secs(30);

impl Table {
    /// Adds the case of a mover and a pair, or counts the case if it makes no sense.
    pub(crate) fn pair(
        &mut self,
        family: &'static str,
        what: &str,
        (mover, from, to): (Mover, &'static SourceKind, &'static SinkKind),
        nonsense: Option<&'static str>,
        run: impl Fn() -> io::Result<Verdict> + 'static,
    ) {
        // An emulator sometimes fails to start programs while other threads fork, and `pump` is a
        // program.
        let started = mover == Mover::Pump;
        let foreign = emulated() && (from.native || to.native || started);
        let foreign = foreign.then_some("an emulator has an idea of its own of this");
        match foreign.or_else(|| mover.nonsense(from, to)).or(nonsense) {
            Some(reason) => *self.nonsense.entry((family, reason)).or_default() += 1,
            None => {
                let name = format!("{}_{what}_{}_to_{}", mover.name(), from.name, to.name);
                self.add(family, name, run);
            }
        }
    }

    pub(crate) fn add(
        &mut self,
        family: &'static str,
        name: String,
        run: impl Fn() -> io::Result<Verdict> + 'static,
    ) {
        self.cases.push(Case { name, family, run: Box::new(run) });
    }

    /// Runs the cases that the environment selects, and prints the results.
    pub(crate) fn run(mut self) {
        let asked = env::var("RAWPIPE_OUTSIDE").ok();
        let all = self.cases.len();
        if let Some(word) = asked.as_deref().filter(|word| *word != "full") {
            self.cases.retain(|case| case.name.contains(word));
            assert!(!self.cases.is_empty(), "no case has {word} in its name");
        }
        let share = asked.is_none();
        if share {
            self.take_a_share();
        }
        if self.cases.iter().any(|case| case.name.starts_with("pump")) {
            crate::common::example("pump"); // built once
        }
        let begin = Instant::now();
        let results = run_all(&self.cases, share.then_some(SHARE_TIME));
        self.report(&results, begin.elapsed(), all);
    }

    fn take_a_share(&mut self) {
        let seed = env::var("RAWPIPE_OUTSIDE_SEED").ok().map_or_else(
            || {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                now.map_or(1, |now| now.as_secs() ^ u64::from(now.subsec_nanos())) | 1
            },
            |text| text.parse().expect("a number"),
        );
        say(&format!("outside: seed {seed}"));
        let mut random = Random(seed);
        for last in (1..self.cases.len()).rev() {
            self.cases.swap(last, random.below(last + 1));
        }
        self.cases.truncate(self.cases.len() / SHARE / if slow() { 20 } else { 1 });
    }

    fn report(&self, results: &[Option<Verdict>], took: Duration, all: usize) {
        let mut families: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        let mut total = Counts::default();
        for (case, result) in self.cases.iter().zip(results) {
            let counts = families.entry(case.family).or_default();
            match result {
                Some(Verdict::Pass) => (counts.run, total.run) = (counts.run + 1, total.run + 1),
                Some(Verdict::Fail(_)) => {
                    (counts.run, total.run) = (counts.run + 1, total.run + 1);
                    (counts.failed, total.failed) = (counts.failed + 1, total.failed + 1);
                }
                other => {
                    let reason = match other {
                        Some(Verdict::Skip(reason)) => reason,
                        _ => "the share's time was over",
                    };
                    *reasons.entry(reason).or_default() += 1;
                    (counts.skipped, total.skipped) = (counts.skipped + 1, total.skipped + 1);
                }
            }
        }
        println!("\nleft out, as they make no sense:");
        for ((family, reason), count) in &self.nonsense {
            println!("  {family:9} {count:5}  {reason}");
        }
        println!("\nfamily      run  skipped  failed");
        for (family, Counts { run, skipped, failed }) in &families {
            println!("{family:9} {run:5} {skipped:8} {failed:7}");
        }
        for (reason, count) in &reasons {
            skip("outside", &format!("{count} cases: {reason}"));
        }
        let Counts { run, skipped, failed } = total;
        let took = took.as_secs();
        let what = if all == self.cases.len() { "whole" } else { "a part" };
        let nonsense: usize = self.nonsense.values().sum();
        let backend = if cfg!(rawpipe_shim) { "shim" } else { "asm" };
        println!(
            "result: outside, {what}, on {backend} | {run} cases run, {skipped} skipped, {failed} failed, \
             {nonsense} combinations left out, in {took} s"
        );
        assert_eq!(failed, 0, "cases have failed");
    }
}

/// A running case.
struct Running {
    index: usize,
    pid: i32,
    pipe: File,
    text: String,
    begin: Instant,
}

/// Runs the cases, and returns their results. The result of a case is `None` if the time limit expired before
/// the case started.
fn run_all(cases: &[Case], time: Option<Duration>) -> Vec<Option<Verdict>> {
    // Each case limits its own time, so this limit applies only to unforeseen failures.
    let patience = Duration::from_secs(if slow() { 600 } else { 60 });
    let begin = Instant::now();
    let mut results: Vec<Option<Verdict>> = cases.iter().map(|_| None).collect();
    let mut running: Vec<Running> = Vec::new();
    let mut next = 0;
    loop {
        let late = time.is_some_and(|time| begin.elapsed() > time);
        while running.len() < AT_ONCE && next < cases.len() && !late {
            match start(next, &cases[next]) {
                Ok(case) => running.push(case),
                Err(error) => results[next] = Some(Verdict::Fail(format!("cannot begin: {error}"))),
            }
            next += 1;
        }
        if running.is_empty() {
            return results;
        }
        let mut fds = [(-1, POLLIN); AT_ONCE];
        for (case, fd) in running.iter().zip(&mut fds) {
            fd.0 = case.pipe.as_raw_fd();
        }
        let answers = sys::poll(fds, Duration::from_millis(200));
        let mut at = 0;
        running.retain_mut(|case| {
            let answered = answers[at] != 0;
            at += 1;
            let mut buf = [0; 4096];
            let ended = answered
                && match case.pipe.read(&mut buf) {
                    Ok(count @ 1..) => {
                        case.text.push_str(&String::from_utf8_lossy(&buf[..count]));
                        false
                    }
                    _ => true,
                };
            let hung = case.begin.elapsed() > patience;
            if ended || hung {
                let verdict = if ended {
                    verdict(&case.text)
                } else {
                    Verdict::Fail("hung, and did not notice it".into())
                };
                if let Verdict::Fail(text) = &verdict {
                    println!("test {} ... FAILED\n    {text}", cases[case.index].name);
                }
                results[case.index] = Some(verdict);
                sys::kill(-case.pid);
                sys::reap(case.pid, Duration::from_secs(5));
            }
            !ended && !hung
        });
    }
}

fn start(index: usize, case: &Case) -> io::Result<Running> {
    let (reader, writer) = sys::pipe(0)?;
    let mut writer = File::from(writer);
    let pid = sys::spawn(&[writer.as_raw_fd()], || {
        sys::lead_a_group();
        let text = match (case.run)() {
            Ok(Verdict::Pass) => "pass".to_owned(),
            Ok(Verdict::Skip(reason)) => format!("skip{reason}"),
            Ok(Verdict::Fail(text)) => format!("fail{text}"),
            Err(error) => format!("fail{error}"),
        };
        let _ = writer.write_all(text.as_bytes());
    })?;
    Ok(Running { index, pid, pipe: File::from(reader), text: String::new(), begin: Instant::now() })
}

fn verdict(text: &str) -> Verdict {
    match text.split_at_checked(4) {
        Some(("pass", "")) => Verdict::Pass,
        Some(("skip", reason)) => Verdict::Skip(reason.to_owned()),
        Some(("fail", text)) => Verdict::Fail(text.to_owned()),
        _ => Verdict::Fail(format!("the case has ended without a verdict: {text:?}")),
    }
}
