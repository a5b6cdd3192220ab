//! Tests that fork or start programs, each alone in a process of its own.
#![allow(
    clashing_extern_declarations,
    reason = "each topic declares the C functions that it calls"
)]

mod child;
mod chunk_fork;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod communicate;
mod duplex;
mod examples;
mod exec;
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
mod sanitizer;
mod select;
mod shared;
mod signals;
mod spawn;
mod spawn_attack;
mod spawn_differential;
mod speed;
mod stdio;
mod talk;
mod waiting;
mod worlds;

// What the source of the ring of shared chunks names, which `sanitizer` compiles.
use rawpipe::{Deadline, Errno, Result};

macro_rules! topics {
    ($($topic:ident)*) => { &[$((stringify!($topic), $topic::TESTS)),*] };
}

/// These fill the machine by themselves, or take what all processes of a user have together.
const SERIAL: &[&str] = &["outside", "spawn_attack", "spawn_differential", "speed", "worlds"];

fn main() {
    common::programs::become_program();
    spawn_differential::become_worker();
    if common::in_role("report") {
        return spawn::report();
    }
    common::run_each_alone(
        topics![
            child chunk_fork command communicate duplex examples exec fork guide handle myself outside pages
            passing pidfds pipe_processes pipeline pump readiness reaping sanitizer select shared signals spawn spawn_attack
            spawn_differential speed stdio talk waiting worlds
        ],
        SERIAL,
    );
}
