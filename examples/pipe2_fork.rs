//! As `pipe_fork`, with a nonblocking pipe: the child may read before the parent has written.
//!
//! Python: `os.pipe2` with `os.O_NONBLOCK`, `os.fork`, `os.close`, `os.write`, `os.fdopen`,
//! `select.poll`.
//!
//! Run it with `cargo run --example pipe2_fork`. The two processes print without waiting for each other,
//! so their lines may appear in any order.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::io::write_all;
use rawpipe::{Fork, PipeFlags};
use std::io::{self, BufReader, ErrorKind, Read};

fn main() -> io::Result<()> {
    // After the fork both processes have both ends. Each closes the one that it does not use.
    let (reader, writer) = rawpipe::pipe2(PipeFlags::NONBLOCK)?;

    // SAFETY: this process has one thread, and owns nothing but memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // With a reader open here, writing to a child that has ended would not fail.
            drop(reader);

            println!("Parent process is writing");
            let text = "Hello child process";
            writer.write_all(text.as_bytes())?; // there is room, or this would fail with EAGAIN
            println!("Written text: {text}");

            // This closes the last writer: end of file for the child. Otherwise both would deadlock.
            drop(writer);
            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("child: {status}")));
            }
        }
        Fork::Child => {
            // With a writer open here, the child would never reach end of file.
            drop(writer);

            // Not `println!`: a fork copies its buffer, and both processes would print the contents.
            write_all(io::stdout(), b"\nChild Process is reading\n")?;
            let mut reader = BufReader::new(reader);
            let mut text = Vec::new();
            // The bytes read before an error are in `text`.
            while let Err(error) = reader.read_to_end(&mut text) {
                if error.kind() != ErrorKind::WouldBlock {
                    return Err(error);
                }
                // The pipe is empty. Sleep until it has data, or until the parent closes its end.
                poll(&mut [PollFd::new(reader.get_ref(), PollEvents::IN)], None)?;
            }
            let text = String::from_utf8_lossy(&text);
            write_all(io::stdout(), format!("Read text: {text}\n").as_bytes())?;
        }
    }
    Ok(())
}
