//! Owns the memory of a writer and hands its pages to a pipe by reference.
//!
//! # Safety
//!
//! This file is trusted to hand only pages of its own mapping to a pipe: see
//! [`chunk`](crate::chunk#why-this-is-sound).
#![allow(unsafe_code, reason = "vmsplice, of memory of its own")]

use super::ChunkMechanism;
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::{abi::SPLICE_F_NONBLOCK, call, map, map::Map};
use crate::{Errno, Result};
use core::{mem, ops::Range};

/// The marker's value in the process that created it. A wiped marker is 0.
const MADE_HERE: u8 = 1;

/// The memory of one writer.
#[derive(Debug)]
pub(super) struct Memory {
    map: Map,
    /// The mapping that was used before `map`. Its pages are released just before the mapping is used again.
    /// At that time, the pipe rarely holds any of these pages. This process therefore usually frees the pages
    /// itself, and the kernel can give the same pages to this process again. If a reader on another processor
    /// freed these pages, this process would receive pages that are not in its cache. Under a hypervisor,
    /// this process could even receive pages that the host has reclaimed.
    before: Option<Map>,
    /// The mapped file, with [`ChunkMechanism::Memfd`].
    file: Option<OwnedFd>,
    /// A page that the kernel wipes in a forked child. The value is `None` for plain writes: after a write,
    /// no pipe refers to the pages, so the child can use its own copy of them.
    marker: Option<Map>,
}

impl Memory {
    /// Maps at least `len` bytes for a mechanism. For all mechanisms except plain writes, also maps the
    /// marker.
    pub(super) fn new(mechanism: ChunkMechanism, len: usize) -> Result<Self> {
        if mechanism == ChunkMechanism::Write {
            return Ok(Self { map: Map::anonymous(len)?, before: None, file: None, marker: None });
        }
        let mut marker = Map::page()?;
        marker.wipe_on_fork()?;
        marker.bytes_mut()[0] = MADE_HERE;
        let (map, file) = pages(mechanism, len)?;
        Ok(Self { map, before: None, file, marker: Some(marker) })
    }

    /// Returns whether this process was forked after the memory was mapped, and must therefore not use the
    /// memory. Always returns `false` for plain writes.
    pub(super) fn is_forked(&self) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.bytes()[0] != MADE_HERE)
    }

    /// Releases the pages, now or at the next call of this function, and replaces them with new pages.
    pub(super) fn renew(&mut self) -> Result<()> {
        // A second mapping is used only if the memory is one huge page (2 MiB). A pipe of 1 MiB holds half of
        // a huge page, but at most a quarter of a larger mapping.
        let in_turns = self.file.is_none() && self.map.len() == map::HUGE;
        let discarded = match &mut self.before {
            Some(before) => before.discard(),
            None if in_turns || self.file.is_some() => Err(Errno::EINVAL),
            None => self.map.discard(),
        };
        if discarded.is_ok() {
            if let Some(before) = &mut self.before {
                mem::swap(&mut self.map, before);
            }
            return Ok(());
        }
        self.before = None;
        // A new mapping is needed if the second mapping does not yet exist, or if the pages cannot be
        // discarded. A file's pages hold the sent bytes, and the kernel does not discard locked pages
        // (`mlockall`).
        let mechanism =
            if self.file.is_some() { ChunkMechanism::Memfd } else { ChunkMechanism::Vmsplice };
        let (map, file) = pages(mechanism, self.map.len())?;
        let before = mem::replace(&mut self.map, map);
        self.before = in_turns.then_some(before);
        self.file = file;
        Ok(())
    }

    pub(super) const fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.map.bytes()[range]
    }

    pub(super) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.map.bytes_mut()[range]
    }

    /// Hands bytes to a pipe by reference and returns the number of bytes that the pipe has accepted. If
    /// `wait` is not set, fails with `EAGAIN` instead of waiting for room.
    pub(super) fn hand_over(
        &mut self,
        range: Range<usize>,
        pipe: BorrowedFd<'_>,
        wait: bool,
    ) -> Result<usize> {
        let flags = if wait { 0 } else { SPLICE_F_NONBLOCK };
        match &self.file {
            Some(file) => {
                let mut offset = u64::try_from(range.start).map_err(|_| Errno::EINVAL)?;
                call::splice(file.as_fd(), Some(&mut offset), pipe, None, range.len(), flags)
            }
            None => {
                // SAFETY: this value has mapped the pages for this purpose, and they never become other
                // memory (points 1 and 2 of the module's argument). The pool decides when the writer may
                // write to these pages again (points 3 and 4). If the descriptor has become a read end, the
                // call writes to the pages, which are borrowed exclusively (point 7).
                unsafe { call::vmsplice_mut(pipe, self.bytes_mut(range), flags) }
            }
        }
    }
}

fn pages(mechanism: ChunkMechanism, len: usize) -> Result<(Map, Option<OwnedFd>)> {
    if mechanism != ChunkMechanism::Memfd {
        let mut map = Map::anonymous(len)?;
        map.wipe_on_fork()?;
        return Ok((map, None));
    }
    let len = map::round_up(len, crate::sys::page::size())?;
    let file = map::file(c"rawpipe-chunks", len)?;
    Ok((Map::of_file(file.as_fd(), len)?, Some(file)))
}
