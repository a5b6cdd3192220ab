//! Feeds a program through one pipe and reads what it writes from another.
//!
//! Python: `subprocess.Popen` with `stdin=PIPE`, `stdout=` the write end of `os.pipe`, `close_fds=True`.
//!
//! Run it by `cargo run --example subprocess_cat`.

use rawpipe::process::{Command, Stdio};
use std::io;

fn main() -> io::Result<()> {
    let (reader, writer) = rawpipe::pipe()?;

    // Descriptors of this crate and of std are close-on-exec, so that the child has none but its
    // standard streams anyway. `close_other_fds` is for those that others have opened.
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(writer).close_other_fds();
    let mut child = cat.spawn()?;
    // The command has a write end, to be started again with it. With that left here, reading on to the
    // end would wait for ever.
    drop(cat);

    // Taken out of the handle, the pipe to the child is closed at the end of this statement: end of
    // file, by which `cat` knows that it has everything.
    child.take_stdin().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"Data for subprocess\n")?;

    let mut data = [0; 1024];
    let count = reader.read(&mut data)?;
    println!("Received from subprocess: {}", String::from_utf8_lossy(&data[..count]));

    // Closes its end as well. A child that nobody waits for stays a zombie.
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cat: {status}"))) }
}
