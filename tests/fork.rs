//! Forking, and what crosses a fork.
#![allow(unsafe_code, reason = "fork")]

mod common;

fn fork_with_exit_code() {
    // SAFETY: the only thread forks, and the child returns a number.
    let mut child = unsafe { rawpipe::process::fork_with(|| 3) }.unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

fn main() {
    common::run_each_alone(&[("fork_with_exit_code", fork_with_exit_code)]);
}
