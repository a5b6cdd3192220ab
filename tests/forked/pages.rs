//! Tests `splice`, `tee`, `vmsplice`, `sendfile` and `copy_file_range` in less common situations. The tests
//! use pairs of descriptor kinds, unusual files, large offsets, and pages whose sender has ended. Each test
//! runs in its own process.
#![allow(unsafe_code, reason = "vmsplice, of memory that never changes")]

use crate::common::bytes::waiting_in;
use crate::common::{self, append_file, child, closed_fd, file, keep, skip};
use rawpipe::event::{Epoll, EventFd, PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, BorrowedFd};
use rawpipe::io::{self, IoSlice};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, copy_file_range, sendfile, splice, tee, vmsplice};
use rawpipe::{Errno, PipeReader, PipeWriter, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

const NONE: SpliceFlags = SpliceFlags::empty();
const NOW: SpliceFlags = SpliceFlags::NONBLOCK;
/// The `open` flag for a descriptor that serves only as a reference to a path.
const O_PATH: i32 = 0x20_0000;

/// Uses `vmsplice` to send memory to a pipe. The memory never changes.
fn send(writer: &PipeWriter, bufs: &[&'static [u8]], flags: SpliceFlags) -> Result<usize> {
    let bufs: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
    // SAFETY: memory behind a shared `'static` reference never changes, and no test passes a read end to this
    // function.
    unsafe { vmsplice(writer, &bufs, flags) }
}

/// Returns a hundred pages that are never rewritten and never freed. The position of each byte
/// determines its value.
fn pages() -> &'static [u8] {
    static PAGES: OnceLock<&[u8]> = OnceLock::new();
    PAGES.get_or_init(|| {
        let bytes = (0..100 * 4096_usize).map(|at| (at * 31 + at / 253).to_le_bytes()[0]);
        Box::leak(bytes.collect::<Box<[u8]>>())
    })
}

// ---- every pair of kinds ----

/// The descriptors that two of the tests combine in pairs.
struct Kinds {
    file: File,
    append: File,
    folder: File,
    by_path: File,
    zero: File,
    null: File,
    pipe: (PipeReader, PipeWriter),
    other: (PipeReader, PipeWriter),
    sockets: (UnixStream, UnixStream),
    event: EventFd,
    epoll: Epoll,
}

impl Kinds {
    fn new() -> Self {
        let device = |path| File::options().read(true).write(true).open(path).unwrap();
        let sockets = UnixStream::pair().unwrap();
        sockets.0.set_nonblocking(true).unwrap();
        (&sockets.1).write_all(b"socket").unwrap();
        let new = Self {
            file: file(b"contents of a file"),
            append: append_file(),
            folder: File::open("/").unwrap(),
            by_path: File::options().read(true).custom_flags(O_PATH).open("/").unwrap(),
            zero: device("/dev/zero"),
            null: device("/dev/null"),
            pipe: Builder::new().nonblocking().build().unwrap(),
            other: Builder::new().nonblocking().build().unwrap(),
            sockets,
            event: EventFd::new(0).unwrap(),
            epoll: Epoll::new().unwrap(),
        };
        new.pipe.1.write_all(b"pipe").unwrap();
        new
    }

    fn all(&self) -> [(&'static str, BorrowedFd<'_>); 14] {
        [
            ("file", self.file.as_fd()),
            ("append", self.append.as_fd()),
            ("folder", self.folder.as_fd()),
            ("by path", self.by_path.as_fd()),
            ("zero", self.zero.as_fd()),
            ("null", self.null.as_fd()),
            ("reader", self.pipe.0.as_fd()),
            ("writer", self.pipe.1.as_fd()),
            ("other reader", self.other.0.as_fd()),
            ("other writer", self.other.1.as_fd()),
            ("socket", self.sockets.0.as_fd()),
            ("eventfd", self.event.as_fd()),
            ("epoll", self.epoll.as_fd()),
            ("closed", closed_fd()),
        ]
    }
}

/// Kinds from which a splice can read if the sink is a pipe. `TARGETS` lists kinds to which a splice can
/// write if the source is a pipe.
const SOURCES: [&str; 5] = ["file", "zero", "null", "reader", "socket"];
const TARGETS: [&str; 5] = ["file", "null", "zero", "writer", "other writer"];

/// A splice moves no byte and fails with `EBADF` or `EINVAL`, unless the pair consists of a pipe and a
/// suitable descriptor.
fn splice_every_pair_of_kinds() {
    let names: Vec<&str> = Kinds::new().all().iter().map(|(name, _)| *name).collect();
    for from in 0..names.len() {
        for to in 0..names.len() {
            let kinds = Kinds::new();
            let all = kinds.all();
            let what = format!("{} to {}", names[from], names[to]);
            let answer = splice(all[from].1, None, all[to].1, None, 4, NOW);
            let (from, to) = (names[from], names[to]);
            let is_pipe = |name: &str| name.ends_with("reader") || name.ends_with("writer");
            let one_pipe = (from, to) == ("reader", "writer");
            let fits = (SOURCES.contains(&from) || from == "other reader")
                && (TARGETS.contains(&to) || to == "socket")
                && (is_pipe(from) || is_pipe(to))
                && !one_pipe
                && (from, to) != ("other reader", "other writer");
            match answer {
                Ok(count) => {
                    assert!(fits, "{what}: {count}");
                    assert_eq!(count, if from == "null" { 0 } else { 4 }, "{what}");
                }
                // The other pipe is still empty.
                Err(Errno::EAGAIN) if from == "other reader" => assert!(fits, "{what}"),
                // Not every version of Linux can splice from `/dev/zero` or `/dev/null`, or to `/dev/zero`.
                Err(Errno::EINVAL) if ["zero", "null"].contains(&from) || to == "zero" => {}
                Err(errno) => {
                    assert!(!fits, "{what}: {errno}");
                    assert!([Errno::EBADF, Errno::EINVAL].contains(&errno), "{what}: {errno}");
                    assert_eq!(kinds.pipe.0.available(), Ok(4), "{what}");
                    assert_eq!(kinds.other.0.available(), Ok(0), "{what}");
                }
            }
        }
    }
}

/// A `tee` needs two different pipes, and fails for every other pair.
fn tee_every_pair_of_kinds() {
    let kinds = Kinds::new();
    for (from, source) in kinds.all() {
        for (to, target) in kinds.all() {
            let what = format!("{from} to {to}");
            match tee(source, target, 4, NOW) {
                Ok(count) => {
                    assert_eq!((from, to, count), ("reader", "other writer", 4));
                    assert_eq!(waiting_in(&kinds.other.0), b"pipe");
                }
                Err(Errno::EAGAIN) => assert_eq!((from, to), ("other reader", "writer"), "{what}"),
                Err(errno) => {
                    assert!([Errno::EBADF, Errno::EINVAL].contains(&errno), "{what}: {errno}");
                    assert_ne!((from, to), ("reader", "other writer"));
                }
            }
        }
    }
    assert_eq!(waiting_in(&kinds.pipe.0), b"pipe");
}

// ---- odd files ----

/// A splice from a `/proc` file moves the same bytes that a read returns, whether in one piece or in small
/// pieces.
fn splice_of_proc_files_is_what_a_read_gives() {
    let mut spliced = 0;
    for path in
        ["/proc/version", "/proc/filesystems", "/proc/self/limits", "/proc/sys/kernel/ostype"]
    {
        let Ok(wanted) = std::fs::read(path) else { continue };
        for len in [2, 3, 1 << 20] {
            let source = File::open(path).unwrap();
            let (reader, writer) = rawpipe::pipe().unwrap();
            let mut all = Vec::new();
            let answer = loop {
                match splice(&source, None, &writer, None, len, NONE) {
                    Ok(0) => break Ok(()),
                    Ok(count) => {
                        assert!(count <= len);
                        let bytes = waiting_in(&reader);
                        assert_eq!(bytes.len(), count);
                        all.extend(bytes);
                    }
                    Err(errno) => break Err(errno),
                }
            };
            match answer {
                Ok(()) => {
                    assert!(all == wanted, "{path} by {len}");
                    spliced += 1;
                }
                // If a file cannot be spliced, the first call fails and no byte is moved.
                Err(errno) => assert_eq!((errno, all.len()), (Errno::EINVAL, 0), "{path}"),
            }
        }
    }
    if spliced == 0 {
        skip("splice_of_proc_files_is_what_a_read_gives", "no file of /proc can be spliced here");
    }
}

/// Repeated splices from a source without data never move old contents of the pipe's pages.
fn splice_of_an_empty_device_again_and_again() {
    let null = File::open("/dev/null").unwrap();
    let empty = file(b"");
    let (reader, writer) = rawpipe::pipe().unwrap();
    for _ in 0..100 {
        writer.write_all(&[0xaa; 4096]).unwrap();
        reader.read_exact(&mut [0; 4096]).unwrap();
        for source in [&null, &empty] {
            match splice(source, None, &writer, None, 4096, NONE) {
                Ok(count) => assert_eq!(count, 0),
                // Not every version of Linux can splice from a device.
                Err(errno) => assert_eq!(errno, Errno::EINVAL),
            }
            assert_eq!(reader.available(), Ok(0));
        }
    }
}

fn splice_of_a_device_to_a_device() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    for device in ["/dev/zero", "/dev/full"] {
        let source = File::open(device).unwrap();
        match splice(&source, None, &writer, None, 10_000, NONE) {
            Ok(count) => assert_eq!(waiting_in(&reader), vec![0; count], "{device}"),
            Err(errno) => assert_eq!(errno, Errno::EINVAL), // some kernels cannot splice from a device
        }
    }
    for device in ["/dev/null", "/dev/zero"] {
        let target = File::options().write(true).open(device).unwrap();
        writer.write_all(&[1; 5000]).unwrap();
        let mut moved = 0;
        while moved < 5000 {
            match splice(&reader, None, &target, None, 10_000, NONE) {
                Ok(count) => moved += count,
                // Linux before 6.7 does not support a splice to `/dev/zero`.
                Err(errno) => {
                    assert_eq!((errno, device, moved), (Errno::EINVAL, "/dev/zero", 0));
                    moved += waiting_in(&reader).len();
                }
            }
        }
        assert_eq!((moved, reader.available()), (5000, Ok(0)), "{device}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    writer.write_all(b"no room").unwrap();
    let refused = splice(&reader, None, &full, None, 7, NONE);
    assert!(matches!(refused, Err(Errno::ENOSPC | Errno::EINVAL)), "{refused:?}");
    assert_eq!(reader.available(), Ok(7), "nothing is lost");
}

// ---- far offsets ----

/// `splice`, `sendfile` and `copy_file_range` accept offsets that do not fit in 31 or 32 bits.
fn offsets_beyond_four_gigabytes() {
    for at in [(1_u64 << 31) + 5, (3 << 30) + 7, (1 << 32) + 11] {
        let source = file(b"near");
        if let Err(error) = source.write_all_at(b"far away", at) {
            return skip("offsets_beyond_four_gigabytes", &error.to_string());
        }
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut offset = at;
        assert_eq!(splice(&source, Some(&mut offset), &writer, None, 3, NONE), Ok(3));
        assert_eq!((offset, waiting_in(&reader)), (at + 3, b"far".to_vec()));
        assert_eq!(sendfile(&source, Some(&mut offset), &writer, 100), Ok(5));
        assert_eq!((offset, waiting_in(&reader)), (at + 8, b" away".to_vec()));

        let mut target = file(b"");
        writer.write_all(b"there").unwrap();
        let mut to = at;
        assert_eq!(splice(&reader, None, &target, Some(&mut to), 5, NONE), Ok(5));
        assert_eq!((to, target.metadata().unwrap().len()), (at + 5, at + 5));
        let (mut from, mut to) = (at, at + 5);
        match copy_file_range(&source, Some(&mut from), &target, Some(&mut to), 8) {
            Ok(count) => assert_eq!((count, from, to), (8, at + 8, at + 13)),
            Err(errno) => assert!(matches!(errno, Errno::EXDEV | Errno::EOPNOTSUPP), "{errno}"),
        }
        // A splice that uses the file's own position also works at such an offset.
        target.seek(SeekFrom::Start(at)).unwrap();
        assert_eq!(splice(&target, None, &writer, None, 5, NONE), Ok(5));
        assert_eq!(waiting_in(&reader), b"there");
        assert_eq!(target.stream_position().unwrap(), at + 5);
    }
}

/// With an offset above the signed maximum, `copy_file_range` fails, copies nothing, and leaves the offset
/// unchanged.
fn copy_file_range_offsets_above_the_signed_maximum() {
    let (source, target) = (file(b"0123456789"), file(b""));
    for at in [1 << 63, u64::MAX - 4] {
        for side in [0, 1] {
            let mut offsets = [0, 0];
            offsets[side] = at;
            let [from, to] = &mut offsets;
            let answer = copy_file_range(&source, Some(from), &target, Some(to), 3);
            let errno = answer.expect_err("an offset that is none");
            // The error depends on the kernel version.
            let known = [Errno::EINVAL, Errno::EOVERFLOW, Errno::EFBIG, Errno::EXDEV];
            assert!(known.contains(&errno), "{at:#x}, side {side}: {errno}");
            assert_eq!(offsets[side], at);
        }
    }
    assert_eq!(target.metadata().unwrap().len(), 0);
}

fn copy_file_range_of_what_is_no_file() {
    let (source, target) = (file(b"0123456789"), file(b""));
    let folder = File::open("/").unwrap();
    let device = File::options().read(true).write(true).open("/dev/null").unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let copy =
        |from: &dyn AsFd, to: &dyn AsFd| copy_file_range(from.as_fd(), None, to.as_fd(), None, 1);
    assert_eq!(copy(&source, &folder), Err(Errno::EISDIR));
    assert_eq!(copy(&folder, &target), Err(Errno::EISDIR));
    let others: [&dyn AsFd; 4] = [&device, &socket, &reader, &writer];
    for other in others {
        assert_eq!(copy(&source, other), Err(Errno::EINVAL));
        assert_eq!(copy(other, &target), Err(Errno::EINVAL));
    }
    assert_eq!(target.metadata().unwrap().len(), 0);
}

// ---- waiting ----

/// The `O_NONBLOCK` flag of an open file has the same effect on a splice as `SpliceFlags::NONBLOCK`.
fn splice_by_a_nonblocking_end_eagain() {
    let (empty, _writer) = Builder::new().nonblocking().build().unwrap();
    let (reader, target) = rawpipe::pipe().unwrap();
    let answer = splice(&empty, None, &target, None, 1, NONE);
    let (_full_reader, full) = Builder::new().nonblocking().build().unwrap();
    full.write_all(&vec![0; full.capacity().unwrap()]).unwrap();
    assert_eq!(answer, Err(Errno::EAGAIN));
    target.write_all(b"x").unwrap();
    assert_eq!(splice(&reader, None, &full, None, 1, NONE), Err(Errno::EAGAIN));
    // A nonblocking socket also makes the call fail with `EAGAIN`.
    let (left, right) = UnixStream::pair().unwrap();
    left.set_nonblocking(true).unwrap();
    assert_eq!(splice(&left, None, &target, None, 1, NONE), Err(Errno::EAGAIN));
    drop(right);
}

/// If the pipe is full, `vmsplice` waits for room and then succeeds.
fn vmsplice_full_pipe_waits() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let capacity = writer.capacity().unwrap();
    writer.write_all(&vec![0; capacity]).unwrap();
    assert_eq!(send(&writer, &[b"now"], NOW), Err(Errno::EAGAIN));
    thread::scope(|scope| {
        let sending = scope.spawn(|| send(&writer, &[b"later"], NONE));
        thread::sleep(Duration::from_millis(30));
        assert!(!sending.is_finished(), "a full pipe has room");
        reader.read_exact(&mut vec![0; capacity]).unwrap();
        assert_eq!(sending.join().unwrap(), Ok(5));
    });
    assert_eq!(waiting_in(&reader), b"later");
}

// ---- vmsplice ----

fn vmsplice_buffers_arrive_as_one_stream() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let bufs: [&[u8]; 5] = [b"abcdef", b"", b"ghi", &pages()[..5000], b"."];
    assert_eq!(send(&writer, &bufs, NONE), Ok(6 + 3 + 5000 + 1));
    assert!(waiting_in(&reader) == bufs.concat());
}

/// More pages than the pipe can hold pass through the pipe to a file. The test polls for room, and continues
/// after a call that sent only part of the pages.
fn vmsplice_more_than_the_pipe_holds_to_a_file() {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(16384)).build().unwrap();
    let target = file(b"");
    let (mut sent, mut written, mut partial) = (0, 0, 0);
    while written < pages().len() {
        let mut fds = [PollFd::new(&writer, PollEvents::OUT)];
        poll(&mut fds, Some(Duration::ZERO)).unwrap();
        if sent < pages().len() && fds[0].revents().contains(PollEvents::OUT) {
            // The call may stop in the middle of a buffer, and the next call continues at that byte.
            let (a, b) = pages()[sent..].split_at((pages().len() - sent).min(3000));
            let count = send(&writer, &[a, b], NOW).unwrap();
            partial += usize::from(sent + count < pages().len());
            sent += count;
        } else {
            written += splice(&reader, None, &target, None, 10_000, NOW).unwrap();
        }
    }
    assert!(partial > 0, "it never was too much at once");
    let mut bytes = vec![0; pages().len() + 1];
    assert_eq!(target.read_at(&mut bytes, 0).unwrap(), pages().len());
    assert!(bytes[..pages().len()] == *pages());
}

/// The pipe keeps the pages after the sender has freed its memory and ended.
fn vmsplice_pages_outlive_their_process() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut sender = child(|| {
        // The child writes the pages itself, so that the pages belong to the child. The child does not change
        // the pages afterwards.
        let memory: &'static mut [u8] = keep(vec![0_u8; 20_000].into_boxed_slice());
        memory.copy_from_slice(&pages()[..20_000]);
        u8::from(send(&writer, &[memory], NONE) != Ok(20_000))
    });
    assert!(sender.wait().unwrap().success());
    drop(writer);
    // This allocation may reuse the freed memory.
    let other = vec![0xff_u8; 10 << 20];
    assert!(waiting_in(&reader) == pages()[..20_000]);
    assert_eq!(reader.read(&mut [0]), Ok(0));
    drop(other);
}

// ---- tee ----

fn tee_into_a_file_and_on() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (copy_reader, copy_writer) = rawpipe::pipe().unwrap();
    let (mut kept, mut passed) = (file(b""), file(b""));
    writer.write_all(&pages()[..30_000]).unwrap();
    drop(writer);
    // Each iteration also moves the duplicated bytes out of the first pipe. Otherwise the next `tee` would
    // duplicate the same bytes again.
    loop {
        let teed = tee(&reader, &copy_writer, 7000, NONE).unwrap();
        if teed == 0 {
            break;
        }
        for (from, to) in [(&copy_reader, &kept), (&reader, &passed)] {
            let mut moved = 0;
            while moved < teed {
                moved += splice(from, None, to, None, teed - moved, NONE).unwrap();
            }
        }
    }
    for file in [&mut kept, &mut passed] {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes == pages()[..30_000]);
    }
}

/// In the copy that a `tee` creates, packets stay separate.
fn tee_of_packets() {
    let (reader, writer) = Builder::new().packet().build().unwrap();
    let (copy_reader, copy_writer) = Builder::new().packet().nonblocking().build().unwrap();
    writer.write_all(b"first").unwrap();
    writer.write_all(b"second").unwrap();
    assert_eq!(tee(&reader, &copy_writer, 100, NONE), Ok(11));
    let mut buf = [0; 64];
    for wanted in [&b"first"[..], b"second"] {
        assert_eq!(copy_reader.read(&mut buf), Ok(wanted.len()));
        assert_eq!(&buf[..wanted.len()], wanted);
    }
    assert_eq!(copy_reader.read(&mut buf), Err(Errno::EAGAIN));
    assert_eq!((reader.read(&mut buf), reader.available()), (Ok(5), Ok(6)));
    assert!(io::is_nonblocking(&copy_writer).unwrap());
}

pub(crate) const TESTS: common::Tests = common::tests![
    splice_every_pair_of_kinds,
    tee_every_pair_of_kinds,
    splice_of_proc_files_is_what_a_read_gives,
    splice_of_an_empty_device_again_and_again,
    splice_of_a_device_to_a_device,
    offsets_beyond_four_gigabytes,
    copy_file_range_offsets_above_the_signed_maximum,
    copy_file_range_of_what_is_no_file,
    splice_by_a_nonblocking_end_eagain,
    vmsplice_full_pipe_waits,
    vmsplice_buffers_arrive_as_one_stream,
    vmsplice_more_than_the_pipe_holds_to_a_file,
    vmsplice_pages_outlive_their_process,
    tee_into_a_file_and_on,
    tee_of_packets,
];
