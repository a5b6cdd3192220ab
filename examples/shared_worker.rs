//! Starts a second copy of this program as a worker, and passes chunks in shared memory to the worker. The
//! worker sums the words in place.
//!
//! The Python counterpart is `subprocess.Popen(pass_fds=…)` with `multiprocessing.shared_memory`.
//!
//! Run this example with `cargo run --release --example shared_worker [CHUNKS]`.
#![allow(unsafe_code, reason = "descriptors by number, and trust in the parent")]

use rawpipe::chunk::shared::{SharedBuilder, SharedCopier};
use rawpipe::{Wait, io::take_inherited, process::Command};
use std::io::{Error, Result};

/// The first of the worker's four consecutive descriptor numbers.
const FIRST: i32 = 3;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("worker") => work(),
        chunks => feed(chunks.map_or(Ok(1000), str::parse).map_err(Error::other)?),
    }
}

fn feed(chunks: u64) -> Result<()> {
    let (parts, mut writer) = SharedBuilder::new().pass_reader()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("worker");
    for (part, number) in parts.into_iter().zip(FIRST..) {
        command.fd_map(part, number);
    }
    let mut worker = command.spawn()?;
    drop(command); // closes its copies of the worker's descriptors, because they would hide the worker's exit

    let words = 0..chunks * (64 << 10) / 8;
    for chunk in 0..chunks {
        let bytes = writer.chunk()?;
        let (first, len) = (chunk * (64 << 10) / 8, bytes.len());
        for (place, word) in bytes.chunks_exact_mut(8).zip(first..) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        writer.send(len)?;
    }
    drop(writer); // signals end of file
    let status = worker.wait()?;
    if !status.success() {
        return Err(Error::other(format!("worker: {status}")));
    }
    println!("The sum should be {}", words.sum::<u64>());
    Ok(())
}

fn work() -> Result<()> {
    let own = |number| {
        // SAFETY: the parent has passed descriptors with these numbers, and no other code in this program
        // uses the numbers.
        unsafe { take_inherited(FIRST + number) }
    };
    let reader = SharedCopier::from_parts([own(0)?, own(1)?, own(2)?, own(3)?], Wait::Block)?;
    // SAFETY: the parent is this program, which writes only through its `SharedWriter`.
    let mut reader = unsafe { reader.trust() };
    let mut sum = 0;
    while let Some(chunk) = reader.recv()? {
        let words = chunk.chunks_exact(8).map(|word| word.try_into().expect("8 bytes"));
        sum += words.map(u64::from_ne_bytes).sum::<u64>();
    }
    println!("The worker has summed {sum}");
    Ok(())
}
