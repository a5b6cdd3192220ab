//! Passes halves to other programs. These halves use sealed files instead of inherited memory.
//!
//! # Safety
//!
//! This file upholds no invariant. `SharedWriter::from_parts` and `trust` are unsafe to call, because their
//! callers must guarantee the behaviour of the other program.
#![allow(unsafe_code, reason = "functions that are unsafe to call")]

use super::half::Half;
use super::link::{Ends, Memory, bells};
use super::ring::{FORMAT, MOST, size};
use super::{SharedBuilder, SharedReader, SharedWriter};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::map::{self, Cells};
use crate::sys::{abi, call, page};
use crate::{Deadline, Errno, Result, Wait, io};
use core::sync::atomic::Ordering;

impl SharedBuilder {
    /// Builds a pair whose reader will be used by another program. Returns the four descriptors that the
    /// program needs, and the writer.
    ///
    /// Pass the descriptors to the program in this order with
    /// [`Command::fd_map`](crate::process::Command::fd_map), and close them in this process. While these
    /// descriptors are open in this process, the writer does not detect that the other program has ended. The
    /// other program calls [`SharedCopier::from_parts`].
    ///
    /// The other program can map the ring only for reading. The kernel rejects every write by that program to
    /// the ring, so the program need not be trusted. It can read chunks while they are being filled,
    /// including bytes that are never sent. A forked child of this process cannot use the writer (`EBUSY`).
    ///
    /// # Errors
    ///
    /// Fails as [`build`](Self::build) does, but needs six descriptors at the same time. Also fails with
    ///
    /// - [`EFBIG`](Errno::EFBIG) if the ring is larger than `RLIMIT_FSIZE`.
    /// - [`EINVAL`](Errno::EINVAL) before Linux 5.1, because the kernel lacks `F_SEAL_FUTURE_WRITE`.
    /// - The filter's error if a filter rejects `memfd_create` or `fcntl`.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::shared::{SharedBuilder, SharedCopier};
    /// use rawpipe::Wait;
    ///
    /// let (parts, mut writer) = SharedBuilder::new().pass_reader()?;
    /// // In another program, after `take_inherited` for each of the four descriptors:
    /// let mut reader = SharedCopier::from_parts(parts, Wait::Block)?;
    ///
    /// writer.chunk()?[..5].copy_from_slice(b"hello");
    /// writer.send(5)?;
    /// let mut buf = [0; 65536];
    /// assert_eq!(reader.recv(&mut buf)?, Some(5));
    /// assert_eq!(&buf[..5], b"hello");
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html)
    pub fn pass_reader(self) -> Result<([OwnedFd; 4], SharedWriter)> {
        let (parts, half) = self.pass()?;
        Ok((parts, SharedWriter { half }))
    }

    /// Builds a pair whose writer will be used by another program. Returns the four descriptors that the
    /// program needs, and the reader. Pass the descriptors to the program as described for
    /// [`pass_reader`](Self::pass_reader).
    ///
    /// The other program calls [`SharedWriter::from_parts`]. That program can change bytes after it has sent
    /// them. This reader therefore copies each record, unless the caller [trusts](SharedCopier::trust) the
    /// program.
    ///
    /// # Errors
    ///
    /// Fails as [`pass_reader`](Self::pass_reader) does, but never with `EINVAL`.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::shared::{SharedBuilder, SharedWriter};
    /// use rawpipe::Wait;
    ///
    /// let (parts, mut reader) = SharedBuilder::new().pass_writer()?;
    /// // In another program, after `take_inherited` for each of the four descriptors:
    /// // SAFETY: they come from `pass_writer`, and no other program has them.
    /// let mut writer = unsafe { SharedWriter::from_parts(parts, Wait::Block) }?;
    ///
    /// writer.chunk()?[..5].copy_from_slice(b"hello");
    /// writer.send(5)?;
    /// let mut buf = [0; 65536];
    /// assert_eq!(reader.recv(&mut buf)?, Some(5));
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    pub fn pass_writer(self) -> Result<([OwnedFd; 4], SharedCopier)> {
        let (parts, half) = self.pass()?;
        Ok((parts, SharedCopier(SharedReader { half, taken: 0 })))
    }

    /// Builds a pair. Returns the descriptors of one half, and the value of the other half.
    fn pass<const WRITER: bool>(self) -> Result<([OwnedFd; 4], Half<WRITER>)> {
        let len = self.ring_size().ok_or(Errno::ENOMEM)?.max(page::size());
        let control = map::file(c"rawpipe-control", page::size())?;
        let ring = map::file(c"rawpipe-ring", len)?;
        let cells = |len, file, writable| Cells::new(len, Some(file), writable, self.populate);
        let page = cells(page::size(), control.as_fd(), true)?;
        let memory = Memory::new(page, cells(len, ring.as_fd(), WRITER)?)?;
        memory.control().chunk.store(self.chunk, Ordering::Relaxed);
        memory.control().format.store(FORMAT, Ordering::Release);
        // If this process is the writer, this seal prevents every other process from mapping the ring for
        // writing. Otherwise the other program is the writer and needs that mapping.
        let writable = if WRITER { abi::F_SEAL_FUTURE_WRITE } else { 0 };
        call::fcntl_add_seals(ring.as_fd(), abi::F_SEAL_SEAL | writable)?;
        call::fcntl_add_seals(control.as_fd(), abi::F_SEAL_SEAL)?;
        let [reader, writer] = bells()?;
        let (kept, (heard, bell)) = if WRITER { (writer, reader) } else { (reader, writer) };
        let mut half = Half::new(Ends::new(memory, kept), self.chunk, self.wait);
        half.side.bind()?;
        Ok(([control, ring, heard.into(), bell.into()], half))
    }
}

/// Creates a half from the descriptors that another program has passed to this program.
fn adopt<const WRITER: bool>(parts: [OwnedFd; 4], wait: Wait) -> Result<Half<WRITER>> {
    let [control, ring, heard, bell] = parts;
    for pipe in [&heard, &bell] {
        if call::statx(pipe.as_fd())?.stx_mode & abi::S_IFMT != abi::S_IFIFO {
            return Err(Errno::EINVAL);
        }
        io::set_nonblocking(pipe, true)?;
    }
    // The seals are checked first, because the creator can truncate a file until its size is sealed.
    for file in [&control, &ring] {
        if call::fcntl_get_seals(file.as_fd())? & abi::F_SEAL_SHRINK == 0 {
            return Err(Errno::EPROTO);
        }
    }
    let [control_is, ring_is] = [call::statx(control.as_fd())?, call::statx(ring.as_fd())?];
    let len = usize::try_from(ring_is.stx_size).unwrap_or(usize::MAX);
    // Files with huge pages are rejected, because a huge page may be unavailable at its first access. A file
    // with huge pages is on a different device from a file of one page.
    let fits = control_is.stx_size == page::size() as u64
        && ring_is.stx_dev == control_is.stx_dev
        && len.is_power_of_two()
        && (page::size()..=MOST).contains(&len);
    if !fits {
        return Err(Errno::EPROTO);
    }
    let control = Cells::new(page::size(), Some(control.as_fd()), true, false)?;
    let ring = Cells::new(len, Some(ring.as_fd()), WRITER, false)?;
    let memory = Memory::new(control, ring)?;
    let format = memory.control().format.load(Ordering::Acquire);
    let chunk = memory.control().chunk.load(Ordering::Relaxed);
    if format != FORMAT || chunk == 0 || chunk > len || size(chunk) > len / 2 {
        return Err(Errno::EPROTO);
    }
    let mut half = Half::new(Ends::new(memory, (heard.into(), bell.into())), chunk, wait);
    half.side.bind()?;
    Ok(half)
}

impl SharedWriter {
    /// Creates the writer from the descriptors that [`pass_writer`](SharedBuilder::pass_writer) has returned
    /// in another program. Pass the descriptors in the same order.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if the first two descriptors are not files created by `memfd_create`, or
    ///   if the last two descriptors are not pipes.
    /// - [`EPROTO`](Errno::EPROTO) if the size of a file is not sealed, or if the files do not hold a pair in
    ///   this version's format. The format depends on the size of a pointer.
    /// - [`EPERM`](Errno::EPERM) if the descriptors were returned by
    ///   [`pass_reader`](SharedBuilder::pass_reader).
    /// - [`EBUSY`](Errno::EBUSY) if a process already uses the half or has dropped it.
    /// - [`ENOMEM`](Errno::ENOMEM) and [`EOPNOTSUPP`](Errno::EOPNOTSUPP) as for
    ///   [`build`](SharedBuilder::build).
    ///
    /// # Safety
    ///
    /// The descriptors must come from one call of [`pass_writer`](SharedBuilder::pass_writer) and be in the
    /// same order. Until the writer is dropped, no other writer may be created from these descriptors in any
    /// process. In any process, only this writer and the reader of the pair may write to the first two files
    /// or to a mapping of them.
    pub unsafe fn from_parts(parts: [OwnedFd; 4], wait: Wait) -> Result<Self> {
        adopt(parts, wait).map(|half| Self { half })
    }
}

/// Copies each record that another program sends, because that program can change the record at any time.
///
/// The copy is sound for any behaviour of that program. If the program is trusted, [`trust`](Self::trust)
/// avoids the copy.
///
/// The copier's [`AsFd`] works as described for [`SharedReader`](SharedReader#readiness).
#[derive(Debug)]
pub struct SharedCopier(SharedReader);

impl SharedCopier {
    /// Creates the reader from the descriptors that [`pass_reader`](SharedBuilder::pass_reader) has returned
    /// in another program. Pass the descriptors in the same order.
    ///
    /// # Errors
    ///
    /// Fails as [`SharedWriter::from_parts`] does, but never with `EPERM`.
    pub fn from_parts(parts: [OwnedFd; 4], wait: Wait) -> Result<Self> {
        adopt(parts, wait).map(|half| Self(SharedReader { half, taken: 0 }))
    }

    /// Returns the maximum size of a record in bytes.
    #[must_use]
    pub const fn chunk_size(&self) -> usize {
        self.0.half.side.chunk
    }

    /// Waits for a record, copies it to the beginning of `buf`, and returns its size in bytes. `None` means
    /// end of file. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`SharedReader::recv`] does, and with
    ///
    /// - [`EMSGSIZE`](Errno::EMSGSIZE) if the record is longer than `buf`. The next call receives the record
    ///   again.
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.copy(buf, Some(Deadline::NEVER))
    }

    /// Copies the next record as [`recv`](Self::recv) does, but does not wait.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if no record is available.
    pub fn try_recv(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.copy(buf, None)
    }

    /// Copies the next record as [`recv`](Self::recv) does, but waits only until `deadline`.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) if no record was sent before the deadline.
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before a record is
    ///   sent.
    pub fn recv_deadline(
        &mut self,
        buf: &mut [u8],
        deadline: Deadline<'_>,
    ) -> Result<Option<usize>> {
        self.copy(buf, Some(deadline))
    }

    fn copy(&mut self, buf: &mut [u8], until: Option<Deadline<'_>>) -> Result<Option<usize>> {
        if !self.0.fill(until)? {
            return Ok(None);
        }
        let side = &mut self.0.half.side;
        let len = side.lent.len;
        side.copy_to(buf.get_mut(..len).ok_or(Errno::EMSGSIZE)?);
        side.give_back();
        Ok(Some(len))
    }

    /// Returns a reader that lends the records in place.
    ///
    /// # Safety
    ///
    /// The descriptors must come from one call of [`pass_reader`](SharedBuilder::pass_reader) or
    /// [`pass_writer`](SharedBuilder::pass_writer). Until the reader is dropped, no other reader may be
    /// created from these descriptors in any process. In any process, only this reader and one
    /// [`SharedWriter`] of the pair may write to the first two files or to a mapping of them.
    #[must_use]
    pub unsafe fn trust(self) -> SharedReader {
        self.0
    }
}

impl AsFd for SharedCopier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
