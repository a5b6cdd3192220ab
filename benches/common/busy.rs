//! Processes that keep CPUs busy.

use super::cpus::Cpus;
use super::{finish, start};
use rawpipe::PipeWriter;
use rawpipe::process::Child;
use std::hint::black_box;
use std::io;

/// Child processes that count in a loop and are pinned round-robin to the CPUs that this process may use.
/// Pinning prevents the scheduler from putting two of these processes on one CPU while another CPU is idle.
///
/// This value owns the write end of a pipe. The child processes exit when every copy of the write end is
/// closed. All copies are closed when the value is dropped, or when this process and its other children have
/// ended.
pub(crate) struct Busy {
    held: Option<PipeWriter>,
    children: Vec<Child>,
}

impl Busy {
    /// Starts one process on each CPU that this process may use.
    pub(crate) fn new() -> io::Result<Self> {
        Self::some(Cpus::allowed()?.each().count())
    }

    pub(crate) fn some(count: usize) -> io::Result<Self> {
        let cpus: Vec<_> = Cpus::allowed()?.each().collect();
        let (held, hold) = rawpipe::pipe::Builder::new().nonblocking().build()?;
        let mut busy = Self { held: Some(hold), children: Vec::new() };
        for cpu in cpus.iter().cycle().take(count) {
            let hold = &mut busy.held;
            let child = start(|| {
                *hold = None; // closes the child's copy
                cpu.stay()?;
                while held.read(&mut [0]).is_err() {
                    for turn in 0..1 << 18 {
                        black_box(turn);
                    }
                }
                Ok(()) // at end of file
            })?;
            busy.children.push(child);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.held = None;
        for child in self.children.drain(..) {
            if let Err(error) = finish(child) {
                eprintln!("a busy process: {error}");
            }
        }
    }
}
