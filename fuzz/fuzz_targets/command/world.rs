//! The environment that all cases share: directories with programs, and the state of this process.
//!
//! # Safety
//!
//! This file must uphold three invariants. Its system calls receive only integers or fill a struct. It owns
//! the descriptor that one of these calls creates. It changes the environment before any other code reads it.
#![allow(unsafe_code, reason = "calls for which std has no function")]

use super::{FOLDERS, Program, Source};
use rawpipe::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

unsafe extern "C" {
    safe fn fcntl(fd: i32, command: i32, ...) -> i32;
    safe fn getpgrp() -> i32;
    safe fn signal(signal: i32, handler: usize) -> usize;
}

/// The file name of the child program, which no other program uses.
const CHILD: &str = "rawpipe-fuzz-child";

pub(crate) struct World {
    folder: PathBuf,
    pub(crate) may_change_ids: bool,
    pub(crate) group: i32,
    /// The descriptor limit of this process.
    pub(crate) limit: i32,
    /// The smallest hard limit of the resources that the cases change.
    pub(crate) least_hard_limit: u64,
}

/// The state of this process that a start could change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    fds: BTreeMap<i32, PathBuf>,
    status: Vec<String>,
}

impl World {
    pub(crate) fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| Self::new(&std::env::temp_dir()))
    }

    fn new(above: &Path) -> Self {
        const SIG_IGN: usize = 1;
        // These signals test whether the child inherits ignored signals. SIGPIPE is ignored because programs
        // with a Rust `main` also ignore it.
        for ignored in [10, 13, 34, 64] {
            signal(ignored, SIG_IGN);
        }
        // Some directories in the original `PATH` may be unreadable to other users. SAFETY: the only other
        // thread belongs to the fuzzer and only checks memory use.
        unsafe { std::env::set_var("PATH", "/usr/bin:/bin") };
        let folder = above.join(format!("rawpipe-fuzz-{}", std::process::id()));
        for name in ["bin", "other", "closed", "empty"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for (name, mode) in [("bin", 0o755), ("other", 0o755), ("closed", 0o644)] {
            let place = folder.join(name).join(CHILD);
            fs::copy(concat!(env!("OUT_DIR"), "/child"), &place).unwrap();
            fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
        }
        fs::write(folder.join("file"), "no folder").unwrap();
        fs::write(folder.join("report"), "").unwrap();
        fs::set_permissions(folder.join("report"), Permissions::from_mode(0o666)).unwrap();
        let here = std::env::current_dir().unwrap();
        let open = |path: &Path| {
            path.ancestors().all(|each| fs::metadata(each).is_ok_and(|it| it.mode() & 1 == 1))
        };
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let limit = lower_limit_of_descriptors();
        Self {
            may_change_ids: root && open(&folder.join("bin")) && open(&here),
            folder,
            group: getpgrp(),
            limit,
            least_hard_limit: least_hard_limit(),
        }
    }

    pub(crate) fn absolute(&self, folder: &str) -> PathBuf {
        self.folder.join(folder)
    }

    pub(crate) fn path_variable(&self, indices: &[u8]) -> Vec<u8> {
        let folders = indices.iter().take(12).map(|&index| {
            let folder = FOLDERS[usize::from(index) % FOLDERS.len()];
            // The high bit of the index selects a path relative to the child's directory.
            if index >= 128 || folder.is_empty() {
                folder.as_bytes().to_vec()
            } else {
                self.absolute(folder).as_os_str().as_bytes().to_vec()
            }
        });
        folders.collect::<Vec<_>>().join(&b':')
    }

    /// Returns a program name to pass to the command, and whether the command must reject it.
    pub(crate) fn program(&self, program: Program) -> (Vec<u8>, bool) {
        let path = |place: &str| self.folder.join(place).as_os_str().as_bytes().to_vec();
        let name = match program {
            Program::Name => CHILD.into(),
            Program::Path => path(&format!("bin/{CHILD}")),
            Program::OtherPath => path(&format!("other/../other/{CHILD}")),
            Program::FromHere => format!("./{CHILD}").into(),
            Program::Missing => path("bin/missing"),
            Program::NotExecutable => path(&format!("closed/{CHILD}")),
            Program::Folder => path("bin"),
            Program::ThroughFile => path("file/child"),
            Program::Empty => Vec::new(),
            Program::WithNul => b"bin\0child".to_vec(),
        };
        let invalid = name.contains(&0);
        (name, invalid)
    }

    /// Opens a close-on-exec descriptor at this number, or at the next free number.
    pub(crate) fn open(&self, source: Source, at: u8) -> OwnedFd {
        let file = self.folder.join("file");
        let fd: OwnedFd = match source {
            Source::File => File::open(self.folder.join("bin").join(CHILD)).unwrap().into(),
            Source::Append => File::options().append(true).open(file).unwrap().into(),
            Source::PipeReader => rawpipe::pipe().unwrap().0.into(),
            Source::PipeWriter => rawpipe::pipe().unwrap().1.into(),
            Source::Socket => UnixStream::pair().unwrap().0.into(),
            Source::Null => File::open("/dev/null").unwrap().into(),
        };
        const F_DUPFD_CLOEXEC: i32 = 1030;
        let number = fcntl(fd.as_raw_fd(), F_DUPFD_CLOEXEC, i32::from(at % 64));
        assert!(number >= 0);
        // SAFETY: the line above has created this descriptor, which has no other owner.
        unsafe { OwnedFd::from_raw_fd(number) }
    }

    fn report(&self) -> PathBuf {
        self.folder.join("report")
    }

    pub(crate) fn clear_report(&self) {
        File::options().write(true).truncate(true).open(self.report()).unwrap();
    }

    pub(crate) fn is_report_empty(&self) -> bool {
        fs::metadata(self.report()).unwrap().len() == 0
    }

    pub(crate) fn read_report(&self) -> String {
        fs::read_to_string(self.report()).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        let fds = descriptors();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let kept = ["Sig", "Shd", "Umask", "Uid", "Gid", "Groups"];
        let lines = status.lines().filter(|line| kept.iter().any(|start| line.starts_with(start)));
        // The number of queued signals depends on all processes of the user, so omit that line.
        let status = lines.filter(|line| !line.starts_with("SigQ")).map(str::to_owned).collect();
        State { fds, status }
    }
}

/// Returns the open descriptors and their files.
pub(crate) fn descriptors() -> BTreeMap<i32, PathBuf> {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // The descriptor that this directory listing used is now closed, so skip it.
    let named = |fd| Some((fd, fs::read_link(format!("/proc/self/fd/{fd}")).ok()?));
    numbers.into_iter().filter_map(named).collect()
}

/// Lowers the soft limit of descriptors, so that cases can use numbers above the limit and descriptor tables
/// stay small. Returns the new limit.
fn lower_limit_of_descriptors() -> i32 {
    const PRLIMIT64: usize = if cfg!(target_arch = "x86_64") { 302 } else { 261 };
    const RLIMIT_NOFILE: usize = 7;
    const SOFT: u64 = 512;
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap().parse().unwrap();
    let limit = [SOFT, hard];
    let place = (&raw const limit).expose_provenance();
    // SAFETY: the call reads the two words of `limit`.
    let result = unsafe { rawpipe::raw::syscall4(PRLIMIT64, 0, RLIMIT_NOFILE, place, 0) };
    assert_eq!(result, 0);
    i32::try_from(SOFT).unwrap()
}

fn least_hard_limit() -> u64 {
    let names = [
        "Max core file size",
        "Max file locks",
        "Max msgqueue size",
        "Max resident set",
        "Max pending signals",
        "Max realtime timeout",
    ];
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let hard = names.iter().map(|name| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap_or(u64::MAX)
    });
    hard.min().unwrap()
}
