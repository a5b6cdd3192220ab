//! Tests `Command`: the arguments, environment, streams and other settings of a child, and the `Debug` output
//! of a command. Several tests compare the results with std's `Command`. Each test runs in its own process.
#![allow(unsafe_code, reason = "closing standard streams")]

use crate::common::programs::{all_of, output_of, program, std_program};
use crate::common::{self, emulated, skip, slow, tool};
use rawpipe::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use rawpipe::process::{
    Arg, Command, OnDrop, Resource, Rlimit, Signal, SignalSet, Spawn, SpawnStage, Stdio,
};
use rawpipe::{Errno, io as raw_io};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::{env, thread};

/// Asserts that the spawn fails and leaves no descriptor open. Returns the stage and the error.
fn failure(command: &Command<'_>) -> (SpawnStage, Errno) {
    let before = common::open_fds();
    let error = command.spawn().expect_err("a failure");
    assert_eq!(common::open_fds(), before, "{command:?}");
    (error.stage(), error.errno())
}

const INVALID: (SpawnStage, Errno) = (SpawnStage::Arguments, Errno::EINVAL);

// ---- program and arguments ----

fn args_arrive_byte_for_byte() {
    let odd = OsString::from_vec(b"\xff = \"'\n".to_vec());
    let (output, code) = output_of(program("args", &["a", "", "b c"]).arg(&odd).args(["x", "y"]));
    assert_eq!(code, Some(0));
    let words: Vec<_> = output.split(|byte| *byte == 0).skip(1).collect();
    assert_eq!(words, [b"a", &b""[..], b"b c", odd.as_bytes(), b"x", b"y", b""]);
}

fn arg0_is_what_the_program_is_called() {
    if emulated() {
        return skip("arg0_is_what_the_program_is_called", "the emulator has argument 0");
    }
    let first = |command: &mut Command<'_>| {
        let (output, code) = output_of(command);
        assert_eq!(code, Some(0));
        output.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
    };
    let path = env::current_exe().unwrap();
    let mut command = program("args", &[]);
    assert_eq!(first(&mut command).as_deref(), Some(path.as_os_str().as_bytes()));
    assert_eq!(first(command.arg0("another name")).as_deref(), Some(&b"another name"[..]));
}

fn nul_in_any_string_einval() {
    let nul = OsStr::new("a\0b");
    let setters: [fn(&mut Command<'_>, &OsStr); 7] = [
        |command, nul| _ = command.arg(nul),
        |command, nul| _ = command.args([OsStr::new("fine"), nul, OsStr::new("fine")]),
        |command, nul| _ = command.arg0(nul),
        |command, nul| _ = command.env(nul, "value"),
        |command, nul| _ = command.env("NAME", nul),
        |command, nul| _ = command.current_dir(nul),
        |command, nul| _ = command.cgroup(nul),
    ];
    for (i, set) in setters.iter().enumerate() {
        let mut command = program("exit", &["0"]);
        set(&mut command, nul);
        assert_eq!(failure(&command), INVALID, "{i}");
        // Later valid settings do not clear the error.
        command.arg("fine").arg0("fine").env("NAME", "fine").current_dir("/").stdin(Stdio::piped());
        assert_eq!(failure(&command), INVALID, "{i}");
        let error = std::io::Error::from(command.spawn().unwrap_err());
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "as std's");
    }
    assert_eq!(failure(&Command::new(nul)), INVALID);
    // A variable whose name contains a NUL byte cannot exist, so removing it has no effect.
    assert!(program("exit", &["0"]).env_remove(nul).spawn().unwrap().wait().unwrap().success());
}

fn program_by_the_childs_path() {
    if emulated() {
        return skip("program_by_the_childs_path", "the kernel cannot start a foreign program");
    }
    let folder = common::tmp_path();
    fs::create_dir(&folder).unwrap();
    symlink(env::current_exe().unwrap(), folder.join("rawpipe-test-program")).unwrap();
    let mut command = Command::new("rawpipe-test-program");
    command.args(std_program("exit", &["7"]).get_args());
    // If `PATH` contained a directory that this user cannot access, the error would be `EACCES` instead of
    // `ENOENT`.
    command.env("PATH", "/no/such/folder");
    assert_eq!(failure(&command), (SpawnStage::Exec, Errno::ENOENT));
    command.env("PATH", &folder);
    assert_eq!(command.spawn().unwrap().wait().unwrap().code(), Some(7));
    command.env_clear();
    assert_eq!(failure(&command), (SpawnStage::Exec, Errno::ENOENT));
    fs::remove_dir_all(&folder).unwrap();
}

fn errors_are_of_the_kinds_of_std() {
    let folder = common::tmp_path();
    fs::create_dir(&folder).unwrap();
    let plain = folder.join("plain");
    fs::write(&plain, "not a program").unwrap();
    let script = folder.join("script");
    fs::write(&script, "echo no interpreter is named").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let interpreter = folder.join("interpreter");
    fs::write(&interpreter, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&interpreter, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = [
        folder.join("missing"),
        plain.clone(),
        folder.clone(),
        script,
        interpreter.clone(),
        plain.join("below"),
        "no-such-program-anywhere".into(),
        "".into(),
    ];
    for path in paths {
        if path == interpreter && tool() == Some(common::Tool::Valgrind) {
            let reason = "Valgrind dies of an execve that it did not expect to fail";
            skip("errors_are_of_the_kinds_of_std", reason);
            continue;
        }
        let ours = Command::new(&path).spawn().unwrap_err();
        assert_eq!(ours.stage(), SpawnStage::Exec);
        if emulated() || tool() == Some(common::Tool::Valgrind) {
            continue; // without shared memory, std's spawn succeeds although `execve` fails
        }
        let std = std::process::Command::new(&path).spawn().unwrap_err();
        assert_eq!(Some(ours.errno().raw_os_error()), std.raw_os_error(), "{path:?}");
        assert_eq!(std::io::Error::from(ours).kind(), std.kind());
    }
    fs::remove_dir_all(&folder).unwrap();
}

// ---- environment and directory ----

fn env_is_as_with_std() {
    type Steps = fn(&mut dyn FnMut(Step<'_>));
    enum Step<'a> {
        Set(&'a str, &'a str),
        Remove(&'a str),
        Clear,
    }
    use Step::{Clear, Remove, Set};
    let cases: [Steps; 8] = [
        |_| (),
        |step| step(Set("RAWPIPE_A", "1")),
        |step| ["1", "2", ""].into_iter().for_each(|value| step(Set("RAWPIPE_OLD", value))),
        |step| step(Remove("RAWPIPE_OLD")),
        |step| [Remove("RAWPIPE_OLD"), Set("RAWPIPE_OLD", "new")].into_iter().for_each(step),
        |step| [Set("RAWPIPE_A", "1"), Remove("RAWPIPE_A")].into_iter().for_each(step),
        |step| {
            let steps =
                [Set("RAWPIPE_A", "1"), Remove("RAWPIPE_OLD"), Clear, Set("RAWPIPE_B", "=2=")];
            steps.into_iter().for_each(step);
        },
        |step| [Set("=odd", "1"), Set("RAWPIPE_A", "")].into_iter().for_each(step),
    ];
    // SAFETY: this process has no other thread.
    unsafe { env::set_var("RAWPIPE_OLD", OsString::from_vec(b"\xffold".to_vec())) };
    for (i, case) in cases.into_iter().enumerate() {
        let (mut ours, mut std) = (program("env", &[]), std_program("env", &[]));
        case(&mut |step| match step {
            Set(name, value) => {
                ours.env(name, value);
                std.env(name, value);
            }
            Remove(name) => {
                ours.env_remove(name);
                std.env_remove(name);
            }
            Clear => {
                ours.env_clear();
                std.env_clear();
            }
        });
        let expected = std.output().unwrap();
        assert!(expected.status.success());
        assert_eq!(output_of(&mut ours), (expected.stdout, Some(0)), "case {i}");
    }
}

/// A spawn passes duplicate variables to the child, and also entries that are not valid variables. Std does
/// the same.
fn env_with_entries_that_are_no_variables() {
    let test = "env_with_entries_that_are_no_variables";
    if common::in_role("started") {
        return env_is_handed_on_as_it_is();
    }
    if emulated() {
        return skip(test, "an emulator rebuilds the environment");
    }
    let program = CString::new(env::current_exe().unwrap().into_os_string().into_vec()).unwrap();
    let alone = CString::new(format!("{}=command::{test}", common::ALONE)).unwrap();
    let own = [alone.as_c_str(), c"RAWPIPE_TEST_ROLE=started"];
    let envp: Vec<_> =
        ENTRIES.iter().chain(&own).map(|entry| Arg::new(entry)).chain([Arg::END]).collect();
    let mut child = Spawn::new(&program, &[Arg::new(&program), Arg::END], &envp).spawn().unwrap();
    assert!(child.wait().unwrap().success());
}

const ENTRIES: [&CStr; 8] =
    [c"A=1", c"no equals sign", c"", c"=", c"A=2", c"B=\xff", c"=x=y", c"=z"];

fn env_is_handed_on_as_it_is() {
    // The comparison ignores empty entries, this test's own variables, and the order of the entries.
    let sorted = |bytes: Vec<u8>| {
        let mut all: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        all.retain(|entry| !entry.is_empty() && !entry.starts_with(b"RAWPIPE"));
        all.sort();
        all
    };
    let cat = |command: &mut Command<'_>| {
        let (bytes, code) = output_of(command.arg("/proc/self/environ"));
        assert_eq!(code, Some(0));
        sorted(bytes)
    };
    let std = std::process::Command::new("/bin/cat").arg("/proc/self/environ").output().unwrap();
    let all = sorted(ENTRIES.iter().flat_map(|entry| entry.to_bytes_with_nul()).copied().collect());
    assert_eq!(cat(&mut Command::new("/bin/cat")), all);
    assert_eq!(sorted(std.stdout), all, "as std hands it on");
    let changed = cat(Command::new("/bin/cat").env("B", "new").env_remove("A"));
    assert_eq!(changed, sorted(b"no equals sign\0=\0=x=y\0=z\0B=new\0".to_vec()));
    assert_eq!(cat(Command::new("/bin/cat").env_clear().env("B", "new")), [b"B=new"]);
}

fn env_name_that_is_none_einval() {
    for name in ["", "A=B", "A="] {
        assert_eq!(failure(program("exit", &["0"]).env(name, "1")), INVALID, "{name:?}");
    }
    let (output, _) = output_of(program("env", &[]).env_clear().envs([("A", "1"), ("B", "2")]));
    assert_eq!(output, b"A=1\0B=2\0");
}

fn current_dir_is_the_childs_alone() {
    let here = env::current_dir().unwrap();
    let (output, _) = output_of(program("cwd", &[]).current_dir("/proc"));
    assert_eq!(output, b"/proc");
    assert_eq!(env::current_dir().unwrap(), here);
    let missing = failure(program("cwd", &[]).current_dir("/no/such/folder"));
    assert_eq!(missing, (SpawnStage::Chdir, Errno::ENOENT));
}

// ---- standard streams ----

fn stdio_piped_all_three() {
    let mut child = program("cat", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for blocking in [
        raw_io::is_nonblocking(child.stdin_ref().unwrap()),
        raw_io::is_nonblocking(child.stdout_ref().unwrap()),
        raw_io::is_nonblocking(child.stderr_ref().unwrap()),
    ] {
        assert_eq!(blocking, Ok(false));
    }
    assert_eq!(raw_io::is_close_on_exec(child.stdin_ref().unwrap()), Ok(true));
    assert_eq!(raw_io::is_close_on_exec(child.stderr_ref().unwrap()), Ok(true));
    child.take_stdin().unwrap().write_all(b"there and back").unwrap();
    assert_eq!(all_of(child.take_stdout()), b"there and back");
    assert_eq!(all_of(child.take_stderr()), b"");
    assert!(child.wait().unwrap().success());

    let child = program("exit", &["0"]).spawn().unwrap();
    assert!(
        child.stdin_ref().is_none() && child.stdout_ref().is_none() && child.stderr_ref().is_none()
    );
    let mut child = child;
    assert!(child.wait().unwrap().success());
}

fn stdio_null_reads_nothing_and_takes_all() {
    let (output, code) = output_of(program("cat", &[]).stdin(Stdio::null()));
    assert_eq!((output, code), (Vec::new(), Some(0)));
    let mut flood = program("flood", &["1000000", "1000000"]);
    let mut child = flood.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(child.wait().unwrap().success());
}

fn stdio_from_anything_with_a_descriptor() {
    let (out, out_writer) = rawpipe::pipe().unwrap();
    let (err, err_writer) = rawpipe::pipe().unwrap();
    let mut command = program("both", &[]);
    command.stdout(out_writer).stderr(OwnedFd::from(err_writer));
    assert!(command.spawn().unwrap().wait().unwrap().success());
    drop(command);
    assert_eq!((all_of(Some(out)), all_of(Some(err))), (b"out".to_vec(), b"err".to_vec()));

    let file = common::file(b"from a file");
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut command = program("cat", &[]);
    assert!(command.stdin(file).stdout(writer).spawn().unwrap().wait().unwrap().success());
    drop(command);
    assert_eq!(all_of(Some(reader)), b"from a file");
}

fn stdio_one_pipe_for_two_streams() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut command = program("both", &[]);
    command.stderr(writer.try_clone().unwrap()).stdout(writer);
    assert!(command.spawn().unwrap().wait().unwrap().success());
    drop(command);
    assert_eq!(all_of(Some(reader)), b"outerr");
}

fn stdio_inherited_unless_said_otherwise() {
    if common::in_role("heir") {
        let echo = program("cat", &[]);
        assert!(echo.spawn().unwrap().wait().unwrap().success());
        let mut both = program("both", &[]);
        both.stdin(Stdio::inherit()).stdout(Stdio::inherit());
        assert!(both.spawn().unwrap().wait().unwrap().success());
        return;
    }
    let mut heir = common::role_command("heir");
    let output = common::finish(heir.stdin(common::file(b"bequest, ")));
    assert_eq!(common::role_output(&output), "bequest, out");
    assert_eq!(output.stderr, b"err");
}

/// The pipes of a child work even if the standard streams of this process are closed.
fn stdio_closed_in_the_parent() {
    if common::in_role("closed") {
        let result = common::file(b"");
        let mut answers = Vec::new();
        for fd in 0..3 {
            // SAFETY: no code in this process uses the stream after this call.
            drop(unsafe { rawpipe::io::take_inherited(fd) }.unwrap());
        }
        for round in 0..3 {
            let mut command = program("cat", &[]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            if round > 0 {
                command.stderr(if round == 1 { Stdio::piped() } else { Stdio::null() });
            }
            let mut child = command.spawn().unwrap();
            child.take_stdin().unwrap().write_all(b"no streams here").unwrap();
            answers.extend(all_of(child.take_stdout()));
            if round == 1 {
                answers.extend(all_of(child.take_stderr()));
            }
            answers.push(u8::from(child.wait().unwrap().success()));
        }
        let before = common::open_fds();
        let mut both = program("both", &[]);
        let mut child = both.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        answers.extend(all_of(child.take_stdout()));
        answers.extend(all_of(child.take_stderr()));
        drop(child);
        // Dropping the child also closed its pidfd.
        assert_eq!(common::open_fds(), before);
        drop(result);
        let expected = b"no streams here\x01".repeat(3);
        assert_eq!(answers, [&expected[..], b"outerr"].concat());
        rawpipe::process::exit(33);
    }
    let output = common::finish(&mut common::role_command("closed"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(33), "{errors}");
}

fn fd_map_any_number() {
    let (first, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"to number 200").unwrap();
    drop(writer);
    let mut command = program("read", &["200"]);
    command.fd_map(first, 200);
    assert_eq!(output_of(&mut command), (b"to number 200".to_vec(), Some(0)));

    for numbers in [[9, 9], [-1, 9], [0, 9]] {
        let mut command = program("exit", &["0"]);
        command.stdin(Stdio::null());
        for number in numbers {
            command.fd_map(common::file(b""), number);
        }
        assert_eq!(failure(&command), INVALID, "{numbers:?}");
    }
}

fn fd_map_replaces_the_default_of_output() {
    use std::io::Seek;
    let text = |mut file: File| {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    };
    let (out, err) = (common::file(b""), common::file(b""));
    let mut command = program("aside", &[]);
    command.fd_map(common::file(b"mapped"), 0);
    let output = command.output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"mapped"[..], &b"err"[..]));
    command = program("both", &[]);
    command.fd_map(out.try_clone().unwrap(), 1).fd_map(err.try_clone().unwrap(), 2);
    let output = command.output().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
    assert!(command.status().unwrap().success());
    assert_eq!((text(out), text(err)), ("outout".to_owned(), "errerr".to_owned()));

    // If `fd_map` assigns the number of a standard stream, an explicit `inherit` for that stream is accepted,
    // and an explicit `piped` is rejected.
    command.stderr(Stdio::inherit());
    assert!(command.output().unwrap().status.success());
    command.stderr(Stdio::piped());
    assert!(command.output().is_err());
    assert_eq!(failure(&command), INVALID);
}

fn spawn_has_closed_the_childs_ends() {
    let before = common::open_fds().len();
    let mut command = program("cat", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pidfd = usize::from(child.pidfd().is_some());
    assert_eq!(common::open_fds().len(), before + 2 + pidfd);
    assert!(child.wait().unwrap().success());
    drop(child);
    assert_eq!(common::open_fds().len(), before);
}

// ---- other settings of a child ----

fn settings_reach_the_child() {
    const TEST: &str = "settings_reach_the_child";
    if emulated() {
        return skip(TEST, "the emulator shows its own");
    }
    if common::descriptors_without_limit(TEST) {
        return;
    }
    let blocked = SignalSet::empty().with(Signal::HUP).with(Signal::USR2);
    let mut command = program("proc", &["status"]);
    command.umask(0o027).signal_mask(blocked).setsid().nice(3);
    command.rlimit(Resource::CORE, Rlimit::both(0)).rlimit(Resource::NOFILE, Rlimit::new(60, 61));
    let text = |command: &mut Command<'_>| String::from_utf8(output_of(command).0).unwrap();
    let status = text(&mut command);
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("{name} in {status}"))
    };
    assert_eq!(line("Umask"), "0027");
    assert_eq!(u64::from_str_radix(line("SigBlk"), 16), Ok(1 | 1 << (Signal::USR2.as_raw() - 1)));
    assert_eq!((line("NSsid"), line("NSpgid")), (line("Pid"), line("Pid")));

    let with_args = |name| {
        let mut command = program("proc", &[name]);
        command.nice(3).rlimit(Resource::NOFILE, Rlimit::new(60, 61)).process_group(0);
        command
    };
    let limits = text(&mut with_args("limits"));
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["60", "61"]);
    let own_nice: i32 = nice_of(&fs::read_to_string("/proc/self/stat").unwrap());
    assert_eq!(nice_of(&text(&mut with_args("stat"))), (own_nice + 3).min(19));
}

/// Returns field 19, the nice value, from the contents of a `/proc/PID/stat` file.
fn nice_of(stat: &str) -> i32 {
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

fn cgroup_writes_to_the_file_in_its_folder() {
    let folder = common::tmp_path();
    fs::create_dir(&folder).unwrap();
    let mut command = program("exit", &["0"]);
    command.cgroup(&folder);
    assert_eq!(failure(&command), (SpawnStage::Cgroup, Errno::ENOENT));
    // An ordinary file takes the place of the cgroup's file. The child writes `0` to that file, because in a
    // cgroup's file `0` stands for the writing process.
    fs::write(folder.join("cgroup.procs"), "").unwrap();
    assert!(command.spawn().unwrap().wait().unwrap().success());
    assert_eq!(fs::read(folder.join("cgroup.procs")).unwrap(), b"0");
    fs::remove_dir_all(&folder).unwrap();
}

fn on_drop_is_given_to_the_child() {
    let mut command = program("sleep", &[]);
    command.stdout(Stdio::piped()).on_drop(OnDrop::KillGroup);
    assert_eq!(failure(&command), INVALID);
    command.process_group(0);
    let mut child = command.spawn().unwrap();
    let stdout = child.take_stdout();
    drop(child);
    assert_eq!(all_of(stdout), b"");
}

// ---- repeated spawns, and spawns from several threads ----

fn command_is_reusable() {
    let mut command = program("args", &["one"]);
    command.stdout(Stdio::piped());
    for extra in 0..4 {
        for _ in 0..2 {
            let mut child = command.spawn().unwrap();
            let words = all_of(child.take_stdout());
            assert_eq!(words.iter().filter(|byte| **byte == 0).count(), 2 + extra);
            assert!(child.wait().unwrap().success());
        }
        command.arg("another");
    }
}

/// No child inherits a pipe end of another thread's child. If a child did, a reader would reach end of file
/// only after that child had ended.
fn spawn_from_eight_threads_ends_of_file_arrive() {
    let rounds = if slow() { 3 } else { 25 };
    let shared = &{
        let mut command = program("cat", &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for round in 0..rounds {
                    let text = format!("{thread} {round}");
                    let mut child = shared.spawn().unwrap();
                    child.take_stdin().unwrap().write_all(text.as_bytes()).unwrap();
                    assert_eq!(all_of(child.take_stdout()), text.as_bytes());
                    assert_eq!(all_of(child.take_stderr()), b"");
                    assert!(child.wait().unwrap().success());
                }
            });
        }
    });
}

fn nothing_is_left_of_ten_thousand_spawns() {
    let count = if slow() { 200 } else { 10_000 };
    let mut fine = program("exit", &["0"]);
    fine.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut missing = Command::new("/no/such/program");
    missing.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut nowhere = program("exit", &["0"]);
    nowhere.current_dir("/no/such/folder").stdout(Stdio::piped());
    let round = |i: usize| match i % 4 {
        1 => drop(missing.spawn().unwrap_err()),
        3 => drop(nowhere.spawn().unwrap_err()),
        _ => assert!(fine.spawn().unwrap().wait().unwrap().success()),
    };
    let entries = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let left = || {
        let mut maps = String::new();
        File::open("/proc/self/maps").unwrap().read_to_string(&mut maps).unwrap();
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        // The number of mappings may grow, because an allocator may map more memory. The allocator of an
        // analysis tool does so repeatedly.
        (entries("fd"), entries("task"), maps.lines().count(), children)
    };
    (0..8).for_each(round);
    let before = left();
    (0..count).for_each(round);
    let after = left();
    assert_eq!((after.0, after.1, &after.3), (before.0, before.1, &before.3));
    let more = if tool().is_some() { 50 } else { 2 };
    assert!(after.2 <= before.2 + more, "{} mappings, then {}", before.2, after.2);
    assert_eq!(after.3, "");
}

// ---- `Debug` output ----

/// Returns strings that are difficult to quote for a shell: special characters, control characters, invalid
/// UTF-8, and each byte except NUL.
fn nasty() -> Vec<OsString> {
    let all_bytes: Vec<u8> = (1..=255).collect();
    let mut strings: Vec<OsString> = [
        "", " ", "a b", "'", "''", "it's", "\"", "\\", "\\'", "$HOME", "`id`", "$(id)", "*",
        "?[a]", "~", "#", "!", "a=b", "-n", "--", "&& exit", ";", "|", "\n", "a\nb\n", "\n\n",
        "\t", "\r\n", "\x1b[31m", "é", "日本", "\u{85}", "{a,b}",
    ]
    .map(OsString::from)
    .into();
    strings.extend(
        [&b"\xff"[..], b"a\xffb\xfe\xff", b"\xe3\x81", b"'\xff'\n", &all_bytes]
            .map(|bytes| OsString::from_vec(bytes.to_vec())),
    );
    strings.extend(all_bytes.iter().map(|byte| OsString::from_vec(vec![*byte])));
    strings
}

/// Runs the command's `Debug` text in a shell. Returns the NUL-terminated strings of the output, but leaves
/// out the variables that shells set themselves.
fn by_shell(shell: &str, command: &Command<'_>) -> Vec<Vec<u8>> {
    let line = format!("{command:?}");
    let output = std::process::Command::new(shell).arg("-c").arg(&line).output().unwrap();
    assert!(
        output.status.success(),
        "{shell}: {line}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    entries(&output.stdout)
}

fn entries(output: &[u8]) -> Vec<Vec<u8>> {
    let of_the_shell = |entry: &&[u8]| {
        [&b"PWD="[..], b"OLDPWD=", b"SHLVL=", b"_="].iter().any(|name| entry.starts_with(name))
    };
    let entries = output.split(|byte| *byte == 0);
    entries.filter(|entry| !of_the_shell(entry)).map(<[u8]>::to_vec).collect()
}

fn shells(test: &str) -> Vec<&'static str> {
    if !common::runner().is_empty() {
        skip(test, "a shell would start it without the emulator");
        return Vec::new();
    }
    let there = |shell: &&str| {
        let run = std::process::Command::new(shell).args(["-c", "env -i true"]).status();
        run.is_ok_and(|status| status.success())
    };
    let shells: Vec<_> = ["sh", "bash", "dash", "busybox"].into_iter().filter(there).collect();
    if shells.is_empty() {
        skip(test, "no shell here");
    }
    shells
}

fn debug_is_a_line_that_a_shell_runs_the_same() {
    for shell in shells("debug_is_a_line_that_a_shell_runs_the_same") {
        let mut args = program("args", &[]);
        args.args(nasty());
        assert_eq!(by_shell(shell, &args), entries(&output_of(&mut args.clone()).0), "{shell}");

        let mut env = program("env", &[]);
        env.env("SECRET", "x").env_remove("HOME").env_remove("NO SUCH");
        for (i, value) in nasty().into_iter().enumerate() {
            env.env(format!("RAWPIPE_{i}"), value);
        }
        env.env("odd name'$", "1").env("PATH", env::var_os("PATH").unwrap());
        assert_eq!(by_shell(shell, &env), entries(&output_of(&mut env.clone()).0), "{shell}");
        let mut clear = env.clone();
        clear.env_clear().env("ONLY", "this\none").env_remove("GONE");
        assert_eq!(by_shell(shell, &clear), entries(&output_of(&mut clear.clone()).0), "{shell}");
    }
}

fn debug_has_the_folder_and_the_name() {
    let top = common::tmp_path();
    for shell in shells("debug_has_the_folder_and_the_name") {
        for name in ["plain", "-", "it's a $folder\n", "b\x07"] {
            fs::create_dir_all(top.join(name)).unwrap();
            env::set_current_dir(&top).unwrap();
            for folder in [top.join(name), name.into()] {
                let mut command = program("cwd", &[]);
                command.current_dir(&folder);
                let wanted = output_of(&mut command.clone()).0;
                assert_eq!(by_shell(shell, &command), [wanted], "{folder:?}");
            }
        }
        let mut args = program("args", &["a b"]);
        args.arg0("it's another\nname").env("A", "1").env_clear();
        if shells("").contains(&"bash") {
            let output = output_of(&mut args.clone()).0;
            assert!(output.starts_with(b"it's another\nname\0"));
            args.env("PATH", env::var_os("PATH").unwrap());
            assert_eq!(by_shell(shell, &args), entries(&output));
        }
    }
    env::set_current_dir("/").unwrap();
    let _ = fs::remove_dir_all(&top);
}

fn debug_of_plain_words_is_plain() {
    let mut command = Command::new("printf");
    assert_eq!(format!("{command:?}"), "printf");
    command.args(["%s", "a \"b\""]);
    assert_eq!(format!("{command:?}"), r#"printf %s 'a "b"'"#);
    command.env("B", "2").env("A", "1").env_remove("C").current_dir("src");
    assert_eq!(format!("{command:?}"), r#"cd ./src && env -u C A=1 B=2 printf %s 'a "b"'"#);
    command.env_clear().env_remove("C").current_dir("/").arg0("p");
    let line = r#"cd / && env -i bash -c 'exec -a "$0" "$@"' p printf %s 'a "b"'"#;
    assert_eq!(format!("{command:?}"), line);
}

fn getters_are_as_with_std() {
    let mut ours = Command::new("a program");
    let mut std = std::process::Command::new("a program");
    let same = |ours: &Command<'_>, std: &std::process::Command| {
        assert_eq!(ours.get_program(), std.get_program());
        assert!(ours.get_args().eq(std.get_args()));
        assert!(ours.get_envs().eq(std.get_envs()));
        assert_eq!(ours.get_current_dir(), std.get_current_dir());
    };
    same(&ours, &std);
    macro_rules! both {
        ($($call:ident($($arg:expr),*))*) => {$(
            ours.$call($($arg),*);
            std.$call($($arg),*);
            same(&ours, &std);
        )*};
    }
    let odd = OsString::from_vec(b"\xff\n".to_vec());
    both! {
        arg("a") args(["", "b c"]) arg(&odd) current_dir("/usr") current_dir("lib")
        env("B", "2") env("A", "1") env(&odd, &odd) env("B", "3") env_remove("A") env_remove("NONE")
        env_clear() env("C", "4") env_remove("C") env_remove("D") env("D", "5") env("D", "")
    }
    // For a string that contains a NUL byte, the getters return the same value as std's getters.
    both! { arg("a\0b") current_dir("\0") env("E", "\0") }
    same(&Command::new("\0"), &std::process::Command::new("\0"));
    assert_eq!(failure(&ours), INVALID);
}

// ---- borrowed or shared descriptors ----

fn borrowed_and_cloned_descriptors_are_no_copies() {
    let file = common::file(b"from a file");
    let (out, writer) = rawpipe::pipe().unwrap();
    let before = common::open_fds();
    let mut command = program("cat", &[]);
    command.stdin(&file).stdout(&writer).stderr(Stdio::from(&writer)).fd_map(&file, 7);
    command.fd_map(file.as_fd(), 8);
    let clones = [command.clone(), command.clone()];
    assert_eq!(common::open_fds(), before);
    assert!(clones[1].spawn().unwrap().wait().unwrap().success());
    assert_eq!(common::open_fds(), before);
    drop(writer);
    assert_eq!(all_of(Some(out)), b"from a file");

    // Clones of a command share its owned descriptors. Dropping the last clone closes these descriptors.
    let (out, writer) = rawpipe::pipe().unwrap();
    let number = writer.as_raw_fd();
    let before = common::open_fds();
    let mut owner = program("both", &[]);
    owner.stdout(writer).stderr(Stdio::null());
    let clone = owner.clone();
    assert_eq!(common::open_fds(), before);
    drop(owner);
    assert!(common::open_fds().contains(&number));
    assert!(clone.spawn().unwrap().wait().unwrap().success());
    drop(clone);
    assert!(!common::open_fds().contains(&number));
    assert_eq!(all_of(Some(out)), b"out");
}

fn clone_is_a_command_of_its_own() {
    let mut one = program("args", &["1"]);
    one.env("A", "1");
    let mut other = one.clone();
    other.arg("2").env("B", "2").current_dir("/");
    assert_eq!((one.get_args().count() + 1, one.get_envs().count()), (other.get_args().count(), 1));
    assert_eq!((one.get_current_dir(), other.get_envs().count()), (None, 2));
    other.arg("a\0b");
    assert_eq!(failure(&other), INVALID);
    assert_eq!(output_of(&mut one).1, Some(0));
}

/// A `Stdio` can be created from std's files, sockets and child pipes, and from a descriptor number.
fn stdio_from_every_owner_of_std() {
    let word = |stdin: Stdio<'_>| {
        let mut cat = program("cat", &[]);
        String::from_utf8(output_of(cat.stdin(stdin)).0).unwrap()
    };
    assert_eq!(word(common::file(b"file").into()), "file");
    let mut both = std_program("both", &[]);
    both.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut both = both.spawn().unwrap();
    assert_eq!(word(both.stdout.take().unwrap().into()), "out");
    assert_eq!(word(both.stderr.take().unwrap().into()), "err");
    assert!(both.wait().unwrap().success());
    let (near, far) = UnixStream::pair().unwrap();
    assert_eq!(raw_io::write(&far, b"socket"), Ok(6));
    drop(far);
    assert_eq!(word(near.into()), "socket");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    assert_eq!(raw_io::write(&far, b"tcp"), Ok(3));
    drop(far);
    assert_eq!(word(near.into()), "tcp");
    let raw = File::into_raw_fd(common::file(b"number"));
    // SAFETY: `into_raw_fd` has just released the descriptor.
    assert_eq!(word(unsafe { Stdio::from_raw_fd(raw) }), "number");

    // The output of one program is the input of another program.
    let mut cat = std_program("cat", &[]);
    cat.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut cat = cat.spawn().unwrap();
    let mut both = program("both", &[]);
    both.stdout(cat.stdin.take().unwrap());
    assert!(both.spawn().unwrap().wait().unwrap().success());
    drop(both);
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"out");
}

fn stdio_from_stdout_and_stderr_of_this_process() {
    if common::in_role("crossed") {
        let mut both = program("both", &[]);
        both.stdout(std::io::stderr()).stderr(std::io::stdout());
        assert!(both.spawn().unwrap().wait().unwrap().success());
        drop(both);
        // The spawn closed neither standard output nor standard error.
        print!("!");
        return eprint!("?");
    }
    let output = common::role_command("crossed").output().unwrap();
    assert_eq!(common::role_output(&output), "err!");
    assert_eq!(output.stderr, b"out?");
}

fn inherit_mask_leaves_what_is_blocked() {
    let usr2 = SignalSet::empty().with(Signal::USR2);
    if common::in_role("blocked") {
        let line = |command: &mut Command<'_>| {
            let status = String::from_utf8(output_of(command).0).unwrap();
            status.lines().find(|line| line.starts_with("SigBlk")).map(str::to_owned)
        };
        let cleared = line(&mut program("proc", &["status"]));
        let inherited = line(program("proc", &["status"]).inherit_mask());
        return print!("{cleared:?} {inherited:?}");
    }
    let role = common::role_command("blocked");
    let mut again = Command::new(role.get_program());
    again.args(role.get_args()).signal_mask(usr2);
    role.get_envs().for_each(|(name, value)| _ = again.env(name, value.unwrap()));
    let (output, code) = output_of(&mut again);
    assert_eq!(code, Some(0));
    let text = String::from_utf8(output).unwrap();
    let mask = |signal: u64| format!("Some(\"SigBlk:\\t{signal:016x}\")");
    let usr2 = 1 << (Signal::USR2.as_raw() - 1);
    assert!(text.ends_with(&format!("{} {}", mask(0), mask(usr2))), "{text}");
}

pub(crate) const TESTS: common::Tests = common::tests![
    args_arrive_byte_for_byte,
    arg0_is_what_the_program_is_called,
    nul_in_any_string_einval,
    program_by_the_childs_path,
    errors_are_of_the_kinds_of_std,
    env_is_as_with_std,
    env_with_entries_that_are_no_variables,
    env_name_that_is_none_einval,
    current_dir_is_the_childs_alone,
    stdio_piped_all_three,
    stdio_null_reads_nothing_and_takes_all,
    stdio_from_anything_with_a_descriptor,
    stdio_one_pipe_for_two_streams,
    stdio_inherited_unless_said_otherwise,
    stdio_closed_in_the_parent,
    fd_map_any_number,
    fd_map_replaces_the_default_of_output,
    spawn_has_closed_the_childs_ends,
    settings_reach_the_child,
    cgroup_writes_to_the_file_in_its_folder,
    on_drop_is_given_to_the_child,
    command_is_reusable,
    spawn_from_eight_threads_ends_of_file_arrive,
    nothing_is_left_of_ten_thousand_spawns,
    debug_is_a_line_that_a_shell_runs_the_same,
    debug_has_the_folder_and_the_name,
    debug_of_plain_words_is_plain,
    getters_are_as_with_std,
    borrowed_and_cloned_descriptors_are_no_copies,
    clone_is_a_command_of_its_own,
    stdio_from_every_owner_of_std,
    stdio_from_stdout_and_stderr_of_this_process,
    inherit_mask_leaves_what_is_blocked,
];
