//! A pipe, a child that writes into it, and its parent, which reads, compares and waits: by rustix, whose
//! fork is not public, so that the child is this program, started again with a word by std.

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

/// Whether the child's words came, and no others, and it has ended well.
fn talk() -> io::Result<bool> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // The command, which has the write end, is dropped behind this.
    let mut child = Command::new(env::current_exe()?).arg("child").stdout(writer).spawn()?;
    let mut got = [0; 32];
    let count = rustix::io::read(&reader, &mut got)?;
    Ok(child.wait()?.success() && got[..count] == WORDS[..])
}
