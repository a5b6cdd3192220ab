//! Random transfers between descriptors of all kinds, with queues of bytes as the model.
//!
//! There are four forms: operations on one source and one sink, in this thread and with deadlines, which
//! produce every end, error and stop in the middle ([`moves`]); whole streams with a thread at either
//! end ([`streams`]); one source and several sinks ([`fan`]); and the pages of a `ChunkWriter`
//! ([`chunks`]). In all of them the bytes that arrived and those that an error holds are together the
//! bytes read from the source, in order. The source still has the remaining bytes, and positions of
//! files are exact.
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
