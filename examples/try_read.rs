//! Reads without waiting, and then with a deadline. The read end stays in blocking mode, so other processes
//! and threads that use it are unaffected.
//!
//! In Python, `os.read` after `select` still waits if another reader reads the data first. The example
//! `nonblocking` sets `O_NONBLOCK`, which affects every process that shares the read end.
//!
//! Run this example with `cargo run --example try_read`.

use rawpipe::{Deadline, Errno, PipeReader};
use std::time::Duration;
use std::{io, thread};

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;
    let mut data = [0; 1024];

    print_what_came("At first", reader.try_read(&mut data), &data)?;
    writer.write_all(b"at once")?;
    print_what_came("Then", reader.try_read(&mut data), &data)?;

    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        writer.write_all(b"late") // the end of the closure also drops the writer
    });
    let long = Duration::from_secs(10);
    print_what_came("Later", reader.read_deadline(&mut data, Deadline::after(long)), &data)?;
    print_what_came("At last", reader.read_deadline(&mut data, Deadline::after(long)), &data)?;
    late.join().expect("a thread that does not panic")?;

    println!("The pipe is {}", kind(&reader)?);
    Ok(())
}

/// Prints the result of a read. Prints "nothing yet" for `EAGAIN`, and returns any other error.
fn print_what_came(when: &str, answer: rawpipe::Result<usize>, data: &[u8]) -> io::Result<()> {
    match answer {
        Ok(0) => println!("{when}: the end"),
        Ok(count) => println!("{when}: {}", String::from_utf8_lossy(&data[..count])),
        Err(Errno::EAGAIN) => println!("{when}: nothing yet"),
        Err(errno) => return Err(errno.into()),
    }
    Ok(())
}

fn kind(reader: &PipeReader) -> io::Result<&'static str> {
    Ok(if reader.is_nonblocking()? { "nonblocking" } else { "still blocking" })
}
