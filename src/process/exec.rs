//! Replaces the program of this process, and finds a program by its name.

use crate::fd::{AsFd, AsRawFd};
use crate::sys::abi::arg::Arg;
use crate::sys::abi::flags::ExecFlags;
use crate::sys::call;
use crate::{Errno, Result};
use core::convert::Infallible;
use core::ffi::CStr;

/// The search path that `Spawn` and `Command` use if the child's environment has no `PATH`. In glibc,
/// `execvp` uses the same path.
pub const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The maximum length of a path in bytes, including the NUL. The kernel rejects longer paths.
const PATH_MAX: usize = 4096;

/// Replaces the program of this process with the program at `path`. Returns only on failure.
///
/// No destructor runs, and buffered data is not written. Other threads end. Descriptors stay open unless they
/// are close-on-exec. Signals with handlers are reset to their default effect, and blocked signals stay
/// blocked. Ignored signals stay ignored, including `SIGPIPE`, which Rust programs ignore.
///
/// This function neither allocates nor touches thread-local storage, so a forked child may call it. Build the
/// argument and environment lists before the fork.
///
/// # Errors
///
/// - [`E2BIG`](Errno::E2BIG) if the arguments and the environment are too long.
/// - [`EAGAIN`](Errno::EAGAIN) if the process has changed its user, and the new user has more processes than
///   `RLIMIT_NPROC` allows.
/// - [`EACCES`](Errno::EACCES) if the file is not executable, if it is not a regular file, or if a directory
///   in its path may not be searched.
/// - [`EINVAL`](Errno::EINVAL) if a list does not end with [`Arg::END`].
/// - [`ELOOP`](Errno::ELOOP), [`ENAMETOOLONG`](Errno::ENAMETOOLONG) or [`ENOTDIR`](Errno::ENOTDIR) if the
///   path has too many symbolic links, is too long, or uses a file as a directory.
/// - [`ENOENT`](Errno::ENOENT) if the file, or the interpreter that it names, does not exist.
/// - [`ENOEXEC`](Errno::ENOEXEC) if the kernel does not recognise the format of the file. An example is a
///   script without `#!`.
/// - [`ENOMEM`](Errno::ENOMEM) if the kernel does not have enough memory.
/// - [`ETXTBSY`](Errno::ETXTBSY) if the file is open for writing. This error can occur even after the writing
///   process has closed the file. If another thread of that process has just forked, the child holds a copy
///   of the descriptor until it executes a program. In that case, retry.
///
/// # Examples
///
/// ```
/// use rawpipe::process::{self, Arg};
///
/// let argv = [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"exit $CODE"), Arg::END];
/// let envp = [Arg::new(c"CODE=7"), Arg::END];
/// // SAFETY: the child only makes system calls.
/// let mut child = unsafe {
///     process::fork_with(|| match process::execve(c"/bin/sh", &argv, &envp) {
///         Err(_) => 127,
///     })
/// }?;
/// assert_eq!(child.wait()?.code(), Some(7));
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
pub fn execve(path: &CStr, argv: &[Arg<'_>], envp: &[Arg<'_>]) -> Result<Infallible> {
    call::execve(path, argv, envp)
}

/// Replaces the program of this process with the program at a path relative to the directory `folder`. In all
/// other respects, this function behaves like [`execve`].
///
/// # Errors
///
/// Any error of [`execve`], and [`ENOSYS`](Errno::ENOSYS) before Linux 3.19 and under some emulators.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::process::{Arg, ExecFlags, execveat};
///
/// let folder = std::fs::File::open("/")?;
/// let nothing = [Arg::END];
/// let error = execveat(&folder, c"no/such/program", &nothing, &nothing, ExecFlags::empty());
/// assert!(matches!(error, Err(Errno::ENOENT | Errno::ENOSYS)));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [execveat(2)](https://man7.org/linux/man-pages/man2/execveat.2.html)
pub fn execveat(
    folder: impl AsFd,
    path: &CStr,
    argv: &[Arg<'_>],
    envp: &[Arg<'_>],
    flags: ExecFlags,
) -> Result<Infallible> {
    call::execveat(folder.as_fd(), path, argv, envp, flags.bits())
}

/// Replaces the program of this process with the file that `file` refers to. The descriptor must have been
/// opened for reading or with `O_PATH`. In all other respects, this function behaves like [`execve`].
///
/// If the kernel lacks `execveat` or a filter rejects it, this function executes `/proc/self/fd/N`, where N
/// is the number of the descriptor. The interpreter of a script opens the script through the descriptor. If
/// the descriptor is close-on-exec, executing a script fails with `ENOENT`.
///
/// # Errors
///
/// Any error of [`execve`].
///
/// # Examples
///
/// ```
/// use rawpipe::process::{self, Arg};
///
/// let file = std::fs::File::open("/bin/sh")?;
/// let argv = [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"exit 4"), Arg::END];
/// // SAFETY: the child only makes system calls.
/// let mut child = unsafe {
///     process::fork_with(|| match process::fexecve(&file, &argv, &[Arg::END]) {
///         Err(_) => 127,
///     })
/// }?;
/// assert_eq!(child.wait()?.code(), Some(4));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [fexecve(3)](https://man7.org/linux/man-pages/man3/fexecve.3.html)
pub fn fexecve(file: impl AsFd, argv: &[Arg<'_>], envp: &[Arg<'_>]) -> Result<Infallible> {
    let file = file.as_fd();
    match execveat(file, c"", argv, envp, ExecFlags::EMPTY_PATH) {
        // `is_missing` includes EPERM and EINVAL, which may also be errors of the exec itself. The fallback
        // then fails with the same error.
        Err(errno) if call::is_missing(errno) => {}
        // Some releases of Linux 5.10 return ENOENT for any empty path. On other releases ENOENT may concern
        // a script. The fallback would start the script's interpreter, which would not find the script.
        Err(Errno::ENOENT) if call::refuses_empty_path() => {}
        result => return result,
    }
    // `decimal` needs less stack than the standard formatting code.
    let mut path = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    decimal(&mut path[14..], file.as_raw_fd().unsigned_abs());
    match CStr::from_bytes_until_nul(&path) {
        Ok(path) => execve(path, argv, envp),
        Err(_) => Err(Errno::ENOENT),
    }
}

/// Writes a number of at most ten digits to the beginning of `buffer`. Returns the number of digits.
pub(super) fn decimal(buffer: &mut [u8], mut number: u32) -> usize {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    for digit in buffer.iter_mut().take(digits).rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// Searches for `program` in the directories of `path`, and replaces the program of this process as
/// [`execve`] does. Colons separate the directories. If `program` contains a slash, it is used as a path,
/// without a search.
///
/// An empty directory name means the current directory. This function does not read `PATH`: pass a search
/// path explicitly, or pass [`DEFAULT_PATH`]. A file whose format the kernel does not recognise is not passed
/// to a shell. The call uses about 4 KiB of stack.
///
/// # Errors
///
/// Any error of [`execve`], and
///
/// - [`EACCES`](Errno::EACCES) if no candidate could be executed, and the kernel denied access to at least
///   one of them.
/// - [`ENOENT`](Errno::ENOENT) if no directory contains the program.
///
/// The search skips a candidate if the file does not exist, if the path is too long, or if the file's disk or
/// network is not available. Any other error except `EACCES` ends the search, as in the C library. For
/// example, [`ELOOP`](Errno::ELOOP) or [`ENAMETOOLONG`](Errno::ENAMETOOLONG) for a directory in `path` ends
/// the search, even if a later directory contains the program.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::process::{Arg, DEFAULT_PATH, execvpe};
///
/// let nothing = [Arg::END];
/// let error = execvpe(c"no-such-program", DEFAULT_PATH, &nothing, &nothing);
/// assert_eq!(error, Err(Errno::ENOENT));
/// ```
///
/// [exec(3)](https://man7.org/linux/man-pages/man3/exec.3.html)
#[doc(alias = "execvp")]
pub fn execvpe(
    program: &CStr,
    path: &[u8],
    argv: &[Arg<'_>],
    envp: &[Arg<'_>],
) -> Result<Infallible> {
    let name = program.to_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return execve(program, argv, envp);
    }
    search(name, path, argv, envp)
}

/// Searches `path` for the program. This code is a separate function, so that a name with a slash needs
/// neither the buffer nor its stack pages.
#[inline(never)]
fn search(name: &[u8], path: &[u8], argv: &[Arg<'_>], envp: &[Arg<'_>]) -> Result<Infallible> {
    let mut error = Errno::ENOENT;
    let mut buffer = [0; PATH_MAX];
    for folder in path.split(|&byte| byte == b':') {
        let Some(candidate) = join(&mut buffer, folder, name) else { continue };
        match execve(candidate, argv, envp) {
            Err(Errno::EACCES) => error = Errno::EACCES,
            // These errors mean that the file does not exist, or that its disk or network is not available.
            Err(
                Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV | Errno::ESTALE | Errno::ETIMEDOUT,
            ) => {}
            result => return result,
        }
    }
    Err(error)
}

/// Writes the path `folder/name` to `buffer` and returns it. Returns `None` if the path is too long or
/// contains a NUL.
fn join<'a>(buffer: &'a mut [u8; PATH_MAX], folder: &[u8], name: &[u8]) -> Option<&'a CStr> {
    let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    let mut end = 0;
    for part in [folder, slash, name, b"\0"] {
        buffer.get_mut(end..)?.get_mut(..part.len())?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_with_nul(buffer.get(..end)?).ok()
}

/// Returns the search path that this environment sets, or the default.
#[cfg(feature = "process")]
pub(super) fn path_of<'a>(envp: &[Arg<'a>]) -> &'a [u8] {
    let variables = envp.iter().map_while(|variable| variable.as_c_str());
    let mut paths = variables.filter_map(|variable| variable.to_bytes().strip_prefix(b"PATH="));
    paths.next().unwrap_or(DEFAULT_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn join_makes_paths_and_nothing_else() {
        let mut buffer = [0; PATH_MAX];
        assert_eq!(join(&mut buffer, b"/bin", b"sh"), Some(c"/bin/sh"));
        assert_eq!(join(&mut buffer, b"", b"sh"), Some(c"sh"));
        assert_eq!(join(&mut buffer, b"/b\0in", b"sh"), None);
        let folder = vec![b'x'; PATH_MAX - 4];
        assert_eq!(join(&mut buffer, &folder, b"sh").map(CStr::count_bytes), Some(PATH_MAX - 1));
        assert_eq!(join(&mut buffer, &folder, b"ssh"), None);
    }
}
