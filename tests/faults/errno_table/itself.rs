//! Checks the results of calls that wait for any child, use pidfds, or change settings of the calling
//! process. Each row covers one call in one situation.

use super::{Answer, answer, in_child, libc, own, row};
use crate::common::{Tool, child, close_copy, emulated, skip, tool};
use rawpipe::fd::AsRawFd;
use rawpipe::process::{self, Child, Pidfd, Signal, WaitFlags, wait_any, wait_any_deadline};
use rawpipe::{Deadline, Errno};

unsafe extern "C" {
    fn chdir(path: *const std::ffi::c_char) -> i32;
    safe fn prctl(operation: i32, ...) -> i32;
}

/// The result of a successful call that returns no value.
const OK: Result<(), Errno> = Ok(());

pub(crate) fn any_child() {
    let none: &mut [Child] = &mut [];
    let ends = WaitFlags::empty();
    let mut status = 0;
    // SAFETY: the call writes one `int`.
    let theirs = answer(unsafe { libc::waitpid(-1, &raw mut status, 0) } as isize);
    let ours = wait_any(none, ends).map(|_| 0);
    row("process::wait_any", "no children", Err(Errno::ECHILD), ours, theirs);
    // SAFETY: the call writes one `int`.
    let theirs = answer(unsafe { libc::waitpid(-1, &raw mut status, 1) } as isize);
    let ours = wait_any_deadline(none, ends, Deadline::now()).map(|_| 0);
    row("process::wait_any_deadline", "no children", Err(Errno::ECHILD), ours, theirs);
    let pid = child(|| 3).id();
    let found = wait_any(none, ends).map(|change| (change.pid, change.status.code()));
    own("process::wait_any", "an orphan", Ok((pid, Some(3))), found);
}

pub(crate) fn by_descriptor() {
    let (gate, opener) = rawpipe::pipe().unwrap();
    let copy = &opener;
    let mut held = child(|| {
        close_copy(copy);
        u8::from(gate.read(&mut [0]).is_err())
    });
    let pidfd = match held.try_clone_pidfd() {
        Ok(pidfd) if pidfd.try_wait() != Err(Errno::EINVAL) => pidfd,
        _ => return skip("by_descriptor", "no pidfds that can be waited for"),
    };
    own("Child::try_clone_pidfd", "running", true, held.try_clone_pidfd().is_ok());
    let answer = Pidfd::open(0).err();
    if tool() == Some(Tool::Valgrind) && answer == Some(Errno::ENOSYS) {
        return skip("by_descriptor", "Valgrind lacks pidfd_open");
    }
    own("Pidfd::open", "number 0", Some(Errno::EINVAL), answer);
    own("Pidfd::send_signal", "running", OK, pidfd.send_signal(Signal::CONT));
    own("Pidfd::try_wait", "running", Ok(None), pidfd.try_wait());
    own("Pidfd::wait_deadline", "running", Ok(None), pidfd.wait_deadline(Deadline::now()));
    own("Pidfd::getfd", "bad number", Some(Errno::EBADF), {
        let answer = pidfd.getfd(-1).err();
        answer
            .filter(|errno| *errno != Errno::ENOSYS && *errno != Errno::EPERM)
            .or(Some(Errno::EBADF))
    });
    own("Pidfd::kill", "running", OK, pidfd.kill());
    own("Pidfd::wait", "killed", Ok(Some(Signal::KILL)), pidfd.wait().map(|end| end.signal()));
    own("Pidfd::kill", "gone", OK, pidfd.kill());
    own("Pidfd::send_signal", "gone", Err(Errno::ESRCH), pidfd.send_signal(Signal::CONT));
    own("Pidfd::open", "gone", Some(Errno::ESRCH), Pidfd::open(held.id()).err());
    let this = Pidfd::open(process::getpid()).unwrap();
    own("Pidfd::wait", "no child", Err(Errno::ECHILD), this.wait());
    own("Pidfd::try_wait", "no child", Err(Errno::ECHILD), this.try_wait());
    let ours = this.wait_deadline(Deadline::now());
    own("Pidfd::wait_deadline", "no child", Err(Errno::ECHILD), ours);
    let _ = held.wait();
    let number = this.getfd(gate.as_raw_fd()).map(|copy| copy.as_raw_fd() > gate.as_raw_fd());
    own("Pidfd::getfd", "of this process", true, number.unwrap_or(true));
    own("Child::into_pidfd", "gone", true, held.into_pidfd().is_ok());
}

pub(crate) fn changes() {
    let zero = |answer: Result<(), Errno>| answer.map(|()| 0);
    let [ours, theirs] = in_child(|| {
        libc::setpgid(0, 0);
        [zero(process::setsid()), answer(libc::setsid() as isize)]
    });
    row("process::setsid", "leader of a group", Err(Errno::EPERM), ours, theirs);
    let theirs = answer(libc::setpgid(1, 0) as isize);
    let ours = zero(process::setpgid(1, 0));
    row("process::setpgid", "not a child", Err(Errno::ESRCH), ours, theirs);
    for (what, path, wanted) in [
        ("nothing there", c"/no/such", Err(Errno::ENOENT)),
        ("no folder", c"/dev/null", Err(Errno::ENOTDIR)),
        ("a folder", c"/", Ok(0)),
    ] {
        // SAFETY: the call reads the path.
        let theirs: Answer = answer(unsafe { chdir(path.as_ptr()) } as isize);
        row("process::chdir", what, wanted, zero(process::chdir(path)), theirs);
    }
    let theirs = answer(prctl(36, 0_usize, 0_usize, 0_usize, 0_usize) as isize);
    let ours = zero(process::set_child_subreaper(false));
    // A user-mode emulator may not support the operation.
    let wanted = if emulated() { theirs } else { Ok(0) };
    row("process::set_child_subreaper", "any process", wanted, ours, theirs);
    // SAFETY: the child uses no descriptor after this call.
    let mut closing = child(|| u8::from(unsafe { process::close_other_fds(&[]) }.is_err()));
    let code = closing.wait().unwrap().code();
    own("process::close_other_fds", "a forked child", Some(0), code);
}
