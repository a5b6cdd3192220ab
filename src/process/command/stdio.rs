//! The settings for a child's standard streams, and the code that opens the streams.
//!
//! # Safety
//!
//! This file upholds no invariant: code that creates a [`Stdio`] from a number is responsible for that
//! number.
#![allow(unsafe_code, reason = "the constructor from a number, as in std")]

use crate::errno::retry;
use crate::fd::{AsFd, BorrowedFd, FromRawFd, MaybeOwnedFd, OwnedFd, RawFd};
use crate::sys::call;
use crate::{PipeReader, PipeWriter, Result};
use alloc::vec::Vec;

/// A setting of a [`Command`](super::Command) for one of the child's standard streams.
///
/// `From` creates a `Stdio` from anything that converts into a [`MaybeOwnedFd`]:
///
/// - an owner of a descriptor, such as a [`File`](std::fs::File), a [`PipeReader`] or a [`PipeWriter`];
/// - a reference, borrowed for `'fd`, to anything that implements [`AsFd`];
/// - [`Stdout`](std::io::Stdout) and [`Stderr`](std::io::Stderr) of this process.
///
/// A clone shares the owned descriptor.
///
/// # Examples
///
/// ```
/// use rawpipe::process::{Command, Stdio};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut command = Command::new("sh");
/// command.args(["-c", "cat; echo end"]).stdin(Stdio::null()).stdout(&writer);
/// let mut child = command.spawn()?;
/// drop(writer); // otherwise the next line would wait for it
/// let mut text = Vec::new();
/// reader.read_to_end(&mut text)?;
/// assert_eq!(text, b"end\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stdio<'fd>(Kind<MaybeOwnedFd<'fd>>);

/// A kind of standard stream. `Fd` is a descriptor that is already open.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Kind<Fd> {
    Inherit,
    Null,
    Piped,
    SameAsStdout,
    Fd(Fd),
}

impl Stdio<'_> {
    /// Uses the corresponding stream of this process.
    #[must_use]
    pub const fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Uses `/dev/null`: reads return end of file, and writes are discarded.
    #[must_use]
    pub const fn null() -> Self {
        Self(Kind::Null)
    }

    /// Creates a pipe. The [`Child`](crate::process::Child) holds the pipe's other end.
    #[must_use]
    pub const fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// Connects the child's standard error to the child's standard output, as `2>&1` does in a shell. The
    /// output of the two streams arrives in the order in which the child writes it.
    ///
    /// If standard output is a pipe or another descriptor, standard error uses the same pipe or descriptor.
    /// This setting is resolved when the child is started, so the order of the settings does not matter. In a
    /// [`Pipeline`](crate::process::Pipeline), every program with this setting, except the last program,
    /// writes standard error to the pipe that the next program reads. For standard input or output, this
    /// setting makes `spawn` fail with `EINVAL` at
    /// [`SpawnStage::Arguments`](crate::process::SpawnStage::Arguments).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{Command, Stdio};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo 1; echo 2 >&2; echo 3"]).stderr(Stdio::same_as_stdout());
    /// assert_eq!(command.output()?.stdout, b"1\n2\n3\n");
    /// # Ok::<(), rawpipe::process::RunError>(())
    /// ```
    #[must_use]
    pub const fn same_as_stdout() -> Self {
        Self(Kind::SameAsStdout)
    }

    pub(in super::super) fn source(&self) -> Source<'_> {
        match &self.0 {
            Kind::Inherit => Source::Inherit,
            Kind::Null => Source::Null,
            Kind::Piped => Source::Piped,
            Kind::SameAsStdout => Source::SameAsStdout,
            Kind::Fd(fd) => Source::Fd(fd.as_fd()),
        }
    }
}

impl<'fd, T: Into<MaybeOwnedFd<'fd>>> From<T> for Stdio<'fd> {
    fn from(fd: T) -> Self {
        Self(Kind::Fd(fd.into()))
    }
}

impl FromRawFd for Stdio<'_> {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller guarantees that the descriptor is open and has no other owner.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}

/// A borrowed [`Stdio`].
pub(in super::super) type Source<'a> = Kind<BorrowedFd<'a>>;

/// The pipe ends that this process keeps.
pub(super) type Ends = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

/// Opens the streams that are not yet open. Returns the pipe ends that this process keeps, and the child's
/// descriptors with their numbers.
///
/// All opened descriptors are close-on-exec and have numbers of 3 or above, even if this process has
/// closed its own standard streams.
pub(super) fn open(sources: [Source<'_>; 3]) -> Result<(Ends, Vec<(OwnedFd, RawFd)>)> {
    let mut ends = (None, None, None);
    let mut theirs = Vec::with_capacity(3);
    for (number, source) in (0..).zip(sources) {
        let fd = match source {
            Source::Inherit | Source::SameAsStdout | Source::Fd(_) => continue,
            Source::Null => {
                let open =
                    if number == 0 { call::openat_for_reading } else { call::openat_for_writing };
                retry(|| open(c"/dev/null"))?
            }
            Source::Piped => {
                let (reader, writer) = crate::pipe()?;
                if number == 0 {
                    ends.0 = Some(writer);
                    reader.into()
                } else {
                    let end = if number == 1 { &mut ends.1 } else { &mut ends.2 };
                    *end = Some(reader);
                    writer.into()
                }
            }
        };
        theirs.push((fd, number));
    }
    Ok((ends, theirs))
}
