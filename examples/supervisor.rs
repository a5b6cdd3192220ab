//! Runs five workers, restarts those that fail, and kills all their processes at the end.
//!
//! ```text
//! supervisor PROGRAM [ARGUMENT...]
//! ```
//!
//! Each worker receives its number in the environment variable `WORKER` and leads a process group. When a
//! worker ends, the supervisor kills all remaining processes of the worker's group. Until shutdown begins, a
//! worker that fails is restarted, at most three times. At end of file on standard input, on `SIGTERM`, and
//! on `SIGINT`, the process groups of all workers receive `SIGTERM`. One second later, the groups of workers
//! that are still running receive `SIGKILL`.
//!
//! One `poll` waits for the input, for a signal, and for the pidfd of each worker. The signals are blocked
//! only in this process, because a command starts its child with no signal blocked.

use rawpipe::event::{PollEvents, PollFd, SignalFd, poll};
use rawpipe::process::{Child, Command, OnDrop, Signal, SignalSet, Stdio};
use rawpipe::{Deadline, Errno};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

const WORKERS: usize = 5;
const RESTARTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

struct Worker {
    number: usize,
    child: Child,
    restarts: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let program: Vec<OsString> = std::env::args_os().skip(1).collect();
    if program.is_empty() {
        return Err("usage: supervisor PROGRAM [ARGUMENT...]".into());
    }
    let signals = SignalSet::empty().with(Signal::TERM).with(Signal::INT);
    let _blocked = signals.block()?;
    let requests = SignalFd::new(signals)?;
    // If this program fails, dropping the workers kills their process groups.
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        workers.push(Worker { number, child: start(&program, number)?, restarts: 0 });
    }
    let mut stopping = None;
    while !workers.is_empty() {
        let left = stopping.as_ref().map(Deadline::remaining);
        let ([input, signal], ended) = wait(&workers, &requests, left)?;
        if signal {
            // Read the signal, because an unread signal would be delivered when the signals are unblocked.
            requests.read()?;
        }
        if signal || input && rawpipe::read(io::stdin(), &mut [0; 512])? == 0 {
            stopping = Some(Deadline::after(PATIENCE));
            signal_all(&workers, Signal::TERM);
        } else if stopping.is_some_and(|deadline| deadline.has_passed()) {
            stopping = Some(Deadline::NEVER);
            signal_all(&workers, Signal::KILL);
        }
        let mut running = Vec::new();
        for (mut worker, ended) in workers.into_iter().zip(ended) {
            if !ended {
                running.push(worker);
                continue;
            }
            // Kill the group before collecting the status, because after the collection a new group can reuse
            // the group's id.
            let _ = worker.child.kill_group();
            let status = worker.child.wait()?;
            writeln!(io::stdout(), "worker {}: {status}", worker.number)?;
            if stopping.is_none() && !status.success() && worker.restarts < RESTARTS {
                worker.child = start(&program, worker.number)?;
                worker.restarts += 1;
                running.push(worker);
            }
        }
        workers = running;
    }
    Ok(())
}

fn start(program: &[OsString], number: usize) -> io::Result<Child> {
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).env("WORKER", number.to_string()).stdin(Stdio::null());
    let child = command.process_group(0).on_drop(OnDrop::KillGroup).spawn()?;
    writeln!(io::stdout(), "worker {number}: started as {}", child.id())?;
    Ok(child)
}

/// Waits for events. Returns whether the input is readable or at end of file, whether a signal is pending,
/// and which workers have ended. If `left` is set, the workers are stopping. The function then waits only for
/// the workers, and at most for the time in `left`.
fn wait(
    workers: &[Worker],
    requests: &SignalFd,
    left: Option<Duration>,
) -> io::Result<([bool; 2], Vec<bool>)> {
    let stdin = io::stdin();
    let mut fds = Vec::new();
    for worker in workers {
        let pidfd = worker.child.pidfd().ok_or(io::ErrorKind::Unsupported)?;
        fds.push(PollFd::from_borrowed_fd(pidfd, PollEvents::IN));
    }
    if left.is_none() {
        fds.push(PollFd::new(&stdin, PollEvents::IN));
        fds.push(PollFd::new(requests, PollEvents::IN));
    }
    match poll(&mut fds, left) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let others = ready.split_off(workers.len());
    Ok((others.try_into().unwrap_or_default(), ready))
}

/// Sends a signal to the process group of every worker. Ignores errors, because a group may have no processes
/// left.
fn signal_all(workers: &[Worker], signal: Signal) {
    for worker in workers {
        let _ = worker.child.send_signal_group(signal);
    }
}
