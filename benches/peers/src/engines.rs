//! Adapters for the crates. The traits cover pipes, splicing, forks, starting a program, and collecting a
//! program's output. Each crate's type implements the traits for which the crate has functions. The
//! implementations use the calls that the crate's documentation shows.
//!
//! # Safety
//!
//! This file must uphold the contracts of the crates' `unsafe` functions: plain C functions, `fork`, and the
//! functions that lend memory to a pipe. While a pipe holds lent memory, no code may write to that memory.
#![allow(unsafe_code, reason = "the C library's calls, fork, and vmsplice")]

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{ptr, thread};

pub(crate) struct Std;
pub(crate) struct Rawpipe;
/// This crate's `Spawn`, which starts a program without allocating memory.
pub(crate) struct RawpipeSpawn;
pub(crate) struct Rustix;
pub(crate) struct Nix;
pub(crate) struct Libc;
pub(crate) struct OsPipe;
pub(crate) struct Interprocess;
pub(crate) struct Subprocess;
pub(crate) struct Duct;

// ---------------------------------------------------------------- pipes

pub(crate) trait Pipes {
    type Reader: From<OwnedFd> + Into<OwnedFd> + 'static;
    type Writer: From<OwnedFd> + Into<OwnedFd> + 'static;
    fn pipe() -> io::Result<(Self::Reader, Self::Writer)>;
    fn read(from: &mut Self::Reader, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(to: &mut Self::Writer, bytes: &[u8]) -> io::Result<usize>;
}

/// Implements `Pipes` for a crate whose pipe ends implement `Read` and `Write`.
macro_rules! ends {
    ($engine:ident, $reader:ty, $writer:ty, $pipe:expr) => {
        impl Pipes for $engine {
            type Reader = $reader;
            type Writer = $writer;
            fn pipe() -> io::Result<($reader, $writer)> {
                $pipe
            }
            fn read(from: &mut $reader, buffer: &mut [u8]) -> io::Result<usize> {
                Read::read(from, buffer)
            }
            fn write(to: &mut $writer, bytes: &[u8]) -> io::Result<usize> {
                Write::write(to, bytes)
            }
        }
    };
}
ends!(Std, io::PipeReader, io::PipeWriter, io::pipe());
ends!(Rawpipe, rawpipe::PipeReader, rawpipe::PipeWriter, Ok(rawpipe::pipe()?));
ends!(OsPipe, os_pipe::PipeReader, os_pipe::PipeWriter, os_pipe::pipe());
ends!(Interprocess, interprocess::unnamed_pipe::Recver, interprocess::unnamed_pipe::Sender, {
    interprocess::unnamed_pipe::pipe().map(|(sender, receiver)| (receiver, sender))
});

impl Pipes for Rustix {
    type Reader = OwnedFd;
    type Writer = OwnedFd;
    fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
    }
    fn read(from: &mut OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(from, buffer)?)
    }
    fn write(to: &mut OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(to, bytes)?)
    }
}

impl Pipes for Nix {
    type Reader = OwnedFd;
    type Writer = OwnedFd;
    fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
    }
    fn read(from: &mut OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(from, buffer)?)
    }
    fn write(to: &mut OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(to, bytes)?)
    }
}

/// Converts the result of a C function, which either returns a count, or returns -1 and sets `errno`.
fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

impl Pipes for Libc {
    type Reader = OwnedFd;
    type Writer = OwnedFd;
    fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let mut fds = [-1; 2];
        // SAFETY: the call writes two numbers, and the array holds two.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above has created this descriptor, and no other owner has its number.
        let reader = unsafe { OwnedFd::from_raw_fd(fds[0]) };
        // SAFETY: as above.
        let writer = unsafe { OwnedFd::from_raw_fd(fds[1]) };
        Ok((reader, writer))
    }
    fn read(from: &mut OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the call writes at most `buffer.len()` bytes to the buffer.
        count(unsafe { libc::read(from.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
    }
    fn write(to: &mut OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the call only reads the bytes.
        count(unsafe { libc::write(to.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
    }
}

// ---------------------------------------------------------------- without a copy

pub(crate) trait Splices: Pipes {
    fn grow(pipe: BorrowedFd<'_>, bytes: u32) -> io::Result<()>;
    fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize>;
    /// # Safety
    ///
    /// The memory must stay allocated and unchanged until the bytes have been read from the pipe.
    unsafe fn vmsplice(to: &Self::Writer, bytes: &[u8]) -> io::Result<usize>;
}

impl Splices for Rawpipe {
    fn grow(pipe: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
        let bytes = rawpipe::pipe::Capacity::Bytes(bytes as usize);
        Ok(rawpipe::pipe::set_capacity(pipe, bytes).map(drop)?)
    }
    fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let flags = rawpipe::splice::SpliceFlags::empty();
        Ok(rawpipe::splice::splice(from, None, to, None, most, flags)?)
    }
    unsafe fn vmsplice(to: &rawpipe::PipeWriter, bytes: &[u8]) -> io::Result<usize> {
        let flags = rawpipe::splice::SpliceFlags::empty();
        // SAFETY: the caller upholds the contract of this function.
        Ok(unsafe { rawpipe::splice::vmsplice(to, &[IoSlice::new(bytes)], flags) }?)
    }
}

impl Splices for Rustix {
    fn grow(pipe: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
        Ok(rustix::pipe::fcntl_setpipe_size(pipe, bytes as usize).map(drop)?)
    }
    fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let flags = rustix::pipe::SpliceFlags::empty();
        Ok(rustix::pipe::splice(from, None, to, None, most, flags)?)
    }
    unsafe fn vmsplice(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        let slice = rustix::pipe::IoSliceRaw::from_slice(bytes);
        let flags = rustix::pipe::SpliceFlags::empty();
        // SAFETY: the caller upholds the contract of this function.
        Ok(unsafe { rustix::pipe::vmsplice(to, &[slice], flags) }?)
    }
}

impl Splices for Nix {
    fn grow(pipe: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
        let bytes = c_int::try_from(bytes).map_err(io::Error::other)?;
        Ok(nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(bytes)).map(drop)?)
    }
    fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let flags = nix::fcntl::SpliceFFlags::empty();
        Ok(nix::fcntl::splice(from, None, to, None, most, flags)?)
    }
    unsafe fn vmsplice(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        // nix should declare this function `unsafe`, because only the caller can ensure that no code writes
        // to the memory.
        let flags = nix::fcntl::SpliceFFlags::empty();
        Ok(nix::fcntl::vmsplice(to, &[IoSlice::new(bytes)], flags)?)
    }
}

impl Splices for Libc {
    fn grow(pipe: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
        // SAFETY: the call accepts a number and no pointer.
        let granted = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
        count(granted as isize).map(drop)
    }
    fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
        // SAFETY: the offsets are null, so the call accesses no memory.
        count(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), most, 0) })
    }
    unsafe fn vmsplice(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        let base = bytes.as_ptr().cast_mut().cast();
        let slice = libc::iovec { iov_base: base, iov_len: bytes.len() };
        // SAFETY: the call receives exactly one slice, and the caller upholds the other conditions of the
        // contract.
        count(unsafe { libc::vmsplice(to.as_raw_fd(), &raw const slice, 1, 0) })
    }
}

// ---------------------------------------------------------------- children

/// A crate that can fork. The function forks a child that exits with `code`. It returns the collected exit
/// code, or `None` if a signal killed the child.
pub(crate) trait Forks {
    fn fork_wait(code: u8) -> io::Result<Option<i32>>;
}

impl Forks for Rawpipe {
    fn fork_wait(code: u8) -> io::Result<Option<i32>> {
        // SAFETY: the child only exits.
        let mut child = unsafe { rawpipe::process::fork_with(|| code) }?;
        Ok(child.wait()?.code())
    }
}

impl Forks for Nix {
    fn fork_wait(code: u8) -> io::Result<Option<i32>> {
        // SAFETY: the child only exits.
        match unsafe { nix::unistd::fork() }? {
            // SAFETY: `_exit` runs no `atexit` handlers and drops no values.
            nix::unistd::ForkResult::Child => unsafe { libc::_exit(code.into()) },
            nix::unistd::ForkResult::Parent { child } => nix_wait(child),
        }
    }
}

fn nix_wait(child: nix::unistd::Pid) -> io::Result<Option<i32>> {
    Ok(match nix::sys::wait::waitpid(child, None)? {
        nix::sys::wait::WaitStatus::Exited(_, code) => Some(code),
        _ => None,
    })
}

impl Forks for Libc {
    fn fork_wait(code: u8) -> io::Result<Option<i32>> {
        // SAFETY: the child only exits.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: `_exit` runs no `atexit` handlers and drops no values.
            unsafe { libc::_exit(code.into()) }
        }
        libc_wait(pid)
    }
}

fn libc_wait(child: libc::pid_t) -> io::Result<Option<i32>> {
    let mut status = -1;
    // SAFETY: the call writes one number to `status`.
    if child < 0 || unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)))
}

/// A crate that can start a program. The function waits for the program. It returns the exit code, or `None`
/// if a signal killed the program.
pub(crate) trait Spawns {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>>;
}

impl Spawns for Std {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        Ok(std::process::Command::new(program).spawn()?.wait()?.code())
    }
}

impl Spawns for Rawpipe {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        Ok(rawpipe::process::Command::new(program).spawn()?.wait()?.code())
    }
}

/// Returns the path as a C string, which `Spawn` and `posix_spawn` accept.
fn c_path(program: &Path) -> io::Result<CString> {
    Ok(CString::new(program.as_os_str().as_bytes())?)
}

impl Spawns for RawpipeSpawn {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        use rawpipe::process::{Arg, Spawn};
        let path = c_path(program)?;
        let argv = [Arg::new(&path), Arg::END];
        let envp = [Arg::END];
        Ok(Spawn::new(&path, &argv, &envp).spawn()?.wait()?.code())
    }
}

impl Spawns for Nix {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
        let path = c_path(program)?;
        let (actions, attributes) = (PosixSpawnFileActions::init()?, PosixSpawnAttr::init()?);
        let none: [&CString; 0] = [];
        nix_wait(posix_spawn(path.as_c_str(), &actions, &attributes, &[&path], &none)?)
    }
}

impl Spawns for Libc {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        let path = c_path(program)?;
        let argv = [path.as_ptr().cast_mut(), ptr::null_mut()];
        let envp = [ptr::null_mut()];
        let mut pid = -1;
        // SAFETY: both lists are null-terminated, and their strings outlive the call.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                path.as_ptr(),
                ptr::null(),
                ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        libc_wait(pid)
    }
}

impl Spawns for Subprocess {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        Ok(subprocess::Exec::cmd(program).join()?.code().and_then(|code| code.try_into().ok()))
    }
}

impl Spawns for Duct {
    fn spawn_wait(program: &Path) -> io::Result<Option<i32>> {
        Ok(duct::cmd(program, [""; 0]).run()?.status.code())
    }
}

/// A crate that can collect the output of a program.
pub(crate) trait Runs {
    /// Writes input to the program and, at the same time, collects the program's output.
    fn communicate(program: &str, fed: &'static [u8]) -> io::Result<Vec<u8>>;
    fn output(program: &Path, arg: &str) -> io::Result<Vec<u8>>;
}

/// Returns `bytes`, which is the output of a program, or returns an error if the program failed.
fn written(success: bool, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if success { Ok(bytes) } else { Err(io::Error::other("the program failed")) }
}

impl Runs for Std {
    fn communicate(program: &str, fed: &'static [u8]) -> io::Result<Vec<u8>> {
        use std::process::{Command, Stdio};
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().expect("asked for");
        let feeder = thread::spawn(move || stdin.write_all(fed));
        let output = child.wait_with_output()?;
        feeder.join().expect("it does not panic")?;
        written(output.status.success(), output.stdout)
    }
    fn output(program: &Path, arg: &str) -> io::Result<Vec<u8>> {
        let output = std::process::Command::new(program).arg(arg).output()?;
        written(output.status.success(), output.stdout)
    }
}

impl Runs for Rawpipe {
    fn communicate(program: &str, fed: &'static [u8]) -> io::Result<Vec<u8>> {
        use rawpipe::process::{Command, Stdio};
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.communicate(fed).map_err(io::Error::from)?;
        written(output.status.success(), output.stdout)
    }
    fn output(program: &Path, arg: &str) -> io::Result<Vec<u8>> {
        let mut command = rawpipe::process::Command::new(program);
        let output = command.arg(arg).output().map_err(io::Error::from)?;
        written(output.status.success(), output.stdout)
    }
}

impl Runs for Subprocess {
    fn communicate(program: &str, fed: &'static [u8]) -> io::Result<Vec<u8>> {
        let capture = subprocess::Exec::cmd(program).stdin(fed).capture()?;
        written(capture.success(), capture.stdout)
    }
    fn output(program: &Path, arg: &str) -> io::Result<Vec<u8>> {
        // Pass no input and collect standard error, as the `output` functions of the other crates do.
        let exec = subprocess::Exec::cmd(program).arg(arg).stdin(File::open("/dev/null")?);
        let capture = exec.stderr(subprocess::Redirection::Pipe).capture()?;
        written(capture.success(), capture.stdout)
    }
}

impl Runs for Duct {
    fn communicate(program: &str, fed: &'static [u8]) -> io::Result<Vec<u8>> {
        let output = duct::cmd(program, [""; 0]).stdin_bytes(fed).stdout_capture().run()?;
        written(output.status.success(), output.stdout)
    }
    fn output(program: &Path, arg: &str) -> io::Result<Vec<u8>> {
        let command = duct::cmd(program, [arg]).stdin_null();
        let output = command.stdout_capture().stderr_capture().run()?;
        written(output.status.success(), output.stdout)
    }
}
