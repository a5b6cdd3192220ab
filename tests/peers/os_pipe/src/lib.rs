//! Provides the interface of os_pipe. The types are those of rawpipe. They have the same methods and traits as
//! os_pipe's types.

extern crate rawpipe_std as std;

use std::io;

pub use rawpipe::{PipeReader, PipeWriter};

pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    Ok(rawpipe::pipe()?)
}

pub fn dup_stdin() -> io::Result<PipeReader> {
    Ok(rawpipe::io::dup_cloexec(io::stdin())?.into())
}

pub fn dup_stdout() -> io::Result<PipeWriter> {
    Ok(rawpipe::io::dup_cloexec(io::stdout())?.into())
}

pub fn dup_stderr() -> io::Result<PipeWriter> {
    Ok(rawpipe::io::dup_cloexec(io::stderr())?.into())
}

#[cfg(test)]
include!("../own/lib.rs");

/// The examples of the published package.
#[cfg(doctest)]
#[doc = include_str!("../own/examples.md")]
pub struct Examples;
