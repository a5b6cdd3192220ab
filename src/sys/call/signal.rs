//! The calls for signals, for the processors of this thread and for the limits of this process.
//!
//! # Safety
//!
//! This file is trusted to pass signal sets of the size that the kernel uses, and addresses with room for the
//! kernel's results.
#![allow(unsafe_code, reason = "system calls")]

use super::{arg, lent, lent_mut, owned};
use crate::errno::{Result, decode};
use crate::fd::{BorrowedFd, OwnedFd};
use crate::sys::abi::signal_info::SignalFdInfo;
use crate::sys::abi::{self, SigAction, SigInfo, SigSet, Timespec};
use crate::sys::arch::{nr, syscall0, syscall2, syscall3, syscall4, syscall5};

/// Returns the current soft limit of a resource.
#[inline]
pub(crate) fn prlimit64_get_soft(resource: u32) -> Result<u64> {
    let mut limit = [0_u64; 2]; // `struct rlimit64`
    // SAFETY: the kernel writes one `struct rlimit64` to the given address.
    decode(unsafe { syscall4(nr::PRLIMIT64, 0, resource as usize, 0, lent_mut(&mut limit)) })?;
    Ok(limit[0])
}

/// Returns the number of processors on which the calling thread may run. Fails with `EINVAL` if the machine
/// may have more than 1024 processors.
pub(crate) fn sched_getaffinity() -> Result<u32> {
    let mut mask = [0_usize; 1024 / usize::BITS as usize];
    // SAFETY: the kernel writes at most as many bytes to the given address as the mask has.
    decode(unsafe { syscall3(nr::SCHED_GETAFFINITY, 0, size_of_val(&mask), lent_mut(&mut mask)) })?;
    Ok(mask.iter().map(|word| word.count_ones()).sum())
}

/// Resets the action of the signal to its default.
#[inline]
pub(crate) fn rt_sigaction_default(signal: usize) -> Result<()> {
    let action = SigAction::default();
    let (place, size) = (lent(&action), size_of::<SigSet>());
    // SAFETY: the kernel reads one `struct sigaction` at the given address. `SigAction` is at least as large
    // as that structure. No handler is installed.
    decode(unsafe { syscall5(nr::RT_SIGACTION, signal, place, 0, size, size) }).map(drop)
}

/// Makes this process ignore the signal.
#[cfg(feature = "process")]
pub(crate) fn rt_sigaction_ignore(signal: usize) -> Result<()> {
    let (action, size) = (SigAction::ignore(), size_of::<SigSet>());
    // SAFETY: the kernel reads one `struct sigaction` at the given address. No handler is installed.
    decode(unsafe { syscall5(nr::RT_SIGACTION, signal, lent(&action), 0, size, size) }).map(drop)
}

/// Returns the action of this process for a signal.
#[inline]
pub(crate) fn rt_sigaction_get(signal: usize) -> Result<SigAction> {
    let mut action = SigAction::default();
    let (place, size) = (lent_mut(&mut action), size_of::<SigSet>());
    // The fourth argument is the size of a set. On SPARC, the call takes an additional argument, so the size
    // is the fifth.
    // SAFETY: the kernel writes one `struct sigaction` to the given address. `SigAction` is at least as large
    // as that structure.
    decode(unsafe { syscall5(nr::RT_SIGACTION, signal, 0, place, size, size) })?;
    Ok(action)
}

/// Returns the signals that are pending for this thread or for this process.
#[inline]
pub(crate) fn rt_sigpending() -> Result<SigSet> {
    let mut pending = SigSet::default();
    // SAFETY: the kernel writes one signal set to the given address.
    decode(unsafe { syscall2(nr::RT_SIGPENDING, lent_mut(&mut pending), size_of::<SigSet>()) })?;
    Ok(pending)
}

/// Changes the signal mask of this thread and returns the previous mask.
#[inline]
pub(crate) fn rt_sigprocmask(how: usize, set: &SigSet) -> Result<SigSet> {
    let mut old = SigSet::default();
    let (set, place) = (lent(set), lent_mut(&mut old));
    // SAFETY: the kernel reads one signal set and writes another one, at the given addresses.
    decode(unsafe { syscall4(nr::RT_SIGPROCMASK, how, set, place, size_of::<SigSet>()) })?;
    Ok(old)
}

/// Waits until a signal of `set` is pending, and accepts that signal. If signals are pending both for this
/// thread and for the process, accepts one that is pending for the thread. Fails with `EAGAIN` if no signal
/// arrives before the timeout.
#[inline]
pub(crate) fn rt_sigtimedwait(set: &SigSet, timeout: Option<&Timespec>) -> Result<SigInfo> {
    let mut info = SigInfo::empty();
    let (set, place, timeout) = (lent(set), lent_mut(&mut info), timeout.map_or(0, lent));
    // SAFETY: the kernel reads one signal set and one `timespec`, and writes one `siginfo_t`, at the given
    // addresses.
    decode(unsafe { syscall4(nr::RT_SIGTIMEDWAIT, set, place, timeout, size_of::<SigSet>()) })?;
    Ok(info)
}

/// Makes a signal pending for this thread. The thread must block that signal. Does nothing if the signal is a
/// standard signal that is already pending for this thread.
pub(crate) fn rt_tgsigqueueinfo_self(info: &SigInfo) -> Result<()> {
    // SAFETY: these calls have no arguments.
    let [process, thread] =
        [nr::GETPID, nr::GETTID].map(|nr| unsafe { syscall0(nr) }.unsigned_abs());
    let signal = info.si_signo.unsigned_abs() as usize;
    let place = lent(info);
    // SAFETY: the kernel reads one `siginfo_t` at the given address, and the signal is blocked in this
    // thread.
    decode(unsafe { syscall4(nr::RT_TGSIGQUEUEINFO, process, thread, signal, place) }).map(drop)
}

/// Creates a nonblocking, close-on-exec descriptor from which signals of `set` can be read.
#[inline]
pub(crate) fn signalfd4(set: &SigSet) -> Result<OwnedFd> {
    let (new, set) = (usize::MAX, lent(set));
    let flags = (abi::O_CLOEXEC | abi::O_NONBLOCK) as usize;
    // SAFETY: the kernel reads one signal set at the given address.
    let answer = decode(unsafe { syscall4(nr::SIGNALFD4, new, set, size_of::<SigSet>(), flags) })?;
    // SAFETY: with a descriptor of −1, `signalfd4` returns a new descriptor.
    unsafe { owned(answer) }
}

/// Reads one signal from a `signalfd`.
#[inline]
pub(crate) fn read_signalfd(fd: BorrowedFd<'_>) -> Result<SigInfo> {
    let mut info = SignalFdInfo::default();
    let (place, size) = (lent_mut(&mut info), size_of_val(&info));
    // SAFETY: the kernel writes at most one `signalfd_siginfo` to the given address.
    decode(unsafe { syscall3(nr::READ, arg(fd), place, size) })?;
    Ok(SigInfo::read(&info))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Signal, SignalSet};
    use crate::sys::abi::SIG_SETMASK;

    /// Signals that are blocked with the crate's set become pending in the kernel. This result shows that the
    /// crate and the kernel use the same layout.
    #[test]
    fn signal_set_is_the_kernels() {
        let chosen = [Signal::URG, Signal::from_raw(36).unwrap()];
        let set: SignalSet = chosen.into_iter().collect();
        let before = rt_sigprocmask(SIG_SETMASK, &set.0).unwrap();
        // SAFETY: these calls have no arguments.
        let [process, thread] = [nr::GETPID, nr::GETTID].map(|nr| unsafe { syscall0(nr) });
        for signal in chosen {
            let (process, thread) = (process.unsigned_abs(), thread.unsigned_abs());
            let signal = signal.as_raw().unsigned_abs() as usize;
            // SAFETY: all arguments are integers, and the signal is blocked in this thread.
            assert_eq!(unsafe { syscall3(nr::TGKILL, process, thread, signal) }, 0);
        }
        assert_eq!(rt_sigpending().map(SignalSet), Ok(set));
        for signal in chosen {
            let one = SignalSet::empty().with(signal);
            let number = signal.as_raw().unsigned_abs() as usize;
            let taken = rt_sigtimedwait(&one.0, None).unwrap();
            assert_eq!(taken.si_signo.unsigned_abs() as usize, number);
        }
        assert_eq!(rt_sigpending().map(SignalSet), Ok(SignalSet::empty()));
        assert_eq!(rt_sigprocmask(SIG_SETMASK, &before), Ok(set.0));
    }
}
