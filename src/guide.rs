//! A guide: pages for those who have a task, with programs that run. The modules beside this one are
//! the reference. The README's table has the features: the guide is written for `full`.
//!
//! | page | for |
//! |---|---|
//! | [`from_python`] | those who know `os.pipe`, `os.fork`, `select` and `subprocess`: call by call |
//! | [`from_std`] | those who know `std::process` and `std::io::pipe`: item by item |
//! | [`programs`] | those who want to start from a program that runs |
//! | [`deadlocks`] | programs that wait for each other, and how not to |
//! | [`choosing`] | those who know the task and not the function |
//! | [`alternatives`] | those who may need something else than a pipe |
//! | [`async_runtimes`] | those who use tokio, mio, polling or async-io |
//! | [`platforms`] | those whose program must run elsewhere, too |
//! | [`access`] | those who must know which descriptors a child gets, and who else can get at a pipe |
//! | [`no_std`] | those who write a tool without a C library, from `_start` to a static binary |
//! | [`tools`] | those who use sanitizers, `LD_PRELOAD` or seccomp: with the list of system calls |

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
