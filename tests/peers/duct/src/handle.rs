//! Waits for the programs and threads of an expression.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rawpipe::PipeReader;
use shared_child::SharedChild;

use crate::Output;

/// The deadline of a wait, or `None` for a wait without a deadline.
type Until = Option<Instant>;

/// The exit status of a program. An unsuccessful status is an error if the status is checked.
#[derive(Clone, Debug)]
struct Status {
    status: ExitStatus,
    checked: bool,
    name: String,
}

impl Status {
    fn is_error(&self) -> bool {
        self.checked && !self.status.success()
    }

    fn message(&self) -> String {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        format!("command {} ended with {how}", self.name)
    }
}

/// The programs and threads that were started for an expression.
#[derive(Debug)]
pub(crate) enum Started {
    Program(Running),
    Pipe(Box<[Started; 2]>),
    Unchecked(Box<Started>),
    /// A started expression, and the thread that writes its input.
    Fed(Box<Started>, Background<()>),
}

impl Started {
    fn wait(&self, until: Until) -> io::Result<Option<Status>> {
        match self {
            Self::Program(program) => program.wait(until),
            Self::Pipe(pair) => {
                // Waits for both parts of the pipe, even if the first wait fails.
                let [left, right] = [pair[0].wait(until), pair[1].wait(until)];
                let (Some(left), Some(right)) = (left?, right?) else { return Ok(None) };
                let takes_right = right.is_error() || !left.is_error() && !right.status.success();
                Ok(Some(if takes_right { right } else { left }))
            }
            Self::Unchecked(inner) => {
                let status = inner.wait(until)?;
                Ok(status.map(|status| Status { checked: false, ..status }))
            }
            Self::Fed(inner, feeder) => {
                let status = inner.wait(until)?;
                Ok(if feeder.join(until)?.is_some() { status } else { None })
            }
        }
    }

    /// Calls `call` for each program, even after an error, and returns the first error.
    pub(crate) fn for_each(
        &self,
        call: &mut dyn FnMut(&Running) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Program(program) => call(program),
            Self::Pipe(pair) => {
                let left = pair[0].for_each(call);
                left.and(pair[1].for_each(call))
            }
            Self::Unchecked(inner) | Self::Fed(inner, _) => inner.for_each(call),
        }
    }
}

/// A program. If this value is dropped before the program ends, the exit status is collected when another
/// program is started later.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<SharedChild>,
    name: String,
}

static DROPPED: Mutex<Vec<SharedChild>> = Mutex::new(Vec::new());

impl Running {
    pub(crate) fn spawn(command: &mut Command, name: String) -> io::Result<Self> {
        DROPPED.lock().unwrap().retain(|child| matches!(child.try_wait(), Ok(None)));
        Ok(Self { child: Some(SharedChild::spawn(command)?), name })
    }

    pub(crate) fn child(&self) -> &SharedChild {
        self.child.as_ref().expect("only a drop takes it")
    }

    fn wait(&self, until: Until) -> io::Result<Option<Status>> {
        let status = match until {
            None => Some(self.child().wait()?),
            Some(until) => self.child().wait_deadline(until)?,
        };
        Ok(status.map(|status| Status { status, checked: true, name: self.name.clone() }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let child = self.child.take().expect("dropped once");
        if matches!(child.try_wait(), Ok(None)) {
            DROPPED.lock().unwrap().push(child);
        }
    }
}

/// The result of a thread. Any number of callers can wait for the result.
#[derive(Debug)]
pub(crate) struct Background<T>(Arc<(Mutex<Option<rawpipe::Result<T>>>, Condvar)>);

impl<T: Clone + Send + 'static> Background<T> {
    pub(crate) fn new(run: impl FnOnce() -> rawpipe::Result<T> + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(None), Condvar::new()));
        let copy = Arc::clone(&shared);
        thread::spawn(move || {
            let result = run();
            *copy.0.lock().unwrap() = Some(result);
            copy.1.notify_all();
        });
        Self(shared)
    }

    fn join(&self, until: Until) -> io::Result<Option<T>> {
        let mut result = self.0 .0.lock().unwrap();
        loop {
            if let Some(result) = result.clone() {
                return Ok(Some(result?));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            result = match left {
                None => self.0 .1.wait(result).unwrap(),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => self.0 .1.wait_timeout(result, left).unwrap().0,
            };
        }
    }
}

/// A started expression.
#[derive(Debug)]
pub struct Handle {
    pub(crate) started: Started,
    readers: [Option<Background<Vec<u8>>>; 2],
    result: OnceLock<(Status, Output)>,
}

impl Handle {
    /// Starts one thread for each captured stream. The thread reads the stream until end of file.
    pub(crate) fn new(started: Started, captured: [Option<PipeReader>; 2]) -> Self {
        let read = |reader: PipeReader| {
            Background::new(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes)?;
                Ok(bytes)
            })
        };
        Self { started, readers: captured.map(|end| end.map(read)), result: OnceLock::new() }
    }

    fn wait_until(&self, until: Until) -> io::Result<Option<&Output>> {
        if self.result.get().is_none() {
            let Some(status) = self.started.wait(until)? else { return Ok(None) };
            let [mut stdout, mut stderr] = [Vec::new(), Vec::new()];
            for (reader, bytes) in self.readers.iter().zip([&mut stdout, &mut stderr]) {
                let Some(reader) = reader else { continue };
                let Some(read) = reader.join(until)? else { return Ok(None) };
                *bytes = read;
            }
            let output = Output { status: status.status, stdout, stderr };
            self.result.get_or_init(|| (status, output));
        }
        let (status, output) = self.result.get().expect("set above");
        if status.is_error() {
            return Err(io::Error::other(status.message()));
        }
        Ok(Some(output))
    }

    pub fn wait(&self) -> io::Result<&Output> {
        Ok(self.wait_until(None)?.expect("an end without a deadline"))
    }

    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<&Output>> {
        self.wait_until(Some(Instant::now() + timeout))
    }

    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<Option<&Output>> {
        self.wait_until(Some(deadline))
    }

    pub fn try_wait(&self) -> io::Result<Option<&Output>> {
        self.wait_until(Some(Instant::now()))
    }

    pub fn into_output(self) -> io::Result<Output> {
        self.wait().cloned()
    }

    pub fn kill(&self) -> io::Result<()> {
        self.started.for_each(&mut |program| program.child().kill())
    }

    pub fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        let _ = self.started.for_each(&mut |program| {
            pids.push(program.child().id());
            Ok(())
        });
        pids
    }
}

/// A started expression whose standard output the caller reads.
#[derive(Debug)]
pub struct ReaderHandle {
    pub(crate) handle: Handle,
    reader: PipeReader,
}

impl ReaderHandle {
    pub(crate) fn new(handle: Handle, reader: PipeReader) -> Self {
        Self { handle, reader }
    }

    pub fn try_wait(&self) -> io::Result<Option<&Output>> {
        self.handle.try_wait()
    }

    pub fn kill(&self) -> io::Result<()> {
        self.handle.kill()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.handle.pids()
    }
}

impl Read for &ReaderHandle {
    /// Reads the output. At end of file, waits for the programs, and fails if the resulting status is checked
    /// and is not a success.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buf)?;
        if count == 0 && !buf.is_empty() {
            self.handle.wait()?;
        }
        Ok(count)
    }
}

impl Read for ReaderHandle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}
