//! A builder over [`Spawn`] that starts programs, with the method names of [`std::process::Command`].

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
/// The methods that this type shares with [`std::process::Command`] have the same names. Other methods pass
/// any descriptor at any number ([`fd_map`](Self::fd_map)), and set sessions, limits, signals and other
/// attributes of a child. The cost of creating the child usually does not depend on the size of this process.
/// The exceptions are a change of user or groups (see [its cost](Spawn#cost)), and a kernel or filter that
/// rejects shared memory. An error names the stage that failed
/// ([`SpawnError::stage`](crate::process::SpawnError::stage)).
///
/// A command may be started any number of times, even by several threads at the same time. A descriptor is
/// passed to the command by value, or by reference for the lifetime `'fd`. A clone is an independent command.
/// Cloning copies all settings and shares the descriptors that the command owns, without a system call.
///
/// No signal is blocked when the program begins, unless [`signal_mask`](Self::signal_mask) or
/// [`inherit_mask`](Self::inherit_mask) is set.
///
/// By default, the child inherits the environment, the standard streams and the directory of this process, as
/// they are when the child is started. The child also inherits all other descriptors that are not
/// close-on-exec. A program without a slash in its name is searched for in the directories of `PATH` *in the
/// child's environment*. For signals see [`Spawn`].
///
/// By default, all variables are passed on unchanged, including variables that occur twice. The child also
/// receives entries without a `=` after their first byte, if this process was started with them. These
/// entries are read from `/proc`. In the child's environment, they follow the inherited variables and precede
/// the variables that [`env`](Self::env) sets. Empty entries are omitted. Code such as `setproctitle`
/// overwrites the memory that `/proc` shows. If a title is written before the first start of a command, these
/// entries may include parts of the title. Entries without a `=` that C code adds to the C library's list
/// later are not passed on. [`env`](Self::env) replaces, and [`env_remove`](Self::env_remove) removes, all
/// variables with the given name.
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
    /// Set if a string contains a NUL, or if the name of a variable is invalid.
    invalid: bool,
}

impl<'fd> Command<'fd> {
    /// Creates a command without arguments for a program. The program is specified by its path, or by a name
    /// that is searched for in the directories of `PATH`.
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

    /// Sets the program's argument 0, its name. The default is the program passed to [`new`](Self::new).
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
    /// end stays open until the command and its clones are dropped. The reader cannot reach end of file
    /// earlier.
    pub fn stdout(&mut self, stdout: impl Into<Stdio<'fd>>) -> &mut Self {
        self.streams[1] = Some(stdout.into());
        self
    }

    /// Sets the child's standard error. The default is the standard error of this process or, for
    /// [`output`](Self::output), a pipe. A descriptor may be passed as for [`stdout`](Self::stdout).
    pub fn stderr(&mut self, stderr: impl Into<Stdio<'fd>>) -> &mut Self {
        self.streams[2] = Some(stderr.into());
        self
    }

    /// Gives the child a descriptor at this number, whatever number the descriptor has in this process.
    ///
    /// The number may be in use in this process. For 0, 1 and 2, the descriptor replaces the default of the
    /// standard stream, even with [`output`](Self::output). A descriptor may be passed by value or by
    /// reference, as with [`stdout`](Self::stdout).
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

    /// Sets the child's supplementary groups: see [`Spawn::groups`]. With this setting, an ordinary fork
    /// creates the child, at the [cost](Spawn#cost) of a fork.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Self {
        self.groups = Some(groups.to_vec());
        self
    }

    /// Sets the child's group id: see [`Spawn::gid`]. With this setting, an ordinary fork creates the child, at
    /// the [cost](Spawn#cost) of a fork.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.set(|spawn| spawn.gid(gid))
    }

    /// Sets the child's user: see [`Spawn::uid`]. With this setting, an ordinary fork creates the child, at
    /// the [cost](Spawn#cost) of a fork.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.set(|spawn| spawn.uid(uid))
    }

    /// Sets the file mode creation mask: the permissions that are removed from files created by the child.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.set(|spawn| spawn.umask(mask))
    }

    /// Sends the child this signal when the *thread* that starts it ends: see
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
    /// make the child lead a group, and so does [`foreground`](Self::foreground) without `process_group`. The
    /// first command of a pipeline with [`in_one_group`](crate::process::Pipeline::in_one_group) leads the
    /// group of the pipeline without these settings.
    pub fn on_drop(&mut self, policy: OnDrop) -> &mut Self {
        self.on_drop = policy;
        self
    }

    fn set(&mut self, setting: impl FnOnce(Spawn<'static>) -> Spawn<'static>) -> &mut Self {
        self.settings = setting(self.settings);
        self
    }

    /// Returns the bytes of a string. If the string contains a NUL, returns a substitute and makes `spawn`
    /// fail.
    fn checked<'a>(&mut self, string: &'a OsStr) -> &'a [u8] {
        let valid = !string.as_bytes().contains(&0);
        self.invalid |= !valid;
        if valid { string.as_bytes() } else { b"<string-with-nul>" }
    }

    fn string(&mut self, string: &OsStr) -> CString {
        CString::new(self.checked(string)).unwrap_or_default()
    }
}
