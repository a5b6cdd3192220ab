//! Tests transfers and fan-outs that receive signals, have no reader, or run while system calls are missing.
//! Other tests use few descriptors, small pipes, a trace pipe, or a full disk. Each test runs in a separate
//! process.
#![allow(unsafe_code, reason = "signals, and a mount namespace")]

use crate::common::bytes::data;
use crate::common::nr;
use crate::common::{self, HANDLED, NO_FILTER, Storm, Value, child, file, filtered, skip};
use rawpipe::fd::{AsFd, OwnedFd};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::{Child, Resource, Signal};
use rawpipe::transfer::{
    Fanout, FanoutSink, Side, Transfer, TransferMechanism, Transferred, discard, fanout, transfer,
};
use rawpipe::{Cancel, Deadline, Errno, io, raw};
use std::ffi::{CStr, CString, c_char};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const SIGPIPE: i32 = Signal::PIPE.as_raw();

unsafe extern "C" {
    safe fn signal(signal: i32, handler: usize) -> usize;
}

// ---- SIGPIPE ----

fn transfer_without_reader_does_not_raise_sigpipe() {
    signal(SIGPIPE, 0); // the default action terminates the process
    let bytes = data(10_000);
    let broken = || {
        let (reader, writer) = rawpipe::pipe().unwrap();
        drop(reader);
        writer
    };
    let (near, far) = UnixStream::pair().unwrap();
    io::write_all(&far, &bytes).unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&bytes).unwrap();
    let (gone, sink) = UnixStream::pair().unwrap();
    drop(gone);
    for error in [
        transfer(file(&bytes), broken()),
        transfer(&near, broken()),
        transfer(&reader, broken()),
        by_copy().run(file(&bytes), broken()),
        transfer(file(&bytes), &sink),
    ] {
        assert_eq!(error.unwrap_err().errno(), Some(Errno::EPIPE));
    }
    let sink = broken();
    let mut sinks = [FanoutSink::new(&sink)];
    assert_eq!(fanout(file(&bytes), &mut sinks).unwrap_err().errno(), Some(Errno::EPIPE));
    // The transfer has restored the signal mask, so a plain write kills the process.
    let status = child(|| u8::from(broken().write(b"x").is_ok())).wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::PIPE));
}

/// Returns a transfer that copies through a buffer, regardless of the kinds of its source and sink.
fn by_copy<'p>() -> Transfer<'p> {
    use TransferMechanism::{Broker, CopyFileRange, Sendfile, Splice};
    [Splice, Broker, CopyFileRange, Sendfile].into_iter().fold(Transfer::new(), Transfer::without)
}

/// With `raise_sigpipe` set, a transfer raises `SIGPIPE` if its pipe has no reader or its socket has no peer.
/// Programs that work as filters expect this signal. If the process ignores the signal, the transfer fails
/// with `EPIPE`.
fn transfer_raises_sigpipe_if_it_is_to() {
    fn pipe() -> OwnedFd {
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&data(10_000)).unwrap();
        reader.into()
    }
    fn socket() -> OwnedFd {
        let (near, far) = UnixStream::pair().unwrap();
        io::write_all(&far, &data(10_000)).unwrap();
        near.into()
    }
    let no_reader: fn() -> OwnedFd = || rawpipe::pipe().unwrap().1.into();
    let no_peer: fn() -> OwnedFd = || UnixStream::pair().unwrap().0.into();
    let sources: [fn() -> OwnedFd; 3] = [|| file(&data(10_000)).into(), pipe, socket];
    for ignored in [false, true] {
        signal(SIGPIPE, usize::from(ignored));
        for from in sources {
            for to in [no_reader, no_peer] {
                for way in 0..4 {
                    let mut moving = child(|| {
                        let (from, to) = (from(), to());
                        let later = Deadline::after(Duration::from_secs(600));
                        let transfer = Transfer::new().raise_sigpipe();
                        let error = match way {
                            0 => transfer.run(&from, &to).unwrap_err(),
                            1 => by_copy().raise_sigpipe().run(&from, &to).unwrap_err(),
                            2 => transfer.deadline(later).run(&from, &to).unwrap_err(),
                            _ => {
                                let mut sinks = [FanoutSink::new(&to)];
                                Fanout::new().raise_sigpipe().run(&from, &mut sinks).unwrap_err()
                            }
                        };
                        u8::from(error.errno() != Some(Errno::EPIPE))
                    });
                    let status = moving.wait().unwrap();
                    if ignored {
                        assert!(status.success(), "{way}");
                    } else {
                        assert_eq!(status.signal(), Some(Signal::PIPE), "{way}");
                    }
                }
            }
        }
    }
}

fn transfer_leaves_a_pending_sigpipe_alone() {
    unsafe extern "C" {
        fn sigemptyset(set: *mut u64) -> i32;
        fn sigaddset(set: *mut u64, signal: i32) -> i32;
        fn sigismember(set: *const u64, signal: i32) -> i32;
        fn sigprocmask(how: i32, set: *const u64, old: *mut u64) -> i32;
        fn sigpending(set: *mut u64) -> i32;
    }
    const SIG_BLOCK: i32 = 0; // generic; MIPS and SPARC differ
    signal(SIGPIPE, 0);
    let mut set = [0_u64; 16];
    let place = set.as_mut_ptr();
    // SAFETY: the memory is large enough for a `sigset_t`.
    assert_eq!(unsafe { sigemptyset(place) }, 0);
    // SAFETY: the set was initialised by the call above.
    assert_eq!(unsafe { sigaddset(place, SIGPIPE) }, 0);
    // SAFETY: the set was initialised above, and the null pointer discards the old mask.
    assert_eq!(unsafe { sigprocmask(SIG_BLOCK, place, std::ptr::null_mut()) }, 0);
    let pending = || {
        let mut set = [0_u64; 16];
        // SAFETY: the memory is large enough for a `sigset_t`.
        assert_eq!(unsafe { sigpending(set.as_mut_ptr()) }, 0);
        // SAFETY: `sigpending` above has filled the set.
        unsafe { sigismember(set.as_ptr(), SIGPIPE) == 1 }
    };
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    assert!(transfer(file(b"x"), &writer).is_err());
    assert!(!pending(), "the transfer's own is left over");
    assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
    assert!(pending());
    assert!(transfer(file(b"x"), &writer).is_err());
    assert!(pending(), "the caller's own is gone");
}

// ---- signals ----

fn storm() -> Storm {
    Storm::begin(Duration::from_micros(50))
}

/// Transfers from a pipe to a socket, and from a socket to a file, continue despite signals.
fn transfer_goes_on_after_signals() {
    let len: u64 = if common::slow() { 4 << 20 } else { 256 << 20 };
    let bytes = data(1 << 20);
    let blocks = len >> 20;
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let feed = bytes.clone();
    let mut feeding =
        child(move || u8::from(!(0..blocks).all(|_| writer.write_all(&feed).is_ok())));
    let mut moving = child(move || {
        // The process that sends the signals holds copies of `reader` and `near`, so this process must end
        // before `far` can reach end of file.
        let storm = storm();
        let moved = Transfer::new().exact(len).run(&reader, &near);
        drop(storm);
        let moved = moved.is_ok_and(|done| done.bytes() == len);
        u8::from(!(moved && HANDLED.load(Ordering::SeqCst) > 0))
    });
    let storm = storm();
    let sink = file(b"");
    let done = transfer(&far, &sink).unwrap();
    drop(storm);
    assert!(feeding.wait().unwrap().success());
    assert!(moving.wait().unwrap().success());
    assert_eq!(done.bytes(), len);
    assert!(HANDLED.load(Ordering::SeqCst) > 0, "no signal came");
    let mut block = vec![0; 1 << 20];
    for index in 0..blocks {
        sink.read_exact_at(&mut block, index * (1 << 20)).unwrap();
        assert!(block == bytes, "block {index}");
    }
}

/// A signal handler can stop a waiting transfer, because the transfer calls `progress` after each signal.
fn transfer_can_be_broken_off_by_a_signal() {
    let (_near, far) = UnixStream::pair().unwrap();
    let storm = storm();
    let mut watch = |_| match HANDLED.load(Ordering::SeqCst) {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let done = Transfer::new().progress(&mut watch).run(&far, file(b"")).unwrap();
    assert_eq!(done.bytes(), 0);
    drop(storm);
}

/// A transfer that has a deadline or a nonblocking end sleeps in `poll`. A signal also stops such a transfer.
fn transfer_that_polls_can_be_broken_off_by_a_signal() {
    let storm = storm();
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let (nonblocking, _far) = UnixStream::pair().unwrap();
    nonblocking.set_nonblocking(true).unwrap();
    let (blocking, _peer) = UnixStream::pair().unwrap();
    let (_kept, sink) = rawpipe::pipe().unwrap();
    for source in [reader.as_fd(), nonblocking.as_fd(), blocking.as_fd()] {
        for deadline in [None, Some(Deadline::after(Duration::from_secs(600)))] {
            let begun = HANDLED.load(Ordering::SeqCst);
            let mut watch = |_| match HANDLED.load(Ordering::SeqCst) > begun + 3 {
                false => ControlFlow::Continue(()),
                true => ControlFlow::Break(()),
            };
            let mut options = Transfer::new().progress(&mut watch);
            if let Some(deadline) = deadline {
                options = options.deadline(deadline);
            }
            assert_eq!(options.run(source, &sink).unwrap().bytes(), 0);
        }
    }
    drop(storm);
}

/// A signal also stops a fan-out that waits for a silent source.
fn fanout_that_waits_can_be_broken_off_by_a_signal() {
    let storm = storm();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (socket, far) = UnixStream::pair().unwrap();
    writer.write_all(b"before").unwrap();
    io::write_all(&far, b"before").unwrap();
    for source in [reader.as_fd(), socket.as_fd()] {
        let begun = HANDLED.load(Ordering::SeqCst);
        let mut watch = |done| match done == 6 && HANDLED.load(Ordering::SeqCst) > begun + 3 {
            false => ControlFlow::Continue(()),
            true => ControlFlow::Break(()),
        };
        let (one, two) = (file(b""), file(b""));
        let mut sinks = [FanoutSink::new(&one), FanoutSink::new(&two)];
        // If `progress` stops a fan-out, the fan-out does not fail, although fewer than `exact` bytes were
        // moved.
        let done = Fanout::new().exact(10).progress(&mut watch).run(source, &mut sinks).unwrap();
        assert_eq!((done.bytes(), sinks[0].bytes(), sinks[1].bytes()), (6, 6, 6));
    }
    drop(storm);
}

// ---- missing system calls ----

/// Runs a transfer in a child whose filter rejects `calls`, and checks the bytes, the mechanism and the
/// reported fallback. Returns 0 on success, 1 on failure, and 2 if no filter can be installed.
fn refused(
    calls: &[usize],
    errno: Errno,
    wanted: TransferMechanism,
    first: TransferMechanism,
    make: fn() -> (OwnedFd, File),
) -> u8 {
    child(|| {
        let (from, sink) = make();
        if !common::Filter::new(calls, errno).install() {
            return 2;
        }
        let done: Transferred = match transfer(&from, &sink) {
            Ok(done) => done,
            Err(_) => return 1,
        };
        let mut arrived = vec![0; 300_000];
        let bytes = sink.read_exact_at(&mut arrived, 0).is_ok() && arrived == data(300_000);
        let right = bytes && done.bytes() == 300_000 && done.mechanism() == wanted;
        let why = done.fallback().map(|first| (first.mechanism(), first.errno()));
        u8::from(!(right && done.fell_back() && why == Some((first, Some(errno)))))
    })
    .wait()
    .unwrap()
    .code()
    .and_then(|code| u8::try_from(code).ok())
    .unwrap_or(1)
}

fn transfer_falls_back_when_the_kernel_refuses() {
    let test = "transfer_falls_back_when_the_kernel_refuses";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    fn from_file() -> (OwnedFd, File) {
        (file(&data(300_000)).into(), file(b""))
    }
    fn from_pipe() -> (OwnedFd, File) {
        let (reader, writer) = Builder::new().capacity(Capacity::Max).build().unwrap();
        writer.write_all(&data(300_000)).unwrap();
        (reader.into(), file(b""))
    }
    fn from_socket() -> (OwnedFd, File) {
        let (near, far) = UnixStream::pair().unwrap();
        let mut feeding = child(|| u8::from(io::write_all(&far, &data(300_000)).is_err()));
        drop(far);
        // Another process writes to the source during the transfer. That process is reaped when this process
        // exits.
        let _ = feeding.try_wait();
        (near.into(), file(b""))
    }
    for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EXDEV] {
        use TransferMechanism::{Broker, Copy, CopyFileRange, Sendfile};
        let copying = [nr::COPY_FILE_RANGE, nr::SPLICE, nr::SENDFILE];
        let broker = refused(&copying[..1], errno, Broker, CopyFileRange, from_file);
        if broker == 2 {
            return skip(test, "no seccomp filter here");
        }
        assert_eq!(broker, 0, "{errno}");
        assert_eq!(refused(&copying[..2], errno, Sendfile, CopyFileRange, from_file), 0, "{errno}");
        assert_eq!(refused(&copying, errno, Copy, CopyFileRange, from_file), 0, "{errno}");
        assert_eq!(refused(&copying, errno, Copy, Broker, from_pipe), 0, "{errno}");
        assert_eq!(refused(&copying, errno, Copy, Broker, from_socket), 0, "{errno}");
        // Without `statx` and `splice`, the transfer cannot determine the kinds of the descriptors.
        let blind = [nr::STATX, nr::SPLICE];
        assert_eq!(refused(&blind, errno, Copy, Broker, from_pipe), 0, "{errno}");
    }
}

/// If `tee` fails, the fan-out copies the bytes from its internal pipe. The fan-out reports the error of
/// `tee` as the reason for the fallback.
fn fanout_failed_tee_copies_and_says_why() {
    let test = "fanout_failed_tee_copies_and_says_why";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    for errno in [Errno::EIO, Errno::ENOSYS, Errno::EINVAL] {
        filtered(test, &errno, || {
            let bytes = data(300_000);
            let (one, two, three) = (file(b""), file(b""), file(b""));
            let mut sinks = [&one, &two, &three].map(FanoutSink::new);
            if !common::Filter::new(&[nr::TEE], errno).install() {
                return NO_FILTER;
            }
            let Ok(done) = fanout(file(&bytes), &mut sinks) else { return 1 };
            let Some(first) = done.fallback() else { return 2 };
            let told = (done.bytes(), done.mechanism(), first.mechanism(), first.errno());
            let wanted = (300_000, TransferMechanism::Copy, TransferMechanism::Splice, Some(errno));
            let arrived = [one, two, three].iter().all(|file| {
                let mut all = vec![0; 300_001];
                file.read_at(&mut all, 0).is_ok_and(|count| count == 300_000)
                    && all[..300_000] == bytes
            });
            u8::from(told != wanted || !arrived) * 3
        });
    }
}

/// Even if `FIONREAD` fails, the error of a failed sink holds all bytes that the sink did not receive.
fn fanout_broken_sink_without_fionread_epipe_loses_nothing() {
    let test = "fanout_broken_sink_without_fionread_epipe_loses_nothing";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    filtered(test, &Errno::EPERM, || {
        let bytes = data(20_000);
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&bytes).unwrap();
        drop(writer);
        let (gone, broken) = rawpipe::pipe().unwrap();
        drop(gone);
        let mut sinks = [FanoutSink::new(&broken)];
        if !common::Filter::new(&[nr::IOCTL], Errno::EPERM).install() {
            return NO_FILTER;
        }
        let failed = fanout(&reader, &mut sinks).is_err();
        let Some(mut error) = sinks[0].take_error() else { return 1 };
        let mut all = Vec::new();
        let mut buf = [0; 4096];
        while let Ok(count @ 1..) = error.read_undelivered(&mut buf) {
            all.extend_from_slice(&buf[..count]);
        }
        u8::from(!(failed && error.errno() == Some(Errno::EPIPE) && all == bytes))
    });
}

/// If a flag can prevent a call from waiting, the transfer makes the call without polling first. `poll` would
/// be an additional call.
fn transfer_deadline_polls_only_what_could_wait() {
    let test = "transfer_deadline_polls_only_what_could_wait";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    let bytes = data(40_000);
    let run = |from: &dyn Fn() -> OwnedFd, to: &dyn Fn() -> OwnedFd, copies: bool| {
        let mut moving = child(|| {
            let (from, to) = (from(), to());
            if !common::Filter::new(&[nr::PPOLL], Errno::EDOM).install() {
                return 2;
            }
            let later = Deadline::after(Duration::from_secs(600));
            let transfer = if copies { by_copy() } else { Transfer::new() };
            match transfer.deadline(later).run(&from, &to) {
                Ok(done) if done.bytes() == 40_000 => 0,
                Err(error) if error.errno() == Some(Errno::EDOM) => 3,
                _ => 1,
            }
        });
        moving.wait().unwrap().code().unwrap()
    };
    let full_pipe = |nonblocking: bool| {
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&bytes).unwrap();
        reader.set_nonblocking(nonblocking).unwrap();
        OwnedFd::from(reader)
    };
    // The read end must stay open, so the closure leaks it. The process exits soon.
    let empty_pipe = |nonblocking: bool| {
        let (reader, writer) = rawpipe::pipe().unwrap();
        std::mem::forget(reader);
        writer.set_nonblocking(nonblocking).unwrap();
        OwnedFd::from(writer)
    };
    let full_socket = |nonblocking: bool| {
        let (near, far) = UnixStream::pair().unwrap();
        io::write_all(&far, &bytes).unwrap();
        near.set_nonblocking(nonblocking).unwrap();
        OwnedFd::from(near)
    };
    let new_file = || OwnedFd::from(file(b""));
    if run(&|| full_pipe(false), &new_file, false) == 2 {
        return skip(test, "no seccomp filter here");
    }
    for copies in [false, true] {
        assert_eq!(run(&|| full_pipe(true), &new_file, copies), 0, "{copies}");
        assert_eq!(run(&|| full_pipe(true), &|| empty_pipe(true), copies), 0, "{copies}");
        assert_eq!(run(&|| full_socket(true), &new_file, copies), 0, "{copies}");
        assert_eq!(run(&|| full_socket(true), &|| empty_pipe(true), copies), 0, "{copies}");
        assert_eq!(run(&|| full_pipe(false), &new_file, copies), 0, "{copies}");
        let polled = run(&|| full_pipe(false), &|| empty_pipe(false), copies);
        // Before Linux 6.4, pipes do not support `RWF_NOWAIT`.
        assert!(polled == 0 || polled == 3 && copies, "{copies}: {polled}");
        // Before Linux 6.5, no flag prevents a call on a blocking socket from waiting.
        let polled = run(&|| full_socket(false), &new_file, copies);
        assert!([0, 3].contains(&polled), "{copies}: {polled}");
    }
}

/// `discard` works even if no descriptor is free for opening `/dev/null`.
fn discard_without_a_descriptor_for_a_sink_reads() {
    if common::descriptors_without_limit("discard_without_a_descriptor_for_a_sink_reads") {
        return;
    }
    let (near, far) = UnixStream::pair().unwrap();
    io::write_all(&far, &data(50_000)).unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"header and body").unwrap();
    common::set_limits(Resource::NOFILE.as_raw(), [3, 3]);
    assert_eq!(discard(&near, Some(40_000)).unwrap(), 40_000);
    assert_eq!(discard(&reader, Some(11)).unwrap(), 11);
    assert_eq!(reader.available().unwrap(), 4);
    drop((far, writer));
    assert_eq!(discard(&near, None).unwrap(), 10_000);
    assert_eq!(discard(&reader, Some(100)).unwrap(), 4);
    common::end_without_a_look_at_leaks();
}

/// With a descriptor limit of 0, `poll` fails with `EINVAL`. The transfer then cannot distinguish an empty
/// record from end of file, so the transfer also fails with `EINVAL`.
fn transfer_of_records_where_poll_fails_ends() {
    let test = "transfer_of_records_where_poll_fails_ends";
    if common::descriptors_without_limit(test) {
        return;
    }
    let (near, far) = UnixDatagram::pair().unwrap();
    far.send(b"hello").unwrap();
    near.shutdown(Shutdown::Read).unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    common::set_limits(Resource::NOFILE.as_raw(), [0, 0]);
    let error = transfer(&near, &writer).unwrap_err();
    assert_eq!(
        (error.side(), error.errno(), error.bytes()),
        (Side::Source, Some(Errno::EINVAL), 5)
    );
    assert_eq!(reader.available(), Ok(5));
    common::end_without_a_look_at_leaks();
}

fn transfer_without_descriptors_for_a_broker_copies() {
    if common::descriptors_without_limit("transfer_without_descriptors_for_a_broker_copies") {
        return;
    }
    let (near, far) = UnixStream::pair().unwrap();
    io::write_all(&far, &data(50_000)).unwrap();
    drop(far);
    let sink = file(b"");
    common::set_limits(Resource::NOFILE.as_raw(), [3, 3]);
    let done = transfer(&near, &sink).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (50_000, TransferMechanism::Copy));
    assert!(done.fell_back());
    common::end_without_a_look_at_leaks();
}

/// A fan-out works with a limit of 64 descriptors, even if 30 of its 60 sinks fail and their errors hold
/// undelivered bytes.
fn fanout_thirty_sinks_under_a_limit_of_64_descriptors() {
    if common::descriptors_without_limit("fanout_thirty_sinks_under_a_limit_of_64_descriptors") {
        return;
    }
    let bytes = data(300_000);
    let (near, far) = UnixStream::pair().unwrap();
    let mut feeding = child(|| u8::from(io::write_all(&far, &bytes).is_err()));
    drop(far);
    let targets: Vec<_> = (0..30).map(|_| file(b"")).collect();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut sinks: Vec<_> = targets.iter().map(FanoutSink::new).collect();
    sinks.extend((0..30).map(|_| FanoutSink::new(&full)));
    common::set_limits(Resource::NOFILE.as_raw(), [64, 64]);
    let done = fanout(&near, &mut sinks).unwrap();
    assert_eq!((done.bytes(), done.fell_back()), (300_000, false));
    assert!(feeding.wait().unwrap().success());
    let mut all = vec![0; 300_001];
    for target in &targets {
        assert_eq!(target.read_at(&mut all, 0).unwrap(), 300_000);
        assert!(all[..300_000] == bytes);
    }
    for sink in &mut sinks[30..] {
        let mut error = sink.take_error().unwrap();
        let count = error.undelivered();
        assert_eq!(error.read_undelivered(&mut all), Ok(count));
        assert!(count > 0 && bytes.starts_with(&all[..count]));
    }
    common::end_without_a_look_at_leaks();
}

// ---- file systems that only this process uses ----

/// Mounts a file system of this type for this process only. Returns the directory, or the reason why mounting
/// failed.
fn mounted(kind: &CStr, options: &CStr) -> Result<PathBuf, &'static str> {
    const CLONE_NEWNS: usize = 0x0002_0000;
    const PRIVATE_RECURSIVE: usize = 1 << 18 | 1 << 14;
    unsafe extern "C" {
        fn mount(
            source: *const c_char,
            target: *const c_char,
            kind: *const c_char,
            flags: usize,
            data: *const c_char,
        ) -> i32;
    }
    // SAFETY: the call reads only an integer.
    if unsafe { raw::syscall1(nr::UNSHARE, CLONE_NEWNS) } != 0 {
        return Err("needs root, for a file system");
    }
    let folder = common::tmp_path();
    std::fs::create_dir(&folder).unwrap();
    let target = CString::new(folder.to_str().unwrap()).unwrap();
    let none = std::ptr::null();
    let unused = c"".as_ptr().cast(); // Valgrind checks this string even if the kernel ignores it
    // SAFETY: the strings end with NUL, and the other pointer may be null.
    unsafe { mount(unused, c"/".as_ptr().cast(), unused, PRIVATE_RECURSIVE, none) };
    let kind = kind.as_ptr().cast();
    // SAFETY: the strings end with NUL.
    if unsafe { mount(kind, target.as_ptr().cast(), kind, 0, options.as_ptr().cast()) } != 0 {
        std::fs::remove_dir(&folder).unwrap();
        return Err("this kind of file system cannot be mounted");
    }
    Ok(folder)
}

fn unmount(folder: &Path) {
    unsafe extern "C" {
        fn umount(target: *const c_char) -> i32;
    }
    let target = CString::new(folder.to_str().unwrap()).unwrap();
    // SAFETY: the string ends with NUL.
    assert_eq!(unsafe { umount(target.as_ptr().cast()) }, 0);
    std::fs::remove_dir(folder).unwrap();
}

/// The trace pipe looks like a regular file, but `splice` loses some of the lines, and a read can block.
fn transfer_of_trace_pipe_loses_nothing_and_ends_at_the_deadline() {
    let test = "transfer_of_trace_pipe_loses_nothing_and_ends_at_the_deadline";
    let folder = match mounted(c"tracefs", c"") {
        Ok(folder) => folder,
        Err(why) => return skip(test, why),
    };
    let instance = folder.join(format!("instances/rawpipe-{}", std::process::id()));
    if std::fs::create_dir(&instance).is_err() {
        unmount(&folder);
        return skip(test, "no trace of its own can be made");
    }
    for cancelled in [false, true] {
        let open = |name| File::options().write(true).open(instance.join(name)).unwrap();
        open("buffer_size_kb").write_all(b"4096").unwrap();
        let mut marker = open("trace_marker");
        (0..5_000)
            .for_each(|number| marker.write_all(format!("mark{number:04}").as_bytes()).unwrap());
        let source = File::open(instance.join("trace_pipe")).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let cancel = Cancel::new().unwrap();
        let bytes = thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut bytes = Vec::new();
                (&far).read_to_end(&mut bytes).map(|_| bytes)
            });
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(500));
                if cancelled {
                    cancel.cancel();
                }
            });
            let time = Duration::from_millis(if cancelled { 60_000 } else { 500 });
            let deadline = Deadline::after(time).or_cancelled(&cancel);
            let error = Transfer::new().deadline(deadline).run(&source, &near).unwrap_err();
            let why = if cancelled { Errno::ECANCELED } else { Errno::ETIMEDOUT };
            assert_eq!((error.side(), error.errno()), (Side::Source, Some(why)));
            assert_eq!(error.transferred().mechanism(), TransferMechanism::Copy);
            drop(near);
            reading.join().unwrap().unwrap()
        });
        // A transfer without a deadline reads the next line, and `progress` then stops the transfer.
        let (reader, writer) = rawpipe::pipe().unwrap();
        marker.write_all(b"last").unwrap();
        let mut once = |_| ControlFlow::Break(());
        Transfer::new().progress(&mut once).run(&source, &writer).unwrap();
        let mut last = vec![0; reader.available().unwrap()];
        reader.read_exact(&mut last).unwrap();
        assert!(last.ends_with(b"last\n"));
        let text = String::from_utf8(bytes).unwrap();
        let marks = text.lines().filter_map(|line| line.rsplit_once("mark")?.1.parse::<u32>().ok());
        let marks: Vec<_> = marks.collect();
        assert!(marks.iter().copied().eq(0..5_000), "{} lines; {:?}", marks.len(), text.get(..300));
    }
    std::fs::remove_dir(&instance).unwrap();
    unmount(&folder);
}

// ---- pipes that may not grow ----

/// If a pipe cannot be enlarged, the transfer's pipes keep their capacities, and all bytes arrive.
fn transfer_grow_pipes_refused_is_ignored() {
    let test = "transfer_grow_pipes_refused_is_ignored";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    const SET: Value = Value::Is(1031); // F_SETPIPE_SZ
    for errno in [Errno::EPERM, Errno::EBUSY, Errno::ENOMEM, Errno::ENOSYS, Errno::EINVAL] {
        filtered(test, &errno, || {
            let ((reader, writer), (arrived, sink)) =
                (rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap());
            writer.write_all(&data(10_000)).unwrap();
            drop(writer);
            if !common::Filter::on_argument(nr::FCNTL, 1, SET, errno).install() {
                return NO_FILTER;
            }
            let before = [reader.capacity(), sink.capacity()];
            let done = Transfer::new().grow_pipes().run(&reader, &sink);
            let mut all = vec![0; 10_000];
            let right = done.is_ok_and(|done| done.bytes() == 10_000)
                && arrived.read_exact(&mut all).is_ok()
                && all == data(10_000)
                && before == [reader.capacity(), sink.capacity()];
            u8::from(!right)
        });
    }
}

/// The error holds the bytes that were read from the pipe but did not fit in the file. This test needs no
/// privilege.
fn transfer_pipe_to_a_file_at_its_limit_efbig_holds_the_rest() {
    const SIGXFSZ: i32 = 25; // 31 on MIPS and PA-RISC
    const MOST: usize = 20_000;
    signal(SIGXFSZ, 1);
    let bytes = data(50_000);
    let sink = file(b"");
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&bytes).unwrap();
    common::set_limits(Resource::FSIZE.as_raw(), [MOST as u64; 2]);
    let mut error = transfer(&reader, &sink).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EFBIG)));
    assert_eq!(error.transferred().mechanism(), TransferMechanism::Broker);
    let mut all = vec![0; usize::try_from(error.bytes()).unwrap()];
    assert!(all.len() <= MOST && error.undelivered() > 0);
    sink.read_exact_at(&mut all, 0).unwrap();
    let mut rescued = vec![0; error.undelivered()];
    let mut count = 0;
    while let Ok(more @ 1..) = error.read_undelivered(&mut rescued[count..]) {
        count += more;
    }
    assert_eq!(count, rescued.len());
    all.extend(rescued);
    drop(writer);
    reader.read_to_end(&mut all).unwrap();
    assert!(all == bytes, "{} of {} bytes", all.len(), bytes.len());
    common::end_without_a_look_at_leaks();
}

// ---- a full disk ----

fn transfer_full_disk_enospc_loses_nothing() {
    let folder = match mounted(c"tmpfs", c"size=1m") {
        Ok(folder) => folder,
        Err(why) => return skip("transfer_full_disk_enospc_loses_nothing", why),
    };
    let bytes = data(3 << 20);
    for source in ["file", "pipe", "socket"] {
        let path = folder.join(source);
        let sink = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        let (from, mut feeding): (OwnedFd, Option<Child>) = match source {
            "file" => (file(&bytes).into(), None),
            "pipe" => {
                let (reader, writer) = rawpipe::pipe().unwrap();
                let feeding = child(|| u8::from(writer.write_all(&bytes).is_err()));
                drop(writer);
                (reader.into(), Some(feeding))
            }
            _ => {
                let (near, far) = UnixStream::pair().unwrap();
                let feeding = child(|| u8::from(io::write_all(&far, &bytes).is_err()));
                drop(far);
                (near.into(), Some(feeding))
            }
        };
        let mut error = transfer(from.as_fd(), &sink).unwrap_err();
        let what = format!("{source}: {error}");
        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::ENOSPC)), "{what}");
        let mut all = vec![0; usize::try_from(error.bytes()).unwrap()];
        assert_eq!(sink.metadata().unwrap().len(), error.bytes(), "{what}");
        sink.read_exact_at(&mut all, 0).unwrap();
        // If the source is not a file, the error holds bytes that were read from the source and stored in the
        // internal pipe.
        assert!(error.undelivered() > 0 || source == "file", "{what}");
        let mut rescued = vec![0; error.undelivered()];
        let mut count = 0;
        while let Ok(more @ 1..) = error.read_undelivered(&mut rescued[count..]) {
            count += more;
        }
        assert_eq!(count, rescued.len(), "{what}");
        all.extend(rescued);
        io::read_to_end(&from, &mut all).unwrap();
        assert_eq!(all.len(), bytes.len(), "{what}");
        assert!(all == bytes, "{what}");
        if let Some(feeding) = &mut feeding {
            assert!(feeding.wait().unwrap().success());
        }
        drop(sink);
        std::fs::remove_file(&path).unwrap();
    }
    unmount(&folder);
}

// ---- few pages ----

/// The fan-out's internal pipe has many pages, and the sinks' pipes have few. The fan-out must read only as
/// many bytes from the file as fit in the sinks' pipes. Otherwise the excess bytes would be lost when the
/// fan-out ends and drops the internal pipe.
fn fanout_few_pages_for_the_sinks_loses_nothing() {
    const MAX: usize = 1 << 20;
    unsafe extern "C" {
        safe fn getuid() -> u32;
        safe fn setuid(uid: u32) -> i32;
    }
    let test = "fanout_few_pages_for_the_sinks_loses_nothing";
    if getuid() != 0 {
        return skip(test, "needs root, to become a user without pipes");
    }
    let bytes = data(3 * MAX);
    // Creates a pipe and enlarges it if the user's limit permits. If one enlarged pipe is dropped later,
    // exactly one other pipe can be enlarged.
    let grown = || {
        let pipe = rawpipe::pipe().unwrap();
        (pipe.0.set_capacity(Capacity::Bytes(MAX)), pipe)
    };
    assert_eq!(setuid(0x3_0000 + std::process::id() % 0x1_0000), 0);
    let mut filling = Vec::new();
    while let (Ok(_), pipe) = grown() {
        filling.push(pipe);
        if filling.len() == 500 {
            return skip(test, "no limit to the pages of pipes was found");
        }
    }

    // If the pipes cannot be enlarged, a transfer with `grow_pipes` does not change their capacities.
    let ((reader, writer), (arrived, sink)) = (rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap());
    let before = [reader.capacity(), sink.capacity()];
    writer.write_all(&bytes[..1000]).unwrap();
    drop(writer);
    assert_eq!(Transfer::new().grow_pipes().run(&reader, &sink).unwrap().bytes(), 1000);
    assert_eq!(([reader.capacity(), sink.capacity()], arrived.available()), (before, Ok(1000)));
    drop((reader, sink, arrived));
    // The internal pipe is small. The transfer uses this pipe only if no other mechanism is available.
    let fed = || {
        let (reader, writer) = UnixStream::pair().unwrap();
        io::write_all(&writer, &bytes[..1000]).unwrap();
        reader
    };
    let options = || Transfer::new().exact(1000);
    let done = options().run(fed(), file(b"")).unwrap();
    let why = done.fallback().map(|first| (first.mechanism(), first.errno()));
    assert_eq!(done.mechanism(), TransferMechanism::Copy);
    assert_eq!(why, Some((TransferMechanism::Broker, Some(Errno::EPERM))));
    let done = options().without(TransferMechanism::Copy).run(fed(), file(b"")).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (1000, TransferMechanism::Broker));
    filling.pop();

    for broken in [false, true] {
        let mut source = file(&bytes);
        let [(one, to_one), (two, to_two)] = [0, 1].map(|_| rawpipe::pipe().unwrap());
        let readers = (!broken).then_some((one, two));
        let mut sinks = [FanoutSink::new(&to_one), FanoutSink::new(&to_two)];
        let mut once = |_| ControlFlow::Break(());
        let answer = Fanout::new().progress(&mut once).run(&source, &mut sinks);
        let taken = source.stream_position().unwrap();
        let held =
            |sink: &FanoutSink<'_>| sink.error().map_or(0, |error| error.undelivered() as u64);
        for sink in &sinks {
            assert_eq!(sink.bytes() + held(sink), taken, "{sink:?}");
        }
        match readers {
            Some((one, two)) => {
                assert_eq!(answer.unwrap().bytes(), taken);
                let found = (one.available().unwrap() as u64, two.available().unwrap() as u64);
                assert_eq!(found, (taken, taken));
            }
            None => assert_eq!(answer.unwrap_err().errno(), Some(Errno::EPIPE)),
        }
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    fanout_failed_tee_copies_and_says_why,
    fanout_broken_sink_without_fionread_epipe_loses_nothing,
    transfer_without_reader_does_not_raise_sigpipe,
    transfer_leaves_a_pending_sigpipe_alone,
    transfer_raises_sigpipe_if_it_is_to,
    fanout_thirty_sinks_under_a_limit_of_64_descriptors,
    fanout_that_waits_can_be_broken_off_by_a_signal,
    transfer_goes_on_after_signals,
    transfer_can_be_broken_off_by_a_signal,
    transfer_that_polls_can_be_broken_off_by_a_signal,
    discard_without_a_descriptor_for_a_sink_reads,
    transfer_of_records_where_poll_fails_ends,
    transfer_falls_back_when_the_kernel_refuses,
    transfer_deadline_polls_only_what_could_wait,
    transfer_without_descriptors_for_a_broker_copies,
    transfer_of_trace_pipe_loses_nothing_and_ends_at_the_deadline,
    transfer_full_disk_enospc_loses_nothing,
    transfer_grow_pipes_refused_is_ignored,
    transfer_pipe_to_a_file_at_its_limit_efbig_holds_the_rest,
    fanout_few_pages_for_the_sinks_loses_nothing,
];
