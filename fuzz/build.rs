//! Builds the program that the target `command` starts, by rustc alone: without the sanitizer and the
//! counters of the fuzzer, which would make most of the time that it takes to start it.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=child/main.rs");
    let out = env::var_os("OUT_DIR").expect("cargo says where to");
    let rustc = env::var_os("RUSTC").expect("cargo says by what");
    let done = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Cpanic=abort", "child/main.rs", "-o"])
        .arg(Path::new(&out).join("child"))
        .status()
        .expect("rustc runs");
    assert!(done.success(), "the child does not compile");
}
