//! Writes that are never mixed with those of others.

use crate::errno::retry;
use crate::pipe::PIPE_BUF;
use crate::{Errno, PipeWriter, Result};

/// At most [`PIPE_BUF`] bytes, which a pipe takes in one piece: proof that
/// [`PipeWriter::write_atomic`] needs.
///
/// # Examples
///
/// ```
/// use rawpipe::message::Atomic;
///
/// const HELLO: Atomic<'_> = Atomic::of(b"hello\n"); // checked when it is compiled
///
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_atomic(HELLO)?;
/// let line = format!("a line of {} bytes\n", 5000);
/// writer.write_atomic(Atomic::new(line.as_bytes()).expect("short enough"))?;
/// assert_eq!(reader.available()?, 6 + line.len());
/// assert!(Atomic::new(&[0; 4097]).is_none());
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [PIPE_BUF in pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atomic<'a>(&'a [u8]);

impl<'a> Atomic<'a> {
    /// These bytes, or `None` if there are too many.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() <= PIPE_BUF { Some(Self(bytes)) } else { None }
    }

    /// These bytes. An array that is too long does not compile.
    ///
    /// ```compile_fail
    /// rawpipe::message::Atomic::of(&[0; 4097]);
    /// ```
    #[must_use]
    pub const fn of<const N: usize>(bytes: &'a [u8; N]) -> Self {
        const { assert!(N <= PIPE_BUF, "more than a pipe takes in one piece") };
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl PipeWriter {
    /// Writes all of these bytes in one piece, or none: they are not mixed with what others write.
    /// Waits until there is room for all of them, unless this end is nonblocking; goes on after a
    /// signal. Does not raise `SIGPIPE`.
    ///
    /// # Errors
    ///
    /// As [`io::write_nosignal`](crate::io::write_nosignal), and
    ///
    /// - [`EIO`](Errno::EIO): a part was written, so this was made of a descriptor that is no pipe.
    pub fn write_atomic(&self, bytes: Atomic<'_>) -> Result<()> {
        let count = retry(|| self.write_nosignal(bytes.0))?;
        if count < bytes.0.len() { Err(Errno::EIO) } else { Ok(()) }
    }
}
