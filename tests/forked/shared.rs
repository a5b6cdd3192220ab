//! Chunks in shared memory, between processes. Each test runs alone in a process.
//!
//! `RAWPIPE_TEST_KILLS` is how often each side is killed (30).
#![allow(unsafe_code, reason = "fork, limits, and system calls by number")]

use crate::common::bytes::Random;
use crate::common::{self, Filter, NO_FILTER, Storm, child, filtered, nr, open_fds, skip};
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::{SharedBuilder, SharedReader, SharedWriter};
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::process::{Child, Signal, fork_with};
use rawpipe::{Deadline, Errno, Wait, raw};
use std::collections::VecDeque;
use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};
use std::{env, fs, mem, ptr, thread};

/// Whether pairs can be made here, and says so if not: an emulator of user programs does not wipe memory.
fn supported() -> bool {
    match shared() {
        Ok(_) => true,
        Err(errno) => {
            assert_eq!(errno, Errno::EOPNOTSUPP);
            skip(&common::name_alone(), "no memory that is wiped in a forked child");
            false
        }
    }
}

fn times(full: usize) -> usize {
    if common::slow() { full.div_ceil(20) } else { full }
}

/// Fills with numbers that no two records have at the same place.
fn fill(chunk: &mut [u8], number: usize) {
    for (index, place) in chunk.chunks_mut(8).enumerate() {
        let word = (number.wrapping_mul(0x9e37_79b9) ^ index).wrapping_add(1) as u64;
        place.copy_from_slice(&word.to_le_bytes()[..place.len()]);
    }
}

fn is_filled(chunk: &[u8], number: usize) -> bool {
    let mut expected = vec![0; chunk.len()];
    fill(&mut expected, number);
    chunk == expected
}

/// The length of a record, from all sorts.
fn len_of(number: usize, chunk: usize) -> usize {
    1 + number.wrapping_mul(0x9e37_79b9).wrapping_add(number >> 3) % chunk
}

fn send(writer: &mut SharedWriter, len: usize, number: usize) -> rawpipe::Result<()> {
    fill(&mut writer.chunk()?[..len], number);
    writer.send(len)
}

fn send_all(mut writer: SharedWriter, chunk: usize, records: usize) -> rawpipe::Result<()> {
    (0..records).try_for_each(|number| send(&mut writer, len_of(number, chunk), number))
}

/// How many records come, all of them right, to the end.
fn receive_all(reader: &mut SharedReader, chunk: usize) -> rawpipe::Result<usize> {
    let mut number = 0;
    while let Some(record) = reader.recv()? {
        assert_eq!(record.len(), len_of(number, chunk), "{number}");
        assert!(is_filled(&record, number), "{number}");
        number += 1;
    }
    Ok(number)
}

/// A copy of a half, as a fork makes it.
///
/// # Safety
///
/// This is a child, and the original is never used in it.
unsafe fn in_child<Half>(half: &mut Half) -> Half {
    // SAFETY: passed on to the caller.
    unsafe { ptr::read(half) }
}

fn succeeds(mut child: Child) {
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

const SIZES: [(usize, usize); 5] = [(1, 1), (8, 1), (100, 4096), (4096, 1), (65536, 0)];

fn records_arrive_in_a_child_and_from_one() {
    if !supported() {
        return;
    }
    for ((chunk, ring), wait) in
        SIZES.into_iter().flat_map(|size| [(size, Wait::Block), (size, Wait::Adaptive)])
    {
        let builder = SharedBuilder::new().chunk(chunk).ring(ring).wait(wait);
        let records = times(3_000);
        // SAFETY: there is no other thread, and the child uses its half alone.
        let (receiving, writer) = unsafe {
            builder
                .fork_reader(|mut reader| u8::from(receive_all(&mut reader, chunk) != Ok(records)))
        }
        .unwrap();
        send_all(writer, chunk, records).unwrap();
        succeeds(receiving);
        // SAFETY: as above.
        let (sending, mut reader) = unsafe {
            builder.fork_writer(|writer| u8::from(send_all(writer, chunk, records).is_err()))
        }
        .unwrap();
        assert_eq!(receive_all(&mut reader, chunk), Ok(records));
        succeeds(sending);
    }
}

fn records_arrive_in_a_thread() {
    if !supported() {
        return;
    }
    for (chunk, ring) in SIZES {
        let (mut reader, writer) = SharedBuilder::new().chunk(chunk).ring(ring).build().unwrap();
        let records = times(3_000);
        let sending = thread::spawn(move || send_all(writer, chunk, records));
        assert_eq!(receive_all(&mut reader, chunk), Ok(records));
        sending.join().unwrap().unwrap();
    }
}

/// Operations at random beside a queue of what they should do.
fn model_beside_a_queue() {
    if !supported() {
        return;
    }
    let mut random = Random::new();
    for _ in 0..10 {
        let chunk = 1 + random.below(200);
        let (mut reader, mut writer) = SharedBuilder::new().chunk(chunk).ring(1).build().unwrap();
        let mut queue = VecDeque::new();
        let mut leaked = false;
        let passed = || Deadline::after(Duration::ZERO);
        for number in 0..times(20_000) {
            if random.below(2) == 0 {
                let lent = match random.below(2) {
                    0 => writer.try_chunk(),
                    _ => writer.chunk_deadline(passed()),
                };
                match lent {
                    Ok(lent) => {
                        assert_eq!(lent.len(), chunk);
                        let len = random.below(chunk + 1);
                        fill(&mut lent[..len], number);
                        assert_eq!(writer.send(chunk + 1), Err(Errno::EINVAL));
                        assert_eq!(writer.send(len), Ok(()));
                        if len > 0 {
                            assert_eq!(writer.send(1), Err(Errno::EINVAL), "nothing is lent");
                            queue.push_back((number, len));
                        }
                    }
                    Err(errno) => {
                        assert!(matches!(errno, Errno::EAGAIN | Errno::ETIMEDOUT), "{errno}");
                        assert!(!queue.is_empty() || leaked, "an empty ring has room");
                    }
                }
            } else {
                let received = match random.below(3) {
                    0 => reader.try_recv(),
                    1 => reader.recv_deadline(passed()),
                    _ if queue.is_empty() => continue,
                    _ => reader.recv(),
                };
                match (received, queue.pop_front()) {
                    (Ok(Some(record)), Some((number, len))) => {
                        assert_eq!(record.len(), len);
                        assert!(is_filled(&record, number));
                        leaked = random.below(4) == 0;
                        if leaked {
                            mem::forget(record);
                        }
                    }
                    (Err(Errno::EAGAIN | Errno::ETIMEDOUT), None) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        drop(writer);
        assert_eq!(std::iter::from_fn(|| reader.recv().unwrap().map(drop)).count(), queue.len());
    }
}

/// A guard that is leaked costs nothing but time: the next call gives its room back.
fn guard_leaked_gives_its_room_back_later() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).ring(1).build().unwrap();
    for number in 0..100 {
        send(&mut writer, 1000, number).unwrap();
        let record = reader.recv().unwrap().unwrap();
        assert!(is_filled(&record, number));
        mem::forget(record);
    }
}

fn std_traits_copy_nothing_twice_and_lose_nothing() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).build().unwrap();
    let bytes = common::bytes::data(100_000);
    writer.write_all(&bytes).unwrap();
    assert_eq!(writer.write(&[]).unwrap(), 0);
    drop(writer);
    assert_eq!(reader.fill_buf().unwrap(), &bytes[..1000]);
    reader.consume(999);
    assert_eq!(*reader.recv().unwrap().unwrap(), bytes[999..1000], "what is left of the record");
    let mut got = vec![0; 500];
    reader.read_exact(&mut got).unwrap();
    reader.read_to_end(&mut got).unwrap();
    assert!(got == bytes[1000..]);
    assert!(reader.fill_buf().unwrap().is_empty());
}

fn kills() -> usize {
    let set = env::var("RAWPIPE_TEST_KILLS").ok();
    set.map_or_else(|| times(30), |number| number.parse().expect("a number"))
}

/// After a moment that may be none, and is mostly within the time of the first laps.
fn moment(random: &mut Random) {
    let start = Instant::now();
    let time = Duration::from_nanos(random.below(2_000_000) as u64);
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// What a killed writer has sent is there, whole and in order, and then the end.
fn writer_killed_leaves_whole_records_and_an_end() {
    if !supported() {
        return;
    }
    let mut random = Random::new();
    let mut total = 0;
    for _ in 0..kills() {
        let (chunk, ring) = SIZES[random.below(SIZES.len())];
        let wait = if random.below(2) == 0 { Wait::Block } else { Wait::Adaptive };
        let builder = SharedBuilder::new().chunk(chunk).ring(ring).wait(wait);
        // SAFETY: there is no other thread, and the child uses its half alone.
        let (mut sending, mut reader) = unsafe {
            builder.fork_writer(|writer| u8::from(send_all(writer, chunk, usize::MAX).is_err()))
        }
        .unwrap();
        let killer = thread::spawn({
            let mut random = Random(random.below(1 << 30) as u64 + 1);
            move || {
                moment(&mut random);
                sending.kill().unwrap();
                sending.wait().unwrap()
            }
        });
        total += receive_all(&mut reader, chunk).unwrap();
        assert_eq!(killer.join().unwrap().signal(), Some(Signal::KILL));
        assert!(reader.recv().unwrap().is_none(), "the end stays");
    }
    common::say(&format!("result: {total} records of killed writers"));
}

/// The writer of a killed reader gets `EPIPE`, after at most what the ring holds.
fn reader_killed_epipe() {
    if !supported() {
        return;
    }
    let mut random = Random::new();
    for _ in 0..kills() {
        let (chunk, ring) = SIZES[random.below(SIZES.len())];
        let builder = SharedBuilder::new().chunk(chunk).ring(ring);
        // SAFETY: there is no other thread, and the child uses its half alone.
        let (mut receiving, writer) = unsafe {
            builder.fork_reader(|mut reader| u8::from(receive_all(&mut reader, chunk).is_err()))
        }
        .unwrap();
        let killer = thread::spawn({
            let mut random = Random(random.below(1 << 30) as u64 + 1);
            move || {
                moment(&mut random);
                receiving.kill().unwrap();
                receiving.wait().unwrap()
            }
        });
        assert_eq!(send_all(writer, chunk, usize::MAX), Err(Errno::EPIPE));
        assert_eq!(killer.join().unwrap().signal(), Some(Signal::KILL));
    }
}

/// The process that uses a half has it; its parent, its child and its child's child have not.
fn fork_half_belongs_to_who_uses_it_first() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = shared().unwrap();
    send(&mut writer, 10, 0).unwrap();
    let second = child(|| {
        // SAFETY: the child never returns to the originals.
        let mut writer: SharedWriter = unsafe { in_child(&mut writer) };
        // SAFETY: as above.
        let mut reader: SharedReader = unsafe { in_child(&mut reader) };
        let refused = [writer.chunk().err(), writer.try_chunk().err(), writer.send(1).err()];
        // The reader is nobody's yet: now it is this child's.
        let received = reader.recv().unwrap().is_some_and(|record| is_filled(&record, 0));
        let third = child(|| {
            // SAFETY: as above.
            let mut reader: SharedReader = unsafe { in_child(&mut reader) };
            u8::from(reader.recv().err() != Some(Errno::EBUSY))
        });
        succeeds(third);
        drop(writer); // which closes nothing
        let more = reader.recv().unwrap().is_some_and(|record| is_filled(&record, 1));
        let ended = reader.recv().unwrap().is_none();
        u8::from(refused != [Some(Errno::EBUSY); 3] || !received || !more || !ended)
    });
    // Until the child has used the reader: it finds the second record only then.
    thread::sleep(Duration::from_millis(50));
    send(&mut writer, 10, 1).unwrap();
    drop(writer);
    succeeds(second);
    assert_eq!(reader.recv().unwrap_err(), Errno::EBUSY);
}

/// Two children have a reader that nobody has used: one gets it.
fn fork_two_children_one_owner() {
    if !supported() {
        return;
    }
    for _ in 0..times(100) {
        let (mut reader, mut writer) = shared().unwrap();
        send(&mut writer, 10, 0).unwrap();
        let mut take = || {
            child(|| {
                // SAFETY: the child never returns to the original.
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
    // SAFETY: only called in a child, which has no other thread and never returns to the original.
    unsafe { original.read() }
}

/// A child that is forked while another thread uses the half for the first time.
fn fork_while_a_thread_takes_the_half() {
    if !supported() {
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
                // SAFETY: this thread alone uses it, in this process.
                unsafe { &mut *original }.try_chunk().map(drop)
            });
            // SAFETY: the child makes system calls and touches its own copy only. That may be half
            // written by the other thread, which matters to none of its fields.
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

/// What was lent before the fork is the parent's: the child can neither send nor give back.
fn fork_lent_before_stays_with_the_parent() {
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

/// Copies are dropped in a child, in each order: the parent's go on, and nothing stays mapped there.
fn fork_copies_dropped_in_each_order() {
    if !supported() {
        return;
    }
    for order in 0..4 {
        let before = mappings();
        let (mut reader, mut writer) = shared().unwrap();
        send(&mut writer, 10, 0).unwrap();
        assert!(is_filled(&reader.recv().unwrap().unwrap(), 0));
        succeeds(child(|| {
            // SAFETY: the child never returns to the originals.
            let reader: SharedReader = unsafe { in_child(&mut reader) };
            // SAFETY: as above.
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

/// How many pages of this process are mapped without a file, the heap's and the stack's left out.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let of_pairs = |line: &&str| line.contains("/dev/zero");
    maps.lines().filter(of_pairs).count()
}

/// A process that has released the reader is followed by its child, at the next record.
fn release_hands_the_reader_over() {
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

/// A third process has copies of everything. An orderly drop is seen all the same, also by who sleeps.
fn third_process_with_all_ends_does_not_hide_a_drop() {
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

fn ready(half: &impl rawpipe::fd::AsFd) -> PollEvents {
    let mut fds = [PollFd::new(half, PollEvents::IN)];
    poll(&mut fds, Some(Duration::ZERO)).unwrap();
    fds[0].revents()
}

/// The descriptor is readable after `EAGAIN` when there is something to do, and not before.
fn readiness_after_eagain_on_both_sides() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = SharedBuilder::new().chunk(1000).ring(1).build().unwrap();
    for number in 0..1_000 {
        assert_eq!(reader.try_recv().unwrap_err(), Errno::EAGAIN);
        assert_eq!(ready(&reader), PollEvents::empty());
        send(&mut writer, 1000, number).unwrap();
        assert_eq!(ready(&reader), PollEvents::IN);
        let mut more = 0;
        while writer.try_chunk().is_ok() {
            more += 1;
            send(&mut writer, 1000, number + more).unwrap();
        }
        assert_eq!(ready(&writer), PollEvents::empty());
        for step in 0..=more {
            assert!(is_filled(&reader.try_recv().unwrap().unwrap(), number + step));
        }
        assert_eq!(ready(&writer), PollEvents::IN);
        assert!(writer.try_chunk().is_ok());
        // One ring at most is left over, however often a side was woken.
        for half in [ready(&reader), ready(&writer)] {
            assert_eq!(half, PollEvents::empty());
        }
    }
    drop(writer);
    assert!(ready(&reader).contains(PollEvents::HUP));
    assert!(reader.try_recv().unwrap().is_none());
}

/// Half a pair that was never used ends as a pipe does: by its descriptors.
fn unused_half_dropped_is_the_end() {
    if !supported() {
        return;
    }
    let (mut reader, writer) = shared().unwrap();
    drop(writer);
    assert!(reader.try_recv().unwrap().is_none());
    assert!(reader.recv().unwrap().is_none());
    let (reader, mut writer) = SharedBuilder::new().chunk(100).ring(1).build().unwrap();
    drop(reader);
    let sent = (0..1_000).try_for_each(|number| send(&mut writer, 100, number));
    assert_eq!(sent, Err(Errno::EPIPE));
}

fn deadline_passes_with_a_silent_peer() {
    if !supported() {
        return;
    }
    for wait in [Wait::Block, Wait::Adaptive] {
        let (mut reader, mut writer) =
            SharedBuilder::new().chunk(100).ring(1).wait(wait).build().unwrap();
        let time = Duration::from_millis(20);
        let start = Instant::now();
        let late = reader.recv_deadline(Deadline::after(time)).unwrap_err();
        assert_eq!(late, Errno::ETIMEDOUT);
        while writer.try_chunk().is_ok() {
            writer.send(100).unwrap();
        }
        let late = writer.chunk_deadline(Deadline::after(time)).unwrap_err();
        assert_eq!(late, Errno::ETIMEDOUT);
        assert!(start.elapsed() >= 2 * time);
        assert!(reader.recv_deadline(Deadline::after(Duration::ZERO)).unwrap().is_some());
    }
}

/// While neither side sleeps there is no system call. Each would kill the child.
fn awake_sides_make_no_system_call() {
    if !supported() {
        return;
    }
    let test = "awake_sides_make_no_system_call";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    let calls =
        [nr::READ, nr::WRITE, nr::WRITEV, nr::PWRITEV2, nr::PPOLL, nr::CLOCK_GETTIME, nr::MADVISE];
    filtered(test, &"any call", || {
        let (mut reader, mut writer) =
            SharedBuilder::new().chunk(4096).ring(1 << 16).build().unwrap();
        if !Filter::new(&calls, Errno::EPERM).that_kills().install() {
            return NO_FILTER;
        }
        for _ in 0..1_000 {
            writer.chunk().unwrap()[0] = 1;
            writer.send(4096).unwrap();
            drop(reader.recv().unwrap());
        }
        mem::forget((reader, writer));
        0
    });
}

fn signals_interrupt_nothing() {
    if !supported() {
        return;
    }
    let storm = Storm::begin(Duration::from_micros(50));
    let records = times(20_000);
    // SAFETY: there is no other thread, and the child uses its half alone.
    let (receiving, writer) = unsafe {
        SharedBuilder::new()
            .chunk(4096)
            .ring(1)
            .fork_reader(|mut reader| u8::from(receive_all(&mut reader, 4096) != Ok(records)))
    }
    .unwrap();
    send_all(writer, 4096, records).unwrap();
    succeeds(receiving);
    drop(storm);
    assert!(common::HANDLED.load(std::sync::atomic::Ordering::SeqCst) > 0);
}

/// Both processes of the example have the same sum, and print their rate.
fn example_sums_on_both_sides() {
    if !supported() {
        return;
    }
    for (arguments, sum) in [(&["3"][..], 77_309_214_720_u64), (&["1", "10"], 8_589_869_056)] {
        let mut command = common::program(&common::example("shared_chunks"));
        let output = common::finish(command.args(arguments));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], format!("Both have the sum {sum}"));
        assert!(lines[1].starts_with("filled ") && lines[2].starts_with("summed "), "{text}");
    }
    let mut command = common::program(&common::example("shared_chunks"));
    assert_eq!(common::finish(command.arg("none")).status.code(), Some(1));
}

/// Sets the soft limit and returns what it was.
fn limit(resource: usize, soft: u64) -> u64 {
    let mut limits = [0_u64; 2];
    let place = (&raw mut limits).expose_provenance();
    // SAFETY: the kernel writes the two limits to this place.
    assert_eq!(unsafe { raw::syscall4(nr::PRLIMIT64, 0, resource, 0, place) }, 0);
    let before = limits[0];
    limits[0] = soft;
    let place = (&raw const limits).expose_provenance();
    // SAFETY: the kernel reads the two limits at this place.
    assert_eq!(unsafe { raw::syscall4(nr::PRLIMIT64, 0, resource, place, 0) }, 0);
    before
}

/// Each step of making a pair fails once for want of descriptors: nothing is left.
fn out_of_descriptors_emfile_leaves_nothing() {
    if !supported() || common::descriptors_without_limit("out_of_descriptors") {
        return;
    }
    const RLIMIT_NOFILE: usize = if cfg!(target_arch = "mips") { 5 } else { 7 };
    let before = (open_fds(), mappings());
    let last = u64::try_from(*before.0.last().unwrap()).unwrap();
    let mut codes = Vec::new();
    for most in 3..last + 6 {
        let mut trying = child(|| {
            let usual = limit(RLIMIT_NOFILE, most);
            let made = shared().map(drop);
            limit(RLIMIT_NOFILE, usual);
            match made {
                _ if (open_fds(), mappings()) != before => 3,
                Ok(()) => 0,
                Err(Errno::EMFILE) => 1,
                Err(_) => 2,
            }
        });
        codes.push(trying.wait().unwrap().code().unwrap());
    }
    // For want of four, three, two, one, and then with all of them.
    let failed = codes.iter().take_while(|&&code| code == 1).count();
    assert!(failed >= 4 && codes.len() > failed, "{codes:?}");
    assert!(codes[failed..].iter().all(|&code| code == 0), "{codes:?}");
}

fn out_of_memory_enomem() {
    if !supported() {
        return;
    }
    for bytes in [usize::MAX, isize::MAX as usize, isize::MAX as usize / 4] {
        assert_eq!(SharedBuilder::new().chunk(bytes).build().unwrap_err(), Errno::ENOMEM);
        assert_eq!(SharedBuilder::new().ring(bytes).build().unwrap_err(), Errno::ENOMEM);
    }
    if common::tool().is_some() {
        return skip("out_of_memory_enomem", "a tool needs more addresses than the limit");
    }
    succeeds(child(|| {
        let fds = open_fds();
        limit(if cfg!(target_arch = "mips") { 6 } else { 9 }, 1 << 30);
        let made = SharedBuilder::new().ring(1 << 30).build();
        u8::from(made.err() != Some(Errno::ENOMEM) || open_fds() != fds || shared().is_err())
    }));
}

fn advice_refused_makes_no_pair() {
    if !supported() {
        return;
    }
    let test = "advice_refused_makes_no_pair";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    for errno in [Errno::EPERM, Errno::ENOSYS, Errno::EINVAL] {
        filtered(test, &errno, || {
            let before = (open_fds(), mappings());
            if !Filter::new(&[nr::MADVISE], errno).install() {
                return NO_FILTER;
            }
            let refused = shared().err() == Some(Errno::EOPNOTSUPP);
            u8::from(!refused || (open_fds(), mappings()) != before)
        });
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    records_arrive_in_a_child_and_from_one,
    records_arrive_in_a_thread,
    model_beside_a_queue,
    guard_leaked_gives_its_room_back_later,
    std_traits_copy_nothing_twice_and_lose_nothing,
    writer_killed_leaves_whole_records_and_an_end,
    reader_killed_epipe,
    fork_half_belongs_to_who_uses_it_first,
    fork_two_children_one_owner,
    fork_while_a_thread_takes_the_half,
    fork_lent_before_stays_with_the_parent,
    fork_copies_dropped_in_each_order,
    release_hands_the_reader_over,
    third_process_with_all_ends_does_not_hide_a_drop,
    readiness_after_eagain_on_both_sides,
    unused_half_dropped_is_the_end,
    deadline_passes_with_a_silent_peer,
    awake_sides_make_no_system_call,
    signals_interrupt_nothing,
    out_of_descriptors_emfile_leaves_nothing,
    out_of_memory_enomem,
    advice_refused_makes_no_pair,
    example_sums_on_both_sides,
];
