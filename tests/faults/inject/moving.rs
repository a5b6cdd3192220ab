//! Defines operations that use `transfer` with each of its mechanisms, and operations that use `discard` or
//! `Fanout`.

use super::check::{Holdings, Verdict, ensure, failed, injected, pattern, rest_of, shortened};
use super::{Operation, common, missing};
use crate::common::nr;
use crate::tracer::operation;
use rawpipe::Deadline;
use rawpipe::fd::{AsRawFd, OwnedFd};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{Fanout, FanoutSink, Transfer, TransferError, discard};
use rawpipe::{Errno, PipeReader, io};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The length of each source. The bytes fit in a pipe and in a quarter of a socket's buffer. When more than
/// this quarter is in use, `poll` reports no free space.
const LEN: usize = 20_000;
const EXACT: usize = 12_000;

#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    File,
    Pipe,
    Socket,
}

#[derive(Clone, Copy, Debug)]
enum To {
    File,
    Append,
    Pipe,
    Socket,
    /// A sink that accepts no bytes and fails with an error.
    Full,
    /// A pipe without a reader.
    Broken,
}

/// Returns a source that has [`LEN`] bytes followed by end of file.
pub(crate) fn source(from: From) -> OwnedFd {
    let bytes = pattern(LEN);
    match from {
        From::File => common::file(&bytes).into(),
        From::Pipe => {
            let (reader, writer) = pipe();
            writer.write_all(&bytes).unwrap();
            reader.into()
        }
        From::Socket => {
            let (near, far) = UnixStream::pair().unwrap();
            io::write_all(&far, &bytes).unwrap();
            far.shutdown(Shutdown::Write).unwrap();
            near.into()
        }
    }
}

fn pipe() -> (PipeReader, rawpipe::PipeWriter) {
    Builder::new().capacity(Capacity::Bytes(256 << 10)).build().unwrap()
}

/// A sink, and a descriptor through which its contents can be inspected.
struct Sink {
    to: To,
    fd: OwnedFd,
    other: Option<OwnedFd>,
}

impl Sink {
    fn new(to: To) -> Self {
        let (fd, other) = match to {
            To::File => {
                let file = common::file(b"");
                (file.try_clone().unwrap().into(), Some(file.into()))
            }
            To::Append => {
                let file = common::append_file();
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                (file.into(), Some(File::open(path).unwrap().into()))
            }
            To::Pipe => {
                let (reader, writer) = pipe();
                (writer.into(), Some(reader.into()))
            }
            To::Socket => {
                let (near, far) = UnixStream::pair().unwrap();
                (near.into(), Some(far.into()))
            }
            To::Full => (File::options().write(true).open("/dev/full").unwrap().into(), None),
            To::Broken => (pipe().1.into(), None),
        };
        Self { to, fd, other }
    }

    fn contents(self) -> Vec<u8> {
        let Self { to, fd, other } = self;
        drop(fd);
        let Some(other) = other else { return Vec::new() };
        if matches!(to, To::File) {
            let mut file = File::from(other);
            file.seek(SeekFrom::Start(0)).unwrap();
            return rest_of(&file);
        }
        rest_of(&other)
    }
}

/// Returns the number of bytes that arrived, and the bytes that the error still holds.
fn account(done: &mut Result<u64, TransferError>) -> Result<(usize, Vec<u8>), String> {
    match done {
        Ok(bytes) => Ok((usize::try_from(*bytes).unwrap(), Vec::new())),
        Err(error) => {
            let mut rescued = vec![0; error.undelivered()];
            let mut count = 0;
            while let Ok(more @ 1..) = error.read_undelivered(&mut rescued[count..]) {
                count += more;
            }
            ensure!(count == rescued.len(), "{count} of {} undelivered bytes", rescued.len());
            Ok((usize::try_from(error.bytes()).unwrap(), rescued))
        }
    }
}

/// Returns whether the transfer must succeed despite the fault. The transfer must succeed if the fault is a
/// short count, `EINTR`, `EAGAIN`, or the rejection of a call that has a fallback.
fn is_promised() -> bool {
    use nr::{COPY_FILE_RANGE, PPOLL, READ, SENDFILE, SPLICE, STATX, WRITE};
    let fast = [SPLICE, SENDFILE, COPY_FILE_RANGE];
    let refusals = [Errno::EINVAL, Errno::ENOSYS, Errno::EPERM, Errno::EINTR];
    let quick = [READ, WRITE, PPOLL, SPLICE, SENDFILE, COPY_FILE_RANGE];
    failed(&fast, &refusals)
        || failed(&quick, &[Errno::EINTR])
        || failed(&[STATX], &[Errno::ENOSYS, Errno::EPERM])
        || shortened()
        || failed(&[WRITE, SPLICE, SENDFILE, COPY_FILE_RANGE], &[Errno::EAGAIN])
}

#[derive(Clone, Copy, Debug)]
enum How {
    Plain,
    /// The transfer moves exactly 7,000 bytes in chunks of 3,000 bytes, and has a progress closure.
    Small,
    Exact,
    /// The transfer has a distant deadline.
    Deadline,
    /// The transfer has a progress closure.
    Progress,
    Copying,
}

fn moved(from: From, to: To, how: How) -> Verdict {
    let whole = pattern(LEN);
    let source = source(from);
    let sink = Sink::new(to);
    // The capacity is reserved in advance, because growing the list would add system calls.
    let mut told = Vec::with_capacity(64);
    let mut progress = |done| {
        told.push(done);
        ControlFlow::Continue(())
    };
    let holdings = Holdings::now();
    let mut done = operation(|| {
        let transfer = Transfer::new();
        let transfer = match how {
            How::Plain => transfer,
            How::Small => transfer.chunk(3_000).exact(7_000).progress(&mut progress),
            How::Exact => transfer.exact(EXACT as u64),
            How::Deadline => transfer.deadline(Deadline::after(Duration::from_secs(600))),
            How::Progress => transfer.chunk(8 << 10).progress(&mut progress),
            How::Copying => transfer.copy_semantics(),
        };
        transfer.run(&source, &sink.fd).map(|done| done.bytes())
    });
    let (bytes, rescued) = account(&mut done)?;
    let wanted = match how {
        How::Small => 7_000,
        How::Exact => EXACT,
        _ => LEN,
    };
    match &done {
        Ok(_) => ensure!(bytes == wanted, "{bytes} of {wanted} bytes, and no error"),
        Err(error) => {
            let native = matches!(to, To::Full | To::Broken);
            ensure!(native || !is_promised(), "{error}");
        }
    }
    drop(done);
    holdings.unchanged(0)?;
    ensure!(told.is_sorted(), "progress: {told:?}");
    let arrived = sink.contents();
    ensure!(arrived.len() == bytes, "{} bytes arrived, {bytes} reported", arrived.len());
    let all = [arrived, rescued, rest_of(&source)].concat();
    ensure!(all.len() == whole.len(), "{} bytes of {} are left", all.len(), whole.len());
    ensure!(all == whole, "other bytes");
    Ok(())
}

fn discarded(from: From, bytes: Option<u32>) -> Verdict {
    let whole = pattern(LEN);
    let source = source(from);
    let holdings = Holdings::now();
    let mut done = operation(|| discard(&source, bytes.map(u64::from)));
    let (count, rescued) = account(&mut done)?;
    match &done {
        Ok(_) => {
            let wanted = bytes.map_or(LEN, |bytes| usize::try_from(bytes).unwrap());
            ensure!(count == wanted, "{count} bytes of {wanted}, and no error");
        }
        Err(error) => ensure!(!is_promised(), "{error}"),
    }
    drop(done);
    holdings.unchanged(0)?;
    let left = [rescued, rest_of(&source)].concat();
    ensure!(left.len() == LEN - count, "{count} bytes discarded, {} left", left.len());
    ensure!(left == whole[count..], "other bytes");
    Ok(())
}

fn fanned_out(from: From, to: &[To], progress: bool) -> Verdict {
    let whole = pattern(LEN);
    let source = source(from);
    let ends: Vec<Sink> = to.iter().map(|to| Sink::new(*to)).collect();
    let holdings = Holdings::now();
    let (mut done, results) = operation(|| {
        let mut sinks: Vec<_> = ends.iter().map(|end| FanoutSink::new(&end.fd)).collect();
        let mut watch = |_| ControlFlow::Continue(());
        let fanout = Fanout::new();
        let fanout = if progress { fanout.progress(&mut watch) } else { fanout };
        let done = fanout.run(&source, &mut sinks).map(|moved| moved.bytes());
        let results = sinks.iter_mut().map(|sink| (sink.bytes(), sink.take_error()));
        (done, results.collect::<Vec<_>>())
    });
    let (bytes, held) = account(&mut done)?;
    if done.is_ok() {
        ensure!(bytes == LEN, "{bytes} of {LEN} bytes, and no error");
    }
    drop(done);
    let mut accounts = Vec::new();
    for (bytes, error) in results {
        let failed = error.is_some();
        let mut done = error.map_or(Ok(bytes), Err);
        let (_, rescued) = account(&mut done)?;
        accounts.push((usize::try_from(bytes).unwrap(), rescued, failed));
    }
    holdings.unchanged(0)?;
    let rest = rest_of(&source);
    for (end, (count, rescued, failed)) in ends.into_iter().zip(accounts) {
        let to = end.to;
        let arrived = end.contents();
        ensure!(arrived.len() == count, "{to:?}: {} arrived, {count} reported", arrived.len());
        let mut all = [arrived, rescued].concat();
        if failed {
            // After this sink failed, the bytes that were read went only to the other sinks.
            ensure!(whole.starts_with(&all), "{to:?}: other bytes");
            ensure!(matches!(to, To::Full | To::Broken) || injected(|_| true), "{to:?} failed");
            continue;
        }
        // If a fan-out stops early, some sinks may have received more bytes than the fan-out reports.
        let ahead = count.checked_sub(bytes).filter(|ahead| *ahead == 0 || *ahead == held.len());
        let Some(ahead) = ahead else {
            return Err(format!("{to:?}: {count} arrived, {bytes} reported in all"));
        };
        all.extend(&held[ahead..]);
        all.extend(&rest);
        ensure!(all.len() == LEN, "{to:?}: {} bytes of {LEN} are left", all.len());
        ensure!(all == whole, "{to:?}: other bytes");
    }
    Ok(())
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    let pairs = [
        (From::File, To::File),
        (From::File, To::Append),
        (From::File, To::Pipe),
        (From::File, To::Socket),
        (From::Pipe, To::File),
        (From::Pipe, To::Append),
        (From::Pipe, To::Pipe),
        (From::Pipe, To::Socket),
        (From::Socket, To::File),
        (From::Socket, To::Append),
        (From::Socket, To::Pipe),
        (From::Socket, To::Socket),
    ];
    let hows = [How::Plain, How::Small, How::Exact, How::Deadline, How::Progress, How::Copying];
    for (from, to) in pairs {
        for how in hows {
            let name = format!("transfer {from:?} to {to:?}, {how:?}");
            all.push(Operation::new(name, move || moved(from, to, how)));
        }
    }
    for from in [From::File, From::Pipe, From::Socket] {
        for to in [To::Full, To::Broken] {
            for how in [How::Plain, How::Progress, How::Small] {
                let name = format!("transfer {from:?} to {to:?}, {how:?}");
                all.push(Operation::new(name, move || moved(from, to, how)));
            }
        }
        // These operations run with some calls missing, as on a kernel that lacks them.
        let without = [
            ("splice", vec![missing(nr::SPLICE, Errno::ENOSYS)]),
            ("copy_file_range", vec![missing(nr::COPY_FILE_RANGE, Errno::EXDEV)]),
            (
                "copy_file_range and splice",
                vec![
                    missing(nr::COPY_FILE_RANGE, Errno::ENOSYS),
                    missing(nr::SPLICE, Errno::EINVAL),
                ],
            ),
            (
                "copy_file_range, splice and sendfile",
                vec![
                    missing(nr::COPY_FILE_RANGE, Errno::ENOSYS),
                    missing(nr::SPLICE, Errno::ENOSYS),
                    missing(nr::SENDFILE, Errno::EINVAL),
                ],
            ),
            ("statx", vec![missing(nr::STATX, Errno::ENOSYS)]),
        ];
        for (call, missing) in without {
            for to in [To::File, To::Socket] {
                let name = format!("transfer {from:?} to {to:?} without {call}");
                let body = move || moved(from, to, How::Progress);
                all.push(Operation::new(name, body).without(missing.clone()));
            }
        }
        for bytes in [None, Some(10_000)] {
            let name = format!("discard {from:?}, {bytes:?}");
            all.push(Operation::new(name, move || discarded(from, bytes)));
        }
        let lists: [&'static [To]; 6] = [
            &[To::Pipe],
            &[To::Pipe, To::Pipe],
            &[To::File, To::Socket, To::Pipe],
            &[To::Append, To::File],
            &[To::Full, To::File],
            &[To::Broken, To::Pipe, To::Full],
        ];
        for to in lists {
            for progress in [false, true] {
                let name = format!("fanout {from:?} to {to:?}, progress {progress}");
                all.push(Operation::new(name, move || fanned_out(from, to, progress)));
            }
        }
    }
    all
}
