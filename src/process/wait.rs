//! A child process, and what became of it.

use crate::abi::{self, SigInfo};
use crate::{Errno, Result, call};
use core::fmt;

/// A child process made by [`fork`](crate::fork) or [`fork_with`](crate::process::fork_with).
///
/// Dropping it does nothing: the child runs on, and when it has ended it stays a zombie until this
/// process ends. Call [`wait`](Self::wait).
#[must_use = "a child that is not waited for stays a zombie when it has ended"]
#[derive(Debug)]
pub struct Child {
    pid: i32,
    end: Option<Result<ExitStatus>>,
}

impl Child {
    pub(super) fn new(pid: i32, _pidfd: Option<crate::fd::OwnedFd>) -> Self {
        Self { pid, end: None }
    }
    #[cfg(feature = "process")]
    pub(super) fn set_method(&mut self, _: Method) {}
    #[cfg(feature = "process")]
    pub(super) fn set_leads_group(&mut self, _: bool) {}
    /// How.
    pub fn method(&self) -> Method {
        Method::Vfork
    }

    /// The process id.
    ///
    /// It is this child's until a `wait` has answered. After that the kernel may give it to another
    /// process.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits until the child has ended and says how. Goes on after a signal.
    ///
    /// Asked again, it gives the same answer, without a system call.
    ///
    /// # Errors
    ///
    /// - [`ECHILD`](Errno::ECHILD): how it ended is lost, because the process ignores `SIGCHLD`, or
    ///   somebody else has waited for it, or this process is not its parent. With `SIGCHLD` ignored
    ///   the answer comes when all children have ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process;
    ///
    /// // SAFETY: the child does nothing but return a number.
    /// let mut child = unsafe { process::fork_with(|| 7) }?;
    /// let status = child.wait()?;
    /// assert_eq!(status.code(), Some(7));
    /// assert!(!status.success());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    #[doc(alias = "waitpid")]
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ask(0)? {
                return Ok(status);
            }
        }
    }

    /// Says how the child has ended, or `None` if it still runs. Does not wait.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::process;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// // SAFETY: the child only reads from a pipe.
    /// let mut child = unsafe {
    ///     process::fork_with(|| {
    ///         let _ = reader.read(&mut [0]);
    ///         0
    ///     })
    /// }?;
    /// assert_eq!(child.try_wait()?, None);
    /// writer.write(b"!")?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), rawpipe::Errno>(())
    /// ```
    ///
    /// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.ask(abi::WNOHANG)
    }

    /// Asks the kernel, unless the answer is known: a second call could hit another child that has
    /// been given the same process id.
    fn ask(&mut self, options: usize) -> Result<Option<ExitStatus>> {
        if let Some(end) = self.end {
            return end.map(Some);
        }
        let end = loop {
            match call::waitid(self.pid, abi::WEXITED | options) {
                Ok(None) => return Ok(None),
                Ok(Some(info)) => break Ok(ExitStatus::new(&info)),
                Err(Errno::EINTR) => {}
                Err(errno) => break Err(errno),
            }
        };
        self.end = Some(end);
        end.map(Some)
    }
}

/// How a child was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Sharing memory with its parent until it had its program: nothing was copied.
    Vfork,
    /// As a copy of its parent: by a fork, or because the kernel refuses the other way.
    Fork,
}

/// How a child ended: by itself with an exit code, or killed by a signal.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// // SAFETY: the child does nothing but end.
/// let status = unsafe { process::fork_with(|| process::exit(3)) }?.wait()?;
/// assert_eq!((status.code(), status.signal()), (Some(3), None));
/// assert_eq!(status.to_string(), "exit code 3");
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html)
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitStatus {
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Exited(i32),
    Killed { signal: i32, core_dumped: bool },
}

impl ExitStatus {
    fn new(info: &SigInfo) -> Self {
        let end = match info.si_code() {
            abi::CLD_EXITED => End::Exited(info.si_status),
            code => End::Killed { signal: info.si_status, core_dumped: code == abi::CLD_DUMPED },
        };
        Self { end }
    }

    /// Whether it exited with code 0.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self.end, End::Exited(0))
    }

    /// The exit code, 0 to 255, or `None` if a signal killed it.
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        match self.end {
            End::Exited(code) => Some(code),
            End::Killed { .. } => None,
        }
    }

    /// The number of the signal that killed it, or `None` if it exited.
    #[must_use]
    pub const fn signal(&self) -> Option<i32> {
        match self.end {
            End::Exited(_) => None,
            End::Killed { signal, .. } => Some(signal),
        }
    }

    /// Whether a signal killed it and the kernel wrote a core dump.
    #[must_use]
    pub const fn core_dumped(&self) -> bool {
        matches!(self.end, End::Killed { core_dumped: true, .. })
    }
}

impl fmt::Debug for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExitStatus({self})")
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Exited(code) => write!(f, "exit code {code}"),
            End::Killed { signal, core_dumped: false } => write!(f, "killed by signal {signal}"),
            End::Killed { signal, core_dumped: true } => {
                write!(f, "killed by signal {signal}, core dumped")
            }
        }
    }
}

#[cfg(feature = "std")]
impl From<ExitStatus> for std::process::ExitStatus {
    fn from(status: ExitStatus) -> Self {
        // The encoding of wait(2).
        std::os::unix::process::ExitStatusExt::from_raw(match status.end {
            End::Exited(code) => (code & 0xff) << 8,
            End::Killed { signal, core_dumped } => signal | if core_dumped { 0x80 } else { 0 },
        })
    }
}
