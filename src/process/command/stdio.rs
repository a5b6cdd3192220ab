//! What a child's standard streams can be, and opening that.

use crate::errno::retry;
use crate::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use crate::sys::call;
use crate::{PipeReader, PipeWriter, Result};
use alloc::vec::Vec;

/// What one of a child's standard streams is to be, for [`Command`](super::Command).
///
/// Anything that is made of a descriptor can be given, such as a [`File`](std::fs::File), a [`PipeReader`] or a
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
pub struct Stdio(Kind<OwnedFd>);

/// Each kind of standard stream, with `Fd` for one that is open already.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Kind<Fd> {
    Inherit,
    Null,
    Piped,
    Fd(Fd),
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
pub(in super::super) type Source<'a> = Kind<BorrowedFd<'a>>;

/// The ends that this process keeps.
type Ends = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

/// Opens what is not open yet: the ends of this process, and what the child is to have, by number.
///
/// All that is opened is close-on-exec, and may have any number: where this process has closed its own
/// standard streams, those of them, too.
pub(super) fn open(sources: [Source<'_>; 3]) -> Result<(Ends, Vec<(OwnedFd, RawFd)>)> {
    let mut ends = (None, None, None);
    let mut theirs = Vec::with_capacity(3);
    for (number, source) in (0..).zip(sources) {
        let fd = match source {
            Source::Inherit | Source::Fd(_) => continue,
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
