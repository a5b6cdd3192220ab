//! A replacement for std whose `process` module starts programs with rawpipe.
//!
//! An adapter declares `extern crate rawpipe_std as std`. Unchanged tests that import
//! `std::process::Command` then start their programs with rawpipe's `Command`.

pub use ::std as real;
pub use ::std::*;

/// Provides `std::process`, in which rawpipe's types replace std's types that have the same names.
pub mod process {
    pub use ::std::process::*;
    pub use rawpipe::process::Output;
    use std::ffi::OsStr;
    use std::io;
    use std::ops::{Deref, DerefMut};

    pub type ChildStderr = rawpipe::PipeReader;
    pub type ChildStdin = rawpipe::PipeWriter;
    pub type ChildStdout = rawpipe::PipeReader;
    pub type Stdio = rawpipe::process::Stdio<'static>;

    /// rawpipe's command. Its `spawn` returns a child with std's fields.
    #[derive(Debug)]
    pub struct Command(rawpipe::process::Command<'static>);

    impl Command {
        pub fn new(program: impl AsRef<OsStr>) -> Self {
            Self(rawpipe::process::Command::new(program))
        }

        pub fn spawn(&mut self) -> io::Result<Child> {
            let mut child = self.0.spawn()?;
            let stdin = child.take_stdin();
            let stdout = child.take_stdout();
            let stderr = child.take_stderr();
            Ok(Child { child, stdin, stdout, stderr })
        }
    }

    impl Deref for Command {
        type Target = rawpipe::process::Command<'static>;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }

    impl DerefMut for Command {
        fn deref_mut(&mut self) -> &mut Self::Target {
            &mut self.0
        }
    }

    /// rawpipe's child. As in std, its pipes are fields.
    #[derive(Debug)]
    pub struct Child {
        child: rawpipe::process::Child,
        pub stdin: Option<ChildStdin>,
        pub stdout: Option<ChildStdout>,
        pub stderr: Option<ChildStderr>,
    }

    impl Child {
        pub fn wait(&mut self) -> io::Result<ExitStatus> {
            self.stdin = None;
            Ok(self.child.wait()?.into())
        }

        pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
            Ok(self.child.try_wait()?.map(Into::into))
        }
    }

    impl Deref for Child {
        type Target = rawpipe::process::Child;

        fn deref(&self) -> &Self::Target {
            &self.child
        }
    }
}
