//! Starts programs, forks children, and allocates memory that slows down a fork. The example `speed` and
//! several benchmarks share this code.
#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(unsafe_code, reason = "fork, and the C library's own to compare with")]

use super::common::summed::{Numbers, Sum};
use super::common::{Engine, Named, Place, Taken, engine};
use rawpipe::process;
use std::cell::OnceCell;
use std::ffi::{c_int, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::{env, ptr};

/// A minimal program, which exits with 0. On x86_64 and aarch64 the program loads no libraries, so a
/// measurement covers only the start and the exit of a process.
pub(crate) struct Tiny {
    folder: PathBuf,
    path: PathBuf,
}

impl Tiny {
    /// Writes the program to a new directory.
    pub(crate) fn new() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("rawpipe-tiny-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let path = folder.join("tiny");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path)?;
        file.write_all(&tiny_elf()?)?;
        Ok(Self { folder, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// On x86_64 and aarch64, returns a static executable with one segment, which contains the code of `exit(0)`.
/// On other architectures, returns the bytes of `/bin/true`.
fn tiny_elf() -> io::Result<Vec<u8>> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let (machine, code): (u16, &[u8]) = if cfg!(target_arch = "x86_64") {
        // mov eax, 60; xor edi, edi; syscall
        (62, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05])
    } else if cfg!(target_arch = "aarch64") {
        // mov x8, 93; mov x0, 0; svc 0
        (183, &[0xa8, 0x0b, 0x80, 0xd2, 0, 0, 0x80, 0xd2, 0x01, 0, 0, 0xd4])
    } else {
        return fs::read("/bin/true");
    };
    let length = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(); // 64 bits, little-endian
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend(value.to_le_bytes());
    let double = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    half(&mut elf, 2); // an executable
    half(&mut elf, machine);
    word(&mut elf, 1);
    double(&mut elf, BASE + HEADERS); // the entry point
    double(&mut elf, 64); // the offset of the program headers
    double(&mut elf, 0);
    word(&mut elf, 0);
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut elf, value);
    }
    word(&mut elf, 1); // to be loaded
    word(&mut elf, 5); // readable, executable
    double(&mut elf, 0);
    double(&mut elf, BASE);
    double(&mut elf, BASE);
    double(&mut elf, length);
    double(&mut elf, length);
    double(&mut elf, 0x1000);
    elf.extend(code);
    Ok(elf)
}

/// Memory that belongs to this process. Every page of this memory has been touched.
pub(crate) struct Ballast {
    address: *mut c_void,
    length: usize,
}

impl Ballast {
    /// Allocates the memory in pages of the default size, or in huge pages if `huge` is set and the kernel
    /// supports them.
    pub(crate) fn new(length: usize, huge: bool) -> io::Result<Self> {
        const READ_WRITE: c_int = 3;
        const PRIVATE_ANONYMOUS: c_int = 0x22;
        const MADV_HUGEPAGE: c_int = 14;
        const MADV_NOHUGEPAGE: c_int = 15;
        unsafe extern "C" {
            fn mmap(
                at: *mut c_void,
                n: usize,
                p: c_int,
                f: c_int,
                fd: c_int,
                o: isize,
            ) -> *mut c_void;
            fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        if length == 0 {
            return Ok(Self { address: ptr::null_mut(), length });
        }
        // SAFETY: the kernel chooses a free address.
        let address =
            unsafe { mmap(ptr::null_mut(), length, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
        if address.addr() == usize::MAX {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `mmap` has mapped this memory, and no other code uses it.
        unsafe { madvise(address, length, if huge { MADV_HUGEPAGE } else { MADV_NOHUGEPAGE }) };
        for offset in (0..length).step_by(4096) {
            // SAFETY: the offset is within the mapping, which is writable.
            let place = unsafe { address.cast::<u8>().add(offset) };
            // SAFETY: as above.
            unsafe { place.write_volatile(1) };
        }
        Ok(Self { address, length })
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        unsafe extern "C" {
            fn munmap(address: *mut c_void, length: usize) -> c_int;
        }
        if self.length > 0 {
            // SAFETY: `new` has mapped this memory, and no other code has its address.
            unsafe { munmap(self.address, self.length) };
        }
    }
}

fn succeeded(success: bool) -> io::Result<()> {
    if success { Ok(()) } else { Err(io::Error::other("the program failed")) }
}

/// Uses std to start a program and to wait for its exit.
#[inline(never)]
pub(crate) fn std_spawn(program: &Path) -> io::Result<()> {
    succeeded(Command::new(program).spawn()?.wait()?.success())
}

/// Uses this crate to start a program and to wait for its exit.
#[inline(never)]
pub(crate) fn raw_spawn(program: &Path) -> io::Result<()> {
    succeeded(process::Command::new(program).spawn()?.wait()?.success())
}

/// A function that starts a program and waits for its exit.
pub(crate) type Start = fn(&Path) -> io::Result<()>;

pub(crate) const PLAIN: [Named<Start>; 2] = [("std", std_spawn), ("rawpipe", raw_spawn)];

/// The engines that start the program in a new session and pass it a descriptor at a chosen number. The
/// command of this crate takes ownership of the descriptor. Every repetition of both engines therefore opens
/// `/dev/null` again.
pub(crate) const MAPPED: [Named<Start>; 2] = [
    ("std", |program| std_spawn_mapped(program, &null()?)),
    ("rawpipe", |program| raw_spawn_mapped(program, null()?)),
];

fn null() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

/// Returns engines that start the program once in each repetition. This process meanwhile holds `mib` MiB of
/// memory, which uses huge pages if `huge` is set.
pub(crate) fn starts<'a>(
    place: Place,
    program: &'a Path,
    (mib, huge): (usize, bool),
    engines: &[Named<Start>],
) -> Vec<Engine<'a>> {
    // Allocate on first use, so that groups that are filtered out allocate nothing.
    let ballast = Rc::new(OnceCell::new());
    let start = |&(name, start): &Named<Start>| {
        let ballast = Rc::clone(&ballast);
        engine(name, move |count| {
            ballast.get_or_init(|| Ballast::new(mib << 20, huge).expect("memory"));
            place.during(|| Taken::repeated(count, || start(program)))
        })
    };
    engines.iter().map(start).collect()
}

/// The number of the descriptor in programs that [`std_spawn_mapped`] and [`raw_spawn_mapped`] start.
const NUMBER: c_int = 9;

/// Uses std to start a program in a new session, and passes a descriptor at [`NUMBER`]. With std, both
/// settings require a closure that runs in the child after the fork.
#[inline(never)]
pub(crate) fn std_spawn_mapped(program: &Path, fd: &OwnedFd) -> io::Result<()> {
    unsafe extern "C" {
        safe fn setsid() -> c_int;
        safe fn dup2(from: c_int, to: c_int) -> c_int;
    }
    let from = fd.as_raw_fd();
    let mut command = Command::new(program);
    let change = move || {
        if setsid() < 0 || dup2(from, NUMBER) < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure makes two async-signal-safe calls, and its error does not allocate.
    unsafe { command.pre_exec(change) };
    succeeded(command.spawn()?.wait()?.success())
}

/// Uses this crate to start a program with the settings of [`std_spawn_mapped`].
#[inline(never)]
pub(crate) fn raw_spawn_mapped(program: &Path, fd: OwnedFd) -> io::Result<()> {
    let mut command = process::Command::new(program);
    command.setsid().fd_map(fd, NUMBER);
    succeeded(command.spawn()?.wait()?.success())
}

/// The exit code of a forked child, which proves that the child reached its last statement.
const EXIT_CODE: u8 = 7;

/// A function that performs one repetition of a measurement.
pub(crate) type Work = fn() -> io::Result<()>;

/// The engines that create a child and wait for it. The child exits immediately.
pub(crate) const FORKS: [(&str, Work); 3] =
    [("std", libc_fork), ("rawpipe", raw_fork), ("rawpipe-fork_with", raw_fork_with)];

#[inline(never)]
pub(crate) fn libc_fork() -> io::Result<()> {
    unsafe extern "C" {
        fn fork() -> c_int;
        safe fn _exit(status: c_int) -> !;
        fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    }
    // SAFETY: the child only exits.
    let pid = unsafe { fork() };
    if pid == 0 {
        _exit(EXIT_CODE.into());
    }
    let mut status = -1;
    // SAFETY: the call writes one `int` to `status`.
    let waited = unsafe { waitpid(pid, &raw mut status, 0) };
    succeeded(pid > 0 && waited == pid && status == c_int::from(EXIT_CODE) << 8)
}

#[inline(never)]
fn raw_fork() -> io::Result<()> {
    // SAFETY: the child only exits.
    match unsafe { process::fork() }? {
        process::Fork::Child => process::exit(EXIT_CODE),
        process::Fork::Parent(mut child) => {
            succeeded(child.wait()?.code() == Some(EXIT_CODE.into()))
        }
    }
}

#[inline(never)]
pub(crate) fn raw_fork_with() -> io::Result<()> {
    // SAFETY: the child only exits.
    let mut child = unsafe { process::fork_with(|| EXIT_CODE) }?;
    succeeded(child.wait()?.code() == Some(EXIT_CODE.into()))
}

/// The number of bytes that a program writes if its argument is [`WRITER`].
pub(crate) const OUTPUT: u64 = 16 << 20;

/// The argument that makes a program write its output.
pub(crate) const WRITER: &str = "write-16-mib";

/// Generates [`OUTPUT`] bytes and writes them to standard output in pieces of 64 KiB.
pub(crate) fn write_output() -> io::Result<()> {
    let (mut numbers, mut buffer) = (Numbers::default(), vec![0; CHUNK]);
    let mut out = io::stdout().lock();
    for _ in 0..COUNT {
        numbers.fill(&mut buffer);
        out.write_all(&buffer)?;
    }
    out.flush()
}

const CHUNK: usize = 64 << 10;
const COUNT: u64 = OUTPUT / CHUNK as u64;

/// A function that runs a program and returns the program's output.
pub(crate) type Output = fn(&Path) -> io::Result<Vec<u8>>;

/// Returns engines that, in each repetition, collect the output of `program` and sum the words of this
/// output.
pub(crate) fn outputs(place: Place, program: &Path) -> Vec<Engine<'_>> {
    let output = |(name, output): Named<Output>| {
        let once = move || check_output(&output(program)?);
        engine(name, move |count| place.during(|| Taken::repeated(count, once)))
    };
    let engines: [Named<Output>; 2] = [("std", std_output), ("rawpipe", raw_output)];
    engines.into_iter().map(output).collect()
}

/// Sums all words of the output and compares the result with the expected sum.
pub(crate) fn check_output(bytes: &[u8]) -> io::Result<()> {
    let mut sum = Sum::new(COUNT, CHUNK);
    sum.add(bytes);
    sum.check()
}

#[inline(never)]
pub(crate) fn std_output(program: &Path) -> io::Result<Vec<u8>> {
    let output = Command::new(program).arg(WRITER).output()?;
    succeeded(output.status.success())?;
    Ok(output.stdout)
}

#[inline(never)]
pub(crate) fn raw_output(program: &Path) -> io::Result<Vec<u8>> {
    let output = process::Command::new(program).arg(WRITER).output().map_err(io::Error::from)?;
    succeeded(output.status.success())?;
    Ok(output.stdout)
}
