//! Like the program `tee`, copies standard input to standard output and to files.
//!
//! ```text
//! tee FILE...
//! ```
//!
//! If possible, the bytes are duplicated in the kernel and do not enter this program. If a sink fails, the
//! other sinks still receive every byte, and the program names the failed sink at the end.

use rawpipe::transfer::{FanoutSink, fanout};
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let create =
        |path: &PathBuf| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    let files = paths.iter().map(create).collect::<Result<Vec<File>, _>>()?;

    let (stdin, stdout) = (io::stdin(), io::stdout());
    let mut sinks = vec![FanoutSink::new(&stdout)];
    for file in &files {
        sinks.push(FanoutSink::new(file));
    }
    fanout(&stdin, &mut sinks)?;

    let names =
        [Path::new("standard output")].into_iter().chain(paths.iter().map(PathBuf::as_path));
    let mut end = ExitCode::SUCCESS;
    for (name, sink) in names.zip(&sinks) {
        if let Some(error) = sink.error() {
            eprintln!("{}: {error}, after {} bytes", name.display(), sink.bytes());
            end = ExitCode::FAILURE;
        }
    }
    Ok(end)
}
