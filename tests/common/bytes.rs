//! Provides test data, a random generator, and functions that read and check the contents of pipes and files.

use rawpipe::{PipeReader, PipeWriter};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

/// Returns pseudo-random bytes from a fixed seed, so that a test detects shifted or swapped bytes.
pub(crate) fn data(len: usize) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A small random generator (xorshift64). The same seed reproduces a run. The seed must not be 0.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Creates a generator, seeds it from the clock, and prints the seed.
    pub(crate) fn new() -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = u64::from(time.subsec_nanos()) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Reads the bytes that the pipe currently holds.
pub(crate) fn waiting_in(reader: &PipeReader) -> Vec<u8> {
    let mut bytes = vec![0; reader.available().unwrap()];
    reader.read_exact(&mut bytes).unwrap();
    bytes
}

/// Returns the contents of the file, regardless of its position.
pub(crate) fn all_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Asserts that bytes written to each of these pipes arrive at the reader of the same pipe.
pub(crate) fn assert_no_two_are_one(pipes: &[(PipeReader, PipeWriter)]) {
    for (index, (_, writer)) in pipes.iter().enumerate() {
        writer.write_all(&index.to_ne_bytes()).unwrap();
    }
    for (index, (reader, _)) in pipes.iter().enumerate() {
        let mut word = [0; size_of::<usize>()];
        reader.read_exact(&mut word).unwrap();
        assert_eq!(usize::from_ne_bytes(word), index);
    }
}
