//! Passes chunks in shared memory to a child. The parent fills the chunks, and the child sums the words in
//! place, so no byte is copied. Both processes print their throughput.
//!
//! The Python counterpart is `multiprocessing.shared_memory`, combined with pipes on which the processes
//! wait.
//!
//! Run this example with `cargo run --release --example shared_chunks [MIB [CHUNK_BYTES]]`.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::chunk::shared::{SharedBuilder, SharedReader};
use std::io::{self, Error};
use std::time::Instant;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| match arguments.next().map(|text| text.parse()) {
        None => Ok(default),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => Err(Error::other("usage: shared_chunks [MIB [CHUNK_BYTES]]")),
    };
    let total = number(1024)? << 20;
    // A chunk consists of whole words.
    let chunk = number(64 << 10)?.next_multiple_of(8).min(total);

    let builder = SharedBuilder::new().chunk(chunk);
    let (results, result) = rawpipe::pipe()?;
    // SAFETY: this process has one thread and owns only memory and descriptors.
    let (mut child, mut writer) = unsafe {
        builder.fork_reader(|reader| {
            let start = Instant::now();
            let (bytes, sum) = match sum_up(reader) {
                Ok(received) => received,
                Err(errno) => {
                    eprintln!("child: {errno}");
                    return 1;
                }
            };
            print_rate("summed", bytes, start);
            u8::from(result.write_all(&sum.to_ne_bytes()).is_err())
        })
    }?;

    let (start, mut sent, mut word, mut sum) = (Instant::now(), 0, 0_u64, 0_u64);
    while sent < total {
        let chunk = writer.chunk()?;
        let len = chunk.len().min(total - sent);
        for place in chunk[..len].chunks_exact_mut(8) {
            place.copy_from_slice(&word.to_ne_bytes());
            sum = sum.wrapping_add(word);
            word += 1;
        }
        writer.send(len)?;
        sent += len;
    }
    drop(writer); // if the parent kept the writer, the child would wait forever
    print_rate("filled", sent, start);

    let mut received = [0; 8];
    results.read_exact(&mut received)?;
    let status = child.wait()?;
    if !status.success() || u64::from_ne_bytes(received) != sum {
        return Err(Error::other(format!("child: {status}, and a sum of {received:?}")));
    }
    println!("Both have the sum {sum}");
    Ok(())
}

/// Receives chunks until end of file. Returns the number of bytes and the sum of all words.
fn sum_up(mut reader: SharedReader) -> rawpipe::Result<(usize, u64)> {
    let (mut bytes, mut sum) = (0, 0_u64);
    while let Some(chunk) = reader.recv()? {
        bytes += chunk.len();
        for word in chunk.chunks_exact(8) {
            let word = word.try_into().expect("8 bytes");
            sum = sum.wrapping_add(u64::from_ne_bytes(word));
        }
    }
    Ok((bytes, sum))
}

fn print_rate(what: &str, bytes: usize, start: Instant) {
    let mib = bytes >> 20;
    let rate = bytes as u128 * 1000 / start.elapsed().as_micros().max(1) / 1000;
    println!("{what} {mib} MiB, {rate} MB/s");
}
