//! Tests children from their creation to their end. The tests cover three topics: the state that a child gets
//! from a fork or a spawn, pidfds, and several waits for one child. Each test runs in its own process.
#![allow(unsafe_code, reason = "signals and descriptors by number")]

use crate::common::nr;
use crate::common::programs::{all_of, program};
use crate::common::{self, child, close_copy, skip};
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, AsRawFd};
use rawpipe::process::{Child, OnDrop, Signal, SignalSet, Stdio};
use rawpipe::{Errno, io, raw};
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const SHORT: Duration = Duration::from_millis(50);
/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(120);

unsafe extern "C" {
    safe fn raise(signal: i32) -> i32;
    safe fn signal(signal: i32, handler: usize) -> usize;
}

/// Returns the events that a poll of the pidfd reports within `timeout`.
fn found(pidfd: impl AsFd, timeout: Duration) -> PollEvents {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollEvents::IN)];
    poll(&mut fds, Some(timeout)).unwrap();
    fds[0].revents()
}

/// Starts a child that runs until it is killed.
fn sleeper() -> Child {
    let mut command = program("sleep", &[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).on_drop(OnDrop::Kill).spawn().unwrap()
}

/// Returns the value of a field of `/proc/PID/status`.
fn line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
}

/// Blocks these signals in this thread.
fn block(signals: &[Signal]) {
    const SIG_BLOCK: usize = 0;
    let mut mask = [0_u8; 8];
    for signal in signals {
        let bit = usize::try_from(signal.as_raw()).unwrap() - 1;
        let bytes = size_of::<usize>();
        // The set is an array of words, in which the lowest bit comes first.
        let (word, bit) = (bit / (8 * bytes), bit % (8 * bytes));
        let at = if cfg!(target_endian = "big") { bytes - 1 - bit / 8 } else { bit / 8 };
        mask[word * bytes + at] |= 1 << (bit % 8);
    }
    let place = (&raw const mask).expose_provenance();
    // SAFETY: the call reads one signal set of 8 bytes at `place`.
    assert_eq!(unsafe { raw::syscall4(nr::RT_SIGPROCMASK, SIG_BLOCK, place, 0, 8) }, 0);
}

// ---- state copied by a fork ----

fn fork_environment_is_a_copy() {
    // SAFETY: this process has no other thread.
    unsafe { env::set_var("RAWPIPE_A", "parent") };
    let mut child = child(|| {
        let seen = env::var("RAWPIPE_A").as_deref() == Ok("parent");
        // SAFETY: the child has no other thread.
        unsafe { env::set_var("RAWPIPE_A", "child") };
        // SAFETY: the child has no other thread.
        unsafe { env::set_var("RAWPIPE_B", "child") };
        u8::from(!(seen && env::var("RAWPIPE_A").as_deref() == Ok("child")))
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(env::var("RAWPIPE_A").as_deref(), Ok("parent"));
    assert!(env::var_os("RAWPIPE_B").is_none());
}

/// After a fork, the parent and the child share the file position.
fn fork_position_is_common_both_ways() {
    let mut file = common::file(b"abcdefgh");
    let (gate, opener) = rawpipe::pipe().unwrap();
    let (copy, shared) = (&opener, &file);
    let mut child = child(move || {
        close_copy(copy);
        let _ = gate.read(&mut [0]);
        let mut two = [0; 2];
        u8::from(!(io::read_exact(shared, &mut two).is_ok() && &two == b"cd"))
    });
    file.read_exact(&mut [0; 2]).unwrap();
    drop(opener);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(file.stream_position().unwrap(), 4);
    file.seek(SeekFrom::Start(6)).unwrap();
    let shared = &file;
    let mut child = common::child(move || {
        let mut rest = [0; 2];
        u8::from(!(io::read_exact(shared, &mut rest).is_ok() && &rest == b"gh"))
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn fork_child_may_close_everything() {
    let file = common::file(b"still open");
    let highest = usize::try_from(*common::open_fds().last().unwrap()).unwrap();
    let mut child = child(|| {
        for number in 0..=highest {
            // SAFETY: `close` accesses no memory, and this child does not use the closed descriptors.
            unsafe { raw::syscall1(nr::CLOSE, number) };
        }
        3
    });
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(io::read_exact(&file, &mut [0; 10]), Ok(()));
}

/// After a fork or a spawn, signals that are pending for the parent's process or thread are not pending in
/// the child.
fn fork_and_spawn_pending_signals_stay_with_the_parent() {
    let pending =
        |pid| ["SigPnd", "ShdPnd"].map(|name| u64::from_str_radix(&line(pid, name), 16).unwrap());
    let own = std::process::id();
    block(&[Signal::USR1, Signal::USR2]);
    assert_eq!(raise(Signal::USR1.as_raw()), 0);
    common::kill(own, Signal::USR2.as_raw());
    let bit = |signal: Signal| 1_u64 << (signal.as_raw() - 1);
    let both = bit(Signal::USR1) | bit(Signal::USR2);
    let [thread, process] = pending(own);
    assert_eq!((thread | process) & both, both, "pending in the parent");

    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let mut forked = child(move || {
        close_copy(copy);
        let _ = gate.read(&mut [0]);
        7
    });
    assert_eq!(pending(forked.id()).map(|set| set & both), [0, 0]);
    drop(opener);
    assert_eq!(forked.wait().unwrap().code(), Some(7));

    // The program also blocks these signals, so an inherited pending signal would stay pending.
    let mask = SignalSet::empty().with(Signal::USR1).with(Signal::USR2);
    let mut command = program("sleep", &[]);
    command.stdout(Stdio::null()).signal_mask(mask).on_drop(OnDrop::Kill);
    let started = command.spawn().unwrap();
    assert_eq!(pending(started.id()).map(|set| set & both), [0, 0]);
    let [thread, process] = pending(own);
    assert_eq!((thread | process) & both, both, "and they are pending still");
}

// ---- state passed on by a spawn ----

/// As with `vfork`, the parent's thread continues only when the child's exec can no longer fail. The kernel
/// resumes the thread slightly before `/proc` shows the program, as observed on Linux 5.10.
fn spawn_returns_when_the_program_has_begun() {
    let own = fs::read_link("/proc/self/exe").unwrap();
    let moment = Duration::from_secs(if common::slow() { 5 } else { 1 });
    for turn in 0..if common::emulated() { 3 } else { 50 } {
        let mut command = rawpipe::process::Command::new("/bin/sh");
        command.args(["-c", "read line"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + moment;
        while fs::read_link(format!("/proc/{}/exe", child.id())).unwrap() == own {
            assert!(Instant::now() < end, "{turn}");
        }
        drop(child.take_stdin());
        assert!(child.wait().is_ok());
    }
}

fn spawn_ids_umask_folder_and_root_are_the_parents() {
    let child = sleeper();
    let (own, pid) = (std::process::id(), child.id());
    for name in ["Uid", "Gid", "Groups", "Umask"] {
        assert_eq!(line(pid, name), line(own, name), "{name}");
    }
    for link in ["cwd", "root"] {
        let of = |pid| fs::read_link(format!("/proc/{pid}/{link}"));
        assert_eq!(of(pid).unwrap(), of(own).unwrap(), "{link}");
    }
}

/// If the signal mask blocks a signal that the program sends itself, the program survives. With an empty
/// mask, the signal kills the program.
fn spawn_signal_mask_holds_in_the_program() {
    let run = |mask| {
        let mut command = rawpipe::process::Command::new("/bin/sh");
        command.args(["-c", "kill -TERM $$; echo alive"]).signal_mask(mask);
        command.output().unwrap()
    };
    let blocked = run(SignalSet::empty().with(Signal::TERM));
    assert_eq!((blocked.status.code(), &*blocked.stdout), (Some(0), &b"alive\n"[..]));
    let open = run(SignalSet::empty());
    assert_eq!((open.status.signal(), &*open.stdout), (Some(Signal::TERM), &b""[..]));
}

// ---- pidfds ----

fn pidfd_not_readable_when_only_the_first_thread_has_ended() {
    let test = "pidfd_not_readable_when_only_the_first_thread_has_ended";
    if common::emulated() {
        return skip(test, "an emulator has threads of its own");
    }
    let (gate, opener) = rawpipe::pipe().unwrap();
    let mut command = program("leaderless", &[]);
    command.stdout(Stdio::piped()).fd_map(gate, 7).on_drop(OnDrop::Kill);
    let mut child = command.spawn().unwrap();
    drop(command);
    child.stdout_ref().unwrap().read_exact(&mut [0]).unwrap();
    if let Some(pidfd) = child.pidfd() {
        assert_eq!(found(pidfd, SHORT), PollEvents::empty());
    }
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    drop(opener);
    if let Some(pidfd) = child.pidfd() {
        assert!(found(pidfd, LONG).contains(PollEvents::IN));
    }
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

/// If another thread executes a program, that thread replaces the first thread, and the pidfd does not become
/// readable.
fn pidfd_not_readable_when_another_thread_execs() {
    if common::emulated() {
        let test = "pidfd_not_readable_when_another_thread_execs";
        return skip(test, "an emulator has threads of its own");
    }
    let mut child =
        program("successor", &[]).stdout(Stdio::piped()).on_drop(OnDrop::Kill).spawn().unwrap();
    child.stdout_ref().unwrap().read_exact(&mut [0]).unwrap(); // the new program wrote this byte
    let words = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(words.windows(5).any(|word| word == b"stall"));
    if let Some(pidfd) = child.pidfd() {
        assert_eq!(found(pidfd, SHORT), PollEvents::empty());
    }
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
}

fn pidfd_of_a_child_that_was_waited_for_stays_readable() {
    let mut child = child(|| 3);
    if child.pidfd().is_none() {
        return skip("pidfd_of_a_child_that_was_waited_for_stays_readable", "no pidfd here");
    }
    assert_eq!(child.wait().unwrap().code(), Some(3));
    for _ in 0..2 {
        assert!(found(child.pidfd().unwrap(), LONG).contains(PollEvents::IN));
    }
    // A copy of the descriptor stays readable after the `Child` is dropped.
    let copy = io::dup_cloexec(child.pidfd().unwrap()).unwrap();
    drop(child);
    assert!(found(&copy, LONG).contains(PollEvents::IN));
}

/// If the pidfd is nonblocking, a wait for a running child does not block, but fails with `EAGAIN`. A wait
/// with a deadline polls first, so such a wait does not fail with `EAGAIN`.
fn wait_with_a_nonblocking_pidfd_eagain() {
    let test = "wait_with_a_nonblocking_pidfd_eagain";
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let mut child = child(move || {
        close_copy(copy);
        let _ = gate.read(&mut [0]);
        4
    });
    let Some(pidfd) = child.pidfd() else { return skip(test, "no pidfd here") };
    io::set_nonblocking(pidfd, true).unwrap();
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    assert_eq!(child.wait_change(), Err(Errno::EAGAIN));
    assert_eq!(child.wait(), Err(Errno::EAGAIN), "which is not remembered");
    drop(opener);
    assert_eq!(child.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().code(), Some(4));
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

// ---- several waits ----

/// Only one thread at a time can wait with a `Child`, but any number of threads can watch its pidfd.
fn pidfd_wakes_ten_threads() {
    let mut child = sleeper();
    if child.pidfd().is_none() {
        return skip("pidfd_wakes_ten_threads", "no pidfd here");
    }
    let pid = child.id();
    let pidfd = child.pidfd().unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..10).map(|_| scope.spawn(|| found(pidfd, LONG))).collect();
        thread::sleep(SHORT);
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        common::kill(pid, Signal::TERM.as_raw());
        for waiter in waiters {
            assert!(waiter.join().unwrap().contains(PollEvents::IN));
        }
    });
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(Signal::TERM));
}

/// Another thread can kill the child through a copy of the pidfd, because a pidfd refers only to this
/// child.
fn kill_by_another_thread_ends_a_wait() {
    let mut child = sleeper();
    let Some(pidfd) = child.pidfd().map(|pidfd| io::dup_cloexec(pidfd).unwrap()) else {
        return skip("kill_by_another_thread_ends_a_wait", "no pidfd here");
    };
    let kill = move || {
        let number = usize::try_from(pidfd.as_raw_fd()).unwrap();
        let signal = usize::try_from(Signal::KILL.as_raw()).unwrap();
        // SAFETY: the call accesses no memory, because the pointer to a `siginfo_t` is null.
        unsafe { raw::syscall4(nr::PIDFD_SEND_SIGNAL, number, signal, 0, 0) }
    };
    let pid = child.id();
    let killer = thread::spawn(move || {
        thread::sleep(SHORT);
        let answer = kill();
        if answer != 0 {
            common::kill(pid, 9); // otherwise the wait would not end
        }
        (answer, thread::sleep(SHORT), kill()).0
    });
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    let answer = killer.join().unwrap();
    if answer == -(Errno::ENOSYS.raw_os_error() as isize) {
        return skip("kill_by_another_thread_ends_a_wait", "no pidfd_send_signal here");
    }
    assert_eq!(answer, 0);
}

/// A poll or a `try_wait` that precedes a wait does not consume the status.
fn wait_and_try_wait_of_one_that_has_ended_agree() {
    for turn in 0..if common::emulated() { 10 } else { 200 } {
        let mut child = child(move || u8::try_from(turn % 200).unwrap());
        if let Some(pidfd) = child.pidfd() {
            assert!(found(pidfd, LONG).contains(PollEvents::IN));
            // The child has ended, so `try_wait` must return its status.
            assert!(child.try_wait().unwrap().is_some(), "{turn}");
        }
        assert_eq!(child.wait().unwrap().code(), Some(turn % 200));
    }
}

// ---- the end ----

fn exit_ends_all_threads() {
    let mut child = program("threads", &[]).spawn().unwrap();
    assert_eq!(child.wait_deadline(Deadline::after(LONG)).unwrap().unwrap().code(), Some(6));
}

/// Bytes that the child has written to a file and to a pipe are not lost if the child exits without closing
/// the file and the pipe.
fn exit_leaves_what_was_written() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let file = common::file(b"");
    let (copy, end) = (&file, &writer);
    let mut child = child(move || {
        let written = io::write_all(copy, b"in a file").is_ok() && end.write(b"in a pipe") == Ok(9);
        rawpipe::process::exit(u8::from(!written))
    });
    assert!(child.wait().unwrap().success());
    drop(writer);
    assert_eq!(all_of(Some(reader)), b"in a pipe");
    let mut text = String::new();
    let mut file = file;
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "in a file");
}

/// A handler for `SIGCHLD` does not consume the status.
fn wait_beside_a_handler_of_sigchld() {
    extern "C" fn handler(_signal: i32) {
        common::HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    signal(Signal::CHLD.as_raw(), handler as extern "C" fn(i32) as usize);
    for code in 0..20 {
        assert_eq!(child(move || code).wait().unwrap().code(), Some(code.into()));
    }
    assert!(common::HANDLED.load(std::sync::atomic::Ordering::SeqCst) > 0);
}

pub(crate) const TESTS: common::Tests = common::tests![
    fork_environment_is_a_copy,
    fork_position_is_common_both_ways,
    fork_child_may_close_everything,
    fork_and_spawn_pending_signals_stay_with_the_parent,
    spawn_returns_when_the_program_has_begun,
    spawn_ids_umask_folder_and_root_are_the_parents,
    spawn_signal_mask_holds_in_the_program,
    pidfd_not_readable_when_only_the_first_thread_has_ended,
    pidfd_not_readable_when_another_thread_execs,
    pidfd_of_a_child_that_was_waited_for_stays_readable,
    wait_with_a_nonblocking_pidfd_eagain,
    pidfd_wakes_ten_threads,
    kill_by_another_thread_ends_a_wait,
    wait_and_try_wait_of_one_that_has_ended_agree,
    exit_ends_all_threads,
    exit_leaves_what_was_written,
    wait_beside_a_handler_of_sigchld,
];
