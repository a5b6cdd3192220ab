//! The measured program without std, an allocator or a C library.
#![no_std]
#![no_main]

use core::arch::global_asm;
use rawpipe::process;

const WORDS: &[u8; 20] = b"Hello from the child";

// The program starts here. The kernel has aligned the stack as a call requires.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {begin}", begin = sym begin);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "bl {begin}", begin = sym begin);

/// Exits with 0 if exactly the child's bytes arrived and the child exited with 0. On exit, the kernel closes
/// the open descriptors.
extern "C" fn begin() -> ! {
    let Ok((reader, writer)) = rawpipe::pipe() else { process::exit(1) };
    let write = move || u8::from(writer.write(WORDS) != Ok(WORDS.len()));
    // SAFETY: this process has one thread, and the child only writes to the pipe and exits.
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

/// Copies bytes. The compiler may emit calls to this function, which a C library would otherwise provide. If
/// the compiler copies the bytes inline instead, the linker omits the function.
///
/// # Safety
///
/// `from` must be readable and `to` must be writable for `count` bytes, and the two ranges must not overlap.
// SAFETY: there is no C library, so no other symbol has this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    for offset in 0..count {
        // SAFETY: `offset` is within the readable bytes.
        let source = unsafe { from.add(offset) };
        // SAFETY: `offset` is within the writable bytes.
        let target = unsafe { to.add(offset) };
        // SAFETY: as above.
        let byte = unsafe { source.read() };
        // SAFETY: as above. The write is volatile, because the compiler would otherwise turn this loop into a
        // call to this function.
        unsafe { target.write_volatile(byte) };
    }
    to
}
