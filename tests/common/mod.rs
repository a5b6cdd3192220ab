//! Helpers for tests. They run each test in a separate process, start other programs of this package, detect
//! tools and emulators, and inspect descriptors.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of it")]
#![allow(unsafe_code, reason = "a closed descriptor, and signals by number")]

pub(crate) mod bytes;
mod examples;
mod files;
mod filter;
pub(crate) mod listing;
#[cfg(feature = "process")]
pub(crate) mod programs;
#[cfg(feature = "transfer")]
pub(crate) mod shared;
mod terminal;

/// Declares one system call number. `nr.rs` invokes this macro once for each number, and the crate itself
/// defines a macro of the same form.
#[cfg(not(rawpipe_shim))]
macro_rules! number {
    ($name:ident $call:literal $x86_64:literal $generic:literal) => {
        pub(crate) const $name: usize =
            if cfg!(target_arch = "x86_64") { $x86_64 } else { $generic };
    };
}
#[cfg(rawpipe_shim)]
macro_rules! number {
    ($name:ident $call:literal $x86_64:literal $generic:literal) => {
        // `csrc/shim.c` defines each number as a constant of type `size_t`.
        unsafe extern "C" {
            #[link_name = concat!(env!("RAWPIPE_PREFIX"), "nr_", $call)]
            pub(crate) safe static $name: usize;
        }
    };
}

/// The system call numbers from the crate's own table. That table is private.
#[path = "../../src/sys/arch/nr.rs"]
pub(crate) mod nr;

pub(crate) use examples::example;
pub(crate) use files::{append_file, file, tmp, tmp_path};
pub(crate) use filter::{Filter, NO_FILTER, Value, filtered, no_pidfd_by_clone};
pub(crate) use terminal::{set_output, terminal, terminals};

use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsRawFd, BorrowedFd};
use rawpipe::io::IoSlice;
use rawpipe::process::{Child, Signal, fork_with};
use rawpipe::splice::{SpliceFlags, splice, vmsplice};
use rawpipe::{Errno, PipeWriter, raw};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;
use std::{env, fs, thread};

/// The environment variables that request longer runs.
const LONG: [&str; 8] = [
    "RAWPIPE_ATTACK_SECONDS",
    "RAWPIPE_DIFFERENTIAL",
    "RAWPIPE_INJECT",
    "RAWPIPE_MODEL_OPERATIONS",
    "RAWPIPE_OUTSIDE",
    "RAWPIPE_TEST_KILLS",
    "RAWPIPE_TEST_REAPS",
    "RAWPIPE_TRANSFER_BYTES",
];

/// Returns the time after which a process is assumed to have hung. The time is longer if a variable of [`LONG`] is
/// set, or if the test runs under a tool.
fn patience() -> Duration {
    let long = LONG.iter().any(|name| env::var_os(name).is_some());
    Duration::from_secs(if long {
        12 * 3600
    } else if slow() && !emulated() {
        1200
    } else {
        300
    })
}

/// In each process that [`run_each_alone`] starts, this environment variable contains the name of the test.
pub(crate) const ALONE: &str = "RAWPIPE_TEST_ALONE";
/// The environment variable that contains the role of a process started with [`role_command`].
const ROLE: &str = "RAWPIPE_TEST_ROLE";

/// The name of a test, and its function.
pub(crate) type Test = (&'static str, fn());
/// The tests of one topic.
pub(crate) type Tests = &'static [Test];

/// Lists the tests of a topic for [`run_each_alone`].
macro_rules! tests {
    ($($test:ident),* $(,)?) => { &[$((stringify!($test), $test as fn())),*] };
}
pub(crate) use tests;

/// The tests and options that the command line requests, in the syntax of the standard harness.
struct Request {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    /// If set, only ignored tests are requested, so no test runs.
    ignored: bool,
    at_once: usize,
}

impl Request {
    fn from_arguments() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let number = |word: &str| word.parse().ok().filter(|count| *count > 0);
        let told = env::var("RUST_TEST_THREADS").ok().and_then(|word| number(&word));
        let (filters, skipped) = (Vec::new(), Vec::new());
        let at_once = told.unwrap_or(processors);
        let mut request =
            Self { filters, skipped, exact: false, list: false, ignored: false, at_once };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let (word, mut value) = match word.split_once('=') {
                Some((option, value)) if word.starts_with("--") => {
                    (option.to_owned(), Some(value.to_owned()))
                }
                _ => (word, None),
            };
            match word.as_str() {
                "--exact" => request.exact = true,
                "--list" => request.list = true,
                "--skip" => request.skipped.extend(value.take().or_else(|| words.next())),
                "--test-threads" => {
                    let count = value.take().or_else(|| words.next());
                    request.at_once = count.and_then(|count| number(&count)).expect("a number");
                }
                // These options of the standard harness have no effect here.
                "--color" | "--format" | "-Z" => drop(value.take().or_else(|| words.next())),
                "--nocapture" | "--no-capture" | "--quiet" | "-q" | "--show-output"
                | "--include-ignored" | "--test" | "--bench" | "--report-time" => {}
                "--ignored" => request.ignored = true,
                option if option.starts_with('-') => panic!("unknown option {option}"),
                _ => request.filters.push(word),
            }
        }
        // Under an emulator, a fork of a process with several threads may hang.
        request.at_once = if emulated() { 1 } else { request.at_once };
        request
    }

    fn wants(&self, name: &str) -> bool {
        let fits =
            |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        let chosen = self.filters.is_empty() || self.filters.iter().any(fits);
        !self.ignored && chosen && !self.skipped.iter().any(fits)
    }
}

/// Serves as the `main` of a test binary whose tests fork. Such a binary sets `harness = false`. Each test
/// runs in a separate process with a single thread. The standard harness starts threads, and a forked child
/// would inherit the locks that these threads hold.
///
/// A test is named `topic::name`. Several tests run at a time, as in the standard harness. Tests whose names
/// start with an entry of `serial` run after all other tests, one at a time. The filters and the common
/// options of the standard harness are accepted, although some options have no effect. The last line of the
/// output has the same form as with the standard harness.
pub(crate) fn run_each_alone(topics: &[(&str, &[Test])], serial: &[&str]) {
    let name_of = |topic: &str, test: &str| match topic {
        "" => test.to_owned(),
        topic => format!("{topic}::{test}"),
    };
    let tests: Vec<(String, fn())> = topics
        .iter()
        .flat_map(|(topic, tests)| tests.iter().map(|(name, test)| (name_of(topic, name), *test)))
        .collect();
    if let Some(name) = env::var_os(ALONE) {
        let (_, test) = tests.iter().find(|(known, _)| name == **known).expect("a test's name");
        // An emulator may add threads to this process.
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        assert!(threads == 1 || emulated(), "{threads} threads");
        keyboard_signals_end_a_program();
        return test();
    }
    let request = Request::from_arguments();
    let names = tests.iter().map(|(name, _)| name.as_str()).filter(|name| request.wants(name));
    let (alone, together): (Vec<&str>, Vec<&str>) =
        names.partition(|name| serial.iter().any(|prefix| name.starts_with(prefix)));
    let chosen = alone.len() + together.len();
    if request.list {
        together.iter().chain(&alone).for_each(|name| println!("{name}: test"));
        return;
    }
    println!(
        "
running {chosen} tests"
    );
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |name: &str| _ = failed.fetch_add(usize::from(!passes(name)), Ordering::Relaxed);
    let work = || {
        while let Some(name) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(name);
        }
    };
    thread::scope(|scope| {
        (1..request.at_once.min(together.len())).for_each(|_| _ = scope.spawn(work));
        work();
    });
    alone.into_iter().for_each(run);
    let failed = failed.into_inner();
    let (passed, out) = (chosen - failed, tests.len() - chosen);
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "
test result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out"
    );
    std::process::exit(if failed == 0 { 0 } else { 101 });
}

/// Runs a test in a separate process, prints the result, and returns whether the test passed. If the test
/// passed, its lines that start with `SKIPPED` or `result:` are printed again.
fn passes(name: &str) -> bool {
    let run = || finish(program(&env::current_exe().expect("a path")).env(ALONE, name));
    let Ok(output) = catch_unwind(run) else {
        println!("test {name} ... FAILED (hung)");
        return false;
    };
    let [printed, errors] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let passed = output.status.success();
    if passed {
        let told = |line: &&str| line.starts_with("SKIPPED") || line.starts_with("result: ");
        let lines: Vec<_> = errors.lines().chain(printed.lines()).filter(told).collect();
        println!("test {name} ... ok");
        lines.into_iter().for_each(say);
    } else {
        println!(
            "test {name} ... FAILED ({})
{printed}{errors}",
            output.status
        );
    }
    passed
}

/// Returns the name, without the topic, of the test that this process runs. [`run_each_alone`] must have
/// started this process.
pub(crate) fn name_alone() -> String {
    let name = env::var(ALONE).expect("a test that runs alone");
    name.rsplit("::").next().unwrap_or_default().to_owned()
}

/// Returns a command that runs the current test again in another role. The command is for tests of
/// [`run_each_alone`] that must start a program. The test function must start with `if
/// common::in_role("role") { … }`.
pub(crate) fn role_command(role: &str) -> Command {
    let mut command = program(&env::current_exe().expect("the path of this test"));
    command.env(ROLE, role);
    command
}

/// Returns whether [`role_command`] started this process in this role. If so, [`role_output`] returns
/// everything that the process writes to standard output after this call.
pub(crate) fn in_role(role: &str) -> bool {
    let is = env::var_os(ROLE).is_some_and(|set| set == *role);
    if is {
        println!("\nROLE BEGINS");
    }
    is
}

/// Returns the output that a process wrote in its role. Panics if the process failed.
pub(crate) fn role_output(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "role: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let (_, said) = text.split_once("ROLE BEGINS\n").expect("the role ran");
    said.to_owned()
}

/// Returns a command that runs a program built for the target. The command uses the emulator or tool that
/// cargo would use, if any.
pub(crate) fn program(path: &Path) -> Command {
    let mut words = runner();
    words.push(path.as_os_str().to_owned());
    let mut command = Command::new(words.remove(0));
    command.args(words);
    command
}

/// Returns the words of `CARGO_TARGET_<TRIPLE>_RUNNER` for this target. The list is empty if the variable is
/// not set, for example for a native target.
pub(crate) fn runner() -> Vec<OsString> {
    let arch = match env::consts::ARCH {
        "arm" => "ARMV7",
        "x86" => "I686",
        "powerpc64" => "POWERPC64LE",
        "riscv64" => "RISCV64GC",
        other => other,
    };
    let prefix = format!("CARGO_TARGET_{}_", arch.to_uppercase());
    // A test may set variables that are not valid UTF-8.
    env::vars_os()
        .filter_map(|(key, words)| Some((key.into_string().ok()?, words.into_string().ok()?)))
        .find(|(key, _)| key.starts_with(&prefix) && key.ends_with("_RUNNER"))
        .map(|(_, words)| words.split_whitespace().map(OsString::from).collect())
        .unwrap_or_default()
}

/// Returns whether this test runs under a user-mode emulator, which implements system calls itself. Valgrind
/// is started in the same way, but passes most system calls to the host kernel.
pub(crate) fn emulated() -> bool {
    !runner().is_empty() && !runner_is_valgrind()
}

/// Returns a name for Valgrind or an emulator if this test runs under one of them, or `None`. Both handle
/// some system calls that the kernel would otherwise handle.
pub(crate) fn in_front() -> Option<&'static str> {
    let valgrind = (tool() == Some(Tool::Valgrind)).then_some("Valgrind");
    valgrind.or(emulated().then_some("an emulator"))
}

fn runner_is_valgrind() -> bool {
    runner().iter().any(|word| Path::new(word).file_stem().is_some_and(|name| name == "valgrind"))
}

/// Returns a command that runs a program directly, without Valgrind, if the kernel can start the program.
/// Valgrind adds arguments, variables and descriptors, and opens closed standard streams.
pub(crate) fn plain_program(path: &Path) -> Command {
    if runner_is_valgrind() { Command::new(path) } else { program(path) }
}

/// A tool that checks a program for memory errors, leaks or data races.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tool {
    Address,
    Leak,
    Memory,
    Thread,
    Valgrind,
}

/// Returns the tool for which this test was built, or under which it runs. See `.ci/sanitize.sh`.
pub(crate) fn tool() -> Option<Tool> {
    let under_valgrind =
        || env::var("LD_PRELOAD").is_ok_and(|libraries| libraries.contains("vgpreload_core"));
    if cfg!(rawpipe_sanitize = "address") {
        Some(Tool::Address)
    } else if cfg!(rawpipe_sanitize = "leak") {
        Some(Tool::Leak)
    } else if cfg!(rawpipe_sanitize = "memory") {
        Some(Tool::Memory)
    } else if cfg!(rawpipe_sanitize = "thread") {
        Some(Tool::Thread)
    } else {
        under_valgrind().then_some(Tool::Valgrind)
    }
}

/// Leaks a value, but keeps it reachable so that a leak checker does not report it.
pub(crate) fn keep<T: ?Sized>(value: Box<T>) -> &'static mut T {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let value = Box::leak(value);
    let address = (&raw const *value).cast::<u8>().addr();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(address);
    value
}

/// Exits with 0 and skips the leak check, if AddressSanitizer or LeakSanitizer is in use. The leak check
/// creates a process, maps memory and opens descriptors. These calls would fail in this process.
pub(crate) fn end_without_a_look_at_leaks() {
    if matches!(tool(), Some(Tool::Address | Tool::Leak)) {
        rawpipe::process::exit(0);
    }
}

/// Returns 1 in a process with filters or with a low limit of descriptors. This result makes LeakSanitizer
/// skip its check. LeakSanitizer calls this function at exit. The check would run in a new process, and a
/// [`Filter`] may reject the calls that create this process. Without a free descriptor, the check would never
/// end. The function detects filters by the `no_new_privs` flag, which programs inherit together with the
/// filters.
#[cfg(any(rawpipe_sanitize = "address", rawpipe_sanitize = "leak"))]
#[unsafe(no_mangle)]
extern "C" fn __lsan_is_turned_off() -> i32 {
    const PR_GET_NO_NEW_PRIVS: usize = 39;
    // SAFETY: the call reads only integers.
    let set = unsafe { raw::syscall5(nr::PRCTL, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    i32::from(set == 1 || limits(rawpipe::process::Resource::NOFILE.as_raw())[0] < 64)
}

/// Returns whether workloads must be reduced, because a tool or an emulator slows the test down. If the
/// emulator runs a complete machine with a real Linux kernel, the script that starts the emulator sets
/// `RAWPIPE_TEST_SLOW`.
pub(crate) fn slow() -> bool {
    emulated() || tool().is_some() || env::var_os("RAWPIPE_TEST_SLOW").is_some()
}

/// Runs a command until the process exits, and returns the output. If the process still runs after
/// [`patience`], kills the process and panics.
pub(crate) fn finish(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || sender.send(child.wait_with_output()));
    let output = match receiver.recv_timeout(patience()) {
        Ok(output) => output.expect("the output of a child"),
        Err(_) => {
            kill(pid, 9); // the child is not reaped yet, so the id is still valid
            // A process that the child has left behind may keep the pipes open.
            panic!("hung: {command:?}\n{:?}", receiver.recv_timeout(Duration::from_secs(10)));
        }
    };
    reader.join().expect("the reading thread").expect("the output was wanted");
    output
}

/// Forks a child that runs `body`. This function is for tests of [`run_each_alone`].
pub(crate) fn child(body: impl FnOnce() -> u8) -> Child {
    // SAFETY: no other thread exists. The child touches no memory that only one process may use, and drops no
    // value for which a second drop would be harmful.
    unsafe { fork_with(body) }.unwrap()
}

/// Closes a forked child's copy of a descriptor that the child's code only borrows.
pub(crate) fn close_copy(fd: &impl AsRawFd) {
    let number = usize::try_from(fd.as_raw_fd()).expect("descriptors are not negative");
    // SAFETY: `close` accesses no memory, and no other code in the child uses the copy.
    unsafe { raw::syscall1(nr::CLOSE, number) };
}

/// Sends a signal to a process whose exit status has not been collected.
pub(crate) fn kill(pid: u32, signal: i32) {
    let signal = usize::try_from(signal).expect("signals are not negative");
    // SAFETY: `kill` accesses no memory.
    assert_eq!(unsafe { raw::syscall2(nr::KILL, pid as usize, signal) }, 0);
}

/// The number of signals of a [`Storm`] that this process has handled.
pub(crate) static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Restores the default actions of `SIGINT` and `SIGQUIT`. A shell without job control starts background
/// programs with these signals ignored. Every program that a test starts would inherit that setting.
fn keyboard_signals_end_a_program() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    const SIG_DFL: usize = 0;
    for key in [Signal::INT, Signal::QUIT] {
        signal(key.as_raw(), SIG_DFL);
    }
}

/// A child that sends a signal to this process at regular intervals until this `Storm` is dropped.
pub(crate) struct Storm {
    child: Child,
    stop: Option<PipeWriter>,
}

impl Storm {
    /// Installs a handler without `SA_RESTART`, so that signals interrupt calls, and starts the child.
    pub(crate) fn begin(pause: Duration) -> Self {
        const SIGUSR1: i32 = Signal::USR1.as_raw();
        unsafe extern "C" {
            safe fn signal(signal: i32, handler: usize) -> usize;
            safe fn siginterrupt(signal: i32, interrupt: i32) -> i32;
        }
        extern "C" fn handler(_signal: i32) {
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }
        signal(SIGUSR1, handler as extern "C" fn(i32) as usize);
        assert_eq!(siginterrupt(SIGUSR1, 1), 0);
        let parent = std::process::id();
        let (gate, stop) = rawpipe::pipe().unwrap();
        let copy = &stop;
        let child = child(move || {
            // The child must close its copy of the write end. Otherwise the child would never detect that the
            // `Storm` was dropped.
            close_copy(copy);
            let mut fds = [PollFd::new(&gate, PollEvents::IN)];
            while poll(&mut fds, Some(pause)) == Ok(0) {
                kill(parent, SIGUSR1);
            }
            0
        });
        Self { child, stop: Some(stop) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop = None;
        assert!(self.child.wait().unwrap().success());
    }
}

/// Returns the soft and the hard limit of a resource for this process.
pub(crate) fn limits(resource: u32) -> [u64; 2] {
    let mut limits = [0; 2];
    let (number, place) = (resource as usize, (&raw mut limits).expose_provenance());
    // SAFETY: the kernel writes two 64-bit numbers to this address.
    assert_eq!(unsafe { raw::syscall4(nr::PRLIMIT64, 0, number, 0, place) }, 0);
    limits
}

/// Sets the soft and the hard limit of a resource for this process.
pub(crate) fn set_limits(resource: u32, limits: [u64; 2]) {
    let (number, place) = (resource as usize, (&raw const limits).expose_provenance());
    // SAFETY: the kernel reads two 64-bit numbers from this address.
    assert_eq!(unsafe { raw::syscall4(nr::PRLIMIT64, 0, number, place, 0) }, 0);
}

/// Sets the soft limit of a resource for this process, and returns the previous soft limit.
pub(crate) fn set_soft_limit(resource: u32, soft: u64) -> u64 {
    let [before, hard] = limits(resource);
    set_limits(resource, [soft, hard]);
    before
}

/// Returns whether the kernel has at least this version.
pub(crate) fn linux(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Returns whether the kernel implements the call with this number. The first argument of the call must be a
/// descriptor. The call receives descriptor -1 and therefore has no effect.
pub(crate) fn has_call(number: usize) -> bool {
    // SAFETY: the call fails because of its descriptor before it uses an address, and all addresses are null.
    let answer = unsafe { raw::syscall6(number, usize::MAX, 0, 0, 0, 0, 0) };
    answer != -(Errno::ENOSYS.raw_os_error() as isize)
}

/// Prints a line even if the harness captures the output of passing tests.
pub(crate) fn say(line: &str) {
    let _ = rawpipe::io::write_all(std::io::stderr(), format!("{line}\n").as_bytes());
}

/// Reports that a test, or a part of a test, cannot run here.
pub(crate) fn skip(test: &str, reason: &str) {
    say(&format!("SKIPPED {test}: {reason}"));
}

/// Returns whether limits on descriptors have no effect here, and reports the test as skipped if so. Valgrind
/// uses some descriptors above the limit, tracks the soft limit itself, and does not change the hard limit.
pub(crate) fn descriptors_without_limit(test: &str) -> bool {
    let unlimited = tool() == Some(Tool::Valgrind);
    if unlimited {
        skip(test, "Valgrind does not apply the limit on descriptors");
    }
    unlimited
}

/// Returns whether, on this kernel, `vmsplice` copies the bytes instead of passing on the caller's pages.
/// `tests/copying` emulates such a kernel.
pub(crate) fn vmsplice_copies() -> bool {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let byte: &'static mut [u8] = keep(vec![1].into_boxed_slice());
    // SAFETY: the byte is never freed. The change below shows whether the pipe holds a copy, and no other
    // code reads this pipe.
    let sent = unsafe { vmsplice(&writer, &[IoSlice::new(byte)], SpliceFlags::NONBLOCK) };
    byte[0] = 2;
    sent == Ok(1) && bytes::waiting_in(&reader) == [1]
}

/// Returns whether, on this kernel, `splice` from a file copies the bytes instead of passing on the file's
/// pages.
pub(crate) fn splice_copies() -> bool {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let source = file(&[1]);
    let sent = splice(&source, None, &writer, None, 1, SpliceFlags::NONBLOCK);
    source.write_all_at(&[2], 0).unwrap();
    sent == Ok(1) && bytes::waiting_in(&reader) == [1]
}

/// Returns a descriptor that is not open: its number is above the limit of this process.
pub(crate) fn closed_fd() -> BorrowedFd<'static> {
    // SAFETY: only calls that must fail use this descriptor, and the kernel never assigns this number.
    unsafe { BorrowedFd::borrow_raw(i32::MAX - 7) }
}

/// Returns the open descriptors of this process, except the descriptor that lists them.
pub(crate) fn open_fds() -> BTreeSet<i32> {
    let listed: Vec<i32> = fs::read_dir("/proc/self/fd")
        .expect("/proc")
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // The list contains the directory's own descriptor. That descriptor is now closed.
    listed.into_iter().filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}

/// Returns the name of the file behind a descriptor of this process, such as `pipe:[1234]`.
pub(crate) fn link_of(fd: i32) -> String {
    fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().to_str().unwrap().to_owned()
}

/// Returns the number of the signal that killed a process, or `None`.
pub(crate) fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}
