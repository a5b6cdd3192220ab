//! Programs in a row. Each test runs alone in a process.

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

/// Of this process, by the kernel; empty where it does not say.
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

/// The one before it writes on: it is told that nobody reads, and this process has no copy of the pipe
/// that would keep it from that.
fn pipeline_last_one_ends_early() {
    let (flood, deaf) = (program("flood", &["100000000", "0"]), program("deaf", &[]));
    let output = flood.pipe(&deaf).output().unwrap();
    assert_eq!(output.stdout, b"deaf");
    assert!(output.statuses[1].success());
    // A program of Rust ignores SIGPIPE and fails by the error.
    assert_eq!(output.statuses[0].code(), Some(99));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Broken pipe"));
}

fn pipeline_one_pipe_for_the_errors_of_all() {
    let (both, aside) = (program("both", &[]), program("aside", &[]));
    let output = both.pipe(&aside).pipe(&aside).output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out"[..], &b"errerrerr"[..]));

    // What a command says for itself goes before what `output` does by default, not before the
    // pipeline's own.
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
    // What they have set for their other ends is not looked at.
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
    assert_eq!(first.pipe(&program("cat", &[])).output().unwrap().stdout, b"mapped");
    // A pipe between two is no default.
    let mut between = program("cat", &[]);
    between.fd_map(common::file(b""), 1);
    let error = between.pipe(&program("cat", &[])).spawn().unwrap_err();
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
        assert_eq!(error.kind(), Kind::Deadline);
        read.extend(error.into_outputs().0);
    }
    children.kill().unwrap();
    let output = children.communicate(b"").unwrap();
    assert_eq!(output.statuses[0].signal(), Some(Signal::KILL));
    assert!(output.stdout.is_empty() && is_pattern(&read));
    children.kill().unwrap(); // there is nobody left, and that is fine
}

fn pipeline_limit_and_drop() {
    let mut flood = program("flood", &["1000000", "0"]);
    let mut cat = program("cat", &[]);
    flood.on_drop(OnDrop::Kill);
    cat.on_drop(OnDrop::Kill);
    let before = (common::open_fds(), children());
    let mut row = flood.pipe(&cat).stdout(Stdio::piped()).spawn().unwrap();
    let error = Communicate::new().limit(70_000).run_pipeline(&mut row).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit(StdStream::Stdout));
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
    let talk = Communicate::new().grace(Duration::from_millis(50));
    let error = talk.run_pipeline(&mut children).unwrap_err();
    assert_eq!(error.kind(), Kind::Grace);
    assert!(!error.stdout().is_empty());
    drop(writer);
    assert!(children.communicate(b"").unwrap().success());
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
];
