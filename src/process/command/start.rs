//! From a command to a [`Spawn`](super::Spawn), which is started.

use super::Command;
use super::stdio::{self, Source, Stdio};
use crate::Errno;
use crate::errno::retry;
use crate::fd::AsFd;
use crate::process::{Child, OnDrop, Spawn, SpawnError, SpawnStage};
use crate::sys::call;
use alloc::vec::Vec;

impl Command {
    /// Starts the program. Goes on after signals.
    ///
    /// Standard streams that are not set are those of this process.
    ///
    /// # Errors
    ///
    /// Those of [`Spawn::spawn`](crate::process::Spawn::spawn), and
    ///
    /// - at [`SpawnStage::Arguments`] [`EINVAL`](Errno::EINVAL): one of the strings that were given has a
    ///   NUL in it; or see [`env`](Self::env), [`fd_map`](Self::fd_map), [`on_drop`](Self::on_drop).
    /// - at [`SpawnStage::Stdio`] those of [`pipe`](crate::pipe()), and of opening `/dev/null`.
    /// - at [`SpawnStage::Cgroup`] those of opening the file `cgroup.procs`, such as
    ///   [`ENOENT`](Errno::ENOENT) and [`EACCES`](Errno::EACCES).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::process::{Command, SpawnStage};
    ///
    /// let mut child = Command::new("true").spawn()?;
    /// assert!(child.wait()?.success());
    ///
    /// let error = Command::new("no-such-program").spawn().unwrap_err();
    /// assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        self.start(self.sources([Source::Inherit; 3]))
    }

    /// What the standard streams are to be, with these where nothing is set.
    pub(in crate::process) fn sources<'a>(&'a self, defaults: [Source<'a>; 3]) -> [Source<'a>; 3] {
        let mut sources = defaults;
        for (number, (source, stdio)) in (0..).zip(sources.iter_mut().zip(&self.streams)) {
            let mapped = self.fds.iter().any(|(_, to)| *to == number);
            let default = if mapped { Source::Inherit } else { *source };
            *source = stdio.as_ref().map_or(default, Stdio::source);
        }
        sources
    }

    /// Starts the program with these standard streams.
    pub(in crate::process) fn start(&self, sources: [Source<'_>; 3]) -> Result<Child, SpawnError> {
        let no_group = self.on_drop == OnDrop::KillGroup && !self.settings.leads_group();
        if self.invalid || no_group {
            return Err(SpawnError::at(SpawnStage::Arguments)(Errno::EINVAL));
        }
        let entries = self.environment.entries();
        let envp = entries.list(None);
        let argv = self.args.list(Some(self.arg0.as_deref().unwrap_or(&self.program)));
        let (ends, theirs) = stdio::open(sources).map_err(SpawnError::at(SpawnStage::Stdio))?;
        let cgroup = self.cgroup.as_deref().map(|path| retry(|| call::openat_for_writing(path)));
        let cgroup = cgroup.transpose().map_err(SpawnError::at(SpawnStage::Cgroup))?;
        let opened = theirs.iter().chain(&self.fds).map(|(fd, number)| (fd.as_fd(), *number));
        let mut fds: Vec<_> = opened.collect();
        fds.extend((0..).zip(sources).filter_map(|(number, source)| match source {
            Source::Fd(fd) => Some((fd, number)),
            _ => None,
        }));

        let spawn = Spawn {
            program: &self.program,
            argv: &argv,
            envp: &envp,
            fds: &fds,
            folder: self.folder.as_deref(),
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
            limits: &self.limits,
            groups: self.groups.as_deref(),
            terminal: self.terminal.as_ref().map(AsFd::as_fd),
            ..self.settings
        };
        let mut child = spawn.spawn()?;
        (child.stdin, child.stdout, child.stderr) = ends;
        child.on_drop(self.on_drop).map_err(SpawnError::at(SpawnStage::Arguments))?;
        Ok(child)
    }
}
