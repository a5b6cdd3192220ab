//! A guide: pages for those who have a task, with programs that run. The modules beside this one are
//! the reference.
//!
//! | page | for |
//! |---|---|
//! | [`from_python`] | those who know `os.pipe`, `os.fork`, `select` and `subprocess`: call by call |
//! | [`deadlocks`] | programs that wait for each other, and how not to |

#[doc = include_str!("../docs/from_python.md")]
pub mod from_python {}

#[doc = include_str!("../docs/deadlocks.md")]
pub mod deadlocks {}
