//! Flag types. A flag type keeps bits that the crate does not define, so that flags of newer kernels can be
//! passed and returned.

use crate::sys::abi;
use core::fmt;

/// Defines a flag type: a newtype over `u32` with a named constant for each flag.
macro_rules! flags {
    (
        $(#[$type_meta:meta])*
        pub struct $type:ident;
        $($(#[$meta:meta])* const $name:ident = $value:expr;)*
    ) => {
        $(#[$type_meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[must_use]
        #[repr(transparent)]
        pub struct $type(u32);

        impl $type {
            $($(#[$meta])* pub const $name: Self = Self($value);)*

            /// Returns the value with no flag set.
            pub const fn empty() -> Self {
                Self(0)
            }

            /// Returns the flags with these bits, including unknown bits.
            pub const fn from_bits_retain(bits: u32) -> Self {
                Self(bits)
            }

            /// Returns the bits as the kernel defines them.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Returns whether no flag is set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Returns whether all flags of `other` are also set in this value.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Returns whether any flag of `other` is also set in this value.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// Returns the flags that are set in either value. Unlike `|`, this function can be used in
            /// constants.
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Returns these flags without the flags that are set in `other`.
            pub const fn difference(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl core::ops::BitOr for $type {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl core::ops::BitOrAssign for $type {
            fn bitor_assign(&mut self, other: Self) {
                *self = self.union(other);
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_flags(f, stringify!($type), self.0, &[$((stringify!($name), $value)),*])
            }
        }
    };
}

/// Writes `Type(A | B | 0x40)`: the known flags by name, and the remaining bits as a number.
fn write_flags(
    f: &mut fmt::Formatter<'_>,
    type_name: &str,
    bits: u32,
    names: &[(&str, u32)],
) -> fmt::Result {
    write!(f, "{type_name}(")?;
    let mut rest = bits;
    let mut separator = "";
    for &(name, value) in names {
        if bits & value == value {
            write!(f, "{separator}{name}")?;
            separator = " | ";
            rest &= !value;
        }
    }
    if rest != 0 {
        write!(f, "{separator}{rest:#x}")?;
    }
    f.write_str(")")
}

flags! {
    /// Flags of [`pipe2`](crate::pipe2).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::PipeFlags;
    ///
    /// let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    /// assert!(flags.contains(PipeFlags::CLOEXEC));
    /// assert!(!flags.contains(PipeFlags::DIRECT));
    /// assert_eq!(format!("{flags:?}"), "PipeFlags(CLOEXEC | NONBLOCK)");
    /// // Bits that the crate does not know are kept.
    /// assert_eq!(PipeFlags::from_bits_retain(1 << 30).bits(), 1 << 30);
    /// ```
    ///
    /// [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html)
    pub struct PipeFlags;
    /// Close-on-exec: the kernel closes the descriptor when the process executes a new program.
    const CLOEXEC = abi::O_CLOEXEC;
    /// Nonblocking: a call that would wait fails with [`EAGAIN`](crate::Errno::EAGAIN).
    const NONBLOCK = abi::O_NONBLOCK;
    /// Packet mode: a read returns each write of up to [`PIPE_BUF`](crate::pipe::PIPE_BUF) bytes as one
    /// packet. A shorter read discards the remaining bytes of the packet.
    const DIRECT = abi::O_DIRECT;
}

flags! {
    /// Flags of [`dup3`](crate::io::dup3).
    ///
    /// [dup(2)](https://man7.org/linux/man-pages/man2/dup.2.html)
    pub struct DupFlags;
    /// Close-on-exec: the kernel closes the copy when the process executes a new program.
    const CLOEXEC = abi::O_CLOEXEC;
}

flags! {
    /// Flags of [`execveat`](crate::process::execveat).
    ///
    /// [execveat(2)](https://man7.org/linux/man-pages/man2/execveat.2.html)
    pub struct ExecFlags;
    /// If the path is empty, executes the file to which the descriptor refers.
    const EMPTY_PATH = abi::AT_EMPTY_PATH;
    /// Fails with `ELOOP` if the last component of the path is a symbolic link.
    const SYMLINK_NOFOLLOW = 0x100;
}

flags! {
    /// Flags of [`splice`](crate::splice::splice), [`tee`](crate::splice::tee) and
    /// [`vmsplice`](crate::splice::vmsplice).
    ///
    /// [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html)
    pub struct SpliceFlags;
    /// Moves pages rather than copying them. This flag is a hint that the kernel may ignore.
    const MOVE = 1;
    /// Does not wait for a *pipe*. The call still waits for a descriptor that is not a pipe, unless that
    /// descriptor is nonblocking.
    const NONBLOCK = abi::SPLICE_F_NONBLOCK;
    /// Announces that more data follows immediately. A socket may then delay sending until that data arrives.
    /// Do not set this flag on the last call. If the last call sets the flag, a TCP socket may delay the last
    /// data by about 200 ms. A UDP socket then does not send the data until another call is made without the
    /// flag.
    const MORE = 4;
}

flags! {
    /// Events of [`poll`](crate::event::poll()) and `Epoll`: the events to wait for, and the events that were
    /// found.
    ///
    /// `EXCLUSIVE`, `ONESHOT` and `ET` are valid only for an `Epoll`. A [`PollFd`](crate::event::PollFd)
    /// stores only the lower 16 bits.
    ///
    /// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html),
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html)
    pub struct PollEvents;
    /// Data can be read. On some kinds of descriptors, this event can also mean that a read immediately
    /// returns end of file.
    const IN = 0x001;
    /// Urgent data can be read.
    const PRI = 0x002;
    /// Data can be written. On a pipe, at least one whole slot (one page) is free.
    const OUT = 0x004;
    /// An error has occurred. On the write end of a pipe, this event means that all readers are closed. This
    /// event is reported even if it was not requested.
    const ERR = 0x008;
    /// The peer has hung up. On the read end of a pipe, this event means that all writers are closed. The
    /// bytes that are still in the pipe can be read. This event is reported even if it was not requested.
    const HUP = 0x010;
    /// The descriptor is not open. This event is reported even if it was not requested.
    const NVAL = 0x020;
    /// The peer of a stream socket has shut down writing.
    const RDHUP = abi::EPOLLRDHUP;
    /// Wakes at least one of several epolls that watch the same descriptor, but not always all of them.
    const EXCLUSIVE = 1 << 28;
    /// Reports only one event. `Epoll::modify` rearms the descriptor.
    const ONESHOT = 1 << 30;
    /// Edge-triggered: reports a change once, rather than reporting a state for as long as the state lasts.
    /// Before the next wait, read or write until a call fails with [`EAGAIN`](crate::Errno::EAGAIN).
    const ET = 1 << 31;
}

impl PollEvents {
    /// Converts the flags to the 16 bits that `poll` uses. On SPARC, `RDHUP` has a different value in these
    /// bits.
    #[expect(clippy::cast_possible_truncation, reason = "poll has no more flags")]
    pub(crate) const fn to_poll(self) -> u16 {
        swap(self.0, abi::EPOLLRDHUP, abi::POLLRDHUP) as u16
    }

    /// Returns the events that `poll` has found.
    pub(crate) const fn from_poll(bits: u16) -> Self {
        Self(swap(bits as u32, abi::POLLRDHUP, abi::EPOLLRDHUP))
    }
}

/// If the bit `one` is set in `bits`, replaces it with the bit `other`. Returns the result.
const fn swap(bits: u32, one: u32, other: u32) -> u32 {
    if one == other || bits & one == 0 { bits } else { bits & !one | other }
}

#[cfg(feature = "process")]
flags! {
    /// The changes of state that [`wait_any`](crate::process::wait_any) reports in addition to the end of a
    /// child.
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    pub struct WaitFlags;
    /// A child was stopped by a signal.
    const STOPPED = 2;
    /// A child continued after a stop.
    const CONTINUED = 8;
}

#[cfg(feature = "event")]
flags! {
    /// Flags of [`EventFd::with_flags`](crate::event::EventFd::with_flags).
    ///
    /// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
    pub struct EventFdFlags;
    /// Close-on-exec: the kernel closes the descriptor when the process executes a new program.
    const CLOEXEC = abi::O_CLOEXEC;
    /// Nonblocking: a call that would wait fails with [`EAGAIN`](crate::Errno::EAGAIN).
    const NONBLOCK = abi::O_NONBLOCK;
    /// A read subtracts 1 from the counter and returns 1, rather than returning the whole value and resetting
    /// the counter.
    const SEMAPHORE = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_debug_names_known_bits_and_keeps_the_rest() {
        let flags = SpliceFlags::MOVE | SpliceFlags::from_bits_retain(0x40);
        assert_eq!(std::format!("{flags:?}"), "SpliceFlags(MOVE | 0x40)");
        assert_eq!(std::format!("{:?}", SpliceFlags::empty()), "SpliceFlags()");
    }

    #[test]
    fn flags_swap_puts_one_bit_in_place_of_another() {
        assert_eq!(swap(0b0101, 0b0100, 0b1000), 0b1001);
        assert_eq!(swap(0b0001, 0b0100, 0b1000), 0b0001);
        assert_eq!(swap(0b0101, 0b0100, 0b0100), 0b0101);
        let all = PollEvents::IN | PollEvents::RDHUP | PollEvents::NVAL;
        assert_eq!(PollEvents::from_poll(all.to_poll()), all);
    }

    #[test]
    fn flags_set_operations() {
        let both = PollEvents::IN | PollEvents::OUT;
        assert!(both.contains(PollEvents::IN));
        assert!(!PollEvents::IN.contains(both));
        assert!(PollEvents::IN.intersects(both));
        assert_eq!(both.difference(PollEvents::IN), PollEvents::OUT);
        assert!(both.difference(both).is_empty());
        let mut flags = PollEvents::default();
        flags |= PollEvents::HUP;
        assert_eq!(flags, PollEvents::HUP);
    }
}
