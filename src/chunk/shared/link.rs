//! Owns the resources of one half: the memory of the pair and the half's ends of the two pipes.
//!
//! # Safety
//!
//! This file is trusted to access words only as atomics, and to access no word inside a lent record. It is
//! also trusted to unmap the memory in a process only when the last half in that process is dropped. See
//! [`shared`](crate::chunk::shared#why-this-is-sound).
#![allow(unsafe_code, reason = "atomics in mapped memory")]

use super::ring::{Control, Link};
use crate::event::{PollEvents, PollFd, poll_until};
use crate::fd::AsFd;
use crate::io::write_nosignal;
use crate::pipe::{self, Capacity};
use crate::sys::{call, map::Cells};
use crate::{Deadline, Errno, PipeFlags, PipeReader, PipeWriter, Result};
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The mappings of a pair in one process.
#[derive(Debug)]
pub(super) struct Memory {
    control: Cells,
    pub(super) ring: Cells,
    /// The marks of the halves that this process uses. The kernel wipes the marks in a forked child.
    marks: Cells,
    /// The number of halves in this process. A forked child receives a copy of this count. The count is not
    /// an `Arc`, because a child forked from a program with threads must not free memory.
    holds: Cells,
}

impl Memory {
    /// Creates, for these mappings, the marks and a count of one half.
    pub(super) fn new(control: Cells, ring: Cells) -> Result<Self> {
        let memory = Self { control, ring, marks: Cells::marks()?, holds: Cells::page()? };
        word(&memory.holds, 0).store(1, Ordering::Relaxed);
        Ok(memory)
    }

    #[inline]
    pub(super) fn control(&self) -> &Control {
        let place = self.control.at(0, size_of::<Control>()).cast::<Control>();
        // SAFETY: the page is mapped for as long as `self` lives, and this process accesses it only as
        // atomics, whatever another process does. Any bytes form a valid `Control`, which consists of
        // atomics, and a page is sufficiently aligned.
        unsafe { place.as_ref() }
    }
}

#[inline]
fn word(cells: &Cells, at: usize) -> &AtomicUsize {
    assert!(at % size_of::<usize>() == 0, "an atomic at an unaligned offset");
    let place = cells.at(at, size_of::<usize>()).cast::<AtomicUsize>();
    // SAFETY: the word is aligned (asserted above), and stays mapped for as long as `cells` lives. Any bytes
    // form a valid atomic. The crate creates no other reference to the word. A lent record ends before the
    // next header, and a record that is copied word by word is never lent.
    unsafe { place.as_ref() }
}

/// The pipe ends of a half. The read end belongs to the pipe that wakes this half, and the write end belongs
/// to the pipe that wakes the peer.
///
/// Both ends are nonblocking. Waking the peer therefore never waits. A read does not wait either, even if
/// another process has already read the byte.
pub(super) type Bells = (PipeReader, PipeWriter);

/// Creates the two pipes. Returns the reader's ends, and then the writer's ends.
pub(super) fn bells() -> Result<[Bells; 2]> {
    let (reader, writer) = pipe::internal(PipeFlags::NONBLOCK)?;
    let (other_reader, other_writer) = pipe::internal(PipeFlags::NONBLOCK)?;
    for pipe in [&writer, &other_writer] {
        // A capacity of one byte is enough. A small pipe is useful, because the kernel limits the total
        // number of pages in a user's pipes.
        let _ = pipe.set_capacity(Capacity::Bytes(pipe::PIPE_BUF));
    }
    Ok([(reader, other_writer), (other_reader, writer)])
}

/// The resources of one half in one process.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) memory: ManuallyDrop<Memory>,
    /// The offset of this half's mark.
    mark: usize,
    pub(super) bells: Bells,
}

impl Ends {
    /// Creates the resources of the first half of a pair in this process. If the process holds both halves,
    /// [`other`](Self::other) creates the resources of the second half.
    pub(super) const fn new(memory: Memory, bells: Bells) -> Self {
        Self { memory: ManuallyDrop::new(memory), mark: 0, bells }
    }

    /// Returns the resources of the other half in the same process.
    pub(super) fn other(&self, bells: Bells) -> Self {
        word(&self.memory.holds, 0).fetch_add(1, Ordering::Relaxed);
        // SAFETY: the copy shares the mappings, which are unmapped when the count is 0.
        let memory = unsafe { ptr::read(&raw const self.memory) };
        Self { memory, mark: size_of::<usize>(), bells }
    }

    /// Returns the address of the `len` bytes at `place` in the ring.
    #[inline]
    pub(super) fn bytes(&self, place: usize, len: usize) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.memory.ring.at(place, len), len)
    }
}

impl Link for Ends {
    #[inline]
    fn control(&self) -> &Control {
        self.memory.control()
    }

    #[inline]
    fn word(&self, place: usize) -> &AtomicUsize {
        word(&self.memory.ring, place)
    }

    #[inline]
    fn mark(&self) -> &AtomicUsize {
        word(&self.memory.marks, self.mark)
    }

    fn ring(&self) -> Result<()> {
        loop {
            match write_nosignal(&self.bells.1, &[0]) {
                Err(Errno::EINTR) => {}
                // A full pipe already wakes the peer.
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn hear(&self, until: Option<Deadline<'_>>) -> Result<bool> {
        let pipe = &self.bells.0;
        if until.is_some() && poll_until(&mut [PollFd::new(pipe, PollEvents::IN)], until)? == 0 {
            return Err(Errno::ETIMEDOUT);
        }
        loop {
            match call::read(pipe.as_fd(), &mut [0; 64]) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::EINTR) => {}
                // Another process that holds this end may have read the byte.
                Err(Errno::EAGAIN) if until.is_some() => return Ok(true),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // The orderings are Release and Acquire, because another thread may have dropped the other half.
        if word(&self.memory.holds, 0).fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: no other half remains in this process, so `memory` is the last copy, and it is not used
            // after this call.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
