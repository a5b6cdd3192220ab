//! Imitates a kernel that copies pages instead of passing them on, for a command and all processes that it
//! starts:
//!
//! ```text
//! copying [--as pages|writes] COMMAND ARGS...
//! ```
//!
//! A seccomp filter reports each `vmsplice` and `splice` of these processes to this program. This program
//! makes some of these calls in place of the processes, and copies the bytes:
//!
//! - A `vmsplice` to a pipe copies the memory. With `--as pages` (the default), nothing else changes: the
//!   call waits for the first free slot, sends as much as fits, and ignores `O_NONBLOCK`. With `--as writes`,
//!   the call behaves as a wrapper of `pwritev2`. A patch for Linux proposes this behaviour. With this
//!   option, the call waits until all bytes are written, obeys `O_NONBLOCK`, and treats `SPLICE_F_NONBLOCK`
//!   as `RWF_NOWAIT`. FIFOs, and pipes that were part of a splice, do not support `RWF_NOWAIT`
//!   (`EOPNOTSUPP`).
//! - A `vmsplice` from a pipe copies on every kernel. With `--as writes`, a call with `SPLICE_F_NONBLOCK`
//!   behaves as `preadv2` with `RWF_NOWAIT`.
//! - A `splice` from a regular file or a block device copies the bytes into new pages, each of which occupies
//!   a slot of the pipe.
//!
//! The kernel makes all other calls, for example `splice` from a pipe, a socket or a character device, `tee`,
//! `sendfile`, and `copy_file_range`. Most calls with arguments that the kernel rejects are also left to the
//! kernel. A `splice` from a pipe passes on the pages that are in the pipe. Under this program, a pipe holds
//! pages of a file or of a process's memory only if `sendfile` has put them there.
//!
//! Requires Linux 5.19 or later. Threads that do not share their process's descriptors require Linux 6.9 or
//! later. Before Linux 6.17 a signal can interrupt a call that this program has already made, and the caller
//! then sends the bytes twice.

mod calls;
mod filter;
mod kernel;
mod supervisor;
mod target;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, ffi::CString, io};

/// The semantics of `vmsplice`, as selected with `--as`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Pages,
    Writes,
}

/// The time limit for processes that still run after the command has ended.
const LATE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let (way, command) = arguments(env::args_os().skip(1).collect());
    let (child, listener) = match filter::start(&command) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("copying: {error}");
            return ExitCode::from(125);
        }
    };
    let listener: &'static OwnedFd = Box::leak(Box::new(listener));
    supervisor::start(listener, way);
    let code = kernel::wait(child);
    let end = Instant::now() + LATE;
    while !supervisor::is_over(listener) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let [vmsplice, splice, kernel] =
        [&supervisor::VMSPLICE, &supervisor::SPLICE, &supervisor::PASSED_ON]
            .map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "copying: {vmsplice} vmsplice and {splice} splice copied, {kernel} left to the kernel"
    );
    ExitCode::from(code)
}

fn arguments(words: Vec<OsString>) -> (Way, Vec<CString>) {
    let mut words = words.into_iter().peekable();
    let mut way = Way::Pages;
    if words.next_if(|word| word == "--as").is_some() {
        way = match words.next() {
            Some(word) if word == "pages" => Way::Pages,
            Some(word) if word == "writes" => Way::Writes,
            _ => usage(),
        };
    }
    words.next_if(|word| word == "--");
    let words: Vec<_> = words.filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    if words.is_empty() {
        usage();
    }
    (way, words)
}

fn usage() -> ! {
    eprintln!("usage: copying [--as pages|writes] COMMAND ARGS...");
    std::process::exit(125)
}

/// Converts a negative result of a C function to the error in `errno`.
fn checked(answer: i64) -> io::Result<i64> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
