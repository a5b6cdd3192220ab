//! Discards the bytes of a source.

use super::Transfer;
use super::end::End;
use super::engine::Engine;
use super::error::{Side, TransferError};
use crate::fd::AsFd;
use crate::sys::call;

/// Discards up to `bytes` bytes of a source (`None`: all bytes until end of file) and returns the number of
/// bytes discarded. The bytes of a pipe are discarded inside the kernel if `/dev/null` can be opened and no
/// filter rejects `splice`.
///
/// # Errors
///
/// Fails as [`Transfer::run`] does. The call also succeeds if the source ends before `bytes` bytes have been
/// discarded.
///
/// # Examples
///
/// ```
/// let (reader, writer) = rawpipe::pipe()?;
/// writer.write_all(b"header and body")?;
/// assert_eq!(rawpipe::transfer::discard(&reader, Some(11))?, 11);
/// assert_eq!(reader.available()?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn discard(from: impl AsFd, bytes: Option<u64>) -> Result<u64, TransferError> {
    let from = from.as_fd();
    // If `/dev/null` cannot be opened, the function reads the bytes into memory instead. Examples are an
    // empty root directory, and a process without a free descriptor.
    let null = call::openat_for_writing(c"/dev/null");
    let to = null.as_ref().map_or(from, |null| null.as_fd());
    let (from, to) = (End::new(from, Side::Source, false), End::new(to, Side::Sink, false));
    let mut engine = Engine::new(Transfer { most: bytes, ..Transfer::new() }, from, to);
    engine.nowhere = null.is_err();
    engine.run().map(|transferred| transferred.bytes())
}
