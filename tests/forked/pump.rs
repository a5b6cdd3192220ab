//! Tests the options, messages, and exit status of the example `pump`. The tests of the library, mainly
//! `streams`, check that no byte is lost.

use crate::common::{self, bytes::data, file, terminal, terminals};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, thread};

fn pump<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = common::program(&common::example("pump"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Returns the bytes that the command wrote to its standard output. Asserts that the command succeeded and
/// printed no message.
fn moved(command: &mut Command) -> Vec<u8> {
    let output = common::finish(command);
    assert_eq!((output.status.code(), stderr_of(&output)), (Some(0), String::new()));
    output.stdout
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that the command failed with this status and printed one line that contains these words.
fn assert_fails(command: &mut Command, status: i32, words: &[&str]) {
    command.stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let said = stderr_of(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(status), 1), "{said}");
    assert!(said.starts_with("pump: "), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
}

fn pump_moves_a_named_file_and_standard_input_from_its_position() {
    let (bytes, path) = (data(300_001), common::tmp_path());
    fs::write(&path, &bytes).unwrap();
    assert!(moved(&mut pump([&path])) == bytes);
    for arguments in [&["-"][..], &["--chunk=3K"], &["--chunk", "1G", "--quiet"]] {
        let mut input = File::open(&path).unwrap();
        input.read_exact(&mut [0; 1000]).unwrap();
        assert!(moved(pump(arguments).stdin(input)) == bytes[1000..], "{arguments:?}");
    }
    fs::remove_file(&path).unwrap();
}

fn pump_stats_are_bytes_time_rate_and_mechanism() {
    for (chunk, mechanism) in [("1M", "splice"), ("1", "copy")] {
        let command = &mut pump(["--stats", "--chunk", chunk]);
        let output = common::finish(command.stdin(file(&data(5000))));
        let line = stderr_of(&output);
        let [bytes, seconds, rate, how] = line.trim_end().split(", ").collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let number = |word: &str, unit| word.strip_suffix(unit)?.parse::<f64>().ok();
        assert!(number(seconds, " s").is_some() && number(rate, " GiB/s").is_some(), "{line}");
        assert_eq!((bytes, how, output.stdout.len()), ("5000 bytes", mechanism, 5000));
    }
}

fn pump_tee_gives_everybody_everything() {
    let (bytes, first, second) = (data(300_001), common::tmp_path(), common::tmp_path());
    let tees = ["--tee".as_ref(), first.as_os_str(), "--tee".as_ref(), second.as_os_str()];
    assert!(moved(pump(tees).stdin(file(&bytes))) == bytes);
    for path in [&first, &second] {
        assert!(fs::read(path).unwrap() == bytes);
    }
    // `pump` reports a sink that accepts no bytes, and the other sinks still receive everything.
    let tees = ["--tee".as_ref(), "/dev/full".as_ref(), "--tee".as_ref(), first.as_os_str()];
    assert_fails(pump(tees).stdin(file(&bytes)).stdout(Stdio::null()), 1, &["/dev/full", "ENOSPC"]);
    assert!(fs::read(&first).unwrap() == bytes);
    for path in [first, second] {
        fs::remove_file(path).unwrap();
    }
}

fn pump_failures_name_the_side_and_the_error() {
    let folder = env::temp_dir();
    let name = format!("input {}: ", folder.display());
    let (input, output) = ("/proc/version", "pump: output: ");
    let write = |path: &str| File::options().write(true).open(path).unwrap();
    assert_fails(&mut pump(["/nonexistent/file"]), 1, &["input /nonexistent/file: ", "(ENOENT)"]);
    assert_fails(&mut pump(["--", "--stats"]), 1, &["input --stats: ", "(ENOENT)"]);
    assert_fails(pump([&folder]).stdout(Stdio::null()), 1, &[&name, "(EISDIR)"]);
    assert_fails(pump([input]).stdout(write("/dev/full")), 1, &[output, "(ENOSPC)"]);
    assert_fails(pump([input]).stdout(File::open("/dev/null").unwrap()), 1, &[output, "(EBADF)"]);
    assert_fails(pump(["-"]).stdin(write("/dev/null")), 1, &["pump: input: ", "(EBADF)"]);
}

fn pump_file_to_itself_is_refused() {
    let path = common::tmp_path();
    let append = |path| File::options().append(true).create(true).open(path).unwrap();
    assert!(pump([&path]).stdout(append(&path)).status().unwrap().success()); // an empty file is allowed
    fs::write(&path, b"some bytes").unwrap();
    assert_fails(pump([&path]).stdout(append(&path)), 1, &["input file is output file"]);
    assert_eq!(fs::read(&path).unwrap(), b"some bytes");
    fs::remove_file(&path).unwrap();
}

/// If the output pipe has no reader, `pump` prints no message and exits with 141. Shells report this status
/// for a program that was killed by `SIGPIPE`.
fn pump_broken_output_pipe_ends_in_silence() {
    let input = file(&data(3 << 20));
    let mut command = pump(["-"]);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr_of(&output)), (Some(141), String::new()));
}

fn pump_wrong_usage() {
    let chunks = ["", "0", "0K", "K", "many", "-1", "+1", "1.5M", "1KK", "1T", " 1"];
    let beyond = ["99999999999999999999", "18446744073709551615K"];
    for chunk in chunks.into_iter().chain(beyond) {
        assert_fails(&mut pump(["--chunk", chunk]), 2, &["see pump --help"]);
    }
    let others: &[&[&str]] = &[
        &["--chunk"],
        &["--quiet=yes"],
        &["--stats="],
        &["--frobnicate"],
        &["-x"],
        &["-", "-"],
        &["--", "--stats", "-"],
    ];
    for arguments in others {
        assert_fails(&mut pump(*arguments), 2, &["see pump --help"]);
    }
}

fn pump_help_lists_the_options() {
    let text = String::from_utf8(moved(&mut pump(["--help"]))).unwrap();
    for part in ["Usage: pump ", "--chunk", "--tee", "--quiet", "--stats", "--help"] {
        assert!(text.contains(part), "{text}");
    }
}

/// If standard error is a terminal, `pump` repeatedly overwrites one progress line and finally erases the
/// line. If the input size is known, the line includes the percentage and the remaining time.
fn pump_progress_is_shown_on_a_terminal_only() {
    if !terminals() {
        return;
    }
    let shown = |arguments: &[&str], known: bool| {
        let (theirs, mut ours) = terminal();
        let mut command = pump(arguments);
        command.stdin(if known { file(&data(2 << 20)).into() } else { Stdio::piped() });
        let mut child = command.stdout(Stdio::piped()).stderr(theirs).spawn().unwrap();
        drop(command);
        if let Some(mut input) = child.stdin.take() {
            thread::spawn(move || input.write_all(&data(2 << 20)).unwrap());
        }
        let mut output = child.stdout.take().unwrap();
        let reading = thread::spawn(move || {
            let mut part = vec![0; 64 << 10];
            while output.read(&mut part).unwrap() > 0 {
                thread::sleep(Duration::from_millis(30));
            }
        });
        let mut text = Vec::new();
        let _ = ours.read_to_end(&mut text); // EIO at the end
        reading.join().unwrap();
        assert!(child.wait().unwrap().success());
        String::from_utf8(text).unwrap()
    };
    for (known, arguments) in [(true, &["--chunk=64K"][..]), (false, &["--chunk=64K"])] {
        let text = shown(arguments, known);
        let lines: Vec<_> = text.split('\r').collect();
        let [_, line, .., blank, ""] = lines[..] else { panic!("{text:?}") };
        assert!(line.contains("MiB") || line.contains("KiB"), "{text:?}");
        assert!(line.contains("/s"), "{text:?}");
        assert_eq!(line.contains('%') && line.contains(" left"), known, "{text:?}");
        assert!(blank.len() >= line.len() && blank.trim().is_empty(), "{text:?}");
    }
    assert_eq!(shown(&["--chunk=64K", "--quiet"], true), "");
}

pub(crate) const TESTS: common::Tests = common::tests![
    pump_moves_a_named_file_and_standard_input_from_its_position,
    pump_stats_are_bytes_time_rate_and_mechanism,
    pump_tee_gives_everybody_everything,
    pump_failures_name_the_side_and_the_error,
    pump_file_to_itself_is_refused,
    pump_broken_output_pipe_ends_in_silence,
    pump_wrong_usage,
    pump_help_lists_the_options,
    pump_progress_is_shown_on_a_terminal_only,
];
