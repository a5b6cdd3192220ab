//! Implements a worker, which forks a launcher for each case. The launcher sets up the state of the case,
//! spawns the program in all four forms, and compares the results.

use super::case::{Case, Fault, shortened};
use super::compare::{self, Difference, Outcome, Ran};
use super::forms::{self, Status};
use super::{dump, libc};
use rawpipe::PipeReader;
use rawpipe::event::{PollEvents, PollFd, poll};
use std::ffi::{CString, c_char};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, mem, panic, ptr};

/// The number of open files from which a launcher can choose. Their descriptor numbers start at `FIRST`.
pub(crate) const OBJECTS: usize = 9;
const FIRST: i32 = 500;
/// The descriptor number of `/dev/null`, which is the first of the open files.
pub(crate) const NULL: i32 = FIRST;
/// The descriptor number of the file to which the program writes its report.
const REPORT: i32 = 520;
const FINDINGS: i32 = 521;
/// A launcher that produces no output for this time is assumed to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates the worker's directory. It contains the report, and the files and directories that a case can
/// name.
pub(crate) fn furnish(base: &Path, program: &Path) {
    let open = Permissions::from_mode(0o755);
    let folder = |name: &str| {
        fs::create_dir(base.join(name)).expect("a folder");
        fs::set_permissions(base.join(name), open.clone()).expect("its permissions");
    };
    let file = |place: &str, text: &[u8], mode: u32| {
        fs::write(base.join(place), text).expect("a file");
        fs::set_permissions(base.join(place), Permissions::from_mode(mode)).expect("its mode");
    };
    folder("");
    let name = dump::NAME;
    for place in
        ["good", "also", "noexec", "unknown", "badinterp", "script", "folder", "closed", "empty"]
    {
        folder(place);
    }
    folder(&format!("folder/{name}"));
    for place in ["good", "also", "closed"] {
        fs::hard_link(program, base.join(place).join(name)).expect("a link to the program");
    }
    file(&format!("noexec/{name}"), b"#!/bin/sh\n", 0o644);
    file(&format!("unknown/{name}"), b"exit 77\n", 0o755);
    file(&format!("badinterp/{name}"), b"#!/no/such/interpreter\n", 0o755);
    let interpreter = base.join("good").join(name);
    let script = [b"#!", interpreter.as_os_str().as_bytes(), b" word\n"].concat();
    file(&format!("script/{name}"), &script, 0o755);
    file("file", b"", 0o644);
    file("report", b"", 0o666);
    symlink("loop", base.join("loop")).expect("a link to itself");
    fs::set_permissions(base.join("closed"), Permissions::from_mode(0o000)).expect("its mode");
}

/// Moves a descriptor to `number`, which no case uses.
fn put(fd: impl IntoRawFd, number: i32) {
    let fd = fd.into_raw_fd();
    assert_eq!(
        libc::dup3(fd, number, libc::O_CLOEXEC),
        number,
        "{}",
        std::io::Error::last_os_error()
    );
    libc::close(fd);
}

/// Opens the files to which the launchers' descriptors refer.
fn open_objects(base: &Path) {
    let limit = libc::descriptor_limit();
    libc::set_limit(libc::RLIMIT_NOFILE, [limit[1].min(1024), limit[1]]);
    let path = base.join("contents");
    fs::write(&path, [b'c'; 1000]).expect("a file");
    let options = || File::options().read(true).write(true).clone();
    let mut at = FIRST;
    let mut next = |fd: i32| {
        // SAFETY: `into_raw_fd` has just returned this descriptor.
        put(unsafe { File::from_raw_fd(fd) }, at);
        at += 1;
    };
    next(options().open("/dev/null").expect("/dev/null").into_raw_fd());
    let file = options().open(&path).expect("a file");
    std::io::Seek::seek(&mut &file, std::io::SeekFrom::Start(123)).expect("a position");
    next(file.into_raw_fd());
    next(File::options().append(true).open(&path).expect("a file").into_raw_fd());
    next(File::open(base).expect("a folder").into_raw_fd());
    let (reader, writer) = rawpipe::pipe().expect("a pipe");
    reader.set_nonblocking(true).expect("a nonblocking end");
    next(reader.into_raw_fd());
    next(writer.into_raw_fd());
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    next(one.into_raw_fd());
    next(other.into_raw_fd());
    use std::os::unix::fs::OpenOptionsExt;
    let only = File::options().read(true).custom_flags(libc::O_PATH).open(&path).expect("O_PATH");
    next(only.into_raw_fd());
    put(options().open(base.join("report")).expect("the report"), REPORT);
    // Closes the descriptors that this process inherited.
    (3..FIRST).for_each(|number| _ = libc::close(number));
}

/// The results of one case.
#[derive(Default)]
pub(crate) struct Findings {
    /// The names of the intended differences.
    pub(crate) intended: Vec<String>,
    /// The kind and the full report of each unexplained difference.
    pub(crate) unexplained: Vec<(String, String)>,
    /// The number of forms in which the program was started.
    pub(crate) started: usize,
}

pub(crate) struct Worker {
    base: PathBuf,
}

impl Worker {
    pub(crate) fn new(base: &Path) -> Self {
        open_objects(base);
        env::set_current_dir(base).expect("the worker's folder");
        Self { base: base.to_owned() }
    }

    pub(crate) fn run(&self, seed: u64) -> Findings {
        let case = Case::new(seed, self.base.as_os_str().as_bytes());
        let (reader, writer) = rawpipe::pipe().expect("a pipe");
        // SAFETY: this process has one thread, and the child ends within this block.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", std::io::Error::last_os_error());
        if pid == 0 {
            drop(reader);
            put(writer, FINDINGS);
            libc::_exit(self.launch(&case));
        }
        drop(writer);
        let (text, hung) = listen(&reader);
        if hung {
            libc::kill(pid, 9);
        }
        let mut status = 0;
        // SAFETY: the call writes one integer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        let mut findings = Findings::default();
        for part in text.split('\x1e').filter(|part| !part.is_empty()) {
            let (what, rest) = part.split_once('\n').unwrap_or((part, ""));
            match what.split_once(' ') {
                Some(("intended", name)) => findings.intended.push(name.to_owned()),
                Some(("unexplained", kind)) => {
                    findings
                        .unexplained
                        .push((kind.to_owned(), format!("{rest}\n{}", case.describe())));
                }
                Some(("started", count)) => findings.started = count.parse().unwrap_or(0),
                _ => findings.unexplained.push((String::from("launcher"), part.to_owned())),
            }
        }
        if hung || status != 0 {
            let kind = if hung { "hung" } else { "launcher" };
            let story = format!("status {status:x}\n{text}\n{}", case.describe());
            findings.unexplained.push((String::from(kind), story));
        }
        findings
    }

    /// Runs a case in the launcher and returns the launcher's exit code.
    fn launch(&self, case: &Case) -> i32 {
        panic::set_hook(Box::new(|info| tell(&format!("unexplained panic\n{info}\x1e"))));
        let told = panic::catch_unwind(|| {
            enter(case);
            self.observe(case)
        });
        told.map_or(1, |text| {
            tell(&text);
            0
        })
    }

    fn observe(&self, case: &Case) -> String {
        type Form = fn(&Case) -> Status;
        let mut text = String::new();
        let pairs: [(&str, Form, Form, Option<Fault>); 2] = [
            ("Command, std", forms::command, forms::std, case.commands_fault()),
            ("Spawn, posix_spawn", forms::spawn, forms::posix_spawn, case.spawns_fault()),
        ];
        let mut started = 0;
        for (pair, ours, theirs, fault) in pairs {
            let before = State::now(case);
            let (mut one, mut other) = (None, None);
            if case.reference_first {
                other = Some(self.outcome(theirs, case));
            }
            let state = State::now(case);
            one.get_or_insert_with(|| self.outcome(ours, case));
            let left = state.differences(&State::now(case));
            let other = other.unwrap_or_else(|| self.outcome(theirs, case));
            let one = one.expect("set above");
            started +=
                [&one, &other].iter().filter(|outcome| matches!(outcome, Outcome::Ran(_))).count();
            // Without this call, a change by the reference form would be reported as a change by this crate.
            before.restore();
            let mut differences = compare::differences(&one, &other);
            if differences.is_empty() {
                differences.extend(compare::stage(fault, &one));
            }
            differences.extend(left);
            for difference in differences {
                match compare::intended(pair, case, &difference, &one, &other) {
                    Some(name) => _ = write!(text, "intended {name}\n\x1e"),
                    None => {
                        let Difference { key, ours, theirs } = difference;
                        let (ours, theirs) = (shortened(&ours), shortened(&theirs));
                        let kind = compare::kind(&key, &one);
                        _ = write!(
                            text,
                            "unexplained {pair}: {kind}\n{key}\n  ours:   {ours}\n  theirs: {theirs}\x1e"
                        );
                    }
                }
            }
        }
        _ = write!(text, "started {started}\n\x1e");
        text
    }

    fn outcome(&self, form: fn(&Case) -> Status, case: &Case) -> Outcome {
        // SAFETY: the descriptor is open while this process lives, and the file is never dropped.
        let report = mem::ManuallyDrop::new(unsafe { File::from_raw_fd(REPORT) });
        report.set_len(0).expect("an empty report");
        match form(case) {
            Err(failure) => Outcome::Failed(failure),
            Ok(status) => {
                let length = report.metadata().map_or(0, |file| file.len());
                let mut text = vec![0; usize::try_from(length).expect("a short report")];
                report.read_exact_at(&mut text, 0).expect("the report");
                Outcome::Ran(Ran::new(status, &String::from_utf8_lossy(&text)))
            }
        }
    }
}

/// Collects the launcher's findings. The returned flag is true if the launcher hangs.
fn listen(reader: &PipeReader) -> (String, bool) {
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let mut fds = [PollFd::new(reader, PollEvents::IN)];
        if poll(&mut fds, Some(PATIENCE)) == Ok(0) {
            return (String::from_utf8_lossy(&text).into_owned(), true);
        }
        match reader.read(&mut bytes) {
            Ok(0) | Err(_) => return (String::from_utf8_lossy(&text).into_owned(), false),
            Ok(count) => text.extend_from_slice(&bytes[..count]),
        }
    }
}

fn tell(text: &str) {
    // SAFETY: the descriptor is open in a launcher, and the file is never dropped.
    let mut findings = mem::ManuallyDrop::new(unsafe { File::from_raw_fd(FINDINGS) });
    let _ = findings.write_all(text.as_bytes());
}

/// Puts this process into the state of the case.
fn enter(case: &Case) {
    for number in 0..3 {
        libc::close(number);
    }
    for (index, number, cloexec) in &case.objects {
        let from = FIRST + i32::try_from(*index).expect("a small number");
        let flags = if *cloexec { libc::O_CLOEXEC } else { 0 };
        assert_eq!(libc::dup3(from, *number, flags), *number);
    }
    // Rust's runtime ignores `SIGPIPE`.
    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    extern "C" fn handler(_signal: i32) {}
    let handler = (handler as extern "C" fn(i32)) as usize;
    case.ignored.iter().for_each(|signal| _ = libc::signal(*signal, libc::SIG_IGN));
    case.handled.iter().for_each(|signal| _ = libc::signal(*signal, handler));
    libc::mask(Some(&libc::SignalSet::new(&case.blocked)));
    libc::umask(case.mask);
    let strings = case
        .environ
        .iter()
        .map(|entry| CString::new(entry.as_slice()).expect("no NUL").into_raw().cast_const());
    let list: Vec<*const c_char> = strings.chain([ptr::null()]).collect();
    forms::replace_environ(Box::leak(list.into_boxed_slice()).as_ptr());
    let hard = libc::descriptor_limit()[1];
    let soft = u64::try_from(case.limit).expect("a small number");
    assert_eq!(libc::set_limit(libc::RLIMIT_NOFILE, [soft, hard]), 0);
}

/// The part of the spawning process's state that a spawn must not change.
struct State {
    descriptors: Vec<i32>,
    mask: libc::SignalSet,
    umask: u32,
}

impl State {
    fn now(case: &Case) -> Self {
        let umask = libc::umask(0);
        libc::umask(umask);
        let descriptors = (0..case.limit).filter(|number| libc::is_open(*number)).collect();
        Self { descriptors, mask: libc::mask(None), umask }
    }

    fn differences(&self, after: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        if self.descriptors != after.descriptors {
            all.push(Difference::new("left: descriptors", &after.descriptors, &self.descriptors));
        }
        if self.mask != after.mask {
            all.push(Difference::new("left: mask", &after.mask, &self.mask));
        }
        if self.umask != after.umask {
            all.push(Difference::new("left: umask", &after.umask, &self.umask));
        }
        all
    }

    fn restore(&self) {
        libc::mask(Some(&self.mask));
        libc::umask(self.umask);
    }
}
