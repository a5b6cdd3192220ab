//! Copies the source of the ring, but leaves out the module documentation. One copy has no further changes,
//! and each of the other copies contains one mistake. The tests then prove that the model checker finds each
//! mistake. The build fails if the source does not contain the text that a mistake replaces.

use std::path::Path;
use std::{env, fs};

const SOURCE: &str = "../../src/chunk/shared/ring.rs";

/// The name and the changes of each version of the ring. Each change replaces a text that occurs exactly once
/// in the source.
const MISTAKES: &[(&str, &[(&str, &str)])] = &[
    ("intact", &[]),
    (
        "no_fence_before_looking_for_sleepers",
        &[("        fence(Ordering::SeqCst);\n        let wants", "        let wants")],
    ),
    (
        "no_fence_before_sleeping",
        &[("            fence(Ordering::SeqCst);\n            gone", "            gone")],
    ),
    (
        "relaxed_store",
        &[("position.0.store(to, Ordering::Release)", "position.0.store(to, Ordering::Relaxed)")],
    ),
    (
        "relaxed_load",
        &[("position.0.load(Ordering::Acquire)", "position.0.load(Ordering::Relaxed)")],
    ),
    (
        "no_second_look",
        &[
            ("            self.look()?;\n            if reached", "            if reached"),
            ("gone = !self.link.hear(until)?;", "gone = !self.link.hear(until)?; self.look()?;"),
        ],
    ),
    ("no_look_whether_closed", &[("gone |= self.other_is_closed();", "")]),
    ("no_ring", &[("return self.link.ring().inspect_err(", "return Ok(()).inspect_err(")]),
    ("no_mark", &[("        if self.is_used_here() {", "        if true {")]),
    ("no_acquire_in_claim", &[("OWNED, Ordering::Acquire,", "OWNED, Ordering::Relaxed,")]),
    (
        "no_bounds_of_records",
        &[("len == 0 || !fits || skipped + size(len) > sent", "len == usize::MAX - 1")],
    ),
    (
        "no_bounds_of_positions",
        &[(
            "self.broken || head.wrapping_sub(tail) > self.ring || seen % UNIT != 0",
            "self.broken",
        )],
    ),
];

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var("OUT_DIR").unwrap();
    let source = fs::read_to_string(SOURCE).unwrap();
    // Included source must not start with module documentation.
    let source: String = source
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .flat_map(|line| [line, "\n"])
        .collect();
    for (name, changes) in MISTAKES {
        let mut changed = source.clone();
        for (from, to) in *changes {
            assert_eq!(changed.matches(from).count(), 1, "{name}: {from:?}");
            changed = changed.replace(from, to);
        }
        fs::write(Path::new(&folder).join(format!("{name}.rs")), changed).unwrap();
    }
}
