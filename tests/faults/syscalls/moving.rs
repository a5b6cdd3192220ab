//! Defines operations that splice and transfer bytes, and operations that send messages and chunks.

use super::{LATE, NONE, Operation, SOON, done, fails, filled, of, pipe, refused};
use crate::common::file;
use crate::common::nr;
use crate::tracer::operation;
use rawpipe::Deadline;
use rawpipe::Wait;
use rawpipe::chunk::shared::{SharedBuilder, SharedCopier};
use rawpipe::chunk::{ChunkMechanism, ChunkReader, ChunkWriter, Reuse};
use rawpipe::fd::OwnedFd;
use rawpipe::io::{self, IoSlice};
use rawpipe::message::{Channel, Duplex, PacketWriter, Receiver, Sender, packets};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::splice::{copy_file_range, sendfile, splice, tee, vmsplice};
use rawpipe::transfer::{FanoutSink, Transfer, TransferMechanism, discard, fanout, transfer};
use std::fs::File;
use std::os::unix::net::UnixStream;

pub(super) fn splicing() -> Vec<Operation> {
    vec![
        of("splice", "all of it", || {
            let (reader, writer) = filled(b"12345");
            let (other, to_other) = pipe();
            let (from, to) = (file(b"12345"), file(b""));
            operation(|| {
                done(tee(&reader, &to_other, 1, NONE));
                done(splice(&reader, None, &to_other, None, 1, NONE));
                done(sendfile(&from, Some(&mut 0), &writer, 1));
                done(copy_file_range(&from, Some(&mut 0), &to, Some(&mut 0), 1));
                static WORD: [u8; 1] = [0];
                // SAFETY: the static never changes.
                done(unsafe { vmsplice(&writer, &[IoSlice::new(&WORD)], NONE) });
            });
            drop(other);
        }),
        of("transfer", "from a pipe to a pipe, which grow", || {
            let (reader, writer) = filled(&[1; 40_000]);
            let (_other, to_other) =
                Builder::new().capacity(Capacity::Max).build().expect("a pipe");
            drop(writer);
            operation(|| {
                let soon = Transfer::new().deadline(Deadline::after(LATE)).wait(Wait::Adaptive);
                done(soon.grow_pipes().run(&reader, &to_other));
            });
        })
        .without(&[
            &[refused(nr::SPLICE)],
            &[refused(nr::STATX)],
            &[refused(nr::SPLICE), refused(nr::MMAP)],
        ]),
        of("transfer", "from a file to a file", || {
            let (from, to) = (file(&[1; 40_000]), file(b""));
            operation(|| done(transfer(&from, &to)));
        })
        .without(&[
            &[refused(nr::COPY_FILE_RANGE)],
            &[refused(nr::COPY_FILE_RANGE), refused(nr::SPLICE)],
            &[refused(nr::COPY_FILE_RANGE), refused(nr::SPLICE), refused(nr::SENDFILE)],
        ]),
        of("transfer", "from a file to a socket", || {
            let from = file(&[1; 40_000]);
            let (near, _far) = UnixStream::pair().expect("sockets");
            operation(|| done(transfer(&from, &near)));
        })
        .without(&[&[refused(nr::SENDFILE)]]),
        of("transfer", "from a socket to a socket", || {
            let (one, near) = UnixStream::pair().expect("sockets");
            let (far, _other) = UnixStream::pair().expect("sockets");
            io::write_all(&one, &[1; 4_000]).expect("room");
            drop(one);
            operation(|| done(transfer(&near, &far)));
        }),
        of("transfer", "from a file that answers nothing to the fast ways", || {
            let from = File::open("/proc/self/status").expect("a file");
            let (_reader, writer) = pipe();
            operation(|| done(transfer(&from, &writer)));
        }),
        of("transfer", "from a file to a pipe that it fills", || {
            let (_reader, writer) = pipe();
            let from = file(&vec![1; writer.capacity().expect("a pipe")]);
            operation(|| done(transfer(&from, &writer)));
        }),
        of("transfer", "by copying, until a deadline", || {
            let (reader, _writer) = filled(&[1; 4_000]);
            let (_other, to_other) = pipe();
            let soon =
                Transfer::new().without(TransferMechanism::Splice).deadline(Deadline::after(SOON));
            operation(|| fails(soon.run(&reader, &to_other)));
        })
        .without(&[&[refused(nr::PREADV2)], &[refused(nr::PWRITEV2)]]),
        of("transfer", "until a deadline", || {
            let (reader, _writer) = pipe();
            let (_other, to_other) = pipe();
            let soon = Transfer::new().deadline(Deadline::after(SOON));
            operation(|| fails(soon.run(&reader, &to_other)));
        }),
        of("transfer", "without a reader", || {
            let (reader, _writer) = filled(b"1");
            let (other, to_other) = pipe();
            drop(other);
            operation(|| fails(transfer(&reader, &to_other)));
        }),
        of("transfer", "discard and fanout", || {
            let (reader, writer) = filled(&[1; 40_000]);
            let (_one, to_one) = Builder::new().capacity(Capacity::Max).build().expect("a pipe");
            let (_two, to_two) = Builder::new().capacity(Capacity::Max).build().expect("a pipe");
            drop(writer);
            operation(|| {
                done(discard(&reader, Some(4096)));
                let mut sinks = [FanoutSink::new(&to_one), FanoutSink::new(&to_two)];
                done(fanout(&reader, &mut sinks))
            });
        })
        .without(&[&[refused(nr::TEE)], &[refused(nr::SPLICE)], &[refused(nr::OPENAT)]]),
    ]
}

pub(super) fn messages() -> Vec<Operation> {
    vec![
        of("message", "channels", || {
            operation(|| {
                let (mut left, mut right) = done(Channel::pair())?;
                done(left.send(&[b"1", b"2"]));
                done(right.recv());
                done(right.send_deadline(&[b"1"], Deadline::after(LATE)));
                done(left.recv_deadline(Deadline::after(LATE)));
                done(Duplex::pair())
            });
        })
        .without(&[
            &[refused(nr::PWRITEV2)],
            &[refused(nr::PREADV2)],
            &[refused(nr::PWRITEV2), refused(nr::PREADV2)],
        ]),
        of("message", "channels that ask for a moment", || {
            let (reader, writer) = pipe();
            let fds = [OwnedFd::from(reader), OwnedFd::from(writer)];
            operation(|| {
                let [reader, writer] = fds;
                let mut sender = Sender::new(writer);
                let mut receiver = Receiver::new(reader).with_wait(Wait::Adaptive);
                done(sender.send(&[b"1"]));
                done(receiver.recv());
            });
        }),
        of("message", "many at a time", || {
            operation(|| {
                let (left, mut right) = done(Channel::pair())?;
                let mut left = left.with_read_ahead();
                done(right.send_many(&["1", "22"]));
                done(left.recv());
                done(left.recv());
                done(right.sender().send_many_deadline(&["1", "22"], Deadline::after(LATE)));
                done(left.recv_deadline(Deadline::after(LATE)));
                done(left.recv_deadline(Deadline::after(LATE)))
            });
        })
        .without(&[&[refused(nr::PWRITEV2)], &[refused(nr::PREADV2)]]),
        of("message", "a receiver that waits", || {
            let (reader, writer) = pipe();
            let fds = [OwnedFd::from(reader), OwnedFd::from(writer)];
            operation(|| {
                let [reader, writer] = fds;
                let late = Receiver::new(reader).recv_deadline(Deadline::after(SOON));
                assert!(late.is_err());
                drop(writer);
            });
        }),
        of("message", "without a reader", || {
            let (reader, writer) = pipe();
            drop(reader);
            let mut sender = Sender::new(writer);
            operation(|| {
                fails(sender.send(&[b"1"]));
                fails(sender.send_deadline(&[b"1"], Deadline::after(LATE)));
            });
        })
        .without(&[&[refused(nr::PWRITEV2)]]),
        of("message", "packets", || {
            operation(|| {
                let (reader, writer) = done(packets())?;
                done(writer.send(b"1"));
                done(reader.recv(&mut [0; pipe::PIPE_BUF]));
                done(PacketWriter::new(done(Builder::new().packet().build())?.1))
            });
        })
        .without(&[&[refused(nr::PWRITEV2)]]),
    ]
}

pub(super) fn chunks() -> Vec<Operation> {
    vec![
        of("chunk", "a writer by default", || {
            let (reader, writer) = pipe();
            let fds = [OwnedFd::from(reader), OwnedFd::from(writer)];
            operation(|| {
                let [reader, writer] = fds;
                let mut writer = done(ChunkWriter::new(writer))?;
                let mut reader = done(ChunkReader::new(reader.into()))?;
                for _ in 0..3 {
                    done(writer.chunk())?[..100_000].fill(1);
                    done(writer.send(100_000));
                    done(writer.resend(20_000));
                    done(reader.read_chunk());
                }
                done(writer.chunk());
                done(writer.send(1));
                let (_other, to_other) = done(rawpipe::pipe())?;
                done(reader.splice_to(&to_other, 1))
            });
        })
        .without(&[&[refused(nr::VMSPLICE)], &[refused(nr::VMSPLICE), refused(nr::MEMFD_CREATE)]]),
        of("chunk", "pages that are used again", || {
            let (reader, writer) = pipe();
            let fds = [OwnedFd::from(reader), OwnedFd::from(writer)];
            operation(|| {
                let [reader, writer] = fds;
                let builder = ChunkWriter::builder().reuse(Reuse::AfterRead).wait(Wait::Adaptive);
                let mut writer = done(builder.chunk(64 << 10).build(writer))?;
                let builder = ChunkReader::builder().wait(Wait::Adaptive);
                let mut reader = done(builder.build(reader.into()))?;
                for _ in 0..50 {
                    done(writer.chunk())?.fill(1);
                    done(writer.send(64 << 10));
                    done(reader.read_chunk());
                }
                Some(())
            });
        })
        .without(&[&[refused(nr::VMSPLICE)]]),
        of("chunk", "a file in memory", || {
            let (reader, writer) = pipe();
            let fds = [OwnedFd::from(reader), OwnedFd::from(writer)];
            operation(|| {
                let [_reader, writer] = fds;
                let builder = ChunkWriter::builder().mechanism(ChunkMechanism::Memfd);
                let mut writer = done(builder.build(writer))?;
                done(writer.chunk());
                done(writer.send(40_000))
            });
        }),
        of("chunk::shared", "a pair whose halves sleep", || {
            operation(|| {
                let builder = SharedBuilder::new().chunk(100).ring(1).wait(Wait::Adaptive);
                let (mut reader, mut writer) = done(builder.build())?;
                let _ = reader.recv_deadline(Deadline::after(SOON));
                while let Ok(chunk) = writer.try_chunk() {
                    chunk.fill(1);
                    done(writer.send(100));
                }
                drop(done(reader.recv())?);
                done(writer.chunk().map(drop))
            });
        })
        .without(&[&[refused(nr::PWRITEV2)]]),
        of("chunk::shared", "a pair for two programs", || {
            operation(|| {
                let (parts, mut writer) = done(SharedBuilder::new().pass_reader())?;
                let mut reader = done(SharedCopier::from_parts(parts, Wait::Block))?;
                done(writer.chunk())?[0] = 1;
                done(writer.send(1))?;
                done(reader.recv(&mut [0; 1]))
            });
        }),
    ]
}
