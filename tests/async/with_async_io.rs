//! Uses a pipe end and a pidfd in async-io's `Async`.

use async_io::{Async, Timer};
use futures_lite::future;
use rawpipe::process::{Child, ExitStatus};
use rawpipe::{Errno, PipeReader};
use std::io;
use std::time::Duration;

/// Reads until end of file.
async fn read_to_end(reader: PipeReader) -> io::Result<Vec<u8>> {
    let reader = Async::new(reader)?; // makes it nonblocking
    let mut all = Vec::new();
    loop {
        reader.readable().await?;
        match reader.get_ref().read_to_end(&mut all) {
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(all),
        }
    }
}

/// Waits for a child. Returns `None` if the child runs longer than `limit`.
async fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pidfd = child.pidfd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned()?;
    let pidfd = Async::new_nonblocking(pidfd)?; // a pidfd is never read, so its flags can stay as they are
    let ended = async { pidfd.readable().await.map(|()| true) };
    let late = async {
        Timer::after(limit).await;
        Ok(false)
    };
    if future::or(ended, late).await? { Ok(child.try_wait()?) } else { Ok(None) }
}

// ---------------------------------------------------------------- tests

use rawpipe::process::{Command, Stdio};

#[test]
fn output_and_end_of_a_child() {
    async_io::block_on(async {
        let script = "head -c 300000 /dev/zero; sleep 0.02; echo late; exit 3";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let output = read_to_end(child.take_stdout().unwrap()).await.unwrap();
        assert_eq!(output.len(), 300_005);
        let status = wait(&mut child, Duration::from_secs(60)).await.unwrap();
        assert_eq!(status.unwrap().code(), Some(3));
    });
}

#[test]
fn child_that_outlives_the_limit() {
    async_io::block_on(async {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert_eq!(wait(&mut child, Duration::from_millis(20)).await.unwrap(), None);
        child.kill().unwrap();
        assert!(wait(&mut child, Duration::from_secs(60)).await.unwrap().is_some());
    });
}
