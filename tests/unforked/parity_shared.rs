//! Uses the traits of std to compare shared chunks with pipes. The bytes, counts, ends of file and kinds of
//! error must be equal.
#![cfg(all(feature = "std", feature = "transfer"))]

use crate::common;
use crate::parity::{raw_ends, std_ends};
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use std::io::{BufRead, BufReader, Read, Write};

/// Runs one sequence of operations on blocking ends, and records the results. No operation waits, because
/// each operation finds the bytes or the space that it needs. Each direct call of `write` or `read` moves at
/// most 1000 bytes, which is the length of a shared chunk.
fn story_that_waits(reader: impl Read, mut writer: impl Write) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: &str, result: std::io::Result<usize>| {
        told.push(match result {
            Ok(count) => format!("{what}: {count}"),
            Err(error) => format!("{what}: {:?}", error.kind()),
        });
    };
    let mut reader = reader;
    let mut buf = vec![0; 5000];
    tell("write", writer.write(b"hello"));
    tell("write nothing", writer.write(b""));
    tell("flush", writer.flush().map(|()| 0));
    tell("read nothing", reader.read(&mut []));
    tell("read part", reader.read(&mut buf[..3]));
    tell("read rest", reader.read(&mut buf));
    tell("write all", writer.write_all(&[7; 3500]).map(|()| 3500));
    tell("read exactly", reader.read_exact(&mut buf[..3400]).map(|()| 3400));
    tell("read exactly the rest", reader.read_exact(&mut buf[..100]).map(|()| 100));
    assert!(buf[..100] == [7; 100]);
    tell("write lines", writer.write_all(b"one\ntwo\n\nand more").map(|()| 18));
    let (mut lines, mut line) = (BufReader::with_capacity(10, &mut reader), String::new());
    tell("read a line", lines.read_line(&mut line));
    tell("read a line", lines.read_line(&mut line));
    assert_eq!(line, "one\ntwo\n");
    drop(writer);
    let mut rest = Vec::new();
    tell("read to end", lines.read_to_end(&mut rest));
    assert_eq!(rest, b"\nand more");
    drop(lines);
    tell("read after the end", reader.read(&mut buf));
    tell("read exactly after the end", reader.read_exact(&mut buf[..1]).map(|()| 1));
    told
}

/// Returns a pair of shared halves, or `None` if this system cannot create pairs.
fn shared_ends() -> Option<(SharedReader, SharedWriter)> {
    match SharedBuilder::new().chunk(1000).build() {
        Ok(pair) => Some(pair),
        Err(errno) => {
            assert_eq!(errno, rawpipe::Errno::EOPNOTSUPP);
            common::skip("parity_shared", "no memory that is wiped in a forked child");
            None
        }
    }
}

#[test]
fn parity_shared_tells_the_same_story_as_a_pipe() {
    let Some((reader, writer)) = shared_ends() else { return };
    let ours = story_that_waits(reader, writer);
    let (reader, writer) = std_ends(false);
    assert_eq!(ours, story_that_waits(reader, writer));
    let (reader, writer) = raw_ends(false);
    assert_eq!(ours, story_that_waits(reader, writer));
}

#[test]
fn parity_shared_broken_pipe_is_the_same() {
    let Some((mut reader, mut writer)) = shared_ends() else { return };
    // The reader must be used once before it is dropped. If the reader had never been used, the writer would
    // fail only when it had to wake the reader.
    writer.write_all(b"x").unwrap();
    reader.read_exact(&mut [0]).unwrap();
    drop(reader);
    let ours = writer.write(b"x").unwrap_err();
    let (reader, mut writer) = std_ends(false);
    drop(reader);
    let theirs = writer.write(b"x").unwrap_err();
    assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), theirs.raw_os_error()));
}

#[test]
fn parity_shared_buffer_is_that_of_a_buffered_pipe() {
    let Some((mut reader, mut writer)) = shared_ends() else { return };
    let (std_reader, mut std_writer) = std_ends(false);
    let mut std_reader = BufReader::new(std_reader);
    let text = b"a line\nanother one\nhalf a line";
    writer.write_all(text).unwrap();
    std_writer.write_all(text).unwrap();
    drop((writer, std_writer));
    assert_eq!(reader.fill_buf().unwrap(), std_reader.fill_buf().unwrap());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let found = (reader.read_until(b'\n', &mut ours), std_reader.read_until(b'\n', &mut theirs));
    assert_eq!((found.0.unwrap(), ours), (found.1.unwrap(), theirs));
    reader.consume(3);
    std_reader.consume(3);
    let ours: Vec<_> = reader.by_ref().lines().map(Result::unwrap).collect();
    assert_eq!(ours, std_reader.by_ref().lines().map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(reader.fill_buf().unwrap(), std_reader.fill_buf().unwrap(), "the end");
}

#[test]
fn parity_shared_io_copy_from_and_to_a_pipe() {
    let data: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let Some((mut reader, mut writer)) = shared_ends() else { return };
    let (mut first, mut into) = std_ends(false);
    let (mut last, mut out) = std_ends(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            into.write_all(&data).unwrap();
            drop(into);
        });
        scope.spawn(move || {
            assert_eq!(std::io::copy(&mut first, &mut writer).unwrap(), 300_000);
        });
        scope.spawn(move || {
            assert_eq!(std::io::copy(&mut reader, &mut out).unwrap(), 300_000);
        });
        let mut back = Vec::new();
        last.read_to_end(&mut back).unwrap();
        assert!(back == data);
    });
}
