//! Changes the registers that hold the number, the arguments and the result of a system call. Also defines
//! the numbers of system calls that the crate does not make.

pub(crate) use here::*;

/// The index of the flags among the arguments of `clone`.
pub(crate) const CLONE_FLAGS: usize = 0;

/// `NT_PRSTATUS`: the general registers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const GENERAL: u64 = 1;

#[cfg(target_arch = "x86_64")]
mod here {
    use super::super::tracer::{register_set, set_register_set};
    use super::GENERAL;

    pub(crate) const KNOWN: bool = true;
    pub(crate) const PTRACE: usize = 101;
    pub(crate) const BRK: usize = 12;
    pub(crate) const MREMAP: usize = 25;
    pub(crate) const WAIT4: usize = 61;

    /// The size of `struct user_regs_struct`, in words.
    const WORDS: usize = 27;
    const ANSWER: usize = 10;
    const NUMBER: usize = 15;
    /// The index of the argument that shares a register with the result: none on this architecture.
    pub(crate) const ANSWER_ARGUMENT: usize = usize::MAX;
    const ARGUMENTS: [usize; 6] = [14, 13, 12, 7, 9, 8];

    fn set(pid: i32, index: usize, word: u64) -> bool {
        let mut all = [0; WORDS * 8];
        let got = register_set(pid, GENERAL, &mut all);
        all[index * 8..][..8].copy_from_slice(&word.to_ne_bytes());
        got && set_register_set(pid, GENERAL, &all)
    }

    pub(crate) fn skip_call(pid: i32) -> bool {
        set(pid, NUMBER, u64::MAX)
    }

    pub(crate) fn set_argument(pid: i32, index: usize, word: u64) -> bool {
        set(pid, ARGUMENTS[index], word)
    }

    pub(crate) fn set_answer(pid: i32, answer: i64) -> bool {
        set(pid, ANSWER, u64::from_ne_bytes(answer.to_ne_bytes()))
    }
}

#[cfg(target_arch = "aarch64")]
mod here {
    use super::super::tracer::{register_set, set_register_set};
    use super::GENERAL;

    pub(crate) const KNOWN: bool = true;
    pub(crate) const PTRACE: usize = 117;
    pub(crate) const BRK: usize = 214;
    pub(crate) const MREMAP: usize = 216;
    pub(crate) const WAIT4: usize = 260;

    /// The size of `struct user_pt_regs`, in words.
    const WORDS: usize = 34;
    /// `NT_ARM_SYSTEM_CALL`: the system call number, an `int`.
    const NUMBER: u64 = 0x404;
    /// The index of the argument that shares a register with the result.
    pub(crate) const ANSWER_ARGUMENT: usize = 0;

    fn set(pid: i32, index: usize, word: u64) -> bool {
        let mut all = [0; WORDS * 8];
        let got = register_set(pid, GENERAL, &mut all);
        all[index * 8..][..8].copy_from_slice(&word.to_ne_bytes());
        got && set_register_set(pid, GENERAL, &all)
    }

    pub(crate) fn skip_call(pid: i32) -> bool {
        set_register_set(pid, NUMBER, &(-1_i32).to_ne_bytes())
    }

    pub(crate) fn set_argument(pid: i32, index: usize, word: u64) -> bool {
        set(pid, index, word)
    }

    pub(crate) fn set_answer(pid: i32, answer: i64) -> bool {
        set(pid, 0, u64::from_ne_bytes(answer.to_ne_bytes()))
    }
}

/// Tests that need the tracer are skipped on all other architectures.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod here {
    pub(crate) const KNOWN: bool = false;
    pub(crate) const PTRACE: usize = usize::MAX;
    pub(crate) const BRK: usize = usize::MAX;
    pub(crate) const MREMAP: usize = usize::MAX;
    pub(crate) const WAIT4: usize = usize::MAX;
    pub(crate) const ANSWER_ARGUMENT: usize = usize::MAX;

    pub(crate) fn skip_call(_pid: i32) -> bool {
        false
    }
    pub(crate) fn set_argument(_pid: i32, _index: usize, _word: u64) -> bool {
        false
    }
    pub(crate) fn set_answer(_pid: i32, _answer: i64) -> bool {
        false
    }
}
