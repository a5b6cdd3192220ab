//! `seq 1000 | sort -r | head -n 5`, without a shell: the programs are wired to each other.
//!
//! ```text
//! pipeline [LAST [LINES]]
//! ```
//!
//! Prints what the last program writes, and then how each of them has ended: with `pipeline 1000000`
//! `sort` has more to write than `head` wants to read, and is killed by `SIGPIPE`.

use rawpipe::process::Command;
use std::error::Error;
use std::io::{self, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let last = arguments.next().unwrap_or_else(|| "1000".into());
    let lines = arguments.next().unwrap_or_else(|| "5".into());

    let output = Command::new("seq")
        .arg(last)
        .pipe(Command::new("sort").arg("-r"))
        .pipe(Command::new("head").arg("-n").arg(lines))
        .output()?;

    // Both outputs were read at the same time, so that none of the programs had to wait for ever.
    let mut stdout = io::stdout().lock();
    stdout.write_all(&output.stdout)?;
    for (name, status) in ["seq", "sort", "head"].into_iter().zip(&output.statuses) {
        writeln!(stdout, "{name}: {status}")?;
    }
    stdout.flush()?;
    io::stderr().write_all(&output.stderr)?;
    Ok(())
}
