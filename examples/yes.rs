//! Writes a line repeatedly (`yes [WORD]...`) until this process is killed or the reader closes the pipe.
//!
//! `yes no | head -n 3`
//!
//! One chunk of at most 256 KiB holds as many copies of the line as fit. A line longer than 256 KiB fills a
//! chunk of its own. A pipe receives the same pages each time, so no byte is copied. For other outputs the
//! program calls `write`. If the output has no reader, `SIGPIPE` kills the program, as is usual for filters.
//! See `filter_sigpipe.rs`.
#![allow(unsafe_code, reason = "std has no function to set a signal's effect")]

use rawpipe::chunk::ChunkWriter;
use std::convert::Infallible;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::{env, io};

const CHUNK: usize = 256 << 10;
const SIGPIPE: i32 = 13;
const SIG_DFL: usize = 0;

unsafe extern "C" {
    fn signal(number: i32, effect: usize) -> usize;
}

fn main() -> ExitCode {
    // SAFETY: no other thread exists, and this program has no signal handler that this call could replace.
    unsafe { signal(SIGPIPE, SIG_DFL) };

    let Err(error) = repeat(&line());
    eprintln!("yes: standard output: {error}");
    ExitCode::FAILURE
}

fn line() -> Vec<u8> {
    let mut words: Vec<_> = env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    if words.first().is_some_and(|word| word == b"--") {
        words.remove(0);
    }
    if words.is_empty() {
        words.push(b"y".to_vec());
    }
    let mut line = words.join(&b' ');
    line.push(b'\n');
    line
}

fn repeat(line: &[u8]) -> io::Result<Infallible> {
    // The chunk holds only whole lines, so that each call of `resend` begins at the start of a line.
    let len = line.len() * (CHUNK / line.len()).max(1);
    let mut writer = ChunkWriter::builder().chunk(len).build(io::stdout())?;
    for place in writer.chunk()?.chunks_exact_mut(line.len()) {
        place.copy_from_slice(line);
    }
    writer.send(len)?;
    loop {
        writer.resend(len)?; // SIGPIPE kills the program here if its output has no reader
    }
}
