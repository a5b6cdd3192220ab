//! Copies a file repeatedly in this process.

use super::{FILE, Input, Moved, PAGE, Run, Taken, from_page, require};
use std::fs::File;
use std::io::{self, Seek};

/// An engine that runs in this process and copies a file to an empty file. `chunk` is the length of the
/// buffer that is passed to the function.
pub(crate) struct Copy {
    pub(crate) copy: fn(&File, &File, &mut [u8]) -> io::Result<Moved>,
    pub(crate) chunk: usize,
    /// If set, the buffer is a plain `Vec`, as with [`Move::vec`].
    pub(crate) vec: bool,
}

impl Copy {
    /// Copies a file of [`FILE`] bytes `count` times, and checks the length of each copy. The measurement
    /// covers only the copying.
    pub(crate) fn run(&self, input: &Input, count: u64) -> io::Result<Run> {
        let (mut plain, mut memory) = (vec![1; self.chunk], vec![1; self.chunk + PAGE]);
        let buffer = if self.vec { &mut plain[..] } else { from_page(&mut memory, self.chunk) };
        let mut run = Run { taken: Taken::default(), by: String::new() };
        for _ in 0..count {
            input.clear_output()?;
            (&input.near).rewind()?;
            let mut moved = Moved { bytes: 0, by: "" };
            run.taken += Taken::by(|| {
                moved = (self.copy)(&input.near, &input.output, buffer)?;
                Ok(())
            })?;
            moved.by.clone_into(&mut run.by);
            require(moved.bytes == FILE as u64, || format!("{} of {FILE} bytes", moved.bytes))?;
            input.check_output_len(FILE as u64)?;
        }
        Ok(run)
    }

    /// Copies the file once and compares each byte.
    pub(crate) fn check(&self, input: &Input) -> io::Result<()> {
        self.run(input, 1)?;
        input.check_output(FILE as u64, input.memory.len())
    }
}
