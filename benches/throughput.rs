//! Memory → pipe → another process, by chunks of several sizes.
//!
//! - `mem_to_read`: the other process reads into its memory.
//! - `mem_to_null`: it gets rid of the bytes.
//! - `contended`: as `mem_to_read`, while another process for each CPU does nothing but count.
//!
//! Every engine makes the bytes, in a buffer of a chunk, before it sends them: std's `write_all` copies
//! from there, and a `ChunkWriter` hands the buffer over.
//!
//! - `std`: `std::io::pipe` as it comes, `write_all` and `read` of a chunk, or `io::copy`.
//! - `rawpipe`: `ChunkWriter` and `ChunkReader`, or `transfer`, with nothing but the size of a chunk.
//! - `rawpipe-vmsplice`, `rawpipe-memfd`: the writer is told the mechanism. `-afterread`: and that its
//!   memory may be used again when it was read. Below a few pages a chunk is sent by `write`, whatever
//!   it was told.
//! - `rawpipe-copy`: `write_all` and `read` on a pipe as large as is useful.
//! - `rawpipe-block`, `rawpipe-adaptive`: how both sides wait for each other.
//!
//! An iteration is [`BYTES`], and a sample one run of two processes, forked before its clock starts;
//! it fails unless exactly as many bytes arrive. All bytes of each engine are compared once before.
//! Each engine's code is called through a pointer, so none of it is inlined here.
//!
//! Where the other CPU is busy, both processes run on one and std's small pipe does well; where it is
//! idle, waking it for each 64 KiB costs more than copying them.

mod common;

use common::*;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::time::Duration;

const BYTES: u64 = 16 << 20;
const SECOND: Duration = Duration::from_secs(1);

fn main() {
    // Less than usual, and a tenth of the resampling: there are many, and most of the time went there.
    let criterion =
        Criterion::default().nresamples(10_000).warm_up_time(SECOND).measurement_time(2 * SECOND);
    let mut criterion = criterion.configure_from_args();
    let input = Input::new().expect("files to work with");
    mem_to_read(&mut criterion, &input);
    mem_to_null(&mut criterion, &input);
    contended(&mut criterion, &input);
    criterion.final_summary();
}

fn mem_to_read(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "mem_to_read");
    for chunk in [512, 4 * KIB, 64 * KIB, MIB] {
        let engines = [
            ("std", STD_MEM),
            ("rawpipe", RAW_MEM),
            ("rawpipe-vmsplice-afterread", AFTER_READ_MEM),
            ("rawpipe-memfd-afterread", MEMFD_AFTER_READ_MEM),
            ("rawpipe-vmsplice", VMSPLICE_MEM),
            ("rawpipe-memfd", MEMFD_MEM),
            ("rawpipe-copy", RAW_COPY_MEM),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn mem_to_null(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "mem_to_null");
    for chunk in [4 * KIB, 64 * KIB, MIB] {
        let sink = || Sink::Null(transfer_all);
        let engines = [
            ("std", Move { sink: Sink::Null(io_copy_to_file), ..STD_MEM }),
            ("rawpipe", Move { sink: sink(), ..RAW_MEM }),
            ("rawpipe-vmsplice-afterread", Move { sink: sink(), ..AFTER_READ_MEM }),
            ("rawpipe-copy", Move { sink: sink(), ..RAW_COPY_MEM }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn contended(criterion: &mut Criterion, input: &Input) {
    let _busy = Busy::new().expect("busy processes");
    let mut group = group(criterion, "contended");
    for chunk in [4 * KIB, 64 * KIB, 256 * KIB] {
        let engines = [
            ("std", STD_MEM),
            ("rawpipe-block", AFTER_READ_MEM),
            ("rawpipe-adaptive", ADAPTIVE_MEM),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(BYTES));
    group
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, input: &Input, engine: &str, work: Move) {
    if !input.allows(engine) {
        eprintln!("{engine}: not on this kernel");
        return;
    }
    work.check(input).expect("the bytes that were sent");
    group.bench_function(BenchmarkId::new(engine, work.chunk), |bencher| {
        bencher.iter_custom(|turns| work.run(input, turns * BYTES).expect("all bytes").elapsed);
    });
}
