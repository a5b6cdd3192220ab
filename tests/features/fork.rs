//! Those of the tests in `tests/forked` that need no feature but `std`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../forked/fork.rs"]
mod fork;

fn main() {
    common::run_each_alone(&[("fork", fork::TESTS)], &[]);
}
