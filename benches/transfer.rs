//! Measures transfers from descriptor to descriptor, by chunks of several sizes.
//!
//! - `file_to_null`, `file_to_read`: a file in the page cache → pipe → another process, which discards
//!   the bytes, or reads them.
//! - `file_to_file`: a file in memory → a new one, in this process.
//! - `pipe_to_file`: memory → pipe → a new file in memory, by another process.
//! - `pipe_to_pipe`: a process in the middle moves from one pipe to another. The kernel supplies the
//!   bytes from a file and discards them, so neither end is the bottleneck.
//! - `socket_to_socket`: a process in the middle moves from one socket to another.
//! - `fanout`: a process in the middle moves from one pipe to two.
//!
//! Engines:
//!
//! - `std`: `io::copy`, which has no size of a chunk, so its rows differ only by noise. From a file to a
//!   pipe it is the usual loop with chunks, `read` and `write_all`. For `fanout`, which std lacks, it is
//!   `read` and two calls of `write_all`.
//! - `rawpipe`: `transfer` with `chunk` set, on pipes as large as is useful.
//! - `rawpipe-copy`: `read` and `write` of a chunk.
//!
//! An iteration moves [`BYTES`]. A sample is one run of the processes, forked before its clock starts,
//! and fails unless exactly as many bytes arrive. All bytes of each engine are compared once before, in
//! a file. Each engine's code is called through a pointer, so none of it is inlined here.

mod common;

use common::*;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::time::Duration;

const BYTES: u64 = FILE as u64;
const SECOND: Duration = Duration::from_secs(1);

const CHUNKS: [usize; 3] = [4 * KIB, 64 * KIB, MIB];
const FILE_CHUNKS: [usize; 4] = [512, 4 * KIB, 64 * KIB, MIB];

fn main() {
    // Short times and a tenth of the usual resampling, which took most of the time for so many rows.
    let criterion =
        Criterion::default().nresamples(10_000).warm_up_time(SECOND / 2).measurement_time(SECOND);
    let mut criterion = criterion.configure_from_args();
    machine::print();
    let input = Input::new().expect("files to work with");
    file_to_null(&mut criterion, &input);
    file_to_read(&mut criterion, &input);
    file_to_file(&mut criterion, &input);
    pipe_to_file(&mut criterion, &input);
    pipe_to_pipe(&mut criterion, &input);
    socket_to_socket(&mut criterion, &input);
    fan_out(&mut criterion, &input);
    criterion.final_summary();
}

fn file_to_null(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "file_to_null");
    for chunk in FILE_CHUNKS {
        let std = Sink::Null(io_copy_to_file);
        let (raw, copy) = (Sink::Null(transfer_by_chunks), Sink::Null(copy_all));
        let engines = [
            ("std", Move { source: read_and_write, sink: std, ..STD_FILE }),
            ("rawpipe", Move { source: transfer_file_by_chunks, sink: raw, ..RAW_FILE }),
            ("rawpipe-copy", Move { source: copy_file, sink: copy, ..RAW_FILE }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, chunk, Move { chunk, ..work });
        }
    }
    group.finish();
}

fn file_to_read(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "file_to_read");
    for chunk in FILE_CHUNKS {
        let engines = [
            ("std", Move { source: read_and_write, ..STD_FILE }),
            ("rawpipe", Move { source: transfer_file_by_chunks, ..RAW_FILE }),
            ("rawpipe-copy", Move { source: copy_file, ..RAW_FILE }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, chunk, Move { chunk, ..work });
        }
    }
    group.finish();
}

fn file_to_file(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "file_to_file");
    for chunk in CHUNKS {
        let engines = [
            ("std", Copy { copy: io_copy_files, chunk }),
            ("rawpipe", Copy { copy: transfer_files_by_chunks, chunk }),
            ("rawpipe-copy", Copy { copy: copy_files, chunk }),
        ];
        for (engine, work) in engines {
            work.check(input).expect("the bytes that were sent");
            group.bench_function(BenchmarkId::new(engine, chunk), |bencher| {
                bencher.iter_custom(|turns| work.run(input, turns).expect("all bytes").elapsed);
            });
        }
    }
    group.finish();
}

fn pipe_to_file(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "pipe_to_file");
    for chunk in CHUNKS {
        let engines = [
            ("std", Move { sink: Sink::File(io_copy_to_file), ..STD }),
            ("rawpipe", Move { sink: Sink::File(transfer_by_chunks), ..RAW }),
            ("rawpipe-copy", Move { sink: Sink::File(copy_all), ..RAW }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, chunk, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn pipe_to_pipe(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "pipe_to_pipe");
    for chunk in CHUNKS {
        let engines = [
            ("std", STD_PIPES),
            ("rawpipe", Move { middle: Some((transfer_by_chunks, chunk)), ..RAW_PIPES }),
            ("rawpipe-copy", Move { middle: Some((copy_all, chunk)), ..RAW_PIPES }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, chunk, work);
        }
    }
    group.finish();
}

fn socket_to_socket(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "socket_to_socket");
    for chunk in CHUNKS {
        let engines = [
            ("std", SOCKETS),
            ("rawpipe", Move { middle: Some((transfer_by_chunks, chunk)), ..SOCKETS }),
            ("rawpipe-copy", Move { middle: Some((copy_all, chunk)), ..SOCKETS }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, chunk, work);
        }
    }
    group.finish();
}

fn fan_out(criterion: &mut Criterion, input: &Input) {
    let mut group = group(criterion, "fanout");
    // `fanout` has no setting for it: this is the chunk of the source, and of std's buffer.
    for chunk in CHUNKS {
        let sink = || Sink::Null(drain);
        let engines = [
            ("std", Move { middle: Some((std_fanout, chunk)), sink: sink(), ..STD }),
            ("rawpipe", Move { middle: Some((raw_fanout, 0)), sink: sink(), ..RAW }),
        ];
        for (engine, work) in engines {
            bench(&mut group, input, engine, chunk, Move { period: chunk, chunk, ..work });
        }
    }
    group.finish();
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(BYTES));
    group
}

fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    input: &Input,
    engine: &str,
    chunk: usize,
    work: Move,
) {
    work.check(input).expect("the bytes that were sent");
    group.bench_function(BenchmarkId::new(engine, chunk), |bencher| {
        bencher.iter_custom(|turns| work.run(input, turns * BYTES).expect("all bytes").elapsed);
    });
}
