//! The measured program with std, which has no fork. The child is therefore a second run of this program,
//! with an argument.

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

/// Returns whether exactly the child's bytes arrived and the child exited with 0.
fn talk() -> io::Result<bool> {
    let (mut reader, writer) = io::pipe()?;
    // The command owns the write end and is dropped at the end of this statement.
    let mut child = Command::new(env::current_exe()?).arg("child").stdout(writer).spawn()?;
    let mut got = [0; 32];
    let count = reader.read(&mut got)?;
    Ok(child.wait()?.success() && got[..count] == WORDS[..])
}
