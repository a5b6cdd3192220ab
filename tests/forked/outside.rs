//! Every public mover of bytes over every pair of kinds of descriptor, from the user's side: with a
//! peer that writes, waits and falls silent, with competitors, and with errors on each side. A table of
//! cases, each with its own name, `MOVER_WHAT_SOURCE_to_SINK`, as in `transfer_dialogue_tcp_to_pipe`:
//!
//! | what | question |
//! |---|---|
//! | `content` | does everything arrive, and does the mover count it |
//! | `dialogue` | does each request arrive while its sender waits for the reply |
//! | `end_…` | is only the real end of the source taken as the end |
//! | `deadline_…` | does a deadline hold, with the right side in the error, and without a busy loop |
//! | `…_locks_no_…` | can other processes use one end's pipe while a mover waits for the other end |
//! | `side` | is an error reported on its side |
//! | `itself_…` | is a transfer that feeds itself rejected |
//!
//! Each case runs in its own processes, many at a time. A case that hangs is killed and counts as
//! failed. By default a fraction of the cases runs, chosen by a seed, which is printed;
//! `RAWPIPE_OUTSIDE_SEED` repeats it. `RAWPIPE_OUTSIDE=full` runs all cases, and any other word all
//! cases whose name contains it.
#![allow(unsafe_code, reason = "descriptors of every kind, and processes, by the C library")]

use crate::common;

mod content;
mod deadlines;
mod dialogue;
mod ends;
mod itself;
mod kinds;
mod locks;
mod movers;
mod sides;
mod stage;
mod sys;
mod table;

pub(crate) const TESTS: common::Tests = common::tests![every_mover_between_every_two_kinds];

fn every_mover_between_every_two_kinds() {
    let mut table = table::Table::default();
    content::cases(&mut table);
    dialogue::cases(&mut table);
    ends::cases(&mut table);
    deadlines::cases(&mut table);
    locks::cases(&mut table);
    sides::cases(&mut table);
    itself::cases(&mut table);
    table.run();
}
