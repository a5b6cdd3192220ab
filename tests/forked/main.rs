//! Runs the tests that fork or start programs. Each test runs in its own process.
#![allow(
    clashing_extern_declarations,
    reason = "each topic declares the C functions that it calls"
)]

mod cancel;
mod child;
mod chunk_fork;
mod command;
mod command_exec;
#[path = "../common/mod.rs"]
mod common;
mod communicate;
mod duplex;
mod examples;
mod exec;
mod filters;
mod fork;
mod guide;
mod handle;
mod myself;
mod outside;
mod pages;
mod passing;
mod pidfds;
mod pipe_processes;
mod pipeline;
mod pump;
mod readiness;
mod reaping;
mod recipes;
mod run;
mod sanitizer;
mod select;
mod shared;
mod signal_fd;
mod signals;
mod spawn;
mod spawn_attack;
mod spawn_differential;
mod speed;
mod standard;
mod stdio;
mod talk;
mod waiting;
mod worlds;

// The module `sanitizer` compiles the source of the ring for shared chunks. That source uses these names.
use rawpipe::{Deadline, Errno, Result};

macro_rules! topics {
    ($($topic:ident)*) => { &[$((stringify!($topic), $topic::TESTS)),*] };
}

/// The topics that use all processors, or that use resources shared by all processes of a user.
const SERIAL: &[&str] = &["outside", "spawn_attack", "spawn_differential", "speed", "worlds"];

fn main() {
    common::programs::become_program();
    spawn_differential::become_worker();
    if common::in_role("report") {
        return spawn::report();
    }
    common::run_each_alone(
        topics![
            cancel child chunk_fork command command_exec communicate duplex examples exec filters fork guide handle myself outside pages
            passing pidfds pipe_processes pipeline pump readiness reaping recipes run sanitizer select shared signal_fd signals spawn spawn_attack
            spawn_differential speed standard stdio talk waiting worlds
        ],
        SERIAL,
    );
}
