//! Each function in this file completes its set-up and then repeats one operation [`TURNS`] times.
//! `.ci/guard/run.sh` uses callgrind to count the instructions of one function at a time.

use rawpipe::process::Command;
use rawpipe::transfer::Transfer;
use rawpipe::{PipeReader, PipeWriter};
use std::fs::File;
use std::hint::black_box;

const TURNS: usize = 100;
/// The number of bytes that a transfer moves: two pages in chunks of half a page, so that the transfer loops.
const BYTES: usize = 8192;

struct Setting {
    reader: PipeReader,
    writer: PipeWriter,
    null: File,
    bytes: Vec<u8>,
}

/// Writes one byte to a pipe that is not full.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted_write(setting: &mut Setting) {
    for _ in 0..TURNS {
        assert_eq!(setting.writer.write(black_box(&[1])), Ok(1));
    }
}

/// Reads one byte that is available.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted_read(setting: &mut Setting) {
    for _ in 0..TURNS {
        assert_eq!(setting.reader.read(black_box(&mut [0])), Ok(1));
    }
}

/// Creates a pipe and closes both ends.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted_pipe2(_: &mut Setting) {
    for _ in 0..TURNS {
        black_box(rawpipe::pipe().expect("a pipe"));
    }
}

/// Writes bytes to a pipe and transfers the bytes to `/dev/null`.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted_transfer(setting: &mut Setting) {
    for _ in 0..TURNS {
        setting.writer.write_all(&setting.bytes).expect("room");
        let bytes = BYTES as u64;
        let done = Transfer::new()
            .exact(bytes)
            .chunk(2048)
            .run(&setting.reader, &setting.null)
            .expect("moved");
        assert_eq!(done.bytes(), bytes);
    }
}

/// Runs all steps of a command before the creation of a process. The start then fails because the directory
/// is missing.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted_command(_: &mut Setting) {
    for _ in 0..TURNS {
        let mut command = Command::new("/nowhere/program");
        command.args(["one", "two", "three"]).env_clear().env("NAME", "value");
        assert!(black_box(command.spawn()).is_err());
    }
}

fn main() {
    let (reader, writer) = rawpipe::pipe().expect("a pipe");
    let null = File::options().write(true).open("/dev/null").expect("/dev/null");
    let mut setting = Setting { reader, writer, null, bytes: vec![7; BYTES] };
    counted_write(&mut setting);
    counted_read(&mut setting);
    counted_pipe2(&mut setting);
    counted_transfer(&mut setting);
    counted_command(&mut setting);
}
