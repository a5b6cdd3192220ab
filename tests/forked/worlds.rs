//! Runs the same checks of spawning, waiting and signals in many process environments, called worlds.
//! Examples are other namespaces, a tracer, discarded exit statuses, and few free descriptors. Some worlds,
//! such as one with a hostile user, have their own checks instead. Each check runs in its own process, which
//! first enters its world. A second process kills the check if the check hangs.
#![allow(unsafe_code, reason = "calls of the C library that set up the worlds")]

mod checks;
mod watch;
mod ways;

use super::spawn_differential::{dump, libc, place::Place};
use crate::common::programs::program;
use crate::common::{self, emulated, open_fds, skip, slow, tool};
use checks::{CHECKS, Check, Ground};
use rawpipe::process::{OnDrop, SpawnStage, Stdio};
use rawpipe::{Errno, Fork, process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use watch::{Verdict, Watch};

/// A function that enters a world, or returns the reason why the world is impossible here.
type Way = fn() -> Result<(), String>;

struct World {
    name: &'static str,
    way: Way,
    /// True if the kernel may discard the status of a child.
    lost: bool,
    watch: Watch,
}

impl World {
    const fn new(name: &'static str, way: Way) -> Self {
        Self { name, way, lost: false, watch: Watch::Beside }
    }

    /// Runs the checks in `CHECKS` in this world.
    fn explore(&self) {
        self.make(CHECKS);
    }

    fn make(&self, checks: &[(&str, Check)]) {
        let failed = self.failures(checks);
        assert!(
            failed.is_empty(),
            "{} failed in {}:\n{}",
            failed.len(),
            self.name,
            failed.join("\n")
        );
    }

    fn failures(&self, checks: &[(&str, Check)]) -> Vec<String> {
        let reason = match tool() {
            _ if emulated() => Some("an emulator of user programs makes its own worlds"),
            Some(_) => Some("a tool has threads, descriptors and signals of its own"),
            None => None,
        };
        if let Some(reason) = reason {
            skip(self.name, reason);
            return Vec::new();
        }
        let place = Place::new().expect("a folder whose programs can be executed");
        let base = furnish(&place);
        let mut failed = Vec::new();
        let mut skipped = Vec::new();
        for (name, check) in checks {
            let ground = Ground { base: base.clone(), lost: self.lost };
            let verdict = self.watch.run(|| {
                (self.way)()?;
                let before = checks::State::now();
                check(&ground)?;
                before.require_same();
                Ok(())
            });
            match verdict {
                Verdict::Passed => {}
                Verdict::Skipped(reason) => skipped.push((name, reason)),
                Verdict::Failed(reason) => failed.push(format!("{name}: {reason}")),
            }
        }
        // If all checks are skipped for the same reason, only one line is printed.
        let same = skipped.first().is_some_and(|(_, first)| {
            skipped.len() == checks.len() && skipped.iter().all(|(_, reason)| reason == first)
        });
        let shown = if same { 1 } else { skipped.len() };
        for (name, reason) in skipped.iter().take(shown) {
            let what = if same { self.name.to_owned() } else { format!("{}, {name}", self.name) };
            skip(&what, reason);
        }
        failed
    }
}

/// Creates a directory for the reporting program and its report, and returns the path of the directory.
fn furnish(place: &Place) -> PathBuf {
    let base = place.folder().join("0");
    let folder = base.join("good");
    fs::create_dir_all(&folder).expect("a folder");
    for folder in [&base, &folder] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    fs::hard_link(place.program(), folder.join(dump::NAME)).expect("a link to the program");
    let report = base.join("report");
    fs::write(&report, b"").expect("a file");
    fs::set_permissions(report, fs::Permissions::from_mode(0o666)).expect("its mode");
    base
}

macro_rules! worlds {
    ($($test:ident, $world:expr;)*) => { $(fn $test() { $world.explore(); })* };
}

worlds! {
    spawn_in_a_usual_world, World::new("usual", || Ok(()));
    spawn_as_another_user, World::new("another user", ways::other_user);
    spawn_into_a_new_pid_namespace, World::new("pid name space of the children", ways::pid_namespace);
    spawn_as_init_of_a_pid_namespace, World::new("init of a pid name space", ways::init);
    spawn_in_a_new_user_namespace, World::new("user name space", ways::user_namespace);
    spawn_in_a_new_mount_namespace, World::new("mount name space", ways::mount_namespace);
    spawn_into_a_new_time_namespace, World::new("time name space", ways::time_namespace);
    spawn_where_setgroups_is_denied, World::new("setgroups denied", ways::setgroups_denied);
    spawn_by_a_traced_parent, World { watch: Watch::Tracing, ..World::new("traced", || Ok(())) };
    spawn_by_a_subreaper, World::new("subreaper", ways::subreaper);
    spawn_with_sigchld_ignored, World { lost: true, ..World::new("SIGCHLD ignored", ways::sigchld_ignored) };
    spawn_with_sa_nocldwait, World { lost: true, ..World::new("SA_NOCLDWAIT", ways::no_child_wait) };
    spawn_with_all_signals_blocked, World::new("all signals blocked", ways::all_blocked);
    spawn_with_a_limit_of_16_descriptors, World::new("16 descriptors", ways::few_descriptors);
    spawn_by_a_large_parent, World::new("512 MiB resident", ways::large);
}

fn spawn_with_standard_streams_closed() {
    const WAYS: [(&str, Way); 7] = [
        ("0 closed", || ways::closed(&[0])),
        ("1 closed", || ways::closed(&[1])),
        ("2 closed", || ways::closed(&[2])),
        ("0, 1 closed", || ways::closed(&[0, 1])),
        ("0, 2 closed", || ways::closed(&[0, 2])),
        ("1, 2 closed", || ways::closed(&[1, 2])),
        ("0, 1, 2 closed", || ways::closed(&[0, 1, 2])),
    ];
    let mut failed = Vec::new();
    for (name, way) in WAYS {
        let failures = World::new(name, way).failures(CHECKS);
        failed.extend(failures.into_iter().map(|failure| format!("{name}: {failure}")));
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Without a free descriptor, the first spawn of a process and a later spawn have the same result. If
/// descriptors are free, the spawn starts the program or reports that the program does not exist.
fn spawn_without_a_descriptor_left_emfile() {
    World::new("no descriptor left", || Ok(())).make(&[
        ("first and later", |_| checks::without_descriptors(&[])),
        ("missing program", |_| checks::without_descriptors(&[c"/no/such/program"])),
    ]);
}

// ---- worlds with their own checks ----

/// A program that is the init process of a new PID namespace starts with its parent-death signal set.
fn parent_death_signal_as_init_of_a_new_pid_namespace() {
    World::new("first in a pid name space", ways::empty_pid_namespace)
        .make(&[("death signal", checks::death_signal_is_set)]);
}

fn spawn_uid_where_setgroups_is_denied_eperm() {
    World::new("setgroups denied, with groups", ways::setgroups_denied_with_groups)
        .make(&[("uid", checks::uid_with_groups_eperm)]);
    World::new("setgroups denied, without groups", ways::setgroups_denied_without_groups)
        .make(&[("uid", checks::uid_without_groups)]);
}

/// This process is permitted to change its user but not its groups. Spawning a program as another user fails
/// with `EPERM` if this process has supplementary groups.
fn spawn_uid_without_cap_setgid_eperm() {
    World::new("no CAP_SETGID, with groups", || ways::no_cap_setgid(&[1, 2]))
        .make(&[("uid", checks::uid_with_groups_eperm)]);
    World::new("no CAP_SETGID, without groups", || ways::no_cap_setgid(&[]))
        .make(&[("uid", checks::uid_without_groups)]);
}

/// A trace stop does not count as the end of the child.
fn wait_for_a_child_that_this_process_traces() {
    World::new("tracing the child", || Ok(())).make(&[
        ("stopped by a signal", checks::traced_child_stops),
        ("seized and interrupted", checks::seized_child),
        ("killed while stopped", checks::traced_child_killed),
        ("dropped while stopped", checks::traced_child_dropped),
        ("communicate", checks::traced_child_communicates),
    ]);
}

/// If a filter kills the child at its `execve`, the spawn fails, because the program never started.
fn spawn_killed_before_its_program_begins() {
    if !common::linux(5, 16) {
        let test = "spawn_killed_before_its_program_begins";
        return skip(test, "before Linux 5.16 a core dump ends all processes with the same memory");
    }
    World::new("a filter that kills", || Ok(())).make(&[("spawn", checks::killed_before_exec)]);
}

/// Another user stops, continues and kills the children as soon as they have that user's id.
fn spawn_with_an_attacker_beside() {
    World::new("attacker", ways::root).make(&[("attack", checks::attacked)]);
}

/// A hundred threads (ten if workloads are reduced) fork and spawn at the same time.
fn spawn_by_a_hundred_threads() {
    if emulated() {
        return skip(
            "spawn_by_a_hundred_threads",
            "an emulator of user programs has locks of its own",
        );
    }
    let (threads, times) = if slow() { (10, 3) } else { (100, 5) };
    let before = open_fds();
    let barrier = std::sync::Barrier::new(threads);
    let counts: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let spawners: Vec<_> = (0..threads)
            .map(|index| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let (mut spawned, mut forked) = (0, 0);
                    for round in 0..times {
                        let code = u8::try_from((index * times + round) % 200).expect("small");
                        let mut command = program("exit", &[&code.to_string()]);
                        command.stdin(Stdio::null()).on_drop(OnDrop::Kill);
                        let mut child = command.spawn().expect("a program");
                        // SAFETY: the child only exits.
                        match unsafe { rawpipe::fork() }.expect("a fork") {
                            Fork::Child => process::exit(code),
                            Fork::Parent(mut fork) => {
                                assert_eq!(fork.wait().expect("its end").code(), Some(code.into()));
                                forked += 1;
                            }
                        }
                        assert_eq!(child.wait().expect("its end").code(), Some(code.into()));
                        spawned += 1;
                        let failing = process::Command::new("/no/such/program").spawn();
                        let failed = failing.map_err(|error| (error.stage(), error.errno()));
                        assert_eq!(failed.err(), Some((SpawnStage::Exec, Errno::ENOENT)));
                    }
                    (spawned, forked)
                })
            })
            .collect();
        spawners.into_iter().map(|spawner| spawner.join().expect("a spawner")).collect()
    });
    let sum = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert_eq!(sum, (threads * times, threads * times));
    assert_eq!(open_fds(), before);
    checks::no_child_is_left();
}

pub(crate) const TESTS: common::Tests = common::tests![
    spawn_in_a_usual_world,
    spawn_as_another_user,
    spawn_into_a_new_pid_namespace,
    spawn_as_init_of_a_pid_namespace,
    spawn_in_a_new_user_namespace,
    spawn_in_a_new_mount_namespace,
    spawn_into_a_new_time_namespace,
    spawn_where_setgroups_is_denied,
    spawn_by_a_traced_parent,
    spawn_by_a_subreaper,
    spawn_with_sigchld_ignored,
    spawn_with_sa_nocldwait,
    spawn_with_all_signals_blocked,
    spawn_with_a_limit_of_16_descriptors,
    spawn_by_a_large_parent,
    spawn_with_standard_streams_closed,
    spawn_without_a_descriptor_left_emfile,
    parent_death_signal_as_init_of_a_new_pid_namespace,
    spawn_uid_where_setgroups_is_denied_eperm,
    spawn_uid_without_cap_setgid_eperm,
    wait_for_a_child_that_this_process_traces,
    spawn_killed_before_its_program_begins,
    spawn_with_an_attacker_beside,
    spawn_by_a_hundred_threads,
];
