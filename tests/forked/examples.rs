//! Builds all programs in `examples/`, and runs those that no other file tests. Each program that runs here
//! must print its complete output, and must fail if it cannot write that output.

use crate::common;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::{Errno, PipeReader};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// The time limit for short operations. This limit is long enough for slow emulators.
const PATIENCE: Duration = Duration::from_secs(120);

struct Example {
    name: &'static str,
    tested: Tested,
    /// True if the example needs Rust 1.87. See [`left_out`].
    needs_187: bool,
}

enum Tested {
    /// The example is tested here. The parent and the child each print their lines in this order.
    Here { parent: &'static [&'static str], child: &'static [&'static str] },
    /// This module only builds the example, and another file tests it.
    Elsewhere(&'static str),
}

/// Every program in `examples/`.
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
        name: "daemonize",
        tested: Tested::Elsewhere("tests/forked/recipes.rs"),
        needs_187: false,
    },
    Example {
        name: "duplex",
        tested: Tested::Here {
            parent: &[
                "\"How long is this?\" has 17 bytes",
                "\"And this one?\" has 13 bytes",
                "\"\" has 0 bytes",
            ],
            child: &[],
        },
        needs_187: false,
    },
    Example {
        name: "filter_sigpipe",
        tested: Tested::Elsewhere("tests/forked/recipes.rs"),
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
    Example {
        name: "pipeline",
        tested: Tested::Here {
            parent: &[
                "999",
                "998",
                "997",
                "996",
                "995",
                "seq: exit status: 0",
                "sort: exit status: 0",
                "head: exit status: 0",
            ],
            child: &[],
        },
        needs_187: false,
    },
    Example { name: "pump", tested: Tested::Elsewhere("tests/forked/pump.rs"), needs_187: false },
    Example {
        name: "select_pipes",
        tested: Tested::Here {
            parent: &["Pipe 2 has data", "Received: Data in pipe 2"],
            child: &[],
        },
        needs_187: false,
    },
    Example {
        name: "shared_chunks",
        tested: Tested::Elsewhere("tests/forked/shared.rs"),
        needs_187: false,
    },
    Example {
        name: "shared_python",
        tested: Tested::Elsewhere("tests/forked/passing.rs"),
        needs_187: false,
    },
    Example {
        name: "shared_worker",
        tested: Tested::Elsewhere("tests/forked/passing.rs"),
        needs_187: false,
    },
    Example {
        name: "simple_pipe",
        tested: Tested::Here { parent: &["Received: Hello from pipe!"], child: &[] },
        needs_187: false,
    },
    Example {
        name: "socket_proxy",
        tested: Tested::Elsewhere("tests/forked/recipes.rs"),
        needs_187: false,
    },
    Example { name: "speed", tested: Tested::Elsewhere("tests/forked/speed.rs"), needs_187: true },
    Example {
        name: "subprocess_cat",
        tested: Tested::Here {
            parent: &["Received from subprocess: Data for subprocess", ""],
            child: &[],
        },
        needs_187: false,
    },
    Example {
        name: "supervisor",
        tested: Tested::Elsewhere("tests/forked/recipes.rs"),
        needs_187: false,
    },
    Example { name: "tee", tested: Tested::Elsewhere("tests/forked/recipes.rs"), needs_187: false },
    Example {
        name: "try_read",
        tested: Tested::Here {
            parent: &[
                "At first: nothing yet",
                "Then: at once",
                "Later: late",
                "At last: the end",
                "The pipe is still blocking",
            ],
            child: &[],
        },
        needs_187: false,
    },
    Example { name: "yes", tested: Tested::Elsewhere("tests/forked/recipes.rs"), needs_187: false },
];

// ---------------------------------------------------------------- the table

fn table_names_every_file() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.join("examples");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        // An ordinary user may have only copies of the programs and no access to the sources.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            let reason = format!("{}: {error}", folder.display());
            return common::skip("table_names_every_file", &reason);
        }
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    let found: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = index.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> =
        rows.map(str::to_owned).chain(["README.md".to_owned()]).collect();
    assert_eq!(found, listed, "examples/ (left) and its index, README.md (right)");

    // Only files whose names end in `.rs` are examples.
    let found = found.into_iter().filter(|name| name.ends_with(".rs")).collect::<BTreeSet<_>>();
    let named: BTreeSet<String> =
        EXAMPLES.iter().map(|example| format!("{}.rs", example.name)).collect();
    assert_eq!(found, named, "examples/ (left) and the table in tests/forked/examples.rs (right)");

    for example in EXAMPLES {
        if let Tested::Elsewhere(file) = example.tested {
            assert!(package.join(file).exists(), "{} is not tested: no {file}", example.name);
        }
    }
}

fn every_example_builds() {
    for example in EXAMPLES.iter().filter(|example| !left_out(example, "every_example_builds")) {
        common::example(example.name);
    }
}

fn every_example_prints_its_lines() {
    for example in here("every_example_prints_its_lines") {
        run_and_check(example, &common::example(example.name));
    }
}

// ---------------------------------------------------------------- in any order

fn pipe_fork_fifty_times() {
    run_fifty_times("pipe_fork");
}

fn pipe2_fork_fifty_times() {
    run_fifty_times("pipe2_fork");
}

fn pipe_fork_child_reads_first() {
    let_the_child_read_first("pipe_fork");
}

fn pipe2_fork_child_reads_first() {
    let_the_child_read_first("pipe2_fork");
}

fn bidirectional_child_prints_first() {
    let output = common::finish(&mut common::program(&common::example("bidirectional")));
    let text = String::from_utf8(output.stdout).unwrap();
    // The child prints before it sends the reply. The parent prints nothing except the reply.
    assert!(text.starts_with("Child received: "), "{text}");
}

fn run_fifty_times(name: &str) {
    let path = common::example(name);
    for _ in 0..50 {
        run_and_check(row(name), &path);
    }
}

/// Stops the parent before it writes to its child, and resumes the parent when the child waits for data.
fn let_the_child_read_first(name: &str) {
    let example = Held::start(name);
    let (parent, child) = (example.running.0.id(), example.forked());
    common::kill(parent, SIGSTOP);
    until("the parent stops", || (state(parent)? == 'T').then_some(()));
    example.make_room();

    let mut text = String::new();
    while !text.ends_with("Child Process is reading\n") {
        text += &example.read_some();
    }
    let waits = until("the child waits, or ends", || match state(child)? {
        'S' => Some(true),
        'Z' => Some(false),
        _ => None,
    });
    assert!(waits, "{name}: the child ended before the parent had written");

    common::kill(parent, SIGCONT);
    let (status, rest, errors) = example.finish();
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{name}");
    check_lines(row(name), &(text + &rest));
}

/// Each program of a pipeline has its own status. `head` exits after it has read enough, and `SIGPIPE` kills
/// `sort`.
fn pipeline_program_that_is_not_read_to_its_end() {
    let path = common::example("pipeline");
    let output = common::finish(common::program(&path).args(["300000", "1"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        (lines[0], lines[1], lines[3]),
        ("99999", "seq: exit status: 0", "head: exit status: 0")
    );
    assert!(lines[2].starts_with("sort: signal: "), "{text}");
}

// ---------------------------------------------------------------- failing

/// An example fails if its standard output is full.
fn every_example_fails_stdout_full() {
    for example in here("every_example_fails_stdout_full") {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let errors = fails(example.name, full.into());
        assert!(errors.contains("No space left on device"), "{}: {errors}", example.name);
    }
}

/// An example fails if no process reads its standard output.
fn every_example_fails_stdout_without_reader() {
    for example in here("every_example_fails_stdout_without_reader") {
        let (reader, writer) = rawpipe::pipe().unwrap();
        drop(reader);
        // A process that another thread has just started may briefly hold a copy of the reader.
        let mut gone = [PollFd::new(&writer, PollEvents::empty())];
        assert_eq!(poll(&mut gone, Some(PATIENCE)).unwrap(), 1);
        let errors = fails(example.name, writer.into());
        assert!(errors.contains("Broken pipe"), "{}: {errors}", example.name);
    }
}

/// If the child is killed, the parent finishes its work and then fails.
fn parent_child_fails_child_killed() {
    let example = Held::start("parent_child");
    let (parent, child) = (example.running.0.id(), example.forked());
    // If the parent sleeps here, it has already sent the message. It cannot print until the pipe has room.
    until("the parent prints", || (state(parent)? == 'S').then_some(()));
    common::kill(child, SIGKILL);
    until("the child ends", || (state(child)? == 'Z').then_some(()));
    example.make_room();

    let (status, text, errors) = example.finish();
    assert_eq!((status, text.as_str()), (Some(1), "Parent sent message to child\n"));
    assert!(errors.contains("child: signal: 9 (SIGKILL)"), "{errors}");
}

/// Runs an example that must fail, and returns its standard error.
fn fails(name: &str, stdout: Stdio) -> String {
    let mut running = Running::start(name, stdout);
    let status = running.wait();
    assert!(status.is_some_and(|code| code != 0), "{name}: {status:?}");
    running.errors()
}

// ---------------------------------------------------------------- running and comparing

fn row(name: &str) -> &'static Example {
    EXAMPLES.iter().find(|example| example.name == name).expect("a row of the table")
}

/// Returns the examples whose lines this module checks, except those that [`left_out`] excludes.
fn here(test: &'static str) -> impl Iterator<Item = &'static Example> {
    let here = EXAMPLES.iter().filter(|example| matches!(example.tested, Tested::Here { .. }));
    here.filter(move |example| !left_out(example, test))
}

/// Returns whether an example is skipped because the compiler is too old. Only the variable
/// `RAWPIPE_SKIP_187` determines the result, so a missing program still makes the test fail.
fn left_out(example: &Example, test: &str) -> bool {
    let skip = example.needs_187 && env::var_os("RAWPIPE_SKIP_187").is_some_and(|set| set == "1");
    if skip {
        common::skip(test, &format!("{} needs Rust 1.87, RAWPIPE_SKIP_187=1", example.name));
    }
    skip
}

fn run_and_check(example: &Example, path: &Path) {
    let output = common::finish(&mut common::program(path));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{}", example.name);
    check_lines(example, std::str::from_utf8(&output.stdout).unwrap());
}

/// Asserts that each line was printed by the parent or by the child, and that each process printed its lines
/// in order.
fn check_lines(example: &Example, text: &str) {
    let Tested::Here { parent, child } = example.tested else {
        panic!("{} is tested elsewhere", example.name);
    };
    let lines: Vec<&str> =
        text.strip_suffix('\n').expect("a last line with its end").split('\n').collect();
    let those_of = |process: &[&str]| -> Vec<&str> {
        lines.iter().copied().filter(|line| process.contains(line)).collect()
    };
    assert_eq!(those_of(parent), parent, "{}, the parent's lines of {lines:?}", example.name);
    assert_eq!(those_of(child), child, "{}, the child's lines of {lines:?}", example.name);
    assert_eq!(lines.len(), parent.len() + child.len(), "{}: {lines:?}", example.name);
}

/// A running example, which is killed if the test fails.
struct Running(Child);

impl Running {
    fn start(name: &str, stdout: Stdio) -> Self {
        let mut command = common::program(&common::example(name));
        Self(command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until the example has ended. Returns the exit code, or `None` if a signal killed the example.
    fn wait(&mut self) -> Option<i32> {
        until("the example ends", || self.0.try_wait().unwrap()).code()
    }

    /// Returns the example's complete standard error. The stream ends only when the example's child has also
    /// ended.
    fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An example whose processes block when they print, because their standard output is a full pipe.
struct Held {
    running: Running,
    stdout: PipeReader,
    /// The number of bytes that were written to fill the pipe.
    filling: usize,
}

impl Held {
    fn start(name: &str) -> Self {
        let (stdout, writer) = rawpipe::pipe().unwrap();
        // The pipe is filled with whole pages, so that no page has room for a line.
        writer.set_nonblocking(true).unwrap();
        let filling = writer.capacity().unwrap();
        writer.write_all(&vec![b'.'; filling]).unwrap();
        assert_eq!(writer.write(b"."), Err(Errno::EAGAIN));
        writer.set_nonblocking(false).unwrap();
        Self { running: Running::start(name, writer.into()), stdout, filling }
    }

    /// Waits until the example has forked, and returns the id of its child.
    fn forked(&self) -> u32 {
        let parent = self.running.0.id().to_string();
        until("the example forks", || {
            let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
            let mut ids = processes.filter_map(|name| name.to_str()?.parse().ok());
            ids.find(|id| stat(*id).is_some_and(|fields| fields[1] == parent))
        })
    }

    fn make_room(&self) {
        self.stdout.read_exact(&mut vec![0; self.filling]).unwrap();
    }

    fn read_some(&self) -> String {
        let mut fds = [PollFd::new(&self.stdout, PollEvents::IN)];
        assert_eq!(poll(&mut fds, Some(PATIENCE)).unwrap(), 1, "nothing is printed");
        let mut buf = [0; 4096];
        let count = self.stdout.read(&mut buf).unwrap();
        assert_ne!(count, 0, "the example has ended");
        String::from_utf8(buf[..count].to_vec()).unwrap()
    }

    /// Returns the exit code, the remaining standard output, and the standard error.
    fn finish(mut self) -> (Option<i32>, String, String) {
        let status = self.running.wait();
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        (status, String::from_utf8(rest).unwrap(), self.running.errors())
    }
}

/// Calls `ask` repeatedly until it returns a result. Panics if this takes longer than [`PATIENCE`].
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited too long until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the fields of `/proc/ID/stat`, starting with the state and the parent's id.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Returns the state of a process, for example `R` (running), `S` (sleeping in a system call), `T` (stopped)
/// or `Z` (zombie). See proc(5).
fn state(id: u32) -> Option<char> {
    stat(id)?[0].chars().next()
}

pub(crate) const TESTS: common::Tests = common::tests![
    table_names_every_file,
    every_example_builds,
    every_example_prints_its_lines,
    pipe_fork_fifty_times,
    pipe2_fork_fifty_times,
    pipe_fork_child_reads_first,
    pipe2_fork_child_reads_first,
    bidirectional_child_prints_first,
    pipeline_program_that_is_not_read_to_its_end,
    every_example_fails_stdout_full,
    every_example_fails_stdout_without_reader,
    parent_child_fails_child_killed,
];
