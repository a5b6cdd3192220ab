//! The elapsed time of a measurement, and the CPU time of all its processes.
#![allow(unsafe_code, reason = "the C library's functions for it")]

use std::ffi::c_long;
use std::io;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) clock: Duration,
    pub(crate) cpu: Duration,
}

impl Taken {
    /// Measures `work`, which runs in this process and in child processes that `work` waits for.
    pub(crate) fn by(work: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        let (before, clock) = (spent(), Instant::now());
        work()?;
        let clock = clock.elapsed();
        Ok(Self { clock, cpu: spent().saturating_sub(before) })
    }

    /// Measures `count` repetitions of `work`.
    pub(crate) fn repeated<T>(
        count: u64,
        mut work: impl FnMut() -> io::Result<T>,
    ) -> io::Result<Self> {
        Self::by(|| (0..count).try_for_each(|_| work().map(drop)))
    }

    pub(crate) fn mul_f64(self, factor: f64) -> Self {
        Self { clock: self.clock.mul_f64(factor), cpu: self.cpu.mul_f64(factor) }
    }
}

impl AddAssign for Taken {
    fn add_assign(&mut self, other: Self) {
        self.clock += other.clock;
        self.cpu += other.cpu;
    }
}

/// Returns the CPU time that this process and all children that it has waited for have used so far.
pub(crate) fn spent() -> Duration {
    unsafe extern "C" {
        fn getrusage(who: i32, usage: *mut [c_long; 64]) -> i32;
    }
    let of = |who| {
        let mut usage = [0; 64]; // begins with two `struct timeval`
        // SAFETY: the call writes one `struct rusage`, which is shorter than this in every C library.
        unsafe { getrusage(who, &raw mut usage) };
        let [seconds, micros, more_seconds, more_micros] =
            [0, 1, 2, 3].map(|at| u64::try_from(usage[at]).unwrap_or(0));
        Duration::from_secs(seconds + more_seconds) + Duration::from_micros(micros + more_micros)
    };
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    of(SELF) + of(CHILDREN)
}

/// Returns the CPU time used so far by a running child.
pub(crate) fn spent_by(pid: u32) -> Duration {
    const SCHEDULER: i32 = 2;
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [c_long; 4]) -> i32;
    }
    let mut time = [0; 4];
    // This expression computes the id of the process's CPU clock in the same way as `clock_getcpuclockid`.
    let clock = !i32::try_from(pid).unwrap_or(0) << 3 | SCHEDULER;
    // SAFETY: the call writes one `struct timespec`, which is at most this long.
    unsafe { clock_gettime(clock, &raw mut time) };
    let [seconds, nanos, ..] = time.map(|part| u64::try_from(part).unwrap_or(0));
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}
