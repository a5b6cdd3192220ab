//! Starts the command under a seccomp filter that reports `vmsplice` and `splice` calls.

use crate::{checked, kernel};
use libc::{c_int, c_long, c_ulong, sock_filter};
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCH: u32 = 0xc000_00f3;

/// Starts the command. Returns the process id of the command, and the descriptor on which the filter reports
/// calls.
pub(crate) fn start(command: &[CString]) -> io::Result<(i32, OwnedFd)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut words: Vec<_> = command.iter().map(|word| word.as_ptr()).collect();
    words.push(std::ptr::null());
    // SAFETY: this process has a single thread, and the child only executes the command or exits.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => run(theirs, &words),
        child => {
            drop(theirs);
            let mut number = [0; 4];
            ours.read_exact(&mut number)?;
            let number = c_int::from_ne_bytes(number);
            if number < 0 {
                return Err(io::Error::from_raw_os_error(-number));
            }
            let listener = kernel::descriptor_of(&kernel::pidfd(child, 0)?, number)?;
            ours.write_all(&[0])?;
            Ok((child, listener))
        }
    }
}

/// Installs the filter and sends the number of its descriptor to the parent. Executes the command after the
/// parent has copied the descriptor.
fn run(mut parent: UnixStream, words: &[*const libc::c_char]) -> ! {
    let installed = install();
    let number = match &installed {
        Ok(listener) => listener.as_raw_fd(),
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    };
    let told = parent.write_all(&number.to_ne_bytes()).and_then(|()| parent.read_exact(&mut [0]));
    if installed.is_ok() && told.is_ok() {
        drop(installed);
        // std has set this signal to be ignored, but the command must start with the default action.
        // SAFETY: the call sets the default action, and installs no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: the list ends with a null pointer, and each word ends with a null byte.
        unsafe { libc::execvp(words[0], words.as_ptr()) };
        eprintln!("copying: {}", io::Error::last_os_error());
    }
    // SAFETY: the call only ends this process, without running the exit handlers that this process has
    // inherited from its parent.
    unsafe { libc::_exit(127) }
}

/// Installs the filter for this process and all processes that it starts. Returns the descriptor on which the
/// filter reports calls.
///
/// A call waits for its answer. Once this program has received the report of the call, only a fatal signal
/// ends the wait. If other signals also ended the wait, a signal could interrupt a call whose bytes are
/// already in the pipe. The caller would then send these bytes again.
fn install() -> io::Result<OwnedFd> {
    const LOAD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let number = |call: c_long| u32::try_from(call).expect("a small number");
    let mut steps = [
        step(LOAD, 0, 0, 4), // the architecture
        step(IF_EQUAL, 0, 3, ARCH),
        step(LOAD, 0, 0, 0), // the system call
        step(IF_EQUAL, 2, 0, number(libc::SYS_vmsplice)),
        step(IF_EQUAL, 1, 0, number(libc::SYS_splice)),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ];
    let program = libc::sock_fprog { len: 7, filter: steps.as_mut_ptr() };
    let flags: c_ulong =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the kernel reads the program and its steps.
    let set = || unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    let listener = checked(set()).or_else(|error| match error.raw_os_error() {
        // An unprivileged process may install a filter only if neither the process nor the programs that it
        // executes later can gain privileges.
        Some(libc::EACCES) => {
            // SAFETY: the call reads only integers.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            checked(set())
        }
        _ => Err(error),
    })?;
    // SAFETY: the call has just created this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(listener).expect("a descriptor")) })
}
