//! Tests programs that are connected by pipes. Each test runs in its own process.

use crate::common::programs::{all_of, is_pattern, pattern, program};
use crate::common::{self};
use rawpipe::Deadline;
use rawpipe::Errno;
use rawpipe::process::{
    Command, Communicate, CommunicateErrorKind as Kind, OnDrop, Pipeline, RunError, Signal,
    SpawnStage, StdStream, Stdio,
};
use std::fs;
use std::time::Duration;

fn missing() -> Command<'static> {
    Command::new("/no/such/program")
}

/// Returns the kernel's list of this thread's children, or an empty string if the kernel provides none.
fn children() -> String {
    fs::read_to_string("/proc/thread-self/children").unwrap_or_default()
}

fn pipeline_bytes_go_through_all() {
    let cat = program("cat", &[]);
    for size in [0, 1, 100_000, 3_000_000] {
        let input: Vec<u8> = (0..size).map(pattern).collect();
        let pipeline = cat.pipe(&cat).pipe(&cat).pipe(&cat);
        let pipeline = pipeline.stdin(Stdio::piped()).stdout(Stdio::piped());
        let output = pipeline.spawn().unwrap().communicate(&input).unwrap();
        assert!(output.success() && output.statuses.len() == 4);
        assert!(output.stdout == input, "{size}");
    }
}

fn pipeline_statuses_are_in_order() {
    let (three, cat, five) =
        (program("exit", &["3"]), program("cat", &[]), program("exit", &["5"]));
    let output = three.pipe(&cat).pipe(&five).output().unwrap();
    let codes: Vec<_> = output.statuses.iter().map(|status| status.code()).collect();
    assert_eq!(codes, [Some(3), Some(0), Some(5)]);
    assert!(!output.success());
    let mut children = cat.pipe(&five).stdin(Stdio::null()).spawn().unwrap();
    let codes: Vec<_> = children.wait().unwrap().iter().map(|status| status.code()).collect();
    assert_eq!(codes, [Some(0), Some(5)]);
    assert_eq!(children.children_mut()[1].wait().unwrap().code(), Some(5));
}

/// If the last program ends early, the preceding program's write fails. No reader remains, because this
/// process keeps no copy of the read end.
fn pipeline_last_one_ends_early() {
    let (flood, deaf) = (program("flood", &["100000000", "0"]), program("deaf", &[]));
    let output = flood.pipe(&deaf).output().unwrap();
    assert_eq!(output.stdout, b"deaf");
    assert!(output.statuses[1].success());
    // A Rust program ignores `SIGPIPE`, so its write fails with `EPIPE`.
    assert_eq!(output.statuses[0].code(), Some(99));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Broken pipe"));
}

fn pipeline_one_pipe_for_the_errors_of_all() {
    let (both, aside) = (program("both", &[]), program("aside", &[]));
    let output = both.pipe(&aside).pipe(&aside).output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out"[..], &b"errerrerr"[..]));

    // A command's setting overrides the default of `output`, and the pipeline's setting overrides the
    // command's setting.
    let mut own = program("aside", &[]);
    own.stderr(Stdio::null());
    assert_eq!(both.pipe(&own).output().unwrap().stderr, b"err");
    let all = both.pipe(&own).stderr(Stdio::piped());
    assert_eq!(all.output().unwrap().stderr, b"errerr");
    let mut children = all.stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(all_of(children.take_stderr()), b"errerr");
    assert_eq!(children.wait().unwrap().len(), 2);
}

fn pipeline_ends_are_those_of_the_commands_or_its_own() {
    let (mut first, mut last) = (program("cat", &[]), program("cat", &[]));
    first.stdin(common::file(b"the command's"));
    let (reader, writer) = rawpipe::pipe().unwrap();
    last.stdout(writer);
    // The pipeline ignores the commands' settings for the streams between two programs.
    first.stdout(Stdio::null());
    last.stdin(Stdio::null());
    assert!(first.pipe(&last).spawn().unwrap().wait().unwrap().iter().all(|end| end.success()));
    drop(last);
    assert_eq!(all_of(Some(reader)), b"the command's");

    let cat = program("cat", &[]);
    let other = first.pipe(&cat).stdin(common::file(b"the pipeline's"));
    assert_eq!(other.output().unwrap().stdout, b"the pipeline's");
}

fn pipeline_fd_map_replaces_the_default_of_output() {
    let (mut first, mut last) = (program("aside", &[]), program("both", &[]));
    first.fd_map(common::file(b""), 0);
    let (out, writer) = rawpipe::pipe().unwrap();
    last.fd_map(writer, 1);
    let output = first.pipe(&last).output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b"errerr"[..]));
    drop(last);
    assert_eq!(all_of(Some(out)), b"out");

    let mut first = program("cat", &[]);
    first.fd_map(common::file(b"mapped"), 0);
    assert_eq!(first.pipe(program("cat", &[])).output().unwrap().stdout, b"mapped");
    // A command must not map another descriptor over a pipe between two programs.
    let mut between = program("cat", &[]);
    between.fd_map(common::file(b""), 1);
    let error = between.pipe(program("cat", &[])).spawn().unwrap_err();
    assert_eq!((error.index(), error.error().stage()), (0, SpawnStage::Arguments));
}

fn pipeline_of_one_and_of_none() {
    let both = program("both", &[]);
    let output = [&both].into_iter().collect::<Pipeline<'_>>().output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out"[..], &b"err"[..]));
    let error = Pipeline::default().spawn().unwrap_err();
    assert_eq!((error.index(), error.error().stage()), (0, SpawnStage::Arguments));
    assert_eq!(error.error().errno(), Errno::EINVAL);
}

fn pipeline_program_missing_nothing_is_left() {
    let (cat, sleep, missing) = (program("cat", &[]), program("sleep", &[]), missing());
    let rows: [[&Command<'_>; 3]; 3] =
        [[&missing, &cat, &cat], [&sleep, &missing, &cat], [&sleep, &sleep, &missing]];
    for (index, row) in rows.into_iter().enumerate() {
        let before = (common::open_fds(), children());
        let pipeline: Pipeline<'_> = row.into_iter().collect();
        let pipeline = pipeline.stdin(Stdio::piped()).stderr(Stdio::piped());
        let error = pipeline.spawn().unwrap_err();
        assert_eq!(error.index(), index);
        assert_eq!(
            (error.error().stage(), error.error().errno()),
            (SpawnStage::Exec, Errno::ENOENT)
        );
        assert_eq!((common::open_fds(), children()), before);
        assert_eq!(error.errno(), Errno::ENOENT);
        let same = pipeline.output().unwrap_err();
        assert_eq!((same.errno(), same), (Some(Errno::ENOENT), RunError::Pipeline(error)));
    }
    let error = sleep.pipe(&missing).spawn().unwrap_err();
    let text = "program 1 of a pipeline: starting the program: no such file or directory (ENOENT)";
    assert_eq!(error.to_string(), text);
}

fn pipeline_kill_and_deadline() {
    let (stall, cat) = (program("stall", &["5"]), program("cat", &[]));
    let mut children = stall.pipe(&cat).stdout(Stdio::piped()).spawn().unwrap();
    let mut read = Vec::new();
    while read.len() < 5 {
        let soon = Deadline::after(Duration::from_millis(50));
        let error = Communicate::new().deadline(soon).run_pipeline(&mut children).unwrap_err();
        assert_eq!(error.reason(), Kind::Deadline);
        read.extend(error.into_outputs().0);
    }
    children.kill().unwrap();
    let output = children.communicate(b"").unwrap();
    assert_eq!(output.statuses[0].signal(), Some(Signal::KILL));
    assert!(output.stdout.is_empty() && is_pattern(&read));
    children.kill().unwrap(); // the call succeeds although no process remains
}

fn pipeline_limit_and_drop() {
    let mut flood = program("flood", &["1000000", "0"]);
    let mut cat = program("cat", &[]);
    flood.on_drop(OnDrop::Kill);
    cat.on_drop(OnDrop::Kill);
    let before = (common::open_fds(), children());
    let mut row = flood.pipe(&cat).stdout(Stdio::piped()).spawn().unwrap();
    let error = Communicate::new().limit(70_000).run_pipeline(&mut row).unwrap_err();
    assert_eq!(error.reason(), Kind::Limit(StdStream::Stdout));
    assert!(error.stdout().len() == 70_000 && is_pattern(error.stdout()));
    drop(row);
    assert_eq!((common::open_fds(), children()), before);
}

fn pipeline_grace_begins_when_all_have_ended() {
    let (gate, writer) = rawpipe::pipe().unwrap();
    let cat = program("cat", &[]);
    let mut parent = program("parent", &[]);
    parent.fd_map(gate, 7);
    let mut children =
        cat.pipe(&parent).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    drop(parent);
    let mut talk = Communicate::new().grace(Duration::from_millis(50));
    let error = talk.run_pipeline(&mut children).unwrap_err();
    assert_eq!(error.reason(), Kind::Grace);
    assert!(!error.stdout().is_empty());
    drop(writer);
    assert!(children.communicate(b"").unwrap().success());
}

/// Returns a pipeline whose original commands and descriptors have been dropped.
fn made_elsewhere(input: &'static [u8]) -> Pipeline<'static> {
    let mut first = program("cat", &[]);
    first.stdin(common::file(input));
    first.pipe(program("cat", &[]).env("A", "1")).pipe(program("cat", &[]))
}

fn pipeline_owns_its_commands() {
    let row = made_elsewhere(b"returned");
    // The clone and the original share one open file, so the clone's run starts at the end of that file.
    let again = row.clone();
    let output = std::thread::spawn(move || row.output().unwrap()).join().unwrap();
    assert_eq!((output.stdout, output.statuses.len()), (b"returned".to_vec(), 3));
    assert_eq!(again.output().unwrap().stdout, b"");

    // Later changes to the commands do not affect the pipeline, and the pipeline can borrow descriptors.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut both = program("both", &[]);
    let mut cat = program("cat", &[]);
    let row = both.pipe(&cat).stdout(&writer);
    both.stdout(Stdio::null()).arg("a\0b");
    cat.arg("a\0b");
    assert!(row.stderr(Stdio::null()).status().unwrap().iter().all(|end| end.success()));
    drop(writer);
    assert_eq!(all_of(Some(reader)), b"out");

    let owned: Pipeline<'_> = (0..3).map(|_| program("cat", &[])).collect();
    let lent: Pipeline<'_> = [program("cat", &[]), program("cat", &[])].iter().collect();
    for row in [owned, lent] {
        let mut children = row.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(children.communicate(b"through").unwrap().stdout, b"through");
    }
}

fn pipeline_status_of_all() {
    let row = program("exit", &["3"]).pipe(program("cat", &[])).pipe(program("exit", &["0"]));
    let codes: Vec<_> = row.status().unwrap().iter().map(|status| status.code()).collect();
    assert_eq!(codes, [Some(3), Some(0), Some(0)]);
    let error = missing().pipe(program("cat", &[])).status().unwrap_err();
    assert!(matches!(error, RunError::Pipeline(error) if error.index() == 0), "{error:?}");
}

fn pipeline_waits_that_do_not_wait_long() {
    let (gate, key) = rawpipe::pipe().unwrap();
    let mut waiter = program("waiter", &[]);
    waiter.fd_map(&gate, 7);
    let mut children =
        program("exit", &["1"]).pipe(&waiter).pipe(program("cat", &[])).spawn().unwrap();
    let soon = || Deadline::after(Duration::from_millis(50));
    assert_eq!(children.try_wait(), Ok(None));
    assert_eq!(children.wait_deadline(soon()), Ok(None));
    assert_eq!(children.children_mut()[0].wait().unwrap().code(), Some(1));
    assert_eq!(children.try_wait(), Ok(None));
    drop((key, gate));
    let late = Deadline::after(Duration::from_secs(100));
    let ends = children.wait_deadline(late).unwrap().expect("all have ended");
    assert_eq!(ends.iter().map(|end| end.code()).collect::<Vec<_>>(), [Some(1), Some(0), Some(0)]);
    assert_eq!(children.try_wait(), Ok(Some(ends)));
}

/// Returns the process group of a process.
fn group_of(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit(')').next().unwrap().to_owned();
    rest.split_whitespace().nth(2).unwrap().to_owned()
}

fn pipeline_in_one_group() {
    let sleep = program("sleep", &[]);
    // A pipeline with `in_one_group` ignores the group that a command sets.
    let mut other = sleep.clone();
    other.process_group(0);
    let row = sleep.pipe(&other).pipe(&sleep).in_one_group();
    let mut children = row.spawn().unwrap();
    let leader = children.children()[0].id();
    for child in children.children() {
        assert_eq!(group_of(child.id()), leader.to_string());
    }
    assert_ne!(group_of(std::process::id()), leader.to_string());
    children.send_signal_group(Signal::TERM).unwrap();
    assert!(children.wait().unwrap().iter().all(|end| end.signal() == Some(Signal::TERM)));
    assert_eq!(children.kill_group(), Err(Errno::ESRCH));

    let mut without = sleep.pipe(&sleep).spawn().unwrap();
    assert_eq!(without.kill_group(), Err(Errno::EINVAL));
    without.kill().unwrap();
    without.wait().unwrap();
}

/// The other programs can join the leader's group even if that group contains only a zombie.
fn pipeline_group_of_a_leader_that_has_ended() {
    let first = program("exit", &["4"]);
    let mut second = program("sleep", &[]);
    // A long list of arguments delays the start of the second program, so that the first program may end
    // earlier.
    second.args((0..20_000).map(|_| "x"));
    for _ in 0..50 {
        let row = first.pipe(&second).in_one_group();
        let mut children = row.spawn().unwrap();
        let [leader, other] = [0, 1].map(|i| children.children()[i].id());
        assert_eq!(group_of(other), leader.to_string());
        // The leader stays a zombie until a wait collects its status, so its group can still receive signals.
        children.kill_group().unwrap();
        let ends = children.wait().unwrap();
        assert!(ends[0].code() == Some(4) || ends[0].signal() == Some(Signal::KILL));
        assert_eq!(ends[1].signal(), Some(Signal::KILL));
    }
}

fn pipeline_kill_group_reaches_grandchildren() {
    let (gate, key) = rawpipe::pipe().unwrap();
    let (alive, writer) = rawpipe::pipe().unwrap();
    let mut family = program("family", &[]);
    family.fd_map(&gate, 7).fd_map(&writer, 8);
    let row = family.pipe(program("stall", &["1"])).stdout(Stdio::piped()).in_one_group();
    let mut children = row.spawn().unwrap();
    drop(writer);
    let mut byte = [0];
    let stalled = children.children()[1].stdout_ref().unwrap().read(&mut byte);
    assert_eq!(stalled, Ok(1));
    children.kill_group().unwrap();
    children.wait().unwrap();
    // The grandchild also holds the write end, so end of file shows that the grandchild is dead.
    assert_eq!(all_of(Some(alive)), b"");
    drop(key);
}

fn pipeline_session_cannot_join_a_group_eperm() {
    let mut session = program("sleep", &[]);
    session.setsid();
    let error = program("sleep", &[]).pipe(&session).in_one_group().spawn().unwrap_err();
    let found = (error.index(), error.error().stage(), error.errno());
    assert_eq!(found, (1, SpawnStage::Setpgid, Errno::EPERM));
    assert_eq!(children(), "");
}

fn pipeline_on_failure_policies() {
    let (alive, writer) = rawpipe::pipe().unwrap();
    let (gate, key) = rawpipe::pipe().unwrap();
    let mut waiter = program("waiter", &[]);
    waiter.fd_map(&gate, 7).fd_map(&writer, 8).on_drop(OnDrop::Kill);
    let row = waiter.pipe(missing()).on_failure(OnDrop::Leave);
    assert_eq!(row.spawn().unwrap_err().index(), 1);
    drop((gate, writer));
    // With `OnDrop::Leave`, the first program continues until the gate closes.
    let mut fds = [rawpipe::event::PollFd::new(&alive, rawpipe::event::PollEvents::IN)];
    let soon = Deadline::after(Duration::from_millis(100));
    assert_eq!(rawpipe::event::poll_deadline(&mut fds, soon), Ok(0));
    drop(key);
    assert_eq!(all_of(Some(alive)), b"");

    // With `OnDrop::Reap`, the pipeline waits for a program that ends by itself.
    let before = children();
    let slow = program("deaf", &[]);
    let row = slow.pipe(missing()).stdin(Stdio::piped()).on_failure(OnDrop::Reap);
    assert_eq!(row.spawn().unwrap_err().index(), 1);
    assert_eq!(children(), before);

    // `OnDrop::KillGroup` kills the programs even if they form no group. If the programs form a group, the
    // programs' children also die.
    let (alive, writer) = rawpipe::pipe().unwrap();
    let mut sleep = program("sleep", &[]);
    sleep.fd_map(&writer, 8);
    let row = sleep.pipe(&sleep).pipe(missing());
    for row in [
        row.clone().in_one_group().on_failure(OnDrop::KillGroup),
        row.on_failure(OnDrop::KillGroup),
    ] {
        assert_eq!(row.spawn().unwrap_err().index(), 2);
        assert_eq!(children(), before);
    }
    drop(writer);
    assert_eq!(all_of(Some(alive)), b"");
}

/// If a pipeline with `OnDrop::Reap` is dropped, all its pipes are closed before the first wait. Otherwise a
/// program that writes to one of these pipes would not end.
fn pipeline_dropped_that_reaps_closes_all_pipes_first() {
    let before = (common::open_fds(), children());
    let (mut flood, mut cat) = (program("flood", &["3000000", "3000000"]), program("cat", &[]));
    flood.on_drop(OnDrop::Reap);
    cat.on_drop(OnDrop::Reap);
    let row = flood.pipe(&cat).stdout(Stdio::piped()).stderr(Stdio::piped());
    drop(row.spawn().unwrap());
    assert_eq!((common::open_fds(), children()), before);

    // If a later program cannot be started, the earlier programs' pipes are also closed before the wait.
    let mut errors = program("flood", &["0", "3000000"]);
    errors.stderr(Stdio::piped());
    let row = program("flood", &["3000000", "0"]).pipe(&errors).pipe(missing());
    assert_eq!(row.on_failure(OnDrop::Reap).spawn().unwrap_err().index(), 2);
    assert_eq!((common::open_fds(), children()), before);
}

/// `output` reads from the pipe that a command requests for its standard error, and `status` drains that
/// pipe. With `spawn`, the caller reads from the pipe.
fn pipeline_errors_of_commands_that_ask_for_a_pipe_are_read() {
    let (mut errors, cat) = (program("flood", &["10", "300000"]), program("cat", &[]));
    errors.stderr(Stdio::piped());
    let row = errors.pipe(&cat);
    let output = row.output().unwrap();
    assert!(output.success() && output.stdout.len() == 10);
    assert!(output.stderr.len() == 300_000 && is_pattern(&output.stderr));
    assert!(row.status().unwrap().iter().all(|status| status.success()));
    // The pipeline's setting overrides the command's setting.
    let mut kept = row.clone().stderr(Stdio::null()).output().unwrap();
    assert!(kept.stderr.is_empty() && kept.statuses.pop().unwrap().success());

    let mut started = row.spawn().unwrap();
    assert!(started.take_stderr().is_none());
    assert_eq!(all_of(started.children_mut()[0].take_stderr()).len(), 300_000);
    assert!(started.wait().unwrap().iter().all(|status| status.success()));
}

/// As in `a 2>&1 | b`, a program with `Stdio::same_as_stdout` writes its standard error to the pipe that
/// leads to the next program.
fn pipeline_errors_with_the_output() {
    let both = program("both", &[]);
    let mut first = both.clone();
    first.stderr(Stdio::same_as_stdout());
    let output = first.pipe(program("cat", &[])).output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"outerr"[..], &b""[..]));
    // If all programs have the setting `same_as_stdout`, the last program's standard error is written to the
    // pipeline's output.
    let aside = program("aside", &[]);
    let output = both.pipe(&aside).stderr(Stdio::same_as_stdout()).output().unwrap();
    assert_eq!(output.stderr, b"");
    let mut text = output.stdout;
    text.sort_unstable();
    assert_eq!(text, b"eeorrrrtu");
}

pub(crate) const TESTS: common::Tests = common::tests![
    pipeline_bytes_go_through_all,
    pipeline_statuses_are_in_order,
    pipeline_last_one_ends_early,
    pipeline_one_pipe_for_the_errors_of_all,
    pipeline_ends_are_those_of_the_commands_or_its_own,
    pipeline_of_one_and_of_none,
    pipeline_fd_map_replaces_the_default_of_output,
    pipeline_program_missing_nothing_is_left,
    pipeline_kill_and_deadline,
    pipeline_limit_and_drop,
    pipeline_grace_begins_when_all_have_ended,
    pipeline_owns_its_commands,
    pipeline_status_of_all,
    pipeline_waits_that_do_not_wait_long,
    pipeline_in_one_group,
    pipeline_group_of_a_leader_that_has_ended,
    pipeline_kill_group_reaches_grandchildren,
    pipeline_session_cannot_join_a_group_eperm,
    pipeline_on_failure_policies,
    pipeline_errors_with_the_output,
    pipeline_dropped_that_reaps_closes_all_pipes_first,
    pipeline_errors_of_commands_that_ask_for_a_pipe_are_read,
];
