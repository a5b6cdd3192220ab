//! What a child's standard streams can be, and opening that.

use crate::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use crate::{Errno, PipeReader, PipeWriter, Result};
use alloc::vec::Vec;
use std::fs::File;

/// What one of a child's standard streams is to be, for [`Command`](super::Command).
///
/// Anything that is made of a descriptor can be given, such as a [`File`], a [`PipeReader`] or a
/// [`PipeWriter`]: it becomes a `Stdio` by `From`.
///
/// # Examples
///
/// ```
/// use rawpipe::process::{Command, Stdio};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let mut command = Command::new("sh");
/// command.args(["-c", "cat; echo end"]).stdin(Stdio::null()).stdout(writer);
/// let mut child = command.spawn()?;
/// drop(command); // it has a write end
/// let mut text = Vec::new();
/// reader.read_to_end(&mut text)?;
/// assert_eq!(text, b"end\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
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

    pub(in super::super) fn source(&self) -> Source<'_> {
        match &self.0 {
            Kind::Inherit => Source::Inherit,
            Kind::Null => Source::Null,
            Kind::Piped => Source::Piped,
            Kind::Fd(fd) => Source::Fd(fd.as_fd()),
        }
    }
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(fd: T) -> Self {
        Self(Kind::Fd(fd.into()))
    }
}

/// A [`Stdio`] that is lent.
#[derive(Clone, Copy)]
pub(in super::super) enum Source<'a> {
    Inherit,
    Null,
    Piped,
    Fd(BorrowedFd<'a>),
}

/// The ends that this process keeps.
type Ends = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

/// A descriptor for the child, until it has it.
pub(super) enum Theirs<'a> {
    Own(OwnedFd),
    Lent(BorrowedFd<'a>),
}

impl AsFd for Theirs<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => fd.as_fd(),
            Self::Lent(fd) => *fd,
        }
    }
}

/// Opens what is not open yet: the ends of this process, and what the child is to have, by number.
///
/// All that is opened is close-on-exec, and may have any number: where this process has closed its own
/// standard streams, those of them, too.
pub(super) fn open<'a>(sources: [Source<'a>; 3]) -> Result<(Ends, Vec<(Theirs<'a>, RawFd)>)> {
    let mut ends = (None, None, None);
    let mut theirs = Vec::with_capacity(3);
    for (number, source) in (0..).zip(sources) {
        let fd = match source {
            Source::Inherit => continue,
            Source::Fd(fd) => Theirs::Lent(fd),
            Source::Null => {
                let null = File::options().read(number == 0).write(number != 0).open("/dev/null");
                Theirs::Own(null.map_err(errno)?.into())
            }
            Source::Piped => {
                let (reader, writer) = crate::pipe()?;
                if number == 0 {
                    ends.0 = Some(writer);
                    Theirs::Own(reader.into())
                } else {
                    let end = if number == 1 { &mut ends.1 } else { &mut ends.2 };
                    *end = Some(reader);
                    Theirs::Own(writer.into())
                }
            }
        };
        theirs.push((fd, number));
    }
    Ok((ends, theirs))
}

/// What std says, as an errno. Without one it did not like a NUL.
pub(super) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::EINVAL)
}
