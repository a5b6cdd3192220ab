//! Defines the stages at which a spawn can fail, and encodes the child's report of a failure.

use super::super::{Resource, Signal};
use crate::Errno;
use crate::fd::RawFd;
use core::fmt;
use core::mem::discriminant;

/// A stage of starting a program. The stages are listed roughly in the order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpawnStage {
    /// Checking the settings. The check fails with `EINVAL`. Examples are a string with a NUL, a list without
    /// a final [`Arg::END`](crate::process::Arg::END), and a descriptor number that is negative or used
    /// twice.
    Arguments,
    /// Opening the child's standard streams.
    Stdio,
    /// Mapping a stack for the child.
    Stack,
    /// Creating the pipe through which the child reports a failure, if that pipe is needed (see
    /// [`Spawn::spawn`](super::Spawn::spawn)). This stage is also reported, with `ECHILD`, if the child
    /// failed and could not report the failure.
    Channel,
    /// Blocking signals in this thread, or resetting signals and setting the signal mask in the child.
    Signals,
    /// Creating the child or, for [`exec`](super::Spawn::exec), creating the thread that begins the program.
    Clone,
    /// Becoming the leader of a new session.
    Setsid,
    /// Moving to a process group.
    Setpgid,
    /// Acquiring a controlling terminal.
    ControllingTerminal,
    /// Making the child's process group the foreground group of its terminal.
    Foreground,
    /// Moving to a control group.
    Cgroup,
    /// Giving a descriptor its number in the child.
    Dup {
        /// The descriptor's number in the parent.
        from: RawFd,
        /// The descriptor's number in the child.
        to: RawFd,
    },
    /// Closing all other descriptors.
    CloseOthers,
    /// Changing the niceness.
    Nice,
    /// Setting a limit.
    Setrlimit(Resource),
    /// Setting the supplementary groups.
    Setgroups,
    /// Changing the group.
    Setgid,
    /// Changing the user. Before any change of ids, this stage also denies other processes access to the
    /// child's memory (`prctl`).
    Setuid,
    /// Changing the working directory.
    Chdir,
    /// Setting the parent-death signal.
    DeathSignal,
    /// Starting the program.
    Exec,
    /// Waiting for the program to begin. This signal killed the child before its program began, and the errno
    /// is `ECHILD`.
    Killed(Signal),
}

impl SpawnStage {
    /// The stages at which the child itself can fail. The first entry stands for any stage that is not in the
    /// list.
    const IN_CHILD: [Self; 16] = [
        Self::Exec,
        Self::Signals,
        Self::Setsid,
        Self::Setpgid,
        Self::ControllingTerminal,
        Self::Foreground,
        Self::Cgroup,
        Self::Dup { from: 0, to: 0 },
        Self::CloseOthers,
        Self::Nice,
        Self::Setrlimit(Resource::CPU),
        Self::Setgroups,
        Self::Setgid,
        Self::Setuid,
        Self::Chdir,
        Self::DeathSignal,
    ];
}

impl fmt::Display for SpawnStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "checking the settings",
            Self::Stdio => "opening the standard streams",
            Self::Stack => "mapping a stack",
            Self::Channel => "creating the pipe for its errors",
            Self::Signals => "blocking or resetting signals",
            Self::Clone => "creating a process",
            Self::Setsid => "starting a session",
            Self::Setpgid => "moving to a process group",
            Self::ControllingTerminal => "getting a controlling terminal",
            Self::Foreground => "moving to the foreground",
            Self::Cgroup => "moving to a control group",
            Self::Dup { from, to } => {
                return write!(f, "mapping descriptor {from} to the child's {to}");
            }
            Self::CloseOthers => "closing all other descriptors",
            Self::Nice => "changing the niceness",
            Self::Setrlimit(_) => "setting a limit",
            Self::Setgroups => "setting the groups",
            Self::Setgid => "changing the group",
            Self::Setuid => "changing the user",
            Self::Chdir => "changing the directory",
            Self::DeathSignal => "setting the parent-death signal",
            Self::Exec => "starting the program",
            Self::Killed(signal) => {
                return write!(f, "killed by {signal} before the program began");
            }
        })
    }
}

/// The error of a failed spawn or exec, with the stage and the errno of the failure. After a failed spawn, no
/// child process remains.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
/// use rawpipe::process::{Arg, Spawn, SpawnStage};
///
/// let argv = [Arg::new(c"program"), Arg::END];
/// let error = Spawn::new(c"/no/such/program", &argv, &[Arg::END]).spawn().unwrap_err();
/// assert_eq!((error.stage(), error.errno()), (SpawnStage::Exec, Errno::ENOENT));
/// assert_eq!(error.to_string(), "starting the program: no such file or directory (ENOENT)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnError {
    stage: SpawnStage,
    errno: Errno,
}

impl SpawnError {
    /// Returns a function that creates an error of this stage from an errno. The function is intended for
    /// `map_err`.
    pub(crate) const fn at(stage: SpawnStage) -> impl Fn(Errno) -> Self {
        move |errno| Self { stage, errno }
    }

    /// Returns the stage at which the spawn or exec failed.
    #[must_use]
    pub const fn stage(&self) -> SpawnStage {
        self.stage
    }

    /// Returns the errno with which the spawn or exec failed.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    #[expect(clippy::unnecessary_wraps, reason = "other errors may have none")]
    pub(in super::super) const fn cause(&self) -> Option<&Errno> {
        Some(&self.errno)
    }

    /// Encodes the error for the child's report.
    pub(super) fn encode(&self) -> [i32; 4] {
        let same = |stage: &SpawnStage| discriminant(stage) == discriminant(&self.stage);
        let index = SpawnStage::IN_CHILD.iter().position(same).unwrap_or(0);
        let (a, b) = match self.stage {
            SpawnStage::Dup { from, to } => (from, to),
            SpawnStage::Setrlimit(resource) => (i32::try_from(resource.as_raw()).unwrap_or(-1), 0),
            _ => (0, 0),
        };
        [self.errno.raw_os_error(), i32::try_from(index).unwrap_or(0), a, b]
    }

    /// Decodes the child's report, or returns `None` if the child has not reported a failure.
    pub(super) fn decode([errno, index, a, b]: [i32; 4]) -> Option<Self> {
        let errno = Errno::from_raw_os_error(errno)?;
        let index = usize::try_from(index).unwrap_or(0);
        let stage = match SpawnStage::IN_CHILD.get(index).unwrap_or(&SpawnStage::Exec) {
            SpawnStage::Dup { .. } => SpawnStage::Dup { from: a, to: b },
            SpawnStage::Setrlimit(_) => SpawnStage::Setrlimit(Resource::from_raw(a.unsigned_abs())),
            stage => *stage,
        };
        Some(Self { stage, errno })
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.errno)
    }
}

crate::errno::like_std!(SpawnError, this => this.errno.kind());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spawn_error_survives_its_way_from_the_child() {
        let others = [SpawnStage::Dup { from: 7, to: -3 }, SpawnStage::Setrlimit(Resource::NOFILE)];
        for stage in SpawnStage::IN_CHILD.into_iter().chain(others) {
            let error = SpawnError { stage, errno: Errno::EACCES };
            assert_eq!(SpawnError::decode(error.encode()), Some(error));
        }
        assert_eq!(SpawnError::decode([0; 4]), None);
    }
}
