//! The example `pump`, as its users see it: every kind of input and output, the same bytes, and the
//! message when it cannot.
//!
//! `RAWPIPE_PUMP_BYTES` says how much is moved (16 MiB without; 1 MiB under an emulator).
#![allow(unsafe_code, reason = "a pseudo terminal and a seccomp filter by raw system calls")]
#![cfg(all(feature = "std", feature = "transfer"))]

mod common;

use crate::common::nr;
use rawpipe::fd::OwnedFd;
use rawpipe::pipe::{self, Capacity};
use rawpipe::{Errno, raw};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;
use std::{env, process};

// ---------------------------------------------------------------- what is moved

/// Pseudo-random bytes in a file.
struct Source {
    file: File,
    bytes: u64,
}

impl Source {
    fn new(bytes: u64) -> Self {
        let file = scratch_file();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            for word in block.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            file.write_all_at(&block, at).unwrap();
            at += 1 << 20;
        }
        file.set_len(bytes).unwrap();
        Self { file, bytes }
    }

    /// The one that most tests share.
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Source> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::new(match env::var("RAWPIPE_PUMP_BYTES") {
                Ok(bytes) => bytes.parse().expect("a number of bytes"),
                // Not a whole number of pages, and more than a pipe takes: its reader may be gone late.
                Err(_) if common::slow() => (5 << 18) - 1,
                Err(_) => (16 << 20) - 1,
            })
        })
    }

    fn path(&self) -> PathBuf {
        path(&self.file)
    }

    /// Opened once more, at its begin.
    fn open(&self) -> File {
        File::open(self.path()).unwrap()
    }

    /// Writes all of it.
    fn feed(&self, to: impl Write) {
        self.feed_by(to, 64 << 10, Duration::ZERO);
    }

    /// Writes all of it in small pieces, with a pause before each.
    fn feed_by(&self, mut to: impl Write, piece: usize, pause: Duration) {
        let mut from = self.open();
        let mut buf = vec![0; piece];
        loop {
            let count = from.read(&mut buf).unwrap();
            if count == 0 {
                return;
            }
            if !pause.is_zero() {
                thread::sleep(pause);
            }
            to.write_all(&buf[..count]).unwrap();
        }
    }

    /// Reads to the end: it must be these bytes, neither less nor more.
    fn check(&self, mut from: impl Read) {
        let mut buf = vec![0; 256 << 10];
        let mut expected = buf.clone();
        let mut at = 0;
        loop {
            let count = from.read(&mut buf).unwrap();
            if count == 0 {
                break;
            }
            let end = at + count as u64;
            assert!(end <= self.bytes, "{end} bytes or more instead of {}", self.bytes);
            self.file.read_exact_at(&mut expected[..count], at).unwrap();
            assert!(buf[..count] == expected[..count], "a difference within bytes {at} to {end}");
            at = end;
        }
        assert_eq!(at, self.bytes, "the number of bytes");
    }

    /// The same for what is in a file from `start` on.
    fn check_file(&self, file: &File, start: u64) {
        let mut file = File::open(path(file)).unwrap();
        file.seek(SeekFrom::Start(start)).unwrap();
        self.check(file);
    }
}

/// A file that is gone with its last descriptor, however the test ends.
fn scratch_file() -> File {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("rawpipe-pump-{}-{number}", process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

/// A path by which this process and those that it starts can open the file again.
fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()))
}

// ---------------------------------------------------------------- who moves it

fn pump<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let mut command = common::program(PATH.get_or_init(|| common::example("pump")));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A running pump. Killed when the test has failed, and when it hangs.
struct Running {
    child: Child,
    _watched: Sender<()>,
}

struct Ended {
    status: Option<i32>,
    errors: String,
}

impl Running {
    /// Takes the command, so that no end of a pipe that it was given stays open here.
    fn start(command: Command) -> Self {
        Self::try_start(command).unwrap()
    }

    fn try_start(mut command: Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let pid = usize::try_from(child.id()).unwrap();
        let (watched, end) = mpsc::channel();
        thread::spawn(move || {
            if end.recv_timeout(Duration::from_secs(300)) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: `kill` touches no memory; `end` disconnects when the child is reaped.
                unsafe { raw::syscall2(nr::KILL, pid, 9) };
            }
        });
        Ok(Self { child, _watched: watched })
    }

    fn input(&mut self) -> process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    fn output(&mut self) -> process::ChildStdout {
        self.child.stdout.take().unwrap()
    }

    fn end(mut self) -> Ended {
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut errors).unwrap();
        }
        Ended { status: self.child.wait().unwrap().code(), errors }
    }

    /// Clock ticks (usually 10 ms) that it has computed.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// While nothing can move it must sleep and not try again and again. It may need time to get
    /// there.
    fn assert_idle(&self) {
        let mut ticks = 0;
        for _ in 0..40 {
            let before = self.ticks();
            thread::sleep(Duration::from_millis(250));
            ticks = self.ticks() - before;
            if ticks <= 2 {
                return;
            }
        }
        panic!("{ticks} ticks of work in 250 ms with nothing to do");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// It went well, without a word.
    fn assert_silent(&self) {
        assert_eq!((self.status, self.errors.as_str()), (Some(0), ""));
    }

    /// It went well, and `--stats` says so. One of several mechanisms is written `one|another`.
    fn assert_moved(&self, bytes: u64, mechanism: &str) {
        assert_eq!(self.status, Some(0), "{}", self.errors);
        let said: Vec<&str> = self.errors.trim_end().split(", ").collect();
        let [count, seconds, rate, how] = said[..] else { panic!("{}", self.errors) };
        assert_eq!(count, format!("{bytes} bytes"));
        assert!(mechanism.split('|').any(|one| one == how), "{how}, not {mechanism}");
        let seconds: f64 = seconds.strip_suffix(" s").unwrap().parse().unwrap();
        let rate: f64 = rate.strip_suffix(" GiB/s").unwrap().parse().unwrap();
        assert!(seconds >= 0.0 && rate >= 0.0, "{}", self.errors);
        assert!(self.errors.ends_with('\n'), "{:?}", self.errors);
    }

    /// It failed and said why on one line.
    fn assert_failed(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}", self.errors);
        assert_eq!(self.errors.lines().count(), 1, "{}", self.errors);
        assert!(self.errors.starts_with("pump: "), "{}", self.errors);
        for part in parts {
            assert!(self.errors.contains(part), "{part:?} is not in {}", self.errors);
        }
    }

    /// As if SIGPIPE had ended it.
    fn assert_broken(&self) {
        assert_eq!((self.status, self.errors.as_str()), (Some(141), ""));
    }
}

/// Feeds `source` into standard input, a pipe, and waits for the end.
fn feed_pipe(source: &Source, mut command: Command) -> Ended {
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    source.feed(running.input());
    running.end()
}

/// Checks that standard output, a pipe, gets `source`, and waits for the end.
fn check_pipe(source: &Source, mut command: Command) -> Ended {
    command.stdout(Stdio::piped());
    let mut running = Running::start(command);
    source.check(running.output());
    running.end()
}

fn stdio(end: impl Into<OwnedFd>) -> Stdio {
    end.into().into()
}

// ---------------------------------------------------------------- the same bytes

#[test]
fn pump_file_to_file() {
    let (source, out) = (Source::shared(), scratch_file());
    let mut command = pump(["--stats".as_ref(), source.path().as_os_str()]);
    command.stdout(out.try_clone().unwrap());
    Running::start(command).end().assert_moved(source.bytes, "copy_file_range|sendfile");
    source.check_file(&out, 0);
}

#[test]
fn pump_file_to_pipe() {
    let source = Source::shared();
    let command = pump(["--stats".as_ref(), source.path().as_os_str()]);
    check_pipe(source, command).assert_moved(source.bytes, "splice");
}

#[test]
fn pump_pipe_to_file() {
    let (source, out) = (Source::shared(), scratch_file());
    let mut command = pump(["--stats"]);
    command.stdout(out.try_clone().unwrap());
    feed_pipe(source, command).assert_moved(source.bytes, "broker");
    source.check_file(&out, 0);
}

#[test]
fn pump_pipe_to_pipe() {
    let source = Source::shared();
    let mut command = pump(["--stats", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::start(command);
    let (input, output) = (running.input(), running.output());
    thread::scope(|scope| {
        scope.spawn(|| source.feed(input));
        source.check(output);
    });
    running.end().assert_moved(source.bytes, "splice");
}

/// `pump FILE | pump | pump > out`
#[test]
fn pump_pipeline_of_three() {
    let (source, out) = (Source::shared(), scratch_file());
    let mut command = pump([source.path()]);
    let (reader, writer) = rawpipe::pipe().unwrap();
    command.stdout(writer);
    let first = Running::start(command);
    let mut command = pump(["-"]);
    let (next_reader, writer) = rawpipe::pipe().unwrap();
    command.stdin(reader).stdout(writer);
    let second = Running::start(command);
    let mut command = pump(["--stats"]);
    command.stdin(next_reader).stdout(out.try_clone().unwrap());
    Running::start(command).end().assert_moved(source.bytes, "broker");
    second.end().assert_silent();
    first.end().assert_silent();
    source.check_file(&out, 0);
}

#[test]
fn pump_file_to_appended_file() {
    let (source, out) = (Source::shared(), scratch_file());
    out.write_all_at(b"earlier", 0).unwrap();
    let mut command = pump(["--stats".as_ref(), source.path().as_os_str()]);
    command.stdout(OpenOptions::new().append(true).open(path(&out)).unwrap());
    Running::start(command).end().assert_moved(source.bytes, "copy");
    let mut earlier = [0; 7];
    out.read_exact_at(&mut earlier, 0).unwrap();
    assert_eq!(&earlier, b"earlier");
    source.check_file(&out, 7);
}

#[test]
fn pump_pipe_to_appended_file() {
    let (source, out) = (Source::shared(), scratch_file());
    let mut command = pump(["--stats"]);
    command.stdout(OpenOptions::new().append(true).open(path(&out)).unwrap());
    feed_pipe(source, command).assert_moved(source.bytes, "copy");
    source.check_file(&out, 0);
}

#[test]
fn pump_socket_to_pipe() {
    let source = Source::shared();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(stdio(theirs));
    thread::scope(|scope| {
        scope.spawn(move || source.feed(ours));
        check_pipe(source, command).assert_moved(source.bytes, "broker");
    });
}

#[test]
fn pump_pipe_to_socket() {
    let source = Source::shared();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = pump(["--stats"]);
    command.stdout(stdio(theirs));
    thread::scope(|scope| {
        scope.spawn(|| feed_pipe(source, command).assert_moved(source.bytes, "broker"));
        source.check(ours);
    });
}

#[test]
fn pump_socket_to_socket() {
    let source = Source::shared();
    let (writer, input) = UnixStream::pair().unwrap();
    let (reader, output) = UnixStream::pair().unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(stdio(input)).stdout(stdio(output));
    let running = Running::start(command);
    thread::scope(|scope| {
        scope.spawn(move || source.feed(writer));
        source.check(reader);
    });
    running.end().assert_moved(source.bytes, "broker");
}

#[test]
fn pump_file_to_null() {
    let source = Source::shared();
    let command = pump(["--stats".as_ref(), source.path().as_os_str()]);
    Running::start(command).end().assert_moved(source.bytes, "sendfile");
}

#[test]
fn pump_pipe_to_null() {
    let source = Source::shared();
    feed_pipe(source, pump(["--stats"])).assert_moved(source.bytes, "splice");
}

/// Standard input goes on where it stands, as after `head -c 1000 > /dev/null`.
#[test]
fn pump_file_from_its_position() {
    let (source, out) = (Source::new(100_000), scratch_file());
    let mut input = source.open();
    input.seek(SeekFrom::Start(1000)).unwrap();
    let mut command = pump(["--stats", "-"]);
    command.stdin(input.try_clone().unwrap()).stdout(out.try_clone().unwrap());
    Running::start(command).end().assert_moved(99_000, "copy_file_range|sendfile");
    assert_eq!(input.stream_position().unwrap(), 100_000);
    let (mut moved, mut expected) = (Vec::new(), vec![0; 99_000]);
    File::open(path(&out)).unwrap().read_to_end(&mut moved).unwrap();
    source.file.read_exact_at(&mut expected, 1000).unwrap();
    assert!(moved == expected);
}

#[test]
fn pump_empty_input() {
    let source = Source::new(0);
    let out = scratch_file();
    let mut command = pump([source.path()]);
    command.stdout(out.try_clone().unwrap());
    Running::start(command).end().assert_silent();
    assert_eq!(out.metadata().unwrap().len(), 0);
    check_pipe(&source, pump([source.path()])).assert_silent();
    feed_pipe(&source, pump(["--stats"])).assert_moved(0, "splice");
    check_pipe(&source, pump(["/dev/null"])).assert_silent();
}

/// Files that are made up as they are read, and whose length says nothing.
#[test]
fn pump_file_of_procfs_and_sysfs() {
    for name in ["/proc/version", "/sys/devices/system/cpu/possible"] {
        let Ok(text) = fs::read(name) else {
            common::skip("pump_file_of_procfs_and_sysfs", name);
            continue;
        };
        let bytes = text.len() as u64;
        let out = scratch_file();
        let mut command = pump(["--stats", name]);
        command.stdout(out.try_clone().unwrap());
        let ended = Running::start(command).end();
        assert!(ended.errors.starts_with(&format!("{bytes} bytes, ")), "{}", ended.errors);
        assert_eq!(fs::read(path(&out)).unwrap(), text, "{name} to a file");

        let mut command = pump([name]);
        command.stdout(Stdio::piped());
        let mut running = Running::start(command);
        let mut moved = Vec::new();
        running.output().read_to_end(&mut moved).unwrap();
        running.end().assert_silent();
        assert_eq!(moved, text, "{name} to a pipe");
    }
}

#[test]
fn pump_chunk_sizes() {
    let sizes = [
        ("1", 1000),
        ("3", 2000),
        ("4096", 100_000),
        ("4K", 5000),
        ("65536", 1 << 20),
        ("5M", (6 << 20) + 5),
        ("1G", 1 << 20),
        ("5G", 1 << 20),
    ];
    for (chunk, bytes) in sizes {
        let source = Source::new(bytes);
        let with = || pump(["--stats", "--chunk", chunk]);
        // A spliced byte takes a whole page's place in a pipe, so pieces below a page are copied.
        let by = |large| if ["1", "3"].contains(&chunk) { "copy" } else { large };

        let mut command = with();
        command.stdin(source.open());
        check_pipe(&source, command).assert_moved(bytes, by("splice"));

        let out = scratch_file();
        let mut command = with();
        command.stdin(source.open()).stdout(out.try_clone().unwrap());
        Running::start(command).end().assert_moved(bytes, by("copy_file_range|sendfile"));
        source.check_file(&out, 0);

        let out = scratch_file();
        let mut command = with();
        command.stdin(source.open());
        command.stdout(OpenOptions::new().append(true).open(path(&out)).unwrap());
        Running::start(command).end().assert_moved(bytes, "copy");
        source.check_file(&out, 0);

        let out = scratch_file();
        let mut command = pump([format!("--chunk={chunk}"), "--stats".to_owned()]);
        command.stdout(out.try_clone().unwrap());
        feed_pipe(&source, command).assert_moved(bytes, by("broker"));
        source.check_file(&out, 0);
    }
}

/// One page of room at either side, which it enlarges if it may.
#[test]
fn pump_small_pipes() {
    let source = Source::shared();
    let one_page = || pipe::Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    let ((input, to_input), (from_output, output)) = (one_page(), one_page());
    let before = output.capacity().unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(input).stdout(output);
    let running = Running::start(command);
    thread::scope(|scope| {
        scope.spawn(|| source.feed(to_input));
        source.check(&from_output);
    });
    running.end().assert_moved(source.bytes, "splice");
    let (_reader, control) = one_page();
    if control.set_capacity(Capacity::Max).unwrap() > before {
        assert!(from_output.capacity().unwrap() > before, "not enlarged");
    }
}

// ---------------------------------------------------------------- not ready

#[test]
fn pump_to_full_nonblocking_pipe() {
    let source = Source::shared();
    let (reader, writer) = pipe::Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    writer.set_nonblocking(true).unwrap();
    let mut command = pump(["--stats".as_ref(), source.path().as_os_str()]);
    command.stdout(writer);
    let running = Running::start(command);
    running.assert_idle();
    source.check(reader);
    running.end().assert_moved(source.bytes, "splice");
}

#[test]
fn pump_from_empty_nonblocking_pipe() {
    let source = Source::new(200_003);
    let (reader, writer) = rawpipe::pipe().unwrap();
    reader.set_nonblocking(true).unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(reader).stdout(Stdio::piped());
    let mut running = Running::start(command);
    let output = running.output();
    running.assert_idle();
    thread::scope(|scope| {
        scope.spawn(|| source.feed_by(writer, 5000, Duration::from_millis(2)));
        source.check(output);
    });
    running.end().assert_moved(source.bytes, "splice");
}

#[test]
fn pump_nonblocking_pipe_to_nonblocking_pipe() {
    let source = Source::shared();
    let (input, to_input) = rawpipe::pipe().unwrap();
    let (from_output, output) = rawpipe::pipe().unwrap();
    input.set_nonblocking(true).unwrap();
    output.set_nonblocking(true).unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(input).stdout(output);
    let running = Running::start(command);
    thread::scope(|scope| {
        scope.spawn(|| source.feed(to_input));
        running.assert_idle(); // its output is full
        source.check(from_output);
    });
    running.end().assert_moved(source.bytes, "splice");
}

#[test]
fn pump_nonblocking_socket_to_nonblocking_socket() {
    let source = Source::shared();
    let (writer, input) = UnixStream::pair().unwrap();
    let (reader, output) = UnixStream::pair().unwrap();
    input.set_nonblocking(true).unwrap();
    output.set_nonblocking(true).unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(stdio(input)).stdout(stdio(output));
    let running = Running::start(command);
    running.assert_idle(); // its input is empty
    thread::scope(|scope| {
        scope.spawn(move || source.feed(writer));
        running.assert_idle(); // its output is full
        source.check(reader);
    });
    running.end().assert_moved(source.bytes, "broker");
}

#[test]
fn pump_nonblocking_pipe_to_appended_file() {
    let (source, out) = (Source::new(200_003), scratch_file());
    let (reader, writer) = rawpipe::pipe().unwrap();
    reader.set_nonblocking(true).unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(reader).stdout(OpenOptions::new().append(true).open(path(&out)).unwrap());
    let running = Running::start(command);
    source.feed_by(writer, 5000, Duration::from_millis(2));
    running.end().assert_moved(source.bytes, "copy");
    source.check_file(&out, 0);
}

// ---------------------------------------------------------------- no splice

/// Makes `splice` fail with this error in the program that the command starts.
fn refuse_splice(command: &mut Command, errno: Errno) {
    let filter = common::Filter::new(&[nr::SPLICE, nr::SENDFILE, nr::COPY_FILE_RANGE], errno);
    let filter = move || {
        if filter.install() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    };
    // SAFETY: the closure makes two system calls and does not allocate.
    unsafe { command.pre_exec(filter) };
}

#[test]
fn pump_where_splice_is_refused() {
    const NAME: &str = "pump_where_splice_is_refused";
    if common::emulated() {
        return common::skip(NAME, "no seccomp under an emulator");
    }
    let source = Source::shared();
    for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EINVAL, Errno::EOPNOTSUPP] {
        let out = scratch_file();
        let mut command = pump(["--stats".as_ref(), source.path().as_os_str()]);
        command.stdout(out.try_clone().unwrap());
        refuse_splice(&mut command, errno);
        let Ok(running) = Running::try_start(command) else {
            return common::skip(NAME, "no seccomp filter here");
        };
        running.end().assert_moved(source.bytes, "copy");
        source.check_file(&out, 0);

        let mut command = pump([source.path()]);
        refuse_splice(&mut command, errno);
        check_pipe(source, command).assert_silent();

        // Nothing of an error that means something else is hidden.
        let mut command = pump([source.path()]);
        command.stdout(Stdio::piped());
        refuse_splice(&mut command, errno);
        let mut running = Running::start(command);
        drop(running.output());
        running.end().assert_broken();
    }

    let (input, to_input) = rawpipe::pipe().unwrap();
    let (from_output, output) = rawpipe::pipe().unwrap();
    input.set_nonblocking(true).unwrap();
    output.set_nonblocking(true).unwrap();
    let mut command = pump(["--stats"]);
    command.stdin(input).stdout(output);
    refuse_splice(&mut command, Errno::ENOSYS);
    let running = Running::start(command);
    thread::scope(|scope| {
        scope.spawn(|| source.feed(to_input));
        running.assert_idle(); // its output is full
        source.check(from_output);
    });
    running.end().assert_moved(source.bytes, "copy");
}

#[test]
fn pump_tee_gives_everybody_everything() {
    let source = Source::shared();
    let (first, second) = (common::tmp_path(), common::tmp_path());
    let with = || {
        pump([
            "--stats".as_ref(),
            "--tee".as_ref(),
            first.as_os_str(),
            "--tee".as_ref(),
            second.as_os_str(),
        ])
    };
    let mut command = with();
    command.stdin(source.open());
    check_pipe(source, command).assert_moved(source.bytes, "tee");
    feed_pipe(source, with()).assert_moved(source.bytes, "tee");
    for path in [&first, &second] {
        source.check_file(&File::open(path).unwrap(), 0);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn pump_tee_to_a_full_device_fails_and_the_others_get_everything() {
    let source = Source::shared();
    let mut command = pump(["--tee", "/dev/full"]);
    command.stdin(source.open());
    check_pipe(source, command).assert_failed(1, &["output /dev/full", "ENOSPC"]);
    // The output pipe is broken, and the file gets everything all the same.
    let path = common::tmp_path();
    let mut command = pump(["--tee".as_ref(), path.as_os_str()]);
    command.stdin(source.open()).stdout(Stdio::piped());
    let mut running = Running::start(command);
    drop(running.output());
    running.end().assert_broken();
    source.check_file(&File::open(&path).unwrap(), 0);
    fs::remove_file(&path).unwrap();
}

// ---------------------------------------------------------------- what goes wrong

#[test]
fn pump_broken_output_pipe() {
    let source = Source::new(8 << 20);
    // The reader leaves in the middle, or was never there.
    for read in [100, 0] {
        let mut command = pump([source.path()]);
        command.stdout(Stdio::piped());
        let mut running = Running::start(command);
        let mut output = running.output();
        output.read_exact(&mut vec![0; read]).unwrap();
        drop(output);
        running.end().assert_broken();
    }
    // From a pipe.
    let mut command = pump(["--stats"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::start(command);
    drop(running.output());
    let mut input = running.input();
    // More than once: a process that another test is just starting may have a copy of the reader.
    while input.write_all(b"nobody reads this").is_ok() {}
    running.end().assert_broken();
    // By the broker.
    let (reader, output) = UnixStream::pair().unwrap();
    let mut command = pump([source.path()]);
    command.stdout(stdio(output));
    drop(reader);
    Running::start(command).end().assert_broken();
}

#[test]
fn pump_missing_input_enoent() {
    let ended = Running::start(pump(["/nonexistent/file"])).end();
    ended.assert_failed(1, &["pump: input /nonexistent/file: ", "no such file", "(ENOENT)"]);
}

#[test]
fn pump_directory_eisdir() {
    let folder = env::temp_dir();
    for to_pipe in [false, true] {
        let to = || if to_pipe { Stdio::piped() } else { Stdio::null() };
        let mut command = pump([&folder]);
        command.stdout(to());
        let name = format!("pump: input {}: ", folder.display());
        Running::start(command).end().assert_failed(1, &[&name, "(EISDIR)"]);
        let mut command = pump(["-"]);
        command.stdin(File::open(&folder).unwrap()).stdout(to());
        Running::start(command).end().assert_failed(1, &["pump: input: ", "(EISDIR)"]);
    }
}

#[test]
fn pump_full_output_enospc() {
    let source = Source::new(3 << 20);
    let full = || OpenOptions::new().write(true).open("/dev/full");
    if full().is_err() {
        return common::skip("pump_full_output_enospc", "no /dev/full");
    }
    let mut command = pump([source.path()]);
    command.stdout(full().unwrap());
    Running::start(command).end().assert_failed(1, &["pump: output: ", "(ENOSPC)"]);
    let mut command = pump(["--stats"]);
    command.stdin(Stdio::piped()).stdout(full().unwrap());
    let mut running = Running::start(command);
    running.input().write_all(b"one line\n").unwrap();
    running.end().assert_failed(1, &["pump: output: ", "(ENOSPC)"]);
}

#[test]
fn pump_wrong_direction_ebadf() {
    let source = Source::new(100);
    let mut command = pump([source.path()]);
    command.stdout(File::open("/dev/null").unwrap());
    Running::start(command).end().assert_failed(1, &["pump: output: ", "(EBADF)"]);
    let mut command = pump(["-"]);
    command.stdin(OpenOptions::new().write(true).open("/dev/null").unwrap());
    Running::start(command).end().assert_failed(1, &["pump: input: ", "(EBADF)"]);
}

#[test]
fn pump_file_to_itself() {
    let source = Source::new(10_000);
    let append = OpenOptions::new().append(true).open(source.path()).unwrap();
    let update = OpenOptions::new().write(true).open(source.path()).unwrap();
    for output in [append, update] {
        let mut command = pump([source.path()]);
        command.stdout(output);
        let ended = Running::start(command).end();
        ended.assert_failed(1, &["pump: input ", "input file is output file"]);
        assert_eq!(source.file.metadata().unwrap().len(), 10_000);
        Source::new(10_000).check_file(&source.file, 0);
    }
    // An empty one has an end.
    let empty = scratch_file();
    let mut command = pump([path(&empty)]);
    command.stdout(OpenOptions::new().append(true).open(path(&empty)).unwrap());
    Running::start(command).end().assert_silent();
    assert_eq!(empty.metadata().unwrap().len(), 0);
}

#[test]
fn pump_wrong_usage() {
    let wrong: &[&[&str]] = &[
        &["--chunk"],
        &["--chunk", "0"],
        &["--chunk", "0K"],
        &["--chunk", ""],
        &["--chunk", "K"],
        &["--chunk", "many"],
        &["--chunk", "-1"],
        &["--chunk", "+1"],
        &["--chunk", "1.5M"],
        &["--chunk", "1KK"],
        &["--chunk", "1T"],
        &["--chunk", " 1"],
        &["--chunk", "99999999999999999999"],
        &["--chunk", "18446744073709551615K"],
        &["--chunk="],
        &["--quiet=yes"],
        &["--stats="],
        &["--frobnicate"],
        &["-x"],
        &["/proc/version", "/proc/version"],
        &["-", "-"],
        &["--", "--stats", "-"],
    ];
    for arguments in wrong {
        let mut command = pump(*arguments);
        command.stdout(Stdio::piped());
        let mut running = Running::start(command);
        let mut printed = String::new();
        running.output().read_to_string(&mut printed).unwrap();
        assert_eq!(printed, "", "{arguments:?}");
        running.end().assert_failed(2, &["see pump --help"]);
    }
}

#[test]
fn pump_option_after_file_and_file_like_an_option() {
    let source = Source::new(1000);
    let file = source.path();
    let command = pump([file.as_os_str(), "--stats".as_ref()]);
    check_pipe(&source, command).assert_moved(1000, "splice");
    let ended = Running::start(pump(["--", "--stats"])).end();
    ended.assert_failed(1, &["pump: input --stats: ", "(ENOENT)"]);
}

#[test]
fn pump_help() {
    let mut command = pump(["--help"]);
    command.stdout(Stdio::piped());
    let mut running = Running::start(command);
    let mut printed = String::new();
    running.output().read_to_string(&mut printed).unwrap();
    running.end().assert_silent();
    for part in ["Usage: pump ", "--chunk", "--quiet", "--stats", "--help"] {
        assert!(printed.contains(part), "{printed}");
    }
}

// ---------------------------------------------------------------- progress

/// A pseudo terminal: what is written to the second is read from the first.
fn terminal() -> Result<(File, File), String> {
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTN: usize = 0x8004_5430;
    const O_NOCTTY: i32 = 0o400;
    let arch = env::consts::ARCH;
    if ["mips", "powerpc", "sparc"].iter().any(|family| arch.starts_with(family)) {
        return Err(format!("the terminal calls have other numbers on {arch}"));
    }
    let open = |path: &str| {
        let file = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(path);
        file.map_err(|error| format!("{path}: {error}"))
    };
    let ours = open("/dev/ptmx")?;
    let fd = usize::try_from(ours.as_raw_fd()).unwrap();
    let unlock = 0_i32;
    let pointer = (&raw const unlock).expose_provenance();
    // SAFETY: TIOCSPTLCK reads an int.
    let answer = unsafe { raw::syscall3(nr::IOCTL, fd, TIOCSPTLCK, pointer) };
    assert_eq!(answer, 0, "TIOCSPTLCK");
    let mut number = -1_i32;
    let pointer = (&raw mut number).expose_provenance();
    // SAFETY: TIOCGPTN writes an int.
    let answer = unsafe { raw::syscall3(nr::IOCTL, fd, TIOCGPTN, pointer) };
    assert_eq!(answer, 0, "TIOCGPTN");
    let theirs = open(&format!("/dev/pts/{number}"))?;
    Ok((ours, theirs))
}

/// Reads little and seldom until a text has shown up or so often, and then as fast as it can.
struct Slowly<R> {
    from: R,
    shown: Arc<Mutex<String>>,
    text: &'static str,
    times: u32,
}

impl<R: Read> Read for Slowly<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.times == 0 || self.shown.lock().unwrap().contains(self.text) {
            return self.from.read(buf);
        }
        self.times -= 1;
        thread::sleep(Duration::from_millis(250));
        let most = buf.len().min(64 << 10);
        self.from.read(&mut buf[..most])
    }
}

/// Starts the command with a terminal as its standard error, moves `source`, and returns what the
/// terminal has shown in the end. The output is read as [`Slowly`] does.
fn on_terminal(
    source: &Source,
    mut command: Command,
    text: &'static str,
    times: u32,
    feed: bool,
) -> Result<String, String> {
    let (mut ours, theirs) = terminal()?;
    command.stdout(Stdio::piped()).stderr(theirs);
    if feed {
        command.stdin(Stdio::piped());
    }
    let mut running = Running::start(command);
    let shown = Arc::new(Mutex::new(String::new()));
    let showing = Arc::clone(&shown);
    let watcher = thread::spawn(move || {
        let mut buf = [0; 1024];
        // It fails (EIO) when the other end is closed.
        while let Ok(count @ 1..) = ours.read(&mut buf) {
            showing.lock().unwrap().push_str(std::str::from_utf8(&buf[..count]).unwrap());
        }
    });
    thread::scope(|scope| {
        if feed {
            let input = running.input();
            scope.spawn(|| source.feed(input));
        }
        let from = running.output();
        source.check(Slowly { from, shown: Arc::clone(&shown), text, times });
    });
    let ended = running.end();
    assert_eq!(ended.status, Some(0));
    watcher.join().unwrap();
    let shown = shown.lock().unwrap().clone();
    Ok(shown)
}

/// Takes a progress line apart: checks bytes and rate, and returns the words behind them.
fn behind_rate(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [bytes, unit, rate, per_second, rest @ ..] = &words[..] else { panic!("{line:?}") };
    assert!(bytes.parse::<f64>().unwrap() > 0.0, "{line:?}");
    assert!(rate.parse::<f64>().unwrap() > 0.0, "{line:?}");
    assert!(["B", "KiB", "MiB"].contains(unit), "{line:?}");
    assert!(["B/s", "KiB/s", "MiB/s", "GiB/s"].contains(per_second), "{line:?}");
    rest.to_vec()
}

/// The lines that a terminal has shown one over the other; the last must have been wiped out.
fn lines(shown: &str) -> Vec<&str> {
    assert!(!shown.contains('\n'), "{shown:?}");
    let lines = shown.strip_prefix('\r').unwrap_or_else(|| panic!("{shown:?}"));
    let lines = lines.strip_suffix('\r').unwrap_or_else(|| panic!("{shown:?}"));
    let mut lines: Vec<&str> = lines.split('\r').collect();
    let blank = lines.pop().unwrap();
    assert!(!lines.is_empty(), "{shown:?}");
    let longest = lines.iter().map(|line| line.len()).max().unwrap();
    assert_eq!(blank, " ".repeat(longest), "{shown:?}");
    lines
}

#[test]
fn pump_progress_of_known_size() {
    let source = Source::new(4 << 20);
    let command = pump(["--chunk".as_ref(), "64K".as_ref(), source.path().as_os_str()]);
    let shown = match on_terminal(&source, command, " left", 40, false) {
        Ok(shown) => shown,
        Err(reason) => return common::skip("pump_progress_of_known_size", &reason),
    };
    for line in lines(&shown) {
        let rest = behind_rate(line);
        let [percent, left, "left"] = rest[..] else { panic!("{shown:?}") };
        let percent: u32 = percent.strip_suffix('%').unwrap().parse().unwrap();
        assert!(percent <= 100, "{shown:?}");
        let left: Vec<u32> = left.split(':').map(|part| part.parse().unwrap()).collect();
        let [_hours, 0..60, 0..60] = left[..] else { panic!("{shown:?}") };
    }
}

#[test]
fn pump_progress_of_unknown_size() {
    let source = Source::new(4 << 20);
    let command = pump(["--chunk", "64K", "-"]);
    let shown = match on_terminal(&source, command, "/s", 40, true) {
        Ok(shown) => shown,
        Err(reason) => return common::skip("pump_progress_of_unknown_size", &reason),
    };
    for line in lines(&shown) {
        assert_eq!(behind_rate(line), [""; 0], "{shown:?}");
    }
}

#[test]
fn pump_quiet_shows_nothing() {
    let source = Source::new((1 << 20) + (256 << 10));
    let command =
        pump(["--quiet".as_ref(), "--chunk".as_ref(), "64K".as_ref(), source.path().as_os_str()]);
    match on_terminal(&source, command, "never", 3, false) {
        Ok(shown) => assert_eq!(shown, ""),
        Err(reason) => common::skip("pump_quiet_shows_nothing", &reason),
    }
}

#[test]
fn pump_without_terminal_shows_no_progress() {
    let source = Source::new((1 << 20) + (256 << 10));
    let mut command = pump(["--chunk".as_ref(), "64K".as_ref(), source.path().as_os_str()]);
    command.stdout(Stdio::piped());
    let mut running = Running::start(command);
    let from = running.output();
    let shown = Arc::default();
    source.check(Slowly { from, shown, text: "never", times: 3 });
    running.end().assert_silent();
}
