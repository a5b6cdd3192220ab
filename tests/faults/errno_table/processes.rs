//! Checks the results of calls that create processes, wait for processes, or send signals to processes. Each
//! row covers one call in one situation.

use super::{Answer, answer, become_ordinary_user, in_child, libc, own, row};
use crate::common::{self, Tool, child, close_copy, skip};
use rawpipe::Deadline;
use rawpipe::Errno;
use rawpipe::message::Duplex;
use rawpipe::process::{
    self, Child, Command, ExitStatus, Fork, OnDrop, Resource, Signal, fork_single_threaded,
};

const OK_0: Answer = Ok(0);
const NO_CHILD: Answer = Err(Errno::ECHILD);
const GONE: Answer = Err(Errno::ESRCH);

/// Forks a child that exits when the write end is dropped.
fn waiting() -> (Child, rawpipe::PipeWriter) {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let child = child(|| {
        close_copy(copy);
        u8::from(gate.read(&mut [0]).is_err())
    });
    (child, opener)
}

fn number(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn c_wait(pid: i32) -> Answer {
    let mut status = 0;
    // SAFETY: the call writes one `int`.
    answer(unsafe { libc::waitpid(pid, &raw mut status, 0) } as isize)
}

fn c_kill(pid: i32) -> Answer {
    answer(libc::kill(pid, 0) as isize)
}

fn ended(answer: Result<ExitStatus, Errno>) -> Answer {
    answer.map(|_| 0)
}

fn ended_maybe(answer: Result<Option<ExitStatus>, Errno>) -> Answer {
    answer.map(|_| 0)
}

/// Forks with the C library. The child exits immediately.
fn c_fork() -> Answer {
    match libc::fork() {
        0 => process::exit(0),
        pid => answer(pid as isize),
    }
}

pub(crate) fn forks() {
    /// Waits for the forked child and returns the result. The child exits immediately.
    fn forked(answer: Result<Fork, Errno>) -> Answer {
        match answer? {
            Fork::Child => process::exit(0),
            Fork::Parent(mut child) => ended(child.wait()),
        }
    }
    // SAFETY: no other thread exists, and the children only exit.
    let fork: fn() -> Answer = || forked(unsafe { rawpipe::fork() });
    // SAFETY: as above.
    let alone: fn() -> Answer = || forked(unsafe { fork_single_threaded() });
    let with: fn() -> Answer = || {
        // SAFETY: as above.
        unsafe { process::fork_with(|| 0) }.map(|_| 0)
    };
    let link: fn() -> Answer = || {
        // SAFETY: as above.
        unsafe { Duplex::fork(|_| 0) }.map(|_| 0)
    };
    let calls = [
        ("process::fork", fork),
        ("process::fork_single_threaded", alone),
        ("process::fork_with", with),
        ("Duplex::fork", link),
    ];
    if common::emulated() {
        return skip("forks", "an emulator needs threads itself");
    }
    for (call, make) in calls {
        let [ours, theirs] = in_child(|| {
            common::set_soft_limit(Resource::NPROC.as_raw(), 0);
            if !become_ordinary_user() {
                return [OK_0; 2];
            }
            [make(), c_fork()]
        });
        if call == "process::fork_single_threaded" && common::tool() == Some(Tool::Thread) {
            own(call, "a thread of the tool's", true, ours.is_err());
            continue;
        }
        if theirs.is_ok() {
            skip("forks", "this user is not limited");
            own(call, "allowed", true, make().is_ok());
            continue;
        }
        row(call, "as many as the user may have", Err(Errno::EAGAIN), ours, theirs);
    }
    let (gate, opener) = rawpipe::pipe().unwrap();
    let thread = std::thread::spawn(move || gate.read(&mut [0]));
    own("process::fork_single_threaded", "another thread", Err(Errno::EBUSY), alone());
    drop(opener);
    thread.join().unwrap().unwrap();
}

pub(crate) fn waits() {
    // The calls run in a forked child that has a copy of the handle. In that child, the handle refers to a
    // child of another process.
    type Wait = fn(&mut Child) -> Answer;
    let calls: [(&str, Wait); 4] = [
        ("Child::wait", |child| ended(child.wait())),
        ("Child::wait_change", |child| ended(child.wait_change())),
        ("Child::try_wait", |child| ended_maybe(child.try_wait())),
        ("Child::wait_deadline", |child| ended_maybe(child.wait_deadline(Deadline::NEVER))),
    ];
    let (mut other, opener) = waiting();
    for (call, wait) in calls {
        let [ours, theirs] = in_child(|| {
            let theirs = c_wait(number(&other));
            [wait(&mut other), theirs]
        });
        row(call, "another's child", NO_CHILD, ours, theirs);
    }
    drop(opener);
    own("Child::wait", "ended", OK_0, ended(other.wait()));
    // The kernel returns the status only once, but the handle keeps the status.
    own("Child::wait", "again", OK_0, ended(other.wait()));
    own("Child::try_wait", "again", OK_0, ended_maybe(other.try_wait()));
    assert_eq!(c_wait(number(&other)), NO_CHILD);

    // If `SIGCHLD` is ignored, the kernel discards the status. Since Linux 6.15, however, the status remains
    // available through the pidfd.
    const SIG_IGN: usize = 1;
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    let before = signal(Signal::CHLD.as_raw(), SIG_IGN);
    let (mut child, opener) = waiting();
    drop(opener);
    let theirs = c_wait(number(&child));
    assert_eq!(theirs, NO_CHILD);
    let ours = ended(child.wait());
    assert!(ours == NO_CHILD || ours == OK_0, "{ours:?}");
    own("Child::wait", "SIGCHLD is ignored", true, ours == NO_CHILD || child.pidfd().is_some());
    signal(Signal::CHLD.as_raw(), before);
}

pub(crate) fn signals() {
    let (mut child, opener) = waiting();
    drop(opener);
    child.wait().unwrap();
    let theirs = || c_kill(number(&child));
    own("Child::kill", "waited for", Ok(()), child.kill());
    let ours = child.send_signal(Signal::TERM).map(|()| 0);
    row("Child::send_signal", "waited for", GONE, ours, theirs());
    if libc::geteuid() != 0 {
        skip("signals", "a child of another user takes root");
        return;
    }
    // The target belongs to root, and the process that sends the signal no longer runs as root.
    type Send = fn(&Child) -> Result<(), Errno>;
    let calls: [(&str, Send); 4] = [
        ("Child::kill", Child::kill),
        ("Child::send_signal", |child| child.send_signal(Signal::TERM)),
        ("Child::kill_group", Child::kill_group),
        ("Child::send_signal_group", |child| child.send_signal_group(Signal::TERM)),
    ];
    for (call, send) in calls {
        let [ours, theirs] = in_child(|| {
            let (mut child, opener) = waiting();
            child.lead_group().unwrap();
            if !become_ordinary_user() {
                return [OK_0; 2];
            }
            let answers = [send(&child).map(|()| 0), c_kill(number(&child))];
            drop(opener);
            child.wait().unwrap();
            answers
        });
        row(call, "of another user", Err(Errno::EPERM), ours, theirs);
    }
}

pub(crate) fn groups() {
    let c_group = |child: &Child| {
        let pid = number(child);
        answer(libc::setpgid(pid, pid) as isize)
    };
    let no_leader = Err(Errno::EINVAL);
    let (mut child, opener) = waiting();
    own("Child::kill_group", "leads no group", no_leader, child.kill_group());
    let ours = child.send_signal_group(Signal::TERM);
    own("Child::send_signal_group", "leads no group", no_leader, ours);
    own("Child::on_drop", "leads no group", no_leader, child.on_drop(OnDrop::KillGroup));
    own("Child::on_drop", "kills it alone", Ok(()), child.on_drop(OnDrop::Kill));
    own("Child::lead_group", "running", Ok(()), child.lead_group());
    own("Child::on_drop", "leads a group", Ok(()), child.on_drop(OnDrop::KillGroup));
    drop(opener);
    child.wait().unwrap();
    let theirs = || answer(libc::kill(-number(&child), 0) as isize);
    row("Child::kill_group", "empty group", GONE, child.kill_group().map(|()| 0), theirs());
    let ours = child.send_signal_group(Signal::TERM).map(|()| 0);
    row("Child::send_signal_group", "empty group", GONE, ours, theirs());
    let theirs = c_group(&child);
    row("Child::lead_group", "waited for", GONE, child.lead_group().map(|()| 0), theirs);

    // This child leads a session.
    let (ready, tell) = rawpipe::pipe().unwrap();
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let mut leader = common::child(move || {
        close_copy(copy);
        libc::setsid();
        drop(tell);
        u8::from(gate.read(&mut [0]).is_err())
    });
    assert_eq!(ready.read(&mut [0]), Ok(0));
    let theirs = c_group(&leader);
    let ours = leader.lead_group().map(|()| 0);
    row("Child::lead_group", "leads a session", Err(Errno::EPERM), ours, theirs);
    drop(opener);
    leader.wait().unwrap();

    // This child has executed another program.
    if common::emulated() {
        return skip("groups", "an emulator is another program from the beginning");
    }
    let piped = process::Stdio::piped;
    let mut cat = Command::new("/bin/cat").stdin(piped()).stdout(piped()).spawn().unwrap();
    // The parent continues when the child releases the shared memory. The kernel records the child's exec
    // slightly later. After this write and read, the kernel has recorded the exec.
    cat.stdin_ref().unwrap().write_all(b"x").unwrap();
    cat.stdout_ref().unwrap().read_exact(&mut [0]).unwrap();
    let theirs = c_group(&cat);
    let ours = cat.lead_group().map(|()| 0);
    row("Child::lead_group", "another program", Err(Errno::EACCES), ours, theirs);
    cat.wait().unwrap();
    // The call is made in a process that is not this child's parent.
    let (mut other, opener) = waiting();
    let [ours, theirs] = in_child(|| {
        let theirs = c_group(&other);
        [other.lead_group().map(|()| 0), theirs]
    });
    row("Child::lead_group", "another's child", GONE, ours, theirs);
    drop(opener);
    other.wait().unwrap();
}
