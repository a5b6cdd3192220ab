//! Classifies the descriptors at the two ends of a transfer.

use super::error::Side;
use crate::errno::retry;
use crate::event::{PollEvents, PollFd, poll};
use crate::fd::BorrowedFd;
use crate::pipe::{self, Capacity};
use crate::sys::{abi, call};
use crate::{Errno, Result};
use core::time::Duration;

/// The kind of a descriptor, which determines the choice of a mechanism.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file or a block device. A call on this kind of descriptor can wait only for a disk or a
    /// server.
    File,
    /// A source that is a regular file of size 0. If the file nevertheless has contents, it is a stream of
    /// procfs, tracefs or a similar file system. A call on that stream may wait, and `splice` may lose bytes
    /// that it has consumed.
    Unsized,
    Pipe,
    /// A socket that does not preserve the boundaries of messages, or a socket of unknown type.
    Stream,
    /// A socket that preserves the boundaries of messages: a datagram socket, or a `SOCK_SEQPACKET` socket.
    Records,
    /// A memory device on which no call waits, such as `/dev/null`.
    Null,
    /// A terminal, another device, an eventfd or similar object, or a descriptor of unknown kind.
    Other,
}

/// A descriptor and its properties.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) side: Side,
    pub(super) kind: Kind,
    /// The inode and device numbers, which show whether both ends are the same pipe or file.
    identity: Option<(u64, [u32; 2])>,
    /// The size of a file in bytes, or 0 if it is unknown.
    pub(super) size: u64,
    /// The flags of the open file. An error other than `EBADF` means that the flags are unknown.
    flags: Result<usize>,
    /// Set if the transfer has a deadline and a plain call on this end could wait beyond it.
    pub(super) may_wait: bool,
    /// Set if `may_wait` is set and the end is a terminal, which `poll` reports as ready even if only one
    /// byte fits.
    pub(super) byte_by_byte: bool,
}

/// Returns the kind of a socket.
fn socket(fd: BorrowedFd<'_>) -> Result<Kind> {
    let stream = call::getsockopt_type(fd)? == abi::SOCK_STREAM;
    Ok(if stream { Kind::Stream } else { Kind::Records })
}

impl<'a> End<'a> {
    pub(super) fn new(fd: BorrowedFd<'a>, side: Side, deadline: bool) -> Self {
        let (kind, identity, size) = match call::statx(fd) {
            Ok(stat) => (
                match stat.stx_mode & abi::S_IFMT {
                    abi::S_IFREG if side == Side::Source && stat.stx_size == 0 => Kind::Unsized,
                    abi::S_IFREG | abi::S_IFBLK => Kind::File,
                    abi::S_IFIFO => Kind::Pipe,
                    abi::S_IFSOCK => socket(fd).unwrap_or(Kind::Stream),
                    // The devices `null`, `zero` and `full`.
                    abi::S_IFCHR if matches!(stat.stx_rdev, [1, 3 | 5 | 7]) => Kind::Null,
                    _ => Kind::Other,
                },
                Some((stat.stx_ino, stat.stx_dev)),
                stat.stx_size,
            ),
            // `statx` fails before Linux 4.11, or if a filter rejects it. Pipes and sockets can still be
            // recognised.
            Err(_) if call::fcntl_getpipe_sz(fd).is_ok() => (Kind::Pipe, None, 0),
            Err(_) => (socket(fd).unwrap_or(Kind::Other), None, 0),
        };
        let at_once = matches!(kind, Kind::File | Kind::Null);
        let flags = call::fcntl_getfl(fd);
        let nonblocking = flags.is_ok_and(|flags| flags & abi::O_NONBLOCK as usize != 0);
        // Another process may clear `O_NONBLOCK`, so the transfer does not rely on the flag of a pipe. Only
        // on pipes are the calls that never wait as fast as plain calls.
        let may_wait = deadline && !at_once && (kind == Kind::Pipe || !nonblocking);
        // Terminals, unlike most devices, support `FIONREAD`, which counts the readable bytes. Unlike a file
        // whose kind `statx` could not report, a terminal has no position.
        let terminal = || call::ioctl_fionread(fd).is_ok() && call::lseek_current(fd).is_err();
        let byte_by_byte = may_wait && kind == Kind::Other && terminal();
        Self { fd, side, kind, identity, size, flags, may_wait, byte_by_byte }
    }

    /// Creates an end for a private pipe. No call on a private pipe waits, because the contents of that pipe
    /// are known.
    pub(super) const fn own(fd: BorrowedFd<'a>, side: Side) -> Self {
        let flags = Err(Errno::ENOSYS); // unknown
        let (may_wait, byte_by_byte) = (false, false);
        Self { fd, side, kind: Kind::Pipe, identity: None, size: 0, flags, may_wait, byte_by_byte }
    }

    /// Returns whether the descriptor is closed, or is not open for reading (source) or writing (sink). The
    /// check precedes the first read. Some mechanisms read from the source before they check the sink, and
    /// others return an error that does not identify the side.
    pub(super) fn is_the_wrong_way_round(&self) -> bool {
        let wrong = if self.side == Side::Source { abi::O_WRONLY as usize } else { abi::O_RDONLY };
        match self.flags {
            Ok(flags) => flags & abi::O_ACCMODE == wrong || flags & abi::O_PATH as usize != 0,
            Err(errno) => errno == Errno::EBADF,
        }
    }

    /// Returns whether each write appends to the file.
    pub(super) fn appends(&self) -> bool {
        self.flags.is_ok_and(|flags| flags & abi::O_APPEND as usize != 0)
    }

    /// Enlarges the pipe at this end if it is smaller than 256 KiB and the kernel allows the change.
    pub(super) fn grow(&self) {
        /// The new capacity in bytes. A pipe of this size is as fast as a pipe of 1 MiB, but counts only a
        /// quarter as much towards the user's limit.
        const GROWN: usize = 256 << 10;

        if pipe::capacity(self.fd).is_ok_and(|bytes| bytes < GROWN) {
            let _ = pipe::set_capacity(self.fd, Capacity::Bytes(GROWN));
        }
    }

    /// Returns the number of bytes from this file's position to its end, or `None` if that number is unknown.
    pub(super) fn ahead(&self) -> Option<u64> {
        let position = call::lseek_current(self.fd).ok()?;
        Some(call::statx(self.fd).ok()?.stx_size.saturating_sub(position))
    }

    /// Returns whether a read of 0 bytes means the end of this source. From a socket that preserves
    /// boundaries, 0 bytes may be an empty record, unless the peer has shut the connection down.
    pub(super) fn has_ended(&self) -> Result<bool> {
        if self.kind != Kind::Records {
            return Ok(true);
        }
        let mut fds = [PollFd::from_borrowed_fd(self.fd, PollEvents::RDHUP)];
        retry(|| poll(&mut fds, Some(Duration::ZERO)))?;
        Ok(fds[0].revents().intersects(PollEvents::RDHUP | PollEvents::HUP)
            && matches!(call::ioctl_fionread(self.fd), Ok(0) | Err(_)))
    }

    /// Returns whether both ends are the same pipe or file.
    pub(super) fn is_same_as(&self, sink: &End<'_>) -> bool {
        self.kind == sink.kind && self.identity.is_some() && self.identity == sink.identity
    }

    /// Returns whether a transfer of at most `most` bytes to `sink` must be rejected because it would read
    /// bytes that it has written. That transfer would never end, or its result would depend on the sizes of
    /// the calls.
    pub(super) fn is_fed_by(&self, sink: &End<'_>, most: Option<u64>) -> bool {
        if !self.is_same_as(sink) {
            return false;
        }
        match self.kind {
            Kind::Pipe => true,
            Kind::File => {
                let (read, write) = (call::lseek_current(self.fd), call::lseek_current(sink.fd));
                let write = if sink.appends() { Ok(self.size) } else { write };
                read.and_then(|read| Ok((read, write?))).is_ok_and(|(read, write)| {
                    // A bounded transfer that writes at the end of the file copies its own bytes, with the
                    // same result for all sizes of calls. If it writes before the end, the result depends on
                    // those sizes.
                    let end =
                        most.map_or(u64::MAX, |most| self.size.min(read.saturating_add(most)));
                    // Two ends at the same position may share one open file. Each call then moves the
                    // position of both ends.
                    read < self.size && write < end && read <= write
                })
            }
            _ => false,
        }
    }
}
