//! Writes to a child over a nonblocking pipe. The child may read before the parent has written.
//!
//! The Python counterparts are `os.pipe2` with `os.O_NONBLOCK`, `os.fork`, `os.close`, `os.write`,
//! `os.fdopen` and `select.poll`.
//!
//! Run this example with `cargo run --example pipe2_fork`. The two processes print without waiting for each
//! other, so their lines may appear in any order.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::io::write_all;
use rawpipe::{Fork, PipeFlags};
use std::io::{self, BufReader, ErrorKind, Read};

fn main() -> io::Result<()> {
    // After the fork both processes hold both ends of the pipe. Each process closes the end that it does not
    // use.
    let (reader, writer) = rawpipe::pipe2(PipeFlags::NONBLOCK)?;

    // SAFETY: this process has one thread and owns only memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // If the parent kept a reader open, a write to a child that has ended would not fail.
            drop(reader);

            println!("Parent process is writing");
            let text = "Hello child process";
            writer.write_all(text.as_bytes())?; // if the pipe were full, this call would fail with EAGAIN
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
            let mut reader = BufReader::new(reader);
            let mut text = Vec::new();
            // If this call fails, `text` holds the bytes read so far.
            while let Err(error) = reader.read_to_end(&mut text) {
                if error.kind() != ErrorKind::WouldBlock {
                    return Err(error);
                }
                // If the pipe is empty, sleep until it has data or the parent closes the writer.
                poll(&mut [PollFd::new(reader.get_ref(), PollEvents::IN)], None)?;
            }
            let text = String::from_utf8_lossy(&text);
            write_all(io::stdout(), format!("Read text: {text}\n").as_bytes())?;
        }
    }
    Ok(())
}
