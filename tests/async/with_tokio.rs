//! Uses pipe ends, a child's pidfd and blocking calls with tokio.

use rawpipe::Deadline;
use rawpipe::process::{Child, ExitStatus};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, unix::AsyncFd};
use tokio::net::unix::pipe;
use tokio::time::timeout;

/// Writes the input to a child and collects its output. Both streams must be pipes.
async fn communicate(child: &mut Child, input: &[u8]) -> io::Result<(ExitStatus, Vec<u8>)> {
    // `from_owned_fd` makes this process's end of each pipe nonblocking. The child's ends keep their flags.
    let mut stdin = pipe::Sender::from_owned_fd(child.take_stdin().unwrap().into())?;
    let mut stdout = pipe::Receiver::from_owned_fd(child.take_stdout().unwrap().into())?;
    let mut output = Vec::new();
    let feed = async move { stdin.write_all(input).await }; // also drops `stdin`, which signals end of file
    let (fed, read) = tokio::join!(feed, stdout.read_to_end(&mut output));
    fed?;
    read?;
    let status = wait(child, Duration::MAX).await?;
    Ok((status.expect("no limit"), output))
}

/// Waits for a child. Returns `None` if the child runs longer than `limit`. Dropping the future does not
/// affect the child.
async fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let Some(pidfd) = child.pidfd() else { return Err(io::ErrorKind::Unsupported.into()) };
    let pidfd = pidfd.try_clone_to_owned()?;
    // SAFETY: the descriptor is open as long as the `AsyncFd` that owns it exists.
    let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
    match timeout(limit, pidfd.readable()).await {
        Ok(ended) => drop(ended?),
        Err(_) => return Ok(None),
    }
    Ok(child.try_wait()?) // `Some`, because the child has ended
}

/// Uses a thread of the blocking pool to move all bytes from one descriptor to another.
async fn copy(
    from: impl Into<rawpipe::fd::OwnedFd>,
    to: impl Into<rawpipe::fd::OwnedFd>,
    limit: Duration, // ends the thread even if the future is dropped
) -> io::Result<u64> {
    let (from, to, deadline) = (from.into(), to.into(), Deadline::after(limit));
    let work = move || rawpipe::transfer::Transfer::new().deadline(deadline).run(&from, &to);
    Ok(tokio::task::spawn_blocking(work).await?.map_err(io::Error::from)?.bytes())
}

// ---------------------------------------------------------------- tests

use rawpipe::Errno;
use rawpipe::process::{Command, Stdio};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn pipes_of_a_child_both_at_once() {
    let input = vec![b'x'; 1 << 20]; // exceeds the combined capacity of both pipes
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (status, output) = block_on(communicate(&mut cat, &input)).unwrap();
    assert!(status.success());
    assert!(output == input);
}

#[test]
fn wait_by_pidfd_until_the_limit_and_until_the_end() {
    block_on(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(wait(&mut child, Duration::from_millis(20)).await.unwrap(), None);
        drop(child.take_stdin());
        assert!(wait(&mut child, Duration::MAX).await.unwrap().unwrap().success());
    });
}

/// Children of this crate and children of tokio coexist. Neither library collects the status of the other's
/// children.
#[test]
fn children_beside_those_of_tokio() {
    block_on(async {
        for code in 0..20 {
            let script = format!("exit {code}");
            let theirs = tokio::process::Command::new("sh").args(["-c", &script]).spawn();
            let ours = Command::new("sh").args(["-c", &script]).spawn();
            let (mut theirs, mut ours) = (theirs.unwrap(), ours.unwrap());
            let mut blocking = Command::new("sh").args(["-c", &script]).spawn().unwrap();
            assert_eq!(blocking.wait().unwrap().code(), Some(code));
            let (theirs, ours) = tokio::join!(theirs.wait(), wait(&mut ours, Duration::MAX));
            assert_eq!(theirs.unwrap().code(), Some(code));
            assert_eq!(ours.unwrap().unwrap().code(), Some(code));
        }
    });
}

#[test]
fn transfer_on_the_blocking_pool() {
    block_on(async {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let (from, to) = rawpipe::pipe().unwrap();
        to.write_all(b"moved").unwrap();
        drop(to);
        assert_eq!(copy(from, writer, Duration::MAX).await.unwrap(), 5);
        assert_eq!(reader.read(&mut [0; 10]), Ok(5));

        let (from, _silent) = rawpipe::pipe().unwrap();
        let (_reader, writer) = rawpipe::pipe().unwrap();
        let error = copy(from, writer, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
}

/// If a runtime sets `O_NONBLOCK` on a pipe end, the flag applies to every duplicate of that end, but not to
/// the other end of the pipe.
#[test]
fn from_owned_fd_makes_all_copies_of_that_end_nonblocking() {
    block_on(async {
        let (reader, writer) = rawpipe::pipe().unwrap();
        let copy = reader.try_clone().unwrap();
        let receiver = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        assert_eq!(copy.read(&mut [0]), Err(Errno::EAGAIN));
        assert!(!writer.is_nonblocking().unwrap());
        drop(receiver);
        assert!(copy.is_nonblocking().unwrap()); // the flag stays set
    });
}
