//! Memory → pipe → the memory of another process, by chunks of three sizes.
//!
//! `std` is `std::io::pipe` as it comes, `rawpipe` a pipe as large as is useful; both make the same
//! calls, `write_all` and `read` of a chunk. There is no other mechanism: from memory the kernel
//! moves pages by `vmsplice` only, which the crate does not wrap yet.
//!
//! An iteration is [`BYTES`], and a sample one run of two processes, forked before its clock starts;
//! it fails unless exactly as many bytes arrive. All bytes of each engine are compared once before.
//! Each engine's code is called through a pointer, so none of it is inlined here.
//!
//! Where the other CPU is busy, both processes run on one and std's small pipe does well; where it is
//! idle, waking it for each 64 KiB costs more than copying them.

mod common;

use common::{Input, KIB, MIB, Move, RAW, STD};
use criterion::{BenchmarkId, Criterion, Throughput};

const BYTES: u64 = 16 << 20;

fn main() {
    // A tenth of the usual resampling: most of the time went there.
    let mut criterion = Criterion::default().nresamples(10_000).configure_from_args();
    mem_to_read(&mut criterion);
    criterion.final_summary();
}

fn mem_to_read(criterion: &mut Criterion) {
    let input = Input::new().expect("files to work with");
    let mut group = criterion.benchmark_group("mem_to_read");
    group.throughput(Throughput::Bytes(BYTES));
    for chunk in [4 * KIB, 64 * KIB, MIB] {
        let engines = [
            ("std", Move { period: chunk, chunk, ..STD }),
            ("rawpipe", Move { period: chunk, chunk, ..RAW }),
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
