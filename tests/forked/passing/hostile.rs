//! Tests shared chunks with a peer program that violates the protocol or passes wrong descriptors.
//!
//! `RAWPIPE_TEST_STEPS` sets the number of steps of a hostile peer (by default 20,000). If `common::slow`
//! returns true, only a twentieth of the steps run.

use super::*;
use crate::common::bytes::Random;
use crate::common::shared::CONTROL;
use rawpipe::pipe::{Capacity, set_capacity};

/// Regardless of the values that a peer stores, `try_recv`, `try_chunk` and `send` either succeed, or fail
/// with an expected error. None of these calls panics.
pub(super) fn hostile_peer() {
    if !supported() {
        return;
    }
    let steps = env::var("RAWPIPE_TEST_STEPS").map_or(20_000, |text| text.parse().unwrap());
    let steps = times(steps);
    let mut random = Random::new();
    let (mut records, mut refused) = (0, 0);
    for _ in 0..steps / 100 {
        let builder = SharedBuilder::new().chunk(200).ring(1);
        let (reading, mut copier) = builder.pass_writer().unwrap();
        let (writing, mut filler) = builder.pass_reader().unwrap();
        let mut honest = writer(copies(&reading)).unwrap();
        let mut buf = [0; 200];
        for _ in 0..100 {
            for parts in [&reading, &writing] {
                disturb(&mut random, parts);
            }
            if random.below(2) == 0 && honest.try_chunk().is_ok() {
                let _ = honest.send(1 + random.below(200));
            }
            match copier.try_recv(&mut buf) {
                Ok(Some(len)) => records += usize::from((1..=200).contains(&len)),
                Ok(None) | Err(Errno::EAGAIN | Errno::EBUSY) => {}
                Err(errno) => {
                    assert!([Errno::EPROTO, Errno::EMSGSIZE].contains(&errno), "{errno}");
                    refused += 1;
                }
            }
            let filled = filler.try_chunk().map(|chunk| chunk.fill(7));
            if let Err(errno) = filled.and_then(|()| filler.send(1 + random.below(200))) {
                let expected = [Errno::EAGAIN, Errno::EBUSY, Errno::EPIPE, Errno::EPROTO];
                assert!(expected.contains(&errno), "{errno}");
            }
        }
    }
    common::say(&format!("result: {records} records, {refused} refused, of a hostile peer"));
    assert!(records > 0 && refused > 0);
}

/// Stores a random word in a control word or in the ring, sends wake-ups, or does nothing.
fn disturb(random: &mut Random, parts: &[OwnedFd; 4]) {
    let word = match random.below(6) {
        0 => random.below(1 << 12),
        1 => random.below(64) * 16,
        2 => usize::MAX - random.below(200),
        3 => usize::MAX / 2 + random.below(3),
        4 => random.below(4),
        _ => return,
    };
    let control = File::from(parts[0].try_clone().unwrap());
    match random.below(10) {
        0 => {
            // This write fails if the parts are for a reader's program, because such a program cannot write
            // to the ring.
            let ring = File::from(parts[1].try_clone().unwrap());
            let headers = ring.metadata().unwrap().len() / 16;
            let header = random.below(usize::try_from(headers).unwrap()) as u64 * 16 + 8;
            let _ = ring.write_at(&word.to_ne_bytes(), header);
        }
        1 | 2 => {
            let place = CONTROL[random.below(CONTROL.len())] as u64;
            control.write_all_at(&word.to_ne_bytes(), place).unwrap();
        }
        3 => drop(rawpipe::write(&parts[3], &[0; 5])),
        _ => {}
    }
}

/// If a peer changes a record while it is copied, the copy has the record's length but may contain any bytes.
pub(super) fn record_changes_while_it_is_copied() {
    if !supported() {
        return;
    }
    let (parts, mut copier) = SharedBuilder::new().chunk(4000).ring(1).pass_writer().unwrap();
    let mut honest = writer(copies(&parts)).unwrap();
    let ring = File::from(parts[1].try_clone().unwrap());
    let units = ring.metadata().unwrap().len() / 16;
    let (over, ends) = rawpipe::pipe().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Overwrites the first 8 bytes of each 16-byte unit until the main thread closes its end of the
            // pipe. These 8 bytes never hold a length.
            let ended = || poll(&mut [PollFd::new(&over, PollEvents::IN)], Some(Duration::ZERO));
            while ended() == Ok(0) {
                for unit in 0..units {
                    ring.write_all_at(&[5; 8], unit * 16).unwrap();
                }
            }
        });
        let (mut buf, mut changed, begun) = ([0; 5000], 0, Instant::now());
        for number in 0.. {
            // On a slow or busy machine, many records may arrive unchanged.
            let enough = changed > 0 || begun.elapsed() > Duration::from_secs(60);
            if number >= times(20_000) && enough {
                break;
            }
            let len = 1 + number % 4000;
            honest.chunk().unwrap().fill(1);
            honest.send(len).unwrap();
            buf.fill(99);
            assert_eq!(copier.recv(&mut buf), Ok(Some(len)));
            changed += buf[..len].iter().filter(|&&byte| byte == 5).count();
            assert!(buf[len..].iter().all(|&byte| byte == 99));
        }
        assert!(changed > 0);
        drop(ends);
    });
}

/// A peer that sends wake-ups continuously does not delay calls beyond their deadlines. Nonblocking calls
/// also return.
pub(super) fn deadlines_beside_a_peer_that_rings_without_end() {
    if !supported() {
        return;
    }
    let builder = SharedBuilder::new().chunk(64).ring(1);
    let (reading, mut copier) = builder.pass_writer().unwrap();
    let (writing, mut filler) = builder.pass_reader().unwrap();
    while filler.try_chunk().is_ok() {
        filler.send(64).unwrap();
    }
    let mut ringing = [&reading, &writing].map(|parts| {
        let bell = parts[3].try_clone().unwrap();
        let _ = set_capacity(&bell, Capacity::Max);
        child(|| {
            loop {
                let _ = rawpipe::write(&bell, &[0; 1 << 16]);
            }
        })
    });
    let start = Instant::now();
    for round in 0..20 {
        let soon = Deadline::after(Duration::from_millis(10));
        if round % 2 == 0 {
            assert_eq!(copier.recv_deadline(&mut [0; 64], soon), Err(Errno::ETIMEDOUT));
            assert_eq!(filler.chunk_deadline(soon).unwrap_err(), Errno::ETIMEDOUT);
        } else {
            assert_eq!(copier.try_recv(&mut [0; 64]), Err(Errno::EAGAIN));
            assert_eq!(filler.try_chunk().unwrap_err(), Errno::EAGAIN);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    for peer in &mut ringing {
        peer.kill().unwrap();
        peer.wait().unwrap();
    }
}

/// Parts are rejected if a descriptor in the place of a pipe is not a pipe, or if a file is too small.
/// Blocking pipes are accepted, and `try_recv` does not block even with blocking pipes.
pub(super) fn parts_of_a_hostile_maker() {
    if !supported() {
        return;
    }
    let zero = || OwnedFd::from(File::options().read(true).write(true).open("/dev/zero").unwrap());
    for which in [2, 3] {
        let (mut parts, _writer) = SharedBuilder::new().pass_reader().unwrap();
        parts[which] = zero();
        assert_eq!(reader(parts).unwrap_err(), Errno::EINVAL);
    }
    let (parts, _writer) = SharedBuilder::new().pass_reader().unwrap();
    for pipe in &parts[2..] {
        rawpipe::io::set_nonblocking(pipe, false).unwrap();
    }
    let mut copier = reader(copies(&parts)).unwrap();
    assert_eq!(copier.try_recv(&mut [0; 9]), Err(Errno::EAGAIN));
    let [control, _, heard, bell] = parts;
    let small = control.try_clone().unwrap();
    assert_eq!(reader([control, small, heard, bell]).unwrap_err(), Errno::EPROTO);
}

/// If an untrusted writer stores a length greater than the chunk size, the reader fails with `EPROTO`.
pub(super) fn record_longer_than_a_chunk_eproto() {
    if !supported() {
        return;
    }
    let (parts, mut copier) = SharedBuilder::new().chunk(256).ring(4096).pass_writer().unwrap();
    assert_eq!(copier.chunk_size(), 256);
    let mut honest = writer(copies(&parts)).unwrap();
    send(&mut honest, &[1; 256]);
    send(&mut honest, &[1; 9]);
    let ring = File::from(parts[1].try_clone().unwrap());
    ring.write_all_at(&257_usize.to_ne_bytes(), 4096 - 8).unwrap();
    for _ in 0..2 {
        assert_eq!(copier.recv(&mut [0; 4096]), Err(Errno::EPROTO));
    }
}

/// If a peer marks the writer half as free, a forked child of the writer still cannot use that half.
pub(super) fn forked_child_of_a_writer_for_a_program_ebusy() {
    if !supported() {
        return;
    }
    let (parts, mut writer) = SharedBuilder::new().pass_reader().unwrap();
    writer.chunk().unwrap();
    let control = File::from(parts[0].try_clone().unwrap());
    for state in [CONTROL[2], CONTROL[5]] {
        control.write_all_at(&0_usize.to_ne_bytes(), state as u64).unwrap();
    }
    let mut copy = child(|| u8::from(writer.chunk().err() != Some(Errno::EBUSY)));
    assert!(copy.wait().unwrap().success());
    assert!(writer.send(1).is_ok());
}

/// The reader's program can only read the ring. Neither the ring nor the control page can be truncated or
/// extended.
pub(super) fn reader_cannot_write_eperm() {
    if !supported() {
        return;
    }
    let (parts, mut writer) = SharedBuilder::new().pass_reader().unwrap();
    send(&mut writer, b"mine");
    let ring = &parts[1];
    assert_eq!(map(ring.as_fd(), PROT_READ | PROT_WRITE), Err(Errno::EPERM));
    let path = format!("/proc/self/fd/{}", ring.as_raw_fd());
    let again = File::options().read(true).write(true).open(path).unwrap();
    assert_eq!(map(again.as_fd(), PROT_READ | PROT_WRITE), Err(Errno::EPERM));
    let address = map(ring.as_fd(), PROT_READ).unwrap();
    // SAFETY: the call only changes the protection of the page that was just mapped.
    let answer = unsafe { raw::syscall3(nr::MPROTECT, address, 4096, PROT_READ | PROT_WRITE) };
    assert_eq!(errno(answer), Errno::EACCES);
    for file in &parts[..2] {
        let file = File::from(file.try_clone().unwrap());
        assert_eq!(file.set_len(0).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(file.set_len(1 << 30).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    let file = File::from(ring.try_clone().unwrap());
    assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(super::writer(copies(&parts)).unwrap_err(), Errno::EPERM);
    let mut buf = [0; 4];
    assert_eq!((reader(parts).unwrap().recv(&mut buf), &buf), (Ok(Some(4)), b"mine"));
}
