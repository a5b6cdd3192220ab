//! The rows of a criterion group. Each row has several engines and one placement, and reports the CPU time of
//! all processes. Criterion itself does not measure this time.
//!
//! The mean CPU time of an iteration is appended to `cpu.tsv` in cargo's directory `target/tmp`.
//! For each engine of each row, `benches/table` uses the last line.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use super::common::{Engine, Place, Taken};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use std::{env, fmt};

pub(crate) struct Rows<'c> {
    group: BenchmarkGroup<'c, WallTime>,
    name: &'static str,
    in_turns: bool,
}

/// Configures criterion to take short measurements, and to do a tenth of the default resampling. The
/// benchmarks have many rows, so the default resampling would consume most of the time. With `--quick`,
/// drawing the plots would consume most of the time, so no plots are drawn.
pub(crate) fn criterion() -> Criterion {
    let is_quick = env::args().any(|argument| argument == "--quick");
    let criterion = Criterion::default();
    let criterion = if is_quick { criterion.without_plots() } else { criterion };
    let time = Duration::from_millis(if is_quick { 400 } else { 1000 });
    criterion
        .nresamples(10_000)
        .sample_size(50)
        .warm_up_time(time / 4)
        .measurement_time(time)
        .configure_from_args()
}

impl<'c> Rows<'c> {
    pub(crate) fn new(criterion: &'c mut Criterion, name: &'static str) -> Self {
        Self { group: criterion.benchmark_group(name), name, in_turns: false }
    }

    /// Alternates between the engines of a row within each sample. Each iteration runs every engine, in an
    /// order that changes between iterations, and measures one engine. Also reduces the number of samples to
    /// 20.
    pub(crate) fn in_turns(mut self) -> Self {
        self.group.sample_size(20);
        self.in_turns = true;
        self
    }

    /// Measures a row. An iteration moves `bytes` bytes, or performs one operation if `bytes` is `None`.
    pub(crate) fn row(
        &mut self,
        place: Place,
        size: impl fmt::Display,
        bytes: Option<u64>,
        mut engines: Vec<Engine<'_>>,
    ) {
        // Without this call, criterion would keep the throughput of the previous row.
        self.group.throughput(bytes.map_or(Throughput::Elements(1), Throughput::Bytes));
        let parameter = format!("{}-{size}", place.name()).trim_end_matches('-').to_owned();
        for index in 0..engines.len() {
            let (mut count, mut cpu) = (0, Duration::ZERO);
            let id = BenchmarkId::new(engines[index].0, &parameter);
            self.group.bench_function(id, |bencher| {
                bencher.iter_custom(|turns| {
                    let taken = if self.in_turns {
                        take_turns(&mut engines, index, turns)
                    } else {
                        engines[index].1(turns).map(|run| run.taken)
                    };
                    let taken = taken.unwrap_or_else(|error| panic!("{parameter}: {error}"));
                    count += turns;
                    cpu += taken.cpu;
                    taken.clock
                });
            });
            // `cargo test` runs each benchmark once and records no results.
            if count > 0 && env::args().any(|argument| argument == "--bench") {
                note(self.name, engines[index].0, &parameter, cpu.as_nanos() / u128::from(count));
            }
        }
    }
}

fn take_turns(engines: &mut [Engine<'_>], own: usize, turns: u64) -> io::Result<Taken> {
    let (mut all, count) = (Taken::default(), engines.len());
    for turn in 0..turns {
        for next in 0..count {
            let index = (next + usize::from(turn % 2 == 1)) % count;
            let taken = engines[index].1(1)?.taken;
            if index == own {
                all += taken;
            }
        }
    }
    Ok(all)
}

fn note(group: &str, engine: &str, parameter: &str, nanos: u128) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cpu.tsv");
    let mut file = File::options().create(true).append(true).open(path).expect("a file");
    writeln!(file, "{group}\t{engine}\t{parameter}\t{nanos}").expect("written");
}
