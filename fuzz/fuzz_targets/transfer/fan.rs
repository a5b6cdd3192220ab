//! Checks transfers from one source to several sinks, some of which fail.

use super::ends::{From, Pattern, Source, memory};
use super::streams::{End, drain, feed};
use arbitrary::Arbitrary;
use rawpipe::Errno;
use rawpipe::fd::OwnedFd;
use rawpipe::transfer::{Fanout, FanoutSink, Side};
use std::cell::Cell;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::thread;

#[derive(Arbitrary, Debug)]
pub(crate) struct Fan {
    from: Origin,
    sinks: Vec<Branch>,
    break_after: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Origin {
    Stream { end: End, len: u32, feeds: Vec<u16> },
    File { len: u32, position: u32 },
}

#[derive(Arbitrary, Debug)]
enum Branch {
    Stream { end: End, drains: Vec<u16> },
    File { position: u16 },
    Null,
    Full,
    Gone,
}

impl Branch {
    fn works(&self) -> bool {
        !matches!(self, Self::Full | Self::Gone)
    }

    /// Returns a descriptor to write to, and a descriptor from which the written bytes can be read.
    fn open(&self) -> (OwnedFd, Option<OwnedFd>) {
        let device = |path| File::options().write(true).open(path).unwrap().into();
        match self {
            Self::Stream { end, .. } => {
                let (drained, sink) = end.open();
                (sink, Some(drained))
            }
            Self::File { position } => {
                let mut file = memory();
                file.seek(SeekFrom::Start((*position).into())).unwrap();
                let seen = file.try_clone().unwrap();
                (file.into(), Some(seen.into()))
            }
            Self::Null => (device("/dev/null"), None),
            Self::Full => (device("/dev/full"), None),
            Self::Gone => (rawpipe::pipe().unwrap().1.into(), None),
        }
    }
}

pub(crate) fn run(fan: &Fan) {
    let branches = &fan.sinks[..fan.sinks.len().min(5)];
    if branches.is_empty() {
        return;
    }
    let mut pattern = Pattern::new();
    let (source, feeder, content, feeds) = match &fan.from {
        Origin::Stream { end, len, feeds } => {
            let least = feeds.iter().min().map_or(65_536, |&least| usize::from(least).max(1));
            let content = pattern.bytes((*len as usize % 200_000).min(least * 300));
            let (source, feeder) = end.open();
            (source, Some(feeder), content, feeds.as_slice())
        }
        Origin::File { len, position } => {
            let kind = From::Memory { len: *len, position: *position };
            let source = Source::new(kind, &mut pattern);
            let content = source.content.iter().copied().collect();
            (source.fd, None, content, &[][..])
        }
    };
    // Packets that are spliced between pipes stay packets.
    let packets = matches!(&fan.from, Origin::Stream { end, .. } if end.has_packets());
    let opened: Vec<_> = branches.iter().map(Branch::open).collect();
    let (fds, seen): (Vec<OwnedFd>, Vec<Option<OwnedFd>>) = opened.into_iter().unzip();
    let (reports, last) = (Cell::new(0_u8), Cell::new(0));
    let mut watch = |done| {
        assert!(done > last.replace(done), "a report without progress");
        reports.set(reports.get().saturating_add(1));
        match fan.break_after {
            Some(count) if reports.get() > count => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    thread::scope(|scope| {
        let feeding = feeder.map(|feeder| {
            let content = &content;
            scope.spawn(move || feed(&feeder, content, feeds))
        });
        let draining: Vec<_> = branches
            .iter()
            .zip(&seen)
            .map(|(branch, seen)| match (branch, seen) {
                (Branch::Stream { end, drains }, Some(seen)) => {
                    // Limit the number of short pieces, because each piece needs a call.
                    let least = drains.iter().all(|&len| len > 500);
                    let pieces = if least { drains.as_slice() } else { &[] };
                    Some(scope.spawn(move || drain(seen, pieces, packets || end.has_packets())))
                }
                _ => None,
            })
            .collect();
        let mut sinks: Vec<_> = fds.iter().map(FanoutSink::new).collect();
        let result = Fanout::new().progress(&mut watch).run(&source, &mut sinks);
        let any = branches.iter().any(Branch::works);
        let given = match result {
            Ok(done) => {
                let bytes = done.bytes();
                assert!(any || bytes == 0, "arrived nowhere");
                let broken = fan.break_after.is_some_and(|count| reports.get() > count);
                assert!(broken || bytes == content.len() as u64, "ended for no reason");
                assert!(bytes == last.get());
                usize::try_from(bytes).unwrap()
            }
            Err(error) => {
                assert!(!any && !content.is_empty(), "{error}");
                let errno = error.errno().unwrap();
                assert_eq!(error.side(), Side::Sink);
                assert!(matches!(errno, Errno::ENOSPC | Errno::EPIPE));
                assert_eq!(error.bytes(), 0);
                0
            }
        };
        for (branch, sink) in branches.iter().zip(&mut sinks) {
            if branch.works() {
                assert!(sink.error().is_none(), "{:?}", sink.error());
                assert_eq!(sink.bytes(), given as u64);
                continue;
            }
            assert_eq!(sink.bytes(), 0);
            let Some(mut error) = sink.take_error() else {
                assert!(content.is_empty(), "a sink that cannot work");
                continue;
            };
            let expected =
                if matches!(branch, Branch::Full) { Errno::ENOSPC } else { Errno::EPIPE };
            assert_eq!((error.side(), error.errno()), (Side::Sink, Some(expected)));
            let mut rescued = vec![0; error.undelivered()];
            let mut got = 0;
            while got < rescued.len() {
                got += error.read_undelivered(&mut rescued[got..]).unwrap();
            }
            assert!(got > 0 && content[..got] == rescued, "other bytes than were taken");
        }
        drop(sinks);
        // Close these ends, so that the threads that feed or drain can end.
        drop(source);
        drop(fds);
        // Join the threads, because a scope waits only until their closures return. A thread may still hold
        // memory at that time.
        if let Some(feeding) = feeding {
            feeding.join().unwrap();
        }
        for (index, thread) in draining.into_iter().enumerate() {
            let arrived = match (&branches[index], &seen[index], thread) {
                (_, _, Some(thread)) => thread.join().unwrap(),
                (Branch::File { position }, Some(file), None) => {
                    let file = File::from(file.try_clone().unwrap());
                    let len = file.metadata().unwrap().len();
                    let from = u64::from(*position).min(len);
                    let mut found = vec![0; usize::try_from(len - from).unwrap()];
                    file.read_exact_at(&mut found, from).unwrap();
                    found
                }
                _ => continue,
            };
            assert!(arrived == content[..given]);
        }
    });
}
