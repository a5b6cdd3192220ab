//! The operations that a worker performs on processes.

use crate::common::{close_copy, emulated, programs};
use crate::limits::{self, Role};
use crate::stream::{Held, Run, fill};
use crate::waitpid;
use crate::worker::{LONGEST, Worker};
use rawpipe::Deadline;
use rawpipe::pipe::Builder;
use rawpipe::process::{
    Arg, Child, Command, Communicate, CommunicateErrorKind as Kind, ExitStatus, OnDrop, Pipeline,
    Resource, Rlimit, RunError, Signal, Spawn, SpawnError, SpawnStage, StdStream, Stdio, fork_with,
};
use rawpipe::{Errno, io};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// A child that copies its input to its output, and the bytes that have not yet arrived from the child.
pub(crate) struct Cat {
    child: Child,
    held: Held,
    stream: u64,
    at: u64,
    stopped: bool,
}

impl Worker {
    /// Returns `None` if programs can start at the limit of this process. Otherwise returns the scarce
    /// resource and its hard limit. Programs then start with the hard limit, because they could not start at
    /// the lower limit.
    fn enough(&self) -> Option<(Resource, Rlimit)> {
        let resource = match self.shared.role {
            Role::Memory => Resource::AS,
            Role::Processes => Resource::NPROC,
            Role::Plain | Role::Descriptors | Role::Pages => return None,
        };
        Some((resource, limits::hard(resource)))
    }

    /// Returns a command that starts one of the programs in `common::programs`.
    fn program(&self, name: &str, args: &[&str]) -> Command<'static> {
        let mut words = limits::program(name, args).into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        if let Some((resource, limit)) = self.enough() {
            command.rlimit(resource, limit);
        }
        command
    }

    pub(crate) fn can_start_programs(&mut self) -> bool {
        for _ in 0..100 {
            match self.program("exit", &["7"]).status() {
                Ok(status) => return status.code() == Some(7),
                Err(RunError::Spawn(error)) if error.errno() == Errno::EACCES => return false,
                Err(RunError::Spawn(error)) if self.refused(error.errno()) => {}
                Err(error) => {
                    self.require(false, || format!("the first program: {error:?}"));
                    return false;
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Checks that a child failed to start only because of the scarce resource.
    fn not_started(&mut self, what: &str, error: SpawnError) {
        let refused = self.refused(error.errno());
        self.require(refused, || format!("{what}: {error:?}"));
    }

    /// Waits for a child and compares its exit status.
    fn ended(&mut self, what: &str, child: &mut Child, expected: Result<u8, Signal>) {
        let status = child.wait();
        let found = status.map(|status| (status.code(), status.signal()));
        let expected = match expected {
            Ok(code) => (Some(i32::from(code)), None),
            Err(signal) => (None, Some(signal)),
        };
        self.require(found == Ok(expected), || format!("{what}: {status:?}, not {expected:?}"));
        self.shared.child_ends();
    }

    /// Forks a child that writes at most 4096 bytes and exits.
    pub(crate) fn fork(&mut self) {
        let Some((reader, writer)) = self.made(Builder::new()) else { return };
        let run = {
            let len = self.random.length(4096);
            self.new_bytes(len)
        };
        let code = u8::try_from(run.stream % 200).expect("below 200");
        let (data, copy) = (&self.buf[..run.len], &reader);
        // SAFETY: until it exits, the child only makes system calls that access its own memory.
        let forked = unsafe {
            fork_with(|| {
                close_copy(copy);
                io::write_all(&writer, data).map_or(255, |()| code)
            })
        };
        let mut child = match forked {
            Ok(child) => child,
            Err(errno) => return self.only_refused("fork", errno),
        };
        self.counts.children += 1;
        self.shared.child_begins();
        drop(writer);
        let mut held = Held::default();
        held.push(run);
        self.counts.taken += run.len as u64;
        if self.random.one_in(4) {
            let late = self.moment();
            let answer = child.wait_deadline(Deadline::after(late));
            self.require(answer.is_ok(), || format!("wait_deadline: {answer:?}"));
        }
        self.read_to_the_end("fork", &reader, &mut held);
        self.ended("fork", &mut child, Ok(code));
    }

    pub(crate) fn cat_start(&mut self) {
        if !self.programs || self.cats.len() >= self.most_cats {
            return self.cat_end();
        }
        let mut command = self.program("cat", &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let leads = self.random.one_in(3);
        if leads {
            command.process_group(0);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return self.not_started("cat", error),
        };
        self.counts.children += 1;
        self.counts.pipes += 2;
        self.shared.child_begins();
        let policy = if leads { OnDrop::KillGroup } else { OnDrop::Kill };
        let answer = child.on_drop(policy);
        self.require(answer == Ok(()), || format!("on_drop: {answer:?}"));
        let stream = self.new_bytes(0).stream;
        self.cats.push(Cat { child, held: Held::default(), stream, at: 0, stopped: false });
    }

    fn some_cat(&mut self) -> Option<Cat> {
        if self.cats.is_empty() {
            return None;
        }
        let index = self.random.below(self.cats.len());
        Some(self.cats.swap_remove(index))
    }

    pub(crate) fn cat_feed(&mut self) {
        let Some(mut cat) = self.some_cat() else { return };
        let (len, late) = (self.random.length(LONGEST), self.moment());
        fill(cat.stream, cat.at, &mut self.buf[..len]);
        let Some(stdin) = cat.child.stdin_ref() else { return };
        match stdin.write_deadline(&self.buf[..len], Deadline::after(late)) {
            Ok(count) => {
                cat.held.push(Run { stream: cat.stream, at: cat.at, len: count });
                cat.at += count as u64;
                self.counts.taken += count as u64;
            }
            Err(Errno::ETIMEDOUT) => self.counts.timeouts += 1,
            Err(errno) => self.only_refused("feeding a cat", errno),
        }
        self.cats.push(cat);
    }

    pub(crate) fn cat_read(&mut self) {
        let Some(mut cat) = self.some_cat() else { return };
        let (len, late) = (self.random.length(LONGEST), self.moment());
        let Some(stdout) = cat.child.stdout_ref() else { return };
        match stdout.read_deadline(&mut self.buf[..len], Deadline::after(late)) {
            Ok(count) => {
                self.require(count > 0, || "a cat has ended".into());
                self.arrived("cat", &mut cat.held, count);
            }
            Err(Errno::ETIMEDOUT) => self.counts.timeouts += 1,
            Err(errno) => self.only_refused("reading of a cat", errno),
        }
        let running = cat.child.try_wait();
        self.require(running == Ok(None), || format!("a cat has ended: {running:?}"));
        self.cats.push(cat);
    }

    /// Stops a running child or continues a stopped child.
    pub(crate) fn cat_signal(&mut self) {
        let Some(mut cat) = self.some_cat() else { return };
        let signal = if cat.stopped { Signal::CONT } else { Signal::STOP };
        let answer = cat.child.send_signal(signal);
        self.require(answer == Ok(()), || format!("{signal}: {answer:?}"));
        let change = cat.child.wait_change();
        let known = change.is_ok_and(|status| match cat.stopped {
            true => status.continued(),
            false => status.stopped_signal() == Some(Signal::STOP),
        });
        self.require(known, || format!("{signal}: {change:?}"));
        cat.stopped = !cat.stopped;
        self.counts.kills += 1;
        self.cats.push(cat);
    }

    fn go_on(&mut self, cat: &mut Cat) {
        if cat.stopped {
            let answer = cat.child.send_signal(Signal::CONT);
            self.require(answer == Ok(()), || format!("continuing: {answer:?}"));
            cat.stopped = false;
        }
    }

    /// Ends a child in one of several ways.
    pub(crate) fn cat_end(&mut self) {
        let Some(mut cat) = self.some_cat() else { return };
        match self.random.below(5) {
            0 => {
                // The child ends because its input reaches end of file, so all bytes arrive.
                self.go_on(&mut cat);
                drop(cat.child.take_stdin());
                if let Some(stdout) = cat.child.take_stdout() {
                    self.read_to_the_end("cat", &stdout, &mut cat.held);
                }
                self.ended("cat", &mut cat.child, Ok(0));
            }
            1 => {
                // A signal kills the child. Any bytes that still arrive match the input.
                self.counts.kills += 1;
                let answer = cat.child.kill();
                self.require(answer == Ok(()), || format!("kill: {answer:?}"));
                self.ended("a killed cat", &mut cat.child, Err(Signal::KILL));
                let again = cat.child.send_signal(Signal::KILL);
                self.require(again == Err(Errno::ESRCH), || format!("kill again: {again:?}"));
                if let Some(stdout) = cat.child.take_stdout() {
                    while let Ok(count @ 1..) = next(&stdout, &mut self.buf) {
                        self.arrived("a killed cat", &mut cat.held, count);
                    }
                }
                self.counts.reported += cat.held.len() as u64;
            }
            2 => {
                // Dropping the handle kills the child and waits for it.
                self.counts.kills += 1;
                self.counts.reported += cat.held.len() as u64;
                self.dropped(cat);
            }
            3 => {
                // Dropping the handle closes the pipes and waits for the child.
                self.go_on(&mut cat);
                self.counts.reported += cat.held.len() as u64;
                let answer = cat.child.on_drop(OnDrop::Reap);
                self.require(answer == Ok(()), || format!("on_drop: {answer:?}"));
                self.dropped(cat);
            }
            _ => {
                // The child continues to run after its handle is dropped. The worker uses the child's process
                // id to wait for the child.
                self.go_on(&mut cat);
                self.counts.reported += cat.held.len() as u64;
                let answer = cat.child.on_drop(OnDrop::Leave);
                self.require(answer == Ok(()), || format!("on_drop: {answer:?}"));
                let id = i32::try_from(cat.child.id()).expect("a process id");
                drop(cat);
                while reap(id, 0) == Err(Errno::EINTR) {}
                self.shared.child_ends();
            }
        }
    }

    /// Drops the handle and checks that the child no longer exists.
    fn dropped(&mut self, cat: Cat) {
        let id = i32::try_from(cat.child.id()).expect("a process id");
        drop(cat);
        let left = reap(id, 1);
        self.require(left == Err(Errno::ECHILD), || format!("a dropped child: {left:?}"));
        self.shared.child_ends();
    }

    pub(crate) fn end_cats(&mut self) {
        while !self.cats.is_empty() {
            self.cat_end();
        }
    }

    /// Runs a command and checks its output on both streams.
    pub(crate) fn output(&mut self) {
        if !self.programs {
            return;
        }
        let (out, err) = (self.random.length(LONGEST), self.random.length(LONGEST));
        self.shared.child_begins();
        match self.program("flood", &[&out.to_string(), &err.to_string()]).output() {
            Ok(output) => {
                let whole = (output.stdout.len(), output.stderr.len()) == (out, err)
                    && programs::is_pattern(&output.stdout)
                    && programs::is_pattern(&output.stderr);
                let status = output.status;
                self.require(whole && status.success(), || format!("output: {status:?}"));
                self.counts.children += 1;
                self.counts.taken += (out + err) as u64;
                self.counts.delivered += (out + err) as u64;
            }
            Err(error) => self.run_error("output", error),
        }
        self.shared.child_ends();
    }

    fn run_error(&mut self, what: &str, error: RunError) {
        let errno = match &error {
            RunError::Spawn(error) => error.errno(),
            RunError::Pipeline(error) => error.error().errno(),
            RunError::Communicate(error) => match error.reason() {
                Kind::Io(_, errno) | Kind::Poll(errno) | Kind::Wait(errno) => errno,
                _ => Errno::EIO,
            },
            _ => Errno::EIO,
        };
        let refused = self.refused(errno);
        self.require(refused, || format!("{what}: {error:?}"));
    }

    /// Communicates with a child until end of file, a limit or a deadline.
    pub(crate) fn communicate(&mut self) {
        if !self.programs {
            return;
        }
        let run = {
            let len = self.random.length(LONGEST);
            self.new_bytes(len)
        };
        let mut command = self.program("cat", &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return self.not_started("communicate", error),
        };
        self.shared.child_begins();
        self.counts.children += 1;
        let input = self.buf[..run.len].to_vec();
        let mut talk = Communicate::new().input(&input);
        let limit = self.random.one_in(3).then(|| self.random.length(LONGEST));
        if let Some(limit) = limit {
            talk = talk.limit(limit);
        }
        let late = self.random.one_in(3).then(|| Deadline::after(self.moment()));
        if let Some(late) = late {
            talk = talk.deadline(late);
        }
        if self.random.one_in(3) {
            talk = talk.grace(Duration::from_secs(1000));
        }
        let (stdout, fed, ended) = match talk.run(&mut child) {
            Ok(output) => (output.stdout, run.len, true),
            Err(error) => {
                let known = match error.reason() {
                    Kind::Deadline => late.is_some_and(|late| late.has_passed()),
                    Kind::Limit(StdStream::Stdout) => {
                        limit.is_some_and(|limit| limit < run.len && error.stdout().len() == limit)
                    }
                    Kind::Io(_, errno) => self.refused(errno),
                    _ => false,
                };
                self.require(known, || format!("communicate: {error}, {limit:?}"));
                let fed = error.fed();
                (error.into_outputs().0, fed, false)
            }
        };
        let same = stdout.len() <= fed && fed <= run.len && input[..stdout.len()] == stdout;
        self.require(same && (!ended || stdout.len() == run.len), || {
            format!("communicate: {} of {fed} of {}", stdout.len(), run.len)
        });
        self.counts.taken += fed as u64;
        self.counts.delivered += stdout.len() as u64;
        self.counts.reported += fed.saturating_sub(stdout.len()) as u64;
        if ended {
            self.ended("communicate", &mut child, Ok(0));
        } else {
            let killed = child.kill();
            let known = matches!(killed, Ok(()) | Err(Errno::ESRCH));
            self.require(known, || format!("communicate: {killed:?}"));
            let status = child.wait();
            self.require(status.is_ok(), || format!("communicate: {status:?}"));
            self.shared.child_ends();
        }
    }

    /// Runs a pipeline of three programs. In about half of the runs, the last program does not exist.
    pub(crate) fn pipeline(&mut self) {
        if !self.programs {
            return;
        }
        let len = self.random.length(LONGEST);
        let (flood, cat) =
            (self.program("flood", &[&len.to_string(), "0"]), self.program("cat", &[]));
        let missing = Command::new("/no/such/program");
        let broken = self.random.one_in(2);
        let last = if broken { &missing } else { &cat };
        (0..3).for_each(|_| self.shared.child_begins());
        let row: Pipeline<'_> = [&flood, &cat, last].into_iter().collect();
        match row.output() {
            Ok(output) => {
                let whole = output.stdout.len() == len && programs::is_pattern(&output.stdout);
                let statuses = &output.statuses;
                let fine = whole && !broken && statuses.iter().all(ExitStatus::success);
                self.require(fine, || format!("pipeline: {statuses:?}"));
                self.counts.children += 3;
                self.counts.taken += len as u64;
                self.counts.delivered += len as u64;
            }
            Err(RunError::Pipeline(error))
                if broken && (error.index(), error.error().errno()) == (2, Errno::ENOENT) =>
            {
                self.require(error.error().stage() == SpawnStage::Exec, || format!("{error:?}"));
                self.counts.children += 2;
            }
            Err(error) => self.run_error("pipeline", error),
        }
        (0..3).for_each(|_| self.shared.child_ends());
    }

    /// Starts a program with `Spawn` instead of `Command`.
    pub(crate) fn spawn(&mut self) {
        if !self.programs {
            return;
        }
        let code = u8::try_from(self.random.below(200)).expect("below 200");
        let words: Vec<CString> = limits::program("exit", &[&code.to_string()])
            .into_iter()
            .map(|word| CString::new(word.into_vec()).expect("no NUL"))
            .collect();
        let mut argv: Vec<Arg<'_>> = words.iter().map(|word| Arg::new(word)).collect();
        argv.push(Arg::END);
        let limits: Vec<_> = self.enough().into_iter().collect();
        match Spawn::new(&words[0], &argv, &[Arg::END]).rlimits(&limits).spawn() {
            Ok(mut child) => {
                self.counts.children += 1;
                self.shared.child_begins();
                self.ended("spawn", &mut child, Ok(code));
            }
            Err(error) => self.not_started("spawn", error),
        }
    }

    /// Tries to start a program in one of several ways, all of which must fail. Checks the stage and the
    /// errno of the error.
    pub(crate) fn failures(&mut self) {
        let mut command = Command::new("/no/such/program");
        let expected = match self.random.below(4) {
            0 => (SpawnStage::Exec, Errno::ENOENT),
            1 => {
                command.current_dir("/no/such/folder");
                (SpawnStage::Chdir, Errno::ENOENT)
            }
            2 => {
                command.arg("a\0b");
                (SpawnStage::Arguments, Errno::EINVAL)
            }
            _ => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                (SpawnStage::Exec, Errno::ENOENT)
            }
        };
        match command.spawn() {
            Ok(child) => self.require(false, || format!("no such program runs: {child:?}")),
            Err(error) if (error.stage(), error.errno()) == expected => {}
            // Under an emulator, a child shares no memory with its parent. If no descriptor is free for a
            // pipe, the child cannot report its error.
            Err(error)
                if emulated()
                    && (error.stage(), error.errno()) == (SpawnStage::Channel, Errno::ECHILD) => {}
            Err(error) => self.not_started("a failure", error),
        }
    }
}

/// Waits for the child that has this process id.
fn reap(id: i32, options: i32) -> Result<i32, Errno> {
    let mut status = 0;
    // SAFETY: the call writes one integer to the local variable above.
    let answer = unsafe { waitpid(id, &raw mut status, options) };
    if answer >= 0 {
        return Ok(answer);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::EIO))
}

/// Reads the next bytes, and retries on `EINTR`. Returns 0 at end of file.
fn next(reader: &rawpipe::PipeReader, buf: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match reader.read(buf) {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}
