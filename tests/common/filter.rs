//! Provides seccomp filters that make system calls fail, or that kill the process. With such a filter, a test
//! can imitate a kernel that lacks a call.
#![allow(unsafe_code, reason = "a call that the crate has no name for")]

use super::nr;
use super::{Tool, child, skip, tool};
use rawpipe::{Errno, raw};

/// A seccomp filter that rejects certain system calls.
pub(crate) struct Filter(Vec<Instruction>);

/// The comparison that [`Filter::on_argument`] makes.
pub(crate) enum Value {
    Is(u32),
    Has(u32),
}

/// `struct sock_filter`.
#[repr(C)]
struct Instruction(u16, u8, u8, u32);

impl Filter {
    pub(crate) fn new(calls: &[usize], errno: Errno) -> Self {
        const LOAD_WORD: u16 = 0x20;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        const ERRNO: u32 = 0x0005_0000;
        const ALLOW: u32 = 0x7fff_0000;
        // The filter also rejects Valgrind's calls. Valgrind ends the process if it cannot change the signal
        // mask. The kernel rejects an empty filter.
        if calls.contains(&nr::RT_SIGPROCMASK) && tool() == Some(Tool::Valgrind) {
            return Self(Vec::new());
        }
        let refusal = ERRNO | errno.raw_os_error().unsigned_abs();
        let mut filter = vec![Instruction(LOAD_WORD, 0, 0, 0)]; // the system call number
        for call in calls {
            let number = u32::try_from(*call).expect("a small number");
            filter.push(Instruction(JUMP_IF_EQUAL, 0, 1, number));
            filter.push(Instruction(RETURN, 0, 0, refusal));
        }
        filter.push(Instruction(RETURN, 0, 0, ALLOW));
        Self(filter)
    }

    /// Creates a filter that checks the low 32 bits of the argument at `index`. The filter rejects `call` if
    /// these bits equal the value (`Is`), or if they include at least one bit of the value (`Has`).
    pub(crate) fn on_argument(call: usize, index: u32, value: Value, errno: Errno) -> Self {
        const LOAD_WORD: u16 = 0x20;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const JUMP_IF_ANY_BIT: u16 = 0x45;
        let mut filter = Self::new(&[call], errno).0;
        let low_half = 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 };
        let (jump, value) = match value {
            Value::Is(value) => (JUMP_IF_EQUAL, value),
            Value::Has(bits) => (JUMP_IF_ANY_BIT, bits),
        };
        // The new instructions are inserted between the check of the call number and the return of the error.
        filter[1] = Instruction(JUMP_IF_EQUAL, 0, 3, filter[1].3);
        filter.insert(2, Instruction(LOAD_WORD, 0, 0, low_half));
        filter.insert(3, Instruction(jump, 0, 1, value));
        Self(filter)
    }

    /// Makes the filter kill the process with `SIGSYS` instead of returning an error. The signal shows that
    /// the process has made the call.
    pub(crate) fn that_kills(mut self) -> Self {
        const RETURN: u16 = 0x06;
        const ALLOW: u32 = 0x7fff_0000;
        const KILL_PROCESS: u32 = 0x8000_0000;
        let refusals = self.0.iter_mut().filter(|step| step.0 == RETURN && step.3 != ALLOW);
        refusals.for_each(|step| step.3 = KILL_PROCESS);
        self
    }

    /// Installs the filter for this thread, and for the children and programs that this thread starts later.
    /// Returns whether the kernel accepts the filter. User-mode emulators reject filters, and Valgrind allows
    /// no filter that rejects `rt_sigprocmask`. The function does not allocate.
    pub(crate) fn install(&self) -> bool {
        const PR_SET_SECCOMP: usize = 22;
        const PR_SET_NO_NEW_PRIVS: usize = 38;
        const SECCOMP_MODE_FILTER: usize = 2;
        /// `struct sock_fprog`.
        #[repr(C)]
        struct Program(u16, *const Instruction);

        let program = Program(u16::try_from(self.0.len()).expect("short"), self.0.as_ptr());
        let place = (&raw const program).expose_provenance();
        // SAFETY: the call reads only integers.
        let silent = unsafe { raw::syscall5(nr::PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let mode = SECCOMP_MODE_FILTER;
        // SAFETY: the call reads the program and its instructions. Both remain valid during the call.
        let answer = unsafe { raw::syscall5(nr::PRCTL, PR_SET_SECCOMP, mode, place, 0, 0) };
        (silent, answer) == (0, 0)
    }
}

/// The exit code that the child of [`filtered`] returns if the kernel or an emulator rejects the [`Filter`].
pub(crate) const NO_FILTER: u8 = 77;

/// Runs `body` in a child. `body` installs a [`Filter`] or returns [`NO_FILTER`]. Panics if the child's exit
/// code is neither 0 nor [`NO_FILTER`]. If no filter can be installed, reports that the test is skipped and
/// returns `false`.
#[track_caller]
pub(crate) fn filtered(
    test: &str,
    what: &dyn std::fmt::Display,
    body: impl FnOnce() -> u8,
) -> bool {
    let code = child(body).wait().unwrap().code();
    let possible = code != Some(NO_FILTER.into());
    if possible {
        assert_eq!(code, Some(0), "{what}");
    } else {
        skip(test, "no seccomp filter here");
    }
    possible
}

/// Returns a filter that rejects `CLONE_PIDFD` in `clone`, as some emulators do.
pub(crate) fn no_pidfd_by_clone() -> Filter {
    const CLONE_PIDFD: u32 = 0x1000;
    let index = u32::from(cfg!(target_arch = "s390x"));
    Filter::on_argument(nr::CLONE, index, Value::Has(CLONE_PIDFD), Errno::EINVAL)
}
