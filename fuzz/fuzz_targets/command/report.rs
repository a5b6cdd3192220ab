//! The report that a child writes about its own state.

use super::model::Seen;
use super::world::World;
use std::collections::BTreeMap;

pub(crate) struct Report {
    text: String,
}

impl Report {
    pub(crate) fn read(world: &World) -> Self {
        Self { text: world.read_report() }
    }

    /// Returns the remaining text of each line that begins with this word.
    fn lines<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    pub(crate) fn line<'a>(&'a self, word: &'a str) -> &'a str {
        self.lines(word).next().unwrap_or_else(|| panic!("no {word} in {}", self.text))
    }

    /// Returns the remaining text of the first line that begins with this word. The text may be empty.
    pub(crate) fn line_or_empty(&self, word: &str) -> &str {
        self.text.lines().find_map(|line| line.strip_prefix(word)).unwrap().trim()
    }

    /// Returns the words after the name in a line of `/proc/self/status`.
    pub(crate) fn status(&self, name: &str) -> Vec<&str> {
        let line = self.lines("status").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text)).split_whitespace().collect()
    }

    pub(crate) fn signals(&self, name: &str) -> u64 {
        u64::from_str_radix(self.status(name)[0], 16).unwrap()
    }

    /// Returns the soft and the hard limit as text, as the kernel prints them.
    pub(crate) fn limit(&self, name: &str) -> Vec<&str> {
        let line = self.lines("limits").find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text)).split_whitespace().collect()
    }

    /// Decodes the hexadecimal digits after this word and returns the NUL-terminated strings.
    pub(crate) fn strings(&self, word: &str) -> Vec<Vec<u8>> {
        let digits = self.text.lines().find_map(|line| line.strip_prefix(word)).unwrap().trim();
        let bytes: Vec<u8> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let mut strings: Vec<_> = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
        assert_eq!(strings.pop(), Some(Vec::new()), "the last has its NUL");
        strings
    }

    pub(crate) fn descriptors(&self) -> BTreeMap<i32, Seen> {
        let parse = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let flags = u32::from_str_radix(words[2], 8).unwrap();
            (words[0].parse().unwrap(), Seen { identity: words[1].to_owned(), flags })
        };
        self.lines("fd").map(parse).collect()
    }

    /// Returns a field of `/proc/self/stat`, by its number in the manual page.
    pub(crate) fn stat(&self, field: usize) -> i64 {
        let (_, rest) = self.line("stat").rsplit_once(") ").unwrap();
        rest.split(' ').nth(field - 3).unwrap().parse().unwrap()
    }
}
