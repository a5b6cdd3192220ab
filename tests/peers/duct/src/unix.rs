use std::io;

#[cfg(test)]
use ::libc;
use shared_child::unix::SharedChildExt;

use crate::Handle;

pub trait HandleExt {
    fn send_signal(&self, signal: i32) -> io::Result<()>;
}

impl HandleExt for Handle {
    fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.started.for_each(&mut |program| program.child().send_signal(signal))
    }
}

#[cfg(test)]
include!("../own/unix.rs");
