//! Checks that, to a program under `copying`, the kernel seems to copy pages but otherwise behaves as usual.
//!
//! Each case runs in a separate process under `copying`, once for each value of `--as`.

use libc::{c_int, iovec};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, io, ptr, thread};

const CASE: &str = "COPYING_TEST_CASE";
const WAYS: [&str; 2] = ["pages", "writes"];
const NONBLOCK: u32 = 2;
const ROOM: usize = 65536;
const MOMENT: Duration = Duration::from_millis(50);

type Case = (&'static str, fn(writes: bool));

const CASES: &[Case] = &[
    ("memory_changed_later_is_not_seen", memory_changed_later_is_not_seen),
    ("file_changed_later_is_not_seen", file_changed_later_is_not_seen),
    ("splice_takes_slots_and_counts_what_fits", splice_takes_slots_and_counts_what_fits),
    ("vmsplice_full_pipe", vmsplice_full_pipe),
    ("vmsplice_more_than_the_pipe_holds", vmsplice_more_than_the_pipe_holds),
    ("no_reader_epipe_and_sigpipe", no_reader_epipe_and_sigpipe),
    ("wrong_arguments", wrong_arguments),
    ("signals_interrupt_and_restart", signals_interrupt_and_restart),
    ("killed_while_it_waits", killed_while_it_waits),
    ("fifo_without_waiting", fifo_without_waiting),
    ("many_threads_wait", many_threads_wait),
];

fn main() {
    if let Ok(word) = env::var(CASE) {
        let (way, name) = word.split_once(' ').expect("a way and a case");
        let (_, case) = CASES.iter().find(|(known, _)| *known == name).expect("a case");
        return case(way == "writes");
    }
    let chosen: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut count = 0;
    for (name, _) in CASES {
        for way in WAYS {
            if !chosen.is_empty() && !chosen.iter().any(|word| name.contains(word.as_str())) {
                continue;
            }
            let mut command = Command::new(env!("CARGO_BIN_EXE_copying"));
            command.args(["--as", way, "--"]).arg(env::current_exe().unwrap());
            let output = command.env(CASE, format!("{way} {name}")).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} as {way}: {}\n{errors}", output.status);
            assert!(errors.contains("copied, "), "{errors}");
            println!("test {name} as {way} ... ok");
            count += 1;
        }
    }
    println!("test result: ok. {count} passed; 0 failed");
}

fn pipe(flags: c_int) -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes the two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) }, 0);
    // SAFETY: the call has just created these descriptors.
    let [reader, writer] = ends.map(|end| File::from(unsafe { OwnedFd::from_raw_fd(end) }));
    (reader, writer)
}

fn result(answer: isize) -> Result<usize, i32> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap())
}

fn vmsplice(fd: RawFd, bytes: &[u8], flags: u32) -> Result<usize, i32> {
    let list = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the kernel reads the bytes; under `copying` it keeps no reference to them.
    result(unsafe { libc::vmsplice(fd, &raw const list, 1, flags) })
}

fn splice(
    from: &File,
    offset: Option<&mut i64>,
    to: &File,
    len: usize,
    flags: u32,
) -> Result<usize, i32> {
    let offset = offset.map_or(ptr::null_mut(), |offset| offset);
    // SAFETY: the kernel reads and writes the offset.
    result(unsafe {
        libc::splice(from.as_raw_fd(), offset, to.as_raw_fd(), ptr::null_mut(), len, flags)
    })
}

fn file(contents: &[u8]) -> File {
    // SAFETY: the kernel reads the name.
    let fd = unsafe { libc::memfd_create(c"copying".as_ptr(), 0) };
    // SAFETY: the call has just created this descriptor.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(contents).unwrap();
    file.rewind().unwrap();
    file
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 253).to_le_bytes()[0]).collect()
}

fn read(reader: &mut File, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).unwrap();
    bytes
}

fn memory_changed_later_is_not_seen(_: bool) {
    let (mut reader, writer) = pipe(0);
    let mut memory = vec![1; 3 * 4096];
    assert_eq!(vmsplice(writer.as_raw_fd(), &memory, 0), Ok(memory.len()));
    memory.fill(2);
    assert!(read(&mut reader, memory.len()).iter().all(|&byte| byte == 1));
}

fn file_changed_later_is_not_seen(_: bool) {
    let (mut reader, writer) = pipe(0);
    let source = file(&[1; 10_000]);
    assert_eq!(splice(&source, None, &writer, 10_000, 0), Ok(10_000));
    source.write_all_at(&[2; 10_000], 0).unwrap();
    assert!(read(&mut reader, 10_000).iter().all(|&byte| byte == 1));
}

fn splice_takes_slots_and_counts_what_fits(_: bool) {
    let (mut reader, writer) = pipe(libc::O_NONBLOCK);
    let bytes = data(300_001);
    let mut source = file(&bytes);
    // A byte occupies a whole slot, so 15 slots remain.
    let mut offset = 77;
    assert_eq!(splice(&source, Some(&mut offset), &writer, 1, 0), Ok(1));
    assert_eq!((offset, source.stream_position().unwrap()), (78, 0));
    assert_eq!(splice(&source, None, &writer, bytes.len(), 0), Ok(15 * 4096));
    assert_eq!(source.stream_position().unwrap(), 15 * 4096);
    assert_eq!(splice(&source, None, &writer, 1, 0), Err(libc::EAGAIN));
    assert_eq!(read(&mut reader, 1), bytes[77..78]);
    let mut all = Vec::new();
    loop {
        let mut piece = vec![0; 10_001];
        let count = reader.read(&mut piece).unwrap();
        all.extend_from_slice(&piece[..count]);
        match splice(&source, None, &writer, 20_000, NONBLOCK) {
            Ok(0) => break,
            Ok(_) | Err(libc::EAGAIN) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
    drop(writer);
    reader.read_to_end(&mut all).unwrap();
    assert!(all == bytes, "{} of {}", all.len(), bytes.len());
    let mut beyond = bytes.len() as i64;
    let (_reader, writer) = pipe(0);
    assert_eq!(splice(&source, Some(&mut beyond), &writer, 1, 0), Ok(0));
    source.seek(SeekFrom::Start(0)).unwrap();
}

fn vmsplice_full_pipe(writes: bool) {
    for nonblocking in [false, true] {
        let (mut reader, writer) = pipe(if nonblocking { libc::O_NONBLOCK } else { 0 });
        assert_eq!((&writer).write(&[0; ROOM]).unwrap(), ROOM);
        assert_eq!(vmsplice(writer.as_raw_fd(), b"now", NONBLOCK), Err(libc::EAGAIN));
        if writes && nonblocking {
            assert_eq!(vmsplice(writer.as_raw_fd(), b"later", 0), Err(libc::EAGAIN));
            continue;
        }
        thread::scope(|scope| {
            let sending = scope.spawn(|| vmsplice(writer.as_raw_fd(), b"later", 0));
            thread::sleep(MOMENT);
            assert!(!sending.is_finished());
            read(&mut reader, ROOM);
            assert_eq!(sending.join().unwrap(), Ok(5));
        });
        assert_eq!(read(&mut reader, 5), b"later");
    }
}

fn vmsplice_more_than_the_pipe_holds(writes: bool) {
    let (mut reader, writer) = pipe(0);
    let bytes = data(3 * ROOM + 7);
    if !writes {
        assert_eq!(vmsplice(writer.as_raw_fd(), &bytes, 0), Ok(ROOM));
        assert!(read(&mut reader, ROOM) == bytes[..ROOM]);
        return;
    }
    thread::scope(|scope| {
        let sending = scope.spawn(|| vmsplice(writer.as_raw_fd(), &bytes, 0));
        assert!(read(&mut reader, bytes.len()) == bytes);
        assert_eq!(sending.join().unwrap(), Ok(bytes.len()));
    });
    assert_eq!(vmsplice(writer.as_raw_fd(), &bytes, NONBLOCK), Ok(ROOM));
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_signal: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: c_int, flags: c_int) {
    // SAFETY: zeros are a valid value of this struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(c_int) as usize;
    action.sa_flags = flags;
    // SAFETY: the handler only adds to an atomic number.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }, 0);
}

fn no_reader_epipe_and_sigpipe(_: bool) {
    handle(libc::SIGPIPE, 0);
    let (reader, writer) = pipe(0);
    drop(reader);
    assert_eq!(vmsplice(writer.as_raw_fd(), b"x", NONBLOCK), Err(libc::EPIPE));
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
    assert_eq!(splice(&file(b"x"), None, &writer, 1, 0), Err(libc::EPIPE));
    assert_eq!(HANDLED.load(Ordering::SeqCst), 2);
    // The read end is closed while the call waits.
    let (reader, writer) = pipe(0);
    (&writer).write_all(&[0; ROOM]).unwrap();
    thread::scope(|scope| {
        let sending = scope.spawn(|| vmsplice(writer.as_raw_fd(), b"later", 0));
        thread::sleep(MOMENT);
        drop(reader);
        assert_eq!(sending.join().unwrap(), Err(libc::EPIPE));
    });
    assert_eq!(HANDLED.load(Ordering::SeqCst), 3);
}

fn wrong_arguments(_: bool) {
    let (mut reader, writer) = pipe(libc::O_NONBLOCK);
    let fd = writer.as_raw_fd();
    let source = file(b"contents");
    assert_eq!(vmsplice(i32::MAX, b"x", 0), Err(libc::EBADF));
    assert_eq!(vmsplice(source.as_raw_fd(), b"x", 0), Err(libc::EBADF));
    assert_eq!(vmsplice(fd, b"x", 1 << 20), Err(libc::EINVAL));
    assert_eq!(vmsplice(fd, b"", 0), Ok(0));
    let nowhere = iovec { iov_base: ptr::without_provenance_mut(8), iov_len: 9 };
    // SAFETY: no memory is mapped at this address, whether it is used for the buffer or for the list.
    let (buffer, list, many) = unsafe {
        (
            libc::vmsplice(fd, &raw const nowhere, 1, 0),
            libc::vmsplice(fd, ptr::without_provenance(8), 1, 0),
            libc::vmsplice(fd, &raw const nowhere, 1025, 0),
        )
    };
    assert_eq!([buffer, list, many], [-1; 3]);
    assert_eq!(splice(&writer, None, &writer, 1, 0), Err(libc::EBADF));
    assert_eq!(splice(&source, None, &reader, 1, 0), Err(libc::EBADF));
    assert_eq!(splice(&source, None, &source, 1, 0), Err(libc::EINVAL));
    assert_eq!(splice(&source, Some(&mut -1), &writer, 1, 0), Err(libc::EINVAL));
    let folder = splice(&File::open("/").unwrap(), None, &writer, 1, 0);
    assert!(matches!(folder, Err(libc::EINVAL | libc::EISDIR)), "{folder:?}");
    // A file of procfs either rejects `splice` or provides its contents.
    let status = File::open("/proc/self/status").unwrap();
    assert!(matches!(splice(&status, None, &writer, 5, 0), Err(libc::EINVAL) | Ok(5)));
    let _ = reader.read(&mut [0; 5]);
    let mut byte = [0];
    assert_eq!(reader.read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Runs `call`, and sends a signal to this thread while `call` runs.
fn with_signal<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: the call only returns the id of this thread.
    let thread = unsafe { libc::pthread_self() } as usize;
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(MOMENT);
            // SAFETY: the target thread exists, because its scope waits for this thread.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGUSR1) };
        });
        call()
    })
}

fn signals_interrupt_and_restart(writes: bool) {
    let (mut reader, writer) = pipe(0);
    (&writer).write_all(&[0; ROOM]).unwrap();
    handle(libc::SIGUSR1, 0);
    assert_eq!(with_signal(|| vmsplice(writer.as_raw_fd(), b"x", 0)), Err(libc::EINTR));
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
    if writes {
        read(&mut reader, 4096);
        assert_eq!(with_signal(|| vmsplice(writer.as_raw_fd(), &[1; 9000], 0)), Ok(4096));
        assert_eq!(HANDLED.load(Ordering::SeqCst), 2);
    }
    // With `SA_RESTART`, the kernel restarts the call after the handler.
    handle(libc::SIGUSR1, libc::SA_RESTART);
    let before = HANDLED.load(Ordering::SeqCst);
    let source = file(b"restarted");
    thread::scope(|scope| {
        let reading = scope.spawn(move || {
            thread::sleep(4 * MOMENT);
            read(&mut reader, ROOM);
            read(&mut reader, 9)
        });
        assert_eq!(with_signal(|| splice(&source, None, &writer, 100, 0)), Ok(9));
        assert_eq!(reading.join().unwrap(), b"restarted");
    });
    assert_eq!(HANDLED.load(Ordering::SeqCst), before + 1);
}

fn killed_while_it_waits(_: bool) {
    if env::args().nth(1).is_some() {
        vmsplice(1, &[1; 100], 0).unwrap();
        return;
    }
    let (mut reader, writer) = pipe(0);
    (&writer).write_all(&[0; ROOM]).unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .arg("child")
        .stdout(Stdio::from(writer))
        .spawn()
        .unwrap();
    thread::sleep(MOMENT);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), ROOM);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// Like a FIFO, a pipe that was part of a splice does not support `RWF_NOWAIT`.
fn fifo_without_waiting(writes: bool) {
    let (reader, writer) = pipe(0);
    let (other_reader, other_writer) = pipe(0);
    (&writer).write_all(b"xy").unwrap();
    assert_eq!(splice(&reader, None, &other_writer, 1, 0), Ok(1));
    assert_eq!(splice(&other_reader, None, &writer, 1, 0), Ok(1));
    let answer = vmsplice(writer.as_raw_fd(), b"z", NONBLOCK);
    assert_eq!(answer, if writes { Err(libc::EOPNOTSUPP) } else { Ok(1) });
    assert_eq!(vmsplice(writer.as_raw_fd(), b"!", 0), Ok(1));
    let mut bytes = [0; 2];
    let list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 2 };
    // SAFETY: the kernel writes two bytes.
    let answer =
        result(unsafe { libc::vmsplice(reader.as_raw_fd(), &raw const list, 1, NONBLOCK) });
    assert_eq!(answer, if writes { Err(libc::EOPNOTSUPP) } else { Ok(2) });
    let (reader, writer) = pipe(0);
    (&writer).write_all(b"ab").unwrap();
    // SAFETY: as above.
    let answer =
        result(unsafe { libc::vmsplice(reader.as_raw_fd(), &raw const list, 1, NONBLOCK) });
    assert_eq!((answer, &bytes), (Ok(2), b"ab"));
}

/// Calls that wait do not delay other calls.
fn many_threads_wait(_: bool) {
    let mut pipes: Vec<_> = (0..20).map(|_| pipe(0)).collect();
    pipes.iter().for_each(|(_, writer)| (&mut &*writer).write_all(&[0; ROOM]).unwrap());
    let fds: Vec<_> = pipes.iter().map(|(_, writer)| writer.as_raw_fd()).collect();
    thread::scope(|scope| {
        let waiting: Vec<_> =
            fds.iter().map(|&fd| scope.spawn(move || vmsplice(fd, b"x", 0))).collect();
        thread::sleep(MOMENT);
        memory_changed_later_is_not_seen(false);
        assert!(waiting.iter().all(|call| !call.is_finished()));
        pipes.iter_mut().for_each(|(reader, _)| drop(read(reader, ROOM)));
        assert!(waiting.into_iter().all(|call| call.join().unwrap() == Ok(1)));
    });
}
