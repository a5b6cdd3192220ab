//! Runs a check in its own process. A second process can trace the check, and kills the check if the check
//! hangs.

use super::libc;
use rawpipe::PipeReader;
use rawpipe::event::{PollEvents, PollFd, poll};
use std::fs::{self, File};
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::time::{Duration, Instant};
use std::{io, panic, thread};

const PATIENCE: Duration = Duration::from_secs(60);
/// The number of the descriptor to which a check writes its result. This number is above all descriptor
/// numbers that the checks use.
const FINDINGS: i32 = 500;

unsafe extern "C" {
    safe fn ptrace(request: u32, ...) -> isize;
}

pub(crate) enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

/// The way in which this process watches a check. With `Beside`, this process does not trace the check.
pub(crate) enum Watch {
    Beside,
    /// This process traces the check and all its descendants.
    Tracing,
}

impl Watch {
    /// Runs a check and returns the verdict. If the check returns `Err`, the check counts as skipped, and the
    /// `Err` holds the reason.
    pub(crate) fn run(&self, check: impl FnOnce() -> Result<(), String>) -> Verdict {
        const PR_SET_CHILD_SUBREAPER: i32 = 36;
        // SAFETY: the call has only integer arguments. Orphans of the check become children of this process.
        unsafe { libc::prctl(PR_SET_CHILD_SUBREAPER, 1) };
        let (reader, writer) = rawpipe::pipe().expect("a pipe");
        let (gate, open) = rawpipe::pipe().expect("a pipe");
        // SAFETY: this process has one thread, and the child ends within this block.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            drop((reader, open));
            let _ = gate.read(&mut [0]);
            drop(gate);
            let limit = libc::descriptor_limit();
            libc::set_limit(libc::RLIMIT_NOFILE, [limit[1].min(1024), limit[1]]);
            let writer = writer.into_raw_fd();
            assert_eq!(libc::dup3(writer, FINDINGS, libc::O_CLOEXEC), FINDINGS);
            libc::close(writer);
            panic::set_hook(Box::new(|info| tell(&format!("failed {info}"))));
            if let Ok(Err(reason)) = panic::catch_unwind(panic::AssertUnwindSafe(check)) {
                tell(&format!("skipped {reason}"));
            }
            tell("\nended");
            libc::_exit(0);
        }
        drop(writer);
        let traced = matches!(self, Self::Tracing) && seize(pid);
        drop((gate, open));
        let text = if traced { trace(pid, &reader) } else { listen(&reader) };
        let text = text.unwrap_or_else(|| String::from("failed hung\nended"));
        libc::kill(pid, 9);
        let left = clear(pid);
        let (said, end) = text.rsplit_once('\n').unwrap_or(("", &text));
        if end != "ended" {
            return Verdict::Failed(format!("it ended in the middle: {text}"));
        }
        match said.split_once(' ') {
            Some(("skipped", reason)) => Verdict::Skipped(reason.to_owned()),
            Some(("failed", reason)) => Verdict::Failed(reason.to_owned()),
            _ if matches!(self, Self::Tracing) && !traced => {
                Verdict::Skipped(String::from("tracing is not permitted here"))
            }
            _ if left > 0 => Verdict::Failed(format!("{left} processes are left")),
            _ => Verdict::Passed,
        }
    }
}

fn tell(text: &str) {
    // SAFETY: the descriptor is open in a process that runs a check, and the file is never dropped.
    let mut findings = ManuallyDrop::new(unsafe { File::from_raw_fd(FINDINGS) });
    let _ = findings.write_all(text.as_bytes());
}

/// Collects the result of a check. Returns `None` if the check hangs.
fn listen(reader: &PipeReader) -> Option<String> {
    let mut text = Vec::new();
    let end = Instant::now() + PATIENCE;
    loop {
        let mut fds = [PollFd::new(reader, PollEvents::IN)];
        if poll(&mut fds, Some(end.saturating_duration_since(Instant::now()))) == Ok(0) {
            return None;
        }
        if read(reader, &mut text) {
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// Reads once and appends the bytes to `text`. Returns true at end of file or if the read fails.
fn read(reader: &PipeReader, text: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    let count = reader.read(&mut bytes).unwrap_or(0);
    text.extend_from_slice(&bytes[..count]);
    count == 0
}

/// Reaps all children, and kills the children that still run after two seconds. Returns 0 if all children
/// other than the check ended by themselves.
fn clear(checker: i32) -> usize {
    let mut left = 0;
    let mut status = 0;
    let begin = Instant::now();
    loop {
        // SAFETY: the call writes one integer.
        match unsafe { libc::waitpid(-1, &raw mut status, 0x4000_0000 | 1) } {
            -1 => return left,
            0 => {
                let path = format!("/proc/self/task/{}/children", std::process::id());
                let children = fs::read_to_string(path).unwrap_or_default();
                let children =
                    children.split_whitespace().filter_map(|word| word.parse::<i32>().ok());
                for child in children.filter(|child| *child != checker) {
                    if begin.elapsed() > Duration::from_secs(2) {
                        left += 1;
                        libc::kill(child, 9);
                    }
                }
                thread::sleep(Duration::from_millis(1));
            }
            _ => {}
        }
    }
}

fn seize(pid: i32) -> bool {
    const PTRACE_SEIZE: u32 = 0x4206;
    // The options are TRACEFORK, TRACEVFORK, TRACECLONE, TRACEEXEC and EXITKILL.
    const OPTIONS: usize = 0x2 | 0x4 | 0x8 | 0x10 | 0x10_0000;
    ptrace(PTRACE_SEIZE, pid, 0_usize, OPTIONS) == 0
}

/// Continues each process after each stop except a group stop, as `strace -f` does. Returns the result of the
/// check, or `None` if the check hangs.
fn trace(checker: i32, reader: &PipeReader) -> Option<String> {
    const PTRACE_CONT: u32 = 7;
    const PTRACE_LISTEN: u32 = 0x4208;
    const EVENT_STOP: i32 = 128;
    const WALL: i32 = 0x4000_0000;
    reader.set_nonblocking(true).expect("a nonblocking pipe");
    let mut text = Vec::new();
    let end = Instant::now() + PATIENCE;
    let mut ended = false;
    while Instant::now() < end {
        let mut status = 0;
        // SAFETY: the call writes one integer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, WALL | 1) };
        if pid <= 0 {
            if ended || pid < 0 {
                while !read(reader, &mut text) {}
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        if status & 0xff != 0x7f {
            ended |= pid == checker;
            continue;
        }
        let (signal, event) = (status >> 8 & 0xff, status >> 16);
        let stop = [19, 20, 21, 22].contains(&signal);
        if event == EVENT_STOP && stop {
            ptrace(PTRACE_LISTEN, pid, 0_usize, 0_usize);
        } else {
            let signal = if event == 0 { usize::try_from(signal).expect("a signal") } else { 0 };
            ptrace(PTRACE_CONT, pid, 0_usize, signal);
        }
    }
    None
}
