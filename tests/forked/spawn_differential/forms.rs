//! Implements the four forms in which a case is spawned: `Command`, std's `Command`, `Spawn` and
//! `posix_spawn`.

use super::case::{Case, Change, Group, Stream};
use super::libc::{self, Opaque, SignalSet};
use rawpipe::Errno;
use rawpipe::fd::{BorrowedFd, OwnedFd};
use rawpipe::process::{
    self, Arg, Child, Resource, Rlimit, RunError, Signal, Spawn, SpawnError, SpawnStage,
};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, c_char};
use std::io::{self, ErrorKind};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::{fmt, iter, mem, process as std_process, ptr};

/// The failure of a spawn. Only this crate's forms report the stage.
#[derive(Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) errno: Option<i32>,
    pub(crate) kind: ErrorKind,
    pub(crate) stage: Option<SpawnStage>,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.errno)?;
        self.stage.map_or(Ok(()), |stage| write!(f, " at {stage:?}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let errno = Errno::from_io_error(&error).map(Errno::raw_os_error);
        Self { errno, kind: error.kind(), stage: None }
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        Self { stage: Some(error.stage()), ..io::Error::from(error).into() }
    }
}

/// The wait status of a program that was started and has ended, or the failure of the spawn.
pub(crate) type Status = Result<i32, Failure>;

fn text(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn owned(number: i32) -> OwnedFd {
    // SAFETY: the descriptor is open, and the result is never dropped.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn borrowed<'a>(number: i32) -> BorrowedFd<'a> {
    // SAFETY: all calls that use the descriptor fail if it is not open.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn set_of(signals: &[i32]) -> process::SignalSet {
    let signals = signals.iter().filter_map(|number| Signal::from_raw(*number));
    signals.fold(process::SignalSet::empty(), process::SignalSet::with)
}

fn group_of(group: Group) -> i32 {
    match group {
        Group::Own => 0,
        Group::Parents => libc::getpgid(0),
        Group::Missing => i32::MAX,
    }
}

/// Applies the arguments, environment, directory and streams of the case. The methods for these settings have
/// the same names in both `Command` types.
macro_rules! usual {
    ($command:ident, $process:ident, $case:ident) => {
        $command.args($case.args.iter().map(|arg| text(arg)));
        if let Some(name) = &$case.arg0 {
            $command.arg0(text(name));
        }
        for change in &$case.changes {
            match change {
                Change::Clear => $command.env_clear(),
                Change::Set(name, value) => $command.env(text(name), text(value)),
                Change::Remove(name) => $command.env_remove(text(name)),
            };
        }
        if let Some(folder) = &$case.folder {
            $command.current_dir(text(folder));
        }
        let stdio = |stream: &Stream| match stream {
            Stream::Unset => None,
            Stream::Inherit => Some($process::Stdio::inherit()),
            Stream::Null => Some($process::Stdio::null()),
            Stream::Piped => Some($process::Stdio::piped()),
            Stream::Fd(number) => Some(owned(*number).into()),
        };
        let [stdin, stdout, stderr] = &$case.streams;
        stdio(stdin).map(|stdio| $command.stdin(stdio));
        stdio(stdout).map(|stdio| $command.stdout(stdio));
        stdio(stderr).map(|stdio| $command.stderr(stdio));
    };
}

// ---- Command ----

pub(crate) fn command(case: &Case) -> Status {
    let mut command = process::Command::new(text(&case.program));
    usual!(command, process, case);
    for (from, to) in case.command_map() {
        command.fd_map(owned(from), to);
    }
    if case.close_others {
        command.close_other_fds();
    }
    if case.session {
        command.setsid();
    }
    case.group.map(|group| command.process_group(group_of(group)));
    case.uid.map(|uid| command.uid(uid));
    case.gid.map(|gid| command.gid(gid));
    case.groups.as_ref().map(|groups| command.groups(groups));
    case.umask.map(|mask| command.umask(mask));
    case.nice.map(|increment| command.nice(increment));
    for (resource, soft) in &case.limits {
        let hard = hard_limit(*resource);
        command.rlimit(Resource::from_raw(*resource), Rlimit::new((*soft).min(hard), hard));
    }
    case.death.and_then(Signal::from_raw).map(|signal| command.parent_death_signal(signal));
    case.signal_mask.as_ref().map(|signals| command.signal_mask(set_of(signals)));
    case.defaults.as_ref().map(|signals| command.default_signals(set_of(signals)));
    let status = if case.output {
        let output = command.output().map_err(|error| match error {
            RunError::Spawn(error) => error.into(),
            other => panic!("output: {other:?}"),
        });
        output.map(|output| {
            assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
            output.status.into()
        })
    } else {
        command.spawn().map_err(Failure::from).map(ended)
    };
    // The command owns descriptors of the launcher, which must stay open.
    mem::forget(command);
    status.map(std_process::ExitStatus::into_raw)
}

fn ended(mut child: Child) -> std_process::ExitStatus {
    child.wait().expect("the child's status").into()
}

fn hard_limit(resource: u32) -> u64 {
    let mut limit = [0; 2];
    let number = i32::try_from(resource).expect("a small number");
    // SAFETY: the call writes one `struct rlimit64`.
    unsafe { libc::prlimit64(0, number, ptr::null(), &raw mut limit) };
    limit[1]
}

// ---- std's ----

pub(crate) fn std(case: &Case) -> Status {
    let mut command = std_process::Command::new(text(&case.program));
    usual!(command, std_process, case);
    case.group.map(|group| command.process_group(group_of(group)));
    if case.groups.is_none() {
        case.uid.map(|uid| command.uid(uid));
        case.gid.map(|gid| command.gid(gid));
    }
    // `prepare` applies the settings that std lacks, after std's own steps and before the program starts.
    let map = case.command_map();
    let by_hand = case.session
        || case.close_others
        || case.groups.is_some()
        || case.umask.is_some()
        || case.nice.is_some()
        || !case.limits.is_empty()
        || case.death.is_some()
        || case.signal_mask.is_some()
        || case.defaults.is_some()
        || !map.is_empty();
    // Descriptors that std creates must have neither the numbers of standard streams nor target numbers,
    // because the child overwrites all of these numbers.
    let mut own = Vec::new();
    let standard = (0..3).filter(|number| !libc::is_open(*number));
    let targets =
        map.iter().map(|(_, to)| *to).filter(|to| *to < case.limit && !libc::is_open(*to));
    for number in standard.chain(targets).collect::<BTreeSet<i32>>() {
        libc::dup3(super::worker::NULL, number, libc::O_CLOEXEC);
        own.push(number);
    }
    if by_hand {
        // The standard library replaces the streams before the mapping is applied, so the mapping needs
        // copies of the old streams.
        let mut map = map;
        for (from, _) in map.iter_mut().filter(|(from, _)| *from < 3) {
            *from = libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, 16);
            own.push(*from);
        }
        let steps = case.detours(&map);
        let case = case.clone();
        // SAFETY: this process has one thread, so the child may call any function.
        unsafe { command.pre_exec(move || prepare(&case, &steps)) };
    }
    let status = if case.output {
        command.output().map(|output| {
            assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
            output.status
        })
    } else {
        command.spawn().map(|mut child| child.wait().expect("the child's status"))
    };
    mem::forget(command);
    own.into_iter().for_each(|number| _ = libc::close(number));
    status.map(ExitStatusExt::into_raw).map_err(Failure::from)
}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Applies the remaining settings in the child that std's command creates.
fn prepare(case: &Case, steps: &[(i32, i32, Option<i32>)]) -> io::Result<()> {
    if case.session {
        check(libc::setsid())?;
    }
    for (from, _, by) in steps {
        by.map_or(Ok(()), |by| check(libc::dup3(*from, by, libc::O_CLOEXEC)))?;
    }
    for (from, to, by) in steps {
        if from == to {
            check(libc::fcntl(*from, libc::F_SETFD, 0))?;
        } else {
            check(libc::dup2(by.unwrap_or(*from), *to))?;
        }
    }
    if case.close_others {
        for number in 3..case.limit {
            if steps.iter().all(|(_, to, _)| *to != number) {
                libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
    if let Some(increment) = case.nice {
        check(libc::setpriority(0, 0, libc::getpriority(0, 0) + increment))?;
    }
    for (resource, soft) in &case.limits {
        let hard = hard_limit(*resource);
        let number = i32::try_from(*resource).expect("a small number");
        check(libc::set_limit(number, [(*soft).min(hard), hard]))?;
    }
    if let Some(groups) = &case.groups {
        // SAFETY: the call only reads the groups.
        check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
        case.gid.map_or(Ok(()), |gid| check(libc::setgid(gid)))?;
        case.uid.map_or(Ok(()), |uid| check(libc::setuid(uid)))?;
    }
    case.umask.map(|mask| libc::umask(mask));
    if let Some(signal) = case.death {
        let signal = usize::try_from(signal).expect("a signal");
        // SAFETY: the call has only integer arguments.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
    }
    if let Some(signals) = &case.defaults {
        if case.ignored.contains(&libc::SIGPIPE) && !signals.contains(&libc::SIGPIPE) {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
        signals.iter().for_each(|signal| _ = libc::signal(*signal, libc::SIG_DFL));
    }
    if let Some(signals) = &case.signal_mask {
        libc::mask(Some(&SignalSet::new(signals)));
    }
    Ok(())
}

// ---- Spawn and posix_spawn ----

/// The strings that `Spawn` and `posix_spawn` receive.
struct Lists {
    program: CString,
    argv: Vec<CString>,
    envp: Vec<CString>,
    folder: Option<CString>,
}

impl Lists {
    fn new(case: &Case) -> Self {
        let string = |bytes: &[u8]| {
            CString::new(bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>())
                .expect("no NUL is left")
        };
        let arg0 = case.arg0.as_ref().unwrap_or(&case.program);
        Self {
            program: string(&case.program),
            argv: iter::once(arg0).chain(&case.args).map(|arg| string(arg)).collect(),
            envp: case.envp().iter().map(|entry| string(entry)).collect(),
            folder: case.folder.as_deref().map(string),
        }
    }
}

pub(crate) fn spawn(case: &Case) -> Status {
    let lists = Lists::new(case);
    let list = |strings: &[CString]| -> Vec<Arg<'static>> {
        let args = strings.iter().map(|string| {
            // The leak is harmless, because the launcher ends soon.
            Arg::new(Box::leak(string.clone().into_boxed_c_str()))
        });
        args.chain([Arg::END]).collect()
    };
    let (argv, envp) = (list(&lists.argv), list(&lists.envp));
    let fds: Vec<_> = case.map.iter().map(|(from, to)| (borrowed(*from), *to)).collect();
    let mut spawn = Spawn::new(&lists.program, &argv, &envp).fd_maps(&fds);
    if let Some(folder) = &lists.folder {
        spawn = spawn.current_dir(folder);
    }
    if case.close_others {
        spawn = spawn.close_other_fds();
    }
    if case.session {
        spawn = spawn.setsid();
    }
    if let Some(group) = case.group {
        spawn = spawn.process_group(group_of(group));
    }
    if let Some(signals) = &case.signal_mask {
        spawn = spawn.signal_mask(set_of(signals));
    }
    if let Some(signals) = &case.defaults {
        spawn = spawn.default_signals(set_of(signals));
    }
    spawn.spawn().map(|child| ended(child).into_raw()).map_err(Failure::from)
}

pub(crate) fn posix_spawn(case: &Case) -> Status {
    const SETPGROUP: i16 = 0x02;
    const SETSIGDEF: i16 = 0x04;
    const SETSIGMASK: i16 = 0x08;
    const SETSID: i16 = 0x80;

    let lists = Lists::new(case);
    let list = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (list(&lists.argv), list(&lists.envp));
    let mut actions = Opaque([0; 1024]);
    let actions = &raw mut actions;
    // SAFETY: the memory is large enough, and the call initialises it.
    unsafe { libc::posix_spawn_file_actions_init(actions) };
    // SAFETY: the actions were initialised above.
    let dup2 = |from, to| unsafe { libc::posix_spawn_file_actions_adddup2(actions, from, to) };
    // SAFETY: the actions were initialised above.
    let close = |number| unsafe { libc::posix_spawn_file_actions_addclose(actions, number) };
    let steps = case.detours(&case.map);
    for (from, _, by) in &steps {
        by.map(|by| dup2(*from, by));
    }
    for (from, to, by) in &steps {
        let errno = dup2(by.unwrap_or(*from), *to);
        if errno != 0 {
            return Err(io::Error::from_raw_os_error(errno).into());
        }
    }
    steps.iter().filter_map(|(_, _, by)| *by).for_each(|by| _ = close(by));
    if case.close_others {
        let open = case.objects.iter().map(|(_, number, _)| *number);
        let kept = |number: &i32| *number < 3 || steps.iter().any(|(_, to, _)| to == number);
        open.filter(|number| !kept(number)).for_each(|number| _ = close(number));
    }
    if let Some(folder) = &lists.folder {
        // SAFETY: the actions were initialised above, and the call copies the string.
        unsafe { libc::posix_spawn_file_actions_addchdir_np(actions, folder.as_ptr()) };
    }
    let mut attributes = Opaque([0; 1024]);
    let attributes = &raw mut attributes;
    // SAFETY: the memory is large enough, and the call initialises it.
    unsafe { libc::posix_spawnattr_init(attributes) };
    let mut flags = SETSIGDEF | SETSIGMASK;
    if case.session {
        flags |= SETSID;
    }
    if let Some(group) = case.group {
        flags |= SETPGROUP;
        // SAFETY: the attributes were initialised above.
        unsafe { libc::posix_spawnattr_setpgroup(attributes, group_of(group)) };
    }
    let mask = SignalSet::new(case.signal_mask.as_deref().unwrap_or_default());
    // SAFETY: the attributes were initialised above, and the call copies the set.
    unsafe { libc::posix_spawnattr_setsigmask(attributes, &raw const mask) };
    let defaults = SignalSet::new(case.defaults.as_deref().unwrap_or(&[libc::SIGPIPE]));
    // SAFETY: the attributes were initialised above, and the call copies the set.
    unsafe { libc::posix_spawnattr_setsigdefault(attributes, &raw const defaults) };
    // SAFETY: the attributes were initialised above.
    unsafe { libc::posix_spawnattr_setflags(attributes, flags) };
    // `posix_spawnp` searches the `PATH` of this process's own environment.
    let own = replace_environ(envp.as_ptr());
    let (mut pid, mut status) = (0, 0);
    let (argv, envp) = (argv.as_ptr(), envp.as_ptr());
    let file = lists.program.as_ptr();
    // SAFETY: all arguments live until the call has returned.
    let errno = unsafe { libc::posix_spawnp(&raw mut pid, file, actions, attributes, argv, envp) };
    replace_environ(own);
    // SAFETY: the actions were initialised above and are not used again.
    unsafe { libc::posix_spawn_file_actions_destroy(actions) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno).into());
    }
    // SAFETY: the call writes one integer.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "the child's status");
    Ok(status)
}

/// Replaces the environment of this single-threaded process, and returns the old environment.
pub(crate) fn replace_environ(new: *const *const c_char) -> *const *const c_char {
    let place = &raw mut libc::environ;
    // SAFETY: the variable belongs to the C library, and no other thread reads it.
    unsafe { place.replace(new) }
}
