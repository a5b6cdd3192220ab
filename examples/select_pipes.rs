//! Waits for at most one second until either of two pipes has data.
//!
//! The Python counterparts are `os.pipe`, `os.write`, `select.select`, `os.read` and `os.close`.
//!
//! Run this example with `cargo run --example select_pipes`.

use rawpipe::event::{FdSet, select};
use std::io;
use std::time::Duration;

fn main() -> io::Result<()> {
    let (pipe1_reader, pipe1_writer) = rawpipe::pipe()?;
    let (pipe2_reader, pipe2_writer) = rawpipe::pipe()?;
    pipe2_writer.write_all(b"Data in pipe 2")?;

    let mut readable = FdSet::new();
    readable.insert(&pipe1_reader);
    readable.insert(&pipe2_reader);
    // On return, the set holds only the ready descriptors.
    select(Some(&mut readable), None, None, Some(Duration::from_secs(1)))?;

    let mut data = [0; 1024];
    if readable.contains(&pipe1_reader) {
        println!("Pipe 1 has data");
        pipe1_reader.read(&mut data)?;
    }
    if readable.contains(&pipe2_reader) {
        println!("Pipe 2 has data");
        let count = pipe2_reader.read(&mut data)?;
        println!("Received: {}", String::from_utf8_lossy(&data[..count]));
    }

    rawpipe::close(pipe1_reader)?;
    rawpipe::close(pipe1_writer)?;
    rawpipe::close(pipe2_reader)?;
    rawpipe::close(pipe2_writer)?;
    Ok(())
}
