//! Provides the interface of shared_child. The implementation consists of a separate pidfd and of a rawpipe
//! `Child` in a mutex. A waiting thread uses the pidfd, and therefore does not hold the mutex during the
//! wait. The thread then collects the status, which the `Child` keeps.

extern crate rawpipe_std as std;

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rawpipe::process::Pidfd;
use rawpipe::Deadline;

use crate::ChildState::{Exited, NotWaiting};

mod sys;
pub mod unix;

#[derive(Debug)]
enum ChildState {
    NotWaiting,
    Exited(ExitStatus),
}

#[derive(Debug)]
struct Inner {
    child: Child,
    state: ChildState,
}

#[derive(Debug)]
pub struct SharedChild {
    inner: Mutex<Inner>,
    pidfd: Pidfd,
}

impl SharedChild {
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Self::from_parts(command.spawn()?, NotWaiting)
    }

    pub fn new(mut child: Child) -> io::Result<Self> {
        let state = child.try_wait()?.map_or(NotWaiting, Exited);
        Self::from_parts(child, state)
    }

    fn from_parts(child: Child, state: ChildState) -> io::Result<Self> {
        let pidfd = child.try_clone_pidfd()?;
        Ok(Self { inner: Mutex::new(Inner { child, state }), pidfd })
    }

    pub fn id(&self) -> u32 {
        self.inner.lock().unwrap().child.id()
    }

    pub fn wait(&self) -> io::Result<ExitStatus> {
        let status = self.wait_until(Deadline::NEVER)?;
        Ok(status.expect("an end without a deadline"))
    }

    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_until(Deadline::after(timeout))
    }

    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.wait_until(deadline.into())
    }

    fn wait_until(&self, deadline: Deadline<'_>) -> io::Result<Option<ExitStatus>> {
        sys::wait_deadline_noreap(&self.pidfd, deadline)?;
        self.try_wait()
    }

    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut inner = self.inner.lock().unwrap();
        if let Exited(status) = inner.state {
            return Ok(Some(status));
        }
        let Some(status) = inner.child.try_wait()? else { return Ok(None) };
        inner.state = Exited(status);
        Ok(Some(status))
    }

    pub fn kill(&self) -> io::Result<()> {
        Ok(self.inner.lock().unwrap().child.kill()?)
    }

    pub fn into_inner(self) -> Child {
        self.inner.into_inner().unwrap().child
    }

    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.inner.lock().unwrap().child.stdin.take()
    }

    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.inner.lock().unwrap().child.stdout.take()
    }

    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.inner.lock().unwrap().child.stderr.take()
    }
}

#[cfg(test)]
include!("../own/lib.rs");

/// The examples of the published package.
#[cfg(doctest)]
#[doc = include_str!("../own/examples.md")]
pub struct Examples;
