//! Measures the questions in rounds. In each round, every engine has one turn of about the same duration, and
//! each round starts with a different engine: the next one in the list. Ratios are computed within a round,
//! so load that lasts longer than a round affects both figures of a ratio.
//!
//! Prints one line for each engine, with these columns:
//! - the question and the engine
//! - the bytes of a repetition, or 0 if the question measures no throughput
//! - the median time of a repetition in nanoseconds
//! - the median ratio of this time to the time of `rawpipe`, or of `rawpipe-shared` if the question has that
//!   engine (above 1: `rawpipe` is faster)
//! - the number of rounds in which the ratio was below 1, and the total number of rounds
//!
//! `rounds full` and `rounds quick` measure the questions that are passed as arguments, or all questions if
//! none is passed. `rounds texts` prints the descriptions of the questions. `rounds machine` prints the pipe
//! capacities of this machine in KiB.

use peers::{Here, QUESTIONS, Question};
use std::env;
use std::io;
use std::time::Duration;

/// The number of rounds, and the intended duration of each turn.
struct Plan {
    rounds: usize,
    turn: Duration,
}

const FULL: Plan = Plan { rounds: 15, turn: Duration::from_millis(60) };
const QUICK: Plan = Plan { rounds: 7, turn: Duration::from_millis(15) };

fn main() -> io::Result<()> {
    if peers::is_writer()? {
        return Ok(());
    }
    match env::args().nth(1).as_deref() {
        Some("full") => measure(&FULL),
        Some("quick") => measure(&QUICK),
        Some("texts") => {
            for question in QUESTIONS {
                println!("{}\t{}", question.name, question.text);
            }
            Ok(())
        }
        Some("machine") => {
            let [usual, large] = Here::new()?.capacities()?;
            println!("{}\t{}", usual >> 10, large >> 10);
            Ok(())
        }
        _ => Err(io::Error::other("usage: rounds full|quick [QUESTION...] | texts | machine")),
    }
}

fn measure(plan: &Plan) -> io::Result<()> {
    let here = Here::new()?;
    let names: Vec<_> = env::args().skip(2).collect();
    let known = |name: &String| QUESTIONS.iter().any(|question| question.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return Err(io::Error::other(format!("there is no question {name}")));
    }
    let asked = |name| names.is_empty() || names.iter().any(|asked| asked == name);
    for question in QUESTIONS.iter().filter(|question| asked(question.name)) {
        measure_question(question, &here, plan)?;
    }
    Ok(())
}

fn measure_question(question: &Question, here: &Here, plan: &Plan) -> io::Result<()> {
    let engines = question.engines;
    let blame = |index: usize, error: io::Error| {
        io::Error::other(format!("{} by {}: {error}", question.name, engines[index].name))
    };
    let own = question.own();
    let mut turns = Vec::new();
    for (index, engine) in engines.iter().enumerate() {
        engine.check(here).map_err(|error| blame(index, error))?;
        let count = engine.often(here, plan.turn);
        turns.push(count.map_err(|error| blame(index, error))?);
    }
    let mut nanos = vec![Vec::new(); engines.len()];
    let mut ratios = vec![Vec::new(); engines.len()];
    for round in 0..plan.rounds {
        for turn in 0..engines.len() {
            let index = (round + turn) % engines.len();
            let took =
                engines[index].run(here, turns[index]).map_err(|error| blame(index, error))?;
            nanos[index].push(each(took, turns[index]));
        }
        for (index, ratios) in ratios.iter_mut().enumerate() {
            ratios.push(nanos[index][round] / nanos[own][round]);
        }
    }
    for (index, engine) in engines.iter().enumerate() {
        println!(
            "{}\t{}\t{}\t{:.1}\t{:.4}\t{}\t{}",
            question.name,
            engine.name,
            question.bytes.unwrap_or(0),
            median(&mut nanos[index]),
            median(&mut ratios[index]),
            ratios[index].iter().filter(|ratio| **ratio < 1.0).count(),
            plan.rounds,
        );
    }
    Ok(())
}

/// Returns the time per repetition, in nanoseconds, if `count` repetitions took `took`.
#[expect(clippy::cast_precision_loss, reason = "a measured amount")]
fn each(took: Duration, count: u64) -> f64 {
    took.as_secs_f64() * 1e9 / count as f64
}

/// Returns the median of an odd number of values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
