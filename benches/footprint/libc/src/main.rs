//! A pipe, a child that writes into it, and its parent, which reads, compares and waits: with the
//! functions of the C library.

use std::process::ExitCode;

const WORDS: &[u8; 20] = b"Hello from the child";

fn main() -> ExitCode {
    let mut fds = [-1; 2];
    // SAFETY: writes two numbers, and there is room for two.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return 1.into();
    }
    let [reader, writer] = fds;
    // SAFETY: there is one thread, and the child writes to the pipe and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: reads the words only.
        let count = unsafe { libc::write(writer, WORDS.as_ptr().cast(), WORDS.len()) };
        // SAFETY: no handler of `atexit` runs, and nothing is dropped.
        unsafe { libc::_exit((count != 20).into()) }
    }
    if pid < 0 {
        return 2.into();
    }
    // SAFETY: the program's own descriptor, which is not used again.
    unsafe { libc::close(writer) };
    let mut got = [0_u8; 32];
    // SAFETY: writes at most the length of the buffer to it.
    let count = unsafe { libc::read(reader, got.as_mut_ptr().cast(), got.len()) };
    if count != 20 || got[..WORDS.len()] != WORDS[..] {
        return 3.into();
    }
    let mut status = -1;
    // SAFETY: writes one number, to the place given.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid || status != 0 {
        return 4.into();
    }
    ExitCode::SUCCESS
}
