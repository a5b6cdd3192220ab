//! Forwards connections between Unix sockets. Each connection uses two transfers, which run in separate
//! threads and have the same deadline.
//!
//! ```text
//! socket_proxy LISTEN TARGET [SECONDS]
//! ```
//!
//! The program accepts connections at the path LISTEN and forwards each connection to TARGET. If the kernel
//! supports `splice`, the bytes move through a pipe in the kernel and never enter this program. When one side
//! has sent all its bytes, its peer reaches end of file but can still reply. A connection ends after at most
//! SECONDS (60 by default), even if both sides are still active. The program prints one line for each
//! connection.

use rawpipe::Deadline;
use rawpipe::transfer::{Transfer, TransferError};
use std::error::Error;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(listen), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: socket_proxy LISTEN TARGET [SECONDS]".into());
    };
    let seconds = arguments.next().map_or(Ok(60.0), |text| text.to_string_lossy().parse())?;
    let limit = Duration::try_from_secs_f64(seconds)?;

    let listener = UnixListener::bind(&listen)?;
    thread::scope(|scope| {
        loop {
            let client = listener.accept()?.0;
            let target = Path::new(&target);
            scope.spawn(move || match serve(&client, target, limit) {
                Ok([there, back]) => println!("{}, {}", show("there", &there), show("back", &back)),
                Err(error) => println!("{}: {error}", target.display()),
            });
        }
    })
}

/// Moves all bytes in both directions. For each direction, returns the byte count or the error.
fn serve(
    client: &UnixStream,
    target: &Path,
    limit: Duration,
) -> io::Result<[Result<u64, TransferError>; 2]> {
    let server = &UnixStream::connect(target)?;
    let deadline = Deadline::after(limit); // both directions have the same deadline
    let one_way = |from: &UnixStream, to: &UnixStream| {
        let done = Transfer::new().deadline(deadline).run(from, to);
        // The `shutdown` calls fail only if the peer has disconnected.
        match &done {
            Ok(_) => _ = to.shutdown(Shutdown::Write), // the other direction continues
            Err(_) => _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)),
        }
        done.map(|done| done.bytes())
    };
    Ok(thread::scope(|scope| {
        let there = scope.spawn(|| one_way(client, server));
        let back = one_way(server, client);
        [there.join().expect("it does not panic"), back]
    }))
}

fn show(direction: &str, done: &Result<u64, TransferError>) -> String {
    match done {
        Ok(bytes) => format!("{direction}: {bytes} bytes"),
        Err(error) => format!("{direction}: {error}"),
    }
}
