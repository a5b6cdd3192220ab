//! A guide with pages on common tasks and with complete programs. The documentation of the other modules is
//! the reference. The guide assumes feature `full`.
//!
//! | page | content |
//! |---|---|
//! | [`from_python`] | for users of `os.pipe`, `os.fork`, `select` and `subprocess`: call by call |
//! | [`from_std`] | for users of `std::process` and `std::io::pipe`: item by item |
//! | [`programs`] | complete programs to start from |
//! | [`deadlocks`] | how pipes deadlock, and how to avoid it |
//! | [`choosing`] | which function for which task |
//! | [`alternatives`] | when something other than a pipe fits better |
//! | [`async_runtimes`] | how to use the crate with tokio, mio, polling and async-io |
//! | [`platforms`] | what is different on other systems |
//! | [`access`] | which descriptors a child inherits, and which processes can access a pipe |
//! | [`no_std`] | a tool without a C library, from `_start` to a static binary |
//! | [`tools`] | sanitizers, `LD_PRELOAD` and seccomp, with the list of system calls |

#[doc = include_str!("../docs/from_python.md")]
pub mod from_python {}

#[doc = include_str!("../docs/from_std.md")]
pub mod from_std {}

#[doc = include_str!("../docs/programs.md")]
pub mod programs {}

#[doc = include_str!("../docs/deadlocks.md")]
pub mod deadlocks {}

#[doc = include_str!("../docs/choosing.md")]
pub mod choosing {}

#[doc = include_str!("../docs/alternatives.md")]
pub mod alternatives {}

#[doc = include_str!("../docs/async.md")]
pub mod async_runtimes {}

#[doc = include_str!("../docs/platforms.md")]
pub mod platforms {}

#[doc = include_str!("../docs/access.md")]
pub mod access {}

#[doc = include_str!("../docs/no_std.md")]
pub mod no_std {}

#[doc = include_str!("../docs/tools.md")]
pub mod tools {}
