//! Measures memory → pipe → another process, by chunks of several sizes.
//!
//! - `made_and_summed`: one process makes every byte, as numbered words, and another one adds up every
//!   word. The sum is compared after each measurement. `benches/scaling` takes turns with the same
//!   engines, by more sizes and situations, and has the figures to quote.
//! - `contended`: the same while a busy process runs on each CPU.
//! - `limits/mem_to_read`, `limits/mem_to_null`: no process makes the bytes or looks at them. The same
//!   ones are sent repeatedly, and read into memory or discarded. These show what the transfer alone can
//!   reach.
//!
//! Every row is measured with each process on a CPU of its own (`two`) and with both on `one`, limits
//! only on `two`. If the scheduler chooses, the same engine varies by a factor of three.
//!
//! - `std`: `std::io::pipe` by default, `write_all` of a chunk and `read` of 64 KiB, page-aligned
//!   buffers. `std-vec`: the same with plain `Vec`s, from 64 KiB on.
//! - `rawpipe`: a `ChunkWriter` and a `ChunkReader`, with only the size of a chunk set.
//!   `rawpipe-afterread`: with `Reuse::AfterRead`. `rawpipe-adaptive`: also with `Wait::Adaptive`.
//! - `rawpipe-shared`, `rawpipe-shared-adaptive`: `chunk::shared`, with `Wait::Block` and
//!   `Wait::Adaptive`.
//! - `rawpipe-vmsplice-afterread`, `rawpipe-memfd-afterread`: a `ChunkWriter` with that mechanism.
//!
//! In the limits a chunk of `-afterread` holds the bytes of an earlier round, so it fills nothing. `rawpipe` never uses a page again that it has handed over, and fills every chunk.
//!
//! A sample is one run of two processes, forked before its clock starts, and fails unless exactly as
//! many bytes arrive. Each engine's code is called through a pointer, so none of it is inlined here.

mod common;
#[path = "common/rows.rs"]
mod rows;

use common::*;
use criterion::Criterion;
use rows::Rows;

const BYTES: u64 = 16 << 20;

fn main() {
    let mut criterion = rows::criterion();
    machine::print();
    let input = Input::new().expect("files to work with");
    made_and_summed(&mut criterion, &input);
    contended(&mut criterion, &input);
    limits(&mut criterion, &input);
    criterion.final_summary();
}

fn made_and_summed(criterion: &mut Criterion, input: &Input) {
    let mut rows = Rows::new(criterion, "made_and_summed");
    for place in Place::PINNED {
        for chunk in [64, 4 * KIB, 64 * KIB, MIB] {
            sum(&mut rows, input, place, chunk, &summed::WAYS);
        }
    }
}

fn contended(criterion: &mut Criterion, input: &Input) {
    let _busy = Busy::new().expect("busy processes");
    let mut rows = Rows::new(criterion, "contended");
    let adaptive: summed::Way = summed::by_chunks_adaptive;
    let [std, std_vec, _, after_read, shared, shared_adaptive] = summed::WAYS;
    let ways = [std, std_vec, after_read, ("rawpipe-adaptive", adaptive), shared, shared_adaptive];
    for place in Place::PINNED {
        for chunk in [4 * KIB, 64 * KIB] {
            sum(&mut rows, input, place, chunk, &ways);
        }
    }
}

fn sum(
    rows: &mut Rows<'_>,
    input: &Input,
    place: Place,
    chunk: usize,
    ways: &[Named<summed::Way>],
) {
    let count = (32 * KIB as u64).min(BYTES / chunk as u64);
    rows.row(place, chunk, Some(count * chunk as u64), sums(input, place, chunk, count, ways));
}

fn limits(criterion: &mut Criterion, input: &Input) {
    let mut limit = |name, engines: &[Named<Move>]| {
        let mut rows = Rows::new(criterion, name);
        for chunk in [64 * KIB, MIB] {
            let of =
                |(engine, work): &Named<Move>| (*engine, Move { period: chunk, chunk, ..*work });
            let engines: Vec<_> = engines.iter().map(of).collect();
            let turns = moves(input, Place::Apart, BYTES, &engines);
            rows.row(Place::Apart, chunk, Some(BYTES), turns);
        }
    };
    limit("limits/mem_to_read", &MEM_TO_READ);
    limit("limits/mem_to_null", &MEM_TO_NULL);
}
