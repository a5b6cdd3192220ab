//! Tests complete runs of a program, each started by a single call. The tests call `output` and `status` with
//! input, limits, timeouts, and errors. Each test runs in its own process.
#![allow(unsafe_code, reason = "looking for children, as the C library does it")]

use crate::common::nr;
use crate::common::programs::{is_pattern, pattern, program, std_program};
use crate::common::{self, Filter, Storm, skip};
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::pipe::Capacity;
use rawpipe::process::{
    self, Arg, Command, Communicate, CommunicateError, CommunicateErrorKind as Kind, ExecFlags,
    OnDrop, Pipeline, RunError, Signal, Spawn, StdStream, Stdio,
};
use rawpipe::{Deadline, Errno, PipeWriter};
use std::error::Error;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(150);

const SIG_IGN: usize = 1;

unsafe extern "C" {
    safe fn signal(signal: i32, handler: usize) -> usize;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
}

/// Asserts that this process has no child, whether running or a zombie.
fn no_child_is_left(of: &str) {
    // SAFETY: a null pointer requests no status.
    let answer = unsafe { waitpid(-1, std::ptr::null_mut(), 1) };
    let errno = Errno::from_io_error(&io::Error::last_os_error());
    assert_eq!((answer, errno), (-1, Some(Errno::ECHILD)), "{of}: a child is left");
}

fn some_bytes(count: usize) -> Vec<u8> {
    (0..count).map(pattern).collect()
}

fn shell(script: &str) -> Command<'static> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]);
    shell
}

/// Returns the error of a run that timed out. Asserts that neither a child nor a descriptor remains.
fn out_of_time(what: &str, command: &Command<'_>, least: Duration) -> CommunicateError {
    let before = common::open_fds();
    let begin = Instant::now();
    let error = command.output().expect_err(what);
    let took = begin.elapsed();
    assert!(took >= least && took < LONG, "{what}: {took:?}");
    no_child_is_left(what);
    assert_eq!(common::open_fds(), before, "{what}");
    let errno = Some(Errno::ETIMEDOUT);
    assert_eq!((error.reason(), error.errno()), (Some(Kind::Deadline), errno), "{what}");
    assert_eq!(
        (error.kind(), error.raw_os_error()),
        (ErrorKind::TimedOut, errno.map(Errno::raw_os_error))
    );
    match error {
        RunError::Communicate(error) => error,
        error => panic!("{what}: {error:?}"),
    }
}

// ---- input ----

fn output_input_in_every_form() {
    let array = *b"array";
    let mut cat = program("cat", &[]);
    assert_eq!(cat.input(vec![1, 2]).output().unwrap().stdout, [1, 2]);
    assert_eq!(cat.input(&array[..2]).output().unwrap().stdout, b"ar");
    assert_eq!(cat.input(array).output().unwrap().stdout, b"array");
    assert_eq!(cat.input(b"reference").output().unwrap().stdout, b"reference");
    assert_eq!(cat.input("text").output().unwrap().stdout, b"text");
    assert_eq!(cat.input(String::from("owned")).output().unwrap().stdout, b"owned");
    // Every run receives the whole input.
    assert_eq!(cat.output().unwrap().stdout, b"owned");
    assert_eq!(cat.input(b"").output().unwrap().stdout, b"");
    // The last call to `input` or `stdin` determines the input.
    cat.input("input").stdin(common::file(b"a file"));
    assert_eq!(cat.output().unwrap().stdout, b"a file");
    assert_eq!(cat.input("input").output().unwrap().stdout, b"input");
    assert_eq!(cat.stdin(Stdio::piped()).output().unwrap().stdout, b"");
    no_child_is_left("cat");
}

fn output_input_of_ten_mebibytes_through_sort() {
    let test = "output_input_of_ten_mebibytes_through_sort";
    let size = if common::slow() { 1 << 20 } else { 10 << 20 };
    let mut lines: Vec<String> = (0..size / 8)
        .map(|n: u32| format!("{:07}\n", n.wrapping_mul(2_654_435_761) % 9_999_991))
        .collect();
    let mut sort = Command::new("sort");
    let output = match sort.env("LC_ALL", "C").input(lines.concat()).timeout(LONG).output() {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return skip(test, "no `sort`"),
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", output.status);
    lines.sort();
    assert!(output.stdout == lines.concat().into_bytes());
    // Input of the same size also passes through `cat`, which writes while it reads.
    let input = some_bytes(size as usize);
    assert!(program("cat", &[]).input(input.as_slice()).output().unwrap().stdout == input);
}

fn output_input_of_a_child_that_closes_it_early() {
    let output = program("deaf", &[]).input(some_bytes(1_000_000)).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"deaf"[..]));
    let output = program("exit", &["3"]).input(some_bytes(1_000_000)).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let output = program("suicide", &["9"]).input(some_bytes(1_000_000)).output().unwrap();
    assert_eq!(output.status.to_string(), "signal: 9 (SIGKILL)");
}

fn output_input_and_no_such_program() {
    let before = common::open_fds();
    let mut missing = Command::new("/no/such/program");
    missing.input(some_bytes(1_000_000)).timeout(LONG).limit(1);
    for error in [missing.output().unwrap_err(), missing.status().unwrap_err()] {
        assert_eq!((error.kind(), error.reason()), (ErrorKind::NotFound, None));
        assert_eq!((error.errno(), error.raw_os_error()), (Some(Errno::ENOENT), Some(2)));
    }
    no_child_is_left("nothing");
    assert_eq!(common::open_fds(), before);
}

/// `spawn` creates the input pipe but does not write the input.
fn spawn_with_input_feeds_nothing() {
    let mut child = program("cat", &[]).input("input").stdout(Stdio::piped()).spawn().unwrap();
    assert!(child.stdin_ref().is_some());
    assert_eq!(child.communicate(b"other").unwrap().stdout, b"other");
}

fn status_with_input_and_time() {
    assert_eq!(
        program("suicide", &["3"]).input("abc").status().unwrap().signal(),
        Some(Signal::KILL)
    );
    assert_eq!(program("suicide", &["3"]).input("ab").status().unwrap().code(), Some(99));
    let begin = Instant::now();
    let error = program("sleep", &[]).timeout(SHORT).status().unwrap_err();
    assert_eq!(error.reason(), Some(Kind::Deadline));
    assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
    no_child_is_left("sleep");
    // `status` drains the output pipe, so the child can end.
    let mut flood = program("flood", &["1000000", "0"]);
    assert!(flood.stdout(Stdio::piped()).status().unwrap().success());
    assert_eq!(flood.limit(7).status().unwrap_err().reason(), Some(Kind::Limit(StdStream::Stdout)));
    no_child_is_left("flood");
}

// ---- timeout ----

/// The timeout ends a run even if the child is silent, stopped or busy, reads nothing, or has closed its
/// outputs.
fn output_timeout_of_every_kind_of_child() {
    let out_of_time = |what: &str, command: &mut Command<'_>| {
        let error = out_of_time(what, command.timeout(SHORT), SHORT);
        assert_eq!(error.stderr(), b"", "{what}");
        error
    };
    let silent = out_of_time("silent", &mut program("sleep", &[]));
    assert_eq!((silent.stdout(), silent.fed()), (&b""[..], 0));
    let deaf = out_of_time("reads nothing", program("sleep", &[]).input(some_bytes(3_000_000)));
    assert!(deaf.fed() >= 4096 && deaf.fed() < 3_000_000, "{}", deaf.fed());
    let (reader, _gate) = rawpipe::pipe().unwrap();
    out_of_time("closed its outputs", program("shut", &[]).fd_map(reader, 7));
    out_of_time("stopped", &mut shell("kill -STOP $$"));
    out_of_time("ignores SIGTERM", &mut shell("trap '' TERM; kill -TERM $$; kill -STOP $$"));
    out_of_time("busy", &mut shell("while :; do :; done"));
    out_of_time("waits for its end", program("sleep", &[]).on_drop(OnDrop::Reap));
    // This child writes until it is killed.
    let error = program("flood", &["4000000000", "0"]).timeout(SHORT).output().unwrap_err();
    assert_eq!(error.reason(), Some(Kind::Deadline));
    no_child_is_left("flood");
}

fn output_timeout_without_pidfds() {
    let filters =
        [Filter::new(&[nr::PIDFD_OPEN, nr::CLONE3], Errno::ENOSYS), common::no_pidfd_by_clone()];
    if !filters.iter().all(Filter::install) {
        return skip("output_timeout_without_pidfds", "no filter of system calls here");
    }
    output_timeout_of_every_kind_of_child();
    output_timeout_though_a_grandchild_has_the_pipe();
}

fn output_timeout_keeps_what_was_read() {
    // Under an emulator, the child may not have started before the timeout expires.
    let mut timeout = Duration::from_millis(50);
    let error = loop {
        let error = out_of_time("stall", program("stall", &["200000"]).timeout(timeout), timeout);
        if error.stdout().len() == 200_000 {
            break error;
        }
        assert!(is_pattern(error.stdout()) && timeout < LONG);
        timeout *= 2;
    };
    assert!(is_pattern(error.stdout()));
    // The error converts to an `io::Error` that keeps the errno.
    let error = io::Error::from(RunError::from(error));
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::TimedOut, None));
    assert_eq!(Errno::from_io_error(&error), Some(Errno::ETIMEDOUT));
    let Ok(RunError::Communicate(error)) = error.downcast() else { panic!("another error") };
    assert_eq!(error.into_outputs().0.len(), 200_000);
}

/// Waits for at most `wait`. Returns whether the grandchild and the command have closed the pipe's read end.
fn is_gone(gate: &PipeWriter, wait: Duration) -> bool {
    let mut fds = [PollFd::new(gate, PollEvents::empty())];
    poll(&mut fds, Some(wait)).unwrap() == 1
}

/// The timeout applies even if a grandchild holds the output pipe open. The grandchild dies only if the
/// policy is `OnDrop::KillGroup`.
fn output_timeout_though_a_grandchild_has_the_pipe() {
    for name in ["parent", "family"] {
        for group in [false, true] {
            let what = format!("{name}, {group}");
            let mut timeout = SHORT;
            loop {
                let (reader, gate) = rawpipe::pipe().unwrap();
                let mut command = program(name, &[]);
                command.fd_map(reader, 7).timeout(timeout);
                if group {
                    command.process_group(0).on_drop(OnDrop::KillGroup);
                }
                let error = out_of_time(&what, &command, timeout);
                drop(command);
                if error.stdout().is_empty() {
                    timeout *= 2; // the child has not started yet
                    continue;
                }
                if group {
                    assert!(is_gone(&gate, LONG), "{what}: the grandchild is left");
                } else {
                    assert!(
                        !is_gone(&gate, Duration::from_millis(20)),
                        "{what}: is not ours to kill"
                    );
                }
                break;
            }
        }
    }
}

fn output_timeout_begins_with_each_run() {
    let mut sleep = program("sleep", &[]);
    sleep.timeout(SHORT);
    thread::sleep(SHORT);
    out_of_time("first", &sleep, SHORT);
    out_of_time("second", &sleep, SHORT);
    // The earlier of the timeout and the deadline applies. A timeout starts again for every run, but a
    // deadline does not.
    sleep.deadline(Deadline::now());
    out_of_time("past", sleep.timeout(LONG), Duration::ZERO);
    sleep.deadline(Deadline::NEVER).timeout(SHORT);
    out_of_time("never", &sleep, SHORT);
    let mut cat = program("cat", &[]);
    cat.timeout(Duration::MAX).deadline(Deadline::after(LONG));
    assert_eq!(cat.input("in time").output().unwrap().stdout, b"in time");
}

/// If `SIGCHLD` is ignored, the kernel keeps no exit status, but the timeout still works.
fn output_timeout_sigchld_ignored() {
    signal(Signal::CHLD.as_raw(), SIG_IGN);
    let error = out_of_time("sleep", program("sleep", &[]).timeout(SHORT), SHORT);
    assert_eq!(error.stdout(), b"");
    match program("both", &[]).timeout(LONG).output() {
        // Since Linux 6.15, the pidfd keeps the exit status.
        Ok(output) => assert!(output.status.success()),
        Err(RunError::Communicate(error)) => {
            assert_eq!(error.reason(), Kind::Wait(Errno::ECHILD));
            assert_eq!((error.stdout(), error.stderr()), (&b"out"[..], &b"err"[..]));
        }
        Err(error) => panic!("{error}"),
    }
}

fn output_timeout_by_many_threads_while_signals_arrive() {
    let storm = Storm::begin(Duration::from_micros(500));
    let (mut cat, mut sleep) = (program("cat", &[]), program("sleep", &[]));
    let input = some_bytes(200_000);
    cat.input(input.as_slice()).timeout(LONG).limit(input.len());
    sleep.input(input.as_slice()).timeout(SHORT);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(cat.output().unwrap().stdout == input));
            scope.spawn(|| {
                let begin = Instant::now();
                assert_eq!(sleep.output().unwrap_err().kind(), ErrorKind::TimedOut);
                assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
            });
        }
    });
    drop(storm);
    no_child_is_left("all of them");
}

// ---- limit ----

fn output_limit_kills_and_keeps_what_was_read() {
    for limit in [0, 7, 65_536, 1_000_000] {
        let size = limit.to_string();
        let output = program("flood", &[&size, &size]).limit(limit).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (limit, limit));
        // This child runs until it is killed.
        let mut flood = program("stall", &[&(limit + 1).to_string()]);
        let error = flood.limit(limit).timeout(LONG).output().unwrap_err();
        no_child_is_left("stall");
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Other, None));
        let RunError::Communicate(error) = error else { panic!("{error:?}") };
        assert_eq!(error.reason(), Kind::Limit(StdStream::Stdout));
        assert!(error.stdout().len() == limit && is_pattern(error.stdout()));
    }
    let error = program("flood", &["7", "8"]).limit(7).output().unwrap_err();
    assert_eq!(error.reason(), Some(Kind::Limit(StdStream::Stderr)));
    no_child_is_left("flood");
}

// ---- as std ----

fn wait_with_output_as_with_std() {
    for (name, args) in [("both", &[][..]), ("flood", &["300000", "200000"]), ("exit", &["9"])] {
        let mut ours = program(name, args);
        let ours = ours.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut std = std_program(name, args);
        let std = std.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let std = std.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(std::process::Output::from(ours.wait_with_output().unwrap()), std, "{name}");
    }
    // `wait_with_output` first closes the input of the child.
    let cat = program("cat", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert!(cat.wait_with_output().unwrap().status.success());
    no_child_is_left("cat");
}

/// If `wait_with_output` fails, it kills the child, because the caller no longer has a handle.
fn wait_with_output_that_fails_kills() {
    let child = program("sleep", &[]).stdout(Stdio::piped()).spawn().unwrap();
    if !Filter::new(&[nr::PPOLL], Errno::ENOMEM).install() {
        child.kill().unwrap();
        return skip("wait_with_output_that_fails_kills", "no filter of system calls here");
    }
    assert_eq!(child.wait_with_output().unwrap_err().reason(), Kind::Poll(Errno::ENOMEM));
    no_child_is_left("sleep");
}

// ---- input from a reader ----

/// A reader that returns prepared pieces. `Err(Some(errno))` is a system error, and `Err(None)` is an error
/// of another kind.
struct Pieces(Vec<Result<Vec<u8>, Option<Errno>>>);

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let piece = self.0.remove(0);
        let bytes = piece.map_err(|errno| {
            errno.map_or_else(|| io::Error::new(ErrorKind::InvalidData, "mine"), io::Error::from)
        })?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

fn cat() -> process::Child {
    let mut cat = program("cat", &[]);
    cat.stdin(Stdio::piped()).stdout(Stdio::piped()).on_drop(OnDrop::Kill).spawn().unwrap()
}

fn communicate_input_from_a_reader() {
    for size in [0, 1, 65_536, 65_537, 5_000_000] {
        let input = some_bytes(size);
        let mut reader = input.as_slice();
        let output = Communicate::new().input_from(&mut reader).run(&mut cat()).unwrap();
        assert!(output.stdout == input && reader.is_empty(), "{size}");
    }
    // A piece larger than the pipe is written in several parts.
    let (input, mut child) = (some_bytes(300_000), cat());
    child.stdin_ref().unwrap().set_capacity(Capacity::Bytes(4096)).unwrap();
    let mut reader = input.as_slice();
    let output = Communicate::new().input_from(&mut reader).run(&mut child).unwrap();
    assert!(output.stdout == input);
    // The reader replaces the earlier input. An `EINTR` from the reader does not end the input.
    let mut pieces = Pieces(vec![Ok(vec![1]), Err(Some(Errno::EINTR)), Ok(vec![2, 3])]);
    let mut talk = Communicate::new().input(b"bytes").input_from(&mut pieces);
    assert_eq!(talk.run(&mut cat()).unwrap().stdout, [1, 2, 3]);
    // The reader never ends, but the child stops reading.
    let mut deaf =
        program("deaf", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut zeros = io::repeat(0);
    let output = Communicate::new().input_from(&mut zeros).run(&mut deaf).unwrap();
    assert_eq!(output.stdout, b"deaf");
}

fn communicate_reader_that_fails() {
    for (errno, kind) in [
        (Some(Errno::EIO), io::Error::from(Errno::EIO).kind()),
        (Some(Errno::EAGAIN), ErrorKind::WouldBlock),
        (None, ErrorKind::InvalidData),
    ] {
        let mut pieces = Pieces(vec![Ok(b"be".to_vec()), Err(errno), Ok(b"hind".to_vec())]);
        let mut child = cat();
        let mut talk = Communicate::new().input_from(&mut pieces);
        let error = talk.run(&mut child).unwrap_err();
        assert_eq!((error.reason(), error.fed()), (Kind::Input(kind, errno), 2));
        assert_eq!((error.kind(), error.errno()), (kind, errno));
        let text = format!("reading the input: {kind} after ");
        assert!(error.to_string().starts_with(&text), "{error}");
        // Together, the error's output and the next run's output are the whole output.
        let mut all = error.into_outputs().0;
        all.extend(talk.run(&mut child).unwrap().stdout);
        assert_eq!(all, b"behind");
    }
}

/// If the deadline expires, bytes that were read from the reader but not yet written to the child are not
/// lost.
fn communicate_reader_and_a_deadline() {
    let input = some_bytes(4_000_000);
    let (mut reader, mut child) = (input.as_slice(), cat());
    let mut talk = Communicate::new().input_from(&mut reader);
    let (mut fed, mut all) = (0, Vec::new());
    let end = loop {
        talk = talk.deadline(Deadline::after(Duration::from_millis(2)));
        match talk.run(&mut child) {
            Ok(end) => break end,
            Err(error) => {
                assert_eq!(error.reason(), Kind::Deadline);
                fed += error.fed();
                all.extend(error.into_outputs().0);
            }
        }
    };
    all.extend(end.stdout);
    assert!(end.status.success() && all == input && fed <= input.len());

    let mut sleep =
        program("sleep", &[]).stdin(Stdio::piped()).on_drop(OnDrop::Kill).spawn().unwrap();
    let mut zeros = io::repeat(0);
    let begin = Instant::now();
    let mut talk = Communicate::new().input_from(&mut zeros).deadline(Deadline::after(SHORT));
    assert_eq!(talk.run(&mut sleep).unwrap_err().reason(), Kind::Deadline);
    assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
}

// ---- pipelines ----

fn pipeline_output_has_what_its_commands_are_given() {
    let (mut first, mut last) = (program("cat", &[]), program("cat", &[]));
    let input = some_bytes(300_000);
    first.input(input.as_slice());
    assert!(first.pipe(&last).output().unwrap().stdout == input);
    last.limit(70_000);
    let error = first.pipe(&last).output().unwrap_err();
    assert_eq!(error.reason(), Some(Kind::Limit(StdStream::Stdout)));
    no_child_is_left("a limit");
    let mut sleep = program("sleep", &[]);
    sleep.timeout(SHORT);
    for row in [sleep.pipe(&last), first.pipe(&sleep).pipe(&last)] {
        let begin = Instant::now();
        assert_eq!(row.output().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
        no_child_is_left("a timeout");
    }
}

// ---- errors ----

/// Asserts that a conversion to `io::Error` keeps the error's kind, errno and text, and the error itself.
fn is_whole<E: Error + Clone + PartialEq + Send + Sync + 'static>(
    error: &E,
    (kind, number): (ErrorKind, Option<i32>),
    errno: Option<Errno>,
) where
    io::Error: From<E>,
{
    let io = io::Error::from(error.clone());
    assert_eq!((io.kind(), number), (kind, errno.map(Errno::raw_os_error)), "{error}");
    assert_eq!(Errno::from_io_error(&io), errno, "{error}");
    assert_eq!(error.source().and_then(|source| source.downcast_ref()), errno.as_ref());
    assert_eq!(io.to_string(), error.to_string());
    assert_eq!(io.get_ref().and_then(|inner| inner.downcast_ref()), Some(error));
}

fn errors_of_programs_are_kept_in_an_io_error() {
    let (missing, cat) = (Command::new("/no/such/program"), program("cat", &[]));
    let error = missing.spawn().unwrap_err();
    is_whole(&error, (error.kind(), error.raw_os_error()), Some(Errno::ENOENT));
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NotFound, Errno::ENOENT));
    let error = cat.pipe(&missing).spawn().unwrap_err();
    is_whole(&error, (error.kind(), error.raw_os_error()), Some(Errno::ENOENT));
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NotFound, Errno::ENOENT));
    let floods = [
        (program("flood", &["1", "0"]).limit(0).output(), ErrorKind::Other, None),
        (
            program("sleep", &[]).deadline(Deadline::now()).output(),
            ErrorKind::TimedOut,
            Some(Errno::ETIMEDOUT),
        ),
        (missing.output(), ErrorKind::NotFound, Some(Errno::ENOENT)),
        (
            cat.pipe(&missing).output().map(|_| unreachable!()),
            ErrorKind::NotFound,
            Some(Errno::ENOENT),
        ),
    ];
    for (run, kind, errno) in floods {
        let error = run.unwrap_err();
        assert_eq!((error.kind(), error.errno()), (kind, errno));
        is_whole(&error, (error.kind(), error.raw_os_error()), errno);
        if let RunError::Communicate(error) = &error {
            is_whole(error, (error.kind(), error.raw_os_error()), errno);
        }
    }
}

/// Calls functions of the module `process`, and applies `?` to their results. The code must compile, because
/// this function returns `io::Result`.
fn every_function(child: &mut process::Child, fd: &fs::File) -> io::Result<()> {
    let (path, list, at) = (c"", &[Arg::END][..], Deadline::NEVER);
    if list.is_empty() {
        process::execve(path, list, list)?;
        process::execveat(fd, path, list, list, ExecFlags::empty())?;
        process::execvpe(path, b"", list, list)?;
        process::fexecve(fd, list, list)?;
        // SAFETY: this branch never runs.
        let _ = unsafe { process::fork() }?;
        // SAFETY: this branch never runs.
        let _ = unsafe { process::fork_single_threaded() }?;
        // SAFETY: this branch never runs.
        unsafe { process::fork_with(|| 0) }?.wait()?;
    }
    child.communicate(b"")?;
    child.kill()?;
    child.kill_group()?;
    child.lead_group()?;
    child.on_drop(OnDrop::Leave)?;
    child.send_signal(Signal::TERM)?;
    child.send_signal_group(Signal::TERM)?;
    child.try_wait()?;
    child.wait()?;
    child.wait_change()?;
    child.wait_deadline(at)?;
    let command = Command::new("");
    command.output()?;
    command.status()?;
    command.spawn()?.wait_with_output()?;
    Spawn::new(path, list, list).spawn()?.wait()?;
    Communicate::new().run(child)?;
    let pipeline: Pipeline<'_> = command.pipe(&command);
    pipeline.output()?;
    let mut children = pipeline.spawn()?;
    Communicate::new().run_pipeline(&mut children)?;
    children.communicate(b"")?;
    children.kill()?;
    children.wait()?;
    Ok(())
}

fn functions_work_behind_a_question_mark() {
    let mut child = program("exit", &["3"]).spawn().unwrap();
    let file = common::file(b"");
    // `kill_group` is the first function that fails, because the child does not lead a group.
    let error = every_function(&mut child, &file).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::EINVAL));
    assert_eq!(error.raw_os_error(), Some(Errno::EINVAL.raw_os_error()));
    no_child_is_left("exit");
}

pub(crate) const TESTS: common::Tests = common::tests![
    output_input_in_every_form,
    output_input_of_ten_mebibytes_through_sort,
    output_input_of_a_child_that_closes_it_early,
    output_input_and_no_such_program,
    spawn_with_input_feeds_nothing,
    status_with_input_and_time,
    output_timeout_of_every_kind_of_child,
    output_timeout_without_pidfds,
    output_timeout_keeps_what_was_read,
    output_timeout_though_a_grandchild_has_the_pipe,
    output_timeout_begins_with_each_run,
    output_timeout_sigchld_ignored,
    output_timeout_by_many_threads_while_signals_arrive,
    output_limit_kills_and_keeps_what_was_read,
    wait_with_output_as_with_std,
    wait_with_output_that_fails_kills,
    communicate_input_from_a_reader,
    communicate_reader_that_fails,
    communicate_reader_and_a_deadline,
    pipeline_output_has_what_its_commands_are_given,
    errors_of_programs_are_kept_in_an_io_error,
    functions_work_behind_a_question_mark,
];
