//! Tests the *movers*, which are public functions that move bytes. Each mover runs with pairs of descriptor
//! kinds. In some cases, the peers pause or stop writing, other processes compete for the data, or one end
//! fails. Each case of a pair is named `MOVER_WHAT_SOURCE_to_SINK`, as in `transfer_dialogue_tcp_to_pipe`:
//!
//! | what | expectation |
//! |---|---|
//! | `content` | everything arrives, and the mover counts it |
//! | `dialogue` | each request arrives while its sender waits for the reply |
//! | `end_…` | the transfer ends at the end of the source, and not earlier |
//! | `deadline_…` | the mover returns in time, and a timeout names the side that is not ready |
//! | `error_queue_idle` | a socket's error queue causes no busy loop |
//! | `…_locks_no_…` | other processes can use the pipe at one end while a mover waits for the other end |
//! | `side` | an error names the side on which it occurred |
//! | `itself_…` | a transfer within one file or pipe is rejected if it could feed itself |
//!
//! Each case runs in its own processes, and up to 16 cases run at the same time. A case that hangs is killed
//! and counts as failed. By default, a seed selects a fraction of the cases. The test prints the seed.
//! `RAWPIPE_OUTSIDE_SEED` sets the seed, so that a selection can be repeated. `RAWPIPE_OUTSIDE=full` runs all
//! cases. Any other value of `RAWPIPE_OUTSIDE` runs all cases whose names contain that value.
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
