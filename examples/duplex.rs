//! Sends questions from a parent to its child over one two-way link, and receives the replies.
//!
//! The Python counterparts are `multiprocessing.Pipe`, `Connection.send_bytes`, `Connection.recv_bytes` and
//! `EOFError`. By contrast, the example `bidirectional` uses two pipes and marks the end of a message only by
//! end of file.
//!
//! Run this example with `cargo run --example duplex`.
#![allow(unsafe_code, reason = "fork")]

use rawpipe::message::{Channel, Duplex, MessageError};
use std::io;

fn main() -> io::Result<()> {
    // SAFETY: this process has one thread and owns only memory and descriptors.
    let (mut child, link) = unsafe {
        Duplex::fork(|link| match answer(link) {
            Ok(()) => 0,
            Err(_) => 1,
        })
    }?;

    let mut channel = Channel::from(link);
    for question in ["How long is this?", "And this one?", ""] {
        channel.send(&[question.as_bytes()])?;
        let answer = channel.recv()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        println!("{question:?} has {} bytes", String::from_utf8_lossy(&answer));
    }
    drop(channel); // the child reaches end of file

    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("child: {status}")));
    }
    Ok(())
}

/// Replies to each question with the question's length, until the parent closes its end.
fn answer(link: Duplex) -> Result<(), MessageError> {
    let mut channel = Channel::from(link);
    while let Some(question) = channel.recv()? {
        channel.send(&[question.len().to_string().as_bytes()])?;
    }
    Ok(())
}
