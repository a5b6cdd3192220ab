//! Tests which process owns a half after a fork.

use super::{fill, in_child, is_filled, send, succeeds, supported, times};
use crate::common::{self, child, skip};
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::process::fork_with;
use rawpipe::{Deadline, Errno};
use std::time::Duration;
use std::{mem, ptr, thread};

/// The first process to use a half owns it. Calls by the other processes fail with `EBUSY`.
pub(super) fn fork_half_belongs_to_who_uses_it_first() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = shared().unwrap();
    send(&mut writer, 10, 0).unwrap();
    let second = child(|| {
        // SAFETY: the child never uses the originals again.
        let mut writer: SharedWriter = unsafe { in_child(&mut writer) };
        // SAFETY: the child never uses the originals again.
        let mut reader: SharedReader = unsafe { in_child(&mut reader) };
        let refused = [writer.chunk().err(), writer.try_chunk().err(), writer.send(1).err()];
        // No process has used the reader yet, so this child becomes the reader's owner.
        let received = reader.recv().unwrap().is_some_and(|record| is_filled(&record, 0));
        let third = child(|| {
            // SAFETY: the child never uses the original again.
            let mut reader: SharedReader = unsafe { in_child(&mut reader) };
            u8::from(reader.recv().err() != Some(Errno::EBUSY))
        });
        succeeds(third);
        drop(writer); // the parent still owns the writer
        let more = reader.recv().unwrap().is_some_and(|record| is_filled(&record, 1));
        let ended = reader.recv().unwrap().is_none();
        u8::from(refused != [Some(Errno::EBUSY); 3] || !received || !more || !ended)
    });
    // Gives the child time to use the reader before the second record is sent.
    thread::sleep(Duration::from_millis(50));
    send(&mut writer, 10, 1).unwrap();
    drop(writer);
    succeeds(second);
    assert_eq!(reader.recv().unwrap_err(), Errno::EBUSY);
}

/// Two children have copies of an unused reader, and only one child becomes the reader's owner.
pub(super) fn fork_two_children_one_owner() {
    if !supported() {
        return;
    }
    for _ in 0..times(100) {
        let (mut reader, mut writer) = shared().unwrap();
        send(&mut writer, 10, 0).unwrap();
        let mut take = || {
            child(|| {
                // SAFETY: the child never uses the original again.
                let mut reader: SharedReader = unsafe { in_child(&mut reader) };
                match reader.try_recv() {
                    Ok(Some(record)) if is_filled(&record, 0) => 1,
                    Err(Errno::EBUSY) => 2,
                    _ => 3,
                }
            })
        };
        let codes = [take(), take()].map(|mut child| child.wait().unwrap().code());
        assert!(codes == [Some(1), Some(2)] || codes == [Some(2), Some(1)], "{codes:?}");
    }
}

fn copy_at(address: usize) -> SharedWriter {
    let original = ptr::with_exposed_provenance_mut::<SharedWriter>(address);
    // SAFETY: only a child without other threads calls this function, and the child never uses the original.
    unsafe { original.read() }
}

/// A child is forked while another thread uses the half for the first time. Exactly one of the two processes
/// becomes the owner.
pub(super) fn fork_while_a_thread_takes_the_half() {
    if !supported() {
        return;
    }
    if common::tool() == Some(common::Tool::Thread) {
        skip(
            "fork_while_a_thread_takes_the_half",
            "in the child, the tool takes the other thread's writes for a race",
        );
        return;
    }
    for round in 0..times(100) {
        let (reader, mut writer) = shared().unwrap();
        thread::scope(|scope| {
            let original: *mut SharedWriter = &raw mut writer;
            let address = original.expose_provenance();
            let taking = scope.spawn(move || {
                for _ in 0..round * 20 {
                    std::hint::spin_loop();
                }
                let original = ptr::with_exposed_provenance_mut::<SharedWriter>(address);
                // SAFETY: in this process, only this thread uses the half.
                unsafe { &mut *original }.try_chunk().map(drop)
            });
            // SAFETY: the child only makes system calls and uses only its own copy. If the other thread has
            // written part of the half, each field still has a valid value.
            let mut forked = unsafe {
                fork_with(|| {
                    let mut copy = copy_at(address);
                    let taken = copy.try_chunk().map(drop);
                    mem::forget(copy);
                    u8::from(taken.is_err())
                        + u8::from(taken.is_err_and(|errno| errno != Errno::EBUSY))
                })
            }
            .unwrap();
            let here = taking.join().unwrap();
            let code = forked.wait().unwrap().code();
            match here {
                Ok(()) => assert_eq!(code, Some(1)),
                Err(errno) => assert_eq!((errno, code), (Errno::EBUSY, Some(0))),
            }
        });
        drop((reader, writer));
    }
}

/// Memory that was lent before the fork belongs to the parent. The child can neither send nor free this
/// memory.
pub(super) fn fork_lent_before_stays_with_the_parent() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(100).ring(1).build().unwrap();
    let mut room = 0;
    while writer.try_chunk().is_ok() {
        send(&mut writer, 100, room).unwrap();
        room += 1;
    }
    let record = reader.recv().unwrap().unwrap();
    let record = std::cell::RefCell::new(Some(record));
    succeeds(child(|| {
        drop(record.take());
        0
    }));
    assert_eq!(writer.try_chunk().unwrap_err(), Errno::EAGAIN, "the child gave room back");
    assert!(record.borrow().as_ref().is_some_and(|record| is_filled(record, 0)));
    drop(record);
    fill(writer.try_chunk().unwrap(), room);
    succeeds(child(|| u8::from(writer.send(100) != Err(Errno::EBUSY))));
    writer.send(100).unwrap();
    for number in 1..=room {
        assert!(is_filled(&reader.recv().unwrap().unwrap(), number));
    }
}

/// A parent and its child start to use the same half at the same time. One process becomes the owner, and the
/// peer receives only the owner's records.
pub(super) fn fork_parent_and_child_one_owner() {
    if !supported() {
        return;
    }
    let mut owners = [0; 2];
    for round in 0..times(200) {
        let (mut reader, mut writer) = shared().unwrap();
        let mut forked = child(|| {
            // SAFETY: the child never uses the original again.
            let mut writer: SharedWriter = unsafe { in_child(&mut writer) };
            match send(&mut writer, 10, 1) {
                Ok(()) => 1,
                Err(Errno::EBUSY) => 2,
                Err(_) => 3,
            }
        });
        // In some iterations, the child has time to use the half first.
        thread::sleep(Duration::from_micros(round as u64 % 4 * 200));
        let here = send(&mut writer, 10, 0);
        let there = forked.wait().unwrap().code();
        let owner = match (here, there) {
            (Ok(()), Some(2)) => 0,
            (Err(Errno::EBUSY), Some(1)) => 1,
            other => panic!("{other:?}"),
        };
        owners[owner] += 1;
        assert!(is_filled(&reader.recv().unwrap().unwrap(), owner));
        let more = reader.recv_deadline(Deadline::after(Duration::ZERO));
        match more.map(|record| record.is_some()) {
            Err(Errno::ETIMEDOUT) => assert_eq!(owner, 0, "the owner lives"),
            answer => assert_eq!((answer, owner), (Ok(false), 1), "the owner has dropped it"),
        }
    }
    assert!(owners[0] > 0, "the parent has got it {owners:?} times");
}

/// Each process uses one half and keeps its copy of the other half.
pub(super) fn fork_each_process_uses_one_half() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(100).ring(1).build().unwrap();
    let receiving = child(|| {
        // SAFETY: the child never uses the originals again.
        let mut writer: SharedWriter = unsafe { in_child(&mut writer) };
        // SAFETY: the child never uses the originals again.
        let mut reader: SharedReader = unsafe { in_child(&mut reader) };
        let right = (0..1_000).all(|number| is_filled(&reader.recv().unwrap().unwrap(), number));
        let refused = writer.chunk().err() == Some(Errno::EBUSY);
        let ended = reader.recv().unwrap().is_none();
        mem::forget((reader, writer));
        u8::from(!(right && refused && ended))
    });
    (0..1_000).for_each(|number| send(&mut writer, 100, number).unwrap());
    drop(writer);
    succeeds(receiving);
    assert_eq!(reader.recv().unwrap_err(), Errno::EBUSY);
}
