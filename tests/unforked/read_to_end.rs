//! Tests of reads into a `Vec` until end of file. The tests use lengths and capacities near those at which
//! the buffer grows.
#![cfg(feature = "std")]

use crate::common::bytes::data;
use crate::common::{self, set_output, terminal, terminals};
use rawpipe::pipe::{Builder, Capacity, PIPE_BUF};
use rawpipe::{Errno, PipeWriter, io};
use std::io::{Read, Write};
use std::thread;

/// Returns the lengths at which the buffer grows, is full, or uses huge pages. Also returns the adjacent
/// lengths.
fn lengths() -> Vec<usize> {
    let (page, pipe) = (4096, 65_536);
    let grown = 2 * page + pipe + page; // the growth after the initial two pages
    let around = [page, 2 * page, 4 * page, pipe, grown, 2 * pipe, 2 * grown + pipe + page];
    let large = [1 << 20, (2 << 20) - 16, 2 << 20, 3 << 20, 5_000_000];
    let mut all = vec![0, 1, 100];
    all.extend(around.into_iter().flat_map(|len| [len - 1, len, len + 1]));
    all.extend(large.into_iter().take(if common::slow() { 1 } else { 5 }));
    all
}

/// Writes `bytes` from another thread, in pieces of at most `piece` bytes.
fn writing(writer: PipeWriter, bytes: Vec<u8>, piece: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || bytes.chunks(piece).for_each(|part| writer.write_all(part).unwrap()))
}

#[test]
fn read_to_end_of_every_length_in_pieces_of_several() {
    for len in lengths() {
        let bytes = data(len);
        for piece in [1000, 4096, 65_536, 1 << 20] {
            let (reader, writer) = rawpipe::pipe().unwrap();
            let thread = writing(writer, bytes.clone(), piece);
            let mut all = Vec::new();
            assert_eq!(reader.read_to_end(&mut all), Ok(len));
            thread.join().unwrap();
            assert!(all == bytes, "{len} in pieces of {piece}");
            assert!(all.capacity() <= 2 * len.max(4096) + 70_000, "{len}: {}", all.capacity());
        }
        // One call reads as many bytes of a file as fit in the buffer.
        let mut all = Vec::new();
        assert_eq!(io::read_to_end(common::file(&bytes), &mut all), Ok(len));
        assert!(all == bytes, "{len} of a file");
    }
}

#[test]
fn read_to_end_appends_and_uses_the_room_there_is() {
    let bytes = data(300_000);
    let (little, some) = (vec![7; 5], vec![9; 70_000]);
    for before in [&[][..], &little, &some] {
        for room in [0, 1, PIPE_BUF - 1, PIPE_BUF, PIPE_BUF + 1, 65_536, 310_000, 3 << 20] {
            let (reader, writer) = rawpipe::pipe().unwrap();
            let thread = writing(writer, bytes.clone(), 50_000);
            let mut all = Vec::with_capacity(before.len() + room);
            all.extend_from_slice(before);
            let (place, capacity) = (all.as_ptr(), all.capacity());
            assert_eq!(reader.read_to_end(&mut all), Ok(bytes.len()));
            thread.join().unwrap();
            assert!(all.starts_with(before) && all[before.len()..] == bytes, "room for {room}");
            if room > bytes.len() + PIPE_BUF {
                assert_eq!((all.as_ptr(), all.capacity()), (place, capacity));
            }
        }
    }
}

/// At each length, the buffer keeps the bytes that were read before `EAGAIN`, and the next call appends to
/// these bytes.
#[test]
fn read_to_end_nonblocking_keeps_what_came_eagain() {
    for len in lengths().into_iter().filter(|len| *len <= 1 << 20) {
        let bytes = data(len + 70_000);
        let (first, second) = bytes.split_at(len);
        let (reader, writer) = Builder::new().capacity(Capacity::Max).build().unwrap();
        if len + 70_000 > writer.capacity().unwrap() {
            continue;
        }
        reader.set_nonblocking(true).unwrap();
        let mut all = b"before".to_vec();
        for part in [first, second] {
            writer.write_all(part).unwrap();
            assert_eq!(reader.read_to_end(&mut all), Err(Errno::EAGAIN));
            assert_eq!(reader.available(), Ok(0));
        }
        drop(writer);
        assert_eq!(reader.read_to_end(&mut all), Ok(0));
        assert!(all[..6] == *b"before" && all[6..] == bytes, "{len}");
    }
}

/// If the peer of a terminal is closed, reads first return the unread bytes, and then fail.
#[test]
fn read_to_end_keeps_what_came_before_an_error_eio() {
    if !terminals() {
        return;
    }
    let (side, keyboard) = terminal();
    set_output(&side, false);
    let bytes = vec![b'x'; 2000];
    (&side).write_all(&bytes).unwrap();
    let mut all = b"before".to_vec();
    let mut some = [0; 500];
    (&keyboard).read_exact(&mut some).unwrap();
    drop(side);
    assert_eq!(io::read_to_end(&keyboard, &mut all), Err(Errno::EIO));
    assert!(all[..6] == *b"before" && all[6..] == bytes[500..], "{} bytes", all.len());
}

/// Packets arrive whole, although a read into a buffer shorter than a packet would discard the end of the
/// packet.
#[test]
fn read_to_end_of_packets_loses_none() {
    let bytes = data(1_000_000);
    for before in [0, 1, 4095, 4096, 4097] {
        let (reader, writer) = Builder::new().packet().build().unwrap();
        let thread = thread::spawn({
            let bytes = bytes.clone();
            move || {
                let (mut rest, mut len) = (&bytes[..], 1);
                while !rest.is_empty() {
                    len = (len * 31 + 977) % PIPE_BUF + 1;
                    let (packet, tail) = rest.split_at(len.min(rest.len()));
                    writer.write_all(packet).unwrap();
                    rest = tail;
                }
            }
        });
        let mut all = Vec::with_capacity(before + 8192);
        all.resize(before, 1);
        assert_eq!(reader.read_to_end(&mut all), Ok(bytes.len()));
        thread.join().unwrap();
        assert!(all[before..] == bytes, "{before} bytes before");
    }
}
