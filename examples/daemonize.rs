//! Starts a daemon that appends messages to a log file and runs until it receives `SIGTERM`.
//!
//! ```text
//! daemonize LOG
//! ```
//!
//! The program waits until the daemon is ready, prints the daemon's process id and exits. If the daemon
//! cannot start, the program exits with an error. The daemon has no terminal and cannot acquire one, because
//! it is not a session leader. The daemon's working directory is `/`, its standard input is `/dev/null`, and
//! its standard output and standard error are written to the file `LOG`. The daemon inherits no other
//! descriptors from the program that started `daemonize`.
#![allow(unsafe_code, reason = "forks, and closes what was inherited")]

use rawpipe::event::wait_signal;
use rawpipe::fd::AsFd;
use rawpipe::io::{StdStream, redirect};
use rawpipe::process::{self, Fork, Signal, SignalSet};
use rawpipe::{Deadline, PipeReader, PipeWriter};
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io;

fn main() -> Result<(), Box<dyn Error>> {
    let log = std::env::args_os().nth(1).ok_or("usage: daemonize LOG")?;
    let (reader, writer) = rawpipe::pipe()?;
    // SAFETY: neither process uses copied state on which the other process relies, such as random state or
    // buffered output.
    match unsafe { process::fork_single_threaded() }? {
        Fork::Parent(mut child) => {
            drop(writer);
            child.wait()?; // the child exits as soon as it has forked the daemon
            parent(&reader)
        }
        Fork::Child => {
            drop(reader);
            let ended = daemon(&log, writer);
            process::exit(ended.is_err().into())
        }
    }
}

/// Waits until the daemon is ready, and prints its process id. Returns an error if the daemon has failed.
fn parent(reader: &PipeReader) -> Result<(), Box<dyn Error>> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text)?;
    match std::str::from_utf8(&text)?.strip_prefix("ready ") {
        Some(pid) => println!("{pid}"),
        None => return Err("the daemon did not begin".into()),
    }
    Ok(())
}

fn daemon(log: &OsString, ready: PipeWriter) -> io::Result<()> {
    process::setsid()?;
    // Fork a second time, because a process that is not a session leader acquires no terminal when it opens
    // one. SAFETY: as in `main`.
    if let Fork::Parent(_) = unsafe { process::fork_single_threaded() }? {
        process::exit(0);
    }
    process::umask(0o022);
    let log = File::options().append(true).create(true).open(log)?;
    process::chdir(c"/")?;
    redirect(File::open("/dev/null")?, StdStream::Stdin)?;
    redirect(&log, StdStream::Stdout)?;
    redirect(&log, StdStream::Stderr)?;
    drop(log);
    // SAFETY: all descriptors that this call closes were inherited, so no value in this process owns any of
    // them.
    unsafe { process::close_other_fds(&[ready.as_fd()]) }?;

    let stop = SignalSet::empty().with(Signal::TERM);
    let _blocked = stop.block()?; // from here on, `SIGTERM` stays pending until `wait_signal` receives it
    ready.write_all(format!("ready {}", process::getpid()).as_bytes())?;
    drop(ready);
    println!("started, in session {:?}", session());
    wait_signal(stop, Deadline::NEVER)?;
    println!("terminated");
    Ok(())
}

/// Returns the session id of this process, read from `/proc`.
fn session() -> Option<u32> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(3)?.parse().ok()
}
