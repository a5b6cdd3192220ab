//! Checks whether an error requires a fallback: a call may be missing, rejected by a filter, or unsuitable
//! for the given files.

use crate::errno::Errno;

/// Returns whether this error can mean that the kernel lacks a call or one of its options, or that a filter
/// rejects the call.
pub(crate) const fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM | Errno::EINVAL)
}

/// Returns whether this error can mean that a call is missing, or that it does not work on this kind of file.
pub(crate) const fn is_unsupported(errno: Errno) -> bool {
    is_missing(errno) || matches!(errno, Errno::EOPNOTSUPP)
}

/// Returns whether this error can mean that a call for moving bytes is missing, or that it does not work
/// between the two files.
pub(crate) const fn cannot_move(errno: Errno) -> bool {
    is_unsupported(errno) || matches!(errno, Errno::EXDEV)
}
