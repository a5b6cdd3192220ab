//! Checks the results of waits for signals, and of calls of `SignalFd`, `Cancel` and `redirect`. Each row
//! covers one call in one situation.

use super::{Answer, answer, own, row};
use crate::common::nr;
use crate::common::{self, Filter, skip};
use rawpipe::event::{SignalFd, wait_signal};
use rawpipe::fd::AsRawFd;
use rawpipe::io::{StdStream, redirect};
use rawpipe::process::{Resource, Signal, SignalSet};
use rawpipe::{Cancel, Deadline, Errno};
use std::ffi::c_void;
use std::time::Duration;

mod libc {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub(crate) fn sigtimedwait(
            set: *const c_void,
            info: *mut c_void,
            time: *const c_void,
        ) -> i32;
        pub(crate) fn signalfd(fd: i32, set: *const c_void, flags: i32) -> i32;
        pub(crate) safe fn dup2(fd: i32, new: i32) -> i32;
        pub(crate) safe fn eventfd(count: u32, flags: i32) -> i32;
    }
}

const USR1: SignalSet = SignalSet::empty().with(Signal::USR1);

/// Returns a `sigset_t` of the C library that contains `SIGUSR1`. The set has 128 bytes, which are 16 words
/// on 64-bit targets.
fn c_set() -> [usize; 16] {
    let mut words = [0; 16];
    words[0] = 1 << (Signal::USR1.as_raw() - 1);
    words
}

fn c_signalfd() -> Answer {
    const SFD_NONBLOCK: i32 = 0o4000;
    let set = c_set();
    // SAFETY: the call reads a set.
    answer(unsafe { libc::signalfd(-1, set.as_ptr().cast::<c_void>(), SFD_NONBLOCK) } as isize)
}

/// Receives a pending signal with the C library's `sigtimedwait`. Returns the number of the signal or the
/// errno.
fn c_wait() -> Answer {
    let (set, now) = (c_set(), [0_usize; 4]);
    let (set, null) = (set.as_ptr().cast::<c_void>(), std::ptr::null_mut());
    // SAFETY: the call reads a set and a timeout.
    answer(unsafe { libc::sigtimedwait(set, null, now.as_ptr().cast::<c_void>()) } as isize)
}

fn number(info: rawpipe::event::SignalInfo) -> usize {
    usize::try_from(info.signal.as_raw()).unwrap()
}

pub(crate) fn waits() {
    let raise = || common::kill(std::process::id(), Signal::USR1.as_raw());
    let _guard = USR1.block().unwrap();
    own("SignalSet::block", "allowed", Ok(()), USR1.block().map(drop));
    let signals = SignalFd::new(USR1).unwrap();
    let none = wait_signal(USR1, Deadline::now()).map(|info| info.map(number));
    assert_eq!(none, Ok(None));
    let none = none.and_then(|found| found.ok_or(Errno::EAGAIN));
    row("event::wait_signal", "none", Err(Errno::EAGAIN), none, c_wait());
    let one = Ok(usize::try_from(Signal::USR1.as_raw()).unwrap());
    raise();
    let ours = wait_signal(USR1, Deadline::NEVER).map(|info| number(info.unwrap()));
    raise();
    row("event::wait_signal", "one", one, ours, c_wait());
    raise();
    own("SignalFd::read", "one", one, signals.read().map(number));
    own("SignalFd::try_read", "none", Err(Errno::EAGAIN), signals.try_read());
    let late = signals.read_deadline(Deadline::after(Duration::from_millis(2)));
    own("SignalFd::read_deadline", "none", Err(Errno::ETIMEDOUT), late);
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    let deadline = Deadline::NEVER.or_cancelled(&cancel);
    let cancelled = Err(Errno::ECANCELED);
    own("SignalFd::read_deadline", "cancelled", cancelled, signals.read_deadline(deadline));
    own("event::wait_signal", "cancelled", Err(Errno::ECANCELED), wait_signal(USR1, deadline));

    // `redirect` and the reference receive the same file, which is open for writing.
    let file = common::file(b"");
    let theirs = answer(libc::dup2(file.as_raw_fd(), 0) as isize);
    row("io::redirect", "a file", Ok(0), redirect(&file, StdStream::Stdin).map(|()| 0), theirs);
    let closed = common::closed_fd();
    let theirs = answer(libc::dup2(closed.as_raw_fd(), 0) as isize);
    let ours = redirect(closed, StdStream::Stdin).map(|()| 0);
    row("io::redirect", "closed", Err(Errno::EBADF), ours, theirs);

    let [refused, _] = super::in_child(|| {
        if !Filter::new(&[nr::RT_SIGPROCMASK], Errno::EPERM).install() {
            return [Ok(0); 2];
        }
        [USR1.block().map(|_| 1), Ok(0)]
    });
    if refused == Ok(0) {
        return skip("signals_waits", "no filter of system calls here");
    }
    own("SignalSet::block", "refused", Err(Errno::EPERM), refused);
}

pub(crate) fn no_descriptors_left() {
    own("Cancel::new", "as it is", Ok(()), Cancel::new().map(drop));
    own("SignalFd::new", "as it is", Ok(()), SignalFd::new(USR1).map(drop));
    if common::descriptors_without_limit("signals_no_descriptors_left") || common::emulated() {
        return;
    }
    common::set_soft_limit(Resource::NOFILE.as_raw(), 3);
    let what = "no descriptors left";
    let c_eventfd = answer(libc::eventfd(0, 0) as isize);
    row("Cancel::new", what, Err(Errno::EMFILE), Cancel::new().map(|_| 0), c_eventfd);
    let ours = SignalFd::new(USR1).map(|_| 0);
    row("SignalFd::new", what, Err(Errno::EMFILE), ours, c_signalfd());
}
