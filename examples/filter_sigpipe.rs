//! A filter that writes its input in capitals, and is killed by `SIGPIPE` when no reader is left.
//!
//! `seq 1000000 | filter_sigpipe | head -n 1`
//!
//! Rust's `main` ignores `SIGPIPE`, so a write fails with `EPIPE`. A program that reports this prints an error although
//! nothing went wrong. Other filters are killed silently, as the shell and a waiting parent expect. This one restores
//! the default when it starts. Programs started with this crate get the default anyway.
//!
//! Python: `signal.signal(signal.SIGPIPE, signal.SIG_DFL)`.
#![allow(unsafe_code, reason = "std has no function to set a signal's effect")]

use rawpipe::io::write_all;
use std::io::{self, BufRead};

const SIGPIPE: i32 = 13;
const SIG_DFL: usize = 0;

unsafe extern "C" {
    fn signal(number: i32, effect: usize) -> usize;
}

fn main() -> io::Result<()> {
    // SAFETY: there is no other thread, and no handler of this program is replaced.
    unsafe { signal(SIGPIPE, SIG_DFL) };

    let (mut input, stdout, mut line) = (io::stdin().lock(), io::stdout(), Vec::new());
    while input.read_until(b'\n', &mut line)? > 0 {
        line.make_ascii_uppercase();
        write_all(&stdout, &line)?; // with no reader, this ends the program
        line.clear();
    }
    Ok(())
}
