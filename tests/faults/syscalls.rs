//! Checks the list of system calls in `docs/tools.md` against the calls that each module makes. Other tests
//! check the number or the order of the calls that single operations make.
//!
//! Each operation runs in a separate process under the tracer in `tests/faults/tracer.rs`. The operation runs
//! once without failures. It then runs once for each of its sets of calls. In such a run, the calls of the
//! set fail. The test fails if the crate makes a call that is not listed, or never makes a listed call. A run
//! without failures may not make a call that is listed only as a fallback. This last check runs only if the
//! kernel supports `RWF_NOSIGNAL`, the process runs as root, and no seccomp filter is installed.
#![allow(unsafe_code, reason = "a tracer, and functions that are unsafe")]

mod operations;

use super::machine;
use super::tracer::{self, End, Key, Missing, run};
use crate::common;
use crate::common::nr;
use operations::{Operation, PLAIN, operations};
use rawpipe::Wait;
use rawpipe::chunk::shared::{SharedBuilder, SharedCopier};
use rawpipe::fd::OwnedFd;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{Fanout, FanoutSink, Transfer};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Returns `true`, so that the tracer records every call.
fn noted(_: bool, _: usize, _: &[u64; 6], _: &dyn Fn() -> bool) -> bool {
    true
}

// ---- names ----

fn names() -> Vec<(usize, &'static str)> {
    macro_rules! names {
        ($($name:ident)*) => { vec![$((nr::$name, stringify!($name))),*] };
    }
    names![
        CHDIR CLOCK_GETTIME CLONE CLONE3 CLOSE CLOSE_RANGE COPY_FILE_RANGE DUP DUP3 EPOLL_CREATE1
        EPOLL_CTL EPOLL_PWAIT EPOLL_PWAIT2 EVENTFD2 EXECVE EXECVEAT EXIT EXIT_GROUP FCNTL FTRUNCATE GETDENTS64 GETGROUPS
        GETPID GETPPID GETPRIORITY GETRESUID GETSID GETSOCKOPT GETTID IOCTL KILL LSEEK MADVISE MEMFD_CREATE MMAP
        MPROTECT MUNMAP OPENAT PIDFD_GETFD PIDFD_OPEN PIDFD_SEND_SIGNAL PIPE2 PPOLL PRCTL PREADV2 PRLIMIT64 PSELECT6
        PWRITEV2 READ READV RT_SIGACTION RT_SIGPENDING RT_SIGPROCMASK RT_SIGTIMEDWAIT RT_TGSIGQUEUEINFO
        SCHED_GETAFFINITY SENDFILE SETGROUPS SETPGID SETPRIORITY SETRESGID SETRESUID SETSID SIGNALFD4 SPLICE STATX TEE
        TGKILL UMASK UNSHARE VMSPLICE WAITID WRITE WRITEV
    ]
}

/// Returns the kernel's name for a call. A call that the crate does not make is named by its number. With the
/// C shim, `set_robust_list` is also named, because glibc calls it in a forked child.
fn name_of(call: usize) -> String {
    const SET_ROBUST_LIST: usize = if cfg!(target_arch = "x86_64") { 273 } else { 99 };
    if cfg!(rawpipe_shim) && call == SET_ROBUST_LIST {
        return "set_robust_list".to_owned();
    }
    let name = names().into_iter().find(|(number, _)| *number == call);
    name.map_or_else(|| format!("number {call}"), |(_, name)| name.to_ascii_lowercase())
}

/// The calls that have several purposes, and the number and the name of each purpose. The numbers are the
/// same on both architectures that the tracer supports.
const PURPOSES: [(&str, &[(u64, &str)]); 4] = [
    (
        "fcntl",
        &[
            (0, "F_DUPFD"),
            (1, "F_GETFD"),
            (2, "F_SETFD"),
            (3, "F_GETFL"),
            (4, "F_SETFL"),
            (1030, "F_DUPFD_CLOEXEC"),
            (1031, "F_SETPIPE_SZ"),
            (1032, "F_GETPIPE_SZ"),
            (1033, "F_ADD_SEALS"),
            (1034, "F_GET_SEALS"),
        ],
    ),
    (
        "ioctl",
        &[
            (0x540e, "TIOCSCTTY"),
            (0x5410, "TIOCSPGRP"),
            (0x541b, "FIONREAD"),
            (0xc040_ff0b, "PIDFD_GET_INFO"),
        ],
    ),
    (
        "prctl",
        &[
            (1, "PR_SET_PDEATHSIG"),
            (2, "PR_GET_PDEATHSIG"),
            (4, "PR_SET_DUMPABLE"),
            (36, "PR_SET_CHILD_SUBREAPER"),
            (40, "PR_GET_TID_ADDRESS"),
        ],
    ),
    (
        "madvise",
        &[(0, "MADV_NORMAL"), (4, "MADV_DONTNEED"), (14, "MADV_HUGEPAGE"), (18, "MADV_WIPEONFORK")],
    ),
];

/// Returns the name of the call and the name of its purpose, for example `fcntl F_GETFL`. Returns `None` if
/// the call has only one purpose.
fn purpose_of(key: &Key) -> Option<String> {
    let name = name_of(key.nr);
    let (_, known) = PURPOSES.into_iter().find(|(call, _)| *call == name)?;
    let purpose = known.iter().find(|(number, _)| *number == key.purpose);
    Some(purpose.map_or(format!("{name} {:#x}", key.purpose), |(_, word)| format!("{name} {word}")))
}

// ---- the page docs/tools.md ----

type Calls = BTreeSet<String>;

#[derive(Debug, Default)]
struct Row {
    calls: Calls,
    fallback: Calls,
    assembly: Calls,
    shim: Calls,
}

/// Returns the lines of the table or block that follows an anchor on the page.
fn after<'a>(page: &'a str, anchor: &str) -> impl Iterator<Item = &'a str> {
    let (_, rest) = page.split_once(&format!("<!-- {anchor} -->\n")).expect("an anchor");
    let begins =
        |line: &&str| line.starts_with("| `") || line.starts_with("| [`") || *line == "```text";
    let lines = rest.lines().skip_while(move |line| !begins(line));
    lines.take_while(|line| !["", "```"].contains(line)).filter(|line| *line != "```text")
}

/// Returns the table of calls by module.
fn rows(page: &str) -> BTreeMap<String, Row> {
    let quoted = |cell: &str| -> Calls {
        cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
    };
    after(page, "calls by module")
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let [module, sets @ ..] = &cells[..] else { panic!("{line}") };
            let module = module.split('`').nth(1).expect("a module").to_owned();
            let sets: Vec<Calls> = sets.iter().map(|cell| quoted(cell)).collect();
            let [calls, fallback, assembly, shim] = sets.try_into().expect("four sets");
            (module, Row { calls, fallback, assembly, shim })
        })
        .collect()
}

/// Returns the entries of the table of purposes, for example `fcntl F_GETFL`. With the C shim, the purposes
/// in parentheses are omitted.
fn purposes(page: &str) -> Calls {
    let mut all = Calls::new();
    for line in after(page, "purposes") {
        let mut words = line.split('`').skip(1).step_by(2);
        let call = words.next().expect("a call");
        let shown = |word: &&str| !(cfg!(rawpipe_shim) && line.contains(&format!("(`{word}`)")));
        all.extend(words.filter(shown).map(|word| format!("{call} {word}")));
    }
    all
}

/// Returns the calls in the page's list of all calls.
fn all_of_them(page: &str) -> Vec<&str> {
    after(page, "all calls").collect()
}

const PAGE: &str = include_str!("../../docs/tools.md");

// ---- the calls that operations make ----

/// Returns the names of the calls that an operation makes while the calls in `refused` fail. Adds their
/// purposes to `asked_for`. Returns an error if the operation's process does not exit with 0.
fn calls(
    operation: &Operation,
    refused: &[Missing],
    asked_for: &mut Calls,
) -> Result<Calls, String> {
    let body = || {
        PLAIN.store(refused.is_empty(), Ordering::SeqCst);
        (operation.body)();
        Ok(())
    };
    let done = run(noted, &body, None, refused, PATIENCE);
    if done.end != End::Exit(0) {
        let without: Vec<_> = refused.iter().map(|missing| name_of(missing.nr)).collect();
        return Err(format!("{} without {without:?}: {:?}", operation.name, done.end));
    }
    asked_for.extend(done.calls.iter().filter_map(|call| purpose_of(&call.key)));
    // `brk` and `mremap` are ignored, because only the allocator makes these calls. The check that std makes
    // before each `close` in debug builds is also ignored.
    const F_GETFD: u64 = 1;
    let own = |key: &Key| match key.nr {
        nr if [machine::BRK, machine::MREMAP].contains(&nr) => false,
        nr if operation.its_own == Some(nr) => false,
        nr => nr != nr::FCNTL || key.purpose != F_GETFD || !cfg!(debug_assertions),
    };
    Ok(done.calls.iter().map(|call| call.key).filter(own).map(|key| name_of(key.nr)).collect())
}

/// Returns the reason why no process can be traced on this system, or `None`.
fn impossible() -> Option<&'static str> {
    if !machine::KNOWN {
        return Some("the registers of this architecture are not known here");
    }
    if common::tool().is_some() {
        return Some("a tool makes calls of its own in the middle of the crate's");
    }
    let probe = || {
        tracer::operation(|| drop(rawpipe::pipe()));
        Ok(())
    };
    let done = run(noted, &probe, None, &[], PATIENCE);
    let seen = done.calls.iter().any(|call| call.key.nr == nr::PIPE2);
    (done.end != End::Exit(0) || !seen).then_some("processes cannot be traced")
}

/// Returns whether every operation should work without a fallback. This is the case if the kernel supports
/// `RWF_NOSIGNAL`, this process runs as root, and no seccomp filter is installed.
fn newest() -> bool {
    unsafe extern "C" {
        safe fn geteuid() -> u32;
    }
    let (_reader, writer) = rawpipe::pipe().expect("a pipe");
    let byte = [std::io::IoSlice::new(b"x")];
    let place = byte.as_ptr().expose_provenance();
    let fd = usize::try_from(std::os::fd::AsRawFd::as_raw_fd(&writer)).expect("a descriptor");
    const RWF_NOSIGNAL: usize = 0x100;
    // SAFETY: the call reads one list of one buffer. A value of -1 in both halves of the position means no
    // position.
    let sent = unsafe {
        rawpipe::raw::syscall6(nr::PWRITEV2, fd, place, 1, usize::MAX, usize::MAX, RWF_NOSIGNAL)
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    sent == 1
        && geteuid() == 0
        && status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "0"]))
}

fn compare(
    module: &str,
    row: &Row,
    operations: &[&Operation],
    asked_for: &mut Calls,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut plain, mut refused) = (Calls::new(), Calls::new());
    for operation in operations {
        match calls(operation, &[], asked_for) {
            Ok(seen) => plain.extend(seen),
            Err(what) => wrong.push(what),
        }
        for set in &operation.without {
            match calls(operation, set, asked_for) {
                Ok(seen) => refused.extend(seen),
                Err(what) => wrong.push(what),
            }
        }
    }
    let own = if cfg!(rawpipe_shim) { &row.shim } else { &row.assembly };
    let usual = &row.calls | own;
    // A fallback of one backend may be the primary call of the other backend.
    let fallback = &row.fallback - own;
    let listed = &usual | &row.fallback;
    let seen = &plain | &refused;
    let mut say = |what: &str, calls: Calls| {
        if !calls.is_empty() {
            let calls: Vec<_> = calls.into_iter().collect();
            wrong.push(format!("{module}: {what}: `{}`", calls.join("` `")));
        }
    };
    say("made, and not listed", &seen - &listed);
    // If `vmsplice` and `splice` copy, a chunk writer hands over no pages, so the writer does not use `ioctl`
    // to count unread pages.
    let copies = module == "chunk" && common::vmsplice_copies() && common::splice_copies();
    let needless = if copies { Calls::from(["ioctl".to_owned()]) } else { Calls::new() };
    say("listed, and not made", &(&usual - &plain) - &needless);
    say("listed as a fallback, and not made", &fallback - &refused);
    if newest() {
        say("made, and listed as a fallback", &fallback & &plain);
    }
    wrong
}

/// Returns whether the operation belongs to the module. An operation of `process::Spawn` also belongs to
/// `process::Command`.
fn belongs(operation: &str, module: &str) -> bool {
    operation == module || (operation, module) == ("process::Spawn", "process::Command")
}

fn each_module_makes_the_calls_listed() {
    if let Some(reason) = impossible() {
        return common::skip("each_module_makes_the_calls_listed", reason);
    }
    let rows = rows(PAGE);
    let all = operations();
    let modules: BTreeSet<&str> = all.iter().map(|operation| operation.module).collect();
    let listed: BTreeSet<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(modules, listed, "modules with operations (left) and in the page (right)");
    let (mut wrong, mut asked_for) = (Vec::new(), Calls::new());
    for (module, row) in &rows {
        let own = |operation: &&Operation| belongs(operation.module, module);
        let own: Vec<_> = all.iter().filter(own).collect();
        wrong.extend(compare(module, row, &own, &mut asked_for));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(asked_for, purposes(PAGE), "what calls are asked for (left), and the page (right)");
    let runs: usize = all.iter().map(|operation| 1 + operation.without.len()).sum();
    common::say(&format!(
        "result: system calls of each module, as listed, on {} | {} modules, {} operations, {runs} runs",
        if cfg!(rawpipe_shim) { "shim" } else { "asm" },
        rows.len(),
        all.len(),
    ));
}

/// Except for `tgkill`, the table and the list of all calls contain every call for which the crate has a
/// number. They contain no other call.
fn all_calls_are_listed() {
    let mut table = Calls::new();
    for row in rows(PAGE).into_values() {
        table.extend([row.calls, row.fallback, row.assembly].into_iter().flatten());
    }
    // Only users of `raw` need `tgkill`.
    let used = names().into_iter().filter(|(number, _)| *number != nr::TGKILL);
    let known: Calls = used.map(|(_, name)| name.to_ascii_lowercase()).collect();
    assert_eq!(table, known, "the table (left) and the numbers (right)");
    let whole = all_of_them(PAGE);
    assert!(whole.is_sorted(), "the list of all is in order");
    assert_eq!(whole, known.iter().collect::<Vec<_>>(), "the list of all (left)");
}

/// If neither half of a shared pair ever sleeps, sending and receiving make no system call, regardless of the
/// size of the records.
fn shared_chunks_between_awake_halves_make_none() {
    if let Some(reason) = impossible() {
        return common::skip(&common::name_alone(), reason);
    }
    for (chunk, ring) in [(1, 1), (100, 1), (4096, 1 << 16), (65536, 1 << 20)] {
        let body = || {
            let builder = SharedBuilder::new().chunk(chunk).ring(ring);
            let (mut reader, mut writer) = builder.build().map_err(|errno| errno.to_string())?;
            let mut received = 0;
            tracer::operation(|| {
                for number in 0..1_000_usize {
                    let Ok(lent) = writer.chunk() else { return };
                    lent[0] = number.to_le_bytes()[0];
                    let Ok(()) = writer.send(1 + number % chunk) else { return };
                    let Ok(Some(record)) = reader.recv() else { return };
                    received += usize::from(record[0] == number.to_le_bytes()[0]);
                }
            });
            if received == 1_000 { Ok(()) } else { Err(format!("{received} records")) }
        };
        let done = run(noted, &body, None, &[], PATIENCE);
        assert_eq!(done.end, End::Exit(0));
        let calls: Vec<_> = done.calls.iter().map(|call| name_of(call.key.nr)).collect();
        assert!(calls.is_empty(), "chunks of {chunk}: {calls:?}");
    }
}

/// The creator can change the size of a file until the file is sealed. A program that adopts a half therefore
/// checks the seals before the sizes.
fn adopted_files_are_sealed_before_their_sizes_count() {
    const F_GET_SEALS: u64 = 1034;
    if let Some(reason) = impossible() {
        return common::skip(&common::name_alone(), reason);
    }
    let body = || {
        let made = SharedBuilder::new().pass_reader();
        let (parts, _writer) = made.map_err(|errno| errno.to_string())?;
        let adopted = tracer::operation(|| SharedCopier::from_parts(parts, Wait::Block));
        adopted.map(drop).map_err(|errno| errno.to_string())
    };
    let done = run(noted, &body, None, &[], PATIENCE);
    assert_eq!(done.end, End::Exit(0));
    let of = |nr, purpose| {
        let calls = done.calls.iter().enumerate();
        let found = calls.filter(|(_, call)| (call.key.nr, call.key.purpose) == (nr, purpose));
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    // The first two `statx` calls examine the pipes.
    let (seals, sizes) = (of(nr::FCNTL, F_GET_SEALS), of(nr::STATX, 0));
    assert_eq!((seals.len(), sizes.len()), (2, 4), "{seals:?} {sizes:?}");
    assert!(seals[1] < sizes[2], "{seals:?} {sizes:?}");
}

/// A fan-out of records maps at most one buffer for each record, in addition to its first allocation.
fn fanout_of_records_maps_one_buffer_for_each() {
    const RECORDS: usize = 8; // the number of records in the source socket
    if let Some(reason) = impossible() {
        return common::skip(&common::name_alone(), reason);
    }
    let body = || {
        let (near, far) = UnixDatagram::pair().expect("sockets");
        let (_reader, writer) = rawpipe::pipe().expect("a pipe");
        for _ in 0..RECORDS {
            far.send(b"12345").map_err(|error| error.to_string())?;
        }
        let mut moved = 0;
        let mut until_all = |bytes| {
            moved = bytes;
            if bytes < 5 * RECORDS as u64 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        tracer::operation(|| {
            let mut sinks = [FanoutSink::new(&writer)];
            drop(Fanout::new().progress(&mut until_all).run(&near, &mut sinks));
        });
        if moved == 5 * RECORDS as u64 { Ok(()) } else { Err(format!("{moved} bytes")) }
    };
    let done = run(noted, &body, None, &[], PATIENCE);
    assert_eq!(done.end, End::Exit(0));
    let count = |nr| done.calls.iter().filter(|call| call.key.nr == nr).count();
    // The memory for bytes that a sink does not receive is allocated before the fan-out moves bytes. This
    // memory is aligned to a huge page, so the excess start and end of its mapping are unmapped.
    let calls = [nr::MMAP, nr::MUNMAP, nr::MADVISE].map(count);
    assert!(calls[0] <= RECORDS + 1 && calls[1] <= RECORDS + 4 && calls[2] <= 2, "{calls:?}");
}

/// With a progress closure, `chunk` limits the number of bytes that are moved between two calls of the
/// closure. Without a closure, each system call moves as many bytes as it can.
fn transfer_chunk_bounds_calls_only_with_progress() {
    const LEN: usize = 400_000;
    if let Some(reason) = impossible() {
        return common::skip(&common::name_alone(), reason);
    }
    for from_pipe in [false, true] {
        for watched in [false, true] {
            let body = || {
                let bytes = vec![1; LEN];
                let sink = common::file(b"");
                let source = if from_pipe {
                    let room = Capacity::Bytes(LEN);
                    let (reader, writer) = Builder::new().capacity(room).build().expect("a pipe");
                    writer.write_all(&bytes).expect("room");
                    OwnedFd::from(reader)
                } else {
                    common::file(&bytes).into()
                };
                let mut watch = |_| ControlFlow::Continue(());
                let mut moved = 0;
                tracer::operation(|| {
                    let transfer = Transfer::new().chunk(4096);
                    let transfer = if watched { transfer.progress(&mut watch) } else { transfer };
                    moved = transfer.run(&source, &sink).map_or(0, |done| done.bytes());
                });
                if moved == LEN as u64 { Ok(()) } else { Err(format!("{moved} bytes")) }
            };
            let done = run(noted, &body, None, &[], PATIENCE);
            assert_eq!(done.end, End::Exit(0));
            let moving = [nr::SPLICE, nr::COPY_FILE_RANGE, nr::SENDFILE, nr::READ, nr::WRITE];
            let calls = done.calls.iter().filter(|call| moving.contains(&call.key.nr)).count();
            let few = if watched { calls >= LEN / 4096 } else { calls <= 10 };
            assert!(few, "from a pipe {from_pipe}, watched {watched}: {calls} calls");
        }
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    transfer_chunk_bounds_calls_only_with_progress,
    each_module_makes_the_calls_listed,
    all_calls_are_listed,
    shared_chunks_between_awake_halves_make_none,
    adopted_files_are_sealed_before_their_sizes_count,
    fanout_of_records_maps_one_buffer_for_each,
];
