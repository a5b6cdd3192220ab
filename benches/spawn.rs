//! Measures starting a program and waiting for its end. The engines of a row take turns.
//!
//! - `spawn`: default settings; the smallest possible program (`tiny`, a static file that only exits), and
//!   `/bin/true`, which needs the C library.
//! - `spawn_mapped`: in a new session, with a descriptor at a given number. std supports neither, so its
//!   caller runs code in the child (`pre_exec`), for which std forks.
//! - `fork_wait`: a child that only exits. `std` is the C library's `fork` and `waitpid`; `rawpipe` is
//!   `fork`, and `rawpipe-fork_with` is `fork_with`, which takes a closure.
//! - `output`: a program that makes [`OUTPUT`] bytes; all are collected and summed.
//!
//! The number after the program is the memory of this process in MiB. Each page of it is touched, and a
//! fork copies the page tables. `huge` means huge pages, if the kernel supports them.
//!
//! On `one` CPU, parent and child are pinned together. Where the scheduler chooses (`free`), whether both
//! run on one CPU or on two, where each waits for the other's CPU to wake up, makes more of a difference
//! than the engines.

mod common;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/rows.rs"]
mod rows;

use common::{Place, Taken, machine};
use criterion::Criterion;
use programs::*;
use rows::{Engine, Rows};
use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::{env, io};

const PLACES: [Place; 2] = [Place::Free, Place::Together];

fn main() {
    if env::args().nth(1).as_deref() == Some(WRITER) {
        return write_output().expect("a reader");
    }
    let mut criterion = rows::criterion();
    machine::print();
    let tiny = Tiny::new().expect("a folder for a program");
    let (tiny, usual) = ((tiny.path(), "tiny"), (Path::new("/bin/true"), "true"));
    let plain: [(&str, Start); 2] = [("std", std_spawn), ("rawpipe", raw_spawn)];
    let mapped: [(&str, Start); 2] = [
        ("std", |program| std_spawn_mapped(program, &null()?)),
        ("rawpipe", |program| raw_spawn_mapped(program, null()?)),
    ];
    let mut rows = Rows::new(&mut criterion, "spawn").in_turns();
    for place in PLACES {
        beside_memory(&mut rows, place, tiny, (0, false), &plain);
        beside_memory(&mut rows, place, usual, (0, false), &plain);
        beside_memory(&mut rows, place, tiny, (1024, false), &plain);
    }
    drop(rows);
    let mut rows = Rows::new(&mut criterion, "spawn_mapped").in_turns();
    for memory in [(0, false), (256, false), (1024, false), (1024, true)] {
        beside_memory(&mut rows, Place::Together, tiny, memory, &mapped);
    }
    drop(rows);
    fork_wait(&mut criterion);
    output(&mut criterion);
    criterion.final_summary();
}

/// Starts a program and waits for its end.
type Start = fn(&Path) -> io::Result<()>;

/// This crate's command owns the descriptors that it maps, so each turn opens the file.
fn null() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

/// Measures a program beside so many MiB, in huge pages or not.
fn beside_memory(
    rows: &mut Rows<'_>,
    place: Place,
    (program, name): (&Path, &str),
    (mib, huge): (usize, bool),
    starts: &[(&'static str, Start)],
) {
    // Allocated on first use, so not for groups that are filtered out.
    let ballast = OnceCell::new();
    let engine = |&(engine, start): &(&'static str, Start)| -> Engine<'_> {
        let ballast = &ballast;
        let run = move |turns| {
            ballast.get_or_init(|| Ballast::new(mib << 20, huge).expect("memory"));
            place.during(|| Taken::repeated(turns, || start(program)))
        };
        (engine, Box::new(run))
    };
    let size = format!("{name}-{mib}{}", if huge { "-huge" } else { "" });
    rows.row(place, size, None, starts.iter().map(engine).collect());
}

fn fork_wait(criterion: &mut Criterion) {
    let mut rows = Rows::new(criterion, "fork_wait").in_turns();
    for place in PLACES {
        let engine = |(engine, work): (&'static str, Work)| -> Engine<'_> {
            (engine, Box::new(move |turns| place.during(|| Taken::repeated(turns, work))))
        };
        rows.row(place, "", None, FORKS.into_iter().map(engine).collect());
    }
}

fn output(criterion: &mut Criterion) {
    let program = &env::current_exe().expect("a path");
    let mut rows = Rows::new(criterion, "output").in_turns();
    for place in PLACES {
        let engine = |(engine, work): (&'static str, Output)| -> Engine<'_> {
            let once = move || check_output(&work(program)?);
            (engine, Box::new(move |turns| place.during(|| Taken::repeated(turns, once))))
        };
        rows.row(place, "", Some(OUTPUT), OUTPUTS.into_iter().map(engine).collect());
    }
}
