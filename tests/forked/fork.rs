//! Tests forks, exit codes, pipes that several processes share, inherited descriptors, and the limits of a
//! process and of a user. Each test runs in its own process.
#![allow(unsafe_code, reason = "fork, and the C library's own view of it")]

use crate::common::nr;
use crate::common::{self, Filter, child, close_copy, skip};
use rawpipe::Deadline;
use rawpipe::fd::{AsRawFd, BorrowedFd};
use rawpipe::io::{self, DupFlags};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::process::{self, Signal, fork_with};
use rawpipe::{Errno, Fork, PipeFlags, PipeWriter, pipe2, raw};
use std::fs::{self, File};
use std::io::Read;
use std::sync::atomic::{AtomicU8, Ordering};

// These numbers are generic; MIPS and SPARC differ.
const NPROC: u32 = 6;
const NOFILE: u32 = 7;

const SIGABRT: i32 = Signal::ABRT.as_raw();

/// Returns the exit code of a child that runs `body`.
fn code_of(body: impl FnOnce() -> u8) -> Option<i32> {
    child(body).wait().unwrap().code()
}

fn getpid() -> u32 {
    std::process::id()
}

/// Changes to a user id that no other process is likely to use. Skips the test and returns `None` if this
/// process is not root.
fn become_ordinary_user(test: &str) -> Option<()> {
    unsafe extern "C" {
        safe fn getuid() -> u32;
        safe fn setuid(uid: u32) -> i32;
    }
    if getuid() != 0 {
        skip(test, "needs root, to become a user without processes");
        return None;
    }
    assert_eq!(setuid(0x3_0000 + getpid() % 0x1_0000), 0);
    Some(())
}

// ---- fork ----

fn fork_both_sides_go_on() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let parent = getpid();
    // SAFETY: as in `common::child`.
    match unsafe { rawpipe::fork() }.unwrap() {
        Fork::Child => {
            assert_ne!(getpid(), parent);
            assert_eq!(writer.write(&getpid().to_ne_bytes()), Ok(4));
            process::exit(0);
        }
        Fork::Parent(mut child) => {
            let mut pid = [0; 4];
            reader.read_exact(&mut pid).unwrap();
            assert_eq!(u32::from_ne_bytes(pid), child.id());
            assert!(child.wait().unwrap().success());
            assert_eq!(getpid(), parent);
        }
    }
}

fn fork_many_children_each_with_its_code() {
    let mut children: Vec<_> = (0..20).map(|code| (code, child(move || code))).collect();
    children.reverse();
    for (code, mut child) in children {
        assert_eq!(child.wait().unwrap().code(), Some(code.into()));
    }
}

fn fork_memory_is_a_copy() {
    let mut number = 1;
    let place = &mut number;
    assert_eq!(
        code_of(move || {
            *place += 41;
            *place
        }),
        Some(42)
    );
    assert_eq!(number, 1);
}

fn fork_descriptors_are_copies_of_one_open_file() {
    let mut file = common::file(b"abcdef");
    let copy = &file;
    assert_eq!(code_of(move || io::read_exact(copy, &mut [0; 2]).is_err().into()), Some(0));
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "cdef", "the child has moved the common offset on");
}

fn fork_child_closes_only_its_own() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (r, w) = (&reader, &writer);
    let code = code_of(move || {
        close_copy(r);
        close_copy(w);
        0
    });
    assert_eq!(code, Some(0));
    writer.write_all(b"still open").unwrap();
    assert_eq!(reader.available(), Ok(10));
}

fn fork_child_has_both_ends() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"ping").unwrap();
    let (r, w) = (&reader, &writer);
    let code = code_of(move || {
        let mut buf = [0; 4];
        let read = r.read_exact(&mut buf).is_ok() && &buf == b"ping";
        u8::from(!(read && w.write(b"pong!") == Ok(5)))
    });
    assert_eq!(code, Some(0));
    assert_eq!(reader.available(), Ok(5));
}

fn fork_with_ends_moved_into_the_child_are_closed_in_the_parent() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut child = child(move || u8::from(writer.write(b"x") != Ok(1)));
    let mut all = Vec::new();
    assert_eq!(reader.read_to_end(&mut all), Ok(1));
    assert!(child.wait().unwrap().success());
}

fn fork_with_panic_ends_by_abort_and_does_not_unwind() {
    struct Tell<'a>(&'a PipeWriter);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.write_all(b"!").unwrap();
        }
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    let telling = Tell(&writer);
    let status = child(|| panic!("in the child")).wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABRT));
    assert_eq!(status.code(), None);
    assert_eq!(reader.available(), Ok(0), "a value of the parent was dropped in the child");
    drop(telling);
    assert_eq!(reader.available(), Ok(1));
}

fn fork_with_panic_with_sigabrt_ignored_still_ends() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    signal(SIGABRT, 1);
    assert_eq!(code_of(|| panic!("in the child")), Some(128 + SIGABRT));
}

/// Text in the buffers of Rust and of the C library is written only once. A child that exits with this
/// crate's functions discards its copy of the text.
fn fork_what_stdio_buffers_is_written_once() {
    unsafe extern "C" {
        fn puts(line: *const std::ffi::c_char) -> i32;
    }
    if common::in_role("print") {
        print!("rust's");
        // SAFETY: the text ends with a NUL.
        assert!(unsafe { puts(c"the C library's".as_ptr()) } >= 0);
        assert_eq!(code_of(|| 0), Some(0));
        for single_threaded in [false, true] {
            let way = if single_threaded { process::fork_single_threaded } else { rawpipe::fork };
            // SAFETY: as in `common::child`.
            let forked = unsafe { way() };
            match forked {
                Ok(Fork::Child) => process::exit(7),
                Ok(Fork::Parent(mut child)) => assert_eq!(child.wait().unwrap().code(), Some(7)),
                Err(errno) => assert!(errno == Errno::EBUSY && common::emulated()),
            }
        }
        return;
    }
    let mut command = common::role_command("print");
    let output = common::role_output(&common::finish(&mut command));
    assert_eq!(output.matches("rust's").count(), 1, "{output}");
    if common::tool() == Some(common::Tool::Valgrind) {
        let test = "fork_what_stdio_buffers_is_written_once";
        return skip(test, "Valgrind has the C library free its buffers, which writes them");
    }
    assert_eq!(output.matches("the C library's").count(), 1, "{output}");
}

/// A child that calls `std::process::exit` writes the buffered text a second time. This shows that the
/// previous test can fail.
fn fork_what_stdio_buffers_is_written_twice_by_an_ordinary_end() {
    if common::in_role("print") {
        print!("buffered");
        assert_eq!(code_of(|| std::process::exit(3)), Some(3));
        return;
    }
    let output = common::role_output(&common::finish(&mut common::role_command("print")));
    assert_eq!(output.matches("buffered").count(), 2, "{output}");
}

// ---- fork_single_threaded ----

/// Forks with `fork_single_threaded`, and returns the child's exit code, which is 3.
fn fork_alone() -> Result<Option<i32>, Errno> {
    // SAFETY: the child only exits.
    match unsafe { process::fork_single_threaded() }? {
        Fork::Child => process::exit(3),
        Fork::Parent(mut child) => Ok(child.wait().unwrap().code()),
    }
}

/// Skips the test and returns `true` if a second thread always exists. Emulators run a second thread, and
/// ThreadSanitizer starts one in this process and in each child.
fn never_alone(test: &str) -> bool {
    let never = common::emulated() || common::tool() == Some(common::Tool::Thread);
    if never {
        skip(test, "the emulator, or the tool, has threads of its own");
    }
    never
}

/// Asserts that a fork fails with `EBUSY` while another thread runs, and succeeds before that thread starts
/// and after it has ended.
fn alone_and_beside_a_thread() {
    assert_eq!(fork_alone(), Ok(Some(3)));
    let (gate, opener) = rawpipe::pipe().unwrap();
    let thread = std::thread::spawn(move || gate.read(&mut [0]));
    assert_eq!(fork_alone(), Err(Errno::EBUSY));
    drop(opener);
    assert_eq!(thread.join().unwrap(), Ok(0));
    // The kernel may need a moment to remove the thread.
    while fork_alone() == Err(Errno::EBUSY) {
        let _ = rawpipe::event::poll(&mut [], Some(std::time::Duration::from_millis(1)));
    }
}

fn fork_single_threaded_alone_and_beside_a_thread_ebusy() {
    if never_alone("fork_single_threaded_alone_and_beside_a_thread_ebusy") {
        return;
    }
    alone_and_beside_a_thread();
    assert_eq!(fork_alone(), Ok(Some(3)));
    // A forked child has only one thread, so `fork_single_threaded` also succeeds there.
    assert_eq!(code_of(|| u8::from(fork_alone() != Ok(Some(3)))), Some(0));
}

/// The fork fails with `EBUSY` if this process shares its memory with a separate process instead of a thread.
fn fork_single_threaded_beside_a_process_with_its_memory_ebusy() {
    use std::ffi::c_void;
    unsafe extern "C" {
        fn clone(
            child: extern "C" fn(*mut c_void) -> i32,
            stack: *mut c_void,
            flags: i32,
            argument: *mut c_void,
            ...
        ) -> i32;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }
    extern "C" fn wait_for_gate(gate: *mut c_void) -> i32 {
        // SAFETY: the parent keeps the reader while this function runs.
        let gate = unsafe { &*gate.cast::<rawpipe::PipeReader>() };
        let answer = gate.read(&mut [0]);
        process::exit(u8::from(answer != Ok(1)))
    }
    const CLONE_VM: i32 = 0x100;

    let test = "fork_single_threaded_beside_a_process_with_its_memory_ebusy";
    if never_alone(test) {
        return;
    }
    if common::tool() == Some(common::Tool::Valgrind) {
        return skip(test, "Valgrind has no such clone");
    }
    let (mut gate, opener) = rawpipe::pipe().unwrap();
    let mut stack = vec![0_u128; 64 << 10];
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let place = (&raw mut gate).cast::<c_void>();
    let flags = CLONE_VM | Signal::CHLD.as_raw();
    // SAFETY: the child has its own stack, and only reads from a pipe and exits.
    let pid = unsafe { clone(wait_for_gate, top, flags, place) };
    assert!(pid > 0);
    assert_eq!(fork_alone(), Err(Errno::EBUSY));
    opener.write_all(b"!").unwrap();
    let mut status = -1;
    // SAFETY: the call writes one `int` to `status`.
    assert_eq!(unsafe { waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    assert_eq!(fork_alone(), Ok(Some(3)));
}

/// If `unshare` is rejected, as in some containers, `fork_single_threaded` counts the threads with `statx`.
/// If `statx` is also rejected, the fork fails with `EBUSY`.
fn fork_single_threaded_unshare_refused_counts_threads() {
    let test = "fork_single_threaded_unshare_refused_counts_threads";
    if never_alone(test) {
        return;
    }
    for refusal in [Errno::EPERM, Errno::ENOSYS] {
        let code = code_of(|| {
            if !Filter::new(&[nr::UNSHARE], refusal).install() {
                return 77;
            }
            alone_and_beside_a_thread();
            assert!(Filter::new(&[nr::STATX], Errno::ENOSYS).install());
            assert_eq!(fork_alone(), Err(Errno::EBUSY));
            0
        });
        if code == Some(77) {
            return skip(test, "no filter of system calls here");
        }
        assert_eq!(code, Some(0), "{refusal}");
    }
}

fn exit_code_is_the_lower_byte() {
    for code in [0, 1, 42, 255] {
        assert_eq!(code_of(move || code), Some(code.into()));
        assert_eq!(code_of(move || process::exit(code)), Some(code.into()));
    }
}

fn fork_out_of_processes_eagain() {
    let Some(()) = become_ordinary_user("fork_out_of_processes_eagain") else { return };
    common::set_limits(NPROC, [0; 2]);
    // SAFETY: as in `common::child`. This fork must fail.
    let refused = unsafe { fork_with(|| 0) };
    assert_eq!(refused.unwrap_err(), Errno::EAGAIN);
    common::end_without_a_look_at_leaks();
}

// ---- the C library's view of the child ----

unsafe extern "C" {
    safe fn pthread_self() -> usize;
    fn pthread_kill(thread: usize, signal: i32) -> i32;
    fn pthread_mutexattr_init(attributes: *mut u64) -> i32;
    fn pthread_mutexattr_settype(attributes: *mut u64, kind: i32) -> i32;
    fn pthread_mutex_init(mutex: *mut u64, attributes: *const u64) -> i32;
    fn pthread_mutex_lock(mutex: *mut u64) -> i32;
    fn pthread_mutex_unlock(mutex: *mut u64) -> i32;
}

/// Returns an error-checking glibc mutex that this thread has locked. The returned memory is larger than any
/// glibc mutex.
fn locked_mutex() -> Box<[u64; 16]> {
    const PTHREAD_MUTEX_ERRORCHECK: i32 = 2;
    let mut attributes = [0; 16];
    let mut mutex = Box::new([0; 16]);
    // SAFETY: the memory is larger than `pthread_mutexattr_t`.
    assert_eq!(unsafe { pthread_mutexattr_init(attributes.as_mut_ptr()) }, 0);
    let kind = PTHREAD_MUTEX_ERRORCHECK;
    // SAFETY: the call above initialised `attributes`.
    assert_eq!(unsafe { pthread_mutexattr_settype(attributes.as_mut_ptr(), kind) }, 0);
    // SAFETY: the memory is larger than `pthread_mutex_t`, and does not move because it is boxed.
    assert_eq!(unsafe { pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr()) }, 0);
    // SAFETY: the call above initialised `mutex`.
    assert_eq!(unsafe { pthread_mutex_lock(mutex.as_mut_ptr()) }, 0);
    mutex
}

/// Runs in a child and returns two bits. Bit 0 is set if `pthread_kill` in a new thread finds the calling
/// thread. Bit 1 is set if the C library detects that the parent, not this thread, owns the lock. The result
/// is 3 if the C library's thread id is correct, and 0 if it is stale.
fn thread_id_is_known(mutex: &mut [u64; 16]) -> u8 {
    let forked = pthread_self();
    // SAFETY: the calling thread is alive, because it joins the new thread below. The call sends no signal,
    // because the signal number is 0.
    let found = std::thread::spawn(move || unsafe { pthread_kill(forked, 0) } == 0);
    // SAFETY: this is a copy of a mutex that was initialised before the fork.
    let not_owner =
        unsafe { pthread_mutex_unlock(mutex.as_mut_ptr()) } == Errno::EPERM.raw_os_error();
    u8::from(found.join().unwrap()) | u8::from(not_owner) << 1
}

/// Skips the test and returns `false` if the crate cannot correct the C library's thread id after a raw fork.
fn repairable(test: &str) -> bool {
    if !cfg!(target_env = "gnu") {
        skip(test, "only glibc's thread id can be found");
        return false;
    }
    const PR_GET_TID_ADDRESS: usize = 40;
    let mut address = 0_usize;
    let place = (&raw mut address).expose_provenance();
    // SAFETY: the call writes one word at `place`.
    let answer = unsafe { raw::syscall2(nr::PRCTL, PR_GET_TID_ADDRESS, place) };
    if answer != 0 && !cfg!(rawpipe_shim) {
        skip(test, "the kernel does not tell the address of the thread id");
        return false;
    }
    true
}

fn fork_thread_id_is_right_from_the_main_thread() {
    if repairable("fork_thread_id_is_right_from_the_main_thread") {
        let mut mutex = locked_mutex();
        assert_eq!(code_of(move || thread_id_is_known(&mut mutex)), Some(3));
    }
}

fn fork_thread_id_is_right_from_another_thread() {
    if repairable("fork_thread_id_is_right_from_another_thread") {
        // The main thread waits in `join` and holds no lock.
        let code = std::thread::spawn(|| {
            let mut mutex = locked_mutex();
            code_of(move || thread_id_is_known(&mut mutex))
        });
        assert_eq!(code.join().unwrap(), Some(3));
    }
}

/// A bare `clone` leaves a stale thread id in the child. This shows that the two previous tests can fail.
fn fork_thread_id_is_stale_after_a_bare_clone() {
    const SIGCHLD: usize = Signal::CHLD.as_raw().unsigned_abs() as usize;
    if !repairable("fork_thread_id_is_stale_after_a_bare_clone") {
        return;
    }
    let flags = if cfg!(target_arch = "s390x") { [0, SIGCHLD] } else { [SIGCHLD, 0] };
    let mut mutex = locked_mutex();
    // SAFETY: the child shares no memory with this process, and exits below.
    let pid = unsafe { raw::syscall5(nr::CLONE, flags[0], flags[1], 0, 0, 0) };
    if pid == 0 {
        process::exit(thread_id_is_known(&mut mutex));
    }
    const P_PID: usize = 1;
    const WEXITED: usize = 4;
    let mut info = [0_i32; 32];
    let place = (&raw mut info).expose_provenance();
    // SAFETY: the call writes one `siginfo_t` at `place`.
    let answer = unsafe { raw::syscall5(nr::WAITID, P_PID, pid.unsigned_abs(), place, WEXITED, 0) };
    assert_eq!(answer, 0);
    let status = info[if cfg!(target_pointer_width = "64") { 6 } else { 5 }];
    assert_eq!(status, 0, "other code has repaired the bare clone: this test proves nothing");
}

// ---- end of file across processes ----

fn read_no_end_of_file_while_a_sibling_holds_the_writer() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let (gate, opener) = rawpipe::pipe().unwrap();
    let held = &writer;
    let (g, o) = (&gate, &opener);
    let mut sibling = child(move || {
        let _held = held;
        // If the child kept its copy of the opener, the gate would never reach end of file.
        close_copy(o);
        u8::from(g.read(&mut [0]) != Ok(0))
    });
    drop(writer);
    assert_eq!(reader.read(&mut [0]), Err(Errno::EAGAIN), "the sibling has a copy");
    drop(opener);
    assert!(sibling.wait().unwrap().success());
    assert_eq!(reader.read(&mut [0]), Ok(0), "the last copy is gone with its process");
}

fn read_no_end_of_file_while_a_grandchild_holds_the_writer() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut middle = child(|| {
        let _grandchild = child(|| {
            rawpipe::event::poll(&mut [], Some(std::time::Duration::from_millis(200))).ok();
            u8::from(writer.write(b"late") != Ok(4))
        });
        0
    });
    drop(writer);
    assert!(middle.wait().unwrap().success(), "the child is gone, its child is not");
    let mut all = Vec::new();
    assert_eq!(reader.read_to_end(&mut all), Ok(4));
    assert_eq!(all, b"late");
}

fn write_epipe_at_once_when_the_last_reader_dies() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut holder = child(|| {
        let _ = rawpipe::event::poll(&mut [], None);
        0
    });
    drop(reader);
    assert_eq!(writer.write(b"x"), Ok(1), "the child has a read end");
    holder.kill().unwrap();
    assert_eq!(holder.wait().unwrap().signal(), Some(Signal::KILL));
    assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
}

fn write_without_reader_sigpipe_at_default_kills() {
    unsafe extern "C" {
        safe fn signal(signal: i32, handler: usize) -> usize;
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    drop(reader);
    let status = child(|| {
        signal(Signal::PIPE.as_raw(), 0);
        let _ = writer.write(b"x");
        0
    })
    .wait()
    .unwrap();
    assert_eq!(status.signal(), Some(Signal::PIPE));
}

// ---- descriptors: exec, limits ----

fn pipe_ends_in_an_executed_program() {
    if common::in_role("list") {
        for fd in common::open_fds() {
            println!("{fd} {}", common::link_of(fd));
        }
        return;
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    let built = Builder::new().nonblocking().build().unwrap();
    let exact = pipe2(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let inheritable = Builder::new().inheritable().build().unwrap();
    let plain = pipe2(PipeFlags::empty()).unwrap();
    let clone = reader.try_clone().unwrap();
    let dup = io::dup(&reader).unwrap();
    io::set_close_on_exec(&writer, false).unwrap();

    let mut command = common::role_command("list");
    let listing = common::role_output(&common::finish(&mut command));
    let numbers = listing.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
    let numbers: Vec<i32> = numbers.collect();
    assert!(numbers.contains(&0) && numbers.contains(&2), "{listing}");
    // The numbers are not enough: a tool may open files of its own in the program.
    let inherited =
        |fd: i32| listing.lines().any(|line| line == format!("{fd} {}", common::link_of(fd)));
    let kept = [
        writer.as_raw_fd(),
        inheritable.0.as_raw_fd(),
        inheritable.1.as_raw_fd(),
        plain.0.as_raw_fd(),
        plain.1.as_raw_fd(),
        dup.as_raw_fd(),
    ];
    for fd in kept {
        assert!(inherited(fd), "{fd} was to be inherited: {listing}");
    }
    let gone = [
        reader.as_raw_fd(),
        clone.as_raw_fd(),
        built.0.as_raw_fd(),
        built.1.as_raw_fd(),
        exact.0.as_raw_fd(),
        exact.1.as_raw_fd(),
    ];
    for fd in gone {
        assert!(!inherited(fd), "{fd} was not to be inherited: {listing}");
    }
}

fn take_inherited_claims_a_number_that_exec_left_open() {
    use rawpipe::io::take_inherited;
    if common::in_role("write") {
        let number: i32 = std::env::var("RAWPIPE_TEST_FD").unwrap().parse().unwrap();
        // SAFETY: this program inherited the descriptor, and takes ownership of it only once.
        let writer = PipeWriter::from(unsafe { take_inherited(number) }.unwrap());
        assert_eq!(io::is_close_on_exec(&writer), Ok(true));
        writer.write_all(b"from the program").unwrap();
        return;
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    io::set_close_on_exec(&writer, false).unwrap();
    let mut command = common::role_command("write");
    command.env("RAWPIPE_TEST_FD", writer.as_raw_fd().to_string());
    common::role_output(&common::finish(&mut command));
    drop(writer);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"from the program");
    for number in [-1, i32::MAX - 7] {
        // SAFETY: the descriptor is not open, and the call must report that.
        let refused = unsafe { take_inherited(number) };
        assert_eq!(refused.unwrap_err(), Errno::EBADF);
    }
}

fn into_stdio_gives_a_program_its_output() {
    if common::in_role("print") {
        println!("printed by a program");
        return;
    }
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut child = common::role_command("print").stdout(writer).spawn().unwrap();
    // The command and its write end have been dropped, so the reader reaches end of file when the program
    // ends.
    let mut output = Vec::new();
    reader.read_to_end(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(String::from_utf8(output).unwrap().contains("printed by a program\n"));
}

fn out_of_descriptors_emfile_leaks_nothing() {
    if common::descriptors_without_limit("out_of_descriptors_emfile_leaks_nothing") {
        return;
    }
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let before = common::open_fds();
    let highest = u64::try_from(*before.last().unwrap()).unwrap();
    // Only one number is free below the limit, so no number remains for the second end of a pipe.
    let free: Vec<File> =
        (before.len() as u64..=highest).map(|_| File::open("/dev/null").unwrap()).collect();
    common::set_soft_limit(NOFILE, highest + 2);
    for _ in 0..100 {
        assert_eq!(rawpipe::pipe().unwrap_err(), Errno::EMFILE);
        assert_eq!(pipe2(PipeFlags::empty()).unwrap_err(), Errno::EMFILE);
        assert_eq!(Builder::new().capacity(Capacity::Max).build().unwrap_err(), Errno::EMFILE);
        // The free number can be used, and then becomes free again.
        drop(reader.try_clone().unwrap());
        drop(io::dup(&reader).unwrap());
    }
    common::set_soft_limit(NOFILE, highest + 1);
    for _ in 0..100 {
        assert_eq!(reader.try_clone().unwrap_err(), Errno::EMFILE);
        assert_eq!(io::dup(&reader).unwrap_err(), Errno::EMFILE);
        assert_eq!(io::dup_cloexec(&reader).unwrap_err(), Errno::EMFILE);
    }
    common::set_soft_limit(NOFILE, 1024.max(highest + 10));
    drop(free);
    assert_eq!(common::open_fds(), before);
}

fn fork_at_the_limit_of_descriptors_has_no_pidfd() {
    if common::descriptors_without_limit("fork_at_the_limit_of_descriptors_has_no_pidfd") {
        return;
    }
    let before = common::open_fds();
    let highest = u64::try_from(*before.last().unwrap()).unwrap();
    let free: Vec<File> =
        (before.len() as u64..=highest).map(|_| File::open("/dev/null").unwrap()).collect();
    common::set_soft_limit(NOFILE, highest + 1);
    let mut held = child(|| {
        let _ = rawpipe::event::poll(&mut [], None);
        0
    });
    assert!(held.pidfd().is_none());
    held.kill().unwrap();
    let second = std::time::Duration::from_secs(60);
    assert_eq!(
        held.wait_deadline(Deadline::after(second)).unwrap().unwrap().signal(),
        Some(Signal::KILL)
    );
    drop(free);
}

fn builder_capacity_refused_leaves_no_pipe() {
    let before = common::open_fds();
    for _ in 0..100 {
        let refused = Builder::new().capacity(Capacity::Bytes(usize::MAX)).build();
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);
    }
    assert_eq!(common::open_fds(), before);
}

fn dup3_replaces_closes_and_sets_the_flag() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let (old_reader, old_writer) = rawpipe::pipe().unwrap();
    let mut target = rawpipe::fd::OwnedFd::from(old_writer);
    let number = target.as_raw_fd();
    io::dup3(&writer, &mut target, DupFlags::empty()).unwrap();
    assert_eq!(target.as_raw_fd(), number);
    assert_eq!(io::is_close_on_exec(&target), Ok(false));
    assert_eq!(old_reader.read(&mut [0]), Ok(0), "what it was is closed");
    io::dup3(&writer, &mut target, DupFlags::CLOEXEC).unwrap();
    assert_eq!(io::is_close_on_exec(&target), Ok(true));
    assert_eq!(io::is_close_on_exec(&writer), Ok(true));
    io::write_all(&target, b"x").unwrap();
    assert_eq!(reader.available(), Ok(1));

    let unknown = DupFlags::from_bits_retain(1 << 27);
    assert_eq!(io::dup3(&writer, &mut target, unknown), Err(Errno::EINVAL));
    // SAFETY: `target` stays open while `same` is used. The only call that receives this second borrow must
    // reject it.
    let same = unsafe { BorrowedFd::borrow_raw(number) };
    assert_eq!(io::dup3(same, &mut target, DupFlags::empty()), Err(Errno::EINVAL));
}

// ---- limits of an ordinary user ----

fn capacity_above_the_maximum_eperm() {
    let Some(()) = become_ordinary_user("capacity_above_the_maximum_eperm") else { return };
    let max: usize =
        fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap().trim().parse().unwrap();
    let (reader, writer) = rawpipe::pipe().unwrap();
    let before = reader.capacity().unwrap();
    assert_eq!(writer.set_capacity(Capacity::Bytes(2 * max)), Err(Errno::EPERM));
    assert_eq!(reader.capacity(), Ok(before));
    assert_eq!(writer.set_capacity(Capacity::Max), Ok(max.min(1 << 20)));
}

fn is_degraded_when_the_user_has_too_many_pages() {
    let test = "is_degraded_when_the_user_has_too_many_pages";
    let Some(()) = become_ordinary_user(test) else { return };
    let soft: usize =
        fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap().trim().parse().unwrap();
    if soft == 0 {
        return skip(test, "pipe-user-pages-soft is 0, which is no limit");
    }
    let mut pipes = Vec::new();
    let (reader, writer) = loop {
        let pipe = rawpipe::pipe().unwrap();
        if pipe.0.is_degraded().unwrap() {
            break pipe;
        }
        // `Capacity::Max` enlarges the pipe as far as permitted. Near the limit, the call still succeeds and
        // does not make the pipe smaller.
        let before = pipe.0.capacity().unwrap();
        assert!(pipe.0.set_capacity(Capacity::Max).unwrap() >= before);
        pipes.push(pipe);
        assert!(pipes.len() < 2000, "no limit found");
    };
    let small = writer.capacity().unwrap();
    assert_eq!(writer.set_capacity(Capacity::Max), Ok(small), "rejected, so it is unchanged");
    assert_eq!(writer.set_capacity(Capacity::Bytes(1 << 20)), Err(Errno::EPERM));
    let data = vec![1; small];
    writer.write_all(&data).unwrap();
    assert_eq!(reader.available(), Ok(small));
}

/// The assembly backend forks without the C library, so no registered handler runs. The shim forks with the C
/// library, which calls the registered handlers.
fn fork_atfork_handlers_run_with_the_c_library_only() {
    unsafe extern "C" {
        safe fn pthread_atfork(
            prepare: extern "C" fn(),
            parent: extern "C" fn(),
            child: extern "C" fn(),
        ) -> i32;
    }
    static CALLED: [AtomicU8; 3] = [const { AtomicU8::new(0) }; 3];
    fn called() -> [u8; 3] {
        CALLED.each_ref().map(|count| count.load(Ordering::SeqCst))
    }
    extern "C" fn prepare() {
        CALLED[0].fetch_add(1, Ordering::SeqCst);
    }
    extern "C" fn parent() {
        CALLED[1].fetch_add(1, Ordering::SeqCst);
    }
    extern "C" fn child() {
        CALLED[2].fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!(pthread_atfork(prepare, parent, child), 0);
    let (in_parent, in_child) =
        if cfg!(rawpipe_shim) { ([1, 1, 0], [1, 0, 1]) } else { ([0; 3], [0; 3]) };
    assert_eq!(code_of(|| u8::from(called() != in_child)), Some(0));
    assert_eq!(called(), in_parent);
    // With either backend, a spawn calls none of these handlers.
    #[cfg(feature = "process")]
    {
        let mut spawned = process::Command::new("true").spawn().unwrap();
        assert!(spawned.wait().unwrap().success());
        assert_eq!(called(), in_parent);
    }
}

pub(crate) const TESTS: common::Tests = common::tests![
    fork_atfork_handlers_run_with_the_c_library_only,
    fork_both_sides_go_on,
    fork_many_children_each_with_its_code,
    fork_memory_is_a_copy,
    fork_descriptors_are_copies_of_one_open_file,
    fork_child_closes_only_its_own,
    fork_child_has_both_ends,
    fork_with_ends_moved_into_the_child_are_closed_in_the_parent,
    fork_with_panic_ends_by_abort_and_does_not_unwind,
    fork_with_panic_with_sigabrt_ignored_still_ends,
    fork_what_stdio_buffers_is_written_once,
    fork_what_stdio_buffers_is_written_twice_by_an_ordinary_end,
    fork_single_threaded_alone_and_beside_a_thread_ebusy,
    fork_single_threaded_beside_a_process_with_its_memory_ebusy,
    fork_single_threaded_unshare_refused_counts_threads,
    fork_at_the_limit_of_descriptors_has_no_pidfd,
    exit_code_is_the_lower_byte,
    fork_out_of_processes_eagain,
    fork_thread_id_is_right_from_the_main_thread,
    fork_thread_id_is_right_from_another_thread,
    fork_thread_id_is_stale_after_a_bare_clone,
    read_no_end_of_file_while_a_sibling_holds_the_writer,
    read_no_end_of_file_while_a_grandchild_holds_the_writer,
    write_epipe_at_once_when_the_last_reader_dies,
    write_without_reader_sigpipe_at_default_kills,
    pipe_ends_in_an_executed_program,
    take_inherited_claims_a_number_that_exec_left_open,
    into_stdio_gives_a_program_its_output,
    out_of_descriptors_emfile_leaks_nothing,
    builder_capacity_refused_leaves_no_pipe,
    dup3_replaces_closes_and_sets_the_flag,
    capacity_above_the_maximum_eperm,
    is_degraded_when_the_user_has_too_many_pages,
];
