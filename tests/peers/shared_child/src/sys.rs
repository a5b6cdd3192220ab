//! Waits until the pidfd of a child becomes readable, without collecting the exit status. The tests of
//! shared_child import this module's functions.

use std::io;
use std::os::fd::AsFd;

use rawpipe::event::{poll_deadline, PollEvents, PollFd};
use rawpipe::Deadline;

#[cfg(test)]
pub fn get_handle(child: &std::process::Child) -> rawpipe::process::Pidfd {
    child.try_clone_pidfd().unwrap()
}

#[cfg(test)]
pub fn wait_noreap(handle: impl AsFd) -> io::Result<()> {
    wait_deadline_noreap(handle, Deadline::NEVER)
}

/// Waits until the child has ended or the deadline has passed.
pub fn wait_deadline_noreap(handle: impl AsFd, deadline: Deadline<'_>) -> io::Result<()> {
    poll_deadline(&mut [PollFd::new(&handle, PollEvents::IN)], deadline)?;
    Ok(())
}
