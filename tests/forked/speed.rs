//! Tests the output and the errors of the example `speed`. The tests do not check for particular measured
//! values, because other tests run at the same time and the build may be unoptimised.

use crate::common;
use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::process::{Command, Output, Stdio};

/// Each measured path, its numbers of CPUs, and its unit. The paths that measure limits are last.
const PATHS: [(&str, &[&str], &str); 12] = [
    ("made_and_summed", &["two", "one"], "GiB/s"),
    ("file_to_read", &["two", "one"], "GiB/s"),
    ("pipe_to_file", &["two", "one"], "GiB/s"),
    ("socket_to_socket", &["two", "one"], "GiB/s"),
    ("messages", &["two", "one"], "ns"),
    ("round_trip", &["two", "one"], "us"),
    ("output", &["one"], "GiB/s"),
    ("spawn", &["one"], "us"),
    ("spawn_mapped", &["one"], "us"),
    ("limits/mem_to_read", &["two"], "GiB/s"),
    ("limits/mem_to_null", &["two"], "GiB/s"),
    ("limits/file_to_null", &["two"], "GiB/s"),
];

const ENGINES: [&str; 12] = [
    "std",
    "std-copy",
    "std-vec",
    "rawpipe",
    "rawpipe-adaptive",
    "rawpipe-afterread",
    "rawpipe-large",
    "rawpipe-read-ahead",
    "rawpipe-memfd-afterread",
    "rawpipe-shared",
    "rawpipe-shared-adaptive",
    "rawpipe-vmsplice-afterread",
];

/// The mechanisms that the library can report.
const MECHANISMS: [&str; 7] =
    ["vmsplice", "memfd", "splice", "broker", "copy_file_range", "sendfile", "copy"];

/// Skips the test and returns true if `RAWPIPE_SKIP_187` is 1, which means that the compiler is too old for
/// the example.
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
    text(&output.stdout)
}

struct Row<'a> {
    path: &'a str,
    cpus: &'a str,
    engine: &'a str,
    unit: &'a str,
    value: f64,
    ratio: f64,
    cpu_ratio: f64,
}

fn row(line: &str) -> Row<'_> {
    let number = |text: &str| {
        let number: f64 = text.parse().unwrap_or_else(|_| panic!("{text} in {line}"));
        // On a busy machine a value can be so small that all its printed digits are 0.
        assert!(number.is_finite() && number >= 0.0, "{line}");
        number
    };
    let [path, cpus, engine, unit, value, ratio, cpu, cpu_ratio, by] =
        line.split(',').collect::<Vec<_>>()[..]
    else {
        panic!("not nine fields: {line}");
    };
    number(cpu);
    let last = by.rsplit(' ').next().unwrap_or_default();
    let names_it = MECHANISMS.contains(&last);
    assert!(names_it || by.is_empty() && !(path.contains("_to_") && engine == "rawpipe"), "{line}");
    let [value, ratio, cpu_ratio] = [value, ratio, cpu_ratio].map(number);
    Row { path, cpus, engine, unit, value, ratio, cpu_ratio }
}

fn csv_has_every_path_by_both_engines() {
    if left_out("csv_has_every_path_by_both_engines") {
        return;
    }
    let output = common::finish(&mut speed(&["--csv", "--seconds", "2"]));
    let mut lines = printed(&output).lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("# Linux")));
    assert_eq!(lines.next(), Some("path,cpus,engine,unit,value,ratio,cpu,cpu_ratio,mechanism"));
    let rows: Vec<_> = lines.map(row).collect();

    let found: BTreeSet<_> = rows.iter().map(|row| (row.path, row.cpus, row.engine)).collect();
    assert_eq!(found.len(), rows.len(), "a path and engine twice");
    let mut count = 0;
    for (path, places, unit) in PATHS {
        for cpus in places {
            let rows: Vec<_> =
                rows.iter().filter(|row| row.path == path && row.cpus == *cpus).collect();
            count += rows.len();
            assert_eq!(rows.first().map(|row| row.engine), Some("std"), "{path}");
            assert!(rows.iter().any(|row| row.engine == "rawpipe"), "{path}");
            assert!(rows.iter().all(|row| row.unit == unit), "{path}");
            assert!(rows.iter().all(|row| ENGINES.contains(&row.engine)), "{path}");
            // All ratios are relative to the std engine whose median is the best.
            let better = |one: &&&Row<'_>, other: &&&Row<'_>| {
                let order = one.value.total_cmp(&other.value);
                if unit == "GiB/s" { order.reverse() } else { order }
            };
            let best = rows.iter().filter(|row| row.engine.starts_with("std")).min_by(better);
            let best = best.expect("one of std");
            let ties = rows.iter().filter(|row| (row.value - best.value).abs() < 1e-9).count();
            let is_one = |ratio: f64| (ratio - 1.0).abs() < 1e-9;
            // If the CPU time per unit is very short, all its printed digits are 0, but the ratio is still
            // exact.
            let right = is_one(best.ratio) && is_one(best.cpu_ratio);
            assert!(right || ties > 1, "{path} {}: {}", best.engine, best.ratio);
        }
    }
    assert_eq!(count, rows.len(), "a path that is not in the table of this test");
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
    let rows: Vec<_> = table.lines().filter(|line| line.contains('×')).collect();
    for (path, _, _) in PATHS {
        let lines = rows.iter().filter(|line| line.starts_with(&format!("{path} ")));
        assert!(lines.count() >= 2, "{path}: {table}");
    }
    let limits = rows.iter().position(|line| line.starts_with("limits/")).expect("limits");
    assert!(rows[limits..].iter().all(|line| line.starts_with("limits/")), "{table}");
    assert!(rows[0].starts_with("made_and_summed "), "{}", rows[0]);
    assert!(table.contains("limits: no process makes the bytes"), "{table}");
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
