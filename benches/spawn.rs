//! Measures how long it takes to start a program or fork a child, and to wait for the exit of that program or
//! child. The engines of a row run in turns.
//!
//! - `spawn`: programs that start with default settings. On x86_64 and aarch64, `tiny` is a minimal static
//!   program that only exits. On other architectures, it is a copy of `/bin/true`. `true` is `/bin/true`,
//!   which needs the C library.
//! - `spawn_mapped`: programs that start in a new session with a descriptor at a given number. Because std
//!   supports neither setting, the caller of std must use `pre_exec` to run code in the child, which makes
//!   std fork.
//! - `fork_wait`: a child that only exits. `std` is the C library's `fork` and `waitpid`. `rawpipe` is
//!   `fork`, and `rawpipe-fork_with` is `fork_with`, which runs a closure.
//! - `output`: a program that generates [`OUTPUT`] bytes. Its parent collects and sums these bytes.
//!
//! The number after the program's name is the amount of additional memory, in MiB, that this process holds.
//! Every page is touched, because a fork copies the page tables of touched memory. `huge` means that the
//! memory uses huge pages, if the kernel supports them.
//!
//! In rows named `one`, the parent and the child are pinned to the same CPU. In rows named `free`, the
//! scheduler may run the two processes on one CPU or on two. On two CPUs, waking the other process may also
//! require waking an idle CPU. The placement may affect the time more than the engine does.

mod common;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/rows.rs"]
mod rows;

use common::{Named, Place, Taken, engine, machine};
use programs::*;
use rows::Rows;
use std::env;
use std::path::Path;

const PLACES: [Place; 2] = [Place::Free, Place::Together];

fn main() {
    if env::args().nth(1).as_deref() == Some(WRITER) {
        return write_output().expect("a reader");
    }
    let mut criterion = rows::criterion();
    machine::print();
    let tiny = Tiny::new().expect("a folder for a program");
    let programs = [
        ("tiny-0", tiny.path(), (0, false)),
        ("true-0", Path::new("/bin/true"), (0, false)),
        ("tiny-1024", tiny.path(), (1024, false)),
    ];
    let mut rows = Rows::new(&mut criterion, "spawn").in_turns();
    for place in PLACES {
        for (size, program, memory) in programs {
            rows.row(place, size, None, starts(place, program, memory, &PLAIN));
        }
    }
    drop(rows);
    let mut rows = Rows::new(&mut criterion, "spawn_mapped").in_turns();
    for (mib, huge) in [(0, false), (256, false), (1024, false), (1024, true)] {
        let size = format!("tiny-{mib}{}", if huge { "-huge" } else { "" });
        let place = Place::Together;
        rows.row(place, size, None, starts(place, tiny.path(), (mib, huge), &MAPPED));
    }
    drop(rows);
    let mut rows = Rows::new(&mut criterion, "fork_wait").in_turns();
    for place in PLACES {
        let fork = |(name, work): Named<Work>| {
            engine(name, move |turns| place.during(|| Taken::repeated(turns, work)))
        };
        rows.row(place, "", None, FORKS.into_iter().map(fork).collect());
    }
    drop(rows);
    let program = env::current_exe().expect("a path");
    let mut rows = Rows::new(&mut criterion, "output").in_turns();
    for place in PLACES {
        rows.row(place, "", Some(OUTPUT), outputs(place, &program));
    }
    drop(rows);
    criterion.final_summary();
}
