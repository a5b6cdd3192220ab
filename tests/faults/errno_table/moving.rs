//! Checks the results of the calls that move data, and of the functions built on these calls. Each row covers
//! one call in one situation.

use super::{Answer, Ends, alike, answer, in_child, libc, of_std, own, row};
use crate::common::{self, append_file, closed_fd, file, skip};
use rawpipe::Deadline;
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd};
use rawpipe::pipe::Builder;
use rawpipe::process::Resource;
use rawpipe::splice::{SpliceFlags, copy_file_range, sendfile, splice, tee, vmsplice};
use rawpipe::transfer::{
    Fanout, FanoutSink, Side, Transfer, TransferError, discard, fanout, transfer,
};
use rawpipe::{Errno, PipeReader, PipeWriter, io};
use std::fs::File;
use std::io::Seek;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const OK_0: Answer = Ok(0);
const BAD: Answer = Err(Errno::EBADF);
const INVALID: Answer = Err(Errno::EINVAL);

/// An offset beyond the maximum size of a file.
const BEYOND: u64 = 1 << 63;

pub(crate) fn sendfile_and_copy_file_range() {
    let ends = Ends::new();
    let source = file(b"some contents");
    let sink = file(b"");
    let write_only = ends.full_device.as_fd();
    let read_only = File::open("/proc/self/exe").unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    while rawpipe::write(&socket, &[0; 4096]).is_ok() {}
    type Line<'a> = (&'a str, BorrowedFd<'a>, BorrowedFd<'a>, Option<u64>, Answer);
    let closed = closed_fd();
    let (from, to) = (source.as_fd(), sink.as_fd());
    let sends: &[Line<'_>] = &[
        ("from closed", closed, to, None, BAD),
        ("to closed", from, closed, None, BAD),
        ("from what is open to write", write_only, to, None, BAD),
        ("to what is open to read", from, read_only.as_fd(), None, BAD),
        ("to append mode", from, ends.append.as_fd(), None, INVALID),
        ("offset beyond any", from, to, Some(BEYOND), INVALID),
        ("from the end", from, to, Some(100), OK_0),
        ("contents", from, to, Some(5), Ok(8)),
    ];
    for &(what, from, to, offset, wanted) in sends {
        let mut place = offset.unwrap_or(0);
        let ours = sendfile(from, offset.map(|_| &mut place), to, 100);
        let mut place = offset.unwrap_or(0).cast_signed_here();
        let null = std::ptr::null_mut();
        let offset = if offset.is_some() { &raw mut place } else { null };
        // SAFETY: the offset is null or in `place`.
        let theirs = unsafe { libc::sendfile64(to.as_raw_fd(), from.as_raw_fd(), offset, 100) };
        row("splice::sendfile", what, wanted, ours, answer(theirs));
    }

    // Old kernels append a page to the last buffer of a full socket. Newer kernels return `EAGAIN`.
    let ours = sendfile(from, Some(&mut 0), &socket, 100);
    let mut start = 0;
    let (to_socket, from_file) = (socket.as_raw_fd(), from.as_raw_fd());
    // SAFETY: the offset is valid for the call.
    let theirs = answer(unsafe { libc::sendfile64(to_socket, from_file, &raw mut start, 100) });
    assert!(matches!(theirs, Ok(13) | Err(Errno::EAGAIN)), "{theirs:?}");
    row("splice::sendfile", "to a full socket", theirs, ours, theirs);
    let folder = ends.folder.as_fd();
    let ours = sendfile(folder, None, to, 100);
    let null = std::ptr::null_mut();
    // SAFETY: the offset is null.
    let theirs = unsafe { libc::sendfile64(to.as_raw_fd(), folder.as_raw_fd(), null, 100) };
    alike("splice::sendfile", "from a folder", ours, answer(theirs));

    let (reader, writer) = (ends.filled.as_fd(), ends.writer.as_fd());
    let copies: &[Line<'_>] = &[
        ("from closed", closed, to, None, BAD),
        ("to closed", from, closed, None, BAD),
        ("to what is open to read", from, read_only.as_fd(), None, BAD),
        ("to append mode", from, ends.append.as_fd(), None, BAD),
        ("from a folder", ends.folder.as_fd(), to, None, Err(Errno::EISDIR)),
        ("to a folder", from, ends.folder.as_fd(), None, Err(Errno::EISDIR)),
        ("from a pipe", reader, to, None, INVALID),
        ("to a pipe", from, writer, None, INVALID),
        ("from a device", ends.null.as_fd(), to, None, INVALID),
        ("onto itself", from, from, Some(0), INVALID),
    ];
    for &(what, from, to, offset, wanted) in copies {
        let mut place = offset.unwrap_or(0);
        let ours = copy_file_range(from, offset.map(|_| &mut place), to, None, 100);
        let theirs = c_copy(from, offset, to);
        row("splice::copy_file_range", what, wanted, ours, theirs);
    }
    let ours = copy_file_range(from, Some(&mut { BEYOND }), to, None, 100);
    alike("splice::copy_file_range", "offset beyond any", ours, c_copy(from, Some(BEYOND), to));
}

fn c_copy(from: BorrowedFd<'_>, offset: Option<u64>, to: BorrowedFd<'_>) -> Answer {
    let mut place = offset.unwrap_or(0).cast_signed_here();
    let null = std::ptr::null_mut();
    let offset = if offset.is_some() { &raw mut place } else { null };
    // SAFETY: the offset is null or in `place`.
    let copied =
        unsafe { libc::copy_file_range(from.as_raw_fd(), offset, to.as_raw_fd(), null, 100, 0) };
    answer(copied)
}

/// Converts an unsigned number to the signed number with the same bit pattern. Newer versions of std provide
/// this method as `cast_signed`.
trait CastSigned {
    fn cast_signed_here(self) -> i64;
}

impl CastSigned for u64 {
    fn cast_signed_here(self) -> i64 {
        i64::from_ne_bytes(self.to_ne_bytes())
    }
}

pub(crate) fn splice_and_others() {
    let ends = Ends::new();
    let (from, to) = (ends.filled.as_fd(), ends.writer.as_fd());
    let source = file(b"some contents");
    let null = std::ptr::null_mut();
    let c_splice = |from: BorrowedFd<'_>, place: *mut i64, to: BorrowedFd<'_>, flags| {
        // SAFETY: the offset is null or valid for the call.
        answer(unsafe { libc::splice(from.as_raw_fd(), place, to.as_raw_fd(), null, 10, flags) })
    };
    let none = SpliceFlags::empty();
    let unknown = SpliceFlags::from_bits_retain(1 << 20);
    let folder = ends.folder.as_fd();
    let (ours, theirs) = (splice(folder, None, to, None, 10, none), c_splice(folder, null, to, 0));
    alike("splice::splice", "from a folder", ours, theirs);
    let ours = splice(from, None, to, None, 10, unknown);
    row("splice::splice", "unknown flag", INVALID, ours, c_splice(from, null, to, 1 << 20));
    let ours = splice(&source, Some(&mut { BEYOND }), to, None, 10, none);
    let mut place = BEYOND.cast_signed_here();
    let theirs = c_splice(source.as_fd(), &raw mut place, to, 0);
    alike("splice::splice", "offset beyond any", ours, theirs);
    let write_only = ends.full_device.as_fd();
    let ours = splice(write_only, None, to, None, 10, none);
    row(
        "splice::splice",
        "from what is open to write",
        BAD,
        ours,
        c_splice(write_only, null, to, 0),
    );
    let read_only = File::open("/proc/self/exe").unwrap();
    let ours = splice(from, None, &read_only, None, 10, none);
    let theirs = c_splice(from, null, read_only.as_fd(), 0);
    row("splice::splice", "to what is open to read", BAD, ours, theirs);
    let theirs = answer(libc::tee(from.as_raw_fd(), to.as_raw_fd(), 10, 1 << 20));
    row("splice::tee", "unknown flag", INVALID, tee(from, to, 10, unknown), theirs);
    let theirs = answer(libc::tee(from.as_raw_fd(), source.as_raw_fd(), 10, 0));
    row("splice::tee", "to a file", INVALID, tee(from, &source, 10, none), theirs);

    static BYTES: [u8; 4] = *b"page";
    let bufs = [io::IoSlice::new(&BYTES)];
    let list = bufs.as_ptr().cast();
    // SAFETY: a static that is not `mut` never changes.
    let ours = unsafe { vmsplice(&ends.writer, &bufs, unknown) };
    // SAFETY: as above.
    let theirs = answer(unsafe { libc::vmsplice(to.as_raw_fd(), list, 1, 1 << 20) });
    row("splice::vmsplice", "unknown flag", INVALID, ours, theirs);
}

fn errno<T>(answer: Result<T, TransferError>) -> (Option<Side>, Option<Errno>) {
    answer.err().map_or((None, None), |error| (Some(error.side()), error.errno()))
}

/// Copies one file to another with `io::copy`, and returns the error, if any.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Option<Errno> {
    let [mut from, mut to] = [from, to].map(|fd| File::from(fd.try_clone_to_owned().unwrap()));
    of_std(std::io::copy(&mut from, &mut to)).err()
}

pub(crate) fn transfers() {
    let ends = Ends::new();
    let source = || file(b"some contents");
    let read_only = File::open("/proc/self/exe").unwrap();
    let (from_source, to_sink) = (Some(Side::Source), Some(Side::Sink));
    let contents = [source(), source(), source(), source(), source()];
    let closed = closed_fd();
    type Line<'a> = (&'a str, BorrowedFd<'a>, BorrowedFd<'a>, Option<Side>, Errno);
    let table: &[Line<'_>] = &[
        ("from closed", closed, ends.null.as_fd(), from_source, Errno::EBADF),
        ("to closed", contents[0].as_fd(), closed, to_sink, Errno::EBADF),
        ("from a folder", ends.folder.as_fd(), ends.null.as_fd(), from_source, Errno::EISDIR),
        ("from a write end", ends.writer.as_fd(), ends.null.as_fd(), from_source, Errno::EBADF),
        ("to what is open to read", contents[1].as_fd(), read_only.as_fd(), to_sink, Errno::EBADF),
        ("to a full device", contents[2].as_fd(), ends.full_device.as_fd(), to_sink, Errno::ENOSPC),
        ("no reader", contents[3].as_fd(), ends.broken.as_fd(), to_sink, Errno::EPIPE),
    ];
    for &(what, from, to, side, wanted) in table {
        type Call = fn(BorrowedFd<'_>, BorrowedFd<'_>) -> (Option<Side>, Option<Errno>);
        let calls: [(&str, Call); 2] = [
            ("transfer::transfer", |from, to| errno(transfer(from, to))),
            ("Transfer::run", |from, to| errno(Transfer::new().exact(5).run(from, to))),
        ];
        // A failed transfer may have advanced the position of its source, so each call starts with rewound
        // files.
        let rewind = || contents.iter().for_each(|mut file| file.rewind().unwrap());
        for (call, run) in calls {
            rewind();
            let ours = run(from, to);
            rewind();
            assert_eq!(ours.0, side, "{call}, {what}");
            let ours: Answer = ours.1.map_or(OK_0, Err);
            if what.contains("closed") {
                own(call, what, Err(wanted), ours);
            } else {
                row(call, what, Err(wanted), ours, copy(from, to).map_or(OK_0, Err));
            }
        }
    }
    let one_pipe = errno(transfer(&ends.filled, &ends.filled_writer));
    own("transfer::transfer", "one pipe", (to_sink, Some(Errno::EINVAL)), one_pipe);
    let short = Transfer::new().exact(100).run(source(), &ends.null);
    own("Transfer::run", "an early end", (from_source, None), errno(short));
    let soon = || Deadline::after(Duration::from_millis(2));
    let late = Transfer::new().deadline(soon()).run(&ends.reader, &ends.null);
    own("Transfer::run", "nothing comes", (from_source, Some(Errno::ETIMEDOUT)), errno(late));
    let late = Transfer::new().deadline(soon()).run(source(), &ends.full);
    own("Transfer::run", "nothing goes", (to_sink, Some(Errno::ETIMEDOUT)), errno(late));
    for (what, fd, wanted) in [
        ("closed", closed, Errno::EBADF),
        ("folder", ends.folder.as_fd(), Errno::EISDIR),
        ("write end", ends.writer.as_fd(), Errno::EBADF),
    ] {
        let ours = errno(discard(fd, None));
        own("transfer::discard", what, (from_source, Some(wanted)), ours);
    }
    // The error holds the bytes that were read but not delivered.
    let (near, far) = UnixStream::pair().unwrap();
    io::write_all(&far, b"in hand").unwrap();
    drop(far);
    let mut error = transfer(&near, &ends.full_device).unwrap_err();
    assert_eq!((error.errno(), error.undelivered()), (Some(Errno::ENOSPC), 7));
    let mut buf = [0; 100];
    own("TransferError::read_undelivered", "in hand", Ok(7), error.read_undelivered(&mut buf));
    own("TransferError::read_undelivered", "no more", Ok(0), error.read_undelivered(&mut buf));
}

pub(crate) fn fanouts() {
    let ends = Ends::new();
    let sources: &[(&str, BorrowedFd<'_>, Errno)] = &[
        ("from closed", closed_fd(), Errno::EBADF),
        ("from a write end", ends.writer.as_fd(), Errno::EBADF),
        ("from a folder", ends.folder.as_fd(), Errno::EISDIR),
    ];
    let good = || [file(b""), file(b"")];
    for &(what, from, wanted) in sources {
        let files = good();
        let mut sinks = [FanoutSink::new(&files[0]), FanoutSink::new(&files[1])];
        let wanted = (Some(Side::Source), Some(wanted));
        own("transfer::fanout", what, wanted, errno(fanout(from, &mut sinks)));
        own("Fanout::run", what, wanted, errno(Fanout::new().run(from, &mut sinks)));
    }
    let closed = closed_fd();
    let targets: &[(&str, BorrowedFd<'_>, Errno)] = &[
        ("to closed", closed, Errno::EBADF),
        ("to a full device", ends.full_device.as_fd(), Errno::ENOSPC),
        ("no reader", ends.broken.as_fd(), Errno::EPIPE),
        ("to a folder", ends.folder.as_fd(), Errno::EBADF),
    ];
    for (what, to, wanted) in targets {
        let wanted = (Some(Side::Sink), Some(*wanted));
        let mut sinks = [FanoutSink::new(to)];
        own("transfer::fanout", what, wanted, errno(fanout(file(b"x"), &mut sinks)));
        let mut sinks = [FanoutSink::new(to)];
        own("Fanout::run", what, wanted, errno(Fanout::new().run(file(b"x"), &mut sinks)));
    }
}

/// Runs `body` and `mmap64` in a process that cannot map more memory. Returns `None` under an emulator or
/// Valgrind, because either tool must map memory itself.
fn without_memory(body: impl FnOnce() -> Answer) -> Option<[Answer; 2]> {
    if common::in_front().is_some() {
        return None; // the tool itself must map memory
    }
    Some(in_child(|| {
        common::set_soft_limit(Resource::AS.as_raw(), 1 << 20);
        let null = std::ptr::null_mut();
        // The flags of a private, anonymous mapping have other values on MIPS.
        let flags = if cfg!(target_arch = "mips") { 0x802 } else { 0x22 };
        // SAFETY: if the call succeeds, it maps new memory at an address that the kernel chooses.
        let theirs = answer(unsafe { libc::mmap64(null, 1 << 20, 3, flags, -1, 0) });
        [body(), theirs]
    }))
}

pub(crate) fn chunks() {
    let ends = Ends::new();
    let full = Err(Errno::ENOMEM);
    let as_reader = |fd: BorrowedFd<'_>| PipeReader::from(fd.try_clone_to_owned().unwrap());
    let as_writer = |fd: BorrowedFd<'_>| PipeWriter::from(fd.try_clone_to_owned().unwrap());
    let sources: &[(&str, BorrowedFd<'_>, Errno)] = &[
        ("write end", ends.writer.as_fd(), Errno::EBADF),
        ("empty, nonblocking", ends.empty.as_fd(), Errno::EAGAIN),
        ("folder", ends.folder.as_fd(), Errno::EISDIR),
    ];
    for &(what, fd, errno) in sources {
        let mut reader = ChunkReader::new(as_reader(fd)).unwrap();
        let theirs = of_std(std::io::Read::read(&mut as_reader(fd), &mut [0]));
        let ours = reader.read_chunk().map(<[u8]>::len);
        row("ChunkReader::read_chunk", what, Err(errno), ours, theirs);
    }
    let mut reader = ChunkReader::new(as_reader(ends.filled.as_fd())).unwrap();
    let null = std::ptr::null_mut();
    let file = append_file();
    for (what, to, wanted) in [
        ("to closed", closed_fd(), BAD),
        ("to append mode", file.as_fd(), INVALID),
        ("to itself", ends.filled_writer.as_fd(), INVALID),
        ("no reader", ends.broken.as_fd(), Err(Errno::EPIPE)),
    ] {
        let (a, b) = (ends.filled.as_raw_fd(), to.as_raw_fd());
        // SAFETY: the offsets are null.
        let theirs = answer(unsafe { libc::splice(a, null, b, null, 5, 0) });
        row("ChunkReader::splice_to", what, wanted, reader.splice_to(to, 5), theirs);
    }
    let endless = ChunkReader::builder().chunk(usize::MAX).build(as_reader(ends.empty.as_fd()));
    own("ReaderBuilder::build", "more than any memory", full, endless.map(|_| 0));
    let endless = ChunkWriter::builder().chunk(usize::MAX).build(as_writer(ends.writer.as_fd()));
    own("WriterBuilder::build", "more than any memory", full, endless.map(|_| 0));
    let made = ChunkWriter::new(&ends.reader).map(|_| 0);
    own("ChunkWriter::new", "read end", BAD, made);
    let made = ChunkWriter::new(closed_fd()).map(|_| 0);
    own("ChunkWriter::new", "closed", BAD, made);
    for (what, mechanism, wanted) in [
        ("write to a file", ChunkMechanism::Write, OK_0),
        ("vmsplice to a file", ChunkMechanism::Vmsplice, Err(Errno::EOPNOTSUPP)),
        ("memfd to a file", ChunkMechanism::Memfd, Err(Errno::EOPNOTSUPP)),
    ] {
        let made = ChunkWriter::builder().mechanism(mechanism).build(&file).map(|_| 0);
        own("WriterBuilder::build", what, wanted, made);
    }

    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let mut writer = ChunkWriter::builder().chunk(4 << 20).keep_capacity().build(writer).unwrap();
    let sent = |writer: &mut ChunkWriter, len| writer.send(len).map_err(|stop| stop.errno());
    let again = |writer: &mut ChunkWriter, len| writer.resend(len).map_err(|stop| stop.errno());
    let invalid = Err(Some(Errno::EINVAL));
    own("ChunkWriter::resend", "nothing sent", invalid, again(&mut writer, 5));
    let nothing_lent = sent(&mut writer, 5);
    own("ChunkWriter::send", "nothing lent", Err(Some(Errno::EINVAL)), nothing_lent);
    writer.chunk().unwrap().fill(1);
    let too_long = sent(&mut writer, (4 << 20) + 1);
    own("ChunkWriter::send", "more than a chunk", Err(Some(Errno::EINVAL)), too_long);
    let too_much = sent(&mut writer, 4 << 20);
    own("ChunkWriter::send", "more than room, nonblocking", Err(Some(Errno::EAGAIN)), too_much);
    own("ChunkWriter::resend", "sent in part", invalid, again(&mut writer, 5));
    reader.read_exact(&mut vec![0; reader.available().unwrap()]).unwrap();
    own("ChunkWriter::send", "a part of the rest", Ok(()), sent(&mut writer, 5));
    let too_long = again(&mut writer, 4 << 20);
    own("ChunkWriter::resend", "more than was sent", invalid, too_long);
    let too_much = (0..1000).find_map(|_| again(&mut writer, 2_000).err()).ok_or(());
    own("ChunkWriter::resend", "more than room, nonblocking", Ok(Some(Errno::EAGAIN)), too_much);
    drop(reader);
    let to_nobody = again(&mut writer, 5);
    own("ChunkWriter::resend", "no reader", Err(Some(Errno::EPIPE)), to_nobody);
    writer.chunk().unwrap();
    own("ChunkWriter::resend", "a new chunk", invalid, again(&mut writer, 5));
    let to_nobody = sent(&mut writer, 100_000);
    own("ChunkWriter::send", "no reader", Err(Some(Errno::EPIPE)), to_nobody);

    // The crate has already checked in this process whether pages can be passed on. In a forked child this
    // writer needs new memory.
    let (_reader, by_write) = rawpipe::pipe().unwrap();
    let mut handing = ChunkWriter::new(by_write).unwrap();
    let what = "no memory left";
    let (again, reader) = (as_writer(ends.writer.as_fd()), as_reader(ends.filled.as_fd()));
    let Some([ours, theirs]) = without_memory(|| ChunkWriter::new(again).map(|_| 0)) else {
        own("ChunkReader::new", "a pipe", true, ChunkReader::new(reader).is_ok());
        own("ChunkWriter::chunk", "lent", true, handing.chunk().is_ok());
        return skip("chunks", "an emulator, or Valgrind, needs the memory itself");
    };
    row("ChunkWriter::new", what, full, ours, theirs);
    let [ours, theirs] = without_memory(|| ChunkReader::new(reader).map(|_| 0)).unwrap();
    row("ChunkReader::new", what, full, ours, theirs);
    if handing.mechanism() == ChunkMechanism::Write {
        // With this mechanism, a forked child uses its copy of the writer's memory and maps no new memory.
        own("ChunkWriter::chunk", "lent", true, handing.chunk().is_ok());
    } else {
        let [ours, theirs] = without_memory(|| handing.chunk().map(|_| 0)).unwrap();
        row("ChunkWriter::chunk", "no memory left, forked", full, ours, theirs);
    }
}
