//! Tests the crate with system calls that fail or complete only in part. A tracer injects errors, and filters
//! reject calls. A table checks the result of every public call that returns a `Result`. Each test runs alone
//! in a separate process.
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

/// `inject` runs alone because it uses all processors itself.
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
