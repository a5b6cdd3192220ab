//! The measured program with std. It calls the functions of the C library through the crate libc.

use std::process::ExitCode;

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    let mut fds = [-1; 2];
    // SAFETY: the call writes two numbers, and the array holds two.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return 1.into();
    }
    let [reader, writer] = fds;
    // SAFETY: this process has one thread, and the child only writes to the pipe and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: the call only reads the words.
        let count = unsafe { libc::write(writer, WORDS.as_ptr().cast(), WORDS.len()) };
        // SAFETY: `_exit` runs no `atexit` handlers and drops no values.
        unsafe { libc::_exit((count != 20).into()) }
    }
    if pid < 0 {
        return 2.into();
    }
    // SAFETY: this program owns the descriptor and does not use it again.
    unsafe { libc::close(writer) };
    let mut got = [0_u8; 32];
    // SAFETY: the call writes at most `got.len()` bytes to the buffer.
    let count = unsafe { libc::read(reader, got.as_mut_ptr().cast(), got.len()) };
    if count != 20 || got[..WORDS.len()] != WORDS[..] {
        return 3.into();
    }
    let mut status = -1;
    // SAFETY: the call writes one number to `status`.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid || status != 0 {
        return 4.into();
    }
    ExitCode::SUCCESS
}
