//! An entry of the list that `poll` takes.

use super::flags::PollEvents;
use crate::fd::BorrowedFd;

/// `struct pollfd`; its methods are in [`poll`](crate::poll).
///
/// One entry of the list given to [`poll`](crate::poll::poll): a descriptor, what to wait for, and
/// what was found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PollFd<'fd> {
    pub(crate) fd: BorrowedFd<'fd>,
    pub(crate) events: PollEvents,
    pub(crate) revents: PollEvents,
}
const _: () = assert!(size_of::<PollFd<'_>>() == 8);
