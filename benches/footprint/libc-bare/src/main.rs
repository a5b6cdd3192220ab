//! The measured program without std. It calls the functions of the C library through the crate libc.
#![no_std]
#![no_main]

const WORDS: &[u8; 20] = b"Hello from the child";

/// The entry point that the C library calls.
// SAFETY: no other symbol in this program has this name.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let mut fds = [-1; 2];
    // SAFETY: the call writes two numbers, and the array holds two.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return 1;
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
        return 2;
    }
    // SAFETY: this program owns the descriptor and does not use it again.
    unsafe { libc::close(writer) };
    let mut got = [0_u8; 32];
    // SAFETY: the call writes at most `got.len()` bytes to the buffer.
    let count = unsafe { libc::read(reader, got.as_mut_ptr().cast(), got.len()) };
    if count != 20 || !got.iter().zip(WORDS).all(|(got, word)| got == word) {
        return 3;
    }
    let mut status = -1;
    // SAFETY: the call writes one number to `status`.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if waited == pid && status == 0 { 0 } else { 4 }
}

#[link(name = "c")]
unsafe extern "C" {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: `_exit` runs no `atexit` handlers and drops no values.
    unsafe { libc::_exit(5) }
}
