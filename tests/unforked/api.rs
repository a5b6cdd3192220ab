//! Checks the guarantees that the listings of the public interface (`tests/api/*.txt`) give to users. Each
//! type implements `Send`, `Sync`, `Unpin` and the unwind-safety traits, and later versions of the crate can
//! add fields or variants to it. The exceptions are listed below. `.ci/api.sh` writes the listings and
//! compares them with the sources.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

#[cfg(feature = "full")]
const FULL: &str = include_str!("../api/full.txt");
const BARE: &str = include_str!("../api/no-default-features.txt");

/// Lists the names of the types, and makes the compiler check that each type implements the traits. The names
/// have no generic parameters.
macro_rules! types {
    ($list:ident: $($of:path)|+ => $($($word:ident)::+ $(<$($generic:tt),+>)?,)*) => {
        const $list: &[&str] = {
            fn has<T: Debug $(+ $of)+>() {}
            $(_ = has::<$($word)::+ $(<$($generic),+>)?> as fn();)*
            &[$(stringify!($($word)::+)),*]
        };
    };
}

types! { ALWAYS: Send | Sync | Unpin | UnwindSafe | RefUnwindSafe =>
    rawpipe::Cancel,
    rawpipe::Deadline<'static>,
    rawpipe::Errno,
    rawpipe::Fork,
    rawpipe::PipeFlags,
    rawpipe::PipeReader,
    rawpipe::PipeWriter,
    rawpipe::event::PollEvents,
    rawpipe::event::PollFd<'static>,
    rawpipe::fd::BorrowedFd<'static>,
    rawpipe::fd::OwnedFd,
    rawpipe::io::DupFlags,
    rawpipe::io::Incomplete,
    rawpipe::io::IoSlice<'static>,
    rawpipe::io::StdStream,
    rawpipe::pipe::Builder,
    rawpipe::pipe::Capacity,
    rawpipe::pipe::PipeReader,
    rawpipe::pipe::PipeWriter,
    rawpipe::process::Arg<'static>,
    rawpipe::process::Child,
    rawpipe::process::ExecFlags,
    rawpipe::process::ExitStatus,
    rawpipe::process::Fork,
    rawpipe::process::OnDrop,
    rawpipe::process::Signal,
    rawpipe::process::SignalSet,
    rawpipe::process::SpawnMethod,
    rawpipe::splice::SpliceFlags,
}
// This type wraps `&mut [u8]`, so it does not implement `UnwindSafe`.
types! { ALWAYS_BUT_UNWIND_SAFE: Send | Sync | Unpin | RefUnwindSafe =>
    rawpipe::io::IoSliceMut<'static>,
}

#[cfg(feature = "full")]
mod default {
    use super::*;
    use rawpipe::{PipeReader, PipeWriter};

    types! { MORE: Send | Sync | Unpin | UnwindSafe | RefUnwindSafe =>
        rawpipe::Wait,
        rawpipe::chunk::ChunkMechanism,
        rawpipe::chunk::ChunkReader,
        rawpipe::chunk::ChunkWriter,
        rawpipe::chunk::ReaderBuilder,
        rawpipe::chunk::Reuse,
        rawpipe::chunk::WriterBuilder,
        rawpipe::chunk::shared::SharedBuilder,
        rawpipe::chunk::shared::SharedCopier,
        rawpipe::chunk::shared::SharedReader,
        rawpipe::chunk::shared::SharedWriter,
        rawpipe::event::Epoll,
        rawpipe::event::Event,
        rawpipe::event::EventFd,
        rawpipe::event::EventFdFlags,
        rawpipe::event::FdSet<'static>,
        rawpipe::event::PollEvents,
        rawpipe::event::SignalFd,
        rawpipe::event::SignalInfo,
        rawpipe::fd::MaybeOwnedFd<'static>,
        rawpipe::message::Channel<PipeReader, PipeWriter>,
        rawpipe::message::Duplex,
        rawpipe::message::MessageError,
        rawpipe::message::PacketReader,
        rawpipe::message::PacketWriter,
        rawpipe::message::Receiver<PipeReader>,
        rawpipe::message::Sender<PipeWriter>,
        rawpipe::pipe::AdaptiveEnd<PipeReader>,
        rawpipe::process::Change,
        rawpipe::process::Command<'static>,
        rawpipe::process::CommunicateError,
        rawpipe::process::CommunicateErrorKind,
        rawpipe::process::Output,
        rawpipe::process::Pipeline<'static>,
        rawpipe::process::PipelineChildren,
        rawpipe::process::PipelineError,
        rawpipe::process::PipelineOutput,
        rawpipe::process::Resource,
        rawpipe::process::Rlimit,
        rawpipe::process::RunError,
        rawpipe::process::Spawn<'static>,
        rawpipe::process::SpawnError,
        rawpipe::process::SpawnStage,
        rawpipe::process::StdStream,
        rawpipe::transfer::Fallback,
        rawpipe::process::Stdio<'static>,
        rawpipe::process::Pidfd,
        rawpipe::process::Rusage,
        rawpipe::process::WaitFlags,
        rawpipe::transfer::FanoutSink<'static>,
        rawpipe::transfer::Side,
        rawpipe::transfer::TransferError,
        rawpipe::transfer::TransferMechanism,
        rawpipe::transfer::Transferred,
    }
    // This type borrows a reader exclusively, so the unwind-safety traits are not required.
    types! { LENT: Send | Sync | Unpin =>
        rawpipe::chunk::shared::SharedChunk<'static>,
    }
    // This type belongs to the signal mask of one thread, so `Send` and `Sync` are not required.
    types! { OF_ONE_THREAD: Unpin | UnwindSafe | RefUnwindSafe =>
        rawpipe::event::SignalGuard,
    }
    // These types borrow a reader or the caller's progress closure, and the borrowed value need not be `Send`
    // or `Sync`.
    types! { WITH_A_CLOSURE: Unpin =>
        rawpipe::process::Communicate<'static>,
        rawpipe::transfer::Fanout<'static>,
        rawpipe::transfer::Transfer<'static>,
    }

    /// The types whose fields or variants are public and complete. Later versions cannot add a field or a
    /// variant.
    const CLOSED: [&str; 6] = [
        "rawpipe::Fork",               // a fork returns in a parent and in a child
        "rawpipe::io::StdStream",      // the three standard streams
        "rawpipe::process::Fork",      // a fork returns in a parent and in a child
        "rawpipe::process::Rlimit",    // the two numbers that the kernel stores
        "rawpipe::process::StdStream", // the three standard streams
        "rawpipe::transfer::Side",     // the source and the sink
    ];

    #[test]
    fn api_every_type_is_asserted_to_have_its_traits() {
        let std = ["fd::BorrowedFd", "fd::OwnedFd", "io::IoSlice", "io::IoSliceMut"];
        let std = std.map(|name| format!("rawpipe::{name}"));
        let asserted =
            names([ALWAYS, ALWAYS_BUT_UNWIND_SAFE, MORE, LENT, OF_ONE_THREAD, WITH_A_CLOSURE]);
        let asserted: BTreeSet<_> =
            asserted.into_iter().filter(|name| !std.contains(name)).collect();
        assert_eq!(types_of(FULL), asserted);
        assert!(asserted.len() > 60, "only {} types", asserted.len());
    }

    #[test]
    fn api_every_type_can_grow() {
        assert_eq!(closed(FULL), CLOSED.map(str::to_owned).into());
    }
}

/// Returns the names of the checked types, spelled as in the listing.
fn names<const N: usize>(lists: [&[&str]; N]) -> BTreeSet<String> {
    // Some compiler versions print these names with different spaces.
    lists.into_iter().flatten().map(|name| name.replace(' ', "")).collect()
}

/// Splits a line of a listing into its attributes and its text.
fn parts(line: &str) -> (&str, &str) {
    let start = line.rfind("#[").and_then(|last| Some(last + line[last..].find("] ")? + 2));
    line.split_at(start.unwrap_or(0))
}

/// Returns the name of the type that a line declares, or `None` if the line declares no type.
fn type_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum "));
    rest.or(line.strip_prefix("pub union "))?.split(['<', '(', ' ']).next()
}

fn types_of(listing: &str) -> BTreeSet<String> {
    listing.lines().filter_map(|line| type_of(parts(line).1)).map(str::to_owned).collect()
}

/// Returns the enums, and the structs with public fields, that are not `#[non_exhaustive]`.
fn closed(listing: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = None;
    for (attributes, line) in listing.lines().map(parts) {
        if let Some(name) = type_of(line) {
            open = (!attributes.contains("non_exhaustive")).then_some(name);
        }
        // If a line declares a field or a variant, only `pub` precedes the name.
        if let (Some(name), Some(part)) = (open, line.strip_prefix("pub rawpipe::")) {
            assert!(format!("rawpipe::{part}").starts_with(name), "{part} stands under {name}");
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn api_every_type_without_features_is_asserted_to_have_its_traits() {
    assert_eq!(types_of(BARE), names([ALWAYS, ALWAYS_BUT_UNWIND_SAFE]));
}

#[test]
fn api_every_type_without_features_can_grow() {
    let closed_ones = ["rawpipe::Fork", "rawpipe::io::StdStream", "rawpipe::process::Fork"];
    assert_eq!(closed(BARE), closed_ones.map(str::to_owned).into());
}

/// Checks the functions that the tests above use: they must find the violations in a listing.
#[test]
fn api_listing_that_must_not_be_is_noticed() {
    let listing = "#[repr(c)] pub struct rawpipe::A<'a>(_)\n\
                   pub fn rawpipe::A<'a>::with(self, u8) -> Self\n\
                   #[non_exhaustive] pub enum rawpipe::B\n\
                   pub rawpipe::B::One\n\
                   pub struct rawpipe::C\n\
                   pub rawpipe::C::x: u8";
    assert_eq!(
        types_of(listing),
        ["rawpipe::A", "rawpipe::B", "rawpipe::C"].map(str::to_owned).into()
    );
    assert_eq!(closed(listing), ["rawpipe::C".to_owned()].into());
}
