//! Tests pidfds. The tests cover several handles for one child, waits, signals, and copies of descriptors.
//! Each test runs in its own process.
//!
//! `RAWPIPE_TEST_REAPS` sets how often another thread kills a child while the kernel reuses process ids. The
//! default is 300, or 15 if `common::slow` returns true.
#![allow(unsafe_code, reason = "name spaces, and forks beside threads")]

use crate::common::programs::program;
use crate::common::{self, Filter, NO_FILTER, child, close_copy, filtered, nr, skip};
use crate::reaping::reaps;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, AsRawFd, OwnedFd};
use rawpipe::process::{self, Child, OnDrop, Pidfd, Signal, Stdio, fork_with};
use rawpipe::{Deadline, Errno, Fork, PipeReader, PipeWriter, raw};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

const SHORT: Duration = Duration::from_millis(30);
/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(120);

/// Returns whether the kernel can open pidfds and wait on them. Skips the test if the kernel cannot.
fn supported() -> bool {
    let mut child = child(|| 0);
    let answer = child.try_clone_pidfd().and_then(|pidfd| pidfd.wait());
    let _ = child.wait();
    let answer = answer.and_then(|_| Pidfd::open(process::getpid())); // Valgrind lacks this call
    if let Err(errno) = answer {
        skip(&common::name_alone(), &format!("pidfds: {errno}"));
    }
    answer.is_ok()
}

/// Starts a child that runs until the gate's write end is closed.
fn held(code: u8, (gate, opener): &(PipeReader, PipeWriter)) -> Child {
    child(|| {
        close_copy(opener);
        let _ = gate.read(&mut [0]);
        code
    })
}

fn is_cloexec(fd: impl AsFd) -> bool {
    const F_GETFD: usize = 1;
    let number = usize::try_from(fd.as_fd().as_raw_fd()).unwrap();
    // SAFETY: the call has only integer arguments.
    unsafe { raw::syscall2(nr::FCNTL, number, F_GETFD) == 1 }
}

fn pidfd_waits_for_a_child() {
    if !supported() {
        return;
    }
    let gate = rawpipe::pipe().unwrap();
    let child = held(4, &gate);
    let pidfd = Pidfd::open(child.id()).unwrap();
    drop(child);
    assert_eq!(pidfd.try_wait(), Ok(None));
    let begin = Instant::now();
    assert_eq!(pidfd.wait_deadline(Deadline::after(SHORT)), Ok(None));
    assert!(begin.elapsed() >= SHORT);
    drop(gate);
    let status = pidfd.wait_deadline(Deadline::after(LONG)).unwrap().unwrap();
    assert_eq!(status.code(), Some(4));
    // Since Linux 6.15, the pidfd keeps the exit status.
    for again in [pidfd.wait(), pidfd.try_wait().map(Option::unwrap)] {
        assert!(again == Ok(status) || again == Err(Errno::ECHILD), "{again:?}");
    }
    assert_eq!((pidfd.kill(), pidfd.send_signal(Signal::TERM)), (Ok(()), Err(Errno::ESRCH)));
}

fn pidfd_readable_when_the_process_has_ended() {
    if !supported() {
        return;
    }
    let gate = rawpipe::pipe().unwrap();
    let pidfd = held(4, &gate).into_pidfd().unwrap();
    let found = |timeout| {
        let mut fds = [PollFd::new(&pidfd, PollEvents::IN)];
        poll(&mut fds, Some(timeout)).unwrap()
    };
    assert_eq!(found(SHORT), 0);
    drop(gate);
    assert_eq!(found(LONG), 1);
    assert!(is_cloexec(&pidfd));
    let owned: OwnedFd = pidfd.into();
    drop(owned);
}

fn pidfd_of_a_process_that_is_no_child_echild() {
    if !supported() {
        return;
    }
    for pid in [process::getpid(), process::getppid()] {
        let pidfd = Pidfd::open(pid).unwrap();
        assert_eq!(pidfd.wait(), Err(Errno::ECHILD));
        assert_eq!(pidfd.try_wait(), Err(Errno::ECHILD));
        assert_eq!(pidfd.wait_deadline(Deadline::after(LONG)), Err(Errno::ECHILD));
    }
}

fn pidfd_open_of_no_process_esrch() {
    if !supported() {
        return;
    }
    let mut child = child(|| 0);
    child.wait().unwrap();
    assert_eq!(Pidfd::open(child.id()).unwrap_err(), Errno::ESRCH);
    assert_eq!(Pidfd::open(0).unwrap_err(), Errno::EINVAL);
    assert_eq!(Pidfd::open(u32::MAX).unwrap_err(), Errno::ESRCH);
}

/// A pidfd can signal a child until the child's handle collects the status. Afterwards, `kill` still
/// succeeds, but `send_signal` fails with `ESRCH`.
fn pidfd_of_a_child_beside_its_handle() {
    if !supported() {
        return;
    }
    let gate = rawpipe::pipe().unwrap();
    let mut child = held(4, &gate);
    let pidfd = child.try_clone_pidfd().unwrap();
    pidfd.send_signal(Signal::STOP).unwrap();
    assert_eq!(child.wait_change().unwrap().stopped_signal(), Some(Signal::STOP));
    pidfd.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    assert_eq!((pidfd.kill(), pidfd.send_signal(Signal::KILL)), (Ok(()), Err(Errno::ESRCH)));
    // `kill` also succeeds on a pidfd that is created after the wait.
    assert_eq!(child.try_clone_pidfd().unwrap().kill(), Ok(()));
}

/// `into_pidfd` cancels the drop policy of the handle.
fn into_pidfd_has_no_drop_policy() {
    if !supported() {
        return;
    }
    let mut child = program("sleep", &[]);
    let child = child.stdout(Stdio::null()).on_drop(OnDrop::Kill).spawn().unwrap();
    let pidfd = child.into_pidfd().unwrap();
    thread::sleep(SHORT);
    assert_eq!(pidfd.try_wait(), Ok(None));
    let copy = Pidfd::open(process::getpid()).unwrap().getfd(pidfd.as_fd().as_raw_fd());
    drop(pidfd);
    let Ok(copy) = copy else { return skip("into_pidfd_has_no_drop_policy", "no pidfd_getfd") };
    let mut fds = [PollFd::new(&copy, PollEvents::IN)];
    assert_eq!(poll(&mut fds, Some(SHORT)), Ok(0), "it runs");
    let change = || process::wait_any(&mut [] as &mut [Child], process::WaitFlags::empty());
    // The child has not been reaped, so it still has its process id.
    let pid = fs::read_to_string(format!("/proc/self/fdinfo/{}", copy.as_raw_fd())).unwrap();
    let pid = pid.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse();
    common::kill(pid.unwrap(), Signal::KILL.as_raw());
    assert_eq!(change().unwrap().status.signal(), Some(Signal::KILL));
}

fn getfd_of_a_child() {
    if !supported() || !common::has_call(nr::PIDFD_GETFD) {
        return skip("getfd_of_a_child", "no pidfd_getfd");
    }
    let gate = rawpipe::pipe().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let number = writer.as_raw_fd();
    let child = held(0, &gate);
    drop(writer);
    let pidfd = child.into_pidfd().unwrap();
    let copy = match pidfd.getfd(number) {
        Err(Errno::EPERM) => return skip("getfd_of_a_child", "may not trace its own child"),
        copy => copy.unwrap(),
    };
    assert!(is_cloexec(&copy));
    rawpipe::write(&copy, b"from the parent").unwrap();
    assert_eq!(reader.available(), Ok(15));
    assert_eq!(pidfd.getfd(999).unwrap_err(), Errno::EBADF);
    assert_eq!(pidfd.getfd(-1).unwrap_err(), Errno::EBADF);
    drop(gate);
    assert!(pidfd.wait().unwrap().success());
    assert_eq!(pidfd.getfd(number).unwrap_err(), Errno::ESRCH);
}

/// If a filter rejects the creation of pidfds, functions that need a pidfd return the filter's error. `Child`
/// handles still work.
fn pidfd_that_cannot_be_made() {
    let test = "pidfd_that_cannot_be_made";
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        if errno == Errno::EPERM && common::tool() == Some(common::Tool::Valgrind) {
            return skip(test, "Valgrind itself rejects pidfd_open with ENOSYS");
        }
        let body = || {
            if !Filter::new(&[nr::PIDFD_OPEN, nr::PIDFD_GETFD], errno).install()
                || !common::no_pidfd_by_clone().install()
            {
                return NO_FILTER;
            }
            let gate = rawpipe::pipe().unwrap();
            let mut child = held(3, &gate);
            assert!(child.pidfd().is_none());
            assert_eq!(child.try_clone_pidfd().unwrap_err(), errno);
            assert_eq!(Pidfd::open(child.id()).unwrap_err(), errno);
            // The drop policy of the handle still applies.
            let mut dropped = held(3, &gate);
            dropped.on_drop(OnDrop::Kill).unwrap();
            let place = format!("/proc/{}", dropped.id());
            assert_eq!(dropped.into_pidfd().unwrap_err(), errno);
            assert!(!fs::exists(place).unwrap());
            drop(gate);
            assert_eq!(child.wait().unwrap().code(), Some(3));
            assert_eq!(child.try_clone_pidfd().unwrap_err(), Errno::ESRCH);
            0
        };
        if !filtered(test, &errno, body) {
            return;
        }
    }
}

/// One thread kills each child while another thread reaps the child. At the same time, new processes reuse
/// the ids of the killed children, and no signal may reach these processes.
fn pidfd_killed_by_another_thread_while_numbers_are_given_again() {
    const CLONE_NEWPID: i32 = 0x2000_0000;
    let test = "pidfd_killed_by_another_thread_while_numbers_are_given_again";
    unsafe extern "C" {
        safe fn unshare(flags: i32) -> i32;
    }
    if common::emulated() {
        return skip(test, "an emulator of user programs has numbers of its own");
    }
    if !supported() {
        return;
    }
    let most = || fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let before = most();
    if unshare(CLONE_NEWPID) != 0 {
        return skip(test, "no name space of process ids");
    }
    // SAFETY: this process has no other thread.
    let mut init = match unsafe { rawpipe::fork() }.unwrap() {
        Fork::Child => {
            assert_eq!(process::getpid(), 1);
            // Before Linux 6.14, `pid_max` applies to all namespaces, so the test does not change it.
            if !common::linux(6, 14) || fs::write("/proc/sys/kernel/pid_max", "400").is_err() {
                process::exit(NO_FILTER);
            }
            kill_many();
            process::exit(0)
        }
        Fork::Parent(init) => init,
    };
    let status = init.wait().unwrap();
    assert_eq!(most(), before, "outside");
    if status.code() == Some(NO_FILTER.into()) {
        return skip(test, "no pid_max of a name space (Linux 6.14)");
    }
    assert_eq!(status.code(), Some(0));
    common::end_without_a_look_at_leaks(); // the namespace has no first process, so no fork succeeds
}

fn kill_many() {
    let over = AtomicBool::new(false);
    let (bystanders, again) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let killed = Mutex::new(BTreeSet::new());
    let (send, receive) = mpsc::channel::<Pidfd>();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let body = || poll(&mut [], Some(Duration::from_micros(300))).map_or(1, |_| 7);
                    // SAFETY: the child only makes system calls.
                    let mut child = unsafe { fork_with(body) }.unwrap();
                    let known = killed.lock().unwrap().contains(&child.id());
                    again.fetch_add(usize::from(known), Ordering::SeqCst);
                    assert_eq!(child.wait().unwrap().code(), Some(7), "a bystander");
                    bystanders.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let killer = scope.spawn(move || {
            let mut last = VecDeque::new();
            for (turn, pidfd) in receive.iter().enumerate() {
                thread::sleep(Duration::from_micros(turn as u64 * 37 % 200));
                pidfd.kill().unwrap();
                last.push_back(pidfd);
                if last.len() > 20 {
                    last.pop_front();
                }
                // These processes have been killed, and new processes may already use their ids.
                last.iter().for_each(|pidfd| pidfd.kill().unwrap());
            }
        });
        let (gate, _opener) = rawpipe::pipe().unwrap();
        for turn in 0..reaps() {
            // SAFETY: the child only makes system calls.
            let mut child = unsafe { fork_with(|| gate.read(&mut [0]).map_or(1, |_| 2)) }.unwrap();
            killed.lock().unwrap().insert(child.id());
            send.send(child.try_clone_pidfd().unwrap()).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL), "{turn}");
        }
        drop(send);
        killer.join().unwrap();
        over.store(true, Ordering::SeqCst);
    });
    let [bystanders, again] = [bystanders, again].map(AtomicUsize::into_inner);
    println!("{} killed, {bystanders} bystanders, {again} with a number of one killed", reaps());
    // With fewer than 300 killed children, too few ids are reused for this check.
    if reaps() < 300 {
        return;
    }
    assert!(bystanders > 100 && again > bystanders / 20, "{bystanders} {again}");
}

pub(crate) const TESTS: common::Tests = common::tests![
    pidfd_waits_for_a_child,
    pidfd_readable_when_the_process_has_ended,
    pidfd_of_a_process_that_is_no_child_echild,
    pidfd_open_of_no_process_esrch,
    pidfd_of_a_child_beside_its_handle,
    into_pidfd_has_no_drop_policy,
    getfd_of_a_child,
    pidfd_that_cannot_be_made,
    pidfd_killed_by_another_thread_while_numbers_are_given_again,
];
