//! Tests `communicate` with every combination of pipes, in several steps, and while other processes hold the
//! opposite ends of the pipes. Further tests use a traced child, or prevent the creation of the guard against
//! `SIGPIPE`. Each test runs in its own process.

#![allow(unsafe_code, reason = "a tracer")]

use crate::common::nr;
use crate::common::programs::{is_pattern, pattern, program};
use crate::common::{self, Filter, NO_FILTER, Storm, filtered, skip};
use rawpipe::Deadline;
use rawpipe::process::{
    Child, Communicate, CommunicateErrorKind as Kind, OnDrop, Signal, StdStream, Stdio,
};
use rawpipe::{Errno, PipeWriter};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// A time limit that no test reaches.
const LONG: Duration = Duration::from_secs(120);

fn after(milliseconds: u64) -> Deadline<'static> {
    Deadline::after(Duration::from_millis(milliseconds))
}

fn some_bytes(count: usize) -> Vec<u8> {
    (0..count).map(pattern).collect()
}

/// Starts a child with all three pipes and with a separate pipe as descriptor 7. A program that reads
/// descriptor 7 runs until the returned write end is dropped.
fn held(name: &str) -> (Child, PipeWriter) {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let mut command = program(name, &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    (command.fd_map(gate, 7).on_drop(OnDrop::Kill).spawn().unwrap(), opener)
}

/// Returns the processor time of this process.
fn busy() -> Duration {
    // The two fields are the user time and the system time in hundredths of a second.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

// ---- every combination ----

/// For every combination of pipes, no pipe end remains in this process after `communicate`.
fn communicate_every_combination_of_pipes_leaves_nothing() {
    let before = common::open_fds();
    for piped in 0..8 {
        let is_piped = |bit: u8| piped >> bit & 1 == 1;
        let stdio = |bit| if is_piped(bit) { Stdio::piped() } else { Stdio::null() };
        let mut command = program("aside", &[]);
        command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
        for fails in [false, true] {
            let mut child = command.spawn().unwrap();
            if fails && is_piped(2) {
                // The first call of `communicate` fails because of its limit. The test then calls
                // `communicate` again.
                let error = Communicate::new().limit(0).run(&mut child).unwrap_err();
                assert_eq!(error.reason(), Kind::Limit(StdStream::Stderr), "{piped:03b}");
            }
            let output = child.communicate(b"in").unwrap();
            assert!(output.status.success(), "{piped:03b}");
            let fed = is_piped(0) && is_piped(1) && !(fails && is_piped(2));
            let stdout: &[u8] = if fed { b"in" } else { b"" };
            let stderr: &[u8] = if is_piped(2) { b"err" } else { b"" };
            assert_eq!((&*output.stdout, &*output.stderr), (stdout, stderr), "{piped:03b}");
            assert!(child.stdin_ref().is_none() && child.stdout_ref().is_none());
            assert!(child.stderr_ref().is_none(), "{piped:03b}");
            drop(child);
            assert_eq!(common::open_fds(), before, "{piped:03b}");
        }
    }
}

// ---- in steps ----

fn communicate_input_begun_by_hand() {
    let (mut child, _gate) = held("cat");
    let input = some_bytes(300_000);
    child.stdin_ref().unwrap().write_all(&input[..1000]).unwrap();
    let mut first = [0; 10];
    child.stdout_ref().unwrap().read_exact(&mut first).unwrap();
    let output = child.communicate(&input[1000..]).unwrap();
    assert!(output.status.success());
    assert!(first == input[..10] && output.stdout == input[10..]);
}

/// If an output reaches the limit, the number of bytes of this output in the error is exactly the limit. No
/// byte is lost or repeated between calls.
fn communicate_limit_in_steps_loses_nothing() {
    const STEP: usize = 70_001;
    let (size, errors) = (1_000_000, 300_000);
    let mut command = program("flood", &[&size.to_string(), &errors.to_string()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err, mut steps) = (Vec::new(), Vec::new(), 0);
    let status = loop {
        match Communicate::new().limit(STEP).run(&mut child) {
            Ok(end) => {
                assert!(end.stdout.len() <= STEP && end.stderr.len() <= STEP);
                out.extend(end.stdout);
                err.extend(end.stderr);
                break end.status;
            }
            Err(error) => {
                match error.reason() {
                    Kind::Limit(StdStream::Stdout) => assert_eq!(error.stdout().len(), STEP),
                    reason => {
                        assert_eq!(reason, Kind::Limit(StdStream::Stderr));
                        assert_eq!(error.stderr().len(), STEP);
                    }
                }
                let (more_out, more_err) = error.into_outputs();
                out.extend(more_out);
                err.extend(more_err);
                steps += 1;
            }
        }
    };
    assert!(status.success() && steps >= size / STEP, "{steps}");
    assert!(out.len() == size && is_pattern(&out));
    assert!(err.len() == errors && is_pattern(&err));
}

/// Most of the outputs have lengths close to those at which the buffer grows. The child writes both outputs
/// at the same time.
fn communicate_output_of_every_length() {
    let pipe = 65_536;
    let around = [4096, pipe, pipe + 4096, 3 * pipe + 4096, 7 * pipe, 1 << 20, 2 << 20];
    let lens = around.into_iter().flat_map(|len| [len - 1, len, len + 1]).chain([0, 1, 5_000_000]);
    for len in lens.take(if common::slow() { 6 } else { usize::MAX }) {
        let command = program("flood", &[&len.to_string(), &(len / 3).to_string()]);
        let output = command.output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (len, len / 3));
        assert!(is_pattern(&output.stdout) && is_pattern(&output.stderr), "{len}");
        // The capacity is at most the sum of two output lengths and two pipe sizes.
        let capacity = output.stdout.capacity();
        assert!(capacity <= 2 * len + 2 * pipe && (len > 1000 || capacity < 2000), "{capacity}");
    }
}

/// `communicate` writes the input and reads both outputs of a child. If the child writes endlessly,
/// `communicate` still reads standard error and observes the deadline.
fn communicate_endless_output_and_a_deadline() {
    let input = some_bytes(300_000);
    let mut command = program("aside", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().unwrap().communicate(&input).unwrap();
    assert!(output.stdout == input && output.stderr == b"err");
    let begin = Instant::now();
    let mut command = program("flood", &["4000000000", "10"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // On a busy machine, the child may begin after the deadline.
    let error = std::iter::repeat_with(|| {
        let mut child = command.spawn().unwrap();
        let error = Communicate::new().deadline(after(100)).run(&mut child).unwrap_err();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(begin.elapsed() < LONG);
        error
    })
    .find(|error| !error.stderr().is_empty())
    .unwrap();
    assert_eq!((error.reason(), error.stderr().len()), (Kind::Deadline, 10));
    assert!(is_pattern(error.stdout()));
}

/// `communicate` does not poll outputs that have ended, and does not wait for the child in a busy loop.
fn communicate_outputs_closed_long_before_the_end() {
    let (mut child, gate) = held("shut");
    let (begin, busy_before) = (Instant::now(), busy());
    for _ in 0..20 {
        let error = Communicate::new().deadline(after(25)).run(&mut child).unwrap_err();
        assert_eq!(error.reason(), Kind::Deadline);
        assert!(error.stdout().is_empty() && error.stderr().is_empty());
    }
    let (took, spent) = (begin.elapsed(), busy() - busy_before);
    assert!(took >= Duration::from_millis(500), "{took:?}");
    if !common::emulated() {
        assert!(spent < took / 2, "{spent:?} of {took:?} with a CPU");
    }
    assert!(child.stdout_ref().is_none() && child.stderr_ref().is_none(), "they have ended");
    drop(gate);
    assert!(child.communicate(b"").unwrap().status.success());
}

// ---- another process holds the other ends ----

/// If a grandchild holds the read end of the input but does not read, `communicate` keeps waiting, even after
/// the child has ended.
fn communicate_grandchild_holds_the_input() {
    let (mut child, gate) = held("bequeath");
    let input = some_bytes(5_000_000);
    let begin = Instant::now();
    let error = Communicate::new().input(&input).deadline(after(100)).run(&mut child).unwrap_err();
    assert_eq!(error.reason(), Kind::Deadline);
    assert!(begin.elapsed() < LONG);
    assert_eq!(error.fed(), child.stdin_ref().unwrap().available().unwrap());
    let grace = Duration::from_millis(50);
    let error = Communicate::new().input(&input).grace(grace).run(&mut child).unwrap_err();
    assert_eq!(error.reason(), Kind::Grace);
    assert!(child.try_wait().unwrap().expect("it has ended").success());
    // The grandchild ends, so no reader remains.
    drop(gate);
    assert!(child.communicate(&input).unwrap().status.success());
}

/// Neither a kill nor a wait with a deadline waits for other processes that hold the pipes.
fn communicate_killed_child_leaves_a_grandchild_with_the_pipes() {
    let (mut child, gate) = held("family");
    let mut pid = [0];
    child.stdout_ref().unwrap().read_exact(&mut pid).unwrap();
    let begin = Instant::now();
    child.kill().unwrap();
    let status = child.wait_deadline(Deadline::after(LONG)).unwrap().expect("it was killed");
    assert_eq!(status.signal(), Some(Signal::KILL));
    let error = Communicate::new().deadline(after(100)).run(&mut child).unwrap_err();
    assert_eq!(error.reason(), Kind::Deadline);
    assert!(begin.elapsed() < LONG);
    assert!(
        child.stdout_ref().is_some() && child.stderr_ref().is_some(),
        "a process may still write"
    );
    assert_eq!(child.kill(), Ok(()));
    assert_eq!(child.send_signal(Signal::KILL), Err(Errno::ESRCH));
    drop(gate);
    let output = child.communicate(b"").unwrap();
    assert_eq!(output.status, status);
}

/// If a shell has ended but its child continues, `communicate` with a deadline fails at the deadline, and the
/// error holds the output.
fn communicate_shell_with_a_child_that_lives_on() {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let mut shell = rawpipe::process::Command::new("/bin/sh");
    shell.args(["-c", "{ read line <&7; } & echo begun"]).stdout(Stdio::piped());
    let mut child = shell.fd_map(gate, 7).spawn().unwrap();
    let mut out = Vec::new();
    let begin = Instant::now();
    while out.len() < 6 {
        let error = Communicate::new().deadline(after(100)).run(&mut child).unwrap_err();
        assert_eq!(error.reason(), Kind::Deadline);
        out.extend(error.into_outputs().0);
        assert!(begin.elapsed() < LONG);
    }
    assert_eq!(out, b"begun\n");
    assert!(
        child.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().success(),
        "the shell itself has ended"
    );
    drop((shell, opener));
    assert_eq!(child.communicate(b"").unwrap().stdout, b"");
}

// ---- a traced child ----

/// A stop that the kernel reports only to the tracer does not end `communicate`. The tracer is another
/// thread.
fn communicate_traced_child_until_its_end() {
    const SEIZE: u32 = 0x4206;
    const INTERRUPT: u32 = 0x4207;
    const CONT: u32 = 7;
    unsafe extern "C" {
        #[link_name = "ptrace"]
        fn c_ptrace(request: u32, ...) -> isize;
    }
    let test = "communicate_traced_child_until_its_end";
    if common::emulated() {
        return skip(test, "an emulator cannot trace");
    }
    for (name, grace) in [("shut", None), ("waiter", Some(Duration::from_millis(20)))] {
        // Each signal makes `communicate` check the child. The process that sends the signals starts before
        // `held` creates the pipes, so it has no copies of the pipes' ends.
        let _storm = Storm::begin(Duration::from_millis(5));
        let (mut child, opener) = held(name);
        if grace.is_none() {
            // After these reads, `communicate` only waits for the child to exit.
            let outputs = [child.stdout_ref().unwrap(), child.stderr_ref().unwrap()];
            for output in outputs {
                assert_eq!(output.read_to_end(&mut Vec::new()), Ok(0));
            }
        }
        let pid = i32::try_from(child.id()).unwrap();
        // SAFETY: none of these requests passes an address to the kernel.
        let trace = move |request| unsafe { c_ptrace(request, pid, 0_usize, 0_usize) } == 0;
        let (begun, seen) = mpsc::channel();
        let tracer = thread::spawn(move || {
            let seized = trace(SEIZE) && trace(INTERRUPT);
            begun.send(seized).unwrap();
            let until = after(300);
            while seized && !until.has_passed() {
                thread::sleep(Duration::from_millis(10));
            }
            let held = trace(CONT); // the child was stopped until this call
            drop(opener);
            held
        });
        if !seen.recv().unwrap() {
            return skip(test, "no child can be traced here");
        }
        let before = busy();
        let mut talk = Communicate::new().deadline(after(60_000));
        if let Some(grace) = grace {
            talk = talk.grace(grace);
        }
        let output = talk.run(&mut child).unwrap();
        assert!(output.status.success(), "{}", output.status);
        assert!(tracer.join().unwrap(), "it was stopped in between");
        assert!(busy() - before < Duration::from_millis(200), "{name}");
    }
}

// ---- no guard against SIGPIPE ----

/// If the guard against `SIGPIPE` cannot be created, `communicate` writes no byte.
fn communicate_sigpipe_guard_refused_errno() {
    let test = "communicate_sigpipe_guard_refused_errno";
    for call in [nr::RT_SIGPENDING, nr::RT_SIGPROCMASK] {
        for errno in [Errno::ENOSYS, Errno::EPERM] {
            let mut child = program("cat", &[])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .on_drop(OnDrop::Kill)
                .spawn()
                .unwrap();
            let possible = filtered(test, &errno, || {
                if !Filter::new(&[call], errno).install() {
                    return NO_FILTER;
                }
                let Err(error) = child.communicate(b"input") else { return 1 };
                let is_told = error.reason() == Kind::Io(StdStream::Stdin, errno);
                u8::from(!is_told || error.fed() > 0 || !error.stdout().is_empty())
            });
            if !possible {
                return;
            }
            // The failed call has written no byte of its input.
            assert_eq!(child.communicate(b"all").unwrap().stdout, b"all");
        }
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    communicate_every_combination_of_pipes_leaves_nothing,
    communicate_input_begun_by_hand,
    communicate_limit_in_steps_loses_nothing,
    communicate_output_of_every_length,
    communicate_endless_output_and_a_deadline,
    communicate_outputs_closed_long_before_the_end,
    communicate_grandchild_holds_the_input,
    communicate_killed_child_leaves_a_grandchild_with_the_pipes,
    communicate_shell_with_a_child_that_lives_on,
    communicate_traced_child_until_its_end,
    communicate_sigpipe_guard_refused_errno,
];
