//! The measured program with rustix, whose fork is not public. The child is therefore a second run of this
//! program, which std starts with an argument.

use rustix::pipe::{PipeFlags, pipe_with};
use std::process::{Command, ExitCode};
use std::{env, io};

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    if env::args_os().nth(1).is_some() {
        return u8::from(rustix::io::write(rustix::stdio::stdout(), WORDS) != Ok(WORDS.len()))
            .into();
    }
    match talk() {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns whether exactly the child's bytes arrived and the child exited with 0.
fn talk() -> io::Result<bool> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // The command owns the write end and is dropped at the end of this statement.
    let mut child = Command::new(env::current_exe()?).arg("child").stdout(writer).spawn()?;
    let mut got = [0; 32];
    let count = rustix::io::read(&reader, &mut got)?;
    Ok(child.wait()?.success() && got[..count] == WORDS[..])
}
