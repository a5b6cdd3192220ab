//! Provides the interface of command-fds for rawpipe's `Command`. That type's own `fd_map` has the same
//! effect as this interface.

extern crate rawpipe_std as std;

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Command;

pub mod inherited;

#[derive(Debug)]
pub struct FdMapping {
    pub parent_fd: OwnedFd,
    pub child_fd: RawFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdMappingCollision;

impl fmt::Display for FdMappingCollision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of the child is used twice")
    }
}

impl Error for FdMappingCollision {}

pub trait CommandFdExt {
    /// # Errors
    ///
    /// Fails if two mappings have the same number in the child. rawpipe's `fd_map` accepts such a mapping,
    /// and rawpipe reports the error only when the program is started.
    fn fd_mappings(&mut self, mappings: Vec<FdMapping>) -> Result<&mut Self, FdMappingCollision>;

    fn preserved_fds(&mut self, fds: Vec<OwnedFd>) -> &mut Self;
}

impl CommandFdExt for Command {
    fn fd_mappings(&mut self, mappings: Vec<FdMapping>) -> Result<&mut Self, FdMappingCollision> {
        let mut numbers = HashSet::new();
        if !mappings.iter().all(|mapping| numbers.insert(mapping.child_fd)) {
            return Err(FdMappingCollision);
        }
        for mapping in mappings {
            self.fd_map(mapping.parent_fd, mapping.child_fd);
        }
        Ok(self)
    }

    fn preserved_fds(&mut self, fds: Vec<OwnedFd>) -> &mut Self {
        for fd in fds {
            let number = fd.as_raw_fd();
            self.fd_map(fd, number);
        }
        self
    }
}

#[cfg(test)]
include!("../own/lib.rs");

/// The examples of the published package.
#[cfg(doctest)]
#[doc = include_str!("../own/examples.md")]
pub struct Examples;
