//! Communicates with children in one thread, using `poll`: writes their input and collects their output.

use super::super::{Child, ExitStatus};
use super::{Communicate, CommunicateError, CommunicateErrorKind as Kind};
use crate::event::{PollEvents, PollFd, poll_beside};
use crate::fd::{AsFd, BorrowedFd};
use crate::io::{StdStream, read_more, without_sigpipe};
use crate::pipe::{Capacity, PIPE_BUF};
use crate::{Deadline, Errno, PipeReader, PipeWriter};
use alloc::vec::Vec;
use core::time::Duration;
use std::io::{BufRead, ErrorKind};

/// The ends of a child's pipes that this process holds.
pub(in super::super) type Ends = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

/// The state of one [`Communicate::run`](super::Communicate::run). The field of a pipe end is `None` if that
/// end does not exist or has been closed.
pub(in super::super) struct Talk<'t, 'a> {
    how: &'t mut Communicate<'a>,
    input: Option<PipeWriter>,
    fed: usize,
    input_grown: bool,
    outputs: [Collected; 2],
}

struct Collected {
    reader: Option<PipeReader>,
    stream: StdStream,
    bytes: Vec<u8>,
    /// The capacity of the pipe in bytes at the beginning of the run, or 0 before the run has begun.
    capacity: usize,
    grown: bool,
    /// The number of bytes that the most recent call to [`read_more`] has read.
    last: usize,
}

impl<'t, 'a> Talk<'t, 'a> {
    pub(in super::super) fn new(
        how: &'t mut Communicate<'a>,
        (input, stdout, stderr): Ends,
    ) -> Self {
        let collected = |reader, stream| Collected {
            reader,
            stream,
            bytes: Vec::new(),
            capacity: 0,
            grown: false,
            last: 0,
        };
        let outputs = [collected(stdout, StdStream::Stdout), collected(stderr, StdStream::Stderr)];
        Self { how, input, fed: 0, input_grown: false, outputs }
    }

    /// Writes and reads until every pipe has reached its end. `children` are the processes at the other ends
    /// of the pipes.
    pub(in super::super) fn run(&mut self, children: &mut [Child]) -> Result<(), Kind> {
        self.prepare()?;
        let deadline = self.how.deadline.map(|at| (at, Kind::Deadline));
        let mut running = children.iter_mut();
        let mut watched = self.how.grace.and_then(|_| running.next());
        let (mut grace, mut last_rounds) = (None, LAST_ROUNDS);
        let mut by_pidfd = true;
        while self.is_open() {
            let cancelled = self.how.deadline.filter(Deadline::is_cancelled);
            let first = [deadline, grace].into_iter().flatten().min_by_key(|(until, _)| until.at);
            let until = cancelled.map(|at| (at, Kind::Cancelled)).or(first);
            let mut wait = until.map(|(at, _)| at.remaining());
            if let Some((_, kind)) = until.filter(|_| wait == Some(Duration::ZERO)) {
                if last_rounds == 0 {
                    return Err(kind);
                }
                last_rounds -= 1;
            }
            let pidfd = watched.as_ref().filter(|_| by_pidfd).and_then(|child| child.pidfd());
            if watched.is_some() && pidfd.is_none() {
                wait = Some(wait.map_or(WITHOUT_PIDFD, |wait| wait.min(WITHOUT_PIDFD)));
            }
            let [input, stdout, stderr, ended] = self.poll(pidfd, wait).map_err(Kind::Poll)?;
            if !input.is_empty() {
                self.feed()?;
            }
            for (output, found) in self.outputs.iter_mut().zip([stdout, stderr]) {
                if !found.is_empty() {
                    output.read(found, self.how.limit)?;
                }
            }
            while let Some(child) = &mut watched {
                // If `try_wait` fails, this code treats the child as ended. The later wait for the child
                // reports the error.
                if child.try_wait() == Ok(None) {
                    // If the pidfd nevertheless reports the child's end, another process traces the child,
                    // and the child cannot be waited for yet.
                    by_pidfd = ended.is_empty();
                    break;
                }
                watched = running.next();
                if watched.is_none() {
                    grace = self.how.grace.map(|grace| (Deadline::after(grace), Kind::Grace));
                }
            }
        }
        Ok(())
    }

    /// Waits for the end of the child, and returns how it ended.
    pub(in super::super) fn end_of(&self, child: &mut Child) -> Result<ExitStatus, Kind> {
        let end = match self.how.deadline {
            None => child.wait().map(Some),
            Some(deadline) => child.wait_deadline(deadline),
        };
        match end {
            Err(Errno::ECANCELED) => Err(Kind::Cancelled),
            end => end.map_err(Kind::Wait)?.ok_or(Kind::Deadline),
        }
    }

    fn is_open(&self) -> bool {
        self.input.is_some() || self.outputs.iter().any(|output| output.reader.is_some())
    }

    fn prepare(&mut self) -> Result<(), Kind> {
        if self.how.reader.is_none() && self.how.input.is_empty() {
            self.input = None;
        }
        if let Some(input) = &self.input {
            input.set_nonblocking(true).map_err(|errno| Kind::Io(StdStream::Stdin, errno))?;
        }
        for output in &mut self.outputs {
            if let Some(reader) = &output.reader {
                let failed = |errno| Kind::Io(output.stream, errno);
                reader.set_nonblocking(true).map_err(failed)?;
                output.capacity = reader.capacity().map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Waits until a pipe end or the child is ready, or until `wait` has passed. Returns the events of each
    /// pipe end and of the child. All events are empty if the time has passed, the deadline is cancelled, or
    /// a signal interrupts the wait.
    fn poll(
        &self,
        child: Option<BorrowedFd<'_>>,
        wait: Option<Duration>,
    ) -> crate::Result<[PollEvents; 4]> {
        let [stdout, stderr] = self.outputs.each_ref().map(|output| output.reader.as_ref());
        let ends = [
            (self.input.as_ref().map(AsFd::as_fd), PollEvents::OUT),
            (stdout.map(AsFd::as_fd), PollEvents::IN),
            (stderr.map(AsFd::as_fd), PollEvents::IN),
            (child, PollEvents::IN),
        ];
        let mut fds = Vec::with_capacity(ends.len());
        let entry = |(fd, events)| Option::map(fd, |fd| PollFd::from_borrowed_fd(fd, events));
        fds.extend(ends.into_iter().filter_map(entry));
        let cancel = self.how.deadline.and_then(|deadline| deadline.cancel);
        match poll_beside(cancel, &mut fds, wait) {
            // The caller checks for a cancelled deadline before its next wait.
            Ok(_) | Err(Errno::ECANCELED) => {}
            Err(Errno::EINTR) => return Ok([PollEvents::empty(); 4]),
            Err(errno) => return Err(errno),
        }
        let mut found = fds.iter().map(PollFd::revents);
        Ok(ends.map(|(fd, _)| fd.and_then(|_| found.next()).unwrap_or(PollEvents::empty())))
    }

    /// Writes as many bytes as fit into the pipe, from the input or from the data that the reader has
    /// returned.
    fn feed(&mut self) -> Result<(), Kind> {
        let Some(input) = &self.input else { return Ok(()) };
        let rest = match &mut self.how.reader {
            None => self.how.input.get(self.fed..).unwrap_or_default(),
            Some(reader) => match reader.fill_buf() {
                Ok(rest) => rest,
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(Kind::Input(error.kind(), Errno::from_io_error(&error))),
            },
        };
        let left = rest.len();
        let failed = |errno| Kind::Io(StdStream::Stdin, errno);
        match without_sigpipe(|| input.write(rest)).map_err(failed)? {
            Ok(count) => {
                self.fed += count;
                let is_last = match &mut self.how.reader {
                    None => count == left,
                    Some(reader) => {
                        reader.consume(count);
                        left == 0
                    }
                };
                if is_last {
                    self.input = None;
                } else if count < left && !self.input_grown {
                    self.input_grown = true;
                    let _ = input.set_capacity(Capacity::Max);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The pipe has no reader, so the remaining input cannot be written.
            Err(Errno::EPIPE) => self.input = None,
            Err(errno) => return Err(failed(errno)),
        }
        Ok(())
    }

    /// Restores blocking mode on all ends that are still open, and returns these ends.
    fn ends(&mut self) -> Ends {
        let input = self.input.take();
        let [stdout, stderr] = self.outputs.each_mut().map(|output| output.reader.take());
        // If an end could be made nonblocking, it can also be made blocking again. If `prepare` has failed,
        // the other ends were not changed.
        let _ = input.as_ref().map(|end| end.set_nonblocking(false));
        let _ = stdout.as_ref().map(|end| end.set_nonblocking(false));
        let _ = stderr.as_ref().map(|end| end.set_nonblocking(false));
        (input, stdout, stderr)
    }

    /// Returns the output that was read, together with the exit statuses of the children. After a failure,
    /// passes the pipe ends to `give_back`, and returns the error with the output.
    pub(in super::super) fn finish<T>(
        mut self,
        end: Result<T, Kind>,
        give_back: impl FnOnce(Ends),
    ) -> Result<(T, Vec<u8>, Vec<u8>), CommunicateError> {
        if end.is_err() {
            give_back(self.ends());
        }
        let [stdout, stderr] = self.outputs.map(|mut output| {
            // The buffer may have capacity for a whole pipe although only a few bytes were read.
            if output.bytes.len() < output.bytes.capacity() / 2 {
                output.bytes.shrink_to_fit();
            }
            output.bytes
        });
        match end {
            Ok(end) => Ok((end, stdout, stderr)),
            Err(reason) => Err(CommunicateError { reason, fed: self.fed, stdout, stderr }),
        }
    }
}

/// The interval between checks of a child that has no pidfd, or whose pidfd already reports that the child
/// has ended.
const WITHOUT_PIDFD: Duration = Duration::from_millis(10);

/// The number of checks of the pipes after the deadline. The first check reads the remaining bytes, and the
/// second detects end of file.
const LAST_ROUNDS: usize = 2;

/// The maximum number of times that one pipe is read between two checks of all pipes. A child that makes
/// short writes continues to write during these reads, so most of the reads find data. This process therefore
/// need not be woken for each write. Waking this process so often would slow the child.
const READS: usize = 16;

impl Collected {
    /// Reads the bytes in the pipe, in at most [`READS`] calls. Fails if the child has written more than the
    /// limit.
    fn read(&mut self, found: PollEvents, limit: usize) -> Result<(), Kind> {
        let Some(reader) = &self.reader else { return Ok(()) };
        let mut left = limit - self.bytes.len();
        if left == 0 && found.contains(PollEvents::IN) {
            return Err(Kind::Limit(self.stream));
        }
        if left == 0 {
            // At this point the pipe is empty and has no writer.
            self.reader = None;
            return Ok(());
        }
        for _ in 0..READS {
            let first = self.capacity + PIPE_BUF;
            match read_more(reader.as_fd(), &mut self.bytes, first, left, &mut self.last) {
                Ok(0) => {
                    self.reader = None;
                    break;
                }
                Ok(count) => {
                    left -= count;
                    // The pipe was full, so the child has probably waited for room.
                    if count >= self.capacity && !self.grown {
                        self.grown = true;
                        // If the kernel rejects the request, the pipe keeps its capacity.
                        let _ = reader.set_capacity(Capacity::Max);
                    }
                    if left == 0 {
                        break;
                    }
                }
                // A child that has filled the pipe is likely to write more soon.
                Err(Errno::EAGAIN) if self.grown => {}
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(errno) => return Err(Kind::Io(self.stream, errno)),
            }
        }
        Ok(())
    }
}
