//! Uses rawpipe's `take_inherited` to take ownership of the descriptors that this process inherited.

use std::collections::HashMap;
use std::error::Error;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Mutex;
use std::{fmt, fs, io};

#[cfg(test)]
use nix::{fcntl::FdFlag, libc};
use rawpipe::Errno;

/// The inherited descriptors by number. The value of an entry is `None` once the descriptor has been taken.
static INHERITED: Mutex<Option<HashMap<RawFd, Option<OwnedFd>>>> = Mutex::new(None);

#[derive(Debug, PartialEq)]
pub enum InheritedFdError {
    NotInitialized,
    OwnershipTaken(RawFd),
    FileDescriptorNotInherited(RawFd),
}

impl fmt::Display for InheritedFdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialized => f.write_str("init_inherited_fds was not called"),
            Self::OwnershipTaken(fd) => write!(f, "descriptor {fd} was already taken"),
            Self::FileDescriptorNotInherited(fd) => write!(f, "descriptor {fd} was not inherited"),
        }
    }
}

impl Error for InheritedFdError {}

/// # Safety
///
/// The caller must ensure that no other code owns a descriptor above 2.
pub unsafe fn init_inherited_fds() -> io::Result<()> {
    let mut inherited = INHERITED.lock().unwrap();
    if inherited.is_some() {
        return Err(io::Error::other("called twice"));
    }
    let names = fs::read_dir("/proc/self/fd")?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    let mut fds = HashMap::new();
    for name in names {
        let number = name.to_str().and_then(|name| name.parse().ok()).unwrap();
        if number <= 2 {
            continue;
        }
        // SAFETY: the caller guarantees that no other code owns the descriptor.
        match unsafe { rawpipe::io::take_inherited(number) } {
            Ok(fd) => fds.insert(number, Some(fd)),
            Err(Errno::EBADF) => None, // the directory's descriptor, which has been closed
            Err(e) => return Err(e.into()),
        };
    }
    *inherited = Some(fds);
    Ok(())
}

pub fn take_fd_ownership(raw_fd: RawFd) -> Result<OwnedFd, InheritedFdError> {
    let mut inherited = INHERITED.lock().unwrap();
    let fds = inherited.as_mut().ok_or(InheritedFdError::NotInitialized)?;
    let fd = fds.get_mut(&raw_fd).ok_or(InheritedFdError::FileDescriptorNotInherited(raw_fd))?;
    fd.take().ok_or(InheritedFdError::OwnershipTaken(raw_fd))
}

#[cfg(test)]
include!("../own/inherited.rs");
