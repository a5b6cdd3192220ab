//! A pipe, a child that writes into it, and its parent, which reads, compares and waits: by std, which has
//! no fork, so that the child is this program, started again with a word.

use std::env;
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode};

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    if env::args_os().nth(1).is_some() {
        return u8::from(
            io::stdout().write_all(WORDS).and_then(|()| io::stdout().flush()).is_err(),
        )
        .into();
    }
    match talk() {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Whether the child's words came, and no others, and it has ended well.
fn talk() -> io::Result<bool> {
    let (mut reader, writer) = io::pipe()?;
    // The command, which has the write end, is dropped behind this.
    let mut child = Command::new(env::current_exe()?).arg("child").stdout(writer).spawn()?;
    let mut got = [0; 32];
    let count = reader.read(&mut got)?;
    Ok(child.wait()?.success() && got[..count] == WORDS[..])
}
