//! Writes into a pipe and reads it back, in one process.
//!
//! Python: `os.pipe`, `os.write`, `os.read`, `os.close`.
//!
//! Run it by `cargo run --example simple_pipe`.

use std::io;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;

    // The pipe keeps the bytes until somebody reads them. It has room for 64 KiB, usually: a process
    // that writes more than that before it reads waits for itself, for ever.
    writer.write_all(b"Hello from pipe!")?;

    // A read answers with what is there, and with how much that is.
    let mut data = [0; 100];
    let count = reader.read(&mut data)?;
    println!("Received: {}", String::from_utf8_lossy(&data[..count]));

    // Going out of scope closes an end as well. Only `close` can tell of an error.
    rawpipe::close(reader)?;
    rawpipe::close(writer)?;
    Ok(())
}
