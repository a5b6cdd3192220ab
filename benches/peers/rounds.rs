//! The questions in rounds: in each round every crate has a turn of about the same duration, the first
//! one another each time, and ratios are made within the round. Whatever else the machine does meanwhile
//! meets all of them. Prints a line for each: question, engine, its bytes for each turn (0: none),
//! nanoseconds of a turn and the ratio of `rawpipe`, or `rawpipe-shared` where there is one, to it (above 1:
//! `rawpipe` is faster), both medians, in how many rounds it was faster than that, and the number of rounds.
//!
//! `rounds full` and `rounds quick` take the names of questions, to ask no others. `rounds texts` prints what
//! the questions are, `rounds machine` the capacities of pipes here, in KiB.

use peers::{Here, QUESTIONS, Question};
use std::env;
use std::io;
use std::time::Duration;

/// How many rounds, and how long a turn of one engine should be.
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
        answer(question, &here, plan)?;
    }
    Ok(())
}

fn answer(question: &Question, here: &Here, plan: &Plan) -> io::Result<()> {
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

/// Nanoseconds of one of so many.
#[expect(clippy::cast_precision_loss, reason = "a measured amount")]
fn each(took: Duration, count: u64) -> f64 {
    took.as_secs_f64() * 1e9 / count as f64
}

/// Of an odd number of values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
