use std::io;

use rawpipe::process::Signal;
use rawpipe::Errno;

pub trait SharedChildExt {
    fn send_signal(&self, signal: i32) -> io::Result<()>;
}

impl SharedChildExt for super::SharedChild {
    /// Sends a signal. After a wait, does nothing, whereas rawpipe's `send_signal` fails with `ESRCH`.
    fn send_signal(&self, signal: i32) -> io::Result<()> {
        let signal = Signal::from_raw(signal).ok_or(Errno::EINVAL)?;
        match self.inner.lock().unwrap().child.send_signal(signal) {
            Err(Errno::ESRCH) => Ok(()),
            result => Ok(result?),
        }
    }
}

#[cfg(test)]
include!("../own/unix.rs");
