//! The [`Move`] and [`Copy`] engines that the benchmarks compare. An engine uses std or this crate to move
//! the bytes.
//!
//! A source generates bytes or sends a file. To generate bytes, the source copies them from [`Input::memory`]
//! into its buffer immediately before it sends them. A sink sums the bytes, or moves the bytes to a file. The
//! limits [`MEM_TO_READ`], [`MEM_TO_NULL`], [`FILE_TO_NULL`] and [`PIPES_TO_NULL`] differ: no process
//! examines the bytes, and a source may send the same bytes repeatedly.
//!
//! - `std`: `std::io::pipe` with default settings; `read` and `write_all` of 64 KiB or of the chunk size. To
//!   discard bytes, `std` uses `io::copy`.
//! - `std-vec`: the same calls with plain `Vec`s. `std-copy`: `io::copy`.
//! - `rawpipe`: `transfer`, `fanout`, or a `ChunkWriter` and a `ChunkReader`, with default options except the
//!   chunk size.
//! - `rawpipe-large`: `transfer` on pipes of `Capacity::Max`. This engine exists only for the questions in
//!   which `rawpipe` uses default pipes.

use super::*;
use rawpipe::chunk::{ChunkMechanism, Reuse, WriterBuilder};
use std::os::unix::net::UnixStream;

/// The engine that uses `write_all` and `read` of 64 KiB on std's default pipe. The source repeatedly sends
/// the same bytes.
pub(crate) const STD: Move = Move {
    link: std_pipe,
    source: write_memory::<io::PipeWriter>,
    period: 64 * KIB,
    middle: None,
    sink: Sink::Read(read::<io::PipeReader>),
    chunk: 64 * KIB,
    vec: false,
    place: Place::Free,
};

/// The engine that uses calls of 256 KiB on a pipe of `Capacity::Max`, which is usually 1 MiB. A call moves a
/// quarter of the pipe's capacity, so one process can fill the pipe while the other drains it. Buffers that
/// exceed the caches are slower.
pub(crate) const RAW: Move = Move {
    link: large_pipe,
    source: write_memory::<PipeWriter>,
    period: 256 * KIB,
    sink: Sink::Read(read::<PipeReader>),
    chunk: 256 * KIB,
    ..STD
};

/// Creates a move from a `ChunkWriter` with chunks of 1 MiB, through a default pipe, to a `ChunkReader`.
macro_rules! chunks {
    ($send:ident, $builder:expr) => {
        Move {
            link: raw_pipe,
            source: |to, from, stream, buffer| $send(to, from, stream, buffer, $builder),
            sink: Sink::Read(read_chunks),
            period: MIB,
            chunk: MIB,
            ..RAW
        }
    };
}

/// The engine that repeatedly sends the same bytes from the writer's chunks. [`STD`] and [`RAW`] send the
/// bytes directly from [`Input::memory`]. The source fills only new chunks, and does not change a chunk that
/// still holds the bytes of an earlier use. With `Reuse::Never`, every chunk is new.
pub(crate) const CHUNKS: Move = chunks!(send_ready, DEFAULT);
pub(crate) const CHUNKS_AFTER_READ: Move = chunks!(send_ready, AFTER_READ);
const CHUNKS_MEMFD_AFTER_READ: Move =
    chunks!(send_ready, DEFAULT.mechanism(ChunkMechanism::Memfd).reuse(Reuse::AfterRead));

/// The engine that copies the bytes into its buffer immediately before each call that sends them.
pub(crate) const STD_FILLED: Move = Move { source: fill_and_write::<io::PipeWriter>, ..STD };
pub(crate) const CHUNKS_FILLED: Move = chunks!(fill_and_send, DEFAULT);
pub(crate) const CHUNKS_FILLED_AFTER_READ: Move = chunks!(fill_and_send, AFTER_READ);

const DEFAULT: WriterBuilder = ChunkWriter::builder();
const AFTER_READ: WriterBuilder =
    DEFAULT.mechanism(ChunkMechanism::Vmsplice).reuse(Reuse::AfterRead);

/// The length of the input file, in bytes.
pub(crate) const FILE: usize = 16 * MIB;

pub(crate) const STD_FILE: Move = Move { source: io_copy_file, period: FILE, ..STD };
pub(crate) const RAW_FILE: Move =
    Move { source: transfer_file, period: FILE, sink: Sink::Read(read_chunks), ..RAW };

/// The name of an engine, and the move, copy or function that the engine runs.
pub(crate) type Named<T> = (&'static str, T);

// ---------------------------------------------------------------- work

/// A file in the page cache → a pipe → a process that reads every byte.
pub(crate) const FILE_TO_READ: [Named<Move>; 4] = [
    ("std", Move { source: read_and_write, ..STD_FILE }),
    ("std-vec", Move { source: read_and_write, vec: true, ..STD_FILE }),
    ("std-copy", STD_FILE),
    ("rawpipe", RAW_FILE),
];

/// A process that generates bytes → a pipe → a process that moves the bytes to an empty file.
pub(crate) const PIPE_TO_FILE: [Named<Move>; 5] = {
    const fn by(mover: Mover) -> Move {
        Move { sink: Sink::File(mover), ..STD_FILLED }
    }
    [
        ("std", by(std_read_and_write)),
        ("std-vec", Move { vec: true, ..by(std_read_and_write) }),
        ("std-copy", by(io_copy_to_file)),
        ("rawpipe", by(transfer_all)),
        ("rawpipe-large", Move { link: large_pipe, ..by(transfer_all) }),
    ]
};

/// A process that generates bytes → a pipe → the measured process → a pipe → a process that reads.
pub(crate) const PIPE_TO_PIPE: [Named<Move>; 5] = {
    const fn by(mover: Mover) -> Move {
        Move { middle: Some((mover, 64 * KIB)), ..STD_FILLED }
    }
    [
        ("std", by(std_read_and_write)),
        ("std-vec", Move { vec: true, ..by(std_read_and_write) }),
        ("std-copy", by(io_copy_pipes)),
        ("rawpipe", by(transfer_all)),
        ("rawpipe-large", Move { link: large_pipe, ..by(transfer_all) }),
    ]
};

/// The moves of [`PIPE_TO_PIPE`], except `rawpipe-large`, over Unix sockets instead of pipes.
pub(crate) const SOCKET_TO_SOCKET: [Named<Move>; 4] = {
    const fn by(mover: Mover) -> Move {
        Move {
            link: socket_pair,
            source: fill_and_write::<UnixStream>,
            middle: Some((mover, 64 * KIB)),
            sink: Sink::Read(read::<UnixStream>),
            ..STD
        }
    }
    [
        ("std", by(std_read_and_write)),
        ("std-vec", Move { vec: true, ..by(std_read_and_write) }),
        ("std-copy", by(io_copy_sockets)),
        ("rawpipe", by(transfer_all)),
    ]
};

/// A process that generates bytes → a pipe → the measured process → two pipes → two processes that read.
pub(crate) const FANOUT: [Named<Move>; 3] = [
    ("std", Move { middle: Some((std_fanout, 64 * KIB)), ..STD_FILLED }),
    ("std-vec", Move { middle: Some((std_fanout, 64 * KIB)), vec: true, ..STD_FILLED }),
    ("rawpipe", Move { link: large_pipe, middle: Some((raw_fanout, 0)), ..STD_FILLED }),
];

/// A file → an empty file, copied by this process. Both files are in `/dev/shm` if possible.
pub(crate) const FILE_TO_FILE: [Named<Copy>; 4] = [
    ("std", Copy { copy: read_and_write_files, chunk: 128 * KIB, vec: false }),
    ("std-vec", Copy { copy: read_and_write_files, chunk: 128 * KIB, vec: true }),
    ("std-copy", Copy { copy: io_copy_files, chunk: 0, vec: false }),
    ("rawpipe", Copy { copy: transfer_files, chunk: 0, vec: false }),
];

// ---------------------------------------------------------------- limits

/// The same bytes, sent repeatedly → a pipe → the memory of a process that does not examine the bytes.
pub(crate) const MEM_TO_READ: [Named<Move>; 5] = [
    ("std", unread(STD)),
    ("std-vec", Move { vec: true, ..unread(STD) }),
    ("rawpipe", unread(CHUNKS)),
    ("rawpipe-vmsplice-afterread", unread(CHUNKS_AFTER_READ)),
    ("rawpipe-memfd-afterread", unread(CHUNKS_MEMFD_AFTER_READ)),
];

/// The same bytes, sent repeatedly → a pipe → discarded. No engine uses the buffer that [`Move::vec`]
/// replaces, so `std-vec` is not listed.
pub(crate) const MEM_TO_NULL: [Named<Move>; 3] = [
    ("std", Move { sink: Sink::Null(io_copy_to_file), ..STD }),
    ("rawpipe", Move { sink: Sink::Null(transfer_all), ..CHUNKS }),
    ("rawpipe-vmsplice-afterread", Move { sink: Sink::Null(transfer_all), ..CHUNKS_AFTER_READ }),
];

/// A file in the page cache → a pipe → discarded.
pub(crate) const FILE_TO_NULL: [Named<Move>; 4] = {
    const STD_NULL: Move = Move { sink: Sink::Null(io_copy_to_file), ..STD_FILE };
    [
        ("std", Move { source: read_and_write, ..STD_NULL }),
        ("std-vec", Move { source: read_and_write, vec: true, ..STD_NULL }),
        ("std-copy", STD_NULL),
        ("rawpipe", Move { sink: Sink::Null(transfer_all), ..RAW_FILE }),
    ]
};

/// A file, sent with `transfer` → a pipe → the measured process → a pipe → discarded.
pub(crate) const PIPES_TO_NULL: [Named<Move>; 4] = {
    const fn by(mover: Mover) -> Move {
        Move {
            source: feed,
            period: FILE,
            sink: Sink::Null(drain),
            middle: Some((mover, 64 * KIB)),
            ..STD
        }
    }
    [
        ("std", by(std_read_and_write)),
        ("std-vec", Move { vec: true, ..by(std_read_and_write) }),
        ("std-copy", by(io_copy_pipes)),
        ("rawpipe", Move { link: large_pipe, ..by(transfer_all) }),
    ]
};

/// Returns the move with [`Sink::Unread`] instead of [`Sink::Read`].
pub(crate) const fn unread(work: Move) -> Move {
    match work.sink {
        Sink::Read(read) => Move { sink: Sink::Unread(read), ..work },
        _ => work,
    }
}
