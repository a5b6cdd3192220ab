//! Moves bytes from any descriptor to any other descriptor. A transfer uses the fastest mechanism that the
//! kernel offers for the pair, and reports which mechanism it used.
//!
#![doc = include_str!("mechanisms.md")]
//!
//! # A silent peer
//!
//! A transfer delivers available bytes before it waits for more, so two processes can exchange requests and
//! replies through transfers. `splice` between a pipe and a socket holds the pipe's lock while it waits for
//! the socket. No signal reaches a process that waits for that lock. To wait for a socket, a transfer
//! therefore uses a private pipe ([`Broker`](TransferMechanism::Broker)). No other process needs its lock.
//!
//! # The end
//!
//! A source is at its end when a `read` returns 0. `splice` also returns 0 at the urgent mark of a TCP
//! connection and for some files of procfs. Unless `Copy` is [excluded](Transfer::without), a `read`
//! therefore confirms the end of every source except a pipe. A terminal reports its end (Ctrl-D) only once,
//! so the transfer does not read the terminal again afterwards. An empty datagram or record is not the end. A
//! seqpacket socket ends after the peer has closed its socket, or after either peer has shut down the
//! direction towards the transfer.
//!
//! # By reference
//!
//! `splice` and `sendfile` pass pages of a file to a pipe or socket by reference. A reader may therefore see
//! changes that were made to the file after the transfer. With [`Transfer::copy_semantics`], a transfer from
//! a file copies the bytes instead.
//!
//! # Packets and datagrams
//!
//! If a read is shorter than a packet of a [packet pipe](crate::message::packets), the packet's remaining
//! bytes are lost. Packets stay packets when they move from one pipe to another. The same loss can therefore
//! occur for the reader of the second pipe, even if that pipe is not a packet pipe.
//!
//! [`Copy`](TransferMechanism::Copy) reads one packet, datagram or record at a time, up to 256 KiB, and
//! writes it in one call. If a packet is longer than the permitted read, its remaining bytes are lost. Choose
//! [`chunk`](Transfer::chunk) and [`exact`](Transfer::exact) so that neither limit falls within a packet or
//! datagram.
//!
//! # Signals
//!
//! A transfer retries on `EINTR`. By default, a transfer raises no `SIGPIPE`. It blocks the signal for the
//! calling thread, and removes a pending `SIGPIPE` that the transfer has caused.
//!
#![doc = include_str!("ends.md")]
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

/// Moves bytes from `from` to `to` until end of file. This function is a [`Transfer`] without options.
///
/// Files are read and written at their current positions. The transfer waits for both ends even if they are
/// nonblocking.
///
/// # Errors
///
/// The [`TransferError`] holds the side that failed and the number of bytes that arrived. The error also
/// holds the bytes that were read but did not arrive. See [`Transfer::run`].
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
    /// The maximum number of bytes to move.
    most: Option<u64>,
    /// Set if moving fewer bytes is an error.
    exact: bool,
    /// One bit for each mechanism that is excluded.
    without: u8,
    raise_sigpipe: bool,
    chunk: Option<usize>,
    deadline: Option<Deadline<'p>>,
    copy_semantics: bool,
    grow_pipes: bool,
    wait: Wait,
    /// The end that is a private pipe, if any. No other process can wait for that pipe's lock.
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

    /// Moves exactly `bytes` and reads no further bytes from the source. The transfer fails if the source
    /// ends after fewer bytes. Replaces an earlier [`limit`](Self::limit).
    pub const fn exact(self, bytes: u64) -> Self {
        Self { most: Some(bytes), exact: true, ..self }
    }

    /// Moves at most `bytes`, as `head -c` does, and reads no further bytes from the source. The transfer
    /// also succeeds if the source ends after fewer bytes. Replaces an earlier [`exact`](Self::exact).
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

    /// Excludes a mechanism. Call this method again to exclude another mechanism.
    ///
    /// The next mechanism that fits the two descriptors replaces the excluded one. If no mechanism remains,
    /// or the kernel rejects the last one, the transfer fails with [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP)
    /// on the sink. Without [`Copy`](TransferMechanism::Copy), no `read` confirms the [end](self#the-end) of
    /// the source, and a stream of tracefs may lose bytes.
    ///
    /// # Examples
    ///
    /// This program copies a file so that the copy shares no blocks with the source:
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

    /// Allows the kernel to raise `SIGPIPE` if the sink has no reader, so that a filter program ends silently
    /// after its reader has ended. If the signal is ignored or handled, the transfer fails with `EPIPE`.
    ///
    /// Rust's runtime ignores `SIGPIPE`: restore the signal's default action first.
    pub const fn raise_sigpipe(self) -> Self {
        Self { raise_sigpipe: true, ..self }
    }

    /// Moves at most `bytes` between two calls of [`progress`](Self::progress). A value of 0 counts as 1. The
    /// default is 1 MiB. Chunks of less than 64 KiB are slower than larger chunks.
    ///
    /// With `progress` and a chunk of less than a page, the mechanism is [`Copy`](TransferMechanism::Copy),
    /// because each spliced piece occupies a whole slot of a pipe.
    ///
    /// With a [`deadline`](Self::deadline) and no `progress`, the chunk limits the number of bytes that are
    /// moved between two checks of the clock. A chunk of less than 64 KiB then counts as 64 KiB. Without a
    /// deadline and without `progress`, the chunk has no effect: one system call moves up to 2 GiB.
    pub const fn chunk(self, bytes: usize) -> Self {
        Self { chunk: Some(if bytes == 0 { 1 } else { bytes }), ..self }
    }

    /// Calls `progress` with the number of bytes that have arrived. The calls occur each time that all bytes
    /// read from the source have arrived, and after each signal while no bytes are in flight. Between two
    /// calls, the transfer moves at most one [`chunk`](Self::chunk), and [`Copy`](TransferMechanism::Copy)
    /// moves no more than 256 KiB.
    ///
    /// If `progress` returns `Break`, the transfer ends immediately with success, and all bytes that were
    /// read from the source have arrived. A signal therefore does not end the transfer while bytes are in
    /// flight and the sink accepts no bytes.
    pub fn progress(mut self, progress: &'p mut dyn FnMut(u64) -> ControlFlow<()>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Ends the transfer at `deadline`, with `ETIMEDOUT` on the side that is not ready.
    ///
    /// The deadline bounds only the time that the transfer spends waiting. Bytes that are ready are moved
    /// even after the deadline. A transfer with a deadline in the past therefore moves the bytes that can be
    /// moved immediately. To limit the duration of a transfer that does not wait, end it with
    /// [`progress`](Self::progress) or cancel it.
    ///
    /// If the deadline is [cancelled](crate::Cancel), the transfer fails with
    /// [`ECANCELED`](crate::Errno::ECANCELED). The failed side is the side that is not ready, or the source
    /// if both ends are ready. In the latter case, no bytes are in flight, and at most 1 MiB (or one
    /// [`chunk`](Self::chunk)) was moved after the cancel. A transfer that is cancelled before the start
    /// moves no bytes.
    ///
    /// The deadline holds for pipes, for sockets that were blocking at the start, and for every descriptor
    /// that stays nonblocking. Except in the cases below, other readers and writers of these descriptors do
    /// not affect the deadline. For a transfer from or to a blocking socket or device, the mechanism is
    /// [`Copy`](TransferMechanism::Copy). The reason is that `splice` may wait for that descriptor, and no
    /// flag prevents the wait. A nonblocking socket permits mechanisms that are faster than `Copy`.
    ///
    /// A blocking terminal is written byte by byte, because `poll` guarantees room for one byte only. A
    /// longer `write` sleeps until the terminal has accepted all bytes. Single bytes are slow: about 0.2 MB
    /// per second. A cancel then ends the transfer up to a second later, or sooner with a smaller
    /// [`chunk`](Self::chunk). A terminal that was opened with `O_NONBLOCK` is written at full speed. A file
    /// of size 0, such as `/proc/kmsg` or `trace_pipe`, is polled before it is read.
    ///
    /// The deadline does not hold in these cases:
    ///
    /// - *Another process* takes the data or room that `poll` has reported for a blocking terminal or device.
    ///   Before Linux 6.5, blocking sockets are also affected. An entry in the error queue of a blocking
    ///   socket has the same effect. For these descriptors, every call that the kernel offers may wait.
    /// - A blocking terminal processes its output, and its driver lacks the room for one processed byte (2
    ///   bytes for a newline, 8 for a tab). A ready pseudoterminal has room for 256 bytes.
    /// - A blocking terminal at the source is in raw mode with `VMIN` above 1 and `VTIME` above 0.
    /// - A blocking eventfd at the sink has room for the value 1, but not for the value that is written.
    /// - A regular file with a size other than 0 is not polled, although its reads can wait.
    /// - The disk or server of a file does not respond.
    /// - Another process holds the [lock of a pipe](crate::Deadline#a-peer-that-holds-the-pipe).
    ///
    /// With `progress` and a small [`chunk`](Self::chunk), each piece occupies a separate slot of a FIFO.
    pub const fn deadline(self, deadline: Deadline<'p>) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Forbids passing pages of a file by reference, so that later changes to the file do not affect the
    /// bytes that arrive.
    pub const fn copy_semantics(self) -> Self {
        Self { copy_semantics: true, ..self }
    }

    /// Enlarges each end that is a pipe to at least 256 KiB, if the kernel permits this change. The new
    /// capacity remains after the transfer.
    ///
    /// The reader and the writer of a pipe of 64 KiB often wait for each other, so a larger pipe can be more
    /// than twice as fast. Larger pipes are not the default, because all pipes of a user share a limit
    /// (`/proc/sys/fs/pipe-user-pages-soft`, in pages). The default limit of 64 MiB allows 256 pipes of
    /// 256 KiB, and any further pipes are tiny.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::transfer::Transfer;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let exe = std::fs::File::open("/proc/self/exe")?;
    /// Transfer::new().limit(10_000).grow_pipes().run(&exe, &writer)?;
    /// assert!(reader.capacity()? >= 64 << 10); // 256 KiB if the kernel has granted it
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn grow_pipes(self) -> Self {
        Self { grow_pipes: true, ..self }
    }

    /// Sets the policy for waiting for the peer of a pipe. The policy applies only to the mechanism
    /// [`Splice`](TransferMechanism::Splice): the other mechanisms always sleep.
    pub const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Moves the bytes.
    ///
    /// # Errors
    ///
    /// The [`TransferError`] holds the side that failed, the number of bytes that arrived, the bytes in
    /// flight, and one of these errors:
    ///
    /// - The error of the call that failed on the source or the sink, such as
    ///   [`ECONNRESET`](crate::Errno::ECONNRESET), [`EPIPE`](crate::Errno::EPIPE) or
    ///   [`ENOSPC`](crate::Errno::ENOSPC). Bytes that were read but that the sink did not accept are [in the
    ///   error](TransferError::undelivered), even if the source is a pipe or a file.
    /// - [`EBADF`](crate::Errno::EBADF), before the first byte, if an end is not open, or is not open for
    ///   reading (source) or writing (sink).
    /// - [`EINVAL`](crate::Errno::EINVAL) on the sink, before the first byte, if the transfer would read the
    ///   bytes that it has written. The error occurs if both ends are the same pipe. For two ends of one
    ///   file, the error occurs if the source's position is before the file's end, but not after the sink's
    ///   position. A sink in append mode writes at the file's end. With [`exact`](Self::exact) or
    ///   [`limit`](Self::limit), the error occurs only if the sink's position is also within the bytes to
    ///   read and before the file's end.
    /// - [`EOPNOTSUPP`](crate::Errno::EOPNOTSUPP) on the sink if only [excluded](Self::without) mechanisms
    ///   work with these two ends. The error holds the bytes that [`Broker`](TransferMechanism::Broker) has
    ///   already read.
    /// - [`ENOMEM`](crate::Errno::ENOMEM) if no memory is available for the buffer of `Copy`.
    /// - [`ENOSYS`](crate::Errno::ENOSYS), [`EPERM`](crate::Errno::EPERM) or another error that a filter
    ///   returns, on the sink and before the first byte, if `SIGPIPE` cannot be blocked.
    /// - [`ETIMEDOUT`](crate::Errno::ETIMEDOUT) if the deadline has passed, or
    ///   [`ECANCELED`](crate::Errno::ECANCELED) if the deadline was [cancelled](crate::Cancel).
    /// - The errno is `None` if the source ended before it had provided the [exact](Self::exact) number of
    ///   bytes. On the sink, the errno is `None` if a write accepted no bytes.
    pub fn run(self, from: impl AsFd, to: impl AsFd) -> Result<Transferred, TransferError> {
        let _no_sigpipe = self.no_sigpipe()?;
        let deadline = self.deadline.is_some();
        let from = End::new(from.as_fd(), Side::Source, deadline);
        let to = End::new(to.as_fd(), Side::Sink, deadline);
        engine::Engine::new(self, from, to).run()
    }

    /// Prevents calls of this thread from raising `SIGPIPE`, unless the caller has requested the signal.
    fn no_sigpipe(&self) -> Result<Option<sigpipe::Guard>, TransferError> {
        let guard = (!self.raise_sigpipe).then(sigpipe::Guard::new).transpose();
        guard.map_err(|errno| TransferError::before(Side::Sink, errno))
    }

    /// Runs the transfer for a caller that already holds the guard. The end on the side `own` is a private
    /// pipe.
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
