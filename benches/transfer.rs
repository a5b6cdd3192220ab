//! Measures transfers between descriptors.
//!
//! - `file_to_read`: a file in the page cache → a pipe → another process, which reads every byte.
//! - `pipe_to_file`: a process that generates every byte → a pipe → another process → an empty file, in
//!   `/dev/shm` if possible.
//! - `pipe_to_pipe`, `socket_to_socket`: one process generates every byte. The measured process moves the
//!   bytes between two pipes or sockets, and a third process reads the bytes.
//! - `fanout`: a transfer from one pipe to two pipes. Each of these two has a separate reader.
//! - `file_to_file`: a file → an empty file, copied by this process. Both files are in `/dev/shm` if
//!   possible.
//! - `limits/file_to_null`, `limits/pipes_to_null`: transfers of a file to `/dev/null`. No process examines
//!   the bytes.
//!
//! Each row except the limits and `file_to_file` is measured with two placements. With `two`, the source runs
//! on one CPU and all other processes run on another. With `one`, all processes run on the same CPU. The
//! limits are measured only with `two`. `file_to_file` has only one process, so the scheduler places it
//! (`free`).
//!
//! Engines, which `common/engines.rs` defines:
//!
//! - `std`: `read` and `write_all` of 64 KiB (`file_to_file`: 128 KiB), with page-aligned buffers. In
//!   `limits/file_to_null`, all std engines discard the bytes with `io::copy`.
//! - `std-vec`: the same calls with plain `Vec`s. `std-copy`: `io::copy`.
//! - `rawpipe`: `transfer` or `fanout` with default options. In `pipe_to_file` and `pipe_to_pipe`, the pipes
//!   are the same as for `std`. In all other groups with pipes, the pipes have `Capacity::Max`.
//! - `rawpipe-large`: the same calls on pipes of `Capacity::Max`.
//!
//! An iteration moves [`BYTES`]. Except in `file_to_file`, a sample is one run of the processes. They are
//! forked before the measurement starts. A sample fails if the wrong number of bytes arrives. Before its
//! first sample, each engine moves test bytes to a file, where every byte is compared. In `fanout`, only one
//! of the two outputs is compared. The benchmark calls each engine through a pointer, so the compiler cannot
//! inline the engine into the benchmark.

mod common;
#[path = "common/rows.rs"]
mod rows;

use common::*;
use criterion::Criterion;
use rows::Rows;

const BYTES: u64 = FILE as u64;

fn main() {
    let mut criterion = rows::criterion();
    machine::print();
    let input = Input::new().expect("files to work with");
    let mut group = |name, engines: &[Named<Move>]| {
        let mut rows = Rows::new(&mut criterion, name);
        let is_limit = name.starts_with("limits/");
        for place in Place::PINNED.into_iter().take(if is_limit { 1 } else { 2 }) {
            rows.row(place, "", Some(BYTES), moves(&input, place, BYTES, engines));
        }
    };
    group("file_to_read", &FILE_TO_READ);
    group("pipe_to_file", &PIPE_TO_FILE);
    group("pipe_to_pipe", &PIPE_TO_PIPE);
    group("socket_to_socket", &SOCKET_TO_SOCKET);
    group("fanout", &FANOUT);
    group("limits/file_to_null", &FILE_TO_NULL);
    group("limits/pipes_to_null", &PIPES_TO_NULL);
    file_to_file(&mut criterion, &input);
    criterion.final_summary();
}

fn file_to_file(criterion: &mut Criterion, input: &Input) {
    let mut engines: Vec<Engine<'_>> = Vec::new();
    for (engine, work) in &FILE_TO_FILE {
        work.check(input).expect("the bytes that were sent");
        engines.push((*engine, Box::new(|turns| work.run(input, turns))));
    }
    Rows::new(criterion, "file_to_file").row(Place::Free, "", Some(BYTES), engines);
}
