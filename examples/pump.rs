//! Moves the bytes of a file or of standard input to standard output and, with `--tee`, also to files. The
//! bytes stay inside the kernel if possible.
//!
//! ```text
//! pump disk.img | gzip > disk.img.gz
//! tar c folder | pump --stats > folder.tar
//! make 2>&1 | pump --tee build.log
//! ```
//!
//! `pump --help` lists the options. [`rawpipe::transfer`] moves the bytes, and this program adds options,
//! progress and messages.

use rawpipe::Errno;
use rawpipe::fd::AsFd;
use rawpipe::pipe::{self, Capacity};
use rawpipe::transfer::{Fanout, FanoutSink, Side, Transfer, TransferError};
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
Usage: pump [OPTIONS] [FILE]
Moves FILE, or standard input without FILE or when it is -, to standard output.

  --chunk BYTES  move at most so many bytes at a time (default 1M; K, M, G: times 1024)
  --tee FILE     write the same bytes to FILE, too; may be given several times
  --quiet        no progress line, which else is shown when standard error is a terminal
  --stats        at the end say on standard error: bytes, seconds, GiB/s and the mechanism,
                 (splice, broker for splice through a pipe of its own, copy_file_range,
                 sendfile, tee with --tee, or copy)
  --help         show this

Exit status: 0 all moved; 1 input or output failed; 2 wrong usage; 141 broken output pipe.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message {
                say(&format!("pump: {message}\n"));
            }
            ExitCode::from(failure.status)
        }
    }
}

fn run() -> Result<(), Failure> {
    let options = Options::parse(std::env::args_os().skip(1))?;
    if options.help {
        return rawpipe::io::write_all(io::stdout(), HELP.as_bytes())
            .map_err(|stopped| Failure::output(stopped.errno().unwrap_or(Errno::EIO)));
    }

    // Duplicate standard input and standard output, because the code below expects each of them as a `File`.
    let (input, name) = match &options.file {
        Some(path) => (File::open(path), format!("input {}", Path::new(path).display())),
        None => (duplicate(io::stdin()), "input".to_owned()),
    };
    let input = input.map_err(|error| Failure::input(&name, errno_of(&error)))?;
    let output = duplicate(io::stdout()).map_err(|error| Failure::output(errno_of(&error)))?;
    let left = left_in(&input);
    if left.is_some() && same_file(&input, &output) {
        // The input is also the output, so the file would grow as fast as it is read. `cat` also rejects a
        // file that is both its input and its output.
        return Err(Failure::because(1, format!("{name}: input file is output file")));
    }

    // Do not print the progress line on a terminal that already shows the output.
    let show = !options.quiet && io::stderr().is_terminal() && !output.is_terminal();
    let mut progress = show.then(|| Progress::new(left));
    let start = Instant::now();
    let mut watch = |bytes| {
        if let Some(progress) = &mut progress {
            progress.update(bytes);
        }
        ControlFlow::Continue(())
    };
    let moved = if options.tee.is_empty() {
        Transfer::new()
            .chunk(options.chunk)
            .progress(&mut watch)
            .grow_pipes()
            .run(&input, &output)
            .map(|moved| (moved.bytes(), moved.mechanism().name()))
            .map_err(|error| Failure::of(&error, &name))
    } else {
        pump_to_all(&input, &name, &output, &options.tee, &mut watch).map(|bytes| (bytes, "tee"))
    };
    let elapsed = start.elapsed();
    if let Some(progress) = progress {
        progress.clear();
    }
    let (bytes, mechanism) = moved?;
    // Some file systems report a failed write only on close.
    rawpipe::close(output).map_err(Failure::output)?;

    if options.stats {
        let seconds = elapsed.as_secs_f64();
        let rate = float(bytes) / f64::from(1 << 30) / seconds.max(1e-9);
        say(&format!("{bytes} bytes, {seconds:.3} s, {rate:.3} GiB/s, {mechanism}\n"));
    }
    Ok(())
}

/// Moves the input to the output and to the files, and returns the byte count. If some sinks fail, the other
/// sinks still receive every byte. The function then returns the error of the first failed sink in the list.
fn pump_to_all(
    input: &File,
    name: &str,
    output: &File,
    files: &[OsString],
    watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<u64, Failure> {
    let because = |file: &OsString, errno| {
        Failure::because(1, format!("output {}: {errno}", Path::new(file).display()))
    };
    // A transfer through a large pipe needs fewer calls than a transfer through a small pipe. Ignore a
    // failure, because the input or the output may not be a pipe.
    for end in [input, output] {
        let _ = pipe::set_capacity(end, Capacity::Max);
    }
    let mut copies = Vec::new();
    for file in files {
        copies.push(File::create(file).map_err(|error| because(file, errno_of(&error)))?);
    }
    let mut sinks: Vec<_> = [output].into_iter().chain(&copies).map(FanoutSink::new).collect();
    let moved = Fanout::new().progress(watch).run(input, &mut sinks);
    let mut failure = None;
    for (index, sink) in sinks.iter_mut().enumerate() {
        let Some(errno) = sink.take_error().and_then(|error| error.errno()) else { continue };
        failure.get_or_insert(match index.checked_sub(1) {
            None => Failure::output(errno),
            Some(index) => because(&files[index], errno),
        });
    }
    match (moved, failure) {
        (_, Some(failure)) => Err(failure),
        (Ok(moved), None) => Ok(moved.bytes()),
        (Err(error), None) => Err(Failure::of(&error, name)),
    }
}

/// Writes the whole text to standard error. Ignores a failure, because the program has no other way to report
/// it.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn duplicate(fd: impl AsFd) -> io::Result<File> {
    Ok(File::from(rawpipe::io::dup_cloexec(fd)?))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::EINVAL)
}

/// Returns the number of bytes after the current position in a regular file. Returns `None` if the file is
/// not regular, or if that number is unknown or 0. For example, files in procfs report a length of 0.
fn left_in(mut file: &File) -> Option<u64> {
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    let position = file.stream_position().ok()?;
    length.checked_sub(position).filter(|left| *left > 0)
}

fn same_file(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// The exit status of this program after a failure, and the message to print, if any.
struct Failure {
    status: u8,
    message: Option<String>,
}

impl Failure {
    fn because(status: u8, message: String) -> Self {
        Self { status, message: Some(message) }
    }

    fn usage(message: &str) -> Self {
        Self::because(2, format!("{message}; see pump --help"))
    }

    fn input(name: &str, errno: Errno) -> Self {
        Self::because(1, format!("{name}: {errno}"))
    }

    fn of(error: &TransferError, input: &str) -> Self {
        let errno = error.errno().unwrap_or(Errno::EIO);
        match error.side() {
            Side::Source => Self::input(input, errno),
            Side::Sink => Self::output(errno),
        }
    }

    fn output(errno: Errno) -> Self {
        match errno {
            // A shell reports this status for a program that SIGPIPE has killed. Like that program, this
            // program prints no message.
            Errno::EPIPE => Self { status: 141, message: None },
            errno => Self::because(1, format!("output: {errno}")),
        }
    }
}

struct Options {
    /// The input file, or `None` for standard input.
    file: Option<OsString>,
    /// The additional outputs.
    tee: Vec<OsString>,
    chunk: usize,
    quiet: bool,
    stats: bool,
    help: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut options = Self {
            file: None,
            tee: Vec::new(),
            chunk: 1 << 20,
            quiet: false,
            stats: false,
            help: false,
        };
        let mut files = Vec::new();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--") => files.extend(words.by_ref()),
                Some(text) if text.starts_with('-') && text != "-" => {
                    options.set(text, &mut words)?;
                }
                _ => files.push(word),
            }
        }
        if files.len() > 1 {
            return Err(Failure::usage("more than one FILE"));
        }
        options.file = files.pop().filter(|file| file != "-");
        Ok(options)
    }

    fn set(
        &mut self,
        option: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (option, None),
        };
        match (name, &value) {
            ("--chunk", _) => {
                let value = value
                    .or_else(|| words.next())
                    .ok_or_else(|| Failure::usage("--chunk needs a number of bytes"))?;
                self.chunk = value.to_str().and_then(parse_bytes).ok_or_else(|| {
                    let value = value.to_string_lossy();
                    Failure::usage(&format!("--chunk: '{value}' is not a number of bytes above 0"))
                })?;
            }
            ("--tee", _) => {
                let value = value.or_else(|| words.next());
                self.tee.push(value.ok_or_else(|| Failure::usage("--tee needs a file"))?);
            }
            ("--quiet", None) => self.quiet = true,
            ("--stats", None) => self.stats = true,
            ("--help", None) => self.help = true,
            _ => return Err(Failure::usage(&format!("unknown option '{option}'"))),
        }
        Ok(())
    }
}

/// Parses digits and an optional suffix K, M or G, in upper or lower case. Returns `None` for 0, and for any
/// other text.
fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None; // `parse` would accept a sign
    }
    let bytes = digits.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)?;
    // No call moves more than `usize::MAX` bytes.
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The progress line: `12.3 MiB  45.6 MiB/s  78%  0:00:09 left`. The percentage and the remaining time appear
/// only if the size of the input is known.
struct Progress {
    size: Option<u64>,
    start: Instant,
    due: Instant,
    /// The line that was written last, including `\r`. Reusing the string avoids an allocation for each line.
    line: String,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_millis(200);

    fn new(size: Option<u64>) -> Self {
        let start = Instant::now();
        Self { size, start, due: start + Self::INTERVAL, line: String::new() }
    }

    /// Writes the progress line if the interval has elapsed. The transfer calls this method after each chunk.
    fn update(&mut self, bytes: u64) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + Self::INTERVAL;
        let before = self.line.len();
        self.line.clear();
        self.describe(bytes, now - self.start).expect("a String takes it");
        // If the previous line was longer than this line, blanks overwrite the end of the previous line.
        let blanks = before.saturating_sub(self.line.len());
        write!(self.line, "{:blanks$}", "").expect("a String takes it");
        say(&self.line);
    }

    fn describe(&mut self, bytes: u64, elapsed: Duration) -> fmt::Result {
        let (bytes_wide, millis) = (u128::from(bytes), elapsed.as_millis().max(1));
        let rate = u64::try_from(bytes_wide * 1000 / millis).unwrap_or(u64::MAX);
        write!(self.line, "\r{}  {}/s", Size(bytes), Size(rate))?;
        if let Some(size) = self.size {
            // The file may have grown since the start of the transfer.
            let left = u128::from(size.saturating_sub(bytes));
            let percent = (bytes_wide * 100 / u128::from(size)).min(100);
            let seconds = (left * millis).div_ceil(bytes_wide.max(1) * 1000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            write!(self.line, "  {percent}%  {hours}:{minutes:02}:{seconds:02} left")?;
        }
        Ok(())
    }

    fn clear(self) {
        if !self.line.is_empty() {
            let width = self.line.len() - 1;
            say(&format!("\r{:width$}\r", ""));
        }
    }
}

/// A number of bytes, displayed with a suitable unit.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = float(self.0);
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(unit > 0);
        write!(f, "{value:.digits$} {}", UNITS[unit])
    }
}
