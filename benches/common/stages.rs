//! Processes that report when their preparation is complete, and again when their work is complete.
#![allow(unsafe_code, reason = "fork")]

use super::taken::spent;
use super::{Moved, Place, Taken, require, touched};
use rawpipe::process::{self, Child};
use rawpipe::{PipeReader, PipeWriter};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Forks a process that runs `body`. The process exits with 0, or prints the error and exits with 1.
pub(crate) fn start(body: impl FnOnce() -> io::Result<()>) -> io::Result<Child> {
    // SAFETY: the programs that use this module own only descriptors and memory, and start no threads.
    // (`Input::new` checks the number of threads.)
    let child = unsafe {
        process::fork_with(|| match body() {
            Ok(()) => 0,
            Err(error) => {
                let _ = io::stderr().write_all(format!("a process: {error}\n").as_bytes());
                1
            }
        })
    };
    Ok(child?)
}

pub(crate) fn finish(mut child: Child) -> io::Result<()> {
    let status = child.wait()?;
    require(status.success(), || format!("a process ended with {status}"))
}

/// Starts a process that pins itself to its CPU, allocates its buffer and reports that it is ready. The
/// process then performs its role and reports the number of bytes moved, the mechanism, and the CPU time of
/// the role.
pub(crate) fn stage(
    place: Place,
    reporter: &PipeWriter,
    number: u8,
    chunk: usize,
    part: impl FnOnce(&mut [u8]) -> io::Result<Moved>,
) -> io::Result<Child> {
    start(|| {
        place.take(number == SOURCE)?;
        let buffer = touched(chunk);
        Report::send(reporter, number, Duration::ZERO, &Moved { bytes: 0, by: "" })?;
        let before = spent();
        let moved = part(buffer)?;
        Report::send(reporter, number, spent().saturating_sub(before), &moved)
    })
}

/// Waits until all stages are ready, and sends the start signal by dropping `go`. Measures from this signal
/// until all stages are done. The CPU time is the sum over all stages, and excludes their preparation.
pub(crate) fn clocked(
    reports: &PipeReader,
    stages: Vec<Child>,
    go: PipeWriter,
) -> io::Result<(Taken, Vec<Report>)> {
    for _ in &stages {
        Report::receive(reports)?; // waits until a stage is ready
    }
    let clock = Instant::now();
    drop(go);
    let done: Result<Vec<_>, _> = stages.iter().map(|_| Report::receive(reports)).collect();
    let clock = clock.elapsed();
    stages.into_iter().try_for_each(finish)?;
    let done = done?;
    let cpu = done.iter().map(|report| report.cpu).sum();
    Ok((Taken { clock, cpu }, done))
}

/// The number of the first stage. The number of the sink is 0.
pub(crate) const SOURCE: u8 = 2;

/// The report that a stage sends twice: when it is ready, and when it has finished.
pub(crate) struct Report {
    pub(crate) bytes: u64,
    cpu: Duration,
    pub(crate) stage: u8,
    pub(crate) by: String,
}

impl Report {
    /// The length of a report, which consists of the byte count, the CPU time, the stage number, and the
    /// NUL-terminated mechanism.
    const LEN: usize = 40;

    fn send(to: &PipeWriter, stage: u8, cpu: Duration, moved: &Moved) -> io::Result<()> {
        let nanos = u64::try_from(cpu.as_nanos()).map_err(io::Error::other)?;
        let mut line = [0; Self::LEN];
        line[..8].copy_from_slice(&moved.bytes.to_le_bytes());
        line[8..16].copy_from_slice(&nanos.to_le_bytes());
        line[16] = stage;
        line[17..][..moved.by.len()].copy_from_slice(moved.by.as_bytes());
        Ok(to.write_all(&line)?)
    }

    fn receive(from: &PipeReader) -> io::Result<Self> {
        let mut line = [0; Self::LEN];
        from.read_exact(&mut line)?;
        let number = |at: usize| u64::from_le_bytes(line[at..][..8].try_into().expect("8 bytes"));
        let by = line[17..].split(|byte| *byte == 0).next().unwrap_or_default();
        let by = String::from_utf8_lossy(by).into_owned();
        Ok(Self { bytes: number(0), cpu: Duration::from_nanos(number(8)), stage: line[16], by })
    }
}
