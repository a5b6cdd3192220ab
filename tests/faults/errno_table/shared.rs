//! Checks the results of calls on chunks in shared memory. Each row covers one call in one situation.

use super::{Answer, in_child, own};
use crate::common::shared::{HEAD, Outside, TAIL};
use crate::common::{self, Filter, nr, skip};
use rawpipe::chunk;
use rawpipe::chunk::shared::{SharedBuilder, SharedCopier, SharedReader, SharedWriter};
use rawpipe::fd::{AsRawFd, OwnedFd};
use rawpipe::process::Resource;
use rawpipe::{Deadline, Errno, Wait};
use std::os::unix::fs::FileExt;
use std::time::Duration;

type Halves = (SharedReader, SharedWriter);

fn soon() -> Deadline<'static> {
    Deadline::after(Duration::from_millis(2))
}

/// Calls the function that `how` names. Returns the number of received bytes, or 0 at end of file.
fn received(reader: &mut SharedReader, how: &str) -> Answer {
    let record = match how {
        "SharedReader::recv" => reader.recv(),
        "SharedReader::try_recv" => reader.try_recv(),
        _ => reader.recv_deadline(soon()),
    };
    record.map(|record| record.map_or(0, |record| record.len()))
}

fn lent(writer: &mut SharedWriter, how: &str) -> Answer {
    let chunk = match how {
        "SharedWriter::chunk" => writer.chunk(),
        "SharedWriter::try_chunk" => writer.try_chunk(),
        _ => writer.chunk_deadline(soon()),
    };
    chunk.map(|chunk| chunk.len())
}

const RECEIVES: [&str; 3] =
    ["SharedReader::recv", "SharedReader::try_recv", "SharedReader::recv_deadline"];
const LENDS: [&str; 3] =
    ["SharedWriter::chunk", "SharedWriter::try_chunk", "SharedWriter::chunk_deadline"];

fn small() -> Halves {
    SharedBuilder::new().chunk(100).ring(1024).build().unwrap()
}

fn fill(writer: &mut SharedWriter) {
    while writer.try_chunk().is_ok() {
        writer.send(100).unwrap();
    }
}

/// Returns whether this system can create shared pairs. If not, checks the error and reports the test as
/// skipped.
fn supported() -> bool {
    let made = chunk::shared().map(drop);
    if made.is_ok() {
        return true;
    }
    // If the system cannot create pairs, for example under an emulator, creating a pair fails with this
    // error.
    own("chunk::shared", "no memory that is wiped in a child", Err(Errno::EOPNOTSUPP), made);
    skip("shared", "no memory that is wiped in a forked child");
    false
}

pub(crate) fn halves() {
    if !supported() {
        return;
    }
    let (mut reader, mut writer) = small();
    let late = [Err(Errno::EAGAIN), Err(Errno::ETIMEDOUT)];
    for (how, wanted) in RECEIVES[1..].iter().zip(late) {
        own(how, "nothing sent", wanted, received(&mut reader, how));
    }
    own("SharedWriter::send", "nothing lent", Err(Errno::EINVAL), writer.send(1));
    for how in LENDS {
        own(how, "room", Ok(100), lent(&mut writer, how));
    }
    own("SharedWriter::send", "more than a chunk", Err(Errno::EINVAL), writer.send(101));
    own("SharedWriter::send", "no bytes", Ok(()), writer.send(0));
    own("SharedWriter::send", "a chunk", Ok(()), writer.send(100));
    fill(&mut writer);
    for (how, wanted) in LENDS[1..].iter().zip(late) {
        own(how, "no room", wanted, lent(&mut writer, how));
    }
    for how in RECEIVES {
        own(how, "a record", Ok(100), received(&mut reader, how));
    }

    let (mut reader, mut writer) = small();
    fill(&mut writer);
    drop(writer);
    while received(&mut reader, "SharedReader::recv") == Ok(100) {}
    for how in RECEIVES {
        own(how, "no writer", Ok(0), received(&mut reader, how));
    }
    let (reader, mut writer) = small();
    fill(&mut writer);
    drop(reader);
    for how in LENDS {
        own(how, "no room and no reader", Err(Errno::EPIPE), lent(&mut writer, how));
    }
    let (mut reader, mut writer) = small();
    own("SharedReader::try_recv", "used", Err(Errno::EAGAIN), received(&mut reader, RECEIVES[1]));
    writer.chunk().unwrap();
    drop(reader);
    own("SharedWriter::send", "no reader", Err(Errno::EPIPE), writer.send(1));
}

/// A call on a half fails with `EBUSY` if another process uses that half.
pub(crate) fn halves_of_another_process() {
    if !supported() {
        return;
    }
    let busy = Err(Errno::EBUSY);
    let (mut reader, mut writer) = small();
    let _ = (reader.try_recv().map(drop), writer.try_chunk().map(drop));
    let [all_receive, all_lend] = in_child(|| {
        let receive = RECEIVES.iter().all(|how| received(&mut reader, how) == busy);
        let lend = LENDS.iter().all(|how| lent(&mut writer, how) == busy);
        [Ok(usize::from(receive)), Ok(usize::from(lend && writer.send(1) == Err(Errno::EBUSY)))]
    });
    for how in RECEIVES {
        own(how, "another process uses it", Ok(1), all_receive);
    }
    for how in LENDS.into_iter().chain(["SharedWriter::send"]) {
        own(how, "another process uses it", Ok(1), all_lend);
    }
}

/// A call fails with `EPROTO` if the shared memory holds words that no correct peer stores.
pub(crate) fn halves_of_broken_memory() {
    if !supported() {
        return;
    }
    let wrong = Err(Errno::EPROTO);
    let builder = SharedBuilder::new().chunk(100).ring(8192);
    let (outside, (mut reader, mut writer)) = Outside::of(8192, || builder.build().unwrap());
    fill(&mut writer);
    assert_eq!(received(&mut reader, "SharedReader::recv"), Ok(100));
    outside.store(HEAD, 1);
    // The reader first receives the records that it counted before the word was stored.
    while received(&mut reader, "SharedReader::recv") == Ok(100) {}
    outside.store(TAIL, 1);
    while lent(&mut writer, "SharedWriter::try_chunk") == Ok(100) {
        let _ = writer.send(100);
    }
    for how in RECEIVES {
        own(how, "an impossible position", wrong, received(&mut reader, how));
    }
    for how in LENDS {
        own(how, "an impossible position", wrong, lent(&mut writer, how));
    }
    let sent = writer.send(1).map(|()| 0);
    own("SharedWriter::send", "an impossible position", wrong, sent);
    let (outside, (mut reader, mut writer)) = Outside::of(8192, || builder.build().unwrap());
    fill(&mut writer);
    outside.store_length(0, 5000);
    for how in RECEIVES {
        own(how, "an impossible length", wrong, received(&mut reader, how));
    }
}

fn made(call: &str) -> Answer {
    let builder = SharedBuilder::new();
    match call {
        "chunk::shared" => chunk::shared().map(|_| 0),
        "shared::shared" => chunk::shared::shared().map(|_| 0),
        "SharedBuilder::build" => builder.build().map(|_| 0),
        // SAFETY: the child does nothing.
        "SharedBuilder::fork_reader" => unsafe { builder.fork_reader(|_| 0) }.map(|_| 0),
        // SAFETY: as above.
        "SharedBuilder::fork_writer" => unsafe { builder.fork_writer(|_| 0) }.map(|_| 0),
        // SAFETY: as above.
        "SharedBuilder::fork_duplex" => unsafe { builder.fork_duplex(|_, _| 0) }.map(|_| 0),
        "SharedBuilder::pass_reader" => builder.pass_reader().map(|_| 0),
        _ => builder.pass_writer().map(|_| 0),
    }
}

const MAKES: [&str; 8] = [
    "chunk::shared",
    "shared::shared",
    "SharedBuilder::build",
    "SharedBuilder::fork_reader",
    "SharedBuilder::fork_writer",
    "SharedBuilder::fork_duplex",
    "SharedBuilder::pass_reader",
    "SharedBuilder::pass_writer",
];

/// Calls each function that creates a pair, both without and with failures of the system.
pub(crate) fn pairs() {
    if !supported() {
        return;
    }
    for call in MAKES {
        own(call, "made", Ok(0), made(call));
        for (what, left) in [("no descriptor left", 0), ("one left", 1), ("three left", 3)] {
            if common::tool() == Some(common::Tool::Valgrind) {
                skip("shared_pairs", "Valgrind does not limit descriptors as asked");
                continue;
            }
            let [answer, _] = in_child(|| {
                let next = rawpipe::io::dup(std::io::stderr()).unwrap().as_raw_fd();
                common::set_soft_limit(
                    Resource::NOFILE.as_raw(),
                    u64::try_from(next).unwrap() + left,
                );
                [made(call), Ok(0)]
            });
            own(call, what, Err(Errno::EMFILE), answer);
        }
        let refusals = [
            ("no descriptors in the system", nr::PIPE2, Errno::ENFILE, Errno::ENFILE),
            ("no memory", nr::MMAP, Errno::ENOMEM, Errno::ENOMEM),
            ("advice refused", nr::MADVISE, Errno::EPERM, Errno::EOPNOTSUPP),
            ("advice unknown", nr::MADVISE, Errno::EINVAL, Errno::EOPNOTSUPP),
        ];
        for (what, refused, by, wanted) in refusals {
            if refused == nr::MMAP && common::tool().is_some() {
                skip("shared_pairs", "a tool needs memory itself");
                continue;
            }
            let [answer, filtered] = in_child(|| {
                let filtered = Filter::new(&[refused], by).install();
                [made(call), Ok(usize::from(filtered))]
            });
            if filtered == Ok(1) {
                own(call, what, Err(wanted), answer);
            } else {
                skip("shared_pairs", "no seccomp filter here");
            }
        }
    }
    for (what, bytes) in
        [("more than any memory", usize::MAX), ("more than addresses", isize::MAX as usize)]
    {
        let builder = SharedBuilder::new().chunk(bytes);
        own("SharedBuilder::build", what, Err(Errno::ENOMEM), builder.build().map(|_| 0));
    }
}

fn copied(reader: &mut SharedCopier, how: &str) -> Answer {
    let mut buf = [0; 100];
    let copied = match how {
        "SharedCopier::recv" => reader.recv(&mut buf),
        "SharedCopier::try_recv" => reader.try_recv(&mut buf),
        _ => reader.recv_deadline(&mut buf, soon()),
    };
    copied.map(|len| len.unwrap_or(0))
}

const COPIES: [&str; 3] =
    ["SharedCopier::recv", "SharedCopier::try_recv", "SharedCopier::recv_deadline"];

/// Creates a pair for two programs and keeps both halves in this process.
fn passed() -> ([OwnedFd; 4], SharedCopier, SharedWriter) {
    let (parts, writer) = SharedBuilder::new().chunk(100).ring(4096).pass_reader().unwrap();
    let copies = parts.each_ref().map(|part| part.try_clone().unwrap());
    (copies, SharedCopier::from_parts(parts, Wait::Block).unwrap(), writer)
}

/// Checks a [`SharedCopier`]. It is the reading half of a pair for two programs, and copies each record out
/// of the ring.
pub(crate) fn copiers() {
    if !supported() {
        return;
    }
    let (parts, mut reader, mut writer) = passed();
    for (how, wanted) in COPIES[1..].iter().zip([Err(Errno::EAGAIN), Err(Errno::ETIMEDOUT)]) {
        own(how, "nothing sent", wanted, copied(&mut reader, how));
    }
    fill(&mut writer);
    for how in COPIES {
        own(how, "a record", Ok(100), copied(&mut reader, how));
    }
    let long = [
        reader.recv(&mut [0; 99]),
        reader.try_recv(&mut [0; 99]),
        reader.recv_deadline(&mut [0; 99], soon()),
    ];
    for (how, answer) in COPIES.iter().zip(long) {
        own(how, "buffer too short", Err(Errno::EMSGSIZE), answer);
    }
    let busy = in_child(|| {
        let all = COPIES.iter().all(|how| copied(&mut reader, how) == Err(Errno::EBUSY));
        [Ok(usize::from(all)), Ok(0)]
    });
    for how in COPIES {
        own(how, "another process uses it", Ok(1), busy[0]);
    }
    drop((writer, parts));
    while copied(&mut reader, "SharedCopier::recv") == Ok(100) {}
    for how in COPIES {
        own(how, "no writer", Ok(0), copied(&mut reader, how));
    }
    let (parts, mut reader, mut writer) = passed();
    fill(&mut writer);
    let [control, ..] = parts.map(std::fs::File::from);
    control.write_all_at(&1_usize.to_ne_bytes(), HEAD as u64).unwrap();
    for how in COPIES {
        own(how, "an impossible position", Err(Errno::EPROTO), copied(&mut reader, how));
    }
}

/// Builds halves from valid descriptors and from unsuitable descriptors.
pub(crate) fn parts() {
    if !supported() {
        return;
    }
    type Made = fn([OwnedFd; 4]) -> Answer;
    let makers: [(&str, Made); 2] = [
        ("SharedCopier::from_parts", |parts| {
            SharedCopier::from_parts(parts, Wait::Block).map(|_| 0)
        }),
        ("SharedWriter::from_parts", |parts| {
            // SAFETY: no other writer half exists.
            unsafe { SharedWriter::from_parts(parts, Wait::Block) }.map(|_| 0)
        }),
    ];
    for (call, make) in makers {
        let fresh = || {
            let made = SharedBuilder::new().chunk(100).ring(4096);
            match call {
                "SharedCopier::from_parts" => made.pass_reader().map(|(parts, _)| parts).unwrap(),
                _ => made.pass_writer().map(|(parts, _)| parts).unwrap(),
            }
        };
        own(call, "parts", Ok(0), make(fresh()));
        let [_, ring, heard, bell] = fresh();
        let pipes = rawpipe::pipe().unwrap();
        own(call, "no file", Err(Errno::EINVAL), make([pipes.0.into(), ring, heard, bell]));
        let [control, ring, heard, bell] = fresh();
        // In a pair for a copier, the ring is sealed against new writable mappings, so the ring cannot be
        // mapped as the control words.
        let sealed = call == "SharedCopier::from_parts";
        let wanted = Err(if sealed { Errno::EPERM } else { Errno::EPROTO });
        own(call, "another order", wanted, make([ring, control, heard, bell]));
        let kept = fresh();
        let copies = kept.each_ref().map(|part| part.try_clone().unwrap());
        let held = (call == "SharedCopier::from_parts")
            .then(|| SharedCopier::from_parts(copies, Wait::Block).unwrap());
        if held.is_some() {
            own(call, "another half is made of them", Err(Errno::EBUSY), make(kept));
        }
        if common::in_front().is_none() {
            let parts = fresh();
            let [answer, _] = in_child(|| {
                common::set_soft_limit(Resource::AS.as_raw(), 1 << 20);
                [make(parts), Ok(0)]
            });
            own(call, "no memory left", Err(Errno::ENOMEM), answer);
        }
        let parts = fresh();
        let [answer, filtered] = in_child(|| {
            let filtered = Filter::new(&[nr::MADVISE], Errno::EPERM).install();
            [make(parts), Ok(usize::from(filtered))]
        });
        if filtered == Ok(1) {
            own(call, "advice refused", Err(Errno::EOPNOTSUPP), answer);
        }
    }
    let (parts, _writer) = SharedBuilder::new().pass_reader().unwrap();
    // SAFETY: the call fails, so it creates no writer.
    let refused = unsafe { SharedWriter::from_parts(parts, Wait::Block) }.map(|_| 0);
    own("SharedWriter::from_parts", "parts of a reader", Err(Errno::EPERM), refused);
    for call in ["SharedBuilder::pass_reader", "SharedBuilder::pass_writer"] {
        let [answer, _] = in_child(|| {
            common::set_soft_limit(Resource::FSIZE.as_raw(), 4096);
            [made(call), Ok(0)]
        });
        own(call, "larger than files may be", Err(Errno::EFBIG), answer);
    }
}
