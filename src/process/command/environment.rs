//! Builds lists of strings with few allocations, and derives an environment from this process's environment.

use crate::io::read_to_end;
use crate::process::Arg;
use crate::sys::call::openat_for_reading;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::iter;
use std::env::vars_os;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// The strings with their terminating NULs, one after another.
#[derive(Clone, Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// Adds a string that consists of these parts. A NUL in a part would split the string in two. The caller
    /// checks the parts, and does not use the list if a part contains a NUL.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
        self.count += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CStr> {
        let mut rest = self.bytes.as_slice();
        iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = rest.get(string.count_bytes() + 1..)?;
            Some(string)
        })
    }

    /// Returns `first` followed by all strings, as a list for the kernel.
    pub(super) fn list<'a>(&'a self, first: Option<&'a CStr>) -> Vec<Arg<'a>> {
        let mut list = Vec::with_capacity(self.count + 2);
        list.extend(first.into_iter().chain(self.iter()).map(Arg::new));
        list.push(Arg::END);
        list
    }
}

/// Changes to the environment of this process, or to an empty environment.
#[derive(Clone, Default)]
pub(super) struct Environment {
    pub(super) cleared: bool,
    /// The changed variables. A removed variable has the value `None`.
    pub(super) changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Environment {
    pub(super) fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        if self.cleared && value.is_none() {
            self.changes.remove(name);
        } else {
            self.changes.insert(name.to_vec(), value.map(<[u8]>::to_vec));
        }
    }

    pub(super) fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }

    /// Returns all entries. A variable has the form `NAME=value`. Unless the environment was cleared, the
    /// result also contains this process's entries that are not variables.
    pub(super) fn entries(&self) -> Strings {
        let mut all = Strings { bytes: Vec::with_capacity(4096), count: 0 };
        if !self.cleared {
            for (name, value) in vars_os() {
                if !self.changes.contains_key(name.as_bytes()) {
                    all.push(&[name.as_bytes(), b"=", value.as_bytes()]);
                }
            }
            nameless().iter().for_each(|entry| all.push(&[entry.to_bytes()]));
        }
        for (name, value) in &self.changes {
            if let Some(value) = value {
                all.push(&[name, b"=", value]);
            }
        }
        all
    }
}

/// Returns the entries of this process's initial environment that are not variables. [`vars_os`] omits these
/// entries.
///
/// The entries are read from `/proc`. The C library's own list can be read safely only while std's lock is
/// held, and that lock is not available. Without the lock, reading that list would race with `set_var`. Empty
/// entries are omitted, because a program that writes a process title over its environment leaves many empty
/// entries.
fn nameless() -> &'static Strings {
    static ENTRIES: OnceLock<Strings> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let (mut bytes, mut all) = (Vec::new(), Strings::default());
        let read = openat_for_reading(c"/proc/self/environ");
        if read.is_ok_and(|file| read_to_end(&file, &mut bytes).is_ok()) {
            // A name may begin with `=`, as in std.
            let is_nameless = |entry: &&[u8]| !entry.is_empty() && !entry[1..].contains(&b'=');
            bytes.split(|byte| *byte == 0).filter(is_nameless).for_each(|entry| all.push(&[entry]));
        }
        all
    })
}
