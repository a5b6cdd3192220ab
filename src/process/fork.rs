//! Functions that fork this process or end it. The rules for the child are in [`process`](crate::process).
//!
//! # Safety
//!
//! This file is trusted to handle both returns of `fork` correctly, and to keep the child inside the closure
//! of [`fork_with`].
#![allow(unsafe_code, reason = "fork is unsafe to call, and this is the function")]

#[cfg(feature = "process")]
use super::claim::Creation;
use super::{Child, Signal};
use crate::sys::call;
use crate::{Errno, Result};

/// The process in which [`fork`] has returned.
#[derive(Debug)]
#[must_use = "the child continues here, too, and must not run the parent's code"]
pub enum Fork {
    /// The child.
    Child,
    /// The parent, with a handle to the child.
    Parent(Child),
}

/// Creates a child process: a copy of this process that continues after this call.
///
/// The call returns twice. If the child returns into the parent's code, the child, like the parent, drops
/// every value that this code drops. To prevent these drops, end the child with [`exit`], or use
/// [`fork_with`].
///
/// # Errors
///
/// - [`EAGAIN`](crate::Errno::EAGAIN) if the user or the control group has reached its process limit.
/// - [`ENOMEM`](crate::Errno::ENOMEM) if the kernel does not have enough memory, or the init process of the
///   child's pid namespace has ended.
///
/// # Safety
///
/// The caller must ensure all of the following:
///
/// - If the process has other threads, the child does only [what a signal handler may
///   do](crate::process#what-a-child-may-do), until it ends or starts another program.
/// - The child does not touch memory that is marked with `MADV_DONTFORK` or `MADV_WIPEONFORK`. The child also
///   does not touch shared memory that the parent must use exclusively.
/// - The two processes do not rely on independent output from random number generators whose state is in
///   memory.
/// - Values whose `Drop` acts outside this process are dropped in at most one of the two processes, unless a
///   second drop is harmless. Examples are values that remove a file, kill a process, or end a session with a
///   server.
/// - With the assembly backends, the child does nothing that needs a `pthread_atfork` handler.
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
///         drop(writer); // otherwise the next line would wait forever
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
    let creation = Creation::begin();
    // SAFETY: the caller upholds the same contract.
    Ok(match unsafe { call::fork() }? {
        None => {
            #[cfg(feature = "process")]
            creation.forget_all();
            Fork::Child
        }
        Some((pid, pidfd)) => Fork::Parent(Child::new(pid, pidfd)),
    })
}

/// Creates a child process as [`fork`] does, but fails if this process has other threads, or if another
/// process shares this process's memory.
///
/// The child may therefore do everything that the last column of [the
/// table](crate::process#what-a-child-may-do) permits. During the fork, no other thread exists that could
/// hold a lock or be changing data.
///
/// To detect other threads and shared memory, this function calls `unshare` in a way that changes nothing. If
/// a filter rejects that call, as in many containers, this function counts the threads in `/proc` instead.
/// This fallback does not detect a process that shares memory.
///
/// # Errors
///
/// - [`EBUSY`](crate::Errno::EBUSY) if another thread exists, another process shares this memory, or neither
///   `unshare` nor `/proc` can be used for the check. This error also occurs under a user-mode emulator that
///   has its own threads.
/// - Any error of [`fork`].
///
/// # Safety
///
/// The caller must ensure the following, in both processes:
///
/// - The child does not touch memory that is marked with `MADV_DONTFORK` or `MADV_WIPEONFORK`. The child also
///   does not touch shared memory that the parent must use exclusively.
/// - The two processes do not rely on independent output from random number generators whose state is in
///   memory.
/// - Values whose `Drop` acts outside this process are dropped in at most one of the two processes, unless a
///   second drop is harmless. Buffered stdio is an example: flush it before the fork, or end the child with
///   [`exit`].
/// - With the assembly backends, the child does nothing that needs a `pthread_atfork` handler. With a C
///   library other than glibc, the child does not use that library's threads.
/// - No other process shares this process's memory. This rule applies only if a filter rejects `unshare`.
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
        // A filter rejects `unshare`. The link count of a procfs directory is two, plus one for each
        // subdirectory. A count of 3 therefore means a single thread.
        Err(_) => call::statx_nlink(c"/proc/self/task") == Ok(3),
    };
    if !alone {
        return Err(Errno::EBUSY);
    }
    // SAFETY: the caller upholds the same contract, and the check above found no other thread.
    unsafe { fork() }
}

/// Creates a child process that runs `body` and exits with the code that `body` returns. The child never
/// returns or unwinds into the parent's code, and drops none of the values that `body` only borrows.
///
/// Values that `body` owns are dropped in both processes. A pipe end that was moved into `body` is therefore
/// closed in the parent, as intended. A panic in `body` ends the child with `SIGABRT`, after the panic hook
/// has run. If `SIGABRT` is blocked, ignored or handled, the child exits with code 134 instead.
///
/// # Errors
///
/// Any error of [`fork`].
///
/// # Safety
///
/// The rules of [`fork`] apply to the code of `body` and to the values that `body` owns. The rules do not
/// apply to the parent's other values, because the child does not drop those values.
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
    // SAFETY: the caller upholds the same contract.
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
        // SIGABRT does not end the process if the signal is blocked, ignored or handled. The process then
        // exits with the code that a shell reports for a process killed by SIGABRT.
        let _ = call::kill(call::getpid(), Signal::ABRT.as_raw());
        exit(128 + 6)
    }
}

/// Ends the process immediately with this exit code. No destructor and no `atexit` handler runs. Buffered
/// stdio is not flushed, so a forked child does not write data that its parent also writes.
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
