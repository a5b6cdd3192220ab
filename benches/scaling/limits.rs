//! Measures the limits that no library can exceed, with minimal code that has no fallbacks.
//!
//! - `trap`: a system call with minimal work (`getppid`), made with [`raw::syscall0`].
//! - `write_read`: a write of one byte to a pipe, and a read of that byte, which together make two traps.
//! - `copy`: a `memcpy` of 64 KiB, which fits in the caches of most processors. The figure is the throughput
//!   of a single copy.
//! - `copy_large`: a `memcpy` of 64 MiB, which exceeds the caches of most processors.
//! - `lend`: two processes on two CPUs. One process repeatedly lends pages to a pipe of `Capacity::Max`, and
//!   the other splices these pages to `/dev/null`. The memory consists of huge pages if the kernel supports
//!   them. Both processes repeat nonblocking calls and never sleep. Neither process reads the bytes. This row
//!   serves only as a limit.

use super::common::*;
use rawpipe::io::IoSlice;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{SpliceFlags, splice, vmsplice};
use rawpipe::{Errno, raw};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

/// The numbers of the system calls.
mod nr {
    const fn of(x86_64: usize, generic: usize) -> usize {
        if cfg!(target_arch = "x86_64") { x86_64 } else { generic }
    }

    pub(super) const GETPPID: usize = of(110, 173);
    pub(super) const MADVISE: usize = of(28, 233);
    pub(super) const READ: usize = of(0, 63);
    pub(super) const WRITE: usize = of(1, 64);
}

pub(crate) fn all() -> io::Result<()> {
    println!("# limit\tunit\tmedian");
    print("trap", "ns", &mut || {
        per(1_000_000, || {
            // SAFETY: the call has no arguments and accesses no memory.
            black_box(unsafe { raw::syscall0(nr::GETPPID) });
        })
    })?;
    let (reader, writer) = rawpipe::pipe()?;
    let (mut byte, number) =
        ([1_u8], |fd: &dyn std::os::fd::AsRawFd| fd.as_raw_fd().unsigned_abs() as usize);
    let (from, to, place) =
        (number(&reader), number(&writer), byte.as_mut_ptr().expose_provenance());
    print("write_read", "ns", &mut || {
        per(300_000, || {
            // SAFETY: the call reads the one byte of the array, which outlives the call.
            black_box(unsafe { raw::syscall3(nr::WRITE, to, place, 1) });
            // SAFETY: the call writes the one byte of the array, which no other code accesses during the
            // call.
            black_box(unsafe { raw::syscall3(nr::READ, from, place, 1) });
        })
    })?;
    copy("copy", 64 << 10, 20_000)?;
    copy("copy_large", 64 << 20, 5)?;
    print("lend", "GiB/s", &mut lend)
}

fn print(name: &str, unit: &str, measure: &mut dyn FnMut() -> io::Result<f64>) -> io::Result<()> {
    measure()?; // warms up
    let values: io::Result<Vec<_>> = (0..super::ROUNDS).map(|_| measure()).collect();
    println!("{name}\t{unit}\t{:.2}", super::median(values?));
    Ok(())
}

/// Returns the time per turn in nanoseconds.
fn per(turns: u32, mut work: impl FnMut()) -> io::Result<f64> {
    let clock = Instant::now();
    (0..turns).for_each(|_| work());
    Ok(clock.elapsed().as_secs_f64() * 1e9 / f64::from(turns))
}

fn copy(name: &str, len: usize, turns: u32) -> io::Result<()> {
    let (from, mut to) = (vec![1_u8; len], vec![2_u8; len]);
    #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
    let gib = len as f64 / super::GIB;
    print(name, "GiB/s", &mut || {
        let nanos = per(turns, || black_box(&mut to).copy_from_slice(black_box(&from)))?;
        Ok(gib / (nanos / 1e9))
    })
}

/// Returns the throughput, in GiB/s, of pages that are lent and then discarded.
fn lend() -> io::Result<f64> {
    const ALL: u64 = 16 << 30;
    const LEN: usize = 2 << 20;
    let (reader, writer) = Builder::new().capacity(Capacity::Max).nonblocking().build()?;
    let mut source = Some(writer);
    let null = File::options().write(true).open("/dev/null")?;
    let (reports, reporter) = rawpipe::pipe()?;
    let sink = start(|| {
        source = None; // closes the child's copy
        Place::Apart.take(false)?;
        reporter.write_all(b"r")?;
        let mut left = ALL;
        while left > 0 {
            match splice(&reader, None, &null, None, LEN, SpliceFlags::NONBLOCK) {
                Ok(count) => left -= count as u64,
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })?;
    let writer = source.expect("only the child's copy was closed");
    let (report, told) = rawpipe::pipe()?;
    let lender = start(|| {
        Place::Apart.take(true)?;
        let pages = huge(LEN)?;
        report.read(&mut [0])?; // waits for the start signal
        let mut left = ALL;
        while left > 0 {
            let bufs = [IoSlice::new(&pages[..LEN.min(usize::try_from(left).unwrap_or(LEN))])];
            // SAFETY: no code writes to these pages again before the process ends.
            match unsafe { vmsplice(&writer, &bufs, SpliceFlags::NONBLOCK) } {
                Ok(count) => left -= count as u64,
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })?;
    reports.read(&mut [0])?;
    let clock = Instant::now();
    told.write_all(b"g")?;
    finish(lender)?;
    finish(sink)?;
    let seconds: Duration = clock.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
    let gib = ALL as f64 / super::GIB;
    Ok(gib / seconds.as_secs_f64())
}

/// Allocates memory, in huge pages if the kernel supports them, and touches every page.
fn huge(len: usize) -> io::Result<&'static [u8]> {
    const MADV_HUGEPAGE: usize = 14;
    let memory = vec![0_u8; 2 * len].leak();
    let start = memory.as_ptr().align_offset(len);
    let pages = &mut memory[start..][..len];
    // SAFETY: the call only advises the kernel about the page size of this memory.
    unsafe {
        raw::syscall3(nr::MADVISE, pages.as_mut_ptr().expose_provenance(), len, MADV_HUGEPAGE)
    };
    pages.fill(1);
    Ok(pages)
}
