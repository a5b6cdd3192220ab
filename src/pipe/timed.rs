//! The ends of a pipe without waiting, until a deadline, and without `SIGPIPE`: as the functions of
//! [`io`](mod@crate::io).

use crate::io::{self, Incomplete};
use crate::{Deadline, PipeReader, PipeWriter, Result};

/// Without waiting, or not beyond a deadline: see [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
impl PipeReader {
    /// Reads what is there, without waiting.
    ///
    /// # Errors
    ///
    /// As [`io::try_read`](io::try_read).
    pub fn try_read(&self, buf: &mut [u8]) -> Result<usize> {
        io::try_read(self, buf)
    }

    /// Reads what is there, waiting for it until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// As [`io::read_deadline`](io::read_deadline).
    pub fn read_deadline(&self, buf: &mut [u8], deadline: Deadline<'_>) -> Result<usize> {
        io::read_deadline(self, buf, deadline)
    }

    /// Reads exactly `buf.len()` bytes, until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// As [`io::read_exact_deadline`](io::read_exact_deadline).
    pub fn read_exact_deadline(
        &self,
        buf: &mut [u8],
        deadline: Deadline<'_>,
    ) -> core::result::Result<(), Incomplete> {
        io::read_exact_deadline(self, buf, deadline)
    }
}

/// Without waiting, or not beyond a deadline: see [`io`](mod@crate::io#without-waiting-or-until-a-deadline).
impl PipeWriter {
    /// Writes as many bytes as fit, without waiting.
    ///
    /// # Errors
    ///
    /// As [`io::try_write`](io::try_write).
    pub fn try_write(&self, buf: &[u8]) -> Result<usize> {
        io::try_write(self, buf)
    }

    /// Writes as many bytes as fit, waiting for room until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// As [`io::write_deadline`](io::write_deadline).
    pub fn write_deadline(&self, buf: &[u8], deadline: Deadline<'_>) -> Result<usize> {
        io::write_deadline(self, buf, deadline)
    }

    /// Writes all of `buf`, until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// As [`io::write_all_deadline`](io::write_all_deadline).
    pub fn write_all_deadline(
        &self,
        buf: &[u8],
        deadline: Deadline<'_>,
    ) -> core::result::Result<(), Incomplete> {
        io::write_all_deadline(self, buf, deadline)
    }
}

impl PipeWriter {
    /// Writes as [`write`](Self::write) does, without `SIGPIPE` if no read end is left.
    ///
    /// # Errors
    ///
    /// As [`io::write_nosignal`](io::write_nosignal).
    pub fn write_nosignal(&self, buf: &[u8]) -> Result<usize> {
        io::write_nosignal(self, buf)
    }
}
