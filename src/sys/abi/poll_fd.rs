//! An entry of the list that `poll` takes.

use crate::fd::BorrowedFd;

/// One entry of the list given to [`poll`](crate::event::poll): a descriptor, what to wait for, and
/// what was found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PollFd<'fd> {
    pub(crate) fd: BorrowedFd<'fd>,
    pub(crate) events: u16,
    pub(crate) revents: u16,
}
const _: () = assert!(size_of::<PollFd<'_>>() == 8);
