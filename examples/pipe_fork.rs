//! A parent writes to its child, which reads to the end of file by a `BufReader`.
//!
//! Python: `os.pipe`, `os.fork`, `os.close`, `os.write`, `os.fdopen`.
//!
//! Run it by `cargo run --example pipe_fork`. The two processes print without waiting for each other,
//! so their lines may come in any order.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::Fork;
use rawpipe::io::write_all;
use std::io::{self, BufReader, Read};

fn main() -> io::Result<()> {
    // Both processes will have both ends, and each closes the one that it does not use.
    let (reader, writer) = rawpipe::pipe()?;

    // SAFETY: this process has one thread, and owns nothing but memory and descriptors.
    match unsafe { rawpipe::fork() }? {
        Fork::Parent(mut child) => {
            // With a reader left here, writing to a child that is gone would not fail.
            drop(reader);

            println!("Parent process is writing");
            let text = "Hello child process";
            writer.write_all(text.as_bytes())?;
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
            let mut text = String::new();
            BufReader::new(reader).read_to_string(&mut text)?;
            write_all(io::stdout(), format!("Read text: {text}\n").as_bytes())?;
        }
    }
    Ok(())
}
