//! A parent and its child send each other a message: a pipe has one direction, so it takes two.
//!
//! Python: `os.pipe`, `os.fork`, `os.close`, `os.write`, `os.read`.
//!
//! Run it by `cargo run --example bidirectional`.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::Fork;
use rawpipe::io::write_all;
use std::io;

fn main() -> io::Result<()> {
    let (parent_reader, child_writer) = rawpipe::pipe()?;
    let (child_reader, parent_writer) = rawpipe::pipe()?;

    // SAFETY: this process has one thread, and owns nothing but memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // The child's ends. With its writer left here, the answer below would have no end; with
            // its reader left here, writing to a child that is gone would not fail.
            drop((child_reader, child_writer));

            parent_writer.write_all(b"Parent says hello")?;
            // End of file says that the message is complete. Two processes that both read to the end
            // before they close, or write more than a pipe holds before they read, wait for ever.
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
            // The parent's ends, for the same two reasons.
            drop((parent_reader, parent_writer));

            let mut data = Vec::new();
            child_reader.read_to_end(&mut data)?;
            // Not `println!`: a fork copies its buffer, and both processes would print what is in it.
            let line = format!("Child received: {}\n", String::from_utf8_lossy(&data));
            write_all(io::stdout(), line.as_bytes())?;

            child_writer.write_all(b"Child says hi back")?;
        }
    }
    Ok(())
}
