//! The programs in `examples/`: what each prints, from the first byte to the last, in whatever order
//! its processes run, and that it fails where it cannot do its work.
#![allow(unsafe_code, reason = "signals by number")]

mod common;

use rawpipe::pipe::PIPE_BUF;
use rawpipe::{PipeReader, raw};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

struct Example {
    name: &'static str,
    tested: Tested,
    /// Whether it uses what std has since Rust 1.87: see [`left_out`].
    needs_187: bool,
}

enum Tested {
    /// Here: it prints the lines of both processes, each process its own in this order.
    Here { parent: &'static [&'static str], child: &'static [&'static str] },
    /// In this file. Here it is only built.
    Elsewhere(&'static str),
}

/// Every file in `examples/`.
const EXAMPLES: &[Example] = &[
    Example {
        name: "bidirectional",
        tested: Tested::Here {
            parent: &["Parent received: Child says hi back"],
            child: &["Child received: Parent says hello"],
        },
        needs_187: false,
    },
    Example {
        name: "large_data",
        tested: Tested::Here { parent: &["Received 1000000 bytes"], child: &[] },
        needs_187: false,
    },
    Example {
        name: "nonblocking",
        tested: Tested::Here {
            parent: &["No data available yet", "Got data: Now there's data"],
            child: &[],
        },
        needs_187: false,
    },
    Example {
        name: "parent_child",
        tested: Tested::Here {
            parent: &["Parent sent message to child"],
            child: &["Child received: Hello child process!"],
        },
        needs_187: false,
    },
    Example {
        name: "pipe2_fork",
        tested: Tested::Here {
            parent: &["Parent process is writing", "Written text: Hello child process"],
            child: &["", "Child Process is reading", "Read text: Hello child process"],
        },
        needs_187: false,
    },
    Example {
        name: "pipe_fork",
        tested: Tested::Here {
            parent: &["Parent process is writing", "Written text: Hello child process"],
            child: &["", "Child Process is reading", "Read text: Hello child process"],
        },
        needs_187: false,
    },
    Example { name: "pump", tested: Tested::Elsewhere("tests/pump.rs"), needs_187: false },
    Example {
        name: "simple_pipe",
        tested: Tested::Here { parent: &["Received: Hello from pipe!"], child: &[] },
        needs_187: false,
    },
    Example { name: "speed", tested: Tested::Elsewhere("tests/speed.rs"), needs_187: true },
];

// ---------------------------------------------------------------- the table

#[test]
fn table_names_every_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        // An ordinary user may have copies of the programs only, and no way to the sources.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            let reason = format!("{}: {error}", folder.display());
            return common::skip("table_names_every_example", &reason);
        }
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    let found: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let named: BTreeSet<String> =
        EXAMPLES.iter().map(|example| format!("{}.rs", example.name)).collect();
    assert_eq!(found, named, "examples/ (left) and the table in tests/examples.rs (right)");
}

#[test]
fn every_example_prints_its_lines() {
    for example in EXAMPLES {
        if left_out(example, "every_example_prints_its_lines") {
            continue;
        }
        let path = common::example(example.name);
        match example.tested {
            Tested::Here { .. } => run_and_check(example, &path),
            Tested::Elsewhere(file) => {
                let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
                let readable = fs::read_dir(sources).is_ok();
                assert!(!readable || sources.join(file).exists(), "{}: {file}", example.name);
            }
        }
    }
}

// ---------------------------------------------------------------- in whatever order it happens

#[test]
fn pipe_fork_fifty_times() {
    run_fifty_times("pipe_fork");
}

#[test]
fn pipe2_fork_fifty_times() {
    run_fifty_times("pipe2_fork");
}

#[test]
fn pipe_fork_child_reads_first() {
    let_the_child_read_first("pipe_fork");
}

#[test]
fn pipe2_fork_child_reads_first() {
    let_the_child_read_first("pipe2_fork");
}

#[test]
fn bidirectional_child_prints_first() {
    let output = common::finish(&mut program("bidirectional"));
    let text = String::from_utf8(output.stdout).unwrap();
    // The answer, which the parent prints, is sent after the child has printed.
    assert!(text.starts_with("Child received: "), "{text}");
}

fn run_fifty_times(name: &str) {
    let path = common::example(name);
    for _ in 0..50 {
        run_and_check(row(name), &path);
    }
}

/// Stops the parent before it writes, until the child waits for data.
fn let_the_child_read_first(name: &str) {
    let mut running = Held::start(name);
    // The parent comes as far as its first line, for which there is no room.
    let child = running.forked();
    signal(running.process.id(), SIGSTOP);
    let mut text = running.take_hold_off();

    let reading = "Child Process is reading\n";
    while !text.ends_with(reading) {
        text += &running.read_some();
    }
    let child_waits = until("the child waits", || match state(child)? {
        'S' => Some(true),
        'Z' | 'X' => Some(false),
        _ => None,
    });
    assert!(child_waits, "{name}: the child has ended before the parent has written");

    signal(running.process.id(), SIGCONT);
    let (status, rest, errors) = running.finish();
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{name}");
    text += &rest;
    check_lines(row(name), &text);
}

// ---------------------------------------------------------------- failing

/// The lines do not fit anywhere.
#[test]
fn every_example_fails_stdout_full() {
    for example in EXAMPLES.iter().filter(|example| is_here(example)) {
        if left_out(example, "every_example_fails_stdout_full") {
            continue;
        }
        let full = File::options().write(true).open("/dev/full").unwrap();
        let errors = fails(example.name, full.into());
        assert!(errors.contains("No space left on device"), "{}: {errors}", example.name);
    }
}

/// Nobody reads the lines.
#[test]
fn every_example_fails_stdout_without_reader() {
    for example in EXAMPLES.iter().filter(|example| is_here(example)) {
        if left_out(example, "every_example_fails_stdout_without_reader") {
            continue;
        }
        let (reader, writer) = rawpipe::pipe().unwrap();
        drop(reader);
        let errors = fails(example.name, writer.into());
        assert!(errors.contains("Broken pipe"), "{}: {errors}", example.name);
    }
}

/// The parent has done all of its work, and learns by waiting that the child has not.
#[test]
fn parent_child_fails_child_killed() {
    let mut running = Held::start("parent_child");
    let child = running.forked();
    // The parent has sent the message when it waits to print that it has.
    until("the parent waits", || (state(running.process.id())? == 'S').then_some(()));
    signal(child, SIGKILL);
    let mut text = running.take_hold_off();

    let (status, rest, errors) = running.finish();
    text += &rest;
    assert_eq!(text, "Parent sent message to child\n");
    assert_eq!(status, Some(1));
    assert!(errors.contains("child: killed by signal 9"), "{errors}");
}

/// Runs an example that is to fail and returns what it says on standard error.
fn fails(name: &str, stdout: Stdio) -> String {
    let mut process = program(name).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = process.stderr.take().unwrap();
    let mut running = Running(process);
    let status = running.wait();
    assert!(matches!(status, Some(code) if code != 0), "{name}: {status:?}");
    let mut errors = String::new();
    // Its end comes when the child of the example has ended, too.
    stderr.read_to_string(&mut errors).unwrap();
    errors
}
