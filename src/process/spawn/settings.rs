//! The settings of a child, made before it is started.

use super::Spawn;
use crate::fd::{BorrowedFd, RawFd};
use crate::process::{Resource, Rlimit, Signal, SignalSet};
use core::ffi::CStr;

impl<'a> Spawn<'a> {
    /// Sets which descriptors the child has at which numbers. The numbers may be in use in this process: they may
    /// be permuted, and one descriptor may get several. Each stays open across the exec.
    ///
    /// Replaces the list; [`Command::fd_map`](crate::process::Command::fd_map) adds an entry.
    pub const fn fd_maps(self, fds: &'a [(BorrowedFd<'a>, RawFd)]) -> Self {
        Self { fds, ..self }
    }

    /// Closes all descriptors in the child except 0, 1, 2 and those of [`fd_maps`](Self::fd_maps).
    ///
    /// Since Linux 5.9 this takes a few calls. Without `close_range` (older kernels, some filters) it makes
    /// one call for each number up to `RLIMIT_NOFILE`, open or not, which may be a million.
    pub const fn close_other_fds(self) -> Self {
        Self { close_others: true, ..self }
    }

    /// Sets the directory in which the child starts. A relative path of the program or of a directory in `PATH` is
    /// resolved from there.
    ///
    /// The child enters it with its new ids. To enter a directory that only this process may enter, spawn
    /// `setpriv --reuid … --regid … program` with this directory, which changes the ids afterwards.
    pub const fn current_dir(self, folder: &'a CStr) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// Makes the child lead a new session, and a process group in it. The session has no terminal unless
    /// [`controlling_terminal`](Self::controlling_terminal) is set.
    pub const fn setsid(self) -> Self {
        Self { session: true, ..self }
    }

    /// Makes a terminal the child's controlling one: its `/dev/tty`, whose keys send it signals. The child
    /// leads its own session, as with [`setsid`](Self::setsid), and its process group is the terminal's
    /// foreground group.
    ///
    /// This does not map the terminal to the standard streams: see [`fd_maps`](Self::fd_maps). `spawn` fails
    /// at [`SpawnStage::ControllingTerminal`](crate::process::SpawnStage::ControllingTerminal) with `EPERM`
    /// if another session has the terminal, since it is not taken away, and with `ENOTTY` if it is no
    /// terminal.
    ///
    /// [TIOCSCTTY(2const)](https://man7.org/linux/man-pages/man2/TIOCSCTTY.2const.html)
    pub const fn controlling_terminal(self, terminal: BorrowedFd<'a>) -> Self {
        Self { session: true, terminal: Some(terminal), ..self }
    }

    /// Makes the child's process group the foreground group of its terminal before the program begins. The
    /// child leads its own group, unless [`process_group`](Self::process_group) names another one. Afterwards
    /// this process is in the background: a shell takes the terminal back after its wait, and after a spawn
    /// that fails. The group of a child that could not start its program stays the foreground group, although
    /// no process is left in it.
    ///
    /// The terminal is that of [`controlling_terminal`](Self::controlling_terminal), or else this process's,
    /// opened as `/dev/tty`. If there is none, as with [`setsid`](Self::setsid) alone, `spawn` fails at
    /// [`SpawnStage::Foreground`](crate::process::SpawnStage::Foreground) with `ENXIO`.
    ///
    /// [TIOCSPGRP(2const)](https://man7.org/linux/man-pages/man2/TIOCSPGRP.2const.html)
    #[doc(alias = "tcsetpgrp")]
    pub const fn foreground(self) -> Self {
        Self { foreground: true, ..self }
    }

    /// Moves the child to this process group. With 0 it leads its own group.
    pub const fn process_group(self, group: i32) -> Self {
        Self { group: Some(group), ..self }
    }

    /// Moves the child to the control group whose file `cgroup.procs` this is, open for writing.
    ///
    /// If that group is frozen, the child stops before its program, and the thread that spawns it waits
    /// until the group is thawed. With `memory.oom.group` set there, an out-of-memory kill before the
    /// program begins also kills this process if the child shares its memory
    /// ([`SpawnMethod::Vfork`](crate::process::SpawnMethod::Vfork)).
    pub const fn cgroup_procs(self, processes: BorrowedFd<'a>) -> Self {
        Self { cgroup: Some(processes), ..self }
    }

    /// Adds this to the child's niceness, within −20 and 19. A negative increment requires privileges.
    pub const fn nice(self, increment: i32) -> Self {
        Self { nice: Some(increment), ..self }
    }

    /// Sets how much of each of these resources the child may use. Replaces the list;
    /// [`Command::rlimit`](crate::process::Command::rlimit) adds an entry.
    pub const fn rlimits(self, limits: &'a [(Resource, Rlimit)]) -> Self {
        Self { limits, ..self }
    }

    /// Sets the child's supplementary groups. The child is created by an ordinary fork, see
    /// [`uid`](Self::uid).
    ///
    /// If the kernel denies `setgroups` (`EPERM`), groups that the process already has, in any order, are no
    /// error.
    pub const fn groups(self, groups: &'a [u32]) -> Self {
        Self { groups: Some(groups), ..self }
    }

    /// Sets the child's group, real, effective and saved. The child is created by an ordinary fork, see
    /// [`uid`](Self::uid).
    pub const fn gid(self, gid: u32) -> Self {
        Self { gid: Some(gid), ..self }
    }

    /// Sets the child's user, real, effective and saved.
    ///
    /// The supplementary groups are dropped, unless [`groups`](Self::groups) sets others. If the kernel
    /// denies that (`EPERM`) the spawn fails at
    /// [`SpawnStage::Setgroups`](crate::process::SpawnStage::Setgroups), with two exceptions: there are no
    /// groups; or `uid` is this process's own user id, real, effective and saved, and not 0. In the second
    /// case its groups stay. So a process without privileges may pass its own id. The group does not change:
    /// see [`gid`](Self::gid).
    ///
    /// The kernel's rules for capabilities apply. A change from user 0 drops them. Ambient ones of another user
    /// stay, and with `SECBIT_NO_SETUID_FIXUP` all stay.
    ///
    /// From the change on until the child has its program, any process of that user may stop or kill it. Stopping
    /// it stops the thread that spawns it.
    ///
    /// # Cost
    ///
    /// A child with [`groups`](Self::groups), `gid` or `uid` never shares this process's memory, which the
    /// other user could read and write through the child. It is created by an ordinary fork, and
    /// [`Child::method`](crate::process::Child::method) is [`Fork`](crate::process::SpawnMethod::Fork). The
    /// kernel copies the page tables, which takes some 50 ms for each GiB of resident memory, and this
    /// process then takes a page fault at its first write to each page. There are two alternatives for a
    /// large process. Fork a small helper process early, and let it do this spawn. Or spawn a small program
    /// that changes the ids and executes the other one, such as `setpriv --reuid … --regid … --init-groups`.
    pub const fn uid(self, uid: u32) -> Self {
        Self { uid: Some(uid), ..self }
    }

    /// Sets the file mode creation mask: the permissions that files created by the child do not get.
    pub const fn umask(self, mask: u32) -> Self {
        Self { umask: Some(mask), ..self }
    }

    /// Sends the child this signal when the *thread* that spawns it ends. If that happens before the child can
    /// request the signal, the child exits. A program with set-user-id or capabilities loses the setting.
    ///
    /// In a new pid namespace, a child can detect that its parent ended before only if this process could open a
    /// pidfd: since Linux 5.3, and with a descriptor left.
    pub const fn parent_death_signal(self, signal: Signal) -> Self {
        Self { death_signal: Some(signal), ..self }
    }

    /// Sets which signals are blocked when the program begins. If neither this nor
    /// [`inherit_mask`](Self::inherit_mask) is called, none is.
    pub const fn signal_mask(self, signals: SignalSet) -> Self {
        Self { signal_mask: Some(signals), ..self }
    }

    /// Keeps the signals blocked that are blocked in the thread that spawns the child.
    pub const fn inherit_mask(self) -> Self {
        Self { signal_mask: None, ..self }
    }

    /// Sets which signals have their default effect in the program even if they are ignored here. If this is not
    /// called, only `SIGPIPE` has it. (Signals that are handled here always have it.)
    pub const fn default_signals(self, signals: SignalSet) -> Self {
        Self { default_signals: signals, ..self }
    }
}
