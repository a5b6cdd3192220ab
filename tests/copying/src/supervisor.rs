//! Receives the reported calls and sends the answers.
//!
//! Each call is answered on a separate thread, because an answer may have to wait. For example, a sleeping
//! process may hold the lock of a pipe. A thread that has answered a call waits for the next call, unless
//! enough other threads are idle.

use crate::Way;
use crate::calls::{self, Answer};
use crate::target::Target;
use libc::{Ioctl, seccomp_notif, seccomp_notif_resp};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, mem, thread};

/// The number of `vmsplice` calls that this program has handled itself.
pub(crate) static VMSPLICE: AtomicUsize = AtomicUsize::new(0);
pub(crate) static SPLICE: AtomicUsize = AtomicUsize::new(0);
/// The number of reported calls that were left to the kernel.
pub(crate) static PASSED_ON: AtomicUsize = AtomicUsize::new(0);

/// The number of threads that wait for a call.
static IDLE: AtomicUsize = AtomicUsize::new(0);
/// The maximum number of idle threads. Further idle threads end.
const MOST_IDLE: usize = 4;

/// Starts a thread that answers calls. If a thread receives a call while no other thread is idle, it starts
/// another thread.
pub(crate) fn start(listener: &'static OwnedFd, way: Way) {
    IDLE.fetch_add(1, Ordering::SeqCst);
    thread::spawn(move || {
        while let Some(call) = receive(listener) {
            if IDLE.fetch_sub(1, Ordering::SeqCst) == 1 {
                start(listener, way);
            }
            answer(listener, way, &call);
            if IDLE.fetch_add(1, Ordering::SeqCst) >= MOST_IDLE {
                break;
            }
        }
        IDLE.fetch_sub(1, Ordering::SeqCst);
    });
}

/// Returns whether all processes with the filter have ended.
pub(crate) fn is_over(listener: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: the kernel reads and writes the one entry.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & libc::POLLHUP != 0
}

/// Waits for the next call. Returns `None` if all processes with the filter have ended or the report cannot
/// be received.
fn receive(listener: &OwnedFd) -> Option<seccomp_notif> {
    const SECCOMP_IOCTL_NOTIF_RECV: Ioctl = 0xc050_2100_u32 as Ioctl;
    loop {
        // SAFETY: zeros are a valid value of this struct, and the kernel requires them.
        let mut call: seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the kernel writes the struct.
        if unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) }
            == 0
        {
            return Some(call);
        }
        // `ENOENT`: a signal has ended the reported call before this function received the report.
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ENOENT) if !is_over(listener) => {}
            _ => return None,
        }
    }
}

fn answer(listener: &'static OwnedFd, way: Way, call: &seccomp_notif) {
    const SECCOMP_IOCTL_NOTIF_SEND: Ioctl = 0xc018_2101_u32 as Ioctl;
    const SECCOMP_USER_NOTIF_FLAG_CONTINUE: u32 = 1;
    let Some(target) = Target::new(listener, call.id, call.pid as i32) else { return };
    let is_vmsplice = i64::from(call.data.nr) == libc::SYS_vmsplice;
    let answer = if is_vmsplice {
        calls::vmsplice(&target, way, call.data.args)
    } else {
        calls::splice(&target, call.data.args)
    };
    let (val, error, flags) = match answer {
        Answer::Made(Ok(count)) => (count as i64, 0, 0),
        Answer::Made(Err(errno)) => (0, -errno, 0),
        Answer::PassOn => (0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        Answer::Gone => return,
    };
    let count = match flags {
        0 if is_vmsplice => &VMSPLICE,
        0 => &SPLICE,
        _ => &PASSED_ON,
    };
    count.fetch_add(1, Ordering::Relaxed);
    let mut answer = seccomp_notif_resp { id: call.id, val, error, flags };
    // If the thread was killed, this call fails, and no answer is needed.
    // SAFETY: the kernel reads the struct.
    unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
}
