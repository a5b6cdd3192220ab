//! The comfortable way to start a program: a builder with the names of [`std::process::Command`] over
//! [`Spawn`].

mod environment;
mod start;
mod stdio;

use super::{OnDrop, Resource, Rlimit, Signal, SignalSet, Spawn};
use crate::fd::{OwnedFd, RawFd};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt;
use environment::{Environment, Strings};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
pub(super) use stdio::Source;
pub use stdio::Stdio;

/// A program to start, and how.
///
/// What [`std::process::Command`] can do has the same name here. Beyond that: any descriptor at any
/// number ([`fd_map`](Self::fd_map)), sessions, limits, signals and the rest of what a child may be
/// asked to do to itself before it begins. Whatever else is asked for, the child is made in the same fast
/// way, unless it changes its user or groups: see [`Spawn`]. A failure names its stage
/// ([`SpawnError::stage`](crate::process::SpawnError::stage)).
///
/// A command may be started any number of times, by several threads at once, too.
///
/// By default the child has the environment of this process at the time of its start, its standard
/// streams, and its folder; it has no other descriptor, unless one is not close-on-exec. A program
/// without a slash in its name is looked for in the folders of `PATH` *as the child will have it*. About
/// signals see [`Spawn`].
///
/// The environment is handed on as it is: variables that are there twice, and the entries without a `=`
/// that this process was started with (after the variables, and not the empty ones). Those that C code adds
/// to its list later are not seen. [`env`](Self::env) and [`env_remove`](Self::env_remove) replace or remove
/// all variables of that name.
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
pub struct Command {
    program: CString,
    arg0: Option<CString>,
    args: Strings,
    environment: Environment,
    folder: Option<CString>,
    cgroup: Option<CString>,
    streams: [Option<Stdio>; 3],
    fds: Vec<(OwnedFd, RawFd)>,
    limits: Vec<(Resource, Rlimit)>,
    groups: Option<Vec<u32>>,
    terminal: Option<OwnedFd>,
    /// What fits in there as it is.
    settings: Spawn<'static>,
    on_drop: OnDrop,
    /// Something could not be passed on as it was given.
    invalid: bool,
}

impl Command {
    /// A program by its path, or by its name in the folders of `PATH`, without arguments.
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
            invalid: false,
        };
        new.program = new.string(program.as_ref()).unwrap_or_default();
        new
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        let arg = arg.as_ref().as_bytes();
        self.invalid |= arg.contains(&0);
        self.args.push(&[arg]);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> &mut Self {
        args.into_iter().for_each(|arg| _ = self.arg(arg));
        self
    }

    /// The name by which the program is called, its argument 0. If this is not called, it is what the
    /// command was made with.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.arg0 = self.string(name.as_ref());
        self
    }

    /// Sets a variable of the child's environment.
    ///
    /// A name that is empty, or has a `=` behind its first byte, is no name: then `spawn` fails.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let (name, value) = (name.as_ref().as_bytes(), value.as_ref().as_bytes());
        let no_name = name.get(1..).is_none_or(|rest| rest.contains(&b'='));
        self.invalid |= no_name || name.contains(&0) || value.contains(&0);
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

    /// Takes a variable out of the child's environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.set(name.as_ref().as_bytes(), None);
        self
    }

    /// Empties the child's environment: it will have those variables only that are set after this.
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.clear();
        self
    }

    /// The folder in which the child starts. If the program, or a folder of `PATH`, is given by a
    /// relative path, it is looked for from there.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.folder = self.string(folder.as_ref().as_os_str());
        self
    }

    /// The child's standard input. If this is not called, that of this process.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.streams[0] = Some(stdin.into());
        self
    }

    /// The child's standard output. If this is not called, that of this process.
    ///
    /// The command owns a descriptor that is given here. A write end of a pipe stays open, and its
    /// reader does not come to the end, before the command is dropped.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.streams[1] = Some(stdout.into());
        self
    }

    /// The child's standard error; else as [`stdout`](Self::stdout).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.streams[2] = Some(stderr.into());
        self
    }

    /// Gives the child a descriptor at this number, whatever number it has here.
    ///
    /// Any set of numbers will do, those that are in use here included. For 0, 1 and 2 it replaces what the
    /// standard stream would be by default, also with [`output`](Self::output). A number that is negative,
    /// or is given twice, or is that of a stream that was set by [`stdin`](Self::stdin),
    /// [`stdout`](Self::stdout) or [`stderr`](Self::stderr) to anything but [`Stdio::inherit`], makes
    /// `spawn` fail. The command owns the descriptor, as with [`stdout`](Self::stdout).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process::Command;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// let mut command = Command::new("sh");
    /// let mut child = command.args(["-c", "echo seven >&7"]).fd_map(writer, 7).spawn()?;
    /// drop(command); // it has a write end
    /// let mut text = Vec::new();
    /// reader.read_to_end(&mut text)?;
    /// assert_eq!(text, b"seven\n");
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fd_map(&mut self, fd: impl Into<OwnedFd>, number: RawFd) -> &mut Self {
        self.fds.push((fd.into(), number));
        self
    }

    /// Closes all other descriptors in the child: see [`Spawn::close_other_fds`].
    pub fn close_other_fds(&mut self) -> &mut Self {
        self.set(Spawn::close_other_fds)
    }

    /// The child leads a session of its own: see [`Spawn::setsid`].
    pub fn setsid(&mut self) -> &mut Self {
        self.set(Spawn::setsid)
    }

    /// Makes a terminal, which the command owns, the child's controlling one: see [`Spawn::controlling_terminal`].
    pub fn controlling_terminal(&mut self, terminal: impl Into<OwnedFd>) -> &mut Self {
        self.terminal = Some(terminal.into());
        self.setsid()
    }

    /// Makes the child's process group the foreground one of its terminal: see [`Spawn::foreground`].
    pub fn foreground(&mut self) -> &mut Self {
        self.set(Spawn::foreground)
    }

    /// The child's process group; for 0 it leads one of its own: see [`Spawn::process_group`].
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.set(|spawn| spawn.process_group(group))
    }

    /// The control group that the child goes to, by the path of its folder.
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
        self.cgroup = self.string(folder.as_ref().join("cgroup.procs").as_os_str());
        self
    }

    /// Adds this to the child's niceness: see [`Spawn::nice`].
    pub fn nice(&mut self, increment: i32) -> &mut Self {
        self.set(|spawn| spawn.nice(increment))
    }

    /// How much of a resource the child may use.
    pub fn rlimit(&mut self, resource: Resource, limit: Rlimit) -> &mut Self {
        self.limits.push((resource, limit));
        self
    }

    /// Sets the child's supplementary groups: see [`Spawn::groups`]. The child is made by an ordinary fork,
    /// at the [cost](Spawn#cost) of one.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Self {
        self.groups = Some(groups.to_vec());
        self
    }

    /// Sets the child's group: see [`Spawn::gid`]. The child is made by an ordinary fork, at the
    /// [cost](Spawn#cost) of one.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.set(|spawn| spawn.gid(gid))
    }

    /// Sets the child's user: see [`Spawn::uid`]. The child is made by an ordinary fork, at the
    /// [cost](Spawn#cost) of one.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.set(|spawn| spawn.uid(uid))
    }

    /// Which permissions the files that the child makes do not have.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.set(|spawn| spawn.umask(mask))
    }

    /// The child gets this signal when the *thread* that starts it ends: see
    /// [`Spawn::parent_death_signal`].
    pub fn parent_death_signal(&mut self, signal: Signal) -> &mut Self {
        self.set(|spawn| spawn.parent_death_signal(signal))
    }

    /// Which signals are blocked when the program begins: see [`Spawn::signal_mask`].
    pub fn signal_mask(&mut self, signals: SignalSet) -> &mut Self {
        self.set(|spawn| spawn.signal_mask(signals))
    }

    /// Which ignored signals are to have their default effect: see [`Spawn::default_signals`].
    pub fn default_signals(&mut self, signals: SignalSet) -> &mut Self {
        self.set(|spawn| spawn.default_signals(signals))
    }

    /// What dropping the [`Child`](crate::process::Child) does: see [`Child::on_drop`](crate::process::Child::on_drop).
    ///
    /// `KillGroup` needs [`setsid`](Self::setsid) or [`process_group(0)`](Self::process_group); without
    /// them `spawn` fails.
    pub fn on_drop(&mut self, policy: OnDrop) -> &mut Self {
        self.on_drop = policy;
        self
    }

    fn set(&mut self, setting: impl FnOnce(Spawn<'static>) -> Spawn<'static>) -> &mut Self {
        self.settings = setting(self.settings);
        self
    }

    /// The string as the kernel wants it. One with a NUL in it is not lost: `spawn` answers it.
    fn string(&mut self, string: &OsStr) -> Option<CString> {
        let string = CString::new(string.as_bytes()).ok();
        self.invalid |= string.is_none();
        string
    }
}

/// The command line: the program and its arguments, quoted.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg:?}"))
    }
}
