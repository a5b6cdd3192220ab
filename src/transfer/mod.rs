//! Moves bytes from any descriptor to any other, using the fastest mechanism that the kernel offers for
//! the pair, and reports which one it was.
//!
//! | from → to | mechanism |
//! |---|---|
//! | pipe → pipe, file → pipe, pipe → `/dev/null` | [`Splice`](TransferMechanism::Splice): `splice` between the two |
//! | file → file | [`CopyFileRange`](TransferMechanism::CopyFileRange), which may share blocks; between file systems `Broker` (up to 64 KiB `Copy`), else `Sendfile` |
//! | file → socket or device | [`Sendfile`](TransferMechanism::Sendfile) |
//! | pipe → file, socket or device; stream socket → anything | [`Broker`](TransferMechanism::Broker): `splice` through a private pipe |
//! | terminal, device, datagram or seqpacket socket → anything; anything → datagrams | [`Copy`](TransferMechanism::Copy): `read` and `write` through a buffer |
//! | file of size 0 (procfs, tracefs, or empty) → anything | `Copy`, because the kernel's `splice` of some of these, such as `trace_pipe`, loses bytes |
//! | a pair that the kernel or a filter rejects | the next one; `Copy` is the last |
//!
//! Falling back to the next mechanism happens at an exact byte boundary: what a mechanism has taken from
//! the source is delivered before the next one begins.
//!
//! # A silent peer
//!
//! Whatever the source has is passed on before the transfer waits for more, so that a dialogue can pass
//! through it. `splice` between a pipe and a socket holds the pipe's lock while it waits for the socket,
//! and no signal reaches a process that waits for that lock. Therefore the transfer waits with a private pipe
//! ([`Broker`](TransferMechanism::Broker)) and never blocks another process.
//!
//! # The end
//!
//! A source is at its end when a `read` returns 0. `splice` also moves nothing at the urgent mark of a TCP
//! connection and from some files of procfs, so a `read` confirms the end of anything but a pipe. A
//! terminal reports its end (Ctrl-D) only once, and is read only once at its end. An empty datagram or record is
//! not the end. A seqpacket socket ends when its peer has closed it, or one side has shut the direction
//! down.
//!
//! # By reference
//!
//! `splice` and `sendfile` put pages of a file into a pipe or socket by reference. A reader sees the contents
//! of the file at the time of reading, not of sending. [`Transfer::copy_semantics`]
//! forbids these mechanisms.
//!
//! # Packets and datagrams
//!
//! A read that is shorter than a packet of a [packet pipe](crate::message::packets) loses its remaining
//! bytes. From one pipe to another, packets stay packets, so this also holds for the reader of the second
//! pipe, whatever kind of pipe that is.
//!
//! [`Copy`](TransferMechanism::Copy) reads one packet, datagram or record at a time, up to 256 KiB, and writes it
//! in one call. It loses the remaining bytes of one that is longer than what it may read: where packets
//! or datagrams are copied, neither [`chunk`](Transfer::chunk) nor [`exact`](Transfer::exact) may end
//! within one.
//!
//! # Signals
//!
//! A transfer continues after a signal handler has run. `SIGPIPE` is not raised: it is blocked for the
//! calling thread meanwhile, and removed if the transfer caused it.
//!
#![doc = include_str!("ends.md")]
//! # Speed
//!
//! Larger pipes need fewer calls, and their two sides wait less for each other. Give the pipes at both ends
//! 256 KiB or more, for instance with [`Transfer::grow_pipes`].
#![doc = include_str!("recipes.md")]

mod discard;
mod end;
mod engine;
mod error;
mod fallback;
mod fanout;
mod kernel;
mod round;
mod transferred;

pub use discard::discard;
pub use error::{Side, TransferError};
pub use fanout::{Fanout, FanoutSink, fanout};
pub use transferred::{Fallback, TransferMechanism, Transferred};

use crate::fd::AsFd;
use crate::io::sigpipe;
use crate::{Deadline, Wait};
use core::fmt;
use core::ops::ControlFlow;
use end::End;

/// Moves bytes from `from` to `to` until end of file: a [`Transfer`] without options.
///
/// Files are read and written at their positions. Waits on either side, whether nonblocking or not.
///
/// # Errors
///
/// A [`TransferError`] has the side that failed and the number of bytes that arrived before, and holds those
/// that were read and did not arrive. See [`Transfer::run`].
///
/// # Examples
///
/// ```
/// use rawpipe::transfer::{TransferMechanism, transfer};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let (next_reader, next_writer) = rawpipe::pipe()?;
/// writer.write_all(b"moved inside the kernel")?;
/// drop(writer);
///
/// let transferred = transfer(&reader, &next_writer)?;
/// assert_eq!(transferred.bytes(), 23);
/// assert_eq!(transferred.mechanism(), TransferMechanism::Splice);
/// assert_eq!(next_reader.available()?, 23);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn transfer(from: impl AsFd, to: impl AsFd) -> Result<Transferred, TransferError> {
    Transfer::new().run(from, to)
}

/// A transfer with options.
///
/// # Examples
///
/// ```
/// use rawpipe::transfer::Transfer;
/// use std::ops::ControlFlow;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let null = std::fs::File::options().write(true).open("/dev/null")?;
/// writer.write_all(&[0; 10_000])?;
///
/// let mut seen = 0;
/// let mut watch = |done| {
///     seen = done;
///     ControlFlow::Continue(())
/// };
/// let transferred = Transfer::new().exact(9_000).progress(&mut watch).run(&reader, &null)?;
/// assert_eq!((transferred.bytes(), seen), (9_000, 9_000));
/// assert_eq!(reader.available()?, 1_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a transfer moves nothing until `run` is called"]
#[derive(Default)]
pub struct Transfer<'p> {
    /// The most bytes to move.
    most: Option<u64>,
    /// Whether fewer are an error.
    exact: bool,
    /// A bit for each mechanism that is excluded.
    without: u8,
    raise_sigpipe: bool,
    chunk: Option<usize>,
    deadline: Option<Deadline<'p>>,
    copy_semantics: bool,
    grow_pipes: bool,
    wait: Wait,
    /// The end that is a private pipe, for which no other process can wait.
    own: Option<Side>,
    progress: Option<&'p mut dyn FnMut(u64) -> ControlFlow<()>>,
}

impl<'p> Transfer<'p> {
    /// Creates a transfer that ends at end of file.
    pub const fn new() -> Self {
        let wait = Wait::Block;
        Self {
            most: None,
            exact: false,
            without: 0,
            raise_sigpipe: false,
            chunk: None,
            deadline: None,
            copy_semantics: false,
            grow_pipes: false,
            wait,
            own: None,
            progress: None,
        }
    }

    /// Moves exactly `bytes`, and leaves everything else in the source. It is an error if the source ends first.
    /// Replaces an earlier [`limit`](Self::limit).
    pub const fn exact(self, bytes: u64) -> Self {
        Self { most: Some(bytes), exact: true, ..self }
    }

    /// Moves at most `bytes`, as `head -c` does, and leaves everything else in the source. It is not an error if
    /// the source ends first. Replaces an earlier [`exact`](Self::exact).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::transfer::Transfer;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let (head, to_head) = rawpipe::pipe()?;
    /// writer.write_all(b"head and tail")?;
    /// assert_eq!(Transfer::new().limit(4).run(&reader, &to_head)?.bytes(), 4);
    /// drop(writer);
    /// assert_eq!(Transfer::new().limit(1000).run(&reader, &to_head)?.bytes(), 9);
    /// assert_eq!(head.available()?, 13);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn limit(self, bytes: u64) -> Self {
        Self { most: Some(bytes), exact: false, ..self }
    }

    /// Excludes a mechanism; call it again to exclude another.
    ///
    /// The next mechanism that fits the two descriptors replaces it. If none is left, the transfer
    /// fails with [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) on the sink, even if the kernel rejects the last
    /// one. Without [`Copy`](TransferMechanism::Copy) no `read` confirms the [end](self#the-end) of the source,
    /// and a stream of tracefs may lose bytes.
    ///
    /// # Examples
    ///
    /// A copy that shares no blocks with its source:
    ///
    /// ```
    /// use rawpipe::transfer::{Transfer, TransferMechanism};
    /// # let file = || {
    /// #     let path = std::env::temp_dir().join(format!("rawpipe-without-{}", std::process::id()));
    /// #     let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    /// #     std::fs::remove_file(&path).map(|()| file)
    /// # };
    /// # let (source, copy) = (file()?, file()?);
    /// # std::os::unix::fs::FileExt::write_all_at(&source, &[7; 100_000], 0)?;
    /// let moved = Transfer::new().without(TransferMechanism::CopyFileRange).run(&source, &copy)?;
    /// assert_eq!((moved.bytes(), moved.mechanism()), (100_000, TransferMechanism::Broker));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn without(self, mechanism: TransferMechanism) -> Self {
        Self { without: self.without | 1 << mechanism as u8, ..self }
    }

    const fn allows(&self, mechanism: TransferMechanism) -> bool {
        self.without & 1 << mechanism as u8 == 0
    }

    /// Lets the kernel raise `SIGPIPE` if the sink has no reader, so that a filter ends quietly with its
    /// reader. If the signal is ignored or handled, the transfer then fails with
    /// [`EPIPE`](crate::Errno::EPIPE).
    ///
    /// Rust's `main` ignores `SIGPIPE`: set its default action first.
    pub const fn raise_sigpipe(self) -> Self {
        Self { raise_sigpipe: true, ..self }
    }

    /// Moves at most `bytes` between two calls of [`progress`](Self::progress); 0 counts as 1. By default that
    /// is 1 MiB. Small chunks are slow: 64 KiB and more cost little.
    ///
    /// Below one page the mechanism is then [`Copy`](TransferMechanism::Copy): a spliced byte takes a whole
    /// page's slot in a pipe, so that a handful of them fill it.
    ///
    /// With a [`deadline`](Self::deadline) and no `progress` it bounds the bytes between two checks of the
    /// clock, and less than 64 KiB counts as 64 KiB. With neither it has no effect: one system call moves up to
    /// 2 GiB.
    pub const fn chunk(self, bytes: usize) -> Self {
        Self { chunk: Some(if bytes == 0 { 1 } else { bytes }), ..self }
    }

    /// Calls `progress` with the number of bytes that have arrived, each time that everything read from the source
    /// has arrived, and after each signal. With [`Copy`](TransferMechanism::Copy) that is at most every 256 KiB, and
    /// with the others every [`chunk`](Self::chunk). If it returns `Break`, the transfer ends there, with success:
    /// everything that was read from the source has arrived. So a signal does not end the transfer while bytes are in
    /// flight and the sink accepts none.
    pub fn progress(mut self, progress: &'p mut dyn FnMut(u64) -> ControlFlow<()>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Gives up at `deadline`, with [`ETIMEDOUT`](crate::Errno::ETIMEDOUT) on the side that is not
    /// ready.
    ///
    /// It bounds the waiting. Bytes that are ready are moved even after it has passed, so a deadline in the past
    /// moves what can be moved immediately. To bound a transfer that need not wait, end it with
    /// [`progress`](Self::progress), or cancel it.
    ///
    /// If the deadline is [cancelled](crate::Cancel) it fails with [`ECANCELED`](crate::Errno::ECANCELED): on the
    /// side that is not ready, or on the source if both are ready. If both are ready, nothing is in flight, and at most
    /// 1 MiB (or one [`chunk`](Self::chunk)) was moved after the cancel. Cancelled before the start, it moves nothing.
    ///
    /// It holds on pipes, on sockets, and on every descriptor that stays nonblocking, even beside other readers and
    /// writers of the same descriptor. From or to a blocking socket or device the mechanism is
    /// [`Copy`](TransferMechanism::Copy), because `splice` has no way to avoid waiting for it. A nonblocking socket
    /// is faster.
    ///
    /// A blocking terminal is written byte by byte, because `poll` promises room for one byte, and a `write` of more
    /// sleeps until all of it is taken. That is slow, some 0.2 MB a second. A descriptor that was opened with
    /// `O_NONBLOCK` has the full speed. A file of size 0, such as `/proc/kmsg` or `trace_pipe`, is polled before it
    /// is read.
    ///
    /// It does not hold
    ///
    /// - on a blocking terminal or device, and before Linux 6.4 on a blocking socket, if *another process*
    ///   takes the data or the room that `poll` has reported to this one, or if such a socket has an entry in its
    ///   error queue: the kernel has no call for them that does not wait;
    /// - on a blocking terminal that processes its output, if its driver has less room than one byte needs after
    ///   processing: 2 bytes of a newline, 8 of a tab. (A pseudoterminal that is ready has room for 256.)
    /// - on a regular-looking file that has a size and whose reads wait all the same;
    /// - while the disk or server of a file does not respond;
    /// - while another process holds the lock of a pipe: it writes to the pipe from memory whose pages come
    ///   from a FUSE file or a `userfaultfd`.
    ///
    /// With `progress` and a small [`chunk`](Self::chunk), each piece that is written to a FIFO takes a slot of its
    /// own.
    pub const fn deadline(self, deadline: Deadline<'p>) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Forbids passing pages by reference: the bytes arrive as they were when they were read from the source.
    pub const fn copy_semantics(self) -> Self {
        Self { copy_semantics: true, ..self }
    }

    /// Grows each end that is a pipe to 256 KiB, unless it is larger. A pipe that the kernel does not let grow stays
    /// as it is. The capacity remains after the transfer.
    ///
    /// The two sides of a pipe of the default 64 KiB often wait for each other: a larger one can be twice as fast and
    /// more. This is not the default, because all pipes of a user together have a limit of 64 MiB
    /// (`/proc/sys/fs/pipe-user-pages-soft`, in pages). That is 256 pipes of 256 KiB, and later ones are tiny.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::transfer::Transfer;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let exe = std::fs::File::open("/proc/self/exe")?;
    /// Transfer::new().limit(10_000).grow_pipes().run(&exe, &writer)?;
    /// assert!(reader.capacity()? >= 64 << 10); // 256 KiB, if that was granted
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn grow_pipes(self) -> Self {
        Self { grow_pipes: true, ..self }
    }

    /// Sets how to wait for the peer of a pipe, if the mechanism is [`Splice`](TransferMechanism::Splice). The other
    /// mechanisms always sleep.
    pub const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Moves the bytes.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] with the side that failed, the bytes that arrived, those in flight, and
    ///
    /// - an error of `read` on the source or of `write` on the sink, such as
    ///   [`ECONNRESET`](crate::Errno::ECONNRESET), [`EPIPE`](crate::Errno::EPIPE) or
    ///   [`ENOSPC`](crate::Errno::ENOSPC). Bytes that the sink did not accept are
    ///   [in the error](TransferError::undelivered), even if the source is a pipe or a
    ///   file;
    /// - [`EBADF`](crate::Errno::EBADF), before the first byte: it is not open, or not for this direction;
    /// - [`EINVAL`](crate::Errno::EINVAL) on the sink, before the first byte: what is written there comes back as
    ///   something to read. Both are the same pipe; or they are the same file, and the sink appends or its position is
    ///   not before the source's. With [`exact`](Self::exact) or [`limit`](Self::limit) only a sink whose position is
    ///   within the bytes to read and before the end of the file is an error;
    /// - [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) on the sink: the mechanisms that are left
    ///   [without](Self::without) the excluded ones do not work with these two. Bytes that
    ///   [`Broker`](TransferMechanism::Broker) has taken by then are in the error;
    /// - [`ENOMEM`](crate::Errno::ENOMEM): no memory for the buffer of [`Copy`](TransferMechanism::Copy);
    /// - [`ENOSYS`](crate::Errno::ENOSYS), [`EPERM`](crate::Errno::EPERM) or another error of a filter, on
    ///   the sink and before the first byte: `SIGPIPE` cannot be blocked;
    /// - [`ETIMEDOUT`](crate::Errno::ETIMEDOUT): the deadline has passed, or
    ///   [`ECANCELED`](crate::Errno::ECANCELED): it was [cancelled](crate::Cancel);
    /// - none: the source ended before the [exact](Self::exact) number of bytes.
    pub fn run(self, from: impl AsFd, to: impl AsFd) -> Result<Transferred, TransferError> {
        let _no_sigpipe = self.no_sigpipe()?;
        let deadline = self.deadline.is_some();
        let from = End::new(from.as_fd(), Side::Source, deadline);
        let to = End::new(to.as_fd(), Side::Sink, deadline);
        engine::Engine::new(self, from, to).run()
    }

    /// Keeps calls of this thread from raising `SIGPIPE`, unless that was requested.
    fn no_sigpipe(&self) -> Result<Option<sigpipe::Guard>, TransferError> {
        let guard = (!self.raise_sigpipe).then(sigpipe::Guard::new).transpose();
        guard.map_err(|errno| TransferError::before(Side::Sink, errno))
    }

    /// Runs the transfer for a caller that has the guard already. One end is a private pipe.
    fn run_own(
        mut self,
        own: Side,
        from: End<'_>,
        to: End<'_>,
    ) -> Result<Transferred, TransferError> {
        self.own = Some(own);
        engine::Engine::new(self, from, to).run()
    }
}

impl fmt::Debug for Transfer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("most", &self.most)
            .field("exact", &self.exact)
            .field("raise_sigpipe", &self.raise_sigpipe)
            .field("chunk", &self.chunk)
            .field("deadline", &self.deadline)
            .field("copy_semantics", &self.copy_semantics)
            .field("grow_pipes", &self.grow_pipes)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
