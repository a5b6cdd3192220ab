//! Tests of pipes within one process: flags, capacity, packets, blocking, and end of file.
//!
//! No test in this file creates a process. Between fork and exec, a child holds copies of all pipe ends.
//! Readers in other tests would therefore reach end of file late. Tests of pipes that create processes are in
//! `tests/forked`.
#![cfg(feature = "std")]
#![allow(unsafe_code, reason = "fcntl by number, as a witness beside the crate's own wrappers")]

use crate::common;
use crate::common::nr;
use rawpipe::fd::{AsFd, AsRawFd, OwnedFd};
use rawpipe::pipe::{self, Builder, Capacity, PIPE_BUF};
use rawpipe::{Errno, PipeFlags, PipeReader, PipeWriter, io, pipe2, raw};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const F_GETFD: usize = 1;
const F_GETFL: usize = 3;

fn fcntl(fd: impl AsFd, operation: usize) -> u32 {
    let number = usize::try_from(fd.as_fd().as_raw_fd()).unwrap();
    // SAFETY: both operations take no argument and access no memory.
    let answer = unsafe { raw::syscall3(nr::FCNTL, number, operation, 0) };
    u32::try_from(answer).unwrap()
}

fn page() -> usize {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    reader.set_capacity(Capacity::Bytes(1)).unwrap()
}

fn nonblocking() -> (PipeReader, PipeWriter) {
    Builder::new().nonblocking().build().unwrap()
}

#[test]
fn pipe2_every_flag_combination_is_exact() {
    let known = [PipeFlags::CLOEXEC, PipeFlags::NONBLOCK, PipeFlags::DIRECT];
    for choice in 0..8 {
        let flags = (0..3)
            .filter(|bit| choice >> bit & 1 == 1)
            .fold(PipeFlags::empty(), |flags, bit| flags | known[bit]);
        let (reader, writer) = pipe2(flags).unwrap();
        let close_on_exec = u32::from(flags.contains(PipeFlags::CLOEXEC));
        assert_eq!(fcntl(&reader, F_GETFD), close_on_exec, "{flags:?}");
        assert_eq!(fcntl(&writer, F_GETFD), close_on_exec, "{flags:?}");

        // The status must consist of the flags, the access mode (0 or 1), and the bits that the kernel adds
        // for large files. Only the write end has packet mode.
        let large_file = fcntl(&reader, F_GETFL) & !PipeFlags::NONBLOCK.bits();
        assert_eq!(large_file & PipeFlags::DIRECT.bits(), 0, "{flags:?}");
        let status = flags.difference(PipeFlags::CLOEXEC);
        assert_eq!(
            fcntl(&reader, F_GETFL),
            large_file | status.difference(PipeFlags::DIRECT).bits(),
            "{flags:?}"
        );
        assert_eq!(fcntl(&writer, F_GETFL), 1 | large_file | status.bits(), "{flags:?}");

        let nonblocking = flags.contains(PipeFlags::NONBLOCK);
        assert_eq!(reader.is_nonblocking(), Ok(nonblocking));
        assert_eq!(writer.is_nonblocking(), Ok(nonblocking));
        assert_eq!(io::is_close_on_exec(&reader), Ok(close_on_exec == 1));
    }
}

#[test]
fn pipe2_unknown_flag_einval() {
    if common::emulated() {
        return common::skip(
            "pipe2_unknown_flag_einval",
            "the emulator drops unknown flags of pipe2",
        );
    }
    let flags = PipeFlags::CLOEXEC | PipeFlags::from_bits_retain(1 << 27);
    assert_eq!(pipe2(flags).unwrap_err(), Errno::EINVAL);
}

#[test]
fn pipe_bytes_arrive() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(writer.write(b"some bytes"), Ok(10));
    let mut buf = [0; 64];
    assert_eq!(reader.read(&mut buf), Ok(10));
    assert_eq!(&buf[..10], b"some bytes");
}

#[test]
fn read_wrong_direction_ebadf() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(rawpipe::read(&writer, &mut [0; 4]), Err(Errno::EBADF));
    assert_eq!(rawpipe::write(&reader, b"x"), Err(Errno::EBADF));
}

#[test]
fn read_empty_nonblocking_eagain() {
    let (reader, writer) = nonblocking();
    assert_eq!(reader.read(&mut [0; 4]), Err(Errno::EAGAIN));
    drop(writer);
    assert_eq!(reader.read(&mut [0; 4]), Ok(0));
}

#[test]
fn write_full_nonblocking_eagain_at_capacity() {
    let (reader, writer) = nonblocking();
    let capacity = writer.capacity().unwrap();
    let chunk = vec![7; page()];
    let mut total = 0;
    let errno = loop {
        match writer.write(&chunk) {
            Ok(count) => total += count,
            Err(errno) => break errno,
        }
    };
    assert_eq!(errno, Errno::EAGAIN);
    assert_eq!(total, capacity);
    assert_eq!(reader.available(), Ok(capacity));
    assert_eq!(writer.write(b"x"), Err(Errno::EAGAIN));
}

#[test]
fn write_larger_than_capacity_nonblocking_is_short() {
    let (reader, writer) = nonblocking();
    let capacity = writer.capacity().unwrap();
    let data = vec![1; capacity + 5000];
    assert_eq!(writer.write(&data), Ok(capacity));
    assert_eq!(reader.available(), Ok(capacity));
}

#[test]
fn write_into_part_full_nonblocking_is_short() {
    let (reader, writer) = nonblocking();
    let capacity = writer.capacity().unwrap();
    assert_eq!(writer.write(b"x"), Ok(1));
    let data = vec![2; capacity + 1];
    // Not every kernel appends more bytes to the page that holds the first byte.
    let count = writer.write(&data).unwrap();
    assert!(count < data.len() && count >= capacity - page(), "{count} of {capacity}");
    assert_eq!(reader.available(), Ok(count + 1));
}

#[test]
fn write_without_reader_epipe() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
    assert_eq!(writer.write(b""), Ok(0));
}

#[test]
fn pipe_is_full_by_slots_and_not_by_bytes() {
    let (reader, writer) = Builder::new().nonblocking().packet().build().unwrap();
    let slots = writer.capacity().unwrap() / page();
    for _ in 0..slots {
        assert_eq!(writer.write(b"x"), Ok(1));
    }
    assert_eq!(writer.write(b"x"), Err(Errno::EAGAIN));
    assert_eq!(reader.available(), Ok(slots));
}

#[test]
fn write_more_than_capacity_blocks_until_read() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let capacity = writer.capacity().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let data = vec![3; capacity + 1];
            assert_eq!(writer.write(&data), Ok(capacity + 1));
            done.store(true, Ordering::SeqCst);
        });
        while reader.available().unwrap() < capacity {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(50));
        assert!(!done.load(Ordering::SeqCst), "a full pipe took another byte");
        let mut data = Vec::new();
        assert_eq!(reader.read_to_end(&mut data), Ok(capacity + 1));
    });
    assert!(done.load(Ordering::SeqCst));
}

#[test]
fn pipe_16_mib_of_numbered_words_in_order() {
    const WORDS: u64 = 2 << 20;
    let (reader, writer) = rawpipe::pipe().unwrap();
    let sender = thread::spawn(move || {
        for block in 0..WORDS / 4096 {
            let words: Vec<u8> =
                (block * 4096..(block + 1) * 4096).flat_map(u64::to_ne_bytes).collect();
            writer.write_all(&words).unwrap();
        }
    });
    let mut expected = 0;
    let mut buf = vec![0; 100_000];
    let mut held = 0;
    loop {
        let count = reader.read(&mut buf[held..]).unwrap();
        if count == 0 {
            break;
        }
        held += count;
        let whole = held - held % 8;
        for word in buf[..whole].chunks_exact(8) {
            assert_eq!(u64::from_ne_bytes(word.try_into().unwrap()), expected);
            expected += 1;
        }
        buf.copy_within(whole..held, 0);
        held -= whole;
    }
    assert_eq!((expected, held), (WORDS, 0));
    sender.join().unwrap();
}

#[test]
fn read_after_last_writer_drains_then_ends() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let second = writer.try_clone().unwrap();
    writer.write_all(b"left behind").unwrap();
    drop(writer);
    let mut buf = [0; 4];
    assert_eq!(reader.read(&mut buf), Ok(4));
    reader.set_nonblocking(true).unwrap();
    drop(second);
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest), Ok(7));
    assert_eq!(rest, b" behind");
    assert_eq!(reader.read(&mut buf), Ok(0));
}

#[test]
fn read_no_end_of_file_while_a_copy_is_open() {
    let (reader, writer) = nonblocking();
    let copy = writer.try_clone().unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0; 1]), Err(Errno::EAGAIN));
    drop(copy);
    assert_eq!(reader.read(&mut [0; 1]), Ok(0));
}

#[test]
fn close_of_last_writer_wakes_every_reader() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| reader.read(&mut [0; 16]))).collect();
        thread::sleep(Duration::from_millis(20));
        drop(writer);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok(0));
        }
    });
}

#[test]
fn readers_share_what_is_there() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&[9; PIPE_BUF]).unwrap();
    thread::scope(|scope| {
        let readers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| reader.read_exact(&mut [0; PIPE_BUF / 8]))).collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok(()));
        }
    });
    assert_eq!(reader.available(), Ok(0));
}

#[test]
fn writes_up_to_pipe_buf_are_not_mixed() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut counts = [0; 4];
    thread::scope(|scope| {
        for name in 0..4_u8 {
            let writer = writer.try_clone().unwrap();
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(writer.write(&[name; PIPE_BUF]), Ok(PIPE_BUF));
                }
            });
        }
        drop(writer);
        let mut record = [0; PIPE_BUF];
        while reader.read_exact(&mut record).is_ok() {
            assert!(record.iter().all(|&byte| byte == record[0]), "mixed");
            counts[usize::from(record[0])] += 1;
        }
    });
    assert_eq!(counts, [200; 4]);
}

#[test]
fn capacity_is_that_of_both_ends() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(reader.capacity(), writer.capacity());
    let granted = reader.set_capacity(Capacity::Bytes(4 * page())).unwrap();
    assert_eq!(granted, 4 * page());
    assert_eq!(writer.capacity(), Ok(granted));
    assert_eq!(pipe::capacity(&writer), Ok(granted));
}

#[test]
fn capacity_rounds_up_to_a_power_of_two_of_pages() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let page = page();
    assert_eq!(reader.set_capacity(Capacity::Bytes(1)), Ok(page));
    assert_eq!(reader.set_capacity(Capacity::Bytes(page + 1)), Ok(2 * page));
    assert_eq!(reader.set_capacity(Capacity::Bytes(3 * page)), Ok(4 * page));
    assert_eq!(reader.capacity(), Ok(4 * page));
}

#[test]
fn capacity_doubled_takes_that_many_bytes() {
    let (reader, writer) = nonblocking();
    let doubled = 2 * writer.capacity().unwrap();
    assert_eq!(writer.set_capacity(Capacity::Bytes(doubled)), Ok(doubled));
    let data = vec![5; doubled];
    assert_eq!(writer.write(&data), Ok(doubled));
    let mut back = vec![0; doubled];
    assert_eq!(reader.read_exact(&mut back), Ok(()));
    assert_eq!(back, data);
}

#[test]
fn capacity_below_content_ebusy() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let before = writer.capacity().unwrap();
    writer.write_all(&vec![1; 2 * page()]).unwrap();
    assert_eq!(reader.set_capacity(Capacity::Bytes(1)), Err(Errno::EBUSY));
    assert_eq!(reader.capacity(), Ok(before));
    assert_eq!(reader.available(), Ok(2 * page()));
}

#[test]
fn capacity_too_large_einval_and_never_wrapped() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let before = reader.capacity().unwrap();
    for bytes in [(1_usize << 31) + 1, u32::MAX as usize, usize::MAX] {
        assert_eq!(reader.set_capacity(Capacity::Bytes(bytes)), Err(Errno::EINVAL), "{bytes}");
    }
    #[cfg(target_pointer_width = "64")]
    for bytes in [1 << 32, (1 << 32) + 4096] {
        assert_eq!(reader.set_capacity(Capacity::Bytes(bytes)), Err(Errno::EINVAL), "{bytes}");
    }
    assert_eq!(reader.capacity(), Ok(before));
}

#[test]
fn capacity_of_something_else_ebadf() {
    let file = File::open("/dev/null").unwrap();
    assert_eq!(pipe::capacity(&file), Err(Errno::EBADF));
    assert_eq!(pipe::set_capacity(&file, Capacity::Max), Err(Errno::EBADF));
    assert_eq!(pipe::set_capacity(&file, Capacity::Bytes(4096)), Err(Errno::EBADF));
    assert_eq!(pipe::is_degraded(&file), Err(Errno::EBADF));
}

#[test]
fn capacity_max_grows_and_never_shrinks() {
    let (reader, writer) = Builder::new().capacity(Capacity::Max).build().unwrap();
    let granted = reader.capacity().unwrap();
    assert!(granted >= rawpipe::pipe().unwrap().0.capacity().unwrap());
    // A second request for the maximum capacity changes nothing, whether the pipe is empty or not.
    assert_eq!(writer.set_capacity(Capacity::Max), Ok(granted));
    writer.write_all(b"x").unwrap();
    assert_eq!(writer.set_capacity(Capacity::Max), Ok(granted));

    let small = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap().1;
    assert_eq!(small.capacity(), Ok(page()));
    assert_eq!(small.is_degraded(), Ok(true));
    assert!(small.set_capacity(Capacity::Max).unwrap() > page());
    assert_eq!(small.is_degraded(), Ok(false));
}

/// The kernel returns a count of 2 GiB as a negative number. `available` must fail instead of returning 0.
#[test]
fn available_negative_count_of_a_file_eoverflow() {
    let mut file = common::file(b"");
    file.set_len(1 << 31).unwrap();
    assert_eq!(pipe::available(&file), Err(Errno::EOVERFLOW));
    file.seek(SeekFrom::Start(1)).unwrap();
    assert_eq!(pipe::available(&file), Ok((1 << 31) - 1));
    file.set_len(0).unwrap();
    assert_eq!(pipe::available(&file), Err(Errno::EOVERFLOW), "a position after the end");
}

#[test]
fn available_counts_bytes() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(reader.available(), Ok(0));
    writer.write_all(b"12345").unwrap();
    writer.write_all(b"678").unwrap();
    assert_eq!((reader.available(), writer.available()), (Ok(8), Ok(8)));
    assert_eq!(reader.read(&mut [0; 6]), Ok(6));
    assert_eq!(pipe::available(&reader), Ok(2));
}

#[test]
fn packet_mode_keeps_boundaries_and_drops_what_is_not_read() {
    let (reader, writer) = Builder::new().packet().nonblocking().build().unwrap();
    writer.write_all(b"first").unwrap();
    writer.write_all(b"second").unwrap();
    assert_eq!(writer.write(b""), Ok(0));
    let mut buf = [0; 64];
    assert_eq!(reader.read(&mut buf), Ok(5));
    assert_eq!(&buf[..5], b"first");
    assert_eq!(reader.read(&mut buf[..3]), Ok(3));
    assert_eq!(&buf[..3], b"sec");
    assert_eq!(reader.read(&mut buf), Err(Errno::EAGAIN), "the rest of the packet is gone");
}

#[test]
fn packet_mode_splits_what_is_longer_than_pipe_buf() {
    let (reader, writer) = Builder::new().packet().build().unwrap();
    assert_eq!(writer.write(&[1; PIPE_BUF + 10]), Ok(PIPE_BUF + 10));
    let mut buf = [0; 2 * PIPE_BUF];
    // A packet holds at most one page, and a page has at least `PIPE_BUF` bytes.
    let first = reader.read(&mut buf).unwrap();
    assert_eq!(first, (PIPE_BUF + 10).min(page()));
    if first < PIPE_BUF + 10 {
        assert_eq!(reader.read(&mut buf), Ok(10));
    }
}

#[test]
fn set_nonblocking_is_of_one_end_and_its_duplicates() {
    let (reader, writer) = pipe2(PipeFlags::CLOEXEC | PipeFlags::DIRECT).unwrap();
    let copy = reader.try_clone().unwrap();
    reader.set_nonblocking(true).unwrap();
    assert_eq!(copy.is_nonblocking(), Ok(true));
    assert_eq!(writer.is_nonblocking(), Ok(false));
    writer.set_nonblocking(true).unwrap();
    assert_ne!(fcntl(&writer, F_GETFL) & PipeFlags::DIRECT.bits(), 0, "other flags stay");
    copy.set_nonblocking(false).unwrap();
    assert_eq!(reader.is_nonblocking(), Ok(false));
}

#[test]
fn set_nonblocking_on_the_read_end_leaves_the_write_end_blocking() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    reader.set_nonblocking(true).unwrap();
    let capacity = writer.capacity().unwrap();
    writer.write_all(&vec![0; capacity]).unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write(b"waits for room"));
        thread::sleep(Duration::from_millis(30));
        assert!(!writing.is_finished());
        reader.read_exact(&mut vec![0; capacity]).unwrap();
        assert_eq!(writing.join().unwrap(), Ok(14));
    });
    let mut buf = [0; 100];
    assert_eq!(reader.read(&mut buf), Ok(14));
    assert_eq!(reader.read(&mut buf), Err(Errno::EAGAIN));
}

#[test]
fn try_clone_is_close_on_exec_and_above_stdio() {
    let (reader, writer) = pipe2(PipeFlags::empty()).unwrap();
    let copies = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
    assert_eq!(io::is_close_on_exec(&copies.0), Ok(true));
    assert_eq!(io::is_close_on_exec(&copies.1), Ok(true));
    assert!(copies.0.as_raw_fd() > 2 && copies.1.as_raw_fd() > 2);
    copies.1.write_all(b"through the copies").unwrap();
    assert_eq!(copies.0.available(), Ok(18));
    assert_eq!(reader.available(), Ok(18));
}

#[test]
fn std_traits_of_both_ends_and_of_references() {
    let (mut reader, mut writer) = rawpipe::pipe().unwrap();
    Write::write_all(&mut writer, b"a line\n").unwrap();
    writeln!(&writer, "another {}", 1).unwrap();
    writer.flush().unwrap();
    let mut line = [0; 7];
    Read::read_exact(&mut reader, &mut line).unwrap();
    assert_eq!(&line, b"a line\n");
    let mut rest = String::new();
    drop(writer);
    Read::read_to_string(&mut &reader, &mut rest).unwrap();
    assert_eq!(rest, "another 1\n");
    let error = Read::read_exact(&mut reader, &mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn std_vectored_takes_any_number_of_buffers() {
    let (mut reader, mut writer) = rawpipe::pipe().unwrap();
    let bufs = vec![io::IoSlice::new(b"ab"); 3000];
    assert_eq!(Write::write_vectored(&mut writer, &bufs).unwrap(), 2048);
    let mut bytes = vec![0; 3000];
    let mut bufs: Vec<_> = bytes.chunks_mut(1).map(io::IoSliceMut::new).collect();
    assert_eq!(Read::read_vectored(&mut reader, &mut bufs).unwrap(), 1024);
    assert_eq!(&bytes[..1024], "ab".repeat(512).as_bytes());
}

#[test]
fn conversions_keep_the_descriptor() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let number = reader.as_raw_fd();
    assert!(format!("{reader:?} {writer:?}").contains(&number.to_string()));
    let owned = OwnedFd::from(reader);
    assert_eq!(owned.as_raw_fd(), number);
    let mut lines = BufReader::new(PipeReader::from(owned)).lines();
    let mut file = File::from(OwnedFd::from(writer));
    file.write_all(b"one\ntwo\n").unwrap();
    drop(file);
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    assert!(lines.next().is_none());
}

#[test]
fn ends_are_send_and_sync() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<PipeReader>();
    check::<PipeWriter>();
    check::<Builder>();
    check::<Errno>();
    check::<rawpipe::process::Child>();
    check::<rawpipe::event::PollFd<'static>>();
}

#[test]
fn pipe_many_at_once() {
    let pipes: Vec<_> = (0..200).map(|_| rawpipe::pipe().unwrap()).collect();
    common::bytes::assert_no_two_are_one(&pipes);
}
