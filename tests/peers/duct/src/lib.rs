//! Provides duct's interface: expressions that consist of programs, pipes and settings. rawpipe's `Command`
//! starts the programs, and rawpipe's pipes connect them.

extern crate rawpipe_std as std;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{fmt, io};

use rawpipe::fd::MaybeOwnedFd;

use crate::start::Setting;

mod handle;
mod start;
pub mod unix;

pub use handle::{Handle, ReaderHandle};

type Output = std::real::process::Output;

pub fn cmd<T, U>(program: T, args: U) -> Expression
where
    T: IntoExecutablePath,
    U: IntoIterator,
    U::Item: Into<OsString>,
{
    let mut words = vec![program.to_executable()];
    words.extend(args.into_iter().map(Into::into));
    Expression::new(Node::Cmd(words))
}

#[macro_export]
macro_rules! cmd {
    ($program:expr $(, $arg:expr)* $(,)?) => {
        $crate::cmd(
            $program,
            std::iter::empty::<std::ffi::OsString>()$(.chain([std::ffi::OsString::from($arg)]))*,
        )
    };
}

/// Programs, pipes and settings. A clone shares them.
#[derive(Clone)]
#[must_use]
pub struct Expression(Arc<Node>);

#[derive(Debug)]
enum Node {
    Cmd(Vec<OsString>),
    Pipe(Expression, Expression),
    With(Setting, Expression),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&Expression> for Expression {
    fn from(expression: &Expression) -> Self {
        expression.clone()
    }
}

impl Expression {
    fn new(node: Node) -> Self {
        Self(Arc::new(node))
    }

    fn with(&self, setting: Setting) -> Self {
        Self::new(Node::With(setting, self.clone()))
    }

    pub fn run(&self) -> io::Result<Output> {
        self.start()?.into_output()
    }

    /// Returns the expression's output without trailing newlines and carriage returns.
    pub fn read(&self) -> io::Result<String> {
        let mut text = io::read_to_string(self.reader()?)?;
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        Ok(text)
    }

    pub fn start(&self) -> io::Result<Handle> {
        let (started, [stdout, stderr]) = start::start(self)?;
        Ok(Handle::new(started, [stdout, stderr]))
    }

    pub fn reader(&self) -> io::Result<ReaderHandle> {
        let (started, [stdout, stderr]) = start::start(&self.stdout_capture())?;
        let reader = stdout.expect("a pipe for the standard output");
        Ok(ReaderHandle::new(Handle::new(started, [None, stderr]), reader))
    }

    pub fn pipe<T: Into<Expression>>(&self, right: T) -> Self {
        Self::new(Node::Pipe(self.clone(), right.into()))
    }

    pub fn stdin_bytes<T: Into<Vec<u8>>>(&self, bytes: T) -> Self {
        self.with(Setting::StdinBytes(bytes.into().into()))
    }

    pub fn stdin_path<T: Into<PathBuf>>(&self, path: T) -> Self {
        self.with(Setting::Path(0, path.into()))
    }

    pub fn stdin_file<T: Into<MaybeOwnedFd<'static>>>(&self, file: T) -> Self {
        self.with(Setting::File(0, file.into()))
    }

    pub fn stdin_null(&self) -> Self {
        self.with(Setting::Null(0))
    }

    pub fn stdout_path<T: Into<PathBuf>>(&self, path: T) -> Self {
        self.with(Setting::Path(1, path.into()))
    }

    pub fn stdout_file<T: Into<MaybeOwnedFd<'static>>>(&self, file: T) -> Self {
        self.with(Setting::File(1, file.into()))
    }

    pub fn stdout_null(&self) -> Self {
        self.with(Setting::Null(1))
    }

    pub fn stdout_capture(&self) -> Self {
        self.with(Setting::Capture(1))
    }

    pub fn stdout_to_stderr(&self) -> Self {
        self.with(Setting::StdoutToStderr)
    }

    pub fn stderr_path<T: Into<PathBuf>>(&self, path: T) -> Self {
        self.with(Setting::Path(2, path.into()))
    }

    pub fn stderr_file<T: Into<MaybeOwnedFd<'static>>>(&self, file: T) -> Self {
        self.with(Setting::File(2, file.into()))
    }

    pub fn stderr_null(&self) -> Self {
        self.with(Setting::Null(2))
    }

    pub fn stderr_capture(&self) -> Self {
        self.with(Setting::Capture(2))
    }

    pub fn stderr_to_stdout(&self) -> Self {
        self.with(Setting::StderrToStdout)
    }

    pub fn stdout_stderr_swap(&self) -> Self {
        self.with(Setting::Swap)
    }

    pub fn dir<T: Into<PathBuf>>(&self, path: T) -> Self {
        self.with(Setting::Dir(path.into()))
    }

    pub fn env<T: Into<OsString>, U: Into<OsString>>(&self, name: T, value: U) -> Self {
        self.with(Setting::Env(name.into(), value.into()))
    }

    pub fn env_remove<T: Into<OsString>>(&self, name: T) -> Self {
        self.with(Setting::EnvRemove(name.into()))
    }

    pub fn full_env<T, U, V>(&self, variables: T) -> Self
    where
        T: IntoIterator<Item = (U, V)>,
        U: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.with(Setting::FullEnv(variables.collect::<HashMap<_, _>>()))
    }

    pub fn unchecked(&self) -> Self {
        self.with(Setting::Unchecked)
    }

    pub fn before_spawn<F>(&self, hook: F) -> Self
    where
        F: Fn(&mut Command) -> io::Result<()> + Send + Sync + 'static,
    {
        self.with(Setting::BeforeSpawn(start::Hook(Arc::new(hook))))
    }
}

/// The name or the path of a program. A `Path` without a directory refers to a program in the current
/// directory, and `PATH` is not searched. A string is passed to `Command` unchanged.
pub trait IntoExecutablePath {
    fn to_executable(self) -> OsString;
}

macro_rules! names {
    ($($Path:ty),*; $($Name:ty),*) => {
        $(impl IntoExecutablePath for $Path {
            fn to_executable(self) -> OsString {
                Path::new(".").join(self).into()
            }
        })*
        $(impl IntoExecutablePath for $Name {
            fn to_executable(self) -> OsString {
                self.into()
            }
        })*
    };
}
names!(&Path, PathBuf, &PathBuf; &str, String, &String, &OsStr, OsString, &OsString);

#[cfg(test)]
mod test {
    include!("../own/test.rs");
}

/// The examples of the published package.
#[cfg(doctest)]
#[doc = include_str!("../own/examples.md")]
pub struct Examples;
