//! Starting a program and waiting for its end.
//!
//! - `spawn_plain`: nothing asked for; the smallest program there is (`tiny`, a static file that only
//!   exits), and `/bin/true`.
//! - `spawn_together`: the same on one CPU. Left free, one process that starts tiny programs and does
//!   nothing else is what the scheduler makes of it: whether parent and child are put on one CPU or on
//!   two, where each waits for the other's to wake up, differs by more than the engines do, and a child
//!   that is quick is put on the other one more often.
//! - `spawn_mapped`: in a session of its own, with a descriptor at a number. std has no name for either
//!   and runs code of its caller in the child (`pre_exec`), for which it forks.
//! - `fork_wait`: a child that only exits. `std` is the C library's `fork` and `waitpid`; `rawpipe` is
//!   `fork`, `rawpipe-fork_with` that with a closure.
//! - `output`: a program that writes [`OUTPUT`] bytes, all of which are collected.
//!
//! The number behind the program is how much memory this process has meanwhile, in MiB, each page of it
//! touched: what a fork copies the tables of. `huge` are huge pages, where there are any.

#[path = "common/cpus.rs"]
#[allow(dead_code, reason = "a part of it is for other benchmarks")]
mod cpus;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/programs.rs"]
mod programs;

use cpus::Cpus;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use programs::*;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use std::{env, io};

fn main() {
    if env::args().nth(1).as_deref() == Some(WRITER) {
        return write_output().expect("a reader");
    }
    let second = Duration::from_secs(1);
    let criterion = Criterion::default()
        .nresamples(10_000)
        .sample_size(20)
        .warm_up_time(second / 2)
        .measurement_time(second);
    let mut criterion = criterion.configure_from_args();
    machine::print();
    let tiny = Tiny::new().expect("a folder for a program");
    spawn_plain(&mut criterion, &tiny, "spawn_plain");
    let all = Cpus::allowed().expect("a set of CPUs");
    all.each().next().expect("one at least").stay().expect("one of them");
    spawn_plain(&mut criterion, &tiny, "spawn_together");
    all.stay().expect("all of them again");
    spawn_mapped(&mut criterion, &tiny);
    fork_wait(&mut criterion);
    output(&mut criterion);
    criterion.final_summary();
}

const RESIDENT: [(usize, bool); 4] = [(0, false), (256, false), (1024, false), (1024, true)];

/// Starts a program and waits for its end.
type Start<'a> = &'a dyn Fn(&Path) -> io::Result<()>;

/// `program` beside each amount of memory, by each of the engines.
fn beside_memory(
    group: &mut BenchmarkGroup<'_, WallTime>,
    program: &Path,
    engines: &[(&str, Start<'_>)],
) {
    let name = program.file_name().expect("a file").to_string_lossy();
    for (mib, huge) in RESIDENT {
        // Made when it is needed, and not for what is filtered out.
        let mut ballast = None;
        let parameter = format!("{name}/{mib}{}", if huge { "-huge" } else { "" });
        for (engine, start) in engines {
            group.bench_function(BenchmarkId::new(*engine, &parameter), |bencher| {
                ballast.get_or_insert_with(|| Ballast::new(mib << 20, huge).expect("memory"));
                bencher.iter(|| start(program).expect("a program that exits with 0"));
            });
        }
    }
}

fn spawn_plain(criterion: &mut Criterion, tiny: &Tiny, name: &str) {
    let mut group = criterion.benchmark_group(name);
    for program in [tiny.path(), Path::new("/bin/true")] {
        beside_memory(&mut group, program, &[("std", &std_spawn), ("rawpipe", &raw_spawn)]);
    }
    group.finish();
}

fn spawn_mapped(criterion: &mut Criterion, tiny: &Tiny) {
    let mut group = criterion.benchmark_group("spawn_mapped");
    // Each opens it: this crate's command owns what it maps.
    let null = || io::Result::Ok(OwnedFd::from(File::open("/dev/null")?));
    let std = |program: &Path| std_spawn_mapped(program, &null()?);
    let raw = |program: &Path| raw_spawn_mapped(program, null()?);
    beside_memory(&mut group, tiny.path(), &[("std", &std), ("rawpipe", &raw)]);
    group.finish();
}

fn fork_wait(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fork_wait");
    for (engine, work) in FORKS {
        group.bench_function(engine, |bencher| {
            bencher.iter(|| work().expect("a child that exits with 0"));
        });
    }
    group.finish();
}

fn output(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("output");
    group.throughput(Throughput::Bytes(OUTPUT));
    let program = env::current_exe().expect("a path");
    let engines: [(&str, Output); 2] = [("std", std_output), ("rawpipe", raw_output)];
    for (engine, work) in engines {
        check_output(&work(&program).expect("a program that writes"));
        group.bench_function(engine, |bencher| {
            bencher.iter(|| work(&program).expect("a program that writes").len());
        });
    }
    group.finish();
}
