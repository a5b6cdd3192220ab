//! Tests writes without `SIGPIPE`, deadlines while signals arrive, adaptive waits, and fallbacks for rejected
//! system calls. Each test runs in its own process. Only children of that process install filters or change
//! the action of `SIGPIPE`.
#![allow(unsafe_code, reason = "signals, by the C library")]

use crate::common::nr;
use crate::common::{self, Filter, HANDLED, Storm, child, skip};
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::io::without_sigpipe;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::{ExitStatus, Signal};
use rawpipe::splice::{SpliceFlags, sendfile, splice, tee};
use rawpipe::{Errno, PipeReader, PipeWriter, io};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SIGPIPE: i32 = 13;

/// Restores the default action of `SIGPIPE`, as in a program that was started without Rust's runtime.
fn sigpipe_kills() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    const SIG_DFL: usize = 0;
    assert_ne!(signal(SIGPIPE, SIG_DFL), usize::MAX);
}

fn broken_pipe() -> PipeWriter {
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    writer
}

/// Runs `body` in a child in which `SIGPIPE` has its default action.
fn mortal(body: impl FnOnce() -> u8) -> ExitStatus {
    let mut child = child(|| {
        sigpipe_kills();
        body()
    });
    child.wait().unwrap()
}

/// Runs `body` once while `pwritev2` is permitted, and once for each of four errors with which a filter
/// rejects that call. Each run takes place in a child in which `SIGPIPE` has its default action.
fn both_ways(test: &str, body: impl Fn() -> u8) {
    let status = mortal(&body);
    assert!(status.success(), "{status}");
    for errno in [Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EPERM, Errno::EINVAL] {
        let filter = Filter::new(&[nr::PWRITEV2], errno);
        let status = mortal(|| if filter.install() { body() } else { 99 });
        if status.code() == Some(99) {
            return skip(test, "no filters here");
        }
        assert!(status.success(), "{errno}: {status}");
    }
}

// ---------------------------------------------------------------- SIGPIPE

fn write_nobody_reads_kills() {
    let status = mortal(|| u8::from(broken_pipe().write(b"x").is_ok()));
    assert_eq!(
        status.signal(),
        Some(Signal::PIPE),
        "{status}: the tests below would prove nothing"
    );
}

fn write_nosignal_nobody_reads_epipe() {
    both_ways("write_nosignal_nobody_reads_epipe", || {
        let writer = broken_pipe();
        for _ in 0..3 {
            assert_eq!(writer.write_nosignal(b"x"), Err(Errno::EPIPE));
            assert_eq!(io::writev_nosignal(&writer, &[io::IoSlice::new(b"x")]), Err(Errno::EPIPE));
        }
        0
    });
    // A later ordinary write still kills the process, because `write_nosignal` suppresses `SIGPIPE` only for
    // its own call.
    let status = mortal(|| {
        let writer = broken_pipe();
        assert_eq!(writer.write_nosignal(b"x"), Err(Errno::EPIPE));
        u8::from(writer.write(b"x").is_ok())
    });
    assert_eq!(status.signal(), Some(Signal::PIPE), "{status}");
}

fn write_nosignal_writes_like_write() {
    both_ways("write_nosignal_writes_like_write", || {
        let (reader, writer) = Builder::new().nonblocking().build().unwrap();
        assert_eq!(writer.write_nosignal(b"abc"), Ok(3));
        assert_eq!(writer.write_nosignal(b""), Ok(0));
        let bufs = [io::IoSlice::new(b"de"), io::IoSlice::new(b"f")];
        assert_eq!(io::writev_nosignal(&writer, &bufs), Ok(3));
        let mut buf = [0; 8];
        assert_eq!(reader.read(&mut buf), Ok(6));
        assert_eq!(&buf[..6], b"abcdef");
        let capacity = writer.capacity().unwrap();
        assert_eq!(writer.write_nosignal(&vec![0; 2 * capacity]), Ok(capacity));
        assert_eq!(writer.write_nosignal(b"x"), Err(Errno::EAGAIN));
        assert_eq!(io::write_nosignal(&reader, b"x"), Err(Errno::EBADF));
        assert_eq!(io::write_nosignal(common::closed_fd(), b"x"), Err(Errno::EBADF));
        let many = vec![io::IoSlice::new(b"x"); 1025];
        assert_eq!(io::writev_nosignal(&writer, &many), Err(Errno::EINVAL));
        let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(io::write_nosignal(&null, b"abc"), Ok(3));
        0
    });
}

/// If the reader is closed during a write, the write returns a positive count although the kernel raised
/// `SIGPIPE`.
fn write_nosignal_reader_leaves_in_the_middle_is_short() {
    both_ways("write_nosignal_reader_leaves_in_the_middle_is_short", || {
        const TAKEN: usize = 64 << 10;
        let (reader, writer) = rawpipe::pipe().unwrap();
        let capacity = writer.capacity().unwrap();
        let copy = &writer;
        let mut leaving = child(|| {
            common::close_copy(copy);
            reader.read_exact(&mut vec![0; TAKEN]).unwrap();
            // The writer fills the pipe again and then blocks.
            let deadline = Deadline::after(Duration::from_secs(60));
            while reader.available().unwrap() < capacity && !deadline.has_passed() {
                std::thread::yield_now();
            }
            0
        });
        drop(reader);
        let written = writer.write_nosignal(&vec![1; (1 << 20).max(3 * capacity)]);
        assert_eq!(written, Ok(TAKEN + capacity));
        assert_eq!(writer.write_nosignal(b"x"), Err(Errno::EPIPE));
        u8::from(!leaving.wait().unwrap().success())
    });
}

fn without_sigpipe_guards_other_calls() {
    let status = mortal(|| {
        let none = SpliceFlags::empty();
        let writer = broken_pipe();
        let (filled, filler) = rawpipe::pipe().unwrap();
        filler.write(b"bytes").unwrap();
        let file = common::file(b"contents");
        let answers = without_sigpipe(|| {
            [
                splice(&filled, None, &writer, None, 5, none),
                tee(&filled, &writer, 5, none),
                sendfile(&file, Some(&mut 0), &writer, 5),
                writer.write(b"x"),
                writer.write_nosignal(b"x"),
            ]
        });
        assert_eq!(answers, Ok([Err(Errno::EPIPE); 5]));
        0
    });
    assert!(status.success(), "{status}");
    let status = mortal(|| {
        without_sigpipe(|| ()).unwrap();
        u8::from(broken_pipe().write(b"x").is_ok())
    });
    assert_eq!(status.signal(), Some(Signal::PIPE), "{status}: the mask is what it was");
    #[cfg(feature = "transfer")]
    {
        let status = mortal(|| {
            let file = common::file(b"contents");
            let failed = rawpipe::transfer::transfer(&file, broken_pipe()).unwrap_err();
            u8::from(failed.errno() != Some(Errno::EPIPE))
        });
        assert!(status.success(), "{status}");
    }
}

/// A `SIGPIPE` that was pending before `without_sigpipe` belongs to other code and stays pending.
fn without_sigpipe_leaves_a_pending_one() {
    let status = mortal(|| {
        // The outer guard blocks `SIGPIPE`, and finally consumes the signal that the first write raises. The
        // inner guards must not consume that signal.
        without_sigpipe(|| {
            let writer = broken_pipe();
            assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
            assert!(sigpipe_is_pending());
            assert_eq!(without_sigpipe(|| writer.write(b"x")), Ok(Err(Errno::EPIPE)));
            assert!(sigpipe_is_pending());
            assert_eq!(writer.write_nosignal(b"x"), Err(Errno::EPIPE));
            assert!(sigpipe_is_pending());
        })
        .unwrap();
        assert!(!sigpipe_is_pending());
        0
    });
    assert!(status.success(), "{status}");
}

fn sigpipe_is_pending() -> bool {
    sigpipe_is_in("SigPnd:")
}

/// Returns whether `SIGPIPE` is in the pending set that `set` names: `SigPnd:` for this thread, or `ShdPnd:`
/// for the process.
fn sigpipe_is_in(set: &str) -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(set)).unwrap();
    let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    mask & 1 << (SIGPIPE - 1) != 0
}

/// Installs a handler that counts each `SIGPIPE`.
fn sigpipe_is_counted() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    extern "C" fn handler(_signal: i32) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    signal(SIGPIPE, handler as extern "C" fn(i32) as usize);
}

/// Makes a child send `SIGPIPE` to this process.
fn sigpipe_from_a_child() {
    let parent = std::process::id();
    let mut sender = child(|| {
        common::kill(parent, SIGPIPE);
        0
    });
    assert!(sender.wait().unwrap().success());
}

/// Sends `SIGPIPE` from this process to itself. This signal has the same sender id as a signal that a system
/// call raises.
fn sigpipe_from_itself() {
    common::kill(std::process::id(), SIGPIPE);
}

/// A signal that is sent to the process during `without_sigpipe` is delivered afterwards, even if a call has
/// raised another signal. The signal that the call raised is not delivered.
fn without_sigpipe_delivers_what_the_process_is_sent() {
    let test = "without_sigpipe_delivers_what_the_process_is_sent";
    if common::emulated() {
        return skip(test, "an emulator keeps signals of its own");
    }
    if common::tool() == Some(common::Tool::Thread) {
        return skip(test, "the tool's own thread may take the signal, and then ends the process");
    }
    for send in [sigpipe_from_a_child, sigpipe_from_itself] {
        for (sent, broken) in [(false, false), (false, true), (true, false), (true, true)] {
            let status = mortal(|| {
                sigpipe_is_counted();
                let writer = broken_pipe();
                without_sigpipe(|| {
                    if broken {
                        assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
                    }
                    if sent {
                        send();
                    }
                    assert_eq!(HANDLED.load(Ordering::SeqCst), 0);
                })
                .unwrap();
                let handled = HANDLED.load(Ordering::SeqCst);
                assert_eq!(handled, usize::from(sent), "sent: {sent}, broken: {broken}");
                assert!(!sigpipe_is_in("SigPnd:") && !sigpipe_is_in("ShdPnd:"));
                0
            });
            assert!(status.success(), "{status}");
        }
    }
    #[cfg(feature = "transfer")]
    {
        let status = mortal(|| {
            sigpipe_is_counted();
            let (source, sink) = (common::file(b"contents"), common::file(b""));
            let mut send = |_| {
                sigpipe_from_itself();
                std::ops::ControlFlow::Continue(())
            };
            let all = rawpipe::transfer::Transfer::new().exact(8).progress(&mut send);
            assert_eq!(all.run(&source, &sink).unwrap().bytes(), 8);
            assert!(HANDLED.load(Ordering::SeqCst) > 0);
            0
        });
        assert!(status.success(), "{status}");
    }
}

/// The guard consumes the thread's own `SIGPIPE`, even if a `SIGPIPE` was already pending for the process.
fn without_sigpipe_takes_its_own_beside_one_of_the_process() {
    let test = "without_sigpipe_takes_its_own_beside_one_of_the_process";
    if common::emulated() {
        return skip(test, "an emulator keeps signals of its own");
    }
    let status = mortal(|| {
        sigpipe_is_counted();
        let writer = broken_pipe();
        // The outer guard represents a caller that has blocked the signal.
        without_sigpipe(|| {
            sigpipe_from_itself();
            let before = (sigpipe_is_in("SigPnd:"), sigpipe_is_in("ShdPnd:"));
            assert_eq!(before, (false, true));
            assert_eq!(without_sigpipe(|| writer.write(b"x")), Ok(Err(Errno::EPIPE)));
            let after = (sigpipe_is_in("SigPnd:"), sigpipe_is_in("ShdPnd:"));
            assert_eq!(after, before);
        })
        .unwrap();
        assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
        0
    });
    assert!(status.success(), "{status}");
}

/// Without `rt_tgsigqueueinfo`, the guard still consumes a signal that a call has raised.
fn without_sigpipe_queueing_refused_takes_its_own() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let filter = Filter::new(&[nr::RT_TGSIGQUEUEINFO], errno);
        let status = mortal(|| {
            if !filter.install() {
                return 99;
            }
            let writer = broken_pipe();
            assert_eq!(without_sigpipe(|| writer.write(b"x")), Ok(Err(Errno::EPIPE)));
            assert!(!sigpipe_is_pending());
            // A signal that was already pending stays pending.
            without_sigpipe(|| {
                assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
                assert_eq!(without_sigpipe(|| writer.write(b"x")), Ok(Err(Errno::EPIPE)));
                assert!(sigpipe_is_pending());
            })
            .unwrap();
            0
        });
        if status.code() == Some(99) {
            return skip("without_sigpipe_queueing_refused_takes_its_own", "no filters here");
        }
        assert!(status.success(), "{errno}: {status}");
    }
}

/// If the guard cannot be created, calls that need the guard fail with the filter's error and transfer no
/// byte.
fn nosignal_guard_refused_errno_before_the_first_byte() {
    use rawpipe::message::{MessageError, Sender};

    for call in [nr::RT_SIGPENDING, nr::RT_SIGPROCMASK] {
        for errno in [Errno::ENOSYS, Errno::EPERM] {
            let filter = Filter::new(&[nr::PWRITEV2, call], errno);
            let status = mortal(|| {
                let (reader, writer) = rawpipe::pipe().unwrap();
                let source = common::file(b"contents");
                let (filled, filler) = rawpipe::pipe().unwrap();
                filler.write_all(b"contents").unwrap();
                if !filter.install() {
                    return 99;
                }
                assert_eq!(without_sigpipe(|| ()), Err(errno));
                assert_eq!(writer.write_nosignal(b"x"), Err(errno));
                let mut sender = Sender::new(&writer);
                let refused = Err(MessageError::Io(errno));
                assert_eq!(sender.send(&[b"x"]), refused);
                assert_eq!(sender.send_deadline(&[b"x"], Deadline::NEVER), refused);
                assert!(sender.into_inner().is_ok(), "nothing was sent in part");
                #[cfg(feature = "transfer")]
                {
                    use rawpipe::transfer::{FanoutSink, Side, fanout, transfer};
                    let mut sinks = [FanoutSink::new(&writer)];
                    for error in [
                        transfer(&source, &writer).unwrap_err(),
                        transfer(&filled, &writer).unwrap_err(),
                        fanout(&filled, &mut sinks).unwrap_err(),
                    ] {
                        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(errno)));
                        assert_eq!((error.bytes(), error.undelivered()), (0, 0));
                    }
                }
                assert_eq!((reader.available(), filled.available()), (Ok(0), Ok(8)));
                let position = std::io::Seek::stream_position(&mut &source).unwrap();
                u8::from(position != 0)
            });
            if status.code() == Some(99) {
                let test = "nosignal_guard_refused_errno_before_the_first_byte";
                return skip(test, "no filters here");
            }
            assert!(status.success(), "{errno}: {status}");
        }
    }
}

// ---------------------------------------------------------------- deadlines

/// A deadline never expires early. On an idle machine, at least one of five deadlines expires at most 20 ms
/// late.
fn read_deadline_under_signals_is_exact() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let timeout = Duration::from_millis(50);
    let storm = Storm::begin(Duration::from_micros(100));
    let mut late = Duration::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        assert_eq!(
            reader.read_deadline(&mut [0; 1], Deadline::after(timeout)),
            Err(Errno::ETIMEDOUT)
        );
        let took = begin.elapsed();
        assert!(took >= timeout, "{took:?}");
        late = late.min(took - timeout);
    }
    drop(storm);
    assert!(HANDLED.load(Ordering::SeqCst) > 5, "no signal came");
    let idle = !common::slow()
        && std::fs::read_to_string("/proc/loadavg").is_ok_and(|load| load.starts_with("0."));
    let bound = Duration::from_millis(if idle { 20 } else { 5000 });
    assert!(late <= bound, "{late:?} late at best");
}

fn deadlines_go_on_after_signals() {
    const LEN: usize = 2 << 20;
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(16384)).build().unwrap();
    let deadline = Deadline::after(Duration::from_secs(200));
    let mut writing = child(move || {
        let storm = Storm::begin(Duration::from_micros(100));
        let data: Vec<u8> = (0..LEN).map(|n| n.to_le_bytes()[1]).collect();
        let done = writer.write_all_deadline(&data, deadline);
        drop(storm);
        u8::from(done.is_err())
    });
    let _storm = Storm::begin(Duration::from_micros(100));
    let mut got = vec![0; LEN];
    reader.read_exact_deadline(&mut got, deadline).unwrap();
    assert!(got.iter().enumerate().all(|(n, byte)| *byte == n.to_le_bytes()[1]));
    assert!(writing.wait().unwrap().success());
}

/// `try_read` and `try_write` on pipes fall back to other calls if the kernel rejects the flags of `preadv2`
/// and `pwritev2`. If the other calls are also rejected, both functions fail with `EOPNOTSUPP`. The test
/// covers the errors with which a kernel or a filter can reject these flags.
fn try_calls_refused_fall_back_or_say_so() {
    let refusals = [Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EPERM, Errno::EINVAL];
    for errno in refusals {
        let flags = Filter::new(&[nr::PREADV2, nr::PWRITEV2], errno);
        let copying = Filter::new(&[nr::VMSPLICE], Errno::EOPNOTSUPP);
        let others = Filter::new(&[nr::VMSPLICE, nr::SPLICE], Errno::ENOSYS);
        let status = mortal(|| {
            if !flags.install() {
                return 99;
            }
            let (reader, writer) = rawpipe::pipe().unwrap();
            let mut buf = [0; 8];
            assert_eq!(reader.try_read(&mut buf), Err(Errno::EAGAIN));
            assert_eq!(writer.try_write(b"abc"), Ok(3));
            assert_eq!(reader.try_read(&mut buf), Ok(3));
            let file = common::file(b"contents");
            let none = io::try_read(&file, &mut buf);
            let wanted = if errno == Errno::EINVAL { errno } else { Errno::EOPNOTSUPP };
            assert_eq!(none, Err(wanted));
            assert_eq!(io::try_write(&file, b"x"), Err(wanted));
            // An adaptive wait also works.
            let mut reader = reader.with_wait(Wait::Adaptive);
            let mut writer = writer.with_wait(Wait::Adaptive);
            assert_eq!(writer.write(b"abcd"), Ok(4));
            assert_eq!(reader.read(&mut buf), Ok(4));
            let (reader, writer) = (reader.into_inner(), writer.into_inner());

            // A kernel may use these flags to implement `vmsplice`. Such a kernel also rejects `vmsplice`,
            // and the error is `EOPNOTSUPP`.
            assert!(copying.install());
            assert_eq!(reader.try_read(&mut buf), Err(Errno::EAGAIN));
            assert_eq!(writer.try_write(b"abcde"), Ok(5));
            assert_eq!(reader.try_read(&mut buf), Ok(5));
            assert_eq!(&buf[..5], b"abcde");
            drop(writer);
            assert_eq!(reader.try_read(&mut buf), Ok(0));
            let (reader, writer) = rawpipe::pipe().unwrap();

            assert!(others.install());
            assert_eq!(reader.try_read(&mut buf), Err(Errno::EOPNOTSUPP));
            assert_eq!(writer.try_write(b"abc"), Err(Errno::EOPNOTSUPP));
            let long = Duration::from_secs(100);
            assert_eq!(
                reader.read_deadline(&mut buf, Deadline::after(long)),
                Err(Errno::EOPNOTSUPP)
            );
            0
        });
        if status.code() == Some(99) {
            return skip("try_calls_refused_fall_back_or_say_so", "no filters here");
        }
        assert!(status.success(), "{errno}: {status}");
    }
}

/// Without `epoll_pwait2`, the timeout is rounded up to whole milliseconds.
fn epoll_pwait2_refused_is_not_shorter_than_asked() {
    use rawpipe::event::{Epoll, Event, PollEvents};
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let filter = Filter::new(&[nr::EPOLL_PWAIT2], errno);
        let status = mortal(|| {
            if !filter.install() {
                return 99;
            }
            let (reader, writer) = rawpipe::pipe().unwrap();
            let epoll = Epoll::new().unwrap();
            epoll.add(&reader, PollEvents::IN, 42).unwrap();
            let mut buf = [Event::default(); 2];
            for timeout in [0, 1, 999_999, 1_000_001].map(Duration::from_nanos) {
                let begin = Instant::now();
                assert!(epoll.wait(&mut buf, Some(timeout)).unwrap().is_empty());
                assert!(begin.elapsed() >= timeout);
            }
            writer.write(b"x").unwrap();
            for timeout in [None, Some(Duration::MAX), Some(Duration::ZERO)] {
                assert_eq!(epoll.wait(&mut buf, timeout).unwrap()[0].token(), 42);
            }
            0
        });
        if status.code() == Some(99) {
            return skip("epoll_pwait2_refused_is_not_shorter_than_asked", "no filters here");
        }
        assert!(status.success(), "{errno}: {status}");
    }
}

// ---------------------------------------------------------------- adaptive waiting

fn with_wait_ping_pong() {
    let pairs: [(PipeReader, PipeWriter); 2] = [(); 2].map(|()| rawpipe::pipe().unwrap());
    let [(there, ask), (back, answer)] = pairs;
    let rounds = if common::slow() { 200 } else { 5000_u32 };
    let copies = (&ask, &back);
    let mut answering = child(move || {
        common::close_copy(copies.0);
        common::close_copy(copies.1);
        let mut there = there.with_wait(Wait::Adaptive);
        let mut answer = answer.with_wait(Wait::Adaptive);
        let mut number = [0; 4];
        while there.read_exact(&mut number).is_ok() {
            let next = u32::from_ne_bytes(number) + 1;
            answer.write_all(&next.to_ne_bytes()).unwrap();
        }
        0
    });
    let (mut ask, mut back) = (ask.with_wait(Wait::Adaptive), back.with_wait(Wait::Adaptive));
    for number in 0..rounds {
        ask.write_all(&number.to_ne_bytes()).unwrap();
        let mut next = [0; 4];
        back.read_exact(&mut next).unwrap();
        assert_eq!(u32::from_ne_bytes(next), number + 1);
    }
    drop(ask);
    assert_eq!(back.read(&mut [0; 1]), Ok(0));
    assert!(answering.wait().unwrap().success());
}

fn with_wait_large_data_through_a_small_pipe() {
    const LEN: usize = 1 << 20;
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(4096)).build().unwrap();
    let mut writing = child(move || {
        let data: Vec<u8> = (0..LEN).map(|n| n.to_le_bytes()[1]).collect();
        u8::from(writer.with_wait(Wait::Adaptive).write_all(&data).is_err())
    });
    let mut reader = reader.with_wait(Wait::Adaptive);
    let mut got = vec![0; LEN];
    reader.read_exact(&mut got).unwrap();
    assert!(got.iter().enumerate().all(|(n, byte)| *byte == n.to_le_bytes()[1]));
    assert_eq!(reader.read(&mut [0; 1]), Ok(0));
    assert!(writing.wait().unwrap().success());
}

fn with_wait_nonblocking_end_does_not_wait_eagain() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let mut reader = reader.with_wait(Wait::Adaptive);
    assert_eq!(reader.read(&mut [0; 1]), Err(Errno::EAGAIN));
    assert_eq!(reader.get_ref().available(), Ok(0));
    let mut writer = writer.with_wait(Wait::Adaptive);
    let data = vec![0; 2 * writer.get_ref().capacity().unwrap()];
    let stopped = writer.write_all(&data).unwrap_err();
    assert_eq!((stopped.bytes(), stopped.errno()), (data.len() / 2, Some(Errno::EAGAIN)));
}

fn with_wait_interrupted_eintr() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let _storm = Storm::begin(Duration::from_millis(1));
    assert_eq!(reader.with_wait(Wait::Adaptive).read(&mut [0; 1]), Err(Errno::EINTR));
}

pub(crate) const TESTS: common::Tests = common::tests![
    write_nobody_reads_kills,
    write_nosignal_nobody_reads_epipe,
    write_nosignal_writes_like_write,
    write_nosignal_reader_leaves_in_the_middle_is_short,
    without_sigpipe_guards_other_calls,
    without_sigpipe_leaves_a_pending_one,
    without_sigpipe_delivers_what_the_process_is_sent,
    without_sigpipe_takes_its_own_beside_one_of_the_process,
    without_sigpipe_queueing_refused_takes_its_own,
    nosignal_guard_refused_errno_before_the_first_byte,
    read_deadline_under_signals_is_exact,
    deadlines_go_on_after_signals,
    try_calls_refused_fall_back_or_say_so,
    epoll_pwait2_refused_is_not_shorter_than_asked,
    with_wait_ping_pong,
    with_wait_large_data_through_a_small_pipe,
    with_wait_nonblocking_end_does_not_wait_eagain,
    with_wait_interrupted_eintr,
];
