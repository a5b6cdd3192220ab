//! Methods of the pipe ends that read or write without waiting, until a deadline, or without raising
//! `SIGPIPE`. Each method calls the function of the same name in [`io`](mod@crate::io).

use crate::io::{self, Incomplete};
use crate::{Deadline, PipeReader, PipeWriter, Result};

/// Methods that do not wait, or wait only until a deadline: see
/// [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
impl PipeReader {
    /// Reads up to `buf.len()` available bytes without waiting, and returns the number of bytes read.
    ///
    /// # Errors
    ///
    /// Fails as [`io::try_read`](io::try_read) does.
    pub fn try_read(&self, buf: &mut [u8]) -> Result<usize> {
        io::try_read(self, buf)
    }

    /// Reads up to `buf.len()` bytes and returns the number of bytes read. Waits for the first byte, but only
    /// until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read_deadline`](io::read_deadline) does.
    pub fn read_deadline(&self, buf: &mut [u8], deadline: Deadline<'_>) -> Result<usize> {
        io::read_deadline(self, buf, deadline)
    }

    /// Reads exactly `buf.len()` bytes, waiting only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::read_exact_deadline`](io::read_exact_deadline) does.
    pub fn read_exact_deadline(
        &self,
        buf: &mut [u8],
        deadline: Deadline<'_>,
    ) -> core::result::Result<(), Incomplete> {
        io::read_exact_deadline(self, buf, deadline)
    }
}

/// Methods that do not wait, or wait only until a deadline: see
/// [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
impl PipeWriter {
    /// Writes as many bytes as fit, without waiting, and returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// Fails as [`io::try_write`](io::try_write) does.
    pub fn try_write(&self, buf: &[u8]) -> Result<usize> {
        io::try_write(self, buf)
    }

    /// Writes as many bytes as fit and returns the number of bytes written. Waits for room, but only until
    /// `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_deadline`](io::write_deadline) does.
    pub fn write_deadline(&self, buf: &[u8], deadline: Deadline<'_>) -> Result<usize> {
        io::write_deadline(self, buf, deadline)
    }

    /// Writes all of `buf`, waiting only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_all_deadline`](io::write_all_deadline) does.
    pub fn write_all_deadline(
        &self,
        buf: &[u8],
        deadline: Deadline<'_>,
    ) -> core::result::Result<(), Incomplete> {
        io::write_all_deadline(self, buf, deadline)
    }
}

impl PipeWriter {
    /// Writes as [`write`](Self::write) does, but raises no `SIGPIPE` if no read end is open.
    ///
    /// # Errors
    ///
    /// Fails as [`io::write_nosignal`](io::write_nosignal) does.
    pub fn write_nosignal(&self, buf: &[u8]) -> Result<usize> {
        io::write_nosignal(self, buf)
    }
}
