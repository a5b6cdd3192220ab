//! Measures the series `summed`. In each transfer, one process generates every byte and another sums every
//! word. Every run checks the sum.
//!
//! Each line contains the situation, the chunk length, the engine, the measured value, and the CPU seconds of
//! all processes per GiB or operation. The next fields are the lower quartile, the median and the upper
//! quartile of the ratio to std. The last field is the median ratio of the CPU seconds to std's CPU seconds.
//! In the situation `limit`, "std" means `make`. In all others, it means whichever of `std` and `std-vec` has
//! the better median. The situations are:
//!
//! - `limit`: GiB/s of one process that only generates (`make`) or only sums (`sum`) the bytes of a single
//!   chunk.
//! - `free`, `one`, `two`: GiB/s between two processes. In `free`, the scheduler places the processes. In
//!   `one`, they run on one CPU, and in `two`, on separate CPUs.
//! - `busy-1`, `busy-2`, `busy-4`: the same as `free`, but measured while 1, 2 or 4 busy processes, each
//!   pinned to a CPU, count in a loop.
//! - `trip-0`, `trip-1`, `trip-2`, `trip-4`: microseconds per round trip of a message that each process
//!   generates and sums. The suffix is the number of busy processes that count in a loop at the same time.
//! - `set-up`: microseconds to create a pair of ends, pass one byte and drop the pair.
//!
//! For each combination of situation and chunk length, the turns of all engines last for about the same time.
//! With shared chunks, a turn includes the first use of a new ring's memory.

use super::common::summed::{Numbers, SIZES, Sum, WAYS};
use super::common::*;
use super::{GIB, Turn, best_of_std, median, take_turns};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::Duration;

struct Plan {
    rounds: usize,
    turn: Duration,
}

pub(crate) fn all() -> io::Result<()> {
    let mut arguments = std::env::args().skip(2).map(|argument| argument.parse());
    let mut number = |usual| arguments.next().unwrap_or(Ok(usual)).map_err(io::Error::other);
    let plan = Plan {
        rounds: usize::try_from(number(9)?.max(1)).map_err(io::Error::other)?,
        turn: Duration::from_millis(number(100)?),
    };
    println!(
        "# situation\tchunk\tengine\tvalue\tCPU seconds per GiB\tratio: quartile\tmedian\tquartile\tof CPU"
    );
    let input = Input::new()?;
    limits(&plan)?;
    for (situation, place, busy) in [
        ("free", Place::Free, 0),
        ("one", Place::Together, 0),
        ("two", Place::Apart, 0),
        ("busy-1", Place::Free, 1),
        ("busy-2", Place::Free, 2),
        ("busy-4", Place::Free, 4),
    ] {
        let _busy = Busy::some(busy)?;
        for chunk in SIZES {
            streams(&plan, &input, situation, place, chunk)?;
        }
    }
    for (situation, busy) in [("trip-0", 0), ("trip-1", 1), ("trip-2", 2), ("trip-4", 4)] {
        let _busy = Busy::some(busy)?;
        for len in [64, 64 * KIB] {
            round_trips(&plan, situation, len)?;
        }
    }
    set_up(&plan, &input)
}

/// Returns a turn that repeats `run` for about the intended duration. The measured time is scaled to `each`
/// repetitions.
fn timed<'a>(
    plan: &Plan,
    each: f64,
    mut run: impl FnMut(u64) -> io::Result<Taken> + 'a,
) -> io::Result<Box<dyn FnMut() -> io::Result<Taken> + 'a>> {
    let count = often(plan.turn, 16, u64::MAX, |count| Ok(run(count)?.clock))?;
    #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
    let share = each / count as f64;
    Ok(Box::new(move || Ok(run(count)?.mul_f64(share))))
}

/// Returns the number of chunks in a GiB.
#[expect(clippy::cast_precision_loss, reason = "a measured amount")]
fn in_a_gib(chunk: usize) -> f64 {
    GIB / chunk as f64
}

fn streams(
    plan: &Plan,
    input: &Input,
    situation: &str,
    place: Place,
    chunk: usize,
) -> io::Result<()> {
    // With shared chunks of 1 MiB, each turn uses a new ring of 4 MiB. Touching the ring's pages for the
    // first time takes at least 4 ms, so turns with such chunks last three times as long.
    let turn = if chunk > 256 * KIB { 3 * plan.turn } else { plan.turn };
    let plan = &Plan { turn, ..*plan };
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (engine, mut work) in sums(input, place, chunk, 1, &WAYS) {
        turns.push((engine, timed(plan, in_a_gib(chunk), move |count| Ok(work(count)?.taken))?));
    }
    print(plan, situation, chunk, &mut turns, |seconds| 1.0 / seconds)
}

fn round_trips(plan: &Plan, situation: &str, len: usize) -> io::Result<()> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (engine, mut work) in trips(Place::Free, len) {
        turns.push((engine, timed(plan, 1.0, move |count| Ok(work(count)?.taken))?));
    }
    print(plan, situation, len, &mut turns, |seconds| seconds * 1e6)
}

fn set_up(plan: &Plan, input: &Input) -> io::Result<()> {
    type Make = fn() -> io::Result<u8>;
    let engines: [(_, Make); 3] = [
        ("std", || {
            let ((mut reader, mut writer), mut byte) = (io::pipe()?, [0]);
            writer.write_all(&[7])?;
            reader.read_exact(&mut byte)?;
            Ok(byte[0])
        }),
        ("rawpipe", || {
            let ((reader, writer), mut byte) = (rawpipe::pipe()?, [0]);
            writer.write_all(&[7])?;
            reader.read_exact(&mut byte)?;
            Ok(byte[0])
        }),
        ("rawpipe-shared", || {
            let (mut reader, mut writer) = rawpipe::chunk::shared()?;
            writer.chunk()?[0] = 7;
            writer.send(1)?;
            Ok(reader.recv()?.map_or(0, |record| record[0]))
        }),
    ];
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (engine, make) in engines.into_iter().filter(|(engine, _)| input.allows(engine)) {
        let run = move |count| {
            Taken::repeated(count, || {
                let byte = make()?;
                require(byte == 7, || format!("{byte} came out"))
            })
        };
        turns.push((engine, timed(plan, 1.0, run)?));
    }
    print(plan, "set-up", 1, &mut turns, |seconds| seconds * 1e6)
}

/// Measures the limits that no transfer between two processes can exceed.
fn limits(plan: &Plan) -> io::Result<()> {
    for chunk in SIZES {
        let (filled, summed) = (touched(chunk), touched(chunk));
        let make = |count| {
            let mut numbers = Numbers::default();
            Taken::repeated(count, || {
                numbers.fill(black_box(&mut *filled));
                Ok(())
            })
        };
        let sum = |count| {
            let mut sum = Sum::new(count, chunk);
            let taken = Taken::repeated(count, || {
                sum.add(black_box(&*summed));
                Ok(())
            })?;
            require(black_box(sum).left() == 0, || "not all bytes".to_owned())?;
            Ok(taken)
        };
        let mut turns: Vec<Turn<'_>> = vec![
            ("make", timed(plan, in_a_gib(chunk), make)?),
            ("sum", timed(plan, in_a_gib(chunk), sum)?),
        ];
        print(plan, "limit", chunk, &mut turns, |seconds| 1.0 / seconds)?;
    }
    Ok(())
}

/// Measures every engine in each round, and prints one line for each engine.
fn print(
    plan: &Plan,
    situation: &str,
    chunk: usize,
    turns: &mut [Turn<'_>],
    value: fn(f64) -> f64,
) -> io::Result<()> {
    let taken = take_turns(turns, plan.rounds)?;
    let of = |index: usize, part: fn(&Taken) -> Duration| -> Vec<f64> {
        taken[index].iter().map(|taken| part(taken).as_secs_f64()).collect()
    };
    let clock = |index| of(index, |taken| taken.clock);
    let cpu = |index| of(index, |taken| taken.cpu);
    let ratios = |those: Vec<f64>, these: Vec<f64>| {
        let mut ratios: Vec<_> = those.iter().zip(&these).map(|(that, this)| that / this).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    let std = best_of_std(turns, &taken);
    for (index, (engine, _)) in turns.iter().enumerate() {
        let ratio = ratios(clock(std), clock(index));
        let at = |quarter: usize| ratio[(ratio.len() - 1) * quarter / 4];
        let (value, seconds) = (value(median(clock(index))), median(cpu(index)));
        let of_cpu = median(ratios(cpu(index), cpu(std)));
        println!(
            "{situation}\t{chunk}\t{engine}\t{value:.5}\t{seconds:.6}\t{:.3}\t{:.3}\t{:.3}\t{of_cpu:.3}",
            at(1),
            at(2),
            at(3),
        );
    }
    Ok(())
}
