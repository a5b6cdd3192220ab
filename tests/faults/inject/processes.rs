//! Defines operations that start programs or fork, communicate with children, wait for children, or drop
//! handles.

use super::check::{Holdings, Verdict, ensure, failed, injected, is_injected, shortened};
use super::{Operation, common, machine, missing, missing_bits};
use crate::common::nr;
use crate::common::programs::{is_pattern, pattern, program};
use crate::tracer::{Fault, fault, operation};
use rawpipe::Deadline;
use rawpipe::process::{
    Child, Command, Communicate, CommunicateError, CommunicateErrorKind as Kind, OnDrop, Pipeline,
    Resource, Rlimit, RunError, Signal, SignalSet, SpawnError, SpawnStage, StdStream, Stdio,
    fork_with,
};
use rawpipe::{Errno, PipeReader, PipeWriter, Result};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const LATE: Duration = Duration::from_secs(600);

/// Returns the size of the mapping that a spawn keeps for the next spawn. The mapping holds a stack and its
/// guard page.
fn spare_stack() -> usize {
    unsafe extern "C" {
        safe fn getpagesize() -> i32;
    }
    usize::try_from(getpagesize()).expect("a size").max(64 << 10) + (64 << 10)
}

// ---- starting ----

/// Returns whether the stage of an error matches the call that failed.
fn stage_fits(stage: SpawnStage, fault: &Fault) -> bool {
    let call = fault.key.nr;
    let is = |calls: &[usize]| calls.contains(&call);
    if !fault.key.child {
        return match stage {
            SpawnStage::Stdio => is(&[nr::OPENAT, nr::PIPE2, nr::FCNTL]),
            SpawnStage::Stack => is(&[nr::MMAP, nr::MPROTECT]),
            SpawnStage::Channel => is(&[nr::PIPE2, nr::FCNTL]),
            SpawnStage::Signals => is(&[nr::RT_SIGPROCMASK]),
            SpawnStage::Clone => is(&[nr::CLONE, nr::CLONE3]),
            SpawnStage::Cgroup => is(&[nr::OPENAT]),
            _ => false,
        };
    }
    match stage {
        SpawnStage::Setsid => is(&[nr::SETSID]),
        SpawnStage::Setpgid => is(&[nr::SETPGID]),
        SpawnStage::Dup { .. } => is(&[nr::DUP3, nr::FCNTL]),
        SpawnStage::CloseOthers => is(&[nr::CLOSE_RANGE, nr::PRLIMIT64]),
        SpawnStage::Nice => is(&[nr::GETPRIORITY, nr::SETPRIORITY]),
        SpawnStage::Setrlimit(_) => is(&[nr::PRLIMIT64]),
        SpawnStage::Setgroups => is(&[nr::SETGROUPS]),
        SpawnStage::Setgid => is(&[nr::SETRESGID]),
        SpawnStage::Setuid => is(&[nr::SETRESUID, nr::PRCTL]),
        SpawnStage::Chdir => is(&[nr::CHDIR]),
        SpawnStage::DeathSignal => is(&[nr::PRCTL]),
        SpawnStage::Signals => is(&[nr::RT_SIGACTION, nr::RT_SIGPROCMASK]),
        SpawnStage::Exec => is(&[nr::EXECVE]),
        _ => false,
    }
}

/// Accepts a failed spawn only if its error was injected and its stage matches the failed call.
fn excused(error: &SpawnError) -> Verdict {
    excused_where(error, true)
}

/// Accepts a failed spawn as `excused` does. `another_way` states whether a rejected `clone` has a fallback.
/// If so, the rejection must not make the spawn fail.
fn excused_where(error: &SpawnError, another_way: bool) -> Verdict {
    let Some(fault) = fault() else { return Err(format!("{error}")) };
    ensure!(is_injected(error.errno()), "{error}, which was not injected");
    ensure!(stage_fits(error.stage(), &fault), "{error}: not the stage of the call");
    let refusals = [Errno::EINVAL, Errno::ENOSYS, Errno::EPERM];
    let cloned = failed(&[nr::CLONE, nr::CLONE3], &refusals);
    ensure!(!(cloned && another_way), "{error}, where there is another way");
    Ok(())
}

/// Checks the result of a wait. The wait may fail only with `ECHILD`, and only if that error was injected
/// into `waitid`.
fn ended(end: Result<rawpipe::process::ExitStatus>, code: i32) -> Verdict {
    let lost = failed(&[nr::WAITID], &[Errno::ECHILD]);
    match end {
        Ok(status) => ensure!(status.code() == Some(code), "{status:?}, not {code}"),
        Err(errno) => ensure!(errno == Errno::ECHILD && lost, "waiting: {errno}"),
    }
    Ok(())
}

fn started(command: &Command<'_>, code: i32) -> Verdict {
    started_where(command, code, true)
}

fn started_where(command: &Command<'_>, code: i32, another_way: bool) -> Verdict {
    let holdings = Holdings::now();
    let result = operation(|| {
        let mut child = command.spawn()?;
        let end = child.wait();
        Ok::<_, SpawnError>((child, end))
    });
    match result {
        Ok((child, end)) => {
            ended(end, code)?;
            drop(child);
        }
        Err(error) => excused_where(&error, another_way)?,
    }
    holdings.unchanged(spare_stack())
}

/// Starts a missing program. The spawn must fail, regardless of the injected fault.
fn not_started() -> Verdict {
    let command = Command::new("/nonexistent/program");
    let holdings = Holdings::now();
    let result = operation(|| command.spawn());
    match result {
        Err(error) if (error.stage(), error.errno()) == (SpawnStage::Exec, Errno::ENOENT) => {}
        // Either the child could not report its error, or the parent could not read the report.
        Err(error) if (error.stage(), error.errno()) == (SpawnStage::Channel, Errno::ECHILD) => {
            let muted = injected(|fault| {
                let told = if fault.key.child { nr::WRITE } else { nr::READ };
                fault.key.nr == told
            });
            ensure!(muted, "{error}");
        }
        Err(error) => excused(&error)?,
        Ok(_) => return Err(String::from("a program that is not there was started")),
    }
    holdings.unchanged(spare_stack())
}

/// Calls `exec`, which creates a thread, for a program that does not exist. This process must stay unchanged,
/// regardless of the injected fault.
fn not_executed() -> Verdict {
    let mut command = Command::new("/nonexistent/program");
    command.current_dir("/").umask(0o27).nice(1).fd_map(common::file(b""), 20).close_other_fds();
    let holdings = Holdings::now();
    let folder = std::env::current_dir().unwrap();
    let error = operation(|| command.exec());
    if (error.stage(), error.errno()) != (SpawnStage::Exec, Errno::ENOENT) {
        excused_where(&error, false)?;
    }
    ensure!(std::env::current_dir().unwrap() == folder, "the folder has changed");
    holdings.unchanged(spare_stack())
}

fn with_many_options() -> Command<'static> {
    let mut command = program("exit", &["3"]);
    let own = std::fs::metadata("/proc/self").expect("/proc");
    let (a, b) = rawpipe::pipe().unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The first entry's target is 9. The descriptor that the second entry copies may have the same
        // number.
        .fd_map(a, 9)
        .fd_map(b, 8)
        .fd_map(common::file(b""), 20)
        .close_other_fds()
        .current_dir("/")
        .setsid()
        .umask(0o27)
        .nice(1)
        .rlimit(Resource::CORE, Rlimit { soft: 0, hard: 0 })
        .gid(own.gid())
        .uid(own.uid())
        .parent_death_signal(Signal::TERM)
        .signal_mask(SignalSet::empty().with(Signal::USR1))
        .default_signals(SignalSet::full());
    command
}

/// Returns a command whose program is searched for in the directories of `PATH`. The first directory lacks
/// the program.
fn by_search() -> Command<'static> {
    let exe = std::env::current_exe().expect("the path of this test");
    let folder = exe.parent().expect("a folder").display().to_string();
    let mut command = Command::new(exe.file_name().expect("a name"));
    command.args(["test-program:exit", "3"]).env("PATH", format!("/nonexistent:{folder}"));
    command.process_group(0);
    command
}

// ---- waiting and dropping ----

/// Forks a child. Without `gate`, the child exits immediately. With `gate`, the child exits when all write
/// ends of this pipe are closed.
fn forked(gate: Option<&(PipeReader, PipeWriter)>) -> Result<Child> {
    let body = || {
        if let Some((reader, writer)) = gate {
            common::close_copy(writer);
            while reader.read(&mut [0; 8]).is_err() {}
        }
        7
    };
    // SAFETY: this process has one thread, and the child only reads.
    unsafe { fork_with(body) }
}

fn waited(wait: fn(&mut Child) -> Result<rawpipe::process::ExitStatus>) -> Verdict {
    let holdings = Holdings::now();
    let result = operation(|| {
        let mut child = forked(None)?;
        let end = wait(&mut child);
        Ok::<_, Errno>((child, end))
    });
    match result {
        Ok((child, end)) => {
            ended(end, 7)?;
            drop(child);
        }
        Err(errno) => ensure!(is_injected(errno), "fork: {errno}"),
    }
    holdings.unchanged(0)
}

fn killed_and_waited() -> Verdict {
    let gate = rawpipe::pipe().unwrap();
    let holdings = Holdings::now();
    let result = operation(|| {
        let mut child = forked(Some(&gate))?;
        let kill = child.kill();
        let end = if kill.is_ok() { Some(child.wait()) } else { None };
        Ok::<_, Errno>((child, kill, end))
    });
    match result {
        Ok((mut child, kill, end)) => {
            ensure!(kill.is_ok() || injected(|_| true), "{kill:?}");
            match end {
                Some(Ok(end)) => ensure!(end.signal() == Some(Signal::KILL), "{end:?}"),
                Some(Err(errno)) => ensure!(errno == Errno::ECHILD, "waiting: {errno}"),
                None => {
                    child.kill().map_err(|errno| format!("killing again: {errno}"))?;
                    child.wait().map_err(|errno| format!("waiting: {errno}"))?;
                }
            }
        }
        Err(errno) => ensure!(is_injected(errno), "fork: {errno}"),
    }
    holdings.unchanged(0)
}

fn dropped(policy: OnDrop) -> Verdict {
    let gate = rawpipe::pipe().unwrap();
    let holdings = Holdings::now();
    let result = operation(|| {
        let waits = if policy == OnDrop::Reap { None } else { Some(&gate) };
        let mut child = forked(waits)?;
        if policy == OnDrop::KillGroup && child.lead_group().is_err() {
            child.on_drop(OnDrop::Kill)?;
        } else {
            child.on_drop(policy)?;
        }
        drop(child);
        Ok::<_, Errno>(())
    });
    if let Err(errno) = result {
        ensure!(is_injected(errno), "fork: {errno}");
    }
    // This check also finds remaining children and zombies.
    holdings.unchanged(0)
}

// ---- communicating ----

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(pattern).collect()
}

/// Returns whether the communication must succeed despite the fault.
fn is_minor() -> bool {
    use nr::{PPOLL, READ, READV, WRITE};
    failed(&[PPOLL, READ, READV, WRITE], &[Errno::EINTR])
        || failed(&[READ, READV, WRITE], &[Errno::EAGAIN])
        || failed(&[nr::WAITID], &[Errno::EINTR])
        || shortened()
}

fn conversed(how: fn(Communicate<'_>) -> Communicate<'_>, len: usize) -> Verdict {
    let input = bytes(len);
    let holdings = Holdings::now();
    let mut command = program("aside", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{error}"))?;
    let result = operation(|| how(Communicate::new().input(&input)).run(&mut child));
    match result {
        Ok(output) => {
            ensure!(output.status.success(), "{:?}", output.status);
            ensure!(output.stderr == b"err", "{:?}", output.stderr);
            ensure!(output.stdout == input, "{} of {len} bytes", output.stdout.len());
        }
        Err(error) => {
            let native = matches!(error.reason(), Kind::Limit(StdStream::Stdout));
            ensure!(native || !is_minor(), "{error}");
            reports_every_byte(&error, &mut child, &input)?;
        }
    }
    drop(child);
    holdings.unchanged(spare_stack())
}

/// Checks the output that a failed communication has reported, together with the bytes that remain in the
/// pipes.
fn reports_every_byte(error: &CommunicateError, child: &mut Child, input: &[u8]) -> Verdict {
    let lost = matches!(error.reason(), Kind::Wait(Errno::ECHILD));
    let native = matches!(error.reason(), Kind::Limit(_));
    let (Kind::Io(_, errno) | Kind::Poll(errno) | Kind::Wait(errno)) = error.reason() else {
        ensure!(native, "{error}");
        return rest_is_there(error, child, input);
    };
    ensure!(is_injected(errno), "{error}, which was not injected");
    if lost {
        ensure!(error.stdout() == input, "{} bytes", error.stdout().len());
        return Ok(());
    }
    rest_is_there(error, child, input)
}

fn rest_is_there(error: &CommunicateError, child: &mut Child, input: &[u8]) -> Verdict {
    let ends = (child.take_stdin(), child.take_stdout(), child.take_stderr());
    let (stdin, stdout, stderr) = ends;
    drop(stdin);
    let mut all = error.stdout().to_vec();
    if let Some(stdout) = stdout {
        ensure!(stdout.is_nonblocking() == Ok(false), "left nonblocking");
        stdout.read_to_end(&mut all).map_err(|error| format!("the rest: {error}"))?;
    }
    ensure!(all == input[..error.fed()], "{} fed, {} came back", error.fed(), all.len());
    let mut errors = error.stderr().to_vec();
    if let Some(stderr) = stderr {
        stderr.read_to_end(&mut errors).map_err(|error| format!("the rest: {error}"))?;
    }
    ensure!(errors == b"err", "{errors:?}");
    child.wait().map_err(|errno| format!("waiting: {errno}"))?;
    Ok(())
}

/// Checks an error of `output` or `status`. Neither function returns a child handle.
fn run_excused(error: &RunError) -> Verdict {
    match error {
        RunError::Spawn(error) => excused(error),
        RunError::Pipeline(error) => excused(&error.error()),
        RunError::Communicate(error) => {
            let (Kind::Io(_, errno) | Kind::Poll(errno) | Kind::Wait(errno)) = error.reason()
            else {
                return Err(format!("{error}"));
            };
            ensure!(is_injected(errno), "{error}, which was not injected");
            ensure!(!is_minor(), "{error}");
            ensure!(is_pattern(error.stdout()), "other bytes");
            Ok(())
        }
        _ => Err(format!("{error}")),
    }
}

fn collected() -> Verdict {
    let command = program("flood", &["100000", "3000"]);
    let holdings = Holdings::now();
    let result = operation(|| command.output());
    match &result {
        Ok(output) => {
            ensure!(output.status.success(), "{:?}", output.status);
            let lens = (output.stdout.len(), output.stderr.len());
            ensure!(lens == (100_000, 3_000), "{lens:?}");
            ensure!(is_pattern(&output.stdout) && is_pattern(&output.stderr), "other bytes");
        }
        Err(error) => run_excused(error)?,
    }
    drop(result);
    holdings.unchanged(spare_stack())
}

/// Communicates with input, and with a timeout and a limit that are not exceeded.
fn fed_in_time() -> Verdict {
    let input = bytes(100_000);
    let mut command = program("aside", &[]);
    command.input(input.as_slice()).timeout(LATE).limit(input.len());
    let holdings = Holdings::now();
    let result = operation(|| command.output());
    match &result {
        Ok(output) => {
            ensure!(output.status.success(), "{:?}", output.status);
            ensure!(output.stdout == input && output.stderr == b"err", "other bytes");
        }
        Err(error) => run_excused(error)?,
    }
    drop(result);
    holdings.unchanged(spare_stack())
}

fn status() -> Verdict {
    let command = program("exit", &["3"]);
    let holdings = Holdings::now();
    let result = operation(|| command.status());
    match result {
        Ok(status) => ensure!(status.code() == Some(3), "{status:?}"),
        Err(error) => run_excused(&error)?,
    }
    holdings.unchanged(spare_stack())
}

fn three_in_a_row() -> Verdict {
    let (flood, cat) = (program("flood", &["100000", "0"]), program("cat", &[]));
    let holdings = Holdings::now();
    let result = operation(|| {
        let row: Pipeline<'_> = [&flood, &cat, &cat].into_iter().collect();
        row.output()
    });
    match &result {
        Ok(output) => {
            ensure!(output.success() && output.statuses.len() == 3, "{:?}", output.statuses);
            ensure!(output.stdout.len() == 100_000, "{} bytes", output.stdout.len());
            ensure!(is_pattern(&output.stdout), "other bytes");
        }
        Err(error) => run_excused(error)?,
    }
    drop(result);
    holdings.unchanged(spare_stack())
}

fn row_spawned_and_waited() -> Verdict {
    let (flood, cat) = (program("both", &[]), program("exit", &["0"]));
    let holdings = Holdings::now();
    let result = operation(|| {
        let mut children = flood.pipe(&cat).stderr(Stdio::null()).spawn()?;
        Ok::<_, rawpipe::process::PipelineError>(children.wait())
    });
    match result {
        Ok(Ok(ends)) => ensure!(ends.len() == 2, "{ends:?}"),
        Ok(Err(errno)) => ensure!(is_injected(errno), "waiting: {errno}"),
        Err(error) => excused(&error.error())?,
    }
    holdings.unchanged(spare_stack())
}

pub(crate) fn operations() -> Vec<Operation> {
    const CLONE_VM: u64 = 0x100;
    let mut all = Vec::new();
    let old = || vec![missing(nr::CLONE3, Errno::ENOSYS)];
    let no_vfork = || {
        let by_clone = missing_bits(nr::CLONE, machine::CLONE_FLAGS, CLONE_VM, Errno::EPERM);
        vec![missing(nr::CLONE3, Errno::ENOSYS), by_clone]
    };
    let no_pidfd = || {
        let mut all = vec![missing(nr::CLONE3, Errno::ENOSYS)];
        all.push(missing_bits(nr::CLONE, machine::CLONE_FLAGS, 0x1000, Errno::EINVAL));
        all.push(missing(nr::PIDFD_OPEN, Errno::ENOSYS));
        all
    };
    type Make = fn() -> Vec<crate::tracer::Missing>;
    let kernels: [(&str, Make); 4] = [
        ("", Vec::new),
        (" without clone3", old),
        (" without vfork", no_vfork),
        (" without pidfds", no_pidfd),
    ];
    for (suffix, missing) in kernels {
        let mut add = |name: &str, body: Box<dyn Fn() -> Verdict>| {
            let talks = ["communicate", "output", "status", "Pipeline"];
            let talks = talks.iter().any(|talk| name.starts_with(talk));
            let operation = Operation::new(format!("{name}{suffix}"), body).without(missing());
            all.push(operation.only_in_full(talks && !suffix.is_empty()));
        };
        add("spawn", Box::new(|| started(&program("exit", &["3"]), 3)));
        // If the child must run with other ids, the crate forks with a pidfd or, as a fallback, without a
        // pidfd.
        let another_way = suffix != " without pidfds";
        let many = move || started_where(&with_many_options(), 3, another_way);
        add("spawn with many options", Box::new(many));
        add("spawn by search", Box::new(|| started(&by_search(), 3)));
        add("spawn of nothing", Box::new(not_started));
        if suffix != " without vfork" {
            // `exec` creates a thread, and this thread also needs shared memory.
            add("exec of nothing", Box::new(not_executed));
        }
        add("wait", Box::new(|| waited(Child::wait)));
        let by_timeout =
            |child: &mut Child| child.wait_deadline(Deadline::after(LATE))?.ok_or(Errno::ETIMEDOUT);
        add("wait_deadline", Box::new(move || waited(by_timeout)));
        add("wait_change", Box::new(|| waited(Child::wait_change)));
        add("kill", Box::new(killed_and_waited));
        for policy in [OnDrop::Reap, OnDrop::Kill, OnDrop::KillGroup] {
            add(&format!("drop, {policy:?}"), Box::new(move || dropped(policy)));
        }
        add("communicate", Box::new(|| conversed(|talk| talk, 150_000)));
        add(
            "communicate, deadline and grace",
            Box::new(|| {
                conversed(|talk| talk.deadline(Deadline::after(LATE)).grace(LATE), 150_000)
            }),
        );
        add("communicate, limit", Box::new(|| conversed(|talk| talk.limit(50_000), 150_000)));
        add("output", Box::new(collected));
        add("output, input and timeout", Box::new(fed_in_time));
        add("status", Box::new(status));
        add("Pipeline::output", Box::new(three_in_a_row));
        add("Pipeline::spawn", Box::new(row_spawned_and_waited));
    }
    all
}
