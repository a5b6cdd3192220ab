//! Every public mover of bytes over every pair of kinds of descriptor, from the user's side: with a peer
//! that speaks, waits and falls silent, with competitors, with errors of each side. A table of cases, each
//! with a name of its own, `MOVER_WHAT_SOURCE_to_SINK`, as in `transfer_dialogue_tcp_to_pipe`:
//!
//! | what | question |
//! |---|---|
//! | `content` | does everything arrive, and does the mover count it |
//! | `dialogue` | does each request arrive while its sender waits for the answer |
//! | `end_…` | is the end of the source the end, and nothing else |
//! | `deadline_…` | is a deadline kept, on the side that is to blame, and without burning the processor |
//! | `…_locks_no_…` | does a mover that waits leave the other end's pipe to everybody |
//! | `side` | is an error reported on its side |
//! | `itself_…` | is a transfer that feeds itself refused |
//!
//! Each case runs in processes of its own, many at a time. One that hangs is ended and counts as failed.
//! A share of the cases runs, chosen by a seed, which is printed; `RAWPIPE_OUTSIDE_SEED` repeats it.
//! `RAWPIPE_OUTSIDE=full` runs all cases, and any other word all those that have it in their name.
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
