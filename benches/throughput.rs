//! Measures transfers, in chunks of several sizes, from memory to another process. The bytes pass through a
//! pipe or through shared memory.
//!
//! - `made_and_summed`: one process generates every byte, as numbered words, and another sums every word. The
//!   sum is checked in every run. For published figures use `benches/scaling`, which compares the same
//!   engines over more sizes and situations.
//! - `contended`: the same transfer, measured while a busy process runs on each CPU.
//! - `channel`: messages that one process generates and another sums. Each message is sent before the next
//!   one is generated. The engine `std` sends the length of each message as 8 bytes before the message.
//!   `rawpipe-read-ahead` creates its receiver with `with_read_ahead`.
//! - `channel_many`: messages that may be sent together. `std` uses `BufWriter` and `BufReader`. In each call
//!   of `send_many`, `rawpipe` sends at most 8 KiB, which is the size of the `BufWriter`'s buffer. Its
//!   receiver reads ahead. In `channel` and `channel_many`, the engines of a row run in turns.
//! - `limits/mem_to_read`, `limits/mem_to_null`: transfers that send the same bytes repeatedly. The bytes are
//!   read into memory or discarded, and no process examines them. These rows show the limit of the transfer
//!   alone.
//!
//! Every row except the limits is measured with the processes on separate CPUs (`two`) and on the same CPU
//! (`one`). The limits are measured only on separate CPUs. If the scheduler placed the processes, the results
//! of one engine could vary by a factor of three.
//!
//! - `std`: `std::io::pipe` with default settings, page-aligned buffers, `write_all` of a chunk and `read` of
//!   64 KiB. In the limits, `std` reads a chunk with each `read`, or discards bytes with `io::copy`.
//! - `std-vec`: the same calls with plain `Vec`s, for chunks of 64 KiB or more.
//! - `rawpipe`: a `ChunkWriter` and a `ChunkReader`, with only the chunk size set. In `channel` and
//!   `channel_many`, it is a `Channel`.
//! - `rawpipe-afterread`: the same as `rawpipe`, but with `Reuse::AfterRead`. `rawpipe-adaptive`: the same as
//!   `rawpipe-afterread`, but with `Wait::Adaptive`.
//! - `rawpipe-shared`: `chunk::shared` with `Wait::Block`. `rawpipe-shared-adaptive`: the same with
//!   `Wait::Adaptive`.
//! - `rawpipe-vmsplice-afterread`, `rawpipe-memfd-afterread`: a `ChunkWriter` with the named mechanism.
//!
//! In the limits, the source of `-afterread` fills a chunk only before the chunk's first use. Later uses send
//! the same bytes again. `rawpipe` never reuses a page that it has passed to the pipe, so its source fills
//! every chunk.
//!
//! Each run of an engine forks two processes before the measurement starts. A run fails if the wrong number
//! of bytes arrives. Except in the limits, a run also fails if the sum of the bytes is wrong. The benchmark
//! calls each engine through a pointer, so the compiler cannot inline the engine into the benchmark.

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
    messages(&mut criterion, &input);
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

/// Measures messages. The receiver must restore the boundaries between messages.
fn messages(criterion: &mut Criterion, input: &Input) {
    let mut measure = |group, sizes: &[usize], ways: &[Named<summed::Way>]| {
        let mut rows = Rows::new(criterion, group).in_turns();
        for place in Place::PINNED {
            for &size in sizes {
                sum(&mut rows, input, place, size, ways);
            }
        }
    };
    measure("channel", &[64, KIB, 64 * KIB, MIB], &messages::MESSAGES);
    measure("channel_many", &[64, KIB], &messages::MANY);
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
