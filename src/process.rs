//! Processes: making one by [`fork`], ending this one, waiting for a child.

mod fork;
mod wait;

pub use fork::{Fork, exit, fork, fork_with};
pub use wait::{Child, ExitStatus};
