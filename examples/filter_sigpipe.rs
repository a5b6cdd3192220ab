//! Writes its input in capital letters, and is killed by `SIGPIPE` if its output has no reader.
//!
//! `seq 1000000 | filter_sigpipe | head -n 1`
//!
//! Rust ignores `SIGPIPE` before it calls `main`, so a write to a pipe without a reader fails with `EPIPE`. A
//! program that reports this error prints a message although no failure occurred. Filters that keep the
//! default action are killed silently, as the shell and a waiting parent expect. This filter restores the
//! default action of `SIGPIPE` when it starts. By default, a program that this crate starts also begins with
//! this action.
//!
//! The Python counterpart is `signal.signal(signal.SIGPIPE, signal.SIG_DFL)`.
#![allow(unsafe_code, reason = "std has no function to set a signal's effect")]

use rawpipe::io::write_all;
use std::io::{self, BufRead};

const SIGPIPE: i32 = 13;
const SIG_DFL: usize = 0;

unsafe extern "C" {
    fn signal(number: i32, effect: usize) -> usize;
}

fn main() -> io::Result<()> {
    // SAFETY: no other thread exists, and this program has no signal handler that this call could replace.
    unsafe { signal(SIGPIPE, SIG_DFL) };

    let (mut input, stdout, mut line) = (io::stdin().lock(), io::stdout(), Vec::new());
    while input.read_until(b'\n', &mut line)? > 0 {
        line.make_ascii_uppercase();
        write_all(&stdout, &line)?; // SIGPIPE kills the program here if its output has no reader
        line.clear();
    }
    Ok(())
}
