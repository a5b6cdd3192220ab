//! The measured program with rawpipe: a child writes to a pipe, and its parent reads, compares and waits.

use rawpipe::process;
use std::process::ExitCode;

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    let Ok((reader, writer)) = rawpipe::pipe() else { return 1.into() };
    let write = move || u8::from(writer.write(WORDS) != Ok(WORDS.len()));
    // SAFETY: this process has one thread, and the child only writes to the pipe and exits.
    let Ok(mut child) = (unsafe { process::fork_with(write) }) else { return 2.into() };
    let mut got = [0; 32];
    let count = reader.read(&mut got);
    if count != Ok(WORDS.len()) || got[..WORDS.len()] != WORDS[..] {
        return 3.into();
    }
    match child.wait() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => 4.into(),
    }
}
