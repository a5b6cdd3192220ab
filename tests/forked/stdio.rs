//! Tests the standard streams and the other descriptors of children. Also tests the path of the program, its
//! directory and its environment. The tests cover closed streams and every mapping of this process's streams
//! to the child's streams. Each test runs in its own process.
#![allow(unsafe_code, reason = "closing and replacing standard streams, by their numbers")]

use crate::common::nr;
use crate::common::programs::{all_of, output_of, program, std_program};
use crate::common::{self, Filter, Value, keep, skip};
use rawpipe::Deadline;
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rawpipe::process::{
    Arg, Command, OnDrop, Resource, Rlimit, Signal, Spawn, SpawnMethod, SpawnStage, Stdio,
};
use rawpipe::{Errno, PipeFlags, io, raw};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

/// Borrows a standard stream of this process by its number.
pub(crate) fn own(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the descriptor is open, or the test uses it only for calls that may fail.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Runs `body` while each of the descriptors 0, 1 and 2 either refers to the given file or is closed.
/// Restores the streams afterwards.
pub(crate) fn with_standard<R>(files: [Option<BorrowedFd<'_>>; 3], body: impl FnOnce() -> R) -> R {
    let replace = |from: BorrowedFd<'_>, to: usize| {
        let from = usize::try_from(from.as_raw_fd()).unwrap();
        // SAFETY: the arguments are integers, and a copy keeps the old file open.
        let answer = unsafe { raw::syscall3(nr::DUP3, from, to, 0) };
        assert_eq!(usize::try_from(answer), Ok(to));
    };
    let saved = [0, 1, 2].map(|number| io::dup_cloexec(own(number)).unwrap());
    for (number, file) in files.into_iter().enumerate() {
        match file {
            Some(file) => replace(file, number),
            // SAFETY: the arguments are integers, and a copy keeps the old file open.
            None => assert_eq!(unsafe { raw::syscall1(nr::CLOSE, number) }, 0),
        }
    }
    let result = body();
    saved.iter().enumerate().for_each(|(number, file)| replace(file.as_fd(), number));
    result
}

/// Runs `body` while some of the three streams are closed and the others refer to `/dev/null`. Bit *n* of
/// `closed` is set if descriptor *n* is closed.
pub(crate) fn with_closed<R>(closed: u8, body: impl FnOnce() -> R) -> R {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let open = |number: u8| (closed >> number & 1 == 0).then(|| null.as_fd());
    with_standard([0, 1, 2].map(open), body)
}

/// Makes all later spawns use an ordinary fork, whose child reports failures through a pipe. Skips the test
/// and returns false if no filter can reject shared memory.
fn no_shared_memory(test: &str) -> bool {
    let index = if cfg!(target_arch = "s390x") { 1 } else { 0 };
    let filters = [
        Filter::on_argument(nr::CLONE, index, Value::Has(0x100), Errno::EPERM),
        Filter::new(&[nr::CLONE3], Errno::ENOSYS),
    ];
    // Valgrind turns a `clone` with `CLONE_VM` into a fork, so a filter cannot recognise the call.
    let seen = common::tool() != Some(common::Tool::Valgrind);
    let installed = seen && filters.iter().all(Filter::install);
    if !installed {
        skip(test, "no filter of system calls here that sees it");
    }
    installed
}

fn leak(string: impl Into<Vec<u8>>) -> &'static CStr {
    keep(CString::new(string).unwrap().into_boxed_c_str())
}

fn list(strings: impl IntoIterator<Item = OsString>) -> &'static [Arg<'static>] {
    let strings = strings.into_iter().map(|string| Arg::new(leak(string.into_vec())));
    keep(strings.chain([Arg::END]).collect())
}

/// Returns a `Spawn` of a program that writes each number in `numbers` to the descriptor with that number.
fn marker(numbers: &[&str]) -> Spawn<'static> {
    let mark = std_program("mark", numbers);
    let words = [mark.get_program()].into_iter().chain(mark.get_args()).map(OsStr::to_owned);
    let variables = env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    Spawn::new(leak(mark.get_program().as_bytes()), list(words), list(variables))
}

fn contents(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

// ---- mappings between standard streams ----

/// Checks every mapping of the child's standard streams for every set of open streams in this process. The
/// child inherits the streams that are not mapped. Some mappings exchange or rotate streams, or use one
/// stream twice.
fn every_mapping() {
    let open_sets: &[u8] = if common::emulated() { &[0b111] } else { &[0, 1, 2, 3, 4, 5, 6, 7] };
    let spawn = marker(&["0", "1", "2"]);
    for open in open_sets {
        // Each source is the number of this process's stream that becomes a stream of the child, or 3 for an
        // inherited stream.
        for choice in 0..64 {
            let sources = [choice % 4, choice / 4 % 4, choice / 16];
            let is_open = |number: RawFd| open >> number & 1 == 1;
            if sources.iter().any(|source| *source < 3 && !is_open(*source)) {
                continue;
            }
            let files = [(); 3].map(|()| common::file(b""));
            let mut given = files.each_ref().map(|file| Some(file.as_fd()));
            for (number, file) in (0..).zip(&mut given) {
                *file = file.filter(|_| is_open(number));
            }
            let mapped = (0..).zip(sources).filter(|(_, source)| *source < 3);
            let fds: Vec<_> = mapped.map(|(number, source)| (own(source), number)).collect();
            let ended = with_standard(given, || {
                spawn.fd_maps(&fds).spawn().map(|mut child| child.wait().map(|end| end.code()))
            });
            assert_eq!(ended, Ok(Ok(Some(0))), "{open:03b} {sources:?}");
            let mut expected = [const { String::new() }; 3];
            for (number, source) in (0..).zip(sources) {
                let source = if source == 3 { number } else { source };
                if is_open(source) {
                    expected[usize::try_from(source).unwrap()].push_str(&number.to_string());
                }
            }
            assert_eq!(files.each_ref().map(contents), expected, "{open:03b} {sources:?}");
        }
    }
}

fn spawn_every_way_from_standard_to_standard_streams() {
    every_mapping();
}

fn spawn_every_way_from_standard_to_standard_streams_by_fork() {
    if no_shared_memory("spawn_every_way_from_standard_to_standard_streams_by_fork") {
        assert_eq!(marker(&["0"]).spawn().unwrap().method(), SpawnMethod::Fork);
        every_mapping();
    }
}

/// A child and its pipes work, whichever standard streams of this process are closed.
fn closed_ones() {
    for closed in 0..8 {
        for piped in 0..8 {
            let mut command = program("aside", &[]);
            let stdio =
                |bit: u8| if piped >> bit & 1 == 1 { Stdio::piped() } else { Stdio::null() };
            command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
            let before = common::open_fds();
            let (output, missing) = with_closed(closed, || {
                let mut child = command.spawn().unwrap();
                let output = child.communicate(b"through").map_err(|error| error.reason());
                drop(child);
                let mut missing = Command::new("/no/such/program");
                missing.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2)).close_other_fds();
                (output, missing.spawn().map(drop))
            });
            let output = output.unwrap();
            let what = format!("closed {closed:03b}, pipes {piped:03b}");
            assert!(output.status.success(), "{what}");
            let stdout: &[u8] = if piped & 3 == 3 { b"through" } else { b"" };
            let stderr: &[u8] = if piped & 4 == 4 { b"err" } else { b"" };
            assert_eq!((&*output.stdout, &*output.stderr), (stdout, stderr), "{what}");
            let error = missing.unwrap_err();
            assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT), "{what}");
            assert_eq!(common::open_fds(), before, "{what}");
        }
    }
}

fn stdio_any_of_the_three_closed_in_the_parent() {
    closed_ones();
}

fn stdio_any_of_the_three_closed_in_the_parent_by_fork() {
    if no_shared_memory("stdio_any_of_the_three_closed_in_the_parent_by_fork") {
        closed_ones();
    }
}

/// `Command` can exchange a child's standard output and standard error.
fn stdio_output_and_errors_exchanged() {
    let [out, err] = [(); 2].map(|()| common::file(b""));
    let null = File::open("/dev/null").unwrap();
    let code = with_standard([Some(null.as_fd()), Some(out.as_fd()), Some(err.as_fd())], || {
        let mut command = program("both", &[]);
        command.stdout(io::dup_cloexec(own(2)).unwrap()).stderr(io::dup_cloexec(own(1)).unwrap());
        command.spawn().unwrap().wait().unwrap().code()
    });
    assert_eq!((code, contents(&out), contents(&err)), (Some(0), "err".into(), "out".into()));
}

/// The child inherits this process's standard output, and the child's standard error goes to the same file.
fn stdio_errors_into_an_inherited_output() {
    let out = common::file(b"");
    let null = File::open("/dev/null").unwrap();
    let code = with_standard([Some(null.as_fd()), Some(out.as_fd()), Some(null.as_fd())], || {
        let mut command = program("both", &[]);
        command.stderr(io::dup_cloexec(own(1)).unwrap());
        command.spawn().unwrap().wait().unwrap().code()
    });
    assert_eq!((code, contents(&out)), (Some(0), "outerr".to_owned()));
}

/// With `2>&1`, a child's writes to both streams stay in order, regardless of the destination.
fn stdio_same_as_stdout_wherever_that_goes() {
    const BOTH: &str = "outerr";
    let same = || {
        let mut command = program("both", &[]);
        command.stderr(Stdio::same_as_stdout());
        command
    };
    // Runs two children. The destination is the pipe of `output` for one child, and a pipe that the caller
    // reads for the other child.
    let output = same().output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (BOTH.as_bytes(), &b""[..]));
    let mut child = same().stdout(Stdio::piped()).spawn().unwrap();
    assert!(child.stderr_ref().is_none());
    let output = child.communicate(b"").unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (BOTH.as_bytes(), &b""[..]));

    // The destination is a file. The file is set after `same_as_stdout`, set before it, or mapped to
    // descriptor 1.
    let sets: [fn(&mut Command<'static>, File); 3] = [
        |command, file| _ = command.stdout(file),
        |command, file| {
            _ = command.stderr(Stdio::inherit()).stdout(file).stderr(Stdio::same_as_stdout())
        },
        |command, file| _ = command.fd_map(file, 1),
    ];
    for set in sets {
        let file = common::file(b"");
        let mut command = same();
        set(&mut command, file.try_clone().unwrap());
        assert!(command.status().unwrap().success());
        assert_eq!(contents(&file), BOTH);
    }
    // Runs two children. The destination is `/dev/null` for the first, and this process's standard output for
    // the second.
    assert!(same().stdout(Stdio::null()).status().unwrap().success());
    let (out, err) = (common::file(b""), common::file(b""));
    let null = File::open("/dev/null").unwrap();
    let code = with_standard([Some(null.as_fd()), Some(out.as_fd()), Some(err.as_fd())], || {
        same().status()
    });
    assert_eq!(
        (code.unwrap().code(), contents(&out), contents(&err)),
        (Some(0), BOTH.into(), String::new())
    );
    // Standard output is closed, so it has no file that standard error could share.
    let error = with_closed(0b010, || same().spawn().map(drop)).unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Dup { from: 1, to: 2 }, Errno::EBADF));
}

fn stdio_same_as_stdout_many_lines_in_order() {
    let mut command = Command::new("sh");
    command.args(["-c", "i=0; while [ $i -lt 500 ]; do echo $i; echo $i >&2; i=$((i+1)); done"]);
    let wanted: String = (0..500).map(|i| format!("{i}\n{i}\n")).collect();
    let output = command.stderr(Stdio::same_as_stdout()).output().unwrap();
    assert!(output.stdout == wanted.as_bytes());
}

fn stdio_same_as_stdout_for_another_stream_einval() {
    for number in 0..2 {
        let mut command = program("exit", &["0"]);
        match number {
            0 => command.stdin(Stdio::same_as_stdout()),
            _ => command.stdout(Stdio::same_as_stdout()),
        };
        let error = command.spawn().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (SpawnStage::Arguments, Errno::EINVAL));
        assert_eq!(command.exec(), error);
    }
    let mut command = program("exit", &["0"]);
    let error =
        command.stderr(Stdio::same_as_stdout()).fd_map(common::file(b""), 2).spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Arguments, Errno::EINVAL));
}

/// This process's descriptor 2 becomes the child's standard output. The child also inherits descriptor 2 as
/// its standard error.
fn stdio_file_at_2_is_the_output_beside_inherited_errors() {
    let file = common::file(b"");
    let null = File::open("/dev/null").unwrap();
    let ended = with_standard([Some(null.as_fd()), Some(null.as_fd()), Some(file.as_fd())], || {
        let spawn = marker(&["1", "2"]);
        spawn.fd_maps(&[(own(2), 1)]).spawn().map(|mut child| child.wait().map(|end| end.code()))
    });
    assert_eq!((ended, contents(&file)), (Ok(Ok(Some(0))), "12".to_owned()));
}

/// Creating and dropping duplicates of the standard streams does not close the streams. As in std, a
/// duplicate of any kind of file can become a `PipeWriter`.
fn dup_of_standard_streams_again_and_again_leaves_them_open() {
    for _ in 0..100 {
        for number in 0..3 {
            drop(io::dup(own(number)).unwrap());
            drop(io::dup_cloexec(own(number)).unwrap());
            drop(rawpipe::PipeWriter::from(io::dup_cloexec(own(number)).unwrap()));
        }
    }
    assert!((0..3).all(|number| io::is_close_on_exec(own(number)).is_ok()));
}

// ---- the descriptors of a child ----

/// Runs the program `fds` and returns the descriptors that are open in that program.
fn open_in(command: &mut Command<'_>) -> BTreeSet<RawFd> {
    let (output, code) = output_of(command);
    assert_eq!(code, Some(0));
    let text = String::from_utf8(output).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// A child does not receive this process's descriptors above 2 unless they are inheritable.
fn fds_of_the_parent_are_not_in_the_child() {
    let file = common::file(b"");
    let (socket, _other) = UnixStream::pair().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let epoll = rawpipe::event::Epoll::new().unwrap();
    let event = rawpipe::event::EventFd::new(0).unwrap();
    let given: Vec<RawFd> = vec![
        file.as_raw_fd(),
        socket.as_raw_fd(),
        reader.as_raw_fd(),
        writer.as_raw_fd(),
        epoll.as_fd().as_raw_fd(),
        event.as_fd().as_raw_fd(),
    ];
    let open = open_in(&mut program("fds", &[]));
    assert!(open.is_superset(&BTreeSet::from([0, 1, 2])), "{open:?}");
    assert!(given.iter().all(|number| !open.contains(number)), "{given:?} {open:?}");
    io::set_close_on_exec(&file, false).unwrap();
    assert!(open_in(&mut program("fds", &[])).contains(&file.as_raw_fd()));
    // With `close_other_fds` the child does not receive the file, but the file stays open in this process.
    let open = open_in(program("fds", &[]).close_other_fds());
    assert!(!open.contains(&file.as_raw_fd()), "{open:?}");
    assert_eq!(io::is_close_on_exec(&file), Ok(false));
}

/// One file can be both a standard stream and a mapped descriptor. In this process, the descriptor's
/// close-on-exec flag stays set.
fn fd_map_of_what_is_a_stream_too() {
    let file = common::file(b"");
    let mut command = program("mark", &["1", "7", "2", "8"]);
    command.stdout(file.try_clone().unwrap()).fd_map(file.try_clone().unwrap(), 7);
    command.stderr(Stdio::null());
    assert!(command.spawn().unwrap().wait().unwrap().success());
    assert_eq!(contents(&file), "17");
    assert_eq!(io::is_close_on_exec(&file), Ok(true));
}

/// With `close_range`, `close_other_fds` also closes a descriptor above the limit. Such a descriptor exists
/// if the limit was lowered after the descriptor was created.
fn close_other_fds_above_a_lowered_limit() {
    let test = "close_other_fds_above_a_lowered_limit";
    if common::descriptors_without_limit(test) {
        return;
    }
    const F_DUPFD: usize = 0;
    let file = common::file(b"");
    let from = usize::try_from(file.as_raw_fd()).unwrap();
    // SAFETY: the call has only integer arguments.
    let high = unsafe { raw::syscall3(nr::FCNTL, from, F_DUPFD, 300) };
    assert!(high >= 300, "{high}");
    common::set_limits(Resource::NOFILE.as_raw(), [64; 2]);
    let high = i32::try_from(high).unwrap();
    if common::emulated() {
        return skip(test, "an emulator has descriptors of its own");
    }
    assert!(open_in(&mut program("fds", &[])).contains(&high), "it is inheritable");
    let open = open_in(program("fds", &[]).close_other_fds());
    if open.contains(&high) {
        // SAFETY: the arguments are integers, and the range of descriptors is empty.
        let answer = unsafe { raw::syscall3(nr::CLOSE_RANGE, 1 << 20, 1 << 20, 0) };
        assert_ne!(answer, 0, "{open:?}");
        skip(test, "without close_range only what is below the limit");
    }
    assert_eq!(io::is_close_on_exec(own(high)), Ok(false), "this process's is open");
}

/// The second child has no copy of the first child's pipes. The first child therefore ends when this process
/// closes that child's input.
fn pipes_of_one_child_are_not_in_the_next() {
    let cat = || {
        let mut command = program("cat", &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).on_drop(OnDrop::Kill);
        command.spawn().unwrap()
    };
    let (mut first, mut second) = (cat(), cat());
    drop(first.take_stdin());
    assert_eq!(all_of(first.take_stdout()), b"");
    assert!(first.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().success());
    assert_eq!(second.try_wait(), Ok(None));
    drop(second.take_stdin());
    assert!(second.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().success());
}

/// `wait` does not wait for a grandchild that is still running after the child has ended.
fn stdio_null_with_a_grandchild_left_behind() {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let before = common::open_fds();
    let mut command = program("parent", &[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).fd_map(gate, 7);
    let mut child = command.spawn().unwrap();
    assert!(child.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().success());
    drop(child);
    assert_eq!(common::open_fds(), before);
    // A successful write shows that the grandchild is alive, because it holds the read end.
    drop(command);
    assert_eq!(opener.write(b"x"), Ok(1));
}

/// A descriptor limit of 0 does not affect the child's streams, because limits are set after the descriptors
/// are in place.
fn rlimit_nofile_0_leaves_the_streams() {
    if common::descriptors_without_limit("rlimit_nofile_0_leaves_the_streams") {
        return;
    }
    if common::emulated() {
        return skip("rlimit_nofile_0_leaves_the_streams", "an emulator needs some itself");
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo out"]).rlimit(Resource::NOFILE, Rlimit::both(0));
    let output = command.output().unwrap();
    // With this limit, the loader of a dynamically linked program cannot open shared libraries, so the
    // program may fail with an error message.
    match output.status.code() {
        Some(0) => assert_eq!(output.stdout, b"out\n"),
        code => assert!(code.is_some() && !output.stderr.is_empty(), "{output:?}"),
    }
}

// ---- the program, its directory, its environment ----

/// Creates a symbolic link to this program in `folder`.
fn link_to_this(folder: &std::path::Path, name: &OsStr) -> std::path::PathBuf {
    let path = folder.join(name);
    symlink(env::current_exe().unwrap(), &path).unwrap();
    path
}

/// If a program name contains a slash, `PATH` is not searched. A relative path is resolved in the child's
/// directory, and the name may contain any bytes.
fn program_by_a_relative_path_or_by_any_bytes() {
    if common::emulated() {
        let test = "program_by_a_relative_path_or_by_any_bytes";
        return skip(test, "the kernel cannot start a foreign program");
    }
    let folder = common::tmp_path();
    fs::create_dir_all(folder.join("sub")).unwrap();
    let bytes = OsString::from_vec(b"pro\xffgram = 1".to_vec());
    let path = link_to_this(&folder.join("sub"), &bytes);
    let code = |program: &OsStr, command: &dyn Fn(&mut Command<'_>)| {
        let mut new = Command::new(program);
        new.args(std_program("exit", &["5"]).get_args());
        command(&mut new);
        new.spawn().map(|mut child| child.wait().unwrap().code()).map_err(|error| error.errno())
    };
    let in_sub = |prefix: &str| {
        let mut name = OsString::from(prefix);
        name.push(&bytes);
        name
    };
    assert_eq!(code(path.as_os_str(), &|_| ()), Ok(Some(5)), "an absolute path");
    let there = |command: &mut Command<'_>| _ = command.current_dir(&folder);
    assert_eq!(code(&in_sub("sub/"), &there), Ok(Some(5)), "from the child's folder");
    assert_eq!(code(&in_sub("./sub/"), &there), Ok(Some(5)));
    assert_eq!(code(&in_sub("sub/"), &|_| ()), Err(Errno::ENOENT), "and not from this one's");
    // `PATH` is not searched, although a directory in `PATH` contains the program.
    let with_path = |command: &mut Command<'_>| _ = command.env("PATH", &folder);
    assert_eq!(code(&in_sub("sub/"), &with_path), Err(Errno::ENOENT));
    let by_name = |command: &mut Command<'_>| _ = command.env("PATH", folder.join("sub"));
    assert_eq!(code(&bytes, &by_name), Ok(Some(5)), "by its name");
    assert_eq!(code(&in_sub("./"), &by_name), Err(Errno::ENOENT));
    fs::remove_dir_all(&folder).unwrap();
}

/// The directory may be given relative to this process's directory, and the given path may contain any bytes.
fn current_dir_relative_and_of_any_bytes() {
    let folder = fs::canonicalize(common::tmp()).unwrap().join(common::tmp_path());
    let below = folder.join(OsString::from_vec(b"b\xfflow".to_vec()));
    fs::create_dir_all(&below).unwrap();
    let folder = fs::canonicalize(folder).unwrap();
    let below = folder.join(below.file_name().unwrap());
    env::set_current_dir(&folder).unwrap();
    let cwd = |relative: &OsStr| output_of(program("cwd", &[]).current_dir(relative)).0;
    assert_eq!(cwd(below.file_name().unwrap()), below.as_os_str().as_bytes());
    assert_eq!(cwd(OsStr::new(".")), folder.as_os_str().as_bytes());
    assert_eq!(cwd(below.as_os_str()), below.as_os_str().as_bytes());
    let missing = program("cwd", &[]).current_dir("none").spawn().map(drop).unwrap_err();
    assert_eq!((missing.stage(), missing.errno()), (SpawnStage::Chdir, Errno::ENOENT));
    env::set_current_dir("/").unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

/// The child inherits the values that variables have when the command is spawned, not when the command is
/// created.
fn env_is_that_of_the_time_of_the_spawn() {
    // SAFETY: this process has no other thread.
    let set = |value: &str| unsafe { env::set_var("RAWPIPE_LATE", value) };
    set("early");
    let mut command = program("env", &[]);
    command.env("RAWPIPE_MINE", "x");
    for value in ["late", "later"] {
        set(value);
        let (output, _) = output_of(&mut command);
        let variables: BTreeMap<_, _> = output
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='))
            .collect();
        assert_eq!((variables["RAWPIPE_LATE"], variables["RAWPIPE_MINE"]), (value, "x"));
    }
}

fn env_of_nothing() {
    if common::emulated() {
        return skip("env_of_nothing", "the emulator may need some");
    }
    assert_eq!(output_of(program("env", &[]).env_clear()), (Vec::new(), Some(0)));
    let bytes = OsString::from_vec(b"\xff\xfe".to_vec());
    let (output, _) = output_of(program("env", &[]).env_clear().env(&bytes, &bytes));
    assert_eq!(output, b"\xff\xfe=\xff\xfe\0");
}

/// As in `yes | head`, `SIGPIPE` kills the writer when no reader remains. This process ignores `SIGPIPE`, but
/// the child does not.
fn pipeline_writer_ends_by_sigpipe() {
    let mut yes = Command::new("/bin/sh");
    // This output is larger than any pipe. It is nevertheless finite, so the program ends even if the signal
    // does not arrive.
    yes.args(["-c", "n=0; while [ $n -lt 400000 ]; do echo yes; n=$((n + 1)); done"]);
    let mut head = Command::new("/bin/sh");
    head.args(["-c", "read line; echo $line"]);
    let output = yes.pipe(&head).output().unwrap();
    assert_eq!(output.stdout, b"yes\n");
    assert_eq!(output.statuses[0].signal(), Some(Signal::PIPE), "{output:?}");
    assert!(output.statuses[1].success());
}

/// A child can receive both ends of one pipe and send bytes to itself.
fn fd_map_both_ends_of_a_pipe() {
    let (reader, writer) = rawpipe::pipe2(PipeFlags::empty()).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo round >&9; read line <&8; echo $line"]);
    command.fd_map(OwnedFd::from(reader), 8).fd_map(OwnedFd::from(writer), 9);
    assert_eq!(output_of(&mut command), (b"round\n".to_vec(), Some(0)));
}

/// If the descriptors 0, 1 and 2 are closed, no descriptor that the crate uses internally receives one of
/// these numbers. If such a descriptor did, another thread that prints could write to it.
#[cfg(feature = "transfer")]
fn descriptors_of_the_crate_are_no_standard_streams() {
    use rawpipe::chunk::{ChunkMechanism, ChunkWriter};
    use rawpipe::transfer::{Fanout, FanoutSink, Transfer};
    use std::ops::ControlFlow;

    let (near, far) = UnixStream::pair().unwrap();
    io::write_all(&far, b"abc").unwrap();
    drop(far);
    let (to, _there) = UnixStream::pair().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"abc").unwrap();
    drop(writer);
    let (_kept, sink) = rawpipe::pipe().unwrap();
    let free = || (0..3).all(|number| io::is_close_on_exec(own(number)) == Err(Errno::EBADF));
    let seen = with_closed(7, || {
        let mut during = false;
        let mut look = |_| {
            during = free();
            ControlFlow::Continue(())
        };
        let moved = Transfer::new().progress(&mut look).run(&near, &to).map(|done| done.bytes());
        let mut sinks = [FanoutSink::new(&to), FanoutSink::new(&sink)];
        let mut with_pipes = false;
        let mut look_again = |_| {
            with_pipes = free();
            ControlFlow::Continue(())
        };
        let fanned = Fanout::new().progress(&mut look_again).run(&reader, &mut sinks);
        let chunks = ChunkWriter::builder()
            .mechanism(ChunkMechanism::Memfd)
            .build(sink.try_clone().unwrap());
        let with_chunks = free();
        drop(chunks);
        (moved.ok(), fanned.map(|done| done.bytes()).ok(), during, with_pipes, with_chunks)
    });
    assert_eq!(seen, (Some(3), Some(3), true, true, true));
}

#[cfg(not(feature = "transfer"))]
fn descriptors_of_the_crate_are_no_standard_streams() {}

pub(crate) const TESTS: common::Tests = common::tests![
    descriptors_of_the_crate_are_no_standard_streams,
    spawn_every_way_from_standard_to_standard_streams,
    spawn_every_way_from_standard_to_standard_streams_by_fork,
    stdio_any_of_the_three_closed_in_the_parent,
    stdio_any_of_the_three_closed_in_the_parent_by_fork,
    stdio_output_and_errors_exchanged,
    stdio_errors_into_an_inherited_output,
    stdio_same_as_stdout_wherever_that_goes,
    stdio_same_as_stdout_many_lines_in_order,
    stdio_same_as_stdout_for_another_stream_einval,
    stdio_file_at_2_is_the_output_beside_inherited_errors,
    dup_of_standard_streams_again_and_again_leaves_them_open,
    fds_of_the_parent_are_not_in_the_child,
    fd_map_of_what_is_a_stream_too,
    close_other_fds_above_a_lowered_limit,
    pipes_of_one_child_are_not_in_the_next,
    stdio_null_with_a_grandchild_left_behind,
    rlimit_nofile_0_leaves_the_streams,
    program_by_a_relative_path_or_by_any_bytes,
    current_dir_relative_and_of_any_bytes,
    env_is_that_of_the_time_of_the_spawn,
    env_of_nothing,
    pipeline_writer_ends_by_sigpipe,
    fd_map_both_ends_of_a_pipe,
];
