//! Runs code in a forked process, and observes the system calls of the operation in this code. Can make these
//! calls fail or move fewer bytes.
//!
//! The tracer uses `ptrace`. To make a call fail, the tracer replaces the call number with an unused number
//! and sets the result when the call returns. The kernel therefore does not execute the call. To shorten a
//! call, the tracer lowers its length argument or shortens its list of buffers. The kernel then executes the
//! call and sets the result.
//!
//! Children of the traced process are also traced, until they execute another program or until the operation
//! has ended.

#![allow(unsafe_code, reason = "ptrace, by number")]

use super::machine;
use crate::common::nr;
use rawpipe::raw;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    safe fn _exit(code: i32) -> !;
    fn fork() -> i32;
    safe fn getpid() -> i32;
    safe fn kill(pid: i32, signal: i32) -> i32;
    safe fn setpgid(pid: i32, group: i32) -> i32;
    fn setitimer(which: i32, new: *const [i64; 4], old: *mut [i64; 4]) -> i32;
    safe fn siginterrupt(signal: i32, interrupt: i32) -> i32;
    safe fn signal(signal: i32, handler: usize) -> usize;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
}

// These values are the same on every architecture that has a module in `machine`.
const SIGKILL: i32 = 9;
const SIGALRM: i32 = 14;
const SIGSTOP: i32 = 19;
const SIGTRAP: i32 = 5;
const WAIT_ALL: i32 = 0x4000_0000;

const TRACEME: usize = 0;
const PEEKDATA: usize = 2;
const POKEDATA: usize = 5;
const SYSCALL: usize = 24;
const DETACH: usize = 17;
const CONT: usize = 7;
const SETOPTIONS: usize = 0x4200;
const GETEVENTMSG: usize = 0x4201;
const GET_SYSCALL_INFO: usize = 0x420e;
const EVENT_EXEC: i32 = 4;
/// The `ptrace` options. They mark stops at system calls, report forks, vforks, clones and execs, and kill
/// the tracees when the tracer exits.
const OPTIONS: usize = 1 | 2 | 4 | 8 | 16 | 1 << 20;

/// An unused system call number that marks the end of the operation.
const OVER: usize = 4095;

/// The identity of a call: its number, its purpose if it has several, and whether a child of the traced
/// process makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) child: bool,
    pub(crate) nr: usize,
    pub(crate) purpose: u64,
}

/// An observed call and its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) key: Key,
    pub(crate) answer: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Skips the call and makes it fail with this errno.
    Error(i32),
    /// Limits the call to this many bytes.
    Short(u64),
}

/// A fault in one of the calls that match `key`. The first of these calls has position 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) key: Key,
    pub(crate) position: usize,
    pub(crate) action: Action,
}

/// A call that fails with `errno` whenever argument `argument` has all of `bits` set, as on a kernel that
/// lacks the call or these flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) nr: usize,
    pub(crate) argument: usize,
    pub(crate) bits: u64,
    pub(crate) errno: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Killed(i32),
    Hung,
}

pub(crate) struct Run {
    pub(crate) calls: Vec<Call>,
    /// Set if the fault has occurred.
    pub(crate) fired: bool,
    pub(crate) end: End,
    pub(crate) time: Duration,
}

/// A function that returns whether a call is recorded and may receive a fault. The first three parameters
/// state whether a child makes the call, and give the call's number and arguments. The last parameter is a
/// function that returns whether the signal set is full.
pub(crate) type Noted = fn(bool, usize, &[u64; 6], &dyn Fn() -> bool) -> bool;

static FAULT: OnceLock<Option<Fault>> = OnceLock::new();

/// Returns the fault that is injected into this process, or `None`.
pub(crate) fn fault() -> Option<Fault> {
    FAULT.get().copied().flatten()
}

/// The exit code if the kernel does not permit the process to be traced.
const NOT_TRACED: i32 = 77;

/// Runs `body` in a traced child process and records the calls within [`operation`] for which `noted` returns
/// `true`. Injects `fault`, and makes the `missing` calls fail.
pub(crate) fn run(
    noted: Noted,
    body: &dyn Fn() -> Result<(), String>,
    fault: Option<Fault>,
    missing: &[Missing],
    patience: Duration,
) -> Run {
    // SAFETY: this process has one thread.
    let driver = unsafe { fork() };
    if driver == 0 {
        setpgid(0, 0);
        signal(SIGALRM, 0);
        if ptrace(TRACEME, 0, 0, 0) != 0 {
            _exit(NOT_TRACED);
        }
        let _ = FAULT.set(fault);
        _exit(match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => 0,
            Ok(Err(violation)) => {
                eprintln!("    {violation}");
                1
            }
            Err(_) => 101,
        });
    }
    assert!(driver > 0, "no process can be made");
    let begun = Instant::now();
    alarm_after(patience);
    let mut tracer = Tracer {
        noted,
        driver,
        fault,
        missing,
        tracees: HashMap::new(),
        counts: HashMap::new(),
        calls: Vec::new(),
        fired: false,
        over: false,
    };
    let end = tracer.trace();
    alarm_after(Duration::ZERO);
    Run { calls: tracer.calls, fired: tracer.fired, end, time: begun.elapsed() }
}

/// Runs `body`. The tracer records the calls of `body`, and may shorten them or make them fail.
pub(crate) fn operation<T>(body: impl FnOnce() -> T) -> T {
    // The tracer intercepts this signal and does not deliver it.
    kill(getpid(), SIGSTOP);
    let result = body();
    // SAFETY: no call has this number, so the kernel does nothing.
    unsafe { raw::syscall0(OVER) };
    result
}

fn ptrace(request: usize, pid: i32, address: u64, data: u64) -> isize {
    let [address, data] = [address, data].map(|word| usize::try_from(word).expect("64 bits"));
    let pid = usize::try_from(pid).expect("a process id");
    // SAFETY: if a request accesses this process's memory, its argument is the address of a sufficiently
    // large value. All other requests mark this process as traced, or affect only the tracee, which has
    // separate memory.
    unsafe { raw::syscall4(machine::PTRACE, request, pid, address, data) }
}

static ALARMS: AtomicUsize = AtomicUsize::new(0);

/// Sends `SIGALRM` to this process after `patience`, and then every second. The signal is repeated, because a
/// single signal could arrive before the wait starts. If `patience` is zero, no further signal is sent.
fn alarm_after(patience: Duration) {
    extern "C" fn note(_signal: i32) {
        ALARMS.fetch_add(1, Ordering::SeqCst);
    }
    ALARMS.store(0, Ordering::SeqCst);
    signal(SIGALRM, note as extern "C" fn(i32) as usize);
    siginterrupt(SIGALRM, 1);
    let seconds = i64::try_from(patience.as_secs()).expect("not so long");
    let times = [i64::from(seconds > 0), 0, seconds, 0];
    // SAFETY: the call reads one `struct itimerval`, and the null pointer discards the old value.
    assert_eq!(unsafe { setitimer(0, &raw const times, std::ptr::null_mut()) }, 0);
}

#[derive(Default)]
struct Tracee {
    child: bool,
    /// Set until the tracee receives its initial `SIGSTOP`.
    fresh: bool,
    /// The changes to make when the call returns.
    after: After,
    /// The index of the recorded call that the tracee is executing.
    call: Option<usize>,
}

/// The changes that the tracer makes when a call returns. Compilers assume that a call changes neither its
/// argument registers nor its buffer list, so the tracer restores what it changed.
#[derive(Clone, Copy, Default)]
struct After {
    errno: Option<i32>,
    argument: Option<(usize, u64)>,
    memory: Option<(u64, u64)>,
}

struct Tracer<'a> {
    noted: Noted,
    driver: i32,
    fault: Option<Fault>,
    missing: &'a [Missing],
    tracees: HashMap<i32, Tracee>,
    counts: HashMap<Key, usize>,
    calls: Vec<Call>,
    fired: bool,
    over: bool,
}

/// The fields of `struct ptrace_syscall_info` that this module uses.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u8,
    _pad: [u8; 3],
    _arch: u32,
    _pointers: [u64; 2],
    /// The number and the six arguments at entry, or the result at exit.
    words: [u64; 8],
}

impl Tracer<'_> {
    fn trace(&mut self) -> End {
        self.tracees.insert(self.driver, Tracee::default());
        let mut begun = false;
        let mut end = None;
        loop {
            let mut status = 0;
            // SAFETY: the call writes one number to the given address.
            let pid = unsafe { waitpid(-1, &raw mut status, WAIT_ALL) };
            if pid < 0 && ALARMS.swap(0, Ordering::SeqCst) > 0 {
                end = Some(End::Hung);
                kill(-self.driver, SIGKILL);
                self.tracees.keys().for_each(|pid| _ = kill(*pid, SIGKILL));
                continue;
            }
            if pid < 0 {
                return end.unwrap_or(End::Hung);
            }
            if status & 0xff != 0x7f {
                self.tracees.remove(&pid);
                if pid == self.driver {
                    let killed = status & 0x7f;
                    let code = status >> 8 & 0xff;
                    let told = if killed == 0 { End::Exit(code) } else { End::Killed(killed) };
                    end = end.or(Some(told));
                    // The signal also kills untraced processes in the group.
                    kill(-self.driver, SIGKILL);
                    self.tracees.keys().for_each(|pid| _ = kill(*pid, SIGKILL));
                }
                continue;
            }
            let signal = status >> 8 & 0xff;
            if pid == self.driver && !begun {
                // Before the operation, every signal is delivered, except the signal that starts the
                // operation.
                begun = signal == SIGSTOP;
                if begun {
                    ptrace(SETOPTIONS, pid, 0, OPTIONS as u64);
                    ptrace(SYSCALL, pid, 0, 0);
                } else {
                    ptrace(CONT, pid, 0, signal.unsigned_abs().into());
                }
                continue;
            }
            self.stopped(pid, signal, status >> 16);
        }
    }

    /// Handles a stop of a tracee and resumes the tracee.
    fn stopped(&mut self, pid: i32, signal: i32, event: i32) {
        let mut pass_on = 0;
        let mut go_on = SYSCALL;
        if let Entry::Vacant(place) = self.tracees.entry(pid) {
            // The first stop of a child may precede the event that reports the child's creation.
            place.insert(Tracee { child: true, ..Tracee::default() });
        } else if signal == SIGTRAP | 0x80 {
            if self.at_a_call(pid) {
                go_on = DETACH;
            }
        } else if event == EVENT_EXEC {
            go_on = DETACH;
        } else if event != 0 {
            let mut child = 0_u64;
            ptrace(GETEVENTMSG, pid, 0, (&raw mut child).expose_provenance() as u64);
            let child = i32::try_from(child).expect("a process id");
            let new = || Tracee { child: true, fresh: true, ..Tracee::default() };
            self.tracees.entry(child).or_insert_with(new);
        } else if let Some(tracee) = self.tracees.get_mut(&pid) {
            if !(signal == SIGSTOP && core::mem::take(&mut tracee.fresh)) {
                pass_on = signal;
            }
        }
        // After the operation, the tracer detaches from each tracee at the tracee's next stop. A new child
        // must first receive its initial `SIGSTOP`.
        let fresh = self.tracees.get(&pid).is_some_and(|tracee| tracee.fresh);
        if self.over && !fresh {
            go_on = DETACH;
        }
        if go_on == DETACH {
            self.tracees.remove(&pid);
        }
        ptrace(go_on, pid, 0, pass_on.unsigned_abs().into());
    }

    /// Handles the entry to a call or the exit from a call. Returns whether the tracer must detach from the
    /// tracee.
    fn at_a_call(&mut self, pid: i32) -> bool {
        const ENTRY: u8 = 1;
        const EXIT: u8 = 2;
        let mut info = Info::default();
        let place = (&raw mut info).expose_provenance() as u64;
        ptrace(GET_SYSCALL_INFO, pid, size_of::<Info>() as u64, place);
        match info.kind {
            ENTRY => {
                let [nr, arguments @ .., _] = info.words;
                let nr = usize::try_from(nr).expect("64 bits");
                if nr == OVER && pid == self.driver {
                    self.over = true;
                    return true;
                }
                self.enter(pid, nr, &arguments);
            }
            EXIT => self.leave(pid, i64::from_ne_bytes(info.words[0].to_ne_bytes())),
            _ => {}
        }
        false
    }

    fn enter(&mut self, pid: i32, nr: usize, arguments: &[u64; 6]) {
        let child = self.tracees.get(&pid).is_some_and(|tracee| tracee.child);
        if let Some(missing) = self.missing.iter().find(|missing| {
            missing.nr == nr && arguments[missing.argument] & missing.bits == missing.bits
        }) {
            self.refuse(pid, missing.errno);
            return;
        }
        let full_set = || peek(pid, arguments[1]) == u64::MAX;
        if !(self.noted)(child, nr, arguments, &full_set) {
            return;
        }
        let key = Key { child, nr, purpose: purpose(nr, arguments) };
        let count = self.counts.entry(key).or_default();
        *count += 1;
        let now = *count;
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.call = Some(self.calls.len());
        }
        self.calls.push(Call { key, answer: None });
        let Some(fault) = self.fault.filter(|fault| fault.key == key && fault.position == now)
        else {
            return;
        };
        match fault.action {
            // If `brk` fails, the kernel returns the unchanged break.
            Action::Error(_) if nr == machine::BRK => {
                self.fired = self.set_argument(pid, 0, arguments, 0);
            }
            Action::Error(errno) => self.fired = self.refuse(pid, errno),
            Action::Short(len) => self.shorten(pid, nr, arguments, len),
        }
    }

    /// Makes the current call fail with `errno`. Returns whether the change succeeded. If the tracee was
    /// killed before the change, the tracee makes no call.
    fn refuse(&mut self, pid: i32, errno: i32) -> bool {
        let done = machine::skip_call(pid);
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.after.errno = Some(errno);
        }
        done
    }

    /// Changes an argument of the current call to `word`. Returns whether the change succeeded.
    fn set_argument(&mut self, pid: i32, index: usize, arguments: &[u64; 6], word: u64) -> bool {
        let done = machine::set_argument(pid, index, word);
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.after.argument = Some((index, arguments[index]));
        }
        done
    }

    fn shorten(&mut self, pid: i32, nr: usize, arguments: &[u64; 6], len: u64) {
        if let Some(index) = length_argument(nr) {
            if arguments[index] > len {
                self.fired = self.set_argument(pid, index, arguments, len);
            }
        } else if is_vectored(nr) {
            // The call keeps only the buffers that this length needs, and the last of these buffers becomes
            // shorter.
            let mut left = len;
            for index in 0..arguments[2] {
                let place = arguments[1] + 16 * index + 8;
                let word = peek(pid, place);
                if word >= left {
                    if word == left && index + 1 == arguments[2] {
                        return; // not shorter than the original
                    }
                    poke(pid, place, left);
                    self.fired = self.set_argument(pid, 2, arguments, index + 1);
                    if let Some(tracee) = self.tracees.get_mut(&pid) {
                        tracee.after.memory = Some((place, word));
                    }
                    return;
                }
                left -= word;
            }
        }
    }

    fn leave(&mut self, pid: i32, answer: i64) {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        let After { errno, argument, memory } = core::mem::take(&mut tracee.after);
        if let Some((index, word)) =
            argument.filter(|(index, _)| *index != machine::ANSWER_ARGUMENT)
        {
            machine::set_argument(pid, index, word);
        }
        if let Some((place, word)) = memory {
            poke(pid, place, word);
        }
        if let Some(errno) = errno {
            machine::set_answer(pid, -i64::from(errno));
        }
        if let Some(call) = tracee.call.take().and_then(|index| self.calls.get_mut(index)) {
            call.answer = Some(answer);
        }
    }
}

// ---- the arguments of a call ----

/// Returns the purpose of a call, or 0 if the call has only one purpose.
pub(crate) fn purpose(call: usize, arguments: &[u64; 6]) -> u64 {
    if [nr::FCNTL, nr::IOCTL].contains(&call) {
        arguments[1]
    } else if call == nr::PRCTL {
        arguments[0]
    } else if call == nr::MADVISE {
        arguments[2]
    } else {
        0
    }
}

/// Returns the index of the argument that holds the number of bytes to move.
pub(crate) fn length_argument(call: usize) -> Option<usize> {
    let all = [
        (nr::READ, 2),
        (nr::WRITE, 2),
        (nr::TEE, 2),
        (nr::SENDFILE, 3),
        (nr::SPLICE, 4),
        (nr::COPY_FILE_RANGE, 4),
    ];
    all.into_iter().find(|(known, _)| *known == call).map(|(_, index)| index)
}

/// Returns whether argument 1 of the call is a list of buffers and argument 2 is the length of the list.
pub(crate) fn is_vectored(call: usize) -> bool {
    [nr::READV, nr::WRITEV, nr::PREADV2, nr::PWRITEV2, nr::VMSPLICE].contains(&call)
}

// ---- memory and registers of a tracee ----

fn peek(pid: i32, place: u64) -> u64 {
    let mut word = 0_u64;
    // The raw system call stores the word at this address instead of returning it.
    ptrace(PEEKDATA, pid, place, (&raw mut word).expose_provenance() as u64);
    word
}

/// Returns whether a request succeeded. A request may fail only if another process has killed the tracee. In
/// this case, the tracee is no longer stopped.
fn granted(answer: isize, what: &str) -> bool {
    const ESRCH: isize = 3;
    assert!([0, -ESRCH].contains(&answer), "{what} of a tracee: {answer}");
    answer == 0
}

fn poke(pid: i32, place: u64, word: u64) -> bool {
    granted(ptrace(POKEDATA, pid, place, word), "a word")
}

/// Sets registers of a stopped tracee. Returns `false` if the tracee was no longer stopped.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn set_register_set(pid: i32, set: u64, words: &[u8]) -> bool {
    const SETREGSET: usize = 0x4205;
    let vector = [words.as_ptr().expose_provenance() as u64, words.len() as u64];
    let place = (&raw const vector).expose_provenance() as u64;
    granted(ptrace(SETREGSET, pid, set, place), "registers")
}

/// Reads registers of a stopped tracee. Returns `false` if the tracee was no longer stopped.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn register_set(pid: i32, set: u64, words: &mut [u8]) -> bool {
    const GETREGSET: usize = 0x4204;
    let vector = [words.as_mut_ptr().expose_provenance() as u64, words.len() as u64];
    let place = (&raw const vector).expose_provenance() as u64;
    granted(ptrace(GETREGSET, pid, set, place), "registers")
}
