//! Tests `communicate`, `output` and `status`, which handle the input and output of children. Each test runs
//! in its own process.
#![allow(unsafe_code, reason = "the effect of signals, as the C library sets it")]

use crate::common::nr;
use crate::common::programs::{all_of, is_pattern, pattern, program, std_program};
use crate::common::{self, Filter, Storm, skip};
use rawpipe::Deadline;
use rawpipe::process::{
    Child, Communicate, CommunicateErrorKind as Kind, OnDrop, Output, RunError, Signal, StdStream,
    Stdio,
};
use rawpipe::{Errno, io as raw_io};
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17; // generic; MIPS and SPARC differ
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    safe fn signal(signal: i32, handler: usize) -> usize;
}

/// Starts a child with a pipe for each of its three standard streams. The child is killed if the test fails.
fn start(name: &str, args: &[&str]) -> Child {
    let mut command = program(name, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.on_drop(OnDrop::Kill).spawn().unwrap()
}

fn some_bytes(count: usize) -> Vec<u8> {
    (0..count).map(pattern).collect()
}

fn soon() -> Deadline<'static> {
    Deadline::after(Duration::from_millis(100))
}

/// Returns a deadline that only a hanging test reaches.
fn late() -> Deadline<'static> {
    Deadline::after(Duration::from_secs(200))
}

/// Asserts that a wait lasted at least as long as `least`, but less than 100 seconds.
fn took_a_while_and_no_more(begin: Instant, least: Duration) {
    let took = begin.elapsed();
    assert!(took >= least && took < Duration::from_secs(100), "{took:?}");
}

// ---- success ----

fn communicate_more_than_the_pipes_hold() {
    for size in [0, 1, 65_536, 65_537, 5_000_000] {
        let input = some_bytes(size);
        let output = start("cat", &[]).communicate(&input).unwrap();
        assert!(output.status.success());
        assert!(output.stdout == input, "{size}");
        assert_eq!(output.stderr, b"");
    }
}

fn communicate_both_outputs_at_once() {
    let output = start("flood", &["3000000", "2000001"]).communicate(b"").unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (3_000_000, 2_000_001));
    assert!(is_pattern(&output.stdout) && is_pattern(&output.stderr));
}

fn communicate_while_signals_arrive() {
    let storm = Storm::begin(Duration::from_micros(200));
    let input = some_bytes(3_000_000);
    for _ in 0..3 {
        let output = start("cat", &[]).communicate(&input).unwrap();
        assert!(output.stdout == input);
    }
    drop(storm);
    assert!(common::HANDLED.load(std::sync::atomic::Ordering::SeqCst) > 0);
}

fn communicate_without_a_pipe_for_the_input() {
    let mut command = program("cat", &[]);
    command.stdin(common::file(b"a file")).stdout(Stdio::piped());
    let output = command.spawn().unwrap().communicate(b"not this").unwrap();
    assert_eq!(output.stdout, b"a file");

    let mut child = start("cat", &[]);
    let (stdin, stdout) = (child.take_stdin(), child.take_stdout());
    drop(stdin);
    let output = child.communicate(b"not this").unwrap();
    assert_eq!((output.stdout, all_of(stdout)), (Vec::new(), Vec::new()));
}

fn output_and_status_are_as_with_std() {
    let cases: [(&str, &[&str]); 6] = [
        ("both", &[]),
        ("exit", &["0"]),
        ("exit", &["7"]),
        ("flood", &["300000", "200000"]),
        ("cat", &[]), // from /dev/null
        ("suicide", &["0"]),
    ];
    for (name, args) in cases {
        let ours = program(name, args).output().unwrap();
        assert!(ours.stdout.capacity() <= 2 * ours.stdout.len(), "{name}");
        let std = std_program(name, args).output().unwrap();
        assert_eq!(std::process::Output::from(ours), std, "{name}");
        if name != "both" && name != "flood" && name != "cat" {
            let ours = program(name, args).status().unwrap();
            assert_eq!(std::process::ExitStatus::from(ours), std.status, "{name}");
        }
    }
}

fn output_keeps_what_is_set() {
    let mut command = program("both", &[]);
    let (reader, writer) = rawpipe::pipe().unwrap();
    command.stdout(writer);
    let Output { stdout, stderr, .. } = command.output().unwrap();
    drop(command);
    assert_eq!((stdout, stderr, all_of(Some(reader))), (vec![], b"err".to_vec(), b"out".to_vec()));

    let mut command = program("cat", &[]);
    assert_eq!(command.stdin(common::file(b"x")).output().unwrap().stdout, b"x");
    // Without input, `output` closes the input pipe, so the child does not hang.
    assert_eq!(command.stdin(Stdio::piped()).output().unwrap().stdout, b"");
}

fn output_of_no_program_says_so() {
    let command = rawpipe::process::Command::new("/no/such/program");
    for error in [command.output().unwrap_err(), command.status().unwrap_err()] {
        let RunError::Spawn(spawn) = &error else { panic!("{error:?}") };
        assert_eq!(spawn.errno(), Errno::ENOENT);
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::NotFound);
    }
}

// ---- children that misbehave ----

fn communicate_child_closes_its_input_early() {
    let output = start("deaf", &[]).communicate(&some_bytes(1_000_000)).unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"deaf");
    // This child ends before any input is written.
    let mut child = start("exit", &["3"]);
    assert!(child.wait_deadline(late()).unwrap().is_some());
    assert_eq!(child.communicate(&some_bytes(1_000_000)).unwrap().status.code(), Some(3));
}

fn communicate_sigpipe_at_default_does_not_kill() {
    signal(SIGPIPE, SIG_DFL);
    communicate_child_closes_its_input_early();
}

fn communicate_child_is_killed_while_it_is_fed() {
    for size in ["0", "1000", "100000"] {
        let output = start("suicide", &[size]).communicate(&some_bytes(5_000_000)).unwrap();
        assert_eq!(output.status.signal(), Some(Signal::KILL));
    }
    let mut child = start("cat", &[]);
    let pid = child.id();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        common::kill(pid, Signal::STOP.as_raw());
        thread::sleep(Duration::from_millis(30));
        common::kill(pid, Signal::KILL.as_raw());
    });
    // The child ends before such a large input is written completely. All bytes are equal, because creating a
    // pattern of this size would take minutes on slow machines.
    let output = child.communicate(&vec![7; 200_000_000]);
    killer.join().unwrap();
    assert_eq!(output.unwrap().status.signal(), Some(Signal::KILL));
}

// ---- limits ----

fn communicate_limit_is_exact() {
    let run = |limit, size: &str| {
        let mut child = start("flood", &[size, "10"]);
        (Communicate::new().limit(limit).run(&mut child), child)
    };
    // Most limits are close to a pipe's capacity, the output buffer's initial size, or the size at which the
    // buffer starts to use huge pages.
    let limits = [4096, 65_535, 65_536, 65_537, 69_631, 69_632, 69_633, 100_000, 1_000_000];
    for limit in limits.into_iter().chain([(2 << 20) + 1]) {
        let size = limit.to_string();
        assert_eq!(run(limit, &size).0.unwrap().stdout.len(), limit);
        let (answer, mut child) = run(limit, &(limit + 1).to_string());
        let error = answer.unwrap_err();
        assert_eq!(error.reason(), Kind::Limit(StdStream::Stdout));
        assert!(error.stdout().len() == limit && is_pattern(error.stdout()));
        // The byte after the limit can still be read.
        assert_eq!(child.communicate(b"").unwrap().stdout, [pattern(limit)]);
    }
    let (answer, mut child) = run(7, "0");
    let error = answer.unwrap_err();
    assert_eq!((error.reason(), error.stderr().len()), (Kind::Limit(StdStream::Stderr), 7));
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::Other);
    assert_eq!(child.communicate(b"").unwrap().stderr.len(), 3);
}

fn communicate_limit_zero() {
    let mut none = Communicate::new().limit(0);
    assert!(none.run(&mut start("exit", &["0"])).unwrap().status.success());
    let mut child = start("flood", &["1", "0"]);
    let error = none.run(&mut child).unwrap_err();
    assert_eq!((error.reason(), error.stdout()), (Kind::Limit(StdStream::Stdout), &b""[..]));
    assert_eq!(error.errno(), None);
}

// ---- deadlines ----

fn communicate_deadline_keeps_what_was_read() {
    let mut child = start("stall", &["200000"]);
    // Under an emulator, some bytes may arrive only after the first deadline.
    let mut before = Vec::new();
    while before.len() < 200_000 {
        let error = Communicate::new().deadline(soon()).run(&mut child).unwrap_err();
        assert_eq!(error.reason(), Kind::Deadline);
        before.extend(error.into_outputs().0);
    }
    assert!(before.len() == 200_000 && is_pattern(&before));
    child.kill().unwrap();
    let output = child.communicate(b"").unwrap();
    assert_eq!((output.status.signal(), output.stdout.len()), (Some(Signal::KILL), 0));
}

fn communicate_deadline_while_the_child_does_not_read() {
    let input = some_bytes(3_000_000);
    let mut child = start("sleep", &[]);
    let begin = Instant::now();
    let error = Communicate::new().input(&input).deadline(soon()).run(&mut child).unwrap_err();
    took_a_while_and_no_more(begin, Duration::from_millis(100));
    assert_eq!(error.reason(), Kind::Deadline);
    let stdin = child.stdin_ref().expect("the pipe is in the handle again");
    assert_eq!(error.fed(), stdin.available().unwrap());
    assert!(error.fed() >= 4096 && error.fed() < input.len());
    assert_eq!(raw_io::is_nonblocking(stdin), Ok(false));
    assert_eq!(raw_io::is_nonblocking(child.stdout_ref().unwrap()), Ok(false));
    assert_eq!(
        error.to_string(),
        "the deadline has passed after 0 bytes of output and 0 of errors"
    );
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
}

fn communicate_deadline_interrupted_goes_on_where_it_was() {
    let input = some_bytes(4_000_000);
    let mut child = start("cat", &[]);
    let (mut fed, mut output) = (0, Vec::new());
    let end = loop {
        let deadline = Deadline::after(Duration::from_millis(2));
        match Communicate::new().input(&input[fed..]).deadline(deadline).run(&mut child) {
            Ok(end) => break end,
            Err(error) => {
                assert_eq!(error.reason(), Kind::Deadline);
                fed += error.fed();
                output.extend(error.into_outputs().0);
            }
        }
    };
    output.extend(end.stdout);
    assert!(end.status.success() && output == input);
}

fn communicate_deadline_already_past() {
    let mut past = Communicate::new().deadline(Deadline::now());
    let mut child = start("sleep", &[]);
    assert_eq!(past.run(&mut child).unwrap_err().reason(), Kind::Deadline);
    // If the child has already ended, the run succeeds although its deadline has passed.
    let mut child = start("both", &[]);
    assert!(child.wait_deadline(late()).unwrap().is_some());
    let output = past.run(&mut child).unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out"[..], &b"err"[..]));
    // If only part of the output is available, the error holds that part.
    let mut child = start("stall", &["3"]);
    while child.stdout_ref().unwrap().available().unwrap() < 3 {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(past.run(&mut child).unwrap_err().stdout().len(), 3);
}

fn communicate_deadline_for_the_end_of_the_child() {
    let mut child = program("sleep", &[]).on_drop(OnDrop::Kill).spawn().unwrap();
    let begin = Instant::now();
    let error = Communicate::new().deadline(soon()).run(&mut child).unwrap_err();
    took_a_while_and_no_more(begin, Duration::from_millis(100));
    assert_eq!(error.reason(), Kind::Deadline);
    assert_eq!(child.try_wait(), Ok(None));
}

// ---- a grandchild holds the pipes ----

/// Starts a child whose own child keeps the output pipe open. That grandchild ends when the returned writer
/// is dropped.
fn with_grandchild() -> (Child, rawpipe::PipeWriter) {
    let (gate, writer) = rawpipe::pipe().unwrap();
    let mut command = program("parent", &[]);
    command.stdout(Stdio::piped()).fd_map(gate, 7);
    (command.spawn().unwrap(), writer)
}

fn communicate_grace_ends_though_a_grandchild_has_the_pipe() {
    let (mut child, gate) = with_grandchild();
    let begin = Instant::now();
    let mut talk = Communicate::new().grace(Duration::from_millis(50));
    let error = talk.run(&mut child).unwrap_err();
    took_a_while_and_no_more(begin, Duration::from_millis(50));
    assert_eq!((error.reason(), error.errno()), (Kind::Grace, Some(Errno::ETIMEDOUT)));
    let pid: u32 = std::str::from_utf8(error.stdout()).unwrap().parse().unwrap();
    assert_ne!(pid, child.id());
    assert!(child.try_wait().unwrap().expect("it has ended").success());
    // No output is lost if the caller continues to wait.
    drop(gate);
    let output = child.communicate(b"").unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
}

fn communicate_grace_zero_reads_all_that_the_child_wrote() {
    let mut talk = Communicate::new().grace(Duration::ZERO);
    for _ in 0..20 {
        let (mut child, _gate) = with_grandchild();
        let error = talk.run(&mut child).unwrap_err();
        assert_eq!(error.reason(), Kind::Grace);
        assert!(!error.stdout().is_empty());
    }
    for _ in 0..20 {
        // Without a grandchild, the output ends when the child ends.
        let output = talk.run(&mut start("flood", &["60000", "0"])).unwrap();
        assert_eq!(output.stdout.len(), 60_000);
    }
}

fn communicate_grace_without_a_pidfd() {
    let calls = [nr::PIDFD_OPEN, nr::CLONE3];
    let filters = [Filter::new(&calls, Errno::ENOSYS), common::no_pidfd_by_clone()];
    if !filters.iter().all(Filter::install) {
        return skip("communicate_grace_without_a_pidfd", "no filter of system calls here");
    }
    assert!(start("exit", &["0"]).pidfd().is_none());
    communicate_grace_ends_though_a_grandchild_has_the_pipe();
    communicate_grace_is_long_enough();
    communicate_deadline_for_the_end_of_the_child();
}

fn communicate_grace_is_long_enough() {
    let (mut child, gate) = with_grandchild();
    let closer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(gate);
    });
    let mut talk = Communicate::new().grace(Duration::from_secs(200));
    assert!(talk.run(&mut child).unwrap().status.success());
    closer.join().unwrap();
}

fn communicate_without_grace_waits_for_the_grandchild() {
    let (mut child, gate) = with_grandchild();
    let error = Communicate::new().deadline(soon()).run(&mut child).unwrap_err();
    assert_eq!(error.reason(), Kind::Deadline);
    drop(gate);
    assert!(child.communicate(b"").unwrap().status.success());
}

// ---- lost status ----

fn communicate_sigchld_ignored_keeps_the_output() {
    signal(SIGCHLD, SIG_IGN);
    match start("both", &[]).communicate(b"") {
        // Since Linux 6.15, the pidfd provides the status even if `SIGCHLD` is ignored.
        Ok(output) => {
            assert!(output.status.success());
            assert_eq!((&*output.stdout, &*output.stderr), (&b"out"[..], &b"err"[..]));
        }
        Err(error) => {
            assert_eq!(error.reason(), Kind::Wait(Errno::ECHILD));
            assert_eq!(error.errno(), Some(Errno::ECHILD));
            assert_eq!((error.stdout(), error.stderr()), (&b"out"[..], &b"err"[..]));
        }
    }
}

/// A failed `output` kills and reaps its child, because the caller has no handle to wait for that child.
fn output_that_fails_leaves_no_child_enomem() {
    let test = "output_that_fails_leaves_no_child_enomem";
    unsafe extern "C" {
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }
    // These children end only when they are killed.
    let (sleeps, too) = (program("sleep", &[]), program("sleep", &[]));
    // The programs still start, because std's start-up code uses a different call if `poll` fails with
    // `ENOMEM`.
    if !Filter::new(&[nr::PPOLL], Errno::ENOMEM).install() {
        return skip(test, "no seccomp filter here");
    }
    let failed = Err(Kind::Poll(Errno::ENOMEM));
    let reason = |error: RunError| match error {
        RunError::Communicate(error) => error.reason(),
        error => panic!("{error}"),
    };
    assert_eq!(sleeps.output().map(drop).map_err(reason), failed);
    assert_eq!(sleeps.pipe(&too).output().map(drop).map_err(reason), failed);
    // SAFETY: the pointer is null, so the call writes no status.
    assert_eq!(unsafe { waitpid(-1, std::ptr::null_mut(), 1) }, -1, "a child is left");
}

pub(crate) const TESTS: common::Tests = common::tests![
    communicate_more_than_the_pipes_hold,
    communicate_both_outputs_at_once,
    communicate_while_signals_arrive,
    communicate_without_a_pipe_for_the_input,
    output_and_status_are_as_with_std,
    output_keeps_what_is_set,
    output_of_no_program_says_so,
    communicate_child_closes_its_input_early,
    communicate_sigpipe_at_default_does_not_kill,
    communicate_child_is_killed_while_it_is_fed,
    communicate_limit_is_exact,
    communicate_limit_zero,
    communicate_deadline_keeps_what_was_read,
    communicate_deadline_while_the_child_does_not_read,
    communicate_deadline_interrupted_goes_on_where_it_was,
    communicate_deadline_already_past,
    communicate_deadline_for_the_end_of_the_child,
    communicate_grace_ends_though_a_grandchild_has_the_pipe,
    communicate_grace_zero_reads_all_that_the_child_wrote,
    communicate_grace_without_a_pidfd,
    communicate_grace_is_long_enough,
    communicate_without_grace_waits_for_the_grandchild,
    communicate_sigchld_ignored_keeps_the_output,
    output_that_fails_leaves_no_child_enomem,
];
