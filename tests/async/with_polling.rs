//! Uses the polling crate to wait for a pipe and a child. Each event ends the registered interest, so the
//! interest must be renewed.

use polling::{Event, Events, Poller};
use rawpipe::Errno;
use rawpipe::process::{Command, ExitStatus, Stdio};
use std::io;
use std::time::{Duration, Instant};

const OUTPUT: usize = 0;
const END: usize = 1;

/// Reads a program's output until end of file, and waits for the program. Kills the program after `limit`.
fn run(command: &mut Command, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.take_stdout().unwrap();
    let pidfd = child.pidfd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned()?;
    stdout.set_nonblocking(true)?;

    let poller = Poller::new()?;
    // SAFETY: before the descriptors are closed, they are deleted below or the poller is dropped.
    unsafe { poller.add(&stdout, Event::readable(OUTPUT)) }?;
    // SAFETY: see above.
    unsafe { poller.add(&pidfd, Event::readable(END)) }?;
    let (mut events, mut output, mut open, mut status) = (Events::new(), Vec::new(), true, None);
    let end = Instant::now() + limit;
    while open || status.is_none() {
        events.clear();
        poller.wait(&mut events, Some(end.saturating_duration_since(Instant::now())))?;
        if status.is_none() && Instant::now() >= end {
            child.kill()?; // the next event reports the child's end
        }
        for event in events.iter() {
            match event.key {
                OUTPUT => match stdout.read_to_end(&mut output) {
                    Ok(_) => open = false,
                    Err(Errno::EAGAIN) => poller.modify(&stdout, Event::readable(OUTPUT))?,
                    Err(errno) => return Err(errno.into()),
                },
                _ => status = child.try_wait()?,
            }
        }
    }
    poller.delete(&stdout)?;
    poller.delete(&pidfd)?;
    Ok((status.expect("the loop waits for it"), output))
}

// ---------------------------------------------------------------- tests

#[test]
fn output_and_end_of_a_child() {
    let script = "head -c 300000 /dev/zero; sleep 0.02; echo late; exit 3";
    let (status, output) =
        run(Command::new("sh").args(["-c", script]), Duration::from_secs(60)).unwrap();
    assert_eq!((status.code(), output.len()), (Some(3), 300_005));
    assert!(output.ends_with(b"late\n"));
}

#[test]
fn child_is_killed_after_the_limit() {
    let (status, output) = run(
        Command::new("sh").args(["-c", "echo begun; exec sleep 1000"]),
        Duration::from_millis(200),
    )
    .unwrap();
    assert_eq!(status.signal(), Some(rawpipe::process::Signal::KILL));
    assert_eq!(output, b"begun\n");
}
