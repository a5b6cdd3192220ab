//! Lists of strings in few allocations, and an environment that is another one with changes.

use crate::process::Arg;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::iter;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// Strings, one behind the other, each with its NUL.
#[derive(Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// Adds a string that consists of these parts. A NUL in one of them would make two of it: the
    /// caller looks for that, and does not use the list.
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

    /// `first` and all of them, as the kernel wants them.
    pub(super) fn list<'a>(&'a self, first: Option<&'a CStr>) -> Vec<Arg<'a>> {
        let mut list = Vec::with_capacity(self.count + 2);
        list.extend(first.into_iter().chain(self.iter()).map(Arg::new));
        list.push(Arg::END);
        list
    }
}

/// The environment of this process, or none, with changes.
#[derive(Default)]
pub(super) struct Environment {
    cleared: bool,
    /// `None` is a variable that is taken out.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Environment {
    pub(super) fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.changes.insert(name.to_vec(), value.map(<[u8]>::to_vec));
    }

    pub(super) fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }

    /// All entries: variables, `NAME=value`, and others.
    pub(super) fn variables(&self) -> Strings {
        let mut all = Strings { bytes: Vec::with_capacity(4096), count: 0 };
        if !self.cleared {
            let mut others = no_variables().iter().peekable();
            for (index, (name, value)) in std::env::vars_os().enumerate() {
                while let Some((_, entry)) = others.next_if(|(before, _)| *before <= index) {
                    all.push(&[entry]);
                }
                let (name, value) = (name.as_bytes(), value.as_bytes());
                if !self.changes.contains_key(name) {
                    all.push(&[name, b"=", value]);
                }
            }
            others.for_each(|(_, entry)| all.push(&[entry]));
        }
        for (name, value) in &self.changes {
            if let Some(value) = value {
                all.push(&[name, b"=", value]);
            }
        }
        all
    }
}

/// The entries of this process's environment that std leaves out, as they have no `=` behind their first
/// byte; each with the number of variables before it.
///
/// Reading them in the C library's `environ` would race with `set_var` of another thread, whose lock is
/// std's own. No function of std or of a C library adds such an entry, so those are all that the process was
/// started with, and the kernel has these.
fn no_variables() -> &'static [(usize, Vec<u8>)] {
    static ENTRIES: OnceLock<Vec<(usize, Vec<u8>)>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let all = std::fs::read("/proc/self/environ").unwrap_or_default();
        let mut variables = 0;
        let mut others = Vec::new();
        for entry in all.split_inclusive(|byte| *byte == 0) {
            let entry = entry.strip_suffix(b"\0").unwrap_or(entry);
            if entry.iter().skip(1).any(|byte| *byte == b'=') {
                variables += 1;
            } else {
                others.push((variables, entry.to_vec()));
            }
        }
        others
    })
}
