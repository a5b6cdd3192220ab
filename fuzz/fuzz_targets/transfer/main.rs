//! Makes random transfers between descriptors of all kinds, with queues of bytes as the model. The target has
//! four forms:
//!
//! - [`moves`] runs operations on one source and one sink in this thread, with deadlines. This form produces
//!   every kind of end, error and early stop.
//! - [`streams`] transfers whole streams with a thread at each end.
//! - [`fan`] transfers from one source to several sinks.
//! - [`chunks`] checks the pages of a `ChunkWriter`.
//!
//! In all forms, the bytes that arrived and the bytes held by an error must together equal the bytes read
//! from the source, in order. The source must still hold all other bytes, and file positions must be exact.
#![no_main]

mod chunks;
mod ends;
mod fan;
mod moves;
mod streams;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Case {
    Moves(moves::Moves),
    Streams(streams::Streams),
    Fan(fan::Fan),
    Chunks(chunks::Chunks),
}

fuzz_target!(|case: Case| match &case {
    Case::Moves(moves) => moves::run(moves),
    Case::Streams(streams) => streams::run(streams),
    Case::Fan(fan) => fan::run(fan),
    Case::Chunks(chunks) => chunks::run(chunks),
});
