//! The sources and sinks of transfers, with their state in the model.
//!
//! # Safety
//!
//! This file must ensure that the descriptor of each new file in memory has no other owner.
#![allow(unsafe_code, reason = "memfd_create, for which std has no function")]

use arbitrary::Arbitrary;
use rawpipe::Errno;
use rawpipe::event::{EventFd, EventFdFlags};
use rawpipe::fd::{AsRawFd, FromRawFd, OwnedFd};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::{io, pipe, raw};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};

unsafe extern "C" {
    safe fn fcntl(fd: i32, command: i32, ...) -> i32;
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum From {
    Pipe { packet: bool, doubled: u8 },
    Memory { len: u32, position: u32 },
    Disk { len: u32, position: u32 },
    Stream,
    Datagram,
    Zero,
    Null,
    Event(u64),
    Proc,
    WriteOnly,
    Folder,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum To {
    Pipe { packet: bool, doubled: u8 },
    Memory { len: u16, position: u32 },
    Disk { len: u16, position: u32 },
    Append { len: u16 },
    Stream,
    Datagram,
    Null,
    Full,
    Event,
    ReadOnly,
    Sealed,
}

/// The maximum length of a file. A low maximum keeps the cases fast.
const LONGEST: usize = 300_000;

/// Returns a capacity of at least one page.
pub(crate) fn capacity(doubled: u8) -> Capacity {
    Capacity::Bytes(4096 << (doubled % 7))
}

/// A generator of bytes that differ at nearby positions.
pub(crate) struct Pattern(u32);

impl Pattern {
    pub(crate) fn new() -> Self {
        Self(0x1234_5678)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let byte = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 24) as u8
        };
        std::iter::repeat_with(byte).take(len).collect()
    }
}

/// Creates an unnamed file in memory.
pub(crate) fn memory() -> File {
    const MEMFD_CREATE: usize = if cfg!(target_arch = "x86_64") { 319 } else { 279 };
    const MFD_CLOEXEC: usize = 1;
    const MFD_ALLOW_SEALING: usize = 2;
    let name = c"fuzz".as_ptr().expose_provenance();
    // SAFETY: the call only reads the name.
    let number = unsafe { raw::syscall2(MEMFD_CREATE, name, MFD_CLOEXEC | MFD_ALLOW_SEALING) };
    let number = i32::try_from(number).unwrap();
    assert!(number >= 0);
    // SAFETY: the call above has created this descriptor, which has no other owner.
    unsafe { File::from_raw_fd(number) }
}

/// Creates an unnamed file in the directory for temporary files.
fn disk() -> File {
    const O_TMPFILE: i32 = 0o20_000_000;
    let folder = std::env::temp_dir();
    // `O_TMPFILE` includes `O_DIRECTORY`, whose value differs between architectures.
    let flags = O_TMPFILE | if cfg!(target_arch = "x86_64") { 0o200_000 } else { 0o40_000 };
    match File::options().read(true).write(true).custom_flags(flags).open(folder) {
        Ok(file) => file,
        Err(_) => memory(), // the file system does not support such files
    }
}

fn filled(file: File, contents: &[u8], position: u64) -> File {
    file.write_all_at(contents, 0).unwrap();
    (&file).seek(SeekFrom::Start(position)).unwrap();
    file
}

/// Opens the file of a descriptor again with these options.
fn reopened(file: &impl AsRawFd, how: &std::fs::OpenOptions) -> File {
    how.open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

pub(crate) struct Source {
    pub(crate) kind: From,
    pub(crate) fd: OwnedFd,
    /// The descriptor through which the source is fed with more bytes.
    feeder: Option<OwnedFd>,
    /// The bytes that can be read from the source.
    pub(crate) content: VecDeque<u8>,
    /// The length of the file, if the source is a file.
    len: u64,
}

impl Source {
    pub(crate) fn new(kind: From, pattern: &mut Pattern) -> Self {
        let mut content = VecDeque::new();
        let mut feeder = None;
        let mut file_len = 0;
        let fd: OwnedFd = match kind {
            From::Pipe { packet, doubled } => {
                let builder = if packet { Builder::new().packet() } else { Builder::new() };
                let (reader, writer) = builder.build().unwrap();
                writer.set_capacity(capacity(doubled)).unwrap();
                feeder = Some(writer.into());
                reader.into()
            }
            From::Memory { len, position } | From::Disk { len, position } => {
                let file = if matches!(kind, From::Memory { .. }) { memory() } else { disk() };
                let bytes = pattern.bytes(len as usize % LONGEST);
                let position = position as usize % LONGEST;
                content.extend(bytes.get(position..).unwrap_or(&[]));
                file_len = bytes.len() as u64;
                filled(file, &bytes, position as u64).into()
            }
            From::Stream => {
                let (one, other) = UnixStream::pair().unwrap();
                one.set_nonblocking(true).unwrap();
                feeder = Some(other.into());
                one.into()
            }
            From::Datagram => {
                let (one, other) = UnixDatagram::pair().unwrap();
                one.set_nonblocking(true).unwrap();
                feeder = Some(other.into());
                one.into()
            }
            From::Zero => File::open("/dev/zero").unwrap().into(),
            From::Null => File::open("/dev/null").unwrap().into(),
            From::Event(value) => {
                let event = EventFd::with_flags(0, EventFdFlags::CLOEXEC | EventFdFlags::NONBLOCK);
                let event = event.unwrap();
                let value = value.min(u64::MAX - 1);
                event.write(value).unwrap();
                if value > 0 {
                    content.extend(value.to_ne_bytes());
                }
                event.into()
            }
            From::Proc => {
                content.extend(std::fs::read("/proc/version").unwrap());
                File::open("/proc/version").unwrap().into()
            }
            From::WriteOnly => reopened(&memory(), File::options().write(true)).into(),
            From::Folder => File::open("/").unwrap().into(),
        };
        if let Some(feeder) = &feeder {
            io::set_nonblocking(feeder, true).unwrap();
        }
        Self { kind, fd, feeder, content, len: file_len }
    }

    pub(crate) fn is_endless(&self) -> bool {
        matches!(self.kind, From::Zero)
    }

    /// Returns whether the source has no more bytes and will have none unless it is fed.
    pub(crate) fn has_ended(&self) -> bool {
        let ends = match self.kind {
            From::Pipe { .. } | From::Stream => self.feeder.is_none(),
            From::Datagram | From::Event(_) | From::Zero => false,
            _ => true,
        };
        ends && self.content.is_empty()
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, From::Memory { .. } | From::Disk { .. })
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return; // an empty datagram would be read as end of file
        }
        if self.is_file() {
            let file = File::from(self.fd.try_clone().unwrap());
            file.write_all_at(bytes, self.len).unwrap();
            let position = (&file).stream_position().unwrap();
            let behind = usize::try_from(position.saturating_sub(self.len)).unwrap();
            self.content.extend(bytes.get(behind..).unwrap_or(&[]));
            self.len += bytes.len() as u64;
        }
        let Some(feeder) = &self.feeder else { return };
        let most = if matches!(self.kind, From::Datagram) { 4096 } else { usize::MAX };
        match io::write(feeder, &bytes[..bytes.len().min(most)]) {
            Ok(count) => self.content.extend(&bytes[..count]),
            Err(errno) => assert_eq!(errno, Errno::EAGAIN),
        }
    }

    pub(crate) fn close_feeder(&mut self) {
        self.feeder = None;
    }

    /// Removes from the model, and returns, the bytes that the transfer has read.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.is_endless() {
            return vec![0; count];
        }
        assert!(count <= self.content.len(), "more than there was");
        self.content.drain(..count).collect()
    }

    /// Overwrites the part of the file that was already read.
    pub(crate) fn rewrite(&mut self) {
        let file = File::from(self.fd.try_clone().unwrap());
        let given = usize::try_from(self.len).unwrap() - self.content.len();
        file.write_all_at(&vec![b'#'; given], 0).unwrap();
    }

    /// Checks that the source holds as many unread bytes as the model.
    pub(crate) fn check(&self) {
        match self.kind {
            From::Pipe { .. } | From::Stream => {
                assert_eq!(pipe::available(&self.fd), Ok(self.content.len()));
            }
            From::Memory { .. } | From::Disk { .. } => {
                let mut file = File::from(self.fd.try_clone().unwrap());
                let position = file.stream_position().unwrap();
                let left = self.len.saturating_sub(position);
                assert_eq!(left, self.content.len() as u64);
            }
            _ => {}
        }
    }

    /// Checks that the bytes that can be read without waiting equal the bytes in the model.
    pub(crate) fn finish(mut self) {
        if !matches!(self.kind, From::Pipe { .. } | From::Stream | From::Datagram) {
            return;
        }
        io::set_nonblocking(&self.fd, true).unwrap();
        while !self.content.is_empty() {
            let mut buf = vec![0; 1 << 16];
            let count = io::read(&self.fd, &mut buf).unwrap();
            assert!(self.take(count) == buf[..count]);
        }
        let end = io::read(&self.fd, &mut [0; 8]);
        let ended = self.has_ended();
        assert_eq!(end, if ended { Ok(0) } else { Err(Errno::EAGAIN) });
    }
}

pub(crate) struct Sink {
    pub(crate) kind: To,
    pub(crate) fd: OwnedFd,
    /// The descriptor from which the sink's bytes are read.
    drain: Option<OwnedFd>,
    /// The bytes that the sink has received and that were not yet read.
    pub(crate) queue: VecDeque<u8>,
    /// The expected contents of the file, if the sink is a file.
    image: Vec<u8>,
    position: usize,
    /// The sum of the numbers that were written to an event descriptor.
    sum: u64,
    /// If set, the reader is closed.
    pub(crate) gone: bool,
    /// If set, a read discards the bytes of a packet that do not fit in the buffer.
    pub(crate) packets: bool,
}

impl Sink {
    pub(crate) fn new(kind: To, pattern: &mut Pattern) -> Self {
        let (mut image, mut at) = (Vec::new(), 0);
        let mut drain = None;
        let fd: OwnedFd = match kind {
            To::Pipe { packet, doubled } => {
                let builder = if packet { Builder::new().packet() } else { Builder::new() };
                let (reader, writer) = builder.build().unwrap();
                writer.set_capacity(capacity(doubled)).unwrap();
                drain = Some(reader.into());
                writer.into()
            }
            To::Memory { len, position } | To::Disk { len, position } => {
                image = pattern.bytes(len.into());
                at = position as usize % LONGEST;
                let file = if matches!(kind, To::Memory { .. }) { memory() } else { disk() };
                filled(file, &image, at as u64).into()
            }
            To::Append { len } => {
                image = pattern.bytes(len.into());
                at = image.len();
                let file = filled(memory(), &image, 0);
                drain = Some(reopened(&file, File::options().read(true)).into());
                reopened(&file, File::options().append(true)).into()
            }
            To::Stream => {
                let (one, other) = UnixStream::pair().unwrap();
                one.set_nonblocking(true).unwrap();
                drain = Some(other.into());
                one.into()
            }
            To::Datagram => {
                let (one, other) = UnixDatagram::pair().unwrap();
                one.set_nonblocking(true).unwrap();
                drain = Some(other.into());
                one.into()
            }
            To::Null => File::options().write(true).open("/dev/null").unwrap().into(),
            To::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            To::Event => EventFd::with_flags(0, EventFdFlags::CLOEXEC | EventFdFlags::NONBLOCK)
                .unwrap()
                .into(),
            To::ReadOnly => reopened(&memory(), File::options().read(true)).into(),
            To::Sealed => {
                const F_ADD_SEALS: i32 = 1033;
                const F_SEAL_WRITE: i32 = 8;
                let file = memory();
                assert_eq!(fcntl(file.as_raw_fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
                file.into()
            }
        };
        if let Some(drain) = &drain {
            io::set_nonblocking(drain, true).unwrap();
        }
        let (position, queue) = (at, VecDeque::new());
        let packets = matches!(kind, To::Pipe { packet: true, .. });
        Self { kind, fd, drain, queue, image, position, sum: 0, gone: false, packets }
    }

    /// Returns whether every write to the sink succeeds or fails without waiting.
    pub(crate) fn never_waits(&self) -> bool {
        !matches!(self.kind, To::Pipe { .. } | To::Stream | To::Datagram | To::Event)
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, To::Memory { .. } | To::Disk { .. } | To::Append { .. })
    }

    pub(crate) fn deliver(&mut self, bytes: &[u8]) {
        match self.kind {
            To::Pipe { .. } | To::Stream | To::Datagram => self.queue.extend(bytes),
            To::Memory { .. } | To::Disk { .. } | To::Append { .. } => {
                let end = self.position + bytes.len();
                if !bytes.is_empty() {
                    self.image.resize(self.image.len().max(end), 0);
                    self.image[self.position..end].copy_from_slice(bytes);
                }
                self.position = end;
            }
            To::Event => {
                for word in bytes.chunks(8) {
                    self.sum += u64::from_ne_bytes(word.try_into().expect("whole words"));
                }
            }
            To::Null => {}
            To::Full | To::ReadOnly | To::Sealed => assert!(bytes.is_empty(), "takes nothing"),
        }
    }

    pub(crate) fn check(&self) {
        match self.kind {
            To::Pipe { .. } | To::Stream => {
                if let Some(drain) = &self.drain {
                    assert_eq!(pipe::available(drain), Ok(self.queue.len()));
                }
            }
            To::Memory { .. } | To::Disk { .. } => {
                let mut file = File::from(self.fd.try_clone().unwrap());
                assert_eq!(file.stream_position().unwrap(), self.position as u64);
                assert_eq!(file.metadata().unwrap().len(), self.image.len() as u64);
            }
            _ => {}
        }
    }

    pub(crate) fn drain(&mut self, most: usize) {
        let Some(drain) = &self.drain else { return };
        let datagrams = matches!(self.kind, To::Datagram);
        if self.is_file() || most == 0 {
            return;
        }
        // Read a datagram or a packet with one call, because the remaining bytes would be lost.
        let mut buf = vec![0; if datagrams || self.packets { 300_000 } else { most }];
        match io::read(drain, &mut buf) {
            Ok(count) => {
                let expected: Vec<u8> = self.queue.drain(..count).collect();
                assert!(expected == buf[..count]);
            }
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                assert!(self.queue.is_empty());
            }
        }
    }

    pub(crate) fn drain_all(&mut self) {
        while !self.queue.is_empty() {
            self.drain(1 << 16);
        }
    }

    /// Reads all bytes that the sink has received and closes the reader.
    pub(crate) fn close_drain(&mut self) {
        if matches!(self.kind, To::Pipe { .. } | To::Stream | To::Datagram) {
            self.drain_all();
            self.drain = None;
            self.gone = true;
        }
    }

    pub(crate) fn finish(mut self) {
        match self.kind {
            To::Memory { .. } | To::Disk { .. } | To::Append { .. } => {
                let file = self.drain.as_ref().unwrap_or(&self.fd).try_clone().unwrap();
                let mut found = vec![0; self.image.len() + 1];
                let count = File::from(file).read_at(&mut found, 0).unwrap();
                assert!(found[..count] == self.image);
            }
            To::Event => {
                let mut value = [0; 8];
                match io::read(&self.fd, &mut value) {
                    Ok(count) => assert_eq!((count, u64::from_ne_bytes(value)), (8, self.sum)),
                    Err(errno) => assert_eq!((errno, self.sum), (Errno::EAGAIN, 0)),
                }
            }
            _ => {
                if !self.gone {
                    self.drain_all();
                    self.drain(1);
                }
            }
        }
    }
}
