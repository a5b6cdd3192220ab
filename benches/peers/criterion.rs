//! Measures each question as a criterion group. The command is `cargo bench` in this directory. Criterion
//! measures the crates one after another, so on a busy machine a ratio between two crates may be meaningless.
//! Use `rounds` to measure ratios.

use criterion::{Criterion, Throughput};
use peers::{Here, QUESTIONS};
use std::time::Duration;

fn main() {
    if peers::is_writer().expect("a reader") {
        return;
    }
    let here = Here::new().expect("files to work with");
    let mut criterion = Criterion::default()
        .nresamples(10_000)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args();
    for question in QUESTIONS {
        let mut group = criterion.benchmark_group(question.name);
        if let Some(bytes) = question.bytes {
            group.throughput(Throughput::Bytes(bytes));
        }
        for engine in question.engines {
            let mut checked = false; // checked on first use, so never for engines that are filtered out
            group.bench_function(engine.name, |bencher| {
                if !checked {
                    engine.check(&here).expect("the bytes that were sent");
                    checked = true;
                }
                bencher.iter_custom(|turns| engine.run(&here, turns).expect("all of it"));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
