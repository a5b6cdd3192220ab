//! Defines operations that create pairs for chunks in shared memory, and operations that send, receive, wait,
//! or wake the peer.

use super::check::{Holdings, Verdict, ensure, error_is, failed, injected, is_injected, pattern};
use super::{Operation, missing};
use crate::common::nr;
use crate::tracer::operation;
use rawpipe::chunk::shared::{SharedBuilder, SharedCopier, SharedReader, SharedWriter};
use rawpipe::{Deadline, Errno, Wait};
use std::time::Duration;

/// Accepts a failed creation only if its error was injected. If `madvise` is rejected, `EOPNOTSUPP` is also
/// accepted, as on a kernel that lacks the advice.
fn is_reported(errno: Errno) -> Verdict {
    let refusals = [Errno::EINVAL, Errno::ENOSYS, Errno::EPERM];
    let advice = errno == Errno::EOPNOTSUPP && failed(&[nr::MADVISE], &refusals);
    ensure!(advice || is_injected(errno), "{errno}, which was not injected");
    ensure!(
        !failed(&[nr::PPOLL, nr::READ], &[errno]),
        "{errno} of a wait is that of making a pair"
    );
    Ok(())
}

/// Creates a pair with several options and drops the pair.
fn made() -> Verdict {
    let holdings = Holdings::now();
    let made = operation(|| {
        let builder = SharedBuilder::new().chunk(5000).wait(Wait::Adaptive).populate();
        builder.build().map(drop)
    });
    if let Err(errno) = made {
        is_reported(errno)?;
    }
    holdings.unchanged(0)
}

/// Creates a pair and sends records through its memory. Each half sometimes sleeps. A send that fails while
/// waking the reader has still sent its record.
fn one_process(wait: Wait) -> Verdict {
    // The smallest ring holds two records of 100 bytes.
    let per_round = 200;
    let holdings = Holdings::now();
    let told = operation(|| {
        let (mut reader, mut writer) =
            SharedBuilder::new().chunk(100).ring(1).wait(wait).build()?;
        let (mut sent, mut received) = (Vec::with_capacity(1 << 12), Vec::with_capacity(1 << 12));
        for round in 0..4 {
            let soon = || Deadline::after(Duration::from_millis(1));
            let _ = reader.try_recv().map(drop);
            let _ = reader.recv_deadline(soon()).map(drop);
            loop {
                match writer.try_chunk() {
                    Ok(chunk) => chunk.copy_from_slice(&pattern(100 + round)[round..]),
                    Err(Errno::EAGAIN) => break,
                    Err(_) => continue,
                }
                sent.extend_from_slice(&pattern(100 + round)[round..]);
                let _ = writer.send(100);
            }
            let _ = writer.chunk_deadline(soon()).map(drop);
            loop {
                match reader.recv_deadline(soon()) {
                    Ok(Some(chunk)) => received.extend_from_slice(&chunk),
                    Ok(None) | Err(Errno::ETIMEDOUT) => break,
                    Err(_) => {}
                }
            }
        }
        drop(writer);
        let ended = [(); 2].map(|()| matches!(reader.recv(), Ok(None)));
        Ok::<_, Errno>((sent, received, ended))
    });
    if let Err(errno) = told {
        is_reported(errno)?;
    }
    if let Ok((sent, received, ended)) = told {
        ensure!(sent.len() == 4 * per_round, "{} sent in four rounds", sent.len());
        ensure!(sent == received, "{} sent, {} received", sent.len(), received.len());
        ensure!(ended.contains(&true), "no end");
    }
    holdings.unchanged(0)
}

/// Sends records between two programs. This test runs both programs in one process.
fn two_programs() -> Verdict {
    let holdings = Holdings::now();
    let told = operation(|| {
        let builder = SharedBuilder::new().chunk(100).ring(1);
        let (parts, mut writer) = builder.pass_reader()?;
        let mut reader = SharedCopier::from_parts(parts, Wait::Block)?;
        let (mut buf, mut received) = ([0; 100], Vec::with_capacity(1 << 8));
        for round in 0..2 {
            let chunk = writer.chunk()?;
            chunk.copy_from_slice(&pattern(100 + round)[round..]);
            // A send that fails while waking the reader has still sent its record.
            let _ = writer.send(100);
            let len = reader.recv(&mut buf)?.unwrap_or(0);
            received.extend_from_slice(&buf[..len]);
        }
        Ok::<_, Errno>(received)
    });
    if let Ok(received) = told {
        let sent = [0, 1].map(|round| pattern(100 + round)[round..].to_vec()).concat();
        ensure!(sent == received, "{} sent, {} received", sent.len(), received.len());
    }
    holdings.unchanged(0)
}

const RECORDS: u8 = 40;
/// The number of failed waits after which a process gives up.
const PATIENCE: usize = 500;

/// Returns the deadline of a wait. A call that fails with `EINTR` is retried, so no wake-up is lost. Other
/// failures may lose a wake-up, so the wait needs a deadline.
fn until() -> Deadline<'static> {
    if injected(|fault| error_is(fault, &[Errno::EINTR])) {
        return Deadline::NEVER;
    }
    Deadline::after(Duration::from_millis(20))
}

/// Receives records in order, and retries after each failure. Returns the number of records if end of file
/// follows. Otherwise, returns a number above 200.
fn receive(mut reader: SharedReader) -> u8 {
    let mut received = 0;
    let mut failures = 0;
    while failures < PATIENCE {
        match reader.recv_deadline(until()) {
            Ok(None) => return received,
            Ok(Some(record)) if *record == [received; 100] => received += 1,
            Ok(Some(_)) => return 201,
            Err(Errno::EPROTO | Errno::EBUSY) => return 202,
            Err(_) => failures += 1,
        }
    }
    203
}

/// Sends records and returns the number of records sent. If a send fails while waking the reader, its record
/// still counts as sent.
fn send(writer: &mut SharedWriter) -> u8 {
    let mut sent = 0;
    let mut failures = 0;
    while sent < RECORDS && failures < PATIENCE {
        match writer.chunk_deadline(until()) {
            Ok(chunk) => {
                chunk.fill(sent);
                let _ = writer.send(100);
                sent += 1;
            }
            Err(_) => failures += 1,
        }
    }
    sent
}

/// Connects a sending and a receiving process. Each process waits for nearly every record. Unless the fault
/// ends the child early, all sent records arrive once and in order, followed by end of file.
fn two_processes(child_receives: bool) -> Verdict {
    let holdings = Holdings::now();
    let told = operation(|| {
        let builder = SharedBuilder::new().chunk(100).ring(1);
        let (mut child, sent, received) = if child_receives {
            // SAFETY: no other thread exists.
            let (child, mut writer) = unsafe { builder.fork_reader(receive) }?;
            (child, Some(send(&mut writer)), None)
        } else {
            // SAFETY: as above.
            let made = unsafe { builder.fork_writer(|mut writer| send(&mut writer)) };
            let (child, reader) = made?;
            (child, None, Some(receive(reader)))
        };
        let end = [(); 2].map(|()| child.wait().map(|status| status.code()));
        Ok::<_, Errno>((sent, received, end))
    });
    match told {
        Err(errno) => is_reported(errno)?,
        Ok((sent, received, end)) => {
            let code = end.into_iter().find_map(Result::ok).flatten();
            let disowned = failed(&[nr::WAITID], &[Errno::ECHILD]);
            let mine = sent.or(received).map(i32::from);
            // If a failure occurs before `receive` or `send` runs, the child may abort. The child then exits
            // with 134.
            let early = injected(|fault| fault.key.child) && code == Some(134);
            let agreed = code == mine && mine == Some(RECORDS.into());
            ensure!(agreed || disowned || early, "{mine:?} here, {code:?} in the child");
        }
    }
    holdings.unchanged(0)
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = vec![Operation::new("shared chunks, a pair", made)];
    for wait in [Wait::Block, Wait::Adaptive] {
        all.push(Operation::new(format!("shared chunks, {wait:?}"), move || one_process(wait)));
    }
    all.push(Operation::new("shared chunks of two programs", two_programs));
    for child_receives in [false, true] {
        let who = if child_receives { "receives" } else { "sends" };
        let body = move || two_processes(child_receives);
        all.push(Operation::new(format!("shared chunks, a child {who}"), body));
        let refused = vec![missing(nr::PWRITEV2, Errno::EOPNOTSUPP)];
        let name = format!("shared chunks, a child {who}, without RWF flags");
        all.push(Operation::new(name, body).without(refused).only_in_full(true));
    }
    all
}
