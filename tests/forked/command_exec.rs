//! Tests `Command::exec` and `Spawn::exec`, which replace this process with a program that has the settings
//! of a spawn. Some tests compare the state of the executed program with that of a spawned program, and with
//! the state after std's `exec`. Others check the process after a failed exec. Each test runs in its own
//! process.
#![allow(unsafe_code, reason = "system calls by number, and handlers")]

use crate::common::nr;
use crate::common::programs::{all_of, program, std_program};
use crate::common::{self, Filter, NO_FILTER, Value, child, filtered, in_front, skip};
use rawpipe::fd::AsRawFd;
use rawpipe::process::{
    self, Arg, Command, OnDrop, Resource, Rlimit, Signal, SignalSet, Spawn, SpawnStage, Stdio,
};
use rawpipe::{Deadline, Errno, PipeReader, raw};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, thread};

const CLONE_THREAD: u32 = 0x1_0000;

/// Skips the test and returns `true` under an emulator or Valgrind. Neither supports threads that the C
/// library did not create.
fn no_thread(test: &str) -> bool {
    if let Some(what) = in_front() {
        skip(test, &format!("{what} makes no such thread"));
    }
    in_front().is_some()
}

/// Runs `body` in a forked child whose standard output is a pipe. `body` executes a program. Returns the
/// output and the exit code. If the exec fails, the exit code is the error number.
fn output_of_child(body: impl FnOnce() -> Errno) -> (Vec<u8>, Option<i32>) {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let copy = &reader;
    let mut child = child(|| {
        common::close_copy(copy);
        let number = usize::try_from(writer.as_raw_fd()).unwrap();
        // SAFETY: all arguments are integers, and no code in this child uses the old standard output.
        assert_eq!(unsafe { raw::syscall3(nr::DUP3, number, 1, 0) }, 1);
        drop(writer);
        let errno = body();
        u8::try_from(errno.raw_os_error()).unwrap()
    });
    let output = all_of(Some(reader));
    (output, child.wait().unwrap().code())
}

/// Returns a command with many settings, none of which needs privileges.
fn with_all<'fd>(name: &str, args: &[&str], fds: (&'fd File, &'fd PipeReader)) -> Command<'fd> {
    let mut command: Command<'fd> = program(name, args);
    command.arg0("another name").arg("an argument").env("RAWPIPE_A", "a").env_remove("HOME");
    command.current_dir("/").umask(0o27).nice(3).rlimit(Resource::CORE, Rlimit::both(0));
    command.rlimit(Resource::NOFILE, Rlimit::both(200)).close_other_fds();
    command.signal_mask(SignalSet::empty().with(Signal::USR2));
    command.fd_map(fds.0, 7).fd_map(fds.1, 3).stdin(Stdio::null());
    command
}

const LOOKS: [(&str, &[&str]); 6] = [
    ("args", &[]),
    ("env", &[]),
    ("cwd", &[]),
    ("fds", &[]),
    ("proc", &["status"]),
    ("proc", &["limits"]),
];

/// Returns the output as text. If the output is the status or the limits of a process, the text contains only
/// the lines that an exec must set or preserve, without the signals 32 and 33. The C library uses these two,
/// and its `posix_spawn`, which may have started this test, ignores them.
fn lasting(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let kept =
        ["Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Max "];
    let is_status = text.starts_with("Name:") || text.starts_with("Limit ");
    let wanted = |line: &&str| !is_status || kept.iter().any(|name| line.starts_with(name));
    let lines = text.lines().filter(wanted).map(|line| match line.split_once("\t") {
        Some((name @ ("SigIgn:" | "SigCgt:"), mask)) => {
            let mask = u64::from_str_radix(mask, 16).unwrap();
            format!("{name}\t{:016x}", mask & !(3 << 31))
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn exec_is_what_spawn_is() {
    if no_thread("exec_is_what_spawn_is") {
        return;
    }
    let file = common::file(b"x");
    let (reader, _writer) = rawpipe::pipe().unwrap();
    for (name, args) in LOOKS {
        let command = with_all(name, args, (&file, &reader));
        let mut spawned = command.clone().stdout(Stdio::piped()).spawn().unwrap();
        let wanted = all_of(spawned.take_stdout());
        assert_eq!(spawned.wait().unwrap().code(), Some(0));
        let (found, code) = output_of_child(|| command.exec().errno());
        assert_eq!(code, Some(0), "{name}");
        assert_eq!(lasting(&found), lasting(&wanted), "{name}");
        assert!(!found.is_empty());
    }
}

fn exec_is_as_with_std() {
    if no_thread("exec_is_as_with_std") {
        return;
    }
    for (name, args) in LOOKS {
        let (found, code) = output_of_child(|| {
            let mut command = program(name, args);
            command
                .env("RAWPIPE_A", "a")
                .env_remove("HOME")
                .current_dir("/dev")
                .stdin(Stdio::null());
            command.exec().errno()
        });
        assert_eq!(code, Some(0), "{name}");
        let (wanted, code) = output_of_child(|| {
            let mut command = std_program(name, args);
            command.env("RAWPIPE_A", "a").env_remove("HOME").current_dir("/dev");
            let error = command.stdin(std::process::Stdio::null()).exec();
            Errno::from_raw_os_error(error.raw_os_error().unwrap_or(1)).unwrap_or(Errno::EPERM)
        });
        assert_eq!(code, Some(0), "{name}");
        assert_eq!(lasting(&found), lasting(&wanted), "{name}");
    }
}

/// Returns the value of a field of `/proc/PID/status`, or an empty string if the field is missing.
fn field(status: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(status).into_owned();
    let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    line.and_then(|line| Some(line.split_once('\t')?.1.to_owned())).unwrap_or_default()
}

fn exec_in_a_thread_beside_others_keeps_the_process() {
    if no_thread("exec_in_a_thread_beside_others_keeps_the_process") {
        return;
    }
    for folder in [None, Some("/")] {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let copy = &reader;
        let mut child = child(|| {
            common::close_copy(copy);
            for _ in 0..3 {
                thread::spawn(|| thread::sleep(Duration::from_secs(1000)));
            }
            let exec = thread::spawn(move || {
                let mut command = program("proc", &["status"]);
                command.stdout(&writer);
                if let Some(folder) = folder {
                    command.current_dir(folder);
                }
                command.exec().errno()
            });
            u8::try_from(exec.join().unwrap().raw_os_error()).unwrap()
        });
        let status = all_of(Some(reader));
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let own = child.id().to_string();
        assert_eq!([field(&status, "Tgid:"), field(&status, "Pid:")], [own.clone(), own]);
        assert_eq!(field(&status, "Threads:"), "1");
    }
}

// ---- state after a failure ----

/// Returns the state of this process and of the calling thread. The state includes the open descriptors with
/// their flags, the current directory, the niceness, and some lines of the status file.
fn state() -> Vec<String> {
    let fds = common::open_fds().into_iter().map(|fd| {
        // For a pipe or socket, the link contains the inode number, which identifies the pipe or socket.
        let to = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find(|line| line.starts_with("flags:")).unwrap_or("").to_owned();
        format!("{fd} {} {flags}", to.display())
    });
    let status = fs::read("/proc/thread-self/status").unwrap();
    let names = [
        "Umask:", "Uid:", "Gid:", "Groups:", "Threads:", "SigBlk:", "SigIgn:", "SigCgt:", "ShdPnd:",
    ];
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let nice = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16));
    let rest = [format!("{:?} {nice:?}", env::current_dir().unwrap())];
    fds.chain(names.map(|name| name.to_owned() + &field(&status, name))).chain(rest).collect()
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

const SIG_IGN: usize = 1;

unsafe extern "C" {
    safe fn signal(signal: i32, handler: usize) -> usize;
}

fn handle_usr1() {
    extern "C" fn handler(_signal: i32) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }
    signal(Signal::USR1.as_raw(), handler as extern "C" fn(i32) as usize);
}

/// Returns the sets of ignored and of caught signals of this process, in hexadecimal.
fn dispositions() -> [String; 2] {
    let status = fs::read("/proc/self/status").unwrap();
    ["SigIgn", "SigCgt"].map(|name| field(&status, name))
}

/// Returns a command that cannot be executed. If `by_thread` is set, the exec needs a new thread. Otherwise,
/// the exec happens in the calling thread.
fn failing(by_thread: bool) -> Command<'static> {
    let mut command = Command::new("/no/such/program");
    if by_thread {
        command.umask(0o22);
    }
    command
}

/// If another thread has installed a signal handler and then replaced it with `SIG_IGN`, a failed exec does
/// not reinstall the handler.
fn exec_failing_leaves_handlers_to_their_owners() {
    let test = "exec_failing_leaves_handlers_to_their_owners";
    for by_thread in [false, true] {
        if by_thread && no_thread(test) {
            return;
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(failing(by_thread).exec().stage(), SpawnStage::Exec);
                }
            });
            let installed = (0..3_000).find(|_| {
                handle_usr1();
                signal(Signal::USR1.as_raw(), SIG_IGN);
                let usr1 = 1 << (Signal::USR1.as_raw() - 1);
                u64::from_str_radix(&dispositions()[1], 16).unwrap() & usr1 != 0
            });
            stop.store(true, Ordering::Relaxed);
            assert_eq!(installed, None, "by a thread: {by_thread}");
        });
    }
}

fn exec_failing_in_two_threads_keeps_what_signals_do() {
    let test = "exec_failing_in_two_threads_keeps_what_signals_do";
    handle_usr1();
    signal(Signal::PIPE.as_raw(), SIG_IGN);
    thread::spawn(|| ()).join().unwrap(); // makes glibc install an internal signal handler
    let before = dispositions();
    for by_thread in [false, true] {
        if by_thread && no_thread(test) {
            return;
        }
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..1_000).for_each(|_| _ = failing(by_thread).exec()));
            }
        });
        assert_eq!(dispositions(), before, "by a thread: {by_thread}");
    }
}

/// An exec that needs a new thread keeps the parent-death signal that the process has set for itself.
fn exec_by_a_thread_keeps_the_parent_death_signal() {
    if no_thread("exec_by_a_thread_keeps_the_parent_death_signal") {
        return;
    }
    const PR_SET_PDEATHSIG: usize = 1;
    let ((reader, writer), (begun, begins)) = (rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap());
    let mut parent = child(|| {
        let mut sleeper = child(|| {
            common::close_copy(&reader);
            // SAFETY: all arguments are integers.
            assert_eq!(unsafe { raw::syscall5(nr::PRCTL, PR_SET_PDEATHSIG, 9, 0, 0, 0) }, 0);
            let mut sleep = program("sleep", &[]);
            begins.write(b"!").unwrap();
            u8::try_from(sleep.fd_map(&writer, 7).exec().errno().raw_os_error()).unwrap()
        });
        begun.read(&mut [0]).unwrap();
        // The deadline allows enough time for the exec. The program sleeps until it is killed.
        let early = sleeper.wait_deadline(Deadline::after(Duration::from_millis(300)));
        u8::from(early != Ok(None))
    });
    drop(writer);
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    let ended =
        rawpipe::io::read_deadline(&reader, &mut [0], Deadline::after(Duration::from_secs(60)));
    assert_eq!(ended, Ok(0), "it outlives its parent");
}

fn exec_failing_at_each_stage_leaves_all_as_it_was() {
    let test = "exec_failing_at_each_stage_leaves_all_as_it_was";
    if no_thread(test) {
        return;
    }
    handle_usr1();
    // The descriptor numbers 7 and 3, which the commands assign, are already in use in this process.
    let file = common::file(b"x");
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut own = Vec::new();
    while own.last().is_none_or(|file: &File| file.as_raw_fd() < 8) {
        own.push(common::file(b"own"));
    }
    let root = field(&fs::read("/proc/self/status").unwrap(), "Uid:").starts_with("0\t");
    type Set = fn(&mut Command<'_>);
    let stages: &[(SpawnStage, Option<Errno>, Set)] = &[
        (SpawnStage::Arguments, Some(Errno::EINVAL), |command| _ = command.arg("a\0b")),
        (SpawnStage::Cgroup, Some(Errno::ENOENT), |command| _ = command.cgroup("/no/such/group")),
        (SpawnStage::Setpgid, Some(Errno::EPERM), |command| _ = command.process_group(i32::MAX)),
        (SpawnStage::Dup { from: 0, to: 1 << 20 }, Some(Errno::EBADF), |command| {
            _ = command.fd_map(common::file(b""), 1 << 20)
        }),
        (SpawnStage::Setrlimit(Resource::NOFILE), Some(Errno::EPERM), |command| {
            _ = command.rlimit(Resource::NOFILE, Rlimit::INFINITE);
        }),
        (SpawnStage::Setuid, None, |command| _ = command.uid(12345)),
        (SpawnStage::Chdir, Some(Errno::ENOENT), |command| {
            _ = command.current_dir("/no/such/folder")
        }),
        (SpawnStage::Exec, Some(Errno::ENOENT), |command| {
            _ = command.env("PATH", "/no/such/folder");
        }),
    ];
    for (stage, errno, set) in stages {
        let mut command = with_all("exit", &["0"], (&file, &reader));
        if matches!(stage, SpawnStage::Exec) {
            // To fail at the stage `Exec`, the command names a program that does not exist. If this process
            // is root, the command also changes the ids.
            let mut other = Command::new("no-such-program");
            other.fd_map(&file, 7).fd_map(&reader, 3).close_other_fds().current_dir("/");
            other.umask(0o27).nice(3).signal_mask(SignalSet::full());
            if root {
                other.uid(12345).gid(12345).groups(&[1, 2]);
            }
            command = other;
        }
        set(&mut command);
        if matches!(stage, SpawnStage::Setuid) && root {
            continue;
        }
        let before = state();
        let error = command.exec();
        assert_eq!(state(), before, "{stage:?}");
        let same = std::mem::discriminant(&error.stage()) == std::mem::discriminant(stage);
        assert!(same || errno.is_none(), "{stage:?}: {error:?}");
        assert!(errno.is_none_or(|errno| errno == error.errno()), "{stage:?}: {error:?}");
    }
    assert!(
        own.iter().all(|file| fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).is_ok())
    );
    // The handler is still installed and still works.
    common::kill(std::process::id(), Signal::USR1.as_raw());
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
}

/// The command assigns a descriptor number that another thread of this process uses. After a failed exec,
/// that thread still writes to its own file.
fn exec_failing_never_replaces_a_descriptor_of_another_thread() {
    if no_thread("exec_failing_never_replaces_a_descriptor_of_another_thread") {
        return;
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut own = common::file(b"");
    let number = own.as_raw_fd();
    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                own.write_all(b"x").unwrap();
                count += 1;
            }
            count
        });
        let mut command = Command::new("/no/such/program");
        command.fd_map(&writer, number).close_other_fds();
        for _ in 0..500 {
            assert_eq!(command.exec().stage(), SpawnStage::Exec);
        }
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap()
    });
    assert_eq!(reader.available(), Ok(0));
    assert_eq!(own.metadata().unwrap().len(), written);
    // The failed exec leaves no copy of the write end open.
    drop(writer);
    assert_eq!(all_of(Some(reader)), b"");
}

/// As documented, a failed exec restores neither the process group nor the limits.
fn exec_failing_leaves_group_and_limits_changed() {
    let code = child(|| {
        let mut command = Command::new("/no/such/program");
        command.process_group(0).rlimit(Resource::CORE, Rlimit::new(0, 0));
        let error = command.exec();
        // The test reads the thread's file, because an emulator replaces the process's file. In that
        // replacement, the group is 0.
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let group = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(2))
            .map(str::to_owned);
        let limits = fs::read("/proc/self/limits").unwrap();
        let core = String::from_utf8(limits).unwrap();
        let core = core.lines().find(|line| line.starts_with("Max core")).unwrap().to_owned();
        let core: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
        let right = error.stage() == SpawnStage::Exec
            && group == Some(std::process::id().to_string())
            && core == ["0", "0"];
        u8::from(!right)
    });
    assert_eq!({ code }.wait().unwrap().code(), Some(0));
    // A group leader cannot create a session.
    let code = child(|| {
        let mut command = program("exit", &["0"]);
        let first = Command::new("/no/such/program").process_group(0).exec();
        let error = command.setsid().exec();
        let right = (error.stage(), error.errno()) == (SpawnStage::Setsid, Errno::EPERM);
        u8::from(!right || first.stage() != SpawnStage::Exec)
    });
    assert_eq!({ code }.wait().unwrap().code(), Some(0));
}

fn exec_where_no_thread_may_be_made_eperm() {
    let test = "exec_where_no_thread_may_be_made_eperm";
    let index = u32::from(cfg!(target_arch = "s390x"));
    let filter = Filter::on_argument(nr::CLONE, index, Value::Has(CLONE_THREAD), Errno::EPERM);
    filtered(test, &"a folder needs a thread", || {
        if !filter.install() {
            return NO_FILTER;
        }
        let before = state();
        let error = program("exit", &["0"]).current_dir("/").exec();
        let right = (error.stage(), error.errno()) == (SpawnStage::Clone, Errno::EPERM);
        assert!(right && state() == before, "{error:?}");
        // Without `current_dir`, the exec needs no thread.
        let _ = program("exit", &["0"]).exec();
        1
    });
}

/// In a process with several threads, a forked child must make only system calls. The command is therefore
/// prepared before the fork.
fn spawn_exec_after_a_fork() {
    let words = std_program("exit", &["9"]);
    let text = |word: &std::ffi::OsStr| {
        std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(word)).unwrap()
    };
    let words: Vec<_> =
        [words.get_program()].into_iter().chain(words.get_args()).map(text).collect();
    let argv: Vec<_> = words.iter().map(|word| Arg::new(word)).chain([Arg::END]).collect();
    let spawn = Spawn::new(&words[0], &argv, &[Arg::END]);
    // SAFETY: the child makes only system calls.
    let mut child =
        unsafe { process::fork_with(|| u8::from(spawn.exec().errno() == Errno::EPERM)) }.unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

fn exec_inherits_or_clears_the_mask() {
    const SIG_BLOCK: usize =
        if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 1 } else { 0 };
    let blocked = |set: fn(&mut Command<'_>)| {
        let (status, code) = output_of_child(|| {
            let usr2 = 1_u64 << (Signal::USR2.as_raw() - 1);
            let place = (&raw const usr2).expose_provenance();
            // SAFETY: the call reads eight bytes at `place`.
            assert_eq!(unsafe { raw::syscall4(nr::RT_SIGPROCMASK, SIG_BLOCK, place, 0, 8) }, 0);
            let mut command = program("proc", &["status"]);
            set(&mut command);
            command.exec().errno()
        });
        assert_eq!(code, Some(0));
        field(&status, "SigBlk:")
    };
    let usr2 = format!("{:016x}", 1_u64 << (Signal::USR2.as_raw() - 1));
    assert_eq!(blocked(|_| ()), "0000000000000000");
    assert_eq!(blocked(|command| _ = command.inherit_mask()), usr2);
    let also = blocked(|command| _ = command.inherit_mask().signal_mask(SignalSet::empty()));
    assert_eq!(also, "0000000000000000");
}

/// The kernel sends a parent-death signal when the thread that created the child ends. An exec that needs a
/// new thread ends the calling thread, so the children of that thread are killed.
fn exec_by_a_thread_ends_the_calling_one_for_its_children() {
    if no_thread("exec_by_a_thread_ends_the_calling_one_for_its_children") {
        return;
    }
    for (folder, dies) in [(false, false), (true, true)] {
        let (alive, writer) = rawpipe::pipe().unwrap();
        let (gate, key) = rawpipe::pipe().unwrap();
        let (copy, other) = (&alive, &key);
        let mut child = child(|| {
            common::close_copy(copy);
            common::close_copy(other);
            let mut bound = program("sleep", &[]);
            bound.stdout(writer).parent_death_signal(Signal::KILL);
            let spawned = bound.spawn().is_ok();
            drop(bound);
            let mut command = program("waiter", &[]);
            command.fd_map(&gate, 7);
            if !folder {
                // The exec needs no new thread if the descriptor already has the number 7.
                let number = usize::try_from(gate.as_raw_fd()).unwrap();
                // SAFETY: all arguments are integers, and no other code uses this number here.
                assert_eq!(unsafe { raw::syscall3(nr::DUP3, number, 7, 0) }, 7);
                command = program("waiter", &[]);
            }
            u8::from(spawned && command.exec().errno() == Errno::EPERM)
        });
        drop(gate);
        let mut fds = [rawpipe::event::PollFd::new(&alive, rawpipe::event::PollEvents::IN)];
        let patience = if dies { Duration::from_secs(100) } else { Duration::from_millis(300) };
        let ended = rawpipe::event::poll_deadline(&mut fds, Deadline::after(patience));
        assert_eq!(ended, Ok(usize::from(dies)), "a folder: {folder}");
        drop(key);
        assert!(child.wait().unwrap().success());
        // The reader reaches end of file only after the child that was started before the exec has also
        // ended.
        assert_eq!(all_of(Some(alive)), b"");
    }
}

/// Record locks belong to a descriptor table. An exec in the calling thread keeps the table. An exec that
/// needs a new thread does not keep it.
fn exec_by_a_thread_releases_record_locks() {
    const TEST: &str = "exec_by_a_thread_releases_record_locks";
    if !cfg!(all(target_pointer_width = "64", target_endian = "little")) || no_thread(TEST) {
        return;
    }
    /// Uses `F_SETLK` and a `struct flock` to set a write lock (`F_WRLCK`) on the whole file.
    fn lock(file: &File) -> isize {
        let place: [u64; 4] = [1, 0, 0, 0];
        let place = (&raw const place).expose_provenance();
        let number = usize::try_from(file.as_raw_fd()).unwrap();
        // SAFETY: the call reads one `struct flock` at `place`.
        unsafe { raw::syscall3(nr::FCNTL, number, 6, place) }
    }
    let file = common::file(b"x");
    for (folder, kept) in [(None, true), (Some("/"), false)] {
        let (told, writer) = rawpipe::pipe().unwrap();
        let number = usize::try_from(file.as_raw_fd()).unwrap();
        // The program inherits the file's descriptor, because closing the descriptor would release the locks.
        // `F_SETFD` clears close-on-exec.
        // SAFETY: all arguments are integers.
        assert_eq!(unsafe { raw::syscall3(nr::FCNTL, number, 2, 0) }, 0);
        let (copy, own) = (&told, &writer);
        let mut child = child(|| {
            common::close_copy(copy);
            let locked = lock(&file) == 0;
            let number = usize::try_from(own.as_raw_fd()).unwrap();
            // SAFETY: all arguments are integers, and no other code uses the old standard output.
            let moved = unsafe { raw::syscall3(nr::DUP3, number, 1, 0) } == 1;
            let mut command = program("stall", &["1"]);
            if let Some(folder) = folder {
                command.current_dir(folder);
            }
            u8::from(locked && moved && command.exec().errno() == Errno::EPERM)
        });
        drop(writer);
        assert_eq!(told.read(&mut [0]), Ok(1));
        let eagain = -(Errno::EAGAIN.raw_os_error() as isize);
        assert_eq!(lock(&file), if kept { eagain } else { 0 }, "{folder:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn exec_with_a_parent_death_signal_ends_with_the_parent() {
    if no_thread("exec_with_a_parent_death_signal_ends_with_the_parent") {
        return;
    }
    let (alive, writer) = rawpipe::pipe().unwrap();
    let (gate, key) = rawpipe::pipe().unwrap();
    let (copy, other) = (&alive, &key);
    let mut parent = child(|| {
        common::close_copy(copy);
        common::close_copy(other);
        let mut command = program("stall", &["1"]);
        command.stdout(&writer).parent_death_signal(Signal::KILL).on_drop(OnDrop::Leave);
        // SAFETY: this process has only one thread.
        let made =
            unsafe { process::fork_with(|| u8::from(command.exec().errno() == Errno::EPERM)) };
        let _ = gate.read(&mut [0]);
        u8::from(made.is_err())
    });
    drop(writer);
    let mut byte = [0];
    assert_eq!(alive.read(&mut byte), Ok(1));
    drop(key);
    assert!(parent.wait().unwrap().success());
    assert_eq!(all_of(Some(alive)), b"");
}

pub(crate) const TESTS: common::Tests = common::tests![
    exec_is_what_spawn_is,
    exec_is_as_with_std,
    exec_in_a_thread_beside_others_keeps_the_process,
    exec_failing_at_each_stage_leaves_all_as_it_was,
    exec_failing_never_replaces_a_descriptor_of_another_thread,
    exec_failing_leaves_group_and_limits_changed,
    exec_where_no_thread_may_be_made_eperm,
    spawn_exec_after_a_fork,
    exec_inherits_or_clears_the_mask,
    exec_failing_leaves_handlers_to_their_owners,
    exec_failing_in_two_threads_keeps_what_signals_do,
    exec_by_a_thread_keeps_the_parent_death_signal,
    exec_by_a_thread_ends_the_calling_one_for_its_children,
    exec_by_a_thread_releases_record_locks,
    exec_with_a_parent_death_signal_ends_with_the_parent,
];
