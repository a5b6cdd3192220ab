//! Starts a Python program, and passes chunks in shared memory to that program. The Python program needs only
//! the standard library.
//!
//! Run this example with `cargo run --release --example shared_python [RECORDS]`.

use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::process::Command;
use std::io::{Error, Result};

/// The source of the Python program, whose class `Reader` can be copied into other programs.
const READER: &str = include_str!("shared_reader.py");

fn main() -> Result<()> {
    let records = std::env::args().nth(1).map_or(Ok(1000), |text| text.parse());
    let records: u64 = records.map_err(Error::other)?;

    let (parts, mut writer) = SharedBuilder::new().chunk(8000).pass_reader()?;
    let mut command = Command::new("python3");
    command.args(["-c", READER]);
    for (part, number) in parts.into_iter().zip(3..) {
        command.fd_map(part, number);
    }
    let mut python = command.spawn()?;
    drop(command); // closes its copies of Python's descriptors, because they would hide Python's exit

    let mut sum = 0;
    for record in 0..records {
        // A record is 8 to 8,000 bytes long, and each of its words holds the record's number.
        let len = usize::try_from(record % 1000 + 1).expect("at most 1000") * 8;
        for place in writer.chunk()?[..len].chunks_exact_mut(8) {
            place.copy_from_slice(&record.to_ne_bytes());
            sum += record;
        }
        writer.send(len)?;
    }
    drop(writer); // signals end of file
    let status = python.wait()?;
    if !status.success() {
        return Err(Error::other(format!("Python: {status}")));
    }
    println!("Rust has sent {records} records with the sum {sum}");
    Ok(())
}
