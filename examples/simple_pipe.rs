//! Writes into a pipe and reads it back, in one process.
//!
//! Python: `os.pipe`, `os.write`, `os.read`, `os.close`.
//!
//! Run it with `cargo run --example simple_pipe`.

use std::io;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;

    // The pipe keeps the bytes until they are read. It usually has room for 64 KiB: a process that
    // writes more than that before it reads waits indefinitely.
    writer.write_all(b"Hello from pipe!")?;

    // A read takes the bytes that are there, and returns their number.
    let mut data = [0; 100];
    let count = reader.read(&mut data)?;
    println!("Received: {}", String::from_utf8_lossy(&data[..count]));

    // Going out of scope closes an end as well, but only `close` can report an error.
    rawpipe::close(reader)?;
    rawpipe::close(writer)?;
    Ok(())
}
