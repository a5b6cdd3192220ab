//! Tests of reading and writing on blocking ends, without waiting or with a deadline.
#![cfg(all(feature = "std", feature = "event"))]
#![allow(unsafe_code, reason = "mkfifo of the C library, and a flag that is not public")]

use crate::common::nr;
use crate::common::{self, closed_fd};
use rawpipe::Deadline;
use rawpipe::fd::{AsRawFd, OwnedFd};
use rawpipe::io::*;
use rawpipe::pipe::{Builder, Capacity, PIPE_BUF};
use rawpipe::splice::{SpliceFlags, splice};
use rawpipe::{Errno, PipeReader, PipeWriter, raw};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(100);

fn past() -> Deadline<'static> {
    Deadline::now()
}

/// Returns one pipe of each kind that the tested functions treat differently. The kinds are a new pipe, a
/// pipe whose ends were both used in a splice, and a FIFO. The kernel rejects `RWF_NOWAIT` for the last two
/// kinds.
fn pipes() -> Vec<(&'static str, PipeReader, PipeWriter)> {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (fifo_reader, fifo_writer) = fifo();
    vec![
        ("pipe", reader, writer),
        spliced(rawpipe::pipe().unwrap()),
        ("fifo", fifo_reader, fifo_writer),
    ]
}

/// Splices one byte into the pipe and one byte out of the pipe.
fn spliced((reader, writer): (PipeReader, PipeWriter)) -> (&'static str, PipeReader, PipeWriter) {
    let (other_reader, other_writer) = rawpipe::pipe().unwrap();
    let none = SpliceFlags::empty();
    other_writer.write(b"x").unwrap();
    assert_eq!(splice(&other_reader, None, &writer, None, 1, none), Ok(1));
    assert_eq!(splice(&reader, None, &other_writer, None, 1, none), Ok(1));
    ("spliced", reader, writer)
}

/// Returns whether the kernel supports `RWF_NOWAIT` for a new pipe. Linux 6.2 added this support, but some
/// emulators lack it.
fn pipes_have_nowait() -> bool {
    const RWF_NOWAIT: usize = 8;
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let bufs = [IoSlice::new(b"x")];
    let fd = usize::try_from(writer.as_raw_fd()).unwrap();
    let (list, here) = (bufs.as_ptr().expose_provenance(), usize::MAX);
    // SAFETY: `IoSlice` has the layout of `struct iovec`, and the kernel reads the one byte to which the
    // `IoSlice` refers.
    let answer = unsafe { raw::syscall6(nr::PWRITEV2, fd, list, 1, here, here, RWF_NOWAIT) };
    assert!(answer == 1 || answer < 0);
    answer == 1
}

fn mkfifo() -> std::path::PathBuf {
    unsafe extern "C" {
        fn mkfifo(path: *const std::ffi::c_char, mode: u32) -> i32;
    }
    let path = common::tmp_path();
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the call reads the path up to its NUL.
    assert_eq!(unsafe { mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

fn fifo() -> (PipeReader, PipeWriter) {
    let path = mkfifo();
    let both = File::options().read(true).write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    drop(both);
    fs::remove_file(path).unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

fn fill(writer: &PipeWriter) -> usize {
    let capacity = writer.capacity().unwrap();
    writer.write_all(&vec![7; capacity]).unwrap();
    capacity
}

#[test]
fn try_read_in_each_situation() {
    for (kind, reader, writer) in pipes() {
        let mut buf = [0; 8];
        assert_eq!(try_read(&reader, &mut buf), Err(Errno::EAGAIN), "{kind}");
        assert_eq!(try_read(&reader, &mut []), Ok(0), "{kind}");
        writer.write(b"0123456789").unwrap();
        assert_eq!(try_read(&reader, &mut buf), Ok(8), "{kind}");
        assert_eq!(&buf, b"01234567");
        assert_eq!(reader.try_read(&mut buf), Ok(2), "{kind}");
        assert_eq!(&buf[..2], b"89");
        assert_eq!(reader.try_read(&mut buf), Err(Errno::EAGAIN), "{kind}");
        writer.write(b"last").unwrap();
        drop(writer);
        assert_eq!(reader.try_read(&mut buf), Ok(4), "{kind}: hung up with data inside");
        assert_eq!(reader.try_read(&mut buf), Ok(0), "{kind}");
    }
}

#[test]
fn try_write_in_each_situation() {
    for (kind, reader, writer) in pipes() {
        assert_eq!(try_write(&writer, b""), Ok(0), "{kind}");
        assert_eq!(try_write(&writer, b"small"), Ok(5), "{kind}");
        let mut buf = [0; 8];
        assert_eq!(reader.read(&mut buf), Ok(5));
        assert_eq!(&buf[..5], b"small");

        // If the bytes do not all fit in the pipe, only a part is written. The reader receives exactly that
        // part.
        let data: Vec<u8> = (0..3 << 20).map(|n: usize| (n % 251).to_le_bytes()[0]).collect();
        let mut sent = 0;
        loop {
            match writer.try_write(&data[sent..]) {
                Ok(count) => sent += count,
                Err(errno) => break assert_eq!(errno, Errno::EAGAIN, "{kind}"),
            }
        }
        assert_eq!(sent, writer.capacity().unwrap(), "{kind}");
        assert_eq!(reader.available(), Ok(sent), "{kind}");
        let mut got = vec![0; sent];
        reader.read_exact(&mut got).unwrap();
        assert!(got == data[..sent], "{kind}");
        drop(reader);
        assert_eq!(writer.try_write(b"x"), Err(Errno::EPIPE), "{kind}");
    }
}

/// A `try_write` of at most `PIPE_BUF` bytes writes all bytes or none, even if it moves the bytes through
/// another pipe.
#[test]
fn try_write_of_pipe_buf_is_whole() {
    for (kind, reader, writer) in pipes() {
        let mut whole = 0;
        loop {
            match writer.try_write(&[7; PIPE_BUF - 1]) {
                Ok(count) => assert_eq!(count, PIPE_BUF - 1, "{kind}"),
                Err(errno) => break assert_eq!(errno, Errno::EAGAIN),
            }
            whole += 1;
        }
        assert_eq!(reader.available(), Ok(whole * (PIPE_BUF - 1)), "{kind}");
    }
}

#[test]
fn try_write_keeps_packets() {
    let pipe = Builder::new().packet().build().unwrap();
    let (_, reader, writer) = spliced(pipe);
    assert_eq!(writer.try_write(b"first"), Ok(5));
    assert_eq!(writer.try_write(b"second"), Ok(6));
    let mut buf = [0; PIPE_BUF];
    assert_eq!(reader.read(&mut buf), Ok(5));
    assert_eq!(reader.read(&mut buf), Ok(6));
}

#[test]
fn try_leaves_o_nonblock_alone() {
    for (kind, reader, writer) in pipes() {
        let copies = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
        let check = || {
            assert_eq!(copies.0.is_nonblocking(), Ok(false), "{kind}");
            assert_eq!(copies.1.is_nonblocking(), Ok(false), "{kind}");
        };
        let _ = reader.try_read(&mut [0; 1]);
        check();
        // The flags of the open files also stay unchanged while other threads wait.
        thread::scope(|scope| {
            let reading = scope.spawn(|| reader.read_deadline(&mut [0; 1], Deadline::after(LONG)));
            let waiting = scope.spawn(|| copies.0.read(&mut [0; 1]));
            thread::sleep(MOMENT);
            check();
            writer.write_deadline(b"x", Deadline::after(LONG)).unwrap();
            writer.write_all_deadline(b"x", Deadline::after(LONG)).unwrap();
            assert_eq!(reading.join().unwrap(), Ok(1), "{kind}");
            assert_eq!(waiting.join().unwrap(), Ok(1), "{kind}: a duplicate still waits");
        });
        fill(&writer);
        assert_eq!(writer.try_write(b"x"), Err(Errno::EAGAIN));
        assert_eq!(writer.write_deadline(b"x", Deadline::after(MOMENT)), Err(Errno::ETIMEDOUT));
        check();
    }
}

/// If two readers race for one byte, neither reader waits, regardless of which one receives the byte.
#[test]
fn try_read_two_readers_race_for_one_byte() {
    let rounds = if common::slow() { 500 } else { 10_000 };
    for (kind, reader, writer) in pipes() {
        let (begin, end) = (Barrier::new(3), Barrier::new(3));
        let got = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        begin.wait();
                        match reader.try_read(&mut [0; 2]) {
                            Ok(count) => got.fetch_add(count, Ordering::SeqCst),
                            Err(errno) => {
                                assert_eq!(errno, Errno::EAGAIN);
                                0
                            }
                        };
                        end.wait();
                    }
                });
            }
            for round in 1..=rounds {
                writer.write_all(b"x").unwrap();
                begin.wait();
                end.wait();
                assert_eq!(got.load(Ordering::SeqCst), round, "{kind}");
            }
        });
    }
}

#[test]
fn try_descriptors_of_other_kinds() {
    let mut buf = [0; 8];
    assert_eq!(try_read(closed_fd(), &mut buf), Err(Errno::EBADF));
    assert_eq!(try_write(closed_fd(), b"x"), Err(Errno::EBADF));
    for (kind, reader, writer) in pipes() {
        assert_eq!(try_read(&writer, &mut buf), Err(Errno::EBADF), "{kind}");
        assert_eq!(try_write(&reader, b"x"), Err(Errno::EBADF), "{kind}");
    }
    let folder = File::open("/").unwrap();
    let answer = try_read(&folder, &mut buf);
    // Some kernels check `RWF_NOWAIT` before the kind of file, but other kernels check the kind first.
    assert!(matches!(answer, Err(Errno::EISDIR | Errno::EOPNOTSUPP | Errno::EINVAL)), "{answer:?}");

    let (ours, theirs) = UnixStream::pair().unwrap();
    match try_read(&ours, &mut buf) {
        Err(Errno::EAGAIN) => {
            assert_eq!(try_write(&theirs, b"socket"), Ok(6));
            assert_eq!(try_read(&ours, &mut buf), Ok(6));
        }
        // Some kernels and emulators do not support `RWF_NOWAIT` for sockets.
        answer => assert_eq!(answer, Err(Errno::EOPNOTSUPP)),
    }
}

/// If a FIFO is open for reading and writing, `try_read` must not use `vmsplice`, because `vmsplice` would
/// read from the buffer instead of filling it.
#[test]
fn try_read_fifo_open_for_both() {
    let path = mkfifo();
    let both = File::options().read(true).write(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    let reader = PipeReader::from(OwnedFd::from(both.try_clone().unwrap()));
    let mut buf = [0; 8];
    assert_eq!(reader.try_read(&mut buf), Err(Errno::EAGAIN));
    assert_eq!(reader.read_deadline(&mut buf, past()), Err(Errno::ETIMEDOUT));
    assert_eq!(try_write(&both, b"inside and more"), Ok(15));
    assert_eq!(reader.try_read(&mut buf), Ok(8));
    assert_eq!(&buf, b"inside a");
    assert_eq!(reader.read_deadline(&mut buf, Deadline::after(LONG)), Ok(7));
    assert_eq!(&buf[..7], b"nd more");
    let kind = std::io::Error::from(Errno::EOPNOTSUPP).kind();
    assert!(matches!(kind, ErrorKind::Unsupported) || kind != ErrorKind::WouldBlock, "{kind:?}");
    assert_eq!(reader.available(), Ok(0));
}

#[test]
fn deadline_already_past_takes_what_is_ready() {
    for (kind, reader, writer) in pipes() {
        let mut buf = [0; 8];
        assert_eq!(reader.read_deadline(&mut buf, past()), Err(Errno::ETIMEDOUT), "{kind}");
        assert_eq!(writer.write_deadline(b"ready", past()), Ok(5), "{kind}");
        assert_eq!(reader.read_deadline(&mut buf, past()), Ok(5), "{kind}");
        let stopped = reader.read_exact_deadline(&mut buf, past()).unwrap_err();
        assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::ETIMEDOUT)));
        fill(&writer);
        assert_eq!(writer.write_deadline(b"x", past()), Err(Errno::ETIMEDOUT), "{kind}");
    }
}

#[test]
fn timeout_is_not_shorter_than_asked() {
    for (kind, reader, writer) in pipes() {
        let begin = Instant::now();
        assert_eq!(
            reader.read_deadline(&mut [0; 1], Deadline::after(MOMENT)),
            Err(Errno::ETIMEDOUT),
            "{kind}"
        );
        assert!(begin.elapsed() >= MOMENT);
        fill(&writer);
        let begin = Instant::now();
        assert_eq!(
            writer.write_deadline(b"x", Deadline::after(MOMENT)),
            Err(Errno::ETIMEDOUT),
            "{kind}"
        );
        assert!(begin.elapsed() >= MOMENT);
    }
}

#[test]
fn deadline_counts_what_was_done() {
    for (kind, reader, writer) in pipes() {
        writer.write(b"half").unwrap();
        let mut buf = [0; 8];
        let stopped = reader.read_exact_deadline(&mut buf, Deadline::after(MOMENT)).unwrap_err();
        assert_eq!((stopped.bytes(), stopped.errno()), (4, Some(Errno::ETIMEDOUT)), "{kind}");
        assert_eq!(&buf[..4], b"half");

        let data = vec![1; writer.capacity().unwrap() + 1000];
        let stopped = writer.write_all_deadline(&data, Deadline::after(MOMENT)).unwrap_err();
        assert_eq!(stopped.errno(), Some(Errno::ETIMEDOUT), "{kind}");
        assert_eq!(stopped.bytes(), writer.capacity().unwrap(), "{kind}");
        assert_eq!(reader.available(), Ok(stopped.bytes()), "{kind}");

        reader.read_exact(&mut vec![0; stopped.bytes()]).unwrap();
        writer.write(b"rest").unwrap();
        drop(writer);
        let stopped = reader.read_exact_deadline(&mut buf, Deadline::after(LONG)).unwrap_err();
        assert_eq!((stopped.bytes(), stopped.errno()), (4, None), "{kind}: the end");
    }
}

#[test]
fn deadline_wakes_for_data_room_and_hang_up() {
    for (kind, reader, writer) in pipes() {
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut buf = [0; 6];
                reader.read_exact_deadline(&mut buf, Deadline::after(LONG)).map(|()| buf)
            });
            thread::sleep(MOMENT);
            writer.write(b"abc").unwrap();
            thread::sleep(MOMENT);
            writer.write(b"def").unwrap();
            assert_eq!(reading.join().unwrap(), Ok(*b"abcdef"), "{kind}");

            let capacity = fill(&writer);
            let nines = vec![9; capacity];
            let copy = writer.try_clone().unwrap();
            let writing = scope.spawn(move || copy.write_all_deadline(&nines, Deadline::NEVER));
            thread::sleep(MOMENT);
            reader.read_exact(&mut vec![0; capacity]).unwrap();
            assert_eq!(writing.join().unwrap(), Ok(()), "{kind}");
            let mut got = vec![0; capacity];
            reader.read_exact(&mut got).unwrap();
            assert!(got.iter().all(|byte| *byte == 9));

            let reading = scope.spawn(|| reader.read_deadline(&mut [0; 1], Deadline::after(LONG)));
            thread::sleep(MOMENT);
            drop(writer);
            assert_eq!(reading.join().unwrap(), Ok(0), "{kind}");
        });
        let (reader, writer) = rawpipe::pipe().unwrap();
        fill(&writer);
        thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write_deadline(b"x", Deadline::after(LONG)));
            thread::sleep(MOMENT);
            drop(reader);
            assert_eq!(writing.join().unwrap(), Err(Errno::EPIPE));
        });
    }
}

/// Two waiting threads wake up, but only one thread receives the byte. The other thread continues to wait,
/// but only until its deadline.
#[test]
fn deadline_survives_spurious_wake_ups() {
    for (kind, reader, writer) in pipes() {
        let timeout = Duration::from_millis(if common::slow() { 5000 } else { 400 });
        let mut in_time = false;
        while !in_time {
            let begin = Instant::now();
            let mut answers = thread::scope(|scope| {
                let readers = [0, 1].map(|_| {
                    scope.spawn(|| reader.read_deadline(&mut [0; 8], Deadline::after(timeout)))
                });
                thread::sleep(MOMENT);
                writer.write(b"x").unwrap();
                // On a busy machine the readers' deadline may pass before the byte is written.
                in_time = begin.elapsed() < timeout;
                readers.map(|reading| reading.join().unwrap())
            });
            assert!(begin.elapsed() >= timeout);
            let got = answers.iter().filter(|answer| **answer == Ok(1)).count();
            assert_eq!(got + reader.available().unwrap(), 1, "{kind}: {answers:?}");
            if in_time {
                answers.sort_by_key(Result::is_ok);
                assert_eq!(answers, [Err(Errno::ETIMEDOUT), Ok(1)], "{kind}");
            } else {
                assert_eq!(
                    reader.try_read(&mut [0; 8]),
                    [Ok(1), Err(Errno::EAGAIN)][got],
                    "{kind}"
                );
            }
        }
    }
}

/// If a pipe of one page holds a byte, `poll` reports no space, although a write would succeed. A write to a
/// full page waits.
#[test]
fn deadline_one_page_pipe() {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    let page = writer.capacity().unwrap();
    writer.write(&[0; 100]).unwrap();
    let nowait = pipes_have_nowait();
    if nowait {
        assert_eq!(writer.write_deadline(&[0; 100], Deadline::after(MOMENT)), Ok(100));
    } else {
        common::skip("deadline_one_page_pipe", "without RWF_NOWAIT a slot must be free");
    }
    let inside = reader.available().unwrap();
    assert_eq!(
        writer.write_deadline(&vec![0; page], Deadline::after(MOMENT)),
        match page - inside {
            _ if !nowait => Err(Errno::ETIMEDOUT),
            room if page > PIPE_BUF => Ok(room),
            // A write of `PIPE_BUF` bytes must write all bytes or none, and these bytes do not fit in the
            // pipe.
            _ => Err(Errno::ETIMEDOUT),
        }
    );
    reader.read_exact(&mut vec![0; inside]).unwrap();
    assert_eq!(writer.write_deadline(&vec![0; page], Deadline::after(LONG)), Ok(page));
}

#[test]
fn deadline_files_and_devices() {
    let file = common::file(b"contents");
    let mut buf = [0; 8];
    match read_deadline(&file, &mut buf, Deadline::after(LONG)) {
        Ok(8) => assert_eq!(&buf, b"contents"),
        answer => assert_eq!(answer, Err(Errno::EOPNOTSUPP)),
    }
    let (reader, _writer) = rawpipe::pipe().unwrap();
    reader.set_nonblocking(true).unwrap();
    assert_eq!(reader.read_deadline(&mut buf, Deadline::after(MOMENT)), Err(Errno::ETIMEDOUT));
    assert_eq!(reader.is_nonblocking(), Ok(true), "untouched, too");
    assert_eq!(read_deadline(closed_fd(), &mut buf, Deadline::after(LONG)), Err(Errno::EBADF));
    assert_eq!(write_deadline(closed_fd(), b"x", Deadline::after(LONG)), Err(Errno::EBADF));
}
