//! Tests `Spawn`. The tests check the state that a child receives, and the ways in which starting a program
//! can fail. Each test runs in its own process. Most tests start this binary as a child that reports its own
//! state.
#![allow(unsafe_code, reason = "the C library's own view of a process")]

use crate::common::nr;
use crate::common::{self, Value, closed_fd, keep, skip, tmp_path};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rawpipe::io::{self, StdStream};
use rawpipe::process::{
    self, Arg, ExecFlags, Resource, Rlimit, Signal, SignalSet, Spawn, SpawnError, SpawnMethod,
    SpawnStage,
};
use rawpipe::{Errno, raw};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

unsafe extern "C" {
    safe fn getegid() -> u32;
    safe fn geteuid() -> u32;
    safe fn getgid() -> u32;
    safe fn getpgid(pid: i32) -> i32;
    safe fn getpriority(which: i32, who: u32) -> i32;
    safe fn getsid(pid: i32) -> i32;
    safe fn getuid() -> u32;
    fn getgroups(size: i32, list: *mut u32) -> i32;
    safe fn prctl(operation: i32, argument: usize, ...) -> i32;
    safe fn setuid(uid: u32) -> i32;
    safe fn signal(signal: i32, handler: usize) -> usize;
    safe fn umask(mask: u32) -> u32;
}

const SIG_IGN: usize = 1;
const PR_GET_PDEATHSIG: i32 = 2;
const PR_GET_DUMPABLE: i32 = 3;
const PR_SET_DUMPABLE: i32 = 4;

// ---- the started program ----

/// The signals that were ignored when this process started, before Rust's runtime changed the state of this
/// process.
static IGNORED: AtomicU64 = AtomicU64::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);
static BLOCKED: AtomicU64 = AtomicU64::new(0);
static STANDARD: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

#[used]
#[unsafe(link_section = ".init_array")]
static AT_THE_BEGINNING: extern "C" fn() = {
    extern "C" fn look() {
        for number in 1..=64_usize {
            let mut action = [0_usize; 8];
            let place = (&raw mut action).expose_provenance();
            // SAFETY: the call writes one `struct sigaction`, which fits into `action` on every target.
            let answer = unsafe { raw::syscall4(nr::RT_SIGACTION, number, 0, place, 8) };
            let bit = 1 << (number - 1);
            match action[0] {
                _ if answer != 0 => 0,
                0 => 0,
                SIG_IGN => IGNORED.fetch_or(bit, Ordering::SeqCst),
                _ => HANDLED.fetch_or(bit, Ordering::SeqCst),
            };
        }
        let mut mask = [0_usize; 8 / size_of::<usize>()];
        let place = (&raw mut mask).expose_provenance();
        // SAFETY: the call writes one signal set of 8 bytes.
        unsafe { raw::syscall4(nr::RT_SIGPROCMASK, 0, 0, place, 8) };
        for (index, word) in mask.iter().enumerate() {
            let shift = u32::try_from(index).unwrap_or(0) * usize::BITS;
            BLOCKED.fetch_or((*word as u64).wrapping_shl(shift), Ordering::SeqCst);
        }
        for (number, open) in STANDARD.iter().enumerate() {
            // SAFETY: the call has only integer arguments.
            let answer = unsafe { raw::syscall3(nr::FCNTL, number, 1, 0) };
            open.store(answer >= 0, Ordering::SeqCst);
        }
    }
    look
};

/// Prints the state of this process in lines of the form `name=value`. The function `main` calls this
/// function if this process has the role "report".
pub(crate) fn report() {
    let words: Vec<_> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    println!("args={}", words[1..].join("|"));
    println!("folder={}", env::current_dir().unwrap().display());
    for (name, value) in env::vars_os() {
        println!("env {}={}", name.to_string_lossy(), value.to_string_lossy());
    }
    for fd in common::open_fds() {
        let file = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap();
        println!("fd {fd}={}:{}", file.dev(), file.ino());
    }
    let standard: String =
        STANDARD.iter().map(|open| if open.load(Ordering::SeqCst) { '1' } else { '0' }).collect();
    println!("standard={standard}");
    println!("ignored={:x}", IGNORED.load(Ordering::SeqCst));
    println!("handled={:x}", HANDLED.load(Ordering::SeqCst));
    println!("blocked={:x}", BLOCKED.load(Ordering::SeqCst));
    println!("pid={}", std::process::id());
    println!("session={}", getsid(0));
    println!("group={}", getpgid(0));
    println!("nice={}", getpriority(0, 0));
    println!("umask={:o}", umask(0));
    println!("ids={},{},{},{}", getuid(), geteuid(), getgid(), getegid());
    let mut groups = [0; 64];
    // SAFETY: the call writes at most 64 group ids.
    let count = unsafe { getgroups(64, groups.as_mut_ptr()) };
    println!("groups={:?}", &groups[..usize::try_from(count).unwrap()]);
    let mut signal = 0_i32;
    prctl(PR_GET_PDEATHSIG, (&raw mut signal).expose_provenance());
    println!("death={signal}");
    println!("nofile={:?}", common::limits(Resource::NOFILE.as_raw()));
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    println!("cgroups={}", cgroups.replace('\n', ";"));
}

type Facts = BTreeMap<String, String>;

fn leak(string: impl Into<Vec<u8>>) -> &'static CStr {
    keep(CString::new(string).unwrap().into_boxed_c_str())
}

/// Returns a list of the strings, followed by the end marker. The list stays valid until the test ends.
fn list<S: Into<Vec<u8>>>(strings: impl IntoIterator<Item = S>) -> &'static [Arg<'static>] {
    let strings = strings.into_iter().map(|string| Arg::new(leak(string)));
    keep(strings.chain([Arg::END]).collect())
}

/// Returns the environment of this test with these variables added.
fn environment(more: &[&str]) -> &'static [Arg<'static>] {
    let own = env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name.into_vec()
    });
    list(own.chain(more.iter().map(|variable| variable.as_bytes().to_vec())))
}

/// Returns a `Spawn` that runs this program in the role "report". If an emulator is in use, the emulator runs
/// the program.
fn reporter(arguments: &[&str]) -> Spawn<'static> {
    let role = common::plain_program(&env::current_exe().unwrap());
    let program = leak(role.get_program().as_bytes());
    let words = [role.get_program()].into_iter().chain(role.get_args());
    let words = words.map(|word| word.as_bytes().to_vec());
    let argv = list(words.chain(arguments.iter().map(|word| word.as_bytes().to_vec())));
    Spawn::new(program, argv, reporter_environment())
}

fn reporter_environment() -> &'static [Arg<'static>] {
    let role = common::role_command("report");
    let set = role.get_envs().map(|(name, value)| {
        format!("{}={}", name.to_str().unwrap(), value.unwrap().to_str().unwrap())
    });
    let set: Vec<String> = set.collect();
    environment(&set.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Starts a child to which these descriptors are also mapped, and returns the child's report. The child
/// writes the report to its standard output.
fn facts_with(spawn: Spawn<'_>, fds: &[(BorrowedFd<'_>, RawFd)]) -> Facts {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let fds: Vec<_> = fds.iter().copied().chain([(writer.as_fd(), 1)]).collect();
    let mut child = spawn.fd_maps(&fds).spawn().unwrap_or_else(|error| panic!("{error}"));
    drop(writer);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    let facts = text.lines().filter_map(|line| line.split_once('='));
    facts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn facts(spawn: Spawn<'_>) -> Facts {
    facts_with(spawn, &[])
}

/// Returns the identity of a descriptor in the form that `facts` uses.
fn identity(fd: impl AsFd) -> String {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let file = fs::metadata(path).unwrap();
    format!("{}:{}", file.dev(), file.ino())
}

fn bits(fact: &str) -> u64 {
    u64::from_str_radix(fact, 16).unwrap()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

fn failure(spawn: Spawn<'_>) -> (SpawnStage, Errno) {
    let before = common::open_fds();
    let error = spawn.spawn().expect_err("a program that starts");
    assert_eq!(common::open_fds(), before, "descriptors after {error}");
    // The failed child must not remain as a zombie.
    assert_no_children();
    (error.stage(), error.errno())
}

fn assert_no_children() {
    const P_ALL: usize = 0;
    const WEXITED: usize = 4;
    const WNOHANG: usize = 1;
    let mut info = [0_u64; 16]; // a `siginfo_t`
    let place = (&raw mut info).expose_provenance();
    // SAFETY: the call writes to this address, which has 128 bytes.
    let answer = unsafe { raw::syscall5(nr::WAITID, P_ALL, 0, place, WEXITED | WNOHANG, 0) };
    assert_eq!(answer, -isize::try_from(Errno::ECHILD.raw_os_error()).unwrap(), "a child is left");
}

/// A file that has the given contents and mode. The file is removed when this value is dropped.
struct Script(std::path::PathBuf);

impl Script {
    fn new(contents: &[u8], mode: u32) -> Self {
        let path = tmp_path();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Self(path)
    }

    fn spawn(&self) -> Spawn<'static> {
        let path = leak(self.0.as_os_str().as_bytes());
        Spawn::new(path, list([path.to_bytes()]), list::<&str>([]))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

// ---- the state of a child ----

fn spawn_arguments_and_environment_are_as_given() {
    let arguments = ["one", "", "two words", "ünï", "--flag=|x"];
    let facts = facts(reporter(&arguments));
    assert_eq!(facts["args"], "one||two words|ünï|--flag=|x");
    let own: BTreeSet<_> = env::vars().map(|(name, _)| format!("env {name}")).collect();
    let given: BTreeSet<_> = facts.keys().filter(|key| key.starts_with("env ")).cloned().collect();
    assert!(given.is_superset(&own));
    assert_eq!(facts["standard"], "111");
}

fn spawn_shares_memory_whatever_is_asked() {
    let null = File::options().write(true).open("/dev/null").unwrap();
    let mut child = reporter(&[]).fd_maps(&[(null.as_fd(), 1)]).spawn().unwrap();
    assert_eq!(child.method(), SpawnMethod::Vfork);
    assert!(child.wait().unwrap().success());
}

fn spawn_current_dir_is_the_childs_only() {
    let before = env::current_dir().unwrap();
    assert_eq!(facts(reporter(&[]).current_dir(c"/dev"))["folder"], "/dev");
    assert_eq!(env::current_dir().unwrap(), before);
}

fn spawn_session_and_group() {
    let of = |spawn| {
        let facts = facts(spawn);
        let [pid, session, group] = ["pid", "session", "group"].map(|key| facts[key].clone());
        (session == pid, group == pid)
    };
    assert_eq!(of(reporter(&[])), (false, false));
    assert_eq!(of(reporter(&[]).process_group(0)), (false, true));
    assert_eq!(of(reporter(&[]).setsid()), (true, true));
    assert_eq!(of(reporter(&[]).setsid().process_group(0)), (true, true));
    let own = getpgid(0);
    let facts = facts(reporter(&[]).process_group(own));
    assert_eq!(facts["group"], own.to_string());
}

fn spawn_process_group_of_strangers_eperm() {
    // No process group in this session has this id.
    let (stage, errno) = failure(reporter(&[]).process_group(i32::MAX));
    assert_eq!((stage, errno), (SpawnStage::Setpgid, Errno::EPERM));
    assert_eq!(failure(reporter(&[]).process_group(-1)), (SpawnStage::Arguments, Errno::EINVAL));
}

fn spawn_umask_nice_and_limits() {
    if common::descriptors_without_limit("spawn_umask_nice_and_limits") {
        return;
    }
    let limits = [(Resource::NOFILE, Rlimit::new(50, 60)), (Resource::CORE, Rlimit::both(0))];
    let before = umask(0o22);
    let facts = facts(reporter(&[]).umask(0o137).nice(3).rlimits(&limits));
    assert_eq!(facts["umask"], "137");
    assert_eq!(facts["nofile"], "[50, 60]");
    let own = getpriority(0, 0);
    assert_eq!(facts["nice"], (own + 3).min(19).to_string());
    assert_eq!(umask(before), 0o22, "the parent's own is as it was");
}

fn spawn_limits_that_grow_eperm_einval() {
    let wrong = [(Resource::NOFILE, Rlimit::new(60, 50))];
    assert_eq!(
        failure(reporter(&[]).rlimits(&wrong)),
        (SpawnStage::Setrlimit(Resource::NOFILE), Errno::EINVAL)
    );
    let unknown = [(Resource::from_raw(999), Rlimit::both(1))];
    assert_eq!(
        failure(reporter(&[]).rlimits(&unknown)),
        (SpawnStage::Setrlimit(Resource::from_raw(999)), Errno::EINVAL)
    );
}

fn spawn_signals_are_reset() {
    extern "C" fn handler(_signal: i32) {}
    let handler = handler as extern "C" fn(i32) as usize;
    signal(Signal::USR1.as_raw(), handler);
    signal(Signal::USR2.as_raw(), SIG_IGN);
    signal(Signal::HUP.as_raw(), SIG_IGN);
    let default = facts(reporter(&[]));
    assert_eq!(bits(&default["handled"]), 0);
    let ignored = bits(&default["ignored"]);
    assert_eq!(ignored & bit(Signal::PIPE), 0, "ignored by this process, as in any Rust program");
    for kept in [Signal::USR2, Signal::HUP] {
        assert_ne!(ignored & bit(kept), 0, "{kept}");
    }
    assert_eq!(bits(&default["blocked"]), 0);

    let blocked = SignalSet::empty().with(Signal::TERM).with(Signal::from_raw(40).unwrap());
    let reset = SignalSet::empty().with(Signal::USR2);
    let asked = facts(reporter(&[]).signal_mask(blocked).default_signals(reset));
    let ignored = bits(&asked["ignored"]);
    assert_eq!(ignored & (bit(Signal::USR2) | bit(Signal::HUP)), bit(Signal::HUP));
    assert_ne!(ignored & bit(Signal::PIPE), 0, "not in the set");
    let mask = bits(&asked["blocked"]);
    assert_ne!(mask & bit(Signal::TERM), 0);
    if !common::emulated() {
        assert_eq!(mask, bit(Signal::TERM) | 1 << 39);
    }
}

fn spawn_signals_are_reset_one_by_one_without_clone3() {
    if !common::Filter::new(&[nr::CLONE3], Errno::ENOSYS).install() {
        return skip("spawn_signals_are_reset_one_by_one_without_clone3", "no seccomp here");
    }
    spawn_signals_are_reset();
}

fn spawn_leaves_the_threads_mask_as_it_was() {
    let mask = || {
        let mut mask = [0_usize; 8 / size_of::<usize>()];
        let place = (&raw mut mask).expose_provenance();
        // SAFETY: the call writes one signal set of 8 bytes.
        unsafe { raw::syscall4(nr::RT_SIGPROCMASK, 0, 0, place, 8) };
        mask
    };
    let before = mask();
    facts(reporter(&[]));
    assert_eq!(mask(), before);
    failure(reporter(&[]).current_dir(c"/no/such/folder"));
    assert_eq!(mask(), before);
}

fn spawn_user_group_and_groups() {
    if geteuid() != 0 {
        return skip("spawn_user_group_and_groups", "needs root, to become another user");
    }
    let dumpable = || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    assert_eq!(dumpable(), 1);
    let program = reachable();
    let spawn = program.spawn().uid(61_000).gid(62_000).groups(&[63_000, 63_001]);
    let given = facts(spawn);
    assert_eq!(given["ids"], "61000,61000,62000,62000");
    assert_eq!(given["groups"], "[63000, 63001]");
    // With `uid` but without `groups`, the child keeps none of its parent's groups.
    let given = facts(program.spawn().uid(61_000));
    assert_eq!((given["ids"].as_str(), given["groups"].as_str()), ("61000,61000,0,0", "[]"));
    assert_eq!(dumpable(), 1, "as it was");
    // Even if the child changes its user and then fails, the dumpable flag of this process is unchanged.
    assert_eq!(
        failure(program.spawn().uid(61_000).current_dir(c"/no/such/folder")),
        (SpawnStage::Chdir, Errno::ENOENT)
    );
    assert_eq!(dumpable(), 1);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    facts(program.spawn().uid(61_000));
    assert_eq!(dumpable(), 0, "as it was");
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/// Copies this program to a file that other users can execute.
fn reachable() -> Reachable {
    let path = tmp_path();
    fs::copy(env::current_exe().unwrap(), &path).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Reachable(path)
}

struct Reachable(std::path::PathBuf);

impl Reachable {
    fn spawn(&self) -> Spawn<'static> {
        let command = common::plain_program(&self.0);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let argv = list(words.map(|word| word.as_bytes().to_vec()));
        Spawn::new(leak(command.get_program().as_bytes()), argv, reporter_environment())
            .current_dir(c"/")
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn spawn_user_of_many_threads_leaves_dumpable() {
    let test = "spawn_user_of_many_threads_leaves_dumpable";
    if geteuid() != 0 {
        return skip(test, "needs root, to become another user");
    }
    if common::emulated() {
        return skip(test, "an emulator's child may wait for a lock of another thread's");
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for turn in 0..50 {
                    let spawn = Spawn::new(c"/no/such/program", list(["x"]), list::<&str>([]));
                    let error = spawn.uid(61_000 + turn % 2).spawn().unwrap_err();
                    assert_eq!(error.stage(), SpawnStage::Exec);
                }
            });
        }
    });
    assert_eq!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
}

fn spawn_user_without_the_right_eperm() {
    become_ordinary_user();
    assert_eq!(failure(reporter(&[]).uid(0)), (SpawnStage::Setuid, Errno::EPERM));
    assert_eq!(failure(reporter(&[]).gid(0)), (SpawnStage::Setgid, Errno::EPERM));
    assert_eq!(failure(reporter(&[]).groups(&[0])), (SpawnStage::Setgroups, Errno::EPERM));
    // The kernel interprets the id `u32::MAX` as "unchanged", so the crate rejects this id.
    for spawn in [reporter(&[]).uid(u32::MAX), reporter(&[]).gid(u32::MAX)] {
        assert_eq!(failure(spawn), (SpawnStage::Arguments, Errno::EINVAL));
    }
    assert_eq!(failure(reporter(&[]).nice(-5)), (SpawnStage::Nice, Errno::EACCES));
}

/// Drops root's `CAP_SETGID` and keeps `CAP_SETUID`.
fn drop_cap_setgid() {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_SETGID: u32 = 6;
    unsafe extern "C" {
        fn capget(header: *mut [u32; 2], sets: *mut [[u32; 3]; 2]) -> i32;
        fn capset(header: *mut [u32; 2], sets: *const [[u32; 3]; 2]) -> i32;
    }
    let (mut header, mut sets) = ([VERSION_3, 0], [[0; 3]; 2]);
    // SAFETY: both arguments have the sizes that the header's version specifies.
    assert_eq!(unsafe { capget(&raw mut header, &raw mut sets) }, 0);
    sets[0].iter_mut().for_each(|set| *set &= !(1 << CAP_SETGID));
    // SAFETY: both arguments have the sizes that the header's version specifies.
    assert_eq!(unsafe { capset(&raw mut header, &raw const sets) }, 0);
}

fn set_groups(groups: &[u32]) {
    let place = groups.as_ptr().expose_provenance();
    // SAFETY: the call only reads the list.
    assert_eq!(unsafe { raw::syscall2(nr::SETGROUPS, groups.len(), place) }, 0);
}

/// Checks the groups of children whose parent has the groups in `given` and cannot change them. The children
/// keep the parent's user or run as one of the users in `uids`.
fn groups_denied(given: &[u32], program: &Reachable, uids: &[u32]) {
    let groups_of = |spawn| facts(spawn)["groups"].clone();
    let denied = (SpawnStage::Setgroups, Errno::EPERM);
    let same: Vec<u32> = given.iter().chain(given).rev().copied().collect();
    let (sorted, none) = (format!("{given:?}"), given.is_empty());
    for uid in uids {
        let spawn = program.spawn().uid(*uid);
        if none {
            assert_eq!(groups_of(spawn), "[]");
        } else {
            assert_eq!(failure(spawn), denied);
            assert_eq!(failure(spawn.groups(&given[1..])), denied);
        }
        assert_eq!(groups_of(spawn.groups(&same)), sorted);
        assert_eq!(failure(spawn.groups(&[1, 2, 3])), denied);
    }
    assert_eq!(groups_of(program.spawn().groups(&same)), sorted);
    assert_eq!(groups_of(program.spawn()), sorted);
}

fn spawn_uid_without_cap_setgid_eperm() {
    if geteuid() != 0 || common::emulated() {
        let test = "spawn_uid_without_cap_setgid_eperm";
        return skip(test, "needs root, and no emulator");
    }
    let program = reachable();
    for given in [&[1, 2][..], &[]] {
        set_groups(given);
        let mut child = common::child(|| {
            drop_cap_setgid();
            groups_denied(given, &program, &[0, 61_000]);
            0
        });
        assert!(child.wait().unwrap().success(), "{given:?}");
    }
}

fn spawn_uid_where_setgroups_is_denied_eperm() {
    const CLONE_NEWUSER: usize = 0x1000_0000;
    let test = "spawn_uid_where_setgroups_is_denied_eperm";
    if geteuid() != 0 || common::emulated() {
        return skip(test, "needs root, and no emulator");
    }
    let program = reachable();
    for given in [&[][..], &[1, 2]] {
        set_groups(given);
        let mut child = common::child(|| {
            // SAFETY: the call has only an integer argument.
            if unsafe { raw::syscall1(nr::UNSHARE, CLONE_NEWUSER) } != 0 {
                return 77;
            }
            let maps = [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")];
            maps.iter().for_each(|(name, text)| {
                fs::write(format!("/proc/self/{name}"), text).unwrap();
            });
            if given.is_empty() {
                groups_denied(given, &program, &[0]);
            } else {
                // The namespace does not map groups 1 and 2.
                assert_eq!(failure(program.spawn().uid(0)), (SpawnStage::Setgroups, Errno::EPERM));
                assert_eq!(facts(program.spawn())["groups"], "[65534, 65534]");
            }
            0
        });
        match child.wait().unwrap().code() {
            Some(77) => return skip(test, "no user namespace can be created here"),
            code => assert_eq!(code, Some(0), "{given:?}"),
        }
    }
}

/// If an unprivileged process requests its current user id for a child, the child keeps the groups of this
/// process.
fn spawn_uid_of_ones_own_keeps_the_groups() {
    let uid = getuid();
    if uid != 0 {
        let given = facts(reporter(&[]));
        assert_eq!(facts(reporter(&[]).uid(uid))["groups"], given["groups"]);
        return;
    }
    let program = reachable();
    set_groups(&[1, 2]);
    assert_eq!(setuid(61_000), 0);
    assert_eq!(facts(program.spawn().uid(61_000))["groups"], "[1, 2]");
    assert_eq!(failure(program.spawn().uid(61_001)), (SpawnStage::Setgroups, Errno::EPERM));
}

/// Changes to an unprivileged user id that no other process uses, if this process is root.
fn become_ordinary_user() {
    if geteuid() == 0 {
        let uid = 0x3_0000 + std::process::id() % 0x1_0000;
        // SAFETY: the call has only integer arguments.
        let groups = unsafe { raw::syscall2(nr::SETGROUPS, 0, 0) };
        // SAFETY: the call has only integer arguments.
        let gid = unsafe { raw::syscall3(nr::SETRESGID, 65534, 65534, 65534) };
        assert_eq!((groups, gid, setuid(uid)), (0, 0, 0));
    }
}

fn spawn_death_signal_is_set_also_with_another_user() {
    let given = facts(reporter(&[]).parent_death_signal(Signal::TERM));
    assert_eq!(given["death"], Signal::TERM.as_raw().to_string());
    if geteuid() == 0 {
        let program = reachable();
        let given = facts(program.spawn().uid(61_000).parent_death_signal(Signal::TERM));
        assert_eq!(given["death"], Signal::TERM.as_raw().to_string());
        assert_eq!(given["ids"], "61000,61000,0,0");
    }
}

fn spawn_death_signal_arrives() {
    // This process creates a parent, which ends while its own child waits for a line from the `gate` pipe.
    // This process holds the pipe's write end, so the child's wait does not end when the parent dies.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (gate, keeper) = rawpipe::pipe().unwrap();
    let (word, to_say) = rawpipe::pipe().unwrap();
    let copy = &to_say;
    let mut parent = common::child(move || {
        common::close_copy(copy);
        let fds = [(gate.as_fd(), 0), (writer.as_fd(), 5)];
        let argv = list(["sh", "-c", "echo up >&5; read line; echo late >&5"]);
        let spawn = Spawn::new(c"sh", argv, list::<&str>([]));
        std::mem::forget(spawn.fd_maps(&fds).parent_death_signal(Signal::KILL).spawn());
        word.read(&mut [0]).map_or(1, |_| 0)
    });
    let mut text = [0; 3];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"up\n");
    to_say.write_all(b"x").unwrap();
    // The kernel sends the death signal before it reports that the parent has ended.
    assert!(parent.wait().unwrap().success());
    drop(keeper);
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest), Ok(0), "{rest:?}");
}

/// Creates a PID namespace for the later children of this process. This process has no id in that namespace.
/// Skips the test and returns false if the namespace cannot be created.
fn new_pid_namespace(test: &str) -> bool {
    const CLONE_NEWPID: usize = 0x2000_0000;
    // SAFETY: the call has only an integer argument.
    let new = unsafe { raw::syscall1(nr::UNSHARE, CLONE_NEWPID) } == 0;
    if !new {
        skip(test, "needs root, to create a PID namespace");
    }
    new
}

fn spawn_death_signal_in_a_new_pid_namespace() {
    if !new_pid_namespace("spawn_death_signal_in_a_new_pid_namespace") {
        return;
    }
    let argv = list(["sh", "-c", "exit 7"]);
    let spawn = Spawn::new(c"sh", argv, list::<&str>([])).parent_death_signal(Signal::TERM);
    assert_eq!(spawn.close_other_fds().spawn().unwrap().wait().unwrap().code(), Some(7));
    common::end_without_a_look_at_leaks(); // the namespace has no first process, so no fork succeeds
}

/// Starts a child, and kills its parent before the child sets its death signal. Returns whether the child's
/// program starts. Returns `None` if the namespace cannot be created, or if the kernel does not show where
/// the child waits.
fn begins_without_its_parent(namespace: bool) -> Option<bool> {
    let (reader, writer) = rawpipe::pipe().unwrap();
    // The child writes to this full pipe instead of the file of its control group, and therefore blocks.
    let (drain, full) = rawpipe::pipe().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let (ready, tell) = rawpipe::pipe().unwrap();
    let mut parent = common::child(|| {
        if namespace && !new_pid_namespace("spawn_death_signal_of_a_parent_that_has_ended") {
            return 77;
        }
        tell.write_all(b"!").unwrap();
        let argv = list(["sh", "-c", "echo begun >&5"]);
        let spawn = Spawn::new(c"/bin/sh", argv, list::<&str>([])).cgroup_procs(full.as_fd());
        let fds = [(writer.as_fd(), 5)];
        u8::from(spawn.fd_maps(&fds).parent_death_signal(Signal::TERM).spawn().is_ok())
    });
    drop((tell, writer, full));
    if ready.read(&mut [0]) != Ok(1) {
        return None;
    }
    let children = || {
        let pid = parent.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
    };
    // Waits until the only child blocks in its write. Not every kernel reports where a process waits.
    let begun = Instant::now();
    let mut writes = false;
    while !writes && begun.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(1));
        let place = fs::read_to_string(format!("/proc/{}/wchan", children().trim()));
        writes = place.is_ok_and(|place| place.contains("pipe_write"));
    }
    parent.kill().unwrap();
    assert_eq!(parent.wait().unwrap().signal(), Some(Signal::KILL));
    let mut rest = Vec::new();
    // The child also holds a write end until it ends or its program starts.
    drain.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.last(), Some(&b'0'), "the child has continued");
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    writes.then(|| text == b"begun\n")
}

fn spawn_death_signal_of_a_parent_that_has_ended() {
    let pid = std::process::id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let wchan = fs::read_to_string("/proc/self/wchan");
    if children.is_err() || wchan.is_err() || common::in_front().is_some() {
        let test = "spawn_death_signal_of_a_parent_that_has_ended";
        return skip(test, "the kernel does not say where a child is");
    }
    match begins_without_its_parent(false) {
        None => {
            skip("spawn_death_signal_of_a_parent_that_has_ended", "no place of a child is shown")
        }
        begins => assert_eq!(begins, Some(false)),
    }
    assert_ne!(begins_without_its_parent(true), Some(true));
}

fn spawn_control_group() {
    let Some((folder, name)) = own_cgroup() else {
        return skip("spawn_control_group", "no control group can be made here");
    };
    let file = File::options().write(true).open(folder.join("cgroup.procs")).unwrap();
    let given = facts(reporter(&[]).cgroup_procs(file.as_fd()));
    fs::remove_dir(&folder).unwrap();
    assert!(given["cgroups"].contains(&name), "{}", given["cgroups"]);
    assert!(!fs::read_to_string("/proc/self/cgroup").unwrap().contains(&name));
    // The child cannot write its process id to a pipe's read end.
    let (reader, _writer) = rawpipe::pipe().unwrap();
    assert_eq!(
        failure(reporter(&[]).cgroup_procs(reader.as_fd())),
        (SpawnStage::Cgroup, Errno::EBADF)
    );
}

/// Creates a control group for this test, if possible.
fn own_cgroup() -> Option<(std::path::PathBuf, String)> {
    let name = format!("rawpipe-test-{}", std::process::id());
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"].into_iter().find_map(|at| {
        let folder = Path::new(at).join(&name);
        fs::create_dir(&folder).ok()?;
        if folder.join("cgroup.procs").exists() {
            return Some((folder, name.clone()));
        }
        let _ = fs::remove_dir(&folder);
        None
    })
}

// ---- descriptors ----

/// Opens `count` distinct files, whose descriptors are all close-on-exec.
fn files(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| OwnedFd::from(common::file(b""))).collect()
}

fn spawn_fds_every_permutation() {
    let files = files(3);
    let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let (a, b, c) = (numbers[0], numbers[1], numbers[2]);
    let permutations =
        [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a], [b, c, 200], [9, a, 2]];
    for targets in permutations {
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).zip(targets).collect();
        let given = facts_with(reporter(&[]), &fds);
        for (file, number) in &fds {
            assert_eq!(given[&format!("fd {number}")], identity(file), "{targets:?}");
        }
        let unmapped = numbers.iter().find(|number| !targets.contains(number));
        if let Some(number) = unmapped {
            assert_eq!(given.get(&format!("fd {number}")), None, "{targets:?}");
        }
    }
    let kept: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    assert_eq!(kept, numbers);
    assert!(files.iter().all(|file| io::is_close_on_exec(file).unwrap()));
}

fn spawn_fds_one_at_several_numbers_and_a_hundred() {
    let files = files(100);
    let one = [(files[0].as_fd(), 40), (files[0].as_fd(), 3), (files[0].as_fd(), 0)];
    let given = facts_with(reporter(&[]), &one);
    for (file, number) in one {
        assert_eq!(given[&format!("fd {number}")], identity(file));
    }
    // The mapping gives each file the descriptor number of the next file, and is a cycle of a hundred
    // descriptors.
    let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let next = numbers.iter().cycle().skip(1).copied();
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).zip(next).collect();
    let given = facts_with(reporter(&[]), &fds);
    for (file, number) in &fds {
        assert_eq!(given[&format!("fd {number}")], identity(file));
    }
}

fn spawn_fds_close_on_exec_ones_are_not_inherited() {
    let files = files(1);
    let (kept, _) = rawpipe::pipe2(rawpipe::PipeFlags::empty()).unwrap();
    let given = facts(reporter(&[]));
    assert_eq!(given.get(&format!("fd {}", files[0].as_raw_fd())), None);
    assert_eq!(given[&format!("fd {}", kept.as_raw_fd())], identity(&kept));
}

fn spawn_close_other_fds_leaves_what_is_mapped() {
    if common::emulated() {
        let test = "spawn_close_other_fds_leaves_what_is_mapped";
        return skip(test, "an emulator has descriptors of its own");
    }
    let check = || {
        let file = File::open("/").unwrap();
        let loose: Vec<_> =
            (0..5).map(|_| rawpipe::pipe2(rawpipe::PipeFlags::empty()).unwrap()).collect();
        for numbers in [&[][..], &[3], &[5, 100], &[2, 4, 8]] {
            let fds: Vec<_> = numbers.iter().map(|number| (file.as_fd(), *number)).collect();
            let given = facts_with(reporter(&[]).close_other_fds(), &fds);
            let open: BTreeSet<RawFd> = given
                .keys()
                .filter_map(|key| key.strip_prefix("fd ").map(|number| number.parse().unwrap()))
                .collect();
            let expected: BTreeSet<RawFd> =
                [0, 1, 2].into_iter().chain(numbers.iter().copied()).collect();
            assert_eq!(open, expected);
        }
        drop(loose);
    };
    check();
    // The result is the same if the kernel lacks `close_range`.
    if common::Filter::new(&[nr::CLOSE_RANGE], Errno::ENOSYS).install() {
        check();
    }
}

fn spawn_fds_with_the_standard_ones_closed_here() {
    // The child closes its standard streams, creates a pipe, and moves the pipe's ends to the numbers 0 and
    // 1.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (r, w) = (reader.as_raw_fd(), writer.as_raw_fd());
    assert!(r > 2 && w > 2);
    let mut child = common::child(|| {
        for number in 0..3 {
            // SAFETY: `close` accesses no memory, and this child does not use the three descriptors.
            unsafe { raw::syscall1(nr::CLOSE, number) };
        }
        let (near, far) = rawpipe::pipe().unwrap();
        let ok = near.as_raw_fd() > 2 && far.as_raw_fd() > 2;
        let placed = [io::redirect(&near, StdStream::Stdin), io::redirect(&far, StdStream::Stdout)];
        let ok = ok && placed == [Ok(()); 2];
        drop((near, far));
        // SAFETY: the lines above have opened these descriptors.
        let [near, far] = [0, 1].map(|number| unsafe { BorrowedFd::borrow_raw(number) });
        // The spawn moves the read end to 1, the write end to 0, and `writer` to 2. If the spawn uses an
        // error channel, that channel needs a number above 2.
        let fds = [(near, 1), (far, 0), (writer.as_fd(), 2)];
        let argv = list(["sh", "-c", "echo through >&0; read line <&1; echo got $line >&2"]);
        let spawned = Spawn::new(c"sh", argv, list::<&str>([])).fd_maps(&fds).spawn();
        let wrong = Spawn::new(c"/no/such/program", argv, list::<&str>([])).fd_maps(&fds).spawn();
        let told = matches!(wrong, Err(error) if error.stage() == SpawnStage::Exec);
        let ended = spawned.is_ok_and(|mut child| child.wait().is_ok_and(|end| end.success()));
        u8::from(!(ok && told && ended))
    });
    drop(writer);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(String::from_utf8_lossy(&text), "got through\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn spawn_fds_closed_one_ebadf() {
    let (stage, errno) = failure(reporter(&[]).fd_maps(&[(closed_fd(), 5)]));
    assert_eq!(
        (stage, errno),
        (SpawnStage::Dup { from: closed_fd().as_raw_fd(), to: 5 }, Errno::EBADF)
    );
    let same = closed_fd().as_raw_fd();
    let (stage, errno) = failure(reporter(&[]).fd_maps(&[(closed_fd(), same)]));
    assert_eq!((stage, errno), (SpawnStage::Dup { from: same, to: same }, Errno::EBADF));
}

fn spawn_fds_number_beyond_the_limit_ebadf() {
    let file = File::open("/").unwrap();
    let to = 1 << 30;
    let (stage, errno) = failure(reporter(&[]).fd_maps(&[(file.as_fd(), to)]));
    assert_eq!((stage, errno), (SpawnStage::Dup { from: file.as_raw_fd(), to }, Errno::EBADF));
    // The child copies the file first, because its number is a target. The error names the file's number.
    let other = File::open("/").unwrap();
    let fds = [(file.as_fd(), to), (other.as_fd(), file.as_raw_fd())];
    let (stage, errno) = failure(reporter(&[]).fd_maps(&fds));
    assert_eq!((stage, errno), (SpawnStage::Dup { from: file.as_raw_fd(), to }, Errno::EBADF));
}

/// Makes 39 the highest possible descriptor number. Even the first spawn of this process must work with this
/// limit.
fn limit_of_40() {
    common::set_limits(Resource::NOFILE.as_raw(), [40; 2]);
}

fn spawn_fds_highest_number() {
    if common::descriptors_without_limit("spawn_fds_highest_number") {
        return;
    }
    limit_of_40();
    let file = common::file(b"");
    for _ in ["the first", "later"] {
        let given = facts_with(reporter(&[]), &[(file.as_fd(), 39)]);
        assert_eq!(given["fd 39"], identity(&file));
    }
}

fn spawn_fds_permutation_with_the_highest_number() {
    if common::descriptors_without_limit("spawn_fds_permutation_with_the_highest_number") {
        return;
    }
    limit_of_40();
    let low = common::file(b"");
    let other = common::file(b"");
    let from = usize::try_from(other.as_raw_fd()).unwrap();
    // SAFETY: all arguments are integers, and descriptor 39 has no owner.
    assert_eq!(unsafe { raw::syscall3(nr::DUP3, from, 39, 0) }, 39);
    // SAFETY: the descriptor is new and has no other owner.
    let high = unsafe { <OwnedFd as rawpipe::fd::FromRawFd>::from_raw_fd(39) };
    let (low_identity, high_identity) = (identity(&low), identity(&high));
    let swapped = [(low.as_fd(), 39), (high.as_fd(), low.as_raw_fd())];
    for _ in ["the first", "later"] {
        let given = facts_with(reporter(&[]), &swapped);
        assert_eq!(given["fd 39"], low_identity);
        assert_eq!(given[&format!("fd {}", low.as_raw_fd())], high_identity);
    }
    // If `spawn` uses a fork, the child reports errors through a pipe. The pipe's write end is moved to a
    // free number if its number is a target.
    if refuse_shared_memory(Errno::EPERM) {
        let file = common::file(b"");
        let free = common::file(b"").as_raw_fd(); // the error pipe will receive this number
        let targets = [free, free + 1, free + 2, 38, 39];
        let fds: Vec<_> = targets.iter().map(|number| (file.as_fd(), *number)).collect();
        let given = facts_with(reporter(&[]), &fds);
        targets
            .iter()
            .for_each(|number| assert_eq!(given[&format!("fd {number}")], identity(&file)));
        let nowhere = reporter(&[]).fd_maps(&fds).current_dir(c"/no/such/folder");
        assert_eq!(failure(nowhere), (SpawnStage::Chdir, Errno::ENOENT));
    }
}

/// If all numbers below the limit are in use, exchanging two descriptors fails with `EMFILE`, because the
/// exchange needs a temporary copy.
fn spawn_fds_without_a_number_left() {
    if common::descriptors_without_limit("spawn_fds_without_a_number_left") {
        return;
    }
    if common::emulated() {
        return skip("spawn_fds_without_a_number_left", "an emulator needs some itself");
    }
    let script = Spawn::new(c"/bin/sh", list(["sh", "-c", "exit 5"]), list::<&str>([]));
    let missing = Spawn::new(c"/no/such/program", list(["x"]), list::<&str>([]));
    limit_of_40();
    let mut taken = vec![];
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let (a, b) = (taken[0].as_fd(), taken[1].as_fd());
    let swapped = [(a, b.as_raw_fd()), (b, a.as_raw_fd())];
    let swap = SpawnStage::Dup { from: swapped[1].0.as_raw_fd(), to: swapped[1].1 };
    for _ in ["the first", "later"] {
        // Neither starting a program nor reporting that the program is missing needs a free descriptor
        // number.
        assert_eq!(script.spawn().unwrap().wait().unwrap().code(), Some(5));
        let error = missing.spawn().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT));
        let error = script.fd_maps(&swapped).spawn().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (swap, Errno::EMFILE));
    }
    let error = script.uid(getuid()).spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Channel, Errno::EMFILE));
    assert!(File::open("/dev/null").is_err());
    drop(taken);
    assert_no_children();
}

fn spawn_fds_number_twice_or_negative_einval() {
    let file = File::open("/").unwrap();
    for numbers in [[7, 7], [-1, 7]] {
        let fds = numbers.map(|number| (file.as_fd(), number));
        assert_eq!(failure(reporter(&[]).fd_maps(&fds)), (SpawnStage::Arguments, Errno::EINVAL));
    }
}

// ---- programs that do not start ----

fn spawn_program_that_is_none() {
    let nowhere = Spawn::new(c"/no/such/program", list(["x"]), list::<&str>([]));
    assert_eq!(failure(nowhere), (SpawnStage::Exec, Errno::ENOENT));
    let unnamed = Spawn::new(c"", list(["x"]), list::<&str>([]));
    assert_eq!(failure(unnamed), (SpawnStage::Exec, Errno::ENOENT));
    let folder = Spawn::new(c"/", list(["x"]), list::<&str>([]));
    assert_eq!(failure(folder), (SpawnStage::Exec, Errno::EACCES));
    let below_a_file = Spawn::new(c"/dev/null/x", list(["x"]), list::<&str>([]));
    assert_eq!(failure(below_a_file), (SpawnStage::Exec, Errno::ENOTDIR));
    let long = leak("x".repeat(5000));
    assert_eq!(
        failure(Spawn::new(leak(format!("/{}", "x".repeat(5000))), list(["x"]), list::<&str>([]))),
        (SpawnStage::Exec, Errno::ENAMETOOLONG)
    );
    assert_eq!(
        failure(Spawn::new(long, list(["x"]), list::<&str>([]))),
        (SpawnStage::Exec, Errno::ENOENT)
    );
}

fn spawn_file_that_is_no_program() {
    let closed = Script::new(b"#!/bin/sh\nexit 0\n", 0o644);
    assert_eq!(failure(closed.spawn()), (SpawnStage::Exec, Errno::EACCES));
    let plain = Script::new(b"exit 0\n", 0o755);
    assert_eq!(failure(plain.spawn()), (SpawnStage::Exec, Errno::ENOEXEC));
    let good = Script::new(b"#!/bin/sh\nexit 9\n", 0o755);
    assert_eq!(good.spawn().spawn().unwrap().wait().unwrap().code(), Some(9));
    if dies_of_exec("spawn_file_that_is_no_program") {
        return;
    }
    let empty = Script::new(b"", 0o755);
    assert_eq!(failure(empty.spawn()), (SpawnStage::Exec, Errno::ENOEXEC));
    let lost = Script::new(b"#!/no/such/interpreter\n", 0o755);
    assert_eq!(failure(lost.spawn()), (SpawnStage::Exec, Errno::ENOENT));
}

fn spawn_program_open_for_writing_etxtbsy() {
    if dies_of_exec("spawn_program_open_for_writing_etxtbsy") {
        return;
    }
    let script = Script::new(b"", 0o755);
    fs::copy("/bin/true", &script.0).unwrap();
    let writer = File::options().append(true).open(&script.0).unwrap();
    assert_eq!(failure(script.spawn()), (SpawnStage::Exec, Errno::ETXTBSY));
    drop(writer);
    assert!(script.spawn().spawn().unwrap().wait().unwrap().success());
}

/// Skips the test and returns true if this process runs under Valgrind. Valgrind dies when certain calls to
/// `execve` fail.
fn dies_of_exec(test: &str) -> bool {
    let dies = common::tool() == Some(common::Tool::Valgrind);
    if dies {
        skip(test, "Valgrind dies of an execve that it did not expect to fail");
    }
    dies
}

fn spawn_arguments_too_long_e2big() {
    if dies_of_exec("spawn_arguments_too_long_e2big") {
        return;
    }
    // Since Linux 2.6.23 one string can occupy at most 32 pages.
    let page = 1 << 16; // at least one page on every supported target
    let long = "x".repeat(33 * page);
    let spawn = Spawn::new(c"/bin/sh", list(["sh", &long]), list::<&str>([]));
    assert_eq!(failure(spawn), (SpawnStage::Exec, Errno::E2BIG));
}

fn spawn_list_without_end_einval() {
    let argv = [Arg::new(c"sh")];
    let good = list(["sh"]);
    for (argv, envp) in [(&argv[..], good), (good, &argv[..]), (&[][..], good), (good, &[][..])] {
        let spawn = Spawn::new(c"/bin/sh", argv, envp);
        assert_eq!(failure(spawn), (SpawnStage::Arguments, Errno::EINVAL));
        assert_eq!(process::execve(c"/bin/sh", argv, envp), Err(Errno::EINVAL));
    }
    // The kernel stops at the first end marker, so this argument list is empty.
    let nameless = [Arg::END, Arg::new(c"sh"), Arg::END];
    let spawn = Spawn::new(c"/bin/sh", &nameless, good);
    assert_eq!(failure(spawn), (SpawnStage::Arguments, Errno::EINVAL));
}

fn spawn_folder_missing_enoent() {
    assert_eq!(
        failure(reporter(&[]).current_dir(c"/no/such/folder")),
        (SpawnStage::Chdir, Errno::ENOENT)
    );
    assert_eq!(
        failure(reporter(&[]).current_dir(c"/dev/null")),
        (SpawnStage::Chdir, Errno::ENOTDIR)
    );
}

// ---- the search ----

fn spawn_search_takes_the_path_of_the_child() {
    let folder = tmp_path();
    let [first, second] = ["a", "b"].map(|name| folder.join(name));
    for (at, mode, code) in [(&first, 0o644, 1), (&second, 0o755, 2)] {
        fs::create_dir_all(at).unwrap();
        fs::write(at.join("prog"), format!("#!/bin/sh\nexit {code}\n")).unwrap();
        fs::set_permissions(at.join("prog"), PermissionsExt::from_mode(mode)).unwrap();
    }
    let [a, b] = [first.to_str().unwrap(), second.to_str().unwrap()];
    let code = |path: String| {
        let spawn = Spawn::new(c"prog", list(["prog"]), list([path]));
        spawn.spawn().map(|mut child| child.wait().unwrap().code().unwrap())
    };
    // The search skips files that cannot be executed. If the search finds only such files, it fails with
    // `EACCES`.
    assert_eq!(code(format!("PATH={a}:{b}")), Ok(2));
    let error = |stage, errno: Errno| (stage, errno);
    let failed = |path: String| code(path).map_err(|e| error(e.stage(), e.errno()));
    assert_eq!(failed(format!("PATH={a}:/no/such/folder")), Err((SpawnStage::Exec, Errno::EACCES)));
    assert_eq!(failed(format!("PATH={b}x:/dev/null")), Err((SpawnStage::Exec, Errno::ENOENT)));
    assert_eq!(failed("NOPATH=x".to_owned()), Err((SpawnStage::Exec, Errno::ENOENT)));
    // An empty entry in `PATH` refers to the child's current directory.
    let spawn = Spawn::new(c"prog", list(["prog"]), list(["PATH=:/bin"]));
    let there = leak(second.as_os_str().as_bytes());
    assert_eq!(spawn.current_dir(there).spawn().unwrap().wait().unwrap().code(), Some(2));
    // Without `PATH`, the search uses the directories of [`process::DEFAULT_PATH`].
    let spawn = Spawn::new(c"sh", list(["sh", "-c", "exit 6"]), list::<&str>([]));
    assert_eq!(spawn.spawn().unwrap().wait().unwrap().code(), Some(6));
    fs::remove_dir_all(&folder).unwrap();
}

// ---- missing system calls ----

fn spawn_as_many_processes_as_allowed_eagain() {
    if common::emulated() {
        return skip("spawn_as_many_processes_as_allowed_eagain", "an emulator has threads");
    }
    become_ordinary_user();
    common::set_limits(Resource::NPROC.as_raw(), [0; 2]);
    assert_eq!(failure(reporter(&[])), (SpawnStage::Clone, Errno::EAGAIN));
    common::end_without_a_look_at_leaks();
}

fn spawn_without_memory_enomem() {
    if common::emulated() {
        return skip("spawn_without_memory_enomem", "an emulator needs the memory itself");
    }
    let spawn = Spawn::new(c"/bin/true", list(["true"]), list::<&str>([]));
    common::set_limits(Resource::AS.as_raw(), [1 << 20; 2]); // less than the process already uses
    let error = spawn.spawn().map(drop).unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Stack, Errno::ENOMEM));
    common::end_without_a_look_at_leaks();
}

/// If the guard page cannot be set up, every spawn fails. A spawn does not reuse the stack of a failed spawn.
fn spawn_without_a_guard_page_enomem() {
    let spawn = Spawn::new(c"/bin/true", list(["true"]), list::<&str>([]));
    if !common::Filter::new(&[nr::MPROTECT], Errno::ENOMEM).install() {
        return skip("spawn_without_a_guard_page_enomem", "filters do not work here");
    }
    for _ in 0..2 {
        assert_eq!(failure(spawn), (SpawnStage::Stack, Errno::ENOMEM));
    }
}

/// Installs filters that reject every `clone` call with `CLONE_VM` set, and every `clone3` call. A filter
/// cannot see the flags of `clone3`. Returns whether the filters were installed.
fn refuse_shared_memory(errno: Errno) -> bool {
    let index = if cfg!(target_arch = "s390x") { 1 } else { 0 }; // on s390x the flags follow the stack
    // Valgrind turns a `clone` with `CLONE_VM` into a fork, so a filter cannot recognise the call.
    common::tool() != Some(common::Tool::Valgrind)
        && common::Filter::on_argument(nr::CLONE, index, Value::Has(0x100), errno).install()
        && common::Filter::new(&[nr::CLONE3], Errno::ENOSYS).install()
}

fn by_fork() {
    let null = File::options().write(true).open("/dev/null").unwrap();
    let mut child = reporter(&[]).fd_maps(&[(null.as_fd(), 1)]).spawn().unwrap();
    assert_eq!(child.method(), SpawnMethod::Fork);
    assert!(child.wait().unwrap().success());
    // The child reports errors through a pipe. The pipe's write end must be moved away from the target
    // numbers below.
    let file = File::open("/").unwrap();
    let fds: Vec<_> = (3..40).map(|number| (file.as_fd(), number)).collect();
    let given = facts_with(reporter(&["x"]), &fds);
    assert_eq!((given["args"].as_str(), &given["fd 39"]), ("x", &identity(&file)));
    assert_eq!(
        failure(reporter(&[]).fd_maps(&fds).close_other_fds().current_dir(c"/no/such/folder")),
        (SpawnStage::Chdir, Errno::ENOENT)
    );
    let nowhere = Spawn::new(c"/no/such/program", list(["x"]), list::<&str>([]));
    assert_eq!(failure(nowhere.close_other_fds()), (SpawnStage::Exec, Errno::ENOENT));
    let beyond = (file.as_fd(), 1 << 30);
    let (stage, errno) = failure(reporter(&[]).fd_maps(&[beyond]));
    assert_eq!(
        (stage, errno),
        (SpawnStage::Dup { from: file.as_raw_fd(), to: beyond.1 }, Errno::EBADF)
    );
}

fn spawn_shared_memory_refused_eperm_forks() {
    if !refuse_shared_memory(Errno::EPERM) {
        return skip("spawn_shared_memory_refused_eperm_forks", "no filter here that sees it");
    }
    by_fork();
}

fn spawn_shared_memory_refused_enosys_later_forks() {
    // The first spawn uses shared memory. If a filter then rejects shared memory, later spawns must fall back
    // to a fork.
    facts(reporter(&[]));
    if !refuse_shared_memory(Errno::ENOSYS) {
        return skip(
            "spawn_shared_memory_refused_enosys_later_forks",
            "no filter here that sees it",
        );
    }
    by_fork();
}

fn spawn_any_clone_refused() {
    for errno in [Errno::EPERM, Errno::ENOSYS, Errno::EACCES] {
        // A filter is permanent, so each filter needs its own process.
        let mut child = common::child(|| {
            let calls = [nr::CLONE, nr::CLONE3];
            if !common::Filter::new(&calls, errno).install() {
                return 77;
            }
            u8::from(failure(reporter(&[])) != (SpawnStage::Clone, errno))
        });
        match child.wait().unwrap().code() {
            Some(77) => return skip("spawn_any_clone_refused", "no seccomp here"),
            code => assert_eq!(code, Some(0), "{errno}"),
        }
    }
}

fn kill_at_exec() -> bool {
    common::Filter::new(&[nr::EXECVE], Errno::EPERM).that_kills().install()
}

fn spawn_killed_before_exec_echild() {
    let killed = (SpawnStage::Killed(Signal::SYS), Errno::ECHILD);
    type Refuse = fn() -> bool;
    let worlds: [(&str, Refuse); 4] = [
        ("shared memory", || true),
        ("fork", || refuse_shared_memory(Errno::EPERM)),
        ("no setpgid", || common::Filter::new(&[nr::SETPGID], Errno::EPERM).install()),
        ("no pidfd", || {
            let calls = [nr::CLONE3, nr::PIDFD_OPEN];
            common::Filter::new(&calls, Errno::ENOSYS).install()
                && common::no_pidfd_by_clone().install()
        }),
    ];
    for (name, refuse) in worlds {
        if !common::linux(5, 16) && name != "fork" {
            skip("spawn_killed_before_exec_echild", "a core dump ends all that share the memory");
            continue;
        }
        let mut child = common::child(|| {
            if !refuse() || !kill_at_exec() {
                return 77;
            }
            for _ in ["the first", "later"] {
                assert_eq!(failure(reporter(&[])), killed, "{name}");
                assert_eq!(failure(reporter(&[]).setsid()), killed, "{name}");
                if name != "no setpgid" {
                    assert_eq!(failure(reporter(&[]).process_group(0)), killed, "{name}");
                }
            }
            0
        });
        match child.wait().unwrap().code() {
            Some(77) => skip("spawn_killed_before_exec_echild", "no filter here that sees it"),
            code => assert_eq!(code, Some(0), "{name}"),
        }
    }
}

/// If `/proc` cannot be read, `spawn` still detects that a child was killed before its `execve`, unless the
/// child is in another session.
fn spawn_killed_before_exec_without_proc() {
    if !common::linux(5, 16) {
        let reason = "a core dump ends all that share the memory";
        return skip("spawn_killed_before_exec_without_proc", reason);
    }
    let no_files = common::Filter::new(&[nr::OPENAT], Errno::ENOENT);
    if !no_files.install() || !kill_at_exec() {
        return skip("spawn_killed_before_exec_without_proc", "no seccomp here");
    }
    let error = reporter(&[]).spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Killed(Signal::SYS), Errno::ECHILD));
    // If the child is in another session, `spawn` cannot detect the kill, but `wait` returns the signal.
    let mut child = reporter(&[]).setsid().spawn().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SYS));
}

/// If `setpgid` is rejected, `spawn` falls back to other ways of detecting that the program has started.
fn spawn_where_setpgid_is_refused() {
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        let mut child = common::child(|| {
            if !common::Filter::new(&[nr::SETPGID], errno).install() {
                return 77;
            }
            for spawn in [reporter(&["x"]), reporter(&["x"]).setsid()] {
                assert_eq!(facts(spawn)["args"], "x");
            }
            0
        });
        match child.wait().unwrap().code() {
            Some(77) => return skip("spawn_where_setpgid_is_refused", "no seccomp here"),
            code => assert_eq!(code, Some(0), "{errno}"),
        }
    }
}

fn spawn_without_a_number_for_a_pidfd() {
    if common::descriptors_without_limit("spawn_without_a_number_for_a_pidfd") {
        return;
    }
    if common::emulated() {
        return skip("spawn_without_a_number_for_a_pidfd", "an emulator needs some itself");
    }
    let script = Spawn::new(c"/bin/sh", list(["sh", "-c", "exit 5"]), list::<&str>([]));
    assert_eq!(script.spawn().unwrap().wait().unwrap().code(), Some(5));
    let none_left = File::open("/").unwrap();
    common::set_limits(
        Resource::NOFILE.as_raw(),
        [u64::try_from(none_left.as_raw_fd()).unwrap() + 1; 2],
    );
    assert!(File::open("/").is_err());
    let mut child = script.spawn().unwrap();
    assert!(child.pidfd().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

fn spawn_without_newer_calls() {
    let calls = [nr::CLONE3, nr::PIDFD_OPEN, nr::CLOSE_RANGE];
    if !common::Filter::new(&calls, Errno::ENOSYS).install() {
        return skip("spawn_without_newer_calls", "no seccomp here");
    }
    let given = facts(reporter(&["y"]).close_other_fds());
    assert_eq!(given["args"], "y");
}

// ---- replacing this program ----

/// Runs `exec` in a forked child. Returns the child's exit code, which is the error number if `exec` fails.
fn code_of(exec: impl FnOnce() -> Result<std::convert::Infallible, Errno>) -> Option<i32> {
    let failed = |errno: Errno| u8::try_from(errno.raw_os_error()).unwrap_or(255);
    let mut child = common::child(|| match exec() {
        Err(errno) => failed(errno),
    });
    child.wait().unwrap().code()
}

fn exec_by_every_function_behind_a_fork() {
    let argv = list(["sh", "-c", "exit $CODE"]);
    let envp = list(["CODE=9"]);
    let file = File::open("/bin/sh").unwrap();
    let folder = File::open("/bin").unwrap();
    assert_eq!(code_of(|| process::execve(c"/bin/sh", argv, envp)), Some(9));
    assert_eq!(code_of(|| process::execvpe(c"sh", b"/no/such:/bin", argv, envp)), Some(9));
    assert_eq!(code_of(|| process::execvpe(c"/bin/sh", b"", argv, envp)), Some(9));
    assert_eq!(code_of(|| process::fexecve(&file, argv, envp)), Some(9));
    let none = ExecFlags::empty();
    let code = code_of(|| process::execveat(&folder, c"sh", argv, envp, none));
    let enosys = Some(Errno::ENOSYS.raw_os_error());
    assert!(code == Some(9) || common::emulated() && code == enosys, "{code:?}");
}

fn exec_that_fails_comes_back() {
    let argv = list(["x"]);
    let failed = |errno: Errno| Some(errno.raw_os_error());
    assert_eq!(code_of(|| process::execve(c"/no/such", argv, argv)), failed(Errno::ENOENT));
    assert_eq!(code_of(|| process::execve(c"/", argv, argv)), failed(Errno::EACCES));
    assert_eq!(code_of(|| process::execvpe(c"", b"/bin", argv, argv)), failed(Errno::ENOENT));
    assert_eq!(code_of(|| process::execvpe(c"x", b"/dev", argv, argv)), failed(Errno::ENOENT));
    if common::tool() == Some(common::Tool::Valgrind) {
        let reason = "Valgrind looks for the program of a descriptor by a path";
        return skip("exec_that_fails_comes_back", reason);
    }
    let (reader, _writer) = rawpipe::pipe().unwrap();
    assert_eq!(code_of(|| process::fexecve(&reader, argv, argv)), failed(Errno::EACCES));
    if !common::emulated() {
        assert_eq!(code_of(|| process::fexecve(closed_fd(), argv, argv)), failed(Errno::EBADF));
    }
}

fn fexecve_without_execveat_goes_by_proc() {
    for errno in [Errno::ENOSYS, Errno::ENOENT] {
        let argv = list(["sh", "-c", "exit 8"]);
        let file = File::open("/bin/sh").unwrap();
        let refuse = common::Filter::new(&[nr::EXECVEAT], errno);
        let code = code_of(|| {
            if !refuse.install() {
                process::exit(77);
            }
            process::fexecve(&file, argv, argv)
        });
        if code == Some(77) {
            return skip("fexecve_without_execveat_goes_by_proc", "no seccomp here");
        }
        assert_eq!(code, Some(8), "{errno}");
    }
}

// ---- concurrent spawns ----

fn spawn_from_threads_with_signals_and_allocations() {
    extern "C" fn handler(_signal: i32) {
        common::HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    signal(Signal::USR1.as_raw(), handler as extern "C" fn(i32) as usize);
    let stop = AtomicBool::new(false);
    let (turns, spawners) = if common::slow() { (3, 2) } else { (100, 8) };
    thread::scope(|scope| {
        scope.spawn(|| {
            // A signal that is sent to the process can reach any of its threads.
            while !stop.load(Ordering::SeqCst) {
                common::kill(std::process::id(), Signal::USR1.as_raw());
                thread::sleep(Duration::from_micros(100));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    kept.push(vec![1; 1000 + kept.len()]);
                    if kept.len() > 100 {
                        kept.clear();
                    }
                }
            });
        }
        let spawners: Vec<_> = (0..spawners)
            .map(|thread| {
                scope.spawn(move || {
                    for turn in 0..turns {
                        let word = format!("{thread}.{turn}");
                        let argv = list(["sh", "-c", "echo $0", &word]);
                        let (reader, writer) = rawpipe::pipe().unwrap();
                        let fds = [(writer.as_fd(), 1)];
                        let spawn = Spawn::new(c"sh", argv, list::<&str>([])).fd_maps(&fds);
                        let mut child = spawn.spawn().unwrap();
                        drop(writer);
                        let mut text = Vec::new();
                        reader.read_to_end(&mut text).unwrap();
                        assert_eq!(text, format!("{word}\n").as_bytes());
                        assert!(child.wait().unwrap().success());
                        let wrong = Spawn::new(c"/no/such/program", argv, list::<&str>([]));
                        let error = wrong.spawn().unwrap_err();
                        assert_eq!(
                            (error.stage(), error.errno()),
                            (SpawnStage::Exec, Errno::ENOENT)
                        );
                    }
                })
            })
            .collect();
        let results: Vec<_> = spawners.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        assert!(results.into_iter().all(|result| result.is_ok()));
    });
    assert!(common::HANDLED.load(Ordering::SeqCst) > 0);
    assert_no_children();
}

fn spawn_stopped_for_long_by_a_storm_goes_on() {
    let storm = common::Storm::begin(Duration::from_micros(100));
    let begin = Instant::now();
    for turn in 0..if common::slow() { 3 } else { 100 } {
        let word = turn.to_string();
        assert_eq!(facts(reporter(&[&word]))["args"], word);
    }
    assert!(begin.elapsed() < Duration::from_secs(250));
    drop(storm);
}

fn spawn_leaves_nothing_behind() {
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count);
    // A tool such as Valgrind can map memory at any time, so the mappings are counted only if no tool is in
    // use.
    let maps = || match common::tool() {
        None => fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
        Some(_) => 0,
    };
    let spawn = Spawn::new(c"/bin/true", list(["true"]), list::<&str>([]));
    let wrong = Spawn::new(c"/no/such/program", list(["x"]), list::<&str>([]));
    let turn = || {
        assert!(spawn.spawn().unwrap().wait().unwrap().success());
        assert_eq!(wrong.spawn().unwrap_err().stage(), SpawnStage::Exec);
    };
    turn();
    let before = (common::open_fds(), count("task"), maps());
    for _ in 0..if common::slow() { 20 } else { 500 } {
        turn();
    }
    assert_eq!((common::open_fds(), count("task"), maps()), before);
    assert_no_children();
}

fn spawn_error_is_an_io_error() {
    let spawn = Spawn::new(c"/no/such/program", list(["x"]), list::<&str>([]));
    let error: SpawnError = spawn.spawn().unwrap_err();
    assert_eq!(error.to_string(), "starting the program: no such file or directory (ENOENT)");
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    // If the child does not share memory, as is the case under an emulator, std reports success for a missing
    // program.
    if !common::emulated() && common::tool() != Some(common::Tool::Valgrind) {
        let oracle = std::process::Command::new("/no/such/program").spawn().unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Errno::from_io_error(&oracle));
        assert_eq!(error.kind(), oracle.kind());
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    exec_by_every_function_behind_a_fork,
    exec_that_fails_comes_back,
    fexecve_without_execveat_goes_by_proc,
    spawn_any_clone_refused,
    spawn_arguments_and_environment_are_as_given,
    spawn_arguments_too_long_e2big,
    spawn_as_many_processes_as_allowed_eagain,
    spawn_close_other_fds_leaves_what_is_mapped,
    spawn_control_group,
    spawn_current_dir_is_the_childs_only,
    spawn_death_signal_arrives,
    spawn_death_signal_is_set_also_with_another_user,
    spawn_error_is_an_io_error,
    spawn_fds_close_on_exec_ones_are_not_inherited,
    spawn_fds_closed_one_ebadf,
    spawn_fds_every_permutation,
    spawn_fds_number_beyond_the_limit_ebadf,
    spawn_fds_number_twice_or_negative_einval,
    spawn_fds_one_at_several_numbers_and_a_hundred,
    spawn_fds_with_the_standard_ones_closed_here,
    spawn_file_that_is_no_program,
    spawn_folder_missing_enoent,
    spawn_from_threads_with_signals_and_allocations,
    spawn_shares_memory_whatever_is_asked,
    spawn_leaves_nothing_behind,
    spawn_leaves_the_threads_mask_as_it_was,
    spawn_limits_that_grow_eperm_einval,
    spawn_list_without_end_einval,
    spawn_process_group_of_strangers_eperm,
    spawn_program_open_for_writing_etxtbsy,
    spawn_program_that_is_none,
    spawn_search_takes_the_path_of_the_child,
    spawn_session_and_group,
    spawn_shared_memory_refused_enosys_later_forks,
    spawn_shared_memory_refused_eperm_forks,
    spawn_signals_are_reset,
    spawn_signals_are_reset_one_by_one_without_clone3,
    spawn_stopped_for_long_by_a_storm_goes_on,
    spawn_umask_nice_and_limits,
    spawn_user_group_and_groups,
    spawn_uid_without_cap_setgid_eperm,
    spawn_uid_where_setgroups_is_denied_eperm,
    spawn_uid_of_ones_own_keeps_the_groups,
    spawn_death_signal_in_a_new_pid_namespace,
    spawn_death_signal_of_a_parent_that_has_ended,
    spawn_fds_highest_number,
    spawn_fds_permutation_with_the_highest_number,
    spawn_fds_without_a_number_left,
    spawn_killed_before_exec_echild,
    spawn_killed_before_exec_without_proc,
    spawn_where_setpgid_is_refused,
    spawn_user_of_many_threads_leaves_dumpable,
    spawn_user_without_the_right_eperm,
    spawn_without_a_guard_page_enomem,
    spawn_without_a_number_for_a_pidfd,
    spawn_without_memory_enomem,
    spawn_without_newer_calls,
];
