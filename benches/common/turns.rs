//! Creates the engines that a benchmark compares. The engines of a row perform the same work.

use super::messages::{TRIPS, round_trips};
use super::summed::Way;
use super::{Input, KIB, Move, Named, Place, Run, Summed, Taken};
use std::io;

/// The name of an engine, and a function that measures a given number of repetitions.
pub(crate) type Engine<'a> = (&'static str, Box<dyn FnMut(u64) -> io::Result<Run> + 'a>);

/// Creates an engine that reports no mechanism.
pub(crate) fn engine<'a>(
    name: &'static str,
    mut work: impl FnMut(u64) -> io::Result<Taken> + 'a,
) -> Engine<'a> {
    (name, Box::new(move |count| Ok(Run { taken: work(count)?, by: String::new() })))
}

/// Returns engines that move `bytes` bytes in each repetition. Before its first measurement, each engine
/// moves a test stream and compares every byte.
pub(crate) fn moves<'a>(
    input: &'a Input,
    place: Place,
    bytes: u64,
    engines: &[Named<Move>],
) -> Vec<Engine<'a>> {
    let engine = |&(engine, work): &Named<Move>| -> Engine<'a> {
        let (work, mut checked) = (Move { place, ..work }, false);
        let run = move |count| {
            if !checked {
                work.check(input)?;
                checked = true;
            }
            work.run(input, count * bytes)
        };
        (engine, Box::new(run))
    };
    let works = |(engine, _): &&Named<Move>| input.allows(engine);
    engines.iter().filter(works).map(engine).collect()
}

/// Returns engines that, in each repetition, generate, send and sum `chunks` chunks.
pub(crate) fn sums(
    input: &Input,
    place: Place,
    chunk: usize,
    chunks: u64,
    ways: &[Named<Way>],
) -> Vec<Engine<'static>> {
    let sum = |&(name, way): &Named<Way>| {
        engine(name, move |count| Summed { way, chunk, place }.run(count * chunks))
    };
    let works = |(engine, _): &&Named<Way>| input.allows(engine) && has_buffer(engine, chunk);
    ways.iter().filter(works).map(sum).collect()
}

/// Returns engines that, in each repetition, send a message to another process and receive a reply.
pub(crate) fn trips(place: Place, len: usize) -> Vec<Engine<'static>> {
    let trip = |(name, sides)| engine(name, move |count| round_trips(sides, len, place, count));
    TRIPS.into_iter().filter(|(engine, _)| has_buffer(engine, len)).map(trip).collect()
}

/// Returns whether to measure the engine with buffers of this length. `std-vec` is measured only with buffers
/// of at least 64 KiB.
fn has_buffer(engine: &str, len: usize) -> bool {
    engine != "std-vec" || len >= 64 * KIB
}
