//! Tests the creation of descriptors while descriptors 0 to 2 are closed, and the redirection of standard
//! streams. A descriptor that this crate creates receives a number from 0 to 2 only if the caller requests
//! that number. Each test runs in its own process.
#![cfg_attr(not(feature = "full"), allow(unused, reason = "the topic needs everything"))]
#![allow(unsafe_code, reason = "limits by number, and forking")]

use super::stdio::{own, with_closed, with_standard};
use crate::common::{self, child};
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::event::{Epoll, EventFd, EventFdFlags, SignalFd};
use rawpipe::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rawpipe::io::{self, StdStream, redirect};
use rawpipe::pipe::Builder;
use rawpipe::process::{Arg, Command, Resource, SignalSet, Spawn, Stdio};
use rawpipe::transfer::discard;
use rawpipe::{Cancel, Errno, PipeFlags};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const STREAMS: [StdStream; 3] = [StdStream::Stdin, StdStream::Stdout, StdStream::Stderr];

// ---- descriptors that the crate creates ----

/// The new descriptors, and a flag that is true if they must be close-on-exec.
type Made = rawpipe::Result<(Vec<OwnedFd>, bool)>;
type Maker = (&'static str, fn(&OwnedFd) -> Made);

fn ends((reader, writer): (impl Into<OwnedFd>, impl Into<OwnedFd>)) -> Vec<OwnedFd> {
    vec![reader.into(), writer.into()]
}

const MAKERS: [Maker; 14] = [
    ("pipe", |_| Ok((ends(rawpipe::pipe()?), true))),
    ("pipe2", |_| Ok((ends(rawpipe::pipe2(PipeFlags::CLOEXEC)?), true))),
    ("pipe2 inheritable", |_| Ok((ends(rawpipe::pipe2(PipeFlags::empty())?), false))),
    ("Builder", |_| Ok((ends(Builder::new().nonblocking().build()?), true))),
    ("Builder inheritable", |_| Ok((ends(Builder::new().inheritable().build()?), false))),
    ("dup", |from| Ok((vec![io::dup(from)?], false))),
    ("dup_cloexec", |from| Ok((vec![io::dup_cloexec(from)?], true))),
    ("EventFd", |_| Ok((vec![EventFd::new(0)?.into()], true))),
    ("EventFd inheritable", |_| {
        Ok((vec![EventFd::with_flags(0, EventFdFlags::empty())?.into()], false))
    }),
    ("Epoll", |_| Ok((vec![Epoll::new()?.into()], true))),
    ("SignalFd", |_| Ok((vec![SignalFd::new(SignalSet::empty())?.into()], true))),
    ("Cancel", |_| Ok((vec![Cancel::new()?.into()], true))),
    ("shared chunks", |_| {
        // The pair owns the four ends of two pipes. The shared memory has no descriptor.
        let _pair = SharedBuilder::new().build()?;
        assert_free();
        Ok((Vec::new(), true))
    }),
    ("passed shared chunks", |_| {
        let (parts, _copier) = SharedBuilder::new().pass_writer()?;
        assert_free();
        Ok((parts.into(), true))
    }),
];

/// Returns the bits of `closed` whose descriptor numbers are still free.
fn free(closed: u8) -> u8 {
    let is_free = |number: &u8| {
        closed >> number & 1 == 1
            && io::is_close_on_exec(own(RawFd::from(*number))) == Err(Errno::EBADF)
    };
    (0..3).filter(is_free).map(|number| 1 << number).sum()
}

static CLOSED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

fn assert_free() {
    let closed = CLOSED.load(Ordering::SeqCst);
    if free(closed) != closed {
        rawpipe::process::exit(99);
    }
}

/// Returns the functions in `MAKERS` that work on this system. User-mode emulators do not support shared
/// chunks, because these emulators do not wipe memory in a forked child.
fn makers() -> Vec<Maker> {
    let shared = SharedBuilder::new().build().map(drop);
    if shared.is_err() {
        assert!(common::emulated() && shared == Err(Errno::EOPNOTSUPP));
        common::skip("shared chunks among the makers", "no memory that is wiped in a forked child");
    }
    MAKERS.into_iter().filter(|(name, _)| shared.is_ok() || !name.contains("shared")).collect()
}

/// All new descriptors have numbers above 2, whichever standard streams are closed.
fn descriptors_made_while_streams_are_closed_lie_above_them() {
    let from = OwnedFd::from(rawpipe::pipe().unwrap().1);
    let makers = makers();
    for (closed, (name, make)) in (0..8).flat_map(|closed| makers.iter().map(move |m| (closed, m)))
    {
        CLOSED.store(closed, Ordering::SeqCst);
        let before = common::open_fds();
        let (made, during, after) = with_closed(closed, || {
            let made = make(&from).map(|(made, cloexec)| {
                let of = |fd: &OwnedFd| (fd.as_raw_fd(), io::is_close_on_exec(fd) == Ok(cloexec));
                (made.iter().map(of).collect::<Vec<_>>(), made)
            });
            let during = free(closed);
            let made = made.map(|(seen, made)| (seen, made.len()));
            (made, during, free(closed))
        });
        let (seen, _) = made.unwrap_or_else(|errno| panic!("{name}, closed {closed:03b}: {errno}"));
        assert!(seen.iter().all(|(number, flag)| *number > 2 && *flag), "{name}: {seen:?}");
        assert_eq!((during, after), (closed, closed), "{name}");
        assert_eq!(common::open_fds(), before, "{name}");
    }
}

/// For each way of creating a child, the pidfd and the ends of the pipes have numbers above 2, whichever
/// standard streams are closed.
fn children_made_while_streams_are_closed_have_descriptors_above_them() {
    for closed in 0..8 {
        let before = common::open_fds();
        let seen = with_closed(closed, || {
            let mut numbers = Vec::new();
            let mut forked = child(|| 3);
            numbers.extend(forked.pidfd().map(|fd| fd.as_raw_fd()));
            let argv = [Arg::new(c"true"), Arg::END];
            let mut spawned = Spawn::new(c"/bin/true", &argv, &[Arg::END]).spawn().ok()?;
            numbers.extend(spawned.pidfd().map(|fd| fd.as_raw_fd()));
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut cat = cat.spawn().ok()?;
            numbers.extend(cat.pidfd().map(|fd| fd.as_raw_fd()));
            numbers.extend(cat.stdin_ref().map(|end| end.as_fd().as_raw_fd()));
            numbers.extend(cat.stdout_ref().map(|end| end.as_fd().as_raw_fd()));
            numbers.extend(cat.stderr_ref().map(|end| end.as_fd().as_raw_fd()));
            let free = free(closed);
            let output = cat.communicate(b"there and back").ok()?;
            let codes = [forked.wait().ok()?.code(), spawned.wait().ok()?.code()];
            Some((numbers, free, output.stdout, codes))
        });
        let (numbers, free, output, codes) = seen.unwrap();
        assert!(numbers.len() >= 3 && numbers.iter().all(|number| *number > 2), "{numbers:?}");
        assert_eq!((free, &*output), (closed, &b"there and back"[..]));
        assert_eq!(codes, [Some(3), Some(0)]);
        assert_eq!(common::open_fds(), before);
    }
}

/// No descriptor that `discard` opens has the number of a closed standard stream.
fn discard_while_streams_are_closed() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"bytes").unwrap();
    drop(writer);
    let (discarded, free) = with_closed(7, || (discard(&reader, None).map_err(drop), free(7)));
    assert_eq!((discarded, free), (Ok(5), 7));
}

/// If only the numbers of standard streams are free, every function in `MAKERS` fails with `EMFILE`. A forked
/// child then has no pidfd.
fn descriptors_with_a_limit_of_3_emfile_leave_nothing() {
    if common::descriptors_without_limit("descriptors_with_a_limit_of_3_emfile_leave_nothing") {
        return;
    }
    let from = OwnedFd::from(rawpipe::pipe().unwrap().1);
    let makers = makers();
    for limit in [3, 2, 1] {
        for (name, make) in &makers {
            CLOSED.store(7, Ordering::SeqCst);
            let (made, left) = with_closed(7, || {
                common::set_soft_limit(Resource::NOFILE.as_raw(), limit);
                let made = make(&from).map(drop);
                common::set_soft_limit(Resource::NOFILE.as_raw(), 1000);
                (made, free(7))
            });
            assert_eq!(made, Err(Errno::EMFILE), "{name}, limit {limit}");
            assert_eq!(left, 7, "{name}");
        }
        // Even without a pidfd, the child's status is available.
        let (code, has_pidfd) = with_closed(7, || {
            common::set_soft_limit(Resource::NOFILE.as_raw(), limit);
            let mut forked = child(|| 3);
            let has_pidfd = forked.pidfd().is_some();
            let code = forked.wait().map(|status| status.code());
            common::set_soft_limit(Resource::NOFILE.as_raw(), 1000);
            (code, has_pidfd)
        });
        assert_eq!((code, has_pidfd), (Ok(Some(3)), false));
    }
}

// ---- redirection ----

fn redirect_and_back() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let kept = io::dup_cloexec(std::io::stdout()).unwrap();
    std::io::stdout().flush().unwrap();
    redirect(&writer, StdStream::Stdout).unwrap();
    let inherited = io::is_close_on_exec(std::io::stdout());
    rawpipe::write(std::io::stdout(), b"into the pipe").unwrap();
    let output = Command::new("echo").arg("of a program").status().map(|status| status.success());
    redirect(&kept, StdStream::Stdout).unwrap();
    assert_eq!((inherited, output.unwrap()), (Ok(false), true));
    drop(writer);
    let mut all = Vec::new();
    io::read_to_end(&reader, &mut all).unwrap();
    assert_eq!(all, b"into the pipeof a program\n");
}

/// Each stream can be redirected to any file, even to its current file or to the file of another standard
/// stream.
fn redirect_each_onto_each() {
    let files = [0, 1, 2].map(|number: u8| {
        let path = common::tmp_path();
        fs::write(&path, [b'0' + number]).unwrap();
        File::open(path).unwrap()
    });
    let other = common::file(b"x");
    let contents = |number: RawFd| {
        // All copies share one file position, which `read_at` does not change.
        let copy = File::from(io::dup_cloexec(own(number)).ok()?);
        let mut byte = [0];
        (copy.read_at(&mut byte, 0).unwrap() == 1).then_some(byte[0])
    };
    for closed in 0..8_u8 {
        for stream in STREAMS {
            for from in 0..4 {
                if from < 3 && closed >> from & 1 == 1 {
                    continue;
                }
                let open =
                    |number: usize| (closed >> number & 1 == 0).then(|| files[number].as_fd());
                let (answer, seen, flag) = with_standard([0, 1, 2].map(open), || {
                    let source = if from < 3 { own(from.into()) } else { other.as_fd() };
                    let _ = io::set_close_on_exec(source, true);
                    let answer = redirect(source, stream);
                    let flag = io::is_close_on_exec(own(stream as RawFd));
                    (answer, [0, 1, 2].map(contents), flag)
                });
                let mut expected =
                    [0_u8, 1, 2].map(|number| (closed >> number & 1 == 0).then_some(b'0' + number));
                expected[stream as usize] = Some(if from < 3 { b'0' + from } else { b'x' });
                assert_eq!((answer, seen, flag), (Ok(()), expected, Ok(false)), "{from} {stream}");
            }
        }
    }
}

fn redirect_beyond_the_limit_ebadf() {
    if common::descriptors_without_limit("redirect_beyond_the_limit_ebadf") {
        return;
    }
    let file = common::file(b"");
    common::set_soft_limit(Resource::NOFILE.as_raw(), 2);
    let results = STREAMS.map(|stream| redirect(&file, stream));
    common::set_soft_limit(Resource::NOFILE.as_raw(), 1000);
    assert_eq!(results, [Ok(()), Ok(()), Err(Errno::EBADF)]);
}

/// If a stream is redirected while another thread writes to the stream, each write reaches either the old
/// file or the new file.
fn redirect_under_a_writing_thread_loses_nothing() {
    let files = [common::file(b""), common::file(b"")];
    let kept = io::dup_cloexec(std::io::stdin()).unwrap();
    redirect(&files[0], StdStream::Stdin).unwrap();
    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut written = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(rawpipe::write(std::io::stdin(), b"x"), Ok(1));
                written += 1;
            }
            written
        });
        for turn in 0..if common::slow() { 500 } else { 20_000 } {
            redirect(&files[turn % 2], StdStream::Stdin).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        writing.join().unwrap()
    });
    redirect(&kept, StdStream::Stdin).unwrap();
    let arrived: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(arrived, written);
}

pub(crate) const TESTS: common::Tests = common::tests![
    descriptors_made_while_streams_are_closed_lie_above_them,
    children_made_while_streams_are_closed_have_descriptors_above_them,
    discard_while_streams_are_closed,
    descriptors_with_a_limit_of_3_emfile_leave_nothing,
    redirect_and_back,
    redirect_each_onto_each,
    redirect_beyond_the_limit_ebadf,
    redirect_under_a_writing_thread_loses_nothing,
];
