//! The engines of other crates for the questions in which one process generates the bytes and another sums
//! them. These engines use shared memory, or pages that are lent to a pipe. A ring of shared memory holds at
//! least 8 chunks and at least 1 MiB.

use crate::common::summed::{Ends, Numbers};
use crate::common::touched;
use crate::engines::Splices;
use crate::work::{LARGE, large_link};
use ipc_ring::{RingReader, RingWriter};
use shmem_ipc::sharedring::{Receiver, Sender};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

fn ring_size(chunk: usize) -> usize {
    (8 * chunk).max(1 << 20)
}

/// Creates ends that use a ring of chunks. The sender refills a chunk only when the pipe can no longer hold
/// the chunk's pages.
pub(crate) fn by_vmsplice<P: Splices>(chunk: usize) -> io::Result<Ends> {
    const PAGE: usize = 4096;
    let (reader, writer) = large_link::<P>()?;
    let (mut reader, writer) = (P::Reader::from(reader), P::Writer::from(writer));
    Ok(Ends {
        make: Box::new(move |count, _| {
            // A pipe has one slot for each page of its capacity, and a chunk uses one slot for each of its
            // full or partial pages. Therefore `chunks - 1` chunks fill the pipe, and the pipe no longer
            // holds the oldest chunk.
            let chunks = LARGE as usize / PAGE / chunk.div_ceil(PAGE) + 1;
            let mut numbers = Numbers::default();
            let mut ring = touched(chunks * chunk).chunks_exact_mut(chunk).collect::<Vec<_>>();
            for index in (0..chunks).cycle().take(usize::try_from(count).map_err(io::Error::other)?)
            {
                numbers.fill(ring[index]);
                let mut left = &*ring[index];
                while !left.is_empty() {
                    // SAFETY: the memory is never freed. Before this memory is written again, all other
                    // chunks are lent to the pipe and fill it. The reader's `read` has copied all bytes that
                    // have left the pipe.
                    left = &left[unsafe { P::vmsplice(&writer, left) }?..];
                }
            }
            Ok(())
        }),
        sum: Box::new(move |sum, buffer| {
            loop {
                match P::read(&mut reader, buffer)? {
                    0 => return Ok(()),
                    count => sum.add(&buffer[..count]),
                }
            }
        }),
    })
}

/// Creates ends that use shmem-ipc's functions for trusted peers to generate and sum the bytes in a ring. The
/// ring has no end of file.
pub(crate) fn by_shmem_ipc(chunk: usize) -> io::Result<Ends> {
    let capacity = ring_size(chunk);
    let mut sender = Sender::<u8>::new(capacity).map_err(io::Error::other)?;
    let memory = sender.memfd().as_file().try_clone()?;
    let (empty, full) = (sender.empty_signal().try_clone()?, sender.full_signal().try_clone()?);
    let receiver = Receiver::<u8>::open(capacity, memory, empty, full);
    let mut receiver = receiver.map_err(io::Error::other)?;
    Ok(Ends {
        make: Box::new(move |count, _| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                let mut left = chunk;
                while left > 0 {
                    sender.block_until_writable().map_err(io::Error::other)?;
                    let fill = |room: &mut [u8]| {
                        let len = room.len().min(left);
                        numbers.fill(&mut room[..len]);
                        left -= len;
                        len
                    };
                    // SAFETY: there is one sender and one receiver, each in a separate forked process.
                    unsafe { sender.send_trusted(fill) }.map_err(io::Error::other)?;
                }
            }
            Ok(())
        }),
        sum: Box::new(move |sum, buffer| {
            while sum.left() > 0 {
                receiver.block_until_readable().map_err(io::Error::other)?;
                let add = |bytes: &[u8]| {
                    // Consume at most one buffer of bytes at a time. The sender can then refill this part of
                    // the ring while the next bytes are summed.
                    let len = bytes.len().min(buffer.len());
                    sum.add(&bytes[..len]);
                    len
                };
                // SAFETY: as above.
                unsafe { receiver.receive_trusted(add) }.map_err(io::Error::other)?;
            }
            Ok(())
        }),
    })
}

/// Creates ends that copy bytes into and out of a ring. The ring has no end of file.
pub(crate) fn by_ipc_ring(chunk: usize) -> io::Result<Ends> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let path = format!("/dev/shm/peers-ring-{}-{number}", std::process::id());
    let mut writer = RingWriter::create(&path, ring_size(chunk).next_power_of_two())
        .map_err(io::Error::other)?;
    let reader = RingReader::open(&path);
    std::fs::remove_file(&path)?;
    let mut reader = reader.map_err(io::Error::other)?;
    Ok(Ends {
        make: Box::new(move |count, buffer| {
            let mut numbers = Numbers::default();
            for _ in 0..count {
                numbers.fill(buffer);
                writer.push(buffer, None).map_err(io::Error::other)?;
            }
            Ok(())
        }),
        sum: Box::new(move |sum, _| {
            let mut record = Vec::new();
            while sum.left() > 0 {
                reader.pop(&mut record, None).map_err(io::Error::other)?;
                sum.add(&record);
            }
            Ok(())
        }),
    })
}
