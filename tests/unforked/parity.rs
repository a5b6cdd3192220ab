//! Runs the same operations with std and with this crate. The bytes, counts, ends of file and kinds of error
//! must be equal.
#![cfg(feature = "std")]

use rawpipe::fd::OwnedFd;
use rawpipe::pipe::Builder;
use rawpipe::{PipeReader, PipeWriter};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};

/// Returns the ends of a pipe as std's `File`s. The operations on these files use the C library.
pub(crate) fn std_ends(nonblocking: bool) -> (File, File) {
    let builder = if nonblocking { Builder::new().nonblocking() } else { Builder::new() };
    let (reader, writer) = builder.build().unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

pub(crate) fn raw_ends(nonblocking: bool) -> (PipeReader, PipeWriter) {
    let (reader, writer) = std_ends(nonblocking);
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

/// Runs one sequence of operations on a pair of ends, and records the results. The records of all runs are
/// compared.
fn story(mut reader: impl Read, mut writer: impl Write, capacity: usize) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: &str, result: std::io::Result<usize>| {
        told.push(match result {
            Ok(count) => format!("{what}: {count}"),
            Err(error) => format!("{what}: {:?} {:?}", error.kind(), error.raw_os_error()),
        });
    };
    let mut buf = vec![0; capacity];
    tell("read empty", reader.read(&mut buf));
    tell("write", writer.write(b"hello"));
    tell("write nothing", writer.write(b""));
    tell("read part", reader.read(&mut buf[..3]));
    tell("read rest", reader.read(&mut buf));
    tell("read exactly too much", {
        writer.write_all(b"abc").unwrap();
        reader.read_exact(&mut buf[..5]).map(|()| 5)
    });
    tell("write too much", writer.write(&vec![7; 2 * capacity]));
    tell("write more", writer.write(b"x"));
    tell("write all", writer.write_all(b"x").map(|()| 1));
    tell("flush", writer.flush().map(|()| 0));
    tell("read all there is", reader.read_exact(&mut buf).map(|()| capacity));
    assert!(buf.iter().all(|&byte| byte == 7));
    writer.write_all(b"tail").unwrap();
    drop(writer);
    let mut rest = Vec::new();
    tell("read to end", reader.read_to_end(&mut rest));
    assert_eq!(rest, b"tail");
    tell("read after the end", reader.read(&mut buf));
    tell("read exactly after the end", reader.read_exact(&mut buf[..1]).map(|()| 1));
    told
}

#[test]
fn parity_nonblocking_story_is_the_same() {
    let (reader, writer) = raw_ends(true);
    let capacity = reader.capacity().unwrap();
    let ours = story(reader, writer, capacity);
    let (reader, writer) = std_ends(true);
    assert_eq!(ours, story(reader, writer, capacity));
    let (reader, writer) = raw_ends(true);
    assert_eq!(ours, story(&reader, writer, capacity), "through a reference");
}

#[test]
fn parity_broken_pipe_is_the_same() {
    let (reader, writer) = raw_ends(false);
    drop(reader);
    let ours = Write::write(&mut &writer, b"x").unwrap_err();
    let (reader, mut writer) = std_ends(false);
    drop(reader);
    let theirs = writer.write(b"x").unwrap_err();
    assert_eq!(ours.kind(), ErrorKind::BrokenPipe);
    assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), theirs.raw_os_error()));
}

#[test]
fn parity_io_copy_between_both_worlds() {
    let data: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (mut reader, mut writer) = raw_ends(false);
    let (mut std_reader, mut std_writer) = std_ends(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            Write::write_all(&mut writer, &data).unwrap();
            drop(writer);
        });
        scope.spawn(|| {
            assert_eq!(std::io::copy(&mut reader, &mut std_writer).unwrap(), 300_000);
            drop(std_writer);
        });
        let mut back = Vec::new();
        std_reader.read_to_end(&mut back).unwrap();
        assert!(back == data);
    });
}
