//! Checks the results of calls that execute programs, start programs as children, or communicate with
//! children. Each row covers one call in one situation.

use super::{Answer, alike, answer, become_ordinary_user, in_child, libc, of_std, own, row};
use crate::common::nr;
use crate::common::{self, closed_fd, skip};
use rawpipe::Deadline;
use rawpipe::Errno;
use rawpipe::fd::{AsFd, AsRawFd};
use rawpipe::process::{
    self, Arg, Command, Communicate, CommunicateErrorKind as Kind, ExecFlags, Resource, Rlimit,
    Signal, Spawn, SpawnError, SpawnStage, StdStream, Stdio,
};
use std::ffi::{CStr, CString, c_char};
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OK_0: Answer = Ok(0);

/// Paths that cannot be executed, and the directory that contains some of these paths.
struct Paths {
    folder: PathBuf,
    /// The description of each path, the path itself, and the error that executing the path returns.
    paths: Vec<(&'static str, CString, Errno)>,
}

impl Paths {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("rawpipe-paths-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder that was not there");
        let make = |name: &str, mode: u32, contents: &[u8]| {
            let path = folder.join(name);
            let mut options = OpenOptions::new();
            let mut file = options.create_new(true).write(true).mode(mode).open(&path).unwrap();
            std::io::Write::write_all(&mut file, contents).unwrap();
            path
        };
        let plain = make("plain", 0o644, b"#!/bin/true\n");
        let empty = make("empty", 0o755, b"");
        let garbage = make("garbage", 0o755, b"\x01\x02\x03\x04 no program at all");
        let orphan = make("orphan", 0o755, b"#!/no/such/interpreter\n");
        let ring = folder.join("ring");
        symlink(&ring, &ring).unwrap();
        let long = PathBuf::from(format!("/{}", "x/".repeat(3000)));
        let component = folder.join("y".repeat(300));
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
        let mut paths = vec![
            ("no such file", c"/no/such/program".to_owned(), Errno::ENOENT),
            ("no path", c"".to_owned(), Errno::ENOENT),
            ("a file on the way", c"/dev/null/program".to_owned(), Errno::ENOTDIR),
            ("a folder", c"/".to_owned(), Errno::EACCES),
            ("a device", c"/dev/null".to_owned(), Errno::EACCES),
            ("not executable", text(&plain), Errno::EACCES),
            ("a ring of links", text(&ring), Errno::ELOOP),
            ("path too long", text(&long), Errno::ENAMETOOLONG),
            ("name too long", text(&component), Errno::ENAMETOOLONG),
        ];
        // These rows need a directory in a file system that permits the execution of programs.
        let script = make("script", 0o755, b"#!/bin/sh\nexit 0\n");
        if std::process::Command::new(script).status().is_ok() {
            paths.push(("empty", text(&empty), Errno::ENOEXEC));
            paths.push(("of no kind", text(&garbage), Errno::ENOEXEC));
            paths.push(("no such interpreter", text(&orphan), Errno::ENOENT));
        } else {
            skip(&common::name_alone(), "programs may not lie in the folder for temporary files");
        }
        Self { folder, paths }
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns a null-terminated list for the C library.
fn list(words: &[&CStr]) -> Vec<*const c_char> {
    words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
}

fn c_execve(path: &CStr, argv: &[&CStr]) -> Answer {
    let (argv, envp) = (list(argv), list(&[]));
    // SAFETY: the arguments are a C string and two lists that end with a null pointer.
    answer(unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) } as isize)
}

fn failed(answer: Result<std::convert::Infallible, Errno>) -> Answer {
    answer.map(|never| match never {})
}

/// Checks the exec functions. Every call fails, so this process continues.
pub(crate) fn execs() {
    if let Some(who) = common::in_front() {
        return skip("execs", &format!("{who} looks at programs in its own way"));
    }
    let all = Paths::new();
    let argv = [Arg::new(c"program"), Arg::END];
    let envp = [Arg::END];
    let none = ExecFlags::empty();
    let here = File::open("/").unwrap();
    let (c_argv, c_envp) = (list(&[c"program"]), list(&[]));
    let c_execveat = |folder: i32, path: &CStr, flags| {
        let (path, argv, envp) = (path.as_ptr(), c_argv.as_ptr(), c_envp.as_ptr());
        // SAFETY: the arguments are a C string and two lists that end with a null pointer.
        answer(unsafe { libc::execveat(folder, path, argv, envp, flags) } as isize)
    };
    for (what, path, wanted) in &all.paths {
        let wanted = Err(*wanted);
        let theirs = || c_execve(path, &[c"program"]);
        let ours = failed(process::execve(path, &argv, &envp));
        row("process::execve", what, wanted, ours, theirs());
        // `execvpe` does not search the directories for a name that is empty or contains a slash.
        let ours = failed(process::execvpe(path, b"/bin", &argv, &envp));
        row("process::execvpe", what, wanted, ours, theirs());
        let ours = failed(process::execveat(&here, path, &argv, &envp, none));
        let theirs = c_execveat(here.as_raw_fd(), path, 0);
        row("process::execveat", what, wanted, ours, theirs);
    }
    let long = CString::new(vec![b'x'; 4 << 20]).unwrap();
    let ours = failed(process::execve(c"/bin/true", &[Arg::new(&long), Arg::END], &envp));
    let too_big = Err(Errno::E2BIG);
    row("process::execve", "argument too long", too_big, ours, c_execve(c"/bin/true", &[&long]));
    let ours = failed(process::execvpe(c"true", b"/bin", &[Arg::new(&long), Arg::END], &envp));
    own("process::execvpe", "argument too long", too_big, ours);
    let endless = [Arg::new(c"program")];
    let invalid = Err(Errno::EINVAL);
    let ours = failed(process::execve(c"/bin/true", &endless, &envp));
    own("process::execve", "a list without an end", invalid, ours);
    let ours = failed(process::execve(c"/bin/true", &argv, &[]));
    own("process::execve", "an environment without an end", invalid, ours);
    let ours = failed(process::execvpe(c"true", b"/bin", &endless, &envp));
    own("process::execvpe", "a list without an end", invalid, ours);

    // The file is open for writing, and some kernels permit the execution of such a file. On these kernels,
    // the exec fails because the file is not a program.
    let busy = all.folder.join("busy");
    let mut options = OpenOptions::new();
    let file = options.create_new(true).write(true).mode(0o755).open(&busy).unwrap();
    let path = CString::new(busy.as_os_str().as_bytes()).unwrap();
    let ours = failed(process::execve(&path, &argv, &envp));
    alike("process::execve", "open for writing", ours, c_execve(&path, &[c"program"]));
    drop(file);

    let closed = closed_fd();
    let bad = Err(Errno::EBADF);
    let ours = failed(process::execveat(closed, c"program", &argv, &envp, none));
    row(
        "process::execveat",
        "closed folder",
        bad,
        ours,
        c_execveat(closed.as_raw_fd(), c"program", 0),
    );
    let device = File::open("/dev/null").unwrap();
    let ours = failed(process::execveat(&device, c"program", &argv, &envp, none));
    let theirs = c_execveat(device.as_raw_fd(), c"program", 0);
    row("process::execveat", "no folder", Err(Errno::ENOTDIR), ours, theirs);
    let unknown = ExecFlags::from_bits_retain(1 << 20);
    let ours = failed(process::execveat(&here, c"program", &argv, &envp, unknown));
    let theirs = c_execveat(here.as_raw_fd(), c"program", 1 << 20);
    row("process::execveat", "unknown flag", invalid, ours, theirs);
    const AT_SYMLINK_NOFOLLOW: i32 = 0x100;
    let link = all.folder.join("link");
    symlink("/bin/true", &link).unwrap();
    let path = CString::new(link.as_os_str().as_bytes()).unwrap();
    let follow_not = ExecFlags::from_bits_retain(AT_SYMLINK_NOFOLLOW.unsigned_abs());
    let ours = failed(process::execveat(&here, &path, &argv, &envp, follow_not));
    let theirs = c_execveat(here.as_raw_fd(), &path, AT_SYMLINK_NOFOLLOW);
    row("process::execveat", "a link", Err(Errno::ELOOP), ours, theirs);

    let c_fexecve = |fd: i32| {
        // SAFETY: the arguments are two lists that end with a null pointer.
        answer(unsafe { libc::fexecve(fd, c_argv.as_ptr(), c_envp.as_ptr()) } as isize)
    };
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let plain = File::open(all.folder.join("plain")).unwrap();
    for (what, fd, wanted) in [
        ("closed", closed, Errno::EBADF),
        ("a pipe", reader.as_fd(), Errno::EACCES),
        ("a folder", here.as_fd(), Errno::EACCES),
        ("not executable", plain.as_fd(), Errno::EACCES),
    ] {
        let ours = failed(process::fexecve(fd, &argv, &envp));
        let theirs = c_fexecve(fd.as_raw_fd());
        if what == "closed" {
            // If `/proc` has no entry for the descriptor, the error may also be `ENOENT`.
            own("process::fexecve", what, true, ours == Err(wanted) || ours == Err(Errno::ENOENT));
        } else if theirs == Err(Errno::ENOENT) {
            // Some releases of Linux 5.10 do not accept an empty path for the execution of a descriptor. The
            // C library then returns `ENOENT`.
            own("process::fexecve", what, Err(wanted), ours);
        } else {
            row("process::fexecve", what, Err(wanted), ours, theirs);
        }
    }
    let ours = failed(process::fexecve(&plain, &endless, &envp));
    own("process::fexecve", "a list without an end", invalid, ours);

    // These calls search a list of directories. The C library reads this list from `PATH`.
    let mut search = all.folder.as_os_str().as_bytes().to_vec();
    for (what, name, wanted) in [
        ("found nowhere", c"no-such-program", Errno::ENOENT),
        ("found, not executable", c"plain", Errno::EACCES),
        ("longer than a name", &*CString::new("z".repeat(5000)).unwrap(), Errno::ENOENT),
    ] {
        let path = std::ffi::OsStr::from_bytes(&search);
        // SAFETY: this process has no other thread.
        unsafe { std::env::set_var("PATH", path) };
        let (argv_, envp_) = (c_argv.as_ptr(), c_envp.as_ptr());
        // SAFETY: the arguments are a C string and two lists that end with a null pointer.
        let theirs = answer(unsafe { libc::execvpe(name.as_ptr(), argv_, envp_) } as isize);
        let ours = failed(process::execvpe(name, &search, &argv, &envp));
        if what == "longer than a name" {
            own("process::execvpe", what, Err(wanted), ours);
        } else {
            row("process::execvpe", what, Err(wanted), ours, theirs);
        }
    }
    search.extend_from_slice(b":/no/such/folder:/dev/null");
    let ours = failed(process::execvpe(c"plain", &search, &argv, &envp));
    own("process::execvpe", "not executable, and folders that are none", Err(Errno::EACCES), ours);
}

/// Returns the stage and the error of a failed spawn.
fn failure<T>(answer: Result<T, SpawnError>) -> (SpawnStage, Answer) {
    let error = answer.map(drop).expect_err("it starts");
    (error.stage(), Err(error.errno()))
}

fn std_failure(command: &mut std::process::Command) -> Answer {
    of_std(command.stdout(std::process::Stdio::null()).spawn().map(|mut child| child.wait()))
}

pub(crate) fn spawns() {
    if let Some(who) = common::in_front() {
        return skip("spawns", &format!("{who} looks at programs in its own way"));
    }
    let all = Paths::new();
    let argv = [Arg::new(c"program"), Arg::END];
    let nothing = [Arg::END];
    let held = |call, what, stage, wanted: Errno, ours: (SpawnStage, Answer), theirs: Answer| {
        assert_eq!(ours.0, stage, "{call}, {what}");
        row(call, what, Err(wanted), ours.1, theirs);
    };
    for (what, path, wanted) in &all.paths {
        let program = std::ffi::OsStr::from_bytes(path.to_bytes());
        let theirs = std_failure(&mut std::process::Command::new(program));
        let ours = failure(Command::new(program).spawn());
        held("Command::spawn", what, SpawnStage::Exec, *wanted, ours, theirs);
        let ours = failure(Spawn::new(path, &argv, &nothing).spawn());
        held("Spawn::spawn", what, SpawnStage::Exec, *wanted, ours, theirs);
    }
    let true_ = || Command::new("/bin/true");
    let spawn = Spawn::new(c"/bin/true", &argv, &nothing);
    let std_true = || std::process::Command::new("/bin/true");
    for (what, folder, wanted) in [
        ("no such folder", c"/no/such/folder", Errno::ENOENT),
        ("a file for a folder", c"/dev/null", Errno::ENOTDIR),
    ] {
        let path = std::ffi::OsStr::from_bytes(folder.to_bytes());
        let theirs = std_failure(std_true().current_dir(path));
        let ours = failure(true_().current_dir(path).spawn());
        held("Command::spawn", what, SpawnStage::Chdir, wanted, ours, theirs);
        let ours = failure(spawn.current_dir(folder).spawn());
        held("Spawn::spawn", what, SpawnStage::Chdir, wanted, ours, theirs);
    }
    let long = "x".repeat(4 << 20);
    let theirs = std_failure(std_true().arg(&long));
    let ours = failure(true_().arg(&long).spawn());
    held("Command::spawn", "argument too long", SpawnStage::Exec, Errno::E2BIG, ours, theirs);

    // These invalid arguments are rejected before a child is created.
    let invalid = (SpawnStage::Arguments, Err(Errno::EINVAL));
    let null = File::open("/dev/null").unwrap();
    own("Command::spawn", "a NUL within", invalid, failure(true_().arg("a\0b").spawn()));
    own("Command::spawn", "no name", invalid, failure(true_().env("", "x").spawn()));
    let clone = || null.try_clone().unwrap();
    let twice = failure(true_().fd_map(clone(), 7).fd_map(clone(), 7).spawn());
    own("Command::spawn", "a number twice", invalid, twice);
    let group = failure(true_().on_drop(process::OnDrop::KillGroup).spawn());
    own("Command::spawn", "leads no group", invalid, group);
    let endless = [Arg::new(c"program")];
    let ours = failure(Spawn::new(c"/bin/true", &endless, &nothing).spawn());
    own("Spawn::spawn", "a list without an end", invalid, ours);
    let fds = [(null.as_fd(), 7), (null.as_fd(), 7)];
    own("Spawn::spawn", "a number twice", invalid, failure(spawn.fd_maps(&fds).spawn()));
    own("Spawn::spawn", "a negative number", invalid, {
        failure(spawn.fd_maps(&[(null.as_fd(), -1)]).spawn())
    });
    own("Spawn::spawn", "a negative group", invalid, failure(spawn.process_group(-1).spawn()));
    own("Spawn::spawn", "no user", invalid, failure(spawn.uid(u32::MAX).spawn()));

    // Most of these failures occur in the child. A spawn with a missing control group fails in the parent.
    let from = null.as_raw_fd();
    let beyond = (SpawnStage::Dup { from, to: 1 << 30 }, Err(Errno::EBADF));
    let fds = [(null.as_fd(), 1 << 30)];
    own("Spawn::spawn", "a number beyond all", beyond, failure(spawn.fd_maps(&fds).spawn()));
    let fds = [(closed_fd(), 7)];
    let closed = (SpawnStage::Dup { from: closed_fd().as_raw_fd(), to: 7 }, Err(Errno::EBADF));
    own("Spawn::spawn", "closed", closed, failure(spawn.fd_maps(&fds).spawn()));
    let cgroup = failure(true_().cgroup("/no/such/group").spawn());
    own(
        "Command::spawn",
        "no such control group",
        (SpawnStage::Cgroup, Err(Errno::ENOENT)),
        cgroup,
    );
    let not_writable = failure(spawn.cgroup_procs(null.as_fd()).spawn());
    own(
        "Spawn::spawn",
        "control group, to read",
        (SpawnStage::Cgroup, Err(Errno::EBADF)),
        not_writable,
    );
    let limits = [(Resource::CORE, Rlimit::new(2, 1))];
    let upside_down = (SpawnStage::Setrlimit(Resource::CORE), Err(Errno::EINVAL));
    own(
        "Spawn::spawn",
        "more than the limit",
        upside_down,
        failure(spawn.rlimits(&limits).spawn()),
    );
    let foreign = |group| answer(libc::setpgid(0, group) as isize);
    let theirs = foreign(1 << 22);
    let ours = failure(spawn.process_group(1 << 22).spawn());
    held("Spawn::spawn", "no such group", SpawnStage::Setpgid, Errno::EPERM, ours, theirs);
    let theirs = std_failure(std_true().process_group(1 << 22));
    let ours = failure(true_().process_group(1 << 22).spawn());
    held("Command::spawn", "no such group", SpawnStage::Setpgid, Errno::EPERM, ours, theirs);

    as_ordinary_user(&spawn);

    let next = File::open("/").unwrap();
    common::set_soft_limit(Resource::NOFILE.as_raw(), u64::try_from(next.as_raw_fd()).unwrap());
    drop(next);
    let theirs = std_failure(std_true().stdin(std::process::Stdio::piped()));
    let ours = failure(true_().stdin(Stdio::piped()).spawn());
    held("Command::spawn", "no descriptors left", SpawnStage::Stdio, Errno::EMFILE, ours, theirs);
}

/// Checks changes that an ordinary user may not make, and a spawn after the limit on processes has been
/// reached.
fn as_ordinary_user(spawn: &Spawn<'_>) {
    type Ours = fn(&Spawn<'_>) -> (SpawnStage, Answer);
    type Theirs = fn(&mut std::process::Command) -> &mut std::process::Command;
    const HARD: &[(Resource, Rlimit)] = &[(Resource::CORE, Rlimit::new(0, u64::MAX))];
    let lines: [(&str, Errno, SpawnStage, Ours, Option<Theirs>); 5] = [
        ("root's id", Errno::EPERM, SpawnStage::Setuid, |spawn| failure(spawn.uid(0).spawn()), {
            Some(|command| command.uid(0))
        }),
        (
            "root's group",
            Errno::EPERM,
            SpawnStage::Setgid,
            |spawn| failure(spawn.gid(0).spawn()),
            { Some(|command| command.gid(0)) },
        ),
        (
            "groups",
            Errno::EPERM,
            SpawnStage::Setgroups,
            |spawn| failure(spawn.groups(&[0]).spawn()),
            None,
        ),
        (
            "more important",
            Errno::EACCES,
            SpawnStage::Nice,
            |spawn| failure(spawn.nice(-5).spawn()),
            None,
        ),
        (
            "a higher limit",
            Errno::EPERM,
            SpawnStage::Setrlimit(Resource::CORE),
            |spawn| failure(spawn.rlimits(HARD).spawn()),
            None,
        ),
    ];
    for (what, wanted, stage, ours, theirs) in lines {
        let [ours, theirs] = in_child(|| {
            use rawpipe::raw::syscall3;
            common::set_limits(Resource::CORE.as_raw(), [0; 2]);
            let id = super::NOBODY as usize;
            // SAFETY: the call reads only integers. If the call fails, this process already has the ids of an
            // ordinary user.
            unsafe { syscall3(nr::SETRESGID, id, id, id) };
            if !become_ordinary_user() {
                return [OK_0; 2];
            }
            let (at, ours) = ours(spawn);
            assert_eq!(at, stage, "{what}");
            let mut command = std::process::Command::new("/bin/true");
            [ours, theirs.map_or(ours, |set| std_failure(set(&mut command)))]
        });
        if ours == OK_0 {
            skip("spawns", "cannot become an ordinary user");
        } else {
            row("Spawn::spawn", what, Err(wanted), ours, theirs);
        }
    }
    let [ours, theirs] = in_child(|| {
        common::set_soft_limit(Resource::NPROC.as_raw(), 0);
        if !become_ordinary_user() {
            return [OK_0; 2];
        }
        let theirs = std_failure(&mut std::process::Command::new("/bin/true"));
        if theirs.is_ok() {
            return [OK_0; 2];
        }
        let (at, ours) = failure(spawn.spawn());
        assert_eq!(at, SpawnStage::Clone);
        [ours, theirs]
    });
    if theirs.is_ok() {
        return skip("spawns", "this user is not limited");
    }
    row("Spawn::spawn", "as many as the user may have", Err(Errno::EAGAIN), ours, theirs);
}

fn of_run<T, E: Into<std::io::Error>>(answer: Result<T, E>) -> Answer {
    of_std(answer.map_err(Into::into))
}

pub(crate) fn conversations() {
    if let Some(who) = common::in_front() {
        return skip("conversations", &format!("{who} looks at programs in its own way"));
    }
    for (what, program, wanted) in
        [("no such program", "/no/such/program", Errno::ENOENT), ("a folder", "/", Errno::EACCES)]
    {
        let theirs = of_std(std::process::Command::new(program).output());
        let ours = of_run(Command::new(program).output());
        row("Command::output", what, Err(wanted), ours, theirs);
        let theirs = of_std(std::process::Command::new(program).status());
        let ours = of_run(Command::new(program).status());
        row("Command::status", what, Err(wanted), ours, theirs);
    }
    let ended_by = |set: for<'a, 'b> fn(&'a mut Command<'b>) -> &'a mut Command<'b>| {
        let mut command = Command::new("/bin/sh");
        let error = set(command.args(["-c", "echo; exec sleep 1000"])).output().unwrap_err();
        (error.errno(), set(&mut command).status().unwrap_err().errno())
    };
    let late = (Some(Errno::ETIMEDOUT), Some(Errno::ETIMEDOUT));
    own("Command::output", "out of time", late, ended_by(|it| it.deadline(Deadline::now())));
    let limit = ended_by(|it| it.stdout(Stdio::piped()).limit(0));
    own("Command::output", "more than the limit", (None, None), limit);
    let cat = || {
        let mut command = Command::new("/bin/cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    // The calls are made in a process that is not the child's parent. That process can read the child's
    // output but cannot collect the child's status.
    let lost = Kind::Wait(Errno::ECHILD);
    let errno = |reason| match reason {
        Kind::Wait(errno) => Err(errno),
        _ => OK_0,
    };
    let mut child = cat();
    let [ours, theirs] = in_child(|| {
        let pid = i32::try_from(child.id()).unwrap();
        let mut status = 0;
        // SAFETY: the call writes one `int`.
        let theirs = answer(unsafe { libc::waitpid(pid, &raw mut status, 0) } as isize);
        // The parent holds copies of the pipe ends, so a reader would never reach end of file. This process
        // therefore drops its handles instead of reading.
        drop((child.take_stdin(), child.take_stdout()));
        let said = child.communicate(b"").map(drop);
        [said.map_or_else(|error| errno(error.reason()), |()| OK_0), theirs]
    });
    row("Child::communicate", "another's child", errno(lost), ours, theirs);
    own("Child::communicate", "its parent", OK_0, of_run(child.communicate(b"words")));
    let mut given = Some(cat());
    let [ours, theirs] = in_child(|| {
        let mut child = given.take().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // SAFETY: the pointer is null, so the call writes no status.
        let theirs = answer(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } as isize);
        drop((child.take_stdin(), child.take_stdout()));
        let said = child.wait_with_output().map(drop);
        [said.map_or_else(|error| errno(error.reason()), |()| OK_0), theirs]
    });
    row("Child::wait_with_output", "another's child", errno(lost), ours, theirs);
    let ours = of_run(given.take().unwrap().wait_with_output());
    own("Child::wait_with_output", "its parent", OK_0, ours);
    let reason = |answer: Result<process::Output, process::CommunicateError>| {
        answer.map(drop).map_err(|error| error.reason())
    };
    let mut child = cat();
    let stdin = child.take_stdin();
    let mut late = Communicate::new().deadline(Deadline::after(Duration::from_millis(2)));
    let ours = reason(late.run(&mut child));
    own("Communicate::run", "nothing ends", Err(Kind::Deadline), ours);
    drop(stdin);
    own("Communicate::run", "its input ends", Ok(()), reason(Communicate::new().run(&mut child)));
    let mut child = cat();
    let ours = reason(Communicate::new().input(b"four").limit(3).run(&mut child));
    own("Communicate::run", "more than the limit", Err(Kind::Limit(StdStream::Stdout)), ours);
}

fn groups_of_pipelines(cat: &Command<'_>) {
    let two = || cat.pipe(cat).stdin(Stdio::piped()).stdout(Stdio::null());
    let (term, no_leader) = (Signal::TERM, Err(Errno::EINVAL));
    let mut running = two().spawn().unwrap();
    own("PipelineChildren::kill_group", "leads no group", no_leader, running.kill_group());
    let ours = running.send_signal_group(term);
    own("PipelineChildren::send_signal_group", "leads no group", no_leader, ours);
    own("PipelineChildren::try_wait", "running", Ok(None), running.try_wait());
    let ours = running.wait_deadline(Deadline::after(Duration::from_millis(2)));
    own("PipelineChildren::wait_deadline", "running", Ok(None), ours);
    let lost = Err(Errno::ECHILD);
    let [ours, theirs] = in_child(|| {
        let pid = i32::try_from(running.children()[0].id()).unwrap();
        let mut status = 0;
        // SAFETY: the call writes one `int`, and `WNOHANG` prevents waiting.
        let theirs = answer(unsafe { libc::waitpid(pid, &raw mut status, 1) } as isize);
        let late = Deadline::after(Duration::from_secs(60));
        let waits = [running.try_wait().map(|_| 0), running.wait_deadline(late).map(|_| 0)];
        [if waits[0] == waits[1] { waits[0] } else { OK_0 }, theirs]
    });
    row("PipelineChildren::try_wait", "another's children", lost, ours, theirs);
    row("PipelineChildren::wait_deadline", "another's children", lost, ours, theirs);
    running.wait().unwrap();
    let mut running = two().in_one_group().spawn().unwrap();
    own("PipelineChildren::send_signal_group", "running", Ok(()), running.send_signal_group(term));
    running.wait().unwrap();
    let group = -i32::try_from(running.children()[0].id()).unwrap();
    let theirs = || answer(libc::kill(group, 0) as isize);
    let gone = Err(Errno::ESRCH);
    let ours = running.kill_group().map(|()| 0);
    row("PipelineChildren::kill_group", "no process left", gone, ours, theirs());
    let ours = running.send_signal_group(term).map(|()| 0);
    row("PipelineChildren::send_signal_group", "no process left", gone, ours, theirs());
}

pub(crate) fn pipelines() {
    if let Some(who) = common::in_front() {
        return skip("pipelines", &format!("{who} looks at programs in its own way"));
    }
    let (cat, missing) = (Command::new("/bin/cat"), Command::new("/no/such/program"));
    let theirs = of_std(std::process::Command::new("/no/such/program").spawn());
    for (what, index, pipeline) in [
        ("no such program in front", 0, missing.pipe(&cat)),
        ("no such program behind", 1, cat.pipe(&missing)),
    ] {
        let error = pipeline.spawn().map(drop).unwrap_err();
        assert_eq!((error.index(), error.error().stage()), (index, SpawnStage::Exec));
        let ours = Err(error.error().errno());
        row("Pipeline::spawn", what, Err(Errno::ENOENT), ours, theirs);
        let ours = of_run(pipeline.output());
        row("Pipeline::output", what, Err(Errno::ENOENT), ours, theirs);
        let ours = of_run(pipeline.status());
        row("Pipeline::status", what, Err(Errno::ENOENT), ours, theirs);
    }
    let none: process::Pipeline<'_> = std::iter::empty::<Command<'_>>().collect();
    let error = none.spawn().map(drop).unwrap_err().error();
    let ours = (error.stage(), error.errno());
    own("Pipeline::spawn", "of nothing", (SpawnStage::Arguments, Errno::EINVAL), ours);

    groups_of_pipelines(&cat);
    let lost = Err(Errno::ECHILD);
    let two = || cat.pipe(&cat).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = two();
    let [ours, theirs] = in_child(|| {
        let pid = i32::try_from(running.children()[0].id()).unwrap();
        let mut status = 0;
        // SAFETY: the call writes one `int`.
        let theirs = answer(unsafe { libc::waitpid(pid, &raw mut status, 0) } as isize);
        [running.wait().map(|_| 0), theirs]
    });
    row("PipelineChildren::wait", "another's children", lost, ours, theirs);
    let reason = |answer: Result<process::PipelineOutput, process::CommunicateError>| {
        answer.map(drop).map_err(|error| error.reason())
    };
    let mut late = Communicate::new().input(b"words").limit(3);
    let limit = Err(Kind::Limit(StdStream::Stdout));
    own(
        "Communicate::run_pipeline",
        "more than the limit",
        limit,
        reason(late.run_pipeline(&mut running)),
    );
    own("PipelineChildren::kill", "running or not", Ok(()), running.kill());
    own("PipelineChildren::wait", "killed", true, running.wait().is_ok());
    own("PipelineChildren::kill", "gone", Ok(()), running.kill());
    let mut running = two();
    let said = running.communicate(b"words").map(|output| output.stdout);
    own("PipelineChildren::communicate", "words", Some(b"words".to_vec()), said.ok());
    let mut running = two();
    let [ours, _] = in_child(|| {
        drop(running.children_mut()[0].take_stdin());
        drop(running.children_mut()[1].take_stdout());
        let said = running.communicate(b"").map(drop);
        let errno = said.map_err(|error| match error.reason() {
            Kind::Wait(errno) => errno,
            _ => Errno::EDOM,
        });
        [errno.map(|()| 0), OK_0]
    });
    own("PipelineChildren::communicate", "another's children", lost, ours);
}
