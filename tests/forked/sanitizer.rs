//! Checks that sanitizers and Valgrind detect mistakes. Most tests deliberately make one mistake in a
//! separate process and require a report. The other tests require that correct code causes no report. A test
//! is skipped if none of the tools that it needs is in use. `.ci/sanitize.sh` fails if a test for its tool is
//! skipped.
#![allow(unsafe_code, reason = "mistakes")]

mod ring_threads;

use crate::common::nr;
use crate::common::{self, Tool, skip};
use rawpipe::fd::{AsRawFd, BorrowedFd};
use rawpipe::io::IoSliceMut;
use rawpipe::raw;
use ring_threads::records_between_threads;
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::process::Stdio;
use std::slice;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// Runs `mistake` in a separate process. If one of the tools in `words` is in use, requires that the tool's
/// report contains the listed words.
fn reported(test: &str, words: &[(Tool, &str)], mistake: fn()) {
    if common::in_role("mistake") {
        mistake();
        // A tool searches for leaks when the C library's `exit` runs, so this branch must call `exit`.
        std::process::exit(0);
    }
    let Some((_, words)) = words.iter().find(|(tool, _)| common::tool() == Some(*tool)) else {
        return skip(test, "neither built for a tool that sees this nor run under one");
    };
    let output = common::finish(&mut role());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(99), "{errors}");
    assert!(errors.contains(words), "{errors}");
}

/// Runs `right` in a separate process, and requires that the tool reports nothing.
fn silent(test: &str, tool: Tool, right: fn()) {
    if common::in_role("mistake") {
        return right();
    }
    if common::tool() != Some(tool) {
        return skip(test, "not built for the tool that looks at this");
    }
    let output = common::finish(&mut role());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a command that runs this test again in the role `mistake`. The command's options make a sanitizer
/// exit with code 99 after the first report. A tool writes its report to standard error, even if the other
/// tests have it write to a file.
fn role() -> std::process::Command {
    let mut command = common::role_command("mistake");
    command.stdin(Stdio::null());
    let options = "exitcode=99:halt_on_error=1:symbolize=0";
    for tool in ["ASAN_OPTIONS", "LSAN_OPTIONS", "MSAN_OPTIONS", "TSAN_OPTIONS"] {
        command.env(tool, options);
    }
    command.env("VALGRIND_OPTS", "--errors-for-leak-kinds=definite");
    command
}

fn number(fd: &impl AsRawFd) -> usize {
    usize::try_from(fd.as_raw_fd()).unwrap()
}

fn read_beyond_the_end_of_a_buffer() {
    let words = [
        (Tool::Address, "heap-buffer-overflow"),
        (Tool::Valgrind, "points to unaddressable byte(s)"),
    ];
    reported("read_beyond_the_end_of_a_buffer", &words, || {
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&[7; 16]).unwrap();
        let mut buf = vec![0_u8; 16];
        // The kernel writes only 16 bytes, but the slice is longer than 16 bytes.
        // SAFETY: none, because the length is deliberately wrong.
        let longer = unsafe { slice::from_raw_parts_mut(buf.as_mut_ptr(), 24) };
        black_box((rawpipe::read(&reader, longer).ok(), buf));
    });
}

fn readv_beyond_the_end_of_a_buffer() {
    let words = [
        (Tool::Address, "heap-buffer-overflow"),
        (Tool::Valgrind, "points to unaddressable byte(s)"),
    ];
    reported("readv_beyond_the_end_of_a_buffer", &words, || {
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&[7; 16]).unwrap();
        let mut buf = vec![0_u8; 16];
        // SAFETY: none, because the length is deliberately wrong.
        let longer = unsafe { slice::from_raw_parts_mut(buf.as_mut_ptr(), 24) };
        let (first, second) = longer.split_at_mut(8);
        let mut list = [IoSliceMut::new(first), IoSliceMut::new(second)];
        black_box((rawpipe::io::readv(&reader, &mut list).ok(), buf));
    });
}

fn write_of_freed_memory() {
    let words = [
        (Tool::Address, "heap-use-after-free"),
        (Tool::Valgrind, "points to unaddressable byte(s)"),
    ];
    reported("write_of_freed_memory", &words, || {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        let buf = vec![7_u8; 16];
        // SAFETY: none, because the memory was freed.
        let freed = unsafe { slice::from_raw_parts(buf.as_ptr(), 16) };
        drop(buf);
        black_box(rawpipe::write(&writer, freed)).ok();
    });
}

fn byte_beyond_what_read_has_given() {
    let words = [
        (Tool::Memory, "use-of-uninitialized-value"),
        (Tool::Valgrind, "Conditional jump or move depends on uninitialised value(s)"),
    ];
    reported("byte_beyond_what_read_has_given", &words, || {
        let (reader, writer) = rawpipe::pipe().unwrap();
        writer.write_all(&[7; 4]).unwrap();
        let mut buf = Vec::<u8>::with_capacity(16);
        let filled = rawpipe::io::read_uninit(&reader, buf.spare_capacity_mut()).unwrap();
        assert_eq!(filled.len(), 4);
        // SAFETY: none, because the length is one byte more than was read.
        unsafe { buf.set_len(5) };
        assert_eq!(buf[..4], [7; 4]);
        if black_box(buf[4]) == 9 {
            println!("nine");
        }
    });
}

fn write_of_uninitialised_memory() {
    let words = [
        (Tool::Memory, "use-of-uninitialized-value"),
        (Tool::Valgrind, "points to uninitialised byte(s)"),
    ];
    reported("write_of_uninitialised_memory", &words, || {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        let mut buf = Vec::<u8>::with_capacity(16);
        buf.push(1);
        // SAFETY: none, because the length is deliberately wrong.
        let longer = unsafe { slice::from_raw_parts(buf.as_ptr(), 2) };
        black_box(rawpipe::write(&writer, longer)).ok();
    });
}

fn memory_that_nobody_can_free() {
    let words = [
        (Tool::Address, "LeakSanitizer: detected memory leaks"),
        (Tool::Leak, "LeakSanitizer: detected memory leaks"),
        (Tool::Valgrind, "definitely lost"),
    ];
    reported("memory_that_nobody_can_free", &words, || {
        // A remaining pointer would hide a leak. The loop therefore leaks many blocks, and the last statement
        // overwrites the part of the stack that held the pointers.
        for turn in 0..100_u8 {
            std::mem::forget(black_box(vec![turn; 1000]));
        }
        black_box([0_u8; 4096]);
    });
}

struct Shared(UnsafeCell<[u8; 64]>);
// SAFETY: none, because the tool must report this mistake.
unsafe impl Sync for Shared {}
static SHARED: Shared = Shared(UnsafeCell::new([0; 64]));

fn store(value: u8) {
    // SAFETY: this is sound only if the caller orders the threads.
    unsafe { SHARED.0.get().write([value; 64]) };
}

/// Waits until both threads have called this function, but does not synchronise their memory accesses. A tool
/// may treat two threads as one if the second thread begins after the first has ended.
fn both_are_here() {
    static HERE: AtomicU8 = AtomicU8::new(0);
    HERE.fetch_add(1, Ordering::Relaxed);
    while HERE.load(Ordering::Relaxed) < 2 {
        thread::sleep(Duration::from_millis(1));
    }
}

fn threads_in_no_order() {
    reported("threads_in_no_order", &[(Tool::Thread, "data race")], || {
        thread::scope(|scope| {
            scope.spawn(|| {
                store(1);
                both_are_here();
            });
            scope.spawn(|| {
                store(2);
                both_are_here();
            });
        });
    });
}

/// A tool treats the kernel's read of the bytes as a read by the calling thread.
fn write_of_what_another_thread_stores() {
    reported("write_of_what_another_thread_stores", &[(Tool::Thread, "data race")], || {
        let (_reader, writer) = rawpipe::pipe().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                store(1);
                both_are_here();
            });
            scope.spawn(|| {
                // SAFETY: none, because the other thread stores to the same memory.
                let shared = unsafe { &*SHARED.0.get() };
                black_box(rawpipe::write(&writer, shared)).ok();
                both_are_here();
            });
        });
    });
}

/// A write to one pipe and a read from another pipe do not order the threads.
fn threads_in_the_order_of_two_pipes() {
    reported("threads_in_the_order_of_two_pipes", &[(Tool::Thread, "data race")], || {
        let (reader, other) = rawpipe::pipe().unwrap();
        let (_second, writer) = rawpipe::pipe().unwrap();
        other.write_all(b"x").unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                store(1);
                writer.write_all(b"x").unwrap();
                both_are_here();
            });
            scope.spawn(move || {
                reader.read_exact(&mut [0]).unwrap();
                store(2);
                both_are_here();
            });
        });
    });
}

fn threads_in_the_order_of_a_pipe() {
    silent("threads_in_the_order_of_a_pipe", Tool::Thread, || {
        let (reader, writer) = rawpipe::pipe().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                store(1);
                writer.write_all(b"x").unwrap();
            });
            scope.spawn(move || {
                reader.read_exact(&mut [0]).unwrap();
                store(2);
            });
        });
    });
}

/// The ring of shared chunks orders the two threads.
fn threads_in_the_order_of_a_ring() {
    silent("threads_in_the_order_of_a_ring", Tool::Thread, || records_between_threads(false));
}

/// The ring does not order the threads if it stores a position with an ordering weaker than `Release`.
fn threads_in_the_order_of_a_relaxed_ring() {
    let words = [(Tool::Thread, "data race")];
    reported("threads_in_the_order_of_a_relaxed_ring", &words, || records_between_threads(true));
}

/// The tools do not report a call on a closed descriptor. Only Valgrind reports a call that the kernel
/// rejects because of an invalid address.
fn calls_that_fail() {
    let tool = common::tool().unwrap_or(Tool::Address);
    silent("calls_that_fail", tool, || {
        let closed: BorrowedFd<'_> = common::closed_fd();
        assert!(rawpipe::read(closed, &mut [0; 4]).is_err());
        if common::tool() == Some(Tool::Valgrind) {
            return; // Valgrind reports each invalid address, even if the kernel rejects it
        }
        let (reader, _writer) = rawpipe::pipe().unwrap();
        // SAFETY: no program has memory at this address.
        let answer = unsafe { raw::syscall3(nr::READ, number(&reader), usize::MAX - 4095, 8) };
        assert!(answer < 0);
    });
}

pub(crate) const TESTS: common::Tests = common::tests![
    read_beyond_the_end_of_a_buffer,
    readv_beyond_the_end_of_a_buffer,
    write_of_freed_memory,
    byte_beyond_what_read_has_given,
    write_of_uninitialised_memory,
    memory_that_nobody_can_free,
    threads_in_no_order,
    write_of_what_another_thread_stores,
    threads_in_the_order_of_two_pipes,
    threads_in_the_order_of_a_pipe,
    threads_in_the_order_of_a_ring,
    threads_in_the_order_of_a_relaxed_ring,
    calls_that_fail,
];
