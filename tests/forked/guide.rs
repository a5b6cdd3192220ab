//! Checks statements of the guide that no doctest can check. One test extracts a tool from `docs/no_std.md`,
//! builds it as a separate package, and runs it. The tool uses no C library. Another test checks what
//! `docs/from_python.md` states about the behaviour of Python.

use crate::common;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// A directory that is removed at the end of the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the contents of the first code block after `heading` in `page`.
fn block<'t>(page: &'t str, heading: &str) -> &'t str {
    let (_, part) = page.split_once(&format!("\n# {heading}\n")).expect("the heading");
    let (_, part) = part.split_once("\n```").expect("a block");
    let (_, part) = part.split_once('\n').expect("its first line");
    let (text, _) = part.split_once("\n```").expect("its end");
    text
}

/// Returns the reason why the tool cannot be built here, or `None` if it can be built.
fn impossible(page: &Path) -> Option<&'static str> {
    if cfg!(rawpipe_shim) {
        return Some("the tool is for the assembly backends");
    }
    if env::var_os("CARGO").is_none() || common::emulated() || common::tool().is_some() {
        return Some("no cargo for this target");
    }
    fs::read_to_string(page).is_err().then_some("the page is not there")
}

fn no_std_tool_is_built_and_counts() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = package.join("docs/no_std.md");
    if let Some(reason) = impossible(&page) {
        return common::skip("no_std_tool_is_built_and_counts", reason);
    }
    let page = fs::read_to_string(page).expect("it was there");
    // The temporary directory that the other tests use may forbid the execution of programs, so this test
    // uses a different directory.
    let folder = format!("{}/guide-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let folder = Folder(PathBuf::from(folder));
    let write = |name: &str, text: &str| {
        let path = folder.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let here = format!("path = {:?},", package);
    let manifest = block(&page, "Cargo.toml").replace("version = \"0.1\",", &here);
    assert!(manifest.contains(&here), "the page's line for this package");
    write("Cargo.toml", &format!("{manifest}\n[workspace]\n"));
    write("build.rs", block(&page, "build.rs"));
    write("src/main.rs", block(&page, "src/main.rs"));
    write("src/memory.rs", block(&page, "src/memory.rs"));

    let mut build = Command::new(env::var_os("CARGO").expect("it was there"));
    build.current_dir(&folder.0).args(["build", "--release", "--offline", "--quiet"]);
    build.env("CARGO_TARGET_DIR", folder.0.join("target"));
    let flags = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"];
    flags.iter().for_each(|name| _ = build.env_remove(name));
    let output = common::finish(&mut build);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let tally = folder.0.join("target/release/tally");
    let program = fs::read(&tally).expect("the program");
    assert!(!program.windows(6).any(|bytes| bytes == b"ld-lin"), "it needs no loader");
    let run = |arguments: &[&str]| {
        let output = common::finish(Command::new(&tally).args(arguments));
        let [said, told] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        (output.status.code(), said, told)
    };
    let is = |code: i32, said: &str, told: &str| (Some(code), said.to_owned(), told.to_owned());
    assert_eq!(run(&["echo", "hello"]), is(0, "hello\n", "tally: 6 bytes\n"));
    assert_eq!(run(&["sh", "-c", "exit 7"]), is(7, "", "tally: 0 bytes\n"));
    assert_eq!(run(&["/no/such"]), is(125, "", "tally: cannot start it\n"));
    assert_eq!(run(&[]), is(125, "", "tally: usage: tally PROGRAM [ARGUMENT...]\n"));
    let (code, said, told) = run(&["sh", "-c", "head -c 1234567 /dev/zero"]);
    assert_eq!((code, said.len(), &*told), (Some(0), 1_234_567, "tally: 1234567 bytes\n"));
}

/// In Python, `os.read` and a binary file give different results for an empty nonblocking pipe. Reading the
/// pipe as a text file raises `TypeError` before Python 3.14, and `BlockingIOError` since Python 3.14.
fn python_reads_empty_nonblocking_pipe() {
    const SCRIPT: &str = "
import os
r, w = os.pipe2(os.O_NONBLOCK)
def attempt(read):
    try:
        print(read())
    except Exception as error:
        print(type(error).__name__)
attempt(lambda: os.read(r, 1))
attempt(os.fdopen(os.dup(r), 'rb').read)
attempt(os.fdopen(r).read)
";
    let mut python = Command::new("python3");
    if common::emulated() || python.arg("-V").output().is_err() {
        return common::skip("python_reads_empty_nonblocking_pipe", "no python3 here");
    }
    let output = common::finish(Command::new("python3").args(["-c", SCRIPT]));
    let text = String::from_utf8(output.stdout).expect("text");
    let (before, since) = ("TypeError", "BlockingIOError"); // changed in Python 3.14
    let expected = [before, since].map(|text| format!("BlockingIOError\nNone\n{text}\n"));
    assert!(expected.contains(&text), "{text}");
}

pub(crate) const TESTS: common::Tests =
    common::tests![no_std_tool_is_built_and_counts, python_reads_empty_nonblocking_pipe];
