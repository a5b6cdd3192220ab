//! Runs `seq 1000 | sort -r | head -n 5` without a shell.
//!
//! ```text
//! pipeline [LAST [LINES]]
//! ```
//!
//! Prints the output of the last program, and then the exit status of each program. With `pipeline 1000000`,
//! `sort` writes more than `head` reads, and `SIGPIPE` kills `sort`.

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

    // `output` reads standard output and standard error at the same time, so no program waits indefinitely.
    let mut stdout = io::stdout().lock();
    stdout.write_all(&output.stdout)?;
    for (name, status) in ["seq", "sort", "head"].into_iter().zip(&output.statuses) {
        writeln!(stdout, "{name}: {status}")?;
    }
    stdout.flush()?;
    io::stderr().write_all(&output.stderr)?;
    Ok(())
}
