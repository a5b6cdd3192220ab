//! Makes the system calls of composite operations fail with each likely error, or move fewer bytes than
//! requested. Each run injects at most one fault. No run may lose or duplicate bytes, or leave a descriptor,
//! mapping, child or zombie. `check` defines the exceptions.
//!
//! Each operation first runs without faults to record its calls. The operation then runs once for each
//! combination of a call, a likely error, and the first, second or last occurrence of the call. In further
//! runs, a call moves only one byte, or half as many bytes as without faults. Each run has a separate
//! process, and this process checks the results of the run.
//!
//! No fault is injected into cleanup (`close`, `munmap`, `exit`, `exit_group`, `rt_sigtimedwait`, restoring
//! the signal mask) or into calls that cannot fail. Calls that wait for a child fail only with `EINTR` or
//! `ECHILD`. Calls that send a signal fail only with `EINTR` or `ESRCH`.
//!
//! `RAWPIPE_INJECT=full` runs every combination. Any other word runs every combination for the operations
//! whose names contain that word. By default, faults are injected only into the first and the last occurrence
//! of a call, and some operations run only while all calls are available. On a slow machine
//! (`RAWPIPE_TEST_SLOW`), only a sample of the operations and faults runs by default. Under tools and
//! user-mode emulators, the test is skipped.
#![allow(unsafe_code, reason = "a tracer, by system calls")]

mod check;
mod messages;
mod moving;
mod processes;
mod shared;
mod streams;

use super::machine;
use super::tracer::{
    self, Action, Call, End, Fault, Key, Missing, is_vectored, length_argument, run,
};
use crate::common;
use crate::common::nr;
use rawpipe::{Errno, io};
use std::collections::BTreeMap;
use std::time::Duration;

/// An operation of the crate, with the checks of its result.
pub(crate) struct Operation {
    name: String,
    body: Box<dyn Fn() -> check::Verdict>,
    missing: Vec<Missing>,
    /// If set, the operation runs only if `RAWPIPE_INJECT` is set, because it resembles other operations.
    in_full: bool,
}

impl Operation {
    pub(crate) fn new(
        name: impl Into<String>,
        body: impl Fn() -> check::Verdict + 'static,
    ) -> Self {
        Self { name: name.into(), body: Box::new(body), missing: Vec::new(), in_full: false }
    }

    /// Makes these calls fail in every run of the operation, as on a kernel that lacks the calls.
    pub(crate) fn without(self, missing: Vec<Missing>) -> Self {
        Self { missing, ..self }
    }

    pub(crate) fn only_in_full(self, in_full: bool) -> Self {
        Self { in_full, ..self }
    }
}

pub(crate) fn missing(nr: usize, errno: Errno) -> Missing {
    Missing { nr, argument: 0, bits: 0, errno: errno.raw_os_error() }
}

/// Returns a call that counts as missing only if an argument has these bits set.
pub(crate) fn missing_bits(nr: usize, argument: usize, bits: u64, errno: Errno) -> Missing {
    Missing { nr, argument, bits, errno: errno.raw_os_error() }
}

// ---- which faults fit which call ----

/// Returns whether faults are injected into a call.
pub(crate) fn may_fail(
    child: bool,
    call: usize,
    arguments: &[u64; 6],
    full_set: &dyn Fn() -> bool,
) -> bool {
    const SETMASK: u64 = 2;
    let cleanup = [nr::CLOSE, nr::MUNMAP, nr::EXIT, nr::EXIT_GROUP, nr::RT_SIGTIMEDWAIT];
    let infallible = [nr::CLOCK_GETTIME, nr::GETPID, nr::GETPPID, nr::GETTID, nr::UMASK];
    let sets_back = call == nr::RT_SIGPROCMASK && arguments[0] == SETMASK && !child && !full_set();
    !cleanup.contains(&call) && !infallible.contains(&call) && !sets_back
}

fn errors(Key { nr: call, purpose, .. }: Key) -> Vec<Errno> {
    let waits = [nr::WAITID, machine::WAIT4];
    let kills = [nr::KILL, nr::PIDFD_SEND_SIGNAL, nr::TGKILL];
    let refusable = [
        nr::CLONE,
        nr::CLONE3,
        nr::COPY_FILE_RANGE,
        nr::MADVISE,
        nr::PREADV2,
        nr::PWRITEV2,
        nr::SENDFILE,
        nr::SPLICE,
        nr::TEE,
        nr::VMSPLICE,
    ];
    if waits.contains(&call) {
        return vec![Errno::EINTR, Errno::ECHILD];
    }
    if kills.contains(&call) {
        return vec![Errno::EINTR, Errno::ESRCH];
    }
    if call == machine::BRK || call == machine::MREMAP {
        return vec![Errno::ENOMEM];
    }
    let mut all =
        vec![Errno::EINTR, Errno::EAGAIN, Errno::ENOMEM, Errno::EIO, Errno::ENOSYS, Errno::EPERM];
    // `EINVAL` is a regular result of the `madvise` calls with which the crate determines the page size.
    if refusable.contains(&call) && (call, purpose) != (nr::MADVISE, 0) {
        all.push(Errno::EINVAL);
    }
    if call == nr::PIPE2 {
        all.push(Errno::EMFILE);
    }
    if [nr::PWRITEV2, nr::WRITEV].contains(&call) {
        all.push(Errno::EPIPE);
    }
    all
}

/// Returns the faults to inject into an operation that has made these calls.
fn faults(calls: &[Call], full: bool) -> Vec<Fault> {
    let mut by_key: BTreeMap<(bool, usize, u64), Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_key.entry((call.key.child, call.key.nr, call.key.purpose)).or_default().push(call);
    }
    let mut faults = Vec::new();
    for ((child, nr, purpose), calls) in by_key {
        let key = Key { child, nr, purpose };
        let mut positions = if full { vec![1, 2, calls.len()] } else { vec![1, calls.len()] };
        positions.retain(|position| *position <= calls.len());
        positions.dedup();
        for position in positions {
            let fault = |action| Fault { key, position, action };
            let error = |errno: Errno| fault(Action::Error(errno.raw_os_error()));
            faults.extend(errors(key).into_iter().map(error));
            let answer = calls[position - 1].answer.and_then(|answer| u64::try_from(answer).ok());
            let counts = length_argument(nr).is_some() || is_vectored(nr);
            if let Some(answer @ 2..) = answer.filter(|_| counts) {
                faults.push(fault(Action::Short(1)));
                if answer / 2 > 1 {
                    faults.push(fault(Action::Short(answer / 2)));
                }
            }
        }
    }
    faults
}

fn name_of(key: Key) -> String {
    let name = names().into_iter().find(|(nr, _)| *nr == key.nr).map_or("call", |(_, name)| name);
    let number = if name == "call" { format!(" {}", key.nr) } else { String::new() };
    let purpose = if key.purpose == 0 { String::new() } else { format!(" {:#x}", key.purpose) };
    format!("{name}{number}{purpose}{}", if key.child { " in the child" } else { "" })
}

fn names() -> Vec<(usize, &'static str)> {
    macro_rules! names {
        ($($name:ident)*) => { vec![$((nr::$name, stringify!($name))),*] };
    }
    names![
        CHDIR CLONE CLONE3 CLOSE_RANGE COPY_FILE_RANGE DUP DUP3 EPOLL_CREATE1 EPOLL_CTL EPOLL_PWAIT
        EPOLL_PWAIT2 EVENTFD2 EXECVE EXECVEAT FCNTL FTRUNCATE GETPRIORITY GETSOCKOPT IOCTL KILL LSEEK MADVISE
        MEMFD_CREATE MMAP MPROTECT OPENAT PIDFD_OPEN PIDFD_SEND_SIGNAL PIPE2 PPOLL PRCTL PREADV2
        PRLIMIT64 PSELECT6 PWRITEV2 READ READV RT_SIGACTION RT_SIGPENDING RT_SIGPROCMASK
        RT_TGSIGQUEUEINFO SCHED_GETAFFINITY SENDFILE SETGROUPS SETPGID SETPRIORITY SETRESGID
        SETRESUID SETSID SPLICE STATX TEE TGKILL UNSHARE VMSPLICE WAITID WRITE WRITEV
    ]
}

// ---- running all operations ----

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    operations: u64,
    errors: u64,
    shorts: u64,
    silent: u64,
    violated: u64,
}

/// The minimum time limit of a run with a fault.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sampling rates. One in every `operations` operations runs, with one in every `faults` faults.
#[derive(Clone, Copy, Debug)]
struct Sample {
    operations: usize,
    faults: usize,
}

impl Sample {
    fn usual(full: bool) -> Self {
        // Because 3 and 7 are primes, entries at regular intervals in a list are rarely all chosen or all
        // skipped.
        let (operations, faults) = if !full && common::slow() { (3, 7) } else { (1, 1) };
        Self { operations, faults }
    }

    /// Returns whether the sample contains this fault. Different operations are sampled with different
    /// faults.
    fn chooses(self, operation: usize, fault: usize) -> bool {
        (operation + fault) % self.faults == 0
    }
}

fn try_out(operation: &Operation, full: bool, wanted: impl Fn(usize) -> bool, count: &mut Count) {
    let run = |fault, patience| run(may_fail, &operation.body, fault, &operation.missing, patience);
    let plain = run(None, PATIENCE * 3);
    count.operations += 1;
    if plain.end != End::Exit(0) {
        count.violated += 1;
        eprintln!("VIOLATED | {} | without any fault | {:?}", operation.name, plain.end);
        return;
    }
    // On a slow machine, 100 times the duration of the run without faults may exceed `PATIENCE`.
    let patience = PATIENCE.max(plain.time * 100);
    let faults = faults(&plain.calls, full).into_iter().enumerate();
    for (_, fault) in faults.filter(|(index, _)| wanted(*index)) {
        let done = run(Some(fault), patience);
        if done.end != End::Exit(0) {
            count.violated += 1;
            let what = match fault.action {
                Action::Error(raw) => {
                    let errno = Errno::from_raw_os_error(raw).and_then(Errno::name);
                    errno.unwrap_or("?").to_owned()
                }
                Action::Short(len) => format!("short: {len}"),
            };
            let (name, call) = (&operation.name, name_of(fault.key));
            let position = fault.position;
            eprintln!("VIOLATED | {name} | {call} | {what} | position {position} | {:?}", done.end);
        }
        match fault.action {
            _ if !done.fired => count.silent += 1,
            Action::Error(_) => count.errors += 1,
            Action::Short(_) => count.shorts += 1,
        }
    }
}

/// Returns the reason why no fault can be injected on this system, or `None`.
fn impossible() -> Option<&'static str> {
    if !machine::KNOWN {
        return Some("the registers of this architecture are not known here");
    }
    if common::tool().is_some() {
        return Some("a tool makes calls of its own in the middle of the crate's");
    }
    // Injecting one fault shows whether injection works.
    let probe = || match tracer::operation(rawpipe::pipe) {
        Err(Errno::EDOM) => Ok(()),
        _ => Err("not traced".to_owned()),
    };
    let key = Key { child: false, nr: nr::PIPE2, purpose: 0 };
    let action = Action::Error(Errno::EDOM.raw_os_error());
    let done = run(may_fail, &probe, Some(Fault { key, position: 1, action }), &[], PATIENCE * 3);
    (done.end != End::Exit(0)).then_some("processes cannot be traced")
}

fn operations() -> Vec<Operation> {
    let all = [
        moving::operations(),
        streams::operations(),
        messages::operations(),
        shared::operations(),
        processes::operations(),
    ];
    all.into_iter().flatten().collect()
}

pub(crate) const TESTS: common::Tests = common::tests![every_call_of_every_operation_fails_once];

fn every_call_of_every_operation_fails_once() {
    let asked = std::env::var("RAWPIPE_INJECT").ok();
    let full = asked.is_some();
    let word = asked.as_deref().filter(|word| *word != "full").unwrap_or_default();
    let all = operations();
    let sample = Sample::usual(full);
    let chosen: Vec<_> = all
        .iter()
        .filter(|operation| operation.name.contains(word) && (full || !operation.in_full))
        .step_by(sample.operations)
        .collect();
    assert!(!chosen.is_empty(), "no operation has {word} in its name");
    check::pattern(0);
    if let Some(reason) = impossible() {
        return common::skip("every_call_of_every_operation_fails_once", reason);
    }
    few_descriptors();
    let count = in_two(&chosen, full, sample);
    let Count { operations, errors, shorts, silent, violated } = count;
    let faults = errors + shorts;
    println!(
        "result: injected faults{}, on {} | {faults} faults over {operations} operations \
         ({shorts} short counts, {errors} errors), {violated} violated",
        match (full && word.is_empty(), sample.operations) {
            (true, _) => ", whole product",
            (false, 1) => "",
            (false, _) => ", a sample",
        },
        if cfg!(rawpipe_shim) { "shim" } else { "asm" },
    );
    println!("({silent} runs in which the call was not made again; not counted)");
    assert_eq!(violated, 0, "see above");
}

/// Lowers the limit on descriptors. The fallback that closes all other descriptors makes one traced call for
/// each number below the limit.
fn few_descriptors() {
    const NOFILE: i32 = 7;
    unsafe extern "C" {
        fn setrlimit(resource: i32, limit: *const [usize; 2]) -> i32;
    }
    // SAFETY: the call reads one `struct rlimit` at the given address.
    assert_eq!(unsafe { setrlimit(NOFILE, &[256, 256]) }, 0);
}

/// Splits the operations between two processes, because most machines have at least two processors.
fn in_two(chosen: &[&Operation], full: bool, sample: Sample) -> Count {
    const WORKERS: usize = 2;
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (reader, writer) = rawpipe::pipe().expect("a pipe");
            let child = common::child(|| {
                let mut count = Count::default();
                let own = chosen.iter().enumerate().skip(worker).step_by(WORKERS);
                own.for_each(|(index, operation)| {
                    try_out(operation, full, |fault| sample.chooses(index, fault), &mut count);
                });
                let Count { operations, errors, shorts, silent, violated } = count;
                let told = [operations, errors, shorts, silent, violated].map(u64::to_ne_bytes);
                u8::from(io::write_all(&writer, told.as_flattened()).is_err())
            });
            (child, reader)
        })
        .collect();
    let mut sum = Count::default();
    for (mut child, reader) in workers {
        let mut told = [[0; 8]; 5];
        let heard = reader.read_exact(told.as_flattened_mut());
        assert!(child.wait().expect("a worker").success() && heard.is_ok(), "a worker has died");
        let [operations, errors, shorts, silent, violated] = told.map(u64::from_ne_bytes);
        sum.operations += operations;
        sum.errors += errors;
        sum.shorts += shorts;
        sum.silent += silent;
        sum.violated += violated;
    }
    sum
}
