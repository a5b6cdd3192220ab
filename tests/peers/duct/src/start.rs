//! Starts an expression. The settings apply from the outermost to the innermost, and each program starts with
//! the settings that enclose it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, fmt, io};

use rawpipe::fd::MaybeOwnedFd;
use rawpipe::{Errno, PipeReader};

use crate::handle::{Background, Running, Started};
use crate::{Expression, Node};

/// A change to the enclosed programs. A number identifies a standard stream.
#[derive(Debug)]
pub(crate) enum Setting {
    StdinBytes(Arc<[u8]>),
    Path(usize, PathBuf),
    File(usize, MaybeOwnedFd<'static>),
    Null(usize),
    Capture(usize),
    StdoutToStderr,
    StderrToStdout,
    Swap,
    Dir(PathBuf),
    Env(OsString, OsString),
    EnvRemove(OsString),
    FullEnv(HashMap<OsString, OsString>),
    Unchecked,
    BeforeSpawn(Hook),
}

type HookFn = dyn Fn(&mut Command) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Hook(pub(crate) Arc<HookFn>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hook>")
    }
}

/// A standard stream of a program.
#[derive(Clone)]
enum Stream {
    /// The stream of this process that has the given number.
    Parent(usize),
    Null,
    Fd(MaybeOwnedFd<'static>),
}

/// The pipe of a captured stream. The pipe is created when the first `Capture` setting for this stream is
/// applied.
type Capture = RefCell<Option<(PipeReader, MaybeOwnedFd<'static>)>>;

#[derive(Clone)]
struct Context<'a> {
    streams: [Stream; 3],
    captures: &'a [Capture; 2],
    dir: Option<PathBuf>,
    env: HashMap<OsString, OsString>,
    hooks: Vec<Hook>,
}

/// Starts all programs of the expression. Also returns the read ends of the captured streams.
pub(crate) fn start(expression: &Expression) -> io::Result<(Started, [Option<PipeReader>; 2])> {
    let captures = [Capture::default(), Capture::default()];
    let context = Context {
        streams: [Stream::Parent(0), Stream::Parent(1), Stream::Parent(2)],
        captures: &captures,
        dir: None,
        env: env::vars_os().collect(),
        hooks: Vec::new(),
    };
    let started = context.start(expression)?;
    Ok((started, captures.map(|pipe| pipe.into_inner().map(|(reader, _)| reader))))
}

impl Context<'_> {
    fn start(self, expression: &Expression) -> io::Result<Started> {
        match &*expression.0 {
            Node::Cmd(words) => self.start_program(words),
            Node::Pipe(left, right) => self.start_pipe(left, right),
            Node::With(Setting::Unchecked, inner) => {
                Ok(Started::Unchecked(Box::new(self.start(inner)?)))
            }
            Node::With(Setting::StdinBytes(bytes), inner) => self.start_fed(bytes.clone(), inner),
            Node::With(setting, inner) => self.with(setting)?.start(inner),
        }
    }

    fn start_program(self, words: &[OsString]) -> io::Result<Started> {
        let mut command = Command::new(self.program(&words[0])?);
        command.args(&words[1..]).env_clear().envs(&self.env);
        let [stdin, stdout, stderr] = self.streams;
        if let Some(stdin) = stdin.stdio(0)? {
            command.stdin(stdin);
        }
        if let Some(stdout) = stdout.stdio(1)? {
            command.stdout(stdout);
        }
        if let Some(stderr) = stderr.stdio(2)? {
            command.stderr(stderr);
        }
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        for Hook(hook) in &self.hooks {
            hook(&mut command)?;
        }
        Ok(Started::Program(Running::spawn(&mut command, format!("{words:?}"))?))
    }

    /// Returns the program's path. If the program starts in another directory, a relative path with
    /// a slash is made absolute.
    fn program(&self, name: &OsStr) -> io::Result<PathBuf> {
        let path = Path::new(name);
        let is_path = name.as_encoded_bytes().contains(&b'/');
        if self.dir.is_some() && is_path && path.is_relative() {
            path.canonicalize()
        } else {
            Ok(path.to_owned())
        }
    }

    fn start_pipe(self, left: &Expression, right: &Expression) -> io::Result<Started> {
        let (reader, writer) = rawpipe::pipe()?;
        let mut first = self.clone();
        first.streams[1] = Stream::Fd(writer.into());
        let left = first.start(left)?;
        let mut second = self;
        second.streams[0] = Stream::Fd(reader.into());
        match second.start(right) {
            Ok(right) => Ok(Started::Pipe(Box::new([left, right]))),
            Err(e) => {
                left.for_each(&mut |program| program.child().kill())?;
                Err(e)
            }
        }
    }

    fn start_fed(mut self, bytes: Arc<[u8]>, inner: &Expression) -> io::Result<Started> {
        let (reader, writer) = rawpipe::pipe()?;
        self.streams[0] = Stream::Fd(reader.into());
        let inner = self.start(inner)?;
        let feeder = Background::new(move || match writer.write_all(&bytes).map_err(Errno::from) {
            Err(Errno::EPIPE) => Ok(()), // the program has ended, or has closed its input
            result => result,
        });
        Ok(Started::Fed(Box::new(inner), feeder))
    }

    fn with(mut self, setting: &Setting) -> io::Result<Self> {
        match setting {
            Setting::StdinBytes(_) | Setting::Unchecked => unreachable!("start handles these"),
            Setting::Path(0, path) => self.streams[0] = Stream::Fd(File::open(path)?.into()),
            Setting::Path(n, path) => self.streams[*n] = Stream::Fd(File::create(path)?.into()),
            Setting::File(n, file) => self.streams[*n] = Stream::Fd(file.clone()),
            Setting::Null(n) => self.streams[*n] = Stream::Null,
            Setting::Capture(n) => self.streams[*n] = capture(&self.captures[n - 1])?,
            Setting::StdoutToStderr => self.streams[1] = self.streams[2].clone(),
            Setting::StderrToStdout => self.streams[2] = self.streams[1].clone(),
            Setting::Swap => self.streams.swap(1, 2),
            Setting::Dir(dir) => self.dir = Some(dir.clone()),
            Setting::Env(name, value) => drop(self.env.insert(name.clone(), value.clone())),
            Setting::EnvRemove(name) => drop(self.env.remove(name)),
            Setting::FullEnv(variables) => self.env.clone_from(variables),
            Setting::BeforeSpawn(hook) => self.hooks.push(hook.clone()),
        }
        Ok(self)
    }
}

fn capture(pipe: &Capture) -> io::Result<Stream> {
    let mut pipe = pipe.borrow_mut();
    if pipe.is_none() {
        let (reader, writer) = rawpipe::pipe()?;
        *pipe = Some((reader, writer.into()));
    }
    Ok(Stream::Fd(pipe.as_ref().map(|(_, writer)| writer.clone()).expect("set above")))
}

impl Stream {
    /// Returns the setting for the stream with this number, or `None` for the default.
    fn stdio(self, number: usize) -> io::Result<Option<Stdio>> {
        Ok(match self {
            Self::Parent(parent) if parent == number => None,
            Self::Parent(0) => Some(rawpipe::io::dup_cloexec(io::stdin())?.into()),
            Self::Parent(1) => Some(io::stdout().into()),
            Self::Parent(_) => Some(io::stderr().into()),
            Self::Null => Some(Stdio::null()),
            Self::Fd(fd) => Some(fd.into()),
        })
    }
}
