//! A pseudoterminal for tests.
#![allow(unsafe_code, reason = "requests to a terminal, by the C library")]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

unsafe extern "C" {
    fn ioctl(fd: i32, request: usize, ...) -> i32;
}

/// Returns a terminal in line mode, and the master through which a test types input.
pub(crate) fn terminal() -> (File, File) {
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTN: usize = 0x8004_5430;
    // Without this flag, a test process that leads its session would be killed by `SIGHUP` at the end of the
    // test.
    const O_NOCTTY: i32 = 0o400;
    let mut options = File::options();
    options.read(true).write(true).custom_flags(O_NOCTTY);
    let keyboard = options.open("/dev/ptmx").unwrap();
    let mut number = 0;
    // SAFETY: the call reads an `int` and unlocks the terminal.
    assert_eq!(unsafe { ioctl(keyboard.as_raw_fd(), TIOCSPTLCK, &raw mut number) }, 0);
    // SAFETY: the call writes an `int`.
    assert_eq!(unsafe { ioctl(keyboard.as_raw_fd(), TIOCGPTN, &raw mut number) }, 0);
    let path = format!("/dev/pts/{number}");
    (options.open(path).unwrap(), keyboard)
}

/// Sets whether the terminal expands output: a newline becomes two bytes and a tab becomes up to eight.
pub(crate) fn set_output(terminal: &File, expands: bool) {
    const TCGETS: usize = 0x5401;
    const TCSETS: usize = 0x5402;
    const OPOST_ONLCR_XTABS: i32 = 0o14_005;
    // The second word of `struct termios` holds the output flags. The structure is smaller than this array.
    let mut settings = [0_i32; 32];
    // SAFETY: the call writes one `struct termios`, which fits in the local array.
    assert_eq!(unsafe { ioctl(terminal.as_raw_fd(), TCGETS, settings.as_mut_ptr()) }, 0);
    settings[1] = if expands { OPOST_ONLCR_XTABS } else { 0 };
    // SAFETY: the call reads one `struct termios`, which was filled above.
    assert_eq!(unsafe { ioctl(terminal.as_raw_fd(), TCSETS, settings.as_mut_ptr()) }, 0);
}

/// Returns whether tests can use terminals, and prints a line if they cannot. The request numbers above are
/// valid only on some architectures, and tests do not use terminals under an emulator.
pub(crate) fn terminals() -> bool {
    let here = cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && !super::emulated();
    if !here || !fs::exists("/dev/ptmx").unwrap_or(false) {
        super::say("SKIPPED terminals: none to be had");
        return false;
    }
    true
}
