//! Tests the crate with system calls that fail or complete only in part. A tracer injects errors and shortens
//! calls, and filters reject calls. A table lists public functions and methods, and the error that each
//! returns in a given situation. Other tests compare the system calls with those in `docs/tools.md`. Each
//! test runs in a separate process.
#![allow(
    clashing_extern_declarations,
    reason = "each topic declares the C functions that it calls"
)]

mod chunk_faults;
#[path = "../common/mod.rs"]
mod common;
mod errno_table;
mod inject;
mod machine;
mod refusals;
mod syscalls;
mod tracer;
mod transfer_faults;

/// The test in `inject` runs after all other tests, because it uses two processors itself.
const SERIAL: &[&str] = &["inject"];

fn main() {
    common::programs::become_program();
    common::run_each_alone(
        &[
            ("chunk_faults", chunk_faults::TESTS),
            ("errno_table", &errno_table::tests()),
            ("inject", inject::TESTS),
            ("refusals", &refusals::tests()),
            ("syscalls", syscalls::TESTS),
            ("transfer_faults", transfer_faults::TESTS),
        ],
        SERIAL,
    );
}
