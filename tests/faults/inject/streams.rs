//! Defines operations that read and write, and operations that wait for readiness. Some reads and writes
//! avoid waiting, have a deadline, or prevent `SIGPIPE`.
#![allow(unsafe_code, reason = "a call by number")]

use super::check::{
    Holdings, Verdict, ensure, failed, injected, is_injected, pattern, rest_of, shortened,
};
use super::{Operation, missing};
use crate::common::{nr, skip};
use crate::tracer::{Missing, operation};
use rawpipe::event::{
    Epoll, Event, FdSet, PollEvents, PollFd, poll, poll_deadline, select, select_deadline,
};
use rawpipe::fd::AsRawFd;
use rawpipe::io::{self, Incomplete, IoSlice, IoSliceMut};
use rawpipe::message::Duplex;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, splice};
use rawpipe::{Cancel, Deadline, Errno, PipeReader, PipeWriter, raw};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LEN: usize = 10_000;
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_secs(600);

fn pipe() -> (PipeReader, PipeWriter) {
    Builder::new().capacity(Capacity::Bytes(64 << 10)).build().unwrap()
}

/// Returns a pipe that holds [`LEN`] bytes.
fn filled() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe();
    writer.write_all(&pattern(LEN)).unwrap();
    (reader, writer)
}

/// Returns a filled pipe whose ends were both used in a splice. The kernel does not support `RWF_NOWAIT` for
/// these ends.
fn worn() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe();
    let (from, to) = pipe();
    to.write(b"x").unwrap();
    assert_eq!(splice(&from, None, &writer, None, 1, SpliceFlags::empty()), Ok(1));
    assert_eq!(splice(&reader, None, &to, None, 1, SpliceFlags::empty()), Ok(1));
    writer.write_all(&pattern(LEN)).unwrap();
    (reader, writer)
}

/// Returns whether this kernel implements `vmsplice` with `RWF_NOWAIT`. If so, reads from a pipe that was
/// part of a splice cannot avoid waiting. See `tests/copying`.
fn worn_needs_a_private_pipe() -> bool {
    let (reader, _writer) = worn();
    let mut byte = [0];
    let list = [IoSliceMut::new(&mut byte)];
    let place = list.as_ptr().expose_provenance();
    let fd = usize::try_from(reader.as_raw_fd()).unwrap();
    let flags = SpliceFlags::NONBLOCK.bits() as usize;
    // SAFETY: `IoSliceMut` has the layout of `struct iovec`, and the kernel writes no more than the one byte
    // of its buffer.
    let answer = unsafe { raw::syscall4(nr::VMSPLICE, fd, place, 1, flags) };
    answer == -(Errno::EOPNOTSUPP.raw_os_error() as isize)
}

/// Converts a result to the number of bytes moved, the errno, and whether the call succeeded.
trait Came {
    fn far(&self) -> (usize, Option<Errno>, bool);
}

impl Came for rawpipe::Result<usize> {
    fn far(&self) -> (usize, Option<Errno>, bool) {
        (*self.as_ref().unwrap_or(&0), self.err(), self.is_ok())
    }
}

impl Came for Result<(), Incomplete> {
    fn far(&self) -> (usize, Option<Errno>, bool) {
        match self {
            Ok(()) => (LEN, None, true),
            Err(stopped) => (stopped.bytes(), stopped.errno(), false),
        }
    }
}

/// Returns whether the operation must succeed despite the fault. Functions that retry never return `EINTR`,
/// and continue after a short count.
fn no_excuse(retries: bool) -> bool {
    use nr::{PPOLL, PREADV2, PWRITEV2, READ, READV, VMSPLICE, WRITE, WRITEV};
    let calls = [PPOLL, PREADV2, PWRITEV2, READ, READV, VMSPLICE, WRITE, WRITEV];
    retries && (failed(&calls, &[Errno::EINTR]) || shortened())
}

fn reading<C: Came>(
    ends: (PipeReader, PipeWriter),
    retries: bool,
    read: impl Fn(&PipeReader, &mut [u8]) -> C,
) -> Verdict {
    let (reader, writer) = ends;
    let mut buf = vec![0; LEN];
    let holdings = Holdings::now();
    let answer = operation(|| read(&reader, &mut buf));
    let (count, errno, success) = answer.far();
    ensure!(success || !no_excuse(retries), "stopped after {count}: {errno:?}");
    holdings.unchanged(0)?;
    drop(writer);
    buf.truncate(count);
    buf.extend(rest_of(&reader));
    ensure!(buf == pattern(LEN), "{count} bytes read, {} in all", buf.len());
    Ok(())
}

fn writing<C: Came>(
    ends: (PipeReader, PipeWriter),
    retries: bool,
    write: impl Fn(&PipeWriter, &[u8]) -> C,
) -> Verdict {
    let (reader, writer) = ends;
    let whole = pattern(LEN);
    let holdings = Holdings::now();
    let answer = operation(|| write(&writer, &whole));
    let (count, errno, success) = answer.far();
    ensure!(success || !no_excuse(retries), "stopped after {count}: {errno:?}");
    holdings.unchanged(0)?;
    drop(writer);
    let arrived = rest_of(&reader);
    ensure!(arrived == whole[..count], "{count} bytes written, {} arrived", arrived.len());
    Ok(())
}

/// Reads until end of file into a vector that already holds `before` bytes and has no spare capacity.
fn to_the_end(before: usize, len: usize) -> Verdict {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(256 << 10)).build().unwrap();
    writer.write_all(&pattern(len)).unwrap();
    drop(writer);
    let holdings = Holdings::now();
    let mut all = vec![7; before];
    let answer = operation(|| reader.read_to_end(&mut all));
    ensure!(answer.is_ok() || !no_excuse(true), "{answer:?}");
    if let Ok(count) = answer {
        ensure!(count == len, "{count} bytes, and no error");
    }
    // The advice is optional. Without the advice, the kernel uses small pages.
    ensure!(answer.is_ok() || !injected(|fault| fault.key.nr == nr::MADVISE), "{answer:?}");
    all.extend(rest_of(&reader));
    let whole = all[..before].iter().all(|byte| *byte == 7) && all[before..] == pattern(len);
    ensure!(whole, "{} bytes", all.len());
    drop(all);
    // The vector's memory may have been a separate mapping. The line above has unmapped this memory.
    holdings.unchanged(0)
}

/// Reads from an empty pipe until the deadline passes.
fn too_late() -> Verdict {
    let (reader, _writer) = pipe();
    let holdings = Holdings::now();
    let answer = operation(|| reader.read_deadline(&mut [0; 8], Deadline::after(SOON)));
    let without_waiting = [nr::PREADV2, nr::VMSPLICE, nr::FCNTL];
    match answer {
        Err(Errno::ETIMEDOUT) => {}
        Err(errno) if is_injected(errno) => {}
        // Without `RWF_NOWAIT`, the call fails with `EOPNOTSUPP` if its fallback, or a call on which the
        // fallback depends, also fails.
        Err(Errno::EOPNOTSUPP) if failed(&without_waiting, &REFUSALS) => {}
        answer => return Err(format!("{answer:?}")),
    }
    holdings.unchanged(0)
}

const REFUSALS: [Errno; 3] = [Errno::ENOSYS, Errno::EPERM, Errno::EINVAL];

/// Drains a pipe that may still have a writer.
fn rest_of_open(reader: &PipeReader) {
    reader.read_exact(&mut vec![0; reader.available().unwrap()]).unwrap();
}

/// Transfers data in both directions of one link.
fn duplex() -> Verdict {
    let whole = pattern(LEN);
    let holdings = Holdings::now();
    let link = operation(|| {
        let (left, right) = Duplex::pair()?;
        let sent = left.write_all(&whole);
        let count = right.write(&whole)?;
        Ok::<_, Errno>((left, right, sent, count))
    });
    if let Ok((left, right, sent, count)) = link {
        ensure!(sent.is_ok() || !no_excuse(true), "{sent:?}");
        let (a, b) = (left.into_ends(), right.into_ends());
        drop((a.1, b.1));
        let there = rest_of(&b.0);
        ensure!(there == whole[..sent.far().0], "{sent:?}, {} arrived", there.len());
        let back = rest_of(&a.0);
        ensure!(back == whole[..count], "{count} bytes back, {} arrived", back.len());
    }
    holdings.unchanged(0)
}

/// Writes exactly `PIPE_BUF` bytes. Either all of the bytes or none of them must arrive.
fn atomic() -> Verdict {
    let (reader, writer) = pipe();
    let whole = pattern(4096);
    let holdings = Holdings::now();
    let answer = operation(|| writer.write_atomic(&whole));
    holdings.unchanged(0)?;
    drop(writer);
    let arrived = rest_of(&reader);
    match answer {
        Ok(()) => ensure!(arrived == whole, "{} bytes arrived", arrived.len()),
        // The kernel writes `PIPE_BUF` bytes completely or not at all, so the crate reports an injected short
        // count as an error.
        Err(Errno::EIO) if shortened() => {}
        Err(errno) => ensure!(arrived.is_empty(), "{errno}, and {} bytes", arrived.len()),
    }
    Ok(())
}

/// Waits for readiness with `wait`, which returns the number of ready ends. `retries` states whether `wait`
/// retries on `EINTR`.
fn ready(
    retries: bool,
    wait: impl Fn(&PipeReader, &PipeWriter) -> rawpipe::Result<usize>,
) -> Verdict {
    let (reader, writer) = filled();
    let holdings = Holdings::now();
    let answer = operation(|| wait(&reader, &writer));
    match answer {
        Ok(count) => ensure!(count == 2, "{count} ready"),
        Err(Errno::EINTR) => ensure!(!retries && is_injected(Errno::EINTR), "EINTR is returned"),
        Err(errno) => ensure!(is_injected(errno), "{errno}"),
    }
    holdings.unchanged(0)?;
    drop(writer);
    ensure!(rest_of(&reader) == pattern(LEN), "bytes are gone");
    Ok(())
}

fn poll_two(reader: &PipeReader, writer: &PipeWriter, deadline: bool) -> rawpipe::Result<usize> {
    let mut fds = [PollFd::new(reader, PollEvents::IN), PollFd::new(writer, PollEvents::OUT)];
    if deadline {
        poll_deadline(&mut fds, Deadline::after(LATE))
    } else {
        poll(&mut fds, Some(LATE))
    }
}

fn select_two(reader: &PipeReader, writer: &PipeWriter, deadline: bool) -> rawpipe::Result<usize> {
    let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
    readable.insert(reader);
    writable.insert(writer);
    let (read, write) = (Some(&mut readable), Some(&mut writable));
    if deadline {
        select_deadline(read, write, None, Deadline::after(LATE))
    } else {
        select(read, write, None, Some(LATE))
    }
}

fn epoll_two(reader: &PipeReader, writer: &PipeWriter, deadline: bool) -> rawpipe::Result<usize> {
    let epoll = Epoll::new()?;
    epoll.add(reader, PollEvents::IN, 1)?;
    epoll.add(writer, PollEvents::IN, 2)?;
    epoll.modify(writer, PollEvents::OUT, 2)?;
    let mut events = [Event::default(); 4];
    let found = if deadline {
        epoll.wait_deadline(&mut events, Deadline::after(LATE))?.len()
    } else {
        epoll.wait(&mut events, Some(LATE))?.len()
    };
    epoll.delete(writer)?;
    Ok(found)
}

/// Waits for both ends with `poll`, `select` or `epoll`, and with a `Cancel` that is never triggered.
fn cancellable(reader: &PipeReader, writer: &PipeWriter, call: usize) -> rawpipe::Result<usize> {
    let cancel = Cancel::new()?;
    let deadline = Deadline::after(LATE).or_cancelled(&cancel);
    match call {
        0 => {
            let mut fds =
                [PollFd::new(reader, PollEvents::IN), PollFd::new(writer, PollEvents::OUT)];
            poll_deadline(&mut fds, deadline)
        }
        1 => {
            let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
            readable.insert(reader);
            writable.insert(writer);
            select_deadline(Some(&mut readable), Some(&mut writable), None, deadline)
        }
        _ => {
            let epoll = Epoll::new()?;
            epoll.add(reader, PollEvents::IN, 1)?;
            epoll.add(writer, PollEvents::OUT, 2)?;
            epoll.wait_deadline(&mut [Event::default(); 4], deadline).map(<[Event]>::len)
        }
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    fn add(all: &mut Vec<Operation>, name: &str, body: impl Fn() -> Verdict + 'static) {
        all.push(Operation::new(name, body));
    }
    let mut all = Vec::new();
    add(&mut all, "read", || reading(filled(), false, |from, buf| from.read(buf)));
    add(&mut all, "read_exact", || reading(filled(), true, |from, buf| from.read_exact(buf)));
    add(&mut all, "read_to_end", || to_the_end(0, LEN));
    add(&mut all, "read_to_end, a long one", || to_the_end(0, 200_000));
    add(&mut all, "read_to_end, behind much", || to_the_end(3 << 20, LEN));
    add(&mut all, "write", || writing(pipe(), false, |to, buf| to.write(buf)));
    add(&mut all, "write_all", || writing(pipe(), true, |to, buf| to.write_all(buf)));
    add(&mut all, "write_all_vectored", || {
        writing(pipe(), true, |to, buf| {
            let (a, b) = buf.split_at(3_000);
            to.write_all_vectored(&mut [IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)])
        })
    });
    add(&mut all, "write_nosignal", || writing(pipe(), false, |to, buf| to.write_nosignal(buf)));
    add(&mut all, "write_nosignal to a socket", || {
        let (near, far) = UnixStream::pair().unwrap();
        let whole = pattern(LEN);
        let holdings = Holdings::now();
        let count = operation(|| io::write_nosignal(&near, &whole)).unwrap_or(0);
        holdings.unchanged(0)?;
        drop(near);
        ensure!(rest_of(&far) == whole[..count], "{count} bytes written, and others arrived");
        Ok(())
    });
    add(&mut all, "write_atomic", atomic);
    add(&mut all, "Duplex", duplex);
    type Kernel = (&'static str, fn() -> Vec<Missing>);
    let kinds: [Kernel; 3] = [
        ("", Vec::new),
        (" without RWF flags", || {
            let refuse = |nr| missing(nr, Errno::EOPNOTSUPP);
            vec![refuse(nr::PREADV2), refuse(nr::PWRITEV2)]
        }),
        (" without RWF flags and vmsplice", || {
            let refuse = |nr| missing(nr, Errno::ENOSYS);
            vec![refuse(nr::PREADV2), refuse(nr::PWRITEV2), refuse(nr::VMSPLICE)]
        }),
    ];
    for (suffix, missing) in kinds {
        let mut with = |name: &str, body: Box<dyn Fn() -> Verdict>| {
            all.push(Operation::new(format!("{name}{suffix}"), body).without(missing()));
        };
        let deadline = || Deadline::after(LATE);
        with("try_read", Box::new(|| reading(filled(), false, |from, buf| from.try_read(buf))));
        with("try_write", Box::new(|| writing(pipe(), false, |to, buf| to.try_write(buf))));
        let all_or_refused = missing().len() < 3;
        if all_or_refused {
            with("read_deadline of an empty pipe", Box::new(too_late));
        }
        with(
            "read_deadline",
            Box::new(move || {
                reading(filled(), all_or_refused, |from, buf| {
                    from.read_deadline(buf, Deadline::after(LATE))
                })
            }),
        );
        with(
            "write_deadline",
            Box::new(move || {
                writing(pipe(), all_or_refused, |to, buf| {
                    to.write_deadline(buf, Deadline::after(LATE))
                })
            }),
        );
        with(
            "read_exact_deadline",
            Box::new(move || {
                reading(filled(), all_or_refused, |from, buf| {
                    from.read_exact_deadline(buf, deadline())
                })
            }),
        );
        with(
            "write_all_deadline",
            Box::new(move || {
                writing(pipe(), all_or_refused, |to, buf| to.write_all_deadline(buf, deadline()))
            }),
        );
    }
    if worn_needs_a_private_pipe() {
        // The bytes are lost if the read from the private pipe fails, but no kernel makes that read fail.
        skip("read_deadline of a pipe once spliced", "it passes through a private pipe here");
    } else {
        add(&mut all, "read_deadline of a pipe once spliced", || {
            reading(worn(), true, |from, buf| io::read_deadline(from, buf, Deadline::after(LATE)))
        });
    }
    add(&mut all, "write_deadline to a pipe once spliced", || {
        let (reader, writer) = worn();
        rest_of_open(&reader);
        writing((reader, writer), true, |to, buf| {
            io::write_deadline(to, buf, Deadline::after(LATE))
        })
    });
    add(&mut all, "poll", || ready(false, |a, b| poll_two(a, b, false)));
    add(&mut all, "poll_deadline", || ready(true, |a, b| poll_two(a, b, true)));
    add(&mut all, "select", || ready(false, |a, b| select_two(a, b, false)));
    add(&mut all, "select_deadline", || ready(true, |a, b| select_two(a, b, true)));
    add(&mut all, "epoll", || ready(false, |a, b| epoll_two(a, b, false)));
    add(&mut all, "epoll, wait_deadline", || {
        // Only the wait retries on `EINTR`, because the calls that create and change the list never sleep.
        let retries = failed(&[nr::EPOLL_PWAIT, nr::EPOLL_PWAIT2], &[Errno::EINTR]);
        ready(retries, |a, b| epoll_two(a, b, true))
    });
    for (call, name) in ["poll", "select", "epoll"].into_iter().enumerate() {
        add(&mut all, &format!("{name} with a Cancel"), move || {
            let waits = [nr::PPOLL, nr::PSELECT6, nr::EPOLL_PWAIT, nr::EPOLL_PWAIT2];
            ready(failed(&waits, &[Errno::EINTR]), |a, b| cancellable(a, b, call))
        });
    }
    let old = vec![missing(nr::EPOLL_PWAIT2, Errno::ENOSYS)];
    all.push(
        Operation::new("epoll without epoll_pwait2", || {
            ready(false, |a, b| epoll_two(a, b, false))
        })
        .without(old),
    );
    all
}
