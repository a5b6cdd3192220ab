//! Moves a file or standard input to standard output, inside the kernel where the kernel can.
//!
//! ```text
//! pump disk.img | gzip > disk.img.gz
//! tar c folder | pump --stats > folder.tar
//! ```
//!
//! `pump --help` lists the options. The part that moves is the module `moving`; what is above it is
//! the tool: options, progress, messages.

use moving::{Side, Stopped};
use rawpipe::Errno;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
Usage: pump [OPTIONS] [FILE]
Moves FILE, or standard input without FILE or when it is -, to standard output.

  --chunk BYTES  move at most so many bytes at a time (default 1M; K, M, G: times 1024)
  --quiet        no progress line, which else is shown when standard error is a terminal
  --stats        at the end say on standard error: bytes, seconds, GiB/s and the mechanism,
                 which is splice, broker (splice through a pipe of its own) or copy
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

    // Copies of 0 and 1, so that either side is a `File`, whatever it is.
    let (input, name) = match &options.file {
        Some(path) => (File::open(path), format!("input {}", Path::new(path).display())),
        None => (duplicate(io::stdin()), "input".to_owned()),
    };
    let input = input.map_err(|error| Failure::input(&name, errno_of(&error)))?;
    let output = duplicate(io::stdout()).map_err(|error| Failure::output(errno_of(&error)))?;
    let left = left_in(&input);
    if left.is_some() && same_file(&input, &output) {
        // Its end would move away as fast as it is read. `cat` has the same rule.
        return Err(Failure::because(1, format!("{name}: input file is output file")));
    }

    // On a terminal that shows the output itself a progress line would be in the way.
    let show = !options.quiet && io::stderr().is_terminal() && !output.is_terminal();
    let mut progress = show.then(|| Progress::new(left));
    let start = Instant::now();
    let moved = moving::transfer(&input, &output, options.chunk, |bytes| {
        if let Some(progress) = &mut progress {
            progress.update(bytes);
        }
    });
    let elapsed = start.elapsed();
    if let Some(progress) = progress {
        progress.clear();
    }
    let moved = moved.map_err(|Stopped { side, errno }| match side {
        Side::Input => Failure::input(&name, errno),
        Side::Output => Failure::output(errno),
    })?;
    // Some file systems tell only now that they could not keep what was written.
    rawpipe::close(output).map_err(Failure::output)?;

    if options.stats {
        let (bytes, seconds) = (moved.bytes, elapsed.as_secs_f64());
        let rate = float(bytes) / f64::from(1 << 30) / seconds.max(1e-9);
        say(&format!("{bytes} bytes, {seconds:.3} s, {rate:.3} GiB/s, {}\n", moved.mechanism));
    }
    Ok(())
}

/// Writes to standard error in one piece. If that fails there is nobody to tell.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn duplicate(fd: impl rawpipe::fd::AsFd) -> io::Result<File> {
    Ok(File::from(rawpipe::io::dup_cloexec(fd)?))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::EINVAL)
}

/// How many bytes are left in a regular file behind its position. `None` when there are none, as in
/// the files of procfs, whose length is 0 whatever is in them, or when it is not a regular file.
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

/// Why it ends early: the exit status and what to say.
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

    fn output(errno: Errno) -> Self {
        match errno {
            // What a shell reports of a program that SIGPIPE ended, which is as silent.
            Errno::EPIPE => Self { status: 141, message: None },
            errno => Self::because(1, format!("output: {errno}")),
        }
    }
}

struct Options {
    /// `None` is standard input.
    file: Option<OsString>,
    chunk: usize,
    quiet: bool,
    stats: bool,
    help: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut options =
            Self { file: None, chunk: 1 << 20, quiet: false, stats: false, help: false };
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
            ("--quiet", None) => self.quiet = true,
            ("--stats", None) => self.stats = true,
            ("--help", None) => self.help = true,
            _ => return Err(Failure::usage(&format!("unknown option '{option}'"))),
        }
        Ok(())
    }
}

/// A number of bytes above 0: digits, and K, M or G behind them.
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
        return None; // `parse` would take a sign
    }
    let bytes = digits.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)?;
    // No call moves more than a `usize` can say.
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The progress line: `12.3 MiB  45.6 MiB/s  78%  0:00:09 left`, the last two if the size is known.
struct Progress {
    size: Option<u64>,
    start: Instant,
    due: Instant,
    /// What was written last, `\r` included; kept, so that a line costs no allocation.
    line: String,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_millis(200);

    fn new(size: Option<u64>) -> Self {
        let start = Instant::now();
        Self { size, start, due: start + Self::INTERVAL, line: String::new() }
    }

    /// Called after each chunk: looks at the clock, and seldom does more.
    fn update(&mut self, bytes: u64) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + Self::INTERVAL;
        let before = self.line.len();
        self.line.clear();
        self.describe(bytes, now - self.start).expect("a String takes it");
        // Blanks over what is left of a longer line.
        let blanks = before.saturating_sub(self.line.len());
        write!(self.line, "{:blanks$}", "").expect("a String takes it");
        say(&self.line);
    }

    fn describe(&mut self, bytes: u64, elapsed: Duration) -> fmt::Result {
        let (bytes_wide, millis) = (u128::from(bytes), elapsed.as_millis().max(1));
        let rate = u64::try_from(bytes_wide * 1000 / millis).unwrap_or(u64::MAX);
        write!(self.line, "\r{}  {}/s", Size(bytes), Size(rate))?;
        if let Some(size) = self.size {
            // A file may have grown in the meantime.
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

/// A number of bytes for people.
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

/// Moving bytes from one descriptor to another, whatever they are.
mod moving {
    use rawpipe::Errno;
    use rawpipe::fd::{AsFd, BorrowedFd};
    use rawpipe::pipe::{self, Capacity};
    use rawpipe::poll::{PollEvents, PollFd, poll};
    use rawpipe::splice::{SpliceFlags, splice};
    use std::fmt;
    use std::fs::File;
    use std::time::Duration;

    /// How bytes were moved.
    #[derive(Clone, Copy)]
    pub(super) enum Mechanism {
        /// `splice` from the input to the output, one of which is a pipe.
        Splice,
        /// `splice` into a pipe of our own, and from there to the output.
        Broker,
        /// `read` and `write`.
        Copy,
    }

    impl fmt::Display for Mechanism {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Splice => "splice",
                Self::Broker => "broker",
                Self::Copy => "copy",
            })
        }
    }

    /// All was moved.
    pub(super) struct Moved {
        pub(super) bytes: u64,
        /// The one that was in use at the end.
        pub(super) mechanism: Mechanism,
    }

    #[derive(Clone, Copy)]
    pub(super) enum Side {
        Input,
        Output,
    }

    /// It stopped before the end.
    pub(super) struct Stopped {
        pub(super) side: Side,
        pub(super) errno: Errno,
    }

    /// Moves all that is left in `input` to `output`, at most `chunk` bytes at a time, and reports
    /// after each step how many have arrived in all.
    ///
    /// Goes on after signals, and waits where a nonblocking descriptor would not.
    pub(super) fn transfer(
        input: &File,
        output: &File,
        chunk: usize,
        progress: impl FnMut(u64),
    ) -> Result<Moved, Stopped> {
        let from_pipe = is_pipe(input);
        let to_pipe = is_pipe(output);
        for end in [input, output] {
            // As good as it gets: it is faster, and moves the same bytes without.
            let _ = pipe::set_capacity(end, Capacity::Max);
        }
        let mut mover = Mover {
            input: input.as_fd(),
            output: output.as_fd(),
            from_pipe,
            from_file: input.metadata().is_ok_and(|input| input.is_file()),
            chunk,
            bytes: 0,
            refusals: 0,
            progress,
        };
        let (mechanism, outcome) = if from_pipe || to_pipe {
            (Mechanism::Splice, mover.splice()?)
        } else {
            (Mechanism::Broker, mover.broker()?)
        };
        match outcome {
            Outcome::End => Ok(Moved { bytes: mover.bytes, mechanism }),
            Outcome::Unsuited => {
                mover.copy(mover.input)?;
                Ok(Moved { bytes: mover.bytes, mechanism: Mechanism::Copy })
            }
        }
    }

    /// Only pipes have a capacity.
    fn is_pipe(file: &File) -> bool {
        pipe::capacity(file).is_ok()
    }

    struct Mover<'fd, P> {
        input: BorrowedFd<'fd>,
        output: BorrowedFd<'fd>,
        from_pipe: bool,
        from_file: bool,
        chunk: usize,
        /// How many bytes have arrived at the output.
        bytes: u64,
        /// How often a side was not ready since bytes arrived.
        refusals: u32,
        progress: P,
    }

    /// What a mechanism came to.
    enum Outcome {
        /// All was moved.
        End,
        /// The kernel does not do it with these two. All that was taken from the input has arrived
        /// at the output, so that another mechanism can take over.
        Unsuited,
    }

    impl<P: FnMut(u64)> Mover<'_, P> {
        /// One end is a pipe.
        ///
        /// Invariant: whatever was taken from the input has arrived at the output. A call moves what
        /// it says, or fails and has moved nothing, so there is an exact boundary after each.
        fn splice(&mut self) -> Result<Outcome, Stopped> {
            loop {
                match splice(self.input, None, self.output, None, self.chunk, SpliceFlags::empty())
                {
                    Ok(0) => return Ok(self.end()),
                    Ok(count) => self.arrived(count),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => {
                        // It does not say whose: go on when both are ready.
                        self.wait(Side::Input)?;
                        self.wait(Side::Output)?;
                    }
                    Err(errno) if self.unsuited(errno) => return Ok(Outcome::Unsuited),
                    Err(errno) => return Err(Stopped { side: self.side_of(errno), errno }),
                }
            }
        }

        /// Neither end is a pipe: bytes pass through one of our own.
        ///
        /// Invariant: it is empty before it is filled, so whatever was taken from the input has
        /// arrived at the output, there is room, and only the input can be not ready. While it is
        /// drained, it holds what was taken and has not arrived, and only the output is waited for.
        fn broker(&mut self) -> Result<Outcome, Stopped> {
            let Ok((reader, writer)) = pipe::Builder::new().capacity(Capacity::Max).build() else {
                return Ok(Outcome::Unsuited);
            };
            let flags = SpliceFlags::empty();
            loop {
                let mut held = match splice(self.input, None, &writer, None, self.chunk, flags) {
                    Ok(0) => return Ok(self.end()),
                    Ok(count) => count,
                    Err(Errno::EINTR) => continue,
                    Err(Errno::EAGAIN) => {
                        self.wait(Side::Input)?;
                        continue;
                    }
                    Err(errno) if self.unsuited(errno) => return Ok(Outcome::Unsuited),
                    Err(errno) => return Err(Stopped { side: Side::Input, errno }),
                };
                while held > 0 {
                    match splice(&reader, None, self.output, None, held, flags) {
                        Ok(0) => return Err(takes_nothing()),
                        Ok(count) => {
                            held -= count;
                            self.arrived(count);
                        }
                        Err(Errno::EINTR) => {}
                        Err(Errno::EAGAIN) => self.wait(Side::Output)?,
                        Err(errno) if self.unsuited(errno) => {
                            // Without a writer it has an end, behind the bytes that it holds.
                            drop(writer);
                            self.copy(reader.as_fd())?;
                            return Ok(Outcome::Unsuited);
                        }
                        Err(errno) => return Err(Stopped { side: Side::Output, errno }),
                    }
                }
            }
        }

        /// By `read` and `write`, from the input or from a pipe that holds a part of it.
        ///
        /// Invariant: whatever was taken has arrived before more is taken.
        fn copy(&mut self, from: BorrowedFd<'_>) -> Result<(), Stopped> {
            /// Larger ones do not stay in the cache between the read and the write.
            const MOST: usize = 256 << 10;
            /// Pipes and sockets may carry packets, and what a read has no room for is lost.
            const PACKET: usize = 64 << 10;

            let least = if self.from_file { 1 } else { PACKET };
            let mut buffer = vec![0; self.chunk.clamp(least, MOST)];
            loop {
                let mut rest = match rawpipe::read(from, &mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => &buffer[..count],
                    Err(Errno::EINTR) => continue,
                    Err(Errno::EAGAIN) => {
                        self.wait(Side::Input)?;
                        continue;
                    }
                    Err(errno) => return Err(Stopped { side: Side::Input, errno }),
                };
                while !rest.is_empty() {
                    match rawpipe::write(self.output, rest) {
                        Ok(0) => return Err(takes_nothing()),
                        Ok(count) => {
                            rest = &rest[count..];
                            self.arrived(count);
                        }
                        Err(Errno::EINTR) => {}
                        Err(Errno::EAGAIN) => self.wait(Side::Output)?,
                        Err(errno) => return Err(Stopped { side: Side::Output, errno }),
                    }
                }
            }
        }

        fn arrived(&mut self, count: usize) {
            self.bytes += count as u64;
            self.refusals = 0;
            (self.progress)(self.bytes);
        }

        /// `splice` has answered 0. Files that are made up as they are read (procfs, sysfs, FUSE) may
        /// say so of a file that `read` finds full.
        fn end(&self) -> Outcome {
            if self.bytes == 0 && self.from_file { Outcome::Unsuited } else { Outcome::End }
        }

        /// Whether an error of `splice` says that this is not for `splice`, rather than that
        /// something went wrong. After bytes have arrived nothing does.
        fn unsuited(&self, errno: Errno) -> bool {
            self.bytes == 0
                && matches!(
                    errno,
                    Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM | Errno::EBADF
                )
        }

        /// Whose an error is when one call had to do with both. A pipe has none but `EPIPE`.
        fn side_of(&self, errno: Errno) -> Side {
            match errno {
                Errno::EPIPE | Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Side::Output,
                _ if self.from_pipe => Side::Output,
                _ => Side::Input,
            }
        }

        /// Waits until a side is ready; it also is when it has failed or come to its end, as the next
        /// call will say.
        fn wait(&mut self, side: Side) -> Result<(), Stopped> {
            self.refusals += 1;
            if self.refusals > 4 {
                // Something that is always ready and never gives or takes: no reason to spin.
                std::thread::sleep(Duration::from_millis(2));
            }
            let (fd, events) = match side {
                Side::Input => (self.input, PollEvents::IN),
                Side::Output => (self.output, PollEvents::OUT),
            };
            loop {
                match poll(&mut [PollFd::from_borrowed_fd(fd, events)], None) {
                    Ok(_) => return Ok(()),
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(Stopped { side, errno }),
                }
            }
        }
    }

    /// The output has taken none of the bytes that it was given, and named no error.
    fn takes_nothing() -> Stopped {
        Stopped { side: Side::Output, errno: Errno::EIO }
    }
}
