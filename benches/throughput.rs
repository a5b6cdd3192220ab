//! Measures memory → pipe → another process, by chunks of several sizes.
//!
//! - `made_and_summed`: one process makes every byte, as numbered words, and another one adds up every
//!   word. The sum is compared after each measurement.
//! - `mem_to_read`: the same bytes are sent repeatedly. The other process reads into its memory.
//! - `mem_to_null`: as `mem_to_read`, but the other process discards the bytes.
//! - `mem_to_read_filled`, `mem_to_null_filled`: every byte is made, in a buffer of a chunk, just before
//!   it is sent.
//! - `contended`: as `mem_to_read_filled`, while a busy process runs on each CPU.
//!
//! In the next four groups and in `contended` the other process does not look at the bytes: those groups
//! show what the transfer alone can reach. In `made_and_summed` the engines are those of
//! `common/summed.rs`: `std` with page-aligned buffers, `std-vec` with plain `Vec`s, `rawpipe` and
//! `rawpipe-afterread` with a `ChunkWriter`, `rawpipe-shared` and `rawpipe-shared-adaptive` with
//! `chunk::shared`. `benches/scaling` takes turns with the same engines, and has the figures to quote.
//!
//! std's `write_all` copies from a buffer; a `ChunkWriter` hands its chunk over. With `-afterread` its
//! chunk holds the bytes of an earlier round, so in groups that send the same bytes it has nothing to
//! fill. The other writers, `rawpipe` among them, never use a page again that they have handed over:
//! they have nothing ready, and fill every chunk in all groups.
//!
//! - `std`: `std::io::pipe` by default, `write_all` and `read` of a chunk, or `io::copy`.
//! - `rawpipe`: `ChunkWriter` and `ChunkReader`, or `transfer`, with only the size of a chunk set.
//! - `rawpipe-vmsplice`, `rawpipe-memfd`: with that mechanism set. `-afterread`: also with
//!   `Reuse::AfterRead`. A chunk of less than a few pages is sent with `write`, whatever is set.
//! - `rawpipe-copy`: `write_all` and `read` on a pipe as large as is useful.
//! - `rawpipe-adaptive`: as `rawpipe-vmsplice-afterread`, and both sides poll briefly before they sleep.
//!   In `contended` it is compared with `rawpipe-block`, where they do not.
//!
//! In `contended` the two processes run `apart`, on two CPUs, `together`, on one, or `free`, where the
//! scheduler puts them. The placement makes more of a difference than anything else: with `free` the
//! same engine varies by a factor of three from run to run, while the other two stay within a few
//! hundredths. To compare ways of waiting, use these two.
//!
//! An iteration moves [`BYTES`]. A sample is one run of two processes, forked before its clock starts,
//! and fails unless exactly as many bytes arrive. All bytes of each engine are compared once before.
//! Each engine's code is called through a pointer, so none of it is inlined here.
//!
//! If the other CPU is busy, both processes run on one, and std's small pipe does well. If it is idle,
//! waking it for each 64 KiB costs more than copying them.

mod common;

use common::*;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::time::Duration;

const BYTES: u64 = 16 << 20;
const READ_CHUNKS: [usize; 4] = [512, 4 * KIB, 64 * KIB, MIB];
const SECOND: Duration = Duration::from_secs(1);

fn main() {
    // Short times and a tenth of the usual resampling, which took most of the time for so many rows.
    let criterion =
        Criterion::default().nresamples(10_000).warm_up_time(SECOND / 2).measurement_time(SECOND);
    let mut criterion = criterion.configure_from_args();
    machine::print();
    let input = Input::new().expect("files to work with");
    made_and_summed(&mut criterion, &input);
    mem_to_read(&mut criterion, &input);
    mem_to_read_filled(&mut criterion, &input);
    mem_to_null(&mut criterion, &input);
    mem_to_null_filled(&mut criterion, &input);
    contended(&mut criterion, &input);
    criterion.final_summary();
}

fn made_and_summed(criterion: &mut Criterion, input: &Input) {
    let mut group = criterion.benchmark_group("made_and_summed");
    group.sample_size(20); // fewer and longer, because each has a new ring
    for chunk in summed::SIZES {
        // An iteration takes std about 12 ms.
        let count = (32 * KIB as u64).min(BYTES / chunk as u64);
        group.throughput(Throughput::Bytes(count * chunk as u64));
        for (engine, way) in summed::WAYS.into_iter().filter(|(engine, _)| input.allows(engine)) {
            let work = Summed { way, chunk, place: Place::Free };
            group.bench_function(BenchmarkId::new(engine, chunk), |bencher| {
                bencher.iter_custom(|turns| work.run(turns * count).expect("the right sum"));
            });
        }
    }
    group.finish();
}

fn mem_to_read(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "mem_to_read", BYTES);
    for chunk in READ_CHUNKS {
        let engines = [
            ("std", STD),
            ("rawpipe", CHUNKS),
            ("rawpipe-vmsplice-afterread", CHUNKS_AFTER_READ),
            ("rawpipe-memfd-afterread", CHUNKS_MEMFD_AFTER_READ),
            ("rawpipe-adaptive", CHUNKS_AFTER_READ_ADAPTIVE),
            ("rawpipe-copy", RAW),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn mem_to_read_filled(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "mem_to_read_filled", BYTES);
    for chunk in READ_CHUNKS {
        let engines = [
            ("std", STD_FILLED),
            ("rawpipe", CHUNKS_FILLED),
            ("rawpipe-vmsplice-afterread", CHUNKS_FILLED_AFTER_READ),
            ("rawpipe-memfd-afterread", CHUNKS_FILLED_MEMFD_AFTER_READ),
            ("rawpipe-vmsplice", CHUNKS_FILLED_VMSPLICE),
            ("rawpipe-memfd", CHUNKS_FILLED_MEMFD),
            ("rawpipe-copy", RAW_FILLED),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn mem_to_null(criterion: &mut Criterion, input: &Input) {
    let engines = [
        ("std", STD),
        ("rawpipe", CHUNKS),
        ("rawpipe-vmsplice-afterread", CHUNKS_AFTER_READ),
        ("rawpipe-adaptive", CHUNKS_AFTER_READ_ADAPTIVE),
        ("rawpipe-copy", RAW),
    ];
    to_null(criterion, input, "mem_to_null", &engines);
}

fn mem_to_null_filled(criterion: &mut Criterion, input: &Input) {
    let engines = [
        ("std", STD_FILLED),
        ("rawpipe", CHUNKS_FILLED),
        ("rawpipe-vmsplice-afterread", CHUNKS_FILLED_AFTER_READ),
        ("rawpipe-copy", RAW_FILLED),
    ];
    to_null(criterion, input, "mem_to_null_filled", &engines);
}

fn to_null(criterion: &mut Criterion, input: &Input, name: &str, engines: &[(&str, Move)]) {
    let mut group = group(criterion, name, BYTES);
    for chunk in [4 * KIB, 64 * KIB, MIB] {
        for (engine, work) in engines {
            let mover = match *engine {
                "std" => io_copy_to_file,
                "rawpipe-adaptive" => transfer_adaptively,
                _ => transfer_all,
            };
            let work = Move { sink: Sink::Null(mover), period: chunk, chunk, ..*work };
            bench(&mut group, input, engine, work);
        }
    }
    group.finish();
}

fn contended(criterion: &mut Criterion, input: &Input) {
    /// Enough that a run lasts for many time slices of the busy processes.
    const BYTES: u64 = 64 << 20;

    let _busy = Busy::new().expect("busy processes");
    let mut group = group(criterion, "contended", BYTES);
    group.sample_size(40);
    for (name, place) in
        [("apart", Place::Apart), ("together", Place::Together), ("free", Place::Free)]
    {
        for chunk in [4 * KIB, 64 * KIB, 256 * KIB] {
            let engines = [
                ("std", STD_FILLED),
                ("rawpipe-block", CHUNKS_BLOCK),
                ("rawpipe-adaptive", CHUNKS_ADAPTIVE),
            ];
            for (engine, work) in engines {
                let work = Move { period: chunk, chunk, place, ..work };
                let id = BenchmarkId::new(engine, format!("{name}-{chunk}"));
                bench_as(&mut group, input, id, work, BYTES);
            }
        }
    }
    group.finish();
}

fn group<'c>(criterion: &'c mut Criterion, name: &str, bytes: u64) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes));
    group
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, input: &Input, engine: &str, work: Move) {
    if !input.allows(engine) {
        eprintln!("{engine}: not on this kernel");
        return;
    }
    bench_as(group, input, BenchmarkId::new(engine, work.chunk), work, BYTES);
}

/// Measures one engine. An iteration moves so many bytes.
fn bench_as(
    group: &mut BenchmarkGroup<'_, WallTime>,
    input: &Input,
    id: BenchmarkId,
    work: Move,
    bytes: u64,
) {
    work.check(input).expect("the bytes that were sent");
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|turns| work.run(input, turns * bytes).expect("all bytes").elapsed);
    });
}
