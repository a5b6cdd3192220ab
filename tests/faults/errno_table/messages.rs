//! Checks the results of calls on messages, packets, and links of two pipes. Each row covers one call in one
//! situation.

use super::{Ends, own};
use crate::common::{self, closed_fd};
use rawpipe::Deadline;
use rawpipe::Errno;
use rawpipe::fd::{AsFd, BorrowedFd};
use rawpipe::message::{
    Channel, Duplex, MessageError, PacketReader, PacketWriter, Receiver, Sender, packets,
};
use rawpipe::pipe::PIPE_BUF;
use std::time::Duration;

fn soon() -> Deadline<'static> {
    Deadline::after(Duration::from_millis(2))
}

fn io<T>(errno: Errno) -> Result<T, MessageError> {
    Err(MessageError::Io(errno))
}

fn none(errno: Errno) -> Result<(), MessageError> {
    Err(MessageError::Stopped(errno, 0))
}

/// Sends and receives with a [`Channel`], a [`Sender`] and a [`Receiver`].
pub(crate) fn channels() {
    let ends = Ends::new();
    let word: &[&[u8]] = &[b"word"];
    let to: &[(&str, BorrowedFd<'_>, Errno)] = &[
        ("closed", closed_fd(), Errno::EBADF),
        ("read end", ends.reader.as_fd(), Errno::EBADF),
        ("no reader", ends.broken.as_fd(), Errno::EPIPE),
    ];
    let spare = ends.reader.as_fd();
    for &(what, fd, errno) in to {
        own("Sender::send", what, io(errno), Sender::new(fd).send(word));
        let later = soon();
        own("Sender::send_deadline", what, io(errno), Sender::new(fd).send_deadline(word, later));
        own("Channel::send", what, io(errno), Channel::new(spare, fd).send(word));
        let answer = Channel::new(spare, fd).send_deadline(word, later);
        own("Channel::send_deadline", what, io(errno), answer);
        let mut sender = Sender::new(fd);
        own("Sender::send_many", what, none(errno), sender.send_many(word));
        let answer = sender.send_many_deadline(word, later);
        own("Sender::send_many_deadline", what, none(errno), answer);
        let mut channel = Channel::new(spare, fd);
        own("Channel::send_many", what, none(errno), channel.send_many(word));
        // No message was sent, so no message is incomplete.
        own("Sender::into_inner", what, Ok(()), {
            let mut sender = Sender::new(fd);
            let _ = sender.send(word);
            sender.into_inner().map(drop)
        });
    }
    own(
        "Sender::send",
        "full device",
        io(Errno::ENOSPC),
        Sender::new(&ends.full_device).send(word),
    );
    let full = ends.full.as_fd();
    let late = io(Errno::ETIMEDOUT);
    own("Sender::send_deadline", "full", late, Sender::new(full).send_deadline(word, soon()));
    let late = io(Errno::ETIMEDOUT);
    let answer = Channel::new(spare, full).send_deadline(word, soon());
    own("Channel::send_deadline", "full", late, answer);
    let answer = Sender::new(full).send_many_deadline(word, soon());
    own("Sender::send_many_deadline", "full", none(Errno::ETIMEDOUT), answer);
    let answer = Sender::new(full).with_limit(3).send_many(word);
    let long = Err(MessageError::TooLong(4));
    own("Sender::send_many", "longer than the limit", long, answer);
    let long = Err(MessageError::TooLong(4));
    own("Sender::send", "longer than the limit", long, Sender::new(full).with_limit(3).send(word));
    // After a partial send, no other message can be sent.
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let mut sender = Sender::new(writer);
    let much = vec![0; 4 << 20];
    let answer = sender.send_deadline(&[&much], soon());
    own("Sender::send_deadline", "a part", io(Errno::ETIMEDOUT), answer);
    own("Sender::send", "after a part", Err(MessageError::Torn), sender.send(word));
    let torn = Err(MessageError::Torn);
    own("Sender::send_many", "after a part", torn, sender.send_many(word));
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let answer =
        Sender::new(writer).send_many_deadline(&[&much[..0], &much[..4], &much[..]], soon());
    let late = Err(MessageError::Stopped(Errno::ETIMEDOUT, 2));
    own("Sender::send_many_deadline", "two and a part", late, answer);
    let inner = sender.into_inner().map(drop);
    own("Sender::into_inner", "after a part", Err(MessageError::Torn), inner);

    let from: &[(&str, BorrowedFd<'_>, Errno)] = &[
        ("closed", closed_fd(), Errno::EBADF),
        ("write end", ends.writer.as_fd(), Errno::EBADF),
        ("folder", ends.folder.as_fd(), Errno::EISDIR),
    ];
    let spare = ends.writer.as_fd();
    let mut buf = [0; 8];
    for &(what, fd, errno) in from {
        own("Receiver::recv", what, io(errno), Receiver::new(fd).recv());
        own("Receiver::recv_into", what, io(errno), Receiver::new(fd).recv_into(&mut buf));
        own("Channel::recv", what, io(errno), Channel::new(fd, spare).recv());
        own("Channel::recv_into", what, io(errno), Channel::new(fd, spare).recv_into(&mut buf));
        // A call with a deadline cannot read a directory, because the read might wait beyond the deadline.
        let errno = if what == "folder" { Errno::EOPNOTSUPP } else { errno };
        let later = soon();
        own("Receiver::recv_deadline", what, io(errno), Receiver::new(fd).recv_deadline(later));
        let answer = Receiver::new(fd).recv_into_deadline(&mut buf, later);
        own("Receiver::recv_into_deadline", what, io(errno), answer);
        let answer = Channel::new(fd, spare).recv_deadline(later);
        own("Channel::recv_deadline", what, io(errno), answer);
        let answer = Channel::new(fd, spare).recv_into_deadline(&mut buf, later);
        own("Channel::recv_into_deadline", what, io(errno), answer);
        let answer = Receiver::new(fd).with_read_ahead().recv_deadline(later);
        let what = format!("{what}, with read-ahead");
        own("Receiver::recv_deadline", &what, io(errno), answer);
    }
    let empty = ends.empty.as_fd();
    let late = io(Errno::ETIMEDOUT);
    own("Receiver::recv_deadline", "empty", late, Receiver::new(empty).recv_deadline(soon()));
    let late = io(Errno::ETIMEDOUT);
    let answer = Receiver::new(empty).recv_into_deadline(&mut buf, soon());
    own("Receiver::recv_into_deadline", "empty", late, answer);
    own("Receiver::recv", "no writer", Ok(None), Receiver::new(&ends.ended).recv());
    let (reader, writer) = rawpipe::pipe().unwrap();
    Sender::new(&writer).send(&[b"nine ", b"byte"]).unwrap();
    let mut receiver = Receiver::new(reader);
    let short = Err(MessageError::BufferTooShort(9));
    own("Receiver::recv_into", "buffer too short", short, receiver.recv_into(&mut buf));
    let mut receiver = receiver.with_limit(8);
    own("Receiver::recv", "longer than the limit", Err(MessageError::TooLong(9)), receiver.recv());
    let answer = receiver.into_inner().map(drop).map_err(|mut receiver| receiver.recv());
    let kept = Err(Err(MessageError::TooLong(9)));
    own("Receiver::into_inner", "after a part", kept, answer);
    let (reader, writer) = rawpipe::pipe().unwrap();
    Sender::new(&writer).send_many(&["one", "two"]).unwrap();
    let mut receiver = Receiver::new(reader).with_read_ahead();
    receiver.recv().unwrap();
    let answer = receiver.into_inner().map(drop).map_err(|mut receiver| receiver.recv());
    let kept = Err(Ok(Some(b"two".to_vec())));
    own("Receiver::into_inner", "a message read ahead", kept, answer);
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(&8_u64.to_le_bytes()).unwrap();
    drop(writer);
    let cut = Err(MessageError::Truncated);
    own("Receiver::recv", "an end in the middle", cut, Receiver::new(reader).recv());
    let fresh = Receiver::new(empty).into_inner().map(drop).map_err(drop);
    own("Receiver::into_inner", "nothing received", Ok(()), fresh);
}

pub(crate) fn packet_pipes() {
    let ends = Ends::new();
    let (reader, writer) = packets().unwrap();
    own("PacketWriter::send", "no bytes", Err(Errno::EINVAL), writer.send(b""));
    let long = vec![1; PIPE_BUF + 1];
    own("PacketWriter::send", "too many bytes", Err(Errno::EMSGSIZE), writer.send(&long));
    writer.send(b"four").unwrap();
    let cut = reader.recv_into(&mut [0; 3]);
    own("PacketReader::recv_into", "buffer too short", Err(Errno::EMSGSIZE), cut);
    let pipe: rawpipe::PipeWriter = writer.into();
    pipe.set_nonblocking(true).unwrap();
    let writer = PacketWriter::new(pipe).unwrap();
    while writer.send(b"fill").is_ok() {}
    own("PacketWriter::send", "full, nonblocking", Err(Errno::EAGAIN), writer.send(b"x"));
    drop(reader);
    own("PacketWriter::send", "no reader", Err(Errno::EPIPE), writer.send(b"x"));
    let stream = rawpipe::pipe().unwrap().1;
    let made = PacketWriter::new(stream).map(drop);
    own("PacketWriter::new", "no packets", Err(Errno::EINVAL), made);
    let of = |fd: BorrowedFd<'_>| {
        PacketReader::from(rawpipe::PipeReader::from(fd.try_clone_to_owned().unwrap()))
    };
    let mut buf = [0; PIPE_BUF];
    for (what, fd, errno) in [
        ("empty, nonblocking", ends.empty.as_fd(), Errno::EAGAIN),
        ("write end", ends.writer.as_fd(), Errno::EBADF),
        ("folder", ends.folder.as_fd(), Errno::EISDIR),
    ] {
        own("PacketReader::recv_into", what, Err(errno), of(fd).recv_into(&mut buf));
        let answer = of(fd).recv(&mut buf).map(|packet| packet.map(<[u8]>::len));
        own("PacketReader::recv", what, Err(errno), answer);
    }
    let answer = of(ends.ended.as_fd()).recv(&mut buf).map(|packet| packet.map(<[u8]>::len));
    own("PacketReader::recv", "no writer", Ok(None), answer);
}

pub(crate) fn links() {
    if common::emulated() {
        return common::skip("links", "an emulator forks in its own way");
    }
    // SAFETY: no other thread exists, and the child only writes.
    let made = unsafe { Duplex::fork(|link| u8::from(link.write(b"x") != Ok(1))) };
    let (mut child, link) = made.unwrap();
    own("Duplex::read", "what a child has written", Ok(1), link.read(&mut [0; 8]));
    own("Child::wait", "of a link", Ok(Some(0)), child.wait().map(|end| end.code()));
    own("Duplex::read", "the child is gone", Ok(0), link.read(&mut [0; 8]));
    own("Duplex::write", "the child is gone", Err(Errno::EPIPE), link.write(b"x"));
}
