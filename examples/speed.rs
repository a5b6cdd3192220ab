//! std beside rawpipe: what each path through a pipe takes, in one run of about 24 seconds.
//!
//! ```text
//! cargo run --release --example speed
//! cargo run --release --example speed -- --csv > speed.csv
//! ```
//!
//! [`QUESTIONS`] lists what is compared. All engines run in processes forked in the same way, and in
//! turns: std, rawpipe, rawpipe, std, std …, at least 7 rounds, each turn of about the same duration.
//! A value is the median of the rounds. A ratio is the median of the ratios in each round, so it is
//! not quite the ratio of the values, and differs less from run to run.
//!
//! In `made_and_summed` a process makes every byte and another one adds every word, and the sums are compared.
//! The rows titled `limit: ` move bytes that no process makes, looks at or keeps: they show what the transfer
//! alone can reach.
//!
//! `mem_to_read` and `mem_to_null` send bytes that are there, again and again; in the rows `_filled` the
//! source makes every byte just before it sends it. A `ChunkWriter` that never uses a page again (which
//! is the default, in row `rawpipe`) has no bytes that are there: it makes them in both.
//! `rawpipe-adaptive` is `rawpipe-vmsplice-afterread` when both sides ask for a moment before they sleep.
//!
//! The clock runs in a process that does nothing else, from the word to go until all others have said
//! that they are done; they are forked, and their files and buffers are ready, before. Every turn is
//! checked for the exact number of bytes, and each engine once, without the clock, for every byte.
//!
//! It needs Rust 1.87, for `std::io::pipe`.
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

#[path = "../benches/common/mod.rs"]
mod common;
#[path = "../benches/common/programs.rs"]
mod programs;

use common::*;
use programs::{Ballast, Tiny};
use rawpipe::{PipeReader as RawReader, PipeWriter as RawWriter};
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, IsTerminal, PipeReader as StdReader, PipeWriter as StdWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
Usage: speed [OPTIONS]
Measures paths through pipes, by std and by rawpipe, and prints a table.

  --csv        print path,engine,unit,value,ratio_to_std instead
  --seconds N  take about so long (default 24)
  --help       show this

A ratio above 1 is better than std, for times as well.
Exit status: 0 all measured; 1 something failed, or moved wrong bytes; 2 wrong usage.
";

// ---------------------------------------------------------------- what is compared

struct Question {
    path: &'static str,
    unit: Unit,
    /// The first is std's, the second what a caller gets from `rawpipe` without asking for more.
    engines: &'static [(&'static str, Work)],
}

enum Work {
    /// Bytes from process to process.
    Move(Move),
    /// The same, where the source makes and the sink sums them.
    Sum(Summed),
    /// Bytes from file to file.
    Copy(Copy),
    /// A call or an exchange, so many times.
    Repeat(fn(u64) -> io::Result<Duration>),
    /// Starting a program and waiting for its end, beside so many bytes of other memory.
    Start(fn(&Path) -> io::Result<()>, usize),
}

/// What there is to work with.
struct Here {
    input: Input,
    /// On machines for which there is one.
    tiny: Option<Tiny>,
}

/// By 64 KiB.
const fn sum(way: summed::Way) -> Work {
    Work::Sum(Summed { way, chunk: 64 * KIB, place: Place::Free })
}

const QUESTIONS: &[Question] = &[
    Question {
        path: "made_and_summed",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", sum(summed::by_std)),
            ("rawpipe", sum(summed::by_chunks)),
            ("rawpipe-afterread", sum(summed::by_chunks_after_read)),
            ("rawpipe-shared", sum(summed::by_shared)),
            ("rawpipe-shared-adaptive", sum(summed::by_shared_adaptive)),
        ],
    },
    // The bytes are there.
    Question {
        path: "mem_to_read",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(STD)),
            ("rawpipe", Work::Move(CHUNKS)),
            ("rawpipe-vmsplice-afterread", Work::Move(CHUNKS_AFTER_READ)),
            ("rawpipe-memfd-afterread", Work::Move(CHUNKS_MEMFD_AFTER_READ)),
            ("rawpipe-adaptive", Work::Move(CHUNKS_AFTER_READ_ADAPTIVE)),
            ("rawpipe-copy", Work::Move(RAW)),
        ],
    },
    // Every byte is made just before it is sent.
    Question {
        path: "mem_to_read_filled",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(STD_FILLED)),
            ("rawpipe", Work::Move(CHUNKS_FILLED)),
            ("rawpipe-vmsplice-afterread", Work::Move(CHUNKS_FILLED_AFTER_READ)),
            ("rawpipe-memfd-afterread", Work::Move(CHUNKS_FILLED_MEMFD_AFTER_READ)),
            ("rawpipe-vmsplice", Work::Move(CHUNKS_FILLED_VMSPLICE)),
            ("rawpipe-memfd", Work::Move(CHUNKS_FILLED_MEMFD)),
            ("rawpipe-copy", Work::Move(RAW_FILLED)),
        ],
    },
    Question {
        path: "mem_to_null",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(Move { sink: Sink::Null(io_copy_to_file), ..STD })),
            ("rawpipe", Work::Move(Move { sink: Sink::Null(transfer_all), ..CHUNKS })),
            (
                "rawpipe-vmsplice-afterread",
                Work::Move(Move { sink: Sink::Null(transfer_all), ..CHUNKS_AFTER_READ }),
            ),
            (
                "rawpipe-adaptive",
                Work::Move(Move {
                    sink: Sink::Null(transfer_adaptively),
                    ..CHUNKS_AFTER_READ_ADAPTIVE
                }),
            ),
            ("rawpipe-copy", Work::Move(Move { sink: Sink::Null(transfer_all), ..RAW })),
        ],
    },
    Question {
        path: "mem_to_null_filled",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(Move { sink: Sink::Null(io_copy_to_file), ..STD_FILLED })),
            ("rawpipe", Work::Move(Move { sink: Sink::Null(transfer_all), ..CHUNKS_FILLED })),
            (
                "rawpipe-vmsplice-afterread",
                Work::Move(Move { sink: Sink::Null(transfer_all), ..CHUNKS_FILLED_AFTER_READ }),
            ),
            ("rawpipe-copy", Work::Move(Move { sink: Sink::Null(transfer_all), ..RAW_FILLED })),
        ],
    },
    Question {
        path: "file_to_null",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(Move { sink: Sink::Null(io_copy_to_file), ..STD_FILE })),
            ("rawpipe", Work::Move(Move { sink: Sink::Null(transfer_all), ..RAW_FILE })),
        ],
    },
    Question {
        path: "file_to_read",
        unit: GIB_PER_SECOND,
        engines: &[("std", Work::Move(STD_FILE)), ("rawpipe", Work::Move(RAW_FILE))],
    },
    Question {
        path: "file_to_file",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Copy(Copy { copy: io_copy_files, chunk: 0 })),
            ("rawpipe", Work::Copy(Copy { copy: transfer_files, chunk: 0 })),
        ],
    },
    Question {
        path: "pipe_to_file",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(Move { sink: Sink::File(io_copy_to_file), ..STD })),
            ("rawpipe", Work::Move(Move { sink: Sink::File(transfer_all), ..RAW })),
            ("rawpipe-copy", Work::Move(Move { sink: Sink::File(copy_all), ..RAW })),
        ],
    },
    Question {
        path: "pipe_to_pipe",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(STD_PIPES)),
            ("rawpipe", Work::Move(RAW_PIPES)),
            ("rawpipe-copy", Work::Move(Move { middle: Some((copy_all, RAW.chunk)), ..RAW_PIPES })),
        ],
    },
    Question {
        path: "socket_to_socket",
        unit: GIB_PER_SECOND,
        engines: &[
            ("std", Work::Move(SOCKETS)),
            ("rawpipe", Work::Move(Move { middle: Some((transfer_all, 0)), ..SOCKETS })),
            ("rawpipe-copy", Work::Move(Move { middle: Some((copy_all, RAW.chunk)), ..SOCKETS })),
        ],
    },
    Question {
        path: "pingpong",
        unit: MICROSECONDS,
        engines: &[
            ("std", Work::Repeat(|n| pingpong::<StdReader, StdWriter>(n, std_pipe))),
            ("rawpipe", Work::Repeat(|n| pingpong::<RawReader, RawWriter>(n, raw_pipe))),
        ],
    },
    Question {
        path: "pipe2_close",
        unit: NANOSECONDS,
        engines: &[
            ("std", Work::Repeat(|n| pipe2_close(n, io::pipe))),
            ("rawpipe", Work::Repeat(|n| pipe2_close(n, || Ok(rawpipe::pipe()?)))),
        ],
    },
    Question {
        path: "fork_wait",
        unit: MICROSECONDS,
        engines: &[
            ("std", Work::Repeat(|n| repeat(n, programs::libc_fork))),
            ("rawpipe", Work::Repeat(|n| repeat(n, programs::raw_fork_with))),
        ],
    },
    Question {
        path: "spawn_plain",
        unit: MICROSECONDS,
        engines: &[
            ("std", Work::Start(programs::std_spawn, 0)),
            ("rawpipe", Work::Start(programs::raw_spawn, 0)),
        ],
    },
    Question {
        path: "spawn_mapped",
        unit: MICROSECONDS,
        engines: &[
            ("std", Work::Start(|program| programs::std_spawn_mapped(program, &null()?), RESIDENT)),
            (
                "rawpipe",
                Work::Start(|program| programs::raw_spawn_mapped(program, null()?), RESIDENT),
            ),
        ],
    },
];

/// No process makes the bytes, looks at them or keeps them.
const LIMITS: [&str; 6] = [
    "mem_to_read",
    "mem_to_null",
    "file_to_null",
    "file_to_read",
    "pipe_to_pipe",
    "socket_to_socket",
];

/// What this process has beside it in `spawn_mapped`.
const RESIDENT: usize = 256 << 20;

fn null() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

const NOTE: &str = "\
made_and_summed: by 64 KiB, every byte is made in one process and summed in another. limit: no process makes
the bytes, looks at them or keeps them; it shows what the transfer alone can reach.
_filled: the source makes every byte just before it sends it. Else they are there and sent again, but
for row rawpipe, a ChunkWriter that gives its pages away for good: it makes them every time.
std has no fork: that row is the C library's fork, _exit and waitpid.
spawn_plain: a program that only exits. spawn_mapped: in a session of its own and with a descriptor at
a number, for which std runs code in the child (pre_exec), beside 256 MiB in pages of 4 KiB.
";

// ---------------------------------------------------------------- calls and exchanges

/// A byte there, its successor back. The child answers until end of file.
fn pingpong<R, W>(count: u64, link: Link) -> io::Result<Duration>
where
    R: Read + From<OwnedFd>,
    W: Write + From<OwnedFd>,
{
    let (there, to) = link()?;
    let (from, back) = link()?;
    let (mut to, mut from) = (Some(W::from(to)), R::from(from));
    let child = start(|| {
        to = None; // with this copy open, it would never see the end of file
        let (mut there, mut back) = (R::from(there), W::from(back));
        let mut byte = [0];
        while there.read(&mut byte)? == 1 {
            byte[0] = byte[0].wrapping_add(1);
            back.write_all(&byte)?;
        }
        Ok(())
    })?;
    let mut to = to.expect("only the child's copy was closed");
    let mut exchange = |ping: u8| {
        let mut pong = [0];
        to.write_all(&[ping])?;
        from.read_exact(&mut pong)?;
        require(pong[0] == ping.wrapping_add(1), || format!("{} came back for {ping}", pong[0]))
    };
    exchange(0)?; // the child runs
    let clock = Instant::now();
    for turn in 0..count {
        exchange(turn.to_le_bytes()[0])?;
    }
    let elapsed = clock.elapsed();
    drop(to);
    finish(child)?;
    Ok(elapsed)
}

/// Makes a pipe and drops it, so many times.
fn pipe2_close<R: Read + AsRawFd, W: Write>(
    count: u64,
    make: impl Fn() -> io::Result<(R, W)>,
) -> io::Result<Duration> {
    let works = || {
        let (mut reader, mut writer) = make()?;
        let mut byte = [0];
        writer.write_all(b"!")?;
        reader.read_exact(&mut byte)?;
        require(byte == *b"!", || "it is not a pipe".to_owned())?;
        Ok::<_, io::Error>(reader.as_raw_fd())
    };
    let before = works()?;
    let elapsed = repeat(count, &make)?;
    require(works()? == before, || "not all were closed".to_owned())?;
    Ok(elapsed)
}

/// Makes something and drops it, so many times.
fn repeat<T>(count: u64, make: impl Fn() -> io::Result<T>) -> io::Result<Duration> {
    let clock = Instant::now();
    for _ in 0..count {
        drop(black_box(make()?));
    }
    Ok(clock.elapsed())
}

// ---------------------------------------------------------------- all rounds

const LEAST_ROUNDS: u32 = 7;

impl Work {
    /// No round is longer, so that there are many: a process stays for a while where the kernel has
    /// placed it, on the CPU of the other or not, and one round shows one placement only.
    const fn longest(&self) -> Duration {
        match self {
            Self::Move(_) | Self::Sum(_) | Self::Copy(_) => Duration::from_millis(40),
            Self::Repeat(_) | Self::Start(..) => Duration::from_millis(2),
        }
    }

    fn run(&self, here: &Here, amount: u64) -> io::Result<Run> {
        let elapsed = match self {
            Self::Move(work) => return work.run(&here.input, amount),
            Self::Sum(work) => work.run(amount / self.unit())?,
            Self::Copy(work) => return work.run(&here.input, amount / FILE as u64),
            Self::Repeat(work) => work(amount)?,
            Self::Start(start, resident) => {
                let tiny = here.tiny.as_ref().expect("not without");
                let _ballast = Ballast::new(*resident, false)?;
                repeat(amount, || start(tiny.path()))?
            }
        };
        Ok(Run { elapsed, by: String::new() })
    }

    /// An amount is a multiple of it.
    const fn unit(&self) -> u64 {
        match self {
            Self::Sum(work) => work.chunk as u64,
            Self::Copy(_) => FILE as u64,
            Self::Move(_) | Self::Repeat(_) | Self::Start(..) => 1,
        }
    }

    /// Checks it, and finds the amount that takes about so long.
    fn prepare(&self, here: &Here, target: Duration) -> io::Result<u64> {
        let (amount, most) = match self {
            Self::Repeat(_) => (16, u64::MAX),
            Self::Start(..) => (1, u64::MAX),
            Self::Sum(_) => (1 << 20, u64::MAX),
            Self::Copy(work) => {
                work.check(&here.input)?;
                (FILE as u64, u64::MAX)
            }
            Self::Move(work) => {
                work.check(&here.input)?;
                // A file in memory stays small.
                (1 << 20, if matches!(work.sink, Sink::File(_)) { 32 << 20 } else { u64::MAX })
            }
        };
        let exact = often(target, amount, most, |amount| Ok(self.run(here, amount)?.elapsed))?;
        Ok((exact / self.unit() * self.unit()).max(self.unit()))
    }
}

impl Question {
    /// How much of the time it takes.
    fn weight(&self, here: &Here) -> u32 {
        u32::try_from(self.engines(here).len()).expect("few engines")
    }

    /// Those that can work here.
    fn engines(&self, here: &Here) -> Vec<&'static (&'static str, Work)> {
        let works = |(engine, work): &&'static (&'static str, Work)| match work {
            Work::Start(..) => here.tiny.is_some(),
            _ => here.input.allows(engine),
        };
        self.engines.iter().filter(works).collect()
    }

    /// The rows of the table, of which the first is std's.
    fn answer(&self, here: &Here, time: Duration) -> io::Result<Vec<Row>> {
        let clock = Instant::now();
        let engines = self.engines(here);
        let count = engines.len();
        let blame = |index: usize, error: io::Error| {
            io::Error::other(format!("{} by {}: {error}", self.path, engines[index].0))
        };
        let mut amounts = vec![0; count];
        for (index, (_, work)) in engines.iter().enumerate() {
            // Half as long as they may be, for more rounds than must be.
            let target = time / (2 * LEAST_ROUNDS * self.weight(here));
            let target = target.clamp(Duration::from_millis(1), work.longest());
            amounts[index] = work.prepare(here, target).map_err(|error| blame(index, error))?;
        }
        let mut values = vec![Vec::new(); count];
        let mut by = vec![String::new(); count];
        let first = clock.elapsed();
        for round in 0.. {
            let elapsed = clock.elapsed();
            if round >= LEAST_ROUNDS && elapsed + (elapsed - first) / round > time {
                break;
            }
            for turn in 0..count {
                let index = (round as usize + turn) % count;
                let run = engines[index].1.run(here, amounts[index]);
                let run = run.map_err(|error| blame(index, error))?;
                values[index].push(self.unit.value(amounts[index], run.elapsed));
                by[index] = run.by;
            }
        }
        let row =
            |(((engine, _), own), by): ((&&'static (&'static str, Work), &Vec<f64>), String)| {
                let pairs = own.iter().zip(&values[0]);
                let ratio = median(pairs.map(|(own, std)| self.unit.ratio(*own, *std)).collect());
                Row { engine, value: median(own.clone()), ratio, by }
            };
        Ok(engines.iter().zip(&values).zip(by).map(row).collect())
    }
}

struct Row {
    engine: &'static str,
    value: f64,
    ratio: f64,
    /// By which mechanism of the library.
    by: String,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Unit {
    name: &'static str,
    per_second: bool,
    scale: f64,
}

const GIB_PER_SECOND: Unit = Unit { name: "GiB/s", per_second: true, scale: 1.0 / 1_073_741_824.0 };
const MICROSECONDS: Unit = Unit { name: "us", per_second: false, scale: 1e6 };
const NANOSECONDS: Unit = Unit { name: "ns", per_second: false, scale: 1e9 };

impl Unit {
    #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
    fn value(&self, amount: u64, taken: Duration) -> f64 {
        let (amount, seconds) = (amount as f64, taken.as_secs_f64().max(1e-9));
        self.scale * if self.per_second { amount / seconds } else { seconds / amount }
    }

    /// Above 1 when `value` is the better one.
    fn ratio(&self, value: f64, std: f64) -> f64 {
        if self.per_second { value / std } else { std / value }
    }
}

// ---------------------------------------------------------------- what is printed

fn table_head(input: &Input) -> io::Result<String> {
    let capacity = |(end, _): (OwnedFd, OwnedFd)| rawpipe::pipe::capacity(end);
    Ok(format!(
        "{}; pipes of {} KiB for std and {} KiB for rawpipe, files {}\n\n\
         {:23} {:26} {:>16}   ratio  {:24} mechanism\n",
        machine::line(),
        capacity(std_pipe()?)? / KIB,
        capacity(large_pipe()?)? / KIB,
        input.folders,
        "path",
        "engine",
        "value",
        "",
    ))
}

/// The rows of one question, for people or for programs.
fn lines(question: &Question, rows: &[Row], csv: bool) -> String {
    let (path, unit) = (question.path, question.unit.name);
    let title = format!("{}{path}", if LIMITS.contains(&path) { "limit: " } else { "" });
    let best = rows.iter().map(|row| row.ratio).fold(0.0, f64::max);
    let line = |Row { engine, value, ratio, by }: &Row| {
        if csv {
            return format!("{path},{engine},{unit},{value:.4},{ratio:.2}\n");
        }
        let bar = bar(ratio / best);
        let line =
            format!("{title:23} {engine:26} {value:10.3} {unit:5} {ratio:6.2}×  {bar:24} {by}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect::<String>() + if csv { "" } else { "\n" }
}

/// A bar of up to 24 characters, to an eighth of a character.
fn bar(part: f64) -> String {
    let eighths = (1..=24 * 8).filter(|eighth| f64::from(*eighth) <= part * 192.5).count();
    let last = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + last
}

/// To standard output, now.
fn print(text: &str) -> io::Result<()> {
    Ok(rawpipe::io::write_all(io::stdout(), text.as_bytes())?)
}

/// To standard error, in one piece. An error of that cannot be reported.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

// ---------------------------------------------------------------- the program

fn main() -> ExitCode {
    let result = match Options::parse(env::args_os().skip(1)) {
        Ok(Options { help: true, .. }) => print(HELP),
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
    let here = Here { input: Input::new()?, tiny: Tiny::new().ok() };
    if options.csv {
        print("path,engine,unit,value,ratio_to_std\n")?;
    } else {
        print(&table_head(&here.input)?)?;
    }
    let show = io::stderr().is_terminal();
    let mut left: u32 = QUESTIONS.iter().map(|question| question.weight(&here)).sum();
    for (index, question) in QUESTIONS.iter().enumerate() {
        if show {
            say(&format!("\r{} of {}: {} ", index + 1, QUESTIONS.len(), question.path));
        }
        let time =
            options.time.saturating_sub(clock.elapsed()) * question.weight(&here) / left.max(1);
        left -= question.weight(&here);
        let answer = question.answer(&here, time);
        if show {
            say("\r\x1b[K"); // to the start of the line, and the line is empty
        }
        print(&lines(question, &answer?, options.csv))?;
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
    time: Duration,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self { csv: false, help: false, time: Duration::from_secs(24) };
        while let Some(word) = words.next() {
            match word.to_string_lossy().as_ref() {
                "--csv" => options.csv = true,
                "--help" => options.help = true,
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
