//! Checks the results of reads, writes and waits, and of calls that read or change a descriptor's settings
//! and properties. Each row covers one call in one situation.

use super::{Answer, Ends, answer, libc, own, row, whole};
use crate::common::nr;
use crate::common::{self, Filter, closed_fd, skip};
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::event::{
    Epoll, Event, EventFd, EventFdFlags, FdSet, PollEvents, PollFd, poll, poll_deadline, select,
    select_deadline,
};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rawpipe::io::without_sigpipe;
use rawpipe::io::{self, DupFlags, IoSlice, IoSliceMut};
use rawpipe::message::{Channel, Duplex, packets};
use rawpipe::pipe::{self, Builder, Capacity};
use rawpipe::process::Resource;
use rawpipe::transfer::{Fanout, FanoutSink, discard};
use rawpipe::{Errno, PipeFlags, PipeReader, PipeWriter};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::mem::MaybeUninit;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

const OK_0: Answer = Ok(0);
const BAD: Answer = Err(Errno::EBADF);
const AGAIN: Answer = Err(Errno::EAGAIN);
const LATE: Answer = Err(Errno::ETIMEDOUT);

/// Returns a duplicate of a descriptor as a `PipeReader`, whatever kind of file the descriptor refers to.
fn reader_of(fd: BorrowedFd<'_>) -> PipeReader {
    fd.try_clone_to_owned().unwrap().into()
}

fn writer_of(fd: BorrowedFd<'_>) -> PipeWriter {
    fd.try_clone_to_owned().unwrap().into()
}

fn soon() -> Deadline<'static> {
    Deadline::after(SHORT)
}

const SHORT: Duration = Duration::from_millis(2);

/// Returns the result of the C library's `read` of one byte.
fn c_read(fd: BorrowedFd<'_>) -> Answer {
    let mut byte = [0_u8];
    // SAFETY: the buffer has room for one byte.
    answer(unsafe { libc::read(fd.as_raw_fd(), byte.as_mut_ptr().cast::<c_void>(), 1) })
}

fn c_write(fd: BorrowedFd<'_>) -> Answer {
    // SAFETY: the buffer holds one byte.
    answer(unsafe { libc::write(fd.as_raw_fd(), c"x".as_ptr().cast::<c_void>(), 1) })
}

pub(crate) fn reads() {
    let ends = Ends::new();
    let situations: &[(&str, BorrowedFd<'_>, Answer)] = &[
        ("closed", closed_fd(), BAD),
        ("write end", ends.writer.as_fd(), BAD),
        ("empty, nonblocking", ends.empty.as_fd(), AGAIN),
        ("no writer", ends.ended.as_fd(), OK_0),
        ("folder", ends.folder.as_fd(), Err(Errno::EISDIR)),
        ("null device", ends.null.as_fd(), OK_0),
    ];
    type Read<T> = fn(T, &mut [u8]) -> Answer;
    let functions: &[(&str, Read<BorrowedFd<'_>>)] = &[
        ("io::read_uninit", |fd, _| {
            io::read_uninit(fd, &mut [MaybeUninit::uninit()]).map(|read| read.len())
        }),
        ("io::read_exact", |fd, buf| whole(io::read_exact(fd, buf), 1)),
        ("io::read_to_end", |fd, _| io::read_to_end(fd, &mut Vec::new())),
    ];
    let methods: &[(&str, Read<PipeReader>)] = &[
        ("PipeReader::read", |end, buf| end.read(buf)),
        ("PipeReader::read_uninit", |end, _| {
            end.read_uninit(&mut [MaybeUninit::uninit()]).map(|read| read.len())
        }),
        ("PipeReader::readv", |end, buf| end.readv(&mut [IoSliceMut::new(buf)])),
        ("PipeReader::read_exact", |end, buf| whole(end.read_exact(buf), 1)),
        ("PipeReader::read_to_end", |end, _| end.read_to_end(&mut Vec::new())),
        ("AdaptiveEnd::read", |end, buf| end.with_wait(Wait::Adaptive).read(buf)),
        ("AdaptiveEnd::read_exact", |end, buf| {
            whole(end.with_wait(Wait::Adaptive).read_exact(buf), 1)
        }),
        ("Duplex::read", |end, buf| Duplex::new(end, rawpipe::pipe().unwrap().1).read(buf)),
        ("Duplex::read_exact", |end, buf| {
            whole(Duplex::new(end, rawpipe::pipe().unwrap().1).read_exact(buf), 1)
        }),
    ];
    for &(what, fd, wanted) in situations {
        for (call, read) in functions {
            row(call, what, wanted, read(fd, &mut [0]), c_read(fd));
        }
        // The methods need an owned descriptor, and an owned descriptor is always open.
        for (call, read) in methods.iter().filter(|_| what != "closed") {
            row(call, what, wanted, read(reader_of(fd), &mut [0]), c_read(fd));
        }
    }
}

pub(crate) fn writes() {
    let ends = Ends::new();
    let situations: &[(&str, BorrowedFd<'_>, Answer)] = &[
        ("closed", closed_fd(), BAD),
        ("read end", ends.reader.as_fd(), BAD),
        ("full, nonblocking", ends.full.as_fd(), AGAIN),
        ("no reader", ends.broken.as_fd(), Err(Errno::EPIPE)),
        ("folder", ends.folder.as_fd(), BAD),
        ("full device", ends.full_device.as_fd(), Err(Errno::ENOSPC)),
        ("null device", ends.null.as_fd(), Ok(1)),
    ];
    const X: &[u8] = b"x";
    type Write<T> = fn(T) -> Answer;
    let functions: &[(&str, Write<BorrowedFd<'_>>)] = &[
        ("io::write_all", |fd| whole(io::write_all(fd, X), 1)),
        ("io::write_all_vectored", |fd| {
            whole(io::write_all_vectored(fd, &mut [IoSlice::new(X)]), 1)
        }),
        ("io::write_atomic", |fd| io::write_atomic(fd, X).map(|()| 1)),
        ("io::write_nosignal", |fd| io::write_nosignal(fd, X)),
        ("io::writev_nosignal", |fd| io::writev_nosignal(fd, &[IoSlice::new(X)])),
    ];
    let methods: &[(&str, Write<PipeWriter>)] = &[
        ("PipeWriter::write", |end| end.write(X)),
        ("PipeWriter::writev", |end| end.writev(&[IoSlice::new(X)])),
        ("PipeWriter::write_all", |end| whole(end.write_all(X), 1)),
        ("PipeWriter::write_all_vectored", |end| {
            whole(end.write_all_vectored(&mut [IoSlice::new(X)]), 1)
        }),
        ("PipeWriter::write_nosignal", |end| end.write_nosignal(X)),
        ("PipeWriter::write_atomic", |end| end.write_atomic(X).map(|()| 1)),
        ("AdaptiveEnd::write", |end| end.with_wait(Wait::Adaptive).write(X)),
        ("AdaptiveEnd::write_all", |end| whole(end.with_wait(Wait::Adaptive).write_all(X), 1)),
        ("Duplex::write", |end| Duplex::new(rawpipe::pipe().unwrap().0, end).write(X)),
        ("Duplex::write_all", |end| {
            whole(Duplex::new(rawpipe::pipe().unwrap().0, end).write_all(X), 1)
        }),
    ];
    for &(what, fd, wanted) in situations {
        for (call, write) in functions {
            row(call, what, wanted, write(fd), c_write(fd));
        }
        for (call, write) in methods.iter().filter(|_| what != "closed") {
            row(call, what, wanted, write(writer_of(fd)), c_write(fd));
        }
    }
    let many = vec![IoSlice::new(X); 1025];
    let ours = io::writev_nosignal(&ends.null, &many);
    // SAFETY: the list holds 1025 values of `struct iovec`.
    let theirs = answer(unsafe {
        libc::writev(ends.null.as_raw_fd(), many.as_ptr().cast::<c_void>(), 1025)
    });
    row("io::writev_nosignal", "too many", Err(Errno::EINVAL), ours, theirs);
}

/// The reference must not wait. If a pipe is empty, the reference therefore reads from a nonblocking end.
pub(crate) fn reads_with_a_deadline() {
    let ends = Ends::new();
    let situations: &[(&str, BorrowedFd<'_>, BorrowedFd<'_>, Answer)] = &[
        ("closed", closed_fd(), closed_fd(), BAD),
        ("write end", ends.writer.as_fd(), ends.writer.as_fd(), BAD),
        ("empty", ends.reader.as_fd(), ends.empty.as_fd(), AGAIN),
        ("empty, nonblocking", ends.empty.as_fd(), ends.empty.as_fd(), AGAIN),
        ("no writer", ends.ended.as_fd(), ends.ended.as_fd(), OK_0),
    ];
    type Read<T> = fn(T, &mut [u8]) -> Answer;
    let functions: &[(&str, Read<BorrowedFd<'_>>)] = &[
        ("io::try_read", |fd, buf| io::try_read(fd, buf)),
        ("io::read_deadline", |fd, buf| io::read_deadline(fd, buf, soon())),
        ("io::read_exact_deadline", |fd, buf| whole(io::read_exact_deadline(fd, buf, soon()), 1)),
    ];
    let methods: &[(&str, Read<PipeReader>)] = &[
        ("PipeReader::try_read", |end, buf| end.try_read(buf)),
        ("PipeReader::read_deadline", |end, buf| end.read_deadline(buf, soon())),
        ("PipeReader::read_exact_deadline", |end, buf| {
            whole(end.read_exact_deadline(buf, soon()), 1)
        }),
    ];
    for &(what, fd, theirs, wanted) in situations {
        let theirs = c_read(theirs);
        assert_eq!(theirs, wanted, "{what}");
        // If the reference returns `EAGAIN` in a situation, a call with a deadline times out.
        let late = |call: &str| wanted == AGAIN && !call.ends_with("try_read");
        for (call, read) in functions {
            let wanted = if late(call) { LATE } else { wanted };
            own(call, what, wanted, read(fd, &mut [0]));
        }
        for (call, read) in methods.iter().filter(|_| what != "closed") {
            let wanted = if late(call) { LATE } else { wanted };
            own(call, what, wanted, read(reader_of(fd), &mut [0]));
        }
    }
    let terminal_like = rawpipe::pipe().unwrap();
    drop(terminal_like.1);
    own("io::try_read", "nothing wanted", OK_0, io::try_read(&terminal_like.0, &mut []));
    let folder = io::try_read(&ends.folder, &mut [0]);
    own("io::try_read", "folder", Err(Errno::EOPNOTSUPP), folder);
}

pub(crate) fn writes_with_a_deadline() {
    let ends = Ends::new();
    let (full_reader, blocking) = rawpipe::pipe().unwrap();
    blocking.write_all(&vec![0; blocking.capacity().unwrap()]).unwrap();
    let situations: &[(&str, BorrowedFd<'_>, BorrowedFd<'_>, Answer)] = &[
        ("closed", closed_fd(), closed_fd(), BAD),
        ("read end", ends.reader.as_fd(), ends.reader.as_fd(), BAD),
        ("full", blocking.as_fd(), ends.full.as_fd(), AGAIN),
        ("full, nonblocking", ends.full.as_fd(), ends.full.as_fd(), AGAIN),
        ("no reader", ends.broken.as_fd(), ends.broken.as_fd(), Err(Errno::EPIPE)),
    ];
    const X: &[u8] = b"x";
    type Write<T> = fn(T) -> Answer;
    let functions: &[(&str, Write<BorrowedFd<'_>>)] = &[
        ("io::try_write", |fd| io::try_write(fd, X)),
        ("io::write_deadline", |fd| io::write_deadline(fd, X, soon())),
        ("io::write_all_deadline", |fd| whole(io::write_all_deadline(fd, X, soon()), 1)),
    ];
    let methods: &[(&str, Write<PipeWriter>)] = &[
        ("PipeWriter::try_write", |end| end.try_write(X)),
        ("PipeWriter::write_deadline", |end| end.write_deadline(X, soon())),
        ("PipeWriter::write_all_deadline", |end| whole(end.write_all_deadline(X, soon()), 1)),
    ];
    for &(what, fd, theirs, wanted) in situations {
        assert_eq!(c_write(theirs), wanted, "{what}");
        let late = |call: &str| wanted == AGAIN && !call.ends_with("try_write");
        for (call, write) in functions {
            let wanted = if late(call) { LATE } else { wanted };
            own(call, what, wanted, write(fd));
        }
        for (call, write) in methods.iter().filter(|_| what != "closed") {
            let wanted = if late(call) { LATE } else { wanted };
            own(call, what, wanted, write(writer_of(fd)));
        }
    }
    drop(full_reader);
}

/// Returns the result of the C library's `fcntl` with an integer argument.
fn c_fcntl(fd: BorrowedFd<'_>, operation: i32, argument: i32) -> Answer {
    // SAFETY: the operations that are used here accept an integer.
    answer(unsafe { libc::fcntl(fd.as_raw_fd(), operation, argument) } as isize)
}

const F_DUPFD_CLOEXEC: i32 = 1030;
const F_GETFD: i32 = 1;
const F_SETFD: i32 = 2;
const F_GETFL: i32 = 3;
const F_SETFL: i32 = 4;

pub(crate) fn flags_and_numbers() {
    let closed = closed_fd();
    let number = |answer: Result<bool, Errno>| answer.map(usize::from);
    let done = |answer: Result<(), Errno>| answer.map(|()| 0);
    let ours = number(io::is_close_on_exec(closed));
    row("io::is_close_on_exec", "closed", BAD, ours, c_fcntl(closed, F_GETFD, 0));
    let ours = done(io::set_close_on_exec(closed, true));
    row("io::set_close_on_exec", "closed", BAD, ours, c_fcntl(closed, F_SETFD, 1));
    let ours = number(io::is_nonblocking(closed));
    row("io::is_nonblocking", "closed", BAD, ours, c_fcntl(closed, F_GETFL, 0));
    let ours = done(io::set_nonblocking(closed, true));
    row("io::set_nonblocking", "closed", BAD, ours, c_fcntl(closed, F_SETFL, 0));
    let ours = io::dup_cloexec(closed).map(|_: OwnedFd| 0);
    row("io::dup_cloexec", "closed", BAD, ours, c_fcntl(closed, F_DUPFD_CLOEXEC, 0));

    // An `O_PATH` descriptor refers to a file without opening the file. The flags of the descriptor can be
    // read, but only close-on-exec can be set.
    const O_PATH: i32 = 0o10_000_000; // generic; Alpha, PA-RISC and SPARC differ
    let place = OpenOptions::new().read(true).custom_flags(O_PATH).open("/").unwrap();
    let ours = done(io::set_nonblocking(&place, true));
    row("io::set_nonblocking", "a place", BAD, ours, c_fcntl(place.as_fd(), F_SETFL, 0));
    let ours = number(io::is_close_on_exec(&place));
    row("io::is_close_on_exec", "a place", Ok(1), ours, c_fcntl(place.as_fd(), F_GETFD, 0));
    let ours = done(io::set_close_on_exec(&place, true));
    row("io::set_close_on_exec", "a place", OK_0, ours, c_fcntl(place.as_fd(), F_SETFD, 1));

    // SAFETY: no descriptor has this number.
    let ours = unsafe { io::take_inherited(-1) }.map(|_| 0);
    own("io::take_inherited", "negative", BAD, ours);
    // SAFETY: as above.
    let ours = unsafe { io::take_inherited(closed.as_raw_fd()) }.map(|_| 0);
    row("io::take_inherited", "closed", BAD, ours, c_fcntl(closed, F_GETFD, 0));

    let ends = Ends::new();
    own("io::close", "open", Ok(()), io::close(File::open("/dev/null").unwrap()));
    let mut target = OwnedFd::from(ends.null.try_clone().unwrap());
    let (from, to) = (ends.writer.as_fd(), target.as_raw_fd());
    let ours = io::dup3(from, &mut target, DupFlags::CLOEXEC).map(|()| 0);
    let theirs = answer(libc::dup3(from.as_raw_fd(), to, 0o2_000_000) as isize).map(|_| 0);
    if !cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        row("io::dup3", "onto an open one", OK_0, ours, theirs);
    }
    // The kernel's `dup3` fails if both numbers are equal. Callers of the crate's `dup3` cannot pass equal
    // numbers, because the function borrows one descriptor exclusively.
    let (reader, writer) = (reader_of(ends.null.as_fd()), writer_of(ends.null.as_fd()));
    own("PipeReader::is_nonblocking", "null device", Ok(false), reader.is_nonblocking());
    own("PipeWriter::is_nonblocking", "null device", Ok(false), writer.is_nonblocking());
    own("PipeReader::set_nonblocking", "null device", Ok(()), reader.set_nonblocking(true));
    own("PipeWriter::set_nonblocking", "null device", Ok(()), writer.set_nonblocking(false));
    let (reader, writer) = (reader_of(place.as_fd()), writer_of(place.as_fd()));
    let theirs = || c_fcntl(place.as_fd(), F_SETFL, 0);
    let ours = done(reader.set_nonblocking(true));
    row("PipeReader::set_nonblocking", "a place", BAD, ours, theirs());
    let ours = done(writer.set_nonblocking(true));
    row("PipeWriter::set_nonblocking", "a place", BAD, ours, theirs());
}

pub(crate) fn capacities() {
    const F_SETPIPE_SZ: i32 = 1031;
    const F_GETPIPE_SZ: i32 = 1032;
    let ends = Ends::new();
    let fionread = || match std::env::consts::ARCH {
        "powerpc" | "powerpc64" | "sparc" | "sparc64" => 0x4004_667f,
        "mips" | "mips64" => 0x467f,
        _ => 0x541b,
    };
    let c_available = |fd: BorrowedFd<'_>| {
        let mut bytes = 0_i32;
        let place = &raw mut bytes;
        // SAFETY: the call writes one `int`.
        answer(unsafe { libc::ioctl(fd.as_raw_fd(), fionread(), place) } as isize)
    };
    let flag = |answer: Result<bool, Errno>| answer.map(usize::from);
    let one = Capacity::Bytes(1);
    for (what, fd) in [("closed", closed_fd()), ("null device", ends.null.as_fd())] {
        let get = c_fcntl(fd, F_GETPIPE_SZ, 0);
        let set = c_fcntl(fd, F_SETPIPE_SZ, 1);
        row("pipe::capacity", what, BAD, pipe::capacity(fd), get);
        row("pipe::set_capacity", what, BAD, pipe::set_capacity(fd, one), set);
        let largest = format!("{what}, as large as may be");
        row("pipe::set_capacity", &largest, BAD, pipe::set_capacity(fd, Capacity::Max), set);
        row("pipe::is_degraded", what, BAD, flag(pipe::is_degraded(fd)), get);
        let wanted = if what == "closed" { BAD } else { Err(Errno::ENOTTY) };
        row("pipe::available", what, wanted, pipe::available(fd), c_available(fd));
        if what == "closed" {
            continue;
        }
        let (reader, writer) = (reader_of(fd), writer_of(fd));
        row("PipeReader::capacity", what, BAD, reader.capacity(), get);
        row("PipeWriter::capacity", what, BAD, writer.capacity(), get);
        row("PipeReader::set_capacity", what, BAD, reader.set_capacity(one), set);
        row("PipeWriter::set_capacity", what, BAD, writer.set_capacity(one), set);
        row("PipeReader::is_degraded", what, BAD, flag(reader.is_degraded()), get);
        row("PipeWriter::is_degraded", what, BAD, flag(writer.is_degraded()), get);
        row("PipeReader::available", what, wanted, reader.available(), c_available(fd));
        row("PipeWriter::available", what, wanted, writer.available(), c_available(fd));
    }
    let full = ends.full.as_fd();
    // If the pipe has a single slot, this call does not reduce the capacity, so the call cannot fail with
    // `EBUSY`.
    if ends.full.is_degraded() == Ok(false) {
        let ours = pipe::set_capacity(full, one);
        let busy = Err(Errno::EBUSY);
        row("pipe::set_capacity", "too full", busy, ours, c_fcntl(full, F_SETPIPE_SZ, 1));
    }
    let writer = ends.writer.as_fd();
    let invalid = Err(Errno::EINVAL);
    let ours = pipe::set_capacity(writer, Capacity::Bytes(0x8000_0001));
    let theirs = c_fcntl(writer, F_SETPIPE_SZ, i32::MIN + 1);
    row("pipe::set_capacity", "more than 2 GiB", invalid, ours, theirs);
    let ours = pipe::set_capacity(writer, Capacity::Bytes(usize::MAX));
    own("pipe::set_capacity", "more than any", invalid, ours);
    let built = Builder::new().capacity(Capacity::Bytes(0x8000_0001)).build();
    let theirs = c_fcntl(writer, F_SETPIPE_SZ, i32::MIN + 1);
    row("Builder::build", "more than 2 GiB", invalid, built.map(|_| 0), theirs);
    // Ordinary users may not set a capacity above this limit.
    let most: Option<usize> = std::fs::read_to_string("/proc/sys/fs/pipe-max-size")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|most| *most < 1 << 30);
    let Some(most) = most else { return };
    let [ours, theirs] = super::in_child(|| {
        if !super::become_ordinary_user() {
            return [OK_0; 2];
        }
        let ours = pipe::set_capacity(writer, Capacity::Bytes(most + 1));
        [ours, c_fcntl(writer, F_SETPIPE_SZ, i32::try_from(most + 1).unwrap())]
    });
    if ours == OK_0 {
        return skip("capacities", "cannot become an ordinary user");
    }
    row("pipe::set_capacity", "more than a user may", Err(Errno::EPERM), ours, theirs);
}

pub(crate) fn no_descriptors_left() {
    if common::descriptors_without_limit("no_descriptors_left") {
        return;
    }
    if common::emulated() {
        return skip("no_descriptors_left", "an emulator needs some itself");
    }
    let full = Err(Errno::EMFILE);
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (source, next) = (File::open("/dev/null").unwrap(), File::open("/").unwrap());
    common::set_soft_limit(Resource::NOFILE.as_raw(), u64::try_from(next.as_raw_fd()).unwrap());
    drop(next);
    let mut fds = [0; 2];
    // SAFETY: the array has room for two descriptors.
    let c_pipe = answer(unsafe { libc::pipe2(fds.as_mut_ptr(), 0) } as isize);
    let c_dup = answer(libc::dup(reader.as_raw_fd()) as isize);
    let c_epoll = answer(libc::epoll_create1(0) as isize);
    let c_eventfd = answer(libc::eventfd(0, 0) as isize);
    let what = "no descriptors left";
    let rows: [(&str, Answer, Answer); 17] = [
        ("pipe::pipe", rawpipe::pipe().map(|_| 0), c_pipe),
        ("pipe::pipe2", rawpipe::pipe2(PipeFlags::NONBLOCK).map(|_| 0), c_pipe),
        ("Builder::build", Builder::new().capacity(Capacity::Max).build().map(|_| 0), c_pipe),
        ("message::packets", packets().map(|_| 0), c_pipe),
        ("Channel::pair", Channel::pair().map(|_| 0), c_pipe),
        ("Channel::pair_of", Channel::pair_of(Builder::new()).map(|_| 0), c_pipe),
        ("Duplex::pair", Duplex::pair().map(|_| 0), c_pipe),
        ("Duplex::pair_of", Duplex::pair_of(Builder::new()).map(|_| 0), c_pipe),
        // SAFETY: no free descriptor remains for the link between the processes, so no child is created.
        ("Duplex::fork", unsafe { Duplex::fork(|_| 0) }.map(|_| 0), c_pipe),
        (
            "Fanout::run",
            Fanout::new()
                .run(&source, &mut [FanoutSink::new(&writer)])
                .map(|_| 0)
                .map_err(|error| error.errno().unwrap()),
            c_pipe,
        ),
        ("Epoll::new", Epoll::new().map(|_| 0), c_epoll),
        ("EventFd::new", EventFd::new(0).map(|_| 0), c_eventfd),
        (
            "EventFd::with_flags",
            EventFd::with_flags(0, EventFdFlags::empty()).map(|_| 0),
            c_eventfd,
        ),
        ("io::dup", io::dup(&reader).map(|_| 0), c_dup),
        ("io::dup_cloexec", io::dup_cloexec(&reader).map(|_| 0), c_dup),
        ("PipeReader::try_clone", reader.try_clone().map(|_| 0), c_dup),
        ("PipeWriter::try_clone", writer.try_clone().map(|_| 0), c_dup),
    ];
    for (call, ours, theirs) in rows {
        row(call, what, full, ours, theirs);
    }
    let ours = discard(&reader, Some(0)).map(|_| 0).map_err(|error| error.errno().unwrap());
    own("transfer::discard", what, Ok(0), ours);
}

pub(crate) fn waiting() {
    let invalid = Err(Errno::EINVAL);
    // The number of entries exceeds the limit on descriptors.
    if common::emulated() {
        skip("waiting", "an emulator needs descriptors itself");
    } else if !common::descriptors_without_limit("waiting") {
        let before = common::set_soft_limit(Resource::NOFILE.as_raw(), 40);
        let mut fds = [PollFd::from_borrowed_fd(closed_fd(), PollEvents::IN); 41];
        let place = fds.as_mut_ptr().cast::<c_void>();
        // SAFETY: the list holds 41 values of `struct pollfd`.
        let theirs = answer(unsafe { libc::poll(place, 41, 0) } as isize);
        let what = "more than there may be";
        row("event::poll", what, invalid, poll(&mut fds, Some(Duration::ZERO)), theirs);
        row("event::poll_deadline", what, invalid, poll_deadline(&mut fds, soon()), theirs);
        common::set_soft_limit(Resource::NOFILE.as_raw(), before);
    }
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut nothing = [PollFd::new(&reader, PollEvents::IN)];
    own("event::poll", "nothing, in no time", OK_0, poll(&mut nothing, Some(Duration::ZERO)));
    own("event::poll_deadline", "nothing, until then", OK_0, poll_deadline(&mut nothing, soon()));

    // The number must be within this process's descriptor table, because the kernel ignores larger numbers.
    let number = File::open("/").unwrap().as_raw_fd();
    // SAFETY: the descriptor was just closed. This process has no other thread that could reuse the number,
    // so the calls below fail.
    let closed = unsafe { BorrowedFd::borrow_raw(number) };
    let mut words = [0_usize; 1024 / usize::BITS as usize];
    let at = usize::try_from(number).unwrap();
    words[at / usize::BITS as usize] |= 1 << (at % usize::BITS as usize);
    let (null, bits) = (std::ptr::null_mut(), words.as_mut_ptr().cast::<c_void>());
    let mut zero = [0_usize; 4]; // room for a `struct timeval` of any layout
    let time = zero.as_mut_ptr().cast::<c_void>();
    for (what, place) in [("closed, to read", 0), ("closed, to write", 1), ("closed, others", 2)] {
        let mut lists = [null; 3];
        lists[place] = bits;
        let [r, w, e] = lists;
        // SAFETY: each set is null or has 1024 bits, and the timeout is valid.
        let theirs = answer(unsafe { libc::select(number + 1, r, w, e, time) } as isize);
        let mut set = FdSet::new();
        set.insert(&closed);
        let chosen = |mut set| {
            let mut sets = [None, None, None];
            sets[place] = Some(&mut set);
            let [r, w, e] = sets;
            select(r, w, e, Some(Duration::ZERO))
        };
        row("event::select", what, BAD, chosen(set.clone()), theirs);
        let mut copy = set.clone();
        let ours = select_deadline(None, Some(&mut copy), None, soon());
        row("event::select_deadline", what, BAD, ours, theirs);
    }

    let epoll = Epoll::new().unwrap();
    let c_wait = || {
        // SAFETY: the call fails and writes no event.
        answer(unsafe { libc::epoll_wait(epoll.as_fd().as_raw_fd(), null, 0, 0) } as isize)
    };
    let ours = epoll.wait_deadline(&mut [], soon()).map(<[Event]>::len);
    row("Epoll::wait_deadline", "no room", invalid, ours, c_wait());
    let ours = epoll.wait(&mut [], Some(Duration::from_nanos(1))).map(<[Event]>::len);
    row("Epoll::wait", "no room, a moment", invalid, ours, c_wait());
    let c_add = |epoll: &Epoll, fd: BorrowedFd<'_>| {
        let mut event = [1_u32, 0, 0, 0];
        let place = event.as_mut_ptr().cast::<c_void>();
        // SAFETY: the call reads one event, which has at most 16 bytes.
        let added = unsafe { libc::epoll_ctl(epoll.as_fd().as_raw_fd(), 1, fd.as_raw_fd(), place) };
        answer(added as isize)
    };
    let other = Epoll::new().unwrap();
    epoll.add(&other, PollEvents::IN, 1).unwrap();
    let ours = other.add(&epoll, PollEvents::IN, 1).map(|()| 0);
    row("Epoll::add", "each other", Err(Errno::ELOOP), ours, c_add(&other, epoll.as_fd()));
    const O_PATH: i32 = 0o10_000_000;
    let place = OpenOptions::new().read(true).custom_flags(O_PATH).open("/").unwrap();
    let ours = epoll.add(&place, PollEvents::IN, 1).map(|()| 0);
    row("Epoll::add", "a place", BAD, ours, c_add(&epoll, place.as_fd()));

    let flags = EventFdFlags::NONBLOCK | EventFdFlags::CLOEXEC;
    let count = EventFd::with_flags(0, flags).unwrap();
    let c_read = |fd: &EventFd| {
        let mut buf = 0_u64;
        let place = (&raw mut buf).cast::<c_void>();
        // SAFETY: the buffer has room for 8 bytes.
        answer(unsafe { libc::read(fd.as_fd().as_raw_fd(), place, 8) })
    };
    let c_write = |fd: &EventFd, count: u64| {
        let place = (&raw const count).cast::<c_void>();
        // SAFETY: the buffer holds 8 bytes.
        answer(unsafe { libc::write(fd.as_fd().as_raw_fd(), place, 8) })
    };
    let ours = count.read().map(|_| 0);
    row("EventFd::read", "nothing, nonblocking", AGAIN, ours, c_read(&count));
    let ours = count.write(u64::MAX).map(|()| 0);
    row("EventFd::write", "more than there is", invalid, ours, c_write(&count, u64::MAX));
    count.write(u64::MAX - 1).unwrap();
    let ours = count.write(1).map(|()| 0);
    row("EventFd::write", "no room, nonblocking", AGAIN, ours, c_write(&count, 1));
}

pub(crate) fn signals() {
    own("io::without_sigpipe", "allowed", Ok(7), without_sigpipe(|| 7));
    let [refused, _] = super::in_child(|| {
        if !Filter::new(&[nr::RT_SIGPENDING], Errno::EPERM).install() {
            return [OK_0; 2];
        }
        [without_sigpipe(|| 7), OK_0]
    });
    if refused == OK_0 {
        return skip("signals", "no filter of system calls here");
    }
    own("io::without_sigpipe", "refused", Err(Errno::EPERM), refused);
}
