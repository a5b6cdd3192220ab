//! Creates the directory that holds the program and the workers' directories.

use crate::common;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// A directory in which programs can be executed and which every user can access.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> io::Result<Self> {
        let own = env::current_exe()?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        // A file system may be mounted `noexec`, so two directories are tried.
        for parent in [env::temp_dir(), common::tmp()] {
            let name = common::tmp_path();
            let place = Self(parent.join(name.file_name().expect("a name")));
            match place.set_up(&own) {
                Ok(()) => return Ok(place),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn set_up(&self, own: &Path) -> io::Result<()> {
        fs::create_dir(&self.0)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o755))?;
        let program = self.program();
        if fs::hard_link(own, &program).is_err() {
            fs::copy(own, &program)?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        }
        let listed = Command::new(&program).arg("--list").env_clear().output()?;
        if listed.status.success() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory without permissions cannot be emptied, so its mode is changed first.
        for worker in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let closed = worker.path().join("closed");
            let _ = fs::set_permissions(closed, fs::Permissions::from_mode(0o700));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}
