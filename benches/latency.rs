//! Measures single calls, round trips and messages.
//!
//! - `pingpong`: a message to another process and back; an iteration is one round trip. The two
//!   processes are pinned to different CPUs (`apart`), to one (`together`), or not at all (`anywhere`),
//!   on an idle machine. `contended` is not pinned either, and one busy process runs on each CPU.
//! - `call`: single calls in one thread: `pipe2` and two calls of `close`; one byte written and read;
//!   `dup` and `close`; `poll` of 1 and of 1,000 pipes.
//! - `epoll_1000`: 1,000 pipes are watched and one is ready.
//! - `channel`: messages to another process, which receives them into a page-aligned buffer.
//!
//! Engines:
//!
//! - `std`: `std::io::pipe`, `write_all` and `read_exact`; a message is 8 bytes of length and the bytes.
//!   If std has no such call, it is the C library's function. For `poll` that is `ppoll`, which has
//!   nanoseconds as well. `std-poll` is the C library's `poll`, a call that x86_64 has and aarch64
//!   lacks.
//! - `std-buffered`: the same through `BufWriter` and `BufReader`.
//! - `rawpipe`: this crate by default; a channel has pipes of 256 KiB.
//! - `rawpipe-adaptive`: with `Wait::Adaptive`, in `pingpong` on both sides. `rawpipe-poll`: `poll` in
//!   the group of `epoll`. `rawpipe-large`: a channel on pipes of `Capacity::Max`.
//!   `rawpipe-read-ahead`: the receiver reads ahead. `rawpipe-send-many`: that, and the sender sends up to 1000
//!   messages with a call. Engines that send several messages together are left out above 64 KiB.
//!
//! The bytes that arrive are compared once before each measurement, and their length each time. If only
//! one CPU is allowed, groups that need two are skipped.
#![allow(unsafe_code, reason = "the C library's own calls, to compare with and to pin")]
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

mod common;

use common::{Busy, KIB, MIB, finish, start, touched};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use rawpipe::event::{Epoll, Event, PollEvents, PollFd, poll};
use rawpipe::message::{Channel, Receiver, Sender};
use rawpipe::pipe::{AdaptiveEnd, Builder, Capacity};
use rawpipe::process::Child;
use rawpipe::{PipeReader, PipeWriter, Wait};
use std::hint::black_box;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[allow(clashing_extern_declarations, reason = "the same pointers, to other types")]
mod libc {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub(crate) safe fn dup(fd: i32) -> i32;
        pub(crate) safe fn close(fd: i32) -> i32;
        pub(crate) fn poll(fds: *mut c_void, count: usize, timeout: i32) -> i32;
        pub(crate) fn ppoll(
            fds: *mut c_void,
            count: usize,
            timeout: *const c_void,
            mask: *const c_void,
        ) -> i32;
        pub(crate) fn epoll_wait(epoll: i32, events: *mut c_void, room: i32, timeout: i32) -> i32;
        pub(crate) fn sched_getaffinity(pid: i32, size: usize, mask: *mut c_void) -> i32;
        pub(crate) fn sched_setaffinity(pid: i32, size: usize, mask: *const c_void) -> i32;
        pub(crate) fn setrlimit(resource: i32, limit: *const c_void) -> i32;
    }
}

fn main() {
    let criterion =
        Criterion::default().nresamples(10_000).warm_up_time(SECOND / 4).measurement_time(SECOND);
    let mut criterion = criterion.configure_from_args();
    common::machine::print();
    let cpus = Cpus::allowed();
    pingpong(&mut criterion, &cpus);
    call(&mut criterion);
    epoll_1000(&mut criterion);
    channel(&mut criterion);
    criterion.final_summary();
}

// ---------------------------------------------------------------- CPUs

type Mask = [usize; 1024 / usize::BITS as usize];

/// The CPUs that this program may use.
struct Cpus(Mask);

impl Cpus {
    fn allowed() -> Self {
        let mut mask = Mask::default();
        let place = mask.as_mut_ptr().cast();
        // SAFETY: writes at most as many bytes as the mask has.
        let result = unsafe { libc::sched_getaffinity(0, size_of::<Mask>(), place) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        Self(mask)
    }

    /// Returns the first two, each as a set of one.
    fn two(&self) -> Option<[Self; 2]> {
        let bits = usize::BITS as usize;
        let is_set = |cpu: &usize| self.0[cpu / bits] & (1 << (cpu % bits)) != 0;
        let mut each = (0..1024).filter(is_set).map(|cpu| {
            let mut mask = Mask::default();
            mask[cpu / bits] = 1 << (cpu % bits);
            Self(mask)
        });
        Some([each.next()?, each.next()?])
    }

    /// Pins this process to these CPUs.
    fn pin(&self) {
        let place = self.0.as_ptr().cast();
        // SAFETY: reads as many bytes as the mask has.
        let result = unsafe { libc::sched_setaffinity(0, size_of::<Mask>(), place) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

// ---------------------------------------------------------------- pingpong

/// A process that sends back what it reads, and the ends of the pipes to it.
struct Echo<R, W> {
    reader: R,
    writer: W,
    child: Child,
    buf: Vec<u8>,
}

impl<R: Read, W: Write> Echo<R, W> {
    fn start(pipe: fn() -> io::Result<(R, W)>, size: usize, cpus: [&Cpus; 2]) -> io::Result<Self> {
        let (there, writer) = pipe()?;
        let (reader, back) = pipe()?;
        let mut ours = Some((reader, writer));
        let child = start(|| {
            ours = None; // here, in the child
            cpus[1].pin();
            let (mut there, mut back) = (there, back);
            let mut buf = vec![0; size];
            while there.read_exact(&mut buf).is_ok() {
                back.write_all(&buf)?;
            }
            Ok(())
        })?;
        let (reader, writer) = ours.expect("only the child's copy was closed");
        cpus[0].pin();
        let buf: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
        let mut echo = Self { reader, writer, child, buf };
        let sent = echo.buf.clone();
        echo.run(1)?;
        assert!(echo.buf == sent, "other bytes came back");
        Ok(echo)
    }

    fn run(&mut self, turns: u64) -> io::Result<Duration> {
        let clock = Instant::now();
        for _ in 0..turns {
            self.writer.write_all(&self.buf)?;
            self.reader.read_exact(&mut self.buf)?;
        }
        Ok(clock.elapsed())
    }

    fn finish(self) -> io::Result<()> {
        drop(self.writer);
        finish(self.child)
    }
}

fn std_pipe() -> io::Result<(io::PipeReader, io::PipeWriter)> {
    io::pipe()
}

fn raw_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    Ok(rawpipe::pipe()?)
}

fn adaptive_pipe() -> io::Result<(AdaptiveEnd<PipeReader>, AdaptiveEnd<PipeWriter>)> {
    let (reader, writer) = rawpipe::pipe()?;
    Ok((reader.with_wait(Wait::Adaptive), writer.with_wait(Wait::Adaptive)))
}

fn pingpong(criterion: &mut Criterion, all: &Cpus) {
    if let Some([first, second]) = &all.two() {
        pingpong_on(criterion, "pingpong_apart", [first, second]);
        pingpong_on(criterion, "pingpong_together", [first, first]);
        all.pin();
    }
    pingpong_on(criterion, "pingpong_anywhere", [all, all]);
    let _busy = Busy::new().expect("busy processes");
    pingpong_on(criterion, "pingpong_contended", [all, all]);
}

fn pingpong_on(criterion: &mut Criterion, name: &str, cpus: [&Cpus; 2]) {
    let mut group = criterion.benchmark_group(name);
    for size in [1, 4 * KIB] {
        group.throughput(Throughput::Bytes(2 * size as u64));
        pingpong_by(&mut group, "std", std_pipe, size, cpus);
        pingpong_by(&mut group, "rawpipe", raw_pipe, size, cpus);
        pingpong_by(&mut group, "rawpipe-adaptive", adaptive_pipe, size, cpus);
    }
    group.finish();
}

fn pingpong_by<R: Read, W: Write>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    engine: &str,
    pipe: fn() -> io::Result<(R, W)>,
    size: usize,
    cpus: [&Cpus; 2],
) {
    let mut echo = Echo::start(pipe, size, cpus).expect("a process that echoes");
    group.bench_function(BenchmarkId::new(engine, size), |bencher| {
        bencher.iter_custom(|turns| echo.run(turns).expect("echoes"));
    });
    echo.finish().expect("a process that ends");
}

// ---------------------------------------------------------------- single calls

fn call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    group.bench_function("pipe2/std", |bencher| bencher.iter(|| io::pipe().expect("a pipe")));
    group.bench_function("pipe2/rawpipe", |bencher| {
        bencher.iter(|| rawpipe::pipe().expect("a pipe"));
    });

    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    group.bench_function("write_read/std", |bencher| {
        bencher.iter(|| {
            let mut byte = [0];
            assert_eq!(writer.write(black_box(&[1])).expect("written"), 1);
            assert_eq!(reader.read(black_box(&mut byte)).expect("read"), 1);
        });
    });
    let (reader, writer) = rawpipe::pipe().expect("a pipe");
    group.bench_function("write_read/rawpipe", |bencher| {
        bencher.iter(|| {
            let mut byte = [0];
            assert_eq!(writer.write(black_box(&[1])), Ok(1));
            assert_eq!(reader.read(black_box(&mut byte)), Ok(1));
        });
    });

    group.bench_function("dup/std", |bencher| {
        bencher.iter(|| assert_eq!(libc::close(libc::dup(reader.as_raw_fd())), 0));
    });
    group.bench_function("dup/rawpipe", |bencher| {
        bencher.iter(|| rawpipe::close(rawpipe::dup(&reader).expect("a copy")).expect("closed"));
    });

    let pipes = pipes(1000);
    for count in [1, 1000] {
        let mut fds: Vec<_> =
            pipes[..count].iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect();
        group.bench_function(format!("poll_{count}/std"), |bencher| {
            let now = [0_usize; 4]; // a `struct timespec` of any layout
            bencher.iter(|| {
                let (place, now) = (fds.as_mut_ptr().cast(), now.as_ptr().cast());
                // SAFETY: `PollFd` has the layout of `struct pollfd`, the length is the list's, and the
                // timeout is readable.
                assert_eq!(unsafe { libc::ppoll(place, count, now, std::ptr::null()) }, 1);
            });
        });
        group.bench_function(format!("poll_{count}/std-poll"), |bencher| {
            bencher.iter(|| {
                let place = fds.as_mut_ptr().cast();
                // SAFETY: `PollFd` has the layout of `struct pollfd`, and the length is the list's.
                assert_eq!(unsafe { libc::poll(place, count, 0) }, 1);
            });
        });
        group.bench_function(format!("poll_{count}/rawpipe"), |bencher| {
            bencher.iter(|| assert_eq!(poll(&mut fds, Some(Duration::ZERO)), Ok(1)));
        });
    }
    group.finish();
}

/// Creates `count` pipes, with a byte in the first.
fn pipes(count: usize) -> Vec<(PipeReader, PipeWriter)> {
    const RLIMIT_NOFILE: i32 = 7;
    let limit = [2 * count + 100; 2];
    // SAFETY: reads two words, the soft and the hard limit. If they are too high, creating the pipes fails.
    unsafe { libc::setrlimit(RLIMIT_NOFILE, limit.as_ptr().cast()) };
    let pipes: Vec<_> = (0..count).map(|_| rawpipe::pipe().expect("a pipe")).collect();
    pipes[0].1.write_all(b"x").expect("written");
    pipes
}

fn epoll_1000(criterion: &mut Criterion) {
    let pipes = pipes(1000);
    let epoll = Epoll::new().expect("an epoll");
    for (token, (reader, _)) in (0..).zip(&pipes) {
        epoll.add(reader, PollEvents::IN, token).expect("watched");
    }
    let mut group = criterion.benchmark_group("epoll_1000");
    let mut buf = [Event::default(); 16];
    let number = std::os::fd::AsFd::as_fd(&epoll).as_raw_fd();
    group.bench_function("std", |bencher| {
        bencher.iter(|| {
            let place = buf.as_mut_ptr().cast();
            // SAFETY: room for 16 events.
            assert_eq!(unsafe { libc::epoll_wait(number, place, 16, 0) }, 1);
        });
    });
    group.bench_function("rawpipe", |bencher| {
        bencher.iter(|| {
            let found = epoll.wait(&mut buf, Some(Duration::ZERO)).expect("events");
            assert_eq!((found.len(), found[0].token()), (1, 0));
        });
    });
    let mut fds: Vec<_> =
        pipes.iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect();
    group.bench_function("rawpipe-poll", |bencher| {
        bencher.iter(|| assert_eq!(poll(&mut fds, Some(Duration::ZERO)), Ok(1)));
    });
    group.finish();
}

// ---------------------------------------------------------------- channel

/// Sends this message so many times.
type Send<W> = fn(W, &[u8], u64) -> io::Result<()>;
/// Receives so many messages into this buffer, which has their length.
type Receive<R> = fn(R, &mut [u8], u64) -> io::Result<()>;

fn std_send(mut writer: impl Write, message: &[u8], count: u64) -> io::Result<()> {
    for _ in 0..count {
        writer.write_all(&(message.len() as u64).to_le_bytes())?;
        writer.write_all(message)?;
    }
    writer.flush()
}

fn buffered_send(writer: io::PipeWriter, message: &[u8], count: u64) -> io::Result<()> {
    std_send(BufWriter::new(writer), message, count)
}

fn buffered_receive(reader: io::PipeReader, buf: &mut [u8], count: u64) -> io::Result<()> {
    std_receive(BufReader::new(reader), buf, count)
}

fn std_receive(mut reader: impl Read, buf: &mut [u8], count: u64) -> io::Result<()> {
    for _ in 0..count {
        let mut len = [0; 8];
        reader.read_exact(&mut len)?;
        let len = usize::try_from(u64::from_le_bytes(len)).map_err(io::Error::other)?;
        let message = buf.get_mut(..len).ok_or(io::ErrorKind::InvalidData)?;
        reader.read_exact(message)?;
    }
    Ok(())
}

fn raw_send(mut sender: Sender<PipeWriter>, message: &[u8], count: u64) -> io::Result<()> {
    for _ in 0..count {
        sender.send(&[message])?;
    }
    Ok(())
}

fn raw_receive(mut receiver: Receiver<PipeReader>, buf: &mut [u8], count: u64) -> io::Result<()> {
    for _ in 0..count {
        assert_eq!(receiver.recv_into(buf)?, Some(buf.len()));
    }
    Ok(())
}

fn send_many(mut sender: Sender<PipeWriter>, message: &[u8], count: u64) -> io::Result<()> {
    let messages = [message; 1000];
    let mut left = count;
    while left > 0 {
        let some = &messages[..common::least(left, messages.len())];
        sender.send_many(some)?;
        left -= some.len() as u64;
    }
    Ok(())
}

fn ahead_receive(receiver: Receiver<PipeReader>, buf: &mut [u8], count: u64) -> io::Result<()> {
    raw_receive(receiver.with_read_ahead(), buf, count)
}

fn adaptive_receive(receiver: Receiver<PipeReader>, buf: &mut [u8], count: u64) -> io::Result<()> {
    raw_receive(receiver.with_wait(Wait::Adaptive), buf, count)
}

/// The message, and room for it.
type Buffers<'a> = (&'a [u8], &'a mut [u8]);

type Ends = (Receiver<PipeReader>, Sender<PipeWriter>);

/// One direction of a channel by default.
fn link() -> io::Result<Ends> {
    let (left, right) = Channel::pair()?;
    Ok((right.split().0, left.split().1))
}

fn large_link() -> io::Result<Ends> {
    let (left, right) = Channel::pair_of(Builder::new().capacity(Capacity::Max))?;
    Ok((right.split().0, left.split().1))
}

/// Measures messages from a process that is forked before the clock starts.
fn messages<R, W>(
    pipe: fn() -> io::Result<(R, W)>,
    send: Send<W>,
    receive: Receive<R>,
    (message, buf): Buffers<'_>,
    count: u64,
) -> io::Result<Duration> {
    let (reader, writer) = pipe()?;
    let (gate, go) = rawpipe::pipe()?;
    let mut ours = Some((reader, go));
    let child = start(|| {
        ours = None; // here, in the child
        let _ = gate.read(&mut [0])?; // end of file is the start signal
        send(writer, message, count)
    })?;
    let (reader, go) = ours.expect("only the child's copy was closed");
    let clock = Instant::now();
    drop(go);
    receive(reader, buf, count)?;
    let elapsed = clock.elapsed();
    finish(child)?;
    assert!(*buf == *message, "other bytes arrived");
    Ok(elapsed)
}

fn channel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel");
    group.warm_up_time(SECOND / 10).measurement_time(SECOND / 4).sample_size(30);
    for size in [16, 64, KIB, 64 * KIB, 256 * KIB, MIB] {
        group.throughput(Throughput::Bytes(size as u64));
        let (message, buf) = (touched(size), touched(size));
        message.iter_mut().zip(0_usize..).for_each(|(byte, at)| *byte = at.to_le_bytes()[0]);
        let message = &*message;
        let mut bench = |engine: &str, run: &dyn Fn(Buffers<'_>, u64) -> io::Result<Duration>| {
            group.bench_function(BenchmarkId::new(engine, size), |bencher| {
                bencher
                    .iter_custom(|count| run((message, &mut *buf), count).expect("all messages"));
            });
        };
        bench("std", &|bufs, count| messages(std_pipe, std_send, std_receive, bufs, count));
        bench("rawpipe", &|bufs, count| messages(link, raw_send, raw_receive, bufs, count));
        bench("rawpipe-adaptive", &|bufs, count| {
            messages(link, raw_send, adaptive_receive, bufs, count)
        });
        bench("rawpipe-large", &|bufs, count| {
            messages(large_link, raw_send, raw_receive, bufs, count)
        });
        bench("rawpipe-read-ahead", &|bufs, count| {
            messages(link, raw_send, ahead_receive, bufs, count)
        });
        if size <= 64 * KIB {
            bench("std-buffered", &|bufs, count| {
                messages(std_pipe, buffered_send, buffered_receive, bufs, count)
            });
            bench("rawpipe-send-many", &|bufs, count| {
                messages(link, send_many, ahead_receive, bufs, count)
            });
        }
    }
    group.finish();
}
