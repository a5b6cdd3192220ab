//! Starts a program, or replaces the program of this process, without an allocator and without a C library.
//!
//! # How it works
//!
//! `clone` with `CLONE_VM | CLONE_VFORK` creates the child. The child shares the parent's memory, and the
//! calling thread is stopped until the child has begun its program or has failed. No memory is copied, so the
//! cost does not depend on the size of the parent's memory. The parent prepares all data that the child
//! needs, and the child only makes system calls. If the kernel or a filter rejects shared memory, the spawn
//! falls back to an ordinary fork, and [`Child::method`] reports the fallback.
//!
//! A child that changes its ids is always created by an ordinary fork, for the reason given under *Ids*
//! below.
//!
//! # Why sharing memory is sound
//!
//! - *Stack.* The child has a separate stack with a guard below it, and never returns into a frame of its
//!   parent.
//! - *Signals.* All signals are first blocked in the parent's thread, so the child starts with all signals
//!   blocked. The child unblocks signals only when it has no handler left, so no handler runs in the shared
//!   memory.
//! - *Other threads* of the parent continue to run. The child reads only data lent to this call, and writes
//!   only the plan, the report and the stack. The child takes no lock, allocates nothing and does not touch
//!   thread-local storage, which includes `errno`.
//! - *Descriptors, handlers, mask, directory, limits* are the child's own copies.
//! - *Ids.* While the child shares memory, it has the ids of its parent. Any process that can access the
//!   memory through the child can therefore also access it through the parent. A child with another user id
//!   would give that user access to the memory through `/proc/PID/mem` and `ptrace`. Only the `dumpable` flag
//!   of the memory would prevent this access. The parent shares this flag and cannot restore it in time. A
//!   vfork returns *before* the child has released the memory, both in `execve` and in `exit`. A child that
//!   will change its user, group or groups therefore receives a copy of the memory. The kernel clears the
//!   flag only if the effective ids change, so the child first clears the flag on its own copy of the memory.
//! - *Changes to ids by other threads* during the spawn do not affect the child, even if a C library changes
//!   the ids of all threads. The child is not a thread of this process, and keeps the ids that it was created
//!   with. Therefore, do not drop privileges in one thread while another thread spawns.
//!
//! Before Linux 5.16, a core dump ends every process that shares the dumped memory. On these kernels, a child
//! that dumps core before its program begins also ends this process.
//!
//! # How a failure is reported
//!
//! The child reports a failure through the shared memory. User-mode emulators, however, turn the clone into
//! an ordinary fork, and the child's stores are lost. For that reason, each spawn also tries to create a
//! pipe, until one vfork has shown whether memory is shared. The child of that vfork sets a mark in the
//! memory. If the parent sees the mark, later children report through the shared memory. Otherwise, they
//! report through a pipe. A child of an ordinary fork always uses a pipe. A child that is killed reports no
//! failure: see [`proof`].

mod child;
mod error;
mod make;
mod proof;
mod settings;
mod stack;

use super::exec::path_of;
use super::{Child, Resource, Rlimit, Signal, SignalSet};
use crate::Errno;
use crate::fd::{AsRawFd, BorrowedFd, RawFd};
use crate::sys::abi::SIG_SETMASK;
use crate::sys::abi::arg::Arg;
use crate::sys::call;
use child::{Move, Plan, Report};
use core::ffi::CStr;
use core::sync::atomic::Ordering;
pub use error::{SpawnError, SpawnStage};
use make::{make, move_elsewhere, replace};
use stack::Stack;

/// A program to start, together with its settings. This builder allocates nothing.
/// [`Command`](crate::process::Command) (feature `std`) is more convenient.
///
/// The child has the environment `envp`, and inherits no variable of this process. The child inherits
/// descriptors that are not close-on-exec, and the descriptors of [`fd_maps`](Self::fd_maps). No signal is
/// blocked in the child, unless [`signal_mask`](Self::signal_mask) or [`inherit_mask`](Self::inherit_mask) is
/// set. Ignored signals stay ignored, except the signals of [`default_signals`](Self::default_signals). By
/// default, `default_signals` contains only `SIGPIPE`, because Rust programs ignore this signal and other
/// programs do not expect it to be ignored.
///
/// # Examples
///
/// ```
/// use rawpipe::fd::AsFd;
/// use rawpipe::process::{Arg, Spawn};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// let argv = [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"echo $WORD >&7"), Arg::END];
/// let envp = [Arg::new(c"WORD=hello"), Arg::END];
/// let mut child = Spawn::new(c"sh", &argv, &envp).fd_maps(&[(writer.as_fd(), 7)]).spawn()?;
/// drop(writer); // otherwise the next line would wait forever
/// let mut text = String::new();
/// std::io::Read::read_to_string(&mut &reader, &mut text)?;
/// assert_eq!(text, "hello\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [clone(2)](https://man7.org/linux/man-pages/man2/clone.2.html),
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is started before `spawn`"]
pub struct Spawn<'a> {
    pub(super) program: &'a CStr,
    pub(super) argv: &'a [Arg<'a>],
    pub(super) envp: &'a [Arg<'a>],
    pub(super) fds: &'a [(BorrowedFd<'a>, RawFd)],
    pub(super) close_others: bool,
    pub(super) folder: Option<&'a CStr>,
    pub(super) session: bool,
    pub(super) terminal: Option<BorrowedFd<'a>>,
    pub(super) foreground: bool,
    pub(super) group: Option<i32>,
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    pub(super) nice: Option<i32>,
    pub(super) limits: &'a [(Resource, Rlimit)],
    pub(super) groups: Option<&'a [u32]>,
    pub(super) gid: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) umask: Option<u32>,
    pub(super) death_signal: Option<Signal>,
    /// The signal mask of the program, or `None` for the mask of the calling thread.
    pub(super) signal_mask: Option<SignalSet>,
    pub(super) default_signals: SignalSet,
}

impl<'a> Spawn<'a> {
    /// Creates the settings for a program from its arguments and its environment. The first argument is the
    /// program's name. `spawn` fails if the list of arguments is empty. Both lists end with [`Arg::END`].
    ///
    /// A program without a slash in its name is searched for in the directories of the variable `PATH`, which
    /// is read from `envp`. If `envp` has no `PATH`, the search uses
    /// [`DEFAULT_PATH`](crate::process::DEFAULT_PATH). As with [`execvpe`](crate::process::execvpe),
    /// [`ELOOP`](Errno::ELOOP) or [`ENAMETOOLONG`](Errno::ENAMETOOLONG) in one of the directories ends the
    /// search.
    pub const fn new(program: &'a CStr, argv: &'a [Arg<'a>], envp: &'a [Arg<'a>]) -> Self {
        Self {
            program,
            argv,
            envp,
            fds: &[],
            close_others: false,
            folder: None,
            session: false,
            terminal: None,
            foreground: false,
            group: None,
            cgroup: None,
            nice: None,
            limits: &[],
            groups: None,
            gid: None,
            uid: None,
            umask: None,
            death_signal: None,
            signal_mask: Some(SignalSet::empty()),
            default_signals: SignalSet::empty().with(Signal::PIPE),
        }
    }

    /// Returns whether the child changes its credentials and must therefore not share memory.
    pub(super) const fn changes_ids(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || self.groups.is_some()
    }

    /// Returns whether the child will lead its own process group.
    pub(super) const fn leads_group(&self) -> bool {
        self.session || matches!((self.group, self.foreground), (Some(0), _) | (None, true))
    }

    /// Starts the program. Retries on `EINTR`.
    ///
    /// Returns when the child has begun its program. If the child was killed before its program began, the
    /// call fails at [`SpawnStage::Killed`]. This detection is reliable unless the child leaves no zombie. No
    /// zombie remains if `SIGCHLD` is ignored or has `SA_NOCLDWAIT`, or if another thread waits for all
    /// children. With [`setsid`](Self::setsid), the detection also depends on reading `/proc/PID/stat`.
    /// Reading that file needs a free descriptor, and a `/proc` that belongs to this pid namespace and shows
    /// the child. With the mount option `hidepid`, `/proc` does not show a child of another user.
    ///
    /// The settings are applied in this order: session and process group, terminal, control group,
    /// descriptors, niceness, limits, groups and user, directory, umask, parent-death signal, signals.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] with the stage and the errno:
    ///
    /// - At [`SpawnStage::Exec`], the errors of [`execve`](crate::process::execve), such as
    ///   [`EAGAIN`](Errno::EAGAIN) if the new user has more processes than `RLIMIT_NPROC` allows.
    /// - At [`SpawnStage::Channel`], the errors of [`pipe`](crate::pipe()), such as
    ///   [`EMFILE`](Errno::EMFILE). These errors occur if the child does not share memory. A spawn with
    ///   shared memory needs no descriptor.
    /// - At [`SpawnStage::Killed`], [`ECHILD`](Errno::ECHILD).
    /// - At [`SpawnStage::Clone`]:
    ///   - [`EAGAIN`](Errno::EAGAIN) if the user or the control group has reached its process limit.
    ///   - [`ENOMEM`](Errno::ENOMEM) if the kernel does not have enough memory, or the init process of the
    ///     pid namespace for new children has ended.
    ///   - [`EPERM`](Errno::EPERM), [`ENOSYS`](Errno::ENOSYS) or [`EINVAL`](Errno::EINVAL) if the kernel or a
    ///     filter of system calls rejects every way to create a child.
    /// - At [`SpawnStage::Arguments`], [`EINVAL`](Errno::EINVAL). At all other stages, the error of the system
    ///   call that failed.
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::process::{Arg, SpawnMethod, Spawn, SpawnStage};
    ///
    /// let argv = [Arg::new(c"true"), Arg::END];
    /// let spawn = Spawn::new(c"true", &argv, &[Arg::END]);
    /// let mut child = spawn.spawn()?;
    /// assert_eq!(child.method(), SpawnMethod::Vfork);
    /// assert!(child.wait()?.success());
    ///
    /// let error = spawn.current_dir(c"/no/such/folder").spawn().unwrap_err();
    /// assert_eq!((error.stage(), error.errno()), (SpawnStage::Chdir, Errno::ENOENT));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let report = Report::default();
        let (mut child, channel) = self.launch(&report, call::getpid(), make)?;

        let failure = if report.started.load(Ordering::SeqCst) {
            report.failure()
        } else {
            channel.and_then(|channel| proof::read_report(&channel, &child))
        };
        let outcome = failure.map_or_else(|| proof::wait(&child), Err);
        if let Err(failure) = outcome {
            // This wait is short, because the child is about to end.
            let _ = child.wait();
            return Err(failure);
        }
        child.leads_group = self.leads_group();
        Ok(child)
    }

    /// Replaces the program of this process with this builder's program. Returns only on failure. The error
    /// names the stage that failed.
    ///
    /// The new program starts in the same state as a child of [`spawn`](Self::spawn): with the same
    /// descriptors, directory, ids, limits and signals. The settings are applied in the same order. As with
    /// [`execve`](crate::process::execve), no destructor runs, and buffered data is not written. All other
    /// threads end, and close-on-exec descriptors are closed. By default `SIGPIPE` is set to its default
    /// effect, and no signal is blocked. [`default_signals`](Self::default_signals) and
    /// [`signal_mask`](Self::signal_mask) change these defaults. The call allocates nothing, so a forked
    /// child may also call this method.
    ///
    /// # After a failure
    ///
    /// The process continues. The following attributes of the process stay changed: session, process group,
    /// controlling terminal, the terminal's foreground group, control group and limits. After a change of
    /// ids, the memory of the process stays inaccessible to unprivileged processes (`PR_SET_DUMPABLE`).
    /// Everything else is the same as before the call: descriptors, directory, umask, niceness, ids, signal
    /// mask, handlers and parent-death signal.
    ///
    /// Immediately before the program begins, each signal in [`default_signals`](Self::default_signals) that
    /// is ignored, such as `SIGPIPE`, is set to its default effect in the whole process. If another thread
    /// then writes to a pipe without a reader, `SIGPIPE` kills the process. (std's `exec` has the same
    /// effect, and does not restore the ignored signal after a failure.) To prevent this, set
    /// `default_signals` to the empty set.
    ///
    /// # Settings that need a thread
    ///
    /// Replacing descriptors in the calling thread would invalidate the owners of these descriptors: in other
    /// threads immediately, and in the calling thread after a failure. For that reason, a separate thread is
    /// needed for settings that change descriptors or any other attribute that a failed call must not change.
    /// These settings are [`fd_maps`](Self::fd_maps), [`close_other_fds`](Self::close_other_fds),
    /// [`current_dir`](Self::current_dir), [`nice`](Self::nice), [`umask`](Self::umask),
    /// [`parent_death_signal`](Self::parent_death_signal), [`uid`](Self::uid), [`gid`](Self::gid) and
    /// [`groups`](Self::groups).
    ///
    /// If any of these settings is used, the call creates a thread with a separate copy of the attributes
    /// that these settings change. The thread shares everything else with this process. The thread executes
    /// the program, which then has the id of this process. On failure the thread ends. The calling thread is
    /// stopped until the program begins or the thread ends. A signal handler may run in the created thread,
    /// so do not call this method from a handler.
    ///
    /// When the program begins, the kernel treats the calling thread like any other thread that ends.
    /// Children that the calling thread has created with a parent-death signal receive that signal. Record
    /// locks of `fcntl(2)` (`F_SETLK`) are released, and locks of `flock(2)` are kept. `SEM_UNDO` adjustments
    /// are performed, and signals that are pending for the calling thread are lost. A real-time scheduling
    /// policy is reset if it has `SCHED_RESET_ON_FORK`. A sandbox or an emulator may reject the creation of
    /// the separate thread. The kernel rejects the creation with `EINVAL` if new children of this process are
    /// in another pid namespace.
    ///
    /// If a parent-death signal is set, and the parent of this process ends during the call, this process
    /// exits.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn), except for [`SpawnStage::Channel`] and [`SpawnStage::Killed`].
    /// At [`SpawnStage::Clone`], the errors of `clone(2)` if the thread cannot be created, such as
    /// [`EAGAIN`](Errno::EAGAIN). At [`SpawnStage::Setsid`], [`EPERM`](Errno::EPERM) if this process leads a
    /// process group. At [`SpawnStage::Setpgid`], `EPERM` if this process leads a session.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::{self, Arg, Spawn, SpawnStage};
    ///
    /// let argv = [Arg::new(c"sh"), Arg::new(c"-c"), Arg::new(c"exit 7"), Arg::END];
    /// let spawn = Spawn::new(c"sh", &argv, &[Arg::END]);
    /// // SAFETY: the child makes system calls only, and allocates nothing.
    /// let mut child = unsafe { process::fork_with(|| if spawn.exec().stage() == SpawnStage::Exec { 1 } else { 2 }) }?;
    /// assert_eq!(child.wait()?.code(), Some(7));
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
    #[must_use = "it has failed"]
    pub fn exec(&self) -> SpawnError {
        let Err(error) = self.launch(&Report::default(), call::getppid(), replace);
        error
    }

    /// Returns whether [`exec`](Self::exec) needs a separate thread, because the settings change state that a
    /// failed `exec` must not change.
    const fn changes_thread(&self) -> bool {
        let files = !self.fds.is_empty() || self.close_others;
        let place = self.folder.is_some() || self.umask.is_some();
        let task = self.nice.is_some() || self.death_signal.is_some();
        files || place || task || self.changes_ids()
    }

    /// Prepares all data that a child of `parent` needs. While all signals are blocked, calls `make` with
    /// this data and a stack.
    fn launch<T>(
        &self,
        report: &Report,
        parent: i32,
        make: impl FnOnce(Plan<'_>, (*mut u8, usize)) -> Result<T, SpawnError>,
    ) -> Result<T, SpawnError> {
        self.check().map_err(SpawnError::at(SpawnStage::Arguments))?;
        let mut stack = Stack::new(self.fds.len()).map_err(SpawnError::at(SpawnStage::Stack))?;
        let place = stack.stack();
        let moves = stack.moves();
        for (step, (from, to)) in moves.iter_mut().zip(self.fds) {
            let from = from.as_raw_fd();
            *step = Move { from, to: *to, source: from };
        }
        moves.sort_unstable_by_key(|step| step.to);
        if moves.windows(2).any(|pair| pair[0].to == pair[1].to) {
            return Err(SpawnError::at(SpawnStage::Arguments)(Errno::EINVAL));
        }
        // Without a pidfd (for example before Linux 5.3), a child in another pid namespace does not check
        // whether its parent has ended.
        let pidfd = self.death_signal.and_then(|_| call::pidfd_open(parent).ok());
        let pidfd = pidfd.and_then(|pidfd| move_elsewhere(pidfd, moves).ok());
        let mask = call::rt_sigprocmask(SIG_SETMASK, &SignalSet::full().0);
        let mask = mask.map_err(SpawnError::at(SpawnStage::Signals))?;
        let plan = Plan {
            spawn: self,
            moves,
            path: path_of(self.envp),
            parent: (parent, pidfd.as_ref().map(AsRawFd::as_raw_fd)),
            report,
            channel: None,
            handlers_cleared: false,
            is_exec: false,
            is_thread: false,
            death_signal: 0,
            no_longer_ignored: SignalSet::empty(),
            mask: self.signal_mask.unwrap_or(SignalSet(mask)),
        };
        let made = make(plan, place);
        let _ = call::rt_sigprocmask(SIG_SETMASK, &mask);
        made
    }

    /// Checks settings whose errors the kernel does not report in every case.
    fn check(&self) -> crate::Result<()> {
        let ended = |list: &[Arg<'_>]| list.last().is_some_and(|last| last.as_c_str().is_none());
        // The kernel interprets the id −1 as "no change".
        let ids = [self.uid, self.gid].into_iter().flatten();
        let mut ids = ids.chain(self.groups.into_iter().flatten().copied());
        // A program that starts without `argv[0]` may mistake its environment for arguments, because the
        // environment follows the arguments in memory.
        let valid = ended(self.argv)
            && self.argv.first().is_some_and(|name| name.as_c_str().is_some())
            && ended(self.envp)
            && self.group.is_none_or(|group| group >= 0)
            && self.fds.iter().all(|(_, to)| *to >= 0)
            && ids.all(|id| id != u32::MAX);
        if valid { Ok(()) } else { Err(Errno::EINVAL) }
    }
}
