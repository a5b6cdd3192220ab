//! Tests calls with which a process reads or changes its own state. Also tests the settings for a child's
//! terminal. Each test runs in its own process.
#![allow(
    unsafe_code,
    reason = "descriptors that are closed by number, and the C library's view of a terminal"
)]

use crate::common::programs::program;
use crate::common::{
    self, Filter, NO_FILTER, child, close_copy, filtered, nr, terminal, terminals,
};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rawpipe::process::{
    self, Arg, Child, Command, ExitStatus, OnDrop, Signal, Spawn, SpawnMethod, SpawnStage, Stdio,
};
use rawpipe::{Deadline, Errno, raw};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::time::Duration;

/// A time limit that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(60);

unsafe extern "C" {
    safe fn getpgid(pid: i32) -> i32;
    safe fn getsid(pid: i32) -> i32;
    safe fn tcgetpgrp(fd: i32) -> i32;
    safe fn geteuid() -> u32;
}

/// Runs `body` in a child, and panics if `body` panics.
#[track_caller]
fn in_a_child(body: impl FnOnce()) {
    let mut child = child(|| {
        body();
        0
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn is_open(number: i32) -> bool {
    const F_GETFD: usize = 1;
    let number = usize::try_from(number).unwrap();
    // SAFETY: all arguments are integers.
    unsafe { raw::syscall2(nr::FCNTL, number, F_GETFD) >= 0 }
}

fn getpid_and_getppid_are_not_remembered() {
    let parent = process::getpid();
    assert_eq!(parent, std::process::id());
    assert_eq!(process::getppid(), std::os::unix::process::parent_id());
    in_a_child(|| {
        assert_ne!(process::getpid(), parent);
        assert_eq!(process::getppid(), parent);
    });
}

fn setsid_leads_a_session_once() {
    in_a_child(|| {
        process::setsid().unwrap();
        let own = i32::try_from(process::getpid()).unwrap();
        assert_eq!((getsid(0), getpgid(0)), (own, own));
        assert_eq!(process::setsid(), Err(Errno::EPERM));
        assert_eq!(process::setpgid(0, 0), Err(Errno::EPERM));
    });
}

fn setpgid_of_itself_and_of_children() {
    in_a_child(|| {
        process::setpgid(0, 0).unwrap();
        let own = process::getpid();
        assert_eq!(getpgid(0).unsigned_abs(), own);
        let gate = rawpipe::pipe().unwrap();
        let mut other = child(|| {
            close_copy(&gate.1);
            let _ = gate.0.read(&mut [0]);
            0
        });
        let id = i32::try_from(other.id()).unwrap();
        process::setpgid(other.id(), 0).unwrap();
        assert_eq!(getpgid(id), id);
        process::setpgid(other.id(), own).unwrap();
        assert_eq!(getpgid(id).unsigned_abs(), own);
        drop(gate);
        assert!(other.wait().unwrap().success());
        assert_eq!(process::setpgid(other.id(), 0), Err(Errno::ESRCH));
        assert_eq!(process::setpgid(0, u32::MAX), Err(Errno::EINVAL));
        assert_eq!(process::setpgid(1, 0), Err(Errno::ESRCH));
    });
}

fn umask_returns_the_one_before() {
    in_a_child(|| {
        process::umask(0o027);
        assert_eq!(process::umask(0o777), 0o027);
        assert_eq!(process::umask(0o022), 0o777);
    });
}

fn chdir_changes_the_folder_of_relative_paths() {
    in_a_child(|| {
        process::chdir(c"/proc/self").unwrap();
        assert!(fs::exists("status").unwrap());
        assert_eq!(process::chdir(c"status"), Err(Errno::ENOTDIR));
        assert_eq!(process::chdir(c"none"), Err(Errno::ENOENT));
        assert_eq!(process::chdir(c""), Err(Errno::ENOENT));
    });
}

fn close_other_fds_keeps_what_it_is_given() {
    let body = || {
        let files: Vec<File> = (0..12).map(|_| File::open("/dev/null").unwrap()).collect();
        let copies: Vec<OwnedFd> = [30, 100, 101, 200]
            .map(|least| {
                const F_DUPFD: usize = 0;
                let from = usize::try_from(files[0].as_raw_fd()).unwrap();
                // SAFETY: all arguments are integers.
                let copy = unsafe { raw::syscall3(nr::FCNTL, from, F_DUPFD, least) };
                // SAFETY: the descriptor is new and has no owner.
                unsafe { rawpipe::io::take_inherited(i32::try_from(copy).unwrap()) }.unwrap()
            })
            .into();
        let all: Vec<i32> = files
            .iter()
            .map(AsRawFd::as_raw_fd)
            .chain(copies.iter().map(AsRawFd::as_raw_fd))
            .collect();
        let error = std::io::stderr();
        // The list is not sorted. It contains one descriptor twice, and also contains a standard stream.
        let keep: [BorrowedFd<'_>; 6] = [
            copies[2].as_fd(),
            files[3].as_fd(),
            files[11].as_fd(),
            copies[2].as_fd(),
            error.as_fd(),
            copies[1].as_fd(),
        ];
        let kept = keep.map(|fd| fd.as_raw_fd());
        // SAFETY: the owners of the other descriptors are forgotten below.
        unsafe { process::close_other_fds(&keep) }.unwrap();
        for number in all {
            assert_eq!(is_open(number), kept.contains(&number), "{number}");
        }
        assert!((0..3).all(is_open));
        files.into_iter().for_each(std::mem::forget);
        copies.into_iter().for_each(std::mem::forget);
    };
    in_a_child(body);
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let filtered_body = || {
            if !Filter::new(&[nr::CLOSE_RANGE], errno).install() {
                return NO_FILTER;
            }
            body();
            0
        };
        if !filtered("close_other_fds_keeps_what_it_is_given", &errno, filtered_body) {
            return;
        }
    }
}

// ---- terminals ----

/// The two ends of a pseudo-terminal: the master, on which the test types, and the terminal itself.
struct Screen {
    terminal: File,
    keyboard: File,
}

impl Screen {
    fn new() -> Option<Self> {
        terminals().then(terminal).map(|(terminal, keyboard)| Self { terminal, keyboard })
    }

    /// Returns a command that runs `script` in a shell whose standard streams are the terminal.
    fn shell(&self, script: &str) -> Command<'static> {
        let mut command = Command::new("/bin/sh");
        let copy = || Stdio::from(OwnedFd::from(self.terminal.try_clone().unwrap()));
        command.args(["-c", script]).on_drop(OnDrop::Kill);
        command.stdin(copy()).stdout(copy()).stderr(copy());
        command
    }

    fn type_in(&self, text: &str) {
        (&self.keyboard).write_all(text.as_bytes()).unwrap();
    }

    /// Reads the terminal's output until this text appears.
    #[track_caller]
    fn shows(&self, what: &str) {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(what) {
            use rawpipe::event::{PollEvents, PollFd, poll};
            let mut fds = [PollFd::new(&self.keyboard, PollEvents::IN)];
            let found = poll(&mut fds, Some(LONG)).unwrap();
            let mut bytes = [0; 256];
            assert_eq!(found, 1, "{}", String::from_utf8_lossy(&all));
            let count = (&self.keyboard).read(&mut bytes).unwrap();
            all.extend_from_slice(&bytes[..count]);
        }
    }
}

#[track_caller]
fn ends(child: &mut Child) -> ExitStatus {
    child.wait_deadline(Deadline::after(LONG)).unwrap().expect("its end")
}

fn controlling_terminal_is_the_childs() {
    let Some(screen) = Screen::new() else { return };
    let mut child = screen.shell("exec 3<>/dev/tty && echo ready >&3 && read word && exit 9");
    let mut child =
        child.controlling_terminal(screen.terminal.try_clone().unwrap()).spawn().unwrap();
    let id = i32::try_from(child.id()).unwrap();
    assert_eq!((getsid(id), getpgid(id)), (id, id));
    screen.shows("ready");
    // The kernel makes the session leader's group the foreground group.
    assert_eq!(tcgetpgrp(screen.keyboard.as_raw_fd()), id);
    assert!(child.send_signal_group(Signal::CONT).is_ok(), "it leads its group");
    screen.type_in("\x03");
    assert_eq!(ends(&mut child).signal(), Some(Signal::INT));
}

/// The child sets its controlling terminal before it renumbers its descriptors, so the terminal's number does
/// not matter.
fn controlling_terminal_with_all_other_descriptors_closed() {
    let Some(screen) = Screen::new() else { return };
    let own = geteuid();
    for uid in [None, Some(own)] {
        let tty = screen.terminal.as_fd();
        let number = tty.as_raw_fd();
        let (reader, _writer) = rawpipe::pipe().unwrap();
        // In the child, the pipe gets the descriptor number that belongs to the terminal in this process.
        let fds = [(tty, 0), (tty, 1), (tty, 2), (reader.as_fd(), number)];
        let argv =
            [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"echo up >/dev/tty; read x"), Arg::END];
        let spawn = Spawn::new(c"/bin/sh", &argv, &[Arg::END]);
        let spawn = spawn.fd_maps(&fds).close_other_fds().controlling_terminal(tty).foreground();
        let spawn = if let Some(uid) = uid { spawn.uid(uid) } else { spawn };
        let mut child = match spawn.spawn() {
            Err(error) if error.stage() == SpawnStage::Setgroups => continue,
            child => child.unwrap(),
        };
        let forked = child.method() == SpawnMethod::Fork;
        assert!(forked || uid.is_none());
        screen.shows("up");
        screen.type_in("\x03");
        assert_eq!(ends(&mut child).signal(), Some(Signal::INT));
    }
}

fn controlling_terminal_of_another_session_eperm() {
    let Some(screen) = Screen::new() else { return };
    let tty = || screen.terminal.try_clone().unwrap();
    let mut child = screen.shell("read word").controlling_terminal(tty()).spawn().unwrap();
    let error = screen.shell("true").controlling_terminal(tty()).spawn().unwrap_err();
    // Root may take the terminal from another session, but the crate never requests that.
    assert_eq!((error.stage(), error.errno()), (SpawnStage::ControllingTerminal, Errno::EPERM));
    screen.type_in("\x03");
    assert_eq!(ends(&mut child).signal(), Some(Signal::INT));
}

fn controlling_terminal_that_is_none_enotty() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let error = Command::new("true").controlling_terminal(reader).spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::ControllingTerminal, Errno::ENOTTY));
    assert_eq!(error.to_string(), format!("getting a controlling terminal: {}", Errno::ENOTTY),);
}

/// Runs `body` in a child that leads a session whose controlling terminal is this terminal.
fn in_a_session(screen: &Screen, body: impl FnOnce()) {
    const TIOCSCTTY: usize = 0x540e;
    in_a_child(|| {
        process::setsid().unwrap();
        let number = usize::try_from(screen.terminal.as_raw_fd()).unwrap();
        // SAFETY: all arguments are integers.
        assert_eq!(unsafe { raw::syscall3(nr::IOCTL, number, TIOCSCTTY, 0) }, 0);
        body();
    });
}

/// The child's group is in the foreground and this process is in the background, as when a shell runs a job.
fn foreground_of_this_processs_terminal() {
    let Some(screen) = Screen::new() else { return };
    in_a_session(&screen, || {
        let own = i32::try_from(process::getpid()).unwrap();
        assert_eq!(tcgetpgrp(screen.terminal.as_raw_fd()), own);
        for turn in 0..2 {
            let mut child = screen.shell("echo job >/dev/tty; read word; exit 1");
            let mut child = child.foreground().spawn().unwrap();
            let id = i32::try_from(child.id()).unwrap();
            // In the second iteration, this process is in the background when it spawns the child.
            assert_eq!(tcgetpgrp(screen.terminal.as_raw_fd()), id, "{turn}");
            assert_eq!((getsid(id), getpgid(id)), (own, id));
            screen.shows("job");
            screen.type_in("\x03");
            assert_eq!(ends(&mut child).signal(), Some(Signal::INT), "and this process lives");
        }
        // The child joins a group that already exists.
        let mut leader = program("sleep", &[]);
        let leader = leader.stdout(Stdio::null()).process_group(0).on_drop(OnDrop::Kill);
        let leader = leader.spawn().unwrap();
        let group = i32::try_from(leader.id()).unwrap();
        let mut child =
            screen.shell("read word").process_group(group).foreground().spawn().unwrap();
        assert_eq!(tcgetpgrp(screen.terminal.as_raw_fd()), group);
        screen.type_in("\x03");
        assert_eq!(ends(&mut child).signal(), Some(Signal::INT));
        drop(leader);
    });
}

fn foreground_without_a_terminal_enxio() {
    in_a_child(|| {
        process::setsid().unwrap();
        let error = Command::new("true").foreground().spawn().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (SpawnStage::Foreground, Errno::ENXIO));
    });
    // A new session has no controlling terminal, even if this process's session has one.
    let error = Command::new("true").setsid().foreground().spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Foreground, Errno::ENXIO));
}

/// A failed exec with `foreground` leaves no additional descriptor open.
fn foreground_of_an_exec_that_fails_leaves_no_descriptor() {
    let Some(screen) = Screen::new() else { return };
    in_a_session(&screen, || {
        // A session leader cannot move to another group, so a child of the leader makes the call.
        in_a_child(|| {
            let before = common::open_fds();
            let error = Command::new("/no/such/program").foreground().exec();
            assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT));
            assert_eq!(common::open_fds(), before);
        });
    });
}

fn foreground_child_leads_a_group() {
    let Some(screen) = Screen::new() else { return };
    let mut command = screen.shell("read word");
    command.controlling_terminal(screen.terminal.try_clone().unwrap()).foreground();
    let mut child = command.on_drop(OnDrop::KillGroup).spawn().unwrap();
    assert!(child.kill_group().is_ok());
    assert_eq!(ends(&mut child).signal(), Some(Signal::KILL));
}

pub(crate) const TESTS: common::Tests = common::tests![
    getpid_and_getppid_are_not_remembered,
    setsid_leads_a_session_once,
    setpgid_of_itself_and_of_children,
    umask_returns_the_one_before,
    chdir_changes_the_folder_of_relative_paths,
    close_other_fds_keeps_what_it_is_given,
    controlling_terminal_is_the_childs,
    controlling_terminal_with_all_other_descriptors_closed,
    controlling_terminal_of_another_session_eperm,
    controlling_terminal_that_is_none_enotty,
    foreground_of_this_processs_terminal,
    foreground_without_a_terminal_enxio,
    foreground_of_an_exec_that_fails_leaves_no_descriptor,
    foreground_child_leads_a_group,
];
