//! Making a pair.
//!
//! # Safety
//!
//! This file is trusted with nothing of its own: who forks answers for what the child does.
#![allow(unsafe_code, reason = "fork is unsafe to call")]

use super::half::Half;
use super::link::{Ends, Memory, bells};
use super::ring::{Control, size};
use super::{SharedReader, SharedWriter};
use crate::process::{Child, fork_with};
use crate::sys::map::Cells;
use crate::wait::Wait;
use crate::{Errno, Result};

/// Makes a pair step by step.
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
    /// Chunks of 64 KiB, a ring of 1 MiB or 8 chunks, whichever is more, and waiting asleep.
    pub const fn new() -> Self {
        Self { chunk: 64 << 10, ring: 0, wait: Wait::Block, populate: false }
    }

    /// Sets the size of a chunk in bytes, the most that a record has; 0 counts as 1.
    ///
    /// A record of fewer bytes takes only as much of the ring as it has, rounded up to 64 bytes.
    pub const fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// Sets the size of the ring in bytes. It is raised to what two chunks need, and then to a power of two.
    ///
    /// Larger rings let both sides run on for longer before one is woken; those that outgrow the
    /// processor's cache are slower.
    pub const fn ring(mut self, bytes: usize) -> Self {
        self.ring = bytes;
        self
    }

    /// Sets how both halves wait. With [`Wait::Adaptive`] they look at the memory some hundred times
    /// before they sleep.
    pub const fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Gets the memory now, as far as there is enough, and not page by page as the first lap of the ring
    /// touches it.
    pub const fn populate(mut self) -> Self {
        self.populate = true;
        self
    }

    /// Makes the pair: `(reader, writer)`.
    ///
    /// # Errors
    ///
    /// Nothing is left behind.
    ///
    /// - [`EMFILE`](Errno::EMFILE), [`ENFILE`](Errno::ENFILE) as for [`pipe()`](crate::pipe()): a pair has
    ///   four descriptors.
    /// - [`ENOMEM`](Errno::ENOMEM) if the ring is larger than `RLIMIT_AS`, the overcommit limit or the address
    ///   space allows.
    /// - [`EOPNOTSUPP`](Errno::EOPNOTSUPP) if `MADV_WIPEONFORK` is not supported: before Linux 4.14, in
    ///   emulators of user programs, or if a filter rejects it. Without it a forked child could not be told
    ///   from its parent.
    pub fn build(self) -> Result<(SharedReader, SharedWriter)> {
        let ring = self.ring_size().ok_or(Errno::ENOMEM)?;
        let cells = |len| Cells::new(len, None, true, self.populate);
        let memory = Memory::new(cells(size_of::<Control>())?, cells(ring)?)?;
        let [reader_bells, writer_bells] = bells()?;
        let ends = Ends::new(memory, reader_bells);
        let writer = Half::new(ends.other(writer_bells), self.wait);
        let reader = Half::new(ends, self.wait);
        Ok((
            SharedReader { half: reader, taken: 0 },
            SharedWriter { half: writer, chunk: self.chunk },
        ))
    }

    /// Room for two chunks of which one was skipped; a power of two, of which two are never half of all
    /// positions.
    pub(super) fn ring_size(self) -> Option<usize> {
        let least =
            if self.ring == 0 { self.chunk.checked_mul(8)?.max(1 << 20) } else { self.ring };
        let limit = isize::MAX as usize / 4;
        (self.chunk < limit && least < limit)
            .then(|| least.max(2 * size(self.chunk)).next_power_of_two())
    }

    /// Makes a pair and a child that runs `body` with the reader, and returns the writer. No process keeps a
    /// copy of the other's half, so each sees when the other ends, also if it is killed.
    ///
    /// The child exits with what `body` returns, as with [`fork_with`].
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build) and [`fork`](crate::fork()).
    ///
    /// # Safety
    ///
    /// As [`fork_with`].
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
        let (reader, writer) = self.build()?;
        // SAFETY: passed on to the caller.
        unsafe { fork_between(writer, move || body(reader)) }
    }

    /// Makes a pair and a child that runs `body` with the writer, and returns the reader, as
    /// [`fork_reader`](Self::fork_reader).
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build) and [`fork`](crate::fork()).
    ///
    /// # Safety
    ///
    /// As [`fork_with`].
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
        let (reader, writer) = self.build()?;
        // SAFETY: passed on to the caller.
        unsafe { fork_between(reader, move || body(writer)) }
    }

    /// Makes two pairs, one for each direction, and a child that runs `body` with its reader and its writer, as
    /// [`fork_reader`](Self::fork_reader). Returns the parent's reader and writer.
    ///
    /// With [`Wait::Adaptive`] a question and its answer take about a microsecond while both processes have a
    /// processor of their own.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build) and [`fork`](crate::fork()).
    ///
    /// # Safety
    ///
    /// As [`fork_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Wait;
    /// use rawpipe::chunk::shared::SharedBuilder;
    ///
    /// let builder = SharedBuilder::new().chunk(64).wait(Wait::Adaptive);
    /// // SAFETY: the child receives and sends.
    /// let (mut child, mut answers, mut questions) = unsafe {
    ///     builder.fork_duplex(|mut questions, mut answers| {
    ///         while let Ok(Some(question)) = questions.recv() {
    ///             let answer = question[0] + 1;
    ///             let sent = answers.chunk().map(|chunk| chunk[0] = answer);
    ///             if sent.and_then(|()| answers.send(1)).is_err() {
    ///                 return 1;
    ///             }
    ///         }
    ///         0
    ///     })
    /// }?;
    /// for question in 0..100 {
    ///     questions.chunk()?[0] = question;
    ///     questions.send(1)?;
    ///     assert_eq!(*answers.recv()?.unwrap(), [question + 1]);
    /// }
    /// drop(questions);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html)
    pub unsafe fn fork_duplex<F>(self, body: F) -> Result<(Child, SharedReader, SharedWriter)>
    where
        F: FnOnce(SharedReader, SharedWriter) -> u8,
    {
        let (their_reader, writer) = self.build()?;
        let (reader, their_writer) = self.build()?;
        // SAFETY: passed on to the caller.
        let (child, (reader, writer)) =
            unsafe { fork_between((reader, writer), move || body(their_reader, their_writer)) }?;
        Ok((child, reader, writer))
    }
}

/// Drops `kept` in the child, and what `body` owns in the parent.
///
/// # Safety
///
/// As [`fork_with`].
unsafe fn fork_between<Half>(kept: Half, body: impl FnOnce() -> u8) -> Result<(Child, Half)> {
    let mut kept = Some(kept);
    let child = || {
        drop(kept.take());
        body()
    };
    // SAFETY: passed on to the caller.
    let child = unsafe { fork_with(child) }?;
    // The child has taken its copy, which is not this one.
    kept.map(|kept| (child, kept)).ok_or(Errno::ECHILD)
}

impl Default for SharedBuilder {
    fn default() -> Self {
        Self::new()
    }
}
