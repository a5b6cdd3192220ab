//! The measured program with nix: a child writes to a pipe, and its parent reads, compares and waits.

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe2, read, write};
use std::process::{ExitCode, exit};

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    let Ok((reader, writer)) = pipe2(OFlag::O_CLOEXEC) else { return 1.into() };
    // SAFETY: this process has one thread, and the child only writes to the pipe and exits.
    let child = match unsafe { fork() } {
        Ok(ForkResult::Child) => exit((write(&writer, WORDS) != Ok(WORDS.len())).into()),
        Ok(ForkResult::Parent { child }) => child,
        Err(_) => return 2.into(),
    };
    drop(writer);
    let mut got = [0; 32];
    if read(&reader, &mut got) != Ok(WORDS.len()) || got[..WORDS.len()] != WORDS[..] {
        return 3.into();
    }
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, 0)) => ExitCode::SUCCESS,
        _ => 4.into(),
    }
}
