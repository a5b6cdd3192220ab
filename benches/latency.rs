//! Measures single calls and round trips.
//!
//! - `pingpong`: round trips of a message of 1 byte or 4 KiB between two processes. Each process generates
//!   every message that it sends and sums every message that it receives. The processes run on separate CPUs
//!   (`two`) or on the same CPU (`one`).
//! - `pingpong_contended`: the round trips of 1 byte, measured while a busy process runs on each CPU.
//! - `call`: single calls in one thread. The rows are `pipe2` and two `close` calls; a `write` and a `read`
//!   of one byte; `dup` and `close`; and `poll` of 1 or 1,000 pipes.
//! - `epoll`: a wait on 1,000 watched pipes, of which one is ready.
//!
//! Engines:
//!
//! - `std`: `std::io::pipe` with std's reads and writes. For operations that std lacks, the engine calls the
//!   C library's functions. For `poll`, the engine calls `ppoll`. Like this crate's `poll`, `ppoll` accepts a
//!   timeout in nanoseconds.
//! - `std-poll`: the C library's `poll`, whose system call exists on x86_64 but not on aarch64.
//! - `rawpipe`: this crate with default settings.
//! - `rawpipe-adaptive`: pipes of this crate, with `Wait::Adaptive` in both processes.
//! - `rawpipe-shared`: `chunk::shared` with `Wait::Block`. `rawpipe-shared-adaptive`: the same with
//!   `Wait::Adaptive`.
#![allow(unsafe_code, reason = "the C library's own calls, to compare with and to pin")]
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]

mod common;
#[path = "common/rows.rs"]
mod rows;

use common::{Busy, Engine, KIB, Place, Taken, trips};
use criterion::Criterion;
use rawpipe::event::{Epoll, Event, PollEvents, PollFd, poll};
use rawpipe::{PipeReader, PipeWriter};
use rows::Rows;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

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
        pub(crate) fn setrlimit(resource: i32, limit: *const c_void) -> i32;
    }
}

fn main() {
    let mut criterion = rows::criterion();
    common::machine::print();
    pingpong(&mut criterion);
    call(&mut criterion);
    epoll(&mut criterion);
    criterion.final_summary();
}

// ---------------------------------------------------------------- pingpong

fn pingpong(criterion: &mut Criterion) {
    let mut measure = |name, sizes: &[usize]| {
        let mut rows = Rows::new(criterion, name);
        for place in Place::PINNED {
            for &len in sizes {
                rows.row(place, len, None, trips(place, len));
            }
        }
    };
    measure("pingpong", &[1, 4 * KIB]);
    let _busy = Busy::new().expect("busy processes");
    measure("pingpong_contended", &[1]);
}

// ---------------------------------------------------------------- single calls

/// Creates an engine that measures a call in this process.
fn calls<'a, T>(engine: &'static str, mut call: impl FnMut() -> T + 'a) -> Engine<'a> {
    common::engine(engine, move |turns| Taken::repeated(turns, || Ok(black_box(call()))))
}

fn call(criterion: &mut Criterion) {
    let mut rows = Rows::new(criterion, "call");
    let mut row = |name: &str, engines| rows.row(Place::Free, name, None, engines);
    row(
        "pipe2",
        vec![
            calls("std", || io::pipe().expect("a pipe")),
            calls("rawpipe", || rawpipe::pipe().expect("a pipe")),
        ],
    );

    let (mut from, mut to) = io::pipe().expect("a pipe");
    let (reader, writer) = rawpipe::pipe().expect("a pipe");
    row(
        "write_read",
        vec![
            calls("std", || {
                let mut byte = [0];
                assert_eq!(to.write(black_box(&[1])).expect("written"), 1);
                assert_eq!(from.read(black_box(&mut byte)).expect("read"), 1);
            }),
            calls("rawpipe", || {
                let mut byte = [0];
                assert_eq!(writer.write(black_box(&[1])), Ok(1));
                assert_eq!(reader.read(black_box(&mut byte)), Ok(1));
            }),
        ],
    );
    row(
        "dup",
        vec![
            calls("std", || assert_eq!(libc::close(libc::dup(reader.as_raw_fd())), 0)),
            calls("rawpipe", || {
                rawpipe::close(rawpipe::dup(&reader).expect("a copy")).expect("closed");
            }),
        ],
    );

    let pipes = pipes(1000);
    for count in [1, 1000] {
        let fds = || -> Vec<_> {
            pipes[..count].iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect()
        };
        let (mut ours, mut theirs, mut plain) = (fds(), fds(), fds());
        row(
            &format!("poll_{count}"),
            vec![
                calls("std", move || {
                    let now = [0_usize; 4]; // at least as long as `struct timespec` on every architecture
                    let (place, now) = (theirs.as_mut_ptr().cast(), now.as_ptr().cast());
                    // SAFETY: `PollFd` has the layout of `struct pollfd`, the length matches the list, and
                    // the timeout is readable.
                    assert_eq!(unsafe { libc::ppoll(place, count, now, std::ptr::null()) }, 1);
                }),
                calls("std-poll", move || {
                    let place = plain.as_mut_ptr().cast();
                    // SAFETY: `PollFd` has the layout of `struct pollfd`, and the length matches the list.
                    assert_eq!(unsafe { libc::poll(place, count, 0) }, 1);
                }),
                calls("rawpipe", move || assert_eq!(poll(&mut ours, Some(Duration::ZERO)), Ok(1))),
            ],
        );
    }
}

/// Creates `count` pipes, of which only the first holds a byte.
fn pipes(count: usize) -> Vec<(PipeReader, PipeWriter)> {
    const RLIMIT_NOFILE: i32 = 7;
    let limit = [2 * count + 100; 2];
    // SAFETY: the call reads two words, the soft and the hard limit. If the requested limit is too high, the
    // call fails, and creating the pipes may fail later.
    unsafe { libc::setrlimit(RLIMIT_NOFILE, limit.as_ptr().cast()) };
    let pipes: Vec<_> = (0..count).map(|_| rawpipe::pipe().expect("a pipe")).collect();
    pipes[0].1.write_all(b"x").expect("written");
    pipes
}

fn epoll(criterion: &mut Criterion) {
    let pipes = pipes(1000);
    let epoll = Epoll::new().expect("an epoll");
    for (token, (reader, _)) in (0..).zip(&pipes) {
        epoll.add(reader, PollEvents::IN, token).expect("watched");
    }
    let number = std::os::fd::AsFd::as_fd(&epoll).as_raw_fd();
    let (mut theirs, mut ours) = ([Event::default(); 16], [Event::default(); 16]);
    let engines = vec![
        calls("std", || {
            let place = theirs.as_mut_ptr().cast();
            // SAFETY: the list holds 16 events.
            assert_eq!(unsafe { libc::epoll_wait(number, place, 16, 0) }, 1);
        }),
        calls("rawpipe", || {
            let found = epoll.wait(&mut ours, Some(Duration::ZERO)).expect("events");
            assert_eq!((found.len(), found[0].token()), (1, 0));
        }),
    ];
    Rows::new(criterion, "epoll").row(Place::Free, 1000, None, engines);
}
