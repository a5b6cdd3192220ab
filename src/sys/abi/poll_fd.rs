//! An entry of the list that is passed to `poll`.

use crate::fd::BorrowedFd;
use core::fmt;

/// One entry of the list passed to [`poll`](crate::event::poll): a descriptor, the events to wait for, and
/// the events that were found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd<'fd> {
    pub(crate) fd: BorrowedFd<'fd>,
    pub(crate) events: u16,
    pub(crate) revents: u16,
}
const _: () = assert!(size_of::<PollFd<'_>>() == 8);

impl fmt::Debug for PollFd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollFd")
            .field("fd", &self.fd)
            .field("events", &self.events())
            .field("revents", &self.revents())
            .finish()
    }
}
