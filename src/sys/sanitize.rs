//! What a sanitizer cannot see by itself: which memory a system call reads and writes.
//!
//! AddressSanitizer, MemorySanitizer and ThreadSanitizer learn of it from the C library's functions,
//! which they replace. They see neither the trap instruction nor what libc's `syscall()` is asked to do.
//! In a build for one of them this module stands before the backend, and tells it:
//!
//! | `RUSTFLAGS`, with `-Zsanitizer=` the same | before a call | after a call |
//! |---|---|---|
//! | `--cfg rawpipe_sanitize="address"` | what the kernel may read or write must be memory that is not freed, on either side of an object, or left by a frame | new mappings are memory |
//! | `--cfg rawpipe_sanitize="memory"` | what the kernel may read must be initialised | exactly what the kernel has written is initialised: the `n` bytes of a `read`, and not the rest of its buffer |
//! | `--cfg rawpipe_sanitize="thread"` | what the kernel may read is read by this thread, and what came before is visible to who reads the same pipe (or file) later | what the kernel has written is written by this thread, and it sees what came before in those who wrote |
//!
//! So a function of this crate, or a caller of [`raw`](crate::raw), that gives the kernel a length that
//! is too large, or that takes bytes for initialised which no call has written, is reported. A program
//! that uses the crate may set these flags, too. LeakSanitizer needs none of this, and Valgrind knows the
//! system calls.
//!
//! # What is known of a call
//!
//! [`visit`] is the table, in the order of the numbers' names: for each call with pointers, what is read
//! and what is written, as the manual says it. A call that is not in it touches no memory, as far as a
//! sanitizer is told: whoever adds a call with a pointer adds a line.
//!
//! # Threads
//!
//! Two threads that pass bytes through a pipe are in order. Each file has one of [`PLACES`], by its
//! number in its file system: who writes to it, or closes it, releases there, and who reads from it
//! acquires. Files that share a place by chance can only hide a race, never make one up. What waits for
//! many descriptors, or for a child, sees what all writers have released: it may be told of any of
//! them. Unmapping releases and mapping acquires at a place of their own, because the kernel gives
//! addresses to one thread that another one had.
//!
//! # Children
//!
//! A forked child is a copy, with a sanitizer of its own. One that shares its parent's memory runs while
//! its parent's thread is stopped, on another stack, which it leaves in the middle of its functions:
//! ThreadSanitizer gets a thread of its own for it, so that its records of the parent's stay right, and
//! AddressSanitizer forgets what the frames have left on that stack. Nothing here allocates or locks.
//!
//! # Safety
//!
//! This file is trusted to pass on each call as it is, to declare the sanitizers' functions as their
//! headers do, and to read only what the kernel reads as well: the lists, the paths.
#![allow(unsafe_code, reason = "the sanitizers' functions, and what the kernel is given")]

use super::arch::{backend, nr};
use crate::sys::abi;
use core::ptr::with_exposed_provenance as place;

const EVENT: usize = if cfg!(target_arch = "x86_64") { 12 } else { 16 };
const PAIR: usize = 2 * size_of::<usize>();
const SIGACTION: usize = 3 * size_of::<usize>() + 8;
const TIMESPEC: usize = 16;
/// Of what a program can have, with four levels of page tables, which the sanitizers are made for.
const END: usize = 1 << if cfg!(target_arch = "x86_64") { 47 } else { 48 };

/// Whether a program can have memory there. Null is for what is left out, and in its page and beyond the
/// end there is none (`EFAULT`).
fn is_memory(address: usize, len: usize) -> bool {
    address >= 4096 && address.checked_add(len).is_some_and(|end| end <= END)
}

/// What the kernel does with a range of memory.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Reads,
    Writes,
}
use Use::{Reads, Writes};

macro_rules! hooked {
    ($($name:ident($($argument:ident),*), $count:literal;)*) => {$(
        #[doc = concat!("Makes system call `nr`, with ", $count, ", and tells the sanitizer.")]
        ///
        /// # Safety
        ///
        /// The call must be sound with these arguments.
        #[allow(clippy::too_many_arguments, reason = "as many as the call has")]
        pub unsafe fn $name(nr: usize, $($argument: usize),*) -> isize {
            #[allow(unused_mut, reason = "some have no arguments")]
            let mut all = [0; 6];
            for (place, argument) in all.iter_mut().zip([$($argument),*]) {
                *place = argument;
            }
            before(nr, all);
            // SAFETY: passed on to the caller.
            let answer = unsafe { backend::$name(nr, $($argument),*) };
            after(nr, all, answer);
            answer
        }
    )*};
}

hooked! {
    syscall0(), "no arguments";
    syscall1(a), "one argument";
    syscall2(a, b), "two arguments";
    syscall3(a, b, c), "three arguments";
    syscall4(a, b, c, d), "four arguments";
    syscall5(a, b, c, d, e), "five arguments";
    syscall6(a, b, c, d, e, f), "six arguments";
}

fn before(nr: usize, args: [usize; 6]) {
    visit(nr, args, None, &mut tool::before);
    tool::release(nr, args);
}

fn after(nr: usize, args: [usize; 6], answer: isize) {
    let Ok(answer) = usize::try_from(answer) else { return };
    if nr == nr::MMAP {
        return tool::mapped(answer, args[1]);
    }
    visit(nr, args, Some(answer), &mut tool::after);
    tool::acquire(nr, args);
}

/// Says what a call reads and writes: what it may, when it has not been made yet, or what it has, by its
/// `answer`.
#[allow(clippy::too_many_lines, reason = "a table")]
fn visit(
    nr: usize,
    [a, b, c, d, e, _]: [usize; 6],
    answer: Option<usize>,
    each: &mut dyn FnMut(Use, usize, usize),
) {
    let mut each = |what: Use, address: usize, len: usize| {
        // What is only read was looked at before.
        if is_memory(address, len) && len != 0 && (what == Writes || answer.is_none()) {
            each(what, address, len);
        }
    };
    let most = |len: usize| answer.map_or(len, |count| count.min(len));
    if nr == nr::CHDIR {
        string(a, &mut each);
    } else if nr == nr::CLOCK_GETTIME {
        each(Writes, b, TIMESPEC);
    } else if nr == nr::COPY_FILE_RANGE || nr == nr::SPLICE {
        for offset in [b, d] {
            each(Reads, offset, 8);
            each(Writes, offset, 8);
        }
    } else if nr == nr::EPOLL_CTL {
        each(Reads, d, EVENT);
    } else if nr == nr::EPOLL_PWAIT {
        each(Writes, b, most(c).saturating_mul(EVENT));
    } else if nr == nr::EPOLL_PWAIT2 {
        each(Reads, d, TIMESPEC);
        each(Writes, b, most(c).saturating_mul(EVENT));
    } else if nr == nr::EXECVE {
        string(a, &mut each);
        strings(b, &mut each);
        strings(c, &mut each);
    } else if nr == nr::EXECVEAT {
        string(b, &mut each);
        strings(c, &mut each);
        strings(d, &mut each);
    } else if nr == nr::GETGROUPS {
        each(Writes, b, most(a).saturating_mul(4));
    } else if nr == nr::GETRESUID {
        for id in [a, b, c] {
            each(Writes, id, 4);
        }
    } else if nr == nr::GETSOCKOPT {
        each(Writes, d, 4);
        each(Reads, e, 4);
        each(Writes, e, 4);
    } else if nr == nr::IOCTL {
        ioctl(b, c, &mut each);
    } else if nr == nr::MADVISE && c == abi::MADV_DONTNEED {
        each(Writes, a, b);
    } else if nr == nr::MEMFD_CREATE {
        string(a, &mut each);
    } else if nr == nr::OPENAT {
        string(b, &mut each);
    } else if nr == nr::PIPE2 {
        each(Writes, a, 8);
    } else if nr == nr::PPOLL {
        each(Reads, a, b.saturating_mul(8));
        each(Writes, a, b.saturating_mul(8));
        each(Reads, c, TIMESPEC);
        each(Writes, c, TIMESPEC);
        each(Reads, d, e);
    } else if nr == nr::PRCTL && a == PR_GET_TID_ADDRESS {
        each(Writes, b, size_of::<usize>());
    } else if nr == nr::PREADV2 || nr == nr::READV {
        vector(Writes, b, c, answer, &mut each);
    } else if nr == nr::PRLIMIT64 {
        each(Reads, c, 16);
        each(Writes, d, 16);
    } else if nr == nr::PSELECT6 {
        let bytes = a.div_ceil(usize::BITS as usize) * size_of::<usize>();
        for set in [b, c, d] {
            each(Reads, set, bytes);
            each(Writes, set, bytes);
        }
        each(Reads, e, TIMESPEC);
        each(Writes, e, TIMESPEC);
    } else if nr == nr::PWRITEV2 || nr == nr::WRITEV {
        vector(Reads, b, c, answer, &mut each);
    } else if nr == nr::READ {
        each(Writes, b, most(c));
    } else if nr == nr::RT_SIGACTION {
        each(Reads, b, SIGACTION);
        each(Writes, c, SIGACTION);
    } else if nr == nr::RT_SIGPENDING {
        each(Writes, a, b);
    } else if nr == nr::RT_SIGPROCMASK {
        each(Reads, b, d);
        each(Writes, c, d);
    } else if nr == nr::RT_SIGTIMEDWAIT {
        each(Reads, a, d);
        siginfo(b, &mut each);
        each(Reads, c, TIMESPEC);
    } else if nr == nr::RT_TGSIGQUEUEINFO {
        each(Reads, d, size_of::<abi::SigInfo>());
    } else if nr == nr::SCHED_GETAFFINITY {
        each(Writes, c, most(b));
    } else if nr == nr::SENDFILE {
        each(Reads, c, 8);
        each(Writes, c, 8);
    } else if nr == nr::SETGROUPS {
        each(Reads, b, a.saturating_mul(4));
    } else if nr == nr::STATX {
        string(b, &mut each);
        each(Writes, e, 256);
    } else if nr == nr::VMSPLICE {
        let what = if is_read_end(a) { Writes } else { Reads };
        vector(what, b, c, answer, &mut each);
    } else if nr == nr::WAITID {
        siginfo(c, &mut each);
        each(Writes, e, 144); // `struct rusage`
    } else if nr == nr::WRITE {
        each(Reads, b, c);
    }
}

const PR_GET_TID_ADDRESS: usize = 40;

/// The kernel writes what this signal has, and leaves the gap and the rest as they are.
fn siginfo(info: usize, each: &mut impl FnMut(Use, usize, usize)) {
    if info != 0 {
        each(Writes, info, 12);
        each(Writes, info + 16, 12);
    }
}

/// By what the request's number says, but for those that are older than that.
fn ioctl(request: usize, place: usize, each: &mut impl FnMut(Use, usize, usize)) {
    const WRITE: usize = 1 << 30;
    const READ: usize = 2 << 30;
    if request == abi::FIONREAD {
        return each(Writes, place, 4);
    }
    let size = request >> 16 & 0x3fff;
    if request & WRITE != 0 {
        each(Reads, place, size);
    }
    if request & READ != 0 {
        each(Writes, place, size);
    }
}

/// A list of `struct iovec`, and as much of its buffers as was moved, from the first one on.
fn vector(
    what: Use,
    list: usize,
    count: usize,
    moved: Option<usize>,
    each: &mut impl FnMut(Use, usize, usize),
) {
    // The kernel takes no longer ones.
    if count > abi::IOV_MAX || !is_memory(list, count * PAIR) {
        return;
    }
    each(Reads, list, count * PAIR);
    let mut left = moved.unwrap_or(usize::MAX);
    for index in 0..count {
        // SAFETY: the kernel reads the list as well, whose length is for the caller to answer for.
        let [base, len] = unsafe { place::<[usize; 2]>(list + index * PAIR).read() };
        let len = len.min(left);
        each(what, base, len);
        left -= len;
    }
}

/// A text up to its NUL. Reading it here shows it to the sanitizer.
fn string(text: usize, each: &mut impl FnMut(Use, usize, usize)) {
    if is_memory(text, 1) {
        // SAFETY: the kernel reads the text as well, up to its NUL.
        let len = unsafe { core::ffi::CStr::from_ptr(place(text)) }.count_bytes();
        each(Reads, text, len + 1);
    }
}

/// A list of texts, up to its null.
fn strings(list: usize, each: &mut impl FnMut(Use, usize, usize)) {
    for index in 0.. {
        let entry = list + index * size_of::<usize>();
        if !is_memory(list, size_of::<usize>()) {
            return;
        }
        each(Reads, entry, size_of::<usize>());
        // SAFETY: the kernel reads the list as well, up to its null.
        let text = unsafe { place::<usize>(entry).read() };
        if text == 0 {
            return;
        }
        string(text, each);
    }
}

/// Whether `vmsplice` copies out of this pipe, as the kernel decides it.
fn is_read_end(fd: usize) -> bool {
    // SAFETY: takes integers only.
    let flags = unsafe { backend::syscall3(nr::FCNTL, fd, abi::F_GETFL, 0) };
    usize::try_from(flags).is_ok_and(|flags| flags & abi::O_ACCMODE == abi::O_RDONLY)
}

/// Makes a child on a stack of its own, and tells the sanitizer that functions which begin on it do not
/// end.
///
/// # Safety
///
/// As for the backend's.
#[cfg(feature = "process")]
pub(crate) unsafe fn clone_on_stack(
    flags: u64,
    stack: (*mut u8, usize),
    child: extern "C" fn(*const ()) -> !,
    arg: *const (),
    pidfd: *mut i32,
) -> isize {
    tool::on_another_stack(stack, || {
        // SAFETY: passed on to the caller.
        unsafe { backend::clone_on_stack(flags, stack, child, arg, pidfd) }
    })
}

#[cfg(rawpipe_sanitize = "address")]
mod tool {
    use super::{Use, Writes, place};

    unsafe extern "C" {
        fn __asan_region_is_poisoned(begin: *const u8, size: usize) -> *const u8;
        fn __asan_report_load_n(address: *const u8, size: usize);
        fn __asan_report_store_n(address: *const u8, size: usize);
        fn __asan_unpoison_memory_region(begin: *const u8, size: usize);
    }

    pub(super) fn before(what: Use, address: usize, len: usize) {
        // SAFETY: looks at the sanitizer's own memory only.
        let bad = unsafe { __asan_region_is_poisoned(place(address), len) };
        if bad.is_null() {
            return;
        }
        let rest = address + len - bad.addr();
        if what == Writes {
            // SAFETY: prints a report and ends the process.
            unsafe { __asan_report_store_n(bad, rest) }
        } else {
            // SAFETY: prints a report and ends the process.
            unsafe { __asan_report_load_n(bad, rest) }
        }
    }

    pub(super) fn after(_what: Use, _address: usize, _len: usize) {}

    pub(super) fn mapped(address: usize, len: usize) {
        // SAFETY: the kernel has just mapped it: what was there before is no more.
        unsafe { __asan_unpoison_memory_region(place(address), len) }
    }

    pub(super) fn release(_nr: usize, _args: [usize; 6]) {}

    pub(super) fn acquire(_nr: usize, _args: [usize; 6]) {}

    #[cfg(feature = "process")]
    pub(super) fn on_another_stack(stack: (*mut u8, usize), run: impl FnOnce() -> isize) -> isize {
        let answer = run();
        // SAFETY: mapped for this alone, and nobody is on it any more.
        unsafe { __asan_unpoison_memory_region(stack.0, stack.1) }
        answer
    }
}

#[cfg(rawpipe_sanitize = "memory")]
mod tool {
    use super::{Reads, Use, Writes, place};

    unsafe extern "C" {
        fn __msan_check_mem_is_initialized(begin: *const u8, size: usize);
        fn __msan_unpoison(begin: *const u8, size: usize);
    }

    pub(super) fn before(what: Use, address: usize, len: usize) {
        if what == Reads {
            // SAFETY: looks at the sanitizer's own memory only; may print a report and end the process.
            unsafe { __msan_check_mem_is_initialized(place(address), len) }
        }
    }

    pub(super) fn after(what: Use, address: usize, len: usize) {
        if what == Writes {
            // SAFETY: the kernel has just written it.
            unsafe { __msan_unpoison(place(address), len) }
        }
    }

    pub(super) fn mapped(address: usize, len: usize) {
        after(Writes, address, len);
    }

    pub(super) fn release(_nr: usize, _args: [usize; 6]) {}

    pub(super) fn acquire(_nr: usize, _args: [usize; 6]) {}

    #[cfg(feature = "process")]
    pub(super) fn on_another_stack(_stack: (*mut u8, usize), run: impl FnOnce() -> isize) -> isize {
        run()
    }
}

#[cfg(rawpipe_sanitize = "thread")]
mod tool {
    use super::{Reads, Use, Writes, backend, nr, place};
    use crate::sys::abi::{self, Statx};
    use core::cell::UnsafeCell;
    use core::ffi::c_void;

    unsafe extern "C" {
        fn __tsan_acquire(place: *mut c_void);
        fn __tsan_create_fiber(flags: u32) -> *mut c_void;
        fn __tsan_destroy_fiber(fiber: *mut c_void);
        fn __tsan_get_current_fiber() -> *mut c_void;
        fn __tsan_read_range(begin: *const c_void, size: usize);
        fn __tsan_release(place: *mut c_void);
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: u32);
        fn __tsan_write_range(begin: *const c_void, size: usize);
    }

    /// Addresses for the sanitizer to know an order by. Nothing is ever stored here.
    struct Places([UnsafeCell<u64>; FILES + 2]);

    // SAFETY: nobody reads or writes the cells.
    unsafe impl Sync for Places {}

    static PLACES: Places = Places([const { UnsafeCell::new(0) }; FILES + 2]);
    const FILES: usize = 1021;
    /// Where all release, for those who wait for any.
    const ALL: usize = FILES;
    const MAPPINGS: usize = FILES + 1;

    /// Each byte costs four. This much of each range is enough to meet another thread in.
    const LOOK: usize = 1 << 20;

    pub(super) fn before(what: Use, address: usize, len: usize) {
        if what == Reads {
            // SAFETY: writes to the sanitizer's own memory only.
            unsafe { __tsan_read_range(place(address), len.min(LOOK)) }
        }
    }

    pub(super) fn after(what: Use, address: usize, len: usize) {
        if what == Writes {
            // SAFETY: writes to the sanitizer's own memory only.
            unsafe { __tsan_write_range(place(address), len.min(LOOK)) }
        }
    }

    pub(super) fn mapped(_address: usize, _len: usize) {
        acquire_at(MAPPINGS);
    }

    fn release_at(index: usize) {
        // SAFETY: the address is only a name.
        unsafe { __tsan_release(PLACES.0[index].get().cast()) }
    }

    fn acquire_at(index: usize) {
        // SAFETY: the address is only a name.
        unsafe { __tsan_acquire(PLACES.0[index].get().cast()) }
    }

    /// What comes before a call that others can learn of.
    pub(super) fn release(nr: usize, [a, b, c, ..]: [usize; 6]) {
        let fd = if [nr::CLOSE, nr::PWRITEV2, nr::SENDFILE, nr::VMSPLICE, nr::WRITE, nr::WRITEV]
            .contains(&nr)
        {
            a
        } else if [nr::DUP3, nr::TEE].contains(&nr) {
            b
        } else if [nr::COPY_FILE_RANGE, nr::SPLICE].contains(&nr) {
            c
        } else if nr == nr::MUNMAP {
            return release_at(MAPPINGS);
        } else if [nr::EPOLL_CTL, nr::KILL, nr::PIDFD_SEND_SIGNAL, nr::TGKILL].contains(&nr) {
            return release_at(ALL);
        } else {
            return;
        };
        release_at(file(fd));
        release_at(ALL);
    }

    /// What others have done is visible after a call that has learnt of it.
    pub(super) fn acquire(nr: usize, [a, ..]: [usize; 6]) {
        let of_a_file = [
            nr::COPY_FILE_RANGE,
            nr::IOCTL,
            nr::PREADV2,
            nr::READ,
            nr::READV,
            nr::SPLICE,
            nr::TEE,
            nr::VMSPLICE,
        ];
        let of_any =
            [nr::EPOLL_PWAIT, nr::EPOLL_PWAIT2, nr::PPOLL, nr::PSELECT6, nr::SENDFILE, nr::WAITID];
        if of_a_file.contains(&nr) {
            acquire_at(file(a));
        } else if of_any.contains(&nr) {
            acquire_at(ALL);
        }
    }

    /// The place of an open file. The two ends of a pipe have the same number.
    fn file(fd: usize) -> usize {
        let mut answer = core::mem::MaybeUninit::<Statx>::zeroed();
        let to = (&raw mut answer).expose_provenance();
        let (text, empty) = (c"".as_ptr().expose_provenance(), abi::AT_EMPTY_PATH as usize);
        // SAFETY: reads an empty text, and writes one `struct statx`, to the place given.
        unsafe { backend::syscall5(nr::STATX, fd, text, empty, abi::STATX_INO, to) };
        // SAFETY: it consists of integers, which were zeros, whatever the answer.
        let number = unsafe { answer.assume_init() }.stx_ino;
        usize::try_from(number % FILES as u64).unwrap_or(0)
    }

    #[cfg(feature = "process")]
    pub(super) fn on_another_stack(_stack: (*mut u8, usize), run: impl FnOnce() -> isize) -> isize {
        // SAFETY: only asks.
        let own = unsafe { __tsan_get_current_fiber() };
        // SAFETY: makes one, or ends the process.
        let other = unsafe { __tsan_create_fiber(0) };
        // SAFETY: made just now, and nobody else has it.
        unsafe { __tsan_switch_to_fiber(other, 0) };
        let answer = run();
        // SAFETY: this thread's own, which it has only left for a moment.
        unsafe { __tsan_switch_to_fiber(own, 0) };
        // SAFETY: nobody is on it any more: a child that shares this memory has ended or has a program
        // of its own.
        unsafe { __tsan_destroy_fiber(other) };
        answer
    }
}
