//! Reads and sets the limits of this process, and reads its current use of resources.

use crate::common::nr;
use crate::common::{self, Tool, emulated, programs, tool};
use rawpipe::process::{Resource, Rlimit};
use rawpipe::raw;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

unsafe extern "C" {
    safe fn getuid() -> u32;
    safe fn setuid(uid: u32) -> i32;
    safe fn prctl(operation: i32, argument: usize, ...) -> i32;
}

/// The scarce resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// No resource is scarce.
    Plain,
    Descriptors,
    Memory,
    Pages,
    Processes,
}

impl Role {
    pub(crate) const fn test(self) -> &'static str {
        match self {
            Self::Plain => "soak_everything_at_once",
            Self::Descriptors => "soak_at_the_limit_of_descriptors_emfile",
            Self::Memory => "soak_at_the_limit_of_memory_enomem",
            Self::Pages => "soak_at_the_limit_of_pipe_pages_eperm",
            Self::Processes => "soak_at_the_limit_of_processes_eagain",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "soak",
            Self::Descriptors => "soak at RLIMIT_NOFILE",
            Self::Memory => "soak at RLIMIT_AS",
            Self::Pages => "soak at pipe-user-pages-soft",
            Self::Processes => "soak at RLIMIT_NPROC",
        }
    }

    /// Returns a description of how calls fail at the limit, or `None` if no resource is scarce.
    pub(crate) const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Descriptors => Some("EMFILE"),
            Self::Memory => Some("ENOMEM"),
            Self::Pages => Some("EPERM or two pages"),
            Self::Processes => Some("EAGAIN"),
        }
    }
}

/// Sets the soft limit of a resource to `soft`, or to the hard limit if the hard limit is lower.
pub(crate) fn set_limit(resource: Resource, soft: u64) {
    common::set_soft_limit(resource.as_raw(), soft.min(common::limits(resource.as_raw())[1]));
}

/// Returns the hard limit of a resource, as both the soft and the hard value.
pub(crate) fn hard(resource: Resource) -> Rlimit {
    Rlimit::both(common::limits(resource.as_raw())[1])
}

/// Raises the soft limit on descriptors, and returns the number of pipes that this process may hold. The
/// remaining descriptors stay free for children and for temporary use.
pub(crate) fn most_pipes() -> usize {
    set_limit(Resource::NOFILE, u64::MAX);
    usize::try_from(common::limits(Resource::NOFILE.as_raw())[0] / 2)
        .unwrap_or(usize::MAX)
        .saturating_sub(300)
        .max(50)
}

/// Prepares this process for a run at the limit, or returns the reason why such a run is impossible. The
/// process will then start `children` children and run `threads` threads.
pub(crate) fn enter(role: Role, threads: usize, children: usize) -> Result<(), &'static str> {
    match role {
        Role::Descriptors if tool() == Some(Tool::Valgrind) => {
            Err("Valgrind does not apply the limit on descriptors")
        }
        Role::Plain | Role::Descriptors => Ok(()),
        Role::Memory if tool().is_some() => Err("a tool needs memory of its own, and ends without"),
        Role::Memory => memory_ahead(),
        Role::Pages => {
            let soft = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap_or_default();
            match soft.trim().parse() {
                Ok(1..=20_000) => become_ordinary_user(),
                _ => Err("pipe-user-pages-soft is no limit to these few pipes"),
            }
        }
        Role::Processes if emulated() => {
            Err("an emulator has threads of its own, and dies without")
        }
        Role::Processes => {
            become_ordinary_user()?;
            let uid = getuid();
            let tasks: usize = fs::read_dir("/proc")
                .map_err(|_| "no /proc")?
                .flatten()
                .filter(|entry| entry.metadata().is_ok_and(|data| data.uid() == uid))
                .map(|entry| fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count))
                .sum();
            // The number of tasks already includes this thread.
            set_limit(Resource::NPROC, (tasks + threads - 1 + children / 3) as u64);
            Ok(())
        }
    }
}

/// The executable of this program, for a user that is not permitted to access the program's directory.
static PROGRAM: OnceLock<File> = OnceLock::new();

/// Switches from root to a user that owns no processes and no pipes. If the current user is not root, the
/// limits already apply.
fn become_ordinary_user() -> Result<(), &'static str> {
    const PR_SET_DUMPABLE: i32 = 4;
    if getuid() != 0 {
        return Ok(());
    }
    if !emulated() {
        let file = File::open("/proc/self/exe").map_err(|_| "cannot open this program")?;
        let _ = PROGRAM.set(file);
    }
    if setuid(0x4_0000 + std::process::id() % 0x1_0000) != 0 {
        return Err("there is no user to become");
    }
    // Once the user has changed, this process cannot access `/proc/self` until it makes this call.
    if prctl(PR_SET_DUMPABLE, 1_usize) != 0 {
        return Err("cannot open /proc/self to the new user");
    }
    Ok(())
}

/// Returns the command line that starts one of the programs in `common::programs`.
pub(crate) fn program(name: &str, args: &[&str]) -> Vec<OsString> {
    let std = programs::std_program(name, args);
    let program = match PROGRAM.get() {
        Some(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
        None => std.get_program().to_owned(),
    };
    [program].into_iter().chain(std.get_args().map(ToOwned::to_owned)).collect()
}

/// Reserves memory for the test itself and for parts of the crate that cannot report a failure. The reserve
/// is free heap memory below a block that stays allocated. The allocator therefore does not return the
/// reserve to the kernel.
fn memory_ahead() -> Result<(), &'static str> {
    /// Touches more stack pages than any call in this test needs.
    #[inline(never)]
    fn touch_the_stack() -> u8 {
        std::hint::black_box([1_u8; 1 << 20])[12_345]
    }

    touch_the_stack();
    // Without `black_box` the compiler would remove the allocation.
    let block = || std::hint::black_box(Vec::<u8>::with_capacity(100 << 10));
    let blocks: Vec<_> = (0..1500).map(|_| block()).collect();
    std::mem::forget(block());
    drop(blocks);
    set_limit(Resource::AS, address_space());
    let mut large = Vec::<u8>::new();
    let heap = std::hint::black_box(&mut large).try_reserve_exact(8 << 20).is_ok();
    drop(large);
    let (_reader, writer) = rawpipe::pipe().expect("a pipe");
    let mapped = rawpipe::chunk::ChunkWriter::builder().chunk(16 << 20).build(writer);
    set_limit(Resource::AS, u64::MAX);
    match (heap, mapped.err()) {
        (true, Some(rawpipe::Errno::ENOMEM)) => Ok(()),
        (true, _) => Err("RLIMIT_AS does not limit mappings"),
        (false, _) => Err("the allocator keeps no memory ahead"),
    }
}

/// Returns the numbers of the open descriptors, or `None` if they cannot be listed.
pub(crate) fn descriptors() -> Option<BTreeSet<u64>> {
    let listed = fs::read_dir("/proc/self/fd").ok()?;
    listed.map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Returns the first number at or after word `nth` of a file, or 0 if no number is found. Does not allocate.
fn number(path: &str, nth: usize) -> u64 {
    let mut text = [0; 256];
    let count = File::open(path).and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    let words = std::str::from_utf8(&text[..count]).unwrap_or("").split_whitespace();
    words.skip(nth).find_map(|word| word.parse().ok()).unwrap_or(0)
}

/// Returns the size of the address space of this process in bytes.
pub(crate) fn address_space() -> u64 {
    number("/proc/self/statm", 0) * page()
}

/// Returns the size of the resident memory of this process in bytes.
pub(crate) fn resident() -> u64 {
    number("/proc/self/statm", 1) * page()
}

fn page() -> u64 {
    unsafe extern "C" {
        safe fn getpagesize() -> i32;
    }
    u64::try_from(getpagesize()).expect("a page has a size")
}

/// Returns the mappings of this process, as lines of `/proc/self/maps`.
pub(crate) fn maps() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    maps.lines().map(String::from).collect()
}

/// Kills the children of this process.
pub(crate) fn kill_children() {
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The fields are the process id, the name in parentheses, the state and the parent's process id.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok());
        if let (true, Some(pid)) = (parent == Some(&own), pid) {
            // SAFETY: `kill` accesses no memory.
            unsafe { raw::syscall2(nr::KILL, pid, 9) };
        }
    }
}
