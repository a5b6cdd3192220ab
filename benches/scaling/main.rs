//! Measures how std and rawpipe scale, and the limits above both: `scaling SERIES` prints one series as a data file.
//!
//! - `chunk`: bytes that are made → pipe → another process, which sums them; and, as a limit, a file → pipe →
//!   `/dev/null`; by the length of a chunk: the throughput, and the CPU time of all processes.
//! - `capacity`: the same by the capacity of the pipe.
//! - `pipes`: so many pipes at the same time, each between two processes of its own, which together move the same
//!   bytes.
//! - `spawn`: starting a program and waiting for it, by the memory of this process.
//! - `epoll`: one ready pipe among so many.
//! - `summed`: bytes made in one process and summed in another, by the length of a chunk, the CPUs and what else runs;
//!   see [`summed`]. `scaling summed ROUNDS MILLISECONDS` sets the number of rounds, and the approximate duration of a
//!   turn.
//! - `limits`: the limits that no library can exceed: the trap alone, memory copied, pages lent and spliced by hand.
//!
//! `std` has page-aligned buffers and `std-vec` plain ones; a ratio is to the better one. Engines take turns, in [`ROUNDS`] rounds (`summed` has more). A figure is the median of its
//! rounds, and a ratio to std is the median of the ratios in each round.
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe, to compare with")]
#![allow(unsafe_code, reason = "the C library's calls, to compare with, and pages lent by hand")]

#[path = "../common/mod.rs"]
mod common;
mod limits;
#[path = "../common/programs.rs"]
mod programs;
mod summed;

use common::*;
use programs::{MAPPED, PLAIN, Tiny, starts};
use rawpipe::event::{Epoll, Event, PollEvents, PollFd, poll};
use rawpipe::pipe::{Builder, Capacity};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, io};

const ROUNDS: usize = 7;

fn main() -> io::Result<()> {
    let series = env::args().nth(1).unwrap_or_default();
    match series.as_str() {
        "chunk" => chunk(),
        "capacity" => capacity(),
        "pipes" => pipes(),
        "spawn" => spawn(),
        "epoll" => epoll(),
        "summed" => summed::all(),
        "limits" => limits::all(),
        "machine" => {
            println!("{}", machine::line());
            Ok(())
        }
        _ => {
            Err(io::Error::other("scaling chunk|capacity|pipes|spawn|epoll|summed|limits|machine"))
        }
    }
}

// ---------------------------------------------------------------- what the series share

type Turn<'a> = (&'static str, Box<dyn FnMut() -> io::Result<Taken> + 'a>);

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures each engine in each round.
fn take_turns(turns: &mut [Turn<'_>], rounds: usize) -> io::Result<Vec<Vec<Taken>>> {
    let mut taken = vec![Vec::new(); turns.len()];
    for (_, turn) in &mut *turns {
        turn()?; // warm-up
    }
    for round in 0..rounds {
        for index in 0..turns.len() {
            // The order alternates, so that no engine always follows the same one.
            let index = if round % 2 == 0 { index } else { turns.len() - 1 - index };
            taken[index].push(turns[index].1()?);
        }
    }
    Ok(taken)
}

/// Returns the index of the engine of std with the best median.
fn best_of_std(turns: &[Turn<'_>], taken: &[Vec<Taken>]) -> usize {
    let clock =
        |index: usize| median(taken[index].iter().map(|taken| taken.clock.as_secs_f64()).collect());
    (0..turns.len())
        .filter(|index| *index == 0 || turns[*index].0.contains("std"))
        .min_by(|one, other| clock(*one).total_cmp(&clock(*other)))
        .expect("the first one")
}

/// Prints a line for each engine: size, engine, and the medians of `value`, of the CPU time of a unit, and of the ratio
/// to the best engine of std (above 1: this one is faster). A turn consists of `units`.
fn rounds(
    size: usize,
    turns: &mut [Turn<'_>],
    units: f64,
    value: fn(f64) -> f64,
) -> io::Result<()> {
    let taken = take_turns(turns, ROUNDS)?;
    let std = best_of_std(turns, &taken);
    for (index, (engine, _)) in turns.iter().enumerate() {
        let seconds = |taken: &Taken| taken.clock.as_secs_f64() / units;
        let clock = median(taken[index].iter().map(seconds).collect());
        let cpu =
            median(taken[index].iter().map(|taken| taken.cpu.as_secs_f64() / units).collect());
        let ratios =
            taken[std].iter().zip(&taken[index]).map(|(std, this)| seconds(std) / seconds(this));
        println!(
            "{size}\t{engine}\t{:.5}\t{cpu:.9}\t{:.3}",
            value(clock),
            median(ratios.collect())
        );
    }
    Ok(())
}

const GIB: f64 = 1_073_741_824.0;

/// Measures a series of moves, whose figures are GiB/s and CPU seconds for each GiB.
fn series(
    input: &Input,
    size: usize,
    bytes: u64,
    engines: Vec<(&'static str, Move)>,
) -> io::Result<()> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (name, work) in engines {
        turns.push((name, Box::new(move || Ok(work.run(input, bytes)?.taken))));
    }
    #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
    let units = bytes as f64 / GIB;
    rounds(size, &mut turns, units, |seconds| 1.0 / seconds)
}

// ---------------------------------------------------------------- chunk and capacity

fn chunk() -> io::Result<()> {
    println!("# chunk (bytes)\tengine\tGiB/s\tCPU seconds per GiB\tratio to std");
    let input = Input::new()?;
    for shift in 0..=22 {
        let chunk = 1_usize << shift;
        // At most about a fifth of a second with short chunks, and with long ones more than the caches hold.
        let bytes = (chunk as u64 * 100_000).clamp(1 << 16, 128 << 20);
        let of = |work| Move { period: chunk, chunk, ..work };
        let file = |source, mover, work| Move { source, chunk, sink: Sink::Null(mover), ..work };
        let engines = vec![
            ("std", of(STD_FILLED)),
            ("rawpipe", of(CHUNKS_FILLED)),
            ("rawpipe-afterread", of(CHUNKS_FILLED_AFTER_READ)),
            ("std-vec", Move { vec: true, ..of(STD_FILLED) }),
        ];
        let engines =
            engines.into_iter().filter(|(name, _)| *name != "std-vec" || chunk >= 64 * KIB);
        series(&input, chunk, bytes, engines.collect())?;
        if chunk >= 512 {
            let engines = vec![
                ("file-std", file(read_and_write, io_copy_to_file, STD_FILE)),
                ("file-rawpipe", file(transfer_file_by_chunks, transfer_by_chunks, RAW_FILE)),
            ];
            series(&input, chunk, bytes, engines)?;
        }
    }
    Ok(())
}

/// The capacity of the pipes of the next turn. A static, because a [`Link`] is a function and not a closure.
static CAPACITY: AtomicUsize = AtomicUsize::new(0);

fn link_of_capacity() -> io::Result<(OwnedFd, OwnedFd)> {
    let capacity = Capacity::Bytes(CAPACITY.load(Ordering::Relaxed));
    let (reader, writer) = Builder::new().capacity(capacity).build()?;
    Ok((reader.into(), writer.into()))
}

fn capacity() -> io::Result<()> {
    println!("# capacity (bytes)\tengine\tGiB/s\tCPU seconds per GiB\tratio to std");
    let input = Input::new()?;
    for shift in 12..=20 {
        let capacity = 1 << shift;
        CAPACITY.store(capacity, Ordering::Relaxed);
        let link = link_of_capacity;
        let chunk = 64 * KIB;
        let of = |work| Move { link, period: chunk, chunk, ..work };
        let engines = vec![
            // std cannot create a pipe of another size, so only the calls are std's.
            ("std", of(STD_FILLED)),
            ("rawpipe", of(CHUNKS_FILLED)),
        ];
        series(&input, capacity, 64 << 20, engines)?;
        let file =
            |source, mover, work| Move { link, source, chunk, sink: Sink::Null(mover), ..work };
        let engines = vec![
            ("file-std", file(read_and_write, io_copy_to_file, STD_FILE)),
            ("file-rawpipe", file(transfer_file_by_chunks, transfer_by_chunks, RAW_FILE)),
        ];
        series(&input, capacity, 64 << 20, engines)?;
    }
    Ok(())
}

// ---------------------------------------------------------------- pipes at once

/// Each pipe has a process that measures only itself. The clock of this function stops when all have ended.
fn pipes() -> io::Result<()> {
    println!("# pipes at once\tengine\tGiB/s\tCPU seconds per GiB\tratio to std");
    const ALL: u64 = 256 << 20;
    let input = Input::new()?;
    for shift in 0..=6 {
        let count = 1 << shift;
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for (name, work) in [
            ("std", STD_FILLED),
            ("rawpipe", Move { period: 256 * KIB, chunk: 256 * KIB, ..CHUNKS_FILLED }),
        ] {
            let input = &input;
            turns.push((name, Box::new(move || at_once(&work, input, count, ALL))));
        }
        #[expect(clippy::cast_precision_loss, reason = "a measured amount")]
        let units = ALL as f64 / GIB;
        rounds(count, &mut turns, units, |seconds| 1.0 / seconds)?;
    }
    Ok(())
}

fn at_once(work: &Move, input: &Input, count: usize, all: u64) -> io::Result<Taken> {
    let bytes = all / count as u64;
    Taken::by(|| {
        let children: Result<Vec<_>, _> =
            (0..count).map(|_| start(|| work.run(input, bytes).map(drop))).collect();
        children?.into_iter().try_for_each(finish)
    })
}

// ---------------------------------------------------------------- spawn

fn spawn() -> io::Result<()> {
    const TURNS: u32 = 20;
    println!("# resident memory (MiB)\tengine\tmicroseconds\tCPU seconds\tratio to std");
    let tiny = Tiny::new()?;
    for mib in [0, 16, 64, 256, 1024, 2048, 4096] {
        for (prefix, engines) in [("", &PLAIN), ("mapped-", &MAPPED)] {
            let mut turns: Vec<Turn<'_>> = Vec::new();
            let starts = starts(Place::Together, tiny.path(), (mib, false), engines);
            for (engine, mut start) in starts {
                let name = format!("{prefix}{engine}");
                turns.push((name.leak(), Box::new(move || Ok(start(TURNS.into())?.taken))));
            }
            rounds(mib, &mut turns, f64::from(TURNS), |seconds| seconds * 1e6)?;
        }
    }
    Ok(())
}

// ---------------------------------------------------------------- epoll

fn epoll() -> io::Result<()> {
    const RLIMIT_NOFILE: i32 = 7;
    unsafe extern "C" {
        fn setrlimit(resource: i32, limit: *const [u64; 2]) -> i32;
        fn epoll_wait(epoll: i32, events: *mut Event, room: i32, timeout: i32) -> i32;
        fn ppoll(
            fds: *mut PollFd<'_>,
            count: usize,
            timeout: *const [u64; 2],
            mask: *const u8,
        ) -> i32;
    }
    // SAFETY: reads two words, the soft limit and the hard one. If they are too high, creating the pipes fails.
    unsafe { setrlimit(RLIMIT_NOFILE, &[20_200; 2]) };
    println!("# pipes\tengine\tnanoseconds\tCPU seconds\tratio to std");
    for count in [10, 100, 1000, 10_000] {
        let turns_each: u32 = if count == 10_000 { 200 } else { 2000 };
        // Or as many as are allowed, minus a few descriptors.
        let mut pipes: Vec<_> = (0..count).map_while(|_| rawpipe::pipe().ok()).collect();
        if pipes.len() < count {
            pipes.truncate(pipes.len() - 10);
        }
        let count = pipes.len();
        pipes[count / 2].1.write_all(b"x")?;
        let list = Epoll::new()?;
        for (token, (reader, _)) in (0..).zip(&pipes) {
            list.add(reader, PollEvents::IN, token)?;
        }
        let mut fds: Vec<_> =
            pipes.iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect();
        let mut same: Vec<_> =
            pipes.iter().map(|(reader, _)| PollFd::new(reader, PollEvents::IN)).collect();
        let number = list.as_fd().as_raw_fd();
        let (mut buf, mut room) = ([Event::default(); 16], [Event::default(); 16]);
        let timed = |work: &mut dyn FnMut() -> bool| {
            Taken::by(|| {
                let found = (0..turns_each).all(|_| work());
                require(found, || "not the one that is ready".into())
            })
        };
        let list = &list;
        let mut turns: Vec<Turn<'_>> = vec![
            // SAFETY: room for 16 events, which have the layout of `struct epoll_event`.
            (
                "std",
                Box::new(|| {
                    timed(&mut || unsafe { epoll_wait(number, room.as_mut_ptr(), 16, 0) } == 1)
                }),
            ),
            (
                "rawpipe",
                Box::new(|| {
                    timed(&mut || {
                        list.wait(&mut buf, Some(Duration::ZERO))
                            .is_ok_and(|found| found.len() == 1)
                    })
                }),
            ),
        ];
        rounds(count, &mut turns, f64::from(turns_each), |seconds| seconds * 1e9)?;
        drop(turns);
        let mut turns: Vec<Turn<'_>> = vec![
            (
                "poll-std",
                Box::new(|| {
                    timed(&mut || {
                        // SAFETY: `PollFd` has the layout of `struct pollfd`, the length is the list's,
                        // and the time is readable.
                        (unsafe { ppoll(fds.as_mut_ptr(), fds.len(), &[0; 2], std::ptr::null()) })
                            == 1
                    })
                }),
            ),
            (
                "poll-rawpipe",
                Box::new(|| timed(&mut || poll(&mut same, Some(Duration::ZERO)) == Ok(1))),
            ),
        ];
        rounds(count, &mut turns, f64::from(turns_each), |seconds| seconds * 1e9)?;
    }
    Ok(())
}
