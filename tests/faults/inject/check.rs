//! Checks the conditions that must hold after every operation, regardless of which call failed.

use super::{common, machine};
use crate::common::nr;
use crate::tracer::{Action, Fault, fault};
use rawpipe::Errno;
use rawpipe::fd::{AsFd, OwnedFd};
use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;

pub(crate) type Verdict = Result<(), String>;

/// Makes the enclosing function return a description of the problem if the condition is false.
macro_rules! ensure {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}
pub(crate) use ensure;

/// Returns `len` bytes in which each block of 256 bytes differs from the next block. The bytes are computed
/// once per process.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    static ALL: OnceLock<Vec<u8>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        (0..256_usize << 10).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
    });
    all[..len].to_vec()
}

/// The resources and the signal mask of a process. An operation must leave both unchanged.
pub(crate) struct Holdings {
    fds: BTreeSet<i32>,
    mapped: usize,
    blocked: String,
}

impl Holdings {
    /// Records the current resources. Call this function after creating everything that the operation
    /// receives.
    pub(crate) fn now() -> Self {
        // The first inspection may allocate memory, so its result is discarded.
        let _ = (common::open_fds(), mapped(), blocked());
        Self { fds: common::open_fds(), mapped: mapped(), blocked: blocked() }
    }

    /// Checks that the resources are unchanged after the result of the operation is dropped, and that no
    /// child remains. However, `kept` more bytes may stay mapped for the next operation.
    pub(crate) fn unchanged(&self, kept: usize) -> Verdict {
        let fds = common::open_fds();
        ensure!(fds == self.fds, "descriptors: {:?} before, {fds:?} after", self.fds);
        let mapped = mapped();
        // If `brk` fails, the C library maps memory instead and does not unmap it.
        let allocator = fault().is_some_and(|fault| fault.key.nr == machine::BRK);
        let allowed = mapped == self.mapped || mapped == self.mapped + kept;
        ensure!(allocator || allowed, "mapped: {} before, {mapped} after", self.mapped);
        let blocked = blocked();
        ensure!(blocked == self.blocked, "signals: {} before, {blocked} after", self.blocked);
        childless()
    }
}

/// Returns the line of `/proc/self/status` that lists the blocked signals.
fn blocked() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    status.lines().find(|line| line.starts_with("SigBlk")).expect("a mask").to_owned()
}

/// Returns the total size of all mappings, except the heap and the stack.
fn mapped() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    let size = |line: &str| {
        let (range, _) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(address(end)? - address(start)?)
    };
    let counted =
        maps.lines().filter(|line| !line.ends_with("[heap]") && !line.ends_with("[stack]"));
    counted.filter_map(size).sum()
}

/// Checks that no running child and no zombie remains. A child may remain if an error was injected into a
/// call that waits for a child or sends a signal to a child.
fn childless() -> Verdict {
    unsafe extern "C" {
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }
    const NO_HANG: i32 = 1;
    let mut status = 0;
    // SAFETY: the call writes one number to the given address.
    let left = unsafe { waitpid(-1, &raw mut status, NO_HANG) };
    let disowned = injected(|fault| {
        let nr = fault.key.nr;
        let of_a_child = [nr::WAITID, nr::KILL, nr::PIDFD_SEND_SIGNAL];
        matches!(fault.action, Action::Error(_))
            && of_a_child.contains(&nr)
            && error_is(fault, &[Errno::ECHILD, Errno::ESRCH, Errno::EINTR])
    });
    ensure!(left < 0 || disowned, "a child is left: {left}, status {status}");
    Ok(())
}

/// Returns whether an injected fault satisfies `holds`.
pub(crate) fn injected(holds: impl Fn(&Fault) -> bool) -> bool {
    fault().is_some_and(|fault| holds(&fault))
}

pub(crate) fn error_is(fault: &Fault, errnos: &[Errno]) -> bool {
    matches!(fault.action, Action::Error(raw) if errnos.iter().any(|it| it.raw_os_error() == raw))
}

/// Returns whether one of `errnos` was injected into one of `calls` outside a child.
pub(crate) fn failed(calls: &[usize], errnos: &[Errno]) -> bool {
    injected(|fault| !fault.key.child && calls.contains(&fault.key.nr) && error_is(fault, errnos))
}

pub(crate) fn shortened() -> bool {
    injected(|fault| matches!(fault.action, Action::Short(_)))
}

/// Returns whether this errno was injected. `ENOMEM` also counts if `EAGAIN` was injected into `mmap`,
/// because the crate converts that error.
pub(crate) fn is_injected(errno: Errno) -> bool {
    let no_memory = errno == Errno::ENOMEM && failed(&[nr::MMAP], &[Errno::EAGAIN]);
    no_memory || injected(|fault| error_is(fault, &[errno]))
}

/// Reads a descriptor until end of file, or until a nonblocking read fails with `EAGAIN`.
pub(crate) fn rest_of(fd: impl AsFd) -> Vec<u8> {
    let mut rest = Vec::new();
    let fd: OwnedFd = fd.as_fd().try_clone_to_owned().expect("a duplicate");
    let mut buf = [0; 65_536];
    loop {
        match rawpipe::read(&fd, &mut buf) {
            Ok(0) | Err(Errno::EAGAIN) => return rest,
            Ok(count) => rest.extend_from_slice(&buf[..count]),
            Err(Errno::EINTR) => {}
            Err(errno) => panic!("reading what is left: {errno}"),
        }
    }
}
