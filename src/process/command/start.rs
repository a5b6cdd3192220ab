//! Converts a command into a [`Spawn`](super::Spawn), and starts the program.

use super::Command;
use super::stdio::{self, Source, Stdio};
use crate::Errno;
use crate::errno::retry;
use crate::fd::AsFd;
use crate::process::{Child, OnDrop, Spawn, SpawnError, SpawnStage};
use crate::sys::call;
use alloc::vec::Vec;

impl Command<'_> {
    /// Starts the program. Retries on `EINTR`.
    ///
    /// Standard streams that are not set are inherited from this process.
    ///
    /// # Errors
    ///
    /// Any error of [`Spawn::spawn`](crate::process::Spawn::spawn), and
    ///
    /// - at [`SpawnStage::Arguments`], [`EINVAL`](Errno::EINVAL) if a string contains a NUL, and in the cases
    ///   listed for [`env`](Self::env), [`fd_map`](Self::fd_map), [`on_drop`](Self::on_drop) and
    ///   [`Stdio::same_as_stdout`].
    /// - at [`SpawnStage::Stdio`], the errors of [`pipe`](crate::pipe()), and of opening `/dev/null`.
    /// - at [`SpawnStage::Cgroup`], the errors of opening and writing the file `cgroup.procs`, such as
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

    /// Replaces the program of this process with this command's program. Returns only on failure. The error
    /// names the stage that failed.
    ///
    /// The new program starts in the same state as a child of [`spawn`](Self::spawn). [`Spawn::exec`] lists
    /// the state that a failed call leaves changed. Unlike in std, descriptors 0 to 2 are unchanged after a
    /// failure. No destructor runs, and buffered data is not written. All other threads end, and
    /// close-on-exec descriptors are closed. A [`Stdio::piped`] stream becomes a pipe whose other end is
    /// closed. [`on_drop`](Self::on_drop) has no effect.
    ///
    /// This call allocates. Among forked children, only a child of
    /// [`fork_single_threaded`](crate::process::fork_single_threaded) may therefore use this method. For any
    /// other child, prepare a [`Spawn`] before the fork.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], with the errors of [`spawn`](Self::spawn) and [`Spawn::exec`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::process::{Command, SpawnStage};
    ///
    /// let error = Command::new("/no/such/program").current_dir("/").exec();
    /// assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT));
    /// assert_ne!(std::env::current_dir()?, std::path::Path::new("/"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
    #[must_use = "it has failed"]
    pub fn exec(&self) -> SpawnError {
        let failed = self.with(self.sources([Source::Inherit; 3]), |spawn| Ok(spawn.exec()));
        failed.map_or_else(|error| error, |(_, error)| error)
    }

    /// Returns the settings of the three standard streams. A stream without a setting receives the stream's
    /// entry in `defaults`, or `Inherit` if `fd_map` assigns the stream's number.
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
        let (ends, mut child) = self.with(sources, |spawn| spawn.spawn())?;
        (child.stdin, child.stdout, child.stderr) = ends;
        child.on_drop(self.on_drop).map_err(SpawnError::at(SpawnStage::Arguments))?;
        Ok(child)
    }

    /// Opens these standard streams, prepares all other data that the program needs, and calls `start` with
    /// the complete [`Spawn`](super::Spawn). Returns this process's ends of the pipes, and the result of
    /// `start`.
    fn with<T>(
        &self,
        sources: [Source<'_>; 3],
        start: impl FnOnce(Spawn<'_>) -> Result<T, SpawnError>,
    ) -> Result<(stdio::Ends, T), SpawnError> {
        let lacks_group = self.on_drop == OnDrop::KillGroup && !self.settings.leads_group();
        let misplaced = sources[..2].iter().any(|source| matches!(source, Source::SameAsStdout));
        if self.invalid || lacks_group || misplaced {
            return Err(SpawnError::at(SpawnStage::Arguments)(Errno::EINVAL));
        }
        let entries = self.environment.entries();
        let envp = entries.list(None);
        let argv = self.args.list(Some(self.arg0.as_deref().unwrap_or(&self.program)));
        let (ends, theirs) = stdio::open(sources).map_err(SpawnError::at(SpawnStage::Stdio))?;
        let cgroup = self.cgroup.as_deref().map(|path| retry(|| call::openat_for_writing(path)));
        let cgroup = cgroup.transpose().map_err(SpawnError::at(SpawnStage::Cgroup))?;
        let mut fds: Vec<_> = self.fds.iter().map(|(fd, number)| (fd.as_fd(), *number)).collect();
        fds.extend(theirs.iter().map(|(fd, number)| (fd.as_fd(), *number)));
        fds.extend((0..).zip(sources).filter_map(|(number, source)| match source {
            Source::Fd(fd) => Some((fd, number)),
            _ => None,
        }));
        let own;
        if let Source::SameAsStdout = sources[2] {
            own = std::io::stdout();
            let stdout = fds.iter().find(|(_, number)| *number == 1);
            fds.push((stdout.map_or(own.as_fd(), |(fd, _)| *fd), 2));
        }

        let started = start(Spawn {
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
        });
        Ok((ends, started?))
    }
}
