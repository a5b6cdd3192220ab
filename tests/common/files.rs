//! Creates unlinked temporary files for tests, and provides paths for other temporary files.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// Returns a directory for test files. This directory is `/dev/shm`, which is in memory, if `/dev/shm` exists
/// and its mode permits writing. Otherwise, it is the usual directory for temporary files.
pub(crate) fn tmp() -> PathBuf {
    let shm = Path::new("/dev/shm");
    let writable = fs::metadata(shm).is_ok_and(|folder| !folder.permissions().readonly());
    if writable { shm.to_owned() } else { env::temp_dir() }
}

/// Returns a path that no other test uses, in the directory of [`tmp`]. The path includes the time, because
/// process ids are reused.
pub(crate) fn tmp_path() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = now.as_nanos();
    tmp().join(format!("rawpipe-test-{}-{count}-{now:x}", std::process::id()))
}

/// Returns an open, unlinked file with these contents, positioned at offset 0.
pub(crate) fn file(contents: &[u8]) -> File {
    let file = nameless(File::options().read(true).write(true));
    file.write_all_at(contents, 0).expect("room for a test's file");
    file
}

/// Returns an open, unlinked, empty file in append mode.
pub(crate) fn append_file() -> File {
    nameless(File::options().append(true))
}

fn nameless(options: &mut OpenOptions) -> File {
    loop {
        let path = tmp_path();
        match options.create_new(true).open(&path) {
            // An earlier process may have created this file and been killed before unlinking it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            file => {
                let file = file.expect("a file of this test's own");
                fs::remove_file(&path).expect("the file just made");
                return file;
            }
        }
    }
}
