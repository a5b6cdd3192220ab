//! Tests that another thread, another process or a signal handler can cancel a wait. Each test runs in its
//! own process, because the tests create threads and children.
#![cfg_attr(not(feature = "full"), allow(unused, reason = "the topic needs everything"))]
#![allow(unsafe_code, reason = "forking, and a signal handler")]

use crate::common::bytes::data;
use crate::common::nr;
use crate::common::programs::program;
use crate::common::{self, Filter, NO_FILTER, child, filtered};
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::event::{
    Epoll, Event, FdSet, PollEvents, PollFd, SignalFd, poll, poll_deadline, select_deadline,
    wait_signal,
};
use rawpipe::fd::{AsFd, AsRawFd};
use rawpipe::message::{Channel, MessageError};
use rawpipe::process::{
    Command, Communicate, CommunicateErrorKind as Kind, OnDrop, Resource, Signal, SignalSet, Stdio,
    WaitFlags, wait_any_deadline,
};
use rawpipe::transfer::{Fanout, FanoutSink, Side, Transfer, TransferError, TransferMechanism};
use rawpipe::{Cancel, Deadline, Errno, PipeReader, PipeWriter, io};
use std::cell::RefCell;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(30);
/// A time limit that no test reaches.
const LONG: Duration = Duration::from_secs(120);

fn long(cancel: &Cancel) -> Deadline<'_> {
    Deadline::after(LONG).or_cancelled(cancel)
}

/// Returns once the main thread has been asleep for a moment, or has used 30 ms of processor time. On a busy
/// machine, that thread may begin to wait long after this call.
fn until_the_main_thread_waits() {
    let stat = format!("/proc/self/task/{}/stat", std::process::id());
    let look = || {
        let text = std::fs::read_to_string(&stat).unwrap();
        let fields: Vec<_> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks = [11, 12].map(|at| fields[at].parse::<u64>().unwrap());
        (fields[0] == "S", ticks.iter().sum::<u64>())
    };
    let (mut moments, before) = (0, look().1);
    while moments < 2 && look().1 < before + 3 {
        thread::sleep(MOMENT / 2);
        moments = if look().0 { moments + 1 } else { 0 };
    }
}

/// Calls `wait` twice and returns both results. Another thread cancels the first call while the call waits.
/// The second call starts with a cancelled deadline.
fn both<T>(mut wait: impl FnMut(Deadline<'_>) -> T) -> [T; 2] {
    let cancel = Cancel::new().unwrap();
    let waiting = thread::scope(|scope| {
        scope.spawn(|| {
            until_the_main_thread_waits();
            cancel.cancel();
        });
        let answer = wait(long(&cancel));
        assert!(cancel.is_cancelled(), "it did not wait");
        answer
    });
    let begun = Instant::now();
    let before = wait(Deadline::NEVER.or_cancelled(&cancel));
    assert!(begun.elapsed() < LONG / 2);
    [waiting, before]
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&vec![0; writer.capacity().unwrap()]).unwrap();
    (reader, writer)
}

// ---- the value ----

fn cancel_is_kept_and_readable() {
    let cancel = Cancel::new().unwrap();
    let deadline = Deadline::NEVER.or_cancelled(&cancel);
    let readable = || poll(&mut [PollFd::new(&cancel, PollEvents::IN)], Some(Duration::ZERO));
    assert!(!cancel.is_cancelled() && !deadline.is_cancelled() && !deadline.has_passed());
    assert!(deadline.remaining() > LONG);
    assert_eq!(readable(), Ok(0));
    for _ in 0..3 {
        cancel.cancel();
        assert!(cancel.is_cancelled() && deadline.is_cancelled() && deadline.has_passed());
        assert_eq!((deadline.remaining(), readable()), (Duration::ZERO, Ok(1)));
    }
    assert!(io::is_close_on_exec(&cancel).unwrap() && io::is_nonblocking(&cancel).unwrap());
    assert!(cancel.as_fd().as_raw_fd() > 2);
    // A later `or_cancelled` replaces the earlier `Cancel`.
    let other = Cancel::new().unwrap();
    assert!(!deadline.or_cancelled(&other).has_passed());
    assert!(!Deadline::NEVER.is_cancelled());
}

/// A `Cancel` works even if its counter is full and its write therefore fails.
fn cancel_with_a_full_counter_works() {
    let cancel = Cancel::new().unwrap();
    assert_eq!(io::write(&cancel, &(u64::MAX - 1).to_ne_bytes()), Ok(8));
    cancel.cancel();
    assert_eq!(poll_deadline(&mut [], long(&cancel)), Err(Errno::ECANCELED));
}

fn cancel_from_a_signal_handler() {
    static CANCEL: OnceLock<Cancel> = OnceLock::new();
    extern "C" fn handler(_: i32) {
        CANCEL.get().unwrap().cancel();
    }
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
    }
    let cancel = CANCEL.get_or_init(|| Cancel::new().unwrap());
    signal(Signal::USR1.as_raw(), handler);
    let own = std::process::id();
    let mut sender = child(|| {
        thread::sleep(MOMENT);
        common::kill(own, Signal::USR1.as_raw());
        0
    });
    let (reader, _writer) = rawpipe::pipe().unwrap();
    assert_eq!(io::read_deadline(&reader, &mut [0], long(cancel)), Err(Errno::ECANCELED));
    assert!(sender.wait().unwrap().success());
}

/// After a fork, cancelling in either process ends a wait in the other, because the two processes share the
/// descriptor.
fn cancel_after_a_fork_ends_waits_in_both() {
    let [down, up] = [(); 2].map(|()| Cancel::new().unwrap());
    let mut other = child(|| {
        let seen = poll_deadline(&mut [], long(&down));
        up.cancel();
        u8::from(seen != Err(Errno::ECANCELED) || !down.is_cancelled())
    });
    assert!(!down.is_cancelled());
    thread::sleep(MOMENT);
    down.cancel();
    assert_eq!(poll_deadline(&mut [], long(&up)), Err(Errno::ECANCELED));
    assert!(up.is_cancelled(), "the wait has seen it");
    assert!(other.wait().unwrap().success());
}

/// `wait_any` has no descriptor to wait for, so it periodically checks the `Cancel`.
fn cancel_by_another_process_ends_wait_any() {
    let cancel = Cancel::new().unwrap();
    let (gate, opener) = rawpipe::pipe().unwrap();
    let mut running = child(|| {
        common::close_copy(&opener);
        u8::from(gate.read(&mut [0]) != Ok(0))
    });
    let mut other = child(|| {
        thread::sleep(MOMENT);
        cancel.cancel();
        0
    });
    let ended = loop {
        let found = wait_any_deadline(&mut [&mut running], WaitFlags::empty(), long(&cancel));
        if !matches!(found, Ok(Some(_))) {
            break found.map(|change| change.is_some());
        }
    };
    assert_eq!(ended, Err(Errno::ECANCELED));
    drop(opener);
    assert!(running.wait().unwrap().success() && other.wait().unwrap().success());
}

/// Calls `wait` repeatedly. Another thread cancels each call at a different moment, from before the call to
/// its first sleep. Both threads spin, so that the moments are a few nanoseconds apart.
fn at_any_moment<T: Debug + PartialEq>(wait: impl Fn(Deadline<'_>) -> rawpipe::Result<T>) {
    const BATCH: usize = 500; // each value needs a descriptor
    let mut wrong = Vec::new();
    for _ in 0..if common::slow() { 1 } else { 20 } {
        let cancels: Vec<_> = (0..BATCH).map(|_| Cancel::new().unwrap()).collect();
        let begun = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (turn, cancel) in cancels.iter().enumerate() {
                    while begun.load(Ordering::Acquire) <= turn {
                        thread::yield_now();
                    }
                    (0..turn % 100).for_each(|_| std::hint::spin_loop());
                    cancel.cancel();
                }
            });
            for (turn, cancel) in cancels.iter().enumerate() {
                begun.store(turn + 1, Ordering::Release);
                let result = wait(long(cancel));
                wrong.extend((result != Err(Errno::ECANCELED)).then_some(result));
            }
        });
    }
    assert_eq!(wrong, []); // only here, because the other thread would wait for the next call
}

fn cancel_at_any_moment_is_never_lost() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    at_any_moment(|deadline| io::read_deadline(&reader, &mut [0], deadline));
}

/// Some functions report a passed deadline with an empty result. These functions report a cancel with an
/// error.
fn cancel_at_any_moment_is_no_timeout() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let epoll = Epoll::new().unwrap();
    at_any_moment(|deadline| poll_deadline(&mut [PollFd::new(&reader, PollEvents::IN)], deadline));
    at_any_moment(|deadline| {
        epoll.wait_deadline(&mut [Event::default()], deadline).map(<[_]>::len)
    });
    let waiting = RefCell::new(child(|| u8::from(reader.read(&mut [0]).is_err())));
    at_any_moment(|deadline| waiting.borrow_mut().wait_deadline(deadline));
    at_any_moment(|deadline| {
        let change =
            wait_any_deadline(&mut [&mut *waiting.borrow_mut()], WaitFlags::empty(), deadline);
        change.map(|change| change.is_none())
    });
    if let Ok(pidfd) = waiting.borrow().try_clone_pidfd() {
        at_any_moment(|deadline| pidfd.wait_deadline(deadline));
    }
    waiting.borrow_mut().kill().unwrap();
    assert!(waiting.borrow_mut().wait().is_ok());
}

// ---- events ----

/// A cancel ends `poll_deadline`, both for lists that fit on the stack and for longer lists.
fn poll_deadline_cancelled_ecanceled() {
    let pipes: Vec<_> = (0..40).map(|_| rawpipe::pipe().unwrap()).collect();
    for count in [0, 1, 6, 7, 8, 9, 40] {
        let mut fds: Vec<_> =
            pipes[..count].iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect();
        assert_eq!(both(|deadline| poll_deadline(&mut fds, deadline)), [Err(Errno::ECANCELED); 2]);
        assert!(fds.iter().all(|fd| fd.revents().is_empty()));
        // A deadline with an unused `Cancel` still expires.
        let cancel = Cancel::new().unwrap();
        let soon = Deadline::after(MOMENT).or_cancelled(&cancel);
        assert_eq!(poll_deadline(&mut fds, soon), Ok(0));
        assert!(soon.has_passed() && !soon.is_cancelled());
        // Ready descriptors are reported even after a cancel.
        if let Some(last) = count.checked_sub(1) {
            pipes[last].1.write(b"x").unwrap();
            assert_eq!(poll_deadline(&mut fds, long(&cancel)), Ok(1));
            cancel.cancel();
            assert_eq!(poll_deadline(&mut fds, long(&cancel)), Ok(1));
            assert_eq!(fds[last].revents(), PollEvents::IN);
            assert_eq!(pipes[last].0.read(&mut [0; 8]), Ok(1));
        }
    }
}

fn select_deadline_cancelled_ecanceled() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (_kept, full) = full_pipe();
    let mut write = FdSet::new();
    write.insert(&full);
    assert_eq!(
        both(|deadline| {
            // A cancelled call empties the set, so the descriptor is inserted before each call.
            write.insert(&full);
            select_deadline(None, Some(&mut write), None, deadline)
        }),
        [Err(Errno::ECANCELED); 2]
    );
    assert!(write.is_empty());
    let cancel = Cancel::new().unwrap();
    let mut read = FdSet::new();
    read.insert(&reader);
    let soon = Deadline::after(MOMENT).or_cancelled(&cancel);
    assert_eq!(select_deadline(Some(&mut read), None, None, soon), Ok(0));
    assert!(read.is_empty());
    for _ in 0..2 {
        read.insert(&reader);
        write.insert(&full);
        writer.write(b"x").unwrap();
        assert_eq!(select_deadline(Some(&mut read), Some(&mut write), None, long(&cancel)), Ok(1));
        assert!(read.contains(&reader) && read.len() == 1 && write.is_empty());
        cancel.cancel();
    }
    // If the call fails with `EBADF`, the set is unchanged.
    let lost = std::mem::ManuallyDrop::new(rawpipe::pipe().unwrap().0);
    let mut bad = FdSet::new();
    bad.insert(&reader);
    bad.insert(&*lost);
    common::close_copy(&*lost);
    let answer = select_deadline(Some(&mut bad), None, None, long(&cancel));
    assert_eq!(answer, Err(Errno::EBADF));
    assert_eq!(bad.len(), 2);
}

fn epoll_wait_deadline_cancelled_ecanceled() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    for flags in
        [PollEvents::IN, PollEvents::IN | PollEvents::ET, PollEvents::IN | PollEvents::ONESHOT]
    {
        let epoll = Epoll::new().unwrap();
        epoll.add(&reader, flags, 7).unwrap();
        let mut events = [Event::default(); 4];
        let mut wait =
            |deadline: Deadline<'_>| epoll.wait_deadline(&mut events, deadline).map(<[_]>::len);
        assert_eq!(both(&mut wait), [Err(Errno::ECANCELED); 2]);
        let cancel = Cancel::new().unwrap();
        assert_eq!(wait(Deadline::after(MOMENT).or_cancelled(&cancel)), Ok(0));
        let begun = Instant::now();
        let no_room = epoll.wait_deadline(&mut [], long(&cancel)).map(<[_]>::len);
        assert_eq!((no_room, begun.elapsed() < LONG / 2), (Err(Errno::EINVAL), true));
        writer.write(b"x").unwrap();
        cancel.cancel();
        assert_eq!(wait(long(&cancel)), Ok(1));
        assert_eq!(
            wait(long(&cancel)),
            if flags == PollEvents::IN { Ok(1) } else { Err(Errno::ECANCELED) }
        );
        reader.read(&mut [0; 8]).unwrap();
    }
}

/// If threads share one `Epoll`, each event reaches only one thread, but a cancel ends the wait of every
/// thread.
fn epoll_shared_by_threads_cancelled_ends_all() {
    let (epoll, cancel) = (Epoll::new().unwrap(), Cancel::new().unwrap());
    let (reader, writer) = rawpipe::pipe().unwrap();
    epoll.add(&reader, PollEvents::IN | PollEvents::ET, 0).unwrap();
    let found = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = || {
            loop {
                let mut events = [Event::default(); 1];
                match epoll.wait_deadline(&mut events, long(&cancel)) {
                    Ok([_]) => _ = found.fetch_add(1, Ordering::SeqCst),
                    Ok(_) => panic!("the deadline is far away"),
                    Err(errno) => return errno,
                }
            }
        };
        let workers = [(); 4].map(|()| scope.spawn(work));
        for sent in 1..=200 {
            writer.write(b"x").unwrap();
            while found.load(Ordering::SeqCst) < sent {
                thread::yield_now();
            }
        }
        cancel.cancel();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), Errno::ECANCELED);
        }
    });
    assert_eq!(found.into_inner(), 200);
}

fn wait_signal_cancelled_ecanceled() {
    let set = SignalSet::empty().with(Signal::USR2);
    let _guard = set.block().unwrap();
    assert_eq!(both(|deadline| wait_signal(set, deadline)), [Err(Errno::ECANCELED); 2]);
    let signals = SignalFd::new(set).unwrap();
    assert_eq!(both(|deadline| signals.read_deadline(deadline)), [Err(Errno::ECANCELED); 2]);
    let cancel = Cancel::new().unwrap();
    assert_eq!(wait_signal(set, Deadline::after(MOMENT).or_cancelled(&cancel)), Ok(None));
    cancel.cancel();
    common::kill(std::process::id(), Signal::USR2.as_raw());
    let taken = wait_signal(set, long(&cancel)).unwrap().unwrap();
    assert_eq!((taken.signal, taken.pid), (Signal::USR2, Some(std::process::id())));
}

// ---- reading and writing ----

fn read_deadline_cancelled_ecanceled_and_nothing_is_lost() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let mut buf = [0; 8];
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    for (reader, writer) in [(reader.as_fd(), writer.as_fd()), (near.as_fd(), far.as_fd())] {
        if io::try_read(reader, &mut buf) == Err(Errno::EOPNOTSUPP) {
            let old = common::emulated() || !common::linux(6, 5);
            assert!(old && reader.as_raw_fd() == near.as_raw_fd());
            common::skip("read_deadline of a socket", "no RWF_NOWAIT here (Linux 6.5)");
            continue;
        }
        let stopped = both(|at| io::read_deadline(reader, &mut [0; 8], at));
        assert_eq!(stopped, [Err(Errno::ECANCELED); 2]);
        rawpipe::write(writer, b"abc").unwrap();
        // Available bytes are read even after a cancel.
        assert_eq!(io::read_deadline(reader, &mut buf, long(&cancel)), Ok(3));
        rawpipe::write(writer, b"half").unwrap();
        let stopped = io::read_exact_deadline(reader, &mut buf, long(&cancel)).unwrap_err();
        assert_eq!((stopped.bytes(), stopped.errno()), (4, Some(Errno::ECANCELED)));
        assert_eq!(&buf[..4], b"half");
    }
}

fn write_deadline_cancelled_ecanceled_counts_what_was_written() {
    let (_reader, full) = full_pipe();
    assert_eq!(both(|at| full.write_deadline(b"x", at)), [Err(Errno::ECANCELED); 2]);
    let (reader, writer) = rawpipe::pipe().unwrap();
    let room = writer.capacity().unwrap();
    let bytes = data(room + 1000);
    let stopped = both(|at| writer.write_all_deadline(&bytes, at).unwrap_err());
    assert_eq!(
        stopped.map(|stopped| (stopped.bytes(), stopped.errno())),
        [(room, Some(Errno::ECANCELED)), (0, Some(Errno::ECANCELED))]
    );
    assert_eq!(common::bytes::waiting_in(&reader), &bytes[..room]);
}

fn message_recv_deadline_cancelled_keeps_the_part() {
    let (mut near, far) = Channel::pair().unwrap();
    let cancelled = |answer: Result<Option<Vec<u8>>, MessageError>| {
        matches!(answer, Err(MessageError::Io(Errno::ECANCELED)))
    };
    assert!(both(|at| near.recv_deadline(at)).into_iter().all(cancelled));
    // The header and a part of the body arrive first, and the remaining part arrives later.
    let (_, far) = far.split();
    let writer = far.as_fd();
    rawpipe::write(writer, &[&10_u64.to_le_bytes()[..], b"half "].concat()).unwrap();
    assert!(both(|at| near.recv_deadline(at)).into_iter().all(cancelled));
    assert!(matches!(
        both(|at| near.receiver().recv_into_deadline(&mut [0; 10], at)),
        [Err(MessageError::Io(Errno::ECANCELED)), Err(MessageError::Io(Errno::ECANCELED))]
    ));
    rawpipe::write(writer, b"whole").unwrap();
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    assert_eq!(near.recv_deadline(long(&cancel)).unwrap().as_deref(), Some(&b"half whole"[..]));
}

/// If a send is cancelled in the middle of a message, the next send fails with `Torn`.
fn message_send_deadline_cancelled_ecanceled() {
    let (_near, mut far) = Channel::pair().unwrap();
    let long = vec![0; 1 << 20];
    let [waiting, before] = both(|at| far.send_deadline(&[&long], at).unwrap_err());
    assert_eq!((waiting, before), (MessageError::Io(Errno::ECANCELED), MessageError::Torn));
}

// ---- transfers ----

/// Asserts that each byte is in the sink, in the error, or still in the source.
fn account(mut error: TransferError, source: &PipeReader, sink: &PipeReader, sent: &[u8]) {
    let mut all = common::bytes::waiting_in(sink);
    assert_eq!(all.len() as u64, error.bytes());
    let mut held = vec![0; error.undelivered()];
    let mut have = 0;
    while have < held.len() {
        have += error.read_undelivered(&mut held[have..]).unwrap();
    }
    all.extend(held);
    all.extend(common::bytes::waiting_in(source));
    assert!(all == sent, "{} of {} bytes", all.len(), sent.len());
}

/// The kinds of transfer under test: one with the default options, one with chunks of 64 KiB, and one without
/// `splice`.
const WAYS: [&str; 3] = ["splice", "chunks", "copy"];

fn by<'p>(way: &str) -> Transfer<'p> {
    match way {
        "splice" => Transfer::new(),
        "chunks" => Transfer::new().chunk(1 << 16),
        _ => Transfer::new().without(TransferMechanism::Splice),
    }
}

fn transfer_source_silent_cancelled_ecanceled() {
    for way in WAYS {
        let ((source, feed), (arrived, sink)) =
            (rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap());
        let bytes = data(10_000);
        feed.write_all(&bytes).unwrap();
        let [waiting, before] = both(|at| by(way).deadline(at).run(&source, &sink).unwrap_err());
        for (error, moved) in [(&waiting, 10_000), (&before, 0)] {
            assert_eq!((error.errno(), error.side()), (Some(Errno::ECANCELED), Side::Source));
            assert_eq!((error.bytes(), error.undelivered()), (moved, 0));
        }
        account(waiting, &source, &arrived, &bytes);
    }
}

fn transfer_sink_full_cancelled_ecanceled() {
    for way in WAYS {
        let ((source, feed), (arrived, sink)) =
            (rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap());
        sink.set_capacity(rawpipe::pipe::Capacity::Bytes(4096)).unwrap();
        let bytes = data(50_000);
        feed.write_all(&bytes).unwrap();
        let [waiting, before] = both(|at| by(way).deadline(at).run(&source, &sink).unwrap_err());
        assert_eq!((waiting.errno(), waiting.side()), (Some(Errno::ECANCELED), Side::Sink));
        assert!(waiting.bytes() > 0);
        assert_eq!((before.errno(), before.bytes()), (Some(Errno::ECANCELED), 0));
        assert_eq!(before.undelivered(), 0);
        account(waiting, &source, &arrived, &bytes);
    }
}

/// The error of a cancelled transfer to a full socket holds the bytes that were read but not written. The
/// test uses a blocking socket and then a nonblocking socket.
fn transfer_to_a_socket_cancelled_accounts_for_what_is_in_hand() {
    for nonblocking in [false, true] {
        let (source, feed) = rawpipe::pipe().unwrap();
        feed.set_capacity(rawpipe::pipe::Capacity::Max).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        // The socket is filled first, so that the transfer reads bytes that it cannot write.
        near.set_nonblocking(true).unwrap();
        let filled = io::write_all(&near, &vec![7; 8 << 20]).unwrap_err();
        assert_eq!(filled.errno(), Some(Errno::EAGAIN));
        near.set_nonblocking(nonblocking).unwrap();
        let bytes = data(500_000);
        feed.write_all(&bytes).unwrap();
        let [waiting, before] =
            both(|at| Transfer::new().deadline(at).run(&source, &near).unwrap_err());
        assert_eq!((waiting.errno(), waiting.side()), (Some(Errno::ECANCELED), Side::Sink));
        assert_eq!((before.errno(), before.undelivered()), (Some(Errno::ECANCELED), 0));
        assert!(waiting.undelivered() > 0);
        // The bytes of the transfer follow the bytes that filled the socket.
        drop(near);
        let mut all = Vec::new();
        io::read_to_end(&far, &mut all).unwrap();
        let mut all = all.split_off(filled.bytes());
        assert_eq!(all.len() as u64, waiting.bytes());
        let mut waiting = waiting;
        let mut held = vec![0; waiting.undelivered()];
        let mut have = 0;
        while have < held.len() {
            have += waiting.read_undelivered(&mut held[have..]).unwrap();
        }
        all.extend(held);
        all.extend(common::bytes::waiting_in(&source));
        assert!(all == bytes, "{} bytes", all.len());
    }
}

/// A cancel ends a transfer whose source and sink never block.
fn transfer_without_end_that_never_waits_cancelled_ecanceled() {
    let zero = File::open("/dev/zero").unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    for way in WAYS {
        let [waiting, before] = both(|at| by(way).deadline(at).run(&zero, &null).unwrap_err());
        assert!(waiting.bytes() > 0);
        for error in [waiting, before] {
            assert_eq!((error.errno(), error.side()), (Some(Errno::ECANCELED), Side::Source));
            assert_eq!(error.undelivered(), 0);
        }
    }
}

/// A cancel ends a transfer from a pipe that another thread keeps full.
fn transfer_of_a_stream_without_end_cancelled_ecanceled() {
    let (source, feed) = rawpipe::pipe().unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    let feeding = thread::spawn(move || {
        let bytes = data(1 << 16);
        while io::write_nosignal(&feed, &bytes).is_ok() {}
    });
    let [waiting, _] = both(|at| Transfer::new().deadline(at).run(&source, &null).unwrap_err());
    assert_eq!(waiting.errno(), Some(Errno::ECANCELED));
    assert_eq!(waiting.transferred().mechanism(), TransferMechanism::Splice);
    drop(source);
    feeding.join().unwrap();
}

/// A transfer succeeds if all requested bytes have arrived, even if its deadline was cancelled.
fn transfer_of_all_that_was_wanted_cancelled_by_its_progress_succeeds() {
    let (cancel, (source, feed)) = (Cancel::new().unwrap(), rawpipe::pipe().unwrap());
    let (arrived, sink) = rawpipe::pipe().unwrap();
    feed.write_all(&data(5000)).unwrap();
    let mut stop = |_| {
        cancel.cancel();
        std::ops::ControlFlow::Continue(())
    };
    let done = Transfer::new().exact(5000).progress(&mut stop).deadline(long(&cancel));
    assert_eq!(done.run(&source, &sink).unwrap().bytes(), 5000);
    assert_eq!(common::bytes::waiting_in(&arrived), data(5000));
}

fn transfer_from_a_terminal_cancelled_ecanceled() {
    if !common::terminals() {
        return;
    }
    let (terminal, mut keyboard) = common::terminal();
    let (arrived, sink) = rawpipe::pipe().unwrap();
    std::io::Write::write_all(&mut keyboard, b"a line\n").unwrap();
    let [waiting, before] =
        both(|at| Transfer::new().deadline(at).run(&terminal, &sink).unwrap_err());
    assert_eq!((waiting.errno(), waiting.bytes()), (Some(Errno::ECANCELED), 7));
    assert_eq!((before.errno(), before.bytes()), (Some(Errno::ECANCELED), 0));
    assert_eq!(common::bytes::waiting_in(&arrived), b"a line\n");
}

/// A cancel ends a transfer to one end of a terminal if no process reads from the other end.
fn transfer_to_a_terminal_cancelled_ecanceled() {
    if !common::terminals() {
        return;
    }
    let (screen, keyboard) = common::terminal();
    for sink in [&screen, &keyboard] {
        let source = common::file(&vec![b'\n'; 200_000]);
        let [waiting, before] =
            both(|at| Transfer::new().deadline(at).run(&source, sink).unwrap_err());
        assert_eq!((waiting.errno(), waiting.side()), (Some(Errno::ECANCELED), Side::Sink));
        assert!(waiting.bytes() > 0);
        assert_eq!((before.errno(), before.bytes()), (Some(Errno::ECANCELED), 0));
    }
}

// ---- shared chunks ----

fn shared_chunks_cancelled_ecanceled_and_nothing_is_lost() {
    let (mut reader, mut writer) = match SharedBuilder::new().chunk(1000).ring(1).build() {
        // An emulator accepts the `madvise` advice but does not wipe the memory of a forked child, so the
        // builder fails.
        Err(Errno::EOPNOTSUPP) if common::emulated() => {
            return common::skip(
                &common::name_alone(),
                "no memory that is wiped in a forked child",
            );
        }
        pair => pair.unwrap(),
    };
    let results = both(|at| reader.recv_deadline(at).map(|chunk| chunk.is_some()));
    assert_eq!(results, [Err(Errno::ECANCELED); 2]);
    let mut sent = 0_u8;
    while let Ok(chunk) = writer.try_chunk() {
        chunk[0] = sent;
        writer.send(1).unwrap();
        sent += 1;
    }
    assert_eq!(
        both(|at| writer.chunk_deadline(at).map(|chunk| chunk.len())),
        [Err(Errno::ECANCELED); 2]
    );
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    for number in 0..sent {
        assert_eq!(reader.recv_deadline(long(&cancel)).unwrap().as_deref(), Some(&[number][..]));
    }
    assert_eq!(reader.recv_deadline(long(&cancel)).unwrap_err(), Errno::ECANCELED);
    assert!(writer.chunk_deadline(long(&cancel)).is_ok());
}

// ---- children ----

fn child_wait_deadline_cancelled_ecanceled() {
    wait_for_a_child();
    filtered("child_wait_deadline_cancelled_ecanceled", &"without a pidfd", || {
        let refused = [common::no_pidfd_by_clone(), Filter::new(&[nr::PIDFD_OPEN], Errno::ENOSYS)];
        if !refused.iter().all(Filter::install) {
            return NO_FILTER;
        }
        wait_for_a_child();
        0
    });
}

fn wait_any_and_pidfd_deadline_cancelled_ecanceled() {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let mut waiting = child(|| {
        common::close_copy(&opener);
        u8::from(gate.read(&mut [0]) != Ok(0))
    });
    for any in both(|at| wait_any_deadline(&mut [&mut waiting], WaitFlags::empty(), at)) {
        assert_eq!(any.unwrap_err(), Errno::ECANCELED);
    }
    if let Ok(pidfd) = waiting.try_clone_pidfd() {
        assert_eq!(both(|at| pidfd.wait_deadline(at)), [Err(Errno::ECANCELED); 2]);
    }
    drop(opener);
    assert!(waiting.wait().unwrap().success());
}

fn wait_for_a_child() {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let mut waiting = child(|| {
        common::close_copy(&opener);
        u8::from(gate.read(&mut [0]) != Ok(0))
    });
    drop(gate);
    assert_eq!(both(|at| waiting.wait_deadline(at)), [Err(Errno::ECANCELED); 2]);
    let cancel = Cancel::new().unwrap();
    assert_eq!(waiting.wait_deadline(Deadline::after(MOMENT).or_cancelled(&cancel)), Ok(None));
    drop(opener);
    assert!(waiting.wait_deadline(long(&cancel)).unwrap().unwrap().success());
    // A known status is returned even after a cancel.
    cancel.cancel();
    assert!(waiting.wait_deadline(long(&cancel)).unwrap().is_some());
}

fn communicate_cancelled_keeps_what_was_read() {
    let mut command = program("cat", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).on_drop(OnDrop::Kill);
    let mut cat = command.spawn().unwrap();
    // A second write end keeps the child's input open.
    let kept = io::dup_cloexec(cat.stdin_ref().unwrap()).unwrap();
    // The child is ready once it has answered.
    assert_eq!(io::write(&kept, b"?"), Ok(1));
    assert_eq!(io::read(cat.stdout_ref().unwrap(), &mut [0]), Ok(1));
    let cancel = Cancel::new().unwrap();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(10 * MOMENT);
            cancel.cancel();
        });
        Communicate::new().input(b"once").deadline(long(&cancel)).run(&mut cat).unwrap_err()
    });
    assert_eq!((error.reason(), error.errno()), (Kind::Cancelled, Some(Errno::ECANCELED)));
    assert_eq!((error.fed(), error.stdout()), (4, &b"once"[..]));
    assert_eq!(error.to_string(), "cancelled after 4 bytes of output and 0 of errors");
    // A second run continues where the cancelled run stopped.
    drop(kept);
    assert!(Communicate::new().run(&mut cat).unwrap().status.success());
}

/// If a fan-out is cancelled while it waits for a full sink, the other sinks receive all bytes that the
/// fan-out has read. The position of the full sink in the list does not matter.
fn fanout_cancelled_gives_its_round_to_the_sinks_that_are_ready() {
    let data = data(5_000);
    let (_full_reader, full) = full_pipe();
    for place in 0..3 {
        let roomy = [rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap()];
        let [waiting, before] = both(|at| {
            let (source, feed) = rawpipe::pipe().unwrap();
            feed.write_all(&data).unwrap();
            let mut sinks: Vec<_> = roomy.iter().map(|(_, sink)| FanoutSink::new(sink)).collect();
            sinks.insert(place, FanoutSink::new(&full));
            let error = Fanout::new().deadline(at).run(&source, &mut sinks).unwrap_err();
            assert_eq!((error.errno(), error.side()), (Some(Errno::ECANCELED), Side::Source));
            let left = source.available().unwrap();
            let silent = sinks.remove(place).take_error().map(|mut error| {
                assert_eq!((error.errno(), error.side()), (Some(Errno::ECANCELED), Side::Sink));
                let mut kept = vec![0; data.len()];
                let count = error.read_undelivered(&mut kept).unwrap();
                assert!(kept[..count] == data[..count]);
                (error.bytes(), count)
            });
            assert!(sinks.iter().all(|sink| sink.error().is_none()));
            (error.bytes(), silent, sinks[0].bytes(), sinks[1].bytes(), left)
        });
        assert_eq!(waiting, (5_000, Some((0, 5_000)), 5_000, 5_000, 0), "{place}");
        assert_eq!(before, (0, None, 0, 0, 5_000), "{place}");
        for (reader, _) in &roomy {
            assert_eq!(common::bytes::waiting_in(reader), data, "{place}");
        }
    }
}

/// If the only sink is full, a cancelled fan-out returns the error of that sink.
fn fanout_cancelled_with_no_sink_left_ecanceled_of_the_sink() {
    let (_full_reader, full) = full_pipe();
    let (source, feed) = rawpipe::pipe().unwrap();
    feed.write_all(b"12345").unwrap();
    let cancel = Cancel::new().unwrap();
    let mut sinks = [FanoutSink::new(&full)];
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            until_the_main_thread_waits();
            cancel.cancel();
        });
        Fanout::new().deadline(long(&cancel)).run(&source, &mut sinks).unwrap_err()
    });
    assert_eq!((error.errno(), error.side()), (Some(Errno::ECANCELED), Side::Sink));
    assert_eq!(sinks[0].error().map(TransferError::undelivered), Some(5));
}

/// A cancel ends the wait for a child that has closed its streams but keeps running. The cancel occurs during
/// the first call, so the deadline of the second call is already cancelled.
fn communicate_cancelled_while_the_child_runs_on() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo out; exec >&- 2>&-; sleep 600"]).stdout(Stdio::piped());
    command.on_drop(OnDrop::Kill);
    let mut sh = command.spawn().unwrap();
    let [waiting, before] = both(|at| Communicate::new().deadline(at).run(&mut sh).unwrap_err());
    assert_eq!((waiting.reason(), before.reason()), (Kind::Cancelled, Kind::Cancelled));
}

/// A forked child cancels. Functions whose deadline has passed before their first wait still detect the
/// cancel.
fn cancel_by_another_process_is_no_timeout() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut waiting = child(|| u8::from(reader.read(&mut [0]).is_err()));
    let cancelled = || {
        let cancel = Cancel::new().unwrap();
        let mut other = child(|| {
            cancel.cancel();
            0
        });
        assert!(other.wait().unwrap().success());
        assert!(!cancel.is_cancelled());
        cancel
    };
    let cancel = cancelled();
    let read = io::read_deadline(&reader, &mut [0], Deadline::now().or_cancelled(&cancel));
    assert_eq!(read, Err(Errno::ECANCELED));
    let cancel = cancelled();
    assert_eq!(waiting.wait_deadline(Deadline::now().or_cancelled(&cancel)), Err(Errno::ECANCELED));
    let cancel = cancelled();
    let now = Deadline::now().or_cancelled(&cancel);
    let any = wait_any_deadline(&mut [&mut waiting], WaitFlags::empty(), now);
    assert_eq!(any.map(drop), Err(Errno::ECANCELED));
    if let Ok(pidfd) = waiting.try_clone_pidfd() {
        let cancel = cancelled();
        let ended = pidfd.wait_deadline(Deadline::now().or_cancelled(&cancel));
        assert_eq!(ended, Err(Errno::ECANCELED));
    }
    waiting.kill().unwrap();
    assert!(waiting.wait().is_ok());
}

/// Returns, in ticks, the processor time that this process has used. `stat` must be an open
/// `/proc/self/stat`.
fn ticks(stat: &File) -> u64 {
    let mut text = [0; 1024];
    let len = stat.read_at(&mut text, 0).unwrap();
    let text = String::from_utf8_lossy(&text[..len]).into_owned();
    let after_name = text.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|part| part.parse::<u64>().unwrap()).sum()
}

/// If `RLIMIT_NOFILE` is 0, `poll` rejects every nonempty list of descriptors. A wait for a child then sleeps
/// between its attempts, even if the deadline has a `Cancel`.
fn wait_deadline_without_descriptors_sleeps() {
    let test = "wait_deadline_without_descriptors_sleeps";
    if common::descriptors_without_limit(test) {
        return;
    }
    let Ok(stat) = File::open("/proc/self/stat") else { return common::skip(test, "no /proc") };
    let cancel = Cancel::new().unwrap();
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut child = child(|| u8::from(reader.read(&mut [0]).is_err()));
    let pidfd = child.try_clone_pidfd();
    let soft = common::set_soft_limit(Resource::NOFILE.as_raw(), 0);
    let before = ticks(&stat);
    let deadline = || Deadline::after(Duration::from_millis(600)).or_cancelled(&cancel);
    assert_eq!(child.wait_deadline(deadline()), Ok(None));
    if let Ok(pidfd) = pidfd {
        assert_eq!(pidfd.wait_deadline(deadline()), Ok(None));
    }
    let used = ticks(&stat) - before;
    // At the end of the process, LeakSanitizer opens files, and tries without end if it cannot.
    common::set_soft_limit(Resource::NOFILE.as_raw(), soft);
    assert!(used < 30, "{used} ticks of 120");
    child.kill().unwrap();
    assert!(child.wait().is_ok());
}

pub(crate) const TESTS: common::Tests = common::tests![
    wait_deadline_without_descriptors_sleeps,
    cancel_by_another_process_is_no_timeout,
    cancel_is_kept_and_readable,
    cancel_with_a_full_counter_works,
    cancel_from_a_signal_handler,
    cancel_after_a_fork_ends_waits_in_both,
    cancel_by_another_process_ends_wait_any,
    cancel_at_any_moment_is_never_lost,
    cancel_at_any_moment_is_no_timeout,
    poll_deadline_cancelled_ecanceled,
    select_deadline_cancelled_ecanceled,
    epoll_wait_deadline_cancelled_ecanceled,
    epoll_shared_by_threads_cancelled_ends_all,
    wait_signal_cancelled_ecanceled,
    read_deadline_cancelled_ecanceled_and_nothing_is_lost,
    write_deadline_cancelled_ecanceled_counts_what_was_written,
    message_recv_deadline_cancelled_keeps_the_part,
    message_send_deadline_cancelled_ecanceled,
    transfer_source_silent_cancelled_ecanceled,
    transfer_sink_full_cancelled_ecanceled,
    transfer_to_a_socket_cancelled_accounts_for_what_is_in_hand,
    transfer_without_end_that_never_waits_cancelled_ecanceled,
    transfer_of_a_stream_without_end_cancelled_ecanceled,
    transfer_of_all_that_was_wanted_cancelled_by_its_progress_succeeds,
    transfer_from_a_terminal_cancelled_ecanceled,
    transfer_to_a_terminal_cancelled_ecanceled,
    shared_chunks_cancelled_ecanceled_and_nothing_is_lost,
    child_wait_deadline_cancelled_ecanceled,
    wait_any_and_pidfd_deadline_cancelled_ecanceled,
    communicate_cancelled_keeps_what_was_read,
    communicate_cancelled_while_the_child_runs_on,
    fanout_cancelled_gives_its_round_to_the_sinks_that_are_ready,
    fanout_cancelled_with_no_sink_left_ecanceled_of_the_sink,
];
