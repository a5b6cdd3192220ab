//! Tests reads and writes with buffers of unusual sizes and in unusual numbers. Also tests duplicated and
//! closed descriptors, and the flags of descriptors.
#![cfg(feature = "std")]
#![allow(unsafe_code, reason = "a null buffer, by number")]

use crate::common::nr;
use crate::common::{self, append_file, closed_fd, file};
use rawpipe::fd::OwnedFd;
use rawpipe::io::{self, DupFlags, IoSlice, IoSliceMut};
use rawpipe::pipe::{Builder, Capacity};
use rawpipe::{Errno, raw};
use std::fs::File;
use std::mem::MaybeUninit;
use std::thread;

#[test]
fn read_and_write_of_nothing_answer_0() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    // The blocking pipe is empty, so a read of one byte would wait.
    assert_eq!(rawpipe::read(&reader, &mut []), Ok(0));
    assert_eq!(io::read_uninit(&reader, &mut []).unwrap(), b"");
    assert_eq!(io::readv(&reader, &mut []), Ok(0));
    assert_eq!(rawpipe::write(&writer, b""), Ok(0));
    assert_eq!(io::writev(&writer, &[]), Ok(0));
    assert_eq!(io::read_exact(&reader, &mut []), Ok(()));
    assert_eq!(io::write_all(&writer, b""), Ok(()));
    assert_eq!(io::write_all_vectored(&writer, &mut []), Ok(()));
    let mut empty = [IoSlice::new(b""), IoSlice::new(b"")];
    assert_eq!(io::write_all_vectored(&writer, &mut empty), Ok(()));
    assert_eq!(reader.available(), Ok(0));
}

#[test]
fn write_of_nothing_from_nowhere_answers_0() {
    let (_reader, writer) = rawpipe::pipe().unwrap();
    let number = usize::try_from(rawpipe::fd::AsRawFd::as_raw_fd(&writer)).unwrap();
    // SAFETY: the length is 0, so the kernel reads no byte.
    assert_eq!(unsafe { raw::syscall3(nr::WRITE, number, 0, 0) }, 0);
    if common::tool() == Some(common::Tool::Valgrind) {
        return; // Valgrind reports each invalid address, even if the kernel returns an error
    }
    // SAFETY: no memory is mapped at null, so the call fails.
    let answer = unsafe { raw::syscall3(nr::WRITE, number, 0, 8) };
    assert_eq!(answer, -(Errno::EFAULT.raw_os_error() as isize));
}

/// On x86 and ARM, the crate uses functions of the C library for its own calls of `mmap2` and `ftruncate64`.
/// A caller's raw calls must still reach the kernel with the arguments that these system calls define.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
#[test]
fn raw_calls_with_pages_and_64_bit_lengths_reach_the_kernel() {
    use std::os::unix::fs::FileExt;

    let file = file(&[[1; 4096], [2; 4096]].concat());
    let number = usize::try_from(rawpipe::fd::AsRawFd::as_raw_fd(&file)).unwrap();
    let (read_write, shared, second_page) = (3, 1, 1);
    // SAFETY: the kernel maps the page at an address where nothing is mapped.
    let page = unsafe { raw::syscall6(nr::MMAP, 0, 4096, read_write, shared, number, second_page) };
    let page = usize::from_ne_bytes(page.to_ne_bytes());
    // SAFETY: the page was mapped above. If `page` is an error instead of an address, the test ends with a
    // signal.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(page).write_volatile(3) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4096).unwrap();
    assert_eq!(byte, [3]);
    // SAFETY: the page was mapped above, and no code uses it.
    assert_eq!(unsafe { raw::syscall2(nr::MUNMAP, page, 4096) }, 0);

    for (low, high) in [(1, 1), (0, 1), (0x8000_0000, 0), (5, 0), (0, 0)] {
        let answer = if cfg!(target_arch = "arm") {
            // SAFETY: no memory is mapped from the file. A 64-bit argument occupies two registers, the first
            // of which must have an even number, so one argument is unused.
            unsafe { raw::syscall4(nr::FTRUNCATE, number, 0, low, high) }
        } else {
            // SAFETY: no memory is mapped from the file.
            unsafe { raw::syscall3(nr::FTRUNCATE, number, low, high) }
        };
        assert_eq!(answer, 0);
        assert_eq!(file.metadata().unwrap().len(), (high as u64) << 32 | low as u64);
    }
}

#[cfg(target_pointer_width = "64")]
#[test]
fn lengths_beyond_0x7ffff000_are_cut_by_the_kernel() {
    if Vec::<u8>::new().try_reserve_exact(5 << 30).is_err() {
        let reason = "5 GiB, touched or not, are more than this machine grants";
        return common::skip("lengths_beyond_0x7ffff000_are_cut_by_the_kernel", reason);
    }
    // The kernel allocates pages only on access, and this test accesses only the first page.
    let mut huge = vec![0_u8; 5 << 30];
    let limit = 0x7fff_ffff
        & !({
            let (reader, _writer) = rawpipe::pipe().unwrap();
            reader.set_capacity(Capacity::Bytes(1)).unwrap() - 1
        });
    let null = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(rawpipe::write(&null, &huge), Ok(limit));
    assert_eq!(io::write_all(&null, &huge), Ok(()));
    let bufs = [IoSlice::new(&huge[..3 << 30]), IoSlice::new(&huge)];
    assert_eq!(io::writev(&null, &bufs), Ok(limit));
    assert_eq!(io::write_all_vectored(&null, &mut bufs.clone()), Ok(()));

    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"few").unwrap();
    assert_eq!(rawpipe::read(&reader, &mut huge), Ok(3));
    assert_eq!(&huge[..4], b"few\0");
}

#[test]
fn read_uninit_gives_just_what_was_read() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"abcdef").unwrap();
    let mut buf = [const { MaybeUninit::uninit() }; 4];
    assert_eq!(io::read_uninit(&reader, &mut buf).unwrap(), b"abcd");
    let filled = io::read_uninit(&reader, &mut buf).unwrap();
    filled.make_ascii_uppercase();
    assert_eq!(filled, b"EF");
    drop(writer);
    assert_eq!(io::read_uninit(&reader, &mut buf).unwrap(), b"");
}

#[test]
fn readv_fills_in_order_and_leaves_the_rest() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"abcdefg").unwrap();
    let (mut a, mut b, mut c, mut d) = ([b'.'; 3], [b'.'; 0], [b'.'; 8], [b'.'; 2]);
    let mut bufs = [&mut a[..], &mut b, &mut c, &mut d].map(IoSliceMut::new);
    assert_eq!(io::readv(&reader, &mut bufs), Ok(7));
    assert_eq!((&a, &c, &d), (b"abc", b"defg....", b".."));
}

#[test]
fn writev_is_the_concatenation() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let bufs = [&b"ab"[..], b"", b"cde", b"f"].map(IoSlice::new);
    assert_eq!(io::writev(&writer, &bufs), Ok(6));
    let mut back = [0; 6];
    io::read_exact(&reader, &mut back).unwrap();
    assert_eq!(&back, b"abcdef");
}

#[test]
fn vectors_beyond_1024_einval_and_split_by_write_all() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let mut bufs = vec![IoSlice::new(b"x"); 1025];
    assert_eq!(io::writev(&writer, &bufs), Err(Errno::EINVAL));
    assert_eq!(io::writev(&writer, &bufs[..1024]), Ok(1024));
    assert_eq!(io::write_all_vectored(&writer, &mut bufs), Ok(()));
    assert_eq!(reader.available(), Ok(2049));

    let mut bytes = [0; 1025];
    let mut bufs: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(io::readv(&reader, &mut bufs), Err(Errno::EINVAL));
    assert_eq!(reader.available(), Ok(2049));
    assert_eq!(io::readv(&reader, &mut bufs[1..]), Ok(1024));
}

#[test]
fn write_all_vectored_goes_on_in_the_middle_of_a_buffer() {
    let (reader, writer) = Builder::new().capacity(Capacity::Bytes(1)).build().unwrap();
    let data: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let expected = data.clone();
    let writing = thread::spawn(move || {
        // The buffers have many different lengths, so that short counts end in the middle of a buffer.
        let mut rest = &data[..];
        let mut bufs = Vec::new();
        let mut len = 0;
        while !rest.is_empty() {
            len = (len * 7 + 13) % 9973;
            let (buf, tail) = rest.split_at(len.min(rest.len()));
            bufs.push(IoSlice::new(buf));
            rest = tail;
        }
        writer.write_all_vectored(&mut bufs).unwrap();
    });
    let mut back = Vec::new();
    assert_eq!(reader.read_to_end(&mut back), Ok(expected.len()));
    assert!(back == expected);
    writing.join().unwrap();
}

#[test]
fn write_all_nonblocking_tells_how_much_went() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let capacity = writer.capacity().unwrap();
    let data = vec![0; capacity + 1];
    let stopped = writer.write_all(&data).unwrap_err();
    assert_eq!((stopped.bytes(), stopped.errno()), (capacity, Some(Errno::EAGAIN)));
    assert_eq!(reader.available(), Ok(capacity));
    let stopped = writer.write_all_vectored(&mut [IoSlice::new(b"x")]).unwrap_err();
    assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::EAGAIN)));
    assert_eq!(stopped.to_string(), "would block: try again later (EAGAIN) after 0 bytes");
    assert_eq!(std::io::Error::from(stopped).kind(), std::io::ErrorKind::WouldBlock);
    drop(reader);
    assert_eq!(writer.write_all(b"x").unwrap_err().errno(), Some(Errno::EPIPE));
}

#[test]
fn read_exact_short_tells_how_much_came() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    writer.write_all(b"abc").unwrap();
    drop(writer);
    let mut buf = [0; 8];
    let short = reader.read_exact(&mut buf).unwrap_err();
    assert_eq!((short.bytes(), short.errno()), (3, None));
    assert_eq!(&buf[..3], b"abc");
    assert_eq!(short.to_string(), "end of file after 3 bytes");
    assert_eq!(std::io::Error::from(short).kind(), std::io::ErrorKind::UnexpectedEof);

    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    writer.write_all(b"ab").unwrap();
    let short = reader.read_exact(&mut buf).unwrap_err();
    assert_eq!((short.bytes(), short.errno()), (2, Some(Errno::EAGAIN)));
}

#[test]
fn read_to_end_appends_and_keeps_what_came_before_an_error() {
    let (reader, writer) = Builder::new().nonblocking().build().unwrap();
    let mut all = b"before ".to_vec();
    writer.write_all(b"part").unwrap();
    assert_eq!(reader.read_to_end(&mut all), Err(Errno::EAGAIN));
    assert_eq!(all, b"before part");
    writer.write_all(b" and end").unwrap();
    drop(writer);
    assert_eq!(reader.read_to_end(&mut all), Ok(8));
    assert_eq!(all, b"before part and end");
    assert_eq!(reader.read_to_end(&mut all), Ok(0));
}

#[test]
fn read_to_end_of_a_megabyte_from_another_thread() {
    let (reader, writer) = rawpipe::pipe().unwrap();
    let writing = thread::spawn(move || writer.write_all(&vec![b'X'; 1_000_000]).unwrap());
    let mut all = Vec::new();
    assert_eq!(reader.read_to_end(&mut all), Ok(1_000_000));
    assert!(all.iter().all(|&byte| byte == b'X'));
    writing.join().unwrap();
}

#[test]
fn read_directory_eisdir() {
    let folder = File::open("/").unwrap();
    assert_eq!(rawpipe::read(&folder, &mut [0; 8]), Err(Errno::EISDIR));
}

#[test]
fn write_full_device_enospc() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(rawpipe::write(&full, b"x"), Err(Errno::ENOSPC));
    let stopped = io::write_all(&full, b"x").unwrap_err();
    assert_eq!((stopped.bytes(), stopped.errno()), (0, Some(Errno::ENOSPC)));
}

#[test]
fn every_call_on_a_closed_descriptor_ebadf() {
    let fd = closed_fd();
    let bad = Err(Errno::EBADF);
    assert_eq!(rawpipe::read(fd, &mut [0; 1]), bad);
    assert_eq!(io::read_uninit(fd, &mut [MaybeUninit::uninit()]).map(|filled| filled.len()), bad);
    assert_eq!(io::readv(fd, &mut [IoSliceMut::new(&mut [0])]), bad);
    assert_eq!(rawpipe::write(fd, b"x"), bad);
    assert_eq!(io::writev(fd, &[IoSlice::new(b"x")]), bad);
    assert_eq!(io::read_to_end(fd, &mut Vec::new()), bad);
    assert_eq!(io::read_exact(fd, &mut [0; 1]).unwrap_err().errno(), Some(Errno::EBADF));
    assert_eq!(io::write_all(fd, b"x").unwrap_err().errno(), Some(Errno::EBADF));
    assert_eq!(rawpipe::dup(fd).unwrap_err(), Errno::EBADF);
    assert_eq!(io::dup_cloexec(fd).unwrap_err(), Errno::EBADF);
    assert_eq!(io::is_close_on_exec(fd).unwrap_err(), Errno::EBADF);
    assert_eq!(io::set_close_on_exec(fd, true).unwrap_err(), Errno::EBADF);
    assert_eq!(io::is_nonblocking(fd).unwrap_err(), Errno::EBADF);
    assert_eq!(io::set_nonblocking(fd, true).unwrap_err(), Errno::EBADF);
    assert_eq!(rawpipe::pipe::capacity(fd), bad);
    assert_eq!(rawpipe::pipe::set_capacity(fd, Capacity::Max), bad);
    assert_eq!(rawpipe::pipe::available(fd), bad);
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let mut target = OwnedFd::from(reader);
    assert_eq!(io::dup3(fd, &mut target, DupFlags::CLOEXEC).unwrap_err(), Errno::EBADF);
}

#[test]
fn available_of_something_that_does_not_count_enotty() {
    let null = File::open("/dev/null").unwrap();
    assert_eq!(rawpipe::pipe::available(&null), Err(Errno::ENOTTY));
}

#[test]
fn close_takes_the_descriptor_and_answers() {
    let (_reader, writer) = rawpipe::pipe().unwrap();
    assert_eq!(rawpipe::close(writer), Ok(()));
    assert_eq!(rawpipe::close(file(b"x")), Ok(()));
}

#[test]
fn dup_shares_the_open_file() {
    let file = file(b"abcdef");
    let copy = io::dup(&file).unwrap();
    assert_eq!(io::is_close_on_exec(&copy), Ok(false));
    assert_eq!(io::is_close_on_exec(&file), Ok(true));
    let mut buf = [0; 2];
    assert_eq!(rawpipe::read(&file, &mut buf), Ok(2));
    assert_eq!(rawpipe::read(&copy, &mut buf), Ok(2));
    assert_eq!(&buf, b"cd");
    io::set_nonblocking(&copy, true).unwrap();
    assert_eq!(io::is_nonblocking(&file), Ok(true));
}

#[test]
fn set_close_on_exec_is_of_one_descriptor() {
    let (reader, _writer) = rawpipe::pipe().unwrap();
    let copy = reader.try_clone().unwrap();
    io::set_close_on_exec(&reader, false).unwrap();
    io::set_close_on_exec(&reader, false).unwrap();
    assert_eq!(io::is_close_on_exec(&reader), Ok(false));
    assert_eq!(io::is_close_on_exec(&copy), Ok(true));
    io::set_close_on_exec(&reader, true).unwrap();
    assert_eq!(io::is_close_on_exec(&reader), Ok(true));
}

#[test]
fn set_nonblocking_leaves_append_mode() {
    let file = append_file();
    io::set_nonblocking(&file, true).unwrap();
    io::set_nonblocking(&file, false).unwrap();
    rawpipe::write(&file, b"one").unwrap();
    std::io::Seek::seek(&mut &file, std::io::SeekFrom::Start(0)).unwrap();
    rawpipe::write(&file, b"two").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 6, "append mode is gone");
}
