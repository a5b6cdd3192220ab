//! Applies random settings to a [`Command`] and compares the child's state with a model. The state includes
//! the arguments, environment, directory, files of the descriptors, ids, limits and signals. The child is a
//! program of this package that reports its state. If the model predicts a failure, the start must fail at
//! the predicted stage, with the predicted error, and without leaving a child.
//!
//! After the start, this process must have the same descriptors, signals and umask as before.
#![no_main]

mod model;
mod report;
mod world;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use model::Model;
use rawpipe::fd::{AsRawFd, OwnedFd};
use rawpipe::process::{Command, OnDrop, Resource, Rlimit, Signal, SignalSet, Stdio};
use report::Report;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use world::World;

#[derive(Arbitrary, Debug)]
struct Case {
    program: Program,
    /// The descriptors that are not close-on-exec.
    inheritable: Vec<(Source, u8)>,
    settings: Vec<Setting>,
    again: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Program {
    Name,
    Path,
    OtherPath,
    FromHere,
    Missing,
    NotExecutable,
    Folder,
    ThroughFile,
    Empty,
    WithNul,
}

#[derive(Arbitrary, Debug)]
enum Setting {
    Arg0(Vec<u8>),
    Arg(Vec<u8>),
    Env(Name, Vec<u8>),
    EnvRemove(Name),
    EnvClear,
    /// The directories of `PATH`, as indices into [`FOLDERS`].
    Path(Vec<u8>),
    CurrentDir(u8),
    Stream(u8, Stream),
    FdMap(Source, u8, Number),
    CloseOtherFds,
    Setsid,
    ProcessGroup(Group),
    Nice(u8),
    Rlimit(u8, u32, u32),
    Groups(Vec<u16>),
    Gid(Id),
    Uid(Id),
    Umask(u16),
    DeathSignal(u8),
    SignalMask(u64),
    DefaultSignals(u64),
    OnDrop(u8),
}

#[derive(Arbitrary, Debug)]
enum Name {
    A,
    B,
    Home,
    Empty,
    Equals,
    WithEquals,
    Any(Vec<u8>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Stream {
    Inherit,
    Null,
    Piped,
    Fd(Source, u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Source {
    File,
    Append,
    PipeReader,
    PipeWriter,
    Socket,
    Null,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Low(u8),
    Negative(i32),
    Last,
    Above(u8),
    Highest,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Group {
    Lead,
    Ours,
    Negative,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Id {
    Some(u16),
    Stay,
}

/// The possible directories for `PATH` and for the current directory. Relative paths are resolved in the
/// directory of the [`World`].
const FOLDERS: [&str; 8] = ["bin", "other", "", "closed", "file", "missing", "empty", "./bin/."];

const RESOURCES: [Resource; 6] = [
    Resource::CORE,
    Resource::LOCKS,
    Resource::MSGQUEUE,
    Resource::RSS,
    Resource::SIGPENDING,
    Resource::RTTIME,
];

impl Name {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::A => b"A",
            Self::B => b"BB",
            Self::Home => b"HOME",
            Self::Empty => b"",
            Self::Equals => b"=",
            Self::WithEquals => b"A=B",
            Self::Any(bytes) => bytes,
        }
    }
}

fn signals(bits: u64) -> SignalSet {
    (1..=64).filter(|number| bits >> (number - 1) & 1 == 1).filter_map(Signal::from_raw).collect()
}

fn text(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Applies one setting to the command and to the model of its child.
fn apply(world: &World, command: &mut Command<'_>, model: &mut Model, setting: &Setting) {
    match setting {
        Setting::Arg0(bytes) => {
            command.arg0(text(bytes));
            model.invalid |= bytes.contains(&0);
            model.arg0 = Some(bytes.clone());
        }
        Setting::Arg(bytes) => {
            command.arg(text(bytes));
            model.invalid |= bytes.contains(&0);
            model.args.push(bytes.clone());
        }
        Setting::Env(name, value) => {
            let name = name.bytes();
            command.env(text(name), text(value));
            let no_name = name.is_empty() || name[1..].contains(&b'=');
            model.invalid |= no_name || name.contains(&0) || value.contains(&0);
            model.variables.insert(name.to_vec(), value.clone());
        }
        Setting::EnvRemove(name) => {
            command.env_remove(text(name.bytes()));
            model.variables.remove(name.bytes());
        }
        Setting::EnvClear => {
            command.env_clear();
            model.variables.clear();
        }
        Setting::Path(folders) => {
            let path = world.path_variable(folders);
            command.env("PATH", text(&path));
            model.variables.insert(b"PATH".to_vec(), path);
        }
        Setting::CurrentDir(index) => {
            let folder = world.absolute(FOLDERS[usize::from(*index) % FOLDERS.len()]);
            command.current_dir(&folder);
            model.folder = Some(folder);
        }
        Setting::Stream(..) | Setting::FdMap(..) | Setting::CloseOtherFds => {
            apply_descriptors(world, command, model, setting);
        }
        Setting::Setsid => {
            command.setsid();
            model.session = true;
        }
        Setting::ProcessGroup(group) => {
            let number = match group {
                Group::Lead => 0,
                Group::Ours => world.group,
                Group::Negative => -7,
            };
            command.process_group(number);
            model.group = Some(number);
        }
        Setting::Nice(increment) => {
            let increment = i32::from(increment % 45);
            command.nice(increment);
            model.nice = increment;
        }
        Setting::Rlimit(index, soft, hard) => {
            let index = usize::from(*index) % RESOURCES.len();
            // Do not exceed the current hard limit, because not every root user has the privilege to raise
            // it.
            let hard = u64::from(*hard).min(world.least_hard_limit);
            let limit = Rlimit::new((*soft).into(), hard);
            command.rlimit(RESOURCES[index], limit);
            model.limits.push((RESOURCES[index], limit));
        }
        Setting::OnDrop(policy) => {
            let policies = [OnDrop::Leave, OnDrop::Reap, OnDrop::Kill, OnDrop::KillGroup];
            let policy = policies[usize::from(*policy) % policies.len()];
            command.on_drop(policy);
            model.needs_group = matches!(policy, OnDrop::KillGroup);
        }
        _ => apply_ids_and_signals(world, command, model, setting),
    }
}

fn apply_descriptors(world: &World, command: &mut Command<'_>, model: &mut Model, setting: &Setting) {
    match setting {
        Setting::Stream(which, stream) => {
            let which = usize::from(which % 3);
            let (stdio, expected): (Stdio<'_>, _) = match stream {
                Stream::Inherit => (Stdio::inherit(), model::Stream::Inherit),
                Stream::Null => (Stdio::null(), model::Stream::Null),
                Stream::Piped => (Stdio::piped(), model::Stream::Piped),
                Stream::Fd(source, at) => {
                    let fd = world.open(*source, *at);
                    let seen = model::Seen::of(&fd);
                    (fd.into(), model::Stream::Fd(seen))
                }
            };
            match which {
                0 => command.stdin(stdio),
                1 => command.stdout(stdio),
                _ => command.stderr(stdio),
            };
            model.streams[which] = expected;
        }
        Setting::FdMap(source, at, number) => {
            let fd = world.open(*source, *at);
            let number = match number {
                Number::Low(number) => i32::from(number % 64),
                Number::Negative(number) => *number | i32::MIN,
                Number::Last => world.limit - 1,
                Number::Above(more) => world.limit + i32::from(*more),
                Number::Highest => i32::MAX,
            };
            model.maps.push((fd.as_raw_fd(), model::Seen::of(&fd), number));
            command.fd_map(fd, number);
        }
        _ => {
            command.close_other_fds();
            model.close_others = true;
        }
    }
}

fn apply_ids_and_signals(
    world: &World,
    command: &mut Command<'_>,
    model: &mut Model,
    setting: &Setting,
) {
    match setting {
        Setting::Groups(groups) if world.may_change_ids => {
            let groups: Vec<u32> = groups.iter().take(20).map(|&group| group.into()).collect();
            command.groups(&groups);
            model.groups = Some(groups);
        }
        Setting::Gid(id) => {
            if let Some(id) = id.number(world) {
                command.gid(id);
                model.gid = Some(id);
            }
        }
        Setting::Uid(id) => {
            if let Some(id) = id.number(world) {
                command.uid(id);
                model.uid = Some(id);
            }
        }
        Setting::Umask(mask) => {
            command.umask((*mask).into());
            model.umask = Some(u32::from(*mask) & 0o777);
        }
        Setting::DeathSignal(number) => {
            if let Some(signal) = Signal::from_raw((*number).into()) {
                command.parent_death_signal(signal);
                model.death_signal = i32::from(*number);
            }
        }
        Setting::SignalMask(bits) => {
            command.signal_mask(signals(*bits));
            model.mask = *bits;
        }
        Setting::DefaultSignals(bits) => {
            command.default_signals(signals(*bits));
            model.defaults = *bits;
        }
        _ => {}
    }
}

impl Id {
    /// Returns the id. `Stay` is the id that the kernel treats as "no change". The command rejects this id.
    fn number(self, world: &World) -> Option<u32> {
        match self {
            Self::Stay => Some(u32::MAX),
            Self::Some(id) => world.may_change_ids.then_some(id.into()),
        }
    }
}

fuzz_target!(|case: Case| {
    let world = World::get();
    let before = world.state();
    {
        let inheritable: Vec<OwnedFd> = case
            .inheritable
            .iter()
            .take(20)
            .map(|(source, at)| world.open(*source, *at))
            .inspect(|fd| rawpipe::io::set_close_on_exec(fd, false).unwrap())
            .collect();
        let (program, invalid) = world.program(case.program);
        let mut command = Command::new(text(&program));
        let mut model = Model::new(program, invalid);
        for setting in case.settings.iter().take(60) {
            apply(world, &mut command, &mut model, setting);
        }
        for _ in 0..=u8::from(case.again) {
            world.clear_report();
            model.inherit();
            let expected = model.failure(world);
            match (command.spawn(), expected) {
                (Ok(mut child), None) => {
                    let pid = child.id();
                    model.check_ends(&child);
                    let (stdout, stderr) = (child.take_stdout(), child.take_stderr());
                    assert_eq!(child.wait().unwrap().code(), Some(42));
                    for end in [stdout, stderr].into_iter().flatten() {
                        assert_eq!(
                            end.read(&mut [0; 8]),
                            Ok(0),
                            "another process has the write end"
                        );
                    }
                    model.check(world, &Report::read(world), pid);
                }
                (Err(error), Some(expected)) => {
                    let told = (error.stage(), error.errno());
                    assert!(expected.contains(&told), "{told:?}, not {expected:?}");
                    assert!(world.is_report_empty(), "a program was started");
                }
                (result, expected) => panic!("{result:?}, not {expected:?}"),
            }
        }
        drop(inheritable);
    }
    assert_eq!(world.state(), before);
});
