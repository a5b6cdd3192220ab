//! What a child's standard streams can be, and opening that.
//!
//! # Safety
//!
//! This file is trusted with nothing: the caller who makes a [`Stdio`] of a number is responsible for it.
#![allow(unsafe_code, reason = "the constructor from a number, as in std")]

use crate::errno::retry;
use crate::fd::{AsFd, BorrowedFd, FromRawFd, MaybeOwnedFd, OwnedFd, RawFd};
use crate::sys::call;
use crate::{PipeReader, PipeWriter, Result};
use alloc::vec::Vec;

/// What one of a child's standard streams is to be, for [`Command`](super::Command).
///
/// Anything that converts into a [`MaybeOwnedFd`] becomes a `Stdio` by `From`: an owner of a descriptor, such as a
/// [`File`](std::fs::File), a [`PipeReader`] or a [`PipeWriter`]; a reference to anything that implements [`AsFd`],
/// which is borrowed for `'fd`; and [`Stdout`](std::io::Stdout) and [`Stderr`](std::io::Stderr) of this process. A clone
/// shares an owned descriptor.
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
/// drop(writer); // or the next line would wait for it
/// let mut text = Vec::new();
/// reader.read_to_end(&mut text)?;
/// assert_eq!(text, b"end\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stdio<'fd>(Kind<MaybeOwnedFd<'fd>>);

/// Each kind of standard stream, with `Fd` for one that is open already.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Kind<Fd> {
    Inherit,
    Null,
    Piped,
    SameAsStdout,
    Fd(Fd),
}

impl Stdio<'_> {
    /// That of this process.
    #[must_use]
    pub const fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`: nothing to read, and what is written is gone.
    #[must_use]
    pub const fn null() -> Self {
        Self(Kind::Null)
    }

    /// A new pipe, the other end of which the [`Child`](crate::process::Child) has.
    #[must_use]
    pub const fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// For standard error: what the same child's standard output is, as by `2>&1` in a shell. What the child writes to
    /// the two stays in its order.
    ///
    /// Of a pipe for standard output both are the write end, and of a descriptor both are that descriptor. It is
    /// looked up when the child is started, so the order of the settings does not matter. In a
    /// [`Pipeline`](crate::process::Pipeline) it is the pipe to the next program. For standard input or output it makes
    /// `spawn` fail with `EINVAL` at [`SpawnStage::Arguments`](crate::process::SpawnStage::Arguments).
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
        // SAFETY: passed on to the caller: it is open, and has no other owner.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}

/// A [`Stdio`] that is lent.
pub(in super::super) type Source<'a> = Kind<BorrowedFd<'a>>;

/// The ends that this process keeps.
pub(super) type Ends = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

/// Opens what is not open yet: the ends of this process, and what the child is to have, by number.
///
/// All that is opened is close-on-exec, and may have any number: where this process has closed its own
/// standard streams, those of them, too.
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
