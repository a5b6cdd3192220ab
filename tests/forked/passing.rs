//! Tests the halves of shared chunks. The halves are created from descriptors, as if each half belonged to a
//! different program. In most tests, this process or a forked child owns the second half. Each test runs in
//! its own process.
#![allow(unsafe_code, reason = "mappings, limits, and halves made of descriptors")]

mod hostile;

use crate::common::{self, Filter, NO_FILTER, child, filtered, nr, open_fds, skip};
use rawpipe::chunk::shared::{SharedBuilder, SharedCopier, SharedWriter};
use rawpipe::chunk::{ChunkMechanism, ChunkWriter};
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rawpipe::process::{Resource, Signal};
use rawpipe::{Deadline, Errno, Wait, raw};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use std::{env, thread};

use hostile::*;

const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
const MAP_SHARED: usize = 1;

/// The documented offset of the format version in the control page.
const FORMAT: u64 = 512;
const WORD: u64 = size_of::<usize>() as u64;

fn supported() -> bool {
    match SharedBuilder::new().pass_reader() {
        Ok(_) => true,
        // User-mode emulators do not wipe memory in a forked child, and Linux before 5.1 lacks the required
        // seal.
        Err(errno @ (Errno::EOPNOTSUPP | Errno::EINVAL)) => {
            skip(&common::name_alone(), &format!("no pair for two programs: {errno}"));
            false
        }
        Err(errno) => panic!("{errno}"),
    }
}

fn times(full: usize) -> usize {
    if common::slow() { full / 20 } else { full }
}

/// Duplicates all four descriptors.
fn copies(parts: &[OwnedFd; 4]) -> [OwnedFd; 4] {
    parts.each_ref().map(|part| part.try_clone().unwrap())
}

fn writer(parts: [OwnedFd; 4]) -> rawpipe::Result<SharedWriter> {
    // SAFETY: no test modifies bytes that it reads in place.
    unsafe { SharedWriter::from_parts(parts, Wait::Block) }
}

fn reader(parts: [OwnedFd; 4]) -> rawpipe::Result<SharedCopier> {
    SharedCopier::from_parts(parts, Wait::Block)
}

fn send(writer: &mut SharedWriter, bytes: &[u8]) {
    writer.chunk().unwrap()[..bytes.len()].copy_from_slice(bytes);
    writer.send(bytes.len()).unwrap();
}

/// Maps a page of a file and returns its address.
fn map(file: BorrowedFd<'_>, protection: usize) -> rawpipe::Result<usize> {
    let fd = usize::try_from(file.as_raw_fd()).unwrap();
    // SAFETY: the kernel chooses an address where nothing is mapped.
    let answer = unsafe { raw::syscall6(nr::MMAP, 0, 4096, protection, MAP_SHARED, fd, 0) };
    if (-4095..0).contains(&answer) {
        Err(errno(answer))
    } else {
        Ok(usize::from_ne_bytes(answer.to_ne_bytes()))
    }
}

fn errno(answer: isize) -> Errno {
    Errno::from_raw_os_error(i32::try_from(-answer).unwrap()).unwrap()
}

fn records_arrive_in_both_directions() {
    if !supported() {
        return;
    }
    for chunk in [1, 7, 64, 1000, 65536] {
        let builder = SharedBuilder::new().chunk(chunk).ring(1);
        let (parts, mut here) = builder.pass_reader().unwrap();
        let mut there = reader(parts).unwrap();
        let (parts, mut back) = builder.pass_writer().unwrap();
        let mut answers = writer(parts).unwrap();
        let mut buf = vec![0; chunk];
        for number in 0..500 {
            let record = common::bytes::data(1 + number * 31 % chunk);
            send(&mut here, &record);
            let len = there.recv(&mut buf).unwrap().unwrap();
            assert_eq!(buf[..len], record);
            send(&mut answers, &buf[..len]);
            assert_eq!(back.recv(&mut buf).unwrap(), Some(len));
            assert_eq!(buf[..len], record);
        }
        drop((here, answers));
        assert_eq!(there.recv(&mut buf).unwrap(), None);
        assert_eq!(back.recv(&mut buf).unwrap(), None);
    }
}

fn trusted_reader_lends_in_place() {
    if !supported() {
        return;
    }
    let (parts, mut writer) = SharedBuilder::new().pass_reader().unwrap();
    // SAFETY: only `writer` writes to the ring.
    let mut reader = unsafe { reader(parts).unwrap().trust() };
    send(&mut writer, b"in place");
    assert_eq!(&*reader.recv().unwrap().unwrap(), b"in place");
}

fn record_longer_than_the_buffer_emsgsize_stays() {
    if !supported() {
        return;
    }
    let (parts, mut writer) = SharedBuilder::new().pass_reader().unwrap();
    let mut reader = reader(parts).unwrap();
    send(&mut writer, b"ten bytes.");
    let mut buf = [0; 10];
    assert_eq!(reader.recv(&mut buf[..9]), Err(Errno::EMSGSIZE));
    assert_eq!(reader.try_recv(&mut []), Err(Errno::EMSGSIZE));
    assert_eq!((reader.recv(&mut buf), &buf), (Ok(Some(10)), b"ten bytes."));
    assert_eq!(reader.try_recv(&mut buf), Err(Errno::EAGAIN));
    let soon = Deadline::after(Duration::from_millis(5));
    assert_eq!(reader.recv_deadline(&mut buf, soon), Err(Errno::ETIMEDOUT));
    send(&mut writer, b"!");
    assert_eq!(poll(&mut [PollFd::new(&reader, PollEvents::IN)], None), Ok(1));
    assert_eq!(reader.try_recv(&mut buf), Ok(Some(1)));
}

/// Parts that do not form a pair, or whose control page contains wrong values, are rejected.
fn parts_of_something_else() {
    if !supported() {
        return;
    }
    let zero = || OwnedFd::from(File::open("/dev/null").unwrap());
    assert_eq!(reader([zero(), zero(), zero(), zero()]).unwrap_err(), Errno::EINVAL);
    let (parts, _writer) = SharedBuilder::new().pass_reader().unwrap();
    let [control, ring, heard, bell] = copies(&parts);
    assert_eq!(reader([ring, control, heard, bell]).unwrap_err(), Errno::EPROTO);
    let (parts, _reader) = SharedBuilder::new().pass_writer().unwrap();
    let [control, ring, heard, bell] = copies(&parts);
    assert_eq!(reader([ring, control, heard, bell]).unwrap_err(), Errno::EPROTO);
    let control = File::from(parts[0].try_clone().unwrap());
    for (at, words) in [
        (FORMAT, [0, 0x7270_0100, 0x7270_0204, usize::MAX]),
        (FORMAT + WORD, [0, 1 << 20, usize::MAX, usize::MAX / 2]),
    ] {
        let mut right = [0; size_of::<usize>()];
        control.read_exact_at(&mut right, at).unwrap();
        for word in words {
            control.write_all_at(&word.to_ne_bytes(), at).unwrap();
            assert_eq!(reader(copies(&parts)).unwrap_err(), Errno::EPROTO, "{word:#x}");
            assert_eq!(writer(copies(&parts)).unwrap_err(), Errno::EPROTO, "{word:#x}");
        }
        control.write_all_at(&right, at).unwrap();
    }
    assert!(writer(parts).is_ok());
}

/// If a half is in use, creating it again from the same parts fails with `EBUSY` until its owner releases the
/// half.
fn parts_taken_twice_ebusy() {
    if !supported() {
        return;
    }
    let (parts, mut reader) = SharedBuilder::new().pass_writer().unwrap();
    let mut first = writer(copies(&parts)).unwrap();
    send(&mut first, b"1");
    assert_eq!(writer(copies(&parts)).unwrap_err(), Errno::EBUSY);
    send(&mut first, b"2");
    let mut buf = [0; 1];
    for expected in [b"1", b"2"] {
        assert_eq!((reader.recv(&mut buf), &buf), (Ok(Some(1)), expected));
    }
    first.release();
    send(&mut writer(parts).unwrap(), b"3");
    assert_eq!((reader.recv(&mut buf), &buf), (Ok(Some(1)), b"3"));
}

/// If a ring exceeds the file size limit, its creation fails with `EFBIG`, and no signal kills the process.
fn ring_beyond_the_limit_of_files_efbig() {
    if !supported() {
        return;
    }
    let mut trying = child(|| {
        let before = open_fds();
        common::set_soft_limit(Resource::FSIZE.as_raw(), 4096);
        let refused = SharedBuilder::new().pass_reader().err() == Some(Errno::EFBIG)
            && SharedBuilder::new().pass_writer().err() == Some(Errno::EFBIG);
        // The limit also applies to a chunk writer's memory, although one page is enough to check whether
        // memory files work.
        let (reader, writer) = rawpipe::pipe().unwrap();
        let memfd = ChunkWriter::builder().mechanism(ChunkMechanism::Memfd).build(writer).err();
        drop(reader);
        let refused = refused && [Some(Errno::EFBIG), Some(Errno::EOPNOTSUPP)].contains(&memfd);
        u8::from(!refused || open_fds() != before)
    });
    assert!(trying.wait().unwrap().success());
}

/// The check of whether memory files work may fail because of the file size limit. Such a failure is not
/// remembered, so a writer with a memory file can be created after the limit has been raised.
fn memory_file_check_at_the_limit_of_files_is_repeated() {
    if !supported() {
        return;
    }
    let mut trying = child(|| {
        let build = || {
            let (_reader, writer) = rawpipe::pipe().unwrap();
            ChunkWriter::builder().mechanism(ChunkMechanism::Memfd).build(writer).err()
        };
        let usual = common::set_soft_limit(Resource::FSIZE.as_raw(), 1);
        let refused = build();
        common::set_soft_limit(Resource::FSIZE.as_raw(), usual);
        u8::from((refused, build()) != (Some(Errno::EOPNOTSUPP), None))
    });
    assert!(trying.wait().unwrap().success());
}

/// In each example, the reader is a separate program. The writer and the reader print the same sum.
fn examples_print_one_sum() {
    if !supported() {
        return;
    }
    let python = std::process::Command::new("python3").arg("-V").output().is_ok();
    for (name, argument, there, here) in [
        ("shared_worker", "7", "The worker has summed ", "The sum should be "),
        ("shared_python", "300", "with the sum ", "with the sum "),
    ] {
        let test = "examples_print_one_sum";
        if name == "shared_python" && (!python || common::emulated()) {
            skip(test, "no python3 of this architecture");
            continue;
        }
        let mut command = common::program(&common::example(name));
        let output = common::finish(command.arg(argument));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let [first, second]: [&str; 2] = text.lines().collect::<Vec<_>>().try_into().unwrap();
        let (_, theirs) = first.split_once(there).unwrap();
        let (_, ours) = second.split_once(here).unwrap();
        assert_eq!(theirs, ours, "{text}");
        let mut command = common::program(&common::example(name));
        assert!(!common::finish(command.arg("none")).status.success());
    }
}

/// If a filter rejects the system call that sends a wake-up, the reader's call returns the filter's error.
fn bell_rejected_by_a_filter_is_reported() {
    if !supported() {
        return;
    }
    let test = "bell_rejected_by_a_filter_is_reported";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    filtered(test, &Errno::ENOMEM, || {
        let (mut reader, mut writer) = SharedBuilder::new().chunk(64).ring(1).build().unwrap();
        while writer.try_chunk().is_ok() {
            writer.send(64).unwrap();
        }
        if !Filter::new(&[nr::PWRITEV2, nr::WRITEV, nr::WRITE], Errno::ENOMEM).install() {
            return NO_FILTER;
        }
        // The writer waits for a wake-up, and the filter rejects each attempt to send one.
        loop {
            match reader.recv_deadline(Deadline::after(Duration::from_millis(10))) {
                Ok(record) => drop(record),
                Err(errno) => return u8::from(errno != Errno::ENOMEM),
            }
        }
    });
}

/// The writer fails with `EPIPE` after the reading program is killed.
fn other_program_killed() {
    if !supported() {
        return;
    }
    let (parts, mut writer) = SharedBuilder::new().chunk(4096).ring(1).pass_reader().unwrap();
    let copies = copies(&parts);
    let mut reading = child(|| {
        let mut reader = reader(copies).unwrap();
        let mut buf = [0; 4096];
        while reader.recv(&mut buf) != Ok(None) {}
        0
    });
    drop(parts);
    for _ in 0..100 {
        send(&mut writer, &[1; 1000]);
    }
    reading.kill().unwrap();
    let error = loop {
        match writer.chunk().map(drop).and_then(|()| writer.send(4096)) {
            Ok(()) => {}
            Err(errno) => break errno,
        }
    };
    assert_eq!(error, Errno::EPIPE);
    assert_eq!(reading.wait().unwrap().signal(), Some(Signal::KILL));
}

pub(crate) const TESTS: common::Tests = common::tests![
    records_arrive_in_both_directions,
    trusted_reader_lends_in_place,
    record_longer_than_the_buffer_emsgsize_stays,
    reader_cannot_write_eperm,
    parts_of_something_else,
    parts_taken_twice_ebusy,
    forked_child_of_a_writer_for_a_program_ebusy,
    hostile_peer,
    record_changes_while_it_is_copied,
    ring_beyond_the_limit_of_files_efbig,
    memory_file_check_at_the_limit_of_files_is_repeated,
    examples_print_one_sum,
    other_program_killed,
    record_longer_than_a_chunk_eproto,
    deadlines_beside_a_peer_that_rings_without_end,
    bell_rejected_by_a_filter_is_reported,
    parts_of_a_hostile_maker,
];
