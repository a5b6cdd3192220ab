//! Replacing the program of this process, and finding one by its name.

use crate::fd::{AsFd, AsRawFd};
use crate::sys::abi::arg::Arg;
use crate::sys::abi::flags::ExecFlags;
use crate::sys::call;
use crate::{Errno, Result};
use core::convert::Infallible;
use core::ffi::CStr;

/// What a shell searches where nobody says otherwise.
pub const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// `PATH_MAX`, with the NUL: the kernel takes no longer path.
const PATH_MAX: usize = 4096;

/// Starts the program at `path` in the place of this one. Comes back only with an error.
///
/// No destructor runs and nothing that is buffered is written. Other threads end. Descriptors stay open
/// but for those that are close-on-exec; handlers of signals are reset; ignored signals stay ignored
/// (`SIGPIPE` is, in a Rust program) and blocked ones blocked.
///
/// It neither allocates nor touches thread-local storage, so a forked child may call it; the lists are
/// best made before the fork.
///
/// # Errors
///
/// - [`E2BIG`](Errno::E2BIG): the arguments and the environment are too long.
/// - [`EAGAIN`](Errno::EAGAIN): the process has changed its user, and the new one has more processes than
///   `RLIMIT_NPROC` allows.
/// - [`EACCES`](Errno::EACCES): it is not executable, no regular file, or a folder on the way is closed.
/// - [`EINVAL`](Errno::EINVAL): a list does not end with [`Arg::END`].
/// - [`ELOOP`](Errno::ELOOP), [`ENAMETOOLONG`](Errno::ENAMETOOLONG), [`ENOTDIR`](Errno::ENOTDIR): the
///   path is not one.
/// - [`ENOENT`](Errno::ENOENT): there is no such file, or not the interpreter that it names.
/// - [`ENOEXEC`](Errno::ENOEXEC): the kernel does not know what it is, such as a script without `#!`.
/// - [`ENOMEM`](Errno::ENOMEM): the kernel has not enough memory.
/// - [`ETXTBSY`](Errno::ETXTBSY): it is open for writing: perhaps only in a child that another thread
///   has just forked from who wrote it, until that child execs. Then it is worth another try.
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

/// As [`execve`], for a path that is relative to a folder, by a descriptor on it.
///
/// # Errors
///
/// As [`execve`], and [`ENOSYS`](Errno::ENOSYS) before Linux 3.19 and under some emulators.
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

/// As [`execve`], for the program that `file` is open on (for reading, or `O_PATH`).
///
/// Where the kernel has no `execveat`, by `/proc/self/fd`. A script is found by its interpreter through
/// the descriptor, and so not at all if that is close-on-exec (`ENOENT`).
///
/// # Errors
///
/// As [`execve`].
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
        // EPERM and EINVAL are a filter's, or of the program, and then the other call says the same.
        Err(errno) if call::is_missing(errno) => {}
        // From some releases of Linux 5.10, whose answer it is to any empty path. Else it is about a
        // script, whose interpreter would begin by the other way, and not find it.
        Err(Errno::ENOENT) if call::refuses_empty_path() => {}
        answer => return answer,
    }
    // Written out by hand: formatting may be more than a forked child has a stack for.
    let mut path = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    decimal(&mut path[14..], file.as_raw_fd().unsigned_abs());
    match CStr::from_bytes_until_nul(&path) {
        Ok(path) => execve(path, argv, envp),
        Err(_) => Err(Errno::ENOENT),
    }
}

/// Writes a number, of at most ten digits, at the beginning of `place`; returns how many it has.
pub(super) fn decimal(place: &mut [u8], mut number: u32) -> usize {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    for place in place.iter_mut().take(digits).rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// As [`execve`], for a program that is looked for in the folders of `path`, which are separated by
/// colons, unless its name has a slash in it.
///
/// An empty folder is the current one. There is no environment here to take a search path from: give
/// that of your own, or [`DEFAULT_PATH`]. A file that the kernel does not know is not given to a shell.
/// Uses about 4 KiB of stack.
///
/// # Errors
///
/// As [`execve`]; [`EACCES`](Errno::EACCES) if it was found and could not be executed and nothing else
/// was found, and [`ENOENT`](Errno::ENOENT) if it was found nowhere. A candidate that is longer than a
/// path may be is passed over. Any other error ends the search, as in the C library: among them
/// [`ELOOP`](Errno::ELOOP) and [`ENAMETOOLONG`](Errno::ENAMETOOLONG) of a folder in `path`, even if a
/// later folder has the program.
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

/// Apart from [`execvpe`], which needs no such buffer, nor its pages, where there is nothing to search.
#[inline(never)]
fn search(name: &[u8], path: &[u8], argv: &[Arg<'_>], envp: &[Arg<'_>]) -> Result<Infallible> {
    let mut error = Errno::ENOENT;
    let mut place = [0; PATH_MAX];
    for folder in path.split(|&byte| byte == b':') {
        let Some(candidate) = join(&mut place, folder, name) else { continue };
        match execve(candidate, argv, envp) {
            Err(Errno::EACCES) => error = Errno::EACCES,
            // Not there, or on a disk or in a network that is not there.
            Err(
                Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV | Errno::ESTALE | Errno::ETIMEDOUT,
            ) => {}
            answer => return answer,
        }
    }
    Err(error)
}

/// `folder/name`, or `None` where that is no path.
fn join<'a>(place: &'a mut [u8; PATH_MAX], folder: &[u8], name: &[u8]) -> Option<&'a CStr> {
    let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    let mut end = 0;
    for part in [folder, slash, name, b"\0"] {
        place.get_mut(end..)?.get_mut(..part.len())?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_with_nul(place.get(..end)?).ok()
}

/// The folders that a program with this environment would look for others in.
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
        let mut place = [0; PATH_MAX];
        assert_eq!(join(&mut place, b"/bin", b"sh"), Some(c"/bin/sh"));
        assert_eq!(join(&mut place, b"", b"sh"), Some(c"sh"));
        assert_eq!(join(&mut place, b"/b\0in", b"sh"), None);
        let folder = vec![b'x'; PATH_MAX - 4];
        assert_eq!(join(&mut place, &folder, b"sh").map(CStr::count_bytes), Some(PATH_MAX - 1));
        assert_eq!(join(&mut place, &folder, b"ssh"), None);
    }
}
