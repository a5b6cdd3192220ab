//! Checks whether a mechanism works on this kernel, by trying that mechanism. The result is stored for the
//! whole process.

use super::{ChunkMechanism, memory::Memory};
use crate::fd::AsFd;
use crate::pipe::{Builder, PipeReader, PipeWriter};
use crate::sys::page;
use crate::{Errno, Result};
use core::sync::atomic::{AtomicU8, Ordering};

/// The behaviour of a mechanism on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The pipe holds the page itself, and the page's bytes stay unchanged when the writer releases the page.
    References = 1,
    /// The pipe holds a copy, which is correct but costs more than a plain write.
    Copies = 2,
    /// The call fails, or the bytes do not arrive as they were sent.
    Unusable = 3,
}

/// Returns the behaviour on this kernel of a mechanism that hands over pages.
pub(super) fn find(mechanism: ChunkMechanism) -> Finding {
    static VMSPLICE: AtomicU8 = AtomicU8::new(0);
    static MEMFD: AtomicU8 = AtomicU8::new(0);
    let known = if mechanism == ChunkMechanism::Memfd { &MEMFD } else { &VMSPLICE };
    match known.load(Ordering::Relaxed) {
        1 => return Finding::References,
        2 => return Finding::Copies,
        3 => return Finding::Unusable,
        _ => {}
    }
    let finding = match try_out(mechanism) {
        // The process or the system has reached a limit. A later attempt may succeed, so this result is not
        // recorded.
        Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN | Errno::EFBIG) => {
            return Finding::Unusable;
        }
        found => found.unwrap_or(Finding::Unusable),
    };
    known.store(finding as u8, Ordering::Relaxed);
    finding
}

fn try_out(mechanism: ChunkMechanism) -> Result<Finding> {
    let (reader, writer) = Builder::new().nonblocking().build()?;
    let page = page::size();
    let mut memory = Memory::new(mechanism, page)?;

    send(&mut memory, page, &writer, 1)?;
    memory.bytes_mut(0..page).fill(2);
    let seen = receive(&reader, page)?;

    send(&mut memory, page, &writer, 3)?;
    memory.renew()?;
    memory.bytes_mut(0..page).fill(4);
    let kept = receive(&reader, page)?;
    Ok(match (seen, kept) {
        (Some(2), Some(3)) => Finding::References,
        (Some(1), Some(3)) => Finding::Copies,
        _ => Finding::Unusable,
    })
}

fn send(memory: &mut Memory, page: usize, writer: &PipeWriter, byte: u8) -> Result<()> {
    memory.bytes_mut(0..page).fill(byte);
    if memory.hand_over(0..page, writer.as_fd(), false)? == page { Ok(()) } else { Err(Errno::EIO) }
}

/// Reads a page from the pipe. If all its bytes are equal, returns their value; otherwise returns `None`.
fn receive(reader: &PipeReader, page: usize) -> Result<Option<u8>> {
    let mut buf = [0; 512];
    let mut bytes = 0;
    let mut byte = None;
    while bytes < page {
        let count = reader.read(&mut buf)?;
        let first = *byte.get_or_insert(buf[0]);
        if count == 0 || buf[..count].iter().any(|&other| other != first) {
            return Ok(None);
        }
        bytes += count;
    }
    Ok(byte)
}
