//! Sends a message from a parent to its child.
//!
//! The Python counterparts are `os.pipe`, `os.fork`, `os.close`, `os.write` and `os.read`.
//!
//! Run this example with `cargo run --example parent_child`. The two processes print without waiting for each
//! other, so their lines may appear in any order.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::Fork;
use rawpipe::io::write_all;
use std::io;

fn main() -> io::Result<()> {
    // Create the pipe before the fork, so that both processes have it.
    let (reader, writer) = rawpipe::pipe()?;

    // SAFETY: this process has one thread and owns only memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // If the parent kept a reader open, a write to a child that has ended would not fail.
            drop(reader);

            writer.write_all(b"Hello child process!")?;
            // Dropping the writer closes the last write end, so the child reaches end of file after the whole
            // message.
            drop(writer);
            println!("Parent sent message to child");

            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("child: {status}")));
            }
        }
        Fork::Child => {
            // If the child kept a writer open, it would never reach end of file.
            drop(writer);

            let mut data = Vec::new();
            reader.read_to_end(&mut data)?;
            // The child does not use `println!`. The fork copied the buffer of standard output, and both
            // processes would print any text in that buffer.
            let line = format!("Child received: {}\n", String::from_utf8_lossy(&data));
            write_all(io::stdout(), line.as_bytes())?;
        }
    }
    Ok(())
}
