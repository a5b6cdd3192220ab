//! Defines the operations of each module, and the calls that fail when an operation runs again.

#[path = "moving.rs"]
mod moving;
#[path = "processes.rs"]
mod processes;

use crate::common::nr;
use crate::tracer::{Missing, operation};
use rawpipe::event::{
    Epoll, Event, EventFd, FdSet, PollEvents, PollFd, SignalFd, poll, poll_deadline, select,
    select_deadline, wait_signal,
};
use rawpipe::fd::{IntoRawFd, OwnedFd};
use rawpipe::io::{self, DupFlags, IoSlice, IoSliceMut, StdStream, without_sigpipe};
use rawpipe::pipe::{self, Builder, Capacity};
use rawpipe::process::{Signal, SignalSet};
use rawpipe::splice::{SpliceFlags, splice};
use rawpipe::{Cancel, Deadline, Errno, PipeFlags, PipeReader, PipeWriter, Wait, raw};
use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) struct Operation {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) body: fn(),
    /// The sets of calls that fail. Each set causes one further run.
    pub(crate) without: Vec<Vec<Missing>>,
    /// A call that the operation makes itself. This call does not count as a call of the module.
    pub(crate) its_own: Option<usize>,
}

/// Set if no call is made to fail. The operation must then succeed.
pub(crate) static PLAIN: AtomicBool = AtomicBool::new(true);

/// A time limit that a wait reaches. A slow tracer must not use up this time before the wait begins.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(600);
const NONE: SpliceFlags = SpliceFlags::empty();

fn refused(nr: usize) -> Missing {
    Missing { nr, argument: 0, bits: 0, errno: Errno::ENOSYS.raw_os_error() }
}

fn not_permitted(nr: usize) -> Missing {
    Missing { errno: Errno::EPERM.raw_os_error(), ..refused(nr) }
}

/// Returns a call that fails with `EINVAL` if argument `argument` has all of `bits` set.
fn refused_with(nr: usize, argument: usize, bits: u64) -> Missing {
    Missing { nr, argument, bits, errno: Errno::EINVAL.raw_os_error() }
}

/// Returns the value of `result`, or `None`. Panics if `result` is an error although no call was made to
/// fail.
fn done<T, E: Debug>(result: Result<T, E>) -> Option<T> {
    assert!(result.is_ok() || !PLAIN.load(Ordering::SeqCst), "{:?}", result.err());
    result.ok()
}

fn fails<T, E>(result: Result<T, E>) {
    assert!(result.is_err(), "it has not failed");
}

fn pipe() -> (PipeReader, PipeWriter) {
    rawpipe::pipe().expect("a pipe")
}

/// Returns a pipe that holds these bytes.
fn filled(bytes: &[u8]) -> (PipeReader, PipeWriter) {
    let (reader, writer) =
        Builder::new().capacity(Capacity::Bytes(256 << 10)).build().expect("a pipe");
    writer.write_all(bytes).expect("room");
    (reader, writer)
}

pub(crate) fn operations() -> Vec<Operation> {
    let all = [
        io_and_pipe(),
        readiness(),
        moving::splicing(),
        moving::messages(),
        moving::chunks(),
        processes::forks(),
        processes::programs(),
    ];
    all.into_iter().flatten().collect()
}

fn of(module: &'static str, name: &'static str, body: fn()) -> Operation {
    Operation { module, name, body, without: Vec::new(), its_own: None }
}

impl Operation {
    fn that_calls(mut self, call: usize) -> Self {
        self.its_own = Some(call);
        self
    }

    /// Adds one run for each of these sets of missing calls.
    fn without(mut self, sets: &[&[Missing]]) -> Self {
        self.without.extend(sets.iter().map(|set| set.to_vec()));
        self
    }
}

fn io_and_pipe() -> Vec<Operation> {
    vec![
        of("io", "read and write", || {
            let (reader, writer) = pipe();
            let mut byte = [0; 1];
            operation(|| {
                done(rawpipe::write(&writer, b"1234567"));
                done(rawpipe::read(&reader, &mut byte));
                done(io::read_uninit(&reader, &mut [MaybeUninit::uninit(); 1]));
                done(io::readv(&reader, &mut [IoSliceMut::new(&mut byte)]));
                done(io::read_exact(&reader, &mut [0; 4]));
                done(io::writev(&writer, &[IoSlice::new(b"1")]));
                done(io::write_all(&writer, b"1"));
                done(io::write_atomic(&writer, b"1"));
                done(io::write_all_vectored(&writer, &mut [IoSlice::new(b"1")]));
                done(rawpipe::close(writer));
                done(io::read_to_end(&reader, &mut Vec::with_capacity(100)));
            });
        }),
        of("io", "a long buffer that grows", || {
            let (reader, writer) = filled(b"1234567");
            drop(writer);
            let mut long = vec![7; 2 << 20];
            operation(|| done(io::read_to_end(&reader, &mut long)));
        }),
        of("io", "descriptors", || {
            let (reader, writer) = pipe();
            operation(|| {
                done(io::dup(&reader));
                let copy = done(io::dup_cloexec(&reader));
                if let Some(mut copy) = copy {
                    done(io::dup3(&writer, &mut copy, DupFlags::CLOEXEC));
                }
                done(io::redirect(&reader, StdStream::Stdin));
                done(io::set_close_on_exec(&reader, true));
                done(io::set_nonblocking(&reader, true));
            });
        }),
        of("io", "a descriptor for standard input, which is closed", || {
            let (reader, _writer) = pipe();
            // SAFETY: standard input has no owner, and no code here reads from it.
            assert_eq!(unsafe { raw::syscall1(nr::CLOSE, 0) }, 0);
            operation(|| {
                drop(done(io::dup(&reader)));
                drop(done(io::dup_cloexec(&reader)));
            });
        }),
        of("io", "write_nosignal", || {
            let (reader, writer) = pipe();
            drop(reader);
            operation(|| fails(io::write_nosignal(&writer, b"1")));
        })
        .without(&[&[refused(nr::PWRITEV2)]]),
        of("io", "take_inherited", || {
            let number = OwnedFd::from(pipe().0).into_raw_fd();
            operation(|| {
                // SAFETY: the number was released above and is claimed only once.
                drop(done(unsafe { io::take_inherited(number) }));
            });
        }),
        of("pipe", "all of it", || {
            operation(|| {
                drop(done(rawpipe::pipe2(PipeFlags::NONBLOCK)));
                let (reader, writer) = done(Builder::new().capacity(Capacity::Max).build())?;
                done(writer.set_capacity(Capacity::Bytes(4096)));
                done(writer.is_degraded());
                done(writer.write_all(b"1234567"));
                done(writer.writev(&[IoSlice::new(b"1")]));
                done(pipe::available(&reader));
                done(reader.read(&mut [0; 1]));
                done(reader.readv(&mut [IoSliceMut::new(&mut [0; 1])]));
                done(reader.set_nonblocking(true));
                done(reader.try_clone());
                Some(())
            });
        }),
        of("Deadline", "deadlines", || {
            operation(|| Deadline::after(LATE).has_passed());
        }),
        of("io::without_sigpipe", "without_sigpipe", || {
            let (reader, writer) = pipe();
            drop(reader);
            // This call to `splice` raises `SIGPIPE`.
            let bytes = filled(b"1").0;
            let raise = || splice(&bytes, None, &writer, None, 1, NONE);
            let _ = operation(|| without_sigpipe(raise));
        })
        .that_calls(nr::SPLICE),
    ]
}

fn readiness() -> Vec<Operation> {
    vec![
        of("event::poll", "all of it", || {
            let (reader, _writer) = pipe();
            let mut fds = [PollFd::new(&reader, PollEvents::IN)];
            operation(|| {
                done(poll(&mut fds, Some(SOON)));
                done(poll_deadline(&mut fds, Deadline::after(SOON)));
            });
        }),
        of("event::select", "all of it", || {
            let (reader, writer) = pipe();
            let mut writable = FdSet::new();
            writable.insert(&writer);
            let mut readable = FdSet::new();
            readable.insert(&reader);
            operation(|| {
                done(select(Some(&mut readable), Some(&mut writable), None, Some(LATE)));
                done(select_deadline(None, Some(&mut writable), None, Deadline::after(LATE)));
            });
        }),
        of("Cancel", "a wait of each kind, cancelled", || {
            let (reader, _writer) = pipe();
            operation(|| {
                let (cancel, epoll) = (done(Cancel::new())?, done(Epoll::new())?);
                done(epoll.add(&reader, PollEvents::IN, 1));
                cancel.cancel();
                let deadline = Deadline::after(SOON).or_cancelled(&cancel);
                let cancelled = Err(Errno::ECANCELED);
                assert_eq!(poll_deadline(&mut [], deadline), cancelled);
                assert_eq!(select_deadline(None, None, None, deadline), cancelled);
                let mut events = [Event::default(); 1];
                assert_eq!(epoll.wait_deadline(&mut events, deadline).map(<[_]>::len), cancelled);
                let other = done(Cancel::new())?;
                let deadline = Deadline::after(SOON).or_cancelled(&other);
                done(epoll.wait_deadline(&mut events, deadline)).map(drop)
            });
        }),
        of("event::SignalFd", "all of it", || {
            let set = SignalSet::empty().with(Signal::USR1);
            operation(|| {
                let _guard = done(set.block())?;
                let (signals, cancel) = (done(SignalFd::new(set))?, done(Cancel::new())?);
                assert_eq!(signals.try_read(), Err(Errno::EAGAIN));
                assert_eq!(signals.read_deadline(Deadline::after(SOON)), Err(Errno::ETIMEDOUT));
                done(wait_signal(set, Deadline::after(SOON)));
                done(wait_signal(set, Deadline::after(SOON).or_cancelled(&cancel))).map(drop)
            });
        }),
        of("event::Epoll", "all of it", || {
            let (reader, _writer) = pipe();
            operation(|| {
                let epoll = done(Epoll::new())?;
                done(epoll.add(&reader, PollEvents::IN, 1));
                done(epoll.wait(&mut [Event::default(); 2], Some(SOON)));
                // This timeout is not a whole number of milliseconds.
                let finer = Some(SOON + Duration::from_micros(1));
                done(epoll.wait(&mut [Event::default(); 2], finer));
                done(epoll.wait_deadline(&mut [Event::default(); 2], Deadline::after(SOON)));
                let counter = done(EventFd::new(1))?;
                done(counter.read());
                done(counter.write(1))
            });
        })
        .without(&[&[refused(nr::EPOLL_PWAIT2)]]),
        of("io::try_read", "reading", || {
            let (reader, _writer) = filled(b"1");
            operation(|| {
                done(reader.try_read(&mut [0; 1]));
                let late = io::read_deadline(&reader, &mut [0; 1], Deadline::after(SOON));
                assert_eq!(late, Err(Errno::ETIMEDOUT));
            });
        })
        .without(&[&[refused(nr::PREADV2)]]),
        of("io::try_read", "writing", || {
            let (_reader, writer) = pipe();
            operation(|| {
                done(writer.try_write(b"1"));
                done(writer.write_all_deadline(b"1", Deadline::after(LATE)));
            });
        })
        .without(&[&[refused(nr::PWRITEV2)]]),
        of("pipe::AdaptiveEnd", "ends that ask for a moment", || {
            let (reader, writer) = pipe();
            let [mut reader, mut writer] = [OwnedFd::from(reader), OwnedFd::from(writer)].map(Some);
            let (reader, writer) = (reader.take(), writer.take());
            operation(|| {
                let mut writer = PipeWriter::from(writer?).with_wait(Wait::Adaptive);
                let mut reader = PipeReader::from(reader?).with_wait(Wait::Adaptive);
                done(writer.write_all(b"1"));
                done(writer.write(&[0; 5000]));
                done(reader.read(&mut [0; 1]))
            });
        })
        .without(&[&[refused(nr::PREADV2), refused(nr::PWRITEV2)]]),
        of("pipe::AdaptiveEnd", "an end that sleeps at once", || {
            let (reader, _writer) = filled(b"1");
            operation(|| {
                let mut reader = reader.with_wait(Wait::Block);
                done(reader.read(&mut [0; 1]));
            });
        }),
    ]
}
