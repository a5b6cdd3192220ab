//! Accesses the descriptors, the memory and the signals of the thread that waits for an answer to its call.

use crate::kernel;
use libc::{c_int, iovec};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

/// A thread whose call was reported.
pub(crate) struct Target {
    listener: &'static OwnedFd,
    id: u64,
    thread: i32,
    pidfd: OwnedFd,
}

/// `ERESTARTSYS`: the kernel runs the handler of the pending signal, and then restarts the call or makes it
/// fail with `EINTR`.
const RESTART: i32 = 512;

impl Target {
    /// Opens the thread that has made a reported call. Returns `None` if the thread has ended.
    pub(crate) fn new(listener: &'static OwnedFd, id: u64, thread: i32) -> Option<Self> {
        const PIDFD_THREAD: c_int = libc::O_EXCL;
        let process = || {
            let status = Status::of(thread)?;
            kernel::pidfd(i32::try_from(status.number("Tgid", 10)).ok()?, 0).ok()
        };
        let pidfd = kernel::pidfd(thread, PIDFD_THREAD).ok().or_else(process)?;
        let target = Self { listener, id, thread, pidfd };
        // If the report is still valid, the thread's id was not reused before the thread was opened.
        target.waits().then_some(target)
    }

    /// Returns whether the thread still waits for its answer.
    pub(crate) fn waits(&self) -> bool {
        const SECCOMP_IOCTL_NOTIF_ID_VALID: libc::Ioctl = 0x4008_2102_u32 as libc::Ioctl;
        // SAFETY: the kernel reads the id.
        unsafe {
            libc::ioctl(self.listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const self.id)
                == 0
        }
    }

    /// Duplicates a descriptor of the thread. Every duplicate must be closed before the answer is sent.
    /// Otherwise, a pipe that the thread closes would stay open.
    pub(crate) fn descriptor(&self, argument: u64) -> Result<OwnedFd, i32> {
        let number = argument as c_int;
        kernel::descriptor_of(&self.pidfd, number).map_err(|error| match error.raw_os_error() {
            Some(libc::EBADF) | None => libc::EBADF,
            Some(errno) => {
                eprintln!("copying: pidfd_getfd: {error}");
                errno
            }
        })
    }

    /// Reads the thread's memory, and returns the number of bytes before the first invalid address. Fails
    /// with `EFAULT` if no byte can be read.
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> Result<usize, i32> {
        let here = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let there = iovec { iov_base: address as *mut _, iov_len: bytes.len() };
        // SAFETY: the kernel writes to `bytes`, and reads the memory of the other process.
        let count = unsafe {
            libc::process_vm_readv(self.thread, &raw const here, 1, &raw const there, 1, 0)
        };
        usize::try_from(count).map_err(|_| libc::EFAULT)
    }

    /// Writes to the thread's memory, and returns the number of bytes before the first invalid address. Fails
    /// with `EFAULT` if no byte can be written.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<usize, i32> {
        let here = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let there = iovec { iov_base: address as *mut _, iov_len: bytes.len() };
        // SAFETY: the kernel reads `bytes`, and writes to the memory of the other process. That process
        // expects the write.
        let count = unsafe {
            libc::process_vm_writev(self.thread, &raw const here, 1, &raw const there, 1, 0)
        };
        usize::try_from(count).map_err(|_| libc::EFAULT)
    }

    /// Returns the error with which a pending signal interrupts the call, if any.
    ///
    /// Another thread may soon receive a signal that was sent to the whole process. The signal is therefore
    /// only recorded in `last` at first. If the signal is still pending at the next check, the call fails
    /// with `EINTR`. Without a signal for this thread, the kernel would not restart the call.
    pub(crate) fn interrupted(&self, last: &mut u64) -> Option<i32> {
        let status = Status::of(self.thread)?;
        let open = !status.number("SigBlk", 16);
        let (own, shared) =
            (status.number("SigPnd", 16) & open, status.number("ShdPnd", 16) & open);
        if own != 0 || shared != 0 && status.number("Threads", 10) == 1 {
            return Some(RESTART);
        }
        let again = *last & shared;
        *last = shared;
        (again != 0).then_some(libc::EINTR)
    }

    /// Sends `SIGPIPE` to the thread, as a write to a pipe without a reader does.
    pub(crate) fn raise_sigpipe(&self) {
        let Some(status) = Status::of(self.thread) else { return };
        // SAFETY: the call reads only integers.
        unsafe {
            libc::syscall(libc::SYS_tgkill, status.number("Tgid", 10), self.thread, libc::SIGPIPE)
        };
    }
}

/// The contents of `/proc/<thread>/status`.
struct Status(String);

impl Status {
    fn of(thread: i32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{thread}/status")).ok().map(Self)
    }

    fn number(&self, name: &str, radix: u32) -> u64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.and_then(|number| u64::from_str_radix(number, radix).ok()).unwrap_or(0)
    }
}

/// The buffers of a `vmsplice`.
pub(crate) struct Buffers {
    list: Vec<(u64, usize)>,
    /// The number of bytes in all buffers.
    pub(crate) len: usize,
}

impl Buffers {
    /// Reads the list of buffers. Returns `Ok(None)` if the list or a buffer is too long, or if all buffers
    /// are empty. Fails with `EFAULT` if the list cannot be read.
    pub(crate) fn of(target: &Target, list: u64, count: u64) -> Result<Option<Self>, i32> {
        const MOST: u64 = 1024;
        const MAX_RW_COUNT: usize = 0x7fff_f000;
        const WORD: usize = size_of::<usize>();
        if count > MOST {
            return Ok(None);
        }
        let mut bytes = vec![0; count as usize * 2 * WORD];
        if target.read(list, &mut bytes)? < bytes.len() {
            return Err(libc::EFAULT);
        }
        let words: Vec<_> = bytes
            .chunks_exact(WORD)
            .map(|word| usize::from_ne_bytes(word.try_into().expect("a word")))
            .collect();
        let list: Vec<_> = words.chunks_exact(2).map(|pair| (pair[0] as u64, pair[1])).collect();
        if list.iter().any(|&(_, len)| isize::try_from(len).is_err()) {
            return Ok(None);
        }
        let len =
            list.iter().fold(0, |all: usize, (_, len)| all.saturating_add(*len)).min(MAX_RW_COUNT);
        Ok((len > 0).then_some(Self { list, len }))
    }

    /// Returns the parts of the buffers that begin at offset `from` and hold at most `len` bytes in total.
    fn parts(&self, from: usize, len: usize) -> impl Iterator<Item = (u64, usize)> {
        let (mut skip, mut left) = (from, len.min(self.len - from));
        self.list.iter().filter_map(move |&(address, len)| {
            let skipped = skip.min(len);
            skip -= skipped;
            let part = (len - skipped).min(left);
            left -= part;
            (part > 0).then_some((address + skipped as u64, part))
        })
    }

    /// Copies at most `len` bytes, starting at offset `from`. An invalid address ends the copy. Fails with
    /// `EFAULT` if no byte was copied.
    pub(crate) fn copy(&self, target: &Target, from: usize, len: usize) -> Result<Vec<u8>, i32> {
        let mut all = Vec::with_capacity(len);
        for (address, part) in self.parts(from, len) {
            let start = all.len();
            all.resize(start + part, 0);
            let copied = target.read(address, &mut all[start..]).unwrap_or(0);
            if copied < part {
                all.truncate(start + copied);
                break;
            }
        }
        if all.is_empty() { Err(libc::EFAULT) } else { Ok(all) }
    }

    /// Copies bytes into the buffers, and returns the number of bytes before the first invalid address. Fails
    /// with `EFAULT` if no byte was copied.
    pub(crate) fn fill(&self, target: &Target, bytes: &[u8]) -> Result<usize, i32> {
        let mut filled = 0;
        for (address, part) in self.parts(0, bytes.len()) {
            let written = target.write(address, &bytes[filled..filled + part]).unwrap_or(0);
            filled += written;
            if written < part {
                break;
            }
        }
        if filled == 0 { Err(libc::EFAULT) } else { Ok(filled) }
    }
}
