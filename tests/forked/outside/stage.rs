//! Runs the processes of one case. The *speaker* is the peer of the source, and holds the only copy of the
//! peer's descriptor. The *listener* is the peer of the sink. The *mover* holds the source and the sink. The
//! main process of the case holds none of these descriptors. The main process reads the reports of the other
//! three processes, and kills them if they take too long.
//!
//! The order of the kills matters. A `splice` that waits for its source can hold the lock of a pipe. The
//! reader of that pipe then sleeps, and no signal can wake it. When the speaker ends, the source reaches end
//! of file and the `splice` returns. The listener can then be killed.

use super::kinds::{End, Made, SinkKind, SourceKind, look_at};
use super::movers::{Limits, Mover, Outcome, run};
use super::sys::{self, POLLHUP, POLLIN, POLLOUT};
use crate::common::slow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

/// An action of the speaker.
#[derive(Clone)]
pub(crate) enum Act {
    Say(Vec<u8>),
    /// Sends one byte as TCP urgent data.
    Urgent(u8),
    /// Sends an empty datagram.
    Empty,
    /// Writes the terminal's end-of-file character.
    ControlD,
    /// Shuts down writing, but keeps the socket open.
    HalfClose,
    /// Closes the socket so that the peer receives a reset.
    Reset,
    Pause(Duration),
    /// Writes single bytes for this duration.
    Chatter(Duration),
    /// Waits until the listener reports that it has reached the next total of [`Ear::Open`].
    Await,
    /// Ends the source in the way that its kind defines.
    End,
}

/// The behaviour of the listener.
#[derive(Clone)]
pub(crate) enum Ear {
    /// Reads everything. Notifies the speaker each time the number of bytes read reaches one of these totals.
    Open(Vec<usize>),
    /// Reads nothing until the mover has ended.
    Deaf,
    /// Reads this many pages, and pauses for this duration between them. Then reads nothing until the mover
    /// has ended.
    Slow(usize, Duration),
}

/// Other processes that compete at one end.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Others {
    None,
    Readers(usize),
    Writers(usize),
    /// One process that writes to the sink once, while the mover waits.
    LateWriter,
}

pub(crate) struct Play<'a> {
    pub(crate) from: &'a SourceKind,
    pub(crate) to: &'a SinkKind,
    pub(crate) source: Made,
    pub(crate) sink: Made,
    pub(crate) acts: Vec<Act>,
    pub(crate) ear: Ear,
    pub(crate) mover: Mover,
    pub(crate) limits: Limits,
    pub(crate) others: Others,
    /// True if the mover starts only after the speaker has finished.
    pub(crate) mover_last: bool,
    /// True if the case ends when the speaker has finished, even if the mover has not.
    pub(crate) until_said: bool,
    /// True if the case reads the bytes that remain in the source.
    pub(crate) look_at_rest: bool,
}

impl<'a> Play<'a> {
    /// Creates a new source and sink. A source that holds its data from the start receives `contents`.
    pub(crate) fn new(
        from: &'a SourceKind,
        to: &'a SinkKind,
        mover: Mover,
        contents: &[u8],
    ) -> io::Result<Self> {
        Ok(Self {
            from,
            to,
            source: (from.make)(contents)?,
            sink: (to.make)()?,
            acts: Vec::new(),
            ear: Ear::Open(Vec::new()),
            mover,
            limits: Limits::default(),
            others: Others::None,
            mover_last: false,
            until_said: false,
            look_at_rest: false,
        })
    }
}

/// The observations made during a case.
pub(crate) struct Seen {
    /// The outcome of the mover, or `None` if the mover reported none before the case ended.
    pub(crate) outcome: Option<Outcome>,
    /// The bytes that arrived at the sink.
    pub(crate) arrived: Vec<u8>,
    /// The bytes that arrived at the second sink of a fan-out.
    pub(crate) second: Vec<u8>,
    /// The speaker's report: `done`, the number and error of the action that failed, or nothing if the
    /// speaker still waits.
    pub(crate) said: String,
    /// True if the speaker has finished.
    pub(crate) all_said: bool,
}

/// Returns the time after which a case counts as hung.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if slow() { 60 } else { 5 })
}

/// A process that sends reports to the main process of the case.
struct Report {
    pid: i32,
    pipe: File,
    text: Vec<u8>,
    open: bool,
}

impl Report {
    fn take(&mut self) {
        let mut buf = [0; 1 << 16];
        match self.pipe.read(&mut buf) {
            Ok(0) | Err(_) => self.open = false,
            Ok(count) => self.text.extend_from_slice(&buf[..count]),
        }
    }

    /// Returns the descriptor of the report's pipe. After end of file, returns -1, which `poll` ignores.
    fn fd(&self) -> RawFd {
        if self.open { self.pipe.as_raw_fd() } else { -1 }
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.text).lines().map(String::from).collect()
    }
}

/// Starts a process that keeps only the standard streams, these descriptors, and a pipe for its reports.
fn start(keep: &[RawFd], body: impl FnOnce(&mut File)) -> io::Result<Report> {
    let (reader, writer) = sys::pipe(0)?;
    let mut writer = File::from(writer);
    let mut kept = keep.to_vec();
    kept.push(writer.as_raw_fd());
    let pid = sys::spawn(&kept, || body(&mut writer))?;
    Ok(Report { pid, pipe: File::from(reader), text: Vec::new(), open: true })
}

pub(crate) fn play(play: Play<'_>) -> io::Result<Seen> {
    let Play { from, to, source, sink, acts, ear, mover, limits, others, .. } = play;
    let (until_said, look_at_rest) = (play.until_said, play.look_at_rest);
    let second = sys::memfd()?;
    let (gate, open_gate) = sys::pipe(0)?; // reaches end of file when the mover may exit
    let (over, still_on) = sys::pipe(0)?; // reaches end of file when the speaker and listener must exit
    let (answers, answer) = sys::pipe(0)?;
    let (near, near_sink) = (source.near.raw(), sink.near.raw());
    let deaf = matches!(ear, Ear::Deaf);

    let mut listener = match &sink.far {
        Some(far) => {
            let keep = [far.as_raw_fd(), over.as_raw_fd(), answer.as_raw_fd()];
            let listen =
                |report: &mut File| listen(to, far, sink.begin, &ear, &over, &answer, report);
            Some(start(&keep, listen)?)
        }
        None => None,
    };
    let mut speaker = {
        let far = source.far.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        // The speaker has a copy of the near end only if the speaker shuts down that end.
        let near = if from.end == End::Shut { near } else { -1 };
        let keep = [far, near, over.as_raw_fd(), answers.as_raw_fd()];
        start(&keep, |report| speak(from, &source, &acts, &over, &answers, report))?
    };
    if play.mover_last {
        let begin = Instant::now();
        while speaker.open && !is_done(&speaker) && begin.elapsed() < patience() {
            sys::poll([(speaker.fd(), POLLIN)], Duration::from_millis(20));
            speaker.take();
        }
    }
    let mut moving = {
        let keep = [near, near_sink, second.as_raw_fd(), gate.as_raw_fd()];
        start(&keep, |report| {
            sys::limit_files(64 << 20);
            let mut outcome = run(mover, source.near.as_fd(), sink.near.as_fd(), &second, limits);
            if look_at_rest {
                outcome.left = rest(&source.near);
            }
            let _ = report.write_all(outcome.to_line().as_bytes());
            let _ = File::from(gate.try_clone().expect("a descriptor")).read(&mut [0]);
        })?
    };
    let competitors = compete(others, near, near_sink)?;
    drop((source, sink, gate, over, answer, answers));

    // Waits, for a limited time, until the mover has reported its outcome and all bytes that the mover counts
    // have arrived.
    let begin = Instant::now();
    let mut outcome = None;
    let mut ended: Option<Instant> = None;
    while begin.elapsed() < patience() {
        match (&outcome, &listener) {
            (Some(Outcome { bytes, .. }), Some(listener)) if !deaf => {
                // The speaker may not have received the last reply yet, so the case also waits for the
                // speaker.
                let all = listener.text.len() >= *bytes && is_done(&speaker);
                let late = ended.is_some_and(|ended| ended.elapsed() > Duration::from_secs(5));
                if all || late || !listener.open {
                    break;
                }
            }
            (Some(_), _) => break,
            (None, _) if until_said && is_done(&speaker) => break,
            (None, _) if !moving.open => break, // the mover has panicked
            (None, _) => {}
        }
        let ear = listener.as_ref().map_or(-1, Report::fd);
        let fds = [(moving.fd(), POLLIN), (ear, POLLIN), (speaker.fd(), POLLIN)];
        let answers = sys::poll(fds, Duration::from_millis(20));
        if answers[0] != 0 {
            moving.take();
            outcome = moving.lines().first().and_then(|line| Outcome::from_line(line));
            ended = outcome.as_ref().map(|_| Instant::now());
        }
        if let Some(listener) = listener.as_mut().filter(|_| answers[1] != 0) {
            listener.take();
        }
        if answers[2] != 0 {
            speaker.take();
        }
    }
    // Reads everything that the listener has reported so far.
    if let Some(listener) = &mut listener {
        while listener.open && sys::poll([(listener.fd(), POLLIN)], Duration::ZERO) != [0] {
            listener.take();
        }
    }
    // The mover may exit now. Its exit closes its descriptors, so the listener reaches end of file.
    drop(open_gate);
    let gone = outcome.is_some() && sys::reap(moving.pid, Duration::from_secs(2));
    if gone {
        drop(still_on);
        let begin = Instant::now();
        for report in [&mut speaker].into_iter().chain(listener.as_mut()) {
            while report.open && begin.elapsed() < Duration::from_secs(2) {
                if sys::poll([(report.fd(), POLLIN)], Duration::from_millis(20)) != [0] {
                    report.take();
                }
            }
        }
    }
    let last = listener.as_ref().map(|listener| listener.pid);
    let pids = [Some(speaker.pid), (!gone).then_some(moving.pid)].into_iter().flatten();
    let pids: Vec<i32> = pids.chain(competitors).chain(last).collect();
    for pid in &pids {
        sys::kill(*pid);
        // The killed process may not end immediately, because it may wait for a lock that another process
        // holds.
        sys::reap(*pid, Duration::from_millis(50));
    }
    if let Some(pid) = pids.into_iter().find(|pid| !sys::reap(*pid, patience())) {
        return Err(io::Error::other(format!("process {pid} cannot be killed")));
    }
    let arrived = listener.map(|listener| listener.text).unwrap_or_default();
    let said = speaker.lines().join(", ");
    let mut at_second = Vec::new();
    let mut file = File::from(look_at(&second)?);
    file.read_to_end(&mut at_second)?;
    Ok(Seen { outcome, arrived, second: at_second, all_said: is_done(&speaker), said })
}

fn is_done(speaker: &Report) -> bool {
    speaker.lines().last().is_some_and(|line| line == "done")
}

/// Returns up to 4096 bytes that can be read from the source without waiting.
fn rest(near: &super::kinds::Near) -> Vec<u8> {
    let Ok(fd) = near.as_fd().try_clone_to_owned() else { return Vec::new() };
    sys::set_nonblocking(&fd, true);
    let mut buf = [0; 4096];
    let count = File::from(fd).read(&mut buf).unwrap_or(0);
    buf[..count].to_vec()
}

// ---- the speaker ----

fn speak(
    from: &SourceKind,
    source: &Made,
    acts: &[Act],
    over: &OwnedFd,
    answers: &OwnedFd,
    report: &mut File,
) {
    let mut far = source.far.as_ref().map(|far| Far(far.as_raw_fd()));
    for (number, act) in acts.iter().enumerate() {
        if let Err(error) = one_act(from, source, &mut far, act, over, answers) {
            let _ = writeln!(report, "act {number}: {error}");
            wait_until_over(over);
            return;
        }
    }
    let _ = report.write_all(b"done\n");
    wait_until_over(over);
}

/// The peer's descriptor. The speaker only borrows the descriptor's owner, so the descriptor is closed by
/// number.
struct Far(RawFd);

impl Drop for Far {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

fn one_act(
    from: &SourceKind,
    source: &Made,
    far: &mut Option<Far>,
    act: &Act,
    over: &OwnedFd,
    answers: &OwnedFd,
) -> io::Result<()> {
    let fd = source.far.as_ref().filter(|_| far.is_some());
    let fd = fd.ok_or_else(|| io::Error::other("has no peer"));
    match act {
        Act::Say(said) => from.say(fd?, said),
        Act::Urgent(byte) => sys::send_urgent(fd?, *byte),
        Act::Empty => sys::send_empty(fd?),
        Act::ControlD => File::from(fd?.try_clone()?).write_all(&[4]),
        Act::HalfClose => {
            sys::shut(fd?, false);
            Ok(())
        }
        Act::Reset => {
            sys::reset_on_close(fd?)?;
            *far = None;
            Ok(())
        }
        Act::Pause(pause) => {
            thread::sleep(*pause);
            Ok(())
        }
        Act::Chatter(time) => {
            let (begin, mut far) = (Instant::now(), File::from(fd?.try_clone()?));
            while begin.elapsed() < *time {
                far.write_all(b"x")?;
            }
            Ok(())
        }
        Act::Await => {
            match sys::poll([(answers.as_raw_fd(), POLLIN), (over.as_raw_fd(), POLLIN)], patience())
            {
                [answered, _] if answered & POLLIN != 0 => {
                    File::from(answers.try_clone()?).read_exact(&mut [0])
                }
                _ => Err(io::Error::other("no reply")),
            }
        }
        Act::End => match from.end {
            End::Close | End::CloseEio => {
                *far = None;
                Ok(())
            }
            End::ControlD => File::from(fd?.try_clone()?).write_all(&[4]),
            End::Shut => {
                sys::shut(&source.near.as_fd(), true);
                Ok(())
            }
            End::Contents | End::Never => Ok(()),
        },
    }
}

fn wait_until_over(over: &OwnedFd) {
    sys::poll([(over.as_raw_fd(), 0)], Duration::from_secs(3600));
}

fn is_over(over: &OwnedFd, wait: Duration) -> bool {
    sys::poll([(over.as_raw_fd(), 0)], wait)[0] & POLLHUP != 0
}

// ---- the listener ----

fn listen(
    to: &SinkKind,
    far: &OwnedFd,
    begin: u64,
    ear: &Ear,
    over: &OwnedFd,
    answer: &OwnedFd,
    report: &mut File,
) {
    let file = File::from(far.try_clone().expect("a descriptor"));
    let mut answer = File::from(answer.try_clone().expect("a descriptor"));
    let mut heard = 0;
    let mut thresholds = match ear {
        Ear::Open(thresholds) => thresholds.clone(),
        Ear::Deaf => {
            wait_until_over(over);
            Vec::new()
        }
        Ear::Slow(pages, pause) => {
            for _ in 0..*pages {
                thread::sleep(*pause);
                let _ = (&file).read(&mut [0; 4096]);
            }
            wait_until_over(over);
            Vec::new()
        }
    };
    let mut buf = vec![0; 1 << 20]; // larger than any datagram of a case
    loop {
        let count = if to.file {
            match file.read_at(&mut buf, begin + heard as u64) {
                Ok(0) if is_over(over, Duration::from_millis(1)) => {
                    // Reads the bytes that have arrived since the previous read.
                    match file.read_at(&mut buf, begin + heard as u64) {
                        Ok(count @ 1..) => count,
                        _ => return,
                    }
                }
                Ok(0) => continue,
                Ok(count) => count,
                Err(_) => return,
            }
        } else {
            let fds = [(far.as_raw_fd(), POLLIN), (over.as_raw_fd(), 0)];
            let [_, end] = sys::poll(fds, Duration::from_secs(3600));
            if end != 0 {
                sys::set_nonblocking(far, true);
            }
            match (&file).read(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            }
        };
        heard += count;
        let _ = report.write_all(&buf[..count]);
        while thresholds.first().is_some_and(|threshold| heard >= *threshold) {
            thresholds.remove(0);
            let _ = answer.write_all(b"!");
        }
    }
}

// ---- competitors ----

/// Starts the competing processes, and returns their ids.
fn compete(others: Others, near: RawFd, near_sink: RawFd) -> io::Result<Vec<i32>> {
    let (count, fd, reading) = match others {
        Others::None => return Ok(Vec::new()),
        Others::Readers(count) => (count, near, true),
        Others::Writers(count) => (count, near_sink, false),
        Others::LateWriter => (1, near_sink, false),
    };
    let compete = || {
        use std::os::fd::BorrowedFd;
        // SAFETY: the descriptor is open in this process, which does not close it.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let mut file = File::from(fd.try_clone_to_owned().expect("a descriptor"));
        let goes_on = |answer: io::Result<usize>| match answer {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        // `poll` wakes all competitors at the same time, so they race for each byte.
        let ready = |events| sys::poll([(fd.as_raw_fd(), events)], Duration::from_secs(3600));
        if others == Others::LateWriter {
            thread::sleep(Duration::from_millis(50));
            let _ = file.write(b"from another");
        } else if reading {
            while ready(POLLIN) != [0] && goes_on(file.read(&mut [0; 4096])) {}
        } else {
            while ready(POLLOUT) != [0] && goes_on(file.write(&[b'o'; 4096])) {}
        }
    };
    (0..count).map(|_| sys::spawn(&[fd], compete)).collect()
}
