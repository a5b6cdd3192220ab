//! Provides the programs in `examples/`, and builds them if necessary.

use super::{emulated, finish};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use std::{env, fs};

/// Builds an example if necessary, and returns the path of its program. If `CARGO` is set and the test is not
/// emulated, cargo determines whether a build is necessary. Otherwise, a build is necessary only if the
/// program's file is missing or older than the sources.
pub(crate) fn example(name: &str) -> PathBuf {
    /// The names of the examples that are up to date. The lock is held during a build, so only one build runs
    /// at a time.
    static READY: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    let this = env::current_exe().expect("the path of this test");
    let deps = this.parent().expect("a folder");
    let profile = deps.parent().expect("a folder");
    let path = profile.join("examples").join(name);
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    if !ready.contains(name) {
        // Only cargo can determine whether the file was built with the features that this test uses. Under an
        // emulator, the test does not run cargo for this check, because a fork of a process with several
        // threads may hang. The script that runs the tests under the emulator has already built the examples.
        let ask = env::var_os("CARGO").is_some() && !emulated();
        if ask || built(&path) < newest_source() {
            build_example(name, profile);
        }
        assert!(path.exists(), "{} was not built", path.display());
        ready.insert(name.to_owned());
    }
    path
}

fn built(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns the modification time of the newest source file of this package. Returns `UNIX_EPOCH` if no source
/// file exists, for example if the test was copied to another machine.
fn newest_source() -> SystemTime {
    fn newest_in(path: &Path) -> SystemTime {
        let here = if path.is_dir() { SystemTime::UNIX_EPOCH } else { built(path) };
        let inside = fs::read_dir(path).into_iter().flatten().flatten();
        inside.map(|entry| newest_in(&entry.path())).fold(here, SystemTime::max)
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["src", "csrc", "examples", "benches", "Cargo.toml", "build.rs"];
    sources
        .map(|part| newest_in(&top.join(part)))
        .into_iter()
        .fold(SystemTime::UNIX_EPOCH, SystemTime::max)
}

/// Runs `cargo build --example` with the same target, profile (debug or release) and `c-shim` feature as this
/// test.
fn build_example(name: &str, profile: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", name]);
    let above = profile.parent().expect("a folder");
    // The build directory is `target/<triple>/debug` if cargo was given a target, or `target/debug`
    // otherwise.
    let triple =
        above.file_name().and_then(|name| name.to_str()).filter(|name| name.contains("-linux-"));
    match triple {
        Some(triple) => {
            let target = above.parent().expect("a folder");
            command.arg("--target").arg(triple).arg("--target-dir").arg(target);
        }
        None => {
            command.arg("--target-dir").arg(above);
        }
    }
    if profile.ends_with("release") {
        command.arg("--release");
    }
    if cfg!(feature = "c-shim") {
        command.args(["--features", "c-shim"]);
    }
    let output = finish(&mut command);
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}
