//! Builds the program that the target `command` starts. The build uses only rustc, because the fuzzer's
//! sanitizer and counters would account for most of the program's start time.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=child/main.rs");
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let done = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Cpanic=abort", "child/main.rs", "-o"])
        .arg(Path::new(&out).join("child"))
        .status()
        .expect("rustc runs");
    assert!(done.success(), "the child does not compile");
}
