//! Describes, in one line, the machine's properties that affect measurements.

use std::fmt::Write;
use std::{env, fs, thread};

/// Returns the kernel release, the architecture, the number of available CPUs, the backend, the pipe limits,
/// and the setting of transparent huge pages.
pub(crate) fn line() -> String {
    let setting = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let pipes = |name: &str| setting(&format!("/proc/sys/fs/pipe-{name}"));
    let mut line = format!(
        "Linux {} {}, {} CPUs, backend {}",
        setting("/proc/sys/kernel/osrelease"),
        env::consts::ARCH,
        thread::available_parallelism().map_or(0, usize::from),
        if cfg!(rawpipe_shim) { "c-shim" } else { "asm" },
    );
    let huge = setting("/sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = huge.split(['[', ']']).nth(1).unwrap_or("none");
    let largest = pipes("max-size").parse().unwrap_or(0_u64) >> 10;
    let user = pipes("user-pages-soft");
    write!(line, ", pipes up to {largest} KiB, {user} pages for a user, huge pages: {chosen}")
        .expect("a text takes it");
    line
}

/// Prints the description of the machine to standard error.
pub(crate) fn print() {
    eprintln!("{}", line());
}
