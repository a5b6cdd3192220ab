//! std, in which `process` starts programs with rawpipe.
//!
//! An adapter declares `extern crate rawpipe_std as std`. The same tests that import `std::process::Command`
//! then start their programs with rawpipe's `Command`, without a change to their text.

pub use ::std as real;
pub use ::std::*;

/// `std::process`, with rawpipe's types where the names are the same.
pub mod process {
    pub use ::std::process::*;
    pub use rawpipe::process::Output;

    pub type Child = rawpipe::process::Child;
    pub type ChildStderr = rawpipe::PipeReader;
    pub type ChildStdin = rawpipe::PipeWriter;
    pub type ChildStdout = rawpipe::PipeReader;
    pub type Command = rawpipe::process::Command<'static>;
    pub type Stdio = rawpipe::process::Stdio<'static>;
}
