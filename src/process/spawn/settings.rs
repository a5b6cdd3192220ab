//! Defines the settings of a child.

use super::Spawn;
use crate::fd::{BorrowedFd, RawFd};
use crate::process::{Resource, Rlimit, Signal, SignalSet};
use core::ffi::CStr;

impl<'a> Spawn<'a> {
    /// Sets the descriptors that the child receives, and their numbers in the child. These numbers may
    /// already be in use in this process. Descriptors may exchange their numbers, and one descriptor may have
    /// several numbers. Each descriptor stays open across the exec.
    ///
    /// This call replaces the list. [`Command::fd_map`](crate::process::Command::fd_map) adds an entry.
    pub const fn fd_maps(self, fds: &'a [(BorrowedFd<'a>, RawFd)]) -> Self {
        Self { fds, ..self }
    }

    /// Closes all descriptors in the child except 0, 1, 2 and the descriptors of [`fd_maps`](Self::fd_maps).
    ///
    /// Since Linux 5.9 a few system calls suffice. Without `close_range` (older kernels, some filters), the
    /// child makes one call for each number up to `RLIMIT_NOFILE`, even if no descriptor has that number. The
    /// limit may be a million. Without `close_range`, a descriptor stays open if the limit was lowered after
    /// the descriptor was opened, and the descriptor's number is above the new limit.
    pub const fn close_other_fds(self) -> Self {
        Self { close_others: true, ..self }
    }

    /// Sets the directory in which the child starts. A relative path to the program, or a relative directory
    /// in `PATH`, is resolved from this directory.
    ///
    /// The child already has its new ids when it enters the directory. To enter a directory that only this
    /// process may enter, spawn `setpriv --reuid … --regid … program` with this directory. `setpriv` changes
    /// the ids afterwards.
    pub const fn current_dir(self, folder: &'a CStr) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// Makes the child lead a new session, and a new process group in that session. The session has no
    /// terminal unless [`controlling_terminal`](Self::controlling_terminal) is set.
    pub const fn setsid(self) -> Self {
        Self { session: true, ..self }
    }

    /// Makes a terminal the child's controlling terminal: the child can open it as `/dev/tty`, and keys such
    /// as Ctrl-C send signals to the child. The child leads its own session, as with
    /// [`setsid`](Self::setsid). The child's process group becomes the terminal's foreground group.
    ///
    /// This setting does not map the terminal to the standard streams: see [`fd_maps`](Self::fd_maps).
    /// `spawn` fails at [`SpawnStage::ControllingTerminal`](crate::process::SpawnStage::ControllingTerminal)
    /// with `EPERM` if the terminal already controls another session. This setting does not take the terminal
    /// away from that session. `spawn` fails with `ENOTTY` if the descriptor is not a terminal.
    ///
    /// [TIOCSCTTY(2const)](https://man7.org/linux/man-pages/man2/TIOCSCTTY.2const.html)
    pub const fn controlling_terminal(self, terminal: BorrowedFd<'a>) -> Self {
        Self { session: true, terminal: Some(terminal), ..self }
    }

    /// Makes the child's process group the foreground group of the child's terminal before the program
    /// begins. The child leads its own group, unless [`process_group`](Self::process_group) names another
    /// group.
    ///
    /// After the spawn, this process is in the background if it has the same terminal but is not in that
    /// group. A shell must reclaim the terminal after the child has ended or stopped, and after a failed
    /// spawn. If a child could not start its program, its group stays the foreground group even though the
    /// group has no process left.
    ///
    /// The terminal is the one set with [`controlling_terminal`](Self::controlling_terminal). If that setting
    /// is not used, the terminal is this process's terminal, opened as `/dev/tty`. If no terminal exists, as
    /// with [`setsid`](Self::setsid) alone, `spawn` fails at
    /// [`SpawnStage::Foreground`](crate::process::SpawnStage::Foreground) with `ENXIO`.
    ///
    /// [TIOCSPGRP(2const)](https://man7.org/linux/man-pages/man2/TIOCSPGRP.2const.html)
    #[doc(alias = "tcsetpgrp")]
    pub const fn foreground(self) -> Self {
        Self { foreground: true, ..self }
    }

    /// Moves the child to this process group. If `group` is 0, the child leads its own group.
    pub const fn process_group(self, group: i32) -> Self {
        Self { group: Some(group), ..self }
    }

    /// Moves the child to a control group. `processes` is the group's file `cgroup.procs`, open for writing.
    ///
    /// If that group is frozen, the child stops before its program begins, and the thread that spawns it
    /// waits until the group is thawed. If `memory.oom.group` is set for that group, an out-of-memory kill
    /// before the program begins may also kill this process. This process is affected only if it shares its
    /// memory with the child ([`SpawnMethod::Vfork`](crate::process::SpawnMethod::Vfork)).
    pub const fn cgroup_procs(self, processes: BorrowedFd<'a>) -> Self {
        Self { cgroup: Some(processes), ..self }
    }

    /// Adds `increment` to the child's niceness. The result is limited to the range −20 to 19. A negative
    /// increment requires privileges, or a sufficient [`Resource::NICE`] limit for this process.
    pub const fn nice(self, increment: i32) -> Self {
        Self { nice: Some(increment), ..self }
    }

    /// Sets the child's limits for these resources. This call replaces the list.
    /// [`Command::rlimit`](crate::process::Command::rlimit) adds an entry.
    pub const fn rlimits(self, limits: &'a [(Resource, Rlimit)]) -> Self {
        Self { limits, ..self }
    }

    /// Sets the child's supplementary groups. With this setting, the child is created by an ordinary fork:
    /// see [`uid`](Self::uid).
    ///
    /// If the kernel denies `setgroups` (`EPERM`), the spawn succeeds only if the process already has exactly
    /// these groups, in any order.
    pub const fn groups(self, groups: &'a [u32]) -> Self {
        Self { groups: Some(groups), ..self }
    }

    /// Sets the child's real, effective and saved group. With this setting, the child is created by an
    /// ordinary fork: see [`uid`](Self::uid).
    pub const fn gid(self, gid: u32) -> Self {
        Self { gid: Some(gid), ..self }
    }

    /// Sets the child's real, effective and saved user.
    ///
    /// The supplementary groups are dropped, unless [`groups`](Self::groups) sets other groups. If the kernel
    /// denies this change (`EPERM`), the spawn fails at
    /// [`SpawnStage::Setgroups`](crate::process::SpawnStage::Setgroups), with two exceptions. The first
    /// exception is a process without supplementary groups. The second is a `uid` that is not 0 and equals
    /// this process's real, effective and saved user id. In the second case, the groups stay unchanged. A
    /// process without privileges may therefore pass its own id. `uid` does not change the group: see
    /// [`gid`](Self::gid).
    ///
    /// The kernel's rules for capabilities apply. A change from user 0 drops capabilities. A change from
    /// another user keeps the ambient capabilities, and keeps all capabilities if `SECBIT_NO_SETUID_FIXUP` is
    /// set.
    ///
    /// From the change of the user until the child has begun its program, any process of the new user may
    /// stop or kill the child. Stopping the child also blocks the thread that spawns the child.
    ///
    /// # Cost
    ///
    /// A child with [`groups`](Self::groups), `gid` or `uid` never shares this process's memory, because
    /// another user could read and write that memory through the child. An ordinary fork creates the child,
    /// and [`Child::method`](crate::process::Child::method) returns
    /// [`Fork`](crate::process::SpawnMethod::Fork). The kernel copies the page tables. The copy takes about
    /// 50 ms for each GiB of resident memory. This process then has a page fault at its first write to each
    /// page.
    ///
    /// A large process has two alternatives. The process can fork a helper process early, while it is still
    /// small, and spawn from that helper. Alternatively, it can spawn a small program, such as
    /// `setpriv --reuid … --regid … --init-groups`, that changes the ids and executes the intended program.
    pub const fn uid(self, uid: u32) -> Self {
        Self { uid: Some(uid), ..self }
    }

    /// Sets the file mode creation mask: the permissions that are removed from files created by the child.
    pub const fn umask(self, mask: u32) -> Self {
        Self { umask: Some(mask), ..self }
    }

    /// Sends the child this signal when the *thread* that spawned the child ends. If this process ends before
    /// the child can request the signal, the child exits. The kernel clears the setting if the program is
    /// set-user-id or set-group-id, or has file capabilities.
    ///
    /// A child in a new pid namespace needs a pidfd of this process in order to detect that this process has
    /// already ended. Opening that pidfd needs Linux 5.3 and a free descriptor.
    pub const fn parent_death_signal(self, signal: Signal) -> Self {
        Self { death_signal: Some(signal), ..self }
    }

    /// Sets the signals that are blocked when the program begins. If neither this method nor
    /// [`inherit_mask`](Self::inherit_mask) is called, no signal is blocked.
    pub const fn signal_mask(self, signals: SignalSet) -> Self {
        Self { signal_mask: Some(signals), ..self }
    }

    /// Gives the program the signal mask of the thread that spawns the child.
    pub const fn inherit_mask(self) -> Self {
        Self { signal_mask: None, ..self }
    }

    /// Sets the signals that have their default effect in the program even if they are ignored in this
    /// process. By default only `SIGPIPE` is in this set. (Signals with a handler in this process always have
    /// their default effect in the program.)
    pub const fn default_signals(self, signals: SignalSet) -> Self {
        Self { default_signals: signals, ..self }
    }
}
