//! Measures starting a program and waiting for its end.
//!
//! - `spawn_plain`: default settings; the smallest possible program (`tiny`, a static file that only
//!   exits), and `/bin/true`.
//! - `spawn_together`: the same on one CPU. If not pinned, a process that only starts tiny programs
//!   measures the scheduler. Whether parent and child run on one CPU or on two, where each waits for the
//!   other's CPU to wake up, makes more of a difference than the engines, and a quick child is put on
//!   the other CPU more often.
//! - `spawn_mapped`: in a new session, with a descriptor at a given number. std supports neither, so its
//!   caller runs code in the child (`pre_exec`), for which std forks.
//! - `fork_wait`: a child that only exits. `std` is the C library's `fork` and `waitpid`; `rawpipe` is
//!   `fork`, and `rawpipe-fork_with` is `fork_with`, which takes a closure.
//! - `output`: a program that writes [`OUTPUT`] bytes, all of which are collected.
//!
//! The number after the program is the memory of this process in MiB. Each page of it is touched, and a
//! fork copies the page tables. `huge` means huge pages, if the kernel supports them.

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

/// Measures `program` with each amount of memory and each engine.
fn beside_memory(
    group: &mut BenchmarkGroup<'_, WallTime>,
    program: &Path,
    engines: &[(&str, Start<'_>)],
) {
    let name = program.file_name().expect("a file").to_string_lossy();
    for (mib, huge) in RESIDENT {
        // Allocated on first use, so not for groups that are filtered out.
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
    // Each turn opens the file, because this crate's command owns the descriptors that it maps.
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
