//! Checks the result of every public call that returns a `Result`, with one row per call and situation. Many
//! rows also compare the result with that of a corresponding function of the C library or of std. Each group
//! of rows runs in a separate process, so a group may fork, set limits, and use any descriptor numbers.
//!
//! One test compares the rows with the list of public calls, and fails if a call has no row or a row has no
//! call.
#![allow(unsafe_code, reason = "the C library's own functions are the reference")]

mod descriptors;
mod itself;
mod messages;
mod moving;
mod numbers;
mod processes;
mod programs;
mod shared;
mod signals;
mod sources;

use crate::common;
use rawpipe::event::{Epoll, Event, EventFd, EventFdFlags, PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rawpipe::io::{self, DupFlags, Incomplete, IoSlice, IoSliceMut};
use rawpipe::pipe::Builder;
use rawpipe::splice::{SpliceFlags, splice, tee, vmsplice};
use rawpipe::{Errno, PipeFlags, PipeReader, PipeWriter};
use std::ffi::c_void;
use std::fmt::Debug;
use std::fs::File;
use std::time::Duration;

mod libc {
    use std::ffi::{c_char, c_void};

    unsafe extern "C" {
        pub(crate) fn read(fd: i32, buf: *mut c_void, count: usize) -> isize;
        pub(crate) fn write(fd: i32, buf: *const c_void, count: usize) -> isize;
        pub(crate) fn readv(fd: i32, vector: *const c_void, count: i32) -> isize;
        pub(crate) fn writev(fd: i32, vector: *const c_void, count: i32) -> isize;
        pub(crate) safe fn dup(fd: i32) -> i32;
        pub(crate) safe fn dup3(fd: i32, new: i32, flags: i32) -> i32;
        pub(crate) fn pipe2(fds: *mut i32, flags: i32) -> i32;
        pub(crate) fn fcntl(fd: i32, operation: i32, ...) -> i32;
        pub(crate) fn ioctl(fd: i32, operation: usize, ...) -> i32;
        pub(crate) fn splice(
            from: i32,
            from_offset: *mut i64,
            to: i32,
            to_offset: *mut i64,
            len: usize,
            flags: u32,
        ) -> isize;
        pub(crate) fn sendfile64(to: i32, from: i32, offset: *mut i64, len: usize) -> isize;
        pub(crate) fn copy_file_range(
            from: i32,
            from_offset: *mut i64,
            to: i32,
            to_offset: *mut i64,
            len: usize,
            flags: u32,
        ) -> isize;
        pub(crate) fn vmsplice(fd: i32, list: *const c_void, count: usize, flags: u32) -> isize;
        pub(crate) fn poll(fds: *mut c_void, count: usize, timeout: i32) -> i32;
        pub(crate) fn select(
            count: i32,
            read: *mut c_void,
            write: *mut c_void,
            except: *mut c_void,
            timeout: *mut c_void,
        ) -> i32;
        pub(crate) safe fn epoll_create1(flags: i32) -> i32;
        pub(crate) fn epoll_ctl(epoll: i32, operation: i32, fd: i32, event: *mut c_void) -> i32;
        pub(crate) fn epoll_wait(epoll: i32, events: *mut c_void, room: i32, timeout: i32) -> i32;
        pub(crate) safe fn eventfd(count: u32, flags: i32) -> i32;
        pub(crate) safe fn tee(from: i32, to: i32, len: usize, flags: u32) -> isize;
        pub(crate) safe fn fork() -> i32;
        pub(crate) fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
        pub(crate) safe fn kill(pid: i32, signal: i32) -> i32;
        pub(crate) safe fn setpgid(pid: i32, group: i32) -> i32;
        pub(crate) fn execve(
            path: *const c_char,
            argv: *const *const c_char,
            envp: *const *const c_char,
        ) -> i32;
        pub(crate) fn execveat(
            folder: i32,
            path: *const c_char,
            argv: *const *const c_char,
            envp: *const *const c_char,
            flags: i32,
        ) -> i32;
        pub(crate) fn fexecve(
            fd: i32,
            argv: *const *const c_char,
            envp: *const *const c_char,
        ) -> i32;
        pub(crate) fn execvpe(
            file: *const c_char,
            argv: *const *const c_char,
            envp: *const *const c_char,
        ) -> i32;
        pub(crate) fn mmap64(
            address: *mut c_void,
            len: usize,
            protection: i32,
            flags: i32,
            fd: i32,
            offset: i64,
        ) -> isize;
        // On Linux, the C type `long` is as wide as a pointer.
        pub(crate) fn syscall(number: isize, ...) -> isize;
        pub(crate) safe fn geteuid() -> u32;
        pub(crate) safe fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
        pub(crate) safe fn setsid() -> i32;
    }
}

type Answer = Result<usize, Errno>;

/// Converts the return value of a C function to a count or an errno.
fn answer(returned: isize) -> Result<usize, Errno> {
    usize::try_from(returned)
        .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap())
}

/// The descriptors that the rows use.
struct Ends {
    /// A blocking read end of an empty pipe that has a writer.
    reader: PipeReader,
    writer: PipeWriter,
    /// A nonblocking read end of an empty pipe that has a writer.
    empty: PipeReader,
    _empty_writer: PipeWriter,
    /// A nonblocking write end of a full pipe that has a reader.
    full: PipeWriter,
    full_reader: PipeReader,
    /// A read end whose pipe has no writer. `broken` is a write end whose pipe has no reader.
    ended: PipeReader,
    broken: PipeWriter,
    /// The read end of a pipe that holds ten bytes.
    filled: PipeReader,
    filled_writer: PipeWriter,
    folder: File,
    null: File,
    full_device: File,
    append: File,
}

impl Ends {
    fn new() -> Self {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let (empty, _empty_writer) = Builder::new().nonblocking().build().unwrap();
        let (full_reader, full) = Builder::new().nonblocking().build().unwrap();
        full.write_all(&vec![0; full.capacity().unwrap()]).unwrap();
        let (ended, writer_of_ended) = rawpipe::pipe().unwrap();
        drop(writer_of_ended);
        let (reader_of_broken, broken) = rawpipe::pipe().unwrap();
        drop(reader_of_broken);
        let (filled, filled_writer) = rawpipe::pipe().unwrap();
        filled_writer.write_all(b"some bytes").unwrap();
        Self {
            reader,
            writer,
            empty,
            _empty_writer,
            full,
            full_reader,
            ended,
            broken,
            filled,
            filled_writer,
            folder: File::open("/").unwrap(),
            null: File::options().read(true).write(true).open("/dev/null").unwrap(),
            full_device: File::options().write(true).open("/dev/full").unwrap(),
            append: common::append_file(),
        }
    }
}

const OK_0: Result<usize, Errno> = Ok(0);

/// Checks a row. The call and the reference must both return the expected result.
fn row(call: &str, situation: &str, wanted: Answer, ours: Answer, theirs: Answer) {
    assert_eq!(ours, wanted, "{call}, {situation}: rawpipe");
    assert_eq!(theirs, wanted, "{call}, {situation}: the reference");
    println!("ROW {call} | {situation} | held");
}

/// Checks a row whose errno depends on the kernel version. The call and the reference must fail with the same
/// errno.
fn alike(call: &str, situation: &str, ours: Answer, theirs: Answer) {
    assert!(ours.is_err(), "{call}, {situation}: {ours:?}");
    assert_eq!(ours, theirs, "{call}, {situation}: rawpipe, the reference");
    println!("ROW {call} | {situation} | held");
}

/// Checks a row whose call is not compared with a reference.
fn own<T: PartialEq + Debug>(call: &str, situation: &str, wanted: T, ours: T) {
    assert_eq!(ours, wanted, "{call}, {situation}");
    println!("ROW {call} | {situation} | own");
}

/// Converts the result of a call that must move all bytes. Returns the number of moved bytes or the errno.
fn whole(answer: Result<(), Incomplete>, all: usize) -> Answer {
    match answer {
        Ok(()) => Ok(all),
        Err(stopped) => stopped.errno().map_or(Ok(stopped.bytes()), Err),
    }
}

/// Converts the result of a std function to the result type of the table.
fn of_std<T>(answer: std::io::Result<T>) -> Answer {
    answer.map(|_| 0).map_err(|error| Errno::from_io_error(&error).expect("an error of the system"))
}

/// Runs `body` in a child and returns the two results of `body`. This function is for calls after which this
/// process could not continue.
fn in_child(body: impl FnOnce() -> [Answer; 2]) -> [Answer; 2] {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut child = common::child(|| {
        let told = body().map(|answer| match answer {
            Ok(count) => i64::try_from(count).unwrap_or(i64::MAX),
            Err(errno) => -i64::from(errno.raw_os_error()),
        });
        let [a, b] = told.map(i64::to_ne_bytes);
        let written = writer.write_all(&a).and_then(|()| writer.write_all(&b));
        u8::from(written.is_err())
    });
    drop(writer);
    let mut told = [[0; 8]; 2];
    told.iter_mut().for_each(|told| reader.read_exact(told).expect("an answer"));
    assert!(child.wait().unwrap().success());
    told.map(i64::from_ne_bytes).map(|told| {
        usize::try_from(told)
            .map_err(|_| Errno::from_raw_os_error(i32::try_from(-told).unwrap()).unwrap())
    })
}

/// The id of the user `nobody`. By convention, this user owns no files.
const NOBODY: u32 = 65534;

/// Switches to the user [`NOBODY`] and returns whether the switch succeeded. Only a child of [`in_child`]
/// calls this function.
fn become_ordinary_user() -> bool {
    libc::geteuid() == NOBODY || libc::setresuid(NOBODY, NOBODY, NOBODY) == 0
}

fn table_read_and_readv() {
    let ends = Ends::new();
    let table: &[(&str, BorrowedFd<'_>, usize, Result<usize, Errno>)] = &[
        ("closed", common::closed_fd(), 1, Err(Errno::EBADF)),
        ("write end", ends.writer.as_fd(), 1, Err(Errno::EBADF)),
        ("empty, nonblocking", ends.empty.as_fd(), 1, Err(Errno::EAGAIN)),
        ("empty, nothing wanted", ends.reader.as_fd(), 0, OK_0),
        ("no writer", ends.ended.as_fd(), 1, OK_0),
        ("folder", ends.folder.as_fd(), 1, Err(Errno::EISDIR)),
        ("null device", ends.null.as_fd(), 1, OK_0),
    ];
    for &(what, fd, len, wanted) in table {
        let mut buf = vec![0; len];
        let ours = rawpipe::read(fd, &mut buf);
        let place = buf.as_mut_ptr().cast::<c_void>();
        // SAFETY: `buf` has `len` bytes.
        let theirs = answer(unsafe { libc::read(fd.as_raw_fd(), place, len) });
        row("io::read", what, wanted, ours, theirs);

        let mut bufs = [IoSliceMut::new(&mut buf)];
        let ours = io::readv(fd, &mut bufs);
        let list = bufs.as_mut_ptr().cast::<c_void>();
        // SAFETY: the list holds one `struct iovec`.
        let theirs = answer(unsafe { libc::readv(fd.as_raw_fd(), list, 1) });
        row("io::readv", what, wanted, ours, theirs);
    }
}

fn table_write_and_writev() {
    let ends = Ends::new();
    let table: &[(&str, BorrowedFd<'_>, usize, Result<usize, Errno>)] = &[
        ("closed", common::closed_fd(), 1, Err(Errno::EBADF)),
        ("read end", ends.reader.as_fd(), 1, Err(Errno::EBADF)),
        ("full, nonblocking", ends.full.as_fd(), 1, Err(Errno::EAGAIN)),
        ("full, nothing to write", ends.full.as_fd(), 0, OK_0),
        ("no reader", ends.broken.as_fd(), 1, Err(Errno::EPIPE)),
        ("no reader, nothing to write", ends.broken.as_fd(), 0, OK_0),
        ("folder", ends.folder.as_fd(), 1, Err(Errno::EBADF)),
        ("null device", ends.null.as_fd(), 5, Ok(5)),
        ("full device", ends.full_device.as_fd(), 1, Err(Errno::ENOSPC)),
    ];
    for &(what, fd, len, wanted) in table {
        let buf = vec![0; len];
        let ours = rawpipe::write(fd, &buf);
        let place = buf.as_ptr().cast::<c_void>();
        // SAFETY: `buf` has `len` bytes.
        let theirs = answer(unsafe { libc::write(fd.as_raw_fd(), place, len) });
        row("io::write", what, wanted, ours, theirs);

        let bufs = [IoSlice::new(&buf)];
        let ours = io::writev(fd, &bufs);
        let list = bufs.as_ptr().cast::<c_void>();
        // SAFETY: the list holds one `struct iovec`.
        let theirs = answer(unsafe { libc::writev(fd.as_raw_fd(), list, 1) });
        row("io::writev", what, wanted, ours, theirs);
    }
    let bufs = vec![IoSlice::new(b"x"); 1025];
    let ours = io::writev(&ends.null, &bufs);
    let list = bufs.as_ptr().cast::<c_void>();
    // SAFETY: the list holds 1025 values of `struct iovec`.
    let theirs = answer(unsafe { libc::writev(ends.null.as_raw_fd(), list, 1025) });
    row("io::writev", "too many", Err(Errno::EINVAL), ours, theirs);
}

fn table_splice_and_tee() {
    let ends = Ends::new();
    let closed = common::closed_fd();
    let (filled, writer) = (ends.filled.as_fd(), ends.writer.as_fd());
    // Each line holds the situation, the source and the target. Two flags state whether the source and the
    // target have an offset. The last fields are the results of `splice` and `tee`.
    type Line<'a> = (
        &'a str,
        BorrowedFd<'a>,
        BorrowedFd<'a>,
        (bool, bool),
        Result<usize, Errno>,
        Result<usize, Errno>,
    );
    const BAD: Result<usize, Errno> = Err(Errno::EBADF);
    const INVALID: Result<usize, Errno> = Err(Errno::EINVAL);
    const SEEK: Result<usize, Errno> = Err(Errno::ESPIPE);
    const AGAIN: Result<usize, Errno> = Err(Errno::EAGAIN);
    let table: &[Line<'_>] = &[
        ("from closed", closed, writer, (false, false), BAD, BAD),
        ("to closed", filled, closed, (false, false), BAD, BAD),
        ("from a write end", ends.full.as_fd(), writer, (false, false), BAD, BAD),
        ("to a read end", filled, ends.reader.as_fd(), (false, false), BAD, BAD),
        ("one pipe", filled, ends.filled_writer.as_fd(), (false, false), INVALID, INVALID),
        ("no pipe", ends.null.as_fd(), ends.null.as_fd(), (false, false), INVALID, INVALID),
        ("to append mode", filled, ends.append.as_fd(), (false, false), INVALID, INVALID),
        ("offset in a source pipe", filled, writer, (true, false), SEEK, Ok(10)),
        ("offset in a target pipe", filled, writer, (false, true), SEEK, Ok(10)),
        ("empty", ends.empty.as_fd(), writer, (false, false), AGAIN, AGAIN),
        ("full", filled, ends.full.as_fd(), (false, false), AGAIN, AGAIN),
        ("no writer", ends.ended.as_fd(), writer, (false, false), OK_0, OK_0),
        (
            "no reader",
            filled,
            ends.broken.as_fd(),
            (false, false),
            Err(Errno::EPIPE),
            Err(Errno::EPIPE),
        ),
    ];
    let now = SpliceFlags::NONBLOCK;
    for &(what, from, to, (from_offset, to_offset), spliced, teed) in table {
        let mut places = (0_u64, 0_u64);
        let ours = splice(
            from,
            from_offset.then_some(&mut places.0),
            to,
            to_offset.then_some(&mut places.1),
            100,
            now,
        );
        let mut places = (0_i64, 0_i64);
        let null = std::ptr::null_mut();
        let from_place = if from_offset { &raw mut places.0 } else { null };
        let to_place = if to_offset { &raw mut places.1 } else { null };
        let (f, t) = (from.as_raw_fd(), to.as_raw_fd());
        // SAFETY: the offsets are null or in `places`.
        let theirs = answer(unsafe { libc::splice(f, from_place, t, to_place, 100, now.bits()) });
        row("splice::splice", what, spliced, ours, theirs);

        let ours = tee(from, to, 100, now);
        let theirs = answer(libc::tee(f, t, 100, now.bits()));
        row("splice::tee", what, teed, ours, theirs);
    }
    assert_eq!(ends.filled.available(), Ok(10));
    assert!(ends.full_reader.available().is_ok());
}

fn table_vmsplice() {
    static BYTES: [u8; 4] = *b"page";
    let ends = Ends::new();
    let null = PipeWriter::from(OwnedFd::from(ends.null.try_clone().unwrap()));
    let table: &[(&str, &PipeWriter, usize, Result<usize, Errno>)] = &[
        ("no pipe", &null, 1, Err(Errno::EBADF)),
        ("full", &ends.full, 1, Err(Errno::EAGAIN)),
        ("nothing to send", &ends.writer, 0, OK_0),
        ("too many", &ends.writer, 1025, Err(Errno::EINVAL)),
        ("no reader", &ends.broken, 1, Err(Errno::EPIPE)),
    ];
    let now = SpliceFlags::NONBLOCK;
    for &(what, writer, count, wanted) in table {
        let bufs = vec![IoSlice::new(&BYTES); count];
        // SAFETY: a static that is not `mut` never changes, and none of these descriptors is a read end.
        let ours = unsafe { vmsplice(writer, &bufs, now) };
        let list = bufs.as_ptr().cast::<c_void>();
        // SAFETY: as above, and `IoSlice` has the layout of `struct iovec`.
        let theirs = answer(unsafe { libc::vmsplice(writer.as_raw_fd(), list, count, now.bits()) });
        row("splice::vmsplice", what, wanted, ours, theirs);
    }
}

fn table_pipe2_and_dup() {
    let unknown: &[u32] = &[1 << 27, 1, u32::MAX];
    if common::emulated() {
        common::skip("table_pipe2_and_dup", "the emulator drops unknown flags of pipe2");
    }
    for &flags in unknown.iter().filter(|_| !common::emulated()) {
        let ours = rawpipe::pipe2(PipeFlags::from_bits_retain(flags)).map(|_| 0);
        let mut fds = [0; 2];
        // SAFETY: the array has room for two descriptors.
        let theirs =
            answer(
                unsafe { libc::pipe2(fds.as_mut_ptr(), i32::from_ne_bytes(flags.to_ne_bytes())) }
                    as isize,
            );
        row("pipe::pipe2", &format!("flags {flags:#x}"), Err(Errno::EINVAL), ours, theirs);
    }
    let closed = common::closed_fd();
    let theirs = answer(libc::dup(closed.as_raw_fd()) as isize);
    row("io::dup", "closed", Err(Errno::EBADF), rawpipe::dup(closed).map(|_| 0), theirs);

    let ends = Ends::new();
    let mut target = OwnedFd::from(ends.reader);
    let number = target.as_raw_fd();
    let ours = rawpipe::dup3(closed, &mut target, DupFlags::CLOEXEC).map(|()| 0);
    let theirs = answer(libc::dup3(closed.as_raw_fd(), number, 0) as isize);
    row("io::dup3", "closed", Err(Errno::EBADF), ours, theirs);
    let unknown = DupFlags::from_bits_retain(1 << 27);
    let ours = rawpipe::dup3(&ends.writer, &mut target, unknown).map(|()| 0);
    let theirs = answer(libc::dup3(ends.writer.as_raw_fd(), number, 1 << 27) as isize);
    row("io::dup3", "unknown flag", Err(Errno::EINVAL), ours, theirs);
}

fn table_poll_and_epoll() {
    const ADD: i32 = 1;
    const DELETE: i32 = 2;
    const MODIFY: i32 = 3;
    let ends = Ends::new();
    let epoll = Epoll::new().unwrap();
    epoll.add(&ends.filled, PollEvents::IN, 0).unwrap();
    let table: &[(&str, BorrowedFd<'_>, i32, Errno)] = &[
        ("closed, add", common::closed_fd(), ADD, Errno::EBADF),
        ("closed, delete", common::closed_fd(), DELETE, Errno::EBADF),
        ("closed, modify", common::closed_fd(), MODIFY, Errno::EBADF),
        ("folder", ends.folder.as_fd(), ADD, Errno::EPERM),
        ("file", ends.append.as_fd(), ADD, Errno::EPERM),
        ("itself", epoll.as_fd(), ADD, Errno::EINVAL),
        ("watched already", ends.filled.as_fd(), ADD, Errno::EEXIST),
        ("not watched, delete", ends.reader.as_fd(), DELETE, Errno::ENOENT),
        ("not watched, modify", ends.reader.as_fd(), MODIFY, Errno::ENOENT),
    ];
    for &(what, fd, operation, wanted) in table {
        let ours = match operation {
            ADD => epoll.add(fd, PollEvents::IN, 0),
            DELETE => epoll.delete(fd),
            _ => epoll.modify(fd, PollEvents::IN, 0),
        };
        let mut event = [1_u32, 0, 0, 0];
        let place = event.as_mut_ptr().cast::<c_void>();
        let (epoll, fd) = (epoll.as_fd().as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the call reads one event, which has at most 16 bytes.
        let theirs = answer(unsafe { libc::epoll_ctl(epoll, operation, fd, place) } as isize);
        let call = match operation {
            ADD => "Epoll::add",
            DELETE => "Epoll::delete",
            _ => "Epoll::modify",
        };
        row(call, what, Err(wanted), ours.map(|()| 0), theirs);
    }
    let ours = epoll.wait(&mut [], Some(Duration::ZERO)).map(<[Event]>::len);
    let null = std::ptr::null_mut();
    // SAFETY: the call fails and writes no event.
    let theirs =
        answer(unsafe { libc::epoll_wait(epoll.as_fd().as_raw_fd(), null, 0, 0) } as isize);
    row("Epoll::wait", "no room", Err(Errno::EINVAL), ours, theirs);

    let ours = EventFd::with_flags(0, EventFdFlags::from_bits_retain(1 << 27)).map(|_| 0);
    if common::emulated() {
        common::skip("table_poll_and_epoll", "the emulator drops unknown flags of eventfd");
    } else {
        let theirs = answer(libc::eventfd(0, 1 << 27) as isize);
        row("EventFd::with_flags", "unknown flag", Err(Errno::EINVAL), ours, theirs);
    }

    let closed = common::closed_fd();
    let mut fds = [PollFd::from_borrowed_fd(closed, PollEvents::IN); 2];
    let ours = poll(&mut fds[..1], None);
    let place = (&raw mut fds[1]).cast::<c_void>();
    // SAFETY: the list holds one `struct pollfd`.
    let theirs = answer(unsafe { libc::poll(place, 1, -1) } as isize);
    row("event::poll", "closed", Ok(1), ours, theirs);
    assert_eq!(fds.map(|fd| fd.revents()), [PollEvents::NVAL; 2]);
}

fn errno_of_the_c_library_is_left_alone() {
    let ends = Ends::new();
    let mut byte = [0_u8];
    let place = byte.as_mut_ptr().cast::<c_void>();
    // SAFETY: the buffer has room for one byte.
    assert_eq!(unsafe { libc::read(ends.folder.as_raw_fd(), place, 1) }, -1);
    let eisdir = std::io::Error::last_os_error().raw_os_error();
    assert_eq!(eisdir, Some(Errno::EISDIR.raw_os_error()));
    assert_eq!(rawpipe::read(common::closed_fd(), &mut [0]), Err(Errno::EBADF));
    assert_eq!(rawpipe::write(&ends.null, b"x"), Ok(1));
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), eisdir);
}

/// Returns the groups of rows, followed by the tests that are not groups.
pub(crate) fn tests() -> Vec<common::Test> {
    const GROUPS: &[(&str, fn())] = &[
        ("table_read_and_readv", table_read_and_readv),
        ("table_write_and_writev", table_write_and_writev),
        ("table_splice_and_tee", table_splice_and_tee),
        ("table_vmsplice", table_vmsplice),
        ("table_pipe2_and_dup", table_pipe2_and_dup),
        ("table_poll_and_epoll", table_poll_and_epoll),
        ("descriptors_reads", descriptors::reads),
        ("descriptors_writes", descriptors::writes),
        ("descriptors_reads_with_a_deadline", descriptors::reads_with_a_deadline),
        ("descriptors_writes_with_a_deadline", descriptors::writes_with_a_deadline),
        ("descriptors_flags_and_numbers", descriptors::flags_and_numbers),
        ("descriptors_capacities", descriptors::capacities),
        ("descriptors_no_descriptors_left", descriptors::no_descriptors_left),
        ("descriptors_waiting", descriptors::waiting),
        ("descriptors_signals", descriptors::signals),
        ("itself_any_child", itself::any_child),
        ("itself_by_descriptor", itself::by_descriptor),
        ("itself_changes", itself::changes),
        ("messages_channels", messages::channels),
        ("messages_packet_pipes", messages::packet_pipes),
        ("messages_links", messages::links),
        ("moving_sendfile_and_copy_file_range", moving::sendfile_and_copy_file_range),
        ("moving_splice_and_others", moving::splice_and_others),
        ("moving_transfers", moving::transfers),
        ("moving_fanouts", moving::fanouts),
        ("moving_chunks", moving::chunks),
        ("numbers_calls_by_number", numbers::calls_by_number),
        ("processes_forks", processes::forks),
        ("processes_waits", processes::waits),
        ("processes_signals", processes::signals),
        ("processes_groups", processes::groups),
        ("signals_waits", signals::waits),
        ("signals_no_descriptors_left", signals::no_descriptors_left),
        ("programs_execs", programs::execs),
        ("programs_spawns", programs::spawns),
        ("programs_conversations", programs::conversations),
        ("programs_pipelines", programs::pipelines),
        ("shared_halves", shared::halves),
        ("shared_halves_of_another_process", shared::halves_of_another_process),
        ("shared_halves_of_broken_memory", shared::halves_of_broken_memory),
        ("shared_pairs", shared::pairs),
        ("shared_copiers", shared::copiers),
        ("shared_parts", shared::parts),
    ];
    let mut all = GROUPS.to_vec();
    all.push(("errno_of_the_c_library_is_left_alone", errno_of_the_c_library_is_left_alone));
    all.push(("every_public_call_has_a_row", || sources::every_public_call_has_a_row(GROUPS)));
    all
}
