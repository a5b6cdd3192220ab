//! Defines the result of a transfer: the number of bytes that arrived, and the mechanism that moved them.

use crate::Errno;
use core::fmt;

/// The mechanism that moved bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferMechanism {
    /// `splice` from or to a pipe.
    Splice,
    /// `splice` through a private pipe. The pipe needs two descriptors during the transfer.
    Broker,
    /// `copy_file_range`.
    CopyFileRange,
    /// `sendfile`.
    Sendfile,
    /// `read` and `write` through a buffer.
    Copy,
}

impl TransferMechanism {
    /// Returns a short name: `splice`, `broker`, `copy_file_range`, `sendfile` or `copy`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Splice => "splice",
            Self::Broker => "broker",
            Self::CopyFileRange => "copy_file_range",
            Self::Sendfile => "sendfile",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for TransferMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The result of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transferred {
    pub(super) bytes: u64,
    pub(super) mechanism: TransferMechanism,
    pub(super) fallback: Option<Fallback>,
}

impl Transferred {
    /// The result before the first byte.
    pub(super) const NOTHING: Self =
        Self { bytes: 0, mechanism: TransferMechanism::Splice, fallback: None };

    /// Returns the number of bytes that arrived at the sink.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the mechanism that moved the last byte or, if no byte was moved, the mechanism that was first
    /// chosen.
    #[must_use]
    pub const fn mechanism(&self) -> TransferMechanism {
        self.mechanism
    }

    /// Returns whether [`mechanism`](Self::mechanism) differs from the mechanism that was first chosen for
    /// these two descriptors.
    #[must_use]
    pub const fn fell_back(&self) -> bool {
        self.fallback.is_some()
    }

    /// Returns the mechanism that was first chosen and the reason for abandoning it, if
    /// [`mechanism`](Self::mechanism) differs from that mechanism.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::transfer::{TransferMechanism, transfer};
    ///
    /// # let path = std::env::temp_dir().join(format!("rawpipe-fallback-{}", std::process::id()));
    /// let log = std::fs::File::options().append(true).create(true).open(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// let (reader, writer) = rawpipe::pipe()?;
    /// writer.write_all(b"a line\n")?;
    /// drop(writer);
    ///
    /// let moved = transfer(&reader, &log)?;
    /// assert_eq!((moved.bytes(), moved.mechanism()), (7, TransferMechanism::Copy));
    /// let first = moved.fallback().expect("splice does not append to a file");
    /// assert_eq!(first.mechanism(), TransferMechanism::Broker);
    /// assert_eq!(first.errno(), Some(Errno::EINVAL));
    /// assert_eq!(format!("copy; {first}"), "copy; broker: invalid argument (EINVAL)");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub const fn fallback(&self) -> Option<Fallback> {
        self.fallback
    }
}

/// A mechanism that was first chosen and then abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub(super) mechanism: TransferMechanism,
    pub(super) errno: Option<Errno>,
}

impl Fallback {
    /// Returns the mechanism that was first chosen.
    #[must_use]
    pub const fn mechanism(&self) -> TransferMechanism {
        self.mechanism
    }

    /// Returns the error that made a call of the mechanism fail, or that prevented the creation of the pipe
    /// for [`Broker`](TransferMechanism::Broker). A pipe that is tiny because this user has many pipes also
    /// results in [`EPERM`](Errno::EPERM). `None` means that a call of the mechanism moved no bytes, although
    /// a `read` still found bytes. This happens for some files of procfs.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{}: {errno}", self.mechanism),
            None => write!(f, "{}: nothing moved", self.mechanism),
        }
    }
}
