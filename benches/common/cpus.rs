//! Chooses the CPUs on which processes run.
#![allow(unsafe_code, reason = "the C library's functions for it")]

use std::io;
use std::sync::OnceLock;

/// The CPUs on which the processes of a row run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The scheduler chooses the CPUs. The throughput of two processes may then vary several-fold between
    /// runs.
    Free,
    /// If this process may use at least two CPUs, the source runs on one CPU and all other processes run on
    /// another.
    Apart,
    /// All processes run on one CPU.
    Together,
}

impl Place {
    /// The placements whose results are repeatable.
    pub(crate) const PINNED: [Self; 2] = [Self::Apart, Self::Together];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Apart => "two",
            Self::Together => "one",
        }
    }

    /// Pins this process to the CPU for its role, except with [`Place::Free`].
    pub(crate) fn take(self, is_source: bool) -> io::Result<()> {
        let allowed = Cpus::allowed()?;
        let mut cpus = allowed.each();
        let cpu = match self {
            Self::Free => return Ok(()),
            Self::Apart if is_source => cpus.last(),
            Self::Apart | Self::Together => cpus.next(),
        };
        cpu.expect("this process runs on one").stay()
    }

    /// Pins this process to the CPU of the source, except with [`Place::Free`], and runs `work`. Afterwards,
    /// this process may use all allowed CPUs again.
    pub(crate) fn during<T>(self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let all = Cpus::allowed()?;
        self.take(true)?;
        let result = work();
        all.stay()?;
        result
    }
}

/// A set of CPUs in the kernel's format, with one bit for each CPU.
#[derive(Clone, Copy)]
pub(crate) struct Cpus([usize; Self::WORDS]);

unsafe extern "C" {
    fn sched_getaffinity(pid: i32, size: usize, mask: *mut usize) -> i32;
    fn sched_setaffinity(pid: i32, size: usize, mask: *const usize) -> i32;
}

impl Cpus {
    const WORDS: usize = 1024 / usize::BITS as usize;

    /// Returns the CPUs that this program was allowed to use when this function was first called. A child
    /// process inherits this value, even if the parent was pinned to a CPU after the first call.
    pub(crate) fn allowed() -> io::Result<Self> {
        static FIRST: OnceLock<Cpus> = OnceLock::new();
        if let Some(first) = FIRST.get() {
            return Ok(*first);
        }
        let mut set = Self([0; Self::WORDS]);
        // SAFETY: the call writes only to the mask, whose size is passed.
        let result = unsafe { sched_getaffinity(0, size_of_val(&set.0), set.0.as_mut_ptr()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(*FIRST.get_or_init(|| set)) }
    }

    /// Returns, for each CPU in this set, a set that contains only that CPU.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            (0..usize::BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| {
                let mut one = Self([0; Self::WORDS]);
                one.0[index] = 1 << bit;
                one
            })
        })
    }

    /// Pins this process to the CPUs in this set.
    pub(crate) fn stay(&self) -> io::Result<()> {
        // SAFETY: the call reads the mask, whose size is passed.
        let result = unsafe { sched_setaffinity(0, size_of_val(&self.0), self.0.as_ptr()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
