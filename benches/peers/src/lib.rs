//! The questions that `criterion.rs` and `rounds.rs` measure with std, rawpipe and other crates.
//!
//! [`QUESTIONS`] lists the questions. An [`Engine`] is named after its crate. `rawpipe` is this crate with
//! default settings. A suffix, as in `rawpipe-…` or `…-vmsplice`, names the mode. The calls to the crates are
//! in [`engines`], which has one `impl` for each crate and trait, and in [`summed`]. The code around the
//! calls, in [`work`], is the same for every crate. This crate's own benchmarks share the code that manages
//! the processes and the files, and compares the bytes.

#[path = "../../common/mod.rs"]
mod common;
mod engines;
#[path = "../../common/programs.rs"]
mod programs;
mod summed;
mod work;

use common::summed::{self as ways, Way};
use common::{Input, Move, Place, Sink, Summed};
use engines::{
    Duct, Interprocess, Libc, Nix, OsPipe, Rawpipe, RawpipeSpawn, Rustix, Std, Subprocess,
};
use programs::Tiny;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use work::{Program, Repeated};

/// A task that several crates can perform.
pub struct Question {
    pub name: &'static str,
    /// The description of the task, which `rounds texts` prints.
    pub text: &'static str,
    /// The number of bytes that one repetition moves, if the question measures throughput.
    pub bytes: Option<u64>,
    /// The engines that perform the task, including `rawpipe`.
    pub engines: &'static [Engine],
}

impl Question {
    /// Returns the index of the engine with which all others are compared.
    pub fn own(&self) -> usize {
        let position = |name| self.engines.iter().position(|engine| engine.name == name);
        position("rawpipe-shared").or_else(|| position("rawpipe")).expect("one of them")
    }
}

/// A crate, or one of its modes.
pub struct Engine {
    pub name: &'static str,
    work: Work,
}

enum Work {
    /// A move between processes.
    Move(Move),
    /// A move between processes in chunks of the given length. One process generates the bytes, and the other
    /// sums them.
    Sum(Way, usize),
    Repeat(Repeated),
    /// A function that runs a program, and the number of bytes of the program's input.
    Run(Program, usize),
}

/// The files, the memory and the programs that the measurements use.
pub struct Here {
    input: Input,
    tiny: Tiny,
    program: PathBuf,
}

const KIB: usize = common::KIB;
const MIB: usize = common::MIB;

/// The number of bytes that one repetition moves between processes. If the bytes are summed in chunks shorter
/// than 512 bytes, a repetition moves fewer bytes.
const MOVED: u64 = 16 << 20;

const fn engine(name: &'static str, work: Work) -> Engine {
    Engine { name, work }
}

/// Creates an engine that measures a limit: a move in which no process examines the bytes. The source and the
/// sink are pinned to separate CPUs. Without pinning, the results of one crate may vary by a factor of three.
const fn moves(name: &'static str, work: Move) -> Engine {
    engine(name, Work::Move(Move { place: Place::Apart, ..common::unread(work) }))
}

const fn repeats(name: &'static str, work: Repeated) -> Engine {
    engine(name, Work::Repeat(work))
}

const fn runs(name: &'static str, program: Program, fed: usize) -> Engine {
    engine(name, Work::Run(program, fed))
}

/// Returns the number of chunks of this length in a repetition. The number is at most 32,768.
const fn count(chunk: usize) -> u64 {
    let count = MOVED / chunk as u64;
    if count < 32 << 10 { count } else { 32 << 10 }
}

macro_rules! made_and_summed {
    ($name:literal, $text:literal, $chunk:expr) => {
        Question {
            name: $name,
            text: $text,
            bytes: Some(count($chunk) * $chunk as u64),
            engines: &[
                engine("std", Work::Sum(ways::by_std, $chunk)),
                engine("std-vec", Work::Sum(ways::by_std_vec, $chunk)),
                engine("rawpipe", Work::Sum(ways::by_chunks, $chunk)),
                engine("rawpipe-afterread", Work::Sum(ways::by_chunks_after_read, $chunk)),
                engine("rawpipe-shared", Work::Sum(ways::by_shared, $chunk)),
                engine("rawpipe-shared-adaptive", Work::Sum(ways::by_shared_adaptive, $chunk)),
                engine("rustix-vmsplice", Work::Sum(summed::by_vmsplice::<Rustix>, $chunk)),
                engine("nix-vmsplice", Work::Sum(summed::by_vmsplice::<Nix>, $chunk)),
                engine("shmem-ipc", Work::Sum(summed::by_shmem_ipc, $chunk)),
                engine("ipc_ring", Work::Sum(summed::by_ipc_ring, $chunk)),
            ],
        }
    };
}

pub const QUESTIONS: &[Question] = &[
    made_and_summed!(
        "made_and_summed_64",
        "one process generates every byte and another sums it, on two CPUs, in chunks of 64 bytes. Every \
         crate is compared with `rawpipe-shared`. `-vmsplice` lends a ring of chunks to a pipe of 1 MiB, and \
         refills a chunk once the pipe can no longer hold that chunk. shmem-ipc fills and reads a ring in \
         place, with its unsafe calls for trusted peers; ipc_ring copies into a ring and out of it. Neither \
         ring has an end of file; shmem-ipc never detects the death of its peer, and ipc_ring detects this \
         death only with a timer",
        64
    ),
    made_and_summed!("made_and_summed_4k", "the same with 4 KiB", 4 * KIB),
    made_and_summed!("made_and_summed_64k", "the same with 64 KiB", 64 * KIB),
    made_and_summed!("made_and_summed_1m", "the same with 1 MiB", MIB),
    Question {
        name: "limits/write_read",
        text: "memory → a default pipe → the buffer of another process on another CPU, with `write` and \
               `read` of 64 KiB",
        bytes: Some(MOVED),
        engines: &[
            moves("std", work::plain::<Std>()),
            moves("rawpipe", work::plain::<Rawpipe>()),
            moves("rustix", work::plain::<Rustix>()),
            moves("nix", work::plain::<Nix>()),
            moves("libc", work::plain::<Libc>()),
            moves("os_pipe", work::plain::<OsPipe>()),
            moves("interprocess", work::plain::<Interprocess>()),
        ],
    },
    Question {
        name: "limits/mem_to_read",
        text: "the source sends the same bytes repeatedly, using the fastest calls of each crate. By default, \
               rawpipe's `ChunkWriter` fills new pages for each chunk; with `Reuse::AfterRead` (`-afterread`) \
               it does not. rustix, nix and libc use a pipe of 1 MiB. `-vmsplice` lends the memory itself to \
               the pipe; this is sound only because no code writes to the memory afterwards. \
               `rawpipe-vmsplice` makes the same call with this crate",
        bytes: Some(MOVED),
        engines: &[
            moves("std", work::plain::<Std>()),
            moves("rawpipe", common::CHUNKS),
            moves("rawpipe-afterread", common::CHUNKS_AFTER_READ),
            moves("rawpipe-copy", work::large::<Rawpipe>()),
            moves("rawpipe-vmsplice", work::lend::<Rawpipe>()),
            moves("rustix", work::large::<Rustix>()),
            moves("rustix-vmsplice", work::lend::<Rustix>()),
            moves("nix", work::large::<Nix>()),
            moves("nix-vmsplice", work::lend::<Nix>()),
            moves("libc", work::large::<Libc>()),
            moves("libc-vmsplice", work::lend::<Libc>()),
        ],
    },
    Question {
        name: "limits/file_to_null",
        text: "a file in the page cache → pipe → `/dev/null` in another process: `io::copy`, `transfer`, and \
               loops of `splice` over a pipe of 1 MiB. `io::copy` does not splice for os_pipe's types",
        bytes: Some(MOVED),
        engines: &[
            moves("std", Move { sink: Sink::Null(common::io_copy_to_file), ..common::STD_FILE }),
            moves("rawpipe", Move { sink: Sink::Null(common::transfer_all), ..common::RAW_FILE }),
            moves("rawpipe-splice", work::spliced::<Rawpipe>()),
            moves("rustix", work::spliced::<Rustix>()),
            moves("nix", work::spliced::<Nix>()),
            moves("libc", work::spliced::<Libc>()),
            moves("os_pipe", work::copied::<OsPipe>()),
        ],
    },
    Question {
        name: "pingpong",
        text: "one byte travels to another process over a pipe; that process adds one to the byte and \
               returns it over a second pipe. Both processes run on one CPU",
        bytes: None,
        engines: &[
            repeats("std", work::pingpong::<Std>),
            repeats("rawpipe", work::pingpong::<Rawpipe>),
            repeats("rustix", work::pingpong::<Rustix>),
            repeats("nix", work::pingpong::<Nix>),
            repeats("libc", work::pingpong::<Libc>),
            repeats("os_pipe", work::pingpong::<OsPipe>),
            repeats("interprocess", work::pingpong::<Interprocess>),
        ],
    },
    Question {
        name: "pipe_close",
        text: "a pipe is created and both ends are closed; all crates but interprocess make the pipe \
               close-on-exec",
        bytes: None,
        engines: &[
            repeats("std", work::pipe_close::<Std>),
            repeats("rawpipe", work::pipe_close::<Rawpipe>),
            repeats("rustix", work::pipe_close::<Rustix>),
            repeats("nix", work::pipe_close::<Nix>),
            repeats("libc", work::pipe_close::<Libc>),
            repeats("os_pipe", work::pipe_close::<OsPipe>),
            repeats("interprocess", work::pipe_close::<Interprocess>),
        ],
    },
    Question {
        name: "spawn_wait",
        text: "a minimal program is started and waited for, with `Command`, `Exec` or `cmd`, or with both \
               `posix_spawn` and `waitpid`; `rawpipe-spawn` is `Spawn`, which allocates nothing. rustix \
               cannot start a program. All processes run on one CPU",
        bytes: None,
        engines: &[
            repeats("std", work::spawn_wait::<Std>),
            repeats("rawpipe", work::spawn_wait::<Rawpipe>),
            repeats("rawpipe-spawn", work::spawn_wait::<RawpipeSpawn>),
            repeats("nix", work::spawn_wait::<Nix>),
            repeats("libc", work::spawn_wait::<Libc>),
            repeats("subprocess", work::spawn_wait::<Subprocess>),
            repeats("duct", work::spawn_wait::<Duct>),
        ],
    },
    Question {
        name: "fork_wait",
        text: "a child exits immediately, and its parent collects the exit status. std has no fork, and \
               rustix's fork is not public. Both processes run on one CPU",
        bytes: None,
        engines: &[
            repeats("rawpipe", work::fork_wait::<Rawpipe>),
            repeats("nix", work::fork_wait::<Nix>),
            repeats("libc", work::fork_wait::<Libc>),
        ],
    },
    Question {
        name: "communicate_64k",
        text: "a parent writes 64 KiB to `cat` and collects the output; std needs a thread for this task",
        bytes: Some(64 * KIB as u64),
        engines: &[
            runs("std", work::communicate::<Std>, 64 * KIB),
            runs("rawpipe", work::communicate::<Rawpipe>, 64 * KIB),
            runs("subprocess", work::communicate::<Subprocess>, 64 * KIB),
            runs("duct", work::communicate::<Duct>, 64 * KIB),
        ],
    },
    Question {
        name: "communicate_1m",
        text: "a parent writes 1 MiB to `cat` and collects the output",
        bytes: Some(MIB as u64),
        engines: &[
            runs("std", work::communicate::<Std>, MIB),
            runs("rawpipe", work::communicate::<Rawpipe>, MIB),
            runs("subprocess", work::communicate::<Subprocess>, MIB),
            runs("duct", work::communicate::<Duct>, MIB),
        ],
    },
    Question {
        name: "output",
        text: "a program generates and writes 16 MiB, 64 KiB at a time; \
               its parent collects and sums the bytes",
        bytes: Some(work::WRITTEN as u64),
        engines: &[
            runs("std", work::output::<Std>, 0),
            runs("rawpipe", work::output::<Rawpipe>, 0),
            runs("subprocess", work::output::<Subprocess>, 0),
            runs("duct", work::output::<Duct>, 0),
        ],
    },
];

impl Here {
    /// Creates the files, the memory and the programs. Fails if this process has more than one thread.
    pub fn new() -> io::Result<Self> {
        Ok(Self { input: Input::new()?, tiny: Tiny::new()?, program: std::env::current_exe()? })
    }

    /// Returns the capacity of a default pipe and the capacity of a pipe with `Capacity::Max`, in bytes.
    pub fn capacities(&self) -> io::Result<[usize; 2]> {
        let capacity = |(end, _other)| rawpipe::pipe::capacity(&end);
        Ok([capacity(common::raw_pipe()?)?, capacity(common::large_pipe()?)?])
    }

    /// Returns the path of the program that only exits.
    fn tiny(&self) -> &Path {
        self.tiny.path()
    }

    /// Returns `bytes` bytes of input.
    fn fed(&self, bytes: usize) -> &'static [u8] {
        &self.input.memory[..bytes]
    }
}

impl Engine {
    /// Runs the engine once and checks the result.
    pub fn check(&self, here: &Here) -> io::Result<()> {
        match &self.work {
            Work::Move(work) => work.check(&here.input),
            Work::Sum(..) => self.run(here, 1).map(drop),
            Work::Repeat(work) => work(here, 1).map(drop),
            Work::Run(program, fed) => {
                let got = program(here, here.fed(*fed))?;
                let right = if *fed == 0 {
                    got.len() == work::WRITTEN && got.iter().all(|byte| *byte == b'x')
                } else {
                    got == here.fed(*fed)
                };
                common::require(right, || "other bytes than were sent".to_owned())
            }
        }
    }

    /// Returns the number of repetitions that together last for about `target`. For [`Work::Sum`], the target
    /// is doubled, or quadrupled if a chunk exceeds 256 KiB.
    pub fn often(&self, here: &Here, target: Duration) -> io::Result<u64> {
        let longer = match self.work {
            Work::Sum(_, chunk) if chunk > 256 * KIB => 4,
            Work::Sum(..) => 2,
            Work::Move(_) | Work::Repeat(_) | Work::Run(..) => 1,
        };
        common::often(target * longer, 1, u64::MAX, |turns| self.run(here, turns))
    }

    /// Runs `turns` repetitions, checks their results, and returns the elapsed time.
    pub fn run(&self, here: &Here, turns: u64) -> io::Result<Duration> {
        match &self.work {
            Work::Move(work) => Ok(work.run(&here.input, turns * MOVED)?.taken.clock),
            Work::Sum(way, chunk) => {
                let work = Summed { way: *way, chunk: *chunk, place: Place::Apart };
                Ok(work.run(turns * count(*chunk))?.clock)
            }
            Work::Repeat(work) => work(here, turns),
            Work::Run(program, fed) => {
                let right = if *fed == 0 { work::WRITTEN } else { *fed };
                work::repeat(turns, || {
                    let got = program(here, here.fed(*fed))?;
                    black_box(ways::of(&got));
                    common::require(got.len() == right, || format!("{} bytes", got.len()))
                })
            }
        }
    }
}

/// If the first argument is `WRITER`, writes the output and returns `true`. Otherwise returns `false`.
pub fn is_writer() -> io::Result<bool> {
    let asked = std::env::args().nth(1).as_deref() == Some(work::WRITER);
    if asked {
        let mut out = io::stdout().lock();
        let mut made = vec![0; 64 * KIB];
        for _ in 0..work::WRITTEN / made.len() {
            black_box(&mut made).fill(b'x');
            out.write_all(&made)?;
        }
        out.flush()?;
    }
    Ok(asked)
}
