//! Writes to a pipe and reads the bytes back, in one process.
//!
//! The Python counterparts are `os.pipe`, `os.write`, `os.read` and `os.close`.
//!
//! Run this example with `cargo run --example simple_pipe`.

use std::io;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;

    // The pipe holds the bytes until they are read. A pipe usually holds up to 64 KiB. If a single process
    // writes more than that before it reads, the process waits indefinitely.
    writer.write_all(b"Hello from pipe!")?;

    // A read returns all available bytes, up to the length of the buffer.
    let mut data = [0; 100];
    let count = reader.read(&mut data)?;
    println!("Received: {}", String::from_utf8_lossy(&data[..count]));

    // Dropping an end also closes it, but only `close` can report an error.
    rawpipe::close(reader)?;
    rawpipe::close(writer)?;
    Ok(())
}
