//! Tests copies of the halves in several processes. The copies are dropped, released or taken over, or a
//! third process keeps them.

use super::{in_child, is_filled, mappings, send, succeeds, supported, times};
use crate::common::{self, child, open_fds};
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::message::Duplex;
use rawpipe::{Deadline, Errno};
use std::thread;
use std::time::Duration;

/// A child drops or releases its copies in several orders. The parent's copies stay usable, and the child
/// keeps neither a mapping nor a descriptor of the pair.
pub(super) fn fork_copies_dropped_in_each_order() {
    if !supported() {
        return;
    }
    for order in 0..4 {
        let before = mappings();
        let (mut reader, mut writer) = shared().unwrap();
        send(&mut writer, 10, 0).unwrap();
        assert!(is_filled(&reader.recv().unwrap().unwrap(), 0));
        succeeds(child(|| {
            // SAFETY: the child never uses the originals again.
            let reader: SharedReader = unsafe { in_child(&mut reader) };
            // SAFETY: the child never uses the originals again.
            let writer: SharedWriter = unsafe { in_child(&mut writer) };
            let fds = open_fds().len();
            match order {
                0 => drop((reader, writer)),
                1 => drop((writer, reader)),
                2 => {
                    reader.release();
                    drop(writer);
                }
                _ => {
                    writer.release();
                    drop(reader);
                }
            }
            u8::from(mappings() != before || open_fds().len() + 4 != fds)
        }));
        send(&mut writer, 10, 1).unwrap();
        assert!(is_filled(&reader.recv().unwrap().unwrap(), 1));
        drop(writer);
        assert!(reader.recv().unwrap().is_none());
    }
}

/// After a process releases the reader, the child of that process continues with the next record.
pub(super) fn release_hands_the_reader_over() {
    if !supported() {
        return;
    }
    let (reader, mut writer) = shared().unwrap();
    let (gate, open) = rawpipe::pipe().unwrap();
    let mut reader = Some(reader);
    for number in 0..3 {
        send(&mut writer, 100, number).unwrap();
    }
    assert!(is_filled(&reader.as_mut().unwrap().recv().unwrap().unwrap(), 0));
    let second = child(|| {
        let mut reader = reader.take().unwrap();
        let busy = reader.try_recv().err() == Some(Errno::EBUSY);
        let released = gate.read(&mut [0]) == Ok(1);
        let right = (1..3).all(|number| is_filled(&reader.recv().unwrap().unwrap(), number));
        u8::from(!(busy && released && right && reader.recv().unwrap().is_none()))
    });
    thread::sleep(Duration::from_millis(20));
    reader.take().unwrap().release();
    open.write(b"!").unwrap();
    drop(writer);
    succeeds(second);
}

/// If the owner drops its half, the peer detects the drop even while the peer sleeps. Copies of both halves
/// in a third process do not prevent the detection.
pub(super) fn third_process_with_all_ends_does_not_hide_a_drop() {
    if !supported() {
        return;
    }
    for sleeping in [false, true] {
        let (mut reader, mut writer) = shared().unwrap();
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
        writer.try_chunk().unwrap();
        let (gate, open) = rawpipe::pipe().unwrap();
        let third = child(|| {
            common::close_copy(&open);
            u8::from(gate.read(&mut [0]) != Ok(0))
        });
        let pause = Duration::from_millis(if sleeping { 50 } else { 0 });
        let drop_late =
            |half: Box<dyn Send>| thread::spawn(move || (thread::sleep(pause), drop(half)));
        let dropping = drop_late(Box::new(writer));
        if !sleeping {
            dropping.join().unwrap();
            assert!(reader.try_recv().unwrap().is_none());
        } else {
            assert!(reader.recv().unwrap().is_none());
            dropping.join().unwrap();
        }

        let (mut reader, mut writer) = SharedBuilder::new().chunk(100).ring(1).build().unwrap();
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
        while writer.try_chunk().is_ok() {
            writer.send(100).unwrap();
        }
        let fourth = child(|| {
            common::close_copy(&open);
            u8::from(gate.read(&mut [0]) != Ok(0))
        });
        let dropping = drop_late(Box::new(reader));
        if !sleeping {
            dropping.join().unwrap();
            assert_eq!(writer.try_chunk().unwrap_err(), Errno::EPIPE);
        } else {
            assert_eq!(writer.chunk().unwrap_err(), Errno::EPIPE);
            dropping.join().unwrap();
        }
        drop(open);
        succeeds(third);
        succeeds(fourth);
    }
}

/// The copies that one process holds.
struct Copies(Option<SharedReader>, Option<SharedWriter>);

impl Copies {
    /// Executes a command and returns a code for its result.
    fn act(&mut self, command: u8) -> u8 {
        let until = Deadline::after(Duration::from_secs(30));
        let done = match (command, self) {
            (b'r', Self(reader, _)) => {
                *reader = None;
                Ok(())
            }
            (b'w', Self(_, writer)) => {
                *writer = None;
                Ok(())
            }
            (b's', Self(_, Some(writer))) => send(writer, 10, 7),
            (b'v', Self(Some(reader), _)) => match reader.recv_deadline(until) {
                Ok(Some(record)) if is_filled(&record, 7) => Ok(()),
                Ok(None) => return b'e',
                answer => Err(answer.err().unwrap_or(Errno::EBADMSG)),
            },
            _ => Err(Errno::EBADF),
        };
        match done {
            Ok(()) => b'o',
            Err(Errno::EPIPE) => b'p',
            Err(Errno::EBUSY) => b'b',
            Err(_) => b'?',
        }
    }
}

/// Two processes have copies of both halves and drop the four copies in every order. The test runs once for
/// each combination of owners. The stream ends for the peer only when the owner of the other half drops its
/// copy.
pub(super) fn fork_owners_and_orders_of_drops() {
    if !supported() {
        return;
    }
    let orders = orders(b"rwRW");
    let step = if common::slow() { 7 } else { 1 };
    for (readers, writers) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for order in orders.iter().step_by(step) {
            drops(readers, writers, order);
        }
    }
}

/// Drops the copies in the given order. In `order`, an upper-case letter stands for the child's copy.
/// `reader_at` and `writer_at` are 1 if the child owns that half.
fn drops(reader_at: usize, writer_at: usize, order: &[u8]) {
    let (reader, writer) = shared().unwrap();
    let mut copies = Copies(Some(reader), Some(writer));
    let (ours, theirs) = Duplex::pair().unwrap();
    let (mut ours, theirs) = (Some(ours), theirs);
    let mut forked = child(|| {
        drop(ours.take());
        let mut command = [0];
        while theirs.read(&mut command) == Ok(1) {
            theirs.write(&[copies.act(command[0])]).unwrap();
        }
        0
    });
    drop(theirs);
    let ours = ours.take().unwrap();
    let mut act = |at: usize, command: u8| {
        if at == 0 {
            return char::from(copies.act(command));
        }
        let mut answer = [0];
        ours.write(&[command]).unwrap();
        assert_eq!(ours.read(&mut answer), Ok(1), "the child is gone");
        char::from(answer[0])
    };
    let what = |step| {
        format!(
            "{reader_at} reads, {writer_at} writes, {:?}, {step}",
            order.escape_ascii().to_string()
        )
    };
    let (mut reads, mut writes) = (true, true);
    for step in 0..=order.len() {
        if step > 0 {
            let copy = order[step - 1];
            let at = usize::from(copy.is_ascii_uppercase());
            assert_eq!(act(at, copy.to_ascii_lowercase()), 'o');
            reads &= !copy.eq_ignore_ascii_case(&b'r') || at != reader_at;
            writes &= !copy.eq_ignore_ascii_case(&b'w') || at != writer_at;
        }
        if writes {
            assert_eq!(act(writer_at, b's'), if reads { 'o' } else { 'p' }, "{}", what(step));
        }
        if reads {
            assert_eq!(act(reader_at, b'v'), if writes { 'o' } else { 'e' }, "{}", what(step));
        }
        // Before the first drop, a process cannot use its copy of a half that it does not own.
        if writes && step == 0 {
            assert_eq!(act(1 - writer_at, b's'), 'b', "{}", what(step));
            assert_eq!(act(1 - reader_at, b'v'), 'b', "{}", what(step));
        }
    }
    drop(ours);
    assert_eq!(forked.wait().unwrap().code(), Some(0));
}

fn orders(all: &[u8]) -> Vec<Vec<u8>> {
    if all.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |first: u8| {
        let rest: Vec<u8> = all.iter().copied().filter(|other| *other != first).collect();
        orders(&rest).into_iter().map(move |order| [&[first], &order[..]].concat())
    };
    all.iter().copied().flat_map(with_first).collect()
}

/// A writer passes from process to process. Each child sends a record and then releases the writer for the
/// next child.
pub(super) fn release_hands_the_writer_from_child_to_child() {
    if !supported() {
        return;
    }
    let (mut reader, writer) = SharedBuilder::new().chunk(100).ring(1).build().unwrap();
    let mut writer = Some(writer);
    for turn in 0..times(50) {
        succeeds(child(|| {
            let mut writer = writer.take().unwrap();
            let sent = send(&mut writer, 100, turn);
            // A chunk that is lent but not sent is not passed on with the writer.
            let lent = writer.try_chunk().is_ok();
            writer.release();
            u8::from(sent.is_err() || (turn == 0 && !lent))
        }));
        assert!(is_filled(&reader.recv().unwrap().unwrap(), turn));
    }
    assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN, "released, which is no end");
    drop(writer);
    assert!(reader.try_recv().unwrap().is_none(), "no process has it");
}

/// As with a pipe, the death of a process stays undetected while a third process has copies. The peer detects
/// the death when the third process ends.
pub(super) fn third_process_with_all_ends_hides_a_death_until_it_ends() {
    if !supported() {
        return;
    }
    let (mut reader, writer) = shared().unwrap();
    let (gate, open) = rawpipe::pipe().unwrap();
    let mut writer = Some(writer);
    let third = child(|| {
        common::close_copy(&open);
        u8::from(gate.read(&mut [0]) != Ok(0))
    });
    let mut sending = child(|| {
        let mut writer = writer.take().unwrap();
        let sent = send(&mut writer, 10, 0);
        thread::sleep(Duration::from_secs(600));
        u8::from(sent.is_err())
    });
    drop(writer);
    assert!(is_filled(&reader.recv().unwrap().unwrap(), 0));
    sending.kill().unwrap();
    sending.wait().unwrap();
    let soon = Deadline::after(Duration::from_millis(50));
    assert_eq!(reader.recv_deadline(soon).unwrap_err(), Errno::ETIMEDOUT);
    let closing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        drop(open);
    });
    assert!(reader.recv().unwrap().is_none());
    closing.join().unwrap();
    succeeds(third);
}
