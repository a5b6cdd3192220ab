//! Starts programs with a builder over [`Spawn`]. The builder's methods are named like those of
//! [`std::process::Command`].

mod environment;
mod line;
mod start;
mod stdio;

use super::communicate::Terms;
use super::{OnDrop, Resource, Rlimit, Signal, SignalSet, Spawn};
use crate::fd::{MaybeOwnedFd, RawFd};
use alloc::ffi::CString;
use alloc::vec::Vec;
use environment::{Environment, Strings};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
pub(super) use stdio::Source;
pub use stdio::Stdio;

/// A program to start, together with its settings.
///
/// The methods that this type shares with [`std::process::Command`] have the same names. Other methods pass a
/// descriptor to the child under any number ([`fd_map`](Self::fd_map)), and set sessions, limits, signals and
/// other attributes of a child. The cost of creating the child usually does not depend on the size of this
/// process. The cost depends on that size in two cases: if the child changes its user or groups (see [the
/// cost](Spawn#cost)), and if the kernel or a filter rejects shared memory. An error names the stage that
/// failed ([`SpawnError::stage`](crate::process::SpawnError::stage)).
///
/// A command may be started any number of times, even by several threads at the same time. A descriptor is
/// passed to the command either by value, or by reference with the lifetime `'fd`. A clone is an independent
/// command. Without any system call, cloning copies all settings and shares the descriptors that the command
/// owns.
///
/// No signal is blocked when the program begins, unless [`signal_mask`](Self::signal_mask) or
/// [`inherit_mask`](Self::inherit_mask) is set.
///
/// By default, the child inherits the environment, standard streams and directory that this process has when
/// the child is started. The child also inherits all other descriptors that are not close-on-exec. A program
/// without a slash in its name is searched for in the directories of `PATH` *in the child's environment*. For
/// signals see [`Spawn`].
///
/// By default, all variables are passed on unchanged, including variables that occur twice. If this process
/// was started with entries that have no `=` after their first byte, the child receives these entries as
/// well. Such entries are read from `/proc`. In the child's environment, they follow the inherited variables
/// and precede the variables that [`env`](Self::env) sets. Empty entries are omitted. Code such as
/// `setproctitle` overwrites the memory that `/proc` shows. If such code runs before the first command is
/// started, these entries may include parts of the process title. If C code later adds entries without a `=`
/// to the C library's list, these entries are not passed on. [`env`](Self::env) replaces all variables with
/// the given name, and [`env_remove`](Self::env_remove) removes all of them.
///
#[doc = include_str!("pre_exec.md")]
///
/// # Examples
///
/// ```
/// use rawpipe::process::{Command, Stdio};
///
/// let mut child = Command::new("sh")
///     .args(["-c", "read word; echo $GREETING $word"])
///     .env("GREETING", "hello")
///     .stdin(Stdio::piped())
///     .stdout(Stdio::piped())
///     .spawn()?;
/// child.take_stdin().unwrap().write_all(b"world\n")?;
/// let mut text = Vec::new();
/// child.stdout_ref().unwrap().read_to_end(&mut text)?;
/// assert_eq!(text, b"hello world\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
#[derive(Clone)]
pub struct Command<'fd> {
    program: CString,
    arg0: Option<CString>,
    args: Strings,
    environment: Environment,
    folder: Option<CString>,
    cgroup: Option<CString>,
    streams: [Option<Stdio<'fd>>; 3],
    fds: Vec<(MaybeOwnedFd<'fd>, RawFd)>,
    limits: Vec<(Resource, Rlimit)>,
    groups: Option<Vec<u32>>,
    terminal: Option<MaybeOwnedFd<'fd>>,
    /// The settings that the [`Spawn`] receives unchanged.
    settings: Spawn<'static>,
    on_drop: OnDrop,
    /// The settings for `output` and `status`.
    pub(super) terms: Terms<'fd>,
    /// `true` if a string contains a NUL, or if the name of a variable is invalid.
    invalid: bool,
}

impl<'fd> Command<'fd> {
    /// Creates a command for a program, initially without arguments. The program is specified by its path, or
    /// by a name that is searched for in the directories of `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut new = Self {
            program: CString::default(),
            arg0: None,
            args: Strings::default(),
            environment: Environment::default(),
            folder: None,
            cgroup: None,
            streams: [const { None }; 3],
            fds: Vec::new(),
            limits: Vec::new(),
            groups: None,
            terminal: None,
            settings: Spawn::new(c"", &[], &[]),
            on_drop: OnDrop::Leave,
            terms: Terms::default(),
            invalid: false,
        };
        new.program = new.string(program.as_ref());
        new
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        let arg = self.checked(arg.as_ref());
        self.args.push(&[arg]);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> &mut Self {
        args.into_iter().for_each(|arg| _ = self.arg(arg));
        self
    }

    /// Sets argument 0, which the program receives as its name. The default is the program passed to
    /// [`new`](Self::new).
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.arg0 = Some(self.string(name.as_ref()));
        self
    }

    /// Sets a variable of the child's environment.
    ///
    /// `spawn` fails if the name is empty or has a `=` after its first byte, or if the name or the value
    /// contains a NUL.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let (name, value) = (name.as_ref().as_bytes(), value.as_ref().as_bytes());
        let invalid_name = name.get(1..).is_none_or(|rest| rest.contains(&b'='));
        self.invalid |= invalid_name || name.contains(&0) || value.contains(&0);
        self.environment.set(name, Some(value));
        self
    }

    /// Sets variables of the child's environment.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        variables.into_iter().for_each(|(name, value)| _ = self.env(name, value));
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.set(name.as_ref().as_bytes(), None);
        self
    }

    /// Clears the child's environment. The child receives only variables that are set after this call.
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.clear();
        self
    }

    /// Sets the directory in which the child starts. A relative path to the program, or a relative directory
    /// in `PATH`, is resolved from this directory.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.folder = Some(self.string(folder.as_ref().as_os_str()));
        self
    }

    /// Sets the child's standard input. The default is the standard input of this process or, for
    /// [`output`](Self::output), `/dev/null`.
    pub fn stdin(&mut self, stdin: impl Into<Stdio<'fd>>) -> &mut Self {
        self.terms.input.clear();
        self.streams[0] = Some(stdin.into());
        self
    }

    /// Sets the child's standard output. The default is the standard output of this process or, for
    /// [`output`](Self::output), a pipe.
    ///
    /// A descriptor may be passed by value or by reference. If the command owns the write end of a pipe, that
    /// end stays open until the command and its clones are dropped. Until then, the reader of the pipe does
    /// not reach end of file.
    pub fn stdout(&mut self, stdout: impl Into<Stdio<'fd>>) -> &mut Self {
        self.streams[1] = Some(stdout.into());
        self
    }

    /// Sets the child's standard error. The default is the standard error of this process or, for
    /// [`output`](Self::output), a pipe. A descriptor may be passed by value or by reference, as with
    /// [`stdout`](Self::stdout).
    pub fn stderr(&mut self, stderr: impl Into<Stdio<'fd>>) -> &mut Self {
        self.streams[2] = Some(stderr.into());
        self
    }

    /// Passes a descriptor to the child under this number, regardless of the descriptor's number in this
    /// process.
    ///
    /// The number may already be in use in this process. If the number is 0, 1 or 2, the descriptor replaces
    /// the default of that standard stream, even for [`output`](Self::output). A descriptor may be passed by
    /// value or by reference, as with [`stdout`](Self::stdout).
    ///
    /// `spawn` fails if a number is negative or is used twice. `spawn` also fails if the number belongs to a
    /// stream that [`stdin`](Self::stdin), [`stdout`](Self::stdout) or [`stderr`](Self::stderr) has set to
    /// anything except [`Stdio::inherit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::Command;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let mut command = Command::new("sh");
    /// let mut child = command.args(["-c", "echo seven >&7"]).fd_map(&writer, 7).spawn()?;
    /// drop(writer); // otherwise `read_to_end` below would wait for it
    /// let mut text = Vec::new();
    /// reader.read_to_end(&mut text)?;
    /// assert_eq!(text, b"seven\n");
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fd_map(&mut self, fd: impl Into<MaybeOwnedFd<'fd>>, number: RawFd) -> &mut Self {
        self.fds.push((fd.into(), number));
        self
    }

    /// Closes all descriptors in the child except 0, 1, 2 and the numbers set with [`fd_map`](Self::fd_map):
    /// see [`Spawn::close_other_fds`].
    pub fn close_other_fds(&mut self) -> &mut Self {
        self.set(Spawn::close_other_fds)
    }

    /// Makes the child lead a new session: see [`Spawn::setsid`].
    pub fn setsid(&mut self) -> &mut Self {
        self.set(Spawn::setsid)
    }

    /// Makes the child lead a new session whose controlling terminal is `terminal`: see
    /// [`Spawn::controlling_terminal`].
    pub fn controlling_terminal(&mut self, terminal: impl Into<MaybeOwnedFd<'fd>>) -> &mut Self {
        self.terminal = Some(terminal.into());
        self.setsid()
    }

    /// Makes the child's process group the foreground group of its terminal: see [`Spawn::foreground`].
    pub fn foreground(&mut self) -> &mut Self {
        self.set(Spawn::foreground)
    }

    /// Moves the child to this process group: see [`Spawn::process_group`]. If `group` is 0, the child leads
    /// its own group.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.set(|spawn| spawn.process_group(group))
    }

    /// Moves the child to the control group whose directory has this path.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    /// use rawpipe::process::{Command, SpawnStage};
    ///
    /// let error = Command::new("true").cgroup("/sys/fs/cgroup/no/such").spawn().unwrap_err();
    /// assert_eq!((error.stage(), error.errno()), (SpawnStage::Cgroup, Errno::ENOENT));
    /// ```
    ///
    /// [cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)
    pub fn cgroup(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.cgroup = Some(self.string(folder.as_ref().join("cgroup.procs").as_os_str()));
        self
    }

    /// Adds `increment` to the child's niceness: see [`Spawn::nice`].
    pub fn nice(&mut self, increment: i32) -> &mut Self {
        self.set(|spawn| spawn.nice(increment))
    }

    /// Sets the child's limit for a resource.
    pub fn rlimit(&mut self, resource: Resource, limit: Rlimit) -> &mut Self {
        self.limits.push((resource, limit));
        self
    }

    /// Sets the child's supplementary groups: see [`Spawn::groups`]. With this setting, the child is created
    /// by an ordinary fork: see [its cost](Spawn#cost).
    pub fn groups(&mut self, groups: &[u32]) -> &mut Self {
        self.groups = Some(groups.to_vec());
        self
    }

    /// Sets the child's group id: see [`Spawn::gid`]. With this setting, the child is created by an ordinary
    /// fork: see [its cost](Spawn#cost).
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.set(|spawn| spawn.gid(gid))
    }

    /// Sets the child's user: see [`Spawn::uid`]. With this setting, the child is created by an ordinary
    /// fork: see [its cost](Spawn#cost).
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.set(|spawn| spawn.uid(uid))
    }

    /// Sets the file mode creation mask: the permissions that are removed from files created by the child.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.set(|spawn| spawn.umask(mask))
    }

    /// Sends the child this signal when the *thread* that started the child ends: see
    /// [`Spawn::parent_death_signal`].
    pub fn parent_death_signal(&mut self, signal: Signal) -> &mut Self {
        self.set(|spawn| spawn.parent_death_signal(signal))
    }

    /// Sets the signals that are blocked when the program begins: see [`Spawn::signal_mask`]. If neither this
    /// method nor [`inherit_mask`](Self::inherit_mask) is called, no signal is blocked.
    pub fn signal_mask(&mut self, signals: SignalSet) -> &mut Self {
        self.set(|spawn| spawn.signal_mask(signals))
    }

    /// Makes the child keep the signal mask of the thread that starts it: see [`Spawn::inherit_mask`].
    pub fn inherit_mask(&mut self) -> &mut Self {
        self.set(Spawn::inherit_mask)
    }

    /// Sets the signals that have their default effect in the child even if this process ignores them: see
    /// [`Spawn::default_signals`].
    pub fn default_signals(&mut self, signals: SignalSet) -> &mut Self {
        self.set(|spawn| spawn.default_signals(signals))
    }

    /// Sets the effect of dropping the [`Child`](crate::process::Child): see
    /// [`Child::on_drop`](crate::process::Child::on_drop).
    ///
    /// With `KillGroup`, `spawn` fails unless the child leads its own group. [`setsid`](Self::setsid),
    /// [`controlling_terminal`](Self::controlling_terminal) and [`process_group(0)`](Self::process_group)
    /// make the child lead a group, and so does [`foreground`](Self::foreground) without `process_group`. If
    /// a pipeline uses [`in_one_group`](crate::process::Pipeline::in_one_group), its first command needs none
    /// of these settings, because that command leads the group of the pipeline.
    pub fn on_drop(&mut self, policy: OnDrop) -> &mut Self {
        self.on_drop = policy;
        self
    }

    fn set(&mut self, setting: impl FnOnce(Spawn<'static>) -> Spawn<'static>) -> &mut Self {
        self.settings = setting(self.settings);
        self
    }

    /// Returns the bytes of a string. If the string contains a NUL, this function returns a substitute, and
    /// `spawn` later fails.
    fn checked<'a>(&mut self, string: &'a OsStr) -> &'a [u8] {
        let valid = !string.as_bytes().contains(&0);
        self.invalid |= !valid;
        if valid { string.as_bytes() } else { b"<string-with-nul>" }
    }

    fn string(&mut self, string: &OsStr) -> CString {
        CString::new(self.checked(string)).unwrap_or_default()
    }
}
