//! Tests that a mover returns at its deadline, and that the error names the side that is not ready. In these
//! cases, the peer is silent, the sink is full, competitors use the same end, or a socket's error queue is
//! not empty. Some other cases move exactly as many bytes as fit into the sink. The remaining cases wait
//! without a deadline on a socket with an error queue.

use super::content::{compare, made, words};
use super::kinds::{End, Made, SINKS, SOURCES, SinkKind, SourceKind, request, sink, source, text};
use super::movers::{MOVERS, Mover, Outcome, WITH_DEADLINE};
use super::stage::{Act, Ear, Others, Play, Seen, play};
use super::sys::{self, ETIMEDOUT};
use super::table::{Table, Verdict};
use rawpipe::transfer::Side;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_millis(100);
/// A wait that is long enough to detect a busy loop.
const LONG: Duration = Duration::from_millis(500);
const LITTLE_CPU: Duration = Duration::from_millis(150);
/// The time within which the mover must return, including a margin for slow machines.
const BACK: Duration = Duration::from_secs(3);

const FAMILY: &str = "deadline";

pub(crate) fn cases(table: &mut Table) {
    silent(table);
    full(table);
    competitors(table);
    error_queue(table);
    exact_room(table);
}

/// Returns complaints unless the mover returned in time and reported `ETIMEDOUT` for this side. If `bytes` is
/// set, the mover must also have moved this number of bytes.
fn timed_out(seen: &Seen, side: Side, bytes: Option<usize>) -> Vec<String> {
    let mut complaints = Vec::new();
    match &seen.outcome {
        None => complaints.push(format!("expected ETIMEDOUT of the {side:?}; it hung")),
        Some(outcome) => {
            let right = outcome.error == Some((Some(side), ETIMEDOUT))
                && bytes.is_none_or(|bytes| outcome.bytes == bytes);
            if !right {
                let bytes = bytes.map_or(String::new(), |bytes| format!(" after {bytes}"));
                complaints
                    .push(format!("expected ETIMEDOUT of the {side:?}{bytes}, seen {outcome}"));
            }
            if outcome.took > BACK {
                complaints
                    .push(format!("expected an end within {BACK:?}, seen {:?}", outcome.took));
            }
        }
    }
    complaints
}

/// Returns complaints as [`timed_out`] does, but accepts `ETIMEDOUT` for either side. A mover that moved
/// `all` bytes in time is also accepted.
fn kept(seen: &Seen, all: usize) -> Vec<String> {
    match &seen.outcome {
        Some(outcome) if outcome.bytes == all && outcome.took <= BACK => Vec::new(),
        Some(Outcome { error: Some((Some(Side::Sink), ETIMEDOUT)), .. }) => {
            timed_out(seen, Side::Sink, None)
        }
        _ => timed_out(seen, Side::Source, None),
    }
}

fn little_cpu(seen: &Seen) -> Option<String> {
    let cpu = seen.outcome.as_ref()?.cpu;
    (cpu > LITTLE_CPU).then(|| format!("expected at most {LITTLE_CPU:?} of CPU, seen {cpu:?}"))
}

// ---- a source that stops after one message ----

fn silent(table: &mut Table) {
    for from in SOURCES.iter().filter(|kind| kind.talks()) {
        for to in SINKS.iter().filter(|kind| !kind.bad) {
            for mover in WITH_DEADLINE {
                let blocks = (to.unit == 4096).then_some("O_DIRECT takes whole blocks");
                let old = not_promised_between(from, to, false);
                let nonsense = words(from, to).or(blocks).or(old);
                let pair = (*mover, from, to);
                table.pair(FAMILY, "deadline_silent", pair, nonsense, move || {
                    let said = request(1);
                    let mut scene = match made(from, to, pair.0, b"") {
                        Ok(scene) => scene,
                        Err(verdict) => return Ok(verdict),
                    };
                    scene.limits.deadline = Some(DEADLINE);
                    scene.mover_last = true;
                    let bytes = from.gives(&said).len();
                    scene.acts = vec![Act::Say(said)];
                    Ok(Verdict::of(&timed_out(&play(scene)?, Side::Source, Some(bytes))))
                });
            }
        }
    }
}

// ---- a full sink ----

/// Writes until the sink accepts no more bytes, or until 64 MiB have been written. Returns whether the sink
/// stopped accepting bytes.
fn fill(near: &impl AsFd, to: &SinkKind) -> io::Result<bool> {
    const MOST: usize = 64 << 20;
    let fd = near.as_fd().try_clone_to_owned()?;
    let before = sys::set_nonblocking(&fd, true);
    let mut file = File::from(fd);
    let (mut written, mut refused) = (0, 0);
    let most_of_an_eventfd = (u64::MAX - 1).to_ne_bytes();
    let whole: &[u8] = if to.unit == 8 { &most_of_an_eventfd } else { &[b'f'; 4096] };
    let mut piece = whole;
    // A full socket or terminal may have room again a moment later. For example, TCP retransmits after 200
    // ms.
    let patience = if to.pipe || to.unit == 8 { 1 } else { 120 };
    while refused < patience && written < MOST {
        match file.write(piece) {
            // The sink may now have room for megabytes, which would take too long to fill with single bytes.
            Ok(count) => (written, refused, piece) = (written + count, 0, whole),
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && to.unit == 1 && piece.len() > 1 =>
            {
                piece = b"f";
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
    sys::set_nonblocking(&file, before);
    Ok(written < MOST)
}

/// Creates a source and a sink as [`made`] does, and fills the sink.
pub(crate) fn made_full(
    from: &'static SourceKind,
    to: &'static SinkKind,
    mover: Mover,
    contents: &[u8],
) -> Result<Play<'static>, Verdict> {
    let scene = made(from, to, mover, contents)?;
    let Made { near, .. } = &scene.sink;
    match fill(near, to) {
        Ok(true) => Ok(scene),
        Ok(false) => Err(Verdict::Skip(format!("{} is never full", to.name))),
        Err(error) => Err(Verdict::Skip(format!("{} cannot be filled: {error}", to.name))),
    }
}

fn full(table: &mut Table) {
    for from in ["tmpfs_file", "pipe", "packet_pipe", "unix_stream", "tcp", "eventfd", "pty_slave"]
    {
        let from = source(from);
        for to in SINKS.iter().filter(|kind| kind.fills) {
            for mover in WITH_DEADLINE {
                let pair = (*mover, from, to);
                let old = not_promised_between(from, to, false);
                table.pair(FAMILY, "deadline_full", pair, old, move || {
                    let said = if from.most.min(to.most) < 64 { request(1) } else { text(1024) };
                    let mut scene = match made_full(from, to, pair.0, &said) {
                        Ok(scene) => scene,
                        Err(verdict) => return Ok(verdict),
                    };
                    scene.limits.deadline = Some(DEADLINE);
                    scene.mover_last = true;
                    scene.ear = Ear::Deaf;
                    if from.talks() {
                        scene.acts = vec![Act::Say(said.clone())];
                    }
                    let seen = play(scene)?;
                    let mut complaints = timed_out(&seen, Side::Sink, Some(0));
                    if let Some(outcome) =
                        seen.outcome.filter(|outcome| outcome.undelivered > said.len())
                    {
                        complaints.push(format!(
                            "expected at most {} in hand, seen {outcome}",
                            said.len()
                        ));
                    }
                    Ok(Verdict::of(&complaints))
                });
            }
        }
    }
}

// ---- competitors at the same end ----

const OLD: &str = "before Linux 6.5, or in an emulator that drops the flag, a blocking socket has no call that does not wait";

/// Returns the reason why the crate promises no deadline for this pair, or `None` if the crate promises one.
/// For example, `poll` reports a socket as ready although only its error queue has an entry. If `room` is
/// true, the contents exactly fit into the sink, but `poll` may understate the sink's room.
fn not_promised_between(from: &SourceKind, to: &SinkKind, room: bool) -> Option<&'static str> {
    let queue = [from.name, to.name].iter().any(|name| name.ends_with("_error_queue"));
    let socket = room && ["unix", "tcp"].iter().any(|word| to.name.starts_with(word));
    if room && to.pipe && crate::common::emulated() {
        return Some("an emulator drops RWF_NOWAIT, and the fallback takes a slot for each write");
    }
    ((queue || socket) && sockets_wait()).then_some(OLD)
}

/// Returns the reason why a mover that loses a race may wait indefinitely, or `None` if the mover always
/// returns. The only such reason is that the kernel has no nonblocking call for this descriptor.
fn not_promised(name: &str, pipe: bool) -> Option<&'static str> {
    let waits = !name.ends_with("_nonblocking");
    (!pipe && waits && sockets_wait()).then_some(OLD)
}

/// Returns whether the cases assume that `RWF_NOWAIT` has no effect on sockets. The cases assume this on old
/// kernels and under an emulator. Versions of qemu-user before 8 drop the flags of `preadv2`.
fn sockets_wait() -> bool {
    !crate::common::linux(6, 5) || crate::common::emulated()
}

fn competitors(table: &mut Table) {
    const OTHERS: usize = 6;
    let shared = SOURCES.iter().filter(|kind| kind.shared);
    for from in shared {
        for to in ["tmpfs_file", "pipe", "unix_stream", "dev_null"].map(sink) {
            for mover in WITH_DEADLINE {
                let pair = (*mover, from, to);
                let nonsense = not_promised(from.name, from.pipe);
                // The mover rarely loses the race for the last byte, so the case with small chunks is
                // repeated.
                let times = if *mover == Mover::SmallChunk { 6 } else { 1 };
                table.pair(FAMILY, "deadline_competing_readers", pair, nonsense, move || {
                    let mut complaints = Vec::new();
                    for _ in 0..times {
                        let mut scene = match made(from, to, pair.0, b"") {
                            Ok(scene) => scene,
                            Err(verdict) => return Ok(verdict),
                        };
                        scene.limits.deadline = Some(DEADLINE);
                        scene.others = Others::Readers(OTHERS);
                        // The speaker stops before the deadline, so a mover that loses the race for the last
                        // byte has nothing to read.
                        scene.acts = vec![Act::Chatter(DEADLINE / 2)];
                        complaints.extend(kept(&play(scene)?, usize::MAX));
                        if !complaints.is_empty() {
                            break;
                        }
                    }
                    Ok(Verdict::of(&complaints))
                });
            }
        }
    }
    for from in ["tmpfs_file", "pipe", "unix_stream"].map(source) {
        for to in SINKS.iter().filter(|kind| kind.shared) {
            for mover in WITH_DEADLINE {
                let pair = (*mover, from, to);
                let nonsense = not_promised(to.name, to.pipe);
                table.pair(FAMILY, "deadline_competing_writers", pair, nonsense, move || {
                    let contents = from.contents(from.most);
                    let all = contents.len();
                    let mut scene = match made_full(from, to, pair.0, &contents) {
                        Ok(scene) => scene,
                        Err(verdict) => return Ok(verdict),
                    };
                    scene.limits.deadline = Some(DEADLINE);
                    scene.others = Others::Writers(OTHERS);
                    if from.talks() {
                        scene.acts = vec![Act::Say(contents)];
                    }
                    scene.ear = Ear::Slow(100, Duration::from_micros(500));
                    Ok(Verdict::of(&kept(&play(scene)?, all)))
                });
            }
        }
    }
}

// ---- an error queue ----

fn error_queue(table: &mut Table) {
    let queue = source("tcp_error_queue");
    for to in ["tmpfs_file", "append_file", "pipe", "unix_stream", "tcp", "pty_slave", "dev_null"]
        .map(sink)
    {
        for mover in WITH_DEADLINE {
            let pair = (*mover, queue, to);
            let old = not_promised_between(queue, to, false);
            table.pair(FAMILY, "deadline_error_queue", pair, old, move || {
                let mut scene = match made(queue, to, pair.0, b"") {
                    Ok(scene) => scene,
                    Err(verdict) => return Ok(verdict),
                };
                scene.limits.deadline = Some(LONG);
                let seen = play(scene)?;
                let mut complaints = timed_out(&seen, Side::Source, Some(0));
                complaints.extend(little_cpu(&seen));
                Ok(Verdict::of(&complaints))
            });
        }
        for mover in MOVERS {
            let pair = (*mover, queue, to);
            table.pair(FAMILY, "error_queue_idle", pair, None, move || {
                let said = request(1);
                let mut scene = match made(queue, to, pair.0, b"") {
                    Ok(scene) => scene,
                    Err(verdict) => return Ok(verdict),
                };
                if pair.0 == Mover::Exact {
                    scene.limits.exact = Some(said.len());
                }
                scene.acts = vec![Act::Pause(LONG), Act::Say(said.clone()), Act::End];
                let seen = play(scene)?;
                let expected = Outcome { bytes: said.len(), ..Outcome::default() };
                let mut complaints = compare(pair.0, &seen, &expected, to.heard.then_some(&said));
                complaints.extend(little_cpu(&seen));
                Ok(Verdict::of(&complaints))
            });
        }
    }
    let queue = sink("tcp_error_queue");
    for from in ["tmpfs_file", "pipe", "unix_stream", "tcp"].map(source) {
        for mover in WITH_DEADLINE {
            let pair = (*mover, from, queue);
            let old = not_promised_between(from, queue, false);
            table.pair(FAMILY, "deadline_error_queue_full", pair, old, move || {
                let said = text(1024);
                let mut scene = match made_full(from, queue, pair.0, &said) {
                    Ok(scene) => scene,
                    Err(verdict) => return Ok(verdict),
                };
                scene.limits.deadline = Some(LONG);
                scene.ear = Ear::Deaf;
                if from.talks() {
                    scene.acts = vec![Act::Say(said)];
                }
                let seen = play(scene)?;
                let mut complaints = timed_out(&seen, Side::Sink, Some(0));
                complaints.extend(little_cpu(&seen));
                Ok(Verdict::of(&complaints))
            });
        }
    }
}

// ---- room for exactly the contents ----

/// Returns the number of bytes that fit into this sink before `poll` reports the sink as full. While the sink
/// is filled, no process reads from it. Returns `None` for kinds that the test leaves out.
fn room(to: &SinkKind) -> Option<usize> {
    match to.name {
        "pipe" | "pipe_nonblocking" | "fifo" | "fifo_rdwr" | "unix_stream" | "unix_seqpacket" => {
            Some(16 * 4096)
        }
        "page_pipe" => Some(4096),
        _ => None,
    }
}

fn exact_room(table: &mut Table) {
    let sources = SOURCES.iter().filter(|kind| {
        let says_it = !matches!(kind.name, "page_pipe" | "packet_pipe" | "proc_file" | "dev_null");
        let ends = matches!(kind.end, End::Contents | End::Close);
        !kind.bad && !kind.native && says_it && ends
    });
    for from in sources {
        for to in SINKS.iter().filter(|kind| room(kind).is_some()) {
            let socket = from.talks() && !from.pipe;
            let to_pipe = to.name.contains("pipe") || to.name.contains("fifo");
            for mover in WITH_DEADLINE {
                let one_call = matches!(mover, Mover::Deadline | Mover::Progress) && !socket;
                let nonsense = match mover {
                    _ if socket && to_pipe => {
                        Some("pieces of a socket take more slots of a pipe than a page each")
                    }
                    Mover::SmallChunk if to.name.contains("fifo") => {
                        Some("where nothing else does not wait each piece takes a slot of the pipe")
                    }
                    _ if !to_pipe && !one_call => {
                        Some("poll calls a socket full long before it is")
                    }
                    _ => None,
                };
                let pair = (*mover, from, to);
                let nonsense = nonsense.or_else(|| not_promised_between(from, to, true));
                table.pair(FAMILY, "deadline_exact_room", pair, nonsense, move || {
                    let contents = from.contents(room(to).unwrap_or(0).max(3 * 4096));
                    let contents = &contents[..room(to).unwrap_or(0)];
                    let mut scene = match made(from, to, pair.0, contents) {
                        Ok(scene) => scene,
                        Err(verdict) => return Ok(verdict),
                    };
                    scene.limits.deadline = Some(DEADLINE);
                    scene.mover_last = true;
                    scene.ear = Ear::Deaf;
                    if from.talks() {
                        scene.acts = vec![Act::Say(contents.to_vec()), Act::End];
                    }
                    let expected = Outcome { bytes: contents.len(), ..Outcome::default() };
                    let seen = play(scene)?;
                    Ok(Verdict::of(&compare(pair.0, &seen, &expected, Some(contents))))
                });
            }
        }
    }
}
