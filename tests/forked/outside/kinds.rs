//! Describes each kind of descriptor as a source and as a sink. Each description covers how the descriptor is
//! created, how its peer writes, how it ends, and which features it supports.

use super::sys;
use crate::common::{closed_fd, tmp_path};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, process};

/// The mover's descriptor, which is closed in some cases.
pub(crate) enum Near {
    Open(OwnedFd),
    Closed,
}

impl Near {
    pub(crate) fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Near {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) => fd.as_fd(),
            Self::Closed => closed_fd(),
        }
    }
}

/// A descriptor for the mover, and the peer's descriptor.
pub(crate) struct Made {
    pub(crate) near: Near,
    /// The descriptor to which the peer of a source writes, or from which the peer of a sink reads. The field
    /// is `None` if no peer exists, as for a device or for a file that already has its contents.
    pub(crate) far: Option<OwnedFd>,
    /// For a sink that is a file, the position at which the new bytes begin.
    pub(crate) begin: u64,
}

impl Made {
    fn new(near: impl Into<OwnedFd>, far: impl Into<OwnedFd>) -> Self {
        Self { near: Near::Open(near.into()), far: Some(far.into()), begin: 0 }
    }

    fn alone(near: impl Into<OwnedFd>) -> Self {
        Self { near: Near::Open(near.into()), far: None, begin: 0 }
    }
}

/// The way in which the peer of a source provides data.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Says {
    /// The peer does nothing, because the source holds its data from the start.
    Nothing,
    /// The peer writes.
    Write,
    /// A timer expires.
    Expire,
    /// The peer changes the file that the source watches.
    Touch,
}

/// The way in which a source ends.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// The source ends after its contents.
    Contents,
    /// The peer closes its descriptor.
    Close,
    /// The peer closes its descriptor, and `read` fails with `EIO`.
    CloseEio,
    /// The peer writes the end-of-file character of a terminal.
    ControlD,
    /// Reading is shut down, because a datagram socket has no end of file.
    Shut,
    Never,
}

#[derive(Clone, Copy)]
pub(crate) struct SourceKind {
    pub(crate) name: &'static str,
    /// Creates the source. The argument is the data of a source that holds its data from the start.
    pub(crate) make: fn(&[u8]) -> io::Result<Made>,
    pub(crate) says: Says,
    pub(crate) end: End,
    /// The maximum number of bytes that a case moves from the source.
    pub(crate) most: usize,
    /// The minimum length of one `read`.
    pub(crate) unit: usize,
    /// True if each `read` returns one message. A `read` into a buffer that is shorter than the message
    /// discards the remaining bytes of the message.
    pub(crate) packets: bool,
    pub(crate) pipe: bool,
    /// True if several processes can compete for the bytes of the source, and if a call can also be
    /// nonblocking without `O_NONBLOCK`.
    pub(crate) shared: bool,
    /// True if reading the source fails.
    pub(crate) bad: bool,
    /// True if a user-mode emulator implements this kind of descriptor itself.
    pub(crate) native: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct SinkKind {
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> io::Result<Made>,
    /// True if the test can read the bytes that arrive at the sink.
    pub(crate) heard: bool,
    /// True if the sink is a regular file. The test then reads the file's contents.
    pub(crate) file: bool,
    /// The maximum number of bytes that a case moves to the sink.
    pub(crate) most: usize,
    /// The unit in which the sink accepts bytes.
    pub(crate) unit: usize,
    /// True if the sink passes on only whole lines.
    pub(crate) lines: bool,
    pub(crate) splices: bool,
    pub(crate) pipe: bool,
    /// True if the sink can be filled until it accepts no more bytes.
    pub(crate) fills: bool,
    /// True if several processes can compete for the room in the sink, and if a call can also be nonblocking
    /// without `O_NONBLOCK`.
    pub(crate) shared: bool,
    pub(crate) bad: bool,
    pub(crate) native: bool,
}

/// The length of most contents. This length is a multiple of the page size and of the line length. At this
/// length, each side of a pipe usually waits for its peer several times.
pub(crate) const LEN: usize = 50 * 4096;
/// A number of bytes that a terminal can hold.
const TERMINAL: usize = 50 * 64;
/// The length of the data before the hole of a sparse file, and also of the data after the hole.
const EDGE: usize = 64;
/// The size of one event in bytes.
const EVENT: usize = 8;

// ---- messages ----

/// Returns `len` bytes that consist of distinct lines of 64 bytes.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let random = crate::common::bytes::data(len / 2 + 64);
    let mut text = String::new();
    for (number, bytes) in random.chunks(27).enumerate() {
        text.push_str(&format!("{number:08} "));
        bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
        text.push('\n');
        if text.len() >= len {
            break;
        }
    }
    text.truncate(len);
    text.into_bytes()
}

/// Returns a request of a peer. The eight bytes form a line and also a number that an eventfd accepts.
pub(crate) fn request(number: usize) -> Vec<u8> {
    format!("asked {number}\n").into_bytes()
}

impl SourceKind {
    /// Returns the bytes that a reader receives when the peer provides `said`.
    pub(crate) fn gives(&self, said: &[u8]) -> Vec<u8> {
        match self.says {
            Says::Nothing | Says::Write => said.to_vec(),
            Says::Expire => 1_u64.to_ne_bytes().to_vec(),
            Says::Touch => [1, sys::IN_MODIFY, 0, 0].map(u32::to_ne_bytes).concat(),
        }
    }

    /// Acts as the peer of this kind of source, and provides `said`.
    pub(crate) fn say(&self, far: &OwnedFd, said: &[u8]) -> io::Result<()> {
        match self.says {
            Says::Expire => sys::expire(far),
            Says::Touch => File::from(far.try_clone()?).write_all(b"x"),
            // If the kind has packets, each piece is one packet. A packet of a pipe has at most one page.
            _ => said
                .chunks(4096)
                .try_for_each(|piece| File::from(far.try_clone()?).write_all(piece)),
        }
    }

    /// Returns the expected contents of a source of this kind, usually `len` bytes.
    pub(crate) fn contents(&self, len: usize) -> Vec<u8> {
        match self.name {
            "proc_file" => fs::read(PROC_FILE).unwrap_or_default(),
            "dev_null" => Vec::new(),
            "dev_zero" | "dev_full" => vec![0; len],
            "sparse_file" => {
                let mut bytes = text(len);
                bytes[EDGE..len - EDGE].fill(0);
                bytes
            }
            _ => text(len),
        }
    }

    pub(crate) fn waits(&self) -> bool {
        !self.name.ends_with("_nonblocking")
    }

    pub(crate) fn talks(&self) -> bool {
        self.says != Says::Nothing
    }
}

impl SinkKind {
    pub(crate) fn waits(&self) -> bool {
        !self.name.ends_with("_nonblocking")
    }
}

// ---- files ----

const PROC_FILE: &str = "/proc/filesystems";

/// Creates a file, opens it again with `reopen`, and unlinks it.
fn file_in(folder: PathBuf, contents: &[u8], reopen: &File2) -> io::Result<File> {
    let name = tmp_path().file_name().map(PathBuf::from).unwrap_or_default();
    let path = folder.join(name);
    fs::write(&path, contents)?;
    let file = reopen(&path);
    fs::remove_file(&path)?;
    file
}

type File2 = dyn Fn(&PathBuf) -> io::Result<File>;

fn folder_in_memory() -> PathBuf {
    crate::common::tmp()
}

/// Returns the directory of the test program, or the directory for temporary files if the program's directory
/// is not writable. Both directories are usually on a disk.
fn folder_on_disk() -> PathBuf {
    let here = env::current_exe().ok().and_then(|path| path.parent().map(PathBuf::from));
    let writable = |folder: &PathBuf| {
        let path = folder.join(format!("rawpipe-test-{}", process::id()));
        let made = File::create(&path).is_ok();
        made && fs::remove_file(&path).is_ok()
    };
    here.filter(writable).unwrap_or_else(env::temp_dir)
}

fn read_write(path: &PathBuf) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// Reopens a descriptor's file for reading. The new descriptor has an independent position.
pub(crate) fn look_at(file: &impl AsRawFd) -> io::Result<OwnedFd> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map(OwnedFd::from)
}

fn file_sink(file: io::Result<File>) -> io::Result<Made> {
    let file = file?;
    let far = look_at(&file)?;
    let begin = file.metadata()?.len();
    Ok(Made { begin, ..Made::new(file, far) })
}

fn tmpfs_source(contents: &[u8]) -> io::Result<Made> {
    Ok(Made::alone(file_in(folder_in_memory(), contents, &read_write)?))
}

fn disk_source(contents: &[u8]) -> io::Result<Made> {
    Ok(Made::alone(file_in(folder_on_disk(), contents, &read_write)?))
}

fn sparse_source(contents: &[u8]) -> io::Result<Made> {
    let file = file_in(folder_on_disk(), b"", &read_write)?;
    file.set_len(contents.len() as u64)?;
    let tail = contents.len() - EDGE;
    file.write_all_at(&contents[..EDGE], 0)?;
    file.write_all_at(&contents[tail..], tail as u64)?;
    Ok(Made::alone(file))
}

fn appending(path: &PathBuf) -> io::Result<File> {
    File::options().read(true).append(true).open(path)
}

fn append_source(contents: &[u8]) -> io::Result<Made> {
    Ok(Made::alone(file_in(folder_in_memory(), contents, &appending)?))
}

fn direct(path: &PathBuf) -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(sys::O_DIRECT).open(path)
}

fn direct_source(contents: &[u8]) -> io::Result<Made> {
    Ok(Made::alone(file_in(folder_on_disk(), contents, &direct)?))
}

fn proc_source(_contents: &[u8]) -> io::Result<Made> {
    File::open(PROC_FILE).map(Made::alone)
}

fn write_only(path: &PathBuf) -> io::Result<File> {
    File::options().write(true).open(path)
}

fn write_only_source(contents: &[u8]) -> io::Result<Made> {
    Ok(Made::alone(file_in(folder_in_memory(), contents, &write_only)?))
}

fn memfd_of(contents: &[u8]) -> io::Result<File> {
    let file = sys::memfd()?;
    file.write_all_at(contents, 0)?;
    Ok(file)
}

fn memfd_source(contents: &[u8]) -> io::Result<Made> {
    memfd_of(contents).map(Made::alone)
}

fn sealed_source(contents: &[u8]) -> io::Result<Made> {
    let file = memfd_of(contents)?;
    sys::seal(&file)?;
    Ok(Made::alone(file))
}

fn tmpfs_sink() -> io::Result<Made> {
    file_sink(file_in(folder_in_memory(), b"", &read_write))
}

fn disk_sink() -> io::Result<Made> {
    file_sink(file_in(folder_on_disk(), b"", &read_write))
}

fn append_sink() -> io::Result<Made> {
    file_sink(file_in(folder_in_memory(), b"there before\n", &appending))
}

fn direct_sink() -> io::Result<Made> {
    file_sink(file_in(folder_on_disk(), b"", &direct))
}

fn memfd_sink() -> io::Result<Made> {
    file_sink(memfd_of(b""))
}

fn sealed_sink() -> io::Result<Made> {
    sealed_source(b"sealed")
}

fn read_only_sink() -> io::Result<Made> {
    Ok(Made::alone(file_in(folder_in_memory(), b"", &|path| File::open(path))?))
}

// ---- pipes ----

fn pipe_source(_contents: &[u8]) -> io::Result<Made> {
    sys::pipe(0).map(|(reader, writer)| Made::new(reader, writer))
}

fn pipe_sink() -> io::Result<Made> {
    sys::pipe(0).map(|(reader, writer)| Made::new(writer, reader))
}

fn page_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let pipe = sys::pipe(0)?;
    sys::set_pipe_size(&pipe.0, 1)?;
    Ok(pipe)
}

fn page_pipe_source(_contents: &[u8]) -> io::Result<Made> {
    page_pipe().map(|(reader, writer)| Made::new(reader, writer))
}

fn page_pipe_sink() -> io::Result<Made> {
    page_pipe().map(|(reader, writer)| Made::new(writer, reader))
}

fn packet_pipe_source(_contents: &[u8]) -> io::Result<Made> {
    sys::pipe(sys::O_DIRECT).map(|(reader, writer)| Made::new(reader, writer))
}

fn packet_pipe_sink() -> io::Result<Made> {
    sys::pipe(sys::O_DIRECT).map(|(reader, writer)| Made::new(writer, reader))
}

fn broken_pipe_sink() -> io::Result<Made> {
    sys::pipe(0).map(|(_, writer)| Made::alone(writer))
}

/// Creates a named pipe, and returns its read end and its write end. With `both` set, the read end is also
/// open for writing.
fn fifo(both: bool) -> io::Result<(File, File)> {
    let path = tmp_path();
    sys::fifo(&path)?;
    let open = || {
        let reader = read_write(&path)?;
        let writer = write_only(&path)?;
        // Because the first `open` is for reading and writing, no `open` waits for a peer.
        let reader = if both { reader } else { File::open(&path)? };
        Ok((reader, writer))
    };
    let ends = open();
    fs::remove_file(&path)?;
    ends
}

fn fifo_source(_contents: &[u8]) -> io::Result<Made> {
    fifo(false).map(|(reader, writer)| Made::new(reader, writer))
}

fn fifo_sink() -> io::Result<Made> {
    fifo(false).map(|(reader, writer)| Made::new(writer, reader))
}

fn fifo_both_source(_contents: &[u8]) -> io::Result<Made> {
    fifo(true).map(|(reader, writer)| Made::new(reader, writer))
}

fn fifo_both_sink() -> io::Result<Made> {
    let path = tmp_path();
    sys::fifo(&path)?;
    let near = read_write(&path);
    let far = File::open(&path);
    fs::remove_file(&path)?;
    Ok(Made::new(near?, far?))
}

// ---- sockets ----

fn unix_stream_source(_contents: &[u8]) -> io::Result<Made> {
    UnixStream::pair().map(|(near, far)| Made::new(near, far))
}

fn unix_stream_sink() -> io::Result<Made> {
    unix_stream_source(b"")
}

fn unix_datagram_source(_contents: &[u8]) -> io::Result<Made> {
    sys::unix_pair(sys::SOCK_DGRAM).map(|(near, far)| Made::new(near, far))
}

fn unix_datagram_sink() -> io::Result<Made> {
    unix_datagram_source(b"")
}

fn unix_seqpacket_source(_contents: &[u8]) -> io::Result<Made> {
    sys::unix_pair(sys::SOCK_SEQPACKET).map(|(near, far)| Made::new(near, far))
}

fn unix_seqpacket_sink() -> io::Result<Made> {
    unix_seqpacket_source(b"")
}

fn broken_unix_sink() -> io::Result<Made> {
    UnixStream::pair().map(|(near, _)| Made::alone(near))
}

fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    // Messages must be sent immediately.
    far.set_nodelay(true)?;
    near.set_nodelay(true)?;
    Ok((near, far))
}

fn tcp_source(_contents: &[u8]) -> io::Result<Made> {
    tcp_pair().map(|(near, far)| Made::new(near, far))
}

fn tcp_sink() -> io::Result<Made> {
    tcp_source(b"")
}

/// Creates a socket whose error queue is never empty, so `poll` always reports an error.
fn tcp_error_queue_source(_contents: &[u8]) -> io::Result<Made> {
    let (mut near, mut far) = tcp_pair()?;
    sys::report_times(&near)?;
    near.write_all(b"!")?;
    far.read_exact(&mut [0])?;
    match sys::poll([(near.as_raw_fd(), 0)], Duration::from_secs(5)) {
        [answer] if answer & sys::POLLERR != 0 => Ok(Made::new(near, far)),
        _ => Err(io::Error::other("no report in the error queue")),
    }
}

fn tcp_error_queue_sink() -> io::Result<Made> {
    tcp_error_queue_source(b"")
}

fn tcp_half_closed_source(_contents: &[u8]) -> io::Result<Made> {
    let (near, far) = tcp_pair()?;
    sys::shut(&near, false);
    Ok(Made::new(near, far))
}

fn tcp_half_closed_sink() -> io::Result<Made> {
    let (near, far) = tcp_pair()?;
    sys::shut(&far, false);
    Ok(Made::new(near, far))
}

fn tcp_reset(_contents: &[u8]) -> io::Result<Made> {
    let (near, far) = tcp_pair()?;
    sys::reset_on_close(&far)?;
    drop(far);
    sys::poll([(near.as_raw_fd(), 0)], Duration::from_secs(5));
    Ok(Made::alone(near))
}

fn tcp_reset_sink() -> io::Result<Made> {
    tcp_reset(b"")
}

// ---- nonblocking descriptors ----

fn nonblocking(made: io::Result<Made>) -> io::Result<Made> {
    let made = made?;
    sys::set_nonblocking(&made.near.as_fd(), true);
    Ok(made)
}

// ---- terminals ----

fn master_source(_contents: &[u8]) -> io::Result<Made> {
    sys::terminal(false).map(|(master, slave)| Made::new(master, slave))
}

fn slave_source(_contents: &[u8]) -> io::Result<Made> {
    sys::terminal(false).map(|(master, slave)| Made::new(slave, master))
}

fn canonical_slave_source(_contents: &[u8]) -> io::Result<Made> {
    sys::terminal(true).map(|(master, slave)| Made::new(slave, master))
}

fn hung_master_source(_contents: &[u8]) -> io::Result<Made> {
    sys::terminal(false).map(|(master, _)| Made::alone(master))
}

fn master_sink() -> io::Result<Made> {
    master_source(b"")
}

fn canonical_master_sink() -> io::Result<Made> {
    sys::terminal(true).map(|(master, slave)| Made::new(master, slave))
}

fn slave_sink() -> io::Result<Made> {
    slave_source(b"")
}

// ---- devices, events, and descriptors that can be neither read nor written ----

fn device(path: &str) -> io::Result<Made> {
    File::options().read(true).write(true).open(path).map(Made::alone)
}

fn null(_contents: &[u8]) -> io::Result<Made> {
    device("/dev/null")
}

fn zero(_contents: &[u8]) -> io::Result<Made> {
    device("/dev/zero")
}

fn full(_contents: &[u8]) -> io::Result<Made> {
    device("/dev/full")
}

fn eventfd_source(_contents: &[u8]) -> io::Result<Made> {
    let fd = sys::eventfd()?;
    Ok(Made::new(fd.try_clone()?, fd))
}

fn eventfd_sink() -> io::Result<Made> {
    eventfd_source(b"")
}

fn timerfd_source(_contents: &[u8]) -> io::Result<Made> {
    let fd = sys::timerfd()?;
    Ok(Made::new(fd.try_clone()?, fd))
}

fn inotify_source(_contents: &[u8]) -> io::Result<Made> {
    let path = tmp_path();
    let file = File::create(&path)?;
    let inotify = sys::inotify(&path);
    fs::remove_file(&path)?;
    Ok(Made::new(inotify?, file))
}

fn epoll(_contents: &[u8]) -> io::Result<Made> {
    sys::epoll().map(Made::alone)
}

fn o_path(_contents: &[u8]) -> io::Result<Made> {
    let open = |path: &PathBuf| File::options().read(true).custom_flags(sys::O_PATH).open(path);
    Ok(Made::alone(file_in(folder_in_memory(), b"there", &open)?))
}

fn directory(_contents: &[u8]) -> io::Result<Made> {
    File::open("/").map(Made::alone)
}

fn closed(_contents: &[u8]) -> io::Result<Made> {
    Ok(Made { near: Near::Closed, far: None, begin: 0 })
}

// ---- the table ----

const FILE: SourceKind = SourceKind {
    name: "",
    make: closed,
    says: Says::Nothing,
    end: End::Contents,
    most: LEN,
    unit: 1,
    packets: false,
    pipe: false,
    shared: false,
    bad: false,
    native: false,
};
const TALKER: SourceKind = SourceKind { says: Says::Write, end: End::Close, ..FILE };
const PIPE: SourceKind = SourceKind { pipe: true, shared: true, ..TALKER };
const SOCKET: SourceKind = SourceKind { shared: true, ..TALKER };
const TERMINAL_SOURCE: SourceKind = SourceKind { most: TERMINAL, native: true, ..TALKER };
const EVENTS: SourceKind =
    SourceKind { most: EVENT, unit: EVENT, end: End::Never, native: true, ..TALKER };
const BAD: SourceKind = SourceKind { bad: true, native: true, ..FILE };

pub(crate) const SOURCES: &[SourceKind] = &[
    SourceKind { name: "tmpfs_file", make: tmpfs_source, ..FILE },
    SourceKind { name: "disk_file", make: disk_source, ..FILE },
    SourceKind { name: "sparse_file", make: sparse_source, ..FILE },
    SourceKind { name: "append_file", make: append_source, ..FILE },
    SourceKind { name: "direct_file", make: direct_source, unit: 4096, native: true, ..FILE },
    SourceKind { name: "proc_file", make: proc_source, native: true, ..FILE },
    SourceKind { name: "memfd", make: memfd_source, ..FILE },
    SourceKind { name: "sealed_memfd", make: sealed_source, ..FILE },
    SourceKind { name: "pipe", make: pipe_source, ..PIPE },
    SourceKind { name: "page_pipe", make: page_pipe_source, ..PIPE },
    SourceKind { name: "packet_pipe", make: packet_pipe_source, packets: true, ..PIPE },
    SourceKind { name: "fifo", make: fifo_source, ..PIPE },
    SourceKind { name: "fifo_rdwr", make: fifo_both_source, end: End::Never, ..PIPE },
    SourceKind { name: "unix_stream", make: unix_stream_source, ..SOCKET },
    SourceKind {
        name: "unix_datagram",
        make: unix_datagram_source,
        end: End::Shut,
        packets: true,
        ..SOCKET
    },
    SourceKind { name: "unix_seqpacket", make: unix_seqpacket_source, packets: true, ..SOCKET },
    SourceKind { name: "tcp", make: tcp_source, ..SOCKET },
    SourceKind { name: "tcp_error_queue", make: tcp_error_queue_source, native: true, ..SOCKET },
    SourceKind { name: "tcp_half_closed", make: tcp_half_closed_source, ..SOCKET },
    SourceKind { name: "pipe_nonblocking", make: |_| nonblocking(pipe_source(b"")), ..PIPE },
    SourceKind { name: "tcp_nonblocking", make: |_| nonblocking(tcp_source(b"")), ..SOCKET },
    SourceKind { name: "pty_master", make: master_source, end: End::CloseEio, ..TERMINAL_SOURCE },
    SourceKind { name: "pty_slave", make: slave_source, end: End::Never, ..TERMINAL_SOURCE },
    SourceKind {
        name: "pty_slave_canonical",
        make: canonical_slave_source,
        end: End::ControlD,
        ..TERMINAL_SOURCE
    },
    SourceKind { name: "dev_null", make: null, ..FILE },
    SourceKind { name: "dev_zero", make: zero, end: End::Never, ..FILE },
    SourceKind { name: "dev_full", make: full, end: End::Never, ..FILE },
    SourceKind { name: "eventfd", make: eventfd_source, ..EVENTS },
    SourceKind { name: "timerfd", make: timerfd_source, says: Says::Expire, ..EVENTS },
    SourceKind {
        name: "inotify",
        make: inotify_source,
        says: Says::Touch,
        most: 16,
        unit: 16,
        ..EVENTS
    },
    SourceKind { name: "tcp_reset", make: tcp_reset, ..BAD },
    SourceKind { name: "pty_master_hung", make: hung_master_source, ..BAD },
    SourceKind { name: "epoll", make: epoll, ..BAD },
    SourceKind { name: "o_path", make: o_path, ..BAD },
    SourceKind { name: "directory", make: directory, ..BAD },
    SourceKind { name: "write_only", make: write_only_source, ..BAD },
    SourceKind { name: "closed", make: closed, ..BAD },
];

const TO_FILE: SinkKind = SinkKind {
    name: "",
    make: tmpfs_sink,
    heard: true,
    file: true,
    most: LEN,
    unit: 1,
    lines: false,
    splices: true,
    pipe: false,
    fills: false,
    shared: false,
    bad: false,
    native: false,
};
const TO_SOCKET: SinkKind = SinkKind { file: false, fills: true, shared: true, ..TO_FILE };
const TO_PIPE: SinkKind = SinkKind { pipe: true, ..TO_SOCKET };
const TO_TERMINAL: SinkKind =
    SinkKind { file: false, fills: true, most: TERMINAL, native: true, ..TO_FILE };
const TO_NOWHERE: SinkKind = SinkKind { heard: false, file: false, native: true, ..TO_FILE };
const TO_BAD: SinkKind = SinkKind { bad: true, ..TO_NOWHERE };

pub(crate) const SINKS: &[SinkKind] = &[
    SinkKind { name: "tmpfs_file", make: tmpfs_sink, ..TO_FILE },
    SinkKind { name: "disk_file", make: disk_sink, ..TO_FILE },
    SinkKind { name: "append_file", make: append_sink, splices: false, ..TO_FILE },
    SinkKind {
        name: "direct_file",
        make: direct_sink,
        unit: 4096,
        splices: false,
        native: true,
        ..TO_FILE
    },
    SinkKind { name: "memfd", make: memfd_sink, ..TO_FILE },
    SinkKind { name: "pipe", make: pipe_sink, ..TO_PIPE },
    SinkKind { name: "page_pipe", make: page_pipe_sink, ..TO_PIPE },
    SinkKind { name: "packet_pipe", make: packet_pipe_sink, ..TO_PIPE },
    SinkKind { name: "fifo", make: fifo_sink, ..TO_PIPE },
    SinkKind { name: "fifo_rdwr", make: fifo_both_sink, ..TO_PIPE },
    SinkKind { name: "unix_stream", make: unix_stream_sink, ..TO_SOCKET },
    SinkKind { name: "unix_datagram", make: unix_datagram_sink, ..TO_SOCKET },
    SinkKind { name: "unix_seqpacket", make: unix_seqpacket_sink, ..TO_SOCKET },
    SinkKind { name: "tcp", make: tcp_sink, ..TO_SOCKET },
    SinkKind { name: "tcp_error_queue", make: tcp_error_queue_sink, native: true, ..TO_SOCKET },
    SinkKind { name: "tcp_half_closed", make: tcp_half_closed_sink, ..TO_SOCKET },
    SinkKind { name: "pipe_nonblocking", make: || nonblocking(pipe_sink()), ..TO_PIPE },
    SinkKind { name: "tcp_nonblocking", make: || nonblocking(tcp_sink()), ..TO_SOCKET },
    SinkKind { name: "pty_master", make: master_sink, ..TO_TERMINAL },
    SinkKind {
        name: "pty_master_canonical",
        make: canonical_master_sink,
        lines: true,
        fills: false,
        ..TO_TERMINAL
    },
    SinkKind { name: "pty_slave", make: slave_sink, ..TO_TERMINAL },
    SinkKind {
        name: "eventfd",
        make: eventfd_sink,
        file: false,
        most: EVENT,
        unit: EVENT,
        splices: false,
        fills: true,
        native: true,
        ..TO_FILE
    },
    SinkKind { name: "dev_null", make: || null(b""), ..TO_NOWHERE },
    SinkKind { name: "dev_zero", make: || zero(b""), ..TO_NOWHERE },
    SinkKind { name: "dev_full", make: || full(b""), splices: false, ..TO_BAD },
    SinkKind { name: "sealed_memfd", make: sealed_sink, ..TO_BAD },
    SinkKind { name: "read_only", make: read_only_sink, ..TO_BAD },
    SinkKind { name: "broken_pipe", make: broken_pipe_sink, ..TO_BAD },
    SinkKind { name: "broken_unix", make: broken_unix_sink, ..TO_BAD },
    SinkKind { name: "tcp_reset", make: tcp_reset_sink, ..TO_BAD },
    SinkKind { name: "timerfd", make: || timerfd_source(b""), ..TO_BAD },
    SinkKind { name: "inotify", make: || inotify_source(b""), ..TO_BAD },
    SinkKind { name: "epoll", make: || epoll(b""), ..TO_BAD },
    SinkKind { name: "o_path", make: || o_path(b""), ..TO_BAD },
    SinkKind { name: "directory", make: || directory(b""), ..TO_BAD },
    SinkKind { name: "closed", make: || closed(b""), ..TO_BAD },
];

pub(crate) fn source(name: &str) -> &'static SourceKind {
    SOURCES.iter().find(|kind| kind.name == name).expect("a kind of source")
}

pub(crate) fn sink(name: &str) -> &'static SinkKind {
    SINKS.iter().find(|kind| kind.name == name).expect("a kind of sink")
}
