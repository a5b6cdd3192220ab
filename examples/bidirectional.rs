//! Sends one message from a parent to its child and one message back. The example needs two pipes, because a
//! pipe carries data in one direction only.
//!
//! The Python counterparts are `os.pipe`, `os.fork`, `os.close`, `os.write` and `os.read`.
//!
//! Run this example with `cargo run --example bidirectional`.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::Fork;
use rawpipe::io::write_all;
use std::io;

fn main() -> io::Result<()> {
    let (parent_reader, child_writer) = rawpipe::pipe()?;
    let (child_reader, parent_writer) = rawpipe::pipe()?;

    // SAFETY: this process has one thread and owns only memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // Close the child's ends. If this process kept the child's writer open, the read below would not
            // reach end of file. If this process kept the child's reader open, a write to a child that has
            // ended would not fail.
            drop((child_reader, child_writer));

            parent_writer.write_all(b"Parent says hello")?;
            // End of file marks the end of the message. Two processes deadlock if each reads to end of file
            // before it closes its writer. Two processes also deadlock if each writes more than a pipe holds
            // before it reads.
            drop(parent_writer);

            let mut data = Vec::new();
            parent_reader.read_to_end(&mut data)?;
            println!("Parent received: {}", String::from_utf8_lossy(&data));

            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("child: {status}")));
            }
        }
        Fork::Child => {
            // Close the parent's ends, for the two reasons given in the parent's branch.
            drop((parent_reader, parent_writer));

            let mut data = Vec::new();
            child_reader.read_to_end(&mut data)?;
            // The child does not use `println!`. The fork copied the buffer of standard output, and both
            // processes would print any text in that buffer.
            let line = format!("Child received: {}\n", String::from_utf8_lossy(&data));
            write_all(io::stdout(), line.as_bytes())?;

            child_writer.write_all(b"Child says hi back")?;
        }
    }
    Ok(())
}
