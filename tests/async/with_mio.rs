//! Uses one mio `Poll` to wait for a pipe and a child.

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rawpipe::Errno;
use rawpipe::fd::AsRawFd;
use rawpipe::process::{Command, ExitStatus, Stdio};
use std::io;

const OUTPUT: Token = Token(0);
const END: Token = Token(1);

/// Reads a program's output until end of file, and waits for the program.
fn run(command: &mut Command) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.take_stdout().unwrap();
    let pidfd = child.pidfd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned()?;
    stdout.set_nonblocking(true)?;

    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&stdout.as_raw_fd()), OUTPUT, Interest::READABLE)?;
    poll.registry().register(&mut SourceFd(&pidfd.as_raw_fd()), END, Interest::READABLE)?;
    let (mut events, mut output, mut open, mut status) =
        (Events::with_capacity(8), Vec::new(), true, None);
    while open || status.is_none() {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                // mio is edge-triggered, so the pipe must be drained: `read_to_end` reads until `EAGAIN`.
                OUTPUT => match stdout.read_to_end(&mut output) {
                    Ok(_) => open = false,
                    Err(Errno::EAGAIN) => {}
                    Err(errno) => return Err(errno.into()),
                },
                _ => status = child.try_wait()?,
            }
        }
    }
    Ok((status.expect("the loop waits for it"), output))
}

// ---------------------------------------------------------------- tests

#[test]
fn output_and_end_of_a_child() {
    let script = "head -c 300000 /dev/zero; sleep 0.02; echo late; exit 3";
    let (status, output) = run(Command::new("sh").args(["-c", script])).unwrap();
    assert_eq!((status.code(), output.len()), (Some(3), 300_005));
    assert!(output.ends_with(b"late\n"));
}

/// If another process still writes to the program's output after the program exits, the loop reads all of the
/// output.
#[test]
fn output_after_the_end_of_the_child() {
    let (status, output) =
        run(Command::new("sh").args(["-c", "(sleep 0.05; echo late) &"])).unwrap();
    assert_eq!((status.code(), &*output), (Some(0), &b"late\n"[..]));
}
