//! Sends data through a pipe in chunks, because the pipe cannot hold all of the data at the same time. The
//! writer waits while the pipe is full, and the reader waits while the pipe is empty.
//!
//! The Python counterparts are `os.pipe`, `os.fork`, `os.close`, `os.write`, `os.read` and `os._exit`.
//!
//! Run this example with `cargo run --example large_data`.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::{Fork, process};
use std::io;

const CHUNK: usize = 4096;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;

    // SAFETY: this process has one thread and owns only memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Child => {
            // If the child kept a reader open and the parent ended early, the child would wait indefinitely.
            drop(reader);

            let large_data = vec![b'X'; 1_000_000];
            for chunk in large_data.chunks(CHUNK) {
                writer.write_all(chunk)?;
            }
            process::exit(0) // closes the writer
        }
        Fork::Parent(mut child) => {
            // If the parent kept a writer open, the loop below would never reach end of file.
            drop(writer);

            let mut received = Vec::new();
            let mut chunk = [0; CHUNK];
            loop {
                let count = reader.read(&mut chunk)?;
                if count == 0 {
                    break; // end of file: no writer exists
                }
                received.extend_from_slice(&chunk[..count]);
            }
            println!("Received {} bytes", received.len());

            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("child: {status}")));
            }
            Ok(())
        }
    }
}
