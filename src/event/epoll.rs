//! Wraps two kernel objects: `epoll` is a list of watched descriptors, and `eventfd` is a counter that wakes
//! waiters.

pub use crate::sys::abi::Event;
pub use crate::sys::abi::flags::EventFdFlags;

use crate::event::{PollFd, poll_until};
use crate::fd::{AsFd, BorrowedFd, OwnedFd, lends_its_descriptor};
use crate::sys::abi::Timespec;
use crate::sys::abi::flags::PollEvents;
use crate::sys::{abi, call};
use crate::{Deadline, Errno, Result, io};
use core::time::Duration;

impl Event {
    /// Returns the events that were found. [`PollEvents`] has methods that interpret these events for a pipe.
    pub const fn events(&self) -> PollEvents {
        PollEvents::from_bits_retain(self.events)
    }

    /// Returns the token with which the descriptor was added.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.data
    }
}

/// A list, kept by the kernel, of descriptors to wait for. Dropping an `Epoll` closes its descriptor.
///
/// The cost of a wait does not depend on the number of watched descriptors, whereas
/// [`poll`](crate::event::poll()) checks every descriptor in each call.
///
/// `Epoll` watches the *open file*, not the descriptor's number. The kernel removes the file from the list
/// once all duplicates of the descriptor are closed in all processes. After a `fork` or `dup`,
/// [`delete`](Epoll::delete) the descriptor before closing it. Otherwise, the kernel continues to report the
/// file's events.
///
/// # Examples
///
/// ```
/// use rawpipe::event::{Epoll, PollEvents, Event};
/// use std::time::Duration;
///
/// let epoll = Epoll::new()?;
/// let (reader, writer) = rawpipe::pipe()?;
/// epoll.add(&reader, PollEvents::IN, 7)?;
///
/// let mut events = [Event::default(); 8];
/// assert!(epoll.wait(&mut events, Some(Duration::ZERO))?.is_empty());
/// writer.write(b"x")?;
/// for event in epoll.wait(&mut events, None)? {
///     assert_eq!(event.token(), 7);
///     assert!(event.events().is_readable());
/// }
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html)
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Creates an empty list. Its descriptor is close-on-exec.
    ///
    /// # Errors
    ///
    /// - [`EMFILE`](crate::Errno::EMFILE) if the process has reached its limit of descriptors.
    /// - [`ENFILE`](crate::Errno::ENFILE) if the system has reached its limit of open files.
    /// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel does not have enough memory.
    ///
    /// [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create.2.html)
    #[doc(alias = "epoll_create1")]
    pub fn new() -> Result<Self> {
        call::epoll_create1().map(Self)
    }

    /// Adds a descriptor to the list. The descriptor's events carry `token`.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`](crate::Errno::EEXIST) if the descriptor is already watched.
    /// - [`EINVAL`](crate::Errno::EINVAL) if the descriptor is this epoll itself, or if
    ///   [`EXCLUSIVE`](PollEvents::EXCLUSIVE) is combined with an incompatible flag.
    /// - [`ELOOP`](crate::Errno::ELOOP) if the descriptor is an epoll that watches this epoll, or if epolls
    ///   are nested too deeply.
    /// - [`ENOSPC`](crate::Errno::ENOSPC) if the user has reached the limit on watched descriptors
    ///   (`/proc/sys/fs/epoll/max_user_watches`).
    /// - [`EPERM`](crate::Errno::EPERM) if the kernel cannot watch the descriptor, for example because it
    ///   refers to a regular file or a directory.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::event::{Epoll, PollEvents};
    ///
    /// let (epoll, (reader, _writer)) = (Epoll::new()?, rawpipe::pipe()?);
    /// epoll.add(&reader, PollEvents::IN | PollEvents::ONESHOT, 1)?;
    /// assert_eq!(epoll.add(&reader, PollEvents::IN, 1), Err(Errno::EEXIST));
    /// # Ok::<(), Errno>(())
    /// ```
    ///
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html)
    #[doc(alias = "EPOLL_CTL_ADD")]
    pub fn add(&self, fd: impl AsFd, events: PollEvents, token: u64) -> Result<()> {
        self.control(abi::EPOLL_CTL_ADD, fd.as_fd(), events, token)
    }

    /// Changes the watched events and the token of a descriptor, and rearms the descriptor.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](crate::Errno::EINVAL) if the descriptor is this epoll itself. The error also occurs if
    ///   [`EXCLUSIVE`](PollEvents::EXCLUSIVE) is set in this call, or was set when the descriptor was added.
    /// - [`ENOENT`](crate::Errno::ENOENT) if the descriptor is not watched.
    /// - [`EPERM`](crate::Errno::EPERM) if the kernel cannot watch the descriptor.
    ///
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html)
    #[doc(alias = "EPOLL_CTL_MOD")]
    pub fn modify(&self, fd: impl AsFd, events: PollEvents, token: u64) -> Result<()> {
        self.control(abi::EPOLL_CTL_MOD, fd.as_fd(), events, token)
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](crate::Errno::EINVAL) if the descriptor is this epoll itself.
    /// - [`ENOENT`](crate::Errno::ENOENT) if the descriptor is not watched.
    /// - [`EPERM`](crate::Errno::EPERM) if the kernel cannot watch the descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::event::{Epoll, PollEvents};
    ///
    /// let (epoll, (reader, _writer)) = (Epoll::new()?, rawpipe::pipe()?);
    /// epoll.add(&reader, PollEvents::IN, 1)?;
    /// epoll.delete(&reader)?;
    /// assert_eq!(epoll.delete(&reader), Err(Errno::ENOENT));
    /// # Ok::<(), Errno>(())
    /// ```
    ///
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html)
    #[doc(alias = "EPOLL_CTL_DEL")]
    pub fn delete(&self, fd: impl AsFd) -> Result<()> {
        call::epoll_ctl(self.as_fd(), abi::EPOLL_CTL_DEL, fd.as_fd(), None)
    }

    fn control(
        &self,
        operation: usize,
        fd: BorrowedFd<'_>,
        events: PollEvents,
        token: u64,
    ) -> Result<()> {
        let event = Event { events: events.bits(), data: token };
        call::epoll_ctl(self.as_fd(), operation, fd, Some(&event))
    }

    /// Waits at most `timeout` (`None`: indefinitely) for a watched descriptor to be ready. Returns at most
    /// as many events as fit into `buf`. An empty slice means a timeout.
    ///
    /// A `timeout` of zero checks without waiting. A signal handler ends the wait. The next call returns the
    /// events that did not fit into `buf`. Before Linux 5.11, a timeout is rounded up to whole milliseconds,
    /// and a timeout of more than 24.8 days never expires.
    ///
    /// # Errors
    ///
    /// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran, or the process was stopped and
    ///   continued. [`wait_deadline`](Self::wait_deadline) retries.
    /// - [`EINVAL`](crate::Errno::EINVAL) if `buf` is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::event::{Epoll, PollEvents, Event};
    ///
    /// let (epoll, (reader, writer)) = (Epoll::new()?, rawpipe::pipe()?);
    /// epoll.add(&reader, PollEvents::IN | PollEvents::ET, 0)?;
    /// drop(writer);
    /// let mut events = [Event::default(); 8];
    /// let found = epoll.wait(&mut events, None)?;
    /// assert!(found.len() == 1 && found[0].events().is_read_closed());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [epoll_wait(2)](https://man7.org/linux/man-pages/man2/epoll_wait.2.html)
    #[doc(alias = "epoll_pwait2")]
    pub fn wait<'e>(&self, buf: &'e mut [Event], timeout: Option<Duration>) -> Result<&'e [Event]> {
        let count = call::epoll_pwait(self.as_fd(), buf, timeout.map(Timespec::from).as_ref())?;
        Ok(&buf[..count])
    }

    /// Waits as [`wait`](Self::wait) does, but only until `deadline`. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// - [`ECANCELED`](crate::Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) and no
    ///   descriptor is ready.
    /// - [`EINVAL`](crate::Errno::EINVAL) if `buf` is empty.
    pub fn wait_deadline<'e>(
        &self,
        buf: &'e mut [Event],
        deadline: Deadline<'_>,
    ) -> Result<&'e [Event]> {
        loop {
            // With an empty `buf`, `epoll_pwait` fails immediately, so this function does not wait first.
            let (found, wait) = if deadline.cancel.is_some() && !buf.is_empty() {
                let fds = &mut [PollFd::new(self, PollEvents::IN)];
                (poll_until(fds, Some(deadline))?, Duration::ZERO)
            } else {
                (0, deadline.remaining())
            };
            match call::epoll_pwait(self.as_fd(), buf, Some(&wait.into())) {
                Err(Errno::EINTR) => {}
                // Another thread or process has consumed the event that ended the wait.
                Ok(0) if found > 0 && !deadline.is_over() => {}
                result => return result.map(|count| &buf[..count]),
            }
        }
    }
}

lends_its_descriptor!(Epoll);

/// A kernel counter that wakes waiters in this process or in another process. Dropping an `EventFd` closes
/// its descriptor.
///
/// # Examples
///
/// ```
/// use rawpipe::event::EventFd;
/// use rawpipe::event::{PollEvents, PollFd, poll};
///
/// let wake = EventFd::new(0)?;
/// wake.write(2)?; // from another thread, say
/// wake.write(1)?;
/// assert_eq!(poll(&mut [PollFd::new(&wake, PollEvents::IN)], None)?, 1);
/// assert_eq!(wake.read()?, 3);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Creates a blocking, close-on-exec counter that starts at `count`.
    ///
    /// # Errors
    ///
    /// Fails as [`with_flags`](Self::with_flags) does, except with `EINVAL`.
    pub fn new(count: u32) -> Result<Self> {
        Self::with_flags(count, EventFdFlags::CLOEXEC)
    }

    /// Creates a counter that starts at `count`, with exactly these flags.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](crate::Errno::EINVAL) if `flags` has bits that the kernel does not support.
    /// - [`EMFILE`](crate::Errno::EMFILE) if the process has reached its limit of descriptors.
    /// - [`ENFILE`](crate::Errno::ENFILE) if the system has reached its limit of open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::event::{EventFd, EventFdFlags};
    ///
    /// let flags = EventFdFlags::SEMAPHORE | EventFdFlags::NONBLOCK | EventFdFlags::CLOEXEC;
    /// let places = EventFd::with_flags(2, flags)?;
    /// assert_eq!((places.read(), places.read()), (Ok(1), Ok(1)));
    /// assert_eq!(places.read(), Err(Errno::EAGAIN));
    /// # Ok::<(), Errno>(())
    /// ```
    ///
    /// [eventfd2(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
    pub fn with_flags(count: u32, flags: EventFdFlags) -> Result<Self> {
        call::eventfd2(count, flags.bits()).map(Self)
    }

    /// Waits until the counter is not 0, sets it to 0, and returns its previous value. With
    /// [`SEMAPHORE`](EventFdFlags::SEMAPHORE), the call instead subtracts 1 and returns 1.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](crate::Errno::EAGAIN) if the counter is 0 and the descriptor is nonblocking.
    /// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran during the wait.
    pub fn read(&self) -> Result<u64> {
        let mut count = [0; 8];
        io::read(self, &mut count)?;
        Ok(u64::from_ne_bytes(count))
    }

    /// Adds `count` to the counter. Waits while the sum would be larger than 2⁶⁴ − 2.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](crate::Errno::EAGAIN) if the sum would be larger than 2⁶⁴ − 2 and the descriptor is
    ///   nonblocking.
    /// - [`EINTR`](crate::Errno::EINTR) if a signal handler ran during the wait.
    /// - [`EINVAL`](crate::Errno::EINVAL) if `count` is 2⁶⁴ − 1.
    pub fn write(&self, count: u64) -> Result<()> {
        io::write(self, &count.to_ne_bytes()).map(drop)
    }
}

lends_its_descriptor!(EventFd);
