//! Compares a limited transfer with `head -c`, and a fan-out with `tee`. Each test runs in its own process.
#![allow(unsafe_code, reason = "a signal's action by the C library")]

use crate::common::bytes::{all_of, data};
use crate::common::{self, child, file, skip};
use rawpipe::Errno;
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::{Command, ExitStatus, Signal};
use rawpipe::transfer::{Fanout, FanoutSink, Transfer, TransferError};
use std::fs::File;
use std::ops::ControlFlow;

/// Returns whether this program is from the GNU coreutils. If not, reports that the test is skipped.
fn is_gnu(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    let gnu = version.is_ok_and(|output| output.stdout.windows(3).any(|text| text == b"GNU"));
    if !gnu {
        skip("filters", &format!("no GNU {program} here"));
    }
    gnu
}

/// `head -c` and a transfer with a limit write the same bytes. Both leave the same bytes in the pipe for the
/// next program.
fn limit_takes_what_head_takes() {
    if !is_gnu("head") {
        return;
    }
    let bytes = data(100_000);
    for limit in [0_u32, 1, 4095, 4096, 4097, 65_536, 99_999, 100_000, 100_001] {
        let seen = [false, true].map(|ours| {
            let builder = Builder::new().capacity(Capacity::Bytes(1 << 20));
            let (reader, writer) = builder.build().unwrap();
            writer.write_all(&bytes).unwrap();
            drop(writer);
            let output = file(b"");
            let status = if ours {
                Transfer::new().limit(limit.into()).run(&reader, &output).is_ok()
            } else {
                let mut head = Command::new("head");
                head.arg("-c").arg(limit.to_string());
                head.stdin(reader.try_clone().unwrap()).stdout(output.try_clone().unwrap());
                head.status().unwrap().success()
            };
            (status, all_of(&output), reader.available().unwrap())
        });
        assert!(seen[0] == seen[1], "{limit}: {} and {} left", seen[0].2, seen[1].2);
    }
}

/// Runs `tee` or an equivalent fan-out, with standard output and two files as sinks. `mode` is the value of
/// `--output-error`, or `None` if this option is left out. Returns the exit status and the contents of the
/// two files.
fn teed(ours: bool, mode: Option<&str>, bytes: &[u8], output: &File) -> (ExitStatus, [Vec<u8>; 2]) {
    let paths = [common::tmp_path(), common::tmp_path()];
    let input = file(bytes);
    let status = if ours {
        let mut running = child(|| {
            let files = paths.each_ref().map(|path| File::create(path).unwrap());
            let mut sinks = [output, &files[0], &files[1]].map(FanoutSink::new);
            let mut failed = false;
            let mut tell = |_: usize, error: &TransferError| {
                let quiet = error.errno() == Some(Errno::EPIPE)
                    && mode.is_some_and(|mode| mode.ends_with("-nopipe"));
                failed |= !quiet;
                match mode.is_some_and(|mode| mode.starts_with("exit")) && !quiet {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let fan = Fanout::new().on_error(&mut tell);
            let fan = if mode.is_none() { fan.raise_sigpipe() } else { fan };
            let _ = fan.run(&input, &mut sinks);
            u8::from(failed)
        });
        running.wait().unwrap()
    } else {
        let mut tee = Command::new("tee");
        tee.args(mode.map(|mode| format!("--output-error={mode}"))).args(&paths);
        tee.stdin(input).stdout(output.try_clone().unwrap());
        tee.stderr(File::options().write(true).open("/dev/null").unwrap());
        tee.status().unwrap()
    };
    let files = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    (status, files)
}

/// In each mode, a fan-out and `tee` have the same exit status. Sinks that do not fail receive the same bytes
/// from the fan-out as from `tee`.
fn fanout_does_what_tee_does() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    if !is_gnu("tee") {
        return;
    }
    signal(Signal::PIPE.as_raw(), 0);
    let bytes = data(100_000);
    let modes = [None, Some("warn"), Some("warn-nopipe"), Some("exit"), Some("exit-nopipe")];
    for mode in modes {
        for kind in ["file", "full", "no reader"] {
            let seen = [false, true].map(|ours| {
                let output = match kind {
                    "file" => file(b""),
                    "full" => File::options().write(true).open("/dev/full").unwrap(),
                    _ => File::from(std::os::fd::OwnedFd::from(rawpipe::pipe().unwrap().1)),
                };
                let (status, files) = teed(ours, mode, &bytes, &output);
                let whole = files.iter().all(|arrived| *arrived == bytes);
                assert!(files.iter().all(|arrived| bytes.starts_with(arrived)));
                let output = if kind == "file" { all_of(&output) } else { Vec::new() };
                (status.code(), status.signal(), whole, output)
            });
            assert!(seen[0] == seen[1], "{mode:?}, {kind}: {:?} {:?}", &seen[0], &seen[1]);
        }
    }
}

pub(crate) const TESTS: common::Tests =
    common::tests![limit_takes_what_head_takes, fanout_does_what_tee_does];
