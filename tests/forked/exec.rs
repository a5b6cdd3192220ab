//! Tests the execution of programs by path, by a path relative to a directory, and by descriptor. The tests
//! also try to execute files that are not programs, and check that a failure leaves the process unchanged.
//! Each test runs in its own process.
#![allow(unsafe_code, reason = "a descriptor that is no descriptor, and FIFOs by the C library")]

use crate::common::{self, child, closed_fd, keep, skip, tmp_path};
use rawpipe::fd::AsFd;
use rawpipe::process::{self, Arg, ExecFlags, Spawn, SpawnStage};
use rawpipe::{Errno, io};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::{env, iter};

/// The `open` flag for a descriptor that serves only as a reference to a path.
const O_PATH: i32 = 0x20_0000;

const NONE: ExecFlags = ExecFlags::empty();
const EMPTY: ExecFlags = ExecFlags::EMPTY_PATH;

/// Returns the words as an argument list that includes the end marker. The list stays valid until the test
/// ends.
fn list(words: &[&str]) -> &'static [Arg<'static>] {
    let words = words.iter().map(|word| Arg::new(c_string(Path::new(word))));
    keep(words.chain([Arg::END]).collect())
}

fn c_string(path: &Path) -> &'static CStr {
    keep(CString::new(path.as_os_str().as_bytes()).unwrap().into_boxed_c_str())
}

/// Runs `exec` in a forked child. Returns the program's exit code, or the error if the exec fails.
fn outcome(exec: impl FnOnce() -> Result<Infallible, Errno>) -> Result<i32, Errno> {
    let (said, say) = rawpipe::pipe().unwrap(); // if the exec succeeds, close-on-exec closes the writer
    let mut child = child(|| match exec() {
        Err(errno) => u8::from(say.write(&errno.raw_os_error().to_ne_bytes()) != Ok(4)),
    });
    drop(say);
    let mut word = [0; 4];
    let failed = said.read_exact(&mut word).is_ok();
    let code = child.wait().unwrap().code().unwrap_or(-1); // -1 if a signal ended the child
    let errno = Errno::from_raw_os_error(i32::from_ne_bytes(word));
    if failed { Err(errno.unwrap()) } else { Ok(code) }
}

/// Skips the test and returns `true` if Valgrind runs this process. Valgrind inspects a program before the
/// `execve`, and dies if the `execve` then fails unexpectedly.
fn by_valgrind(test: &str) -> bool {
    let here = common::tool() == Some(common::Tool::Valgrind);
    if here {
        skip(test, "Valgrind looks at programs in its own way");
    }
    here
}

/// Skips the test and returns `true` if `execveat` is missing, as in some emulators.
fn no_execveat(test: &str) -> bool {
    let argv = list(&["x"]);
    let answer = outcome(|| process::execveat(closed_fd(), c"x", argv, argv, NONE));
    if answer == Err(Errno::ENOSYS) {
        skip(test, "no execveat here");
    }
    answer == Err(Errno::ENOSYS)
}

/// A directory for one test. Dropping the value removes the directory with its contents.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = tmp_path();
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, contents: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn path_only(path: impl AsRef<Path>) -> File {
    File::options().read(true).custom_flags(O_PATH).open(path).unwrap()
}

/// Returns the arguments of `sh` for a script that exits with `code`.
fn sh(code: i32) -> &'static [Arg<'static>] {
    list(&["sh", "-c", &format!("exit {code}")])
}

// ---- the path of the program ----

fn execve_arguments_and_environment_arrive() {
    let argv =
        list(&["sh", "-c", r#"[ "$#|$1|$2|$A|$B" = "2|one||x=y|" ] || exit 1"#, "sh", "one", ""]);
    let envp = list(&["A=x=y", "B="]);
    assert_eq!(outcome(|| process::execve(c"/bin/sh", argv, envp)), Ok(0));
}

/// A relative path is resolved in the current directory of the process.
fn execve_relative_path() {
    let answer = outcome(|| {
        env::set_current_dir("/bin").unwrap();
        process::execve(c"./sh", sh(3), list(&[]))
    });
    assert_eq!(answer, Ok(3));
    let elsewhere = outcome(|| {
        env::set_current_dir("/proc").unwrap();
        process::execve(c"./sh", sh(3), list(&[]))
    });
    assert_eq!(elsewhere, Err(Errno::ENOENT));
}

fn execveat_every_way_to_name_a_program() {
    if no_execveat("execveat_every_way_to_name_a_program") {
        return;
    }
    let envp = list(&[]);
    let folder = File::open("/bin").unwrap();
    let run = |fd: &dyn AsFd, path: &CStr, flags| {
        outcome(|| process::execveat(fd.as_fd(), path, sh(9), envp, flags))
    };
    assert_eq!(run(&folder, c"sh", NONE), Ok(9), "relative to a folder");
    assert_eq!(run(&path_only("/bin"), c"sh", NONE), Ok(9), "by O_PATH");
    assert_eq!(run(&closed_fd(), c"/bin/sh", NONE), Ok(9), "an absolute path needs no folder");
    // The descriptor of the program is close-on-exec, like every descriptor that std opens.
    assert_eq!(run(&File::open("/bin/sh").unwrap(), c"", EMPTY), Ok(9), "a file");
    assert_eq!(run(&path_only("/bin/sh"), c"", EMPTY), Ok(9), "a file, by O_PATH");
}

fn fexecve_file_deleted_or_renamed_meanwhile() {
    if by_valgrind("fexecve_file_deleted_or_renamed_meanwhile") {
        return;
    }
    let folder = Folder::new();
    for rename in [false, true] {
        let path = folder.path("program");
        fs::copy("/bin/sh", &path).unwrap();
        let file = File::open(&path).unwrap();
        if rename {
            fs::rename(&path, folder.path("other")).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(outcome(|| process::fexecve(&file, sh(6), list(&[]))), Ok(6), "{rename}");
    }
}

/// The interpreter of a script opens the script again, through the descriptor. If the descriptor is
/// close-on-exec, `execveat` therefore fails with `ENOENT`.
fn fexecve_script() {
    if by_valgrind("fexecve_script") {
        return;
    }
    let folder = Folder::new();
    let path = folder.file("script", b"#!/bin/sh\nexit 11\n", 0o755);
    let file = File::open(path).unwrap();
    let run = || outcome(|| process::fexecve(&file, list(&["script"]), list(&[])));
    io::set_close_on_exec(&file, false).unwrap();
    assert_eq!(run(), Ok(11));
    io::set_close_on_exec(&file, true).unwrap();
    if no_execveat("fexecve_script") {
        return; // through `/proc`, the interpreter starts but finds no script
    }
    assert_eq!(run(), Err(Errno::ENOENT));
    let by_call = outcome(|| process::execveat(&file, c"", list(&["script"]), list(&[]), EMPTY));
    assert_eq!(by_call, Err(Errno::ENOENT));
}

// ---- files that are not programs ----

fn execve_what_cannot_be_executed() {
    if by_valgrind("execve_what_cannot_be_executed") {
        return;
    }
    unsafe extern "C" {
        fn mkfifo(path: *const std::ffi::c_char, mode: u32) -> i32;
    }
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    // SAFETY: the path ends with a NUL.
    assert_eq!(unsafe { mkfifo(c_string(&fifo).as_ptr(), 0o755) }, 0);
    let socket = folder.path("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let to_itself = folder.path("itself");
    symlink("itself", &to_itself).unwrap();
    let ring = [folder.path("a"), folder.path("b")];
    symlink("b", &ring[0]).unwrap();
    symlink("a", &ring[1]).unwrap();
    let closed = folder.path("closed");
    fs::create_dir(&closed).unwrap();
    let script = b"#!/bin/sh\nexit 0\n";
    let table = [
        (folder.path("missing"), Errno::ENOENT),
        (folder.file("plain", script, 0o644), Errno::EACCES),
        (folder.file("empty", b"", 0o755), Errno::ENOEXEC),
        (folder.file("text", b"exit 0\n", 0o755), Errno::ENOEXEC),
        (folder.file("lost", b"#!/no/such/interpreter\n", 0o755), Errno::ENOENT),
        (folder.path("plain").join("below"), Errno::ENOTDIR),
        (closed, Errno::EACCES),
        (fifo, Errno::EACCES),
        (socket, Errno::EACCES),
        ("/dev/null".into(), Errno::EACCES),
        (to_itself, Errno::ELOOP),
        (ring[0].clone(), Errno::ELOOP),
        (iter::repeat_n("x", 5000).collect(), Errno::ENAMETOOLONG),
        ("".into(), Errno::ENOENT),
    ];
    for (path, errno) in table {
        let (place, argv) = (c_string(&path), list(&["x"]));
        assert_eq!(outcome(|| process::execve(place, argv, argv)), Err(errno), "execve {path:?}");
        if path.as_os_str().is_empty() || !path.has_root() {
            continue; // `PATH` is searched for a name without a slash
        }
        let error = Spawn::new(place, argv, argv).spawn().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, errno), "spawn {path:?}");
    }
}

fn execveat_what_it_cannot() {
    if by_valgrind("execveat_what_it_cannot") {
        return;
    }
    if no_execveat("execveat_what_it_cannot") {
        return;
    }
    let folder = Folder::new();
    let link = folder.path("link");
    symlink("/bin/sh", &link).unwrap();
    let here = File::open(&folder.0).unwrap();
    let argv = list(&["x"]);
    let run = |fd: &dyn AsFd, path: &CStr, flags| {
        outcome(|| process::execveat(fd.as_fd(), path, argv, argv, flags))
    };
    assert_eq!(run(&here, c"link", ExecFlags::SYMLINK_NOFOLLOW), Err(Errno::ELOOP));
    let unknown = ExecFlags::from_bits_retain(1 << 30);
    assert_eq!(run(&here, c"link", unknown), Err(Errno::EINVAL));
    assert_eq!(run(&closed_fd(), c"link", NONE), Err(Errno::EBADF), "relative to what");
    assert_eq!(run(&closed_fd(), c"", EMPTY), Err(Errno::EBADF));
    assert_eq!(run(&File::open("/bin/sh").unwrap(), c"x", NONE), Err(Errno::ENOTDIR));
    assert_eq!(run(&here, c"", NONE), Err(Errno::ENOENT), "an empty path, and no flag");
    assert_eq!(run(&here, c"", EMPTY), Err(Errno::EACCES), "a folder");
    assert_eq!(run(&common::file(b""), c"", EMPTY), Err(Errno::EACCES), "not executable");
}

/// A spawn rejects an empty argument list, because such a list is always a mistake. Since Linux 5.18, the
/// kernel adds an empty string as argument 0 to such a list.
fn arguments_without_argument_0() {
    let nothing = list(&[]);
    let error = Spawn::new(c"/bin/sh", nothing, nothing).spawn().unwrap_err();
    assert_eq!((error.stage(), error.errno()), (SpawnStage::Arguments, Errno::EINVAL));
    if common::emulated() {
        return skip("arguments_without_argument_0", "the emulator has arguments of its own");
    }
    // `execve` passes the empty list to the kernel, so the program starts, but it may then fail.
    let answer = outcome(|| process::execve(c"/bin/true", nothing, nothing));
    assert!(answer.is_ok(), "{answer:?}");
}

// ---- a failure leaves everything unchanged ----

fn execve_failed_leaves_the_process_as_it_was() {
    if by_valgrind("execve_failed_leaves_the_process_as_it_was") {
        return;
    }
    let (reader, writer) = rawpipe::pipe().unwrap(); // close-on-exec
    let file = common::file(b"contents");
    let state = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        // `SigQ` is left out, because it also counts the signals of the user's other processes.
        let masks = ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"];
        let signals = status.lines().filter(|line| masks.iter().any(|mask| line.starts_with(mask)));
        let signals: Vec<_> = signals.collect();
        (
            env::vars_os().collect::<Vec<_>>(),
            env::current_dir().unwrap(),
            common::open_fds(),
            signals.concat(),
            io::is_close_on_exec(&reader),
        )
    };
    let before = state();
    let argv = list(&["x"]);
    let envp = list(&["OTHER=1"]);
    let text = Folder::new();
    let text = c_string(&text.file("text", b"no program", 0o755)).to_owned();
    let below = "x".repeat(33 << 16);
    let long = list(&["sh", &below]);
    for (path, argv) in [
        (c"/no/such/program", argv),
        (c"/", argv),
        (&text, argv),
        (c"/bin/sh", long), // the kernel checks the argument's length after opening the program
    ] {
        assert!(process::execve(path, argv, envp).is_err());
        assert!(process::execvpe(c"no-such-program", b"/bin:/proc", argv, envp).is_err());
        assert!(process::fexecve(&file, argv, envp).is_err());
    }
    assert_eq!(state(), before);
    writer.write_all(b"through").unwrap();
    assert_eq!(reader.available(), Ok(7));
}

pub(crate) const TESTS: common::Tests = common::tests![
    execve_arguments_and_environment_arrive,
    execve_relative_path,
    execveat_every_way_to_name_a_program,
    fexecve_file_deleted_or_renamed_meanwhile,
    fexecve_script,
    execve_what_cannot_be_executed,
    execveat_what_it_cannot,
    arguments_without_argument_0,
    execve_failed_leaves_the_process_as_it_was,
];
