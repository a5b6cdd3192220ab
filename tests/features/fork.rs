//! Runs the tests of `tests/forked/fork.rs`. These tests need no feature except `std`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../forked/fork.rs"]
mod fork;

fn main() {
    common::run_each_alone(&[("fork", fork::TESTS)], &[]);
}
