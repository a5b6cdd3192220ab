//! Tests the functions that block signals and wait for them. Each test runs in its own process, because the
//! kernel can deliver a signal to any thread that does not block it.
#![cfg_attr(not(feature = "full"), allow(unused, reason = "the topic needs everything"))]
#![allow(unsafe_code, reason = "signals by number, and a handler")]

use crate::common::nr;
use crate::common::{self, Filter, NO_FILTER, child, filtered};
use rawpipe::event::{Epoll, Event, PollEvents, PollFd, SignalFd, SignalInfo, poll, wait_signal};
use rawpipe::fd::{AsFd, AsRawFd};
use rawpipe::process::{self, Command, Resource, Signal, SignalSet, Stdio};
use rawpipe::{Deadline, Errno, io, raw};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

const MOMENT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(120);

fn set(signals: &[Signal]) -> SignalSet {
    signals.iter().copied().collect()
}

fn long() -> Deadline<'static> {
    Deadline::after(LONG)
}

/// Sends a signal to this process.
fn raise(signal: Signal) {
    common::kill(std::process::id(), signal.as_raw());
}

/// Sends a signal to this thread.
fn raise_here(signal: Signal) {
    // SAFETY: the calls have no arguments.
    let [process, thread] =
        [nr::GETPID, nr::GETTID].map(|nr| unsafe { raw::syscall0(nr) }.unsigned_abs());
    let signal = signal.as_raw().unsigned_abs() as usize;
    // SAFETY: the arguments are integers.
    assert_eq!(unsafe { raw::syscall3(nr::TGKILL, process, thread, signal) }, 0);
}

/// Returns a set of signals, such as `SigBlk`, from a status file in `/proc`. Bit n − 1 represents signal n.
fn mask(path: &str, name: &str) -> u64 {
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

fn blocked() -> u64 {
    mask("/proc/thread-self/status", "SigBlk")
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

// ---- blocking ----

fn block_adds_and_its_guard_restores() {
    let before = blocked();
    {
        let _outer = set(&[Signal::USR1]).block().unwrap();
        assert_eq!(blocked(), before | bit(Signal::USR1));
        {
            let _inner = set(&[Signal::USR1, Signal::CHLD]).block().unwrap();
            assert_eq!(blocked(), before | bit(Signal::USR1) | bit(Signal::CHLD));
        }
        assert_eq!(blocked(), before | bit(Signal::USR1));
    }
    assert_eq!(blocked(), before);
    // A full set blocks every signal except two that cannot be blocked and two that the C library uses
    // internally.
    let _all = SignalSet::full().block().unwrap();
    for number in 1..=64 {
        // An emulator does not block `SIGBUS` and `SIGSEGV`, because it uses them to detect faults of the
        // emulated program. The emulator also maps the program's signals 32 and 33 to 34 and 35, because its
        // own C library uses 32 and 33. Valgrind uses signal 64 to end threads.
        let emulator = common::emulated() && [7, 11, 34, 35].contains(&number);
        let valgrind = common::tool() == Some(common::Tool::Valgrind) && number == 64;
        let left = emulator || valgrind || [9, 19, 32, 33].contains(&number);
        let signal = Signal::from_raw(number).unwrap();
        assert_eq!(blocked() & bit(signal) == 0, left, "{number}");
    }
}

/// A blocked signal is delivered when the guard is dropped.
fn block_holds_a_signal_back_until_the_guard_is_dropped() {
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: i32) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
    }
    signal(Signal::USR1.as_raw(), handler);
    let guard = set(&[Signal::USR1]).block().unwrap();
    raise(Signal::USR1);
    raise(Signal::USR1);
    assert_eq!(HANDLED.load(Ordering::SeqCst), 0);
    drop(guard);
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1, "they were merged");
}

fn block_of_a_thread_is_inherited_by_threads_and_forks() {
    let _guard = set(&[Signal::USR1]).block().unwrap();
    assert_ne!(thread::spawn(blocked).join().unwrap() & bit(Signal::USR1), 0);
    let mut forked = child(|| u8::from(blocked() & bit(Signal::USR1) == 0));
    assert!(forked.wait().unwrap().success());
    // A guard in another thread does not change this thread's mask.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let other = thread::spawn(move || {
        let _guard = set(&[Signal::USR2]).block().unwrap();
        reader.read(&mut [0]).unwrap();
    });
    assert_eq!(blocked() & bit(Signal::USR2), 0);
    drop(writer);
    other.join().unwrap();
}

/// If this process starts a program, the program's mask does not depend on the mask of this process.
fn block_is_not_inherited_by_a_program_that_is_started() {
    let _guard = set(&[Signal::CHLD, Signal::TERM]).block().unwrap();
    let asked = set(&[Signal::USR2]);
    for (mask_asked, expected) in [(None, 0), (Some(asked), bit(Signal::USR2))] {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        if let Some(asked) = mask_asked {
            command.signal_mask(asked);
        }
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let line = output.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        assert_eq!(u64::from_str_radix(line.trim(), 16), Ok(expected));
    }
}

// ---- waiting for a signal ----

fn wait_signal_none_until_the_deadline() {
    let usr1 = set(&[Signal::USR1]);
    let _guard = usr1.block().unwrap();
    let begun = Instant::now();
    assert_eq!(wait_signal(usr1, Deadline::after(MOMENT)), Ok(None));
    assert!(begun.elapsed() >= MOMENT);
    assert_eq!(wait_signal(usr1, Deadline::now()), Ok(None));
    // A wait for `SIGUSR1` does not consume other signals.
    let usr2 = set(&[Signal::USR2]);
    let _other = usr2.block().unwrap();
    raise(Signal::USR2);
    assert_eq!(wait_signal(usr1, Deadline::after(MOMENT)), Ok(None));
    assert_ne!(mask("/proc/self/status", "ShdPnd") & bit(Signal::USR2), 0);
    assert!(wait_signal(usr2, Deadline::now()).unwrap().is_some());
}

fn wait_signal_takes_one_from_a_process() {
    let usr1 = set(&[Signal::USR1]);
    let _guard = usr1.block().unwrap();
    let own = std::process::id();
    let mut sender = child(|| {
        thread::sleep(MOMENT);
        common::kill(own, Signal::USR1.as_raw());
        0
    });
    let info = wait_signal(usr1, Deadline::NEVER).unwrap().unwrap();
    assert_eq!((info.signal, info.code, info.pid), (Signal::USR1, 0, Some(sender.id())));
    assert_eq!(info.uid, Some(uid()));
    assert_eq!(info.child_status, None);
    assert!(sender.wait().unwrap().success());
}

/// Returns the user id. The C library makes the call, because the system call number of `getuid` differs
/// between architectures.
fn uid() -> u32 {
    unsafe extern "C" {
        safe fn getuid() -> u32;
    }
    getuid()
}

/// `wait_signal` returns the thread's signals before the process's signals. Within each group, it returns the
/// signal with the lowest number first. The kernel merges pending standard signals with the same number.
fn wait_signal_order_and_merging() {
    let all = set(&[Signal::USR1, Signal::USR2, Signal::TERM]);
    let _guard = all.block().unwrap();
    raise(Signal::TERM);
    raise(Signal::TERM);
    raise(Signal::USR1);
    raise_here(Signal::USR2);
    let next = || wait_signal(all, Deadline::now()).unwrap().map(|info| (info.signal, info.code));
    let taken: Vec<_> = std::iter::from_fn(next).collect();
    assert_eq!(taken, [(Signal::USR2, -6), (Signal::USR1, 0), (Signal::TERM, 0)]);
}

fn wait_signal_real_time_signals_are_queued() {
    let signal = Signal::from_raw(40).unwrap();
    let _guard = set(&[signal]).block().unwrap();
    for _ in 0..3 {
        raise(signal);
    }
    for _ in 0..3 {
        assert_eq!(wait_signal(set(&[signal]), Deadline::now()).unwrap().unwrap().signal, signal);
    }
    assert_eq!(wait_signal(set(&[signal]), Deadline::now()), Ok(None));
}

fn wait_signal_goes_on_after_other_signals() {
    let usr2 = set(&[Signal::USR2]);
    let _guard = usr2.block().unwrap();
    let _storm = common::Storm::begin(Duration::from_millis(1)); // sends `SIGUSR1`, which has a handler
    // On a busy machine, the storm may begin later.
    while common::HANDLED.load(Ordering::SeqCst) <= 2 {
        let deadline = Deadline::after(MOMENT);
        assert_eq!(wait_signal(usr2, deadline), Ok(None));
        assert!(deadline.has_passed());
    }
}

// ---- SIGCHLD ----

/// A `SIGCHLD` that a `SignalFd` or `wait_signal` returns contains the child's process id, user id and
/// status.
fn sigchld_says_how_each_child_ended() {
    let chld = set(&[Signal::CHLD]);
    let _guard = chld.block().unwrap();
    let signals = SignalFd::new(chld).unwrap();
    for by_fd in [false, true] {
        let next = || -> SignalInfo {
            if by_fd {
                signals.read().unwrap()
            } else {
                wait_signal(chld, long()).unwrap().unwrap()
            }
        };
        let mut exits = child(|| 7);
        let info = next();
        assert_eq!((info.pid, info.child_status), (Some(exits.id()), Some(exits.wait().unwrap())));
        assert_eq!(info.child_status.unwrap().code(), Some(7));
        assert_eq!(info.uid, Some(uid()));

        let (reader, _writer) = rawpipe::pipe().unwrap();
        let mut stays = child(|| reader.read(&mut [0]).is_err().into());
        stays.send_signal(Signal::STOP).unwrap();
        assert_eq!(next().child_status.unwrap().stopped_signal(), Some(Signal::STOP));
        stays.send_signal(Signal::CONT).unwrap();
        assert!(next().child_status.unwrap().continued());
        stays.send_signal(Signal::KILL).unwrap();
        let info = next();
        assert_eq!((info.signal, info.pid), (Signal::CHLD, Some(stays.id())));
        assert_eq!(info.child_status.unwrap().signal(), Some(Signal::KILL));
        assert_eq!(info.child_status, Some(stays.wait().unwrap()));
        // A `SIGCHLD` sent by a process carries no information about a child.
        raise(Signal::CHLD);
        let info = next();
        assert_eq!((info.pid, info.child_status), (Some(std::process::id()), None));
    }
}

/// If two children end before the first `SIGCHLD` is received, the kernel merges the two signals. Code that
/// waits for one child per signal would miss a child.
fn sigchld_of_two_children_is_merged() {
    let chld = set(&[Signal::CHLD]);
    let _guard = chld.block().unwrap();
    let mut children = [child(|| 1), child(|| 2)];
    for child in &mut children {
        // Waits until the child has ended, but does not collect its status.
        let Some(pidfd) = child.pidfd() else {
            return common::skip("sigchld_of_two_children_is_merged", "no pidfd here");
        };
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollEvents::IN)];
        assert_eq!(poll(&mut fds, Some(LONG)), Ok(1));
    }
    let pid = wait_signal(chld, Deadline::now()).unwrap().unwrap().pid;
    assert!([children[0].id(), children[1].id()].map(Some).contains(&pid));
    assert_eq!(wait_signal(chld, Deadline::now()), Ok(None));
    assert_eq!(children.each_mut().map(|child| child.wait().unwrap().code()), [Some(1), Some(2)]);
}

fn sigchld_ignored_comes_never() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    let chld = set(&[Signal::CHLD]);
    let _guard = chld.block().unwrap();
    signal(Signal::CHLD.as_raw(), 1);
    let mut gone = child(|| 0);
    let _ = gone.wait();
    assert_eq!(wait_signal(chld, Deadline::after(MOMENT)), Ok(None));
}

// ---- the descriptor ----

fn signal_fd_with_poll_and_epoll() {
    let both = set(&[Signal::USR1, Signal::TERM]);
    let _guard = both.block().unwrap();
    let signals = SignalFd::new(both).unwrap();
    assert!(io::is_close_on_exec(&signals).unwrap() && io::is_nonblocking(&signals).unwrap());
    assert!(signals.as_fd().as_raw_fd() > 2);
    assert_eq!(signals.try_read(), Err(Errno::EAGAIN));
    let soon = Deadline::after(MOMENT);
    assert_eq!(signals.read_deadline(soon), Err(Errno::ETIMEDOUT));
    assert!(soon.has_passed());
    let epoll = Epoll::new().unwrap();
    epoll.add(&signals, PollEvents::IN, 5).unwrap();
    let ready = || {
        let mut events = [Event::default(); 2];
        let by_epoll = epoll.wait(&mut events, Some(Duration::ZERO)).unwrap().len();
        (
            poll(&mut [PollFd::new(&signals, PollEvents::IN)], Some(Duration::ZERO)).unwrap(),
            by_epoll,
        )
    };
    assert_eq!(ready(), (0, 0));
    raise(Signal::TERM);
    raise(Signal::USR1);
    assert_eq!(ready(), (1, 1));
    assert_eq!(signals.try_read().unwrap().signal, Signal::USR1);
    assert_eq!(signals.read().unwrap().signal, Signal::TERM);
    assert_eq!((ready(), signals.try_read()), ((0, 0), Err(Errno::EAGAIN)));
    // The descriptor does not return a signal that `wait_signal` has already returned.
    raise(Signal::TERM);
    assert!(wait_signal(both, Deadline::now()).unwrap().is_some());
    assert_eq!(signals.try_read(), Err(Errno::EAGAIN));
}

/// A signal that is not blocked is delivered, and the descriptor does not return it.
fn signal_fd_has_nothing_of_what_is_not_blocked() {
    let winch = set(&[Signal::WINCH]); // ignored by default
    let signals = SignalFd::new(winch).unwrap();
    raise(Signal::WINCH);
    assert_eq!(signals.try_read(), Err(Errno::EAGAIN));
    let _guard = winch.block().unwrap();
    raise(Signal::WINCH);
    assert_eq!(signals.try_read().unwrap().signal, Signal::WINCH);
}

/// A signal descriptor returns the signals of the process that reads it.
fn signal_fd_in_a_forked_child_reads_the_childs() {
    let usr1 = set(&[Signal::USR1]);
    let _guard = usr1.block().unwrap();
    let signals = SignalFd::new(usr1).unwrap();
    raise(Signal::USR1);
    let mut forked = child(|| {
        // A child does not inherit pending signals.
        let none = signals.try_read() == Err(Errno::EAGAIN);
        raise_in_child();
        let own = signals.read_deadline(long()).map(|info| info.pid);
        u8::from(!(none && own == Ok(Some(getpid()))))
    });
    assert!(forked.wait().unwrap().success());
    assert_eq!(signals.try_read().unwrap().pid, Some(std::process::id()));
    assert_eq!(signals.try_read(), Err(Errno::EAGAIN));
}

fn getpid() -> u32 {
    // SAFETY: the call has no arguments.
    u32::try_from(unsafe { raw::syscall0(nr::GETPID) }).unwrap_or(0)
}

fn raise_in_child() {
    common::kill(getpid(), Signal::USR1.as_raw());
}

/// Any thread can read the process's signals from the descriptor. Only the target thread can read a signal
/// sent to a thread.
fn signal_fd_of_another_thread() {
    let usr1 = set(&[Signal::USR1]);
    let _guard = usr1.block().unwrap();
    let signals = SignalFd::new(usr1).unwrap();
    raise_here(Signal::USR1);
    thread::scope(|scope| {
        let theirs = scope.spawn(|| signals.try_read());
        assert_eq!(theirs.join().unwrap(), Err(Errno::EAGAIN));
        assert_eq!(signals.try_read().unwrap().code, -6);
        raise(Signal::USR1);
        let theirs = scope.spawn(|| signals.try_read().unwrap().code);
        assert_eq!(theirs.join().unwrap(), 0);
    });
}

fn signal_fd_wakes_a_reader_of_another_thread() {
    let usr1 = set(&[Signal::USR1]);
    let _guard = usr1.block().unwrap();
    let signals = SignalFd::new(usr1).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| signals.read_deadline(long()).unwrap().signal);
        thread::sleep(MOMENT);
        raise(Signal::USR1);
        assert_eq!(reading.join().unwrap(), Signal::USR1);
    });
}

/// A program that a forked child executes keeps the child's signal mask.
fn block_stays_over_an_exec_of_a_fork() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut forked = child(|| {
        let _guard = set(&[Signal::USR1]).block();
        let _ = io::redirect(&writer, io::StdStream::Stdout);
        let argv = [c"cat", c"/proc/self/status"].map(process::Arg::new);
        let argv = [argv[0], argv[1], process::Arg::END];
        let _ = process::execvpe(c"cat", process::DEFAULT_PATH, &argv, &[process::Arg::END]);
        1
    });
    drop(writer);
    let mut status = Vec::new();
    io::read_to_end(&reader, &mut status).unwrap();
    assert!(forked.wait().unwrap().success());
    let status = String::from_utf8(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    assert_ne!(u64::from_str_radix(line.trim(), 16).unwrap() & bit(Signal::USR1), 0);
}

fn signal_fd_refused() {
    filtered("signal_fd_refused", &"with filters", || {
        let refused = Filter::new(&[nr::SIGNALFD4], Errno::EPERM);
        if !refused.install() {
            return NO_FILTER;
        }
        assert_eq!(SignalFd::new(SignalSet::empty()).unwrap_err(), Errno::EPERM);
        // A wait without a `Cancel` works, because such a wait needs no signal descriptor.
        let usr1 = set(&[Signal::USR1]);
        assert_eq!(wait_signal(usr1, Deadline::now()), Ok(None));
        let refused = Filter::new(&[nr::RT_SIGPROCMASK, nr::RT_SIGTIMEDWAIT], Errno::EACCES);
        if !refused.install() {
            return NO_FILTER;
        }
        assert_eq!(usr1.block().unwrap_err(), Errno::EACCES);
        assert_eq!(wait_signal(usr1, Deadline::now()), Err(Errno::EACCES));
        0
    });
}

fn signal_fd_emfile() {
    if common::descriptors_without_limit("signal_fd_emfile") {
        return;
    }
    let mut limited = child(|| {
        common::set_limits(Resource::NOFILE.as_raw(), [3; 2]);
        u8::from(SignalFd::new(SignalSet::empty()).map(drop) != Err(Errno::EMFILE))
    });
    assert!(limited.wait().unwrap().success());
}

/// The C library sends an internal signal to all threads to change their ids. A wait for all signals must not
/// consume that signal.
fn wait_signal_for_all_leaves_the_librarys_to_it() {
    unsafe extern "C" {
        safe fn geteuid() -> u32;
        safe fn seteuid(id: u32) -> i32;
    }
    for by_descriptor in [false, true] {
        let changed = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (ready, begins) = rawpipe::pipe().unwrap();
            let changed = &changed;
            scope.spawn(move || {
                let _blocked = SignalSet::full().block().unwrap();
                begins.write(b"!").unwrap();
                let end = Deadline::after(LONG);
                while changed.load(Ordering::SeqCst) == 0 && !end.has_passed() {
                    let until = Deadline::after(MOMENT);
                    let taken = if by_descriptor {
                        SignalFd::new(SignalSet::full()).unwrap().read_deadline(until).ok()
                    } else {
                        wait_signal(SignalSet::full(), until).unwrap()
                    };
                    assert!(taken.is_none(), "{taken:?}");
                }
            });
            ready.read(&mut [0]).unwrap();
            assert_eq!(seteuid(geteuid()), 0);
            changed.store(1, Ordering::SeqCst);
        });
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    wait_signal_for_all_leaves_the_librarys_to_it,
    block_adds_and_its_guard_restores,
    block_holds_a_signal_back_until_the_guard_is_dropped,
    block_of_a_thread_is_inherited_by_threads_and_forks,
    block_is_not_inherited_by_a_program_that_is_started,
    block_stays_over_an_exec_of_a_fork,
    wait_signal_none_until_the_deadline,
    wait_signal_takes_one_from_a_process,
    wait_signal_order_and_merging,
    wait_signal_real_time_signals_are_queued,
    wait_signal_goes_on_after_other_signals,
    sigchld_says_how_each_child_ended,
    sigchld_of_two_children_is_merged,
    sigchld_ignored_comes_never,
    signal_fd_with_poll_and_epoll,
    signal_fd_has_nothing_of_what_is_not_blocked,
    signal_fd_in_a_forked_child_reads_the_childs,
    signal_fd_of_another_thread,
    signal_fd_wakes_a_reader_of_another_thread,
    signal_fd_refused,
    signal_fd_emfile,
];
