//! Passes halves to other programs, in sealed files instead of inherited memory.
//!
//! # Safety
//!
//! This file upholds no invariant of its own. `from_parts` and `trust` are unsafe to call: their callers
//! vouch for the other program.
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
    /// Builds a pair whose reader is for another program. Returns the four descriptors that the program needs,
    /// and the writer.
    ///
    /// Pass the descriptors on in this order with [`Command::fd_map`](crate::process::Command::fd_map), and close
    /// them in this process: while they are open here, the end of the other program is not detected. The
    /// program calls [`SharedCopier::from_parts`].
    ///
    /// The other program can map the ring for reading only. The kernel rejects any other access, so the program
    /// does not have to be trusted with its contents. It can see chunks while they are filled, and bytes that
    /// are filled and not sent. A forked child of this process cannot use the writer (`EBUSY`).
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), but with six descriptors at a time, and
    ///
    /// - [`EFBIG`](Errno::EFBIG) if the ring is larger than `RLIMIT_FSIZE`.
    /// - [`EINVAL`](Errno::EINVAL) before Linux 5.1, which lacks `F_SEAL_FUTURE_WRITE`.
    /// - The error of `memfd_create` or `fcntl` if a filter rejects it.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::shared::{SharedBuilder, SharedCopier};
    /// use rawpipe::Wait;
    ///
    /// let (parts, mut writer) = SharedBuilder::new().pass_reader()?;
    /// // In another program, after `take_inherited` of the four:
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

    /// Builds a pair whose writer is for another program. Returns the four descriptors that the program needs,
    /// and the reader. Pass the descriptors on as for [`pass_reader`](Self::pass_reader).
    ///
    /// The other program calls [`SharedWriter::from_parts`]. It can change bytes after it has sent them, so this
    /// reader copies each record, unless the caller [trusts](SharedCopier::trust) the program.
    ///
    /// # Errors
    ///
    /// As [`pass_reader`](Self::pass_reader), without `EINVAL`.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::chunk::shared::{SharedBuilder, SharedWriter};
    /// use rawpipe::Wait;
    ///
    /// let (parts, mut reader) = SharedBuilder::new().pass_writer()?;
    /// // In another program, after `take_inherited` of the four:
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

    /// Returns the parts of one half, and the other half.
    fn pass<const WRITER: bool>(self) -> Result<([OwnedFd; 4], Half<WRITER>)> {
        let len = self.ring_size().ok_or(Errno::ENOMEM)?.max(page::size());
        let control = map::file(c"rawpipe-control", page::size())?;
        let ring = map::file(c"rawpipe-ring", len)?;
        let cells = |len, file, writable| Cells::new(len, Some(file), writable, self.populate);
        let page = cells(page::size(), control.as_fd(), true)?;
        let memory = Memory::new(page, cells(len, ring.as_fd(), WRITER)?)?;
        memory.control().chunk.store(self.chunk, Ordering::Relaxed);
        memory.control().format.store(FORMAT, Ordering::Release);
        // From here on no other process can map the ring for writing, unless it gets the writer.
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

/// Returns the half that another program has passed on.
fn adopt<const WRITER: bool>(parts: [OwnedFd; 4], wait: Wait) -> Result<Half<WRITER>> {
    let [control, ring, heard, bell] = parts;
    for pipe in [&heard, &bell] {
        if call::statx(pipe.as_fd())?.stx_mode & abi::S_IFMT != abi::S_IFIFO {
            return Err(Errno::EINVAL);
        }
        io::set_nonblocking(pipe, true)?;
    }
    let [control_is, ring_is] = [call::statx(control.as_fd())?, call::statx(ring.as_fd())?];
    for file in [&control, &ring] {
        if call::fcntl_get_seals(file.as_fd())? & abi::F_SEAL_SHRINK == 0 {
            return Err(Errno::EPROTO);
        }
    }
    let len = usize::try_from(ring_is.stx_size).unwrap_or(usize::MAX);
    // Huge pages can be missing when they are touched. Their files are on another device, and larger than a page.
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
    /// in another program, in the same order.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if the first two are not files of `memfd_create`, or the others not pipes.
    /// - [`EPROTO`](Errno::EPROTO) if another version of the crate has created them, or a program with pointers
    ///   of another size.
    /// - [`EPERM`](Errno::EPERM) if they come from [`pass_reader`](SharedBuilder::pass_reader).
    /// - [`EBUSY`](Errno::EBUSY) if another process uses the half.
    /// - [`EMFILE`](Errno::EMFILE), [`ENOMEM`](Errno::ENOMEM) and [`EOPNOTSUPP`](Errno::EOPNOTSUPP) as for
    ///   [`build`](SharedBuilder::build).
    ///
    /// # Safety
    ///
    /// The descriptors come from one call of [`pass_writer`](SharedBuilder::pass_writer), in its order. Until the
    /// writer is dropped, no other writer is created from them, in any process. No other code, in this process or
    /// another, writes to the first two files or to a mapping of them, except the reader of the pair.
    pub unsafe fn from_parts(parts: [OwnedFd; 4], wait: Wait) -> Result<Self> {
        adopt(parts, wait).map(|half| Self { half })
    }
}

/// Copies each record that another program sends, because that program can change it at any time.
///
/// The copy is sound whatever the program does. If the program is trusted, [`trust`](Self::trust) avoids the
/// copy.
///
/// For its [`AsFd`] see [`SharedReader`](SharedReader#readiness).
#[derive(Debug)]
pub struct SharedCopier(SharedReader);

impl SharedCopier {
    /// Creates the reader from the descriptors that [`pass_reader`](SharedBuilder::pass_reader) has returned in
    /// another program, in the same order.
    ///
    /// # Errors
    ///
    /// As [`SharedWriter::from_parts`], without `EPERM`.
    pub fn from_parts(parts: [OwnedFd; 4], wait: Wait) -> Result<Self> {
        adopt(parts, wait).map(|half| Self(SharedReader { half, taken: 0 }))
    }

    /// Returns the greatest size of a record in bytes.
    #[must_use]
    pub const fn chunk_size(&self) -> usize {
        self.0.half.side.chunk
    }

    /// Waits for a record, copies it to the beginning of `buf`, and returns its size in bytes. `None` is end of
    /// file. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`SharedReader::recv`] does, and with
    ///
    /// - [`EMSGSIZE`](Errno::EMSGSIZE) if the record is longer than `buf`. The next call receives it again.
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.copy(buf, Some(Deadline::NEVER))
    }

    /// Copies the next record as [`recv`](Self::recv) does, without waiting.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if no record is available.
    pub fn try_recv(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.copy(buf, None)
    }

    /// Copies the next record as [`recv`](Self::recv) does, and waits until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// Fails as [`recv`](Self::recv) does, and with
    ///
    /// - [`ETIMEDOUT`](Errno::ETIMEDOUT) if no record was sent before the deadline.
    /// - [`ECANCELED`](Errno::ECANCELED) if the deadline is [cancelled](crate::Cancel) before.
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
    /// The descriptors come from one call of [`pass_reader`](SharedBuilder::pass_reader) or
    /// [`pass_writer`](SharedBuilder::pass_writer). Until the reader is dropped, no other reader is created from
    /// them, in any process. No code, in this process or another, writes to the first two files or to a mapping
    /// of them, except this reader and one [`SharedWriter`] of the pair.
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
