//! The two ends of a transfer: what kinds of descriptors they are.

use super::error::Side;
use crate::fd::BorrowedFd;
use crate::{abi, call, io};

/// What a descriptor is, as far as the choice of a mechanism depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Pipe,
    Socket,
    /// A device, or something that the kernel does not let us ask.
    Other,
}

/// A descriptor and what it is.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) side: Side,
    pub(super) kind: Kind,
    /// Inode and device, to find out whether both ends are one pipe.
    pub(super) identity: Option<(u64, [u32; 2])>,
    /// There is a deadline, and a plain call on this end could wait beyond it.
    pub(super) may_wait: bool,
}

impl<'a> End<'a> {
    pub(super) fn new(fd: BorrowedFd<'a>, side: Side, deadline: bool) -> Self {
        let (kind, identity) = match call::statx(fd) {
            Ok(stat) => (
                match stat.stx_mode & abi::S_IFMT {
                    abi::S_IFREG => Kind::File,
                    abi::S_IFIFO => Kind::Pipe,
                    abi::S_IFSOCK => Kind::Socket,
                    _ => Kind::Other,
                },
                Some((stat.stx_ino, stat.stx_dev)),
            ),
            // Before Linux 4.11, or behind a filter: a pipe can be recognised all the same.
            Err(_) if call::fcntl_getpipe_sz(fd).is_ok() => (Kind::Pipe, None),
            Err(_) => (Kind::Other, None),
        };
        let may_wait = deadline && kind != Kind::File && io::is_nonblocking(fd) != Ok(true);
        Self { fd, side, kind, identity, may_wait }
    }

    /// Whether the end of this source, as `splice` and the like report it, is the end. That of a file
    /// may not be: see the module `transfer`.
    pub(super) fn end_is_sure(&self) -> bool {
        matches!(self.kind, Kind::Pipe | Kind::Socket)
    }

    /// Whether splicing from it hands over pages that can change afterwards.
    pub(super) fn gives_pages_away(&self) -> bool {
        matches!(self.kind, Kind::File | Kind::Other)
    }
}
