//! Defines the checks that most worlds share, and the checks that belong to only one world.

use super::libc;
use crate::common::nr;
use crate::common::programs::program;
use crate::common::{self, Filter, child, file};
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rawpipe::process::{
    self, Arg, Child, Command, Communicate, ExitStatus, OnDrop, Signal, Spawn, SpawnError,
    SpawnStage, Stdio,
};
use rawpipe::{Errno, PipeReader};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, ptr, thread};

unsafe extern "C" {
    safe fn ptrace(request: u32, ...) -> isize;
    safe fn raise(signal: i32) -> i32;
}

/// A function that runs one check, or returns the reason to skip the check.
pub(crate) type Check = fn(&Ground) -> Result<(), String>;

/// The environment of a check.
pub(crate) struct Ground {
    /// The directory that contains the reporting program.
    pub(crate) base: PathBuf,
    /// True if the kernel may discard the status of a child in this world.
    pub(crate) lost: bool,
}

/// The ids of two other users. `nobody` is excluded, because other tests use that user.
const USER: u32 = 61_235;
const ATTACKED: u32 = 61_236;
/// A timeout that is long enough to be measured.
const SHORT: Duration = Duration::from_millis(30);
/// A timeout that a working check never reaches.
const LONG: Duration = Duration::from_secs(50);

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("status", status),
    ("standard streams", standard_streams),
    ("report", report),
    ("map to the standard streams", map_to_standard_streams),
    ("map to the last number", map_to_the_last_number),
    ("map a permutation", map_permutation),
    ("close others", close_others),
    ("missing program", missing),
    ("wait", waits),
    ("drop: Leave", drop_leave),
    ("drop: Reap", drop_reap),
    ("drop: Kill", drop_kill),
    ("drop: KillGroup", drop_kill_group),
    ("drop: KillGroup after the wait", drop_kill_group_after_wait),
    ("communicate", communicate),
    ("output", output),
    ("output with a mapped stream", output_mapped),
    ("pipeline", pipeline),
    ("fork_with", fork_with),
    ("parent_death_signal: the program runs", death_signal_is_set),
    ("parent_death_signal: the parent dies", death_signal_arrives),
    ("uid", uid),
    ("environment", environment),
];

/// The state that a check must not change.
pub(crate) struct State {
    open: Vec<i32>,
    mask: libc::SignalSet,
}

impl State {
    pub(crate) fn now() -> Self {
        Self { open: (0..256).filter(|fd| libc::is_open(*fd)).collect(), mask: libc::mask(None) }
    }

    pub(crate) fn require_same(&self) {
        let after = Self::now();
        assert_eq!(self.open, after.open, "descriptors");
        assert!(self.mask == after.mask, "the signal mask");
    }
}

pub(crate) fn no_child_is_left() {
    let mut status = 0;
    // SAFETY: the call writes one integer.
    let child = unsafe { libc::waitpid(-1, &raw mut status, 0x4000_0000 | 1) };
    assert_eq!(child, -1, "a child is left, with status {status:x}");
}

/// Waits for the child and asserts that its status satisfies `is`, unless the kernel has discarded the
/// status.
#[track_caller]
fn ended(ground: &Ground, child: &mut Child, is: impl Fn(ExitStatus) -> bool) {
    match child.wait() {
        Ok(status) => assert!(is(status), "{status:?}"),
        Err(errno) => assert!(ground.lost && errno == Errno::ECHILD, "{errno:?}"),
    }
}

#[track_caller]
fn code(ground: &Ground, child: &mut Child, code: i32) {
    ended(ground, child, |status| status.code() == Some(code));
}

/// Returns a command whose three standard streams are `/dev/null`.
fn quiet(name: &str, args: &[&str]) -> Command<'static> {
    let mut command = program(name, args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Reads until end of file and returns the bytes. Panics if the reader does not reach end of file in time.
#[track_caller]
fn end_of(reader: &PipeReader) -> Vec<u8> {
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    let end = Instant::now() + LONG;
    loop {
        let mut fds = [PollFd::new(reader, PollEvents::IN)];
        let left = end.saturating_duration_since(Instant::now());
        assert_ne!(poll(&mut fds, Some(left)), Ok(0), "the end does not come");
        match reader.read(&mut bytes).expect("a pipe") {
            0 => return all,
            count => all.extend_from_slice(&bytes[..count]),
        }
    }
}

fn has_ended(reader: &PipeReader, within: Duration) -> bool {
    let mut fds = [PollFd::new(reader, PollEvents::IN)];
    poll(&mut fds, Some(within)) != Ok(0)
}

/// Returns whether the child with this id has ended and is no longer a zombie.
fn is_gone(id: u32) -> bool {
    libc::kill(i32::try_from(id).expect("a process id"), 0) < 0
}

type Facts = BTreeMap<String, String>;

impl Ground {
    /// Empties the report and returns a command that starts the reporting program.
    fn reporter(&self) -> Command<'static> {
        let mut command = Command::new(self.base.join("good").join(super::dump::NAME));
        command.on_drop(OnDrop::Kill);
        fs::write(self.base.join("report"), b"").expect("an empty report");
        command
    }

    /// Waits for the child and returns its report.
    #[track_caller]
    fn facts(&self, mut child: Child) -> Facts {
        code(self, &mut child, super::dump::CODE);
        let text = fs::read_to_string(self.base.join("report")).expect("the report");
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let facts: Facts = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert!(!facts.is_empty(), "the program has reported nothing");
        facts
    }
}

fn identity(file: &File) -> String {
    let file = file.metadata().expect("a file");
    format!("{}:{}", file.dev(), file.ino())
}

/// Returns the number and the file of each descriptor in a program's report.
fn descriptors(facts: &Facts) -> BTreeMap<i32, String> {
    let fds = facts.iter().filter_map(|(name, value)| {
        let number = name.strip_prefix("fd-")?.parse().expect("a number");
        Some((number, value.split(' ').next().expect("an identity").to_owned()))
    });
    fds.collect()
}

// ---- in each world ----

fn status(ground: &Ground) -> Result<(), String> {
    for number in [0, 7, 255] {
        let mut child = quiet("exit", &[&number.to_string()]).spawn().expect("a program");
        code(ground, &mut child, number);
        // A second wait returns the same status.
        code(ground, &mut child, number);
    }
    let mut child = quiet("suicide", &["0"]).spawn().expect("a program");
    // The init process of a PID namespace cannot kill itself, and exits with 0.
    ended(ground, &mut child, |status| {
        status.signal() == Some(Signal::KILL) || status.code() == Some(0)
    });
    no_child_is_left_but(ground);
    Ok(())
}

/// Asserts that no zombie remains. In some worlds this process has another child, which keeps running.
fn no_child_is_left_but(_ground: &Ground) {
    let mut status = 0;
    // SAFETY: the call writes one integer.
    let child = unsafe { libc::waitpid(-1, &raw mut status, 0x4000_0000 | 1) };
    assert!(child <= 0, "child {child} is left, with status {status:x}");
}

fn standard_streams(ground: &Ground) -> Result<(), String> {
    let mut command = program("aside", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program");
    child.take_stdin().expect("a pipe").write_all(b"in and out").expect("a reader");
    assert_eq!(end_of(child.stdout_ref().expect("a pipe")), b"in and out");
    assert_eq!(end_of(child.stderr_ref().expect("a pipe")), b"err");
    code(ground, &mut child, 0);
    Ok(())
}

/// The child inherits exactly those descriptors of its parent that are inheritable. The child has no blocked
/// or handled signals and no death signal.
fn report(ground: &Ground) -> Result<(), String> {
    let own: Vec<i32> = (0..256)
        .filter(|fd| libc::fcntl(*fd, libc::F_GETFD) == 0) // open and inheritable
        .collect();
    let facts = ground.facts(ground.reporter().spawn().expect("a program"));
    assert_eq!(descriptors(&facts).keys().copied().collect::<Vec<_>>(), own);
    assert_eq!(facts["SigBlk"], format!("{:016x}", 0));
    assert_eq!(facts["SigCgt"], format!("{:016x}", 0));
    assert_eq!(facts["death-signal"], "0");
    Ok(())
}

/// Checks that a mapping has the expected result for the first spawn and for a later spawn.
#[track_caller]
fn mapped(ground: &Ground, map: &[(BorrowedFd<'_>, i32)], want: &BTreeMap<i32, String>) {
    for round in ["first", "second"] {
        let mut command = ground.reporter();
        command.close_other_fds();
        let path = CString::new(
            ground.base.join("good").join(super::dump::NAME).into_os_string().into_encoded_bytes(),
        )
        .expect("a path");
        let argv = [Arg::new(&path), Arg::END];
        let spawn = Spawn::new(&path, &argv, &[Arg::END]).fd_maps(map).close_other_fds();
        let child = spawn.spawn().unwrap_or_else(|error| panic!("{round}: {error:?}"));
        let mut seen = descriptors(&ground.facts(child));
        // Streams that are not mapped are inherited, so they are ignored here.
        seen.retain(|number, _| *number > 2 || want.contains_key(number));
        assert_eq!(&seen, want, "{round}");
    }
}

fn map_to_standard_streams(ground: &Ground) -> Result<(), String> {
    let files = [file(b"a"), file(b"b"), file(b"c")];
    let want = (0..).zip(&files).map(|(number, file)| (number, identity(file))).collect();
    let mut command = ground.reporter();
    for (number, file) in (0..).zip(&files) {
        command.fd_map(file.try_clone().expect("a copy"), number);
    }
    command.close_other_fds();
    let child = command.spawn().expect("a program");
    drop(command);
    assert_eq!(descriptors(&ground.facts(child)), want);
    let [a, b, c] = &files;
    mapped(ground, &[(a.as_fd(), 0), (b.as_fd(), 1), (c.as_fd(), 2)], &want);
    Ok(())
}

/// Lowers the descriptor limit to at most 128, and returns the highest possible descriptor number.
fn last_number() -> i32 {
    let [soft, hard] = libc::descriptor_limit();
    let soft = soft.min(128);
    assert_eq!(libc::set_limit(libc::RLIMIT_NOFILE, [soft, hard]), 0);
    i32::try_from(soft).expect("a small number") - 1
}

fn map_to_the_last_number(ground: &Ground) -> Result<(), String> {
    let last = last_number();
    let file = file(b"a");
    mapped(ground, &[(file.as_fd(), last)], &BTreeMap::from([(last, identity(&file))]));
    let mut command = ground.reporter();
    command.fd_map(file.try_clone().expect("a copy"), last).close_other_fds();
    let child = command.spawn().expect("a program");
    drop(command);
    assert_eq!(descriptors(&ground.facts(child)).get(&last), Some(&identity(&file)));
    // The next number is beyond the limit, so both spawns fail.
    let argv = [Arg::new(c"program"), Arg::END];
    for _ in 0..2 {
        let fds = [(file.as_fd(), last + 1)];
        let error = Spawn::new(c"/no/such", &argv, &[Arg::END]).fd_maps(&fds).spawn().unwrap_err();
        let stage = SpawnStage::Dup { from: file.as_raw_fd(), to: last + 1 };
        assert_eq!((error.stage(), error.errno()), (stage, Errno::EBADF));
    }
    Ok(())
}

/// The first mapping is a cycle of three descriptor numbers that includes the highest possible number.
fn map_permutation(ground: &Ground) -> Result<(), String> {
    let last = last_number();
    let (a, b, c) = (file(b"a"), file(b"b"), file(b"c"));
    assert_eq!(libc::dup3(c.as_raw_fd(), last, libc::O_CLOEXEC), last);
    // SAFETY: the line above has opened this descriptor.
    let far = unsafe { BorrowedFd::borrow_raw(last) };
    let (near, other) = (a.as_raw_fd(), b.as_raw_fd());
    let want = BTreeMap::from([(other, identity(&a)), (last, identity(&b)), (near, identity(&c))]);
    mapped(ground, &[(a.as_fd(), other), (b.as_fd(), last), (far, near)], &want);
    libc::close(last);
    // Two descriptors exchange their numbers, and one of them is also mapped to a third number.
    let spare = (3..6).find(|number| ![near, other].contains(number)).expect("one of three");
    let want = BTreeMap::from([(other, identity(&a)), (near, identity(&b)), (spare, identity(&a))]);
    let map = [(a.as_fd(), other), (b.as_fd(), near), (a.as_fd(), spare)];
    mapped(ground, &map, &want);
    Ok(())
}

fn close_others(ground: &Ground) -> Result<(), String> {
    // The number must be above those of the standard streams, some of which may be closed.
    let number = libc::fcntl(file(b"a").as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
    assert_eq!(libc::fcntl(number, libc::F_SETFD, 0), 0);
    let open =
        |facts: Facts| descriptors(&facts).into_keys().filter(|fd| *fd > 2).collect::<Vec<_>>();
    let seen = open(ground.facts(ground.reporter().spawn().expect("a program")));
    assert!(seen.contains(&number), "{seen:?}");
    let mut command = ground.reporter();
    let child = command.close_other_fds().spawn().expect("a program");
    assert_eq!(open(ground.facts(child)), Vec::<i32>::new());
    libc::close(number);
    Ok(())
}

#[track_caller]
fn is(error: &SpawnError, stage: SpawnStage, errno: Errno) {
    assert_eq!((error.stage(), error.errno()), (stage, errno));
}

fn missing(ground: &Ground) -> Result<(), String> {
    let argv = [Arg::new(c"program"), Arg::END];
    for _ in 0..2 {
        let error = Spawn::new(c"/no/such/program", &argv, &[Arg::END]).spawn().unwrap_err();
        is(&error, SpawnStage::Exec, Errno::ENOENT);
        let error = quiet("exit", &["0"]).current_dir("/no/such").spawn().unwrap_err();
        is(&error, SpawnStage::Chdir, Errno::ENOENT);
        let mut command = Command::new("rawpipe-no-such-program");
        let error = command.env("PATH", "/bin:/usr/bin").spawn().unwrap_err();
        is(&error, SpawnStage::Exec, Errno::ENOENT);
    }
    no_child_is_left_but(ground);
    Ok(())
}

fn waits(ground: &Ground) -> Result<(), String> {
    let mut child = quiet("sleep", &[]).on_drop(OnDrop::Kill).spawn().expect("a program");
    assert_eq!(child.try_wait(), Ok(None));
    let begin = Instant::now();
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    let took = begin.elapsed();
    assert!(took >= SHORT && took < LONG, "{took:?}");
    assert_eq!(child.send_signal(Signal::STOP), Ok(()));
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    assert_eq!(child.send_signal(Signal::CONT), Ok(()));
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.kill(), Ok(()));
    let end = child.wait_deadline(Deadline::after(LONG));
    match end {
        Ok(Some(status)) => assert_eq!(status.signal(), Some(Signal::KILL)),
        other => assert!(ground.lost && other == Err(Errno::ECHILD), "{other:?}"),
    }
    assert_eq!(child.kill(), end.map(|_| ()).map_err(|_| Errno::ESRCH));
    assert_eq!(child.send_signal(Signal::KILL), Err(Errno::ESRCH));
    assert_eq!(child.try_wait(), end);
    Ok(())
}

fn drop_leave(_: &Ground) -> Result<(), String> {
    let child = quiet("sleep", &[]).spawn().expect("a program");
    let id = child.id();
    drop(child);
    assert!(!is_gone(id));
    let pid = i32::try_from(id).expect("a process id");
    libc::kill(pid, 9);
    let mut status = 0;
    // SAFETY: the call writes one integer.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    Ok(())
}

/// Waits until a process disappears. If the kernel discards the status, `wait` may return shortly before the
/// process disappears.
#[track_caller]
fn goes(id: u32) {
    let begin = Instant::now();
    while !is_gone(id) {
        assert!(begin.elapsed() < LONG, "{id} is still there");
        thread::sleep(Duration::from_millis(1));
    }
}

fn drop_reap(_: &Ground) -> Result<(), String> {
    let mut command = program("cat", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.on_drop(OnDrop::Reap).spawn().expect("a program");
    let id = child.id();
    // The child ends when its input reaches end of file.
    drop(child);
    goes(id);
    Ok(())
}

fn drop_kill(_: &Ground) -> Result<(), String> {
    let child = quiet("sleep", &[]).on_drop(OnDrop::Kill).spawn().expect("a program");
    let id = child.id();
    drop(child);
    goes(id);
    Ok(())
}

/// Starts a process-group leader that starts a child. Both the leader and its child hold the write end of a
/// pipe.
fn family(name: &str) -> (Child, PipeReader, rawpipe::PipeWriter) {
    let (gate, open) = rawpipe::pipe().expect("a pipe");
    let mut command = program(name, &[]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.fd_map(gate, 7).process_group(0).on_drop(OnDrop::KillGroup);
    let mut child = command.spawn().expect("a program");
    let reader = child.take_stdout().expect("a pipe");
    (child, reader, open)
}

fn drop_kill_group(_: &Ground) -> Result<(), String> {
    let (child, reader, _open) = family("family");
    let mut id = [0; 64];
    assert_ne!(reader.read(&mut id), Ok(0));
    drop(child);
    end_of(&reader);
    Ok(())
}

/// Dropping the handle after a wait does not kill the process group, so background jobs survive.
fn drop_kill_group_after_wait(ground: &Ground) -> Result<(), String> {
    let (mut child, reader, open) = family("parent");
    code(ground, &mut child, 0);
    let mut id = [0; 64];
    assert_ne!(reader.read(&mut id), Ok(0));
    drop(child);
    assert!(!has_ended(&reader, SHORT * 3), "the drop has killed a background job");
    drop(open);
    end_of(&reader);
    Ok(())
}

fn communicate(ground: &Ground) -> Result<(), String> {
    let mut command = program("cat", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.on_drop(OnDrop::Kill).spawn().expect("a program");
    let input: Vec<u8> = (0..300_000).map(common::programs::pattern).collect();
    match child.communicate(&input) {
        Ok(output) => {
            assert!(output.status.success(), "{:?}", output.status);
            assert!(output.stdout == input && output.stderr.is_empty());
        }
        Err(error) => {
            assert!(ground.lost, "{error:?}");
            assert!(error.stdout() == input);
        }
    }
    Ok(())
}

fn output(ground: &Ground) -> Result<(), String> {
    match program("flood", &["100000", "70000"]).output() {
        Ok(output) => {
            assert!(output.status.success(), "{:?}", output.status);
            assert_eq!((output.stdout.len(), output.stderr.len()), (100_000, 70_000));
            assert!(common::programs::is_pattern(&output.stdout));
            assert!(common::programs::is_pattern(&output.stderr));
        }
        Err(error) => assert!(ground.lost, "{error:?}"),
    }
    Ok(())
}

/// A mapping to a stream's number overrides the default that `output` sets for that stream.
fn output_mapped(ground: &Ground) -> Result<(), String> {
    for number in 0..3 {
        let file = file(b"");
        let mut command = ground.reporter();
        command.fd_map(file.try_clone().expect("a copy"), number);
        match command.output() {
            Ok(output) => assert_eq!(output.status.code(), Some(super::dump::CODE)),
            Err(error) => {
                let lost = matches!(error, process::RunError::Communicate(_));
                assert!(ground.lost && lost, "{number}: {error:?}");
            }
        }
        let text = fs::read_to_string(ground.base.join("report")).expect("the report");
        let wanted = format!("fd-{number} {} ", identity(&file));
        assert!(text.lines().any(|line| line.starts_with(&wanted)), "{number}: {text}");
    }
    Ok(())
}

fn pipeline(ground: &Ground) -> Result<(), String> {
    let (first, second, third) = (program("cat", &[]), program("cat", &[]), program("cat", &[]));
    let pipeline = first.pipe(&second).pipe(&third).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut children = pipeline.stderr(Stdio::null()).spawn().expect("three programs");
    let input: Vec<u8> = (0..200_000).map(common::programs::pattern).collect();
    match Communicate::new().input(&input).run_pipeline(&mut children) {
        Ok(output) => {
            assert!(output.success() && output.statuses.len() == 3, "{:?}", output.statuses);
            assert!(output.stdout == input);
        }
        Err(error) => assert!(ground.lost && error.stdout() == input, "{error:?}"),
    }
    let mut missing = Command::new("/no/such/program");
    missing.stderr(Stdio::null());
    let error =
        first.pipe(&missing).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap_err();
    assert_eq!(error.index(), 1);
    is(&error.error(), SpawnStage::Exec, Errno::ENOENT);
    no_child_is_left_but(ground);
    Ok(())
}

fn fork_with(ground: &Ground) -> Result<(), String> {
    for number in [0, 9] {
        code(ground, &mut child(|| number), number.into());
    }
    let (reader, writer) = rawpipe::pipe().expect("a pipe");
    let mut child = child(|| u8::from(reader.read(&mut [0]) != Ok(1)));
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    assert_eq!(writer.write(b"!"), Ok(1));
    code(ground, &mut child, 0);
    Ok(())
}

/// The program starts with its parent-death signal set.
pub(crate) fn death_signal_is_set(ground: &Ground) -> Result<(), String> {
    let mut command = ground.reporter();
    let child = command.parent_death_signal(Signal::TERM).spawn().expect("a program");
    assert_eq!(ground.facts(child)["death-signal"], "15");
    Ok(())
}

/// The death signal kills a program when its parent, an intermediate process, ends.
fn death_signal_arrives(_: &Ground) -> Result<(), String> {
    let (reader, writer) = rawpipe::pipe().expect("a pipe");
    let pid = {
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let mut command = program("stall", &["1"]);
            command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
            let child = command.parent_death_signal(Signal::KILL).spawn();
            // The intermediate process must not end before its program has started.
            let begun = reader.read(&mut [0]) == Ok(1);
            libc::_exit(if child.is_ok() && begun { 0 } else { 1 });
        }
        pid
    };
    drop(writer);
    let mut status = 0;
    // SAFETY: the call writes one integer.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert!(waited < 0 || status == 0, "{status:x}");
    end_of(&reader);
    Ok(())
}

/// A program that is started as another user has that user's ids and none of the parent's groups.
fn uid(ground: &Ground) -> Result<(), String> {
    if libc::geteuid() != 0 {
        return Err(String::from("only root may change to another user"));
    }
    if fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny") {
        return Err(String::from("groups cannot be changed here: that has tests of its own"));
    }
    // SAFETY: the call only reads the groups.
    assert_eq!(unsafe { libc::setgroups(2, [1, 2].as_ptr()) }, 0);
    let mut command = ground.reporter();
    command.uid(USER).gid(USER);
    let facts = ground.facts(command.spawn().expect("a program"));
    // The program reports the ids that it has in its own namespace.
    assert_eq!(facts["Uid"], [USER.to_string().as_str(); 4].join("\t"));
    assert_eq!(facts["Gid"], [USER.to_string().as_str(); 4].join("\t"));
    assert_eq!(facts.get("Groups").map_or("", String::as_str).trim(), "");
    let child = command.groups(&[3]).spawn().expect("a program");
    assert_eq!(ground.facts(child)["Groups"], "3");
    Ok(())
}

/// An environment is passed on unchanged, even if it contains two variables with the same name. Entries that
/// are not variables must be present when the process starts.
/// `command::env_with_entries_that_are_no_variables` therefore tests such entries.
fn environment(ground: &Ground) -> Result<(), String> {
    const ENTRIES: [&CStr; 4] = [c"A=1", c"A=2", c"B=\xff", c"=x=y"];
    let command = ground.reporter();
    let list: Vec<*const c_char> =
        ENTRIES.iter().map(|entry| entry.as_ptr()).chain([ptr::null()]).collect();
    let place = &raw mut libc::environ;
    // SAFETY: the variable belongs to the C library, the process has one thread, and the list outlives its
    // use.
    let own = unsafe { place.replace(list.as_ptr()) };
    let child = command.spawn();
    // SAFETY: the process has one thread, and the old list is still valid.
    unsafe { place.replace(own) };
    let facts = ground.facts(child.expect("a program"));
    let whole: Vec<u8> =
        ENTRIES.iter().flat_map(|entry| entry.to_bytes_with_nul()).copied().collect();
    assert_eq!(facts["environ"], whole.escape_ascii().to_string());
    Ok(())
}

// ---- in their own worlds ----

/// Without a free descriptor, the first spawn and a later spawn have the same result: success or the same
/// failure. If descriptors are free, a spawn starts the program or reports that the program does not exist.
pub(crate) fn without_descriptors(program: &[&CStr]) -> Result<(), String> {
    let own = env::current_exe().expect("the path of this test");
    let own = CString::new(own.into_os_string().into_encoded_bytes()).expect("a path");
    let path = program.first().copied().unwrap_or(&own);
    let (mark, word) = (c"test-program:exit", c"7");
    let argv = [Arg::new(path), Arg::new(mark), Arg::new(word), Arg::END];
    let spawn = Spawn::new(path, &argv, &[Arg::END]);
    let hard = libc::descriptor_limit()[1];
    assert_eq!(libc::set_limit(libc::RLIMIT_NOFILE, [32, hard]), 0);
    let mut taken: Vec<OwnedFd> = Vec::new();
    let full = loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file.into()),
            Err(error) => break error.raw_os_error(),
        }
    };
    assert_eq!(full, Some(Errno::EMFILE.raw_os_error()));
    let come_to = || {
        let child = spawn.spawn();
        child
            .map(|mut child| child.wait().expect("its end").code())
            .map_err(|error| (error.stage(), error.errno()))
    };
    let first = come_to();
    assert!(taken.pop().is_some() && taken.pop().is_some() && taken.pop().is_some());
    assert!(taken.pop().is_some() && taken.pop().is_some() && taken.pop().is_some());
    let free = come_to();
    let wanted =
        if program.is_empty() { Ok(Some(7)) } else { Err((SpawnStage::Exec, Errno::ENOENT)) };
    assert_eq!(free, wanted);
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file.into());
    }
    let later = come_to();
    assert_eq!(first, later, "the first and a later one");
    let refused =
        first.is_err_and(|(stage, errno)| errno == Errno::EMFILE && stage != SpawnStage::Exec);
    assert!(first == wanted || refused, "{first:?}");
    drop(taken);
    no_child_is_left();
    Ok(())
}

/// If a process is not permitted to drop its groups, spawning a program as another user fails with `EPERM`.
pub(crate) fn uid_with_groups_eperm(ground: &Ground) -> Result<(), String> {
    let mut command = ground.reporter();
    let error = command.uid(USER).spawn().map(|child| ground.facts(child)).unwrap_err();
    is(&error, SpawnStage::Setgroups, Errno::EPERM);
    let error = command.groups(&[3]).spawn().map(|child| ground.facts(child)).unwrap_err();
    is(&error, SpawnStage::Setgroups, Errno::EPERM);
    no_child_is_left();
    Ok(())
}

/// If a process has no supplementary groups, it can spawn a program as another user without the permission to
/// change groups. An explicit empty list of groups is not an error either.
pub(crate) fn uid_without_groups(ground: &Ground) -> Result<(), String> {
    let mut command = ground.reporter();
    let facts = ground.facts(command.uid(USER).spawn().expect("a program"));
    assert_eq!(facts.get("Groups").map_or("", String::as_str).trim(), "");
    let child = command.groups(&[]).spawn().expect("a program");
    assert_eq!(ground.facts(child).get("Groups").map_or("", String::as_str).trim(), "");
    Ok(())
}

const PTRACE_TRACEME: u32 = 0;
const PTRACE_CONT: u32 = 7;
const PTRACE_DETACH: u32 = 17;
const PTRACE_SEIZE: u32 = 0x4206;
const PTRACE_INTERRUPT: u32 = 0x4207;

/// Returns a child that this process traces. The child stops for its tracer before it exits with 3.
fn traced() -> Result<(Child, i32), String> {
    let child = child(|| {
        if ptrace(PTRACE_TRACEME) != 0 {
            return 77;
        }
        raise(10); // stops the child for the tracer
        3
    });
    let pid = i32::try_from(child.id()).expect("a process id");
    let begin = Instant::now();
    loop {
        let stat =
            fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        match state.as_bytes().first() {
            Some(b't') => return Ok((child, pid)),
            Some(b'Z') => return Err(String::from("tracing is not permitted here")),
            _ => assert!(begin.elapsed() < LONG, "{stat}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn traced_child_stops(_: &Ground) -> Result<(), String> {
    let (mut child, pid) = traced()?;
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    assert_eq!(ptrace(PTRACE_CONT, pid, 0_usize, 0_usize), 0);
    assert_eq!(child.wait().map(|status| status.code()), Ok(Some(3)));
    Ok(())
}

pub(crate) fn traced_child_killed(_: &Ground) -> Result<(), String> {
    let (mut child, _) = traced()?;
    assert_eq!(child.kill(), Ok(()));
    assert_eq!(child.wait().map(|status| status.signal()), Ok(Some(Signal::KILL)));
    Ok(())
}

pub(crate) fn traced_child_dropped(_: &Ground) -> Result<(), String> {
    let (mut child, pid) = traced()?;
    assert_eq!(child.on_drop(OnDrop::Kill), Ok(()));
    drop(child);
    assert!(is_gone(pid.unsigned_abs()));
    Ok(())
}

/// `wait` does not return at a trace stop. This thread is the tracer and is blocked in `wait`, so another
/// process must kill the child.
pub(crate) fn seized_child(_: &Ground) -> Result<(), String> {
    let mut sleeper = quiet("sleep", &[]).on_drop(OnDrop::Kill).spawn().expect("a program");
    let pid = i32::try_from(sleeper.id()).expect("a process id");
    if ptrace(PTRACE_SEIZE, pid, 0_usize, 0_usize) != 0 {
        return Err(String::from("tracing is not permitted here"));
    }
    assert_eq!(ptrace(PTRACE_INTERRUPT, pid, 0_usize, 0_usize), 0);
    thread::sleep(SHORT);
    assert_eq!(sleeper.try_wait(), Ok(None));
    let mut killer = child(|| {
        thread::sleep(SHORT * 3);
        u8::from(libc::kill(pid, 9) != 0)
    });
    assert_eq!(sleeper.wait().map(|status| status.signal()), Ok(Some(Signal::KILL)));
    assert_eq!(killer.wait().map(|status| status.code()), Ok(Some(0)));
    Ok(())
}

/// A trace stop does not end `communicate`.
pub(crate) fn traced_child_communicates(_: &Ground) -> Result<(), String> {
    let mut command = program("cat", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.on_drop(OnDrop::Kill).spawn().expect("a program");
    let pid = i32::try_from(child.id()).expect("a process id");
    if ptrace(PTRACE_SEIZE, pid, 0_usize, 0_usize) != 0 {
        return Err(String::from("tracing is not permitted here"));
    }
    assert_eq!(ptrace(PTRACE_INTERRUPT, pid, 0_usize, 0_usize), 0);
    thread::sleep(SHORT);
    let deadline = Deadline::after(SHORT);
    let talk = Communicate::new().input(b"all of it").deadline(deadline).run(&mut child);
    let error = talk.unwrap_err();
    assert!(matches!(error.reason(), process::CommunicateErrorKind::Deadline), "{error:?}");
    assert_eq!(ptrace(PTRACE_DETACH, pid, 0_usize, 0_usize), 0);
    let output = child.communicate(&[]).expect("the rest");
    assert!(output.status.success());
    let all = [error.stdout(), &output.stdout].concat();
    assert_eq!(all, b"all of it");
    Ok(())
}

pub(crate) fn killed_before_exec(_: &Ground) -> Result<(), String> {
    let filter = Filter::new(&[nr::EXECVE, nr::EXECVEAT], Errno::EPERM).that_kills();
    if !filter.install() {
        return Err(String::from("no seccomp filter here"));
    }
    for round in ["first", "second"] {
        let spawned = quiet("exit", &["0"]).spawn();
        let end = spawned.map(|mut child| child.wait());
        assert!(end.is_err(), "{round}: a program that never began: {end:?}");
    }
    no_child_is_left();
    Ok(())
}

/// Starts programs that run as another user. Stops after three seconds, or after one second if workloads are
/// reduced. A process of that user stops, continues and kills the programs as soon as it finds them.
pub(crate) fn attacked(ground: &Ground) -> Result<(), String> {
    let time = Duration::from_secs(if common::slow() { 1 } else { 3 });
    let parent = std::process::id();
    let list = format!("/proc/self/task/{parent}/children");
    fs::read_to_string(list).map_err(|_| String::from("the kernel lists no children"))?;
    let mut attacker = child(|| attack(parent, ATTACKED));
    let (mut begun, mut killed, mut refused) = (0, 0, 0);
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut command = ground.reporter();
        command.uid(ATTACKED).gid(ATTACKED).stdin(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(_) => {
                refused += 1;
                continue;
            }
        };
        let status =
            child.wait_deadline(Deadline::after(LONG)).expect("a status").expect("its end");
        if status.signal() == Some(Signal::KILL) {
            killed += 1;
        } else {
            assert_eq!(status.code(), Some(super::dump::CODE), "{status:?}");
            let report = fs::metadata(ground.base.join("report")).expect("the report");
            assert!(report.len() > 0, "a program that never began");
            begun += 1;
        }
    }
    assert_eq!(attacker.kill(), Ok(()));
    assert_eq!(attacker.wait().map(|status| status.signal()), Ok(Some(Signal::KILL)));
    no_child_is_left();
    assert!(begun + killed + refused > 20, "{begun} {killed} {refused}");
    assert!(killed + refused > 0, "the attacker has hit none of {begun}");
    common::say(&format!(
        "attacked: {begun} programs ran, {killed} were killed, {refused} spawns failed"
    ));
    Ok(())
}

fn attack(parent: u32, user: u32) -> u8 {
    // SAFETY: the call reads no groups.
    let alone = unsafe { libc::setgroups(0, ptr::null()) };
    if alone != 0 || libc::setgid(user) != 0 || libc::setuid(user) != 0 {
        return 1;
    }
    let own = std::process::id();
    let mut turn = 0_u32;
    let list = format!("/proc/{parent}/task/{parent}/children");
    let Ok(mut file) = File::open(list) else { return 2 };
    loop {
        let mut text = String::new();
        let again = std::io::Seek::rewind(&mut file).and_then(|()| file.read_to_string(&mut text));
        if again.is_err() {
            return 3;
        }
        for victim in text.split_whitespace().filter_map(|word| word.parse::<i32>().ok()) {
            if victim.unsigned_abs() == own {
                continue;
            }
            turn = turn.wrapping_add(1);
            // A stopped child blocks the thread that spawns it, so the attacker must continue the child.
            let signals: &[i32] = match turn % 4 {
                0 => &[9],
                1 | 2 => &[19, 18],
                _ => &[18],
            };
            signals.iter().for_each(|signal| _ = libc::kill(victim, *signal));
        }
    }
}
