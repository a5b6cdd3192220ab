//! Writes to a child, which uses a `BufReader` to read until end of file.
//!
//! The Python counterparts are `os.pipe`, `os.fork`, `os.close`, `os.write` and `os.fdopen`.
//!
//! Run this example with `cargo run --example pipe_fork`. The two processes print without waiting for each
//! other, so their lines may appear in any order.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::Fork;
use rawpipe::io::write_all;
use std::io::{self, BufReader, Read};

fn main() -> io::Result<()> {
    // After the fork both processes hold both ends of the pipe. Each process closes the end that it does not
    // use.
    let (reader, writer) = rawpipe::pipe()?;

    // SAFETY: this process has one thread and owns only memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // If the parent kept a reader open, a write to a child that has ended would not fail.
            drop(reader);

            println!("Parent process is writing");
            let text = "Hello child process";
            writer.write_all(text.as_bytes())?;
            println!("Written text: {text}");

            // Dropping the writer closes the last write end, so the child reaches end of file. Otherwise both
            // processes would deadlock.
            drop(writer);
            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("child: {status}")));
            }
        }
        Fork::Child => {
            // If the child kept a writer open, it would never reach end of file.
            drop(writer);

            // The child does not use `println!`. The fork copied the buffer of standard output, and both
            // processes would print any text in that buffer.
            write_all(io::stdout(), b"\nChild Process is reading\n")?;
            let mut text = String::new();
            BufReader::new(reader).read_to_string(&mut text)?;
            write_all(io::stdout(), format!("Read text: {text}\n").as_bytes())?;
        }
    }
    Ok(())
}
