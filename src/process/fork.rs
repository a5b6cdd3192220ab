//! `fork`, and the exit that a child needs. The rules are in [`process`](crate::process).
//!
//! # Safety
//!
//! This file is trusted with the one call that returns twice, and with not letting the child run
//! out of the closure of [`fork_with`].
#![allow(unsafe_code, reason = "fork is unsafe to call, and this is the function")]

#[cfg(feature = "process")]
use super::claim::Making;
use super::{Child, Signal};
use crate::sys::call;
use crate::{Errno, Result};

/// Which of the two processes this is, after [`fork`].
#[derive(Debug)]
#[must_use = "the child goes on from here, too, and must not run the parent's code"]
pub enum Fork {
    /// The child.
    Child,
    /// The parent, with a handle on the child.
    Parent(Child),
}

/// Makes a child process: a copy of this one that goes on from here.
///
/// The call returns twice. Every value that the parent's code will drop is dropped in the child, too,
/// if the child returns through that code: end the child by [`exit`], or use [`fork_with`].
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN): as many processes as the user or the control group may have.
/// - [`ENOMEM`](crate::Errno::ENOMEM): the kernel has not enough memory, or the init process of the pid
///   name space in which the child would be has ended.
///
/// # Safety
///
/// All of these hold:
///
/// - If the process has other threads, the child does only [what a signal handler may
///   do](crate::process#what-a-child-may-do), until it ends or starts another program.
/// - The child does not touch memory that it has no copy of: mapped `MADV_DONTFORK` or
///   `MADV_WIPEONFORK`, or mapped shared and relied on to be exclusive.
/// - Random number generators with their state in memory are not used on both sides as if they were
///   independent.
/// - Values whose `Drop` acts outside this process (they remove a file, kill a process, say goodbye to
///   a server) are not dropped on both sides, unless that is harmless.
/// - With the assembly backends: nothing that the child does needs a `pthread_atfork` handler.
///
/// # Examples
///
/// ```
/// use rawpipe::{Fork, process};
///
/// let (reader, writer) = rawpipe::pipe()?;
/// // SAFETY: the child only writes to a pipe and exits.
/// match unsafe { rawpipe::fork() }? {
///     Fork::Child => {
///         let written = writer.write(b"Hello from the child");
///         process::exit(if written == Ok(20) { 0 } else { 1 });
///     }
///     Fork::Parent(mut child) => {
///         drop(writer); // or the next line would wait for ever
///         let mut text = Vec::new();
///         reader.read_to_end(&mut text)?;
///         assert_eq!(text, b"Hello from the child");
///         assert!(child.wait()?.success());
///     }
/// }
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html)
pub unsafe fn fork() -> Result<Fork> {
    #[cfg(feature = "process")]
    let making = Making::begin();
    // SAFETY: passed on to the caller.
    Ok(match unsafe { call::fork() }? {
        None => {
            #[cfg(feature = "process")]
            making.forget_all();
            Fork::Child
        }
        Some((pid, pidfd)) => Fork::Parent(Child::new(pid, pidfd)),
    })
}

/// Makes a child process as [`fork`] does, but refuses where this process has other threads, or another
/// process shares its memory.
///
/// So the child may do [all that is not listed below](crate::process#what-a-child-may-do): no other
/// thread holds a lock that stays locked in the child, or has left something half done.
///
/// The kernel is asked (by `unshare`, of which nothing comes). Where it refuses to say, as in many
/// containers, the threads in `/proc` are counted, and a process that shares memory is not seen.
///
/// # Errors
///
/// - [`EBUSY`](crate::Errno::EBUSY): there is another thread, or another process with this memory, or
///   there is no way to know. An emulator of user programs may have threads of its own.
/// - As [`fork`].
///
/// # Safety
///
/// What remains of [`fork`]'s list, in both processes:
///
/// - Memory that the child has no copy of is not touched by it: mapped `MADV_DONTFORK` or
///   `MADV_WIPEONFORK`, or mapped shared and relied on to be exclusive.
/// - Random number generators with their state in memory are not used on both sides as if they were
///   independent.
/// - Values whose `Drop` acts outside this process are not dropped on both sides, unless that is
///   harmless. What stdio has buffered is such a value: flush it before, or end the child by [`exit`].
/// - With the assembly backends: nothing that the child does needs a `pthread_atfork` handler; with a C
///   library other than glibc the child does not use that library's threads.
/// - Where the kernel refuses to say: no other process shares this one's memory.
///
/// # Examples
///
/// ```
/// use rawpipe::{Errno, Fork, process};
///
/// // SAFETY: the child only exits.
/// match unsafe { process::fork_single_threaded() } {
///     Ok(Fork::Child) => process::exit(0),
///     Ok(Fork::Parent(mut child)) => assert!(child.wait()?.success()),
///     Err(errno) => assert_eq!(errno, Errno::EBUSY), // a test has threads
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html),
/// [unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html)
pub unsafe fn fork_single_threaded() -> Result<Fork> {
    let alone = match call::unshare_memory() {
        Ok(()) => true,
        Err(Errno::EINVAL) => false,
        // A filter. A folder of procfs has a link for each folder in it, and two of its own.
        Err(_) => call::statx_nlink(c"/proc/self/task") == Ok(3),
    };
    if !alone {
        return Err(Errno::EBUSY);
    }
    // SAFETY: passed on to the caller; there is no other thread.
    unsafe { fork() }
}

/// Makes a child process that runs `body`, exits with the code that it returns, and nothing else: it
/// never returns into the code of the parent, does not unwind into it, and drops none of its values.
///
/// What `body` owns is dropped in both processes, so a pipe end moved into it is closed in the parent,
/// as it should be. A panic in `body` ends the child by `SIGABRT`, after the panic hook has run.
///
/// # Errors
///
/// As [`fork`].
///
/// # Safety
///
/// As [`fork`], for what `body` does and for the values that it owns. The parent's other values are
/// not dropped in the child, so they are no matter.
///
/// # Examples
///
/// ```
/// use rawpipe::process;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// // SAFETY: the child only writes to a pipe.
/// let mut child = unsafe {
///     process::fork_with(|| match writer.write(b"done") {
///         Ok(4) => 0,
///         _ => 1,
///     })
/// }?;
/// assert!(child.wait()?.success());
/// assert_eq!(reader.available()?, 4);
/// # Ok::<(), rawpipe::Errno>(())
/// ```
///
/// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html)
pub unsafe fn fork_with<F: FnOnce() -> u8>(body: F) -> Result<Child> {
    // SAFETY: passed on to the caller.
    match unsafe { fork() }? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => {
            let unwinding = AbortOnDrop;
            let status = body();
            core::mem::forget(unwinding);
            exit(status)
        }
    }
}

/// Ends the process when a panic unwinds through its scope.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // Where SIGABRT is blocked or handled it does not end the process, and the exit code of a
        // process that did die of it, as a shell reports it, does.
        let _ = call::kill(call::getpid(), Signal::ABRT.as_raw());
        exit(128 + 6)
    }
}

/// Ends the process at once with this exit code. No destructor and no `atexit` handler runs, and what
/// stdio has buffered is not written: that is the parent's to do.
///
/// # Examples
///
/// ```no_run
/// rawpipe::process::exit(3);
/// ```
///
/// [exit_group(2)](https://man7.org/linux/man-pages/man2/exit_group.2.html)
#[doc(alias("exit_group", "_exit"))]
pub fn exit(code: u8) -> ! {
    call::exit_group(code)
}
