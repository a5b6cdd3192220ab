//! A pipe, a child that writes into it, and its parent, which reads, compares and waits: without std,
//! without an allocator and without a C library.
#![no_std]
#![no_main]

use core::arch::global_asm;
use rawpipe::process;

const WORDS: &[u8; 20] = b"Hello from the child";

// The entry point: it has no caller, and the stack is aligned as it is before a call.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {begin}", begin = sym begin);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "bl {begin}", begin = sym begin);

/// Exits with 0 if exactly the child's words arrived and the child exited with 0. The kernel then
/// closes the open descriptors.
extern "C" fn begin() -> ! {
    let Ok((reader, writer)) = rawpipe::pipe() else { process::exit(1) };
    let write = move || u8::from(writer.write(WORDS) != Ok(WORDS.len()));
    // SAFETY: there is one thread, and the child writes to the pipe and exits.
    let Ok(mut child) = (unsafe { process::fork_with(write) }) else { process::exit(2) };
    let mut got = [0; 32];
    let count = reader.read(&mut got);
    if count != Ok(WORDS.len()) || !got.iter().zip(WORDS).all(|(got, word)| got == word) {
        process::exit(3)
    }
    match child.wait() {
        Ok(status) if status.success() => process::exit(0),
        _ => process::exit(4),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    process::exit(5)
}

/// The function that the compiler may call to copy, and that a C library would provide. If the
/// compiler copies inline, the linker leaves it out.
///
/// # Safety
///
/// `from` is readable and `to` is writable for `count` bytes, and they do not overlap.
// SAFETY: there is no C library, so no other symbol has this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    for offset in 0..count {
        // SAFETY: within the readable bytes.
        let source = unsafe { from.add(offset) };
        // SAFETY: within the writable bytes.
        let target = unsafe { to.add(offset) };
        // SAFETY: as above.
        let byte = unsafe { source.read() };
        // SAFETY: as above. Volatile, or the compiler would turn this loop into a call of itself.
        unsafe { target.write_volatile(byte) };
    }
    to
}
