//! The program that the target `command` starts. The program writes its own state as lines of text to the
//! file `report` next to the directory of its executable, and exits with 42.
//!
//! The program defines no Rust `main`. Before a Rust `main`, the runtime opens missing standard streams and
//! ignores SIGPIPE, which would hide the state that the program reports.
//!
//! # Safety
//!
//! This file must correctly make one call to the C library, which fills an integer.
#![no_main]
#![allow(unsafe_code, reason = "prctl, and a main of C")]

use std::ffi::{c_char, c_int, c_ulong};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

unsafe extern "C" {
    fn prctl(option: c_int, place: *mut c_int, ...) -> c_int;
}

// SAFETY: this is the only `main` of the program, and it has the signature that C requires.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    match report() {
        Ok(()) => 42,
        Err(error) => error.raw_os_error().unwrap_or(1),
    }
}

fn report() -> io::Result<()> {
    let numbers: Vec<String> = fs::read_dir("/proc/self/fd")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    let mut text = String::new();
    for number in numbers {
        // The descriptor that this directory listing used is now closed, so skip it.
        let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { continue };
        let file = fs::metadata(format!("/proc/self/fd/{number}"))?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("");
        line(&mut text, "fd", &[&number, &identity(&file), flags.trim()]);
    }
    line(&mut text, "cwd", &[&identity(&fs::metadata("/proc/self/cwd")?)]);
    for name in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/self/{name}"))?;
        let mut hex = String::new();
        bytes.iter().for_each(|byte| _ = write!(hex, "{byte:02x}"));
        line(&mut text, name, &[&hex]);
    }
    for name in ["status", "limits"] {
        let all = fs::read_to_string(format!("/proc/self/{name}"))?;
        all.lines().for_each(|each| line(&mut text, name, &[each]));
    }
    line(&mut text, "stat", &[fs::read_to_string("/proc/self/stat")?.trim()]);
    let mut signal: c_int = -1;
    const PR_GET_PDEATHSIG: c_int = 2;
    let zero: c_ulong = 0;
    // SAFETY: the kernel stores an integer in `signal`.
    let answer = unsafe { prctl(PR_GET_PDEATHSIG, &raw mut signal, zero, zero, zero) };
    line(&mut text, "pdeathsig", &[&answer.to_string(), &signal.to_string()]);
    let program = fs::read_link("/proc/self/exe")?;
    line(&mut text, "exe", &[&program.to_string_lossy()]);
    let place = program.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?.join("report");
    let mut file = fs::File::options().write(true).truncate(true).open(place)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

fn line(text: &mut String, name: &str, words: &[&str]) {
    text.push_str(name);
    for word in words {
        text.push(' ');
        text.push_str(word);
    }
    text.push('\n');
}

fn identity(file: &fs::Metadata) -> String {
    format!("{}:{}", file.dev(), file.ino())
}
