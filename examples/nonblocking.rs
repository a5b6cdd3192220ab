//! Reads from a pipe without waiting for data.
//!
//! The Python counterparts are `os.pipe`, `fcntl.fcntl` with `F_SETFL` (or `os.set_blocking`), `os.write`,
//! `os.read`, `BlockingIOError` and `os.close`.
//!
//! Run this example with `cargo run --example nonblocking`.

use rawpipe::{Errno, PipeReader};
use std::io;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;
    // Only the reader is nonblocking. If the pipe is full, a write still waits.
    reader.set_nonblocking(true)?;

    print_what_is_there(&reader, "No data available yet")?;
    writer.write_all(b"Now there's data")?;
    print_what_is_there(&reader, "No data available")?;

    rawpipe::close(reader)?;
    rawpipe::close(writer)?;
    Ok(())
}

/// Reads once. If the pipe is empty, prints `otherwise`. Returns any error except `EAGAIN`.
fn print_what_is_there(reader: &PipeReader, otherwise: &str) -> io::Result<()> {
    let mut data = [0; 1024];
    match reader.read(&mut data) {
        Ok(count) => println!("Got data: {}", String::from_utf8_lossy(&data[..count])),
        Err(Errno::EAGAIN) => println!("{otherwise}"),
        Err(errno) => return Err(errno.into()),
    }
    Ok(())
}
