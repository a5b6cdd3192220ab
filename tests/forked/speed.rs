//! The example `speed`: its output, and its errors. The size of the ratios is not tested: the machine
//! has other work while tests run, and the build may not be optimised.

use crate::common;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::File;
use std::process::{Command, Output, Stdio};

/// The measured paths and their units.
const PATHS: [(&str, &str); 16] = [
    ("made_and_summed", "GiB/s"),
    ("mem_to_read", "GiB/s"),
    ("mem_to_read_filled", "GiB/s"),
    ("mem_to_null", "GiB/s"),
    ("mem_to_null_filled", "GiB/s"),
    ("file_to_null", "GiB/s"),
    ("file_to_read", "GiB/s"),
    ("file_to_file", "GiB/s"),
    ("pipe_to_file", "GiB/s"),
    ("pipe_to_pipe", "GiB/s"),
    ("socket_to_socket", "GiB/s"),
    ("pingpong", "us"),
    ("pipe2_close", "ns"),
    ("fork_wait", "us"),
    ("spawn_plain", "us"),
    ("spawn_mapped", "us"),
];

/// Paths whose title marks them as limits, because no process creates, reads or keeps the bytes.
const LIMITS: [&str; 6] = [
    "mem_to_read",
    "mem_to_null",
    "file_to_null",
    "file_to_read",
    "pipe_to_pipe",
    "socket_to_socket",
];

const ENGINES: [&str; 11] = [
    "std",
    "rawpipe",
    "rawpipe-adaptive",
    "rawpipe-afterread",
    "rawpipe-copy",
    "rawpipe-memfd",
    "rawpipe-memfd-afterread",
    "rawpipe-shared",
    "rawpipe-shared-adaptive",
    "rawpipe-vmsplice",
    "rawpipe-vmsplice-afterread",
];

/// The mechanisms that the library may report.
const MECHANISMS: [&str; 7] =
    ["vmsplice", "memfd", "splice", "broker", "copy_file_range", "sendfile", "copy"];

/// A variable marks a compiler that is too old for the example.
fn left_out(test: &str) -> bool {
    let skip = env::var_os("RAWPIPE_SKIP_187").is_some_and(|set| set == "1");
    if skip {
        common::skip(test, "speed needs Rust 1.87, for std::io::pipe");
    }
    skip
}

fn speed(arguments: &[&str]) -> Command {
    let mut command = common::program(&common::example("speed"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn printed(output: &Output) -> &str {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    // Standard error is not a terminal, so there is no progress.
    assert!(!errors.contains('\r'), "{errors}");
    text(&output.stdout)
}

struct Row<'a> {
    path: &'a str,
    engine: &'a str,
    unit: &'a str,
    value: f64,
    ratio: f64,
}

fn row(line: &str) -> Row<'_> {
    let number = |text: &str| {
        let number: f64 = text.parse().unwrap_or_else(|_| panic!("{text} in {line}"));
        // A busy machine can be so slow that these few digits show 0.
        assert!(number.is_finite() && number >= 0.0, "{line}");
        number
    };
    let [path, engine, unit, value, ratio] = line.split(',').collect::<Vec<_>>()[..] else {
        panic!("not five fields: {line}");
    };
    Row { path, engine, unit, value: number(value), ratio: number(ratio) }
}

fn csv_has_every_path_by_both_engines() {
    if left_out("csv_has_every_path_by_both_engines") {
        return;
    }
    let output = common::finish(&mut speed(&["--csv", "--seconds", "2"]));
    let mut lines = printed(&output).lines();
    assert_eq!(lines.next(), Some("path,engine,unit,value,ratio_to_std"));
    let rows: Vec<_> = lines.map(row).collect();

    let found: BTreeSet<_> = rows.iter().map(|row| (row.path, row.engine)).collect();
    assert_eq!(found.len(), rows.len(), "a path and engine twice");
    let mut offs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (path, unit) in PATHS {
        let rows: Vec<_> = rows.iter().filter(|row| row.path == path).collect();
        assert_eq!(rows.first().map(|row| row.engine), Some("std"), "{path}");
        assert_eq!(rows.get(1).map(|row| row.engine), Some("rawpipe"), "{path}");
        let std = rows[0].value;
        for Row { engine, unit: own, value, ratio, .. } in rows {
            assert!(ENGINES.contains(engine), "{path} {engine}");
            assert_eq!(*own, unit, "{path} {engine}");
            let medians = if unit == "GiB/s" { value / std } else { std / value };
            if *engine != "std" {
                let kind = if unit == "GiB/s" { "speeds" } else { "times" };
                offs.entry(kind).or_default().push(ratio / medians);
            }
            assert!(*engine != "std" || (ratio - 1.0).abs() < 1e-9, "{path} std: {ratio}");
        }
    }
    // A ratio is computed from the rounds, not from the medians: close, but not equal, and on a busy
    // machine not always close.
    for (kind, mut offs) in offs {
        offs.sort_by(f64::total_cmp);
        let middle = offs[offs.len() / 2];
        assert!(
            (0.05..20.0).contains(&middle),
            "{kind}: ratios are far from the values': {offs:?}"
        );
    }
    let known = rows.iter().all(|row| PATHS.iter().any(|(path, _)| *path == row.path));
    assert!(known, "a path that is not in the table of this test");
}

fn table_has_every_path_and_the_environment() {
    if left_out("table_has_every_path_and_the_environment") {
        return;
    }
    let output = common::finish(&mut speed(&["--seconds", "1"]));
    let table = printed(&output);
    let environment = table.lines().next().expect("a line");
    for part in ["Linux", env::consts::ARCH, "CPUs", "backend", "KiB"] {
        assert!(environment.contains(part), "{environment}");
    }
    for (path, _) in PATHS {
        let title = format!("{}{path} ", if LIMITS.contains(&path) { "limit: " } else { "" });
        let lines: Vec<_> = table.lines().filter(|line| line.starts_with(&title)).collect();
        assert!(lines.len() >= 2 && lines.iter().all(|line| line.contains('×')), "{table}");
        if path.contains("_to_") {
            let last = lines[1].rsplit(' ').next().unwrap_or_default();
            assert!(MECHANISMS.contains(&last), "no mechanism: {}", lines[1]);
        }
    }
    assert!(table.contains("std has no fork"), "{table}");
    let first = table.lines().find(|line| line.contains('×')).expect("a row");
    assert!(first.starts_with("made_and_summed "), "{first}");
}

fn wrong_usage_is_status_2() {
    if left_out("wrong_usage_is_status_2") {
        return;
    }
    let wrong: [&[&str]; 7] = [
        &["--fast"],
        &["5"],
        &["--csv=yes"],
        &["--seconds"],
        &["--seconds", "soon"],
        &["--seconds", "0"],
        &["--seconds", "NaN"],
    ];
    for arguments in wrong {
        let output = common::finish(&mut speed(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        let message = text(&output.stderr);
        assert!(message.starts_with("speed: ") && message.lines().count() == 1, "{message}");
    }
}

fn help_names_the_options() {
    if left_out("help_names_the_options") {
        return;
    }
    let output = common::finish(&mut speed(&["--help"]));
    for option in ["--csv", "--seconds N", "--help"] {
        assert!(printed(&output).contains(option), "{option}");
    }
}

fn output_that_fails_is_status_1() {
    if left_out("output_that_fails_is_status_1") {
        return;
    }
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = speed(&["--csv", "--seconds", "2"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("speed");
    let output = child.wait_with_output().expect("its output");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ENOSPC") || text(&output.stderr).contains("No space"));
}

pub(crate) const TESTS: common::Tests = common::tests![
    csv_has_every_path_by_both_engines,
    table_has_every_path_and_the_environment,
    wrong_usage_is_status_2,
    help_names_the_options,
    output_that_fails_is_status_1,
];
