//! Tests what the crate does if the kernel lacks an optional feature or a filter rejects it. Each feature has
//! one row. The row lists the errnos with which the feature's calls are made to fail. Each row runs in a
//! separate process. For each errno, the check runs in a child whose filter rejects the calls of the row. The
//! child runs the complete public operation and checks its result.
//!
//! A second filter, which kills the process, confirms that the operation makes the call. The table in
//! `docs/kernels.md` lists the same features, and a test compares both lists.
#![allow(unsafe_code, reason = "the C library's own view, and system calls by number")]

use crate::common::bytes::data;
use crate::common::nr;
use crate::common::programs::{self, output_of};
use crate::common::{self, Filter, Tool, Value, child, file, keep, open_fds, skip};
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::chunk::{self, ChunkMechanism as By, ChunkWriter, Reuse, WriterBuilder};
use rawpipe::event::{Epoll, Event, PollEvents};
use rawpipe::fd::{AsFd, AsRawFd, OwnedFd};
use rawpipe::io::{self, without_sigpipe};
use rawpipe::message::packets;
use rawpipe::pipe::{self, Builder, Capacity};
use rawpipe::process::{
    self, Arg, Child, Command, Fork, Resource, Signal, Spawn, SpawnMethod, SpawnStage, Stdio,
};
use rawpipe::splice::{SpliceFlags, copy_file_range, splice, tee};
use rawpipe::transfer::{FanoutSink, Side, Transfer, TransferMechanism, fanout, transfer};
use rawpipe::{Cancel, Deadline, Errno, PipeFlags, PipeReader, Wait, raw};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    safe fn signal(signal: i32, handler: usize) -> usize;
}

/// The calls that a row rejects. `Call` rejects every use of a call. `Has` rejects only uses with these bits
/// in an argument. `Is` rejects only uses with this value in an argument.
#[derive(Clone, Copy)]
enum Refused {
    Call(usize),
    Has(usize, u32, u32),
    Is(usize, u32, u32),
}
use Refused::{Call, Has, Is};

impl Refused {
    fn filter(self, errno: Errno) -> Filter {
        match self {
            Call(number) => Filter::new(&[number], errno),
            Has(number, index, bits) => Filter::on_argument(number, index, Value::Has(bits), errno),
            Is(number, index, value) => Filter::on_argument(number, index, Value::Is(value), errno),
        }
    }
}

/// The check of a row. The argument is the errno of the rejected call, or `None` if no call is rejected. An
/// error states why the check cannot run on this system.
type Check = fn(Option<Errno>) -> Result<(), &'static str>;

struct Row {
    /// The name of the feature in `docs/kernels.md`.
    feature: &'static str,
    refused: Vec<Refused>,
    /// Other calls that also fail, with `ENOSYS`. If these calls succeeded, the operation would not make the
    /// rejected call.
    beside: Vec<Refused>,
    errnos: &'static [Errno],
    check: Check,
    /// If set, only the assembly backend uses the feature.
    assembly_only: bool,
}

const THREE: &[Errno] = &[Errno::ENOSYS, Errno::EPERM, Errno::EINVAL];
/// The errors for unsupported flags, and for calls that depend on the kind of file.
const FOUR: &[Errno] = &[Errno::ENOSYS, Errno::EPERM, Errno::EINVAL, Errno::EOPNOTSUPP];
const FIVE: &[Errno] =
    &[Errno::ENOSYS, Errno::EPERM, Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EXDEV];
/// The errors for `execveat`. Some releases of Linux 5.10 return `ENOENT`.
const EXEC: &[Errno] = &[Errno::ENOSYS, Errno::EPERM, Errno::EINVAL, Errno::ENOENT];
/// The errors for `ioctl`. A kernel that lacks the request returns `ENOTTY`.
const IOCTL: &[Errno] = &[Errno::ENOSYS, Errno::EPERM, Errno::EINVAL, Errno::ENOTTY];

/// Returns a value that rejects `clone` calls with these flags. On s390x the flags are the second argument.
fn clone_with(bits: u32) -> Refused {
    Has(nr::CLONE, u32::from(cfg!(target_arch = "s390x")), bits)
}

fn rows() -> Vec<Row> {
    const RWF_NOWAIT: u32 = 8;
    const RWF_NOSIGNAL: u32 = 0x100;
    const CLONE_VM: u32 = 0x100;
    const CLONE_PIDFD: u32 = 0x1000;
    const P_PIDFD: u32 = 3;
    const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 4;
    const PIDFD_GET_INFO: u32 = 0xc040_ff0b;
    const PR_GET_TID_ADDRESS: u32 = 40;
    const F_SETPIPE_SZ: u32 = 1031;
    const F_ADD_SEALS: u32 = 1033;
    const F_SEAL_SEAL_AND_FUTURE_WRITE: u32 = 17;
    const MADV_DONTNEED: u32 = 4;
    const MADV_HUGEPAGE: u32 = 14;
    const MADV_WIPEONFORK: u32 = 18;
    const MFD_NOEXEC_SEAL: u32 = 8;

    let row = |feature, refused: &[Refused], errnos, check| Row {
        feature,
        refused: refused.to_vec(),
        beside: Vec::new(),
        errnos,
        check,
        assembly_only: false,
    };
    let beside = |beside: &[Refused], row| Row { beside: beside.to_vec(), ..row };
    let assembly_only = |row| Row { assembly_only: true, ..row };
    let clone3 = Call(nr::CLONE3);
    let flagged = [(nr::PREADV2, 5), (nr::PWRITEV2, 5)];
    let nowait = flagged.map(|(call, index)| Has(call, index, RWF_NOWAIT));
    vec![
        // The rows for reading and writing.
        row("RWF_NOSIGNAL", &[Has(nr::PWRITEV2, 5, RWF_NOSIGNAL)], FOUR, nosignal),
        row("RWF_NOWAIT on pipes", &nowait, FOUR, nowait_on_pipes),
        row("preadv2, pwritev2", &flagged.map(|(call, _)| Call(call)), FOUR, both_flags),
        row("rt_sigpending", &[Call(nr::RT_SIGPENDING)], THREE, signals_of_a_thread),
        row("rt_tgsigqueueinfo", &[Call(nr::RT_TGSIGQUEUEINFO)], THREE, signal_of_a_call),
        // Pipes.
        row("O_DIRECT on pipes", &[Has(nr::PIPE2, 1, o_direct())], THREE, packet_pipes),
        row("F_SETPIPE_SZ", &[Is(nr::FCNTL, 1, F_SETPIPE_SZ)], THREE, capacities),
        row("FIONREAD", &[Is(nr::IOCTL, 1, fionread())], IOCTL, bytes_in_a_pipe),
        // Waiting.
        row("epoll_pwait2", &[Call(nr::EPOLL_PWAIT2)], THREE, epoll_timeouts),
        row("sched_getaffinity", &[Call(nr::SCHED_GETAFFINITY)], THREE, waiting_awake),
        row("clock_gettime", &[Call(nr::CLOCK_GETTIME)], THREE, without_a_clock),
        // Moving data.
        row("statx", &[Call(nr::STATX)], THREE, unknown_kinds),
        row("getsockopt", &[Call(nr::GETSOCKOPT)], THREE, kinds_of_sockets),
        row("lseek", &[Call(nr::LSEEK)], THREE, positions),
        row("copy_file_range", &[Call(nr::COPY_FILE_RANGE)], FIVE, file_to_file),
        beside(
            &[Call(nr::COPY_FILE_RANGE)],
            row("sendfile", &[Call(nr::SENDFILE)], FIVE, from_a_file),
        ),
        beside(&[Call(nr::SENDFILE)], row("splice", &[Call(nr::SPLICE)], FIVE, without_splice)),
        row("tee", &[Call(nr::TEE)], FOUR, to_everybody),
        // The rows for memory that the crate maps.
        row("vmsplice", &[Call(nr::VMSPLICE)], FOUR, chunks_by_other_means),
        row("memfd_create", &[Call(nr::MEMFD_CREATE)], THREE, no_memfd),
        row("F_ADD_SEALS", &[Is(nr::FCNTL, 1, F_ADD_SEALS)], THREE, no_memfd),
        row(
            "F_SEAL_FUTURE_WRITE",
            &[Is(nr::FCNTL, 2, F_SEAL_SEAL_AND_FUTURE_WRITE)],
            THREE,
            no_reader_for_a_program,
        ),
        row(
            "MFD_NOEXEC_SEAL",
            &[Has(nr::MEMFD_CREATE, 1, MFD_NOEXEC_SEAL)],
            THREE,
            memfd_without_a_flag,
        ),
        row("madvise", &[Call(nr::MADVISE)], THREE, no_advice),
        row("MADV_WIPEONFORK", &[Is(nr::MADVISE, 2, MADV_WIPEONFORK)], THREE, nothing_wiped),
        row("MADV_DONTNEED", &[Is(nr::MADVISE, 2, MADV_DONTNEED)], THREE, pages_kept),
        row("MADV_HUGEPAGE", &[Is(nr::MADVISE, 2, MADV_HUGEPAGE)], THREE, small_pages),
        // Creating processes.
        assembly_only(row("CLONE_CLEAR_SIGHAND", &[clone3], THREE, spawn_by_vfork)),
        beside(&[clone3], row("CLONE_PIDFD", &[clone_with(CLONE_PIDFD)], THREE, pidfd_afterwards)),
        beside(
            &[clone3],
            row("CLONE_VM with CLONE_VFORK", &[clone_with(CLONE_VM)], THREE, spawn_by_fork),
        ),
        assembly_only(row(
            "PR_GET_TID_ADDRESS",
            &[Is(nr::PRCTL, 0, PR_GET_TID_ADDRESS)],
            THREE,
            fork_and_wait,
        )),
        row("unshare", &[Call(nr::UNSHARE)], THREE, fork_when_alone),
        row("close_range", &[Call(nr::CLOSE_RANGE)], THREE, others_closed),
        row("execveat", &[Call(nr::EXECVEAT)], EXEC, exec_by_descriptor),
        // The rows for handles of processes.
        beside(
            &[clone3, clone_with(CLONE_PIDFD)],
            row("pidfd_open", &[Call(nr::PIDFD_OPEN)], THREE, no_pidfd),
        ),
        row("pidfd_getfd", &[Call(nr::PIDFD_GETFD)], THREE, no_copy_of_a_descriptor),
        row("waitid(P_PIDFD)", &[Is(nr::WAITID, 0, P_PIDFD)], THREE, wait_every_way),
        row("pidfd_send_signal", &[Call(nr::PIDFD_SEND_SIGNAL)], THREE, signals_arrive),
        row(
            "PIDFD_SIGNAL_PROCESS_GROUP",
            &[Has(nr::PIDFD_SEND_SIGNAL, 3, PIDFD_SIGNAL_PROCESS_GROUP)],
            THREE,
            group_of_a_dead_leader,
        ),
        row("PIDFD_GET_INFO", &[Is(nr::IOCTL, 1, PIDFD_GET_INFO)], IOCTL, status_taken_by_another),
    ]
}

// ---------------------------------------------------------------- running a row

/// The exit code of a check that cannot run on this system.
const CANNOT: u8 = 77;
/// The exit code of a process in which no filter can be installed.
const NO_FILTER: u8 = 78;

/// Returns the exit code of a child that runs the check with these filters, or `None` if a signal killed the
/// child.
fn checked(row: &Row, filters: &[Filter], errno: Option<Errno>) -> Option<i32> {
    let mut child = child(|| {
        no_core();
        if !filters.iter().all(Filter::install) {
            return NO_FILTER;
        }
        match (row.check)(errno) {
            Ok(()) => 0,
            Err(reason) => {
                skip(&common::name_alone(), reason);
                CANNOT
            }
        }
    });
    child.wait().unwrap().code()
}

/// Disables core files, because a signal kills some of the children.
fn no_core() {
    common::set_limits(Resource::CORE.as_raw(), [0; 2]);
}

/// The features whose calls Valgrind 3.19 does not pass to the kernel unchanged.
const OF_VALGRIND: [&str; 9] = [
    "epoll_pwait2",
    "CLONE_CLEAR_SIGHAND",
    "CLONE_PIDFD",
    "CLONE_VM with CLONE_VFORK",
    "execveat",
    "pidfd_open",
    "pidfd_send_signal",
    "PIDFD_SIGNAL_PROCESS_GROUP",
    "pidfd_getfd",
];

/// The features that need a child's pidfd. Under Valgrind 3.19, a child of the C library's `fork` has none.
const OF_CHILDREN_WITH_PIDFDS: [&str; 2] = ["waitid(P_PIDFD)", "PIDFD_GET_INFO"];

fn run_row() {
    let name = common::name_alone();
    let row = rows().into_iter().find(|row| test_name(row.feature) == name).expect("a row");
    match common::tool() {
        Some(Tool::Thread) if row.feature == "madvise" => {
            return skip(&name, "the tool itself cannot begin without it");
        }
        Some(Tool::Valgrind)
            if OF_VALGRIND.contains(&row.feature)
                || (cfg!(rawpipe_shim) && OF_CHILDREN_WITH_PIDFDS.contains(&row.feature)) =>
        {
            return skip(&name, "Valgrind does it in a way of its own, or not at all");
        }
        _ => {}
    }
    let beside = || row.beside.iter().map(|refused| refused.filter(Errno::ENOSYS));
    match checked(&row, &[], None) {
        Some(0) => {}
        Some(77) => return, // the child has already printed the reason
        code => panic!("with nothing refused: {code:?}"),
    }
    if checked(&row, &beside().collect::<Vec<_>>(), None) == Some(NO_FILTER.into()) {
        return skip(&name, "no filter of system calls here");
    }
    for errno in row.errnos {
        let filters: Vec<_> =
            beside().chain(row.refused.iter().map(|refused| refused.filter(*errno))).collect();
        let code = checked(&row, &filters, Some(*errno));
        assert_eq!(code, Some(0), "{} refused by {errno}", row.feature);
    }
    if row.assembly_only && cfg!(rawpipe_shim) {
        return;
    }
    // The operation must make each of the calls. Otherwise the checks would prove nothing.
    for refused in &row.refused {
        let filter = refused.filter(Errno::ENOSYS).that_kills();
        let filters: Vec<_> = beside().chain([filter]).collect();
        let code = checked(&row, &filters, Some(Errno::ENOSYS));
        assert_ne!(code, Some(0), "{}: the operation never makes the call", row.feature);
    }
}

/// Returns the name of a test, for example `refused_close_range`.
fn test_name(feature: &str) -> String {
    let words = feature.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    format!("refused_{}", words.collect::<Vec<_>>().join("_").to_ascii_lowercase())
}

/// The line that precedes the table in `docs/kernels.md`.
const ANCHOR: &str = "<!-- features of the kernel: tests/faults/refusals.rs -->";

/// The first column of the table in `docs/kernels.md` lists the features of the rows in the same order.
fn readme_has_a_row_for_each_feature() {
    let (_, table) = include_str!("../../docs/kernels.md").split_once(ANCHOR).expect("an anchor");
    let lines = table.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let lines = lines.take_while(|line| line.starts_with('|'));
    let first =
        lines.map(|line| line.split('|').nth(1).unwrap_or_default().trim().replace('`', ""));
    let rows = rows();
    let wanted: Vec<_> = rows.iter().map(|row| row.feature.to_owned()).collect();
    assert_eq!(first.collect::<Vec<_>>(), wanted, "page and table differ");
    if common::emulated() {
        return skip("refused_*", "no filter of system calls under an emulator");
    }
    let refusals: usize = rows.iter().map(|row| row.errnos.len()).sum();
    let backend = if cfg!(rawpipe_shim) { "shim" } else { "asm" };
    common::say(&format!(
        "result: kernel features refused one by one | {} features, {refusals} refusals, on {backend}",
        rows.len()
    ));
}

/// Returns the test of the table, and one test for each row.
pub(crate) fn tests() -> Vec<common::Test> {
    let mut tests: Vec<(&str, fn())> =
        vec![("readme_has_a_row_for_each_feature", readme_has_a_row_for_each_feature)];
    // Under an emulator no filter can be installed.
    for row in rows().iter().filter(|_| !common::emulated()) {
        tests.push((keep(test_name(row.feature).into_boxed_str()), run_row));
    }
    tests
}

// ---------------------------------------------------------------- shared by the checks

/// Returns as many bytes as fit in an empty pipe, but at most 60,000.
fn pipeful() -> Vec<u8> {
    let (_reader, writer) = rawpipe::pipe().unwrap();
    data(writer.capacity().unwrap().min(60_000))
}

/// Returns the read end of a pipe that holds these bytes, followed by end of file.
fn full_of(bytes: &[u8]) -> PipeReader {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(bytes).unwrap();
    reader
}

/// Returns the contents of a file. This function does not call [`File::metadata`], because one of the tests
/// rejects `statx`. On targets with 32-bit times, [`File::metadata`] uses `statx`.
fn contents(mut file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.seek(SeekFrom::End(0)).unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Returns a command, and the pipe end that receives its output. The command writes a word to descriptor 7
/// and exits with this code.
fn script(code: u8) -> (Command<'static>, PipeReader) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("echo told >&7; exit {code}")]).fd_map(writer, 7);
    (command, reader)
}

/// Checks that a program starts with this method, and that a spawn of a missing program fails.
fn spawn_works(method: SpawnMethod) {
    let (command, reader) = script(9);
    let mut child = command.spawn().unwrap();
    drop(command);
    assert_eq!(child.method(), method);
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"told\n");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    let error = Command::new("/no/such/program").spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT));
}

/// Forks a child that exits with code 3 when the write end is dropped.
fn waiting_child() -> (Child, rawpipe::PipeWriter) {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let child = child(|| {
        common::close_copy(copy);
        match gate.read(&mut [0]) {
            Ok(0) => 3,
            _ => 4,
        }
    });
    (child, opener)
}

/// Returns whether the kernel, and any filter that is already installed, permits pidfds.
fn pidfds_are_there() -> bool {
    let own = std::process::id() as usize;
    // SAFETY: the call reads only integers.
    let answer = unsafe { raw::syscall2(nr::PIDFD_OPEN, own, 0) };
    answer >= 0
}

fn sigpipe_kills() {
    const SIG_DFL: usize = 0;
    assert_ne!(signal(Signal::PIPE.as_raw(), SIG_DFL), usize::MAX);
}

fn fionread() -> u32 {
    match std::env::consts::ARCH {
        "powerpc" | "powerpc64" | "sparc" | "sparc64" => 0x4004_667f,
        "mips" | "mips64" => 0x467f,
        _ => 0x541b,
    }
}

fn o_direct() -> u32 {
    PipeFlags::DIRECT.bits()
}

// ---------------------------------------------------------------- reading and writing

/// A write without a reader fails with `EPIPE` and does not raise `SIGPIPE`, which would kill this process.
fn nosignal(_refused: Option<Errno>) -> Result<(), &'static str> {
    sigpipe_kills();
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(writer.write_nosignal(b"abc"), Ok(3));
    let bufs = [io::IoSlice::new(b"de"), io::IoSlice::new(b"f")];
    assert_eq!(io::writev_nosignal(&writer, &bufs), Ok(3));
    let mut buf = [0; 8];
    assert_eq!((reader.read(&mut buf), &buf[..6]), (Ok(6), &b"abcdef"[..]));
    drop(reader);
    for _ in 0..2 {
        assert_eq!(writer.write_nosignal(b"x"), Err(Errno::EPIPE));
    }
    assert_eq!(io::write_nosignal(file(b""), b"abc"), Ok(3));
    Ok(())
}

/// Calls that must not wait, or that have a deadline, return in time although the ends are blocking.
fn nowait_on_pipes(refused: Option<Errno>) -> Result<(), &'static str> {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let capacity = writer.capacity().unwrap();
    let (bytes, mut got) = (data(capacity), vec![0; capacity]);
    assert_eq!(reader.try_read(&mut got), Err(Errno::EAGAIN));
    let wait = Duration::from_millis(3);
    assert_eq!(reader.read_deadline(&mut got, Deadline::after(wait)), Err(Errno::ETIMEDOUT));
    assert_eq!(writer.try_write(&bytes), Ok(capacity));
    assert_eq!(writer.try_write(&bytes), Err(Errno::EAGAIN));
    assert_eq!(writer.write_deadline(&bytes, Deadline::after(wait)), Err(Errno::ETIMEDOUT));
    assert_eq!(reader.try_read(&mut got), Ok(capacity));
    assert!(got == bytes);
    assert_eq!((reader.is_nonblocking(), writer.is_nonblocking()), (Ok(false), Ok(false)));
    // An adaptive wait uses the same flag, `RWF_NOWAIT`.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (mut reader, mut writer) =
        (reader.with_wait(Wait::Adaptive), writer.with_wait(Wait::Adaptive));
    writer.write_all(&bytes).unwrap();
    reader.read_exact(&mut got).unwrap();
    assert!(got == bytes);
    // Without this flag, a file cannot be read without waiting.
    let answer = io::try_read(file(b"contents"), &mut got);
    match refused {
        None => assert!(matches!(answer, Ok(8) | Err(Errno::EOPNOTSUPP)), "{answer:?}"),
        Some(Errno::EINVAL) => assert_eq!(answer, Err(Errno::EINVAL)),
        Some(_) => assert_eq!(answer, Err(Errno::EOPNOTSUPP)),
    }
    Ok(())
}

fn both_flags(refused: Option<Errno>) -> Result<(), &'static str> {
    nowait_on_pipes(refused)?;
    nosignal(refused)
}

/// If a transfer or a closure of `without_sigpipe` writes to a pipe that has no reader, the write fails with
/// `EPIPE`. The raised `SIGPIPE` is not delivered to this process.
fn signal_of_a_call(_refused: Option<Errno>) -> Result<(), &'static str> {
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    let error = transfer(full_of(&pipeful()), &writer).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EPIPE)));
    assert_eq!(without_sigpipe(|| io::write(&writer, b"x")), Ok(Err(Errno::EPIPE)));
    Ok(())
}

/// If the kind of a socket cannot be determined, the transfer treats the socket as one without message
/// boundaries.
fn kinds_of_sockets(_refused: Option<Errno>) -> Result<(), &'static str> {
    let bytes = data(150_000);
    let (near, mut feeding) = socket_of(&bytes);
    let sink = file(b"");
    let done = transfer(&near, &sink).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (150_000, TransferMechanism::Broker));
    assert!(contents(&sink) == bytes);
    assert!(feeding.wait().unwrap().success());
    Ok(())
}

/// If the positions are unknown, a transfer does not detect that the source and the sink are the same file.
fn positions(refused: Option<Errno>) -> Result<(), &'static str> {
    let (bytes, sink) = (data(150_000), file(b""));
    let done = transfer(file(&bytes), &sink).unwrap();
    assert_eq!(done.bytes(), 150_000);
    assert!(common::bytes::all_of(&sink) == bytes);
    let both = file(&bytes);
    let answer = transfer(&both, &both).map_err(|error| error.errno());
    assert_eq!(refused.is_none(), answer == Err(Some(Errno::EINVAL)), "{answer:?}");
    Ok(())
}

fn without_a_clock(refused: Option<Errno>) -> Result<(), &'static str> {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let (cancel, epoll) = (Cancel::new().unwrap(), Epoll::new().unwrap());
    epoll.add(&reader, PollEvents::IN, 0).unwrap();
    let deadline = Deadline::after(Duration::from_millis(20));
    let mut events = [Event::default(); 1];
    for deadline in [deadline, deadline.or_cancelled(&cancel)] {
        assert_eq!(io::read_deadline(&reader, &mut [0], deadline), Err(Errno::ETIMEDOUT));
        assert!(epoll.wait_deadline(&mut events, deadline).unwrap().is_empty());
    }
    assert_eq!(deadline.has_passed(), refused.is_none());
    Ok(())
}

fn signals_of_a_thread(refused: Option<Errno>) -> Result<(), &'static str> {
    assert_eq!(without_sigpipe(|| 5), refused.map_or(Ok(5), Err));
    let (bytes, sink) = (pipeful(), file(b""));
    let done = transfer(full_of(&bytes), &sink);
    let told = done.map(|done| done.bytes()).map_err(|error| (error.bytes(), error.errno()));
    let all = bytes.len() as u64;
    assert_eq!(told, refused.map_or(Ok(all), |errno| Err((0, Some(errno)))));
    assert!(contents(&sink) == if refused.is_some() { &[] } else { &bytes[..] });
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    let error = transfer(full_of(&bytes), &writer).unwrap_err();
    assert_eq!(error.errno(), refused.or(Some(Errno::EPIPE)));
    // This write uses `RWF_NOSIGNAL` if the kernel supports the flag.
    let answer = writer.write_nosignal(b"x");
    assert!(answer == Err(Errno::EPIPE) || answer == refused.map_or(Ok(0), Err), "{answer:?}");
    Ok(())
}

// ---------------------------------------------------------------- pipes

/// The creation of a packet pipe has no fallback, so the call fails with the filter's errno.
fn packet_pipes(refused: Option<Errno>) -> Result<(), &'static str> {
    let made = packets().map(drop);
    assert_eq!(made, refused.map_or(Ok(()), Err));
    assert!(rawpipe::pipe().is_ok());
    Ok(())
}

/// If the capacity of a pipe cannot be changed, a request for an exact capacity fails. All other requests
/// leave the capacity unchanged, and chunks, programs and fan-outs still work.
fn capacities(refused: Option<Errno>) -> Result<(), &'static str> {
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let before = writer.capacity().unwrap();
    let (_other, large) = Builder::new().capacity(Capacity::Max).build().unwrap();
    let granted = writer.set_capacity(Capacity::Max).unwrap();
    match refused {
        None => assert!(granted >= before),
        Some(errno) => {
            assert_eq!((granted, large.capacity()), (before, Ok(before)));
            let exact = Capacity::Bytes(2 * before);
            assert_eq!(writer.set_capacity(exact), Err(errno));
            assert_eq!(Builder::new().capacity(exact).build().map(drop), Err(errno));
        }
    }
    chunks_arrive(ChunkWriter::builder());
    long_output();
    let (bytes, sinks) = (data(150_000), [file(b""), file(b"")]);
    let mut both = [FanoutSink::new(&sinks[0]), FanoutSink::new(&sinks[1])];
    assert_eq!(fanout(file(&bytes), &mut both).unwrap().bytes(), 150_000);
    assert!(sinks.iter().all(|sink| contents(sink) == bytes));
    Ok(())
}

/// Reads 3 MiB from a program, and then 3 MiB from a file.
fn long_output() {
    const LEN: usize = 3 << 20;
    let output =
        programs::program("flood", &[&LEN.to_string(), "0"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), LEN));
    assert!(programs::is_pattern(&output.stdout));
    let mut all = Vec::new();
    assert_eq!(io::read_to_end(file(&output.stdout), &mut all), Ok(LEN));
    assert!(all == output.stdout);
}

/// If a writer cannot determine how many bytes were read, it uses new pages.
fn bytes_in_a_pipe(refused: Option<Errno>) -> Result<(), &'static str> {
    let reader = full_of(b"12345");
    assert_eq!(reader.available(), refused.map_or(Ok(5), Err));
    chunks_arrive(ChunkWriter::builder().reuse(Reuse::AfterRead));
    Ok(())
}

// ---------------------------------------------------------------- waiting

fn epoll_timeouts(_refused: Option<Errno>) -> Result<(), &'static str> {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.add(&reader, PollEvents::IN, 42).unwrap();
    let mut events = [Event::default(); 2];
    for timeout in [0, 1, 999_999, 1_000_001, 2_000_000].map(Duration::from_nanos) {
        let begin = Instant::now();
        assert!(epoll.wait(&mut events, Some(timeout)).unwrap().is_empty());
        assert!(begin.elapsed() >= timeout, "{timeout:?}");
    }
    writer.write(b"x").unwrap();
    for timeout in [None, Some(Duration::MAX), Some(Duration::from_nanos(1))] {
        let found = epoll.wait(&mut events, timeout).unwrap();
        assert_eq!((found.len(), found[0].token()), (1, 42));
    }
    // A wait with an empty list still fails with `EINVAL`.
    let nanosecond = Some(Duration::from_nanos(1));
    assert_eq!(epoll.wait(&mut [], nanosecond).map(<[Event]>::len), Err(Errno::EINVAL));
    Ok(())
}

/// If the number of processors is unknown, the crate assumes that more than one exists.
fn waiting_awake(_refused: Option<Errno>) -> Result<(), &'static str> {
    let (bytes, sink) = (pipeful(), file(b""));
    let done = Transfer::new().wait(Wait::Adaptive).run(full_of(&bytes), &sink).unwrap();
    assert_eq!(done.bytes(), bytes.len() as u64);
    assert!(contents(&sink) == bytes);
    chunks_arrive(ChunkWriter::builder().wait(Wait::Adaptive));
    Ok(())
}

// ---------------------------------------------------------------- moving data

/// If `statx` fails, the kind of a descriptor is unknown, but a pipe is still recognised.
fn unknown_kinds(refused: Option<Errno>) -> Result<(), &'static str> {
    let (bytes, sink) = (pipeful(), file(b""));
    let done = transfer(full_of(&bytes), &sink).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (bytes.len() as u64, TransferMechanism::Broker));
    assert!(contents(&sink) == bytes);
    let (bytes, sink) = (data(150_000), file(b""));
    let done = transfer(file(&bytes), &sink).unwrap();
    assert_eq!(done.bytes(), 150_000);
    assert_eq!(
        refused.is_some(),
        done.mechanism() == TransferMechanism::Copy,
        "{}",
        done.mechanism()
    );
    assert!(contents(&sink) == bytes);
    // A transfer that has a deadline writes byte by byte only to terminals.
    let (sink, before) = (file(b""), calls_to_write());
    let until = Deadline::after(Duration::from_secs(60));
    Transfer::new().deadline(until).run(file(&bytes), &sink).unwrap();
    assert!(contents(&sink) == bytes);
    assert!(calls_to_write() - before < 100, "{} calls", calls_to_write() - before);
    Ok(())
}

/// Returns the number of write calls by all threads of this process, or 0 if the kernel does not count them.
fn calls_to_write() -> u64 {
    let all = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix("syscw: "));
    line.map_or(0, |count| count.parse().unwrap())
}

fn file_to_file(refused: Option<Errno>) -> Result<(), &'static str> {
    let bytes = data(150_000);
    // The second sink is in a temporary directory, which is often on another file system.
    let elsewhere = std::env::temp_dir().join(format!("rawpipe-test-{}", std::process::id()));
    let other = File::options().read(true).write(true).create_new(true).open(&elsewhere);
    let other = other.map_err(|_| "no folder for temporary files")?;
    std::fs::remove_file(&elsewhere).unwrap();
    for sink in [file(b""), other] {
        let done = transfer(file(&bytes), &sink).unwrap();
        assert_eq!(done.bytes(), 150_000);
        assert!(contents(&sink) == bytes);
        if refused.is_some() {
            assert!(done.fell_back());
            assert_eq!(done.mechanism(), TransferMechanism::Broker);
        }
    }
    let (source, sink) = (file(&bytes), file(b""));
    if let Some(errno) = refused {
        assert_eq!(copy_file_range(&source, None, &sink, None, 100), Err(errno));
    }
    Ok(())
}

/// Returns a socket, and the process that sends these bytes to it. After the bytes, the socket delivers end
/// of file.
fn socket_of(bytes: &[u8]) -> (UnixStream, Child) {
    let (near, far) = UnixStream::pair().unwrap();
    let (own, bytes) = (&near, bytes.to_vec());
    let feeding = child(|| {
        common::close_copy(own);
        u8::from(io::write_all(&far, &bytes).is_err())
    });
    (near, feeding)
}

/// Checks that `send` writes exactly the bytes `wanted` to a socket. Returns the mechanism that `send`
/// reports.
fn through_a_socket(
    send: impl FnOnce(&UnixStream) -> TransferMechanism,
    wanted: &[u8],
) -> TransferMechanism {
    let (near, far) = UnixStream::pair().unwrap();
    let (own, bytes) = (&near, wanted.to_vec());
    let mut listening = child(|| {
        common::close_copy(own);
        let mut got = Vec::new();
        let read = io::read_to_end(&far, &mut got);
        u8::from(read.is_err() || got != bytes)
    });
    drop(far);
    let mechanism = send(&near);
    drop(near);
    assert!(listening.wait().unwrap().success());
    mechanism
}

fn from_a_file(refused: Option<Errno>) -> Result<(), &'static str> {
    let bytes = data(150_000);
    let source = file(&bytes);
    let to_socket = |socket: &UnixStream| transfer(&source, socket).unwrap().mechanism();
    let mechanism = through_a_socket(to_socket, &bytes);
    let sink = file(b"");
    let done = transfer(file(&bytes), &sink).unwrap();
    assert!(contents(&sink) == bytes);
    if refused.is_some() {
        assert_eq!(
            (mechanism, done.mechanism()),
            (TransferMechanism::Broker, TransferMechanism::Broker)
        );
    } else {
        assert_eq!(mechanism, TransferMechanism::Sendfile);
    }
    Ok(())
}

fn without_splice(refused: Option<Errno>) -> Result<(), &'static str> {
    let (bytes, sink) = (pipeful(), file(b""));
    let done = transfer(full_of(&bytes), &sink).unwrap();
    assert!(contents(&sink) == bytes);
    assert_eq!(done.fell_back(), refused.is_some());
    let source = file(&bytes);
    through_a_socket(|socket| transfer(&source, socket).unwrap().mechanism(), &bytes);
    let long = data(150_000);
    let (near, mut feeding) = socket_of(&long);
    let sink = file(b"");
    let done = transfer(&near, &sink).unwrap();
    assert_eq!((done.bytes(), done.fell_back()), (150_000, refused.is_some()));
    assert!(contents(&sink) == long);
    assert!(feeding.wait().unwrap().success());
    // `splice` itself has no fallback.
    if let Some(errno) = refused {
        let nowhere = File::options().write(true).open("/dev/null").unwrap();
        let answer = splice(full_of(b"x"), None, &nowhere, None, 1, SpliceFlags::empty());
        assert_eq!(answer, Err(errno));
    }
    fanout_arrives(1);
    fanout_arrives(3);
    Ok(())
}

fn to_everybody(refused: Option<Errno>) -> Result<(), &'static str> {
    fanout_arrives(1);
    fanout_arrives(3);
    let ((_reader, writer), source) = (rawpipe::pipe().unwrap(), full_of(b"12345"));
    let answer = tee(&source, &writer, 10, SpliceFlags::empty());
    assert_eq!(answer, refused.map_or(Ok(5), Err));
    Ok(())
}

/// Runs two fan-outs of 200,001 bytes to this many files: one from a pipe that another process fills, and one
/// from a file.
fn fanout_arrives(count: usize) {
    let bytes = data(200_001);
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (own, feed) = (&reader, &bytes);
    let mut feeding = child(move || {
        common::close_copy(own);
        u8::from(writer.write_all(feed).is_err())
    });
    let source = file(&bytes);
    for from in [reader.as_fd(), source.as_fd()] {
        let files: Vec<_> = (0..count).map(|_| file(b"")).collect();
        let mut sinks: Vec<_> = files.iter().map(FanoutSink::new).collect();
        assert_eq!(fanout(from, &mut sinks).unwrap().bytes(), 200_001);
        for (sink, file) in sinks.iter().zip(&files) {
            assert_eq!((sink.bytes(), sink.error().is_none()), (200_001, true));
            assert!(contents(file) == bytes, "{count} sinks");
        }
    }
    assert!(feeding.wait().unwrap().success());
}

// ---------------------------------------------------------------- memory that the crate maps

const CHUNK: usize = 32 << 10;

/// Fills a chunk so that it differs from adjacent chunks and from chunks that may reuse its memory.
fn fill(chunk: &mut [u8], number: usize) {
    chunk.fill(programs::pattern(number));
}

/// Sends more chunks than a writer's memory holds. Sends each chunk twice, and reads each chunk before the
/// next is sent. Checks the bytes and returns the mechanism.
fn chunks_arrive(builder: WriterBuilder) -> By {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut writer = builder.chunk(CHUNK).build(writer).unwrap();
    let (mut got, mut wanted) = (vec![0; CHUNK], vec![0; CHUNK]);
    // If this user has too many pipes, new pipes are small, and a whole chunk would not fit in a pipe.
    let len = CHUNK.min(writer.get_ref().capacity().unwrap());
    for number in 0..5 * (2 << 20) / (4 * CHUNK) {
        fill(writer.chunk().unwrap(), number);
        fill(&mut wanted, number);
        for again in [false, true] {
            if again { writer.resend(len) } else { writer.send(len) }.unwrap();
            reader.read_exact(&mut got[..len]).unwrap();
            assert!(got[..len] == wanted[..len], "chunk {number}, again: {again}");
        }
    }
    writer.mechanism()
}

/// Returns the mechanism of a writer that was built with `mechanism` set, or the error of the builder.
fn asked_for(mechanism: By) -> Result<By, Errno> {
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let made = ChunkWriter::builder().mechanism(mechanism).build(writer);
    made.map(|_| chunks_arrive(ChunkWriter::builder().mechanism(mechanism)))
}

/// Checks that chunks arrive unchanged if their pages are spliced to other pipes and read 40 chunks later.
fn held_back(builder: WriterBuilder) {
    const HELD: usize = 40;
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut writer = builder.chunk(CHUNK).build(writer).unwrap();
    let len = CHUNK.min(writer.get_ref().capacity().unwrap());
    let pipes: Vec<_> = (0..HELD).map(|_| rawpipe::pipe().unwrap()).collect();
    let len = pipes.iter().fold(len, |len, (_, to)| len.min(to.capacity().unwrap() / 2));
    let (mut got, mut wanted) = (vec![0; CHUNK], vec![0; CHUNK]);
    for number in 0..3 * HELD {
        let (held, onward) = &pipes[number % HELD];
        if number >= HELD {
            held.read_exact(&mut got[..len]).unwrap();
            fill(&mut wanted, number - HELD);
            assert!(got[..len] == wanted[..len], "chunk {}", number - HELD);
        }
        fill(writer.chunk().unwrap(), number);
        writer.send(len).unwrap();
        let mut moved = 0;
        while moved < len {
            let none = SpliceFlags::empty();
            moved += splice(&reader, None, onward, None, len - moved, none).unwrap();
        }
    }
}

fn after_read() -> WriterBuilder {
    ChunkWriter::builder().reuse(Reuse::AfterRead)
}

fn chunks_by_other_means(refused: Option<Errno>) -> Result<(), &'static str> {
    let [plain, again] = [ChunkWriter::builder(), after_read()].map(chunks_arrive);
    let asked = asked_for(By::Vmsplice);
    if refused.is_some() {
        assert_eq!((plain, asked), (By::Write, Err(Errno::EOPNOTSUPP)));
        assert_ne!(again, By::Vmsplice);
    }
    held_back(ChunkWriter::builder());
    Ok(())
}

/// If memfds are rejected, both `pass_writer` and a builder with `ChunkMechanism::Memfd` set fail. Other
/// builders use another mechanism.
fn no_memfd(refused: Option<Errno>) -> Result<(), &'static str> {
    let asked = asked_for(By::Memfd);
    if refused.is_some() {
        assert_eq!(asked, Err(Errno::EOPNOTSUPP));
        assert_eq!(SharedBuilder::new().pass_writer().map(drop).err(), refused);
    }
    chunks_arrive(ChunkWriter::builder());
    let refuse = Filter::new(&[nr::VMSPLICE], Errno::ENOSYS);
    if refused.is_some() && refuse.install() {
        let (bytes, sink) = (pipeful(), file(b""));
        transfer(full_of(&bytes), &sink).unwrap();
        assert!(contents(&sink) == bytes);
        // The crate does not probe `vmsplice` again, because this process has cached the result of the first
        // probe.
    }
    Ok(())
}

/// Only `pass_reader` needs this seal, so `pass_writer` works without it.
fn no_reader_for_a_program(refused: Option<Errno>) -> Result<(), &'static str> {
    let [reader, writer] = [
        SharedBuilder::new().pass_reader().map(drop),
        SharedBuilder::new().pass_writer().map(drop),
    ];
    if writer == Err(Errno::EOPNOTSUPP) {
        return Err("no memory that is wiped in a forked child");
    }
    assert_eq!(writer, Ok(()));
    match refused {
        Some(errno) => assert_eq!(reader, Err(errno)),
        None => assert!(matches!(reader, Ok(()) | Err(Errno::EINVAL))),
    }
    Ok(())
}

fn memfd_without_a_flag(refused: Option<Errno>) -> Result<(), &'static str> {
    const MFD_CLOEXEC: usize = 1;
    const MFD_ALLOW_SEALING: usize = 2;
    let (name, flags) = (c"probe".as_ptr().expose_provenance(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
    // SAFETY: the call reads the name up to its NUL.
    if unsafe { raw::syscall2(nr::MEMFD_CREATE, name, flags) } < 0 {
        let _ = asked_for(By::Memfd);
        return Err("no files in memory here");
    }
    let asked = asked_for(By::Memfd);
    assert_eq!(asked, Ok(By::Memfd), "{refused:?}");
    Ok(())
}

/// If `madvise` fails, the page size cannot be determined. The crate then assumes 4096 bytes and passes no
/// pages by reference.
fn no_advice(refused: Option<Errno>) -> Result<(), &'static str> {
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let pages = writer.capacity().unwrap() / 4096;
    assert_eq!(pipe::is_degraded(&writer), Ok(pages <= 2));
    let mechanism = chunks_arrive(ChunkWriter::builder());
    let copies = common::vmsplice_copies() && common::splice_copies();
    let writes = refused.is_some() || pages <= 2 || copies;
    assert_eq!(chunks_arrive(after_read()) == By::Write, writes);
    if refused.is_some() {
        assert_eq!(mechanism, By::Write);
        assert_eq!(asked_for(By::Vmsplice), Err(Errno::EOPNOTSUPP));
    }
    // This list of descriptors is too long for the usual stack of a spawn.
    let many: Vec<_> = (100..700).map(|number| (writer.as_fd(), number)).collect();
    let argv = [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"exit 5"), Arg::END];
    let spawn = Spawn::new(c"/bin/sh", &argv, &[Arg::END]).fd_maps(&many);
    assert_eq!(spawn.spawn().unwrap().wait().unwrap().code(), Some(5));
    spawn_works(SpawnMethod::Vfork);
    long_output();
    let (bytes, sink) = (data(150_000), file(b""));
    assert_eq!(transfer(file(&bytes), &sink).unwrap().bytes(), 150_000);
    assert!(contents(&sink) == bytes);
    Ok(())
}

/// Without `MADV_WIPEONFORK`, a forked child would inherit the pages, so the writer does not pass the pages
/// by reference.
fn nothing_wiped(refused: Option<Errno>) -> Result<(), &'static str> {
    let mechanisms = [ChunkWriter::builder(), after_read()].map(chunks_arrive);
    let asked = [By::Vmsplice, By::Memfd].map(asked_for);
    if refused.is_some() {
        assert_eq!(mechanisms, [By::Write; 2]);
        assert_eq!(asked, [Err(Errno::EOPNOTSUPP); 2]);
        assert_eq!(chunk::shared().map(drop), Err(Errno::EOPNOTSUPP));
    }
    Ok(())
}

/// If `MADV_DONTNEED` is rejected, the writer uses new pages instead of discarding the old pages.
fn pages_kept(_refused: Option<Errno>) -> Result<(), &'static str> {
    if let Ok(mechanism) = asked_for(By::Vmsplice) {
        assert_eq!(mechanism, By::Vmsplice);
        held_back(ChunkWriter::builder().mechanism(By::Vmsplice));
    } else {
        return Err("vmsplice copies here");
    }
    Ok(())
}

fn small_pages(_refused: Option<Errno>) -> Result<(), &'static str> {
    chunks_arrive(ChunkWriter::builder());
    chunks_arrive(after_read());
    long_output();
    let (bytes, sink) = (pipeful(), file(b""));
    let by_buffer = Transfer::new().without(TransferMechanism::Broker);
    let done = by_buffer.run(full_of(&bytes), &sink).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (bytes.len() as u64, TransferMechanism::Copy));
    assert!(contents(&sink) == bytes);
    Ok(())
}

// ---------------------------------------------------------------- creating processes

/// Even without `CLONE_CLEAR_SIGHAND`, a child does not keep its parent's handler, so `SIGUSR1` kills the
/// child.
fn spawn_by_vfork(_refused: Option<Errno>) -> Result<(), &'static str> {
    extern "C" fn handler(_signal: i32) {
        common::HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    signal(Signal::USR1.as_raw(), handler as extern "C" fn(i32) as usize);
    spawn_works(SpawnMethod::Vfork);
    let mut child = Command::new("/bin/sh").args(["-c", "kill -USR1 $$"]).spawn().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::USR1));
    Ok(())
}

fn spawn_by_fork(refused: Option<Errno>) -> Result<(), &'static str> {
    spawn_works(if refused.is_some() { SpawnMethod::Fork } else { SpawnMethod::Vfork });
    // A child that does not share memory with its parent reports a failure through a pipe.
    let error = Command::new("/bin/sh").current_dir("/no/such").spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Chdir, Errno::ENOENT));
    let (output, code) = output_of(programs::program("fds", &[]).close_other_fds());
    assert_eq!((output, code), (b"0\n1\n2\n".to_vec(), Some(0)));
    Ok(())
}

/// If `CLONE_PIDFD` is rejected, the crate opens the pidfd with a separate call.
fn pidfd_afterwards(_refused: Option<Errno>) -> Result<(), &'static str> {
    spawn_works(SpawnMethod::Vfork);
    let there = pidfds_are_there();
    let (mut waiting, opener) = waiting_child();
    let mut spawned = Command::new("/bin/sh").args(["-c", "exit 4"]).spawn().unwrap();
    assert_eq!((spawned.pidfd().is_some(), waiting.pidfd().is_some()), (there, there));
    drop(opener);
    assert_eq!(spawned.wait().unwrap().code(), Some(4));
    assert_eq!(waiting.wait().unwrap().code(), Some(3));
    Ok(())
}

/// Without `PR_GET_TID_ADDRESS`, a forked child can still use threads of the C library.
fn fork_and_wait(_refused: Option<Errno>) -> Result<(), &'static str> {
    let mut child = child(|| {
        let thread = std::thread::spawn(|| 5_u8);
        thread.join().unwrap_or(0)
    });
    assert_eq!(child.wait().unwrap().code(), Some(5));
    Ok(())
}

/// If `unshare` is rejected, the crate counts the threads. `EINVAL` is the exception, because `unshare` also
/// fails with this error if other threads exist.
fn fork_when_alone(refused: Option<Errno>) -> Result<(), &'static str> {
    if common::tool() == Some(Tool::Thread) {
        return Err("the tool gives a child a thread of its own");
    }
    let fork_alone = || {
        // SAFETY: the child only exits.
        match unsafe { process::fork_single_threaded() } {
            Ok(Fork::Child) => process::exit(6),
            Ok(Fork::Parent(mut child)) => Ok(child.wait().unwrap().code()),
            Err(errno) => Err(errno),
        }
    };
    let wanted = if refused == Some(Errno::EINVAL) { Err(Errno::EBUSY) } else { Ok(Some(6)) };
    assert_eq!(fork_alone(), wanted);
    let (gate, opener) = rawpipe::pipe().unwrap();
    let thread = std::thread::spawn(move || gate.read(&mut [0]));
    assert_eq!(fork_alone(), Err(Errno::EBUSY));
    drop(opener);
    assert_eq!(thread.join().unwrap(), Ok(0));
    Ok(())
}

fn others_closed(_refused: Option<Errno>) -> Result<(), &'static str> {
    // The child would inherit these descriptors if they were not closed.
    let loose: Vec<_> = (0..3).map(|_| rawpipe::pipe2(PipeFlags::empty()).unwrap()).collect();
    let mut command = programs::program("fds", &[]);
    let inherited = output_of(&mut command).0;
    assert!(inherited.split(|byte| *byte == b'\n').count() > 9, "{inherited:?}");
    for kept in [5, 9, 300] {
        let mut command = programs::program("fds", &[]);
        command.close_other_fds().fd_map(file(b""), kept);
        let (output, code) = output_of(&mut command);
        assert_eq!((output, code), (format!("0\n1\n2\n{kept}\n").into_bytes(), Some(0)));
    }
    assert!(open_fds().len() >= 6, "this process has what it had");
    drop(loose);
    Ok(())
}

fn exec_by_descriptor(_refused: Option<Errno>) -> Result<(), &'static str> {
    let code = |file: OwnedFd| {
        let argv = [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"exit $CODE"), Arg::END];
        let envp = [Arg::new(c"CODE=4"), Arg::END];
        let mut child = child(|| match process::fexecve(&file, &argv, &envp) {
            Err(errno) => u8::try_from(100 + errno.raw_os_error()).unwrap_or(0),
        });
        child.wait().unwrap().code()
    };
    assert_eq!(code(File::open("/bin/sh").unwrap().into()), Some(4));
    let not_executable = file(b"nothing").into();
    assert_eq!(code(not_executable), Some(100 + Errno::EACCES.raw_os_error()));
    Ok(())
}

// ---------------------------------------------------------------- handles of processes

fn no_pidfd(refused: Option<Errno>) -> Result<(), &'static str> {
    let there = refused.is_none() && pidfds_are_there();
    let (mut child, opener) = waiting_child();
    assert_eq!(child.pidfd().is_some(), there);
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_deadline(Deadline::after(Duration::from_millis(20))), Ok(None));
    drop(opener);
    let end = child.wait_deadline(Deadline::after(Duration::from_secs(200))).unwrap();
    assert_eq!(end.and_then(|end| end.code()), Some(3));
    assert_eq!((child.kill(), child.send_signal(Signal::KILL)), (Ok(()), Err(Errno::ESRCH)));
    let (child, _opener) = waiting_child();
    child.send_signal(Signal::TERM).unwrap();
    let mut child = child;
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM));
    let mut spawned = Command::new("/bin/sh");
    let spawned = spawned.args(["-c", "exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut spawned = spawned.spawn().unwrap();
    assert_eq!(spawned.pidfd().is_some(), there);
    let output = process::Communicate::new()
        .input(b"in and out")
        .grace(Duration::from_secs(100))
        .run(&mut spawned)
        .unwrap();
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"in and out"[..], Some(0)));
    Ok(())
}

fn wait_every_way(_refused: Option<Errno>) -> Result<(), &'static str> {
    let (mut child, opener) = waiting_child();
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_deadline(Deadline::after(Duration::from_millis(5))), Ok(None));
    child.send_signal(Signal::STOP).unwrap();
    assert_eq!(child.wait_change().unwrap().stopped_signal(), Some(Signal::STOP));
    child.send_signal(Signal::CONT).unwrap();
    assert!(child.wait_change().unwrap().continued());
    drop(opener);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(child.wait().unwrap().code(), Some(3));
    Ok(())
}

fn signals_arrive(_refused: Option<Errno>) -> Result<(), &'static str> {
    let (mut child, _opener) = waiting_child();
    child.send_signal(Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM));
    assert_eq!(child.send_signal(Signal::TERM), Err(Errno::ESRCH));
    let (mut child, _opener) = waiting_child();
    child.lead_group().unwrap();
    child.kill_group().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    Ok(())
}

/// Without `PIDFD_SIGNAL_PROCESS_GROUP`, the crate does not use the group number after a wait for the leader.
/// Another process may have received the number by then.
fn group_of_a_dead_leader(refused: Option<Errno>) -> Result<(), &'static str> {
    let (alive, held) = rawpipe::pipe().unwrap(); // reaches end of file when the group member exits
    let (gate, opener) = rawpipe::pipe().unwrap();
    let (go, begin) = rawpipe::pipe().unwrap();
    let mut leader = {
        let copies = (&opener, &begin);
        child(move || {
            common::close_copy(copies.0);
            common::close_copy(copies.1);
            assert_eq!(go.read(&mut [0]), Ok(0));
            let member = child(move || {
                let _held = held;
                u8::from(gate.read(&mut [0]).is_err())
            });
            drop(member);
            0
        })
    };
    leader.lead_group().unwrap();
    leader.send_signal_group(Signal::CONT).unwrap();
    drop(begin);
    assert!(leader.wait().unwrap().success());
    let answer = leader.kill_group();
    if refused.is_some() {
        assert_eq!(answer, Err(Errno::ESRCH));
        assert_eq!(alive.try_read(&mut [0]), Err(Errno::EAGAIN), "it lives");
        drop(opener);
    } else if answer.is_err() {
        assert_eq!(answer, Err(Errno::ESRCH)); // before Linux 6.9
        drop(opener);
    }
    assert_eq!(alive.read(&mut [0]), Ok(0));
    Ok(())
}

/// `Pidfd::getfd` has no fallback, so it fails with the filter's errno.
fn no_copy_of_a_descriptor(refused: Option<Errno>) -> Result<(), &'static str> {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let this = process::Pidfd::open(process::getpid()).map_err(|_| "no pidfd")?;
    match (this.getfd(reader.as_fd().as_raw_fd()), refused) {
        (answer, Some(errno)) => assert_eq!(answer.unwrap_err(), errno),
        (Err(_), None) => return Err("no pidfd_getfd"),
        (Ok(_), None) => {}
    }
    Ok(())
}

/// If another wait has collected the status, the kernel may still return the status to this wait. Otherwise
/// this wait fails with `ECHILD`.
fn status_taken_by_another(refused: Option<Errno>) -> Result<(), &'static str> {
    let mut child = child(|| 5);
    let mut status = 0;
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: the call writes one `int`.
    assert_eq!(unsafe { waitpid(pid, &raw mut status, 0) }, pid);
    let answer = child.wait().map(|end| end.code());
    match refused {
        Some(_) => assert_eq!(answer, Err(Errno::ECHILD)),
        None => assert!(matches!(answer, Ok(Some(5)) | Err(Errno::ECHILD)), "{answer:?}"),
    }
    Ok(())
}
