//! Implements the started program, which is this binary under another name. The program writes its state to a
//! file, in lines of the form `name value`, and then exits.

use super::libc;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{io, str};

/// The file name under which this binary acts as the started program.
pub(crate) const NAME: &str = "rawpipe-dump";
/// The exit code of the started program.
pub(crate) const CODE: i32 = 42;

/// A function that runs before Rust's runtime opens missing standard streams and ignores `SIGPIPE`.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_THE_BEGINNING: extern "C" fn() = {
    extern "C" fn begin() {
        if let Ok(program) = fs::read_link("/proc/self/exe") {
            if program.file_name().is_some_and(|name| name == NAME) {
                let code = report(&program).map_or(99, |()| CODE);
                libc::_exit(code);
            }
        }
    }
    begin
};

/// The fields of `/proc/self/status` that the tests compare.
const STATUS: [&str; 18] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NoNewPrivs",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "Threads",
    "Seccomp",
    "TracerPid",
];

fn report(program: &Path) -> io::Result<()> {
    let mut text = String::with_capacity(8192);
    // With the old limit, it may be impossible to open the files below.
    let limit = libc::descriptor_limit();
    libc::set_limit(libc::RLIMIT_NOFILE, [limit[1]; 2]);
    let status = fs::read_to_string("/proc/self/status")?;
    let fields = || status.lines().filter_map(|line| line.split_once(":\t"));
    let size = fields().find(|(name, _)| *name == "FDSize").map_or("0", |(_, size)| size);
    for fd in 0..size.trim().parse().unwrap_or(0) {
        descriptor(&mut text, fd);
    }
    for (name, value) in fields().filter(|(name, _)| STATUS.contains(name)) {
        line(&mut text, name, value.trim());
    }
    line(&mut text, "limit", &format!("{limit:?}"));
    for row in fs::read_to_string("/proc/self/limits")?.lines().skip(1) {
        let (name, value) = row.split_at_checked(26).unwrap_or((row, ""));
        if name.trim() != "Max open files" {
            line(&mut text, &name.trim().replace(' ', "-"), &words(value));
        }
    }
    for name in ["cmdline", "environ"] {
        line(&mut text, name, &fs::read(format!("/proc/self/{name}"))?.escape_ascii().to_string());
    }
    let folder = fs::metadata("/proc/self/cwd")?;
    line(&mut text, "cwd", &format!("{}:{}", folder.dev(), folder.ino()));
    line(&mut text, "exe", &program.as_os_str().as_bytes().escape_ascii().to_string());
    line(&mut text, "nice", &libc::getpriority(0, 0).to_string());
    let mut signal = -1_i32;
    let place = (&raw mut signal).expose_provenance();
    // SAFETY: the call writes one integer.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, place) };
    line(&mut text, "death-signal", &signal.to_string());
    let parent = libc::getppid();
    let relation = |id: i32, parents: i32| match id {
        _ if u32::try_from(id) == Ok(std::process::id()) => "own",
        _ if id == parents => "the parent's",
        _ => "another",
    };
    line(&mut text, "group", relation(libc::getpgid(0), libc::getpgid(parent)));
    line(&mut text, "session", relation(libc::getsid(0), libc::getsid(parent)));
    let place = program.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?.join("report");
    io::Write::write_all(&mut File::options().write(true).open(place)?, text.as_bytes())
}

/// Appends to `text` a line about a descriptor and its file, if the descriptor is open.
fn descriptor(text: &mut String, fd: i32) {
    let flags = libc::fcntl(fd, libc::F_GETFD);
    if flags < 0 {
        return;
    }
    // SAFETY: the descriptor is open, and the file is never dropped.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let (identity, mode) = file.metadata().map_or((String::from("?"), 0), |file| {
        (format!("{}:{}", file.dev(), file.ino()), file.mode())
    });
    // std sets `O_LARGEFILE` when it opens a file, which has a number only on 32-bit architectures.
    let large = match (cfg!(target_pointer_width = "32"), cfg!(target_arch = "x86")) {
        (false, _) => 0,
        (true, true) => 0o100_000,
        (true, false) => 0o400_000, // ARM; MIPS and PowerPC differ
    };
    let (how, offset) = (libc::fcntl(fd, libc::F_GETFL) & !large, libc::lseek64(fd, 0, 1));
    let what = format!("{identity} mode {mode:o} flags {how:o} offset {offset} cloexec {flags}");
    line(text, &format!("fd-{fd}"), &what);
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} {value}");
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
