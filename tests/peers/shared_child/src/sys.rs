//! Waiting for the end of a child without collecting its status: its pidfd becomes readable. The names are
//! those that shared_child's tests import.

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
