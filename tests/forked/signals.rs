//! Tests calls that a signal handler interrupts. Each test runs in its own process.

use crate::common::{self, HANDLED, Storm, child, skip};
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter, Reuse};
use rawpipe::event::{Epoll, Event, EventFd, PollEvents, PollFd, poll, poll_deadline};
use rawpipe::io::IoSlice;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, splice, tee};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn storm() -> Storm {
    Storm::begin(Duration::from_millis(1))
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let data = vec![0; writer.capacity().unwrap()];
    writer.write_all(&data).unwrap();
    (reader, writer)
}

fn read_interrupted_eintr() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let _storm = storm();
    let _writer = writer; // dropped after the calls but before the storm ends
    assert_eq!(reader.read(&mut [0; 8]), Err(Errno::EINTR));
    let mut buf = [std::mem::MaybeUninit::uninit(); 8];
    assert_eq!(reader.read_uninit(&mut buf).unwrap_err(), Errno::EINTR);
    let mut bytes = [0; 8];
    let mut bufs = [rawpipe::io::IoSliceMut::new(&mut bytes)];
    assert_eq!(reader.readv(&mut bufs), Err(Errno::EINTR));
    // ThreadSanitizer runs a handler later, and once for several signals.
    let least = if common::tool() == Some(common::Tool::Thread) { 0 } else { 3 };
    assert!(HANDLED.load(Ordering::SeqCst) >= least);
}

fn write_interrupted_eintr() {
    let (reader, writer) = full_pipe();
    let _storm = storm();
    assert_eq!(writer.write(b"x"), Err(Errno::EINTR));
    assert_eq!(writer.writev(&[IoSlice::new(b"x")]), Err(Errno::EINTR));
    assert_eq!(reader.available(), writer.capacity(), "nothing was written");
}

fn write_interrupted_in_the_middle_is_short() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let capacity = writer.capacity().unwrap();
    let data = vec![1; 3 * capacity];
    let _storm = Storm::begin(Duration::from_millis(20));
    assert_eq!(writer.write(&data), Ok(capacity));
    assert_eq!(reader.available(), Ok(capacity));
}

fn splice_and_tee_interrupted_eintr() {
    let (empty, _held) = rawpipe::pipe().unwrap();
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let _storm = storm();
    let none = SpliceFlags::empty();
    assert_eq!(splice(&empty, None, &writer, None, 100, none), Err(Errno::EINTR));
    assert_eq!(tee(&empty, &writer, 100, none), Err(Errno::EINTR));
}

fn poll_interrupted_eintr() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let _storm = storm();
    let mut fds = [PollFd::new(&reader, PollEvents::IN)];
    assert_eq!(poll(&mut fds, None), Err(Errno::EINTR));
    assert_eq!(poll(&mut fds, Some(Duration::from_secs(3600))), Err(Errno::EINTR));
    assert_eq!(poll(&mut [], None), Err(Errno::EINTR));
}

fn poll_deadline_interrupted_goes_on() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let _storm = storm();
    let mut fds = [PollFd::new(&reader, PollEvents::IN)];
    let deadline = Deadline::after(Duration::from_millis(20));
    assert_eq!(poll_deadline(&mut fds, deadline), Ok(0));
    assert!(deadline.has_passed());
}

fn epoll_interrupted_eintr_but_by_a_deadline() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.add(&reader, PollEvents::IN, 0).unwrap();
    let _storm = storm();
    let mut buf = [Event::default(); 2];
    assert_eq!(epoll.wait(&mut buf, None).unwrap_err(), Errno::EINTR);
    let deadline = Deadline::after(Duration::from_millis(20));
    assert!(epoll.wait_deadline(&mut buf, deadline).unwrap().is_empty());
    assert!(deadline.has_passed());
}

fn eventfd_interrupted_eintr() {
    let event = EventFd::new(0).unwrap();
    let _storm = storm();
    assert_eq!(event.read(), Err(Errno::EINTR));
    event.write(u64::MAX - 1).unwrap();
    assert_eq!(event.write(1), Err(Errno::EINTR));
}

fn wait_goes_on_after_signals() {
    let handled = || {
        let mut slow = child(|| {
            let _ = poll(&mut [], Some(Duration::from_millis(200)));
            6
        });
        HANDLED.store(0, Ordering::SeqCst);
        let _storm = storm();
        assert_eq!(slow.wait().unwrap().code(), Some(6));
        HANDLED.load(Ordering::SeqCst) > 2
    };
    assert!((0..TURNS).any(|_| handled()), "no signal came");
}

/// The maximum number of attempts. On a busy machine, the sender of the signals may not run during an
/// attempt.
const TURNS: usize = 50;

/// Functions that retry on `EINTR` transfer 8 MiB through a small pipe while both sides receive signals.
fn transfers_go_on_after_signals() {
    assert!((0..TURNS).any(|_| transfer_while_signals_arrive()), "no signal came");
}

/// Transfers and checks 8 MiB while signals arrive. Returns whether both sides received a signal.
fn transfer_while_signals_arrive() -> bool {
    const LEN: usize = 8 << 20;
    let byte = |index: usize| (index * 31 + index / 253).to_le_bytes()[0];
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(16384)).build().unwrap();

    HANDLED.store(0, Ordering::SeqCst);
    let mut writing = child(move || {
        let storm = Storm::begin(Duration::from_micros(50));
        let data: Vec<u8> = (0..LEN).map(byte).collect();
        let (half, rest) = data.split_at(LEN / 2);
        let mut bufs: Vec<_> = rest.chunks(1000).map(IoSlice::new).collect();
        let done = writer.write_all(half).is_ok() && writer.write_all_vectored(&mut bufs).is_ok();
        // The child that sends the signals holds a copy of the write end. The reader reaches end of file only
        // after that child has ended.
        drop(storm);
        if done { u8::from(HANDLED.load(Ordering::SeqCst) > 0) } else { 2 }
    });
    let storm = Storm::begin(Duration::from_micros(50));
    let mut half = vec![0; LEN / 2];
    reader.read_exact(&mut half).unwrap();
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest), Ok(LEN - LEN / 2));
    drop(storm);
    let code = writing.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    assert!(half.iter().chain(&rest).enumerate().all(|(index, &got)| got == byte(index)));
    code == Some(1) && HANDLED.load(Ordering::SeqCst) > 0
}

/// Each chunk mechanism transfers 256 MiB, or 4 MiB if [`common::slow`] returns true. Both sides receive a
/// signal about every 50 µs.
fn chunks_go_on_after_signals() {
    for way in [
        (ChunkMechanism::Vmsplice, Reuse::AfterRead, Wait::Adaptive),
        (ChunkMechanism::Vmsplice, Reuse::Never, Wait::Block),
        (ChunkMechanism::Memfd, Reuse::AfterRead, Wait::Block),
        (ChunkMechanism::Write, Reuse::Never, Wait::Block),
    ] {
        let mut turns = (0..TURNS).map(|_| chunks_while_signals_arrive(way));
        // Repeats the transfer until signals arrive on both sides, or until the mechanism proves to be
        // unavailable.
        match turns.find(|came| *came != Some(false)) {
            Some(Some(_)) => {}
            Some(None) => {
                skip("chunks_go_on_after_signals", &format!("{:?} does not work here", way.0));
            }
            None => panic!("{way:?}: no signal came"),
        }
    }
}

/// Transfers and checks chunks while signals arrive. Returns whether both sides received a signal, or `None`
/// if the mechanism is unavailable.
fn chunks_while_signals_arrive(way: (ChunkMechanism, Reuse, Wait)) -> Option<bool> {
    const CHUNK: usize = 300_000;
    let len: usize = if common::slow() { 4 << 20 } else { 256 << 20 };
    let chunks = len / CHUNK;
    let pattern: Vec<u8> = (0..2 * CHUNK).map(|at| (at * 31 + at / 253).to_le_bytes()[0]).collect();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let builder = ChunkWriter::builder().mechanism(way.0).reuse(way.1).wait(way.2);
    let mut writer = builder.chunk(CHUNK).build(writer).ok()?;
    HANDLED.store(0, Ordering::SeqCst);
    let copy = &pattern;
    let mut writing = child(move || {
        let storm = Storm::begin(Duration::from_micros(50));
        for number in 0..chunks {
            if number % 2 == 1 {
                writer.resend(CHUNK).unwrap();
                continue;
            }
            let chunk = writer.chunk().unwrap();
            chunk.copy_from_slice(&copy[number % CHUNK..][..CHUNK]);
            writer.send(CHUNK).unwrap();
        }
        drop(storm);
        u8::from(HANDLED.load(Ordering::SeqCst) > 0)
    });
    let storm = Storm::begin(Duration::from_micros(50));
    let mut reader = ChunkReader::builder().wait(way.2).build(reader).unwrap();
    let mut total = 0;
    loop {
        let got = reader.read_chunk().unwrap();
        if got.is_empty() {
            break;
        }
        let mut rest = got;
        while !rest.is_empty() {
            let (number, at) = (total / CHUNK, total % CHUNK);
            let len = rest.len().min(CHUNK - at);
            let sent = &pattern[number / 2 * 2 % CHUNK + at..]; // each chunk is sent twice
            assert!(rest[..len] == sent[..len], "{way:?} at {total}");
            rest = &rest[len..];
            total += len;
        }
    }
    drop(storm);
    let code = writing.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 1)), "{way:?}: {code:?}");
    assert_eq!(total, chunks * CHUNK, "{way:?}");
    Some(code == Some(1) && HANDLED.load(Ordering::SeqCst) > 0)
}

pub(crate) const TESTS: common::Tests = common::tests![
    read_interrupted_eintr,
    write_interrupted_eintr,
    write_interrupted_in_the_middle_is_short,
    splice_and_tee_interrupted_eintr,
    poll_interrupted_eintr,
    poll_deadline_interrupted_goes_on,
    epoll_interrupted_eintr_but_by_a_deadline,
    eventfd_interrupted_eintr,
    wait_goes_on_after_signals,
    transfers_go_on_after_signals,
    chunks_go_on_after_signals,
];
