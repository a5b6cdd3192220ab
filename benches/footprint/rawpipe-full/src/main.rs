//! The measured program with `Command` and `transfer`: a program writes to a pipe, and its parent transfers
//! the bytes, compares them and waits.

use rawpipe::process::{Command, Stdio};
use rawpipe::transfer::transfer;
use std::env;
use std::process::ExitCode;

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    if env::args_os().len() > 1 {
        return u8::from(rawpipe::io::write(&std::io::stdout(), WORDS) != Ok(WORDS.len())).into();
    }
    let Ok((reader, writer)) = rawpipe::pipe() else { return 1.into() };
    let Ok(program) = env::current_exe() else { return 2.into() };
    let mut command = Command::new(program);
    let Ok(mut child) = command.arg("child").stdout(Stdio::piped()).spawn() else {
        return 3.into();
    };
    let Some(output) = child.take_stdout() else { return 4.into() };
    if !transfer(&output, &writer).is_ok_and(|moved| moved.bytes() == WORDS.len() as u64) {
        return 5.into();
    }
    let mut got = [0; 32];
    let count = reader.read(&mut got);
    if count != Ok(WORDS.len()) || got[..WORDS.len()] != WORDS[..] {
        return 6.into();
    }
    match child.wait() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => 7.into(),
    }
}
