//! Tests the creation of a pair under limits and filters. A failed creation leaves neither a descriptor nor a
//! mapping behind.

use super::{mappings, receive_all, send_all, succeeds, supported};
use crate::common::{self, Filter, NO_FILTER, child, filtered, nr, open_fds, skip};
use rawpipe::Errno;
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::SharedBuilder;
use rawpipe::process::Resource;
use std::fs;

/// Creates a pair under increasing descriptor limits, so that each step of the creation fails at least once.
/// A failed creation leaves neither a descriptor nor a mapping behind.
pub(super) fn out_of_descriptors_emfile_leaves_nothing() {
    if !supported() || common::descriptors_without_limit("out_of_descriptors") {
        return;
    }
    let before = (open_fds(), mappings());
    let last = u64::try_from(*before.0.last().unwrap()).unwrap();
    let mut codes = Vec::new();
    for most in 3..last + 6 {
        let mut trying = child(|| {
            let usual = common::set_soft_limit(Resource::NOFILE.as_raw(), most);
            let made = shared().map(drop);
            common::set_soft_limit(Resource::NOFILE.as_raw(), usual);
            match made {
                _ if (open_fds(), mappings()) != before => 3,
                Ok(()) => 0,
                Err(Errno::EMFILE) => 1,
                Err(_) => 2,
            }
        });
        codes.push(trying.wait().unwrap().code().unwrap());
    }
    // Each limit under which the creation fails permits at most three of the pair's four descriptors. With
    // every higher limit, the creation succeeds.
    let failed = codes.iter().take_while(|&&code| code == 1).count();
    assert!(failed >= 4 && codes.len() > failed, "{codes:?}");
    assert!(codes[failed..].iter().all(|&code| code == 0), "{codes:?}");
}

pub(super) fn out_of_memory_enomem() {
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
        common::set_soft_limit(Resource::AS.as_raw(), 1 << 30);
        let made = SharedBuilder::new().ring(1 << 30).build();
        u8::from(made.err() != Some(Errno::ENOMEM) || open_fds() != fds || shared().is_err())
    }));
}

pub(super) fn advice_refused_makes_no_pair() {
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

/// If a filter rejects a system call that the creation of a pair needs, the creation fails with that call's
/// error. The failed creation leaves neither a descriptor nor a mapping behind.
pub(super) fn calls_refused_leave_nothing() {
    if !supported() {
        return;
    }
    let test = "calls_refused_leave_nothing";
    if common::emulated() {
        return skip(test, "no seccomp under an emulator");
    }
    let refusals = [
        (nr::MMAP, Errno::ENOMEM),
        (nr::MMAP, Errno::EPERM),
        (nr::PIPE2, Errno::EMFILE),
        (nr::PIPE2, Errno::ENFILE),
        (nr::PIPE2, Errno::EPERM),
    ];
    for (call, errno) in refusals {
        if call == nr::MMAP && common::tool().is_some() {
            skip(test, "a tool needs memory itself");
            continue;
        }
        filtered(test, &errno, || {
            let mut kept = Vec::with_capacity(256);
            let before = (open_fds(), mappings());
            if !Filter::new(&[call], errno).install() {
                return NO_FILTER;
            }
            let refused = shared().err();
            // The filter may reject new mappings, so `kept` was allocated before the filter was installed.
            kept.push((open_fds(), mappings()));
            u8::from(refused != Some(errno) || kept[0] != before)
        });
    }
}

/// If a ring is larger than the machine's memory and swap space together, its creation fails with `ENOMEM`.
/// The test is skipped if `vm.overcommit_memory` is 1, because the kernel then grants any size.
pub(super) fn out_of_promised_memory_enomem() {
    let test = "out_of_promised_memory_enomem";
    if !supported() {
        return;
    }
    let promises = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    if common::in_front().is_some() || !matches!(promises.trim(), "0" | "2") {
        return skip(test, "every amount of memory is promised here");
    }
    let info = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |name: &str| -> u64 {
        let line = info.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let all = (kib("MemTotal:") + kib("SwapTotal:")) << 10;
    let Ok(more) = usize::try_from(2 * all) else {
        return skip(test, "there is more memory than addresses");
    };
    if more > isize::MAX as usize / 8 {
        return skip(test, "there is more memory than addresses");
    }
    let before = (open_fds(), mappings());
    let made = SharedBuilder::new().ring(more).build();
    assert_eq!(made.err(), Some(Errno::ENOMEM), "{more} bytes");
    assert_eq!((open_fds(), mappings()), before);
}

/// A file size limit affects neither the creation nor the use of a pair, because the memory is not a file.
pub(super) fn file_size_limit_plays_no_part() {
    if !supported() {
        return;
    }
    let mut trying = child(|| {
        common::set_soft_limit(Resource::FSIZE.as_raw(), 0);
        let builder = SharedBuilder::new().chunk(65536).ring(4 << 20).populate();
        let (mut reader, writer) = builder.build().unwrap();
        let sending = std::thread::spawn(|| send_all(writer, 65536, 300));
        let received = receive_all(&mut reader, 65536);
        u8::from(received != Ok(300) || sending.join().unwrap().is_err())
    });
    assert_eq!(trying.wait().unwrap().code(), Some(0), "killed by SIGXFSZ, or less");
}
