//! Implements `vmsplice` and `splice` with the behaviour of a kernel that copies pages.

use crate::Way;
use crate::kernel::{self, Carrier, KNOWN_FLAGS, Moved, NONBLOCK, Room};
use crate::target::{Buffers, Target};
use libc::{O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY, S_IFBLK, S_IFIFO, S_IFREG};
use std::os::fd::OwnedFd;

/// The answer to a call.
pub(crate) enum Answer {
    /// The supervisor handled the call. The call returns this count or errno.
    Made(Moved),
    /// The kernel must make the call.
    PassOn,
    /// The thread no longer waits for an answer.
    Gone,
}

/// The number of bytes that are copied at a time, unless the [`Carrier`] has room for fewer bytes.
const PIECE: usize = 64 << 10;
/// The interval at which a waiting thread is checked, in milliseconds.
const LOOK: i32 = 5;

pub(crate) fn vmsplice(
    target: &Target,
    way: Way,
    [fd, list, count, flags, ..]: [u64; 6],
) -> Answer {
    try_vmsplice(target, way, [fd, list, count, flags])
        .unwrap_or_else(|errno| Answer::Made(Err(errno)))
}

fn try_vmsplice(
    target: &Target,
    way: Way,
    [fd, list, count, flags]: [u64; 4],
) -> Result<Answer, i32> {
    let flags = flags as u32;
    let pipe = target.descriptor(fd)?;
    let mode = kernel::flags(&pipe);
    if flags & !KNOWN_FLAGS != 0 || kernel::kind(&pipe) != S_IFIFO || mode & O_PATH != 0 {
        return Ok(Answer::PassOn);
    }
    let Some(buffers) = Buffers::of(target, list, count)? else { return Ok(Answer::PassOn) };
    let at_once = flags & NONBLOCK != 0;
    if mode & O_ACCMODE == O_RDONLY {
        return match way {
            Way::Writes if at_once => {
                let mut bytes = vec![0; buffers.len.min(1 << 20)];
                let count = kernel::read_now(&pipe, &mut bytes)?;
                let filled = if count == 0 { 0 } else { buffers.fill(target, &bytes[..count])? };
                Ok(Answer::Made(Ok(filled)))
            }
            _ => Ok(Answer::PassOn),
        };
    }
    let carrier = Carrier::new()?;
    let piece = PIECE.min(carrier.room);
    let next = |done| buffers.copy(target, done, piece);
    let pass = |bytes: &[u8]| match way {
        Way::Pages => carrier.pass(bytes, &pipe),
        Way::Writes => match kernel::write_now(&pipe, bytes) {
            // The pipe does not support `RWF_NOWAIT`. This call is allowed to wait, so the carrier passes the
            // bytes without that flag.
            Err(libc::EOPNOTSUPP) if !at_once => carrier.pass(bytes, &pipe),
            answer => answer,
        },
    };
    let how = match way {
        Way::Pages => How { waits: !at_once, whole: false, by_slot: true },
        Way::Writes => {
            let waits = !at_once && mode & O_NONBLOCK == 0;
            How { waits, whole: waits, by_slot: false }
        }
    };
    Ok(fill(target, &pipe, &how, buffers.len, next, pass).0)
}

pub(crate) fn splice(
    target: &Target,
    [from, from_offset, to, to_offset, len, flags]: [u64; 6],
) -> Answer {
    let file = (from, from_offset);
    if to_offset != 0 || flags as u32 & !KNOWN_FLAGS != 0 || len == 0 {
        return Answer::PassOn;
    }
    try_splice(target, file, to, len, flags as u32).unwrap_or_else(|errno| Answer::Made(Err(errno)))
}

fn try_splice(
    target: &Target,
    file: (u64, u64),
    to: u64,
    len: u64,
    flags: u32,
) -> Result<Answer, i32> {
    let (from, pipe) = (target.descriptor(file.0)?, target.descriptor(to)?);
    let (from_mode, to_mode) = (kernel::flags(&from), kernel::flags(&pipe));
    let is_file = matches!(kernel::kind(&from), S_IFREG | S_IFBLK) && from_mode & O_PATH == 0;
    let is_pipe = kernel::kind(&pipe) == S_IFIFO && to_mode & O_PATH == 0;
    let open = from_mode & O_ACCMODE != O_WRONLY && to_mode & O_ACCMODE != O_RDONLY;
    if !(is_file && is_pipe && open) {
        return Ok(Answer::PassOn);
    }
    let start = if file.1 == 0 {
        kernel::position(&from)
    } else {
        let mut offset = [0; 8];
        if target.read(file.1, &mut offset)? < offset.len() {
            return Err(libc::EFAULT);
        }
        Some(i64::from_ne_bytes(offset)).filter(|&offset| offset >= 0)
    };
    let Some(start) = start else { return Ok(Answer::PassOn) };
    let carrier = Carrier::new()?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let piece = PIECE.min(carrier.room);
    let next = |done: usize| carrier.bytes_of(&from, start + done as i64, piece.min(len - done));
    // As in the kernel, `O_NONBLOCK` on the pipe has the same effect as `SPLICE_F_NONBLOCK`.
    let waits = flags & NONBLOCK == 0 && to_mode & O_NONBLOCK == 0;
    let how = How { waits, whole: false, by_slot: true };
    let pass = |bytes: &[u8]| carrier.pass(bytes, &pipe);
    let (answer, moved) = fill(target, &pipe, &how, len, next, pass);
    // Only bytes that are in the pipe count as read.
    let end = start + moved as i64;
    match file.1 {
        _ if moved == 0 => {}
        0 => kernel::set_position(&from, end),
        place => _ = target.write(place, &end.to_ne_bytes()),
    }
    Ok(answer)
}

/// The rules by which a call fills the pipe.
struct How {
    /// Set if the call waits for room.
    waits: bool,
    /// Set if the call waits until all bytes are in the pipe.
    whole: bool,
    /// Set if the call needs a free slot. Otherwise, the call can also append to the last page in the pipe.
    by_slot: bool,
}

/// Moves pieces to a pipe until all `len` bytes are in the pipe, `next` returns an empty piece, or the call
/// must return early. Returns the answer and the number of bytes that were moved to the pipe.
fn fill(
    target: &Target,
    pipe: &OwnedFd,
    how: &How,
    len: usize,
    next: impl Fn(usize) -> Result<Vec<u8>, i32>,
    pass: impl Fn(&[u8]) -> Moved,
) -> (Answer, usize) {
    let (mut done, mut pending) = (0, 0);
    let error = loop {
        let moved = match kernel::room(pipe, 0) {
            _ if done == len => Ok(0),
            Room::NoReader => Err(libc::EPIPE),
            Room::Full if how.by_slot => Err(libc::EAGAIN),
            _ => next(done).and_then(|bytes| if bytes.is_empty() { Ok(0) } else { pass(&bytes) }),
        };
        match moved {
            Ok(0) => return (Answer::Made(Ok(done)), done),
            Ok(count) => done += count,
            Err(_) if done > 0 && !how.whole => return (Answer::Made(Ok(done)), done),
            Err(libc::EAGAIN) if how.waits => {
                if let Some(answer) = wait(target, pipe, &mut pending) {
                    let answer = match answer {
                        Answer::Made(Err(_)) if done > 0 => Answer::Made(Ok(done)),
                        answer => answer,
                    };
                    return (answer, done);
                }
            }
            Err(errno) => break errno,
        }
    };
    if error == libc::EPIPE {
        target.raise_sigpipe();
    }
    (Answer::Made(if done > 0 { Ok(done) } else { Err(error) }), done)
}

/// Waits until the pipe has room or its last read end is closed, and then returns `None`. Stops waiting and
/// returns an answer if the thread must handle a signal or no longer waits.
fn wait(target: &Target, pipe: &OwnedFd, pending: &mut u64) -> Option<Answer> {
    loop {
        if !target.waits() {
            return Some(Answer::Gone);
        }
        if let Some(errno) = target.interrupted(pending) {
            return Some(Answer::Made(Err(errno)));
        }
        if !matches!(kernel::room(pipe, LOOK), Room::Full) {
            return None;
        }
    }
}
