//! The buffer of a receiver that reads ahead.

use crate::event::PollEvents;
use crate::fd::BorrowedFd;
use crate::pipe::adaptive;
use crate::wait::{Spin, attempt_until};
use crate::{Deadline, io};
use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

/// Aligned to a page: processors copy slowly from a page to an address that is a few bytes off.
#[repr(align(4096))]
struct Block([u8; Self::LEN]);

impl Block {
    const LEN: usize = 16 << 10;
}

/// What was read from the descriptor and not received yet. Without a block, nothing is read ahead.
#[derive(Default)]
pub(super) struct Ahead {
    block: Option<Box<Block>>,
    unread: Range<usize>,
}

impl Ahead {
    pub(super) fn begin(&mut self) {
        self.block.get_or_insert_with(|| Box::new(Block([0; Block::LEN])));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block.0[self.unread.clone()])
    }

    /// Takes the next message, without its length, if the buffer has all of it and it has at most `most` bytes.
    #[inline]
    pub(super) fn take_message(&mut self, most: usize) -> Option<&[u8]> {
        let unread = self.block.as_ref()?.0.get(self.unread.clone())?;
        let (header, rest) = unread.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*header)).ok().filter(|len| *len <= most)?;
        let message = rest.get(..len)?;
        self.unread.start += header.len() + len;
        Some(message)
    }

    /// Reads up to `buf.len()` bytes, as [`read`] does, from the buffer if possible.
    pub(super) fn read(
        &mut self,
        spin: &mut Spin,
        fd: BorrowedFd<'_>,
        buf: &mut [u8],
        deadline: Option<Deadline<'_>>,
    ) -> crate::Result<usize> {
        let Some(bytes) = self.take(spin, fd, buf.len(), deadline)? else {
            return read(spin, fd, buf, deadline);
        };
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Takes up to `most` bytes from the buffer, which is filled first if it is empty; no bytes are the end of
    /// file. Returns `None` if the caller should read them into their destination.
    pub(super) fn take(
        &mut self,
        spin: &mut Spin,
        fd: BorrowedFd<'_>,
        most: usize,
        deadline: Option<Deadline<'_>>,
    ) -> crate::Result<Option<&[u8]>> {
        let Some(Block(bytes)) = self.block.as_deref_mut() else { return Ok(None) };
        if self.unread.is_empty() {
            if most >= Block::LEN / 2 {
                return Ok(None);
            }
            self.unread = 0..read(spin, fd, bytes, deadline)?;
        }
        let begin = self.unread.start;
        self.unread.start = self.unread.end.min(begin + most);
        Ok(Some(&bytes[begin..self.unread.start]))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

/// Reads up to `buf.len()` bytes, and waits for the first of them; 0 is the end of file.
fn read(
    spin: &mut Spin,
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    deadline: Option<Deadline<'_>>,
) -> crate::Result<usize> {
    match deadline {
        Some(deadline) => io::read_deadline(fd, buf, deadline),
        None => attempt_until(fd, PollEvents::IN, None, || adaptive::read(spin, fd, buf)),
    }
}
