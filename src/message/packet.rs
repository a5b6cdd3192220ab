//! Provides packet pipes (`O_DIRECT`) that report an error instead of silently losing bytes.

use crate::errno::retry;
use crate::fd::{AsFd, lends_its_descriptor};
use crate::io::{IoSliceMut, write_atomic_by};
use crate::pipe::{Builder, PIPE_BUF};
use crate::sys::{abi, call};
use crate::{Errno, PipeReader, PipeWriter, Result};

/// Creates a packet pipe whose ends are both close-on-exec.
///
/// # Errors
///
/// Fails as [`pipe`](crate::pipe()) does.
///
/// # Examples
///
/// ```
/// use rawpipe::message::packets;
///
/// let (reader, writer) = packets()?;
/// writer.send(b"first")?;
/// writer.send(b"second")?;
/// drop(writer);
///
/// let mut buf = [0; rawpipe::pipe::PIPE_BUF];
/// assert_eq!(reader.recv(&mut buf)?, Some(&b"first"[..]));
/// assert_eq!(reader.recv(&mut buf)?, Some(&b"second"[..]));
/// assert_eq!(reader.recv(&mut buf)?, None);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [O_DIRECT in pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html)
#[doc(alias = "O_DIRECT")]
pub fn packets() -> Result<(PacketReader, PacketWriter)> {
    let (reader, writer) = Builder::new().packet().build()?;
    Ok((PacketReader(reader), PacketWriter(writer)))
}

/// The read end of a packet pipe. A read that cuts a packet short fails with [`EMSGSIZE`](Errno::EMSGSIZE).
#[derive(Debug)]
pub struct PacketReader(PipeReader);

impl PacketReader {
    /// Receives a packet into a buffer that has room for any packet, and returns the packet. Returns
    /// `None` if the pipe is empty and has no writer. Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// Fails as [`recv_into`](Self::recv_into) does.
    pub fn recv<'b>(&self, buf: &'b mut [u8; PIPE_BUF]) -> Result<Option<&'b [u8]>> {
        let len = self.recv_into(buf)?;
        Ok(len.map(|len| &buf[..len]))
    }

    /// Receives a packet and returns its length in bytes, or `None` if the pipe is empty and has no writer.
    /// Retries on `EINTR`.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if this end is nonblocking and no packet is available.
    /// - [`EMSGSIZE`](Errno::EMSGSIZE) if the packet is longer than `buf`. The kernel discards the packet's
    ///   remaining bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::message::packets;
    ///
    /// let (reader, writer) = packets()?;
    /// writer.send(b"four")?;
    /// writer.send(b"sixsix")?;
    /// let mut buf = [0; 4];
    /// assert_eq!(reader.recv_into(&mut buf)?, Some(4));
    /// assert_eq!(reader.recv_into(&mut buf), Err(Errno::EMSGSIZE));
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn recv_into(&self, buf: &mut [u8]) -> Result<Option<usize>> {
        let room = buf.len();
        // The extra byte detects a packet that is too long for `buf`.
        let mut beyond = [0];
        let mut bufs = [IoSliceMut::new(buf), IoSliceMut::new(&mut beyond)];
        match retry(|| self.0.readv(&mut bufs))? {
            0 => Ok(None), // The kernel creates no empty packets.
            len if len > room => Err(Errno::EMSGSIZE),
            len => Ok(Some(len)),
        }
    }
}

impl From<PipeReader> for PacketReader {
    /// Converts the read end without a check, because only the write end shows whether a pipe is a packet
    /// pipe. If the pipe is not a packet pipe, the bytes that one read returns count as a packet.
    fn from(reader: PipeReader) -> Self {
        Self(reader)
    }
}

impl From<PacketReader> for PipeReader {
    fn from(reader: PacketReader) -> Self {
        reader.0
    }
}

lends_its_descriptor!(PacketReader);

/// The write end of a packet pipe.
#[derive(Debug)]
pub struct PacketWriter(PipeWriter);

impl PacketWriter {
    /// Converts a write end that is in packet mode, for instance one that this program has inherited.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`](Errno::EINVAL) if `writer` is not in packet mode.
    pub fn new(writer: PipeWriter) -> Result<Self> {
        let flags = call::fcntl_getfl(writer.as_fd())?;
        if flags & abi::O_DIRECT as usize == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self(writer))
    }

    /// Sends a packet of 1 to [`PIPE_BUF`] bytes. Waits until the pipe has room, unless this end is
    /// nonblocking. Retries on `EINTR`. Each packet occupies a slot (one page) of the pipe.
    ///
    /// # Errors
    ///
    /// - [`EAGAIN`](Errno::EAGAIN) if this end is nonblocking and the pipe has no room.
    /// - [`EINVAL`](Errno::EINVAL) if `packet` is empty. The kernel does not create empty packets.
    /// - [`EMSGSIZE`](Errno::EMSGSIZE) if `packet` has more than [`PIPE_BUF`] bytes. The kernel would split
    ///   it.
    /// - [`EPIPE`](Errno::EPIPE) if the pipe has no reader.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        if packet.is_empty() {
            return Err(Errno::EINVAL);
        }
        write_atomic_by(packet, |packet| self.0.write_nosignal(packet))
    }
}

impl From<PacketWriter> for PipeWriter {
    fn from(writer: PacketWriter) -> Self {
        writer.0
    }
}

lends_its_descriptor!(PacketWriter);
