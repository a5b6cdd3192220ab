//! As `pipe_fork`, by a nonblocking pipe: the child may read before the parent has written.
//!
//! Python: `os.pipe2` with `os.O_NONBLOCK`, `os.fork`, `os.close`, `os.write`, `os.fdopen`,
//! `select.poll`.
//!
//! Run it by `cargo run --example pipe2_fork`. The two processes print without waiting for each other,
//! so their lines may come in any order.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::io::write_all;
use rawpipe::{Fork, PipeFlags};
use std::io::{self, BufReader, ErrorKind, Read};

fn main() -> io::Result<()> {
    // Both processes will have both ends, and each closes the one that it does not use.
    let (reader, writer) = rawpipe::pipe2(PipeFlags::NONBLOCK)?;

    // SAFETY: this process has one thread, and owns nothing but memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // With a reader left here, writing to a child that is gone would not fail.
            drop(reader);

            println!("Parent process is writing");
            let text = "Hello child process";
            writer.write_all(text.as_bytes())?; // there is room, or this would fail with EAGAIN
            println!("Written text: {text}");

            // The last writer goes: end of file for the child. Else both would wait for each other.
            drop(writer);
            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("child: {status}")));
            }
        }
        Fork::Child => {
            // With a writer left here, the child would wait for the end of file for ever.
            drop(writer);

            // Not `println!`: a fork copies its buffer, and both processes would print what is in it.
            write_all(io::stdout(), b"\nChild Process is reading\n")?;
            let mut reader = BufReader::new(reader);
            let mut text = Vec::new();
            // An error leaves in `text` what was read before it.
            while let Err(error) = reader.read_to_end(&mut text) {
                if error.kind() != ErrorKind::WouldBlock {
                    return Err(error);
                }
                // Nothing there yet. Sleep until there is, or until the parent closes its end.
                poll(&mut [PollFd::new(reader.get_ref(), PollEvents::IN)], None)?;
            }
            let text = String::from_utf8_lossy(&text);
            write_all(io::stdout(), format!("Read text: {text}\n").as_bytes())?;
        }
    }
    Ok(())
}
