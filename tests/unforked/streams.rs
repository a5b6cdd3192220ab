//! Tests of long streams for every combination of source kind and sink kind. No byte may be lost, duplicated
//! or reordered.
//!
//! `RAWPIPE_TRANSFER_BYTES` sets the length in bytes. The default is one byte less than 16 MiB. Under tools
//! and emulators, the default is one byte less than 1.25 MiB.
#![cfg(all(feature = "std", feature = "transfer"))]

use crate::common;
use rawpipe::fd::OwnedFd;
use rawpipe::transfer::{FanoutSink, fanout, transfer};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::thread::Scope;
use std::{env, thread};

#[derive(Clone, Copy, Debug)]
enum Kind {
    File,
    Append,
    Pipe,
    Socket,
}

/// Returns the length of the streams. The default length is not a multiple of the page size.
fn length() -> usize {
    let usual = if common::slow() { (5 << 18) - 1 } else { (16 << 20) - 1 };
    env::var("RAWPIPE_TRANSFER_BYTES")
        .map_or(usual, |bytes| bytes.parse().expect("a number of bytes"))
}

/// Returns the blocks of a stream of `len` bytes. Every block has different contents.
fn blocks(len: usize) -> impl Iterator<Item = Vec<u8>> {
    const BLOCK: usize = 64 << 10;
    (0..len.div_ceil(BLOCK)).map(move |index| {
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ index as u64;
        let mut block = vec![0; BLOCK];
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        block.truncate(len - index * BLOCK);
        block
    })
}

fn send(mut to: impl Write, len: usize) {
    blocks(len).for_each(|block| to.write_all(&block).unwrap());
}

/// Checks the bytes of the stream and its end of file.
fn check(mut from: impl Read, len: usize) {
    let mut arrived = Vec::new();
    for (index, block) in blocks(len).enumerate() {
        arrived.resize(block.len(), 0);
        from.read_exact(&mut arrived).unwrap();
        assert!(arrived == block, "a difference in block {index}");
    }
    assert_eq!(from.read(&mut [0]).unwrap(), 0);
}

/// Creates a file without a name in the temporary directory.
fn scratch(append: bool) -> File {
    let path = env::temp_dir().join(common::tmp_path().file_name().unwrap());
    drop(File::create_new(&path).unwrap());
    let file = File::options().read(true).append(append).write(!append).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

fn source<'scope>(kind: Kind, len: usize, scope: &'scope Scope<'scope, '_>) -> OwnedFd {
    match kind {
        Kind::File | Kind::Append => {
            let mut file = scratch(false);
            send(&file, len);
            file.rewind().unwrap();
            file.into()
        }
        Kind::Pipe => {
            let (reader, writer) = rawpipe::pipe().unwrap();
            scope.spawn(move || send(writer, len));
            reader.into()
        }
        Kind::Socket => {
            let (near, far) = UnixStream::pair().unwrap();
            scope.spawn(move || send(far, len));
            near.into()
        }
    }
}

/// Returns a sink. For a pipe or a socket, another thread checks the bytes. For a file, the caller must check
/// the returned file after the transfer.
fn sink<'scope>(
    kind: Kind,
    len: usize,
    scope: &'scope Scope<'scope, '_>,
) -> (OwnedFd, Option<File>) {
    match kind {
        Kind::File | Kind::Append => {
            let file = scratch(matches!(kind, Kind::Append));
            (file.try_clone().unwrap().into(), Some(file))
        }
        Kind::Pipe => {
            let (reader, writer) = rawpipe::pipe().unwrap();
            scope.spawn(move || check(reader, len));
            (writer.into(), None)
        }
        Kind::Socket => {
            let (near, far) = UnixStream::pair().unwrap();
            scope.spawn(move || check(far, len));
            (near.into(), None)
        }
    }
}

fn check_file(file: Option<File>, len: usize) {
    if let Some(mut file) = file {
        file.rewind().unwrap();
        check(file, len);
    }
}

#[test]
fn transfer_of_a_long_stream_loses_nothing() {
    let len = length();
    for from in [Kind::File, Kind::Pipe, Kind::Socket] {
        for to in [Kind::File, Kind::Append, Kind::Pipe, Kind::Socket] {
            let arrived = thread::scope(|scope| {
                let source = source(from, len, scope);
                let (sink, arrived) = sink(to, len, scope);
                let done = transfer(&source, &sink)
                    .unwrap_or_else(|error| panic!("{from:?} → {to:?}: {error}"));
                assert_eq!(done.bytes(), len as u64, "{from:?} → {to:?}");
                arrived
            });
            check_file(arrived, len);
        }
    }
}

/// Three transfers in series, like `pump FILE | pump | pump > out`, lose no byte.
#[test]
fn transfer_three_in_a_row_lose_nothing() {
    let len = length();
    let arrived = thread::scope(|scope| {
        let source = source(Kind::File, len, scope);
        let (first, to_first) = rawpipe::pipe().unwrap();
        let (second, to_second) = rawpipe::pipe().unwrap();
        let (sink, arrived) = sink(Kind::File, len, scope);
        scope.spawn(move || transfer(&source, &to_first).unwrap());
        scope.spawn(move || transfer(&first, &to_second).unwrap());
        assert_eq!(transfer(&second, &sink).unwrap().bytes(), len as u64);
        arrived
    });
    check_file(arrived, len);
}

#[test]
fn fanout_of_a_long_stream_loses_nothing() {
    let len = length();
    for from in [Kind::File, Kind::Pipe] {
        let arrived = thread::scope(|scope| {
            let source = source(from, len, scope);
            let (file, arrived) = sink(Kind::File, len, scope);
            let (pipe, _) = sink(Kind::Pipe, len, scope);
            let mut sinks = [&file, &pipe].map(FanoutSink::new);
            assert_eq!(fanout(&source, &mut sinks).unwrap().bytes(), len as u64, "{from:?}");
            assert!(sinks.iter_mut().all(|sink| sink.take_error().is_none()), "{from:?}");
            arrived
        });
        check_file(arrived, len);
    }
}
