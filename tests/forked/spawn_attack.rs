//! Tests that starting a program as another user does not make the memory of this process accessible to that
//! user. One test checks that a spawn does not change the dumpable flag of this process.
//!
//! An attacker with that user's id repeatedly looks up the newest process. Through that process the attacker
//! tries to access a word of *this* process with `/proc/PID/mem` and with `ptrace`. A child that changes its
//! ids therefore receives a copy of the memory. If such a child shared memory instead, the forks, spawns and
//! kills of these tests could delay the release of the memory.
//!
//! `RAWPIPE_ATTACK_SECONDS` sets the total duration of all attacks in seconds (by default 4).
#![allow(unsafe_code, reason = "system calls that the crate has no name for")]

use crate::common::nr;
use crate::common::{self, skip};
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::process::{self, Arg, Child, Signal, Spawn, SpawnStage};
use rawpipe::{Fork, PipeReader, PipeWriter, raw};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

unsafe extern "C" {
    safe fn geteuid() -> u32;
    safe fn prctl(operation: i32, argument: usize, ...) -> i32;
    fn ptrace(request: i32, ...) -> isize;
    fn setgroups(size: usize, list: *const u32) -> i32;
    safe fn setresgid(real: u32, effective: u32, saved: u32) -> i32;
    safe fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
}

const PR_GET_DUMPABLE: i32 = 3;
const PR_SET_DUMPABLE: i32 = 4;

/// The user id of the children and of the attacker.
const OTHER: u32 = 65534;

/// The word under attack, which an attacker tries to replace with `FORGED`.
static WORD: AtomicUsize = AtomicUsize::new(SECRET);
const SECRET: usize = 0x7e57_5ec2_usize.wrapping_mul(0x0101_0003);
const FORGED: usize = !SECRET;

fn become_other() -> bool {
    // SAFETY: the list is empty, so the call reads no groups.
    let groups = unsafe { setgroups(0, std::ptr::null()) };
    let gid = setresgid(OTHER, OTHER, OTHER);
    (groups, gid, setresuid(OTHER, OTHER, OTHER)) == (0, 0, 0)
}

// ---- the attacker ----

/// The counts that an attacker reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Score {
    tries: usize,
    /// The number of attempts that opened the memory of a process or traced the process.
    reached: usize,
    /// The number of attempts that read the secret. Each of these attempts also tried to overwrite the
    /// secret.
    read: usize,
}

impl Score {
    fn by_memory(&mut self, pid: usize) {
        self.tries += 1;
        let place = (&raw const WORD).expose_provenance() as u64;
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        let Ok(memory) = memory else { return };
        self.reached += 1;
        let mut word = [0; size_of::<usize>()];
        let read = memory.read_at(&mut word, place).is_ok_and(|count| count == word.len());
        if read && word == SECRET.to_ne_bytes() {
            self.read += 1;
            let _ = memory.write_all_at(&FORGED.to_ne_bytes(), place);
        }
    }

    fn by_trace(&mut self, pid: usize) {
        const PTRACE_PEEKDATA: i32 = 2;
        const PTRACE_POKEDATA: i32 = 5;
        const PTRACE_ATTACH: i32 = 16;
        const PTRACE_DETACH: i32 = 17;
        const SIGCONT: usize = Signal::CONT.as_raw().unsigned_abs() as usize;
        const WALL: i32 = 0x4000_0000;
        self.tries += 1;
        let place = (&raw const WORD).expose_provenance();
        // SAFETY: the call accesses no memory of this process.
        if unsafe { ptrace(PTRACE_ATTACH, pid, 0_usize, 0_usize) } != 0 {
            return;
        }
        self.reached += 1;
        // SAFETY: the pointer is null, so the call writes no status.
        unsafe { waitpid(i32::try_from(pid).unwrap(), std::ptr::null_mut(), WALL) };
        // SAFETY: the call reads only memory of the other process.
        let word = unsafe { ptrace(PTRACE_PEEKDATA, pid, place, 0_usize) };
        if word.to_ne_bytes() == SECRET.to_ne_bytes() {
            self.read += 1;
            // SAFETY: the call writes only memory of the other process.
            unsafe { ptrace(PTRACE_POKEDATA, pid, place, FORGED) };
        }
        // SAFETY: the call accesses no memory of this process.
        unsafe { ptrace(PTRACE_DETACH, pid, 0_usize, 0_usize) };
        // If `waitpid` reported a different stop, the stop that `PTRACE_ATTACH` requested occurs after the
        // detach, so the process must be continued. SAFETY: the call accesses no memory.
        unsafe { raw::syscall2(nr::KILL, pid, SIGCONT) };
    }

    fn tell(self, to: &PipeWriter) -> bool {
        let words = [self.tries, self.reached, self.read].map(usize::to_ne_bytes);
        to.write_all(&words.concat()).is_ok()
    }

    fn received(from: &PipeReader) -> Self {
        let [tries, reached, read] = [0; 3].map(|_: u8| {
            let mut word = [0; size_of::<usize>()];
            from.read_exact(&mut word).expect("what the attacker says");
            usize::from_ne_bytes(word)
        });
        Self { tries, reached, read }
    }
}

/// Returns the id of the newest process.
fn newest(loads: &File) -> usize {
    let mut text = [0; 100];
    let count = loads.read_at(&mut text, 0).expect("/proc/loadavg");
    let text = std::str::from_utf8(&text[..count]).expect("numbers");
    text.split_whitespace().last().and_then(|word| word.parse().ok()).expect("a process id")
}

fn has_ended(gate: &PipeReader) -> bool {
    poll(&mut [PollFd::new(gate, PollEvents::IN)], Some(Duration::ZERO)) == Ok(1)
}

/// Returns whether a process is a child of `parent`. The attacker kills only the children of `parent`.
fn is_child_of(pid: usize, parent: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    rest.split_whitespace().nth(1).and_then(|word| word.parse().ok()) == Some(parent)
}

/// Attacks the newest process repeatedly until `gate` reaches end of file, and returns the counts. If `kills`
/// is set, also kills each new process that is a child of `parent`.
fn attack_what_is_new(gate: &PipeReader, kills: bool, parent: u32) -> Score {
    const SIGKILL: usize = 9;
    let loads = File::open("/proc/loadavg").expect("/proc");
    let mut score = Score::default();
    let mut before = 0;
    while !has_ended(gate) {
        let pid = newest(&loads);
        if pid == std::process::id() as usize {
            continue;
        }
        (0..8).for_each(|_| score.by_memory(pid));
        if kills && pid != before && is_child_of(pid, parent) {
            // SAFETY: the call accesses no memory.
            unsafe { raw::syscall2(nr::KILL, pid, SIGKILL) };
            (0..8).for_each(|_| score.by_memory(pid));
        } else {
            score.by_trace(pid);
        }
        before = pid;
    }
    score
}

// ---- the attacked ----

fn seconds() -> Duration {
    let set = env::var("RAWPIPE_ATTACK_SECONDS").ok().and_then(|word| word.parse().ok());
    Duration::from_secs_f64(set.unwrap_or(4.0) / 4.0)
}

/// Forks a child that runs as the other user and has a copy of the word. Any process of that user may read
/// this child's memory.
fn readable(gate: &PipeReader, keeper: &PipeWriter) -> Child {
    let (ready, signal) = rawpipe::pipe().unwrap();
    let child = common::child(|| {
        common::close_copy(keeper);
        let done = become_other() && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
        let sent = signal.write(b"!") == Ok(1);
        while !has_ended(gate) {
            thread::sleep(Duration::from_millis(10));
        }
        u8::from(!(done && sent))
    });
    ready.read_exact(&mut [0]).unwrap();
    child
}

fn cannot_be_attacked(test: &str) -> bool {
    let reason = if geteuid() != 0 {
        "needs root, to become another user"
    } else if common::emulated() || common::tool().is_some() {
        "what is in front of the kernel has processes and memory of its own"
    } else {
        return false;
    };
    skip(test, reason);
    true
}

/// Runs each action repeatedly in its own thread while an attacker runs. Asserts that the attacker neither
/// reads nor changes the word of this process.
fn attacked(kills: bool, actions: &[&(dyn Fn() + Sync)]) {
    if cannot_be_attacked(&common::name_alone()) {
        return;
    }
    let (gate, keeper) = rawpipe::pipe().unwrap();
    let mut controls = [(); 2].map(|()| readable(&gate, &keeper));
    let [one, other] = controls.each_ref().map(|child| child.id() as usize);
    let (said, say) = rawpipe::pipe().unwrap();
    let parent = std::process::id();
    let mut attacker = common::child(|| {
        common::close_copy(&keeper);
        let mut control = Score::default();
        let other_user = become_other();
        control.by_memory(one);
        control.by_trace(other);
        let sent = control.tell(&say);
        u8::from(!(other_user && sent && attack_what_is_new(&gate, kills, parent).tell(&say)))
    });
    drop(say);
    let control = Score::received(&said);
    let works = Score { tries: 2, reached: 2, read: 2 };
    if control != works {
        skip(&common::name_alone(), "a security module is in the way of any attack");
    }

    let begin = Instant::now();
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for action in actions {
            scope.spawn(|| {
                while begin.elapsed() < seconds() {
                    action();
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    drop(keeper);
    let score = Score::received(&said);
    assert!(attacker.wait().unwrap().success());
    assert!(controls.iter_mut().all(|control| control.wait().unwrap().success()));
    let word = WORD.load(Ordering::SeqCst);
    assert!(score.read == 0 && word == SECRET, "{score:?}, {word:#x} in {:?}", begin.elapsed());
    assert!(score.tries > 100, "{score:?}");
    assert_eq!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1, "as it was");
    common::say(&format!(
        "result: an attack on a spawn with another user | {} turns, {} tries, {} reached, 0 read",
        count.into_inner(),
        score.tries,
        score.reached,
    ));
}

/// Starts two children as the other user, one after the other. The first child runs a program, and the second
/// child ends because its program does not exist. If the children shared memory with this process, one would
/// release it in `execve`, and the other in `exit`.
fn spawn_other() {
    let argv = [Arg::new(c"true"), Arg::END];
    for program in [c"/bin/true", c"/no/such/program"] {
        match Spawn::new(program, &argv, &[Arg::END]).gid(OTHER).uid(OTHER).spawn() {
            Ok(mut child) => _ = child.wait().unwrap(),
            Err(error) => {
                let killed = error.to_string().starts_with("killed by SIGKILL");
                assert!(killed || error.stage() == SpawnStage::Exec, "{error}");
            }
        }
    }
}

/// Forks this process and waits for the child. The callers have allocated 512 MiB, so the kernel holds the
/// lock on this process's memory for a long time.
fn fork_long() {
    // SAFETY: the child only exits.
    match unsafe { rawpipe::fork() }.unwrap() {
        Fork::Child => process::exit(0),
        Fork::Parent(mut child) => assert!(child.wait().unwrap().success()),
    }
}

fn large() -> Vec<u8> {
    vec![1; 512 << 20]
}

fn spawn_uid_attacked_beside_a_thread_that_forks() {
    let memory = large();
    attacked(false, &[&spawn_other, &fork_long]);
    assert!(memory.iter().step_by(4096).all(|byte| *byte == 1));
}

fn spawn_uid_attacked_in_two_threads() {
    attacked(false, &[&spawn_other, &spawn_other]);
}

fn spawn_uid_attacked_by_one_that_kills() {
    let memory = large();
    attacked(true, &[&spawn_other, &spawn_other, &fork_long]);
    assert!(memory.iter().step_by(4096).all(|byte| *byte == 1));
}

/// When a child changes its ids, the kernel clears the dumpable flag only if the effective ids change. Here
/// the parent changed its own effective ids earlier and then made its memory dumpable again. The parent's
/// real user is root, so the other user still cannot access the parent's memory. However, a child has only
/// ids of the other user. The child must therefore clear the dumpable flag of its copy of the memory.
fn spawn_uid_attacked_where_the_effective_ids_are_the_other_users() {
    static ONCE: Once = Once::new();
    let spawn = || {
        ONCE.call_once(|| {
            // SAFETY: the list is empty, so the call reads no groups.
            assert_eq!(unsafe { setgroups(0, std::ptr::null()) }, 0);
            assert_eq!(setresgid(u32::MAX, OTHER, u32::MAX), 0);
            assert_eq!(setresuid(u32::MAX, OTHER, u32::MAX), 0);
            assert_eq!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
        });
        spawn_other();
    };
    attacked(false, &[&spawn, &spawn]);
}

/// A spawn does not change the dumpable flag of this process, even while another thread sets that flag.
fn spawn_uid_leaves_dumpable_to_another_thread() {
    let test = "spawn_uid_leaves_dumpable_to_another_thread";
    if geteuid() != 0 {
        return skip(test, "needs root, to become another user");
    }
    let done = AtomicBool::new(false);
    let dumpable = || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    let turns = if common::slow() { 20 } else { 300 };
    let kept = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                spawn_other();
            }
        });
        let kept = (0..turns).filter(|turn| {
            let value = turn % 2;
            prctl(PR_SET_DUMPABLE, value, 0, 0, 0);
            thread::sleep(Duration::from_millis(1));
            usize::try_from(dumpable()) == Ok(value)
        });
        let kept = kept.count();
        done.store(true, Ordering::SeqCst);
        kept
    });
    assert_eq!(kept, turns, "set, and still so a moment later");
    assert_eq!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

pub(crate) const TESTS: common::Tests = common::tests![
    spawn_uid_attacked_beside_a_thread_that_forks,
    spawn_uid_attacked_by_one_that_kills,
    spawn_uid_attacked_in_two_threads,
    spawn_uid_attacked_where_the_effective_ids_are_the_other_users,
    spawn_uid_leaves_dumpable_to_another_thread,
];
