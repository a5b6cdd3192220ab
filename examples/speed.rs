//! Compares std with rawpipe for common uses of pipes. By default, a run takes less than 20 seconds.
//!
//! ```text
//! cargo run --release --example speed
//! cargo run --release --example speed -- --csv > speed.csv
//! ```
//!
//! [`questions`] lists the comparisons. In `made_and_summed` and `messages`, one process generates every byte
//! immediately before sending it, and another process reads every byte that arrives. In rows whose paths
//! begin with `limits/`, no process generates, examines or keeps the bytes. Those rows therefore show the
//! limit of the transfer alone.
//!
//! Each row measures one engine, which is one way to do the work. The engine `std` uses page-aligned buffers,
//! `std-vec` uses plain `Vec`s, and `std-copy` uses `io::copy`. Each ratio is relative to the fastest engine
//! whose name begins with `std`. Each comparison has at least 7 rounds. In each round, every engine runs
//! once, and the order changes from round to round. All engines run for about the same time. A value is the
//! median over the rounds, and a ratio is the median of the ratios within each round. A ratio may therefore
//! differ slightly from the ratio of the values. The ratio of CPU times covers all processes and compares
//! equal amounts of work.
//!
//! If the column `CPUs` contains `two`, the source (in `round_trip`, this program) is pinned to one CPU, and
//! all other processes are pinned to another CPU. If the column contains `one`, all processes are pinned to
//! the same CPU. In one-way transfers, a separate process measures the time from the start signal until all
//! other processes have reported completion. The timing process does no other work. Before the start signal,
//! all processes are forked, and their files and page-aligned buffers are ready. Plain `Vec`s and
//! `ChunkWriter`s may be created after the signal. `round_trip`, `output`, `spawn` and `spawn_mapped` have no
//! start signal, and this program measures their repeated calls. Every measurement of `made_and_summed`,
//! `messages`, `round_trip` and `output` compares the sum of the bytes with the expected sum. In the other
//! one-way transfers, each engine compares every byte once before its first round. Every run of these
//! transfers checks the byte count.
//!
//! The example needs Rust 1.87 for `std::io::pipe`.
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

#[path = "../benches/common/mod.rs"]
mod common;
#[path = "../benches/common/programs.rs"]
mod programs;

use common::messages::MESSAGES;
use common::*;
use programs::{MAPPED, OUTPUT, PLAIN, Tiny, WRITER, outputs, starts};
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
Usage: speed [OPTIONS]
Measures paths through pipes, with std and with rawpipe, and prints a table.

  --csv        print path,cpus,engine,unit,value,ratio,cpu,cpu_ratio,mechanism instead
  --seconds N  take about so long (default 18)
  --help       show this

A ratio is to the best engine of std. Above 1 it is better than std, for times as well.
A ratio of the CPU time below 1 means that it takes less.
Exit status: 0 all measured; 1 something failed, or moved wrong bytes; 2 wrong usage.
";

const NOTE: &str = "\
std has page-aligned buffers, std-vec plain Vecs, std-copy is io::copy; a ratio is to the best of them.
made_and_summed: by 64 KiB. messages, round_trip: of 64 bytes. output: the 16 MiB of a program, in one call.
spawn: a program that only exits. spawn_mapped: in a new session and with a descriptor at a given number,
for which std runs code in the child (pre_exec), beside 256 MiB in pages of 4 KiB.
limits: no process makes the bytes, looks at them or keeps them: what the transfer alone can reach.
";

// ---------------------------------------------------------------- what is compared

struct Question<'a> {
    path: &'static str,
    place: Place,
    unit: Unit,
    /// The number of bytes per repetition, or 1 if the unit is a time.
    each: u64,
    engines: Vec<Engine<'a>>,
}

/// The files, the memory and the programs that the measurements use.
struct Here {
    input: Input,
    /// A minimal program, or `None` if it could not be created.
    tiny: Option<Tiny>,
    program: PathBuf,
}

const SOME: usize = 64 * KIB;
const EACH: u64 = SOME as u64;

fn questions(here: &Here) -> Vec<Question<'_>> {
    let input = &here.input;
    let row = |path, place, unit, each, engines| Question { path, place, unit, each, engines };
    let moved = |path, place, engines| {
        row(path, place, GIB_PER_SECOND, EACH, moves(input, place, EACH, engines))
    };
    let mut all = Vec::new();
    for place in Place::PINNED {
        let ways = sums(input, place, SOME, 1, &summed::WAYS);
        all.push(row("made_and_summed", place, GIB_PER_SECOND, EACH, ways));
        all.push(moved("file_to_read", place, &FILE_TO_READ));
        all.push(moved("pipe_to_file", place, &PIPE_TO_FILE));
        all.push(moved("socket_to_socket", place, &SOCKET_TO_SOCKET));
        all.push(row("messages", place, NANOSECONDS, 1, sums(input, place, 64, 1, &MESSAGES)));
        all.push(row("round_trip", place, MICROSECONDS, 1, trips(place, 64)));
    }
    let (one, two) = (Place::Together, Place::Apart);
    all.push(row("output", one, GIB_PER_SECOND, OUTPUT, outputs(one, &here.program)));
    if let Some(tiny) = &here.tiny {
        let plain = starts(one, tiny.path(), (0, false), &PLAIN);
        all.push(row("spawn", one, MICROSECONDS, 1, plain));
        let mapped = starts(one, tiny.path(), (256, false), &MAPPED);
        all.push(row("spawn_mapped", one, MICROSECONDS, 1, mapped));
    }
    all.push(moved("limits/mem_to_read", two, &MEM_TO_READ));
    all.push(moved("limits/mem_to_null", two, &MEM_TO_NULL));
    all.push(moved("limits/file_to_null", two, &FILE_TO_NULL));
    all
}

// ---------------------------------------------------------------- all rounds

const LEAST_ROUNDS: u32 = 7;

/// A row of the table.
struct Row {
    engine: &'static str,
    value: f64,
    ratio: f64,
    /// The CPU time per unit of work: seconds per GiB, or a time in the row's unit.
    cpu: f64,
    cpu_ratio: f64,
    /// The mechanism that the library used.
    by: String,
}

impl Question<'_> {
    fn weight(&self) -> u32 {
        u32::try_from(self.engines.len()).expect("few engines")
    }

    /// Measures the engines in rounds, for about `time` in total.
    fn answer(&mut self, time: Duration) -> io::Result<Vec<Row>> {
        let clock = Instant::now();
        let target = (time / (2 * LEAST_ROUNDS * self.weight().max(1)))
            .clamp(Duration::from_millis(1), Duration::from_millis(60));
        // Limit the size of the output file, which is usually in memory.
        let most = if self.path.ends_with("_file") { (32 << 20) / EACH } else { u64::MAX };
        let first = (MIB as u64 / self.each).clamp(1, 64);
        let mut by = vec![String::new(); self.engines.len()];
        let mut counts = Vec::new();
        for (index, (engine, work)) in self.engines.iter_mut().enumerate() {
            let mut run = |count| {
                let run = work(count)?;
                by[index] = run.by;
                Ok(run.taken.clock)
            };
            let count = often(target, first, most, &mut run);
            counts.push(count.map_err(|error| failed(self.path, engine, &error))?);
        }
        // Each entry holds the elapsed time and the CPU time of one repetition in one round, in seconds.
        let mut taken = vec![Vec::new(); self.engines.len()];
        let ready = clock.elapsed();
        for round in 0.. {
            let elapsed = clock.elapsed();
            if round >= LEAST_ROUNDS && elapsed + (elapsed - ready) / round > time {
                break;
            }
            for turn in 0..counts.len() {
                let index = (round as usize + turn) % counts.len();
                let (engine, work) = &mut self.engines[index];
                let run = work(counts[index]).map_err(|error| failed(self.path, engine, &error))?;
                taken[index].push(
                    [run.taken.clock, run.taken.cpu].map(|time| seconds(time, counts[index])),
                );
            }
        }
        let column = |index: usize, part: usize| {
            taken[index].iter().map(move |taken: &[f64; 2]| taken[part])
        };
        let best = (0..self.engines.len())
            .filter(|index| self.engines[*index].0.starts_with("std"))
            .min_by(|one, other| median(column(*one, 0)).total_cmp(&median(column(*other, 0))))
            .expect("std is one of them");
        let ratio = |those, these, part| {
            median(column(those, part).zip(column(these, part)).map(|(that, this)| that / this))
        };
        let row = |(index, by): (usize, String)| Row {
            engine: self.engines[index].0,
            value: self.unit.value(median(column(index, 0)), self.each),
            ratio: ratio(best, index, 0),
            cpu: self.unit.cpu(median(column(index, 1)), self.each),
            cpu_ratio: ratio(index, best, 1),
            by,
        };
        Ok(by.into_iter().enumerate().map(row).collect())
    }
}

fn failed(path: &str, engine: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{path} by {engine}: {error}"))
}

#[expect(clippy::cast_precision_loss, reason = "a measured amount")]
fn seconds(time: Duration, count: u64) -> f64 {
    time.as_secs_f64().max(1e-9) / count as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Clone, Copy)]
struct Unit {
    name: &'static str,
    /// The number of these units in one second, or 0 if the unit is GiB/s.
    scale: f64,
}

const GIB_PER_SECOND: Unit = Unit { name: "GiB/s", scale: 0.0 };
const MICROSECONDS: Unit = Unit { name: "us", scale: 1e6 };
const NANOSECONDS: Unit = Unit { name: "ns", scale: 1e9 };

impl Unit {
    fn value(self, seconds: f64, each: u64) -> f64 {
        if self.scale > 0.0 { seconds * self.scale } else { 1.0 / self.cpu(seconds, each) }
    }

    /// Converts `seconds` to seconds per GiB if this unit is GiB/s, and otherwise to this unit.
    #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
    fn cpu(self, seconds: f64, each: u64) -> f64 {
        const GIB: f64 = 1_073_741_824.0;
        if self.scale > 0.0 { seconds * self.scale } else { seconds / each as f64 * GIB }
    }
}

// ---------------------------------------------------------------- what is printed

fn table_head(input: &Input) -> String {
    format!(
        "{}; files {}\n\n{:20} {:4} {:27} {:>16}   ratio    CPU  mechanism\n",
        machine::line(),
        input.folders,
        "path",
        "CPUs",
        "engine",
        "value",
    )
}

/// Formats the rows of one question as a table or as CSV.
fn lines(question: &Question<'_>, rows: &[Row], csv: bool) -> String {
    let (path, unit, cpus) = (question.path, question.unit.name, question.place.name());
    let line = |Row { engine, value, ratio, cpu, cpu_ratio, by }: &Row| {
        if csv {
            return format!(
                "{path},{cpus},{engine},{unit},{value:.4},{ratio:.2},{cpu:.4},{cpu_ratio:.2},{by}\n"
            );
        }
        let line = format!(
            "{path:20} {cpus:4} {engine:27} {value:10.3} {unit:5} {ratio:6.2}× {cpu_ratio:5.2}×  {by}"
        );
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect::<String>() + if csv { "" } else { "\n" }
}

/// Writes the whole text to standard output without buffering.
fn print(text: &str) -> io::Result<()> {
    Ok(rawpipe::io::write_all(io::stdout(), text.as_bytes())?)
}

/// Writes the whole text to standard error. Ignores a failure, because the program has no other way to report
/// it.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

// ---------------------------------------------------------------- the program

fn main() -> ExitCode {
    let result = match Options::parse(env::args_os().skip(1)) {
        Ok(Options { help: true, .. }) => print(HELP),
        Ok(Options { writes: true, .. }) => programs::write_output(),
        Ok(options) => run(&options),
        Err(message) => {
            say(&format!("speed: {message}; see speed --help\n"));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("speed: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let clock = Instant::now();
    let here = Here { input: Input::new()?, tiny: Tiny::new().ok(), program: env::current_exe()? };
    if options.csv {
        print(&format!(
            "# {}\npath,cpus,engine,unit,value,ratio,cpu,cpu_ratio,mechanism\n",
            machine::line()
        ))?;
    } else {
        print(&table_head(&here.input))?;
    }
    let questions = questions(&here);
    let mut left: u32 = questions.iter().map(Question::weight).sum();
    for mut question in questions {
        let time = options.time.saturating_sub(clock.elapsed()) * question.weight() / left.max(1);
        left -= question.weight();
        let rows = question.answer(time)?;
        print(&lines(&question, &rows, options.csv))?;
    }
    if !options.csv {
        print(NOTE)?;
    }
    if cfg!(debug_assertions) {
        say("speed: a debug build: use cargo run --release\n");
    }
    Ok(())
}

struct Options {
    csv: bool,
    help: bool,
    /// Set if a measurement has started this process as the program whose output the measurement reads.
    writes: bool,
    time: Duration,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let time = Duration::from_secs(18);
        let mut options = Self { csv: false, help: false, writes: false, time };
        while let Some(word) = words.next() {
            match word.to_string_lossy().as_ref() {
                "--csv" => options.csv = true,
                "--help" => options.help = true,
                WRITER => options.writes = true,
                "--seconds" => {
                    let value = words.next().unwrap_or_default();
                    let seconds = value.to_str().and_then(|value| value.parse().ok());
                    options.time = seconds
                        .filter(|seconds| (0.1..=3600.0).contains(seconds))
                        .map(Duration::from_secs_f64)
                        .ok_or("--seconds needs a number from 0.1 to 3600")?;
                }
                other => return Err(format!("unknown option '{other}'")),
            }
        }
        Ok(options)
    }
}
