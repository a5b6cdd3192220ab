//! Signal actions, and the information about a signal that this process either queues, or reads from a
//! `signalfd`.

use super::{SigAction, SigInfo};

pub(crate) const SI_USER: i32 = 0;
pub(crate) const SI_QUEUE: i32 = -1;
pub(crate) const SI_TKILL: i32 = -6;

impl SigAction {
    pub(crate) fn ignore() -> Self {
        let mut action = Self::default();
        action.0[Self::HANDLER] = 1;
        action
    }

    pub(crate) const fn is_default(&self) -> bool {
        self.0[Self::HANDLER] == 0
    }

    pub(crate) const fn is_ignored(&self) -> bool {
        self.0[Self::HANDLER] == 1
    }
}

impl SigInfo {
    /// Creates the information for a signal that a thread queues for itself.
    pub(crate) const fn queued(signal: i32, value: i32) -> Self {
        let mut info = Self::empty();
        info.si_signo = signal;
        info.errno_and_code[Self::CODE] = SI_QUEUE;
        info.si_status = value;
        info
    }

    /// Converts the record of a `signalfd`, which holds the same numbers at different offsets.
    pub(crate) const fn read(from: &SignalFdInfo) -> Self {
        let mut info = Self::empty();
        (info.si_signo, info.errno_and_code[Self::CODE]) = (from.ssi_signo, from.ssi_code);
        (info.si_pid, info.si_uid, info.si_status) = (from.ssi_pid, from.ssi_uid, from.ssi_status);
        info
    }
}

/// The fields of `struct signalfd_siginfo` that the crate reads.
#[repr(C)]
#[derive(Default)]
pub(crate) struct SignalFdInfo {
    pub(crate) ssi_signo: i32,
    _ssi_errno: i32,
    pub(crate) ssi_code: i32,
    pub(crate) ssi_pid: i32,
    pub(crate) ssi_uid: u32,
    _before_status: [u32; 5],
    pub(crate) ssi_status: i32,
    _rest: [u32; 21],
}
const _: () = assert!(size_of::<SignalFdInfo>() == 128);
