//! Defines operations of `Channel`, and of `ChunkWriter` with `ChunkReader`.

use super::check::{Holdings, Verdict, ensure, failed, pattern, rest_of, shortened};
use super::{Operation, missing};
use crate::common::nr;
use crate::tracer::operation;
use rawpipe::Deadline;
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter, Reuse};
use rawpipe::message::{Channel, MessageError};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::{Errno, PipeReader, PipeWriter};
use std::time::Duration;

type Link = Channel<PipeReader, PipeWriter>;

/// Returns messages of different lengths, one of which is empty.
fn messages() -> Vec<Vec<u8>> {
    [3, 0, 9_000, 1, 500].map(pattern).to_vec()
}

#[derive(Clone, Copy)]
enum How {
    Plain,
    Into,
    Deadline,
}

fn send(link: &mut Link, message: &[u8], how: How) -> Result<(), MessageError> {
    let (a, b) = message.split_at(message.len() / 3);
    match how {
        How::Deadline => link.send_deadline(&[a, b], Deadline::after(Duration::from_secs(600))),
        _ => link.send(&[a, b]),
    }
}

fn receive(link: &mut Link, how: How) -> Result<Option<Vec<u8>>, MessageError> {
    match how {
        How::Plain => link.recv(),
        How::Deadline => link.recv_deadline(Deadline::after(Duration::from_secs(600))),
        How::Into => {
            let mut buf = vec![0; 10_000];
            let len = link.recv_into(&mut buf)?;
            Ok(len.map(|len| buf[..len].to_vec()))
        }
    }
}

/// Retries a call once if the call fails with an I/O error.
fn again<T>(mut attempt: impl FnMut() -> Result<T, MessageError>) -> Result<T, MessageError> {
    match attempt() {
        Err(MessageError::Io(_)) => attempt(),
        answer => answer,
    }
}

/// Sends all messages with one call, and retries the unsent messages once. Returns the number of sent
/// messages, and whether one message was sent only in part. Returns `None` if the retry also fails.
fn send_all(link: &mut Link, all: &[Vec<u8>], how: How) -> Option<(usize, bool)> {
    let mut sent = 0;
    for _ in 0..2 {
        let rest = &all[sent..];
        let answer = match how {
            How::Deadline => {
                let late = Deadline::after(Duration::from_secs(600));
                link.sender().send_many_deadline(rest, late)
            }
            _ => link.send_many(rest),
        };
        match answer {
            Ok(()) => return Some((all.len(), false)),
            Err(MessageError::Torn) => return Some((sent, true)),
            Err(MessageError::Stopped(_, count)) => sent += count,
            Err(_) => {}
        }
    }
    None
}

/// Sends messages through a channel. If `many` is set, one call sends all messages, and the receiver reads
/// ahead.
fn channel(how: How, many: bool) -> Verdict {
    let all = messages();
    let holdings = Holdings::now();
    let result = operation(|| {
        let (mut left, mut right) = Channel::pair()?;
        let mut sent = Vec::with_capacity(8);
        let mut torn = false;
        if many {
            right = right.with_read_ahead();
            match send_all(&mut left, &all, how) {
                Some((count, part)) => {
                    sent.extend_from_slice(&all[..count]);
                    torn = part;
                }
                None => return Ok(Err("sending many, twice".to_owned())),
            }
        }
        for message in all.iter().skip(if many { all.len() } else { 0 }) {
            match again(|| send(&mut left, message, how)) {
                Ok(()) => sent.push(message.clone()),
                Err(MessageError::Torn) => torn = true,
                Err(error) => return Ok(Err(format!("sending, twice: {error}"))),
            }
        }
        drop(left);
        let mut received = Vec::with_capacity(8);
        let end = loop {
            match again(|| receive(&mut right, how)) {
                Ok(Some(message)) => received.push(message),
                end => break end,
            }
        };
        Ok::<_, Errno>(Ok((sent, torn, received, end.map(drop))))
    });
    if let Ok(told) = result {
        let (sent, torn, received, end) = told?;
        let lens = |list: &[Vec<u8>]| list.iter().map(Vec::len).collect::<Vec<_>>();
        ensure!(sent == received, "sent {:?}, received {:?}", lens(&sent), lens(&received));
        let right = if torn { end == Err(MessageError::Truncated) } else { end == Ok(()) };
        ensure!(right, "torn: {torn}, and the end is {end:?}");
        use nr::{PPOLL, PREADV2, PWRITEV2, READ, WRITEV};
        let quick = [PPOLL, PREADV2, PWRITEV2, READ, WRITEV];
        let fine = failed(&quick, &[Errno::EINTR]) || shortened();
        ensure!(!fine || (!torn && sent.len() == all.len()), "{} messages", sent.len());
    }
    holdings.unchanged(0)
}

/// Sends chunks of several sizes and resends a part of each chunk. Receives the chunks by reading and by
/// splicing. After a failed send or resend, the function tries once to send the remaining bytes.
fn chunks(reuse: Reuse, mechanism: Option<ChunkMechanism>, chunk: usize) -> Verdict {
    const SIZES: [usize; 5] = [40_000, 100, 70_000, 16_384, 40_000];
    let holdings = Holdings::now();
    let told = operation(|| {
        let (reader, writer) = Builder::new().capacity(Capacity::Bytes(512 << 10)).build()?;
        let (onward, to) = Builder::new().capacity(Capacity::Bytes(512 << 10)).build()?;
        let builder = ChunkWriter::builder().chunk(chunk).reuse(reuse);
        let builder = mechanism.map_or(builder, |mechanism| builder.mechanism(mechanism));
        let mut writer = builder.build(writer)?;
        let mut reader = ChunkReader::builder().chunk(64 << 10).build(reader)?;
        let (mut sent, mut received) = (Vec::with_capacity(1 << 19), Vec::with_capacity(1 << 19));
        for (round, len) in SIZES.into_iter().enumerate() {
            let len = len.min(chunk);
            let lent = match writer.chunk() {
                Ok(lent) => lent,
                Err(_) => writer.chunk()?,
            };
            let bytes = pattern(len + round);
            lent[..len].copy_from_slice(&bytes[round..]);
            let mut done = 0;
            for _ in 0..2 {
                match writer.send(len - done) {
                    Ok(()) => done = len,
                    Err(stopped) => done += stopped.bytes(),
                }
            }
            sent.extend_from_slice(&bytes[round..round + done]);
            // Only a chunk that was sent completely can be resent.
            let (part, mut again) = (len / 2 + 1, 0);
            for _ in 0..2 {
                match writer.resend(part - again) {
                    Ok(()) => again = part,
                    Err(stopped) => again += stopped.bytes(),
                }
            }
            if done < len && again > 0 {
                return Ok(Err(format!("{again} bytes again, but {done} of {len} before")));
            }
            sent.extend_from_slice(&bytes[round..round + again]);
            // The loop reads only the bytes that are in the pipe, so no read waits.
            while reader.get_ref().available().unwrap_or(0) > 0 {
                match reader.read_chunk() {
                    Ok(bytes) => received.extend_from_slice(bytes),
                    Err(_) => received.extend_from_slice(reader.read_chunk()?),
                }
            }
        }
        // The last chunk is spliced to another pipe, and its bytes are compared after the writer is dropped.
        let bytes = pattern(50_000.min(chunk));
        if writer.chunk().map(|lent| lent[..bytes.len()].copy_from_slice(&bytes)).is_ok() {
            let done =
                writer.send(bytes.len()).map_or_else(|stopped| stopped.bytes(), |()| bytes.len());
            sent.extend_from_slice(&bytes[..done]);
        }
        drop(writer);
        while let Ok(1..) = reader.splice_to(&to, 1 << 20) {}
        drop(to);
        let left = reader.into_inner();
        Ok::<_, Errno>(Ok((sent, received, onward, left)))
    });
    if let Ok(told) = told {
        let (sent, mut received, onward, left) = told?;
        received.extend(rest_of(&onward));
        received.extend(rest_of(&left));
        ensure!(sent.len() == received.len(), "{} sent, {} received", sent.len(), received.len());
        ensure!(sent == received, "other bytes");
    }
    holdings.unchanged(0)
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    let ways = [("", How::Plain), (", recv_into", How::Into), (", deadline", How::Deadline)];
    for ((name, how), many) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let name = format!("Channel{name}{}", if many { ", many" } else { "" });
        all.push(Operation::new(name.clone(), move || channel(how, many)));
        let refused =
            vec![missing(nr::PREADV2, Errno::EOPNOTSUPP), missing(nr::PWRITEV2, Errno::EOPNOTSUPP)];
        let name = format!("{name} without RWF flags");
        all.push(Operation::new(name, move || channel(how, many)).without(refused));
    }
    let mechanisms = [
        None,
        Some(ChunkMechanism::Vmsplice),
        Some(ChunkMechanism::Memfd),
        Some(ChunkMechanism::Write),
    ];
    for reuse in [Reuse::Never, Reuse::AfterRead] {
        for mechanism in mechanisms {
            // With `Reuse::Never`, a long chunk fills the writer's memory, so the writer uses new pages for
            // the next chunk.
            for chunk in [70_000, 2 << 20] {
                let name = format!("ChunkWriter {reuse:?}, {mechanism:?}, chunks of {chunk}");
                all.push(Operation::new(name, move || chunks(reuse, mechanism, chunk)));
            }
        }
        let refused = vec![missing(nr::VMSPLICE, Errno::EPERM)];
        let name = format!("ChunkWriter {reuse:?} without vmsplice");
        all.push(Operation::new(name, move || chunks(reuse, None, 70_000)).without(refused));
    }
    all
}
