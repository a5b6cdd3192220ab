//! Tests `wait_any`. The tests cover orphans, children whose handles are passed to the call, and children
//! whose handles are held elsewhere. Each test runs in its own process.
//!
//! `RAWPIPE_TEST_REAPS` sets the number of repetitions in two of the tests. The default is 300, or 15 if
//! `common::slow` returns true.
#![allow(unsafe_code, reason = "a signal's disposition, and forks beside threads")]

use crate::common::programs::program;
use crate::common::{self, Filter, NO_FILTER, Storm, child, close_copy, filtered, nr, skip};
use rawpipe::process::{
    self, Change, Child, Command, OnDrop, Resource, Signal, Stdio, WaitFlags, fork_with,
    set_child_subreaper, wait_any, wait_any_deadline,
};
use rawpipe::{Cancel, Deadline, Errno, PipeReader, PipeWriter};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);
/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(120);
const ENDS: WaitFlags = WaitFlags::empty();

/// Returns the number of repetitions that `RAWPIPE_TEST_REAPS` sets, or the default.
pub(crate) fn reaps() -> usize {
    let asked = std::env::var("RAWPIPE_TEST_REAPS").ok();
    let usual = if common::slow() { 15 } else { 300 };
    asked.map_or(usual, |count| count.parse().expect("a number"))
}

/// Waits for any child without passing handles.
fn any(deadline: Deadline<'_>) -> rawpipe::Result<Option<Change>> {
    wait_any_deadline(&mut [] as &mut [Child], ENDS, deadline)
}

fn soon() -> Deadline<'static> {
    Deadline::after(LONG)
}

/// Starts a child that runs until the gate's write end is closed.
fn held(code: u8, (gate, opener): &(PipeReader, PipeWriter)) -> Child {
    child(|| {
        close_copy(opener);
        let _ = gate.read(&mut [0]);
        code
    })
}

/// Waits until the child has ended, but does not collect its status.
fn has_ended(child: &Child) {
    let end = Instant::now() + LONG;
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    while !stat().rsplit(')').next().unwrap().trim_start().starts_with('Z') {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_micros(100));
    }
}

/// A child that has ended, whose handle is held elsewhere, hides the passed child. Without a free descriptor,
/// `/proc` cannot be read.
fn wait_any_of_a_hidden_handle_without_descriptors() {
    let test = "wait_any_of_a_hidden_handle_without_descriptors";
    if common::descriptors_without_limit(test) {
        return;
    }
    let hiding = child(|| 3);
    has_ended(&hiding);
    let mut given = child(|| 4);
    has_ended(&given);
    common::set_soft_limit(Resource::NOFILE.as_raw(), 0);
    let change = wait_any_deadline(&mut [&mut given], ENDS, Deadline::after(LONG)).unwrap();
    assert_eq!(change.map(|change| (change.index, change.status.code())), Some((Some(0), Some(4))));
    common::end_without_a_look_at_leaks();
}

/// If the kernel discards statuses, the pidfd receives the status shortly after `waitid` no longer finds the
/// child. A wait at this moment must not lose the status.
fn try_wait_while_the_kernel_discards_the_status() {
    let test = "try_wait_while_the_kernel_discards_the_status";
    const SIGCHLD: i32 = 17; // generic; MIPS differs
    if !common::linux(6, 15) || common::in_front().is_some() {
        return skip(test, "no status after the end (Linux 6.15)");
    }
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    signal(SIGCHLD, 1); // ignored, so the kernel discards each status
    for turn in 0..if common::slow() { 50 } else { 2_000 } {
        let mut child = child(|| 5);
        if child.pidfd().is_none() {
            return skip(test, "no pidfd");
        }
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(5), "{turn}");
    }
}

/// A zombie of another process may stay a zombie for any time, so a wait does not wait for its status. This
/// also applies to a process outside the pid namespace of the caller.
fn try_wait_of_a_foreign_zombie_does_not_wait_echild() {
    const CLONE_NEWPID: i32 = 0x2000_0000;
    unsafe extern "C" {
        safe fn unshare(flags: i32) -> i32;
    }
    let mut zombie = child(|| 5);
    has_ended(&zombie);
    let mut is_quick = || {
        let start = Instant::now();
        let lost = zombie.try_wait() == Err(Errno::ECHILD);
        u8::from(!lost || start.elapsed() > Duration::from_millis(500))
    };
    let code = |mut child: Child| child.wait().unwrap().code();
    assert_eq!(code(child(&mut is_quick)), Some(0));
    let outside = child(|| match unshare(CLONE_NEWPID) {
        0 => u8::from(code(child(&mut is_quick)) != Some(0)),
        _ => 0, // no right to name spaces
    });
    assert_eq!(code(outside), Some(0));
    assert_eq!(zombie.wait().unwrap().code(), Some(5));
}

fn wait_any_without_children_echild() {
    assert_eq!(any(Deadline::NEVER).unwrap_err(), Errno::ECHILD);
    assert_eq!(any(Deadline::now()).unwrap_err(), Errno::ECHILD);
    assert_eq!(wait_any(&mut [] as &mut [Child], ENDS).unwrap_err(), Errno::ECHILD);
}

fn wait_any_nothing_has_happened() {
    let gate = rawpipe::pipe().unwrap();
    let mut child = held(3, &gate);
    let begin = Instant::now();
    assert!(any(Deadline::now()).unwrap().is_none());
    assert!(begin.elapsed() < LONG / 2);
    let begin = Instant::now();
    assert!(any(Deadline::after(SHORT)).unwrap().is_none());
    assert!(begin.elapsed() >= SHORT);
    drop(gate);
    let change = wait_any(&mut [&mut child], ENDS).unwrap();
    assert_eq!((change.pid, change.index, change.status.code()), (child.id(), Some(0), Some(3)));
}

/// If a child's handle is passed, `wait_any` reports the handle's index. Later, the handle returns the status
/// that `wait_any` has reported.
fn wait_any_of_given_handles_and_orphans() {
    let gate = rawpipe::pipe().unwrap();
    let mut given: Vec<Child> = (10..15).map(|code| held(code, &gate)).collect();
    let orphans: BTreeMap<u32, u8> = (20..25).map(|code| (held(code, &gate).id(), code)).collect();
    drop(gate);
    let (mut ours, mut others) = (0, BTreeMap::new());
    for _ in 0..10 {
        let change = wait_any(&mut given, ENDS).unwrap();
        let code = change.status.code().unwrap();
        assert!(change.rusage.max_rss() > 0);
        match change.index {
            Some(index) => {
                assert_eq!(
                    (change.pid, code),
                    (given[index].id(), 10 + i32::try_from(index).unwrap())
                );
                ours += 1;
            }
            None => assert_eq!(others.insert(change.pid, u8::try_from(code).unwrap()), None),
        }
    }
    assert_eq!((ours, others), (5, orphans));
    for (child, code) in given.iter_mut().zip(10..) {
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(child.rusage().is_some());
    }
    assert_eq!(wait_any(&mut given, ENDS).unwrap_err(), Errno::ECHILD);
}

/// If this process is a subreaper, `wait_any` reports a grandchild whose parent has ended.
fn wait_any_orphan_that_was_adopted() {
    match set_child_subreaper(true) {
        Err(Errno::EINVAL) if common::emulated() => {
            return skip("wait_any_orphan_that_was_adopted", "the emulator has no subreapers");
        }
        answer => answer.unwrap(),
    }
    let gate = rawpipe::pipe().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut parent = child(|| {
        let grandchild = held(42, &gate);
        u8::from(writer.write_all(&grandchild.id().to_ne_bytes()).is_err())
    });
    let mut id = [0; 4];
    reader.read_exact(&mut id).unwrap();
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    assert!(any(Deadline::now()).unwrap().is_none(), "it is adopted, and runs");
    drop(gate);
    let change = wait_any(&mut [] as &mut [Child], ENDS).unwrap();
    assert_eq!(change.pid, u32::from_ne_bytes(id));
    assert_eq!((change.index, change.status.code()), (None, Some(42)));
    set_child_subreaper(false).unwrap();
    assert_eq!(any(Deadline::NEVER).unwrap_err(), Errno::ECHILD);
}

/// Two children end while a child with a handle still runs. The kernel first reports a third child, which
/// ended before the two children. `wait_any` must not report the third child, because that child's handle is
/// held elsewhere.
fn wait_any_two_end_beside_a_living_handle() {
    let mut elsewhere = child(|| 77);
    has_ended(&elsewhere);
    let mut running = program("sleep", &[]);
    let mut running = running.stdout(Stdio::null()).on_drop(OnDrop::Kill).spawn().unwrap();
    for turn in 0..reaps() {
        let gate = rawpipe::pipe().unwrap();
        let mut ends = BTreeMap::from([1, 2].map(|code| (held(code, &gate).id(), code)));
        drop(gate);
        for _ in 0..2 {
            let change = any(soon()).unwrap().expect("an end");
            let code = ends.remove(&change.pid).map(i32::from);
            assert_eq!((change.status.code(), change.index), (code, None), "{turn}");
        }
        assert!(any(Deadline::now()).unwrap().is_none(), "{turn}");
    }
    assert_eq!(running.try_wait(), Ok(None));
    assert_eq!(elsewhere.wait().unwrap().code(), Some(77));
    drop(running);
    assert_eq!(any(Deadline::NEVER).unwrap_err(), Errno::ECHILD);
}

/// `wait_any` does not report children that another thread has created, and those children keep their
/// statuses. Some of the children have just been created, some have failed to start, and some are about to be
/// waited for.
fn wait_any_beside_threads_that_make_children() {
    if common::emulated() {
        let test = "wait_any_beside_threads_that_make_children";
        return skip(test, "an emulator of user programs has locks of its own");
    }
    let over = AtomicBool::new(false);
    let made = AtomicUsize::new(0);
    let turns = reaps();
    thread::scope(|scope| {
        for number in 0..3_u8 {
            let (over, made) = (&over, &made);
            scope.spawn(move || {
                for turn in (0..=200_u8).cycle() {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    if number == 0 {
                        let failed = Command::new("/no/such/program").spawn().unwrap_err();
                        assert_eq!(failed.errno(), Errno::ENOENT);
                    } else if number == 1 {
                        let mut command = program("exit", &[&turn.to_string()]);
                        command.stdin(Stdio::null()).stdout(Stdio::null());
                        let mut child = command.spawn().unwrap();
                        assert_eq!(child.wait().unwrap().code(), Some(turn.into()));
                    } else {
                        // SAFETY: the child only exits.
                        let mut child = unsafe { fork_with(|| turn) }.unwrap();
                        assert_eq!(child.wait().unwrap().code(), Some(turn.into()));
                    }
                    made.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let end = scope.spawn(|| {
            for turn in 0..turns {
                // SAFETY: the child only exits.
                let pid = unsafe { fork_with(|| 201) }.unwrap().id();
                let change = any(soon()).unwrap().expect("an end");
                assert_eq!((change.pid, change.status.code()), (pid, Some(201)), "{turn}");
            }
        });
        let end = end.join();
        over.store(true, Ordering::SeqCst);
        end.unwrap();
    });
    assert!(made.load(Ordering::SeqCst) > 10);
    assert_eq!(any(Deadline::NEVER).unwrap_err(), Errno::ECHILD);
}

/// If several threads wait, the status of each child is returned to exactly one thread.
fn wait_any_by_several_threads() {
    const EACH: usize = 50;
    let gate = rawpipe::pipe().unwrap();
    let pids: Vec<u32> = (0..EACH).map(|_| held(5, &gate).id()).collect();
    drop(gate);
    let mut seen: Vec<u32> = thread::scope(|scope| {
        let wait = || {
            let mut seen = Vec::new();
            while let Ok(change) = any(soon()) {
                seen.push(change.expect("an end").pid);
            }
            seen
        };
        let others: Vec<_> = (0..3).map(|_| scope.spawn(wait)).collect();
        others.into_iter().flat_map(|other| other.join().unwrap()).collect()
    });
    seen.sort_unstable();
    let mut pids = pids;
    pids.sort_unstable();
    assert_eq!(seen, pids);
}

fn wait_any_stops_and_continuations_if_asked_for() {
    // The stop may arrive before the child closes its copy of the write end. This child has its own gate, so
    // this child does not keep the other children alive.
    let other_gate = rawpipe::pipe().unwrap();
    let mut elsewhere = held(8, &other_gate);
    let gate = rawpipe::pipe().unwrap();
    let orphan = held(6, &gate).into_pidfd();
    let Some(orphan) = orphan.ok().filter(|orphan| orphan.send_signal(Signal::CONT).is_ok()) else {
        return skip("wait_any_stops_and_continuations_if_asked_for", "no pidfd_send_signal here");
    };
    let mut given = held(7, &gate);
    let all = WaitFlags::STOPPED | WaitFlags::CONTINUED;
    elsewhere.send_signal(Signal::STOP).unwrap();
    let mut next = |flags, within| {
        let change = wait_any_deadline(&mut [&mut given], flags, Deadline::after(within)).unwrap();
        change.map(|change| (change.index, change.status))
    };
    orphan.send_signal(Signal::STOP).unwrap();
    assert_eq!(next(ENDS, SHORT), None);
    let (index, status) = next(all, LONG).unwrap();
    assert_eq!((index, status.stopped_signal()), (None, Some(Signal::STOP)));
    orphan.send_signal(Signal::CONT).unwrap();
    assert_eq!(next(WaitFlags::STOPPED, SHORT), None);
    let (index, status) = next(WaitFlags::CONTINUED, LONG).unwrap();
    assert_eq!((index, status.continued()), (None, true));
    drop(gate);
    let mut ends = [next(all, LONG).unwrap(), next(all, LONG).unwrap()];
    ends.sort_unstable_by_key(|(index, _)| *index);
    assert_eq!(
        ends.map(|(index, status)| (index, status.code())),
        [(None, Some(6)), (Some(0), Some(7))]
    );
    assert_eq!(next(all, SHORT), None);
    // `wait_any` has not consumed the stop event of the child whose handle was not passed.
    assert_eq!(elsewhere.wait_change().unwrap().stopped_signal(), Some(Signal::STOP));
    drop(other_gate);
    elsewhere.send_signal(Signal::CONT).unwrap();
    assert_eq!(elsewhere.wait().unwrap().code(), Some(8));
}

fn wait_any_continues_after_a_signal() {
    let handled = || {
        drop(child(|| {
            thread::sleep(SHORT * 10);
            9
        }));
        let _storm = Storm::begin(Duration::from_millis(1));
        // `wait_any` does not report the child that sends the signals, because that child has a handle.
        let change = any(Deadline::NEVER).unwrap().expect("an end");
        assert_eq!((change.index, change.status.code()), (None, Some(9)));
        common::HANDLED.load(Ordering::SeqCst) > 0
    };
    // On a busy machine, the storm may begin too late.
    assert!((0..50).any(|_| handled()), "no signal came");
}

/// Without pidfds, `wait_any` waits by process id.
fn wait_any_without_pidfds() {
    let test = "wait_any_without_pidfds";
    for (errno, calls) in [
        (Errno::ENOSYS, [nr::PIDFD_OPEN, nr::PIDFD_OPEN]),
        (Errno::EMFILE, [nr::PIDFD_OPEN, nr::PIDFD_OPEN]),
        (Errno::ENOSYS, [nr::PIDFD_OPEN, nr::CLOSE_RANGE]),
    ] {
        let body = || {
            if !Filter::new(&calls, errno).install() {
                return NO_FILTER;
            }
            let gate = rawpipe::pipe().unwrap();
            let mut given = held(1, &gate);
            let mut elsewhere = held(2, &gate);
            drop(held(3, &gate));
            drop(gate);
            has_ended(&elsewhere);
            let mut codes = [0, 0].map(|_| {
                let change = wait_any(&mut [&mut given], ENDS).unwrap();
                (change.index, change.status.code())
            });
            codes.sort_unstable();
            assert_eq!(codes, [(None, Some(3)), (Some(0), Some(1))]);
            assert_eq!(elsewhere.wait().unwrap().code(), Some(2));
            0
        };
        if !filtered(test, &errno, body) {
            return;
        }
    }
}

fn wait_any_with_sigchld_ignored_echild() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    const SIG_IGN: usize = 1;
    signal(Signal::CHLD.as_raw(), SIG_IGN);
    let gate = rawpipe::pipe().unwrap();
    drop(held(3, &gate));
    let mut given = held(4, &gate);
    drop(gate);
    // The status is lost, but since Linux 6.15 the pidfd of the passed child keeps it.
    let answer = wait_any(&mut [&mut given], ENDS).map(|change| change.status);
    assert_eq!(answer, given.wait());
    assert_eq!(wait_any(&mut [&mut given], ENDS).unwrap_err(), Errno::ECHILD);
}

/// If other code has collected the status of a passed child, the call has the same result as a wait through
/// the handle. Another child without a passed handle, living or ended, does not make the call hang.
fn wait_any_status_of_a_passed_child_lost_echild() {
    unsafe extern "C" {
        safe fn waitpid(pid: i32, status: usize, options: i32) -> i32;
    }
    for living in [true, false] {
        let gate = rawpipe::pipe().unwrap();
        let mut other = if living { held(3, &gate) } else { child(|| 3) };
        if !living {
            has_ended(&other);
        }
        let (mut first, mut second) = (child(|| 4), child(|| 5));
        let pid = i32::try_from(first.id()).unwrap();
        assert_eq!(waitpid(pid, 0, 0), pid);
        has_ended(&second);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let change = wait_any_deadline(&mut [&mut first, &mut second], ENDS, soon());
            answers.push(change.map(|change| change.map(|change| (change.index, change.status))));
        }
        let kept = first.wait();
        let lost = kept.map(|status| Some((Some(0), status)));
        assert!(matches!(kept.map(|status| status.code()), Ok(Some(4)) | Err(Errno::ECHILD)));
        assert!(answers.contains(&lost), "{living}: {answers:?}, not {lost:?}");
        assert!(
            answers.contains(&Ok(Some((Some(1), second.wait().unwrap())))),
            "{living}: {answers:?}"
        );
        // Both handles are skipped now.
        let mut both = [&mut first, &mut second];
        assert!(wait_any_deadline(&mut both, ENDS, Deadline::after(SHORT)).unwrap().is_none());
        drop(gate);
        assert_eq!(other.wait().unwrap().code(), Some(3));
    }
}

/// Another thread collects a passed child's status during the call. The kernel does not wake the call, but
/// when the call ends, it reports the loss instead of the cancel.
fn wait_any_status_lost_meanwhile_is_no_timeout() {
    unsafe extern "C" {
        safe fn waitpid(pid: i32, status: usize, options: i32) -> i32;
    }
    let gate = rawpipe::pipe().unwrap();
    let mut living = held(3, &gate);
    let own = rawpipe::pipe().unwrap(); // after the fork, so that `living` has no copy
    let mut lost = held(4, &own);
    let pid = i32::try_from(lost.id()).unwrap();
    let cancel = Cancel::new().unwrap();
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SHORT);
            drop(own);
            waitpid(pid, 0, 0);
            cancel.cancel();
        });
        wait_any_deadline(&mut [&mut living, &mut lost], ENDS, soon().or_cancelled(&cancel))
    });
    let lost = lost.wait().map(|status| Some((Some(1), status)));
    assert_eq!(answer.map(|change| change.map(|change| (change.index, change.status))), lost);
    drop(gate);
    assert_eq!(living.wait().unwrap().code(), Some(3));
}

/// In a nested PID namespace, a process has a child of its own, and a copied handle of its parent's child.
/// Both children have the same process id. Dropping the copy does not make `wait_any` report the process's
/// own child.
fn wait_any_beside_a_dropped_copy_with_the_number_of_a_child() {
    const CLONE_NEWPID: i32 = 0x2000_0000;
    unsafe extern "C" {
        safe fn unshare(flags: i32) -> i32;
    }
    let test = "wait_any_beside_a_dropped_copy_with_the_number_of_a_child";
    if common::emulated() || common::tool().is_some() {
        return skip(test, "name spaces need a kernel, and a process of one thread");
    }
    let as_status = |mut child: Child| u8::try_from(child.wait().unwrap().code().unwrap()).unwrap();
    let outer = child(|| {
        if unshare(CLONE_NEWPID) != 0 {
            return 77;
        }
        as_status(child(|| {
            let handle = child(|| 1);
            let number = handle.id();
            if unshare(CLONE_NEWPID) != 0 {
                return 77;
            }
            as_status(child(move || {
                let mut own = child(|| 5);
                if own.id() != number {
                    return 2;
                }
                drop(handle);
                let nothing = matches!(any(Deadline::after(SHORT)), Ok(None));
                let waited = own.wait().is_ok_and(|status| status.code() == Some(5));
                u8::from(!(nothing && waited))
            }))
        }))
    });
    match as_status(outer) {
        77 => skip(test, "needs a right to name spaces"),
        status => assert_eq!(status, 0),
    }
}

/// In a forked child, the handles of its parent's children have no effect on `wait_any`.
fn wait_any_in_a_forked_child() {
    let gate = rawpipe::pipe().unwrap();
    let mut elsewhere = held(3, &gate);
    let mut forked = child(|| {
        let none = any(Deadline::NEVER).map(|_| ()) == Err(Errno::ECHILD);
        let pid = child(|| 9).id();
        let change = any(soon()).unwrap().unwrap();
        u8::from(!(none && change.pid == pid && change.status.code() == Some(9)))
    });
    assert_eq!(forked.wait().unwrap().code(), Some(0));
    drop(gate);
    assert_eq!(elsewhere.wait().unwrap().code(), Some(3));
}

fn rusage_of_a_child_that_works() {
    let mut child = child(|| {
        let end = process::getpid();
        let begin = Instant::now();
        let (mut sum, mut big) = (end, vec![1_u8; 32 << 20]);
        while begin.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_mul(3));
        }
        big[1 << 20] = sum.to_ne_bytes()[0];
        std::hint::black_box(&big);
        0
    });
    assert_eq!(child.rusage(), None);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let used = child.rusage().unwrap();
    let time = used.user_time() + used.system_time();
    if !common::emulated() {
        assert!(time > Duration::from_millis(10) && time < LONG, "{used:?}");
        assert!(used.max_rss() >= 32 << 20 && used.max_rss() < 8 << 30, "{used:?}");
        assert!(used.minor_faults() > 100, "{used:?}");
    }
}

/// `wait_any` works in a child that other code has forked. The child inherits the parent's count of children
/// that are being created, and no thread in the child decrements this count.
fn wait_any_in_a_child_that_other_code_has_forked() {
    unsafe extern "C" {
        fn fork() -> i32;
    }
    if common::tool() == Some(common::Tool::Valgrind) {
        let test = "wait_any_in_a_child_that_other_code_has_forked";
        return skip(
            test,
            "in the child, Valgrind reports the memory of the other threads as lost",
        );
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert!(program("exit", &["0"]).status().unwrap().success());
                }
            });
        }
        for _ in 0..20 {
            // SAFETY: the child only makes system calls and then exits.
            let pid = unsafe { fork() };
            if pid == 0 {
                // SAFETY: the child only exits.
                let own = unsafe { fork() };
                if own == 0 {
                    process::exit(7);
                }
                let found = any(Deadline::after(Duration::from_secs(20)));
                let right =
                    matches!(found, Ok(Some(change)) if Ok(change.pid) == u32::try_from(own));
                process::exit(u8::from(!right));
            }
            let change = loop {
                let change = any(soon()).unwrap().unwrap();
                if Ok(change.pid) == u32::try_from(pid) {
                    break change;
                }
            };
            assert_eq!(change.status.code(), Some(0));
        }
        stop.store(true, Ordering::SeqCst);
    });
}

pub(crate) const TESTS: common::Tests = common::tests![
    wait_any_of_a_hidden_handle_without_descriptors,
    try_wait_while_the_kernel_discards_the_status,
    try_wait_of_a_foreign_zombie_does_not_wait_echild,
    wait_any_in_a_child_that_other_code_has_forked,
    wait_any_without_children_echild,
    wait_any_nothing_has_happened,
    wait_any_of_given_handles_and_orphans,
    wait_any_orphan_that_was_adopted,
    wait_any_two_end_beside_a_living_handle,
    wait_any_beside_threads_that_make_children,
    wait_any_by_several_threads,
    wait_any_stops_and_continuations_if_asked_for,
    wait_any_continues_after_a_signal,
    wait_any_without_pidfds,
    wait_any_with_sigchld_ignored_echild,
    wait_any_status_of_a_passed_child_lost_echild,
    wait_any_status_lost_meanwhile_is_no_timeout,
    wait_any_in_a_forked_child,
    wait_any_beside_a_dropped_copy_with_the_number_of_a_child,
    rusage_of_a_child_that_works,
];
