//! Measures transfers from descriptor to descriptor.
//!
//! - `file_to_read`: a file in the page cache → pipe → another process, which looks at every byte.
//! - `pipe_to_file`: a process makes every byte → pipe → a new file in memory, by another process.
//! - `pipe_to_pipe`, `socket_to_socket`: a process makes every byte, the measured one moves them from one
//!   pipe or socket to another, and a third one looks at them.
//! - `fanout`: the same, to two pipes and two processes.
//! - `file_to_file`: a file in memory → a new one, in this process.
//! - `limits/file_to_null`, `limits/pipes_to_null`: no process makes the bytes or looks at them.
//!
//! Rows are measured with the source on one CPU and all other processes on another (`two`), and with all
//! on `one`; limits only on `two`, and `file_to_file`, which has one process, where it is put (`free`).
//!
//! Engines, listed in `common/engines.rs`:
//!
//! - `std`: `read` and `write_all` of 64 KiB (`file_to_file`: 128 KiB), with page-aligned buffers.
//!   `std-vec`: the same with plain `Vec`s. `std-copy`: `io::copy`.
//! - `rawpipe`: `transfer` or `fanout`, without options; on the same pipes as std if another process has
//!   created them, else on pipes as large as is useful. `rawpipe-large`: on large pipes.
//!
//! An iteration moves [`BYTES`]. A sample is one run of the processes, forked before its clock starts,
//! and fails unless exactly as many bytes arrive. All bytes of each engine are compared once before, in
//! a file. Each engine's code is called through a pointer, so none of it is inlined here.

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
