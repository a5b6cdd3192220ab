//! Writes to a program through one pipe, and reads the program's output through another pipe.
//!
//! The Python counterpart is `subprocess.Popen` with `stdin=PIPE`, `close_fds=True`, and the write
//! end of `os.pipe` as `stdout`.
//!
//! Run this example with `cargo run --example subprocess_cat`.

use rawpipe::process::{Command, Stdio};
use std::io;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;

    // By default, descriptors that this crate or std creates are close-on-exec, so the child does not inherit
    // them. `close_other_fds` also closes inheritable descriptors that other code has opened.
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(writer).close_other_fds();
    let mut child = cat.spawn()?;
    // The command keeps the write end open, so that the command can be started again. Drop the command,
    // because a read until end of file waits while the write end is open.
    drop(cat);

    // The writer is a temporary value, which is dropped at the end of this statement. `cat` then reaches end
    // of file.
    child.take_stdin().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"Data for subprocess\n")?;

    let mut data = [0; 1024];
    let count = reader.read(&mut data)?;
    println!("Received from subprocess: {}", String::from_utf8_lossy(&data[..count]));

    // Without this wait, the child would remain a zombie until this program ends.
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cat: {status}"))) }
}
