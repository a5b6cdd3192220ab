//! Model checks of the ring of `rawpipe::chunk::shared`. `cargo test --release` runs the ring's code in every
//! order of the threads' steps, and with every value that a load can return. Some models include only orders
//! with a limited number of preemptions. The rings have one, two or four units. Further tests insert mistakes
//! into the source, and the model checker must find each mistake.
#![cfg(test)]

use std::env;
use std::process::Command;

// The source of the ring imports these names.
pub(crate) use rawpipe::{Deadline, Errno, Result};

macro_rules! versions {
    ($($name:ident)*) => { $(
        mod $name {
            #![allow(dead_code, unused_variables, reason = "not each test is for each mistake")]
            use loom::sync::atomic;
            mod ring {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
            include!("model.rs");
        }
    )* };
}

versions! {
    intact
    no_fence_before_looking_for_sleepers
    no_fence_before_sleeping
    relaxed_store
    relaxed_load
    no_second_look
    no_look_whether_closed
    no_ring
    no_mark
    no_acquire_in_claim
    no_bounds_of_records
    no_bounds_of_positions
}

/// Runs the test `name` again in a separate process, which runs `model`. That process must fail with a known
/// message. A separate process is needed because the model checker aborts if it cannot clean up after a
/// failure.
fn fails(name: &str, model: fn()) {
    const AGAIN: &str = "RAWPIPE_LOOM_AGAIN";
    if env::var_os(AGAIN).is_some() {
        return model();
    }
    let this = env::current_exe().unwrap();
    let output =
        Command::new(this).args([name, "--exact", "--nocapture"]).env(AGAIN, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let found =
        ["deadlock; threads", "Causality violation", "assertion `", "outside the ring", "EPROTO"];
    assert!(!output.status.success(), "{name}: the mistake was not found\n{text}");
    let found: Vec<_> = found.iter().filter(|what| text.contains(**what)).collect();
    assert!(!found.is_empty(), "{name}: {}\n{text}", output.status);
    println!("{name}: {found:?}");
}

macro_rules! finds {
    ($($model:ident: $($name:ident)*;)*) => { $(
        mod $model {
            #[test]
            fn intact() {
                crate::intact::$model();
            }
            $(
                #[test]
                fn $name() {
                    let name = concat!(stringify!($model), "::", stringify!($name));
                    crate::fails(name, crate::$name::$model);
                }
            )*
        }
    )* };
}

finds! {
    both_sides_sleep_in_a_ring_of_one: no_fence_before_looking_for_sleepers no_fence_before_sleeping relaxed_store
        relaxed_load no_second_look no_ring;
    both_sides_sleep_in_a_ring_of_two: no_fence_before_looking_for_sleepers no_fence_before_sleeping relaxed_store
        relaxed_load no_second_look no_ring;
    writer_is_dropped: no_fence_before_looking_for_sleepers no_look_whether_closed;
    reader_is_dropped: no_fence_before_looking_for_sleepers no_look_whether_closed no_ring;
    skipped_ends_of_laps: relaxed_store;
    what_is_tried_is_armed: no_fence_before_looking_for_sleepers no_fence_before_sleeping relaxed_load no_second_look;
    one_process_of_two_writes: no_mark;
    half_goes_from_one_process_to_another: no_acquire_in_claim;
    rubbish_in_headers: no_bounds_of_records;
    rubbish_in_positions: no_bounds_of_positions;
}
