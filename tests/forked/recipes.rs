//! Tests the example programs `daemonize`, `tee`, `filter_sigpipe`, `socket_proxy`, `supervisor` and `yes`.

use crate::common::{self, bytes::data, file};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SIGPIPE: i32 = 13;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

fn example(name: &str) -> Command {
    common::program(&common::example(name))
}

// ---------------------------------------------------------------- tee

fn tee_copies_a_pipe_and_a_file_to_all() {
    let (bytes, first, second) = (data(300_001), common::tmp_path(), common::tmp_path());
    for from_pipe in [false, true] {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let feeder = from_pipe.then(|| {
            let bytes = bytes.clone();
            thread::spawn(move || writer.write_all(&bytes).unwrap())
        });
        let mut tee = example("tee");
        tee.args([&first, &second]);
        let tee = if from_pipe { tee.stdin(reader) } else { tee.stdin(file(&bytes)) };
        let output = common::finish(tee);
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
        assert!(output.stdout == bytes);
        for path in [&first, &second] {
            assert!(fs::read(path).unwrap() == bytes);
            fs::remove_file(path).unwrap();
        }
        feeder.into_iter().for_each(|feeder| feeder.join().unwrap());
    }
}

fn tee_names_a_sink_that_fails() {
    let (bytes, path) = (data(300_001), common::tmp_path());
    let mut tee = example("tee");
    tee.arg("/dev/full").arg(&path).stdin(file(&bytes));
    let output = common::finish(&mut tee);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("/dev/full: ") && said.contains("ENOSPC"), "{said}");
    assert!(output.stdout == bytes && fs::read(&path).unwrap() == bytes);
    fs::remove_file(path).unwrap();
}

// ---------------------------------------------------------------- filter_sigpipe

fn filter_writes_capitals() {
    let output = common::finish(example("filter_sigpipe").stdin(file(b"one\ntwo, no newline")));
    assert!(output.status.success());
    assert_eq!(output.stdout, b"ONE\nTWO, NO NEWLINE");
}

fn filter_is_killed_by_sigpipe_without_reader() {
    let mut filter = example("filter_sigpipe");
    filter.stdin(file(&b"line\n".repeat(100_000))).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = filter.spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(5, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "LINE\n"); // like `head -n 1`, the test reads one line and drops the reader
    let output = child.wait_with_output().unwrap();
    assert_eq!((common::signal(output.status), &*output.stderr), (Some(SIGPIPE), &b""[..]));
}

// ---------------------------------------------------------------- yes

/// `yes` repeats lines that are between one byte and 300,003 bytes long. The longest line exceeds the usual
/// chunk size. The output is larger than a pipe's capacity.
fn yes_repeats_its_line_until_killed_by_sigpipe() {
    let long = "long".repeat(25_000);
    for (words, line) in [
        (&[][..], "y\n"),
        (&[""], "\n"),
        (&["no", "and", "yes"], "no and yes\n"),
        (&["--", "-n"], "-n\n"),
        (&[&long, &long, &long], &format!("{long} {long} {long}\n")),
    ] {
        let mut yes = example("yes");
        let mut child =
            yes.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut all = vec![0; if common::slow() { 1 << 20 } else { 5 << 20 }];
        child.stdout.take().unwrap().read_exact(&mut all).unwrap(); // this also drops the reader
        assert!(all.chunks(line.len()).all(|part| line.as_bytes().starts_with(part)), "{words:?}");
        let output = child.wait_with_output().unwrap();
        assert_eq!((common::signal(output.status), &*output.stderr), (Some(SIGPIPE), &b""[..]));
    }
}

fn yes_stdout_full_fails() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = example("yes").stdout(full).stderr(Stdio::piped()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.starts_with("yes: standard output: no space left on device (ENOSPC)"),
        "{errors}"
    );
}

// ---------------------------------------------------------------- socket_proxy

/// The running proxy, its standard output, the target's listener, and the two socket paths. Dropping this
/// value kills the proxy.
struct Proxy {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    target: UnixListener,
    paths: [PathBuf; 2],
}

impl Proxy {
    fn start(seconds: &str) -> Self {
        let paths = [common::tmp_path(), common::tmp_path()];
        let target = UnixListener::bind(&paths[1]).unwrap();
        let mut proxy = example("socket_proxy");
        let mut child = proxy.args(&paths).arg(seconds).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, target, paths }
    }

    /// Connects to the proxy. Returns the client's socket and the target's socket.
    fn connect(&self) -> (UnixStream, UnixStream) {
        let client = until("the proxy listens", || UnixStream::connect(&self.paths[0]).ok());
        (client, self.target.accept().unwrap().0)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
        self.paths.iter().for_each(|path| _ = fs::remove_file(path));
    }
}

fn proxy_both_directions_and_half_close() {
    let mut proxy = Proxy::start("600");
    let (mut client, mut server) = proxy.connect();
    let mut word = [0; 4];
    for _ in 0..3 {
        client.write_all(b"ping").unwrap(); // during a dialogue, both connections stay open
        server.read_exact(&mut word).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"pong");
    }
    let (bytes, mut there, mut back) = (data(1_000_001), Vec::new(), Vec::new());
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            (&client).write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        server.read_to_end(&mut there).unwrap(); // the proxy forwards end of file
        sending.join().unwrap();
    });
    server.write_all(b"a reply after the end").unwrap();
    drop(server);
    client.read_to_end(&mut back).unwrap();
    assert!(there == bytes);
    assert_eq!(back, b"a reply after the end");
    assert_eq!(proxy.line(), "there: 1000013 bytes, back: 33 bytes\n");
}

fn proxy_silent_connection_ends_at_the_deadline_and_others_continue() {
    let mut proxy = Proxy::start("0.5");
    let (mut client, _server) = proxy.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0); // the proxy has closed the connection
    let line = proxy.line();
    assert!(line.contains("ETIMEDOUT"), "{line}"); // one timeout may end both directions

    let (mut client, mut server) = proxy.connect();
    client.write_all(b"!").unwrap();
    server.read_exact(&mut [0]).unwrap();
}

// ---------------------------------------------------------------- supervisor

/// The supervisor and its five workers, which run a script.
struct Supervisor {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    /// The process id of each worker's most recently started process.
    started: BTreeMap<String, u32>,
}

impl Supervisor {
    /// Starts the supervisor, or returns `None` if the supervisor cannot run here.
    fn start(test: &str, script: &str) -> Option<Self> {
        let probe = rawpipe::process::Command::new("true").spawn().unwrap();
        if probe.pidfd().is_none() || common::emulated() {
            common::skip(test, "no pidfds");
            return None;
        }
        let mut command = example("supervisor");
        command.args(["sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut new = Self { child, stdout, started: BTreeMap::new() };
        for _ in 0..5 {
            new.next();
        }
        Some(new)
    }

    /// Reads the next line. Returns the worker, and also the exit status if the line contains one.
    fn next(&mut self) -> Option<(String, Option<String>)> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        let (worker, what) = line.trim_end().split_once(": ").expect("a line of the supervisor");
        let id = what.strip_prefix("started as ").map(|id| id.parse().unwrap());
        id.into_iter().for_each(|id| _ = self.started.insert(worker.to_owned(), id));
        Some((worker.to_owned(), id.is_none().then(|| what.to_owned())))
    }

    /// Returns all remaining exit statuses that the supervisor reports.
    fn ends(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).filter_map(|(_, end)| end).collect()
    }

    /// Returns the ids of all processes in the workers' groups, except zombies.
    fn processes(&self) -> BTreeSet<u32> {
        let groups: BTreeSet<u32> = self.started.values().copied().collect();
        let ids = fs::read_dir("/proc").unwrap().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| group(*id).is_some_and(|group| groups.contains(&group))).collect()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Returns the process group of a process, or `None` for a zombie.
fn group(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields[0] == "Z" { None } else { fields[2].parse().ok() }
}

/// Returns the set of signals that a process ignores, as a bit mask.
fn ignored(id: u32) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

fn supervisor_starts_a_killed_worker_again_and_kills_its_tree() {
    let test = "supervisor_starts_a_killed_worker_again_and_kills_its_tree";
    let Some(mut supervisor) = Supervisor::start(test, "sleep 1000 & exec sleep 1000") else {
        return;
    };
    until("all have a child", || (supervisor.processes().len() == 10).then_some(()));
    let victim = supervisor.started["worker 2"];
    let before = supervisor.processes();
    common::kill(victim, SIGKILL);
    let (worker, end) = supervisor.next().unwrap();
    assert_eq!((&*worker, end.as_deref()), ("worker 2", Some("signal: 9 (SIGKILL)")));
    assert_eq!(supervisor.next().unwrap(), ("worker 2".to_owned(), None));
    assert_ne!(supervisor.started["worker 2"], victim);
    until("all have a child again", || (supervisor.processes().len() == 10).then_some(()));
    let after = supervisor.processes();
    assert_eq!(before.intersection(&after).count(), 8); // the worker's child has also died

    drop(supervisor.child.stdin.take());
    assert_eq!(supervisor.ends(), ["signal: 15 (SIGTERM)"; 5]);
    assert!(supervisor.child.wait().unwrap().success());
    until("no process is left", || supervisor.processes().is_empty().then_some(()));
}

fn supervisor_ends_its_workers_on_sigterm() {
    let test = "supervisor_ends_its_workers_on_sigterm";
    let Some(mut supervisor) = Supervisor::start(test, "exec sleep 1000") else { return };
    until("all run", || (supervisor.processes().len() == 5).then_some(()));
    common::kill(supervisor.child.id(), SIGTERM);
    assert_eq!(supervisor.ends(), ["signal: 15 (SIGTERM)"; 5]);
    assert!(supervisor.child.wait().unwrap().success());
}

fn supervisor_gives_up_after_three_restarts() {
    let test = "supervisor_gives_up_after_three_restarts";
    let script = "if [ $WORKER = 3 ]; then exit 7; else exit 0; fi";
    let Some(mut supervisor) = Supervisor::start(test, script) else { return };
    let mut ends = supervisor.ends();
    ends.sort();
    let (good, bad) = (["exit status: 0"; 4], ["exit status: 7"; 4]);
    assert_eq!(ends, [good, bad].concat());
    assert!(supervisor.child.wait().unwrap().success());
}

fn supervisor_kills_what_ignores_sigterm() {
    let test = "supervisor_kills_what_ignores_sigterm";
    let script = "trap '' TERM; while :; do sleep 1000; done";
    let Some(mut supervisor) = Supervisor::start(test, script) else { return };
    let ready = |id: &u32| ignored(*id).is_some_and(|signals| signals & 1 << (SIGTERM - 1) != 0);
    until("all ignore it", || supervisor.started.values().all(ready).then_some(()));
    drop(supervisor.child.stdin.take());
    assert_eq!(supervisor.ends(), ["signal: 9 (SIGKILL)"; 5]);
    until("no process is left", || supervisor.processes().is_empty().then_some(()));
}

// ---------------------------------------------------------------- daemonize

fn daemon_has_no_terminal_and_no_descriptor_of_its_maker() {
    let log = common::tmp_path();
    let inherited = rawpipe::pipe2(rawpipe::PipeFlags::empty()).unwrap();
    // The output reaches end of file although the daemon still runs.
    let output = common::finish(example("daemonize").arg(&log).stdin(Stdio::null()));
    if is_beside_a_tools_thread(&output) {
        return;
    }
    drop(inherited);
    assert!(output.status.success(), "{output:?}");
    let id: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let place = Path::new("/proc").join(id.to_string());
    let lines = || fs::read_to_string(&log).unwrap();
    until("it has started", || lines().contains("started").then_some(()));
    let links = fs::read_dir(place.join("fd")).unwrap().flatten();
    let mut targets: Vec<_> = links.map(|link| fs::read_link(link.path()).unwrap()).collect();
    targets.sort();
    let log = fs::canonicalize(&log).unwrap();
    let expected = [PathBuf::from("/dev/null"), log.clone(), log.clone()];
    if common::tool() == Some(common::Tool::Valgrind) {
        // Valgrind has files of its own in the process, but no pipe.
        assert!(expected.iter().all(|file| targets.contains(file)), "{targets:?}");
        assert!(
            !targets.iter().any(|file| file.to_string_lossy().starts_with("pipe:")),
            "{targets:?}"
        );
    } else {
        assert_eq!(targets, expected);
    }
    assert_eq!(fs::read_link(place.join("cwd")).unwrap(), Path::new("/"));
    let stat = fs::read_to_string(place.join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // The daemon is not the leader of its session, and the session has no terminal.
    assert!(fields[3] != id.to_string() && fields[4] == "0", "{stat}");
    common::kill(id, SIGTERM);
    until("it ends", || group(id).is_none().then_some(()));
    assert!(fs::read_to_string(&log).unwrap().ends_with("terminated\n"));
    fs::remove_file(log).unwrap();
}

/// Returns whether the program failed because `fork_single_threaded` returned `EBUSY`. A user-mode emulator
/// has its own thread, so the first fork fails. ThreadSanitizer starts its own thread in each child of libc's
/// `fork`, so the second fork fails.
fn is_beside_a_tools_thread(output: &Output) -> bool {
    let first = common::emulated() && output.stderr == b"Error: EBUSY\n";
    let in_child = common::tool() == Some(common::Tool::Thread) && cfg!(feature = "c-shim");
    let second = in_child && output.stderr == b"Error: \"the daemon did not begin\"\n";
    if first || second {
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
        common::skip(&common::name_alone(), "the tool has a thread beside the program's");
    }
    first || second
}

fn daemon_that_cannot_begin_says_so() {
    let output = common::finish(example("daemonize").arg("/no/such/log").stdin(Stdio::null()));
    if is_beside_a_tools_thread(&output) {
        return;
    }
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("did not begin"));
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "waited too long until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    tee_copies_a_pipe_and_a_file_to_all,
    tee_names_a_sink_that_fails,
    filter_writes_capitals,
    filter_is_killed_by_sigpipe_without_reader,
    yes_repeats_its_line_until_killed_by_sigpipe,
    yes_stdout_full_fails,
    proxy_both_directions_and_half_close,
    proxy_silent_connection_ends_at_the_deadline_and_others_continue,
    supervisor_starts_a_killed_worker_again_and_kills_its_tree,
    supervisor_ends_its_workers_on_sigterm,
    supervisor_gives_up_after_three_restarts,
    supervisor_kills_what_ignores_sigterm,
    daemon_has_no_terminal_and_no_descriptor_of_its_maker,
    daemon_that_cannot_begin_says_so,
];
