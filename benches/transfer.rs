//! A file in the page cache → pipe → `/dev/null` in another process, by chunks of three sizes.
//!
//! - `std`: `io::copy` on both sides of `std::io::pipe`. It takes no chunk; from the file it uses
//!   the buffer of a `BufReader` that has more than its own 8 KiB, so it is given one of a chunk.
//! - `rawpipe`: what a caller should do, `splice` on both sides of a pipe as large as is useful.
//! - `rawpipe-splice`: the same, by the name of its mechanism. The two differ by noise only, as long
//!   as the crate does not choose mechanisms by itself.
//! - `rawpipe-copy`: `read` and `write` of a chunk on both sides of such a pipe.
//!
//! An iteration is [`BYTES`], and a sample one run of two processes, forked before its clock starts;
//! it fails unless exactly as many bytes arrive. All bytes of each engine are compared once before,
//! in a file. Each engine's code is called through a pointer, so none of it is inlined here.
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

mod common;

use common::{
    FILE, Input, KIB, MIB, Move, RAW_FILE, STD_FILE, Sink, Stream, copy_all, io_copy_to_file,
    require, splice_all,
};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::io::{self, BufReader, PipeWriter, Read, Seek};
use std::os::fd::OwnedFd;

const BYTES: u64 = FILE as u64;

fn main() {
    // A tenth of the usual resampling: most of the time went there.
    let mut criterion = Criterion::default().nresamples(10_000).configure_from_args();
    file_to_null(&mut criterion);
    criterion.final_summary();
}

fn file_to_null(criterion: &mut Criterion) {
    let input = Input::new().expect("files to work with");
    let mut group = criterion.benchmark_group("file_to_null");
    group.throughput(Throughput::Bytes(BYTES));
    for chunk in [4 * KIB, 64 * KIB, MIB] {
        let std = Sink::Null(io_copy_to_file);
        let splice = || Move { sink: Sink::Null(splice_all), chunk, ..RAW_FILE };
        let copy = Sink::Null(copy_all);
        let engines = [
            ("std", Move { source: io_copy_buffered, sink: std, chunk, ..STD_FILE }),
            ("rawpipe", splice()),
            ("rawpipe-splice", splice()),
            ("rawpipe-copy", Move { source: copy_file, sink: copy, chunk, ..RAW_FILE }),
        ];
        for (name, work) in engines {
            work.check(&input).expect("the bytes that were sent");
            group.bench_function(BenchmarkId::new(name, chunk), |bencher| {
                bencher.iter_custom(|turns| work.run(&input, turns * BYTES).expect("all bytes"));
            });
        }
    }
    group.finish();
}

fn io_copy_buffered(
    to: OwnedFd,
    from: &Input,
    stream: &Stream,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut to = PipeWriter::from(to);
    stream.send(|length| {
        let mut file = &from.file;
        file.rewind()?;
        let mut part = BufReader::with_capacity(buffer.len(), file.take(length as u64));
        let copied = io::copy(&mut part, &mut to)?;
        require(copied == length as u64, || format!("copied {copied} of {length} bytes"))
    })
}

fn copy_file(to: OwnedFd, from: &Input, stream: &Stream, buffer: &mut [u8]) -> io::Result<()> {
    stream.send(|length| {
        (&from.file).rewind()?;
        let mut left = length;
        while left > 0 {
            let most = left.min(buffer.len());
            let count = rawpipe::read(&from.file, &mut buffer[..most])?;
            require(count > 0, || "the file is shorter than it was".to_owned())?;
            rawpipe::io::write_all(&to, &buffer[..count])?;
            left -= count;
        }
        Ok(())
    })
}
