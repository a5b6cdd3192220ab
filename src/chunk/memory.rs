//! The pages that a writer owns, and how they get into a pipe by reference.
//!
//! # Safety
//!
//! This file is trusted to hand only pages of its own mapping to a pipe; see
//! [`chunk`](crate::chunk#why-this-is-sound).
#![allow(unsafe_code, reason = "vmsplice, of memory of its own")]

use super::ChunkMechanism;
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::{abi::SPLICE_F_NONBLOCK, call, map, map::Map};
use crate::{Errno, Result};
use core::ops::Range;

/// What the marker holds in the process that made it. Wiped, it is 0.
const MADE_HERE: u8 = 1;

/// Memory of one writer.
#[derive(Debug)]
pub(super) struct Memory {
    map: Map,
    /// The file that is mapped, with [`ChunkMechanism::Memfd`].
    file: Option<OwnedFd>,
    /// A page that a forked child finds wiped; none for plain writes, after which nobody has a
    /// reference to the pages, so that the child's copy is as good as any memory.
    marker: Option<Map>,
}

impl Memory {
    /// At least `len` bytes.
    pub(super) fn new(mechanism: ChunkMechanism, len: usize) -> Result<Self> {
        if mechanism == ChunkMechanism::Write {
            return Ok(Self { map: Map::anonymous(len)?, file: None, marker: None });
        }
        let mut marker = Map::page()?;
        marker.wipe_on_fork()?;
        marker.bytes_mut()[0] = MADE_HERE;
        let (map, file) = pages(mechanism, len)?;
        Ok(Self { map, file, marker: Some(marker) })
    }

    /// Whether this is a child of the process that made it, so that it must be let go.
    pub(super) fn is_forked(&self) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.bytes()[0] != MADE_HERE)
    }

    /// Parts with the pages: from here on the memory is on new ones.
    pub(super) fn renew(&mut self) -> Result<()> {
        if self.file.is_none() && self.map.discard().is_ok() {
            return Ok(());
        }
        // A file's pages cannot be parted with, and locked ones (`mlockall`) are not discarded.
        let mechanism =
            if self.file.is_some() { ChunkMechanism::Memfd } else { ChunkMechanism::Vmsplice };
        (self.map, self.file) = pages(mechanism, self.map.len())?;
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

    /// Hands bytes to a pipe by reference and returns how many it took.
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
                // SAFETY: the pages are mapped by this value, for this purpose, and are nobody
                // else's memory now or later (point 1 and 2 of the module's argument); when the
                // writer may write to them again is the pool's to say (3 and 4).
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
