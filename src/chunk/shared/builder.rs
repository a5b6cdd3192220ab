//! Configures and builds pairs.
//!
//! # Safety
//!
//! This file upholds no invariant. The functions that fork are unsafe to call.
#![allow(unsafe_code, reason = "fork is unsafe to call")]

use super::half::Half;
use super::link::{Ends, Memory, bells};
use super::ring::{Control, MOST, size};
use super::{SharedReader, SharedWriter};
use crate::process::{Child, fork_with};
use crate::sys::map::Cells;
use crate::{Errno, Result, Wait};

/// Configures and builds a pair of halves.
///
/// # Examples
///
/// ```
/// use rawpipe::chunk::shared::SharedBuilder;
/// use rawpipe::Wait;
///
/// let builder = SharedBuilder::new().chunk(4096).ring(1 << 20).wait(Wait::Adaptive).populate();
/// let (mut reader, mut writer) = builder.build()?;
/// assert_eq!(writer.chunk()?.len(), 4096);
/// writer.send(4096)?;
/// assert_eq!(reader.recv()?.unwrap().len(), 4096);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder makes no pair until `build` is called"]
pub struct SharedBuilder {
    pub(super) chunk: usize,
    ring: usize,
    pub(super) wait: Wait,
    pub(super) populate: bool,
}

impl SharedBuilder {
    /// Returns a builder with chunks of 64 KiB and [`Wait::Block`]. By default, the ring has the size of four
    /// chunks or 2 MiB, whichever is larger, rounded up to a power of two.
    pub const fn new() -> Self {
        Self { chunk: 64 << 10, ring: 0, wait: Wait::Block, populate: false }
    }

    /// Sets the size of a chunk in bytes, which is the maximum size of a record. 0 counts as 1.
    ///
    /// A record that is shorter than a chunk occupies only its own size plus 8 bytes in the ring, rounded up
    /// to a multiple of 16 bytes. Chunks and records are aligned to 16 bytes.
    pub const fn chunk(self, bytes: usize) -> Self {
        Self { chunk: if bytes == 0 { 1 } else { bytes }, ..self }
    }

    /// Sets the size of the ring in bytes. The size is raised if two chunks do not fit, and is then rounded
    /// up to a power of two. 0 selects the default size.
    ///
    /// With a larger ring, both halves can run for a longer time before one of them must wait. However, a
    /// ring that is larger than the processor's cache is slower than a ring that fits into the cache.
    pub const fn ring(self, bytes: usize) -> Self {
        Self { ring: bytes, ..self }
    }

    /// Sets the waiting policy of both halves. With [`Wait::Adaptive`], a half may poll the memory about two
    /// thousand times before it sleeps.
    pub const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Allocates the memory when the pair is built, as far as memory is available. By default each
    /// page is allocated on first use.
    pub const fn populate(self) -> Self {
        Self { populate: true, ..self }
    }

    /// Builds the pair and returns `(reader, writer)`.
    ///
    /// # Errors
    ///
    /// On error, no new descriptor and no new mapping remains.
    ///
    /// - [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE) as for [`pipe()`](crate::pipe()). A pair has
    ///   four descriptors.
    /// - [`ENOMEM`](Errno::ENOMEM) if the ring is larger than `RLIMIT_AS`, the overcommit limit or the
    ///   address space permits, or if the kernel lacks memory.
    /// - [`EOPNOTSUPP`](Errno::EOPNOTSUPP) if the kernel lacks `MADV_WIPEONFORK` (before Linux 4.14), if a
    ///   filter rejects `madvise`, or if a user-mode emulator accepts any advice. Without this support the
    ///   crate cannot distinguish a forked child from its parent.
    pub fn build(self) -> Result<(SharedReader, SharedWriter)> {
        let ring = self.ring_size().ok_or(Errno::ENOMEM)?;
        let cells = |len| Cells::new(len, None, true, self.populate);
        let memory = Memory::new(cells(size_of::<Control>())?, cells(ring)?)?;
        let [reader_bells, writer_bells] = bells()?;
        let ends = Ends::new(memory, reader_bells);
        let writer = Half::new(ends.other(writer_bells), self.chunk, self.wait);
        let reader = Half::new(ends, self.chunk, self.wait);
        Ok((SharedReader { half: reader, taken: 0 }, SharedWriter { half: writer }))
    }

    /// Returns the size of the ring, or `None` if the chunk or the ring is too large. The size is a power of
    /// two and at most a quarter of the range of positions. The ring is at least twice as large as a chunk
    /// with its header. An empty ring therefore always has room for a chunk, even if the end of the ring is
    /// skipped.
    pub(super) fn ring_size(self) -> Option<usize> {
        let least =
            if self.ring == 0 { self.chunk.checked_mul(4)?.max(2 << 20) } else { self.ring };
        let limit = isize::MAX as usize / 4;
        let fits = self.chunk < limit && least < limit;
        let ring = fits.then(|| least.max(2 * size(self.chunk)).next_power_of_two());
        ring.filter(|&ring| ring <= MOST)
    }

    /// Builds a pair, forks a child that runs `body` with the reader, and returns the writer.
    ///
    /// Neither process keeps a copy of its peer's half. Each process therefore detects when its peer ends,
    /// even if the peer is killed. Children that are forked later inherit a copy of the parent's half. While
    /// these later children run, the child with the reader detects that the parent has dropped its half, but
    /// not that the parent was killed. The child exits with the value that `body` returns, as with
    /// [`fork_with`].
    ///
    /// # Errors
    ///
    /// Fails as [`build`](Self::build) and [`fork`](crate::fork()) do.
    ///
    /// # Safety
    ///
    /// The contract of [`fork_with`] applies.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::shared::SharedBuilder;
    ///
    /// // SAFETY: the child only receives.
    /// let (mut child, mut writer) = unsafe {
    ///     SharedBuilder::new().fork_reader(|mut reader| {
    ///         let mut sum = 0;
    ///         while let Ok(Some(chunk)) = reader.recv() {
    ///             sum += chunk.iter().filter(|&&byte| byte == 1).count();
    ///         }
    ///         u8::from(sum != 10 * 65536)
    ///     })
    /// }?;
    /// for _ in 0..10 {
    ///     writer.chunk()?.fill(1);
    ///     writer.send(65536)?;
    /// }
    /// drop(writer);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html)
    pub unsafe fn fork_reader<F>(self, body: F) -> Result<(Child, SharedWriter)>
    where
        F: FnOnce(SharedReader) -> u8,
    {
        let (mut reader, mut writer) = self.build()?;
        writer.half.side.claim()?;
        let body = move || {
            // If the memory is corrupt, this call fails, and so does the first call in `body`.
            let _ = reader.half.side.claim();
            body(reader)
        };
        // SAFETY: the caller upholds the same contract.
        unsafe { fork_between(writer, body) }
    }

    /// Builds a pair, forks a child that runs `body` with the writer, and returns the reader. In all other
    /// respects this function behaves as [`fork_reader`](Self::fork_reader) does.
    ///
    /// # Errors
    ///
    /// Fails as [`build`](Self::build) and [`fork`](crate::fork()) do.
    ///
    /// # Safety
    ///
    /// The contract of [`fork_with`] applies.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::shared::SharedBuilder;
    ///
    /// // SAFETY: the child only sends.
    /// let (mut child, mut reader) = unsafe {
    ///     SharedBuilder::new().fork_writer(|mut writer| match writer.chunk() {
    ///         Ok(chunk) => {
    ///             chunk[..5].copy_from_slice(b"hello");
    ///             u8::from(writer.send(5).is_err())
    ///         }
    ///         Err(_) => 1,
    ///     })
    /// }?;
    /// assert_eq!(&*reader.recv()?.unwrap(), b"hello");
    /// assert!(reader.recv()?.is_none());
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html)
    pub unsafe fn fork_writer<F>(self, body: F) -> Result<(Child, SharedReader)>
    where
        F: FnOnce(SharedWriter) -> u8,
    {
        let (mut reader, mut writer) = self.build()?;
        reader.half.side.claim()?;
        let body = move || {
            let _ = writer.half.side.claim();
            body(writer)
        };
        // SAFETY: the caller upholds the same contract.
        unsafe { fork_between(reader, body) }
    }

    /// Builds two pairs, one for each direction, and forks a child that runs `body` with the child's reader
    /// and writer. Returns the parent's reader and writer. In all other respects this function behaves as
    /// [`fork_reader`](Self::fork_reader) does.
    ///
    /// With [`Wait::Adaptive`] and a separate processor for each process, a request and its reply take about
    /// one microsecond.
    ///
    /// # Errors
    ///
    /// Fails as [`build`](Self::build) and [`fork`](crate::fork()) do.
    ///
    /// # Safety
    ///
    /// The contract of [`fork_with`] applies.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Wait;
    /// use rawpipe::chunk::shared::SharedBuilder;
    ///
    /// let builder = SharedBuilder::new().chunk(64).wait(Wait::Adaptive);
    /// // SAFETY: the child receives and sends.
    /// let (mut child, mut replies, mut requests) = unsafe {
    ///     builder.fork_duplex(|mut requests, mut replies| {
    ///         while let Ok(Some(request)) = requests.recv() {
    ///             let reply = request[0] + 1;
    ///             let sent = replies.chunk().map(|chunk| chunk[0] = reply);
    ///             if sent.and_then(|()| replies.send(1)).is_err() {
    ///                 return 1;
    ///             }
    ///         }
    ///         0
    ///     })
    /// }?;
    /// for request in 0..100 {
    ///     requests.chunk()?[0] = request;
    ///     requests.send(1)?;
    ///     assert_eq!(*replies.recv()?.unwrap(), [request + 1]);
    /// }
    /// drop(requests);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html)
    pub unsafe fn fork_duplex<F>(self, body: F) -> Result<(Child, SharedReader, SharedWriter)>
    where
        F: FnOnce(SharedReader, SharedWriter) -> u8,
    {
        let (mut their_reader, mut writer) = self.build()?;
        let (mut reader, mut their_writer) = self.build()?;
        reader.half.side.claim()?;
        writer.half.side.claim()?;
        let body = move || {
            let _ = their_reader.half.side.claim();
            let _ = their_writer.half.side.claim();
            body(their_reader, their_writer)
        };
        // SAFETY: the caller upholds the same contract.
        let (child, (reader, writer)) = unsafe { fork_between((reader, writer), body) }?;
        Ok((child, reader, writer))
    }
}

/// Forks a child that drops `kept` and runs `body`. In the parent, drops the values that `body` owns, and
/// returns the child's handle together with `kept`.
///
/// # Safety
///
/// The contract of [`fork_with`] applies.
unsafe fn fork_between<Half>(kept: Half, body: impl FnOnce() -> u8) -> Result<(Child, Half)> {
    let mut kept = Some(kept);
    let child = || {
        drop(kept.take());
        body()
    };
    // SAFETY: the caller upholds the same contract.
    let child = unsafe { fork_with(child) }?;
    // The child has taken `kept` only from its own copy of this memory.
    kept.map(|kept| (child, kept)).ok_or(Errno::ECHILD)
}

impl Default for SharedBuilder {
    fn default() -> Self {
        Self::new()
    }
}
