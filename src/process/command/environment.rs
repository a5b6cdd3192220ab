//! Lists of strings in few allocations, and an environment that is another one with changes.

use crate::process::Arg;
use crate::sys::environ;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::iter;

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

    /// All entries: variables, `NAME=value`, and those of this process that are none.
    pub(super) fn entries(&self) -> Strings {
        let mut all = Strings { bytes: Vec::with_capacity(4096), count: 0 };
        if !self.cleared {
            environ::for_each_variable(|entry| {
                if name_of(entry).is_none_or(|name| !self.changes.contains_key(name)) {
                    all.push(&[entry]);
                }
            });
        }
        for (name, value) in &self.changes {
            if let Some(value) = value {
                all.push(&[name, b"=", value]);
            }
        }
        all
    }
}

/// What is before the `=` behind the first byte: as std has it, a name may begin with one.
fn name_of(entry: &[u8]) -> Option<&[u8]> {
    let length = entry.iter().skip(1).position(|byte| *byte == b'=')? + 1;
    entry.get(..length)
}
