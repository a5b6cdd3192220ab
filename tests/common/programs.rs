//! Small programs that tests start. Each program is the test binary itself, and the arguments select which
//! program runs.

use rawpipe::process::{self, Command, Signal, Stdio};
use rawpipe::{PipeReader, PipeWriter};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use std::{env, fs, thread};

/// The prefix of the program's name in argument 1.
const MARK: &str = "test-program:";

/// Returns a command that starts this module's program `name` with the arguments `args`.
pub(crate) fn program(name: &str, args: &[&str]) -> Command<'static> {
    let std = std_program(name, args);
    let mut command = Command::new(std.get_program());
    command.args(std.get_args());
    command
}

/// Returns std's equivalent of the command that [`program`] returns, for comparisons.
pub(crate) fn std_program(name: &str, args: &[&str]) -> std::process::Command {
    let mut command = super::plain_program(&env::current_exe().expect("the path of this test"));
    command.arg(format!("{MARK}{name}")).args(args);
    command
}

/// Runs the program of this module that argument 1 selects, and then exits. Returns if argument 1 selects no
/// program. Must be the first call in `main`.
pub(crate) fn become_program() {
    let mut args = env::args_os();
    let arg0 = args.next().unwrap_or_default();
    let Some(name) = args.next().and_then(|arg| arg.to_str()?.strip_prefix(MARK).map(String::from))
    else {
        return;
    };
    let args: Vec<OsString> = args.collect();
    let code = run(&name, &arg0, &args).unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        99
    });
    process::exit(code);
}

fn run(name: &str, arg0: &OsStr, args: &[OsString]) -> io::Result<u8> {
    let word = |i: usize| args.get(i).and_then(|arg| arg.to_str()).unwrap_or("");
    let number = |i: usize| word(i).parse::<usize>().unwrap_or(0);
    let mut stdout = io::stdout();
    match name {
        // Writes each argument followed by a NUL, starting with argument 0.
        "args" => {
            let words = [arg0].into_iter().chain(args.iter().map(OsString::as_os_str));
            words
                .into_iter()
                .try_for_each(|word| stdout.write_all(&zero_ended(word.as_bytes())))?;
        }
        // Writes a word to standard error and then copies standard input to standard output.
        "aside" => {
            io::stderr().write_all(b"err")?;
            return run("cat", arg0, args);
        }
        // Copies standard input to standard output.
        "cat" => {
            let mut bytes = vec![0; 65_536];
            loop {
                let count = io::stdin().read(&mut bytes)?;
                if count == 0 {
                    break;
                }
                stdout.write_all(&bytes[..count])?;
                stdout.flush()?;
            }
        }
        // Exits after starting "waiter" as a child that inherits all standard streams.
        "bequeath" => drop(program("waiter", &[]).spawn()?),
        "cwd" => stdout.write_all(env::current_dir()?.as_os_str().as_bytes())?,
        // Writes the sorted variables of its environment, each followed by a NUL.
        "env" => {
            let mut all: Vec<_> = env::vars_os().collect();
            all.sort();
            for (name, value) in all {
                let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
                stdout.write_all(&zero_ended(&variable))?;
            }
        }
        "exit" => return Ok(u8::try_from(number(0)).unwrap_or(98)),
        // Writes a word to standard output and a word to standard error.
        "both" => {
            stdout.write_all(b"out")?;
            stdout.flush()?;
            io::stderr().write_all(b"err")?;
        }
        // Does the same as "parent" and then waits until it is killed.
        "family" => {
            run("parent", arg0, args)?;
            return run("sleep", arg0, args);
        }
        // Writes the numbers of its descriptors, one per line.
        "fds" => {
            super::open_fds().iter().try_for_each(|number| writeln!(stdout, "{number}"))?;
        }
        // Writes to standard output and standard error at the same time. The arguments give the numbers of
        // bytes.
        "flood" => {
            let err = thread::spawn({
                let count = number(1);
                move || write_pattern(&mut io::stderr(), count)
            });
            write_pattern(&mut stdout, number(0))?;
            err.join().expect("the writing thread")?;
        }
        // Ends only its first thread. Another thread reports that the first thread has ended, waits like
        // "waiter", and exits with code 5.
        "leaderless" => {
            thread::spawn(|| {
                let leader = format!("/proc/self/task/{}/stat", std::process::id());
                while !fs::read_to_string(&leader).is_ok_and(|stat| stat.contains(") Z ")) {
                    thread::sleep(Duration::from_millis(1));
                }
                let told = io::stdout().write_all(b"!").and_then(|()| io::stdout().flush());
                let waited = run("waiter", OsStr::new(""), &[]);
                process::exit(if told.is_ok() && waited.is_ok() { 5 } else { 95 });
            });
            end_this_thread();
        }
        // Writes each argument to the descriptor with that number, if the descriptor is open.
        "mark" => {
            for word in args.iter().filter_map(|word| word.to_str()) {
                let number = word.parse().unwrap_or(-1);
                // SAFETY: only one call uses the descriptor, and this call fails if the descriptor is not
                // open.
                #[allow(unsafe_code, reason = "a descriptor that this program has inherited")]
                let fd = unsafe { rawpipe::fd::BorrowedFd::borrow_raw(number) };
                let _ = rawpipe::write(fd, word.as_bytes());
            }
        }
        // Prints a file from `/proc/self`.
        "proc" => stdout.write_all(&fs::read(format!("/proc/self/{}", word(0)))?)?,
        // Reads from the descriptor with the given number, and writes the bytes to standard output.
        "read" => {
            let number = i32::try_from(number(0)).unwrap_or(-1);
            #[allow(unsafe_code, reason = "a descriptor that this program has inherited")]
            // SAFETY: no other code in this process uses the descriptor.
            let fd = unsafe { rawpipe::io::take_inherited(number) }?;
            io::copy(&mut PipeReader::from(fd), &mut stdout)?;
        }
        // Reads the given number of bytes from standard input, and then kills itself.
        "suicide" => {
            io::stdin().read_exact(&mut vec![0; number(0)])?;
            let pid = std::process::id();
            super::kill(pid, Signal::KILL.as_raw());
        }
        // Closes its standard input, writes a word and sleeps briefly.
        "deaf" => {
            // SAFETY: no code of this process reads from the descriptor after this call.
            #[allow(unsafe_code, reason = "closing standard input")]
            drop(unsafe { rawpipe::io::take_inherited(0) }?);
            stdout.write_all(b"deaf")?;
            stdout.flush()?;
            thread::sleep(Duration::from_millis(50));
        }
        // Closes standard output and standard error, and then waits as "waiter" does.
        "shut" => {
            for number in [1, 2] {
                // SAFETY: no code of this process writes to the descriptor after this call.
                #[allow(unsafe_code, reason = "closing standard streams")]
                drop(unsafe { rawpipe::io::take_inherited(number) }?);
            }
            return run("waiter", arg0, args);
        }
        // From a thread other than the first, executes the program "stall", which writes one byte.
        "successor" => {
            let exec = thread::spawn(|| {
                use std::os::unix::process::CommandExt;
                std_program("stall", &["1"]).exec()
            });
            return Err(exec.join().expect("the thread that became another program"));
        }
        // Exits while other threads run.
        "threads" => {
            for _ in 0..3 {
                thread::spawn(|| run("sleep", OsStr::new(""), &[]));
            }
            process::exit(6);
        }
        // Starts "waiter" as a child, prints the child's process id, and exits. The child inherits standard
        // output and standard error. The child exits when no write end of the pipe at its descriptor 7
        // remains open.
        "parent" => {
            let mut waiter = program("waiter", &[]);
            waiter.stdin(Stdio::null());
            let child = waiter.spawn()?;
            write!(stdout, "{}", child.id())?;
        }
        "waiter" => {
            // SAFETY: no other code uses the descriptor.
            #[allow(unsafe_code, reason = "a descriptor that this program has inherited")]
            let gate = unsafe { rawpipe::io::take_inherited(7) }?;
            io::copy(&mut PipeReader::from(gate), &mut io::sink())?;
        }
        // Writes the given number of bytes and then waits until it is killed.
        "stall" => {
            write_pattern(&mut stdout, number(0))?;
            stdout.flush()?;
            return run("sleep", arg0, args);
        }
        // Waits until it is killed.
        "sleep" => loop {
            thread::sleep(Duration::from_secs(1000));
        },
        _ => return Ok(97),
    }
    stdout.flush()?;
    Ok(0)
}

/// Ends only the current thread, using `exit` instead of `exit_group`.
fn end_this_thread() -> ! {
    let number = match env::consts::ARCH {
        "x86_64" => 60,
        "aarch64" | "riscv64" | "riscv32" | "loongarch64" => 93,
        "mips" => 4001,
        "mips64" => 5058,
        _ => 1,
    };
    #[allow(unsafe_code, reason = "a call that the crate has no name for")]
    // SAFETY: the thread's stack stays mapped, and no code joins the thread.
    let answer = unsafe { rawpipe::raw::syscall1(number, 0) };
    panic!("a thread that has ended continues: {answer}");
}

fn zero_ended(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\0"].concat()
}

/// Returns byte `i` of the pattern that "flood" and "stall" write.
pub(crate) fn pattern(i: usize) -> u8 {
    u8::try_from(i % 251).expect("less than 256")
}

pub(crate) fn is_pattern(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(i, byte)| *byte == pattern(i))
}

fn write_pattern(to: &mut dyn Write, count: usize) -> io::Result<()> {
    let whole: Vec<u8> = (0..251 * 512).map(pattern).collect();
    let mut left = count;
    while left > 0 {
        let part = left.min(whole.len());
        to.write_all(&whole[..part])?;
        left -= part;
    }
    Ok(())
}

/// Reads a pipe until end of file.
pub(crate) fn all_of(reader: Option<PipeReader>) -> Vec<u8> {
    let mut all = Vec::new();
    reader.expect("a pipe").read_to_end(&mut all).unwrap();
    all
}

/// Starts the program with its standard output in a pipe. Returns the program's output and exit code.
pub(crate) fn output_of(command: &mut Command<'_>) -> (Vec<u8>, Option<i32>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = all_of(child.take_stdout());
    (output, child.wait().unwrap().code())
}

/// Returns a pipe for "waiter". The program must inherit the read end as descriptor 7. It exits when the
/// write end is closed.
pub(crate) fn gate() -> (PipeReader, PipeWriter) {
    rawpipe::pipe().unwrap()
}
