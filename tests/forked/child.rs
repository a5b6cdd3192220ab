//! Tests `Child` and `ExitStatus`. The tests cover waiting, signals, lost statuses, missing kernel features,
//! drops, traced children, groups, and the streams of programs. Each test runs in its own process.
#![allow(unsafe_code, reason = "signals, limits, and children made behind the crate's back")]

use crate::common::nr;
use crate::common::programs::{program, std_program};
use crate::common::{self, Filter, HANDLED, Storm, Value, child, close_copy, skip};
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::process::{self, Child, ExitStatus, OnDrop, Resource, Signal, Stdio};
use rawpipe::{Errno, Fork, PipeReader, PipeWriter, io, raw};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A delay long enough to measure and short enough to wait for.
const SHORT: Duration = Duration::from_millis(30);
/// A time limit that no test reaches.
const LONG: Duration = Duration::from_secs(120);

unsafe extern "C" {
    #[link_name = "signal"]
    safe fn c_signal(signal: i32, handler: usize) -> usize;
    #[link_name = "kill"]
    safe fn c_kill(pid: i32, signal: i32) -> i32;
    #[link_name = "waitpid"]
    fn c_waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    #[link_name = "ptrace"]
    fn c_ptrace(request: u32, ...) -> isize;
    #[link_name = "clock"]
    safe fn c_clock() -> std::ffi::c_long;
}

/// Creates a child that runs until it is killed. Dropping the handle kills the child. Otherwise the harness
/// would wait for the child, which holds the inherited standard output.
fn waiting_child() -> Child {
    let mut child = child(|| {
        let _ = poll(&mut [], None);
        0
    });
    child.on_drop(OnDrop::Kill).unwrap();
    child
}

/// Creates a child that exits with `code` when the writer is dropped.
fn gated_child(code: u8) -> (Child, PipeWriter) {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let child = child(move || {
        close_copy(copy);
        let _ = gate.read(&mut [0]);
        code
    });
    (child, opener)
}

/// Calls the C library's `waitpid` for any child. Returns the wait status, or `None` if no child exists.
fn wait_for_any() -> Option<i32> {
    let mut status = 0;
    // SAFETY: the call writes one `int` to `status`.
    let pid = unsafe { c_waitpid(-1, &raw mut status, 0) };
    (pid > 0).then_some(status)
}

fn errno_of_c(answer: i32) -> Errno {
    assert_eq!(answer, -1);
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap()
}

/// Returns whether a process with this id exists. A zombie also counts.
fn exists(pid: u32) -> bool {
    c_kill(i32::try_from(pid).unwrap(), 0) == 0
}

fn process_id() -> u32 {
    std::process::id()
}

/// Runs `body` with all kernel features, then three times with fewer features. In the second run, `waitid`
/// rejects pidfds, and `ioctl` fails as it does for a pidfd on Linux 5.3. In the third run,
/// `pidfd_send_signal` also fails. In the last run, no pidfd can be created. If no filter can be installed,
/// the last three runs are skipped.
fn with_ever_less(test: &str, body: impl Fn(&str)) {
    body("all");
    let ways: [(&str, &[Filter]); 3] = [
        (
            "no P_PIDFD",
            &[
                Filter::on_argument(nr::WAITID, 0, Value::Is(3), Errno::EINVAL),
                Filter::new(&[nr::IOCTL], Errno::ENOTTY),
            ],
        ),
        ("no signals", &[Filter::new(&[nr::PIDFD_SEND_SIGNAL], Errno::EPERM)]),
        ("no pidfd", &[Filter::new(&[nr::PIDFD_OPEN], Errno::ENOSYS), common::no_pidfd_by_clone()]),
    ];
    for (way, filters) in ways {
        if !filters.iter().all(Filter::install) {
            return skip(test, "no filter of system calls here");
        }
        body(way);
    }
}

// ---- ExitStatus ----

fn status_equals_stds_in_every_encoding() {
    for raw in 0..=0xffff {
        let std = std::process::ExitStatus::from_raw(raw);
        let ours = ExitStatus::from(std);
        assert_eq!(ours.success(), std.success(), "{raw:#x}");
        assert_eq!(ours.code(), std.code(), "{raw:#x}");
        // std also returns numbers that are not signal numbers, but the kernel never stores such a number in
        // a status.
        let known = |number: &i32| Signal::from_raw(*number).is_some();
        let (killed, stopped) = (std.signal(), std.stopped_signal());
        assert_eq!(ours.signal().map(Signal::as_raw), killed.filter(known), "{raw:#x}");
        assert_eq!(ours.stopped_signal().map(Signal::as_raw), stopped.filter(known), "{raw:#x}");
        if killed.is_none_or(|number| known(&number)) {
            assert_eq!(ours.core_dumped(), std.core_dumped(), "{raw:#x}");
        }
        assert_eq!(ours.continued(), std.continued(), "{raw:#x}");
        assert_eq!(std::process::ExitStatus::from(ours).into_raw(), raw);
    }
}

fn status_in_words() {
    let words = |raw| ExitStatus::from(std::process::ExitStatus::from_raw(raw)).to_string();
    assert_eq!(words(0), "exit status: 0");
    assert_eq!(words(255 << 8), "exit status: 255");
    assert_eq!(words(9), "signal: 9 (SIGKILL)");
    assert_eq!(words(40), "signal: 40");
    assert_eq!(words(0x80 | 11), "signal: 11 (SIGSEGV) (core dumped)");
    let stop = Signal::STOP.as_raw();
    let stopped = words(stop << 8 | 0x7f);
    assert_eq!(stopped, format!("stopped (not terminated) by signal: {stop} (SIGSTOP)"));
    assert_eq!(words(0xffff), "continued (WIFCONTINUED)");
    assert_eq!(words(0xff), "unrecognised wait status: 255 0xff");
    let status = ExitStatus::from_raw(3 << 8);
    assert_eq!(format!("{status:?}"), "ExitStatus(exit status: 3)");
    let (ours, std) = (ExitStatus::default(), std::process::ExitStatus::default());
    assert_eq!((ours.into_raw(), ours.success()), (std.into_raw(), true));
}

/// Every status that a wait can return has the same text as in std, and so do some values that no wait
/// returns. The only exception is a status with `SIGSTKFLT`, because this crate does not name that signal.
/// The kernel never sends `SIGSTKFLT`, and MIPS and SPARC lack it.
fn status_in_words_as_with_std() {
    let beyond = [0x1_0000, 0x7fff_ffff, i32::MIN, -1, -2, 0x1_ffff, 0x10_007f];
    for raw in (0..=0xffff).chain(beyond) {
        let std = std::process::ExitStatus::from_raw(raw);
        let theirs = std.to_string().replace(" (SIGSTKFLT)", "");
        assert_eq!(ExitStatus::from_raw(raw).to_string(), theirs, "{raw:#x}");
        assert_eq!(ExitStatus::from_raw(raw).into_raw(), raw);
    }
}

fn status_of_every_code() {
    for code in 0..=255 {
        let status = child(move || code).wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code.into()), None));
        assert_eq!(status.success(), code == 0);
    }
}

fn status_of_every_deadly_signal() {
    let harmless = [Signal::CHLD, Signal::CONT, Signal::URG, Signal::WINCH];
    let stops = [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU];
    for signal in (1..).map_while(Signal::from_raw) {
        if harmless.contains(&signal) || stops.contains(&signal) {
            continue;
        }
        // C libraries reserve the first real-time signals, and emulators reserve other signals.
        if signal.name().is_none() && (signal.as_raw() < 35 || common::emulated()) {
            continue;
        }
        // Under Valgrind, neither `SIGSYS` nor the last signal kills a child.
        let kept = signal == Signal::SYS || signal.as_raw() == 64;
        if kept && common::tool() == Some(common::Tool::Valgrind) {
            skip("status_of_every_deadly_signal", "no child dies of SIGSYS and 64 under Valgrind");
            continue;
        }
        let mut victim = child(move || {
            c_signal(signal.as_raw(), 0);
            common::kill(process_id(), signal.as_raw());
            let _ = poll(&mut [], Some(SHORT));
            0
        });
        let status = victim.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(signal)));
        let std = std::process::ExitStatus::from(status);
        assert_eq!(common::signal(std), Some(signal.as_raw()));
    }
}

fn status_core_flag_is_the_c_librarys() {
    // The test uses its own directory. In a shared directory, another process may overwrite and remove a
    // file named "core".
    let folder = common::tmp_path();
    std::fs::create_dir(&folder).unwrap();
    std::env::set_current_dir(&folder).unwrap();
    let abort = || {
        common::kill(process_id(), Signal::ABRT.as_raw());
        0
    };
    for soft in [0, u64::MAX] {
        let hard = common::limits(Resource::CORE.as_raw())[1];
        common::set_soft_limit(Resource::CORE.as_raw(), hard.min(soft));
        let _theirs = child(abort);
        let theirs = std::process::ExitStatus::from_raw(wait_for_any().unwrap());
        let ours = child(abort).wait().unwrap();
        assert_eq!(ours.signal(), Some(Signal::ABRT));
        assert_eq!(ours, theirs.into());
        assert_eq!(ours.core_dumped(), theirs.core_dumped());
        if soft > 0 && !ours.core_dumped() {
            skip("status_core_flag_is_the_c_librarys", "this machine writes no core dumps");
        }
    }
    std::env::set_current_dir("/").unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

// ---- wait ----

fn wait_twice_is_the_same_answer() {
    with_ever_less("wait_twice_is_the_same_answer", |way| {
        let mut child = child(|| 9);
        let first = child.wait().unwrap();
        assert_eq!(first.code(), Some(9), "{way}");
        assert_eq!(child.wait(), Ok(first), "{way}");
        assert_eq!(child.try_wait(), Ok(Some(first)), "{way}");
        assert_eq!(child.wait_deadline(Deadline::after(LONG)), Ok(Some(first)), "{way}");
        assert_eq!(child.wait_change(), Ok(first), "{way}");
        assert!(!exists(child.id()), "{way}: a zombie");
    });
}

fn try_wait_nothing_yet_then_killed() {
    with_ever_less("try_wait_nothing_yet_then_killed", |way| {
        let mut child = waiting_child();
        // Valgrind lacks `pidfd_open`, which the C shim needs.
        let lacks = common::tool() == Some(common::Tool::Valgrind) && cfg!(feature = "c-shim");
        assert_eq!(child.pidfd().is_some(), way != "no pidfd" && !lacks, "{way}");
        assert_eq!(child.try_wait(), Ok(None), "{way}");
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(Signal::KILL)), "{way}");
    });
}

fn wait_stopped_child_is_not_an_end() {
    with_ever_less("wait_stopped_child_is_not_an_end", |way| {
        let (mut child, opener) = gated_child(0);
        child.send_signal(Signal::STOP).unwrap();
        assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None), "{way}");
        child.send_signal(Signal::CONT).unwrap();
        assert_eq!(child.try_wait(), Ok(None), "{way}");
        drop(opener);
        assert!(child.wait().unwrap().success(), "{way}");
    });
}

fn wait_change_reports_stop_continue_and_end() {
    with_ever_less("wait_change_reports_stop_continue_and_end", |way| {
        let (mut child, opener) = gated_child(4);
        // `SIGTSTP` and similar signals are not tested, because they do not stop a process in an orphaned
        // process group.
        for stop in [Signal::STOP, Signal::STOP] {
            child.send_signal(stop).unwrap();
            let status = child.wait_change().unwrap();
            assert_eq!(status.stopped_signal(), Some(stop), "{way}");
            assert_eq!((status.code(), status.signal()), (None, None), "{way}");
            assert!(!status.success() && !status.continued(), "{way}");
            child.send_signal(Signal::CONT).unwrap();
            let status = child.wait_change().unwrap();
            assert!(status.continued(), "{way}: {status}");
            assert_eq!(status.stopped_signal(), None, "{way}");
        }
        drop(opener);
        assert_eq!(child.wait_change().unwrap().code(), Some(4), "{way}");
        assert_eq!(child.wait().unwrap().code(), Some(4), "{way}");
    });
}

fn wait_goes_on_after_signals() {
    with_ever_less("wait_goes_on_after_signals", |way| {
        // The child of the `Storm` is created first, so that it has no copy of `opener`.
        let storm = Storm::begin(Duration::from_millis(1));
        let (mut slow, opener) = gated_child(2);
        let before = HANDLED.load(Ordering::SeqCst);
        let parent = process_id();
        let mut opening = child(move || {
            for _ in 0..20 {
                let _ = poll(&mut [], Some(Duration::from_millis(2)));
                common::kill(parent, Signal::USR1.as_raw());
            }
            drop(opener);
            0
        });
        assert_eq!(slow.wait().unwrap().code(), Some(2), "{way}");
        assert!(HANDLED.load(Ordering::SeqCst) > before, "{way}: no signal came");
        drop(storm);
        assert!(opening.wait().unwrap().success());
    });
}

fn wait_deadline_zero_short_and_long() {
    with_ever_less("wait_deadline_zero_short_and_long", |way| {
        let (mut child, opener) = gated_child(6);
        assert_eq!(child.wait_deadline(Deadline::after(Duration::ZERO)), Ok(None), "{way}");
        let begin = Instant::now();
        assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None), "{way}");
        assert!(begin.elapsed() >= SHORT, "{way}: {:?}", begin.elapsed());
        drop(opener);
        let status = child.wait_deadline(Deadline::after(LONG)).unwrap().unwrap();
        assert_eq!(status.code(), Some(6), "{way}");
        assert!(begin.elapsed() < LONG, "{way}");
    });
}

fn wait_deadline_is_fixed_while_signals_arrive() {
    with_ever_less("wait_deadline_is_fixed_while_signals_arrive", |way| {
        let mut child = waiting_child();
        let storm = Storm::begin(Duration::from_millis(1));
        // On a busy machine the first signal may arrive late, so the test retries.
        for attempt in 0.. {
            let before = HANDLED.load(Ordering::SeqCst);
            let begin = Instant::now();
            let deadline = Deadline::after(5 * SHORT);
            assert_eq!(child.wait_deadline(deadline), Ok(None), "{way}");
            assert!(begin.elapsed() >= 5 * SHORT, "{way}: {:?}", begin.elapsed());
            assert!(begin.elapsed() < LONG, "{way}");
            assert_eq!(child.wait_deadline(deadline), Ok(None), "{way}: it has passed");
            if HANDLED.load(Ordering::SeqCst) > before {
                break;
            }
            assert!(attempt < 100, "{way}: no signal came");
        }
        drop(storm);
    });
}

fn wait_deadline_that_has_passed_still_asks() {
    with_ever_less("wait_deadline_that_has_passed_still_asks", |way| {
        let (mut child, opener) = gated_child(1);
        let passed = Deadline::from(Instant::now());
        assert_eq!(child.wait_deadline(passed), Ok(None), "{way}");
        drop(opener);
        while child.wait_deadline(passed).unwrap().is_none() {}
        assert_eq!(child.wait().unwrap().code(), Some(1), "{way}");
    });
}

fn wait_deadline_without_end_ends_with_the_child() {
    with_ever_less("wait_deadline_without_end_ends_with_the_child", |way| {
        let mut child = child(|| {
            let _ = poll(&mut [], Some(SHORT));
            8
        });
        let status = child.wait_deadline(Deadline::after(Duration::MAX)).unwrap().unwrap();
        assert_eq!(status.code(), Some(8), "{way}");
    });
}

fn wait_many_children_each_its_own() {
    with_ever_less("wait_many_children_each_its_own", |way| {
        let mut children: Vec<_> = (0..20).map(|code| (code, child(move || code))).collect();
        children.reverse();
        for (code, mut child) in children {
            assert_eq!(child.wait().unwrap().code(), Some(code.into()), "{way}");
        }
    });
}

/// If a filter rejects `waitid` with `WNOHANG`, a wait that uses this flag returns the filter's error and
/// does not treat the child as ended.
fn wait_refused_is_not_remembered() {
    const WNOHANG: u32 = 1;
    let mut child = waiting_child();
    if !Filter::on_argument(nr::WAITID, 3, Value::Has(WNOHANG), Errno::EPERM).install() {
        return skip("wait_refused_is_not_remembered", "no filter of system calls here");
    }
    assert_eq!(child.try_wait(), Err(Errno::EPERM));
    assert_eq!(child.wait_deadline(Deadline::after(LONG)), Err(Errno::EPERM));
    // The test does not send the signal through the handle. Without `pidfd_send_signal`, the handle would
    // first check that the process id still belongs to the child.
    common::kill(child.id(), Signal::KILL.as_raw());
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
}

// ---- lost status ----

/// Asserts that every wait for a lost status returns the same result. Since Linux 6.15 that result can be the
/// status. On older kernels, or if `way` is not `all`, the result is `ECHILD`.
fn assert_lost(child: &mut Child, code: i32, way: &str) {
    let first = child.wait();
    match first {
        Ok(status) => {
            assert_eq!(status.code(), Some(code), "{way}");
            assert_eq!(way, "all", "the status is lost");
        }
        Err(errno) => assert_eq!(errno, Errno::ECHILD, "{way}"),
    }
    assert_eq!(child.wait(), first, "{way}");
    assert_eq!(child.try_wait(), first.map(Some), "{way}");
    assert_eq!(child.wait_deadline(Deadline::after(LONG)), first.map(Some), "{way}");
    assert_eq!(child.wait_change(), first, "{way}");
    assert_eq!(child.kill(), killed_after(first), "{way}");
    assert_eq!(child.send_signal(Signal::KILL), Err(Errno::ESRCH), "{way}");
}

/// Returns the expected result of `kill` after a wait that returned `end`. As in std, `kill` returns `Ok`
/// only if the status is known.
fn killed_after(end: Result<ExitStatus, Errno>) -> Result<(), Errno> {
    end.map(|_| ()).map_err(|_| Errno::ESRCH)
}

fn wait_sigchld_ignored_echild() {
    c_signal(Signal::CHLD.as_raw(), 1);
    with_ever_less("wait_sigchld_ignored_echild", |way| {
        assert_lost(&mut child(|| 5), 5, way);
        // The wait begins while the child runs. No other child exists whose end could wake the waiting
        // thread.
        let mut slow = child(|| {
            let _ = poll(&mut [], Some(SHORT));
            5
        });
        assert_eq!(slow.try_wait(), Ok(None), "{way}");
        assert_lost(&mut slow, 5, way);
        let mut slow = child(|| {
            let _ = poll(&mut [], Some(SHORT));
            5
        });
        let _ = slow.wait_deadline(Deadline::after(LONG));
        assert_lost(&mut slow, 5, way);
    });
}

fn wait_sa_nocldwait_echild() {
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        return skip("wait_sa_nocldwait_echild", "struct sigaction is another one here");
    }
    const SA_NOCLDWAIT: usize = 2;
    // The kernel's `struct sigaction` contains the handler, the flags, one more field on some architectures,
    // and the mask. Every field except the flags is zero.
    let action = [0, SA_NOCLDWAIT, 0, 0, 0, 0, 0, 0];
    let place = (&raw const action).expose_provenance();
    let signal = Signal::CHLD.as_raw().unsigned_abs() as usize;
    // SAFETY: the call reads one `struct sigaction`, which is shorter than `action`.
    assert_eq!(unsafe { raw::syscall4(nr::RT_SIGACTION, signal, place, 0, 8) }, 0);
    with_ever_less("wait_sa_nocldwait_echild", |way| assert_lost(&mut child(|| 3), 3, way));
}

/// If `SIGCHLD` is ignored, the wait returns slightly before Linux removes the child. During that time the
/// child still accepts signals, so `kill` makes no system call after such a wait.
fn kill_lost_child_esrch_without_asking() {
    c_signal(Signal::CHLD.as_raw(), 1);
    let mut lost = child(|| 5);
    let end = lost.wait();
    if !Filter::new(&[nr::PIDFD_SEND_SIGNAL, nr::KILL], Errno::EIO).install() {
        return skip("kill_lost_child_esrch_without_asking", "no filter of system calls here");
    }
    assert_eq!(lost.kill(), killed_after(end));
    assert_eq!(lost.send_signal(Signal::TERM), Err(Errno::ESRCH));
}

fn wait_stolen_status_echild_and_never_a_stranger() {
    with_ever_less("wait_stolen_status_echild_and_never_a_stranger", |way| {
        let mut stolen = child(|| 5);
        assert_eq!(wait_for_any(), Some(5 << 8));
        let (mut other, opener) = gated_child(7);
        assert_lost(&mut stolen, 5, way);
        if way == "all" && common::linux(6, 15) && !common::emulated() && stolen.pidfd().is_some() {
            assert!(stolen.wait().is_ok(), "Linux knows it");
        }
        assert_eq!(other.try_wait(), Ok(None), "{way}");
        drop(opener);
        assert_eq!(other.wait().unwrap().code(), Some(7), "{way}");
    });
}

fn wait_by_a_process_that_is_not_the_parent_echild() {
    with_ever_less("wait_by_a_process_that_is_not_the_parent_echild", |way| {
        let mut brother = waiting_child();
        let (pid, one) = (brother.id(), &mut brother);
        let has_pidfd =
            (way == "all" || way == "no P_PIDFD") && common::has_call(nr::PIDFD_SEND_SIGNAL);
        let mut other = child(move || {
            let lost = one.wait() == Err(Errno::ECHILD) && one.try_wait() == Err(Errno::ECHILD);
            // A pidfd refers only to the child, but the process id could already belong to another process.
            let sent = one.send_signal(Signal::TERM);
            let right = if has_pidfd { sent == Ok(()) } else { sent == Err(Errno::ESRCH) };
            u8::from(!lost) | u8::from(!right) << 1
        });
        assert_eq!(other.wait().unwrap().code(), Some(0), "{way}");
        assert!(exists(pid), "{way}");
        if !has_pidfd {
            brother.send_signal(Signal::TERM).unwrap();
        }
        assert_eq!(brother.wait().unwrap().signal(), Some(Signal::TERM), "{way}");
    });
}

// ---- signals ----

/// After a wait has returned the status, `kill` succeeds, as in std, but `send_signal` fails with `ESRCH`.
fn kill_after_wait_ok_as_std_and_a_signal_esrch_as_the_c_library() {
    let mut std = std_program("exit", &["0"]).spawn().unwrap();
    std.wait().unwrap();
    std.kill().unwrap();
    with_ever_less("kill_after_wait_ok_as_std_and_a_signal_esrch_as_the_c_library", |way| {
        let mut child = child(|| 0);
        let pid = i32::try_from(child.id()).unwrap();
        while child.try_wait().unwrap().is_none() {}
        assert_eq!(child.kill(), Ok(()), "{way}");
        assert_eq!(child.send_signal(Signal::TERM), Err(Errno::ESRCH), "{way}");
        assert_eq!(child.lead_group(), Err(Errno::ESRCH), "{way}");
        assert_eq!(errno_of_c(c_kill(pid, 9)), Errno::ESRCH);
        // SAFETY: the pointer is null, so the call writes no status.
        assert_eq!(errno_of_c(unsafe { c_waitpid(pid, std::ptr::null_mut(), 0) }), Errno::ECHILD);
    });
}

fn send_signal_to_a_zombie_does_nothing() {
    with_ever_less("send_signal_to_a_zombie_does_nothing", |way| {
        let (mut child, opener) = gated_child(3);
        drop(opener);
        wait_for_zombie(child.id());
        assert_eq!(child.send_signal(Signal::TERM), Ok(()), "{way}");
        assert_eq!(child.kill(), Ok(()), "{way}");
        assert_eq!(child.wait().unwrap().code(), Some(3), "{way}");
    });
}

/// Waits until this child has ended, without collecting its status.
fn wait_for_zombie(pid: u32) {
    const P_PID: usize = 1;
    const WEXITED_WNOWAIT: usize = 0x0100_0004;
    let mut info = [0_i32; 32];
    let place = (&raw mut info).expose_provenance();
    // SAFETY: the call writes one `siginfo_t` at `place`.
    let answer =
        unsafe { raw::syscall5(nr::WAITID, P_PID, pid as usize, place, WEXITED_WNOWAIT, 0) };
    assert_eq!(answer, 0);
}

fn send_signal_reaches_a_handler() {
    extern "C" fn handler(_signal: i32) {
        process::exit(77);
    }
    with_ever_less("send_signal_reaches_a_handler", |way| {
        let (ready, tell) = rawpipe::pipe().unwrap();
        let mut child = child(move || {
            let handler: extern "C" fn(i32) = handler;
            c_signal(Signal::USR1.as_raw(), handler as usize);
            tell.write_all(b"!").unwrap();
            let _ = poll(&mut [], Some(LONG));
            0
        });
        ready.read_exact(&mut [0]).unwrap();
        child.send_signal(Signal::USR1).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(77), "{way}");
    });
}

/// Creates a child of this process, and gives the child exactly this process id. Returns `None` if the child
/// cannot be created with that id.
fn child_with_number(test: &str, pid: u32) -> Option<isize> {
    let set_tid = [pid];
    let mut arguments = [0_u64; 10]; // struct clone_args
    arguments[4] = Signal::CHLD.as_raw().unsigned_abs().into(); // exit_signal
    arguments[8] = (&raw const set_tid).expose_provenance() as u64;
    arguments[9] = 1;
    let place = (&raw const arguments).expose_provenance();
    // SAFETY: the call reads one `struct clone_args` and one number. The child shares no memory with this
    // process and exits below.
    let answer = unsafe { raw::syscall2(nr::CLONE3, place, size_of_val(&arguments)) };
    if answer == 0 {
        let _ = poll(&mut [], Some(LONG));
        process::exit(0);
    }
    if answer < 0 {
        skip(test, &format!("cannot choose a process id (errno {})", -answer));
    }
    (answer > 0).then_some(answer)
}

/// If other code collects a child's status, a process that is not a child of this process can receive the
/// child's id. A signal through the old handle never reaches that process, with a pidfd or without one.
fn kill_never_hits_a_recycled_number() {
    let test = "kill_never_hits_a_recycled_number";
    let parent_of_strangers = |pid: u32, act: &dyn Fn()| {
        // Another process creates the process that reuses the id, so that the new process is not a child of
        // this process.
        let (said, say) = rawpipe::pipe().unwrap();
        let mut middle = child(move || {
            let stranger = child_with_number(test, pid);
            say.write_all(&[u8::from(stranger.is_some())]).unwrap();
            drop(say);
            let Some(stranger) = stranger else { return 2 };
            let mut status = 0;
            let stranger = i32::try_from(stranger).unwrap();
            // SAFETY: the call writes one `int` to `status`.
            unsafe { c_waitpid(stranger, &raw mut status, 0) };
            u8::from(status != Signal::USR2.as_raw()) // the signal that the test sends
        });
        let mut made = [0];
        said.read_exact(&mut made).unwrap();
        if made == [1] {
            assert!(exists(pid));
            act();
            common::kill(pid, Signal::USR2.as_raw());
            assert_eq!(middle.wait().unwrap().code(), Some(0), "the stranger was hit");
        } else {
            middle.wait().unwrap();
        }
    };
    with_ever_less(test, |way| {
        let mut gone = child(|| 1);
        let pid = gone.id();
        assert_eq!(wait_for_any(), Some(1 << 8));
        parent_of_strangers(pid, &|| {
            assert_eq!(gone.kill(), Err(Errno::ESRCH), "{way}");
            assert_eq!(gone.send_signal(Signal::TERM), Err(Errno::ESRCH), "{way}");
        });
        assert_lost(&mut gone, 1, way);
        // After this handle itself has waited, `kill` succeeds without sending a signal, and `send_signal`
        // fails with `ESRCH`.
        let mut gone = child(|| 1);
        let pid = gone.id();
        gone.wait().unwrap();
        parent_of_strangers(pid, &|| {
            assert_eq!(gone.kill(), Ok(()), "{way}");
            assert_eq!(gone.send_signal(Signal::KILL), Err(Errno::ESRCH), "{way}");
        });
    });
}

/// From a nested PID namespace, sends a signal through a forked copy of a handle. In that namespace, other
/// processes have the ids of the owner and of the child. The call fails with `ESRCH`, and the other processes
/// stay alive.
fn kill_of_a_copy_in_a_nested_pid_namespace_hits_nobody() {
    const CLONE_NEWPID: i32 = 0x2000_0000;
    unsafe extern "C" {
        safe fn unshare(flags: i32) -> i32;
    }
    let test = "kill_of_a_copy_in_a_nested_pid_namespace_hits_nobody";
    if common::emulated() || common::tool().is_some() {
        return skip(
            test,
            "name spaces need a process of one thread, and a kernel in front of nothing",
        );
    }
    let sleeper = || {
        child(|| {
            std::thread::sleep(Duration::from_secs(600));
            0
        })
    };
    let mut outer = child(|| {
        if unshare(CLONE_NEWPID) != 0 {
            return 77;
        }
        let mut first = child(|| {
            let victim = sleeper();
            let mut reaped = sleeper();
            let owner = std::process::id();
            if unshare(CLONE_NEWPID) != 0 {
                return 77;
            }
            let number = victim.id();
            let mut second = child(move || {
                let mut own = sleeper();
                if (std::process::id(), own.id()) != (owner, number) {
                    return 1;
                }
                let signalled = victim.send_signal(Signal::TERM);
                let mut victim = victim;
                victim.on_drop(OnDrop::Kill).unwrap();
                drop(victim);
                std::thread::sleep(Duration::from_millis(50));
                let alive = own.try_wait() == Ok(None);
                own.kill().unwrap();
                own.wait().unwrap();
                u8::from(!(alive && signalled == Err(Errno::ESRCH)))
            });
            let code = second.wait().unwrap().code();
            reaped.kill().unwrap();
            reaped.wait().unwrap();
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(3)
        });
        first.wait().unwrap().code().and_then(|code| u8::try_from(code).ok()).unwrap_or(4)
    });
    match outer.wait().unwrap().code() {
        Some(77) => skip(test, "needs a right to name spaces"),
        code => assert_eq!(code, Some(0)),
    }
}

/// A signal does not reach another child of this process that has received the same id. Without
/// `pidfd_send_signal`, this guarantee holds only after this handle has waited.
fn kill_never_hits_a_brother_with_the_number() {
    let test = "kill_never_hits_a_brother_with_the_number";
    with_ever_less(test, |way| {
        for stolen in [true, false] {
            if stolen && way != "all" && way != "no P_PIDFD" {
                continue; // without `pidfd_send_signal`, the reuse of the id is not detected
            }
            let mut gone = child(|| 1);
            if stolen {
                assert_eq!(wait_for_any(), Some(1 << 8));
            } else {
                assert_eq!(gone.wait().unwrap().code(), Some(1), "{way}");
            }
            let Some(_) = child_with_number(test, gone.id()) else { return };
            assert_eq!(gone.kill(), if stolen { Err(Errno::ESRCH) } else { Ok(()) }, "{way}");
            assert_eq!(gone.send_signal(Signal::KILL), Err(Errno::ESRCH), "{way}");
            if !stolen {
                assert_eq!(gone.lead_group(), Err(Errno::ESRCH), "{way}");
            }
            common::kill(gone.id(), Signal::USR2.as_raw());
            assert_eq!(wait_for_any(), Some(Signal::USR2.as_raw()));
        }
    });
}

// ---- pidfd ----

fn pidfd_is_close_on_exec_and_readable_at_the_end() {
    let (child, opener) = gated_child(0);
    let Some(pidfd) = child.pidfd() else {
        return skip("pidfd_is_close_on_exec_and_readable_at_the_end", "no pidfd here");
    };
    assert_eq!(io::is_close_on_exec(pidfd), Ok(true));
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollEvents::IN)];
    assert_eq!(poll(&mut fds, Some(Duration::ZERO)), Ok(0));
    drop(opener);
    assert_eq!(poll(&mut fds, Some(LONG)), Ok(1));
    assert!(fds[0].revents().contains(PollEvents::IN));
}

/// If the child cannot be created with a pidfd, the pidfd is opened after the fork. The pidfd is dropped if
/// it does not refer to a child of this process, because another process has then received the id.
fn pidfd_opened_after_the_fork_is_checked() {
    let test = "pidfd_opened_after_the_fork_is_checked";
    let has_pidfd = || waiting_child().pidfd().is_some();
    if !common::has_call(nr::PIDFD_OPEN) {
        return skip(test, "no pidfd_open here");
    }
    if !has_pidfd() || !common::no_pidfd_by_clone().install() {
        return skip(test, "no pidfd, or no filter of system calls here");
    }
    assert!(has_pidfd());
    assert!(Filter::on_argument(nr::WAITID, 0, Value::Is(3), Errno::EINVAL).install());
    assert!(has_pidfd(), "Linux 5.3 cannot say whose it is");
    // The filter that was installed last takes precedence.
    assert!(Filter::on_argument(nr::WAITID, 0, Value::Is(3), Errno::ECHILD).install());
    assert!(!has_pidfd());
}

/// The pidfd is open only in the parent.
fn pidfd_is_not_in_the_child() {
    let before = common::open_fds();
    let (said, say) = rawpipe::pipe().unwrap();
    let mut child = child(move || {
        let now = common::open_fds();
        let more: Vec<u8> = now.difference(&before).map(|fd| fd.to_le_bytes()[0]).collect();
        u8::from(say.write(&more) != Ok(2)) // only the two ends of the pipe
    });
    assert_eq!(child.wait().unwrap().code(), Some(0), "{:?}", said.available());
}

fn accessors_of_a_forked_child_are_empty() {
    let mut child = child(|| 0);
    assert!(
        child.stdin_ref().is_none() && child.stdout_ref().is_none() && child.stderr_ref().is_none()
    );
    assert!(child.take_stdin().is_none());
    assert!(child.take_stdout().is_none() && child.take_stderr().is_none());
    assert!(child.wait().unwrap().success());
}

fn fork_ten_thousand_leave_no_descriptor_and_no_zombie() {
    let before = common::open_fds();
    for turn in 0..if common::slow() { 300 } else { 10_000 } {
        let code = u8::try_from(turn % 256).unwrap();
        assert_eq!(child(move || code).wait().unwrap().code(), Some(code.into()));
    }
    assert_eq!(common::open_fds(), before);
    assert_eq!(wait_for_any(), None);
}

// ---- drop ----

/// Creates a child that holds the write end until the child exits.
fn holding_child() -> (Child, PipeReader) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let child = child(move || {
        let _held = writer;
        let _ = poll(&mut [], None);
        0
    });
    (child, reader)
}

fn drop_leaves_the_child_running() {
    with_ever_less("drop_leaves_the_child_running", |way| {
        for explicit in [false, true] {
            let (mut child, reader) = holding_child();
            if explicit {
                child.on_drop(OnDrop::Leave).unwrap();
            }
            let pid = child.id();
            reader.set_nonblocking(true).unwrap();
            drop(child);
            assert_eq!(reader.read(&mut [0]), Err(Errno::EAGAIN), "{way}: it runs");
            common::kill(pid, 9);
            assert_eq!(wait_for_any(), Some(9), "{way}");
        }
    });
}

fn drop_reaps() {
    with_ever_less("drop_reaps", |way| {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let mut child = child(move || {
            let _held = writer;
            let _ = poll(&mut [], Some(SHORT));
            0
        });
        child.on_drop(OnDrop::Reap).unwrap();
        drop(child);
        reader.set_nonblocking(true).unwrap();
        assert_eq!(reader.read(&mut [0]), Ok(0), "{way}: it was not waited for");
        assert_eq!(wait_for_any(), None, "{way}");
    });
}

fn drop_kills_and_reaps() {
    with_ever_less("drop_kills_and_reaps", |way| {
        let (mut child, reader) = holding_child();
        child.on_drop(OnDrop::Kill).unwrap();
        drop(child);
        assert_eq!(reader.read(&mut [0]), Ok(0), "{way}");
        assert_eq!(wait_for_any(), None, "{way}: a zombie is left");
    });
}

fn drop_after_wait_touches_nobody() {
    with_ever_less("drop_after_wait_touches_nobody", |way| {
        for policy in [OnDrop::Reap, OnDrop::Kill] {
            let mut done = child(|| 0);
            done.on_drop(policy).unwrap();
            done.wait().unwrap();
            let (mut other, opener) = gated_child(2);
            drop(done);
            drop(opener);
            assert_eq!(other.wait().unwrap().code(), Some(2), "{way}");
        }
    });
}

fn drop_with_a_stolen_status_does_not_hang() {
    with_ever_less("drop_with_a_stolen_status_does_not_hang", |_| {
        for policy in [OnDrop::Reap, OnDrop::Kill] {
            let mut stolen = child(|| 0);
            stolen.on_drop(policy).unwrap();
            assert_eq!(wait_for_any(), Some(0));
            drop(stolen);
        }
    });
}

fn drop_in_a_forked_child_does_nothing() {
    with_ever_less("drop_in_a_forked_child_does_nothing", |way| {
        for policy in [OnDrop::Reap, OnDrop::Kill, OnDrop::KillGroup] {
            let (mut target, reader) = holding_child();
            target.lead_group().unwrap();
            target.on_drop(policy).unwrap();
            // SAFETY: this process has no other thread.
            match unsafe { rawpipe::fork() }.unwrap() {
                Fork::Child => {
                    drop(target);
                    process::exit(9);
                }
                Fork::Parent(mut copy) => assert_eq!(copy.wait().unwrap().code(), Some(9)),
            }
            assert_eq!(
                target.wait_deadline(Deadline::after(SHORT)),
                Ok(None),
                "{way}: killed by a copy"
            );
            target.on_drop(OnDrop::Kill).unwrap();
            drop(target);
            assert_eq!(reader.read(&mut [0]), Ok(0), "{way}");
        }
    });
}

// ---- traced children ----

const PTRACE_TRACEME: u32 = 0;
const PTRACE_CONT: u32 = 7;
const PTRACE_SEIZE: u32 = 0x4206;
const PTRACE_INTERRUPT: u32 = 0x4207;

fn ptrace(request: u32, pid: u32, data: usize) -> bool {
    // SAFETY: none of these requests passes an address to the kernel.
    unsafe { c_ptrace(request, i32::try_from(pid).unwrap(), 0_usize, data) == 0 }
}

/// Returns the signal that stopped a traced child, as `waitpid` reports it to the tracer. Returns `None` if
/// `waitpid` reports no stop, for example because another wait has already consumed the stop.
fn stop_of(pid: u32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: the call writes one `int` to `status`.
    let answer = unsafe { c_waitpid(i32::try_from(pid).unwrap(), &raw mut status, 1) };
    (answer > 0 && status & 0xff == 0x7f).then_some(status >> 8 & 0xff)
}

/// Waits until the child is in a tracing stop.
fn wait_for_stop(pid: u32) {
    let begin = Instant::now();
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") t ") {
        assert!(begin.elapsed() < LONG, "not stopped");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Skips the test and returns `false` if this process cannot trace a child, for example under an emulator.
fn tracing(test: &str) -> bool {
    let child = waiting_child();
    let possible = !common::emulated() && ptrace(PTRACE_SEIZE, child.id(), 0);
    if !possible {
        skip(test, "no child can be traced here");
    }
    possible
}

/// Runs `body`. Returns the processor time that this process used during `body`, and the result of `body`.
fn busy<R>(body: impl FnOnce() -> R) -> (Duration, R) {
    let before = c_clock();
    let answer = body();
    let micros = u64::try_from(c_clock() - before).unwrap();
    (Duration::from_micros(micros), answer)
}

/// A stop that is reported only to the tracer does not count as the child's end. The tracer can still collect
/// the stop with `waitpid`.
fn wait_traced_child_stopped_is_not_an_end() {
    let test = "wait_traced_child_stopped_is_not_an_end";
    if !tracing(test) {
        return;
    }
    with_ever_less(test, |way| {
        let mut child = waiting_child();
        assert!(ptrace(PTRACE_SEIZE, child.id(), 0) && ptrace(PTRACE_INTERRUPT, child.id(), 0));
        wait_for_stop(child.id());
        assert_eq!(child.try_wait(), Ok(None), "{way}");
        let (busy, answer) = busy(|| child.wait_deadline(Deadline::after(10 * SHORT)));
        assert_eq!(answer, Ok(None), "{way}");
        assert!(busy < 5 * SHORT, "{way}: {busy:?} of {:?}", 10 * SHORT);
        assert_eq!(stop_of(child.id()), Some(5), "{way}: SIGTRAP, for the tracer");
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL), "{way}");
    });
}

/// Another thread traces the child, inspects the stopped child and resumes it. Meanwhile, `wait` sleeps.
fn wait_traced_child_until_its_end() {
    let test = "wait_traced_child_until_its_end";
    if !tracing(test) {
        return;
    }
    with_ever_less(test, |way| {
        let (mut child, opener) = gated_child(6);
        let pid = child.id();
        let (stopped, seen) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let tracer = scope.spawn(move || {
                assert!(ptrace(PTRACE_SEIZE, pid, 0) && ptrace(PTRACE_INTERRUPT, pid, 0));
                wait_for_stop(pid);
                stopped.send(()).unwrap();
                std::thread::sleep(10 * SHORT);
                let stop = stop_of(pid);
                assert!(ptrace(PTRACE_CONT, pid, 0));
                drop(opener);
                stop
            });
            seen.recv().unwrap();
            let (busy, answer) = busy(|| child.wait());
            assert_eq!(answer.unwrap().code(), Some(6), "{way}");
            assert!(busy < 5 * SHORT, "{way}: {busy:?} of {:?}", 10 * SHORT);
            assert_eq!(tracer.join().unwrap(), Some(5), "{way}");
        });
    });
}

/// A drop with `Reap` or `Kill` also waits for the end of a traced child.
fn drop_reaps_a_traced_child() {
    let test = "drop_reaps_a_traced_child";
    if !tracing(test) {
        return;
    }
    for policy in [OnDrop::Reap, OnDrop::Kill] {
        let mut child = child(|| {
            // SAFETY: the request passes no address. The tracer intercepts the signal, so the signal is
            // not delivered.
            let traced = unsafe { c_ptrace(PTRACE_TRACEME) } == 0;
            c_kill(std::process::id().try_into().unwrap(), Signal::USR1.as_raw());
            u8::from(!traced)
        });
        let pid = child.id();
        child.on_drop(policy).unwrap();
        wait_for_stop(pid);
        // This thread is the tracer, so it must resume the child before a drop that only reaps the child.
        let held = child.try_wait();
        if policy == OnDrop::Reap {
            assert!(ptrace(PTRACE_CONT, pid, 0));
        }
        drop(child);
        assert_eq!(held, Ok(None), "{policy:?}");
        assert!(!exists(pid), "{policy:?}");
        assert_eq!(wait_for_any(), None, "{policy:?}");
    }
}

/// If another process traces a zombie, the parent cannot collect the zombie's status until the tracer has
/// waited for the zombie or has ended. Although the pidfd is already readable, the wait must not retry in a
/// busy loop.
fn wait_deadline_zombie_of_another_tracer_sleeps() {
    let test = "wait_deadline_zombie_of_another_tracer_sleeps";
    if !tracing(test) {
        return;
    }
    let mut child = waiting_child();
    let pid = child.id();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut tracer = common::child(move || {
        let seized = ptrace(PTRACE_SEIZE, pid, 0);
        writer.write_all(&[seized.into()]).unwrap();
        let _ = poll(&mut [], None);
        0
    });
    tracer.on_drop(OnDrop::Kill).unwrap();
    let mut seized = [0];
    reader.read_exact(&mut seized).unwrap();
    if seized == [0] {
        return skip(test, "no process may trace its brother here");
    }
    child.kill().unwrap();
    let (busy, answer) = busy(|| child.wait_deadline(Deadline::after(20 * SHORT)));
    assert_eq!(answer, Ok(None));
    assert!(busy < 4 * SHORT, "{busy:?} of {:?}", 20 * SHORT);
    drop(tracer);
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
}

// ---- groups ----

/// Creates a child that leads a group and has a child in that group. Returns the leader, and the read end of a
/// pipe whose write end both processes hold.
fn group() -> (Child, PipeReader) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let mut leader = child(move || {
        close_copy(copy);
        let _ = gate.read(&mut [0]); // until this child leads the group
        let writer = &writer;
        let _grandchild = child(move || {
            writer.write_all(b"g").unwrap();
            let _ = poll(&mut [], None);
            0
        });
        let _ = poll(&mut [], None);
        0
    });
    leader.lead_group().unwrap();
    drop(opener);
    reader.read_exact(&mut [0]).unwrap();
    (leader, reader)
}

fn kill_group_reaches_grandchildren() {
    with_ever_less("kill_group_reaches_grandchildren", |way| {
        let (mut leader, reader) = group();
        leader.kill_group().unwrap();
        assert_eq!(leader.wait().unwrap().signal(), Some(Signal::KILL), "{way}");
        assert_eq!(reader.read(&mut [0]), Ok(0), "{way}: the grandchild is gone, too");
        assert_eq!(leader.send_signal(Signal::KILL), Err(Errno::ESRCH), "{way}");
    });
}

fn send_signal_group_esrch_or_exact_after_wait() {
    with_ever_less("send_signal_group_esrch_or_exact_after_wait", |way| {
        let (mut leader, reader) = group();
        leader.kill().unwrap();
        leader.wait().unwrap();
        reader.set_nonblocking(true).unwrap();
        assert_eq!(reader.read(&mut [0]), Err(Errno::EAGAIN), "{way}: the grandchild runs");
        let answer = leader.send_signal_group(Signal::KILL);
        if answer == Err(Errno::ESRCH) {
            // Before Linux 6.9, or under a filter, only the id identifies the group. Another group could have
            // received that id.
            common::say(&format!("{way}: the group of a leader that was waited for is left alone"));
            let group = -i32::try_from(leader.id()).unwrap();
            assert_eq!(c_kill(group, 9), 0);
        } else {
            assert_eq!(answer, Ok(()), "{way}");
            assert!(way == "all" || way == "no P_PIDFD", "{way}");
        }
        reader.set_nonblocking(false).unwrap();
        assert_eq!(reader.read(&mut [0]), Ok(0), "{way}");
    });
}

fn drop_kills_the_group() {
    with_ever_less("drop_kills_the_group", |way| {
        let (mut leader, reader) = group();
        leader.on_drop(OnDrop::KillGroup).unwrap();
        drop(leader);
        assert_eq!(reader.read(&mut [0]), Ok(0), "{way}");
        assert_eq!(wait_for_any(), None, "{way}: a zombie is left");
    });
}

/// After a wait for the leader, dropping the leader's handle does not affect the processes that the leader
/// has started.
fn drop_after_wait_spares_the_group() {
    with_ever_less("drop_after_wait_spares_the_group", |way| {
        let (mut leader, reader) = group();
        leader.on_drop(OnDrop::KillGroup).unwrap();
        leader.kill().unwrap();
        assert_eq!(leader.wait().unwrap().signal(), Some(Signal::KILL), "{way}");
        let group = -i32::try_from(leader.id()).unwrap();
        drop(leader);
        let ends = &mut [PollFd::new(&reader, PollEvents::IN)];
        assert_eq!(poll(ends, Some(4 * SHORT)), Ok(0), "{way}: the grandchild runs on");
        assert_eq!(c_kill(group, 9), 0, "{way}");
        assert_eq!(reader.read(&mut [0]), Ok(0), "{way}");
    });
}

/// If a leader has moved to this process's group, a drop with `KillGroup` kills the leader and all processes
/// in its old group.
fn drop_kills_a_leader_that_has_left_its_group() {
    let (mut leader, reader) = group();
    let own = usize::try_from(process_group()).unwrap();
    let pid = leader.id() as usize;
    // SAFETY: all arguments of `setpgid` are integers.
    assert_eq!(unsafe { raw::syscall2(nr::SETPGID, pid, own) }, 0);
    leader.on_drop(OnDrop::KillGroup).unwrap();
    drop(leader);
    assert_eq!(reader.read(&mut [0]), Ok(0));
    assert_eq!(wait_for_any(), None);
}

fn process_group() -> i32 {
    unsafe extern "C" {
        safe fn getpgrp() -> i32;
    }
    getpgrp()
}

fn kill_group_without_leading_one_einval() {
    with_ever_less("kill_group_without_leading_one_einval", |way| {
        let mut child = waiting_child();
        assert_eq!(child.on_drop(OnDrop::KillGroup), Err(Errno::EINVAL), "{way}");
        assert_eq!(child.kill_group(), Err(Errno::EINVAL), "{way}");
        assert_eq!(child.send_signal_group(Signal::TERM), Err(Errno::EINVAL), "{way}");
    });
}

fn lead_group_of_a_session_leader_eperm() {
    let (said, say) = rawpipe::pipe().unwrap();
    let mut child = child(move || {
        // SAFETY: `setsid` has no arguments.
        let session = unsafe { raw::syscall0(nr::SETSID) };
        say.write_all(b"!").unwrap();
        let _ = poll(&mut [], None);
        u8::from(session < 0)
    });
    said.read_exact(&mut [0]).unwrap();
    assert_eq!(child.lead_group(), Err(Errno::EPERM));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
}

// ---- streams of a child that is another program ----

fn wait_closes_stdin_first() {
    let mut child =
        program("cat", &[]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    assert!(child.stdin_ref().is_some());
    assert!(child.wait().unwrap().success());
    assert!(child.stdin_ref().is_none());
}

fn wait_deadline_and_wait_change_leave_stdin_open() {
    let mut child =
        program("cat", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait_deadline(Deadline::after(SHORT)), Ok(None));
    assert_eq!(child.try_wait(), Ok(None));
    child.send_signal(Signal::STOP).unwrap();
    assert_eq!(child.wait_change().unwrap().stopped_signal(), Some(Signal::STOP));
    child.send_signal(Signal::CONT).unwrap();
    child.stdin_ref().unwrap().write_all(b"still open").unwrap();
    drop(child.take_stdin());
    let mut output = Vec::new();
    child.stdout_ref().unwrap().read_to_end(&mut output).unwrap();
    assert_eq!(output, b"still open");
    assert!(child.wait().unwrap().success());
}

/// A drop that reaps closes the child's pipes first, so the drop does not hang if the child waits for input
/// or for a reader.
fn drop_that_reaps_closes_the_pipes_so_that_the_child_ends() {
    for (name, arguments) in [("cat", &[][..]), ("flood", &["3000000", "3000000"])] {
        let mut command = program(name, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.on_drop(OnDrop::Reap).spawn().unwrap();
        drop(child);
        assert_eq!(wait_for_any(), None, "{name}");
    }
}

fn lead_group_of_a_started_program_eacces() {
    let mut child =
        program("cat", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The parent resumes slightly before the kernel considers the child to have executed its program. The
    // program itself handles this write and read, so the exec is complete after the read.
    child.stdin_ref().unwrap().write_all(b"x").unwrap();
    child.stdout_ref().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(child.lead_group(), Err(Errno::EACCES));
    assert_eq!(child.kill_group(), Err(Errno::EINVAL));
    assert!(child.wait().unwrap().success());
}

/// If this process is not permitted to kill the child, a drop of the handle does not wait for the child.
fn kill_another_users_process_eperm_and_drop_does_not_wait() {
    unsafe extern "C" {
        safe fn getuid() -> u32;
        safe fn setuid(uid: u32) -> i32;
    }
    if getuid() != 0 {
        let test = "kill_another_users_process_eperm_and_drop_does_not_wait";
        return skip(test, "needs root, to make a process of another user");
    }
    let (ready, tell) = rawpipe::pipe().unwrap();
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let mut child = child(move || {
        close_copy(copy);
        let other = setuid(0x3_0001) == 0 && tell.write(b"!") == Ok(1);
        let _ = gate.read(&mut [0]);
        u8::from(!other)
    });
    ready.read_exact(&mut [0]).unwrap();
    assert_eq!(setuid(0x3_0002), 0);
    assert_eq!(child.send_signal(Signal::TERM), Err(Errno::EPERM));
    assert_eq!(child.kill(), Err(Errno::EPERM));
    child.on_drop(OnDrop::Kill).unwrap();
    drop(child);
    drop(opener);
    assert_eq!(wait_for_any(), Some(0), "it has run to its end");
}

/// If a child has changed its user id, this process is not permitted to kill the child. A drop still reaps
/// such a child if the child has ended.
fn drop_of_another_users_process_that_has_ended_reaps() {
    unsafe extern "C" {
        safe fn getuid() -> u32;
        safe fn setuid(uid: u32) -> i32;
    }
    if getuid() != 0 {
        let test = "drop_of_another_users_process_that_has_ended_reaps";
        return skip(test, "needs root, to make a process of another user");
    }
    let mut child = child(|| u8::from(setuid(0x3_0001) != 0));
    assert_eq!(setuid(0x3_0002), 0);
    wait_for_zombie(child.id());
    assert_eq!(child.kill(), Err(Errno::EPERM));
    child.on_drop(OnDrop::Kill).unwrap();
    drop(child);
    assert_eq!(wait_for_any(), None, "it was waited for");
}

fn handles_are_send_and_sync() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<Child>();
    check::<ExitStatus>();
    check::<Fork>();
}

pub(crate) const TESTS: common::Tests = common::tests![
    status_equals_stds_in_every_encoding,
    status_in_words,
    status_in_words_as_with_std,
    status_of_every_code,
    status_of_every_deadly_signal,
    status_core_flag_is_the_c_librarys,
    wait_twice_is_the_same_answer,
    try_wait_nothing_yet_then_killed,
    wait_stopped_child_is_not_an_end,
    wait_change_reports_stop_continue_and_end,
    wait_goes_on_after_signals,
    wait_deadline_zero_short_and_long,
    wait_deadline_is_fixed_while_signals_arrive,
    wait_deadline_that_has_passed_still_asks,
    wait_deadline_without_end_ends_with_the_child,
    wait_many_children_each_its_own,
    wait_refused_is_not_remembered,
    wait_sigchld_ignored_echild,
    wait_sa_nocldwait_echild,
    kill_lost_child_esrch_without_asking,
    wait_stolen_status_echild_and_never_a_stranger,
    wait_by_a_process_that_is_not_the_parent_echild,
    kill_after_wait_ok_as_std_and_a_signal_esrch_as_the_c_library,
    send_signal_to_a_zombie_does_nothing,
    send_signal_reaches_a_handler,
    kill_never_hits_a_recycled_number,
    kill_of_a_copy_in_a_nested_pid_namespace_hits_nobody,
    kill_never_hits_a_brother_with_the_number,
    pidfd_is_close_on_exec_and_readable_at_the_end,
    pidfd_opened_after_the_fork_is_checked,
    pidfd_is_not_in_the_child,
    accessors_of_a_forked_child_are_empty,
    fork_ten_thousand_leave_no_descriptor_and_no_zombie,
    drop_leaves_the_child_running,
    drop_reaps,
    drop_kills_and_reaps,
    drop_after_wait_touches_nobody,
    drop_with_a_stolen_status_does_not_hang,
    drop_in_a_forked_child_does_nothing,
    kill_group_reaches_grandchildren,
    send_signal_group_esrch_or_exact_after_wait,
    drop_kills_the_group,
    drop_after_wait_spares_the_group,
    wait_traced_child_stopped_is_not_an_end,
    wait_traced_child_until_its_end,
    drop_reaps_a_traced_child,
    wait_deadline_zombie_of_another_tracer_sleeps,
    drop_kills_a_leader_that_has_left_its_group,
    kill_group_without_leading_one_einval,
    lead_group_of_a_session_leader_eperm,
    wait_closes_stdin_first,
    wait_deadline_and_wait_change_leave_stdin_open,
    drop_that_reaps_closes_the_pipes_so_that_the_child_ends,
    lead_group_of_a_started_program_eacces,
    kill_another_users_process_eperm_and_drop_does_not_wait,
    drop_of_another_users_process_that_has_ended_reaps,
    handles_are_send_and_sync,
];
