//! The input of a receiver: a descriptor and, for reading ahead, a buffer.

use super::Until;
use crate::event::PollEvents;
use crate::fd::{AsFd, BorrowedFd};
use crate::pipe::adaptive;
use crate::wait::{Spin, attempt_until};
use crate::{Result, io};
use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

/// The length of the buffer in bytes.
const LEN: usize = 16 << 10;

/// The offset of the buffer in its page-aligned block. Some processors copy slowly if the target's offset
/// within its page is a few bytes greater than the source's offset. For example, a body may start at a page
/// boundary in the pipe. Without this offset, that body would follow the message's 8-byte length, and would
/// be copied to page offset 8 of the block.
const START: usize = 64;
#[repr(align(4096))]
struct Block([u8; START + LEN]);

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LEN} bytes")
    }
}

#[derive(Debug)]
pub(super) struct Input<R> {
    pub(super) reader: R,
    pub(super) spin: Spin,
    /// The buffer, if the receiver reads ahead.
    block: Option<Box<Block>>,
    /// The range of the bytes in the buffer that were read but not yet consumed.
    unread: Range<usize>,
}

impl<R: AsFd> Input<R> {
    pub(super) const fn new(reader: R, spin: Spin) -> Self {
        Self { reader, spin, block: None, unread: 0..0 }
    }

    pub(super) fn read_ahead(&mut self) {
        self.block.get_or_insert_with(|| Box::new(Block([0; START + LEN])));
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block.0[self.unread.clone()])
    }

    /// Consumes the next message and returns its body, if the buffer contains the whole message and the body
    /// has at most `most` bytes.
    #[inline]
    pub(super) fn take_message(&mut self, most: usize) -> Option<&[u8]> {
        let unread = self.block.as_ref()?.0.get(self.unread.clone())?;
        let (header, rest) = unread.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*header)).ok().filter(|len| *len <= most)?;
        let message = rest.get(..len)?;
        self.unread.start += header.len() + len;
        Some(message)
    }

    /// Returns whether a read of `len` bytes bypasses the buffer and goes directly to its destination.
    pub(super) fn is_direct(&self, len: usize) -> bool {
        self.block.is_none() || self.unread.is_empty() && len >= LEN / 2
    }

    /// Reads up to `buf.len()` bytes, and waits for the first byte. A result of 0 means end of file.
    pub(super) fn read(&mut self, buf: &mut [u8], until: Until<'_>) -> Result<usize> {
        let direct = self.is_direct(buf.len());
        let Some(block) = self.block.as_mut().filter(|_| !direct) else {
            return read(&mut self.spin, self.reader.as_fd(), buf, until);
        };
        if self.unread.is_empty() {
            let (fd, ahead) = (self.reader.as_fd(), &mut block.0[START..]);
            self.unread = START..START + read(&mut self.spin, fd, ahead, until)?;
        }
        let count = buf.len().min(self.unread.len());
        buf[..count].copy_from_slice(&block.0[self.unread.start..][..count]);
        self.unread.start += count;
        Ok(count)
    }
}

fn read(spin: &mut Spin, fd: BorrowedFd<'_>, buf: &mut [u8], until: Until<'_>) -> Result<usize> {
    match until {
        Some(deadline) => io::read_deadline(fd, buf, deadline),
        None => attempt_until(fd, PollEvents::IN, None, || adaptive::read(spin, fd, buf)),
    }
}
