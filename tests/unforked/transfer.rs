//! Tests of transfers for every combination of source kind and sink kind. The tests check bytes, counts,
//! mechanisms, ends of file and errors.
//!
//! No test in this file creates a process. `pipe.rs` gives the reason.
#![cfg(all(feature = "std", feature = "transfer"))]

use crate::common::bytes::{all_of, data};
use crate::common::{self, append_file, closed_fd, file};
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::fd::{AsFd, OwnedFd};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::transfer::{Side, Transfer, TransferMechanism, discard, transfer};
use rawpipe::{Errno, io};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// The kinds of sources. Each source delivers `bytes` and then end of file. If necessary, another thread
/// writes to the source.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    File,
    Pipe,
    NonblockingPipe,
    Socket,
}

impl Source {
    const ALL: [Self; 4] = [Self::File, Self::Pipe, Self::NonblockingPipe, Self::Socket];

    fn of<'scope>(self, bytes: &'scope [u8], scope: &'scope thread::Scope<'scope, '_>) -> OwnedFd {
        match self {
            Self::File => file(bytes).into(),
            Self::Pipe | Self::NonblockingPipe => {
                let (reader, writer) = rawpipe::pipe().unwrap();
                reader.set_nonblocking(self == Self::NonblockingPipe).unwrap();
                // This write may fail, because a transfer with a limit stops reading early.
                scope.spawn(move || _ = writer.write_all(bytes));
                reader.into()
            }
            Self::Socket => {
                let (near, mut far) = UnixStream::pair().unwrap();
                scope.spawn(move || _ = far.write_all(bytes));
                near.into()
            }
        }
    }
}

/// The kinds of sinks from which `moved` reads the bytes that arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sink {
    File,
    Append,
    Pipe,
    NonblockingPipe,
    Socket,
}

impl Sink {
    const ALL: [Self; 5] =
        [Self::File, Self::Append, Self::Pipe, Self::NonblockingPipe, Self::Socket];
}

/// Moves `bytes` with these options, and returns the bytes that arrived and the result.
fn moved(
    options: Transfer<'_>,
    source: Source,
    sink: Sink,
    bytes: &[u8],
) -> (Vec<u8>, rawpipe::transfer::Transferred) {
    thread::scope(|scope| {
        let from = source.of(bytes, scope);
        let mut arrived = Vec::new();
        let done = match sink {
            Sink::File => {
                let to = file(b"");
                let done = options.run(&from, &to).unwrap();
                arrived = all_of(&to);
                done
            }
            Sink::Append => {
                let path = common::tmp_path();
                std::fs::write(&path, b"before").unwrap();
                let to = File::options().append(true).open(&path).unwrap();
                let done = options.run(&from, &to).unwrap();
                let kept = std::fs::read(&path).unwrap();
                std::fs::remove_file(&path).unwrap();
                arrived.extend(kept.strip_prefix(b"before").expect("what was there before"));
                done
            }
            Sink::Pipe | Sink::NonblockingPipe => {
                let (reader, to) = rawpipe::pipe().unwrap();
                to.set_nonblocking(sink == Sink::NonblockingPipe).unwrap();
                let reading = scope.spawn(move || {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).unwrap();
                    bytes
                });
                let done = options.run(&from, &to).unwrap();
                drop(to);
                arrived = reading.join().unwrap();
                done
            }
            Sink::Socket => {
                let (to, mut far) = UnixStream::pair().unwrap();
                let reading = scope.spawn(move || {
                    let mut bytes = Vec::new();
                    far.read_to_end(&mut bytes).unwrap();
                    bytes
                });
                let done = options.run(&from, &to).unwrap();
                drop(to);
                arrived = reading.join().unwrap();
                done
            }
        };
        (arrived, done)
    })
}

#[test]
fn transfer_every_source_to_every_sink() {
    let len = if common::slow() { 300_001 } else { 3_000_001 };
    let bytes = data(len);
    for source in Source::ALL {
        for sink in Sink::ALL {
            let (arrived, done) = moved(Transfer::new(), source, sink, &bytes);
            assert_eq!(done.bytes(), len as u64, "{source:?} → {sink:?}");
            assert!(arrived == bytes, "{source:?} → {sink:?}");
        }
    }
}

#[test]
fn transfer_mechanism_is_told() {
    use TransferMechanism::{Broker, Copy, CopyFileRange, Sendfile, Splice};
    let bytes = data(100_000);
    let mechanism = |source, sink| {
        let (arrived, done) = moved(Transfer::new(), source, sink, &bytes);
        assert!(arrived == bytes);
        (done.mechanism(), done.fell_back())
    };
    assert_eq!(mechanism(Source::Pipe, Sink::Pipe), (Splice, false));
    assert_eq!(mechanism(Source::Pipe, Sink::File), (Broker, false));
    assert_eq!(mechanism(Source::File, Sink::Pipe), (Splice, false));
    assert_eq!(mechanism(Source::Pipe, Sink::Socket), (Broker, false));
    assert_eq!(mechanism(Source::Socket, Sink::Pipe), (Broker, false));
    assert_eq!(mechanism(Source::File, Sink::Socket), (Sendfile, false));
    assert_eq!(mechanism(Source::Socket, Sink::Socket), (Broker, false));
    assert_eq!(mechanism(Source::Socket, Sink::File), (Broker, false));
    assert_eq!(mechanism(Source::Pipe, Sink::Append), (Copy, true));
    assert_eq!(mechanism(Source::Socket, Sink::Append), (Copy, true));
    assert_eq!(mechanism(Source::File, Sink::Append), (Copy, true));
    let (used, fell_back) = mechanism(Source::File, Sink::File);
    // Some file systems do not support `copy_file_range`.
    assert!(matches!((used, fell_back), (CopyFileRange, false) | (Broker, true)));
    assert_eq!(Splice.to_string() + " " + CopyFileRange.name(), "splice copy_file_range");
}

/// Excludes every mechanism except `Copy`.
fn by_copy(options: Transfer<'_>) -> Transfer<'_> {
    use TransferMechanism::{Broker, CopyFileRange, Sendfile, Splice};
    [Splice, Broker, CopyFileRange, Sendfile].into_iter().fold(options, Transfer::without)
}

/// Neither `splice` nor `copy_file_range` can write to a file that is open for appending, so the transfer
/// copies the bytes.
#[test]
fn transfer_to_the_end_of_a_file_einval_copies() {
    use TransferMechanism::{Broker, Copy, CopyFileRange};
    let bytes = data(300_000);
    for (source, first, errno) in [
        (Source::Pipe, Broker, Errno::EINVAL),
        (Source::Socket, Broker, Errno::EINVAL),
        (Source::File, CopyFileRange, Errno::EBADF),
    ] {
        let (arrived, done) = moved(Transfer::new(), source, Sink::Append, &bytes);
        assert!(arrived == bytes, "{source:?}");
        assert_eq!((done.bytes(), done.mechanism()), (300_000, Copy));
        let why = done.fallback().map(|first| (first.mechanism(), first.errno()));
        let old = source == Source::File && why == Some((first, Some(Errno::ENOSYS)));
        assert!(old || why == Some((first, Some(errno))), "{source:?}: {why:?}");
        // If the last available mechanism fails, the position of the source file is unchanged.
        if source == Source::File {
            let from = file(&bytes);
            let error = Transfer::new().without(Copy).run(&from, append_file()).unwrap_err();
            assert_eq!((error.errno(), error.undelivered()), (Some(Errno::EOPNOTSUPP), 0));
            assert_eq!((&from).stream_position().unwrap(), 0);
        }
    }
}

/// Between different file systems, `copy_file_range` fails with `EXDEV` in Linux 4.5 to 5.2, and in Linux
/// 5.19 and later. The transfer then moves the bytes through a pipe.
#[test]
fn transfer_between_file_systems_exdev_goes_through_a_pipe() {
    use TransferMechanism::{Broker, CopyFileRange};
    use std::os::unix::fs::MetadataExt;
    let bytes = data(3_000_000);
    let path = std::env::temp_dir().join(format!("rawpipe-exdev-{}", std::process::id()));
    let elsewhere = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let here = file(&bytes);
    if here.metadata().unwrap().dev() == elsewhere.metadata().unwrap().dev() {
        return common::skip("transfer_between_file_systems", "there is one file system only");
    }
    for (from, to) in [(here, &elsewhere), (elsewhere.try_clone().unwrap(), &file(b""))] {
        (&from).rewind().unwrap();
        let done = transfer(&from, to).unwrap();
        assert!(all_of(to) == bytes);
        assert_eq!(done.bytes(), 3_000_000);
        let why = done.fallback().map(|first| (first.mechanism(), first.errno()));
        let told = (done.mechanism(), why);
        // Before Linux 4.5 the call fails with `ENOSYS`.
        let by_pipe = |errno| told == (Broker, Some((CopyFileRange, Some(errno))));
        let one_call = told == (CopyFileRange, None);
        assert!(one_call || by_pipe(Errno::EXDEV) || by_pipe(Errno::ENOSYS), "{done:?}");
    }
}

/// Without a progress closure, setting a chunk size changes neither the mechanism nor the result.
#[test]
fn transfer_chunk_without_progress_changes_no_mechanism() {
    let bytes = data(300_000);
    for source in Source::ALL {
        for sink in Sink::ALL {
            let (_, plain) = moved(Transfer::new(), source, sink, &bytes);
            let (arrived, done) = moved(Transfer::new().chunk(1), source, sink, &bytes);
            assert!(arrived == bytes, "{source:?} → {sink:?}");
            assert_eq!(done, plain, "{source:?} → {sink:?}");
            let late = || Transfer::new().deadline(Deadline::after(Duration::from_secs(600)));
            let (_, plain) = moved(late(), source, sink, &bytes);
            let (arrived, done) = moved(late().chunk(1), source, sink, &bytes);
            assert!(arrived == bytes, "{source:?} → {sink:?}");
            assert_eq!(done, plain, "{source:?} → {sink:?}");
        }
    }
}

#[test]
fn transfer_grows_pipes_if_asked_and_none_that_is_larger() {
    const GROWN: usize = 256 << 10;
    // The user that runs this test may not be allowed to enlarge pipes.
    let granted = Builder::new().capacity(Capacity::Bytes(GROWN)).build().is_ok();
    let larger = Builder::new().capacity(Capacity::Bytes(2 * GROWN)).build();
    let bytes = data(50_000);
    for grows in [false, true] {
        let ((reader, writer), (arrived, to)) =
            (rawpipe::pipe().unwrap(), rawpipe::pipe().unwrap());
        let usual = writer.capacity().unwrap();
        writer.write_all(&bytes).unwrap();
        drop(writer);
        let options = if grows { Transfer::new().grow_pipes() } else { Transfer::new() };
        assert_eq!(options.run(&reader, &to).unwrap().bytes(), 50_000);
        let wanted = if grows && granted { GROWN } else { usual };
        assert_eq!((reader.capacity(), to.capacity()), (Ok(wanted), Ok(wanted)), "{grows}");
        drop(to);
        let mut all = Vec::new();
        arrived.read_to_end(&mut all).unwrap();
        assert!(all == bytes);
    }
    if let Ok((reader, writer)) = larger {
        let before = writer.capacity();
        let sink = file(b"");
        writer.write_all(&bytes).unwrap();
        drop(writer);
        Transfer::new().grow_pipes().run(&reader, &sink).unwrap();
        assert_eq!(reader.capacity(), before);
        assert!(all_of(&sink) == bytes);
    }
    // A transfer without pipes has no pipe to enlarge.
    let (sink, (near, _far)) = (file(b""), UnixStream::pair().unwrap());
    assert_eq!(Transfer::new().grow_pipes().run(file(&bytes), &sink).unwrap().bytes(), 50_000);
    assert_eq!(Transfer::new().grow_pipes().run(file(&bytes), &near).unwrap().bytes(), 50_000);
    // A transfer whose source and sink are swapped fails, and no pipe is enlarged.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let usual = reader.capacity();
    let error = Transfer::new().grow_pipes().run(&writer, &reader).unwrap_err();
    assert_eq!((error.errno(), reader.capacity()), (Some(Errno::EBADF), usual));
}

#[test]
fn transfer_in_chunks_of_every_size() {
    for (chunk, len) in [
        (1, 3_000),
        (7, 20_000),
        (4095, 100_000),
        (4096, 300_000),
        (65_536, 1_000_000),
        (usize::MAX, 1_000_000),
    ] {
        let bytes = data(len);
        for source in [Source::File, Source::Pipe, Source::Socket] {
            for sink in [Sink::File, Sink::Pipe, Sink::Socket] {
                let mut watch = |_| ControlFlow::Continue(());
                let options = Transfer::new().chunk(chunk).progress(&mut watch);
                let (arrived, done) = moved(options, source, sink, &bytes);
                assert!(arrived == bytes, "{chunk}: {source:?} → {sink:?}");
                assert_eq!(done.bytes(), len as u64);
                if chunk < 4096 {
                    assert_eq!(
                        (done.mechanism(), done.fell_back()),
                        (TransferMechanism::Copy, false)
                    );
                }
            }
        }
    }
}

#[test]
fn transfer_copy_semantics_gives_no_page_of_a_file_away() {
    let source = file(&data(50_000));
    let (reader, writer) = Builder::new().capacity(Capacity::Max).build().unwrap();
    let done = Transfer::new().copy_semantics().run(&source, &writer).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (50_000, TransferMechanism::Copy));
    source.write_all_at(&[0; 50_000], 0).unwrap();
    drop(writer);
    let mut arrived = Vec::new();
    reader.read_to_end(&mut arrived).unwrap();
    assert!(arrived == data(50_000), "a later write to the file is seen in the pipe");

    let bytes = data(100_000);
    for source in Source::ALL {
        for sink in Sink::ALL {
            let (arrived, _) = moved(Transfer::new().copy_semantics(), source, sink, &bytes);
            assert!(arrived == bytes, "{source:?} → {sink:?}");
        }
    }
}

/// With `copy_semantics`, a copy to an earlier overlapping range of the same file reads each byte before it
/// overwrites that byte.
#[test]
fn transfer_copy_semantics_from_a_file_to_itself() {
    let mut both = file(b"0123456789");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&both));
    let other = File::options().write(true).open(path).unwrap();
    both.seek(SeekFrom::Start(1)).unwrap();
    let done = Transfer::new().copy_semantics().exact(9).run(&both, &other).unwrap();
    assert_eq!((done.bytes(), done.mechanism()), (9, TransferMechanism::Copy));
    assert_eq!(all_of(&both), b"1234567899");
}

/// A copy within a file to the same range or to a later overlapping range fails with `EINVAL`, because it
/// would read its own output. If the ranges do not overlap, or the copy is to an earlier range, a file may be
/// its own sink.
#[test]
fn transfer_within_a_file_towards_its_end_einval() {
    let mut both = file(&data(100_000));
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&both));
    let mut other = File::options().write(true).open(&path).unwrap();
    let appends = File::options().append(true).open(&path).unwrap();
    let mut run = |from: u64, to: u64, most: u64| {
        both.seek(SeekFrom::Start(from)).unwrap();
        other.seek(SeekFrom::Start(to)).unwrap();
        let done = Transfer::new().exact(most).run(&both, &other);
        done.map(|done| done.bytes()).map_err(|error| (error.side(), error.errno()))
    };
    let fed = Err((Side::Sink, Some(Errno::EINVAL)));
    assert_eq!(run(0, 1, 2), fed);
    assert_eq!(run(0, 4096, 16384), fed);
    assert_eq!(run(20_000, 69_999, 50_000), fed);
    assert_eq!(run(20_000, 70_000, 30_000), Ok(30_000));
    assert_eq!(run(20_000, 10_000, 50_000), Ok(50_000));
    assert_eq!(run(20_000, 20_000, 50_000), fed);
    assert_eq!(run(20_000, 20_000, 0), Ok(0));
    let before = data(100_000);
    let expected = [
        &before[..10_000],
        &before[20_000..70_000],
        &before[60_000..70_000],
        &before[20_000..50_000],
    ];
    assert!(all_of(&both) == expected.concat());

    both.rewind().unwrap();
    // If the sink appends to the source file, the transfer also copies its own output.
    assert_eq!(Transfer::new().limit(150_000).run(&both, &appends).unwrap().bytes(), 150_000);
    assert!(all_of(&both) == expected.concat().repeat(3)[..250_000]);
}

/// If one open file is both the source and the sink, the transfer fails with `EINVAL`. The file has only one
/// position, so each read would start after the bytes that were just written.
#[test]
fn transfer_of_an_open_file_to_itself_einval() {
    let mut both = file(&data(100_000));
    both.seek(SeekFrom::Start(10_000)).unwrap();
    let error = Transfer::new().exact(50_000).run(&both, &both).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EINVAL)));
    assert!(all_of(&both) == data(100_000));
}

/// A transfer within one file copies the bytes through memory. Otherwise the kernel would copy overlapping
/// bytes within a page, and the result would depend on the processor.
#[test]
fn transfer_within_a_file_towards_its_start_copies() {
    for distance in [1, 200, 4096, 70_000] {
        let both = file(&data(300_000));
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&both));
        let mut source = File::open(path).unwrap();
        source.seek(SeekFrom::Start(distance)).unwrap();
        let done = transfer(&source, &both).unwrap();
        assert_eq!((done.bytes(), done.mechanism()), (300_000 - distance, TransferMechanism::Copy));
        let mut expected = data(300_000);
        expected.copy_within(usize::try_from(distance).unwrap().., 0);
        assert!(all_of(&both) == expected, "{distance}");
    }
}

#[test]
fn transfer_exact_leaves_the_rest() {
    let source = file(&data(10_000));
    let sink = file(b"");
    let done = Transfer::new().exact(6_000).run(&source, &sink).unwrap();
    assert_eq!(done.bytes(), 6_000);
    assert_eq!((&source).stream_position().unwrap(), 6_000);
    assert!(all_of(&sink) == data(10_000)[..6_000]);

    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&data(5_000)).unwrap();
    let (next_reader, next_writer) = rawpipe::pipe().unwrap();
    assert_eq!(Transfer::new().exact(0).run(&reader, &next_writer).unwrap().bytes(), 0);
    let done = Transfer::new().exact(4_999).run(&reader, &next_writer).unwrap();
    assert_eq!(done.bytes(), 4_999);
    assert_eq!((reader.available(), next_reader.available()), (Ok(1), Ok(4_999)));
}

#[test]
fn transfer_exact_of_a_source_that_ends_early() {
    for source in Source::ALL {
        thread::scope(|scope| {
            let bytes = b"only these";
            let from = source.of(bytes, scope);
            let sink = file(b"");
            let error = Transfer::new().exact(11).run(&from, &sink).unwrap_err();
            assert_eq!((error.side(), error.errno()), (Side::Source, None), "{source:?}");
            assert_eq!((error.bytes(), error.undelivered()), (10, 0), "{source:?}");
            assert_eq!(error.to_string(), "source: end of file after 10 bytes");
            let error = std::io::Error::from(error);
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
            assert_eq!(all_of(&sink), bytes);
        });
    }
}

#[test]
fn transfer_of_nothing() {
    for source in Source::ALL {
        for sink in Sink::ALL {
            let (arrived, done) = moved(Transfer::new(), source, sink, b"");
            assert_eq!((arrived.len(), done.bytes(), done.fell_back()), (0, 0, false));
        }
    }
}

#[test]
fn transfer_of_proc_files_is_what_a_read_gives() {
    let wanted = std::fs::read("/proc/version").unwrap();
    let source = File::open("/proc/version").unwrap();
    let sink = file(b"");
    assert_eq!(transfer(&source, &sink).unwrap().bytes(), wanted.len() as u64);
    assert_eq!(all_of(&sink), wanted);

    let source = File::open("/proc/version").unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(transfer(&source, &writer).unwrap().bytes(), wanted.len() as u64);
    assert_eq!(reader.available(), Ok(wanted.len()));

    let source = File::open("/proc/version").unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(transfer(&source, &null).unwrap().bytes(), wanted.len() as u64);
}

/// The kernel loses lines when `splice` reads `trace_pipe`. A transfer cannot recognise this file, so every
/// file that reports no size is read instead of spliced. See also `transfer_faults`.
#[test]
fn transfer_of_a_file_without_a_size_reads_it() {
    let null = File::options().write(true).open("/dev/null").unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let target = file(b"");
    for sink in [null.as_fd(), near.as_fd(), writer.as_fd(), target.as_fd()] {
        let source = File::open("/proc/self/status").unwrap();
        let done = transfer(&source, sink).unwrap();
        assert!(done.bytes() > 0);
        assert_eq!((done.mechanism(), done.fallback()), (TransferMechanism::Copy, None));
        // A transfer of an empty file succeeds even if `Copy` is excluded.
        let done = Transfer::new().without(TransferMechanism::Copy).run(file(b""), sink).unwrap();
        assert_eq!((done.bytes(), done.fallback()), (0, None));
    }
    let without = Transfer::new().without(TransferMechanism::Copy).copy_semantics();
    let error = without.run(file(b""), &near).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP));
}

#[test]
fn transfer_copy_moves_256_kib_at_a_time() {
    let zero = File::open("/dev/zero").unwrap();
    let (mut last, mut steps) = (0, Vec::new());
    let mut watch = |done| {
        steps.push(done - last);
        last = done;
        ControlFlow::Continue(())
    };
    let moving = Transfer::new().exact(700_000).progress(&mut watch);
    assert_eq!(moving.run(&zero, file(b"")).unwrap().mechanism(), TransferMechanism::Copy);
    assert_eq!(steps, [262_144, 262_144, 175_712]);
}

#[test]
fn transfer_devices() {
    let zero = File::open("/dev/zero").unwrap();
    let sink = file(b"");
    assert_eq!(Transfer::new().exact(200_000).run(&zero, &sink).unwrap().bytes(), 200_000);
    assert!(all_of(&sink) == vec![0; 200_000]);
    let null = File::open("/dev/null").unwrap();
    assert_eq!(transfer(&null, &sink).unwrap().bytes(), 0);
    let source = file(&data(200_000));
    let null = File::options().write(true).open("/dev/null").unwrap();
    let done = transfer(&source, &null).unwrap();
    assert_eq!((done.bytes(), done.fell_back()), (200_000, false));
}

#[test]
fn transfer_progress_counts_up_and_breaks() {
    let bytes = data(1_000_000);
    for (source, sink) in [
        (Source::File, Sink::Pipe),
        (Source::Socket, Sink::Socket),
        (Source::Pipe, Sink::Append),
        (Source::File, Sink::File),
    ] {
        let mut seen = vec![0];
        let mut watch = |done| {
            assert!(done >= *seen.last().unwrap());
            seen.push(done);
            ControlFlow::Continue(())
        };
        let options = Transfer::new().chunk(10_000).progress(&mut watch);
        let (arrived, done) = moved(options, source, sink, &bytes);
        assert!(arrived == bytes);
        assert_eq!((done.bytes(), seen.last()), (1_000_000, Some(&1_000_000)));
        assert!(seen.len() > 100, "{} times", seen.len());
        assert!(seen.windows(2).all(|two| two[1] - two[0] <= 10_000), "{source:?} → {sink:?}");
    }
    // After an early stop, the bytes that were read have arrived, and the other bytes are still in the
    // source.
    let (left, far_left) = UnixStream::pair().unwrap();
    let (right, far_right) = UnixStream::pair().unwrap();
    io::write_all(&far_left, &bytes[..50_000]).unwrap();
    let mut watch =
        |done| if done >= 20_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let done = Transfer::new().chunk(5_000).progress(&mut watch).run(&left, &right).unwrap();
    assert!((20_000..25_000).contains(&done.bytes()), "{}", done.bytes());
    let count = usize::try_from(done.bytes()).unwrap();
    let mut arrived = vec![0; count];
    io::read_exact(&far_right, &mut arrived).unwrap();
    let mut rest = vec![0; 50_000 - count];
    io::read_exact(&left, &mut rest).unwrap();
    assert!([arrived, rest].concat() == bytes[..50_000]);
}

#[test]
fn transfer_reader_gone_epipe_and_every_byte_accounted_for() {
    let bytes = data(4_000_000);
    for source in [Source::File, Source::Pipe, Source::Socket] {
        for into_socket in [false, true] {
            thread::scope(|scope| {
                // The threads that write to the source fail when the source is dropped. The test ignores
                // these failures.
                let (from, _feeder): (OwnedFd, _) = match source {
                    Source::File => (file(&bytes).into(), None),
                    Source::Pipe => {
                        let (reader, writer) = rawpipe::pipe().unwrap();
                        let bytes = &bytes;
                        let feeder = scope.spawn(move || writer.write_all(bytes).is_ok());
                        (reader.into(), Some(feeder))
                    }
                    _ => {
                        let (near, mut far) = UnixStream::pair().unwrap();
                        let bytes = &bytes;
                        let feeder = scope.spawn(move || far.write_all(bytes).is_ok());
                        (near.into(), Some(feeder))
                    }
                };
                let (to, reader): (OwnedFd, OwnedFd) = if into_socket {
                    let (near, far) = UnixStream::pair().unwrap();
                    (near.into(), far.into())
                } else {
                    let (reader, writer) = rawpipe::pipe().unwrap();
                    (writer.into(), reader.into())
                };
                let reading = scope.spawn(move || {
                    let mut part = vec![0; 100_000];
                    io::read_exact(&reader, &mut part).unwrap();
                    part
                });
                let mut error = transfer(&from, &to).unwrap_err();
                let what = format!("{source:?}, socket {into_socket}: {error}");
                assert_eq!(error.side(), Side::Sink, "{what}");
                // Closing a socket that holds unread bytes resets the connection.
                let reset = into_socket && error.errno() == Some(Errno::ECONNRESET);
                assert!(reset || error.errno() == Some(Errno::EPIPE), "{what}");
                assert!(reading.join().unwrap() == bytes[..100_000], "{what}");

                // Every byte must have arrived, be in the error, or still be in the source. Some arrived
                // bytes are in a closed pipe or socket.
                let mut place = usize::try_from(error.bytes()).unwrap();
                assert!(place >= 100_000, "{what}");
                let in_hand = error.undelivered();
                let mut rescued = vec![0; in_hand + 1];
                let mut count = 0;
                while let Ok(more @ 1..) = error.read_undelivered(&mut rescued[count..]) {
                    count += more;
                }
                assert_eq!((count, error.undelivered()), (in_hand, 0), "{what}");
                assert!(rescued[..count] == bytes[place..place + count], "{what}");
                place += count;
                let mut next = [0; 1000];
                io::read_exact(&from, &mut next).unwrap();
                assert!(next == bytes[place..place + 1000], "{what}");
                drop(from);
            });
        }
    }
}

#[test]
fn transfer_full_device_enospc_keeps_what_it_took() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    for source in Source::ALL {
        thread::scope(|scope| {
            let from = source.of(b"0123456789", scope);
            let mut error = transfer(&from, &full).unwrap_err();
            assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::ENOSPC)));
            assert_eq!(error.bytes(), 0);
            let mut rescued = [0; 20];
            let mut count = 0;
            while let Ok(more @ 1..) = error.read_undelivered(&mut rescued[count..]) {
                count += more;
            }
            // The source still holds the bytes that the transfer did not read.
            count += io::read_exact(&from, &mut rescued[count..]).unwrap_err().bytes();
            assert_eq!(&rescued[..count], b"0123456789", "{source:?}");
        });
    }
}

#[test]
fn transfer_wrong_direction_or_closed_ebadf_names_the_side() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (other_reader, other_writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"kept").unwrap();
    let (plain, plain_sink) = (file(b"contents"), file(b""));
    let write_only = append_file();
    let read_only = File::open("/proc/self/exe").unwrap();
    let side = |from: &dyn AsFd, to: &dyn AsFd| {
        let error = transfer(from.as_fd(), to.as_fd()).unwrap_err();
        assert_eq!((error.errno(), error.bytes()), (Some(Errno::EBADF), 0));
        error.side()
    };
    assert_eq!(side(&other_writer, &writer), Side::Source);
    assert_eq!(side(&reader, &other_reader), Side::Sink);
    assert_eq!(side(&closed_fd(), &writer), Side::Source);
    assert_eq!(side(&reader, &closed_fd()), Side::Sink);
    assert_eq!(side(&closed_fd(), &plain_sink), Side::Source);
    assert_eq!(side(&write_only, &plain_sink), Side::Source);
    assert_eq!(side(&write_only, &writer), Side::Source);
    assert_eq!(side(&reader, &read_only), Side::Sink);
    assert_eq!(side(&plain, &read_only), Side::Sink);
    assert_eq!(reader.available(), Ok(4), "nothing is lost");
}

#[test]
fn transfer_between_the_ends_of_one_pipe_einval() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"round").unwrap();
    let error = transfer(&reader, &writer).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EINVAL)));
    assert_eq!(reader.available(), Ok(5));
}

#[test]
fn transfer_directory_eisdir() {
    let folder = File::open("/").unwrap();
    let (_reader, writer) = rawpipe::pipe().unwrap();
    for sink in [writer.as_fd(), file(b"").as_fd()] {
        let error = transfer(&folder, sink).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Source, Some(Errno::EISDIR)));
    }
}

#[test]
fn transfer_one_page_pipes() {
    let bytes = data(200_000);
    thread::scope(|scope| {
        let small = || Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
        let ((reader, writer), (next_reader, next_writer)) = (small(), small());
        let (bytes, nonblocking) = (&bytes, &next_writer);
        nonblocking.set_nonblocking(true).unwrap();
        scope.spawn(move || writer.write_all(bytes).unwrap());
        let reading = scope.spawn(move || {
            let mut arrived = Vec::new();
            next_reader.read_to_end(&mut arrived).unwrap();
            arrived
        });
        assert_eq!(transfer(&reader, &next_writer).unwrap().bytes(), 200_000);
        drop(next_writer);
        assert!(reading.join().unwrap() == *bytes);
    });
}

#[test]
fn transfer_two_writers_lose_nothing() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let second = writer.try_clone().unwrap();
    let sink = file(b"");
    thread::scope(|scope| {
        for (writer, byte) in [(writer, 1_u8), (second, 2)] {
            scope.spawn(move || {
                for _ in 0..500 {
                    writer.write_all(&[byte; 1000]).unwrap();
                }
            });
        }
        assert_eq!(transfer(&reader, &sink).unwrap().bytes(), 1_000_000);
    });
    let arrived = all_of(&sink);
    for byte in [1, 2] {
        assert_eq!(arrived.iter().filter(|&&found| found == byte).count(), 500_000);
    }
}

#[test]
fn transfer_source_file_shrinks_meanwhile() {
    let source = file(&data(300_000));
    let sink = file(b"");
    let mut shrunk = false;
    let mut watch = |_| {
        if !shrunk {
            source.set_len(100_000).unwrap();
            shrunk = true;
        }
        ControlFlow::Continue(())
    };
    let done = Transfer::new().chunk(50_000).progress(&mut watch).run(&source, &sink).unwrap();
    assert_eq!(done.bytes(), 100_000);
    assert!(all_of(&sink) == data(300_000)[..100_000]);
}

#[test]
fn transfer_deadline_etimedout_names_the_side_and_counts() {
    let soon = || Deadline::after(Duration::from_millis(50));
    // The source holds four bytes, and its writer stays open.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (next_reader, next_writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"some").unwrap();
    let begin = Instant::now();
    let error = Transfer::new().deadline(soon()).run(&reader, &next_writer).unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert_eq!((error.side(), error.errno()), (Side::Source, Some(Errno::ETIMEDOUT)));
    assert_eq!((error.bytes(), next_reader.available()), (4, Ok(4)));

    // If the sink is full, no byte is lost. Every byte is in the sink, in the error, or in the source.
    for source in [Source::File, Source::Socket] {
        for copy in [false, true] {
            let (near, far) = UnixStream::pair().unwrap();
            io::write_all(&far, &data(100_000)).unwrap();
            let from: OwnedFd = match source {
                Source::File => file(&data(100_000)).into(),
                _ => near.into(),
            };
            let (reader, writer) = rawpipe::pipe().unwrap();
            let full = writer.capacity().unwrap();
            writer.write_all(&vec![0; full]).unwrap();
            let options = Transfer::new().deadline(soon());
            let options = if copy { by_copy(options) } else { options };
            let mut error = options.run(&from, &writer).unwrap_err();
            let what = format!("{source:?}, copy {copy}: {error}");
            assert_eq!(
                (error.side(), error.errno()),
                (Side::Sink, Some(Errno::ETIMEDOUT)),
                "{what}"
            );
            drop(writer);
            let mut arrived = Vec::new();
            reader.read_to_end(&mut arrived).unwrap();
            arrived.drain(..full);
            assert_eq!(arrived.len() as u64, error.bytes(), "{what}");
            let mut rescued = vec![0; error.undelivered()];
            let count = error.read_undelivered(&mut rescued).unwrap();
            assert_eq!(count, rescued.len());
            arrived.extend(rescued);
            let mut rest = vec![0; 100_000 - arrived.len()];
            io::read_exact(&from, &mut rest).unwrap();
            arrived.extend(rest);
            assert!(arrived == data(100_000), "{what}");
        }
    }
    // This deadline has already passed.
    let (reader, writer) = rawpipe::pipe().unwrap();
    let passed = Deadline::now();
    let error = Transfer::new().deadline(passed).run(&reader, writer.try_clone().unwrap());
    assert!(error.is_err());
}

#[test]
fn transfer_deadline_far_away_moves_everything() {
    let bytes = data(1_000_000);
    for source in Source::ALL {
        for sink in Sink::ALL {
            let options = Transfer::new().deadline(Deadline::after(Duration::from_secs(600)));
            let (arrived, done) = moved(options, source, sink, &bytes);
            assert_eq!(done.bytes(), 1_000_000, "{source:?} → {sink:?}");
            assert!(arrived == bytes, "{source:?} → {sink:?}");
        }
    }
}

#[test]
fn transfer_adaptive_moves_everything() {
    let bytes = data(2_000_000);
    for source in Source::ALL {
        for sink in Sink::ALL {
            let (arrived, _) = moved(Transfer::new().wait(Wait::Adaptive), source, sink, &bytes);
            assert!(arrived == bytes, "{source:?} → {sink:?}");
        }
    }
}

#[test]
fn transfer_file_positions_are_used_and_moved() {
    let source = file(b"0123456789");
    let sink = file(b"..........");
    (&source).seek(SeekFrom::Start(7)).unwrap();
    (&sink).seek(SeekFrom::Start(2)).unwrap();
    assert_eq!(transfer(&source, &sink).unwrap().bytes(), 3);
    assert_eq!(all_of(&sink), b"..789.....");
    assert_eq!((&sink).stream_position().unwrap(), 5);
}

#[test]
fn discard_drops_what_was_asked_and_no_more() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&data(50_000)).unwrap();
    assert_eq!(discard(&reader, Some(0)).unwrap(), 0);
    assert_eq!(discard(&reader, Some(49_000)).unwrap(), 49_000);
    assert_eq!(reader.available(), Ok(1_000));
    drop(writer);
    assert_eq!(discard(&reader, Some(5_000)).unwrap(), 1_000, "the end is no error");
    assert_eq!(discard(&reader, None).unwrap(), 0);
    let source = file(&data(10_000));
    assert_eq!(discard(&source, None).unwrap(), 10_000);
    let error = discard(closed_fd(), None).unwrap_err();
    assert_eq!((error.side(), error.errno()), (Side::Source, Some(Errno::EBADF)));
}

/// With `limit`, as with `head -c`, an early end of file is not an error. If both `exact` and `limit` are
/// set, the later setting applies.
#[test]
fn transfer_limit_is_a_bound_and_exact_a_promise() {
    let bytes = data(300_000);
    for source in Source::ALL {
        for sink in [Sink::File, Sink::Append, Sink::Pipe, Sink::Socket] {
            for limit in [0_usize, 1, 4097, 299_999, 300_000, 300_001] {
                let most = u64::try_from(limit).unwrap();
                let options = Transfer::new().exact(500_000).limit(most);
                let (arrived, done) = moved(options, source, sink, &bytes);
                let wanted = &bytes[..limit.min(300_000)];
                assert!(arrived == wanted, "{source:?} → {sink:?}, {limit}");
                assert_eq!(done.bytes(), wanted.len() as u64);
            }
        }
    }
    let early = Transfer::new().limit(5).exact(10).run(file(b"seven b"), file(b"")).unwrap_err();
    assert_eq!((early.side(), early.errno(), early.bytes()), (Side::Source, None, 7));
    // A limit ends the transfer, so a file may be appended to itself.
    let path = common::tmp_path();
    std::fs::write(&path, b"twice ").unwrap();
    let itself = File::options().append(true).open(&path).unwrap();
    let done = Transfer::new().limit(6).run(File::open(&path).unwrap(), &itself).unwrap();
    assert_eq!((done.bytes(), std::fs::read(&path).unwrap()), (6, b"twice twice ".to_vec()));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn transfer_without_a_mechanism_takes_another() {
    use TransferMechanism::{Broker, Copy, CopyFileRange, Sendfile, Splice};
    let bytes = data(100_000);
    let all = [Splice, Broker, CopyFileRange, Sendfile];
    for source in Source::ALL {
        for sink in Sink::ALL {
            for excluded in all {
                let options = Transfer::new().without(excluded);
                let (arrived, done) = moved(options, source, sink, &bytes);
                assert!(arrived == bytes, "{source:?} → {sink:?} without {excluded}");
                assert_ne!(done.mechanism(), excluded);
                assert!(done.fallback().is_none_or(|first| first.mechanism() != excluded));
            }
            let options = all.iter().fold(Transfer::new(), |options, one| options.without(*one));
            let (arrived, done) = moved(options, source, sink, &bytes);
            assert!(arrived == bytes);
            assert_eq!((done.mechanism(), done.fell_back()), (Copy, false));
        }
    }
    // If `Copy` is excluded, the other mechanisms still move every byte.
    for (source, sink) in [
        (Source::Pipe, Sink::Pipe),
        (Source::Pipe, Sink::File),
        (Source::File, Sink::File),
        (Source::File, Sink::Socket),
        (Source::Socket, Sink::Pipe),
    ] {
        let (arrived, done) = moved(Transfer::new().without(Copy), source, sink, &bytes);
        assert!(arrived == bytes && done.mechanism() != Copy, "{source:?} → {sink:?}");
    }
}

#[test]
fn transfer_without_any_mechanism_eopnotsupp() {
    use TransferMechanism::{Broker, Copy, Splice};
    let mut watch = |_| ControlFlow::Continue(());
    let refused = |options: Transfer<'_>, from: &dyn AsFd, to: &dyn AsFd| {
        let error = options.run(from, to).unwrap_err();
        assert_eq!((error.side(), error.errno()), (Side::Sink, Some(Errno::EOPNOTSUPP)));
        assert_eq!(error.bytes(), 0);
        error
    };
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"stays").unwrap();
    let (_kept, to) = rawpipe::pipe().unwrap();
    for options in [
        Transfer::new().without(Splice).without(Copy),
        Transfer::new().without(Copy).chunk(1).progress(&mut watch),
    ] {
        assert_eq!(refused(options, &reader, &to).undelivered(), 0);
        assert_eq!(reader.available(), Ok(5));
    }
    // The kernel rejects the last available mechanism while the broker's pipe already holds bytes.
    let mut error = refused(Transfer::new().without(Copy), &reader, &append_file());
    let mut held = [0; 9];
    assert_eq!(error.read_undelivered(&mut held), Ok(5));
    assert_eq!(&held[..5], b"stays");
    let none = Transfer::new().without(Broker).without(Copy);
    refused(none, &UnixStream::pair().unwrap().0, &to);
}

/// Even if its deadline has already passed, a transfer moves the bytes that are ready, and counts these bytes
/// exactly.
#[test]
fn transfer_deadline_now_moves_what_is_there() {
    let (socket, far) = UnixStream::pair().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    io::write_all(&far, &data(5000)).unwrap();
    writer.write_all(&data(5000)).unwrap();
    for from in [reader.as_fd(), socket.as_fd()] {
        for wanted in [5000, 0] {
            let (kept, to) = rawpipe::pipe().unwrap();
            let error = Transfer::new().deadline(Deadline::now()).run(from, &to).unwrap_err();
            let told = (error.side(), error.errno(), error.bytes(), error.undelivered());
            assert_eq!(told, (Side::Source, Some(Errno::ETIMEDOUT), wanted, 0));
            assert_eq!(kept.available().unwrap() as u64, wanted);
        }
    }
}

/// A caller can first write the bytes that a buffered reader holds. A transfer from the reader's inner file
/// then moves exactly the remaining bytes.
#[test]
fn transfer_after_what_a_buffered_reader_holds() {
    use std::io::{BufRead, BufReader};
    let mut bytes = b"a line\n".to_vec();
    bytes.extend(data(50_000));
    let mut reader = BufReader::new(file(&bytes));
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let sink = file(b"");
    io::write_all(&sink, reader.buffer()).unwrap();
    reader.consume(reader.buffer().len());
    transfer(reader.get_ref(), &sink).unwrap();
    assert!(line == "a line\n" && all_of(&sink) == bytes[7..]);
}
