//! Tests of single calls of `splice`, `tee`, `sendfile` and `copy_file_range`.
#![cfg(feature = "std")]

use crate::common::bytes::waiting_in;
use crate::common::{self, append_file, closed_fd, file};
use rawpipe::fd::AsFd;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, copy_file_range, sendfile, splice, tee};
use rawpipe::{Errno, Result, io};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;

const NONE: SpliceFlags = SpliceFlags::empty();
const NOW: SpliceFlags = SpliceFlags::NONBLOCK;

fn move_all(from: impl AsFd, to: impl AsFd) -> Result<usize> {
    splice(from, None, to, None, usize::MAX, NONE)
}

#[test]
fn splice_file_to_pipe_to_file_moves_both_positions() {
    let mut source = file(b"0123456789");
    let mut target = file(b"");
    source.seek(SeekFrom::Start(2)).unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(splice(&source, None, &writer, None, 5, NONE), Ok(5));
    assert_eq!(source.stream_position().unwrap(), 7);
    assert_eq!(splice(&reader, None, &target, None, 100, NONE), Ok(5));
    assert_eq!(target.stream_position().unwrap(), 5);
    target.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    target.read_to_string(&mut text).unwrap();
    assert_eq!(text, "23456");
}

#[test]
fn splice_offsets_advance_and_positions_stay() {
    let mut source = file(b"0123456789");
    let mut target = file(b"..........");
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (mut from, mut to) = (5, 8);
    assert_eq!(splice(&source, Some(&mut from), &writer, None, 2, NONE), Ok(2));
    assert_eq!((from, source.stream_position().unwrap()), (7, 0));
    assert_eq!(splice(&reader, None, &target, Some(&mut to), 2, NONE), Ok(2));
    assert_eq!((to, target.stream_position().unwrap()), (10, 0));
    let mut text = String::new();
    target.read_to_string(&mut text).unwrap();
    assert_eq!(text, "........56");
}

#[test]
fn splice_beyond_the_end_of_a_file_leaves_a_hole() {
    let mut target = file(b"");
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"end").unwrap();
    assert_eq!(splice(&reader, None, &target, Some(&mut 4), 3, NONE), Ok(3));
    let mut bytes = Vec::new();
    target.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"\0\0\0\0end");
}

#[test]
fn splice_offset_above_the_signed_maximum_is_refused() {
    let source = file(b"0123456789");
    let (reader, writer) = rawpipe::pipe().unwrap();
    for offset in [1 << 63, u64::MAX] {
        let mut place = offset;
        let refused = splice(&source, Some(&mut place), &writer, None, 5, NONE);
        assert_eq!(refused, Err(Errno::EINVAL), "{offset:#x}");
        assert_eq!(place, offset);
    }
    assert_eq!(reader.available(), Ok(0));
}

#[test]
fn splice_pipe_to_pipe_keeps_order() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (next_reader, next_writer) = rawpipe::pipe().unwrap();
    let data: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut back = Vec::new();
    for chunk in data.chunks(777) {
        writer.write_all(chunk).unwrap();
        let mut moved = 0;
        while moved < chunk.len() {
            moved += move_all(&reader, &next_writer).unwrap();
        }
        assert_eq!(moved, chunk.len());
        back.extend(waiting_in(&next_reader));
    }
    assert!(back == data);
}

#[test]
fn splice_through_sockets() {
    let (left, mut far_left) = UnixStream::pair().unwrap();
    let (right, mut far_right) = UnixStream::pair().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    far_left.write_all(b"over the bridge").unwrap();
    assert_eq!(move_all(&left, &writer), Ok(15));
    assert_eq!(move_all(&reader, &right), Ok(15));
    let mut bytes = [0; 15];
    far_right.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"over the bridge");
    drop(far_left);
    assert_eq!(move_all(&left, &writer), Ok(0));
}

#[test]
fn splice_from_proc_and_dev() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let wanted = std::fs::read("/proc/version").unwrap();
    let source = File::open("/proc/version").unwrap();
    match splice(&source, None, &writer, None, usize::MAX, NONE) {
        // If the kernel cannot splice from a file, the call fails with `EINVAL`. Otherwise `splice` moves the
        // same bytes that a read would return.
        Err(errno) => assert_eq!(errno, Errno::EINVAL),
        Ok(count) => {
            assert_eq!(count, wanted.len());
            assert_eq!(waiting_in(&reader), wanted);
        }
    }
    let zero = File::open("/dev/zero").unwrap();
    match splice(&zero, None, &writer, None, 100, NONE) {
        Err(errno) => assert_eq!(errno, Errno::EINVAL), // in Linux 6.5 and 6.6
        Ok(count) => assert_eq!(waiting_in(&reader), vec![0; count]),
    }
    let null = File::open("/dev/null").unwrap();
    // Depending on the kernel version, the call reaches end of file or fails. It never moves bytes.
    let answer = splice(&null, None, &writer, None, 100, NONE);
    assert!(matches!(answer, Ok(0) | Err(Errno::EINVAL)), "{answer:?}");
    assert_eq!(reader.available(), Ok(0));
}

#[test]
fn splice_to_dev_null_discards() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    writer.write_all(&[1; 10_000]).unwrap();
    let mut moved = 0;
    while moved < 10_000 {
        moved += splice(&reader, None, &null, None, usize::MAX, NONE).unwrap();
    }
    assert_eq!((moved, reader.available()), (10_000, Ok(0)));
}

#[test]
fn splice_length_beyond_any_is_clamped() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (next_reader, next_writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"abc").unwrap();
    assert_eq!(splice(&reader, None, &next_writer, None, usize::MAX, NONE), Ok(3));
    assert_eq!(tee(&next_reader, &writer, usize::MAX, NONE), Ok(3));
    assert_eq!(splice(&reader, None, &next_writer, None, 0, NONE), Ok(0));
    assert_eq!((reader.available(), next_reader.available()), (Ok(3), Ok(3)));
}

#[test]
fn splice_empty_or_full_pipe_nonblocking_eagain() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (next_reader, next_writer) = Builder::new().nonblocking().build().unwrap();
    assert_eq!(splice(&reader, None, &next_writer, None, 9, NOW), Err(Errno::EAGAIN));
    writer.write_all(b"x").unwrap();
    let capacity = next_writer.capacity().unwrap();
    next_writer.write_all(&vec![0; capacity]).unwrap();
    assert_eq!(splice(&reader, None, &next_writer, None, 9, NOW), Err(Errno::EAGAIN));
    assert_eq!(reader.available(), Ok(1), "nothing is lost");
    assert_eq!(next_reader.available(), Ok(capacity));
    drop(writer);
    assert_eq!(waiting_in(&reader), b"x");
    let (_other, other_writer) = rawpipe::pipe().unwrap();
    assert_eq!(splice(&reader, None, &other_writer, None, 9, NOW), Ok(0), "no writer is left");
}

#[test]
fn splice_without_reader_epipe() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (gone, next_writer) = rawpipe::pipe().unwrap();
    drop(gone);
    writer.write_all(b"x").unwrap();
    assert_eq!(move_all(&reader, &next_writer), Err(Errno::EPIPE));
    assert_eq!(tee(&reader, &next_writer, 1, NONE), Err(Errno::EPIPE));
    assert_eq!(reader.available(), Ok(1), "nothing is lost");
}

#[test]
fn splice_what_it_cannot_einval() {
    let source = file(b"0123456789");
    let other = file(b"");
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(move_all(&source, &other), Err(Errno::EINVAL), "neither is a pipe");
    assert_eq!(move_all(&reader, &writer), Err(Errno::EINVAL), "the same pipe");
    assert_eq!(tee(&reader, &writer, 1, NONE), Err(Errno::EINVAL), "the same pipe");
    assert_eq!(tee(&source, &writer, 1, NONE), Err(Errno::EINVAL), "not a pipe");
    assert_eq!(tee(&reader, &other, 1, NONE), Err(Errno::EINVAL), "not a pipe");

    let append = append_file();
    assert_eq!(move_all(&reader, &append), Err(Errno::EINVAL), "append mode");
    let unknown = SpliceFlags::from_bits_retain(1 << 20);
    let (_next_reader, next_writer) = rawpipe::pipe().unwrap();
    assert_eq!(splice(&reader, None, &next_writer, None, 1, unknown), Err(Errno::EINVAL));
    assert_eq!(reader.available(), Ok(1), "nothing is lost");
}

#[test]
fn splice_offset_for_a_pipe_espipe() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (_next_reader, next_writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let source = file(b"0123456789");
    let none: Option<&mut u64> = None;
    assert_eq!(splice(&reader, Some(&mut 0), &next_writer, none, 1, NONE), Err(Errno::ESPIPE));
    assert_eq!(splice(&source, None, &writer, Some(&mut 0), 1, NONE), Err(Errno::ESPIPE));
}

#[test]
fn splice_wrong_direction_or_closed_ebadf() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (next_reader, next_writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let bad = Err(Errno::EBADF);
    assert_eq!(move_all(&writer, &next_writer), bad);
    assert_eq!(move_all(&reader, &next_reader), bad);
    assert_eq!(tee(&writer, &next_writer, 1, NONE), bad);
    assert_eq!(tee(&reader, &next_reader, 1, NONE), bad);
    assert_eq!(move_all(closed_fd(), &next_writer), bad);
    assert_eq!(move_all(&reader, closed_fd()), bad);
    assert_eq!(tee(closed_fd(), &next_writer, 1, NONE), bad);
    assert_eq!(tee(&reader, closed_fd(), 1, NONE), bad);
    let write_only = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(move_all(&write_only, &next_writer), bad);
    let read_only = File::open("/dev/null").unwrap();
    assert_eq!(move_all(&reader, &read_only), bad);
}

#[test]
fn tee_duplicates_and_does_not_consume() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (copy_reader, copy_writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"abcdef").unwrap();
    assert_eq!(tee(&reader, &copy_writer, 4, NONE), Ok(4));
    assert_eq!(waiting_in(&copy_reader), b"abcd");
    // A second `tee` copies the same bytes again from the start.
    assert_eq!(tee(&reader, &copy_writer, 100, NONE), Ok(6));
    assert_eq!(waiting_in(&copy_reader), b"abcdef");
    assert_eq!(waiting_in(&reader), b"abcdef");
}

#[test]
fn tee_empty_or_full_nonblocking_eagain_and_end_of_file() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (_copy_reader, copy_writer) = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    assert_eq!(tee(&reader, &copy_writer, 9, NOW), Err(Errno::EAGAIN));
    writer.write_all(b"x").unwrap();
    copy_writer.write_all(&vec![0; copy_writer.capacity().unwrap()]).unwrap();
    assert_eq!(tee(&reader, &copy_writer, 9, NOW), Err(Errno::EAGAIN));
    assert_eq!(waiting_in(&reader), b"x");
    drop(writer);
    let (_next_reader, next_writer) = rawpipe::pipe().unwrap();
    assert_eq!(tee(&reader, &next_writer, 9, NONE), Ok(0));
}

#[test]
fn splice_full_by_slots_with_few_bytes() {
    // A spliced byte occupies a separate slot, so the pipe is full although `available` is far below
    // `capacity`.
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let source = file(&[7; 64]);
    let mut moved = 0;
    let full = loop {
        match splice(&source, None, &writer, None, 1, NOW) {
            Ok(count) => moved += count,
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, Errno::EAGAIN);
    let capacity = writer.capacity().unwrap();
    assert!(moved < 64 && moved < capacity, "{moved} bytes fill {capacity}");
    assert_eq!(waiting_in(&reader), vec![7; moved]);
    assert_eq!(io::is_nonblocking(&writer), Ok(true));
}

#[test]
fn sendfile_by_offset_or_by_position() {
    let mut source = file(b"0123456789");
    let (mut near, far) = UnixStream::pair().unwrap();
    let mut offset = 3;
    assert_eq!(sendfile(&source, Some(&mut offset), &far, 4), Ok(4));
    assert_eq!((offset, source.stream_position().unwrap()), (7, 0));
    assert_eq!(sendfile(&source, None, &far, usize::MAX), Ok(10));
    assert_eq!(source.stream_position().unwrap(), 10);
    assert_eq!(sendfile(&source, None, &far, 1), Ok(0));
    let mut arrived = [0; 14];
    near.read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"34560123456789");
    // The bytes are written at the position of the target file, regardless of the position of the source.
    let mut target = file(b"..........");
    target.seek(SeekFrom::Start(5)).unwrap();
    assert_eq!(sendfile(&source, Some(&mut 0), &target, 3), Ok(3));
    target.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    target.read_to_string(&mut text).unwrap();
    assert_eq!(text, ".....012..");
}

#[test]
fn sendfile_what_it_cannot() {
    let source = file(b"0123456789");
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let bad = Err(Errno::EBADF);
    assert_eq!(sendfile(closed_fd(), None, &writer, 1), bad);
    assert_eq!(sendfile(&source, None, closed_fd(), 1), bad);
    assert_eq!(sendfile(append_file(), None, &writer, 1), bad, "not open for reading");
    assert_eq!(sendfile(&source, None, &reader, 1), bad, "not open for writing");
    assert_eq!(sendfile(&reader, None, &writer, 1), Err(Errno::EINVAL), "a pipe as source");
    assert_eq!(sendfile(&source, None, append_file(), 1), Err(Errno::EINVAL), "append mode");
    let beyond = sendfile(&source, Some(&mut (1 << 63)), &writer, 1);
    assert_eq!(beyond, Err(Errno::EINVAL), "an offset above the signed maximum");
    let (gone, broken) = rawpipe::pipe().unwrap();
    drop(gone);
    assert_eq!(sendfile(&source, None, &broken, 1), Err(Errno::EPIPE));
    let (_full_reader, full) = Builder::new().nonblocking().build().unwrap();
    full.write_all(&vec![0; full.capacity().unwrap()]).unwrap();
    assert_eq!(sendfile(&source, None, &full, 1), Err(Errno::EAGAIN));
    assert_eq!(reader.available(), Ok(1));
}

#[test]
fn copy_file_range_by_offsets_or_by_positions() {
    let mut source = file(b"0123456789");
    let mut target = file(b"");
    let mut from = 3;
    match copy_file_range(&source, Some(&mut from), &target, None, 3) {
        Err(errno) => {
            assert!(matches!(errno, Errno::EXDEV | Errno::EOPNOTSUPP), "{errno}");
            return common::skip(
                "copy_file_range_by_offsets_or_by_positions",
                "not this file system",
            );
        }
        Ok(count) => assert_eq!(count, 3),
    }
    assert_eq!((from, source.stream_position().unwrap()), (6, 0));
    assert_eq!(target.stream_position().unwrap(), 3);
    assert_eq!(copy_file_range(&source, None, &target, None, usize::MAX), Ok(10));
    assert_eq!(source.stream_position().unwrap(), 10);
    assert_eq!(copy_file_range(&source, None, &target, None, 1), Ok(0));
    let mut to = 20;
    assert_eq!(copy_file_range(&source, Some(&mut 8), &target, Some(&mut to), 9), Ok(2));
    assert_eq!(to, 22);
    target.seek(SeekFrom::Start(0)).unwrap();
    let mut text = Vec::new();
    target.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"3450123456789\0\0\0\0\0\0\089");
}

#[test]
fn copy_file_range_what_it_cannot() {
    let (source, target) = (file(b"0123456789"), file(b""));
    let (reader, writer) = rawpipe::pipe().unwrap();
    let copy =
        |from: &dyn AsFd, to: &dyn AsFd| copy_file_range(from.as_fd(), None, to.as_fd(), None, 1);
    let (bad, invalid) = (Err(Errno::EBADF), Err(Errno::EINVAL));
    assert_eq!(copy(&closed_fd(), &target), bad);
    assert_eq!(copy(&source, &closed_fd()), bad);
    assert_eq!(copy(&source, &append_file()), bad, "append mode");
    assert_eq!(copy(&append_file(), &target), bad, "not open for reading");
    let read_only = File::open("/proc/self/exe").unwrap();
    assert_eq!(copy(&source, &read_only), bad, "not open for writing");
    assert_eq!(copy(&source, &writer), invalid, "to a pipe");
    assert_eq!(copy(&reader, &target), invalid, "from a pipe");
    let overlap = copy_file_range(&source, Some(&mut 0), &source, Some(&mut 2), 5);
    assert_eq!(overlap, invalid, "overlapping ranges of one file");
}
