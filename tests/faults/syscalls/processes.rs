//! Defines operations that fork, start programs, wait, or send signals.

use super::{LATE, Operation, SOON, done, fails, not_permitted, of, pipe, refused, refused_with};
use crate::common::nr;
use crate::common::{self, programs::program};
use crate::tracer::operation;
use rawpipe::Deadline;
use rawpipe::event::{PollEvents, PollFd, poll};
use rawpipe::fd::AsFd;
use rawpipe::process::{
    self, Arg, Child, Command, Communicate, OnDrop, Resource, Rlimit, Signal, Spawn, Stdio,
};
use rawpipe::{Fork, PipeWriter};
use std::fs::File;

/// Forks a child that exits when the write end is dropped.
fn waiting() -> (Child, PipeWriter) {
    let (gate, opener) = pipe();
    let copy = &opener;
    let child = common::child(|| {
        common::close_copy(copy);
        u8::from(gate.read(&mut [0]).is_err())
    });
    (child, opener)
}

/// Forks a child whose status other code collects.
fn waited_for() -> Child {
    unsafe extern "C" {
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }
    let child = common::child(|| 0);
    let pid = i32::try_from(child.id()).expect("a process id");
    // SAFETY: the call writes to no memory.
    assert_eq!(unsafe { waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    child
}

fn exit() -> Command<'static> {
    program("exit", &["0"])
}

pub(super) fn forks() -> Vec<Operation> {
    const CLONE_PIDFD: u64 = 0x1000;
    // On the architectures that the tracer supports, argument 0 of `clone` holds the flags.
    let no_pidfd = refused_with(nr::CLONE, 0, CLONE_PIDFD);
    vec![
        of("process", "fork and wait", || {
            operation(|| {
                // SAFETY: no other thread exists, and the child only exits.
                match done(unsafe { process::fork() })? {
                    Fork::Child => process::exit(0),
                    Fork::Parent(mut child) => done(child.wait()),
                }
            });
        })
        .without(&[&[no_pidfd], &[no_pidfd, refused(nr::PIDFD_OPEN)]]),
        of("process", "a child by a closure", || {
            operation(|| {
                // SAFETY: as above.
                let mut child = done(unsafe { process::fork_with(|| 0) })?;
                done(child.try_wait());
                done(child.wait_deadline(Deadline::after(LATE)))
            });
        }),
        of("process", "a child that takes its time", || {
            let (mut child, gate) = waiting();
            operation(|| done(child.wait_deadline(Deadline::after(SOON))));
            drop(gate);
        }),
        of("process", "is this process alone", || {
            operation(|| {
                // SAFETY: as above.
                match done(unsafe { process::fork_single_threaded() })? {
                    Fork::Child => process::exit(0),
                    Fork::Parent(mut child) => done(child.wait()),
                }
            });
        })
        .without(&[&[refused(nr::UNSHARE)]]),
        of("process", "signals and drops", || {
            let (mut first, gate) = waiting();
            let (mut second, other_gate) = waiting();
            operation(|| {
                done(first.send_signal(Signal::CONT));
                done(second.lead_group());
                done(second.kill_group());
                done(second.on_drop(OnDrop::KillGroup));
                done(first.on_drop(OnDrop::Kill));
                drop((first, second));
            });
            drop((gate, other_gate));
        })
        .without(&[&[refused(nr::PIDFD_SEND_SIGNAL)]]),
        of("process", "a child that other code has waited for", || {
            let mut child = waited_for();
            let _ = operation(|| child.wait());
        }),
        of("process", "by descriptor", || {
            let (first, gate) = waiting();
            let (second, other_gate) = waiting();
            let ended = common::child(|| 0);
            operation(|| {
                let one = done(first.try_clone_pidfd())?;
                let other = done(process::Pidfd::open(second.id()))?;
                done(one.getfd(0));
                done(one.kill());
                done(done(ended.into_pidfd())?.wait());
                done(other.wait_deadline(Deadline::after(SOON)))
            });
            drop((gate, other_gate));
        }),
        of("process", "this process", || {
            let body = || {
                done(process::setsid());
                fails(process::setpgid(0, 0));
                done(process::chdir(c"/"));
                done(process::set_child_subreaper(true));
                process::umask(process::umask(0));
                assert!(process::getpid() > process::getppid() || process::getppid() > 0);
                // SAFETY: no owner of a descriptor is used after this call.
                done(unsafe { process::close_other_fds(&[]) });
                0
            };
            operation(|| {
                // SAFETY: no other thread exists, and the child only makes system calls.
                done(done(unsafe { process::fork_with(body) })?.wait())
            });
        })
        .without(&[&[refused(nr::CLOSE_RANGE)]]),
        of("process::wait_any", "one that is in the way", || {
            let elsewhere = common::child(|| 0);
            let (mut given, gate) = waiting();
            operation(|| {
                let ends = process::WaitFlags::empty();
                done(process::wait_any_deadline(
                    &mut [&mut given],
                    ends,
                    Deadline::after(SOON * if common::slow() { 100 } else { 10 }),
                ));
                drop(gate);
                done(process::wait_any(&mut [&mut given], ends));
            });
            drop(elsewhere);
        }),
        of("process::wait_any", "a child that other code has waited for", || {
            let mut child = waited_for();
            let _ = operation(|| process::wait_any(&mut [&mut child], process::WaitFlags::empty()));
        }),
        of("process::wait_any", "an orphan", || {
            drop(common::child(|| 0));
            operation(|| {
                done(process::wait_any(&mut [] as &mut [Child], process::WaitFlags::empty()))
            });
        }),
        of("process", "exec", || {
            let mut child = common::child(|| 0);
            child.wait().expect("a child");
            let folder = File::open("/").expect("a folder");
            let path = folder.as_fd();
            operation(|| {
                let argv = [Arg::new(c"none"), Arg::END];
                fails(process::execve(c"/no/such", &argv, &[Arg::END]));
                fails(process::execvpe(c"none", c"/no".to_bytes(), &argv, &[Arg::END]));
                let flags = process::ExecFlags::empty();
                fails(process::execveat(path, c"no/such", &argv, &[Arg::END], flags));
                fails(process::fexecve(path, &argv, &[Arg::END]));
            });
        }),
    ]
}

pub(super) fn programs() -> Vec<Operation> {
    let no_clone3 = refused(nr::CLONE3);
    const CLONE_VM: u64 = 0x100;
    const CLONE_PIDFD: u64 = 0x1000;
    let no_vfork = refused_with(nr::CLONE, 0, CLONE_VM);
    let no_pidfd = refused_with(nr::CLONE, 0, CLONE_PIDFD);
    vec![
        of("process::Spawn", "twice", || {
            let [one, two] = [exit(), exit()];
            operation(|| {
                for command in [&one, &two] {
                    done(done(command.spawn())?.wait());
                }
                Some(())
            });
        })
        .without(&[
            &[no_clone3],
            &[no_clone3, no_pidfd],
            &[no_clone3, no_vfork],
            &[no_clone3, no_vfork, no_pidfd],
        ]),
        of("process::Spawn", "a program that is not there", || {
            let command = Command::new("/no/such");
            operation(|| fails(command.spawn()));
        })
        .without(&[&[no_clone3, no_vfork]]),
        of("process::Spawn", "without what is asked for", || {
            let (_reader, writer) = pipe();
            let argv = [Arg::new(c"none"), Arg::END];
            operation(|| {
                let spawn = Spawn::new(c"/no/such", &argv, &[Arg::END]);
                let (one, other) = (writer.as_fd(), 7);
                let fds = [(one, other)];
                let limits = [(Resource::CORE, Rlimit::both(0))];
                let spawn = spawn.fd_maps(&fds).close_other_fds().nice(1).rlimits(&limits);
                let spawn = spawn.current_dir(c"/").umask(0o77).cgroup_procs(one);
                let spawn = spawn.parent_death_signal(Signal::TERM);
                fails(spawn.setsid().spawn());
                fails(spawn.setsid().foreground().spawn());
                fails(spawn.controlling_terminal(one).spawn());
                fails(spawn.process_group(0).spawn());
            });
        })
        .without(&[&[refused(nr::CLOSE_RANGE)]]),
        of("process::Spawn", "with a terminal", || {
            let terminal = common::terminals().then(common::terminal);
            let argv = [Arg::new(c"none"), Arg::END];
            operation(|| {
                let spawn = Spawn::new(c"/no/such", &argv, &[Arg::END]);
                let (terminal, _keyboard) = terminal.as_ref()?;
                fails(spawn.controlling_terminal(terminal.as_fd()).foreground().spawn());
                Some(())
            });
        }),
        of("process::Spawn", "as another user", || {
            unsafe extern "C" {
                safe fn geteuid() -> u32;
                safe fn getegid() -> u32;
            }
            let argv = [Arg::new(c"none"), Arg::END];
            let (user, group) = (geteuid(), getegid());
            operation(|| {
                let spawn = Spawn::new(c"/no/such", &argv, &[Arg::END]);
                fails(spawn.uid(user).gid(group).spawn());
                fails(spawn.uid(user + 1).spawn());
            });
        })
        .without(&[&[not_permitted(nr::SETGROUPS)]]),
        of("process::Spawn", "in a session of its own", || {
            let mut command = exit();
            command.setsid();
            operation(|| done(done(command.spawn())?.wait()));
        })
        .without(&[&[refused(nr::OPENAT)]]),
        of("process::Spawn", "in the place of this program, by a thread", || {
            let argv = [Arg::new(c"none"), Arg::END];
            operation(|| {
                let error = Spawn::new(c"/no/such", &argv, &[Arg::END]).current_dir(c"/").exec();
                fails(Err::<(), _>(error));
            });
        }),
        of("process::Command", "with its streams", || {
            let mut command = program("cat", &[]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            operation(|| {
                let mut child = done(command.spawn())?;
                done(child.communicate(b"1"))
            });
        })
        .without(&[&[no_clone3, no_vfork]]),
        of("process::Command", "until a deadline", || {
            let mut command = program("cat", &[]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            operation(|| {
                let mut child = done(command.spawn())?;
                let late = Communicate::new().input(b"1").deadline(Deadline::after(LATE));
                done(late.grace(LATE).run(&mut child))
            });
        }),
        of("process::Command", "a program that does not read", || {
            let mut command = exit();
            let mut child = command.stdin(Stdio::piped()).spawn().expect("a program");
            let input = child.stdin_ref().expect("a pipe");
            poll(&mut [PollFd::new(input, PollEvents::empty())], None).expect("its end");
            operation(|| done(child.communicate(b"1")));
        }),
        of("process::Command", "in a row, of which one is not there", || {
            let [one, two] = [program("cat", &[]), Command::new("/no/such")];
            operation(|| fails(one.pipe(&two).stdin(Stdio::null()).spawn()));
        }),
        of("process::Command", "in a row", || {
            let [one, two] = [program("cat", &[]), program("cat", &[])];
            operation(|| {
                let row = one.pipe(&two).stdin(Stdio::null());
                done(row.output())
            });
        }),
        of("process::Command", "in a control group that is not there", || {
            let mut command = exit();
            command.cgroup("/no/such");
            operation(|| fails(command.spawn()));
        }),
    ]
}
